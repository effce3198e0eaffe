/* What housing_mlp prints beside the progress: the task, and the results. */
#ifndef HOUSING_REPORT_H
#define HOUSING_REPORT_H

#include "train.h"

struct results {
    double train, validation, test; /* root mean squared errors, $100,000 */
    double r2;                      /* of the test part; NaN if undefined */
    double seconds;                 /* since the program began */
};

/* "8-64-1 sigmoid, adamw 0.01, cosine, batch 128": the network and how it is trained. */
void describe(char *text, size_t size, const struct options *options);

/* The data and the network, before training. */
void report_task(const struct trainer *t, const struct options *options);

/* The results for a reader, with some houses of the test part; predicted is (test rows). */
void report_results(const struct trainer *t, const struct results *results,
                    const double *predicted);

/* The results as one line of JSON. */
void report_json(const struct trainer *t, const struct options *options,
                 const struct results *results);

#endif
