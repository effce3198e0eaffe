/* Tiles that read packed elements of A spread over a register each, where no instruction loads an
 * element into all lanes. For matmul_tile.h only.
 *
 * Without fused multiply-adds each product is made in place of a factor: it takes a copy, a
 * multiplication and an addition, as many as a core can issue while it multiplies and adds all the
 * time. So here every load is the copy that some product is made in, jumps are few, and the order
 * is not left to the compilers, which would load or copy more. */
#ifndef TAPEGRAD_KERNELS_MATMUL_SPREAD_H
#define TAPEGRAD_KERNELS_MATMUL_SPREAD_H

/* PLAIN: A is read in place. SPREADING: the same, and written spread. SPREAD: as it was written. */
enum reading { PLAIN, SPREADING, SPREAD };

/* Whether products are made in place of a factor; then, the end of the instructions' names. */
#if defined(__SSE2__) && !defined(__AVX__)
#define IN_PLACE
#if KERNEL_BITS == 32
#define SUFFIX "s"
#else
#define SUFFIX "d"
#endif
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
    const size_t steps = vecs < TILE_VECS ? 2 : 4; /* long where most time is spent, else small */
    for (; k >= steps; k -= steps, a += 2 * steps, b += steps * vecs)
        spread_steps(sum, a, b, steps, vecs);
    for (; k > 0; k--, a += 2, b += vecs)
        spread_steps(sum, a, b, 1, vecs);
}

/* The same of `a` in place, spreading it. The next two rows are fetched. */
INLINE void add_up_spreading(vec sum[][WIDE], vec *spread, const char *a, size_t a_row,
                             size_t a_col, const vec *b, size_t k, const size_t vecs)
{
    for (; k > 0; k--, a += a_col, spread += 2, b += vecs) {
        const vec y0 = splat(*(const real *)a), y1 = splat(*(const real *)(a + a_row));
        spread[0] = y0;
        spread[1] = y1;
        __builtin_prefetch(a + 2 * a_row);
        __builtin_prefetch(a + 3 * a_row);
        spread_step(sum, y0, y1, b, vecs);
    }
}

#endif
