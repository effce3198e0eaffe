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

/* The digits to train on and those to test with: drawn by the program (digits.c tells how), or
 * those of MNIST's files in the directory, train-images-idx3-ubyte and so on, perhaps with .gz
 * behind. */
bool digits_get(struct digits *train, struct digits *test, const char *directory, uint64_t seed,
                nn_error *error);

/* Images (N, 1, side, side), each moved by up to a pixel either way, anew each time: more to train
 * on. */
ag_tensor digits_moved(ag_tensor images);

/* Prints how often each digit (row) was taken for another (column), and the accuracy; predicted is
 * (count). */
void digits_report(const struct digits *digits, const float *predicted);

/* An SVG of the first digits, those that were taken for another before the others and marked. */
bool digits_picture(const struct digits *digits, const float *predicted, const char *path,
                    nn_error *error);

#endif
