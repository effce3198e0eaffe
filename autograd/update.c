/* Optimiser updates: one pass over a parameter, in place. */
#include <math.h>

#include "ops/ops.h"

/* Whether x, the gradient or a state of parameter w, is on its tape and shaped like it. */
static bool like(ag_tensor w, ag_tensor x, const char *who, const char *what)
{
    const struct record *rw = resolve(w, who), *r = find(x);
    if (!rw || w.tape->failed)
        return false;
    if (r && x.tape == w.tape && shape_equal(&r->shape, &rw->shape))
        return true;
    ag_fail(w.tape, "%s: the %s must be on the parameter's tape and shaped like it", who, what);
    return false;
}

static bool all_finite(ag_tape *tape, const char *who, const double *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(options[i])) {
            ag_fail(tape, "%s: an option is %g; all must be finite", who, options[i]);
            return false;
        }
    return true;
}

bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *o)
{
    static const char who[] = "update_sgd";
    bool moves = o->momentum != 0.0;
    const double options[] = {o->rate, o->momentum, o->weight_decay, o->scale};
    if (!like(w, g, who, "gradient") || (moves && !like(w, velocity, who, "velocity")) ||
        !all_finite(w.tape, who, options, sizeof options / sizeof *options))
        return false;
    const struct record *gradient = computed(g, who);
    struct record *m = moves ? changeable(velocity, who) : NULL, *r = changeable(w, who);
    if (!gradient || !r || (moves && !m))
        return false;
    w.tape->kernels->sgd((size_t)r->count, r->data, gradient->data, moves ? m->data : NULL,
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
    if (!like(w, g, who, "gradient") || !like(w, m, who, "first moment") ||
        !like(w, v, who, "second moment") ||
        !all_finite(w.tape, who, options, sizeof options / sizeof *options))
        return false;
    if (o->step < 1) {
        ag_fail(w.tape, "update_adam: steps count from 1");
        return false;
    }
    const struct record *gradient = computed(g, who);
    struct record *first = changeable(m, who), *second = changeable(v, who),
                  *r = changeable(w, who);
    if (!gradient || !first || !second || !r)
        return false;
    w.tape->kernels->adam((size_t)r->count, r->data, gradient->data, first->data, second->data,
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
