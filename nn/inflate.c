/* Decompression: DEFLATE (RFC 1951), gzip (RFC 1952) and their CRC-32.
 *
 * A canonical Huffman code is told by how many codes each length has, and the symbols in the order
 * of their codes: that is all decoding needs, one bit at a time. */
#include "bytes.h"

#include <string.h>

enum { LONGEST = 15, LITERALS = 288, DISTANCES = 30, FIXED_DISTANCES = 32, END_OF_BLOCK = 256 };

struct stream {
    const unsigned char *data;
    size_t size, at;
    uint64_t bits; /* read from data but not yet taken, the next one lowest */
    unsigned count;
    struct nn_bytes *out;
    size_t start, most; /* this stream's output begins at start, and has at most `most` bytes */
    const char *problem;
};

struct code {
    uint16_t count[LONGEST + 1]; /* of codes of each length */
    uint16_t symbol[LITERALS];   /* in the order of their codes */
};

static void fail(struct stream *s, const char *problem)
{
    if (!s->problem)
        s->problem = problem;
}

/* The next n <= 16 bits as a number; 0 at the end of the data, which is a problem. Reads no byte
 * before one of its bits is needed. */
static unsigned take(struct stream *s, unsigned n)
{
    while (s->count < n && s->at < s->size) {
        s->bits |= (uint64_t)s->data[s->at++] << s->count;
        s->count += 8;
    }
    if (s->count < n) {
        fail(s, "the compressed data end early");
        return 0;
    }
    unsigned value = (unsigned)(s->bits & ((1u << n) - 1));
    s->bits >>= n;
    s->count -= n;
    return value;
}

static bool room(struct stream *s, size_t n)
{
    if (n > s->most - (s->out->size - s->start))
        fail(s, "the data are longer than they should be");
    else if (!nn_bytes_reserve(s->out, n))
        fail(s, "out of memory");
    return !s->problem;
}

/* ---- Huffman codes ---- */

static void make_code(struct stream *s, struct code *code, const unsigned char *lengths, int n)
{
    uint16_t offset[LONGEST + 2] = {0};
    int left = 1, used = 0;
    memset(code->count, 0, sizeof code->count);
    for (int i = 0; i < n; i++)
        code->count[lengths[i]]++;
    code->count[0] = 0;
    for (int i = 1; i <= LONGEST; i++) {
        left = 2 * left - code->count[i];
        used += code->count[i];
        offset[i + 1] = (uint16_t)(offset[i] + code->count[i]);
        if (left < 0) {
            fail(s, "a Huffman code with too many codes");
            return;
        }
    }
    if (left > 0 && used != code->count[1]) /* one code of one bit, or none at all, may be */
        fail(s, "an incomplete Huffman code");
    for (int i = 0; i < n; i++)
        if (lengths[i])
            code->symbol[offset[lengths[i]]++] = (uint16_t)i;
}

static unsigned decode(struct stream *s, const struct code *code)
{
    unsigned rank = 0, index = 0; /* rank: among the codes of this length */
    for (int length = 1; length <= LONGEST && !s->problem; length++) {
        rank = 2 * rank + take(s, 1);
        if (rank < code->count[length])
            return code->symbol[index + rank];
        rank -= code->count[length];
        index += code->count[length];
    }
    fail(s, "a code that stands for nothing");
    return END_OF_BLOCK;
}

/* `n` lengths, themselves in a Huffman code that repeats some. */
static void read_lengths(struct stream *s, const struct code *code, unsigned char *lengths, int n)
{
    for (int i = 0; i < n && !s->problem;) {
        unsigned symbol = decode(s, code);
        if (symbol < 16) {
            lengths[i++] = (unsigned char)symbol;
            continue;
        }
        int repeat = symbol == 16   ? 3 + (int)take(s, 2)
                     : symbol == 17 ? 3 + (int)take(s, 3)
                                    : 11 + (int)take(s, 7);
        if ((symbol == 16 && i == 0) || repeat > n - i) {
            fail(s, "code lengths that repeat nothing, or too often");
            return;
        }
        unsigned char value = symbol == 16 ? lengths[i - 1] : 0;
        while (repeat-- > 0)
            lengths[i++] = value;
    }
}

/* Their own code comes first, in this order. */
static void dynamic_lengths(struct stream *s, unsigned char *lengths, int *literals, int *distances)
{
    static const unsigned char order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                            11, 4,  12, 3, 13, 2, 14, 1, 15};
    struct code code;
    *literals = 257 + (int)take(s, 5);
    *distances = 1 + (int)take(s, 5);
    int count = 4 + (int)take(s, 4);
    if (*literals > 286 || *distances > DISTANCES)
        fail(s, "more symbols than there are");
    for (int i = 0; i < count; i++)
        lengths[order[i]] = (unsigned char)take(s, 3);
    make_code(s, &code, lengths, 19);
    read_lengths(s, &code, lengths, *literals + *distances);
}

static void fixed_lengths(unsigned char *lengths)
{
    for (int i = 0; i < LITERALS + FIXED_DISTANCES; i++)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : i < LITERALS ? 8 : 5;
}

/* ---- Blocks ---- */

/* Repeats `length` bytes from `distance` back; the two may overlap. */
static void repeat(struct stream *s, size_t length, size_t distance)
{
    if (distance > s->out->size - s->start)
        fail(s, "a distance back beyond the beginning");
    else if (room(s, length))
        for (; length > 0; length--, s->out->size++)
            s->out->at[s->out->size] = s->out->at[s->out->size - distance];
}

/* A number whose code says in which range it lies, with the bits behind it: `parts` (a power of
 * two) ranges to each power of two. */
static size_t ranged(struct stream *s, unsigned code, unsigned parts)
{
    unsigned more = code < 2 * parts ? 0 : code / parts - 1;
    return ((size_t)(code - parts * more) << more) + take(s, more);
}

static void compressed_block(struct stream *s, bool fixed)
{
    struct code literal, distance;
    unsigned char lengths[LITERALS + FIXED_DISTANCES] = {0};
    int literals = LITERALS, distances = FIXED_DISTANCES;
    if (fixed)
        fixed_lengths(lengths);
    else
        dynamic_lengths(s, lengths, &literals, &distances);
    if (s->problem)
        return;
    make_code(s, &literal, lengths, literals);
    make_code(s, &distance, lengths + literals, distances);
    while (!s->problem) {
        unsigned symbol = decode(s, &literal);
        if (symbol == END_OF_BLOCK)
            return;
        if (symbol < END_OF_BLOCK) {
            if (room(s, 1))
                s->out->at[s->out->size++] = (unsigned char)symbol;
            continue;
        }
        if (symbol > 285) {
            fail(s, "a length that stands for nothing");
            return;
        }
        size_t length = symbol == 285 ? 258 : 3 + ranged(s, symbol - 257, 4);
        unsigned d = decode(s, &distance);
        if (d >= DISTANCES)
            fail(s, "a distance that stands for nothing");
        size_t back = s->problem ? 0 : 1 + ranged(s, d, 2);
        if (!s->problem)
            repeat(s, length, back);
    }
}

static void stored_block(struct stream *s)
{
    take(s, s->count % 8);
    unsigned length = take(s, 16), complement = take(s, 16);
    if (!s->problem && (length ^ complement) != 0xffff)
        fail(s, "a stored block whose length is garbled");
    if (length > s->size - s->at)
        fail(s, "the compressed data end early");
    if (s->problem || !room(s, length))
        return;
    nn_bytes_append(s->out, s->data + s->at, length);
    s->at += length;
}

const char *nn_inflate(struct nn_bytes *out, const unsigned char *data, size_t size, size_t most,
                       size_t *used)
{
    struct stream s = {.data = data, .size = size, .out = out, .start = out->size, .most = most};
    bool last = false;
    while (!last && !s.problem) {
        last = take(&s, 1);
        unsigned kind = take(&s, 2);
        if (kind == 3)
            fail(&s, "a block of no known kind");
        else if (kind == 0)
            stored_block(&s);
        else
            compressed_block(&s, kind == 1);
    }
    *used = s.at;
    return s.problem;
}

/* ---- gzip ---- */

uint32_t nn_crc32(const unsigned char *data, size_t size)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190,
                                       0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344,
                                       0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278,
                                       0xbdbdf21c}; /* of four bits */
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* The length of a member's header; 0 if it is none. */
static size_t gzip_header(const unsigned char *data, size_t size)
{
    enum { CRC = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xe0 };
    if (size < 18 || data[0] != 0x1f || data[1] != 0x8b || data[2] != 8 || data[3] & RESERVED)
        return 0;
    unsigned flags = data[3];
    size_t at = 10;
    if (flags & EXTRA)
        at += 2 + (size_t)nn_integer_at(data + at, 2, false);
    for (unsigned text = NAME; text <= COMMENT; text *= 2)
        while (flags & text && at < size && data[at++])
            continue;
    at += flags & CRC ? 2 : 0;
    return at < size ? at : 0;
}

const char *nn_gunzip(struct nn_bytes *out, const unsigned char *data, size_t size)
{
    do {
        size_t start = out->size, used, header = gzip_header(data, size);
        if (!header)
            return "not a gzip header";
        if (!nn_bytes_reserve(out, 1))
            return "out of memory";
        const char *problem =
            nn_inflate(out, data + header, size - header, PTRDIFF_MAX - start, &used);
        if (problem)
            return problem;
        data += header + used;
        size -= header + used;
        if (size < 8)
            return "the compressed data end early";
        if (nn_integer_at(data, 4, false) != nn_crc32(out->at + start, out->size - start))
            return "the CRC-32 is wrong: the data are damaged";
        if (nn_integer_at(data + 4, 4, false) != (uint32_t)(out->size - start))
            return "the length is wrong: the data are damaged";
        data += 8;
        size -= 8;
    } while (size > 0);
    return NULL;
}
