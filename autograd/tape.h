/* The engine's inside: what a tape is made of, and what ops and walks may ask of it.
 *
 * A tape is two arrays of records. Lasting ones are parameters and buffers; transient ones are all
 * that was made since the last reset, in the order it was made: the program. A record's inputs
 * always stand before it, so a loop over the array is a walk in topological order, either way.
 * Index 0 of both arrays is never used: it means "none".
 *
 * Recording checks and allocates; it computes nothing. Records from `ran` on are run, in order,
 * when somebody looks (run_pending), so running never fails. Arrays of records move when they grow:
 * hold an index, not a pointer, over anything that may record. */
#ifndef TAPEGRAD_TAPE_H
#define TAPEGRAD_TAPE_H

#define AG_NO_LOCATIONS
#include "autograd.h"
#include "kernels/kernels.h"

/* For what errors alone call: the ways that lead there are set aside from the others. */
#define COLD __attribute__((cold))
COLD ag_tensor ag_fail(ag_tape *tape, const char *format, ...);

/* The same, and false. */
#define fault(...) (ag_fail(__VA_ARGS__), false)

#define LASTING 0x80000000u /* bit of an index: in the lasting array */

enum { MAX_INPUTS = 3, ERROR_SIZE = 1536, SHAPE_TEXT = 192 };

struct op;

/* The constants of an op; which of them have a meaning, the op knows. */
struct attributes {
    double p[2];
    const char *symbol; /* how to print p, where it stands for more than its value: "2/n" */
    unsigned axes;      /* a bit for each */
    bool keep;          /* reduced axes stay, with size 1 */
    bool transposed[2];
    const ag_shape *shape; /* asked for; read by the shape rule alone */
    const void *plan;      /* more constants, of which a record keeps a copy in the arena; */
    size_t plan_size;      /* 0: it is another record's copy */
};

/* One op applied once, and the tensor that came of it. What each run and each repetition looks at
 * comes first. */
struct record {
    const struct op *op;
    void *data;      /* count elements, row-major */
    char *from, *to; /* where the arena stood before it was recorded, and after */
    uint64_t clock;  /* when it was recorded; of a leaf: when its values were last set */
    uint32_t input[MAX_INPUTS];
    uint32_t walk; /* the backward walk that recorded it; 0: the user did */
    uint8_t inputs;
    uint8_t role;
    uint8_t cut_operands; /* goes row by row: operands cut likewise, a bit for each; 0: does not */
    bool sums_rows;       /* and sums over the rows */
    bool sums_chunks;     /* which are more than a block */
    bool worth_blocks;    /* and has rows enough to be run in blocks */
    bool elided;          /* its values were not stored */
    bool pinned;          /* somebody looked: they are to be stored */
    bool trainable;
    bool needed; /* during a backward walk: something asked for depends on it */
    const char *name;
    struct attributes attr;
    int64_t count;
    ag_shape shape;
    void *shadow;      /* of a leaf: room for the values that elided records saw */
    struct loop *loop; /* how operands are stepped through, where it isn't side by side */
    uint32_t gradient; /* during a backward walk: the gradient so far */
    uint32_t result;   /* of a parameter: its gradient by the last ag_backward */
    uint32_t group;    /* the plan in which `role` counts */
    uint32_t last_reader, readers; /* while a group is planned (plan.c) */
    uint64_t apart[4]; /* unused: in steps of 256 bytes every 16th record would lie 4096 bytes on,
                          and a load from one waits for a store to the other */
};

/* One line of the chain rule: in walk number `walk`, from y, the gradient of `target` came out as
 * `gradient`; records from `after` on were made since. The first note of a walk is that of y
 * itself. */
struct note {
    uint32_t walk, y, target, gradient, after;
};

struct notes {
    struct note *at;
    uint32_t count, capacity;
};

/* The one walk of an epoch, by ag_backward, from y: its records and its last note. y 0: there was
 * none, or there were several. It can be repeated while the same parameters are trained. */
struct backward {
    uint32_t y, first, end, notes;
    uint64_t parameters;
};

struct records {
    struct record *at;
    uint32_t count, capacity;
};

struct chunk {
    struct chunk *next;
    size_t size;
};

/* Bump allocation from a list of chunks; rewinding keeps them. */
struct arena {
    struct chunk *first, *current;
    char *free, *end;
};

/* Memory that a running record scribbles in: it grows, without a copy, to what any record asked
 * for. */
struct scratch {
    char *memory, *at; /* as allocated; aligned to KERNEL_ALIGN */
    size_t size;
};

struct pool;
struct step;
struct runner;

/* The plan of records that run together by blocks of rows (plan.c). */
struct group {
    struct step *step;
    uint32_t count, capacity;
    uint32_t first, end; /* the records that it was planned for; end 0: not planned */
    int64_t rows;
    double work;                    /* see threads_for */
    size_t slot_size, partial_size; /* bytes of a slot, and of the largest sum */
    struct runner *runner;          /* one for each thread but the tape's own */
    int runners;
};

struct ag_tape {
    const struct kernels *kernels;
    struct records transient, lasting;
    uint32_t ran; /* transient records before this one have been run */
    uint32_t epoch;
    uint32_t repeatable; /* records before the reset, while they are repeated; 0: they are not */
    struct backward last_walk; /* the walk that may be repeated with them */
    uint32_t gradients_epoch;  /* that of the last ag_backward */
    uint64_t parameters;       /* counts changes of what is trained */
    uint64_t clock;            /* counts changes of leaves */
    uint64_t replayed;         /* the clock at the last replay: records are as new as that */
    struct arena arena, lasting_arena;
    struct notes notes;
    uint32_t walks, walking; /* backward walks since the reset; the one under way, or 0 */
    ag_warning *warning;
    void *warning_context;
    bool warned;
    bool checking;            /* random records keep what they drew */
    bool tracing;             /* every record is searched for values that are not finite */
    struct scratch workspace; /* of the kernels */
    struct scratch partial;   /* one block's part of a sum over rows, and the sums of chunks */
    struct scratch slots;     /* blocks of what is elided */
    struct pool *pool;        /* the other threads, once there is work for them */
    int threads;              /* to use at most; 0: as many as there are cores */
    double least_shared;      /* nanoseconds of work that are worth sharing */
    bool sharing;             /* some is being shared: its parts are not shared again */
    struct group plan;        /* of the records that were last run in blocks */
    uint32_t groups;          /* plans made so far: the number of the last */
    uint64_t elided_clock;    /* a leaf set after this has left its old values in its shadow */
    bool worth_blocks;        /* some record has rows enough */
    bool replan;              /* a record of the plan is to be stored from now on */
    bool elided;              /* some record's values may not be stored */
    bool moved;               /* an input's values are elsewhere than when it was planned */
    size_t bytes;
    ag_allocator *allocator;
    void *allocator_context;
    ag_rng rng;
    ag_dtype dtype;
    bool failed, located; /* there is an error; it tells the place of the call */
    char error[ERROR_SIZE];
};

/* ---- Memory (memory.c) ---- */

/* The one choke point: as realloc, NULL when out of memory. tape_realloc makes that the error. */
void *tape_try(ag_tape *tape, void *block, size_t old_size, size_t size);
void *tape_realloc(ag_tape *tape, void *block, size_t old_size, size_t size);

/* An array in twice the room, and capacity with it; NULL with the error, and all stays. */
void *tape_grow(ag_tape *tape, void *array, uint32_t *capacity, size_t element);

void arena_rewind(struct arena *arena);
void arena_free(ag_tape *tape, struct arena *arena);
const char *arena_string(ag_tape *tape, struct arena *arena, const char *text);
bool scratch_try(ag_tape *tape, struct scratch *scratch, size_t size);
bool scratch_grow(ag_tape *tape, struct scratch *scratch, size_t size); /* or the error */
void scratch_free(ag_tape *tape, struct scratch *scratch);

COLD void *out_of_memory(ag_tape *tape, size_t size);              /* NULL, with the error */
void *arena_grow(ag_tape *tape, struct arena *arena, size_t size); /* for the next alone */

/* The next multiple of KERNEL_ALIGN. */
static inline size_t aligned(size_t size)
{
    return (size + KERNEL_ALIGN - 1) & ~(size_t)(KERNEL_ALIGN - 1);
}

/* Aligned to KERNEL_ALIGN, not cleared; NULL with the error. */
static inline void *arena_allocate(ag_tape *tape, struct arena *arena, size_t size)
{
    size = aligned(size);
    if (size > (size_t)(arena->end - arena->free))
        return arena_grow(tape, arena, size);
    void *block = arena->free;
    arena->free += size;
    return block;
}

/* Back to, or on to, a place where it stood before. */
void arena_move(struct arena *arena, char *to);

/* ---- Records and handles (tape.c) ---- */

static inline struct record *record_at(const ag_tape *tape, uint32_t index)
{
    return index & LASTING ? &tape->lasting.at[index & ~LASTING] : &tape->transient.at[index];
}

static inline struct record *input_of(const ag_tape *tape, const struct record *r, int i)
{
    return record_at(tape, r->input[i]);
}

static inline ag_tensor handle(ag_tape *tape, uint32_t index)
{
    return (ag_tensor){tape, index, index & LASTING ? 0 : tape->epoch};
}

static inline size_t element_size(const ag_tape *tape)
{
    return tape->kernels->element;
}

static inline size_t bytes_of(const ag_tape *tape, const struct record *r)
{
    return (size_t)r->count * element_size(tape);
}

/* The record behind a handle, or NULL if the handle is not valid. */
static inline struct record *find(ag_tensor x)
{
    if (!x.tape)
        return NULL;
    bool lasting = x.index & LASTING;
    uint32_t index = x.index & ~LASTING;
    const struct records *records = lasting ? &x.tape->lasting : &x.tape->transient;
    if (!index || index >= records->count || x.epoch != (lasting ? 0 : x.tape->epoch))
        return NULL;
    return &records->at[index];
}

/* The same for a function of the public interface: a bad handle becomes the sticky error, in the
 * name of `who`. */
COLD void complain(ag_tensor x, const char *who);

static inline struct record *resolve(ag_tensor x, const char *who)
{
    struct record *r = find(x);
    if (!r && x.tape)
        complain(x, who);
    return r;
}

bool grow_records(ag_tape *tape, struct records *records);

/* ---- Recording (record.c) ---- */

/* A new record with memory for `shape`, whose values are not set; 0 on error. */
uint32_t new_leaf(ag_tape *tape, const struct op *op, const char *name, ag_shape shape,
                  bool lasting);

/* A leaf filled with one value. */
ag_tensor constant(ag_tape *tape, const struct op *op, ag_shape shape, double value);

/* Takes the record at the end of the tape as it stood there before the reset, under this name. */
ag_tensor repeat(ag_tape *tape, const char *name);

/* ---- Running (replay.c) ---- */

void run_window(ag_tape *tape, uint32_t first, uint32_t end); /* as fits best; first 1: a replay */
void run_range(ag_tape *tape, uint32_t first, uint32_t end);  /* one by one, every value stored */

static inline void run_pending(ag_tape *tape)
{
    if (tape->ran == tape->transient.count)
        return;
    run_window(tape, tape->ran, tape->transient.count);
    tape->ran = tape->transient.count;
}

/* ---- Threads (threads.c) ---- */

/* A rough estimate of what an element-wise op takes an element, on one thread. */
#define NANOSECONDS 0.2

/* Is work of about so many nanoseconds worth the trouble of sharing it? */
static inline bool worth_sharing(const ag_tape *tape, double work)
{
    return work >= tape->least_shared && tape->threads != 1 && !tape->sharing;
}

/* How many threads there are for such work: 1, or all that the tape may use. */
int threads_for(ag_tape *tape, double work);

/* Runs parts 0 .. parts - 1 of something, each once, in any order, on any of the threads numbered 0
 * (the caller) .. threads - 1. */
typedef void part_function(void *context, size_t part, int thread);
void run_parts(ag_tape *tape, int threads, size_t parts, part_function *run, void *context);

/* Cuts n elements (or rows, ...) in a share for each thread, of whole units but for the last, which
 * is no smaller than one unless n is. */
typedef void share_function(void *context, size_t first, size_t count, int thread);
void run_shares(ag_tape *tape, int threads, size_t n, size_t unit, share_function *run,
                void *context);

/* The same of elements side by side: are there enough, and in shares. */
enum { LEAST_ELEMENTS = 1024 };

static inline bool worth_sharing_elements(const ag_tape *tape, size_t n)
{
    return n >= 2 * LEAST_ELEMENTS && worth_sharing(tape, NANOSECONDS * (double)n);
}

void share_elements(ag_tape *tape, size_t n, share_function *run, void *context);

/* Scratch memory for each of the threads; returns how many have as much. */
int give_workspaces(ag_tape *tape, int threads, size_t size);
void *workspace_of(const ag_tape *tape, int thread);

bool threads_from_environment(ag_tape *tape); /* false with the error */
void pool_free(ag_tape *tape);

/* ---- Running by blocks of rows (blocks.c) ---- */

void blocks_free(ag_tape *tape);
bool blocks_note(ag_tape *tape, struct record *r);   /* of a record just made; false on error */
void settle(ag_tape *tape);                          /* computes what was elided */
void start_storing(ag_tape *tape, struct record *r); /* now, and on replays */
/* Keeps the values of a leaf for elided records before it changes; all: each is written before
 * anybody looks at one. */
void keep_shadow(ag_tape *tape, struct record *leaf, bool all);

/* A record that was run is about to be read. */
static inline void pin(ag_tape *tape, struct record *r)
{
    if (!r->pinned || r->elided)
        start_storing(tape, r);
}

/* A leaf is about to change (all: see keep_shadow). What was recorded before must have been run on
 * the old values. */
static inline void touch(ag_tape *tape, struct record *leaf, bool all)
{
    if (tape->elided)
        keep_shadow(tape, leaf, all);
    leaf->clock = ++tape->clock;
}

/* ---- Shapes (shape.c) ---- */

static inline bool shape_equal(const ag_shape *a, const ag_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static inline int64_t shape_count(const ag_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= shape->dim[i];
    return count;
}

bool shape_check(ag_tape *tape, const char *who, ag_shape shape); /* rank, sizes, overflow */

/* "(64, 8)", to be printed in one expression: shape_words(&shape).at */
struct shape_words {
    char at[SHAPE_TEXT];
};
struct shape_words shape_words(const ag_shape *shape);

bool shape_broadcast(const ag_shape *a, const ag_shape *b, ag_shape *result);

/* Which element this is, row by row, as a position on each axis. */
ag_shape position_of(int64_t element, const ag_shape *shape);

/* Text that is cut, not overrun, at the end of its buffer. */
struct text {
    char *at;
    size_t size, length;
    const struct labels *labels; /* what tensors without a name are called; or NULL */
};

void text_add(struct text *text, const char *format, ...) AG_PRINTF(2, 3);

/* Writes the expression that made a tensor, with names where they were given, cut at about `width`
 * characters. expression_of spells out the record itself even where it has a name. */
void expression(struct text *text, const ag_tape *tape, uint32_t index, int width);
void expression_of(struct text *text, const ag_tape *tape, uint32_t index, int width);

void default_warning(void *context, const char *message);

/* The record with its values computed; NULL with the error. */
const struct record *computed(ag_tensor x, const char *who);

double element_at(const ag_tape *tape, const struct record *r, int64_t i);

/* Whether there is a file to write to; false with the error, in the name of `who`. */
bool can_write(ag_tape *tape, const FILE *out, const char *who);

#endif
