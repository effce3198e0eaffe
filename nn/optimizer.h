/* What a checkpoint needs of an optimiser; not a public header. */
#ifndef TAPEGRAD_OPTIMIZER_H
#define TAPEGRAD_OPTIMIZER_H

#include "nn.h"

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
