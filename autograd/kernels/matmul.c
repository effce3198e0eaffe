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
#include "matmul_spread.h"

enum {
    B_BLOCK = (4 << 20) / sizeof(real), /* elements of a block of op(B) */
    B_DIRECT = 32768 / sizeof(real),    /* op(B) up to this size is read in place */
    PACKED = 16384 / sizeof(real),      /* elements of a strip or panel packed at a time */
    GROUP = 64 / TILE_ROWS * TILE_ROWS, /* rows of A that all of op(B) passes by at a time */
    REUSE = 4                           /* packing pays when the copy is read this many times */
};

/* Elements of a strip for each k. */
enum { STRIP = TILE_ROWS * (SPREADS ? LANES : 1) };

static inline size_t ceil_div(size_t x, size_t y)
{
    return (x + y - 1) / y;
}

/* Registers across of the next panel where `left` are left: panels are as few and as equal as they
 * can be, the last is the widest and, but for the only one, never a single register. */
static inline size_t share(size_t left, size_t most)
{
    return left / ceil_div(left, most);
}

static inline struct view view_a(const struct matmul *g)
{
    const struct view stored = {g->a, g->lda, 1};
    return g->a_transposed ? transpose(stored) : stored;
}

static inline struct view view_b(const struct matmul *g)
{
    const struct view stored = {g->b, g->ldb, 1};
    return g->b_transposed ? transpose(stored) : stored;
}

/* ---- After the product ---------------------------------------------------------------------- */

/* Rows i .. i+m through bias, if it is not NULL, activation and slope. */
static NOINLINE void run_maps(const struct matmul *g, const real *bias, size_t i, size_t m)
{
    const struct kernels *const kernels = &KERNEL(kernels);
    const size_t ldc = g->ldc, end = i + m;
    const bool one_run = g->n == ldc && !bias;
    const size_t n = one_run ? m * ldc : g->n;
    for (; i < end; i += one_run ? m : 1) {
        real *c = (real *)g->c + i * ldc;
        const struct operand x = {c, 0, 1};
        if (bias)
            kernels->binary[BINARY_ADD](1, n, &x, &(struct operand){bias, 0, 1}, c);
        if (g->activation != UNARY_COUNT)
            kernels->unary[g->activation](n, c, c, NULL);
        if (g->gate) {
            const struct operand y = {(const real *)g->gate + i * ldc, 0, 1};
            kernels->binary[g->slope](1, n, &x, &y, c);
        }
    }
}

static inline void maps(const struct matmul *g, const real *bias, size_t i, size_t m)
{
    if (bias || g->gate || g->activation != UNARY_COUNT)
        run_maps(g, bias, i, m);
}

/* ---- Blocks --------------------------------------------------------------------------------- */

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

/* Elements that the strips of a group of A take, packed, of which three may be low ones; in whole
 * registers, as op(B) stands behind them. */
static inline size_t packed_a(size_t m, size_t k)
{
    return ceil_div((at_most(m, GROUP) / TILE_ROWS + 2) * STRIP * k, LANES) * LANES;
}

/* Enough for every product that is no larger, though its blocks may be: fewer columns, or a shorter
 * k, can be a single block where more were two halves. Columns are in whole registers, and the last
 * block may be almost a register wider than the others; or a single column is gathered. */
size_t KERNEL(matmul_workspace)(size_t m, size_t n, size_t k)
{
    const size_t kb = at_most(k, K_BLOCK);
    const size_t b = at_most(n * kb, B_BLOCK) + 2 * LANES * kb;
    return (packed_a(m, kb) + b + k) * sizeof(real);
}

/* A panel of columns of C, as wide as a tile, from column j on: its registers across, none where
 * all of C is less than a register wide; its last register, from j. A panel of one register is
 * never the last but where it is full: nothing may be added to what another panel holds. */
struct panel {
    size_t vecs, width, last;
};

static NOINLINE struct panel panel_at(const struct matmul *g, size_t j)
{
    const size_t left = g->n - j, all = ceil_div(left, LANES);
    if (g->n < LANES)
        return (struct panel){0, g->n, 0};
    const bool may_be_one = g->k <= SHORT && g->n % LANES == 0;
    size_t vecs = may_be_one ? at_most(all, TILE_VECS) : share(all, TILE_VECS);
    if (g->m == 1)
        vecs = all >= WIDE && all != WIDE + 1 ? WIDE : share(all, 4);
    const size_t width = vecs * LANES;
    return (struct panel){vecs, width, at_most(width, left) - LANES};
}

/* Operands are packed in lengths of k, all of one before the next: where rows are read, short ones,
 * for each row to be read from end to end; where columns are, as long ones as leave what is
 * written, so many elements wide, in the first cache. */
static inline size_t pack_length(struct view v, size_t width)
{
    return v.col == 1 ? 32 : PACKED / width / 16 * 16;
}

static NOINLINE void pack_b(const struct matmul *g, real *to)
{
    const struct view b = view_b(g);
    size_t length = pack_length(b, TILE_VECS * LANES);
    for (size_t p = 0; p < g->k; p += length) {
        length = at_most(length, g->k - p);
        struct panel o;
        for (size_t j = 0; j < g->n; j += o.width) {
            o = panel_at(g, j);
            const size_t full = o.vecs ? at_most(o.width, (g->n - j) / LANES * LANES) : o.width;
            real *panel = to + j * g->k + p * o.width;
            pack(panel, o.width, view_at(b, p, j), length, full);
            if (full < o.width)
                pack(panel + full, o.width, view_at(b, p, g->n - LANES), length, LANES);
        }
    }
}

/* m rows from i on in strips. */
static NOINLINE void pack_a(const struct matmul *g, size_t i, size_t m, real *to)
{
    const struct view a = transpose(view_a(g));
    size_t length = pack_length(a, STRIP);
    for (size_t p = 0; p < g->k; p += length) {
        length = at_most(length, g->k - p);
        real *strip = to + p * STRIP;
        for (size_t r = 0, rows; r < m; r += rows, strip += g->k * STRIP) {
            rows = height(m - r, TILE_ROWS);
            pack(strip, STRIP, view_at(a, p, i + r), length, rows);
        }
    }
}

/* m rows from i on. a, b: the operands as pack_a and pack_b left them, or NULL; where A is to be
 * spread, the tiles of the first panel write a. */
static NOINLINE void multiply_rows(const struct matmul *g, size_t i, size_t m, real *a,
                                   const real *b)
{
    const struct view from_b = view_b(g);
    const bool packed = a && !SPREADS;
    const struct view from_a = packed ? (struct view){a, 1, STRIP} : view_at(view_a(g), i, 0);
    const size_t k = g->k, ldc = g->ldc;
    struct tile t = {.k = k, .c_row = ldc * sizeof(real), .part = g->n};
    t.a_row = from_a.row * sizeof(real);
    t.a_col = from_a.col * sizeof(real);
    t.from_row = g->accumulate ? t.c_row : 0;
    struct panel o;
    for (size_t j = 0; j < g->n; j += o.width) {
        o = panel_at(g, j);
        const size_t most = !a && k <= SHORT && o.vecs == TILE_VECS ? SHORT_ROWS : TILE_ROWS;
        t.b = b ? b + j * k : at(from_b, 0, j);
        t.b_row = (b ? o.width : from_b.row) * sizeof(real);
        t.b_last = (b && o.vecs ? o.width - LANES : o.last) * sizeof(real);
        t.c_last = o.last * sizeof(real);
        t.from = g->bias ? (const real *)g->bias + j : NULL;
        real *c = (real *)g->c + i * ldc + j, *strip = a;
        t.spread = a;
        for (size_t r = 0, rows; r < m; r += rows, c += rows * ldc) {
            rows = height(m - r, most);
            t.a = packed ? strip : at(from_a, r, 0);
            t.c = c;
            if (g->accumulate)
                t.from = c;
            if (SPREADS && a && rows == TILE_ROWS) {
                const size_t strips = (m - r) / TILE_ROWS;
                rows = strips * TILE_ROWS;
                run_spread(j == 0, o.vecs, &t, strips);
            } else {
                run_tile(rows, o.vecs, &t);
            }
            if (packed)
                strip += STRIP * k;
        }
    }
}

static NOINLINE void multiply_block(const struct matmul *g)
{
    const bool copy_b = g->b_transposed || (g->m > REUSE * TILE_ROWS && g->n * g->k > B_DIRECT);
    const bool copy_a = g->m > 1 && (copy_b || !SPREADS) && g->n > REUSE * TILE_VECS * LANES &&
                        g->lda * sizeof(real) > (g->a_transposed ? A_COLUMNS : A_ROWS);
    real *a = copy_a ? g->workspace : NULL, *b = NULL;
    if (copy_b) {
        b = (real *)g->workspace + (copy_a ? packed_a(g->m, g->k) : 0);
        pack_b(g, b);
    }
    for (size_t i = 0, m; i < g->m; i += m) {
        m = at_most(GROUP, g->m - i);
        if (copy_a && !SPREADS)
            pack_a(g, i, m, a);
        multiply_rows(g, i, m, a, b);
        maps(g, g->accumulate ? g->bias : NULL, i, m);
    }
}

static NOINLINE void multiply_blocks(const struct matmul *g)
{
    const size_t kb = block_size(g->k, K_BLOCK), nb = columns(g->n, kb);
    if (kb == g->k && nb == g->n) {
        multiply_block(g);
        return;
    }
    struct matmul o = *g;
    for (size_t j = 0; j < g->n; j += o.n) {
        o.n = g->n - j < nb + LANES ? g->n - j : nb;
        o.c = (real *)g->c + j;
        o.bias = o.gate = NULL;
        o.activation = UNARY_COUNT;
        o.accumulate = g->accumulate;
        for (size_t p = 0; p < g->k; p += kb, o.accumulate = true) {
            o.k = at_most(kb, g->k - p);
            o.a = at(view_a(g), 0, p);
            o.b = at(view_b(g), p, j);
            if (p + kb >= g->k) {
                o.bias = g->bias ? (const real *)g->bias + j : NULL;
                o.gate = g->gate ? (const real *)g->gate + j : NULL;
                o.activation = g->activation;
            }
            multiply_block(&o);
        }
    }
}

/* A column transposed is a row: op(B) transposed times op(A) transposed. */
static NOINLINE void multiply_as_row(const struct matmul *g)
{
    struct matmul row = *g;
    row.m = 1;
    row.n = row.ldc = g->m;
    row.a = g->b;
    row.b = g->a;
    row.lda = g->ldb;
    row.ldb = g->lda;
    row.a_transposed = !g->b_transposed;
    row.b_transposed = !g->a_transposed;
    row.bias = row.gate = NULL;
    row.activation = UNARY_COUNT;
    multiply_blocks(&row);
    if (g->bias)
        KERNEL(kernels).binary[BINARY_ADD](1, g->m, &(struct operand){g->c, 0, 1},
                                           &(struct operand){g->bias, 0, 0}, g->c);
}

/* ---- Any product ---------------------------------------------------------------------------- */

/* The fast way where the product is a single tile that reads its operands in place. as_row: with
 * the column that C is taken for a row, as above. */
static inline bool multiply_tile(const struct matmul *g, bool as_row)
{
    const struct view a = as_row ? transpose(view_b(g)) : view_a(g);
    const struct view b = as_row ? transpose(view_a(g)) : view_b(g);
    const size_t m = as_row ? 1 : g->m, n = as_row ? g->m : g->n, vecs = ceil_div(n, LANES);
    const void *bias = g->bias;
    if (m > TILE_ROWS || heights[m] != m || g->k > K_BLOCK || b.col != 1 ||
        (m == 1 ? vecs > 4 && vecs != WIDE : vecs > TILE_VECS) ||
        (bias && (as_row || g->accumulate)))
        return false;
    const size_t last = n < LANES ? 0 : (n - LANES) * sizeof(real);
    const size_t c_row = g->ldc * sizeof(real);
    const struct tile t = {
        .k = g->k,
        .a = a.data,
        .a_row = a.row * sizeof(real),
        .a_col = a.col * sizeof(real),
        .b = b.data,
        .b_row = b.row * sizeof(real),
        .b_last = last,
        .c = g->c,
        .c_row = c_row,
        .c_last = last,
        .from = g->accumulate ? g->c : bias,
        .from_row = g->accumulate ? c_row : 0,
        .part = n,
    };
    run_tile(m, n < LANES ? 0 : vecs, &t);
    return true;
}

static NOINLINE const real *gathered_column(const struct matmul *g)
{
    const real *b = g->b;
    real *x = g->workspace;
    for (size_t p = 0; p < g->k; p++)
        x[p] = b[p * g->ldb];
    return x;
}

/* Without a term in any sum. */
static NOINLINE void multiply_nothing(const struct matmul *g)
{
    real *c = g->c;
    for (size_t i = 0; i < g->m && !g->accumulate; i++, c += g->ldc)
        memset(c, 0, g->n * sizeof(real));
    maps(g, g->bias, 0, g->m);
}

void KERNEL(matmul)(const struct matmul *g)
{
    if (g->k == 0) {
        multiply_nothing(g);
        return;
    }
    if (is_outer(g)) {
        multiply_outer(g);
        return;
    }
    const bool as_row = g->n == 1 && g->a_transposed && g->ldc == 1;
    if (g->n == 1 && !g->a_transposed) {
        multiply_column(g, g->b_transposed || g->ldb == 1 ? g->b : gathered_column(g));
    } else if (!multiply_tile(g, as_row)) {
        if (!as_row) {
            multiply_blocks(g);
            return;
        }
        multiply_as_row(g);
    }
    maps(g, NULL, 0, g->m);
}
