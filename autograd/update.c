/* Optimiser updates: one pass over a parameter, in place. */
#include <math.h>

#include "ops/ops.h"

/* The record of x if it can be the gradient or a state of parameter w, whose record is r: on its
 * tape, and shaped like it. NULL with the error. */
static inline struct record *beside(ag_tensor w, const struct record *r, ag_tensor x,
                                    const char *who, const char *what)
{
    struct record *found = x.tape == w.tape ? find(x) : NULL;
    if (found && shape_equal(&found->shape, &r->shape))
        return found;
    ag_fail(w.tape, "%s: the %s must be on the parameter's tape and shaped like it", who, what);
    return NULL;
}

/* The same of a state, which is changed as well, and so is a tensor of its own: neither w nor
 * `other`, a state too, or NULL. */
static struct record *state_beside(ag_tensor w, const struct record *r, ag_tensor x,
                                   const struct record *other, const char *who, const char *what)
{
    struct record *state = beside(w, r, x, who, what);
    if (state && state != r && state != other)
        return can_change(x, state, who) ? state : NULL;
    ag_fail(w.tape, "%s: the %s must be a tensor of its own", who, what);
    return NULL;
}

static inline bool given(ag_tape *tape, const void *options, const char *who)
{
    if (!options)
        ag_fail(tape, "%s: no options (NULL)", who);
    return options;
}

/* What is not finite makes NaN of 0. */
static inline bool all_finite(ag_tape *tape, const char *who, const double *options, size_t count)
{
    double zero = 0.0;
    for (size_t i = 0; i < count; i++)
        zero += 0.0 * options[i];
    if (zero == 0.0)
        return true;
    ag_fail(tape, "%s: an option is not finite", who);
    return false;
}

/* Makes ready to read the gradient and to change the parameter; false on error. */
static inline bool begin(ag_tape *tape, struct record *gradient, struct record *w)
{
    run_pending(tape);
    if (tape->failed)
        return false;
    pin(tape, gradient);
    touch(tape, w);
    return true;
}

/* One of the two kernels over all elements of a parameter, shared among threads where these are
 * many. */
struct pass {
    const struct kernels *kernels;
    const struct sgd *sgd;
    const struct adam *adam;
    char *w;
    const char *g;
    char *m, *v;
};

static void pass_share(void *context, size_t first, size_t count, int thread)
{
    const struct pass *p = context;
    size_t at = first * p->kernels->element;
    (void)thread;
    if (p->sgd)
        p->kernels->sgd(count, p->w + at, p->g + at, p->m ? p->m + at : NULL, p->sgd);
    else
        p->kernels->adam(count, p->w + at, p->g + at, p->m + at, p->v + at, p->adam);
}

bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *o)
{
    static const char who[] = "update_sgd";
    struct record *r = resolve(w, who), *gradient, *m = NULL;
    if (!r || w.tape->failed || !given(w.tape, o, who))
        return false;
    const struct sgd sgd = {.rate = o->rate,
                            .momentum = o->momentum,
                            .weight_decay = o->weight_decay,
                            .scale = o->scale,
                            .nesterov = o->nesterov};
    const double options[] = {sgd.rate, sgd.momentum, sgd.weight_decay, sgd.scale};
    const bool moves = sgd.momentum != 0.0;
    ag_tape *tape = w.tape;
    if (!(gradient = beside(w, r, g, who, "gradient")) ||
        (moves && !(m = state_beside(w, r, velocity, NULL, who, "velocity"))) ||
        !all_finite(tape, who, options, sizeof options / sizeof *options) ||
        !can_change(w, r, who) || !begin(tape, gradient, r))
        return false;
    if (moves)
        touch(tape, m);
    void *velocities = moves ? m->data : NULL;
    size_t count = (size_t)r->count;
    if (worth_sharing_elements(tape, count))
        share_elements(tape, count, pass_share,
                       &(struct pass){.kernels = tape->kernels,
                                      .sgd = &sgd,
                                      .w = r->data,
                                      .g = gradient->data,
                                      .m = velocities});
    else
        tape->kernels->sgd(count, r->data, gradient->data, velocities, &sgd);
    return true;
}

bool ag_update_adam(ag_tensor w, ag_tensor g, ag_tensor m, ag_tensor v, const ag_adam *o)
{
    static const char who[] = "update_adam";
    struct record *r = resolve(w, who), *gradient, *first, *second;
    if (!r || w.tape->failed || !given(w.tape, o, who))
        return false;
    ag_tape *tape = w.tape;
    const double options[] = {o->rate, o->beta1, o->beta2, o->epsilon, o->weight_decay, o->scale};
    if (!(gradient = beside(w, r, g, who, "gradient")) ||
        !(first = state_beside(w, r, m, NULL, who, "first moment")) ||
        !(second = state_beside(w, r, v, first, who, "second moment")) ||
        !all_finite(tape, who, options, sizeof options / sizeof *options))
        return false;
    if (o->step < 1) {
        ag_fail(tape, "update_adam: steps count from 1");
        return false;
    }
    if (!can_change(w, r, who) || !begin(tape, gradient, r))
        return false;
    touch(tape, first);
    touch(tape, second);
    const struct adam adam = {.rate = o->rate,
                              .beta1 = o->beta1,
                              .beta2 = o->beta2,
                              .epsilon = o->epsilon,
                              .weight_decay = o->weight_decay,
                              .scale = o->scale,
                              .correction1 = 1.0 - pow(o->beta1, (double)o->step),
                              .correction2 = 1.0 - pow(o->beta2, (double)o->step),
                              .decoupled = o->decoupled};
    size_t count = (size_t)r->count;
    if (worth_sharing_elements(tape, count))
        share_elements(tape, count, pass_share,
                       &(struct pass){.kernels = tape->kernels,
                                      .adam = &adam,
                                      .w = r->data,
                                      .g = gradient->data,
                                      .m = first->data,
                                      .v = second->data});
    else
        tape->kernels->adam(count, r->data, gradient->data, first->data, second->data, &adam);
    return true;
}
