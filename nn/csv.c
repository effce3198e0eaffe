/* The CSV reader: RFC 4180, read whole, split in place.
 *
 * The text is one block. Fields are cut out of it by writing NUL over the separator behind each,
 * and quoted fields are moved over their opening quote as their doubled quotes shrink: a field
 * never grows, so there is always room. A second block, `cells`, holds for each row, the header
 * being row 0, the offsets of its fields in the text and then the line it begins on: columns + 1
 * numbers.
 */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

struct nn_csv {
    struct nn_bytes bytes, numbers; /* what text and cells are in */
    char *text;                     /* (length + 1) */
    const size_t *cells;            /* (rows + 1, columns + 1) */
    size_t rows, columns;
    char name[]; /* of the file, for messages */
};

struct reader {
    nn_csv *csv;
    size_t at;       /* in the text: the next byte */
    size_t line;     /* it is on */
    size_t row_line; /* the row began on */
    nn_error *error;
};

/* ---- Reading rows ---- */

static bool fail_in_column(const struct reader *r, size_t column, const char *what)
{
    return nn_fail(r->error, "%s:%zu: column %zu: %s", r->csv->name, r->row_line, column, what);
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

/* One field with the separator behind it, which is ',', '\n' or, at the end of the text, '\0'. */
static bool scan_field(struct reader *r, size_t column, char *separator)
{
    char *text = r->csv->text;
    bool quoted = text[r->at] == '"';
    nn_bytes_append(&r->csv->numbers, &r->at, sizeof r->at);
    if (quoted && !scan_quoted(r, column))
        return false;
    if (!quoted)
        r->at += strcspn(text + r->at, ",\n\r\"");

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
    nn_bytes_append(&csv->numbers, &r->row_line, sizeof r->row_line);
    return true;
}

/* The names of the columns are the first cells. */
static bool check_names(nn_csv *csv, nn_error *error)
{
    const char **names = malloc(csv->columns * sizeof *names);
    if (!names)
        return nn_fail(error, "%s: out of memory", csv->name);
    for (size_t i = 0; i < csv->columns; i++)
        names[i] = csv->text + ((const size_t *)(void *)csv->numbers.at)[i];
    const char *twin = nn_sort_names(names, csv->columns, sizeof *names);
    free(names);
    return !twin || nn_fail(error, "%s:1: two columns have the name '%.40s'", csv->name, twin);
}

static bool scan(nn_csv *csv, nn_error *error)
{
    size_t length = csv->bytes.size;
    struct reader r = {.csv = csv, .line = 1, .error = error};
    const char *text = csv->text = (char *)csv->bytes.at;
    if (strlen(text) < length) {
        for (; *text; text++)
            r.line += *text == '\n';
        return nn_fail(error, "%s:%zu: a NUL byte: this is not plain text", csv->name, r.line);
    }
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        r.at = 3;
    if (r.at == length)
        return nn_fail(error, "%s: the file is empty", csv->name);
    if (!scan_row(&r) || (!csv->numbers.failed && !check_names(csv, error)))
        return false;
    for (; r.at < length; csv->rows++)
        if (!scan_row(&r))
            return false;
    csv->cells = (const size_t *)(void *)csv->numbers.at;
    if (csv->numbers.failed)
        return nn_fail(error, "%s: out of memory", csv->name);
    return csv->rows > 0 || nn_fail(error, "%s: a header and no rows", csv->name);
}

/* ---- Making one ---- */

static nn_csv *open_csv(const char *name, const struct nn_memory *memory, nn_error *error)
{
    const struct nn_source source = {name, error};
    const char *shown = nn_shown(name);
    nn_csv *csv = calloc(1, sizeof *csv + strlen(shown) + 1);
    if (!csv) {
        nn_out_of_memory(&source);
        return NULL;
    }
    strcpy(csv->name, shown);
    if (nn_bytes_get(&csv->bytes, memory, &source) && scan(csv, error))
        return csv;
    nn_csv_free(csv);
    return NULL;
}

nn_csv *nn_csv_read(const char *path, nn_error *error)
{
    return open_csv(path, NULL, error);
}

nn_csv *nn_csv_parse(const char *name, const char *text, size_t length, nn_error *error)
{
    return open_csv(name, &(struct nn_memory){text, length}, error);
}

void nn_csv_free(nn_csv *csv)
{
    if (!csv)
        return;
    nn_bytes_free(&csv->bytes);
    nn_bytes_free(&csv->numbers);
    free(csv);
}

/* ---- Asking ---- */

const char *nn_csv_file(const nn_csv *csv)
{
    return csv ? csv->name : nn_shown(NULL);
}

size_t nn_csv_rows(const nn_csv *csv)
{
    return csv ? csv->rows : 0;
}

size_t nn_csv_columns(const nn_csv *csv)
{
    return csv ? csv->columns : 0;
}

const char *nn_csv_name(const nn_csv *csv, size_t column)
{
    return column < nn_csv_columns(csv) ? csv->text + csv->cells[column] : "";
}

const char *nn_csv_text(const nn_csv *csv, size_t row, size_t column)
{
    bool there = row < nn_csv_rows(csv) && column < csv->columns;
    return there ? csv->text + csv->cells[(row + 1) * (csv->columns + 1) + column] : "";
}

size_t nn_csv_line(const nn_csv *csv, size_t row)
{
    return row < nn_csv_rows(csv) ? csv->cells[(row + 2) * (csv->columns + 1) - 1] : 0;
}

bool nn_csv_find(const nn_csv *csv, const char *name, size_t *column, nn_error *error)
{
    if (!nn_given(error, "csv_find", csv && name && column))
        return false;
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
