/* softmax, log_softmax and logsumexp, safe for large values: exp is only taken of what is left when
 * the greatest of its group is subtracted, so that it cannot overflow.
 *
 * The operand is seen as (outer, n, inner), with groups of n. Groups are worked on some at a time,
 * so that what each step reads is still in cache from the one before: many rows where inner is 1,
 * and otherwise the inner groups that stand side by side. */
#include <float.h>

#include "define.h"

enum { AT_ONCE = 4096 };

static size_t rows_at_once(struct run run)
{
    size_t most = run.inner == 1 && run.n < AT_ONCE ? AT_ONCE / run.n : 1;
    return most < run.outer ? most : run.outer;
}

/* maxima and sums; and for exponentials, where the result has no room for them, all elements. */
static bool softmax_shape(struct call *call)
{
    struct run run = run_of(&call->in[0]->shape, call->attr.axes);
    call->workspace = rows_at_once(run) * run.inner * (2 + run.n) * element_size(call->tape);
    return true;
}

static bool logsumexp_shape(struct call *call)
{
    return reduce_shape(call) && softmax_shape(call);
}

/* y = f(x, s) with one s for each of some groups beside each other: outer or inner is 1. */
static void combine(const struct kernels *k, struct run g, enum binary f, const void *x,
                    const void *s, void *y)
{
    bool rows = g.inner == 1;
    size_t cols = rows ? g.n : g.inner;
    k->binary[f](rows ? g.outer : g.n, cols, &(struct operand){x, (ptrdiff_t)cols, 1},
                 &(struct operand){s, rows, !rows}, y);
}

static const struct op softmax_op, logsumexp_op;

/* An infinite maximum counts as the greatest finite number, so that a group of minus infinities has
 * the sum 0, not NaN. Other sums are 1 at least; raised to p[0], where that is 1, the softmax of
 * such a group is 0 and not NaN. */
static void run_groups(ag_tape *tape, const struct record *r, struct run g, const void *x, void *y)
{
    const struct kernels *k = tape->kernels;
    bool softmax = r->op == &softmax_op, reduced = r->op == &logsumexp_op;
    double greatest = tape->dtype == AG_F32 ? (double)FLT_MAX : DBL_MAX;
    size_t count = g.outer * g.inner, bytes = count * k->element;
    char *maxima = tape->workspace.at, *room = maxima + 2 * bytes;
    void *sums = reduced ? y : maxima + bytes, *shifted = reduced ? room : y,
         *e = softmax ? y : room;
    k->reduce[REDUCE_MAX](g.outer, g.n, g.inner, x, maxima);
    scalar_forward(tape, BINARY_MAXIMUM, (int64_t)count, maxima, -greatest, maxima);
    scalar_forward(tape, BINARY_MINIMUM, (int64_t)count, maxima, greatest, maxima);
    combine(k, g, BINARY_SUB, x, maxima, shifted);
    k->unary[UNARY_EXP](count * g.n, shifted, e, NULL);
    k->reduce[REDUCE_SUM](g.outer, g.n, g.inner, e, sums);
    if (softmax)
        scalar_forward(tape, BINARY_MAXIMUM, (int64_t)count, sums, r->attr.p[0], sums);
    else
        k->unary[UNARY_LOG](count, sums, sums, NULL);
    if (reduced)
        pairwise(k, BINARY_ADD, count, y, maxima, y);
    else
        combine(k, g, softmax ? BINARY_DIV : BINARY_SUB, y, sums, y);
}

static void softmax_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    struct run run = run_of(&x->shape, r->attr.axes);
    size_t size = element_size(tape), most = rows_at_once(run);
    size_t result = (size_t)r->count / (run.outer * run.inner); /* elements for each group */
    for (size_t i = 0; i < run.outer; i += most) {
        size_t some = run.outer - i < most ? run.outer - i : most, start = i * run.inner * size;
        run_groups(tape, r, (struct run){some, run.n, run.inner},
                   (const char *)x->data + start * run.n, (char *)r->data + start * result);
    }
}

/* ---- softmax: dx = y (dy - sum(dy y)) ---- */

static ag_tensor softmax_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor mean = sum_over(chain(dy, y), find(y)->attr.axes, true);
    return ag_mul(y, ag_sub(dy, mean));
}

static const struct op softmax_op = {
    CALLED("softmax", 1, "$x$a"),
    .shape = softmax_shape,
    .forward = softmax_forward,
    .gradient = softmax_gradient,
};
RECORDS_ALONG(ag_softmax, softmax_op)

/* ---- log_softmax: dx = dy - exp(y) sum(dy) ---- */

static ag_tensor log_softmax_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor sum = sum_over(dy, find(y)->attr.axes, true);
    return ag_sub(dy, ag_mul(ag_exp(y), sum));
}

static const struct op log_softmax_op = {
    CALLED("log_softmax", 1, "$x$a"),
    .shape = softmax_shape,
    .forward = softmax_forward,
    .gradient = log_softmax_gradient,
};
RECORDS_ALONG(ag_log_softmax, log_softmax_op)

/* ---- logsumexp: dx = dy softmax(x), which is exact where exp(x - y) would not be ---- */

static ag_tensor logsumexp_gradient(ag_tensor y, ag_tensor dy, int i)
{
    struct attributes attr = {.axes = find(y)->attr.axes, .p = {1.0}};
    return ag_mul(with_axes_kept(y, dy), record(&softmax_op, operand_of(y, i), &attr));
}

static const struct op logsumexp_op = {
    CALLED("logsumexp", 1, "$x$a"),
    .shape = logsumexp_shape,
    .forward = softmax_forward,
    .gradient = logsumexp_gradient,
};

/* Axes apart are taken one after the other, from the last, which moves none before it. */
ag_tensor ag_logsumexp(ag_tensor x, ag_axes axes, bool keep)
{
    unsigned mask;
    if (!axes_mask(x, axes, "logsumexp", &mask))
        return (ag_tensor){.tape = x.tape};
    while (mask) {
        unsigned run = last_run(mask);
        x = record(&logsumexp_op, x, &(struct attributes){.axes = run, .keep = keep});
        mask &= ~run;
    }
    return x;
}

OP_LIST(softmax_ops, &softmax_op, &log_softmax_op, &logsumexp_op)
