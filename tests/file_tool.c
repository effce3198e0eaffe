/* Reads and writes files for the Python tests.
 *
 *     file_tool copy-safetensors IN OUT     every tensor and the metadata, as they are
 *     file_tool load-save IN OUT [f64]      through parameters made from the file's names and
 * shapes file_tool npy IN OUT                  to float64 file_tool npz IN OUT                  all
 * members, to float64 file_tool idx IN OUT.npy              to float32 file_tool save-forever PATH
 * saves checkpoints of 200 kB, each of one number file_tool check PATH                  that a
 * checkpoint is whole, and of one number
 *
 * Prints the message of an error and returns 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

static nn_error error;

static bool copy_safetensors(const char *in, const char *out)
{
    nn_safetensors *file = nn_safetensors_read(in, &error);
    bool good = file && nn_safetensors_write(out, file->tensors, file->count, file->metadata,
                                             file->metadata_count, &error);
    nn_safetensors_free(file);
    return good;
}

static bool load_save(const char *in, const char *out, ag_dtype dtype)
{
    ag_tape *tape = ag_tape_new(dtype);
    nn_params *params = nn_params_new(tape, 0);
    nn_safetensors *file = nn_safetensors_read(in, &error);
    for (size_t i = 0; file && i < file->count; i++)
        nn_parameter(params, file->tensors[i].name, file->tensors[i].shape);
    bool good =
        file && nn_load_safetensors(params, in, &error) && nn_save_safetensors(params, out, &error);
    nn_safetensors_free(file);
    ag_tape_free(tape);
    return good;
}

static bool copy_npy(const char *in, const char *out)
{
    nn_array array;
    bool read = nn_npy_read(&array, AG_F64, in, &error);
    bool good = read && nn_npy_write(&array, out, &error);
    if (read)
        nn_array_free(&array);
    return good;
}

static bool idx_to_npy(const char *in, const char *out)
{
    nn_array array;
    bool read = nn_idx_read(&array, AG_F32, in, &error);
    bool good = read && nn_npy_write(&array, out, &error);
    if (read)
        nn_array_free(&array);
    return good;
}

static bool copy_npz(const char *in, const char *out)
{
    enum { MOST = 100 };
    const char *names[MOST];
    nn_array arrays[MOST];
    size_t read = 0;
    nn_npz *npz = nn_npz_read(in, &error);
    size_t count = npz ? nn_npz_count(npz) : 0;
    bool good = npz && count <= MOST;
    for (; good && read < count; read += good) {
        names[read] = nn_npz_name(npz, read);
        good = nn_npz_get(npz, names[read], &arrays[read], AG_F64, &error);
    }
    good = good && nn_npz_write(names, arrays, count, out, &error);
    while (read > 0)
        nn_array_free(&arrays[--read]);
    nn_npz_free(npz);
    return good;
}

/* ---- Saves that get killed ---- */

static nn_checkpoint network(ag_tape *tape)
{
    nn_params *params = nn_params_new(tape, 0);
    nn_parameter(params, "w", AG_SHAPE(130, 130));
    return (nn_checkpoint){.params = params, .optimizer = nn_optimizer_new(params, nn_adamw(0.01))};
}

static bool save_forever(const char *path)
{
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_checkpoint checkpoint = network(tape);
    while (nn_init_constant(nn_params_at(checkpoint.params, 0), (double)++checkpoint.step) &&
           nn_save_checkpoint(&checkpoint, path, &error)) {
        printf("%llu\n", (unsigned long long)checkpoint.step);
        fflush(stdout);
    }
    ag_tape_free(tape);
    return false;
}

/* Prints its step. */
static bool check(const char *path)
{
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_checkpoint checkpoint = network(tape);
    bool good = nn_load_checkpoint(&checkpoint, path, &error);
    const float *w = good ? ag_data_f32(nn_params_at(checkpoint.params, 0)) : NULL;
    for (int i = 0; good && i < 130 * 130; i++)
        if (w[i] != (float)checkpoint.step)
            good = nn_fail(&error, "%s: element %d is of another save", path, i);
    if (good)
        printf("%llu\n", (unsigned long long)checkpoint.step);
    ag_tape_free(tape);
    return good;
}

int main(int count, char **argument)
{
    const char *what = count > 2 ? argument[1] : "", *in = count > 2 ? argument[2] : "";
    const char *out = count > 3 ? argument[3] : "";
    bool good = false;
    if (strcmp(what, "copy-safetensors") == 0)
        good = copy_safetensors(in, out);
    else if (strcmp(what, "load-save") == 0)
        good = load_save(in, out, count > 4 ? AG_F64 : AG_F32);
    else if (strcmp(what, "npy") == 0)
        good = copy_npy(in, out);
    else if (strcmp(what, "npz") == 0)
        good = copy_npz(in, out);
    else if (strcmp(what, "idx") == 0)
        good = idx_to_npy(in, out);
    else if (strcmp(what, "save-forever") == 0)
        good = save_forever(in);
    else if (strcmp(what, "check") == 0)
        good = check(in);
    else
        nn_fail(&error, "file_tool: unknown command '%s'", what);
    if (!good)
        fprintf(stderr, "%s\n", error.text);
    return !good;
}
