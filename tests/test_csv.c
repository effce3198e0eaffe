/* The CSV reader, rule by rule and error by error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/data.h"

#define BOM "\xef\xbb\xbf"

static nn_csv *parse(const char *text)
{
    nn_error error = {""};
    nn_csv *csv = nn_csv_parse("t.csv", text, strlen(text), &error);
    assert_string_equal(error.text, "");
    assert_non_null(csv);
    return csv;
}

/* ---- Rows ---- */

static void test_csv_newlines_and_bom(void **state)
{
    (void)state;
    static const char *const texts[] = {"a,b\n1,x\n2,\n",
                                        "a,b\n1,x\n2,",
                                        "a,b\r\n1,x\r\n2,\r\n",
                                        "a,b\r\n1,x\n2,",
                                        BOM "a,b\n1,x\n2,\n",
                                        "\"a\",b\n\"1\",x\n2,\"\"",
                                        BOM "\"a\",\"b\"\r\n1,\"x\"\r\n2,\"\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        nn_csv *csv = parse(texts[i]);
        assert_int_equal(nn_csv_rows(csv), 2);
        assert_int_equal(nn_csv_columns(csv), 2);
        assert_string_equal(nn_csv_file(csv), "t.csv");
        assert_string_equal(nn_csv_name(csv, 0), "a");
        assert_string_equal(nn_csv_name(csv, 1), "b");
        assert_string_equal(nn_csv_text(csv, 0, 0), "1");
        assert_string_equal(nn_csv_text(csv, 0, 1), "x");
        assert_string_equal(nn_csv_text(csv, 1, 0), "2");
        assert_string_equal(nn_csv_text(csv, 1, 1), "");
        assert_int_equal(nn_csv_line(csv, 1), 3);
        nn_csv_free(csv);
    }
    nn_csv_free(NULL);
}

static void test_csv_quotes(void **state)
{
    (void)state;
    nn_csv *csv = parse("\"the \"\"a\"\"\",\"b\nc\",d\r\n"
                        "\"x,y\",\"\"\"\", z \n"
                        "\"\r\n\n\",\xff\xc3\xa4,''\n"
                        "1,2,\"\"");
    assert_int_equal(nn_csv_rows(csv), 3);
    assert_string_equal(nn_csv_name(csv, 0), "the \"a\"");
    assert_string_equal(nn_csv_name(csv, 1), "b\nc");
    assert_string_equal(nn_csv_text(csv, 0, 0), "x,y");
    assert_string_equal(nn_csv_text(csv, 0, 1), "\"");
    assert_string_equal(nn_csv_text(csv, 0, 2), " z ");
    assert_string_equal(nn_csv_text(csv, 1, 0), "\r\n\n");
    assert_string_equal(nn_csv_text(csv, 1, 1), "\xff\xc3\xa4"); /* bytes pass unchecked */
    assert_string_equal(nn_csv_text(csv, 1, 2), "''");
    assert_string_equal(nn_csv_text(csv, 2, 2), "");
    assert_int_equal(nn_csv_line(csv, 0), 3); /* the header took two lines */
    assert_int_equal(nn_csv_line(csv, 1), 4);
    assert_int_equal(nn_csv_line(csv, 2), 7);
    nn_csv_free(csv);
}

static void test_csv_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t.csv: the file is empty"},
        {BOM, "t.csv: the file is empty"},
        {"a,b", "t.csv: a header and no rows"},
        {"a,b\n", "t.csv: a header and no rows"},
        {"a,b\n1,2\n3\n4,5\n", "t.csv:3: 1 field where the header has 2"},
        {"a,b\n1,2,3\n", "t.csv:2: 3 fields where the header has 2"},
        {"a,b\n1,2\n\n", "t.csv:3: 1 field where the header has 2"},
        {"a,b\n\"1\n\n\",2\n3,4,\n", "t.csv:5: 3 fields where the header has 2"},
        {"a,b,c\n1,2,3\n4,5",
         "t.csv:3: 2 fields where the header has 3; the file ends inside this row"},
        {"a,b\n\"1\n\",\"2\n3,4\n",
         "t.csv:2: column 2: the quote is not closed before the file ends"},
        {"a,\"b", "t.csv:1: column 2: the quote is not closed before the file ends"},
        {"a,b\n1,\"2\"\"", "t.csv:2: column 2: the quote is not closed before the file ends"},
        {"a,b\n1,2\"3\"\n", "t.csv:2: column 2: a quote inside an unquoted field"},
        {"a,b\n1, \"3\"\n", "t.csv:2: column 2: a quote inside an unquoted field"},
        {"a,b\n\"1\"x,2\n", "t.csv:2: column 1: text after the closing quote"},
        {"a,b\n\"1\" ,2\n", "t.csv:2: column 1: text after the closing quote"},
        {"a,b\r1,2\r", "t.csv:1: column 2: a carriage return without a line feed"},
        {"a,b\n1,2\r", "t.csv:2: column 2: a carriage return without a line feed"},
        {"a,b,a\n1,2,3\n", "t.csv:1: two columns have the name 'a'"},
        {",b,\n1,2,3\n", "t.csv:1: two columns have the name ''"},
        {"\"b\n\",\"b\n\"\n1,2\n", "t.csv:1: two columns have the name 'b?'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error error = {""};
        const char *text = cases[i].text;
        assert_null(nn_csv_parse("t.csv", text, strlen(text), &error));
        assert_string_equal(error.text, cases[i].message);
        assert_null(nn_csv_parse("t.csv", text, strlen(text), NULL));
    }
    nn_error error;
    assert_null(nn_csv_parse("t.csv", "a\n1\n\0\n", 6, &error));
    assert_string_equal(error.text, "t.csv:3: a NUL byte: this is not plain text");
    assert_null(nn_csv_parse("t.csv", NULL, 0, &error));
    assert_string_equal(error.text, "t.csv: the file is empty");
}

/* Whatever the place of the cut, it is found, but for one inside the last field (or just behind
 * it). */
static void test_csv_cut_file(void **state)
{
    (void)state;
    const char *text = "name,\"size\",price\n\"a, b\",1,\"2\"\n\"c\",3,44\n";
    size_t length = strlen(text);
    for (size_t cut = 0; cut < length; cut++) {
        nn_csv *csv = nn_csv_parse("t.csv", text, cut, NULL);
        bool whole = cut == 27 || cut == 30 || cut == 31 || cut >= length - 3;
        assert_true((csv != NULL) == whole);
        nn_csv_free(csv);
    }
}

static void assert_read_fails(const char *path, const char *message)
{
    nn_error error = {""};
    assert_null(nn_csv_read(path, &error));
    assert_string_equal(error.text, message);
}

static void test_csv_files(void **state)
{
    (void)state;
    const char *path = "test_data.tmp.csv";
    assert_read_fails("no/such.csv", "no/such.csv: No such file or directory");
    assert_read_fails(".", ".: Is a directory");

    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fclose(file);
    assert_read_fails(path, "test_data.tmp.csv: the file is empty");

    enum { ROWS = 200000 }; /* more than one buffer */
    file = fopen(path, "wb");
    assert_non_null(file);
    fputs("i,square\n", file);
    for (int i = 0; i < ROWS; i++)
        fprintf(file, "%d,%lld\n", i, (long long)i * i);
    fclose(file);
    nn_csv *csv = nn_csv_read(path, NULL);
    remove(path);
    assert_non_null(csv);
    assert_int_equal(nn_csv_rows(csv), ROWS);
    double *squares = malloc(ROWS * sizeof *squares);
    assert_non_null(squares);
    assert_true(nn_csv_numbers(csv, 1, squares, NULL, NULL));
    for (int i = 0; i < ROWS; i++)
        assert_true(squares[i] == (double)i * i);
    free(squares);
    nn_csv_free(csv);
}

static void test_csv_find(void **state)
{
    (void)state;
    nn_error error;
    size_t column = 9;
    nn_csv *csv = parse("rooms,\"a,b\",\n1,2,3\n");
    assert_true(nn_csv_find(csv, "a,b", &column, &error));
    assert_int_equal(column, 1);
    assert_true(nn_csv_find(csv, "", &column, NULL));
    assert_int_equal(column, 2);
    assert_false(nn_csv_find(csv, "Rooms", &column, &error));
    assert_string_equal(error.text, "t.csv:1: there is no column 'Rooms'; there are: rooms, a,b, ");
    nn_csv_free(csv);

    char text[3000] = "";
    for (int i = 0; i < 200; i++)
        sprintf(text + strlen(text), "%scolumn%d", i ? "," : "", i);
    strcat(text, "\n");
    for (int i = 0; i < 200; i++)
        strcat(text, i ? "," : "");
    csv = parse(text);
    assert_false(nn_csv_find(csv, "x", &column, &error));
    assert_non_null(strstr(error.text, "there are: column0, column1, "));
    assert_string_equal(error.text + strlen(error.text) - 4, " ...");
    nn_csv_free(csv);
}

/* ---- Numbers ---- */

/* The value of one field; its error, if it is none, in *error. */
static bool number(const char *field, double *value, size_t *missing, nn_error *error)
{
    size_t length = strlen(field);
    char *text = malloc(length + 8);
    assert_non_null(text);
    sprintf(text, "v\n%s\n", field);
    nn_csv *csv = parse(text);
    bool good = nn_csv_numbers(csv, 0, value, missing, error);
    nn_csv_free(csv);
    free(text);
    return good;
}

static double good_number(const char *field)
{
    double value;
    size_t missing = 1;
    nn_error error;
    assert_true(number(field, &value, &missing, &error));
    assert_int_equal(missing, 0);
    return value;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        double value;
    } cases[] = {
        {"0", 0},
        {"+7", 7},
        {"-122.23", -122.23},
        {"5.", 5},
        {".5", 0.5},
        {"007", 7},
        {" 1.5\t", 1.5},
        {"\"1e3\"", 1000},
        {"1E+3", 1000},
        {"25e-1", 2.5},
        {"123456789012345e22", 123456789012345e22},
        {"1e23", 1e23},
        {"9007199254740993", 9007199254740992},
        {"9007199254740995", 9007199254740996},
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"4.9e-324", 4.9e-324},
        {"2.2250738585072011e-308", 2.2250738585072011e-308},
        {"1e-999999999999999999999", 0},
        {"0e999999999999999999999", 0},
        {"0.000000000000000000000000001e27", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(good_number(cases[i].field) == cases[i].value);
    assert_true(signbit(good_number("-0")));
    assert_true(signbit(good_number("-1e-400")));
}

/* Ties are decided by the last digit, however far out. */
static void test_numbers_with_many_digits(void **state)
{
    (void)state;
    char field[2100];
    memset(field, '0', sizeof field);
    memcpy(field, "9007199254740993.", 17);
    strcpy(field + 2000, "0");
    assert_true(good_number(field) == 9007199254740992);
    strcpy(field + 2000, "1");
    assert_true(good_number(field) == 9007199254740994);

    memset(field, '0', sizeof field);
    field[0] = '1';
    strcpy(field + 1001, "e-1000");
    assert_true(good_number(field) == 1);
    memset(field, '0', sizeof field);
    field[1] = '.';
    strcpy(field + 1001, "1e1000");
    assert_true(good_number(field) == 1);
}

static void test_numbers_round_trip(void **state)
{
    (void)state;
    static const char *const formats[] = {"%.17g", "%.3f", "%.14e", "%.40g"};
    ag_rng rng;
    ag_rng_seed(&rng, 3);
    for (size_t i = 0; i < 4000; i++) {
        uint64_t bits = ag_rng_next(&rng);
        double x;
        memcpy(&x, &bits, sizeof x);
        if (i % 4 == 1)
            x = 1e5 * ag_rng_normal(&rng);
        if (!isfinite(x))
            continue;
        char field[400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(field, sizeof field, formats[i % 4], x);
#pragma GCC diagnostic pop
        assert_true(good_number(field) == strtod(field, NULL));
    }
}

static void test_missing_numbers(void **state)
{
    (void)state;
    static const char *const fields[] = {"",    "NA",   "na",     "NaN",  "nan",
                                         "NAN", "null", " NULL ", "\"\"", "\" \t\""};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        double value = 0;
        size_t missing = 0;
        assert_true(number(fields[i], &value, &missing, NULL));
        assert_int_equal(missing, 1);
        assert_true(isnan(value));
    }
}

static void test_wrong_numbers(void **state)
{
    (void)state;
    static const char *const fields[] = {"x",    "12x", "0x10",  "inf", "-Infinity",
                                         "1e",   "1e+", "1.2.3", ".",   "-",
                                         "+-1",  "1 2", "1_0",   "--1", "N/A",
                                         "nano", "n",   "-nan",  "$5",  "1e5.5"};
    nn_error error;
    double value;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char message[200];
        sprintf(message, "t.csv:2: column 'v': '%s' is not a number", fields[i]);
        assert_false(number(fields[i], &value, NULL, &error));
        assert_string_equal(error.text, message);
    }
    assert_false(number("-1e309", &value, NULL, &error));
    assert_string_equal(error.text, "t.csv:2: column 'v': '-1e309' is beyond the range of numbers");
    assert_false(number("\"1\n2\"", &value, NULL, &error));
    assert_string_equal(error.text, "t.csv:2: column 'v': '1?2' is not a number");

    double values[3];
    nn_csv *csv = parse("a,b\n\"x\n\",1\ny,2;5\nz,3\n");
    assert_false(nn_csv_numbers(csv, 1, values, NULL, &error));
    assert_string_equal(error.text, "t.csv:4: column 'b': '2;5' is not a number");
    nn_csv_free(csv);
}

static void test_numbers_in_any_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        skip(); /* none with a decimal comma is installed */
    double fast = good_number("1.5"), slow = good_number("1.7976931348623157e308"), value;
    bool comma = number("\"1,5\"", &value, NULL, NULL);
    setlocale(LC_NUMERIC, "C");
    assert_true(fast == 1.5 && slow == 1.7976931348623157e308);
    assert_false(comma);
}

static void test_categories(void **state)
{
    (void)state;
    nn_csv *csv = parse("i,where\n1,INLAND\n2,<1H OCEAN\n3,\n4,INLAND\n5,NA\n6,\"a\nb\"\n");
    nn_error error;
    nn_categories where, numbers;
    int codes[6], more[6];
    assert_true(nn_csv_categories(csv, 1, codes, &where, &error));
    assert_true(nn_csv_categories(csv, 0, more, &numbers, NULL));
    nn_csv_free(csv);

    static const int expected[] = {1, 0, -1, 1, 2, 3};
    assert_memory_equal(codes, expected, sizeof expected);
    assert_int_equal(where.count, 4);
    assert_int_equal(where.missing, 1);
    assert_string_equal(where.names[0], "<1H OCEAN");
    assert_string_equal(where.names[2], "NA");
    assert_string_equal(where.names[3], "a\nb");
    assert_int_equal(numbers.count, 6);
    assert_int_equal(more[5], 5);
    nn_categories_free(&where);
    nn_categories_free(&numbers);

    csv = parse("i\n\n\n");
    assert_true(nn_csv_categories(csv, 0, codes, &where, &error));
    assert_int_equal(where.count, 0);
    assert_int_equal(where.missing, 2);
    nn_categories_free(&where);
    nn_csv_free(csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_newlines_and_bom),
        cmocka_unit_test(test_csv_quotes),
        cmocka_unit_test(test_csv_errors),
        cmocka_unit_test(test_csv_cut_file),
        cmocka_unit_test(test_csv_files),
        cmocka_unit_test(test_csv_find),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_numbers_with_many_digits),
        cmocka_unit_test(test_numbers_round_trip),
        cmocka_unit_test(test_missing_numbers),
        cmocka_unit_test(test_wrong_numbers),
        cmocka_unit_test(test_numbers_in_any_locale),
        cmocka_unit_test(test_categories),
    };
    return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}
