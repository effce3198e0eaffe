/* What the file formats share; not a public header. */
#ifndef TAPEGRAD_BYTES_H
#define TAPEGRAD_BYTES_H

#include "nn.h"

enum { NN_SHAPE_TEXT = 200 };

/* ---- Messages ---- */

/* A file as messages name it, and where they go. */
struct nn_source {
    const char *name; /* of a long one, the end is shown; NULL: "file" */
    nn_error *error;
};

/* "NAME: ..."; returns false. */
bool nn_refuse(const struct nn_source *source, const char *format, ...) AG_PRINTF(2, 3);
bool nn_out_of_memory(const struct nn_source *source);

/* What is given: that no pointer was NULL; else false, with the message. */
bool nn_given(nn_error *error, const char *who, bool given);

/* Of a name, as much as is shown. */
const char *nn_shown(const char *name);

/* "(3, 4)"; returns text, of NN_SHAPE_TEXT bytes. */
const char *nn_shape_print(char *text, const ag_shape *shape);

/* ---- Bytes ---- */

/* A block that grows. Once memory has run out, `failed` is set and nothing more is added: one look
 * at the end is enough. `at` is NULL while the capacity is 0. */
struct nn_bytes {
    unsigned char *at;
    size_t size, capacity;
    bool failed;
};

bool nn_bytes_reserve(struct nn_bytes *bytes, size_t more); /* false: failed */
void nn_bytes_append(struct nn_bytes *bytes, const void *data, size_t size);
void nn_bytes_print(struct nn_bytes *bytes, const char *format, ...)
    AG_PRINTF(2, 3); /* puts a NUL behind, which is not counted */
void nn_bytes_free(struct nn_bytes *bytes);

/* Writes them whole or not at all (nn_file), and frees them. */
bool nn_bytes_save(struct nn_bytes *bytes, const char *path, nn_error *error);

/* A copy of some memory or, without it, the file of the source's name, whole. Behind it stands a
 * NUL that is not counted. */
struct nn_memory {
    const void *at;
    size_t size;
};
bool nn_bytes_get(struct nn_bytes *bytes, const struct nn_memory *memory,
                  const struct nn_source *source);

/* ---- Numbers ---- */

/* An unsigned integer of 1 to 8 bytes, little-endian or big-endian. */
uint64_t nn_integer_at(const unsigned char *at, size_t size, bool big);
void nn_bytes_integer(struct nn_bytes *bytes, uint64_t value, size_t size); /* little-endian */

/* How one number is laid out. */
struct nn_element {
    char kind; /* as in NumPy: 'f', 'i', 'u', 'b'; and 'B' is bfloat16 */
    size_t size;
    bool big; /* big-endian */
};

double nn_element_at(const struct nn_element *element, const unsigned char *at);

/* Writes, or appends, `count` numbers of `size` bytes, as they are in memory, in little-endian
 * order. */
void nn_write_little(nn_file *file, const void *data, size_t size, size_t count);
void nn_bytes_little(struct nn_bytes *bytes, const void *data, size_t size, size_t count);

/* ---- Arrays and tensors ---- */

/* The number of elements times `size`; false if it, or a dimension, is beyond what memory holds. */
bool nn_shape_bytes(const ag_shape *shape, size_t size, size_t *bytes);

/* The array of that shape whose elements lie, first axis slowest or (fortran) fastest, at `data`.
 */
bool nn_array_decode(nn_array *array, ag_dtype dtype, const ag_shape *shape,
                     const struct nn_element *element, const unsigned char *data, bool fortran,
                     const struct nn_source *source);

/* An array from a file by one of the parsers: nn_npy_parse, nn_idx_parse. */
typedef bool nn_array_parser(nn_array *array, ag_dtype dtype, const char *name, const void *bytes,
                             size_t size, nn_error *error);
bool nn_array_read(nn_array *array, ag_dtype dtype, const char *path, nn_array_parser *parse,
                   nn_error *error);

/* That an array is as its shape says. */
bool nn_array_check(const nn_array *array, const struct nn_source *source);

/* Appends the .npy image of an array to none. */
void nn_npy_print(struct nn_bytes *bytes, const nn_array *array);

/* For qsort and bsearch: names, or structs that begin with theirs. */
int nn_compare_names(const void *a, const void *b);

/* Sorts `count` of these, of `size` bytes each; a name that is there twice, or NULL. */
const char *nn_sort_names(void *items, size_t count, size_t size);

/* That there is none; sorts a copy. */
bool nn_check_names(const void *items, size_t count, size_t size, const struct nn_source *source);

bool nn_same_shape(const ag_shape *a, const ag_shape *b);

/* How the tensor's elements are laid out; false if its dtype is not read. */
bool nn_stored_element(const nn_stored *tensor, struct nn_element *element);

/* ---- Lists of what a file holds ---- */

struct nn_place {
    size_t name; /* in the list's names */
    void *words; /* U64 or F64 numbers; or NULL and */
    ag_tensor tensor;
};

struct nn_list {
    struct nn_bytes stored_bytes, place_bytes, names;
    nn_stored *stored;      /* (count); names are set by nn_list_finish */
    struct nn_place *place; /* (count): where values come from and go to */
    size_t count;
};

/* Named PREFIX + NAME or, if the number is not negative, PREFIX + NAME/NUMBER. */
void nn_list_words(struct nn_list *list, const char *prefix, const char *name, const char *dtype,
                   void *words, ag_shape shape);
void nn_list_tensor(struct nn_list *list, const char *prefix, const char *name, int number,
                    ag_tensor x);
void nn_list_params(struct nn_list *list, const char *prefix, const nn_params *params);
bool nn_list_finish(struct nn_list *list, const struct nn_source *source);
void nn_list_free(struct nn_list *list);

/* That the file has every item as it must be (convert: of any floating-point type), and no other
 * tensor; of one, the message says `extra` (NULL: it may have others). */
bool nn_list_check(const struct nn_list *list, const nn_safetensors *file, bool convert,
                   const char *extra, const struct nn_source *source);

/* Sets the items from ... to-1 from a file that was checked. */
void nn_list_load(const struct nn_list *list, size_t from, size_t to, const nn_safetensors *file);

/* False, with the message, when the engine has met an error: values may be anything. */
bool nn_usable(const nn_params *params, const struct nn_source *source);

/* ---- Decompression ---- */

/* RFC 1951 from data[0 ... size) behind what `out` already has, of at most `most` bytes; *used, the
 * bytes read. NULL, or what is wrong; "out of memory" is the one that is not the data's fault. */
const char *nn_inflate(struct nn_bytes *out, const unsigned char *data, size_t size, size_t most,
                       size_t *used);
const char *nn_gunzip(struct nn_bytes *out, const unsigned char *data, size_t size);
uint32_t nn_crc32(const unsigned char *data, size_t size);

#endif
