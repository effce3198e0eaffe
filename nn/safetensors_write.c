/* The safetensors container, written. What the reader would refuse is not written. */
#include "bytes.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>

/* ---- The header ---- */

static bool put_string(struct nn_bytes *out, const char *text)
{
    bool good = nn_bytes_append(out, "\"", 1);
    for (; *text && good; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            good = nn_bytes_print(out, "\\%c", c);
        else
            good = c < ' ' ? nn_bytes_print(out, "\\u%04x", c) : nn_bytes_append(out, text, 1);
    }
    return good && nn_bytes_append(out, "\"", 1);
}

static bool put_metadata(struct nn_bytes *out, const nn_metadata *metadata, size_t count)
{
    bool good = nn_bytes_print(out, "\"__metadata__\":{");
    for (size_t i = 0; i < count && good; i++)
        good = (i == 0 || nn_bytes_append(out, ",", 1)) && put_string(out, metadata[i].key) &&
               nn_bytes_append(out, ":", 1) && put_string(out, metadata[i].value);
    return good && nn_bytes_append(out, "}", 1);
}

static bool put_tensor(struct nn_bytes *out, const nn_stored *t, size_t begin)
{
    bool good =
        put_string(out, t->name) && nn_bytes_print(out, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype);
    for (int i = 0; i < t->shape.rank && good; i++)
        good = nn_bytes_print(out, i ? ",%lld" : "%lld", (long long)t->shape.dim[i]);
    return good && nn_bytes_print(out, "],\"data_offsets\":[%zu,%zu]}", begin, begin + t->size);
}

/* The header with its length before it, padded to a multiple of 8 bytes. */
static bool put_header(struct nn_bytes *out, const nn_stored *tensors, size_t count,
                       const nn_metadata *metadata, size_t metadata_count)
{
    size_t at = 0;
    bool good = nn_bytes_append(out, "\0\0\0\0\0\0\0\0{", 9);
    if (good && metadata_count)
        good = put_metadata(out, metadata, metadata_count);
    for (size_t i = 0; i < count && good; i++) {
        good = (i + metadata_count == 0 || nn_bytes_append(out, ",", 1)) &&
               put_tensor(out, &tensors[i], at);
        at += tensors[i].size;
    }
    good = good && nn_bytes_append(out, "}", 1);
    while (good && out->size % 8)
        good = nn_bytes_append(out, " ", 1);
    for (size_t i = 0; i < 8 && good; i++)
        out->at[i] = (unsigned char)((uint64_t)(out->size - 8) >> 8 * i);
    return good;
}

/* ---- The container ---- */

static bool check_tensor(const nn_stored *t, const char *path, nn_error *error)
{
    unsigned bits = nn_dtype_bits(t->dtype);
    size_t size;
    char shape[NN_SHAPE_TEXT];
    if (!bits || !nn_shape_bytes(&t->shape, bits, &size) || size % 8 || size / 8 != t->size)
        return nn_fail(error, "%s: tensor '%.80s': %zu bytes are not %.20s %s", path, t->name,
                       t->size, t->dtype, nn_shape_print(shape, &t->shape));
    return strcmp(t->name, "__metadata__") != 0 ||
           nn_fail(error, "%s: no tensor may have the name __metadata__", path);
}

static bool check(const nn_stored *tensors, size_t count, const nn_metadata *metadata,
                  size_t metadata_count, const char *path, nn_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!check_tensor(&tensors[i], path, error))
            return false;
    return (!count || nn_check_names(&tensors->name, sizeof *tensors, count, path, error)) &&
           (!metadata_count ||
            nn_check_names(&metadata->key, sizeof *metadata, metadata_count, path, error));
}

static bool make_header(struct nn_bytes *header, const nn_stored *tensors, size_t count,
                        const nn_metadata *metadata, size_t metadata_count, const char *path,
                        nn_error *error)
{
    if (!put_header(header, tensors, count, metadata, metadata_count))
        return nn_fail(error, "%s: out of memory", path);
    if (header->size - 8 > NN_LONGEST_HEADER)
        return nn_fail(error, "%s: the header would be longer than 100000000 bytes", path);
    return nn_utf8_valid(header->at + 8, header->size - 8) == header->size - 8 ||
           nn_fail(error, "%s: a name or metadata is not valid UTF-8", path);
}

bool nn_safetensors_write(const char *path, const nn_stored *tensors, size_t count,
                          const nn_metadata *metadata, size_t metadata_count, nn_error *error)
{
    struct nn_bytes header = {0};
    nn_file file;
    const char *shown = nn_shown(path);
    bool good = check(tensors, count, metadata, metadata_count, shown, error) &&
                make_header(&header, tensors, count, metadata, metadata_count, shown, error) &&
                nn_file_begin(&file, path, error);
    if (good) {
        nn_file_write(&file, header.at, header.size);
        for (size_t i = 0; i < count; i++) {
            size_t size = (nn_dtype_bits(tensors[i].dtype) + 7) / 8;
            nn_write_little(&file, tensors[i].data, size, tensors[i].size / size);
        }
        good = nn_file_commit(&file, error);
    }
    nn_bytes_free(&header);
    return good;
}
