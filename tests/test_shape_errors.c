/* Errors that teach, word for word: the op, the rule, each operand by name or by the expression
 * that made it, its shape, and a hint where one fits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"

#include "op_cases.h"

static void assert_text(const char *got, const char *expected)
{
    if (!got || strcmp(got, expected) != 0) {
        print_error("expected:\n%s\ngot:\n%s\n", expected, got ? got : "no error");
        fail();
    }
}

/* The error without its last line, which tells the place of the call. */
static void assert_error(ag_tape *tape, const char *expected)
{
    char text[1536];
    snprintf(text, sizeof text, "%s", ag_error(tape) ? ag_error(tape) : "no error");
    char *place = strstr(text, "\n    at     ");
    if (place)
        *place = '\0';
    assert_text(text, expected);
    ag_clear_error(tape);
}

static int new_tape(void **state)
{
    *state = ag_tape_new(AG_F32);
    return *state ? 0 : -1;
}

static int free_tape(void **state)
{
    ag_tape_free(*state);
    return 0;
}

static ag_tensor named(ag_tape *tape, const char *name, ag_shape shape)
{
    return ag_parameter(tape, name, shape);
}

/* ---- Products ---- */

static void the_example_of_the_design(void **state)
{
    ag_tape *tape = *state;
    ag_tensor X = named(tape, "X", AG_SHAPE(32, 8)), W1 = named(tape, "W1", AG_SHAPE(8, 64)),
              b1 = named(tape, "b1", AG_SHAPE(1, 64)), W2 = named(tape, "W2", AG_SHAPE(1, 64));
    ag_matmul(ag_sigmoid(ag_add(ag_matmul(X, W1), b1)), W2);
    assert_error(tape, "matmul: inner dimensions differ: 64 and 1\n"
                       "    left   sigmoid(X @ W1 + b1)   (32, 64)\n"
                       "    right  W2                     (1, 64)\n"
                       "    hint   W2 transposed is (64, 1), which fits");
}

static void products(void **state)
{
    ag_tape *tape = *state;
    ag_tensor A = named(tape, "A", AG_SHAPE(4, 3)), B = named(tape, "B", AG_SHAPE(4, 5)),
              v = named(tape, "v", AG_SHAPE(7)), s = named(tape, "s", AG_SCALAR),
              T = named(tape, "T", AG_SHAPE(2, 3, 4)), U = named(tape, "U", AG_SHAPE(5, 4, 3));
    ag_matmul(A, B);
    assert_error(tape, "matmul: inner dimensions differ: 3 and 4\n"
                       "    left   A   (4, 3)\n"
                       "    right  B   (4, 5)\n"
                       "    hint   A transposed is (3, 4), which fits");
    ag_matmul(ag_neg(A), B);
    assert_error(tape, "matmul: inner dimensions differ: 3 and 4\n"
                       "    left   -A   (4, 3)\n"
                       "    right  B    (4, 5)\n"
                       "    hint   the left operand transposed is (3, 4), which fits");
    ag_matmul(B, A);
    assert_error(tape, "matmul: inner dimensions differ: 5 and 4\n"
                       "    left   B   (4, 5)\n"
                       "    right  A   (4, 3)\n"
                       "    hint   B transposed is (5, 4), which fits");
    ag_matmul(T, U);
    assert_error(tape, "matmul: leading (batch) axes do not broadcast\n"
                       "    left   T   (2, 3, 4)\n"
                       "    right  U   (5, 4, 3)");
    ag_matmul(A, s);
    assert_error(tape, "matmul: operands must have at least one axis\n"
                       "    left   A   (4, 3)\n"
                       "    right  s   ()\n"
                       "    hint   a number multiplies by mul");
    /* A vector is named with its own shape, not with that of the row or column it counts as. */
    ag_matmul(A, v);
    assert_error(tape, "matmul: inner dimensions differ: 3 and 7\n"
                       "    left   A   (4, 3)\n"
                       "    right  v   (7,)");
    ag_matmul(v, A);
    assert_error(tape, "matmul: inner dimensions differ: 7 and 4\n"
                       "    left   v   (7,)\n"
                       "    right  A   (4, 3)");
    ag_matmul(v, T);
    assert_error(tape, "matmul: inner dimensions differ: 7 and 3\n"
                       "    left   v   (7,)\n"
                       "    right  T   (2, 3, 4)");
    ag_linear(T, A, v);
    assert_error(tape, "matmul: inner dimensions differ: 4 and 3\n"
                       "    left   T   (2, 3, 4)\n"
                       "    right  A   (4, 3)\n"
                       "    hint   A transposed is (3, 4), which fits");
    ag_matmul(T, A);
    assert_null(ag_error(tape));
    ag_matmul(T, B);
    assert_null(ag_error(tape));
    ag_matmul(T, ag_transpose(A));
    assert_error(tape, "matmul: inner dimensions differ: 4 and 3\n"
                       "    left   T     (2, 3, 4)\n"
                       "    right  A.T   (3, 4)\n"
                       "    hint   the right operand transposed is (4, 3), which fits");
}

/* ---- Broadcasting ---- */

#define DO_NOT_BROADCAST                                                                           \
    "shapes do not broadcast: from the last axis backwards, sizes must be equal or one of them "   \
    "1\n"

static void broadcasts(void **state)
{
    ag_tape *tape = *state;
    ag_tensor A = named(tape, "A", AG_SHAPE(4, 3)), B = named(tape, "B", AG_SHAPE(3, 4)),
              C = named(tape, "C", AG_SHAPE(5, 6)), rows = named(tape, "rows", AG_SHAPE(4));
    ag_add(A, C);
    assert_error(tape, "add: " DO_NOT_BROADCAST "    left   A   (4, 3)\n"
                       "    right  C   (5, 6)");
    ag_sub(A, B);
    assert_error(tape, "sub: " DO_NOT_BROADCAST "    left   A   (4, 3)\n"
                       "    right  B   (3, 4)\n"
                       "    hint   the left operand transposed is (3, 4), which fits");
    ag_mul(A, rows);
    assert_error(tape, "mul: " DO_NOT_BROADCAST "    left   A      (4, 3)\n"
                       "    right  rows   (4,)\n"
                       "    hint   the right operand reshaped to (4, 1) fits: one value for each "
                       "row");
    /* No axis can be added to eight, and none is. */
    ag_tensor eight = named(tape, "eight", AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 2)),
              other = named(tape, "other", AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 3));
    ag_div(eight, other);
    assert_error(tape, "div: " DO_NOT_BROADCAST "    left   eight   (1, 1, 1, 1, 1, 1, 1, 2)\n"
                       "    right  other   (1, 1, 1, 1, 1, 1, 1, 3)");
}

static void keep_warning(void *context, const char *message)
{
    char *kept = context;
    snprintf(kept, 300, "%s", message);
}

/* (n,) against (n, 1): allowed, with a word of warning, once. */
static void vector_against_column(void **state)
{
    ag_tape *tape = *state;
    char kept[300] = "";
    ag_set_warning(tape, keep_warning, kept);
    ag_tensor y = named(tape, "y", AG_SHAPE(32)), p = named(tape, "p", AG_SHAPE(32, 1));
    ag_mul(p, ag_full(tape, AG_SHAPE(1), 2.0));
    ag_sub(ag_full(tape, AG_SHAPE(1, 32), 1.0), p);
    assert_text(kept, "");
    assert_int_equal(ag_count(ag_sub(y, p)), 32 * 32);
    assert_null(ag_error(tape));
    assert_text(
        kept, "sub: y (32,) and p (32, 1) broadcast to (32, 32); if they were to go side by side, "
              "reshape y to (32, 1); ag_set_warning turns this off");
    kept[0] = '\0';
    ag_sub(p, y);
    assert_text(kept, "");
}

/* ---- Expressions ---- */

static void assert_left(ag_tape *tape, ag_tensor x, const char *expression)
{
    char line[256], want[256];
    ag_add(x, named(tape, "Z", AG_SHAPE(9, 9, 9)));
    const char *at = ag_error(tape) ? strstr(ag_error(tape), "left   ") : NULL;
    snprintf(line, sizeof line, "%s", at ? at + strlen("left   ") : "no error");
    line[strcspn(line, "\n")] = '\0';
    snprintf(want, sizeof want, "%s   (", expression);
    if (strncmp(line, want, strlen(want)) != 0) {
        print_error("expected: %s\ngot: %s\n", want, line);
        fail();
    }
    ag_clear_error(tape);
}

/* Parentheses stand where they are needed for the meaning. */
static void expressions_mean_what_they_say(void **state)
{
    ag_tape *tape = *state;
    ag_shape square = AG_SHAPE(4, 4);
    ag_tensor a = named(tape, "a", square), b = named(tape, "b", square),
              c = named(tape, "c", square), x = ag_input(tape, NULL, square);
    assert_left(tape, ag_add(ag_add(a, b), c), "a + b + c");
    assert_left(tape, ag_sub(a, ag_sub(b, c)), "a - (b - c)");
    assert_left(tape, ag_sub(ag_sub(a, b), c), "a - b - c");
    assert_left(tape, ag_mul(ag_add(a, b), c), "(a + b) * c");
    assert_left(tape, ag_div(a, ag_mul(b, c)), "a / (b * c)");
    assert_left(tape, ag_matmul(a, ag_matmul(b, c)), "a @ (b @ c)");
    assert_left(tape, ag_scalar_sub(1.0, ag_add(a, b)), "1 - (a + b)");
    assert_left(tape, ag_scalar_sub(1.0, ag_mul(a, b)), "1 - a * b");
    assert_left(tape, ag_square(ag_neg(a)), "(-a)^2");
    assert_left(tape, ag_neg(ag_square(a)), "-a^2");
    assert_left(tape, ag_neg(ag_add(a, b)), "-(a + b)");
    assert_left(tape, ag_transpose(ag_matmul(a, b)), "(a @ b).T");
    assert_left(tape, ag_mul_scalar(ag_add(a, b), 0.5), "0.5 * (a + b)");
    assert_left(tape, ag_exp(ag_neg(ag_add(a, b))), "exp(-(a + b))");
    assert_left(tape, ag_sum_axes(a, AG_AXES(0), true), "sum(a, axis 0)");
    assert_left(tape, ag_reshape(ag_sqrt(a), AG_SHAPE(2, 8)), "reshape(sqrt(a), (2, 8))");
    assert_left(tape, ag_name(ag_mul(a, b), "product"), "product");
    assert_left(tape, ag_add(x, ag_full(tape, square, 2.5)), "input 1 + 2.5");
}

static void long_expressions_are_abridged(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = named(tape, "x", AG_SHAPE(4, 4)), y = x;
    for (int i = 0; i < 1000; i++)
        y = i % 2 ? ag_tanh(ag_add(y, x)) : ag_mul(y, ag_sigmoid(y));
    ag_matmul(y, named(tape, "w", AG_SHAPE(5, 1)));
    const char *error = ag_error(tape);
    assert_non_null(error);
    assert_non_null(strstr(error, "..."));
    for (const char *line = error; *line && strncmp(line, "    at", 6) != 0;
         line += strcspn(line, "\n") + (strchr(line, '\n') != NULL))
        assert_true(strcspn(line, "\n") < 100);
}

static void assert_place(ag_tape *tape, int line)
{
    char place[64];
    snprintf(place, sizeof place, "test_shape_errors.c:%d", line);
    const char *error = ag_error(tape), *found = error ? strstr(error, "\n    at     ") : NULL;
    if (!found || !strstr(found, place)) {
        print_error("expected: %s\ngot: %s\n", place, error ? error : "no error");
        fail();
    }
    ag_clear_error(tape);
}

static void errors_tell_the_place(void **state)
{
    ag_tape *tape = *state;
    ag_tensor A = named(tape, "A", AG_SHAPE(4, 3)), B = named(tape, "B", AG_SHAPE(4, 5));
    ag_matmul(A, B), assert_place(tape, __LINE__);
    ag_sum(ag_add(A, B)), assert_place(tape, __LINE__);
    ag_tensor C = ag_add(A, B);
    ag_tensor D = ag_sum(C);
    ag_exp(D), assert_place(tape, __LINE__ - 2);
}

/* ---- Every op ---- */

/* Each wrong use of the table: the message names the op, and is of a decent form. */
static void every_message_is_well_formed(void **state)
{
    (void)state;
    for (size_t i = 0; i < op_case_count; i++) {
        char buffer[128];
        ag_tape *tape = ag_tape_new(AG_F32);
        case_wrong(&op_cases[i], tape, buffer, sizeof buffer);
        const char *error = ag_error(tape);
        assert_non_null(error);
        size_t length = strlen(error);
        bool multiline = strchr(error, '\n') != NULL;
        bool ok = strstr(error, ": ") && length > 20 && error[length - 1] != '\n' &&
                  !strstr(error, "(null)") && !strstr(error, "$") && !strstr(error, "  \n") &&
                  (!multiline || strstr(error, "\n    left") || strstr(error, "\n    input") ||
                   strstr(error, "\n    first"));
        if (!ok) {
            print_error("%s\n", error);
            fail();
        }
        ag_tape_free(tape);
    }
}

static void other_ops(void **state)
{
    ag_tape *tape = *state;
    ag_tensor v = named(tape, "v", AG_SHAPE(3)), m = named(tape, "m", AG_SHAPE(2, 3));
    ag_transpose(v);
    assert_error(tape, "transpose: needs at least two axes\n"
                       "    input  v   (3,)\n"
                       "    hint   reshape (n,) to (1, n) or (n, 1) to tell a row from a column");
    ag_reshape(ag_exp(m), AG_SHAPE(4, -1));
    assert_error(tape, "reshape: (2, 3) has 6 elements, which do not fill (4, -1)\n"
                       "    input  exp(m)   (2, 3)\n"
                       "    hint   a reshape keeps the elements; one size may be -1, which is "
                       "worked out");
    ag_reshape(m, AG_SHAPE(-1, -1));
    assert_non_null(ag_error(tape));
    ag_clear_error(tape);
    ag_reshape(m, AG_SHAPE(0, -1));
    assert_non_null(ag_error(tape));
    ag_clear_error(tape);
    ag_broadcast_to(m, AG_SHAPE(3));
    assert_error(tape,
                 "broadcast_to: cannot be repeated to (3,): only axes of size 1 and new leading "
                 "ones are\n"
                 "    input  m   (2, 3)");
    ag_mean_axes(m, AG_AXES(-3), false);
    assert_error(tape, "mean: axis -3 is out of range for shape (2, 3), whose axes are -2 to 1\n"
                       "    input  m   (2, 3)");
    ag_sum_axes(ag_sum(m), AG_AXES(0), false);
    const char *error = ag_error(tape);
    assert_non_null(error);
    assert_null(strstr(error, "0 to -1"));
    ag_clear_error(tape);
}

#define with_tape(test) cmocka_unit_test_setup_teardown(test, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_tape(the_example_of_the_design),
        with_tape(products),
        with_tape(broadcasts),
        with_tape(vector_against_column),
        with_tape(expressions_mean_what_they_say),
        with_tape(long_expressions_are_abridged),
        with_tape(errors_tell_the_place),
        cmocka_unit_test(every_message_is_well_formed),
        with_tape(other_ops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
