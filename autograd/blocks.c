/* Running many rows block by block, so that what passes between records stays in cache.
 *
 * Records that treat the rows of a batch one by one (element-wise ops; a product with a small
 * matrix on the right) and those that sum over the rows (a bias gradient; Xᵀ @ dY) form a group,
 * and the group runs ROWS rows at a time, from its first record to its last. What only the group
 * itself reads is then kept in small slots that are used again and again, and is never written out
 * in full: it is `elided`. If anybody asks for it later, settle() computes it; for the case that a
 * parameter or an input has been set by then, the values it had are kept beside it.
 *
 * Blocks are run in chunks, by as many threads as there are for it. A sum over rows is made of the
 * sums of its chunks, in order, and that of a chunk of its blocks', whether it runs in a group or
 * alone: so neither grouping nor threads change a bit. */
#include "blocks.h"

#include <string.h>

enum { WORTH = 8 << 10 };

/* ---- One block ---- */

static void cut_record(struct record *r, int64_t rows, int64_t row_count)
{
    r->count = rows * row_count;
    r->shape.dim[0] = rows;
}

/* Points a step at its rows. */
static void cut(const ag_tape *tape, const struct step *s, char *data, int64_t rows)
{
    struct record *r = record_at(tape, s->r), *last = record_at(tape, s->fused.last);
    last->data = data;
    cut_record(last, rows, s->row_count);
    if (last != r)
        cut_record(r, rows, s->row_count);
    if (s->loop_rows)
        r->loop->dim[r->loop->rank - 1] = rows * s->loop_rows;
}

/* A chunk's first block is summed into place, any other added. */
static void run_sum(ag_tape *tape, const struct step *s, char *to, bool first)
{
    struct record *r = record_at(tape, s->r);
    bool add = !first && r->op->forward_add;
    r->data = first || add ? to : tape->partial.at;
    (add ? r->op->forward_add : r->op->forward)(tape, r);
    if (!first && !add)
        pairwise(tape->kernels, BINARY_ADD, (size_t)r->count, to, r->data, to);
    r->data = s->data;
}

static void run_step(ag_tape *tape, const struct step *s, int64_t first, int64_t rows)
{
    const struct record *r = record_at(tape, s->r);
    char *data = s->slot < 0 ? s->data + (size_t)first * s->row_bytes
                             : tape->slots.at + (size_t)s->slot * tape->plan.slot_size;
    cut(tape, s, data, rows);
    if (s->role == CUT)
        return;
    if (s->fused.last != s->r)
        r->op->forward_fused(tape, r, &s->fused);
    else
        r->op->forward(tape, r);
}

/* ---- All blocks ---- */

struct blocks {
    ag_tape *tape;
    const struct step *step, *end;
    int64_t rows;
    size_t partial_size;
    struct runner *runner; /* of threads but the first */
};

static char *sum_of_chunk(const struct blocks *b, const struct step *s, size_t chunk)
{
    size_t bytes = aligned(bytes_of(b->tape, record_at(b->tape, s->r)));
    return chunk ? b->tape->partial.at + b->partial_size + s->sums + (chunk - 1) * bytes : s->data;
}

static void run_chunk(void *context, size_t chunk, int thread)
{
    const struct blocks *b = context;
    ag_tape *tape = thread ? &b->runner[thread - 1].tape : b->tape;
    int64_t start = (int64_t)chunk * rows_of_chunk(b->rows), end = start + rows_of_chunk(b->rows);
    end = end < b->rows ? end : b->rows;
    for (int64_t first = start; first < end; first += ROWS) {
        int64_t rows = end - first < ROWS ? end - first : ROWS;
        for (const struct step *s = b->step; s < b->end; s++)
            if (s->role == SUM_OF_ROWS)
                run_sum(tape, s, sum_of_chunk(b, s, chunk), first == start);
            else
                run_step(tape, s, first, rows);
    }
}

static void run_blocks(struct blocks *b, int threads)
{
    ag_tape *tape = b->tape;
    size_t chunks = (size_t)chunks_of(b->rows);
    run_parts(tape, threads, chunks, run_chunk, b);
    for (const struct step *s = b->step; s < b->end; s++) {
        if (s->role != SUM_OF_ROWS) {
            cut(tape, s, s->data, b->rows);
            continue;
        }
        size_t count = (size_t)record_at(tape, s->r)->count;
        for (size_t i = 1; i < chunks; i++)
            pairwise(tape->kernels, BINARY_ADD, count, s->data, sum_of_chunk(b, s, i), s->data);
    }
}

void run_sum_of_rows(ag_tape *tape, struct record *r)
{
    struct step step[MAX_INPUTS + 1], *s = step;
    struct blocks b = {.tape = tape,
                       .step = step,
                       .rows = rows_of(tape, r),
                       .partial_size = aligned(bytes_of(tape, r))};
    for (int k = 0; k < r->inputs; k++)
        if (is_cut(r, k) && (k == 0 || r->input[k] != r->input[0]))
            *s++ = make_step(tape, r->input[k], CUT, b.rows);
    *s++ = make_step(tape, (uint32_t)(r - tape->transient.at), SUM_OF_ROWS, b.rows);
    b.end = s;
    run_blocks(&b, 1);
}

/* ---- Copies for other threads ---- */

/* The next part of memory; where there is none yet, its size is counted. */
static void *take(char *memory, size_t *taken, size_t size)
{
    void *at = memory ? memory + *taken : NULL;
    *taken += aligned(size);
    return at;
}

/* Returns how much memory it takes. */
COLD static size_t lay_out(struct runner *runner, const ag_tape *tape, char *memory)
{
    size_t taken = 0;
    runner->loop = take(memory, &taken, tape->plan.count * sizeof *runner->loop);
    runner->tape.transient.at = take(memory, &taken, tape->transient.count * sizeof(struct record));
    runner->tape.lasting.at = take(memory, &taken, tape->lasting.count * sizeof(struct record));
    runner->tape.slots.at = take(memory, &taken, tape->slots.size);
    runner->tape.workspace.at = take(memory, &taken, tape->workspace.size);
    runner->tape.partial.at = take(memory, &taken, tape->plan.partial_size);
    return taken;
}

/* False when out of memory, which is no error: then there is one thread less. */
COLD static bool copy_tape(struct runner *runner, ag_tape *tape)
{
    const struct group *group = &tape->plan;
    if (runner->group == tape->groups)
        return true;
    runner->group = 0;
    if (!scratch_try(tape, &runner->memory, lay_out(runner, tape, NULL)))
        return false;
    runner->tape = *tape;
    runner->tape.pool = NULL;
    runner->tape.threads = 1;
    lay_out(runner, tape, runner->memory.at);
    memcpy(runner->tape.transient.at, tape->transient.at,
           tape->transient.count * sizeof(struct record));
    memcpy(runner->tape.lasting.at, tape->lasting.at, tape->lasting.count * sizeof(struct record));
    for (uint32_t i = 0; i < group->count; i++) {
        struct record *r = record_at(&runner->tape, group->step[i].r);
        if (group->step[i].loop_rows) {
            runner->loop[i] = *r->loop;
            r->loop = &runner->loop[i];
        }
    }
    runner->group = tape->groups;
    return true;
}

/* Follows inputs to where their values are now. */
static void follow_inputs(ag_tape *tape)
{
    struct group *group = &tape->plan;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++)
        if (s->role == CUT)
            s->data = record_at(tape, s->r)->data;
    for (int i = 0; i < group->runners; i++)
        for (uint32_t k = 1; group->runner[i].group == tape->groups && k < group->end; k++)
            if (tape->transient.at[k].op->leaf)
                group->runner[i].tape.transient.at[k].data = tape->transient.at[k].data;
    tape->moved = false;
}

/* How many threads there are copies for. */
static int copy_for(ag_tape *tape, int threads)
{
    struct group *group = &tape->plan;
    if (threads - 1 > group->runners) {
        struct runner *runner =
            tape_try(tape, group->runner, (size_t)group->runners * sizeof *runner,
                     (size_t)(threads - 1) * sizeof *runner);
        if (!runner)
            return 1;
        group->runner = runner;
        for (; group->runners < threads - 1; group->runners++)
            runner[group->runners] = (struct runner){.group = 0};
    }
    int copies = 1;
    while (copies < threads && copy_tape(&group->runner[copies - 1], tape))
        copies++;
    return copies;
}

/* ---- The engine's side ---- */

static bool reads_elided(const ag_tape *tape, uint32_t first, uint32_t end)
{
    for (const struct record *r = &tape->transient.at[first]; first < end; first++, r++)
        for (int k = 0; k < r->inputs; k++)
            if (input_of(tape, r, k)->elided)
                return true;
    return false;
}

static void run_group(ag_tape *tape)
{
    const struct group *group = &tape->plan;
    if (tape->moved)
        follow_inputs(tape);
    int threads = threads_for(tape, group->work);
    threads = threads > 1 ? copy_for(tape, threads) : 1;
    struct blocks b = {.tape = tape,
                       .step = group->step,
                       .end = group->step + group->count,
                       .rows = group->rows,
                       .partial_size = group->partial_size,
                       .runner = group->runner};
    run_blocks(&b, threads);
    for (const struct step *s = b.step; s < b.end; s++) {
        if (s->slot >= 0)
            record_at(tape, s->fused.last)->elided = tape->elided = true;
        for (uint32_t i = s->fused.last; i != s->r;) {
            i = record_at(tape, i)->input[0]; /* what was fused, from the last to the first */
            record_at(tape, i)->elided = tape->elided = true;
        }
    }
}

void run_window(ag_tape *tape, uint32_t first, uint32_t end)
{
    const struct group *group = &tape->plan;
    bool again = first == 1;
    if (tape->elided && !again &&
        (tape->clock != tape->elided_clock || reads_elided(tape, first, end)))
        settle(tape);
    tape->elided_clock = tape->clock;
    bool blocks = tape->worth_blocks && !tape->tracing;
    if (blocks && (group->first != first || group->end != end || tape->replan))
        make_plan(tape, first, end);
    if (!blocks || !group->rows) {
        run_range(tape, first, end);
        return;
    }
    run_group(tape);
    for (uint32_t i = first; i < end; i++)
        if (role_of(tape, &tape->transient.at[i]) == LATER)
            run_record(tape, &tape->transient.at[i]);
}

static void swap_shadow(struct record *leaf)
{
    void *data = leaf->data;
    leaf->data = leaf->shadow;
    leaf->shadow = data;
}

/* Of the leaves that were set since: to what elided records saw, or back. */
static void swap_shadows(const ag_tape *tape, const struct records *records, uint32_t end)
{
    for (struct record *r = records->at + 1; r < records->at + end; r++)
        if (r->shadow && r->clock > tape->elided_clock)
            swap_shadow(r);
}

void settle(ag_tape *tape)
{
    if (!tape->elided)
        return;
    for (int back = 0; back < 2; back++) {
        swap_shadows(tape, &tape->lasting, tape->lasting.count);
        swap_shadows(tape, &tape->transient, tape->ran);
        for (uint32_t i = 1; i < tape->ran && !back; i++)
            if (tape->transient.at[i].elided)
                run_record(tape, &tape->transient.at[i]);
    }
    tape->elided = false;
}

/* Where all of an input changes, and nobody has its address, it changes places with its shadow. */
void keep_shadow(ag_tape *tape, struct record *leaf, bool all)
{
    if (!leaf->shadow || leaf->clock > tape->elided_clock)
        return;
    if (!all || leaf->pinned || leaf->op != &input_op) {
        memcpy(leaf->shadow, leaf->data, bytes_of(tape, leaf));
        return;
    }
    swap_shadow(leaf);
    tape->moved = true;
}

void start_storing(ag_tape *tape, struct record *r)
{
    if (r->elided)
        settle(tape);
    if (!r->pinned && tape->worth_blocks)
        tape->replan = true;
    r->pinned = true;
}

void blocks_free(ag_tape *tape)
{
    struct group *group = &tape->plan;
    for (int i = 0; i < group->runners; i++)
        scratch_free(tape, &group->runner[i].memory);
    tape_realloc(tape, group->runner, (size_t)group->runners * sizeof *group->runner, 0);
    tape_realloc(tape, group->step, group->capacity * sizeof *group->step, 0);
}

/* What an op that goes by rows has to know when it is recorded; false on error. */
bool blocks_note(ag_tape *tape, struct record *r)
{
    size_t size = bytes_of(tape, r);
    if (!r->cut_operands || rows_of(tape, r) < ROWS)
        return true;
    r->sums_chunks = r->sums_rows && rows_of(tape, r) > ROWS;
    if (r->sums_rows) /* a block's sum, and one for each chunk but the first */
        return scratch_grow(tape, &tape->partial,
                            aligned(size) * (size_t)chunks_of(rows_of(tape, r)));
    r->worth_blocks = size >= WORTH;
    tape->worth_blocks |= r->worth_blocks;
    return true;
}
