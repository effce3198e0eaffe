/* Arrays in files: .npy and .npz. */
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

/* numpy.savez_compressed(a=arange(6, dtype='>i2').reshape(2, 3), grid=asfortranarray(tile([[0.5,
 * -1, 0.25]], (7, 2)))) */
static const unsigned char savez_compressed[] = {
    80,  75,  3,   4,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   144, 188, 221, 194, 255,
    255, 255, 255, 255, 255, 255, 255, 5,   0,   20,  0,   97,  46,  110, 112, 121, 1,   0,   16,
    0,   140, 0,   0,   0,   0,   0,   0,   0,   82,  0,   0,   0,   0,   0,   0,   0,   155, 236,
    23,  234, 27,  16,  201, 200, 80,  198, 80,  173, 158, 146, 90,  156, 92,  164, 110, 165, 160,
    110, 151, 105, 164, 174, 163, 160, 158, 150, 95,  84,  82,  148, 152, 23,  159, 95,  148, 146,
    10,  18,  119, 75,  204, 41,  78,  5,   138, 23,  103, 36,  22,  164, 2,   249, 26,  70,  58,
    10,  198, 154, 58,  10,  181, 10,  100, 3,   46,  6,   6,   6,   70,  6,   38,  6,   102, 6,
    22,  6,   86,  0,   80,  75,  3,   4,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   61,
    124, 80,  17,  255, 255, 255, 255, 255, 255, 255, 255, 8,   0,   20,  0,   103, 114, 105, 100,
    46,  110, 112, 121, 1,   0,   16,  0,   208, 1,   0,   0,   0,   0,   0,   0,   87,  0,   0,
    0,   0,   0,   0,   0,   155, 236, 23,  234, 27,  16,  201, 200, 80,  198, 80,  173, 158, 146,
    90,  156, 92,  164, 110, 165, 160, 110, 147, 102, 161, 174, 163, 160, 158, 150, 95,  84,  82,
    148, 152, 23,  159, 95,  148, 146, 10,  18,  15,  41,  42,  77,  5,   10,  23,  103, 36,  22,
    164, 2,   185, 26,  230, 58,  10,  102, 154, 58,  10,  181, 10,  228, 3,   46,  6,   48,  120,
    96,  79,  30,  253, 97,  63,  121, 244, 5,   123, 242, 232, 193, 239, 78,  0,   80,  75,  1,
    2,   45,  3,   45,  0,   0,   0,   8,   0,   0,   0,   33,  0,   144, 188, 221, 194, 82,  0,
    0,   0,   140, 0,   0,   0,   5,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   128,
    1,   0,   0,   0,   0,   97,  46,  110, 112, 121, 80,  75,  1,   2,   45,  3,   45,  0,   0,
    0,   8,   0,   0,   0,   33,  0,   61,  124, 80,  17,  87,  0,   0,   0,   208, 1,   0,   0,
    8,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   128, 1,   137, 0,   0,   0,   103,
    114, 105, 100, 46,  110, 112, 121, 80,  75,  5,   6,   0,   0,   0,   0,   2,   0,   2,   0,
    105, 0,   0,   0,   26,  1,   0,   0,   0,   0,
};

/* ---- .npy ---- */

/* An .npy of version 1.0 with that header, and `size` bytes of data. */
static bool parse(const char *header, const void *data, size_t size, nn_array *array,
                  nn_error *error)
{
    unsigned char bytes[1024] = "\x93NUMPY\1";
    size_t length = strlen(header);
    bytes[8] = (unsigned char)length;
    memcpy(bytes + 10, header, length);
    memcpy(bytes + 10 + length, data, size);
    return nn_npy_parse(array, AG_F64, "t.npy", bytes, 10 + length + size, error);
}

#define NPY(descr, order, shape)                                                                   \
    "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }  \n"

static void test_npy_types(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        unsigned char data[8];
        size_t size;
        double value;
    } cases[] = {
        {"|b1", {1}, 1, 1},
        {"|u1", {200}, 1, 200},
        {"|i1", {200}, 1, -56},
        {"<i1", {128}, 1, -128},
        {"<i2", {1, 0x80}, 2, -32767},
        {">u2", {0x80, 1}, 2, 32769},
        {"<i4", {0xff, 0xff, 0xff, 0xff}, 4, -1},
        {"<u4", {0xff, 0xff, 0xff, 0xff}, 4, 4294967295},
        {">i8", {0x80}, 8, -0x1p63},
        {"<i8", {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, -2},
        {"<u8", {0, 0, 0, 0, 0, 0, 0, 0x80}, 8, 0x1p63},
        {"<f2", {0, 0x3e}, 2, 1.5},
        {"<f4", {0, 0, 0x80, 0xbf}, 4, -1},
        {">f4", {0xbf, 0x80}, 4, -1},
        {"<f8", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 8, 1.5},
        {">f8", {0x3f, 0xf8}, 8, 1.5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[128];
        nn_array array;
        nn_error error = {""};
        snprintf(header, sizeof header, NPY("%s", "False", "()"), cases[i].descr);
        assert_true(parse(header, cases[i].data, cases[i].size, &array, &error));
        assert_int_equal(array.shape.rank, 0);
        assert_true(array.count == 1 && array.f64[0] == cases[i].value && !array.f32);
        nn_array_free(&array);
    }
}

static void test_npy_orders(void **state)
{
    (void)state;
    static const unsigned char data[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                           12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    nn_array array;
    assert_true(parse(NPY("|u1", "False", "(2, 3, 4)"), data, 24, &array, NULL));
    for (int i = 0; i < 24; i++)
        assert_true(array.f64[i] == i);
    nn_array_free(&array);
    assert_true(parse("{ \"shape\" :(2,3,4 , ), 'fortran_order':True,'descr':\"|u1\"}\n", data, 24,
                      &array, NULL));
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                assert_true(array.f64[(i * 3 + j) * 4 + k] == i + 2 * j + 6 * k);
    nn_array_free(&array);
    assert_true(parse(NPY("<f4", "True", "(3, 0)"), data, 0, &array, NULL));
    assert_int_equal(array.count, 0);
    nn_array_free(&array);
}

static void test_npy_rules(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        const char *message;
    } cases[] = {
        {NPY("<f4", "False", "(2,)"), 7,
         "7 bytes of data, but the shape (2,) takes 8; is the file cut?"},
        {NPY("<f4", "False", "(2,)"), 9, "9 bytes of data, but the shape (2,) takes 8"},
        {NPY("<f4", "False", "(4611686018427387904, 4)"), 0, "shape is too large"},
        {NPY("<f4", "False", "(9223372036854775808,)"), 0, "a number that is too large"},
        {NPY("<f4", "False", "(1,1,1,1,1,1,1,1,1)"), 4, "shape has more than 8 dimensions"},
        {NPY("<f4", "False", "(1)"), 4, "shape is not a tuple of whole numbers"},
        {NPY("<f4", "False", "(-1,)"), 4, "shape is not a tuple of whole numbers"},
        {NPY("<f4", "False", "(1 2)"), 4, "shape is not a tuple of whole numbers"},
        {NPY("<f4", "False", "(,)"), 4, "shape is not a tuple of whole numbers"},
        {NPY("<f4", "False", "[1]"), 4, "shape is not a tuple"},
        {NPY("<f4", "0", "()"), 4, "fortran_order is neither True nor False"},
        {NPY("|O", "False", "()"), 4, "dtype '|O' is not read"},
        {NPY("<f16", "False", "()"), 4, "dtype '<f16' is not read"},
        {NPY("<c8", "False", "()"), 4, "dtype '<c8' is not read"},
        {NPY("=f4", "False", "()"), 4, "dtype '=f4' is not read"},
        {NPY("|f4", "False", "()"), 4, "dtype '|f4' is not read"},
        {NPY("<f1", "False", "()"), 4, "dtype '<f1' is not read"},
        {NPY("<b2", "False", "()"), 4, "dtype '<b2' is not read"},
        {NPY("<i3", "False", "()"), 4, "dtype '<i3' is not read"},
        {"{'descr': [('a', '<f4')], }\n", 4,
         "descr is not a string: structured dtypes are not read"},
        {"{'descr': '<f4', 'shape': (), }\n", 4, "descr, fortran_order or shape is missing"},
        {"{'descr': '<f4', 'descr': '<f4'}\n", 4, "the key 'descr' is there twice"},
        {"{'order': 'C'}\n", 4, "the key 'order' is unknown"},
        {"{'descr' '<f4'}\n", 4, "a key and a colon expected"},
        {"{'descr': '<f4' 'shape'", 4, "a comma or '}' expected"},
        {"{descr: '<f4'}\n", 4, "a key and a colon expected"},
        {"{", 0, "a key and a colon expected"},
        {"(3)\n", 0, "npy header: not a dictionary"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()} x\n", 4,
         "something else than spaces"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, "something else than spaces"},
    };
    static const char data[16];
    nn_array array;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error error = {""};
        assert_false(parse(cases[i].header, data, cases[i].size, &array, &error));
        assert_memory_equal(error.text, "t.npy: ", 7);
        if (!strstr(error.text, cases[i].message))
            fail_msg("%s: '%s', not '%s'", cases[i].header, error.text, cases[i].message);
    }
    nn_error error;
    assert_false(nn_npy_parse(&array, AG_F32, "t", "\x93NUMPX\1\0\0\0", 10, &error));
    assert_string_equal(error.text, "t: not an npy file");
    assert_false(nn_npy_parse(&array, AG_F32, "t", "\x93NUMPY\4\0\0\0", 10, &error));
    assert_string_equal(error.text, "t: npy version 4.0; 1.0, 2.0 and 3.0 are read");
    assert_false(nn_npy_parse(&array, AG_F32, "t", "\x93NUMPY\2\0\0\0\0", 11, &error));
    assert_string_equal(error.text, "t: the file ends within its npy header; is it cut?");
    assert_false(nn_npy_parse(&array, AG_F32, "t", "\x93NUMPY\1\0\1\0\0", 11, &error));
    assert_string_equal(error.text, "t: npy header: a NUL in it");
}

static void test_npy_files(void **state)
{
    (void)state;
    const char *path = temporary_path("a.npy"), *cut = temporary_path("cut.npy");
    float f[6] = {1, -2, 3.5f, 0, 5, 6};
    double d[3] = {1e300, -1, 0.1};
    nn_array arrays[] = {{AG_SHAPE(2, 3), 6, f, NULL},
                         {AG_SHAPE(3), 3, NULL, d},
                         {AG_SCALAR, 1, f, NULL}};
    nn_error error = {""};
    for (int i = 0; i < 3; i++) {
        nn_array array;
        assert_true(nn_npy_write(&arrays[i], path, &error));
        assert_true(nn_npy_read(&array, arrays[i].f32 ? AG_F32 : AG_F64, path, &error));
        assert_int_equal(array.shape.rank, arrays[i].shape.rank);
        assert_memory_equal(array.shape.dim, arrays[i].shape.dim, sizeof array.shape.dim);
        if (array.f32)
            assert_memory_equal(array.f32, f, array.count * sizeof *f);
        else
            assert_memory_equal(array.f64, d, sizeof d);
        nn_array_free(&array);

        size_t size;
        unsigned char *bytes = read_bytes(path, &size);
        for (size_t n = 0; n < size; n++) {
            write_bytes(cut, bytes, n);
            assert_false(nn_npy_read(&array, AG_F32, cut, &error));
            assert_memory_equal(error.text, cut, strlen(cut));
        }
        free(bytes);
    }
    nn_array array;
    assert_false(nn_npy_read(&array, AG_F32, temporary_path("none"), &error));
    assert_false(nn_npy_write(arrays, temporary_path("no/where"), &error));
}

/* ---- .npz ---- */

static void test_npz_compressed(void **state)
{
    (void)state;
    nn_error error = {""};
    nn_array array;
    nn_npz *npz = nn_npz_parse("t.npz", savez_compressed, sizeof savez_compressed, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(nn_npz_count(npz), 2);
    assert_string_equal(nn_npz_name(npz, 0), "a");
    assert_string_equal(nn_npz_name(npz, 1), "grid");
    assert_null(nn_npz_name(npz, 2));
    assert_true(nn_npz_get(npz, "a", &array, AG_F32, &error));
    assert_true(array.shape.dim[0] == 2 && array.shape.dim[1] == 3);
    for (int i = 0; i < 6; i++)
        assert_true(array.f32[i] == (float)i);
    nn_array_free(&array);
    assert_true(nn_npz_get(npz, "grid", &array, AG_F64, &error));
    assert_true(array.count == 42);
    for (int i = 0; i < 42; i++)
        assert_true(array.f64[i] == (i % 3 == 0 ? 0.5 : i % 3 == 1 ? -1 : 0.25));
    nn_array_free(&array);
    assert_false(nn_npz_get(npz, "b", &array, AG_F32, &error));
    assert_string_equal(error.text, "t.npz: there is no member 'b'");
    nn_npz_free(npz);
    nn_npz_free(NULL);
}

/* A damaged archive is refused, or gives the same numbers (the damage is where nothing is). */
static void check_damaged(const unsigned char *bytes, size_t size, bool cut)
{
    nn_error error = {""};
    nn_npz *npz = nn_npz_parse("t.npz", bytes, size, &error);
    nn_array array;
    assert_false(npz && cut);
    if (npz && nn_npz_get(npz, "a", &array, AG_F64, &error)) {
        for (int i = 0; i < 6; i++)
            assert_true(array.count == 6 && array.f64[i] == i);
        nn_array_free(&array);
    } else {
        assert_memory_equal(error.text, "t.npz: ", 7);
    }
    nn_npz_free(npz);
}

static void test_npz_damaged(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof savez_compressed; n++)
        check_damaged(savez_compressed, n, true);
    unsigned char bytes[sizeof savez_compressed];
    memcpy(bytes, savez_compressed, sizeof bytes);
    for (size_t n = 0; n < sizeof bytes; n++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[n] ^= (unsigned char)(1 << bit);
            check_damaged(bytes, sizeof bytes, false);
            bytes[n] ^= (unsigned char)(1 << bit);
        }
}

/* Every rule, by a change of one field of the first entry of the directory or of its end. */
static void test_npz_rules(void **state)
{
    (void)state;
    const char *path = temporary_path("rules.npz");
    static const struct {
        size_t from_end; /* 0: of the entry */
        size_t offset, size;
        unsigned value;
        const char *message;
    } cases[] = {
        {0, 8, 2, 1, "member 'x' is encrypted"},
        {0, 10, 2, 12, "member 'x' is compressed by method 12; 0 and 8 are read"},
        {0, 20, 4, 0xffffffff, "member 'x' is zip64, which is not read"},
        {0, 20, 4, 5, "member 'x' is stored, but its two sizes differ"},
        {0, 42, 4, 1, "member 'x': no local header where it should be"},
        {0, 42, 4, 0xfffffff, "member 'x': no local header where it should be"},
        {0, 46, 1, 'y', "two have the name 'y'"},
        {0, 28, 2, 6, "the directory is damaged behind member 1 of 2"},
        {0, 0, 1, 'Q', "the directory is damaged behind member 0 of 2"},
        {22, 10, 2, 0xffff, "a zip64 archive, which is not read"},
        {22, 8, 2, 1, "an archive in several parts, which is not read"},
        {22, 16, 4, 3, "the directory is not where its end says"},
        {22, 0, 1, 'Q', "not a zip archive, or its end is cut off"},
    };
    float f[3] = {1, 2, 3};
    double d = 4;
    static const char *const names[] = {"x", "y"};
    nn_array arrays[] = {{AG_SHAPE(3), 3, f, NULL}, {AG_SCALAR, 1, NULL, &d}}, array;
    nn_error error = {""};
    assert_true(nn_npz_write(names, arrays, 2, path, &error));
    size_t size;
    unsigned char *bytes = read_bytes(path, &size), *damaged = malloc(size);
    assert_non_null(damaged);
    size_t entry = nn_integer_at(bytes + size - 6, 4, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(damaged, bytes, size);
        size_t at = (cases[i].from_end ? size - cases[i].from_end : entry) + cases[i].offset;
        for (size_t k = 0; k < cases[i].size; k++)
            damaged[at + k] = (unsigned char)(cases[i].value >> 8 * k);
        assert_null(nn_npz_parse("t.npz", damaged, size, &error));
        if (!strstr(error.text, cases[i].message))
            fail_msg("'%s', not '%s'", error.text, cases[i].message);
    }
    memcpy(damaged, bytes, size);
    damaged[30 + 5 + 128] ^= 1; /* in the first array's data */
    nn_npz *npz = nn_npz_parse("t.npz", damaged, size, &error);
    assert_false(nn_npz_get(npz, "x", &array, AG_F32, &error));
    assert_string_equal(error.text, "t.npz: member 'x': the CRC-32 is wrong: the data are damaged");
    nn_npz_free(npz);
    npz = nn_npz_read(path, &error);
    assert_true(nn_npz_get(npz, "x", &array, AG_F32, &error));
    assert_memory_equal(array.f32, f, sizeof f);
    nn_array_free(&array);
    nn_npz_free(npz);
    free(bytes);
    free(damaged);

    static const char *const twice[] = {"x", "x"};
    assert_false(nn_npz_write(twice, arrays, 2, path, &error));
    assert_non_null(strstr(error.text, "two have the name 'x'"));
    assert_true(nn_npz_write(NULL, NULL, 0, path, &error));
    npz = nn_npz_read(path, &error);
    assert_int_equal(nn_npz_count(npz), 0);
    nn_npz_free(npz);
}

static bool try_all(void *context, char message[512])
{
    nn_error error = {""};
    nn_array a = {0};
    static const char *const names[] = {"a"};
    nn_npz *npz = nn_npz_parse("t", savez_compressed, sizeof savez_compressed, &error);
    bool good = npz && nn_npz_get(npz, "grid", &a, AG_F32, &error) &&
                nn_npy_write(&a, context, &error) && nn_npz_write(names, &a, 1, context, &error);
    nn_npz_free(npz);
    nn_array_free(&a);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

static void test_arrays_out_of_memory(void **state)
{
    (void)state;
    char path[512];
    strcpy(path, temporary_path("memory"));
    int files = count_files();
    assert_true(count_failures(try_all, path) > 10);
    assert_int_equal(count_files(), files + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_types),      cmocka_unit_test(test_npy_orders),
        cmocka_unit_test(test_npy_rules),      cmocka_unit_test(test_npy_files),
        cmocka_unit_test(test_npz_compressed), cmocka_unit_test(test_npz_damaged),
        cmocka_unit_test(test_npz_rules),      cmocka_unit_test(test_arrays_out_of_memory),
    };
    return cmocka_run_group_tests_name("arrays", tests, make_directory, remove_directory);
}
