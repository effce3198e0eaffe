/* Splits, medians and standardisation, against NumPy's numbers; mini-batches and their resuming;
 * the real census data, where it is at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/data.h"

static void assert_near(double value, double expected)
{
    assert_true(fabs(value - expected) <= 1e-14 * fabs(expected));
}

/* ---- Tables ---- */

static void test_table(void **state)
{
    (void)state;
    nn_error error;
    nn_table table;
    assert_true(nn_table_new(&table, 3, 2, 1, &error));
    for (int i = 0; i < 6; i++)
        assert_true(table.x[i] == 0);
    table.y[2] = 1;
    nn_table_free(&table);
    assert_null(table.x);
    assert_true(nn_table_new(&table, 3, 2, 0, NULL));
    nn_table_free(&table);

    assert_false(nn_table_new(&table, 0, 2, 1, &error));
    assert_string_equal(error.text, "table: 0 rows of 2 features: neither may be 0");
    assert_false(nn_table_new(&table, 2, 0, 1, &error));
    static const size_t wide[][3] = {{SIZE_MAX / 8, 8, 8},
                                     {2, SIZE_MAX, 1},
                                     {2, 1, SIZE_MAX},
                                     {SIZE_MAX / 24, 2, 1}};
    for (size_t i = 0; i < 4; i++) {
        assert_false(nn_table_new(&table, wide[i][0], wide[i][1], wide[i][2], &error));
        assert_non_null(strstr(error.text, "table: out of memory for "));
    }
}

static nn_split split_of(size_t n, double train, double validation, uint64_t seed)
{
    nn_split split;
    nn_error error;
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    assert_true(nn_split_rows(&split, n, train, validation, &rng, &error));
    assert_int_equal(split.train_count + split.validation_count + split.test_count, n);
    char *seen = calloc(n, 1);
    assert_non_null(seen);
    const uint32_t *parts[] = {split.train, split.validation, split.test};
    size_t counts[] = {split.train_count, split.validation_count, split.test_count};
    for (int p = 0; p < 3; p++)
        for (size_t i = 0; i < counts[p]; i++)
            assert_int_equal(seen[parts[p][i]]++, 0);
    free(seen);
    return split;
}

static void test_split(void **state)
{
    (void)state;
    nn_split split = split_of(20640, 0.64, 0.16, 7);
    assert_int_equal(split.train_count, 13210);
    assert_int_equal(split.validation_count, 3302);
    assert_int_equal(split.test_count, 4128);
    static const uint32_t train[] = {6169, 19227, 7593}, validation[] = {19609, 4055, 14707},
                          test[] = {14809, 3552, 1142};
    assert_memory_equal(split.train, train, sizeof train);
    assert_memory_equal(split.validation, validation, sizeof validation);
    assert_memory_equal(split.test + 4125, test, sizeof test);
    nn_split_free(&split);

    static const struct {
        size_t n;
        double train, validation;
        size_t expected[3];
    } cases[] = {{1, 0.5, 0.5, {1, 0, 0}},  {3, 0.5, 0.5, {2, 1, 0}},       {10, 1, 0, {10, 0, 0}},
                 {10, 0.7, 0.3, {7, 3, 0}}, {100, 0.29, 0.01, {29, 1, 70}}, {7, 0.1, 0, {1, 0, 6}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        split = split_of(cases[i].n, cases[i].train, cases[i].validation, i);
        assert_int_equal(split.train_count, cases[i].expected[0]);
        assert_int_equal(split.validation_count, cases[i].expected[1]);
        assert_int_equal(split.test_count, cases[i].expected[2]);
        nn_split_free(&split);
    }
}

static void test_split_errors(void **state)
{
    (void)state;
    nn_split split;
    nn_error error;
    ag_rng rng;
    ag_rng_seed(&rng, 0);
    static const double fractions[][2] = {{0, 0.5},    {-0.1, 0.5},        {0.5, -0.1},
                                          {0.7, 0.31}, {(double)NAN, 0.1}, {0.5, (double)NAN}};
    for (size_t i = 0; i < 6; i++) {
        assert_false(nn_split_rows(&split, 10, fractions[i][0], fractions[i][1], &rng, &error));
        assert_non_null(strstr(error.text, "must be fractions of at most 1 together"));
    }
    assert_false(nn_split_rows(&split, 4, 0.1, 0.1, &rng, &error));
    assert_string_equal(error.text, "split: 0.1 of 4 rows leaves none to train on");
    assert_false(nn_split_rows(&split, 0, 0.6, 0.2, &rng, &error));
    assert_false(nn_split_rows(&split, SIZE_MAX, 0.6, 0.2, &rng, &error));
    assert_non_null(strstr(error.text, "rows are more than 2^32 - 1"));
}

static void test_median(void **state)
{
    (void)state;
    const double nan = (double)NAN;
    const double values[] = {5, nan, -1, 1.5, nan, 1e308, 1.7e308, 3};
    static const uint32_t odd[] = {0, 2, 7, 1}, even[] = {7, 3, 2, 0}, large[] = {6, 5},
                          none[] = {1, 4};
    double median = 0;
    nn_error error;
    assert_true(nn_median(values, odd, 4, &median, &error));
    assert_true(median == 3);
    assert_true(nn_median(values, even, 4, &median, &error));
    assert_true(median == 2.25);
    assert_true(nn_median(values, large, 2, &median, NULL));
    assert_near(median, 1.35e308);
    assert_false(nn_median(values, none, 2, &median, &error));
    assert_string_equal(error.text, "median: all of 2 values are missing");
    assert_false(nn_median(values, none, 0, &median, &error));
}

static void test_scaler(void **state)
{
    (void)state;
    static const double x[6][3] = {
        {1.5, -200000.25, 0.1}, {2.25, 310000.5, 0.1},      {1e3, 7, 0.1},
        {-3.75, 125.125, 0.1},  {0.0625, -98765.4321, 0.1}, {8, 1e-3, 0.1}};
    static const double expected[6][3] = {{0.6420824577888382, -1.0623593002439722, 0},
                                          {0.9665030680400407, 1.6087283069921487, 0},
                                          {432.5540549055564, -0.014837533202695003, 0},
                                          {-1.6288618139695792, -0.014218863085827985, 0},
                                          {0.020276288140700156, -0.5321501436623487, 0},
                                          {3.4537277466325933, -0.014874189898127402, 0}};
    static const uint32_t rows[] = {4, 0, 3, 1};
    nn_scaler scaler;
    nn_error error;
    assert_true(nn_scaler_fit(&scaler, &x[0][0], 3, rows, 4, &error));
    assert_near(scaler.mean[0], 0.015625);
    assert_near(scaler.mean[1], 2839.985725000006);
    assert_near(scaler.scale[0], 2.3118136650420165);
    assert_near(scaler.scale[1], 190933.74122899614);
    assert_true(scaler.mean[2] == 0.1 && scaler.scale[2] == 1); /* constant */

    double y[6][3];
    memcpy(y, x, sizeof y);
    nn_scaler_apply(&scaler, &y[0][0], 6);
    for (int i = 0; i < 18; i++)
        assert_true(fabs(y[i / 3][i % 3] - expected[i / 3][i % 3]) <=
                    1e-13 * fmax(1, fabs(expected[i / 3][i % 3])));
    nn_scaler_invert(&scaler, &y[0][0], 6);
    for (int i = 0; i < 18; i++)
        assert_true(fabs(y[i / 3][i % 3] - x[i / 3][i % 3]) <= 1e-9);
    nn_scaler_free(&scaler);
    assert_null(scaler.mean);
}

static void test_scaler_errors(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, (double)NAN, 1e200, -(double)INFINITY, -1e200, 0};
    static const uint32_t nan[] = {0, 1}, infinite[] = {0, 2}, far[] = {2, 3};
    nn_scaler scaler;
    nn_error error;
    assert_false(nn_scaler_fit(&scaler, x, 2, nan, 2, &error));
    assert_string_equal(error.text, "scaler: row 1, column 1: nan is not a finite number");
    assert_false(nn_scaler_fit(&scaler, x, 2, infinite + 1, 1, &error));
    assert_string_equal(error.text, "scaler: row 2, column 1: -inf is not a finite number");
    assert_false(nn_scaler_fit(&scaler, x, 2, far + 1, 0, &error));
    assert_string_equal(error.text, "scaler: 0 rows of 2 columns: neither may be 0");
    assert_false(nn_scaler_fit(&scaler, x + 4, 2, nan, 2, &error));
    assert_false(nn_scaler_fit(&scaler, (const double[]){1e200, -1e200}, 1, nan, 2, &error));
    assert_string_equal(error.text, "scaler: row 1, column 0: -1e+200 is too far from the mean");
}

/* ---- Mini-batches ---- */

static const uint32_t ten_rows[] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};

static nn_batches ten_in_batches(size_t size, bool drop_last, uint64_t seed)
{
    nn_batches batches;
    nn_error error;
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    assert_true(nn_batches_new(&batches, ten_rows, 10, size, drop_last, &rng, &error));
    return batches;
}

static void test_batches(void **state)
{
    (void)state;
    static const uint32_t expected[2][10] = {{10, 15, 12, 16, 13, 17, 18, 11, 14, 19},
                                             {18, 19, 12, 15, 14, 10, 11, 17, 13, 16}};
    nn_batches all = ten_in_batches(4, false, 3), whole = ten_in_batches(4, true, 3);
    for (size_t epoch = 0; epoch < 2; epoch++) {
        const uint32_t *rows;
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(all.position.epoch, epoch);
            assert_int_equal(nn_batches_next(&all, &rows), i < 2 ? 4 : 2);
            assert_memory_equal(rows, expected[epoch] + 4 * i, i < 2 ? 16 : 8);
            assert_int_equal(nn_batches_next(&whole, &rows), i < 2 ? 4 : 0);
            if (i < 2)
                assert_memory_equal(rows, expected[epoch] + 4 * i, 16);
        }
        assert_int_equal(nn_batches_next(&all, &rows), 0);
    }
    nn_batches_free(&all);
    nn_batches_free(&whole);
}

/* From any place, saved and given to other batches, the walk goes on as it would have. */
static void test_batches_resume(void **state)
{
    (void)state;
    for (int saved_at = 0; saved_at < 24; saved_at++) {
        bool drop_last = saved_at % 2 == 1;
        nn_batches first = ten_in_batches(3, drop_last, 1),
                   second = ten_in_batches(3, drop_last, 2);
        const uint32_t *a, *b;
        for (int i = 0; i < saved_at; i++)
            nn_batches_next(&first, &a);
        nn_position position = first.position;
        assert_true(nn_batches_seek(&second, &position, NULL));
        for (int i = 0; i < 24; i++) {
            size_t n = nn_batches_next(&first, &a);
            assert_int_equal(nn_batches_next(&second, &b), n);
            assert_true(n == 0 || memcmp(a, b, n * sizeof *a) == 0);
            assert_memory_equal(&first.position, &second.position, sizeof first.position);
        }
        nn_batches_free(&first);
        nn_batches_free(&second);
    }
}

static void test_batches_errors(void **state)
{
    (void)state;
    nn_batches batches;
    nn_error error;
    ag_rng rng;
    ag_rng_seed(&rng, 0);
    assert_false(nn_batches_new(&batches, ten_rows, 10, 11, false, &rng, &error));
    assert_string_equal(error.text, "batches: 10 rows cannot be given in batches of 11");
    assert_false(nn_batches_new(&batches, ten_rows, 10, 0, false, &rng, &error));
    assert_false(nn_batches_new(&batches, ten_rows, 0, 1, false, &rng, &error));

    batches = ten_in_batches(10, false, 0);
    nn_position position = batches.position;
    position.offset = 11;
    assert_false(nn_batches_seek(&batches, &position, &error));
    assert_string_equal(error.text, "batches: position 11 lies beyond the last of 10 rows");
    nn_batches_free(&batches);
}

static void test_gather(void **state)
{
    (void)state;
    static const double x[] = {0.1, 1, 2, 3, 4, 5};
    static const uint32_t rows[] = {2, 0, 2};
    float f[6];
    double d[6];
    nn_gather_f32(f, x, 2, rows, 3);
    nn_gather_f64(d, x, 2, rows, 3);
    static const double expected[] = {4, 5, 0.1, 1, 4, 5};
    assert_memory_equal(d, expected, sizeof expected);
    for (int i = 0; i < 6; i++)
        assert_true(f[i] == (float)expected[i]);
}

/* ---- The census of California ---- */

static void test_california_housing(void **state)
{
    (void)state;
    const char *path = getenv("TAPEGRAD_DATA"), *source = getenv("TAPEGRAD_SOURCE_DIR");
    char beside[4096];
    nn_error error;
    snprintf(beside, sizeof beside, "%s/../shared/data/california_housing.csv",
             source ? source : ".");
    nn_csv *csv = nn_csv_read(path ? path : beside, &error);
    if (!csv && !path)
        skip();
    if (!csv)
        fail_msg("%s", error.text);
    enum { ROWS = 20640 };
    static double values[ROWS];
    static uint32_t rows[ROWS];
    static int codes[ROWS];
    size_t column, missing, bedrooms;
    assert_int_equal(nn_csv_rows(csv), ROWS);
    assert_int_equal(nn_csv_columns(csv), 10);
    assert_int_equal(nn_csv_line(csv, ROWS - 1), ROWS + 1);
    assert_true(nn_csv_find(csv, "total_bedrooms", &bedrooms, &error));
    for (column = 0; column < 9; column++) {
        assert_true(nn_csv_numbers(csv, column, values, &missing, &error));
        assert_int_equal(missing, column == bedrooms ? 207 : 0);
    }
    double median;
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] = i;
    assert_true(nn_csv_numbers(csv, bedrooms, values, NULL, &error));
    assert_true(nn_median(values, rows, ROWS, &median, &error));
    assert_true(median == 435);

    nn_scaler scaler;
    assert_true(nn_csv_find(csv, "median_house_value", &column, &error));
    assert_true(nn_csv_numbers(csv, column, values, NULL, &error));
    assert_true(nn_scaler_fit(&scaler, values, 1, rows, ROWS, &error));
    assert_true(fabs(scaler.mean[0] - 206855.81690891474) < 1e-6);
    assert_true(fabs(scaler.scale[0] - 115392.82040412253) < 1e-6);
    nn_scaler_free(&scaler);

    nn_categories proximity;
    assert_true(nn_csv_find(csv, "ocean_proximity", &column, &error));
    assert_true(nn_csv_categories(csv, column, codes, &proximity, &error));
    assert_int_equal(proximity.count, 5);
    assert_string_equal(proximity.names[2], "ISLAND");
    int islands = 0;
    for (int i = 0; i < ROWS; i++)
        islands += codes[i] == 2;
    assert_int_equal(islands, 5);
    nn_categories_free(&proximity);
    nn_csv_free(csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_errors),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_scaler),
        cmocka_unit_test(test_scaler_errors),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_batches_resume),
        cmocka_unit_test(test_batches_errors),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_california_housing),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
