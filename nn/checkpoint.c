/* Checkpoints: everything a training run is made of, in one safetensors file.
 *
 * One list of items (a name, a type, a shape and where the values are) serves saving and loading,
 * so the two cannot disagree. Numbers go through a snapshot: on loading it is filled and judged
 * before anything of the caller's is touched. All are kept as tensors, U64 or of the tape's type,
 * since only so they come back bit by bit whatever the locale. */
#include "bytes.h"
#include "optimizer.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT "tapegrad checkpoint 1"

struct snapshot {
    uint64_t step, method, nesterov, rows;
    nn_options options;
    nn_position position;
    ag_rng params_rng, tape_rng;
};

struct item {
    nn_stored stored; /* owns the name */
    void *target;     /* U64 or F64 numbers; or NULL and */
    ag_tensor tensor;
};

struct list {
    struct item *item;
    size_t count, capacity;
    size_t own;  /* the first ones, whose target is the snapshot */
    bool failed; /* out of memory */
};

/* ---- The list ---- */

static struct item *add(struct list *list, const char *a, const char *b, int number)
{
    size_t size = strlen(a) + strlen(b) + 16;
    if (list->count == list->capacity && !list->failed) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct item *item = realloc(list->item, capacity * sizeof *item);
        list->failed = !item;
        list->item = item ? item : list->item;
        list->capacity = item ? capacity : list->capacity;
    }
    char *name = list->failed ? NULL : malloc(size);
    if (!name) {
        list->failed = true;
        return NULL;
    }
    if (number < 0)
        snprintf(name, size, "%s%s", a, b);
    else
        snprintf(name, size, "%s%s/%d", a, b, number);
    struct item *item = &list->item[list->count++];
    *item = (struct item){.stored.name = name};
    return item;
}

static void add_numbers(struct list *list, const char *a, const char *b, const char *dtype,
                        void *values, size_t count, bool scalar)
{
    struct item *item = add(list, a, b, -1);
    if (!item)
        return;
    item->stored.dtype = dtype;
    item->stored.shape = scalar ? AG_SCALAR : AG_SHAPE((int64_t)count);
    item->stored.data = item->target = values;
    item->stored.size = 8 * count;
}

static void add_u64(struct list *list, const char *name, uint64_t *value)
{
    add_numbers(list, "training/", name, "U64", value, 1, true);
}

static void add_f64(struct list *list, const char *name, double *value)
{
    add_numbers(list, "training/", name, "F64", value, 1, true);
}

static void add_rng(struct list *list, const char *name, ag_rng *rng)
{
    add_numbers(list, "training/", name, "U64", rng->state, 4, false);
}

static void add_tensor(struct list *list, const char *a, const char *b, int number, ag_tensor x)
{
    struct item *item = add(list, a, b, number);
    if (!item)
        return;
    const char *name = item->stored.name;
    item->stored = nn_stored_tensor(x, name);
    item->tensor = x;
}

static void free_list(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->item[i].stored.name;
        char *own;
        memcpy(&own, &name, sizeof own);
        free(own);
    }
    free(list->item);
}

/* ---- What is in a checkpoint ---- */

static void list_snapshot(struct list *list, const nn_checkpoint *c, struct snapshot *s)
{
    nn_options *o = &s->options;
    add_u64(list, "step", &s->step);
    add_rng(list, "params/rng", &s->params_rng);
    add_rng(list, "tape/rng", &s->tape_rng);
    if (c->optimizer) {
        add_u64(list, "optimizer/method", &s->method);
        add_u64(list, "optimizer/nesterov", &s->nesterov);
        add_f64(list, "optimizer/rate", &o->rate);
        add_f64(list, "optimizer/momentum", &o->momentum);
        add_f64(list, "optimizer/beta1", &o->beta1);
        add_f64(list, "optimizer/beta2", &o->beta2);
        add_f64(list, "optimizer/epsilon", &o->epsilon);
        add_f64(list, "optimizer/weight_decay", &o->weight_decay);
        add_f64(list, "optimizer/clip_norm", &o->clip_norm);
    }
    if (c->batches) {
        add_u64(list, "batches/rows", &s->rows);
        add_u64(list, "batches/epoch", &s->position.epoch);
        add_u64(list, "batches/offset", &s->position.offset);
        add_rng(list, "batches/rng", &s->position.rng);
    }
}

static void list_numbers(struct list *list, const nn_checkpoint *c)
{
    for (size_t i = 0; i < c->numbers_count; i++)
        add_numbers(list, "training/numbers/", c->numbers[i].name, "F64", c->numbers[i].values,
                    c->numbers[i].count, false);
}

static bool list_optimizer(struct list *list, const nn_checkpoint *c)
{
    for (size_t i = 0; i < nn_params_count(c->params); i++) {
        const char *name = ag_name_of(nn_params_at(c->params, i));
        uint64_t *step;
        int count;
        const ag_tensor *state = nn_optimizer_state(c->optimizer, i, &count, &step);
        if (!state)
            return false;
        add_numbers(list, "training/optimizer/step/", name, "U64", step, 1, true);
        for (int k = 0; k < count; k++)
            add_tensor(list, "training/optimizer/state/", name, k, state[k]);
    }
    return true;
}

static void list_tensors(struct list *list, const char *prefix, const nn_params *params)
{
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        add_tensor(list, prefix, ag_name_of(w), -1, w);
    }
}

static bool list_all(struct list *list, const nn_checkpoint *c, struct snapshot *s,
                     const char *path, nn_error *error)
{
    if (!nn_usable(c->params, path, error))
        return false;
    list_snapshot(list, c, s);
    list->own = list->count;
    list_numbers(list, c);
    if (c->optimizer && !list_optimizer(list, c))
        return nn_usable(c->params, path, error) &&
               nn_fail(error, "%s: the optimiser was made before all of the parameters",
                       nn_shown(path));
    list_tensors(list, "training/average/", c->average);
    list_tensors(list, "training/best/", c->best);
    list_tensors(list, "", c->params);
    return list->failed ? nn_fail(error, "%s: out of memory", nn_shown(path)) : true;
}

static void take_snapshot(struct snapshot *s, const nn_checkpoint *c)
{
    *s = (struct snapshot){.step = c->step,
                           .params_rng = *nn_params_rng(c->params),
                           .tape_rng = *ag_tape_rng(nn_params_tape(c->params))};
    if (c->optimizer)
        s->options = nn_optimizer_options(c->optimizer);
    s->method = s->options.method;
    s->nesterov = s->options.nesterov;
    if (c->batches) {
        s->rows = c->batches->count;
        s->position = c->batches->position;
    }
}

/* ---- Saving ---- */

bool nn_save_checkpoint(const nn_checkpoint *c, const char *path, nn_error *error)
{
    static const nn_metadata metadata = {"format", FORMAT};
    struct snapshot s;
    struct list list = {0};
    if (!nn_usable(c->params, path, error))
        return false;
    take_snapshot(&s, c);
    bool good = list_all(&list, c, &s, path, error);
    nn_stored *tensors = good ? malloc(list.count * sizeof *tensors) : NULL;
    if (good && !tensors)
        nn_fail(error, "%s: out of memory", nn_shown(path));
    for (size_t i = 0; i < list.count && tensors; i++)
        tensors[i] = list.item[i].stored;
    good = tensors && nn_safetensors_write(path, tensors, list.count, &metadata, 1, error);
    free(tensors);
    free_list(&list);
    return good;
}

/* ---- Loading ---- */

static bool check_format(const nn_safetensors *file, const char *path, nn_error *error)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, "format") == 0 &&
            strcmp(file->metadata[i].value, FORMAT) == 0)
            return true;
    return nn_fail(error, "%s: not a checkpoint: its metadata lacks format '" FORMAT "'",
                   nn_shown(path));
}

/* Every item is there as it must be, and nothing else. */
static bool check_items(const struct list *list, const nn_safetensors *file, const char *path,
                        nn_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        const nn_stored *wanted = &list->item[i].stored;
        const nn_stored *t = nn_safetensors_find(file, wanted->name);
        if (!t)
            return nn_fail(error, "%s: there is no tensor '%.80s'", nn_shown(path), wanted->name);
        if (strcmp(t->dtype, wanted->dtype) != 0)
            return nn_fail(error, "%s: tensor '%.80s' is %s; it must be %s", nn_shown(path),
                           t->name, t->dtype, wanted->dtype);
        if (!nn_check_shape(t, &wanted->shape, path, error))
            return false;
    }
    for (size_t i = 0; i < file->count; i++) {
        size_t k = 0;
        while (k < list->count && strcmp(file->tensors[i].name, list->item[k].stored.name) != 0)
            k++;
        if (k == list->count)
            return nn_fail(error, "%s: tensor '%.80s' has no place in this training",
                           nn_shown(path), file->tensors[i].name);
    }
    return true;
}

static void load_numbers(const struct item *item, const nn_safetensors *file)
{
    const nn_stored *t = nn_safetensors_find(file, item->stored.name);
    for (size_t i = 0; i < t->size / 8; i++) {
        uint64_t bits = nn_integer_at((const unsigned char *)t->data + 8 * i, 8, false);
        memcpy((unsigned char *)item->target + 8 * i, &bits, 8);
    }
}

static bool rng_alive(const ag_rng *rng)
{
    return rng->state[0] | rng->state[1] | rng->state[2] | rng->state[3];
}

static bool judge(struct snapshot *s, const nn_checkpoint *c, const char *path, nn_error *error)
{
    const char *file = nn_shown(path);
    if (!rng_alive(&s->params_rng) || !rng_alive(&s->tape_rng) ||
        (c->batches && !rng_alive(&s->position.rng)))
        return nn_fail(error, "%s: the state of a generator is all zeros", file);
    if (c->optimizer && s->method != nn_optimizer_options(c->optimizer).method)
        return nn_fail(error, "%s: its optimiser's method is %llu; here it is %d (see nn_method)",
                       file, (unsigned long long)s->method,
                       (int)nn_optimizer_options(c->optimizer).method);
    if (c->batches && s->rows != c->batches->count)
        return nn_fail(error, "%s: it was trained on %llu rows; here are %zu", file,
                       (unsigned long long)s->rows, c->batches->count);
    if (c->batches && s->position.offset > s->rows)
        return nn_fail(error, "%s: position %llu lies beyond the last of %llu rows", file,
                       (unsigned long long)s->position.offset, (unsigned long long)s->rows);
    return true;
}

/* The last that may refuse. */
static bool set_options(struct snapshot *s, const nn_checkpoint *c, const char *path,
                        nn_error *error)
{
    ag_tape *tape = nn_params_tape(c->params);
    if (!c->optimizer)
        return true;
    s->options.method = (nn_method)s->method;
    s->options.nesterov = s->nesterov != 0;
    if (nn_optimizer_set_options(c->optimizer, s->options))
        return true;
    nn_fail(error, "%s: %.300s", nn_shown(path), ag_error(tape));
    ag_clear_error(tape);
    return false;
}

static void apply(const struct snapshot *s, nn_checkpoint *c)
{
    c->step = s->step;
    *nn_params_rng(c->params) = s->params_rng;
    *ag_tape_rng(nn_params_tape(c->params)) = s->tape_rng;
    if (c->batches)
        nn_batches_seek(c->batches, &s->position, NULL);
}

/* First into the snapshot; once it has been judged, the rest into what is the caller's. */
static bool load(nn_checkpoint *c, const struct list *list, struct snapshot *s,
                 const nn_safetensors *file, const char *path, nn_error *error)
{
    size_t most = 0;
    for (size_t i = 0; i < list->count; i++)
        most = list->item[i].stored.size > most ? list->item[i].stored.size : most;
    for (size_t i = 0; i < list->own; i++)
        load_numbers(&list->item[i], file);
    double *scratch = malloc(2 * most + 1); /* of F32, doubles take twice the bytes */
    if (!scratch)
        return nn_fail(error, "%s: out of memory", nn_shown(path));
    bool good = judge(s, c, path, error) && set_options(s, c, path, error);
    for (size_t i = list->own; i < list->count && good; i++) {
        const struct item *item = &list->item[i];
        if (item->target || !item->stored.size) {
            load_numbers(item, file);
            continue;
        }
        nn_stored_values(nn_safetensors_find(file, item->stored.name), scratch);
        ag_set_f64(item->tensor, scratch, (size_t)ag_count(item->tensor));
    }
    if (good)
        apply(s, c);
    free(scratch);
    return good && nn_usable(c->params, path, error);
}

bool nn_load_checkpoint(nn_checkpoint *c, const char *path, nn_error *error)
{
    struct snapshot s = {0};
    struct list list = {0};
    if (!nn_usable(c->params, path, error))
        return false;
    nn_safetensors *file = nn_safetensors_read(path, error);
    bool good = file && check_format(file, path, error) && list_all(&list, c, &s, path, error) &&
                check_items(&list, file, path, error) && load(c, &list, &s, file, path, error);
    free_list(&list);
    nn_safetensors_free(file);
    return good;
}
