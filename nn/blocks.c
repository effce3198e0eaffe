/* Blocks of several layers: multi-head attention, the transformer block, the multilayer perceptron.
 */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "parts.h"

/* ---- Attention ---- */

nn_attention nn_attention_new(nn_params *params, const char *name, int64_t width, int64_t heads)
{
    nn_attention layer = {.params = params, .heads = heads};
    nn_check_size(params, "attention", name, "width", width);
    nn_check_size(params, "attention", name, "heads", heads);
    if (heads > 0 && width % heads)
        ag_fail(nn_params_tape(params), "attention: %s: %lld heads do not divide the width, %lld",
                name ? name : "NULL", (long long)heads, (long long)width);
    if (ag_error(nn_params_tape(params)))
        return layer;
    layer.in_proj_weight = nn_part(params, name, "in_proj_weight", AG_SHAPE(3 * width, width));
    layer.in_proj_bias = nn_part(params, name, "in_proj_bias", AG_SHAPE(3 * width));
    nn_init_xavier(layer.in_proj_weight, width, 3 * width, NN_UNIFORM, nn_params_rng(params));
    layer.out_proj = nn_linear_new(params, nn_join(params, name, "out_proj").text, width, width);
    nn_init_constant(layer.out_proj.bias, 0.0);
    return layer;
}

/* Rows from * width to (from + count) * width of in_proj give `count` of queries, keys and values.
 */
static ag_tensor project(const nn_attention *layer, ag_tensor x, int64_t from, int64_t count)
{
    ag_tensor w = layer->in_proj_weight, b = layer->in_proj_bias;
    int64_t width = ag_count(b) / 3;
    if (count < 3) {
        ag_ranges rows = AG_RANGES({from * width, (from + count) * width, 1});
        w = ag_slice(w, rows);
        b = ag_slice(b, rows);
    }
    return ag_linear(x, w, b);
}

/* Of y (N, L, ... * width), the piece of that number as (N, heads, L, width / heads). */
static ag_tensor heads_of(const nn_attention *layer, ag_tensor y, int64_t number)
{
    int64_t width = ag_count(layer->in_proj_bias) / 3;
    ag_shape s = ag_shape_of(y);
    y = ag_slice(y, AG_RANGES(AG_ALL, AG_ALL, {number * width, (number + 1) * width, 1}));
    y = ag_reshape(y, AG_SHAPE(s.dim[0], s.dim[1], layer->heads, width / layer->heads));
    return ag_permute(y, AG_AXES(0, 2, 1, 3));
}

ag_tensor nn_attention_apply(const nn_attention *layer, ag_tensor x, ag_tensor memory, bool causal)
{
    if (!layer || layer->heads < 1)
        return nn_no_layer(x.tape);
    bool self = x.index == memory.index && x.tape == memory.tape;
    ag_tensor from_x = project(layer, x, 0, self ? 3 : 1);
    ag_tensor from_memory = self ? from_x : project(layer, memory, 1, 2);
    if (!ag_valid(from_x) || !ag_valid(from_memory))
        return (ag_tensor){.tape = x.tape};
    ag_shape s = ag_shape_of(x);
    if (s.rank != 3 || ag_shape_of(memory).rank != 3)
        return ag_fail(x.tape,
                       "attention: x and memory have %d and %d axes; they must have 3, (N, L, "
                       "width)",
                       s.rank, ag_shape_of(memory).rank);
    ag_tensor q = heads_of(layer, from_x, 0);
    ag_tensor k = heads_of(layer, from_memory, self ? 1 : 0);
    ag_tensor v = heads_of(layer, from_memory, self ? 2 : 1);
    double dropout = nn_training(layer->params) ? layer->dropout : 0.0;
    ag_tensor y = ag_scaled_dot_product_attention(q, k, v, causal, dropout);
    return nn_linear_apply(&layer->out_proj, ag_reshape(ag_permute(y, AG_AXES(0, 2, 1, 3)), s));
}

/* ---- Transformer ---- */

nn_transformer nn_transformer_new(nn_params *params, const char *name, int64_t width,
                                  nn_transformer_options options)
{
    nn_transformer block = {.params = params, .options = options};
    int64_t hidden = options.hidden ? options.hidden : (int64_t)(4 * (uint64_t)width);
    nn_check_size(params, "transformer", name, "width", width);
    nn_check_size(params, "transformer", name, "hidden", hidden);
    block.self_attn =
        nn_attention_new(params, nn_join(params, name, "self_attn").text, width, options.heads);
    block.self_attn.dropout = options.dropout;
    block.linear1 = nn_linear_new(params, nn_join(params, name, "linear1").text, width, hidden);
    block.linear2 = nn_linear_new(params, nn_join(params, name, "linear2").text, hidden, width);
    block.norm1 = nn_layer_norm_new(params, nn_join(params, name, "norm1").text, width);
    block.norm2 = nn_layer_norm_new(params, nn_join(params, name, "norm2").text, width);
    return block;
}

static ag_tensor attend(const nn_transformer *block, ag_tensor x)
{
    ag_tensor y = nn_attention_apply(&block->self_attn, x, x, block->options.causal);
    return nn_dropout(block->params, y, block->options.dropout);
}

static ag_tensor feed_forward(const nn_transformer *block, ag_tensor x)
{
    nn_activation *activation = block->options.activation;
    double p = block->options.dropout;
    ag_tensor h = (activation ? activation : ag_gelu)(nn_linear_apply(&block->linear1, x));
    h = nn_linear_apply(&block->linear2, nn_dropout(block->params, h, p));
    return nn_dropout(block->params, h, p);
}

ag_tensor nn_transformer_apply(const nn_transformer *block, ag_tensor x)
{
    if (!block)
        return nn_no_layer(x.tape);
    const nn_norm *norm1 = &block->norm1, *norm2 = &block->norm2;
    if (block->options.post_norm) {
        x = nn_norm_apply(norm1, ag_add(x, attend(block, x)));
        return nn_norm_apply(norm2, ag_add(x, feed_forward(block, x)));
    }
    x = ag_add(x, attend(block, nn_norm_apply(norm1, x)));
    return ag_add(x, feed_forward(block, nn_norm_apply(norm2, x)));
}

/* ---- Multilayer perceptron ---- */

nn_mlp nn_mlp_new(nn_params *params, const char *name, const int64_t *sizes, size_t count,
                  nn_activation *activation)
{
    ag_tape *tape = nn_params_tape(params);
    nn_mlp mlp = {.activation = activation ? activation : ag_relu};
    if (!sizes || count < 2) {
        ag_fail(tape, "mlp: %zu sizes; there must be two at least, of input and output", count);
        return mlp;
    }
    mlp.layer = ag_allocate(tape, (count - 1) * sizeof *mlp.layer);
    mlp.layers = mlp.layer ? count - 1 : 0;
    for (size_t i = 0; i < mlp.layers; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", 2 * i);
        mlp.layer[i] =
            nn_linear_new(params, nn_join(params, name, number).text, sizes[i], sizes[i + 1]);
    }
    return mlp;
}

ag_tensor nn_mlp_apply(const nn_mlp *mlp, ag_tensor x)
{
    if (!mlp || (mlp->layers && !mlp->layer) || !mlp->activation)
        return nn_no_layer(x.tape);
    for (size_t i = 0; i < mlp->layers; i++) {
        x = nn_linear_apply(&mlp->layer[i], x);
        if (i + 1 < mlp->layers)
            x = mlp->activation(x);
    }
    return x;
}
