/* Ops that move or repeat elements. */
#include <string.h>

#include "define.h"

/* ---- transpose: the last two axes change places ---- */

ag_shape transposed(ag_shape shape)
{
    int64_t *last = shape.dim + shape.rank - 1, rows = last[-1];
    last[-1] = *last;
    *last = rows;
    return shape;
}

static bool transpose_shape(struct call *call)
{
    if (call->shape.rank < 2)
        return reject(call, "reshape (n,) to (1, n) or (n, 1) to tell a row from a column",
                      "needs at least two axes");
    call->shape = transposed(call->shape);
    return true;
}

static void transpose_forward(ag_tape *tape, const struct record *r)
{
    const char *x = input_of(tape, r, 0)->data;
    size_t cols = (size_t)r->shape.dim[r->shape.rank - 2],
           rows = (size_t)r->shape.dim[r->shape.rank - 1];
    size_t step = rows * cols * element_size(tape), end = bytes_of(tape, r);
    for (size_t at = 0; at < end; at += step)
        tape->kernels->transpose(rows, cols, x + at, (char *)r->data + at);
}

static const struct op transpose_op = {
    WRITTEN("transpose", 1, "$xᵀ", POSTFIX),
    .shape = transpose_shape,
    .forward = transpose_forward,
    LINEAR(&transpose_op),
};
RECORDS_1(ag_transpose, transpose_op)

/* ---- reshape: the same elements under another shape ---- */

static ag_tensor reshape_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_reshape(dy, ag_shape_of(operand_of(y, i)));
}

static void copy_forward(ag_tape *tape, const struct record *r)
{
    memcpy(r->data, input_of(tape, r, 0)->data, bytes_of(tape, r));
}

/* A size of -1 stands for what is left over. */
static bool infer_size(const struct call *call, ag_shape *shape)
{
    int64_t known = 1, count = call->in[0]->count;
    int unknown = -1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] != -1) {
            if (shape->dim[i] < 1 || known > count / shape->dim[i])
                return false;
            known *= shape->dim[i];
        } else if (unknown >= 0)
            return false;
        else
            unknown = i;
    }
    if (unknown >= 0)
        shape->dim[unknown] = count / known;
    return unknown >= 0 ? count % known == 0 : count == known;
}

static bool reshape_shape(struct call *call)
{
    ag_shape wanted = *call->attr.shape, shape = wanted;
    if (wanted.rank < 0 || wanted.rank > AG_MAX_RANK)
        return shape_check(call->tape, "reshape", wanted);
    if (!infer_size(call, &shape))
        return reject(call, "a reshape keeps the elements; one size may be -1, which is worked out",
                      "%s has %lld elements, which do not fill %s", shape_words(&call->shape).at,
                      (long long)call->in[0]->count, shape_words(&wanted).at);
    call->shape = shape;
    return true;
}

/* The result shares its input's memory, unless that is a leaf, whose values may be set anew. */
static const struct op reshape_op = {
    CALLED("reshape", 1, "$x, $s"),
    .shape = reshape_shape,
    .gradient = reshape_gradient,
    .view = true,
    .infers = true,
};

static const struct op reshape_leaf_op = {
    CALLED("reshape", 1, "$x, $s"), .shape = reshape_shape, .forward = copy_forward,
    .gradient = reshape_gradient,   .infers = true,
};

ag_tensor ag_reshape(ag_tensor x, ag_shape shape)
{
    const struct record *r = find(x);
    if (r && shape_equal(&r->shape, &shape))
        return x;
    return record(r && r->op->leaf ? &reshape_leaf_op : &reshape_op, x,
                  &(struct attributes){.shape = &shape});
}

/* ---- broadcast_to and sum_to: each is the other's gradient ---- */

static bool broadcast_to_shape(struct call *call)
{
    ag_shape wanted = *call->attr.shape, both;
    if (!shape_check(call->tape, "broadcast_to", wanted))
        return false;
    if (!shape_broadcast(&call->shape, &wanted, &both) || !shape_equal(&both, &wanted))
        return reject(call, "",
                      "cannot be repeated to %s: only axes of size 1 and new leading ones are",
                      shape_words(&wanted).at);
    call->shape = wanted;
    return loop_plan(call, 1, 0);
}

/* x * 1, with a 1 that is repeated everywhere, copies every value as it is, signs of zero and NaN
 * too. */
static void broadcast_to_forward(ag_tape *tape, const struct record *r)
{
    static const float one_f32 = 1.0f;
    static const double one_f64 = 1.0;
    const void *one = tape->dtype == AG_F32 ? (const void *)&one_f32 : (const void *)&one_f64;
    broadcast_forward(tape, r, (const void *const[]){input_of(tape, r, 0)->data, one}, 1);
}

static const struct op broadcast_to_op = {
    CALLED("broadcast_to", 1, "$x, $s"),
    .shape = broadcast_to_shape,
    .forward = broadcast_to_forward,
    .gradient = same_gradient,
    .kernel = BINARY_MUL,
};

ag_tensor ag_broadcast_to(ag_tensor x, ag_shape shape)
{
    const struct record *r = find(x);
    if (r && shape_equal(&r->shape, &shape))
        return x;
    return record(&broadcast_to_op, x, &(struct attributes){.shape = &shape});
}

ag_tensor ag_sum_to(ag_tensor x, ag_shape shape)
{
    const struct record *r = resolve(x, "sum_to");
    ag_shape both;
    if (!r || x.tape->failed || !shape_check(x.tape, "sum_to", shape))
        return (ag_tensor){.tape = x.tape};
    if (!shape_broadcast(&r->shape, &shape, &both) || !shape_equal(&r->shape, &both))
        return reject_tensor(x, "sum_to", "", "%s is not what %s broadcasts to",
                             shape_words(&r->shape).at, shape_words(&shape).at);
    ag_axes repeated = {0};
    int leading = r->shape.rank - shape.rank;
    for (int i = 0; i < r->shape.rank; i++)
        if (i < leading || (shape.dim[i - leading] == 1 && r->shape.dim[i] != 1))
            repeated.axis[repeated.count++] = i;
    if (!repeated.count)
        return x;
    /* Leading axes are to go and others to stay; only where both are summed does it take a reshape.
     */
    bool keep = repeated.axis[repeated.count - 1] >= leading;
    return ag_reshape(ag_sum_axes(x, repeated, keep), shape);
}

OP_LIST(shape_ops, &transpose_op, &reshape_op, &reshape_leaf_op, &broadcast_to_op)
