/* Convolutions and pooling: a kernel that moves over the last axes of a batch of images (N, C, H,
 * W). In one dimension, H is 1. The arithmetic of convolution is in convolve.c; average pooling is
 * a mean over the windows. */
#include <string.h>

#include "convolve.h"

static void fill_axes(struct window *window, struct axis like)
{
    window->axis[0] = (struct axis){1, 1, 1, 0, 1, 1};
    for (int i = 2 - window->count; i < 2; i++)
        window->axis[i] = like;
}

/* The operands of something that is made of several ops, to check and complain about them in the
 * name of op; its tape is NULL on error. */
static struct call question(const struct op *op, const ag_tensor *x, int inputs)
{
    struct call call = {.tape = x->tape, .op = op, .inputs = inputs};
    for (int i = 0; i < inputs; i++) {
        call.in[i] = x[i].tape == x->tape ? find(x[i]) : NULL;
        call.input[i] = x[i].index;
        if (!call.in[i] || x[i].tape->failed) {
            refuse(op->name, x, (size_t)inputs);
            call.tape = NULL;
        }
    }
    return call;
}

static bool in_range(const struct call *call, const char *what, int64_t value, int64_t least)
{
    return (value >= least && value <= INT32_MAX) ||
           reject(call, "", "a %s of %lld is out of range: it must be from %lld to %d", what,
                  (long long)value, (long long)least, INT32_MAX);
}

/* Checks the axes of the first operand and where the kernel stands on them. */
static bool place_kernel(const struct call *call, struct window *window)
{
    const ag_shape *x = &call->in[0]->shape;
    if (x->rank != window->count + 2)
        return reject(call, "", "the input must have %d axes: batch, channels, %s",
                      window->count + 2, window->count == 1 ? "length" : "height and width");
    for (int i = 2 - window->count; i < 2; i++) {
        struct axis *a = &window->axis[i];
        if (!in_range(call, "kernel", a->kernel, 1) || !in_range(call, "stride", a->stride, 1) ||
            !in_range(call, "padding", a->padding, 0) ||
            !in_range(call, "dilation", a->dilation, 1))
            return false;
        a->size = x->dim[x->rank - 2 + i];
        int64_t padded = a->size + 2 * a->padding, reach = a->dilation * (a->kernel - 1) + 1;
        if (padded < reach)
            return reject(call, "",
                          "the kernel is wider than axis %d: it reaches over %lld of %lld",
                          x->rank - 2 + i, (long long)reach, (long long)padded);
        a->places = (padded - reach) / a->stride + 1;
    }
    return true;
}

/* (N, C, L) as (N, C, 1, L). */
static ag_tensor as_image(ag_tensor x)
{
    ag_shape s = ag_shape_of(x);
    return s.rank == 3 ? ag_reshape(x, AG_SHAPE(s.dim[0], s.dim[1], 1, s.dim[2])) : x;
}

/* What the kernel leaves of x: (N, channels, places...). */
static ag_shape placed_shape(const struct window *window, int64_t n, int64_t channels)
{
    ag_shape shape = {.rank = window->count + 2, .dim = {n, channels}};
    for (int i = 2 - window->count; i < 2; i++)
        shape.dim[window->count + i] = window->axis[i].places;
    return shape;
}

/* ---- Convolution ---- */

static bool weights_fit(const struct call *call, int64_t groups, struct window *window)
{
    const ag_shape *x = &call->in[0]->shape, *w = &call->in[1]->shape;
    if (w->rank != window->count + 2)
        return reject(call, "", "the weights must have %d axes: outputs, channels / groups, kernel",
                      window->count + 2);
    for (int i = 0; i < window->count; i++)
        window->axis[2 - window->count + i].kernel = w->dim[2 + i];
    if (!in_range(call, "group count", groups, 1) || !place_kernel(call, window))
        return false;
    if (x->dim[1] % groups || x->dim[1] / groups != w->dim[1])
        return reject(call, "",
                      "the input has %lld channels, the weights are for %lld in %lld group%s",
                      (long long)x->dim[1], (long long)w->dim[1], (long long)groups,
                      groups == 1 ? "" : "s each");
    if (w->dim[0] % groups)
        return reject(call, "", "%lld outputs cannot be divided into %lld groups",
                      (long long)w->dim[0], (long long)groups);
    return true;
}

static bool bias_fits(const struct call *call)
{
    const ag_shape *b = &call->in[2]->shape;
    int64_t outputs = call->in[1]->shape.dim[0];
    return (b->rank == 1 && b->dim[0] == outputs) ||
           reject(call, "", "the bias must have shape (%lld,), a value for each output",
                  (long long)outputs);
}

static bool conv_shape(struct call *call)
{
    const struct convolution *c = call->attr.plan;
    call->shape = c->shape[call->op->kernel];
    call->workspace = convolve_workspace(call->tape, c);
    return true;
}

static const struct op conv_op, conv_input_op, conv_weights_op;

/* Each is linear in both operands, so whatever is missing of (x, w, y) is its gradient, dy standing
 * where the result stood. */
static ag_tensor conv_gradient(ag_tensor y, ag_tensor dy, int i)
{
    static const struct op *const ops[] = {&conv_input_op, &conv_weights_op, &conv_op};
    int result = find(y)->op->kernel, wanted = place_of(result, i);
    ag_tensor at[CONVOLVED];
    at[result] = dy;
    for (int k = 0; k < 2; k++)
        at[place_of(result, k)] = operand_of(y, k);
    return record_like(y, ops[wanted], at[place_of(wanted, 0)], at[place_of(wanted, 1)]);
}

#define CONVOLUTION(result)                                                                        \
    .shape = conv_shape, .forward = convolve, .work = convolve_work, .gradient = conv_gradient,    \
    .kernel = result

static const struct op conv_op = {CALLED("conv", 2, "$x, $y"), CONVOLUTION(OUTPUT)};
static const struct op conv_input_op = {CALLED("conv_input", 2, "$x, $y"),
                                        CONVOLUTION(INPUT)}; /* of dy and w */
static const struct op conv_weights_op = {CALLED("conv_weights", 2, "$x, $y"),
                                          CONVOLUTION(WEIGHTS)}; /* of x and dy */

static ag_tensor conv(const struct op *op, int count, ag_tensor x, ag_tensor w, ag_tensor b,
                      ag_conv o)
{
    struct convolution c;
    bool biased = b.tape;
    struct call call = question(op, (ag_tensor[]){x, w, b}, biased ? 3 : 2);
    memset(&c, 0, sizeof c); /* plans are compared byte by byte */
    c.window.count = count;
    c.groups = o.groups ? o.groups : 1;
    fill_axes(&c.window, (struct axis){.stride = o.stride ? o.stride : 1,
                                       .padding = o.padding,
                                       .dilation = o.dilation ? o.dilation : 1});
    if (!call.tape || !weights_fit(&call, c.groups, &c.window) || (biased && !bias_fits(&call)))
        return (ag_tensor){.tape = x.tape};
    const ag_shape *sx = &call.in[0]->shape, *sw = &call.in[1]->shape;
    int64_t outputs = sw->dim[0];
    c.shape[OUTPUT] = placed_shape(&c.window, sx->dim[0], outputs);
    if (!shape_check(call.tape, op->name, c.shape[OUTPUT]))
        return (ag_tensor){.tape = x.tape};
    c.images = sx->dim[0];
    c.channels = sw->dim[1];
    c.outputs = outputs / c.groups;
    c.kernel = c.window.axis[0].kernel * c.window.axis[1].kernel;
    c.taps = c.channels * c.kernel;
    c.places = c.window.axis[0].places * c.window.axis[1].places;
    c.shape[INPUT] = *sx;
    c.shape[WEIGHTS] = *sw;
    /* The windows of one row of places are the least that is worked on at once. */
    if (!shape_check(call.tape, op->name, AG_SHAPE(c.taps, c.window.axis[1].places)))
        return (ag_tensor){.tape = x.tape};
    ag_tensor y = record2(&conv_op, x, w, &(struct attributes){.plan = &c, .plan_size = sizeof c});
    if (!biased)
        return y;
    return ag_add(y, ag_reshape(b, count == 1 ? AG_SHAPE(outputs, 1) : AG_SHAPE(outputs, 1, 1)));
}

ag_tensor ag_conv1d(ag_tensor x, ag_tensor w, ag_tensor b, ag_conv options)
{
    return conv(&(struct op){.name = "conv1d"}, 1, x, w, b, options);
}

ag_tensor ag_conv2d(ag_tensor x, ag_tensor w, ag_tensor b, ag_conv options)
{
    return conv(&(struct op){.name = "conv2d"}, 2, x, w, b, options);
}

/* ---- Pooling ---- */

static bool pool_window(const struct op *op, int count, ag_tensor x, ag_pool o,
                        struct window *window)
{
    struct call call = question(op, &x, 1);
    window->count = count;
    fill_axes(window, (struct axis){.kernel = o.kernel,
                                    .stride = o.stride ? o.stride : o.kernel,
                                    .padding = o.padding,
                                    .dilation = 1});
    if (!call.tape || !place_kernel(&call, window))
        return false;
    return o.padding <= o.kernel / 2 ||
           reject(&call, "", "a padding of %lld is more than half of the kernel, %lld",
                  (long long)o.padding, (long long)o.kernel);
}

/* The windows of x (N, C, H, W), (N, C, kernel, places), each of two axes, in that shape. */
static ag_tensor windows(ag_tensor x, const struct axis *a, ag_shape shape)
{
    ag_shape width = AG_SHAPE(0, 0, a[0].padding, a[1].padding);
    ag_tensor padded = ag_pad(x, width, width, 0.0);
    ag_shape s = ag_shape_of(padded);
    ptrdiff_t row = (ptrdiff_t)s.dim[3], plane = row * (ptrdiff_t)s.dim[2];
    ag_shape view =
        AG_SHAPE(s.dim[0], s.dim[1], a[0].kernel, a[1].kernel, a[0].places, a[1].places);
    const ptrdiff_t stride[] = {plane * (ptrdiff_t)s.dim[1],    plane,
                                row * (ptrdiff_t)a[0].dilation, (ptrdiff_t)a[1].dilation,
                                row * (ptrdiff_t)a[0].stride,   (ptrdiff_t)a[1].stride};
    return unfold(padded, &view, stride, shape);
}

static ag_tensor average(const struct op *op, int count, ag_tensor x, ag_pool options)
{
    struct window window;
    if (!pool_window(op, count, x, options, &window))
        return (ag_tensor){.tape = x.tape};
    const struct axis *a = window.axis;
    ag_shape s = ag_shape_of(x), result = placed_shape(&window, s.dim[0], s.dim[1]);
    ag_tensor side_by_side =
        windows(as_image(x), a,
                AG_SHAPE(s.dim[0], s.dim[1], a[0].kernel * a[1].kernel, a[0].places * a[1].places));
    return ag_reshape(ag_mean_axes(side_by_side, AG_AXES(2), false), result);
}

ag_tensor ag_avg_pool1d(ag_tensor x, ag_pool options)
{
    return average(&(struct op){.name = "avg_pool1d"}, 1, x, options);
}

ag_tensor ag_avg_pool2d(ag_tensor x, ag_pool options)
{
    return average(&(struct op){.name = "avg_pool2d"}, 2, x, options);
}

/* What the window at a place covers of an axis. */
static inline struct span window_span(const struct axis *a, int64_t place)
{
    int64_t first = place * a->stride - a->padding, end = first + a->kernel;
    return (struct span){first < 0 ? 0 : first, end < a->size ? end : a->size};
}

/* The largest element of a window, the first of several; NaN is larger than all. Which it is nobody
 * could guess, so there are no branches; and for the usual window the loops are known. */
#define DEFINE_POOL(real)                                                                          \
    static inline int64_t largest_##real(const real *x, int64_t rows, int64_t cols, int64_t width) \
    {                                                                                              \
        int64_t best = 0;                                                                          \
        for (int64_t i = 0; i < rows; i++)                                                         \
            for (int64_t k = 0; k < cols; k++) {                                                   \
                real e = x[i * width + k];                                                         \
                int64_t larger = (int64_t)(e > x[best]) | (int64_t)(e != e);                       \
                best += larger * (i * width + k - best);                                           \
            }                                                                                      \
        return best;                                                                               \
    }                                                                                              \
    static void pool_##real(const struct axis *a, int64_t images, const real *v, const real *x,    \
                            real *y, bool put)                                                     \
    {                                                                                              \
        int64_t width = a[1].size, plane = a[0].size * width;                                      \
        for (; images--; x += plane, y += put ? plane : 0, v += put ? 0 : plane)                   \
            for (int64_t i = 0; i < a[0].places; i++)                                              \
                for (int64_t k = 0; k < a[1].places; k++) {                                        \
                    struct span row = window_span(&a[0], i);                                       \
                    struct span col = window_span(&a[1], k);                                       \
                    int64_t first = row.begin * width + col.begin;                                 \
                    int64_t rows = row.end - row.begin, cols = col.end - col.begin;                \
                    int64_t best = rows == 2 && cols == 2                                          \
                                       ? largest_##real(x + first, 2, 2, width)                    \
                                       : largest_##real(x + first, rows, cols, width);             \
                    if (put)                                                                       \
                        y[first + best] += *v++;                                                   \
                    else                                                                           \
                        *y++ = v[first + best];                                                    \
                }                                                                                  \
    }

DEFINE_POOL(float)
DEFINE_POOL(double)

static const struct op max_put_op, max_pick_op;

/* Of v (the first operand), what stands where x (the last) is largest, or the reverse: put there.
 */
static void pool_forward(ag_tape *tape, const struct record *r)
{
    const struct record *v = input_of(tape, r, 0), *x = input_of(tape, r, r->inputs - 1);
    const struct axis *a = ((const struct window *)r->attr.plan)->axis;
    int64_t images = x->count / (a[0].size * a[1].size);
    bool put = r->op == &max_put_op;
    if (put)
        tape->kernels->fill((size_t)r->count, 0.0, r->data);
    OF_ELEMENTS(tape, pool, a, images, v->data, x->data, r->data, put);
}

static bool placed_by_plan(struct call *call)
{
    const ag_shape *x = &call->in[call->inputs - 1]->shape;
    call->shape = placed_shape(call->attr.plan, x->dim[0], x->dim[1]);
    return true;
}

static const struct op max_pool_op = {
    CALLED("max_pool", 1, "$x"),
    .shape = placed_by_plan,
    .forward = pool_forward,
    SLOPE_BY_OPERAND(&max_put_op),
};

/* Which element is largest does not change with the second operand. */
static const struct op max_pick_op = {
    CALLED("max_pick", 2, "$x, $y"),
    .shape = placed_by_plan,
    .forward = pool_forward,
    LINEAR(&max_put_op),
};

static const struct op max_put_op = {
    CALLED("max_put", 2, "$x, $y"),
    .shape = shape_asked_for,
    .forward = pool_forward,
    LINEAR(&max_pick_op),
};

static ag_tensor maximum(const struct op *op, int count, ag_tensor x, ag_pool options)
{
    struct window window;
    memset(&window, 0, sizeof window);
    if (!pool_window(op, count, x, options, &window))
        return (ag_tensor){.tape = x.tape};
    return record(&max_pool_op, x,
                  &(struct attributes){.plan = &window, .plan_size = sizeof window});
}

ag_tensor ag_max_pool1d(ag_tensor x, ag_pool options)
{
    return maximum(&(struct op){.name = "max_pool1d"}, 1, x, options);
}

ag_tensor ag_max_pool2d(ag_tensor x, ag_pool options)
{
    return maximum(&(struct op){.name = "max_pool2d"}, 2, x, options);
}

OP_LIST(conv_ops, &conv_op, &conv_input_op, &conv_weights_op, &max_pool_op, &max_pick_op,
        &max_put_op)
