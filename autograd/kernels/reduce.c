/* Reductions over the middle axis, and transposition.
 *
 * Order of summation, the same for every position along `outer`: columns are summed side by side,
 * each in blocks of BLOCK rows from top to bottom, the blocks' sums pairwise as in a binary counter
 * (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 4.2), so that the error
 * grows with BLOCK + log n. A long narrow array (n, inner) is first read as one of g rows in one,
 * (n/g, g*inner), as wide as WIDTH registers at most; the g partial results of a column are folded
 * in halves, and that of the rows left over is added. */
#include "internal.h"
#include "lanes.h"

enum { BLOCK = 64, LEVELS = 64, WIDTH = 4, WIDE = WIDTH * LANES, FEW = 16, LINE = 2 * WIDE };

typedef vec combine(vec a, vec b);
typedef vec map(vec x);

INLINE vec plus(vec a, vec b)
{
    return a + b;
}

INLINE vec same(vec x)
{
    return x;
}

INLINE vec square(vec x)
{
    return x * x;
}

/* What a reduction is made of. y[c] = x[0][c] + ... + x[rows-1][c] for c < cols, from top to bottom
 * (y may be x if cols is whole registers), and x[0] + ... + x[n-1], in the order of lanes; `again`:
 * of what are sums already. */
typedef void columns(size_t rows, size_t cols, size_t stride, const real *x, real *y);
typedef real line(size_t n, const real *x);
struct parts {
    columns *columns, *columns_again;
    line *line, *line_again;
};

INLINE void sum_columns(size_t rows, size_t cols, size_t stride, const real *x, real *y,
                        combine *both, map *of)
{
    size_t c = 0;
    for (; c + WIDE <= cols; c += WIDE) {
        vec sum[WIDTH];
        foreach (w, WIDTH)
            sum[w] = of(load(x + c + w * LANES));
        for (size_t r = 1; r < rows; r++)
            foreach (w, WIDTH)
                sum[w] = both(sum[w], of(load(x + r * stride + c + w * LANES)));
        foreach (w, WIDTH)
            store(y + c + w * LANES, sum[w]);
    }
    for (; c < cols; c += LANES) {
        if (c + LANES > cols && cols > LANES)
            c = cols - LANES;
        size_t some = cols - c < LANES ? cols - c : LANES;
        vec sum = of(load_part(x + c, some));
        for (size_t r = 1; r < rows; r++)
            sum = both(sum, of(load_part(x + r * stride + c, some)));
        store_part(y + c, sum, some);
    }
}

/* 0 < n < LANES elements in the first lanes, `rest` in the others. */
static NOINLINE vec load_filled(const real *p, size_t n, real rest)
{
    real lanes[LANES];
    ivec lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    if ((n & (n - 1)) == 0)
        return blend(lane < (integer)n, load_ends(p, n), splat(rest));
    store(lanes, splat(rest));
    for (size_t i = 0; i < n; i++)
        lanes[i] = p[i];
    return load(lanes);
}

/* rest: what adds nothing. */
INLINE real sum_line(size_t n, const real *x, real rest, combine *both, map *of)
{
    size_t i = n < LANES ? n : LANES;
    vec sum = of(n < LANES ? load_filled(x, n, rest) : load(x));
    for (; n - i >= LANES; i += LANES)
        sum = both(sum, of(load(x + i)));
    if (i < n)
        sum = both(sum, of(load_filled(x + i, n - i, rest)));
#if LANE_COUNT > 8
    sum = both(sum, SWAP_LANES(8, sum));
#endif
#if LANE_COUNT > 4
    sum = both(sum, SWAP_LANES(4, sum));
#endif
#if LANE_COUNT > 2
    sum = both(sum, SWAP_LANES(2, sum));
#endif
    return both(sum, SWAP_LANES(1, sum))[0];
}

/* WIDE columns at most, each of more than BLOCK rows. */
static NOINLINE void high_columns(size_t n, size_t cols, size_t stride, const real *x, real *y,
                                  const struct parts *p)
{
    real stack[LEVELS][WIDE];
    size_t depth = 0, registers = (cols + LANES - 1) / LANES * LANES;
    for (size_t block = 0; block * BLOCK < n; block++) {
        size_t rows = n - block * BLOCK < BLOCK ? n - block * BLOCK : BLOCK;
        p->columns(rows, cols, stride, x + block * BLOCK * stride, stack[depth++]);
        for (size_t carry = block; carry & 1; carry >>= 1, depth--)
            p->columns_again(2, registers, WIDE, stack[depth - 2], stack[depth - 2]);
    }
    for (; depth > 1; depth--)
        p->columns_again(2, registers, WIDE, stack[depth - 2], stack[depth - 2]);
    memcpy(y, stack[0], cols * sizeof(real));
}

static void all_columns(size_t n, size_t cols, const real *x, real *y, const struct parts *p)
{
    if (n <= BLOCK) {
        p->columns(n, cols, cols, x, y);
        return;
    }
    for (size_t c = 0; c < cols; c += WIDE)
        high_columns(n, cols - c < WIDE ? cols - c : WIDE, cols, x + c, y + c, p);
}

static void narrow_columns(size_t n, size_t inner, const real *x, real *y, const struct parts *p)
{
    real sums[2][WIDE];
    size_t group = 1, from = 0;
    while (2 * group * inner <= WIDE && 2 * group <= n)
        group *= 2;
    size_t rows = n / group, left = n - rows * group;
    all_columns(rows, group * inner, x, sums[0], p);
    for (; group > 1; from = !from) {
        group /= 2;
        p->columns_again(2, group * inner, group * inner, sums[from], sums[!from]);
    }
    if (left > 0) {
        p->columns(left, inner, inner, x + (n - left) * inner, sums[from] + inner);
        p->columns_again(2, inner, inner, sums[from], sums[!from]);
        from = !from;
    }
    memcpy(y, sums[from], inner * sizeof(real));
}

static real long_line(size_t n, const real *x, const struct parts *p)
{
    real sums[WIDE], two[2];
    size_t rows = n / WIDE, left = n % WIDE;
    all_columns(rows, WIDE, x, sums, p);
    two[0] = p->line_again(WIDE, sums);
    if (left > 0)
        two[1] = p->line(left, x + n - left);
    return p->line_again(left > 0 ? 2 : 1, two);
}

static NOINLINE void reduce(size_t outer, size_t n, size_t inner, const real *x, real *y,
                            const struct parts *p)
{
    for (size_t o = 0; o < outer; o++, x += n * inner, y += inner)
        if (inner == 1)
            *y = long_line(n, x, p);
        else if (inner >= WIDE || n <= FEW)
            all_columns(n, inner, x, y, p);
        else
            narrow_columns(n, inner, x, y, p);
}

#define REDUCE(name, rest, both, of, again)                                                        \
    static NOINLINE void columns_##name(size_t rows, size_t cols, size_t stride, const real *x,    \
                                        real *y)                                                   \
    {                                                                                              \
        sum_columns(rows, cols, stride, x, y, both, of);                                           \
    }                                                                                              \
    static NOINLINE real line_##name(size_t n, const real *x)                                      \
    {                                                                                              \
        return sum_line(n, x, rest, both, of);                                                     \
    }                                                                                              \
    void KERNEL(reduce_##name)(size_t outer, size_t n, size_t inner, const void *x, void *y)       \
    {                                                                                              \
        const struct parts parts = {columns_##name, columns_##again, line_##name, line_##again};   \
        if (inner > 1 || n > LINE)                                                                 \
            reduce(outer, n, inner, x, y, &parts);                                                 \
        else                                                                                       \
            for (size_t o = 0; o < outer; o++)                                                     \
                ((real *)y)[o] = line_##name(n, (const real *)x + o * n);                          \
    }

REDUCE(sum, -(real)0, plus, same, sum)
REDUCE(max, -(real)INFINITY, maximum, same, max)
REDUCE(min, (real)INFINITY, minimum, same, min)
REDUCE(sum_squares, 0, plus, square, sum)

/* Four by four elements; x and y have rows of x_step and y_step elements. */
INLINE void transpose_block(const real *x, size_t x_step, real *y, size_t y_step)
{
    typedef real four __attribute__((vector_size(4 * sizeof(real))));
    four in[4], out[4];
    for (size_t i = 0; i < 4; i++)
        memcpy(&in[i], x + i * x_step, sizeof in[i]);
    four low01 = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5);
    four low23 = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
    four high01 = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7);
    four high23 = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
    for (size_t i = 0; i < 4; i++)
        memcpy(y + i * y_step, &out[i], sizeof out[i]);
}

/* In bands of a cache line of y, so that each line is written whole while it is at hand. */
void KERNEL(transpose)(size_t rows, size_t cols, const void *x, void *y)
{
    enum { BAND = 64 / sizeof(real) };
    const real *from = x;
    real *to = y;
    size_t whole_rows = rows / 4 * 4, whole_cols = cols / 4 * 4;
    for (size_t band = 0; band < whole_rows; band += BAND)
        for (size_t c = 0; c < whole_cols; c += 4)
            for (size_t r = band; r < whole_rows && r < band + BAND; r += 4)
                transpose_block(from + r * cols + c, cols, to + c * rows + r, rows);
    for (size_t c = 0; c < cols; c++)
        for (size_t r = c < whole_cols ? whole_rows : 0; r < rows; r++)
            to[c * rows + r] = from[r * cols + c];
}
