/* Training steps of perceptrons: of the engine, built afresh and replayed, and by hand. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static const double FIRST_RATE = 0.1; /* of the step that is compared */
static const double RATE = 1e-4;      /* of those that are timed */

/* The numbers of arrays: compare.py makes the same ones. Weights come after, two a layer. */
enum { INPUTS, TARGETS, WEIGHTS };

struct network {
    const struct network_shape *shape;
    struct bench *b;
    size_t input_count, target_count;
    void *inputs, *targets;
    double rate;
    ag_tape *tape;
    ag_tensor w[MOST_LAYERS], bias[MOST_LAYERS], x, y, loss;
};

/* With more than one output it tells classes: ReLU and cross-entropy; else sigmoids and the mean
 * squared error. */
static bool classifies(const struct network *net)
{
    return net->shape->size[net->shape->layers] > 1;
}

static double target(const struct network *net, size_t i)
{
    uint32_t outputs = (uint32_t)net->shape->size[net->shape->layers];
    if (!classifies(net))
        return scattered(TARGETS, (uint32_t)i);
    return (uint32_t)i % outputs == (uint32_t)i / outputs % outputs ? 1.0 : 0.0;
}

/* ---- The engine's step ---- */

static ag_tensor input(const struct network *net, int64_t columns, const void *values)
{
    ag_shape shape = AG_SHAPE(net->shape->rows, columns);
    return net->b->dtype == AG_F32 ? ag_input_f32(net->tape, NULL, shape, values)
                                   : ag_input_f64(net->tape, NULL, shape, values);
}

static void set(const struct network *net, ag_tensor x, const void *values, size_t count)
{
    if (net->b->dtype == AG_F32)
        ag_set_f32(x, values, count);
    else
        ag_set_f64(x, values, count);
}

static ag_tensor cross_entropy(ag_tensor classes, ag_tensor logits)
{
    return ag_neg(
        ag_mean(ag_sum_axes(ag_mul(classes, ag_log_softmax(logits, -1)), AG_AXES(-1), false)));
}

static void record_step(struct network *net)
{
    const struct network_shape *s = net->shape;
    ag_tensor h = net->x = input(net, s->size[0], net->inputs);
    net->y = input(net, s->size[s->layers], net->targets);
    for (int i = 0; i < s->layers; i++) {
        h = ag_add(ag_matmul(h, net->w[i]), net->bias[i]);
        if (i + 1 < s->layers)
            h = classifies(net) ? ag_relu(h) : ag_sigmoid(h);
    }
    net->loss = classifies(net) ? cross_entropy(net->y, h) : ag_mean_square(ag_sub(net->y, h));
    ag_backward(net->loss);
}

static void update(struct network *net)
{
    ag_sgd options = {.rate = net->rate, .scale = 1.0};
    for (int i = 0; i < net->shape->layers; i++) {
        ag_update_sgd(net->w[i], ag_gradient(net->w[i]), (ag_tensor){0}, &options);
        ag_update_sgd(net->bias[i], ag_gradient(net->bias[i]), (ag_tensor){0}, &options);
    }
}

static void fresh_step(void *context)
{
    struct network *net = context;
    ag_tape_reset(net->tape);
    record_step(net);
    update(net);
}

static void replay_step(void *context)
{
    struct network *net = context;
    set(net, net->x, net->inputs, net->input_count);
    set(net, net->y, net->targets, net->target_count);
    ag_replay(net->tape);
    update(net);
}

/* ---- The same network for each ---- */

struct weights {
    uint32_t array, at;
    double scale;
};

static double next_weight(void *context)
{
    struct weights *w = context;
    return w->scale * scattered(w->array, w->at++);
}

/* Of layer i; its bias starts at zero. */
static struct weights weights_of(const struct network_shape *shape, int i)
{
    return (struct weights){WEIGHTS + (uint32_t)i, 0, 1.0 / sqrt((double)shape->size[i])};
}

static void network_new(struct network *net, struct bench *b, const struct network_shape *shape,
                        int threads)
{
    size_t rows = (size_t)shape->rows;
    *net = (struct network){.shape = shape, .b = b, .tape = ag_tape_new(b->dtype)};
    ag_set_threads(net->tape, threads);
    for (int i = 0; i < shape->layers; i++) {
        struct weights weights = weights_of(shape, i);
        net->w[i] = ag_parameter(net->tape, NULL, AG_SHAPE(shape->size[i], shape->size[i + 1]));
        net->bias[i] = ag_parameter(net->tape, NULL, AG_SHAPE(1, shape->size[i + 1]));
        ag_set_each(net->w[i], next_weight, &weights);
    }
    net->input_count = rows * (size_t)shape->size[0];
    net->target_count = rows * (size_t)shape->size[shape->layers];
    net->inputs = zeros(net->input_count * b->kernels->element);
    net->targets = zeros(net->target_count * b->kernels->element);
    for (size_t i = 0; i < net->input_count; i++)
        put(b, net->inputs, i, scattered(INPUTS, (uint32_t)i));
    for (size_t i = 0; i < net->target_count; i++)
        put(b, net->targets, i, target(net, i));
}

static void network_free(struct network *net)
{
    ag_tape_free(net->tape);
    free(net->inputs);
    free(net->targets);
}

/* The loss after one step, and a recorded step. */
static double first_step(struct network *net)
{
    net->rate = FIRST_RATE;
    fresh_step(net);
    net->rate = RATE;
    ag_replay(net->tape);
    return ag_item(net->loss);
}

/* ---- By hand ---- */

struct hand {
    hand_step *step;
    const struct network *net;
    _Alignas(KERNEL_ALIGN) double weights[HAND_COUNT]; /* in the element type */
};

static bool has_hand(const struct network_shape *s)
{
    return s->layers == 2 && s->size[2] == 1 &&
           ((s->size[0] == 2 && s->size[1] == 8) || (s->size[0] == 8 && s->size[1] == 64));
}

static double hand_once(struct hand *hand, double rate)
{
    const struct network *net = hand->net;
    return hand->step(hand->weights, (size_t)net->shape->rows, (size_t)net->shape->size[0],
                      net->inputs, net->targets, rate);
}

static void hand_run(void *context)
{
    hand_once(context, RATE);
}

/* Makes it ready and checks that it computes what the engine does. */
static void hand_new(struct hand *hand, hand_step *step, const struct network *net, double loss)
{
    const int64_t *size = net->shape->size;
    struct weights w1 = weights_of(net->shape, 0), w2 = weights_of(net->shape, 1);
    *hand = (struct hand){.step = step, .net = net};
    for (int64_t i = 0; i < size[0] * size[1]; i++)
        put(net->b, hand->weights, (size_t)i, next_weight(&w1));
    for (int64_t i = 0; i < size[1]; i++)
        put(net->b, hand->weights, HAND_W2 + (size_t)i, next_weight(&w2));
    hand_once(hand, FIRST_RATE);
    double own = hand_once(hand, 0.0);
    if (!(fabs(own - loss) <= 1e-4 * loss))
        differ(net->b, "loss by hand", own, loss);
}

/* ---- Timing ---- */

/* Of the products: one forward, and backward one for the weights and, but for the first layer, one
 * for the inputs. */
static double product_operations(const struct network_shape *s)
{
    double sum = 0;
    for (int i = 0; i < s->layers; i++)
        sum += (i ? 6.0 : 4.0) * (double)(s->rows * s->size[i] * s->size[i + 1]);
    return sum;
}

enum { NAME = 128 };

static void name_row(char name[NAME], const char *kind, const struct network_shape *s,
                     const char *end)
{
    int at = snprintf(name, NAME, "%s/%lld", kind, (long long)s->rows);
    for (int i = 0; i <= s->layers && at < NAME; i++)
        at +=
            snprintf(name + at, (size_t)(NAME - at), i ? "-%lld" : "x%lld", (long long)s->size[i]);
    if (at < NAME)
        snprintf(name + at, (size_t)(NAME - at), "%s", end);
}

/* All that are timed together for one network. */
enum contestant { BY_ROW, BY_BLOCKS, FRESH, REPLAY, REPLAY_THREADS, CONTESTANTS };

struct contest {
    struct network one, many; /* on tapes with one thread and with as many as asked for */
    struct hand by_blocks, by_row;
    char name[CONTESTANTS][NAME];
    struct timed timed[CONTESTANTS];
    double loss;
};

/* What is held against a wanted row is timed, and printed, too. */
static bool enter(struct contest *c, const struct bench *b, const struct network_shape *shape,
                  bool fresh)
{
    name_row(c->name[BY_ROW], "hand", shape, "");
    name_row(c->name[BY_BLOCKS], "hand-blocked", shape, "");
    name_row(c->name[FRESH], "step", shape, "/fresh");
    name_row(c->name[REPLAY], "step", shape, "/replay");
    name_row(c->name[REPLAY_THREADS], "step", shape, "/replay");
    fresh = fresh && wanted(b, c->name[FRESH]);
    bool replay = wanted(b, c->name[REPLAY]), step = fresh || replay;
    if (has_hand(shape) && (step || wanted(b, c->name[BY_BLOCKS])))
        c->timed[BY_BLOCKS] = (struct timed){.run = hand_run, .context = &c->by_blocks};
    if (has_hand(shape) && (step || wanted(b, c->name[BY_ROW])))
        c->timed[BY_ROW] = (struct timed){.run = hand_run, .context = &c->by_row};
    if (fresh)
        c->timed[FRESH] = (struct timed){.run = fresh_step, .context = &c->one};
    if (replay)
        c->timed[REPLAY] = (struct timed){.run = replay_step, .context = &c->one};
    if (replay && b->threads > 1)
        c->timed[REPLAY_THREADS] = (struct timed){.run = replay_step, .context = &c->many};
    return step || c->timed[BY_BLOCKS].run || c->timed[BY_ROW].run;
}

static void report_contest(const struct bench *b, const struct contest *c)
{
    for (int i = 0; i < CONTESTANTS; i++) {
        bool engine = i != BY_BLOCKS && i != BY_ROW, threads = i == REPLAY_THREADS;
        struct row row = {.name = c->name[i],
                          .seconds = c->timed[i].seconds,
                          .operations = product_operations(c->one.shape),
                          .hand = engine ? c->timed[BY_ROW].seconds : 0,
                          .blocked = engine ? c->timed[BY_BLOCKS].seconds : 0,
                          .threads = threads ? b->threads : 1,
                          .one_thread = threads ? c->timed[REPLAY].seconds : 0,
                          .loss = c->loss};
        if (c->timed[i].run)
            report(b, &row);
    }
}

void bench_step(struct bench *b, const struct network_shape *shape, bool fresh)
{
    struct contest c = {0};
    if (!enter(&c, b, shape, fresh))
        return;
    network_new(&c.one, b, shape, 1);
    c.loss = first_step(&c.one);
    if (has_hand(shape)) {
        hand_new(&c.by_blocks, b->beside->by_blocks, &c.one, c.loss);
        hand_new(&c.by_row, b->beside->by_row, &c.one, c.loss);
    }
    if (c.timed[REPLAY_THREADS].run) {
        network_new(&c.many, b, shape, b->threads);
        double loss = first_step(&c.many);
        if (loss != c.loss)
            differ(b, "loss with threads", loss, c.loss);
    }
    time_together(c.timed, CONTESTANTS);
    report_contest(b, &c);
    check_tape(b, c.one.tape);
    check_tape(b, c.many.tape);
    network_free(&c.one);
    network_free(&c.many);
}
