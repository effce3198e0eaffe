#include "perceptron.h"

/* y = sigmoid(X·W1 + b1)·W2 + b2, and with more hidden layers the inner form repeats */
ag_tensor perceptron(const struct perceptron *p, ag_tensor x)
{
    ag_tensor h = x;
    for (size_t i = 0; i < p->hidden; i++)
        h = p->activation(ag_add(ag_matmul(h, p->w[i]), p->b[i]));
    return ag_add(ag_matmul(h, p->w[p->hidden]), p->b[p->hidden]);
}

bool perceptron_init(struct perceptron *p, nn_params *params, size_t inputs,
                     const struct options *options)
{
    static ag_tensor (*const activations[])(
        ag_tensor) = {[SIGMOID] = ag_sigmoid, [TANH] = ag_tanh, [RELU] = ag_relu};
    ag_rng *rng = nn_params_rng(params);
    p->hidden = options->hidden_count;
    p->activation = activations[options->activation];
    int64_t in = (int64_t)inputs;
    for (size_t i = 0; i <= p->hidden; i++) {
        int64_t out = i < p->hidden ? (int64_t)options->hidden[i] : 1;
        char name[8];
        snprintf(name, sizeof name, "W%zu", i + 1);
        p->w[i] = nn_parameter(params, name, AG_SHAPE(in, out));
        snprintf(name, sizeof name, "b%zu", i + 1);
        p->b[i] = nn_parameter(params, name, AG_SHAPE(1, out));
        bool he = options->activation == RELU && i < p->hidden;
        if (!(he ? nn_init_he(p->w[i], in, NN_NORMAL, rng)
                 : nn_init_xavier(p->w[i], in, out, NN_NORMAL, rng)))
            return false;
        in = out;
    }
    return ag_error(nn_params_tape(params)) == NULL;
}
