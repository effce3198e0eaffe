/* The table of a network's parameters. */
#include <string.h>

#include "bytes.h"
#include "parts.h"

enum { COLUMNS = 4 };

/* The table is walked twice: first, without `out`, to see how wide its columns are. */
struct table {
    const nn_params *params;
    FILE *out;
    int width[COLUMNS];
};

static void write_row(struct table *t, const char *const cells[COLUMNS], const char *note)
{
    const int *w = t->width;
    for (int i = 0; i < COLUMNS && !t->out; i++)
        if ((int)strlen(cells[i]) > w[i])
            t->width[i] = (int)strlen(cells[i]);
    if (t->out)
        fprintf(t->out, "%-*s  %-*s  %*s  %*s%s\n", w[0], cells[0], w[1], cells[1], w[2], cells[2],
                w[3], cells[3], note);
}

static void write_rule(const struct table *t)
{
    for (int i = t->width[0] + t->width[1] + t->width[2] + t->width[3] + 7; t->out && i > 0; i--)
        fputc(i > 1 ? '-' : '\n', t->out);
}

/* 1234567 as "1,234,567". */
static void print_grouped(char *text, int64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    for (int i = 0; i <= length; i++) {
        if (i && i < length && (length - i) % 3 == 0)
            *text++ = ',';
        *text++ = digits[i];
    }
}

static void write_numbers(struct table *t, const char *name, const char *shape, int64_t elements,
                          const char *note)
{
    char count[32], bytes[32];
    print_grouped(count, elements);
    print_grouped(bytes, elements * (ag_tape_dtype(nn_params_tape(t->params)) == AG_F32 ? 4 : 8));
    write_row(t, (const char *[]){name, shape, count, bytes}, note);
}

static void write_table(struct table *t)
{
    int64_t trainable = 0, all = nn_params_elements(t->params);
    write_row(t, (const char *[]){"parameter", "shape", "count", "bytes"}, "");
    write_rule(t);
    for (size_t i = 0; i < nn_params_count(t->params); i++) {
        ag_tensor w = nn_params_at(t->params, i);
        ag_shape shape = ag_shape_of(w);
        char text[NN_SHAPE_TEXT];
        trainable += ag_trainable(w) ? ag_count(w) : 0;
        write_numbers(t, ag_name_of(w), nn_shape_print(text, &shape), ag_count(w),
                      ag_trainable(w)                     ? ""
                      : nn_params_is_buffer(t->params, i) ? "  buffer"
                                                          : "  frozen");
    }
    write_rule(t);
    write_numbers(t, "total", "", all, "");
    if (trainable < all)
        write_numbers(t, "trained", "", trainable, "");
}

void nn_summary(const nn_params *params, FILE *out)
{
    struct table table = {.params = params};
    write_table(&table);
    table.out = out;
    write_table(&table);
}
