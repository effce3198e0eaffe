/* The arithmetic on plain arrays, written once and compiled for each element type and instruction
 * set.
 *
 * Every array is contiguous and row-major in the element type of the table it is given to (float or
 * double); `void *` stands for a pointer to that type. Nothing here knows what a tensor is,
 * allocates or fails. Kernels may be given any alignment, though the engine's own buffers are
 * aligned to KERNEL_ALIGN bytes.
 *
 * Promise kept by every kernel: an element of the result is computed by the same operations in the
 * same order wherever it stands (vector body or tail, first row or last), so splitting work by rows
 * changes no bit. */
#ifndef TAPEGRAD_KERNELS_H
#define TAPEGRAD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

enum { KERNEL_ALIGN = 64 };

/* y[i] = f(x[i]); p holds the op's constants, where it has any. y may be x. */
enum unary {
    UNARY_NEG,
    UNARY_EXP,
    UNARY_LOG,
    UNARY_SQRT,
    UNARY_SQUARE,
    UNARY_SIGMOID, /* 1 / (1 + exp(-x)) */
    UNARY_TANH,
    UNARY_RELU,   /* x > 0 ? x : 0, and NaN stays NaN */
    UNARY_AFFINE, /* p[0]*x + p[1] */
    UNARY_ABS,
    UNARY_SIGN, /* -1, 0 or 1, and NaN stays NaN */
    UNARY_ERF,
    UNARY_SIN,
    UNARY_COS,
    UNARY_COUNT
};

/* z = f(x, y), element by element. z may be x or y where that one is read with the strides of z. */
enum binary {
    BINARY_ADD,
    BINARY_SUB,
    BINARY_MUL,
    BINARY_DIV,
    BINARY_POW,
    BINARY_MAXIMUM, /* NaN if either is NaN, as in NumPy */
    BINARY_MINIMUM,
    BINARY_GREATER,       /* 1 where x > y, else 0 */
    BINARY_EQUAL,         /* 1 where x == y, else 0 */
    BINARY_SIGMOID_SLOPE, /* x * y*(1-y): gradient through y = sigmoid(.) */
    BINARY_TANH_SLOPE,    /* x * (1-y*y): gradient through y = tanh(.) */
    BINARY_RELU_SLOPE,    /* y > 0 ? x : 0: gradient through y = relu(.) */
    BINARY_COUNT
};

/* One operand of a two-dimensional element-wise loop: element (r, c) is at data[r*row + c*col].
 * col is 0 or 1; row is any stride, 0 to repeat one row. */
struct operand {
    const void *data;
    ptrdiff_t row, col;
};

/* Reductions of x (outer, n, inner) over its middle axis to y (outer, inner). n is at least 1. */
enum reduce {
    REDUCE_SUM, /* error grows with log n, not n: blocked or pairwise */
    REDUCE_MAX, /* NaN if any is NaN */
    REDUCE_MIN,
    REDUCE_SUM_SQUARES,
    REDUCE_COUNT
};

/* C = op(A)·op(B), or C += with accumulate, then C = activation(C + bias), then C = slope(C, gate),
 * where those are set. op(A) is (m, k) and op(B) is (k, n); with a_transposed A is stored (k, m),
 * with b_transposed B is (n, k). lda, ldb, ldc: elements from one stored row to the next. bias: n
 * elements, the same for every row, or NULL. gate: (m, n) with the strides of C. m and n are at
 * least 1; k = 0 gives zeros. C overlaps neither A nor B nor bias nor gate, not even where it is
 * the same array: C may be written before they are read for the last time. */
struct matmul {
    size_t m, n, k;
    const void *a, *b;
    size_t lda, ldb, ldc;
    bool a_transposed, b_transposed, accumulate;
    void *c;
    const void *bias, *gate;
    enum unary activation; /* UNARY_COUNT for none */
    enum binary slope;     /* where gate is not NULL: of sigmoid, tanh and relu, or MUL */
    void *workspace;       /* matmul_workspace(m, n, k) bytes, aligned to KERNEL_ALIGN; as many as a
                              product takes are enough for any part of it */
};

/* In-place optimiser passes over n elements of a parameter w with gradient g. `scale` multiplies
 * the gradient first (clipping). m, v: running state of n elements; sgd without momentum has m
 * NULL. */
struct sgd {
    double rate, momentum, weight_decay, scale;
    bool nesterov;
};

struct adam {
    double rate, beta1, beta2, epsilon, weight_decay, scale;
    double correction1, correction2; /* 1 - beta^t */
    bool decoupled; /* AdamW: w -= rate*weight_decay*w beside, not in, the gradient */
};

struct kernels {
    const char *isa; /* "baseline", "avx2", "avx512" */
    size_t element;  /* bytes of an element */
    void (*unary[UNARY_COUNT])(size_t n, const void *x, void *y, const double p[2]);
    void (*binary[BINARY_COUNT])(size_t rows, size_t cols, const struct operand *x,
                                 const struct operand *y, void *z);
    void (*where)(size_t rows, size_t cols, const struct operand *condition,
                  const struct operand *x, const struct operand *y, void *z);
    void (*reduce[REDUCE_COUNT])(size_t outer, size_t n, size_t inner, const void *x, void *y);
    void (*transpose)(size_t rows, size_t cols, const void *x,
                      void *y); /* x (rows, cols) to y (cols, rows) */
    void (*fill)(size_t n, double value, void *y);
    size_t (*matmul_workspace)(size_t m, size_t n, size_t k);
    void (*matmul)(const struct matmul *);
    void (*sgd)(size_t n, void *w, const void *g, void *m, const struct sgd *);
    void (*adam)(size_t n, void *w, const void *g, void *m, void *v, const struct adam *);
};

/* The best table this machine can run, or the one that `isa` names ("baseline", "avx2", "avx512");
 * NULL if the machine or the build has no such instruction set. */
const struct kernels *kernels_f32(const char *isa);
const struct kernels *kernels_f64(const char *isa);

#endif
