/* What the file formats share: blocks that grow, files read whole, numbers in either byte order. */
#include "bytes.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- Blocks ---- */

bool nn_bytes_reserve(struct nn_bytes *bytes, size_t more)
{
    if (more <= bytes->capacity - bytes->size)
        return true;
    size_t most = PTRDIFF_MAX;
    if (more > most - bytes->size)
        return false;
    size_t capacity = bytes->size + more;
    if (capacity < 2 * bytes->capacity)
        capacity = 2 * bytes->capacity;
    unsigned char *at = realloc(bytes->at, capacity);
    if (!at)
        return false;
    bytes->at = at;
    bytes->capacity = capacity;
    return true;
}

bool nn_bytes_append(struct nn_bytes *bytes, const void *data, size_t size)
{
    if (!nn_bytes_reserve(bytes, size))
        return false;
    if (size)
        memcpy(bytes->at + bytes->size, data, size);
    bytes->size += size;
    return true;
}

bool nn_bytes_print(struct nn_bytes *bytes, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return length >= 0 && (size_t)length < sizeof text &&
           nn_bytes_append(bytes, text, (size_t)length);
}

void nn_bytes_free(struct nn_bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct nn_bytes){0};
}

/* Gives back the memory behind the last byte, so that tools see a read beyond it. */
static void fit(struct nn_bytes *bytes)
{
    unsigned char *at = realloc(bytes->at, bytes->size ? bytes->size : 1);
    if (!at)
        return;
    bytes->at = at;
    bytes->capacity = bytes->size;
}

/* ---- Files ---- */

static bool read_all(struct nn_bytes *bytes, FILE *stream, const char *path, nn_error *error)
{
    size_t read;
    do {
        if (!nn_bytes_reserve(bytes, (size_t)1 << 16))
            return nn_fail(error, "%s: out of memory", nn_shown(path));
        read = fread(bytes->at + bytes->size, 1, bytes->capacity - bytes->size, stream);
        bytes->size += read;
    } while (read > 0);
    if (ferror(stream))
        return nn_fail(error, "%s: %s", nn_shown(path), strerror(errno));
    fit(bytes);
    return true;
}

bool nn_bytes_read(struct nn_bytes *bytes, const char *path, nn_error *error)
{
    *bytes = (struct nn_bytes){0};
    FILE *stream = path ? fopen(path, "rb") : NULL;
    if (!stream)
        return nn_fail(error, "%s: %s", nn_shown(path), path ? strerror(errno) : "no name (NULL)");
    bool read = read_all(bytes, stream, path, error);
    fclose(stream);
    if (!read)
        nn_bytes_free(bytes);
    return read;
}

bool nn_bytes_copy(struct nn_bytes *bytes, const char *name, const void *data, size_t size,
                   nn_error *error)
{
    *bytes = (struct nn_bytes){0};
    if (!nn_bytes_reserve(bytes, size ? size : 1))
        return nn_fail(error, "%s: out of memory", nn_shown(name));
    return nn_bytes_append(bytes, data, size);
}

static bool host_is_little(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first;
}

/* The bytes of one number in reverse order. */
static void reverse(unsigned char *out, const unsigned char *at, size_t size)
{
    for (size_t k = 0; k < size; k++)
        out[k] = at[size - 1 - k];
}

bool nn_write_little(nn_file *file, const void *data, size_t size, size_t count)
{
    const unsigned char *at = data;
    unsigned char number[8];
    if (host_is_little())
        return nn_file_write(file, data, size * count);
    for (size_t i = 0; i < count && !file->error; i++) {
        reverse(number, at + i * size, size);
        nn_file_write(file, number, size);
    }
    return !file->error;
}

bool nn_bytes_append_little(struct nn_bytes *bytes, const void *data, size_t size, size_t count)
{
    const unsigned char *at = data;
    if (host_is_little())
        return nn_bytes_append(bytes, data, size * count);
    if (!nn_bytes_reserve(bytes, size * count))
        return false;
    for (size_t i = 0; i < count; i++, bytes->size += size)
        reverse(bytes->at + bytes->size, at + i * size, size);
    return true;
}

/* ---- Words for messages ---- */

const char *nn_shown(const char *path)
{
    const size_t longest = 200;
    size_t length = path ? strlen(path) : 0;
    return !path ? "file" : length > longest ? path + length - longest : path;
}

const char *nn_shape_print(char *text, const ag_shape *shape)
{
    int used = snprintf(text, NN_SHAPE_TEXT, "(");
    for (int i = 0; i < shape->rank; i++)
        used += snprintf(text + used, (size_t)(NN_SHAPE_TEXT - used), "%s%lld", i ? ", " : "",
                         (long long)shape->dim[i]);
    snprintf(text + used, (size_t)(NN_SHAPE_TEXT - used), shape->rank == 1 ? ",)" : ")");
    return text;
}

bool nn_shape_bytes(const ag_shape *shape, size_t size, size_t *bytes)
{
    size_t product = size, most = PTRDIFF_MAX;
    bool empty = false, fits = true;
    for (int i = 0; i < shape->rank; i++) {
        uint64_t n = (uint64_t)shape->dim[i];
        empty |= n == 0;
        fits &= n == 0 || (n <= most && product <= most / n);
        if (fits && n)
            product *= (size_t)n;
    }
    *bytes = empty ? 0 : product;
    return fits;
}

/* ---- Names ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool nn_check_names(const char *const *name, size_t step, size_t count, const char *path,
                    nn_error *error)
{
    const char **names = malloc(count * sizeof *names + 1);
    bool good = names || nn_fail(error, "%s: out of memory", path);
    for (size_t i = 0; i < count && good; i++)
        memcpy(&names[i], (const char *)name + i * step, sizeof *names);
    if (good)
        qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 1; i < count && good; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            good = nn_fail(error, "%s: two have the name '%.80s'", path, names[i]);
    free(names);
    return good;
}

/* ---- Numbers ---- */

uint64_t nn_integer_at(const unsigned char *at, size_t size, bool big)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[big ? i : size - 1 - i];
    return value;
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

static double real(uint64_t bits, size_t size)
{
    if (size == 2)
        return half((unsigned)bits);
    if (size == 4)
        return single((uint32_t)bits);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double nn_element_at(const struct nn_element *element, const unsigned char *at)
{
    uint64_t bits = nn_integer_at(at, element->size, element->big);
    uint64_t sign = (uint64_t)1 << (8 * element->size - 1);
    switch (element->kind) {
    case 'f':
        return real(bits, element->size);
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

/* ---- Arrays ---- */

void nn_array_free(nn_array *array)
{
    free(array->f32);
    free(array->f64);
    *array = (nn_array){0};
}

static bool allocate(nn_array *array, ag_dtype dtype, const ag_shape *shape)
{
    size_t size = dtype == AG_F32 ? sizeof(float) : sizeof(double), bytes;
    *array = (nn_array){.shape = *shape};
    void *values = nn_shape_bytes(shape, size, &bytes) ? malloc(bytes ? bytes : 1) : NULL;
    if (!values)
        return false;
    array->count = bytes / size;
    if (dtype == AG_F32)
        array->f32 = values;
    else
        array->f64 = values;
    return true;
}

bool nn_array_decode(nn_array *array, ag_dtype dtype, const ag_shape *shape,
                     const struct nn_element *element, const unsigned char *data, bool fortran)
{
    size_t stride[AG_MAX_RANK + 1], index[AG_MAX_RANK + 1] = {0}, step = element->size;
    int rank = shape->rank;
    if (!allocate(array, dtype, shape))
        return false;
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
