/* Running in blocks of rows, with what passes between records left unwritten, gives the bits that
 * running record by record gives, whatever is read, set or recorded in between. Each program is run
 * on two tapes: one of them is traced, and so runs record by record and keeps every value. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"

enum {
    PROGRAMS = 400,
    MOST_TENSORS = 24,
    LEAVES = 7,
    ACTIONS = 12,
    MOST_ROWS = 1300,
    MOST_COLUMNS = 28
};

struct program {
    ag_tape *tape;
    ag_rng rng;
    int64_t rows, columns;
    ag_tensor leaf[LEAVES], tensor[MOST_TENSORS], gradient[LEAVES];
    int tensors;
};

static int64_t pick(struct program *p, int64_t count)
{
    return (int64_t)ag_rng_below(&p->rng, (uint64_t)count);
}

static void set_leaf(struct program *p, int i)
{
    static double values[MOST_ROWS * MOST_COLUMNS];
    size_t count = (size_t)ag_count(p->leaf[i]);
    for (size_t k = 0; k < count; k++)
        values[k] = 2.0 * ag_rng_uniform(&p->rng) - 1.0;
    ag_set_f64(p->leaf[i], values, count);
}

/* Leaves: a batch, a target, two matrices, and a row, a column and a number to be broadcast. */
static void make_leaves(struct program *p)
{
    int64_t n = p->rows, k = p->columns;
    p->leaf[0] = ag_input(p->tape, "X", AG_SHAPE(n, k));
    p->leaf[1] = ag_input(p->tape, "Y", AG_SHAPE(n, k));
    p->leaf[4] = ag_input(p->tape, "c", AG_SHAPE(n, 1));
    p->leaf[6] = ag_parameter(p->tape, "s", AG_SCALAR);
    for (int i = 0; i < LEAVES; i++) {
        if (i == 2 || i == 3)
            p->leaf[i] = ag_parameter(p->tape, i == 2 ? "U" : "V", AG_SHAPE(k, k));
        if (i == 5)
            p->leaf[i] = ag_parameter(p->tape, "b", AG_SHAPE(1, k));
        set_leaf(p, i);
    }
    p->tensor[0] = p->leaf[0];
    p->tensor[1] = p->leaf[1];
    p->tensors = 2;
}

/* One more tensor of shape (rows, columns). */
static void extend(struct program *p)
{
    ag_tensor x = p->tensor[pick(p, p->tensors)], y = p->tensor[pick(p, p->tensors)], z = {0};
    switch (pick(p, 12)) {
    case 0:
        z = ag_tanh(ag_add(ag_matmul(x, p->leaf[2]), p->leaf[5]));
        break;
    case 1:
        z = ag_matmul(ag_sigmoid(x), ag_transpose(p->leaf[3]));
        break;
    case 2:
        z = ag_add(ag_matmul(x, p->leaf[3]), p->leaf[5]);
        break;
    case 3:
        z = ag_mul(x, p->leaf[4]);
        break;
    case 4:
        z = ag_mul(ag_sigmoid(x), y);
        break;
    case 5:
        z = ag_sub(y, ag_tanh(ag_matmul(x, p->leaf[3])));
        break;
    case 6:
        z = pick(p, 2) ? ag_relu(ag_sub(x, ag_mean(y)))
                       : ag_add(ag_matmul(x, p->leaf[2]), p->leaf[6]);
        break;
    case 7:
        z = ag_div(x, ag_add_scalar(ag_sum_axes(ag_square(y), AG_AXES(1), true), 1.0));
        break;
    case 8:
        z = ag_softmax(x, -1);
        break;
    case 9:
        z = ag_reshape(ag_neg(ag_reshape(x, AG_SHAPE(-1))), AG_SHAPE(p->rows, p->columns));
        break;
    case 10:
        z = ag_mul(x, ag_sum_axes(ag_tanh(y), AG_AXES(0), false));
        break;
    default:
        z = ag_exp(ag_mul_scalar(ag_tanh(x), 0.5));
    }
    p->tensor[p->tensors++] = z;
}

static void add_loss(struct program *p)
{
    ag_tensor loss = ag_mean_square(p->tensor[p->tensors - 1]);
    for (int i = 2; i < p->tensors - 1; i += 1 + (int)pick(p, 4))
        loss = ag_add(loss, ag_mean_square(p->tensor[i]));
    ag_tensor wrt[LEAVES], gradient[LEAVES];
    size_t count = 1 + (size_t)pick(p, LEAVES), first = (size_t)pick(p, LEAVES);
    for (size_t i = 0; i < count; i++)
        wrt[i] = p->leaf[(first + i) % LEAVES];
    ag_gradients(loss, wrt, count, gradient);
    for (size_t i = 0; i < count; i++)
        p->gradient[(first + i) % LEAVES] = gradient[i];
    if (!pick(p, 3))
        ag_backward(ag_mean_square(gradient[0]));
}

/* What a user may do between running and running again. */
static void act(struct program *p)
{
    uint32_t count = p->tape->transient.count;
    switch (pick(p, 6)) {
    case 0:
        set_leaf(p, (int)pick(p, LEAVES));
        break;
    case 1:
        if (ag_valid(p->gradient[2]))
            ag_update_sgd(p->leaf[2], p->gradient[2], (ag_tensor){0},
                          &(ag_sgd){.rate = 0.1, .scale = 1.0});
        break;
    case 2: {
        ag_tensor any = handle(p->tape, 1 + (uint32_t)pick(p, count - 1));
        static double value[MOST_ROWS * MOST_COLUMNS];
        ag_get_f64(any, value, (size_t)ag_count(any));
        break;
    }
    case 3:
        if (p->tensors < MOST_TENSORS)
            extend(p);
        break;
    case 4:
        ag_item(ag_sum(p->tensor[pick(p, p->tensors)]));
        break;
    default:
        ag_replay(p->tape);
    }
}

static void build(struct program *p, ag_tape *tape, uint64_t seed)
{
    *p = (struct program){.tape = tape};
    ag_rng_seed(&p->rng, seed);
    ag_set_warning(tape, NULL, NULL);
    p->rows = pick(p, 6) ? 64 + pick(p, 237) : 513 + pick(p, MOST_ROWS - 512);
    p->columns = 8 + pick(p, MOST_COLUMNS - 7);
    make_leaves(p);
    int ops = 3 + (int)pick(p, 8);
    while (p->tensors < ops + 2)
        extend(p);
    bool forward_first = pick(p, 2);
    if (forward_first)
        ag_item(ag_sum(p->tensor[2 + pick(p, p->tensors - 2)]));
    add_loss(p);
}

/* Every record of both tapes, as anybody would read them: in an order of its own, for each asks the
 * engine to compute what it had left out. */
static void assert_same(struct program *a, struct program *b, uint64_t seed)
{
    uint32_t count = a->tape->transient.count;
    if (ag_error(a->tape) || ag_error(b->tape))
        fail_msg("program %llu: %s; %s", (unsigned long long)seed,
                 ag_error(a->tape) ? ag_error(a->tape) : "",
                 ag_error(b->tape) ? ag_error(b->tape) : "");
    assert_int_equal(count, b->tape->transient.count);
    for (uint32_t k = 1, i; k < count; k++) {
        i = 1 + (uint32_t)((k * 7919ull + seed) % (count - 1));
        const struct record *ra = computed(handle(a->tape, i), "test");
        const struct record *rb = computed(handle(b->tape, i), "test");
        assert_non_null(ra);
        assert_non_null(rb);
        if (memcmp(ra->data, rb->data, (size_t)ra->count * element_size(a->tape)) != 0)
            fail_msg("program %llu: record %u of %u, %s, differs", (unsigned long long)seed, i,
                     count, ra->op->name);
    }
}

static void compare(ag_dtype dtype, uint64_t seed)
{
    static struct program a, b;
    ag_tape *blocks = ag_tape_new(dtype), *single = ag_tape_new(dtype);
    ag_trace_nonfinite(single, true);
    if (seed % 2) { /* by three threads, where there is more than one chunk */
        ag_set_threads(blocks, 3);
        blocks->least_shared = 0.0;
    }
    build(&a, blocks, seed);
    build(&b, single, seed);
    for (int step = 0; step < ACTIONS; step++) {
        act(&a);
        act(&b);
        if (seed % 3 == 0)
            assert_same(&a, &b, seed);
    }
    assert_same(&a, &b, seed);
    ag_tape_free(blocks);
    ag_tape_free(single);
}

/* Fewer where each takes long, as under valgrind. */
static uint64_t programs(void)
{
    const char *given = getenv("TAPEGRAD_PROGRAMS");
    return given ? strtoull(given, NULL, 10) : PROGRAMS;
}

static void blocks_equal_records_in_float32(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < programs(); seed++)
        compare(AG_F32, seed);
}

static void blocks_equal_records_in_float64(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < programs() / 4; seed++)
        compare(AG_F64, seed + PROGRAMS);
}

static int left_out(const ag_tape *tape)
{
    int elided = 0;
    for (uint32_t i = 1; i < tape->transient.count; i++)
        elided += tape->transient.at[i].elided;
    return elided;
}

/* A perceptron's step, replayed as in training: some values must in fact be left out, or the
 * programs above would test nothing. A run that stores all says so. */
static void values_are_left_out(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(256, 16)),
              w = ag_parameter(tape, "w", AG_SHAPE(16, 32)),
              b = ag_parameter(tape, "b", AG_SHAPE(1, 32));
    ag_tensor h = ag_sigmoid(ag_add(ag_matmul(x, w), b)), loss = ag_mean_square(h);
    ag_backward(loss);
    for (int step = 0; step < 3; step++) {
        ag_replay(tape);
        ag_item(loss);
    }
    assert_true(left_out(tape) > 0);
    ag_trace_nonfinite(tape, true);
    ag_replay(tape);
    assert_int_equal(left_out(tape), 0);
    ag_tape_free(tape);
}

static double next_value(void *rng)
{
    return ag_rng_normal(rng);
}

static ag_tensor drawn(ag_tensor x, ag_rng *rng)
{
    assert_true(ag_set_each(x, next_value, rng));
    return x;
}

/* The loss of a trained head on two frozen layers, where a hidden layer has no reader but the next
 * product; and what it is record by record. */
static double frozen_trunk(bool record_by_record, double *gradient)
{
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_trace_nonfinite(tape, record_by_record);
    ag_tensor h = drawn(ag_input(tape, "x", AG_SHAPE(256, 64)), &rng);
    for (int layer = 0; layer < 2; layer++) {
        ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(64, 64)), &rng);
        ag_tensor b = drawn(ag_parameter(tape, "b", AG_SHAPE(64)), &rng);
        ag_set_trainable(w, false);
        ag_set_trainable(b, false);
        h = ag_sigmoid(ag_add(ag_matmul(h, w), b));
    }
    ag_tensor head = drawn(ag_parameter(tape, "head", AG_SHAPE(64, 1)), &rng);
    ag_tensor loss = ag_mean_square(ag_matmul(h, head));
    assert_true(ag_backward(loss));
    double value = ag_item(loss);
    *gradient = (double)ag_data_f32(ag_gradient(head))[5];
    assert_null(ag_error(tape));
    ag_tape_free(tape);
    return value;
}

static void a_product_keeps_its_operand(void **state)
{
    (void)state;
    double gradient[2];
    assert_true(frozen_trunk(false, &gradient[0]) == frozen_trunk(true, &gradient[1]));
    assert_true(gradient[0] == gradient[1]);
}

/* Parameters made between replays move the array of those that the plan of the blocks goes over. */
static void parameters_may_come_later(void **state)
{
    (void)state;
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(128, 64)), &rng);
    ag_tensor x = drawn(ag_input(tape, "x", AG_SHAPE(128, 64)), &rng);
    ag_tensor loss = ag_mean_square(ag_sigmoid(ag_mul(ag_tanh(w), x)));
    assert_true(ag_backward(loss) && ag_replay(tape) && ag_replay(tape));
    double before = ag_item(loss);
    for (int i = 0; i < 200; i++)
        ag_buffer(tape, "later", AG_SHAPE(4));
    assert_true(ag_replay(tape) && ag_item(loss) == before);
    ag_tape_free(tape);
}

/* A record that reads batch_norm's running mean after it was moved on sees the new one, in blocks
 * too. */
static void buffers_change_in_order(void **state)
{
    (void)state;
    float seen[2][128 * 64];
    for (int record_by_record = 0; record_by_record < 2; record_by_record++) {
        ag_rng rng;
        ag_rng_seed(&rng, 7);
        ag_tape *tape = ag_tape_new(AG_F32);
        ag_trace_nonfinite(tape, record_by_record);
        ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(64)), &rng);
        ag_tensor mean = ag_buffer(tape, "mean", AG_SHAPE(64)),
                  var = ag_buffer(tape, "var", AG_SHAPE(64));
        ag_tensor x = drawn(ag_input(tape, "x", AG_SHAPE(128, 64)), &rng);
        ag_tensor y = ag_batch_norm(x, mean, var, w, (ag_tensor){0},
                                    (ag_batch_norm_options){.training = true});
        ag_tensor z = ag_sub(x, mean);
        ag_backward(ag_add(ag_mean_square(y), ag_mean_square(ag_tanh(ag_mul(z, w)))));
        assert_true(ag_get_f32(z, seen[record_by_record], 128 * 64));
        ag_tape_free(tape);
    }
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
}

/* An input that is set anew may change places with the copy that is kept for elided records:
 * through resets and programs that differ, nobody sees it. */
static void moving_inputs(bool record_by_record, double *seen)
{
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_trace_nonfinite(tape, record_by_record);
    ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(16, 32)), &rng);
    for (int epoch = 0; epoch < 24; epoch++) {
        ag_tape_reset(tape);
        ag_tensor x = drawn(ag_input(tape, "x", AG_SHAPE(256, 16)), &rng);
        ag_tensor c = drawn(ag_input(tape, "c", AG_SHAPE(256, 1)), &rng), more = {0};
        ag_tensor h = ag_sigmoid(ag_mul(ag_matmul(x, w), c));
        h = epoch % 6 == 4 ? ag_tanh(h) : h;
        ag_tensor loss = ag_mean_square(h);
        assert_true(ag_backward(loss));
        for (int step = 0; step < 1 + epoch % 3; step++) {
            drawn(x, &rng);
            if (step)
                drawn(c, &rng);
            assert_true(ag_replay(tape));
            drawn(step ? c : x, &rng);
            if (epoch % 5 == 3 && !ag_valid(more))
                more = ag_mean(ag_square(x));
        }
        *seen++ = ag_item(loss);
        *seen++ = (double)ag_data_f32(h)[100 * 32 + 5];
        *seen++ = (double)ag_data_f32(x)[100 * 16 + 5];
        *seen++ = ag_item(ag_sum(ag_gradient(w)));
    }
    assert_null(ag_error(tape));
    ag_tape_free(tape);
}

static void inputs_may_move(void **state)
{
    (void)state;
    double seen[2][24 * 4];
    for (int record_by_record = 0; record_by_record < 2; record_by_record++)
        moving_inputs(record_by_record, seen[record_by_record]);
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
}

/* The operand on the left goes by blocks, the same on the right is needed whole. */
static void a_product_with_itself(void **state)
{
    (void)state;
    enum { N = 100, K = 16 };
    static double y[N * N];
    double x[N * K];
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(N, K)), &rng);
    assert_true(ag_get_f64(w, x, N * K));
    ag_tensor product = ag_linear(w, w, ag_parameter(tape, "b", AG_SHAPE(N)));
    assert_true(ag_get_f64(product, y, N * N));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += x[i * K + k] * x[j * K + k];
            assert_true(fabs(y[i * N + j] - sum) < 1e-13);
        }
    ag_tape_free(tape);
}

static double half_of_the_next(void *context)
{
    const ag_tensor *x = context;
    static int next = 0;
    return 0.5 * (double)ag_data_f32(*x)[next++];
}

/* Who sets elements one by one may look at those that are to come. */
static void inputs_are_set_in_place(void **state)
{
    (void)state;
    ag_rng rng;
    ag_rng_seed(&rng, 7);
    float before[256 * 16], after[256 * 16];
    for (int i = 0; i < 256 * 16; i++)
        before[i] = (float)(i % 7) - 3.0f;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = drawn(ag_parameter(tape, "w", AG_SHAPE(16, 32)), &rng);
    ag_tensor x = ag_input_f32(tape, "x", AG_SHAPE(256, 16), before);
    assert_true(ag_backward(ag_mean_square(ag_tanh(ag_matmul(x, w)))));
    assert_true(ag_replay(tape));
    assert_true(ag_set_each(x, half_of_the_next, &x));
    assert_true(ag_get_f32(x, after, 256 * 16));
    for (int i = 0; i < 256 * 16; i++)
        assert_true(after[i] == 0.5f * before[i]);
    ag_tape_free(tape);
}

/* Who has an input's address sees what is set. */
static void an_input_with_a_reader_stays(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    float values[256 * 16] = {0};
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(256, 16)),
              w = ag_parameter(tape, "w", AG_SHAPE(16, 32));
    ag_tensor z = ag_matmul(x, w);
    const float *address = NULL;
    assert_true(ag_backward(ag_mean_square(ag_sigmoid(z))));
    for (int step = 0; step < 6; step++) {
        assert_true(ag_replay(tape));
        values[7] = (float)step;
        assert_true(ag_set_f32(x, values, 256 * 16));
        if (step == 2) /* after it has moved */
            address = ag_data_f32(x);
        if (step == 3)
            ag_data_f32(z);
        if (address)
            assert_true(address == ag_data_f32(x) && address[7] == (float)step);
    }
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_keeps_its_operand),
        cmocka_unit_test(parameters_may_come_later),
        cmocka_unit_test(buffers_change_in_order),
        cmocka_unit_test(values_are_left_out),
        cmocka_unit_test(inputs_may_move),
        cmocka_unit_test(a_product_with_itself),
        cmocka_unit_test(inputs_are_set_in_place),
        cmocka_unit_test(an_input_with_a_reader_stays),
        cmocka_unit_test(blocks_equal_records_in_float32),
        cmocka_unit_test(blocks_equal_records_in_float64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
