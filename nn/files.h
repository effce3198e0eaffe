/* Files: safetensors, NumPy's .npy and .npz, IDX, checkpoints, and writing that never costs the old
 * file.
 *
 * As in data.h, functions that can fail return false (or NULL) and write into their last argument,
 * if it is not NULL, a message that names the file, the tensor and the rule broken. Reading is all
 * or nothing: after an error nothing was loaded and nothing is left to free. What is written is a
 * whole file or none (nn_file). Files are checked as if an enemy had made them. */
#ifndef TAPEGRAD_FILES_H
#define TAPEGRAD_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Writing a file whole or not at all ----
 *
 *     nn_file file;
 *     if (!nn_file_begin(&file, "model.bin", &error))
 *         return false;
 *     nn_file_write(&file, values, sizeof values);
 *     return nn_file_commit(&file, &error);
 *
 * What is written goes to PATH.tmp; nn_file_commit sends it to the disk (fsync) and renames it to
 * PATH. So at any moment, also of a crash or a full disk, PATH is the old file whole or the new one
 * whole. After an error PATH.tmp is removed; after a kill it stays, and the next save overwrites
 * it. Two saves to one PATH at once: the second is refused. If PATH is a symbolic link, the file it
 * points to is replaced; anything but a regular file (a directory, a device) is refused. The new
 * file has the permissions of the old one. */
typedef struct nn_file {
    FILE *stream; /* of PATH.tmp; fprintf to it is as good as nn_file_write */
    char *path, *temporary;
    int error; /* errno of the first write that failed; no write is tried after it */
} nn_file;

AG_API bool nn_file_begin(nn_file *file, const char *path, nn_error *error);
AG_API bool nn_file_write(nn_file *file, const void *data, size_t size);
AG_API bool nn_file_commit(nn_file *file, nn_error *error); /* tells of failed writes, too */
AG_API void nn_file_abandon(nn_file *file);                 /* instead of a commit */

/* ---- Weights as safetensors ---- */

/* All parameters under their names, as F32 or F64 as the tape is. */
AG_API bool nn_save_safetensors(const nn_params *params, const char *path, nn_error *error);

/* Sets every parameter from the tensor of its name and shape; F16, BF16, F32 and F64 are converted.
 * A parameter without a tensor is an error, and so is a tensor without a parameter, unless
 * NN_ALLOW_EXTRA is among the flags. */
enum { NN_ALLOW_EXTRA = 1 };
AG_API bool nn_load_safetensors(nn_params *params, const char *path, nn_error *error);
AG_API bool nn_load_safetensors_with(nn_params *params, const char *path, unsigned flags,
                                     nn_error *error);

/* ---- Any safetensors file ----
 *
 * 8 bytes of header length (little-endian), the header in JSON, the tensors' bytes. Enforced: the
 * header is at most 100,000,000 bytes, begins with '{', is UTF-8 and JSON, and nothing but spaces
 * follows it; no name or metadata key is there twice; metadata are strings; each tensor has
 * exactly dtype, shape and data_offsets; its bytes are as many as dtype and shape say; together the
 * tensors cover the bytes behind the header, without hole or overlap. Of what the format allows, a
 * tensor of more than 8 dimensions and a name with a NUL in it are refused. */
typedef struct nn_stored {
    const char *name;
    const char *dtype; /* "F32" and so on; see nn_stored_values */
    ag_shape shape;
    const void *data; /* (size) bytes, row-major, little-endian, perhaps not aligned */
    size_t size;
} nn_stored;

typedef struct nn_metadata {
    const char *key, *value;
} nn_metadata;

typedef struct nn_safetensors {
    size_t count, metadata_count;
    nn_stored *tensors;    /* (count), in strcmp order of their names */
    nn_metadata *metadata; /* (metadata_count), in strcmp order of their keys */
    unsigned char *bytes;  /* the file; the strings above are in its header */
} nn_safetensors;

/* Everything in it lives until nn_safetensors_free. */
AG_API nn_safetensors *nn_safetensors_read(const char *path, nn_error *error);

/* The same from memory; `name` stands for the file in messages. Keeps neither pointer. */
AG_API nn_safetensors *nn_safetensors_parse(const char *name, const void *bytes, size_t size,
                                            nn_error *error);
AG_API void nn_safetensors_free(nn_safetensors *file); /* NULL is allowed */

AG_API const nn_stored *nn_safetensors_find(const nn_safetensors *file,
                                            const char *name); /* or NULL */

/* The elements as doubles: of BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32 and F64
 * (64-bit integers rounded to nearest); false, and nothing written, of any other dtype. */
AG_API bool nn_stored_values(const nn_stored *tensor, double *values);

/* Writes the tensors in the order given; data are in the machine's own byte order. */
AG_API bool nn_safetensors_write(const char *path, const nn_stored *tensors, size_t count,
                                 const nn_metadata *metadata, size_t metadata_count,
                                 nn_error *error);

/* ---- Checkpoints ----
 *
 * Everything a training run is made of, so that one resumed goes on with the same bits as if it had
 * never stopped. Save and load name the same things; what is NULL is left out. A checkpoint is a
 * safetensors file: the weights under their own names, the rest under names that begin with
 * "training/".
 *
 *     nn_checkpoint checkpoint = {.params = params, .optimizer = adam, .batches = &batches};
 *     if (resume && !nn_load_checkpoint(&checkpoint, path, &error))
 *         ...
 *     ... train, checkpoint.step++ ...
 *     nn_save_checkpoint(&checkpoint, path, &error);
 */

/* Numbers of one's own: a best loss, a history. Names are unique. Loading needs as many as were
 * saved or, if there is room for `most`, sets their count. It refuses if those of a fixed one are
 * not these: say, the length of a schedule that is to be gone on with. */
typedef struct nn_numbers {
    const char *name;
    double *values;
    size_t count, most;
    bool fixed;
} nn_numbers;

typedef struct nn_checkpoint {
    nn_params *params;       /* values, and the generators of the list and of its tape */
    nn_optimizer *optimizer; /* options (the method must be the same), state, step counts */
    nn_batches *batches;     /* position and its generator; over as many rows */
    nn_params *average;      /* two copies of the weights (nn_params_copy): */
    nn_params *best;
    uint64_t step; /* where the schedule stands */
    nn_numbers *numbers;
    size_t numbers_count;
} nn_checkpoint;

AG_API bool nn_save_checkpoint(const nn_checkpoint *checkpoint, const char *path, nn_error *error);
AG_API bool nn_load_checkpoint(nn_checkpoint *checkpoint, const char *path, nn_error *error);

/* ---- Arrays: .npy, .npz, IDX ---- */

typedef struct nn_array {
    ag_shape shape;
    size_t count; /* of elements */
    float *f32;   /* the elements, row-major: one of the two, */
    double *f64;  /* and the other is NULL */
} nn_array;

AG_API void nn_array_free(nn_array *array);

/* NumPy's .npy, versions 1.0 to 3.0, of either order and byte order: f2, f4, f8, i1 ... i8,
 * u1 ... u8 and b1, converted to f32 or f64 as `dtype` says. At most 8 dimensions; no other dtype,
 * and no bytes behind the elements. */
AG_API bool nn_npy_read(nn_array *array, ag_dtype dtype, const char *path, nn_error *error);
AG_API bool nn_npy_parse(nn_array *array, ag_dtype dtype, const char *name, const void *bytes,
                         size_t size, nn_error *error);

/* Version 1.0, <f4 or <f8. */
AG_API bool nn_npy_write(const nn_array *array, const char *path, nn_error *error);

/* NumPy's .npz: a zip archive of .npy files, as savez and savez_compressed write it; CRC-32s are
 * checked. No zip64 (members beyond 4 GiB), no encryption. Member names are without ".npy". */
typedef struct nn_npz nn_npz;

AG_API nn_npz *nn_npz_read(const char *path, nn_error *error);
AG_API nn_npz *nn_npz_parse(const char *name, const void *bytes, size_t size, nn_error *error);
AG_API void nn_npz_free(nn_npz *npz); /* NULL is allowed */
AG_API size_t nn_npz_count(const nn_npz *npz);
AG_API const char *nn_npz_name(const nn_npz *npz, size_t index);
AG_API bool nn_npz_get(const nn_npz *npz, const char *name, nn_array *array, ag_dtype dtype,
                       nn_error *error);

/* Stored, not compressed. */
AG_API bool nn_npz_write(const char *const *names, const nn_array *arrays, size_t count,
                         const char *path, nn_error *error);

/* IDX, the format of MNIST's files, plain or compressed by gzip. */
AG_API bool nn_idx_read(nn_array *array, ag_dtype dtype, const char *path, nn_error *error);
AG_API bool nn_idx_parse(nn_array *array, ag_dtype dtype, const char *name, const void *bytes,
                         size_t size, nn_error *error);

#ifdef __cplusplus
}
#endif

#endif
