/* Tables, the split of their rows, the median, standardisation and mini-batches.
 *
 * Invariant of the batches: `order` is a function of `rows` and `position.rng` alone, since every
 * epoch shuffles a fresh copy of `rows`. So the position is all there is to save.
 *
 * Mean and variance are computed by Welford's recurrence (Technometrics 4(3), 1962): one pass in
 * any order of rows, and exactly 0 for the variance of a constant column. */
#include "bytes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tables ---- */

bool nn_table_new(nn_table *table, size_t rows, size_t features, size_t targets, nn_error *error)
{
    size_t most = PTRDIFF_MAX / sizeof(double);
    if (!nn_given(error, "table", table))
        return false;
    if (rows == 0 || features == 0)
        return nn_fail(error, "table: %zu rows of %zu features: neither may be 0", rows, features);
    bool fits =
        features <= most && targets <= most - features && rows <= most / (features + targets);
    double *x = fits ? calloc(rows * (features + targets), sizeof *x) : NULL;
    if (!x)
        return nn_fail(error, "table: out of memory for %zu rows of %zu + %zu numbers", rows,
                       features, targets);
    *table = (nn_table){rows, features, targets, x, x + rows * features};
    return true;
}

void nn_table_free(nn_table *table)
{
    if (!table)
        return;
    free(table->x);
    *table = (nn_table){0};
}

/* ---- Split ---- */

static size_t rounded_part(double fraction, size_t n, size_t most)
{
    size_t count = (size_t)floor(fraction * (double)n + 0.5);
    return count < most ? count : most;
}

bool nn_split_rows(nn_split *split, size_t n, double train, double validation, ag_rng *rng,
                   nn_error *error)
{
    if (!nn_given(error, "split", split && rng))
        return false;
    if (!(train > 0.0 && validation >= 0.0 && train + validation <= 1.0 + 1e-12))
        return nn_fail(
            error, "split: training %g and validation %g must be fractions of at most 1 together",
            train, validation);
    if (n > UINT32_MAX)
        return nn_fail(error, "split: %zu rows are more than 2^32 - 1", n);
    size_t train_count = rounded_part(train, n, n);
    if (train_count == 0)
        return nn_fail(error, "split: %g of %zu rows leaves none to train on", train, n);
    uint32_t *rows = calloc(n, sizeof *rows);
    if (!rows)
        return nn_fail(error, "split: out of memory for %zu rows", n);
    for (size_t i = 0; i < n; i++)
        rows[i] = (uint32_t)i;
    ag_rng_shuffle(rng, rows, n);

    split->train = rows;
    split->train_count = train_count;
    split->validation = rows + train_count;
    split->validation_count = rounded_part(validation, n, n - train_count);
    split->test = split->validation + split->validation_count;
    split->test_count = n - train_count - split->validation_count;
    return true;
}

void nn_split_free(nn_split *split)
{
    if (!split)
        return;
    free(split->train);
    *split = (nn_split){0};
}

/* ---- Median ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool nn_median(const double *values, const uint32_t *rows, size_t count, double *median,
               nn_error *error)
{
    if (!nn_given(error, "median", values && rows && median))
        return false;
    double *sorted = calloc(count ? count : 1, sizeof *sorted);
    if (!sorted)
        return nn_fail(error, "median: out of memory for %zu values", count);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[rows[i]]))
            sorted[n++] = values[rows[i]];
    qsort(sorted, n, sizeof *sorted, compare_doubles);
    if (n > 0)
        *median = 0.5 * sorted[(n - 1) / 2] + 0.5 * sorted[n / 2];
    free(sorted);
    return n > 0 || nn_fail(error, "median: all of %zu values are missing", count);
}

/* ---- Standardisation ---- */

/* mean and scale are (columns), zeros; scale first gathers the sum of squared deviations. */
static bool fit_columns(nn_scaler *s, const double *x, const uint32_t *rows, size_t count,
                        nn_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const double *row = x + rows[i] * s->columns;
        for (size_t j = 0; j < s->columns; j++) {
            double deviation = row[j] - s->mean[j];
            s->mean[j] += deviation / (double)(i + 1);
            s->scale[j] += deviation * (row[j] - s->mean[j]);
            if (!isfinite(s->scale[j]))
                return nn_fail(error, "scaler: row %u, column %zu: %g %s", (unsigned)rows[i], j,
                               row[j],
                               isfinite(row[j]) ? "is too far from the mean"
                                                : "is not a finite number");
        }
    }
    for (size_t j = 0; j < s->columns; j++)
        s->scale[j] = s->scale[j] > 0.0 ? sqrt(s->scale[j] / (double)count) : 1.0;
    return true;
}

bool nn_scaler_fit(nn_scaler *scaler, const double *x, size_t columns, const uint32_t *rows,
                   size_t count, nn_error *error)
{
    if (!nn_given(error, "scaler", scaler && x && rows))
        return false;
    if (columns == 0 || count == 0)
        return nn_fail(error, "scaler: %zu rows of %zu columns: neither may be 0", count, columns);
    double *mean = calloc(columns, 2 * sizeof *mean);
    if (!mean)
        return nn_fail(error, "scaler: out of memory for %zu columns", columns);
    *scaler = (nn_scaler){columns, mean, mean + columns};
    bool fitted = fit_columns(scaler, x, rows, count, error);
    if (!fitted)
        nn_scaler_free(scaler);
    return fitted;
}

void nn_scaler_apply(const nn_scaler *scaler, double *x, size_t rows)
{
    for (; scaler && scaler->mean && x && rows > 0; rows--, x += scaler->columns)
        for (size_t j = 0; j < scaler->columns; j++)
            x[j] = (x[j] - scaler->mean[j]) / scaler->scale[j];
}

void nn_scaler_invert(const nn_scaler *scaler, double *x, size_t rows)
{
    for (; scaler && scaler->mean && x && rows > 0; rows--, x += scaler->columns)
        for (size_t j = 0; j < scaler->columns; j++)
            x[j] = x[j] * scaler->scale[j] + scaler->mean[j];
}

void nn_scaler_free(nn_scaler *scaler)
{
    if (!scaler)
        return;
    free(scaler->mean);
    *scaler = (nn_scaler){0};
}

/* ---- Mini-batches ---- */

static void begin_epoch(nn_batches *b)
{
    memcpy(b->order, b->rows, b->count * sizeof *b->order);
    b->next = b->position.rng;
    ag_rng_shuffle(&b->next, b->order, b->count);
}

bool nn_batches_new(nn_batches *batches, const uint32_t *rows, size_t count, size_t size,
                    bool drop_last, ag_rng *rng, nn_error *error)
{
    if (!nn_given(error, "batches", batches && rows && rng))
        return false;
    if (size == 0 || size > count)
        return nn_fail(error, "batches: %zu rows cannot be given in batches of %zu", count, size);
    uint32_t *order = calloc(count, sizeof *order);
    if (!order)
        return nn_fail(error, "batches: out of memory for %zu rows", count);
    *batches = (nn_batches){
        .rows = rows, .order = order, .count = count, .size = size, .drop_last = drop_last};
    ag_rng_seed(&batches->position.rng, ag_rng_next(rng));
    begin_epoch(batches);
    return true;
}

void nn_batches_free(nn_batches *batches)
{
    if (!batches)
        return;
    free(batches->order);
    *batches = (nn_batches){0};
}

size_t nn_batches_next(nn_batches *batches, const uint32_t **rows)
{
    if (!batches || !batches->order || !rows)
        return 0;
    nn_position *position = &batches->position;
    size_t left = batches->count - (size_t)position->offset;
    if (left == 0 || (left < batches->size && batches->drop_last)) {
        *position = (nn_position){position->epoch + 1, 0, batches->next};
        begin_epoch(batches);
        return 0;
    }
    size_t n = left < batches->size ? left : batches->size;
    *rows = batches->order + position->offset;
    position->offset += n;
    return n;
}

bool nn_batches_seek(nn_batches *batches, const nn_position *position, nn_error *error)
{
    if (!nn_given(error, "batches", batches && position))
        return false;
    if (position->offset > batches->count)
        return nn_fail(error, "batches: position %llu lies beyond the last of %zu rows",
                       (unsigned long long)position->offset, batches->count);
    batches->position = *position;
    begin_epoch(batches);
    return true;
}

void nn_gather_f32(float *out, const double *x, size_t columns, const uint32_t *rows, size_t count)
{
    for (size_t i = 0; out && x && rows && i < count; i++, out += columns)
        for (size_t j = 0; j < columns; j++)
            out[j] = (float)x[rows[i] * columns + j];
}

void nn_gather_f64(double *out, const double *x, size_t columns, const uint32_t *rows, size_t count)
{
    for (size_t i = 0; out && x && rows && i < count; i++, out += columns)
        memcpy(out, x + rows[i] * columns, columns * sizeof *out);
}
