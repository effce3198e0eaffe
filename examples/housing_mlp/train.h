/* Training the perceptron on the houses. */
#ifndef HOUSING_TRAIN_H
#define HOUSING_TRAIN_H

#include "houses.h"
#include "nn/fit.h"
#include "perceptron.h"

/* Root mean squared errors after each epoch, in units of $100,000. That of the training part is
 * taken while the epoch runs, each batch before the step that learns from it. */
struct history {
    double *train, *validation; /* (epochs) each */
    size_t epochs;
};

struct trainer {
    const struct houses *houses;
    ag_tape *tape;
    nn_params *params;
    struct perceptron model;
    nn_optimizer *optimizer;
    nn_schedule schedule;
    nn_batches batches;
    const struct options *options;
    uint64_t step;            /* steps done, and the one being done */
    size_t done;              /* epochs done, those before a resume too */
    ag_tensor x, y, loss;     /* of the training program on the tape: */
    size_t recorded;          /* its batch's rows; 0: no training program is on the tape */
    float *features, *prices; /* a batch or chunk: (n, FEATURES) and (n, 1) */
    nn_progress *progress;    /* of trainer_run, else NULL */
    struct history history;
    ag_tensor scaler[4]; /* see weights.h */
};

/* options->batch must not be more than the training part. Functions that can fail have told why on
 * stderr. trainer_free allows {0}, and what trainer_init left when it failed. */
bool trainer_init(struct trainer *t, const struct houses *houses, const struct options *options,
                  ag_rng *rng);
void trainer_free(struct trainer *t);

/* Puts the training program on the tape: the loss of a batch of so many rows and its gradients. */
bool trainer_record(struct trainer *t, size_t rows);

/* All epochs that are not done yet. */
bool trainer_run(struct trainer *t, nn_progress *progress);

/* The predicted prices of these rows in units of $100,000; out is (count). */
bool trainer_predict(struct trainer *t, const uint32_t *rows, size_t count, double *out);

/* Of predictions for these rows: the root mean squared error, in the same unit, and the coefficient
 * of determination R² (NaN if all prices are equal). */
double prediction_rmse(const struct houses *houses, const uint32_t *rows, size_t count,
                       const double *predicted);
double prediction_r2(const struct houses *houses, const uint32_t *rows, size_t count,
                     const double *predicted);

#endif
