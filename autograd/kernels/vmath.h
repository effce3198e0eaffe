/* exp, sigmoid and tanh for a register of reals (erf, log, sin and cos: vmath_erf.h and so on), at
 * most 2 ulp from the correctly rounded value wherever that is finite, and right for NaN,
 * infinities and subnormal numbers. Where nothing else is said, nothing relies on fused
 * multiply-add: constants that multiply the exponent have trailing zero bits.
 *
 * Method: reduce to a small interval, evaluate a polynomial (Muller, Elementary Functions, 3rd ed.,
 * ch. 3 and 11), put the exponent back through the bits.
 *
 * Some functions are only for usual arguments: where unusual_f sets no sign bit. */
#ifndef TAPEGRAD_KERNELS_VMATH_H
#define TAPEGRAD_KERNELS_VMATH_H

#include "simd.h"

#if KERNEL_BITS == 32
#define FRACTION 23
#define BIAS     127
#define R(x)     x##f
#else
#define FRACTION 52
#define BIAS     1023
#define R(x)     x
#endif

#define EXPONENT_MASK ((natural)(2 * BIAS + 1) << FRACTION)
#define SIGN_BIT      ((natural)1 << (KERNEL_BITS - 1))
/* A real this large has no room for a fraction: adding it rounds to an integer, which then stands
 * in the low bits. */
#define ROUNDER ((real)((natural)3 << (FRACTION - 1)))

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* c[0] + c[1] x + ..., long ones as even and odd part so that neither waits for the other. */
#ifdef __FMA__
#define LONG 7
#else
#define LONG 5
#endif

INLINE vec polynomial(vec x, const real *c, int terms)
{
    const int step = terms >= LONG ? 2 : 1;
    const vec by = step == 2 ? x * x : x;
    vec even = splat(c[(terms - 1) / step * step]), odd = splat(c[terms / step * step - 1]);
    for (int i = (terms - 1) / step * step - step; i >= 0; i -= step)
        even = even * by + c[i];
    if (step == 1)
        return even;
    for (int i = terms / 2 * 2 - 3; i > 0; i -= 2)
        odd = odd * by + c[i];
    return odd * x + even;
}

INLINE vec vabs(vec x)
{
    return (vec)((uvec)x & ~SIGN_BIT);
}

/* x with the sign of y, which it has already if it is not above 0 */
INLINE vec with_sign(vec x, vec y)
{
    return (vec)((uvec)x | ((uvec)y & SIGN_BIT));
}

#define LOG2E R(1.4426950408889634074)
#if KERNEL_BITS == 32
#define LN2_HIGH  0x1.62e4p-1f /* 15 bits: times an exponent it is exact */
#define LN2_LOW   0x1.7f7d1cp-20f
#define EXP_USUAL 87.0f   /* exp of +-this is a normal number, */
#define EXP_LEAST -104.0f /* below this it is 0 */
#else
#define LN2_HIGH  0x1.62e42fefa0000p-1
#define LN2_LOW   0x1.cf79abc9e3b3ap-40
#define EXP_USUAL 708.0
#define EXP_LEAST -746.0
#endif

/* Where a register can be indexed, exp(x) = 2^n exp(r) with n in steps of 1/STEPS, whose fractional
 * part's power of two is looked up, so that r is small and the polynomial short. SCALES: with an
 * instruction for x 2^floor(n) that knows all special cases. */
#if VECTOR_BYTES == 64 && defined(__AVX512DQ__)
#define SCALES
#define STEPS     16
#define STEP_BITS 4
#if KERNEL_BITS == 32
#define LOOK_UP(table, i) ((vec)_mm512_permutexvar_ps((__m512i)(i), (__m512)load(table)))
#else
#define LOOK_UP(table, i)                                                                          \
    ((vec)_mm512_permutex2var_pd((__m512d)load(table), (__m512i)(i), (__m512d)load((table) + 8)))
#endif
#elif VECTOR_BYTES == 32 && KERNEL_BITS == 32 && defined(__AVX2__)
#define STEPS             8
#define STEP_BITS         3
#define LOOK_UP(table, i) ((vec)_mm256_permutevar8x32_ps((__m256)load(table), (__m256i)(i)))
#elif VECTOR_BYTES == 16 && KERNEL_BITS == 64
#define STEPS             16
#define STEP_BITS         4
#define LOOK_UP(table, i) ((vec){(table)[(i)[0] & 15], (table)[(i)[1] & 15]})
#else
#define STEPS             1
#define STEP_BITS         0
#define LOOK_UP(table, i) ((void)(i), splat((table)[0]))
#endif

/* 2^(i/STEPS) rounded, what is missing of it in parts of itself, and the polynomial of
 * (exp(r) - 1) / r for |r| <= log(2) / (2 STEPS). */
#if STEPS == 16 && KERNEL_BITS == 64
static const real steps[] = {0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0,
                             0x1.2387a6e756238p+0, 0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0,
                             0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0, 0x1.6a09e667f3bcdp+0,
                             0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
                             0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0,
                             0x1.ea4afa2a490dap+0};
static const real step_errors[] = {
    0,
    0x1.79aa65d837b6dp-54,
    -0x1.01b15eaa59348p-55,
    0x1.68efde3a8a894p-54,
    0x1.34d754db0abb6p-55,
    0x1.59f48a72a4c6dp-55,
    0x1.690cebb7aafb0p-56,
    0x1.063e1e21c5409p-54,
    -0x1.3b3efbf5e2228p-54,
    -0x1.b32dcb94da51dp-56,
    0x1.db72fc1f0eab4p-55,
    0x1.1affc2b91ce27p-56,
    0x1.c1a7792cb3387p-55,
    0x1.36eae30af0cb3p-56,
    0x1.4a385a63d07a7p-56,
    -0x1.ff7128fd391f0p-55,
};
static const real exp_slope[] = {1,
                                 0x1.fffffffffffb8p-2,
                                 0x1.555555548ebdfp-3,
                                 0x1.55555558ff4f5p-5,
                                 0x1.11123b4706f01p-7,
                                 0x1.6c14c66bbe9e7p-10};
#elif STEPS == 16
static const real steps[] = {0x1.000000p+0f, 0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f,
                             0x1.306fe0p+0f, 0x1.3dea64p+0f, 0x1.4bfdaep+0f, 0x1.5ab07ep+0f,
                             0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
                             0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f};
static const real step_errors[] = {
    0,
    0x1.8d96d4p-25f,
    -0x1.9c0c22p-27f,
    0x1.964904p-25f,
    0x1.125002p-25f,
    0x1.370be4p-25f,
    -0x1.0a3550p-25f,
    -0x1.00d8acp-27f,
    0x1.26055cp-26f,
    -0x1.05cb44p-25f,
    0x1.67a1cap-28f,
    0x1.a3b5e4p-28f,
    -0x1.f9c304p-27f,
    -0x1.6961b4p-28f,
    -0x1.a5217cp-28f,
    0x1.61428ep-28f,
};
static const real exp_slope[] = {1, 0x1.000220p-1f, 0x1.55559ap-3f};
#elif STEPS == 8
static const real steps[] = {0x1.000000p+0f, 0x1.172b84p+0f, 0x1.306fe0p+0f, 0x1.4bfdaep+0f,
                             0x1.6a09e6p+0f, 0x1.8ace54p+0f, 0x1.ae89fap+0f, 0x1.d5818ep+0f};
static const real step_errors[] = {0,
                                   -0x1.9c0c22p-27f,
                                   0x1.125002p-25f,
                                   -0x1.0a3550p-25f,
                                   0x1.26055cp-26f,
                                   0x1.67a1cap-28f,
                                   -0x1.f9c304p-27f,
                                   -0x1.a5217cp-28f};
static const real exp_slope[] = {1, 0x1p-1f, 0x1.555c7ap-3f, 0x1.55483ep-5f};
#else
static const real steps[] = {1}, step_errors[] = {0};
#define exp_slope exp_long
#endif

/* The polynomial of (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2 */
#if KERNEL_BITS == 32
static const real exp_long[] = {0x1.fffffcp-2f, 0x1.55548cp-3f, 0x1.555858p-5f, 0x1.123dep-7f,
                                0x1.6ac74ep-10f};
#else
static const real exp_long[] = {0x1.000000000000ap-1,  0x1.55555555554fap-3,  0x1.555555555087cp-5,
                                0x1.1111111127be4p-7,  0x1.6c16c1842a147p-10, 0x1.a01a012a57cd8p-13,
                                0x1.a0199a0c611a8p-16, 0x1.71df2552af8d3p-19, 0x1.28ad72d147d89p-22,
                                0x1.ad7f6d7911672p-26};
#endif

/* The first half of every function: r is the argument reduced to a small interval, n and bits are
 * what else the second half wants. For exp and what is made of it x = n log(2) + r with n a
 * multiple of 1/steps, and the low bits of `bits` are those of n + bias. */
struct reduced {
    vec r, n;
    uvec bits;
};

INLINE struct reduced reduce_by_log2(vec x, real bias, int steps_of_one)
{
    const real rounder = ROUNDER / (real)steps_of_one + bias;
    vec rounded = x * LOG2E + rounder, n = rounded - rounder;
    return (struct reduced){(x - n * LN2_HIGH) - n * LN2_LOW, n, (uvec)rounded};
}

/* exp(r) - 1 */
INLINE vec exp_rest(vec r)
{
    return polynomial(r, exp_long, COUNT(exp_long)) * (r * r) + r;
}

/* exp(r) times a power of two and the step that is looked up; `precise` counts what the step's
 * rounding left. */
INLINE vec exp_step(struct reduced x, vec step, bool precise)
{
    vec slope = polynomial(x.r, exp_slope, COUNT(exp_slope));
    if (precise)
        return step * (x.r * slope + LOOK_UP(step_errors, x.bits)) + step;
    return step * x.r * slope + step;
}

#ifdef SCALES
/* The bound on r is for infinities and for numbers so large that r is none. */
INLINE struct reduced reduce_exp(vec x)
{
    struct reduced n = reduce_by_log2(x, 0, STEPS);
    n.r = (vec)X86(range)(n.r, splat(1), 2);
    return n;
}

INLINE vec vexp(struct reduced x)
{
    return (vec)X86(scalef)(exp_step(x, LOOK_UP(steps, x.bits), false), x.n);
}

/* e / (e + 1) with e = exp(x), which is bounded where it cannot matter any more. */
INLINE vec vsigmoid(struct reduced x)
{
    vec step = (vec)X86(scalef)(LOOK_UP(steps, x.bits), not_above(64, x.n));
    vec e = exp_step(x, step, true);
    return e / (e + 1);
}
#else
INLINE uvec unusual_exp(vec x)
{
    return (uvec)splat(EXP_USUAL) - (uvec)vabs(x);
}

INLINE struct reduced reduce_exp(vec x)
{
    return reduce_by_log2(x, 0, STEPS);
}

INLINE vec exp_by_bits(struct reduced x, bool precise)
{
    if (STEPS == 1)
        return (vec)((uvec)(exp_rest(x.r) + 1) + (x.bits << FRACTION));
    uvec exponent = x.bits << (FRACTION - STEP_BITS) & (natural)-1 << FRACTION;
    return exp_step(x, (vec)(exponent + (uvec)LOOK_UP(steps, x.bits)), precise);
}

INLINE vec vexp(struct reduced x)
{
    return exp_by_bits(x, false);
}

INLINE vec vsigmoid(struct reduced x)
{
    vec e = exp_by_bits(x, true);
    return e / (e + 1);
}
#endif

#define reduce_sigmoid reduce_exp

/* tanh|x| = -E / (E + 2) with E = exp(-2|x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1); the denominator
 * is not made of the rounded E, so that its error does not count twice. From 20 on it is 1. */
INLINE struct reduced reduce_tanh(vec x)
{
    vec t = not_below(-20, (vec)((uvec)x | SIGN_BIT));
    struct reduced two = reduce_by_log2(t + t, BIAS, 1);
    two.n = x;
    return two;
}

INLINE vec vtanh(struct reduced x)
{
    vec power = (vec)(x.bits << FRACTION), e = exp_rest(x.r) * power;
    return with_sign((1 - power - e) / (e + (power + 1)), x.n);
}

#endif
