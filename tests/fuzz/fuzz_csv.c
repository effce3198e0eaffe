/* libFuzzer target for the CSV reader: any bytes must give a table whose fields all lie in it, or a
 * message.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/fuzz_csv.c nn/{csv,csv_columns,bytes,atomic_file}.c -lm && ./a.out */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_text(const nn_csv *csv, size_t size)
{
    size_t total = 0, line = 1;
    for (size_t i = 0; i < nn_csv_rows(csv); i++) {
        require(nn_csv_line(csv, i) > line); /* the header's, or the row's before */
        line = nn_csv_line(csv, i);
        for (size_t j = 0; j < nn_csv_columns(csv); j++)
            total += strlen(nn_csv_text(csv, i, j));
    }
    require(total < size);
}

static void check_numbers(const nn_csv *csv, size_t column, double *numbers)
{
    nn_error error = {""};
    size_t missing, nans = 0;
    if (!nn_csv_numbers(csv, column, numbers, &missing, &error)) {
        require(error.text[0] != '\0');
        return;
    }
    for (size_t i = 0; i < nn_csv_rows(csv); i++) {
        require(!isinf(numbers[i]));
        nans += isnan(numbers[i]) != 0;
    }
    require(nans == missing);
}

static void check_categories(const nn_csv *csv, size_t column, int *codes)
{
    nn_categories categories;
    if (!nn_csv_categories(csv, column, codes, &categories, NULL))
        return;
    size_t missing = 0;
    for (size_t i = 0; i < nn_csv_rows(csv); i++) {
        const char *text = nn_csv_text(csv, i, column);
        missing += codes[i] < 0;
        require(codes[i] < 0 ? *text == '\0' : strcmp(categories.names[codes[i]], text) == 0);
    }
    for (size_t i = 1; i < categories.count; i++)
        require(strcmp(categories.names[i - 1], categories.names[i]) < 0);
    require(missing == categories.missing);
    nn_categories_free(&categories);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nn_error error = {""};
    nn_csv *csv = nn_csv_parse("fuzz.csv", (const char *)data, size, &error);
    if (!csv) {
        require(strncmp(error.text, "fuzz.csv:", 9) == 0);
        return 0;
    }
    check_text(csv, size);
    double *numbers = malloc(nn_csv_rows(csv) * sizeof *numbers);
    int *codes = malloc(nn_csv_rows(csv) * sizeof *codes);
    for (size_t j = 0; numbers && codes && j < nn_csv_columns(csv) && j < 8; j++) {
        size_t found;
        require(nn_csv_find(csv, nn_csv_name(csv, j), &found, NULL) && found == j);
        check_numbers(csv, j, numbers);
        check_categories(csv, j, codes);
    }
    size_t none;
    nn_csv_find(csv, "no such column", &none, &error);
    free(codes);
    free(numbers);
    nn_csv_free(csv);
    return 0;
}
