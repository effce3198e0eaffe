/* What a good C programmer writes by hand for one network, to hold the engine against: the training
 * step of a perceptron with one hidden layer of sigmoids, mean squared error and plain gradient
 * descent, all in one pass over the rows. Compiled with -O3 -ffast-math, which the engine does
 * without, for the instruction set that the engine uses; expf is then libmvec's.
 *
 * Inlined with constants for in and hidden, as one writes it for a network that never changes, the
 * loops unroll and vectorise over the hidden units. Nothing of size n is stored. */
#include "autograd/kernels/simd.h"
#include "beside.h"

enum { BLOCK = 8, HALF = 4 };

hand_step KERNEL(hand_by_blocks), KERNEL(hand_by_row);

/* Weights, or their gradients. */
struct perceptron {
    real w1[HAND_B1], b1[HAND_W2 - HAND_B1], w2[HAND_B2 - HAND_W2], b2;
};

INLINE real sigmoid(real x)
{
    return 1 / (1 + LIBM(exp)(-x));
}

/* A block of rows goes forward and backward while its hidden layer h is in the first cache; the
 * gradients g are loaded and stored once a block. Returns the sum of squared errors. */
INLINE real block(const struct perceptron *restrict p, struct perceptron *restrict g, size_t rows,
                  size_t in, size_t hidden, const real *restrict x, const real *restrict y,
                  real scale)
{
    _Alignas(KERNEL_ALIGN) real h[BLOCK][HAND_W2 - HAND_B1];
    real d[BLOCK], loss = 0, b2 = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < hidden; j++) {
            real sum = p->b1[j];
            for (size_t i = 0; i < in; i++)
                sum += x[r * in + i] * p->w1[i * hidden + j];
            h[r][j] = sum;
        }
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < hidden; j++)
            h[r][j] = sigmoid(h[r][j]);
    for (size_t r = 0; r < rows; r++) {
        real prediction = p->b2;
        for (size_t j = 0; j < hidden; j++)
            prediction += h[r][j] * p->w2[j];
        real error = prediction - y[r];
        d[r] = scale * error;
        loss += error * error;
        b2 += d[r];
    }
    g->b2 += b2;
    for (size_t j = 0; j < hidden; j++) {
        real b1 = 0, w2 = 0;
        for (size_t r = 0; r < rows; r++) {
            w2 += d[r] * h[r][j];
            h[r][j] = d[r] * p->w2[j] * h[r][j] * (1 - h[r][j]);
            b1 += h[r][j];
        }
        g->w2[j] += w2;
        g->b1[j] += b1;
    }
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < hidden; j++) {
            real sum = 0;
            for (size_t r = 0; r < rows; r++)
                sum += x[r * in + i] * h[r][j];
            g->w1[i * hidden + j] += sum;
        }
    return loss;
}

INLINE void descend(real *restrict w, const real *restrict g, size_t n, real rate)
{
    for (size_t i = 0; i < n; i++)
        w[i] -= rate * g[i];
}

/* Blocks of `most` rows, then smaller ones. */
INLINE double step(size_t most, struct perceptron *restrict p, size_t n, size_t in, size_t hidden,
                   const real *x, const real *y, real rate)
{
    _Alignas(KERNEL_ALIGN) struct perceptron g;
    real scale = 2 / (real)n, loss = 0;
    size_t r = 0;
    memset(&g, 0, sizeof g);
    for (; most >= BLOCK && r + BLOCK <= n; r += BLOCK)
        loss += block(p, &g, BLOCK, in, hidden, x + r * in, y + r, scale);
    for (; most >= HALF && r + HALF <= n; r += HALF)
        loss += block(p, &g, HALF, in, hidden, x + r * in, y + r, scale);
    for (; r < n; r++)
        loss += block(p, &g, 1, in, hidden, x + r * in, y + r, scale);
    descend(p->w1, g.w1, in * hidden, rate);
    descend(p->b1, g.b1, hidden, rate);
    descend(p->w2, g.w2, hidden, rate);
    p->b2 -= rate * g.b2;
    return (double)(loss / (real)n);
}

double KERNEL(hand_by_blocks)(void *p, size_t n, size_t in, const void *x, const void *y,
                              double rate)
{
    return in == 2 ? step(BLOCK, p, n, 2, 8, x, y, (real)rate)
                   : step(BLOCK, p, n, 8, 64, x, y, (real)rate);
}

double KERNEL(hand_by_row)(void *p, size_t n, size_t in, const void *x, const void *y, double rate)
{
    return in == 2 ? step(1, p, n, 2, 8, x, y, (real)rate) : step(1, p, n, 8, 64, x, y, (real)rate);
}
