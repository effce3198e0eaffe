/* exp, log, tanh and sigmoid for a register of reals, at most 2 ulp from the correctly rounded
 * value wherever that is finite, and right for NaN, infinities and subnormal numbers. Nothing
 * relies on fused multiply-add: constants that multiply the exponent have trailing zero bits.
 *
 * Method: reduce to a small interval, evaluate a polynomial (Muller, Elementary Functions, 3rd ed.,
 * ch. 3 and 11), put the exponent back through the bits. */
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
INLINE vec polynomial(vec x, const real *c, int terms)
{
    const int step = terms > 6 ? 2 : 1;
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

/* x >= 0 or NaN with the sign of y */
INLINE vec with_sign(vec x, vec y)
{
    return (vec)((uvec)x | ((uvec)y & SIGN_BIT));
}

#define LOG2E R(1.4426950408889634074)
#if KERNEL_BITS == 32
#define LN2_HIGH  0x1.62e4p-1f /* 15 bits: times an exponent it is exact */
#define LN2_LOW   0x1.7f7d1cp-20f
#define EXP_LEAST -104.0f
#define EXP_MOST  89.0f
#else
#define LN2_HIGH  0x1.62e42fefa0000p-1
#define LN2_LOW   0x1.cf79abc9e3b3ap-40
#define EXP_LEAST -746.0
#define EXP_MOST  710.0
#endif

/* (exp(r) - 1 - r) / r^2 for |r| <= log(2)/2 */
INLINE vec exp_tail(vec r)
{
#if KERNEL_BITS == 32
    static const real c[] = {0x1.fffffcp-2f, 0x1.55548cp-3f, 0x1.555858p-5f, 0x1.123dep-7f,
                             0x1.6ac74ep-10f};
#else
    static const real c[] = {0x1.000000000000ap-1,  0x1.55555555554fap-3,  0x1.555555555087cp-5,
                             0x1.1111111127be4p-7,  0x1.6c16c1842a147p-10, 0x1.a01a012a57cd8p-13,
                             0x1.a0199a0c611a8p-16, 0x1.71df2552af8d3p-19, 0x1.28ad72d147d89p-22,
                             0x1.ad7f6d7911672p-26};
#endif
    return polynomial(r, c, COUNT(c));
}

/* x = n log(2) + r; `exponent` is n + bias where a real has its exponent. */
struct reduced {
    vec r;
    uvec exponent;
};

INLINE struct reduced reduce_exp(vec x, real bias)
{
    vec rounded = x * LOG2E + (ROUNDER + bias);
    vec n = rounded - (ROUNDER + bias);
    return (struct reduced){(x - n * LN2_HIGH) - n * LN2_LOW, (uvec)rounded << FRACTION};
}

/* x, but 0 where the mask is set. */
INLINE vec clear(ivec mask, vec x)
{
    return (vec)(~mask & (ivec)x);
}

/* exp(x) = 2^n exp(r), and 0 below EXP_LEAST; wrong above EXP_MOST. The two factors 2^n is made of
 * are in range wherever the result is, so that only the last product rounds to a subnormal number
 * or overflows. */
INLINE vec exp_but_large(vec x)
{
    struct reduced n = reduce_exp(x, 2 * BIAS);
    uvec half = (n.exponent >> 1) & EXPONENT_MASK;
    vec p = (exp_tail(n.r) * n.r + 1) * n.r + 1;
    return clear(x < EXP_LEAST, p * (vec)(n.exponent - half) * (vec)half);
}

INLINE vec vexp(vec x)
{
    return select(x > EXP_MOST, splat((real)INFINITY), exp_but_large(x));
}

/* 1 where exp(x) + 1 is exp(x). */
INLINE vec vsigmoid(vec x)
{
    vec e = exp_but_large(x);
    return select(x > EXP_MOST / 2, splat(1), e / (e + 1));
}

/* tanh|x| = E / (E + 2) with E = exp(2|x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), below 1 written as
 * |x| + (E - 2|x| - |x| E) / (E + 2), where the errors of E and of the quotient count for less. */
INLINE vec vtanh(vec x)
{
    vec twice = 2 * vabs(x);
    struct reduced n = reduce_exp(twice, BIAS);
    vec scale = (vec)n.exponent;
    vec e = (exp_tail(n.r) * n.r * n.r + n.r) * scale + (scale - 1);
    vec base2 = clear(twice >= 2, twice), base = base2 * R(0.5);
    vec y = base + ((e - base2) - base * e) / (e + 2);
    return with_sign(select(twice > EXP_MOST / 2, splat(1), y), x);
}

/* Near 0 x + x P(x^2), beyond 1 - exp(t Q(t)) with t = |x|. */
INLINE vec verf(vec x)
{
#if KERNEL_BITS == 32
    static const real p[] = {0x1.06eba6p-3f,  -0x1.8126e8p-2f, 0x1.ce1ab4p-4f,
                             -0x1.b68e66p-6f, 0x1.474a0ep-8f,  -0x1.3a48e4p-11f};
    static const real q[] = {-0x1.20e648p+0f, -0x1.457d1cp-1f, -0x1.af2496p-4f,
                             0x1.770158p-6f,  -0x1.a5554ep-9f, 0x1.c0a75cp-13f};
    const real near = 0x1.d8p-1f, most = 4;
#else
    static const real p[] = {0x1.06eba8214db68p-3,  -0x1.812746b0379bdp-2,
                             0x1.ce2f21a040d16p-4,  -0x1.b82ce311fa948p-6,
                             0x1.565bccf92b40cp-8,  -0x1.c02db03dd9404p-11,
                             0x1.f9a2baa92930bp-14, -0x1.f4ca4d7157c71p-17,
                             0x1.b97fd3eaabcc5p-20, -0x1.5c07274683743p-23,
                             0x1.d71b11045784bp-27, -0x1.abae4dc4327cdp-31};
    static const real q[] = {-0x1.20dd741299d16p+0,  -0x1.45f316fadd5bcp-1,  -0x1.a4f305c826337p-4,
                             0x1.3957ea0245cf1p-6,   0x1.bcac8a4aaaa6ep-13,  -0x1.bbb50b646712ap-10,
                             0x1.2d49771fc9314p-11,  0x1.059aebee65619p-20,  -0x1.907fe4e83480dp-14,
                             0x1.d6160bd5ad1c8p-15,  -0x1.5570d37c28a86p-16, 0x1.69668004ee2a7p-18,
                             -0x1.216948c469365p-20, 0x1.5e18baf5d9da1p-23,  -0x1.377d3ecbad2b2p-26,
                             0x1.818064d7d53f3p-30,  -0x1.28a45bd479c4ep-34, 0x1.ab85ad5fdf66p-40};
    const real near = 1, most = 6;
#endif
    vec t = vabs(x);
    struct reduced n = reduce_exp(polynomial(t, q, COUNT(q)) * t, BIAS);
    vec e = (exp_tail(n.r) * n.r + 1) * n.r + 1;
    vec far = with_sign(1 - clear(t > most, e * (vec)n.exponent), x);
    return select(t < near, polynomial(x * x, p, COUNT(p)) * x + x, far);
}

/* x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) with s = (m-1)/(m+1), arranged as in
 * FreeBSD's e_log.c so that m - 1 enters unrounded. */
INLINE vec vlog(vec x)
{
#if KERNEL_BITS == 32
    static const real c[] = {0x1.55557ap-1f, 0x1.995ec2p-2f, 0x1.31e3fep-2f};
    const real least = 0x1p-126f, scale = 0x1p24f, root = 0x1.6a09e6p-1f;
#else
    static const real c[] = {0x1.5555555555593p-1, 0x1.999999997f98ap-2, 0x1.2492494234359p-2,
                             0x1.c71c51cd6a0cep-3, 0x1.74664c340e707p-3, 0x1.39a04c1a216ddp-3,
                             0x1.2f14aefc2ffa9p-3};
    const real least = 0x1p-1022, scale = 0x1p53, root = 0x1.6a09e667f3bcdp-1;
#endif
    const uvec root_bits = (uvec)splat(root), one_bits = (uvec)splat(1);
    const vec integer_bits = splat((real)((natural)1 << FRACTION));
    ivec subnormal = (ivec)(x < least);
    uvec bits = (uvec)select(subnormal, x * scale, x) + (one_bits - root_bits);
    vec biased = (vec)((bits >> FRACTION) | (uvec)integer_bits) - (integer_bits + BIAS);
    vec n = biased - select(subnormal, splat(FRACTION + 1), splat(0));
    uvec fraction = bits & (((natural)1 << FRACTION) - 1);
    vec f = (vec)(fraction + root_bits) - 1;
    vec s = f / (f + 2), z = s * s, half = R(0.5) * f * f;
    vec tail = s * (half + z * polynomial(z, c, COUNT(c)));
    vec y = n * LN2_HIGH - ((half - (tail + n * LN2_LOW)) - f);
    y = select(x > 0, y, select(x == 0, splat((real)-INFINITY), splat((real)NAN)));
    return select(x < (real)INFINITY, y, x);
}

/* sin and cos, in doubles whatever the type: x = n pi/2 + r with |r| <= pi/4, where pi/2 is the sum
 * of three doubles whose first two have so few bits that their products with n, below 2^14, are
 * exact (Cody and Waite). Arguments beyond LEAST_LARGE are left to libm, lane by lane. */
typedef double dvec __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t dbits __attribute__((vector_size(VECTOR_BYTES)));
#define LEAST_LARGE 8192

static NOINLINE dvec sin_quarters(dvec x, uint64_t quarters)
{
    const double rounder = 0x1.8p52,
                 half_pi[] = {0x1.921fb54440000p+0, 0x1.68c234c4c4000p-39, 0x1.3145c06e0e689p-78};
    dvec rounded = x * 0x1.45f306dc9c883p-1 + rounder, n = rounded - rounder;
    dvec r = ((x - n * half_pi[0]) - n * half_pi[1]) - n * half_pi[2], z = r * r;
    dvec s = -0x1.ae5e663a90c2p-26 + z * 0x1.5d9300fd8e47ap-33;
    s = -0x1.a01a019c11994p-13 + z * (0x1.71de3577b6952p-19 + z * s);
    s = -0x1.5555555555549p-3 + z * (0x1.111111110f87ap-7 + z * s);
    s = r + r * z * s;
    dvec c = 0x1.1ee9d752ca7e6p-29 + z * -0x1.8fa466042d48dp-37;
    c = 0x1.a01a019c8391cp-16 + z * (-0x1.27e4f7ea3805bp-22 + z * c);
    c = 0x1.555555555554bp-5 + z * (-0x1.6c16c16c14f8ap-10 + z * c);
    c = (1 - 0.5 * z) + z * z * c;
    dbits quarter = (dbits)rounded + quarters, odd = -(quarter & 1);
    return (dvec)((((dbits)c & odd) | ((dbits)s & ~odd)) ^ (quarter << 62 & (uint64_t)1 << 63));
}

/* Out of the way of the loops that hardly ever need it. */
static NOINLINE void replace_large(real *y, const real *x, real (*f)(real))
{
    for (int i = 0; i < LANES; i++)
        if (LIBM(fabs)(x[i]) >= LEAST_LARGE)
            y[i] = f(x[i]);
}

/* `quarters` is 0 for sin and 1 for cos, f the same function of libm. */
INLINE vec sin_or_cos(vec x, uint64_t quarters, real (*f)(real))
{
#if KERNEL_BITS == 32
    typedef float half __attribute__((vector_size(VECTOR_BYTES / 2)));
    half halves[2];
    memcpy(halves, &x, sizeof halves);
    for (int i = 0; i < 2; i++)
        halves[i] = __builtin_convertvector(sin_quarters(__builtin_convertvector(halves[i], dvec),
                                                         quarters),
                                            half);
    vec y;
    memcpy(&y, halves, sizeof y);
#else
    vec y = sin_quarters(x, quarters);
#endif
    if (quarters == 0)
        y = select(x == 0, x, y);
    ivec large = (ivec)(vabs(x) >= LEAST_LARGE);
    uint64_t words[VECTOR_BYTES / 8], any = 0;
    memcpy(words, &large, sizeof words);
    for (int i = 0; i < VECTOR_BYTES / 8; i++)
        any |= words[i];
    if (any) {
        real from[LANES], to[LANES];
        store(from, x);
        store(to, y);
        replace_large(to, from, f);
        y = load(to);
    }
    return y;
}

INLINE vec vsin(vec x)
{
    return sin_or_cos(x, 0, LIBM(sin));
}

INLINE vec vcos(vec x)
{
    return sin_or_cos(x, 1, LIBM(cos));
}

#endif
