/* sin and cos for a register of reals; see vmath.h. */
#ifndef TAPEGRAD_KERNELS_VMATH_TRIG_H
#define TAPEGRAD_KERNELS_VMATH_TRIG_H

#include "vmath.h"

/* x = n pi/2 + r with |r| <= pi/4, where pi/2 is the sum of parts of which all but the last have so
 * few bits that their products with n, below 2^13, are exact (Cody and Waite); where products and
 * sums are fused they need not be. None is below 0, so that the r of -0 is -0. Usual arguments are
 * below MOST_USUAL; others are left to libm.
 */
#define MOST_USUAL 8192

INLINE uvec unusual_trig(vec x)
{
    return (uvec)splat(MOST_USUAL) - (uvec)vabs(x);
}

/* sin r = r + r z S(z) and cos r = 1 + z C(z) with z = r^2 */
#if KERNEL_BITS == 32
static const real sine[] = {-0x1.555546p-3f, 0x1.11073ap-7f, -0x1.994386p-13f, 0};
static const real cosine[] = {-0.5f, 0x1.55554ap-5f, -0x1.6c0c32p-10f, 0x1.99eb4cp-16f};
#ifdef __FMA__
static const real half_pi[] = {0x1.921fb4p+0f, 0x1.4442d0p-24f, 0x1.846988p-48f};
#else
static const real half_pi[] = {0x1.92p+0f, 0x1.fb4p-12f, 0x1.444p-24f, 0x1.68c234p-39f};
#endif
#else
static const real sine[] = {-0x1.5555555555549p-3,
                            0x1.111111110f87ap-7,
                            -0x1.a01a019c11994p-13,
                            0x1.71de3577b6952p-19,
                            -0x1.ae5e663a90c2p-26,
                            0x1.5d9300fd8e47ap-33,
                            0};
static const real cosine[] = {-0.5,
                              0x1.555555555554bp-5,
                              -0x1.6c16c16c14f8ap-10,
                              0x1.a01a019c8391cp-16,
                              -0x1.27e4f7ea3805bp-22,
                              0x1.1ee9d752ca7e6p-29,
                              -0x1.8fa466042d48dp-37};
static const real half_pi[] = {0x1.921fb54440000p+0, 0x1.68c234c4c4000p-39, 0x1.3145c06e0e689p-78};
#endif

/* sin(x + quarters pi/2) */
INLINE struct reduced reduce_trig(vec x, uvec quarters)
{
    vec rounded = x * R(0x1.45f306dc9c883p-1) + ROUNDER, n = rounded - ROUNDER, r = x;
    for (int i = 0; i < COUNT(half_pi); i++)
        r = multiply_add(n, splat(-half_pi[i]), r);
    return (struct reduced){r, n, (uvec)rounded + quarters};
}

/* As a sum sine would lose the sign of -0. */
INLINE vec vtrig(struct reduced x)
{
    vec r = x.r, z = r * r;
#ifdef SCALES
    const lane_mask odd = X86_MASK(test)((__m512i)x.bits, (__m512i)((uvec){0} + 1));
    vec c[COUNT(sine)];
    for (int i = 0; i < COUNT(sine); i++)
        c[i] = (vec)X86(mask_blend)(odd, splat(sine[i]), splat(cosine[i]));
    vec y = c[COUNT(sine) - 1];
    for (int i = COUNT(sine) - 2; i >= 0; i--)
        y = y * z + c[i];
    y = (y * z + 1) * (vec)X86(mask_blend)(odd, r, splat(1));
#else
#ifdef __FMA__
    vec s = (z * polynomial(z, sine, COUNT(sine) - 1) + 1) * r;
#else
    vec s = with_sign(r * z * polynomial(z, sine, COUNT(sine) - 1) + r, r);
#endif
    vec c = z * z * polynomial(z, cosine + 1, COUNT(cosine) - 1) + (1 - R(0.5) * z);
    vec y = blend((ivec) - (x.bits & 1), c, s);
#endif
    return (vec)((uvec)y ^ (x.bits << (KERNEL_BITS - 2) & SIGN_BIT));
}

#endif
