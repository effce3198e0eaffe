/* What a kernel source sees of its build: each is compiled once for every pair of element type and
 * instruction set, with KERNEL_BITS (32 or 64: the element type), KERNEL_ISA (a name: baseline,
 * avx2, avx512) and VECTOR_BYTES (16, 32, 64: the width of a register) defined by the build. */
#ifndef TAPEGRAD_KERNELS_SIMD_H
#define TAPEGRAD_KERNELS_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "kernels.h"

#if KERNEL_BITS == 32
typedef float real;
typedef int32_t integer;
typedef uint32_t natural;
#define LIBM(name) name##f
#else
typedef double real;
typedef int64_t integer;
typedef uint64_t natural;
#define LIBM(name) name
#endif

/* Registers of reals and of integers of the same width. A comparison of reals gives an ivec: all
 * ones where true. A cast between them keeps the bits. */
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef natural uvec __attribute__((vector_size(VECTOR_BYTES)));

enum { LANES = VECTOR_BYTES / sizeof(real) };

/* The same as one token, for the preprocessor. */
#if VECTOR_BYTES * 8 == 2 * KERNEL_BITS
#define LANE_COUNT 2
#elif VECTOR_BYTES * 8 == 4 * KERNEL_BITS
#define LANE_COUNT 4
#elif VECTOR_BYTES * 8 == 8 * KERNEL_BITS
#define LANE_COUNT 8
#else
#define LANE_COUNT 16
#endif

/* For functions that take a function or a flag that is constant where they are called. */
#define INLINE static inline __attribute__((always_inline))
/* For what is too long to repeat, and for what is not run often enough to be made fast, but small.
 */
#define NOINLINE __attribute__((noinline))
#define SELDOM   __attribute__((noinline, cold))

/* A kernel's symbol in this build: KERNEL(matmul) is matmul_avx2_32, say. */
#define KERNEL_JOIN_(name, isa, bits) name##_##isa##_##bits
#define KERNEL_JOIN(name, isa, bits)  KERNEL_JOIN_(name, isa, bits)
#define KERNEL(name)                  KERNEL_JOIN(name, KERNEL_ISA, KERNEL_BITS)

/* A loop that is unrolled whole, so that arrays within become registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define foreach(i, count) UNROLL for (size_t i = 0; i < (count); i++)

INLINE vec load(const real *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(real *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vec splat(real x)
{
    return x - (vec){0};
}

INLINE vec blend(ivec mask, vec yes, vec no)
{
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* An intrinsic for a register of reals: X86(max)(a, b). The compilers find most instructions on
 * their own; this is for the rest. */
#ifdef __SSE2__
#if VECTOR_BYTES == 64
#if LANE_COUNT == 16
typedef __mmask16 lane_mask;
#else
typedef __mmask8 lane_mask;
#endif
#define X86_WIDTH _mm512
#elif VECTOR_BYTES == 32
#define X86_WIDTH _mm256
#else
#define X86_WIDTH _mm
#endif
#if KERNEL_BITS == 32
#define X86(name)      X86_JOIN(X86_WIDTH, name, ps)
#define X86_MASK(name) X86_JOIN(X86_WIDTH, name, epi32_mask)
#else
#define X86(name)      X86_JOIN(X86_WIDTH, name, pd)
#define X86_MASK(name) X86_JOIN(X86_WIDTH, name, epi64_mask)
#endif
#define X86_JOIN_(width, name, type) width##_##name##_##type
#define X86_JOIN(width, name, type)  X86_JOIN_(width, name, type)
#endif

/* x y + z, rounded once where there is an instruction for that: compilers are free to fuse the two
 * operations or not, and some results are only right, or the same everywhere, if they are. */
INLINE vec multiply_add(vec x, vec y, vec z)
{
#if defined(X86) && defined(__FMA__)
    return (vec)X86(fmadd)(x, y, z);
#else
    return x * y + z;
#endif
}

/* x or the bound, whichever is nearer to the allowed; NaN stays NaN. */
INLINE vec not_below(real bound, vec x)
{
#ifdef X86
    return (vec)X86(max)(splat(bound), x);
#else
    return blend(x < bound, splat(bound), x);
#endif
}

INLINE vec not_above(real bound, vec x)
{
#ifdef X86
    return (vec)X86(min)(splat(bound), x);
#else
    return blend(x > bound, splat(bound), x);
#endif
}

INLINE vec vsqrt(vec x)
{
#ifdef X86
    return (vec)X86(sqrt)(x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = LIBM(sqrt)(x[i]);
    return x;
#endif
}

/* x through the slope of an activation whose value was y: the same bits in a product as alone. */
INLINE vec sigmoid_slope(vec x, vec y)
{
    return x * (y * (1 - y));
}

INLINE vec tanh_slope(vec x, vec y)
{
    return x * (1 - y * y);
}

INLINE vec relu_slope(vec x, vec y)
{
    return blend(y > 0, x, splat(0));
}

/* NaN where either is NaN. */
INLINE vec maximum(vec a, vec b)
{
    return blend((a > b) | (a != a), a, b);
}

INLINE vec minimum(vec a, vec b)
{
    return blend((a < b) | (a != a), a, b);
}

#endif
