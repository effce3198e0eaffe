/* Benchmarks: training steps, matrix products and mathematics functions, each beside the machine's
 * peak and, where there is one, the loop written by hand, all in one run. A time is the best of
 * several batches of repetitions.
 *
 *     bench [--json] [--f64] [NAME-PREFIX]...
 *
 * --json prints an object a line: name, us, gflops, of_peak, vs_hand, threads (null where it means
 * nothing). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "autograd/autograd.h"
#include "autograd/kernels/kernels.h"
#include "hand.h"
#include "peak.h"

enum { BATCHES = 60 };
static const double BATCH_SECONDS = 0.002; /* short, for a batch that nothing interrupts */

struct bench {
    const char **prefixes;
    int prefix_count;
    bool json;
    ag_dtype dtype;
    const struct kernels *kernels;
    double peak;    /* operations a second */
    double hand_us; /* of the last hand-written loop */
    const char *hand_name;
};

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds a call takes: the best of BATCHES batches. */
static double best_time(void (*run)(void *), void *context)
{
    double best = 1e30, start = now();
    size_t calls = 0;
    do {
        run(context);
        calls++;
    } while (now() - start < BATCH_SECONDS);
    for (int batch = 0; batch < BATCHES; batch++) {
        start = now();
        for (size_t i = 0; i < calls; i++)
            run(context);
        double each = (now() - start) / (double)calls;
        best = each < best ? each : best;
    }
    return best;
}

static bool wanted(const struct bench *b, const char *name)
{
    for (int i = 0; i < b->prefix_count; i++)
        if (!strncmp(name, b->prefixes[i], strlen(b->prefixes[i])))
            return true;
    return b->prefix_count == 0;
}

static void print_number(const char *name, double value)
{
    if (value > 0)
        printf(", \"%s\": %.4f", name, value);
    else
        printf(", \"%s\": null", name);
}

/* operations: floating-point operations of one call; hand: seconds of the loop by hand; 0 where
 * there is none. */
static void report(const struct bench *b, const char *name, double seconds, double operations,
                   double hand)
{
    double rate = operations / seconds;
    if (b->json) {
        printf("{\"name\": \"%s\", \"us\": %.4f", name, seconds * 1e6);
        print_number("gflops", rate * 1e-9);
        print_number("of_peak", operations > 0 ? rate / b->peak : 0);
        print_number("vs_hand", hand > 0 ? seconds / hand : 0);
        printf(", \"threads\": 1}\n");
        return;
    }
    printf("%-34s %12.3f", name, seconds * 1e6);
    if (operations > 0)
        printf(" %10.1f %8.0f%%", rate * 1e-9, 100 * rate / b->peak);
    else
        printf(" %10s %9s", "", "");
    if (hand > 0)
        printf(" %8.2f", seconds / hand);
    putchar('\n');
}

/* ---- Steps ---- */

enum { MOST_LAYERS = 4 };

struct network {
    int64_t rows;
    int layers;
    int64_t size[MOST_LAYERS + 1];
    ag_tape *tape;
    ag_tensor w[MOST_LAYERS], b[MOST_LAYERS], x, y;
    float *inputs, *targets;
    bool classifies;
    struct hand hand;
};

static double uniform(void *rng)
{
    return 0.5 * ag_rng_uniform(rng) - 0.25;
}

static void network_new(struct network *net, const struct bench *b, int64_t rows, int layers,
                        const int64_t *size)
{
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    *net = (struct network){.rows = rows, .layers = layers, .tape = ag_tape_new(b->dtype)};
    memcpy(net->size, size, (size_t)(layers + 1) * sizeof *size);
    for (int i = 0; i < layers; i++) {
        net->w[i] = ag_parameter(net->tape, NULL, AG_SHAPE(size[i], size[i + 1]));
        net->b[i] = ag_parameter(net->tape, NULL, AG_SHAPE(1, size[i + 1]));
        ag_set_each(net->w[i], uniform, &rng);
    }
    size_t inputs = (size_t)(rows * size[0]), targets = (size_t)(rows * size[layers]);
    net->inputs = malloc(inputs * sizeof(float));
    net->targets = malloc(targets * sizeof(float));
    if (!net->inputs || !net->targets)
        exit(1);
    for (size_t i = 0; i < inputs; i++)
        net->inputs[i] = (float)ag_rng_normal(&rng);
    for (size_t i = 0; i < targets; i++)
        net->targets[i] = (float)ag_rng_uniform(&rng);
    net->hand.in = (size_t)size[0];
    net->hand.hidden = (size_t)size[1];
}

static void network_free(struct network *net)
{
    ag_tape_free(net->tape);
    free(net->inputs);
    free(net->targets);
}

/* Cross-entropy of rows of class probabilities that sum to one, from logits. */
static ag_tensor cross_entropy(ag_tensor targets, ag_tensor logits)
{
    return ag_neg(
        ag_mean(ag_sum_axes(ag_mul(targets, ag_log_softmax(logits, -1)), AG_AXES(-1), false)));
}

static void record_step(struct network *net)
{
    ag_tensor h = net->x =
        ag_input_f32(net->tape, NULL, AG_SHAPE(net->rows, net->size[0]), net->inputs);
    net->y =
        ag_input_f32(net->tape, NULL, AG_SHAPE(net->rows, net->size[net->layers]), net->targets);
    for (int i = 0; i < net->layers; i++) {
        h = ag_add(ag_matmul(h, net->w[i]), net->b[i]);
        if (i + 1 < net->layers)
            h = net->classifies ? ag_relu(h) : ag_sigmoid(h);
    }
    ag_backward(net->classifies ? cross_entropy(net->y, h) : ag_mean_square(ag_sub(net->y, h)));
}

static void update(struct network *net)
{
    static const ag_sgd options = {.rate = 1e-4, .scale = 1.0};
    for (int i = 0; i < net->layers; i++) {
        ag_update_sgd(net->w[i], ag_gradient(net->w[i]), (ag_tensor){0}, &options);
        ag_update_sgd(net->b[i], ag_gradient(net->b[i]), (ag_tensor){0}, &options);
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
    ag_set_f32(net->x, net->inputs, (size_t)(net->rows * net->size[0]));
    ag_set_f32(net->y, net->targets, (size_t)(net->rows * net->size[net->layers]));
    ag_replay(net->tape);
    update(net);
}

static void hand_run(void *context)
{
    struct network *net = context;
    if (net->hand.in == 8 && net->hand.hidden == 64)
        hand_step_8_64(&net->hand, (size_t)net->rows, net->inputs, net->targets, 1e-4f);
    else
        hand_step(&net->hand, (size_t)net->rows, net->inputs, net->targets, 1e-4f);
}

/* Of the products: one forward, and backward one for the weights and, but for the first layer, one
 * for the inputs. */
static double product_operations(const struct network *net)
{
    double sum = 0;
    for (int i = 0; i < net->layers; i++)
        sum += (i ? 6.0 : 4.0) * (double)(net->rows * net->size[i] * net->size[i + 1]);
    return sum;
}

static void bench_step(const struct bench *b, int64_t rows, int layers, const int64_t *size,
                       bool fresh, bool replay)
{
    char name[64], shape[48];
    struct network net;
    size_t at = (size_t)snprintf(shape, sizeof shape, "%lldx", (long long)rows);
    for (int i = 0; i <= layers; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, i ? "-%lld" : "%lld",
                               (long long)size[i]);
    network_new(&net, b, rows, layers, size);
    net.classifies = layers > 2;
    double hand = 0, operations = product_operations(&net);
    snprintf(name, sizeof name, "hand/%s", shape);
    if (!net.classifies && b->dtype == AG_F32 && (wanted(b, name) || wanted(b, "step"))) {
        hand = best_time(hand_run, &net);
        report(b, name, hand, operations, 0);
    }
    snprintf(name, sizeof name, "step/%s/fresh", shape);
    if (fresh && wanted(b, name))
        report(b, name, best_time(fresh_step, &net), operations, hand);
    snprintf(name, sizeof name, "step/%s/replay", shape);
    if (replay && wanted(b, name)) {
        fresh_step(&net);
        report(b, name, best_time(replay_step, &net), operations, hand);
    }
    if (ag_error(net.tape))
        fprintf(stderr, "bench: %s\n", ag_error(net.tape));
    network_free(&net);
}

/* ---- Products ---- */

struct product {
    const struct kernels *kernels;
    struct matmul args;
};

static void run_product(void *context)
{
    const struct product *p = context;
    p->kernels->matmul(&p->args);
}

static void *filled(size_t size)
{
    char *block =
        aligned_alloc(KERNEL_ALIGN, (size + 2 * KERNEL_ALIGN) & ~(size_t)(KERNEL_ALIGN - 1));
    if (!block)
        exit(1);
    return memset(block, 0, size);
}

static void bench_product(const struct bench *b, const char *name, size_t m, size_t n, size_t k,
                          bool a_transposed, bool b_transposed)
{
    size_t element = b->kernels->element;
    if (!wanted(b, name))
        return;
    void *left = filled(m * k * element), *right = filled(k * n * element);
    void *result = filled(m * n * element);
    void *workspace = filled(b->kernels->matmul_workspace(m, n, k));
    b->kernels->fill(m * k, 0.5, left);
    b->kernels->fill(k * n, 0.25, right);
    struct product p = {b->kernels,
                        {.m = m,
                         .n = n,
                         .k = k,
                         .a = left,
                         .b = right,
                         .c = result,
                         .lda = a_transposed ? m : k,
                         .ldb = b_transposed ? k : n,
                         .ldc = n,
                         .a_transposed = a_transposed,
                         .b_transposed = b_transposed,
                         .activation = UNARY_COUNT,
                         .workspace = workspace}};
    report(b, name, best_time(run_product, &p), 2.0 * (double)m * (double)n * (double)k, 0);
    free(left);
    free(right);
    free(result);
    free(workspace);
}

static void bench_products(const struct bench *b)
{
    /* What the steps above ask for: X·W, Xᵀ·dY, dY·Wᵀ. */
    static const struct {
        size_t m, n, k;
        bool a_transposed, b_transposed;
    } shapes[] = {{64, 64, 8, false, false},     {64, 1, 64, false, false},
                  {8, 64, 64, true, false},      {64, 64, 1, false, true},
                  {1024, 64, 8, false, false},   {8, 64, 1024, true, false},
                  {256, 512, 784, false, false}, {784, 512, 256, true, false},
                  {256, 512, 512, false, true},  {256, 10, 512, false, false},
                  {512, 10, 256, true, false},   {256, 512, 10, false, true}};
    char name[64];
    for (size_t n = 16; n <= 2048; n *= 2) {
        snprintf(name, sizeof name, "gemm/%zu", n);
        bench_product(b, name, n, n, n, false, false);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        snprintf(name, sizeof name, "gemm/%zux%zux%zu%s", shapes[i].m, shapes[i].n, shapes[i].k,
                 shapes[i].a_transposed   ? "/tn"
                 : shapes[i].b_transposed ? "/nt"
                                          : "");
        bench_product(b, name, shapes[i].m, shapes[i].n, shapes[i].k, shapes[i].a_transposed,
                      shapes[i].b_transposed);
    }
}

/* ---- Functions ---- */

enum { ELEMENTS = 4096 };

struct function {
    void (*run)(size_t, const void *, void *, const double *);
    void *x, *y;
};

static void run_function(void *context)
{
    const struct function *f = context;
    f->run(ELEMENTS, f->x, f->y, (double[]){0.5, 0.5});
}

static void bench_functions(const struct bench *b)
{
    static const struct {
        const char *name;
        enum unary kernel;
    } functions[] = {{"exp", UNARY_EXP},         {"log", UNARY_LOG},  {"tanh", UNARY_TANH},
                     {"sigmoid", UNARY_SIGMOID}, {"erf", UNARY_ERF},  {"sin", UNARY_SIN},
                     {"cos", UNARY_COS},         {"sqrt", UNARY_SQRT}};
    char name[64];
    struct function f = {.x = filled(ELEMENTS * b->kernels->element),
                         .y = filled(ELEMENTS * b->kernels->element)};
    for (size_t i = 0; i < ELEMENTS; i++) {
        double x = 8.0 * (double)(i + 1) / ELEMENTS;
        if (b->dtype == AG_F32)
            ((float *)f.x)[i] = (float)x;
        else
            ((double *)f.x)[i] = x;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        snprintf(name, sizeof name, "math/%s", functions[i].name);
        f.run = b->kernels->unary[functions[i].kernel];
        if (wanted(b, name))
            report(b, name, best_time(run_function, &f), ELEMENTS, 0);
    }
    free(f.x);
    free(f.y);
}

static double measure_peak(const struct bench *b)
{
    double best = 0, sink = 0;
    for (int i = 0; i < BATCHES; i++) {
        double start = now(),
               operations = peak_operations(b->kernels->isa, b->dtype == AG_F64, 100000, &sink);
        double rate = operations / (now() - start);
        best = rate > best ? rate : best;
    }
    return sink == 0.5 ? 0 : best; /* the sums are used, so that they are made */
}

static void bench_steps(const struct bench *b)
{
    bench_step(b, 4, 2, (const int64_t[]){2, 8, 1}, true, true);
    bench_step(b, 64, 2, (const int64_t[]){8, 64, 1}, true, true);
    bench_step(b, 1024, 2, (const int64_t[]){8, 64, 1}, true, true);
    bench_step(b, 16512, 2, (const int64_t[]){8, 64, 1}, false, true);
    bench_step(b, 256, 3, (const int64_t[]){784, 512, 512, 10}, false, true);
}

int main(int count, char **arguments)
{
    const char *prefixes[16];
    struct bench b = {.prefixes = prefixes};
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--json"))
            b.json = true;
        else if (!strcmp(arguments[i], "--f64"))
            b.dtype = AG_F64;
        else if (*arguments[i] == '-' || b.prefix_count == 16) {
            fprintf(stderr, "usage: bench [--json] [--f64] [NAME-PREFIX]...\n");
            return 2;
        } else
            prefixes[b.prefix_count++] = arguments[i];
    }
    const char *forced = getenv("TAPEGRAD_ISA"), *isa = forced && *forced ? forced : NULL;
    b.kernels = b.dtype == AG_F32 ? kernels_f32(isa) : kernels_f64(isa);
    if (!b.kernels) {
        fprintf(stderr, "bench: TAPEGRAD_ISA is '%s', which this machine does not run\n", isa);
        return 2;
    }
    b.peak = measure_peak(&b);
    if (!b.json)
        printf("%s, %s\n%-34s %12s %10s %9s %8s\n", b.kernels->isa,
               b.dtype == AG_F32 ? "float32" : "float64", "name", "us", "Gop/s", "of peak",
               "vs hand");
    report(&b, "peak/fma", 1e-3, b.peak * 1e-3, 0);
    bench_steps(&b);
    bench_products(&b);
    bench_functions(&b);
    return 0;
}
