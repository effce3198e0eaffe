/* Recurrent layers, unrolled over the steps. Gates lie in PyTorch's order: GRU (Cho et al. 2014) r,
 * z, n; LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000 for f) i, f, g, o. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include <math.h>
#include <stdlib.h>

#include "parts.h"

static int64_t pieces(nn_cell cell)
{
    return cell == NN_LSTM ? 4 : cell == NN_GRU ? 3 : 1;
}

static ag_tensor part(nn_params *params, const char *name, const char *what, int layer,
                      ag_shape shape, double bound)
{
    char text[32];
    snprintf(text, sizeof text, "%s_l%d", what, layer);
    return nn_part_uniform(params, name, text, shape, bound);
}

nn_recurrent nn_recurrent_new(nn_params *params, const char *name, nn_cell cell, int64_t in,
                              int64_t hidden, int layers)
{
    ag_tape *tape = nn_params_tape(params);
    nn_recurrent rnn = {.cell = cell, .hidden = hidden};
    nn_check_size(params, "recurrent", name, "in", in);
    nn_check_size(params, "recurrent", name, "hidden", hidden);
    nn_check_size(params, "recurrent", name, "layers", layers);
    if (cell != NN_RNN && cell != NN_GRU && cell != NN_LSTM)
        ag_fail(tape, "recurrent: %d is not a cell: NN_RNN, NN_GRU or NN_LSTM", (int)cell);
    if (!params || ag_error(tape))
        return rnn;
    rnn.layer = ag_allocate(tape, (size_t)layers * sizeof *rnn.layer);
    rnn.layers = rnn.layer ? layers : 0;
    double bound = 1.0 / sqrt((double)hidden);
    int64_t rows = pieces(cell) * hidden;
    for (int i = 0; i < rnn.layers; i++) {
        nn_recurrent_layer *l = &rnn.layer[i];
        l->weight_ih = part(params, name, "weight_ih", i, AG_SHAPE(rows, i ? hidden : in), bound);
        l->weight_hh = part(params, name, "weight_hh", i, AG_SHAPE(rows, hidden), bound);
        l->bias_ih = part(params, name, "bias_ih", i, AG_SHAPE(rows), bound);
        l->bias_hh = part(params, name, "bias_hh", i, AG_SHAPE(rows), bound);
    }
    return rnn;
}

/* Columns number * width to (number + 1) * width. */
static ag_tensor piece(ag_tensor x, int64_t width, int64_t number)
{
    return ag_slice(x, AG_RANGES(AG_ALL, {number * width, (number + 1) * width, 1}));
}

/* a and b are the shares of x and h, (N, pieces * hidden). */
static void step(const nn_recurrent *rnn, ag_tensor a, ag_tensor b, nn_recurrent_state *s)
{
    int64_t n = rnn->hidden;
    if (rnn->cell == NN_GRU) {
        ag_tensor r = ag_sigmoid(ag_add(piece(a, n, 0), piece(b, n, 0)));
        ag_tensor z = ag_sigmoid(ag_add(piece(a, n, 1), piece(b, n, 1)));
        ag_tensor candidate = ag_tanh(ag_add(piece(a, n, 2), ag_mul(r, piece(b, n, 2))));
        s->h = ag_add(candidate, ag_mul(z, ag_sub(s->h, candidate)));
        return;
    }
    ag_tensor sum = ag_add(a, b);
    if (rnn->cell == NN_RNN) {
        s->h = ag_tanh(sum);
        return;
    }
    ag_tensor i = ag_sigmoid(piece(sum, n, 0)), f = ag_sigmoid(piece(sum, n, 1));
    ag_tensor g = ag_tanh(piece(sum, n, 2)), o = ag_sigmoid(piece(sum, n, 3));
    s->c = ag_add(ag_mul(f, s->c), ag_mul(i, g));
    s->h = ag_mul(o, ag_tanh(s->c));
}

/* The steps of x (N, steps, n), each (N, n). By halves: the gradient of a slice is as large as what
 * it was cut from. */
static void split(ag_tensor x, int64_t steps, ag_tensor *out)
{
    ag_shape shape = ag_shape_of(x);
    if (steps == 1) {
        *out = ag_reshape(x, AG_SHAPE(shape.dim[0], shape.dim[2]));
        return;
    }
    split(ag_slice(x, AG_RANGES(AG_ALL, {0, steps / 2, 1})), steps / 2, out);
    split(ag_slice(x, AG_RANGES(AG_ALL, {steps / 2, AG_END, 1})), steps - steps / 2,
          out + steps / 2);
}

/* One layer: x (N, steps, ...) to its h of all steps; at (steps) is scratch. */
static ag_tensor run(const nn_recurrent *rnn, const nn_recurrent_layer *l, ag_tensor x,
                     int64_t steps, nn_recurrent_state *s, ag_tensor *at)
{
    x = ag_linear(x, l->weight_ih, l->bias_ih);
    if (!ag_valid(x))
        return x;
    split(x, steps, at);
    for (int64_t t = 0; t < steps; t++) {
        step(rnn, at[t], ag_linear(s->h, l->weight_hh, l->bias_hh), s);
        at[t] = s->h;
    }
    return ag_stack(at, (size_t)steps, 1);
}

ag_tensor nn_recurrent_apply(const nn_recurrent *rnn, ag_tensor x, nn_recurrent_state *state)
{
    ag_tape *tape = x.tape;
    if (!rnn)
        return nn_no_layer(tape);
    ag_shape shape = ag_valid(x) ? ag_shape_of(x) : AG_SHAPE(1, 1, 1);
    if (shape.rank != 3)
        return ag_fail(tape, "recurrent: x has %d axes; it must have 3, (N, steps, in)",
                       shape.rank);
    ag_tensor zeros = {0}, *at = malloc((size_t)shape.dim[1] * sizeof *at);
    if (!at)
        return ag_fail(tape, "recurrent: out of memory");
    if (ag_valid(x))
        zeros = ag_full(tape, AG_SHAPE(shape.dim[0], rnn->hidden), 0.0);
    for (int i = 0; i < rnn->layers && !ag_error(tape); i++) {
        nn_recurrent_state s = state ? state[i] : (nn_recurrent_state){0};
        s.h = s.h.tape ? s.h : zeros;
        s.c = s.c.tape ? s.c : zeros;
        x = run(rnn, &rnn->layer[i], x, shape.dim[1], &s, at);
        if (state)
            state[i] = rnn->cell == NN_LSTM ? s : (nn_recurrent_state){.h = s.h};
    }
    free(at);
    return ag_error(tape) ? (ag_tensor){.tape = tape} : x;
}
