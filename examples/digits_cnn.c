/* digits_cnn: a small convolutional network learns to read digits, drawn by the program itself
 * (digits.c) or MNIST's.
 *
 * Two convolutions, each with a pooling that halves the image, and a linear layer; cross-entropy,
 * AdamW, a cosine schedule. */
#include <stdlib.h>

#include "command.h"
#include "digits.h"

enum { BATCH = 50, CHANNELS = 16, CLASSES = 10 };

static const char *data = NULL, *svg = NULL; /* options */
static uint64_t epochs = 6, seed = 0;

struct network {
    nn_params *params;
    nn_conv conv1, conv2;
    nn_linear out;
    ag_tensor images, labels; /* (count, 1, side, side) and (count): what it trains on */
};

static void network_init(struct network *n, nn_params *params, int64_t side)
{
    const nn_conv_options three = {.kernel = 3, .padding = 1};
    n->params = params;
    n->conv1 = nn_conv2d_new(params, "conv1", 1, CHANNELS, three);
    n->conv2 = nn_conv2d_new(params, "conv2", CHANNELS, 2 * CHANNELS, three);
    n->out = nn_linear_new(params, "out", 2 * CHANNELS * (side / 4) * (side / 4), CLASSES);
}

/* x (N, 1, side, side) to logits (N, CLASSES). */
static ag_tensor network(const struct network *n, ag_tensor x)
{
    const ag_pool halve = {.kernel = 2};
    ag_tensor h = ag_relu(ag_max_pool2d(nn_conv_apply(&n->conv1, x), halve));
    h = ag_relu(ag_max_pool2d(nn_conv_apply(&n->conv2, h), halve));
    h = ag_reshape(h, AG_SHAPE(ag_shape_of(x).dim[0], -1));
    return nn_linear_apply(&n->out, nn_dropout(n->params, h, 0.25));
}

/* For nn_fit: the mean loss of these rows of the digits. */
static ag_tensor digits_loss(void *context, ag_tensor rows)
{
    const struct network *n = context;
    ag_tensor logits = network(n, digits_moved(ag_take(n->images, rows)));
    return nn_cross_entropy(logits, ag_take(n->labels, rows), NN_MEAN);
}

static bool fit(struct network *n, const struct digits *digits, nn_error *error)
{
    ag_tape *tape = nn_params_tape(n->params);
    int64_t count = (int64_t)digits->count, side = (int64_t)digits->side;
    n->images = ag_buffer(tape, "images", AG_SHAPE(count, 1, side, side));
    n->labels = ag_buffer(tape, "labels", AG_SHAPE(count));
    ag_set_f32(n->images, digits->images.f32, digits->images.count);
    ag_set_f32(n->labels, digits->labels.f32, digits->count);
    uint64_t steps = epochs * ((digits->count + BATCH - 1) / BATCH);
    nn_schedule schedule = {.kind = NN_COSINE, .rate = 0.008, .warmup = steps / 20, .total = steps};
    nn_split split;
    if (!nn_split_rows(&split, digits->count, 1.0, 0.0, nn_params_rng(n->params), error))
        return false;
    nn_fit_options options = {.params = n->params,
                              .optimizer = nn_optimizer_new(n->params, nn_adamw(0.0)),
                              .loss = digits_loss,
                              .context = n,
                              .split = &split,
                              .batch = BATCH,
                              .epochs = epochs,
                              .seed = seed,
                              .schedule = &schedule,
                              .progress = stdout};
    bool good = nn_fit(&options, NULL, error) != NN_FIT_FAILED;
    nn_split_free(&split);
    return good;
}

/* The class of each digit; predicted is (count). Recorded once, replayed for each batch; the last
 * one, if it were short, overlaps the one before. */
static bool predict(struct network *n, const struct digits *digits, float *predicted)
{
    ag_tape *tape = nn_params_tape(n->params);
    size_t pixels = digits->side * digits->side, batch = digits->count < BATCH ? 1 : BATCH;
    ag_tape_reset(tape);
    nn_set_training(n->params, false);
    int64_t side = (int64_t)digits->side;
    ag_tensor x = ag_input(tape, "x", AG_SHAPE((int64_t)batch, 1, side, side));
    ag_tensor class = ag_argmax(network(n, x), -1, false);
    for (size_t done = 0; done < digits->count; done += batch) {
        size_t from = done + batch > digits->count ? digits->count - batch : done;
        if (!ag_set_f32(x, digits->images.f32 + from * pixels, batch * pixels) ||
            !ag_replay(tape) || !ag_get_f32(class, predicted + from, batch))
            return false;
    }
    return true;
}

static bool fit_and_measure(struct network *n, const struct digits *train,
                            const struct digits *test, float *predicted, nn_error *error)
{
    printf("%zu digits of %zu by %zu pixels, %lld parameters\n", train->count, train->side,
           train->side, (long long)nn_params_elements(n->params));
    if (!fit(n, train, error))
        return false;
    if (!predict(n, test, predicted))
        return nn_fail(error, "%s", ag_error(nn_params_tape(n->params)));
    digits_report(test, predicted);
    return !svg || digits_picture(test, predicted, svg, error);
}

static bool run_on(const struct digits *train, const struct digits *test, nn_error *error)
{
    struct network n = {0};
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, seed);
    float *predicted = calloc(test->count, sizeof *predicted);
    bool good = params && predicted;
    if (good) {
        ag_seed(tape, seed);
        network_init(&n, params, (int64_t)train->side);
        good = fit_and_measure(&n, train, test, predicted, error);
    }
    free(predicted);
    ag_tape_free(tape);
    return good;
}

static int run(nn_error *error)
{
    struct digits train = {0}, test = {0};
    int status = MISTAKE;
    if (digits_get(&train, &test, data, seed, error))
        status = run_on(&train, &test, error) ? DONE : FAILED;
    digits_free(&train);
    digits_free(&test);
    return status;
}

int main(int count, char **arguments)
{
    const struct option options[] = {
        {"--data", "DIR", "where MNIST's four files are; without: drawn", &data, NULL, 0, 0},
        {"--epochs", "N", "walks over the training digits", NULL, &epochs, 1, 1000},
        {"--seed", "N", "of the drawings, the weights and the batches", NULL, &seed, 0, UINT64_MAX},
        {"--svg", "FILE", "draws some of the digits, mistakes first", &svg, NULL, 0, 0}};
    const struct command command = {"Trains a convolutional network to read digits.\n", options, 4,
                                    run};
    return command_main(&command, count, arguments);
}
