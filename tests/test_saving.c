/* Weights as safetensors, and saving that never costs the old file. */
#define _DEFAULT_SOURCE /* symlink, setrlimit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_help.h"
#include "nn/nn.h"

/* ---- Weights ---- */

static nn_params *network(ag_tape *tape, uint64_t seed)
{
    nn_params *params = nn_params_new(tape, seed);
    nn_linear_new(params, "hidden", 3, 2);
    nn_linear_new(params, "out", 2, 1);
    assert_null(ag_error(tape));
    return params;
}

static void assert_same_weights(nn_params *a, nn_params *b)
{
    double x[6], y[6];
    for (size_t i = 0; i < nn_params_count(a); i++) {
        size_t count = (size_t)ag_count(nn_params_at(a, i));
        assert_true(ag_get_f64(nn_params_at(a, i), x, count));
        assert_true(ag_get_f64(nn_params_at(b, i), y, count));
        assert_memory_equal(x, y, count * sizeof *x);
    }
}

static void test_weights(void **state)
{
    (void)state;
    const char *path = temporary_path("weights.safetensors");
    nn_error error = {""};
    for (int i = 0; i < 2; i++) {
        ag_dtype dtype = i ? AG_F64 : AG_F32;
        ag_tape *tape = ag_tape_new(dtype), *other = ag_tape_new(dtype);
        nn_params *saved = network(tape, 1), *loaded = network(other, 2);
        assert_true(nn_save_safetensors(saved, path, &error));
        assert_true(nn_load_safetensors(loaded, path, &error));
        assert_same_weights(saved, loaded);
        assert_string_equal(error.text, "");
        ag_tape_free(other);
        other = ag_tape_new(i ? AG_F32 : AG_F64); /* the other type, and back: floats survive it */
        loaded = network(other, 3);
        assert_true(nn_load_safetensors(loaded, path, &error));
        if (dtype == AG_F32)
            assert_same_weights(saved, loaded);
        ag_tape_free(tape);
        ag_tape_free(other);
    }
}

/* One parameter "w" (3) against a file that has it as `stored`. */
static bool load_one(const nn_stored *stored, size_t count, unsigned flags, double values[3],
                     nn_error *error)
{
    const char *path = temporary_path("one.safetensors");
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, 0);
    ag_tensor w = nn_parameter(params, "w", AG_SHAPE(3));
    assert_true(nn_init_constant(w, 7));
    assert_true(nn_safetensors_write(path, stored, count, NULL, 0, NULL));
    bool loaded = nn_load_safetensors_with(params, path, flags, error);
    assert_true(ag_get_f64(w, values, 3));
    assert_null(ag_error(tape));
    ag_tape_free(tape);
    return loaded;
}

static void test_weights_converted(void **state)
{
    (void)state;
    static const uint16_t half[][3] = {{0x3c00, 0xc100, 0x0001},
                                       {0x7bff, 0xfc00, 0x8000},
                                       {0x0400, 0x03ff, 0x7e00}};
    static const double expected[][3] = {{1, -2.5, 0x1p-24},
                                         {65504, -HUGE_VAL, -0.0},
                                         {0x1p-14, 1023 * 0x1p-24, (double)NAN}};
    static const uint16_t brain[3] = {0x3f80, 0xc2f7, 0x0001};
    double w[3];
    nn_stored stored = {"w", "F16", AG_SHAPE(3), NULL, 6};
    for (int i = 0; i < 3; i++) {
        stored.data = half[i];
        assert_true(load_one(&stored, 1, 0, w, NULL));
        for (int k = 0; k < 3; k++)
            assert_true(isnan(expected[i][k])
                            ? isnan(w[k])
                            : w[k] == expected[i][k] && !signbit(w[k]) == !signbit(expected[i][k]));
    }
    stored.dtype = "BF16";
    stored.data = brain;
    assert_true(load_one(&stored, 1, 0, w, NULL));
    assert_true(w[0] == 1 && w[1] == -123.5 && w[2] == 0x1p-133);
}

static void test_weights_rules(void **state)
{
    (void)state;
    static const float f[12] = {1, 2, 3};
    nn_stored good = {"w", "F32", AG_SHAPE(3), f, 12}, extra = {"v", "U8", AG_SCALAR, f, 1};
    nn_stored wrong = good, two[] = {good, extra};
    nn_error error;
    double w[3];
    wrong.shape = AG_SHAPE(3, 1);
    assert_false(load_one(&wrong, 1, 0, w, &error));
    assert_non_null(
        strstr(error.text, "one.safetensors: tensor 'w' has the shape (3, 1); it must be (3,)"));
    wrong = (nn_stored){"w", "I32", AG_SHAPE(3), f, 12};
    assert_false(load_one(&wrong, 1, 0, w, &error));
    assert_non_null(strstr(error.text, "tensor 'w' is I32; it must be F16, BF16, F32 or F64"));
    assert_false(load_one(&extra, 1, NN_ALLOW_EXTRA, w, &error));
    assert_non_null(strstr(error.text, "there is no tensor 'w'"));
    assert_false(load_one(two, 2, 0, w, &error));
    assert_non_null(strstr(error.text, "tensor 'v' is no parameter here"));
    assert_true(w[0] == 7 && w[1] == 7 && w[2] == 7);
    assert_true(load_one(two, 2, NN_ALLOW_EXTRA, w, &error));
    assert_true(w[0] == 1 && w[1] == 2 && w[2] == 3);

    assert_false(nn_save_safetensors(NULL, temporary_path("none"), &error));
    assert_false(nn_load_safetensors(NULL, temporary_path("none"), &error));
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = network(tape, 1);
    assert_false(nn_load_safetensors(params, temporary_path("none"), &error));
    assert_non_null(strstr(error.text, "none: No such file or directory"));
    ag_fail(tape, "something went wrong");
    assert_false(nn_save_safetensors(params, temporary_path("none"), &error));
    assert_non_null(strstr(error.text, "none: neither saved nor loaded after an error: something"));
    ag_tape_free(tape);
}

/* Cut anywhere, a file is refused, by name, and nothing is loaded. */
static void test_weights_cut(void **state)
{
    (void)state;
    const char *path = temporary_path("cut.safetensors");
    ag_tape *tape = ag_tape_new(AG_F32), *other = ag_tape_new(AG_F32);
    nn_params *params = network(tape, 1), *same = network(other, 1);
    nn_error error;
    size_t size;
    assert_true(nn_save_safetensors(params, path, &error));
    unsigned char *bytes = read_bytes(path, &size);
    for (size_t cut = 0; cut < size; cut++) {
        write_bytes(path, bytes, cut);
        memset(&error, 0, sizeof error);
        assert_false(nn_load_safetensors(params, path, &error));
        assert_memory_equal(error.text, path, strlen(path));
        assert_same_weights(params, same);
    }
    free(bytes);
    ag_tape_free(tape);
    ag_tape_free(other);
}

struct attempt {
    const char *path;
    nn_params *params;
};

static bool try_save(void *context, char message[512])
{
    struct attempt *a = context;
    nn_error error = {""};
    bool good = nn_save_safetensors(a->params, a->path, &error);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

static bool try_load(void *context, char message[512])
{
    struct attempt *a = context;
    nn_error error = {""};
    bool good = nn_load_safetensors(a->params, a->path, &error);
    memcpy(message, error.text, sizeof error.text);
    return good;
}

static void test_weights_out_of_memory(void **state)
{
    (void)state;
    int files = count_files();
    ag_tape *tape = ag_tape_new(AG_F32), *other = ag_tape_new(AG_F32);
    struct attempt save = {temporary_path("memory"), network(tape, 1)};
    struct attempt load = {temporary_path("memory"), network(other, 2)};
    assert_true(count_failures(try_save, &save) >= 3);
    assert_int_equal(count_files(), files + 1);
    assert_true(count_failures(try_load, &load) >= 5);
    assert_same_weights(save.params, load.params);
    ag_tape_free(tape);
    ag_tape_free(other);
}

/* ---- Whole or not at all ---- */

static void assert_content(const char *path, const char *text)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    assert_non_null(bytes);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(bytes, text, size);
    free(bytes);
}

static bool save_text(const char *path, const char *text, nn_error *error)
{
    nn_file file;
    if (!nn_file_begin(&file, path, error))
        return false;
    nn_file_write(&file, text, strlen(text));
    fprintf(file.stream, "%s", "!");
    return nn_file_commit(&file, error);
}

static void test_atomic(void **state)
{
    (void)state;
    const char *path = temporary_path("text"), *link = temporary_path("link");
    int files = count_files();
    nn_error error = {""};
    nn_file file;
    struct stat status;
    assert_true(save_text(path, "old", &error));
    assert_content(path, "old!");
    assert_int_equal(chmod(path, 0640), 0);
    assert_true(nn_file_begin(&file, path, &error));
    assert_true(nn_file_write(&file, "new", 3));
    assert_content(path, "old!"); /* until the commit */
    nn_file_abandon(&file);
    assert_content(path, "old!");
    assert_int_equal(count_files(), files + 1);
    assert_false(nn_file_commit(&file, &error));

    write_bytes(temporary_path("text.tmp"), "left by a save that was killed", 30);
    assert_true(save_text(path, "new", &error));
    assert_content(path, "new!");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(symlink("text", link), 0);
    assert_true(save_text(link, "through", &error));
    assert_content(path, "through!");
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(count_files(), files + 2);
}

static void test_atomic_refuses(void **state)
{
    (void)state;
    const char *path = temporary_path("busy");
    nn_error error = {""};
    nn_file file;
    int files = count_files();
    assert_true(nn_file_begin(&file, path, &error));
    assert_false(save_text(path, "second", &error));
    assert_non_null(strstr(error.text, "busy.tmp: another save to this file is under way"));
    nn_file_write(&file, "first", 5);
    assert_true(nn_file_commit(&file, &error));
    assert_content(path, "first");
    assert_true(save_text(path, "second", &error));

    assert_false(save_text(temporary_path("."), "x", &error));
    assert_non_null(strstr(error.text, "not a regular file; it is not overwritten"));
    assert_false(save_text("/dev/full", "x", &error));
    assert_string_equal(error.text, "/dev/full: not a regular file; it is not overwritten");
    assert_false(save_text(temporary_path("no/where"), "x", &error));
    assert_non_null(strstr(error.text, "no/where.tmp: No such file or directory"));
    assert_int_equal(mkfifo(temporary_path("piped.tmp"), 0600), 0); /* is not waited for */
    assert_false(save_text(temporary_path("piped"), "x", &error));
    assert_int_equal(remove(temporary_path("piped.tmp")), 0);
    assert_false(save_text("", "x", &error));
    assert_false(save_text(NULL, "x", NULL));
    assert_int_equal(count_files(), files + 1);
}

/* What a full disk is like: writes stop at so many bytes. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_atomic_full_disk(void **state)
{
    (void)state;
    const char *path = temporary_path("full");
    nn_error error;
    size_t size;
    ag_tape *tape = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    nn_params *params = network(tape, 1), *changed = network(other, 2);
    nn_parameter(changed, "large", AG_SHAPE(100, 100));
    assert_true(nn_save_safetensors(params, path, &error));
    free(read_bytes(path, &size));
    int files = count_files();
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < 5000; limit += limit < 20 ? 1 : 997) {
        limit_file_size(limit);
        bool saved = nn_save_safetensors(changed, path, &error);
        limit_file_size(RLIM_INFINITY);
        assert_false(saved);
        assert_non_null(strstr(error.text, "full: not saved: File too large"));
        assert_int_equal(count_files(), files);
    }
    limit_file_size(size - 1);
    bool saved = nn_save_safetensors(params, path, &error);
    limit_file_size(RLIM_INFINITY);
    assert_false(saved);
    nn_params *loaded = network(ag_tape_new(AG_F64), 3);
    assert_true(nn_load_safetensors(loaded, path, &error));
    assert_same_weights(params, loaded);
    ag_tape_free(nn_params_tape(loaded));
    ag_tape_free(tape);
    ag_tape_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_weights_converted),
        cmocka_unit_test(test_weights_rules),
        cmocka_unit_test(test_weights_cut),
        cmocka_unit_test(test_weights_out_of_memory),
        cmocka_unit_test(test_atomic),
        cmocka_unit_test(test_atomic_refuses),
        cmocka_unit_test(test_atomic_full_disk),
    };
    return cmocka_run_group_tests_name("saving", tests, make_directory, remove_directory);
}
