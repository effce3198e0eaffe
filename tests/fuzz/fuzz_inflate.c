/* Any bytes as a DEFLATE stream: no more output than was allowed, no byte read behind the end.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. \
 *         tests/fuzz/fuzz_inflate.c nn/{inflate,bytes,atomic_file}.c -lm && ./a.out */
#include <stdlib.h>

#include "nn/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nn_bytes out = {0};
    size_t used, most = 1 << 16;
    nn_inflate(&out, data, size, most, &used);
    if (out.size > most || used > size)
        abort();
    nn_bytes_free(&out);
    return 0;
}
