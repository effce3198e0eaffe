/* Normalisation of rows (the last axis), and what is made of it: layer_norm (Ba, Kiros & Hinton
 * 2016), rms_norm (Zhang & Sennrich 2019), batch_norm (Ioffe & Szegedy 2015).
 *
 * y = (x - m) s with s = 1 / sqrt(mean((x - m)²) + epsilon), where m is the row's mean, or 0. Its
 * Jacobian J = s (I - 11ᵀ/n - yyᵀ/n), without the second term where m is 0, is symmetric. J v is an
 * op of its own, so that a gradient passes memory once. */
#include <math.h>

#include "define.h"

/* The attributes: p[0] is epsilon, keep says that the mean is subtracted. */
static double row_sum(const struct kernels *k, enum reduce kernel, size_t n, const void *x)
{
    float f32;
    double f64;
    k->reduce[kernel](1, n, 1, x, k->element == sizeof f32 ? (void *)&f32 : (void *)&f64);
    return k->element == sizeof f32 ? (double)f32 : f64;
}

/* y = p x + q */
static void affine(const struct kernels *k, size_t n, double p, double q, const void *x, void *y)
{
    k->unary[UNARY_AFFINE](n, x, y, (double[]){p, q});
}

/* Normalises a row and returns s. */
static double normalize_row(const struct kernels *k, const struct record *r, size_t n,
                            const void *x, void *y)
{
    double mean = r->attr.keep ? row_sum(k, REDUCE_SUM, n, x) / (double)n : 0.0;
    affine(k, n, 1.0, -mean, x, y);
    double squares = row_sum(k, REDUCE_SUM_SQUARES, n, y);
    double s = 1.0 / sqrt(squares / (double)n + r->attr.p[0]);
    affine(k, n, s, -0.0, y, y);
    return s;
}

/* z = J v = s (v - mean(v) - y mean(v y)) */
static void slope_row(const struct kernels *k, const struct record *r, size_t n, const void *v,
                      const void *x, void *y, void *z)
{
    double s = normalize_row(k, r, n, x, y);
    pairwise(k, BINARY_MUL, n, v, y, z);
    double along = row_sum(k, REDUCE_SUM, n, z) / (double)n;
    double mean = r->attr.keep ? row_sum(k, REDUCE_SUM, n, v) / (double)n : 0.0;
    affine(k, n, -s * along, -s * mean, y, y);
    affine(k, n, s, -0.0, v, z);
    pairwise(k, BINARY_ADD, n, z, y, z);
}

static const struct op normalize_op, normalize_slope_op;

/* Row by row of x, the last operand. */
static void normalize_forward(ag_tape *tape, const struct record *r)
{
    size_t n = (size_t)r->shape.dim[r->shape.rank - 1], size = n * element_size(tape);
    const char *v = input_of(tape, r, 0)->data, *x = input_of(tape, r, r->inputs - 1)->data;
    char *to = r->data, *end = to + bytes_of(tape, r);
    for (; to < end; v += size, x += size, to += size)
        if (r->op == &normalize_op)
            normalize_row(tape->kernels, r, n, x, to);
        else
            slope_row(tape->kernels, r, n, v, x, tape->workspace.at, to);
}

/* Works on a row of the second operand at a time. */
static bool shape_by_rows(struct call *call)
{
    const ag_shape *x = &call->in[1]->shape;
    call->workspace = (size_t)x->dim[x->rank - 1] * element_size(call->tape);
    return true;
}

static ag_tensor row_mean(ag_tensor x)
{
    return ag_mean_axes(x, AG_AXES(-1), true);
}

/* z = J v, u = dz: the gradient in v is J u. In x, with a = mean(v y), c = mean(u y) and ds/dx =
 * -s² y / n, that of uᵀ J v is -s (J (a u + c v) + s y (mean(u v) - mean(u) mean(v) - a c)). */
static ag_tensor slope_gradient(ag_tensor z, ag_tensor u, int i)
{
    ag_tensor v = operand_of(z, 0), x = operand_of(z, 1);
    if (i == 0)
        return record_like(z, &normalize_slope_op, u, x);
    struct attributes attr = find(z)->attr;
    ag_tensor y = record_like(z, &normalize_op, x, NONE), a = row_mean(ag_mul(v, y)),
              c = row_mean(ag_mul(u, y));
    ag_tensor around = attr.keep ? ag_sub(x, row_mean(x)) : x;
    ag_tensor deviation =
        ag_sqrt(ag_add_scalar(row_mean(ag_square(around)), attr.p[0])); /* 1 / s */
    ag_tensor rest = ag_sub(row_mean(ag_mul(u, v)), ag_mul(a, c));
    if (attr.keep)
        rest = ag_sub(rest, ag_mul(row_mean(u), row_mean(v)));
    ag_tensor turned = record_like(z, &normalize_slope_op, ag_add(ag_mul(a, u), ag_mul(c, v)), x);
    return ag_neg(ag_div(ag_add(turned, ag_mul(y, ag_div(rest, deviation))), deviation));
}

static const struct op normalize_slope_op = {
    CALLED("normalize_slope", 2, "$x, $y"),
    .shape = shape_by_rows,
    .forward = normalize_forward,
    .gradient = slope_gradient,
};

static const struct op normalize_op = {
    CALLED("normalize", 1, "$x"),
    .forward = normalize_forward,
    SLOPE_BY_OPERAND(&normalize_slope_op),
};

static ag_tensor normalize(ag_tensor x, bool centered, double epsilon)
{
    return record(&normalize_op, x, &(struct attributes){.p = {epsilon, 0.0}, .keep = centered});
}

static bool epsilon_fits(ag_tensor x, const char *who, double epsilon)
{
    bool fits = isfinite(epsilon) && epsilon >= 0.0;
    if (!fits)
        reject_tensor(x, who, "", "epsilon is %g; it must be finite and at least 0", epsilon);
    return fits;
}

/* ---- layer_norm and rms_norm ---- */

/* Over the last axes of x, those of `like`. */
static ag_tensor normalize_last(const char *who, ag_tensor x, ag_tensor like, bool centered,
                                double epsilon)
{
    const struct record *r = resolve(x, who), *rw = like.tape ? resolve(like, who) : NULL;
    if (!r || (like.tape && !rw) || x.tape->failed || !epsilon_fits(x, who, epsilon))
        return (ag_tensor){.tape = x.tape};
    ag_shape shape = r->shape, last = {1, {shape.rank ? shape.dim[shape.rank - 1] : 0}};
    if (rw)
        last = rw->shape;
    bool fits = last.rank >= 1 && last.rank <= shape.rank;
    for (int i = 1; fits && i <= last.rank; i++)
        fits = last.dim[last.rank - i] == shape.dim[shape.rank - i];
    if (!fits)
        return ag_fail(x.tape, "%s: x has shape %s, which does not end in the weights' shape %s",
                       who, shape_words(&shape).at, rw ? shape_words(&last).at : "(n,)");
    if (last.rank == 1)
        return normalize(x, centered, epsilon);
    ag_tensor rows = ag_reshape(x, AG_SHAPE(-1, shape_count(&last)));
    return ag_reshape(normalize(rows, centered, epsilon), shape);
}

ag_tensor ag_layer_norm(ag_tensor x, ag_tensor w, ag_tensor b, double epsilon)
{
    ag_tensor y = normalize_last("layer_norm", x, w, true, epsilon);
    if (w.tape)
        y = ag_mul(y, w);
    return b.tape ? ag_add(y, b) : y;
}

ag_tensor ag_rms_norm(ag_tensor x, ag_tensor w, double epsilon)
{
    ag_tensor y = normalize_last("rms_norm", x, w, false, epsilon);
    return w.tape ? ag_mul(y, w) : y;
}

/* ---- batch_norm ---- */

/* The result is the buffer itself, moved towards a statistic of the rows of x: their means, or with
 * keep their variances. */
static void running_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 1);
    const struct kernels *k = tape->kernels;
    size_t n = (size_t)(x->count / r->count), size = n * element_size(tape);
    keep_shadow(tape, input_of(tape, r, 0), false);
    for (int64_t i = 0; i < r->count; i++) {
        const char *row = (const char *)x->data + (size_t)i * size;
        double statistic = row_sum(k, REDUCE_SUM, n, row) / (double)n;
        if (r->attr.keep) {
            affine(k, n, 1.0, -statistic, row, tape->workspace.at);
            statistic = row_sum(k, REDUCE_SUM_SQUARES, n, tape->workspace.at) / (double)(n - 1);
        }
        char *running = (char *)r->data + (size_t)i * element_size(tape);
        double old = element_at(tape, r, i);
        k->fill(1, old + r->attr.p[0] * (statistic - old), running);
    }
    input_of(tape, r, 0)->clock = ++tape->clock;
}

/* Not for differentiation; as a random op, it is not repeated where the tape is only checked. */
static const struct op running_op = {
    CALLED("running", 2, "$x, $y"),
    .shape = shape_by_rows,
    .forward = running_forward,
    .updates = true,
    .random = true,
    .view = true,
};

/* The channels' values, for tensors of shape `x`: (C) as (C, 1, ...). */
static ag_tensor per_channel(ag_tensor values, const ag_shape *x)
{
    ag_shape shape = {.rank = x->rank - 1};
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = i ? 1 : x->dim[1];
    return ag_reshape(values, shape);
}

/* x (N, C, ...) as (C, N, ...), or back. */
static ag_tensor swap_first(ag_tensor x)
{
    ag_axes axes = {.count = ag_shape_of(x).rank, .axis = {1, 0, 2, 3, 4, 5, 6, 7}};
    return ag_permute(x, axes);
}

static ag_tensor by_batch(ag_tensor x, ag_tensor mean, ag_tensor variance, double momentum,
                          double epsilon)
{
    ag_tensor turned = swap_first(x), rows;
    ag_shape shape = ag_shape_of(turned);
    if (ag_count(x) == shape.dim[0])
        return ag_fail(x.tape,
                       "batch_norm: one value for each channel has no variance to train by");
    if (!(mean.index & variance.index & LASTING))
        return ag_fail(x.tape, "batch_norm: running averages must be buffers");
    rows = ag_reshape(turned, AG_SHAPE(shape.dim[0], -1));
    struct attributes attr = {.p = {momentum, 0.0}};
    record2(&running_op, mean, rows, &attr);
    attr.keep = true;
    record2(&running_op, variance, rows, &attr);
    return swap_first(ag_reshape(normalize(rows, true, epsilon), shape));
}

ag_tensor ag_batch_norm(ag_tensor x, ag_tensor running_mean, ag_tensor running_variance,
                        ag_tensor w, ag_tensor b, ag_batch_norm_options options)
{
    const ag_tensor all[] = {running_mean, running_variance, w, b};
    const struct record *r = resolve(x, "batch_norm");
    double epsilon = options.epsilon != 0.0 ? options.epsilon : 1e-5;
    double momentum = options.momentum != 0.0 ? options.momentum : 0.1;
    if (!r)
        return refuse("batch_norm", (ag_tensor[]){x, running_mean, running_variance, w, b}, 5);
    if (x.tape->failed || !epsilon_fits(x, "batch_norm", epsilon))
        return (ag_tensor){.tape = x.tape};
    if (!isfinite(momentum))
        return reject_tensor(x, "batch_norm", "", "momentum is %g; it must be finite", momentum);
    ag_shape shape = r->shape;
    if (shape.rank < 2)
        return ag_fail(x.tape, "batch_norm: x must have at least 2 axes, (N, C, ...)");
    for (int i = 0; i < 4; i++) {
        if (i >= 2 && !all[i].tape)
            continue;
        const struct record *channels = find(all[i]);
        if (!channels || all[i].tape != x.tape)
            return refuse("batch_norm", (ag_tensor[]){all[i], x}, 2);
        if (channels->shape.rank != 1 || channels->shape.dim[0] != shape.dim[1])
            return ag_fail(x.tape,
                           "batch_norm: the %s must have shape (%lld,), a value for each channel",
                           (const char *const[]){"running mean", "running variance", "weight",
                                                 "bias"}[i],
                           (long long)shape.dim[1]);
    }
    ag_tensor y;
    if (options.training)
        y = by_batch(x, running_mean, running_variance, momentum, epsilon);
    else
        y = ag_div(ag_sub(x, per_channel(running_mean, &shape)),
                   ag_sqrt(per_channel(ag_add_scalar(running_variance, epsilon), &shape)));
    if (w.tape)
        y = ag_mul(y, per_channel(w, &shape));
    return b.tape ? ag_add(y, per_channel(b, &shape)) : y;
}

OP_LIST(normalize_ops, &normalize_op, &normalize_slope_op, &running_op)
