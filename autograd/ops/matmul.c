/* The matrix product, with operands transposed in place where a gradient asks for it. */
#include <limits.h>

#include "define.h"

/* Rows and columns of an operand as the product sees it; all of a vector is its inner dimension. */
static int64_t rows_of(const struct call *call, int i)
{
    const ag_shape *s = &call->in[i]->shape;
    return s->dim[s->rank - (call->attr.transposed[i] || s->rank < 2 ? 1 : 2)];
}

static int64_t cols_of(const struct call *call, int i)
{
    const ag_shape *s = &call->in[i]->shape;
    return s->dim[s->rank - (call->attr.transposed[i] ? 2 : 1)];
}

/* A transposition that makes the inner dimensions agree, if one does. */
static void suggest(const struct call *call, char *hint, size_t size)
{
    static const char *const side[] = {"left", "right"};
    struct text text = {.at = hint, .size = size};
    bool right_fits = cols_of(call, 0) == cols_of(call, 1),
         left_fits = rows_of(call, 0) == rows_of(call, 1);
    *hint = '\0';
    if (!right_fits && !left_fits) {
        if (cols_of(call, 1) == rows_of(call, 0))
            text_add(&text, "the other way round, right @ left, they fit");
        return;
    }
    int i = right_fits ? 1 : 0;
    const char *name = call->in[i]->name;
    ag_shape turned = transposed(call->in[i]->shape);
    text_add(&text,
             name ? "%s transposed is %s, which fits"
                  : "the %s operand transposed is %s, which fits",
             name ? name : side[i], shape_words(&turned).at);
}

static bool inner_sizes_agree(const struct call *call)
{
    char hint[160] = "";
    int64_t left = cols_of(call, 0), right = rows_of(call, 1);
    if (left == right)
        return true;
    if (call->in[0]->shape.rank > 1 && call->in[1]->shape.rank > 1)
        suggest(call, hint, sizeof hint);
    return reject(call, hint, "inner dimensions differ: %lld and %lld", (long long)left,
                  (long long)right);
}

/* A matrix whose sides have no more bits than this can be held by any memory that can be addressed:
 * its shape need not be checked. */
enum { SMALL_SIDE = sizeof(ptrdiff_t) * CHAR_BIT / 2 - 3 };

static bool matmul_shape(struct call *call)
{
    for (int i = 0; i < 2; i++)
        if (call->in[i]->shape.rank < 2)
            return reject(call, "a number multiplies by mul",
                          "operands must have at least one axis");
    if (!inner_sizes_agree(call))
        return false;
    int64_t m = rows_of(call, 0), k = cols_of(call, 0), n = cols_of(call, 1);
    ag_shape batch[2] = {call->in[0]->shape, call->in[1]->shape};
    batch[0].rank -= 2;
    batch[1].rank -= 2;
    if (!shape_broadcast(&batch[0], &batch[1], &call->shape))
        return reject(call, "", "leading (batch) axes do not broadcast");
    call->shape.dim[call->shape.rank++] = m;
    call->shape.dim[call->shape.rank++] = n;
    if ((call->shape.rank > 2 || (m | n) >> SMALL_SIDE) &&
        !shape_check(call->tape, call->op->name, call->shape))
        return false;
    call->workspace = call->tape->kernels->matmul_workspace((size_t)m, (size_t)n, (size_t)k);
    return call->shape.rank == 2 || loop_plan(call, 2, 2);
}

static struct matmul product_of(const ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0), *y = input_of(tape, r, 1);
    const bool *transposed = r->attr.transposed;
    size_t x_cols = (size_t)x->shape.dim[x->shape.rank - 1];
    return (struct matmul){
        .m = (size_t)r->shape.dim[r->shape.rank - 2],
        .n = (size_t)r->shape.dim[r->shape.rank - 1],
        .k = transposed[0] ? (size_t)x->shape.dim[x->shape.rank - 2] : x_cols,
        .a = x->data,
        .b = y->data,
        .c = r->data,
        .lda = x_cols,
        .ldb = (size_t)y->shape.dim[y->shape.rank - 1],
        .ldc = (size_t)r->shape.dim[r->shape.rank - 1],
        .a_transposed = transposed[0],
        .b_transposed = transposed[1],
        .activation = UNARY_COUNT,
        .workspace = tape->workspace.at,
    };
}

/* 50 multiply-adds a nanosecond. */
static inline double work_of(int64_t count, size_t k)
{
    return 0.02 * (double)count * (double)k;
}

static double matmul_work(const ag_tape *tape, const struct record *r)
{
    return work_of(r->count, product_of(tape, r).k);
}

/* ---- Products shared among threads: each has a part of the batch, or of the larger side ---- */

struct sharing {
    const ag_tape *tape;
    const struct record *r;
    const struct matmul *p;
};

enum { UNIT = 16 }; /* of rows and columns: shares of one size save more than whole tiles do */

/* p.c is of the batch's first product. */
static void run_batch(void *context, size_t first, size_t count, int thread)
{
    const struct sharing *s = context;
    const struct record *r = s->r;
    struct matmul p = *s->p;
    ptrdiff_t size = (ptrdiff_t)element_size(s->tape), offset[MAX_INPUTS] = {0};
    int64_t at[AG_MAX_RANK] = {0};
    p.workspace = workspace_of(s->tape, thread);
    for (size_t i = 0; i < first + count; i++) {
        if (i >= first) {
            p.a = (const char *)s->p->a + offset[0] * size;
            p.b = (const char *)s->p->b + offset[1] * size;
            p.c = (char *)s->p->c + (ptrdiff_t)(i * p.m * p.n) * size;
            s->tape->kernels->matmul(&p);
        }
        loop_next(r->loop, 0, 2, at, offset);
    }
}

static void run_side(void *context, size_t first, size_t count, int thread)
{
    const struct sharing *s = context;
    struct matmul p = *s->p;
    size_t size = element_size(s->tape);
    if (p.m >= p.n) {
        p.m = count;
        p.a = (const char *)p.a + first * (p.a_transposed ? 1 : p.lda) * size;
        p.c = (char *)p.c + first * p.ldc * size;
    } else {
        p.n = count;
        p.b = (const char *)p.b + first * (p.b_transposed ? p.ldb : 1) * size;
        p.c = (char *)p.c + first * size;
    }
    p.workspace = workspace_of(s->tape, thread);
    s->tape->kernels->matmul(&p);
}

static void matmul_shared(ag_tape *tape, const struct record *r, const struct matmul *p)
{
    struct sharing s = {tape, r, p};
    size_t batch = r->loop ? (size_t)r->count / (p->m * p->n) : 1;
    int threads = threads_for(tape, matmul_work(tape, r));
    threads = give_workspaces(tape, threads, tape->workspace.size);
    if (batch > 1)
        run_shares(tape, threads, batch, 1, run_batch, &s);
    else
        run_shares(tape, threads, p->m >= p->n ? p->m : p->n, UNIT, run_side, &s);
}

static void matmul_forward(ag_tape *tape, const struct record *r)
{
    struct matmul p = product_of(tape, r);
    if (worth_sharing(tape, work_of(r->count, p.k)))
        matmul_shared(tape, r, &p);
    else if (r->loop)
        run_batch(&(struct sharing){tape, r, &p}, 0, (size_t)r->count / (p.m * p.n), 0);
    else
        tape->kernels->matmul(&p);
}

static void matmul_forward_fused(ag_tape *tape, const struct record *r, const struct fusion *fused)
{
    struct matmul p = product_of(tape, r);
    const struct record *last = record_at(tape, fused->last);
    p.c = last->data;
    if (fused->bias)
        p.bias = record_at(tape, fused->bias)->data;
    if (fused->activation)
        p.activation = (enum unary)record_at(tape, fused->activation)->op->kernel;
    if (fused->gate) {
        p.slope = (enum binary)last->op->kernel;
        p.gate = record_at(tape, fused->gate)->data;
    }
    tape->kernels->matmul(&p);
}

static void matmul_forward_add(ag_tape *tape, const struct record *r)
{
    struct matmul p = product_of(tape, r);
    p.accumulate = true;
    tape->kernels->matmul(&p);
}

/* Rows of X make rows of X @ Y, and with X transposed they are summed over. Either is cut into
 * blocks only where what the blocks share, Y or the sum, stays in the first-level cache. */
static unsigned matmul_rows(const struct call *call, bool *sums)
{
    enum { SMALL = 16 << 10 };
    const bool *transposed = call->attr.transposed;
    const struct record *y = call->in[1];
    int64_t shared = transposed[0] ? shape_count(&call->shape) : y->count;
    *sums = transposed[0];
    if (call->shape.rank != 2 || (transposed[0] && transposed[1]) ||
        (size_t)shared * element_size(call->tape) > SMALL)
        return 0;
    return transposed[0] ? 3u : 1u;
}

static const struct op matmul_op;

ag_tensor product(ag_tensor x, bool x_transposed, ag_tensor y, bool y_transposed)
{
    return record2(&matmul_op, x, y,
                   &(struct attributes){.transposed = {x_transposed, y_transposed}});
}

/* Z = X @ Y: dX = dZ @ Yᵀ and dY = Xᵀ @ dZ; of a transposed operand, the transpose of that. */
static ag_tensor matmul_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor x = operand_of(z, 0), y = operand_of(z, 1);
    const bool tx = find(z)->attr.transposed[0], ty = find(z)->attr.transposed[1];
    if (i == 0)
        return tx ? product(y, ty, dz, true) : product(dz, false, y, !ty);
    return ty ? product(dz, true, x, tx) : product(x, !tx, dz, false);
}

static const struct op matmul_op = {
    WRITTEN("matmul", 2, "$X @ $Y", PRODUCT),
    .shape = matmul_shape,
    .forward = matmul_forward,
    .forward_fused = matmul_forward_fused,
    .forward_add = matmul_forward_add,
    .work = matmul_work,
    .by_rows = matmul_rows,
    .gradient = matmul_gradient,
};

/* x with all its leading axes made one; a vector becomes a row. */
static ag_tensor as_rows(ag_tensor x)
{
    ag_shape s = ag_shape_of(x);
    return ag_reshape(x, AG_SHAPE(-1, s.dim[s.rank - 1]));
}

/* Vectors, and many rows against one matrix, are products of two matrices in other words. */
static ag_tensor product_of_any(ag_tensor x, ag_tensor y, bool y_transposed)
{
    const struct record *rx = find(x), *ry = find(y);
    if (!rx || !ry || x.tape != y.tape || !rx->shape.rank || !ry->shape.rank ||
        (rx->shape.rank >= 2 && ry->shape.rank >= 2 &&
         !(rx->shape.rank > 2 && ry->shape.rank == 2)))
        return product(x, false, y, y_transposed);
    /* Complaints are of the operands as they are, not as they are reshaped below. */
    if (!inner_sizes_agree(&(struct call){.tape = x.tape,
                                          .op = &matmul_op,
                                          .in = {rx, ry},
                                          .input = {x.index, y.index},
                                          .inputs = 2,
                                          .attr.transposed = {false, y_transposed}}))
        return handle(x.tape, 0);
    ag_shape sx = rx->shape, sy = ry->shape, result = sx;
    if (sy.rank == 1) {
        ag_tensor column = product_of_any(x, ag_reshape(y, AG_SHAPE(sy.dim[0], 1)), false);
        if (!find(column))
            return column;
        result = ag_shape_of(column);
        result.rank--;
        return ag_reshape(column, result);
    }
    ag_tensor rows = product(as_rows(x), false, y, y_transposed);
    if (!find(rows))
        return rows;
    ag_shape made = ag_shape_of(rows);
    int64_t cols = made.dim[made.rank - 1];
    if (sy.rank > 2) { /* x is a vector */
        result = made;
        result.rank--;
    }
    result.dim[result.rank - 1] = cols;
    return ag_reshape(rows, result);
}

ag_tensor ag_matmul(ag_tensor x, ag_tensor y)
{
    return product_of_any(x, y, false);
}

ag_tensor ag_linear(ag_tensor x, ag_tensor w, ag_tensor b)
{
    return ag_add(product_of_any(x, w, true), b);
}

OP_LIST(matmul_ops, &matmul_op)
