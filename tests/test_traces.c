/* What the engine tells besides errors of shape: where a value stopped being finite, a warning, and
 * the place of the call. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"

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

static void assert_text(const char *got, const char *expected)
{
    if (!got || strcmp(got, expected) != 0) {
        print_error("expected:\n%s\ngot:\n%s\n", expected, got ? got : "nothing");
        fail();
    }
}

/* ---- Values that are not finite ---- */

static void assert_traced(ag_tape *tape, const char *expected)
{
    assert_text(ag_error(tape), expected);
    ag_clear_error(tape);
    ag_tape_reset(tape);
}

static void trace_on(ag_tape *tape)
{
    ag_trace_nonfinite(tape, true);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(2)), x = ag_input(tape, "x", AG_SHAPE(2, 3)), y;
    ag_set_f64(w, (double[]){1.0, 0.0}, 2);
    ag_set_f64(x, (double[]){1, 2, 3, 4, -5, 6}, 6);
    ag_sum(ag_exp(ag_log(x)));
    ag_replay(tape);
    assert_traced(tape, "trace: the first value that is not finite: nan, in the forward pass\n"
                        "    in     log(x)   (2, 3), at (1, 1)\n"
                        "    where  x is -5 there");
    /* sqrt(0) is fine, its slope is not. */
    y = ag_sum(ag_sqrt(w));
    assert_true(ag_item(y) == 1.0);
    ag_backward(y);
    ag_item(ag_mean(ag_gradient(w)));
    assert_non_null(strstr(ag_error(tape), "trace: the first value that is not finite: inf, in the "
                                           "backward pass\n    in     "));
    assert_non_null(strstr(ag_error(tape), "   (2,), at (1,)\n    where  "));
    ag_clear_error(tape);
    ag_tape_reset(tape);
    /* A leaf that was set so is named itself. */
    x = ag_input_f64(tape, "data", AG_SHAPE(2), (double[]){(double)INFINITY, 1.0});
    ag_item(ag_sum(ag_add(w, x)));
    assert_traced(tape, "trace: the first value that is not finite: inf, in the forward pass\n"
                        "    in     data   (2,), at (0,)");
    /* A scalar, and an operand of another shape. */
    ag_set_f64(w, (double[]){3e38, 3e38}, 2);
    y = ag_mul_scalar(ag_sum(ag_mul_scalar(w, 1.0)), 10.0);
    if (ag_tape_dtype(tape) == AG_F32) {
        ag_item(y);
        const char *error = ag_error(tape);
        assert_non_null(strstr(error,
                               "inf, in the forward pass\n    in     sum over all elements of "
                               "1 * w   ()\n    where  1 * w ranges from 3e+38"));
        assert_null(strstr(error, "at ("));
    } else
        assert_true(isfinite(ag_item(y)));
}

static void traces(void **state)
{
    ag_tape *single = ag_tape_new(AG_F32);
    trace_on(*state);
    trace_on(single);
    /* Off again, NaN is a value like any other. */
    ag_clear_error(single);
    ag_trace_nonfinite(single, false);
    assert_true(isnan(ag_item(ag_log(ag_full(single, AG_SCALAR, -1.0)))));
    assert_null(ag_error(single));
    ag_tape_free(single);
}

/* What a new input's memory holds before its values are set is nobody's: here the last batch's. */
static void traces_what_was_set(void **state)
{
    const double bad[] = {1.0, (double)NAN, 3.0}, good[] = {1.0, 2.0, 3.0};
    ag_trace_nonfinite(*state, true);
    for (int batch = 0; batch < 2; batch++) {
        ag_tensor x = ag_input_f64(*state, "x", AG_SHAPE(3), batch ? good : bad);
        assert_int_equal(ag_item(ag_sum(x)) == 6.0, batch);
        assert_int_equal(ag_error(*state) == NULL, batch);
        ag_clear_error(*state);
        ag_tape_reset(*state);
    }
}

/* What causal attention masks is infinite, and no mistake. */
static void traces_masks(void **state)
{
    ag_trace_nonfinite(*state, true);
    ag_tensor x = ag_full(*state, AG_SHAPE(3, 2), 1.0);
    ag_tensor y = ag_scaled_dot_product_attention(x, x, x, true, 0.0);
    assert_true(ag_item(ag_sum(y)) == 6.0);
    assert_null(ag_error(*state));
}

/* ---- Warnings and places ---- */

static void count_warning(void *context, const char *message)
{
    ++*(int *)context;
    assert_non_null(strstr(message, "(3,) and "));
    assert_non_null(strstr(message, "(3, 1) broadcast to (3, 3)"));
}

static void the_warning(void **state)
{
    ag_tape *tape = *state, *other = ag_tape_new(AG_F32);
    int count = 0;
    ag_tensor v = ag_input(tape, "v", AG_SHAPE(3)), c = ag_input(tape, NULL, AG_SHAPE(3, 1));
    ag_set_warning(tape, NULL, NULL);
    ag_sub(v, c);
    ag_set_warning(tape, count_warning, &count);
    ag_add(v, ag_reshape(c, AG_SHAPE(3)));
    ag_add(v, ag_input(tape, NULL, AG_SHAPE(1, 1)));
    ag_mul(ag_reshape(v, AG_SHAPE(1, 3)), c);
    assert_int_equal(count, 0);
    ag_mul(ag_exp(c), v);
    ag_mul(v, c);
    ag_tape_reset(tape);
    assert_int_equal(count, 1);
    ag_set_warning(other, count_warning, &count);
    ag_div(ag_full(other, AG_SHAPE(3), 1.0), ag_full(other, AG_SHAPE(3, 1), 1.0));
    assert_int_equal(count, 2);
    assert_null(ag_error(tape));
    ag_tape_free(other);
}

static void assert_place(ag_tape *tape, int line)
{
    char place[64];
    snprintf(place, sizeof place, "test_traces.c:%d", line);
    const char *at = strstr(ag_error(tape), "\n    at     ");
    if (!at || strcmp(at + strlen(at) - strlen(place), place) != 0 || strchr(at + 1, '\n'))
        fail_msg("expected %s in %s", place, ag_error(tape));
    ag_clear_error(tape);
}

/* The innermost call that failed is told, on the line where it stands. */
static void places(void **state)
{
    ag_tape *tape = *state;
    ag_tensor a = ag_input(tape, "a", AG_SHAPE(2, 3)), bad;
    bad = ag_matmul(a, a);
    assert_place(tape, __LINE__ - 1);
    /* clang-format off */
    bad = ag_sum(
        ag_exp(
            ag_matmul(a, a)));
    /* clang-format on */
    assert_non_null(strstr(ag_error(tape), "matmul: "));
    assert_place(tape, __LINE__ - 3);
    ag_reshape(a, AG_SHAPE(7));
    ag_matmul(a, a);
    assert_non_null(strstr(ag_error(tape), "reshape: "));
    assert_place(tape, __LINE__ - 3);
    ag_parameter(tape, "p", AG_SHAPE(-1));
    assert_place(tape, __LINE__ - 1);
    assert_false(ag_valid(bad));
}

#define with_tape(test) cmocka_unit_test_setup_teardown(test, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_tape(traces),       with_tape(traces_what_was_set),
        with_tape(traces_masks), with_tape(the_warning),
        with_tape(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
