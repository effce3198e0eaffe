/* char_gpt: a character-level GPT learns a text, the program's own (text.c) or a file.
 *
 * Embeddings of characters and positions, transformer blocks, a norm and a linear layer (Radford et
 * al. 2019); AdamW, a cosine schedule. The last tenth of the text is for validation, where a
 * trigram model of the rest is to be beaten. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "text.h"

enum { LENGTH = 64, WIDTH = 48, HEADS = 4, BLOCKS = 2, BATCH = 8, TOLD = 20000 };

struct gpt {
    nn_params *params;
    nn_embedding characters, positions;
    nn_transformer blocks[BLOCKS];
    nn_norm norm;
    nn_linear out;
    ag_tensor range; /* (LENGTH): 0, 1, 2 ... */
    ag_tensor text;  /* (count): the characters' numbers */
};

static double next_number(void *context)
{
    double *number = context;
    return (*number)++;
}

static double next_character(void *context)
{
    const unsigned char **at = context;
    return *(*at)++;
}

static void gpt_init(struct gpt *g, nn_params *params, const struct text *text)
{
    const nn_transformer_options options = {.heads = HEADS, .causal = true};
    int64_t characters = (int64_t)text->characters;
    double zero = 0.0;
    const unsigned char *first = text->text;
    g->params = params;
    g->characters = nn_embedding_new(params, "characters", characters, WIDTH);
    g->positions = nn_embedding_new(params, "positions", LENGTH, WIDTH);
    nn_init_normal(g->characters.weight, 0.0, 0.05, nn_params_rng(params));
    nn_init_normal(g->positions.weight, 0.0, 0.05, nn_params_rng(params));
    for (int i = 0; i < BLOCKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "blocks.%d", i);
        g->blocks[i] = nn_transformer_new(params, name, WIDTH, options);
    }
    g->norm = nn_layer_norm_new(params, "norm", WIDTH);
    g->out = nn_linear_new(params, "out", WIDTH, characters);
    g->range = ag_buffer(nn_params_tape(params), "range", AG_SHAPE(LENGTH));
    g->text = ag_buffer(nn_params_tape(params), "text", AG_SHAPE((int64_t)text->count));
    ag_set_each(g->range, next_number, &zero);
    ag_set_each(g->text, next_character, &first);
}

/* x (N, LENGTH), numbers of characters, to the logits of what comes after each, (N, LENGTH,
 * characters). */
static ag_tensor gpt(const struct gpt *g, ag_tensor x)
{
    ag_tensor h =
        ag_add(nn_embedding_apply(&g->characters, x), nn_embedding_apply(&g->positions, g->range));
    for (int i = 0; i < BLOCKS; i++)
        h = nn_transformer_apply(&g->blocks[i], h);
    return nn_linear_apply(&g->out, nn_norm_apply(&g->norm, h));
}

/* The mean loss of the windows of the text that begin at `starts` (N, 1). */
static ag_tensor gpt_loss(const struct gpt *g, ag_tensor starts)
{
    ag_tensor places = ag_add(starts, g->range);
    ag_tensor logits = gpt(g, ag_take(g->text, places));
    return nn_cross_entropy(logits, ag_take(g->text, ag_add_scalar(places, 1.0)), NN_MEAN);
}

/* Windows begin anywhere in the first `known` characters. */
static bool train(struct gpt *g, size_t known, uint64_t steps, uint64_t seed)
{
    ag_tape *tape = nn_params_tape(g->params);
    nn_options options = nn_adamw(0.0);
    options.beta2 = 0.99;
    nn_optimizer *adam = nn_optimizer_new(g->params, options);
    nn_schedule schedule = {.kind = NN_COSINE, .rate = 0.005, .warmup = steps / 20, .total = steps};
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    ag_tensor starts = ag_input(tape, "starts", AG_SHAPE(BATCH, 1));
    ag_tensor loss = gpt_loss(g, starts);
    if (!ag_backward(loss))
        return false;
    for (uint64_t step = 0; step < steps; step++) {
        float at[BATCH];
        for (int i = 0; i < BATCH; i++)
            at[i] = (float)ag_rng_below(&rng, known - LENGTH);
        if (!ag_set_f32(starts, at, BATCH) || !ag_replay(tape) ||
            !nn_set_rate(adam, nn_schedule_rate(&schedule, step)) || !nn_step(adam))
            return false;
        if (step % (steps / 8 + 1) == 0)
            printf("step %5llu: loss %.3f\n", (unsigned long long)step, ag_item(loss));
    }
    return true;
}

/* The mean loss of the characters from+1 ... from + windows*LENGTH. */
static bool validate(struct gpt *g, size_t from, size_t windows, double *mean)
{
    ag_tape *tape = nn_params_tape(g->params);
    ag_tape_reset(tape);
    ag_tensor start = ag_input(tape, "start", AG_SHAPE(1, 1)), loss = gpt_loss(g, start);
    *mean = 0.0;
    for (size_t i = 0; i < windows; i++) {
        if (!ag_set_f32(start, &(float){(float)(from + i * LENGTH)}, 1) || !ag_replay(tape))
            return false;
        *mean += ag_item(loss) / (double)windows;
    }
    return true;
}

/* Drawn from softmax(logits / temperature). */
static size_t draw(const float *logits, size_t count, double temperature, ag_rng *rng)
{
    double most = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < count; i++)
        sum += exp(((double)logits[i] - most) / temperature);
    double left = sum * ag_rng_uniform(rng);
    size_t i = 0;
    while (i + 1 < count && (left -= exp(((double)logits[i] - most) / temperature)) >= 0.0)
        i++;
    return i;
}

/* Goes on from the text's first character. What is behind the last one so far does not matter:
 * attention is causal. */
static bool sample(struct gpt *g, const struct text *text, uint64_t count, uint64_t seed)
{
    ag_tape *tape = nn_params_tape(g->params);
    float window[LENGTH] = {text->text[0]};
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    putchar(text->alphabet[text->text[0]]);
    ag_tape_reset(tape);
    ag_tensor x = ag_input(tape, "x", AG_SHAPE(1, LENGTH)), logits = gpt(g, x);
    for (size_t filled = 1; count > 0; count--) {
        if (!ag_set_f32(x, window, LENGTH) || !ag_replay(tape))
            return false;
        const float *last = ag_data_f32(logits) + (filled - 1) * text->characters;
        size_t next = draw(last, text->characters, 0.5, &rng);
        putchar(text->alphabet[next]);
        if (filled == LENGTH)
            memmove(window, window + 1, --filled * sizeof *window);
        window[filled++] = (float)next;
    }
    putchar('\n');
    return true;
}

static bool run(const struct text *text, uint64_t steps, uint64_t count, uint64_t seed)
{
    size_t known = text->count * 9 / 10, windows = (text->count - known - 1) / LENGTH;
    double loss, trigram;
    struct gpt g;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = tape ? nn_params_new(tape, seed) : NULL;
    if (params)
        gpt_init(&g, params, text);
    bool good = params && train(&g, known, steps, seed) && validate(&g, known, windows, &loss);
    if (good) {
        trigram = text_trigram_loss(text, known, known + 1, known + 1 + windows * LENGTH);
        printf("\nvalidation loss, in nats for each of %zu characters:\n"
               "    trigram %.3f\n    GPT     %.3f (%lld parameters)\n\n",
               windows * LENGTH, trigram, loss, (long long)nn_params_elements(params));
        good = sample(&g, text, count, seed);
    }
    if (!good)
        fprintf(stderr, "char_gpt: %s\n", tape ? ag_error(tape) : "out of memory");
    ag_tape_free(tape);
    return good;
}

int main(int count, char **arguments)
{
    const char *data = NULL;
    uint64_t steps = 800, length = 400, seed = 0;
    const struct option options[] = {
        {"--data", "FILE", "a text; without: the program's own", &data, NULL, 0, 0},
        {"--steps", "N", "steps of training", NULL, &steps, 1, 1000000},
        {"--sample", "N", "characters to write afterwards", NULL, &length, 0, 1000000},
        {"--seed", "N", "of weights, batches and sample", NULL, &seed, 0, UINT64_MAX}};
    int status;
    if (!command_parse("Trains a character-level GPT on a text.\n", options,
                       sizeof options / sizeof *options, count, arguments, &status))
        return status;
    struct text text;
    nn_error error;
    bool good = data ? text_read(&text, data, &error) : text_tell(&text, TOLD, &error);
    status = MISTAKE;
    if (good && text.count < 20 * LENGTH)
        fprintf(stderr, "char_gpt: %s: %zu bytes; there must be %d at least\n", data, text.count,
                20 * LENGTH);
    else if (good)
        status = run(&text, steps, length, seed) ? DONE : FAILED;
    else
        fprintf(stderr, "char_gpt: %s\n", error.text);
    if (good)
        text_free(&text);
    return command_finish("char_gpt", status);
}
