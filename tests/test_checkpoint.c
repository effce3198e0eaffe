/* Checkpoints: training that stops and goes on gives the same bits as training that does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_help.h"
#include "nn/nn.h"

enum { ROWS = 50, BATCH = 8, EPOCHS = 10, FEATURES = 3 };

/* A toy run: y = sin(x0) + x1 x2, an AdamW or SGD perceptron, shuffled batches, a cosine. */
struct run {
    ag_tape *tape;
    nn_linear hidden, out;
    nn_batches batches;
    uint32_t rows[ROWS];
    double x[ROWS][FEATURES], y[ROWS];
    double losses[EPOCHS]; /* of the last batch of each epoch */
    nn_numbers numbers;
    nn_checkpoint checkpoint;
};

static void begin(struct run *r, ag_dtype dtype, nn_options options, uint64_t seed)
{
    ag_rng data;
    memset(r, 0, sizeof *r);
    ag_rng_seed(&data, 99);
    for (uint32_t i = 0; i < ROWS; i++) {
        for (int j = 0; j < FEATURES; j++)
            r->x[i][j] = ag_rng_normal(&data);
        r->y[i] = sin(r->x[i][0]) + r->x[i][1] * r->x[i][2];
        r->rows[i] = i;
    }
    r->tape = ag_tape_new(dtype);
    ag_seed(r->tape, seed);
    nn_params *params = nn_params_new(r->tape, seed);
    r->hidden = nn_linear_new(params, "hidden", FEATURES, 5);
    r->out = nn_linear_new(params, "out", 5, 1);
    nn_optimizer *optimizer = nn_optimizer_new(params, options);
    assert_true(
        nn_batches_new(&r->batches, r->rows, ROWS, BATCH, false, nn_params_rng(params), NULL));
    r->numbers = (nn_numbers){.name = "losses", .values = r->losses, .count = EPOCHS};
    r->checkpoint = (nn_checkpoint){.params = params,
                                    .optimizer = optimizer,
                                    .batches = &r->batches,
                                    .numbers = &r->numbers,
                                    .numbers_count = 1};
}

static void end(struct run *r)
{
    assert_null(ag_error(r->tape));
    nn_batches_free(&r->batches);
    ag_tape_free(r->tape);
}

/* One batch, or the end of an epoch: false. */
static bool step(struct run *r)
{
    static const nn_schedule cosine = {
        .kind = NN_COSINE, .rate = 0.05, .floor = 0.001, .warmup = 5, .total = 7 * EPOCHS};
    const uint32_t *rows;
    double x[BATCH * FEATURES], y[BATCH];
    size_t n = nn_batches_next(&r->batches, &rows);
    if (n == 0)
        return false;
    nn_gather_f64(x, &r->x[0][0], FEATURES, rows, n);
    nn_gather_f64(y, r->y, 1, rows, n);
    ag_tensor input = ag_input_f64(r->tape, "x", AG_SHAPE((int64_t)n, FEATURES), x);
    ag_tensor target = ag_input_f64(r->tape, "y", AG_SHAPE((int64_t)n, 1), y);
    ag_tensor h = ag_tanh(nn_linear_apply(&r->hidden, input));
    ag_tensor loss = ag_mean_square(ag_sub(target, nn_linear_apply(&r->out, h)));
    r->losses[r->batches.position.epoch] = ag_item(loss);
    assert_true(
        nn_set_rate(r->checkpoint.optimizer, nn_schedule_rate(&cosine, r->checkpoint.step++)));
    assert_true(ag_backward(loss) && nn_step(r->checkpoint.optimizer));
    ag_tape_reset(r->tape);
    return true;
}

static void train(struct run *r, uint64_t epochs)
{
    while (r->batches.position.epoch < epochs)
        step(r);
}

static void assert_same_run(struct run *a, struct run *b)
{
    double x[15], y[15];
    for (size_t i = 0; i < nn_params_count(a->checkpoint.params); i++) {
        ag_tensor w = nn_params_at(a->checkpoint.params, i);
        size_t count = (size_t)ag_count(w);
        assert_true(ag_get_f64(w, x, count));
        assert_true(ag_get_f64(nn_params_at(b->checkpoint.params, i), y, count));
        assert_memory_equal(x, y, count * sizeof *x);
    }
    assert_memory_equal(a->losses, b->losses, sizeof a->losses);
    assert_memory_equal(&a->batches.position, &b->batches.position, sizeof a->batches.position);
    assert_int_equal(a->checkpoint.step, b->checkpoint.step);
    assert_true(nn_rate(a->checkpoint.optimizer) == nn_rate(b->checkpoint.optimizer));
    assert_memory_equal(nn_params_rng(a->checkpoint.params), nn_params_rng(b->checkpoint.params),
                        sizeof(ag_rng));
    assert_memory_equal(ag_tape_rng(a->tape), ag_tape_rng(b->tape), sizeof(ag_rng));
}

static nn_options momentum(void)
{
    nn_options options = nn_sgd(0.1);
    options.momentum = 0.9;
    options.nesterov = true;
    options.clip_norm = 1;
    return options;
}

/* Ten epochs, against five, a save, a new network of another seed, a load and five more; and
 * against a stop within an epoch. */
static void test_resume(void **state)
{
    (void)state;
    const nn_options options[] = {nn_adamw(0.01), nn_adam(0.01), momentum(),
                                  nn_sgd(0.1),    nn_lion(0.01), nn_muon(0.01)};
    const char *path = temporary_path("run.checkpoint");
    nn_error error = {""};
    for (int i = 0; i < 12; i++)
        for (int extra = 0; extra < 4; extra += 3) {
            static struct run whole, first, second;
            ag_dtype dtype = i % 2 ? AG_F64 : AG_F32;
            begin(&whole, dtype, options[i / 2], 1);
            train(&whole, EPOCHS);
            begin(&first, dtype, options[i / 2], 1);
            train(&first, EPOCHS / 2);
            for (int k = 0; k < extra; k++)
                step(&first);
            assert_true(nn_save_checkpoint(&first.checkpoint, path, &error));
            end(&first);

            nn_options other = options[i / 2];
            other.rate = 0.5;
            other.weight_decay = 0.3;
            begin(&second, dtype, other, 2);
            assert_true(nn_load_checkpoint(&second.checkpoint, path, &error));
            assert_string_equal(error.text, "");
            train(&second, EPOCHS);
            assert_same_run(&whole, &second);
            end(&second);
            end(&whole);
        }
}

/* The weights of a checkpoint are a safetensors file's. */
static void test_weights_of_checkpoint(void **state)
{
    (void)state;
    const char *path = temporary_path("run.checkpoint");
    static struct run a, b;
    double x[15], y[15];
    nn_error error;
    begin(&a, AG_F32, nn_adamw(0.01), 1);
    begin(&b, AG_F32, nn_adamw(0.01), 2);
    train(&a, 1);
    assert_true(nn_save_checkpoint(&a.checkpoint, path, NULL));
    assert_false(nn_load_safetensors(b.checkpoint.params, path, &error));
    assert_true(nn_load_safetensors_with(b.checkpoint.params, path, NN_ALLOW_EXTRA, &error));
    assert_true(ag_get_f64(a.hidden.weight, x, 15) && ag_get_f64(b.hidden.weight, y, 15));
    assert_memory_equal(x, y, sizeof x);
    end(&a);
    end(&b);
}

static void refused(struct run *r, const char *path, const char *message)
{
    struct run before = *r;
    double weight[15], after[15];
    ag_rng rng = *nn_params_rng(r->checkpoint.params);
    nn_error error = {""};
    assert_true(ag_get_f64(r->hidden.weight, weight, 15));
    assert_false(nn_load_checkpoint(&r->checkpoint, path, &error));
    if (!strstr(error.text, message))
        fail_msg("'%s', not '%s'", error.text, message);
    assert_memory_equal(error.text, path, strlen(path));
    assert_null(ag_error(r->tape));
    assert_true(ag_get_f64(r->hidden.weight, after, 15));
    assert_memory_equal(weight, after, sizeof weight);
    assert_memory_equal(&rng, nn_params_rng(r->checkpoint.params), sizeof rng);
    assert_memory_equal(&before, r, sizeof before);
}

static void test_checkpoint_rules(void **state)
{
    (void)state;
    const char *path = temporary_path("rules.checkpoint"), *weights = temporary_path("weights");
    static struct run a, b;
    begin(&a, AG_F32, nn_adamw(0.01), 1);
    train(&a, 1);
    assert_true(nn_save_checkpoint(&a.checkpoint, path, NULL));
    assert_true(nn_save_safetensors(a.checkpoint.params, weights, NULL));

    refused(&a, weights, "not a checkpoint: its metadata lacks format 'tapegrad checkpoint 1'");
    begin(&b, AG_F64, nn_adamw(0.01), 2);
    refused(&b, path, "is F32; it must be F64");
    end(&b);
    begin(&b, AG_F32, nn_adam(0.01), 2);
    refused(&b, path, "its optimiser's method is 2; here it is 1");
    end(&b);
    begin(&b, AG_F32, nn_sgd(0.01), 2);
    refused(&b, path,
            "tensor 'training/optimizer/state/hidden.bias/0' has no place in this training");
    end(&b);
    begin(&b, AG_F32, nn_adamw(0.01), 2);
    b.batches.count = ROWS - 1;
    refused(&b, path, "it was trained on 50 rows; here are 49");
    b.batches.count = ROWS;
    b.numbers.count = 9;
    refused(&b, path, "tensor 'training/numbers/losses' has the shape (10,); it must be (9,)");
    b.numbers.name = "history";
    refused(&b, path, "there is no tensor 'training/numbers/history'");
    b.checkpoint.numbers_count = 0;
    refused(&b, path, "tensor 'training/numbers/losses' has no place in this training");
    nn_parameter(b.checkpoint.params, "late", AG_SCALAR);
    refused(&b, path, "the optimiser was made before all of the parameters");
    end(&b);

    nn_error error;
    nn_checkpoint none = {0};
    assert_false(nn_save_checkpoint(&none, path, &error));
    assert_false(nn_load_checkpoint(&none, path, &error));
    nn_numbers twice[] = {a.numbers, a.numbers};
    a.checkpoint.numbers = twice;
    a.checkpoint.numbers_count = 2;
    assert_false(nn_save_checkpoint(&a.checkpoint, path, &error));
    assert_non_null(strstr(error.text, "two have the name 'training/numbers/losses'"));
    end(&a);
}

/* Values that would make no sense are found before anything is set. */
static void test_checkpoint_values(void **state)
{
    (void)state;
    const char *path = temporary_path("values.checkpoint");
    static const struct {
        const char *tensor;
        unsigned char bytes[32];
        const char *message;
    } cases[] = {
        {"training/batches/offset", {51}, "position 51 lies beyond the last of 50 rows"},
        {"training/batches/rng", {0}, "the state of a generator is all zeros"},
        {"training/tape/rng", {0}, "the state of a generator is all zeros"},
        {"training/optimizer/method", {9}, "its optimiser's method is 9; here it is 2"},
        {"training/optimizer/beta1", {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, "beta1 is 1; it must be"},
        {"training/optimizer/rate", {0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, "rate is nan; it must be"},
    };
    static struct run a;
    begin(&a, AG_F32, nn_adamw(0.01), 1);
    train(&a, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(nn_save_checkpoint(&a.checkpoint, path, NULL));
        nn_safetensors *file = nn_safetensors_read(path, NULL);
        const nn_stored *t = nn_safetensors_find(file, cases[i].tensor);
        size_t size, place = (size_t)((const unsigned char *)t->data - file->bytes);
        unsigned char *bytes = read_bytes(path, &size);
        memcpy(bytes + place, cases[i].bytes, t->size);
        nn_safetensors_free(file);
        write_bytes(path, bytes, size);
        free(bytes);
        refused(&a, path, cases[i].message);
    }
    end(&a);
}

static bool try_save(void *context, char message[512])
{
    nn_error error = {""};
    bool good =
        nn_save_checkpoint(&((struct run *)context)->checkpoint, temporary_path("m"), &error);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

/* The optimiser's buffers, made on loading, may be what there is no memory for. */
static bool try_load(void *context, char message[512])
{
    struct run *r = context;
    nn_error error = {""};
    ag_clear_error(r->tape);
    bool good = nn_load_checkpoint(&r->checkpoint, temporary_path("m"), &error);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

static void test_checkpoint_out_of_memory(void **state)
{
    (void)state;
    static struct run a, b;
    int files = count_files();
    begin(&a, AG_F32, nn_adamw(0.01), 1);
    begin(&b, AG_F32, nn_adamw(0.01), 2);
    train(&a, 1);
    assert_true(count_failures(try_save, &a) > 10);
    assert_int_equal(count_files(), files + 1);
    assert_true(count_failures(try_load, &b) > 10);
    train(&a, 2);
    train(&b, 2);
    assert_same_run(&a, &b);
    end(&a);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_weights_of_checkpoint),
        cmocka_unit_test(test_checkpoint_rules),
        cmocka_unit_test(test_checkpoint_values),
        cmocka_unit_test(test_checkpoint_out_of_memory),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, make_directory, remove_directory);
}
