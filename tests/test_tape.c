/* The tape: handles, the sticky error, resets, setting and reading values. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"

static void assert_error(ag_tape *tape, const char *expected)
{
    const char *error = ag_error(tape);
    if (!error || !strstr(error, expected)) {
        print_error("expected: %s\ngot: %s\n", expected, error ? error : "no error");
        fail();
    }
    ag_clear_error(tape);
    assert_null(ag_error(tape));
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

/* ---- Handles ---- */

static void unset_handles(void **state)
{
    ag_tape *tape = *state;
    ag_tensor none = {0}, x = ag_input(tape, "x", AG_SHAPE(2));
    assert_false(ag_valid(none));
    assert_false(ag_valid(ag_add(none, none)));
    assert_null(ag_add(none, none).tape);
    assert_false(ag_valid(ag_sum(none)));
    assert_false(ag_valid(ag_matmul(none, none)));
    assert_false(ag_valid(ag_sum_axes(none, AG_AXES(0), false)));
    assert_false(ag_valid(ag_sum_to(none, AG_SHAPE(1))));
    assert_false(ag_valid(ag_reshape(none, AG_SHAPE(1))));
    assert_false(ag_valid(ag_div_scalar(none, 2.0)));
    assert_false(ag_valid(ag_scalar_div(2.0, none)));
    assert_false(ag_valid(ag_name(none, "none")));
    assert_false(ag_backward(none));
    assert_false(ag_gradients(none, &none, 1, &none));
    assert_false(ag_gradcheck(none, 1.0, NULL));
    assert_false(ag_valid(ag_gradient(none)));
    assert_false(ag_has_gradient(none));
    assert_false(ag_set_f64(none, (double[]){1.0}, 1));
    assert_false(ag_set_trainable(none, true));
    assert_false(ag_get_f32(none, (float[]){1.0f}, 1));
    assert_null(ag_data_f64(none));
    assert_true(isnan(ag_item(none)));
    assert_int_equal(ag_count(none), 0);
    assert_int_equal(ag_shape_of(none).rank, 0);
    assert_string_equal(ag_name_of(none), "");
    assert_null(ag_error(tape));

    assert_false(ag_valid(ag_add(none, x)));
    assert_error(tape, "add: operand 1 of 2 was never set");
    assert_false(ag_valid(ag_mul(x, none)));
    assert_error(tape, "mul: operand 2 of 2 was never set");
    assert_false(ag_update_sgd(none, x, none, &(ag_sgd){0}));
    assert_non_null(ag_error(NULL));
}

static void stale_handles(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w = ag_parameter(tape, "w", AG_SCALAR), b = ag_buffer(tape, "b", AG_SHAPE(2));
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(2));
    ag_tensor y = ag_add(x, w);
    ag_tape_reset(tape);
    assert_true(ag_valid(w) && ag_valid(b));
    assert_false(ag_valid(x) || ag_valid(y));
    assert_false(ag_valid(ag_add(y, w)));
    assert_error(tape, "add: stale tensor: it was made before the last ag_tape_reset");
    assert_true(isnan(ag_item(y)));
    assert_error(tape, "item: stale tensor");
    assert_false(ag_set_f64(x, (double[]){1.0, 2.0}, 2));
    assert_error(tape, "set: stale tensor");
    ag_tensor z = ag_input(tape, "z", AG_SHAPE(3));
    assert_int_equal(z.index, x.index);
    assert_false(ag_valid(x));
    assert_false(ag_gradients(ag_sum(z), &x, 1, &y));
    assert_error(tape, "stale tensor");
}

static void foreign_and_garbage_handles(void **state)
{
    ag_tape *tape = *state, *other = ag_tape_new(AG_F64);
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(2)), y = ag_input(other, "y", AG_SHAPE(2));
    assert_false(ag_valid(ag_add(x, y)));
    assert_null(ag_error(tape));
    assert_error(other, "add: operand 1 of 2 belongs to another tape");
    assert_false(ag_valid(ag_matmul(y, x)));
    assert_error(tape, "belongs to another tape");
    ag_tensor gradient;
    assert_false(ag_gradients(ag_sum(x), &y, 1, &gradient));
    assert_error(tape, "gradients: tensor 0 of those asked for is not on y's tape");
    ag_tape_free(other);

    const uint32_t indices[] = {0, 200, 100000, UINT32_MAX, 0x80000000u, 0x80000001u, 0x80001000u};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++)
        for (uint32_t epoch = 0; epoch < 4; epoch++) {
            ag_tensor garbage = {tape, indices[i], epoch};
            assert_false(ag_valid(garbage));
            assert_false(ag_valid(ag_neg(garbage)));
            assert_error(tape, "neg: ");
            assert_false(ag_backward(garbage));
            assert_error(tape, "backward: ");
        }
}

/* ---- The sticky error ---- */

static void first_error_sticks(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(2, 3)), y = ag_input(tape, "y", AG_SHAPE(2));
    size_t length = ag_tape_length(tape);
    ag_tensor bad = ag_matmul(x, x);
    assert_false(ag_valid(bad));
    ag_tensor after = ag_sum(ag_sigmoid(ag_add(bad, y)));
    assert_false(ag_valid(after));
    ag_fail(tape, "another error");
    assert_int_equal(ag_tape_length(tape), length);
    assert_false(ag_valid(ag_parameter(tape, "w", AG_SHAPE(2))));
    assert_false(ag_valid(ag_neg(x)));
    assert_false(ag_backward(after));
    assert_false(ag_set_f64(y, (double[]){1.0, 2.0}, 2));
    assert_error(tape, "matmul: inner dimensions differ: 3 and 2");
    assert_int_equal(ag_tape_length(tape), length);

    assert_false(ag_valid(ag_neg(bad)));
    assert_error(tape, "neg: invalid tensor: the op that was to make it failed");
    assert_true(ag_valid(ag_neg(x)));
    assert_null(ag_error(tape));
    assert_false(ag_valid(ag_fail(tape, "layer %d is upside down", 3)));
    assert_error(tape, "layer 3 is upside down");
}

static void an_error_outlasts_a_reset(void **state)
{
    ag_tape *tape = *state;
    ag_fail(tape, "first");
    ag_tape_reset(tape);
    assert_error(tape, "first");
}

static void long_errors_are_cut(void **state)
{
    ag_tape *tape = *state;
    char *name = malloc(100000);
    assert_non_null(name);
    memset(name, 'w', 99999);
    name[99999] = '\0';
    ag_tensor w = ag_parameter(tape, name, AG_SHAPE(2, 3));
    assert_string_equal(ag_name_of(w), name);
    ag_matmul(w, w);
    assert_error(tape, "matmul: inner dimensions differ: 3 and 2");
    ag_fail(tape, "%s", name);
    assert_true(strlen(ag_error(tape)) < 10000);
    free(name);
}

static void no_tape(void **state)
{
    (void)state;
    ag_tape_free(NULL);
    ag_tape_reset(NULL);
    ag_clear_error(NULL);
    ag_seed(NULL, 1);
    ag_set_warning(NULL, NULL, NULL);
    ag_trace_nonfinite(NULL, true);
    assert_int_equal(ag_tape_length(NULL), 0);
    assert_int_equal(ag_tape_bytes(NULL), 0);
    assert_int_equal(ag_parameter_count(NULL), 0);
    assert_null(ag_allocate(NULL, 8));
    assert_false(ag_valid(ag_parameter(NULL, "w", AG_SHAPE(1))));
    assert_false(ag_valid(ag_input_f32(NULL, "x", AG_SHAPE(1), (float[]){1.0f})));
    assert_false(ag_valid(ag_full(NULL, AG_SHAPE(1), 1.0)));
    assert_false(ag_valid(ag_parameter_at(NULL, 0)));
    assert_false(ag_valid(ag_fail(NULL, "no tape")));
    assert_string_equal(ag_tape_isa(NULL), "");
    assert_true(strlen(ag_error(NULL)) > 0);
}

static void bogus_instruction_set(void **state)
{
    (void)state;
    const char *old = getenv("TAPEGRAD_ISA");
    char *saved = old ? strdup(old) : NULL;
    setenv("TAPEGRAD_ISA", "mmx", 1);
    ag_tape *tape = ag_tape_new(AG_F32);
    assert_non_null(tape);
    assert_error(tape, "TAPEGRAD_ISA is 'mmx'");
    assert_int_equal(ag_item(ag_full(tape, AG_SCALAR, 2.0)), 2);
    ag_tape_free(tape);
    setenv("TAPEGRAD_ISA", "baseline", 1);
    tape = ag_tape_new(AG_F32);
    assert_string_equal(ag_tape_isa(tape), "baseline");
    ag_tape_free(tape);
    if (saved)
        setenv("TAPEGRAD_ISA", saved, 1);
    else
        unsetenv("TAPEGRAD_ISA");
    free(saved);
}

/* ---- Lifetimes ---- */

static void parameters_and_buffers_outlast_a_reset(void **state)
{
    ag_tape *tape = *state;
    ag_tensor w[100];
    double values[] = {1.0, 2.0, 3.0};
    for (int i = 0; i < 100; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        w[i] = i % 2 ? ag_parameter(tape, name, AG_SHAPE(3)) : ag_buffer(tape, name, AG_SHAPE(3));
        values[0] = i;
        ag_set_f64(w[i], values, 3);
        ag_sum(w[i]);
        if (i % 10 == 0)
            ag_tape_reset(tape);
    }
    ag_tape_reset(tape);
    assert_int_equal(ag_tape_length(tape), 0);
    assert_int_equal(ag_parameter_count(tape), 50);
    for (int i = 0; i < 100; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        assert_true(ag_data_f64(w[i])[0] == (double)i && ag_data_f64(w[i])[2] == 3.0);
        assert_string_equal(ag_name_of(w[i]), name);
    }
    assert_int_equal(ag_parameter_at(tape, 49).index, w[99].index);
    assert_null(ag_error(tape));
    assert_false(ag_valid(ag_parameter_at(tape, 50)));
    assert_error(tape, "parameter_at: there is no such parameter");
}

static void allocated_blocks_are_zero_and_last(void **state)
{
    ag_tape *tape = *state;
    unsigned char *block = ag_allocate(tape, 1000);
    assert_non_null(block);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(block[i], 0);
    memset(block, 7, 1000);
    ag_tape_reset(tape);
    for (int i = 0; i < 100; i++)
        ag_parameter(tape, "w", AG_SHAPE(100));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(block[i], 7);
    assert_null(ag_allocate(tape, SIZE_MAX - 8));
    assert_error(tape, "out of memory");
}

static void names(void **state)
{
    ag_tape *tape = *state;
    char name[] = "hidden";
    ag_tensor x = ag_input(tape, NULL, AG_SHAPE(2)), y = ag_name(ag_neg(x), name);
    name[0] = 'X';
    assert_string_equal(ag_name_of(y), "hidden");
    assert_string_equal(ag_name_of(x), "");
    ag_name(y, "other");
    assert_string_equal(ag_name_of(y), "other");
    ag_name(y, NULL);
    assert_string_equal(ag_name_of(y), "");
    assert_null(ag_error(tape));
}

/* ---- Setting and reading ---- */

static void values_are_converted(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        ag_tape *tape = ag_tape_new(i ? AG_F64 : AG_F32);
        ag_tensor x = ag_input_f32(tape, "x", AG_SHAPE(3), (float[]){0.5f, 1.5f, -2.0f});
        ag_tensor y = ag_input_f64(tape, "y", AG_SHAPE(3), (double[]){0.5, 1.5, -2.0});
        float a[3];
        double b[3];
        assert_true(ag_get_f32(y, a, 3) && ag_get_f64(x, b, 3));
        for (int k = 0; k < 3; k++)
            assert_true((double)a[k] == b[k] && b[k] == (k ? k < 2 ? 1.5 : -2.0 : 0.5));
        assert_int_equal(ag_tape_dtype(tape), i ? AG_F64 : AG_F32);
        assert_int_equal(ag_data_f32(x) != NULL, !i);
        ag_clear_error(tape);
        assert_int_equal(ag_data_f64(x) != NULL, i);
        if (i)
            ag_data_f32(x);
        assert_error(tape, "data: the tape's elements are float");
        ag_tape_free(tape);
    }
}

static void misuse_of_values(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(2, 2)), y = ag_neg(x);
    double v[5] = {0};
    assert_true(isnan(ag_item(x)));
    assert_error(tape,
                 "item: only a tensor of one element has an item; this one's shape is (2, 2)");
    assert_false(ag_get_f64(x, v, 5));
    assert_error(tape, "get: (2, 2) has 4 elements, not 5");
    assert_false(ag_set_f64(x, v, 3));
    assert_error(tape, "set: (2, 2) has 4 elements, not 3");
    assert_false(ag_set_f32(x, NULL, 4));
    assert_error(tape, "set: no values (NULL)");
    assert_false(ag_get_f32(x, NULL, 4));
    assert_error(tape, "get: no values (NULL)");
    assert_false(ag_set_f64(y, v, 4));
    assert_error(tape, "set: only parameters, buffers and inputs can be set; this is the result of "
                       "neg");
    assert_false(ag_set_f64(ag_full(tape, AG_SCALAR, 1.0), v, 1));
    assert_error(tape, "this is the result of full");
    assert_false(ag_set_trainable(x, false));
    assert_error(tape, "set_trainable: not a parameter but the result of input");
    ag_input_f64(tape, "x", AG_SHAPE(2), NULL);
    assert_error(tape, "set: no values (NULL)");
    assert_true(ag_item(ag_full(tape, AG_SHAPE(1, 1), 3.0)) == 3.0);
}

static void impossible_shapes(void **state)
{
    ag_tape *tape = *state;
    const int64_t big = INT64_C(1) << 40;
    ag_shape ninth = AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1);
    assert_true(ag_valid(ag_input(tape, "x", ninth)));
    ninth.rank = 9;
    ag_input(tape, "x", ninth);
    assert_error(tape, "input: a shape has 0 to 8 dimensions, not 9");
    ninth.rank = -1;
    ag_parameter(tape, "w", ninth);
    assert_error(tape, "parameter: a shape has 0 to 8 dimensions, not -1");
    ag_buffer(tape, "b", AG_SHAPE(2, 0, 3));
    assert_error(tape, "buffer: axis 1 has size 0; every size must be at least 1");
    ag_full(tape, AG_SHAPE(-3), 1.0);
    assert_error(tape, "full: axis 0 has size -3; every size must be at least 1");
    ag_input(tape, "x", AG_SHAPE(big, big));
    assert_error(tape, "more elements than memory can hold");
    ag_input(tape, "x", AG_SHAPE(big, big, big, big, big, big, big, big));
    assert_error(tape, "more elements than memory can hold");
    ag_input(tape, "x", AG_SHAPE(INT64_MAX));
    assert_error(tape, "more elements than memory can hold");
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(2, 1));
    ag_broadcast_to(x, AG_SHAPE(big, big, 2, 1));
    assert_error(tape, "more elements than memory can hold");
    ninth.rank = 9;
    ag_reshape(x, ninth);
    assert_error(tape, "reshape: a shape has 0 to 8 dimensions, not 9");
    ag_broadcast_to(x, ninth);
    assert_error(tape, "broadcast_to: a shape has 0 to 8 dimensions, not 9");
    ag_sum_to(x, ninth);
    assert_error(tape, "sum_to: a shape has 0 to 8 dimensions, not 9");
    ag_sum_axes(x, (ag_axes){9, {0}}, false);
    assert_error(tape, "sum: 9 axes named");
    ag_sum_axes(x, (ag_axes){0, {0}}, false);
    assert_error(tape, "sum: 0 axes named");
    const ag_conv wide = {.padding = INT32_MAX, .stride = 2};
    ag_tensor w = ag_input(tape, "w", AG_SHAPE(2, 1, 1, 1)), no_bias = {0};
    ag_conv2d(ag_input(tape, "x", AG_SHAPE(2, 1, 1, 1)), w, no_bias, wide);
    assert_error(tape, "conv2d: shape (2, 2, 2147483648, 2147483648) has more elements");
}

#define with_tape(test) cmocka_unit_test_setup_teardown(test, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_tape(unset_handles),
        with_tape(stale_handles),
        with_tape(foreign_and_garbage_handles),
        with_tape(first_error_sticks),
        with_tape(an_error_outlasts_a_reset),
        with_tape(long_errors_are_cut),
        cmocka_unit_test(no_tape),
        cmocka_unit_test(bogus_instruction_set),
        with_tape(parameters_and_buffers_outlast_a_reset),
        with_tape(allocated_blocks_are_zero_and_last),
        with_tape(names),
        cmocka_unit_test(values_are_converted),
        with_tape(misuse_of_values),
        with_tape(impossible_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
