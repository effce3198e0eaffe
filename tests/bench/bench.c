/* Benchmarks: training steps, matrix products and mathematics functions, each beside the machine's
 * peak and, where there is one, what the engine is held against, all in one run. README.md tells
 * what the rows are.
 *
 *     bench [--json] [--f64] [--threads N] [--network ROWSxA-B-C]... [NAME-PREFIX]...
 *
 * --json prints an object a line, null for what a row has not. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"

static const char usage[] =
    "usage: bench [--json] [--f64] [--threads N] [--network ROWSxA-B-C]... [NAME-PREFIX]...\n";

bool wanted(const struct bench *b, const char *name)
{
    for (int i = 0; i < b->prefix_count; i++)
        if (!strncmp(name, b->prefixes[i], strlen(b->prefixes[i])))
            return true;
    return b->prefix_count == 0;
}

/* ---- The result ---- */

static double ratio(double of, double to)
{
    return to > 0 ? of / to : 0;
}

static const char *type_name(const struct bench *b)
{
    return b->dtype == AG_F32 ? "float32" : "float64";
}

static void print_field(const char *name, double value, int digits)
{
    if (value > 0)
        printf(", \"%s\": %.*g", name, digits, value);
    else
        printf(", \"%s\": null", name);
}

static void print_cell(int width, int digits, double value)
{
    if (value > 0)
        printf(" %*.*f", width, digits, value);
    else
        printf(" %*s", width, "");
}

static void report_json(const struct bench *b, const struct row *row, int threads, double of_peak)
{
    printf("{\"name\": \"%s\"", row->name);
    print_field("us", row->seconds * 1e6, 6);
    print_field("gflops", 1e-9 * row->operations / row->seconds, 6);
    print_field("of_peak", of_peak, 4);
    print_field("vs_hand", ratio(row->seconds, row->hand), 4);
    print_field("vs_blocked", ratio(row->seconds, row->blocked), 4);
    printf(", \"threads\": %d", threads);
    print_field("vs_blas", ratio(row->seconds, row->blas), 4);
    print_field("vs_libmvec", ratio(row->seconds, row->libmvec), 4);
    print_field("speedup", ratio(row->one_thread, row->seconds), 4);
    print_field("elements_per_second", row->elements / row->seconds, 6);
    print_field("loss", row->loss, 9);
    printf(", \"isa\": \"%s\", \"type\": \"%s\"}\n", b->kernels->isa, type_name(b));
    fflush(stdout);
}

static void report_heading(const struct bench *b)
{
    printf("%s, %s; Gop/s: operations, or elements of a function; vs: time over that of the other\n"
           "%-34s %12s %8s %8s %8s %10s %8s %10s %8s %8s\n",
           b->kernels->isa, type_name(b), "name", "us", "Gop/s", "% peak", "vs hand", "vs blocked",
           "vs blas", "vs libmvec", "threads", "speedup");
}

void report(const struct bench *b, const struct row *row)
{
    int threads = row->threads ? row->threads : 1;
    double of_peak = row->operations / row->seconds / (b->peak * threads);
    if (b->json) {
        report_json(b, row, threads, of_peak);
        return;
    }
    printf("%-34s", row->name);
    print_cell(12, 3, row->seconds * 1e6);
    print_cell(8, 2, 1e-9 * (row->operations + row->elements) / row->seconds);
    print_cell(8, 0, 100 * of_peak);
    print_cell(8, 2, ratio(row->seconds, row->hand));
    print_cell(10, 2, ratio(row->seconds, row->blocked));
    print_cell(8, 2, ratio(row->seconds, row->blas));
    print_cell(10, 2, ratio(row->seconds, row->libmvec));
    print_cell(8, 0, threads);
    if (row->one_thread > 0)
        print_cell(8, 2, ratio(row->one_thread, row->seconds));
    putchar('\n');
    fflush(stdout);
}

void differ(struct bench *b, const char *name, double result, double expected)
{
    fprintf(stderr, "bench: %s: %.9g where %.9g was expected\n", name, result, expected);
    b->wrong = true;
}

void check_tape(struct bench *b, const ag_tape *tape)
{
    if (!tape || !ag_error(tape))
        return;
    fprintf(stderr, "bench: %s\n", ag_error(tape));
    b->wrong = true;
}

/* ---- Arrays ---- */

void *zeros(size_t bytes)
{
    size_t size = (bytes + 2 * KERNEL_ALIGN) & ~(size_t)(KERNEL_ALIGN - 1);
    void *block = aligned_alloc(KERNEL_ALIGN, size);
    if (!block) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return memset(block, 0, size);
}

double scattered(uint32_t array, uint32_t i)
{
    uint32_t h = i + array * 0x9e3779b1u;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return (double)(h ^ h >> 16) * 0x1p-31 - 1.0;
}

void put(const struct bench *b, void *array, size_t i, double value)
{
    if (b->dtype == AG_F32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

double get(const struct bench *b, const void *array, size_t i)
{
    return b->dtype == AG_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

/* ---- What to run ---- */

/* Of short batches over a long time: something may be disturbed for as long as a tenth of a second.
 */
static double measure_peak(const struct bench *b)
{
    const double until = now() + 0.5;
    double best = 0, sink = 0;
    for (double start; (start = now()) < until;) {
        double operations = b->beside->peak(100000, &sink), rate = operations / (now() - start);
        best = rate > best ? rate : best;
    }
    return sink == 0.5 ? 0 : best; /* the sums are used, so that they are made */
}

static void bench_all(struct bench *b)
{
    bench_step(b, &(struct network_shape){4, 2, {2, 8, 1}}, true);
    bench_step(b, &(struct network_shape){64, 2, {8, 64, 1}}, true);
    bench_step(b, &(struct network_shape){1024, 2, {8, 64, 1}}, true);
    bench_step(b, &(struct network_shape){16512, 2, {8, 64, 1}}, false);
    bench_step(b, &(struct network_shape){256, 3, {784, 512, 512, 10}}, false);
    bench_products(b);
    bench_functions(b);
}

static bool parse_network(const char *text, struct network_shape *shape)
{
    enum { MOST = 1 << 24 };
    char *end;
    shape->rows = strtoll(text, &end, 10);
    shape->layers = -1;
    for (char before = 'x'; *end == before && shape->layers < MOST_LAYERS; before = '-')
        shape->size[++shape->layers] = strtoll(end + 1, &end, 10);
    bool sensible = !*end && shape->layers >= 1 && shape->rows > 0 && shape->rows <= MOST;
    for (int i = 0; i <= shape->layers; i++)
        sensible = sensible && shape->size[i] > 0 && shape->size[i] <= MOST;
    return sensible;
}

enum { MOST_NETWORKS = 64, MOST_PREFIXES = 16 };

struct request {
    struct network_shape networks[MOST_NETWORKS];
    int network_count;
    const char *prefixes[MOST_PREFIXES];
};

/* Whether the arguments are understood. */
static bool parse(int count, char **arguments, struct bench *b, struct request *request)
{
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (!strcmp(argument, "--json")) {
            b->json = true;
        } else if (!strcmp(argument, "--f64")) {
            b->dtype = AG_F64;
        } else if (!strcmp(argument, "--threads") && value) {
            b->threads = atoi(value);
            i++;
        } else if (!strcmp(argument, "--network") && value) {
            if (request->network_count == MOST_NETWORKS ||
                !parse_network(value, &request->networks[request->network_count++]))
                return false;
            i++;
        } else {
            if (*argument == '-' || b->prefix_count == MOST_PREFIXES)
                return false;
            request->prefixes[b->prefix_count++] = argument;
        }
    }
    return b->threads >= 1;
}

int main(int count, char **arguments)
{
    static struct request request;
    struct bench b = {.prefixes = request.prefixes, .threads = 1};
    if (!parse(count, arguments, &b, &request)) {
        fputs(usage, stderr);
        return 2;
    }
    const char *forced = getenv("TAPEGRAD_ISA"), *isa = forced && *forced ? forced : NULL;
    b.kernels = b.dtype == AG_F32 ? kernels_f32(isa) : kernels_f64(isa);
    if (!b.kernels) {
        fprintf(stderr, "bench: TAPEGRAD_ISA is '%s', which this machine does not run\n", isa);
        return 2;
    }
    b.has_blas = blas_open(isa);
    b.beside = beside(b.kernels->isa, b.dtype == AG_F64);
    b.peak = measure_peak(&b);
    if (!b.json)
        report_heading(&b);
    report(&b, &(struct row){.name = "peak/fma", .seconds = 1e-3, .operations = b.peak * 1e-3});
    for (int i = 0; i < request.network_count; i++)
        bench_step(&b, &request.networks[i], true);
    if (!request.network_count)
        bench_all(&b);
    return b.wrong;
}
