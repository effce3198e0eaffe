/* Optimiser updates: one pass over a parameter, in place. */
#include <math.h>

#include "ops/ops.h"

/* A state tensor's data, if it is shaped like the parameter. */
static void *state(ag_tensor w, ag_tensor x, const char *who, const char *what, bool changes)
{
    const struct record *r = changes ? resolve(x, who) : computed(x, who), *rw = find(w);
    if (!r || x.tape != w.tape || !shape_equal(&r->shape, &rw->shape)) {
        ag_fail(w.tape, "%s: the %s must be on the parameter's tape and shaped like it", who, what);
        return NULL;
    }
    if (changes && !changeable(x, who))
        return NULL;
    return find(x)->data;
}

bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *o)
{
    struct record *r = changeable(w, "update_sgd");
    if (!r)
        return false;
    void *m = NULL;
    const void *gradient = state(w, g, "update_sgd", "gradient", false);
    if (!gradient ||
        (o->momentum != 0.0 && !(m = state(w, velocity, "update_sgd", "velocity", true))))
        return false;
    w.tape->kernels->sgd((size_t)r->count, r->data, gradient, m,
                         &(struct sgd){.rate = o->rate,
                                       .momentum = o->momentum,
                                       .weight_decay = o->weight_decay,
                                       .scale = o->scale,
                                       .nesterov = o->nesterov});
    return true;
}

bool ag_update_adam(ag_tensor w, ag_tensor g, ag_tensor m, ag_tensor v, const ag_adam *o)
{
    struct record *r = changeable(w, "update_adam");
    if (!r)
        return false;
    if (o->step < 1) {
        ag_fail(w.tape, "update_adam: steps count from 1");
        return false;
    }
    const void *gradient = state(w, g, "update_adam", "gradient", false);
    void *first = gradient ? state(w, m, "update_adam", "first moment", true) : NULL;
    void *second = first ? state(w, v, "update_adam", "second moment", true) : NULL;
    if (!second)
        return false;
    w.tape->kernels->adam((size_t)r->count, r->data, gradient, first, second,
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
