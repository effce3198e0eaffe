/* A synthetic table of houses, for running without any download: made up, not measured.
 *
 * 10,000 blocks in a country of 10 by 10 degrees with two cities and a coast in the west, from
 * ag_rng_seed(1990). Block by block, u stands for ag_rng_uniform and n for ag_rng_normal, drawn
 * anew each time: down the left column, down the right one, then for the price.
 *
 *     Latitude   = 32 + 10 u                    MedInc     = exp(1.2 + 0.45 n)
 *     Longitude  = -124 + 10 u                  AveRooms   = 3 + 1.2 sqrt(MedInc) exp(0.15 n)
 *     HouseAge   = 1 + 51 u                     AveBedrms  = 0.2 AveRooms exp(0.1 n)
 *     Population = exp(7 + 0.7 n)               AveOccup   = 1 + 1.8 exp(0.3 n)
 *
 *     city  = 1.6 exp(-(distance to (34, -118))^2 / 3)
 *             + 1.2 exp(-(distance to (38, -122))^2 / 2)
 *     coast = 0.9 / (1 + exp(Longitude + 121))
 *     price = 1.0 + 0.32 MedInc^0.9 (1 + 0.3 city) + city + coast + 0.008 HouseAge city
 *             + 0.08 (AveRooms - 4 AveBedrms) - 0.25 ln(AveOccup - 1) + 0.25 n
 *
 * in units of $100,000. So no model's RMSE can be expected below 0.25. */
#include "houses.h"

#include <math.h>

static double bump(double latitude, double longitude, double x, double y, double width)
{
    double dx = latitude - x, dy = longitude - y;
    return exp(-(dx * dx + dy * dy) / width);
}

static double make_price(const double *x, double noise)
{
    double income = x[0], age = x[1], rooms = x[2], bedrooms = x[3], occupants = x[5];
    double latitude = x[LATITUDE], longitude = x[LONGITUDE];
    double city = 1.6 * bump(latitude, longitude, 34.0, -118.0, 3.0) +
                  1.2 * bump(latitude, longitude, 38.0, -122.0, 2.0);
    double coast = 0.9 / (1.0 + exp(longitude + 121.0));
    return 1.0 + 0.32 * pow(income, 0.9) * (1.0 + 0.3 * city) + city + coast + 0.008 * age * city +
           0.08 * (rooms - 4.0 * bedrooms) - 0.25 * log(occupants - 1.0) + 0.25 * noise;
}

bool synthetic_table(nn_table *table, nn_error *error)
{
    if (!nn_table_new(table, 10000, FEATURES, 1, error))
        return false;
    ag_rng rng;
    ag_rng_seed(&rng, 1990);
    for (size_t row = 0; row < table->rows; row++) {
        double *x = table->x + row * FEATURES;
        x[LATITUDE] = 32.0 + 10.0 * ag_rng_uniform(&rng);
        x[LONGITUDE] = -124.0 + 10.0 * ag_rng_uniform(&rng);
        x[1] = 1.0 + 51.0 * ag_rng_uniform(&rng);
        x[4] = exp(7.0 + 0.7 * ag_rng_normal(&rng));
        x[0] = exp(1.2 + 0.45 * ag_rng_normal(&rng));
        x[2] = 3.0 + 1.2 * sqrt(x[0]) * exp(0.15 * ag_rng_normal(&rng));
        x[3] = 0.2 * x[2] * exp(0.1 * ag_rng_normal(&rng));
        x[5] = 1.0 + 1.8 * exp(0.3 * ag_rng_normal(&rng));
        table->y[row] = make_price(x, ag_rng_normal(&rng));
    }
    return true;
}
