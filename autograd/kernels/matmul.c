/* Matrix product, C = slope(activation(op(A)·op(B) + bias), gate).
 *
 * After Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication", and the
 * micro-kernel of BLIS (Van Zee & van de Geijn 2015): C is computed in tiles, held in registers
 * while k runs. op(A) is cut in strips as high as a tile; a group of them stays in the second cache
 * while panels of op(B), as wide as a tile, pass through the first. Operands are read where they
 * are when they are small or lie well, else copied ("packed") into the workspace in the order in
 * which the tiles read them.
 *
 * Invariant: an element of C is a chain of multiply-adds over k in order, cut into blocks whose
 * length depends on k only, each block's sum added to C; which tile or copy it goes through changes
 * no bit. The one exception is n = 1 with A not transposed, where the lanes of a vector share k in
 * a way that depends on k only. So no bit depends on m, on strides, or on how rows and (n > 1)
 * columns are divided between calls. */
#include "internal.h"
#include "matmul_dots.h"
#include "matmul_outer.h"
#include "matmul_pack.h"

/* Of a tile: rows, and vectors across. A tile of a single row may be SINGLE_VECS wide. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { TILE_ROWS = 8, TILE_VECS = 3 };
#elif defined(__FMA__)
enum { TILE_ROWS = 6, TILE_VECS = 2 };
#else
enum { TILE_ROWS = 2, TILE_VECS = 6 };
#endif

enum {
    SINGLE_VECS = 8,
    K_BLOCK = 384,                   /* depth of a block */
    B_BLOCK = 262144,                /* elements of a block of op(B) */
    B_DIRECT = 32768 / sizeof(real), /* op(B) up to this size is read in place */
    A_DIRECT = 128,                  /* op(A) with rows up to this far apart, too */
    GROUP = 16,                      /* strips of A packed at a time */
    K_LENGTH = 64,                   /* in lengths of this */
    REUSE = 4                        /* packing pays when the copy is read this many times */
};

/* c (rows, columns) = or += a·b + bias over k; the last vector of a row of b is at b_last, of c and
 * bias at c_last. Strides and places in bytes: gcc makes poorer loops of strides in elements. */
struct tile {
    size_t k;
    const void *a;
    size_t a_row, a_col;
    const void *b;
    size_t b_row, b_last;
    void *c;
    size_t c_row, c_last;
    const void *bias;
    bool add;
};

typedef void tile_function(const struct tile *);

#define WIDTH 1
#include "matmul_tile.h"
#define WIDTH 2
#include "matmul_tile.h"
#if LANE_COUNT > 2
#define WIDTH 4
#include "matmul_tile.h"
#endif
#if LANE_COUNT > 4
#define WIDTH 8
#include "matmul_tile.h"
#endif
#if LANE_COUNT > 8
#define WIDTH 16
#include "matmul_tile.h"
#endif

static tile_function *const (*const tiles[])[SINGLE_VECS] = {
    tiles_1,  tiles_2,
#if LANE_COUNT > 2
    tiles_4,
#endif
#if LANE_COUNT > 4
    tiles_8,
#endif
#if LANE_COUNT > 8
    tiles_16,
#endif
};

static inline size_t ceil_div(size_t x, size_t y)
{
    return (x + y - 1) / y;
}

/* ---- Blocks --------------------------------------------------------------------------------- */

/* What struct matmul says, with views: C (m, n) = or += a·b, then bias, activation and slope. */
struct product {
    size_t m, n, k;
    struct view a, b;
    real *c, *workspace;
    size_t ldc;
    const real *bias, *gate;
    bool add;
    enum unary activation;
    enum binary slope;
};

/* x cut into the fewest equal blocks of at most `limit`: the size of a block. */
static inline size_t block_size(size_t x, size_t limit)
{
    return x <= limit ? x : ceil_div(x, ceil_div(x, limit));
}

/* Columns of a block of op(B), kb deep. */
static inline size_t columns(size_t n, size_t kb)
{
    return n * kb <= B_BLOCK ? n : block_size(ceil_div(n, LANES), B_BLOCK / LANES / kb) * LANES;
}

/* log2 of the width of the vectors for n columns: the widest that n fills. */
static inline unsigned width_log(size_t n)
{
    unsigned log = 0;
    while (2u << log <= LANES && n >> (log + 1) > 0)
        log++;
    return log;
}

/* How the columns of C are covered by panels of vectors. */
struct cover {
    size_t n, width, vecs, panels;
    tile_function *const (*tiles)[SINGLE_VECS];
};

static inline struct cover cover(size_t n, size_t limit)
{
    const unsigned log = width_log(n);
    const size_t width = (size_t)1 << log, vecs = n < LANES ? 2 : ceil_div(n, LANES);
    return (struct cover){n, width, vecs, vecs <= limit ? 1 : ceil_div(vecs, limit), tiles[log]};
}

/* Vectors of panel q, which starts at column j. */
static inline size_t panel_vecs(const struct cover *o, size_t q, size_t j)
{
    return o->panels == 1 ? o->vecs : (o->vecs - j / LANES) / (o->panels - q);
}

/* Where its last vector is, from j. */
static inline size_t panel_last(const struct cover *o, size_t q, size_t j, size_t vecs)
{
    return q + 1 == o->panels ? o->n - j - o->width : (vecs - 1) * o->width;
}

static void pack_b(const struct product *g, const struct cover *o, real *to)
{
    for (size_t q = 0, j = 0; q < o->panels; q++) {
        const size_t vecs = panel_vecs(o, q, j), row = vecs * o->width, before = row - o->width;
        const struct view from = {at(g->b, 0, j), g->b.row, g->b.col};
        const struct view last = {at(from, 0, panel_last(o, q, j, vecs)), g->b.row, g->b.col};
        pack(to, row, from, g->k, before);
        pack(to + before, row, last, g->k, o->width);
        to += row * g->k;
        j += row;
    }
}

/* Rows i .. i+m, n wide, through activation and slope. */
static NOINLINE void run_maps(const struct product *g, size_t i, size_t m, size_t n)
{
    const size_t ldc = g->ldc;
    real *c = g->c + i * ldc;
    const real *gate = g->gate ? g->gate + i * ldc : NULL;
    if (n == ldc) {
        n *= m;
        m = 1;
    }
    for (; m > 0; m--, c += ldc) {
        if (g->activation != UNARY_COUNT)
            KERNEL(kernels).unary[g->activation](n, c, c, NULL);
        if (!gate)
            continue;
        KERNEL(kernels).binary[g->slope](1, n, (struct operand){c, 0, 1},
                                         (struct operand){gate, 0, 1}, c);
        gate += ldc;
    }
}

static inline void maps(const struct product *g, size_t i, size_t m, size_t n)
{
    if (g->gate || g->activation != UNARY_COUNT)
        run_maps(g, i, m, n);
}

/* C in strips of equal height, but for one row more in the first ones. */
struct strips {
    size_t count, low, high; /* `high` strips have low + 1 rows */
};

static inline struct strips strips(size_t m)
{
    if (m <= TILE_ROWS)
        return (struct strips){1, m, 0};
    const size_t count = ceil_div(m, TILE_ROWS), low = m / count;
    return (struct strips){count, low, m - low * count};
}

static inline size_t first_row(const struct strips *o, size_t s)
{
    return s * o->low + at_most(s, o->high);
}

size_t KERNEL(matmul_workspace)(size_t m, size_t n, size_t k)
{
    const size_t kb = block_size(k, K_BLOCK), rows = at_most(strips(m).count, GROUP) * TILE_ROWS;
    const size_t cols = (ceil_div(columns(n, kb), LANES) + 1) * LANES;
    return ((rows + cols) * kb + (n == 1 ? k : 0)) * sizeof(real);
}

/* `count` strips from s on, each as (k, TILE_ROWS); in short lengths of k, so that a line of a
 * transposed A is still in the cache when the next strip needs the rest of it. */
static void pack_a(const struct product *g, const struct strips *o, size_t s, size_t count,
                   real *to)
{
    for (size_t p = 0; p < g->k; p += K_LENGTH)
        for (size_t q = 0; q < count; q++) {
            const size_t i = first_row(o, s + q), rows = first_row(o, s + q + 1) - i;
            const struct view from = {at(g->a, i, p), g->a.col, g->a.row};
            pack(to + (q * g->k + p) * TILE_ROWS, TILE_ROWS, from, at_most(K_LENGTH, g->k - p),
                 rows);
        }
}

/* C is read when a tile ends, too late to wait for it. */
static inline void prefetch(const real *c, size_t ldc, size_t rows, size_t columns)
{
    for (; rows > 0; rows--, c += ldc)
        for (size_t j = 0; j < columns; j += 64 / sizeof(real))
            __builtin_prefetch(c + j, 1);
}

/* Strips s .. s+count. a, b: the operands as pack_a and pack_b left them, or NULL. */
static void multiply_group(const struct product *g, const struct cover *o, const struct strips *v,
                           size_t s, size_t count, const real *a, const real *b)
{
    struct tile t = {.k = g->k, .c_row = g->ldc * sizeof(real), .add = g->add};
    t.a_row = (a ? 1 : g->a.row) * sizeof(real);
    t.a_col = (a ? TILE_ROWS : g->a.col) * sizeof(real);
    for (size_t q = 0, j = 0; q < o->panels; q++) {
        const size_t vecs = panel_vecs(o, q, j), row = vecs * o->width;
        const size_t last = panel_last(o, q, j, vecs);
        t.b = b ? b + j * g->k : at(g->b, 0, j);
        t.b_row = (b ? row : g->b.row) * sizeof(real);
        t.b_last = (b ? row - o->width : last) * sizeof(real);
        t.c_last = last * sizeof(real);
        t.bias = g->bias ? g->bias + j : NULL;
        for (size_t r = 0, i = first_row(v, s); r < count; r++) {
            const size_t rows = v->low + (s + r < v->high);
            t.a = a ? a + r * TILE_ROWS * g->k : at(g->a, i, 0);
            t.c = g->c + i * g->ldc + j;
            if (g->add && g->k >= K_LENGTH)
                prefetch(t.c, g->ldc, rows, row);
            o->tiles[rows - 1][vecs - 1](&t);
            i += rows;
        }
        j += row;
    }
}

static void multiply_block(const struct product *g)
{
    const struct cover o = cover(g->n, g->m == 1 ? SINGLE_VECS : TILE_VECS);
    const struct strips v = strips(g->m);
    const bool copy_b = g->b.col != 1 || (g->m > REUSE * TILE_ROWS && g->n * g->k > B_DIRECT);
    const bool copy_a = g->m > 1 && g->n > REUSE * TILE_VECS * LANES &&
                        (g->a.row == 1 ? g->a.col : g->a.row) > A_DIRECT;
    real *packed_a = copy_a ? g->workspace : NULL;
    real *packed_b = copy_b ? g->workspace + at_most(v.count, GROUP) * TILE_ROWS * g->k : NULL;
    if (copy_b)
        pack_b(g, &o, packed_b);
    for (size_t s = 0, count; s < v.count; s += count) {
        count = at_most(GROUP, v.count - s);
        if (copy_a)
            pack_a(g, &v, s, count, packed_a);
        multiply_group(g, &o, &v, s, count, packed_a, packed_b);
        const size_t i = first_row(&v, s);
        maps(g, i, first_row(&v, s + count) - i, g->n);
    }
}

/* The fast way to a product that is a single tile. */
static bool multiply_tile(const struct product *g)
{
    if (g->m > TILE_ROWS || g->n > TILE_VECS * LANES || g->k > K_BLOCK || g->b.col != 1)
        return false;
    const unsigned log = width_log(g->n);
    const size_t vecs = g->n < LANES ? 2 : ceil_div(g->n, LANES);
    const size_t last = (g->n - ((size_t)1 << log)) * sizeof(real);
    const struct tile t = {
        .k = g->k,
        .a = g->a.data,
        .a_row = g->a.row * sizeof(real),
        .a_col = g->a.col * sizeof(real),
        .b = g->b.data,
        .b_row = g->b.row * sizeof(real),
        .b_last = last,
        .c = g->c,
        .c_row = g->ldc * sizeof(real),
        .c_last = last,
        .bias = g->bias,
        .add = g->add,
    };
    tiles[log][g->m - 1][vecs - 1](&t);
    maps(g, 0, g->m, g->n);
    return true;
}

static void multiply(const struct product *g)
{
    if (multiply_tile(g))
        return;
    const size_t kb = block_size(g->k, K_BLOCK), nb = columns(g->n, kb);
    if (kb == g->k && nb == g->n) {
        multiply_block(g);
        return;
    }
    for (size_t j = 0, n; j < g->n; j += n) {
        n = g->n - j < nb + LANES ? g->n - j : nb;
        for (size_t p = 0; p < g->k; p += kb) {
            struct product o = *g;
            o.n = n;
            o.k = at_most(kb, g->k - p);
            o.a.data = at(g->a, 0, p);
            o.b.data = at(g->b, p, j);
            o.c = g->c + j;
            o.add = g->add || p > 0;
            const bool end = p + o.k == g->k;
            o.bias = g->bias && end ? g->bias + j : NULL;
            o.gate = g->gate && end ? g->gate + j : NULL;
            o.activation = end ? g->activation : UNARY_COUNT;
            multiply_block(&o);
        }
    }
}

/* ---- One column ----------------------------------------------------------------------------- */

static void column_of_dots(const struct product *g)
{
    const real *x = g->b.data;
    if (g->b.row != 1) {
        pack(g->workspace, 1, g->b, g->k, 1);
        x = g->workspace;
    }
    for (size_t i = 0; i < g->m; i += DOTS) {
        const real *row[DOTS];
        for (size_t j = 0; j < DOTS; j++)
            row[j] = at(g->a, at_most(i + j, g->m - 1), 0);
        real sums[DOTS];
        dots(row, x, g->k, sums);
        for (size_t j = 0; j < DOTS && i + j < g->m; j++) {
            real *c = g->c + (i + j) * g->ldc;
            const real sum = g->add ? *c + sums[j] : sums[j];
            *c = g->bias ? sum + *g->bias : sum;
        }
    }
    maps(g, 0, g->m, 1);
}

/* C transposed is a row: B transposed times A transposed. */
static void column(const struct product *g)
{
    struct product row = {.m = 1, .n = g->m, .k = g->k, .c = g->c, .ldc = g->m, .add = g->add};
    row.a = transpose(g->b);
    row.b = transpose(g->a);
    row.activation = UNARY_COUNT;
    row.workspace = g->workspace;
    multiply(&row);
    if (g->bias)
        for (size_t i = 0; i < g->m; i++)
            g->c[i] += *g->bias;
    maps(g, 0, g->m, 1);
}

void KERNEL(matmul)(const struct matmul *g)
{
    outer_function *const outer = outer_of(g);
    if (outer) {
        multiply_outer(g, outer);
        return;
    }
    const struct product o = {
        .m = g->m,
        .n = g->n,
        .k = g->k,
        .a = {g->a, g->a_transposed ? 1 : g->lda, g->a_transposed ? g->lda : 1},
        .b = {g->b, g->b_transposed ? 1 : g->ldb, g->b_transposed ? g->ldb : 1},
        .c = g->c,
        .ldc = g->ldc,
        .workspace = g->workspace,
        .bias = g->bias,
        .add = g->accumulate,
        .activation = g->activation,
        .gate = g->gate,
        .slope = g->slope,
    };
    if (g->n > 1 || (g->a_transposed && g->ldc != 1))
        multiply(&o);
    else if (g->a_transposed)
        column(&o);
    else
        column_of_dots(&o);
}
