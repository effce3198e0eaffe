/* NumPy's .npy: numpy/lib/format.py, "Format Version 1.0" to "3.0".
 *
 * The header is the text of a Python dictionary. Read is exactly what NumPy writes, in any order
 * and spacing: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and spaces up to a
 * newline. */
#include "bytes.h"
#include "json.h"

#include <ctype.h>
#include <string.h>

struct reader {
    struct nn_source source;
    struct nn_json json;
    struct nn_element element;
    ag_shape shape;
    bool fortran;
};

static bool fail(const struct reader *r, const char *rule)
{
    return nn_refuse(&r->source, "npy header: %s", rule);
}

/* ---- The dictionary ---- */

/* "<f4": byte order, kind, size. */
static bool read_descr(struct reader *r)
{
    const char *text;
    if (!nn_json_string(&r->json, &text))
        return fail(r, "descr is not a string: structured dtypes are not read");
    bool shaped = strlen(text) == 3 && strchr("<>|", text[0]) && isdigit((unsigned char)text[2]);
    size_t size = shaped ? (size_t)(text[2] - '0') : 0;
    bool power = size == 1 || size == 2 || size == 4 || size == 8;
    bool known = power && ((text[1] == 'f' && size > 1) || (text[1] == 'b' && size == 1) ||
                           text[1] == 'i' || text[1] == 'u');
    if (!known || (text[0] == '|' && size > 1))
        return nn_refuse(&r->source,
                         "npy header: dtype '%.20s' is not read; it may be f, i, u or b", text);
    r->element = (struct nn_element){text[1], size, text[0] == '>'};
    return true;
}

static bool read_order(struct reader *r)
{
    r->fortran = nn_json_word(&r->json, "True");
    return r->fortran || nn_json_word(&r->json, "False") ||
           fail(r, "fortran_order is neither True nor False");
}

static bool read_shape(struct reader *r)
{
    ag_shape *shape = &r->shape;
    if (!nn_json_take(&r->json, '('))
        return fail(r, "shape is not a tuple");
    if (!nn_json_shape(&r->json, ')', shape) || (shape->rank == 1 && !r->json.comma))
        return nn_refuse(&r->source, "npy header: shape is not a tuple of whole numbers%s%s",
                         r->json.problem ? ": " : "", r->json.problem ? r->json.problem : "");
    return shape->rank <= AG_MAX_RANK || fail(r, "shape has more than 8 dimensions");
}

static bool read_dictionary(struct reader *r)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    static bool (*const read[])(struct reader *) = {read_descr, read_order, read_shape};
    unsigned seen = 0;
    bool first = true;
    if (!nn_json_take(&r->json, '{'))
        return fail(r, "not a dictionary");
    while (nn_json_more(&r->json, '}', &first)) {
        const char *key;
        if (!nn_json_key(&r->json, &key))
            return fail(r, "a key and a colon expected");
        unsigned k = nn_json_which(key, keys, &seen);
        if (k > 2)
            return nn_refuse(&r->source, "npy header: the key '%.40s' is %s", key,
                             k == 3 ? "unknown" : "there twice");
        if (!read[k](r))
            return false;
    }
    if (r->json.problem)
        return fail(r, "a comma or '}' expected");
    if (seen != 7)
        return fail(r, "descr, fortran_order or shape is missing");
    r->json.at += strspn(r->json.at, " ");
    return strcmp(r->json.at, "\n") == 0 ||
           fail(r, "something else than spaces and a newline at its end");
}

/* ---- The file ---- */

/* Its text begins at bytes[*begin] and ends before bytes[*end]. */
static bool find_header(const struct reader *r, const unsigned char *bytes, size_t size,
                        size_t *begin, size_t *end)
{
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return nn_refuse(&r->source, "not an npy file");
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return nn_refuse(&r->source, "npy version %d.%d; 1.0, 2.0 and 3.0 are read", bytes[6],
                         bytes[7]);
    size_t width = bytes[6] == 1 ? 2 : 4;
    *begin = 8 + width;
    uint64_t length = size < *begin ? 0 : nn_integer_at(bytes + 8, width, false);
    if (size < *begin || length > size - *begin)
        return nn_refuse(&r->source, "the file ends within its npy header; is it cut?");
    *end = *begin + (size_t)length;
    return !memchr(bytes + *begin, '\0', (size_t)length) || fail(r, "a NUL in it");
}

/* Strings are decoded in place, so in a copy. */
static bool parse_header(struct reader *r, const unsigned char *text, size_t length)
{
    struct nn_bytes copy;
    bool good = nn_bytes_get(&copy, &(struct nn_memory){text, length}, &r->source);
    if (good) {
        char *at = (char *)copy.at;
        r->json = (struct nn_json){.at = at, .end = at + copy.size, .python = true};
        good = read_dictionary(r);
    }
    nn_bytes_free(&copy);
    return good;
}

bool nn_npy_parse(nn_array *array, ag_dtype dtype, const char *name, const void *data, size_t size,
                  nn_error *error)
{
    struct reader r = {.source = {name, error}};
    const unsigned char *bytes = data;
    size_t begin = 0, end = 0, wanted;
    char shape[NN_SHAPE_TEXT];
    if (!nn_given(error, "npy_parse", array) ||
        !find_header(&r, bytes, bytes ? size : 0, &begin, &end) ||
        !parse_header(&r, bytes + begin, end - begin))
        return false;
    if (!nn_shape_bytes(&r.shape, r.element.size, &wanted))
        return fail(&r, "shape is too large");
    if (wanted != size - end)
        return nn_refuse(&r.source,
                         "%zu bytes of data, but the shape %s takes %zu; is the file cut?",
                         size - end, nn_shape_print(shape, &r.shape), wanted);
    return nn_array_decode(array, dtype, &r.shape, &r.element, bytes + end, r.fortran, &r.source);
}

bool nn_npy_read(nn_array *array, ag_dtype dtype, const char *path, nn_error *error)
{
    return nn_array_read(array, dtype, path, nn_npy_parse, error);
}

/* ---- Writing ---- */

void nn_npy_print(struct nn_bytes *out, const nn_array *array)
{
    const ag_shape *shape = &array->shape;
    size_t start = out->size;
    nn_bytes_append(out, "\x93NUMPY\1\0\0\0", 10);
    nn_bytes_print(out, "{'descr': '<f%d', 'fortran_order': False, 'shape': (", array->f32 ? 4 : 8);
    for (int i = 0; i < shape->rank; i++)
        nn_bytes_print(out, i ? ", %lld" : "%lld", (long long)shape->dim[i]);
    nn_bytes_print(out, shape->rank == 1 ? ",), }" : "), }");
    nn_bytes_print(out, "%*s", (int)(64 - (out->size - start) % 64), "\n");
    if (!out->failed) {
        out->at[start + 8] = (unsigned char)(out->size - start - 10);
        out->at[start + 9] = (unsigned char)((out->size - start - 10) >> 8);
    }
    if (array->f32)
        nn_bytes_little(out, array->f32, 4, array->count);
    else
        nn_bytes_little(out, array->f64, 8, array->count);
}

bool nn_npy_write(const nn_array *array, const char *path, nn_error *error)
{
    struct nn_bytes image = {0};
    if (!nn_array_check(array, &(struct nn_source){path, error}))
        return false;
    nn_npy_print(&image, array);
    return nn_bytes_save(&image, path, error);
}
