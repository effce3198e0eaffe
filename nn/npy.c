/* NumPy's .npy: numpy/lib/format.py, "Format Version 1.0" to "3.0".
 *
 * The header is the text of a Python dictionary. Read is exactly what NumPy writes, in any order
 * and spacing: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and spaces up to a
 * newline. */
#include "bytes.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct header {
    struct nn_element element;
    ag_shape shape;
    bool fortran;
};

struct reader {
    char *at; /* in the header's text, which ends in NUL */
    const char *path;
    nn_error *error;
};

static bool fail(const struct reader *r, const char *rule)
{
    return nn_fail(r->error, "%s: npy header: %s", r->path, rule);
}

/* ---- The dictionary ---- */

static bool take(struct reader *r, char c)
{
    r->at += strspn(r->at, " ");
    bool there = *r->at == c;
    r->at += there;
    return there;
}

static bool take_word(struct reader *r, const char *word)
{
    r->at += strspn(r->at, " ");
    bool there = strncmp(r->at, word, strlen(word)) == 0;
    r->at += there ? strlen(word) : 0;
    return there;
}

/* A string in either kind of quotes, without escapes; ends it by NUL. */
static bool take_string(struct reader *r, const char **text)
{
    r->at += strspn(r->at, " ");
    char quote = *r->at;
    char *end = quote == '\'' || quote == '"' ? strchr(r->at + 1, quote) : NULL;
    if (!end)
        return false;
    *end = '\0';
    *text = r->at + 1;
    r->at = end + 1;
    return true;
}

/* "<f4": byte order, kind, size. */
static bool read_descr(struct reader *r, struct nn_element *element)
{
    const char *text;
    if (!take_string(r, &text))
        return fail(r, "descr is not a string: structured dtypes are not read");
    bool shaped = strlen(text) == 3 && strchr("<>|", text[0]) && isdigit((unsigned char)text[2]);
    size_t size = shaped ? (size_t)(text[2] - '0') : 0;
    bool power = size == 1 || size == 2 || size == 4 || size == 8;
    bool known = power && ((text[1] == 'f' && size > 1) || (text[1] == 'b' && size == 1) ||
                           text[1] == 'i' || text[1] == 'u');
    if (!known || (text[0] == '|' && size > 1))
        return nn_fail(r->error,
                       "%s: npy header: dtype '%.20s' is not read; it may be f, i, u or b", r->path,
                       text);
    *element = (struct nn_element){text[1], size, text[0] == '>'};
    return true;
}

static bool read_shape(struct reader *r, ag_shape *shape)
{
    if (!take(r, '('))
        return fail(r, "shape is not a tuple");
    while (!take(r, ')')) {
        int64_t size = 0;
        if (!isdigit((unsigned char)*r->at))
            return fail(r, "shape is not a tuple of whole numbers");
        if (shape->rank == AG_MAX_RANK)
            return fail(r, "shape has more than 8 dimensions");
        for (; isdigit((unsigned char)*r->at); r->at++) {
            if (size > (INT64_MAX - 9) / 10)
                return fail(r, "shape is too large");
            size = 10 * size + (*r->at - '0');
        }
        shape->dim[shape->rank++] = size;
        if (!take(r, ',') && (*r->at != ')' || shape->rank == 1))
            return fail(r, "shape is not a tuple of whole numbers");
    }
    return true;
}

static bool read_order(struct reader *r, bool *fortran)
{
    *fortran = take_word(r, "True");
    return *fortran || take_word(r, "False") || fail(r, "fortran_order is neither True nor False");
}

static bool read_dictionary(struct reader *r, struct header *h)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    unsigned seen = 0;
    if (!take(r, '{'))
        return fail(r, "not a dictionary");
    while (!take(r, '}')) {
        const char *key;
        unsigned k = 0;
        if (!take_string(r, &key) || !take(r, ':'))
            return fail(r, "a key and a colon expected");
        while (k < 3 && strcmp(key, keys[k]) != 0)
            k++;
        if (k == 3 || seen >> k & 1)
            return nn_fail(r->error, "%s: npy header: the key '%.40s' is %s", r->path, key,
                           k == 3 ? "unknown" : "there twice");
        seen |= 1u << k;
        if (!(k == 0   ? read_descr(r, &h->element)
              : k == 1 ? read_order(r, &h->fortran)
                       : read_shape(r, &h->shape)))
            return false;
        if (!take(r, ',') && *r->at != '}')
            return fail(r, "a comma or '}' expected");
    }
    if (seen != 7)
        return fail(r, "descr, fortran_order or shape is missing");
    r->at += strspn(r->at, " ");
    return strcmp(r->at, "\n") == 0 ||
           fail(r, "something else than spaces and a newline at its end");
}

/* ---- The file ---- */

/* Its text begins at bytes[*begin] and ends before bytes[*end]. */
static bool find_header(const struct reader *r, const unsigned char *bytes, size_t size,
                        size_t *begin, size_t *end)
{
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return nn_fail(r->error, "%s: not an npy file", r->path);
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return nn_fail(r->error, "%s: npy version %d.%d; 1.0, 2.0 and 3.0 are read", r->path,
                       bytes[6], bytes[7]);
    size_t width = bytes[6] == 1 ? 2 : 4;
    *begin = 8 + width;
    uint64_t length = size < *begin ? 0 : nn_integer_at(bytes + 8, width, false);
    if (size < *begin || length > size - *begin)
        return nn_fail(r->error, "%s: the file ends within its npy header; is it cut?", r->path);
    *end = *begin + (size_t)length;
    return !memchr(bytes + *begin, '\0', (size_t)length) || fail(r, "a NUL in it");
}

static bool parse_header(struct reader *r, struct header *h, const unsigned char *text,
                         size_t length)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return nn_fail(r->error, "%s: out of memory", r->path);
    memcpy(copy, text, length);
    copy[length] = '\0';
    r->at = copy;
    bool good = read_dictionary(r, h);
    free(copy);
    return good;
}

bool nn_npy_parse(nn_array *array, ag_dtype dtype, const char *name, const void *data, size_t size,
                  nn_error *error)
{
    struct reader r = {.path = nn_shown(name), .error = error};
    struct header h = {0};
    const unsigned char *bytes = data;
    size_t begin = 0, end = 0, wanted;
    char shape[NN_SHAPE_TEXT];
    if (!find_header(&r, bytes, size, &begin, &end) ||
        !parse_header(&r, &h, bytes + begin, end - begin))
        return false;
    if (!nn_shape_bytes(&h.shape, h.element.size, &wanted))
        return fail(&r, "shape is too large");
    if (wanted != size - end)
        return nn_fail(error, "%s: %zu bytes of data, but the shape %s takes %zu; is the file cut?",
                       r.path, size - end, nn_shape_print(shape, &h.shape), wanted);
    return nn_array_decode(array, dtype, &h.shape, &h.element, bytes + end, h.fortran) ||
           nn_fail(error, "%s: out of memory", r.path);
}

bool nn_npy_read(nn_array *array, ag_dtype dtype, const char *path, nn_error *error)
{
    struct nn_bytes bytes;
    if (!nn_bytes_read(&bytes, path, error))
        return false;
    bool good = nn_npy_parse(array, dtype, path, bytes.at, bytes.size, error);
    nn_bytes_free(&bytes);
    return good;
}

/* ---- Writing ---- */

bool nn_npy_print(struct nn_bytes *out, const nn_array *array)
{
    const ag_shape *shape = &array->shape;
    bool good = nn_bytes_append(out, "\x93NUMPY\1\0\0\0", 10) &&
                nn_bytes_print(out, "{'descr': '<f%d', 'fortran_order': False, 'shape': (",
                               array->f32 ? 4 : 8);
    for (int i = 0; i < shape->rank && good; i++)
        good = nn_bytes_print(out, i ? ", %lld" : "%lld", (long long)shape->dim[i]);
    good = good && nn_bytes_print(out, shape->rank == 1 ? ",), }" : "), }");
    while (good && out->size % 64 != 63)
        good = nn_bytes_append(out, " ", 1);
    good = good && nn_bytes_append(out, "\n", 1);
    if (!good)
        return false;
    out->at[8] = (unsigned char)(out->size - 10);
    out->at[9] = (unsigned char)((out->size - 10) >> 8);
    return array->f32 ? nn_bytes_append_little(out, array->f32, 4, array->count)
                      : nn_bytes_append_little(out, array->f64, 8, array->count);
}

bool nn_npy_write(const nn_array *array, const char *path, nn_error *error)
{
    struct nn_bytes image = {0};
    nn_file file;
    bool good =
        (nn_npy_print(&image, array) || nn_fail(error, "%s: out of memory", nn_shown(path))) &&
        nn_file_begin(&file, path, error);
    if (good) {
        nn_file_write(&file, image.at, image.size);
        good = nn_file_commit(&file, error);
    }
    nn_bytes_free(&image);
    return good;
}
