/* Running many rows block by block, so that what passes between records stays in cache.
 *
 * Records that treat the rows of a batch one by one (element-wise ops; a product with a small
 * matrix on the right) and those that sum over the rows (a bias gradient; Xᵀ @ dY) form a group,
 * and the group runs ROWS rows at a time, from its first record to its last. What only the group
 * itself reads is then kept in small slots that are used again and again, and is never written out
 * in full: it is `elided`. If anybody asks for it later, settle() computes it; for the case that a
 * parameter or an input has been set by then, the values it had are kept beside it.
 *
 * A sum over rows is made of the sums of its blocks, in order, whether it runs in a group or alone:
 * so grouping changes no bit. */
#include <string.h>

#include "ops/ops.h"

enum { ROWS = 64, SLOTS = 8, WORTH = 8 << 10 };

/* A part in the group now being planned: struct record's `role`, which counts while its `group` is
 * the tape's. */
enum role { OUTSIDE, CUT, WHOLE, ROW, SUM_OF_ROWS, LATER };

/* One record of a group, or an operand that it cuts into blocks. */
struct step {
    struct record *r;
    char *data, *slot; /* its memory in full; where its block goes if it is elided */
    enum role role;
    int number; /* of its slot, or -1 */
    int fused;  /* how many of the next steps run together with it */
    size_t row_bytes;
    int64_t row_count, loop_rows; /* of one row: elements, and r->loop's first size */
};

struct group {
    struct step *step;
    uint32_t count, capacity;
    uint32_t first, end; /* the records that it was planned for; end 0: not planned */
    int64_t rows;
    struct scratch slots;
};

/* Are the rows of operand k cut along with r's? */
static bool is_cut(const struct record *r, int k)
{
    return (unsigned)r->cut_operands >> k & 1u;
}

static int64_t rows_of(const ag_tape *tape, const struct record *r)
{
    return r->sums_rows ? input_of(tape, r, 0)->shape.dim[0] : r->shape.dim[0];
}

static struct step make_step(struct record *r, enum role role, int64_t rows, size_t element)
{
    return (struct step){.r = r,
                         .data = r->data,
                         .role = role,
                         .number = -1,
                         .row_count = r->count / rows,
                         .row_bytes = (size_t)(r->count / rows) * element,
                         .loop_rows = r->loop && role == ROW ? r->loop->dim[0] / rows : 0};
}

/* ---- Running ---- */

/* Points a step at its rows first ... first + rows - 1. */
static void cut(const struct step *s, char *data, int64_t rows)
{
    s->r->data = data;
    s->r->count = rows * s->row_count;
    s->r->shape.dim[0] = rows;
    if (s->loop_rows)
        s->r->loop->dim[0] = rows * s->loop_rows;
}

/* The first block is summed into place, any other beside it and added. */
static void run_sum(ag_tape *tape, const struct step *s, bool first)
{
    struct record *r = s->r;
    r->data = first ? s->data : tape->partial.at;
    r->op->forward(tape, r);
    r->data = s->data;
    if (!first)
        tape->kernels->binary[BINARY_ADD](1, (size_t)r->count, (struct operand){r->data, 0, 1},
                                          (struct operand){tape->partial.at, 0, 1}, r->data);
}

/* Runs a product with the bias and activation after it; returns the last of those steps. */
static const struct step *run_fused(ag_tape *tape, const struct step *s, int64_t first,
                                    int64_t rows)
{
    const struct step *last = s + s->fused;
    cut(last, last->slot ? last->slot : last->data + (size_t)first * last->row_bytes, rows);
    s->r->op->forward_fused(tape, s->r, input_of(tape, s[1].r, 1), last->r);
    return last;
}

static void run_blocks(ag_tape *tape, const struct group *group)
{
    const struct step *end = group->step + group->count;
    for (int64_t first = 0; first < group->rows; first += ROWS) {
        int64_t rows = group->rows - first < ROWS ? group->rows - first : ROWS;
        for (const struct step *s = group->step; s < end; s++) {
            if (s->role == SUM_OF_ROWS)
                run_sum(tape, s, first == 0);
            else
                cut(s, s->slot ? s->slot : s->data + (size_t)first * s->row_bytes, rows);
            if (s->role == ROW && s->fused)
                s = run_fused(tape, s, first, rows);
            else if (s->role == ROW)
                s->r->op->forward(tape, s->r);
        }
    }
    for (const struct step *s = group->step; s < end; s++)
        if (s->role != SUM_OF_ROWS)
            cut(s, s->data, group->rows);
}

void run_record(ag_tape *tape, struct record *r)
{
    if (!r->op->forward || (r->op->random && tape->checking))
        return;
    if (!r->sums_rows || rows_of(tape, r) <= ROWS) {
        r->op->forward(tape, r);
        return;
    }
    struct step step[MAX_INPUTS + 1];
    struct group group = {.step = step, .rows = rows_of(tape, r)};
    for (int k = 0; k < r->inputs; k++)
        if (is_cut(r, k) && (k == 0 || r->input[k] != r->input[0]))
            step[group.count++] =
                make_step(input_of(tape, r, k), CUT, group.rows, element_size(tape));
    step[group.count++] = make_step(r, SUM_OF_ROWS, group.rows, element_size(tape));
    run_blocks(tape, &group);
}

/* ---- Planning ---- */

static enum role role_of(const ag_tape *tape, const struct record *x)
{
    return x->group == tape->groups ? (enum role)x->role : OUTSIDE;
}

static void set_role(const ag_tape *tape, struct record *x, enum role role)
{
    x->group = tape->groups;
    x->role = (uint8_t)role;
}

static bool add_step(ag_tape *tape, struct record *r, enum role role)
{
    struct group *group = tape->plan;
    if (group->count == group->capacity) {
        uint32_t capacity = group->capacity ? 2 * group->capacity : 64;
        struct step *step = tape_realloc(tape, group->step, group->capacity * sizeof *step,
                                         capacity * sizeof *step);
        if (!step)
            return false;
        group->step = step;
        group->capacity = capacity;
    }
    group->step[group->count++] = make_step(r, role, group->rows, element_size(tape));
    set_role(tape, r, role);
    return true;
}

/* Can every operand be had block by block, or whole, as r wants it? */
static bool operands_fit(const ag_tape *tape, const struct record *r)
{
    for (int k = 0; k < r->inputs; k++) {
        enum role own = role_of(tape, input_of(tape, r, k));
        bool by_block = is_cut(r, k);
        if (own != OUTSIDE && (by_block ? own != CUT && own != ROW : own != WHOLE))
            return false;
    }
    return true;
}

/* Gives a record its part in the group; false when out of memory. What reads a buffer after a
 * record that changes it must run after that, and so later than the group. */
static bool place(ag_tape *tape, struct record *r)
{
    struct group *group = tape->plan;
    if (!r->inputs)
        return true;
    if (r->op->updates)
        set_role(tape, input_of(tape, r, 0), LATER);
    bool fits = r->cut_operands && rows_of(tape, r) >= ROWS &&
                (!group->rows || rows_of(tape, r) == group->rows) && operands_fit(tape, r);
    if (!fits) {
        set_role(tape, r, LATER);
        return true;
    }
    group->rows = rows_of(tape, r);
    for (int k = 0; k < r->inputs; k++) {
        struct record *x = input_of(tape, r, k);
        if (role_of(tape, x) != OUTSIDE)
            continue;
        if (!(is_cut(r, k)))
            set_role(tape, x, WHOLE);
        else if (!add_step(tape, x, CUT))
            return false;
    }
    return add_step(tape, r, r->sums_rows ? SUM_OF_ROWS : ROW);
}

/* Finds for each record its last reader in the group; UINT32_MAX if it is read elsewhere too. */
static void find_readers(ag_tape *tape, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        tape->transient.at[i].last_reader = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct record *r = &tape->transient.at[i];
        bool inside = role_of(tape, r) == ROW || role_of(tape, r) == SUM_OF_ROWS;
        for (int k = 0; k < r->inputs; k++) {
            struct record *x = input_of(tape, r, k);
            if (!inside)
                x->last_reader = UINT32_MAX;
            else if (x->last_reader != UINT32_MAX)
                x->last_reader = i;
        }
    }
}

/* Leaves that an elided record reads must have room beside them for the values they have now. */
static bool shadow_operands(ag_tape *tape, const struct record *r)
{
    for (int k = 0; k < r->inputs; k++) {
        struct record *x = input_of(tape, r, k);
        if (!x->op->leaf || x->shadow)
            continue;
        x->shadow =
            arena_allocate(tape, r->input[k] & LASTING ? &tape->lasting_arena : &tape->arena,
                           (size_t)x->count * element_size(tape));
        if (!x->shadow)
            return false;
    }
    return true;
}

/* May r write its block over that of x? Element by element, side by side, it may. */
static bool may_overwrite(const ag_tape *tape, const struct record *r, const struct record *x)
{
    for (int k = 0; k < r->inputs; k++)
        if (input_of(tape, r, k) == x)
            return r->op->by_rows == element_rows && x->count == r->count;
    return false;
}

/* Numbers the slots of what only the group reads, again and again the same few; returns their size.
 */
static size_t number_slots(ag_tape *tape)
{
    struct group *group = tape->plan;
    uint32_t tenant[SLOTS];
    size_t size = 0;
    int used = 0;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++) {
        uint32_t index = (uint32_t)(s->r - tape->transient.at);
        if (s->role != ROW || !s->r->last_reader || s->r->last_reader == UINT32_MAX || s->r->pinned)
            continue;
        int slot = 0;
        for (; slot < used; slot++) {
            const struct record *x = &tape->transient.at[tenant[slot]];
            if (x->last_reader < index || (x->last_reader == index && may_overwrite(tape, s->r, x)))
                break;
        }
        if (slot == SLOTS || !shadow_operands(tape, s->r))
            continue;
        used = slot == used ? used + 1 : used;
        tenant[slot] = index;
        s->number = slot;
        size = s->row_bytes * ROWS > size ? s->row_bytes * ROWS : size;
    }
    return size;
}

static bool place_slots(ag_tape *tape, size_t size)
{
    struct group *group = tape->plan;
    if (!scratch_grow(tape, &group->slots, SLOTS * size))
        return false;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++)
        if (s->number >= 0)
            s->slot = group->slots.at + (size_t)s->number * size;
    return true;
}

static bool reads_only(const ag_tape *tape, const struct step *s, const struct step *before)
{
    return s->role == ROW && before->slot && input_of(tape, s->r, 0) == before->r &&
           &tape->transient.at[before->r->last_reader] == s->r;
}

/* Has the last of the fused steps taken over the slot that the product, the first of them, reads
 * from? */
static bool overwrites(const ag_tape *tape, const struct step *s, const struct step *last)
{
    const struct record *operand = input_of(tape, s->r, 0);
    for (const struct step *x = tape->plan->step; x < s; x++)
        if (x->r == operand)
            return x->slot && x->slot == last->slot;
    return false;
}

/* Joins a product that nobody else reads with the addition of a bias after it, and that with an
 * activation after it. */
static void fuse(const ag_tape *tape)
{
    struct group *group = tape->plan;
    struct step *end = group->step + group->count;
    for (struct step *s = group->step; s + 1 < end; s++) {
        const struct record *sum = s[1].r;
        if (s->role != ROW || !s->r->op->forward_fused || !reads_only(tape, &s[1], s) ||
            sum->op != &add_op || sum->cut_operands != 1u ||
            input_of(tape, sum, 1)->count != s->row_count || sum->count != s->r->count)
            continue;
        bool activated = s + 2 < end && reads_only(tape, &s[2], &s[1]) && s[2].r->inputs == 1 &&
                         s[2].r->op->forward == unary_forward && s[2].r->op->kernel != UNARY_AFFINE;
        int fused = activated ? 2 : 1;
        s->fused = overwrites(tape, s, &s[fused]) ? 0 : fused;
    }
}

/* Plans a group among the records from first to end; out of memory, which is the sticky error,
 * there is none. */
static void make_plan(ag_tape *tape, uint32_t first, uint32_t end)
{
    struct group *group = tape->plan;
    bool walked = false, done = true;
    group->count = 0;
    group->rows = 0;
    group->first = first;
    group->end = end;
    tape->groups++;
    for (uint32_t i = first; i < end && done; i++) {
        done = place(tape, &tape->transient.at[i]);
        walked |= tape->transient.at[i].walk > 0;
        tape->transient.at[i].elided = false;
    }
    /* Before its backward walk stands on the tape, nobody knows what a forward pass is yet to be
     * read for. */
    if (done && walked && group->rows) {
        find_readers(tape, first, end);
        done = place_slots(tape, number_slots(tape));
        fuse(tape);
    }
    if (!done)
        group->rows = 0;
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

void run_window(ag_tape *tape, uint32_t first, uint32_t end)
{
    struct group *group = tape->plan;
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
    run_blocks(tape, group);
    for (const struct step *s = group->step, *last = s + group->count; s < last; s++)
        if (s->slot)
            s->r->elided = tape->elided = true;
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

void keep_shadow(ag_tape *tape, struct record *leaf)
{
    if (tape->elided && leaf->shadow && leaf->clock <= tape->elided_clock)
        memcpy(leaf->shadow, leaf->data, (size_t)leaf->count * element_size(tape));
}

void pin(ag_tape *tape, struct record *r)
{
    if (r->elided)
        settle(tape);
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
    if (group->step)
        tape_realloc(tape, group->step, group->capacity * sizeof *group->step, 0);
    scratch_free(tape, &group->slots);
    tape_realloc(tape, group, sizeof *group, 0);
}

/* What an op that goes by rows has to know when it is recorded; false on error. */
bool blocks_note(ag_tape *tape, struct record *r)
{
    size_t size = (size_t)r->count * element_size(tape);
    if (!r->cut_operands || rows_of(tape, r) < ROWS)
        return true;
    if (r->sums_rows)
        return scratch_grow(tape, &tape->partial, size);
    r->worth_blocks = size >= WORTH;
    tape->worth_blocks |= r->worth_blocks;
    return true;
}
