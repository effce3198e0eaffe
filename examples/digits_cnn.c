/* digits_cnn: a small convolutional network learns to read digits, drawn by the program itself
 * (digits.c) or MNIST's.
 *
 * Two convolutions, each with a pooling that halves the image, and a linear layer; cross-entropy,
 * AdamW, a cosine schedule. */
#include <stdlib.h>

#include "command.h"
#include "digits.h"

enum { BATCH = 50, DRAWN = 5000, HELD_OUT = 2000, CHANNELS = 16, CLASSES = 10 };

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
    ag_tensor logits = network(n, ag_take(n->images, rows));
    return nn_cross_entropy(logits, ag_take(n->labels, rows), NN_MEAN);
}

static bool fit(struct network *n, const struct digits *digits, uint64_t epochs, uint64_t seed,
                nn_error *error)
{
    ag_tape *tape = nn_params_tape(n->params);
    int64_t count = (int64_t)digits->count, side = (int64_t)digits->side;
    n->images = ag_buffer(tape, "images", AG_SHAPE(count, 1, side, side));
    n->labels = ag_buffer(tape, "labels", AG_SHAPE(count));
    ag_set_f32(n->images, digits->images.f32, digits->images.count);
    ag_set_f32(n->labels, digits->labels.f32, digits->count);
    uint64_t steps = epochs * ((digits->count + BATCH - 1) / BATCH);
    nn_schedule schedule = {.kind = NN_COSINE, .rate = 0.004, .warmup = steps / 20, .total = steps};
    nn_split split = {.train = malloc(digits->count * sizeof(uint32_t)),
                      .train_count = digits->count};
    for (size_t i = 0; split.train && i < digits->count; i++)
        split.train[i] = (uint32_t)i;
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
    nn_history history;
    bool good = split.train ? nn_fit(&options, &history, error) != NN_FIT_FAILED
                            : nn_fail(error, "out of memory");
    free(split.train);
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

/* Prints the accuracy and how often a digit (row) was taken for another (column). */
static void report(const struct digits *digits, const float *predicted)
{
    size_t taken[CLASSES][CLASSES] = {0}, right = 0;
    for (size_t i = 0; i < digits->count; i++) {
        taken[(int)digits->labels.f32[i]][(int)predicted[i]]++;
        right += digits->labels.f32[i] == predicted[i];
    }
    printf("\n%12s", "taken for");
    for (int i = 0; i < CLASSES; i++)
        printf("%5d", i);
    for (int label = 0; label < CLASSES; label++) {
        printf("\n%12d", label);
        for (int i = 0; i < CLASSES; i++)
            taken[label][i] ? printf("%5zu", taken[label][i]) : printf("%5s", ".");
    }
    printf("\n\naccuracy: %.2f%% (%zu of %zu digits that training has not seen)\n",
           100.0 * (double)right / (double)digits->count, right, digits->count);
}

static bool run(const struct digits *train, const struct digits *test, uint64_t epochs,
                uint64_t seed, const char *svg, nn_error *error)
{
    struct network n = {0};
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = tape ? nn_params_new(tape, seed) : NULL;
    float *predicted = calloc(test->count, sizeof *predicted);
    bool good = params && predicted;
    if (good) {
        ag_seed(tape, seed);
        network_init(&n, params, (int64_t)train->side);
        printf("%zu digits of %zu by %zu pixels, %lld parameters\n", train->count, train->side,
               train->side, (long long)nn_params_elements(params));
        good = fit(&n, train, epochs, seed, error);
        if (good && !predict(&n, test, predicted))
            good = nn_fail(error, "%s", ag_error(tape));
    }
    if (good) {
        report(test, predicted);
        good = !svg || digits_picture(test, predicted, svg, error);
    }
    free(predicted);
    ag_tape_free(tape);
    return good;
}

int main(int count, char **arguments)
{
    const char *data = NULL, *svg = NULL;
    uint64_t epochs = 6, seed = 0;
    const struct option options[] = {
        {"--data", "DIR", "where MNIST's four files are; without: drawn", &data, NULL, 0, 0},
        {"--epochs", "N", "walks over the training digits", NULL, &epochs, 1, 1000},
        {"--seed", "N", "of the drawings, the weights and the batches", NULL, &seed, 0, UINT64_MAX},
        {"--svg", "FILE", "draws some of the digits, mistakes first", &svg, NULL, 0, 0}};
    int status;
    if (!command_parse("Trains a convolutional network to read digits.\n", options,
                       sizeof options / sizeof *options, count, arguments, &status))
        return status;
    struct digits train = {0}, test = {0};
    nn_error error = {"out of memory"};
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    bool good = data ? digits_read(&train, data, "train", &error) &&
                           digits_read(&test, data, "t10k", &error)
                     : digits_draw(&train, DRAWN, &rng, &error) &&
                           digits_draw(&test, HELD_OUT, &rng, &error);
    status = MISTAKE;
    if (good && test.side != train.side)
        good = nn_fail(&error, "%s: training and test images differ in size", data);
    if (good) {
        good = run(&train, &test, epochs, seed, svg, &error);
        status = good ? DONE : FAILED;
    }
    if (!good)
        fprintf(stderr, "digits_cnn: %s\n", error.text);
    digits_free(&train);
    digits_free(&test);
    return command_finish("digits_cnn", status);
}
