/* The element-wise kernels of every instruction set this machine runs, for both element types,
 * against libm in higher precision: accuracy, special values, strides, and that neither the place
 * of an element nor the length of a run changes a bit of it. */
#include "kernel_arrays.h"

enum { SAMPLES = 1 << 16 };

/* ---- Unary ---------------------------------------------------------------------------------- */

static long double sigmoid_exact(long double x)
{
    return x > 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x));
}

static long double neg_exact(long double x)
{
    return -x;
}

static long double square_exact(long double x)
{
    return x * x;
}

static long double relu_exact(long double x)
{
    return x <= 0 ? 0 : x;
}

static long double affine_exact(long double x)
{
    return 2 * x + 1;
}

static long double sign_exact(long double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : x;
}

static const struct {
    const char *name;
    long double (*exact)(long double);
    unsigned ulps;
} unaries[UNARY_COUNT] = {
    [UNARY_NEG] = {"neg", neg_exact, 0},
    [UNARY_EXP] = {"exp", expl, 2},
    [UNARY_LOG] = {"log", logl, 2},
    [UNARY_SQRT] = {"sqrt", sqrtl, 0},
    [UNARY_SQUARE] = {"square", square_exact, 0},
    [UNARY_SIGMOID] = {"sigmoid", sigmoid_exact, 2},
    [UNARY_TANH] = {"tanh", tanhl, 2},
    [UNARY_RELU] = {"relu", relu_exact, 0},
    [UNARY_AFFINE] = {"affine", affine_exact, 0},
    [UNARY_ABS] = {"abs", fabsl, 0},
    [UNARY_SIGN] = {"sign", sign_exact, 0},
    [UNARY_ERF] = {"erf", erfl, 2},
    [UNARY_SIN] = {"sin", sinl, 2},
    [UNARY_COS] = {"cos", cosl, 2},
};

static const double constants[2] = {2, 1};

static size_t special_values(const struct kernels *k, void *x)
{
    const double common[] = {0,
                             1,
                             0.5,
                             2,
                             3,
                             10,
                             16.5,
                             18,
                             20,
                             44.5,
                             63,
                             87.5,
                             88.5,
                             88.7228,
                             88.7229,
                             89,
                             87.3365,
                             100,
                             103.9,
                             103.97,
                             103.973,
                             104,
                             200,
                             709.5,
                             709.78,
                             709.79,
                             708.4,
                             745.1,
                             745.13,
                             745.14,
                             746,
                             1e5,
                             1e10,
                             1e30,
                             1e-3,
                             1e-10,
                             1e-30,
                             1e-38,
                             1e-40,
                             1.4e-45,
                             1e-300,
                             1e-310,
                             5e-324,
                             1e300,
                             0.92,
                             0.93,
                             3.8,
                             3.92,
                             5.9,
                             0x1p23,
                             0x1p24,
                             0x1p52,
                             (double)FLT_MIN,
                             (double)FLT_MAX,
                             DBL_MIN,
                             DBL_MAX,
                             3.141592653589793,
                             1.5707963267948966,
                             22,
                             355};
    size_t n = 0;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        for (int sign = -1; sign <= 1; sign += 2)
            set(k, x, n++, sign * common[i]);
    set(k, x, n++, (double)INFINITY);
    set(k, x, n++, -(double)INFINITY);
    set(k, x, n++, (double)NAN);
    set(k, x, n++, -(double)NAN);
    return n;
}

static void check_unary_values(const struct kernels *k)
{
    void *x = malloc(SAMPLES * sizeof(double)), *y = malloc(SAMPLES * sizeof(double));
    assert_true(x && y);
    const double scales[] = {1e-4, 1, 8, 110, 800, 1e5};
    size_t scale_count = sizeof scales / sizeof *scales;
    for (size_t round = 0; round < scale_count + 2; round++) {
        size_t n = SAMPLES;
        if (round == scale_count + 1)
            n = special_values(k, x);
        else
            for (size_t i = 0; i < n; i++) {
                if (round < scale_count)
                    set(k, x, i, uniform(scales[round]));
                else
                    set_any(k, x, i);
            }
        for (int f = 0; f < UNARY_COUNT; f++) {
            k->unary[f](n, x, y, constants);
            for (size_t i = 0; i < n; i++)
                assert_near(k, unaries[f].name, get(k, x, i), 0, get(k, y, i),
                            unaries[f].exact((long double)get(k, x, i)), unaries[f].ulps);
        }
    }
    free(x);
    free(y);
}

static void test_unary_values(void **state)
{
    (void)state;
    each_table(check_unary_values);
}

/* Elements one at a time give the bits that all lengths and places must give. Every other array has
 * an element that not every way to compute the others bears. */
static void check_unary_lengths(const struct kernels *k)
{
    enum { MOST = 70 };
    const double extremes[] = {1e5, -1e5, 0, 1e-310, (double)INFINITY, -(double)INFINITY, 1e-40};
    size_t extreme = 0;
    double x[MOST], one[MOST], y[MOST + 2 * GUARD], guarded[MOST + 2 * GUARD];
    for (int f = 0; f < UNARY_COUNT; f++)
        for (size_t n = 0; n <= MOST; n++) {
            for (size_t i = 0; i < n; i++)
                set(k, x, i, f == UNARY_LOG ? exp(uniform(20)) : uniform(20));
            if (n % 2)
                set(k, x, (size_t)((double)n * (uniform(0.5) + 0.5)),
                    extremes[extreme++ % (sizeof extremes / sizeof *extremes)]);
            for (size_t i = 0; i < n + 2 * GUARD; i++)
                set(k, guarded, i, 77);
            memcpy(y, guarded, sizeof y);
            for (size_t i = 0; i < n; i++)
                k->unary[f](1, at(k, x, i), at(k, one, i), constants);
            memcpy(at(k, guarded, GUARD), one, n * k->element);
            k->unary[f](n, x, at(k, y, GUARD), constants);
            assert_same_bits(k, unaries[f].name, y, guarded, n + 2 * GUARD);
            memcpy(at(k, y, GUARD), x, n * k->element);
            k->unary[f](n, at(k, y, GUARD), at(k, y, GUARD), constants);
            assert_same_bits(k, unaries[f].name, y, guarded, n + 2 * GUARD);
        }
}

static void test_unary_lengths(void **state)
{
    (void)state;
    each_table(check_unary_lengths);
}

/* ---- Binary and where ----------------------------------------------------------------------- */

static long double add_exact(long double x, long double y)
{
    return x + y;
}

static long double sub_exact(long double x, long double y)
{
    return x - y;
}

static long double mul_exact(long double x, long double y)
{
    return x * y;
}

static long double div_exact(long double x, long double y)
{
    return x / y;
}

static long double maximum_exact(long double x, long double y)
{
    return isnan(x) || isnan(y) ? (long double)NAN : x > y ? x : y;
}

static long double minimum_exact(long double x, long double y)
{
    return isnan(x) || isnan(y) ? (long double)NAN : x < y ? x : y;
}

static long double greater_exact(long double x, long double y)
{
    return x > y;
}

static long double equal_exact(long double x, long double y)
{
    return x == y;
}

static long double sigmoid_slope_exact(long double x, long double y)
{
    return x * (y * (1 - y));
}

static long double tanh_slope_exact(long double x, long double y)
{
    return x * (1 - y * y);
}

static long double relu_slope_exact(long double x, long double y)
{
    return y > 0 ? x : 0;
}

static const struct {
    const char *name;
    long double (*exact)(long double, long double);
    unsigned ulps;
} binaries[BINARY_COUNT] = {
    [BINARY_ADD] = {"add", add_exact, 0},
    [BINARY_SUB] = {"sub", sub_exact, 0},
    [BINARY_MUL] = {"mul", mul_exact, 0},
    [BINARY_DIV] = {"div", div_exact, 0},
    [BINARY_POW] = {"pow", powl, 2},
    [BINARY_MAXIMUM] = {"maximum", maximum_exact, 0},
    [BINARY_MINIMUM] = {"minimum", minimum_exact, 0},
    [BINARY_GREATER] = {"greater", greater_exact, 0},
    [BINARY_EQUAL] = {"equal", equal_exact, 0},
    [BINARY_SIGMOID_SLOPE] = {"sigmoid_slope", sigmoid_slope_exact, 3},
    [BINARY_TANH_SLOPE] = {"tanh_slope", tanh_slope_exact, 3},
    [BINARY_RELU_SLOPE] = {"relu_slope", relu_slope_exact, 0},
};

static void binary(const struct kernels *k, int f, size_t rows, size_t cols, struct operand x,
                   struct operand y, void *z)
{
    k->binary[f](rows, cols, &x, &y, z);
}

static struct operand run(const void *x)
{
    return (struct operand){x, 0, 1};
}

static bool is_slope(int f)
{
    return f == BINARY_SIGMOID_SLOPE || f == BINARY_TANH_SLOPE;
}

static void check_binary_values(const struct kernels *k)
{
    enum { N = 1 << 14 };
    static double x[N], y[N], z[N];
    for (int round = 0; round < 3; round++)
        for (int f = 0; f < BINARY_COUNT; f++) {
            size_t n = N;
            for (size_t i = 0; i < n; i++) {
                set(k, x, i, f == BINARY_POW ? fabs(uniform(30)) : uniform(30));
                set(k, y, i, uniform(is_slope(f) ? 0.5 : 20));
                if (round == 1 && !is_slope(f)) {
                    set_any(k, x, i);
                    set_any(k, y, i);
                }
            }
            if (round == 2) { /* every special value with every other */
                double special[256];
                size_t count = special_values(k, special);
                for (n = 0; n < count * count && n < N; n++) {
                    set(k, x, n, get(k, special, n / count));
                    set(k, y, n, is_slope(f) ? 0.5 : get(k, special, n % count));
                }
            }
            binary(k, f, 1, n, run(x), run(y), z);
            for (size_t i = 0; i < n; i++) {
                double a = get(k, x, i), b = get(k, y, i), got = get(k, z, i);
                if (a == 0 && b == 0 && (f == BINARY_MAXIMUM || f == BINARY_MINIMUM))
                    continue; /* of two zeros either will do */
                assert_near(k, binaries[f].name, a, b, got,
                            binaries[f].exact((long double)a, (long double)b), binaries[f].ulps);
            }
        }
}

static void test_binary_values(void **state)
{
    (void)state;
    each_table(check_binary_values);
}

/* The ways to read an operand of (rows, cols): whole, one row, one column, one element, every
 * other row; `size` is what a buffer for any of them needs. */
enum { WAYS = 6, MOST_ROWS = 40, MOST_COLS = 130, PLANE = 2 * MOST_ROWS * MOST_COLS };

static struct operand way(const void *x, int which, size_t cols)
{
    const ptrdiff_t width = (ptrdiff_t)cols;
    const ptrdiff_t row[WAYS] = {width, 0, 1, 0, 2 * width, 2}, col[WAYS] = {1, 1, 0, 0, 1, 0};
    return (struct operand){x, row[which], col[which]};
}

static double element(const struct kernels *k, struct operand x, size_t r, size_t c)
{
    return get(k, x.data, (size_t)((ptrdiff_t)r * x.row + (ptrdiff_t)c * x.col));
}

struct planes {
    double x[PLANE], y[PLANE], c[PLANE], z[PLANE], want[PLANE];
};

static void check_binary_shape(const struct kernels *k, struct planes *p, int f, size_t rows,
                               size_t cols)
{
    for (int ways = 0; ways < WAYS * WAYS; ways++) {
        struct operand x = way(p->x, ways / WAYS, cols), y = way(p->y, ways % WAYS, cols);
        size_t n = rows * cols;
        for (size_t i = 0; i < n + 2 * GUARD; i++) {
            set(k, p->z, i, 77);
            set(k, p->want, i, 77);
        }
        for (size_t i = 0; i < n; i++) {
            double a[1], b[1];
            set(k, a, 0, element(k, x, i / cols, i % cols));
            set(k, b, 0, element(k, y, i / cols, i % cols));
            binary(k, f, 1, 1, run(a), run(b), at(k, p->want, GUARD + i));
        }
        binary(k, f, rows, cols, x, y, at(k, p->z, GUARD));
        assert_same_bits(k, binaries[f].name, p->z, p->want, n + 2 * GUARD);
        if (ways / WAYS != 0)
            continue;
        memcpy(at(k, p->z, GUARD), p->x, n * k->element); /* in place */
        binary(k, f, rows, cols, way(at(k, p->z, GUARD), 0, cols), y, at(k, p->z, GUARD));
        assert_same_bits(k, binaries[f].name, p->z, p->want, n + 2 * GUARD);
    }
}

static void check_where_shape(const struct kernels *k, struct planes *p, size_t rows, size_t cols)
{
    for (int ways = 0; ways < WAYS * WAYS * WAYS; ways++) {
        struct operand c = way(p->c, ways / WAYS / WAYS, cols),
                       x = way(p->x, ways / WAYS % WAYS, cols), y = way(p->y, ways % WAYS, cols);
        size_t n = rows * cols;
        for (size_t i = 0; i < n + 2 * GUARD; i++) {
            set(k, p->z, i, 77);
            set(k, p->want, i, 77);
        }
        for (size_t i = 0; i < n; i++)
            set(k, p->want, GUARD + i,
                element(k, c, i / cols, i % cols) != 0 ? element(k, x, i / cols, i % cols)
                                                       : element(k, y, i / cols, i % cols));
        k->where(rows, cols, &c, &x, &y, at(k, p->z, GUARD));
        assert_same_bits(k, "where", p->z, p->want, n + 2 * GUARD);
    }
}

static void check_broadcast(const struct kernels *k)
{
    const size_t rows[] = {0, 1, 2, 3, 7, MOST_ROWS},
                 cols[] = {1, 2, 3, 8, 16, 17, 31, 64, 65, 130};
    struct planes *p = malloc(sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < PLANE; i++) {
        set(k, p->x, i, uniform(3));
        set(k, p->y, i, uniform(3));
        set(k, p->c, i, (double)(random_bits() & 1));
    }
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
            for (int f = 0; f < BINARY_COUNT; f++)
                check_binary_shape(k, p, f, rows[r], cols[c]);
            check_where_shape(k, p, rows[r], cols[c]);
        }
    for (size_t n = 1; n <= 70; n++) {
        for (int f = 0; f < BINARY_COUNT; f++)
            check_binary_shape(k, p, f, 1, n);
        check_where_shape(k, p, 1, n);
    }
    free(p);
}

static void test_broadcast(void **state)
{
    (void)state;
    each_table(check_broadcast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary_values),
        cmocka_unit_test(test_unary_lengths),
        cmocka_unit_test(test_binary_values),
        cmocka_unit_test(test_broadcast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
