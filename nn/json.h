/* A strict reader of JSON (RFC 8259), as much of it as files here have: objects, arrays, strings,
 * whole numbers; and of the same as Python writes it. Not a public header.
 *
 * The caller asks for what must come next. After the first failure `problem` is set, and every
 * function returns false. */
#ifndef TAPEGRAD_JSON_H
#define TAPEGRAD_JSON_H

#include "nn.h"

struct nn_json {
    char *at, *end; /* strings are decoded in place */
    bool python;    /* quotes may be single ones, and a comma may stand behind the last item */
    bool comma;     /* one stood before the last closing bracket */
    const char *problem;
};

/* Skips white space and the character; sets a problem if another comes. */
bool nn_json_take(struct nn_json *json, char c);

/* Skips white space and the word, if it is there; else nothing changes. */
bool nn_json_word(struct nn_json *json, const char *word);

/* Goes through an object or array whose opening bracket was taken: true before each item (having
 * taken the comma), false at the closing bracket, which is taken, and on a problem. `first` is true
 * at first. */
bool nn_json_more(struct nn_json *json, char close, bool *first);

/* A string, decoded and ended by NUL. One with a NUL in it is refused. */
bool nn_json_string(struct nn_json *json, const char **text);

/* A key and its colon. */
bool nn_json_key(struct nn_json *json, const char **key);

/* Which of three keys: 0 to 2; 3 if it is none of them, 4 if it was there before. `seen` is 0 at
 * first, and 7 when all were there. */
unsigned nn_json_which(const char *key, const char *const keys[3], unsigned *seen);

/* A number without sign, fraction or exponent, at most `most`. */
bool nn_json_integer(struct nn_json *json, uint64_t most, uint64_t *value);

/* The whole numbers of an array whose opening bracket was taken. The rank may be more than
 * AG_MAX_RANK: then no more than the first ones are there. */
bool nn_json_shape(struct nn_json *json, char close, ag_shape *shape);

bool nn_json_fail(struct nn_json *json, const char *problem); /* the first one stays */

/* The length of the longest valid UTF-8 prefix: `size` if all is. */
size_t nn_utf8_valid(const void *text, size_t size);

#endif
