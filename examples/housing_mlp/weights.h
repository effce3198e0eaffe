/* The files of --save, --load and --resume.
 *
 * A file of weights is safetensors: W1, b1, W2 ..., and features.mean (8), features.scale,
 * price.mean (1) and price.scale, by which data was standardised; its metadata name the activation.
 * A checkpoint has what else training needs to go on with the same bits, and the options that it
 * was made with. */
#ifndef HOUSING_WEIGHTS_H
#define HOUSING_WEIGHTS_H

#include "train.h"

/* Adds to the parameters what the files hold beside them, if there are to be files; before the
 * optimiser is made. False with the sticky error. */
bool weights_prepare(struct trainer *t);

/* Before training: takes the weights of --load, and standardises the houses as they want it; or
 * goes on from the checkpoint of --resume, if there is one. As the others, tells on stderr what is
 * wrong when it returns false. */
bool weights_begin(struct trainer *t, struct houses *houses);

bool weights_save(const struct trainer *t, const char *path);

/* Writes the checkpoint of --resume. */
bool weights_checkpoint(struct trainer *t);

#endif
