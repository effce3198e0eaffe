/* A seeded generator whose sequence is the same bits on every platform and compiler.
 *
 * The generator is xoshiro256++ 1.0 (Blackman & Vigna, "Scrambled Linear Pseudorandom Number
 * Generators", ACM TOMS 47(4), 2021), its four words of state filled by SplitMix64. How each
 * function draws from it is documented below and is part of the interface: it will not change.
 *
 * The state is the whole generator: copy the struct, or write its four words to a file, to go on
 * later from the same place. It is not for secrets.
 *
 * NULL for a generator gives 0, or NaN; NULL for anything leaves all as it is. */
#ifndef TAPEGRAD_RNG_H
#define TAPEGRAD_RNG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef AG_API
#if defined(__GNUC__)
#define AG_API __attribute__((visibility("default")))
#else
#define AG_API
#endif
#endif

typedef struct ag_rng {
    uint64_t state[4]; /* all zero counts as seeded by 0 */
} ag_rng;

/* state[i] = the i-th output of SplitMix64 started at `seed`. */
AG_API void ag_rng_seed(ag_rng *rng, uint64_t seed);

/* The next 64 bits. */
AG_API uint64_t ag_rng_next(ag_rng *rng);

/* Uniform on [0, 1), a multiple of 2^-53: one draw, its upper 53 bits. */
AG_API double ag_rng_uniform(ag_rng *rng);

/* Uniform on 0 ... n-1 without bias (Lemire 2019): the upper word of draw * n; draws again, seldom,
 * when the lower word is below 2^64 mod n. 0 if n is 0. */
AG_API uint64_t ag_rng_below(ag_rng *rng, uint64_t n);

/* Standard normal: one draw, k its upper 52 bits; the quantile of u = (k + 1/2) / 2^52 by algorithm
 * AS 241, to 1e-15 of its value or better. Symmetric about 0, up to 8.21. */
AG_API double ag_rng_normal(ag_rng *rng);

/* Fisher-Yates: for i = n-1 down to 1, swaps items[i] and items[ag_rng_below(rng, i + 1)]. */
AG_API void ag_rng_shuffle(ag_rng *rng, uint32_t *items, size_t n);

#ifdef __cplusplus
}
#endif

#endif
