/* The safetensors container, read: see files.h for its rules, which are those of
 * https://github.com/huggingface/safetensors, section "Format".
 *
 * Reading checks in this order: the header's length and encoding; its grammar, tensor by tensor
 * with each one's bytes against its dtype and shape; names, sorted, for twins; ranges, sorted, for
 * holes and overlaps. Only then is anything handed out. */
#include "bytes.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

static const struct dtype {
    const char *name;
    unsigned bits;
    char kind; /* of struct nn_element; 0: its values are not read */
} dtypes[] = {
    {"BOOL", 8, 'b'},      {"U8", 8, 'u'},        {"I8", 8, 'i'},    {"U16", 16, 'u'},
    {"I16", 16, 'i'},      {"U32", 32, 'u'},      {"I32", 32, 'i'},  {"U64", 64, 'u'},
    {"I64", 64, 'i'},      {"F16", 16, 'f'},      {"BF16", 16, 'B'}, {"F32", 32, 'f'},
    {"F64", 64, 'f'},      {"C64", 64, 0},        {"F4", 4, 0},      {"F6_E2M3", 6, 0},
    {"F6_E3M2", 6, 0},     {"F8_E5M2", 8, 0},     {"F8_E4M3", 8, 0}, {"F8_E8M0", 8, 0},
    {"F8_E4M3FNUZ", 8, 0}, {"F8_E5M2FNUZ", 8, 0},
};

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(name, dtypes[i].name) == 0)
            return &dtypes[i];
    return NULL;
}

unsigned nn_dtype_bits(const char *name)
{
    const struct dtype *dtype = find_dtype(name);
    return dtype ? dtype->bits : 0;
}

/* ---- The header ---- */

struct reader {
    nn_safetensors *file;
    struct nn_json json;
    struct nn_bytes tensors, metadata; /* as arrays that grow */
    const char *path;                  /* as shown */
    const unsigned char *data;         /* behind the header */
    size_t data_size;
    nn_error *error;
};

static bool fail_json(const struct reader *r)
{
    return nn_fail(r->error, "%s: header, byte %zu: not valid JSON: %s", r->path,
                   (size_t)(r->json.at - r->file->header), r->json.problem);
}

static bool fail_tensor(const struct reader *r, const char *tensor, const char *rule)
{
    return nn_fail(r->error, "%s: tensor '%.80s': %s", r->path, tensor, rule);
}

static bool read_shape(struct reader *r, const char *name, ag_shape *shape)
{
    bool first = true;
    uint64_t size;
    *shape = (ag_shape){0};
    nn_json_take(&r->json, '[');
    while (nn_json_more(&r->json, ']', &first)) {
        if (!nn_json_integer(&r->json, INT64_MAX, &size))
            break;
        if (shape->rank == AG_MAX_RANK)
            return fail_tensor(r, name, "more than 8 dimensions");
        shape->dim[shape->rank++] = (int64_t)size;
    }
    return !r->json.problem || fail_json(r);
}

static bool read_offsets(struct reader *r, uint64_t offsets[2])
{
    struct nn_json *json = &r->json;
    return (nn_json_take(json, '[') && nn_json_integer(json, INT64_MAX, &offsets[0]) &&
            nn_json_take(json, ',') && nn_json_integer(json, INT64_MAX, &offsets[1]) &&
            nn_json_take(json, ']')) ||
           fail_json(r);
}

/* The range against the data, and against dtype and shape. */
static bool check_tensor(const struct reader *r, nn_stored *t, const uint64_t offsets[2])
{
    const struct dtype *dtype = find_dtype(t->dtype);
    char shape[NN_SHAPE_TEXT];
    size_t bits;
    if (!dtype)
        return nn_fail(r->error, "%s: tensor '%.80s': there is no dtype '%.20s'", r->path, t->name,
                       t->dtype);
    if (offsets[0] > offsets[1] || offsets[1] > r->data_size)
        return nn_fail(r->error,
                       "%s: tensor '%.80s': data_offsets %llu to %llu do not lie within the %zu "
                       "bytes of data; is the file cut?",
                       r->path, t->name, (unsigned long long)offsets[0],
                       (unsigned long long)offsets[1], r->data_size);
    if (!nn_shape_bytes(&t->shape, dtype->bits, &bits) || bits % 8 ||
        bits / 8 != offsets[1] - offsets[0])
        return nn_fail(r->error,
                       "%s: tensor '%.80s': data_offsets give it %llu bytes, which %s %s does not "
                       "fill exactly",
                       r->path, t->name, (unsigned long long)(offsets[1] - offsets[0]), dtype->name,
                       nn_shape_print(shape, &t->shape));
    t->dtype = dtype->name;
    t->data = r->data + offsets[0];
    t->size = (size_t)(offsets[1] - offsets[0]);
    return true;
}

static bool read_tensor(struct reader *r, const char *name)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    nn_stored tensor = {.name = name};
    uint64_t offsets[2] = {0};
    unsigned seen = 0;
    bool first = true, good = nn_json_take(&r->json, '{') || fail_json(r);
    const char *key;
    while (good && nn_json_more(&r->json, '}', &first)) {
        if (!nn_json_key(&r->json, &key))
            return fail_json(r);
        unsigned k = 0;
        while (k < 3 && strcmp(key, keys[k]) != 0)
            k++;
        if (k == 3 || seen >> k & 1)
            return nn_fail(r->error, "%s: tensor '%.80s': the key '%.40s' is %s", r->path, name,
                           key, k == 3 ? "not one of dtype, shape, data_offsets" : "there twice");
        seen |= 1u << k;
        good = k == 0   ? nn_json_string(&r->json, &tensor.dtype) || fail_json(r)
               : k == 1 ? read_shape(r, name, &tensor.shape)
                        : read_offsets(r, offsets);
    }
    if (good && r->json.problem)
        return fail_json(r);
    if (good && seen != 7)
        return fail_tensor(r, name, "dtype, shape or data_offsets is missing");
    return good && check_tensor(r, &tensor, offsets) &&
           (nn_bytes_append(&r->tensors, &tensor, sizeof tensor) ||
            nn_fail(r->error, "%s: out of memory", r->path));
}

static bool read_metadata(struct reader *r)
{
    bool first = true;
    nn_metadata pair;
    nn_json_take(&r->json, '{');
    while (nn_json_more(&r->json, '}', &first)) {
        if (!nn_json_key(&r->json, &pair.key))
            break;
        if (!nn_json_string(&r->json, &pair.value))
            return nn_fail(r->error, "%s: __metadata__: '%.80s' is not a string", r->path,
                           pair.key);
        if (!nn_bytes_append(&r->metadata, &pair, sizeof pair))
            return nn_fail(r->error, "%s: out of memory", r->path);
    }
    return !r->json.problem || fail_json(r);
}

static bool read_header(struct reader *r)
{
    bool first = true, metadata = false;
    const char *name;
    nn_json_take(&r->json, '{');
    while (nn_json_more(&r->json, '}', &first)) {
        if (!nn_json_key(&r->json, &name))
            break;
        bool special = strcmp(name, "__metadata__") == 0;
        if (special && metadata)
            return nn_fail(r->error, "%s: __metadata__ is there twice", r->path);
        metadata |= special;
        if (!(special ? read_metadata(r) : read_tensor(r, name)))
            return false;
    }
    if (!r->json.problem && r->json.at[strspn(r->json.at, " ")] != '\0')
        nn_json_fail(&r->json, "something behind the closing brace");
    return !r->json.problem || fail_json(r);
}

/* ---- The tensors together ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const nn_stored *)a)->name, ((const nn_stored *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const nn_metadata *)a)->key, ((const nn_metadata *)b)->key);
}

/* Empty tensors stand before the one that begins where they do. */
static int by_place(const void *a, const void *b)
{
    const nn_stored *x = a, *y = b;
    const unsigned char *p = x->data, *q = y->data;
    return p != q ? (p > q) - (p < q) : (x->size > y->size) - (x->size < y->size);
}

static bool check_cover(const struct reader *r)
{
    nn_stored *t = r->file->tensors;
    const unsigned char *end = r->data;
    if (r->file->count)
        qsort(t, r->file->count, sizeof *t, by_place);
    for (size_t i = 0; i < r->file->count; i++) {
        const unsigned char *begin = t[i].data;
        if (begin != end)
            return nn_fail(r->error,
                           "%s: tensor '%.80s' begins at byte %zu of the data, but the one before "
                           "ends at %zu: %s",
                           r->path, t[i].name, (size_t)(begin - r->data), (size_t)(end - r->data),
                           begin > end ? "a hole" : "they overlap");
        end = begin + t[i].size;
    }
    return (size_t)(end - r->data) == r->data_size ||
           nn_fail(r->error, "%s: %zu bytes behind the last tensor", r->path,
                   r->data_size - (size_t)(end - r->data));
}

static bool check_names(const struct reader *r)
{
    nn_stored *t = r->file->tensors;
    nn_metadata *m = r->file->metadata;
    if (r->file->count)
        qsort(t, r->file->count, sizeof *t, by_name);
    if (r->file->metadata_count)
        qsort(m, r->file->metadata_count, sizeof *m, by_key);
    for (size_t i = 1; i < r->file->count; i++)
        if (strcmp(t[i - 1].name, t[i].name) == 0)
            return fail_tensor(r, t[i].name, "the name is there twice");
    for (size_t i = 1; i < r->file->metadata_count; i++)
        if (strcmp(m[i - 1].key, m[i].key) == 0)
            return nn_fail(r->error, "%s: __metadata__: '%.80s' is there twice", r->path, m[i].key);
    return true;
}

/* ---- The file ---- */

/* Sets header, data and data_size. */
static bool find_header(struct reader *r, size_t size)
{
    const unsigned char *bytes = r->file->bytes;
    if (size < 8)
        return nn_fail(r->error, "%s: %zu bytes are not even a header's length", r->path, size);
    uint64_t length = nn_integer_at(bytes, 8, false);
    if (length > NN_LONGEST_HEADER)
        return nn_fail(r->error, "%s: a header of %llu bytes; at most 100000000 are allowed",
                       r->path, (unsigned long long)length);
    if (length > size - 8)
        return nn_fail(r->error,
                       "%s: a header of %llu bytes, but only %zu follow; is the file cut?", r->path,
                       (unsigned long long)length, size - 8);
    if (length == 0 || bytes[8] != '{')
        return nn_fail(r->error, "%s: the header does not begin with '{'", r->path);
    size_t valid = nn_utf8_valid(bytes + 8, (size_t)length);
    if (valid < length)
        return nn_fail(r->error, "%s: header, byte %zu: not valid UTF-8", r->path, valid);
    r->file->header = malloc((size_t)length + 1);
    if (!r->file->header)
        return nn_fail(r->error, "%s: out of memory", r->path);
    memcpy(r->file->header, bytes + 8, (size_t)length);
    r->file->header[length] = '\0';
    if (memchr(r->file->header, '\0', (size_t)length))
        return nn_fail(r->error, "%s: not valid JSON: a NUL in the header", r->path);
    r->json.at = r->file->header;
    r->data = bytes + 8 + length;
    r->data_size = size - 8 - (size_t)length;
    return true;
}

/* Owns the bytes, also on error. */
static nn_safetensors *open_bytes(const char *name, struct nn_bytes bytes, nn_error *error)
{
    struct reader r = {.path = nn_shown(name), .error = error};
    r.file = calloc(1, sizeof *r.file);
    if (!r.file) {
        nn_bytes_free(&bytes);
        nn_fail(error, "%s: out of memory", r.path);
        return NULL;
    }
    r.file->bytes = bytes.at;
    bool good = find_header(&r, bytes.size) && read_header(&r);
    r.file->tensors = (nn_stored *)(void *)r.tensors.at;
    r.file->count = r.tensors.size / sizeof(nn_stored);
    r.file->metadata = (nn_metadata *)(void *)r.metadata.at;
    r.file->metadata_count = r.metadata.size / sizeof(nn_metadata);
    if (good && check_cover(&r) && check_names(&r))
        return r.file;
    nn_safetensors_free(r.file);
    return NULL;
}

nn_safetensors *nn_safetensors_read(const char *path, nn_error *error)
{
    struct nn_bytes bytes;
    return nn_bytes_read(&bytes, path, error) ? open_bytes(path, bytes, error) : NULL;
}

nn_safetensors *nn_safetensors_parse(const char *name, const void *data, size_t size,
                                     nn_error *error)
{
    struct nn_bytes bytes;
    return nn_bytes_copy(&bytes, name, data, size, error) ? open_bytes(name, bytes, error) : NULL;
}

void nn_safetensors_free(nn_safetensors *file)
{
    if (!file)
        return;
    free(file->tensors);
    free(file->metadata);
    free(file->bytes);
    free(file->header);
    free(file);
}

const nn_stored *nn_safetensors_find(const nn_safetensors *file, const char *name)
{
    nn_stored key = {.name = name};
    return file->count ? bsearch(&key, file->tensors, file->count, sizeof key, by_name) : NULL;
}

bool nn_stored_values(const nn_stored *tensor, double *values)
{
    const struct dtype *dtype = find_dtype(tensor->dtype);
    if (!dtype || !dtype->kind)
        return false;
    struct nn_element element = {dtype->kind, dtype->bits / 8, false};
    const unsigned char *at = tensor->data;
    for (size_t i = 0; i < tensor->size / element.size; i++)
        values[i] = nn_element_at(&element, at + i * element.size);
    return true;
}
