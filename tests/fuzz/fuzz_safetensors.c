/* Any bytes as a safetensors file: it is refused with a message that names the file, or what it
 * gives can be read to the end, covers the data, and is found by name.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/fuzz_safetensors.c nn/{safetensors,json,bytes,atomic_file}.c -lm &&
 * ./a.out */
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
    if (!what)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nn_error error = {""};
    nn_safetensors *file = nn_safetensors_parse("fuzz", data, size, &error);
    if (!file) {
        require(strncmp(error.text, "fuzz: ", 6) == 0);
        return 0;
    }
    size_t covered = 0;
    for (size_t i = 0; i < file->count; i++) {
        const nn_stored *t = &file->tensors[i];
        require(nn_safetensors_find(file, t->name) == t);
        double *values = malloc(8 * t->size + 1);
        require(values);
        nn_stored_values(t, values);
        free(values);
        covered += t->size;
    }
    for (size_t i = 0; i < file->metadata_count; i++)
        require(strlen(file->metadata[i].key) + strlen(file->metadata[i].value) < size);
    require(covered < size);
    nn_safetensors_free(file);
    return 0;
}
