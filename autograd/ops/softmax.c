/* softmax, log_softmax and logsumexp, safe for large values: exp is only taken of what is left when
 * the greatest of its group is subtracted, so that it cannot overflow.
 *
 * The operand is seen as (outer, n, inner), with groups of n. Groups are worked on some at a time,
 * so that what each step reads is still in cache from the one before: many rows where inner is 1,
 * and otherwise the inner groups that stand side by side. */
#include <float.h>

#include "ops.h"

enum { AT_ONCE = 4096 };

/* Some groups beside each other: (outer, n, inner), where outer or inner is 1. */
struct groups {
    const ag_tape *tape;
    size_t outer, n, inner;
    void *maxima, *sums; /* one number for each group */
    double least;        /* of softmax: what sums are raised to */
};

typedef void each_groups(const struct groups *g, const void *x, void *y);

static size_t rows_at_once(struct run run)
{
    size_t most = run.inner == 1 && run.n < AT_ONCE ? AT_ONCE / run.n : 1;
    return most < run.outer ? most : run.outer;
}

/* maxima and sums; and for exponentials, where the result has no room for them, all elements. */
static size_t workspace_for(const struct call *call)
{
    struct run run = run_of(&call->in[0]->shape, call->attr.axes);
    return rows_at_once(run) * run.inner * (2 + run.n) * element_size(call->tape);
}

static void for_groups(const ag_tape *tape, const struct record *r, each_groups *f)
{
    const struct record *x = input_of(tape, r, 0);
    struct run run = run_of(&x->shape, r->attr.axes);
    size_t size = element_size(tape), most = rows_at_once(run);
    size_t result = (size_t)r->count / (run.outer * run.inner); /* elements for each group */
    char *room = tape->workspace.at;
    for (size_t i = 0; i < run.outer; i += most) {
        size_t some = run.outer - i < most ? run.outer - i : most;
        size_t start = i * run.inner * size;
        struct groups g = {tape,        some, run.n,
                           run.inner,   room, room + some * run.inner * size,
                           r->attr.p[0]};
        f(&g, (const char *)x->data + start * run.n, (char *)r->data + start * result);
    }
}

static void reduce_groups(const struct groups *g, enum reduce kernel, const void *x, void *y)
{
    g->tape->kernels->reduce[kernel](g->outer, g->n, g->inner, x, y);
}

static void apply(const struct groups *g, enum unary kernel, size_t count, void *x)
{
    g->tape->kernels->unary[kernel](count, x, x, NULL);
}

/* y = f(x, s) with one s for each group. */
static void combine(const struct groups *g, enum binary kernel, const void *x, const void *s,
                    void *y)
{
    bool rows = g->inner == 1;
    size_t cols = rows ? g->n : g->inner;
    g->tape->kernels->binary[kernel](rows ? g->outer : g->n, cols,
                                     &(struct operand){x, (ptrdiff_t)cols, 1},
                                     &(struct operand){s, rows, !rows}, y);
}

/* y = x - max(x). An infinite maximum counts as the greatest finite number, so that a group of
 * minus infinities has the sum 0, not NaN. */
static void shift(const struct groups *g, const void *x, void *y)
{
    double greatest = g->tape->dtype == AG_F32 ? (double)FLT_MAX : DBL_MAX;
    int64_t count = (int64_t)(g->outer * g->inner);
    reduce_groups(g, REDUCE_MAX, x, g->maxima);
    scalar_forward(g->tape, BINARY_MAXIMUM, count, g->maxima, -greatest, g->maxima);
    scalar_forward(g->tape, BINARY_MINIMUM, count, g->maxima, greatest, g->maxima);
    combine(g, BINARY_SUB, x, g->maxima, y);
}

static size_t elements(const struct groups *g)
{
    return g->outer * g->n * g->inner;
}

static void *exponentials(const struct groups *g)
{
    return (char *)g->sums + g->outer * g->inner * element_size(g->tape);
}

static bool softmax_shape(struct call *call)
{
    call->workspace = workspace_for(call);
    return true;
}

static ag_tensor along(const struct op *op, ag_tensor x, int axis)
{
    return reduce_axes(op, x, AG_AXES(axis), true);
}

/* ---- softmax: dx = y (dy - sum(dy y)) ---- */

/* Sums are 1 at least, but 0 where all of a group is minus infinity: there, with least 1, y is 0
 * and not NaN. */
static void softmax_groups(const struct groups *g, const void *x, void *y)
{
    shift(g, x, y);
    apply(g, UNARY_EXP, elements(g), y);
    reduce_groups(g, REDUCE_SUM, y, g->sums);
    scalar_forward(g->tape, BINARY_MAXIMUM, (int64_t)(g->outer * g->inner), g->sums, g->least,
                   g->sums);
    combine(g, BINARY_DIV, y, g->sums, y);
}

static void softmax_forward(ag_tape *tape, const struct record *r)
{
    for_groups(tape, r, softmax_groups);
}

static ag_tensor softmax_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor mean = sum_over(chain(dy, y), find(y)->attr.axes, true);
    return ag_mul(y, ag_sub(dy, mean));
}

static const struct op softmax_op = {CALLED("softmax", "$x$a"), .inputs = 1, .shape = softmax_shape,
                                     .forward = softmax_forward, .gradient = softmax_gradient};

ag_tensor ag_softmax(ag_tensor x, int axis)
{
    return along(&softmax_op, x, axis);
}

/* ---- log_softmax: dx = dy - exp(y) sum(dy) ---- */

static void log_softmax_groups(const struct groups *g, const void *x, void *y)
{
    void *e = exponentials(g);
    shift(g, x, y);
    g->tape->kernels->unary[UNARY_EXP](elements(g), y, e, NULL);
    reduce_groups(g, REDUCE_SUM, e, g->sums);
    apply(g, UNARY_LOG, g->outer * g->inner, g->sums);
    combine(g, BINARY_SUB, y, g->sums, y);
}

static void log_softmax_forward(ag_tape *tape, const struct record *r)
{
    for_groups(tape, r, log_softmax_groups);
}

static ag_tensor log_softmax_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor sum = sum_over(dy, find(y)->attr.axes, true);
    return ag_sub(dy, ag_mul(ag_exp(y), sum));
}

static const struct op log_softmax_op = {CALLED("log_softmax", "$x$a"), .inputs = 1,
                                         .shape = softmax_shape, .forward = log_softmax_forward,
                                         .gradient = log_softmax_gradient};

ag_tensor ag_log_softmax(ag_tensor x, int axis)
{
    return along(&log_softmax_op, x, axis);
}

/* ---- logsumexp: dx = dy softmax(x), which is exact where exp(x - y) would not be ---- */

static void logsumexp_groups(const struct groups *g, const void *x, void *y)
{
    size_t count = g->outer * g->inner;
    void *e = exponentials(g);
    shift(g, x, e);
    apply(g, UNARY_EXP, elements(g), e);
    reduce_groups(g, REDUCE_SUM, e, y);
    apply(g, UNARY_LOG, count, y);
    g->tape->kernels->binary[BINARY_ADD](1, count, &(struct operand){y, 0, 1},
                                         &(struct operand){g->maxima, 0, 1}, y);
}

static void logsumexp_forward(ag_tape *tape, const struct record *r)
{
    for_groups(tape, r, logsumexp_groups);
}

static bool logsumexp_shape(struct call *call)
{
    call->workspace = workspace_for(call);
    return reduce_shape(call);
}

static ag_tensor logsumexp_gradient(ag_tensor y, ag_tensor dy, int i)
{
    struct attributes attr = {.axes = find(y)->attr.axes, .p = {1.0}};
    return ag_mul(with_axes_kept(y, dy), record(&softmax_op, operand_of(y, i), &attr));
}

static const struct op logsumexp_op = {CALLED("logsumexp", "$x$a"), .inputs = 1,
                                       .shape = logsumexp_shape, .forward = logsumexp_forward,
                                       .gradient = logsumexp_gradient};

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
