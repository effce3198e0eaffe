/* A strict reader of JSON: RFC 8259 for the grammar, RFC 3629 for UTF-8.
 *
 * NUL is no character of the grammar outside a string nor inside one, so the NUL that stands for
 * the end of the text stops every loop. A decoded string is never longer than it was, so there is
 * room in place. */
#include "json.h"

#include <ctype.h>
#include <string.h>

bool nn_json_fail(struct nn_json *json, const char *problem)
{
    if (!json->problem)
        json->problem = problem;
    return false;
}

static char peek(const struct nn_json *json)
{
    return json->at < json->end ? *json->at : '\0';
}

static char next(struct nn_json *json)
{
    while (peek(json) && strchr(" \t\r\n", *json->at))
        json->at++;
    return peek(json);
}

bool nn_json_take(struct nn_json *json, char c)
{
    if (json->problem)
        return false;
    if (next(json) == c) {
        json->at++;
        return true;
    }
    return nn_json_fail(json, c == '{'   ? "'{' expected"
                              : c == '[' ? "'[' expected"
                              : c == ':' ? "':' expected"
                                         : "',' or a closing bracket expected");
}

bool nn_json_word(struct nn_json *json, const char *word)
{
    size_t length = strlen(word);
    next(json);
    bool there = !json->problem && (size_t)(json->end - json->at) >= length &&
                 memcmp(json->at, word, length) == 0;
    json->at += there ? length : 0;
    return there;
}

bool nn_json_more(struct nn_json *json, char close, bool *first)
{
    if (json->problem)
        return false;
    json->comma = next(json) != close && !*first && nn_json_take(json, ',');
    if (next(json) == close && (!json->comma || json->python)) {
        json->at++;
        return false;
    }
    bool more = *first || json->comma;
    *first = false;
    return more;
}

/* Four hexadecimal digits so far behind `at`; -1 if they are not. */
static int32_t hex4(const struct nn_json *json, size_t ahead)
{
    static const char digits[] = "0123456789abcdef";
    int32_t value = 0;
    if ((size_t)(json->end - json->at) < ahead + 4)
        return -1;
    for (size_t i = ahead; i < ahead + 4; i++) {
        const char *digit = memchr(digits, tolower((unsigned char)json->at[i]), 16);
        if (!digit)
            return -1;
        value = value << 4 | (int32_t)(digit - digits);
    }
    return value;
}

static char *put_utf8(char *out, int32_t point)
{
    int more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const int lead[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(lead[more] | point >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (point >> 6 * more & 0x3f));
    return out;
}

/* Behind "\u". */
static bool unicode_escape(struct nn_json *json, char **out)
{
    int32_t point = hex4(json, 0);
    if (point < 0)
        return nn_json_fail(json, "\\u without four hexadecimal digits");
    if (point == 0)
        return nn_json_fail(json, "a NUL in a string");
    json->at += 4;
    if (point >= 0xd800 && point < 0xe000) {
        int32_t low = point < 0xdc00 ? hex4(json, 2) : -1;
        if (low >= 0 && (json->at[0] != '\\' || json->at[1] != 'u'))
            low = -1;
        if (low < 0xdc00 || low >= 0xe000)
            return nn_json_fail(json, "half of a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        json->at += 6;
    }
    *out = put_utf8(*out, point);
    return true;
}

/* Behind the backslash. */
static bool escape(struct nn_json *json, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = peek(json);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found && c != 'u')
        return nn_json_fail(json, "an escape that JSON does not have");
    json->at++;
    if (!found)
        return unicode_escape(json, out);
    *(*out)++ = to[found - from];
    return true;
}

bool nn_json_string(struct nn_json *json, const char **text)
{
    if (json->problem)
        return false;
    char quote = next(json);
    if (quote != '"' && !(quote == '\'' && json->python))
        return nn_json_fail(json, "a string expected");
    char *out = ++json->at;
    *text = out;
    for (;;) {
        char c = peek(json);
        if ((unsigned char)c < ' ')
            return nn_json_fail(json, "a control character in a string, or its quote is missing");
        json->at++;
        if (c == quote)
            break;
        if (c != '\\')
            *out++ = c;
        else if (!escape(json, &out))
            return false;
    }
    *out = '\0';
    return true;
}

bool nn_json_key(struct nn_json *json, const char **key)
{
    return nn_json_string(json, key) && nn_json_take(json, ':');
}

unsigned nn_json_which(const char *key, const char *const keys[3], unsigned *seen)
{
    unsigned k = 0;
    while (k < 3 && strcmp(key, keys[k]) != 0)
        k++;
    bool again = *seen >> k & 1;
    *seen |= k < 3 ? 1u << k : 0;
    return again ? 4 : k;
}

bool nn_json_integer(struct nn_json *json, uint64_t most, uint64_t *value)
{
    if (json->problem)
        return false;
    char first = next(json);
    const char *start = json->at;
    uint64_t sum = 0;
    for (unsigned digit; (digit = (unsigned)(peek(json) - '0')) < 10; json->at++) {
        if (sum > (most - digit) / 10)
            return nn_json_fail(json, "a number that is too large");
        sum = 10 * sum + digit;
    }
    if (first == '0' && json->at - start > 1)
        return nn_json_fail(json, "a number with a leading zero");
    if (json->at == start || (peek(json) && strchr(".eE", peek(json))))
        return nn_json_fail(json, "a whole number, 0 or more, expected");
    *value = sum;
    return true;
}

bool nn_json_shape(struct nn_json *json, char close, ag_shape *shape)
{
    bool first = true;
    uint64_t size;
    *shape = (ag_shape){0};
    for (; nn_json_more(json, close, &first); shape->rank++) {
        if (!nn_json_integer(json, INT64_MAX, &size))
            return false;
        if (shape->rank < AG_MAX_RANK)
            shape->dim[shape->rank] = (int64_t)size;
    }
    return !json->problem;
}

/* The length of the one valid character at `at`, of `left` bytes; 0 if it is not valid. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    unsigned char c = at[0];
    size_t length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c == 0xe0 && at[1] < 0xa0) || (c == 0xf0 && at[1] < 0x90);
    bool surrogate = c == 0xed && at[1] > 0x9f;
    bool beyond = c == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

size_t nn_utf8_valid(const void *text, size_t size)
{
    const unsigned char *bytes = text;
    size_t at = 0, length;
    while (at < size && (length = utf8_length(bytes + at, size - at)) > 0)
        at += length;
    return at;
}
