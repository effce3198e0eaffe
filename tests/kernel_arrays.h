/* For the tests of the kernels: every table this machine runs, and arrays of either element type.
 */
#ifndef TAPEGRAD_TESTS_KERNEL_ARRAYS_H
#define TAPEGRAD_TESTS_KERNEL_ARRAYS_H

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels.h"

static const char *const isas[] = {"baseline", "avx2", "avx512"};

static inline void each_table(void (*check)(const struct kernels *k))
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const struct kernels *tables[] = {kernels_f32(isas[i]), kernels_f64(isas[i])};
        for (int t = 0; t < 2; t++)
            if (tables[t])
                check(tables[t]);
    }
}

/* ---- Arrays of either type ------------------------------------------------------------------ */

static inline double get(const struct kernels *k, const void *x, size_t i)
{
    return k->element == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static inline void set(const struct kernels *k, void *x, size_t i, double value)
{
    if (k->element == 4)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static inline void *at(const struct kernels *k, void *x, size_t i)
{
    return (char *)x + i * k->element;
}

static const void *at_const(const struct kernels *k, const void *x, size_t i)
{
    return (const char *)x + i * k->element;
}

static inline double rounded(const struct kernels *k, long double x)
{
    return k->element == 4 ? (double)(float)x : (double)x;
}

static inline double epsilon(const struct kernels *k)
{
    return k->element == 4 ? (double)FLT_EPSILON : DBL_EPSILON;
}

/* Reals in order as integers, so that neighbours differ by 1. */
static inline int64_t ordinal(const struct kernels *k, double x)
{
    if (k->element == 4) {
        float narrow = (float)x;
        int32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        return bits < 0 ? -(int64_t)(bits & INT32_MAX) : bits;
    }
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? -(bits & INT64_MAX) : bits;
}

/* In 64 bits the exact value itself may be rounded twice. */
static inline void assert_near(const struct kernels *k, const char *what, double x, double y,
                               double got, long double exact, uint64_t ulps)
{
    double want = rounded(k, exact);
    int64_t a = ordinal(k, got), b = ordinal(k, want);
    uint64_t apart = a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
    bool right = apart <= ulps + (k->element == 8);
    if (isnan(want) || isnan(got))
        right = isnan(want) && isnan(got);
    if (want == 0 && got == 0)
        right = signbit(got) == signbit(want);
    if (!right)
        fail_msg("%s %zu-bit %s(%a, %a): got %a, want %a", k->isa, 8 * k->element, what, x, y, got,
                 want);
}

static inline void assert_same_bits(const struct kernels *k, const char *what, const void *got,
                                    const void *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double a = get(k, got, i), b = get(k, want, i);
        if (memcmp(at_const(k, got, i), at_const(k, want, i), k->element) &&
            !(isnan(a) && isnan(b)))
            fail_msg("%s %zu-bit %s: element %zu of %zu is %a, want %a", k->isa, 8 * k->element,
                     what, i, n, a, b);
    }
}

static inline uint64_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* In [-scale, scale). */
static inline double uniform(double scale)
{
    return scale * ((double)(random_bits() >> 11) * 0x1p-52 - 1);
}

/* Any bit pattern: every exponent as often as every other. */
static inline void set_any(const struct kernels *k, void *x, size_t i)
{
    uint64_t bits = random_bits();
    memcpy(at(k, x, i), &bits, k->element);
}

enum { GUARD = 8 };

#endif
