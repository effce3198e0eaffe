/* Cases of normalisation, dropout and attention; a test program of its own with test_ops.c. */
#include <math.h>
#include <string.h>

#include "op_references.h"

const struct op_list *const op_lists[] = {&normalize_ops, &random_ops, &attention_ops};
const size_t op_list_count = sizeof op_lists / sizeof *op_lists;

/* ---- Normalisation ---- */

static void layer_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    *shape = random_shape(rng, 2, 3);
    shape->dim[shape->rank - 1] = 4;
    shape[1] = (ag_shape){1 + (int)(v % 2), {0}};
    for (int i = 0; i < shape[1].rank; i++)
        shape[1].dim[i] = shape->dim[shape->rank - shape[1].rank + i];
    shape[2] = shape[1];
}

static ag_tensor call_layer_norm(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_layer_norm(x[0], x[1], x[2], 0.25);
}

static ag_tensor call_rms_norm(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_rms_norm(x[0], x[1], 0.25);
}

static void normalize_row(const double *x, int64_t n, bool centered, double *y)
{
    double mean = 0.0, square = 0.0;
    for (int64_t i = 0; i < n && centered; i++)
        mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(square + 0.25);
}

static void layer_norm_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = count_of(&x[1].shape);
    (void)v;
    y->shape = x->shape;
    for (int64_t i = 0; i < count_of(&x->shape); i += n)
        normalize_row(x->at + i, n, true, y->at + i);
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = y->at[i] * x[1].at[i % n] + x[2].at[i % n];
}

static void rms_norm_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = count_of(&x[1].shape);
    (void)v;
    y->shape = x->shape;
    for (int64_t i = 0; i < count_of(&x->shape); i += n)
        normalize_row(x->at + i, n, false, y->at + i);
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] *= x[1].at[i % n];
}

/* J v at a fixed p; symmetric, so by its definition: the slope of normalize(p) along v. */
static ag_tensor call_slope(const ag_tensor *x, unsigned v)
{
    ag_tensor p = scrambled_like(*x);
    return pulled_back(v % 2 ? ag_layer_norm(p, NONE, NONE, 0.25) : ag_rms_norm(p, NONE, 0.25), *x,
                       p);
}

static void slope_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t n = x->shape.dim[x->shape.rank - 1];
    bool centered = v % 2;
    y->shape = x->shape;
    for (int64_t row = 0; row < count_of(&x->shape); row += n) {
        double p[MOST_ELEMENTS], z[MOST_ELEMENTS], along = 0.0, mean = 0.0;
        for (int64_t i = 0; i < n; i++)
            p[i] = scrambled(row + i);
        normalize_row(p, n, centered, z);
        for (int64_t i = 0; i < n; i++) {
            along += z[i] * x->at[row + i] / (double)n;
            mean += centered ? x->at[row + i] / (double)n : 0.0;
        }
        double s = z[0] != 0.0 && !centered ? z[0] / p[0] : (z[1] - z[0]) / (p[1] - p[0]);
        for (int64_t i = 0; i < n; i++)
            y->at[row + i] = s * (x->at[row + i] - mean - z[i] * along);
    }
}

static void rows_of_four(ag_rng *rng, unsigned v, ag_shape *shape)
{
    (void)v;
    *shape = random_shape(rng, 1, 3);
    shape->dim[shape->rank - 1] = 4;
}

static void batch_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    *shape = random_shape(rng, 2, 4);
    shape->dim[0] = 2 + v % 3;
    shape[1] = shape[2] = AG_SHAPE(shape->dim[1]);
}

/* By the batch, and by running averages of 0.5 and 2. */
static ag_tensor call_batch_norm(const ag_tensor *x, unsigned v)
{
    double mean[] = {0.5, 0.5, 0.5}, variance[] = {2.0, 2.0, 2.0};
    size_t channels = (size_t)ag_count(x[1]);
    ag_tensor m = ag_buffer(x->tape, "m", AG_SHAPE((int64_t)channels));
    ag_tensor s = ag_buffer(x->tape, "s", AG_SHAPE((int64_t)channels));
    ag_set_f64(m, mean, channels);
    ag_set_f64(s, variance, channels);
    return ag_batch_norm(*x, m, s, x[1], x[2],
                         (ag_batch_norm_options){.training = v % 4, .epsilon = 0.25});
}

static void batch_norm_reference(const struct array *x, unsigned v, struct array *y)
{
    int64_t channels = x->shape.dim[1], inner = 1, count = count_of(&x->shape);
    for (int i = 2; i < x->shape.rank; i++)
        inner *= x->shape.dim[i];
    y->shape = x->shape;
    for (int64_t c = 0; c < channels; c++) {
        double row[MOST_ELEMENTS] = {0}, z[MOST_ELEMENTS];
        int64_t n = 0;
        for (int64_t i = 0; i < count; i++)
            if (i / inner % channels == c)
                row[n++] = x->at[i];
        normalize_row(row, n, true, z);
        n = 0;
        for (int64_t i = 0; i < count; i++)
            if (i / inner % channels == c) {
                double normal = v % 4 ? z[n++] : (x->at[i] - 0.5) / 1.5;
                y->at[i] = normal * x[1].at[c] + x[2].at[c];
            }
    }
}

/* ---- Dropout, by a new tape's generator ---- */

static ag_tensor call_dropout(const ag_tensor *x, unsigned v)
{
    return ag_dropout(*x, 0.25 * (v % 3), v % 4);
}

/* What a tape of seed 0 multiplies its first n elements with. */
static void dropout_mask(double p, int64_t n, double *mask)
{
    ag_rng rng;
    uint64_t bits = 0;
    ag_rng_seed(&rng, 0);
    for (int64_t i = 0; i < n; i++) {
        bits = i % 2 ? bits << 32 : ag_rng_next(&rng);
        mask[i] = p == 0.0                                     ? 1.0
                  : ldexp((double)(bits >> 32), -32) < 1.0 - p ? 1.0 / (1.0 - p)
                                                               : 0.0;
    }
}

static void dropout_reference(const struct array *x, unsigned v, struct array *y)
{
    double mask[MOST_ELEMENTS];
    dropout_mask(v % 4 ? 0.25 * (v % 3) : 0.0, count_of(&x->shape), mask);
    *y = *x;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] *= mask[i];
}

static ag_tensor wrong_dropout(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_dropout(*x, 1.5, true);
}

/* ---- Attention ---- */

static void attention_shapes(ag_rng *rng, unsigned v, ag_shape *shape)
{
    int64_t d = draw_size(rng, 1, 3), s = draw_size(rng, 1, 4);
    int rank = 2 + (int)(v / 2 % 2);
    shape[0] = (ag_shape){rank, {2, 2, d}};
    shape[1] = (ag_shape){rank, {2, 2, d}};
    shape[2] = (ag_shape){rank, {2, 2, draw_size(rng, 1, 3)}};
    for (int i = 0; i < 3; i++) {
        shape[i].dim[rank - 1] = i < 2 ? d : shape[2].dim[2];
        shape[i].dim[rank - 2] = i ? s : draw_size(rng, 1, 4);
    }
}

static double attention_dropout(unsigned v)
{
    return v % 3 ? 0.0 : 0.25;
}

static ag_tensor call_attention(const ag_tensor *x, unsigned v)
{
    return ag_scaled_dot_product_attention(x[0], x[1], x[2], v % 2, attention_dropout(v));
}

static ag_tensor wrong_attention(const ag_tensor *x, unsigned v)
{
    (void)v;
    return ag_scaled_dot_product_attention(x[0], x[1], x[2], false, -0.5);
}

/* One position's values, weighted by e to its scores, and by the mask. */
static void attend(const double *q, const double *k, const double *v, const double *mask, int64_t d,
                   int64_t s, int64_t e, double *y)
{
    double total = 0.0;
    for (int64_t c = 0; c < e; c++)
        y[c] = 0.0;
    for (int64_t j = 0; j < s; j++) {
        double score = 0.0;
        for (int64_t c = 0; c < d; c++)
            score += q[c] * k[j * d + c];
        double weight = exp(score / sqrt((double)d));
        total += weight;
        for (int64_t c = 0; c < e; c++)
            y[c] += weight * mask[j] * v[j * e + c];
    }
    for (int64_t c = 0; c < e; c++)
        y[c] /= total;
}

static void attention_reference(const struct array *x, unsigned v, struct array *y)
{
    int rank = x->shape.rank;
    int64_t l = x->shape.dim[rank - 2], d = x->shape.dim[rank - 1], s = x[1].shape.dim[rank - 2],
            e = x[2].shape.dim[rank - 1];
    double mask[MOST_ELEMENTS];
    y->shape = x->shape;
    y->shape.dim[rank - 1] = e;
    dropout_mask(attention_dropout(v), count_of(&y->shape) / e * s, mask);
    for (int64_t i = 0; i < count_of(&y->shape) / e; i++) {
        int64_t seen = v % 2 && i % l + 1 < s ? i % l + 1 : s;
        attend(x->at + i * d, x[1].at + i / l * s * d, x[2].at + i / l * s * e, mask + i * s, d,
               seen, e, y->at + i * e);
    }
}

/* ---- The table ---- */

#define LAYERS .inputs = 3, .shapes = layer_shapes, .unlike = true, .low = -1.0, .high = 1.0

const struct op_case op_cases[] = {
    {.op = "normalize",
     .build = call_layer_norm,
     LAYERS,
     .reference = layer_norm_reference,
     .wrong_shape = {{2, {2, 3}}, {1, {2}}, {1, {2}}},
     .error = "layer_norm: x has shape (2, 3), which does not end in the weights' shape (2,)"},
    {.op = "normalize",
     .build = call_rms_norm,
     LAYERS,
     .reference = rms_norm_reference,
     .wrong_shape = {{2, {2, 3}}, {1, {2}}, {1, {2}}},
     .error = "rms_norm: x has shape (2, 3), which does not end in the weights' shape (2,)"},
    {.op = "normalize_slope",
     .build = call_slope,
     .inputs = 1,
     .reference = slope_reference,
     .shapes = rows_of_four,
     .wrong_shape = {{0, {0}}},
     .error = "rms_norm: x has shape (), which does not end in the weights' shape (n,)"},
    {.op = "running",
     .build = call_batch_norm,
     .inputs = 3,
     .reference = batch_norm_reference,
     .shapes = batch_shapes,
     .unlike = true,
     .wrong_shape = {{2, {2, 3}}, {1, {3}}, {1, {2}}},
     .error = "batch_norm: the bias must have shape (3,), a value for each channel"},
    {.op = "dropout_mask",
     .build = call_dropout,
     .inputs = 1,
     .reference = dropout_reference,
     .wrong = wrong_dropout,
     .wrong_shape = {{1, {3}}},
     .error = "dropout: the probability is 1.5"},
    {.op = "tril",
     .build = call_attention,
     .inputs = 3,
     .reference = attention_reference,
     .shapes = attention_shapes,
     .wrong_shape = {{2, {2, 3}}, {2, {4, 5}}, {2, {4, 1}}},
     .error = "matmul: inner dimensions differ: 3 and 5"},
    {.op = "tril",
     .build = call_attention,
     .inputs = 3,
     .reference = attention_reference,
     .shapes = attention_shapes,
     .wrong = wrong_attention,
     .wrong_shape = {{2, {2, 3}}, {2, {4, 3}}, {2, {4, 1}}},
     .error = "dropout: the probability is -0.5; it must be from 0 to 1"},
};

const size_t op_case_count = sizeof op_cases / sizeof *op_cases;
