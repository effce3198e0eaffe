/* Initialisers: every one is shift + scale * draw, element by element. */
#include <math.h>

#include "parts.h"

/* Draws are one a call; NULL stands for 0. */
struct law {
    double shift, scale;
    double (*draw)(ag_rng *);
    ag_rng *rng;
};

static double draw(void *context)
{
    const struct law *law = context;
    return law->shift + (law->draw ? law->scale * law->draw(law->rng) : 0.0);
}

static bool fill(ag_tensor w, double shift, double scale, double (*of)(ag_rng *), ag_rng *rng)
{
    if (of && !rng)
        return NN_FAIL(w.tape, "init: no generator (NULL)");
    return ag_set_each(w, draw, &(struct law){shift, scale, of, rng});
}

bool nn_init_constant(ag_tensor w, double value)
{
    if (!isfinite(value))
        return NN_FAIL(w.tape, "init_constant: the value is %g; it must be finite", value);
    return fill(w, value, 0.0, NULL, NULL);
}

bool nn_init_uniform(ag_tensor w, double low, double high, ag_rng *rng)
{
    if (!(low <= high && isfinite(high - low)))
        return NN_FAIL(w.tape,
                       "init_uniform: the range is %g to %g; it must be finite, and not run "
                       "backwards",
                       low, high);
    return fill(w, low, high - low, ag_rng_uniform, rng);
}

bool nn_init_normal(ag_tensor w, double mean, double deviation, ag_rng *rng)
{
    if (!(isfinite(mean) && isfinite(deviation) && deviation >= 0.0))
        return NN_FAIL(w.tape,
                       "init_normal: mean %g, standard deviation %g; both must be finite, and the "
                       "latter not negative",
                       mean, deviation);
    return fill(w, mean, deviation, ag_rng_normal, rng);
}

/* Mean 0 and variance gain/fan; a uniform distribution within ±a has variance a²/3. */
static bool scaled(ag_tensor w, double gain, double fan, nn_distribution distribution, ag_rng *rng)
{
    double deviation = sqrt(gain / fan), bound = sqrt(3.0 * gain / fan);
    if (distribution == NN_NORMAL)
        return fill(w, 0.0, deviation, ag_rng_normal, rng);
    if (distribution == NN_UNIFORM)
        return fill(w, -bound, 2.0 * bound, ag_rng_uniform, rng);
    return NN_FAIL(w.tape, "init: %d is not a distribution: NN_UNIFORM or NN_NORMAL",
                   (int)distribution);
}

static bool fan_fits(ag_tensor w, const char *who, const char *which, int64_t fan)
{
    return fan >= 1 ||
           NN_FAIL(w.tape, "%s: %s is %lld; it must be at least 1", who, which, (long long)fan);
}

bool nn_init_xavier(ag_tensor w, int64_t fan_in, int64_t fan_out, nn_distribution distribution,
                    ag_rng *rng)
{
    return fan_fits(w, "init_xavier", "fan_in", fan_in) &&
           fan_fits(w, "init_xavier", "fan_out", fan_out) &&
           scaled(w, 2.0, (double)fan_in + (double)fan_out, distribution, rng);
}

bool nn_init_he(ag_tensor w, int64_t fan_in, nn_distribution distribution, ag_rng *rng)
{
    return fan_fits(w, "init_he", "fan_in", fan_in) &&
           scaled(w, 2.0, (double)fan_in, distribution, rng);
}

bool nn_init_lecun(ag_tensor w, int64_t fan_in, nn_distribution distribution, ag_rng *rng)
{
    return fan_fits(w, "init_lecun", "fan_in", fan_in) &&
           scaled(w, 1.0, (double)fan_in, distribution, rng);
}
