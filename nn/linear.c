/* The fully connected layer. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "nn.h"

#include <math.h>

/* "NAME.PART", uniform within ±bound. */
static ag_tensor part(nn_params *params, const char *name, const char *part_name, ag_shape shape,
                      double bound)
{
    char text[256];
    int length = snprintf(text, sizeof text, "%s.%s", name, part_name);
    if (length < 0 || (size_t)length >= sizeof text)
        return ag_fail(nn_params_tape(params),
                       "linear: the name '%.40s...' is longer than 240 bytes", name);
    ag_tensor w = nn_parameter(params, text, shape);
    nn_init_uniform(w, -bound, bound, nn_params_rng(params));
    return w;
}

nn_linear nn_linear_new(nn_params *params, const char *name, int64_t in, int64_t out)
{
    ag_tape *tape = nn_params_tape(params);
    nn_linear layer = {{.tape = tape}, {.tape = tape}};
    if (!name || !*name) {
        ag_fail(tape, "linear: a layer needs a name");
    } else if (in < 1 || out < 1) {
        ag_fail(tape, "linear: %s: %lld inputs and %lld outputs; both must be at least 1", name,
                (long long)in, (long long)out);
    } else {
        double bound = 1.0 / sqrt((double)in);
        layer.weight = part(params, name, "weight", AG_SHAPE(out, in), bound);
        layer.bias = part(params, name, "bias", AG_SHAPE(out), bound);
    }
    return layer;
}

ag_tensor nn_linear_apply(const nn_linear *layer, ag_tensor x)
{
    return ag_linear(x, layer->weight, layer->bias);
}
