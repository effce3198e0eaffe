#include "op_cases.h"

#include <math.h>
#include <string.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&leaf_ops, &elementwise_ops, &activation_ops, &matmul_ops,
                                          &shape_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

/* ---- Shapes ---- */

static void some_axes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = random_shape(rng, 1, 4);
}

static void matrices(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = random_shape(rng, 2, 4);
}

/* Stacks of matrices whose leading axes broadcast, and vectors. */
static void product_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    ag_shape stack = random_shape(rng, 0, 2);
    bool row = v % 8 == 1 || v % 8 == 3, column = v % 8 == 2 || v % 8 == 3;
    int64_t k = 1 + (int64_t)ag_rng_below(rng, 4);
    shape[0] = row ? AG_SCALAR : random_part(rng, &stack);
    shape[1] = column ? AG_SCALAR : random_part(rng, &stack);
    if (!row)
        shape[0].dim[shape[0].rank++] = 1 + (int64_t)ag_rng_below(rng, 4);
    shape[0].dim[shape[0].rank++] = k;
    shape[1].dim[shape[1].rank++] = k;
    if (!column)
        shape[1].dim[shape[1].rank++] = 1 + (int64_t)ag_rng_below(rng, 4);
}

/* x (..., k), w (n, k), b (n) */
static void linear_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    shape[0] = random_shape(rng, 1, 3);
    int64_t n = 1 + (int64_t)ag_rng_below(rng, 4);
    shape[1] = AG_SHAPE(n, shape[0].dim[shape[0].rank - 1]);
    shape[2] = AG_SHAPE(n);
}

/* ---- Constants, by v ---- */

static double constant_of(unsigned v)
{
    static const double constants[] = {2.5, -1.5, 1.0, -0.25};
    return constants[v % 4];
}

static ag_tensor with_constant(const ag_tensor *x, unsigned v)
{
    double c = constant_of(v);
    switch (v % 3) {
    case 0:
        return ag_add_scalar(*x, c);
    case 1:
        return ag_sub_scalar(*x, c);
    default:
        return ag_add_scalar(ag_sub_scalar(*x, 1.0), c);
    }
}

static void with_constant_reference(const struct array *x, unsigned v, struct array *y)
{
    double c = constant_of(v);
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] += v % 3 == 0 ? c : v % 3 == 1 ? -c : c - 1.0;
}

static ag_tensor from_constant(const ag_tensor *x, unsigned v)
{
    return ag_scalar_sub(constant_of(v), *x);
}

static void from_constant_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = constant_of(v) - x->at[i];
}

static ag_tensor by_constant(const ag_tensor *x, unsigned v)
{
    return ag_mul_scalar(*x, constant_of(v));
}

static void by_constant_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] *= constant_of(v);
}

static ag_tensor quotient_of_constant(const ag_tensor *x, unsigned v)
{
    return v % 2 ? ag_div_scalar(*x, constant_of(v)) : ag_scalar_div(constant_of(v), *x);
}

static void quotient_of_constant_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = v % 2 ? x->at[i] / constant_of(v) : constant_of(v) / x->at[i];
}

/* ---- Ops that have no function of their own in the interface ---- */

static ag_tensor record_named(const char *name, const ag_tensor *x)
{
    for (size_t i = 0; i < activation_ops.count; i++)
        if (!strcmp(activation_ops.at[i]->name, name))
            return record2(activation_ops.at[i], x[0], x[1], NULL);
    return NONE;
}

static ag_tensor call_sigmoid_slope(const ag_tensor *x, unsigned v)
{
    (void)v;
    return record_named("sigmoid_slope", x);
}

static ag_tensor call_tanh_slope(const ag_tensor *x, unsigned v)
{
    (void)v;
    return record_named("tanh_slope", x);
}

static ag_tensor call_relu_slope(const ag_tensor *x, unsigned v)
{
    (void)v;
    return record_named("relu_slope", x);
}

static ag_tensor call_leaky_relu(const ag_tensor *x, unsigned v)
{
    return ag_leaky_relu(*x, constant_of(v) / 8.0);
}

static void leaky_relu_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] *= x->at[i] > 0.0 ? 1.0 : constant_of(v) / 8.0;
}

/* Recorded by the walk, over operands of one shape. */
static ag_tensor call_leaky_relu_slope(const ag_tensor *x, unsigned v)
{
    ag_shape shape = ag_shape_of(ag_mul(x[0], x[1]));
    ag_tensor dy = ag_broadcast_to(x[0], shape), gate = ag_broadcast_to(x[1], shape);
    (void)v;
    for (size_t i = 0; i < activation_ops.count; i++)
        if (!strcmp(activation_ops.at[i]->name, "leaky_relu_slope"))
            return record2(activation_ops.at[i], dy, gate, &(struct attributes){.p = {0.25}});
    return NONE;
}

static double leaky_relu_slope(double dy, double x)
{
    return x > 0.0 ? dy : 0.25 * dy;
}

static ag_tensor call_elu(const ag_tensor *x, unsigned v)
{
    return ag_elu(*x, constant_of(v));
}

static void elu_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = x->at[i] > 0.0 ? x->at[i] : constant_of(v) * expm1(x->at[i]);
}

static double softplus(double x)
{
    return log1p(exp(x));
}

/* ---- Products ---- */

static ag_tensor call_matmul(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_matmul(x[0], x[1]);
}

static void matmul_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    product_reference(&x[0], &x[1], false, y);
}

static ag_tensor call_linear(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_linear(x[0], x[1], x[2]);
}

static void linear_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    static struct array product;
    product_reference(&x[0], &x[1], true, &product);
    map2(plus, &product, &x[2], y);
}

/* ---- Reductions ---- */

/* Some of `rank` axes, at least one, and half of them counted from the end. */
static unsigned axes_of(unsigned v, int rank, ag_axes *axes)
{
    unsigned all = (1u << rank) - 1, mask = 1 + v / 2 % (all ? all : 1);
    *axes = (ag_axes){0};
    for (int i = 0; i < rank; i++)
        if (mask >> i & 1u)
            axes->axis[axes->count++] = (v + (unsigned)i) % 2 ? i : i - rank;
    return mask;
}

static ag_tensor call_sum_axes(const ag_tensor *x, unsigned v)
{
    ag_axes axes;
    axes_of(v, ag_shape_of(*x).rank, &axes);
    return ag_sum_axes(*x, axes, v % 2);
}

static void sum_axes_reference(const struct array *x, unsigned v, struct array *y)
{
    ag_axes axes;
    unsigned mask = axes_of(v, x->shape.rank, &axes);
    reduce_reference(x, mask, v % 2, SUM_OF, y);
}

static ag_tensor call_mean_axes(const ag_tensor *x, unsigned v)
{
    ag_axes axes;
    axes_of(v, ag_shape_of(*x).rank, &axes);
    return ag_mean_axes(*x, axes, v % 2);
}

static void mean_axes_reference(const struct array *x, unsigned v, struct array *y)
{
    ag_axes axes;
    unsigned mask = axes_of(v, x->shape.rank, &axes);
    reduce_reference(x, mask, v % 2, MEAN_OF, y);
}

static void sum_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    reduce_reference(x, ~0u, false, SUM_OF, y);
}

static void mean_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    reduce_reference(x, ~0u, false, MEAN_OF, y);
}

static void mean_square_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    reduce_reference(x, ~0u, false, MEAN_SQUARE_OF, y);
}

static ag_tensor axis_out_of_range(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_sum_axes(*x, AG_AXES(0, 2), false);
}

static ag_tensor axis_named_twice(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_mean_axes(*x, AG_AXES(1, -1), true);
}

/* ---- Shapes ---- */

static void turned_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)v;
    transpose_reference(x, y);
}

/* Another shape for the same elements, all sizes known. */
static ag_shape other_shape(ag_shape shape, unsigned v)
{
    ag_shape reversed = shape;
    switch (v % 3) {
    case 0:
        return AG_SHAPE(count_of(&shape));
    case 1:
        return AG_SHAPE(1, count_of(&shape), 1);
    default:
        for (int i = 0; i < shape.rank; i++)
            reversed.dim[i] = shape.dim[shape.rank - 1 - i];
        return reversed;
    }
}

static ag_tensor call_reshape(const ag_tensor *x, unsigned v)
{
    ag_shape shape = other_shape(ag_shape_of(*x), v);
    if (shape.rank && v % 2)
        shape.dim[v / 2 % (unsigned)shape.rank] = -1;
    return ag_reshape(*x, shape);
}

static void reshape_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    y->shape = other_shape(x->shape, v);
}

static ag_tensor wrong_reshape(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_reshape(*x, AG_SHAPE(4, 2));
}

/* What `shape` is broadcast to: axes of size 1 repeated, and new ones in front. */
static ag_shape repeated_shape(ag_shape shape, unsigned v)
{
    ag_shape whole = shape;
    for (int i = 0; i < shape.rank; i++)
        whole.dim[i] = shape.dim[i] == 1 && v >> i & 1u ? 3 : shape.dim[i];
    if (v % 3)
        return whole;
    memmove(whole.dim + 1, whole.dim, (size_t)shape.rank * sizeof *whole.dim);
    whole.dim[0] = 2;
    whole.rank++;
    return whole;
}

static ag_tensor call_broadcast_to(const ag_tensor *x, unsigned v)
{
    return ag_broadcast_to(*x, repeated_shape(ag_shape_of(*x), v));
}

static void broadcast_to_reference(const struct array *x, unsigned v, struct array *y)
{
    broadcast_reference(x, repeated_shape(x->shape, v), y);
}

static ag_tensor wrong_broadcast_to(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_broadcast_to(*x, AG_SHAPE(2, 4));
}

/* The shape that is left when some axes are summed, leading ones away. */
static ag_shape summed_shape(ag_shape shape, unsigned v)
{
    unsigned drop = shape.rank ? v % (unsigned)(shape.rank + 1) : 0;
    ag_shape part = {shape.rank - (int)drop, {0}};
    for (int i = 0; i < part.rank; i++)
        part.dim[i] = v >> i & 4u ? 1 : shape.dim[i + (int)drop];
    return part;
}

static ag_tensor call_sum_to(const ag_tensor *x, unsigned v)
{
    return ag_sum_to(*x, summed_shape(ag_shape_of(*x), v));
}

static void call_sum_to_reference(const struct array *x, unsigned v, struct array *y)
{
    sum_to_reference(x, summed_shape(x->shape, v), y);
}

static ag_tensor wrong_sum_to(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_sum_to(*x, AG_SHAPE(2, 2));
}

/* ---- The table ---- */

#define SLOPE_DOMAIN .inputs = 2, .low = -2.0, .high = 2.0, .away = 0.1

const struct op_case op_cases[] = {
    {.op = "add", .binary = ag_add, .f2 = plus},
    {.op = "sub", .binary = ag_sub, .f2 = minus},
    {.op = "mul", .binary = ag_mul, .f2 = times},
    {.op = "div", .binary = ag_div, .f2 = over, .low = -2.0, .high = 2.0, .away = 0.5},
    {.op = "div",
     .build = quotient_of_constant,
     .inputs = 1,
     .reference = quotient_of_constant_reference,
     .low = -2.0,
     .high = 2.0,
     .away = 0.5},
    {.op = "add_scalar", .build = with_constant, .inputs = 1, .reference = with_constant_reference},
    {.op = "scalar_sub", .build = from_constant, .inputs = 1, .reference = from_constant_reference},
    {.op = "mul_scalar", .build = by_constant, .inputs = 1, .reference = by_constant_reference},
    {.op = "neg", .unary = ag_neg, .f1 = negative},
    {.op = "exp", .unary = ag_exp, .f1 = exp},
    {.op = "log", .unary = ag_log, .f1 = log, .low = 0.5, .high = 3.0},
    {.op = "sqrt", .unary = ag_sqrt, .f1 = sqrt, .low = 0.5, .high = 3.0},
    {.op = "square", .unary = ag_square, .f1 = squared},

    {.op = "sigmoid", .unary = ag_sigmoid, .f1 = logistic},
    {.op = "sigmoid_slope", .build = call_sigmoid_slope, .f2 = logistic_slope, SLOPE_DOMAIN},
    {.op = "tanh", .unary = ag_tanh, .f1 = tanh},
    {.op = "tanh_slope", .build = call_tanh_slope, .f2 = tanh_slope, SLOPE_DOMAIN},
    {.op = "relu", .unary = ag_relu, .f1 = ramp, .low = -2.0, .high = 2.0, .away = 0.1},
    {.op = "relu_slope", .build = call_relu_slope, .f2 = ramp_slope, SLOPE_DOMAIN},

    {.op = "leaky_relu",
     .build = call_leaky_relu,
     .inputs = 1,
     .reference = leaky_relu_reference,
     .away = 0.1},
    {.op = "leaky_relu_slope",
     .build = call_leaky_relu_slope,
     .f2 = leaky_relu_slope,
     SLOPE_DOMAIN,
     .wrong_shape = {{1, {2}}, {1, {3}}},
     .error = "mul: shapes do not broadcast"},
    {.op = "elu", .build = call_elu, .inputs = 1, .reference = elu_reference, .away = 0.1},
    {.op = "softplus", .unary = ag_softplus, .f1 = softplus},

    {.op = "matmul",
     .build = call_matmul,
     .inputs = 2,
     .reference = matmul_reference,
     .shapes = product_shapes,
     .wrong_shape = {{2, {2, 3}}, {2, {4, 2}}},
     .error = "matmul: inner dimensions differ: 3 and 4"},
    {.op = "matmul",
     .build = call_linear,
     .inputs = 3,
     .reference = linear_reference,
     .shapes = linear_shapes,
     .wrong_shape = {{2, {2, 3}}, {2, {4, 5}}, {1, {4}}},
     .error = "matmul: inner dimensions differ: 3 and 5"},

    {.op = "sum", .unary = ag_sum, .reference = sum_reference},
    {.op = "sum",
     .build = call_sum_axes,
     .inputs = 1,
     .reference = sum_axes_reference,
     .shapes = some_axes,
     .wrong = axis_out_of_range,
     .wrong_shape = {{2, {2, 3}}},
     .error = "sum: axis 2 is out of range for shape (2, 3)"},
    {.op = "mean", .unary = ag_mean, .reference = mean_reference},
    {.op = "mean",
     .build = call_mean_axes,
     .inputs = 1,
     .reference = mean_axes_reference,
     .shapes = some_axes,
     .wrong = axis_named_twice,
     .wrong_shape = {{2, {2, 3}}},
     .error = "mean: axis -1 is named twice"},
    {.op = "mean_square", .unary = ag_mean_square, .reference = mean_square_reference},

    {.op = "transpose",
     .unary = ag_transpose,
     .reference = turned_reference,
     .shapes = matrices,
     .wrong_shape = {{1, {3}}},
     .error = "transpose: needs at least two axes"},
    {.op = "reshape",
     .build = call_reshape,
     .inputs = 1,
     .reference = reshape_reference,
     .wrong = wrong_reshape,
     .wrong_shape = {{2, {2, 3}}},
     .error = "reshape: (2, 3) has 6 elements, which do not fill (4, 2)"},
    {.op = "broadcast_to",
     .build = call_broadcast_to,
     .inputs = 1,
     .reference = broadcast_to_reference,
     .wrong = wrong_broadcast_to,
     .wrong_shape = {{1, {3}}},
     .error = "broadcast_to: cannot be repeated to (2, 4)"},
    {.op = "sum",
     .build = call_sum_to,
     .inputs = 1,
     .reference = call_sum_to_reference,
     .wrong = wrong_sum_to,
     .wrong_shape = {{2, {2, 3}}},
     .error = "sum_to: (2, 3) is not what (2, 2) broadcasts to"},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
