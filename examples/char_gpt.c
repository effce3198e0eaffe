/* char_gpt: a character-level GPT learns a text, the program's own (text.c) or a file.
 *
 * Embeddings of characters and positions, transformer blocks, a norm and a linear layer (Radford et
 * al. 2019); Muon, a cosine schedule. The last tenth of the text is for validation, where a
 * trigram model of the rest is to be beaten. */
#include <string.h>

#include "chart.h"
#include "command.h"
#include "text.h"

enum { LENGTH = 64, WIDTH = 48, HEADS = 4, BLOCKS = 2, BATCH = 8, STRIDE = 20 };

static const char *data = NULL, *svg = NULL; /* options */
static uint64_t epochs = 5, length = 400, seed = 0;

struct gpt {
    nn_params *params;
    nn_embedding characters, positions;
    nn_transformer blocks[BLOCKS];
    nn_norm norm;
    nn_linear out;
    ag_tensor text; /* (count): the characters' numbers */
};

static void gpt_init(struct gpt *g, nn_params *params, const struct text *text)
{
    const nn_transformer_options options = {.heads = HEADS, .causal = true};
    int64_t characters = (int64_t)text->characters;
    g->params = params;
    g->characters = nn_embedding_new(params, "embed.characters", characters, WIDTH);
    g->positions = nn_embedding_new(params, "embed.positions", LENGTH, WIDTH);
    nn_init_normal(g->characters.weight, 0.0, 0.05, nn_params_rng(params));
    nn_init_normal(g->positions.weight, 0.0, 0.05, nn_params_rng(params));
    for (int i = 0; i < BLOCKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "blocks.%d", i);
        g->blocks[i] = nn_transformer_new(params, name, WIDTH, options);
    }
    g->norm = nn_layer_norm_new(params, "norm", WIDTH);
    g->out = nn_linear_new(params, "out", WIDTH, characters);
    g->text = text_buffer(nn_params_tape(params), text);
}

/* x (N, LENGTH), numbers of characters, to logits (N, LENGTH, characters) of what comes next. */
static ag_tensor gpt(const struct gpt *g, ag_tensor x)
{
    ag_tensor h = ag_add(nn_embedding_apply(&g->characters, x), g->positions.weight);
    for (int i = 0; i < BLOCKS; i++)
        h = nn_transformer_apply(&g->blocks[i], h);
    return nn_linear_apply(&g->out, nn_norm_apply(&g->norm, h));
}

/* For nn_fit: the mean loss of the windows of the text that begin at `starts` (N). */
static ag_tensor gpt_loss(void *context, ag_tensor starts)
{
    const struct gpt *g = context;
    ag_tensor next = ag_cumsum(ag_full(starts.tape, AG_SHAPE(LENGTH), 1.0), 0); /* 1, 2, 3 ... */
    next = ag_add(ag_reshape(starts, AG_SHAPE(-1, 1)), next);
    ag_tensor logits = gpt(g, ag_take(g->text, ag_sub_scalar(next, 1.0)));
    return nn_cross_entropy(logits, ag_take(g->text, next), NN_MEAN);
}

static bool train(struct gpt *g, const nn_split *windows, nn_history *history, nn_error *error)
{
    uint64_t steps = epochs * ((windows->train_count + BATCH - 1) / BATCH);
    nn_schedule schedule = {.kind = NN_COSINE, .rate = 0.012, .warmup = steps / 20, .total = steps};
    nn_optimizer *muon = nn_optimizer_new(g->params, nn_muon(0.0));
    nn_set_adamw(muon, "embed.*");
    nn_set_adamw(muon, "out.*");
    nn_fit_options options = {.params = g->params,
                              .optimizer = muon,
                              .loss = gpt_loss,
                              .context = g,
                              .split = windows,
                              .batch = BATCH,
                              .epochs = epochs,
                              .seed = seed,
                              .schedule = &schedule,
                              .progress = stdout};
    return nn_fit(&options, history, error) != NN_FIT_FAILED;
}

/* Goes on from the text's first character, at temperature 1/2. What is behind the last one so far
 * does not matter: attention is causal. */
static bool sample(const struct gpt *g, const struct text *text)
{
    ag_tape *tape = nn_params_tape(g->params);
    float window[LENGTH] = {text->text[0]};
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    putchar(text->alphabet[text->text[0]]);
    ag_tape_reset(tape);
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(1, LENGTH));
    ag_tensor probabilities = ag_softmax(ag_mul_scalar(gpt(g, x), 2.0), -1);
    for (size_t filled = 1, told = 0; told < length; told++) {
        if (!ag_set_f32(x, window, LENGTH) || !ag_replay(tape))
            return false;
        const float *last = ag_data_f32(probabilities) + (filled - 1) * text->characters;
        size_t next = text_draw(text, last, &rng);
        putchar(text->alphabet[next]);
        if (filled == LENGTH)
            memmove(window, window + 1, --filled * sizeof *window);
        window[filled++] = (float)next;
    }
    putchar('\n');
    return true;
}

static bool learn_and_tell(nn_params *params, const struct text *text, nn_error *error)
{
    struct gpt g;
    nn_history history;
    gpt_init(&g, params, text);
    if (!train(&g, &text->windows, &history, error))
        return false;
    double trigram = text_trigram_loss(text, LENGTH);
    printf("\nvalidation loss, in nats for each of %zu characters:\n"
           "    trigram %.3f\n    GPT     %.3f (%lld parameters)\n\n",
           text->windows.validation_count * LENGTH, trigram, history.validation[epochs - 1],
           (long long)nn_params_elements(params));
    if (!sample(&g, text))
        return nn_fail(error, "%s", ag_error(nn_params_tape(params)));
    return !svg || text_chart(&history, trigram, svg, error);
}

static int run(nn_error *error)
{
    struct text text;
    if (!text_get(&text, data, LENGTH, STRIDE, error))
        return MISTAKE;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, seed);
    bool good = params && learn_and_tell(params, &text, error);
    text_free(&text);
    ag_tape_free(tape);
    return good ? DONE : FAILED;
}

int main(int count, char **arguments)
{
    const struct option options[] = {
        {"--data", "FILE", "a text; without: the program's own", &data, NULL, 0, 0},
        {"--epochs", "N", "walks over the text", NULL, &epochs, 1, 1000},
        {"--sample", "N", "characters to write afterwards", NULL, &length, 0, 1000000},
        {"--seed", "N", "of weights, batches and sample", NULL, &seed, 0, UINT64_MAX},
        {"--svg", "FILE", "draws how the loss falls", &svg, NULL, 0, 0}};
    const struct command command = {"Trains a character-level GPT on a text.\n", options, 5, run};
    return command_main(&command, count, arguments);
}
