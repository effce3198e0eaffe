/* Parts of registers: loads and stores of fewer elements than a register has, and lanes exchanged
 * within one. */
#ifndef TAPEGRAD_KERNELS_LANES_H
#define TAPEGRAD_KERNELS_LANES_H

#include "simd.h"

/* Of n < LANES elements a register holds the first `count` and, beside them, the last `count`, with
 * `count` the greatest power of two that is at most n: two loads and two stores of constant size,
 * which may overlap. Other lanes repeat these. (A store through a mask takes fewer instructions,
 * but whoever loads what it stored has to wait for it.) */
#define TWICE4(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3)
#define TWICE8(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define TWICE16(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#if LANE_COUNT == 16
#define WIDEN8(v) TWICE16(v, v)
#else
#define WIDEN8(v) v
#endif
#if LANE_COUNT > 4
#define WIDEN4(v) WIDEN8(TWICE8(v, v))
#else
#define WIDEN4(v) v
#endif

#define LOAD_ENDS(count, join)                                                                     \
    if (n >= (count)) {                                                                            \
        typedef real half __attribute__((vector_size((count) * sizeof(real))));                    \
        half a, b;                                                                                 \
        memcpy(&a, p, sizeof a);                                                                   \
        memcpy(&b, p + n - (count), sizeof b);                                                     \
        return join;                                                                               \
    }

static NOINLINE vec load_ends(const real *p, size_t n)
{
#if LANE_COUNT > 8
    LOAD_ENDS(8, TWICE16(a, b))
#endif
#if LANE_COUNT > 4
    LOAD_ENDS(4, WIDEN8(TWICE8(a, b)))
#endif
#if LANE_COUNT > 2
    LOAD_ENDS(2, WIDEN4(TWICE4(a, b)))
#endif
    (void)n;
    return splat(*p);
}

#define STORE_ENDS(count, ...)                                                                     \
    if (n >= (count)) {                                                                            \
        typedef real half __attribute__((vector_size((count) * sizeof(real))));                    \
        half b = __builtin_shufflevector(v, v, __VA_ARGS__);                                       \
        memcpy(p, &v, sizeof b);                                                                   \
        if (n > (count))                                                                           \
            memcpy(p + n - (count), &b, sizeof b);                                                 \
        return;                                                                                    \
    }

static NOINLINE void store_ends(real *p, vec v, size_t n)
{
#if LANE_COUNT > 8
    STORE_ENDS(8, 8, 9, 10, 11, 12, 13, 14, 15)
#endif
#if LANE_COUNT > 4
    STORE_ENDS(4, 4, 5, 6, 7)
#endif
#if LANE_COUNT > 2
    STORE_ENDS(2, 2, 3)
#endif
    (void)n;
    *p = v[0];
}

/* The first LANES of n elements or, if there are not so many, all, so arranged. */
INLINE vec load_part(const real *p, size_t n)
{
    return __builtin_expect(n < LANES, false) ? load_ends(p, n) : load(p);
}

INLINE void store_part(real *p, vec v, size_t n)
{
    if (__builtin_expect(n < LANES, false))
        store_ends(p, v, n);
    else
        store(p, v);
}

/* Lanes i and i ^ distance exchanged. */
#define SWAP1_2                 1, 0
#define SWAP1_4                 SWAP1_2, 3, 2
#define SWAP1_8                 SWAP1_4, 5, 4, 7, 6
#define SWAP1_16                SWAP1_8, 9, 8, 11, 10, 13, 12, 15, 14
#define SWAP2_4                 2, 3, 0, 1
#define SWAP2_8                 SWAP2_4, 6, 7, 4, 5
#define SWAP2_16                SWAP2_8, 10, 11, 8, 9, 14, 15, 12, 13
#define SWAP4_8                 4, 5, 6, 7, 0, 1, 2, 3
#define SWAP4_16                SWAP4_8, 12, 13, 14, 15, 8, 9, 10, 11
#define SWAP8_16                8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7
#define SWAP_(distance, count)  SWAP##distance##_##count
#define SWAP(distance, count)   SWAP_(distance, count)
#define SWAP_LANES(distance, v) __builtin_shufflevector(v, v, SWAP(distance, LANE_COUNT))

#endif
