/* Cases of powers, functions and choices; a test program of its own with test_ops.c. */
#include <math.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&math_ops, &select_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

/* ---- Powers and functions of one element ---- */

static double exponent_of(unsigned v)
{
    static const double exponents[] = {1.0, 2.0, 3.0, -1.0, 0.5, -1.5, 2.5};
    return exponents[v % (sizeof exponents / sizeof *exponents)];
}

static ag_tensor call_pow_scalar(const ag_tensor *x, unsigned v)
{
    return ag_pow_scalar(*x, exponent_of(v));
}

static void pow_scalar_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = pow(x->at[i], exponent_of(v));
}

static double sign(double x)
{
    return (x > 0.0) - (x < 0.0);
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static double silu(double x)
{
    return x * logistic(x);
}

/* ---- Comparisons ---- */

static double greater(double x, double y)
{
    return x > y;
}

static double greater_or_equal(double x, double y)
{
    return x >= y;
}

static double same(double x, double y)
{
    return x == y;
}

static double different(double x, double y)
{
    return x != y;
}

static double less(double x, double y)
{
    return x < y;
}

static double less_or_equal(double x, double y)
{
    return x <= y;
}

static const struct {
    ag_tensor (*op)(ag_tensor x, ag_tensor y);
    double (*f)(double x, double y);
} comparisons[] = {
    {ag_equal, same},
    {ag_not_equal, different},
    {ag_greater_equal, greater_or_equal},
    {ag_less_equal, less_or_equal},
    {ag_less, less},
};

enum { COMPARISONS = sizeof comparisons / sizeof *comparisons };

/* Negative numbers become 0, so that some are equal. */
static ag_tensor compare(const ag_tensor *x, unsigned v)
{
    return comparisons[v % COMPARISONS].op(ag_relu(x[0]), ag_relu(x[1]));
}

static void compare_reference(const struct array *x, unsigned v, struct array *y)
{
    static struct array a, b;
    map1(ramp, &x[0], &a);
    map1(ramp, &x[1], &b);
    map2(comparisons[v % COMPARISONS].f, &a, &b, y);
}

/* ---- Choices ---- */

static void three_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    ag_shape whole = random_shape(rng, 0, 4);
    for (int i = 0; i < 3; i++)
        shape[i] = random_part(rng, &whole);
    shape[v % 3] = whole;
}

static ag_tensor choose(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_where(ag_relu(x[0]), x[1], x[2]);
}

static double positive(double x)
{
    return x > 0.0;
}

static double not_positive(double x)
{
    return x <= 0.0;
}

static void choose_reference(const struct array *x, unsigned v, struct array *y)
{
    static struct array condition, first, second;
    (void)v;
    map1(positive, &x[0], &condition);
    map2(times, &condition, &x[1], &first);
    map1(not_positive, &x[0], &condition);
    map2(times, &condition, &x[2], &second);
    map2(plus, &first, &second, y);
}

/* What is clipped is negative: at the lower bound, or turned, at the upper. */
static ag_tensor call_clip(const ag_tensor *x, unsigned v)
{
    return v % 2 ? ag_neg(ag_clip(ag_neg(*x), -HUGE_VAL, 0.75)) : ag_clip(*x, -0.75, 3.0);
}

static void clip_reference(const struct array *x, unsigned v, struct array *y)
{
    *y = *x;
    (void)v;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = fmax(x->at[i], -0.75);
}

/* ---- The table ---- */

const struct op_case op_cases[] = {
    {.op = "pow", .binary = ag_pow, .f2 = pow, .low = 0.5, .high = 2.0},
    {.op = "pow_scalar",
     .build = call_pow_scalar,
     .inputs = 1,
     .reference = pow_scalar_reference,
     .low = 0.5,
     .high = 2.0},
    {.op = "abs", .unary = ag_abs, .f1 = fabs, .away = 0.1},
    {.op = "sign", .unary = ag_sign, .f1 = sign, .flat = true},
    {.op = "sin", .unary = ag_sin, .f1 = sin},
    {.op = "cos", .unary = ag_cos, .f1 = cos},
    {.op = "erf", .unary = ag_erf, .f1 = erf},
    {.op = "mul_scalar", .unary = ag_gelu, .f1 = gelu},
    {.op = "square", .unary = ag_gelu_tanh, .f1 = gelu_tanh},
    {.op = "sigmoid", .unary = ag_silu, .f1 = silu},

    {.op = "greater", .binary = ag_greater, .f2 = greater, .flat = true},
    {.op = "equal", .build = compare, .inputs = 2, .reference = compare_reference, .flat = true},
    {.op = "where",
     .build = choose,
     .inputs = 3,
     .reference = choose_reference,
     .shapes = three_shapes,
     .away = 0.1,
     .wrong_shape = {{1, {3}}, {2, {2, 3}}, {1, {2}}},
     .error = "where: shapes do not broadcast"},
    {.op = "maximum", .binary = ag_maximum, .f2 = fmax},
    {.op = "minimum", .binary = ag_minimum, .f2 = fmin},
    {.op = "clip", .build = call_clip, .inputs = 1, .reference = clip_reference},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
