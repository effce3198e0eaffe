/* Images of digits for digits_cnn: drawn by the program, or MNIST's; and a picture of some. */
#ifndef EXAMPLES_DIGITS_H
#define EXAMPLES_DIGITS_H

#include <nn/nn.h>

struct digits {
    size_t count, side;
    nn_array images; /* (count, side, side): 0 is paper, 1 is ink */
    nn_array labels; /* (count): 0 to 9 */
};

void digits_free(struct digits *digits); /* {0} is allowed */

/* Draws so many digits of 16 by 16 pixels: see digits.c. */
bool digits_draw(struct digits *digits, size_t count, ag_rng *rng, nn_error *error);

/* Reads directory/NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte, perhaps with .gz behind. */
bool digits_read(struct digits *digits, const char *directory, const char *name, nn_error *error);

/* An SVG of the first digits, those that were taken for another before the others and marked;
 * predicted is (count). */
bool digits_picture(const struct digits *digits, const float *predicted, const char *path,
                    nn_error *error);

#endif
