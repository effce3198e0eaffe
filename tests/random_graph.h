/* Random programs over all ops of the table, the same for the same seeds: leaves of random shapes,
 * a few ops on them and on each other, a loss, its gradients, and a second backward pass through
 * those. */
#ifndef TAPEGRAD_RANDOM_GRAPH_H
#define TAPEGRAD_RANDOM_GRAPH_H

#include "autograd/autograd.h"

enum { GRAPH_LEAVES = 16, GRAPH_TENSORS = 16 };

struct graph {
    ag_tape *tape;
    ag_rng rng;
    bool lasting; /* some leaves are parameters or buffers; else all are inputs */
    uint64_t data;
    ag_tensor leaf[GRAPH_LEAVES], gradient[GRAPH_LEAVES], tensor[GRAPH_TENSORS];
    int leaves, tensors;
    ag_tensor loss, second; /* second: of the squared gradients of loss */
};

/* Records it; on error the tape says so. `data` chooses the leaves' values, `seed` all else. */
void graph_build(struct graph *g, ag_tape *tape, bool lasting, uint64_t seed, uint64_t data);

/* Other values for the leaves. */
void graph_set(struct graph *g, uint64_t data);

#endif
