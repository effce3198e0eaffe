/* What a good C programmer writes by hand for one network, to hold the engine against: the training
 * step of a perceptron with one hidden layer of sigmoids, mean squared error and plain gradient
 * descent, in float32, all in one pass over the rows. Compiled with -O3 -march=native -ffast-math,
 * which the engine does without. */
#ifndef TAPEGRAD_BENCH_HAND_H
#define TAPEGRAD_BENCH_HAND_H

#include <stddef.h>

enum { HAND_MOST_IN = 8, HAND_MOST_HIDDEN = 64 };

struct hand {
    size_t in, hidden;
    float w1[HAND_MOST_IN * HAND_MOST_HIDDEN]; /* (in, hidden) */
    float b1[HAND_MOST_HIDDEN], w2[HAND_MOST_HIDDEN], b2;
};

/* One step on x (n, in) and y (n); returns the loss before it. */
float hand_step(struct hand *net, size_t n, const float *x, const float *y, float rate);

/* The same with the shape known when compiling, as one writes it for a network that never changes.
 */
float hand_step_8_64(struct hand *net, size_t n, const float *x, const float *y, float rate);

#endif
