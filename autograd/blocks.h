/* What planning (plan.c) hands to running by blocks of rows (blocks.c). */
#ifndef TAPEGRAD_BLOCKS_H
#define TAPEGRAD_BLOCKS_H

#include "ops/ops.h"

/* Rows run ROWS at a time, and a chunk of blocks is one thread's at a time. How many blocks make a
 * chunk depends on the rows alone, so that sums, which are made by chunks, do as well. */
enum { ROWS = 64, CHUNK_BLOCKS = 4, MOST_CHUNKS = 64 };

static inline int64_t ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static inline int64_t rows_of_chunk(int64_t rows)
{
    int64_t blocks = ceil_div(ceil_div(rows, ROWS), MOST_CHUNKS);
    return ROWS * (blocks > CHUNK_BLOCKS ? blocks : CHUNK_BLOCKS);
}

static inline int64_t chunks_of(int64_t rows)
{
    return ceil_div(rows, rows_of_chunk(rows));
}

/* A part in the group now being planned: struct record's `role`, which counts while its `group` is
 * the tape's. Of a step, FUSED: it runs together with a later one. */
enum role { OUTSIDE, CUT, WHOLE, ROW, SUM_OF_ROWS, LATER, FUSED };

enum { MOST_FUSED = 3 };

/* One record of a group, or an operand that it cuts into blocks. */
struct step {
    struct record *r, *out; /* what is run, and whose values come of it: the same, or the last of */
    struct fusion fused;    /* what comes with it */
    struct record *fused_records[MOST_FUSED]; /* the others: r and what stands between; then NULL */
    char *data, *slot; /* out's memory in full; where its block goes if it is elided */
    char *sums;        /* of SUM_OF_ROWS: a sum for each chunk but the first */
    enum role role;
    int number; /* of its slot, or -1 */
    size_t row_bytes;
    int64_t row_count, loop_rows; /* of one row: elements, and r->loop's outermost size */
};

/* Another thread's copy of what running changes: the records, and the steps that point at them. */
struct runner {
    ag_tape tape;
    struct step *step;
    struct loop *loop; /* of the steps' records: they are cut as well */
    char *slots;
    struct scratch memory; /* of all these */
    size_t taken;
    uint32_t group; /* the plan that it is a copy of */
};

struct group {
    struct step *step;
    uint32_t count, capacity;
    uint32_t first, end; /* the records that it was planned for; end 0: not planned */
    int64_t rows;
    double work; /* see threads_for */
    struct scratch slots, sums;
    size_t slot_size, partial_size; /* bytes of a slot, and of the largest sum */
    struct arena shadows;           /* of inputs; a parameter's lasts as long as itself */
    struct runner *runner;          /* one for each thread but the tape's own */
    int runners;
};

struct step make_step(struct record *r, enum role role, int64_t rows, size_t element);
int64_t rows_of(const ag_tape *tape, const struct record *r); /* of one that goes by rows */
bool is_cut(const struct record *r, int k);                   /* is operand k, along with r? */

/* Runs one record by itself. A sum over many rows is made of the same parts as in a group. */
void run_sum_of_rows(ag_tape *tape, struct record *r);

static inline void run_record(ag_tape *tape, struct record *r)
{
    if (!r->op->forward || (r->op->random && tape->checking))
        return;
    if (r->sums_chunks)
        run_sum_of_rows(tape, r);
    else
        r->op->forward(tape, r);
}

/* Plans a group among the records from first to end; out of memory, which is the sticky error,
 * there is none. */
void make_plan(ag_tape *tape, uint32_t first, uint32_t end);
enum role role_of(const ag_tape *tape, const struct record *x);
void bring_home(ag_tape *tape, struct record *input); /* its shadow being free, from there */
void place_slots(struct step *step, uint32_t count, char *slots, size_t slot_size);

#endif
