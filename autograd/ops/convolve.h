/* A kernel that moves over images, and the arithmetic of convolving with it. */
#ifndef TAPEGRAD_CONVOLVE_H
#define TAPEGRAD_CONVOLVE_H

#include "define.h"

/* One axis of the images: its size and the kernel's, how that moves, and in how many places it
 * stands. */
struct axis {
    int64_t size, kernel, stride, padding, dilation, places;
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
    int64_t kernel, taps, places;              /* taps: weights of an output */
    ag_shape shape[CONVOLVED];
};

/* x, w and y: one of them is the result, op->kernel (an enum convolved), and the operands are the
 * others: x and w, but y in the place of the one that is the result. */
static inline int place_of(int result, int operand)
{
    return operand == result ? OUTPUT : operand;
}

/* Of ops whose plan is a struct convolution. */
void convolve(ag_tape *tape, const struct record *r);
double convolve_work(const ag_tape *tape, const struct record *r);
size_t convolve_workspace(const ag_tape *tape, const struct convolution *c);

#endif
