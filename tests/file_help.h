/* For the tests of files: a directory of their own, whole files in one call, and memory that runs
 * out when told. Not thread-safe. */
#ifndef FILE_HELP_H
#define FILE_HELP_H

#include <stdbool.h>
#include <stddef.h>

/* The path of that name in the directory; valid for the next seven calls. */
const char *temporary_path(const char *name);

/* Makes and empties the directory: cmocka's group setup and teardown. */
int make_directory(void **state);
int remove_directory(void **state);

void write_bytes(const char *path, const void *bytes, size_t size);

/* NULL if there is no such file. Free it. */
unsigned char *read_bytes(const char *path, size_t *size);

/* The number of files in the directory. */
int count_files(void);

/* The library's allocations succeed this many times and then fail; negative: always succeed. The
 * tests are linked with --wrap=malloc and so on. */
void allow_allocations(long count);

/* Runs `attempt` with 0, 1, 2 ... allocations allowed, until it succeeds; each failure must have
 * said "out of memory". Returns how many failed. */
long count_failures(bool (*attempt)(void *context, char message[512]), void *context);

#endif
