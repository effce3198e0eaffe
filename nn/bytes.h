/* What the file formats share; not a public header. */
#ifndef TAPEGRAD_BYTES_H
#define TAPEGRAD_BYTES_H

#include "nn.h"

enum {
    NN_SHAPE_TEXT = 200,
    NN_LONGEST_HEADER = 100000000, /* of safetensors */
};

/* A block that grows. `at` is NULL while the capacity is 0. */
struct nn_bytes {
    unsigned char *at;
    size_t size, capacity;
};

/* False when out of memory, and then nothing has changed. */
bool nn_bytes_reserve(struct nn_bytes *bytes, size_t more);
bool nn_bytes_append(struct nn_bytes *bytes, const void *data, size_t size);
bool nn_bytes_print(struct nn_bytes *bytes, const char *format, ...) AG_PRINTF(2, 3);
void nn_bytes_free(struct nn_bytes *bytes);

/* The whole file; the memory is exactly as much. */
bool nn_bytes_read(struct nn_bytes *bytes, const char *path, nn_error *error);
bool nn_bytes_copy(struct nn_bytes *bytes, const char *name, const void *data, size_t size,
                   nn_error *error);

/* The path as it stands in messages: of a long one, the end. */
const char *nn_shown(const char *path);

/* "(3, 4)"; returns text, of NN_SHAPE_TEXT bytes. */
const char *nn_shape_print(char *text, const ag_shape *shape);

/* The number of elements times `size`; false if it, or a dimension, is beyond what memory holds. */
bool nn_shape_bytes(const ag_shape *shape, size_t size, size_t *bytes);

/* That no two of `count` names are the same; they lie `step` bytes apart, in an array of structs.
 */
bool nn_check_names(const char *const *name, size_t step, size_t count, const char *path,
                    nn_error *error);

/* An unsigned integer of 1 to 8 bytes, little-endian or big-endian. */
uint64_t nn_integer_at(const unsigned char *at, size_t size, bool big);

/* How one number is laid out. */
struct nn_element {
    char kind; /* as in NumPy: 'f', 'i', 'u', 'b'; and 'B' is bfloat16 */
    size_t size;
    bool big; /* big-endian */
};

double nn_element_at(const struct nn_element *element, const unsigned char *at);

/* The array of that shape whose elements lie, first axis slowest or (fortran) fastest, at `data`.
 * False when out of memory. */
bool nn_array_decode(nn_array *array, ag_dtype dtype, const ag_shape *shape,
                     const struct nn_element *element, const unsigned char *data, bool fortran);

/* Append `count` numbers of `size` bytes, as they are in memory, in little-endian order. */
bool nn_write_little(nn_file *file, const void *data, size_t size, size_t count);
bool nn_bytes_append_little(struct nn_bytes *bytes, const void *data, size_t size, size_t count);

/* Of a safetensors dtype; 0 if there is no such. */
unsigned nn_dtype_bits(const char *name);

/* False, with the message, when the engine has met an error: values may be anything. */
bool nn_usable(const nn_params *params, const char *path, nn_error *error);

/* The tensor's own values, to be written. */
nn_stored nn_stored_tensor(ag_tensor x, const char *name);

bool nn_check_shape(const nn_stored *tensor, const ag_shape *shape, const char *path,
                    nn_error *error);

/* Appends the .npy image of an array to none. */
bool nn_npy_print(struct nn_bytes *bytes, const nn_array *array);

/* RFC 1951 from data[0 ... size) behind what `out` already has, of at most `most` bytes; *used, the
 * bytes read. NULL, or what is wrong; "out of memory" is the one that is not the data's fault. */
const char *nn_inflate(struct nn_bytes *out, const unsigned char *data, size_t size, size_t most,
                       size_t *used);
const char *nn_gunzip(struct nn_bytes *out, const unsigned char *data, size_t size);
uint32_t nn_crc32(const unsigned char *data, size_t size);

#endif
