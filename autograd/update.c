/* Optimiser updates: one pass over a parameter, in place. */
#include <math.h>

#include "ops/ops.h"

/* Whether x, the gradient or a state of parameter w, is on its tape and shaped like it. */
static bool is_like(ag_tensor w, const struct record *rw, ag_tensor x, const char *who,
                    const char *what)
{
    const struct record *r = find(x);
    if (r && x.tape == w.tape && shape_equal(&r->shape, &rw->shape))
        return true;
    ag_fail(w.tape, "%s: the %s must be on the parameter's tape and shaped like it", who, what);
    return false;
}

/* What is not finite makes NaN of 0. */
static bool all_finite(ag_tape *tape, const char *who, const double *options, size_t count)
{
    double zero = 0.0;
    for (size_t i = 0; i < count; i++)
        zero += 0.0 * options[i];
    if (zero == 0.0)
        return true;
    ag_fail(tape, "%s: an option is not finite", who);
    return false;
}

/* Makes ready to read the gradient and to change the parameter and its states, the first of x; NULL
 * on error. */
static const void *prepare(const ag_tensor *x, size_t count, ag_tensor gradient, const char *who)
{
    ag_tape *tape = gradient.tape;
    for (size_t i = 0; i < count; i++)
        if (!can_change(x[i], find(x[i]), who))
            return NULL;
    run_pending(tape);
    if (tape->failed)
        return NULL;
    pin(tape, find(gradient));
    for (size_t i = 0; i < count; i++)
        touch(tape, find(x[i]));
    return find(gradient)->data;
}

bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *o)
{
    static const char who[] = "update_sgd";
    bool moves = o->momentum != 0.0;
    const double options[] = {o->rate, o->momentum, o->weight_decay, o->scale};
    const struct record *r = resolve(w, who);
    if (!r || w.tape->failed || !is_like(w, r, g, who, "gradient") ||
        (moves && !is_like(w, r, velocity, who, "velocity")) ||
        !all_finite(w.tape, who, options, sizeof options / sizeof *options))
        return false;
    const void *gradient = prepare((ag_tensor[]){w, velocity}, moves ? 2 : 1, g, who);
    if (!gradient)
        return false;
    w.tape->kernels->sgd((size_t)r->count, r->data, gradient, moves ? find(velocity)->data : NULL,
                         &(struct sgd){.rate = o->rate,
                                       .momentum = o->momentum,
                                       .weight_decay = o->weight_decay,
                                       .scale = o->scale,
                                       .nesterov = o->nesterov});
    return true;
}

bool ag_update_adam(ag_tensor w, ag_tensor g, ag_tensor m, ag_tensor v, const ag_adam *o)
{
    static const char who[] = "update_adam";
    const double options[] = {o->rate, o->beta1, o->beta2, o->epsilon, o->weight_decay, o->scale};
    const struct record *r = resolve(w, who);
    if (!r || w.tape->failed || !is_like(w, r, g, who, "gradient") ||
        !is_like(w, r, m, who, "first moment") || !is_like(w, r, v, who, "second moment") ||
        !all_finite(w.tape, who, options, sizeof options / sizeof *options))
        return false;
    if (o->step < 1) {
        ag_fail(w.tape, "update_adam: steps count from 1");
        return false;
    }
    const void *gradient = prepare((ag_tensor[]){w, m, v}, 3, g, who);
    if (!gradient)
        return false;
    w.tape->kernels->adam((size_t)r->count, r->data, gradient, find(m)->data, find(v)->data,
                          &(struct adam){.rate = o->rate,
                                         .beta1 = o->beta1,
                                         .beta2 = o->beta2,
                                         .epsilon = o->epsilon,
                                         .weight_decay = o->weight_decay,
                                         .scale = o->scale,
                                         .correction1 = 1.0 - pow(o->beta1, (double)o->step),
                                         .correction2 = 1.0 - pow(o->beta2, (double)o->step),
                                         .decoupled = o->decoupled});
    return true;
}
