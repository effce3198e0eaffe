/* The text of char_gpt, and a trigram model of it. */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"

enum { BYTES = 256, MOST = 1 << 24, TOLD = 20000 }; /* float32 tells MOST positions apart */

void text_free(struct text *text)
{
    free(text->text);
    nn_split_free(&text->windows);
}

/* Numbers the characters that there are, by their order. */
static void number(struct text *text)
{
    unsigned char numbers[BYTES] = {0};
    for (size_t i = 0; i < text->count; i++)
        numbers[text->text[i]] = 1;
    for (size_t byte = 0; byte < BYTES; byte++)
        if (numbers[byte]) {
            numbers[byte] = (unsigned char)text->characters;
            text->alphabet[text->characters++] = (unsigned char)byte;
        }
    for (size_t i = 0; i < text->count; i++)
        text->text[i] = numbers[text->text[i]];
    text->known = text->count * 9 / 10;
}

/* Of a pipe, too: reads until there is no more. */
static bool read_all(struct text *text, FILE *file, const char *path, nn_error *error)
{
    for (size_t size = 1 << 16; text->count <= MOST; size *= 2) {
        unsigned char *more = realloc(text->text, size);
        if (!more)
            return nn_fail(error, "%s: out of memory", path);
        text->text = more;
        text->count += fread(more + text->count, 1, size - text->count, file);
        if (ferror(file))
            return nn_fail(error, "%s: %s", path, strerror(errno));
        if (text->count < size)
            break;
    }
    return text->count <= MOST || nn_fail(error, "%s: more than %d bytes", path, MOST);
}

static bool read_text(struct text *text, const char *path, nn_error *error)
{
    FILE *file = fopen(path, "rb");
    bool good =
        file ? read_all(text, file, path, error) : nn_fail(error, "%s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    return good;
}

/* ---- A text told by a grammar ---- */

/* A capital in an alternative stands for what its own rule gives, drawn by lot; S is a sentence. */
static const struct rule {
    char symbol;
    const char *alternatives;
} rules[] = {
    {'S', "W F the T. |W went to the P and F the T. |when W came to the P, O. |on the J day O. |"
          "\"who F my T?\" asked W. |\"it was W,\" said Y, \"by the P.\" |W and Y met at the P. |"
          "behind the P stood a A N with the T. |nobody but W knew where the T was. |"
          "so W gave the T to Y. "},
    {'W', "the A N|the N|the N|the N of the P"},
    {'Y', "the N|the A N"},
    {'N', "miller|gardener|ferryman|blacksmith|fisherman|shepherd|carpenter|watchmaker"},
    {'A', "silent|young|quiet|clever|hungry|patient|wandering|forgotten"},
    {'P', "river|market|windmill|harbour|forest|mountain|lighthouse|orchard"},
    {'T', "lantern|silver key|kettle|wooden boat|ladder|copper bell|blanket|golden thread"},
    {'F', "found|carried|mended|hid|sold|borrowed|remembered|painted"},
    {'J', "first|second|third|seventh|last"},
    {'O', "the rain began|the wind fell|the bells rang|the snow melted|W F the T"},
};

/* Appends what the symbol stands for, up to the text's size. */
static void tell(struct text *text, size_t size, char symbol, ag_rng *rng)
{
    const struct rule *rule = rules;
    while (rule->symbol != symbol)
        rule++;
    const char *at = rule->alternatives;
    uint64_t count = 1;
    for (const char *c = at; *c; c++)
        count += *c == '|';
    for (uint64_t chosen = ag_rng_below(rng, count); chosen > 0; chosen--)
        at = strchr(at, '|') + 1;
    for (; *at && *at != '|'; at++)
        if (*at >= 'A' && *at <= 'Z')
            tell(text, size, *at, rng);
        else if (text->count < size)
            text->text[text->count++] = (unsigned char)*at;
}

static bool tell_text(struct text *text, size_t size, nn_error *error)
{
    ag_rng rng;
    ag_rng_seed(&rng, 0);
    text->text = malloc(size);
    if (!text->text)
        return nn_fail(error, "out of memory");
    for (size_t sentence = 1; text->count < size; sentence++) {
        unsigned char *start = text->text + text->count;
        tell(text, size, 'S', &rng);
        start += *start == '"';
        *start = (unsigned char)toupper(*start);
        if (sentence % 5 == 0)
            text->text[text->count - 1] = '\n';
    }
    return true;
}

/* ---- For training ---- */

static bool find_windows(struct text *text, size_t length, size_t stride, nn_error *error)
{
    size_t train = (text->known - length) / stride;
    size_t validation = (text->count - text->known - 1) / length;
    uint32_t *starts = malloc((train + validation) * sizeof *starts);
    if (!starts)
        return nn_fail(error, "out of memory");
    for (size_t i = 0; i < train; i++)
        starts[i] = (uint32_t)(i * stride);
    for (size_t i = 0; i < validation; i++)
        starts[train + i] = (uint32_t)(text->known + i * length);
    text->windows = (nn_split){.train = starts,
                               .train_count = train,
                               .validation = starts + train,
                               .validation_count = validation};
    return true;
}

bool text_get(struct text *text, const char *path, size_t length, size_t stride, nn_error *error)
{
    size_t least = 20 * length;
    *text = (struct text){0};
    bool good = path ? read_text(text, path, error) : tell_text(text, TOLD, error);
    if (good && text->count < least)
        good =
            nn_fail(error, "%s: %zu bytes; there must be %zu at least", path, text->count, least);
    if (good)
        number(text);
    good = good && find_windows(text, length, stride, error);
    if (!good)
        text_free(text);
    return good;
}

static double next_character(void *context)
{
    const unsigned char **at = context;
    return *(*at)++;
}

ag_tensor text_buffer(ag_tape *tape, const struct text *text)
{
    const unsigned char *first = text->text;
    ag_tensor buffer = ag_buffer(tape, "text", AG_SHAPE((int64_t)text->count));
    ag_set_each(buffer, next_character, &first);
    return buffer;
}

size_t text_draw(const struct text *text, const float *probability, ag_rng *rng)
{
    double left = ag_rng_uniform(rng);
    size_t i = 0;
    while (i + 1 < text->characters && (left -= (double)probability[i]) >= 0.0)
        i++;
    return i;
}

/* ---- The trigram model ----
 *
 * Witten-Bell smoothing (Witten & Bell 1991, method C), interpolated with the bigrams, those with
 * the single characters and those with equal chances: p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) +
 * t(h)), where n counts, t(h) is how many different characters came after h, and h' is h without
 * its first. */

static double interpolate(const uint32_t *followers, size_t characters, size_t c, double lower)
{
    double total = 0.0, kinds = 0.0;
    for (size_t i = 0; i < characters; i++) {
        total += followers[i];
        kinds += followers[i] > 0;
    }
    return total > 0.0 ? (followers[c] + kinds * lower) / (total + kinds) : lower;
}

double text_trigram_loss(const struct text *text, size_t length)
{
    size_t v = text->characters, from = text->known + 1;
    size_t to = from + text->windows.validation_count * length;
    const unsigned char *t = text->text;
    double sum = 0.0;
    uint32_t *one = calloc(v + v * v + v * v * v, sizeof *one);
    if (!one)
        return (double)NAN;
    uint32_t *two = one + v, *three = two + v * v;
    for (size_t i = 2; i < text->known; i++) {
        one[t[i]]++;
        two[t[i - 1] * v + t[i]]++;
        three[(t[i - 2] * v + t[i - 1]) * v + t[i]]++;
    }
    for (size_t i = from; i < to; i++) {
        double p = interpolate(one, v, t[i], 1.0 / (double)v);
        p = interpolate(two + t[i - 1] * v, v, t[i], p);
        p = interpolate(three + (t[i - 2] * v + t[i - 1]) * v, v, t[i], p);
        sum -= log(p);
    }
    free(one);
    return sum / (double)(to - from);
}

bool text_chart(const nn_history *history, double trigram, const char *path, nn_error *error)
{
    char last[32];
    double *level = malloc(history->epochs * sizeof *level), most = trigram;
    if (!level)
        return nn_fail(error, "out of memory");
    for (size_t i = 0; i < history->epochs; i++) {
        level[i] = trigram;
        most = fmax(most, fmax(history->train[i], history->validation[i]));
    }
    snprintf(last, sizeof last, "epoch %zu", history->epochs);
    const struct chart_line lines[] = {{"training", CHART_BLUE, CHART_PLAIN, history->train},
                                       {"validation", CHART_ORANGE, CHART_PLAIN,
                                        history->validation},
                                       {"a trigram model's validation (dashed)", CHART_GREY,
                                        CHART_DASHED, level}};
    const struct chart_panel panel = {0.0, most, 300, 3, lines};
    const struct chart chart = {"What a GPT does not foresee, in nats for each character",
                                "epoch 1",
                                last,
                                history->epochs,
                                1,
                                &panel};
    bool drawn = chart_write(&chart, path, error);
    free(level);
    return drawn;
}
