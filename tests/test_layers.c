/* Layers: shapes, names, modes, gradients through whole layers, frozen parameters, mistakes. That
 * their values are PyTorch's is for torch_layers.py. */
#include "tape_help.h"

static void assert_shape(ag_tensor x, ag_shape expected)
{
    ag_shape shape = ag_shape_of(x);
    assert_no_error(x.tape);
    assert_int_equal(shape.rank, expected.rank);
    for (int i = 0; i < shape.rank; i++)
        assert_int_equal(shape.dim[i], expected.dim[i]);
}

/* Standard normal values in a parameter, so that gradients go into it too; or row numbers. */
static ag_tensor noise(nn_params *params, ag_shape shape)
{
    ag_tensor x = ag_parameter(nn_params_tape(params), "x", shape);
    nn_init_normal(x, 0.0, 1.0, nn_params_rng(params));
    return x;
}

static ag_tensor indices(nn_params *params)
{
    static const double values[] = {0, 3, 2, 4, 3, 3};
    return ag_input_f64(nn_params_tape(params), "indices", AG_SHAPE(2, 3), values);
}

/* ---- Every layer ---- */

static ag_tensor use_linear(nn_params *p)
{
    nn_linear layer = nn_linear_without_bias_new(p, "layer", 4, 3);
    return nn_linear_apply(&layer, noise(p, AG_SHAPE(2, 3, 4)));
}

static ag_tensor use_conv1d(nn_params *p)
{
    nn_conv layer = nn_conv1d_new(p, "layer", 2, 3, (nn_conv_options){.kernel = 2, .stride = 2});
    return nn_conv_apply(&layer, noise(p, AG_SHAPE(2, 2, 5)));
}

static ag_tensor use_conv2d(nn_params *p)
{
    nn_conv_options options = {.kernel = 3, .padding = 1, .groups = 2, .without_bias = true};
    nn_conv layer = nn_conv2d_new(p, "layer", 2, 4, options);
    return nn_conv_apply(&layer, noise(p, AG_SHAPE(1, 2, 3, 4)));
}

static ag_tensor use_embedding(nn_params *p)
{
    nn_embedding layer = nn_embedding_new(p, "layer", 5, 4);
    return nn_embedding_apply(&layer, indices(p));
}

static ag_tensor use_layer_norm(nn_params *p)
{
    nn_norm layer = nn_layer_norm_new(p, "layer", 4);
    return nn_norm_apply(&layer, noise(p, AG_SHAPE(2, 3, 4)));
}

static ag_tensor use_rms_norm(nn_params *p)
{
    nn_norm layer = nn_rms_norm_new(p, "layer", 4);
    return nn_norm_apply(&layer, noise(p, AG_SHAPE(2, 3, 4)));
}

static ag_tensor use_batch_norm(nn_params *p)
{
    nn_norm layer = nn_batch_norm_new(p, "layer", 3);
    return nn_norm_apply(&layer, noise(p, AG_SHAPE(4, 3, 2)));
}

static ag_tensor use_rnn(nn_params *p)
{
    nn_recurrent layer = nn_recurrent_new(p, "layer", NN_RNN, 2, 3, 1);
    return nn_recurrent_apply(&layer, noise(p, AG_SHAPE(2, 5, 2)), NULL);
}

static ag_tensor use_gru(nn_params *p)
{
    nn_recurrent layer = nn_recurrent_new(p, "layer", NN_GRU, 2, 3, 2);
    return nn_recurrent_apply(&layer, noise(p, AG_SHAPE(2, 4, 2)), NULL);
}

static ag_tensor use_lstm(nn_params *p)
{
    nn_recurrent layer = nn_recurrent_new(p, "layer", NN_LSTM, 2, 3, 2);
    nn_recurrent_state state[2] = {{.h = noise(p, AG_SHAPE(2, 3)), .c = noise(p, AG_SHAPE(2, 3))}};
    ag_tensor y = nn_recurrent_apply(&layer, noise(p, AG_SHAPE(2, 3, 2)), state);
    assert_shape(state[0].c, AG_SHAPE(2, 3));
    assert_shape(state[1].h, AG_SHAPE(2, 3));
    return y;
}

static ag_tensor use_attention(nn_params *p)
{
    nn_attention layer = nn_attention_new(p, "layer", 4, 2);
    return nn_attention_apply(&layer, noise(p, AG_SHAPE(2, 3, 4)), noise(p, AG_SHAPE(2, 5, 4)),
                              false);
}

static ag_tensor use_transformer(nn_params *p)
{
    nn_transformer_options options = {.heads = 2, .causal = true, .dropout = 0.3};
    nn_transformer layer = nn_transformer_new(p, "layer", 4, options);
    nn_set_training(p, false);
    return nn_transformer_apply(&layer, noise(p, AG_SHAPE(2, 3, 4)));
}

static ag_tensor use_mlp(nn_params *p)
{
    nn_mlp mlp = nn_mlp_new(p, "layer", (const int64_t[]){3, 5, 4, 2}, 4, ag_silu);
    return nn_mlp_apply(&mlp, noise(p, AG_SHAPE(6, 3)));
}

static const struct use {
    ag_tensor (*of)(nn_params *params);
    ag_shape shape;    /* of the result */
    const char *names; /* of all parameters and buffers */
    int64_t elements;  /* of the parameters */
} uses[] = {
    {use_linear, {3, {2, 3, 3}}, "weight", 12},
    {use_conv1d, {3, {2, 3, 2}}, "weight bias", 15},
    {use_conv2d, {4, {1, 4, 3, 4}}, "weight", 36},
    {use_embedding, {3, {2, 3, 4}}, "weight", 20},
    {use_layer_norm, {3, {2, 3, 4}}, "weight bias", 8},
    {use_rms_norm, {3, {2, 3, 4}}, "weight", 4},
    {use_batch_norm, {3, {4, 3, 2}}, "weight bias running_mean running_var", 6},
    {use_rnn, {3, {2, 5, 3}}, "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0", 21},
    {use_gru,
     {3, {2, 4, 3}},
     "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0 "
     "weight_ih_l1 weight_hh_l1 bias_ih_l1 bias_hh_l1",
     135},
    {use_lstm,
     {3, {2, 3, 3}},
     "weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0 "
     "weight_ih_l1 weight_hh_l1 bias_ih_l1 bias_hh_l1",
     180},
    {use_attention,
     {3, {2, 3, 4}},
     "in_proj_weight in_proj_bias out_proj.weight out_proj.bias",
     80},
    {use_transformer,
     {3, {2, 3, 4}},
     "self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight "
     "self_attn.out_proj.bias linear1.weight linear1.bias linear2.weight linear2.bias "
     "norm1.weight norm1.bias norm2.weight norm2.bias",
     244},
    {use_mlp, {2, {6, 2}}, "0.weight 0.bias 2.weight 2.bias 4.weight 4.bias", 54},
};

static void check_names(const nn_params *params, const char *expected)
{
    char names[600] = "";
    for (size_t i = 0; i < nn_params_count(params); i++) {
        const char *name = ag_name_of(nn_params_at(params, i));
        assert_memory_equal(name, "layer.", 6);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, i ? " %s" : "%s", name + 6);
    }
    assert_string_equal(names, expected);
}

static void test_layers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        for (int dtype = AG_F32; dtype <= AG_F64; dtype++) {
            ag_tape *tape = ag_tape_new((ag_dtype)dtype);
            nn_params *params = nn_params_new(tape, 3);
            ag_tensor y = uses[i].of(params);
            assert_shape(y, uses[i].shape);
            check_names(params, uses[i].names);
            assert_int_equal(nn_params_elements(params), uses[i].elements);
            assert_no_error(tape);
            ag_tape_free(tape);
        }
}

/* Through the whole layer, weights and inputs, by a loss in which no two elements count alike. */
static void test_gradients(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        ag_tape *tape = ag_tape_new(AG_F64);
        nn_params *params = nn_params_new(tape, i);
        ag_tensor y = uses[i].of(params);
        ag_tensor weighted = ag_cumsum(ag_reshape(y, AG_SHAPE(-1)), 0);
        ag_gradcheck_report report;
        bool good = ag_gradcheck(ag_mean_square(ag_sin(weighted)), 1e-7, &report);
        assert_no_error(tape);
        if (!good)
            fail_msg("%zu: %s[%lld]: %g, should be %g", i, report.name, (long long)report.element,
                     report.analytic, report.numeric);
        ag_tape_free(tape);
    }
}

/* Replayed: the bits of a recording. */
static void test_replays(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        ag_tape *tape = ag_tape_new(AG_F32);
        nn_params *params = nn_params_new(tape, i);
        ag_tensor y = uses[i].of(params), loss = ag_sum(y);
        size_t count = (size_t)ag_count(y);
        float *first = calloc(2 * count, sizeof *first);
        assert_non_null(first);
        assert_true(ag_backward(loss) && ag_get_f32(y, first, count));
        assert_true(ag_replay(tape) && ag_get_f32(y, first + count, count));
        assert_memory_equal(first, first + count, count * sizeof *first);
        free(first);
        ag_tape_free(tape);
    }
}

/* ---- Modes ---- */

static void test_modes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, 1);
    nn_norm norm = nn_batch_norm_new(params, "norm", 1);
    double mean, variance, y[8];
    assert_true(nn_training(params));
    ag_tensor x = ag_input_f64(tape, "x", AG_SHAPE(8, 1), (const double[]){1, 2, 3, 4, 5, 6, 7, 8});

    /* Mean 4.5, variance 5.25, or 6 as an estimate. */
    norm.momentum = 0.5;
    assert_true(ag_get_f64(nn_norm_apply(&norm, x), y, 8));
    assert_true(fabs(y[0] + 3.5 / sqrt(5.25 + 1e-5)) < 1e-14);
    assert_true(ag_get_f64(norm.running_mean, &mean, 1) && fabs(mean - 2.25) < 1e-15);
    assert_true(ag_get_f64(norm.running_var, &variance, 1) && fabs(variance - 3.5) < 1e-15);
    nn_set_training(params, false);
    assert_false(nn_training(params));
    assert_true(ag_get_f64(nn_norm_apply(&norm, x), y, 8));
    assert_true(fabs(y[0] + 1.25 / sqrt(3.5 + 1e-5)) < 1e-14);
    assert_true(ag_get_f64(norm.running_mean, &mean, 1) && fabs(mean - 2.25) < 1e-15);

    ag_tensor same = nn_dropout(params, x, 0.5);
    assert_true(ag_get_f64(same, y, 8) && y[0] == 1 && y[7] == 8);
    nn_set_training(params, true);
    assert_true(ag_get_f64(nn_dropout(params, x, 0.5), y, 8));
    for (int i = 0; i < 8; i++)
        assert_true(y[i] == 0.0 || y[i] == 2.0 * (i + 1));
    assert_true(ag_item(ag_sum(nn_dropout(params, x, 1.0))) == 0.0);
    nn_set_training(NULL, true);
    assert_false(nn_training(NULL));
    ag_tape_free(tape);
}

/* Attention drops weights in training mode alone; its block hands its dropout on. */
static void test_attention_modes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, 1);
    nn_attention layer = nn_attention_new(params, "attention", 4, 2);
    nn_transformer block =
        nn_transformer_new(params, "block", 4,
                           (nn_transformer_options){.heads = 2, .dropout = 0.25});
    assert_true(layer.dropout == 0.0 && block.self_attn.dropout == 0.25);
    ag_tensor x = noise(params, AG_SHAPE(3, 5, 4));
    double plain[60], y[60], again[60];
    assert_true(ag_get_f64(nn_attention_apply(&layer, x, x, false), plain, 60));
    layer.dropout = 0.5;
    nn_set_training(params, false);
    assert_true(ag_get_f64(nn_attention_apply(&layer, x, x, false), y, 60));
    assert_memory_equal(plain, y, sizeof y);
    nn_set_training(params, true);
    ag_tensor dropped = nn_attention_apply(&layer, x, x, false);
    assert_true(ag_get_f64(dropped, y, 60) && ag_replay(tape) && ag_get_f64(dropped, again, 60));
    assert_memory_not_equal(plain, y, sizeof y);
    assert_memory_not_equal(y, again, sizeof y);
    ag_tensor both = ag_add(dropped, nn_transformer_apply(&block, x));
    assert_true(ag_gradcheck(ag_mean_square(both), 1e-7, NULL)); /* with what was drawn */
    layer.dropout = 1.5;
    assert_false(ag_valid(nn_attention_apply(&layer, x, x, false)));
    assert_non_null(strstr(ag_error(tape), "dropout: the probability is 1.5"));
    ag_tape_free(tape);
}

/* ---- Frozen ---- */

static void test_frozen(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 1);
    nn_mlp mlp = nn_mlp_new(params, "", (const int64_t[]){2, 3, 1}, 3, NULL);
    nn_batch_norm_new(params, "norm", 1);
    nn_optimizer *sgd = nn_optimizer_new(params, nn_sgd(0.1));
    float before[6], after[6];
    assert_true(nn_set_trainable(params, "0.*", false));
    assert_true(ag_get_f32(mlp.layer[0].weight, before, 6));
    ag_tensor x = ag_full(tape, AG_SHAPE(4, 2), 1.0);
    assert_true(ag_backward(ag_mean_square(nn_mlp_apply(&mlp, x))));
    assert_false(ag_has_gradient(mlp.layer[0].weight) || ag_has_gradient(mlp.layer[0].bias));
    assert_true(ag_has_gradient(mlp.layer[1].weight) && ag_has_gradient(mlp.layer[1].bias));
    assert_true(nn_step(sgd));
    assert_true(ag_get_f32(mlp.layer[0].weight, after, 6));
    assert_memory_equal(before, after, sizeof before);

    char text[2000];
    FILE *file = tmpfile();
    assert_non_null(file);
    nn_summary(params, file);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "12  frozen\n"));
    assert_non_null(strstr(text, "4  buffer\n"));

    assert_true(nn_set_trainable(params, "*", true) && ag_trainable(mlp.layer[0].bias));
    assert_false(nn_set_trainable(params, "1.*", false));
    assert_error_with(tape, "set_trainable: no parameter's name fits '1.*'");
    assert_false(nn_set_trainable(params, "*running_mean", false)); /* a buffer */
    assert_error_with(tape, "set_trainable: no parameter's name fits '*running_mean'");
    assert_false(nn_set_trainable(params, NULL, false) || nn_set_trainable(NULL, "*", false));
    ag_tape_free(tape);
}

/* ---- Mistakes ---- */

static void test_wrong_sizes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *p = nn_params_new(tape, 1);
    const int64_t sizes[] = {3, 0};
    nn_conv1d_new(p, "c", 0, 3, (nn_conv_options){0});
    assert_error_with(tape, "conv1d: c: in is 0; it must be from 1 to 2^30");
    nn_conv2d_new(p, "c", 3, 3, (nn_conv_options){.kernel = -1});
    assert_error_with(tape, "conv2d: c: kernel is -1; it must be from 1 to 2^30");
    nn_conv2d_new(p, "c", 3, 4, (nn_conv_options){.groups = 2});
    assert_error_with(tape, "conv2d: c: 2 groups do not divide in and out, 3 and 4");
    nn_embedding_new(p, "e", 3, INT64_MAX);
    assert_error_with(tape,
                      "embedding: e: width is 9223372036854775807; it must be from 1 to 2^30");
    nn_rms_norm_new(p, "n", -2);
    assert_error_with(tape, "rms_norm: n: width is -2; it must be from 1 to 2^30");
    nn_recurrent_new(p, "r", NN_LSTM, 3, 3, 0);
    assert_error_with(tape, "recurrent: r: layers is 0; it must be from 1 to 2^30");
    nn_recurrent_new(p, "r", (nn_cell)9, 3, 3, 1);
    assert_error_with(tape, "recurrent: 9 is not a cell: NN_RNN, NN_GRU or NN_LSTM");
    nn_attention_new(p, "a", 6, 4);
    assert_error_with(tape, "attention: a: 4 heads do not divide the width, 6");
    nn_transformer_new(p, "t", 8, (nn_transformer_options){.hidden = 3});
    assert_error_with(tape, "attention: t.self_attn: heads is 0; it must be from 1 to 2^30");
    nn_mlp_new(p, "m", sizes, 1, NULL);
    assert_error_with(tape, "mlp: 1 sizes; there must be two at least, of input and output");
    nn_mlp_new(p, "m", sizes, 2, NULL);
    assert_error_with(tape, "linear: m.0: out is 0; it must be from 1 to 2^30");
    nn_attention_new(p, NULL, 6, 2);
    assert_error_with(tape, "layer: a layer needs a name");
    ag_tape_free(tape);
}

static void test_wrong_inputs(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *p = nn_params_new(tape, 1);
    nn_recurrent rnn = nn_recurrent_new(p, "rnn", NN_GRU, 3, 2, 1);
    nn_attention attention = nn_attention_new(p, "attention", 4, 2);
    nn_conv conv = nn_conv2d_new(p, "conv", 1, 1, (nn_conv_options){.kernel = 3});
    nn_norm norm = nn_batch_norm_new(p, "norm", 3);
    ag_tensor flat = ag_full(tape, AG_SHAPE(2, 3), 1.0);
    nn_recurrent_apply(&rnn, flat, NULL);
    assert_error_with(tape, "recurrent: x has 2 axes; it must have 3, (N, steps, in)");
    nn_recurrent_apply(&rnn, ag_full(tape, AG_SHAPE(2, 5, 4), 1.0), NULL);
    assert_error_with(tape, "test_layers.c:");
    nn_recurrent_state wide = {.h = ag_full(tape, AG_SHAPE(2, 7), 1.0)};
    nn_recurrent_apply(&rnn, ag_full(tape, AG_SHAPE(2, 5, 3), 1.0), &wide);
    assert_error_with(tape, "inner dimensions differ: 7 and 2");
    ag_tensor row = ag_full(tape, AG_SHAPE(2, 4), 1.0);
    nn_attention_apply(&attention, row, row, false);
    assert_error_with(tape, "attention: x and memory have 2 and 2 axes");
    nn_conv_apply(&conv, flat);
    assert_error_with(tape, "conv2d: ");
    nn_norm_apply(&norm, row);
    assert_error_with(tape, "batch_norm: ");
    nn_norm_apply(&norm, (ag_tensor){.tape = tape});
    assert_error_with(tape, "invalid tensor");
    ag_tape_free(tape);

    /* What no memory left behind passes on without a crash. */
    nn_transformer none = nn_transformer_new(NULL, "t", 4, (nn_transformer_options){.heads = 1});
    nn_recurrent no_rnn = nn_recurrent_new(NULL, "r", NN_RNN, 1, 1, 1);
    nn_mlp no_mlp = nn_mlp_new(NULL, "m", (const int64_t[]){1, 1}, 2, NULL);
    ag_tensor x = {0};
    assert_false(ag_valid(nn_transformer_apply(&none, x)));
    assert_false(ag_valid(nn_recurrent_apply(&no_rnn, x, NULL)));
    assert_false(ag_valid(nn_mlp_apply(&no_mlp, x)));
    assert_false(ag_valid(nn_buffer(NULL, "b", AG_SHAPE(1))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),          cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_replays),         cmocka_unit_test(test_modes),
        cmocka_unit_test(test_attention_modes), cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_wrong_sizes),     cmocka_unit_test(test_wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
