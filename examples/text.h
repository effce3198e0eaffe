/* Text for char_gpt, and what a GPT is to beat. */
#ifndef EXAMPLES_TEXT_H
#define EXAMPLES_TEXT_H

#include <nn/nn.h>

/* A text as numbers of characters: byte i is alphabet[text[i]]. The first nine tenths are known;
 * the rest is to be foretold. */
struct text {
    size_t count, known, characters;
    unsigned char alphabet[256]; /* (characters), ascending */
    unsigned char *text;         /* (count) */
    nn_split windows;            /* where windows begin: to train on, and to validate with */
};

/* The file's text or, if the path is NULL, one that a grammar tells: see text.c. Windows are of
 * `length` characters, each with the one behind it: every `stride` in what is known, and side by
 * side in the rest. */
bool text_get(struct text *text, const char *path, size_t length, size_t stride, nn_error *error);
void text_free(struct text *text);

/* A buffer (count) with the characters' numbers. */
ag_tensor text_buffer(ag_tape *tape, const struct text *text);

/* One of the characters, drawn by their probabilities. */
size_t text_draw(const struct text *text, const float *probability, ag_rng *rng);

/* The mean of -log p, under a trigram model of what is known, of the characters that windows of
 * this length foretell in validation; NaN when out of memory. */
double text_trigram_loss(const struct text *text, size_t length);

/* An SVG of the losses of each epoch and the trigram model's. */
bool text_chart(const nn_history *history, double trigram, const char *path, nn_error *error);

#endif
