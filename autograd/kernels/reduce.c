/* Reductions over the middle axis, and transposition.
 *
 * Order of summation, the same for every position along `outer`: columns are summed side by side,
 * each in blocks of BLOCK rows from top to bottom, the blocks' sums pairwise as in a binary counter
 * (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 4.2), so that the error
 * grows with BLOCK + log n. A narrow array (n, inner) is first read as one of g rows in one,
 * (n/g, g*inner), as wide as WIDTH registers at most; the g partial results of a column, and those
 * of the rows left over, are folded in halves. */
#include "internal.h"
#include "lanes.h"

enum { BLOCK = 64, LEVELS = 64, WIDTH = 4, WIDE = WIDTH * LANES };

typedef vec combine(vec a, vec b);
typedef vec map(vec x);

/* Columns of (n, cols) to y (cols). */
typedef void columns(size_t n, size_t cols, const real *x, real *y);

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

/* `width` registers beside each other, over all rows. */
INLINE void strip(size_t n, size_t stride, const real *x, real *y, int width, combine *both,
                  map *of)
{
    vec stack[LEVELS][WIDTH], sum[WIDTH];
    size_t depth = 0, block = 0;
    do {
        const real *row = x + block * BLOCK * stride;
        size_t rows = n - block * BLOCK < BLOCK ? n - block * BLOCK : BLOCK;
        if (block)
            for (int w = 0; w < width; w++)
                stack[depth - 1][w] = sum[w];
        for (int w = 0; w < width; w++)
            sum[w] = of(load(row + w * LANES));
        for (size_t r = 1; r < rows; r++)
            for (int w = 0; w < width; w++)
                sum[w] = both(sum[w], of(load(row + r * stride + w * LANES)));
        depth++;
        for (size_t carry = block; carry & 1; carry >>= 1, depth--)
            for (int w = 0; w < width; w++)
                sum[w] = both(stack[depth - 2][w], sum[w]);
    } while (++block * BLOCK < n);
    for (; depth > 1; depth--)
        for (int w = 0; w < width; w++)
            sum[w] = both(stack[depth - 2][w], sum[w]);
    for (int w = 0; w < width; w++)
        store(y + w * LANES, sum[w]);
}

/* cols is at least LANES; the last strip may overlap its neighbour. */
INLINE void strips(size_t n, size_t cols, const real *x, real *y, combine *both, map *of)
{
    size_t c = 0;
    for (; c + WIDE <= cols; c += WIDE)
        strip(n, cols, x + c, y + c, WIDTH, both, of);
    for (; c < cols; c += LANES) {
        if (c + LANES > cols)
            c = cols - LANES;
        strip(n, cols, x + c, y + c, 1, both, of);
    }
}

/* sums[i] = sums[i] with sums[i + n], for i < n: the loads of a register precede its store. */
INLINE void fold(size_t n, real *sums, combine *both)
{
    for (size_t i = 0; i < n; i += LANES)
        store(sums + i, both(load(sums + i), load(sums + n + i)));
}

/* The same within a register, down to `inner` lanes, a power of two. */
INLINE vec fold_lanes(vec sum, size_t inner, combine *both)
{
#if LANE_COUNT > 8
    if (inner <= 8)
        sum = both(sum, SWAP_LANES(8, sum));
#endif
#if LANE_COUNT > 4
    if (inner <= 4)
        sum = both(sum, SWAP_LANES(4, sum));
#endif
#if LANE_COUNT > 2
    if (inner <= 2)
        sum = both(sum, SWAP_LANES(2, sum));
#endif
    return inner == 1 ? both(sum, SWAP_LANES(1, sum)) : sum;
}

/* Fewer than WIDE columns, at least 2 registers of elements. */
INLINE void narrow(size_t n, size_t inner, const real *x, real *y, combine *both, map *of,
                   columns *wide)
{
    real sums[WIDE + LANES];
    size_t group = 1;
    while (2 * group * inner <= WIDE && 2 * group <= n)
        group *= 2;
    size_t cols = group * inner, rows = n / group, left = (n - rows * group) * inner, c = 0;
    wide(rows, cols, x, sums);
    x += rows * cols;
    for (; c + LANES <= left; c += LANES)
        store(sums + c, both(load(sums + c), of(load(x + c))));
    left -= c;
    store_part(sums + c, both(load_part(sums + c, left), of(load_part(x + c, left))), left);
    bool power = (inner & (inner - 1)) == 0;
    for (; group > 1 && !(power && cols == LANES); cols = group * inner) {
        group /= 2;
        fold(group * inner, sums, both);
    }
    if (group > 1)
        store_part(y, fold_lanes(load(sums), inner, both), inner);
    else
        memcpy(y, sums, inner * sizeof(real));
}

/* Less than 2 registers of elements: one by one, in the first lane. */
INLINE void tiny(size_t n, size_t inner, const real *x, real *y, combine *both, map *of)
{
    for (size_t c = 0; c < inner; c++) {
        vec sum = of(splat(x[c]));
        for (size_t r = 1; r < n; r++)
            sum = both(sum, of(splat(x[r * inner + c])));
        y[c] = sum[0];
    }
}

INLINE void reduce(size_t outer, size_t n, size_t inner, const real *x, real *y, combine *both,
                   map *of, columns *wide)
{
    for (size_t o = 0; o < outer; o++, x += n * inner, y += inner)
        if (inner >= WIDE)
            wide(n, inner, x, y);
        else if (n * inner >= 2 * LANES)
            narrow(n, inner, x, y, both, of, wide);
        else
            tiny(n, inner, x, y, both, of);
}

#define REDUCE(name, both, of)                                                                     \
    static NOINLINE void columns_##name(size_t n, size_t cols, const real *x, real *y)             \
    {                                                                                              \
        strips(n, cols, x, y, both, of);                                                           \
    }                                                                                              \
    void KERNEL(reduce_##name)(size_t outer, size_t n, size_t inner, const void *x, void *y)       \
    {                                                                                              \
        reduce(outer, n, inner, x, y, both, of, columns_##name);                                   \
    }

REDUCE(sum, plus, same)
REDUCE(max, maximum, same)
REDUCE(min, minimum, same)
REDUCE(sum_squares, plus, square)

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
