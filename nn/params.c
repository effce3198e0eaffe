/* The list of a network's parameters and buffers, in the order they were made. Names in it are
 * unique. */
#define AG_NO_LOCATIONS /* errors tell the place of the caller */
#include "parts.h"

#include <string.h>

struct entry {
    ag_tensor tensor;
    bool buffer;
};

struct nn_params {
    ag_tape *tape;
    ag_rng rng;
    struct entry *at;
    size_t count, capacity;
    bool training;
};

nn_params *nn_params_new(ag_tape *tape, uint64_t seed)
{
    nn_params *params = ag_allocate(tape, sizeof *params);
    if (!params)
        return NULL;
    params->tape = tape;
    params->training = true;
    ag_rng_seed(&params->rng, seed);
    return params;
}

ag_tape *nn_params_tape(const nn_params *params)
{
    return params ? params->tape : NULL;
}

ag_rng *nn_params_rng(nn_params *params)
{
    return params ? &params->rng : NULL;
}

size_t nn_params_count(const nn_params *params)
{
    return params ? params->count : 0;
}

ag_tensor nn_params_at(const nn_params *params, size_t index)
{
    if (!params)
        return (ag_tensor){0};
    if (index < params->count)
        return params->at[index].tensor;
    return ag_fail(params->tape, "params_at: there is no parameter %zu: there are %zu", index,
                   params->count);
}

/* The position of a name, or the count if it is not in the list. */
static size_t position(const nn_params *params, const char *name)
{
    size_t i = 0;
    while (i < params->count && strcmp(ag_name_of(params->at[i].tensor), name) != 0)
        i++;
    return i;
}

ag_tensor nn_params_find(const nn_params *params, const char *name)
{
    if (!params)
        return (ag_tensor){0};
    size_t i = name ? position(params, name) : params->count;
    if (i < params->count)
        return params->at[i].tensor;
    return ag_fail(params->tape, "params_find: no parameter is named '%s'", name ? name : "NULL");
}

int64_t nn_params_elements(const nn_params *params)
{
    int64_t elements = 0;
    for (size_t i = 0; i < nn_params_count(params); i++)
        elements += params->at[i].buffer ? 0 : ag_count(params->at[i].tensor);
    return elements;
}

/* The old block stays behind, as the tape's; doubling keeps what is left so below what is used. */
static bool reserve(nn_params *params)
{
    if (params->count < params->capacity)
        return true;
    size_t capacity = params->capacity ? 2 * params->capacity : 16;
    struct entry *at = ag_allocate(params->tape, capacity * sizeof *at);
    if (!at)
        return false;
    if (params->count)
        memcpy(at, params->at, params->count * sizeof *at);
    params->at = at;
    params->capacity = capacity;
    return true;
}

static ag_tensor add(nn_params *params, const char *name, ag_shape shape, bool buffer)
{
    if (!params)
        return (ag_tensor){0};
    ag_tensor none = {.tape = params->tape};
    if (!name || !*name)
        return ag_fail(params->tape, "parameter: a network's parameter needs a name");
    if (position(params, name) < params->count)
        return ag_fail(params->tape, "parameter: there is already one named '%s'", name);
    if (!reserve(params))
        return none;
    ag_tensor w = (buffer ? ag_buffer : ag_parameter)(params->tape, name, shape);
    if (ag_valid(w))
        params->at[params->count++] = (struct entry){w, buffer};
    return w;
}

ag_tensor nn_parameter(nn_params *params, const char *name, ag_shape shape)
{
    return add(params, name, shape, false);
}

ag_tensor nn_buffer(nn_params *params, const char *name, ag_shape shape)
{
    return add(params, name, shape, true);
}

bool nn_params_is_buffer(const nn_params *params, size_t index)
{
    return params->at[index].buffer;
}

bool nn_set_trainable(nn_params *params, const char *pattern, bool trainable)
{
    size_t found = 0;
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = params->at[i].tensor;
        if (!params->at[i].buffer && nn_name_fits(ag_name_of(w), pattern))
            found += ag_set_trainable(w, trainable);
    }
    return nn_some_fit(nn_params_tape(params), "set_trainable", pattern, found);
}

void nn_set_training(nn_params *params, bool training)
{
    if (params)
        params->training = training;
}

bool nn_training(const nn_params *params)
{
    return params && params->training;
}
