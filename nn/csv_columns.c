/* The columns of a CSV: as numbers, as categories. */
#define _POSIX_C_SOURCE 200809L /* newlocale */
#include "bytes.h"

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers ---- */

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* Behind [+-]digits[.digits][e[+-]digits], or NULL. */
static const char *skip_number(const char *text)
{
    static const char digits[] = "0123456789";
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, digits), point = text[whole] == '.';
    size_t fraction = point ? strspn(text + whole + 1, digits) : 0;
    text += whole + point + fraction;
    if (whole + fraction == 0)
        return NULL;
    if (*text != 'e' && *text != 'E')
        return text;
    text += text[1] == '-' || text[1] == '+' ? 2 : 1;
    size_t exponent = strspn(text, digits);
    return exponent ? text + exponent : NULL;
}

/* NULL, or what is wrong with the text as a number; in the C locale. */
static const char *parse_number(const char *text, double *out)
{
    const char *end = skip_number(skip_blanks(text));
    if (!end || *skip_blanks(end) != '\0')
        return "is not a number";
    *out = strtod(text, NULL);
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

/* That there is the column; given: that no pointer was NULL. */
static bool check_column(const nn_csv *csv, size_t column, const char *who, bool given,
                         nn_error *error)
{
    return nn_given(error, who, given) &&
           (column < nn_csv_columns(csv) ||
            nn_fail(error, "%s: there is no column %zu; there are %zu", nn_csv_file(csv), column,
                    nn_csv_columns(csv)));
}

static bool read_numbers(const nn_csv *csv, size_t column, double *out, size_t *missing,
                         nn_error *error)
{
    *missing = 0;
    for (size_t i = 0; i < nn_csv_rows(csv); i++) {
        const char *text = nn_csv_text(csv, i, column), *wrong = parse_number(text, &out[i]);
        if (wrong && !is_missing(text))
            return nn_fail(error, "%s:%zu: column '%.40s': '%.40s' %s", nn_csv_file(csv),
                           nn_csv_line(csv, i), nn_csv_name(csv, column), text, wrong);
        if (wrong) {
            out[i] = (double)NAN;
            ++*missing;
        }
    }
    return true;
}

/* What strtod reads is up to the locale: this thread's is another for as long. */
bool nn_csv_numbers(const nn_csv *csv, size_t column, double *out, size_t *missing, nn_error *error)
{
    size_t count;
    if (!check_column(csv, column, "csv_numbers", csv && out, error))
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return nn_fail(error, "%s: out of memory", nn_csv_file(csv));
    locale_t before = uselocale(c);
    bool good = read_numbers(csv, column, out, missing ? missing : &count, error);
    uselocale(before);
    freelocale(c);
    return good;
}

/* ---- Categories ---- */

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
    if (!check_column(csv, column, "csv_categories", csv && codes && categories, error))
        return false;
    const char **texts = rows <= INT_MAX ? malloc(rows * sizeof *texts) : NULL;
    if (!texts)
        return nn_fail(error, "%s: out of memory", nn_csv_file(csv));
    size_t present = 0, count = 0;
    for (size_t i = 0; i < rows; i++) {
        const char *text = nn_csv_text(csv, i, column);
        if (*text)
            texts[present++] = text;
    }
    qsort(texts, present, sizeof *texts, nn_compare_names);
    for (size_t i = 0; i < present; i++)
        if (count == 0 || strcmp(texts[count - 1], texts[i]) != 0)
            texts[count++] = texts[i];
    *categories = (nn_categories){count, rows - present, copy_texts(texts, count)};
    for (size_t i = 0; i < rows; i++) {
        const char *text = nn_csv_text(csv, i, column);
        const char **found = bsearch(&text, texts, count, sizeof *texts, nn_compare_names);
        codes[i] = found ? (int)(found - texts) : -1;
    }
    free(texts);
    return categories->names || nn_fail(error, "%s: out of memory", nn_csv_file(csv));
}

void nn_categories_free(nn_categories *categories)
{
    if (!categories)
        return;
    free(categories->names);
    *categories = (nn_categories){0};
}
