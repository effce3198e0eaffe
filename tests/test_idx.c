/* IDX, and the decompression behind it and .npz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_help.h"
#include "nn/bytes.h"

/* An IDX file of bytes (8, 50), sum 281, compressed by gzip -9. */
static const unsigned char idx_gz[] = {
    31,  139, 8,   0,   0,   0,   0,   0,   2,   3,   125, 144, 1,   10,  195, 48,  12,  3,   37,
    217, 105, 218, 239, 236, 255, 143, 219, 96,  145, 50,  88,  105, 32,  112, 200, 142, 172, 24,
    56,  5,   224, 252, 220, 23,  190, 71,  170, 69,  160, 73,  180, 4,   245, 130, 49,  82,  45,
    151, 139, 135, 53,  152, 74,  195, 118, 237, 183, 60,  248, 48,  173, 102, 180, 93,  173, 185,
    160, 91,  150, 108, 140, 166, 253, 200, 157, 37,  211, 116, 253, 255, 232, 50,  77,  236, 105,
    51,  134, 74,  128, 142, 159, 146, 197, 68,  100, 49,  218, 90,  218, 118, 192, 113, 211, 23,
    82,  18,  240, 103, 147, 124, 3,   74,  71,  31,  239, 156, 1,   0,   0,
};

static void test_idx(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[24];
        size_t size;
        double last;
        const char *message;
    } cases[] = {
        {{0, 0, 8, 1, 0, 0, 0, 2, 7, 255}, 10, 255, NULL},
        {{0, 0, 9, 1, 0, 0, 0, 2, 7, 255}, 10, -1, NULL},
        {{0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2}, 14, 258, NULL},
        {{0, 0, 12, 0, 0xff, 0xff, 0xff, 0xfe}, 8, -2, NULL},
        {{0, 0, 13, 0, 0x3f, 0xc0, 0, 0}, 8, 1.5, NULL},
        {{0, 0, 14, 0, 0x3f, 0xf8}, 12, 1.5, NULL},
        {{0}, 3, 0, "t: not an IDX file: it does not begin with two zero bytes"},
        {{0, 1, 8, 1}, 4, 0, "t: not an IDX file: it does not begin with two zero bytes"},
        {{0, 0, 7, 1}, 4, 0, "t: IDX has no type 0x07"},
        {{0, 0, 10, 1}, 4, 0, "t: IDX has no type 0x0a"},
        {{0, 0, 15, 1}, 4, 0, "t: IDX has no type 0x0f"},
        {{0, 0, 8, 9}, 4, 0, "t: 9 dimensions; at most 8 are read"},
        {{0, 0, 8, 1, 0, 0, 0}, 7, 0, "t: the file ends within its IDX header; is it cut?"},
        {{0, 0, 8, 1, 0, 0, 0, 2, 7},
         9,
         0,
         "t: 1 bytes of data do not fit the shape (2,); is the file cut?"},
        {{0, 0, 8, 1, 0, 0, 0, 2, 7, 7, 7}, 11, 0, "t: 3 bytes of data do not fit the shape (2,)"},
        {{0, 0, 14, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
         16,
         0,
         "do not fit"},
        {{0x1f, 0x8b, 8}, 3, 0, "t: gzip: not a gzip header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_array array;
        nn_error error = {""};
        bool good = nn_idx_parse(&array, AG_F64, "t", cases[i].bytes, cases[i].size, &error);
        assert_int_equal(good, !cases[i].message);
        if (!good && !strstr(error.text, cases[i].message))
            fail_msg("'%s', not '%s'", error.text, cases[i].message);
        if (!good)
            continue;
        assert_true(array.f64[array.count - 1] == cases[i].last);
        nn_array_free(&array);
    }
}

static double sum_of(const nn_array *array)
{
    double sum = 0;
    for (size_t i = 0; i < array->count; i++)
        sum += (double)array->f32[i];
    return sum;
}

/* Damaged anywhere, it is refused, or (a bit that nothing hangs on) gives the same bytes. */
static void test_idx_gzip(void **state)
{
    (void)state;
    const char *path = temporary_path("images.gz");
    nn_array array;
    nn_error error = {""};
    write_bytes(path, idx_gz, sizeof idx_gz);
    assert_true(nn_idx_read(&array, AG_F32, path, &error));
    assert_true(array.shape.rank == 2 && array.shape.dim[0] == 8 && array.shape.dim[1] == 50);
    assert_true(sum_of(&array) == 281);
    nn_array_free(&array);
    unsigned char bytes[sizeof idx_gz];
    memcpy(bytes, idx_gz, sizeof bytes);
    for (size_t n = 0; n < sizeof bytes; n++) {
        assert_false(nn_idx_parse(&array, AG_F32, "t", bytes, n, &error));
        for (int bit = 0; n >= 10 && bit < 8; bit++) { /* before it: time and system */
            bytes[n] ^= (unsigned char)(1 << bit);
            if (nn_idx_parse(&array, AG_F32, "t", bytes, sizeof bytes, &error)) {
                assert_true(sum_of(&array) == 281);
                nn_array_free(&array);
            }
            bytes[n] ^= (unsigned char)(1 << bit);
        }
    }
}

static void test_inflate(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[20];
        size_t size;
        const char *result; /* the text, or the problem */
    } cases[] = {
        {{0x4b, 0x4c, 0x4a, 0x4e, 0x04, 0x23, 0x1d, 0x85, 0x8c, 0xd4, 0x9c, 0x9c, 0x7c, 0x00},
         14,
         "abcabcabc, hello"},
        {{1, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'}, 8, "abc"},
        {{0, 1, 0, 0xfe, 0xff, 'a', 3, 0}, 8, "a"},
        {{3, 0}, 2, ""},
        {{0}, 0, "the compressed data end early"},
        {{1, 3, 0, 0xfc, 0xff, 'a', 'b'}, 7, "the compressed data end early"},
        {{1, 3, 0, 0xfc, 0xfe, 'a', 'b', 'c'}, 8, "a stored block whose length is garbled"},
        {{7}, 1, "a block of no known kind"},
        {{0x03, 0x02}, 2, "a distance back beyond the beginning"},
        {{0x1b, 0x03}, 2, "a length that stands for nothing"},
        {{0xfd, 0xff, 0xff}, 3, "more symbols than there are"},
        {{0x05, 0xe0, 0x25, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
         10,
         "an incomplete Huffman code"},
        {{0x05, 0xe0, 0x93, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x00},
         10,
         "a Huffman code with too many codes"},
        {{0x05, 0xe0, 0x13, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
         12,
         "code lengths that repeat nothing, or too often"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nn_bytes out = {0};
        size_t used;
        const char *problem = nn_inflate(&out, cases[i].bytes, cases[i].size, 100, &used);
        if (problem) {
            assert_string_equal(problem, cases[i].result);
        } else {
            assert_int_equal(out.size, strlen(cases[i].result));
            assert_int_equal(used, cases[i].size);
            assert_memory_equal(out.at ? (const char *)out.at : "", cases[i].result, out.size);
            if (out.size)
                assert_string_equal(nn_inflate(&out, cases[i].bytes, cases[i].size, out.size - 1,
                                               &used),
                                    "the data are longer than they should be");
        }
        nn_bytes_free(&out);
    }
    assert_int_equal(nn_crc32((const unsigned char *)"123456789", 9), 0xcbf43926);
}

static bool try_gzip(void *context, char message[512])
{
    nn_error error = {""};
    nn_array array;
    (void)context;
    bool good = nn_idx_parse(&array, AG_F64, "t", idx_gz, sizeof idx_gz, &error);
    if (good)
        nn_array_free(&array);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

static void test_idx_out_of_memory(void **state)
{
    (void)state;
    assert_true(count_failures(try_gzip, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_idx_gzip),
        cmocka_unit_test(test_inflate),
        cmocka_unit_test(test_idx_out_of_memory),
    };
    return cmocka_run_group_tests_name("idx", tests, make_directory, remove_directory);
}
