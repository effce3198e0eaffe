/* The pieces that layers are made of. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "parts.h"

struct nn_joined nn_join(const nn_params *params, const char *name, const char *part)
{
    struct nn_joined joined = {""};
    int length =
        snprintf(joined.text, NN_NAME, "%s%s%s", name ? name : "", name && *name ? "." : "", part);
    if (!name)
        ag_fail(nn_params_tape(params), "layer: a layer needs a name");
    else if (length < 0 || length >= NN_NAME)
        ag_fail(nn_params_tape(params), "layer: the name '%.40s...' is longer than %d bytes", name,
                NN_NAME - 1);
    return joined;
}

ag_tensor nn_part(nn_params *params, const char *name, const char *part, ag_shape shape)
{
    return nn_parameter(params, nn_join(params, name, part).text, shape);
}

ag_tensor nn_part_uniform(nn_params *params, const char *name, const char *part, ag_shape shape,
                          double bound)
{
    ag_tensor w = nn_part(params, name, part, shape);
    nn_init_uniform(w, -bound, bound, nn_params_rng(params));
    return w;
}

void nn_check_size(const nn_params *params, const char *kind, const char *name, const char *what,
                   int64_t value)
{
    if (value < 1 || value > INT64_C(1) << 30)
        ag_fail(nn_params_tape(params), "%s: %s: %s is %lld; it must be from 1 to 2^30", kind,
                name ? name : "NULL", what, (long long)value);
}

ag_tensor nn_no_layer(ag_tape *tape)
{
    return ag_fail(tape, "layer: NULL, or one that was never made");
}

bool nn_name_fits(const char *name, const char *pattern)
{
    const char *star = NULL, *behind = NULL; /* the last '*', and where what it stands for ends */
    if (!pattern)
        return false;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            behind = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++behind;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool nn_some_fit(ag_tape *tape, const char *who, const char *pattern, size_t found)
{
    return found ||
           NN_FAIL(tape, "%s: no parameter's name fits '%s'", who, pattern ? pattern : "NULL");
}

bool nn_assign(ag_tensor to, ag_tensor from)
{
    size_t count = (size_t)ag_count(from);
    return ag_tape_dtype(from.tape) == AG_F32 ? ag_set_f32(to, ag_data_f32(from), count)
                                              : ag_set_f64(to, ag_data_f64(from), count);
}

bool nn_move(ag_tensor to, ag_tensor from, double fraction, double scale)
{
    /* An update with weight decay -1 and a negative rate. */
    const ag_sgd towards = {.rate = -fraction, .weight_decay = -1.0, .scale = scale};
    return ag_update_sgd(to, from, (ag_tensor){0}, &towards);
}
