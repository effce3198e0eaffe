/* The safetensors container: see files.h for its rules, which are those of
 * https://github.com/huggingface/safetensors, section "Format".
 *
 * Reading checks in this order: the header's length and encoding; its grammar, tensor by tensor
 * with each one's bytes against its dtype and shape; names, sorted, for twins; ranges, sorted, for
 * holes and overlaps. Only then is anything handed out. */
#include "bytes.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST_HEADER = 100000000 };

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
    for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(name, dtypes[i].name) == 0)
            return &dtypes[i];
    return NULL;
}

static bool is_filled(const struct dtype *dtype, const ag_shape *shape, size_t size)
{
    size_t bits;
    return nn_shape_bytes(shape, dtype->bits, &bits) && bits % 8 == 0 && bits / 8 == size;
}

/* ---- The header ---- */

struct reader {
    struct nn_source source;
    nn_safetensors *file;
    struct nn_json json;
    struct nn_bytes tensors, metadata; /* as arrays that grow */
    const unsigned char *data;         /* behind the header */
    size_t data_size;
};

static bool fail_json(const struct reader *r)
{
    return nn_refuse(&r->source, "header, byte %zu: not valid JSON: %s",
                     (size_t)(r->json.at - (char *)r->file->bytes - 8), r->json.problem);
}

/* The range against the data, and against dtype and shape. */
static bool check_tensor(const struct reader *r, nn_stored *t, const ag_shape *range)
{
    const struct dtype *dtype = find_dtype(t->dtype);
    uint64_t begin = (uint64_t)range->dim[0], end = (uint64_t)range->dim[1];
    char shape[NN_SHAPE_TEXT];
    if (!dtype)
        return nn_refuse(&r->source, "tensor '%.80s': there is no dtype '%.20s'", t->name,
                         t->dtype);
    if (begin > end || end > r->data_size)
        return nn_refuse(&r->source,
                         "tensor '%.80s': data_offsets %llu to %llu do not lie within the %zu "
                         "bytes of data; is the file cut?",
                         t->name, (unsigned long long)begin, (unsigned long long)end, r->data_size);
    if (!is_filled(dtype, &t->shape, (size_t)(end - begin)))
        return nn_refuse(&r->source,
                         "tensor '%.80s': data_offsets give it %llu bytes, which %s %s does not "
                         "fill exactly",
                         t->name, (unsigned long long)(end - begin), dtype->name,
                         nn_shape_print(shape, &t->shape));
    t->dtype = dtype->name;
    t->data = r->data + begin;
    t->size = (size_t)(end - begin);
    return true;
}

static bool read_tensor(struct reader *r, const char *name)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    struct nn_json *json = &r->json;
    nn_stored tensor = {.name = name};
    ag_shape range = {0};
    unsigned seen = 0;
    bool first = true;
    const char *key;
    nn_json_take(json, '{');
    while (nn_json_more(json, '}', &first) && nn_json_key(json, &key)) {
        unsigned k = nn_json_which(key, keys, &seen);
        if (k > 2)
            return nn_refuse(&r->source, "tensor '%.80s': the key '%.40s' is %s", name, key,
                             k == 3 ? "not one of dtype, shape, data_offsets" : "there twice");
        if (k == 0)
            nn_json_string(json, &tensor.dtype);
        else if (nn_json_take(json, '['))
            nn_json_shape(json, ']', k == 1 ? &tensor.shape : &range);
    }
    if (json->problem)
        return fail_json(r);
    if (seen != 7)
        return nn_refuse(&r->source, "tensor '%.80s': dtype, shape or data_offsets is missing",
                         name);
    if (tensor.shape.rank > AG_MAX_RANK)
        return nn_refuse(&r->source, "tensor '%.80s': more than 8 dimensions", name);
    if (range.rank != 2)
        return nn_refuse(&r->source, "tensor '%.80s': data_offsets are not two numbers", name);
    if (!check_tensor(r, &tensor, &range))
        return false;
    nn_bytes_append(&r->tensors, &tensor, sizeof tensor);
    return true;
}

static bool read_metadata(struct reader *r)
{
    bool first = true;
    nn_metadata pair;
    nn_json_take(&r->json, '{');
    while (nn_json_more(&r->json, '}', &first) && nn_json_key(&r->json, &pair.key)) {
        if (!nn_json_string(&r->json, &pair.value))
            return nn_refuse(&r->source, "__metadata__: '%.80s' is not a string", pair.key);
        nn_bytes_append(&r->metadata, &pair, sizeof pair);
    }
    return !r->json.problem || fail_json(r);
}

static bool read_header(struct reader *r)
{
    bool first = true, metadata = false;
    const char *name;
    nn_json_take(&r->json, '{');
    while (nn_json_more(&r->json, '}', &first) && nn_json_key(&r->json, &name)) {
        bool special = strcmp(name, "__metadata__") == 0;
        if (special && metadata)
            return nn_refuse(&r->source, "__metadata__ is there twice");
        metadata |= special;
        if (!(special ? read_metadata(r) : read_tensor(r, name)))
            return false;
    }
    while (r->json.at < r->json.end && *r->json.at == ' ')
        r->json.at++;
    if (r->json.at < r->json.end)
        nn_json_fail(&r->json, "something behind the closing brace");
    if (r->json.problem)
        return fail_json(r);
    return !(r->tensors.failed || r->metadata.failed) || nn_out_of_memory(&r->source);
}

/* ---- The tensors together ---- */

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
            return nn_refuse(&r->source,
                             "tensor '%.80s' begins at byte %zu of the data, but the one before "
                             "ends at %zu: %s",
                             t[i].name, (size_t)(begin - r->data), (size_t)(end - r->data),
                             begin > end ? "a hole" : "they overlap");
        end = begin + t[i].size;
    }
    return (size_t)(end - r->data) == r->data_size ||
           nn_refuse(&r->source, "%zu bytes behind the last tensor",
                     r->data_size - (size_t)(end - r->data));
}

static bool check_names(const struct reader *r)
{
    nn_safetensors *f = r->file;
    const char *twin = nn_sort_names(f->tensors, f->count, sizeof *f->tensors);
    if (twin)
        return nn_refuse(&r->source, "tensor '%.80s': the name is there twice", twin);
    twin = nn_sort_names(f->metadata, f->metadata_count, sizeof *f->metadata);
    return !twin || nn_refuse(&r->source, "__metadata__: '%.80s' is there twice", twin);
}

/* ---- The file ---- */

/* Sets json, data and data_size. */
static bool find_header(struct reader *r, size_t size)
{
    char *header = (char *)r->file->bytes + 8;
    if (size < 8)
        return nn_refuse(&r->source, "%zu bytes are not even a header's length", size);
    uint64_t length = nn_integer_at(r->file->bytes, 8, false);
    if (length > LONGEST_HEADER)
        return nn_refuse(&r->source, "a header of %llu bytes; at most %d are allowed",
                         (unsigned long long)length, LONGEST_HEADER);
    if (length > size - 8)
        return nn_refuse(&r->source,
                         "a header of %llu bytes, but only %zu follow; is the file cut?",
                         (unsigned long long)length, size - 8);
    if (length == 0 || *header != '{')
        return nn_refuse(&r->source, "the header does not begin with '{'");
    size_t valid = nn_utf8_valid(header, (size_t)length);
    if (valid < length)
        return nn_refuse(&r->source, "header, byte %zu: not valid UTF-8", valid);
    if (memchr(header, '\0', (size_t)length))
        return nn_refuse(&r->source, "not valid JSON: a NUL in the header");
    r->json.at = header;
    r->json.end = header + length;
    r->data = (unsigned char *)r->json.end;
    r->data_size = size - 8 - (size_t)length;
    return true;
}

static nn_safetensors *open_file(const char *name, const struct nn_memory *memory, nn_error *error)
{
    struct reader r = {.source = {name, error}};
    struct nn_bytes bytes;
    if (!nn_bytes_get(&bytes, memory, &r.source))
        return NULL;
    r.file = calloc(1, sizeof *r.file);
    if (!r.file) {
        nn_bytes_free(&bytes);
        nn_out_of_memory(&r.source);
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
    return open_file(path, NULL, error);
}

nn_safetensors *nn_safetensors_parse(const char *name, const void *data, size_t size,
                                     nn_error *error)
{
    return open_file(name, &(struct nn_memory){data, size}, error);
}

void nn_safetensors_free(nn_safetensors *file)
{
    if (!file)
        return;
    free(file->tensors);
    free(file->metadata);
    free(file->bytes);
    free(file);
}

const nn_stored *nn_safetensors_find(const nn_safetensors *file, const char *name)
{
    const nn_stored key = {.name = name};
    return file && file->count && name
               ? bsearch(&key, file->tensors, file->count, sizeof key, nn_compare_names)
               : NULL;
}

bool nn_stored_element(const nn_stored *tensor, struct nn_element *element)
{
    const struct dtype *dtype = tensor ? find_dtype(tensor->dtype) : NULL;
    if (!dtype || !dtype->kind)
        return false;
    *element = (struct nn_element){dtype->kind, dtype->bits / 8, false};
    return true;
}

bool nn_stored_values(const nn_stored *tensor, double *values)
{
    struct nn_element element;
    if (!nn_stored_element(tensor, &element) || (tensor->size && (!tensor->data || !values)))
        return false;
    const unsigned char *at = tensor->data;
    for (size_t i = 0; i < tensor->size / element.size; i++)
        values[i] = nn_element_at(&element, at + i * element.size);
    return true;
}

/* ---- Writing: what the reader would refuse is not written ---- */

static void put_string(struct nn_bytes *out, const char *text)
{
    nn_bytes_append(out, "\"", 1);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            nn_bytes_append(out, "\\", 1);
        if (c < ' ')
            nn_bytes_print(out, "\\u%04x", c);
        else
            nn_bytes_append(out, text, 1);
    }
    nn_bytes_append(out, "\"", 1);
}

static void put_tensor(struct nn_bytes *out, const nn_stored *t, size_t begin)
{
    put_string(out, t->name);
    nn_bytes_print(out, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype);
    for (int i = 0; i < t->shape.rank; i++)
        nn_bytes_print(out, i ? ",%lld" : "%lld", (long long)t->shape.dim[i]);
    nn_bytes_print(out, "],\"data_offsets\":[%zu,%zu]}", begin, begin + t->size);
}

/* The header behind its length, padded to a multiple of 8 bytes. */
static void put_header(struct nn_bytes *out, const nn_stored *tensors, size_t count,
                       const nn_metadata *metadata, size_t metadata_count)
{
    size_t at = 0;
    nn_bytes_integer(out, 0, 8);
    nn_bytes_print(out, "%s", metadata_count ? "{\"__metadata__\":" : "");
    for (size_t i = 0; i < metadata_count; i++) {
        nn_bytes_print(out, i ? "," : "{");
        put_string(out, metadata[i].key);
        nn_bytes_print(out, ":");
        put_string(out, metadata[i].value);
    }
    nn_bytes_print(out, metadata_count ? "}" : "{");
    for (size_t i = 0; i < count; i++) {
        nn_bytes_print(out, "%s", i + metadata_count ? "," : "");
        put_tensor(out, &tensors[i], at);
        at += tensors[i].size;
    }
    nn_bytes_print(out, "}");
    nn_bytes_print(out, "%*s", (int)((8 - out->size % 8) % 8), "");
    for (size_t i = 0; i < 8 && !out->failed; i++)
        out->at[i] = (unsigned char)((uint64_t)(out->size - 8) >> 8 * i);
}

static bool check_write(const nn_stored *t, size_t count, const nn_metadata *metadata,
                        size_t metadata_count, const struct nn_source *source)
{
    if (!nn_check_names(t, count, sizeof *t, source) ||
        !nn_check_names(metadata, metadata_count, sizeof *metadata, source))
        return false;
    for (size_t i = 0; i < metadata_count; i++)
        if (!nn_given(source->error, "__metadata__", metadata[i].value))
            return false;
    for (size_t i = 0; i < count; i++) {
        const struct dtype *dtype = find_dtype(t[i].dtype);
        char shape[NN_SHAPE_TEXT];
        if (!dtype || !is_filled(dtype, &t[i].shape, t[i].size) || (t[i].size && !t[i].data))
            return nn_refuse(source, "tensor '%.80s': %zu bytes are not %.20s %s", t[i].name,
                             t[i].data ? t[i].size : 0, t[i].dtype ? t[i].dtype : "NULL",
                             nn_shape_print(shape, &t[i].shape));
        if (strcmp(t[i].name, "__metadata__") == 0)
            return nn_refuse(source, "no tensor may have the name __metadata__");
    }
    return true;
}

static bool check_header(const struct nn_bytes *header, const struct nn_source *source)
{
    if (header->failed)
        return nn_out_of_memory(source);
    if (header->size - 8 > LONGEST_HEADER)
        return nn_refuse(source, "the header would be longer than %d bytes", LONGEST_HEADER);
    return nn_utf8_valid(header->at + 8, header->size - 8) == header->size - 8 ||
           nn_refuse(source, "a name or metadata is not valid UTF-8");
}

bool nn_safetensors_write(const char *path, const nn_stored *tensors, size_t count,
                          const nn_metadata *metadata, size_t metadata_count, nn_error *error)
{
    const struct nn_source source = {path, error};
    struct nn_bytes header = {0};
    nn_file file;
    if (!check_write(tensors, count, metadata, metadata_count, &source))
        return false;
    put_header(&header, tensors, count, metadata, metadata_count);
    bool good = check_header(&header, &source) && nn_file_begin(&file, path, error);
    if (good) {
        nn_file_write(&file, header.at, header.size);
        for (size_t i = 0; i < count; i++) {
            size_t size = (find_dtype(tensors[i].dtype)->bits + 7) / 8;
            nn_write_little(&file, tensors[i].data, size, tensors[i].size / size);
        }
        good = nn_file_commit(&file, error);
    }
    nn_bytes_free(&header);
    return good;
}
