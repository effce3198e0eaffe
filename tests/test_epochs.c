/* What a tape keeps from one epoch to the next, and where values lie meanwhile, is nobody's
 * business: many epochs on one tape, with sets, replays, reads and walks in between, show what
 * running record by record shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"

enum { EPOCHS = 8, SEEN = 4096, HIGH = 256, WIDE = 16 };

static double next_value(void *rng)
{
    return ag_rng_normal(rng);
}

static ag_tensor drawn(ag_tensor x, ag_rng *rng)
{
    assert_true(ag_set_each(x, next_value, rng));
    return x;
}

/* What was seen of a tape, in order. */
struct log {
    double value[SEEN];
    int count;
};

static void see(struct log *log, double value)
{
    assert_true(log->count < SEEN);
    log->value[log->count++] = value;
}

struct session {
    ag_tape *tape;
    ag_rng rng;
    ag_tensor w, tensor[32];
    int tensors;
    const float *address; /* of the epoch's first input, once somebody asked */
    struct log *log;
};

static bool chance(struct session *s, uint64_t of)
{
    return ag_rng_below(&s->rng, of) == 0;
}

/* Half of a program: an input, a network with a kind of activation, and a walk of a kind or none.
 */
static void half_a_program(struct session *s, bool tanh)
{
    ag_tensor x = ag_input(s->tape, "x", AG_SHAPE(HIGH, WIDE));
    x = chance(s, 2) ? x : drawn(x, &s->rng);
    ag_tensor z = ag_matmul(x, s->w), h = tanh ? ag_tanh(z) : ag_sigmoid(z);
    ag_tensor q = ag_mul(h, ag_matmul(x, s->w)), loss = ag_mean_square(q), gradient;
    const ag_tensor all[] = {x, z, h, q, loss};
    for (int i = 0; i < 5; i++)
        s->tensor[s->tensors++] = all[i];
    switch (ag_rng_below(&s->rng, 3)) {
    case 0:
        for (uint64_t i = ag_rng_below(&s->rng, 4); i > 0; i--)
            s->tensor[s->tensors++] = loss = ag_mul_scalar(loss, 1.5);
        break;
    case 1:
        assert_true(ag_backward(loss));
        s->tensor[s->tensors++] = ag_gradient(s->w);
        break;
    default:
        assert_true(ag_gradients(loss, &s->w, 1, &gradient));
        s->tensor[s->tensors++] = gradient;
    }
}

static void look(struct session *s)
{
    static float values[HIGH * 32];
    ag_tensor x = s->tensor[ag_rng_below(&s->rng, (uint64_t)s->tensors)];
    assert_true(ag_get_f32(x, values, (size_t)ag_count(x)));
    see(s->log, (double)values[ag_count(x) / 2]);
}

static void act_in(struct session *s)
{
    switch (ag_rng_below(&s->rng, 5)) {
    case 0:
        drawn(s->tensor[0], &s->rng);
        break;
    case 1:
        assert_true(ag_replay(s->tape));
        break;
    case 2:
        look(s);
        break;
    case 3:
        s->address = ag_data_f32(s->tensor[0]);
        break;
    default:
        drawn(s->w, &s->rng);
    }
    if (s->address)
        see(s->log, (double)s->address[77]);
}

static void many_epochs(uint64_t seed, bool record_by_record, struct log *log)
{
    struct session s = {.tape = ag_tape_new(AG_F32), .log = log};
    ag_rng_seed(&s.rng, seed);
    ag_trace_nonfinite(s.tape, record_by_record);
    s.w = drawn(ag_parameter(s.tape, "w", AG_SHAPE(WIDE, 32)), &s.rng);
    if (seed % 2) {
        ag_set_threads(s.tape, 3);
        s.tape->least_shared = 0.0;
    }
    bool tanh = false;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        ag_tape_reset(s.tape);
        s.tensors = 0;
        s.address = NULL;
        tanh = chance(&s, 4) ? !tanh : tanh;
        for (int half = 0; half < 2; half++) {
            half_a_program(&s, tanh);
            for (uint64_t i = ag_rng_below(&s.rng, 6); i > 0; i--)
                act_in(&s);
        }
    }
    assert_null(ag_error(s.tape));
    ag_tape_free(s.tape);
}

/* Fewer where each takes long, as under valgrind. */
static uint64_t seeds(void)
{
    const char *given = getenv("TAPEGRAD_PROGRAMS");
    return given ? strtoull(given, NULL, 10) / 4 : 200;
}

static void epochs_equal_records(void **state)
{
    (void)state;
    static struct log blocks, records;
    for (uint64_t seed = 0; seed < seeds(); seed++) {
        blocks.count = records.count = 0;
        many_epochs(seed, false, &blocks);
        many_epochs(seed, true, &records);
        assert_int_equal(blocks.count, records.count);
        if (memcmp(blocks.value, records.value, (size_t)blocks.count * sizeof(double)) != 0)
            fail_msg("seed %llu differs", (unsigned long long)seed);
    }
}

/* An input of a program's second half has changed places with its shadow; in the next epoch the
 * first half is run, and so planned, by itself. */
static void shadows_are_not_shared(void **state)
{
    (void)state;
    static float values[HIGH * WIDE], seen[HIGH * WIDE];
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(WIDE, 32)), &rng), gradient;
    for (size_t i = 0; i < HIGH * WIDE; i++)
        values[i] = (float)i;
    for (int epoch = 0; epoch < 4; epoch++) {
        ag_tape_reset(tape);
        ag_tensor x = drawn(ag_input(tape, "x", AG_SHAPE(HIGH, WIDE)), &rng);
        ag_tensor z = ag_matmul(x, w), loss = ag_mean_square(ag_sigmoid(z));
        assert_true(ag_backward(loss));
        if (epoch % 2) {
            ag_item(loss);
            assert_true(ag_set_f32(x, values, HIGH * WIDE));
        }
        ag_tensor x2 = ag_input(tape, "x2", AG_SHAPE(HIGH, WIDE));
        if (epoch % 2) {
            assert_true(ag_get_f32(x, seen, HIGH * WIDE));
            assert_memory_equal(values, seen, sizeof seen);
            continue;
        }
        ag_tensor second = ag_mean_square(ag_sigmoid(ag_matmul(x2, w)));
        ag_mean_square(ag_slice(z, AG_RANGES({0, 3, 1})));
        ag_sum(ag_transpose(ag_matmul(x, w)));
        assert_true(ag_gradients(second, &w, 1, &gradient));
        ag_item(second);
        assert_true(ag_set_f32(x2, values, HIGH * WIDE));
    }
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_equal_records),
        cmocka_unit_test(shadows_are_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
