/* What all builds of the kernels share: it knows how large an element is, but not what it is. */
#ifndef TAPEGRAD_KERNELS_SHARED_H
#define TAPEGRAD_KERNELS_SHARED_H

#include "kernels.h"

/* z = operation(x, y, c) for n > 0 elements of z. Input i has n elements, too, if bit i of `mode`
 * is set, else one for all of them; above these bits is the operation. Inputs that it has not are
 * the first again. */
typedef void element_run(size_t n, const void *x, const void *y, const void *c, unsigned mode,
                         void *z);

/* Runs for an operation of so many inputs over rows with strides; `mode` is without its low bits.
 */
void kernels_broadcast(element_run *run, size_t element, size_t rows, size_t cols, int inputs,
                       const struct operand *const *in, unsigned mode, void *z);

/* What a build does of a reduction. columns: y[c] = x[0][c] + ... + x[rows-1][c] for c < cols, from
 * top to bottom; y may be x if cols is whole registers. line: y = x[0] + ... + x[n-1], in the order
 * of lanes. Both are at their best with `wide` elements, four registers. */
struct reduction {
    size_t element, wide;
    void (*columns)(size_t rows, size_t cols, size_t stride, const void *x, void *y,
                    enum reduce kind);
    void (*line)(size_t n, const void *x, void *y, enum reduce kind);
};

void kernels_reduce(const struct reduction *r, size_t outer, size_t n, size_t inner, const void *x,
                    void *y, enum reduce kind);

#endif
