/* The training loop. A tape holds one program at a time: the training program is recorded once an
 * epoch and replayed for every batch of the same size; predicting resets the tape and records a
 * forward pass for each chunk of rows. */
#include "train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights.h"

enum { CHUNK = 1024 }; /* rows predicted at once */

/* The last step, and what to try when it led to values that are not finite. */
static void advise(const struct trainer *t)
{
    uint64_t steps = t->schedule.total / t->options->schedule_epochs;
    fprintf(stderr,
            "at epoch %llu, step %llu of %llu\n"
            "    Try a smaller --lr (it was %g), a --warmup of an epoch or two, a larger --batch\n"
            "    or --optimizer adamw.\n",
            (unsigned long long)((t->step - 1) / steps + 1),
            (unsigned long long)((t->step - 1) % steps + 1), (unsigned long long)steps,
            t->schedule.rate);
}

static bool failed(struct trainer *t)
{
    const char *error = ag_error(t->tape);
    if (t->progress)
        nn_progress_end(t->progress);
    fprintf(stderr, "housing_mlp: %s\n", error);
    if (t->step && !strncmp(error, "trace:", 6)) {
        fputs("    ", stderr);
        advise(t);
    }
    return false;
}

static nn_options optimizer_options(const struct options *options)
{
    nn_options o;
    switch ((enum optimizer)options->optimizer) {
    case ADAM:
        o = nn_adam(options->rate);
        break;
    case ADAMW:
        o = nn_adamw(options->rate);
        break;
    default:
        o = nn_sgd(options->rate);
        o.momentum = options->optimizer == MOMENTUM ? 0.9 : 0.0;
    }
    o.weight_decay = options->weight_decay;
    return o;
}

static nn_schedule make_schedule(const struct options *options, uint64_t steps_per_epoch)
{
    uint64_t total = options->schedule_epochs * steps_per_epoch;
    return (nn_schedule){.kind = (nn_schedule_kind)options->schedule,
                         .rate = options->rate,
                         .factor = 0.1,
                         .warmup = options->warmup * steps_per_epoch,
                         .every = total / 3 + 1,
                         .total = total};
}

bool trainer_init(struct trainer *t, const struct houses *houses, const struct options *options,
                  ag_rng *rng)
{
    size_t rows = houses->split.train_count, batch = options->batch;
    size_t most = batch > CHUNK ? batch : CHUNK;
    nn_error error;
    *t = (struct trainer){.houses = houses, .options = options, .tape = ag_tape_new(AG_F32)};
    t->schedule = make_schedule(options, (rows + batch - 1) / batch);
    t->features = calloc(most, FEATURES * sizeof *t->features);
    t->prices = calloc(most, sizeof *t->prices);
    t->history.train = calloc(options->epochs + 1, sizeof(double));
    t->history.validation = calloc(options->epochs + 1, sizeof(double));
    t->history.epochs = options->epochs;
    if (!t->tape || !t->features || !t->prices || !t->history.train || !t->history.validation) {
        fputs("housing_mlp: out of memory\n", stderr);
        return false;
    }
    if (!nn_batches_new(&t->batches, houses->split.train, rows, batch, false, rng, &error)) {
        fprintf(stderr, "housing_mlp: %s\n", error.text);
        return false;
    }
    ag_trace_nonfinite(t->tape, options->trace_nan);
    t->params = nn_params_new(t->tape, ag_rng_next(rng));
    if (!t->params || !perceptron_init(&t->model, t->params, FEATURES, options) ||
        !weights_prepare(t))
        return failed(t);
    t->optimizer = nn_optimizer_new(t->params, optimizer_options(options));
    return t->optimizer || failed(t);
}

void trainer_free(struct trainer *t)
{
    nn_batches_free(&t->batches);
    free(t->features);
    free(t->prices);
    free(t->history.train);
    free(t->history.validation);
    ag_tape_free(t->tape);
}

bool trainer_record(struct trainer *t, size_t rows)
{
    int64_t n = (int64_t)rows;
    ag_tape_reset(t->tape);
    t->x = ag_input(t->tape, "X", AG_SHAPE(n, FEATURES));
    t->y = ag_input(t->tape, "Y", AG_SHAPE(n, 1));
    t->loss = ag_mean_square(ag_sub(t->y, perceptron(&t->model, t->x)));
    t->recorded = rows;
    return ag_backward(t->loss) || failed(t);
}

/* One update from these rows; *loss is that before it. */
static bool train_step(struct trainer *t, const uint32_t *rows, size_t count, double *loss)
{
    const nn_table *table = &t->houses->table;
    double rate = nn_schedule_rate(&t->schedule, t->step++);
    if (t->recorded != count && !trainer_record(t, count))
        return false;
    nn_gather_f32(t->features, table->x, FEATURES, rows, count);
    nn_gather_f32(t->prices, table->y, 1, rows, count);
    bool good = ag_set_f32(t->x, t->features, count * FEATURES) &&
                ag_set_f32(t->y, t->prices, count) && ag_replay(t->tape) &&
                nn_set_rate(t->optimizer, rate) && nn_step(t->optimizer);
    *loss = ag_item(t->loss);
    return good || failed(t);
}

static bool diverged(struct trainer *t, const char *what, double value)
{
    nn_progress_end(t->progress);
    fprintf(stderr, "housing_mlp: training diverged: the %s loss is %g ", what, value);
    advise(t);
    return false;
}

/* *loss is the mean over the epoch's rows. */
static bool train_epoch(struct trainer *t, double *loss)
{
    const uint32_t *rows;
    size_t done = 0;
    double sum = 0.0;
    for (size_t n; (n = nn_batches_next(&t->batches, &rows)) > 0; done += n) {
        if (!train_step(t, rows, n, loss))
            return false;
        if (!isfinite(*loss))
            return diverged(t, "training", *loss);
        sum += *loss * (double)n;
        nn_progress_rows(t->progress, n);
    }
    *loss = sum / (double)done;
    return true;
}

/* One epoch, then the validation loss and the checkpoint; predicted is (validation rows). */
static bool run_epoch(struct trainer *t, double *predicted)
{
    size_t epoch = t->done;
    const struct houses *houses = t->houses;
    const nn_split *split = &houses->split;
    double *train = &t->history.train[epoch], *validation = &t->history.validation[epoch], loss;
    if (!train_epoch(t, &loss) ||
        !trainer_predict(t, split->validation, split->validation_count, predicted))
        return false;
    *train = sqrt(loss) * houses->price.scale[0];
    *validation = prediction_rmse(houses, split->validation, split->validation_count, predicted);
    if (!isfinite(*validation))
        return diverged(t, "validation", *validation);
    nn_progress_epoch(t->progress, *train, *validation);
    t->done++;
    return !t->options->resume || weights_checkpoint(t);
}

bool trainer_run(struct trainer *t, nn_progress *progress)
{
    double *predicted = calloc(t->houses->split.validation_count, sizeof *predicted);
    bool good = predicted != NULL;
    if (!good)
        fputs("housing_mlp: out of memory\n", stderr);
    t->progress = progress;
    while (good && t->done < t->history.epochs)
        good = run_epoch(t, predicted);
    t->progress = NULL;
    free(predicted);
    return good;
}

bool trainer_predict(struct trainer *t, const uint32_t *rows, size_t count, double *out)
{
    t->recorded = 0;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < CHUNK ? count - done : CHUNK;
        ag_tape_reset(t->tape);
        nn_gather_f32(t->features, t->houses->table.x, FEATURES, rows + done, n);
        ag_tensor x = ag_input_f32(t->tape, "X", AG_SHAPE((int64_t)n, FEATURES), t->features);
        if (!ag_get_f64(perceptron(&t->model, x), out + done, n))
            return failed(t);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = houses_unscaled(t->houses, out[i]);
    return true;
}

static double squared_errors(const struct houses *houses, const uint32_t *rows, size_t count,
                             const double *predicted)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double error = predicted[i] - houses_price(houses, rows[i]);
        sum += error * error;
    }
    return sum;
}

double prediction_rmse(const struct houses *houses, const uint32_t *rows, size_t count,
                       const double *predicted)
{
    return sqrt(squared_errors(houses, rows, count, predicted) / (double)count);
}

double prediction_r2(const struct houses *houses, const uint32_t *rows, size_t count,
                     const double *predicted)
{
    double mean = 0.0, spread = 0.0; /* Welford's recurrence: exactly 0 for equal prices */
    for (size_t i = 0; i < count; i++) {
        double price = houses_price(houses, rows[i]), deviation = price - mean;
        mean += deviation / (double)(i + 1);
        spread += deviation * (price - mean);
    }
    return spread > 0.0 ? 1.0 - squared_errors(houses, rows, count, predicted) / spread
                        : (double)NAN;
}
