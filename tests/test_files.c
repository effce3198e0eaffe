/* The safetensors container, rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "file_help.h"
#include "nn/nn.h"

/* Header and `size` bytes 0, 1, 2 ... of data. */
static nn_safetensors *parse(const char *header, size_t length, size_t size, nn_error *error)
{
    unsigned char bytes[2048];
    assert_true(8 + length + size <= sizeof bytes);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    return nn_safetensors_parse("t.safetensors", bytes, 8 + length + size, error);
}

#define T(dtype, shape, begin, end)                                                                \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void test_container_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size, tensors;
    } cases[] = {
        {"{}", 0, 0},
        {"{}     ", 0, 0},
        {"{ \"__metadata__\" : { } }", 0, 0},
        {"{\"a\":" T("F32", "[]", 0, 4) "}", 4, 1},
        {"{\"a\":" T("F32", "[0]", 0, 0) "}", 0, 1},
        {"{\"a\":" T("F32", "[4294967296,0]", 0, 0) "}", 0, 1},
        {"{\"b\":" T("U8", "[2]", 4, 6) ",\"z\":" T("U8", "[3,0]", 4, 4) ",\"a\":" T("F16", "[1,2]",
                                                                                     0, 4) "}",
         6, 3},
        {"{\"a\":" T("F4", "[3,2]", 0, 3) "}", 3, 1},
        {"{\"a\":" T("C64", "[1]", 0, 8) "}", 8, 1},
        {"{\n\t\"a\" :{\"shape\": [ 1 , 1 ] ,\r\"data_offsets\":[0,1],\"dtype\":\"BOOL\"} }", 1, 1},
        {"{\"\":" T("I8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error error = {""};
        nn_safetensors *file =
            parse(cases[i].header, strlen(cases[i].header), cases[i].size, &error);
        assert_string_equal(error.text, "");
        assert_int_equal(file->count, cases[i].tensors);
        nn_safetensors_free(file);
    }
    nn_safetensors_free(NULL);
}

static void test_container_rules(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        const char *message;
    } cases[] = {
        {"", 0, "the header does not begin with '{'"},
        {" {}", 0, "the header does not begin with '{'"},
        {"[]", 0, "the header does not begin with '{'"},
        {"{}\n", 0, "byte 2: not valid JSON: something behind the closing brace"},
        {"{}{}", 0, "something behind the closing brace"},
        {"{", 0, "byte 1: not valid JSON: a string expected"},
        {"{\"a\"}", 0, "byte 4: not valid JSON: ':' expected"},
        {"{\"a\":1}", 0, "'{' expected"},
        {"{\"a\":" T("U8", "[1]", 0, 1) ",}", 1, "a string expected"},
        {"{\"a\":" T("U8", "[1]", 0, 1) " \"b\":{}}", 1, "',' or a closing bracket expected"},
        {"{\"a", 0, "its quote is missing"},
        {"{\"a\nb\":{}}", 0, "a control character in a string"},
        {"{\"\\x\":{}}", 0, "an escape that JSON does not have"},
        {"{\"\\u12g4\":{}}", 0, "\\u without four hexadecimal digits"},
        {"{\"\\u12", 0, "\\u without four hexadecimal digits"},
        {"{\"\\u0000\":{}}", 0, "a NUL in a string"},
        {"{\"\\ud800\":{}}", 0, "half of a surrogate pair"},
        {"{\"\\udc00\":{}}", 0, "half of a surrogate pair"},
        {"{\"\\ud800\\u0041\":{}}", 0, "half of a surrogate pair"},
        {"{\"\xff\":{}}", 0, "header, byte 2: not valid UTF-8"},
        {"{\"\xc3\":{}}", 0, "byte 2: not valid UTF-8"},
        {"{\"\xc0\x80\":{}}", 0, "not valid UTF-8"},
        {"{\"\xe0\x9f\xbf\":{}}", 0, "not valid UTF-8"},
        {"{\"\xed\xa0\x80\":{}}", 0, "not valid UTF-8"},
        {"{\"\xf0\x8f\xbf\xbf\":{}}", 0, "not valid UTF-8"},
        {"{\"\xf4\x90\x80\x80\":{}}", 0, "not valid UTF-8"},
        {"{\"\xf5\x80\x80\x80\":{}}", 0, "not valid UTF-8"},
        {"{\"a\":{}}", 0, "tensor 'a': dtype, shape or data_offsets is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, "tensor 'a': dtype, shape or data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 4, "the key 'dtype' is there twice"},
        {"{\"a\":{\"type\":\"F32\"}}", 4,
         "the key 'type' is not one of dtype, shape, data_offsets"},
        {"{\"a\":{\"dtype\":5}}", 4, "a string expected"},
        {"{\"a\":" T("F31", "[]", 0, 4) "}", 4, "tensor 'a': there is no dtype 'F31'"},
        {"{\"a\":" T("f32", "[]", 0, 4) "}", 4, "tensor 'a': there is no dtype 'f32'"},
        {"{\"a\":" T("F32", "[-1]", 0, 4) "}", 4, "a whole number, 0 or more, expected"},
        {"{\"a\":" T("F32", "[1.0]", 0, 4) "}", 4, "a whole number, 0 or more, expected"},
        {"{\"a\":" T("F32", "[1e0]", 0, 4) "}", 4, "a whole number, 0 or more, expected"},
        {"{\"a\":" T("F32", "[01]", 0, 4) "}", 4, "a number with a leading zero"},
        {"{\"a\":" T("F32", "[00]", 0, 0) "}", 0, "a number with a leading zero"},
        {"{\"a\":" T("F32", "[9223372036854775808]", 0, 4) "}", 4, "a number that is too large"},
        {"{\"a\":" T("F32", "{}", 0, 4) "}", 4, "'[' expected"},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "more than 8 dimensions"},
        {"{\"a\":" T("F32", "[2]", 0, 4) "}", 4, "4 bytes, which F32 (2,) does not fill exactly"},
        {"{\"a\":" T("F32", "[4294967296,4294967296]", 0, 0) "}", 0, "does not fill exactly"},
        {"{\"a\":" T("F32", "[4294967296,4294967296,0]", 0, 4) "}", 4, "does not fill exactly"},
        {"{\"a\":" T("F4", "[3]", 0, 2) "}", 2, "does not fill exactly"},
        {"{\"a\":" T("F32", "[1]", 4, 0) "}", 4,
         "data_offsets 4 to 0 do not lie within the 4 bytes"},
        {"{\"a\":" T("F32", "[1]", 0, 4) "}", 3,
         "do not lie within the 3 bytes of data; is the file cut?"},
        {"{\"a\":" T("F32", "[1]", 0, 18446744073709551615) "}", 4, "a number that is too large"},
        {"{\"a\":" T("U8", "[1]", 0, 1) "}", 2, "t.safetensors: 1 bytes behind the last tensor"},
        {"{}", 1, "1 bytes behind the last tensor"},
        {"{\"a\":" T("U8", "[1]", 1, 2) "}", 2,
         "tensor 'a' begins at byte 1 of the data, but the one before ends at 0: a hole"},
        {"{\"b\":" T("U8", "[2]", 1, 3) ",\"a\":" T("U8", "[2]", 0, 2) "}", 3,
         "tensor 'b' begins at byte 1 of the data, but the one before ends at 2: they overlap"},
        {"{\"b\":" T("U8", "[2]", 3, 5) ",\"a\":" T("U8", "[2]", 0, 2) "}", 5, "a hole"},
        {"{\"a\":" T("U8", "[2]", 0, 2) ",\"b\":" T("U8", "[2]", 0, 2) "}", 2, "they overlap"},
        {"{\"a\":" T("U8", "[0]", 1, 1) ",\"b\":" T("U8", "[2]", 0, 2) "}", 2, "they overlap"},
        {"{\"a\":" T("U8", "[1]", 0, 1) ",\"\\u0061\":" T("U8", "[1]", 1, 2) "}", 2,
         "tensor 'a': the name is there twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
        {"{\"__metadata__\":{\"a\":\"1\",\"b\":\"\",\"a\":\"2\"}}", 0,
         "__metadata__: 'a' is there twice"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: 'a' is not a string"},
        {"{\"__metadata__\":{\"a\":null}}", 0, "__metadata__: 'a' is not a string"},
        {"{\"__metadata__\":[]}", 0, "'{' expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error error = {""};
        assert_null(parse(cases[i].header, strlen(cases[i].header), cases[i].size, &error));
        assert_memory_equal(error.text, "t.safetensors: ", 15);
        if (!strstr(error.text, cases[i].message))
            fail_msg("%s: '%s', not '%s'", cases[i].header, error.text, cases[i].message);
        assert_null(parse(cases[i].header, strlen(cases[i].header), cases[i].size, NULL));
    }
    nn_error error;
    assert_null(parse("{}\0 ", 4, 0, &error));
    assert_string_equal(error.text, "t.safetensors: not valid JSON: a NUL in the header");
}

static void test_container_length(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[10];
        size_t size;
        const char *message;
    } cases[] = {
        {"", 0, "t: 0 bytes are not even a header's length"},
        {"\2\0\0\0\0\0\0", 7, "t: 7 bytes are not even a header's length"},
        {"\2\0\0\0\0\0\0\0{", 9, "t: a header of 2 bytes, but only 1 follow; is the file cut?"},
        {"\0\341\365\5\0\0\0\0{}", 10,
         "t: a header of 100000000 bytes, but only 2 follow; is the file cut?"},
        {"\1\341\365\5\0\0\0\0{}", 10,
         "t: a header of 100000001 bytes; at most 100000000 are allowed"},
        {"\377\377\377\377\377\377\377\377{}", 10,
         "t: a header of 18446744073709551615 bytes; at most 100000000 are allowed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nn_error error;
        assert_null(nn_safetensors_parse("t", cases[i].bytes, cases[i].size, &error));
        assert_string_equal(error.text, cases[i].message);
    }
}

static void test_container_values(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"k\\\"\\\\\\/"
        "\\b\\f\\n\\r\\t\":\"\\u00e4\\u20AC\\ud83d\\ude00\",\"a\":\"\"},"
        "\"u8\":" T("U8", "[2]", 1, 3) ",\"f4\":" T("F4", "[2]", 0, 1) ",\"i16\":" T(
            "I16", "[1]", 3, 5) ",\"u64\":" T("U64", "[]", 5, 13) "}";
    nn_error error;
    nn_safetensors *file = parse(header, sizeof header - 1, 13, &error);
    assert_non_null(file);
    assert_int_equal(file->metadata_count, 2);
    assert_string_equal(file->metadata[0].key, "a");
    assert_string_equal(file->metadata[1].key, "k\"\\/\b\f\n\r\t");
    assert_string_equal(file->metadata[1].value, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    double values[2];
    assert_true(nn_stored_values(nn_safetensors_find(file, "u8"), values));
    assert_true(values[0] == 1 && values[1] == 2);
    assert_true(nn_stored_values(nn_safetensors_find(file, "i16"), values));
    assert_true(values[0] == 0x0403);
    assert_true(nn_stored_values(nn_safetensors_find(file, "u64"), values));
    assert_true(values[0] == (double)0x0c0b0a0908070605);
    assert_false(nn_stored_values(nn_safetensors_find(file, "f4"), values));
    assert_null(nn_safetensors_find(file, "none"));
    nn_safetensors_free(file);
}

static void test_container_write(void **state)
{
    (void)state;
    const char *path = temporary_path("w.safetensors");
    static const float f[2] = {1.5f, -2};
    static const nn_metadata metadata[] = {{"key\"\1", "\xc3\xa4\\"}, {"b", ""}, {"b", "2"}};
    nn_stored t[] = {{"x\n", "F32", AG_SHAPE(2, 1), f, 8}, {"e", "F64", AG_SHAPE(0), f, 0}};
    nn_error error = {""};
    assert_true(nn_safetensors_write(path, t, 2, metadata, 2, &error));
    nn_safetensors *file = nn_safetensors_read(path, &error);
    assert_non_null(file);
    assert_int_equal(file->count, 2);
    assert_string_equal(file->metadata[1].key, "key\"\1");
    assert_string_equal(file->metadata[1].value, "\xc3\xa4\\");
    assert_memory_equal(nn_safetensors_find(file, "x\n")->data, f, 8);
    nn_safetensors_free(file);
    assert_true(nn_safetensors_write(path, NULL, 0, NULL, 0, &error));
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    assert_int_equal(size, 16);
    assert_memory_equal(bytes, "\10\0\0\0\0\0\0\0{}      ", 16);
    free(bytes);

    assert_false(nn_safetensors_write(path, t, 2, metadata, 3, &error));
    assert_non_null(strstr(error.text, "two have the name 'b'"));
    t[1].name = "x\n";
    assert_false(nn_safetensors_write(path, t, 2, NULL, 0, &error));
    assert_non_null(strstr(error.text, "two have the name 'x?'"));
    t[1].name = "\xff";
    assert_false(nn_safetensors_write(path, t, 2, NULL, 0, &error));
    assert_non_null(strstr(error.text, "not valid UTF-8"));
    t[1].name = "__metadata__";
    assert_false(nn_safetensors_write(path, t, 2, NULL, 0, &error));
    assert_non_null(strstr(error.text, "no tensor may have the name __metadata__"));
    t[0].size = 7;
    assert_false(nn_safetensors_write(path, t, 1, NULL, 0, &error));
    assert_non_null(strstr(error.text, "tensor 'x?': 7 bytes are not F32 (2, 1)"));
    bytes = read_bytes(path, &size);
    assert_int_equal(size, 16);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_container_accepts), cmocka_unit_test(test_container_rules),
        cmocka_unit_test(test_container_length),  cmocka_unit_test(test_container_values),
        cmocka_unit_test(test_container_write),
    };
    return cmocka_run_group_tests_name("files", tests, make_directory, remove_directory);
}
