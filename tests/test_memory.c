/* Memory: all of it through the tape's allocator, none in a step after the first, and an allocator
 * that fails at any call leaves a message, no crash and no leak. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"
#include "random_graph.h"

/* Counts, checks the sizes that it is told, and may refuse. */
struct counter {
    size_t bytes, calls; /* held; requests so far, those to free apart */
    size_t refuse_at;    /* the request that is refused, counted from 0 */
    bool refuse_on;      /* and all that come after it */
    bool refused;
};

enum { HEADER = 64 };

static void *counting(void *context, void *block, size_t old_size, size_t size)
{
    struct counter *counter = context;
    unsigned char *old = block ? (unsigned char *)block - HEADER : NULL;
    if (old) {
        size_t recorded;
        memcpy(&recorded, old, sizeof recorded);
        assert_int_equal(recorded, old_size);
    } else
        assert_int_equal(old_size, 0);
    if (!size) {
        counter->bytes -= old_size;
        free(old);
        return NULL;
    }
    size_t call = counter->calls++;
    if (call == counter->refuse_at || (counter->refuse_on && call > counter->refuse_at)) {
        counter->refused = true;
        return NULL;
    }
    unsigned char *fresh = realloc(old, size + HEADER);
    assert_non_null(fresh);
    memcpy(fresh, &size, sizeof size);
    if (size > old_size)
        memset(fresh + HEADER + old_size, 0xa5, size - old_size);
    counter->bytes += size - old_size;
    return fresh + HEADER;
}

/* ---- A training step ---- */

struct network {
    ag_tape *tape;
    ag_tensor w[3], m[3], v[3]; /* W1, b1, W2 and the optimiser's state of each */
    uint64_t step;
};

static void network_make(struct network *n, ag_tape *tape)
{
    double values[24];
    *n = (struct network){.tape = tape};
    for (int i = 0; i < 24; i++)
        values[i] = sin(i);
    n->w[0] = ag_parameter(tape, "W1", AG_SHAPE(3, 8));
    n->w[1] = ag_parameter(tape, "b1", AG_SHAPE(1, 8));
    n->w[2] = ag_parameter(tape, "W2", AG_SHAPE(8, 1));
    ag_set_f64(n->w[0], values, 24);
    ag_set_f64(n->w[2], values, 8);
    for (size_t i = 0; i < 3; i++) {
        ag_shape shape = ag_shape_of(n->w[i]);
        n->m[i] = ag_buffer(tape, NULL, shape);
        n->v[i] = ag_buffer(tape, NULL, shape);
    }
}

/* One step on a batch of `rows`; its loss, or NaN. */
static double network_step(struct network *n, int64_t rows)
{
    ag_tape_reset(n->tape);
    ag_tensor x = ag_add(ag_full(n->tape, AG_SHAPE(rows, 3), 0.5),
                         ag_input_f64(n->tape, "x", AG_SHAPE(3), (double[]){1.0, -1.0, 0.25}));
    ag_tensor h = ag_sigmoid(ag_add(ag_matmul(x, n->w[0]), n->w[1]));
    ag_tensor y = ag_name(ag_matmul(h, n->w[2]), "y");
    ag_tensor loss = ag_mean_square(ag_sub_scalar(y, 1.0));
    if (!ag_backward(loss))
        return (double)NAN;
    n->step++;
    for (size_t i = 0; i < 3; i++)
        ag_update_adam(n->w[i], ag_gradient(n->w[i]), n->m[i], n->v[i],
                       &(ag_adam){.rate = 0.01,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .epsilon = 1e-8,
                                  .scale = 1.0,
                                  .step = n->step});
    return ag_item(loss);
}

static void no_allocation_after_the_first_step(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct counter counter = {.refuse_at = SIZE_MAX};
        struct network n;
        ag_tape *tape = ag_tape_new_with(i ? AG_F64 : AG_F32, counting, &counter);
        network_make(&n, tape);
        network_step(&n, 500);
        assert_null(ag_error(tape));
        size_t calls = counter.calls;
        assert_int_equal(ag_tape_bytes(tape), counter.bytes);
        double first = network_step(&n, 500), last = first;
        for (int step = 0; step < 50; step++)
            last = network_step(&n, step % 500 + 1);
        assert_true(last < first);
        assert_true(ag_replay(tape));
        assert_null(ag_error(tape));
        assert_int_equal(counter.calls, calls);
        ag_tape_free(tape);
        assert_int_equal(counter.bytes, 0);
    }
}

static void no_allocation_when_graphs_repeat(void **state)
{
    (void)state;
    struct graph g;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct counter counter = {.refuse_at = SIZE_MAX};
        ag_tape *tape = ag_tape_new_with(AG_F64, counting, &counter);
        graph_build(&g, tape, false, seed, 1);
        ag_item(g.loss);
        size_t calls = counter.calls, bytes = ag_tape_bytes(tape);
        for (uint64_t data = 0; data < 3; data++) {
            ag_tape_reset(tape);
            assert_int_equal(ag_tape_length(tape), 0);
            graph_build(&g, tape, false, seed, data);
            graph_set(&g, data + 10);
            ag_replay(tape);
        }
        assert_null(ag_error(tape));
        assert_int_equal(counter.calls, calls);
        assert_int_equal(ag_tape_bytes(tape), bytes);
        ag_tape_free(tape);
        assert_int_equal(counter.bytes, 0);
    }
}

/* ---- Running out ---- */

/* A bit of everything that allocates. */
static void everything(ag_tape *tape)
{
    struct graph g;
    struct network n;
    void *block = ag_allocate(tape, 100000);
    if (block)
        memset(block, 1, 100000);
    network_make(&n, tape);
    ag_gradcheck(ag_sum(ag_square(n.w[2])), 1e-6, NULL);
    network_step(&n, 300);
    network_step(&n, 1000);
    ag_tape_reset(tape);
    graph_build(&g, tape, true, 7, 1);
    graph_build(&g, tape, true, 8, 1);
    ag_replay(tape);
    for (int i = 0; i < 100; i++)
        ag_name(ag_parameter(tape, "w", AG_SHAPE(1000)), "another name");
}

static void assert_no_error(const ag_tape *tape)
{
    if (ag_error(tape))
        print_error("%s\n", ag_error(tape));
    assert_null(ag_error(tape));
}

static void run_out(struct counter *counter)
{
    ag_tape *tape = ag_tape_new_with(AG_F64, counting, counter);
    if (!tape) {
        assert_true(counter->refused);
        assert_int_equal(counter->bytes, 0);
        return;
    }
    everything(tape);
    if (!counter->refused)
        assert_no_error(tape);
    else {
        assert_non_null(ag_error(tape));
        assert_non_null(strstr(ag_error(tape), "out of memory"));
        assert_int_equal(ag_tape_bytes(tape), counter->bytes);
        /* With memory back and the error cleared, the tape is as good as new. */
        counter->refuse_at = SIZE_MAX;
        ag_clear_error(tape);
        ag_tape_reset(tape);
        everything(tape);
        assert_no_error(tape);
    }
    ag_tape_free(tape);
    assert_int_equal(counter->bytes, 0);
}

static void running_out_at_any_call(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        struct counter counter = {0};
        size_t k = 0;
        do {
            counter = (struct counter){.refuse_at = k++, .refuse_on = on};
            run_out(&counter);
        } while (counter.refused);
        assert_in_range(k, 10, 10000);
    }
}

static void more_than_there_is(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    const int64_t tebi = INT64_C(1) << 40;
    assert_false(ag_valid(ag_input(tape, "x", AG_SHAPE(1000, tebi))));
    assert_non_null(strstr(ag_error(tape), "out of memory"));
    ag_clear_error(tape);
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(1));
    assert_false(ag_valid(ag_broadcast_to(x, AG_SHAPE(1000, tebi))));
    assert_non_null(strstr(ag_error(tape), "out of memory"));
    ag_clear_error(tape);
    assert_false(ag_valid(ag_parameter(tape, "w", AG_SHAPE(1000, tebi))));
    assert_non_null(strstr(ag_error(tape), "out of memory"));
    ag_clear_error(tape);
    assert_true(ag_item(ag_add_scalar(x, 1.0)) == 1.0);
    assert_no_error(tape);
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_after_the_first_step),
        cmocka_unit_test(no_allocation_when_graphs_repeat),
        cmocka_unit_test(running_out_at_any_call),
        cmocka_unit_test(more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
