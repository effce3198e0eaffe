/* log for a register of reals; see vmath.h. */
#ifndef TAPEGRAD_KERNELS_VMATH_LOG_H
#define TAPEGRAD_KERNELS_VMATH_LOG_H

#include <float.h>

#include "vmath.h"

#ifdef SCALES
/* x = 2^n m with m in [3/4, 3/2), which lies in one of 16 intervals, told by the first bits of its
 * fraction; log m = log(m c) - log c with c near 1 / m and short, and c = 1 around 1. The
 * instructions for n and m know all special cases. */
INLINE struct reduced reduce_log(vec x)
{
    vec m = (vec)X86(getmant)(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    return (struct reduced){m, (vec)X86(getexp)(x) - (vec)X86(getexp)(m), {0}};
}

INLINE vec vlog(struct reduced x)
{
    static const real inverses[] = {R(0x1.00p+0), R(0x1.d4p-1), R(0x1.bbp-1), R(0x1.a4p-1),
                                    R(0x1.90p-1), R(0x1.7dp-1), R(0x1.6cp-1), R(0x1.5dp-1),
                                    R(0x1.4ep+0), R(0x1.41p+0), R(0x1.35p+0), R(0x1.2ap+0),
                                    R(0x1.1fp+0), R(0x1.16p+0), R(0x1.0dp+0), R(0x1.00p+0)};
#if KERNEL_BITS == 32
    static const real logs[] = {
        0,
        0x1.700d30p-4f,
        0x1.28753cp-3f,
        0x1.95a5aep-3f,
        0x1.f991c6p-3f,
        0x1.2e9e2cp-2f,
        0x1.5d5bdep-2f,
        0x1.887366p-2f,
        -0x1.1058c0p-2f,
        -0x1.cf6354p-3f,
        -0x1.815c0ap-3f,
        -0x1.371fc2p-3f,
        -0x1.d4313ep-4f,
        -0x1.51b074p-4f,
        -0x1.95c830p-5f,
        0,
    };
    static const real c[] = {-0x1p-1f, 0x1.555844p-2f, -0x1.00100p-2f, 0x1.81f78cp-3f};
#else
    static const real logs[] = {
        0,
        0x1.700d30aeac0e1p-4,
        0x1.28753bc11aba5p-3,
        0x1.95a5adcf7017fp-3,
        0x1.f991c6cb3b379p-3,
        0x1.2e9e2bce12286p-2,
        0x1.5d5bddf595f30p-2,
        0x1.8873658327ccfp-2,
        -0x1.1058bf9ae4ad5p-2,
        -0x1.cf6354e09c5dcp-3,
        -0x1.815c0a14357ebp-3,
        -0x1.371fc201e8f74p-3,
        -0x1.d4313d66cb35dp-4,
        -0x1.51b073f06183fp-4,
        -0x1.95c830ec8e3ebp-5,
        0,
    };
    static const real c[] = {-0x1.0000000000003p-1, 0x1.5555555555f5ep-2,  -0x1.fffffffff1c3bp-3,
                             0x1.99999980a7b29p-3,  -0x1.555554b4fdb1bp-3, 0x1.2492d81593922p-3,
                             -0x1.0009b7b84d181p-3, 0x1.c575fe8ae3d4cp-4,  -0x1.66046971e2495p-4};
#endif
    uvec interval = (uvec)x.r >> (FRACTION - 4);
    vec r = multiply_add(x.r, LOOK_UP(inverses, interval), splat(-1));
    vec tail = polynomial(r, c, COUNT(c)) * (r * r) + (x.n * LN2_LOW + r);
    return x.n * LN2_HIGH + LOOK_UP(logs, interval) + tail;
}
#else
/* Usual are normal numbers above 0. */
#if KERNEL_BITS == 32
#define LEAST_NORMAL FLT_MIN
#define MOST_FINITE  FLT_MAX
#else
#define LEAST_NORMAL DBL_MIN
#define MOST_FINITE  DBL_MAX
#endif

INLINE uvec unusual_log(vec x)
{
    const natural least = (natural)1 << FRACTION, most = EXPONENT_MASK - 1;
    return ((uvec)x - least) | (most - (uvec)x);
}

/* x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m =
 * 2 atanh(s) with s = (m-1)/(m+1), arranged as in FreeBSD's e_log.c so that m - 1 enters unrounded.
 */
INLINE struct reduced reduce_log(vec x)
{
    const uvec root_bits = (uvec)splat(R(0x1.6a09e667f3bcdp-1));
    const vec integer_bits = splat((real)((natural)1 << FRACTION));
    uvec bits = (uvec)x + ((uvec)splat(1) - root_bits);
    vec n = (vec)((bits >> FRACTION) | (uvec)integer_bits) - (integer_bits + BIAS);
    vec m = (vec)((bits & (((natural)1 << FRACTION) - 1)) + root_bits);
    return (struct reduced){m - 1, n, {0}};
}

INLINE vec vlog(struct reduced x)
{
    vec f = x.r, n = x.n;
#if KERNEL_BITS == 32
    static const real c[] = {0x1.55569ap-2f, -0x1.0003b6p-2f, 0x1.98ebd2p-3f, -0x1.538106p-3f,
                             0x1.30ac1ep-3f, -0x1.23f11ep-3f, 0x1.67dff8p-4f};
    vec z = f * f, half = R(0.5) * z, tail = z * f * polynomial(f, c, COUNT(c));
#else
    static const real c[] = {0x1.5555555555593p-1, 0x1.999999997f98ap-2, 0x1.2492494234359p-2,
                             0x1.c71c51cd6a0cep-3, 0x1.74664c340e707p-3, 0x1.39a04c1a216ddp-3,
                             0x1.2f14aefc2ffa9p-3};
    vec s = f / (f + 2), z = s * s, half = R(0.5) * f * f;
    vec tail = s * (half + z * polynomial(z, c, COUNT(c)));
#endif
    return n * LN2_HIGH + ((n * LN2_LOW - half + tail) + f);
}

#endif

#endif
