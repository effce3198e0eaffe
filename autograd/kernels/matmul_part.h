/* Registers of which only the first elements count. For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_PART_H
#define TAPEGRAD_KERNELS_MATMUL_PART_H

#include "simd.h"

/* Whether load_first and store_first are an instruction each. */
#ifdef __AVX512F__
enum { MASKED_STORES = 1 };
#else
enum { MASKED_STORES = 0 };
#endif

/* The first n < LANES elements at p, then zeros; nothing behind those elements is read. */
INLINE vec load_first(const real *p, size_t n)
{
#if defined(__AVX512F__) && KERNEL_BITS == 32
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__) && KERNEL_BITS == 32
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (vec)_mm256_maskload_ps(p, (__m256i)(lane < (integer)n));
#elif defined(__AVX2__)
    const ivec lane = {0, 1, 2, 3};
    return (vec)_mm256_maskload_pd(p, (__m256i)(lane < (integer)n));
#elif LANE_COUNT == 4
    typedef real half __attribute__((vector_size(2 * sizeof(real))));
    half low = {*p, 0}, high = {0};
    if (n > 1)
        memcpy(&low, p, sizeof low);
    if (n > 2)
        high[0] = p[2];
    return __builtin_shufflevector(low, high, 0, 1, 2, 3);
#else
    (void)n;
    return (vec){*p};
#endif
}

/* Writes the first n < LANES elements of v. */
INLINE void store_first(real *p, vec v, size_t n)
{
#if defined(__AVX512F__) && KERNEL_BITS == 32
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX512F__)
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#else
    real all[LANES];
    size_t i = 0;
    store(all, v);
#if LANE_COUNT > 4
    if (n & 4) {
        memcpy(p, all, 4 * sizeof(real));
        i = 4;
    }
#endif
#if LANE_COUNT > 2
    if (n & 2) {
        memcpy(p + i, all + i, 2 * sizeof(real));
        i += 2;
    }
#endif
    if (n & 1)
        p[i] = all[i];
#endif
}

#endif
