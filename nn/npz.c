/* NumPy's .npz: a zip archive (PKWARE's APPNOTE 6.3) whose members are .npy files.
 *
 * Sizes, methods and CRCs are taken from the central directory alone: NumPy leaves those of the
 * local headers to zip64 fields. A member is decompressed when it is asked for. */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22, STORED = 0, DEFLATED = 8 };
enum { LOCAL_SIGNATURE = 0x04034b50, CENTRAL_SIGNATURE = 0x02014b50, END_SIGNATURE = 0x06054b50 };

struct member {
    char *name; /* without ".npy" */
    unsigned method;
    uint32_t crc;
    size_t packed, size;       /* bytes in the archive, and decompressed */
    const unsigned char *data; /* (packed) */
};

struct nn_npz {
    struct nn_bytes bytes;
    size_t count;
    struct member *members;
    char path[]; /* as shown */
};

static uint32_t field(const unsigned char *at, size_t offset, size_t size)
{
    return (uint32_t)nn_integer_at(at + offset, size, false);
}

/* ---- The directory ---- */

/* The end record: the last one whose comment reaches to the end of the file. */
static const unsigned char *find_end(const nn_npz *npz)
{
    size_t size = npz->bytes.size;
    for (size_t comment = 0; comment <= 0xffff && comment + END <= size; comment++) {
        const unsigned char *at = npz->bytes.at + size - END - comment;
        if (field(at, 0, 4) == END_SIGNATURE && field(at, 20, 2) == comment)
            return at;
    }
    return NULL;
}

/* Where the member's bytes begin: behind its local header, which has a name and an extra field of
 * its own. */
static bool find_data(const nn_npz *npz, struct member *m, size_t offset, nn_error *error)
{
    size_t size = npz->bytes.size;
    const unsigned char *at = npz->bytes.at + (offset <= size ? offset : 0);
    if (offset > size || size - offset < LOCAL || field(at, 0, 4) != LOCAL_SIGNATURE)
        return nn_fail(error, "%s: member '%.80s': no local header where it should be", npz->path,
                       m->name);
    size_t header = LOCAL + (size_t)field(at, 26, 2) + field(at, 28, 2);
    if (header > size - offset || m->packed > size - offset - header)
        return nn_fail(error, "%s: member '%.80s' reaches beyond the end of the file", npz->path,
                       m->name);
    m->data = at + header;
    return true;
}

static char *member_name(const unsigned char *text, size_t length)
{
    if (length >= 4 && memcmp(text + length - 4, ".npy", 4) == 0)
        length -= 4;
    char *name = malloc(length + 1);
    if (name) {
        memcpy(name, text, length);
        name[length] = '\0';
    }
    return name;
}

/* `at` is the member's entry in the directory. */
static bool read_member(const nn_npz *npz, struct member *m, const unsigned char *at,
                        nn_error *error)
{
    m->name = member_name(at + CENTRAL, field(at, 28, 2));
    if (!m->name)
        return nn_fail(error, "%s: out of memory", npz->path);
    m->method = field(at, 10, 2);
    m->crc = field(at, 16, 4);
    m->packed = field(at, 20, 4);
    m->size = field(at, 24, 4);
    size_t offset = field(at, 42, 4);
    if (field(at, 8, 2) & 1)
        return nn_fail(error, "%s: member '%.80s' is encrypted", npz->path, m->name);
    if (m->packed == UINT32_MAX || m->size == UINT32_MAX || offset == UINT32_MAX)
        return nn_fail(error, "%s: member '%.80s' is zip64, which is not read", npz->path, m->name);
    if (m->method != STORED && m->method != DEFLATED)
        return nn_fail(error, "%s: member '%.80s' is compressed by method %u; 0 and 8 are read",
                       npz->path, m->name, m->method);
    if (m->method == STORED && m->packed != m->size)
        return nn_fail(error, "%s: member '%.80s' is stored, but its two sizes differ", npz->path,
                       m->name);
    return find_data(npz, m, offset, error);
}

static bool read_members(nn_npz *npz, const unsigned char *at, const unsigned char *end,
                         size_t count, nn_error *error)
{
    npz->members = calloc(count + 1, sizeof *npz->members);
    if (!npz->members)
        return nn_fail(error, "%s: out of memory", npz->path);
    while (npz->count < count) {
        size_t left = (size_t)(end - at), size;
        if (left < CENTRAL || field(at, 0, 4) != CENTRAL_SIGNATURE)
            break;
        size = CENTRAL + (size_t)field(at, 28, 2) + field(at, 30, 2) + field(at, 32, 2);
        if (size > left)
            break;
        if (!read_member(npz, &npz->members[npz->count++], at, error))
            return false;
        at += size;
    }
    return (npz->count == count && at == end) ||
           nn_fail(error, "%s: the directory is damaged behind member %zu of %zu", npz->path,
                   npz->count, count);
}

static bool read_directory(nn_npz *npz, nn_error *error)
{
    const unsigned char *end = find_end(npz);
    if (!end)
        return nn_fail(error, "%s: not a zip archive, or its end is cut off", npz->path);
    size_t count = field(end, 10, 2), size = field(end, 12, 4), offset = field(end, 16, 4);
    if (count == 0xffff || size == UINT32_MAX || offset == UINT32_MAX)
        return nn_fail(error, "%s: a zip64 archive, which is not read", npz->path);
    size_t before = (size_t)(end - npz->bytes.at);
    if (field(end, 4, 4) != 0 || field(end, 8, 2) != count)
        return nn_fail(error, "%s: an archive in several parts, which is not read", npz->path);
    if (offset > before || size != before - offset)
        return nn_fail(error, "%s: the directory is not where its end says", npz->path);
    if (!read_members(npz, npz->bytes.at + offset, end, count, error))
        return false;
    return !count || nn_check_names((const char *const *)&npz->members->name, sizeof *npz->members,
                                    count, npz->path, error);
}

/* ---- The archive ---- */

/* Owns the bytes, also on error. */
static nn_npz *open_bytes(const char *name, struct nn_bytes bytes, nn_error *error)
{
    const char *shown = nn_shown(name);
    nn_npz *npz = calloc(1, sizeof *npz + strlen(shown) + 1);
    if (!npz) {
        nn_bytes_free(&bytes);
        nn_fail(error, "%s: out of memory", shown);
        return NULL;
    }
    npz->bytes = bytes;
    strcpy(npz->path, shown);
    if (read_directory(npz, error))
        return npz;
    nn_npz_free(npz);
    return NULL;
}

nn_npz *nn_npz_read(const char *path, nn_error *error)
{
    struct nn_bytes bytes;
    return nn_bytes_read(&bytes, path, error) ? open_bytes(path, bytes, error) : NULL;
}

nn_npz *nn_npz_parse(const char *name, const void *data, size_t size, nn_error *error)
{
    struct nn_bytes bytes;
    return nn_bytes_copy(&bytes, name, data, size, error) ? open_bytes(name, bytes, error) : NULL;
}

void nn_npz_free(nn_npz *npz)
{
    if (!npz)
        return;
    for (size_t i = 0; i < npz->count; i++)
        free(npz->members[i].name);
    free(npz->members);
    nn_bytes_free(&npz->bytes);
    free(npz);
}

size_t nn_npz_count(const nn_npz *npz)
{
    return npz->count;
}

const char *nn_npz_name(const nn_npz *npz, size_t index)
{
    return index < npz->count ? npz->members[index].name : NULL;
}

/* The member's bytes, checked. */
static bool unpack(const struct member *m, struct nn_bytes *out, const char *shown, nn_error *error)
{
    size_t used = m->packed;
    const char *problem = NULL;
    if (!nn_bytes_reserve(out, 1))
        problem = "out of memory";
    else if (m->method == DEFLATED)
        problem = nn_inflate(out, m->data, m->packed, m->size, &used);
    else if (!nn_bytes_append(out, m->data, m->size))
        problem = "out of memory";
    if (!problem && (out->size != m->size || used != m->packed))
        problem = "it is not as long as the directory says";
    if (!problem && nn_crc32(out->at, out->size) != m->crc)
        problem = "the CRC-32 is wrong: the data are damaged";
    return !problem || nn_fail(error, "%s: %s", shown, problem);
}

bool nn_npz_get(const nn_npz *npz, const char *name, nn_array *array, ag_dtype dtype,
                nn_error *error)
{
    char shown[300];
    struct nn_bytes bytes = {0};
    size_t i = 0;
    while (i < npz->count && strcmp(npz->members[i].name, name) != 0)
        i++;
    if (i == npz->count)
        return nn_fail(error, "%s: there is no member '%.80s'", npz->path, name);
    snprintf(shown, sizeof shown, "%s: member '%.80s'", npz->path, name);
    bool good = unpack(&npz->members[i], &bytes, shown, error) &&
                nn_npy_parse(array, dtype, shown, bytes.at, bytes.size, error);
    nn_bytes_free(&bytes);
    return good;
}

/* ---- Writing ---- */

static bool put(struct nn_bytes *out, size_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((uint64_t)value >> 8 * i);
    return nn_bytes_append(out, bytes, size);
}

/* What a local header and an entry of the directory have in common: version, flags (the name is
 * UTF-8), method, time and date (of 1980), CRC, sizes, and the lengths of name and extra field. */
static bool put_common(struct nn_bytes *out, const struct nn_bytes *image, size_t name_length)
{
    return put(out, 20, 2) && put(out, 0x800, 2) && put(out, STORED, 2) && put(out, 0, 2) &&
           put(out, 0x21, 2) && put(out, nn_crc32(image->at, image->size), 4) &&
           put(out, image->size, 4) && put(out, image->size, 4) && put(out, name_length, 2) &&
           put(out, 0, 2);
}

/* Writes one member and notes it in the directory. */
static bool write_member(nn_file *file, struct nn_bytes *directory, size_t *at, const char *name,
                         const struct nn_bytes *image)
{
    struct nn_bytes local = {0};
    size_t length = strlen(name) + 4;
    bool good = put(&local, LOCAL_SIGNATURE, 4) && put_common(&local, image, length) &&
                nn_bytes_append(&local, name, length - 4) && nn_bytes_append(&local, ".npy", 4) &&
                put(directory, CENTRAL_SIGNATURE, 4) && put(directory, 20, 2) &&
                put_common(directory, image, length) && put(directory, 0, 8) &&
                put(directory, 0, 2) && put(directory, *at, 4) &&
                nn_bytes_append(directory, name, length - 4) &&
                nn_bytes_append(directory, ".npy", 4);
    *at += local.size + image->size;
    good = good && nn_file_write(file, local.at, local.size) &&
           nn_file_write(file, image->at, image->size);
    nn_bytes_free(&local);
    return good;
}

static bool write_end(nn_file *file, struct nn_bytes *directory, size_t at, size_t count)
{
    size_t size = directory->size;
    return put(directory, END_SIGNATURE, 4) && put(directory, 0, 4) && put(directory, count, 2) &&
           put(directory, count, 2) && put(directory, size, 4) && put(directory, at, 4) &&
           put(directory, 0, 2) && nn_file_write(file, directory->at, directory->size);
}

static bool write_all(nn_file *file, const char *const *names, const nn_array *arrays, size_t count,
                      struct nn_bytes *directory)
{
    size_t at = 0;
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        struct nn_bytes image = {0};
        good = nn_npy_print(&image, &arrays[i]) &&
               write_member(file, directory, &at, names[i], &image);
        nn_bytes_free(&image);
    }
    return good && write_end(file, directory, at, count);
}

/* That names are usable and all of it fits into 32 bits. */
static bool check_write(const char *const *names, const nn_array *arrays, size_t count,
                        const char *path, nn_error *error)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (length > 1000)
            return nn_fail(error, "%s: the name '%.80s' is longer than 1000 bytes", path, names[i]);
        total += 8 * (uint64_t)arrays[i].count + 2 * length + 1024;
    }
    if (count >= 0xffff || total >= UINT32_MAX)
        return nn_fail(error, "%s: more than 4 GiB or 65534 arrays would take zip64", path);
    return nn_check_names(names, sizeof *names, count, path, error);
}

bool nn_npz_write(const char *const *names, const nn_array *arrays, size_t count, const char *path,
                  nn_error *error)
{
    struct nn_bytes directory = {0};
    nn_file file;
    if (!check_write(names, arrays, count, nn_shown(path), error) ||
        !nn_file_begin(&file, path, error))
        return false;
    bool good = write_all(&file, names, arrays, count, &directory);
    nn_bytes_free(&directory);
    if (good || file.error)
        return nn_file_commit(&file, error);
    nn_file_abandon(&file);
    return nn_fail(error, "%s: out of memory", nn_shown(path));
}
