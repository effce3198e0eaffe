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

/* What is done with an element first and with two results: a minimum is the maximum of what is
 * negative, which `flip` makes it; `square` is for sums alone. */
struct way {
    bool extreme, square;
    natural flip;
};

INLINE struct way way_of(enum reduce kind)
{
    return (struct way){kind == REDUCE_MAX || kind == REDUCE_MIN, kind == REDUCE_SUM_SQUARES,
                        kind == REDUCE_MIN ? (natural)1 << (KERNEL_BITS - 1) : 0};
}

/* How results are brought together. */
INLINE enum reduce again(enum reduce kind)
{
    return kind == REDUCE_SUM_SQUARES ? REDUCE_SUM : kind;
}

INLINE vec first(vec x, struct way way)
{
    if (way.extreme)
        return (vec)((uvec)x ^ way.flip);
    return way.square ? x * x : x;
}

INLINE vec both(vec x, vec y, struct way way)
{
    return way.extreme ? maximum(x, y) : x + y;
}

INLINE vec last(vec x, struct way way)
{
    return way.extreme ? (vec)((uvec)x ^ way.flip) : x;
}

INLINE void columns_by(size_t rows, size_t cols, size_t stride, const real *x, real *y,
                       struct way way)
{
    size_t c = 0;
    for (; c + WIDE <= cols && !way.square; c += WIDE) {
        const real *row = x + c;
        vec a = first(load(row), way), b = first(load(row + LANES), way);
        vec d = first(load(row + 2 * LANES), way), e = first(load(row + 3 * LANES), way);
        for (size_t r = 1; r < rows; r++) {
            row += stride;
            a = both(a, first(load(row), way), way);
            b = both(b, first(load(row + LANES), way), way);
            d = both(d, first(load(row + 2 * LANES), way), way);
            e = both(e, first(load(row + 3 * LANES), way), way);
        }
        store(y + c, last(a, way));
        store(y + c + LANES, last(b, way));
        store(y + c + 2 * LANES, last(d, way));
        store(y + c + 3 * LANES, last(e, way));
    }
    for (; c < cols; c += LANES) {
        if (c + LANES > cols && cols > LANES)
            c = cols - LANES;
        size_t some = cols - c < LANES ? cols - c : LANES;
        vec sum = first(load_part(x + c, some), way);
        for (size_t r = 1; r < rows; r++)
            sum = both(sum, first(load_part(x + r * stride + c, some), way), way);
        store_part(y + c, last(sum, way), some);
    }
}

/* y[c] = x[0][c] + ... + x[rows-1][c] for c < cols, from top to bottom; y may be x if cols is whole
 * registers. */
static NOINLINE void columns(size_t rows, size_t cols, size_t stride, const real *x, real *y,
                             enum reduce kind)
{
    struct way way = way_of(kind);
    if (way.extreme)
        columns_by(rows, cols, stride, x, y, (struct way){.extreme = true, .flip = way.flip});
    else
        columns_by(rows, cols, stride, x, y, (struct way){.square = way.square});
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
INLINE real line_by(size_t n, const real *x, real rest, struct way way)
{
    size_t i = n < LANES ? n : LANES;
    vec sum = first(n < LANES ? load_filled(x, n, rest) : load(x), way);
    for (; n - i >= LANES; i += LANES)
        sum = both(sum, first(load(x + i), way), way);
    if (i < n)
        sum = both(sum, first(load_filled(x + i, n - i, rest), way), way);
#if LANE_COUNT > 8
    sum = both(sum, SWAP_LANES(8, sum), way);
#endif
#if LANE_COUNT > 4
    sum = both(sum, SWAP_LANES(4, sum), way);
#endif
#if LANE_COUNT > 2
    sum = both(sum, SWAP_LANES(2, sum), way);
#endif
    return last(both(sum, SWAP_LANES(1, sum), way), way)[0];
}

/* x[0] + ... + x[n-1], in the order of lanes */
static NOINLINE real line(size_t n, const real *x, enum reduce kind)
{
    struct way way = way_of(kind);
    if (way.extreme)
        return line_by(n, x, (real)(way.flip ? INFINITY : -INFINITY),
                       (struct way){.extreme = true, .flip = way.flip});
    return line_by(n, x, -(real)0, (struct way){.square = way.square});
}

/* WIDE columns at most, each of more than BLOCK rows. */
static SELDOM void high_columns(size_t n, size_t cols, size_t stride, const real *x, real *y,
                                enum reduce kind)
{
    real stack[LEVELS][WIDE];
    size_t depth = 0, registers = (cols + LANES - 1) / LANES * LANES;
    for (size_t block = 0; block * BLOCK < n; block++) {
        size_t rows = n - block * BLOCK < BLOCK ? n - block * BLOCK : BLOCK;
        columns(rows, cols, stride, x + block * BLOCK * stride, stack[depth++], kind);
        for (size_t carry = block; carry & 1; carry >>= 1, depth--)
            columns(2, registers, WIDE, stack[depth - 2], stack[depth - 2], again(kind));
    }
    for (; depth > 1; depth--)
        columns(2, registers, WIDE, stack[depth - 2], stack[depth - 2], again(kind));
    memcpy(y, stack[0], cols * sizeof(real));
}

static NOINLINE void all_columns(size_t n, size_t cols, const real *x, real *y, enum reduce kind)
{
    if (n <= BLOCK)
        columns(n, cols, cols, x, y, kind);
    else
        for (size_t c = 0; c < cols; c += WIDE)
            high_columns(n, cols - c < WIDE ? cols - c : WIDE, cols, x + c, y + c, kind);
}

static SELDOM void narrow_columns(size_t n, size_t inner, const real *x, real *y, enum reduce kind)
{
    real sums[2][WIDE];
    size_t group = 1, from = 0;
    while (2 * group * inner <= WIDE && 2 * group <= n)
        group *= 2;
    size_t left = n % group;
    all_columns(n / group, group * inner, x, sums[0], kind);
    for (; group > 1; from = !from) {
        group /= 2;
        columns(2, group * inner, group * inner, sums[from], sums[!from], again(kind));
    }
    if (left > 0) {
        columns(left, inner, inner, x + (n - left) * inner, sums[from] + inner, kind);
        columns(2, inner, inner, sums[from], sums[!from], again(kind));
        from = !from;
    }
    memcpy(y, sums[from], inner * sizeof(real));
}

static SELDOM real long_line(size_t n, const real *x, enum reduce kind)
{
    real sums[WIDE], two[2];
    size_t left = n % WIDE;
    all_columns(n / WIDE, WIDE, x, sums, kind);
    two[0] = line(WIDE, sums, again(kind));
    if (left > 0)
        two[1] = line(left, x + n - left, kind);
    return line(left > 0 ? 2 : 1, two, again(kind));
}

static NOINLINE void reduce(size_t outer, size_t n, size_t inner, const real *x, real *y,
                            enum reduce kind)
{
    for (size_t o = 0; o < outer; o++, x += n * inner, y += inner)
        if (inner == 1)
            *y = n <= LINE ? line(n, x, kind) : long_line(n, x, kind);
        else if (inner >= WIDE || n <= FEW)
            all_columns(n, inner, x, y, kind);
        else
            narrow_columns(n, inner, x, y, kind);
}

#define REDUCE(id, name)                                                                           \
    void KERNEL(reduce_##name)(size_t outer, size_t n, size_t inner, const void *x, void *y)       \
    {                                                                                              \
        reduce(outer, n, inner, x, y, REDUCE_##id);                                                \
    }

EACH_REDUCE(REDUCE)

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
