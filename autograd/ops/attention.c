/* Scaled dot-product attention (Vaswani et al. 2017, equation 1). */
#include <math.h>
#include <string.h>

#include "define.h"

/* ---- tril: what is right of the diagonal of (..., L, S) is replaced by a constant ---- */

static void tril_forward(ag_tape *tape, const struct record *r)
{
    size_t rows = (size_t)r->shape.dim[r->shape.rank - 2],
           cols = (size_t)r->shape.dim[r->shape.rank - 1], size = element_size(tape);
    const char *x = input_of(tape, r, 0)->data;
    char *y = r->data;
    for (size_t i = 0; i < (size_t)r->count / cols; i++, x += cols * size, y += cols * size) {
        size_t kept = i % rows + 1 < cols ? i % rows + 1 : cols;
        memcpy(y, x, kept * size);
        if (kept < cols)
            tape->kernels->fill(cols - kept, r->attr.p[0], y + kept * size);
    }
}

static bool tril_shape(struct call *call)
{
    return call->shape.rank >= 2 || reject(call, "", "needs at least two axes");
}

static ag_tensor tril_gradient(ag_tensor y, ag_tensor dy, int i);

static const struct op tril_op = {
    CALLED("tril", 1, "$x, $p"), .shape = tril_shape, .forward = tril_forward,
    .gradient = tril_gradient,   .masks = true,
};

static ag_tensor tril(ag_tensor x, double right)
{
    return record(&tril_op, x, &(struct attributes){.p = {right, 0.0}});
}

static ag_tensor tril_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return tril(dy, 0.0);
}

ag_tensor ag_scaled_dot_product_attention(ag_tensor q, ag_tensor k, ag_tensor v, bool causal,
                                          double dropout)
{
    const struct record *r = resolve(q, "scaled_dot_product_attention");
    if (!r)
        return refuse("scaled_dot_product_attention", (ag_tensor[]){q, k, v}, 3);
    if (q.tape->failed)
        return (ag_tensor){.tape = q.tape};
    double d = r->shape.rank ? (double)r->shape.dim[r->shape.rank - 1] : 1.0;
    ag_tensor scores =
        product(scaled(q, 1.0 / sqrt(d), "1/sqrt(d)"), false, k, true); /* (..., L, S) */
    if (causal)
        scores = tril(scores, -(double)INFINITY);
    return ag_matmul(ag_dropout(ag_softmax(scores, -1), dropout, true), v);
}

OP_LIST(attention_ops, &tril_op)
