/* What layers, optimisers, lists of parameters and checkpoints share; not a public header. */
#ifndef TAPEGRAD_PARTS_H
#define TAPEGRAD_PARTS_H

#include "nn.h"

enum { NN_NAME = 256 };

/* ag_fail, but false: for functions that return whether all went well. */
#define NN_FAIL(...) ((void)ag_fail(__VA_ARGS__), false)

/* "NAME.PART", or "PART" if the name is empty; "", with the sticky error, if that is too long or
 * the name is NULL. */
struct nn_joined {
    char text[NN_NAME];
};
struct nn_joined nn_join(const nn_params *params, const char *name, const char *part);

/* The parameter "NAME.PART", zeros. */
ag_tensor nn_part(nn_params *params, const char *name, const char *part, ag_shape shape);

/* The parameter "NAME.PART", uniform within ±bound. */
ag_tensor nn_part_uniform(nn_params *params, const char *name, const char *part, ag_shape shape,
                          double bound);

/* The sticky error if `value` is not a size: "linear: NAME: in is 0; ...". What is made after it is
 * invalid, so there is nothing to return. */
void nn_check_size(const nn_params *params, const char *kind, const char *name, const char *what,
                   int64_t value);

/* The sticky error that a layer to be applied is NULL, or was never made. */
ag_tensor nn_no_layer(ag_tape *tape);

/* Whether the tensor at `index` was made by nn_buffer. */
bool nn_params_is_buffer(const nn_params *params, size_t index);

/* Whether a name fits a pattern, in which '*' stands for any text; and whether any was found to,
 * else with the sticky error. */
bool nn_name_fits(const char *name, const char *pattern);
bool nn_some_fit(ag_tape *tape, const char *who, const char *pattern, size_t found);

/* Sets `to` to the values of `from`, a tensor of as many elements on the same tape. */
bool nn_assign(ag_tensor to, ag_tensor from);

/* to += fraction * (scale * from - to). */
bool nn_move(ag_tensor to, ag_tensor from, double fraction, double scale);

/* ---- Of optimisers ---- */

nn_options nn_optimizer_options(const nn_optimizer *optimizer);

/* The same checks as when it was made; on an error, which sticks to the tape, nothing changes. */
bool nn_optimizer_set_options(nn_optimizer *optimizer, nn_options options);

/* The state tensors of parameter `index` (none of a buffer), made if they are not there yet, and
 * where its count of updates is; NULL when out of memory or when the optimiser has no such
 * parameter. */
const ag_tensor *nn_optimizer_state(nn_optimizer *optimizer, size_t index, int *count,
                                    uint64_t **step);

/* A tape that lives as long as this one; and what muon makes of a matrix. */
ag_tape *nn_tape_beside(ag_tape *tape);
ag_tensor nn_orthogonal(ag_tensor g);

#endif
