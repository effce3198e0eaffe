#include "random_graph.h"

#include "op_cases.h"

static void set_leaf(struct graph *g, int i)
{
    double values[MOST_ELEMENTS];
    ag_rng rng;
    ag_rng_seed(&rng, g->data * GRAPH_LEAVES + (uint64_t)i);
    size_t count = (size_t)ag_count(g->leaf[i]);
    for (size_t k = 0; k < count; k++)
        values[k] = 4.0 * ag_rng_uniform(&rng) - 2.0;
    ag_set_f64(g->leaf[i], values, count);
}

static ag_tensor new_graph_leaf(struct graph *g, ag_shape shape)
{
    uint64_t kind = g->lasting ? ag_rng_below(&g->rng, 3) : 2;
    g->leaf[g->leaves] = kind == 0   ? ag_parameter(g->tape, "w", shape)
                         : kind == 1 ? ag_buffer(g->tape, NULL, shape)
                                     : ag_input(g->tape, "x", shape);
    set_leaf(g, g->leaves);
    return g->leaf[g->leaves++];
}

/* x in another shape, by whatever way there is. */
static ag_tensor conform(ag_tensor x, ag_shape shape)
{
    if (ag_count(x) == shape_count(&shape))
        return ag_reshape(x, shape);
    return ag_broadcast_to(ag_mean(x), shape);
}

/* An operand of this shape, old or new, with values that the case can take. */
static ag_tensor operand(struct graph *g, const struct op_case *c, ag_shape shape)
{
    bool old = g->leaves == GRAPH_LEAVES || (g->tensors && ag_rng_below(&g->rng, 2));
    ag_tensor x = old ? conform(g->tensor[ag_rng_below(&g->rng, (uint64_t)g->tensors)], shape)
                      : new_graph_leaf(g, shape);
    if (c->away > 0.0 || c->low > 0.0)
        return ag_add_scalar(ag_mul_scalar(ag_sigmoid(x), 2.0), 0.5);
    return old ? ag_mul_scalar(ag_tanh(x), 2.0) : x;
}

static void append_op(struct graph *g)
{
    const struct op_case *c = &op_cases[ag_rng_below(&g->rng, op_case_count)];
    unsigned v = (unsigned)ag_rng_below(&g->rng, 1000);
    ag_shape shape[MAX_INPUTS];
    ag_tensor x[MAX_INPUTS];
    case_shapes(c, &g->rng, v, shape);
    for (int i = 0; i < case_inputs(c); i++)
        x[i] = i && shape_equal(&shape[i], &shape[0]) && ag_rng_below(&g->rng, 2)
                   ? x[0]
                   : operand(g, c, shape[i]);
    g->tensor[g->tensors++] = case_call(c, x, v);
}

static ag_tensor sum_of_squares(const ag_tensor *x, int count)
{
    ag_tensor total = ag_mean_square(x[0]);
    for (int i = 1; i < count; i++)
        total = ag_add(total, ag_mean_square(x[i]));
    return total;
}

void graph_build(struct graph *g, ag_tape *tape, bool lasting, uint64_t seed, uint64_t data)
{
    *g = (struct graph){.tape = tape, .lasting = lasting, .data = data};
    ag_set_warning(tape, NULL, NULL);
    ag_rng_seed(&g->rng, seed);
    int ops = 2 + (int)ag_rng_below(&g->rng, GRAPH_TENSORS - 2);
    while (g->tensors < ops)
        append_op(g);
    g->loss = sum_of_squares(g->tensor, g->tensors);
    if (ag_gradients(g->loss, g->leaf, (size_t)g->leaves, g->gradient)) {
        g->second = sum_of_squares(g->gradient, g->leaves);
        ag_backward(g->second);
    }
}

void graph_set(struct graph *g, uint64_t data)
{
    g->data = data;
    for (int i = 0; i < g->leaves; i++)
        set_leaf(g, i);
}
