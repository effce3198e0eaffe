/* Optimiser updates: one pass over a parameter, in place. */
#include <math.h>

#include "ops/ops.h"

/* One update: of the parameter w by its gradient g, with what the optimiser keeps. */
struct update {
    const char *who;
    ag_tape *tape;
    struct record *w, *g, *state[2];
    const struct sgd *sgd;
    const struct adam *adam;
};

/* The record of x if it can be the gradient or a state of the parameter: on its tape, and shaped
 * like it. NULL with the error. */
static inline struct record *beside(const struct update *u, ag_tensor x, const char *what)
{
    struct record *found = x.tape == u->tape ? find(x) : NULL;
    if (found && shape_equal(&found->shape, &u->w->shape))
        return found;
    ag_fail(u->tape, "%s: the %s must be on the parameter's tape and shaped like it", u->who, what);
    return NULL;
}

/* The record of x if it can be the next state, which is changed as well, and so is a tensor of its
 * own; NULL with the error. */
static struct record *take_state(struct update u, ag_tensor x, const char *what)
{
    struct record *state = beside(&u, x, what);
    if (state && (state == u.w || state == u.state[0])) {
        ag_fail(u.tape, "%s: the %s must be a tensor of its own", u.who, what);
        return NULL;
    }
    return state && can_change(x, state, u.who) ? state : NULL;
}

/* Begins with the parameter, its gradient and whether there are options; false on error. */
static inline bool begin(struct update *u, ag_tensor w, ag_tensor g, const void *options)
{
    u->tape = w.tape;
    u->w = resolve(w, u->who);
    if (!u->w || u->tape->failed)
        return false;
    if (!options)
        ag_fail(u->tape, "%s: no options (NULL)", u->who);
    else
        u->g = beside(u, g, "gradient");
    return u->g;
}

/* What is not finite makes NaN of 0. */
static inline bool all_finite(const struct update *u, const double *options, size_t count)
{
    double zero = 0.0;
    for (size_t i = 0; i < count; i++)
        zero += 0.0 * options[i];
    if (zero == 0.0)
        return true;
    return fault(u->tape, "%s: an option is not finite", u->who);
}

static inline void run_share(void *context, size_t first, size_t count, int thread)
{
    const struct update *u = context;
    const struct kernels *k = u->tape->kernels;
    size_t at = first * k->element;
    char *w = (char *)u->w->data + at, *g = (char *)u->g->data + at, *state[2] = {NULL};
    (void)thread;
    for (int i = 0; i < 2 && u->state[i]; i++)
        state[i] = (char *)u->state[i]->data + at;
    if (u->sgd)
        k->sgd(count, w, g, state[0], u->sgd);
    else
        k->adam(count, w, g, state[0], state[1], u->adam);
}

/* In one pass over all elements, shared among threads where these are many; false on error. Inlined
 * in both of its callers: of a small parameter, the call would be a good part of the update. */
__attribute__((always_inline)) static inline bool run(struct update *u, ag_tensor w)
{
    size_t count = (size_t)u->w->count;
    if (!can_change(w, u->w, u->who))
        return false;
    run_pending(u->tape);
    if (u->tape->failed)
        return false;
    pin(u->tape, u->g);
    touch(u->tape, u->w, false);
    for (int i = 0; i < 2 && u->state[i]; i++)
        touch(u->tape, u->state[i], false);
    if (worth_sharing_elements(u->tape, count)) {
        struct update shared = *u;
        share_elements(u->tape, count, run_share, &shared);
    } else {
        run_share(u, 0, count, 0);
    }
    return true;
}

bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *o)
{
    struct update u = {.who = "update_sgd"};
    if (!begin(&u, w, g, o))
        return false;
    const struct sgd sgd = {.rate = o->rate,
                            .momentum = o->momentum,
                            .weight_decay = o->weight_decay,
                            .scale = o->scale,
                            .nesterov = o->nesterov};
    const double options[] = {sgd.rate, sgd.momentum, sgd.weight_decay, sgd.scale};
    u.sgd = &sgd;
    if (sgd.momentum != 0.0 && !(u.state[0] = take_state(u, velocity, "velocity")))
        return false;
    return all_finite(&u, options, sizeof options / sizeof *options) && run(&u, w);
}

bool ag_update_adam(ag_tensor w, ag_tensor g, ag_tensor m, ag_tensor v, const ag_adam *o)
{
    struct update u = {.who = "update_adam"};
    if (!begin(&u, w, g, o))
        return false;
    const double options[] = {o->rate, o->beta1, o->beta2, o->epsilon, o->weight_decay, o->scale};
    if (!(u.state[0] = take_state(u, m, "first moment")) ||
        !(u.state[1] = take_state(u, v, "second moment")) ||
        !all_finite(&u, options, sizeof options / sizeof *options))
        return false;
    if (o->step < 1)
        return fault(u.tape, "update_adam: steps count from 1");
    const struct adam adam = {.rate = o->rate,
                              .beta1 = o->beta1,
                              .beta2 = o->beta2,
                              .epsilon = o->epsilon,
                              .weight_decay = o->weight_decay,
                              .scale = o->scale,
                              .correction1 = 1.0 - pow(o->beta1, (double)o->step),
                              .correction2 = 1.0 - pow(o->beta2, (double)o->step),
                              .decoupled = o->decoupled};
    u.adam = &adam;
    return run(&u, w);
}
