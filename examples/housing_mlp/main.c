/* housing_mlp: a multilayer perceptron learns house prices on the engine.
 *
 * perceptron.c is the network and train.c the loop that trains it; options, data, progress, report,
 * explanations and the loss curve have a file each. */
#include <stdlib.h>

#include "curve.h"
#include "explain.h"
#include "output.h"
#include "report.h"
#include "weights.h"

enum { TRAINED = 0, FAILED = 1, MISTAKE = 2 }; /* exit status */

enum { DEFAULT_BATCH = 128 };

static bool choose_batch(struct options *options, const struct houses *houses)
{
    size_t rows = houses->split.train_count;
    if (options->batch == 0)
        options->batch = rows < DEFAULT_BATCH ? rows : DEFAULT_BATCH;
    if (options->batch <= rows)
        return true;
    fprintf(stderr, "housing_mlp: --batch %llu: larger than the training part, %zu of %zu rows\n",
            (unsigned long long)options->batch, rows, houses->table.rows);
    return false;
}

/* Predicts the rows of one part; *rmse is of those predictions. predicted is (count). */
static bool measure(struct trainer *t, const uint32_t *rows, size_t count, double *predicted,
                    double *rmse)
{
    if (!trainer_predict(t, rows, count, predicted))
        return false;
    *rmse = prediction_rmse(t->houses, rows, count, predicted);
    return true;
}

/* predicted is (rows of the table); afterwards it holds the test part's predictions. */
static bool measure_all(struct trainer *t, double *predicted, struct results *r)
{
    const nn_split *split = &t->houses->split;
    if (!measure(t, split->train, split->train_count, predicted, &r->train) ||
        !measure(t, split->validation, split->validation_count, predicted, &r->validation) ||
        !measure(t, split->test, split->test_count, predicted, &r->test))
        return false;
    r->r2 = prediction_r2(t->houses, split->test, split->test_count, predicted);
    return true;
}

static bool draw_curve(const struct trainer *t, const struct options *options)
{
    char network[200], caption[300];
    describe(network, sizeof network, options);
    snprintf(caption, sizeof caption, "%s, seed %llu, %s", network,
             (unsigned long long)options->seed,
             options->data ? "data of a file" : "synthetic data");
    return curve_write(options->loss_curve, &t->history, caption);
}

static bool train(struct trainer *t, const struct options *options)
{
    nn_progress progress;
    bool lines = !options->quiet && !options->json;
    /* Beside JSON there may be a bar, but no lines. */
    nn_progress_begin(&progress, options->json ? stderr : stdout, options->epochs,
                      t->houses->split.train_count);
    progress.decimals = 4;
    if (t->done)
        nn_progress_resume(&progress, t->done, t->done * t->houses->split.train_count,
                           t->history.train[t->done - 1], t->history.validation[t->done - 1]);
    if (options->quiet || (options->json && !progress.bar))
        progress.out = NULL;
    if (lines)
        report_task(t, options);
    bool good = trainer_run(t, &progress);
    nn_progress_end(&progress);
    if (good && lines)
        putchar('\n');
    return good;
}

static bool report(struct trainer *t, const struct options *options, double start)
{
    struct results results;
    double *predicted = calloc(t->houses->table.rows, sizeof *predicted);
    if (!predicted)
        fputs("housing_mlp: out of memory\n", stderr);
    bool good = predicted && measure_all(t, predicted, &results);
    results.seconds = nn_seconds() - start;
    if (good && options->json)
        report_json(t, options, &results);
    else if (good)
        report_results(t, &results, predicted);
    free(predicted);
    return good;
}

static int run(const struct options *options, struct houses *houses, ag_rng *rng, double start)
{
    struct trainer trainer;
    bool good = trainer_init(&trainer, houses, options, rng);
    if (good && !weights_begin(&trainer, houses)) {
        trainer_free(&trainer);
        return MISTAKE;
    }
    if (good && options_only(options))
        good = explain(&trainer, options);
    else
        good = good && train(&trainer, options) &&
               (!options->save || weights_save(&trainer, options->save)) &&
               report(&trainer, options, start) &&
               (!options->loss_curve || draw_curve(&trainer, options));
    trainer_free(&trainer);
    return good ? TRAINED : FAILED;
}

/* Each output can be written, and over no other file of the command line. */
static bool check_outputs(const struct options *options)
{
    enum { INPUTS = 2, FILES = 7 };
    const struct {
        const char *option, *path;
    } files[FILES] = {{"--data", options->data},
                      {"--load", options->load},
                      {"--save", options->save},
                      {"--resume", options->resume},
                      {"--loss-curve", options->loss_curve},
                      {"--dot", options->dot},
                      {"--dot-backward", options->dot_backward}};
    for (size_t i = INPUTS; i < FILES; i++)
        for (size_t j = 0; files[i].path && j < i; j++)
            if (files[j].path && output_same(files[i].path, files[j].path)) {
                fprintf(stderr, "housing_mlp: %s %s: would overwrite the file of %s %s\n",
                        files[i].option, files[i].path, files[j].option, files[j].path);
                return false;
            }
    for (size_t i = INPUTS; i < FILES; i++)
        if (files[i].path && !output_check(files[i].option, files[i].path))
            return false;
    return true;
}

/* Whatever was printed must have arrived, or the run has failed. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    perror("housing_mlp: standard output");
    return status == TRAINED ? FAILED : status;
}

int main(int count, char **arguments)
{
    double start = nn_seconds();
    struct options options;
    struct houses houses;
    nn_error error;
    ag_rng rng;
    if (!options_parse(&options, count, arguments))
        return MISTAKE;
    if (options.help) {
        options_help(stdout);
        return finish(TRAINED);
    }
    if (!check_outputs(&options))
        return MISTAKE;
    ag_rng_seed(&rng, options.seed);
    int status = MISTAKE;
    if (!houses_load(&houses, options.data, &rng, &error))
        fprintf(stderr, "housing_mlp: %s\n", error.text);
    else if (choose_batch(&options, &houses))
        status = run(&options, &houses, &rng, start);
    houses_free(&houses);
    return finish(status);
}
