/* What the engine is held against that is compiled as its kernels are, for each element type and
 * instruction set: the machine's peak, training steps written by hand, and the C library's vector
 * functions. */
#ifndef TAPEGRAD_BENCH_BESIDE_H
#define TAPEGRAD_BENCH_BESIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "autograd/kernels/kernels.h"

/* One training step, by hand, of a perceptron with one hidden layer and one output on x (n, in) and
 * y (n): sigmoids, mean squared error, plain gradient descent. Returns the loss before it. 2 inputs
 * have 8 hidden units and 8 have 64. The weights are one array with w1 (in, hidden) at its start
 * and b1, w2 and b2 where the constants say. */
typedef double hand_step(void *weights, size_t n, size_t in, const void *x, const void *y,
                         double rate);

enum { HAND_B1 = 8 * 64, HAND_W2 = HAND_B1 + 64, HAND_B2 = HAND_W2 + 64, HAND_COUNT };

struct beside {
    /* Runs `rounds` of independent multiply-adds; returns the number of floating-point operations
     * done. */
    double (*peak)(size_t rounds, double *sink);
    hand_step *by_blocks, *by_row;
    /* y[i] = f(x[i]), NULL where the C library has no vector function. */
    void (*libmvec[UNARY_COUNT])(size_t n, const void *x, void *y);
};

/* For an instruction set that the kernels were built for. */
const struct beside *beside(const char *isa, bool f64);

#endif
