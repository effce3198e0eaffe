/* Tiles: pieces of C held in registers while k runs, `rows` high and `vecs` registers wide. For
 * matmul.c only.
 *
 * The last register of a row may stand anywhere, so that it ends with the last column; where it
 * overlaps the one before, both hold the same values. All of C is read before any is written, for
 * the same reason. */
#ifndef TAPEGRAD_KERNELS_MATMUL_TILE_H
#define TAPEGRAD_KERNELS_MATMUL_TILE_H

#include "matmul_part.h"

/* The largest tile; one of a single row may be WIDE registers across. Of the lower ones there are
 * as many as make any number of rows out of three at most: heights[left] is that of the next where
 * so many rows are left. K_BLOCK: the depth of a block, for a panel of op(B) to stay near. A_ROWS,
 * A_COLUMNS: how far apart, in bytes, those of op(A) may be to be read in place. SHORT: the k up to
 * which the widest tiles are only SHORT_ROWS high, as the products of the next tile would wait for
 * so many stores. SPREADS: whether a packed element of A fills a register, for want of an
 * instruction that loads it into all lanes. */
enum { WIDE = 8 };
#if defined(__AVX512F__) || defined(__aarch64__)
enum { TILE_ROWS = 8, TILE_VECS = 3, SPREADS = 0 };
enum { K_BLOCK = 64 * LANES, A_ROWS = 16384, A_COLUMNS = 4096 };
enum { SHORT = 128, SHORT_ROWS = 4 };
#define HEIGHTS             0, 1, 2, 3, 4, 3, 3, 4, 8, 3, 8, 8, 8, 8, 8, 8
#define ONE_HIGH(_)         _(1, 0) _(1, 1) _(1, 2) _(1, 3) _(1, 4) _(1, 8)
#define EACH_WIDTH(_, rows) _(rows, 0) _(rows, 1) _(rows, 2) _(rows, 3)
#define EACH_TILE(_)        ONE_HIGH(_) EACH_WIDTH(_, 2) EACH_WIDTH(_, 3) EACH_WIDTH(_, 4) EACH_WIDTH(_, 8)
#elif defined(__FMA__)
enum { TILE_ROWS = 6, TILE_VECS = 2, SPREADS = 0 };
enum { K_BLOCK = 256, A_ROWS = 4096, A_COLUMNS = 512 };
enum { SHORT = 0, SHORT_ROWS = TILE_ROWS };
#define HEIGHTS             0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 4
#define ONE_HIGH(_)         _(1, 0) _(1, 1) _(1, 2) _(1, 3) _(1, 4) _(1, 8)
#define EACH_WIDTH(_, rows) _(rows, 0) _(rows, 1) _(rows, 2)
#define EACH_TILE(_)        ONE_HIGH(_) EACH_WIDTH(_, 2) EACH_WIDTH(_, 3) EACH_WIDTH(_, 4) EACH_WIDTH(_, 6)
#else
enum { TILE_ROWS = 2, TILE_VECS = 6, SPREADS = 1 };
enum { K_BLOCK = 256, A_ROWS = 0, A_COLUMNS = 0 };
enum { SHORT = 0, SHORT_ROWS = TILE_ROWS };
#define HEIGHTS        0, 1, 2, 2
#define ONE_HIGH(_)    _(1, 0) _(1, 1) _(1, 2) _(1, 3) _(1, 4) _(1, 5) _(1, 6) _(1, 8)
#define TWO_HIGH(_)    _(2, 0) _(2, 1) _(2, 2) _(2, 3) _(2, 4) _(2, 5) _(2, 6)
#define EACH_TILE(_)   ONE_HIGH(_) TWO_HIGH(_)
#define EACH_SPREAD(_) _(0, 5) _(0, 6) _(1, 5) _(1, 6)
#endif
static const unsigned char heights[2 * TILE_ROWS] = {HEIGHTS};

static inline size_t height(size_t left, size_t most)
{
    return left < 2 * most ? heights[left] : most;
}

/* c (rows, columns) = a·b over k, plus `from` if it is not NULL. The last register of a row of b is
 * at b_last, of c and from at c_last. Strides and places in bytes: gcc makes poorer loops of
 * strides in elements. part: the columns of a tile that is less than a register wide. spread: where
 * A is, or is to be, spread; b is packed then. */
struct tile {
    size_t k;
    const void *a;
    size_t a_row, a_col;
    const void *b;
    size_t b_row, b_last;
    void *c;
    size_t c_row, c_last;
    const void *from;
    size_t from_row, part;
    void *spread;
};

/* The register j of a row. */
#define PLACE(p, j, last) ((p) + ((j) + 1 < vecs ? (j) * sizeof(vec) : (last)))

INLINE vec load_lanes(const char *p, const bool is_part, struct part part)
{
    return is_part ? load_first((const real *)p, part) : load((const real *)p);
}

/* IN_PLACE: products are made in place of one of their factors. The compilers would rather load it
 * again and again than copy it, which costs nothing. */
#if defined(__SSE2__) && !defined(__AVX__)
#define IN_PLACE
#define LOADED_ONCE(x) __asm__ volatile("" : "+x"(x))
#else
#define LOADED_ONCE(x) (void)(x)
#endif

/* sum += a·b for one k. */
INLINE void tile_step(vec sum[TILE_ROWS][WIDE], const char *a, size_t a_row, const char *b,
                      size_t b_last, struct part part, const size_t rows, const size_t vecs,
                      const bool is_part)
{
    vec x[WIDE], y[TILE_ROWS];
    /* the shorter side stays in registers */
    if (rows < vecs) {
        foreach (i, rows)
            y[i] = splat(*(const real *)(a + i * a_row));
        foreach (j, vecs) {
            x[0] = load_lanes(PLACE(b, j, b_last), is_part, part);
            LOADED_ONCE(x[0]);
            foreach (i, rows)
                sum[i][j] = multiply_add(y[i], x[0], sum[i][j]);
        }
        return;
    }
    foreach (j, vecs)
        x[j] = load_lanes(PLACE(b, j, b_last), is_part, part);
    foreach (i, rows) {
        y[0] = splat(*(const real *)(a + i * a_row));
        foreach (j, vecs)
            sum[i][j] = multiply_add(y[0], x[j], sum[i][j]);
    }
}

/* Sums of a tile that is less than a register wide, where parts of registers take many
 * instructions. */
static NOINLINE void store_parts(const struct tile *t, const vec *sum, size_t rows)
{
    const char *from = t->from;
    const struct part part = first(t->part);
    char *c = t->c;
    for (; rows > 0; rows--, sum++, c += t->c_row) {
        vec x = *sum;
        if (from) {
            x += load_first((const real *)from, part);
            from += t->from_row;
        }
        store_first((real *)c, x, part);
    }
}

/* The sums of a tile. */
INLINE void add_up(const struct tile *t, vec sum[TILE_ROWS][WIDE], const size_t rows,
                   const size_t vecs, const bool is_part)
{
    const struct part part = first(is_part ? t->part : 0);
    const char *a = t->a, *b = t->b;
    const size_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, b_last = t->b_last;
    size_t p = t->k;
    do {
        tile_step(sum, a, a_row, b, b_last, part, rows, vecs, is_part);
        a += a_col;
        b += b_row;
    } while (--p > 0);
}

/* Fetches c into the first cache while the sums are made. */
INLINE void fetch(const struct tile *t, const size_t rows, const size_t vecs)
{
    const char *c = t->c;
    foreach (i, rows)
        foreach (line, (vecs * sizeof(vec) + 63) / 64)
            __builtin_prefetch(c + i * t->c_row + line * 64);
}

/* Adds `from`, where it is not NULL, to the sums of a tile, and writes them. */
INLINE void finish(const struct tile *t, const char *from, vec sum[TILE_ROWS][WIDE],
                   struct part part, const size_t rows, const size_t vecs, const bool is_part)
{
    char *c = t->c;
    const size_t c_row = t->c_row, c_last = t->c_last, from_row = t->from_row;
    if (from)
        foreach (i, rows)
            foreach (j, vecs)
                sum[i][j] += load_lanes(PLACE(from + i * from_row, j, c_last), is_part, part);
    foreach (i, rows)
        foreach (j, vecs) {
            char *to = PLACE(c + i * c_row, j, c_last);
            if (is_part)
                store_first((real *)to, sum[i][j], part);
            else
                store((real *)to, sum[i][j]);
        }
}

INLINE void tile(const struct tile *t, const size_t rows, const size_t vecs, const bool is_part)
{
    const char *from = t->from;
    const struct part part = first(is_part ? t->part : 0);
    vec sum[TILE_ROWS][WIDE];
    foreach (i, rows)
        foreach (j, vecs)
            sum[i][j] = (vec){0};
    if (rows == TILE_ROWS && vecs == TILE_VECS)
        fetch(t, rows, vecs);
    add_up(t, sum, rows, vecs, is_part);
    if (is_part && !MASKED_STORES) {
        vec sums[TILE_ROWS];
        foreach (i, rows)
            sums[i] = sum[i][0];
        store_parts(t, sums, rows);
        return;
    }
    finish(t, from, sum, part, rows, vecs, is_part);
}

#define TILE(rows, vecs)                                                                           \
    static NOINLINE void tile_##rows##x##vecs(const struct tile *t)                                \
    {                                                                                              \
        tile(t, rows, vecs ? vecs : 1, !vecs);                                                     \
    }
#define TILE_CASE(rows, vecs)                                                                      \
    case (rows) * (WIDE + 1) + (vecs):                                                             \
        tile_##rows##x##vecs(t);                                                                   \
        break;

EACH_TILE(TILE)

/* A switch, as a table of functions would have to be relocated when the library is loaded. */
static void run_tile(size_t rows, size_t vecs, const struct tile *t)
{
    switch (rows * (WIDE + 1) + vecs) {
        EACH_TILE(TILE_CASE)
    }
}

#endif
