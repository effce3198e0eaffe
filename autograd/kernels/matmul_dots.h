/* Dot products of a few rows with one vector. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_DOTS_H
#define TAPEGRAD_KERNELS_MATMUL_DOTS_H

#include "matmul_pack.h"

enum { DOTS = 4, CHAINS = 2 };

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

/* The first `count` elements at p, then zeros. */
INLINE quad load_quad(const real *p, size_t count)
{
    quad v = {0};
    if (count >= QUAD)
        memcpy(&v, p, sizeof v);
    else
        for (size_t j = 0; j < count; j++)
            v[j] = p[j];
    return v;
}

/* sums[i] = row[i]·x for k elements: by vectors, what is left by quads, in an order that depends on
 * k only. */
static void dots(const real *const row[DOTS], const real *x, size_t k, real sums[DOTS])
{
    vec sum[CHAINS][DOTS];
    quad part[DOTS];
    foreach (i, DOTS) {
        foreach (c, CHAINS)
            sum[c][i] = (vec){0};
        part[i] = (quad){0};
    }
    size_t p = 0;
    for (; p + CHAINS * LANES <= k; p += CHAINS * LANES)
        foreach (c, CHAINS) {
            const vec y = load(x + p + c * LANES);
            foreach (i, DOTS)
                sum[c][i] += load(row[i] + p + c * LANES) * y;
        }
    for (; p + LANES <= k; p += LANES) {
        const vec y = load(x + p);
        foreach (i, DOTS)
            sum[0][i] += load(row[i] + p) * y;
    }
    if (k >= LANES)
        foreach (i, DOTS)
            part[i] = fold(sum[0][i] + sum[1][i]);
    for (; p < k; p += QUAD) {
        const quad y = load_quad(x + p, k - p);
        foreach (i, DOTS)
            part[i] += load_quad(row[i] + p, k - p) * y;
    }
    foreach (i, DOTS / QUAD) {
        quad *of = part + i * QUAD;
        transpose_quads(of);
        foreach (j, QUAD - 1)
            of[0] += of[j + 1];
        memcpy(sums + i * QUAD, of, sizeof *of);
    }
}

#endif
