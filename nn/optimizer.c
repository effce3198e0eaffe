/* Optimisers: which parameters are updated, with what state; the arithmetic is the engine's.
 *
 * Sources: SGD as in torch.optim.SGD (Sutskever et al. 2013 for Nesterov's momentum); Adam: Kingma
 * & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019, algorithm 2; RMSprop: Tieleman & Hinton
 * 2012; Adagrad: Duchi, Hazan & Singer 2011, figure 1; Lion: Chen et al. 2023, algorithm 2; Muon:
 * muon.c, scaled to Adam's length of step (Liu et al. 2025, "Muon is scalable for LLM training");
 * clipping: Pascanu, Mikolov & Bengio 2013, algorithm 1, with torch.nn.utils.clip_grad_norm_'s 1e-6
 * under the fraction. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "parts.h"

#include <math.h>

enum { LANES = 8 };

struct slot {
    ag_tensor w, gradient;           /* gradient: during a step; without a tape if there is none */
    ag_tensor state[2];              /* sgd: velocity; lion, muon: m; the others: m and v */
    ag_tensor update, in, out;       /* lion, muon: and on the tape beside, before and after */
    bool spared;                     /* muon: a matrix that is adamw's */
    ag_tensor sum;                   /* of gradients, where they are accumulated, */
    bool summed;                     /* and if so, whether it holds any */
    double rate_scale, weight_decay; /* its group's; negative: it is in none */
    uint64_t step;                   /* updates of this parameter so far */
};

struct nn_optimizer {
    nn_params *params;
    nn_options options;
    size_t count; /* of slots: the parameters there were when it was made */
    struct slot *slot;
    uint64_t accumulated; /* calls of nn_accumulate since the last step */
    ag_tape *beside;      /* of lion and muon: for the programs that shape their updates */
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

nn_options nn_rmsprop(double rate)
{
    return (nn_options){.method = NN_RMSPROP, .rate = rate, .beta2 = 0.99, .epsilon = 1e-8};
}

nn_options nn_adagrad(double rate)
{
    return (nn_options){.method = NN_ADAGRAD, .rate = rate, .epsilon = 1e-10};
}

nn_options nn_lion(double rate)
{
    return (nn_options){.method = NN_LION, .rate = rate, .beta1 = 0.9, .beta2 = 0.99};
}

nn_options nn_muon(double rate)
{
    nn_options options = nn_adamw(rate);
    options.method = NN_MUON;
    options.momentum = 0.95;
    options.nesterov = true;
    return options;
}

static bool in_range(ag_tape *tape, const char *what, double value, double limit)
{
    return (value >= 0.0 && value < limit) ||
           NN_FAIL(tape, "optimizer: %s is %g; it must be at least 0 and %s", what, value,
                   isinf(limit) ? "finite" : "below 1");
}

static bool options_fit(ag_tape *tape, const nn_options *o)
{
    if ((int)o->method < NN_SGD || o->method > NN_MUON)
        return NN_FAIL(tape, "optimizer: %d is not a method: NN_SGD ... NN_MUON", (int)o->method);
    if (o->nesterov && o->momentum == 0.0)
        return NN_FAIL(tape, "optimizer: nesterov is set, but momentum is 0");
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
    bool beside = options.method == NN_LION || options.method == NN_MUON;
    if (!params || !options_fit(tape, &options))
        return NULL;
    if (!count)
        ag_fail(tape, "optimizer: there are no parameters; make the layers first");
    nn_optimizer *optimizer = count ? ag_allocate(tape, sizeof *optimizer) : NULL;
    struct slot *slot = optimizer ? ag_allocate(tape, count * sizeof *slot) : NULL;
    if (!slot)
        return NULL;
    for (size_t i = 0; i < count; i++)
        slot[i] = (struct slot){.w = nn_params_at(params, i), .rate_scale = 1, .weight_decay = -1};
    *optimizer = (nn_optimizer){params, options, count, slot,
                                .beside = beside ? nn_tape_beside(tape) : NULL};
    return beside && !optimizer->beside ? NULL : optimizer;
}

/* ---- Norm ---- */

static inline double square(double x)
{
    return x * x;
}

/* Partial sums side by side, in a fixed order, so that a compiler may use vectors. */
static double sum_of_squares(ag_tensor x)
{
    bool single = ag_tape_dtype(x.tape) == AG_F32;
    const float *f = single ? ag_data_f32(x) : NULL;
    const double *d = single ? NULL : ag_data_f64(x);
    double lane[LANES] = {0}, sum = f || d ? 0.0 : (double)NAN;
    int64_t i = 0, count = f || d ? ag_count(x) : 0;
    for (; i + LANES <= count; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += square(f ? (double)f[i + k] : d[i + k]);
    for (; i < count; i++)
        sum += square(f ? (double)f[i] : d[i]);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

static bool no_gradient(ag_tape *tape, const char *who)
{
    return NN_FAIL(tape,
                   "%s: no parameter has a gradient; call ag_backward first, and ag_tape_reset "
                   "only afterwards",
                   who);
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

/* ---- Groups ---- */

bool nn_set_group(nn_optimizer *optimizer, const char *pattern, double rate_scale,
                  double weight_decay)
{
    ag_tape *tape = optimizer ? nn_params_tape(optimizer->params) : NULL;
    size_t found = 0;
    if (!optimizer || !in_range(tape, "rate_scale", rate_scale, HUGE_VAL) ||
        !in_range(tape, "weight_decay", weight_decay, HUGE_VAL))
        return false;
    for (size_t i = 0; i < optimizer->count; i++) {
        struct slot *slot = &optimizer->slot[i];
        if (!nn_name_fits(ag_name_of(slot->w), pattern))
            continue;
        slot->rate_scale = rate_scale;
        slot->weight_decay = weight_decay;
        found++;
    }
    return nn_some_fit(tape, "set_group", pattern, found);
}

bool nn_set_adamw(nn_optimizer *optimizer, const char *pattern)
{
    size_t found = 0;
    if (!optimizer)
        return false;
    for (size_t i = 0; i < optimizer->count; i++)
        if (nn_name_fits(ag_name_of(optimizer->slot[i].w), pattern))
            optimizer->slot[i].spared = ++found;
    return nn_some_fit(nn_params_tape(optimizer->params), "set_adamw", pattern, found);
}

/* ---- Gradients ---- */

static bool make_buffer(ag_tensor *buffer, ag_tensor like)
{
    if (!ag_valid(*buffer))
        *buffer = ag_buffer(like.tape, NULL, ag_shape_of(like));
    return ag_valid(*buffer);
}

/* Fetches the gradients, those of the last ag_backward; false when there are none, or on error. */
static bool fetch(nn_optimizer *optimizer, const char *who)
{
    ag_tape *tape = nn_params_tape(optimizer->params);
    size_t count = nn_params_count(optimizer->params), found = 0;
    if (ag_error(tape))
        return false;
    if (count != optimizer->count)
        return NN_FAIL(tape,
                       "%s: there are %zu parameters, but were %zu when the optimiser was made; "
                       "make it after all layers",
                       who, count, optimizer->count);
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &optimizer->slot[i];
        slot->gradient = ag_has_gradient(slot->w) ? ag_gradient(slot->w) : (ag_tensor){0};
        found += slot->gradient.tape != NULL;
    }
    return found || no_gradient(tape, who);
}

bool nn_accumulate(nn_optimizer *optimizer)
{
    bool good = optimizer && fetch(optimizer, "accumulate");
    for (size_t i = 0; good && i < optimizer->count; i++) {
        struct slot *slot = &optimizer->slot[i];
        if (!slot->gradient.tape)
            continue;
        good = make_buffer(&slot->sum, slot->w) &&
               (slot->summed ? ag_update_sgd(slot->sum, slot->gradient, (ag_tensor){0},
                                             &(ag_sgd){.rate = -1.0, .scale = 1.0})
                             : nn_assign(slot->sum, slot->gradient));
        slot->summed = good;
    }
    if (good)
        optimizer->accumulated++;
    return good;
}

/* ---- Step ---- */

/* Does a program shape its update? Lion's are the signs of what muon makes orthogonal. */
static bool shaped(const nn_options *o, const struct slot *slot)
{
    return o->method == NN_LION ||
           (o->method == NN_MUON && !slot->spared && ag_shape_of(slot->w).rank == 2);
}

static int state_count(const nn_options *o, const struct slot *slot)
{
    if (o->method == NN_SGD)
        return o->momentum != 0.0 ? 1 : 0;
    return shaped(o, slot) ? 1 : 2;
}

/* False with the sticky error. */
static bool make_state(nn_optimizer *optimizer, struct slot *slot)
{
    const nn_options *o = &optimizer->options;
    for (int i = 0; i < state_count(o, slot); i++)
        if (!make_buffer(&slot->state[i], slot->w))
            return false;
    if (!shaped(o, slot) || slot->in.tape)
        return true;
    slot->in = ag_input(optimizer->beside, "g", ag_shape_of(slot->w));
    slot->out = o->method == NN_LION ? ag_sign(slot->in) : nn_orthogonal(slot->in);
    return make_buffer(&slot->update, slot->w) &&
           (ag_valid(slot->out) || NN_FAIL(slot->w.tape, "step: %s", ag_error(slot->in.tape)));
}

/* Finds the gradients, or the sums, and makes what state is missing: all that can fail. */
static bool prepare(nn_optimizer *optimizer)
{
    if (ag_error(nn_params_tape(optimizer->params)) ||
        (!optimizer->accumulated && !fetch(optimizer, "step")))
        return false;
    for (size_t i = 0; i < optimizer->count; i++) {
        struct slot *slot = &optimizer->slot[i];
        if (optimizer->accumulated)
            slot->gradient = slot->summed ? slot->sum : (ag_tensor){0};
        if (slot->gradient.tape && !make_state(optimizer, slot))
            return false;
    }
    return true;
}

static void update_sgd(const nn_options *o, struct slot *slot, double scale)
{
    ag_update_sgd(slot->w, slot->gradient, slot->state[0],
                  &(ag_sgd){.rate = o->rate,
                            .momentum = o->momentum,
                            .weight_decay = o->weight_decay,
                            .scale = scale,
                            .nesterov = o->nesterov});
}

/* Adam and its kin. RMSprop is Adam without momentum (beta1 = 0) and without the correction of v's
 * bias (after infinitely many steps). Adagrad's sum of squares after t steps is t times their mean,
 * which beta2 = (t - 1)/t makes of v; and t is the correction that Adam takes from beta2 at step 1.
 */
static void update_adam(const nn_options *o, struct slot *slot, double scale)
{
    ag_adam adam = {.rate = o->rate,
                    .beta1 = o->beta1,
                    .beta2 = o->beta2,
                    .epsilon = o->epsilon,
                    .weight_decay = o->weight_decay,
                    .scale = scale,
                    .decoupled = o->method == NN_ADAMW || o->method == NN_MUON,
                    .step = slot->step};
    if (o->method == NN_RMSPROP || o->method == NN_ADAGRAD)
        adam.beta1 = 0.0;
    if (o->method == NN_RMSPROP)
        adam.step = UINT64_MAX;
    if (o->method == NN_ADAGRAD) {
        adam.beta2 = 1.0 - 1.0 / (double)slot->step;
        adam.step = 1;
    }
    ag_update_adam(slot->w, slot->gradient, slot->state[0], slot->state[1], &adam);
}

/* What lion and muon make of momenta and gradients, for all parameters at once. */
static void shape_all(nn_optimizer *optimizer, double scale)
{
    const nn_options *o = &optimizer->options;
    bool lion = o->method == NN_LION;
    double mix = lion ? 1.0 - o->beta1 : o->nesterov ? 1.0 - o->momentum : 0.0;
    struct slot *slot = optimizer->slot, *end = slot + optimizer->count;
    for (; slot < end; slot++) {
        if (!slot->gradient.tape || !shaped(o, slot))
            continue;
        if (!lion)
            nn_move(slot->state[0], slot->gradient, 1.0 - o->momentum, scale);
        nn_assign(slot->update, slot->state[0]);
        nn_move(slot->update, slot->gradient, mix, scale);
        nn_assign(slot->in, slot->update);
        if (lion)
            nn_move(slot->state[0], slot->gradient, 1.0 - o->beta2, scale);
    }
    ag_replay(optimizer->beside);
}

/* An orthogonal matrix's elements are 1/sqrt(its longer side) in the root mean square; Adam's steps
 * are about 0.2. */
static void update_shaped(const nn_options *o, struct slot *slot)
{
    ag_shape shape = ag_shape_of(slot->w);
    int64_t side = shape.dim[0] > shape.dim[1] ? shape.dim[0] : shape.dim[1];
    nn_assign(slot->update, slot->out);
    ag_update_sgd(slot->w, slot->update, (ag_tensor){0},
                  &(ag_sgd){.rate = o->rate,
                            .weight_decay = o->weight_decay,
                            .scale = o->method == NN_LION ? 1.0 : 0.2 * sqrt((double)side)});
}

static void update(nn_optimizer *optimizer, struct slot *slot, double scale)
{
    nn_options o = optimizer->options;
    o.rate *= slot->rate_scale;
    if (slot->weight_decay >= 0.0)
        o.weight_decay = slot->weight_decay;
    slot->step++;
    if (o.method == NN_SGD)
        update_sgd(&o, slot, scale);
    else if (shaped(&o, slot))
        update_shaped(&o, slot);
    else
        update_adam(&o, slot, scale);
}

/* What gradients are multiplied with: that makes sums means, and clips. */
static double gradient_scale(const nn_optimizer *optimizer)
{
    double mean = optimizer->accumulated ? 1.0 / (double)optimizer->accumulated : 1.0;
    double sum = 0.0, clip = optimizer->options.clip_norm;
    for (size_t i = 0; i < optimizer->count && clip > 0.0; i++)
        if (optimizer->slot[i].gradient.tape)
            sum += sum_of_squares(optimizer->slot[i].gradient);
    return clip > 0.0 ? mean * fmin(1.0, clip / (mean * sqrt(sum) + 1e-6)) : mean;
}

bool nn_step(nn_optimizer *optimizer)
{
    if (!optimizer || !prepare(optimizer))
        return false;
    double scale = gradient_scale(optimizer);
    if (optimizer->beside)
        shape_all(optimizer, scale);
    for (size_t i = 0; i < optimizer->count; i++) {
        struct slot *slot = &optimizer->slot[i];
        if (slot->gradient.tape)
            update(optimizer, slot, scale);
        slot->summed = false;
    }
    optimizer->accumulated = 0;
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
    bool buffer = slot && nn_params_is_buffer(optimizer->params, index);
    if (!slot || (!buffer && !make_state(optimizer, slot)))
        return NULL;
    *count = buffer ? 0 : state_count(&optimizer->options, slot);
    *step = &slot->step;
    return slot->state;
}
