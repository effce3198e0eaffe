/* Registers of which only the first elements count. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_PART_H
#define TAPEGRAD_KERNELS_MATMUL_PART_H

#include "simd.h"

/* How many: n < LANES of them. */
struct part {
#if defined(__AVX512F__)
    __mmask16 mask;
#elif defined(__AVX2__)
    size_t n;
    ivec mask;
#else
    size_t n;
#endif
};

/* Whether store_first is one instruction. */
#ifdef __AVX512F__
enum { MASKED_STORES = 1 };
#else
enum { MASKED_STORES = 0 };
#endif

INLINE struct part first(size_t n)
{
#if defined(__AVX512F__)
    return (struct part){(__mmask16)((1u << n) - 1)};
#elif defined(__AVX2__) && KERNEL_BITS == 32
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (struct part){n, lane < (integer)n};
#elif defined(__AVX2__)
    const ivec lane = {0, 1, 2, 3};
    return (struct part){n, lane < (integer)n};
#else
    return (struct part){n};
#endif
}

/* The first elements at p, then zeros; nothing behind those elements is read. */
INLINE vec load_first(const real *p, struct part part)
{
#if defined(__AVX512F__) && KERNEL_BITS == 32
    return (vec)_mm512_maskz_loadu_ps(part.mask, p);
#elif defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)part.mask, p);
#elif defined(__AVX2__) && KERNEL_BITS == 32
    return (vec)_mm256_maskload_ps(p, (__m256i)part.mask);
#elif defined(__AVX2__)
    return (vec)_mm256_maskload_pd(p, (__m256i)part.mask);
#elif LANE_COUNT == 4
    typedef real half __attribute__((vector_size(2 * sizeof(real))));
    half low = {*p, 0}, high = {0};
    if (part.n > 1)
        memcpy(&low, p, sizeof low);
    if (part.n > 2)
        high[0] = p[2];
    return __builtin_shufflevector(low, high, 0, 1, 2, 3);
#else
    (void)part;
    return (vec){*p};
#endif
}

/* Writes the first elements of v. */
INLINE void store_first(real *p, vec v, struct part part)
{
#if defined(__AVX512F__) && KERNEL_BITS == 32
    _mm512_mask_storeu_ps(p, part.mask, (__m512)v);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_pd(p, (__mmask8)part.mask, (__m512d)v);
#else
    real all[LANES];
    size_t i = 0;
    store(all, v);
#if LANE_COUNT > 4
    if (part.n & 4) {
        memcpy(p, all, 4 * sizeof(real));
        i = 4;
    }
#endif
#if LANE_COUNT > 2
    if (part.n & 2) {
        memcpy(p + i, all + i, 2 * sizeof(real));
        i += 2;
    }
#endif
    if (part.n & 1)
        p[i] = all[i];
#endif
}

#endif
