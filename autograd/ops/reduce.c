/* Reductions over any axes, a run of neighbouring ones at a time. */
#include "define.h"

struct run run_of(const ag_shape *shape, unsigned axes)
{
    struct run run = {1, 1, 1};
    for (int i = 0; i < shape->rank; i++) {
        if (axes >> i & 1u)
            run.n *= (size_t)shape->dim[i];
        else if (axes >> i)
            run.outer *= (size_t)shape->dim[i];
        else
            run.inner *= (size_t)shape->dim[i];
    }
    return run;
}

/* The axes after the first run: a bit that is added at its lowest clears it. */
static inline unsigned after_first_run(unsigned axes)
{
    return axes & (axes + (axes & -axes));
}

unsigned last_run(unsigned axes)
{
    while (after_first_run(axes))
        axes = after_first_run(axes);
    return axes;
}

static ag_shape with_axes_one(ag_shape shape, unsigned axes)
{
    for (int i = 0; i < shape.rank; i++)
        if (axes >> i & 1u)
            shape.dim[i] = 1;
    return shape;
}

/* The shape without the axes of size 1, along which there is nothing to reduce, and the others'
 * places in it. */
static ag_shape squeezed(const ag_shape *shape, unsigned *axes)
{
    ag_shape rest = {.rank = 0};
    unsigned places = 0;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] != 1) {
            places |= (*axes >> i & 1u) << rest.rank;
            rest.dim[rest.rank++] = shape->dim[i];
        }
    *axes = places;
    return rest;
}

/* Elements of what is made of x in between: the results of all runs but the first, which is reduced
 * last. */
static size_t room_between(const ag_shape *x, unsigned axes)
{
    size_t count = 0;
    for (ag_shape made = squeezed(x, &axes); after_first_run(axes); axes &= ~last_run(axes)) {
        made = with_axes_one(made, last_run(axes));
        count += (size_t)shape_count(&made);
    }
    return count;
}

bool reduce_shape(struct call *call)
{
    const ag_shape *x = &call->in[0]->shape;
    unsigned axes = call->attr.axes;
    if (after_first_run(axes))
        call->workspace = room_between(x, axes) * element_size(call->tape);
    call->shape.rank = 0;
    for (int i = 0; i < x->rank; i++) {
        bool reduced = call->attr.axes >> i & 1u;
        if (!reduced || call->attr.keep)
            call->shape.dim[call->shape.rank++] = reduced ? 1 : x->dim[i];
    }
    return true;
}

static void reduce_run(const ag_tape *tape, const struct record *r, const ag_shape *shape,
                       unsigned axes, const void *from, void *to)
{
    struct run run = run_of(shape, axes);
    tape->kernels->reduce[r->op->kernel](run.outer, run.n, run.inner, from, to);
}

static void reduce_runs(const ag_tape *tape, const struct record *r, const struct record *x)
{
    const char *from = x->data;
    char *room = tape->workspace.at;
    unsigned axes = r->attr.axes;
    ag_shape shape = squeezed(&x->shape, &axes);
    for (; after_first_run(axes); axes &= ~last_run(axes)) {
        reduce_run(tape, r, &shape, last_run(axes), from, room);
        shape = with_axes_one(shape, last_run(axes));
        from = room;
        room += (size_t)shape_count(&shape) * element_size(tape);
    }
    reduce_run(tape, r, &shape, axes, from, r->data);
}

static void reduce_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    if (after_first_run(r->attr.axes))
        reduce_runs(tape, r, x);
    else
        reduce_run(tape, r, &x->shape, r->attr.axes, x->data, r->data);
}

static void mean_forward(ag_tape *tape, const struct record *r)
{
    double n = (double)run_of(&input_of(tape, r, 0)->shape, r->attr.axes).n;
    reduce_forward(tape, r);
    tape->kernels->unary[UNARY_AFFINE]((size_t)r->count, r->data, r->data,
                                       (double[]){1.0 / n, -0.0});
}

/* The shape of x with the reduced axes of y kept: what y's gradient is broadcast from. */
ag_tensor with_axes_kept(ag_tensor y, ag_tensor dy)
{
    return ag_reshape(dy, with_axes_one(ag_shape_of(operand_of(y, 0)), find(y)->attr.axes));
}

/* A sum over axis 0 alone is one over rows, cut into blocks where it stays in the first-level
 * cache. */
static unsigned sum_rows(const struct call *call, bool *sums)
{
    enum { SMALL = 16 << 10 };
    size_t size = (size_t)shape_count(&call->shape) * element_size(call->tape);
    *sums = call->attr.axes == 1u && call->in[0]->shape.rank > 1 && size <= SMALL;
    return *sums ? 1u : 0;
}

#define OVER_AXES(title, run, reduce)                                                              \
    CALLED(title, 1, "$x$a"), .spoken = title " over $A of $x", .shape = reduce_shape,             \
                              .forward = run, .kernel = reduce

static ag_tensor sum_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return with_axes_kept(y, dy);
}

const struct op sum_op = {OVER_AXES("sum", reduce_forward, REDUCE_SUM), .by_rows = sum_rows,
                          .gradient = sum_gradient};

static ag_tensor mean_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_shape shape = ag_shape_of(operand_of(y, i));
    double n = (double)run_of(&shape, find(y)->attr.axes).n;
    return scaled(with_axes_kept(y, dy), 1.0 / n, "1/n");
}

static const struct op mean_op = {OVER_AXES("mean", mean_forward, REDUCE_SUM),
                                  .gradient = mean_gradient};

static ag_tensor mean_square_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor x = operand_of(y, i);
    return chain(dy, scaled(x, 2.0 / (double)ag_count(x), "2/n"));
}

static const struct op mean_square_op = {
    WRITTEN("mean_square", 1, "mean($x²)", CALL),
    .shape = reduce_shape,
    .forward = mean_forward,
    .gradient = mean_square_gradient,
    .kernel = REDUCE_SUM_SQUARES,
};

/* ---- max and min: the gradient is shared equally among those that are the greatest ---- */

static ag_tensor extreme_gradient(ag_tensor y, ag_tensor dy, int i)
{
    unsigned axes = find(y)->attr.axes;
    ag_tensor winners = ag_equal(operand_of(y, i), with_axes_kept(y, y));
    ag_tensor share = ag_div(with_axes_kept(y, dy), sum_over(winners, axes, true));
    return ag_where(winners, share, ag_full(y.tape, AG_SCALAR, 0.0));
}

static const struct op max_op = {OVER_AXES("max", reduce_forward, REDUCE_MAX),
                                 .gradient = extreme_gradient};

static const struct op min_op = {OVER_AXES("min", reduce_forward, REDUCE_MIN),
                                 .gradient = extreme_gradient};

/* ---- Calling them ---- */

bool axes_mask(ag_tensor x, ag_axes axes, const char *who, unsigned *mask)
{
    const struct record *r = resolve(x, who);
    if (!r || x.tape->failed)
        return false;
    int rank = r->shape.rank;
    *mask = 0;
    if (axes.count < 1 || axes.count > AG_MAX_RANK) {
        reject_tensor(x, who, "", "%d axes named; name 1 to %d of them", axes.count, AG_MAX_RANK);
        return false;
    }
    for (int i = 0; i < axes.count; i++) {
        int axis = axes.axis[i] < 0 ? axes.axis[i] + rank : axes.axis[i];
        if (axis < 0 || axis >= rank) {
            reject_tensor(x, who, "",
                          rank ? "axis %d is out of range for shape %s, whose axes are %d to %d"
                               : "axis %d is out of range: shape %s has no axes",
                          axes.axis[i], shape_words(&r->shape).at, -rank, rank - 1);
            return false;
        }
        if (*mask >> axis & 1u) {
            reject_tensor(x, who, "", "axis %d is named twice", axes.axis[i]);
            return false;
        }
        *mask |= 1u << axis;
    }
    return true;
}

static unsigned all_axes(ag_tensor x)
{
    const struct record *r = find(x);
    return r ? (1u << r->shape.rank) - 1 : 0;
}

static ag_tensor reduce_all(const struct op *op, ag_tensor x)
{
    return record(op, x, &(struct attributes){.axes = all_axes(x)});
}

ag_tensor reduce_axes(const struct op *op, ag_tensor x, ag_axes axes, bool keep)
{
    unsigned mask;
    if (!axes_mask(x, axes, op->name, &mask))
        return (ag_tensor){.tape = x.tape};
    return record(op, x, &(struct attributes){.axes = mask, .keep = keep});
}

ag_tensor sum_over(ag_tensor x, unsigned axes, bool keep)
{
    return record(&sum_op, x, &(struct attributes){.axes = axes, .keep = keep});
}

#define RECORDS_REDUCED(over_all, over_some, op)                                                   \
    ag_tensor over_all(ag_tensor x)                                                                \
    {                                                                                              \
        return reduce_all(&op, x);                                                                 \
    }                                                                                              \
    ag_tensor over_some(ag_tensor x, ag_axes axes, bool keep)                                      \
    {                                                                                              \
        return reduce_axes(&op, x, axes, keep);                                                    \
    }
RECORDS_REDUCED(ag_sum, ag_sum_axes, sum_op)
RECORDS_REDUCED(ag_mean, ag_mean_axes, mean_op)
RECORDS_REDUCED(ag_max, ag_max_axes, max_op)
RECORDS_REDUCED(ag_min, ag_min_axes, min_op)

ag_tensor ag_mean_square(ag_tensor x)
{
    return reduce_all(&mean_square_op, x);
}

/* In two passes, mean first: a difference of squares would cancel. */
static ag_tensor variance(ag_tensor x, unsigned axes, int correction, bool keep)
{
    const struct record *r = find(x);
    if (!r)
        return record(&sum_op, x, NULL);
    double n = (double)run_of(&r->shape, axes).n, divisor = n - correction;
    if (divisor <= 0.0)
        return ag_fail(x.tape,
                       "var: of %g elements with correction %d, the sum of squares would "
                       "be divided by %g",
                       n, correction, divisor);
    ag_tensor mean = record(&mean_op, x, &(struct attributes){.axes = axes, .keep = true});
    ag_tensor squares = sum_over(ag_square(ag_sub(x, mean)), axes, keep);
    return scaled(squares, 1.0 / divisor, correction ? NULL : "1/n");
}

ag_tensor ag_var(ag_tensor x, int correction)
{
    return variance(x, all_axes(x), correction, false);
}

ag_tensor ag_var_axes(ag_tensor x, ag_axes axes, int correction, bool keep)
{
    unsigned mask;
    if (!axes_mask(x, axes, "var", &mask))
        return (ag_tensor){.tape = x.tape};
    return variance(x, mask, correction, keep);
}

OP_LIST(reduce_ops, &sum_op, &mean_op, &mean_square_op, &max_op, &min_op)
