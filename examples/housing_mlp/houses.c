/* Reading the California housing data. Its columns are totals of each block of houses; the eight
 * customary features (those of scikit-learn's fetch_california_housing) are derived from them. */
#include "houses.h"

#include <math.h>
#include <stdlib.h>

const char *const feature_names[FEATURES] = {"MedInc",     "HouseAge", "AveRooms", "AveBedrms",
                                             "Population", "AveOccup", "Latitude", "Longitude"};

/* A feature or price (in units of $100,000) beyond this is a mistake in the data. */
static const double most = 1e12;

enum column { LONG, LAT, AGE, ROOMS, BEDROOMS, POPULATION, HOUSEHOLDS, INCOME, VALUE, COLUMNS };

static const char *const column_names[COLUMNS] = {"longitude",          "latitude",
                                                  "housing_median_age", "total_rooms",
                                                  "total_bedrooms",     "population",
                                                  "households",         "median_income",
                                                  "median_house_value"};

/* How each feature comes of the columns: one over another, or one alone (COLUMNS below it). */
static const struct {
    enum column above, below;
} derived[FEATURES] = {{INCOME, COLUMNS},      {AGE, COLUMNS},        {ROOMS, HOUSEHOLDS},
                       {BEDROOMS, HOUSEHOLDS}, {POPULATION, COLUMNS}, {POPULATION, HOUSEHOLDS},
                       {LAT, COLUMNS},         {LONG, COLUMNS}};

/* *value = above / below; a missing value stays NaN. */
static bool derive_value(double *value, const char *name, double above, double below,
                         nn_error *error)
{
    *value = above / below;
    return !(fabs(*value) > most) || nn_fail(error, "%s is %g, beyond all reason", name, *value);
}

/* columns is (COLUMNS, rows). */
static bool derive_row(nn_table *table, const double *columns, size_t row, nn_error *error)
{
    const double *c = columns + row;
    size_t n = table->rows;
    if (isnan(c[VALUE * n]))
        return nn_fail(error, "%s is missing", column_names[VALUE]);
    if (c[HOUSEHOLDS * n] <= 0.0)
        return nn_fail(error, "%s is %g, but features are divided by it", column_names[HOUSEHOLDS],
                       c[HOUSEHOLDS * n]);
    for (size_t j = 0; j < FEATURES; j++) {
        double below = derived[j].below == COLUMNS ? 1.0 : c[derived[j].below * n];
        if (!derive_value(&table->x[row * FEATURES + j], feature_names[j], c[derived[j].above * n],
                          below, error))
            return false;
    }
    return derive_value(&table->y[row], column_names[VALUE], c[VALUE * n], 100000.0, error);
}

static bool derive(nn_table *table, const nn_csv *csv, nn_error *error)
{
    nn_error cause = {""};
    size_t rows = nn_csv_rows(csv), column;
    double *columns = calloc(rows, COLUMNS * sizeof *columns);
    if (!columns)
        return nn_fail(error, "%s: out of memory for %zu rows", nn_csv_file(csv), rows);
    bool good = nn_table_new(table, rows, FEATURES, 1, error);
    for (size_t i = 0; good && i < COLUMNS; i++)
        good = nn_csv_find(csv, column_names[i], &column, error) &&
               nn_csv_numbers(csv, column, columns + i * rows, NULL, error);
    for (size_t row = 0; good && row < rows; row++)
        good = derive_row(table, columns, row, &cause) ||
               nn_fail(error, "%s:%zu: %s", nn_csv_file(csv), nn_csv_line(csv, row), cause.text);
    free(columns);
    return good;
}

static bool read_table(nn_table *table, const char *path, nn_error *error)
{
    nn_csv *csv = nn_csv_read(path, error);
    bool good = csv && derive(table, csv, error);
    nn_csv_free(csv);
    return good;
}

/* Replaces the missing values of a feature by its median over the training part. */
static bool fill(struct houses *houses, size_t feature, double *column, nn_error *error)
{
    nn_table *table = &houses->table;
    size_t missing = 0;
    double median;
    for (size_t i = 0; i < table->rows; i++)
        missing += isnan(column[i] = table->x[i * FEATURES + feature]) ? 1 : 0;
    if (missing == 0)
        return true;
    if (!nn_median(column, houses->split.train, houses->split.train_count, &median, error))
        return nn_fail(error, "no value of %s in the training part", feature_names[feature]);
    for (size_t i = 0; i < table->rows; i++)
        if (isnan(column[i]))
            table->x[i * FEATURES + feature] = median;
    houses->filled += missing;
    return true;
}

static bool fill_all(struct houses *houses, nn_error *error)
{
    double *column = calloc(houses->table.rows, sizeof *column);
    bool good = column || nn_fail(error, "out of memory");
    for (size_t j = 0; good && j < FEATURES; j++)
        good = fill(houses, j, column, error);
    free(column);
    return good;
}

static bool prepare(struct houses *houses, ag_rng *rng, nn_error *error)
{
    nn_table *table = &houses->table;
    const nn_split *split = &houses->split;
    if (table->rows < 10)
        return nn_fail(error, "%zu rows are too few to split: at least 10", table->rows);
    if (!nn_split_rows(&houses->split, table->rows, 0.64, 0.16, rng, error) ||
        !fill_all(houses, error) ||
        !nn_scaler_fit(&houses->features, table->x, FEATURES, split->train, split->train_count,
                       error) ||
        !nn_scaler_fit(&houses->price, table->y, 1, split->train, split->train_count, error))
        return false;
    nn_scaler_apply(&houses->features, table->x, table->rows);
    nn_scaler_apply(&houses->price, table->y, table->rows);
    return true;
}

bool houses_load(struct houses *houses, const char *path, ag_rng *rng, nn_error *error)
{
    nn_error cause = {""};
    *houses = (struct houses){0};
    if (!(path ? read_table(&houses->table, path, error) : synthetic_table(&houses->table, error)))
        return false;
    return prepare(houses, rng, &cause) ||
           nn_fail(error, "%s: %s", path ? path : "synthetic table", cause.text);
}

void houses_free(struct houses *houses)
{
    nn_table_free(&houses->table);
    nn_split_free(&houses->split);
    nn_scaler_free(&houses->features);
    nn_scaler_free(&houses->price);
}

double houses_unscaled(const struct houses *houses, double standardised)
{
    nn_scaler_invert(&houses->price, &standardised, 1);
    return standardised;
}

double houses_price(const struct houses *houses, size_t row)
{
    return houses_unscaled(houses, houses->table.y[row]);
}
