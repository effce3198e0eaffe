/* Small networks on the tape: parameters, initialisers, layers, optimisers, schedules.
 *
 *     nn_params *params = nn_params_new(tape, seed);
 *     nn_linear hidden = nn_linear_new(params, "hidden", 8, 64);
 *     nn_linear out = nn_linear_new(params, "out", 64, 1);
 *     nn_optimizer *sgd = nn_optimizer_new(params, nn_sgd(0.1));
 *
 *     ag_tensor h = ag_sigmoid(nn_linear_apply(&hidden, x));
 *     ag_backward(ag_mean_square(ag_sub(y, nn_linear_apply(&out, h))));
 *     nn_step(sgd);
 *     ag_tape_reset(tape);
 *
 * Everything here is made of the public interface of the engine. What a function returns lives as
 * long as the tape and is never freed. Errors stick to the tape, as in autograd.h; NULL params or a
 * NULL optimizer, which such an error left behind, are passed on without another. */
#ifndef TAPEGRAD_NN_H
#define TAPEGRAD_NN_H

#include "../autograd/autograd.h"
#include "data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parameters ---- */

/* A list of parameters and buffers that belong together (a network), the generator that initialises
 * them, and whether it is training. */
typedef struct nn_params nn_params;

AG_API nn_params *nn_params_new(ag_tape *tape, uint64_t seed); /* NULL on error */
AG_API ag_tape *nn_params_tape(const nn_params *params);
AG_API ag_rng *nn_params_rng(nn_params *params);

/* Makes a parameter of zeros and adds it to the list; a name must be new to it. A buffer is saved
 * and loaded like a parameter, but never trained (the running averages of batch_norm). */
AG_API ag_tensor nn_parameter(nn_params *params, const char *name, ag_shape shape);
AG_API ag_tensor nn_buffer(nn_params *params, const char *name, ag_shape shape);

/* In the order they were made: index 0 .. nn_params_count - 1. */
AG_API size_t nn_params_count(const nn_params *params);
AG_API ag_tensor nn_params_at(const nn_params *params, size_t index);
AG_API ag_tensor nn_params_find(const nn_params *params, const char *name); /* or an error */
AG_API int64_t nn_params_elements(const nn_params *params); /* of the parameters, frozen ones too */

/* Freezes, or thaws, every parameter whose name fits the pattern, in which '*' stands for any text:
 * "encoder.*". That there is none is an error. */
AG_API bool nn_set_trainable(nn_params *params, const char *pattern, bool trainable);

/* Training mode, in which layers like dropout do what they are for; at first on. */
AG_API void nn_set_training(nn_params *params, bool training);
AG_API bool nn_training(const nn_params *params);

/* ---- Copies of weights ----
 *
 * A copy is a list of buffers with the names, shapes and values of another; so it can be saved by
 * itself. For averages, as here, and to keep the best weights:
 *
 *     nn_params *average = nn_params_copy(params);
 *     ... nn_step(optimizer); nn_average(average, params, 0.999); ...
 *     nn_swap(average, params);        evaluate with the averages
 *     nn_swap(average, params);        and go on
 *
 * `to`, `a` and `b` below are a list and its copy, in either role. */
AG_API nn_params *nn_params_copy(const nn_params *params);
AG_API bool nn_copy(nn_params *to, const nn_params *from); /* to = from */
AG_API bool nn_swap(nn_params *a, nn_params *b);
AG_API bool nn_average(nn_params *to, const nn_params *from,
                       double decay); /* to = decay*to + (1 - decay)*from; decay 0 to 1 */

/* ---- Initialisers ---- */

/* Elements are drawn in row-major order, one draw each (see rng.h), and rounded to the tape's type:
 * a seed gives the same values everywhere. Arguments that are not finite are errors.
 *
 * fan_in, fan_out: how many inputs feed one output, and the reverse; those of a linear layer's
 * weight (out, in) are in and out. */
typedef enum { NN_UNIFORM, NN_NORMAL } nn_distribution;

AG_API bool nn_init_constant(ag_tensor w, double value);

/* low + (high - low) u, with u uniform on [0, 1). */
AG_API bool nn_init_uniform(ag_tensor w, double low, double high, ag_rng *rng);
AG_API bool nn_init_normal(ag_tensor w, double mean, double deviation, ag_rng *rng);

/* Mean 0, and variance 2/(fan_in + fan_out): Glorot & Bengio 2010, eq. 12 and 16. For sigmoid and
 * tanh. */
AG_API bool nn_init_xavier(ag_tensor w, int64_t fan_in, int64_t fan_out,
                           nn_distribution distribution, ag_rng *rng);
/* Variance 2/fan_in: He et al. 2015, eq. 10. For relu and its kin. */
AG_API bool nn_init_he(ag_tensor w, int64_t fan_in, nn_distribution distribution, ag_rng *rng);
/* Variance 1/fan_in: LeCun et al. 1998, "Efficient BackProp", eq. 16. */
AG_API bool nn_init_lecun(ag_tensor w, int64_t fan_in, nn_distribution distribution, ag_rng *rng);

/* ---- Losses ---- */

/* Each is a scalar: the mean or the sum of the losses of all elements (of cross_entropy: of all
 * rows that count). Right to the last digits however large or small the values are. Predictions and
 * targets have the same shape; there is no broadcasting. */
typedef enum { NN_MEAN, NN_SUM } nn_reduction;

AG_API ag_tensor nn_mse_loss(ag_tensor y, ag_tensor target, nn_reduction reduction); /* (y - t)^2 */
AG_API ag_tensor nn_l1_loss(ag_tensor y, ag_tensor target, nn_reduction reduction);  /* |y - t| */

/* d^2 / 2 where |d| <= delta, else delta (|d| - delta/2), with d = y - target: Huber 1964. */
AG_API ag_tensor nn_huber_loss(ag_tensor y, ag_tensor target, double delta, nn_reduction reduction);

/* -t log(p) - (1 - t) log(1 - p), with p = sigmoid(logits) and targets t from 0 to 1. */
AG_API ag_tensor nn_binary_cross_entropy_with_logits(ag_tensor logits, ag_tensor target,
                                                     nn_reduction reduction);

/* -log softmax(logits)[class]: logits (..., classes), and one class for each row, a whole number of
 * 0 to classes - 1, in a tensor (...). Classes are looked at when the loss is computed, so also
 * after ag_set and ag_replay; one that is out of range is an error then.
 *
 * A row of class ignore_index counts for nothing, nor does it in the mean (NaN when no row is
 * left). label_smoothing moves that share of the class's probability 1 to all classes alike:
 * Szegedy et al. 2016, section 7. */
enum { NN_IGNORE_INDEX = -100 };

AG_API ag_tensor nn_cross_entropy(ag_tensor logits, ag_tensor classes, nn_reduction reduction);
AG_API ag_tensor nn_cross_entropy_with(ag_tensor logits, ag_tensor classes, double label_smoothing,
                                       int64_t ignore_index, nn_reduction reduction);

/* ---- Optimisers ---- */

typedef enum { NN_SGD, NN_ADAM, NN_ADAMW, NN_RMSPROP, NN_ADAGRAD, NN_LION, NN_MUON } nn_method;

typedef struct {
    nn_method method;
    double rate;
    double momentum;     /* sgd, muon */
    bool nesterov;       /* sgd with momentum, muon */
    double beta1, beta2; /* adam, adamw, lion, muon; beta2 is also rmsprop's (PyTorch's alpha) */
    double epsilon;      /* adam, adamw, rmsprop, adagrad, muon */
    double weight_decay; /* in the gradient; of adamw, lion and muon, apart from it */
    double clip_norm;    /* greatest norm of all gradients together; 0: no limit */
} nn_options;

/* PyTorch's defaults (lion's: the paper's); change fields of the result to taste. */
AG_API nn_options nn_sgd(double rate);
AG_API nn_options nn_adam(double rate);
AG_API nn_options nn_adamw(double rate);
AG_API nn_options nn_rmsprop(double rate);
AG_API nn_options nn_adagrad(double rate);
AG_API nn_options nn_lion(double rate);

/* Matrices by Muon, with steps as long as Adam's, so that one rate serves both; all else, and
 * matrices that nn_set_adamw names, by adamw. Embeddings and the last layer are better left to it.
 */
AG_API nn_options nn_muon(double rate);

typedef struct nn_optimizer nn_optimizer;

/* For the parameters made so far. NULL with the sticky error when an option makes no sense (a rate
 * that is negative or not finite, a beta outside [0, 1), Nesterov without momentum). */
AG_API nn_optimizer *nn_optimizer_new(nn_params *params, nn_options options);

/* A group of parameters, those whose names fit the pattern ('*' stands for any text), that learn
 * with the rate times `rate_scale` and with a weight decay of their own; the last group that fits
 * counts. nn_set_group(adamw, "*.bias", 1, 0). That there is none is an error. */
AG_API bool nn_set_group(nn_optimizer *optimizer, const char *pattern, double rate_scale,
                         double weight_decay);

/* Has muon leave the matrices whose names fit the pattern to adamw. That there is none is an error.
 */
AG_API bool nn_set_adamw(nn_optimizer *optimizer, const char *pattern);

/* One update of every parameter that the last ag_backward gave a gradient; that there is none is an
 * error. The state (momentum; Adam's m, v and step count) is a parameter's own and made at its
 * first update. On an error nothing is updated. */
AG_API bool nn_step(nn_optimizer *optimizer);

/* Adds the gradients of the last ag_backward to sums. The next nn_step takes the mean of what was
 * added in their place, and forgets it: so several batches, of one size, count as a large one. */
AG_API bool nn_accumulate(nn_optimizer *optimizer);
AG_API bool nn_set_rate(nn_optimizer *optimizer, double rate);
AG_API double nn_rate(const nn_optimizer *optimizer);

/* The Euclidean norm of all gradients of the last ag_backward together, as one long vector; NaN on
 * error, which it is that there is none. */
AG_API double nn_gradient_norm(const nn_params *params);

/* ---- Schedules ---- */

/* The learning rate as a function of the step, counted from 0: `warmup` steps that rise in a line
 * from rate/warmup to rate; after them constant, or times `factor` every `every` steps, or half a
 * cosine from rate to `floor`, reached at step `total` and kept (Loshchilov & Hutter 2017, eq. 5,
 * without restarts). `every` 0 is never; a `total` within the warm-up is reached at its end. */
typedef enum { NN_CONSTANT, NN_STEPS, NN_COSINE } nn_schedule_kind;

typedef struct {
    nn_schedule_kind kind;
    double rate, floor, factor;
    uint64_t warmup, every, total;
} nn_schedule;

AG_API double nn_schedule_rate(const nn_schedule *schedule, uint64_t step);

/* ---- Reports ---- */

/* A table of the parameters: name, shape, count, bytes, whether frozen, and totals. */
AG_API void nn_summary(const nn_params *params, FILE *out);

/* ---- Where an error was made ---- */

/* As at the end of autograd.h: the place of the call is that of the program, not one within nn/. */
#ifndef AG_NO_LOCATIONS
#define nn_parameter(...)   AG_AT(nn_parameter(__VA_ARGS__))
#define nn_params_at(...)   AG_AT(nn_params_at(__VA_ARGS__))
#define nn_params_find(...) AG_AT(nn_params_find(__VA_ARGS__))
#define nn_buffer(...)      AG_AT(nn_buffer(__VA_ARGS__))
#endif

#ifdef __cplusplus
}
#endif

#include "files.h"  /* safetensors, .npy, .npz, IDX, checkpoints */
#include "fit.h"    /* the training loop, progress */
#include "layers.h" /* linear, convolution, normalisation, recurrent, attention, transformer, mlp */

#endif
