/* tapegrad: a tiny reverse-mode automatic differentiation engine.
 *
 * A tape records tensor operations as they are called; gradients come from walking the tape
 * backwards.
 *
 *     ag_tape *tape = ag_tape_new(AG_F32);
 *     ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(8, 1));
 *     ag_tensor x = ag_input_f32(tape, "x", AG_SHAPE(32, 8), batch);
 *     ag_tensor loss = ag_mean_square(ag_sub(ag_matmul(x, w), y));
 *     ag_backward(loss);
 *     ag_tensor dw = ag_gradient(w);        // (8, 1), like w
 *
 * Tensors are dense, row-major, of 1 to 8 dimensions or none (a scalar), all of their tape's one
 * element type. Element-wise ops broadcast by NumPy's rules. Below, (m, n) stands for a tensor's
 * shape, and (..., n) for any leading dimensions.
 *
 * Ownership: a tape owns all that is made on it. Parameters and buffers last as long as the tape;
 * every other tensor lasts until ag_tape_reset. An ag_tensor is a handle, copied freely and never
 * freed.
 *
 * Errors: the first one sticks to the tape. The function that meets it returns an invalid tensor
 * (or false, or NULL); ops given an invalid tensor do nothing and return another. So expressions
 * nest safely and one look at ag_error() at the end is enough. A handle that was never set, that is
 * older than the last reset or that belongs to another tape is recognised and is such an error.
 *
 * Threads: a tape is used by one thread at a time (and uses others, ag_set_threads); different
 * tapes are independent. There is no global state. */
#ifndef TAPEGRAD_AUTOGRAD_H
#define TAPEGRAD_AUTOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "rng.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AG_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define AG_PRINTF(f, a)
#endif

enum { AG_MAX_RANK = 8 };

typedef struct ag_tape ag_tape;

/* float to train, double to check. */
typedef enum { AG_F32, AG_F64 } ag_dtype;

/* A handle; its fields are the engine's. {0} is a valid initialiser and an invalid tensor. */
typedef struct {
    ag_tape *tape;
    uint32_t index, epoch;
} ag_tensor;

typedef struct {
    int rank;
    int64_t dim[AG_MAX_RANK];
} ag_shape;

/* Axes of a tensor; a negative one counts from the last, as in NumPy. */
typedef struct {
    int count;
    int axis[AG_MAX_RANK];
} ag_axes;

/* start:stop:step as in NumPy: negative positions count from the end, and what is out of range is
 * clipped, so AG_END stands for the end and, where step is negative, -AG_END for the beginning. A
 * step of 0 counts as 1. */
#define AG_END INT64_MAX
#define AG_ALL                                                                                     \
    {                                                                                              \
        0, AG_END, 1                                                                               \
    }
typedef struct {
    int64_t start, stop, step;
} ag_range;

/* A range for each axis, from the first; axes without one are taken whole. AG_RANGES(AG_ALL,
 * {0, 3, 1}) is x[:, 0:3]. */
typedef struct {
    int count;
    ag_range range[AG_MAX_RANK];
} ag_ranges;

/* AG_SHAPE(64, 8), AG_AXES(0, -1): literals; AG_SCALAR is the shape of a single number. */
#ifdef __cplusplus
extern "C++" {
template <class... T> inline ag_shape ag_shape_literal(T... dim)
{
    return ag_shape{(int)sizeof...(dim), {(int64_t)dim...}};
}
template <class... T> inline ag_axes ag_axes_literal(T... axis)
{
    return ag_axes{(int)sizeof...(axis), {(int)axis...}};
}
template <int n> inline ag_ranges ag_ranges_literal(const ag_range (&range)[n])
{
    static_assert(n <= AG_MAX_RANK, "more ranges than a tensor has axes");
    ag_ranges ranges = {n, {}};
    for (int i = 0; i < n; i++)
        ranges.range[i] = range[i];
    return ranges;
}
}
#define AG_SHAPE(...)  ag_shape_literal(__VA_ARGS__)
#define AG_AXES(...)   ag_axes_literal(__VA_ARGS__)
#define AG_RANGES(...) ag_ranges_literal({__VA_ARGS__})
#define AG_SCALAR      ag_shape_literal()
#else
#define AG_SHAPE(...)                                                                              \
    ((ag_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define AG_AXES(...) ((ag_axes){(int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), {__VA_ARGS__}})
#define AG_RANGES(...)                                                                             \
    ((ag_ranges){(int)(sizeof((ag_range[]){__VA_ARGS__}) / sizeof(ag_range)), {__VA_ARGS__}})
#define AG_SCALAR ((ag_shape){0, {0}})
#endif

/* ---- The tape ---- */

/* Like realloc with the old size beside the new; size 0 frees. Returns NULL when out of memory. */
typedef void *ag_allocator(void *context, void *block, size_t old_size, size_t size);

/* A tape; NULL when out of memory. All its memory comes through the allocator (NULL: realloc and
 * free). */
AG_API ag_tape *ag_tape_new(ag_dtype dtype);
AG_API ag_tape *ag_tape_new_with(ag_dtype dtype, ag_allocator *allocator, void *context);
AG_API void ag_tape_free(ag_tape *tape);

/* Forgets every tensor but parameters and buffers, in constant time; the memory is kept for what
 * comes next. */
AG_API void ag_tape_reset(ag_tape *tape);

/* Runs every record again, in order, on the values that parameters, buffers and inputs have now.
 * Gives the same bits as recording it all afresh; builds and checks nothing and, but for the first
 * time after recording, allocates nothing. */
AG_API bool ag_replay(ag_tape *tape);

/* While on, the first record, forward or backward, whose result has a NaN or an infinity becomes
 * the sticky error, which names it with its expression, the element, and the operands' values. For
 * debugging: searches every value. */
AG_API void ag_trace_nonfinite(ag_tape *tape, bool on);

/* How many threads, the caller's among them, large work is shared by: 0 (as many as the process may
 * use cores; so it is at first, or what the environment variable TAPEGRAD_THREADS says) to 64.
 * Small work is always the caller's alone. Results have the same bits for any number. The others
 * start with the first large work, sleep when there is none, and end with the tape; a forked child
 * starts its own. */
AG_API bool ag_set_threads(ag_tape *tape, int threads);

AG_API ag_dtype ag_tape_dtype(const ag_tape *tape);
AG_API size_t ag_tape_length(const ag_tape *tape);   /* records since the last reset */
AG_API size_t ag_tape_bytes(const ag_tape *tape);    /* memory held, all told */
AG_API const char *ag_tape_isa(const ag_tape *tape); /* instruction set in use: "avx2", say */
AG_API void ag_seed(ag_tape *tape, uint64_t seed);   /* of the ops that draw random numbers */
AG_API ag_rng *ag_tape_rng(ag_tape *tape);           /* their generator, to be saved and set */

/* `size` zeroed bytes that live as long as the tape; NULL with the sticky error when out of memory.
 * For what is built on the engine (layers, optimisers). */
AG_API void *ag_allocate(ag_tape *tape, size_t size);

/* ---- Errors ---- */

/* The first error since the last ag_clear_error, or NULL. For a NULL tape: says that there is none.
 * The text is the tape's and stands until the error is cleared. */
AG_API const char *ag_error(const ag_tape *tape);
AG_API void ag_clear_error(ag_tape *tape);

/* Reports an error of one's own, for code that is built on the engine. Always returns an invalid
 * tensor. */
AG_API ag_tensor ag_fail(ag_tape *tape, const char *format, ...) AG_PRINTF(2, 3);

/* Told of what is allowed but rarely meant, once for each tape: (n,) and (n, 1) broadcast together
 * to (n, n). At first warnings go to stderr; NULL turns them off. */
typedef void ag_warning(void *context, const char *message);
AG_API void ag_set_warning(ag_tape *tape, ag_warning *warning, void *context);

/* What is behind the macros at the end of this header: an op called by name adds to its error the
 * file and line of the call. The first invalid tensor is told where it was made; for a valid one
 * this is a comparison. */
AG_API void ag_error_at(ag_tape *tape, const char *file, int line);

static inline ag_tensor ag_at(ag_tensor x, const char *file, int line)
{
    if (!x.index && x.tape)
        ag_error_at(x.tape, file, line);
    return x;
}

/* ---- Making tensors ---- */

/* Zeros: a parameter lasts and is trained, a buffer lasts and is not, an input is there until the
 * reset. Names are copied. Values come in row-major order, as many as the shape says, and are
 * converted to the tape's type. An input takes the memory of its values twice: those that ops saw
 * are kept when it is set anew. */
AG_API ag_tensor ag_parameter(ag_tape *tape, const char *name, ag_shape shape);
AG_API ag_tensor ag_buffer(ag_tape *tape, const char *name, ag_shape shape);
AG_API ag_tensor ag_input(ag_tape *tape, const char *name, ag_shape shape);
AG_API ag_tensor ag_input_f32(ag_tape *tape, const char *name, ag_shape shape, const float *values);
AG_API ag_tensor ag_input_f64(ag_tape *tape, const char *name, ag_shape shape,
                              const double *values);
AG_API ag_tensor ag_full(ag_tape *tape, ag_shape shape, double value);

/* Sets the values of a parameter, buffer or input; `count` must be its number of elements. */
AG_API bool ag_set_f32(ag_tensor x, const float *values, size_t count);
AG_API bool ag_set_f64(ag_tensor x, const double *values, size_t count);

/* The same, each element in row-major order what one call of `value` returns. */
AG_API bool ag_set_each(ag_tensor x, double (*value)(void *context), void *context);

/* A frozen parameter (trainable false) gets no gradient. */
AG_API bool ag_set_trainable(ag_tensor parameter, bool trainable);
AG_API bool ag_trainable(ag_tensor x); /* false for all but parameters */

/* Gives x a name, for messages and pictures, and returns x. */
AG_API ag_tensor ag_name(ag_tensor x, const char *name);

/* ---- Reading tensors ---- */

AG_API bool ag_valid(ag_tensor x); /* without making it an error */
AG_API ag_shape ag_shape_of(ag_tensor x);
AG_API int64_t ag_count(ag_tensor x);       /* number of elements; 0 for an invalid tensor */
AG_API const char *ag_name_of(ag_tensor x); /* "" if it has none */
AG_API double ag_item(ag_tensor x);         /* the value of a tensor of one element; NaN on error */
AG_API bool ag_get_f32(ag_tensor x, float *values, size_t count);
AG_API bool ag_get_f64(ag_tensor x, double *values, size_t count);

/* The elements themselves, row-major; NULL on error, also when the tape has the other type. Valid
 * until the reset. */
AG_API const float *ag_data_f32(ag_tensor x);
AG_API const double *ag_data_f64(ag_tensor x);

/* Writes shape and values as NumPy prints them, long axes abridged. */
AG_API void ag_print(ag_tensor x, FILE *out);

/* The parameters of a tape in the order they were made: index 0 .. ag_parameter_count - 1. */
AG_API size_t ag_parameter_count(const ag_tape *tape);
AG_API ag_tensor ag_parameter_at(ag_tape *tape, size_t index);

/* ---- Ops ---- */

/* An op that has nothing to change, such as a reshape to the shape that is there, returns its
 * operand: the same tensor under the same name. */

/* Element-wise with broadcasting: shapes are aligned at their last axes; sizes must agree or one of
 * them be 1. */
AG_API ag_tensor ag_add(ag_tensor x, ag_tensor y);     /* x + y */
AG_API ag_tensor ag_sub(ag_tensor x, ag_tensor y);     /* x - y */
AG_API ag_tensor ag_mul(ag_tensor x, ag_tensor y);     /* x * y */
AG_API ag_tensor ag_div(ag_tensor x, ag_tensor y);     /* x / y */
AG_API ag_tensor ag_pow(ag_tensor x, ag_tensor y);     /* x^y; NaN for x < 0 if y isn't whole */
AG_API ag_tensor ag_maximum(ag_tensor x, ag_tensor y); /* NaN if either is; where they are equal, */
AG_API ag_tensor ag_minimum(ag_tensor x, ag_tensor y); /* each gets half of the gradient */
AG_API ag_tensor ag_where(ag_tensor condition, ag_tensor x, ag_tensor y); /* condition ? x : y */

/* Comparisons, with broadcasting: 1 where it is so, else 0, as with any NaN (but not_equal is 1
 * there). They have no gradient. */
AG_API ag_tensor ag_greater(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_greater_equal(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_less(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_less_equal(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_equal(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_not_equal(ag_tensor x, ag_tensor y);

/* With a constant. */
AG_API ag_tensor ag_add_scalar(ag_tensor x, double c); /* x + c */
AG_API ag_tensor ag_sub_scalar(ag_tensor x, double c); /* x - c */
AG_API ag_tensor ag_mul_scalar(ag_tensor x, double c); /* c * x */
AG_API ag_tensor ag_div_scalar(ag_tensor x, double c); /* x / c */
AG_API ag_tensor ag_scalar_sub(double c, ag_tensor x); /* c - x */
AG_API ag_tensor ag_scalar_div(double c, ag_tensor x); /* c / x */

/* Element-wise, of one operand. */
AG_API ag_tensor ag_neg(ag_tensor x);     /* -x */
AG_API ag_tensor ag_exp(ag_tensor x);     /* e^x */
AG_API ag_tensor ag_log(ag_tensor x);     /* natural logarithm; -inf at 0, NaN below */
AG_API ag_tensor ag_sqrt(ag_tensor x);    /* NaN below 0 */
AG_API ag_tensor ag_square(ag_tensor x);  /* x * x */
AG_API ag_tensor ag_sigmoid(ag_tensor x); /* 1 / (1 + e^-x) */
AG_API ag_tensor ag_tanh(ag_tensor x);
AG_API ag_tensor ag_relu(ag_tensor x);                     /* max(x, 0); its gradient at 0 is 0 */
AG_API ag_tensor ag_leaky_relu(ag_tensor x, double slope); /* x where x > 0, else slope * x */
AG_API ag_tensor ag_elu(ag_tensor x, double alpha); /* x where x > 0, else alpha * (e^x - 1) */
AG_API ag_tensor ag_gelu(ag_tensor x);              /* x/2 * (1 + erf(x / sqrt(2))) */
AG_API ag_tensor ag_gelu_tanh(ag_tensor x); /* x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) */
AG_API ag_tensor ag_silu(ag_tensor x);      /* x * sigmoid(x) */
AG_API ag_tensor ag_softplus(ag_tensor x);  /* log(1 + e^x) */
AG_API ag_tensor ag_abs(ag_tensor x);       /* its gradient at 0 is 0 */
AG_API ag_tensor ag_sign(ag_tensor x);      /* -1, 0 or 1; has no gradient */
AG_API ag_tensor ag_sin(ag_tensor x);
AG_API ag_tensor ag_cos(ag_tensor x);
AG_API ag_tensor ag_erf(ag_tensor x);
AG_API ag_tensor ag_pow_scalar(ag_tensor x, double c); /* x^c; NaN for x < 0 if c isn't whole */
AG_API ag_tensor ag_clip(ag_tensor x, double low,
                         double high); /* min(max(x, low), high); its gradient at a bound is 1 */

/* Products. matmul: (..., m, k) @ (..., k, n) = (..., m, n), leading axes broadcast; a vector on
 * the left counts as (1, k), on the right as (k, 1), and that axis is dropped from the result, as
 * in NumPy. */
AG_API ag_tensor ag_matmul(ag_tensor x, ag_tensor y);
AG_API ag_tensor ag_linear(ag_tensor x, ag_tensor w,
                           ag_tensor b); /* x (..., k), w (n, k), b (n): x @ wᵀ + b */

/* Sums and means: over all elements, to a scalar; or over the named axes, which are dropped, or
 * stay with size 1. */
AG_API ag_tensor ag_sum(ag_tensor x);
AG_API ag_tensor ag_mean(ag_tensor x);
AG_API ag_tensor ag_sum_axes(ag_tensor x, ag_axes axes, bool keep);
AG_API ag_tensor ag_mean_axes(ag_tensor x, ag_axes axes, bool keep);
AG_API ag_tensor ag_mean_square(ag_tensor x); /* mean of x*x over all elements, a scalar */

/* The same of the greatest and the least (NaN if any is), whose gradient is shared equally among
 * the elements that are it; and of the variance: the sum of (x - mean)^2 over n - correction (1:
 * the unbiased estimate, PyTorch's default; 0: NumPy's). */
AG_API ag_tensor ag_max(ag_tensor x);
AG_API ag_tensor ag_min(ag_tensor x);
AG_API ag_tensor ag_var(ag_tensor x, int correction);
AG_API ag_tensor ag_max_axes(ag_tensor x, ag_axes axes, bool keep);
AG_API ag_tensor ag_min_axes(ag_tensor x, ag_axes axes, bool keep);
AG_API ag_tensor ag_var_axes(ag_tensor x, ag_axes axes, int correction, bool keep);

/* Along an axis. The first three are safe for values of any size, -inf (what is masked out) too. */
AG_API ag_tensor ag_softmax(ag_tensor x, int axis);                  /* e^x / sum(e^x) */
AG_API ag_tensor ag_log_softmax(ag_tensor x, int axis);              /* x - log(sum(e^x)) */
AG_API ag_tensor ag_logsumexp(ag_tensor x, ag_axes axes, bool keep); /* log(sum(e^x)) over these */
AG_API ag_tensor ag_cumsum(ag_tensor x, int axis);                   /* y[i] = x[0] + ... + x[i] */
AG_API ag_tensor ag_argmax(ag_tensor x, int axis,
                           bool keep); /* position of the first of the greatest; no gradient */

/* Shapes. broadcast_to repeats along axes of size 1 and new leading ones, and sum_to, the reverse,
 * sums what a broadcast repeated. */
AG_API ag_tensor ag_transpose(ag_tensor x);               /* (..., m, n) to (..., n, m) */
AG_API ag_tensor ag_reshape(ag_tensor x, ag_shape shape); /* same elements; a size may be -1 */
AG_API ag_tensor ag_broadcast_to(ag_tensor x, ag_shape shape);
AG_API ag_tensor ag_sum_to(ag_tensor x, ag_shape shape);

/* Elements in another order. */
AG_API ag_tensor ag_permute(ag_tensor x, ag_axes axes);   /* axis i of the result is x's axes[i] */
AG_API ag_tensor ag_slice(ag_tensor x, ag_ranges ranges); /* x[start:stop:step, ...] */
AG_API ag_tensor ag_pad(ag_tensor x, ag_shape before, ag_shape after,
                        double value); /* so many values before and after, for each axis */

/* Along an axis: concat (2, 3) and (2, 4) along axis 1 gives (2, 7); stack makes a new axis of size
 * count, which is the result's `axis`. */
AG_API ag_tensor ag_concat(const ag_tensor *x, size_t count, int axis);
AG_API ag_tensor ag_stack(const ag_tensor *x, size_t count, int axis);

/* By whole numbers in a tensor (float holds them exactly up to 2^24). They are looked at when the
 * op is run: one that is out of range is an error then, and its row is NaN. */
AG_API ag_tensor ag_take(ag_tensor x, ag_tensor indices); /* x (n, ...), indices (...) of 0 to n-1:
                                                             rows of x, as numpy.take with axis 0;
                                                             with x (n, d), an embedding */
AG_API ag_tensor ag_one_hot(ag_tensor indices, int64_t classes); /* (...) to (..., classes) */

/* Convolutions and pooling, as in PyTorch: x (N, C, H, W), in one dimension (N, C, L). w (O,
 * C/groups, kernel...), b (O), or {0} for none. 0 stands for a stride, dilation or group count of
 * 1; of a pool, for a stride as wide as the kernel. Padding is by zeros, on both sides; ag_pad does
 * other paddings first. Average pooling counts it in. */
typedef struct {
    int64_t stride, padding, dilation, groups;
} ag_conv;

typedef struct {
    int64_t kernel, stride, padding;
} ag_pool;

AG_API ag_tensor ag_conv1d(ag_tensor x, ag_tensor w, ag_tensor b, ag_conv options);
AG_API ag_tensor ag_conv2d(ag_tensor x, ag_tensor w, ag_tensor b, ag_conv options);
AG_API ag_tensor ag_max_pool1d(ag_tensor x, ag_pool options);
AG_API ag_tensor ag_max_pool2d(ag_tensor x, ag_pool options);
AG_API ag_tensor ag_avg_pool1d(ag_tensor x, ag_pool options);
AG_API ag_tensor ag_avg_pool2d(ag_tensor x, ag_pool options);

/* Normalisation. layer_norm: (x - mean) / sqrt(variance + epsilon) * w + b over the last axes, as
 * many as w has; rms_norm: x / sqrt(mean(x*x) + epsilon) * w. w and b may be {0}, for none; without
 * w, it is over the last axis. */
AG_API ag_tensor ag_layer_norm(ag_tensor x, ag_tensor w, ag_tensor b, double epsilon);
AG_API ag_tensor ag_rms_norm(ag_tensor x, ag_tensor w, double epsilon);

/* batch_norm: the same over all axes of x (N, C, ...) but C; the others have shape (C). In
 * training, by the batch's mean and variance, of which running averages go to the two buffers each
 * time it is run: running += momentum * (batch - running), the variance being the unbiased one.
 * Otherwise by the buffers. */
typedef struct {
    bool training;
    double momentum, epsilon; /* 0: 0.1 and 1e-5 */
} ag_batch_norm_options;

AG_API ag_tensor ag_batch_norm(ag_tensor x, ag_tensor running_mean, ag_tensor running_variance,
                               ag_tensor w, ag_tensor b, ag_batch_norm_options options);

/* In training, 0 with probability p, else x / (1 - p), drawn each time it is run; otherwise x. */
AG_API ag_tensor ag_dropout(ag_tensor x, double p, bool training);

/* softmax(q @ kᵀ / sqrt(d)) @ v with q (..., L, d), k (..., S, d), v (..., S, e); causal: position
 * i attends to positions up to i. The softmax's weights are dropped with probability `dropout` (0:
 * none), as by ag_dropout in training. */
AG_API ag_tensor ag_scaled_dot_product_attention(ag_tensor q, ag_tensor k, ag_tensor v, bool causal,
                                                 double dropout);

/* ---- Gradients ---- */

/* Appends to the tape the gradient of y, a tensor of one element, with respect to every trainable
 * parameter that y depends on. ag_gradient then gives that of one parameter, shaped like it; it is
 * an ordinary tensor and can be differentiated again. Nothing is to be zeroed: each call makes new
 * gradients. */
AG_API bool ag_backward(ag_tensor y);
AG_API ag_tensor
ag_gradient(ag_tensor parameter); /* of the last ag_backward; an error if y did not depend on it */
AG_API bool ag_has_gradient(ag_tensor parameter);

/* The same with respect to any `count` tensors; gradients[i] is shaped like wrt[i], zeros where y
 * does not depend on it. */
AG_API bool ag_gradients(ag_tensor y, const ag_tensor *wrt, size_t count, ag_tensor *gradients);

/* What ag_gradcheck found worst: the element with the largest |analytic - numeric| / max(1,
 * |analytic|, |numeric|). */
typedef struct {
    const char *name; /* of the parameter */
    int64_t element;  /* row-major position, and the same as an index: */
    ag_shape index;   /* rank and one position for each axis */
    double analytic, numeric, error;
} ag_gradcheck_report;

/* Compares dy/dp with (y(p + h) - y(p - h)) / 2h, signs included, for every element of every
 * trainable parameter, by replaying the tape up to y (one element, AG_F64). False when the worst
 * error passes `tolerance`, when all gradients are zero (nothing was tested), or on error; report
 * may be NULL. */
AG_API bool ag_gradcheck(ag_tensor y, double tolerance, ag_gradcheck_report *report);

/* ---- The tape in words and pictures ---- */

/* Prints the tape as formulas, a record a line, forward and then each backward walk, with shapes;
 * names are used where they were given, other tensors get letters. In ASCII unless the environment
 * (LC_ALL, LC_CTYPE, LANG) says UTF-8. AG_EXPLAIN_VALUES adds minimum, mean, maximum and the counts
 * of NaN and infinities; AG_EXPLAIN_COST adds microseconds and bytes of each record, for which the
 * tape is run again. */
enum { AG_EXPLAIN_VALUES = 1, AG_EXPLAIN_COST = 2 };
AG_API bool ag_explain(ag_tape *tape, FILE *out, unsigned what);

/* Prints the tape as a Graphviz graph, with its backward walks if so asked. */
AG_API bool ag_dot(ag_tape *tape, FILE *out, bool backward);

/* ---- Training ---- */

/* One optimiser update, in one pass over a parameter, in place. The gradient is multiplied by
 * `scale` first (1, or less to clip). State tensors are buffers shaped like the parameter, zero at
 * first. */
typedef struct {
    double rate, momentum, weight_decay, scale;
    bool nesterov;
} ag_sgd;

typedef struct {
    double rate, beta1, beta2, epsilon, weight_decay, scale;
    bool decoupled; /* weight decay apart from the gradient (AdamW) */
    uint64_t step;  /* 1 at the first update: corrects the bias of m and v */
} ag_adam;

/* v = momentum*v + g; w -= rate*v, or with Nesterov w -= rate*(g + momentum*v), where g includes
 * weight_decay*w. `velocity` is not used, and may be {0}, when momentum is 0. */
AG_API bool ag_update_sgd(ag_tensor w, ag_tensor g, ag_tensor velocity, const ag_sgd *options);

/* Kingma & Ba 2015, algorithm 1; decoupled: Loshchilov & Hutter 2019, algorithm 2. */
AG_API bool ag_update_adam(ag_tensor w, ag_tensor g, ag_tensor m, ag_tensor v,
                           const ag_adam *options);

/* ---- Where an error was made ---- */

/* Each op under its own name, with the place of the call; AG_NO_LOCATIONS leaves this out. */
#ifndef AG_NO_LOCATIONS
#define AG_AT(call)                          ag_at(call, __FILE__, __LINE__)
#define ag_parameter(...)                    AG_AT(ag_parameter(__VA_ARGS__))
#define ag_buffer(...)                       AG_AT(ag_buffer(__VA_ARGS__))
#define ag_input(...)                        AG_AT(ag_input(__VA_ARGS__))
#define ag_input_f32(...)                    AG_AT(ag_input_f32(__VA_ARGS__))
#define ag_input_f64(...)                    AG_AT(ag_input_f64(__VA_ARGS__))
#define ag_full(...)                         AG_AT(ag_full(__VA_ARGS__))
#define ag_name(...)                         AG_AT(ag_name(__VA_ARGS__))
#define ag_add(...)                          AG_AT(ag_add(__VA_ARGS__))
#define ag_sub(...)                          AG_AT(ag_sub(__VA_ARGS__))
#define ag_mul(...)                          AG_AT(ag_mul(__VA_ARGS__))
#define ag_div(...)                          AG_AT(ag_div(__VA_ARGS__))
#define ag_add_scalar(...)                   AG_AT(ag_add_scalar(__VA_ARGS__))
#define ag_sub_scalar(...)                   AG_AT(ag_sub_scalar(__VA_ARGS__))
#define ag_mul_scalar(...)                   AG_AT(ag_mul_scalar(__VA_ARGS__))
#define ag_div_scalar(...)                   AG_AT(ag_div_scalar(__VA_ARGS__))
#define ag_scalar_sub(...)                   AG_AT(ag_scalar_sub(__VA_ARGS__))
#define ag_scalar_div(...)                   AG_AT(ag_scalar_div(__VA_ARGS__))
#define ag_neg(...)                          AG_AT(ag_neg(__VA_ARGS__))
#define ag_exp(...)                          AG_AT(ag_exp(__VA_ARGS__))
#define ag_log(...)                          AG_AT(ag_log(__VA_ARGS__))
#define ag_sqrt(...)                         AG_AT(ag_sqrt(__VA_ARGS__))
#define ag_square(...)                       AG_AT(ag_square(__VA_ARGS__))
#define ag_sigmoid(...)                      AG_AT(ag_sigmoid(__VA_ARGS__))
#define ag_tanh(...)                         AG_AT(ag_tanh(__VA_ARGS__))
#define ag_relu(...)                         AG_AT(ag_relu(__VA_ARGS__))
#define ag_leaky_relu(...)                   AG_AT(ag_leaky_relu(__VA_ARGS__))
#define ag_elu(...)                          AG_AT(ag_elu(__VA_ARGS__))
#define ag_gelu(...)                         AG_AT(ag_gelu(__VA_ARGS__))
#define ag_gelu_tanh(...)                    AG_AT(ag_gelu_tanh(__VA_ARGS__))
#define ag_silu(...)                         AG_AT(ag_silu(__VA_ARGS__))
#define ag_softplus(...)                     AG_AT(ag_softplus(__VA_ARGS__))
#define ag_abs(...)                          AG_AT(ag_abs(__VA_ARGS__))
#define ag_sign(...)                         AG_AT(ag_sign(__VA_ARGS__))
#define ag_sin(...)                          AG_AT(ag_sin(__VA_ARGS__))
#define ag_cos(...)                          AG_AT(ag_cos(__VA_ARGS__))
#define ag_erf(...)                          AG_AT(ag_erf(__VA_ARGS__))
#define ag_pow(...)                          AG_AT(ag_pow(__VA_ARGS__))
#define ag_pow_scalar(...)                   AG_AT(ag_pow_scalar(__VA_ARGS__))
#define ag_clip(...)                         AG_AT(ag_clip(__VA_ARGS__))
#define ag_maximum(...)                      AG_AT(ag_maximum(__VA_ARGS__))
#define ag_minimum(...)                      AG_AT(ag_minimum(__VA_ARGS__))
#define ag_where(...)                        AG_AT(ag_where(__VA_ARGS__))
#define ag_greater(...)                      AG_AT(ag_greater(__VA_ARGS__))
#define ag_greater_equal(...)                AG_AT(ag_greater_equal(__VA_ARGS__))
#define ag_less(...)                         AG_AT(ag_less(__VA_ARGS__))
#define ag_less_equal(...)                   AG_AT(ag_less_equal(__VA_ARGS__))
#define ag_equal(...)                        AG_AT(ag_equal(__VA_ARGS__))
#define ag_not_equal(...)                    AG_AT(ag_not_equal(__VA_ARGS__))
#define ag_max(...)                          AG_AT(ag_max(__VA_ARGS__))
#define ag_min(...)                          AG_AT(ag_min(__VA_ARGS__))
#define ag_var(...)                          AG_AT(ag_var(__VA_ARGS__))
#define ag_max_axes(...)                     AG_AT(ag_max_axes(__VA_ARGS__))
#define ag_min_axes(...)                     AG_AT(ag_min_axes(__VA_ARGS__))
#define ag_var_axes(...)                     AG_AT(ag_var_axes(__VA_ARGS__))
#define ag_softmax(...)                      AG_AT(ag_softmax(__VA_ARGS__))
#define ag_log_softmax(...)                  AG_AT(ag_log_softmax(__VA_ARGS__))
#define ag_logsumexp(...)                    AG_AT(ag_logsumexp(__VA_ARGS__))
#define ag_cumsum(...)                       AG_AT(ag_cumsum(__VA_ARGS__))
#define ag_argmax(...)                       AG_AT(ag_argmax(__VA_ARGS__))
#define ag_matmul(...)                       AG_AT(ag_matmul(__VA_ARGS__))
#define ag_linear(...)                       AG_AT(ag_linear(__VA_ARGS__))
#define ag_sum(...)                          AG_AT(ag_sum(__VA_ARGS__))
#define ag_mean(...)                         AG_AT(ag_mean(__VA_ARGS__))
#define ag_sum_axes(...)                     AG_AT(ag_sum_axes(__VA_ARGS__))
#define ag_mean_axes(...)                    AG_AT(ag_mean_axes(__VA_ARGS__))
#define ag_mean_square(...)                  AG_AT(ag_mean_square(__VA_ARGS__))
#define ag_transpose(...)                    AG_AT(ag_transpose(__VA_ARGS__))
#define ag_reshape(...)                      AG_AT(ag_reshape(__VA_ARGS__))
#define ag_broadcast_to(...)                 AG_AT(ag_broadcast_to(__VA_ARGS__))
#define ag_sum_to(...)                       AG_AT(ag_sum_to(__VA_ARGS__))
#define ag_permute(...)                      AG_AT(ag_permute(__VA_ARGS__))
#define ag_slice(...)                        AG_AT(ag_slice(__VA_ARGS__))
#define ag_pad(...)                          AG_AT(ag_pad(__VA_ARGS__))
#define ag_concat(...)                       AG_AT(ag_concat(__VA_ARGS__))
#define ag_stack(...)                        AG_AT(ag_stack(__VA_ARGS__))
#define ag_take(...)                         AG_AT(ag_take(__VA_ARGS__))
#define ag_one_hot(...)                      AG_AT(ag_one_hot(__VA_ARGS__))
#define ag_conv1d(...)                       AG_AT(ag_conv1d(__VA_ARGS__))
#define ag_conv2d(...)                       AG_AT(ag_conv2d(__VA_ARGS__))
#define ag_max_pool1d(...)                   AG_AT(ag_max_pool1d(__VA_ARGS__))
#define ag_max_pool2d(...)                   AG_AT(ag_max_pool2d(__VA_ARGS__))
#define ag_avg_pool1d(...)                   AG_AT(ag_avg_pool1d(__VA_ARGS__))
#define ag_avg_pool2d(...)                   AG_AT(ag_avg_pool2d(__VA_ARGS__))
#define ag_layer_norm(...)                   AG_AT(ag_layer_norm(__VA_ARGS__))
#define ag_rms_norm(...)                     AG_AT(ag_rms_norm(__VA_ARGS__))
#define ag_batch_norm(...)                   AG_AT(ag_batch_norm(__VA_ARGS__))
#define ag_dropout(...)                      AG_AT(ag_dropout(__VA_ARGS__))
#define ag_scaled_dot_product_attention(...) AG_AT(ag_scaled_dot_product_attention(__VA_ARGS__))
#endif

#ifdef __cplusplus
}
#endif

#endif
