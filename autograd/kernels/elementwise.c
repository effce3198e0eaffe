/* Element-wise kernels. Each function of one or two registers is made a kernel by one mechanism:
 * unary_span and binary_span turn a register function into a loop over a contiguous run, and
 * broadcast turns rows with strides into such runs.
 *
 * A run that is not a whole number of registers ends with one that overlaps its neighbour: it is
 * loaded before the loop, which may be working in place, and goes through the loop like the others,
 * so that each element is computed by the same instructions wherever it stands. */
#include "internal.h"
#include "lanes.h"
#include "vmath.h"
#include "vmath_log.h"
#include "vmath_trig.h"

enum { PAIR = 2 * LANES };

typedef void unary_run(size_t n, const real *x, real *y);

INLINE bool any_sign(uvec bits)
{
#if VECTOR_BYTES == 64 && KERNEL_BITS == 32
    return _mm512_movepi32_mask((__m512i)bits) != 0;
#elif VECTOR_BYTES == 64
    return _mm512_movepi64_mask((__m512i)bits) != 0;
#elif defined(X86)
    return X86(movemask)((vec)bits) != 0;
#else
    natural any = 0;
    for (int i = 0; i < LANES; i++)
        any |= bits[i];
    return any & SIGN_BIT;
#endif
}

/* Two registers at a time. The first with an argument that is unusual, if that makes a difference,
 * and all after it are left to `rest`. */
INLINE void unary_span(size_t n, const real *x, real *y, const double *p,
                       vec (*f)(vec x, const double *p), uvec (*unusual)(vec x), unary_run *rest)
{
    for (; n > 0; n -= n < PAIR ? n : PAIR, x += PAIR, y += PAIR) {
        size_t left = n < PAIR ? n : PAIR, some = n < LANES ? n : LANES;
        vec a = load_part(x, some), b = n < LANES ? a : load(x + left - LANES);
        uvec signs = unusual ? unusual(a) | unusual(b) : (uvec){0};
        a = f(a, p);
        b = f(b, p);
        if (unusual && any_sign(signs)) {
            rest(n, x, y);
            return;
        }
        store_part(y, a, some);
        if (n >= LANES)
            store(y + left - LANES, b);
    }
}

#define UNARY_FUNCTION(name, expression)                                                           \
    INLINE vec f_##name(vec x, const double *p)                                                    \
    {                                                                                              \
        (void)p;                                                                                   \
        return expression;                                                                         \
    }

#define UNARY(name, expression)                                                                    \
    UNARY_FUNCTION(name, expression)                                                               \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        unary_span(n, x, y, NULL, f_##name, NULL, NULL);                                           \
    }

#define UNARY_QUICK(name, unusual)                                                                 \
    UNARY_FUNCTION(quick_##name, quick_##name(x))                                                  \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        unary_span(n, x, y, NULL, f_quick_##name, unusual, rest_##name);                           \
    }

#define UNARY_WHOLE(name)                                                                          \
    UNARY_FUNCTION(name, v##name(x))                                                               \
    static NOINLINE void rest_##name(size_t n, const real *x, real *y)                             \
    {                                                                                              \
        unary_span(n, x, y, NULL, f_##name, NULL, NULL);                                           \
    }

/* Runs of usual arguments by the kernel, others by libm. */
static NOINLINE void rest_trig(size_t n, const real *x, real *y,
                               void (*kernel)(size_t, const void *, void *, const double *),
                               real (*f)(real))
{
    for (size_t i = 0, end = 0; i < n; i = ++end) {
        while (end < n && LIBM(fabs)(x[end]) <= MOST_USUAL)
            end++;
        kernel(end - i, x + i, y + i, NULL);
        if (end < n)
            y[end] = f(x[end]);
    }
}

static void rest_sin(size_t n, const real *x, real *y)
{
    rest_trig(n, x, y, KERNEL(unary_sin), LIBM(sin));
}

static void rest_cos(size_t n, const real *x, real *y)
{
    rest_trig(n, x, y, KERNEL(unary_cos), LIBM(cos));
}

UNARY(neg, -x)
#ifdef SCALES
UNARY(exp, vexp(x))
UNARY(log, vlog(x))
UNARY(sigmoid, vsigmoid(x))
#else
UNARY_WHOLE(exp)
UNARY_WHOLE(log)
UNARY_WHOLE(sigmoid)
UNARY_QUICK(exp, unusual_exp)
UNARY_QUICK(log, unusual_log)
UNARY_QUICK(sigmoid, unusual_exp)
#endif
UNARY(sqrt, vsqrt(x))
UNARY(square, x *x)
UNARY(tanh, vtanh(x))
UNARY(relu, blend(x <= 0, splat(0), x))
UNARY(reciprocal, 1 / x)
UNARY(abs, vabs(x))
UNARY(sign, blend(x > 0, splat(1), blend(x < 0, splat(-1), x)))
UNARY(erf, verf(x))
UNARY_QUICK(sin, unusual_trig)
UNARY_QUICK(cos, unusual_trig)

INLINE vec f_affine(vec x, const double *p)
{
    return x * (real)p[0] + (real)p[1];
}

void KERNEL(unary_affine)(size_t n, const void *x, void *y, const double p[2])
{
    const double constants[2] = {p[0], p[1]};
    unary_span(n, x, y, constants, f_affine, NULL, NULL);
}

void KERNEL(fill)(size_t n, double value, void *y)
{
    real *to = y;
    vec v = splat((real)value);
    for (; n > LANES; n -= LANES, to += LANES)
        store(to, v);
    if (n)
        store_part(to, v, n);
}

/* A run of n elements of z. Inputs that one has not are the first again; bit i of `many` tells that
 * input i has n elements, too, and not one for all of them. */
typedef void ternary_run(size_t n, const real *x, const real *y, const real *c, unsigned many,
                         real *z);

INLINE void ternary_span(size_t n, const real *x, const real *y, const real *c, unsigned many,
                         real *z, vec (*f)(vec x, vec y, vec c))
{
#define INPUT(x, bit, load) (many & bit ? load : one_##x)
    const vec one_x = splat(*x), one_y = splat(*y), one_c = splat(*c);
    size_t i = 0;
    for (; n - i >= PAIR; i += PAIR) {
        vec x0 = INPUT(x, 1, load(x + i)), x1 = INPUT(x, 1, load(x + i + LANES));
        vec y0 = INPUT(y, 2, load(y + i)), y1 = INPUT(y, 2, load(y + i + LANES));
        vec c0 = INPUT(c, 4, load(c + i)), c1 = INPUT(c, 4, load(c + i + LANES));
        store(z + i, f(x0, y0, c0));
        store(z + i + LANES, f(x1, y1, c1));
    }
    while (i < n) {
        size_t some = n - i < LANES ? n - i : LANES;
        vec x0 = INPUT(x, 1, load_part(x + i, some));
        vec y0 = INPUT(y, 2, load_part(y + i, some));
        vec c0 = INPUT(c, 4, load_part(c + i, some));
        store_part(z + i, f(x0, y0, c0), some);
        i += some;
    }
}

/* Rows narrower than this, if there are more than a few, are gathered into runs before they are
 * worked on. */
enum { NARROW = 4 * LANES, FEW = 8, GATHERED = 32 * LANES };

/* Writes rows of an operand one behind the other; may write up to a register too much. */
static NOINLINE void gather(const struct operand *x, size_t rows, size_t cols, real *to)
{
    const real *from = x->data;
    if (x->row == 0) {
        memcpy(to, from, cols * sizeof(real));
        for (size_t done = cols, all = rows * cols; done < all;) {
            size_t more = done < all - done ? done : all - done;
            memcpy(to + done, to, more * sizeof(real));
            done += more;
        }
        return;
    }
    for (size_t r = 0; r < rows; r++, from += x->row, to += cols) {
        if (x->col == 1)
            memcpy(to, from, cols * sizeof(real));
        else
            for (size_t c = 0; c < cols; c += LANES)
                store(to + c, splat(*from));
    }
}

/* Several rows of an operand are one run of elements, or one element. */
INLINE bool is_run(const struct operand *x, size_t cols)
{
    return (x->row == (ptrdiff_t)cols && (x->col == 1 || cols == 1)) ||
           (x->row == 0 && (x->col == 0 || cols == 1));
}

static NOINLINE void narrow_rows(ternary_run *f, size_t rows, size_t cols, const struct operand *x,
                                 const struct operand *y, const struct operand *c, real *z)
{
    real gathered[3][GATHERED + LANES];
    const struct operand *in[3] = {x, y, c};
    const int inputs = c == x ? 2 : 3;
    size_t most = GATHERED / cols;
    for (size_t r = 0; r < rows; r += most) {
        size_t some = most < rows - r ? most : rows - r;
        const real *at[3];
        unsigned many = 0;
        for (int i = 0; i < inputs; i++) {
            struct operand rest = *in[i];
            rest.data = at[i] = (const real *)rest.data + (ptrdiff_t)r * rest.row;
            if (is_run(&rest, cols)) {
                many |= (unsigned)(rest.row != 0) << i;
                continue;
            }
            if (r == 0 || rest.row != 0)
                gather(&rest, some, cols, gathered[i]);
            at[i] = gathered[i];
            many |= 1u << i;
        }
        f(some * cols, at[0], at[1], at[inputs == 3 ? 2 : 0], many, z + r * cols);
    }
}

/* All of several rows as one run where the strides allow it, else some at a time. */
static NOINLINE void broadcast(ternary_run *f, size_t rows, size_t cols, const struct operand *x,
                               const struct operand *y, const struct operand *c, real *z)
{
    if (rows == 0 || cols == 0)
        return;
    if (is_run(x, cols) && is_run(y, cols) && is_run(c, cols)) {
        unsigned many = (x->row != 0) | (y->row != 0) << 1 | (c->row != 0) << 2;
        f(rows * cols, x->data, y->data, c->data, many, z);
    } else if (cols < NARROW && rows > FEW) {
        narrow_rows(f, rows, cols, x, y, c, z);
    } else {
        const real *at[3] = {x->data, y->data, c->data};
        unsigned many = (unsigned)(x->col | y->col << 1 | c->col << 2);
        for (size_t r = 0; r < rows; r++) {
            f(cols, at[0], at[1], at[2], many, z);
            at[0] += x->row;
            at[1] += y->row;
            at[2] += c->row;
            z += cols;
        }
    }
}

#define BINARY(name, expression)                                                                   \
    INLINE vec f_##name(vec x, vec y, vec unused)                                                  \
    {                                                                                              \
        (void)unused;                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static NOINLINE void run_##name(size_t n, const real *x, const real *y, const real *c,         \
                                    unsigned many, real *z)                                        \
    {                                                                                              \
        ternary_span(n, x, y, c, many, z, f_##name);                                               \
    }                                                                                              \
    void KERNEL(binary_##name)(size_t rows, size_t cols, struct operand x, struct operand y,       \
                               void *z)                                                            \
    {                                                                                              \
        if (rows == 1 && cols > 0)                                                                 \
            run_##name(cols, x.data, y.data, x.data, (unsigned)(x.col | y.col << 1), z);           \
        else                                                                                       \
            broadcast(run_##name, rows, cols, &x, &y, &x, z);                                      \
    }

static NOINLINE void pow_lanes(real *x, const real *y)
{
    for (int i = 0; i < LANES; i++)
        x[i] = LIBM(pow)(x[i], y[i]);
}

INLINE vec vpow(vec x, vec y)
{
    real base[LANES], exponent[LANES];
    store(base, x);
    store(exponent, y);
    pow_lanes(base, exponent);
    return load(base);
}

BINARY(add, x + y)
BINARY(sub, x - y)
BINARY(mul, x *y)
BINARY(div, x / y)
BINARY(pow, vpow(x, y))
BINARY(maximum, maximum(x, y))
BINARY(minimum, minimum(x, y))
BINARY(greater, blend(x > y, splat(1), splat(0)))
BINARY(sigmoid_slope, x *(y *(1 - y)))
BINARY(tanh_slope, x *(1 - y * y))
BINARY(relu_slope, blend(y > 0, x, splat(0)))

INLINE vec f_where(vec condition, vec x, vec y)
{
    return blend(condition != 0, x, y);
}

static NOINLINE void run_where(size_t n, const real *x, const real *y, const real *c, unsigned many,
                               real *z)
{
    ternary_span(n, x, y, c, many, z, f_where);
}

void KERNEL(where)(size_t rows, size_t cols, struct operand condition, struct operand x,
                   struct operand y, void *z)
{
    unsigned many = (unsigned)(condition.col | x.col << 1 | y.col << 2);
    if (rows == 1 && cols > 0)
        run_where(cols, condition.data, x.data, y.data, many, z);
    else
        broadcast(run_where, rows, cols, &condition, &x, &y, z);
}
