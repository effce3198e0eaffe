/* Operands of a product as views, and copying them ("packing") into the order in which the tiles
 * read them. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_PACK_H
#define TAPEGRAD_KERNELS_MATMUL_PACK_H

#include "matmul_tile.h"

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

/* Shuffles that do in every quad of two vectors what they would do in the only one. */
#if LANE_COUNT * KERNEL_BITS == 128
#define IN_QUADS(_) _(0)
#elif LANE_COUNT * KERNEL_BITS == 256 && KERNEL_BITS == 32
#define IN_QUADS(_) _(0), _(4)
#elif LANE_COUNT * KERNEL_BITS == 256
#define IN_QUADS(_) _(0), _(2)
#elif KERNEL_BITS == 32
#define IN_QUADS(_) _(0), _(4), _(8), _(12)
#else
#define IN_QUADS(_) _(0), _(2), _(4), _(6)
#endif
#define BESIDE(i) (i), LANE_COUNT + (i)
#if KERNEL_BITS == 32
#define FIRST(i) BESIDE(i), BESIDE((i) + 1)
#define LAST(i)  BESIDE((i) + 2), BESIDE((i) + 3)
#define LOWER(i) (i), (i) + 1, LANE_COUNT + (i), LANE_COUNT + (i) + 1
#define UPPER(i) (i) + 2, (i) + 3, LANE_COUNT + (i) + 2, LANE_COUNT + (i) + 3
#else
#define FIRST(i) BESIDE(i)
#define LAST(i)  BESIDE((i) + 1)
#endif
#define SHUFFLE(a, b, pattern) __builtin_shufflevector(a, b, IN_QUADS(pattern))

/* Transposes the quads at each place. */
INLINE void transpose_quads(vec x[QUAD])
{
#if KERNEL_BITS == 32
    const vec a = SHUFFLE(x[0], x[1], FIRST), b = SHUFFLE(x[2], x[3], FIRST);
    const vec c = SHUFFLE(x[0], x[1], LAST), d = SHUFFLE(x[2], x[3], LAST);
    x[0] = SHUFFLE(a, b, LOWER);
    x[1] = SHUFFLE(a, b, UPPER);
    x[2] = SHUFFLE(c, d, LOWER);
    x[3] = SHUFFLE(c, d, UPPER);
#else
    const vec a = SHUFFLE(x[0], x[1], FIRST);
    x[1] = SHUFFLE(x[0], x[1], LAST);
    x[0] = a;
#endif
}

/* to[i*step + j] = from[j*ld + i] for i up to LANES and j up to QUAD. */
INLINE void pack_lanes(real *to, size_t step, const real *from, size_t ld)
{
    vec x[QUAD];
    foreach (j, QUAD)
        x[j] = load(from + j * ld);
    transpose_quads(x);
    foreach (i, LANES / QUAD)
        foreach (j, QUAD)
            memcpy(to + (i * QUAD + j) * step, (const char *)&x[j] + i * sizeof(quad),
                   sizeof(quad));
}

/* The same for i up to k < LANES. */
INLINE void pack_part(real *to, size_t step, const real *from, size_t ld, size_t k)
{
    vec x[QUAD];
    foreach (j, QUAD)
        x[j] = load_first(from + j * ld, first(k));
    transpose_quads(x);
    for (size_t i = 0; i < k; i++)
        memcpy(to + i * step, (const char *)&x[i % QUAD] + i / QUAD * sizeof(quad), sizeof(quad));
}

/* to (k, n) of row stride `step`, from a view whose columns are contiguous; as many columns behind
 * them are fetched. What is left at an end is packed together with some of what is done. */
static void pack_columns(real *to, size_t step, struct view from, size_t k, size_t n)
{
    if (n < QUAD) {
        for (size_t p = 0; p < k; p++)
            for (size_t j = 0; j < n; j++)
                to[p * step + j] = *at(from, p, j);
        return;
    }
    for (size_t j = 0; j < n; j += QUAD) {
        j = at_most(j, n - QUAD);
        if (k < LANES)
            pack_part(to + j, step, at(from, 0, j), from.col, k);
        for (size_t p = 0; k >= LANES && p < k; p += LANES) {
            p = at_most(p, k - LANES);
            foreach (i, QUAD)
                __builtin_prefetch(at(from, p, j + n + i));
            pack_lanes(to + p * step + j, step, at(from, p, j), from.col);
        }
    }
}

/* to (k, n) of row stride `step`, from a view whose rows are contiguous; n = `vecs` registers. */
INLINE void pack_panel(real *to, size_t step, struct view from, size_t k, const size_t vecs)
{
    for (; k > 0; k--, to += step, from.data += from.row)
        foreach (j, vecs)
            store(to + j * LANES, load(from.data + j * LANES));
}

/* to (k, n) of row stride `step`, from a view whose rows are contiguous. */
static void pack_rows(real *to, size_t step, struct view from, size_t k, size_t n)
{
    if (n == TILE_VECS * LANES) {
        pack_panel(to, step, from, k, TILE_VECS);
        return;
    }
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
