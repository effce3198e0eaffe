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
static void cut(const struct step *s, char *data, int64_t rows)
{
    s->out->data = data;
    cut_record(s->out, rows, s->row_count);
    if (s->fused.last)
        cut_record(s->r, rows, s->row_count);
    if (s->loop_rows)
        s->r->loop->dim[s->r->loop->rank - 1] = rows * s->loop_rows;
}

/* A chunk's first block is summed into place, any other added. */
static void run_sum(ag_tape *tape, const struct step *s, char *to, bool first)
{
    struct record *r = s->r;
    bool add = !first && r->op->forward_add;
    r->data = first || add ? to : tape->partial.at;
    (add ? r->op->forward_add : r->op->forward)(tape, r);
    if (!first && !add)
        tape->kernels->binary[BINARY_ADD](1, (size_t)r->count, &(struct operand){to, 0, 1},
                                          &(struct operand){r->data, 0, 1}, to);
    r->data = s->data;
}

static void run_step(ag_tape *tape, const struct step *s, int64_t first, int64_t rows)
{
    cut(s, s->slot ? s->slot : s->data + (size_t)first * s->row_bytes, rows);
    if (s->role == CUT)
        return;
    if (s->fused.last)
        s->r->op->forward_fused(tape, s->r, &s->fused);
    else
        s->r->op->forward(tape, s->r);
}

/* ---- All blocks ---- */

struct blocks {
    ag_tape *tape;
    const struct step *step;
    uint32_t count;
    int64_t rows;
    struct runner *runner; /* of threads but the first */
};

static char *sum_of_chunk(const struct step *s, int64_t chunk, size_t element)
{
    return chunk ? s->sums + (size_t)((chunk - 1) * s->r->count) * element : s->data;
}

static void run_chunk(void *context, size_t chunk, int thread)
{
    const struct blocks *b = context;
    struct runner *runner = thread ? &b->runner[thread - 1] : NULL;
    ag_tape *tape = runner ? &runner->tape : b->tape;
    const struct step *step = runner ? runner->step : b->step, *last = step + b->count;
    int64_t start = (int64_t)chunk * rows_of_chunk(b->rows), end = start + rows_of_chunk(b->rows);
    end = end < b->rows ? end : b->rows;
    for (int64_t first = start; first < end; first += ROWS) {
        int64_t rows = end - first < ROWS ? end - first : ROWS;
        for (const struct step *s = step; s < last; s++)
            if (s->role == SUM_OF_ROWS)
                run_sum(tape, s, sum_of_chunk(s, (int64_t)chunk, element_size(tape)),
                        first == start);
            else
                run_step(tape, s, first, rows);
    }
}

static void run_blocks(struct blocks *b, int threads)
{
    ag_tape *tape = b->tape;
    size_t chunks = (size_t)chunks_of(b->rows);
    run_parts(tape, threads, chunks, run_chunk, b);
    for (const struct step *s = b->step, *end = s + b->count; s < end; s++) {
        if (s->role != SUM_OF_ROWS) {
            cut(s, s->data, b->rows);
            continue;
        }
        struct operand sum = {s->data, 0, 1}, part = {s->sums, 0, 1};
        for (size_t i = 1; i < chunks; i++) {
            part.data = sum_of_chunk(s, (int64_t)i, element_size(tape));
            tape->kernels->binary[BINARY_ADD](1, (size_t)s->r->count, &sum, &part, s->data);
        }
    }
}

void run_sum_of_rows(ag_tape *tape, struct record *r)
{
    struct step step[MAX_INPUTS + 1];
    struct blocks b = {.tape = tape, .step = step, .rows = rows_of(tape, r)};
    for (int k = 0; k < r->inputs; k++)
        if (is_cut(r, k) && (k == 0 || r->input[k] != r->input[0]))
            step[b.count++] = make_step(input_of(tape, r, k), CUT, b.rows, element_size(tape));
    step[b.count] = make_step(r, SUM_OF_ROWS, b.rows, element_size(tape));
    step[b.count++].sums = tape->partial.at + (size_t)r->count * element_size(tape);
    run_blocks(&b, 1);
}

/* ---- Copies for other threads ---- */

/* The next part of a runner's memory; where there is none yet, its size is counted. */
static void *take(struct runner *runner, size_t size)
{
    void *at = runner->memory.at ? runner->memory.at + runner->taken : NULL;
    runner->taken += (size + KERNEL_ALIGN - 1) & ~(size_t)(KERNEL_ALIGN - 1);
    return at;
}

static void lay_out(struct runner *runner, const ag_tape *tape)
{
    const struct group *group = tape->plan;
    runner->taken = 0;
    runner->step = take(runner, group->count * sizeof *runner->step);
    runner->loop = take(runner, group->count * sizeof *runner->loop);
    runner->slots = take(runner, group->slots.size);
    runner->tape.transient.at = take(runner, tape->transient.count * sizeof(struct record));
    runner->tape.lasting.at = take(runner, tape->lasting.count * sizeof(struct record));
    runner->tape.workspace.at = take(runner, tape->workspace.size);
    runner->tape.partial.at = take(runner, group->partial_size);
}

static bool is_transient(const ag_tape *tape, const struct record *r)
{
    return r >= tape->transient.at && r < tape->transient.at + tape->transient.count;
}

static struct record *copy_of(const struct runner *runner, const ag_tape *tape,
                              const struct record *r)
{
    if (!r)
        return NULL;
    return is_transient(tape, r) ? &runner->tape.transient.at[r - tape->transient.at]
                                 : &runner->tape.lasting.at[r - tape->lasting.at];
}

static void copy_step(struct runner *runner, const ag_tape *tape, uint32_t i)
{
    struct step *s = &runner->step[i];
    *s = tape->plan->step[i];
    s->r = copy_of(runner, tape, s->r);
    s->out = copy_of(runner, tape, s->out);
    s->fused =
        (struct fusion){copy_of(runner, tape, s->fused.bias),
                        copy_of(runner, tape, s->fused.activation),
                        copy_of(runner, tape, s->fused.gate), copy_of(runner, tape, s->fused.last)};
    if (!s->loop_rows)
        return;
    runner->loop[i] = *s->r->loop;
    s->r->loop = &runner->loop[i];
}

/* False when out of memory, which is no error: then there is one thread less. */
static bool copy_group(struct runner *runner, ag_tape *tape)
{
    const struct group *group = tape->plan;
    if (runner->group == tape->groups)
        return true;
    runner->group = 0;
    runner->tape = *tape;
    runner->tape.pool = NULL;
    runner->tape.threads = 1;
    struct scratch memory = runner->memory;
    runner->memory.at = NULL;
    lay_out(runner, tape);
    runner->memory = memory;
    if (!scratch_try(tape, &runner->memory, runner->taken))
        return false;
    lay_out(runner, tape);
    memcpy(runner->tape.transient.at, tape->transient.at,
           tape->transient.count * sizeof(struct record));
    memcpy(runner->tape.lasting.at, tape->lasting.at, tape->lasting.count * sizeof(struct record));
    for (uint32_t i = 0; i < group->count; i++)
        copy_step(runner, tape, i);
    place_slots(runner->step, group->count, runner->slots, group->slot_size);
    runner->group = tape->groups;
    return true;
}

/* Follows inputs to where their values are now. */
static void follow_inputs(ag_tape *tape)
{
    struct group *group = tape->plan;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++)
        if (s->role == CUT)
            s->data = s->r->data;
    for (int i = 0; i < group->runners; i++) {
        struct runner *runner = &group->runner[i];
        for (uint32_t k = 0; runner->group == tape->groups && k < group->count; k++)
            runner->step[k].data = group->step[k].data;
        for (uint32_t k = 1; runner->group == tape->groups && k < group->end; k++)
            if (tape->transient.at[k].op->leaf)
                runner->tape.transient.at[k].data = tape->transient.at[k].data;
    }
    tape->moved = false;
}

/* How many threads there are copies for. */
static int copy_for(ag_tape *tape, int threads)
{
    struct group *group = tape->plan;
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
    while (copies < threads && copy_group(&group->runner[copies - 1], tape))
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
    const struct group *group = tape->plan;
    if (tape->moved)
        follow_inputs(tape);
    int threads = threads_for(tape, group->work);
    threads = threads > 1 ? copy_for(tape, threads) : 1;
    run_blocks(&(struct blocks){tape, group->step, group->count, group->rows, group->runner},
               threads);
    for (const struct step *s = group->step, *last = s + group->count; s < last; s++) {
        if (s->slot)
            s->out->elided = tape->elided = true;
        for (int i = 0; i < MOST_FUSED && s->fused_records[i]; i++)
            s->fused_records[i]->elided = tape->elided = true;
    }
}

void run_window(ag_tape *tape, uint32_t first, uint32_t end)
{
    const struct group *group = tape->plan;
    bool again = first == 1;
    if (tape->elided && !again &&
        (tape->clock != tape->elided_clock || reads_elided(tape, first, end)))
        settle(tape);
    tape->elided_clock = tape->clock;
    if (!tape->worth_blocks || tape->tracing) {
        run_range(tape, first, end);
        return;
    }
    if (group->first != first || group->end != end || tape->replan)
        make_plan(tape, first, end);
    tape->replan = false;
    if (!group->rows) {
        run_range(tape, first, end);
        return;
    }
    run_group(tape);
    for (uint32_t i = first; i < end; i++)
        if (role_of(tape, &tape->transient.at[i]) == LATER)
            run_record(tape, &tape->transient.at[i]);
}

static void swap_shadows(ag_tape *tape, const struct record *r)
{
    for (int k = 0; k < r->inputs; k++) {
        struct record *x = input_of(tape, r, k);
        if (!x->shadow || x->clock <= tape->elided_clock || (k && r->input[k] == r->input[0]))
            continue;
        void *data = x->data;
        x->data = x->shadow;
        x->shadow = data;
    }
}

void settle(ag_tape *tape)
{
    for (uint32_t i = 1; tape->elided && i < tape->ran; i++) {
        struct record *r = &tape->transient.at[i];
        if (!r->elided)
            continue;
        swap_shadows(tape, r);
        run_record(tape, r);
        swap_shadows(tape, r);
        r->elided = false;
    }
    tape->elided = false;
}

/* Where all of an input changes, and nobody has its address, it changes places with its shadow. */
void keep_shadow(ag_tape *tape, struct record *leaf, bool all)
{
    if (!leaf->shadow || leaf->clock > tape->elided_clock)
        return;
    if (!all || leaf->pinned || !is_transient(tape, leaf)) {
        memcpy(leaf->shadow, leaf->data, (size_t)leaf->count * element_size(tape));
        return;
    }
    void *data = leaf->data;
    leaf->data = leaf->shadow;
    leaf->shadow = data;
    leaf->moved = !leaf->moved;
    tape->moved = true;
}

void start_storing(ag_tape *tape, struct record *r)
{
    if (r->elided || r->moved)
        settle(tape);
    if (r->moved)
        bring_home(tape, r);
    if (!r->pinned && tape->worth_blocks)
        tape->replan = true;
    r->pinned = true;
}

bool blocks_new(ag_tape *tape)
{
    tape->plan = tape_realloc(tape, NULL, 0, sizeof *tape->plan);
    if (tape->plan)
        *tape->plan = (struct group){0};
    return tape->plan;
}

void blocks_free(ag_tape *tape)
{
    struct group *group = tape->plan;
    if (!group)
        return;
    for (int i = 0; i < group->runners; i++)
        scratch_free(tape, &group->runner[i].memory);
    tape_realloc(tape, group->runner, (size_t)group->runners * sizeof *group->runner, 0);
    tape_realloc(tape, group->step, group->capacity * sizeof *group->step, 0);
    scratch_free(tape, &group->slots);
    scratch_free(tape, &group->sums);
    arena_free(tape, &group->shadows);
    tape_realloc(tape, group, sizeof *group, 0);
}

/* What an op that goes by rows has to know when it is recorded; false on error. */
bool blocks_note(ag_tape *tape, struct record *r)
{
    size_t size = (size_t)r->count * element_size(tape);
    if (!r->cut_operands || rows_of(tape, r) < ROWS)
        return true;
    r->sums_chunks = r->sums_rows && rows_of(tape, r) > ROWS;
    if (r->sums_rows) /* a block's sum, and one for each chunk but the first */
        return scratch_grow(tape, &tape->partial, size * (size_t)chunks_of(rows_of(tape, r)));
    r->worth_blocks = size >= WORTH;
    tape->worth_blocks |= r->worth_blocks;
    return true;
}
