/* Lists of what a file holds, each with where its values come from and go to: one list serves
 * saving and loading, so the two cannot disagree. A network's weights are such a list; checkpoint.c
 * makes longer ones. Loading checks everything before it sets anything. */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

bool nn_usable(const nn_params *params, const struct nn_source *source)
{
    const char *problem = ag_error(nn_params_tape(params));
    return !problem ||
           nn_refuse(source, "neither saved nor loaded after an error: %.300s", problem);
}

/* ---- The list ---- */

static void add(struct nn_list *list, const char *prefix, const char *name, int number,
                const nn_stored *stored, const struct nn_place *place)
{
    struct nn_place named = *place;
    named.name = list->names.size;
    nn_bytes_print(&list->names, number < 0 ? "%s%s" : "%s%s/%d", prefix, name, number);
    nn_bytes_append(&list->names, "", 1);
    nn_bytes_append(&list->stored_bytes, stored, sizeof *stored);
    nn_bytes_append(&list->place_bytes, &named, sizeof named);
    list->stored = (nn_stored *)(void *)list->stored_bytes.at;
    list->place = (struct nn_place *)(void *)list->place_bytes.at;
    list->count = list->place_bytes.size / sizeof named;
}

void nn_list_words(struct nn_list *list, const char *prefix, const char *name, const char *dtype,
                   void *words, ag_shape shape)
{
    size_t size;
    nn_shape_bytes(&shape, 8, &size);
    add(list, prefix, name, -1,
        &(nn_stored){.dtype = dtype, .shape = shape, .data = words, .size = size},
        &(struct nn_place){.words = words});
}

void nn_list_tensor(struct nn_list *list, const char *prefix, const char *name, int number,
                    ag_tensor x)
{
    bool single = ag_tape_dtype(x.tape) == AG_F32;
    nn_stored stored = {.dtype = single ? "F32" : "F64",
                        .shape = ag_shape_of(x),
                        .data = single ? (const void *)ag_data_f32(x) : ag_data_f64(x)};
    nn_shape_bytes(&stored.shape, single ? sizeof(float) : sizeof(double), &stored.size);
    add(list, prefix, name, number, &stored, &(struct nn_place){.tensor = x});
}

void nn_list_params(struct nn_list *list, const char *prefix, const nn_params *params)
{
    for (size_t i = 0; i < nn_params_count(params); i++) {
        ag_tensor w = nn_params_at(params, i);
        nn_list_tensor(list, prefix, ag_name_of(w), -1, w);
    }
}

bool nn_list_finish(struct nn_list *list, const struct nn_source *source)
{
    if (list->stored_bytes.failed || list->place_bytes.failed || list->names.failed)
        return nn_out_of_memory(source);
    for (size_t i = 0; i < list->count; i++)
        list->stored[i].name = (char *)list->names.at + list->place[i].name;
    return true;
}

void nn_list_free(struct nn_list *list)
{
    nn_bytes_free(&list->stored_bytes);
    nn_bytes_free(&list->place_bytes);
    nn_bytes_free(&list->names);
}

/* ---- Loading ---- */

static bool check_item(const nn_stored *t, const nn_stored *wanted, bool convert,
                       const struct nn_source *source)
{
    char is[NN_SHAPE_TEXT], must[NN_SHAPE_TEXT];
    struct nn_element element;
    if (!t)
        return nn_refuse(source, "there is no tensor '%.80s'", wanted->name);
    bool real = nn_stored_element(t, &element) && strchr("fB", element.kind);
    if (convert ? !real : strcmp(t->dtype, wanted->dtype) != 0)
        return nn_refuse(source, "tensor '%.80s' is %s; it must be %s", t->name, t->dtype,
                         convert ? "F16, BF16, F32 or F64" : wanted->dtype);
    if (!nn_same_shape(&t->shape, &wanted->shape))
        return nn_refuse(source, "tensor '%.80s' has the shape %s; it must be %s", t->name,
                         nn_shape_print(is, &t->shape), nn_shape_print(must, &wanted->shape));
    return true;
}

bool nn_list_check(const struct nn_list *list, const nn_safetensors *file, bool convert,
                   const char *extra, const struct nn_source *source)
{
    for (size_t i = 0; i < list->count; i++) {
        const nn_stored *wanted = &list->stored[i];
        if (!check_item(nn_safetensors_find(file, wanted->name), wanted, convert, source))
            return false;
    }
    for (size_t i = 0; i < file->count && extra && file->count > list->count; i++) {
        const char *name = file->tensors[i].name;
        size_t k = 0;
        while (k < list->count && strcmp(name, list->stored[k].name) != 0)
            k++;
        if (k == list->count)
            return nn_refuse(source, "tensor '%.80s' %s", name, extra);
    }
    return true;
}

struct values {
    struct nn_element element;
    const unsigned char *at;
};

static double next_value(void *context)
{
    struct values *values = context;
    values->at += values->element.size;
    return nn_element_at(&values->element, values->at - values->element.size);
}

void nn_list_load(const struct nn_list *list, size_t from, size_t to, const nn_safetensors *file)
{
    for (size_t i = from; i < to; i++) {
        const struct nn_place *place = &list->place[i];
        const nn_stored *t = nn_safetensors_find(file, list->stored[i].name);
        struct values values = {.at = t->data};
        for (size_t k = 0; place->words && k < t->size / 8; k++) {
            uint64_t word = nn_integer_at(values.at + 8 * k, 8, false);
            memcpy((unsigned char *)place->words + 8 * k, &word, 8);
        }
        if (!place->words && nn_stored_element(t, &values.element))
            ag_set_each(place->tensor, next_value, &values);
    }
}

/* ---- Weights ---- */

bool nn_save_safetensors(const nn_params *params, const char *path, nn_error *error)
{
    const struct nn_source source = {path, error};
    struct nn_list list = {0};
    if (!nn_usable(params, &source))
        return false;
    nn_list_params(&list, "", params);
    bool good = nn_list_finish(&list, &source) &&
                nn_safetensors_write(path, list.stored, list.count, NULL, 0, error);
    nn_list_free(&list);
    return good;
}

bool nn_load_safetensors_with(nn_params *params, const char *path, unsigned flags, nn_error *error)
{
    const struct nn_source source = {path, error};
    const char *extra = flags & NN_ALLOW_EXTRA ? NULL : "is no parameter here";
    struct nn_list list = {0};
    if (!nn_usable(params, &source))
        return false;
    nn_safetensors *file = nn_safetensors_read(path, error);
    nn_list_params(&list, "", params);
    bool good =
        file && nn_list_finish(&list, &source) && nn_list_check(&list, file, true, extra, &source);
    if (good)
        nn_list_load(&list, 0, list.count, file);
    nn_list_free(&list);
    nn_safetensors_free(file);
    return good && nn_usable(params, &source);
}

bool nn_load_safetensors(nn_params *params, const char *path, nn_error *error)
{
    return nn_load_safetensors_with(params, path, 0, error);
}
