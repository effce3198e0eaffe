/* The tape itself: its life, its records, its handles, and running what was recorded. */
#include "tape.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

static void *libc_allocator(void *context, void *block, size_t old_size, size_t size)
{
    (void)context;
    (void)old_size;
    if (size)
        return realloc(block, size);
    free(block);
    return NULL;
}

static const struct kernels *kernels_for(ag_dtype dtype, const char *isa)
{
    return dtype == AG_F32 ? kernels_f32(isa) : kernels_f64(isa);
}

static bool grow_records(ag_tape *tape, struct records *records)
{
    uint32_t capacity = records->capacity ? 2 * records->capacity : 64;
    if (capacity & LASTING) {
        ag_fail(tape, "the tape is full: %u records; ag_tape_reset makes room", records->count);
        return false;
    }
    struct record *at =
        tape_realloc(tape, records->at, records->capacity * sizeof *at, capacity * sizeof *at);
    if (!at)
        return false;
    records->at = at;
    records->capacity = capacity;
    tape->replan = true; /* a plan points at records */
    return true;
}

ag_tape *ag_tape_new(ag_dtype dtype)
{
    return ag_tape_new_with(dtype, NULL, NULL);
}

ag_tape *ag_tape_new_with(ag_dtype dtype, ag_allocator *allocator, void *context)
{
    if (!allocator)
        allocator = libc_allocator;
    ag_tape *tape = allocator(context, NULL, 0, sizeof *tape);
    if (!tape)
        return NULL;
    *tape = (ag_tape){.allocator = allocator,
                      .allocator_context = context,
                      .bytes = sizeof *tape,
                      .dtype = dtype,
                      .warning = default_warning,
                      .epoch = 1,
                      .transient.count = 1,
                      .lasting.count = 1,
                      .ran = 1};
    ag_rng_seed(&tape->rng, 0);
    if (!grow_records(tape, &tape->transient) || !grow_records(tape, &tape->lasting) ||
        !blocks_new(tape)) {
        ag_tape_free(tape);
        return NULL;
    }
    const char *isa = getenv("TAPEGRAD_ISA");
    tape->kernels = kernels_for(dtype, isa && *isa ? isa : NULL);
    if (!tape->kernels) {
        tape->kernels = kernels_for(dtype, NULL);
        ag_fail(tape,
                "TAPEGRAD_ISA is '%s', which this machine does not run; it may be baseline, "
                "avx2 or avx512",
                isa);
    }
    return tape;
}

void ag_tape_free(ag_tape *tape)
{
    if (!tape)
        return;
    arena_free(tape, &tape->arena);
    arena_free(tape, &tape->lasting_arena);
    tape_realloc(tape, tape->transient.at, tape->transient.capacity * sizeof(struct record), 0);
    tape_realloc(tape, tape->notes.at, tape->notes.capacity * sizeof(struct note), 0);
    tape_realloc(tape, tape->lasting.at, tape->lasting.capacity * sizeof(struct record), 0);
    scratch_free(tape, &tape->workspace);
    scratch_free(tape, &tape->partial);
    blocks_free(tape);
    tape->allocator(tape->allocator_context, tape, sizeof *tape, 0);
}

void ag_tape_reset(ag_tape *tape)
{
    if (!tape)
        return;
    arena_rewind(&tape->arena);
    tape->transient.count = tape->ran = 1;
    tape->notes.count = tape->walks = 0;
    tape->elided = tape->worth_blocks = false;
    tape->replan = true;
    tape->epoch +=
        tape->epoch == UINT32_MAX ? 2 : 1; /* never 0, which is that of lasting handles */
}

ag_dtype ag_tape_dtype(const ag_tape *tape)
{
    return tape ? tape->dtype : AG_F32;
}

size_t ag_tape_length(const ag_tape *tape)
{
    return tape ? tape->transient.count - 1 : 0;
}

size_t ag_tape_bytes(const ag_tape *tape)
{
    return tape ? tape->bytes : 0;
}

const char *ag_tape_isa(const ag_tape *tape)
{
    return tape ? tape->kernels->isa : "";
}

void ag_seed(ag_tape *tape, uint64_t seed)
{
    if (tape)
        ag_rng_seed(&tape->rng, seed);
}

ag_rng *ag_tape_rng(ag_tape *tape)
{
    return tape ? &tape->rng : NULL;
}

void *ag_allocate(ag_tape *tape, size_t size)
{
    if (tape && size > PTRDIFF_MAX / 2)
        return out_of_memory(tape, size);
    void *block = tape ? arena_allocate(tape, &tape->lasting_arena, size) : NULL;
    return block ? memset(block, 0, size) : NULL;
}

/* Says what is wrong with a handle that is not valid. The result of a failed op brings its own
 * error along. */
static void complain(ag_tensor x, const char *who)
{
    if (x.index && x.epoch != x.tape->epoch)
        ag_fail(x.tape,
                "%s: stale tensor: it was made before the last ag_tape_reset, which took it; "
                "only parameters and buffers outlast a reset",
                who);
    else
        ag_fail(x.tape, "%s: invalid tensor: the op that was to make it failed", who);
}

struct record *resolve(ag_tensor x, const char *who)
{
    struct record *r = find(x);
    if (!r && x.tape)
        complain(x, who);
    return r;
}

uint32_t new_leaf(ag_tape *tape, const struct op *op, const char *name, ag_shape shape,
                  bool lasting)
{
    struct records *records = lasting ? &tape->lasting : &tape->transient;
    struct arena *arena = lasting ? &tape->lasting_arena : &tape->arena;
    if (tape->failed || !shape_check(tape, op->name, shape))
        return 0;
    if (records->count == records->capacity && !grow_records(tape, records))
        return 0;
    int64_t count = shape_count(&shape);
    size_t size = (size_t)count * element_size(tape);
    void *data = arena_allocate(tape, arena, size);
    const char *copy = name && data ? arena_string(tape, arena, name) : NULL;
    if (!data || (name && !copy))
        return 0;
    records->at[records->count] = (struct record){.op = op,
                                                  .data = memset(data, 0, size),
                                                  .name = copy,
                                                  .count = count,
                                                  .shape = shape,
                                                  .clock = tape->clock,
                                                  .walk = tape->walking};
    return records->count++ | (lasting ? LASTING : 0);
}

/* What an op returns on a tape that has an error already, which is not to be placed at this call.
 */
static ag_tensor after_error(ag_tape *tape)
{
    tape->located = true;
    return (ag_tensor){.tape = tape};
}

/* The operands of a call that cannot be recorded: they may lack, or be of several tapes. */
static void complain_of(ag_tape *tape, const char *who, const ag_tensor *x, size_t inputs,
                        size_t bad, const char *why)
{
    char lines[ERROR_SIZE / 2] = "", shape[SHAPE_TEXT];
    struct text text = {.at = lines, .size = sizeof lines};
    for (size_t i = 0; i < inputs; i++) {
        text_add(&text, "\n    operand %zu  ", i + 1);
        if (!find(x[i])) {
            text_add(&text, "not a tensor");
            continue;
        }
        shape_print(shape, sizeof shape, &find(x[i])->shape);
        expression(&text, NULL, x[i].tape, x[i].index, 48);
        text_add(&text, "   %s %s%s", shape, x[i].tape->dtype == AG_F32 ? "float32" : "float64",
                 x[i].tape == tape ? "" : ", on another tape");
    }
    ag_fail(tape, "%s: operand %zu of %zu %s%s", who, bad + 1, inputs, why, lines);
}

ag_tensor refuse(const char *who, const ag_tensor *x, size_t inputs)
{
    ag_tape *tape = NULL;
    for (size_t i = 0; i < inputs; i++)
        tape = x[i].tape ? x[i].tape : tape;
    for (size_t i = 0; tape && !tape->failed && i < inputs; i++) {
        if (!x[i].tape)
            complain_of(tape, who, x, inputs, i, "was never set");
        else if (x[i].tape != tape)
            complain_of(tape, who, x, inputs, i,
                        "belongs to another tape than the last; an op takes all from one");
        else
            resolve(x[i], who);
    }
    return (ag_tensor){.tape = tape};
}

static ag_tensor append(const struct call *call)
{
    ag_tape *tape = call->tape;
    struct records *records = &tape->transient;
    int64_t count = shape_count(&call->shape);
    bool sums_rows = false; /* asked before the operands' records can move */
    unsigned cut = call->op->by_rows ? call->op->by_rows(call, &sums_rows) : 0;
    void *data = call->op->view
                     ? call->in[0]->data
                     : arena_allocate(tape, &tape->arena, (size_t)count * element_size(tape));
    if (!data || !scratch_grow(tape, &tape->workspace, call->workspace) ||
        (records->count == records->capacity && !grow_records(tape, records)))
        return handle(tape, 0);
    struct record *r = &records->at[records->count];
    r->op = call->op;
    r->data = data;
    r->name = NULL;
    r->count = count;
    r->shape = call->shape;
    r->attr = call->attr;
    r->loop = call->loop;
    r->clock = tape->clock;
    for (int i = 0; i < MAX_INPUTS; i++)
        r->input[i] = call->input[i];
    r->inputs = (uint8_t)call->inputs;
    r->walk = tape->walking;
    r->trainable = r->elided = r->pinned = false;
    r->sums_rows = cut && sums_rows;
    r->shadow = NULL;
    r->group = r->last_reader = 0;
    r->cut_operands = (uint8_t)cut;
    if (r->cut_operands && !blocks_note(tape, r))
        return handle(tape, 0);
    return handle(tape, records->count++);
}

static ag_tensor record_call(const struct op *op, const ag_tensor *x, int inputs,
                             const struct attributes *attr)
{
    struct call call;
    call.tape = x[0].tape;
    for (int i = 0; i < MAX_INPUTS; i++) {
        call.in[i] = i < inputs && x[i].tape == call.tape ? find(x[i]) : NULL;
        call.input[i] = i < inputs ? x[i].index : 0;
        if (i < inputs && !call.in[i])
            return refuse(op->name, x, (size_t)inputs);
    }
    if (call.tape->failed)
        return after_error(call.tape);
    call.op = op;
    call.inputs = inputs;
    call.attr = attr ? *attr : (struct attributes){0};
    call.shape = call.in[0]->shape;
    call.workspace = 0;
    call.loop = NULL;
    if (op->shape && !op->shape(&call))
        return handle(call.tape, 0);
    return append(&call);
}

ag_tensor record(const struct op *op, ag_tensor x, const struct attributes *attr)
{
    return record_call(op, &x, 1, attr);
}

ag_tensor record2(const struct op *op, ag_tensor x, ag_tensor y, const struct attributes *attr)
{
    return record_call(op, (ag_tensor[]){x, y}, 2, attr);
}

ag_tensor record3(const struct op *op, ag_tensor x, ag_tensor y, ag_tensor z)
{
    return record_call(op, (ag_tensor[]){x, y, z}, 3, NULL);
}

ag_tensor operand_of(ag_tensor y, int i)
{
    return handle(y.tape, y.tape->transient.at[y.index].input[i]);
}
