/* Element-wise kernels of mathematical functions: each function of a register is made a kernel by
 * one mechanism. */
#include "internal.h"
#include "lanes.h"
#include "vmath.h"
#include "vmath_erf.h"
#include "vmath_log.h"
#include "vmath_trig.h"

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

/* A function in two halves, and constants, where it has any. */
struct constants {
    vec a, b;
};
typedef struct reduced reduction(vec x, struct constants constants);
typedef vec evaluation(struct reduced x, struct constants constants);

/* Returns how many elements were done: it stops before registers with an argument that is unusual,
 * if that makes a difference. */
INLINE size_t span(size_t n, const real *x, real *y, struct constants constants, reduction *reduce,
                   evaluation *evaluate, uvec (*unusual)(vec x))
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = load_part(x + i, n - i);
        uvec signs = unusual ? unusual(v) : (uvec){0};
        v = evaluate(reduce(v, constants), constants);
        if (unusual && any_sign(signs))
            return i;
        store_part(y + i, v, n - i);
    }
    return n;
}

#ifdef SCALES
#define span_by_halves span
#else
/* So many registers are reduced before the first is evaluated: where both halves together are a
 * chain so long that the processor cannot look far enough ahead to find other work while it waits.
 * (More than compilers write out.) */
enum { AT_ONCE = 32 };

INLINE size_t span_by_halves(size_t n, const real *x, real *y, struct constants constants,
                             reduction *reduce, evaluation *evaluate, uvec (*unusual)(vec x))
{
    for (size_t done = 0; done < n;) {
        struct reduced reduced[AT_ONCE];
        uvec signs = {0};
        size_t count = 0;
        for (size_t i = done; i < n && count < AT_ONCE; i += LANES) {
            vec v = load_part(x + i, n - i);
            if (unusual)
                signs |= unusual(v);
            reduced[count++] = reduce(v, constants);
        }
        if (unusual && any_sign(signs))
            return done;
        for (size_t j = 0; j < count; j++, done += LANES)
            store_part(y + done, evaluate(reduced[j], constants), n - done);
    }
    return n;
}
#endif

#define FUNCTION(name)                                                                             \
    INLINE struct reduced f_reduce_##name(vec x, struct constants constants)                       \
    {                                                                                              \
        (void)constants;                                                                           \
        return reduce_##name(x);                                                                   \
    }                                                                                              \
    INLINE vec f_##name(struct reduced x, struct constants constants)                              \
    {                                                                                              \
        (void)constants;                                                                           \
        return v##name(x);                                                                         \
    }

#define KERNEL_OF(name)                                                                            \
    FUNCTION(name)                                                                                 \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        span_by_halves(n, x, y, (struct constants){{0}, {0}}, f_reduce_##name, f_##name, NULL);    \
    }

/* A function that does the usual arguments of a run up to the first other one, how many it tells;
 * usual ones are from least to most, and others are left to `rest`. */
struct partial {
    size_t (*usual)(size_t n, const real *x, real *y);
    real least, most, (*rest)(real x);
};

static SELDOM void finish(size_t n, size_t i, const real *x, real *y, const struct partial *p)
{
    for (size_t end = i; i < n; i = ++end) {
        while (end < n && x[end] >= p->least && x[end] <= p->most)
            end++;
        if (end > i)
            p->usual(end - i, x + i, y + i);
        if (end < n)
            y[end] = p->rest(x[end]);
    }
}

#define PARTIAL_KERNEL_OF(name, least, most)                                                       \
    static const struct partial partial_##name = {usual_##name, least, most, rest_##name};         \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        size_t done = usual_##name(n, x, y);                                                       \
        (void)p;                                                                                   \
        if (done < n)                                                                              \
            finish(n, done, x, y, &partial_##name);                                                \
    }

#ifdef SCALES
KERNEL_OF(exp)
KERNEL_OF(log)
KERNEL_OF(sigmoid)
#else
#define USUAL(name, span, unusual)                                                                 \
    FUNCTION(name)                                                                                 \
    static NOINLINE size_t usual_##name(size_t n, const real *x, real *y)                          \
    {                                                                                              \
        return span(n, x, y, (struct constants){{0}, {0}}, f_reduce_##name, f_##name, unusual);    \
    }

USUAL(exp, span_by_halves, unusual_exp)
USUAL(log, span, unusual_log)
USUAL(sigmoid, span_by_halves, unusual_exp)

static real rest_exp(real x)
{
    return x < EXP_LEAST ? 0 : LIBM(exp)(x);
}

static real rest_log(real x)
{
    return LIBM(log)(x);
}

static real rest_sigmoid(real x)
{
    return x < 0 ? rest_exp(x) : x > 0 ? 1 : x;
}

PARTIAL_KERNEL_OF(exp, -EXP_USUAL, EXP_USUAL)
PARTIAL_KERNEL_OF(log, LEAST_NORMAL, MOST_FINITE)
PARTIAL_KERNEL_OF(sigmoid, -EXP_USUAL, EXP_USUAL)
#endif
KERNEL_OF(tanh)
KERNEL_OF(erf)

INLINE struct reduced f_reduce_trig(vec x, struct constants constants)
{
    return reduce_trig(x, (uvec)constants.a);
}

INLINE vec f_trig(struct reduced x, struct constants constants)
{
    (void)constants;
    return vtrig(x);
}

static NOINLINE size_t usual_trig(size_t n, const real *x, real *y, natural quarters)
{
    const struct constants constants = {(vec)((uvec){0} + quarters), {0}};
    return span_by_halves(n, x, y, constants, f_reduce_trig, f_trig, unusual_trig);
}

static size_t usual_sin(size_t n, const real *x, real *y)
{
    return usual_trig(n, x, y, 0);
}

static size_t usual_cos(size_t n, const real *x, real *y)
{
    return usual_trig(n, x, y, 1);
}

static real rest_sin(real x)
{
    return LIBM(sin)(x);
}

static real rest_cos(real x)
{
    return LIBM(cos)(x);
}

PARTIAL_KERNEL_OF(sin, -MOST_USUAL, MOST_USUAL)
PARTIAL_KERNEL_OF(cos, -MOST_USUAL, MOST_USUAL)

INLINE struct reduced f_reduce_affine(vec x, struct constants constants)
{
    return (struct reduced){x * constants.a + constants.b, {0}, {0}};
}

INLINE vec f_affine(struct reduced x, struct constants constants)
{
    (void)constants;
    return x.r;
}

void KERNEL(unary_affine)(size_t n, const void *x, void *y, const double p[2])
{
    const struct constants constants = {splat((real)p[0]), splat((real)p[1])};
    span(n, x, y, constants, f_reduce_affine, f_affine, NULL);
}
