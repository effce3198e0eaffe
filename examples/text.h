/* Text for char_gpt, and what a GPT is to beat. */
#ifndef EXAMPLES_TEXT_H
#define EXAMPLES_TEXT_H

#include <nn/nn.h>

/* A text as numbers of characters: byte i is alphabet[text[i]]. */
struct text {
    size_t count, characters;
    unsigned char alphabet[256]; /* (characters), ascending */
    unsigned char *text;         /* (count) */
};

void text_free(struct text *text); /* {0} is allowed */
bool text_read(struct text *text, const char *path, nn_error *error);

/* A text of so many characters that a grammar tells: see text.c. */
bool text_tell(struct text *text, size_t size, nn_error *error);

/* The mean of -log p of the characters from ... to-1 (from is 2 at least) under a trigram model of
 * the first `known`; NaN when out of memory. */
double text_trigram_loss(const struct text *text, size_t known, size_t from, size_t to);

#endif
