/* Comparisons, and ops that choose among elements. A comparison gives 1 or 0, is false of NaN, and
 * has no gradient: it is flat wherever it has one. */
#include <math.h>

#include "define.h"

/* ---- Comparisons ---- */

static const struct op greater_op = {WRITTEN("greater", 2, "$x > $y", SUM),
                                     BROADCAST(BINARY_GREATER)};
RECORDS_2(ag_greater, greater_op)

ag_tensor ag_less(ag_tensor x, ag_tensor y)
{
    return ag_greater(y, x);
}

static const struct op equal_op = {WRITTEN("equal", 2, "$x == $y", SUM), BROADCAST(BINARY_EQUAL)};
RECORDS_2(ag_equal, equal_op)

ag_tensor ag_not_equal(ag_tensor x, ag_tensor y)
{
    return ag_scalar_sub(1.0, ag_equal(x, y));
}

ag_tensor ag_greater_equal(ag_tensor x, ag_tensor y)
{
    return ag_add(ag_greater(x, y), ag_equal(x, y));
}

ag_tensor ag_less_equal(ag_tensor x, ag_tensor y)
{
    return ag_greater_equal(y, x);
}

/* ---- where ---- */

static ag_tensor zero_like(ag_tensor x)
{
    return ag_full(x.tape, AG_SCALAR, 0.0);
}

static ag_tensor where_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor condition = operand_of(z, 0);
    if (i == 0)
        return NONE;
    return i == 1 ? ag_where(condition, dz, zero_like(dz)) : ag_where(condition, zero_like(dz), dz);
}

static void where_forward(ag_tape *tape, const struct record *r)
{
    const void *data[MAX_INPUTS];
    struct operand x[MAX_INPUTS];
    for (int k = 0; k < MAX_INPUTS; k++) {
        data[k] = input_of(tape, r, k)->data;
        x[k] = (struct operand){data[k], 0, 1};
    }
    if (r->loop)
        broadcast_forward(tape, r, data, MAX_INPUTS);
    else
        tape->kernels->where(1, (size_t)r->count, &x[0], &x[1], &x[2], r->data);
}

static const struct op where_op = {
    CALLED("where", 3, "$x, $y, $z"), .shape = broadcast_shape, .forward = where_forward,
    .gradient = where_gradient,       .broadcasts = true,
};

ag_tensor ag_where(ag_tensor condition, ag_tensor x, ag_tensor y)
{
    return record3(&where_op, condition, x, y);
}

/* ---- maximum and minimum ---- */

/* dz where the operand is the one that was taken, half of it where they are equal. */
static ag_tensor taken_gradient(ag_tensor z, ag_tensor dz, int i)
{
    int greater = find(z)->op->kernel == BINARY_MAXIMUM ? i : 1 - i;
    ag_tensor x = operand_of(z, greater), y = operand_of(z, 1 - greater);
    ag_tensor rest = ag_where(ag_greater(y, x), zero_like(dz), ag_mul_scalar(dz, 0.5));
    return ag_where(ag_greater(x, y), dz, rest);
}

static const struct op maximum_op = {CALLED("maximum", 2, "$x, $y"), BROADCAST(BINARY_MAXIMUM),
                                     .gradient = taken_gradient};
RECORDS_2(ag_maximum, maximum_op)

static const struct op minimum_op = {CALLED("minimum", 2, "$x, $y"), BROADCAST(BINARY_MINIMUM),
                                     .gradient = taken_gradient};
RECORDS_2(ag_minimum, minimum_op)

/* ---- clip: not a minimum of a maximum, since its gradient at a bound is that of x ---- */

static bool clip_shape(struct call *call)
{
    double low = call->attr.p[0], high = call->attr.p[1];
    return (!isnan(low) && !isnan(high)) ||
           reject(call, "", "the bounds are %g and %g; neither may be NaN", low, high);
}

static void clip_forward(ag_tape *tape, const struct record *r)
{
    const void *x = input_of(tape, r, 0)->data;
    scalar_forward(tape, BINARY_MAXIMUM, r->count, x, r->attr.p[0], r->data);
    scalar_forward(tape, BINARY_MINIMUM, r->count, r->data, r->attr.p[1], r->data);
}

/* What was clipped differs from what it was; between crossed bounds, everything was. */
static ag_tensor clip_gradient(ag_tensor y, ag_tensor dy, int i)
{
    const double *bound = find(y)->attr.p;
    if (bound[0] > bound[1])
        return zero_like(dy);
    return ag_where(ag_sub(operand_of(y, i), y), zero_like(dy), dy);
}

static const struct op clip_op = {
    CALLED("clip", 1, "$x, $p, $q"),
    .shape = clip_shape,
    .forward = clip_forward,
    .gradient = clip_gradient,
};

ag_tensor ag_clip(ag_tensor x, double low, double high)
{
    return record(&clip_op, x, &(struct attributes){.p = {low, high}});
}

OP_LIST(select_ops, &greater_op, &equal_op, &where_op, &maximum_op, &minimum_op, &clip_op)
