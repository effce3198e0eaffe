/* The tape as a Graphviz graph: a node for each record and leaf, an edge for each operand, with its
 * shape. Kinds are told apart by shape first and colour second (Okabe & Ito's palette, tinted);
 * greys are chosen to read on light and on dark. */
#include <string.h>

#include "labels.h"
#include "ops/ops.h"

enum { NAME = 128 };

#define HIDDEN UINT32_MAX

struct graph {
    ag_tape *tape;
    struct labels labels;
    FILE *out;
    bool backward;
    uint32_t *layer; /* by transient index: the first parameter of its layer, or 0, or HIDDEN */
    uint32_t *used;  /* by lasting index: the same */
};

/* Bytes of the UTF-8 character at `c`, of `left` that there are; 0 if it is none that XML allows.
 */
static size_t character_size(const unsigned char *c, size_t left)
{
    static const uint32_t least[] = {0, 0x20, 0x80, 0x800, 0x10000};
    size_t size = *c < 0x80 ? 1 : *c < 0xc0 ? 0 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : *c < 0xf8 ? 4 : 0;
    if (!size || size > left)
        return 0;
    uint32_t point = size == 1 ? *c : *c & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (c[i] & 0x3fu);
    }
    bool allowed = point >= least[size] && (point < 0xd800 || point > 0xdfff) &&
                   (point & ~1u) != 0xfffe && point <= 0x10ffff;
    return allowed ? size : 0;
}

static void print_escaped(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0, n = 1; i < length; i += n ? n : 1) {
        n = character_size((const unsigned char *)text + i, length - i);
        if (n == 1 && strchr("<>&\"", text[i]))
            fprintf(out, "&#%d;", text[i]);
        else if (n)
            fwrite(text + i, 1, n, out);
        else
            fputc('?', out);
    }
}

static bool shown(const struct graph *g, uint32_t index)
{
    return index & LASTING || g->layer[index] != HIDDEN;
}

/* Of the backward part: gradients, and what was computed from them. */
static bool comes_after_a_walk(const struct graph *g, const struct record *r)
{
    bool after = r->walk;
    for (int k = 0; k < r->inputs && !after; k++)
        after = !shown(g, r->input[k]);
    return after;
}

/* The part of a parameter's name that it shares with its layer: "block1.linear" of
 * "block1.linear.weight", and where there is no dot the number at the end: "1" of "W1". Its length
 * is 0 where there is none. */
static size_t layer_name(const struct record *parameter, const char **start)
{
    const char *name = parameter->name ? parameter->name : "", *dot = strrchr(name, '.');
    *start = name;
    if (dot)
        return (size_t)(dot - name);
    size_t length = strlen(name), digits = 0;
    while (digits < length && strchr("0123456789", name[length - digits - 1]))
        digits++;
    *start = name + length - digits;
    return digits;
}

/* The first parameter whose layer is that of this one; 0 if its name tells of none. */
static uint32_t layer_of_parameter(const ag_tape *tape, uint32_t parameter)
{
    const char *name, *other;
    size_t length = layer_name(record_at(tape, parameter), &name);
    if (!length || !record_at(tape, parameter)->trainable)
        return 0;
    for (uint32_t i = 1;; i++)
        if (layer_name(&tape->lasting.at[i], &other) == length && !strncmp(name, other, length))
            return i;
}

/* The layer of a record is that of the parameter it reads, else the one that all its operands are
 * of. */
static uint32_t layer_of_record(const struct graph *g, const struct record *r)
{
    uint32_t layer = 0;
    for (int k = 0; k < r->inputs; k++)
        if (r->input[k] & LASTING && g->used[r->input[k] & ~LASTING])
            return g->used[r->input[k] & ~LASTING];
    for (int k = 0; k < r->inputs; k++) {
        uint32_t own = r->input[k] & LASTING ? 0 : g->layer[r->input[k]];
        if (!own || (layer && own != layer))
            return 0;
        layer = own;
    }
    return layer;
}

static bool gradient_of_parameter(const struct graph *g, uint32_t index)
{
    if (index & LASTING)
        return false;
    for (uint32_t n = g->labels.note[index]; n; n = g->labels.twin[n - 1])
        if (g->tape->notes.at[n - 1].target & LASTING)
            return true;
    return false;
}

static void print_style(const struct graph *g, uint32_t index, const struct record *r)
{
    const char *style =
        "shape=box, style=\"rounded,filled\", fillcolor=\"#f4f4f4\", color=\"#777777\"";
    bool loss = g->labels.notes && g->tape->notes.at[0].y == index;
    if (loss)
        style = "shape=octagon, style=filled, margin=0.03, penwidth=2.6, fillcolor=\"#f8dccb\", "
                "color=\"#d55e00\"";
    else if (r->trainable)
        style = "shape=cylinder, style=filled, fillcolor=\"#d3e6f5\", color=\"#0072b2\"";
    else if (index & LASTING)
        style = "shape=cylinder, style=\"filled,dotted\", fillcolor=\"#eeeeee\", color=\"#0072b2\"";
    else if (r->op->leaf && !r->walk)
        style = "shape=parallelogram, style=filled, fillcolor=\"#d4efe5\", color=\"#009e73\"";
    else if (gradient_of_parameter(g, index))
        style = "shape=box, style=\"rounded,filled\", fillcolor=\"#fae29b\", color=\"#b97f00\", "
                "penwidth=2.2";
    else if (r->walk)
        style =
            "shape=box, style=\"rounded,filled,dashed\", fillcolor=\"#fdf2d3\", color=\"#b97f00\"";
    fputs(style, g->out);
}

/* Nodes are p1, p2, ... of what lasts, and r1, r2, ... of records. */
static char letter_of(uint32_t index)
{
    return index & LASTING ? 'p' : 'r';
}

static void print_node(const struct graph *g, uint32_t index)
{
    const struct record *r = record_at(g->tape, index);
    char name[NAME] = "";
    struct text text = {.at = name, .size = sizeof name, .labels = &g->labels};
    if (r->op->leaf || r->name)
        expression(&text, g->tape, index, 24);
    else
        add_label(&text, g->tape, index, 0);
    fprintf(g->out, "    %c%u [label=<", letter_of(index), index & ~LASTING);
    const char *title = r->op->leaf ? name : r->op->name;
    print_escaped(g->out, title, strlen(title));
    if (!r->op->leaf && *name) {
        fputs("<br/><font point-size=\"3\"> <br/></font><font point-size=\"11\">", g->out);
        print_escaped(g->out, name, strlen(name));
        fputs("</font>", g->out);
    }
    fputs(">, ", g->out);
    print_style(g, index, r);
    fputs("];\n", g->out);
}

static void print_dotted(const struct graph *g, uint32_t from, uint32_t to)
{
    fprintf(g->out, "    %c%u -> r%u [style=dotted, penwidth=1.6, color=\"#b97f00\"];\n",
            letter_of(from), from & ~LASTING, to);
}

/* A walk starts from 1, which its first record mostly leaves out of the product. */
static bool starts_from_seed(const struct graph *g, uint32_t index)
{
    const struct record *r = &g->tape->transient.at[index];
    return index > 1 && r->inputs && r[-1].op == &seed_op && r[-1].walk == r->walk &&
           r->input[0] != index - 1;
}

static void print_edges(const struct graph *g, uint32_t index)
{
    const struct record *r = record_at(g->tape, index);
    uint32_t note = g->labels.note[index];
    if (r->op == &seed_op && note)
        print_dotted(g, g->tape->notes.at[note - 1].y, index);
    if (starts_from_seed(g, index))
        print_dotted(g, index - 1, index);
    for (int k = 0; k < r->inputs; k++)
        fprintf(g->out, "    %c%u -> r%u [label=\" %s\"%s];\n", letter_of(r->input[k]),
                r->input[k] & ~LASTING, index, shape_words(&input_of(g->tape, r, k)->shape).at,
                r->walk ? ", style=dashed, color=\"#b97f00\"" : "");
}

/* In the cluster of its layer; Graphviz puts together what clusters of one name hold. */
static void print_in_layer(const struct graph *g, uint32_t index, uint32_t layer)
{
    if (!layer) {
        print_node(g, index);
        return;
    }
    const char *start;
    size_t length = layer_name(&g->tape->lasting.at[layer], &start);
    fprintf(g->out, "  subgraph cluster_%u { label=<%s", layer,
            strspn(start, "0123456789") >= length ? "layer " : "");
    print_escaped(g->out, start, length);
    fputs(">; style=rounded; color=\"#999999\"; fontcolor=\"#787878\";\n", g->out);
    print_node(g, index);
    fputs("  }\n", g->out);
}

/* Finds the layers, and which parameters and buffers the graph shows at all. */
static void survey(const struct graph *g)
{
    for (uint32_t i = 0; i < g->tape->lasting.count; i++)
        g->used[i] = HIDDEN;
    for (uint32_t i = 1; i < g->labels.count; i++) {
        const struct record *r = &g->tape->transient.at[i];
        g->layer[i] = !g->backward && comes_after_a_walk(g, r) ? HIDDEN : 0;
        for (int k = 0; k < r->inputs && shown(g, i); k++) {
            uint32_t *used = &g->used[r->input[k] & ~LASTING];
            if (r->input[k] & LASTING && *used == HIDDEN)
                *used = layer_of_parameter(g->tape, r->input[k]);
        }
        if (shown(g, i) && !r->walk)
            g->layer[i] = layer_of_record(g, r);
    }
}

static void print_graph(const struct graph *g)
{
    fputs("digraph tape {\n"
          "  bgcolor=transparent; rankdir=TB; nodesep=0.35; ranksep=0.35;\n"
          "  fontname=\"Helvetica\"; fontsize=11;\n"
          "  node [fontname=\"Helvetica\", fontsize=13, fontcolor=\"#222222\", penwidth=1.3];\n"
          "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#787878\", fontcolor=\"#787878\", "
          "arrowsize=0.7];\n",
          g->out);
    for (uint32_t i = 1; i < g->tape->lasting.count; i++)
        if (g->used[i] != HIDDEN)
            print_in_layer(g, i | LASTING, g->used[i]);
    for (uint32_t i = 1; i < g->labels.count; i++)
        if (shown(g, i))
            print_in_layer(g, i, g->layer[i]);
    for (uint32_t i = 1; i < g->labels.count; i++)
        if (shown(g, i))
            print_edges(g, i);
    fputs("}\n", g->out);
}

bool ag_dot(ag_tape *tape, FILE *out, bool backward)
{
    if (!tape || tape->failed || !can_write(tape, out, "dot"))
        return false;
    struct graph g = {.tape = tape, .out = out, .backward = backward};
    if (!labels_make(&g.labels, tape, true))
        return false;
    size_t size = (g.labels.count + tape->lasting.count) * sizeof *g.layer;
    g.layer = tape_realloc(tape, NULL, 0, size);
    if (g.layer) {
        g.used = g.layer + g.labels.count;
        survey(&g);
        print_graph(&g);
        tape_realloc(tape, g.layer, size, 0);
    }
    labels_free(&g.labels, tape);
    return !tape->failed;
}
