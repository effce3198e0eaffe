/* Ops that go through an axis element by element: cumsum and argmax. The operand is seen as
 * (outer, n, inner); inner columns are gone through side by side, some at a time. */
#include "define.h"

enum { COLUMNS = 64 };

/* ---- cumsum: dx is the cumsum of dy from the other end ---- */

/* Adds up in double, as PyTorch does. Steps are negative to go from the last to the first. */
#define DEFINE_CUMSUM(real)                                                                        \
    static void cumsum_##real(size_t n, ptrdiff_t step, size_t columns, const real *x, real *y)    \
    {                                                                                              \
        double sum[COLUMNS] = {0};                                                                 \
        for (size_t i = 0; i < n; i++)                                                             \
            for (size_t c = 0; c < columns; c++) {                                                 \
                ptrdiff_t at = (ptrdiff_t)i * step + (ptrdiff_t)c;                                 \
                sum[c] += (double)x[at];                                                           \
                y[at] = (real)sum[c];                                                              \
            }                                                                                      \
    }
DEFINE_CUMSUM(float)
DEFINE_CUMSUM(double)

static const struct op cumsum_op, reverse_cumsum_op;

static void cumsum_forward(ag_tape *tape, const struct record *r)
{
    const char *x = input_of(tape, r, 0)->data;
    struct run run = run_of(&r->shape, r->attr.axes);
    bool reversed = r->op == &reverse_cumsum_op;
    size_t size = element_size(tape), last = reversed ? (run.n - 1) * run.inner : 0;
    ptrdiff_t step = reversed ? -(ptrdiff_t)run.inner : (ptrdiff_t)run.inner;
    for (size_t o = 0; o < run.outer; o++)
        for (size_t c = 0; c < run.inner; c += COLUMNS) {
            size_t columns = run.inner - c < COLUMNS ? run.inner - c : COLUMNS;
            size_t start = (o * run.n * run.inner + last + c) * size;
            const void *from = x + start;
            void *to = (char *)r->data + start;
            OF_ELEMENTS(tape, cumsum, run.n, step, columns, from, to);
        }
}

static const struct op cumsum_op = {
    CALLED("cumsum", 1, "$x$a"),
    .forward = cumsum_forward,
    LINEAR(&reverse_cumsum_op),
};
static const struct op reverse_cumsum_op = {
    CALLED("reverse_cumsum", 1, "$x$a"),
    .forward = cumsum_forward,
    LINEAR(&cumsum_op),
};
RECORDS_ALONG(ag_cumsum, cumsum_op)

/* ---- argmax: the first of the greatest; a NaN counts as greater than all else, as in NumPy ----
 */

#define DEFINE_ARGMAX(real)                                                                        \
    static void argmax_##real(struct run run, const real *x, real *y)                              \
    {                                                                                              \
        for (size_t o = 0; o < run.outer; o++, x += run.n * run.inner)                             \
            for (size_t c = 0; c < run.inner; c++) {                                               \
                real greatest = x[c];                                                              \
                size_t best = 0;                                                                   \
                for (size_t i = 1; i < run.n && greatest == greatest; i++) {                       \
                    real candidate = x[i * run.inner + c];                                         \
                    if (!(candidate <= greatest)) {                                                \
                        greatest = candidate;                                                      \
                        best = i;                                                                  \
                    }                                                                              \
                }                                                                                  \
                *y++ = (real)best;                                                                 \
            }                                                                                      \
    }
DEFINE_ARGMAX(float)
DEFINE_ARGMAX(double)

static void argmax_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    OF_ELEMENTS(tape, argmax, run_of(&x->shape, r->attr.axes), x->data, r->data);
}

static bool argmax_shape(struct call *call)
{
    size_t n = run_of(&call->in[0]->shape, call->attr.axes).n, most = (size_t)1 << 24;
    if (call->tape->dtype == AG_F32 && n > most)
        return reject(call, "make the tape AG_F64", "positions above %zu are not exact in float32",
                      most);
    return reduce_shape(call);
}

static const struct op argmax_op = {
    CALLED("argmax", 1, "$x$a"),
    .shape = argmax_shape,
    .forward = argmax_forward,
};

ag_tensor ag_argmax(ag_tensor x, int axis, bool keep)
{
    return reduce_axes(&argmax_op, x, AG_AXES(axis), keep);
}

OP_LIST(scan_ops, &cumsum_op, &reverse_cumsum_op, &argmax_op)
