/* Learning rates as functions of the step. */
#include "nn.h"

#include <math.h>

double nn_schedule_rate(const nn_schedule *s, uint64_t step)
{
    const double pi = 3.14159265358979323846;
    if (!s)
        return (double)NAN;
    if (step < s->warmup)
        return s->rate * ((double)(step + 1) / (double)s->warmup);
    uint64_t t = step - s->warmup, total = s->total > s->warmup ? s->total - s->warmup : 0;
    if (s->kind == NN_STEPS && s->every)
        return s->rate * pow(s->factor, (double)(t / s->every));
    if (s->kind != NN_COSINE)
        return s->rate;
    if (t >= total)
        return s->floor;
    return s->floor + 0.5 * (s->rate - s->floor) * (1.0 + cos(pi * (double)t / (double)total));
}
