/* Checkpoints: everything a training run is made of, in one safetensors file.
 *
 * Numbers go through a snapshot: on loading it is filled and judged before anything of the caller's
 * is touched. All are kept as tensors, U64 or of the tape's type, since only so they come back bit
 * by bit whatever the locale. */
#include <stddef.h>
#include <string.h>

#include "bytes.h"
#include "parts.h"

#define FORMAT "tapegrad checkpoint 1"

struct snapshot {
    uint64_t step, method, nesterov, rows;
    nn_options options;
    nn_position position;
    ag_rng params_rng, tape_rng;
};

/* What of a snapshot is in the file, and when. */
enum part { ALWAYS, OPTIMIZER, BATCHES };

static const struct field {
    const char *name, *dtype;
    int64_t count; /* 0: a scalar */
    size_t offset;
    enum part part;
} fields[] = {
    {"step", "U64", 0, offsetof(struct snapshot, step), ALWAYS},
    {"params/rng", "U64", 4, offsetof(struct snapshot, params_rng.state), ALWAYS},
    {"tape/rng", "U64", 4, offsetof(struct snapshot, tape_rng.state), ALWAYS},
    {"optimizer/method", "U64", 0, offsetof(struct snapshot, method), OPTIMIZER},
    {"optimizer/nesterov", "U64", 0, offsetof(struct snapshot, nesterov), OPTIMIZER},
    {"optimizer/rate", "F64", 0, offsetof(struct snapshot, options.rate), OPTIMIZER},
    {"optimizer/momentum", "F64", 0, offsetof(struct snapshot, options.momentum), OPTIMIZER},
    {"optimizer/beta1", "F64", 0, offsetof(struct snapshot, options.beta1), OPTIMIZER},
    {"optimizer/beta2", "F64", 0, offsetof(struct snapshot, options.beta2), OPTIMIZER},
    {"optimizer/epsilon", "F64", 0, offsetof(struct snapshot, options.epsilon), OPTIMIZER},
    {"optimizer/weight_decay", "F64", 0, offsetof(struct snapshot, options.weight_decay),
     OPTIMIZER},
    {"optimizer/clip_norm", "F64", 0, offsetof(struct snapshot, options.clip_norm), OPTIMIZER},
    {"batches/rows", "U64", 0, offsetof(struct snapshot, rows), BATCHES},
    {"batches/epoch", "U64", 0, offsetof(struct snapshot, position.epoch), BATCHES},
    {"batches/offset", "U64", 0, offsetof(struct snapshot, position.offset), BATCHES},
    {"batches/rng", "U64", 4, offsetof(struct snapshot, position.rng.state), BATCHES},
};

/* ---- What is in a checkpoint ---- */

static bool list_optimizer(struct nn_list *list, const nn_checkpoint *c)
{
    for (size_t i = 0; i < nn_params_count(c->params); i++) {
        const char *name = ag_name_of(nn_params_at(c->params, i));
        uint64_t *step;
        int count;
        const ag_tensor *state = nn_optimizer_state(c->optimizer, i, &count, &step);
        if (!state)
            return false;
        nn_list_words(list, "training/optimizer/step/", name, "U64", step, AG_SCALAR);
        for (int k = 0; k < count; k++)
            nn_list_tensor(list, "training/optimizer/state/", name, k, state[k]);
    }
    return true;
}

/* How many of these there are: in the file, when loading. */
static size_t count_of(const nn_numbers *numbers, const nn_safetensors *file)
{
    const char *prefix = "training/numbers/";
    size_t length = strlen(prefix);
    for (size_t i = 0; numbers->most && file && i < file->count; i++) {
        const nn_stored *t = &file->tensors[i];
        if (strncmp(t->name, prefix, length) == 0 && strcmp(t->name + length, numbers->name) == 0)
            return t->size / 8 < numbers->most ? t->size / 8 : numbers->most;
    }
    return numbers->count;
}

/* What goes into the snapshot comes first, *own many, and then numbers. The file: when loading. */
static bool list_all(struct nn_list *list, size_t *own, const nn_checkpoint *c, struct snapshot *s,
                     const nn_safetensors *file, const struct nn_source *source)
{
    const bool parts[] = {true, c->optimizer, c->batches};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (parts[fields[i].part])
            nn_list_words(list, "training/", fields[i].name, fields[i].dtype,
                          (char *)s + fields[i].offset,
                          fields[i].count ? AG_SHAPE(fields[i].count) : AG_SCALAR);
    *own = list->count;
    for (size_t i = 0; i < c->numbers_count; i++) {
        const nn_numbers *n = c->numbers ? &c->numbers[i] : &(nn_numbers){0};
        if (!nn_given(source->error, "numbers", n->name && (n->values || !(n->count + n->most))))
            return false;
        nn_list_words(list, "training/numbers/", n->name, "F64", n->values,
                      AG_SHAPE((int64_t)count_of(n, file)));
    }
    if (c->optimizer && !list_optimizer(list, c))
        return nn_usable(c->params, source) &&
               nn_refuse(source, "the optimiser was made before all of the parameters");
    nn_list_params(list, "training/average/", c->average);
    nn_list_params(list, "training/best/", c->best);
    nn_list_params(list, "", c->params);
    return nn_list_finish(list, source);
}

/* ---- Saving ---- */

bool nn_save_checkpoint(const nn_checkpoint *c, const char *path, nn_error *error)
{
    static const nn_metadata metadata = {"format", FORMAT};
    const struct nn_source source = {path, error};
    struct nn_list list = {0};
    size_t own;
    if (!nn_given(error, "checkpoint", c) || !nn_usable(c->params, &source))
        return false;
    struct snapshot s = {.step = c->step,
                         .params_rng = *nn_params_rng(c->params),
                         .tape_rng = *ag_tape_rng(nn_params_tape(c->params))};
    if (c->optimizer)
        s.options = nn_optimizer_options(c->optimizer);
    s.method = s.options.method;
    s.nesterov = s.options.nesterov;
    if (c->batches) {
        s.rows = c->batches->count;
        s.position = c->batches->position;
    }
    bool good = list_all(&list, &own, c, &s, NULL, &source) &&
                nn_safetensors_write(path, list.stored, list.count, &metadata, 1, error);
    nn_list_free(&list);
    return good;
}

/* ---- Loading ---- */

static bool check_format(const nn_safetensors *file, const struct nn_source *source)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, "format") == 0 &&
            strcmp(file->metadata[i].value, FORMAT) == 0)
            return true;
    return nn_refuse(source, "not a checkpoint: its metadata lacks format '" FORMAT "'");
}

static bool rng_alive(const ag_rng *rng)
{
    return rng->state[0] | rng->state[1] | rng->state[2] | rng->state[3];
}

static bool judge(const struct snapshot *s, const nn_checkpoint *c, const struct nn_source *source)
{
    if (!rng_alive(&s->params_rng) || !rng_alive(&s->tape_rng) ||
        (c->batches && !rng_alive(&s->position.rng)))
        return nn_refuse(source, "the state of a generator is all zeros");
    if (c->optimizer && s->method != nn_optimizer_options(c->optimizer).method)
        return nn_refuse(source, "its optimiser's method is %llu; here it is %d (see nn_method)",
                         (unsigned long long)s->method,
                         (int)nn_optimizer_options(c->optimizer).method);
    if (c->batches && s->rows != c->batches->count)
        return nn_refuse(source, "it was trained on %llu rows; here are %zu",
                         (unsigned long long)s->rows, c->batches->count);
    if (c->batches && s->position.offset > s->rows)
        return nn_refuse(source, "position %llu lies beyond the last of %llu rows",
                         (unsigned long long)s->position.offset, (unsigned long long)s->rows);
    return true;
}

static bool check_fixed(const nn_numbers *numbers, const nn_stored *t,
                        const struct nn_source *source)
{
    for (size_t i = 0; numbers->fixed && i < numbers->count; i++) {
        uint64_t bits = nn_integer_at((const unsigned char *)t->data + 8 * i, 8, false);
        double then;
        memcpy(&then, &bits, sizeof then);
        if (then != numbers->values[i])
            return nn_refuse(source, "training began with another %s: %.10g, here %.10g",
                             numbers->name, then, numbers->values[i]);
    }
    return true;
}

/* The last that may refuse. */
static bool set_options(struct snapshot *s, const nn_checkpoint *c, const struct nn_source *source)
{
    ag_tape *tape = nn_params_tape(c->params);
    s->options.method = (nn_method)s->method;
    s->options.nesterov = s->nesterov != 0;
    if (!c->optimizer || nn_optimizer_set_options(c->optimizer, s->options))
        return true;
    nn_refuse(source, "%.300s", ag_error(tape));
    ag_clear_error(tape);
    return false;
}

/* First into the snapshot; once it has been judged, the rest into what is the caller's. */
static bool load(nn_checkpoint *c, const nn_safetensors *file, const struct nn_source *source)
{
    struct snapshot s = {0};
    struct nn_list list = {0};
    size_t own;
    bool good = list_all(&list, &own, c, &s, file, source) &&
                nn_list_check(&list, file, false, "has no place in this training", source);
    for (size_t i = 0; i < c->numbers_count && good; i++)
        good = check_fixed(&c->numbers[i], nn_safetensors_find(file, list.stored[own + i].name),
                           source);
    if (good)
        nn_list_load(&list, 0, own, file);
    good = good && judge(&s, c, source) && set_options(&s, c, source);
    if (good) {
        nn_list_load(&list, own, list.count, file);
        for (size_t i = 0; i < c->numbers_count; i++)
            c->numbers[i].count = list.stored[own + i].size / 8;
        c->step = s.step;
        *nn_params_rng(c->params) = s.params_rng;
        *ag_tape_rng(nn_params_tape(c->params)) = s.tape_rng;
    }
    if (good && c->batches)
        nn_batches_seek(c->batches, &s.position, NULL);
    nn_list_free(&list);
    return good && nn_usable(c->params, source);
}

bool nn_load_checkpoint(nn_checkpoint *c, const char *path, nn_error *error)
{
    const struct nn_source source = {path, error};
    if (!nn_given(error, "checkpoint", c) || !nn_usable(c->params, &source))
        return false;
    nn_safetensors *file = nn_safetensors_read(path, error);
    bool good = file && check_format(file, &source) && load(c, file, &source);
    nn_safetensors_free(file);
    return good;
}
