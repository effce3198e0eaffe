/* The network of housing_mlp. */
#ifndef HOUSING_PERCEPTRON_H
#define HOUSING_PERCEPTRON_H

#include <nn/nn.h>

#include "options.h"

struct perceptron {
    size_t hidden;               /* number of hidden layers */
    ag_tensor w[MAX_HIDDEN + 1]; /* W1, W2 ...: (units before, units after) */
    ag_tensor b[MAX_HIDDEN + 1]; /* b1, b2 ...: (1, units after) */
    ag_tensor (*activation)(ag_tensor);
};

/* Makes and initialises the parameters: weights after Glorot (sigmoid, tanh) or He (relu), biases
 * 0. False with the sticky error. */
bool perceptron_init(struct perceptron *p, nn_params *params, size_t inputs,
                     const struct options *options);

/* x (n, inputs); returns (n, 1). */
ag_tensor perceptron(const struct perceptron *p, ag_tensor x);

#endif
