/* Every op, by the table of cases: values against a naive reference, first and second derivatives
 * against central differences, float32 against float64, and wrong uses. The first test walks the
 * engine's own tables, so an op that nobody tests is noticed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "op_cases.h"
#include "op_references.h"

/* How a case's operands come about: parameters themselves, tensors computed from parameters, or
 * one parameter in every place. */
enum mode { LEAVES, COMPUTED, REPEATED, MODES };

struct trial {
    const struct op_case *c;
    enum mode mode;
    unsigned v;
    struct array x[MAX_INPUTS];
};

enum { TRIALS = 16 };

/* The first element is positive, so that no gradient vanishes altogether. */
static void draw_array(const struct op_case *c, ag_rng *rng, ag_shape shape, struct array *x)
{
    x->shape = shape;
    for (int64_t i = 0; i < count_of(&shape); i++)
        x->at[i] = case_draw(c, rng);
    x->at[0] = fabs(x->at[0]);
}

static void draw_trial(struct trial *t, const struct op_case *c, enum mode mode, ag_rng *rng)
{
    ag_shape shape[MAX_INPUTS];
    int64_t n = 1 + (int64_t)ag_rng_below(rng, 3);
    t->c = c;
    t->mode = mode;
    t->v = (unsigned)ag_rng_below(rng, 1000);
    case_shapes(c, rng, t->v, shape);
    for (int i = 0; i < case_inputs(c); i++)
        draw_array(c, rng, mode == REPEATED ? AG_SHAPE(n, n) : shape[i], &t->x[i]);
    for (int i = 1; i < case_inputs(c) && mode == REPEATED; i++)
        t->x[i] = t->x[0];
}

static bool has_mode(const struct op_case *c, enum mode mode)
{
    return mode != REPEATED || (case_inputs(c) > 1 && !c->unlike);
}

/* Records the op on a tape, and says which parameters it comes from. */
static ag_tensor call_trial(ag_tape *tape, const struct trial *t, ag_tensor *parameters)
{
    static const char *const names[] = {"x", "y", "z"};
    ag_tensor x[MAX_INPUTS] = {{0}};
    ag_set_warning(tape, NULL, NULL);
    for (int i = 0; i < case_inputs(t->c); i++) {
        if (i && t->mode == REPEATED) {
            x[i] = parameters[i] = x[0];
            continue;
        }
        x[i] = parameters[i] = ag_parameter(tape, names[i], t->x[i].shape);
        ag_set_f64(x[i], t->x[i].at, (size_t)ag_count(x[i]));
        if (t->mode == COMPUTED)
            x[i] = ag_mul_scalar(x[i], 1.0);
    }
    return case_call(t->c, x, t->v);
}

static void describe(const struct trial *t)
{
    print_error("op %s, mode %d, v %u, shapes", t->c->op, (int)t->mode, t->v);
    for (int i = 0; i < case_inputs(t->c); i++)
        print_error(" %s", shape_words(&t->x[i].shape).at);
    print_error("\n");
}

static void fail_trial(const struct trial *t, const char *what, const ag_tape *tape)
{
    describe(t);
    print_error("%s: %s\n", what, ag_error(tape) ? ag_error(tape) : "no error");
    fail();
}

/* A fixed random tensor like y: weighting by it tells every element and sign apart. */
static ag_tensor weights_like(ag_tensor y, ag_rng *rng)
{
    double w[MOST_ELEMENTS];
    size_t count = (size_t)ag_count(y);
    for (size_t i = 0; i < count; i++)
        w[i] = 0.25 + ag_rng_uniform(rng) * (ag_rng_below(rng, 2) ? 1.0 : -1.0);
    return ag_input_f64(y.tape, NULL, ag_shape_of(y), w);
}

static ag_tensor weighted_sum(ag_tensor y, ag_rng *rng)
{
    return ag_sum(ag_mul(y, weights_like(y, rng)));
}

/* ---- Completeness ---- */

static bool any_record(const ag_tape *tape, const struct op *op, bool broadcasting)
{
    for (uint32_t i = 1; i < tape->transient.count; i++) {
        const struct record *r = &tape->transient.at[i];
        bool found = r->op == op && !broadcasting;
        for (int k = 0; k < r->inputs && r->op == op; k++)
            found = found || !shape_equal(&input_of(tape, r, k)->shape, &r->shape);
        if (found)
            return true;
    }
    return false;
}

/* Does any case of the table record this very op (and not only one of its name)? */
static bool has_case(const struct op *op, bool broadcasting)
{
    ag_rng rng;
    static struct trial t;
    bool found = false;
    ag_rng_seed(&rng, 1);
    for (size_t i = 0; i < op_case_count * TRIALS && !found; i++) {
        const struct op_case *c = &op_cases[i / TRIALS];
        if (strcmp(c->op, op->name) != 0)
            continue;
        ag_tape *tape = ag_tape_new(AG_F64);
        ag_tensor parameters[MAX_INPUTS];
        draw_trial(&t, c, i % 2 ? LEAVES : COMPUTED, &rng);
        call_trial(tape, &t, parameters);
        found = any_record(tape, op, broadcasting);
        ag_tape_free(tape);
    }
    return found;
}

static bool has_wrong_use(const struct op *op)
{
    for (size_t i = 0; i < op_case_count; i++)
        if (!strcmp(op_cases[i].op, op->name) &&
            (op_cases[i].error || op_cases[i].f1 || op_cases[i].f2 || !op_cases[i].shapes))
            return true;
    return false;
}

/* May it lack a gradient rule? */
static bool is_flat(const struct op *op)
{
    for (size_t i = 0; i < op_case_count; i++)
        if (!strcmp(op_cases[i].op, op->name) && op_cases[i].flat)
            return true;
    return op->random;
}

static void every_op_is_tested(void **state)
{
    (void)state;
    int lacking = 0;
    for (size_t l = 0; l < op_list_count; l++)
        for (size_t i = 0; i < op_lists[l]->count; i++) {
            const struct op *op = op_lists[l]->at[i];
            const char *lacks = op->leaf                                ? NULL
                                : !op->gradient && !is_flat(op)         ? "a gradient rule"
                                : !has_case(op, false)                  ? "a gradcheck case"
                                : op->broadcasts && !has_case(op, true) ? "a broadcasting case"
                                : !has_wrong_use(op)                    ? "a wrong-shape case"
                                                                        : NULL;
            if (lacks)
                print_error("op %s has no %s\n", op->name, lacks + 2);
            lacking += lacks != NULL;
        }
    assert_int_equal(lacking, 0);
}

/* The table of formulas: every op must be printable. */
static void every_op_has_a_formula(void **state)
{
    (void)state;
    for (size_t l = 0; l < op_list_count; l++)
        for (size_t i = 0; i < op_lists[l]->count; i++) {
            const struct op *op = op_lists[l]->at[i];
            assert_non_null(op->name);
            assert_non_null(op->formula);
            assert_int_not_equal(op->precedence, 0);
            assert_true(op->leaf == (op->inputs == 0));
            assert_true(op->forward || op->view || op->leaf);
        }
}

/* ---- Values ---- */

static void check_values(const struct trial *t, ag_dtype dtype, double tolerance)
{
    static struct array expected;
    ag_tensor parameters[MAX_INPUTS];
    ag_tape *tape = ag_tape_new(dtype);
    ag_tensor y = call_trial(tape, t, parameters);
    double got[MOST_ELEMENTS];
    case_reference(t->c, t->x, t->v, &expected);
    if (!ag_get_f64(y, got, (size_t)count_of(&expected.shape)))
        fail_trial(t, "no values", tape);
    ag_shape shape = ag_shape_of(y);
    if (!shape_equal(&shape, &expected.shape))
        fail_trial(t, "wrong shape", tape);
    for (int64_t i = 0; i < count_of(&expected.shape); i++)
        if (!(fabs(got[i] - expected.at[i]) <= tolerance * fmax(1.0, fabs(expected.at[i])))) {
            print_error("element %lld is %.17g, not %.17g\n", (long long)i, got[i], expected.at[i]);
            fail_trial(t, dtype == AG_F32 ? "float32 values" : "float64 values", tape);
        }
    ag_tape_free(tape);
}

/* ---- Gradients ---- */

static void expect_gradcheck(const struct trial *t, ag_tensor loss, double tolerance,
                             const char *what)
{
    ag_gradcheck_report report = {0};
    /* x - x and x / x have no gradient to speak of; anything else must have one. */
    bool may_be_flat = t->mode == REPEATED && (t->c->binary == ag_sub || t->c->binary == ag_div);
    if (ag_gradcheck(loss, tolerance, &report) ||
        (may_be_flat && report.error <= tolerance && !ag_error(loss.tape)))
        return;
    print_error("%s[%lld]: analytic %.12g, numeric %.12g\n", report.name ? report.name : "?",
                (long long)report.element, report.analytic, report.numeric);
    fail_trial(t, what, loss.tape);
}

static void check_first(const struct trial *t, ag_rng *rng)
{
    if (t->c->flat)
        return;
    ag_tensor parameters[MAX_INPUTS];
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor y = call_trial(tape, t, parameters);
    if (ag_count(y) == 1)
        expect_gradcheck(t, y, 1e-7, "gradient of the op alone");
    expect_gradcheck(t, weighted_sum(y, rng), 1e-7, "gradient");
    ag_tape_free(tape);
}

/* y + y² gives ops that are linear a second derivative too. */
static void check_second(const struct trial *t, ag_rng *rng)
{
    if (t->c->flat)
        return;
    ag_tensor parameters[MAX_INPUTS], gradients[MAX_INPUTS], total;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor y = call_trial(tape, t, parameters);
    ag_tensor loss = weighted_sum(ag_add(ag_square(y), y), rng);
    int count = t->mode == REPEATED ? 1 : case_inputs(t->c);
    if (!ag_gradients(loss, parameters, (size_t)count, gradients))
        fail_trial(t, "gradients for the second derivative", tape);
    total = weighted_sum(gradients[0], rng);
    for (int i = 1; i < count; i++)
        total = ag_add(total, weighted_sum(gradients[i], rng));
    expect_gradcheck(t, total, 1e-5, "second derivative");
    ag_tape_free(tape);
}

static void for_each_trial(void (*check)(const struct trial *t, ag_rng *rng))
{
    static struct trial t;
    for (size_t i = 0; i < op_case_count; i++)
        for (int mode = 0; mode < MODES; mode++)
            for (uint64_t k = 0; k < TRIALS && has_mode(&op_cases[i], (enum mode)mode); k++) {
                ag_rng rng;
                ag_rng_seed(&rng, k);
                draw_trial(&t, &op_cases[i], (enum mode)mode, &rng);
                check(&t, &rng);
            }
}

static void check_f64(const struct trial *t, ag_rng *rng)
{
    (void)rng;
    check_values(t, AG_F64, 1e-14);
}

static void check_f32(const struct trial *t, ag_rng *rng)
{
    (void)rng;
    check_values(t, AG_F32, 4e-6);
}

static void values_equal_the_reference(void **state)
{
    (void)state;
    for_each_trial(check_f64);
}

static void float32_agrees_with_float64(void **state)
{
    (void)state;
    for_each_trial(check_f32);
}

static void gradients_equal_differences(void **state)
{
    (void)state;
    for_each_trial(check_first);
}

static void second_derivatives_equal_differences(void **state)
{
    (void)state;
    for_each_trial(check_second);
}

/* ---- Wrong uses ---- */

static void wrong_uses_are_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < op_case_count; i++) {
        char buffer[128];
        ag_tape *tape = ag_tape_new(AG_F32);
        const char *expected = case_wrong(&op_cases[i], tape, buffer, sizeof buffer);
        if (!ag_error(tape) || !strstr(ag_error(tape), expected)) {
            print_error("expected: %s\ngot: %s\n", expected,
                        ag_error(tape) ? ag_error(tape) : "no error");
            fail();
        }
        ag_tape_free(tape);
    }
}

/* ---- The checker itself ---- */

static ag_tensor flipped_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_mul(dy, ag_mul_scalar(operand_of(y, i), -2.0));
}

static ag_tensor zero_gradient(ag_tensor y, ag_tensor dy, int i)
{
    (void)y;
    (void)i;
    return ag_mul_scalar(dy, 0.0);
}

static ag_tensor no_gradient(ag_tensor y, ag_tensor dy, int i)
{
    (void)y;
    (void)dy;
    (void)i;
    return NONE;
}

/* x² with a gradient rule of one's own. */
static bool passes(ag_tensor (*gradient)(ag_tensor, ag_tensor, int), ag_gradcheck_report *report)
{
    const struct op op = {.name = "wrong",
                          .inputs = 1,
                          .formula = "wrong($x)",
                          .precedence = CALL,
                          .forward = unary_forward,
                          .gradient = gradient,
                          .kernel = UNARY_SQUARE};
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(2, 3));
    ag_set_f64(w, (double[]){0.5, 1.0, -2.0, 1.5, 3.0, 0.25}, 6);
    bool ok = ag_gradcheck(ag_sum(record(&op, w, NULL)), 1e-7, report);
    assert_null(ag_error(tape));
    ag_tape_free(tape);
    return ok;
}

static void wrong_gradients_are_caught(void **state)
{
    (void)state;
    ag_gradcheck_report report;
    assert_false(passes(flipped_gradient, &report));
    assert_int_equal(report.index.rank, 2);
    assert_true(report.error > 1.0);
    assert_true(report.analytic * report.numeric < 0.0);
    assert_false(passes(zero_gradient, &report));
    assert_true(report.error > 0.5);
    assert_false(passes(no_gradient, &report));
}

/* A function that is flat at a point tests nothing there. */
static void all_zero_gradients_test_nothing(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3));
    ag_set_f64(w, (double[]){-1.0, -2.0, -3.0}, 3);
    assert_false(ag_gradcheck(ag_sum(ag_relu(w)), 1e-7, NULL));
    assert_null(ag_error(tape));
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_tested),
        cmocka_unit_test(every_op_has_a_formula),
        cmocka_unit_test(values_equal_the_reference),
        cmocka_unit_test(float32_agrees_with_float64),
        cmocka_unit_test(gradients_equal_differences),
        cmocka_unit_test(second_derivatives_equal_differences),
        cmocka_unit_test(wrong_uses_are_explained),
        cmocka_unit_test(wrong_gradients_are_caught),
        cmocka_unit_test(all_zero_gradients_test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
