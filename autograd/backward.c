/* The backward walk: from the last record to the first, each asked for the gradients of its
 * operands. It knows no op; a rule is written with ops, so what it returns stands on the same tape
 * and can be differentiated again. */
#include "ops/ops.h"

static void clear_marks(ag_tape *tape)
{
    const struct records *all[] = {&tape->lasting, &tape->transient};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 1; i < all[k]->count; i++) {
            all[k]->at[i].needed = false;
            all[k]->at[i].gradient = 0;
        }
}

/* Marks what gradients must pass through: the records up to y that depend on a marked one. */
static void mark_dependants(ag_tape *tape, uint32_t y)
{
    for (uint32_t i = 1; !(y & LASTING) && i <= y; i++) {
        struct record *r = &tape->transient.at[i];
        for (int k = 0; k < r->inputs && !r->needed; k++)
            r->needed = input_of(tape, r, k)->needed;
    }
}

/* A rule used the values of an operand that were set after the op had seen others: the gradient
 * would be a wrong number. */
static bool uses_changed(ag_tape *tape, uint32_t index, uint32_t first)
{
    const struct record *r = &tape->transient.at[index];
    uint64_t seen = r->clock > tape->replayed ? r->clock : tape->replayed;
    if (seen == tape->clock)
        return false;
    for (; first < tape->transient.count; first++)
        for (int k = 0; k < tape->transient.at[first].inputs; k++) {
            uint32_t input = tape->transient.at[first].input[k];
            const struct record *x = record_at(tape, input);
            bool operand = input == r->input[0] || input == r->input[1] || input == r->input[2];
            if (!operand || !x->op->leaf || x->clock <= seen)
                continue;
            char text[128];
            struct text e = {.at = text, .size = sizeof text};
            expression(&e, tape, index, 60);
            reject_tensor(handle(tape, input), "backward",
                          "call ag_backward before changing it, or ag_replay after",
                          "%s was changed after %s used it, so that its gradient would be wrong",
                          x->name ? x->name : x->op->name, text);
            return true;
        }
    return false;
}

/* Sums a gradient over what broadcasting repeated, or repeats one that stands for all of its
 * operand. */
static ag_tensor fit(ag_tensor gradient, ag_shape shape)
{
    const struct record *r = find(gradient);
    if (!r || shape_equal(&r->shape, &shape))
        return gradient;
    bool wider = r->shape.rank > shape.rank || r->count > shape_count(&shape);
    return wider ? ag_sum_to(gradient, shape) : ag_broadcast_to(gradient, shape);
}

static void accumulate(ag_tape *tape, uint32_t index, ag_tensor gradient)
{
    if (!gradient.tape)
        return;
    gradient = fit(gradient, record_at(tape, index)->shape);
    uint32_t so_far = record_at(tape, index)->gradient;
    if (so_far)
        gradient = ag_add(handle(tape, so_far), gradient);
    record_at(tape, index)->gradient = gradient.index;
}

static void note(ag_tape *tape, uint32_t y, uint32_t target, uint32_t gradient)
{
    struct notes *notes = &tape->notes;
    if (notes->count == notes->capacity) {
        struct note *at = tape_grow(tape, notes->at, &notes->capacity, sizeof *at);
        if (!at)
            return;
        notes->at = at;
    }
    notes->at[notes->count++] =
        (struct note){tape->walking, y, target, gradient, tape->transient.count};
}

static void walk(ag_tape *tape, uint32_t y)
{
    for (uint32_t i = y; i > 0 && !tape->failed; i--) {
        uint32_t gradient = tape->transient.at[i].gradient;
        if (!gradient)
            continue;
        note(tape, y, i, gradient);
        for (int k = 0; k < tape->transient.at[i].inputs && !tape->failed; k++) {
            uint32_t input = tape->transient.at[i].input[k], before = tape->transient.count;
            const struct op *op = tape->transient.at[i].op;
            if (!record_at(tape, input)->needed || !op->gradient)
                continue;
            ag_tensor part = op->gradient(handle(tape, i), handle(tape, gradient), k);
            if (!uses_changed(tape, i, before))
                accumulate(tape, input, part);
        }
    }
}

/* y must be one number on a tape without an error. */
static bool can_start(ag_tensor y, const char *who)
{
    const struct record *r = resolve(y, who);
    if (!r || y.tape->failed)
        return false;
    if (r->count == 1)
        return true;
    reject_tensor(y, who, "take its mean or its sum first",
                  "only a single number has a gradient here, but this tensor's shape is %s",
                  shape_words(&r->shape).at);
    return false;
}

static bool walk_from(ag_tensor y)
{
    ag_tape *tape = y.tape;
    mark_dependants(tape, y.index);
    tape->walking = ++tape->walks;
    tape->last_walk.y = 0;
    ag_tensor one = constant(tape, &seed_op, ag_shape_of(y), 1.0);
    record_at(tape, y.index)->gradient = one.index;
    if (!(y.index & LASTING))
        walk(tape, y.index);
    for (uint32_t i = 1; i < tape->lasting.count; i++)
        if (tape->lasting.at[i].gradient)
            note(tape, y.index, i | LASTING, tape->lasting.at[i].gradient);
    tape->walking = 0;
    return !tape->failed;
}

static bool find_gradients(ag_tensor y, const ag_tensor *wrt, size_t count, ag_tensor *gradients)
{
    if (!can_start(y, "gradients"))
        return false;
    clear_marks(y.tape);
    for (size_t i = 0; i < count; i++) {
        struct record *x = wrt[i].tape == y.tape ? resolve(wrt[i], "gradients") : NULL;
        if (!x)
            return fault(y.tape, "gradients: tensor %zu of those asked for is not on y's tape", i);
        x->needed = true;
    }
    if (!walk_from(y))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct record *x = find(wrt[i]);
        gradients[i] = x->gradient ? handle(y.tape, x->gradient) : ag_full(y.tape, x->shape, 0.0);
    }
    return !y.tape->failed;
}

bool ag_gradients(ag_tensor y, const ag_tensor *wrt, size_t count, ag_tensor *gradients)
{
    if (count && (!wrt || !gradients))
        return fault(y.tape, "gradients: no tensors (NULL)");
    bool found = find_gradients(y, wrt, count, gradients);
    for (size_t i = 0; i < count && !found; i++)
        gradients[i] = (ag_tensor){.tape = y.tape};
    return found;
}

/* The former epoch's walk would be made again, record by record: the same program led to y, the
 * same parameters are trained, and nothing was set since an op first saw it. */
static bool can_repeat(const ag_tape *tape, uint32_t y)
{
    const struct backward *b = &tape->last_walk;
    uint32_t i = 1;
    if (b->y != y || !y || b->first != tape->transient.count || b->end > tape->repeatable ||
        b->parameters != tape->parameters || tape->walks ||
        tape->transient.at[b->first].from != tape->arena.free)
        return false;
    while (i < y && !tape->transient.at[i].inputs)
        i++;
    return tape->transient.at[i].clock == tape->clock;
}

static void repeat_walk(ag_tape *tape)
{
    tape->walking = tape->walks = 1;
    while (tape->transient.count < tape->last_walk.end)
        repeat(tape, NULL);
    tape->walking = 0;
    tape->notes.count = tape->last_walk.notes;
    tape->gradients_epoch = tape->epoch;
}

static bool walk_for_parameters(ag_tensor y)
{
    ag_tape *tape = y.tape;
    uint32_t first = tape->transient.count;
    clear_marks(tape);
    for (uint32_t i = 1; i < tape->lasting.count; i++)
        tape->lasting.at[i].needed = tape->lasting.at[i].trainable;
    if (!walk_from(y))
        return false;
    for (uint32_t i = 1; i < tape->lasting.count; i++)
        tape->lasting.at[i].result = tape->lasting.at[i].gradient;
    tape->gradients_epoch = tape->epoch;
    if (tape->walks == 1 && !(y.index & LASTING))
        tape->last_walk = (struct backward){y.index, first, tape->transient.count,
                                            tape->notes.count, tape->parameters};
    return true;
}

bool ag_backward(ag_tensor y)
{
    if (!can_start(y, "backward"))
        return false;
    if (!can_repeat(y.tape, y.index))
        return walk_for_parameters(y);
    repeat_walk(y.tape);
    return true;
}

static bool has_gradient(ag_tensor parameter, const struct record *r)
{
    return r && (parameter.index & LASTING) && r->result &&
           parameter.tape->gradients_epoch == parameter.tape->epoch;
}

bool ag_has_gradient(ag_tensor parameter)
{
    return has_gradient(parameter, resolve(parameter, "has_gradient"));
}

ag_tensor ag_gradient(ag_tensor parameter)
{
    const struct record *r = resolve(parameter, "gradient");
    if (has_gradient(parameter, r))
        return handle(parameter.tape, r->result);
    if (r)
        reject_tensor(parameter, "gradient", "",
                      "%s has none: ag_backward was not called since the last reset, its tensor "
                      "did not depend on it, or it is not a trainable parameter",
                      *ag_name_of(parameter) ? ag_name_of(parameter) : "this tensor");
    return (ag_tensor){.tape = parameter.tape};
}
