#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <math.h>
#include <time.h>

#include "bench.h"

enum { BATCHES = 60, FEWEST_BATCHES = 5 };
static const double BATCH_SECONDS = 0.002; /* short, for a batch that nothing interrupts */
static const double MOST_SECONDS = 3.0;    /* for all batches, where one call takes long */

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The number of calls in a batch. */
static void warm_up(struct timed *t)
{
    double start = now();
    t->calls = 0;
    t->seconds = (double)INFINITY;
    do {
        t->run(t->context);
        t->calls++;
    } while (now() - start < BATCH_SECONDS);
}

static void run_batch(struct timed *t)
{
    double start = now();
    for (size_t i = 0; i < t->calls; i++)
        t->run(t->context);
    double each = (now() - start) / (double)t->calls;
    t->seconds = each < t->seconds ? each : t->seconds;
}

void time_together(struct timed *timed, int count)
{
    for (int i = 0; i < count; i++)
        if (timed[i].run)
            warm_up(&timed[i]);
    double start = now();
    for (int batch = 0; batch < BATCHES; batch++) {
        if (batch >= FEWEST_BATCHES && now() - start > MOST_SECONDS)
            return;
        for (int i = 0; i < count; i++)
            if (timed[i].run)
                run_batch(&timed[i]);
    }
}
