#include "weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 2 * (MAX_HIDDEN + 1) + 4, KEPT = 8 };

static bool refused(const nn_error *error)
{
    fprintf(stderr, "housing_mlp: %s\n", error->text);
    return false;
}

static bool uses_files(const struct options *o)
{
    return o->save || o->load || o->resume;
}

/* ---- How data is standardised, as buffers beside the weights ---- */

static ag_tensor scaler_part(struct trainer *t, const char *name, const double *values,
                             size_t count)
{
    ag_tensor buffer = nn_buffer(t->params, name, AG_SHAPE((int64_t)count));
    ag_set_f64(buffer, values, count);
    return buffer;
}

bool weights_prepare(struct trainer *t)
{
    const struct houses *houses = t->houses;
    if (!uses_files(t->options))
        return true;
    t->scaler[0] = scaler_part(t, "features.mean", houses->features.mean, FEATURES);
    t->scaler[1] = scaler_part(t, "features.scale", houses->features.scale, FEATURES);
    t->scaler[2] = scaler_part(t, "price.mean", houses->price.mean, 1);
    t->scaler[3] = scaler_part(t, "price.scale", houses->price.scale, 1);
    return !ag_error(t->tape);
}

/* Whether two buffers hold this scaler, but for rounding to float. */
static bool same_scaler(const nn_scaler *scaler, ag_tensor mean, ag_tensor scale)
{
    const float *m = ag_data_f32(mean), *s = ag_data_f32(scale);
    for (size_t i = 0; i < scaler->columns; i++)
        if (m[i] != (float)scaler->mean[i] || s[i] != (float)scaler->scale[i])
            return false;
    return true;
}

/* Standardises x (rows, columns) by the buffers instead. */
static bool change_scaler(nn_scaler *scaler, ag_tensor mean, ag_tensor scale, double *x,
                          size_t rows, nn_error *error)
{
    const float *m = ag_data_f32(mean), *s = ag_data_f32(scale);
    for (size_t i = 0; i < scaler->columns; i++)
        if (!isfinite(m[i]) || !isfinite(s[i]) || s[i] <= 0.0F)
            return nn_fail(error,
                           "%s and %s: %g and %g; they must be finite, and the scale positive",
                           ag_name_of(mean), ag_name_of(scale), (double)m[i], (double)s[i]);
    if (same_scaler(scaler, mean, scale))
        return true;
    nn_scaler_invert(scaler, x, rows);
    ag_get_f64(mean, scaler->mean, scaler->columns);
    ag_get_f64(scale, scaler->scale, scaler->columns);
    nn_scaler_apply(scaler, x, rows);
    return true;
}

/* ---- Weights ---- */

static bool fits_activation(const char *path, const char *activation, nn_error *error)
{
    nn_safetensors *file = nn_safetensors_read(path, error);
    bool good = file != NULL;
    for (size_t i = 0; good && i < file->metadata_count; i++)
        if (!strcmp(file->metadata[i].key, "activation") &&
            strcmp(file->metadata[i].value, activation) != 0)
            good = nn_fail(error, "%s: the weights want --activation %.40s", path,
                           file->metadata[i].value);
    nn_safetensors_free(file);
    return good;
}

static bool load(struct trainer *t, struct houses *houses, nn_error *error)
{
    const char *path = t->options->load;
    nn_table *table = &houses->table;
    nn_error cause;
    if (!fits_activation(path, activation_names[t->options->activation], error) ||
        !nn_load_safetensors(t->params, path, error))
        return false;
    return (change_scaler(&houses->features, t->scaler[0], t->scaler[1], table->x, table->rows,
                          &cause) &&
            change_scaler(&houses->price, t->scaler[2], t->scaler[3], table->y, table->rows,
                          &cause)) ||
           nn_fail(error, "%s: %s", path, cause.text);
}

bool weights_save(const struct trainer *t, const char *path)
{
    nn_stored tensors[MOST_TENSORS];
    size_t count = nn_params_count(t->params);
    const nn_metadata metadata = {"activation", activation_names[t->options->activation]};
    nn_error error;
    for (size_t i = 0; i < count; i++) {
        ag_tensor w = nn_params_at(t->params, i);
        tensors[i] = (nn_stored){.name = ag_name_of(w),
                                 .dtype = "F32",
                                 .shape = ag_shape_of(w),
                                 .data = ag_data_f32(w),
                                 .size = (size_t)ag_count(w) * sizeof(float)};
    }
    return nn_safetensors_write(path, tensors, count, &metadata, 1, &error) || refused(&error);
}

/* ---- Checkpoints ---- */

/* What must be the same when training goes on, beside the network and the data. Where the rate is
 * constant, the schedule's length is of no account. */
static const char *const kept_names[KEPT] = {"--activation",   "--batch",    "--lr",
                                             "--weight-decay", "--schedule", "--schedule-epochs",
                                             "--warmup",       "--seed"};

static void keep_options(const struct options *o, double kept[KEPT])
{
    double length = o->schedule == NN_CONSTANT ? 0.0 : (double)o->schedule_epochs;
    const double values[KEPT] = {o->activation,     (double)o->batch, o->rate,
                                 o->weight_decay,   o->schedule,      length,
                                 (double)o->warmup, (double)o->seed};
    memcpy(kept, values, sizeof values);
}

/* Saves to, or loads from, the file of --resume. */
static bool exchange(struct trainer *t, bool save, nn_error *error)
{
    double kept[KEPT];
    nn_numbers numbers[2 + KEPT] = {{"history/train", t->history.train, t->done, t->history.epochs,
                                     false},
                                    {"history/validation", t->history.validation, t->done,
                                     t->history.epochs, false}};
    keep_options(t->options, kept);
    for (size_t i = 0; i < KEPT; i++)
        numbers[2 + i] = (nn_numbers){kept_names[i], &kept[i], 1, 0, true};
    nn_checkpoint checkpoint = {.params = t->params,
                                .optimizer = t->optimizer,
                                .batches = &t->batches,
                                .step = t->step,
                                .numbers = numbers,
                                .numbers_count = sizeof numbers / sizeof *numbers};
    const char *path = t->options->resume;
    bool good = save ? nn_save_checkpoint(&checkpoint, path, error)
                     : nn_load_checkpoint(&checkpoint, path, error);
    t->step = checkpoint.step;
    t->done = numbers[0].count;
    return good;
}

bool weights_checkpoint(struct trainer *t)
{
    nn_error error;
    return exchange(t, true, &error) || refused(&error);
}

/* That the file's history does not have more epochs than are asked for. */
static bool check_epochs(const struct trainer *t, nn_error *error)
{
    const char *path = t->options->resume;
    nn_safetensors *file = nn_safetensors_read(path, error);
    const nn_stored *history =
        file ? nn_safetensors_find(file, "training/numbers/history/train") : NULL;
    size_t done = history ? history->size / sizeof(double) : 0;
    bool good = file && done <= t->history.epochs;
    if (file && !good)
        nn_fail(error, "%s: %zu epochs are done, more than --epochs %zu", path, done,
                t->history.epochs);
    nn_safetensors_free(file);
    return good;
}

static bool resume(struct trainer *t, const struct houses *houses, nn_error *error)
{
    return check_epochs(t, error) && exchange(t, false, error) &&
           ((same_scaler(&houses->features, t->scaler[0], t->scaler[1]) &&
             same_scaler(&houses->price, t->scaler[2], t->scaler[3])) ||
            nn_fail(error, "%s: training began with other data", t->options->resume));
}

static bool exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file)
        fclose(file);
    return file != NULL;
}

bool weights_begin(struct trainer *t, struct houses *houses)
{
    const struct options *o = t->options;
    nn_error error;
    return ((!o->load || load(t, houses, &error)) &&
            (!o->resume || !exists(o->resume) || resume(t, houses, &error))) ||
           refused(&error);
}
