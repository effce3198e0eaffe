#define _DEFAULT_SOURCE /* mkdtemp */
#include "file_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[200];
static long allowed = -1;

const char *temporary_path(const char *name)
{
    static char paths[8][512];
    static int at;
    at = (at + 1) % 8;
    snprintf(paths[at], sizeof paths[at], "%s/%s", directory, name);
    return paths[at];
}

int make_directory(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/tapegrad-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(directory) ? 0 : -1;
}

static int each_file(void (*visit)(const char *name))
{
    int count = 0;
    DIR *files = opendir(directory);
    assert_non_null(files);
    for (struct dirent *e; (e = readdir(files));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            count++;
            if (visit)
                visit(e->d_name);
        }
    closedir(files);
    return count;
}

static void remove_one(const char *name)
{
    remove(temporary_path(name));
}

int remove_directory(void **state)
{
    (void)state;
    each_file(remove_one);
    return rmdir(directory);
}

int count_files(void)
{
    return each_file(NULL);
}

void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

unsigned char *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

/* ---- Memory that runs out ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static bool may(void)
{
    if (allowed == 0)
        return false;
    allowed -= allowed > 0;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return may() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *block, size_t size)
{
    return may() ? __real_realloc(block, size) : NULL;
}

void allow_allocations(long count)
{
    allowed = count;
}

long count_failures(bool (*attempt)(void *context, char message[512]), void *context)
{
    char message[512];
    for (long n = 0;; n++) {
        memset(message, 0, sizeof message);
        allowed = n;
        bool good = attempt(context, message);
        bool exhausted = allowed == 0;
        allowed = -1;
        if (good)
            return n;
        assert_true(exhausted);
        if (!strstr(message, "out of memory"))
            fail_msg("allocation %ld failed, and the message is: '%s'", n, message);
    }
}
