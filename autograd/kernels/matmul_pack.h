/* Operands of a product as views, and copying them ("packing") into the order in which the tiles
 * read them. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_PACK_H
#define TAPEGRAD_KERNELS_MATMUL_PACK_H

#include "simd.h"

static inline size_t at_most(size_t x, size_t limit)
{
    return x < limit ? x : limit;
}

/* 128 bits, the unit in which blocks are transposed. */
typedef real quad __attribute__((vector_size(16)));
enum { QUAD = 16 / sizeof(real) };

/* Element (i, j) at data[i*row + j*col]; one of the strides is 1. */
struct view {
    const real *data;
    size_t row, col;
};

static inline struct view transpose(struct view v)
{
    return (struct view){v.data, v.col, v.row};
}

static inline const real *at(struct view v, size_t i, size_t j)
{
    return v.data + i * v.row + j * v.col;
}

static inline struct view view_at(struct view v, size_t i, size_t j)
{
    return (struct view){at(v, i, j), v.row, v.col};
}

static inline void transpose_quads(quad x[QUAD])
{
#if KERNEL_BITS == 32
    const quad a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    const quad b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    const quad c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    const quad d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
#else
    const quad a = __builtin_shufflevector(x[0], x[1], 0, 2);
    x[1] = __builtin_shufflevector(x[0], x[1], 1, 3);
    x[0] = a;
#endif
}

/* to[i*step + j] = from[j*ld + i] for i and j up to QUAD. */
static inline void pack_quads(real *to, size_t step, const real *from, size_t ld)
{
    quad x[QUAD];
    foreach (j, QUAD)
        memcpy(&x[j], from + j * ld, sizeof(quad));
    transpose_quads(x);
    foreach (j, QUAD)
        memcpy(to + j * step, &x[j], sizeof(quad));
}

/* to (k, n) of row stride `step`, from a view whose columns are contiguous. */
static void pack_columns(real *to, size_t step, struct view from, size_t k, size_t n)
{
    size_t j = 0;
    for (; j + QUAD <= n; j += QUAD) {
        size_t p = 0;
        for (; p + QUAD <= k; p += QUAD)
            pack_quads(to + p * step + j, step, at(from, p, j), from.col);
        for (; p < k; p++)
            for (size_t i = j; i < j + QUAD; i++)
                to[p * step + i] = *at(from, p, i);
    }
    for (; j < n; j++)
        for (size_t p = 0; p < k; p++)
            to[p * step + j] = *at(from, p, j);
}

/* to (k, n) of row stride `step`, from a view whose rows are contiguous. */
static void pack_rows(real *to, size_t step, struct view from, size_t k, size_t n)
{
    for (size_t p = 0; p < k; p++, to += step, from.data += from.row) {
        size_t j = 0;
        for (; j + LANES <= n; j += LANES)
            memcpy(to + j, from.data + j, sizeof(vec));
        for (; j + QUAD <= n; j += QUAD)
            memcpy(to + j, from.data + j, sizeof(quad));
        for (; j < n; j++)
            to[j] = from.data[j];
    }
}

static void pack(real *to, size_t step, struct view from, size_t k, size_t n)
{
    (from.col == 1 ? pack_rows : pack_columns)(to, step, from, k, n);
}

#endif
