/* Layers and blocks: a struct of parameters, a function that makes it and one that applies it.
 *
 *     nn_params *params = nn_params_new(tape, seed);
 *     nn_conv conv = nn_conv2d_new(params, "conv", 1, 8, (nn_conv_options){.kernel = 3});
 *     nn_norm norm = nn_batch_norm_new(params, "norm", 8);
 *     ag_tensor y = ag_relu(nn_norm_apply(&norm, nn_conv_apply(&conv, x)));
 *
 * The parameters of a layer named NAME are "NAME.weight" and so on: names, shapes, layout, defaults
 * and initial distributions are those of PyTorch's module of that name, so that weights carry over
 * in safetensors files, both ways. Sizes are 1 to 2^30. Fields may be read, and changed where that
 * makes sense (an epsilon); the structs may be copied.
 *
 * What trains and infers in different ways (batch_norm, dropout) heeds nn_training(params) when it
 * is applied: a recorded program keeps the mode that it was recorded in. */
#ifndef TAPEGRAD_LAYERS_H
#define TAPEGRAD_LAYERS_H

#include "nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An activation, ag_relu or the like. */
typedef ag_tensor nn_activation(ag_tensor x);

/* ---- Linear ---- */

/* y = x @ weightᵀ + bias: weight (out, in), bias (out), both uniform within 1/sqrt(in). */
typedef struct {
    ag_tensor weight, bias; /* bias {0}: there is none */
} nn_linear;

AG_API nn_linear nn_linear_new(nn_params *params, const char *name, int64_t in, int64_t out);
AG_API nn_linear nn_linear_without_bias_new(nn_params *params, const char *name, int64_t in,
                                            int64_t out);
AG_API ag_tensor nn_linear_apply(const nn_linear *layer, ag_tensor x); /* (..., in) to (..., out) */

/* ---- Convolution ---- */

/* As ag_conv1d and ag_conv2d: weight (out, in/groups, kernel) or (out, in/groups, kernel, kernel),
 * bias (out), both uniform within 1/sqrt(values under the kernel). 0 stands for a kernel, stride,
 * dilation or group count of 1. */
typedef struct {
    int64_t kernel, stride, padding, dilation, groups;
    bool without_bias;
} nn_conv_options;

typedef struct {
    ag_tensor weight, bias;
    ag_conv options;
} nn_conv;

AG_API nn_conv nn_conv1d_new(nn_params *params, const char *name, int64_t in, int64_t out,
                             nn_conv_options options);
AG_API nn_conv nn_conv2d_new(nn_params *params, const char *name, int64_t in, int64_t out,
                             nn_conv_options options);
AG_API ag_tensor nn_conv_apply(const nn_conv *layer, ag_tensor x); /* (N, in, [H,] W) */

/* ---- Embedding ---- */

/* A row of weight (count, width), at first standard normal, for each index. */
typedef struct {
    ag_tensor weight;
} nn_embedding;

AG_API nn_embedding nn_embedding_new(nn_params *params, const char *name, int64_t count,
                                     int64_t width);
AG_API ag_tensor nn_embedding_apply(const nn_embedding *layer,
                                    ag_tensor indices); /* (...) to (..., width) */

/* ---- Normalisation ---- */

/* As ag_layer_norm and ag_rms_norm over the last axis, of size `width`; as ag_batch_norm for x (N,
 * width, ...). weight (width) is at first ones, bias (width, not of rms_norm) zeros; batch_norm's
 * buffers "NAME.running_mean" and "NAME.running_var" are zeros and ones. (PyTorch counts batches
 * besides, in "NAME.num_batches_tracked": load its files with NN_ALLOW_EXTRA.) epsilon is 1e-5, of
 * rms_norm the tape's type's own; momentum 0.1. */
typedef enum { NN_LAYER_NORM, NN_RMS_NORM, NN_BATCH_NORM } nn_norm_kind;

typedef struct {
    nn_norm_kind kind;
    const nn_params *params;
    ag_tensor weight, bias, running_mean, running_var;
    double epsilon, momentum;
} nn_norm;

AG_API nn_norm nn_layer_norm_new(nn_params *params, const char *name, int64_t width);
AG_API nn_norm nn_rms_norm_new(nn_params *params, const char *name, int64_t width);
AG_API nn_norm nn_batch_norm_new(nn_params *params, const char *name, int64_t width);
AG_API ag_tensor nn_norm_apply(const nn_norm *layer, ag_tensor x);

/* In training mode, zero with probability p, else x / (1 - p); otherwise x. */
AG_API ag_tensor nn_dropout(const nn_params *params, ag_tensor x, double p);

/* ---- Recurrent layers ----
 *
 * With x and h_t-1 the inputs of a step, a_k and b_k the pieces of size `hidden` of
 * x @ weight_ihᵀ + bias_ih and h @ weight_hhᵀ + bias_hh, s for sigmoid:
 *
 *     NN_RNN    h = tanh(a + b)
 *     NN_GRU    r = s(a_0 + b_0), z = s(a_1 + b_1), n = tanh(a_2 + r*b_2), h = (1 - z)*n + z*h
 *     NN_LSTM   i = s(a_0 + b_0), f = s(a_1 + b_1), g = tanh(a_2 + b_2), o = s(a_3 + b_3),
 *               c = f*c + i*g, h = o*tanh(c)
 *
 * Layer l has "NAME.weight_ih_lL" (pieces * hidden, in or hidden), "NAME.weight_hh_lL",
 * "NAME.bias_ih_lL" and "NAME.bias_hh_lL", all uniform within 1/sqrt(hidden); its h is the next
 * one's x. */
typedef enum { NN_RNN, NN_GRU, NN_LSTM } nn_cell;

typedef struct {
    ag_tensor weight_ih, weight_hh, bias_ih, bias_hh;
} nn_recurrent_layer;

typedef struct {
    nn_cell cell;
    int64_t hidden;
    int layers;
    nn_recurrent_layer *layer; /* (layers) */
} nn_recurrent;

/* Of one layer: h and, of LSTM, c, each (N, hidden); {0} for zeros. */
typedef struct {
    ag_tensor h, c;
} nn_recurrent_state;

AG_API nn_recurrent nn_recurrent_new(nn_params *params, const char *name, nn_cell cell, int64_t in,
                                     int64_t hidden, int layers);

/* x (N, steps, in) to the last layer's h of all steps, (N, steps, hidden): PyTorch's batch_first.
 * state (layers), where the steps begin, is set to where they end; NULL: zeros, which nobody asks
 * for afterwards. */
AG_API ag_tensor nn_recurrent_apply(const nn_recurrent *rnn, ag_tensor x,
                                    nn_recurrent_state *state);

/* ---- Attention ---- */

/* Multi-head attention (Vaswani et al. 2017, section 3.2.2), nn.MultiheadAttention with
 * batch_first: in_proj_weight (3*width, width), Xavier's uniform, makes queries, keys and values;
 * in_proj_bias (3*width) and out_proj.bias are at first zeros. `heads` divides width. In training
 * mode the weights by which values are added up are dropped with probability `dropout`, at first 0.
 */
typedef struct {
    const nn_params *params;
    ag_tensor in_proj_weight, in_proj_bias;
    nn_linear out_proj;
    int64_t heads;
    double dropout;
} nn_attention;

AG_API nn_attention nn_attention_new(nn_params *params, const char *name, int64_t width,
                                     int64_t heads);

/* Queries from x (N, L, width), keys and values from `memory` (N, S, width): x itself for
 * self-attention. causal: position i attends to positions up to i. */
AG_API ag_tensor nn_attention_apply(const nn_attention *layer, ag_tensor x, ag_tensor memory,
                                    bool causal);

/* ---- Blocks ---- */

/* x + attention(norm1(x)), and then x + linear2(activation(linear1(norm2(x)))); with post_norm
 * norm1(x + attention(x)), and then norm2(x + ...). Dropout comes within and after attention, after
 * activation and linear2. Parameters are named as in nn.TransformerEncoderLayer: self_attn,
 * linear1, linear2, norm1, norm2. */
typedef struct {
    int64_t heads, hidden;     /* hidden: between linear1 and linear2; 0: 4 * width */
    nn_activation *activation; /* NULL: ag_gelu */
    double dropout;
    bool causal, post_norm;
} nn_transformer_options;

typedef struct {
    const nn_params *params;
    nn_transformer_options options;
    nn_attention self_attn;
    nn_linear linear1, linear2;
    nn_norm norm1, norm2;
} nn_transformer;

AG_API nn_transformer nn_transformer_new(nn_params *params, const char *name, int64_t width,
                                         nn_transformer_options options);
AG_API ag_tensor nn_transformer_apply(const nn_transformer *block, ag_tensor x); /* (N, L, width) */

/* Linear layers of sizes[0] to sizes[1], ... to sizes[count - 1], with the activation between them
 * (not after the last; NULL: ag_relu), and named as in nn.Sequential(Linear, activation, Linear,
 * ...): "NAME.0.weight", "NAME.2.weight", and so on, or with an empty name "0.weight". */
typedef struct {
    nn_linear *layer; /* (layers) */
    size_t layers;
    nn_activation *activation;
} nn_mlp;

AG_API nn_mlp nn_mlp_new(nn_params *params, const char *name, const int64_t *sizes, size_t count,
                         nn_activation *activation);
AG_API ag_tensor nn_mlp_apply(const nn_mlp *mlp, ag_tensor x);

/* ---- Where an error was made ---- */

#ifndef AG_NO_LOCATIONS
#define nn_linear_apply(...)      AG_AT(nn_linear_apply(__VA_ARGS__))
#define nn_conv_apply(...)        AG_AT(nn_conv_apply(__VA_ARGS__))
#define nn_embedding_apply(...)   AG_AT(nn_embedding_apply(__VA_ARGS__))
#define nn_norm_apply(...)        AG_AT(nn_norm_apply(__VA_ARGS__))
#define nn_dropout(...)           AG_AT(nn_dropout(__VA_ARGS__))
#define nn_recurrent_apply(...)   AG_AT(nn_recurrent_apply(__VA_ARGS__))
#define nn_attention_apply(...)   AG_AT(nn_attention_apply(__VA_ARGS__))
#define nn_transformer_apply(...) AG_AT(nn_transformer_apply(__VA_ARGS__))
#define nn_mlp_apply(...)         AG_AT(nn_mlp_apply(__VA_ARGS__))
#endif

#ifdef __cplusplus
}
#endif

#endif
