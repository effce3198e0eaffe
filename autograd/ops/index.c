/* Ops that join tensors, and ops whose operand holds positions: concat, stack, take, one_hot.
 *
 * Positions are whole numbers in the tape's element type. They are only known when the op runs, so
 * that is when they are checked: one out of range sets the sticky error, touches nothing and gives
 * NaN. */
#include <math.h>
#include <string.h>

#include "define.h"

/* ---- concat: two tensors along an axis; of more, a balanced tree of twos ---- */

static bool concat_shape(struct call *call)
{
    const ag_shape *x = &call->in[0]->shape, *y = &call->in[1]->shape;
    if (x->rank != y->rank)
        return reject(call, "", "the number of axes differs: %d and %d", x->rank, y->rank);
    for (int i = 0; i < x->rank; i++)
        if (call->attr.axes >> i & 1u)
            call->shape.dim[i] = x->dim[i] + y->dim[i];
        else if (x->dim[i] != y->dim[i])
            return reject(call, "", "sizes differ along axis %d: %lld and %lld", i,
                          (long long)x->dim[i], (long long)y->dim[i]);
    return shape_check(call->tape, "concat", call->shape);
}

static void concat_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0), *y = input_of(tape, r, 1);
    size_t outer = run_of(&r->shape, r->attr.axes).outer, size = element_size(tape);
    size_t nx = (size_t)x->count / outer * size, ny = (size_t)y->count / outer * size;
    char *to = r->data;
    for (size_t i = 0; i < outer; i++, to += nx + ny) {
        memcpy(to, (const char *)x->data + i * nx, nx);
        memcpy(to + nx, (const char *)y->data + i * ny, ny);
    }
}

/* Each operand's part of dy. */
static ag_tensor concat_gradient(ag_tensor y, ag_tensor dy, int i)
{
    int axis = 0;
    while (!(find(y)->attr.axes >> axis & 1u))
        axis++;
    int64_t first = ag_shape_of(operand_of(y, 0)).dim[axis];
    ag_ranges part = {.count = axis + 1};
    for (int k = 0; k < axis; k++)
        part.range[k] = (ag_range)AG_ALL;
    part.range[axis] = i ? (ag_range){first, AG_END, 1} : (ag_range){0, first, 1};
    return ag_slice(dy, part);
}

static const struct op concat_op = {
    CALLED("concat", 2, "$x, $y$a"),
    .shape = concat_shape,
    .forward = concat_forward,
    .gradient = concat_gradient,
};

/* x with a new axis of size 1; as it is where that is not asked for (-1). */
static ag_tensor with_axis(ag_tensor x, int axis)
{
    if (axis < 0 || !find(x))
        return x;
    ag_shape shape = ag_shape_of(x);
    memmove(shape.dim + axis + 1, shape.dim + axis,
            (size_t)(shape.rank++ - axis) * sizeof *shape.dim);
    shape.dim[axis] = 1;
    return ag_reshape(x, shape);
}

static ag_tensor join(const ag_tensor *x, size_t count, unsigned axes, int new_axis)
{
    if (count == 1)
        return with_axis(*x, new_axis);
    ag_tensor left = join(x, count / 2, axes, new_axis);
    ag_tensor right = join(x + count / 2, count - count / 2, axes, new_axis);
    return record2(&concat_op, left, right, &(struct attributes){.axes = axes});
}

static bool all_valid(const ag_tensor *x, size_t count)
{
    size_t i = 0;
    while (i < count && find(x[i]) && x[i].tape == x->tape)
        i++;
    return i == count;
}

ag_tensor ag_concat(const ag_tensor *x, size_t count, int axis)
{
    unsigned axes;
    if (!x || !count)
        return NONE;
    if (!all_valid(x, count))
        return refuse("concat", x, count);
    if (!axes_mask(*x, AG_AXES(axis), "concat", &axes))
        return (ag_tensor){.tape = x->tape};
    return join(x, count, axes, -1);
}

ag_tensor ag_stack(const ag_tensor *x, size_t count, int axis)
{
    if (!x || !count)
        return NONE;
    if (!all_valid(x, count))
        return refuse("stack", x, count);
    const struct record *first = find(*x);
    if (x->tape->failed)
        return (ag_tensor){.tape = x->tape};
    int rank = first->shape.rank, at = axis < 0 ? axis + rank + 1 : axis;
    if (rank == AG_MAX_RANK || at < 0 || at > rank)
        return ag_fail(x->tape, "stack: no room for a new axis %d in shape %s", axis,
                       shape_words(&first->shape).at);
    for (size_t i = 1; i < count; i++) {
        const struct record *r = find(x[i]);
        if (!shape_equal(&r->shape, &first->shape))
            return ag_fail(x->tape, "stack: shapes differ: the first is %s, number %zu is %s",
                           shape_words(&first->shape).at, i, shape_words(&r->shape).at);
    }
    return join(x, count, 1u << at, at);
}

/* ---- Positions ---- */

/* The position that element i of the operand holds, below n; -1 with the error if there is none.
 * The error is not made by the call that happens to come next. */
static int64_t position(ag_tape *tape, const struct record *r, int operand, int64_t i, int64_t n)
{
    double value = element_at(tape, input_of(tape, r, operand), i);
    if (value >= 0.0 && value < (double)n && value == floor(value))
        return (int64_t)value;
    char text[96];
    struct text name = {.at = text, .size = sizeof text};
    expression(&name, tape, r->input[operand], 48);
    ag_fail(tape,
            "%s: element %lld of %s is %.9g; a position here is a whole number from 0 to %lld",
            r->op->name, (long long)i, text, value, (long long)n - 1);
    tape->located = true;
    return -1;
}

/* ---- take: rows; its gradient adds to rows, each the other's gradient ---- */

static bool take_shape(struct call *call)
{
    ag_shape x = call->in[0]->shape, shape = call->in[1]->shape;
    if (!x.rank)
        return reject(call, "", "a scalar has no rows to take");
    if (shape.rank + x.rank - 1 > AG_MAX_RANK)
        return reject(call, "", "the result would have %d axes", shape.rank + x.rank - 1);
    for (int i = 1; i < x.rank; i++)
        shape.dim[shape.rank++] = x.dim[i];
    call->shape = shape;
    return shape_check(call->tape, "take", shape);
}

static void take_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0), *indices = input_of(tape, r, 1);
    size_t row = (size_t)(x->count / x->shape.dim[0]), size = row * element_size(tape);
    for (int64_t i = 0; i < indices->count; i++) {
        int64_t from = position(tape, r, 1, i, x->shape.dim[0]);
        char *to = (char *)r->data + (size_t)i * size;
        if (from < 0)
            tape->kernels->fill(row, (double)NAN, to);
        else
            memcpy(to, (const char *)x->data + (size_t)from * size, size);
    }
}

static const struct op add_rows_op;

static const struct op take_op = {
    CALLED("take", 2, "$x, $y"),
    .shape = take_shape,
    .forward = take_forward,
    LINEAR(&add_rows_op),
};
RECORDS_2(ag_take, take_op)

static void add_rows_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0), *indices = input_of(tape, r, 1);
    size_t row = (size_t)(r->count / r->shape.dim[0]), size = row * element_size(tape);
    tape->kernels->fill((size_t)r->count, 0.0, r->data);
    for (int64_t i = 0; i < indices->count; i++) {
        int64_t to = position(tape, r, 1, i, r->shape.dim[0]);
        char *sum = (char *)r->data + (size_t)(to < 0 ? 0 : to) * size;
        if (to >= 0)
            pairwise(tape->kernels, BINARY_ADD, row, sum, (const char *)x->data + (size_t)i * size,
                     sum);
    }
}

static const struct op add_rows_op = {
    CALLED("add_rows", 2, "$x, $y, $s"),
    .shape = shape_asked_for,
    .forward = add_rows_forward,
    LINEAR(&take_op),
};

/* ---- one_hot: flat in its positions, so that it has no gradient ---- */

static bool one_hot_shape(struct call *call)
{
    double classes = call->attr.p[0];
    if (call->shape.rank == AG_MAX_RANK)
        return reject(call, "", "there is no room for another axis");
    if (classes < 1.0 || classes > 0x1p53)
        return reject(call, "", "the number of classes is %.15g; it must be from 1 to 2^53",
                      classes);
    call->shape.dim[call->shape.rank++] = (int64_t)classes;
    return shape_check(call->tape, "one_hot", call->shape);
}

static void one_hot_forward(ag_tape *tape, const struct record *r)
{
    int64_t classes = r->shape.dim[r->shape.rank - 1];
    size_t size = element_size(tape) * (size_t)classes;
    tape->kernels->fill((size_t)r->count, 0.0, r->data);
    for (int64_t i = 0; i < r->count / classes; i++) {
        int64_t at = position(tape, r, 0, i, classes);
        char *row = (char *)r->data + (size_t)i * size;
        if (at < 0)
            tape->kernels->fill((size_t)classes, (double)NAN, row);
        else
            tape->kernels->fill(1, 1.0, row + (size_t)at * element_size(tape));
    }
}

static const struct op one_hot_op = {
    CALLED("one_hot", 1, "$x, $p"),
    .shape = one_hot_shape,
    .forward = one_hot_forward,
};

ag_tensor ag_one_hot(ag_tensor indices, int64_t classes)
{
    return record(&one_hot_op, indices, &(struct attributes){.p = {(double)classes, 0.0}});
}

OP_LIST(index_ops, &concat_op, &take_op, &add_rows_op, &one_hot_op)
