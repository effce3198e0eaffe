/* Ops that draw from the tape's generator, anew each time they are run. */
#include "define.h"

/* ---- dropout: x times a mask, which is drawn by itself so that the gradient meets the same one
 * ----
 */

/* Each draw of 64 bits serves two elements, the upper half the first. An element is kept if its 32
 * bits are below (1 - p) 2^32, rounded. */
#define DEFINE_MASK(real)                                                                          \
    static void mask_##real(ag_rng *rng, int64_t n, double keep, real *y)                          \
    {                                                                                              \
        const uint64_t limit = (uint64_t)(keep * 4294967296.0 + 0.5);                              \
        const real scale = (real)(1.0 / keep);                                                     \
        uint64_t bits = 0;                                                                         \
        for (int64_t i = 0; i < n; i++, bits <<= 32) {                                             \
            if (i % 2 == 0)                                                                        \
                bits = ag_rng_next(rng);                                                           \
            y[i] = bits >> 32 < limit ? scale : (real)0;                                           \
        }                                                                                          \
    }

DEFINE_MASK(float)
DEFINE_MASK(double)

static void dropout_mask_forward(ag_tape *tape, const struct record *r)
{
    OF_ELEMENTS(tape, mask, &tape->rng, r->count, 1.0 - r->attr.p[0], r->data);
}

static const struct op dropout_mask_op = {
    CALLED("dropout_mask", 1, "$p"),
    .forward = dropout_mask_forward,
    .random = true,
};

ag_tensor ag_dropout(ag_tensor x, double p, bool training)
{
    if (!find(x))
        return record(&dropout_mask_op, x, NULL);
    if (!(p >= 0.0 && p <= 1.0))
        return ag_fail(x.tape, "dropout: the probability is %g; it must be from 0 to 1", p);
    if (!training || p == 0.0)
        return x;
    if (p == 1.0)
        return ag_mul_scalar(x, 0.0);
    return ag_mul(x, record(&dropout_mask_op, x, &(struct attributes){.p = {p, 0.0}}));
}

OP_LIST(random_ops, &dropout_mask_op)
