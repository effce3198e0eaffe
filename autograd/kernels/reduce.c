/* Reductions over the middle axis (shared.c has their order), and transposition. */
#include "internal.h"
#include "lanes.h"
#include "shared.h"

enum { WIDTH = 4, WIDE = WIDTH * LANES };

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
        const size_t left = cols - c;
        vec sum = first(load_part(x + c, left), way);
        for (size_t r = 1; r < rows; r++)
            sum = both(sum, first(load_part(x + r * stride + c, left), way), way);
        store_part(y + c, last(sum, way), left);
    }
}

static void columns(size_t rows, size_t cols, size_t stride, const void *x, void *y,
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

static void line(size_t n, const void *x, void *y, enum reduce kind)
{
    struct way way = way_of(kind);
    if (way.extreme)
        *(real *)y = line_by(n, x, (real)(way.flip ? INFINITY : -INFINITY),
                             (struct way){.extreme = true, .flip = way.flip});
    else
        *(real *)y = line_by(n, x, -(real)0, (struct way){.square = way.square});
}

static const struct reduction reduction = {sizeof(real), WIDE, columns, line};

#define REDUCE(id, name)                                                                           \
    void KERNEL(reduce_##name)(size_t outer, size_t n, size_t inner, const void *x, void *y)       \
    {                                                                                              \
        kernels_reduce(&reduction, outer, n, inner, x, y, REDUCE_##id);                            \
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
