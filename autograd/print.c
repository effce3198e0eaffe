/* Tensors printed as NumPy prints arrays: long axes abridged to their first and last elements,
 * columns aligned. */
#include "tape.h"

enum { EDGE = 3, DIGITS = 6, NUMBER = 32 };

struct printing {
    const ag_tape *tape;
    const struct record *r;
    FILE *out;
    int width; /* of the longest number shown */
};

static int number_text(const struct printing *p, int64_t i, char *text)
{
    return snprintf(text, NUMBER, "%.*g", DIGITS, element_at(p->tape, p->r, i));
}

/* The position after `i` that is shown: the middle of a long axis is left out. */
static int64_t next_shown(int64_t i, int64_t size)
{
    return size > 2 * EDGE && i == EDGE - 1 ? size - EDGE : i + 1;
}

static void measure(struct printing *p, int axis, int64_t at)
{
    char text[NUMBER];
    if (axis == p->r->shape.rank) {
        int width = number_text(p, at, text);
        p->width = width > p->width ? width : p->width;
        return;
    }
    int64_t size = p->r->shape.dim[axis];
    for (int64_t i = 0; i < size; i = next_shown(i, size))
        measure(p, axis + 1, at * size + i);
}

static void separate(const struct printing *p, int axis)
{
    if (axis == p->r->shape.rank - 1) {
        fputc(' ', p->out);
        return;
    }
    for (int i = axis; i < p->r->shape.rank - 1; i++)
        fputc('\n', p->out);
    fprintf(p->out, "%*s", axis + 1, "");
}

static void print_axis(const struct printing *p, int axis, int64_t at)
{
    char text[NUMBER];
    if (axis == p->r->shape.rank) {
        number_text(p, at, text);
        fprintf(p->out, "%*s", p->width, text);
        return;
    }
    int64_t size = p->r->shape.dim[axis];
    fputc('[', p->out);
    for (int64_t i = 0; i < size; i = next_shown(i, size)) {
        if (i > 0)
            separate(p, axis);
        if (size > 2 * EDGE && i == size - EDGE) {
            fputs("...", p->out);
            separate(p, axis);
        }
        print_axis(p, axis + 1, at * size + i);
    }
    fputc(']', p->out);
}

bool can_write(ag_tape *tape, const FILE *out, const char *who)
{
    return out || fault(tape, "%s: no file to write to (NULL)", who);
}

void ag_print(ag_tensor x, FILE *out)
{
    struct printing p = {.tape = x.tape, .r = computed(x, "print"), .out = out};
    if (!p.r || !can_write(x.tape, out, "print"))
        return;
    fprintf(out, "%s%s%s %s\n", p.r->name ? p.r->name : "", p.r->name ? " " : "",
            shape_words(&p.r->shape).at, x.tape->dtype == AG_F32 ? "float32" : "float64");
    measure(&p, 0, 0);
    print_axis(&p, 0, 0);
    fputc('\n', out);
}
