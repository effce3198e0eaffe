/* Files that an option names: they are whole, or they are not there. */
#ifndef HOUSING_OUTPUT_H
#define HOUSING_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

/* A file being written, under another name beside its own. */
struct output {
    const char *option, *path; /* option: for messages */
    char *temporary;
    FILE *out;
};

/* Whether a file can be written there: it is tried out and nothing is left behind. Otherwise tells
 * on stderr why not, as the others do. */
bool output_check(const char *option, const char *path);

/* Whether two paths name the same file; where one is not there, whether they would. */
bool output_same(const char *path, const char *other);

bool output_open(struct output *output, const char *option, const char *path);

/* Gives the file its name; false if something was not written, and then none of it is left. */
bool output_close(struct output *output);

#endif
