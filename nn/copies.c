/* Copies of a network's weights: its parameters and buffers, one by one. */
#include "parts.h"

#include <stdlib.h>

nn_params *nn_params_copy(const nn_params *params)
{
    nn_params *copy = params ? nn_params_new(nn_params_tape(params), 0) : NULL;
    for (size_t i = 0; copy && i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        if (!nn_assign(nn_buffer(copy, ag_name_of(w), ag_shape_of(w)), w))
            return NULL;
    }
    return copy;
}

/* False, with the sticky error, unless one may be the other's copy. */
static bool alike(const nn_params *a, const nn_params *b, const char *who)
{
    ag_tape *tape = nn_params_tape(a);
    bool same =
        a && b && a != b && tape == nn_params_tape(b) && nn_params_count(a) == nn_params_count(b);
    for (size_t i = 0; same && i < nn_params_count(a); i++)
        same = ag_count(nn_params_at(a, i)) == ag_count(nn_params_at(b, i));
    return same ? !ag_error(tape)
                : NN_FAIL(tape, "%s: these lists are not each other's copies", who);
}

bool nn_copy(nn_params *to, const nn_params *from)
{
    bool good = alike(to, from, "copy");
    for (size_t i = 0; good && i < nn_params_count(to); i++)
        good = nn_assign(nn_params_at(to, i), nn_params_at(from, i));
    return good;
}

bool nn_average(nn_params *to, const nn_params *from, double decay)
{
    bool good = alike(to, from, "average");
    if (good && !(decay >= 0.0 && decay <= 1.0))
        return NN_FAIL(nn_params_tape(to), "average: decay is %g; it must be from 0 to 1", decay);
    for (size_t i = 0; good && i < nn_params_count(to); i++)
        good = nn_move(nn_params_at(to, i), nn_params_at(from, i), 1.0 - decay, 1.0);
    return good;
}

bool nn_swap(nn_params *a, nn_params *b)
{
    bool good = alike(a, b, "swap");
    for (size_t i = 0; good && i < nn_params_count(a); i++) {
        ag_tensor x = nn_params_at(a, i), y = nn_params_at(b, i);
        size_t count = (size_t)ag_count(x);
        double *values = malloc(count * sizeof *values);
        good = values
                   ? ag_get_f64(x, values, count) && nn_assign(x, y) && ag_set_f64(y, values, count)
                   : NN_FAIL(nn_params_tape(a), "swap: out of memory");
        free(values);
    }
    return good;
}
