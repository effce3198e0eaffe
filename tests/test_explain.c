/* The tape in words and pictures: formulas word for word, graphs and tables. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "nn/nn.h"
#include "words.h"

static int new_tape(void **state)
{
    set_locale("C.UTF-8");
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

static void assert_explained(ag_tape *tape, const char *expected)
{
    char *text = explained(tape, 0);
    assert_good_words(text, false);
    assert_text(text, expected);
    free(text);
}

/* ---- The perceptron ---- */

static ag_tensor record_perceptron(ag_tape *tape)
{
    ag_tensor X = ag_input(tape, "X", AG_SHAPE(64, 8)), Y = ag_input(tape, "Y", AG_SHAPE(64, 1)),
              W1 = ag_parameter(tape, "W1", AG_SHAPE(8, 64)),
              b1 = ag_parameter(tape, "b1", AG_SHAPE(1, 64)),
              W2 = ag_parameter(tape, "W2", AG_SHAPE(64, 1)),
              b2 = ag_parameter(tape, "b2", AG_SHAPE(1, 1));
    ag_tensor h = ag_sigmoid(ag_add(ag_matmul(X, W1), b1));
    ag_tensor loss = ag_mean_square(ag_sub(Y, ag_add(ag_matmul(h, W2), b2)));
    assert_true(ag_backward(loss));
    return loss;
}

static void the_perceptron(void **state)
{
    ag_tape *tape = *state;
    record_perceptron(tape);
    assert_explained(
        tape, "forward                            shape\n"
              "  F      = X @ W1                  (64, 64)\n"
              "  E      = F + b1                  (64, 64)\n"
              "  D      = sigmoid(E)              (64, 64)\n"
              "  C      = D @ W2                  (64, 1)\n"
              "  B      = C + b2                  (64, 1)\n"
              "  A      = Y - B                   (64, 1)\n"
              "  L      = mean(A²)                ()\n"
              "backward from L                    shape\n"
              "  dL/dL  = 1                       ()\n"
              "  dL/dA  = 2/n · A                 (64, 1)\n"
              "  dL/dB  = -dL/dA                  (64, 1)\n"
              "  dL/dC  = dL/dB                   (64, 1)\n"
              "  dL/db2 = sum over rows of dL/dB  (1, 1)    ← b2 (1, 1), broadcast over 64 rows\n"
              "  dL/dD  = dL/dC @ W2ᵀ             (64, 64)\n"
              "  dL/dW2 = Dᵀ @ dL/dC              (64, 1)   ← W2 (64, 1)\n"
              "  dL/dE  = dL/dD · D · (1 - D)     (64, 64)\n"
              "  dL/dF  = dL/dE                   (64, 64)\n"
              "  dL/db1 = sum over rows of dL/dE  (1, 64)   ← b1 (1, 64), broadcast over 64 rows\n"
              "  dL/dW1 = Xᵀ @ dL/dF              (8, 64)   ← W1 (8, 64)\n");
}

static void the_perceptron_in_ascii(void **state)
{
    ag_tape *tape = *state;
    record_perceptron(tape);
    set_locale("C");
    assert_explained(
        tape, "forward                            shape\n"
              "  F      = X @ W1                  (64, 64)\n"
              "  E      = F + b1                  (64, 64)\n"
              "  D      = sigmoid(E)              (64, 64)\n"
              "  C      = D @ W2                  (64, 1)\n"
              "  B      = C + b2                  (64, 1)\n"
              "  A      = Y - B                   (64, 1)\n"
              "  L      = mean(A^2)               ()\n"
              "backward from L                    shape\n"
              "  dL/dL  = 1                       ()\n"
              "  dL/dA  = 2/n * A                 (64, 1)\n"
              "  dL/dB  = -dL/dA                  (64, 1)\n"
              "  dL/dC  = dL/dB                   (64, 1)\n"
              "  dL/db2 = sum over rows of dL/dB  (1, 1)    <- b2 (1, 1), broadcast over 64 rows\n"
              "  dL/dD  = dL/dC @ W2.T            (64, 64)\n"
              "  dL/dW2 = D.T @ dL/dC             (64, 1)   <- W2 (64, 1)\n"
              "  dL/dE  = dL/dD * D * (1 - D)     (64, 64)\n"
              "  dL/dF  = dL/dE                   (64, 64)\n"
              "  dL/db1 = sum over rows of dL/dE  (1, 64)   <- b1 (1, 64), broadcast over 64 rows\n"
              "  dL/dW1 = X.T @ dL/dF             (8, 64)   <- W1 (8, 64)\n");
}

/* ---- Other tapes ---- */

/* What the user calls A and L is not called so by the printer as well. */
static void names_do_not_clash(void **state)
{
    ag_tape *tape = *state;
    ag_tensor A = ag_parameter(tape, "A", AG_SHAPE(2, 2)), L = ag_input(tape, "L", AG_SHAPE(2, 2));
    ag_backward(ag_sum(ag_exp(ag_mul(A, L))));
    assert_explained(
        tape, "forward                                                 shape\n"
              "  D     = A · L                                         (2, 2)\n"
              "  C     = exp(D)                                        (2, 2)\n"
              "  B     = sum over all elements of C                    ()\n"
              "backward from B                                         shape\n"
              "  dB/dB = 1                                             ()\n"
              "  dB/dC = broadcast_to(reshape(dB/dB, (1, 1)), (2, 2))  (2, 2)\n"
              "  dB/dD = dB/dC · C                                     (2, 2)\n"
              "  dB/dA = dB/dD · L                                     (2, 2)  ← A (2, 2)\n");
}

static void second_derivatives(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_parameter(tape, "x", AG_SCALAR), dx, d2x;
    ag_tensor y = ag_name(ag_mul(ag_square(x), x), "y");
    ag_gradients(y, &x, 1, &dx);
    ag_gradients(dx, &x, 1, &d2x);
    ag_set_f64(x, (double[]){2.0}, 1);
    ag_replay(tape);
    assert_true(ag_item(d2x) == 12.0);
    assert_explained(tape, "forward                                              shape\n"
                           "  C                 = x²                             ()\n"
                           "  y                 = C · x                          ()\n"
                           "backward from y                                      shape\n"
                           "  dy/dy             = 1                              ()\n"
                           "  dy/dC             = dy/dy · x                      ()\n"
                           "  B                 = 2 · x                          ()\n"
                           "  A                 = dy/dC · B                      ()\n"
                           "  dy/dx             = C + A                          ()     ← x ()\n"
                           "backward from dy/dx                                  shape\n"
                           "  d(dy/dx)/d(dy/dx) = 1                              ()\n"
                           "  d(dy/dx)/dA       = d(dy/dx)/d(dy/dx)              ()\n"
                           "  d(dy/dx)/dC       = d(dy/dx)/d(dy/dx)              ()\n"
                           "  d(dy/dx)/dx       = 2 · dy/dC + B · dy/dy + 2 · x  ()     ← x ()\n"
                           "  d(dy/dx)/dB       = dy/dC                          ()\n"
                           "  d(dy/dx)/d(dy/dC) = B                              ()\n");
}

static void an_empty_tape(void **state)
{
    ag_tape *tape = *state;
    char *text = explained(tape, AG_EXPLAIN_VALUES | AG_EXPLAIN_COST);
    assert_text(text, "");
    free(text);
    ag_parameter(tape, "w", AG_SHAPE(2));
    text = explained(tape, 0);
    assert_text(text, "");
    free(text);
    assert_false(ag_explain(NULL, stdout, 0));
    ag_fail(tape, "no");
    assert_false(ag_explain(tape, stdout, 0));
    assert_false(ag_dot(tape, stdout, false));
}

/* ---- Columns ---- */

/* The line that begins with `start`, after it; NULL if there is none. */
static const char *line_of(const char *text, const char *start)
{
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (!strncmp(line, start, strlen(start)))
            return line + strlen(start);
    return NULL;
}

static void values_and_cost(void **state)
{
    ag_tape *tape = *state;
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(2, 3), (double[]){1, 2, 3, 4, 0, -1});
    ag_name(ag_mul_scalar(x, 2.0), "double");
    ag_name(ag_log(x), "log");
    ag_name(ag_reshape(ag_neg(x), AG_SHAPE(6)), "flat");
    char *text = explained(tape, AG_EXPLAIN_VALUES | AG_EXPLAIN_COST);
    const char *columns[] = {"min", "mean", "max", "NaN", "Inf", "time/us", "bytes"};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        assert_true(strstr(text, columns[i]) && strstr(text, columns[i]) < strchr(text, '\n'));
    const char *line = line_of(text, "  double = 2 · x  ");
    double low, mean, high, micros, bytes;
    int nan, inf;
    assert_non_null(line);
    assert_int_equal(sscanf(line, " (2, 3) %lf %lf %lf %d %d %lf %lf", &low, &mean, &high, &nan,
                            &inf, &micros, &bytes),
                     7);
    assert_true(low == -2.0 && mean == 3.0 && high == 8.0 && !nan && !inf);
    assert_true(micros >= 0.0 && bytes == 48.0);
    line = line_of(text, "  log    = log(x)  ");
    assert_non_null(line);
    assert_non_null(strstr(line, "-inf        nan      1.386     1     1"));
    assert_non_null(strstr(line_of(text, "  flat "), "  0\n")); /* a view takes no bytes */
    free(text);
}

/* ---- Length ---- */

enum { LONG = 100000 };

static double seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Processor seconds that a chain of so many ops takes, forward, backward, in words and as a graph.
 */
static double chain(int length)
{
    double start = seconds();
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "w", AG_SCALAR), y = w;
    for (int i = 0; i < length; i++)
        y = i % 2 ? ag_tanh(y) : ag_add(y, w);
    bool good = ag_backward(y) && isfinite(ag_item(ag_gradient(w)));
    char *text = explained(tape, 0), *graph = drawn(tape, true);
    size_t lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    if (!good || lines < 2 * (size_t)length || !*graph)
        start = 1e9;
    free(text);
    free(graph);
    ag_tape_free(tape);
    return seconds() - start;
}

static void *long_chains(void *times)
{
    for (int i = 0; i < 2; i++)
        ((double *)times)[i] = chain(LONG / (i ? 1 : 10));
    return NULL;
}

/* With 256 KiB of stack, and ten times the length in not much more than ten times the time. */
static void a_long_chain(void **state)
{
    (void)state;
    double times[2];
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    assert_int_equal(pthread_create(&thread, &attributes, long_chains, times), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    if (times[0] < 0.0 || times[1] < 0.0 || times[1] > 40.0 * times[0])
        fail_msg("%d ops: %.3f s; %d: %.3f s", LONG / 10, times[0], LONG, times[1]);
}

/* ---- Graphs ---- */

static void the_graph(void **state)
{
    ag_tape *tape = *state;
    ag_tensor loss = record_perceptron(tape);
    ag_mul_scalar(ag_gradient(ag_parameter_at(tape, 0)), 2.0);
    char *forward = drawn(tape, false), *both = drawn(tape, true);
    assert_good_graph(forward);
    assert_good_graph(both);
    const char *there[] = {"label=<layer 1>",
                           "label=<layer 2>",
                           "p1 [label=<W1>, shape=cylinder",
                           "r1 [label=<X>, shape=parallelogram",
                           "shape=octagon",
                           "r1 -> r3 [label=\" (64, 8)\"]"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        if (!strstr(forward, there[i]) || !strstr(both, there[i]))
            fail_msg("%s is not in %s", there[i], forward);
    assert_null(strstr(forward, "dL/d"));
    assert_null(strstr(forward, "mul_scalar"));
    assert_non_null(strstr(both, "dL/dW1"));
    assert_null(ag_error(loss.tape));
    assert_graphviz_reads(forward);
    assert_graphviz_reads(both);
    free(forward);
    free(both);
}

static void names_that_need_escaping(void **state)
{
    ag_tape *tape = *state;
    char name[400];
    const char *const names[] = {"<b>&\"x\";\\n}",
                                 "a\nb\tc",
                                 "größe.gewicht",
                                 "\xff\xfe\x80.w1",
                                 "1",
                                 ".",
                                 "..",
                                 "]; digraph {",
                                 "\xed\xa0\x80",
                                 "\xc3",
                                 "\xef\xbf\xbf.1",
                                 "%s%n$x",
                                 "</font>1",
                                 "--->",
                                 " ",
                                 "a.b.c.d.0"};
    ag_tensor total = ag_full(tape, AG_SCALAR, 0.0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ag_tensor p = ag_parameter(tape, names[i], AG_SHAPE(2, 2)),
                  x = ag_input(tape, names[i], AG_SHAPE(2, 2));
        total = ag_add(total, ag_name(ag_sum(ag_matmul(x, p)), names[i]));
    }
    memset(name, 'n', sizeof name);
    memcpy(name + 120, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 9);
    name[sizeof name - 1] = '\0';
    ag_backward(ag_add(total, ag_sum(ag_parameter(tape, name, AG_SHAPE(2)))));
    for (int backward = 0; backward < 2; backward++) {
        char *graph = drawn(tape, backward);
        assert_good_graph(graph);
        assert_non_null(strstr(graph, "&#60;b&#62;&#38;&#34;x&#34;;"));
        assert_non_null(strstr(graph, "größe.gewicht"));
        assert_graphviz_reads(graph);
        free(graph);
    }
    free(explained(tape, AG_EXPLAIN_VALUES));
    assert_null(ag_error(tape));
}

/* ---- A table of parameters ---- */

static void the_summary(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 0);
    nn_parameter(params, "W1", AG_SHAPE(8, 64));
    nn_parameter(params, "b1", AG_SHAPE(64));
    nn_parameter(params, "scale", AG_SCALAR);
    FILE *file = tmpfile();
    nn_summary(params, file);
    char *text = text_of_file(file);
    assert_text(text, "parameter  shape    count  bytes\n"
                      "--------------------------------\n"
                      "W1         (8, 64)    512  2,048\n"
                      "b1         (64,)       64    256\n"
                      "scale      ()           1      4\n"
                      "--------------------------------\n"
                      "total                 577  2,308\n");
    free(text);
    ag_tape_free(tape);
}

#define with_tape(test) cmocka_unit_test_setup_teardown(test, new_tape, free_tape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_tape(the_perceptron),
        with_tape(the_perceptron_in_ascii),
        with_tape(names_do_not_clash),
        with_tape(second_derivatives),
        with_tape(an_empty_tape),
        with_tape(values_and_cost),
        cmocka_unit_test(a_long_chain),
        with_tape(the_graph),
        with_tape(names_that_need_escaping),
        cmocka_unit_test(the_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
