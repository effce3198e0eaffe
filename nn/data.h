/* Data for training: a CSV reader, a table of features and targets, the split into training,
 * validation and test rows, standardisation, and mini-batches.
 *
 * Functions that can fail return false (or NULL), and write into their last argument, if it is not
 * NULL, a message that names the file, line and column where there are such. What they would have
 * set is then unspecified, but nothing is left to free. A NULL argument is an error, too; what such
 * an error left behind, a NULL csv for one, is taken for an empty one, and may be freed.
 *
 * Matrices are row-major. A row is named by its number, from 0; a uint32_t array of such numbers
 * selects rows, in any order. */
#ifndef TAPEGRAD_DATA_H
#define TAPEGRAD_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../autograd/autograd.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nn_error {
    char text[512]; /* one line, no newline at the end */
} nn_error;

/* Writes the message, if `error` is not NULL; always returns false. */
AG_API bool nn_fail(nn_error *error, const char *format, ...) AG_PRINTF(2, 3);

/* ---- CSV, as RFC 4180 has it ----
 *
 * The first line is the header. Fields are separated by commas, and rows by LF or CRLF; the last
 * row may lack its newline; a UTF-8 byte-order mark at the beginning is skipped. A field in quotes
 * may hold commas, newlines and, doubled, quotes. Every row has as many fields as the header, whose
 * names differ. Spaces belong to their field. No byte is NUL; otherwise text is any bytes: that it
 * is valid UTF-8 is not checked.
 *
 * An error is told as `houses.csv:17: 9 fields where the header has 10`, with the line on which the
 * row begins. A file cut in the middle of a row is thus found, unless only its last field is cut.
 */
typedef struct nn_csv nn_csv;

/* The file, read whole. Free it with nn_csv_free. */
AG_API nn_csv *nn_csv_read(const char *path, nn_error *error);

/* The same from memory; `name` stands for the file in messages. Keeps neither pointer. */
AG_API nn_csv *nn_csv_parse(const char *name, const char *text, size_t length, nn_error *error);

AG_API void nn_csv_free(nn_csv *csv); /* NULL is allowed */

AG_API size_t nn_csv_rows(const nn_csv *csv); /* without the header; at least 1 */
AG_API size_t nn_csv_columns(const nn_csv *csv);

/* The path or name it was made with (its end, if very long), a column's name, a field's text
 * (unquoted), the line its row begins on (counted from 1); "" and 0 where there is no such row or
 * column. The strings live as long as the csv. */
AG_API const char *nn_csv_file(const nn_csv *csv);
AG_API const char *nn_csv_name(const nn_csv *csv, size_t column);
AG_API const char *nn_csv_text(const nn_csv *csv, size_t row, size_t column);
AG_API size_t nn_csv_line(const nn_csv *csv, size_t row);

/* The column of that name. If there is none, the message lists those there are. */
AG_API bool nn_csv_find(const nn_csv *csv, const char *name, size_t *column, nn_error *error);

/* A column as numbers: out is (rows), *missing (if not NULL) the number of missing values, which
 * are NaN in out. Missing is an empty field or one of NA, NaN and null in upper or lower case; a
 * number is decimal, [+-]digits[.digits][e[+-]digits], whatever the locale, and rounded to nearest;
 * spaces and tabs around either are ignored. Anything else is an error, as is a number beyond the
 * range of double. */
AG_API bool nn_csv_numbers(const nn_csv *csv, size_t column, double *out, size_t *missing,
                           nn_error *error);

/* The different texts of a column, in strcmp order, and how many fields are missing (empty: a text
 * "NA" may well be a name). */
typedef struct nn_categories {
    size_t count, missing;
    char **names; /* (count); outlives the csv */
} nn_categories;

/* A column as categories: codes is (rows), an index into the names or, where missing, -1. */
AG_API bool nn_csv_categories(const nn_csv *csv, size_t column, int *codes,
                              nn_categories *categories, nn_error *error);
AG_API void nn_categories_free(nn_categories *categories);

/* ---- Tables ---- */

typedef struct nn_table {
    size_t rows, features, targets;
    double *x; /* (rows, features) */
    double *y; /* (rows, targets) */
} nn_table;

/* Zeros. rows and features are at least 1. */
AG_API bool nn_table_new(nn_table *table, size_t rows, size_t features, size_t targets,
                         nn_error *error);
AG_API void nn_table_free(nn_table *table);

/* The rows 0 ... n-1, shuffled by ag_rng_shuffle and cut in three. */
typedef struct nn_split {
    uint32_t *train, *validation, *test;
    size_t train_count, validation_count, test_count;
} nn_split;

/* train and validation are fractions of n; their counts are rounded to the nearest (half upwards),
 * and the test part is the rest: 0.64 and 0.16 of 20640 give 13210, 3302 and 4128. That the
 * training part is empty is an error; the others may be. */
AG_API bool nn_split_rows(nn_split *split, size_t n, double train, double validation, ag_rng *rng,
                          nn_error *error);
AG_API void nn_split_free(nn_split *split);

/* The median of values[rows[i]], i < count, without the NaNs among them; of an even number the mean
 * of the middle two. That all are NaN is an error. */
AG_API bool nn_median(const double *values, const uint32_t *rows, size_t count, double *median,
                      nn_error *error);

/* Standardisation, column by column: (x - mean) / scale, where scale is the standard deviation
 * (divided by n, not n - 1), or 1 for a constant column. */
typedef struct nn_scaler {
    size_t columns;
    double *mean, *scale; /* (columns) each */
} nn_scaler;

/* Fits to the rows given of x, a matrix of that many columns. A value that is not finite is an
 * error. */
AG_API bool nn_scaler_fit(nn_scaler *scaler, const double *x, size_t columns, const uint32_t *rows,
                          size_t count, nn_error *error);
AG_API void nn_scaler_apply(const nn_scaler *scaler, double *x, size_t rows);  /* in place */
AG_API void nn_scaler_invert(const nn_scaler *scaler, double *x, size_t rows); /* in place */
AG_API void nn_scaler_free(nn_scaler *scaler);

/* ---- Mini-batches ----
 *
 *     nn_batches batches;
 *     nn_batches_new(&batches, split.train, split.train_count, 64, false, &rng, &error);
 *     for (int epoch = 0; epoch < 50; epoch++) {
 *         const uint32_t *rows;
 *         for (size_t n; (n = nn_batches_next(&batches, &rows)) > 0;) {
 *             nn_gather_f32(x, table.x, table.features, rows, n);
 *             ...
 */

/* Where a walk over batches stands, to be saved as it is: given back to nn_batches_seek, of batches
 * over the same rows, it goes on with the same rows in the same order. */
typedef struct nn_position {
    uint64_t epoch;  /* number of epochs finished */
    uint64_t offset; /* rows of this epoch already given */
    ag_rng rng;      /* as it was before this epoch's shuffle */
} nn_position;

typedef struct nn_batches {
    const uint32_t *rows; /* (count), the caller's: must outlive this */
    uint32_t *order;      /* (count), this epoch's */
    size_t count, size;
    bool drop_last;
    nn_position position; /* read it; set it by nn_batches_seek */
    ag_rng next;          /* position.rng of the epoch to come */
} nn_batches;

/* Batches of `size` rows; the last of an epoch, if short, is given or (drop_last) left out. Each
 * epoch shuffles anew, with a generator of its own seeded by one draw from rng. size is 1 ...
 * count. */
AG_API bool nn_batches_new(nn_batches *batches, const uint32_t *rows, size_t count, size_t size,
                           bool drop_last, ag_rng *rng, nn_error *error);
AG_API void nn_batches_free(nn_batches *batches);

/* The next batch's rows and their number, valid until the next call; 0 when the epoch is over: the
 * call after that begins the next. */
AG_API size_t nn_batches_next(nn_batches *batches, const uint32_t **rows);

AG_API bool nn_batches_seek(nn_batches *batches, const nn_position *position, nn_error *error);

/* out (count, columns) = those rows of x, a matrix of that many columns. */
AG_API void nn_gather_f32(float *out, const double *x, size_t columns, const uint32_t *rows,
                          size_t count);
AG_API void nn_gather_f64(double *out, const double *x, size_t columns, const uint32_t *rows,
                          size_t count);

#ifdef __cplusplus
}
#endif

#endif
