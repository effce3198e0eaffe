/* NULL for every pointer of a public function: refused with a message or, where it is what an error
 * left behind, taken for empty. And other arguments that make no sense, and callbacks that use the
 * tape. */
#include "tape_help.h"

static nn_error error;

static void assert_refused(bool good, const char *expected)
{
    assert_false(good);
    if (!strstr(error.text, expected))
        fail_msg("expected: %s\ngot: %s", expected, error.text);
    error.text[0] = '\0';
}

static void assert_failed(ag_tensor x, ag_tape *tape, const char *expected)
{
    assert_false(ag_valid(x));
    assert_error_with(tape, expected);
}

static void test_csv(void **state)
{
    static const char text[] = "a,b\n1,2\n";
    nn_csv *csv = nn_csv_parse("t.csv", text, strlen(text), &error);
    nn_categories categories;
    double values[1];
    size_t column;
    int codes[1];
    (void)state;
    assert_refused(nn_csv_read(NULL, &error), "no name (NULL)");
    assert_refused(nn_csv_parse("t.csv", NULL, 5, &error), "the file is empty");
    assert_int_equal(nn_csv_rows(NULL) + nn_csv_columns(NULL) + nn_csv_line(NULL, 0), 0);
    assert_string_equal(nn_csv_file(NULL), "file");
    assert_string_equal(nn_csv_name(NULL, 0), "");
    assert_string_equal(nn_csv_text(NULL, 0, 0), "");
    assert_string_equal(nn_csv_name(csv, 1), "b");
    assert_string_equal(nn_csv_name(csv, 2), "");
    assert_string_equal(nn_csv_text(csv, 0, 1), "2");
    assert_string_equal(nn_csv_text(csv, 0, 2), "");
    assert_string_equal(nn_csv_text(csv, 1, 0), "");
    assert_string_equal(nn_csv_text(csv, SIZE_MAX, 0), "");
    assert_int_equal(nn_csv_line(csv, 0), 2);
    assert_int_equal(nn_csv_line(csv, 1), 0);
    assert_refused(nn_csv_find(NULL, "a", &column, &error), "csv_find: an argument is NULL");
    assert_refused(nn_csv_find(csv, NULL, &column, &error), "NULL");
    assert_refused(nn_csv_find(csv, "a", NULL, &error), "NULL");
    assert_refused(nn_csv_numbers(NULL, 0, values, NULL, &error), "csv_numbers: an argument");
    assert_refused(nn_csv_numbers(csv, 0, NULL, NULL, &error), "NULL");
    assert_refused(nn_csv_numbers(csv, 2, values, NULL, &error),
                   "t.csv: there is no column 2; there are 2");
    assert_refused(nn_csv_categories(NULL, 0, codes, &categories, &error), "NULL");
    assert_refused(nn_csv_categories(csv, 0, NULL, &categories, &error), "NULL");
    assert_refused(nn_csv_categories(csv, 0, codes, NULL, &error), "NULL");
    assert_refused(nn_csv_categories(csv, 2, codes, &categories, &error), "no column 2");
    nn_categories_free(NULL);
    nn_csv_free(csv);
}

static void test_data(void **state)
{
    static const uint32_t rows[] = {0, 1};
    double x[] = {1, 3}, median;
    float narrow[] = {7, 7};
    const uint32_t *next;
    nn_batches batches, none = {0};
    nn_scaler scaler;
    nn_split split;
    nn_table table;
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    (void)state;
    assert_refused(nn_table_new(NULL, 1, 1, 1, &error), "table: an argument is NULL");
    assert_refused(nn_table_new(&table, SIZE_MAX, SIZE_MAX, 1, &error), "out of memory");
    assert_refused(nn_split_rows(NULL, 4, 0.5, 0.2, &rng, &error), "split: an argument is NULL");
    assert_refused(nn_split_rows(&split, 4, 0.5, 0.2, NULL, &error), "NULL");
    assert_refused(nn_split_rows(&split, 4, (double)NAN, 0.2, &rng, &error), "fractions");
    assert_refused(nn_median(NULL, rows, 2, &median, &error), "median: an argument is NULL");
    assert_refused(nn_median(x, NULL, 2, &median, &error), "NULL");
    assert_refused(nn_median(x, rows, 2, NULL, &error), "NULL");
    assert_refused(nn_median(x, rows, SIZE_MAX / sizeof *x + 2, &median, &error), "out of memory");
    assert_refused(nn_scaler_fit(NULL, x, 1, rows, 2, &error), "scaler: an argument is NULL");
    assert_refused(nn_scaler_fit(&scaler, NULL, 1, rows, 2, &error), "NULL");
    assert_refused(nn_scaler_fit(&scaler, x, 1, NULL, 2, &error), "NULL");
    assert_refused(nn_batches_new(NULL, rows, 2, 1, false, &rng, &error), "batches: an argument");
    assert_refused(nn_batches_new(&batches, NULL, 2, 1, false, &rng, &error), "NULL");
    assert_refused(nn_batches_new(&batches, rows, 2, 1, false, NULL, &error), "NULL");
    assert_refused(nn_batches_new(&batches, rows, SIZE_MAX / 4 + 2, 1, false, &rng, &error),
                   "out of memory");
    assert_true(nn_batches_new(&batches, rows, 2, 1, false, &rng, &error));
    assert_refused(nn_batches_seek(NULL, &batches.position, &error), "NULL");
    assert_refused(nn_batches_seek(&batches, NULL, &error), "NULL");
    assert_int_equal(nn_batches_next(NULL, &next) + nn_batches_next(&none, &next), 0);
    assert_int_equal(nn_batches_next(&batches, NULL), 0);
    assert_int_equal(nn_batches_next(&batches, &next), 1);
    nn_scaler_apply(NULL, x, 2);
    nn_scaler_invert(&(nn_scaler){.columns = 1}, x, 2);
    nn_gather_f32(narrow, NULL, 1, rows, 2);
    nn_gather_f64(x, x, 1, NULL, 2);
    assert_true(x[0] == 1 && x[1] == 3 && narrow[0] == 7);
    nn_table_free(NULL);
    nn_split_free(NULL);
    nn_scaler_free(NULL);
    nn_batches_free(NULL);
    nn_batches_free(&batches);
}

static void test_arrays(void **state)
{
    static const char *const names[] = {"a", NULL};
    static const char path[] = "test_nulls.tmp";
    double d[2] = {1, 2};
    nn_array array, two[] = {{AG_SHAPE(2), 2, NULL, d}, {AG_SHAPE(2), 2, NULL, d}};
    (void)state;
    assert_refused(nn_npy_read(&array, AG_F32, NULL, &error), "no name (NULL)");
    assert_refused(nn_npy_parse(&array, AG_F32, NULL, NULL, 99, &error), "file: not an npy file");
    assert_refused(nn_npy_parse(NULL, AG_F32, "a", "", 0, &error), "npy_parse: an argument");
    assert_refused(nn_idx_parse(&array, AG_F32, NULL, NULL, 99, &error), "not an IDX file");
    assert_refused(nn_idx_parse(NULL, AG_F32, "a", "", 0, &error), "idx_parse: an argument");
    assert_refused(nn_npy_write(NULL, path, &error), "array: an argument is NULL");
    assert_refused(nn_npy_write(&two[0], NULL, &error), "no name to save to");
    assert_refused(nn_npz_write(names, two, 2, path, &error), "a name is NULL");
    assert_refused(nn_npz_write(NULL, two, 2, path, &error), "a name is NULL");
    assert_refused(nn_npz_write(names, NULL, 1, path, &error), "array: an argument is NULL");
    assert_refused(nn_npz_write(names, two, SIZE_MAX, path, &error), "zip64");
    two[0].count = 3;
    assert_refused(nn_npy_write(&two[0], path, &error), "an array whose 3 elements are not (2,)");
    assert_refused(nn_npz_write(names, two, 1, path, &error), "an array whose 3 elements");
    two[1].f64 = NULL;
    assert_refused(nn_npy_write(&two[1], path, &error), "an array whose 0 elements are not (2,)");
    two[1].shape.rank = 100;
    assert_refused(nn_npy_write(&two[1], path, &error), "an array whose 0 elements are not (2, ");
    assert_refused(nn_npz_read(NULL, &error), "no name (NULL)");
    assert_refused(nn_npz_parse("a", NULL, 99, &error), "not a zip archive");
    assert_refused(nn_npz_get(NULL, "a", &array, AG_F32, &error), "npz_get: an argument is NULL");
    assert_int_equal(nn_npz_count(NULL), 0);
    assert_null(nn_npz_name(NULL, 0));
    nn_array_free(NULL);
    nn_npz_free(NULL);
}

static void test_safetensors(void **state)
{
    static const char path[] = "test_nulls.tmp";
    float f[2] = {1, 2};
    double values[2];
    nn_stored good = {"a", "F32", AG_SHAPE(2), f, sizeof f}, bad = good;
    nn_metadata half = {"key", NULL};
    (void)state;
    assert_refused(nn_safetensors_read(NULL, &error), "no name (NULL)");
    assert_refused(nn_safetensors_parse("a", NULL, 9, &error), "a: 0 bytes");
    assert_null(nn_safetensors_find(NULL, "a"));
    assert_refused(nn_safetensors_write(NULL, &good, 1, NULL, 0, &error), "no name to save to");
    assert_refused(nn_safetensors_write(path, NULL, 1, NULL, 0, &error), "a name is NULL");
    assert_refused(nn_safetensors_write(path, &good, 1, NULL, 1, &error), "a name is NULL");
    assert_refused(nn_safetensors_write(path, &good, 1, &half, 1, &error),
                   "__metadata__: an argument is NULL");
    bad.name = NULL;
    assert_refused(nn_safetensors_write(path, &bad, 1, NULL, 0, &error), "a name is NULL");
    bad = good;
    bad.dtype = NULL;
    assert_refused(nn_safetensors_write(path, &bad, 1, NULL, 0, &error),
                   "8 bytes are not NULL (2,)");
    assert_false(nn_stored_values(&bad, values) || nn_stored_values(NULL, values));
    bad = good;
    bad.data = NULL;
    assert_refused(nn_safetensors_write(path, &bad, 1, NULL, 0, &error),
                   "0 bytes are not F32 (2,)");
    assert_false(nn_stored_values(&bad, values) || nn_stored_values(&good, NULL));
    for (int rank = -1; rank < 100; rank += 100) {
        bad = good;
        bad.shape.rank = rank;
        assert_refused(nn_safetensors_write(path, &bad, 1, NULL, 0, &error), "8 bytes are not F32");
    }
}

static void test_files(void **state)
{
    static const char path[] = "test_nulls.tmp";
    nn_file file, none = {0};
    (void)state;
    assert_refused(nn_file_begin(NULL, path, &error), "file: an argument is NULL");
    assert_refused(nn_file_begin(&file, NULL, &error), "no name to save to");
    assert_refused(nn_file_commit(NULL, &error), "commit without begin");
    assert_refused(nn_file_commit(&none, &error), "commit without begin");
    assert_false(nn_file_write(NULL, path, 1) || nn_file_write(&none, path, 1));
    nn_file_abandon(NULL);
    nn_file_abandon(&none);
    assert_true(nn_file_begin(&file, path, &error));
    assert_false(nn_file_write(&file, NULL, 1));
    assert_refused(nn_file_commit(&file, &error), "not saved: Invalid argument");
    assert_null(fopen(path, "rb"));
}

static void test_checkpoints(void **state)
{
    static const char path[] = "test_nulls.tmp";
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 1);
    double value = 1;
    nn_numbers numbers[] = {{"n", NULL, 1, 0, false}, {NULL, &value, 1, 0, false}};
    nn_checkpoint c = {.params = params, .numbers_count = 1};
    (void)state;
    assert_refused(nn_save_safetensors(NULL, path, &error), "after an error");
    assert_refused(nn_load_safetensors(NULL, path, &error), "after an error");
    assert_refused(nn_save_safetensors(params, NULL, &error), "no name to save to");
    assert_refused(nn_save_checkpoint(NULL, path, &error), "checkpoint: an argument is NULL");
    assert_refused(nn_load_checkpoint(NULL, path, &error), "checkpoint: an argument is NULL");
    assert_refused(nn_save_checkpoint(&c, path, &error), "numbers: an argument is NULL");
    for (int i = 0; i < 2; i++) {
        c.numbers = &numbers[i];
        assert_refused(nn_save_checkpoint(&c, path, &error), "numbers: an argument is NULL");
    }
    assert_null(fopen(path, "rb"));
    c.numbers_count = 0;
    assert_true(nn_save_checkpoint(&c, path, &error));
    c.numbers_count = 1;
    assert_refused(nn_load_checkpoint(&c, path, &error), "numbers: an argument is NULL");
    remove(path);
    ag_tape_free(tape);
}

static ag_tensor mean_of_rows(void *context, ag_tensor rows)
{
    (void)context;
    return ag_mean(rows);
}

static void test_fit(void **state)
{
    uint32_t rows[] = {0, 1};
    double loss;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 1);
    nn_parameter(params, "w", AG_SHAPE(2));
    nn_split split = {.train_count = 2};
    nn_fit_options o = {.params = params,
                        .optimizer = nn_optimizer_new(params, nn_sgd(0.1)),
                        .loss = mean_of_rows,
                        .split = &split,
                        .batch = 1};
    (void)state;
    assert_refused(nn_fit(NULL, NULL, &error), "must be given");
    assert_refused(nn_fit(&o, NULL, &error), "must be given");
    split = (nn_split){.train = rows, .train_count = 1, .validation_count = 1};
    assert_refused(nn_fit(&o, NULL, &error), "must be given");
    split.validation = rows + 1;
    o.epochs = SIZE_MAX;
    assert_refused(nn_fit(&o, NULL, &error), "out of memory");
    ag_clear_error(tape);
    assert_refused(nn_evaluate(NULL, rows, 2, &loss, &error), "must be given");
    assert_refused(nn_evaluate(&o, NULL, 2, &loss, &error), "must be given");
    assert_refused(nn_evaluate(&o, rows, 2, NULL, &error), "must be given");
    assert_true(nn_evaluate(&o, rows, 2, &loss, &error));
    assert_true(loss == 0.5);
    assert_true(isnan(nn_schedule_rate(NULL, 0)));
    ag_tape_free(tape);
}

static void test_progress(void **state)
{
    FILE *out = tmpfile();
    nn_progress p;
    (void)state;
    nn_progress_begin(NULL, out, 1, 1);
    nn_progress_resume(NULL, 1, 1, 0, 0);
    nn_progress_rows(NULL, 1);
    nn_progress_epoch(NULL, 0, 0);
    nn_progress_end(NULL);
    for (size_t epochs = 0; epochs < 3; epochs++) { /* and more rows than there are */
        nn_progress_begin(&p, out, epochs, epochs);
        nn_progress_epoch(&p, 1, (double)NAN);
        nn_progress_epoch(&p, 1, (double)NAN);
        p.bar = true;
        nn_progress_rows(&p, 500);
        nn_progress_epoch(&p, 1, (double)NAN);
        nn_progress_end(&p);
    }
    assert_true(ftell(out) > 0);
    fclose(out);
}

static void test_layers(void **state)
{
    static const char no_layer[] = "layer: NULL, or one that was never made";
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 1);
    ag_tensor x = ag_full(tape, AG_SHAPE(2, 2), 1);
    ag_tensor steps = ag_full(tape, AG_SHAPE(1, 2, 2), 1);
    nn_attention attention = nn_attention_new(params, "attention", 2, 1);
    nn_mlp mlp = nn_mlp_new(params, "mlp", (const int64_t[]){2, 2}, 2, NULL);
    (void)state;
    assert_failed(nn_linear_apply(NULL, x), tape, no_layer);
    assert_failed(nn_conv_apply(NULL, x), tape, no_layer);
    assert_failed(nn_embedding_apply(NULL, x), tape, no_layer);
    assert_failed(nn_norm_apply(NULL, x), tape, no_layer);
    assert_failed(nn_recurrent_apply(NULL, steps, NULL), tape, no_layer);
    assert_failed(nn_attention_apply(NULL, steps, steps, false), tape, no_layer);
    attention.heads = 0;
    assert_failed(nn_attention_apply(&attention, steps, steps, false), tape, no_layer);
    assert_failed(nn_transformer_apply(NULL, steps), tape, no_layer);
    nn_transformer_new(params, "t", INT64_MAX, (nn_transformer_options){.heads = 1});
    assert_failed((ag_tensor){0}, tape, "width is 9223372036854775807; it must be from 1 to 2^30");
    assert_failed(nn_mlp_apply(NULL, x), tape, no_layer);
    assert_failed(nn_mlp_apply(&(nn_mlp){.layers = 1}, x), tape, no_layer);
    mlp.activation = NULL;
    assert_failed(nn_mlp_apply(&mlp, x), tape, no_layer);
    assert_false(ag_valid(nn_linear_apply(NULL, (ag_tensor){0})));
    ag_tape_free(tape);
}

static void test_updates(void **state)
{
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(2, 2));
    const ag_sgd moving = {.rate = 0.1, .momentum = 0.9, .scale = 1.0};
    const ag_adam adam = {.rate = 0.1, .beta1 = 0.9, .beta2 = 0.9, .scale = 1.0, .step = 1};
    ag_tensor m = ag_buffer(tape, "m", ag_shape_of(w));
    (void)state;
    assert_false(ag_update_sgd(w, w, (ag_tensor){0}, NULL));
    assert_failed((ag_tensor){0}, tape, "update_sgd: no options (NULL)");
    assert_false(ag_update_adam(w, w, w, w, NULL));
    assert_failed((ag_tensor){0}, tape, "update_adam: no options (NULL)");
    assert_false(ag_update_sgd(w, w, w, &moving));
    assert_failed((ag_tensor){0}, tape, "update_sgd: the velocity must be a tensor of its own");
    assert_false(ag_update_adam(w, w, m, m, &adam));
    assert_failed((ag_tensor){0}, tape, "the second moment must be a tensor of its own");
    assert_false(ag_update_sgd((ag_tensor){0}, w, w, NULL));
    ag_tape_free(tape);
}

static void test_tapes(void **state)
{
    ag_tensor (*const say)(ag_tape *, const char *, ...) = ag_fail;
    ag_tape *tape = ag_tape_new((ag_dtype)7);
    ag_tensor x;
    (void)state;
    assert_int_equal(ag_tape_dtype(tape), AG_F32);
    assert_failed((ag_tensor){0}, tape, "tape_new: element type 7 is neither AG_F32 nor AG_F64");
    x = ag_full(tape, AG_SHAPE(2), 1);
    ag_print(x, NULL);
    assert_failed((ag_tensor){0}, tape, "print: no file to write to (NULL)");
    assert_false(ag_explain(tape, NULL, AG_EXPLAIN_COST));
    assert_failed((ag_tensor){0}, tape, "explain: no file to write to (NULL)");
    assert_false(ag_dot(tape, NULL, true));
    assert_failed((ag_tensor){0}, tape, "dot: no file to write to (NULL)");
    assert_failed(ag_input_f32(tape, "x", AG_SHAPE(2), NULL), tape, "set: no values (NULL)");
    assert_failed(ag_input_f64(tape, "x", AG_SHAPE(2), NULL), tape, "set: no values (NULL)");
    say(tape, NULL);
    ag_error_at(tape, NULL, 7);
    assert_failed((ag_tensor){0}, tape, "fail: no message (NULL)\n    at     ?:7");
    ag_tape_free(tape);
}

static void test_generators(void **state)
{
    ag_rng zeros = {{0}}, seeded;
    uint32_t items[] = {1, 2, 3};
    (void)state;
    ag_rng_seed(NULL, 1);
    assert_true(ag_rng_next(NULL) == 0 && ag_rng_below(NULL, 3) == 0);
    assert_true(isnan(ag_rng_uniform(NULL)) && isnan(ag_rng_normal(NULL)));
    ag_rng_shuffle(NULL, items, 3);
    ag_rng_shuffle(&zeros, NULL, 3);
    assert_true(items[0] == 1 && items[1] == 2 && items[2] == 3 && !zeros.state[0]);
    ag_rng_seed(&seeded, 0);
    assert_int_equal(ag_rng_below(&zeros, UINT64_MAX), ag_rng_below(&seeded, UINT64_MAX));
    assert_memory_equal(&zeros, &seeded, sizeof zeros);
}

/* Strides, paddings and dilations whose products pass 2^63. */
static void test_convolutions(void **state)
{
    const int64_t most = INT32_MAX;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor x = ag_full(tape, AG_SHAPE(1, 2, 5, 5), 1),
              w = ag_full(tape, AG_SHAPE(2, 2, 2, 2), 1),
              apart = ag_full(tape, AG_SHAPE(2, 1, 1, 1), 1), none = {0};
    (void)state;
    assert_failed(ag_conv2d(x, w, none, (ag_conv){.padding = most}), tape,
                  "conv2d: shape (1, 2, 4294967298, 4294967298) has more elements");
    assert_failed(ag_conv2d(x, w, none, (ag_conv){.padding = most, .dilation = most}), tape,
                  "conv2d: shape (1, 2, 2147483652, 2147483652) has more elements");
    assert_true(ag_item(ag_sum(ag_conv2d(x, apart, none, (ag_conv){most, most, 1, 2}))) == 2);
    assert_true(ag_item(ag_sum(ag_conv2d(x, w, none, (ag_conv){most, most, 1, 1}))) == 16);
    ag_tape_free(tape);
}

static double tensor_made(void *context)
{
    ag_tensor x = ag_full(context, AG_SCALAR, 2);
    for (int i = 0; i < 100; i++) {
        x = ag_neg(x);
        ag_buffer(context, NULL, AG_SCALAR);
    }
    return ag_item(x);
}

static double tape_reset(void *context)
{
    ag_tape_reset(context);
    return 1;
}

static void reset_when_warned(void *context, const char *message)
{
    assert_non_null(strstr(message, "broadcast to"));
    ag_tape_reset(context);
}

static void record_when_warned(void *context, const char *message)
{
    assert_non_null(strstr(message, "broadcast to"));
    tensor_made(context);
}

/* Records move, or go, under the function that called. */
static void test_callbacks(void **state)
{
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3)), x = ag_input(tape, "x", AG_SHAPE(3));
    ag_tensor column, row;
    (void)state;
    assert_true(ag_set_each(w, tensor_made, tape) && ag_set_each(x, tensor_made, tape));
    assert_true(ag_item(ag_sum(ag_mul(w, x))) == 12);
    assert_true(ag_set_each(w, tape_reset, tape) && ag_data_f32(w)[2] == 1);
    x = ag_input(tape, "x", AG_SHAPE(3));
    assert_false(ag_set_each(x, tape_reset, tape));
    assert_failed(x, tape, "set: stale tensor");
    ag_tape_free(tape);

    tape = ag_tape_new(AG_F32);
    ag_set_warning(tape, record_when_warned, tape);
    row = ag_full(tape, AG_SHAPE(3), 1);
    column = ag_full(tape, AG_SHAPE(3, 1), 1);
    assert_true(ag_item(ag_sum(ag_add(column, row))) == 18);
    ag_tape_free(tape);

    tape = ag_tape_new(AG_F32);
    ag_set_warning(tape, reset_when_warned, tape);
    row = ag_full(tape, AG_SHAPE(3), 1);
    column = ag_full(tape, AG_SHAPE(3, 1), 1);
    assert_failed(ag_sum(ag_add(column, row)), tape, "sum: stale tensor");
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),        cmocka_unit_test(test_data),
        cmocka_unit_test(test_arrays),     cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_files),      cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_fit),        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_layers),     cmocka_unit_test(test_tapes),
        cmocka_unit_test(test_generators), cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_callbacks),  cmocka_unit_test(test_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
