/* What every op of a table of cases says: of wrong operands, of itself, and of its derivatives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "op_cases.h"
#include "words.h"

enum { TRIALS = 6 };

/* ---- Wrong operands ---- */

enum fault { UNSET, STALE, FOREIGN, FAILED, FAULTS };

static const char *const phrases[] = {"was never set", "stale tensor", "another tape", "no such"};

static ag_tensor faulty(enum fault fault, ag_tape *tape, ag_tape *other, ag_tensor stale,
                        ag_shape shape)
{
    switch (fault) {
    case UNSET:
        return (ag_tensor){0};
    case STALE:
        return stale;
    case FOREIGN:
        return ag_input(other, "f", shape);
    default:
        return ag_fail(tape, "earlier: there is no such thing");
    }
}

/* A message is "who: what is wrong", in which nothing is left to fill in. */
static bool good_message(const char *message, const char *phrase)
{
    size_t who = strcspn(message, ":");
    return who && strspn(message, "abcdefghijklmnopqrstuvwxyz_0123456789") == who &&
           message[who + 1] == ' ' && strlen(message) > who + 12 && strstr(message, phrase) &&
           !strstr(message, "(null)") && !strchr(message, '$');
}

/* Does the case read this operand at all? */
static bool reads(const struct op_case *c, int operand)
{
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor x[MAX_INPUTS] = {{0}};
    ag_shape shape[MAX_INPUTS];
    ag_rng rng;
    bool found = false;
    ag_rng_seed(&rng, 1);
    ag_set_warning(tape, NULL, NULL);
    case_shapes(c, &rng, 0, shape);
    for (int i = 0; i < case_inputs(c); i++)
        x[i] = ag_parameter(tape, "p", shape[i]);
    case_call(c, x, 0);
    for (uint32_t i = 1; i < tape->transient.count; i++)
        for (int k = 0; k < tape->transient.at[i].inputs; k++)
            found = found || tape->transient.at[i].input[k] == x[operand].index;
    ag_tape_free(tape);
    return found;
}

/* Operand `bad` of the case is not one that can be used. */
static void meet(const struct op_case *c, int bad, enum fault fault)
{
    ag_tape *tape = ag_tape_new(AG_F32), *other = ag_tape_new(AG_F64);
    ag_tensor stale = ag_input(tape, "s", AG_SHAPE(2)), x[MAX_INPUTS] = {{0}};
    ag_shape shape[MAX_INPUTS];
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    ag_tape_reset(tape);
    ag_set_warning(tape, NULL, NULL);
    ag_set_warning(other, NULL, NULL);
    case_shapes(c, &rng, 0, shape);
    for (int i = 0; i < case_inputs(c); i++)
        x[i] = i == bad ? faulty(fault, tape, other, stale, shape[i])
                        : ag_parameter(tape, "p", shape[i]);
    ag_tensor y = case_call(c, x, 0);
    const char *error = ag_error(other);
    if (!error || (ag_error(tape) && !strstr(error, phrases[fault])))
        error = ag_error(tape);
    bool alone = case_inputs(c) == 1;
    bool optional = bad && fault == UNSET && ag_valid(y); /* a bias, say */
    bool allowed = optional || (alone && fault == FOREIGN);
    bool silent = alone && fault == UNSET; /* there is no tape to tell */
    if (error && !strncmp(error, "buffer: axis 0 has size 0", 25)) {
        error = NULL; /* the case made a buffer shaped like it */
        silent = true;
    }
    bool good = silent    ? !error && !ag_valid(y)
                : allowed ? !error && ag_valid(y)
                          : error && !ag_valid(y) && good_message(error, phrases[fault]);
    if (!good) {
        print_error("op %s, operand %d, fault %d: %s\n", c->op, bad, (int)fault,
                    error ? error : "no error");
        fail();
    }
    ag_tape_free(tape);
    ag_tape_free(other);
}

static void wrong_operands_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < op_case_count; i++)
        for (int bad = 0; bad < case_inputs(&op_cases[i]); bad++)
            for (int fault = 0; fault < FAULTS && reads(&op_cases[i], bad); fault++)
                meet(&op_cases[i], bad, (enum fault)fault);
}

/* ---- Words and pictures ---- */

/* The case, its gradients, and the gradients of those; named operands or none. */
static ag_tape *record_trial(const struct op_case *c, unsigned trial)
{
    static const char *const names[] = {"x", "y", "z"};
    ag_tape *tape = ag_tape_new(trial % 2 ? AG_F32 : AG_F64);
    ag_tensor x[MAX_INPUTS] = {{0}}, gradient[MAX_INPUTS];
    ag_shape shape[MAX_INPUTS];
    ag_rng rng;
    ag_rng_seed(&rng, trial);
    ag_set_warning(tape, NULL, NULL);
    case_shapes(c, &rng, trial, shape);
    for (int i = 0; i < case_inputs(c); i++) {
        double values[MOST_ELEMENTS];
        x[i] = trial % 3 ? ag_parameter(tape, names[i], shape[i]) : ag_input(tape, NULL, shape[i]);
        for (int64_t k = 0; k < ag_count(x[i]); k++)
            values[k] = case_draw(c, &rng);
        ag_set_f64(x[i], values, (size_t)ag_count(x[i]));
    }
    ag_tensor y = case_call(c, x, trial);
    size_t count = (size_t)case_inputs(c);
    if (ag_gradients(ag_sum(ag_square(y)), x, count, gradient)) {
        ag_tensor second = ag_mean_square(gradient[0]);
        for (size_t i = 1; i < count; i++)
            second = ag_add(second, ag_mean_square(gradient[i]));
        ag_backward(second);
    }
    if (ag_error(tape))
        fail_msg("%s: %s", c->op, ag_error(tape));
    return tape;
}

static void explain_trial(ag_tape *tape)
{
    for (unsigned what = 0; what <= (AG_EXPLAIN_VALUES | AG_EXPLAIN_COST); what++) {
        set_locale(what % 2 ? "C.UTF-8" : "C");
        char *text = explained(tape, what);
        assert_good_words(text, what % 2 == 0);
        free(text);
    }
    assert_null(ag_error(tape));
}

static void every_op_is_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < op_case_count; i++)
        for (unsigned trial = 0; trial < TRIALS; trial++) {
            ag_tape *tape = record_trial(&op_cases[i], trial);
            explain_trial(tape);
            ag_tape_free(tape);
        }
}

static void every_op_is_drawn(void **state)
{
    (void)state;
    FILE *all = tmpfile();
    assert_non_null(all);
    for (size_t i = 0; i < op_case_count; i++)
        for (int backward = 0; backward < 2; backward++) {
            ag_tape *tape = record_trial(&op_cases[i], 1);
            char *graph = drawn(tape, backward);
            assert_good_graph(graph);
            fputs(graph, all);
            free(graph);
            ag_tape_free(tape);
        }
    char *graphs = text_of_file(all);
    assert_graphviz_reads(graphs);
    free(graphs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_operands_are_told),
        cmocka_unit_test(every_op_is_explained),
        cmocka_unit_test(every_op_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
