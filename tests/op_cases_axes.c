/* Cases of the ops that work along axes; a test program of its own with test_ops.c. */
#include <math.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&reduce_ops, &softmax_ops, &scan_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

/* ---- Shapes and axes ---- */

/* The axis of v has at least two elements, since along one alone softmax is constant. */
static void axis_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    *shape = random_shape(rng, 1, 4);
    shape->dim[v % (unsigned)shape->rank] += 1;
}

static int axis_of(unsigned v, int rank)
{
    int axis = rank ? (int)(v % (unsigned)rank) : 0;
    return v / 8 % 2 ? axis : axis - rank;
}

/* The axis of v, and of every other v the first and the last. */
static unsigned axes_of(unsigned v, int rank, ag_axes *axes)
{
    unsigned mask = rank ? 1u << v % (unsigned)rank : 1u;
    if (v % 2)
        mask |= 1u | 1u << (rank - 1);
    *axes = (ag_axes){0};
    for (int i = 0; i < rank; i++)
        if (mask >> i & 1u)
            axes->axis[axes->count++] = i;
    return mask;
}

/* ---- References ---- */

/* From the n elements of a group to n others, or to one. */
typedef void group_function(int64_t n, const double *x, double *y);

/* The number of the group that element i belongs to: those that differ in the axes alone. */
static int64_t group_of(const ag_shape *shape, unsigned axes, int64_t i)
{
    int64_t group = 0, step = 1;
    for (int a = shape->rank - 1; a >= 0; i /= shape->dim[a--])
        if (!(axes >> a & 1u)) {
            group += i % shape->dim[a] * step;
            step *= shape->dim[a];
        }
    return group;
}

static void for_groups(const struct array *x, unsigned axes, bool reduced, group_function *f,
                       struct array *y)
{
    double in[MOST_ELEMENTS], out[MOST_ELEMENTS];
    int64_t at[MOST_ELEMENTS], count = count_of(&x->shape);
    for (int64_t group = 0, n = 1; n > 0; group++) {
        n = 0;
        for (int64_t i = 0; i < count; i++)
            if (group_of(&x->shape, axes, i) == group) {
                in[n] = x->at[i];
                at[n++] = i;
            }
        if (n)
            f(n, in, out);
        for (int64_t i = 0; i < (reduced ? n > 0 : n); i++)
            y->at[reduced ? group : at[i]] = out[i];
    }
}

/* To the shape without the axes, or with size 1 there. */
static void reduce_groups(const struct array *x, unsigned axes, bool keep, group_function *f,
                          struct array *y)
{
    y->shape.rank = 0;
    for (int i = 0; i < x->shape.rank; i++)
        if (keep || !(axes >> i & 1u))
            y->shape.dim[y->shape.rank++] = axes >> i & 1u ? 1 : x->shape.dim[i];
    for_groups(x, axes, true, f, y);
}

static void logsumexp(int64_t n, const double *x, double *y)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += exp(x[i]);
    *y = log(sum);
}

static void log_softmax(int64_t n, const double *x, double *y)
{
    double total;
    logsumexp(n, x, &total);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] - total;
}

static void softmax(int64_t n, const double *x, double *y)
{
    log_softmax(n, x, y);
    for (int64_t i = 0; i < n; i++)
        y[i] = exp(y[i]);
}

static void cumsum(int64_t n, const double *x, double *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = i ? y[i - 1] + x[i] : x[i];
}

static void reverse_cumsum(int64_t n, const double *x, double *y)
{
    for (int64_t i = n - 1; i >= 0; i--)
        y[i] = i < n - 1 ? y[i + 1] + x[i] : x[i];
}

static void argmax(int64_t n, const double *x, double *y)
{
    *y = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > x[(int64_t)*y])
            *y = (double)i;
}

/* ---- Calls ---- */

static ag_tensor call_softmax(const ag_tensor *x, unsigned v)
{
    return ag_softmax(*x, axis_of(v, ag_shape_of(*x).rank));
}

static ag_tensor call_log_softmax(const ag_tensor *x, unsigned v)
{
    return ag_log_softmax(*x, axis_of(v, ag_shape_of(*x).rank));
}

static ag_tensor call_logsumexp(const ag_tensor *x, unsigned v)
{
    ag_axes axes;
    axes_of(v, ag_shape_of(*x).rank, &axes);
    return ag_logsumexp(*x, axes, v / 2 % 2);
}

static ag_tensor call_cumsum(const ag_tensor *x, unsigned v)
{
    return ag_cumsum(*x, axis_of(v, ag_shape_of(*x).rank));
}

/* What the walk records for cumsum. */
static ag_tensor call_reverse_cumsum(const ag_tensor *x, unsigned v)
{
    unsigned rank = (unsigned)ag_shape_of(*x).rank;
    for (size_t i = 0; i < scan_ops.count; i++)
        if (scan_ops.at[i]->name[0] == 'r')
            return record(scan_ops.at[i], *x,
                          &(struct attributes){.axes = 1u << v % (rank ? rank : 1)});
    return NONE;
}

static ag_tensor call_argmax(const ag_tensor *x, unsigned v)
{
    return ag_argmax(*x, axis_of(v, ag_shape_of(*x).rank), v % 2);
}

static void along(const struct array *x, unsigned v, group_function *f, struct array *y)
{
    y->shape = x->shape;
    for_groups(x, 1u << v % (unsigned)x->shape.rank, false, f, y);
}

static void softmax_reference(const struct array *x, unsigned v, struct array *y)
{
    along(x, v, softmax, y);
}

static void log_softmax_reference(const struct array *x, unsigned v, struct array *y)
{
    along(x, v, log_softmax, y);
}

static void logsumexp_reference(const struct array *x, unsigned v, struct array *y)
{
    ag_axes axes;
    reduce_groups(x, axes_of(v, x->shape.rank, &axes), v / 2 % 2, logsumexp, y);
}

static void cumsum_reference(const struct array *x, unsigned v, struct array *y)
{
    along(x, v, cumsum, y);
}

static void reverse_cumsum_reference(const struct array *x, unsigned v, struct array *y)
{
    along(x, v, reverse_cumsum, y);
}

static void argmax_reference(const struct array *x, unsigned v, struct array *y)
{
    reduce_groups(x, 1u << v % (unsigned)x->shape.rank, v % 2, argmax, y);
}

/* ---- Reductions ---- */

static void total(int64_t n, const double *x, double *y)
{
    *y = 0.0;
    for (int64_t i = 0; i < n; i++)
        *y += x[i];
}

static void mean(int64_t n, const double *x, double *y)
{
    total(n, x, y);
    *y /= (double)n;
}

static void mean_square(int64_t n, const double *x, double *y)
{
    *y = 0.0;
    for (int64_t i = 0; i < n; i++)
        *y += x[i] * x[i] / (double)n;
}

static void greatest(int64_t n, const double *x, double *y)
{
    *y = x[0];
    for (int64_t i = 1; i < n; i++)
        *y = fmax(*y, x[i]);
}

static void least(int64_t n, const double *x, double *y)
{
    *y = x[0];
    for (int64_t i = 1; i < n; i++)
        *y = fmin(*y, x[i]);
}

static const struct {
    ag_tensor (*all)(ag_tensor x);
    ag_tensor (*some)(ag_tensor x, ag_axes axes, bool keep);
    group_function *f;
} reductions[] = {
    {ag_sum, ag_sum_axes, total},
    {ag_mean, ag_mean_axes, mean},
    {ag_max, ag_max_axes, greatest},
    {ag_min, ag_min_axes, least},
};

/* Over all axes, or some. */
static ag_tensor reduce(int which, const ag_tensor *x, unsigned v)
{
    ag_axes axes;
    axes_of(v, ag_shape_of(*x).rank, &axes);
    return v % 5 ? reductions[which].some(*x, axes, v / 4 % 2) : reductions[which].all(*x);
}

static void reduce_reference_of(group_function *f, const struct array *x, unsigned v,
                                struct array *y)
{
    ag_axes axes;
    unsigned mask = v % 5 ? axes_of(v, x->shape.rank, &axes) : ~0u;
    reduce_groups(x, mask, v % 5 && v / 4 % 2, f, y);
}

#define REDUCTION(name, which)                                                                     \
    static ag_tensor call_##name(const ag_tensor *x, unsigned v)                                   \
    {                                                                                              \
        return reduce(which, x, v);                                                                \
    }                                                                                              \
    static void name##_reference(const struct array *x, unsigned v, struct array *y)               \
    {                                                                                              \
        reduce_reference_of(reductions[which].f, x, v, y);                                         \
    }
REDUCTION(sum, 0)
REDUCTION(mean, 1)
REDUCTION(max, 2)
REDUCTION(min, 3)

static void mean_square_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    reduce_groups(x, ~0u, false, mean_square, y);
}

static void variance(int64_t n, const double *x, double *y)
{
    double middle;
    mean(n, x, &middle);
    *y = 0.0;
    for (int64_t i = 0; i < n; i++)
        *y += (x[i] - middle) * (x[i] - middle);
}

static void variance_of_sample(int64_t n, const double *x, double *y)
{
    variance(n, x, y);
    *y /= (double)(n - 1);
}

static void variance_of_all(int64_t n, const double *x, double *y)
{
    variance(n, x, y);
    *y /= (double)n;
}

static ag_tensor call_var(const ag_tensor *x, unsigned v)
{
    ag_axes axes;
    axes_of(v, ag_shape_of(*x).rank, &axes);
    return v % 5 ? ag_var_axes(*x, axes, v / 2 % 2, v / 4 % 2) : ag_var(*x, v / 2 % 2);
}

static void var_reference(const struct array *x, unsigned v, struct array *y)
{
    reduce_reference_of(v / 2 % 2 ? variance_of_sample : variance_of_all, x, v, y);
}

static ag_tensor var_of_one(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_var_axes(*x, AG_AXES(1), 1, false);
}

/* ---- Wrong uses ---- */

static ag_tensor bad_softmax(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_softmax(*x, 2);
}

static ag_tensor bad_log_softmax(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_log_softmax(*x, -3);
}

static ag_tensor bad_logsumexp(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_logsumexp(*x, AG_AXES(0, 0), true);
}

static ag_tensor bad_cumsum(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_cumsum(*x, 7);
}

static ag_tensor bad_argmax(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_argmax(*x, 2, false);
}

static ag_tensor bad_sum(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_sum_axes(*x, AG_AXES(0, 2), false);
}

static ag_tensor bad_mean(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_mean_axes(*x, AG_AXES(1, -1), true);
}

static ag_tensor bad_max(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_max_axes(*x, (ag_axes){0}, true);
}

static ag_tensor bad_min(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_min_axes(*x, AG_AXES(-4), true);
}

/* ---- The table ---- */

#define MATRIX .wrong_shape = {{2, {2, 3}}}

const struct op_case op_cases[] = {
    {.op = "softmax",
     .build = call_softmax,
     .inputs = 1,
     .reference = softmax_reference,
     .shapes = axis_shapes,
     .wrong = bad_softmax,
     MATRIX,
     .error = "softmax: axis 2 is out of range for shape (2, 3)"},
    {.op = "log_softmax",
     .build = call_log_softmax,
     .inputs = 1,
     .reference = log_softmax_reference,
     .shapes = axis_shapes,
     .wrong = bad_log_softmax,
     MATRIX,
     .error = "log_softmax: axis -3 is out of range for shape (2, 3)"},
    {.op = "logsumexp",
     .build = call_logsumexp,
     .inputs = 1,
     .reference = logsumexp_reference,
     .shapes = axis_shapes,
     .wrong = bad_logsumexp,
     MATRIX,
     .error = "logsumexp: axis 0 is named twice"},
    {.op = "cumsum",
     .build = call_cumsum,
     .inputs = 1,
     .reference = cumsum_reference,
     .shapes = axis_shapes,
     .wrong = bad_cumsum,
     MATRIX,
     .error = "cumsum: axis 7 is out of range for shape (2, 3)"},
    {.op = "reverse_cumsum",
     .build = call_reverse_cumsum,
     .inputs = 1,
     .reference = reverse_cumsum_reference,
     .shapes = axis_shapes,
     .wrong = bad_cumsum,
     MATRIX,
     .error = "cumsum: axis 7"},
    {.op = "argmax",
     .build = call_argmax,
     .inputs = 1,
     .reference = argmax_reference,
     .shapes = axis_shapes,
     .flat = true,
     .wrong = bad_argmax,
     MATRIX,
     .error = "argmax: axis 2 is out of range for shape (2, 3)"},
    {.op = "sum",
     .build = call_sum,
     .inputs = 1,
     .reference = sum_reference,
     .shapes = axis_shapes,
     .wrong = bad_sum,
     MATRIX,
     .error = "sum: axis 2 is out of range for shape (2, 3)"},
    {.op = "mean",
     .build = call_mean,
     .inputs = 1,
     .reference = mean_reference,
     .shapes = axis_shapes,
     .wrong = bad_mean,
     MATRIX,
     .error = "mean: axis -1 is named twice"},
    {.op = "max",
     .build = call_max,
     .inputs = 1,
     .reference = max_reference,
     .shapes = axis_shapes,
     .wrong = bad_max,
     MATRIX,
     .error = "max: 0 axes named"},
    {.op = "min",
     .build = call_min,
     .inputs = 1,
     .reference = min_reference,
     .shapes = axis_shapes,
     .wrong = bad_min,
     MATRIX,
     .error = "min: axis -4 is out of range"},
    {.op = "mean_square", .unary = ag_mean_square, .reference = mean_square_reference},
    {.op = "var",
     .build = call_var,
     .inputs = 1,
     .reference = var_reference,
     .shapes = axis_shapes,
     .wrong = var_of_one,
     .wrong_shape = {{2, {3, 1}}},
     .error = "var: of 1 elements with correction 1"},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
