/* The optimisers' passes over a parameter, as torch.optim.SGD, Adam and AdamW define them. */
#include "internal.h"
#include "lanes.h"

struct sgd_constants {
    real rate, momentum, weight_decay, scale;
    bool nesterov;
};

void KERNEL(sgd)(size_t n, void *w, const void *g, void *m, const struct sgd *o)
{
    const struct sgd_constants s = {
        .rate = (real)o->rate,
        .momentum = (real)o->momentum,
        .weight_decay = (real)o->weight_decay,
        .scale = (real)o->scale,
        .nesterov = o->nesterov,
    };
    real *weights = w, *moments = m;
    const real *gradient = g;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        vec wi = load_part(weights + i, left);
        vec gi = load_part(gradient + i, left) * s.scale + wi * s.weight_decay;
        if (m) {
            vec mi = load_part(moments + i, left) * s.momentum + gi;
            store_part(moments + i, mi, left);
            gi = s.nesterov ? gi + mi * s.momentum : mi;
        }
        store_part(weights + i, wi - gi * s.rate, left);
    }
}

struct adam_constants {
    real keep;  /* what decoupled weight decay leaves of w */
    real decay; /* weight decay in the gradient */
    real step, fresh1, beta2, fresh2, root_scale2, epsilon, scale;
};

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
    real *weights = w, *first = m, *second = v;
    const real *gradient = g;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        vec wi = load_part(weights + i, left) * s.keep;
        vec gi = load_part(gradient + i, left) * s.scale + wi * s.decay;
        vec mi = load_part(first + i, left), vi = load_part(second + i, left);
        mi += (gi - mi) * s.fresh1;
        vi = vi * s.beta2 + gi * gi * s.fresh2;
        store_part(first + i, mi, left);
        store_part(second + i, vi, left);
        wi -= mi * s.step / (vsqrt(vi) * s.root_scale2 + s.epsilon);
        store_part(weights + i, wi, left);
    }
}
