/* The data of housing_mlp: eight features and the price of each block of houses, from a CSV file or
 * from the synthetic generator; filled, split in three and standardised. */
#ifndef HOUSING_HOUSES_H
#define HOUSING_HOUSES_H

#include <nn/data.h>

enum { FEATURES = 8, LATITUDE = 6, LONGITUDE = 7 };

extern const char *const feature_names[FEATURES];

struct houses {
    nn_table table; /* x (rows, FEATURES) and y (rows, 1), both standardised */
    nn_split split;
    nn_scaler features, price; /* fitted on the training part; price in units of $100,000 */
    size_t filled;             /* missing values that became the training median */
};

/* Reads the CSV file, or makes the synthetic table if path is NULL. The split draws from rng. */
bool houses_load(struct houses *houses, const char *path, ag_rng *rng, nn_error *error);
void houses_free(struct houses *houses); /* {0} is allowed */

/* In units of $100,000: the price of a row, and what a standardised price stands for. */
double houses_price(const struct houses *houses, size_t row);
double houses_unscaled(const struct houses *houses, double standardised);

/* The generator of the synthetic table: see synthetic.c. */
bool synthetic_table(nn_table *table, nn_error *error);

#endif
