/* Replaying a tape gives the bits that recording it afresh gives. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"
#include "random_graph.h"

enum { GRAPHS = 1000 };

/* Every record of both tapes, forward and backward, bit by bit. */
static bool same_bits(const ag_tape *a, const ag_tape *b)
{
    if (ag_error(a) || ag_error(b) || ag_tape_length(a) != ag_tape_length(b)) {
        print_error("%s; %s; %zu and %zu records\n", ag_error(a) ? ag_error(a) : "no error",
                    ag_error(b) ? ag_error(b) : "no error", ag_tape_length(a), ag_tape_length(b));
        return false;
    }
    for (uint32_t i = 1; i < a->transient.count; i++) {
        const struct record *ra = &a->transient.at[i], *rb = &b->transient.at[i];
        if (ra->op != rb->op || !shape_equal(&ra->shape, &rb->shape) ||
            memcmp(ra->data, rb->data, (size_t)ra->count * element_size(a)) != 0) {
            print_error("record %u, %s, differs\n", i, ra->op->name);
            return false;
        }
    }
    return true;
}

static void replay_equals_recording(ag_dtype dtype, uint64_t seed)
{
    struct graph g, h;
    ag_tape *replayed = ag_tape_new(dtype), *fresh = ag_tape_new(dtype);
    graph_build(&g, replayed, true, seed, 1);
    ag_item(g.loss);
    graph_set(&g, 2);
    ag_replay(replayed);
    graph_build(&h, fresh, true, seed, 2);
    ag_item(h.loss);
    if (!same_bits(replayed, fresh)) {
        print_error("graph %llu\n", (unsigned long long)seed);
        fail();
    }
    ag_tape_free(replayed);
    ag_tape_free(fresh);
}

static void random_graphs_replay_in_float64(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < GRAPHS / 2; seed++)
        replay_equals_recording(AG_F64, seed);
}

static void random_graphs_replay_in_float32(void **state)
{
    (void)state;
    for (uint64_t seed = GRAPHS / 2; seed < GRAPHS; seed++)
        replay_equals_recording(AG_F32, seed);
}

/* The memory that a reset leaves behind is dirty: nothing may depend on it being zero. */
static void a_used_tape_equals_a_new_one(void **state)
{
    (void)state;
    struct graph g, h;
    ag_tape *used = ag_tape_new(AG_F64);
    for (uint64_t seed = 0; seed < GRAPHS / 5; seed++) {
        ag_tape *fresh = ag_tape_new(AG_F64);
        graph_build(&g, used, false, seed, 1);
        graph_build(&h, fresh, false, seed, 1);
        ag_item(g.loss);
        ag_item(h.loss);
        assert_true(same_bits(used, fresh));
        ag_tape_reset(used);
        ag_tape_free(fresh);
    }
    ag_tape_free(used);
}

/* The random graphs' gradients are right as well: spot checks over many ops in a row. */
static void random_graphs_pass_gradcheck(void **state)
{
    (void)state;
    struct graph g;
    for (uint64_t seed = 0; seed < GRAPHS / 20; seed++) {
        ag_gradcheck_report report = {0};
        ag_tape *tape = ag_tape_new(AG_F64);
        graph_build(&g, tape, true, seed, 3);
        bool any = ag_parameter_count(tape) > 0;
        if (any && fabs(ag_item(g.loss)) < 100.0 && !ag_gradcheck(g.loss, 1e-6, &report)) {
            print_error("graph %llu: %s[%lld] analytic %.12g numeric %.12g\n",
                        (unsigned long long)seed, report.name ? report.name : "?",
                        (long long)report.element, report.analytic, report.numeric);
            /* No parameter may matter to the loss, as when it only meets a slope of relu. */
            assert_true(report.error <= 1e-6);
        }
        assert_null(ag_error(tape));
        ag_tape_free(tape);
    }
}

/* A training loop, recorded once and replayed, with the parameters moving under it. */
static void training_by_replay(void **state)
{
    (void)state;
    double x[8], y[4], w[2][2];
    for (int replaying = 0; replaying < 2; replaying++) {
        ag_tape *tape = ag_tape_new(AG_F64);
        ag_tensor p = ag_parameter(tape, "w", AG_SHAPE(2, 1)), xs = {0}, ys = {0}, loss = {0};
        ag_set_f64(p, (double[]){0.3, -0.2}, 2);
        for (int step = 0; step < 50; step++) {
            for (int i = 0; i < 8; i++)
                x[i] = sin(step + i);
            for (int i = 0; i < 4; i++)
                y[i] = cos(step * 3 + i);
            if (!replaying || !step) {
                ag_tape_reset(tape);
                xs = ag_input_f64(tape, "x", AG_SHAPE(4, 2), x);
                ys = ag_input_f64(tape, "y", AG_SHAPE(4, 1), y);
                loss = ag_mean_square(ag_sub(ys, ag_tanh(ag_matmul(xs, p))));
                ag_backward(loss);
            } else {
                ag_set_f64(xs, x, 8);
                ag_set_f64(ys, y, 4);
                assert_true(ag_replay(tape));
            }
            ag_update_sgd(p, ag_gradient(p), (ag_tensor){0}, &(ag_sgd){.rate = 0.1, .scale = 1.0});
        }
        assert_null(ag_error(tape));
        ag_get_f64(p, w[replaying], 2);
        ag_tape_free(tape);
    }
    assert_memory_equal(w[0], w[1], sizeof w[0]);
}

struct worker {
    uint64_t first;
    double sum;
};

static void *work(void *context)
{
    struct worker *worker = context;
    struct graph g;
    ag_tape *tape = ag_tape_new(AG_F32);
    for (uint64_t seed = worker->first; seed < worker->first + 100; seed++) {
        graph_build(&g, tape, false, seed, seed);
        double loss = ag_item(g.loss);
        worker->sum += isfinite(loss) ? loss : 1.0;
        ag_tape_reset(tape);
    }
    ag_tape_free(tape);
    return NULL;
}

static void two_threads_with_a_tape_each(void **state)
{
    (void)state;
    struct worker alone[2] = {{0, 0.0}, {100, 0.0}}, beside[2] = {{0, 0.0}, {100, 0.0}};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        work(&alone[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &beside[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(&alone[i].sum, &beside[i].sum, sizeof(double));
}

/* A replay is one more run, whether or not anybody has looked at the first. */
static void replay_comes_after_the_first_run(void **state)
{
    (void)state;
    double mean[2], kept[2][64];
    for (int look = 0; look < 2; look++) {
        ag_tape *tape = ag_tape_new(AG_F64);
        ag_tensor m = ag_buffer(tape, "m", AG_SHAPE(1)), v = ag_buffer(tape, "v", AG_SHAPE(1));
        ag_tensor x = ag_full(tape, AG_SHAPE(64, 1), 4.0);
        ag_tensor y = ag_batch_norm(x, m, v, (ag_tensor){0}, (ag_tensor){0},
                                    (ag_batch_norm_options){.training = true});
        ag_tensor z = ag_dropout(x, 0.5, true);
        assert_true(!look || ag_data_f64(y));
        assert_true(ag_replay(tape));
        assert_true(ag_get_f64(z, kept[look], 64));
        mean[look] = ag_item(m);
        ag_tape_free(tape);
    }
    assert_true(mean[0] == mean[1]);
    assert_memory_equal(kept[0], kept[1], sizeof kept[0]);
}

static void replay_refuses_a_failed_tape(void **state)
{
    (void)state;
    assert_false(ag_replay(NULL));
    ag_tape *tape = ag_tape_new(AG_F64);
    assert_true(ag_replay(tape));
    ag_fail(tape, "no");
    assert_false(ag_replay(tape));
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_replay_in_float64),
        cmocka_unit_test(random_graphs_replay_in_float32),
        cmocka_unit_test(a_used_tape_equals_a_new_one),
        cmocka_unit_test(random_graphs_pass_gradcheck),
        cmocka_unit_test(training_by_replay),
        cmocka_unit_test(two_threads_with_a_tape_each),
        cmocka_unit_test(replay_comes_after_the_first_run),
        cmocka_unit_test(replay_refuses_a_failed_tape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
