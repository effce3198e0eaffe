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

/* The path's last part; *directory is what it lies in, or zeros if that is not there. */
static const char *last_part(const char *path, struct stat *directory)
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    size_t size = (size_t)(last - path) + 2;
    char *text = malloc(size);
    if (text)
        snprintf(text, size, "%.*s.", (int)(last - path), path);
    *directory = (struct stat){0};
    if (text && stat(text, directory) != 0)
        *directory = (struct stat){0};
    free(text);
    return last;
}

bool output_same(const char *path, const char *other)
{
    struct stat a, b;
    if ((stat(path, &a) != 0 || stat(other, &b) != 0) &&
        (strcmp(last_part(path, &a), last_part(other, &b)) != 0 || !a.st_ino))
        return false;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
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
