/* Mathematics functions over arrays in the first cache: of the engine's kernels, and of the C
 * library's vector functions where gcc calls them. */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

enum { ELEMENTS = 2048 }; /* also two arrays of doubles fit in the first cache */

struct function {
    const char *name;
    enum unary kernel;
    double low, high; /* of its operands */
};

struct call {
    void (*kernel)(size_t n, const void *x, void *y, const double p[2]);
    void (*libmvec)(size_t n, const void *x, void *y);
    void *x, *y;
};

static void run_kernel(void *context)
{
    const struct call *c = context;
    c->kernel(ELEMENTS, c->x, c->y, NULL);
}

static void run_libmvec(void *context)
{
    const struct call *c = context;
    c->libmvec(ELEMENTS, c->x, c->y);
}

static void bench_function(const struct bench *b, const struct function *f, struct call *c)
{
    enum { ENGINE, LIBMVEC, CONTESTANTS };
    char name[64], libmvec_name[64];
    struct timed timed[CONTESTANTS] = {0};
    snprintf(name, sizeof name, "math/%s", f->name);
    snprintf(libmvec_name, sizeof libmvec_name, "libmvec/%s", f->name);
    c->kernel = b->kernels->unary[f->kernel];
    c->libmvec = b->beside->libmvec[f->kernel];
    for (size_t i = 0; i < ELEMENTS; i++)
        put(b, c->x, i, f->low + (f->high - f->low) * (double)i / (ELEMENTS - 1));
    if (wanted(b, name))
        timed[ENGINE] = (struct timed){.run = run_kernel, .context = c};
    if (c->libmvec && (timed[ENGINE].run || wanted(b, libmvec_name)))
        timed[LIBMVEC] = (struct timed){.run = run_libmvec, .context = c};
    time_together(timed, CONTESTANTS);
    if (timed[LIBMVEC].run)
        report(b, &(struct row){.name = libmvec_name,
                                .seconds = timed[LIBMVEC].seconds,
                                .elements = ELEMENTS});
    if (timed[ENGINE].run)
        report(b, &(struct row){.name = name,
                                .seconds = timed[ENGINE].seconds,
                                .elements = ELEMENTS,
                                .libmvec = timed[LIBMVEC].seconds});
}

void bench_functions(struct bench *b)
{
    static const struct function functions[] = {
        {"exp", UNARY_EXP, -10, 10}, {"log", UNARY_LOG, 0.01, 100},
        {"tanh", UNARY_TANH, -5, 5}, {"sigmoid", UNARY_SIGMOID, -10, 10},
        {"erf", UNARY_ERF, -4, 4},   {"sin", UNARY_SIN, -10, 10},
        {"cos", UNARY_COS, -10, 10}, {"sqrt", UNARY_SQRT, 0.01, 100}};
    struct call call = {.x = zeros(ELEMENTS * b->kernels->element),
                        .y = zeros(ELEMENTS * b->kernels->element)};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        bench_function(b, &functions[i], &call);
    free(call.x);
    free(call.y);
}
