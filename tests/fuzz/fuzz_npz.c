/* Any bytes as an .npz archive: refused with a message that names the file, or members each of
 * which is refused or read.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/fuzz_npz.c nn/{npz,npy,json,inflate,bytes,atomic_file}.c -lm && ./a.out */
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nn_array array;
    nn_error error = {""};
    nn_npz *npz = nn_npz_parse("fuzz", data, size, &error);
    for (size_t i = 0; npz && i < nn_npz_count(npz); i++)
        if (nn_npz_get(npz, nn_npz_name(npz, i), &array, AG_F64, &error))
            nn_array_free(&array);
    if (error.text[0] && strncmp(error.text, "fuzz: ", 6) != 0)
        abort();
    nn_npz_free(npz);
    return 0;
}
