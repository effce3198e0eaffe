/* erf for a register of reals; see vmath.h. */
#ifndef TAPEGRAD_KERNELS_VMATH_ERF_H
#define TAPEGRAD_KERNELS_VMATH_ERF_H

#include "vmath.h"

#if KERNEL_BITS == 64
/* Near 0 x + x P(x^2), beyond 1 - exp(t Q(t)) with t = |x|, which is 1 from 6 on. */
INLINE struct reduced reduce_erf(vec x)
{
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
    vec t = not_above(6, vabs(x)), near = polynomial(x * x, p, COUNT(p)) * x + x;
    return (struct reduced){polynomial(t, q, COUNT(q)) * t, near, (uvec)x};
}

INLINE vec verf(struct reduced x)
{
    vec far = with_sign(1 - vexp(reduce_exp(x.r)), (vec)x.bits);
    return blend(vabs((vec)x.bits) >= 1, far, x.n);
}
#elif STEPS > 1
/* A polynomial of its own around each multiple of a width, in r = |x| - n width; n is at most STEPS
 * - 1 and erf then 1. Coefficients of a power stand side by side, to be looked up by n. */
#if STEPS == 16
#define ERF_WIDTH 0x1.04p-2f
static const real erf_steps[][STEPS] = {
    {0, 0x1.1f31b2p-2f, 0x1.0dff50p-1f, 0x1.6fef76p-1f, 0x1.b2bb68p-1f, 0x1.dad53ep-1f,
     0x1.f00614p-1f, 0x1.f9e15cp-1f, 0x1.fdea6ep-1f, 0x1.ff5eb6p-1f, 0x1.ffd4cap-1f, 0x1.fff5c0p-1f,
     0x1.fffddap-1f, 0x1.ffff9ap-1f, 0x1.fffff0p-1f, 0x1.fffffep-1f},
    {0x1.06ebb0p-3f, 0x1.da8f80p-5f, -0x1.065e18p-3f, -0x1.7932f4p-2f, -0x1.320de4p-1f,
     -0x1.8cb756p-1f, -0x1.c745f6p-1f, -0x1.e776b2p-1f, -0x1.f6abc6p-1f, -0x1.fce1d0p-1f,
     -0x1.ff1580p-1f, -0x1.ffc372p-1f, -0x1.fff240p-1f, -0x1.fffd42p-1f, -0x1.ffff84p-1f,
     -0x1.ffffeep-1f},
    {-0x1.e621ccp-17f, -0x1.130ec4p-2f, -0x1.c5631ap-2f, -0x1.ecae54p-2f, -0x1.a25572p-2f,
     -0x1.24b8bap-2f, -0x1.59b400p-3f, -0x1.5cd6f4p-4f, -0x1.2f30aep-5f, -0x1.c87092p-7f,
     -0x1.2a598cp-8f, -0x1.51e780p-10f, -0x1.55cea0p-12f, -0x1.24af36p-14f, -0x1.8926ecp-16f,
     -0x1.144430p-17f},
    {-0x1.809452p-2f, -0x1.3a9134p-2f, -0x1.205b86p-3f, 0x1.14a960p-5f, 0x1.23e284p-3f,
     0x1.55c328p-3f, 0x1.1371c2p-3f, 0x1.5bf436p-4f, 0x1.68d252p-5f, 0x1.3a1594p-6f, 0x1.d0d584p-8f,
     0x1.26bc3ep-9f, 0x1.41f882p-11f, 0x1.3021c6p-13f, 0x1.f233a0p-16f, 0x1.629184p-18f},
    {-0x1.c60432p-8f, 0x1.056f9ep-3f, 0x1.764386p-3f, 0x1.2d572ep-3f, 0x1.07537ep-4f,
     -0x1.402f7ep-7f, -0x1.71c9f4p-5f, -0x1.855460p-5f, -0x1.099c70p-5f, -0x1.0e0618p-6f,
     -0x1.c5d176p-8f, -0x1.71cae0p-9f, -0x1.d2565ap-12f, -0x1.7285c6p-13f, 0x1.352facp-11f,
     0x1.7e3198p-12f},
    {0x1.1d34fcp-3f, 0x1.46f1c6p-4f, 0x1.0dbc4ep-7f, -0x1.be3e82p-5f, -0x1.17b71ep-4f,
     -0x1.6cd388p-5f, -0x1.934510p-7f, 0x1.01d4bcp-7f, 0x1.ab5e10p-7f, 0x1.4853d8p-7f,
     0x1.681910p-8f, 0x1.36537ap-9f, 0x1.b59492p-11f, 0x1.017e50p-12f, 0x1.002278p-14f,
     0x1.b2466ep-17f}};
#else
#define ERF_WIDTH 0x1.1p-1f
static const real erf_steps[][STEPS] = {
    {0, 0x1.1855a6p-1f, 0x1.bbef10p-1f, 0x1.f39bc2p-1f, 0x1.fea422p-1f, 0x1.ffe96ap-1f,
     0x1.ffff24p-1f, 0x1.fffffcp-1f},
    {0x1.06ebb0p-3f, -0x1.315408p-3f, -0x1.452b74p-1f, -0x1.d27034p-1f, -0x1.f9ae76p-1f,
     -0x1.ff8070p-1f, -0x1.fffa48p-1f, -0x1.ffffdap-1f},
    {-0x1.097256p-16f, -0x1.cee58cp-2f, -0x1.8d0446p-2f, -0x1.2273b8p-3f, -0x1.adb64cp-6f,
     -0x1.525faap-9f, -0x1.20620ap-13f, -0x1.654938p-17f},
    {-0x1.80718cp-2f, -0x1.fa06aep-4f, 0x1.3954cep-3f, 0x1.efb8fcp-4f, 0x1.0ea476p-5f,
     0x1.16c168p-8f, 0x1.26bf76p-12f, 0x1.4beb68p-17f},
    {-0x1.6c5ba4p-7f, 0x1.77b4c8p-3f, 0x1.89bd9ap-5f, -0x1.9357b2p-5f, -0x1.adee14p-6f,
     -0x1.429994p-8f, -0x1.e4a672p-12f, 0x1.dfaa26p-13f},
    {0x1.8c5032p-3f, -0x1.dc783ep-10f, -0x1.0f8802p-4f, -0x1.46540ap-8f, 0x1.997df4p-7f,
     0x1.f391e2p-9f, 0x1.c058eep-12f, 0x1.76119ap-16f},
    {-0x1.14802ap-2f, -0x1.8416aep-5f, 0x1.2e2208p-7f, 0x1.0b36b6p-6f, -0x1.73ef46p-9f,
     -0x1.af0c6ap-11f, 0x1.c605b6p-13f, -0x1.334b4ap-9f},
    {0x1.40264ep-2f, 0x1.b7246cp-8f, 0x1.99fc86p-7f, -0x1.7750e2p-8f, -0x1.f3a284p-10f,
     0x1.5cff5ep-11f, 0x1.c99b4ap-13f, 0x1.542ddep-16f}};
#endif

INLINE struct reduced reduce_erf(vec x)
{
    vec t = not_above(3.93f, vabs(x)), rounded = t * (1 / ERF_WIDTH) + ROUNDER;
    return (struct reduced){t - (rounded - ROUNDER) * ERF_WIDTH, x, (uvec)rounded};
}

INLINE vec verf(struct reduced x)
{
    vec y = LOOK_UP(erf_steps[COUNT(erf_steps) - 1], x.bits);
    for (int i = COUNT(erf_steps) - 2; i > 0; i--)
        y = y * x.r + LOOK_UP(erf_steps[i], x.bits);
    return with_sign(y * x.r + x.r + LOOK_UP(erf_steps[0], x.bits), x.n);
}
#else
/* With |x| = t + r, t a multiple of 1/32: erf t + r erf' t (1 - t r + (2 t^2 - 1) / 3 r^2), which
 * is Taylor's series, from a table of erf t and erf' t - 1 that also makes up for its rest. (The
 * last row is for NaN, which may ask for any.) */
static const _Alignas(8) real erf_steps[] = {
    0x0.000000p+0f,  0x1.06eba8p-3f,  0x1.20c564p-5f,  0x1.04aa30p-3f,  0x1.207d48p-4f,
    0x1.fbd280p-4f,  0x1.b00812p-4f,  0x1.e565c0p-4f,  0x1.1f5e1ap-3f,  0x1.c62f80p-4f,
    0x1.662a0cp-3f,  0x1.9e5ea0p-4f,  0x1.ac45e4p-3f,  0x1.6e2d80p-4f,  0x1.f190aap-3f,
    0x1.35e2c0p-4f,  0x1.1af54ep-2f,  0x1.eba2c0p-5f,  0x1.3c9aa8p-2f,  0x1.5caa00p-5f,
    0x1.5da9f4p-2f,  0x1.7f4f80p-6f,  0x1.7e1594p-2f,  0x1.57a000p-9f,  0x1.9dd0d4p-2f,
    -0x1.41e640p-6f, 0x1.bccfecp-2f,  -0x1.62a580p-5f, 0x1.db081ep-2f,  -0x1.174c20p-4f,
    0x1.f86faap-2f,  -0x1.81df80p-4f, 0x1.0a7ef6p-1f,  -0x1.f081b0p-4f, 0x1.1855a6p-1f,
    -0x1.315410p-3f, 0x1.25b8a8p-1f,  -0x1.6be2c8p-3f, 0x1.32a54cp-1f,  -0x1.a7a6c0p-3f,
    0x1.3f196ep-1f,  -0x1.e45a58p-3f, 0x1.4b1372p-1f,  -0x1.10dc90p-2f, 0x1.569244p-1f,
    -0x1.2fc01cp-2f, 0x1.619556p-1f,  -0x1.4eb774p-2f, 0x1.6c1c98p-1f,  -0x1.6da37cp-2f,
    0x1.762872p-1f,  -0x1.8c667cp-2f, 0x1.7fb9c0p-1f,  -0x1.aae464p-2f, 0x1.88d1cep-1f,
    -0x1.c902d0p-2f, 0x1.91724ap-1f,  -0x1.e6a93cp-2f, 0x1.999d42p-1f,  -0x1.01e08cp-1f,
    0x1.a1551ap-1f,  -0x1.101aecp-1f, 0x1.a89c86p-1f,  -0x1.1dfa7cp-1f, 0x1.af767ap-1f,
    -0x1.2b7708p-1f, 0x1.b5e630p-1f,  -0x1.388964p-1f, 0x1.bbef10p-1f,  -0x1.452b74p-1f,
    0x1.c194b2p-1f,  -0x1.515816p-1f, 0x1.c6dad2p-1f,  -0x1.5d0b32p-1f, 0x1.cbc54cp-1f,
    -0x1.68419ep-1f, 0x1.d0580cp-1f,  -0x1.72f91cp-1f, 0x1.d49710p-1f,  -0x1.7d3054p-1f,
    0x1.d8865ep-1f,  -0x1.86e6b4p-1f, 0x1.dc29fcp-1f,  -0x1.901c7ap-1f, 0x1.df85eap-1f,
    -0x1.98d290p-1f, 0x1.e29e22p-1f,  -0x1.a10a8ep-1f, 0x1.e5768cp-1f,  -0x1.a8c69ap-1f,
    0x1.e812fcp-1f,  -0x1.b00964p-1f, 0x1.ea7730p-1f,  -0x1.b6d612p-1f, 0x1.eca6ccp-1f,
    -0x1.bd302cp-1f, 0x1.eea556p-1f,  -0x1.c31b92p-1f, 0x1.f07630p-1f,  -0x1.c89c6ep-1f,
    0x1.f21ca0p-1f,  -0x1.cdb71ep-1f, 0x1.f39bc2p-1f,  -0x1.d27034p-1f, 0x1.f4f694p-1f,
    -0x1.d6cc58p-1f, 0x1.f62fe8p-1f,  -0x1.dad048p-1f, 0x1.f74a6ep-1f,  -0x1.de80d0p-1f,
    0x1.f848acp-1f,  -0x1.e1e2b4p-1f, 0x1.f92d08p-1f,  -0x1.e4faacp-1f, 0x1.f9f9bap-1f,
    -0x1.e7cd68p-1f, 0x1.fab0dep-1f,  -0x1.ea5f72p-1f, 0x1.fb5464p-1f,  -0x1.ecb53cp-1f,
    0x1.fbe61ep-1f,  -0x1.eed314p-1f, 0x1.fc67bcp-1f,  -0x1.f0bd1ep-1f, 0x1.fcdaccp-1f,
    -0x1.f27750p-1f, 0x1.fd40bep-1f,  -0x1.f40574p-1f, 0x1.fd9ae2p-1f,  -0x1.f56b24p-1f,
    0x1.fdea6ep-1f,  -0x1.f6abc6p-1f, 0x1.fe3080p-1f,  -0x1.f7ca90p-1f, 0x1.fe6e18p-1f,
    -0x1.f8ca84p-1f, 0x1.fea422p-1f,  -0x1.f9ae76p-1f, 0x1.fed374p-1f,  -0x1.fa7906p-1f,
    0x1.fefccep-1f,  -0x1.fb2ca0p-1f, 0x1.ff20e0p-1f,  -0x1.fbcb8ap-1f, 0x1.ff4048p-1f,
    -0x1.fc57d8p-1f, 0x1.ff5b90p-1f,  -0x1.fcd372p-1f, 0x1.ff7338p-1f,  -0x1.fd401cp-1f,
    0x1.ff87b2p-1f,  -0x1.fd9f6cp-1f, 0x1.ff9960p-1f,  -0x1.fdf2dcp-1f, 0x1.ffa8a0p-1f,
    -0x1.fe3bbep-1f, 0x1.ffb5bep-1f,  -0x1.fe7b46p-1f, 0x1.ffc102p-1f,  -0x1.feb288p-1f,
    0x1.ffcaa8p-1f,  -0x1.fee27cp-1f, 0x1.ffd2eap-1f,  -0x1.ff0c06p-1f, 0x1.ffd9f8p-1f,
    -0x1.ff2feep-1f, 0x1.ffdffap-1f,  -0x1.ff4ee6p-1f, 0x1.ffe514p-1f,  -0x1.ff698cp-1f,
    0x1.ffe96ap-1f,  -0x1.ff8070p-1f, 0x1.ffed16p-1f,  -0x1.ff940ep-1f, 0x1.fff032p-1f,
    -0x1.ffa4d6p-1f, 0x1.fff2d0p-1f,  -0x1.ffb328p-1f, 0x1.fff504p-1f,  -0x1.ffbf5ap-1f,
    0x1.fff6dep-1f,  -0x1.ffc9b8p-1f, 0x1.fff86cp-1f,  -0x1.ffd284p-1f, 0x1.fff9bap-1f,
    -0x1.ffd9f6p-1f, 0x1.fffad0p-1f,  -0x1.ffe040p-1f, 0x1.fffbb8p-1f,  -0x1.ffe58cp-1f,
    0x1.fffc7ap-1f,  -0x1.ffea02p-1f, 0x1.fffd1ap-1f,  -0x1.ffedc0p-1f, 0x1.fffda0p-1f,
    -0x1.fff0e2p-1f, 0x1.fffe0ep-1f,  -0x1.fff382p-1f, 0x1.fffe68p-1f,  -0x1.fff5b0p-1f,
    0x1.fffeb4p-1f,  -0x1.fff784p-1f, 0x1.fffef2p-1f,  -0x1.fff906p-1f, 0x1.ffff24p-1f,
    -0x1.fffa48p-1f, 0x1.ffff4ep-1f,  -0x1.fffb52p-1f, 0x1.ffff70p-1f,  -0x1.fffc2cp-1f,
    0x1.ffff8cp-1f,  -0x1.fffce2p-1f, 0x1.ffffa2p-1f,  -0x1.fffd76p-1f, 0x1.ffffb4p-1f,
    -0x1.fffdf0p-1f, 0x1.ffffc4p-1f,  -0x1.fffe54p-1f, 0x1.ffffd0p-1f,  -0x1.fffea6p-1f,
    0x1.ffffd8p-1f,  -0x1.fffee8p-1f, 0x1.ffffe0p-1f,  -0x1.ffff1ep-1f, 0x1.ffffe8p-1f,
    -0x1.ffff4ap-1f, 0x1.ffffecp-1f,  -0x1.ffff6ep-1f, 0x1.fffff0p-1f,  -0x1.ffff8cp-1f,
    0x1.fffff4p-1f,  -0x1.ffffa2p-1f, 0x1.fffff6p-1f,  -0x1.ffffb6p-1f, 0x1.fffff8p-1f,
    -0x1.ffffc4p-1f, 0x1.fffffap-1f,  -0x1.ffffd0p-1f, 0x1.fffffcp-1f,  -0x1.ffffdap-1f,
    0x1.fffffcp-1f,  -0x1.ffffe2p-1f, 0x1.fffffep-1f,  -0x1.ffffe8p-1f, 0x1.fffffep-1f,
    -0x1.ffffeep-1f, 0x1.fffffep-1f,  -0x1.fffff2p-1f, 0x1.fffffep-1f,  -0x1.fffff4p-1f,
    0x1.fffffep-1f,  -0x1.fffff8p-1f, 0x1.000000p+0f,  -0x1.fffffap-1f, 0x1.000000p+0f,
    -0x1.000000p+0f};

/* Two rows of the table, by their first elements */
INLINE vec two_rows(size_t first, size_t second)
{
    typedef double row __attribute__((may_alias));
    typedef double rows __attribute__((vector_size(VECTOR_BYTES)));
    return (vec)(rows){*(const row *)(erf_steps + first), *(const row *)(erf_steps + second)};
}

INLINE struct reduced reduce_erf(vec x)
{
    const real rounder = ROUNDER / 32;
    vec a = not_above(3.9375f, vabs(x)), rounded = a + rounder, t = rounded - rounder, r = a - t;
    vec bend = ((t * t * R(0.6666667) - R(0.33333333)) * r - t) * r;
    return (struct reduced){bend * r + r, x, 2 * (uvec)rounded & 254};
}

INLINE vec verf(struct reduced x)
{
    vec low = two_rows(x.bits[0], x.bits[1]), high = two_rows(x.bits[2], x.bits[3]);
    vec value = __builtin_shufflevector(low, high, 0, 2, 4, 6);
    vec slope = __builtin_shufflevector(low, high, 1, 3, 5, 7);
    return with_sign(x.r * slope + x.r + value, x.n);
}
#endif

#endif
