/* The loss curve as an SVG picture. */
#ifndef HOUSING_CURVE_H
#define HOUSING_CURVE_H

#include "train.h"

/* Writes the picture. `caption` is plain ASCII without markup. False with a message on stderr. */
bool curve_write(const char *path, const struct history *history, const char *caption);

#endif
