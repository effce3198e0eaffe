/* Tiles that read packed elements of A spread over a register each, where no instruction loads an
 * element into all lanes. For matmul.c only.
 *
 * Without fused multiply-adds each product is made in place of a factor: it takes a copy, a
 * multiplication and an addition, as many as a core can issue while it multiplies and adds all the
 * time. So here every load is the copy that some product is made in, jumps are few, and the order
 * is not left to the compilers, which would load or copy more. */
#ifndef TAPEGRAD_KERNELS_MATMUL_SPREAD_H
#define TAPEGRAD_KERNELS_MATMUL_SPREAD_H

#include "matmul_tile.h"

#if KERNEL_BITS == 32
#define SUFFIX "s"
#else
#define SUFFIX "d"
#endif

/* sum0 += y0·b and sum1 += y1·b. */
INLINE void two_products(vec *sum0, vec *sum1, vec y0, vec y1, const vec *b)
{
#ifdef IN_PLACE
    vec x, z;
    __asm__ volatile("movap" SUFFIX " %6, %2\n\t"
                     "movaps %2, %3\n\t"
                     "mulp" SUFFIX " %4, %3\n\t"
                     "mulp" SUFFIX " %5, %2\n\t"
                     "addp" SUFFIX " %3, %0\n\t"
                     "addp" SUFFIX " %2, %1"
                     : "+x"(*sum0), "+x"(*sum1), "=&x"(x), "=&x"(z)
                     : "x"(y0), "x"(y1), "m"(*b));
#else
    *sum0 = multiply_add(y0, *b, *sum0);
    *sum1 = multiply_add(y1, *b, *sum1);
#endif
}

/* The same, made in y0 and y1. */
INLINE void last_products(vec *sum0, vec *sum1, vec y0, vec y1, const vec *b)
{
#ifdef IN_PLACE
    __asm__ volatile("mulp" SUFFIX " %4, %2\n\t"
                     "mulp" SUFFIX " %4, %3\n\t"
                     "addp" SUFFIX " %2, %0\n\t"
                     "addp" SUFFIX " %3, %1"
                     : "+x"(*sum0), "+x"(*sum1), "+x"(y0), "+x"(y1)
                     : "m"(*b));
#else
    two_products(sum0, sum1, y0, y1, b);
#endif
}

/* sum += a·b for one k. */
INLINE void spread_step(vec sum[][WIDE], vec y0, vec y1, const vec *b, const size_t vecs)
{
    foreach (j, vecs - 1)
        two_products(&sum[0][j], &sum[1][j], y0, y1, b + j);
    last_products(&sum[0][vecs - 1], &sum[1][vecs - 1], y0, y1, b + vecs - 1);
}

/* sum += a·b for `steps` k. */
INLINE void spread_steps(vec sum[][WIDE], const vec *a, const vec *b, const size_t steps,
                         const size_t vecs)
{
    foreach (p, steps)
        spread_step(sum, a[2 * p], a[2 * p + 1], b + p * vecs, vecs);
}

/* The sums of a tile for k > 0, a spread. */
INLINE void add_up_spread(vec sum[][WIDE], const vec *a, const vec *b, size_t k, const size_t vecs)
{
    enum { STEPS = 8 };
    for (size_t n = k / STEPS; n > 0; n--, a += 2 * STEPS, b += STEPS * vecs)
        spread_steps(sum, a, b, STEPS, vecs);
    for (k %= STEPS; k > 0; k--, a += 2, b += vecs)
        spread_steps(sum, a, b, 1, vecs);
}

/* Element p of x in all lanes. */
INLINE vec lane(vec x, size_t p)
{
#if defined(IN_PLACE) && KERNEL_BITS == 32 /* by one instruction, the copy included */
    const __m128i i = (__m128i)x;
    return (vec)(p == 0   ? _mm_shuffle_epi32(i, 0x00)
                 : p == 1 ? _mm_shuffle_epi32(i, 0x55)
                 : p == 2 ? _mm_shuffle_epi32(i, 0xaa)
                          : _mm_shuffle_epi32(i, 0xff));
#else
    return splat(x[p]);
#endif
}

/* spread_step, and y0 and y1 are written. */
INLINE void spreading_step(vec sum[][WIDE], vec *spread, vec y0, vec y1, const vec *b,
                           const size_t vecs)
{
    spread[0] = y0;
    spread[1] = y1;
    spread_step(sum, y0, y1, b, vecs);
}

/* Fetches what lies here in the next two rows. */
INLINE void fetch_rows(const char *a, size_t a_row)
{
    __builtin_prefetch(a + 2 * a_row);
    __builtin_prefetch(a + 3 * a_row);
}

/* The sums of a tile for k > 0 of `a` in place, spreading it: a register of each row at a time,
 * where there are registers left for them. */
INLINE void add_up_spreading(vec sum[][WIDE], vec *spread, const char *a, size_t a_row,
                             size_t a_col, const vec *b, size_t k, const size_t vecs)
{
    for (; vecs < TILE_VECS && a_col == sizeof(real) && k >= LANES; k -= LANES) {
        const vec x0 = load((const real *)a), x1 = load((const real *)(a + a_row));
        fetch_rows(a, a_row);
        foreach (p, LANES)
            spreading_step(sum, spread + 2 * p, lane(x0, p), lane(x1, p), b + p * vecs, vecs);
        a += sizeof(vec);
        spread += 2 * LANES;
        b += LANES * vecs;
    }
    for (; k > 0; k--, a += a_col, spread += 2, b += vecs) {
        fetch_rows(a, a_row);
        spreading_step(sum, spread, splat(*(const real *)a), splat(*(const real *)(a + a_row)), b,
                       vecs);
    }
}

/* `strips` tiles, one below the other, of which each reads or writes its strip of spread. */
INLINE void spread_tiles(struct tile t, size_t strips, const size_t vecs, const bool spreading)
{
    for (; strips > 0; strips--) {
        vec sum[TILE_ROWS][WIDE];
        foreach (i, TILE_ROWS)
            foreach (j, vecs)
                sum[i][j] = (vec){0};
        fetch(&t, TILE_ROWS, vecs);
        if (spreading)
            add_up_spreading(sum, t.spread, t.a, t.a_row, t.a_col, t.b, t.k, vecs);
        else
            add_up_spread(sum, t.spread, t.b, t.k, vecs);
        finish(&t, t.from, sum, first(0), TILE_ROWS, vecs, false);
        t.a = (const char *)t.a + TILE_ROWS * t.a_row;
        t.spread = (vec *)t.spread + TILE_ROWS * t.k;
        t.c = (char *)t.c + TILE_ROWS * t.c_row;
        if (t.from)
            t.from = (const char *)t.from + TILE_ROWS * t.from_row;
    }
}

#ifndef EACH_SPREAD
#define EACH_SPREAD(_)
#endif

#define SPREAD_TILE(spreading, vecs)                                                               \
    static NOINLINE void spread_##spreading##_##vecs(const struct tile *t, size_t strips)          \
    {                                                                                              \
        spread_tiles(*t, strips, vecs, spreading);                                                 \
    }
#define SPREAD_CASE(spreading, vecs)                                                               \
    case (spreading) * (WIDE + 1) + (vecs):                                                        \
        spread_##spreading##_##vecs(t, strips);                                                    \
        break;

EACH_SPREAD(SPREAD_TILE)

/* vecs: 5 or 6, as panels are where strips are spread (`share` and REUSE in matmul.c). */
static void run_spread(bool spreading, size_t vecs, const struct tile *t, size_t strips)
{
    (void)t;
    (void)strips;
    switch (spreading * (WIDE + 1) + vecs) {
        EACH_SPREAD(SPREAD_CASE)
    }
}

#endif
