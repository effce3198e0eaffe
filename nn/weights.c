/* A network's weights as safetensors. Loading checks everything before it sets anything. */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

/* ---- Shared with checkpoints ---- */

bool nn_usable(const nn_params *params, const char *path, nn_error *error)
{
    const char *problem = ag_error(nn_params_tape(params));
    return !problem || nn_fail(error, "%s: neither saved nor loaded after an error: %.300s",
                               nn_shown(path), problem);
}

nn_stored nn_stored_tensor(ag_tensor x, const char *name)
{
    bool single = ag_tape_dtype(x.tape) == AG_F32;
    return (nn_stored){.name = name,
                       .dtype = single ? "F32" : "F64",
                       .shape = ag_shape_of(x),
                       .data = single ? (const void *)ag_data_f32(x) : ag_data_f64(x),
                       .size = (size_t)ag_count(x) * (single ? sizeof(float) : sizeof(double))};
}

bool nn_check_shape(const nn_stored *t, const ag_shape *shape, const char *path, nn_error *error)
{
    char is[NN_SHAPE_TEXT], wanted[NN_SHAPE_TEXT];
    bool same = t->shape.rank == shape->rank;
    for (int i = 0; i < shape->rank && same; i++)
        same = t->shape.dim[i] == shape->dim[i];
    return same ||
           nn_fail(error, "%s: tensor '%.80s' has the shape %s; it must be %s", nn_shown(path),
                   t->name, nn_shape_print(is, &t->shape), nn_shape_print(wanted, shape));
}

/* ---- Saving ---- */

bool nn_save_safetensors(const nn_params *params, const char *path, nn_error *error)
{
    size_t count = nn_params_count(params);
    if (!nn_usable(params, path, error))
        return false;
    nn_stored *tensors = malloc(count * sizeof *tensors + 1);
    if (!tensors)
        return nn_fail(error, "%s: out of memory", nn_shown(path));
    for (size_t i = 0; i < count; i++) {
        ag_tensor w = nn_params_at(params, i);
        tensors[i] = nn_stored_tensor(w, ag_name_of(w));
    }
    bool good = nn_safetensors_write(path, tensors, count, NULL, 0, error);
    free(tensors);
    return good;
}

/* ---- Loading ---- */

static bool check_parameter(const nn_safetensors *file, ag_tensor w, const char *path,
                            nn_error *error)
{
    const char *name = ag_name_of(w);
    const nn_stored *t = nn_safetensors_find(file, name);
    ag_shape shape = ag_shape_of(w);
    if (!t)
        return nn_fail(error, "%s: there is no tensor '%.80s'", nn_shown(path), name);
    bool known = strcmp(t->dtype, "F16") == 0 || strcmp(t->dtype, "BF16") == 0 ||
                 strcmp(t->dtype, "F32") == 0 || strcmp(t->dtype, "F64") == 0;
    if (!known)
        return nn_fail(error, "%s: tensor '%.80s' is %s; it must be F16, BF16, F32 or F64",
                       nn_shown(path), name, t->dtype);
    return nn_check_shape(t, &shape, path, error);
}

static bool no_extra(const nn_params *params, const nn_safetensors *file, const char *path,
                     nn_error *error)
{
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[i].name;
        size_t k = 0, count = nn_params_count(params);
        while (k < count && strcmp(name, ag_name_of(nn_params_at(params, k))) != 0)
            k++;
        if (k == count)
            return nn_fail(error, "%s: tensor '%.80s' is no parameter here", nn_shown(path), name);
    }
    return true;
}

/* Nothing here can fail any more but for the engine, out of memory. */
static bool set_all(nn_params *params, const nn_safetensors *file, double *scratch)
{
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        size_t count = (size_t)ag_count(w);
        if (!nn_stored_values(nn_safetensors_find(file, ag_name_of(w)), scratch) ||
            (count && !ag_set_f64(w, scratch, count)))
            return false;
    }
    return true;
}

static bool load(nn_params *params, const nn_safetensors *file, const char *path, unsigned flags,
                 nn_error *error)
{
    size_t most = 1;
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        if (!check_parameter(file, w, path, error))
            return false;
        most = (size_t)ag_count(w) > most ? (size_t)ag_count(w) : most;
    }
    /* As many tensors as parameters: all of them found, so none is left over. */
    if (!(flags & NN_ALLOW_EXTRA) && file->count != nn_params_count(params) &&
        !no_extra(params, file, path, error))
        return false;
    double *scratch = malloc(most * sizeof *scratch);
    if (!scratch)
        return nn_fail(error, "%s: out of memory", nn_shown(path));
    bool good = set_all(params, file, scratch);
    free(scratch);
    if (!good)
        nn_usable(params, path, error);
    return good;
}

bool nn_load_safetensors_with(nn_params *params, const char *path, unsigned flags, nn_error *error)
{
    if (!nn_usable(params, path, error))
        return false;
    nn_safetensors *file = nn_safetensors_read(path, error);
    bool good = file && load(params, file, path, flags, error);
    nn_safetensors_free(file);
    return good;
}

bool nn_load_safetensors(nn_params *params, const char *path, nn_error *error)
{
    return nn_load_safetensors_with(params, path, 0, error);
}
