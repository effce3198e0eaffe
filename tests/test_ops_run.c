/* What ops do when they run and run again: positions out of range, random masks, running averages.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"

#define NOT_A_NUMBER ((double)NAN)

static int new_tape(void **state)
{
    return (*state = ag_tape_new(AG_F64)) ? 0 : -1;
}

static int free_tape(void **state)
{
    ag_tape_free(*state);
    return 0;
}

static void assert_values(ag_tensor x, const double *expected, size_t count)
{
    const double *got = ag_data_f64(x);
    assert_int_equal(ag_count(x), count);
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - expected[i]) < 1e-12) && !(isnan(got[i]) && isnan(expected[i])))
            fail_msg("element %zu is %g, not %g", i, got[i], expected[i]);
}

#define assert_is(x, ...)                                                                          \
    assert_values(x, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

static void assert_error(ag_tape *tape, const char *expected)
{
    assert_non_null(ag_error(tape));
    assert_string_equal(ag_error(tape), expected);
    ag_clear_error(tape);
}

/* ---- Positions ---- */

/* Found when it runs: the row is NaN, no memory is touched, and no later call gets the blame. */
static void position_out_of_range(void **state)
{
    static const double wrong[] = {3.0, -1.0, 0.5, NOT_A_NUMBER, (double)INFINITY, 1e300};
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3, 2));
    ag_set_f64(w, (double[]){1, 2, 3, 4, 5, 6}, 6);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ag_tensor k = ag_input_f64(tape, "k", AG_SHAPE(2), (double[]){2.0, wrong[i]});
        ag_tensor rows = ag_take(w, k);
        assert_null(ag_error(tape));
        ag_data_f64(rows);
        ag_exp(rows);
        assert_null(strstr(ag_error(tape), "at     "));
        ag_clear_error(tape);
        assert_is(rows, 5, 6, NOT_A_NUMBER, NOT_A_NUMBER);
    }
    ag_tensor k = ag_input_f64(tape, "k", AG_SHAPE(2), (double[]){2.0, 3.0});
    ag_data_f64(ag_take(w, k));
    assert_error(tape, "take: element 1 of k is 3; a position here is a whole number from 0 to 2");
}

static void position_set_out_of_range(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3));
    ag_tensor k = ag_input(tape, "k", AG_SHAPE(2)), hot = ag_one_hot(k, 2);
    assert_true(ag_backward(ag_sum(ag_square(ag_add_scalar(ag_take(w, k), 1.0)))));
    ag_tensor dw = ag_gradient(w);
    assert_is(dw, 4, 0, 0);
    assert_is(hot, 1, 0, 1, 0);
    ag_set_f64(k, (double[]){1.0, 7.0}, 2);
    assert_false(ag_replay(tape));
    assert_error(tape,
                 "one_hot: element 1 of k is 7; a position here is a whole number from 0 to 1");
    assert_is(hot, 0, 1, NOT_A_NUMBER, NOT_A_NUMBER);
    assert_is(dw, 0, 2, 0);
    ag_set_f64(k, (double[]){1.0, 0.0}, 2);
    assert_true(ag_replay(tape));
    assert_is(dw, 2, 2, 0);
}

/* An update that was computed from a wrong position does not happen. */
static void no_update_after_an_error(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3));
    ag_tensor k = ag_input_f64(tape, "k", AG_SHAPE(1), (double[]){3.0});
    assert_true(ag_backward(ag_sum(ag_exp(ag_take(w, k)))));
    assert_false(
        ag_update_sgd(w, ag_gradient(w), (ag_tensor){0}, &(ag_sgd){.rate = 1, .scale = 1}));
    ag_clear_error(tape);
    assert_is(w, 0, 0, 0);
}

/* ---- Slices as NumPy counts them ---- */

static void slices(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(5), (double[]){0, 1, 2, 3, 4});
    assert_is(ag_slice(x, AG_RANGES({1, -1, 1})), 1, 2, 3);
    assert_is(ag_slice(x, AG_RANGES({-2, AG_END, 1})), 3, 4);
    assert_is(ag_slice(x, AG_RANGES({AG_END, -AG_END, -2})), 4, 2, 0);
    assert_is(ag_slice(x, AG_RANGES({3, 0, -1})), 3, 2, 1);
    assert_is(ag_slice(x, AG_RANGES({-100, 100, 3})), 0, 3);
    assert_is(ag_slice(x, AG_RANGES({3, 1, INT64_MIN})), 3);
}

static void slices_are_printed(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(4, 6, 2));
    ag_tensor y = ag_slice(x, AG_RANGES({1, 3, 1}, {AG_END, -AG_END, -2}));
    ag_matmul(ag_permute(y, AG_AXES(2, 0, 1)), x);
    assert_non_null(strstr(ag_error(tape), "permute(x[1:3, ::-2], (2, 0, 1))"));
    ag_clear_error(tape);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows of a few elements and of many, taken out, put back and, as windows, added up. */
static void rows_of_any_width(void **state)
{
    enum { ROWS = 5, MOST = 80 };
    (void)state;
    for (int64_t width = 3; width <= MOST; width++) {
        ag_tape *tape = ag_tape_new(width % 2 ? AG_F32 : AG_F64);
        double at[ROWS * MOST];
        int64_t count = ROWS * width;
        for (int64_t i = 0; i < count; i++)
            at[i] = (double)i;
        ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(ROWS, width), at), gradient;
        ag_tensor part = ag_slice(x, AG_RANGES(AG_ALL, {1, -1, 1}));
        ag_tensor back = ag_pad(part, AG_SHAPE(0, 1), AG_SHAPE(0, 1), -1.0);
        assert_true(ag_get_f64(back, at, (size_t)count));
        for (int64_t i = 0; i < count; i++)
            assert_true(at[i] == (i % width == 0 || i % width == width - 1 ? -1.0 : (double)i));
        ag_tensor means = ag_avg_pool1d(ag_reshape(x, AG_SHAPE(1, ROWS, width)),
                                        (ag_pool){.kernel = 3, .stride = 1});
        assert_true(ag_gradients(ag_sum(means), &x, 1, &gradient));
        assert_true(ag_get_f64(gradient, at, (size_t)count));
        for (int64_t i = 0; i < count; i++) {
            int64_t windows = least(least(i % width + 1, width - i % width), least(3, width - 2));
            assert_true(fabs(at[i] - (double)windows / 3) < 1e-6);
        }
        ag_tape_free(tape);
    }
}

/* ---- Random and running ---- */

static void dropout_draws_anew(void **state)
{
    enum { N = 10000 };
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(N));
    ag_tensor y = ag_dropout(ag_add_scalar(w, 1.0), 0.25, true);
    assert_true(ag_backward(ag_sum(y)));
    double first = ag_item(ag_mean(y)), kept = 0.0;
    for (int run = 0; run < 2; run++) {
        const double *values = ag_data_f64(y), *gradient = ag_data_f64(ag_gradient(w));
        for (int i = 0; i < N; i++) {
            assert_true(values[i] == gradient[i]);
            assert_true(values[i] == 0.0 || values[i] == 1.0 / 0.75);
            kept += values[i] > 0.0;
        }
        assert_true(ag_replay(tape));
    }
    assert_true(fabs(kept / (2 * N) - 0.75) < 0.02);
    assert_true(first != ag_item(ag_mean(y)));
    assert_true(ag_dropout(w, 0.25, false).index == w.index);
    assert_is(ag_dropout(ag_input_f64(tape, "x", AG_SHAPE(2), (double[]){1, 2}), 1.0, true), 0, 0);
}

/* Equal scores weigh each of the S values 1/S: what comes out is the share that was kept, over 1 -
 * p, anew each time; and a position's own first value is all that the first one may see. */
static void attention_drops_weights(void **state)
{
    enum { L = 200, S = 200 };
    ag_tape *tape = *state;
    ag_tensor q = ag_full(tape, AG_SHAPE(L, 1), 0.0), k = ag_full(tape, AG_SHAPE(S, 1), 0.0);
    ag_tensor v = ag_parameter(tape, "v", AG_SHAPE(S, 1));
    double y[L], before[L] = {0}, mean = 0.0, square = 0.0;
    for (int i = 0; i < S; i++)
        y[i] = 1.0;
    ag_set_f64(v, y, S);
    ag_tensor dropped = ag_scaled_dot_product_attention(q, k, v, false, 0.25);
    for (int run = 0; run < 20; run++) {
        assert_true(ag_get_f64(dropped, y, L));
        assert_memory_not_equal(y, before, sizeof y);
        memcpy(before, y, sizeof y);
        for (int i = 0; i < L; i++) {
            mean += y[i] / (20 * L);
            square += (y[i] - 1.0) * (y[i] - 1.0) / (20 * L);
        }
        assert_true(ag_replay(tape));
    }
    /* Of 800,000 draws: deviations of 1/sqrt(3 * 800000) and, of the variance, about 2%. */
    assert_true(fabs(mean - 1.0) < 5 * 6.5e-4);
    assert_true(fabs(square - 1.0 / (3 * S)) < 0.1 / (3 * S));
    ag_tensor causal = ag_scaled_dot_product_attention(q, k, v, true, 0.25);
    assert_true(ag_get_f64(causal, y, L));
    assert_true(y[0] == 0.0 || y[0] == 1.0 / 0.75);
    assert_true(ag_gradcheck(ag_mean_square(causal), 1e-7, NULL)); /* with what was drawn */
    ag_tensor none = ag_scaled_dot_product_attention(q, k, v, false, 0.0);
    assert_true(ag_get_f64(none, y, L) && fabs(y[0] - 1.0) < 1e-12 && fabs(y[L - 1] - 1.0) < 1e-12);
}

/* Channels 1, 3 and 2, 2: means 2 and 2, unbiased variances 2 and 0. */
static void batch_norm_keeps_averages(void **state)
{
    ag_tape *tape = *state;
    ag_tensor mean = ag_buffer(tape, "mean", AG_SHAPE(2));
    ag_tensor variance = ag_buffer(tape, "variance", AG_SHAPE(2));
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(2));
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(2, 2), (double[]){1, 2, 3, 2});
    ag_tensor none = {0};
    ag_batch_norm_options training = {.training = true, .momentum = 0.5};
    ag_tensor y = ag_batch_norm(ag_add(x, w), mean, variance, none, none, training);
    assert_is(mean, 1, 1);
    assert_is(variance, 1, 0);
    assert_true(ag_replay(tape));
    assert_is(mean, 1.5, 1.5);
    assert_is(variance, 1.5, 0);
    ag_tensor loss = ag_sum(ag_mul(ag_square(y), x));
    ag_gradcheck(loss, 1e-7, NULL); /* w shifts all rows alike: no gradient */
    assert_null(ag_error(tape));
    assert_is(mean, 1.5, 1.5);
    ag_batch_norm(x, x, variance, none, none, training);
    assert_non_null(strstr(ag_error(tape), "the running mean must have shape (2,)"));
    ag_clear_error(tape);
    assert_is(ag_batch_norm(x, mean, mean, none, none, (ag_batch_norm_options){.epsilon = 2.5}),
              -0.25, 0.25, 0.75, 0.25);
}

/* ---- Convolutions too large for one piece ---- */

static double noise_of(void *rng)
{
    return ag_rng_normal(rng);
}

/* x (N, C, S, S), w (O, C/groups, K, K), y as it says and dy like it: x, w and dy are parameters.
 */
struct large {
    ag_tensor x, w, dy, y, gradient[2];
};

static struct large convolve_much(ag_tape *tape, ag_shape x, ag_shape w, ag_conv options)
{
    struct large c = {.x = ag_parameter(tape, "x", x), .w = ag_parameter(tape, "w", w)};
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_set_each(c.x, noise_of, &rng);
    ag_set_each(c.w, noise_of, &rng);
    c.y = ag_conv2d(c.x, c.w, (ag_tensor){0}, options);
    c.dy = ag_parameter(tape, "dy", ag_shape_of(c.y));
    ag_set_each(c.dy, noise_of, &rng);
    ag_gradients(ag_sum(ag_mul(c.y, c.dy)), (ag_tensor[]){c.x, c.w}, 2, c.gradient);
    if (ag_error(tape))
        fail_msg("%s", ag_error(tape));
    return c;
}

static const struct {
    ag_shape x, w;
    ag_conv options;
} large_cases[] = {
    {{4, {3, 24, 40, 40}}, {4, {8, 24, 5, 5}}, {.padding = 2}}, /* some rows at a time */
    {{4, {2, 16, 50, 50}}, {4, {6, 8, 7, 7}}, {.padding = 1, .stride = 2, .groups = 2}},
    {{4, {5, 40, 30, 30}}, {4, {80, 1, 3, 3}}, {.padding = 1, .groups = 40}}, /* depthwise */
    {{4, {5, 60, 30, 30}}, {4, {50, 60, 1, 1}}, {0}},                         /* pointwise */
};

/* Some outputs by the definition; and as it is linear, sum(y dy) = sum(x dx) = sum(w dw). */
static void large_convolutions(void **state)
{
    ag_tape *tape = *state;
    for (size_t i = 0; i < sizeof large_cases / sizeof *large_cases; i++) {
        ag_conv o = large_cases[i].options;
        struct large c = convolve_much(tape, large_cases[i].x, large_cases[i].w, o);
        ag_shape x = ag_shape_of(c.x), w = ag_shape_of(c.w), y = ag_shape_of(c.y);
        const double *px = ag_data_f64(c.x), *pw = ag_data_f64(c.w), *py = ag_data_f64(c.y);
        int64_t groups = o.groups ? o.groups : 1, stride = o.stride ? o.stride : 1;
        for (int64_t at = 0; at < ag_count(c.y); at += 97) {
            int64_t output = at / (y.dim[2] * y.dim[3]) % y.dim[1];
            int64_t image = at / (y.dim[1] * y.dim[2] * y.dim[3]);
            double sum = 0.0;
            for (int64_t k = 0; k < w.dim[1] * w.dim[2] * w.dim[3]; k++) {
                int64_t row =
                    at / y.dim[3] % y.dim[2] * stride - o.padding + k / w.dim[3] % w.dim[2];
                int64_t col = at % y.dim[3] * stride - o.padding + k % w.dim[3];
                int64_t channel = output / (w.dim[0] / groups) * w.dim[1] + k / w.dim[3] / w.dim[2];
                if (row >= 0 && row < x.dim[2] && col >= 0 && col < x.dim[3])
                    sum += pw[output * w.dim[1] * w.dim[2] * w.dim[3] + k] *
                           px[((image * x.dim[1] + channel) * x.dim[2] + row) * x.dim[3] + col];
            }
            assert_true(fabs(sum - py[at]) < 1e-11);
        }
        double total = ag_item(ag_sum(ag_mul(c.y, c.dy)));
        assert_true(fabs(ag_item(ag_sum(ag_mul(c.x, c.gradient[0]))) - total) < 1e-8);
        assert_true(fabs(ag_item(ag_sum(ag_mul(c.w, c.gradient[1]))) - total) < 1e-8);
    }
}

/* However many threads share them. */
static void large_convolutions_by_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof large_cases / sizeof *large_cases; i++) {
        float *first[3] = {NULL};
        for (int threads = 1; threads <= 4; threads++) {
            ag_tape *tape = ag_tape_new(AG_F32);
            assert_true(ag_set_threads(tape, threads));
            struct large c =
                convolve_much(tape, large_cases[i].x, large_cases[i].w, large_cases[i].options);
            const ag_tensor results[] = {c.y, c.gradient[0], c.gradient[1]};
            for (int k = 0; k < 3; k++) {
                size_t count = (size_t)ag_count(results[k]), size = count * sizeof(float);
                float *values = malloc(size);
                assert_true(values && ag_get_f32(results[k], values, count));
                if (threads == 1)
                    first[k] = values;
                else {
                    assert_memory_equal(values, first[k], size);
                    free(values);
                }
            }
            ag_tape_free(tape);
        }
        for (int k = 0; k < 3; k++)
            free(first[k]);
    }
}

/* A convolution's bias may be left out, but nothing else. */
static void left_out(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(1, 1, 3), (double[]){1, 2, 4}), none = {0};
    ag_tensor w = ag_input_f64(tape, "w", AG_SHAPE(1, 1, 2), (double[]){-1, 1});
    assert_is(ag_conv1d(x, w, none, (ag_conv){.padding = 1}), 1, 1, 2, -4);
    assert_is(ag_layer_norm(x, none, none, 1e300), 0, 0, 0);
    assert_false(ag_valid(ag_conv1d(x, none, none, (ag_conv){0})));
    assert_non_null(strstr(ag_error(tape), "conv1d: operand 2 of 2 was never set"));
}

/* ---- Joining ---- */

static void many_are_joined(void **state)
{
    enum { N = 100 };
    ag_tape *tape = *state;
    ag_tensor x[N];
    for (int i = 0; i < N; i++)
        x[i] = ag_full(tape, AG_SHAPE(2), i);
    ag_tensor stacked = ag_stack(x, N, 1), joined = ag_concat(x, N, 0);
    const double *s = ag_data_f64(stacked), *c = ag_data_f64(joined);
    for (int i = 0; i < N; i++)
        assert_true(s[i] == i && s[N + i] == i && c[2 * i] == i && c[2 * i + 1] == i);
    assert_false(ag_valid(ag_concat(x, 0, 0)));
    assert_false(ag_valid(ag_concat(NULL, N, 0)));
    assert_false(ag_valid(ag_stack(NULL, N, 0)));
    assert_null(ag_error(tape));
    ag_stack(x, N, 3);
    assert_non_null(strstr(ag_error(tape), "stack: no room for a new axis 3 in shape (2,)"));
    ag_clear_error(tape);
    x[70] = (ag_tensor){0};
    assert_false(ag_valid(ag_stack(x, N, 0)));
    assert_non_null(strstr(ag_error(tape), " was never set"));
}

/* ---- Options ---- */

static void assert_refused(ag_tensor y, const char *expected)
{
    assert_false(ag_valid(y));
    if (!ag_error(y.tape) || strncmp(ag_error(y.tape), expected, strlen(expected)) != 0)
        fail_msg("not \"%s\" but %s", expected, ag_error(y.tape) ? ag_error(y.tape) : "no error");
    ag_clear_error(y.tape);
}

static void senseless_options(void **state)
{
    const double nan = NOT_A_NUMBER, inf = (double)INFINITY;
    ag_tensor x = ag_input(*state, "x", AG_SHAPE(2, 3, 4)), none = {0};
    ag_tensor w = ag_input(*state, "w", AG_SHAPE(3, 3, 1)), c = ag_buffer(*state, "c", AG_SHAPE(3));
    assert_refused(ag_clip(x, nan, 1.0), "clip: the bounds are");
    assert_refused(ag_clip(x, 0.0, nan), "clip: the bounds are");
    assert_refused(ag_leaky_relu(x, nan), "leaky_relu: the slope is");
    assert_refused(ag_elu(x, inf), "elu: the alpha is inf; it must be finite");
    assert_refused(ag_layer_norm(x, none, none, nan), "layer_norm: epsilon is");
    assert_refused(ag_rms_norm(x, none, -1.0),
                   "rms_norm: epsilon is -1; it must be finite and at least 0");
    assert_refused(ag_batch_norm(x, c, c, none, none, (ag_batch_norm_options){.epsilon = inf}),
                   "batch_norm: epsilon is inf");
    assert_refused(ag_batch_norm(x, c, c, none, none, (ag_batch_norm_options){.momentum = inf}),
                   "batch_norm: momentum is inf");
    assert_refused(ag_one_hot(x, INT64_MAX), "one_hot: the number of classes is 9.2");
    assert_refused(ag_one_hot(x, INT64_MIN), "one_hot: the number of classes is -9.2");
    assert_refused(ag_conv1d(x, w, none, (ag_conv){.padding = INT64_MAX}),
                   "conv1d: a padding of 9223372036854775807 is out of range: it must be from 0 to "
                   "2147483647");
    assert_refused(ag_conv1d(x, w, none, (ag_conv){.groups = -1}),
                   "conv1d: a group count of -1 is out of range: it must be from 1 to 2147483647");
    assert_refused(ag_var(x, INT32_MAX), "var: of 24 elements with correction 2147483647");
}

/* As in PyTorch: crossed bounds give the upper one and no gradient, and a correction may be
 * negative. */
static void odd_options(void **state)
{
    ag_tensor x = ag_parameter(*state, "x", AG_SHAPE(2));
    ag_set_f64(x, (double[]){1, 3}, 2);
    ag_tensor y = ag_clip(x, 2.0, 1.0), v = ag_var(x, INT32_MIN);
    assert_true(ag_backward(ag_sum(y)));
    assert_is(y, 1, 1);
    assert_is(ag_gradient(x), 0, 0);
    assert_true(ag_item(v) == 2.0 / (2.0 + 2147483648.0));
}

#define test(f) cmocka_unit_test_setup_teardown(f, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(position_out_of_range),
        test(position_set_out_of_range),
        test(no_update_after_an_error),
        test(slices),
        test(slices_are_printed),
        test(rows_of_any_width),
        test(dropout_draws_anew),
        test(attention_drops_weights),
        test(batch_norm_keeps_averages),
        test(large_convolutions),
        test(large_convolutions_by_threads),
        test(left_out),
        test(many_are_joined),
        test(senseless_options),
        test(odd_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
