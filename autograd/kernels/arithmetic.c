/* Element-wise kernels of a few instructions an element: arithmetic, comparisons and choices, and
 * broadcasting for all of them. */
#include "internal.h"
#include "lanes.h"

/* What is done with a register of each input. The names go on where enum binary ends. */
enum { OF_UNARY = BINARY_COUNT, WHERE = OF_UNARY + UNARY_COUNT };
#define EACH_OPERATION(_)                                                                          \
    _(BINARY_ADD, x + y)                                                                           \
    _(BINARY_SUB, x - y)                                                                           \
    _(BINARY_MUL, x *y)                                                                            \
    _(BINARY_DIV, x / y)                                                                           \
    _(BINARY_MAXIMUM, maximum(x, y))                                                               \
    _(BINARY_MINIMUM, minimum(x, y))                                                               \
    _(BINARY_GREATER, blend(x > y, splat(1), splat(0)))                                            \
    _(BINARY_SIGMOID_SLOPE, x *(y * (1 - y)))                                                      \
    _(BINARY_TANH_SLOPE, x *(1 - y * y))                                                           \
    _(BINARY_RELU_SLOPE, blend(y > 0, x, splat(0)))                                                \
    _(OF_UNARY + UNARY_NEG, -x)                                                                    \
    _(OF_UNARY + UNARY_SQRT, vsqrt(x))                                                             \
    _(OF_UNARY + UNARY_SQUARE, x * x)                                                              \
    _(OF_UNARY + UNARY_RELU, blend(x <= 0, splat(0), x))                                           \
    _(OF_UNARY + UNARY_RECIPROCAL, 1 / x)                                                          \
    _(OF_UNARY + UNARY_ABS, (vec)((uvec)x & (natural)-1 >> 1))                                     \
    _(OF_UNARY + UNARY_SIGN, blend(x > 0, splat(1), blend(x < 0, splat(-1), x)))                   \
    _(WHERE, blend(x != 0, y, c))

#define OPERATE(operation, expression)                                                             \
    case operation:                                                                                \
        for (; n - i >= LANES; i += LANES) {                                                       \
            const vec x = load(in_x + (i & xs)), y = load(in_y + (i & ys)),                        \
                      c = load(in_c + (i & cs));                                                   \
            (void)y, (void)c;                                                                      \
            store(z + i, expression);                                                              \
        }                                                                                          \
        break;
#define OPERATE_ON_PART(operation, expression)                                                     \
    case operation: {                                                                              \
        result = expression;                                                                       \
        break;                                                                                     \
    }

/* A run of n elements of z. Input i has n elements, too, if bit i of `mode` is set, else one for
 * all of them; above these bits is the operation. Inputs that it has not are the first again. */

/* n < LANES */
static NOINLINE void run_part(size_t n, const real *in_x, const real *in_y, const real *in_c,
                              unsigned mode, real *z)
{
    const unsigned operation = mode >> 3;
    const vec x = mode & 1 ? load_ends(in_x, n) : splat(*in_x);
    vec y = x, c = x, result = x;
    if (operation < OF_UNARY || operation == WHERE)
        y = mode & 2 ? load_ends(in_y, n) : splat(*in_y);
    if (operation == WHERE)
        c = mode & 4 ? load_ends(in_c, n) : splat(*in_c);
    switch (operation) {
        EACH_OPERATION(OPERATE_ON_PART)
    }
    store_ends(z, result, n);
}

/* Where an input is one element, it is a whole register of the same one. */
static NOINLINE void run_elements(size_t n, const real *in_x, const real *in_y, const real *in_c,
                                  unsigned mode, real *z)
{
    const size_t xs = mode & 1 ? (size_t)-1 : 0, ys = mode & 2 ? (size_t)-1 : 0,
                 cs = mode & 4 ? (size_t)-1 : 0;
    size_t i = 0;
    switch (mode >> 3) {
        EACH_OPERATION(OPERATE)
    }
    if (i < n)
        run_part(n - i, in_x + (i & xs), in_y + (i & ys), in_c + (i & cs), mode, z + i);
}

static SELDOM void run_pow(size_t n, const real *x, const real *y, unsigned mode, real *z)
{
    for (size_t i = 0; i < n; i++)
        z[i] = LIBM(pow)(x[mode & 1 ? i : 0], y[mode & 2 ? i : 0]);
}

/* A whole register of an input that is one element. */
INLINE const real *repeated(const real *x, bool many, real *to)
{
    if (!many)
        store(to, splat(*x));
    return many ? x : to;
}

/* n > 0 */
INLINE void run(size_t n, const real *x, const real *y, const real *c, unsigned mode, real *z)
{
    real full[3][LANES];
    if (mode >> 3 == BINARY_POW)
        run_pow(n, x, y, mode, z);
    else if (n < LANES)
        run_part(n, x, y, c, mode, z);
    else
        run_elements(n, repeated(x, mode & 1, full[0]), repeated(y, mode & 2, full[1]),
                     repeated(c, mode & 4, full[2]), mode, z);
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

static SELDOM void narrow_rows(size_t rows, size_t cols, const struct operand *const in[3],
                               unsigned operation, real *z)
{
    real gathered[3][GATHERED + LANES];
    const int inputs = operation == WHERE ? 3 : 2;
    size_t most = GATHERED / cols;
    for (size_t r = 0; r < rows; r += most) {
        size_t some = most < rows - r ? most : rows - r;
        const real *at[3];
        unsigned mode = operation << 3 | 7;
        for (int i = 0; i < inputs; i++) {
            const struct operand rest = {(const real *)in[i]->data + (ptrdiff_t)r * in[i]->row,
                                         in[i]->row, in[i]->col};
            at[i] = rest.data;
            if (is_run(&rest, cols)) {
                mode ^= (unsigned)(rest.row == 0) << i;
                continue;
            }
            at[i] = gathered[i];
            if (r == 0 || rest.row != 0)
                gather(&rest, some, cols, gathered[i]);
        }
        run(some * cols, at[0], at[1], at[inputs == 3 ? 2 : 0], mode, z + r * cols);
    }
}

INLINE unsigned bits(bool x, bool y, bool c)
{
    return (unsigned)x | (unsigned)y << 1 | (unsigned)c << 2;
}

/* All rows as one run where the strides allow it, else some at a time. */
static NOINLINE void broadcast(size_t rows, size_t cols, const struct operand *x,
                               const struct operand *y, const struct operand *c, real *z,
                               unsigned operation)
{
    const real *at_x = x->data, *at_y = y->data, *at_c = c->data;
    const bool binary = operation != WHERE;
    unsigned mode = operation << 3 | bits(x->col, y->col, binary || c->col);
    if (rows == 0 || cols == 0)
        return;
    if (rows > 1 && is_run(x, cols) && is_run(y, cols) && is_run(c, cols)) {
        mode = operation << 3 | bits(x->row, y->row, binary || c->row);
        cols *= rows;
        rows = 1;
    }
    if (cols < NARROW && rows > FEW) {
        narrow_rows(rows, cols, (const struct operand *[]){x, y, c}, operation, z);
        return;
    }
    for (; rows > 0; rows--, z += cols) {
        run(cols, at_x, at_y, at_c, mode, z);
        at_x += x->row;
        at_y += y->row;
        at_c += c->row;
    }
}

static NOINLINE void binary(size_t rows, size_t cols, const struct operand *x,
                            const struct operand *y, real *z, unsigned operation)
{
    if (rows == 1 && cols > 0)
        run(cols, x->data, y->data, x->data, operation << 3 | bits(x->col, y->col, true), z);
    else
        broadcast(rows, cols, x, y, x, z, operation);
}

#define BINARY(id, name)                                                                           \
    void KERNEL(binary_##name)(size_t rows, size_t cols, const struct operand *x,                  \
                               const struct operand *y, void *z)                                   \
    {                                                                                              \
        binary(rows, cols, x, y, z, BINARY_##id);                                                  \
    }

EACH_BINARY(BINARY)

void KERNEL(where)(size_t rows, size_t cols, const struct operand *condition,
                   const struct operand *x, const struct operand *y, void *z)
{
    broadcast(rows, cols, condition, x, y, z, WHERE);
}

static NOINLINE void unary(size_t n, const real *x, real *y, unsigned operation)
{
    if (n > 0)
        run(n, x, x, x, operation << 3 | 7, y);
}

#define UNARY(id, name)                                                                            \
    void KERNEL(unary_##name)(size_t n, const void *x, void *y, const double p[2])                 \
    {                                                                                              \
        (void)p;                                                                                   \
        unary(n, x, y, OF_UNARY + UNARY_##id);                                                     \
    }

UNARY(NEG, neg)
UNARY(SQRT, sqrt)
UNARY(SQUARE, square)
UNARY(RELU, relu)
UNARY(RECIPROCAL, reciprocal)
UNARY(ABS, abs)
UNARY(SIGN, sign)

void KERNEL(fill)(size_t n, double value, void *y)
{
    real *to = y;
    vec v = splat((real)value);
    for (; n > LANES; n -= LANES, to += LANES)
        store(to, v);
    if (n)
        store_part(to, v, n);
}
