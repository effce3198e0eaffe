/* How far each maths kernel is from the correctly rounded value.
 *
 *     ulp [function] [stride]
 *
 * checks float32 arguments, every stride-th bit pattern of all 2^32 (1 by default), against libm in
 * double precision, and a sample of float64 arguments against libm in long double, in every
 * instruction set this machine runs. Prints for each the largest error, in ulp of the correctly
 * rounded value, and where it is, and the largest distance from the correctly rounded value.
 * Fails if that is more than 2 ulp anywhere. (A float32 that is the correctly rounded value, and so
 * not more than half an ulp off, is not looked at further.) */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels.h"

enum { BATCH = 4096, MOST_THREADS = 64, DOUBLE_SAMPLES = 1 << 24 };

static long double sigmoid_exact(long double x)
{
    return x > 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x));
}

static double sigmoid_double(double x)
{
    return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static const struct function {
    const char *name;
    enum unary kernel;
    double (*in_double)(double);
    long double (*exact)(long double);
    double scale; /* of float64 samples */
} functions[] = {
    {"exp", UNARY_EXP, exp, expl, 760},
    {"log", UNARY_LOG, log, logl, 3},
    {"sigmoid", UNARY_SIGMOID, sigmoid_double, sigmoid_exact, 760},
    {"tanh", UNARY_TANH, tanh, tanhl, 20},
    {"erf", UNARY_ERF, erf, erfl, 6},
    {"sin", UNARY_SIN, sin, sinl, 30000},
    {"cos", UNARY_COS, cos, cosl, 30000},
};

static const char *const isas[] = {"baseline", "avx2", "avx512"};
enum { ISAS = sizeof isas / sizeof *isas };

struct worst {
    double error, where; /* in ulp of the correctly rounded value */
    double steps;        /* from the correctly rounded value, in the same */
    uint64_t wrong;      /* NaN, infinity or sign of 0 not as it should be */
    double wrong_where;
};

/* A thread's share of the arguments: numbers from, from + stride, ... below to. */
struct share {
    const struct function *f;
    const struct kernels *tables[ISAS]; /* NULL where the machine has none */
    uint64_t from, to, stride;
    struct worst worst[ISAS];
};

static double ulp32(double x)
{
    float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    uint64_t exponent = bits >> 23 & 255, power = (exponent ? exponent : 1) + 1023 - 150;
    power <<= 52;
    memcpy(&x, &power, sizeof x);
    return x;
}

static double ulp64(double x)
{
    int e;
    (void)frexp(x, &e);
    return ldexp(1, (e < -1021 ? -1021 : e) - 53);
}

static void note(struct worst *w, double x, double got, double want, double ulp, double error)
{
    bool sane = isnan(want) ? isnan(got) : !isnan(got) && isinf(got) == isinf(want);
    if (want == 0 && got == 0)
        sane = signbit(want) == signbit(got);
    if (!sane && w->wrong++ == 0)
        w->wrong_where = x;
    if (!sane || !isfinite(want))
        return;
    if (fabs(got - want) > w->steps * ulp)
        w->steps = fabs(got - want) / ulp;
    if (error > w->error * ulp) {
        w->error = error / ulp;
        w->where = x;
    }
}

static void *check_floats(void *argument)
{
    struct share *s = argument;
    float x[BATCH], y[BATCH], rounded[BATCH];
    double exact[BATCH];
    for (uint64_t i = s->from; i < s->to;) {
        size_t n = 0;
        for (; n < BATCH && i < s->to; n++, i += s->stride) {
            uint32_t bits = (uint32_t)i;
            memcpy(&x[n], &bits, sizeof bits);
            exact[n] = s->f->in_double((double)x[n]);
            rounded[n] = (float)exact[n];
        }
        for (int t = 0; t < ISAS; t++) {
            if (!s->tables[t])
                continue;
            s->tables[t]->unary[s->f->kernel](n, x, y, NULL);
            for (size_t j = 0; j < n; j++)
                if (memcmp(&y[j], &rounded[j], sizeof y[j]) != 0)
                    note(&s->worst[t], (double)x[j], (double)y[j], (double)rounded[j],
                         ulp32(exact[j]), fabs((double)y[j] - exact[j]));
        }
    }
    return NULL;
}

static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Half of the samples are spread evenly over +-scale, half over all exponents. */
static double sample(uint64_t i, double scale)
{
    uint64_t bits = mixed(i * 0x9e3779b97f4a7c15u);
    if (i & 1)
        return scale * ((double)(bits >> 11) * 0x1p-52 - 1);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void *check_doubles(void *argument)
{
    struct share *s = argument;
    double x[BATCH], y[BATCH];
    long double exact[BATCH];
    for (uint64_t i = s->from; i < s->to;) {
        size_t n = 0;
        for (; n < BATCH && i < s->to; n++, i += s->stride) {
            x[n] = sample(i, s->f->scale);
            exact[n] = s->f->exact((long double)x[n]);
        }
        for (int t = 0; t < ISAS; t++) {
            if (!s->tables[t])
                continue;
            s->tables[t]->unary[s->f->kernel](n, x, y, NULL);
            for (size_t j = 0; j < n; j++)
                note(&s->worst[t], x[j], y[j], (double)exact[j], ulp64((double)exact[j]),
                     (double)fabsl((long double)y[j] - exact[j]));
        }
    }
    return NULL;
}

static void join(struct worst *all, const struct worst *w)
{
    if (w->wrong && !all->wrong)
        all->wrong_where = w->wrong_where;
    all->wrong += w->wrong;
    all->steps = fmax(all->steps, w->steps);
    if (w->error > all->error) {
        all->error = w->error;
        all->where = w->where;
    }
}

/* Splits [0, count) among the machine's cores; returns whether all was well. */
static bool check(struct share all, uint64_t count, void *(*work)(void *), const char *type)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = cores < 1 ? 1 : cores > MOST_THREADS ? MOST_THREADS : (size_t)cores;
    pthread_t threads[MOST_THREADS];
    struct share shares[MOST_THREADS];
    uint64_t step = (count / n + all.stride - 1) / all.stride * all.stride;
    for (size_t i = 0; i < n; i++) {
        shares[i] = all;
        shares[i].from = i * step;
        shares[i].to = i + 1 == n ? count : (i + 1) * step;
        if (pthread_create(&threads[i], NULL, work, &shares[i]) != 0) {
            fprintf(stderr, "ulp: cannot start a thread\n");
            exit(2);
        }
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        for (int t = 0; t < ISAS; t++)
            join(&all.worst[t], &shares[i].worst[t]);
    }
    bool well = true;
    for (int t = 0; t < ISAS; t++) {
        const struct worst *w = &all.worst[t];
        if (!all.tables[t])
            continue;
        printf("%-8s %s %-8s %.3f ulp at %a, %g from the rounded value", isas[t], type, all.f->name,
               w->error, w->where, w->steps);
        if (w->wrong)
            printf("; %llu wrong, the first at %a", (unsigned long long)w->wrong, w->wrong_where);
        printf("\n");
        well = well && w->steps <= 2 && w->wrong == 0;
    }
    fflush(stdout);
    return well;
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    bool well = true, found = false;
    if (stride == 0 || argc > 3) {
        fprintf(stderr, "usage: ulp [function|all] [stride]\n");
        return 2;
    }
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        if (argc > 1 && strcmp(argv[1], "all") != 0 && strcmp(argv[1], functions[f].name) != 0)
            continue;
        found = true;
        struct share wide = {.f = &functions[f], .stride = 1};
        struct share narrow = {.f = &functions[f], .stride = stride};
        for (int t = 0; t < ISAS; t++) {
            narrow.tables[t] = kernels_f32(isas[t]);
            wide.tables[t] = kernels_f64(isas[t]);
        }
        well &= check(narrow, (uint64_t)1 << 32, check_floats, "f32");
        well &=
            check(wide, (uint64_t)DOUBLE_SAMPLES / (stride < 64 ? 1 : 64), check_doubles, "f64");
    }
    if (!found) {
        fprintf(stderr, "ulp: no function %s\n", argv[1]);
        return 2;
    }
    return well ? 0 : 1;
}
