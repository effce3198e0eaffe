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

bool grow_records(ag_tape *tape, struct records *records)
{
    if (2 * records->capacity & LASTING)
        return fault(tape, "the tape is full: %u records; ag_tape_reset makes room",
                     records->count);
    struct record *at = tape_grow(tape, records->at, &records->capacity, sizeof *at);
    if (!at)
        return false;
    records->at = at;
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
                      .dtype = dtype == AG_F64 ? AG_F64 : AG_F32,
                      .warning = default_warning,
                      .least_shared = 1e5, /* waking a thread may take some 50 microseconds */
                      .epoch = 1,
                      .transient.count = 1,
                      .lasting.count = 1,
                      .ran = 1};
    ag_rng_seed(&tape->rng, 0);
    if (!grow_records(tape, &tape->transient) || !grow_records(tape, &tape->lasting) ||
        !arena_grow(tape, &tape->arena, 0)) {
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
    if (dtype != tape->dtype)
        ag_fail(tape, "tape_new: element type %d is neither AG_F32 nor AG_F64", (int)dtype);
    threads_from_environment(tape);
    return tape;
}

void ag_tape_free(ag_tape *tape)
{
    if (!tape)
        return;
    pool_free(tape);
    arena_free(tape, &tape->arena);
    arena_free(tape, &tape->lasting_arena);
    tape_realloc(tape, tape->transient.at, tape->transient.capacity * sizeof(struct record), 0);
    tape_realloc(tape, tape->notes.at, tape->notes.capacity * sizeof(struct note), 0);
    tape_realloc(tape, tape->lasting.at, tape->lasting.capacity * sizeof(struct record), 0);
    scratch_free(tape, &tape->workspace);
    scratch_free(tape, &tape->partial);
    scratch_free(tape, &tape->slots);
    blocks_free(tape);
    tape->allocator(tape->allocator_context, tape, sizeof *tape, 0);
}

void ag_tape_reset(ag_tape *tape)
{
    if (!tape)
        return;
    arena_rewind(&tape->arena);
    tape->repeatable = tape->transient.count;
    tape->transient.count = tape->ran = 1;
    tape->notes.count = tape->walks = 0;
    tape->elided = tape->worth_blocks = false;
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
void complain(ag_tensor x, const char *who)
{
    if (x.index && x.epoch != x.tape->epoch)
        ag_fail(x.tape,
                "%s: stale tensor: it was made before the last ag_tape_reset, which took it; "
                "only parameters and buffers outlast a reset",
                who);
    else
        ag_fail(x.tape, "%s: invalid tensor: the op that was to make it failed", who);
}
