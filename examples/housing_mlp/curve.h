/* The loss curve as an SVG picture. */
#ifndef HOUSING_CURVE_H
#define HOUSING_CURVE_H

#include "train.h"

/* Whether a file can be written there: it is tried out and nothing is left behind. Otherwise tells
 * on stderr why not. */
bool curve_check(const char *path);

/* Writes the picture, first under another name beside `path`, so that `path` is never half a
 * picture. `caption` is plain ASCII without markup. False with a message on stderr. */
bool curve_write(const char *path, const struct history *history, const char *caption);

#endif
