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
    const char *name; /* without ".npy" */
    size_t method;
    uint32_t crc;
    size_t packed, size;       /* bytes in the archive, and decompressed */
    const unsigned char *data; /* (packed) */
};

struct nn_npz {
    struct nn_bytes bytes;
    struct member *members; /* (count) */
    size_t count;
    struct nn_source source; /* error: while it is made */
    char path[];             /* as shown */
};

static size_t field(const unsigned char *at, size_t offset, size_t size)
{
    return (size_t)nn_integer_at(at + offset, size, false);
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
static bool find_data(const nn_npz *npz, struct member *m, size_t offset)
{
    size_t size = npz->bytes.size;
    const unsigned char *at = npz->bytes.at + (offset <= size ? offset : 0);
    if (offset > size || size - offset < LOCAL || field(at, 0, 4) != LOCAL_SIGNATURE)
        return nn_refuse(&npz->source, "member '%.80s': no local header where it should be",
                         m->name);
    size_t header = LOCAL + field(at, 26, 2) + field(at, 28, 2);
    if (header > size - offset || m->packed > size - offset - header)
        return nn_refuse(&npz->source, "member '%.80s' reaches beyond the end of the file",
                         m->name);
    m->data = at + header;
    return true;
}

/* `at` is the member's entry in the directory; its name is moved by a byte, to have room for a NUL.
 */
static bool read_member(const nn_npz *npz, struct member *m, unsigned char *at)
{
    size_t length = field(at, 28, 2), offset = field(at, 42, 4);
    *m = (struct member){.method = field(at, 10, 2),
                         .crc = (uint32_t)field(at, 16, 4),
                         .packed = field(at, 20, 4),
                         .size = field(at, 24, 4)};
    if (length >= 4 && memcmp(at + CENTRAL + length - 4, ".npy", 4) == 0)
        length -= 4;
    m->name = memmove(at + CENTRAL - 1, at + CENTRAL, length);
    at[CENTRAL - 1 + length] = '\0';
    if (field(at, 8, 2) & 1)
        return nn_refuse(&npz->source, "member '%.80s' is encrypted", m->name);
    if (m->packed == UINT32_MAX || m->size == UINT32_MAX || offset == UINT32_MAX)
        return nn_refuse(&npz->source, "member '%.80s' is zip64, which is not read", m->name);
    if (m->method != STORED && m->method != DEFLATED)
        return nn_refuse(&npz->source,
                         "member '%.80s' is compressed by method %zu; 0 and 8 are read", m->name,
                         m->method);
    if (m->method == STORED && m->packed != m->size)
        return nn_refuse(&npz->source, "member '%.80s' is stored, but its two sizes differ",
                         m->name);
    return find_data(npz, m, offset);
}

static bool read_members(nn_npz *npz, unsigned char *at, const unsigned char *end, size_t count)
{
    npz->members = calloc(count + 1, sizeof *npz->members);
    if (!npz->members)
        return nn_out_of_memory(&npz->source);
    while (npz->count < count) {
        size_t left = (size_t)(end - at), size;
        if (left < CENTRAL || field(at, 0, 4) != CENTRAL_SIGNATURE)
            break;
        size = CENTRAL + field(at, 28, 2) + field(at, 30, 2) + field(at, 32, 2);
        if (size > left)
            break;
        if (!read_member(npz, &npz->members[npz->count++], at))
            return false;
        at += size;
    }
    return (npz->count == count && at == end) ||
           nn_refuse(&npz->source, "the directory is damaged behind member %zu of %zu", npz->count,
                     count);
}

static bool read_directory(nn_npz *npz)
{
    const unsigned char *end = find_end(npz);
    if (!end)
        return nn_refuse(&npz->source, "not a zip archive, or its end is cut off");
    size_t count = field(end, 10, 2), size = field(end, 12, 4), offset = field(end, 16, 4);
    if (count == 0xffff || size == UINT32_MAX || offset == UINT32_MAX)
        return nn_refuse(&npz->source, "a zip64 archive, which is not read");
    size_t before = (size_t)(end - npz->bytes.at);
    if (field(end, 4, 4) != 0 || field(end, 8, 2) != count)
        return nn_refuse(&npz->source, "an archive in several parts, which is not read");
    if (offset > before || size != before - offset)
        return nn_refuse(&npz->source, "the directory is not where its end says");
    return read_members(npz, npz->bytes.at + offset, end, count) &&
           nn_check_names(npz->members, count, sizeof *npz->members, &npz->source);
}

/* ---- The archive ---- */

static nn_npz *open_npz(const char *name, const struct nn_memory *memory, nn_error *error)
{
    const char *shown = nn_shown(name);
    const struct nn_source source = {name, error};
    nn_npz *npz = calloc(1, sizeof *npz + strlen(shown) + 1);
    if (!npz) {
        nn_out_of_memory(&source);
        return NULL;
    }
    npz->source = (struct nn_source){strcpy(npz->path, shown), error};
    if (nn_bytes_get(&npz->bytes, memory, &source) && read_directory(npz))
        return npz;
    nn_npz_free(npz);
    return NULL;
}

nn_npz *nn_npz_read(const char *path, nn_error *error)
{
    return open_npz(path, NULL, error);
}

nn_npz *nn_npz_parse(const char *name, const void *data, size_t size, nn_error *error)
{
    return open_npz(name, &(struct nn_memory){data, size}, error);
}

void nn_npz_free(nn_npz *npz)
{
    if (!npz)
        return;
    free(npz->members);
    nn_bytes_free(&npz->bytes);
    free(npz);
}

size_t nn_npz_count(const nn_npz *npz)
{
    return npz ? npz->count : 0;
}

const char *nn_npz_name(const nn_npz *npz, size_t index)
{
    return index < nn_npz_count(npz) ? npz->members[index].name : NULL;
}

/* The member's bytes, checked. */
static bool unpack(const struct member *m, struct nn_bytes *out, const struct nn_source *source)
{
    size_t used = m->packed;
    const char *problem = NULL;
    if (m->method == DEFLATED)
        problem = nn_inflate(out, m->data, m->packed, m->size, &used);
    else
        nn_bytes_append(out, m->data, m->size);
    if (!problem && out->failed)
        problem = "out of memory";
    if (!problem && (out->size != m->size || used != m->packed))
        problem = "it is not as long as the directory says";
    if (!problem && nn_crc32(out->at, out->size) != m->crc)
        problem = "the CRC-32 is wrong: the data are damaged";
    return !problem || nn_refuse(source, "%s", problem);
}

bool nn_npz_get(const nn_npz *npz, const char *name, nn_array *array, ag_dtype dtype,
                nn_error *error)
{
    char shown[300];
    const struct nn_source source = {shown, error};
    struct nn_bytes bytes = {0};
    size_t i = 0;
    if (!nn_given(error, "npz_get", npz && name && array))
        return false;
    while (i < npz->count && strcmp(npz->members[i].name, name) != 0)
        i++;
    if (i == npz->count)
        return nn_fail(error, "%s: there is no member '%.80s'", npz->path, name);
    snprintf(shown, sizeof shown, "%s: member '%.80s'", npz->path, name);
    bool good = unpack(&npz->members[i], &bytes, &source) &&
                nn_npy_parse(array, dtype, shown, bytes.at, bytes.size, error);
    nn_bytes_free(&bytes);
    return good;
}

/* ---- Writing ---- */

/* Numbers, each of as many bytes as its digit says. */
static void put(struct nn_bytes *out, const char *sizes, const uint64_t *values)
{
    for (; *sizes; sizes++)
        nn_bytes_integer(out, *values++, (size_t)(*sizes - '0'));
}

/* What a local header and an entry of the directory have in common behind the signature: version,
 * flags (the name is UTF-8), method, time and date (of 1980), CRC, sizes, and the lengths of name
 * and extra field. */
static void put_common(struct nn_bytes *out, const struct nn_bytes *image, size_t name_length)
{
    uint32_t crc = image->failed ? 0 : nn_crc32(image->at, image->size);
    put(out, "2222244422",
        (const uint64_t[]){20, 0x800, STORED, 0, 0x21, crc, image->size, image->size, name_length,
                           0});
}

/* Appends one member, and its entry to the directory. */
static void put_member(struct nn_bytes *out, struct nn_bytes *directory, const char *name,
                       const nn_array *array)
{
    struct nn_bytes image = {0};
    size_t at = out->size, length = strlen(name) + 4;
    nn_npy_print(&image, array);
    out->failed |= image.failed;
    put(out, "4", (const uint64_t[]){LOCAL_SIGNATURE});
    put_common(out, &image, length);
    nn_bytes_print(out, "%s.npy", name);
    nn_bytes_append(out, image.at, image.size);
    put(directory, "42", (const uint64_t[]){CENTRAL_SIGNATURE, 20});
    put_common(directory, &image, length);
    put(directory, "824", (const uint64_t[]){0, 0, at});
    nn_bytes_print(directory, "%s.npy", name);
    nn_bytes_free(&image);
}

/* That names are usable and all of it fits into 32 bits. */
static bool check_write(const char *const *names, const nn_array *arrays, size_t count,
                        const struct nn_source *source)
{
    uint64_t total = count < 0xffff ? 0 : UINT32_MAX;
    if (!total && !nn_check_names(names, count, sizeof *names, source))
        return false;
    for (size_t i = 0; i < count && total < UINT32_MAX; i++) {
        size_t length = strlen(names[i]);
        if (!nn_array_check(arrays ? &arrays[i] : NULL, source))
            return false;
        if (length > 1000)
            return nn_refuse(source, "the name '%.80s' is longer than 1000 bytes", names[i]);
        total += 8 * (uint64_t)arrays[i].count + 2 * length + 1024;
    }
    return total < UINT32_MAX ||
           nn_refuse(source, "more than 4 GiB or 65534 arrays would take zip64");
}

bool nn_npz_write(const char *const *names, const nn_array *arrays, size_t count, const char *path,
                  nn_error *error)
{
    struct nn_bytes archive = {0}, directory = {0};
    if (!check_write(names, arrays, count, &(struct nn_source){path, error}))
        return false;
    for (size_t i = 0; i < count; i++)
        put_member(&archive, &directory, names[i], &arrays[i]);
    size_t at = archive.size;
    nn_bytes_append(&archive, directory.at, directory.size);
    put(&archive, "4422442",
        (const uint64_t[]){END_SIGNATURE, 0, count, count, directory.size, at, 0});
    archive.failed |= directory.failed;
    nn_bytes_free(&directory);
    return nn_bytes_save(&archive, path, error);
}
