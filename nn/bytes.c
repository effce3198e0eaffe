/* What the file formats share: messages, blocks that grow, files read whole, numbers in either byte
 * order. */
#include "bytes.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Messages ---- */

bool nn_fail(nn_error *error, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
        for (char *c = error->text; *c; c++)
            if ((unsigned char)*c < ' ')
                *c = '?';
    }
    return false;
}

bool nn_given(nn_error *error, const char *who, bool given)
{
    return given || nn_fail(error, "%s: an argument is NULL", who);
}

const char *nn_shown(const char *name)
{
    const size_t longest = 200;
    size_t length = name ? strlen(name) : 0;
    return !name ? "file" : length > longest ? name + length - longest : name;
}

bool nn_refuse(const struct nn_source *source, const char *format, ...)
{
    char text[sizeof source->error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return nn_fail(source->error, "%s: %s", nn_shown(source->name), text);
}

bool nn_out_of_memory(const struct nn_source *source)
{
    return nn_refuse(source, "out of memory");
}

const char *nn_shape_print(char *text, const ag_shape *shape)
{
    int used = snprintf(text, NN_SHAPE_TEXT, "(");
    for (int i = 0; i < shape->rank && i < AG_MAX_RANK; i++)
        used += snprintf(text + used, (size_t)(NN_SHAPE_TEXT - used), "%s%lld", i ? ", " : "",
                         (long long)shape->dim[i]);
    snprintf(text + used, (size_t)(NN_SHAPE_TEXT - used), shape->rank == 1 ? ",)" : ")");
    return text;
}

/* ---- Blocks ---- */

bool nn_bytes_reserve(struct nn_bytes *bytes, size_t more)
{
    size_t most = PTRDIFF_MAX;
    if (more <= bytes->capacity - bytes->size || bytes->failed)
        return !bytes->failed;
    bytes->failed = more > most - bytes->size;
    size_t capacity = bytes->size + more;
    if (capacity < 2 * bytes->capacity)
        capacity = 2 * bytes->capacity;
    unsigned char *at = bytes->failed ? NULL : realloc(bytes->at, capacity);
    bytes->failed = !at;
    if (!at)
        return false;
    bytes->at = at;
    bytes->capacity = capacity;
    return true;
}

void nn_bytes_append(struct nn_bytes *bytes, const void *data, size_t size)
{
    if (!size || !nn_bytes_reserve(bytes, size))
        return;
    memcpy(bytes->at + bytes->size, data, size);
    bytes->size += size;
}

void nn_bytes_print(struct nn_bytes *bytes, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t length = (size_t)vsnprintf(NULL, 0, format, arguments);
    if (nn_bytes_reserve(bytes, length + 1)) {
        vsnprintf((char *)bytes->at + bytes->size, length + 1, format, again);
        bytes->size += length;
    }
    va_end(again);
    va_end(arguments);
}

void nn_bytes_free(struct nn_bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct nn_bytes){0};
}

/* NULL, or why not. */
static const char *read_file(struct nn_bytes *bytes, const char *path)
{
    FILE *stream = path ? fopen(path, "rb") : NULL;
    if (!stream)
        return path ? strerror(errno) : "no name (NULL)";
    size_t read = 1;
    while (read > 0 && nn_bytes_reserve(bytes, (size_t)1 << 16)) {
        read = fread(bytes->at + bytes->size, 1, bytes->capacity - bytes->size, stream);
        bytes->size += read;
    }
    const char *problem = ferror(stream) ? strerror(errno) : NULL;
    fclose(stream);
    return problem;
}

bool nn_bytes_get(struct nn_bytes *bytes, const struct nn_memory *memory,
                  const struct nn_source *source)
{
    *bytes = (struct nn_bytes){0};
    const char *problem = NULL;
    if (memory)
        nn_bytes_append(bytes, memory->at, memory->at ? memory->size : 0);
    else
        problem = read_file(bytes, source->name);
    nn_bytes_append(bytes, "", 1);
    if (!problem && bytes->failed)
        problem = "out of memory";
    if (problem) {
        nn_bytes_free(bytes);
        return nn_refuse(source, "%s", problem);
    }
    unsigned char *at = realloc(bytes->at, bytes->size); /* so that tools see a read beyond it */
    bytes->at = at ? at : bytes->at;
    bytes->capacity = bytes->size--;
    return true;
}

/* ---- Numbers ---- */

uint64_t nn_integer_at(const unsigned char *at, size_t size, bool big)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[big ? i : size - 1 - i];
    return value;
}

void nn_bytes_integer(struct nn_bytes *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        nn_bytes_append(bytes, &(unsigned char){(unsigned char)(value >> 8 * i)}, 1);
}

/* IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
static double half(unsigned bits)
{
    int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
    double value = exponent == 31  ? (fraction ? (double)NAN : HUGE_VAL)
                   : exponent == 0 ? ldexp(fraction, -24)
                                   : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -value : value;
}

static double single(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

double nn_element_at(const struct nn_element *element, const unsigned char *at)
{
    uint64_t bits = nn_integer_at(at, element->size, element->big);
    uint64_t sign = (uint64_t)1 << (8 * element->size - 1);
    double value;
    switch (element->kind) {
    case 'f':
        memcpy(&value, &bits, sizeof value);
        return element->size == 2   ? half((unsigned)bits)
               : element->size == 4 ? single((uint32_t)bits)
                                    : value;
    case 'B':
        return single((uint32_t)bits << 16);
    case 'i': /* two's complement: the sign's bit counts negative */
        return bits & sign ? -(double)(sign - (bits - sign)) : (double)bits;
    case 'b':
        return bits != 0;
    default:
        return (double)bits;
    }
}

static bool host_is_little(void)
{
    const uint16_t one = 1;
    return *(const unsigned char *)&one;
}

/* Where byte i of numbers of `size` bytes is, were they in the other order. */
static size_t reversed(size_t i, size_t size)
{
    return i / size * size + size - 1 - i % size;
}

void nn_write_little(nn_file *file, const void *data, size_t size, size_t count)
{
    if (host_is_little())
        nn_file_write(file, data, size * count);
    else
        for (size_t i = 0; i < size * count && !file->error; i++)
            nn_file_write(file, (const unsigned char *)data + reversed(i, size), 1);
}

void nn_bytes_little(struct nn_bytes *bytes, const void *data, size_t size, size_t count)
{
    if (host_is_little())
        nn_bytes_append(bytes, data, size * count);
    else
        for (size_t i = 0; i < size * count; i++)
            nn_bytes_append(bytes, (const unsigned char *)data + reversed(i, size), 1);
}

/* ---- Arrays and tensors ---- */

bool nn_shape_bytes(const ag_shape *shape, size_t size, size_t *bytes)
{
    size_t product = size, most = PTRDIFF_MAX;
    bool empty = false, fits = shape->rank >= 0 && shape->rank <= AG_MAX_RANK;
    for (int i = 0; i < shape->rank && fits; i++) {
        uint64_t n = (uint64_t)shape->dim[i];
        empty |= n == 0;
        fits = n == 0 || (n <= most && product <= most / n);
        product *= fits && n ? (size_t)n : 1;
    }
    *bytes = empty ? 0 : product;
    return fits;
}

bool nn_same_shape(const ag_shape *a, const ag_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

void nn_array_free(nn_array *array)
{
    if (!array)
        return;
    free(array->f32);
    free(array->f64);
    *array = (nn_array){0};
}

bool nn_array_check(const nn_array *array, const struct nn_source *source)
{
    char shape[NN_SHAPE_TEXT];
    size_t count;
    if (!nn_given(source->error, "array", array))
        return false;
    bool fits = nn_shape_bytes(&array->shape, 1, &count) && count == array->count;
    return (fits && (!count || array->f32 || array->f64)) ||
           nn_refuse(source, "an array whose %zu elements are not %s",
                     array->f32 || array->f64 ? array->count : 0,
                     nn_shape_print(shape, &array->shape));
}

static bool allocate(nn_array *array, ag_dtype dtype, const ag_shape *shape)
{
    size_t size = dtype == AG_F32 ? sizeof(float) : sizeof(double), bytes;
    void *values = nn_shape_bytes(shape, size, &bytes) ? malloc(bytes + 1) : NULL;
    *array = (nn_array){.shape = *shape, .count = values ? bytes / size : 0};
    array->f32 = dtype == AG_F32 ? values : NULL;
    array->f64 = dtype == AG_F32 ? NULL : values;
    return values;
}

bool nn_array_decode(nn_array *array, ag_dtype dtype, const ag_shape *shape,
                     const struct nn_element *element, const unsigned char *data, bool fortran,
                     const struct nn_source *source)
{
    size_t stride[AG_MAX_RANK + 1], index[AG_MAX_RANK + 1] = {0}, step = element->size;
    int rank = shape->rank;
    if (!allocate(array, dtype, shape))
        return nn_out_of_memory(source);
    for (int k = 0; k < rank && array->count; k++) {
        int axis = fortran ? k : rank - 1 - k;
        stride[axis] = step;
        step *= (size_t)shape->dim[axis];
    }
    for (size_t i = 0; i < array->count; i++) {
        double value = nn_element_at(element, data);
        if (array->f32)
            array->f32[i] = (float)value;
        else
            array->f64[i] = value;
        for (int axis = rank - 1; axis >= 0; axis--) {
            data += stride[axis];
            if (++index[axis] < (size_t)shape->dim[axis])
                break;
            data -= stride[axis] * index[axis];
            index[axis] = 0;
        }
    }
    return true;
}

bool nn_array_read(nn_array *array, ag_dtype dtype, const char *path, nn_array_parser *parse,
                   nn_error *error)
{
    struct nn_bytes bytes;
    bool good = nn_bytes_get(&bytes, NULL, &(struct nn_source){path, error}) &&
                parse(array, dtype, path, bytes.at, bytes.size, error);
    nn_bytes_free(&bytes);
    return good;
}

/* ---- Names ---- */

int nn_compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *nn_sort_names(void *items, size_t count, size_t size)
{
    const char *twin = NULL, *at = items;
    if (count)
        qsort(items, count, size, nn_compare_names);
    for (size_t i = 1; i < count && !twin; i++)
        if (nn_compare_names(at + (i - 1) * size, at + i * size) == 0)
            memcpy(&twin, at + i * size, sizeof twin);
    return twin;
}

bool nn_check_names(const void *items, size_t count, size_t size, const struct nn_source *source)
{
    const char *at = items;
    for (size_t i = 0; i < count; i++)
        if (!at || !*(const char *const *)(const void *)(at + i * size))
            return nn_refuse(source, "a name is NULL");
    void *copy = malloc(count * size + 1);
    if (!copy)
        return nn_out_of_memory(source);
    if (count)
        memcpy(copy, items, count * size);
    const char *twin = nn_sort_names(copy, count, size);
    free(copy);
    return !twin || nn_refuse(source, "two have the name '%.80s'", twin);
}
