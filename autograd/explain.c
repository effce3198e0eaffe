/* The tape in words: the forward pass and each backward walk, a formula a line. */
#include <math.h>
#include <time.h>

#include "labels.h"
#include "ops/ops.h"

enum { LEFT_WIDTH = 14, RIGHT_WIDTH = 46, LINE = 256 };

/* All lines are made twice: first to find how wide the columns are, then to be printed. */
struct printer {
    ag_tape *tape;
    struct labels labels;
    FILE *out;
    unsigned what;
    bool measures;
    int left, right, shape; /* widths of the columns, in characters */
};

/* Characters, not bytes, of UTF-8. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void widen(int *column, const char *text)
{
    int width = width_of(text);
    *column = width > *column ? width : *column;
}

static void pad(FILE *out, const char *text, int width)
{
    fprintf(out, "%s%*s", text, width > width_of(text) ? width - width_of(text) : 0, "");
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

/* Which parameter or input a gradient belongs to, and how broadcasting multiplied it. */
static void print_target(const struct printer *p, const struct record *r, uint32_t index)
{
    const struct record *target = record_at(p->tape, index);
    char name[LINE];
    struct text text = {.at = name, .size = sizeof name, .labels = &p->labels};
    expression(&text, p->tape, index, LEFT_WIDTH);
    fprintf(p->out, "  %s %s %s", p->labels.unicode ? "←" : "<-", name,
            shape_words(&target->shape).at);
    if (r->op != &sum_op || !r->walk)
        return;
    const struct record *x = input_of(p->tape, r, 0);
    bool rows = x->shape.rank == 2 && r->attr.axes == 1u;
    fprintf(p->out, ", broadcast over %lld %s", (long long)(x->count / r->count),
            rows ? "rows" : "elements");
}

/* One line: a record, and the note that says whose gradient it is, if any. The first tensor with
 * this gradient gets its formula, any other a reference to the first. */
static void line(struct printer *p, uint32_t index, const struct note *note)
{
    const struct record *r = record_at(p->tape, index);
    const struct shape_words shape = shape_words(&r->shape);
    char left[LINE] = "", right[LINE] = "";
    struct text name = {.at = left, .size = sizeof left, .labels = &p->labels};
    struct text formula = {.at = right, .size = sizeof right, .labels = &p->labels};
    if (note)
        add_gradient_label(&name, p->tape, note);
    else
        expression(&name, p->tape, index, LEFT_WIDTH);
    bool first = !note || p->labels.note[index] == note - p->tape->notes.at + 1;
    (first ? expression_of : expression)(&formula, p->tape, index, RIGHT_WIDTH);
    if (p->measures) {
        widen(&p->left, left);
        widen(&p->right, right);
        widen(&p->shape, shape.at);
        return;
    }
    bool of_leaf = note && record_at(p->tape, note->target)->op->leaf;
    fputs("  ", p->out);
    pad(p->out, left, p->left);
    fputs(" = ", p->out);
    pad(p->out, right, p->right);
    fputs("  ", p->out);
    pad(p->out, shape.at, p->what || of_leaf ? p->shape : 0);
    if (p->what & AG_EXPLAIN_VALUES)
        print_values(p, r);
    if (p->what & AG_EXPLAIN_COST)
        fprintf(p->out, " %10.2f %12.0f", run_time(p, index),
                r->op->view ? 0 : (double)bytes_of(p->tape, r));
    if (of_leaf)
        print_target(p, r, note->target);
    fputc('\n', p->out);
}

/* walk: the backward walk that begins, or 0 where the user's own records do. */
static void heading(const struct printer *p, uint32_t walk)
{
    char what[LINE] = "forward";
    struct text text = {.at = what, .size = sizeof what, .labels = &p->labels};
    if (p->measures)
        return;
    for (uint32_t i = 0; walk && i < p->labels.notes; i++)
        if (p->tape->notes.at[i].walk == walk) {
            text_add(&text, "backward from ");
            expression(&text, p->tape, p->tape->notes.at[i].y, LEFT_WIDTH);
            break;
        }
    pad(p->out, what, p->left + p->right + 7);
    pad(p->out, "shape", p->what ? p->shape : 0);
    if (p->what & AG_EXPLAIN_VALUES)
        fprintf(p->out, " %10s %10s %10s %5s %5s", "min", "mean", "max", "NaN", "Inf");
    if (p->what & AG_EXPLAIN_COST)
        fprintf(p->out, " %10s %12s", "time/us", "bytes");
    fputc('\n', p->out);
}

/* Gradients of this walk that are tensors from before it, such as exp(x) when it is d exp(x)/dx. */
static void borrowed_lines(struct printer *p, uint32_t walk, uint32_t *next)
{
    for (; *next < p->labels.notes && p->tape->notes.at[*next].walk <= walk; ++*next) {
        const struct note *note = &p->tape->notes.at[*next];
        if (p->tape->transient.at[note->gradient].walk != walk)
            line(p, note->gradient, note);
    }
}

static void all_lines(struct printer *p)
{
    const struct record *last = NULL;
    uint32_t next_note = 0;
    for (uint32_t i = 1; i < p->labels.count; i++) {
        const struct record *r = &p->tape->transient.at[i];
        if (!r->walk && r->op->leaf)
            continue;
        if (!last || r->walk != last->walk) {
            borrowed_lines(p, last ? last->walk : 0, &next_note);
            heading(p, r->walk);
        }
        last = r;
        for (uint32_t n = p->labels.note[i]; n; n = p->labels.twin[n - 1])
            line(p, i, &p->tape->notes.at[n - 1]);
        if (!p->labels.note[i] && (p->labels.letter[i] || (r->name && !r->op->leaf)))
            line(p, i, NULL);
    }
    borrowed_lines(p, last ? last->walk : 0, &next_note);
}

bool ag_explain(ag_tape *tape, FILE *out, unsigned what)
{
    if (!tape || tape->failed || !can_write(tape, out, "explain"))
        return false;
    struct printer p = {.tape = tape, .out = out, .what = what, .measures = true, .shape = 5};
    if (!labels_make(&p.labels, tape, locale_is_unicode()))
        return false;
    run_pending(tape);
    settle(tape);
    all_lines(&p);
    p.measures = false;
    all_lines(&p);
    labels_free(&p.labels, tape);
    return !tape->failed;
}
