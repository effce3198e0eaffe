/* Optimisers: which parameters are updated, with what state; the arithmetic is the engine's.
 *
 * Sources: SGD as in torch.optim.SGD (Sutskever et al. 2013 for Nesterov's momentum); Adam: Kingma
 * & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019, algorithm 2; clipping: Pascanu, Mikolov
 * & Bengio 2013, algorithm 1, with torch.nn.utils.clip_grad_norm_'s 1e-6 under the fraction. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "optimizer.h"

#include <math.h>

enum { LANES = 8 };

struct slot {
    ag_tensor w, gradient; /* gradient: during a step; without a tape if there is none */
    ag_tensor state[2];    /* sgd: velocity; adam: m and v */
    uint64_t step;         /* updates of this parameter so far */
};

struct nn_optimizer {
    nn_params *params;
    nn_options options;
    size_t count; /* of slots: the parameters there were when it was made */
    struct slot *slot;
};

nn_options nn_sgd(double rate)
{
    return (nn_options){.method = NN_SGD, .rate = rate};
}

nn_options nn_adam(double rate)
{
    return (
        nn_options){.method = NN_ADAM, .rate = rate, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
}

nn_options nn_adamw(double rate)
{
    nn_options options = nn_adam(rate);
    options.method = NN_ADAMW;
    options.weight_decay = 0.01;
    return options;
}

static bool in_range(ag_tape *tape, const char *what, double value, double limit)
{
    if (value >= 0.0 && value < limit)
        return true;
    ag_fail(tape, "optimizer: %s is %g; it must be at least 0 and %s", what, value,
            isinf(limit) ? "finite" : "below 1");
    return false;
}

static bool options_fit(ag_tape *tape, const nn_options *o)
{
    if (o->method != NN_SGD && o->method != NN_ADAM && o->method != NN_ADAMW) {
        ag_fail(tape, "optimizer: %d is not a method: NN_SGD, NN_ADAM or NN_ADAMW", (int)o->method);
        return false;
    }
    if (o->nesterov && o->momentum == 0.0) {
        ag_fail(tape, "optimizer: nesterov is set, but momentum is 0");
        return false;
    }
    return in_range(tape, "rate", o->rate, HUGE_VAL) &&
           in_range(tape, "momentum", o->momentum, 1.0) && in_range(tape, "beta1", o->beta1, 1.0) &&
           in_range(tape, "beta2", o->beta2, 1.0) &&
           in_range(tape, "epsilon", o->epsilon, HUGE_VAL) &&
           in_range(tape, "weight_decay", o->weight_decay, HUGE_VAL) &&
           in_range(tape, "clip_norm", o->clip_norm, HUGE_VAL);
}

nn_optimizer *nn_optimizer_new(nn_params *params, nn_options options)
{
    ag_tape *tape = nn_params_tape(params);
    size_t count = nn_params_count(params);
    if (!params || !options_fit(tape, &options))
        return NULL;
    if (!count) {
        ag_fail(tape, "optimizer: there are no parameters; make the layers first");
        return NULL;
    }
    nn_optimizer *optimizer = ag_allocate(tape, sizeof *optimizer);
    struct slot *slot = ag_allocate(tape, count * sizeof *slot);
    if (!optimizer || !slot)
        return NULL;
    for (size_t i = 0; i < count; i++)
        slot[i].w = nn_params_at(params, i);
    *optimizer = (nn_optimizer){.params = params, .options = options, .count = count, .slot = slot};
    return optimizer;
}

/* ---- Norm ---- */

/* Of f, or of d where f is NULL: a constant to each caller. Partial sums side by side, in a fixed
 * order, so that a compiler may use vectors. */
static inline double sum_squares(const float *f, const double *d, int64_t count)
{
    double lane[LANES] = {0}, sum = 0.0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++) {
            double e = f ? (double)f[i + k] : d[i + k];
            lane[k] += e * e;
        }
    for (; i < count; i++) {
        double e = f ? (double)f[i] : d[i];
        sum += e * e;
    }
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

static double sum_of_squares(ag_tensor x)
{
    bool single = ag_tape_dtype(x.tape) == AG_F32;
    const float *f = single ? ag_data_f32(x) : NULL;
    const double *d = single ? NULL : ag_data_f64(x);
    if (f)
        return sum_squares(f, NULL, ag_count(x));
    return d ? sum_squares(NULL, d, ag_count(x)) : (double)NAN;
}

static bool no_gradient(ag_tape *tape, const char *who)
{
    ag_fail(tape,
            "%s: no parameter has a gradient; call ag_backward first, and ag_tape_reset only "
            "afterwards",
            who);
    return false;
}

double nn_gradient_norm(const nn_params *params)
{
    double sum = 0.0;
    size_t found = 0;
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        if (!ag_has_gradient(w))
            continue;
        sum += sum_of_squares(ag_gradient(w));
        found++;
    }
    if (!found)
        no_gradient(nn_params_tape(params), "gradient_norm");
    return found ? sqrt(sum) : (double)NAN;
}

/* ---- Step ---- */

static int state_count(const nn_options *o)
{
    return o->method != NN_SGD ? 2 : o->momentum != 0.0 ? 1 : 0;
}

static bool make_state(const nn_options *o, struct slot *slot)
{
    for (int i = 0; i < state_count(o); i++) {
        if (!ag_valid(slot->state[i]))
            slot->state[i] = ag_buffer(slot->w.tape, NULL, ag_shape_of(slot->w));
        if (!ag_valid(slot->state[i]))
            return false;
    }
    return true;
}

/* Fetches the gradients and makes what state is missing: all that can fail. */
static bool prepare(nn_optimizer *optimizer)
{
    ag_tape *tape = nn_params_tape(optimizer->params);
    size_t count = nn_params_count(optimizer->params), found = 0;
    if (ag_error(tape))
        return false;
    if (count != optimizer->count) {
        ag_fail(tape,
                "step: there are %zu parameters, but were %zu when the optimiser was made; make "
                "it after all layers",
                count, optimizer->count);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &optimizer->slot[i];
        slot->gradient = (ag_tensor){0};
        if (!ag_has_gradient(slot->w))
            continue;
        slot->gradient = ag_gradient(slot->w);
        found++;
        if (!make_state(&optimizer->options, slot))
            return false;
    }
    return found ? true : no_gradient(tape, "step");
}

static void update(const nn_options *o, struct slot *slot, double scale)
{
    slot->step++;
    if (o->method == NN_SGD)
        ag_update_sgd(slot->w, slot->gradient, slot->state[0],
                      &(ag_sgd){.rate = o->rate,
                                .momentum = o->momentum,
                                .weight_decay = o->weight_decay,
                                .scale = scale,
                                .nesterov = o->nesterov});
    else
        ag_update_adam(slot->w, slot->gradient, slot->state[0], slot->state[1],
                       &(ag_adam){.rate = o->rate,
                                  .beta1 = o->beta1,
                                  .beta2 = o->beta2,
                                  .epsilon = o->epsilon,
                                  .weight_decay = o->weight_decay,
                                  .scale = scale,
                                  .decoupled = o->method == NN_ADAMW,
                                  .step = slot->step});
}

bool nn_step(nn_optimizer *optimizer)
{
    if (!optimizer || !prepare(optimizer))
        return false;
    double scale = 1.0, clip = optimizer->options.clip_norm;
    if (clip > 0.0)
        scale = fmin(1.0, clip / (nn_gradient_norm(optimizer->params) + 1e-6));
    for (size_t i = 0; i < optimizer->count; i++)
        if (optimizer->slot[i].gradient.tape)
            update(&optimizer->options, &optimizer->slot[i], scale);
    return !ag_error(nn_params_tape(optimizer->params));
}

bool nn_set_rate(nn_optimizer *optimizer, double rate)
{
    if (!optimizer || !in_range(nn_params_tape(optimizer->params), "rate", rate, HUGE_VAL))
        return false;
    optimizer->options.rate = rate;
    return true;
}

double nn_rate(const nn_optimizer *optimizer)
{
    return optimizer ? optimizer->options.rate : (double)NAN;
}

/* ---- For checkpoints ---- */

nn_options nn_optimizer_options(const nn_optimizer *optimizer)
{
    return optimizer->options;
}

bool nn_optimizer_set_options(nn_optimizer *optimizer, nn_options options)
{
    if (!options_fit(nn_params_tape(optimizer->params), &options))
        return false;
    optimizer->options = options;
    return true;
}

const ag_tensor *nn_optimizer_state(nn_optimizer *optimizer, size_t index, int *count,
                                    uint64_t **step)
{
    struct slot *slot = index < optimizer->count ? &optimizer->slot[index] : NULL;
    if (!slot || !make_state(&optimizer->options, slot))
        return NULL;
    *count = state_count(&optimizer->options);
    *step = &slot->step;
    return slot->state;
}
