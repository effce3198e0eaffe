/* Words: the sticky error, shape errors that teach, and tensors written as the expressions that
 * made them. */
#include <stdarg.h>
#include <string.h>

#include "labels.h"
#include "ops/ops.h"

AG_PRINTF(2, 0)
static void text_addv(struct text *text, const char *format, va_list args)
{
    if (text->length + 1 >= text->size)
        return;
    int n = vsnprintf(text->at + text->length, text->size - text->length, format, args);
    if (n < 0)
        return;
    text->length += (size_t)n;
    if (text->length >= text->size)
        text->length = text->size - 1;
}

void text_add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_addv(text, format, args);
    va_end(args);
}

const char *ag_error(const ag_tape *tape)
{
    if (!tape)
        return "there is no tape: ag_tape_new ran out of memory, or a tensor was never set";
    return tape->failed ? tape->error : NULL;
}

void ag_clear_error(ag_tape *tape)
{
    if (tape)
        tape->failed = false;
}

/* The buffer of the sticky error, or NULL when an earlier error holds it. */
static bool begin_error(ag_tape *tape, struct text *text)
{
    if (!tape || tape->failed)
        return false;
    tape->failed = true;
    tape->located = false;
    *text = (struct text){.at = tape->error, .size = sizeof tape->error};
    tape->error[0] = '\0';
    return true;
}

ag_tensor ag_fail(ag_tape *tape, const char *format, ...)
{
    struct text text;
    if (begin_error(tape, &text)) {
        va_list args;
        va_start(args, format);
        text_addv(&text, format ? format : "fail: no message (NULL)", args);
        va_end(args);
    }
    return (ag_tensor){.tape = tape};
}

void ag_error_at(ag_tape *tape, const char *file, int line)
{
    if (!tape || !tape->failed || tape->located)
        return;
    struct text text = {.at = tape->error, .size = sizeof tape->error};
    tape->located = true;
    text.length = strlen(tape->error);
    text_add(&text, "\n    at     %s:%d", file ? file : "?", line);
}

AG_PRINTF(3, 0)
static void reject_with(const struct call *call, const char *hint, const char *format, va_list args)
{
    static const char *const roles[][MAX_INPUTS] = {{"input", "", ""},
                                                    {"left", "right", ""},
                                                    {"first", "second", "third"}};
    enum { WIDTH = 48 };
    char expressions[MAX_INPUTS][2 * WIDTH];
    int widest = 0;
    struct text text;
    if (!begin_error(call->tape, &text))
        return;
    text_add(&text, "%s: ", call->op->name);
    text_addv(&text, format, args);
    for (int i = 0; i < call->inputs; i++) {
        struct text e = {.at = expressions[i], .size = sizeof expressions[i]};
        expression(&e, call->tape, call->input[i], WIDTH);
        widest = (int)e.length > widest ? (int)e.length : widest;
    }
    for (int i = 0; i < call->inputs; i++)
        text_add(&text, "\n    %-6s %-*s   %s", roles[call->inputs - 1][i], widest, expressions[i],
                 shape_words(&call->in[i]->shape).at);
    if (*hint)
        text_add(&text, "\n    hint   %s", hint);
}

bool reject(const struct call *call, const char *hint, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    reject_with(call, hint, format, args);
    va_end(args);
    return false;
}

ag_tensor reject_tensor(ag_tensor x, const char *who, const char *hint, const char *format, ...)
{
    const struct op op = {.name = who};
    const struct call call = {
        .tape = x.tape, .op = &op, .in = {find(x)}, .input = {x.index}, .inputs = 1};
    va_list args;
    va_start(args, format);
    reject_with(&call, hint, format, args);
    va_end(args);
    return (ag_tensor){.tape = x.tape};
}

/* ---- Expressions ---- */

/* What the recursion below passes on unchanged. */
struct writer {
    struct text *text;
    const ag_tape *tape;
    uint32_t reader; /* the record that is spelled out, or 0 */
};

static void add_expression(const struct writer *w, uint32_t index, int depth,
                           enum precedence least);

/* Formulas are kept in Unicode; where ASCII is wanted, each such sign has a spelling. */
static const struct {
    const char *sign, *ascii;
} signs[] = {{"·", "*"}, {"²", "^2"}, {"ᵀ", ".T"}};

/* Writes the sign or character at `at` and returns what follows it. */
static const char *add_sign(struct text *text, const char *at)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        size_t length = strlen(signs[i].sign);
        if (!strncmp(at, signs[i].sign, length)) {
            text_add(text, "%s",
                     text->labels && text->labels->unicode ? signs[i].sign : signs[i].ascii);
            return at + length;
        }
    }
    text_add(text, "%c", *at);
    return at + 1;
}

static void add_axes(struct text *text, const struct record *r, int rank)
{
    const char *separator = ", axis ";
    for (int axis = 0; axis < rank && r->attr.axes != (1u << rank) - 1; axis++)
        if (r->attr.axes >> axis & 1u) {
            text_add(text, "%s%d", separator, axis);
            separator = ", ";
        }
}

/* The axes in words: of a matrix, rows are summed over along axis 0. */
static void add_spoken_axes(struct text *text, const struct record *r, int rank)
{
    unsigned all = (1u << rank) - 1;
    if (rank == 2 && r->attr.axes != all)
        text_add(text, r->attr.axes == 1u ? "rows" : "columns");
    else if (r->attr.axes == all)
        text_add(text, "all elements");
    else {
        text_add(text, "axis");
        for (int axis = 0; axis < rank; axis++)
            if (r->attr.axes >> axis & 1u)
                text_add(text, " %d", axis);
    }
}

/* a - b - c is (a - b) - c: the right operand of an infix operator must bind more tightly than it,
 * the left as tightly; what is written as a call takes anything, and a square or transpose sign
 * that comes next, only what is in one piece. */
static enum precedence operand_precedence(enum precedence own, bool right, const char *next)
{
    if (!strncmp(next, "²", strlen("²")) || !strncmp(next, "ᵀ", strlen("ᵀ")))
        return CALL;
    return own == CALL ? SUM : own + right;
}

/* `at` is the placeholder's letter in the formula. */
static void add_placeholder(const struct writer *w, const struct record *r, const char *at,
                            int depth)
{
    char what = *at;
    const char *next =
        (what == 'X' || what == 'Y') && r->attr.transposed[what - 'X'] ? "ᵀ" : at + 1;
    switch (what) {
    case 'X':
    case 'Y':
    case 'x':
    case 'y':
    case 'z': {
        int i = what < 'a' ? what - 'X' : what - 'x';
        add_expression(w, r->input[i], depth,
                       operand_precedence(r->op->precedence, at > r->op->formula + 1, next));
        if (next != at + 1)
            add_sign(w->text, next);
        break;
    }
    case 'a':
        add_axes(w->text, r, input_of(w->tape, r, 0)->shape.rank);
        break;
    case 'A':
        add_spoken_axes(w->text, r, input_of(w->tape, r, 0)->shape.rank);
        break;
    case 'v':
        add_view(w->text, w->tape, r);
        break;
    case 's':
        text_add(w->text, "%s", shape_words(&r->shape).at);
        break;
    default:
        if (r->attr.symbol)
            text_add(w->text, "%s", r->attr.symbol);
        else
            text_add(w->text, "%.6g", r->attr.p[what - 'p']);
    }
}

static void add_formula(const struct writer *w, const struct record *r, const char *formula,
                        int depth)
{
    for (const char *c = formula; *c;) {
        if (*c == '$') {
            add_placeholder(w, r, c + 1, depth);
            c += 2;
        } else
            c = add_sign(w->text, c);
    }
}

/* Recursion is bounded by depth, so a chain of any length is safe. */
static void add_expression(const struct writer *w, uint32_t index, int depth, enum precedence least)
{
    const struct record *r = record_at(w->tape, index);
    if (r->name)
        text_add(w->text, "%s", r->name);
    else if (add_label(w->text, w->tape, index, w->reader))
        return;
    else if (!*r->op->formula)
        text_add(w->text, "%s %u", r->op->name, index & ~LASTING);
    else if (depth <= 0 && !r->op->leaf)
        text_add(w->text, "...");
    else if (r->op->precedence < least) {
        text_add(w->text, "(");
        add_formula(w, r, r->op->formula, depth - 1);
        text_add(w->text, ")");
    } else
        add_formula(w, r, r->op->formula, depth - 1);
}

/* Deep expressions are abridged at the depth that lets them fit. */
static void write_fitting(const struct writer *w, uint32_t index, int width)
{
    size_t start = w->text->length;
    const struct record *r = record_at(w->tape, index);
    for (int depth = 8; depth >= 0; depth--) {
        w->text->length = start;
        if (w->reader && *r->op->formula)
            add_formula(w, r, r->op->spoken ? r->op->spoken : r->op->formula, depth);
        else
            add_expression(w, index, depth, SUM);
        if (w->text->length - start <= (size_t)width)
            return;
    }
}

void expression(struct text *text, const ag_tape *tape, uint32_t index, int width)
{
    write_fitting(&(struct writer){text, tape, 0}, index, width);
}

void expression_of(struct text *text, const ag_tape *tape, uint32_t index, int width)
{
    write_fitting(&(struct writer){text, tape, index}, index, width);
}

/* ---- Warnings ---- */

void default_warning(void *context, const char *message)
{
    (void)context;
    fprintf(stderr, "tapegrad: warning: %s\n", message);
}

static void warn_of_outer(ag_tape *tape, const struct record *r, int vector, long long n)
{
    char message[384], name[2][96];
    struct text text = {.at = message, .size = sizeof message};
    for (int i = 0; i < 2; i++)
        expression(&(struct text){.at = name[i], .size = sizeof name[i]}, tape, r->input[i], 40);
    text_add(&text,
             "%s: %s (%lld,) and %s (%lld, 1) broadcast to (%lld, %lld); if they were to go side "
             "by side, reshape %s to (%lld, 1); ag_set_warning turns this off",
             r->op->name, name[vector], n, name[1 - vector], n, n, n, name[vector], n);
    tape->warned = true;
    tape->warning(tape->warning_context, message);
}

void look_for_outer(ag_tensor y)
{
    const struct record *r = find(y);
    if (r->shape.rank != 2 || r->shape.dim[0] != r->shape.dim[1] || r->inputs != 2)
        return;
    for (int i = 0; i < 2 && !y.tape->warned && y.tape->warning; i++) {
        const ag_shape *vector = &input_of(y.tape, r, i)->shape;
        const ag_shape *column = &input_of(y.tape, r, 1 - i)->shape;
        if (vector->rank == 1 && column->rank == 2 && column->dim[1] == 1 && vector->dim[0] > 1)
            warn_of_outer(y.tape, r, i, (long long)vector->dim[0]);
    }
}

void ag_set_warning(ag_tape *tape, ag_warning *warning, void *context)
{
    if (!tape)
        return;
    tape->warning = warning;
    tape->warning_context = context;
}
