/* Cases of convolution and pooling; a test program of its own with test_ops.c. */
#include <math.h>
#include <string.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&conv_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

/* ---- Convolution: stride, padding, dilation and groups by v ---- */

static ag_conv conv_options(unsigned v)
{
    return (ag_conv){v % 3, v / 3 % 3, v / 9 % 3, v / 27 % 3};
}

static int64_t at_least_one(int64_t n)
{
    return n ? n : 1;
}

static void conv_shapes(ag_rng *rng, unsigned v, ag_shape *shape, int axes)
{
    ag_conv o = conv_options(v);
    int64_t groups = at_least_one(o.groups), channels = draw_size(rng, 1, 2);
    shape[0] = (ag_shape){axes + 2, {draw_size(rng, 1, 2), groups * channels}};
    shape[1] = (ag_shape){axes + 2, {groups * draw_size(rng, 1, 2), channels}};
    shape[2] = AG_SHAPE(shape[1].dim[0]);
    for (int i = 2; i < axes + 2; i++) {
        shape[1].dim[i] = draw_size(rng, 1, 3);
        int64_t least = at_least_one(o.dilation) * (shape[1].dim[i] - 1) + 1 - 2 * o.padding;
        shape[0].dim[i] = (least > 0 ? least : 1) + draw_size(rng, 0, 2);
    }
}

static void conv1d_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    conv_shapes(rng, v, shape, 1);
}

static void conv2d_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    conv_shapes(rng, v, shape, 2);
}

static ag_tensor call_conv1d(const ag_tensor *x, unsigned v)
{
    return ag_conv1d(x[0], x[1], x[2], conv_options(v));
}

static ag_tensor call_conv2d(const ag_tensor *x, unsigned v)
{
    return ag_conv2d(x[0], x[1], x[2], conv_options(v));
}

/* An image's element, 0 around it. */
static double pixel(const struct array *x, int64_t plane, int64_t row, int64_t col)
{
    int64_t h = x->shape.dim[2], w = x->shape.dim[3];
    return row < 0 || row >= h || col < 0 || col >= w ? 0.0 : x->at[(plane * h + row) * w + col];
}

static void as_image(struct array *x)
{
    x->shape.dim[3] = x->shape.dim[2];
    x->shape.dim[2] = 1;
    x->shape.rank = 4;
}

/* One output, summed as the definition says. pad: of the rows, of the columns. */
static double conv_at(const struct array *x, const struct array *w, const ag_conv *o,
                      const int64_t *at, int64_t pad_rows)
{
    int64_t channels = w->shape.dim[1], kh = w->shape.dim[2], kw = w->shape.dim[3];
    int64_t group = at[1] / (w->shape.dim[0] / at_least_one(o->groups));
    int64_t stride = at_least_one(o->stride), dilation = at_least_one(o->dilation);
    double sum = 0.0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t k = 0; k < kh * kw; k++)
            sum += w->at[(at[1] * channels + c) * kh * kw + k] *
                   pixel(x, at[0] * x->shape.dim[1] + group * channels + c,
                         at[2] * stride + k / kw * dilation - pad_rows,
                         at[3] * stride + k % kw * dilation - o->padding);
    return sum;
}

static int64_t places(int64_t size, int64_t reach, int64_t stride)
{
    return (size - reach) / stride + 1;
}

static void conv_reference(const struct array *x, unsigned v, struct array *y)
{
    ag_conv o = conv_options(v);
    bool line = x->shape.rank == 3;
    struct array image = x[0], kernel = x[1];
    if (line) {
        as_image(&image);
        as_image(&kernel);
    }
    y->shape = AG_SHAPE(image.shape.dim[0], kernel.shape.dim[0], 1, 1);
    for (int i = line ? 3 : 2; i < 4; i++)
        y->shape.dim[i] = places(image.shape.dim[i] + 2 * o.padding,
                                 at_least_one(o.dilation) * (kernel.shape.dim[i] - 1) + 1,
                                 at_least_one(o.stride));
    for (int64_t i = 0; i < count_of(&y->shape); i++) {
        int64_t rest = i, at[4];
        for (int a = 3; a >= 0; rest /= y->shape.dim[a--])
            at[a] = rest % y->shape.dim[a];
        y->at[i] = x[2].at[at[1]] + conv_at(&image, &kernel, &o, at, line ? 0 : o.padding);
    }
    if (line)
        y->shape = AG_SHAPE(y->shape.dim[0], y->shape.dim[1], y->shape.dim[3]);
}

/* conv_input and conv_weights: what a gradient dy of y = conv(x, w), here y itself, makes of x and
 * w.
 */
static ag_tensor conv_of(ag_tensor x, ag_tensor w, unsigned v)
{
    ag_tensor none = {0};
    return ag_shape_of(w).rank == 3 ? ag_conv1d(x, w, none, conv_options(v))
                                    : ag_conv2d(x, w, none, conv_options(v));
}

static ag_tensor call_conv_input(const ag_tensor *x, unsigned v)
{
    ag_tensor p = scrambled_like(x[0]);
    return pulled_back(conv_of(p, x[1], v), conv_of(x[0], x[1], v), p);
}

static ag_tensor call_conv_weights(const ag_tensor *x, unsigned v)
{
    ag_tensor p = scrambled_like(x[1]);
    return pulled_back(conv_of(x[0], p, v), conv_of(x[0], x[1], v), p);
}

static void any_conv_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    ag_shape all[3];
    conv_shapes(rng, v, all, v / 81 % 2 ? 1 : 2);
    memcpy(shape, all, 2 * sizeof *shape);
}

/* y goes back through every weight to every element that it came of. */
static void conv_back(const struct array *x, unsigned v, struct array *to, bool weights)
{
    static struct array operands[3], y;
    ag_conv o = conv_options(v);
    bool line = x->shape.rank == 3;
    operands[0] = x[0];
    operands[1] = x[1];
    memset(operands[2].at, 0, sizeof operands[2].at);
    conv_reference(operands, v, &y);
    for (int i = 0; i < 2 && line; i++)
        as_image(&operands[i]);
    if (line)
        as_image(&y);
    const int64_t *size = operands[0].shape.dim, *w = operands[1].shape.dim, *out = y.shape.dim;
    int64_t group = w[0] / at_least_one(o.groups), stride = at_least_one(o.stride);
    to->shape = x[weights].shape;
    memset(to->at, 0, sizeof to->at);
    for (int64_t i = 0; i < count_of(&y.shape) * w[1] * w[2] * w[3]; i++) {
        int64_t tap = i % (w[1] * w[2] * w[3]), at = i / (w[1] * w[2] * w[3]);
        int64_t output = at / (out[2] * out[3]) % out[1], image = at / (out[1] * out[2] * out[3]);
        int64_t channel = output / group * w[1] + tap / (w[2] * w[3]);
        int64_t row = at / out[3] % out[2] * stride + tap / w[3] % w[2] * at_least_one(o.dilation) -
                      (line ? 0 : o.padding);
        int64_t col = at % out[3] * stride + tap % w[3] * at_least_one(o.dilation) - o.padding;
        int64_t weight = output * w[1] * w[2] * w[3] + tap;
        int64_t element = ((image * size[1] + channel) * size[2] + row) * size[3] + col;
        if (row < 0 || row >= size[2] || col < 0 || col >= size[3])
            continue;
        if (weights)
            to->at[weight] += y.at[at] * operands[0].at[element];
        else
            to->at[element] += y.at[at] * operands[1].at[weight];
    }
}

static void conv_input_reference(const struct array *x, unsigned v, struct array *y)
{
    conv_back(x, v, y, false);
}

static void conv_weights_reference(const struct array *x, unsigned v, struct array *y)
{
    conv_back(x, v, y, true);
}

/* ---- Pooling ---- */

static ag_pool pool_options(unsigned v)
{
    int64_t kernel = 1 + v % 3;
    return (ag_pool){kernel, v / 3 % 3, v / 9 % 2 ? kernel / 2 : 0};
}

static void pool_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    ag_pool o = pool_options(v);
    int64_t least = o.kernel - 2 * o.padding > 0 ? o.kernel - 2 * o.padding : 1;
    *shape = AG_SHAPE(draw_size(rng, 1, 2), draw_size(rng, 1, 2), least + draw_size(rng, 0, 2));
    if (v / 18 % 2)
        shape->dim[shape->rank++] = least + draw_size(rng, 0, 2);
}

static ag_tensor call_max_pool(const ag_tensor *x, unsigned v)
{
    ag_pool o = pool_options(v);
    return v / 18 % 2 ? ag_max_pool2d(*x, o) : ag_max_pool1d(*x, o);
}

static ag_tensor call_avg_pool(const ag_tensor *x, unsigned v)
{
    ag_pool o = pool_options(v);
    return v / 18 % 2 ? ag_avg_pool2d(*x, o) : ag_avg_pool1d(*x, o);
}

/* Where the element is that a window takes of `x`: its largest. */
static int64_t largest(const struct array *x, ag_pool o, const int64_t *at, bool line)
{
    int64_t best = -1, stride = o.stride ? o.stride : o.kernel, w = x->shape.dim[3];
    int64_t top = line ? 0 : at[2] * stride - o.padding, left = at[3] * stride - o.padding;
    for (int64_t r = top; r < top + (line ? 1 : o.kernel); r++)
        for (int64_t c = left; c < left + o.kernel; c++) {
            int64_t i = ((at[0] * x->shape.dim[1] + at[1]) * x->shape.dim[2] + r) * w + c;
            bool inside = r >= 0 && r < x->shape.dim[2] && c >= 0 && c < w;
            if (inside && (best < 0 || x->at[i] > x->at[best]))
                best = i;
        }
    return best;
}

static double average(const struct array *x, ag_pool o, const int64_t *at, bool line)
{
    int64_t stride = o.stride ? o.stride : o.kernel;
    int64_t top = line ? 0 : at[2] * stride - o.padding, left = at[3] * stride - o.padding;
    double sum = 0.0, n = (double)(line ? o.kernel : o.kernel * o.kernel);
    for (int64_t r = top; r < top + (line ? 1 : o.kernel); r++)
        for (int64_t c = left; c < left + o.kernel; c++)
            sum += pixel(x, at[0] * x->shape.dim[1] + at[1], r, c);
    return sum / n;
}

/* from, if not NULL, is told where each largest element is; else y gets averages. */
static void pool_reference(const struct array *x, unsigned v, struct array *y, int64_t *from)
{
    ag_pool o = pool_options(v);
    bool line = x->shape.rank == 3;
    struct array image = *x;
    if (line)
        as_image(&image);
    y->shape = image.shape;
    for (int i = line ? 3 : 2; i < 4; i++)
        y->shape.dim[i] =
            places(image.shape.dim[i] + 2 * o.padding, o.kernel, o.stride ? o.stride : o.kernel);
    for (int64_t i = 0; i < count_of(&y->shape); i++) {
        int64_t rest = i, at[4];
        for (int a = 3; a >= 0; rest /= y->shape.dim[a--])
            at[a] = rest % y->shape.dim[a];
        if (from)
            from[i] = largest(&image, o, at, line);
        y->at[i] = from ? x->at[from[i]] : average(&image, o, at, line);
    }
    if (line)
        y->shape = AG_SHAPE(y->shape.dim[0], y->shape.dim[1], y->shape.dim[3]);
}

static void max_pool_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t from[MOST_ELEMENTS];
    pool_reference(x, v, y, from);
}

static void avg_pool_reference(const struct array *x, unsigned v, struct array *y)
{
    pool_reference(x, v, y, NULL);
}

/* max_put: dy, which is a function of x, put where p is largest; max_pick: x picked there. */
static ag_tensor call_max_put(const ag_tensor *x, unsigned v)
{
    ag_tensor p = scrambled_like(*x);
    return pulled_back(call_max_pool(&p, v), call_max_pool(x, v), p);
}

static void max_put_reference(const struct array *x, unsigned v, struct array *y)
{
    static struct array pooled, p;
    int64_t from[MOST_ELEMENTS];
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        p.at[i] = scrambled(i);
    p.shape = x->shape;
    max_pool_reference(x, v, &pooled);
    pool_reference(&p, v, y, from);
    int64_t count = count_of(&y->shape);
    y->shape = x->shape;
    memset(y->at, 0, sizeof y->at);
    for (int64_t i = 0; i < count; i++)
        y->at[from[i]] += pooled.at[i];
}

static ag_tensor call_max_pick(const ag_tensor *x, unsigned v)
{
    ag_tensor p = scrambled_like(*x), pooled = call_max_pool(&p, v);
    ag_tensor dy = ag_input(x->tape, "dy", ag_shape_of(pooled));
    return pulled_back(pulled_back(pooled, dy, p), *x, dy);
}

static void max_pick_reference(const struct array *x, unsigned v, struct array *y)
{
    static struct array p;
    int64_t from[MOST_ELEMENTS];
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        p.at[i] = scrambled(i);
    p.shape = x->shape;
    pool_reference(&p, v, y, from);
    for (int64_t i = 0; i < count_of(&y->shape); i++)
        y->at[i] = x->at[from[i]];
}

static ag_tensor wrong_pool(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_max_pool2d(*x, (ag_pool){.kernel = 3, .padding = 2});
}

/* ---- The table ---- */

#define SMALL .low = -1.0, .high = 1.0

const struct op_case op_cases[] = {
    {.op = "conv",
     .build = call_conv1d,
     .inputs = 3,
     .reference = conv_reference,
     .shapes = conv1d_shapes,
     .unlike = true,
     SMALL,
     .wrong_shape = {{3, {2, 3, 8}}, {3, {4, 2, 3}}, {1, {4}}},
     .error = "conv1d: the input has 3 channels, the weights are for 2 in 1 group"},
    {.op = "conv",
     .build = call_conv2d,
     .inputs = 3,
     .reference = conv_reference,
     .shapes = conv2d_shapes,
     .unlike = true,
     SMALL,
     .wrong_shape = {{4, {2, 3, 8, 2}}, {4, {4, 3, 3, 3}}, {1, {4}}},
     .error = "conv2d: the kernel is wider than axis 3: it reaches over 3 of 2"},
    {.op = "conv_input",
     .build = call_conv_input,
     .inputs = 2,
     .reference = conv_input_reference,
     .shapes = any_conv_shapes,
     .unlike = true,
     SMALL,
     .wrong_shape = {{4, {2, 3, 8, 8}}, {3, {4, 3, 3}}},
     .error = "conv1d: the input must have 3 axes: batch, channels, length"},
    {.op = "conv_weights",
     .build = call_conv_weights,
     .inputs = 2,
     .reference = conv_weights_reference,
     .shapes = any_conv_shapes,
     .unlike = true,
     SMALL,
     .wrong_shape = {{3, {2, 3, 8}}, {4, {4, 3, 3, 3}}},
     .error = "conv2d: the input must have 4 axes: batch, channels, height and width"},
    {.op = "max_pool",
     .build = call_max_pool,
     .inputs = 1,
     .reference = max_pool_reference,
     .shapes = pool_shapes,
     .wrong = wrong_pool,
     .wrong_shape = {{4, {1, 1, 8, 8}}},
     .error = "max_pool2d: a padding of 2 is more than half of the kernel, 3"},
    {.op = "max_pool",
     .build = call_avg_pool,
     .inputs = 1,
     .reference = avg_pool_reference,
     .shapes = pool_shapes,
     .wrong_shape = {{2, {8, 8}}},
     .error = "avg_pool1d: the input must have 3 axes: batch, channels, length"},
    {.op = "max_put",
     .build = call_max_put,
     .inputs = 1,
     .reference = max_put_reference,
     .shapes = pool_shapes,
     .wrong_shape = {{2, {8, 8}}},
     .error = "max_pool1d: the input must have 3 axes"},
    {.op = "max_pick",
     .build = call_max_pick,
     .inputs = 1,
     .reference = max_pick_reference,
     .shapes = pool_shapes,
     .wrong_shape = {{2, {8, 8}}},
     .error = "max_pool1d: the input must have 3 axes"},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
