/* Cases of the ops that reorder, join and pick elements; a test program of its own with test_ops.c.
 */
#include <math.h>
#include <string.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&view_ops, &index_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

enum { ROWS = 4 };

/* The index of element i, and the element at an index. */
static void unravel(const ag_shape *shape, int64_t i, int64_t *at)
{
    for (int a = shape->rank - 1; a >= 0; i /= shape->dim[a--])
        at[a] = i % shape->dim[a];
}

static int64_t ravel(const ag_shape *shape, const int64_t *at)
{
    int64_t i = 0;
    for (int a = 0; a < shape->rank; a++)
        i = i * shape->dim[a] + at[a];
    return i;
}

static void some_axes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = random_shape(rng, 1, 4);
}

/* ---- permute: some turns and mirrored turns of the axes ---- */

static int permuted_axis(unsigned v, int rank, int i)
{
    int turn = (int)(v / 2) % rank;
    return v % 2 ? (turn + i) % rank : (turn + rank - i) % rank;
}

static ag_tensor call_permute(const ag_tensor *x, unsigned v)
{
    ag_axes axes = {.count = ag_shape_of(*x).rank};
    for (int i = 0; i < axes.count; i++)
        axes.axis[i] = permuted_axis(v, axes.count, i) - ((v >> i & 1u) ? axes.count : 0);
    return ag_permute(*x, axes);
}

static void permute_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t at[AG_MAX_RANK], from[AG_MAX_RANK];
    int rank = y->shape.rank = x->shape.rank;
    for (int i = 0; i < rank; i++)
        y->shape.dim[i] = x->shape.dim[permuted_axis(v, rank, i)];
    for (int64_t i = 0; i < count_of(&x->shape); i++) {
        unravel(&y->shape, i, at);
        for (int a = 0; a < rank; a++)
            from[permuted_axis(v, rank, a)] = at[a];
        y->at[i] = x->at[ravel(&x->shape, from)];
    }
}

static ag_tensor wrong_permute(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_permute(*x, AG_AXES(0));
}

/* ---- slice: each axis whole, mirrored, without its first, or every other ---- */

static ag_tensor call_slice(const ag_tensor *x, unsigned v)
{
    ag_shape shape = ag_shape_of(*x);
    ag_ranges ranges = {.count = shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        const ag_range kinds[] = {AG_ALL,
                                  {AG_END, -AG_END, -1},
                                  {shape.dim[i] > 1, 99, 0},
                                  {-shape.dim[i], AG_END, 2}};
        ranges.range[i] = kinds[v >> 2 * i & 3u];
    }
    return ag_slice(*x, ranges);
}

static void slice_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t at[AG_MAX_RANK];
    y->shape = x->shape;
    for (int i = 0; i < x->shape.rank; i++) {
        int64_t n = x->shape.dim[i];
        y->shape.dim[i] = (int64_t[]){n, n, n > 1 ? n - 1 : 1, (n + 1) / 2}[v >> 2 * i & 3u];
    }
    for (int64_t i = 0; i < count_of(&y->shape); i++) {
        unravel(&y->shape, i, at);
        for (int a = 0; a < x->shape.rank; a++) {
            int64_t n = x->shape.dim[a];
            at[a] = (int64_t[]){at[a], n - 1 - at[a], at[a] + (n > 1), 2 * at[a]}[v >> 2 * a & 3u];
        }
        y->at[i] = x->at[ravel(&x->shape, at)];
    }
}

static ag_tensor wrong_slice(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_slice(*x, AG_RANGES(AG_ALL, {2, 1, 1}));
}

/* ---- pad ---- */

static ag_tensor call_pad(const ag_tensor *x, unsigned v)
{
    ag_shape before = ag_shape_of(*x), after = before;
    for (int i = 0; i < before.rank; i++) {
        before.dim[i] = v >> i & 1u;
        after.dim[i] = v >> i & 2u;
    }
    return ag_pad(*x, before, after, 0.5);
}

static void pad_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t at[AG_MAX_RANK];
    y->shape = x->shape;
    for (int i = 0; i < x->shape.rank; i++)
        y->shape.dim[i] += (int64_t)((v >> i & 1u) + (v >> i & 2u));
    for (int64_t i = 0; i < count_of(&y->shape); i++)
        y->at[i] = 0.5;
    for (int64_t i = 0; i < count_of(&x->shape); i++) {
        unravel(&x->shape, i, at);
        for (int a = 0; a < x->shape.rank; a++)
            at[a] += v >> a & 1u;
        y->at[ravel(&y->shape, at)] = x->at[i];
    }
}

static ag_tensor wrong_pad(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_pad(*x, AG_SHAPE(1, -1), AG_SHAPE(0, 0), 0.0);
}

/* ---- unfold and fold: neighbours of a vector, in pairs ---- */

static void pair_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = AG_SHAPE(3 + (int64_t)ag_rng_below(rng, 3));
}

static ag_tensor pairs(ag_tensor x)
{
    ag_shape shape = AG_SHAPE(2, ag_count(x) - 1);
    return unfold(x, &shape, (const ptrdiff_t[]){1, 1}, shape);
}

static ag_tensor call_unfold(const ag_tensor *x, unsigned v)
{
    (void)v;
    return pairs(*x);
}

static void unfold_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = x->shape.dim[0] - 1;
    (void)v;
    y->shape = AG_SHAPE(2, n);
    for (int64_t i = 0; i < 2 * n; i++)
        y->at[i] = x->at[i / n + i % n];
}

static void fold_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = AG_SHAPE(2, 2 + (int64_t)ag_rng_below(rng, 3));
}

static ag_tensor call_fold(const ag_tensor *x, unsigned v)
{
    (void)v;
    ag_tensor p = ag_input(x->tape, "p", AG_SHAPE(ag_shape_of(*x).dim[1] + 1));
    return pulled_back(pairs(p), *x, p);
}

static void fold_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = x->shape.dim[1];
    (void)v;
    y->shape = AG_SHAPE(n + 1);
    memset(y->at, 0, sizeof y->at);
    for (int64_t i = 0; i < 2 * n; i++)
        y->at[i / n + i % n] += x->at[i];
}

/* ---- concat and stack: x, y, x ---- */

static void concat_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    shape[0] = shape[1] = random_shape(rng, 2, 4);
    shape[1].dim[v % 2] = 1 + (int64_t)ag_rng_below(rng, 3);
}

static ag_tensor call_concat(const ag_tensor *x, unsigned v)
{
    int axis = (int)(v % 2) - (v & 4u ? ag_shape_of(*x).rank : 0);
    return ag_concat((const ag_tensor[]){x[0], x[1], x[0]}, 3, axis);
}

/* Parts beside each other along an axis: y shaped like x[0] but along it. */
static void join_reference(const struct array *const *part, int parts, int axis, struct array *y)
{
    int64_t at[AG_MAX_RANK], start = 0;
    y->shape = part[0]->shape;
    y->shape.dim[axis] = 0;
    for (int k = 0; k < parts; k++)
        y->shape.dim[axis] += part[k]->shape.dim[axis];
    for (int k = 0; k < parts; k++) {
        for (int64_t i = 0; i < count_of(&part[k]->shape); i++) {
            unravel(&part[k]->shape, i, at);
            at[axis] += start;
            y->at[ravel(&y->shape, at)] = part[k]->at[i];
        }
        start += part[k]->shape.dim[axis];
    }
}

static void concat_reference(const struct array *x, unsigned v, struct array *y)
{
    join_reference((const struct array *const[]){&x[0], &x[1], &x[0]}, 3, (int)(v % 2), y);
}

static void same_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    shape[0] = shape[1] = random_shape(rng, 0, 3);
}

static ag_tensor call_stack(const ag_tensor *x, unsigned v)
{
    int places = ag_shape_of(*x).rank + 1, axis = (int)(v / 2) % places;
    return ag_stack((const ag_tensor[]){x[0], x[1], x[0]}, 3, v % 2 ? axis : axis - places);
}

static void stack_reference(const struct array *x, unsigned v, struct array *y)
{
    static struct array part[2];
    int rank = x->shape.rank, axis = (int)(v / 2) % (rank + 1);
    for (int k = 0; k < 2; k++) {
        part[k] = x[k];
        part[k].shape.rank++;
        for (int i = rank; i > axis; i--)
            part[k].shape.dim[i] = x[k].shape.dim[i - 1];
        part[k].shape.dim[axis] = 1;
    }
    join_reference((const struct array *const[]){&part[0], &part[1], &part[0]}, 3, axis, y);
}

/* ---- take, add_rows, one_hot: positions by v ---- */

static ag_shape index_shape(unsigned v)
{
    const ag_shape shapes[] = {AG_SCALAR, AG_SHAPE(5), AG_SHAPE(2, 3), AG_SHAPE(2, 1, 2)};
    return shapes[v % 4];
}

static int64_t index_at(unsigned v, int64_t i, int64_t n)
{
    return n ? ((int64_t)v / 4 + i * i) % n : 0;
}

static ag_tensor indices(ag_tape *tape, unsigned v, int64_t n)
{
    double at[16];
    ag_shape shape = index_shape(v);
    for (int64_t i = 0; i < count_of(&shape); i++)
        at[i] = (double)index_at(v, i, n);
    return ag_input_f64(tape, "indices", shape, at);
}

static ag_tensor call_take(const ag_tensor *x, unsigned v)
{
    return ag_take(*x, indices(x->tape, v, ag_shape_of(*x).dim[0]));
}

static void take_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = x->shape.dim[0], row = count_of(&x->shape) / n;
    y->shape = index_shape(v);
    for (int64_t i = 0; i < count_of(&y->shape) * row; i++)
        y->at[i] = x->at[index_at(v, i / row, n) * row + i % row];
    for (int i = 1; i < x->shape.rank; i++)
        y->shape.dim[y->shape.rank++] = x->shape.dim[i];
}

static ag_tensor wrong_take(const ag_tensor *x, unsigned v)
{
    return ag_take(*x, indices(x->tape, v, 2));
}

static void row_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    *shape = index_shape(v);
    shape->dim[shape->rank++] = 1 + (int64_t)ag_rng_below(rng, 3);
}

static ag_tensor call_add_rows(const ag_tensor *x, unsigned v)
{
    ag_shape s = ag_shape_of(*x);
    ag_tensor p = ag_input(x->tape, "p", AG_SHAPE(ROWS, s.rank ? s.dim[s.rank - 1] : 1));
    return pulled_back(ag_take(p, indices(x->tape, v, ROWS)), *x, p);
}

static void add_rows_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t row = x->shape.dim[x->shape.rank - 1];
    y->shape = AG_SHAPE(ROWS, row);
    memset(y->at, 0, sizeof y->at);
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[index_at(v, i / row, ROWS) * row + i % row] += x->at[i];
}

static ag_tensor wrong_add_rows(const ag_tensor *x, unsigned v)
{
    return call_add_rows(x, v + 1);
}

static ag_tensor call_one_hot(const ag_tensor *x, unsigned v)
{
    return ag_one_hot(indices(x->tape, v, ROWS), ROWS);
}

static void one_hot_reference(const struct array *x, unsigned v, struct array *y)
{
    (void)x;
    y->shape = index_shape(v);
    y->shape.dim[y->shape.rank++] = ROWS;
    for (int64_t i = 0; i < count_of(&y->shape); i++)
        y->at[i] = index_at(v, i / ROWS, ROWS) == i % ROWS;
}

static ag_tensor wrong_one_hot(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_one_hot(*x, 0);
}

/* ---- The table ---- */

const struct op_case op_cases[] = {
    {.op = "permute",
     .build = call_permute,
     .inputs = 1,
     .reference = permute_reference,
     .shapes = some_axes,
     .wrong = wrong_permute,
     .wrong_shape = {{2, {2, 3}}},
     .error = "permute: 1 axes named for a tensor of 2"},
    {.op = "slice",
     .build = call_slice,
     .inputs = 1,
     .reference = slice_reference,
     .shapes = some_axes,
     .wrong = wrong_slice,
     .wrong_shape = {{2, {2, 3}}},
     .error = "slice: nothing is left of axis 1 of shape (2, 3): start 2, stop 1, step 1"},
    {.op = "pad",
     .build = call_pad,
     .inputs = 1,
     .reference = pad_reference,
     .shapes = some_axes,
     .wrong = wrong_pad,
     .wrong_shape = {{2, {2, 3}}},
     .error = "pad: axis 1 cannot be padded by -1 and 0"},
    {.op = "unfold",
     .build = call_unfold,
     .inputs = 1,
     .reference = unfold_reference,
     .shapes = pair_shapes,
     .wrong_shape = {{1, {1}}},
     .error = "unfold: axis 1 has size 0"},
    {.op = "fold",
     .build = call_fold,
     .inputs = 1,
     .reference = fold_reference,
     .shapes = fold_shapes,
     .wrong_shape = {{2, {3, 2}}},
     .error = "mul: shapes do not broadcast"},
    {.op = "concat",
     .build = call_concat,
     .inputs = 2,
     .reference = concat_reference,
     .shapes = concat_shapes,
     .wrong_shape = {{2, {2, 3}}, {2, {4, 5}}},
     .error = "concat: sizes differ along axis 1: 5 and 3"},
    {.op = "concat",
     .build = call_stack,
     .inputs = 2,
     .reference = stack_reference,
     .shapes = same_shapes,
     .wrong_shape = {{2, {2, 3}}, {2, {2, 4}}},
     .error = "stack: shapes differ: the first is (2, 3), number 1 is (2, 4)"},
    {.op = "take",
     .build = call_take,
     .inputs = 1,
     .reference = take_reference,
     .shapes = some_axes,
     .wrong = wrong_take,
     .wrong_shape = {{0, {0}}},
     .error = "take: a scalar has no rows to take"},
    {.op = "add_rows",
     .build = call_add_rows,
     .inputs = 1,
     .reference = add_rows_reference,
     .shapes = row_shapes,
     .wrong = wrong_add_rows,
     .wrong_shape = {{2, {2, 3}}},
     .error = "mul: shapes do not broadcast"},
    {.op = "one_hot",
     .build = call_one_hot,
     .inputs = 1,
     .reference = one_hot_reference,
     .flat = true,
     .wrong = wrong_one_hot,
     .wrong_shape = {{1, {3}}},
     .error = "one_hot: the number of classes is 0; it must be from 1 to 2^53"},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
