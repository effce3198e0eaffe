/* Layers that are one op with its parameters: linear, convolution, embedding, the norms, dropout.
 */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include <float.h>
#include <math.h>

#include "parts.h"

/* ---- Linear ---- */

nn_linear nn_linear_without_bias_new(nn_params *params, const char *name, int64_t in, int64_t out)
{
    nn_check_size(params, "linear", name, "in", in);
    nn_check_size(params, "linear", name, "out", out);
    double bound = 1.0 / sqrt((double)in);
    return (nn_linear){.weight = nn_part_uniform(params, name, "weight", AG_SHAPE(out, in), bound)};
}

nn_linear nn_linear_new(nn_params *params, const char *name, int64_t in, int64_t out)
{
    nn_linear layer = nn_linear_without_bias_new(params, name, in, out);
    layer.bias = nn_part_uniform(params, name, "bias", AG_SHAPE(out), 1.0 / sqrt((double)in));
    return layer;
}

ag_tensor nn_linear_apply(const nn_linear *layer, ag_tensor x)
{
    if (!layer)
        return nn_no_layer(x.tape);
    return layer->bias.tape ? ag_linear(x, layer->weight, layer->bias)
                            : ag_matmul(x, ag_transpose(layer->weight));
}

/* ---- Convolution ---- */

static nn_conv conv_new(nn_params *params, const char *kind, const char *name, int64_t in,
                        int64_t out, const nn_conv_options *o, int axes)
{
    int64_t kernel = o->kernel ? o->kernel : 1, groups = o->groups ? o->groups : 1;
    ag_tape *tape = nn_params_tape(params);
    nn_conv layer = {.weight.tape = tape,
                     .bias.tape = tape,
                     .options = {o->stride, o->padding, o->dilation, o->groups}};
    nn_check_size(params, kind, name, "in", in);
    nn_check_size(params, kind, name, "out", out);
    nn_check_size(params, kind, name, "kernel", kernel);
    nn_check_size(params, kind, name, "groups", groups);
    if (ag_error(tape))
        return layer;
    if (in % groups || out % groups) {
        ag_fail(tape, "%s: %s: %lld groups do not divide in and out, %lld and %lld", kind, name,
                (long long)groups, (long long)in, (long long)out);
        return layer;
    }
    ag_shape shape = {2 + axes, {out, in / groups, kernel, kernel}};
    double bound = 1.0 / sqrt((double)(in / groups) * pow((double)kernel, axes));
    layer.weight = nn_part_uniform(params, name, "weight", shape, bound);
    layer.bias = o->without_bias ? (ag_tensor){0}
                                 : nn_part_uniform(params, name, "bias", AG_SHAPE(out), bound);
    return layer;
}

nn_conv nn_conv1d_new(nn_params *params, const char *name, int64_t in, int64_t out,
                      nn_conv_options options)
{
    return conv_new(params, "conv1d", name, in, out, &options, 1);
}

nn_conv nn_conv2d_new(nn_params *params, const char *name, int64_t in, int64_t out,
                      nn_conv_options options)
{
    return conv_new(params, "conv2d", name, in, out, &options, 2);
}

ag_tensor nn_conv_apply(const nn_conv *layer, ag_tensor x)
{
    if (!layer)
        return nn_no_layer(x.tape);
    return ag_shape_of(layer->weight).rank == 3
               ? ag_conv1d(x, layer->weight, layer->bias, layer->options)
               : ag_conv2d(x, layer->weight, layer->bias, layer->options);
}

/* ---- Embedding ---- */

nn_embedding nn_embedding_new(nn_params *params, const char *name, int64_t count, int64_t width)
{
    nn_check_size(params, "embedding", name, "count", count);
    nn_check_size(params, "embedding", name, "width", width);
    nn_embedding layer = {nn_part(params, name, "weight", AG_SHAPE(count, width))};
    nn_init_normal(layer.weight, 0.0, 1.0, nn_params_rng(params));
    return layer;
}

ag_tensor nn_embedding_apply(const nn_embedding *layer, ag_tensor indices)
{
    return layer ? ag_take(layer->weight, indices) : nn_no_layer(indices.tape);
}

/* ---- Normalisation ---- */

static nn_norm norm_new(nn_params *params, nn_norm_kind kind, const char *name, int64_t width)
{
    static const char *const kinds[] = {"layer_norm", "rms_norm", "batch_norm"};
    nn_norm layer = {.kind = kind, .params = params, .epsilon = 1e-5, .momentum = 0.1};
    nn_check_size(params, kinds[kind], name, "width", width);
    layer.weight = nn_part(params, name, "weight", AG_SHAPE(width));
    nn_init_constant(layer.weight, 1.0);
    if (kind != NN_RMS_NORM)
        layer.bias = nn_part(params, name, "bias", AG_SHAPE(width));
    if (kind == NN_BATCH_NORM) {
        layer.running_mean =
            nn_buffer(params, nn_join(params, name, "running_mean").text, AG_SHAPE(width));
        layer.running_var =
            nn_buffer(params, nn_join(params, name, "running_var").text, AG_SHAPE(width));
        nn_init_constant(layer.running_var, 1.0);
    }
    return layer;
}

nn_norm nn_layer_norm_new(nn_params *params, const char *name, int64_t width)
{
    return norm_new(params, NN_LAYER_NORM, name, width);
}

nn_norm nn_rms_norm_new(nn_params *params, const char *name, int64_t width)
{
    nn_norm layer = norm_new(params, NN_RMS_NORM, name, width);
    ag_tape *tape = nn_params_tape(params);
    layer.epsilon = tape && ag_tape_dtype(tape) == AG_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    return layer;
}

nn_norm nn_batch_norm_new(nn_params *params, const char *name, int64_t width)
{
    return norm_new(params, NN_BATCH_NORM, name, width);
}

ag_tensor nn_norm_apply(const nn_norm *layer, ag_tensor x)
{
    if (!layer)
        return nn_no_layer(x.tape);
    if (layer->kind == NN_LAYER_NORM)
        return ag_layer_norm(x, layer->weight, layer->bias, layer->epsilon);
    if (layer->kind == NN_RMS_NORM)
        return ag_rms_norm(x, layer->weight, layer->epsilon);
    return ag_batch_norm(x, layer->running_mean, layer->running_var, layer->weight, layer->bias,
                         (ag_batch_norm_options){.training = nn_training(layer->params),
                                                 .momentum = layer->momentum,
                                                 .epsilon = layer->epsilon});
}

ag_tensor nn_dropout(const nn_params *params, ag_tensor x, double p)
{
    return ag_dropout(x, p, nn_training(params));
}
