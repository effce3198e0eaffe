/* Stepping through operands that broadcast: strides, with axes merged where one step covers both.
 */
#include <string.h>

#include "define.h"

void broadcast_strides(const ag_shape *result, const ag_shape *x, ptrdiff_t *stride)
{
    ptrdiff_t step = 1;
    for (int i = result->rank - 1, own = x->rank - 1; i >= 0; i--, own--) {
        int64_t dim = own < 0 ? 1 : x->dim[own];
        stride[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

void loop_merge(struct loop *loop, const ag_shape *shape, ptrdiff_t (*stride)[AG_MAX_RANK],
                int inputs)
{
    memset(loop, 0, sizeof *loop); /* to the last byte, for plans to be compared */
    loop->dim[0] = loop->dim[1] = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (shape->dim[i] == 1)
            continue;
        int last = loop->rank - 1;
        bool merge = last >= 0;
        for (int k = 0; k < inputs && merge; k++)
            merge = stride[k][i] == loop->stride[k][last] * loop->dim[last];
        if (!merge)
            loop->dim[last = loop->rank++] = 1;
        loop->dim[last] *= shape->dim[i];
        for (int k = 0; k < inputs && !merge; k++)
            loop->stride[k][last] = stride[k][i];
    }
}

bool loop_plan(struct call *call, int inputs, int skip)
{
    ptrdiff_t stride[MAX_INPUTS][AG_MAX_RANK];
    ag_shape walked = call->shape;
    walked.rank -= skip;
    for (int k = 0; k < inputs; k++)
        broadcast_strides(&call->shape, &call->in[k]->shape, stride[k]);
    call->loop = arena_allocate(call->tape, &call->tape->arena, sizeof *call->loop);
    if (call->loop)
        loop_merge(call->loop, &walked, stride, inputs);
    return call->loop;
}

bool loop_next(const struct loop *loop, int first, int inputs, int64_t *at, ptrdiff_t *offset)
{
    for (int i = first; i < loop->rank; i++) {
        for (int k = 0; k < inputs; k++)
            offset[k] += loop->stride[k][i];
        if (++at[i] < loop->dim[i])
            return true;
        for (int k = 0; k < inputs; k++)
            offset[k] -= loop->stride[k][i] * loop->dim[i];
        at[i] = 0;
    }
    return false;
}

/* What would make two shapes broadcast, if something simple does; else "". */
static void suggest(const struct call *call, char *hint, size_t size)
{
    static const char *const side[] = {"left", "right", "third"};
    struct text text = {.at = hint, .size = size};
    ag_shape ignored;
    *hint = '\0';
    for (int i = 0; i < 2; i++) {
        ag_shape x = call->in[i]->shape, other = call->in[1 - i]->shape, column = x;
        if (x.rank == 2 && other.rank == 2) {
            ag_shape turned = transposed(x);
            if (shape_broadcast(&turned, &other, &ignored)) {
                text_add(&text, "the %s operand transposed is %s, which fits", side[i],
                         shape_words(&turned).at);
                return;
            }
        }
        if (x.rank >= other.rank)
            continue;
        column.dim[column.rank++] = 1;
        if (shape_broadcast(&column, &other, &ignored)) {
            text_add(&text, "the %s operand reshaped to %s fits: one value for each row", side[i],
                     shape_words(&column).at);
            return;
        }
    }
}

static bool reject_broadcast(const struct call *call)
{
    char hint[160] = "";
    if (call->inputs == 2)
        suggest(call, hint, sizeof hint);
    return reject(call, hint,
                  "shapes do not broadcast: from the last axis backwards, sizes must be "
                  "equal or one of them 1");
}

bool broadcast_shape(struct call *call)
{
    bool same = true;
    for (int k = 1; k < call->inputs; k++) {
        if (same && shape_equal(&call->shape, &call->in[k]->shape))
            continue;
        ag_shape shape = call->shape;
        same = false;
        if (!shape_broadcast(&shape, &call->in[k]->shape, &call->shape))
            return reject_broadcast(call);
    }
    if (same)
        return true;
    if (!shape_check(call->tape, call->op->name, call->shape))
        return false;
    return loop_plan(call, call->inputs, 0);
}

unsigned element_rows(const struct call *call, bool *sums)
{
    unsigned cut = 0;
    *sums = false;
    for (int k = 0; k < call->inputs; k++) {
        const ag_shape *x = &call->in[k]->shape;
        bool along = x->rank && x->rank == call->shape.rank && x->dim[0] == call->shape.dim[0];
        cut |= (unsigned)along << k;
    }
    return cut;
}
