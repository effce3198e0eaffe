/* The table of a network's parameters. */
#include "parts.h"

#include <string.h>

struct row {
    const char *name;
    char shape[192], count[32], bytes[32];
    const char *note;
};

/* How wide the columns are. */
struct widths {
    int name, shape, count, bytes;
};

/* 1234567 as "1,234,567". */
static void print_grouped(char *text, size_t size, int64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

/* As a Python tuple: "(64, 8)", "(64,)", "()". */
static void print_shape(char *text, size_t size, ag_shape shape)
{
    size_t used = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < shape.rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld",
                                 (long long)shape.dim[i]);
    if (used < size)
        snprintf(text + used, size - used, shape.rank == 1 ? ",)" : ")");
}

static struct row numbers(const nn_params *params, const char *name, int64_t count)
{
    struct row row = {.name = name, .note = ""};
    int64_t element = ag_tape_dtype(nn_params_tape(params)) == AG_F32 ? 4 : 8;
    print_grouped(row.count, sizeof row.count, count);
    print_grouped(row.bytes, sizeof row.bytes, count * element);
    return row;
}

static struct row row_of(const nn_params *params, size_t index)
{
    ag_tensor w = nn_params_at(params, index);
    struct row row = numbers(params, ag_name_of(w), ag_count(w));
    row.note = ag_trainable(w) ? "" : nn_params_is_buffer(params, index) ? "  buffer" : "  frozen";
    print_shape(row.shape, sizeof row.shape, ag_shape_of(w));
    return row;
}

static void widen(int *width, const char *text)
{
    int length = (int)strlen(text);
    if (length > *width)
        *width = length;
}

static void measure(struct widths *widths, const struct row *row)
{
    widen(&widths->name, row->name);
    widen(&widths->shape, row->shape);
    widen(&widths->count, row->count);
    widen(&widths->bytes, row->bytes);
}

static void print_row(FILE *out, const struct widths *widths, const struct row *row)
{
    fprintf(out, "%-*s  %-*s  %*s  %*s%s\n", widths->name, row->name, widths->shape, row->shape,
            widths->count, row->count, widths->bytes, row->bytes, row->note);
}

static void print_rule(FILE *out, const struct widths *widths)
{
    int width = widths->name + widths->shape + widths->count + widths->bytes + 6;
    while (width-- > 0)
        fputc('-', out);
    fputc('\n', out);
}

void nn_summary(const nn_params *params, FILE *out)
{
    const struct row head = {"parameter", "shape", "count", "bytes", ""};
    const struct row total = numbers(params, "total", nn_params_elements(params));
    int64_t trainable = 0;
    struct widths widths = {0};
    measure(&widths, &head);
    measure(&widths, &total);
    for (size_t i = 0; i < nn_params_count(params); i++) {
        struct row row = row_of(params, i);
        measure(&widths, &row);
        trainable += *row.note ? 0 : ag_count(nn_params_at(params, i));
    }
    const struct row trained = numbers(params, "trained", trainable);
    measure(&widths, &trained);
    print_row(out, &widths, &head);
    print_rule(out, &widths);
    for (size_t i = 0; i < nn_params_count(params); i++) {
        struct row row = row_of(params, i);
        print_row(out, &widths, &row);
    }
    print_rule(out, &widths);
    print_row(out, &widths, &total);
    if (trainable < nn_params_elements(params))
        print_row(out, &widths, &trained);
}
