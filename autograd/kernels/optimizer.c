/* The optimisers' passes over a parameter, as torch.optim.SGD, Adam and AdamW define them. */
#include "internal.h"
#include "lanes.h"

struct sgd_constants {
    real rate, momentum, fresh, weight_decay, scale; /* fresh: 1 - dampening */
    bool nesterov, first;
};

/* n is whole registers. Not inlined, so that body and tail run the same instructions: which
 * products of a sum the compiler fuses is its choice. */
static NOINLINE void sgd_pass(size_t n, real *w, const real *g, real *m,
                              const struct sgd_constants *o)
{
    const struct sgd_constants s = *o;
    for (size_t i = 0; i < n; i += LANES) {
        vec wi = load(w + i), gi = load(g + i) * s.scale + wi * s.weight_decay;
        if (m) {
            vec mi = s.first ? gi : load(m + i) * s.momentum + gi * s.fresh;
            store(m + i, mi);
            gi = s.nesterov ? gi + mi * s.momentum : mi;
        }
        store(w + i, wi - gi * s.rate);
    }
}

void KERNEL(sgd)(size_t n, void *w, const void *g, void *m, const struct sgd *o)
{
    const struct sgd_constants s = {
        .rate = (real)o->rate,
        .momentum = (real)o->momentum,
        .fresh = (real)(1 - o->dampening),
        .weight_decay = (real)o->weight_decay,
        .scale = (real)o->scale,
        .nesterov = o->nesterov,
        .first = o->first,
    };
    size_t tail = n % LANES, body = n - tail;
    real *w_tail = (real *)w + body, *m_tail = m ? (real *)m + body : NULL;
    sgd_pass(body, w, g, m, &s);
    if (tail == 0)
        return;
    real lanes[3][LANES];
    store(lanes[0], load_part(w_tail, tail));
    store(lanes[1], load_part((const real *)g + body, tail));
    if (m && !o->first)
        store(lanes[2], load_part(m_tail, tail));
    sgd_pass(LANES, lanes[0], lanes[1], m ? lanes[2] : NULL, &s);
    store_part(w_tail, load(lanes[0]), tail);
    if (m)
        store_part(m_tail, load(lanes[2]), tail);
}

struct adam_constants {
    real keep;  /* what decoupled weight decay leaves of w */
    real decay; /* weight decay in the gradient */
    real step, fresh1, beta2, fresh2, root_scale2, epsilon, scale;
};

static NOINLINE void adam_pass(size_t n, real *w, const real *g, real *m, real *v,
                               const struct adam_constants *o)
{
    const struct adam_constants s = *o;
    for (size_t i = 0; i < n; i += LANES) {
        vec wi = load(w + i) * s.keep, gi = load(g + i) * s.scale + wi * s.decay;
        vec mi = load(m + i), vi = load(v + i) * s.beta2 + gi * gi * s.fresh2;
        mi += (gi - mi) * s.fresh1;
        store(m + i, mi);
        store(v + i, vi);
        store(w + i, wi - mi * s.step / (vsqrt(vi) * s.root_scale2 + s.epsilon));
    }
}

void KERNEL(adam)(size_t n, void *w, const void *g, void *m, void *v, const struct adam *o)
{
    const struct adam_constants s = {
        .keep = (real)(o->decoupled ? 1 - o->rate * o->weight_decay : 1),
        .decay = (real)(o->decoupled ? 0 : o->weight_decay),
        .step = (real)(o->rate / o->correction1),
        .fresh1 = (real)(1 - o->beta1),
        .beta2 = (real)o->beta2,
        .fresh2 = (real)(1 - o->beta2),
        .root_scale2 = (real)(1 / sqrt(o->correction2)),
        .epsilon = (real)o->epsilon,
        .scale = (real)o->scale,
    };
    size_t tail = n % LANES, body = n - tail;
    real *state[3] = {(real *)w + body, (real *)m + body, (real *)v + body};
    adam_pass(body, w, g, m, v, &s);
    if (tail == 0)
        return;
    real lanes[4][LANES];
    for (int j = 0; j < 3; j++)
        store(lanes[j], load_part(state[j], tail));
    store(lanes[3], load_part((const real *)g + body, tail));
    adam_pass(LANES, lanes[0], lanes[3], lanes[1], lanes[2], &s);
    for (int j = 0; j < 3; j++)
        store_part(state[j], load(lanes[j]), tail);
}
