/* Work that is shared among threads gives the bits that one thread gives, in a forked child too. */
#define _POSIX_C_SOURCE 200809L /* fork, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"

enum { STEPS = 4, MOST = 4096 * 64 };

static const int counts[] = {1, 2, 3, 7};

static double next_value(void *rng)
{
    return ag_rng_normal(rng);
}

static ag_tensor drawn(ag_tensor x, ag_rng *rng)
{
    assert_true(ag_set_each(x, next_value, rng));
    return x;
}

/* All work is worth sharing, however small. */
static ag_tape *tape_of(ag_dtype dtype, int threads)
{
    ag_tape *tape = ag_tape_new(dtype);
    assert_true(ag_set_threads(tape, threads));
    tape->least_shared = 0.0;
    return tape;
}

/* Some bytes and where they differ. */
struct bytes {
    unsigned char *at;
    size_t size;
};

static void append(struct bytes *b, ag_tensor x)
{
    size_t size = (size_t)ag_count(x) * element_size(x.tape);
    b->at = realloc(b->at, b->size + size);
    assert_non_null(b->at);
    memcpy(b->at + b->size, computed(x, "test")->data, size);
    b->size += size;
}

/* What a few steps of training a perceptron make of it; recorded anew or replayed. */
static struct bytes train(ag_tape *tape, int64_t rows, bool replayed)
{
    ag_rng rng;
    ag_rng_seed(&rng, (uint64_t)rows);
    struct bytes result = {0};
    ag_tensor w[2] = {drawn(ag_parameter(tape, "W1", AG_SHAPE(8, 24)), &rng),
                      drawn(ag_parameter(tape, "W2", AG_SHAPE(24, 3)), &rng)};
    ag_tensor b[2] = {ag_parameter(tape, "b1", AG_SHAPE(1, 24)),
                      ag_parameter(tape, "b2", AG_SHAPE(3))};
    ag_tensor x = {0}, y = {0}, loss = {0};
    for (int step = 0; step < STEPS; step++) {
        if (!replayed || !step) {
            ag_tape_reset(tape);
            x = drawn(ag_input(tape, "X", AG_SHAPE(rows, 8)), &rng);
            y = drawn(ag_input(tape, "Y", AG_SHAPE(rows, 3)), &rng);
            ag_tensor h = ag_tanh(ag_add(ag_matmul(x, w[0]), b[0]));
            loss = ag_mean_square(ag_sub(y, ag_add(ag_matmul(h, w[1]), b[1])));
            ag_backward(loss);
        } else {
            drawn(x, &rng);
            drawn(y, &rng);
            ag_replay(tape);
        }
        for (int i = 0; i < 2; i++) {
            static const ag_sgd sgd = {.rate = 0.01, .scale = 1.0};
            ag_update_sgd(w[i], ag_gradient(w[i]), (ag_tensor){0}, &sgd);
            ag_update_sgd(b[i], ag_gradient(b[i]), (ag_tensor){0}, &sgd);
        }
        append(&result, loss);
    }
    assert_null(ag_error(tape));
    for (uint32_t i = 1; i < tape->transient.count; i++)
        append(&result, handle(tape, i));
    append(&result, w[0]);
    append(&result, b[0]);
    return result;
}

/* Fewer rows where each takes long, as under valgrind. */
static int64_t scaled_rows(int64_t rows)
{
    return getenv("TAPEGRAD_PROGRAMS") ? rows / 4 : rows;
}

static void training_has_the_same_bits(void **state)
{
    (void)state;
    static const int64_t rows[] = {64, 511, 512, 513, 1100, 4096, 40000};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int replayed = 0; replayed < 2; replayed++) {
            struct bytes expected = {0};
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                ag_tape *tape = tape_of(replayed ? AG_F32 : AG_F64, counts[i]);
                struct bytes found = train(tape, scaled_rows(rows[r]), replayed);
                assert_true(!i || scaled_rows(rows[r]) < 1024 || tape->pool);
                if (!i)
                    expected = found;
                assert_int_equal(expected.size, found.size);
                assert_memory_equal(expected.at, found.at, found.size);
                if (i)
                    free(found.at);
                ag_tape_free(tape);
            }
            free(expected.at);
        }
}

/* Products of all kinds, batched ones and large element-wise ops by themselves. */
static struct bytes single_ops(ag_tape *tape)
{
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    struct bytes result = {0};
    static const int64_t size[][3] = {{130, 70, 90}, {1, 300, 64}, {300, 1, 64}, {7, 9, 500},
                                      {5, 49, 70},   {49, 5, 70},  {3, 97, 40}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        int64_t m = size[i][0], n = size[i][1], k = size[i][2];
        ag_tensor x = drawn(ag_parameter(tape, NULL, AG_SHAPE(m, k)), &rng);
        ag_tensor y = drawn(ag_parameter(tape, NULL, AG_SHAPE(k, n)), &rng);
        ag_tensor z = ag_matmul(x, y);
        ag_backward(ag_mean_square(ag_mul(z, z)));
        append(&result, z);
        append(&result, ag_gradient(x));
        append(&result, ag_gradient(y));
    }
    ag_tensor x = drawn(ag_input(tape, NULL, AG_SHAPE(5, 40, 30)), &rng);
    append(&result, ag_matmul(x, ag_transpose(x)));
    append(&result, ag_exp(ag_reshape(x, AG_SHAPE(-1))));
    append(&result, ag_mul(x, x));
    append(&result, ag_sum(x));
    assert_null(ag_error(tape));
    return result;
}

static void single_ops_have_the_same_bits(void **state)
{
    (void)state;
    struct bytes expected = {0};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ag_tape *tape = tape_of(AG_F32, counts[i]);
        struct bytes found = single_ops(tape);
        if (!i)
            expected = found;
        assert_int_equal(expected.size, found.size);
        assert_memory_equal(expected.at, found.at, found.size);
        if (i)
            free(found.at);
        ag_tape_free(tape);
    }
    free(expected.at);
}

static void updates_have_the_same_bits(void **state)
{
    (void)state;
    static float values[2][40001];
    for (int shared = 0; shared < 2; shared++) {
        ag_rng rng;
        ag_rng_seed(&rng, 1);
        ag_tape *tape = tape_of(AG_F32, shared ? 3 : 1);
        ag_tensor w = drawn(ag_parameter(tape, NULL, AG_SHAPE(40001)), &rng), state_of[2];
        for (int i = 0; i < 2; i++)
            state_of[i] = ag_buffer(tape, NULL, AG_SHAPE(40001));
        for (uint64_t step = 1; step < 5; step++) {
            ag_tensor g = drawn(ag_input(tape, NULL, AG_SHAPE(40001)), &rng);
            ag_update_adam(w, g, state_of[0], state_of[1],
                           &(ag_adam){.rate = 0.1,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .epsilon = 1e-8,
                                      .scale = 1.0,
                                      .step = step});
            ag_update_sgd(w, g, state_of[0], &(ag_sgd){.rate = 0.1, .momentum = 0.9, .scale = 0.5});
        }
        assert_null(ag_error(tape));
        assert_true(ag_get_f32(w, values[shared], 40001));
        ag_tape_free(tape);
    }
    assert_memory_equal(values[0], values[1], sizeof values[0]);
}

/* The child has a copy of the tape, but not the threads. */
static void a_forked_child_goes_on(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* it cannot follow threads that a forked child starts */
#endif
    ag_tape *tape = tape_of(AG_F32, 3);
    free(train(tape, 2000, false).at);
    assert_non_null(tape->pool);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ag_tape_reset(tape);
        ag_tensor x = ag_full(tape, AG_SHAPE(300, 300), 0.5);
        bool good = ag_item(ag_sum(ag_matmul(x, x))) == 300.0 * 300.0 * 75.0;
        ag_tape_free(tape);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ag_tensor x = ag_full(tape, AG_SHAPE(300, 300), 0.5);
    assert_true(ag_item(ag_sum(ag_matmul(x, x))) == 300.0 * 300.0 * 75.0);
    ag_tape_free(tape);
}

static void small_work_starts_no_thread(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_set_threads(tape, 4);
    free(train(tape, 200, true).at);
    assert_null(tape->pool);
    ag_tape_free(tape);
}

static void counts_out_of_range_are_refused(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    static const int wrong[] = {-1, 65, INT32_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(ag_set_threads(tape, wrong[i]));
        assert_non_null(strstr(ag_error(tape), "set_threads"));
        ag_clear_error(tape);
    }
    assert_false(ag_set_threads(NULL, 1));
    ag_tape_free(tape);
}

static void the_environment_is_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"-1", "65", "two", "2 ", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("TAPEGRAD_THREADS", wrong[i], 1);
        ag_tape *tape = ag_tape_new(AG_F32);
        assert_non_null(strstr(ag_error(tape), "TAPEGRAD_THREADS"));
        ag_tape_free(tape);
    }
    setenv("TAPEGRAD_THREADS", "3", 1);
    ag_tape *tape = ag_tape_new(AG_F32);
    assert_null(ag_error(tape));
    assert_int_equal(tape->threads, 3);
    ag_tape_free(tape);
    unsetenv("TAPEGRAD_THREADS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_has_the_same_bits),
        cmocka_unit_test(single_ops_have_the_same_bits),
        cmocka_unit_test(updates_have_the_same_bits),
        cmocka_unit_test(a_forked_child_goes_on),
        cmocka_unit_test(small_work_starts_no_thread),
        cmocka_unit_test(counts_out_of_range_are_refused),
        cmocka_unit_test(the_environment_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
