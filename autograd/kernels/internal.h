/* The kernels of one build (element type and instruction set): each source defines its share under
 * KERNEL names and table.c collects them. */
#ifndef TAPEGRAD_KERNELS_INTERNAL_H
#define TAPEGRAD_KERNELS_INTERNAL_H

#include "simd.h"

#define EACH_UNARY(_)                                                                              \
    _(NEG, neg)                                                                                    \
    _(EXP, exp)                                                                                    \
    _(LOG, log)                                                                                    \
    _(SQRT, sqrt)                                                                                  \
    _(SQUARE, square)                                                                              \
    _(SIGMOID, sigmoid)                                                                            \
    _(TANH, tanh)                                                                                  \
    _(RELU, relu)                                                                                  \
    _(AFFINE, affine)                                                                              \
    _(ABS, abs)                                                                                    \
    _(SIGN, sign)                                                                                  \
    _(ERF, erf)                                                                                    \
    _(SIN, sin)                                                                                    \
    _(COS, cos)

#define EACH_BINARY(_)                                                                             \
    _(ADD, add)                                                                                    \
    _(SUB, sub)                                                                                    \
    _(MUL, mul)                                                                                    \
    _(DIV, div)                                                                                    \
    _(POW, pow)                                                                                    \
    _(MAXIMUM, maximum)                                                                            \
    _(MINIMUM, minimum)                                                                            \
    _(GREATER, greater)                                                                            \
    _(EQUAL, equal)                                                                                \
    _(SIGMOID_SLOPE, sigmoid_slope)                                                                \
    _(TANH_SLOPE, tanh_slope)                                                                      \
    _(RELU_SLOPE, relu_slope)

#define EACH_REDUCE(_)                                                                             \
    _(SUM, sum)                                                                                    \
    _(MAX, max)                                                                                    \
    _(MIN, min)                                                                                    \
    _(SUM_SQUARES, sum_squares)

#define DECLARE_UNARY(id, name)                                                                    \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2]);
#define DECLARE_BINARY(id, name)                                                                   \
    void KERNEL(binary_##name)(size_t rows, size_t cols, const struct operand *x,                  \
                               const struct operand *y, void *z);
#define DECLARE_REDUCE(id, name)                                                                   \
    void KERNEL(reduce_##name)(size_t outer, size_t n, size_t inner, const void *x, void *y);

EACH_UNARY(DECLARE_UNARY)
EACH_BINARY(DECLARE_BINARY)
EACH_REDUCE(DECLARE_REDUCE)

void KERNEL(where)(size_t rows, size_t cols, const struct operand *condition,
                   const struct operand *x, const struct operand *y, void *z);
void KERNEL(transpose)(size_t rows, size_t cols, const void *x, void *y);
void KERNEL(fill)(size_t n, double value, void *y);
size_t KERNEL(matmul_workspace)(size_t m, size_t n, size_t k);
void KERNEL(matmul)(const struct matmul *);
void KERNEL(sgd)(size_t n, void *w, const void *g, void *m, const struct sgd *);
void KERNEL(adam)(size_t n, void *w, const void *g, void *m, void *v, const struct adam *);

extern const struct kernels KERNEL(kernels);

#endif
