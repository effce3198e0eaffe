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
    for (size_t i = 0; i < n; i += PAIR) {
        vec a, b;
        if (n - i >= PAIR) {
            a = load(x + i);
            b = load(x + i + LANES);
        } else if (n - i >= LANES) {
            a = load(x + i);
            b = load(x + n - LANES);
        } else {
            a = b = load_part(x + i, n - i);
        }
        uvec signs = unusual ? unusual(a) | unusual(b) : (uvec){0};
        a = f(a, p);
        b = f(b, p);
        if (unusual && any_sign(signs)) {
            rest(n - i, x + i, y + i);
            return;
        }
        if (n - i >= PAIR) {
            store(y + i, a);
            store(y + i + LANES, b);
        } else if (n - i >= LANES) {
            store(y + i, a);
            store(y + n - LANES, b);
        } else {
            store_part(y + i, a, n - i);
        }
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
    UNARY_FUNCTION(name, v##name(x))                                                               \
    UNARY_FUNCTION(quick_##name, quick_##name(x))                                                  \
    static NOINLINE void rest_##name(size_t n, const real *x, real *y)                             \
    {                                                                                              \
        unary_span(n, x, y, NULL, f_##name, NULL, NULL);                                           \
    }                                                                                              \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        unary_span(n, x, y, NULL, f_quick_##name, unusual, rest_##name);                           \
    }

UNARY(neg, -x)
#ifdef SCALES
UNARY(exp, vexp(x))
UNARY(log, vlog(x))
UNARY(sigmoid, vsigmoid(x))
#else
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
    for (size_t i = 0; i < n; i++)
        to[i] = (real)value;
}

/* An input of a run has as many elements as the run or one for all of them: bit i of `many` tells
 * it of in[i]. */
typedef void span(size_t n, const real *const in[], unsigned many, real *z);

INLINE vec part_of(const real *x, bool many, size_t n)
{
    return many ? load_part(x, n) : splat(*x);
}

INLINE vec input_at(const real *x, bool many, size_t i)
{
    return many ? load(x + i) : splat(*x);
}

/* As unary_span for n >= LANES; f's inputs that one has not are the first again. */
INLINE void span3(size_t n, const real *const in[3], unsigned many, real *z,
                  vec (*f)(vec a, vec b, vec c))
{
    const real *x = in[0], *y = in[1], *c = in[2];
    const bool x_many = many & 1, y_many = many & 2, c_many = many & 4;
    const size_t end = n - LANES;
    vec last = f(input_at(x, x_many, end), input_at(y, y_many, end), input_at(c, c_many, end));
    for (size_t i = 0; i < end; i += LANES)
        store(z + i, f(input_at(x, x_many, i), input_at(y, y_many, i), input_at(c, c_many, i)));
    store(z + end, last);
}

/* Rows narrower than this are gathered into runs before they are worked on. */
enum { NARROW = 4 * LANES, GATHERED = 32 * LANES };

INLINE bool is_scalar(const struct operand *x)
{
    return x->row == 0 && x->col == 0;
}

INLINE bool is_contiguous(const struct operand *x, size_t cols)
{
    return x->row == (ptrdiff_t)cols && x->col == 1;
}

/* Writes rows of an operand one behind the other; may write up to a register too much. */
static void gather(const struct operand *x, size_t rows, size_t cols, real *to)
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

static void narrow_rows(span *f, size_t rows, size_t cols, int inputs, struct operand *x, real *z)
{
    real gathered[3][GATHERED + LANES];
    size_t most = GATHERED / cols;
    for (size_t r = 0; r < rows; r += most) {
        size_t some = most < rows - r ? most : rows - r;
        const real *in[3];
        unsigned many = 0;
        for (int i = 0; i < inputs; i++) {
            bool as_is = is_scalar(&x[i]) || is_contiguous(&x[i], cols);
            if (!as_is && (r == 0 || x[i].row != 0))
                gather(&x[i], some, cols, gathered[i]);
            in[i] = as_is ? x[i].data : gathered[i];
            many |= (unsigned)!is_scalar(&x[i]) << i;
            x[i].data = (const real *)x[i].data + (ptrdiff_t)some * x[i].row;
        }
        f(some * cols, in, many, z + r * cols);
    }
}

static void wide_rows(span *f, size_t rows, size_t cols, int inputs, struct operand *x, real *z)
{
    for (size_t r = 0; r < rows; r++) {
        const real *in[3];
        unsigned many = 0;
        for (int i = 0; i < inputs; i++) {
            in[i] = (const real *)x[i].data + (ptrdiff_t)r * x[i].row;
            many |= (unsigned)x[i].col << i;
        }
        f(cols, in, many, z + r * cols);
    }
}

/* One run, where the strides allow it, else rows. */
static NOINLINE void broadcast(span *f, size_t rows, size_t cols, int inputs, struct operand *x,
                               real *z)
{
    const real *in[3];
    unsigned many = 0;
    bool one_run = true;
    for (int i = 0; i < inputs; i++) {
        bool scalar = (rows == 1 || x[i].row == 0) && (cols == 1 || x[i].col == 0);
        bool whole = (rows == 1 || x[i].row == (ptrdiff_t)cols) && (cols == 1 || x[i].col == 1);
        in[i] = x[i].data;
        many |= (unsigned)!scalar << i;
        one_run = one_run && (scalar || whole);
    }
    if (rows == 0 || cols == 0)
        return;
    if (one_run)
        f(rows * cols, in, many, z);
    else if (cols < NARROW)
        narrow_rows(f, rows, cols, inputs, x, z);
    else
        wide_rows(f, rows, cols, inputs, x, z);
}

/* One loop for each way to broadcast, so that no loop asks. */
#define BINARY(name, expression)                                                                   \
    INLINE vec f_##name(vec x, vec y, vec unused)                                                  \
    {                                                                                              \
        (void)unused;                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static void span_##name(size_t n, const real *const in[], unsigned many, real *z)              \
    {                                                                                              \
        const real *const inputs[3] = {in[0], in[1], in[0]};                                       \
        if (n < LANES) {                                                                           \
            vec x = part_of(in[0], many & 1, n), y = part_of(in[1], many & 2, n);                  \
            store_part(z, f_##name(x, y, x), n);                                                   \
        } else if (many == 3) {                                                                    \
            span3(n, inputs, 3, z, f_##name);                                                      \
        } else if (many == 2) {                                                                    \
            span3(n, inputs, 2, z, f_##name);                                                      \
        } else if (many == 1) {                                                                    \
            span3(n, inputs, 1, z, f_##name);                                                      \
        } else {                                                                                   \
            span3(n, inputs, 0, z, f_##name);                                                      \
        }                                                                                          \
    }                                                                                              \
    void KERNEL(binary_##name)(size_t rows, size_t cols, struct operand x, struct operand y,       \
                               void *z)                                                            \
    {                                                                                              \
        struct operand in[2] = {x, y};                                                             \
        broadcast(span_##name, rows, cols, 2, in, z);                                              \
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

static void span_where(size_t n, const real *const in[], unsigned many, real *z)
{
    if (n >= LANES) {
        span3(n, in, many, z, f_where);
        return;
    }
    vec condition = part_of(in[0], many & 1, n);
    store_part(z, f_where(condition, part_of(in[1], many & 2, n), part_of(in[2], many & 4, n)), n);
}

void KERNEL(where)(size_t rows, size_t cols, struct operand condition, struct operand x,
                   struct operand y, void *z)
{
    struct operand in[3] = {condition, x, y};
    broadcast(span_where, rows, cols, 3, in, z);
}
