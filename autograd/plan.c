/* Planning what runs by blocks of rows: which records go together, what is fused in one pass, and
 * where values are kept that nobody reads afterwards. */
#include <string.h>

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

struct step make_step(struct record *r, enum role role, int64_t rows, size_t element)
{
    return (struct step){.r = r,
                         .out = r,
                         .data = r->data,
                         .role = role,
                         .number = -1,
                         .row_count = r->count / rows,
                         .row_bytes = (size_t)(r->count / rows) * element,
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

/* Leaves that an elided record reads must have room beside them for the values they have now. */
static bool shadow_operands(ag_tape *tape, const struct record *r)
{
    for (int k = 0; k < r->inputs; k++) {
        struct record *x = input_of(tape, r, k);
        if (!x->op->leaf || x->shadow)
            continue;
        x->shadow =
            arena_allocate(tape,
                           r->input[k] & LASTING ? &tape->lasting_arena : &tape->plan->shadows,
                           (size_t)x->count * element_size(tape));
        if (!x->shadow)
            return false;
    }
    return true;
}

/* ---- What is fused ---- */

/* The step that alone reads x, among the next few after `from`. */
static struct step *only_reader(const ag_tape *tape, struct step *from, const struct record *x)
{
    const struct group *group = tape->plan;
    struct step *end = group->step + group->count, *s = from + 1;
    if (!is_inner(x) || x->readers != 1)
        return NULL;
    for (int i = 0; i < REACH && s < end; i++, s++)
        if (s->role == ROW && input_of(tape, s->r, 0) == x)
            return s;
    return NULL;
}

/* Is it a row that is added to each row of n columns? */
static bool is_bias(const struct record *x, int64_t n)
{
    return x->count == n && (x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 1) == n;
}

/* Of two operands side by side, can it go with a product into the first? */
static bool is_gate(const ag_tape *tape, const struct record *r)
{
    enum binary f = (enum binary)r->op->kernel;
    return r->op->forward == binary_forward && !r->loop &&
           input_of(tape, r, 0) != input_of(tape, r, 1) &&
           (f == BINARY_MUL || f == BINARY_SIGMOID_SLOPE || f == BINARY_TANH_SLOPE ||
            f == BINARY_RELU_SLOPE);
}

/* What may come after a product, in this order; each time the next place in `fused` is taken. */
static bool fuse(const ag_tape *tape, struct fusion *fused, const struct step *s)
{
    const struct record *r = s->r, *second = r->inputs == 2 ? input_of(tape, r, 1) : NULL;
    bool sum = r->op == &add_op && r->cut_operands == 1u && is_bias(second, s->row_count);
    bool activation =
        r->inputs == 1 && r->op->forward == unary_forward && r->op->kernel != UNARY_AFFINE;
    bool gate = second && is_gate(tape, r);
    if (sum && !fused->last)
        fused->bias = second;
    else if (activation && !fused->activation && !fused->gate)
        fused->activation = r;
    else if (gate && !fused->gate)
        fused->gate = second;
    else
        return false;
    fused->last = r;
    return true;
}

/* Fuses a product that nobody else reads with what follows on it: a bias, an activation, the slope
 * of one. It then runs in the place of the last of these. */
static bool fuse_after(ag_tape *tape, struct step *s)
{
    struct step all = *s, *last = s;
    int fused = 0;
    for (struct step *next; (next = only_reader(tape, last, last->r)); last = next) {
        if (next->row_count != s->row_count || !fuse(tape, &all.fused, next))
            break;
        if (!shadow_operands(tape, last->r))
            return false;
        all.fused_records[fused++] = last->r;
        last->role = FUSED;
    }
    if (last == s)
        return true;
    uint32_t index = (uint32_t)(last->r - tape->transient.at);
    for (int k = 0; k < s->r->inputs; k++) {
        struct record *x = input_of(tape, s->r, k);
        if (x->last_reader && x->last_reader < index)
            x->last_reader = index;
    }
    all.out = last->r;
    all.data = last->data;
    all.role = ROW;
    *last = all;
    return true;
}

static bool fuse_all(ag_tape *tape)
{
    struct group *group = tape->plan;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->count; i++)
        if (group->step[i].role == ROW && group->step[i].r->op->forward_fused &&
            !group->step[i].fused.last && !fuse_after(tape, &group->step[i]))
            return false;
    for (uint32_t i = 0; i < group->count; i++)
        if (group->step[i].role != FUSED)
            group->step[kept++] = group->step[i];
    group->count = kept;
    return true;
}

/* ---- Where values are kept ---- */

/* May the step write its block over that of x? Element by element, side by side, it may. */
static bool may_overwrite(const ag_tape *tape, const struct step *s, const struct record *x)
{
    if (s->fused.last)
        return false;
    for (int k = 0; k < s->r->inputs; k++)
        if (input_of(tape, s->r, k) == x)
            return s->r->op->by_rows == element_rows && x->count == s->r->count;
    return false;
}

/* Numbers the slots of what only the group reads, again and again the same few. */
static void number_slots(ag_tape *tape)
{
    struct group *group = tape->plan;
    uint32_t tenant[SLOTS];
    int used = 0;
    for (struct step *s = group->step, *end = s + group->count; s < end; s++) {
        uint32_t index = (uint32_t)(s->out - tape->transient.at);
        if (s->role != ROW || !is_inner(s->out))
            continue;
        int slot = 0;
        for (; slot < used; slot++) {
            const struct record *x = &tape->transient.at[tenant[slot]];
            if (x->last_reader < index || (x->last_reader == index && may_overwrite(tape, s, x)))
                break;
        }
        if (slot == SLOTS || !shadow_operands(tape, s->out) || !shadow_operands(tape, s->r))
            continue;
        used = slot == used ? used + 1 : used;
        tenant[slot] = index;
        s->number = slot;
        size_t size = s->row_bytes * ROWS;
        group->slot_size = size > group->slot_size ? size : group->slot_size;
    }
}

void place_slots(struct step *step, uint32_t count, char *slots, size_t slot_size)
{
    for (struct step *s = step, *end = s + count; s < end; s++)
        s->slot = s->number < 0 ? NULL : slots + (size_t)s->number * slot_size;
}

/* Room for what the chunks sum. */
static bool place_sums(ag_tape *tape)
{
    struct group *group = tape->plan;
    size_t chunks = (size_t)chunks_of(group->rows), size = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass && !scratch_grow(tape, &group->sums, size))
            return false;
        size = 0;
        for (struct step *s = group->step, *end = s + group->count; s < end; s++) {
            if (s->role != SUM_OF_ROWS)
                continue;
            size_t bytes = (size_t)s->r->count * element_size(tape);
            s->sums = pass && chunks > 1 ? group->sums.at + size : NULL;
            size += (chunks - 1) * bytes;
            group->partial_size = bytes > group->partial_size ? bytes : group->partial_size;
        }
    }
    return true;
}

/* ---- All of it ---- */

void bring_home(ag_tape *tape, struct record *input)
{
    void *data = input->data;
    input->data = memcpy(input->shadow, data, (size_t)input->count * element_size(tape));
    input->shadow = data;
    input->moved = false;
    tape->moved = true;
}

/* While nothing is elided, no shadow is in use, but by an input that has changed places with it;
 * records that are yet to be repeated have them too. */
static void clear_shadows(ag_tape *tape)
{
    uint32_t end =
        tape->repeatable > tape->transient.count ? tape->repeatable : tape->transient.count;
    for (uint32_t i = 1; i < end; i++) {
        struct record *r = &tape->transient.at[i];
        if (r->moved)
            bring_home(tape, r);
        r->shadow = NULL;
    }
    arena_rewind(&tape->plan->shadows);
}

static double work_of(const ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    return r->op->work ? r->op->work(tape, r)
                       : NANOSECONDS * (double)(x->count > r->count ? x->count : r->count);
}

void make_plan(ag_tape *tape, uint32_t first, uint32_t end)
{
    struct group *group = tape->plan;
    bool walked = false, done = true;
    if (!tape->elided)
        clear_shadows(tape);
    group->count = 0;
    group->rows = 0;
    group->slot_size = group->partial_size = 0;
    group->first = first;
    group->end = end;
    tape->groups++;
    for (uint32_t i = first; i < end && done; i++) {
        done = place(tape, &tape->transient.at[i]);
        walked |= tape->transient.at[i].walk > 0;
        tape->transient.at[i].elided = false;
    }
    group->work = 0.0;
    for (uint32_t i = 0; i < group->count; i++) /* there may be no array yet */
        group->work += group->step[i].role == CUT ? 0.0 : work_of(tape, group->step[i].r);
    /* Before its backward walk stands on the tape, nobody knows what a forward pass is yet to be
     * read for. */
    if (done && walked && group->rows) {
        find_readers(tape, first, end);
        done = fuse_all(tape);
        number_slots(tape);
        done = done && scratch_grow(tape, &group->slots, SLOTS * group->slot_size);
        if (done)
            place_slots(group->step, group->count, group->slots.at, group->slot_size);
    }
    if (!done || (group->rows && !place_sums(tape)))
        group->rows = group->end = 0;
}
