/* The training loop: it learns, validates, stops, keeps the best, is interrupted and resumed; and
 * what it is made of: copies of weights, averages, accumulated gradients. */
#define _POSIX_C_SOURCE 200809L

#include <signal.h>

#include "tape_help.h"

enum { ROWS = 200, FEATURES = 3, EPOCHS = 6 };

static void assert_starts(const char *text, const char *expected)
{
    assert_non_null(text);
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("expected: %s\ngot: %s", expected, text);
}

/* ---- A regression with all that makes resuming hard: dropout, batch_norm, momentum, averages ----
 */

struct task {
    ag_tape *tape;
    nn_params *params;
    nn_linear hidden, out;
    nn_norm norm;
    ag_tensor x, y;
    nn_split split;
    nn_schedule schedule;
    nn_fit_options options;
    nn_history history;
    nn_error error;
    size_t calls, interrupt_at, recorded; /* calls of the loss; raise SIGINT in that one */
    double noise;                         /* of the targets */
};

static ag_tensor task_loss(void *context, ag_tensor rows)
{
    struct task *t = context;
    if (++t->calls == t->interrupt_at)
        raise(SIGINT);
    ag_tensor h = nn_linear_apply(&t->hidden, ag_take(t->x, rows));
    h = nn_dropout(t->params, ag_tanh(nn_norm_apply(&t->norm, h)), 0.1);
    return nn_mse_loss(nn_linear_apply(&t->out, h), ag_take(t->y, rows), NN_MEAN);
}

static void task_new(struct task *t, ag_dtype dtype, uint64_t seed)
{
    double x[ROWS * FEATURES], y[ROWS];
    ag_rng rng;
    *t = (struct task){.tape = ag_tape_new(dtype)};
    ag_rng_seed(&rng, 5);
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < FEATURES; j++)
            x[FEATURES * i + j] = ag_rng_normal(&rng);
        const double *row = x + (ptrdiff_t)FEATURES * i;
        y[i] = sin(row[0]) + 0.5 * row[1] - row[2];
    }
    assert_true(nn_split_rows(&t->split, ROWS, 0.7, 0.2, &rng, NULL));
    t->params = nn_params_new(t->tape, seed);
    t->hidden = nn_linear_new(t->params, "hidden", FEATURES, 16);
    t->norm = nn_batch_norm_new(t->params, "norm", 16);
    t->out = nn_linear_new(t->params, "out", 16, 1);
    t->x = ag_buffer(t->tape, "x", AG_SHAPE(ROWS, FEATURES));
    t->y = ag_buffer(t->tape, "y", AG_SHAPE(ROWS, 1));
    ag_set_f64(t->x, x, sizeof x / sizeof *x);
    ag_set_f64(t->y, y, ROWS);
    ag_seed(t->tape, seed);
    t->schedule = (nn_schedule){.kind = NN_COSINE, .rate = 0.02, .warmup = 5, .total = 500};
    t->options = (nn_fit_options){.params = t->params,
                                  .optimizer = nn_optimizer_new(t->params, nn_adamw(0.02)),
                                  .loss = task_loss,
                                  .context = t,
                                  .split = &t->split,
                                  .batch = 16,
                                  .epochs = EPOCHS,
                                  .seed = seed,
                                  .schedule = &t->schedule};
    assert_no_error(t->tape);
}

static nn_fit_end task_fit(struct task *t)
{
    nn_fit_end end = nn_fit(&t->options, &t->history, &t->error);
    if (end == NN_FIT_FAILED && !*t->error.text)
        fail_msg("no message");
    return end;
}

static void task_free(struct task *t)
{
    nn_split_free(&t->split);
    ag_tape_free(t->tape);
}

/* All parameters and buffers, one after the other; to be freed. */
static double *weights(const nn_params *params, size_t *count)
{
    double *values = calloc(1000, sizeof *values);
    assert_non_null(values);
    *count = 0;
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        assert_true(ag_get_f64(w, values + *count, (size_t)ag_count(w)));
        *count += (size_t)ag_count(w);
    }
    return values;
}

static void assert_same_weights(const nn_params *a, const nn_params *b)
{
    size_t m, n;
    double *x = weights(a, &m), *y = weights(b, &n);
    assert_true(m == n && m > 0);
    assert_memory_equal(x, y, n * sizeof *x);
    free(x);
    free(y);
}

/* ---- Learning ---- */

static void test_learns(void **state)
{
    (void)state;
    for (int dtype = AG_F32; dtype <= AG_F64; dtype++) {
        struct task t;
        double test;
        task_new(&t, (ag_dtype)dtype, 1);
        t.options.epochs = 40;
        t.options.progress = tmpfile();
        assert_int_equal(task_fit(&t), NN_FIT_DONE);
        assert_int_equal(t.history.epochs, 40);
        assert_true(t.history.validation[39] < 0.1 * t.history.validation[0]);
        assert_true(t.history.train[39] < 0.3 * t.history.train[0]);
        assert_true(nn_training(t.params));
        assert_true(nn_evaluate(&t.options, t.split.test, t.split.test_count, &test, NULL));
        assert_true(test < 0.3);
        /* 140 rows are 8 batches of 16 and one of 12; 40 are 2 and one of 8. Recorded once for each
         * change of size: 2 + 2 times in an epoch, and twice for the test part. */
        assert_true(t.calls <= 40 * 4 + 2);
        char text[4000];
        rewind(t.options.progress);
        text[fread(text, 1, sizeof text - 1, t.options.progress)] = '\0';
        assert_starts(text, "epoch  1/40  train ");
        assert_non_null(strstr(text, "\nepoch 40/40  train 0."));
        fclose(t.options.progress);
        task_free(&t);
    }
}

/* A large batch and its quarters, accumulated, are one step alike. */
static void test_accumulates(void **state)
{
    (void)state;
    double *at[2];
    size_t count = 0;
    for (int i = 0; i < 2; i++) {
        struct task t;
        task_new(&t, AG_F64, 1);
        nn_set_training(t.params, false);
        nn_optimizer *sgd = nn_optimizer_new(t.params, nn_sgd(0.1));
        for (int step = 0; step < 3; step++) {
            uint32_t n = i ? 4 : 1, size = 16 / n;
            for (uint32_t k = 0; k < n; k++) {
                double rows[16];
                for (uint32_t r = 0; r < size; r++)
                    rows[r] = k * size + r;
                ag_tape_reset(t.tape);
                ag_backward(task_loss(&t, ag_input_f64(t.tape, "rows", AG_SHAPE(size), rows)));
                assert_true(!i || nn_accumulate(sgd));
            }
            assert_true(nn_step(sgd));
        }
        at[i] = weights(t.params, &count);
        assert_no_error(t.tape);
        task_free(&t);
    }
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(at[0][i] - at[1][i]) < 1e-12);
    free(at[0]);
    free(at[1]);

    struct task t;
    task_new(&t, AG_F32, 1);
    t.options.accumulate = 3;
    t.options.epochs = 30;
    assert_int_equal(task_fit(&t), NN_FIT_DONE);
    assert_true(t.history.validation[29] < 0.3 * t.history.validation[0]);
    assert_false(nn_accumulate(NULL));
    ag_tape_reset(t.tape);
    assert_false(nn_accumulate(t.options.optimizer));
    assert_starts(ag_error(t.tape), "accumulate: no parameter has a gradient");
    task_free(&t);
}

/* ---- Copies ---- */

static void test_copies(void **state)
{
    (void)state;
    struct task t;
    task_new(&t, AG_F32, 3);
    nn_params *copy = nn_params_copy(t.params), *first = nn_params_copy(t.params);
    assert_same_weights(copy, t.params);
    assert_int_equal(nn_params_elements(copy), 0); /* buffers are not parameters */
    assert_int_equal(task_fit(&t), NN_FIT_DONE);
    assert_same_weights(copy, first);
    nn_params *trained = nn_params_copy(t.params);
    assert_true(nn_swap(copy, t.params));
    assert_same_weights(copy, trained);
    assert_same_weights(t.params, first);
    assert_true(nn_swap(copy, t.params) && nn_copy(copy, first));
    assert_same_weights(copy, first);
    assert_same_weights(t.params, trained);

    assert_true(nn_average(copy, t.params, 0.75));
    size_t count;
    double *a = weights(copy, &count), *b = weights(first, &count), *c = weights(trained, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(fabs(a[i] - (0.75 * b[i] + 0.25 * c[i])) <= 2e-7 * (fabs(b[i]) + fabs(c[i])));
    free(a);
    free(b);
    free(c);

    assert_false(nn_average(copy, t.params, 1.5));
    assert_starts(ag_error(t.tape), "average: decay is 1.5; it must be from 0 to 1");
    ag_clear_error(t.tape);
    nn_params *other = nn_params_new(t.tape, 0);
    nn_parameter(other, "w", AG_SHAPE(2));
    assert_false(nn_copy(other, t.params) || ag_valid(nn_params_at(NULL, 0)));
    assert_starts(ag_error(t.tape), "copy: these lists are not each other's copies");
    ag_clear_error(t.tape);
    assert_false(nn_swap(t.params, t.params));
    ag_clear_error(t.tape);
    assert_null(nn_params_copy(NULL));
    assert_false(nn_copy(NULL, NULL) || nn_swap(NULL, NULL) || nn_average(NULL, NULL, 0));
    task_free(&t);
}

/* ---- Early stopping and averages ---- */

static void test_stops_early(void **state)
{
    (void)state;
    struct task t;
    double validation;
    task_new(&t, AG_F32, 2);
    t.schedule = (nn_schedule){.rate = 0.3}; /* too large to settle */
    t.options.epochs = 200;
    t.options.patience = 4;
    assert_int_equal(task_fit(&t), NN_FIT_STOPPED_EARLY);
    const nn_history *h = &t.history;
    assert_true(h->epochs < 200 && h->epochs == h->best + 5);
    for (size_t i = 0; i < h->epochs; i++)
        assert_true(h->validation[i] >= h->validation[h->best]);
    assert_true(
        nn_evaluate(&t.options, t.split.validation, t.split.validation_count, &validation, NULL));
    assert_true(validation == h->validation[h->best]);
    task_free(&t);
}

static void test_averages(void **state)
{
    (void)state;
    struct task t;
    double validation;
    task_new(&t, AG_F32, 2);
    t.options.average = 0.9;
    t.options.epochs = 20;
    assert_int_equal(task_fit(&t), NN_FIT_DONE);
    assert_true(
        nn_evaluate(&t.options, t.split.validation, t.split.validation_count, &validation, NULL));
    assert_true(validation == t.history.validation[19]);
    assert_true(validation < 0.3 * t.history.validation[0]);
    task_free(&t);
}

/* ---- Interruption ---- */

static void make_hard(struct task *t, ag_dtype dtype, const char *path)
{
    task_new(t, dtype, 7);
    t->options.average = 0.9;
    t->options.patience = 50;
    t->options.checkpoint = path;
}

static void assert_same_history(const nn_history *a, const nn_history *b)
{
    assert_int_equal(a->epochs, b->epochs);
    assert_int_equal(a->best, b->best);
    assert_memory_equal(a->train, b->train, a->epochs * sizeof *a->train);
    assert_memory_equal(a->validation, b->validation, a->epochs * sizeof *a->validation);
}

/* Epochs at once, and in two halves; then interrupted after any step of any epoch. */
static void test_resumes(void **state)
{
    (void)state;
    const char *path = "test_fit.checkpoint";
    for (int dtype = AG_F32; dtype <= AG_F64; dtype++) {
        struct task whole, part;
        make_hard(&whole, (ag_dtype)dtype, NULL);
        assert_int_equal(task_fit(&whole), NN_FIT_DONE);
        make_hard(&part, (ag_dtype)dtype, path);
        part.options.epochs = EPOCHS / 2;
        assert_int_equal(task_fit(&part), NN_FIT_DONE);
        task_free(&part);
        make_hard(&part, (ag_dtype)dtype, path);
        part.options.resume = true;
        assert_int_equal(task_fit(&part), NN_FIT_DONE);
        assert_same_weights(whole.params, part.params);
        assert_same_history(&whole.history, &part.history);
        task_free(&part);

        for (size_t call = 1; call <= 9; call++) {
            struct sigaction before, after;
            sigaction(SIGINT, NULL, &before);
            make_hard(&part, (ag_dtype)dtype, path);
            part.options.interruptible = true;
            part.interrupt_at = call;
            assert_int_equal(task_fit(&part), NN_FIT_INTERRUPTED);
            sigaction(SIGINT, NULL, &after);
            assert_true(before.sa_handler == after.sa_handler);
            assert_int_equal(part.history.epochs, (call + 1) / 4); /* 3 is within epoch 1's end */
            task_free(&part);
            make_hard(&part, (ag_dtype)dtype, path);
            part.options.resume = true;
            assert_int_equal(task_fit(&part), NN_FIT_DONE);
            assert_same_weights(whole.params, part.params);
            assert_same_history(&whole.history, &part.history);
            task_free(&part);
        }
        task_free(&whole);
    }
    remove(path);
}

/* A schedule has a length of its own, so that stopping after fewer epochs does not change it; and
 * what the steps depend on must be as it was. */
static void test_resumes_a_schedule(void **state)
{
    (void)state;
    const char *path = "test_fit.schedule";
    enum { STEPS = EPOCHS * 9 }; /* 140 rows in batches of 16 */
    static const nn_schedule schedules[] = {
        {.kind = NN_CONSTANT, .rate = 0.02, .warmup = STEPS / 2 + 3},
        {.kind = NN_STEPS, .rate = 0.02, .factor = 0.3, .every = STEPS / 4},
        {.kind = NN_COSINE, .rate = 0.02, .floor = 1e-4, .warmup = 4, .total = STEPS}};
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++)
        for (size_t first = 1; first < EPOCHS; first++) {
            struct task whole, part;
            make_hard(&whole, AG_F32, NULL);
            whole.schedule = schedules[i];
            assert_int_equal(task_fit(&whole), NN_FIT_DONE);
            make_hard(&part, AG_F32, path);
            part.schedule = schedules[i];
            part.options.epochs = first;
            assert_int_equal(task_fit(&part), NN_FIT_DONE);
            task_free(&part);
            make_hard(&part, AG_F32, path);
            part.schedule = schedules[i];
            part.options.resume = true;
            assert_int_equal(task_fit(&part), NN_FIT_DONE);
            assert_same_weights(whole.params, part.params);
            assert_same_history(&whole.history, &part.history);
            task_free(&part);
            task_free(&whole);
        }
    remove(path);
}

/* ---- Mistakes ---- */

static ag_tensor bad_loss(void *context, ag_tensor rows)
{
    const struct task *t = context;
    return ag_take(t->x, rows); /* not a scalar */
}

static void refuse(struct task *t, const char *message)
{
    t->error.text[0] = '\0';
    assert_int_equal(nn_fit(&t->options, &t->history, &t->error), NN_FIT_FAILED);
    if (!strstr(t->error.text, message))
        fail_msg("expected: %s\ngot: %s", message, t->error.text);
    ag_clear_error(t->tape);
}

static void test_resume_of_another_plan(void **state)
{
    (void)state;
    const char *path = "test_fit.plan";
    struct task t;
    double loss;
    make_hard(&t, AG_F32, path);
    assert_int_equal(task_fit(&t), NN_FIT_DONE);
    task_free(&t);
    make_hard(&t, AG_F32, path);
    assert_true(nn_evaluate(&t.options, t.split.validation, t.split.validation_count, &loss, NULL));
    t.options.resume = true;
    t.schedule.total = 400;
    refuse(&t, "test_fit.plan: training began with another fit/schedule/total: 500, here 400");
    t.schedule.total = 500;
    t.options.schedule = NULL;
    refuse(&t, "training began with another fit/schedule/kind: 2, here 0");
    t.options.schedule = &t.schedule;
    t.options.batch = 17;
    refuse(&t, "training began with another fit/batch: 16, here 17");
    t.options.batch = 16;
    t.options.accumulate = 2;
    refuse(&t, "training began with another fit/accumulate: 1, here 2");
    t.options.accumulate = 0;
    t.options.epochs = EPOCHS - 1;
    refuse(&t, "tensor 'training/numbers/fit/train' has the shape (6,); it must be (5,)");
    double after;
    assert_true(
        nn_evaluate(&t.options, t.split.validation, t.split.validation_count, &after, NULL));
    assert_true(after == loss); /* nothing was loaded */
    task_free(&t);
    remove(path);
}

static void test_mistakes(void **state)
{
    (void)state;
    struct task t;
    task_new(&t, AG_F32, 1);
    const nn_fit_options good = t.options;
    t.options.loss = NULL;
    refuse(&t, "fit: params, optimizer, loss and split must be given");
    t.options = good;
    t.options.batch = 0;
    refuse(&t, "batches of 0");
    t.options = good;
    t.options.average = 1;
    refuse(&t, "fit: average is 1; it must be at least 0 and below 1");
    t.options = good;
    t.options.resume = true;
    refuse(&t, "fit: resume needs a checkpoint");
    t.options.checkpoint = "no such folder/file";
    refuse(&t, "no such folder/file");
    t.options.resume = false;
    refuse(&t, "no such folder/file");
    t.options = good;
    t.options.loss = bad_loss;
    refuse(&t, "backward: ");
    t.options = good;
    uint32_t rows[] = {1, (1u << 24) + 2};
    nn_split split = {.train = rows, .train_count = 2};
    t.options.split = &split;
    refuse(&t, "fit: row 16777218 cannot be told from its neighbours in float32");
    t.options.batch = 1;
    t.options.patience = 1;
    refuse(&t, "fit: patience needs validation rows");
    t.options.patience = 0;
    t.options.batch = 2;
    rows[1] = ROWS;
    refuse(&t, "take: ");
    t.options = good;
    t.schedule = (nn_schedule){.rate = 1e300};
    refuse(&t, "fit: training diverged: the ");
    double loss;
    nn_error error;
    assert_false(nn_evaluate(&good, rows, 0, &loss, NULL));
    rows[1] = (1u << 24) + 1;
    assert_false(nn_evaluate(&good, rows, 2, &loss, &error));
    assert_string_equal(error.text,
                        "evaluate: row 16777217 cannot be told from its neighbours in float32");
    assert_true(nn_training(t.params));
    task_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_accumulates),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_stops_early),
        cmocka_unit_test(test_averages),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_resumes_a_schedule),
        cmocka_unit_test(test_resume_of_another_plan),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
