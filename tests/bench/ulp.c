/* How far each maths kernel is from the correctly rounded value.
 *
 *     ulp [function] [stride]
 *
 * checks float32 arguments, every stride-th bit pattern of all 2^32 (1 by default), against libm in
 * double precision, and a sample of float64 arguments against libm in long double, in every
 * instruction set this machine runs. Prints for each the largest error, in ulp of the exact
 * value's binade, and where it is, and the largest distance from the correctly rounded value.
 * Fails if that is more than 2 ulp anywhere. */
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

/* The worst error of a share of the arguments. */
struct share {
    const struct function *f;
    const struct kernels *k;
    uint64_t from, to, stride;
    double worst, where;
    double steps;   /* from the correctly rounded value, in ulp of that */
    uint64_t wrong; /* NaN, infinity or sign not as it should be */
    double wrong_where;
};

static double ulp32(double x)
{
    int e;
    (void)frexp(x, &e);
    return ldexp(1, (e < -125 ? -125 : e) - 24);
}

static long double ulp64(long double x)
{
    int e;
    (void)frexpl(x, &e);
    return ldexpl(1, (e < -1021 ? -1021 : e) - 53);
}

static void note(struct share *s, double x, double got, double want, double ulp, double error)
{
    bool sane = isnan(want) ? isnan(got) : !isnan(got) && isinf(got) == isinf(want);
    if (sane && (want == 0 || got == 0))
        sane = signbit(want) == signbit(got);
    if (!sane && s->wrong++ == 0)
        s->wrong_where = x;
    if (sane && isfinite(want) && want != got)
        s->steps = fmax(s->steps, round(fabs(got - want) / ulp));
    if (sane && isfinite(want) && error > s->worst) {
        s->worst = error;
        s->where = x;
    }
}

static void *check_floats(void *argument)
{
    struct share *s = argument;
    float x[BATCH], y[BATCH];
    for (uint64_t i = s->from; i < s->to;) {
        size_t n = 0;
        for (; n < BATCH && i < s->to; n++, i += s->stride) {
            uint32_t bits = (uint32_t)i;
            memcpy(&x[n], &bits, sizeof bits);
        }
        s->k->unary[s->f->kernel](n, x, y, NULL);
        for (size_t j = 0; j < n; j++) {
            double exact = s->f->in_double((double)x[j]), got = (double)y[j];
            note(s, (double)x[j], got, (double)(float)exact, ulp32((double)(float)exact),
                 fabs(got - exact) / ulp32(exact));
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
    for (uint64_t i = s->from; i < s->to;) {
        size_t n = 0;
        for (; n < BATCH && i < s->to; n++, i += s->stride)
            x[n] = sample(i / s->stride, s->f->scale);
        s->k->unary[s->f->kernel](n, x, y, NULL);
        for (size_t j = 0; j < n; j++) {
            long double exact = s->f->exact((long double)x[j]);
            note(s, x[j], y[j], (double)exact, (double)ulp64((long double)(double)exact),
                 (double)(fabsl((long double)y[j] - exact) / ulp64(exact)));
        }
    }
    return NULL;
}

/* Splits [0, count) among the machine's cores; returns whether all was well. */
static bool check(const struct function *f, const struct kernels *k, uint64_t count,
                  uint64_t stride, void *(*work)(void *))
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = cores < 1 ? 1 : cores > MOST_THREADS ? MOST_THREADS : (size_t)cores;
    pthread_t threads[MOST_THREADS];
    struct share shares[MOST_THREADS], all = {0};
    uint64_t step = (count / n + stride - 1) / stride * stride;
    for (size_t i = 0; i < n; i++) {
        uint64_t from = i * step, to = i + 1 == n ? count : from + step;
        shares[i] = (struct share){.f = f, .k = k, .from = from, .to = to, .stride = stride};
        if (pthread_create(&threads[i], NULL, work, &shares[i]) != 0) {
            fprintf(stderr, "ulp: cannot start a thread\n");
            exit(2);
        }
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        if (shares[i].wrong && all.wrong == 0)
            all.wrong_where = shares[i].wrong_where;
        all.wrong += shares[i].wrong;
        all.steps = fmax(all.steps, shares[i].steps);
        if (shares[i].worst > all.worst) {
            all.worst = shares[i].worst;
            all.where = shares[i].where;
        }
    }
    printf("%-8s f%zu %-8s %6.3f ulp at %a, %g from the rounded value", k->isa, 8 * k->element,
           f->name, all.worst, all.where, all.steps);
    if (all.wrong)
        printf("; %llu wrong, the first at %a", (unsigned long long)all.wrong, all.wrong_where);
    printf("\n");
    fflush(stdout);
    return all.steps <= 2 && all.wrong == 0;
}

int main(int argc, char **argv)
{
    static const char *const isas[] = {"baseline", "avx2", "avx512"};
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
        for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
            if (!kernels_f32(isas[i]))
                continue;
            well &=
                check(&functions[f], kernels_f32(isas[i]), (uint64_t)1 << 32, stride, check_floats);
            well &=
                check(&functions[f], kernels_f64(isas[i]), DOUBLE_SAMPLES, stride, check_doubles);
        }
    }
    if (!found) {
        fprintf(stderr, "ulp: no function %s\n", argv[1]);
        return 2;
    }
    return well ? 0 : 1;
}
