/* The tape as a Graphviz graph: a node for each record and leaf, an edge for each operand, with its
 * shape. Kinds are told apart by shape first and colour second (Okabe & Ito's palette, tinted);
 * greys are chosen to read on light and on dark. */
#include <string.h>

#include "labels.h"
#include "ops/ops.h"

enum { NAME = 128 };

struct graph {
    ag_tape *tape;
    struct labels labels;
    FILE *out;
    bool backward;
    uint32_t *layer; /* by transient index: the first parameter of its layer, or 0 */
    uint32_t *used;  /* by lasting index: the same, of what is shown; UINT32_MAX: not shown */
};

static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

static bool shown(const struct graph *g, uint32_t index)
{
    return index & LASTING || g->backward || !g->tape->transient.at[index].walk;
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

static void print_style(const struct graph *g, uint32_t index, const struct record *r)
{
    const char *style =
        "shape=box, style=\"rounded,filled\", fillcolor=\"#f4f4f4\", color=\"#777777\"";
    bool loss = g->labels.notes && g->tape->notes.at[0].y == index;
    if (loss)
        style = "shape=doubleoctagon, style=filled, fillcolor=\"#f8dccb\", color=\"#d55e00\"";
    else if (r->trainable)
        style = "shape=cylinder, style=filled, fillcolor=\"#d3e6f5\", color=\"#0072b2\"";
    else if (index & LASTING)
        style = "shape=cylinder, style=\"filled,dotted\", fillcolor=\"#eeeeee\", color=\"#0072b2\"";
    else if (r->op->leaf && !r->walk)
        style = "shape=parallelogram, style=filled, fillcolor=\"#d4efe5\", color=\"#009e73\"";
    else if (r->walk)
        style =
            "shape=box, style=\"rounded,filled,dashed\", fillcolor=\"#fdf2d3\", color=\"#b97f00\"";
    fputs(style, g->out);
}

static void print_node(const struct graph *g, uint32_t index)
{
    const struct record *r = record_at(g->tape, index);
    char name[NAME], shape[SHAPE_TEXT];
    struct text text = {.at = name, .size = sizeof name, .unicode = true};
    *name = '\0';
    if (r->op->leaf || r->name)
        expression(&text, &g->labels, g->tape, index, 24);
    else
        add_label(&text, &g->labels, g->tape, index);
    shape_print(shape, sizeof shape, &r->shape);
    fprintf(g->out, "    %s%u [label=<", index & LASTING ? "p" : "r", index & ~LASTING);
    print_escaped(g->out, r->op->leaf ? name : r->op->name);
    if (!r->op->leaf && *name) {
        fputs("<br/><font point-size=\"10\">", g->out);
        print_escaped(g->out, name);
        fputs("</font>", g->out);
    }
    fputs(">, ", g->out);
    print_style(g, index, r);
    fputs("];\n", g->out);
}

static void print_edges(const struct graph *g, uint32_t index)
{
    const struct record *r = record_at(g->tape, index);
    uint32_t note = g->labels.note[index];
    if (r->op == &seed_op && note) {
        uint32_t y = g->tape->notes.at[note - 1].y;
        fprintf(g->out, "    %s%u -> r%u [style=dotted, color=\"#b97f00\"];\n",
                y & LASTING ? "p" : "r", y & ~LASTING, index);
    }
    for (int k = 0; k < r->inputs; k++) {
        char shape[SHAPE_TEXT];
        shape_print(shape, sizeof shape, &input_of(g->tape, r, k)->shape);
        fprintf(g->out, "    %s%u -> r%u [label=\"%s\"%s];\n", r->input[k] & LASTING ? "p" : "r",
                r->input[k] & ~LASTING, index, shape,
                r->walk ? ", style=dashed, color=\"#b97f00\"" : "");
    }
}

/* Opens the cluster of a layer; Graphviz puts together what clusters of one name hold. */
static void open_layer(const struct graph *g, uint32_t layer)
{
    const char *start;
    if (!layer)
        return;
    size_t length = layer_name(&g->tape->lasting.at[layer], &start);
    fprintf(g->out, "  subgraph cluster_%u { label=<%s", layer,
            strspn(start, "0123456789") >= length ? "layer " : "");
    for (size_t i = 0; i < length; i++)
        print_escaped(g->out, (char[]){start[i], '\0'});
    fputs(">; style=rounded; color=\"#999999\"; fontcolor=\"#808080\";\n", g->out);
}

static void print_in_layer(const struct graph *g, uint32_t index, uint32_t layer)
{
    open_layer(g, layer);
    print_node(g, index);
    if (layer)
        fputs("  }\n", g->out);
}

/* Finds the layers, and which parameters and buffers the graph shows at all. */
static void survey(const struct graph *g)
{
    for (uint32_t i = 0; i < g->tape->lasting.count; i++)
        g->used[i] = UINT32_MAX;
    for (uint32_t i = 1; i < g->labels.count; i++) {
        const struct record *r = &g->tape->transient.at[i];
        for (int k = 0; k < r->inputs && shown(g, i); k++) {
            uint32_t *used = &g->used[r->input[k] & ~LASTING];
            if (r->input[k] & LASTING && *used == UINT32_MAX)
                *used = layer_of_parameter(g->tape, r->input[k]);
        }
        g->layer[i] = shown(g, i) && !r->walk ? layer_of_record(g, r) : 0;
    }
}

static void print_graph(const struct graph *g)
{
    fputs("digraph tape {\n"
          "  bgcolor=transparent; rankdir=TB; nodesep=0.35; ranksep=0.35;\n"
          "  fontname=\"Helvetica\"; fontsize=11;\n"
          "  node [fontname=\"Helvetica\", fontsize=13, fontcolor=\"#222222\", penwidth=1.3];\n"
          "  edge [fontname=\"Helvetica\", fontsize=10, color=\"#808080\", fontcolor=\"#808080\", "
          "arrowsize=0.7];\n",
          g->out);
    for (uint32_t i = 1; i < g->tape->lasting.count; i++)
        if (g->used[i] != UINT32_MAX)
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
    if (!tape || tape->failed)
        return false;
    struct graph g = {.tape = tape, .out = out, .backward = backward};
    if (!labels_make(&g.labels, tape))
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
