/* Dot products of a few rows with one vector. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_DOTS_H
#define TAPEGRAD_KERNELS_MATMUL_DOTS_H

#include "matmul_pack.h"
#include "matmul_part.h"

/* Rows of which the sums are made together. */
enum { DOTS = 4 };

/* The upper half of a vector onto the lower. */
#define FOLD_2(x) (__builtin_shufflevector(x, x, 0, 1) + __builtin_shufflevector(x, x, 2, 3))
#define FOLD_4(x)                                                                                  \
    (__builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7))
#define FOLD_8(x)                                                                                  \
    (__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +                                       \
     __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15))

/* The sum of the quads of a vector. */
INLINE quad fold(const vec x)
{
#if LANE_COUNT == 16
    const __typeof__(FOLD_8(x)) y = FOLD_8(x);
    return FOLD_4(y);
#elif LANE_COUNT == 8 && KERNEL_BITS == 64
    const __typeof__(FOLD_4(x)) y = FOLD_4(x);
    return FOLD_2(y);
#elif LANE_COUNT == 8
    return FOLD_4(x);
#elif LANE_COUNT == 4 && KERNEL_BITS == 64
    return FOLD_2(x);
#else
    return x;
#endif
}

/* In each quad, the sums of pairs of elements of a and of b, alternating. */
INLINE vec pairs(vec a, vec b)
{
    return SHUFFLE(a, b, FIRST) + SHUFFLE(a, b, LAST);
}

/* sums[i] = the sum of the elements of x[i] */
INLINE void sums_of(const vec x[DOTS], real sums[DOTS])
{
    const vec low = pairs(x[0], x[1]), high = pairs(x[2], x[3]);
#if KERNEL_BITS == 32
    const quad all = fold(SHUFFLE(low, high, LOWER) + SHUFFLE(low, high, UPPER));
    memcpy(sums, &all, sizeof all);
#else
    const quad a = fold(low), b = fold(high);
    memcpy(sums, &a, sizeof a);
    memcpy(sums + 2, &b, sizeof b);
#endif
}

/* sums[i] = row i of a · x for k elements, in an order that depends on k only. row: in bytes. */
INLINE void dots(const char *a, size_t row, const real *x, size_t k, real sums[DOTS])
{
    vec sum[DOTS];
    foreach (i, DOTS)
        sum[i] = (vec){0};
    for (; k >= LANES; k -= LANES, a += sizeof(vec), x += LANES) {
        const vec y = load(x);
        foreach (i, DOTS)
            sum[i] = multiply_add(load((const real *)(a + i * row)), y, sum[i]);
    }
    if (k > 0) {
        const struct part part = first(k);
        const vec y = load_first(x, part);
        foreach (i, DOTS)
            sum[i] = multiply_add(load_first((const real *)(a + i * row), part), y, sum[i]);
    }
    sums_of(sum, sums);
}

/* c = or += sums, + bias where it is not NULL. */
INLINE void finish_dots(real *c, size_t ldc, const real sums[DOTS], size_t rows, bool add,
                        const real *bias)
{
    if (ldc == 1 && rows == DOTS) {
        foreach (i, DOTS / QUAD) {
            quad sum, old;
            memcpy(&sum, sums + i * QUAD, sizeof sum);
            if (add) {
                memcpy(&old, c + i * QUAD, sizeof old);
                sum = old + sum;
            }
            if (bias)
                sum = sum + *bias;
            memcpy(c + i * QUAD, &sum, sizeof sum);
        }
        return;
    }
    for (size_t i = 0; i < rows; i++, c += ldc) {
        const real sum = add ? *c + sums[i] : sums[i];
        *c = bias ? sum + *bias : sum;
    }
}

/* C = or += A·x, one column of them, + bias. */
static void multiply_column(const struct matmul *g, const real *x)
{
    const char *a = g->a;
    const size_t row = g->lda * sizeof(real), ldc = g->ldc;
    real *c = g->c;
    for (size_t left = g->m, rows; left > 0; left -= rows, a += rows * row, c += rows * ldc) {
        real sums[DOTS];
        rows = left < DOTS ? 1 : DOTS;
        dots(a, rows > 1 ? row : 0, x, g->k, sums);
        finish_dots(c, ldc, sums, rows, g->accumulate, g->bias);
    }
}

#endif
