/* The CSV reader: RFC 4180, read whole, split in place.
 *
 * The text is one block. Fields are cut out of it by writing NUL over the separator behind each,
 * and quoted fields are moved over their opening quote as their doubled quotes shrink: a field
 * never grows, so there is always room. A second block, `cells`, holds for each row, the header
 * being row 0, the offsets of its fields in the text and then the line it begins on: columns + 1
 * numbers.
 */
#include "data.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nn_csv {
    char *text;    /* (length + 1) */
    size_t *cells; /* (rows + 1, columns + 1) */
    size_t rows, columns;
    char name[]; /* of the file, for messages */
};

struct reader {
    nn_csv *csv;
    size_t at;               /* in the text: the next byte */
    size_t line;             /* it is on */
    size_t row_line;         /* the row began on */
    size_t filled, capacity; /* of cells */
    nn_error *error;
};

bool nn_fail(nn_error *error, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        for (char *c = error->text; *c; c++)
            if ((unsigned char)*c < ' ')
                *c = '?';
    }
    return false;
}

/* ---- Reading rows ---- */

static bool fail_in_column(const struct reader *r, size_t column, const char *what)
{
    return nn_fail(r->error, "%s:%zu: column %zu: %s", r->csv->name, r->row_line, column, what);
}

static bool push(struct reader *r, size_t cell)
{
    if (r->filled == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 1024;
        size_t *cells = capacity > SIZE_MAX / sizeof *cells
                            ? NULL
                            : realloc(r->csv->cells, capacity * sizeof *cells);
        if (!cells)
            return nn_fail(r->error, "%s: out of memory", r->csv->name);
        r->csv->cells = cells;
        r->capacity = capacity;
    }
    r->csv->cells[r->filled++] = cell;
    return true;
}

/* From the opening quote to behind the closing one; unquotes. The text ends in NUL and holds no
 * other. */
static bool scan_quoted(struct reader *r, size_t column)
{
    char *out = r->csv->text + r->at;
    const char *in = out + 1;
    for (;; in++) {
        if (*in == '\0')
            return fail_in_column(r, column, "the quote is not closed before the file ends");
        if (*in == '"' && *++in != '"')
            break;
        r->line += *in == '\n';
        *out++ = *in;
    }
    *out = '\0';
    r->at = (size_t)(in - r->csv->text);
    return true;
}

static void scan_plain(struct reader *r)
{
    static const bool stops[256] = {
        ['\0'] = true, [','] = true, ['\n'] = true, ['\r'] = true, ['"'] = true};
    const unsigned char *text = (const unsigned char *)r->csv->text;
    size_t at = r->at;
    while (!stops[text[at]])
        at++;
    r->at = at;
}

/* One field with the separator behind it, which is ',', '\n' or, at the end of the text, '\0'. */
static bool scan_field(struct reader *r, size_t column, char *separator)
{
    char *text = r->csv->text;
    bool quoted = text[r->at] == '"';
    if (!push(r, r->at))
        return false;
    if (!quoted)
        scan_plain(r);
    else if (!scan_quoted(r, column))
        return false;

    size_t end = r->at;
    if (text[end] == '\r' && text[end + 1] == '\n')
        r->at++;
    *separator = text[r->at];
    switch (*separator) {
    case '\n':
        r->line++;
        break;
    case ',':
    case '\0':
        break;
    case '\r':
        return fail_in_column(r, column, "a carriage return without a line feed");
    default:
        return fail_in_column(r, column,
                              quoted ? "text after the closing quote"
                                     : "a quote inside an unquoted field");
    }
    r->at += *separator != '\0';
    if (!quoted)
        text[end] = '\0';
    return true;
}

/* The header, when columns is still 0, or a row, which must have as many fields. */
static bool scan_row(struct reader *r)
{
    nn_csv *csv = r->csv;
    size_t fields = 0;
    char separator = ',';
    r->row_line = r->line;
    while (separator == ',')
        if (!scan_field(r, ++fields, &separator))
            return false;
    if (csv->columns == 0)
        csv->columns = fields;
    if (fields != csv->columns)
        return nn_fail(r->error, "%s:%zu: %zu field%s where the header has %zu%s", csv->name,
                       r->row_line, fields, fields == 1 ? "" : "s", csv->columns,
                       separator == '\0' ? "; the file ends inside this row" : "");
    return push(r, r->row_line);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool check_names(const nn_csv *csv, nn_error *error)
{
    const char **names = malloc(csv->columns * sizeof *names);
    if (!names)
        return nn_fail(error, "%s: out of memory", csv->name);
    for (size_t i = 0; i < csv->columns; i++)
        names[i] = nn_csv_name(csv, i);
    qsort(names, csv->columns, sizeof *names, compare_texts);
    bool unique = true;
    for (size_t i = 1; i < csv->columns && unique; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            unique = nn_fail(error, "%s:1: two columns have the name '%.40s'", csv->name, names[i]);
    free(names);
    return unique;
}

static bool scan(nn_csv *csv, size_t length, nn_error *error)
{
    struct reader r = {.csv = csv, .line = 1, .error = error};
    const char *text = csv->text, *nul = memchr(text, '\0', length);
    if (nul) {
        size_t line = 1;
        for (const char *c = text; c < nul; c++)
            line += *c == '\n';
        return nn_fail(error, "%s:%zu: a NUL byte: this is not plain text", csv->name, line);
    }
    if (memcmp(text, "\xef\xbb\xbf", length < 3 ? length : 3) == 0)
        r.at = length < 3 ? 0 : 3;
    if (r.at == length)
        return nn_fail(error, "%s: the file is empty", csv->name);
    if (!scan_row(&r) || !check_names(csv, error))
        return false;
    for (; r.at < length; csv->rows++)
        if (!scan_row(&r))
            return false;
    return csv->rows > 0 || nn_fail(error, "%s: a header and no rows", csv->name);
}

/* ---- Making one ---- */

/* Without text. A long path is known by its end, so that messages have room for the rest. */
static nn_csv *new_csv(const char *name, nn_error *error)
{
    size_t length = strlen(name), longest = 255;
    const char *shown = length > longest ? name + length - longest : name;
    nn_csv *csv = calloc(1, sizeof *csv + strlen(shown) + 1);
    if (csv)
        strcpy(csv->name, shown);
    else
        nn_fail(error, "%s: out of memory", shown);
    return csv;
}

/* csv, or NULL and csv freed. The text must end in NUL behind its length. */
static nn_csv *finish(nn_csv *csv, bool read, size_t length, nn_error *error)
{
    if (read && scan(csv, length, error))
        return csv;
    nn_csv_free(csv);
    return NULL;
}

static bool read_all(FILE *file, nn_csv *csv, size_t *length, nn_error *error)
{
    size_t capacity = (size_t)1 << 18, read;
    *length = 0;
    do {
        capacity *= 2;
        char *text = realloc(csv->text, capacity);
        if (!text)
            return nn_fail(error, "%s: out of memory", csv->name);
        csv->text = text;
        read = fread(text + *length, 1, capacity - *length - 1, file);
        *length += read;
    } while (*length == capacity - 1 && capacity <= SIZE_MAX / 2);
    if (ferror(file))
        return nn_fail(error, "%s: %s", csv->name, strerror(errno));
    csv->text[*length] = '\0';
    return true;
}

nn_csv *nn_csv_read(const char *path, nn_error *error)
{
    nn_csv *csv = new_csv(path, error);
    if (!csv)
        return NULL;
    size_t length = 0;
    FILE *file = fopen(path, "rb");
    bool read = file ? read_all(file, csv, &length, error)
                     : nn_fail(error, "%s: %s", csv->name, strerror(errno));
    if (file)
        fclose(file);
    return finish(csv, read, length, error);
}

nn_csv *nn_csv_parse(const char *name, const char *text, size_t length, nn_error *error)
{
    nn_csv *csv = new_csv(name, error);
    if (!csv)
        return NULL;
    csv->text = length < SIZE_MAX ? malloc(length + 1) : NULL;
    if (!csv->text)
        return finish(csv, nn_fail(error, "%s: out of memory", csv->name), length, error);
    if (length > 0)
        memcpy(csv->text, text, length);
    csv->text[length] = '\0';
    return finish(csv, true, length, error);
}

void nn_csv_free(nn_csv *csv)
{
    if (!csv)
        return;
    free(csv->text);
    free(csv->cells);
    free(csv);
}

/* ---- Asking ---- */

const char *nn_csv_file(const nn_csv *csv)
{
    return csv->name;
}

size_t nn_csv_rows(const nn_csv *csv)
{
    return csv->rows;
}

size_t nn_csv_columns(const nn_csv *csv)
{
    return csv->columns;
}

const char *nn_csv_name(const nn_csv *csv, size_t column)
{
    return csv->text + csv->cells[column];
}

const char *nn_csv_text(const nn_csv *csv, size_t row, size_t column)
{
    return csv->text + csv->cells[(row + 1) * (csv->columns + 1) + column];
}

size_t nn_csv_line(const nn_csv *csv, size_t row)
{
    return csv->cells[(row + 1) * (csv->columns + 1) + csv->columns];
}

bool nn_csv_find(const nn_csv *csv, const char *name, size_t *column, nn_error *error)
{
    for (size_t i = 0; i < csv->columns; i++)
        if (strcmp(nn_csv_name(csv, i), name) == 0) {
            *column = i;
            return true;
        }
    char list[200] = "";
    for (size_t i = 0, used = 0; i < csv->columns && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                 nn_csv_name(csv, i));
    bool cut = strlen(list) == sizeof list - 1;
    return nn_fail(error, "%s:1: there is no column '%.40s'; there are: %s%s", csv->name, name,
                   list, cut ? " ..." : "");
}
