/* Ops that see a tensor's elements in another order: permute, slice, pad, unfold, fold.
 *
 * A view is a map from the positions of a tensor to elements of another, the whole: an offset and a
 * stride for each axis. gather takes the elements that a view sees; scatter puts elements there,
 * among zeros or another constant, and adds up what meets. Each is the gradient of the other, with
 * the same view. */
#include <string.h>

#include "define.h"

struct view {
    struct loop loop;
    ptrdiff_t offset;
    bool overlaps; /* may see an element more than once */
    int64_t start[AG_MAX_RANK],
        step[AG_MAX_RANK]; /* in words; of a permutation, start is its axes */
};

/* ---- Moving elements ---- */

enum { TILE = 16, FEW = 4, SHORT = 128 }; /* SHORT: bytes */

/* Rows side by side go a few elements at a time, where they are added or too short to be worth a
 * call. Where neighbours in a row are far apart, goes by square tiles, so that what a cache line
 * holds is used while it is there. */
#define DEFINE_MOVE(real)                                                                          \
    static inline void move_adjacent_##real(size_t n, const real *x, real *y, bool add)            \
    {                                                                                              \
        for (; n >= FEW; n -= FEW, x += FEW, y += FEW) {                                           \
            real few[FEW];                                                                         \
            for (int i = 0; i < FEW; i++)                                                          \
                few[i] = add ? y[i] + x[i] : x[i];                                                 \
            memcpy(y, few, sizeof few);                                                            \
        }                                                                                          \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = add ? y[i] + x[i] : x[i];                                                       \
    }                                                                                              \
    static void move_rows_##real(const struct block *b, const real *x, real *y)                    \
    {                                                                                              \
        for (size_t i = 0; i < b->rows; i++, x += b->from.row, y += b->to.row)                     \
            if (b->add)                                                                            \
                move_adjacent_##real(b->cols, x, y, true);                                         \
            else if (b->cols * sizeof *y < SHORT)                                                  \
                move_adjacent_##real(b->cols, x, y, false);                                        \
            else                                                                                   \
                memcpy(y, x, b->cols * sizeof *y);                                                 \
    }                                                                                              \
    static void move_apart_##real(const struct block *b, size_t n, const real *x, real *y)         \
    {                                                                                              \
        const ptrdiff_t from = b->from.col, to = b->to.col;                                        \
        if (b->add)                                                                                \
            for (size_t i = 0; i < n; i++, x += from, y += to)                                     \
                *y += *x;                                                                          \
        else                                                                                       \
            for (size_t i = 0; i < n; i++, x += from, y += to)                                     \
                *y = *x;                                                                           \
    }                                                                                              \
    static void move_tiles_##real(const struct block *b, const real *x, real *y)                   \
    {                                                                                              \
        for (size_t top = 0; top < b->rows; top += TILE)                                           \
            for (size_t left = 0; left < b->cols; left += TILE) {                                  \
                size_t rows = b->rows - top < TILE ? b->rows - top : TILE;                         \
                size_t n = b->cols - left < TILE ? b->cols - left : TILE;                          \
                const real *from =                                                                 \
                    x + (ptrdiff_t)top * b->from.row + (ptrdiff_t)left * b->from.col;              \
                real *to = y + (ptrdiff_t)top * b->to.row + (ptrdiff_t)left * b->to.col;           \
                for (; rows--; from += b->from.row, to += b->to.row)                               \
                    move_apart_##real(b, n, from, to);                                             \
            }                                                                                      \
    }

DEFINE_MOVE(float)
DEFINE_MOVE(double)

void move_block(const ag_tape *tape, const struct block *b, const void *x, void *y)
{
    if (b->from.col == 1 && b->to.col == 1)
        OF_ELEMENTS(tape, move_rows, b, x, y);
    else
        OF_ELEMENTS(tape, move_tiles, b, x, y);
}

/* Rows and columns of the view make a block; other axes are stepped through. Either side may be the
 * whole; the other is in order. */
static void move(const ag_tape *tape, const struct view *view, const void *x, void *y, bool scatter)
{
    const struct loop *loop = &view->loop;
    struct steps side_by_side = {(ptrdiff_t)loop->dim[0], 1},
                 seen = {loop->stride[0][1], loop->stride[0][0]};
    struct block b = {.rows = (size_t)loop->dim[1],
                      .cols = (size_t)loop->dim[0],
                      .from = scatter ? side_by_side : seen,
                      .to = scatter ? seen : side_by_side,
                      .add = scatter && view->overlaps};
    int64_t at[AG_MAX_RANK] = {0};
    ptrdiff_t size = (ptrdiff_t)element_size(tape), whole = view->offset, part = 0;
    do {
        ptrdiff_t from = scatter ? part : whole, to = scatter ? whole : part;
        move_block(tape, &b, (const char *)x + from * size, (char *)y + to * size);
        part += (ptrdiff_t)(b.rows * b.cols);
    } while (loop_next(loop, 2, 1, at, &whole));
}

static void gather_forward(ag_tape *tape, const struct record *r)
{
    move(tape, r->attr.plan, input_of(tape, r, 0)->data, r->data, false);
}

static void scatter_forward(ag_tape *tape, const struct record *r)
{
    tape->kernels->fill((size_t)r->count, r->attr.p[0], r->data);
    move(tape, r->attr.plan, input_of(tape, r, 0)->data, r->data, true);
}

bool shape_asked_for(struct call *call)
{
    call->shape = *call->attr.shape;
    return shape_check(call->tape, call->op->name, call->shape);
}

/* ---- Making views ---- */

/* Cleared to the last byte, so that two can be compared. */
static struct view no_view(void)
{
    struct view view;
    memset(&view, 0, sizeof view);
    return view;
}

/* Sees elements from start by step along each axis of the whole, as many as part has there. */
static void see_part(struct view *view, const ag_shape *whole, const ag_shape *part)
{
    ptrdiff_t stride[1][AG_MAX_RANK];
    broadcast_strides(whole, whole, stride[0]);
    for (int i = 0; i < whole->rank; i++) {
        view->offset += (ptrdiff_t)view->start[i] * stride[0][i];
        stride[0][i] *= (ptrdiff_t)view->step[i];
    }
    loop_merge(&view->loop, part, stride, 1);
}

static ag_tensor through(const struct op *op, ag_tensor x, const struct view *view, ag_shape shape)
{
    return record(op, x,
                  &(struct attributes){.plan = view, .plan_size = sizeof *view, .shape = &shape});
}

/* ---- permute: the axes in another order ---- */

static ag_tensor permute_gradient(ag_tensor y, ag_tensor dy, int i)
{
    const struct view *view = find(y)->attr.plan;
    ag_axes inverse = {.count = ag_shape_of(y).rank};
    for (i = 0; i < inverse.count; i++)
        inverse.axis[view->start[i]] = i;
    return ag_permute(dy, inverse);
}

#define VIEW(run) .shape = shape_asked_for, .forward = run

static const struct op permute_op = {CALLED("permute", 1, "$x, ($v)"), VIEW(gather_forward),
                                     .gradient = permute_gradient};

ag_tensor ag_permute(ag_tensor x, ag_axes axes)
{
    const struct record *r = resolve(x, "permute");
    struct view view = no_view();
    ag_shape shape = {.rank = axes.count};
    ptrdiff_t whole[AG_MAX_RANK], stride[1][AG_MAX_RANK];
    unsigned mask;
    if (!r || !axes_mask(x, axes, "permute", &mask))
        return (ag_tensor){.tape = x.tape};
    if (axes.count != r->shape.rank)
        return reject_tensor(x, "permute", "", "%d axes named for a tensor of %d; name each one",
                             axes.count, r->shape.rank);
    broadcast_strides(&r->shape, &r->shape, whole);
    for (int i = 0; i < shape.rank; i++) {
        int axis = axes.axis[i] < 0 ? axes.axis[i] + shape.rank : axes.axis[i];
        view.start[i] = axis;
        shape.dim[i] = r->shape.dim[axis];
        stride[0][i] = whole[axis];
    }
    loop_merge(&view.loop, &shape, stride, 1);
    if (view.loop.rank <= 1) /* only axes of size 1 move */
        return ag_reshape(x, shape);
    return through(&permute_op, x, &view, shape);
}

/* ---- slice and pad ---- */

static const struct op pad_op;

static const struct op slice_op = {WRITTEN("slice", 1, "$x[$v]", CALL), VIEW(gather_forward),
                                   LINEAR(&pad_op)};

static int64_t clip(int64_t i, int64_t low, int64_t high)
{
    return i < low ? low : i > high ? high : i;
}

/* start:stop:step of an axis of n elements, by NumPy's rules: start is made the first position
 * taken. Returns how many there are. */
static int64_t resolve_range(ag_range *range, int64_t n)
{
    bool down = range->step < 0;
    int64_t low = down ? -1 : 0, high = down ? n - 1 : n;
    int64_t step = range->step ? clip(range->step, -n, n) : 1;
    int64_t start = clip(range->start < 0 ? range->start + n : range->start, low, high);
    int64_t stop = clip(range->stop < 0 ? range->stop + n : range->stop, low, high);
    int64_t distance = down ? start - stop : stop - start, stride = down ? -step : step;
    *range = (ag_range){start, stop, step};
    return distance > 0 ? (distance + stride - 1) / stride : 0;
}

ag_tensor ag_slice(ag_tensor x, ag_ranges ranges)
{
    const struct record *r = resolve(x, "slice");
    if (!r || x.tape->failed)
        return (ag_tensor){.tape = x.tape};
    ag_shape shape = r->shape;
    struct view view = no_view();
    if (ranges.count < 0 || ranges.count > shape.rank)
        return reject_tensor(x, "slice", "", "%d ranges for shape %s, which has %d axes",
                             ranges.count, shape_words(&shape).at, shape.rank);
    for (int i = 0; i < shape.rank; i++) {
        if (i >= ranges.count)
            ranges.range[i] = (ag_range){0, AG_END, 1};
        ag_range asked = ranges.range[i], taken = asked;
        shape.dim[i] = resolve_range(&taken, shape.dim[i]);
        if (!shape.dim[i])
            return reject_tensor(x, "slice", "",
                                 "nothing is left of axis %d of shape %s: start %lld, stop %lld, "
                                 "step %lld",
                                 i, shape_words(&r->shape).at, (long long)asked.start,
                                 (long long)asked.stop, (long long)taken.step);
        view.start[i] = taken.start;
        view.step[i] = taken.step;
    }
    see_part(&view, &r->shape, &shape);
    return through(&slice_op, x, &view, shape);
}

static ag_tensor pad_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return through(&slice_op, dy, find(y)->attr.plan, ag_shape_of(operand_of(y, 0)));
}

static const struct op pad_op = {CALLED("pad", 1, "$x, $s"), VIEW(scatter_forward),
                                 .gradient = pad_gradient};

ag_tensor ag_pad(ag_tensor x, ag_shape before, ag_shape after, double value)
{
    const struct record *r = resolve(x, "pad");
    if (!r || x.tape->failed)
        return (ag_tensor){.tape = x.tape};
    ag_shape shape = r->shape;
    struct view view = no_view();
    if (before.rank != shape.rank || after.rank != shape.rank)
        return reject_tensor(x, "pad", "",
                             "widths for %d axes before and %d after; this tensor has %d",
                             before.rank, after.rank, shape.rank);
    for (int i = 0; i < shape.rank; i++) {
        if (before.dim[i] < 0 || after.dim[i] < 0 || before.dim[i] > INT32_MAX ||
            after.dim[i] > INT32_MAX)
            return reject_tensor(x, "pad", "", "axis %d cannot be padded by %lld and %lld", i,
                                 (long long)before.dim[i], (long long)after.dim[i]);
        view.start[i] = before.dim[i];
        view.step[i] = 1;
        shape.dim[i] += before.dim[i] + after.dim[i];
    }
    if (shape_equal(&shape, &r->shape))
        return x;
    if (!shape_check(x.tape, "pad", shape))
        return (ag_tensor){.tape = x.tape};
    see_part(&view, &shape, &r->shape);
    return record(&pad_op, x,
                  &(struct attributes){
                      .plan = &view, .plan_size = sizeof view, .shape = &shape, .p = {value, 0.0}});
}

/* ---- unfold and fold: windows side by side, and added up in their places ---- */

static const struct op fold_op;

static const struct op unfold_op = {CALLED("unfold", 1, "$x, $s"), VIEW(gather_forward),
                                    LINEAR(&fold_op)};

static const struct op fold_op = {CALLED("fold", 1, "$x, $s"), VIEW(scatter_forward),
                                  LINEAR(&unfold_op)};

ag_tensor unfold(ag_tensor x, const ag_shape *view_shape, const ptrdiff_t *stride, ag_shape shape)
{
    struct view view = no_view();
    ptrdiff_t strides[1][AG_MAX_RANK];
    if (!find(x) || x.tape->failed)
        return (ag_tensor){.tape = x.tape};
    memcpy(strides[0], stride, (size_t)view_shape->rank * sizeof *stride);
    loop_merge(&view.loop, view_shape, strides, 1);
    view.overlaps = true;
    return through(&unfold_op, x, &view, shape);
}

/* ---- In words ---- */

/* "1:3, ::2" as NumPy writes it, with what goes without saying left out; of a permutation, its
 * axes.
 */
void add_view(struct text *text, const ag_tape *tape, const struct record *r)
{
    const struct view *view = r->attr.plan;
    const ag_shape *whole = &input_of(tape, r, 0)->shape;
    int rank = r->shape.rank;
    while (r->op == &slice_op && rank > 1 && r->shape.dim[rank - 1] == whole->dim[rank - 1] &&
           view->step[rank - 1] > 0)
        rank--;
    for (int i = 0; i < rank; i++) {
        int64_t start = view->start[i];
        text_add(text, i ? ", " : "");
        if (r->op == &permute_op) {
            text_add(text, "%lld", (long long)start);
            continue;
        }
        int64_t step = view->step[i], stop = start + r->shape.dim[i] * step;
        if (step > 0 ? start > 0 : start < whole->dim[i] - 1)
            text_add(text, "%lld", (long long)start);
        text_add(text, ":");
        if (stop >= 0 && stop < whole->dim[i])
            text_add(text, "%lld", (long long)stop);
        if (step != 1)
            text_add(text, ":%lld", (long long)step);
    }
}

OP_LIST(view_ops, &permute_op, &slice_op, &pad_op, &unfold_op, &fold_op)
