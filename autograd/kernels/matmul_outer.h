/* Outer products, k = 1, and the slope of an activation on their way to memory. They are bound by
 * stores: no tiles, every element of C is written once and nothing but C's gate is read beside it.
 * For matmul.c only. */
#ifndef TAPEGRAD_KERNELS_MATMUL_OUTER_H
#define TAPEGRAD_KERNELS_MATMUL_OUTER_H

#include "matmul_pack.h"
#include "matmul_part.h"

enum { OUTER_VECS = 4 };

/* Columns of an outer product: `rows` rows, n columns wide, are a[i]*b[j]. Strides in bytes; gate
 * points anywhere where there is none. */
struct outer {
    size_t rows, n;
    const char *a, *b, *gate;
    char *c;
    size_t a_row, row; /* of C and of gate */
    enum binary slope; /* BINARY_COUNT for none */
};

INLINE vec through_slope(enum binary slope, vec x, vec y)
{
    if (slope == BINARY_COUNT)
        return x;
    if (slope == BINARY_SIGMOID_SLOPE)
        return sigmoid_slope(x, y);
    if (slope == BINARY_RELU_SLOPE)
        return relu_slope(x, y);
    if (slope == BINARY_TANH_SLOPE)
        return tanh_slope(x, y);
    return x * y;
}

/* The product is added to zero, as in a tile, for -0 to become 0. A register of which only a part
 * is used is the only one. */
INLINE void outer_columns(const struct outer *o, const size_t vecs, const bool is_part,
                          enum binary slope)
{
    const size_t a_row = o->a_row, row = o->row;
    const struct part part = first(is_part ? o->n : 0);
    const char *a = o->a, *gate = o->gate;
    char *c = o->c;
    vec x[OUTER_VECS];
    foreach (v, vecs)
        x[v] =
            is_part ? load_first((const real *)o->b, part) : load((const real *)o->b + v * LANES);
    for (size_t i = o->rows; i > 0; i--, a += a_row, c += row, gate += row) {
        const real factor = *(const real *)a;
        foreach (v, vecs) {
            const real *y = (const real *)gate + v * LANES;
            vec z = multiply_add(splat(factor), x[v], (vec){0});
            if (slope != BINARY_COUNT)
                z = through_slope(slope, z, is_part ? load_first(y, part) : load(y));
            if (is_part)
                store_first((real *)c, z, part);
            else
                store((real *)c + v * LANES, z);
        }
    }
}

/* OUTER_VECS registers across; with the slopes that networks have most in loops of their own. */
static NOINLINE void outer_wide(const struct outer *o)
{
    if (o->slope == BINARY_COUNT)
        outer_columns(o, OUTER_VECS, false, BINARY_COUNT);
    else if (o->slope == BINARY_SIGMOID_SLOPE)
        outer_columns(o, OUTER_VECS, false, BINARY_SIGMOID_SLOPE);
    else
        outer_columns(o, OUTER_VECS, false, o->slope);
}

/* A register or less. */
static NOINLINE void outer_narrow(const struct outer *o)
{
    if (o->n < LANES)
        outer_columns(o, 1, true, o->slope);
    else
        outer_columns(o, 1, false, o->slope);
}

/* g is an outer product that needs nothing more. */
static inline bool is_outer(const struct matmul *g)
{
    return g->k == 1 && !g->accumulate && !g->bias && g->activation == UNARY_COUNT &&
           (!g->gate || g->slope == BINARY_SIGMOID_SLOPE || g->slope == BINARY_TANH_SLOPE ||
            g->slope == BINARY_RELU_SLOPE || g->slope == BINARY_MUL);
}

/* By as many registers at a time as there are; the last, if it is not full, overlaps its neighbour,
 * and both hold the same values. */
static NOINLINE void multiply_outer(const struct matmul *g)
{
    real gathered[OUTER_VECS * LANES];
    const size_t step = g->b_transposed ? g->ldb : 1;
    struct outer o = {.rows = g->m, .a = g->a, .row = g->ldc * sizeof(real)};
    o.slope = g->gate ? g->slope : BINARY_COUNT;
    o.a_row = (g->a_transposed ? 1 : g->lda) * sizeof(real);
    for (size_t j = 0; j < g->n; j += o.n) {
        const size_t left = g->n - j;
        o.n = left >= OUTER_VECS * LANES ? OUTER_VECS * LANES : at_most(left, LANES);
        if (left < LANES && g->n > LANES) {
            j = g->n - LANES;
            o.n = LANES;
        }
        const real *b = (const real *)g->b + j * step;
        if (step != 1) {
            for (size_t i = 0; i < o.n; i++)
                gathered[i] = b[i * step];
            b = gathered;
        }
        o.b = (const char *)b;
        o.c = (char *)((real *)g->c + j);
        o.gate = g->gate ? (const char *)((const real *)g->gate + j) : o.c;
        if (o.n > LANES)
            outer_wide(&o);
        else
            outer_narrow(&o);
    }
}

#endif
