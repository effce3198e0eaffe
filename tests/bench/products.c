/* Matrix products: of the engine's kernel, of OpenBLAS where there is one, and with several threads
 * of the engine as a whole, since it is the tape that shares work among threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "blas.h"

/* op(A)·op(B) as in struct matmul. */
struct product_shape {
    size_t m, n, k;
    bool a_transposed, b_transposed;
};

struct product {
    const struct bench *b;
    void *left, *right, *result, *workspace;
    struct matmul args;
};

static void run_kernel(void *context)
{
    const struct product *p = context;
    p->b->kernels->matmul(&p->args);
}

static void run_blas(void *context)
{
    const struct product *p = context;
    blas_product(&p->args, p->b->dtype == AG_F64);
}

static void run_tape(void *context)
{
    ag_replay(context);
}

static void *matrix(const struct bench *b, uint32_t array, size_t count)
{
    void *values = zeros(count * b->kernels->element);
    for (size_t i = 0; i < count; i++)
        put(b, values, i, scattered(array, (uint32_t)i));
    return values;
}

static void product_new(struct product *p, const struct bench *b, const struct product_shape *s)
{
    p->b = b;
    p->left = matrix(b, 0, s->m * s->k);
    p->right = matrix(b, 1, s->k * s->n);
    p->result = zeros(s->m * s->n * b->kernels->element);
    p->workspace = zeros(b->kernels->matmul_workspace(s->m, s->n, s->k));
    p->args = (struct matmul){.m = s->m,
                              .n = s->n,
                              .k = s->k,
                              .a = p->left,
                              .b = p->right,
                              .c = p->result,
                              .lda = s->a_transposed ? s->m : s->k,
                              .ldb = s->b_transposed ? s->k : s->n,
                              .ldc = s->n,
                              .a_transposed = s->a_transposed,
                              .b_transposed = s->b_transposed,
                              .activation = UNARY_COUNT,
                              .workspace = p->workspace};
}

static void product_free(struct product *p)
{
    free(p->left);
    free(p->right);
    free(p->result);
    free(p->workspace);
}

static ag_tensor operand(const struct product *p, ag_tape *tape, ag_shape shape, const void *values)
{
    return p->b->dtype == AG_F32 ? ag_input_f32(tape, NULL, shape, values)
                                 : ag_input_f64(tape, NULL, shape, values);
}

/* A tape on which the product of the matrices, not transposed, is recorded. */
static ag_tape *tape_new(const struct product *p, int threads, ag_tensor *result)
{
    const struct matmul *m = &p->args;
    ag_tape *tape = ag_tape_new(p->b->dtype);
    ag_set_threads(tape, threads);
    *result = ag_matmul(operand(p, tape, AG_SHAPE((int64_t)m->m, (int64_t)m->k), p->left),
                        operand(p, tape, AG_SHAPE((int64_t)m->k, (int64_t)m->n), p->right));
    ag_replay(tape);
    return tape;
}

static const void *data(const struct product *p, ag_tensor x)
{
    return p->b->dtype == AG_F32 ? (const void *)ag_data_f32(x) : ag_data_f64(x);
}

static void compare(struct bench *b, const char *name, const struct product *p, double tolerance,
                    const void *expected, const void *result)
{
    for (size_t i = 0; i < p->args.m * p->args.n; i++) {
        double x = get(b, expected, i), y = get(b, result, i);
        if (!(fabs(x - y) <= tolerance)) {
            differ(b, name, y, x);
            return;
        }
    }
}

enum contestant { KERNEL, BLAS, TAPE_ONE, TAPE_MANY, CONTESTANTS };

/* They may add up the k terms, each at most 1, in another order. */
static void check_blas(struct bench *b, const char *name, struct product *p)
{
    void *result = p->result;
    run_kernel(p);
    p->args.c = zeros(p->args.m * p->args.n * b->kernels->element);
    run_blas(p);
    double epsilon = b->dtype == AG_F32 ? 0x1p-23 : 0x1p-52;
    compare(b, name, p, epsilon * (double)p->args.k, result, p->args.c);
    free(p->args.c);
    p->args.c = result;
}

static void report_product(const struct bench *b, const char *name, const char *blas_name,
                           const struct product *p, const struct timed *timed)
{
    struct row row = {.operations =
                          2.0 * (double)p->args.m * (double)p->args.n * (double)p->args.k};
    if (timed[BLAS].run) {
        row.name = blas_name;
        row.seconds = timed[BLAS].seconds;
        report(b, &row);
    }
    row.name = name;
    if (timed[KERNEL].run) {
        row.seconds = timed[KERNEL].seconds;
        row.blas = timed[BLAS].seconds;
        report(b, &row);
    }
    if (timed[TAPE_MANY].run) {
        row.seconds = timed[TAPE_MANY].seconds;
        row.blas = 0;
        row.threads = b->threads;
        row.one_thread = timed[TAPE_ONE].seconds;
        report(b, &row);
    }
}

static void bench_product(struct bench *b, const char *shape, const struct product_shape *s)
{
    char name[64], blas_name[64];
    snprintf(name, sizeof name, "gemm/%s", shape);
    snprintf(blas_name, sizeof blas_name, "blas/%s", shape);
    bool engine = wanted(b, name), blas = b->has_blas && (engine || wanted(b, blas_name));
    bool threads = engine && b->threads > 1 && !s->a_transposed && !s->b_transposed;
    if (!engine && !blas)
        return;
    struct product p;
    struct timed timed[CONTESTANTS] = {0};
    ag_tape *one = NULL, *many = NULL;
    product_new(&p, b, s);
    if (engine)
        timed[KERNEL] = (struct timed){.run = run_kernel, .context = &p};
    if (blas) {
        timed[BLAS] = (struct timed){.run = run_blas, .context = &p};
        check_blas(b, blas_name, &p);
    }
    if (threads) {
        ag_tensor results[2];
        one = tape_new(&p, 1, &results[0]);
        many = tape_new(&p, b->threads, &results[1]);
        compare(b, name, &p, 0.0, data(&p, results[0]), data(&p, results[1]));
        timed[TAPE_ONE] = (struct timed){.run = run_tape, .context = one};
        timed[TAPE_MANY] = (struct timed){.run = run_tape, .context = many};
    }
    time_together(timed, CONTESTANTS);
    report_product(b, name, blas_name, &p, timed);
    if (threads)
        check_tape(b, many);
    ag_tape_free(one);
    ag_tape_free(many);
    product_free(&p);
}

void bench_products(struct bench *b)
{
    /* What the steps ask for: X·W, Xᵀ·dY, dY·Wᵀ. */
    static const struct product_shape shapes[] = {
        {64, 64, 8, false, false},     {64, 1, 64, false, false},    {8, 64, 64, true, false},
        {64, 64, 1, false, true},      {1024, 64, 8, false, false},  {8, 64, 1024, true, false},
        {256, 512, 784, false, false}, {784, 512, 256, true, false}, {256, 512, 512, false, true},
        {256, 10, 512, false, false},  {512, 10, 256, true, false},  {256, 512, 10, false, true}};
    char name[48];
    for (size_t n = 16; n <= 2048; n *= 2) {
        snprintf(name, sizeof name, "%zu", n);
        bench_product(b, name, &(struct product_shape){n, n, n, false, false});
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct product_shape *s = &shapes[i];
        snprintf(name, sizeof name, "%zux%zux%zu%s", s->m, s->n, s->k,
                 s->a_transposed   ? "/tn"
                 : s->b_transposed ? "/nt"
                                   : "");
        bench_product(b, name, s);
    }
}
