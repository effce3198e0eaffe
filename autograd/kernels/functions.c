/* Element-wise kernels of mathematical functions. Each function of a register is made a kernel by
 * one mechanism, which works on two registers at a time. */
#include "internal.h"
#include "lanes.h"
#include "vmath.h"
#include "vmath_log.h"
#include "vmath_trig.h"

enum { PAIR = 2 * LANES };

INLINE bool any_sign(uvec bits)
{
#if VECTOR_BYTES == 64
    return X86_MASK(test)((__m512i)bits, (__m512i)((uvec){0} + SIGN_BIT)) != 0;
#elif defined(X86)
    return X86(movemask)((vec)bits) != 0;
#else
    natural any = 0;
    for (int i = 0; i < LANES; i++)
        any |= bits[i];
    return any & SIGN_BIT;
#endif
}

/* A function of a register and of constants, where it has any. */
struct constants {
    vec a, b;
};
typedef vec function(vec x, struct constants constants);

/* Returns how many elements were done: it stops before the first two registers with an argument
 * that is unusual, if that makes a difference. The last two may overlap. */
INLINE size_t usual_span(size_t n, const real *x, real *y, struct constants constants, function *f,
                         uvec (*unusual)(vec x))
{
    for (size_t i = 0; i < n; i += PAIR) {
        size_t left = n - i < PAIR ? n - i : PAIR, some = left < LANES ? left : LANES;
        vec a = load_part(x + i, some), b = left < LANES ? a : load(x + i + left - LANES);
        uvec signs = unusual ? unusual(a) | unusual(b) : (uvec){0};
        a = f(a, constants);
        b = f(b, constants);
        if (unusual && any_sign(signs))
            return i;
        store_part(y + i, a, some);
        if (left >= LANES)
            store(y + i + left - LANES, b);
    }
    return n;
}

/* The same for all arguments, but one register at a time: for what is seldom run. */
INLINE void any_span(size_t n, const real *x, real *y, vec (*f)(vec x))
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        store_part(y + i, f(load_part(x + i, some)), some);
    }
}

#define FUNCTION(name, expression)                                                                 \
    INLINE vec f_##name(vec x, struct constants constants)                                         \
    {                                                                                              \
        (void)constants;                                                                           \
        return expression;                                                                         \
    }

#define KERNEL_OF(name)                                                                            \
    FUNCTION(name, v##name(x))                                                                     \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        usual_span(n, x, y, (struct constants){{0}, {0}}, f_##name, NULL);                         \
    }

#define QUICK_KERNEL_OF(name, unusual)                                                             \
    FUNCTION(name, quick_##name(x))                                                                \
    static NOINLINE void any_##name(size_t n, const real *x, real *y)                              \
    {                                                                                              \
        any_span(n, x, y, v##name);                                                                \
    }                                                                                              \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        const struct constants none = {{0}, {0}};                                                  \
        size_t done = usual_span(n, x, y, none, f_##name, unusual);                                \
        (void)p;                                                                                   \
        if (done < n)                                                                              \
            any_##name(n - done, (const real *)x + done, (real *)y + done);                        \
    }

#ifdef SCALES
KERNEL_OF(exp)
KERNEL_OF(log)
KERNEL_OF(sigmoid)
#else
QUICK_KERNEL_OF(exp, unusual_exp)
QUICK_KERNEL_OF(log, unusual_log)
QUICK_KERNEL_OF(sigmoid, unusual_exp)
#endif
KERNEL_OF(tanh)
KERNEL_OF(erf)

INLINE vec f_trig(vec x, struct constants constants)
{
    return trig_usual(x, (uvec)constants.a, (uvec)constants.b);
}

static NOINLINE size_t usual_trig(size_t n, const real *x, real *y, bool is_cos)
{
    const struct constants constants = {(vec)((uvec){0} + (natural)is_cos),
                                        (vec)((uvec){0} + (is_cos ? 0 : SIGN_BIT))};
    return usual_span(n, x, y, constants, f_trig, unusual_trig);
}

/* Runs of usual arguments, others one by one by libm. */
static NOINLINE void trig(size_t n, const real *x, real *y, bool is_cos)
{
    size_t i = usual_trig(n, x, y, is_cos);
    for (size_t end = i; i < n; i = ++end) {
        while (end < n && LIBM(fabs)(x[end]) <= MOST_USUAL)
            end++;
        usual_trig(end - i, x + i, y + i, is_cos);
        if (end < n)
            y[end] = is_cos ? LIBM(cos)(x[end]) : LIBM(sin)(x[end]);
    }
}

void KERNEL(unary_sin)(size_t n, const void *x, void *y, const double p[2])
{
    (void)p;
    trig(n, x, y, false);
}

void KERNEL(unary_cos)(size_t n, const void *x, void *y, const double p[2])
{
    (void)p;
    trig(n, x, y, true);
}

INLINE vec f_affine(vec x, struct constants constants)
{
    return x * constants.a + constants.b;
}

void KERNEL(unary_affine)(size_t n, const void *x, void *y, const double p[2])
{
    const struct constants constants = {splat((real)p[0]), splat((real)p[1])};
    usual_span(n, x, y, constants, f_affine, NULL);
}
