/* A tape beside the network's, for programs that are recorded once and replayed at each step. And
 * what Muon makes there of a matrix of momenta (Jordan et al. 2024, "Muon: an optimizer for hidden
 * layers in neural networks"): nearly the orthogonal matrix that is closest to it. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include <string.h>

#include "parts.h"

/* From the network's tape, which frees it. */
static void *from_tape(void *tape, void *block, size_t old_size, size_t size)
{
    void *more = size ? ag_allocate(tape, size) : NULL;
    if (more && block)
        memcpy(more, block, old_size < size ? old_size : size);
    return more;
}

ag_tape *nn_tape_beside(ag_tape *tape)
{
    ag_tape *beside = ag_tape_new_with(ag_tape_dtype(tape), from_tape, tape);
    ag_set_threads(beside, 1); /* more would have to be ended */
    return beside;
}

/* Five steps of a Newton-Schulz iteration, x = a x + b (x xᵀ) x + c (x xᵀ)² x, which drive the
 * singular values of g / |g|, all at most 1, to between about 0.7 and 1.2. */
ag_tensor nn_orthogonal(ag_tensor g)
{
    const double a = 3.4445, b = -4.7750, c = 2.0315;
    ag_shape shape = ag_shape_of(g);
    bool tall = shape.dim[0] > shape.dim[1];
    ag_tensor norm = ag_sqrt(ag_sum(ag_square(g)));
    ag_tensor x = ag_div(tall ? ag_transpose(g) : g, ag_add_scalar(norm, 1e-7));
    for (int i = 0; i < 5; i++) {
        ag_tensor square = ag_matmul(x, ag_transpose(x));
        ag_tensor both =
            ag_add(ag_mul_scalar(square, b), ag_mul_scalar(ag_matmul(square, square), c));
        x = ag_add(ag_mul_scalar(x, a), ag_matmul(both, x));
    }
    return tall ? ag_transpose(x) : x;
}
