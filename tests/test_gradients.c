/* The backward walk: which gradients there are, of what, and when one would be wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"

static void assert_error(ag_tape *tape, const char *expected)
{
    const char *error = ag_error(tape);
    if (!error || !strstr(error, expected)) {
        print_error("expected: %s\ngot: %s\n", expected, error ? error : "no error");
        fail();
    }
    ag_clear_error(tape);
}

static void assert_values(ag_tensor x, const double *expected, size_t count)
{
    double values[16];
    assert_true(count <= 16 && ag_get_f64(x, values, count));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(values[i] - expected[i]) <= 1e-12 * fmax(1.0, fabs(expected[i])))) {
            print_error("element %zu is %.17g, not %.17g\n", i, values[i], expected[i]);
            fail();
        }
}

static ag_tensor parameter(ag_tape *tape, const char *name, double a, double b)
{
    ag_tensor w = ag_parameter(tape, name, AG_SHAPE(2));
    ag_set_f64(w, (double[]){a, b}, 2);
    return w;
}

static int new_tape(void **state)
{
    *state = ag_tape_new(AG_F64);
    return *state ? 0 : -1;
}

static int free_tape(void **state)
{
    ag_tape_free(*state);
    return 0;
}

static size_t records_of(const ag_tape *tape, const char *name, uint32_t first)
{
    size_t count = 0;
    for (uint32_t i = first; i < tape->transient.count; i++)
        count += !strcmp(tape->transient.at[i].op->name, name);
    return count;
}

/* ---- What has a gradient ---- */

static void gradients_of_parameters(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), u = parameter(tape, "u", 3.0, 4.0),
              frozen = parameter(tape, "frozen", 5.0, 6.0), b = ag_buffer(tape, "b", AG_SHAPE(2));
    ag_set_trainable(frozen, false);
    assert_false(ag_has_gradient(w));
    assert_false(ag_valid(ag_gradient(w)));
    assert_error(tape, "gradient: w has none: ag_backward was not called");

    ag_tensor y = ag_sum(ag_mul(w, ag_mul(w, ag_add(frozen, b))));
    assert_true(ag_backward(y));
    assert_true(ag_has_gradient(w));
    assert_false(ag_has_gradient(u) || ag_has_gradient(frozen) || ag_has_gradient(b));
    assert_values(ag_gradient(w), (double[]){10.0, 24.0}, 2);
    assert_false(ag_valid(ag_gradient(u)));
    assert_error(tape, "gradient: u has none");

    ag_set_trainable(frozen, true);
    assert_true(ag_backward(ag_sum(ag_mul(frozen, u))));
    assert_true(ag_has_gradient(frozen) && ag_has_gradient(u));
    assert_false(ag_has_gradient(w));
    assert_values(ag_gradient(frozen), (double[]){3.0, 4.0}, 2);

    ag_tape_reset(tape);
    assert_false(ag_has_gradient(frozen));
    assert_null(ag_error(tape));
}

static void gradients_of_intermediates(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(2), (double[]){2.0, 3.0});
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), h = ag_mul(x, w), y = ag_sum(ag_square(h));
    ag_tensor other = ag_input(tape, "other", AG_SHAPE(1, 3)), g[6];
    const ag_tensor wrt[] = {h, x, w, y, other, h};
    assert_true(ag_gradients(y, wrt, 6, g));
    assert_values(g[0], (double[]){4.0, 12.0}, 2);
    assert_values(g[1], (double[]){4.0, 24.0}, 2);
    assert_values(g[2], (double[]){8.0, 36.0}, 2);
    assert_values(g[3], (double[]){1.0}, 1);
    assert_values(g[4], (double[]){0.0, 0.0, 0.0}, 3);
    assert_values(g[5], (double[]){4.0, 12.0}, 2);
    ag_shape shape = ag_shape_of(g[4]);
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.dim[1], 3);
    assert_true(ag_gradients(y, NULL, 0, NULL));
    assert_null(ag_error(tape));
}

/* A scalar parameter as the loss itself; and a product whose rule hands on an operand. */
static void the_smallest_graphs(void **state)
{
    ag_tape *tape = *state;
    ag_tensor a = ag_parameter(tape, "a", AG_SCALAR), b = ag_parameter(tape, "b", AG_SCALAR);
    ag_gradcheck_report report;
    ag_set_f64(a, (double[]){3.0}, 1);
    ag_set_f64(b, (double[]){5.0}, 1);
    assert_true(ag_backward(a));
    assert_values(ag_gradient(a), (double[]){1.0}, 1);
    assert_true(ag_gradcheck(a, 1e-7, &report));

    /* The gradients of a and b are b and a: updating one must not change the other's. */
    assert_true(ag_backward(ag_mul(a, b)));
    const ag_sgd sgd = {.rate = 1.0, .scale = 1.0};
    assert_true(ag_update_sgd(a, ag_gradient(a), (ag_tensor){0}, &sgd));
    assert_true(ag_update_sgd(b, ag_gradient(b), (ag_tensor){0}, &sgd));
    assert_true(ag_item(a) == -2.0);
    assert_true(ag_item(b) == 2.0);
    assert_null(ag_error(tape));
}

static void only_one_number_has_gradients(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), g;
    assert_false(ag_backward(w));
    assert_error(tape, "backward: only a single number has a gradient here, but this tensor's "
                       "shape is (2,)");
    assert_false(ag_gradients(ag_square(w), &w, 1, &g));
    assert_error(tape, "gradients: only a single number");
    assert_true(ag_backward(ag_reshape(ag_sum(w), AG_SHAPE(1, 1, 1))));
    assert_values(ag_gradient(w), (double[]){1.0, 1.0}, 2);
    ag_tape *floats = ag_tape_new(AG_F32);
    assert_false(ag_gradcheck(ag_sum(ag_parameter(floats, "w", AG_SHAPE(2))), 1.0, NULL));
    assert_error(floats, "gradcheck: differences of float32 say little");
    ag_tape_free(floats);
}

/* Two backward passes on one tape, without anything to zero. */
static void backward_twice(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), y = ag_sum(ag_mul(ag_square(w), w));
    assert_true(ag_backward(y));
    ag_tensor first = ag_gradient(w);
    assert_true(ag_backward(y));
    assert_values(ag_gradient(w), (double[]){3.0, 12.0}, 2);
    assert_true(ag_backward(ag_sum(first)));
    assert_values(ag_gradient(w), (double[]){6.0, 12.0}, 2);
    assert_true(ag_backward(ag_sum(ag_gradient(w))));
    assert_values(ag_gradient(w), (double[]){6.0, 6.0}, 2);
    assert_values(first, (double[]){3.0, 12.0}, 2);
}

/* ---- Work that is not done ---- */

static void unneeded_gradients_are_not_computed(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(4, 3)),
              w1 = ag_parameter(tape, "w1", AG_SHAPE(3, 5)),
              w2 = ag_parameter(tape, "w2", AG_SHAPE(5, 1));
    ag_tensor h = ag_tanh(ag_matmul(ag_exp(x), w1)), y = ag_mean_square(ag_matmul(h, w2));
    uint32_t before = tape->transient.count;
    assert_true(ag_backward(y));
    assert_int_equal(records_of(tape, "matmul", before), 3); /* not a fourth, for x */
    assert_int_equal(records_of(tape, "tanh_slope", before), 1);

    ag_set_trainable(w1, false);
    before = tape->transient.count;
    assert_true(ag_backward(y));
    assert_int_equal(records_of(tape, "matmul", before), 1);
    assert_int_equal(records_of(tape, "tanh_slope", before), 0);

    ag_set_trainable(w2, false);
    before = tape->transient.count;
    assert_true(ag_backward(y));
    assert_in_range(tape->transient.count, before, before + 1);

    ag_tensor g;
    before = tape->transient.count;
    assert_true(ag_gradients(y, &h, 1, &g));
    assert_int_equal(records_of(tape, "matmul", before), 1);
}

static double plain_chain(int length)
{
    double x = 0.5;
    for (int i = 0; i < length; i++)
        x = i % 2 ? x + 0.25 : -x;
    return x;
}

static void a_long_chain(void **state)
{
    enum { LENGTH = 100000 };
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SCALAR);
    ag_set_f64(w, (double[]){0.5}, 1);
    for (int round = 0; round < 2; round++) {
        ag_tensor y = w;
        for (int i = 0; i < LENGTH; i++)
            y = i % 2 ? ag_add_scalar(y, 0.25) : ag_neg(y);
        assert_int_equal(ag_tape_length(tape), LENGTH);
        assert_true(ag_backward(y));
        assert_true(ag_item(y) == plain_chain(LENGTH));
        assert_true(ag_item(ag_gradient(w)) == 1.0);
        assert_true(ag_replay(tape));
        size_t bytes = ag_tape_bytes(tape);
        ag_tape_reset(tape);
        assert_int_equal(ag_tape_length(tape), 0);
        assert_int_equal(ag_tape_bytes(tape), bytes);
    }
    assert_null(ag_error(tape));
}

/* ---- Changed values ---- */

static void values_changed_before_backward(void **state)
{
    ag_tape *tape = *state;
    const double new_values[] = {7.0, 8.0};
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), u = parameter(tape, "u", 3.0, 4.0);
    ag_tensor y = ag_sum(ag_mul(w, u));
    ag_set_f64(w, new_values, 2);
    assert_true(ag_item(y) == 11.0); /* as it was recorded */
    assert_false(ag_backward(y));
    assert_error(tape, "backward: w was changed after");
    assert_true(ag_replay(tape));
    assert_true(ag_item(y) == 53.0);
    assert_true(ag_backward(y));
    assert_values(ag_gradient(u), new_values, 2);

    /* Recorded anew, after the change. */
    ag_tape_reset(tape);
    assert_true(ag_backward(ag_sum(ag_mul(w, u))));
    assert_values(ag_gradient(u), new_values, 2);
    assert_null(ag_error(tape));
}

/* Each rule that looks at an operand's value, with the value changed under it. */
static void every_rule_notices(void **state)
{
    ag_tape *tape = *state;
    ag_tensor (*const unary[])(ag_tensor) = {ag_square, ag_log, ag_mean_square};
    ag_tensor (*const binary[])(ag_tensor, ag_tensor) = {ag_mul, ag_div, ag_matmul};
    for (int scalars = 0; scalars < 2; scalars++) {
        ag_shape shape = scalars ? AG_SCALAR : AG_SHAPE(1, 1);
        ag_tensor w = ag_parameter(tape, "w", shape);
        ag_set_f64(w, (double[]){1.0}, 1);
        for (size_t i = 0; i < 3; i++) {
            ag_tape_reset(tape);
            ag_tensor y = unary[i](w);
            ag_set_f64(w, (double[]){2.0}, 1);
            assert_false(ag_backward(y));
            assert_error(tape, "was changed after");
        }
        for (size_t i = 0; i < (scalars ? 2 : 3); i++) {
            ag_tape_reset(tape);
            ag_tensor x = ag_input(tape, "x", shape);
            ag_set_f64(x, (double[]){3.0}, 1);
            ag_tensor y = binary[i](w, x);
            ag_set_f64(x, (double[]){4.0}, 1);
            assert_false(ag_backward(y));
            assert_error(tape, "x was changed after");
        }
    }
}

static void rules_that_need_no_value_do_not_mind(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), u = parameter(tape, "u", 3.0, 4.0);
    ag_tensor y = ag_add(ag_sum(ag_sub(ag_mul_scalar(w, 3.0), u)), ag_sum(ag_sigmoid(w)));
    double s = 1.0 / (1.0 + exp(-1.0)), t = 1.0 / (1.0 + exp(-2.0));
    ag_set_f64(w, (double[]){7.0, 8.0}, 2);
    ag_set_f64(u, (double[]){7.0, 8.0}, 2);
    assert_true(ag_backward(y));
    /* The sigmoid's slope is that of the values it saw. */
    assert_values(ag_gradient(w), (double[]){3.0 + s * (1.0 - s), 3.0 + t * (1.0 - t)}, 2);
    assert_values(ag_gradient(u), (double[]){-1.0, -1.0}, 2);
    assert_null(ag_error(tape));
}

/* A reshape of a leaf is taken when it is recorded, whatever is set later. */
static void values_are_those_of_their_time(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0);
    ag_tensor column = ag_reshape(w, AG_SHAPE(2, 1)), y = ag_sum(ag_square(column));
    ag_set_f64(w, (double[]){7.0, 8.0}, 2);
    assert_values(column, (double[]){1.0, 2.0}, 2);
    assert_true(ag_backward(y));
    assert_values(ag_gradient(w), (double[]){2.0, 4.0}, 2);
    ag_update_sgd(w, ag_gradient(w), (ag_tensor){0}, &(ag_sgd){.rate = 1.0, .scale = 0.5});
    assert_values(w, (double[]){6.0, 6.0}, 2);
    assert_values(column, (double[]){1.0, 2.0}, 2);
}

static void outputs_are_invalid_after_an_error(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = parameter(tape, "w", 1.0, 2.0), y = ag_sum(ag_square(w)), g = w;
    ag_set_f64(w, (double[]){7.0, 8.0}, 2);
    assert_false(ag_gradients(y, &w, 1, &g));
    assert_error(tape, "was changed after");
    assert_false(ag_valid(g));
    ag_gradcheck_report report = {.error = 1.0};
    assert_false(ag_gradcheck(y, 1e-7, &report));
    assert_error(tape, "was changed after");
    assert_true(report.error == 0.0);
}

#define with_tape(test) cmocka_unit_test_setup_teardown(test, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_tape(gradients_of_parameters),
        with_tape(gradients_of_intermediates),
        with_tape(the_smallest_graphs),
        with_tape(only_one_number_has_gradients),
        with_tape(backward_twice),
        with_tape(unneeded_gradients_are_not_computed),
        with_tape(a_long_chain),
        with_tape(values_changed_before_backward),
        with_tape(every_rule_notices),
        with_tape(rules_that_need_no_value_do_not_mind),
        with_tape(values_are_those_of_their_time),
        with_tape(outputs_are_invalid_after_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
