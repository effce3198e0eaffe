/* Lion by its formula, RMSprop and Adagrad on a line, parameter groups. (RMSprop, Adagrad and
 * groups against PyTorch: torch_layers.py.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

enum { N = 7, STEPS = 30 };

/* Gradients that change their sign, one of them 0 throughout. */
static double gradient(int i, int step)
{
    return i == 3 ? 0.0 : sin(1.7 * i + 0.9 * step) * (1.0 + i);
}

/* One step with these gradients: those of the sum of w * g. */
static void step(nn_optimizer *optimizer, ag_tensor w, int number)
{
    double g[N];
    for (int i = 0; i < N; i++)
        g[i] = gradient(i, number);
    ag_tape_reset(w.tape);
    assert_true(ag_backward(ag_sum(ag_mul(w, ag_input_f64(w.tape, "g", AG_SHAPE(N), g)))));
    assert_true(nn_step(optimizer));
}

static void test_lion(void **state)
{
    (void)state;
    for (int dtype = AG_F32; dtype <= AG_F64; dtype++) {
        ag_tape *tape = ag_tape_new((ag_dtype)dtype);
        nn_params *params = nn_params_new(tape, 1);
        ag_tensor w = nn_parameter(params, "w", AG_SHAPE(N));
        nn_options options = nn_lion(0.01);
        assert_true(options.beta1 == 0.9 && options.beta2 == 0.99 && options.weight_decay == 0.0);
        options.weight_decay = 0.1;
        nn_optimizer *optimizer = nn_optimizer_new(params, options);
        double expected[N], m[N] = {0}, values[N];
        for (int i = 0; i < N; i++)
            expected[i] = 0.5 * i - 1.0;
        assert_true(ag_set_f64(w, expected, N));
        for (int t = 0; t < STEPS; t++) {
            step(optimizer, w, t);
            for (int i = 0; i < N; i++) {
                double g = gradient(i, t), c = 0.9 * m[i] + 0.1 * g;
                double sign = (double)((c > 0.0) - (c < 0.0));
                expected[i] -= 0.01 * (sign + 0.1 * expected[i]);
                m[i] = 0.99 * m[i] + 0.01 * g;
            }
        }
        assert_true(ag_get_f64(w, values, N));
        for (int i = 0; i < N; i++)
            assert_true(fabs(values[i] - expected[i]) <= (dtype == AG_F32 ? 2e-6 : 1e-14));
        ag_tape_free(tape);
    }
}

/* The elements of a row go the same way whatever the scale of their gradients. */
static void test_adaptive(void **state)
{
    (void)state;
    nn_options options[] = {nn_rmsprop(0.02), nn_adagrad(0.5), nn_lion(0.01), nn_muon(0.02)};
    for (size_t k = 0; k < sizeof options / sizeof *options; k++)
        for (int dtype = AG_F32; dtype <= AG_F64; dtype++) {
            ag_tape *tape = ag_tape_new((ag_dtype)dtype);
            nn_params *params = nn_params_new(tape, 1);
            ag_tensor w = nn_parameter(params, "w", AG_SHAPE(3));
            nn_optimizer *optimizer = nn_optimizer_new(params, options[k]);
            double values[3], scale[] = {1e-3, 1, 1e3};
            for (int i = 0; i < 1000; i++) {
                ag_tape_reset(tape);
                ag_tensor factor = ag_input_f64(tape, "s", AG_SHAPE(3), scale);
                ag_backward(ag_mean_square(ag_mul(factor, ag_sub_scalar(w, 1.0))));
                assert_true(nn_set_rate(optimizer, options[k].rate * (1.0 - i / 1000.0)));
                assert_true(nn_step(optimizer));
            }
            assert_true(ag_get_f64(w, values, 3));
            for (int i = 0; i < 3; i++)
                assert_true(fabs(values[i] - 1.0) < 1e-2);
            ag_tape_free(tape);
        }
}

/* (Its numbers are compared with NumPy's in torch_layers.py.) A step of Muon is orthogonal but for
 * the iteration's slack, whatever the gradient's scale; vectors are adamw's; so are spared
 * matrices. */
static void test_muon(void **state)
{
    (void)state;
    double first[2][6] = {{0}}, before[6], after[6], bias[2][2];
    for (int i = 0; i < 2; i++) {
        ag_tape *tape = ag_tape_new(AG_F64);
        nn_params *params = nn_params_new(tape, 1);
        nn_linear layer = nn_linear_new(params, "layer", 3, 2);
        nn_options options = i ? nn_adamw(0.1) : nn_muon(0.1);
        options.weight_decay = 0.0;
        nn_optimizer *optimizer = nn_optimizer_new(params, options);
        ag_get_f64(layer.weight, before, 6);
        const double x[] = {1e-5, 2e-5, -3e-5, 5e-5, 4e-5, 1e-5};
        ag_tensor y = nn_linear_apply(&layer, ag_input_f64(tape, "x", AG_SHAPE(2, 3), x));
        const double g[] = {1, 2, 3, -1};
        assert_true(ag_backward(ag_sum(ag_mul(y, ag_input_f64(tape, "g", AG_SHAPE(2, 2), g)))));
        assert_true(nn_step(optimizer));
        ag_get_f64(layer.weight, after, 6);
        ag_get_f64(layer.bias, bias[i], 2);
        for (int k = 0; k < 6; k++)
            first[i][k] = (before[k] - after[k]) / (0.1 * 0.2 * sqrt(3.0));
        ag_tape_free(tape);
    }
    assert_memory_equal(bias[0], bias[1], sizeof bias[0]);
    const double *u = first[0];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            double dot =
                u[3 * i] * u[3 * j] + u[3 * i + 1] * u[3 * j + 1] + u[3 * i + 2] * u[3 * j + 2];
            assert_true(i == j ? dot > 0.4 && dot < 1.5 : fabs(dot) < 0.4);
        }

    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 1);
    nn_parameter(params, "w", AG_SHAPE(2, 2));
    nn_optimizer *optimizer = nn_optimizer_new(params, nn_muon(0.1));
    assert_true(nn_set_adamw(optimizer, "w"));
    assert_false(nn_set_adamw(optimizer, "v") || nn_set_adamw(NULL, "w"));
    assert_non_null(strstr(ag_error(tape), "set_adamw: no parameter's name fits 'v'"));
    ag_tape_free(tape);
}

/* After the first step, which makes the state, a step allocates nothing. */
static void *counting(void *count, void *block, size_t old_size, size_t size)
{
    (void)old_size;
    if (size) {
        ++*(int *)count;
        return realloc(block, size);
    }
    free(block);
    return NULL;
}

static void test_muon_allocates_once(void **state)
{
    (void)state;
    int count = 0, then = 0;
    ag_tape *tape = ag_tape_new_with(AG_F32, counting, &count);
    nn_params *params = nn_params_new(tape, 1);
    nn_mlp mlp = nn_mlp_new(params, "", (const int64_t[]){5, 7, 3}, 3, NULL);
    nn_optimizer *optimizer = nn_optimizer_new(params, nn_muon(0.1));
    for (int i = 0; i < 5; i++) {
        ag_tape_reset(tape);
        ag_tensor x = ag_full(tape, AG_SHAPE(4, 5), 1.0);
        assert_true(ag_backward(ag_mean_square(nn_mlp_apply(&mlp, x))) && nn_step(optimizer));
        then = i == 2 ? count : then;
    }
    assert_int_equal(count, then);
    ag_tape_free(tape);
}

static void test_groups(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, 1);
    ag_tensor w = nn_parameter(params, "a.weight", AG_SHAPE(N));
    nn_options options = nn_sgd(0.1);
    options.weight_decay = 1.0;
    nn_optimizer *optimizer = nn_optimizer_new(params, options);
    double before[N], after[N];
    nn_init_constant(w, 2.0);
    assert_true(nn_set_group(optimizer, "*", 0.0, 0.0)); /* the last that fits counts */
    assert_true(nn_set_group(optimizer, "a*.we*t", 0.5, 0.0));
    ag_get_f64(w, before, N);
    step(optimizer, w, 0);
    ag_get_f64(w, after, N);
    for (int i = 0; i < N; i++)
        assert_true(fabs(after[i] - (before[i] - 0.05 * gradient(i, 0))) < 1e-15);

    const char *const others[] = {"b*", "a.weigh", "a.weightt", "", "*.", "weight", NULL};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(nn_set_group(optimizer, others[i], 1, 0));
        assert_non_null(strstr(ag_error(tape), "set_group: no parameter's name fits '"));
        ag_clear_error(tape);
    }
    assert_false(nn_set_group(optimizer, "*", -1, 0) || nn_set_group(NULL, "*", 1, 0));
    assert_non_null(strstr(ag_error(tape), "rate_scale is -1; it must be at least 0 and finite"));
    ag_clear_error(tape);
    assert_false(nn_set_group(optimizer, "*", 1, (double)NAN));
    assert_non_null(strstr(ag_error(tape), "weight_decay is"));
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lion),
        cmocka_unit_test(test_adaptive),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_muon),
        cmocka_unit_test(test_muon_allocates_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
