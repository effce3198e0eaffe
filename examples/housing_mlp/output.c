#define _DEFAULT_SOURCE /* stat, access, getpid beside plain C11 */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refused(const struct output *output, const char *why)
{
    fprintf(stderr, "housing_mlp: %s %s: %s\n", output->option, output->path, why);
    return false;
}

bool output_open(struct output *output, const char *option, const char *path)
{
    size_t size = strlen(path) + 40;
    *output = (struct output){.option = option, .path = path, .temporary = malloc(size)};
    if (output->temporary) {
        snprintf(output->temporary, size, "%s.%ld.part", path, (long)getpid());
        output->out = fopen(output->temporary, "wx");
    }
    if (output->out)
        return true;
    refused(output, strerror(errno));
    free(output->temporary);
    return false;
}

bool output_close(struct output *output)
{
    bool good = !ferror(output->out);
    good = fclose(output->out) == 0 && good;
    good = good && rename(output->temporary, output->path) == 0;
    if (!good) {
        refused(output, strerror(errno));
        remove(output->temporary);
    }
    free(output->temporary);
    return good;
}

bool output_same(const char *path, const char *other)
{
    struct stat a, b;
    if (stat(path, &a) == 0 && stat(other, &b) == 0)
        return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    return strcmp(path, other) == 0;
}

bool output_check(const char *option, const char *path)
{
    struct output output = {.option = option, .path = path};
    struct stat about;
    if (stat(path, &about) == 0) {
        if (S_ISDIR(about.st_mode))
            return refused(&output, "is a directory");
        if (!S_ISREG(about.st_mode))
            return refused(&output, "is not a regular file");
        if (access(path, W_OK) != 0)
            return refused(&output, strerror(errno));
    }
    if (!output_open(&output, option, path))
        return false;
    fclose(output.out);
    remove(output.temporary);
    free(output.temporary);
    return true;
}
