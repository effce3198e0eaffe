/* Planning what runs by blocks of rows: which records go together, what is fused in one pass, and
 * where values are kept that nobody reads afterwards. */
#include "blocks.h"

enum { SLOTS = 8, REACH = 8 };

bool is_cut(const struct record *r, int k)
{
    return (unsigned)r->cut_operands >> k & 1u;
}

int64_t rows_of(const ag_tape *tape, const struct record *r)
{
    return r->sums_rows ? input_of(tape, r, 0)->shape.dim[0] : r->shape.dim[0];
}

struct step make_step(const ag_tape *tape, uint32_t index, enum role role, int64_t rows)
{
    const struct record *r = record_at(tape, index);
    return (struct step){.r = index,
                         .fused.last = index,
                         .data = r->data,
                         .role = role,
                         .slot = -1,
                         .row_count = r->count / rows,
                         .row_bytes = (size_t)(r->count / rows) * element_size(tape),
                         .loop_rows =
                             r->loop && role == ROW ? r->loop->dim[r->loop->rank - 1] / rows : 0};
}

/* ---- Which records go together ---- */

enum role role_of(const ag_tape *tape, const struct record *x)
{
    return x->group == tape->groups ? (enum role)x->role : OUTSIDE;
}

static void set_role(const ag_tape *tape, struct record *x, enum role role)
{
    x->group = tape->groups;
    x->role = (uint8_t)role;
}

static bool add_step(ag_tape *tape, uint32_t index, enum role role)
{
    struct group *group = &tape->plan;
    if (group->count == group->capacity) {
        struct step *step = tape_grow(tape, group->step, &group->capacity, sizeof *step);
        if (!step)
            return false;
        group->step = step;
    }
    group->step[group->count++] = make_step(tape, index, role, group->rows);
    set_role(tape, record_at(tape, index), role);
    return true;
}

/* Can every operand be had block by block, or whole, as r wants it, which may want one both ways?
 */
static bool operands_fit(const ag_tape *tape, const struct record *r)
{
    for (int k = 0; k < r->inputs; k++) {
        enum role own = role_of(tape, input_of(tape, r, k));
        bool by_block = is_cut(r, k);
        if (own != OUTSIDE && (by_block ? own != CUT && own != ROW : own != WHOLE))
            return false;
        for (int i = 0; i < k; i++)
            if (r->input[i] == r->input[k] && is_cut(r, i) != by_block)
                return false;
    }
    return true;
}

/* Gives a record its part in the group; false when out of memory. What reads a buffer after a
 * record that changes it must run after that, and so later than the group. */
static bool place(ag_tape *tape, uint32_t index)
{
    struct group *group = &tape->plan;
    struct record *r = record_at(tape, index);
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
        if (!is_cut(r, k))
            set_role(tape, x, WHOLE);
        else if (!add_step(tape, r->input[k], CUT))
            return false;
    }
    return add_step(tape, index, r->sums_rows ? SUM_OF_ROWS : ROW);
}

/* Finds for each record how many operands it is and its last reader in the group; UINT32_MAX if it
 * is read elsewhere too. */
static void find_readers(ag_tape *tape, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        tape->transient.at[i].last_reader = tape->transient.at[i].readers = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct record *r = &tape->transient.at[i];
        bool inside = role_of(tape, r) == ROW || role_of(tape, r) == SUM_OF_ROWS;
        for (int k = 0; k < r->inputs; k++) {
            struct record *x = input_of(tape, r, k);
            x->readers++;
            if (!inside)
                x->last_reader = UINT32_MAX;
            else if (x->last_reader != UINT32_MAX)
                x->last_reader = i;
        }
    }
}

/* Is it only the group that reads it? */
static bool is_inner(const struct record *x)
{
    return x->last_reader && x->last_reader != UINT32_MAX && !x->pinned;
}

/* Leaves that an elided record reads must have room beside them for the values they have now.
 * Inputs always do. */
static bool shadow_operands(ag_tape *tape, uint32_t index)
{
    const struct record *r = record_at(tape, index);
    for (int k = 0; k < r->inputs; k++) {
        struct record *x = input_of(tape, r, k);
        if (!(r->input[k] & LASTING) || x->shadow)
            continue;
        x->shadow = arena_allocate(tape, &tape->lasting_arena, bytes_of(tape, x));
        if (!x->shadow)
            return false;
    }
    return true;
}

/* ---- What is fused ---- */

/* The step that alone reads the result of s, among the next few. */
static struct step *only_reader(const ag_tape *tape, struct step *s)
{
    const struct step *end = tape->plan.step + tape->plan.count;
    const struct record *x = record_at(tape, s->r);
    if (!is_inner(x) || x->readers != 1)
        return NULL;
    for (struct step *next = s + 1; next < end && next <= s + REACH; next++)
        if (next->role == ROW && record_at(tape, next->r)->input[0] == s->r)
            return next;
    return NULL;
}

/* Is it a row that is added to each row of n columns? */
static bool is_bias(const struct record *x, int64_t n)
{
    return x->count == n && (x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 1) == n;
}

/* Of two operands side by side, can it go with a product into the first? */
static bool is_gate(const struct record *r)
{
    enum binary f = (enum binary)r->op->kernel;
    return r->op->forward == binary_forward && !r->loop && r->input[0] != r->input[1] &&
           (f == BINARY_MUL || f == BINARY_SIGMOID_SLOPE || f == BINARY_TANH_SLOPE ||
            f == BINARY_RELU_SLOPE);
}

/* What may come after a product, in this order; each time the next place in `fused` is taken. */
static bool fuse(const ag_tape *tape, struct step *product, const struct step *next)
{
    struct fusion *fused = &product->fused;
    const struct record *r = record_at(tape, next->r);
    bool sum =
        r->op == &add_op && r->cut_operands == 1u && is_bias(input_of(tape, r, 1), next->row_count);
    bool activation =
        r->inputs == 1 && r->op->forward == unary_forward && r->op->kernel != UNARY_AFFINE;
    if (sum && fused->last == product->r)
        fused->bias = r->input[1];
    else if (activation && !fused->activation && !fused->gate)
        fused->activation = next->r;
    else if (is_gate(r) && !fused->gate)
        fused->gate = r->input[1];
    else
        return false;
    fused->last = next->r;
    return true;
}

/* Fuses a product that nobody else reads with what follows on it: a bias, an activation, the slope
 * of one. It then runs in the place of the last of these. */
static bool fuse_after(ag_tape *tape, struct step *s)
{
    struct step all = *s, *last = s;
    for (struct step *next; (next = only_reader(tape, last)); last = next) {
        if (next->row_count != s->row_count || !fuse(tape, &all, next))
            break;
        if (!shadow_operands(tape, last->r))
            return false;
        last->role = FUSED;
    }
    if (last == s)
        return true;
    const struct record *product = record_at(tape, s->r);
    for (int k = 0; k < product->inputs; k++) {
        struct record *x = input_of(tape, product, k);
        if (x->last_reader && x->last_reader < last->r)
            x->last_reader = last->r;
    }
    all.data = last->data;
    all.role = ROW;
    *last = all;
    return true;
}

static bool fuse_all(ag_tape *tape)
{
    struct group *group = &tape->plan;
    uint32_t kept = 0;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++)
        if (s->role == ROW && record_at(tape, s->r)->op->forward_fused && s->fused.last == s->r &&
            !fuse_after(tape, s))
            return false;
    for (uint32_t i = 0; i < group->count; i++)
        if (group->step[i].role != FUSED)
            group->step[kept++] = group->step[i];
    group->count = kept;
    return true;
}

/* ---- Where values are kept ---- */

/* May the step write its block over that of x? Element by element, side by side, it may. */
static bool may_overwrite(const ag_tape *tape, const struct step *s, uint32_t x)
{
    const struct record *r = record_at(tape, s->r);
    bool operand = x == r->input[0] || x == r->input[1] || x == r->input[2];
    return s->fused.last == s->r && operand && r->op->by_rows == element_rows &&
           record_at(tape, x)->count == r->count;
}

/* Numbers the slots of what only the group reads, again and again the same few. */
static void number_slots(ag_tape *tape)
{
    struct group *group = &tape->plan;
    uint32_t tenant[SLOTS];
    int used = 0;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++) {
        uint32_t index = s->fused.last;
        if (s->role != ROW || !is_inner(record_at(tape, index)))
            continue;
        int slot = 0;
        for (; slot < used; slot++) {
            uint32_t last_reader = record_at(tape, tenant[slot])->last_reader;
            if (last_reader < index ||
                (last_reader == index && may_overwrite(tape, s, tenant[slot])))
                break;
        }
        if (slot == SLOTS || !shadow_operands(tape, index) || !shadow_operands(tape, s->r))
            continue;
        used = slot == used ? used + 1 : used;
        tenant[slot] = index;
        s->slot = slot;
        size_t size = s->row_bytes * ROWS;
        group->slot_size = size > group->slot_size ? size : group->slot_size;
    }
}

/* Room for what the chunks sum, behind that for a block's part. */
static bool place_sums(ag_tape *tape)
{
    struct group *group = &tape->plan;
    size_t size = 0;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++) {
        if (s->role != SUM_OF_ROWS)
            continue;
        size_t bytes = aligned(bytes_of(tape, record_at(tape, s->r)));
        s->sums = size;
        size += (size_t)(chunks_of(group->rows) - 1) * bytes;
        group->partial_size = bytes > group->partial_size ? bytes : group->partial_size;
    }
    return scratch_grow(tape, &tape->partial, group->partial_size + size);
}

/* ---- All of it ---- */

static double work_of(const ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    return r->op->work ? r->op->work(tape, r)
                       : NANOSECONDS * (double)(x->count > r->count ? x->count : r->count);
}

void make_plan(ag_tape *tape, uint32_t first, uint32_t end)
{
    struct group *group = &tape->plan;
    bool walked = false, done = true;
    group->count = 0;
    group->rows = 0;
    group->slot_size = group->partial_size = 0;
    group->first = first;
    group->end = end;
    tape->groups++;
    tape->replan = false;
    for (uint32_t i = first; i < end && done; i++) {
        done = place(tape, i);
        walked |= tape->transient.at[i].walk > 0;
        tape->transient.at[i].elided = false;
    }
    group->work = 0.0;
    for (uint32_t i = 0; i < group->count; i++) /* there may be no array yet */
        if (group->step[i].role != CUT)
            group->work += work_of(tape, record_at(tape, group->step[i].r));
    /* Before its backward walk stands on the tape, nobody knows what a forward pass is yet to be
     * read for. */
    if (done && walked && group->rows) {
        find_readers(tape, first, end);
        done = fuse_all(tape);
        number_slots(tape);
        done = done && scratch_grow(tape, &tape->slots, SLOTS * group->slot_size);
    }
    if (!done || (group->rows && !place_sums(tape)))
        group->rows = group->end = 0;
}
