/* Any bytes as an .npy file: refused with a message that names the file, or an array.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/fuzz_npy.c nn/{npy,json,bytes,atomic_file}.c -lm && ./a.out */
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nn_array array;
    nn_error error = {""};
    if (nn_npy_parse(&array, size % 2 ? AG_F32 : AG_F64, "fuzz", data, size, &error)) {
        size_t count = 1;
        for (int i = 0; i < array.shape.rank; i++)
            count *= (size_t)array.shape.dim[i];
        if (count != array.count)
            abort();
        nn_array_free(&array);
    } else if (strncmp(error.text, "fuzz: ", 6) != 0) {
        abort();
    }
    return 0;
}
