/* xoshiro256++, and what is drawn from it.
 *
 * Invariant: the same seed gives the same bits everywhere. So the integers use no type wider than
 * 64 bits, and the normal uses only operations that IEEE 754 rounds exactly (+ - * / sqrt), in a
 * fixed order, nothing fused: its logarithm is computed here, as every libm rounds its own a little
 * differently.
 *
 * Sources: xoshiro256++ and SplitMix64: Blackman & Vigna 2021, and Vigna's public-domain code;
 * bounded integers: Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS 29(1),
 * 2019, algorithm 5; normal quantile: Wichura, "Algorithm AS 241", Applied Statistics 37(3), 1988,
 * PPND16. */
#include "rng.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc does not know it: there the build passes -ffp-contract=off */
#endif

_Static_assert(FLT_EVAL_METHOD >= 0 && FLT_EVAL_METHOD != 2,
               "doubles must be rounded as doubles: on 32-bit x86, add -msse2 -mfpmath=sse");

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void ag_rng_seed(ag_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4 && rng; i++) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        rng->state[i] = z ^ (z >> 31);
    }
}

uint64_t ag_rng_next(ag_rng *rng)
{
    if (!rng)
        return 0;
    uint64_t *s = rng->state;
    if (!(s[0] | s[1] | s[2] | s[3])) /* which it would never leave */
        ag_rng_seed(rng, 0);
    uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double ag_rng_uniform(ag_rng *rng)
{
    return rng ? (double)(ag_rng_next(rng) >> 11) * 0x1p-53 : (double)NAN;
}

/* The 128-bit product of a and b: returns the upper word, sets the lower one. */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *low)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32;
    uint64_t b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32); /* cannot overflow, nor can the next */
    uint64_t middle2 = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (middle2 >> 32);
}

uint64_t ag_rng_below(ag_rng *rng, uint64_t n)
{
    uint64_t low, high = multiply(ag_rng_next(rng), n, &low);
    if (low < n && rng) {
        uint64_t threshold = (0 - n) % n; /* 2^64 mod n */
        while (low < threshold)
            high = multiply(ag_rng_next(rng), n, &low);
    }
    return high;
}

void ag_rng_shuffle(ag_rng *rng, uint32_t *items, size_t n)
{
    for (size_t i = rng && items ? n : 0; i > 1; i--) {
        size_t j = (size_t)ag_rng_below(rng, i);
        uint32_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}

/* p[0] + p[1] x + ... + p[n-1] x^(n-1), by Horner's rule. */
static double polynomial(const double *p, int n, double x)
{
    double y = p[n - 1];
    for (int i = n - 2; i >= 0; i--)
        y = y * x + p[i];
    return y;
}

/* log(x) for a normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), and log(m) = 2 atanh(s) by
 * its series in s = (m - 1) / (m + 1), |s| <= 0.172. */
static double log_of(double x)
{
    static const double atanh_series[] = {1.0,        1.0 / 3.0,  1.0 / 5.0,  1.0 / 7.0,
                                          1.0 / 9.0,  1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0,
                                          1.0 / 17.0, 1.0 / 19.0, 1.0 / 21.0};
    const double ln2 = 0.69314718055994530942, sqrt2 = 1.41421356237309504880;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffff) | 0x3ff0000000000000;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m >= sqrt2) {
        m *= 0.5;
        exponent += 1;
    }
    double s = (m - 1.0) / (m + 1.0);
    return exponent * ln2 + 2.0 * s * polynomial(atanh_series, 11, s * s);
}

/* The standard normal's quantile of u = 1/2 + q, 0 < u < 1: AS 241, PPND16. A ratio of polynomials
 * in the centre, and another two in the tail's r = sqrt(-log(min(u, 1 - u))). */
static double normal_quantile(double q)
{
    static const double centre[2][8] = {{3.3871328727963666080e0, 1.3314166789178437745e2,
                                         1.9715909503065514427e3, 1.3731693765509461125e4,
                                         4.5921953931549871457e4, 6.7265770927008700853e4,
                                         3.3430575583588128105e4, 2.5090809287301226727e3},
                                        {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                                         5.3941960214247511077e3, 2.1213794301586595867e4,
                                         3.9307895800092710610e4, 2.8729085735721942674e4,
                                         5.2264952788528545610e3}};
    static const double near_tail[2][8] = {{1.42343711074968357734e0, 4.63033784615654529590e0,
                                            5.76949722146069140550e0, 3.64784832476320460504e0,
                                            1.27045825245236838258e0, 2.41780725177450611770e-1,
                                            2.27238449892691845833e-2, 7.74545014278341407640e-4},
                                           {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                                            6.89767334985100004550e-1, 1.48103976427480074590e-1,
                                            1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                            1.05075007164441684324e-9}};
    static const double far_tail[2][8] = {{6.65790464350110377720e0, 5.46378491116411436990e0,
                                           1.78482653991729133580e0, 2.96560571828504891230e-1,
                                           2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                           2.71155556874348757815e-5, 2.01033439929228813265e-7},
                                          {1.0, 5.99832206555887937690e-1,
                                           1.36929880922735805310e-1, 1.48753612908506148525e-2,
                                           7.86869131145613259100e-4, 1.84631831751005468180e-5,
                                           1.42151175831644588870e-7, 2.04426310338993978564e-15}};

    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(centre[0], 8, r) / polynomial(centre[1], 8, r);
    }
    double r = sqrt(-log_of(0.5 - fabs(q)));
    const double(*tail)[8] = r <= 5.0 ? near_tail : far_tail;
    r -= r <= 5.0 ? 1.6 : 5.0;
    double x = polynomial(tail[0], 8, r) / polynomial(tail[1], 8, r);
    return q < 0.0 ? -x : x;
}

double ag_rng_normal(ag_rng *rng)
{
    double u = ((double)(ag_rng_next(rng) >> 12) + 0.5) * 0x1p-52; /* exact, as is u - 1/2 */
    return rng ? normal_quantile(u - 0.5) : (double)NAN;
}
