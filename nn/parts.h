/* What layers, optimisers and lists of parameters share; not a public header. */
#ifndef TAPEGRAD_PARTS_H
#define TAPEGRAD_PARTS_H

#include "nn.h"

enum { NN_NAME = 256 };

/* ag_fail, but false: for functions that return whether all went well. */
#define NN_FAIL(...) ag_valid(ag_fail(__VA_ARGS__))

/* "NAME.PART", or "PART" if the name is empty; false, with the sticky error, if that is too long or
 * the name is NULL. */
bool nn_join(const nn_params *params, char text[NN_NAME], const char *name, const char *part);

/* The parameter or, if so, buffer "NAME.PART", every element `value`. */
ag_tensor nn_part(nn_params *params, const char *name, const char *part, ag_shape shape,
                  double value);
ag_tensor nn_part_buffer(nn_params *params, const char *name, const char *part, ag_shape shape,
                         double value);

/* The parameter "NAME.PART", uniform within ±bound. */
ag_tensor nn_part_uniform(nn_params *params, const char *name, const char *part, ag_shape shape,
                          double bound);

/* The sticky error if `value` is not a size: "linear: NAME: in is 0; ...". What is made after it is
 * invalid, so there is nothing to return. */
void nn_check_size(const nn_params *params, const char *kind, const char *name, const char *what,
                   int64_t value);

/* Whether the tensor at `index` was made by nn_buffer. */
bool nn_params_is_buffer(const nn_params *params, size_t index);

/* Whether a name fits a pattern, in which '*' stands for any text. */
bool nn_name_fits(const char *name, const char *pattern);

/* Sets `to` to the values of `from`, a tensor of as many elements on the same tape. */
bool nn_assign(ag_tensor to, ag_tensor from);

/* to += fraction * (scale * from - to). */
bool nn_move(ag_tensor to, ag_tensor from, double fraction, double scale);

#endif
