/* Writing a file whole or not at all: PATH.tmp, fsync, rename, fsync of the directory.
 *
 * PATH.tmp is locked (flock) from its opening to its renaming, so a lock that is held means a save
 * under way, and an unlocked PATH.tmp is what a killed save left behind: it is taken over. Whoever
 * gets the lock of a file that has meanwhile been renamed or removed opens anew. */
#define _DEFAULT_SOURCE /* flock, realpath */
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_file(nn_file *file)
{
    if (file->stream)
        fclose(file->stream);
    free(file->path);
    free(file->temporary);
    *file = (nn_file){0};
}

/* False without errno: somebody else is writing it. */
static bool lock(int descriptor, const char *path, bool *same)
{
    struct stat opened, named;
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        errno = 0;
        return false;
    }
    *same = fstat(descriptor, &opened) == 0 && stat(path, &named) == 0 &&
            opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
    return true;
}

/* PATH.tmp, empty and locked; -1 on error, with errno 0 as above. */
static int open_temporary(const char *path)
{
    for (;;) {
        bool same = false;
        int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (descriptor < 0)
            return -1;
        bool locked = lock(descriptor, path, &same);
        if (locked && same && ftruncate(descriptor, 0) == 0)
            return descriptor;
        int problem = errno;
        close(descriptor);
        errno = problem;
        if (!locked || same)
            return -1;
    }
}

static bool open_stream(nn_file *file, const struct stat *old, nn_error *error)
{
    int descriptor = open_temporary(file->temporary);
    if (descriptor < 0)
        return nn_refuse(&(struct nn_source){file->temporary, error}, "%s",
                         errno ? strerror(errno) : "another save to this file is under way");
    if (old && fchmod(descriptor, old->st_mode & 07777) != 0)
        errno = 0; /* another's file in a shared directory: the new one is ours */
    file->stream = fdopen(descriptor, "wb");
    if (file->stream)
        return true;
    unlink(file->temporary);
    close(descriptor);
    return nn_out_of_memory(&(struct nn_source){file->path, error});
}

bool nn_file_begin(nn_file *file, const char *path, nn_error *error)
{
    const struct nn_source source = {path, error};
    struct stat old;
    if (!nn_given(error, "file", file))
        return false;
    *file = (nn_file){0};
    if (!path || !*path)
        return nn_fail(error, "file: no name to save to");
    bool exists = stat(path, &old) == 0;
    if (exists && !S_ISREG(old.st_mode))
        return nn_refuse(&source, "not a regular file; it is not overwritten");
    char *real = exists ? realpath(path, NULL) : NULL;
    if (exists && !real)
        return nn_refuse(&source, "%s", strerror(errno));
    struct nn_bytes name = {0}, temporary = {0};
    nn_bytes_print(&name, "%s", real ? real : path);
    nn_bytes_print(&temporary, "%s.tmp", real ? real : path);
    free(real);
    file->path = (char *)name.at;
    file->temporary = (char *)temporary.at;
    bool begun = name.failed || temporary.failed ? nn_out_of_memory(&source)
                                                 : open_stream(file, exists ? &old : NULL, error);
    if (!begun)
        close_file(file);
    return begun;
}

bool nn_file_write(nn_file *file, const void *data, size_t size)
{
    if (!file || !file->stream)
        return false;
    if (!data && size > 0)
        file->error = EINVAL;
    if (!file->error && size > 0 && fwrite(data, 1, size, file->stream) != size)
        file->error = errno ? errno : EIO;
    return !file->error;
}

void nn_file_abandon(nn_file *file)
{
    if (!file)
        return;
    if (file->stream)
        unlink(file->temporary);
    close_file(file);
}

/* The new name, too, is to survive a crash. A file system that cannot do this still has a whole
 * file under the name, so failing is no error. */
static void sync_directory(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = '\0';
    int descriptor = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    fsync(descriptor);
    close(descriptor);
}

bool nn_file_commit(nn_file *file, nn_error *error)
{
    if (!file || !file->stream)
        return nn_fail(error, "file: commit without begin");
    if (!file->error && ferror(file->stream))
        file->error = EIO; /* of a write by fprintf, whose errno is gone */
    if (!file->error && (fflush(file->stream) != 0 || fsync(fileno(file->stream)) != 0 ||
                         rename(file->temporary, file->path) != 0))
        file->error = errno;
    if (file->error) {
        nn_refuse(&(struct nn_source){file->path, error}, "not saved: %s", strerror(file->error));
        nn_file_abandon(file);
        return false;
    }
    sync_directory(file->path);
    close_file(file);
    return true;
}

bool nn_bytes_save(struct nn_bytes *bytes, const char *path, nn_error *error)
{
    nn_file file;
    bool good = bytes->failed ? nn_out_of_memory(&(struct nn_source){path, error})
                              : nn_file_begin(&file, path, error);
    if (good) {
        nn_file_write(&file, bytes->at, bytes->size);
        good = nn_file_commit(&file, error);
    }
    nn_bytes_free(bytes);
    return good;
}
