/* The columns of a CSV: as numbers, as categories.
 *
 * Numbers do not go through strtod as they stand, since it reads what the locale says. Up to 15
 * digits and 22 powers of ten, one exact multiplication or division gives the nearest double
 * (Clinger, "How to Read Floating Point Numbers Accurately", PLDI 1990); the rest is given to
 * strtod as digits and an exponent, without a decimal point. */
#include "data.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers ---- */

enum { DIGITS = 768 }; /* no midpoint between two doubles has more digits that are not 0 */

/* The digits, read as an integer, times 10^exponent; 0 if there are none. */
struct decimal {
    bool negative;
    int count;
    int64_t exponent;
    char digits[DIGITS + 1];
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* digits[.digits]; returns where it ends, or NULL if there is no digit. Leading zeros are dropped,
 * and so are digits after the last that can matter, with a 1 in their place if one was not 0. */
static const char *scan_digits(const char *text, struct decimal *d)
{
    bool point = false, any = false, more = false;
    for (;; text++) {
        if (*text == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(*text))
            break;
        any = true;
        bool leading = d->count == 0 && *text == '0', kept = d->count < DIGITS;
        if (!leading && kept)
            d->digits[d->count++] = *text;
        more = more || (!kept && *text != '0');
        d->exponent += (!kept) - point;
    }
    if (more) {
        d->digits[d->count++] = '1';
        d->exponent--;
    }
    return any ? text : NULL;
}

/* [e[+-]digits], added to the exponent; NULL if there is an e and no digit. */
static const char *scan_exponent(const char *text, struct decimal *d)
{
    if (*text != 'e' && *text != 'E')
        return text;
    text++;
    bool negative = *text == '-';
    text += *text == '-' || *text == '+';
    if (!is_digit(*text))
        return NULL;
    int64_t exponent = 0, enough = 1000000000000000; /* more than a text has digits */
    for (; is_digit(*text); text++)
        exponent = exponent < enough ? 10 * exponent + (*text - '0') : exponent;
    d->exponent += negative ? -exponent : exponent;
    return text;
}

static double decimal_value(const struct decimal *d)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double value = 0.0;
    if (d->count <= 15 && d->exponent >= -22 && d->exponent <= 22) {
        int64_t integer = 0;
        for (int i = 0; i < d->count; i++)
            integer = 10 * integer + (d->digits[i] - '0');
        value = (double)integer;
        value = d->exponent < 0 ? value / power[-d->exponent] : value * power[d->exponent];
    } else if (d->count > 0) {
        char text[DIGITS + 32];
        snprintf(text, sizeof text, "%.*se%lld", d->count, d->digits, (long long)d->exponent);
        value = strtod(text, NULL);
    }
    return d->negative ? -value : value;
}

/* NULL, or what is wrong with the text as a number. */
static const char *parse_number(const char *text, double *out)
{
    struct decimal d;
    d.count = 0;
    d.exponent = 0;
    text = skip_blanks(text);
    d.negative = *text == '-';
    text += *text == '-' || *text == '+';
    text = scan_digits(text, &d);
    if (text)
        text = scan_exponent(text, &d);
    if (!text || *skip_blanks(text) != '\0')
        return "is not a number";
    *out = decimal_value(&d);
    return isinf(*out) ? "is beyond the range of numbers" : NULL;
}

static bool is_missing(const char *text)
{
    static const char *const words[] = {"", "na", "nan", "null"};
    text = skip_blanks(text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *rest = text, *word = words[i];
        while (*word && (*rest == *word || *rest == *word - 'a' + 'A'))
            rest++, word++;
        if (*word == '\0' && *skip_blanks(rest) == '\0')
            return true;
    }
    return false;
}

bool nn_csv_numbers(const nn_csv *csv, size_t column, double *out, size_t *missing, nn_error *error)
{
    size_t rows = nn_csv_rows(csv), count = 0;
    for (size_t i = 0; i < rows; i++) {
        const char *text = nn_csv_text(csv, i, column), *wrong = parse_number(text, &out[i]);
        if (wrong && is_missing(text)) {
            out[i] = (double)NAN;
            count++;
        } else if (wrong) {
            return nn_fail(error, "%s:%zu: column '%.40s': '%.40s' %s", nn_csv_file(csv),
                           nn_csv_line(csv, i), nn_csv_name(csv, column), text, wrong);
        }
    }
    if (missing)
        *missing = count;
    return true;
}

/* ---- Categories ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Copies the texts into one block: the pointers, then the characters. */
static char **copy_texts(const char **texts, size_t count)
{
    size_t bytes = count * sizeof(char *) + 1; /* no more than the csv holds already */
    for (size_t i = 0; i < count; i++)
        bytes += strlen(texts[i]) + 1;
    char **copy = malloc(bytes);
    char *at = copy ? (char *)(copy + count) : NULL;
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = strcpy(at, texts[i]);
        at += strlen(at) + 1;
    }
    return copy;
}

bool nn_csv_categories(const nn_csv *csv, size_t column, int *codes, nn_categories *categories,
                       nn_error *error)
{
    size_t rows = nn_csv_rows(csv);
    const char **texts = rows <= INT_MAX ? malloc(rows * sizeof *texts) : NULL;
    if (!texts)
        return nn_fail(error, "%s: out of memory", nn_csv_file(csv));
    size_t present = 0, count = 0;
    for (size_t i = 0; i < rows; i++) {
        const char *text = nn_csv_text(csv, i, column);
        if (*text)
            texts[present++] = text;
    }
    qsort(texts, present, sizeof *texts, compare_texts);
    for (size_t i = 0; i < present; i++)
        if (count == 0 || strcmp(texts[count - 1], texts[i]) != 0)
            texts[count++] = texts[i];
    *categories = (nn_categories){count, rows - present, copy_texts(texts, count)};
    for (size_t i = 0; i < rows; i++) {
        const char *text = nn_csv_text(csv, i, column);
        const char **found = bsearch(&text, texts, count, sizeof *texts, compare_texts);
        codes[i] = found ? (int)(found - texts) : -1;
    }
    free(texts);
    return categories->names || nn_fail(error, "%s: out of memory", nn_csv_file(csv));
}

void nn_categories_free(nn_categories *categories)
{
    free(categories->names);
    *categories = (nn_categories){0};
}
