/* The matmul kernel, for every instruction set of this machine and both element types, against a
 * plain loop in a wider type; and its promise that how C is divided changes no bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels.h"

static const char *const isas[] = {"baseline", "avx2", "avx512"};

/* xorshift (Marsaglia 2003): the tests draw the same numbers on every run. */
static uint64_t state = 88172645463325252u;

static size_t draw(size_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % limit;
}

enum { GUARD = 64 };
static const unsigned char guard_byte = 0xa5;

/* `bytes` bytes between guards; with one element type it is not at a multiple of 64 when `off`. */
struct guarded {
    unsigned char *whole, *data;
    size_t bytes;
};

static struct guarded guarded(size_t bytes, size_t off)
{
    const size_t size = (bytes + off + (size_t)2 * GUARD + 63) / 64 * 64;
    struct guarded g = {aligned_alloc(64, size), NULL, bytes};
    assert_non_null(g.whole);
    memset(g.whole, guard_byte, size);
    g.data = g.whole + GUARD + off;
    return g;
}

static void release(struct guarded g)
{
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(g.data[g.bytes + i], guard_byte);
        assert_int_equal(g.whole[i], guard_byte);
    }
    free(g.whole);
}

static long double get(const struct kernels *ops, const void *x, size_t i)
{
    return ops->element == 4 ? (long double)((const float *)x)[i]
                             : (long double)((const double *)x)[i];
}

static void set(const struct kernels *ops, void *x, size_t i, double value)
{
    if (ops->element == 4)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static struct guarded random_array(const struct kernels *ops, size_t n, size_t off)
{
    const struct guarded g = guarded(n * ops->element, off * ops->element);
    for (size_t i = 0; i < n; i++)
        set(ops, g.data, i, (double)draw(2000001) / 1e6 - 1);
    return g;
}

static size_t a_index(const struct matmul *g, size_t i, size_t p)
{
    return g->a_transposed ? p * g->lda + i : i * g->lda + p;
}

static size_t b_index(const struct matmul *g, size_t p, size_t j)
{
    return g->b_transposed ? j * g->ldb + p : p * g->ldb + j;
}

static void run(const struct kernels *ops, struct matmul g)
{
    const struct guarded space = guarded(ops->matmul_workspace(g.m, g.n, g.k), 0);
    g.workspace = space.data;
    ops->matmul(&g);
    release(space);
}

/* The element (i, j) that g should leave where `old` is now, before activation and slope; *size
 * receives the sum of the magnitudes of what was added. */
static long double expected(const struct kernels *ops, const struct matmul *g, size_t i, size_t j,
                            const void *old, long double *size)
{
    long double sum = g->accumulate ? get(ops, old, i * g->ldc + j) : 0;
    *size = fabsl(sum);
    for (size_t p = 0; p < g->k; p++) {
        const long double term =
            get(ops, g->a, a_index(g, i, p)) * get(ops, g->b, b_index(g, p, j));
        sum += term;
        *size += fabsl(term);
    }
    if (g->bias) {
        sum += get(ops, g->bias, j);
        *size += fabsl(get(ops, g->bias, j));
    }
    return sum;
}

/* What the slope makes of x at the element (i, j). */
static long double through_slope(const struct kernels *ops, const struct matmul *g, size_t i,
                                 size_t j, long double x)
{
    if (!g->gate)
        return x;
    const long double y = get(ops, g->gate, i * g->ldc + j);
    switch (g->slope) {
    case BINARY_SIGMOID_SLOPE:
        return x * y * (1 - y);
    case BINARY_TANH_SLOPE:
        return x * (1 - y * y);
    case BINARY_RELU_SLOPE:
        return y > 0 ? x : 0;
    case BINARY_MUL:
        return x * y;
    default:
        return x - y;
    }
}

/* g, whose C held `old`, is right; what lies between the rows of C was not touched. */
static void check(const struct kernels *ops, const struct matmul *g, const void *old)
{
    const long double unit = ops->element == 4 ? 0x1p-24L : 0x1p-53L;
    for (size_t i = 0; i < g->m; i++) {
        for (size_t j = 0; j < g->n; j++) {
            long double size;
            long double want = expected(ops, g, i, j, old, &size);
            if (g->activation == UNARY_RELU)
                want = want > 0 ? want : 0;
            want = through_slope(ops, g, i, j, want);
            /* |gate| <= 1, so that no slope is greater than 2 */
            const long double bound = (long double)(g->k + 4) * unit * size * (g->gate ? 2 : 1) +
                                      (g->gate ? 4 * unit : 0);
            const long double have = get(ops, g->c, i * g->ldc + j);
            if (!(fabsl(have - want) <= bound))
                fail_msg("%s %zu: (%zu,%zu)·(%zu,%zu)%s%s element (%zu,%zu) is %.9Lg, not %.9Lg",
                         ops->isa, ops->element, g->m, g->k, g->k, g->n,
                         g->a_transposed ? " A'" : "", g->b_transposed ? " B'" : "", i, j, have,
                         want);
        }
        const size_t gap = i + 1 < g->m ? g->ldc - g->n : 0, end = i * g->ldc + g->n;
        assert_memory_equal((const char *)g->c + end * ops->element,
                            (const char *)old + end * ops->element, gap * ops->element);
    }
}

/* g gave the bits that the product alone and, after it, the kernel of the slope give. */
static void check_slope(const struct kernels *ops, const struct matmul *g, const void *old)
{
    const size_t bytes = ((g->m - 1) * g->ldc + g->n) * ops->element;
    const struct guarded c = guarded(bytes, 0);
    memcpy(c.data, old, bytes);
    struct matmul product = *g;
    product.c = c.data;
    product.gate = NULL;
    run(ops, product);
    for (size_t i = 0; i < g->m; i++) {
        const size_t row = i * g->ldc * ops->element;
        ops->binary[g->slope](1, g->n, &(struct operand){c.data + row, 0, 1},
                              &(struct operand){(const char *)g->gate + row, 0, 1}, c.data + row);
    }
    if (memcmp(c.data, g->c, bytes))
        fail_msg("%s %zu: (%zu,%zu)·(%zu,%zu)%s%s and slope %d: other bits than one by one",
                 ops->isa, ops->element, g->m, g->k, g->k, g->n, g->a_transposed ? " A'" : "",
                 g->b_transposed ? " B'" : "", (int)g->slope);
    release(c);
}

/* Rows cut anywhere, and columns if there are more on either side, give the bits that the whole
 * gave. */
static void check_division(const struct kernels *ops, const struct matmul *whole, const void *old)
{
    const size_t count = (whole->m - 1) * whole->ldc + whole->n, bytes = count * ops->element;
    const size_t row = draw(whole->m + 1);
    const size_t column = whole->n >= 4 ? 2 + draw(whole->n - 3) : whole->n;
    const struct guarded c = guarded(bytes, 0);
    memcpy(c.data, old, bytes);
    for (int part = 0; part < 4; part++) {
        const size_t i = part & 1 ? row : 0, j = part & 2 ? column : 0;
        struct matmul g = *whole;
        g.m = part & 1 ? whole->m - row : row;
        g.n = part & 2 ? whole->n - column : column;
        if (g.m == 0 || g.n == 0)
            continue;
        g.a = (const char *)whole->a + a_index(whole, i, 0) * ops->element;
        g.b = (const char *)whole->b + b_index(whole, 0, j) * ops->element;
        g.c = c.data + (i * whole->ldc + j) * ops->element;
        g.bias = whole->bias ? (const char *)whole->bias + j * ops->element : NULL;
        g.gate =
            whole->gate ? (const char *)whole->gate + (i * whole->ldc + j) * ops->element : NULL;
        run(ops, g);
    }
    if (memcmp(c.data, whole->c, bytes))
        fail_msg("%s %zu: (%zu,%zu)·(%zu,%zu)%s%s cut before row %zu and column %zu: other bits",
                 ops->isa, ops->element, whole->m, whole->k, whole->k, whole->n,
                 whole->a_transposed ? " A'" : "", whole->b_transposed ? " B'" : "", row, column);
    release(c);
}

enum {
    A_TRANSPOSED = 1,
    B_TRANSPOSED = 2,
    ACCUMULATE = 4,
    BIAS = 8,
    RELU = 16,
    PADDED = 32,
    SLOPE = 64,
    HOWS = 128
};

static unsigned draw_how(unsigned form)
{
    return form | ((unsigned)draw(HOWS) & ~3u);
}

/* The slopes that have a way of their own, and one that has none. */
static const enum binary slopes[] = {BINARY_SIGMOID_SLOPE, BINARY_TANH_SLOPE, BINARY_RELU_SLOPE,
                                     BINARY_MUL, BINARY_SUB};

static void check_product(const struct kernels *ops, size_t m, size_t n, size_t k, unsigned how)
{
    const size_t pad = how & PADDED ? 1 + draw(9) : 0;
    struct matmul g = {.m = m, .n = n, .k = k, .activation = UNARY_COUNT};
    g.a_transposed = how & A_TRANSPOSED;
    g.b_transposed = how & B_TRANSPOSED;
    g.accumulate = how & ACCUMULATE;
    g.activation = how & RELU ? UNARY_RELU : UNARY_COUNT;
    g.lda = (g.a_transposed ? m : k) + pad;
    g.ldb = (g.b_transposed ? k : n) + pad;
    g.ldc = n + pad;
    /* exactly as long as needed, so that reading past the end is seen by valgrind or ASan */
    const size_t a_rows = g.a_transposed ? k : m, b_rows = g.b_transposed ? n : k;
    const struct guarded a = random_array(ops, a_rows ? a_rows * g.lda - pad : 0, pad);
    const struct guarded b = random_array(ops, b_rows ? b_rows * g.ldb - pad : 0, pad);
    const struct guarded c = random_array(ops, m * g.ldc - pad, pad);
    const struct guarded bias = random_array(ops, n, pad);
    const struct guarded gate = random_array(ops, m * g.ldc - pad, pad);
    const struct guarded old = guarded(c.bytes, 0);
    memcpy(old.data, c.data, c.bytes);
    g.a = a.data;
    g.b = b.data;
    g.c = c.data;
    g.bias = how & BIAS ? bias.data : NULL;
    g.gate = how & SLOPE ? gate.data : NULL;
    g.slope = how & SLOPE ? slopes[draw(sizeof slopes / sizeof *slopes)] : BINARY_COUNT;
    run(ops, g);
    check(ops, &g, old.data);
    check_division(ops, &g, old.data);
    if (g.gate)
        check_slope(ops, &g, old.data);
    release(a);
    release(b);
    release(c);
    release(bias);
    release(gate);
    release(old);
}

/* Calls f for each table of this machine. */
static void each(void (*f)(const struct kernels *))
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (kernels_f32(isas[i]))
            f(kernels_f32(isas[i]));
        if (kernels_f64(isas[i]))
            f(kernels_f64(isas[i]));
    }
}

/* Who has a workspace for a product may run any part of it there. */
static void workspace_of_parts(const struct kernels *ops)
{
    for (int i = 0; i < 20000; i++) {
        const size_t m = 1 + draw(300), n = 1 + draw(i % 2 ? 3000 : 20000), k = 1 + draw(4000);
        const size_t m_part = 1 + draw(m), n_part = 1 + draw(n), k_part = 1 + draw(k);
        const size_t part = ops->matmul_workspace(m_part, n_part, k_part);
        if (part > ops->matmul_workspace(m, n, k))
            fail_msg("%s: (%zu, %zu, %zu) takes more than (%zu, %zu, %zu)", ops->isa, m_part,
                     n_part, k_part, m, n, k);
    }
}

static void random_shapes(const struct kernels *ops)
{
    for (int i = 0; i < 300; i++) {
        const size_t m = 1 + draw(70), n = 1 + draw(70), k = 1 + draw(70);
        check_product(ops, m, n, k, (unsigned)draw(HOWS));
    }
}

/* One row, one column. */
static void thin_shapes(const struct kernels *ops)
{
    for (size_t n = 1; n < 70; n++)
        for (unsigned form = 0; form < 4; form++) {
            check_product(ops, n, 1, 1 + draw(70), draw_how(form));
            check_product(ops, 1, n, 1 + draw(70), draw_how(form));
        }
}

static void small_shapes(const struct kernels *ops)
{
    for (size_t m = 1; m < 10; m++)
        for (size_t n = 1; n < 40; n++)
            for (unsigned form = 0; form < 4; form++)
                check_product(ops, m, n, draw(9), draw_how(form));
}

static void outer_shapes(const struct kernels *ops)
{
    for (size_t n = 1; n < 150; n++)
        for (unsigned form = 0; form < 4; form++) {
            check_product(ops, 1 + draw(20), n, 1, form | SLOPE);
            check_product(ops, 1 + draw(20), n, 1, form | SLOPE | PADDED);
            check_product(ops, 1 + draw(20), n, 1, draw_how(form));
        }
}

static void special_shapes(const struct kernels *ops)
{
    static const size_t shapes[][3] = {
        {4, 8, 2},   {4, 1, 8},     {64, 64, 8},    {64, 1, 64},    {256, 64, 8},   {8, 64, 1024},
        {1, 1, 1},   {64, 1, 1500}, {1, 1, 5000},   {1, 300, 1},    {300, 1, 1},    {1, 257, 600},
        {33, 65, 1}, {257, 1, 600}, {70, 10, 513},  {97, 101, 103}, {70, 300, 530}, {3, 1000, 530},
        {5, 3, 0},   {1, 1, 0},     {1100, 200, 5},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (unsigned form = 0; form < 4; form++)
            check_product(ops, shapes[i][0], shapes[i][1], shapes[i][2], draw_how(form));
}

/* Panels of op(B), packed, whose last ones have every width. */
static void panel_shapes(const struct kernels *ops)
{
    for (size_t n = 97; n < 150; n++)
        check_product(ops, 9 + draw(12), n, 85 + draw(12), (unsigned)draw(HOWS));
}

/* More than one block either way, and operands that lie far apart. */
static void large_shapes(const struct kernels *ops)
{
    check_product(ops, 3, 4200, 512, draw_how(B_TRANSPOSED));
    check_product(ops, 131, 200, 1030, draw_how(0));
    check_product(ops, 20, 200, 4200, draw_how(0));
}

static bool is_finite_but(const struct kernels *ops, const struct matmul *g, size_t row,
                          size_t column)
{
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            const bool hit = i == row || j == column;
            if (hit == (bool)isfinite(get(ops, g->c, i * g->n + j)))
                return false;
        }
    return true;
}

/* One NaN in A fills its row of C and an infinity in B its column, even against zeros; nothing else
 * is touched by them. */
static void not_finite(const struct kernels *ops)
{
    for (int turn = 0; turn < 400; turn++) {
        const size_t m = 1 + draw(20), n = 1 + draw(40), k = 1 + draw(40);
        struct matmul g = {.m = m, .n = n, .k = k, .ldc = n, .activation = UNARY_COUNT};
        g.a_transposed = draw(2);
        g.b_transposed = draw(2);
        g.lda = g.a_transposed ? m : k;
        g.ldb = g.b_transposed ? k : n;
        const struct guarded a = guarded(m * k * ops->element, 0);
        const struct guarded b = guarded(k * n * ops->element, 0);
        const struct guarded c = guarded(m * n * ops->element, 0);
        memset(a.data, 0, a.bytes);
        memset(b.data, 0, b.bytes);
        const size_t row = draw(m), column = draw(n);
        set(ops, a.data, a_index(&g, row, draw(k)), (double)NAN);
        set(ops, b.data, b_index(&g, draw(k), column), (double)(turn & 1 ? INFINITY : -INFINITY));
        g.a = a.data;
        g.b = b.data;
        g.c = c.data;
        run(ops, g);
        assert_true(is_finite_but(ops, &g, row, column));
        release(a);
        release(b);
        release(c);
    }
}

static void test_random_shapes(void **unused)
{
    (void)unused;
    each(random_shapes);
}

static void test_small_shapes(void **unused)
{
    (void)unused;
    each(small_shapes);
}

static void test_thin_shapes(void **unused)
{
    (void)unused;
    each(thin_shapes);
}

static void test_outer_shapes(void **unused)
{
    (void)unused;
    each(outer_shapes);
}

static void test_special_shapes(void **unused)
{
    (void)unused;
    each(special_shapes);
}

static void test_panel_shapes(void **unused)
{
    (void)unused;
    each(panel_shapes);
}

static void test_large_shapes(void **unused)
{
    (void)unused;
    each(large_shapes);
}

static void test_nan_and_infinity(void **unused)
{
    (void)unused;
    each(not_finite);
}

static void test_workspace_of_parts(void **unused)
{
    (void)unused;
    each(workspace_of_parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),      cmocka_unit_test(test_small_shapes),
        cmocka_unit_test(test_thin_shapes),        cmocka_unit_test(test_outer_shapes),
        cmocka_unit_test(test_special_shapes),     cmocka_unit_test(test_panel_shapes),
        cmocka_unit_test(test_large_shapes),       cmocka_unit_test(test_nan_and_infinity),
        cmocka_unit_test(test_workspace_of_parts),
    };
    return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
