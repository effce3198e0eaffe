/* Learning rates as functions of the step. */
#include "nn.h"

#include <math.h>

/* t of `total` steps after the warm-up. */
static double half_cosine(const nn_schedule *s, uint64_t t, uint64_t total)
{
    const double pi = 3.14159265358979323846;
    if (t >= total)
        return s->floor;
    return s->floor + 0.5 * (s->rate - s->floor) * (1.0 + cos(pi * (double)t / (double)total));
}

double nn_schedule_rate(const nn_schedule *s, uint64_t step)
{
    if (!s)
        return (double)NAN;
    if (step < s->warmup)
        return s->rate * ((double)(step + 1) / (double)s->warmup);
    uint64_t t = step - s->warmup;
    switch (s->kind) {
    case NN_STEPS:
        return s->every ? s->rate * pow(s->factor, (double)(t / s->every)) : s->rate;
    case NN_COSINE:
        return half_cosine(s, t, s->total > s->warmup ? s->total - s->warmup : 0);
    case NN_CONSTANT:
        break;
    }
    return s->rate;
}
