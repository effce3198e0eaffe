/* Reductions, transposition, fill and optimisers in every instruction set this machine runs, for
 * both element types, and the choice among them. test_kernels_elementwise.c has the rest. */
#include "kernel_arrays.h"

/* ---- Reductions, transposition, fill -------------------------------------------------------- */

static long double combined(enum reduce f, long double sum, long double x)
{
    if (f == REDUCE_SUM)
        return sum + x;
    if (f == REDUCE_SUM_SQUARES)
        return sum + x * x;
    if (isnan(sum) || isnan(x))
        return (long double)NAN;
    return f == REDUCE_MAX ? fmaxl(sum, x) : fminl(sum, x);
}

static long double nothing(enum reduce f)
{
    if (f == REDUCE_MAX)
        return -(long double)INFINITY;
    return f == REDUCE_MIN ? (long double)INFINITY : 0;
}

/* Sums may err by 40 halves of an ulp of the sum of magnitudes, whatever their number. */
static void check_reduce_shape(const struct kernels *k, size_t outer, size_t n, size_t inner,
                               bool with_nan)
{
    size_t count = outer * n * inner, results = outer * inner;
    void *x = malloc(count * k->element), *y = malloc((results + GUARD) * k->element);
    void *one = malloc(inner * k->element);
    assert_true(x && y && one);
    for (size_t i = 0; i < count; i++)
        set(k, x, i, 0.5 + uniform(1));
    if (with_nan)
        set(k, x, random_bits() % count, (double)NAN);
    for (enum reduce f = 0; f < REDUCE_COUNT; f++) {
        for (size_t i = 0; i < results + GUARD; i++)
            set(k, y, i, 77);
        k->reduce[f](outer, n, inner, x, y);
        for (size_t i = results; i < results + GUARD; i++)
            assert_true(get(k, y, i) == 77);
        for (size_t o = 0; o < outer; o++) {
            k->reduce[f](1, n, inner, at(k, x, o * n * inner), one);
            assert_same_bits(k, "reduce", at(k, y, o * inner), one, inner);
        }
        for (size_t i = 0; i < results; i++) {
            long double sum = nothing(f), magnitude = 0;
            for (size_t j = 0; j < n; j++) {
                long double v = (long double)get(k, x, (i / inner * n + j) * inner + i % inner);
                sum = combined(f, sum, v);
                magnitude += fabsl(v);
            }
            long double error = fabsl(sum - (long double)get(k, y, i));
            long double eps = (long double)epsilon(k) / 2;
            long double bound = f == REDUCE_MAX || f == REDUCE_MIN ? 0 : 40 * eps * magnitude;
            if (isnan(sum) ? !isnan(get(k, y, i)) : !(error <= bound))
                fail_msg("%s %zu-bit reduce %d (%zu, %zu, %zu) element %zu: got %a, want %La",
                         k->isa, 8 * k->element, f, outer, n, inner, i, get(k, y, i), sum);
        }
    }
    free(x);
    free(y);
    free(one);
}

static void check_reduce(const struct kernels *k)
{
    const size_t shapes[][3] = {{1, 16512, 64}, {1, 100003, 1}, {3, 1000, 7}, {1, 5000, 100},
                                {64, 10, 1},    {5, 10, 10},    {2, 64, 33},  {1, 4097, 130},
                                {2, 3, 200},    {300, 1, 1},    {1, 257, 63}, {4, 700, 8}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int with_nan = 0; with_nan < 2; with_nan++)
            check_reduce_shape(k, shapes[i][0], shapes[i][1], shapes[i][2], with_nan);
    for (size_t n = 1; n <= 70; n++)
        for (size_t inner = 1; inner <= 70; inner++)
            check_reduce_shape(k, 2, n, inner, (n + inner) % 3 == 0);
}

static void test_reduce(void **state)
{
    (void)state;
    each_table(check_reduce);
}

static void check_transpose(const struct kernels *k)
{
    enum { MOST = 70 };
    static double x[MOST * MOST], y[MOST * MOST + GUARD];
    for (size_t i = 0; i < MOST * MOST; i++)
        set(k, x, i, uniform(1));
    for (size_t rows = 1; rows <= MOST; rows++)
        for (size_t cols = 1; cols <= MOST; cols++) {
            size_t n = rows * cols;
            for (size_t i = n; i < n + GUARD; i++)
                set(k, y, i, 77);
            k->transpose(rows, cols, x, y);
            for (size_t i = 0; i < n; i++)
                assert_true(get(k, y, i) == get(k, x, i % rows * cols + i / rows));
            for (size_t i = n; i < n + GUARD; i++)
                assert_true(get(k, y, i) == 77);
        }
}

static void test_transpose(void **state)
{
    (void)state;
    each_table(check_transpose);
}

static void check_fill(const struct kernels *k)
{
    for (size_t n = 0; n <= 70; n++) {
        double y[71];
        set(k, y, n, 77);
        k->fill(n, 0.1, y);
        for (size_t i = 0; i < n; i++)
            assert_true(get(k, y, i) == rounded(k, (long double)0.1));
        assert_true(get(k, y, n) == 77);
    }
}

static void test_fill(void **state)
{
    (void)state;
    each_table(check_fill);
}

/* ---- Optimisers ----------------------------------------------------------------------------- */

enum { PARAMETERS = 70, STEPS = 5 };

static void assert_close(const struct kernels *k, const char *what, double got, double want)
{
    double eps = epsilon(k);
    if (!(fabs(got - want) <= 16 * eps * (fabs(want) + 1)))
        fail_msg("%s %zu-bit %s: got %a, want %a", k->isa, 8 * k->element, what, got, want);
}

static void check_sgd_case(const struct kernels *k, size_t n, struct sgd o)
{
    double w[PARAMETERS + 1], g[PARAMETERS], m[PARAMETERS + 1] = {0};
    double exact[PARAMETERS], moment[PARAMETERS] = {0};
    for (size_t i = 0; i < n; i++) {
        set(k, w, i, uniform(1));
        exact[i] = get(k, w, i);
    }
    set(k, w, n, 77);
    set(k, m, n, 77);
    for (int step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < n; i++) {
            set(k, g, i, uniform(1));
            double gi = o.scale * get(k, g, i) + o.weight_decay * exact[i];
            if (o.momentum != 0) {
                moment[i] = o.momentum * moment[i] + gi;
                gi = o.nesterov ? gi + o.momentum * moment[i] : moment[i];
            }
            exact[i] -= o.rate * gi;
        }
        k->sgd(n, w, g, o.momentum != 0 ? m : NULL, &o);
    }
    for (size_t i = 0; i < n; i++)
        assert_close(k, "sgd", get(k, w, i), exact[i]);
    assert_true(get(k, w, n) == 77 && get(k, m, n) == 77);
}

static void check_sgd(const struct kernels *k)
{
    for (size_t n = 0; n <= PARAMETERS; n++) {
        check_sgd_case(k, n, (struct sgd){.rate = 0.1, .scale = 1});
        check_sgd_case(k, n, (struct sgd){.rate = 0.1, .scale = 0.5, .weight_decay = 0.01});
        check_sgd_case(k, n, (struct sgd){.rate = 0.1, .momentum = 0.9, .scale = 1});
        check_sgd_case(k, n,
                       (struct sgd){.rate = 0.1,
                                    .momentum = 0.9,
                                    .weight_decay = 0.01,
                                    .nesterov = true,
                                    .scale = 1});
    }
}

static void test_sgd(void **state)
{
    (void)state;
    each_table(check_sgd);
}

static void check_adam_case(const struct kernels *k, size_t n, struct adam o)
{
    double w[PARAMETERS + 1], g[PARAMETERS], m[PARAMETERS + 1] = {0}, v[PARAMETERS + 1] = {0};
    double exact[PARAMETERS], m_exact[PARAMETERS] = {0}, v_exact[PARAMETERS] = {0};
    for (size_t i = 0; i < n; i++) {
        set(k, w, i, uniform(1));
        exact[i] = get(k, w, i);
    }
    set(k, w, n, 77);
    set(k, m, n, 77);
    set(k, v, n, 77);
    for (int step = 1; step <= STEPS; step++) {
        o.correction1 = 1 - pow(o.beta1, step);
        o.correction2 = 1 - pow(o.beta2, step);
        for (size_t i = 0; i < n; i++) {
            set(k, g, i, uniform(1));
            double gi = o.scale * get(k, g, i);
            if (o.decoupled)
                exact[i] -= o.rate * o.weight_decay * exact[i];
            else
                gi += o.weight_decay * exact[i];
            m_exact[i] = o.beta1 * m_exact[i] + (1 - o.beta1) * gi;
            v_exact[i] = o.beta2 * v_exact[i] + (1 - o.beta2) * gi * gi;
            exact[i] -= o.rate * (m_exact[i] / o.correction1) /
                        (sqrt(v_exact[i] / o.correction2) + o.epsilon);
        }
        k->adam(n, w, g, m, v, &o);
    }
    for (size_t i = 0; i < n; i++) {
        assert_close(k, "adam w", get(k, w, i), exact[i]);
        assert_close(k, "adam m", get(k, m, i), m_exact[i]);
        assert_close(k, "adam v", get(k, v, i), v_exact[i]);
    }
    assert_true(get(k, w, n) == 77 && get(k, m, n) == 77 && get(k, v, n) == 77);
}

static void check_adam(const struct kernels *k)
{
    struct adam o = {.rate = 0.1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-4, .scale = 1};
    for (size_t n = 0; n <= PARAMETERS; n++) {
        o.weight_decay = 0;
        check_adam_case(k, n, o);
        o.weight_decay = 0.01;
        o.decoupled = false;
        check_adam_case(k, n, o);
        o.decoupled = true;
        o.scale = 0.5;
        check_adam_case(k, n, o);
    }
}

static void test_adam(void **state)
{
    (void)state;
    each_table(check_adam);
}

/* One element at a time gives the same bits. */
static void check_optimizer_places(const struct kernels *k)
{
    const struct sgd s = {
        .rate = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true, .scale = 0.7};
    const struct adam a = {.rate = 0.1,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .epsilon = 1e-8,
                           .weight_decay = 0.01,
                           .scale = 0.7,
                           .correction1 = 0.1,
                           .correction2 = 0.001};
    double x[4][PARAMETERS], y[4][PARAMETERS];
    for (int j = 0; j < 4; j++)
        for (size_t i = 0; i < PARAMETERS; i++)
            set(k, x[j], i, fabs(uniform(1)));
    memcpy(y, x, sizeof y);
    k->sgd(PARAMETERS, x[0], x[1], x[2], &s);
    k->adam(PARAMETERS, x[0], x[1], x[2], x[3], &a);
    for (size_t i = 0; i < PARAMETERS; i++) {
        k->sgd(1, at(k, y[0], i), at(k, y[1], i), at(k, y[2], i), &s);
        k->adam(1, at(k, y[0], i), at(k, y[1], i), at(k, y[2], i), at(k, y[3], i), &a);
    }
    for (int j = 0; j < 4; j++)
        assert_same_bits(k, "optimizer", x[j], y[j], PARAMETERS);
}

static void test_optimizer_places(void **state)
{
    (void)state;
    each_table(check_optimizer_places);
}

/* ---- Choice --------------------------------------------------------------------------------- */

static void test_choice(void **state)
{
    (void)state;
    assert_non_null(kernels_f32(NULL));
    assert_non_null(kernels_f64(NULL));
    assert_non_null(kernels_f32("baseline"));
    assert_null(kernels_f32("no such thing"));
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const struct kernels *narrow = kernels_f32(isas[i]), *wide = kernels_f64(isas[i]);
        assert_true(!narrow == !wide);
        if (!narrow)
            continue;
        assert_string_equal(narrow->isa, isas[i]);
        assert_string_equal(wide->isa, isas[i]);
        assert_true(narrow->element == sizeof(float) && wide->element == sizeof(double));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_optimizer_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
