/* Activations and their slopes. A slope is an op of its own, so that a gradient passes memory once;
 * each is linear in its first operand. */
#include <math.h>

#include "define.h"

/* ---- y = sigmoid(x): dy/dx = y(1 - y) ---- */

/* z = dy y(1 - y): dz/dy = dy(1 - 2y). */
static ag_tensor sigmoid_slope_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor dy = operand_of(z, 0), y = operand_of(z, 1);
    return i == 0 ? linear_gradient(z, dz, i)
                  : chain(dz, ag_mul(dy, ag_scalar_sub(1.0, ag_mul_scalar(y, 2.0))));
}

static const struct op sigmoid_slope_op = {
    WRITTEN("sigmoid_slope", 2, "$x · $y · (1 - $y)", PRODUCT),
    BROADCAST(BINARY_SIGMOID_SLOPE),
    .gradient = sigmoid_slope_gradient,
    .adjoint = &sigmoid_slope_op,
};

static const struct op sigmoid_op = {CALLED("sigmoid", 1, "$x"), ELEMENTWISE(UNARY_SIGMOID),
                                     SLOPE_BY_RESULT(&sigmoid_slope_op)};
RECORDS_1(ag_sigmoid, sigmoid_op)

/* ---- y = tanh(x): dy/dx = 1 - y^2 ---- */

/* z = dy(1 - y^2): dz/dy = -2 y dy. */
static ag_tensor tanh_slope_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor dy = operand_of(z, 0), y = operand_of(z, 1);
    return i == 0 ? linear_gradient(z, dz, i) : chain(dz, ag_mul(dy, ag_mul_scalar(y, -2.0)));
}

static const struct op tanh_slope_op = {
    WRITTEN("tanh_slope", 2, "$x · (1 - $y²)", PRODUCT),
    BROADCAST(BINARY_TANH_SLOPE),
    .gradient = tanh_slope_gradient,
    .adjoint = &tanh_slope_op,
};

static const struct op tanh_op = {CALLED("tanh", 1, "$x"), ELEMENTWISE(UNARY_TANH),
                                  SLOPE_BY_RESULT(&tanh_slope_op)};
RECORDS_1(ag_tanh, tanh_op)

/* ---- y = relu(x): dy/dx = 1 where y > 0, else 0; flat in y ---- */

static const struct op relu_slope_op = {WRITTEN("relu_slope", 2, "$x · ($y > 0)", PRODUCT),
                                        BROADCAST(BINARY_RELU_SLOPE), LINEAR(&relu_slope_op)};

static const struct op relu_op = {CALLED("relu", 1, "$x"), ELEMENTWISE(UNARY_RELU),
                                  SLOPE_BY_RESULT(&relu_slope_op)};
RECORDS_1(ag_relu, relu_op)

/* ---- y = leaky_relu(x): dy/dx = 1 where x > 0, else p ---- */

#define DEFINE_LEAK(real)                                                                          \
    static void leak_##real(const struct record *r, const real *x, const real *gate, real *y)      \
    {                                                                                              \
        const real slope = (real)r->attr.p[0];                                                     \
        for (int64_t i = 0; i < r->count; i++) {                                                   \
            real less = slope * x[i];                                                              \
            y[i] = gate[i] > 0 ? x[i] : less;                                                      \
        }                                                                                          \
    }
DEFINE_LEAK(float)
DEFINE_LEAK(double)

/* x is its own gate, or the last operand is that. */
static void leak_forward(ag_tape *tape, const struct record *r)
{
    const void *x = input_of(tape, r, 0)->data, *gate = input_of(tape, r, r->inputs - 1)->data;
    OF_ELEMENTS(tape, leak, r, x, gate, r->data);
}

/* dy and x have one shape. */
static const struct op leaky_relu_slope_op = {
    WRITTEN("leaky_relu_slope", 2, "$x · ($y > 0 or $p)", PRODUCT),
    .forward = leak_forward,
    LINEAR(&leaky_relu_slope_op),
};

static const struct op elu_op;

static bool finite_constant(struct call *call)
{
    double value = call->attr.p[0];
    return isfinite(value) || reject(call, "", "the %s is %g; it must be finite",
                                     call->op == &elu_op ? "alpha" : "slope", value);
}

static const struct op leaky_relu_op = {
    CALLED("leaky_relu", 1, "$x, $p"),
    .shape = finite_constant,
    .forward = leak_forward,
    SLOPE_BY_OPERAND(&leaky_relu_slope_op),
};

ag_tensor ag_leaky_relu(ag_tensor x, double slope)
{
    return record(&leaky_relu_op, x, &(struct attributes){.p = {slope}});
}

/* ---- y = elu(x): dy/dx = 1 where x > 0, else y + p ---- */

/* e^x - 1 = 2t/(1 - t) with t = tanh(x/2), which does not cancel for x < 0. */
#define DEFINE_ELU(real)                                                                           \
    static void elu_##real(const struct kernels *k, const struct record *r, const real *x,         \
                           real *y)                                                                \
    {                                                                                              \
        const real alpha = (real)r->attr.p[0];                                                     \
        const size_t n = (size_t)r->count;                                                         \
        for (size_t i = 0; i < n; i++) {                                                           \
            real half = x[i] / 2;                                                                  \
            y[i] = x[i] > 0 ? 0 : half;                                                            \
        }                                                                                          \
        k->unary[UNARY_TANH](n, y, y, NULL);                                                       \
        for (size_t i = 0; i < n; i++) {                                                           \
            real falling = alpha * (2 * y[i] / (1 - y[i]));                                        \
            y[i] = x[i] > 0 ? x[i] : falling;                                                      \
        }                                                                                          \
    }
DEFINE_ELU(float)
DEFINE_ELU(double)

static void elu_forward(ag_tape *tape, const struct record *r)
{
    OF_ELEMENTS(tape, elu, tape->kernels, r, input_of(tape, r, 0)->data, r->data);
}

static ag_tensor elu_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor zero = ag_full(y.tape, AG_SCALAR, 0.0), one = ag_full(y.tape, AG_SCALAR, 1.0);
    ag_tensor falling = ag_add_scalar(y, find(y)->attr.p[0]);
    return chain(dy, ag_where(ag_greater(operand_of(y, i), zero), one, falling));
}

static const struct op elu_op = {
    CALLED("elu", 1, "$x, $p"),
    .shape = finite_constant,
    .forward = elu_forward,
    .gradient = elu_gradient,
};

ag_tensor ag_elu(ag_tensor x, double alpha)
{
    return record(&elu_op, x, &(struct attributes){.p = {alpha}});
}

/* ---- y = softplus(x) = log(1 + e^x): dy/dx = sigmoid(x) ---- */

enum { SOFTPLUS_BLOCK = 256 };

/* max(x, 0) + log(w), w = 1 + u, u = exp(-|x|). What w lost of u is w - 1 - u, exactly; divided by
 * w, it is what log(w) lacks. */
static void softplus_block(const struct kernels *k, size_t n, const void *x, void *y)
{
    union {
        float f32[SOFTPLUS_BLOCK];
        double f64[SOFTPLUS_BLOCK];
    } room[3];
    void *w = &room[0], *log = &room[1], *lost = &room[2];
    k->unary[UNARY_ABS](n, x, y, NULL);
    k->unary[UNARY_NEG](n, y, y, NULL);
    k->unary[UNARY_EXP](n, y, y, NULL);
    k->unary[UNARY_AFFINE](n, y, w, (double[]){1.0, 1.0});
    k->unary[UNARY_LOG](n, w, log, NULL);
    k->unary[UNARY_AFFINE](n, w, lost, (double[]){1.0, -1.0});
    pairwise(k, BINARY_SUB, n, y, lost, lost);
    pairwise(k, BINARY_DIV, n, lost, w, lost);
    pairwise(k, BINARY_ADD, n, log, lost, log);
    k->unary[UNARY_RELU](n, x, y, NULL);
    pairwise(k, BINARY_ADD, n, y, log, y);
}

static void softplus_forward(ag_tape *tape, const struct record *r)
{
    const char *x = input_of(tape, r, 0)->data;
    size_t size = element_size(tape), count = (size_t)r->count;
    for (size_t i = 0; i < count; i += SOFTPLUS_BLOCK) {
        size_t n = count - i < SOFTPLUS_BLOCK ? count - i : SOFTPLUS_BLOCK;
        softplus_block(tape->kernels, n, x + i * size, (char *)r->data + i * size);
    }
}

static ag_tensor softplus_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, ag_sigmoid(operand_of(y, i)));
}

static const struct op softplus_op = {
    CALLED("softplus", 1, "$x"),
    .forward = softplus_forward,
    .gradient = softplus_gradient,
};
RECORDS_1(ag_softplus, softplus_op)

/* ---- Built of others ---- */

ag_tensor ag_silu(ag_tensor x)
{
    return ag_mul(x, ag_sigmoid(x));
}

ag_tensor ag_gelu(ag_tensor x)
{
    ag_tensor erf = ag_erf(scaled(x, 0.70710678118654752, "1/sqrt(2)"));
    return ag_mul(ag_mul_scalar(x, 0.5), ag_add_scalar(erf, 1.0));
}

/* (1 + tanh(u))/2 is sigmoid(2u); here 2u = x (a + b x²). */
ag_tensor ag_gelu_tanh(ag_tensor x)
{
    const double a = 1.5957691216057308, b = 0.044715 * a;
    ag_tensor u = ag_mul(x, ag_add_scalar(ag_mul_scalar(ag_square(x), b), a));
    return ag_mul(x, ag_sigmoid(u));
}

OP_LIST(activation_ops, &sigmoid_op, &sigmoid_slope_op, &tanh_op, &tanh_slope_op, &relu_op,
        &relu_slope_op, &leaky_relu_op, &leaky_relu_slope_op, &elu_op, &softplus_op)
