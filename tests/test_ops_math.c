/* Where the ops of mathematics, choice and order are easily wrong: at large and infinite values, at
 * ties, bounds and kinks, and with NaN. Their ordinary values are in the tables of op cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "autograd/autograd.h"

#define NOT_A_NUMBER ((double)NAN) /* clang's NAN is a float */

enum { MOST = 64 };

/* Expects y's elements, to a few units in the last place; NaN is expected as NaN. */
static void expect(ag_tensor y, const double *expected, size_t count)
{
    double got[MOST], unit = ag_tape_dtype(y.tape) == AG_F32 ? 5e-7 : 1e-15;
    if (!ag_get_f64(y, got, count))
        fail_msg("%s", ag_error(y.tape));
    for (size_t i = 0; i < count; i++) {
        bool same = got[i] == expected[i] || (isnan(got[i]) && isnan(expected[i]));
        if (!same && !(fabs(got[i] - expected[i]) <= unit * fabs(expected[i])))
            fail_msg("element %zu is %.9g, not %.9g", i, got[i], expected[i]);
    }
}

#define EXPECT(y, ...)                                                                             \
    expect(y, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

#define INPUT(tape, ...)                                                                           \
    ag_input_f64(tape, NULL, AG_SHAPE(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),           \
                 (double[]){__VA_ARGS__})

static ag_tensor gradient_of(ag_tensor y, ag_tensor x)
{
    ag_tensor g = {0};
    ag_gradients(ag_sum(y), &x, 1, &g);
    return g;
}

static int open_tape(void **state)
{
    *state = ag_tape_new(AG_F32);
    return *state ? 0 : -1;
}

static int close_tape(void **state)
{
    ag_tape_free(*state);
    return 0;
}

static void softplus_far_out(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, -1000, -20, 0, 1e-3, 20, 1000, 1e4, HUGE_VAL, -HUGE_VAL);
    ag_tensor y = ag_softplus(x);
    EXPECT(y, 0, 2.0611536224385579e-9, 0.69314718055994529, 0.69364730555995570,
           20.0000000020611536, 1000, 1e4, HUGE_VAL, 0);
    EXPECT(gradient_of(y, x), 0, 2.0611536181902037e-9, 0.5, 0.50024999997916667,
           0.99999999793884631, 1, 1, 1, 0);
}

/* More elements than are worked on at a time. */
static void softplus_of_many(void **state)
{
    enum { N = 1000 };
    ag_tape *tape = *state;
    double x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = 0.01 * (i - N / 2);
    assert_true(ag_get_f64(ag_softplus(ag_input_f64(tape, "x", AG_SHAPE(N), x)), y, N));
    for (int i = 0; i < N; i++)
        assert_true(fabs(y[i] - log1p(exp(x[i]))) <= 1e-6 * log1p(exp(x[i])));
}

static void activations_far_out(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, -1e4, 0, 1e4);
    EXPECT(ag_silu(x), 0, 0, 1e4);
    EXPECT(gradient_of(ag_silu(x), x), 0, 0.5, 1);
    EXPECT(ag_gelu(x), 0, 0, 1e4);
    EXPECT(gradient_of(ag_gelu(x), x), 0, 0.5, 1);
    EXPECT(ag_gelu_tanh(x), 0, 0, 1e4);
    EXPECT(gradient_of(ag_gelu_tanh(x), x), 0, 0.5, 1);
    EXPECT(ag_elu(x, 2.0), -2, 0, 1e4);
    EXPECT(gradient_of(ag_elu(x, 2.0), x), 0, 2, 1);
    EXPECT(gradient_of(ag_leaky_relu(x, 0.25), x), 0.25, 0.25, 1);
    EXPECT(ag_elu(INPUT(tape, -1e-5), 1.0), -9.9999500001666663e-6);
}

static void softmax_of_large_values(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(3, 3),
                               (double[]){1e4, -1e4, 1e4 - 1, -1e4, -1e4, -1e4, 0, -HUGE_VAL, 1});
    ag_tensor w = INPUT(tape, 1, 0, 0);
    double a = 0.73105857863000488, b = 0.26894142136999512, third = 1.0 / 3;
    EXPECT(ag_softmax(x, 1), a, 0, b, third, third, third, b, 0, a);
    EXPECT(ag_log_softmax(x, 1), log(a), -20000.31326168751822, log(b), log(third), log(third),
           log(third), log(b), -HUGE_VAL, log(a));
    EXPECT(gradient_of(ag_mul(w, ag_log_softmax(x, 1)), x), b, 0, -b, 2 * third, -third, -third, a,
           0, -a);
    ag_tensor total = ag_logsumexp(x, AG_AXES(1), false);
    EXPECT(total, 1e4 + 0.31326168751822, -1e4 + 1.0986122886681098, 1.31326168751822);
    EXPECT(gradient_of(total, x), a, 0, b, third, third, third, b, 0, a);
    EXPECT(ag_logsumexp(INPUT(tape, -HUGE_VAL, -HUGE_VAL), AG_AXES(0), false), -HUGE_VAL);
    EXPECT(ag_logsumexp(INPUT(tape, 0, HUGE_VAL), AG_AXES(0), false), HUGE_VAL);
    EXPECT(ag_logsumexp(INPUT(tape, 3e38, 3e38), AG_AXES(0), false), 3e38);
}

/* Groups of more elements than are worked on at a time, or fewer, along each axis. */
static void softmax_of_any_size(void **state)
{
    ag_tape *tape = *state;
    static float y[20000];
    const ag_shape shapes[] = {AG_SHAPE(2, 5000), AG_SHAPE(5000, 2), AG_SHAPE(700, 13, 2)};
    for (int s = 0; s < 3; s++)
        for (int axis = 0; axis < shapes[s].rank; axis++) {
            ag_tensor x = ag_full(tape, shapes[s], 50.0);
            size_t count = (size_t)ag_count(x);
            double n = (double)shapes[s].dim[axis];
            assert_true(ag_get_f32(ag_softmax(x, axis), y, count));
            for (size_t i = 0; i < count; i++)
                assert_true(fabs((double)y[i] * n - 1.0) < 1e-5);
            assert_true(ag_get_f32(ag_log_softmax(x, axis), y, count));
            for (size_t i = 0; i < count; i++)
                assert_true(fabs((double)y[i] + log(n)) < 1e-5);
            ag_tensor total = ag_logsumexp(x, AG_AXES(axis), false);
            assert_true(ag_get_f32(total, y, (size_t)ag_count(total)));
            for (int64_t i = 0; i < ag_count(total); i++)
                assert_true(fabs((double)y[i] - 50.0 - log(n)) < 1e-5);
            ag_tape_reset(tape);
        }
}

static void powers_of_zero_and_below(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, 0, 0, 0, -2, -2, 3), y = INPUT(tape, 0, 1, 2, 3, 0, 0);
    EXPECT(ag_pow(x, y), 1, 0, 0, -8, 1, 1);
    EXPECT(gradient_of(ag_pow(x, y), x), 0, 1, 0, 12, 0, 0);
    EXPECT(gradient_of(ag_pow(x, y), y), 0, 0, 0, NOT_A_NUMBER, NOT_A_NUMBER, 1.0986122886681098);
    EXPECT(gradient_of(ag_pow_scalar(x, 0.0), x), 0, 0, 0, 0, 0, 0);
    EXPECT(gradient_of(ag_pow_scalar(x, 2.0), x), 0, 0, 0, -4, -4, 6);
    EXPECT(gradient_of(gradient_of(ag_pow_scalar(x, 3.0), x), x), 0, 0, 0, -12, -12, 18);
    EXPECT(ag_pow_scalar(x, 0.5), 0, 0, 0, NOT_A_NUMBER, NOT_A_NUMBER, 1.7320508075688772);
}

static void ties_share_the_gradient(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, 1, 2, 3), y = INPUT(tape, 2, 2, 2);
    EXPECT(gradient_of(ag_maximum(x, y), x), 0, 0.5, 1);
    EXPECT(gradient_of(ag_maximum(x, y), y), 1, 0.5, 0);
    EXPECT(gradient_of(ag_minimum(x, y), x), 1, 0.5, 0);
    EXPECT(gradient_of(ag_minimum(x, y), y), 0, 0.5, 1);
    ag_tensor m = ag_input_f64(tape, NULL, AG_SHAPE(2, 1, 3), (double[]){1, 4, 4, 4, 4, 2});
    EXPECT(gradient_of(ag_max(m), m), 0, 0.25, 0.25, 0.25, 0.25, 0);
    EXPECT(gradient_of(ag_max_axes(m, AG_AXES(0, 2), true), m), 0, 0.25, 0.25, 0.25, 0.25, 0);
    EXPECT(gradient_of(ag_min_axes(m, AG_AXES(-1), false), m), 1, 0, 0, 0, 0, 1);
}

static void bounds_and_kinks(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, -2, -1, 0, 1, 2);
    EXPECT(ag_clip(x, -1, 1), -1, -1, 0, 1, 1);
    EXPECT(gradient_of(ag_clip(x, -1, 1), x), 0, 1, 1, 1, 0);
    EXPECT(gradient_of(ag_abs(x), x), -1, -1, 0, 1, 1);
    EXPECT(gradient_of(ag_sign(x), x), 0, 0, 0, 0, 0);
    ag_tensor zero = ag_full(tape, AG_SCALAR, 0.0);
    ag_tensor safe = ag_log(ag_where(ag_greater(x, zero), x, ag_full(tape, AG_SCALAR, 1.0)));
    EXPECT(gradient_of(safe, x), 0, 0, 0, 1, 0.5);
}

static void comparisons_with_nan(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, 1, 2, NOT_A_NUMBER, HUGE_VAL, -0.0),
              y = INPUT(tape, 2, 2, NOT_A_NUMBER, HUGE_VAL, 0.0);
    EXPECT(ag_greater(x, y), 0, 0, 0, 0, 0);
    EXPECT(ag_greater_equal(x, y), 0, 1, 0, 1, 1);
    EXPECT(ag_less(x, y), 1, 0, 0, 0, 0);
    EXPECT(ag_less_equal(x, y), 1, 1, 0, 1, 1);
    EXPECT(ag_equal(x, y), 0, 1, 0, 1, 1);
    EXPECT(ag_not_equal(x, y), 1, 0, 1, 0, 0);
    EXPECT(ag_maximum(x, y), 2, 2, NOT_A_NUMBER, HUGE_VAL, 0);
    EXPECT(ag_clip(x, -1, 1), 1, 1, NOT_A_NUMBER, 1, 0);
    EXPECT(ag_max(x), NOT_A_NUMBER);
}

static void argmax_takes_the_first(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, NULL, AG_SHAPE(3, 3),
                               (double[]){1, 3, 3, 2, NOT_A_NUMBER, 9, -HUGE_VAL, -1, -1});
    EXPECT(ag_argmax(x, 1, false), 1, 1, 1);
    EXPECT(ag_argmax(x, 0, true), 1, 1, 1);
    EXPECT(ag_argmax(ag_full(tape, AG_SHAPE(4), -HUGE_VAL), 0, false), 0);
}

/* Sums of many float32 in a row do not drift. */
static void cumsum_is_summed_in_double(void **state)
{
    ag_tape *tape = *state;
    static float y[200000];
    ag_tensor x = ag_full(tape, AG_SHAPE(200000), 0.1);
    assert_true(ag_get_f32(ag_cumsum(x, 0), y, 200000));
    assert_true(fabs((double)y[199999] - 200000 * (double)0.1f) < 2e-3);
}

static void variance_does_not_cancel(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = INPUT(tape, 10001, 10002, 10003, 10004);
    EXPECT(ag_var(x, 0), 1.25);
    EXPECT(ag_var(x, 1), 1.6666666666666667);
    EXPECT(gradient_of(ag_var(x, 0), x), -0.75, -0.25, 0.25, 0.75);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_tape, close_tape)
    const struct CMUnitTest tests[] = {
        TEST(softplus_far_out),           TEST(softplus_of_many),
        TEST(activations_far_out),        TEST(softmax_of_large_values),
        TEST(softmax_of_any_size),        TEST(powers_of_zero_and_below),
        TEST(ties_share_the_gradient),    TEST(bounds_and_kinks),
        TEST(comparisons_with_nan),       TEST(argmax_takes_the_first),
        TEST(cumsum_is_summed_in_double), TEST(variance_does_not_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
