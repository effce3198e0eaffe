/* Element-wise kernels of a few instructions an element: arithmetic, comparisons and choices. */
#include "internal.h"
#include "lanes.h"
#include "shared.h"

/* What is done with a register of each of one, two or three inputs; the names go on where enum
 * binary ends. */
enum { OF_UNARY = BINARY_COUNT, WHERE = OF_UNARY + UNARY_COUNT };
#define EACH_OPERATION(_)                                                                          \
    _(2, BINARY_ADD, x + y)                                                                        \
    _(2, BINARY_SUB, x - y)                                                                        \
    _(2, BINARY_MUL, x *y)                                                                         \
    _(2, BINARY_DIV, x / y)                                                                        \
    _(2, BINARY_MAXIMUM, maximum(x, y))                                                            \
    _(2, BINARY_MINIMUM, minimum(x, y))                                                            \
    _(2, BINARY_GREATER, blend(x > y, splat(1), splat(0)))                                         \
    _(2, BINARY_EQUAL, blend(x == y, splat(1), splat(0)))                                          \
    _(2, BINARY_SIGMOID_SLOPE, sigmoid_slope(x, y))                                                \
    _(2, BINARY_TANH_SLOPE, tanh_slope(x, y))                                                      \
    _(2, BINARY_RELU_SLOPE, relu_slope(x, y))                                                      \
    _(1, OF_UNARY + UNARY_NEG, -x)                                                                 \
    _(1, OF_UNARY + UNARY_SQRT, vsqrt(x))                                                          \
    _(1, OF_UNARY + UNARY_SQUARE, x * x)                                                           \
    _(1, OF_UNARY + UNARY_RELU, blend(x <= 0, splat(0), x))                                        \
    _(1, OF_UNARY + UNARY_ABS, (vec)((uvec)x & (natural)-1 >> 1))                                  \
    _(1, OF_UNARY + UNARY_SIGN, blend(x > 0, splat(1), blend(x < 0, splat(-1), x)))                \
    _(3, WHERE, blend(x != 0, y, c))

#define OPERATE(inputs, operation, expression)                                                     \
    case operation:                                                                                \
        for (; n - i >= LANES; i += LANES) {                                                       \
            const vec x = load(in_x);                                                              \
            in_x += x_step;                                                                        \
            const vec y = inputs > 1 ? load(in_y) : x, c = inputs > 2 ? load(in_c) : x;            \
            in_y += inputs > 1 ? y_step : 0;                                                       \
            in_c += inputs > 2 ? c_step : 0;                                                       \
            (void)y, (void)c;                                                                      \
            store(z + i, expression);                                                              \
        }                                                                                          \
        break;
#define OPERATE_ON_PART(inputs, operation, expression)                                             \
    case operation: {                                                                              \
        result = expression;                                                                       \
        break;                                                                                     \
    }

/* n < LANES */
static NOINLINE void run_part(size_t n, const real *in_x, const real *in_y, const real *in_c,
                              unsigned mode, real *z)
{
    const unsigned operation = mode >> 3;
    const vec x = mode & 1 ? load_ends(in_x, n) : splat(*in_x);
    vec y = x, c = x, result = x;
    if (operation < OF_UNARY || operation == WHERE)
        y = mode & 2 ? load_ends(in_y, n) : splat(*in_y);
    if (operation == WHERE)
        c = mode & 4 ? load_ends(in_c, n) : splat(*in_c);
    switch (operation) {
        EACH_OPERATION(OPERATE_ON_PART)
    }
    store_ends(z, result, n);
}

/* Where an input is one element, it is a whole register of the same one. */
static NOINLINE void run_elements(size_t n, const real *in_x, const real *in_y, const real *in_c,
                                  unsigned mode, real *z)
{
    const size_t x_step = (mode & 1) * LANES, y_step = (mode >> 1 & 1) * LANES,
                 c_step = (mode >> 2 & 1) * LANES;
    size_t i = 0;
    switch (mode >> 3) {
        EACH_OPERATION(OPERATE)
    }
    if (i < n)
        run_part(n - i, in_x, in_y, in_c, mode, z + i);
}

static SELDOM void run_pow(size_t n, const real *x, const real *y, unsigned mode, real *z)
{
    for (size_t i = 0; i < n; i++)
        z[i] = LIBM(pow)(x[mode & 1 ? i : 0], y[mode & 2 ? i : 0]);
}

/* A whole register of an input that is one element. */
INLINE const real *repeated(const real *x, bool many, real *to)
{
    if (!many)
        store(to, splat(*x));
    return many ? x : to;
}

static NOINLINE void run_any(size_t n, const void *x, const void *y, const void *c, unsigned mode,
                             void *z)
{
    real full[3][LANES];
    if (mode >> 3 == BINARY_POW)
        run_pow(n, x, y, mode, z);
    else
        run_elements(n, repeated(x, mode & 1, full[0]), repeated(y, mode & 2, full[1]),
                     repeated(c, mode & 4, full[2]), mode, z);
}

/* An element_run. */
static void run(size_t n, const void *x, const void *y, const void *c, unsigned mode, void *z)
{
    if (mode >> 3 == BINARY_POW || (n >= LANES && (mode & 7) != 7))
        run_any(n, x, y, c, mode, z);
    else if (n < LANES)
        run_part(n, x, y, c, mode, z);
    else
        run_elements(n, x, y, c, mode, z);
}

static NOINLINE void binary(size_t rows, size_t cols, const struct operand *x,
                            const struct operand *y, real *z, unsigned operation)
{
    unsigned many = (unsigned)(x->col != 0) | (unsigned)(y->col != 0) << 1 | 4;
    if (rows == 1 && cols > 0)
        run(cols, x->data, y->data, x->data, operation << 3 | many, z);
    else
        kernels_broadcast(run, sizeof(real), rows, cols, 2, (const struct operand *[]){x, y},
                          operation << 3, z);
}

#define BINARY(id, name)                                                                           \
    void KERNEL(binary_##name)(size_t rows, size_t cols, const struct operand *x,                  \
                               const struct operand *y, void *z)                                   \
    {                                                                                              \
        binary(rows, cols, x, y, z, BINARY_##id);                                                  \
    }

EACH_BINARY(BINARY)

void KERNEL(where)(size_t rows, size_t cols, const struct operand *condition,
                   const struct operand *x, const struct operand *y, void *z)
{
    kernels_broadcast(run, sizeof(real), rows, cols, 3, (const struct operand *[]){condition, x, y},
                      WHERE << 3, z);
}

static NOINLINE void unary(size_t n, const real *x, real *y, unsigned operation)
{
    if (n > 0)
        run(n, x, x, x, operation << 3 | 7, y);
}

#define UNARY(id, name)                                                                            \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        unary(n, x, y, OF_UNARY + UNARY_##id);                                                     \
    }

UNARY(NEG, neg)
UNARY(SQRT, sqrt)
UNARY(SQUARE, square)
UNARY(RELU, relu)
UNARY(ABS, abs)
UNARY(SIGN, sign)

void KERNEL(fill)(size_t n, double value, void *y)
{
    real *to = y;
    vec v = splat((real)value);
    for (; n > LANES; n -= LANES, to += LANES)
        store(to, v);
    if (n)
        store_part(to, v, n);
}
