/* The network and its training program in words and pictures, instead of training. */
#ifndef HOUSING_EXPLAIN_H
#define HOUSING_EXPLAIN_H

#include "train.h"

/* Does what --summary, --explain, --dot and --dot-backward ask for, on the program of one batch.
 * False when there is an error, which has been told on stderr. */
bool explain(struct trainer *t, const struct options *options);

#endif
