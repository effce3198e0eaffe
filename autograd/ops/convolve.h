/* A kernel that moves over images, and the arithmetic of convolving with it. */
#ifndef TAPEGRAD_CONVOLVE_H
#define TAPEGRAD_CONVOLVE_H

#include "define.h"

/* One axis of the images: the kernel's size, how it moves, and in how many places it stands. */
struct axis {
    int64_t kernel, stride, padding, dilation, places;
};

/* From begin to end-1. */
struct span {
    int64_t begin, end;
};

/* A kernel over `count` axes, as the user sees it; axis holds always two. */
struct window {
    int count;
    struct axis axis[2];
};

/* y (N, groups * outputs, places) = x (N, groups * channels, size) * w (groups * outputs, channels,
 * kernel). It is linear in both, so that three ops are each other's gradients: each makes one of
 * the three of the other two. */
enum convolved { INPUT, WEIGHTS, OUTPUT, CONVOLVED };

/* What is constant about it. */
struct convolution {
    struct window window;
    int64_t images, groups, channels, outputs; /* the last two of a group */
    int64_t size[2], kernel, taps, places;     /* taps: weights of an output */
    ag_shape shape[CONVOLVED];
};

/* The result is written, the others are only read. */
void convolve(ag_tape *tape, const struct convolution *c, enum convolved result, void *const *data);

size_t convolve_workspace(const ag_tape *tape, const struct convolution *c);
double convolve_work(const struct convolution *c); /* nanoseconds, about */

#endif
