/* The tape in words: the forward pass and each backward walk, a formula a line. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "labels.h"
#include "ops/ops.h"

enum { LEFT_WIDTH = 14, RIGHT_WIDTH = 46, LINE = 256 };

struct printer {
    ag_tape *tape;
    struct labels labels;
    FILE *out;
    unsigned what;
    bool unicode;
    int left, right, shape; /* widths of the columns, in characters */
};

/* One line to be: a record, and the note that says whose gradient it is, if any. */
struct line {
    uint32_t index;
    const struct note *note;
};

/* Characters, not bytes, of UTF-8. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void pad(FILE *out, const char *text, int width)
{
    fprintf(out, "%s%*s", text, width > width_of(text) ? width - width_of(text) : 0, "");
}

static void left_side(const struct printer *p, struct line line, char *buffer)
{
    struct text text = {.at = buffer, .size = LINE, .unicode = p->unicode};
    *buffer = '\0';
    if (line.note)
        add_gradient_label(&text, &p->labels, p->tape, line.note);
    else
        expression(&text, &p->labels, p->tape, line.index, LEFT_WIDTH);
}

/* The first tensor with this gradient gets its formula, any other a reference to the first. */
static void right_side(const struct printer *p, struct line line, char *buffer)
{
    struct text text = {.at = buffer, .size = LINE, .unicode = p->unicode};
    bool first = !line.note || p->labels.note[line.index] == line.note - p->tape->notes.at + 1;
    *buffer = '\0';
    if (first)
        expression_of(&text, &p->labels, p->tape, line.index, RIGHT_WIDTH);
    else
        expression(&text, &p->labels, p->tape, line.index, RIGHT_WIDTH);
}

static void measure(struct printer *p, struct line line)
{
    char left[LINE], right[LINE], shape[SHAPE_TEXT];
    left_side(p, line, left);
    right_side(p, line, right);
    shape_print(shape, sizeof shape, &record_at(p->tape, line.index)->shape);
    p->left = width_of(left) > p->left ? width_of(left) : p->left;
    p->right = width_of(right) > p->right ? width_of(right) : p->right;
    p->shape = width_of(shape) > p->shape ? width_of(shape) : p->shape;
}

static void print_values(const struct printer *p, const struct record *r)
{
    double low = (double)INFINITY, high = -(double)INFINITY, sum = 0;
    int64_t nan = 0, infinite = 0;
    for (int64_t i = 0; i < r->count; i++) {
        double v = element_at(p->tape, r, i);
        nan += isnan(v) != 0;
        infinite += isinf(v) != 0;
        low = fmin(low, v);
        high = fmax(high, v);
        sum += v;
    }
    fprintf(p->out, " %10.4g %10.4g %10.4g %5lld %5lld", low, sum / (double)r->count, high,
            (long long)nan, (long long)infinite);
}

/* Microseconds that one record takes to run, on the values as they are. */
static double run_time(const struct printer *p, uint32_t index)
{
    struct timespec start, end;
    p->tape->checking = true;
    timespec_get(&start, TIME_UTC);
    run_range(p->tape, index, index + 1);
    timespec_get(&end, TIME_UTC);
    p->tape->checking = false;
    return (double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) * 1e-3;
}

static void print_cost(const struct printer *p, const struct record *r, struct line line)
{
    double bytes = r->op->view ? 0 : (double)r->count * (double)element_size(p->tape);
    fprintf(p->out, " %10.2f %12.0f", run_time(p, line.index), bytes);
}

/* Which parameter or input a gradient belongs to, and how broadcasting multiplied it. */
static void print_target(const struct printer *p, const struct record *r, const struct note *note)
{
    const struct record *target = record_at(p->tape, note->target);
    char name[LINE], shape[SHAPE_TEXT];
    struct text text = {.at = name, .size = sizeof name, .unicode = p->unicode};
    if (!target->op->leaf)
        return;
    shape_print(shape, sizeof shape, &target->shape);
    expression(&text, &p->labels, p->tape, note->target, LEFT_WIDTH);
    fprintf(p->out, "  %s %s %s", p->unicode ? "←" : "<-", name, shape);
    if (!strcmp(r->op->name, "sum") && r->walk)
        fprintf(p->out, ", broadcast over %lld %s",
                (long long)(input_of(p->tape, r, 0)->count / r->count),
                input_of(p->tape, r, 0)->shape.rank == 2 && r->attr.axes == 1u ? "rows"
                                                                               : "elements");
}

static void print(struct printer *p, struct line line)
{
    const struct record *r = record_at(p->tape, line.index);
    char left[LINE], right[LINE], shape[SHAPE_TEXT];
    left_side(p, line, left);
    right_side(p, line, right);
    shape_print(shape, sizeof shape, &r->shape);
    fputs("  ", p->out);
    pad(p->out, left, p->left);
    fputs(" = ", p->out);
    pad(p->out, right, p->right);
    fputs("  ", p->out);
    bool more = p->what || (line.note && record_at(p->tape, line.note->target)->op->leaf);
    pad(p->out, shape, more ? p->shape : 0);
    if (p->what & AG_EXPLAIN_VALUES)
        print_values(p, r);
    if (p->what & AG_EXPLAIN_COST)
        print_cost(p, r, line);
    if (line.note)
        print_target(p, r, line.note);
    fputc('\n', p->out);
}

/* walk: the backward walk that begins, or 0 where the user's own records do. */
static void print_heading(struct printer *p, uint32_t walk)
{
    char heading[LINE] = "forward";
    struct text text = {.at = heading, .size = sizeof heading, .unicode = p->unicode};
    for (uint32_t i = 0; walk && i < p->labels.notes; i++)
        if (p->tape->notes.at[i].walk == walk) {
            text_add(&text, "backward from ");
            expression(&text, &p->labels, p->tape, p->tape->notes.at[i].y, LEFT_WIDTH);
            break;
        }
    pad(p->out, heading, p->left + p->right + 7);
    pad(p->out, "shape", p->what ? p->shape : 0);
    if (p->what & AG_EXPLAIN_VALUES)
        fprintf(p->out, " %10s %10s %10s %5s %5s", "min", "mean", "max", "NaN", "Inf");
    if (p->what & AG_EXPLAIN_COST)
        fprintf(p->out, " %10s %12s", "time/us", "bytes");
    fputc('\n', p->out);
}

static void each_note(struct printer *p, uint32_t index,
                      void (*visit)(struct printer *, struct line))
{
    for (uint32_t n = p->labels.note[index]; n; n = p->labels.twin[n - 1])
        visit(p, (struct line){index, &p->tape->notes.at[n - 1]});
}

/* Gradients of this walk that are tensors from before it, such as exp(x) when it is d exp(x)/dx. */
static void each_borrowed(struct printer *p, uint32_t walk, uint32_t *next,
                          void (*visit)(struct printer *, struct line))
{
    for (; *next < p->labels.notes && p->tape->notes.at[*next].walk <= walk; ++*next) {
        const struct note *note = &p->tape->notes.at[*next];
        if (p->tape->transient.at[note->gradient].walk != walk)
            visit(p, (struct line){note->gradient, note});
    }
}

/* Visits the lines in order; heading, if not NULL, is called where a pass begins. */
static void each_line(struct printer *p, void (*visit)(struct printer *, struct line),
                      void (*heading)(struct printer *, uint32_t))
{
    uint32_t walk = UINT32_MAX, next_note = 0;
    for (uint32_t i = 1; i < p->labels.count; i++) {
        const struct record *r = &p->tape->transient.at[i];
        if (!r->walk && r->op->leaf)
            continue;
        if (r->walk != walk) {
            if (walk && walk != UINT32_MAX)
                each_borrowed(p, walk, &next_note, visit);
            walk = r->walk;
            if (heading)
                heading(p, walk);
        }
        if (p->labels.note[i])
            each_note(p, i, visit);
        else if (p->labels.letter[i] || (r->name && !r->op->leaf))
            visit(p, (struct line){i, NULL});
    }
    if (walk && walk != UINT32_MAX)
        each_borrowed(p, walk, &next_note, visit);
}

bool ag_explain(ag_tape *tape, FILE *out, unsigned what)
{
    if (!tape || tape->failed || !can_write(tape, out, "explain"))
        return false;
    struct printer p = {
        .tape = tape, .out = out, .what = what, .unicode = locale_is_unicode(), .shape = 5};
    if (!labels_make(&p.labels, tape))
        return false;
    run_pending(tape);
    settle(tape);
    each_line(&p, measure, NULL);
    each_line(&p, print, print_heading);
    labels_free(&p.labels, tape);
    return !tape->failed;
}
