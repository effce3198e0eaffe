#include "options.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <autograd/autograd.h>

const char *const activation_names[] = {"sigmoid", "tanh", "relu", NULL};
const char *const optimizer_names[] = {"sgd", "momentum", "adam", "adamw", NULL};
const char *const schedule_names[] = {"constant", "step", "cosine", NULL};

enum kind { FLAG, TEXT, WHOLE, NUMBER, CHOICE, SIZES };

/* What an option writes, `offset` bytes into struct options, by its kind: a bool, a const char *,
 * a uint64_t, a double, an int, or uint64_t[MAX_HIDDEN] with their number after them. */
struct option {
    const char *name, *argument;
    enum kind kind;
    size_t offset;
    double least, most; /* WHOLE, NUMBER, SIZES */
    const char *const *choices;
    const char *help; /* newlines part its lines */
};

#define AT(field) offsetof(struct options, field)

static const struct option table[] = {
    {"--data", "FILE", TEXT, AT(data), 0, 0, NULL,
     "the California housing data as a CSV file with a header;\n"
     "without it: a synthetic table made by the program itself"},
    {"--hidden", "N[,N...]", SIZES, AT(hidden), 1, 4096, NULL,
     "units of each hidden layer, at most 8 layers (64)"},
    {"--activation", "NAME", CHOICE, AT(activation), 0, 0, activation_names,
     "sigmoid, tanh or relu (sigmoid)"},
    {"--epochs", "N", WHOLE, AT(epochs), 0, 1e6, NULL, "walks over the training part (100)"},
    {"--batch", "N", WHOLE, AT(batch), 1, 1e9, NULL,
     "rows in a batch (128, or all if there are fewer)"},
    {"--optimizer", "NAME", CHOICE, AT(optimizer), 0, 0, optimizer_names,
     "sgd, momentum (sgd with 0.9), adam or adamw (adamw)"},
    {"--lr", "RATE", NUMBER, AT(rate), 0, 1e6, NULL,
     "learning rate (adam, adamw 0.02; sgd 0.1; momentum 0.05)"},
    {"--weight-decay", "X", NUMBER, AT(weight_decay), 0, 1e6, NULL,
     "pulls all parameters towards 0 (0)"},
    {"--schedule", "NAME", CHOICE, AT(schedule), 0, 0, schedule_names,
     "of the learning rate: constant, step (to a tenth after\n"
     "each third of the epochs) or cosine (falls to 0) (cosine)"},
    {"--schedule-epochs", "N", WHOLE, AT(schedule_epochs), 1, 1e6, NULL,
     "epochs that the schedule is planned for, if not --epochs:\n"
     "to train a part of it now, and more with --resume"},
    {"--warmup", "N", WHOLE, AT(warmup), 0, 1e6, NULL,
     "epochs in which the rate first rises to its value (0)"},
    {"--seed", "N", WHOLE, AT(seed), 0, 9007199254740992.0, NULL,
     "of the split, the first weights and the batches (0):\n"
     "the same seed gives the same bits"},
    {"--loss-curve", "FILE", TEXT, AT(loss_curve), 0, 0, NULL,
     "draws training and validation loss as an SVG picture"},
    {"--save", "FILE", TEXT, AT(save), 0, 0, NULL,
     "writes the weights, and by what data was standardised, as\n"
     "safetensors"},
    {"--load", "FILE", TEXT, AT(load), 0, 0, NULL,
     "begins with the weights of such a file, of the same\n"
     "--hidden and --activation; --epochs 0 only measures them"},
    {"--resume", "FILE", TEXT, AT(resume), 0, 0, NULL,
     "goes on from this checkpoint, if it is there, with the\n"
     "same bits as if never interrupted; writes it after each\n"
     "epoch. More epochs than before need the same schedule:\n"
     "constant, or with the same --schedule-epochs"},
    {"--summary", NULL, FLAG, AT(summary), 0, 0, NULL,
     "prints a table of the network's parameters"},
    {"--explain", NULL, FLAG, AT(explain), 0, 0, NULL,
     "prints a training step as formulas with shapes"},
    {"--dot", "FILE", TEXT, AT(dot), 0, 0, NULL,
     "writes the forward pass as a graph, for Graphviz:\n"
     "dot -Tsvg FILE > graph.svg"},
    {"--dot-backward", "FILE", TEXT, AT(dot_backward), 0, 0, NULL,
     "the same with the backward pass"},
    {"--trace-nan", NULL, FLAG, AT(trace_nan), 0, 0, NULL,
     "stops at the first value that is NaN or infinite and says\n"
     "where it came from (slow)"},
    {"--json", NULL, FLAG, AT(json), 0, 0, NULL, "prints one line of results and nothing else"},
    {"--quiet", NULL, FLAG, AT(quiet), 0, 0, NULL, "shows no progress, only the results"},
    {"--help", NULL, FLAG, AT(help), 0, 0, NULL, "prints this"},
};

enum { OPTIONS = sizeof table / sizeof *table };

void options_help(FILE *out)
{
    fputs("Usage: housing_mlp [OPTION]...\n"
          "Trains a multilayer perceptron on house prices:\n"
          "    y = sigmoid(X W1 + b1) W2 + b2, mean squared error.\n"
          "Features and prices are standardised on the training part; rows are split\n"
          "64/16/20 into training, validation and test part.\n\n",
          out);
    for (size_t i = 0; i < OPTIONS; i++) {
        char head[40];
        snprintf(head, sizeof head, "%s %s", table[i].name,
                 table[i].argument ? table[i].argument : "");
        for (const char *line = table[i].help, *start = head; line; start = "") {
            size_t length = strcspn(line, "\n");
            fprintf(out, "  %-20s %.*s\n", start, (int)length, line);
            line = line[length] ? line + length + 1 : NULL;
        }
    }
    fputs("\nWith --summary, --explain, --dot or --dot-backward nothing is trained,\n"
          "and --json, --loss-curve, --save and --resume are refused.\n"
          "\nExit status: 0 when trained; 1 when training failed (the loss diverged to\n"
          "infinity or NaN, memory ran out, a result could not be written); 2 for a\n"
          "mistake in the options or the data.\n",
          out);
}

static bool mistake(const char *format, ...) AG_PRINTF(1, 2);

static bool mistake(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("housing_mlp: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* A decimal number in the option's range that ends at `end`; NaN if there is none. */
static double number(const struct option *option, const char *text, const char *end)
{
    bool whole = option->kind != NUMBER;
    if (text == end ||
        strspn(text, whole ? "0123456789" : "0123456789.eE+-") < (size_t)(end - text))
        return (double)NAN;
    char *stop;
    double value = strtod(text, &stop);
    return stop == end && value >= option->least && value <= option->most ? value : (double)NAN;
}

static bool parse_number(const struct option *option, const char *text, void *out)
{
    double value = number(option, text, text + strlen(text));
    bool whole = option->kind == WHOLE;
    if (isnan(value))
        return mistake("%s %s: must be a %snumber from %.16g to %.16g", option->name, text,
                       whole ? "whole " : "", option->least, option->most);
    if (whole)
        *(uint64_t *)out = (uint64_t)value;
    else
        *(double *)out = value;
    return true;
}

static bool parse_sizes(const struct option *option, const char *text, uint64_t *sizes)
{
    uint64_t count = 0;
    for (const char *at = text;; at++) {
        const char *end = at + strcspn(at, ",");
        double value = number(option, at, end);
        if (isnan(value) || count == MAX_HIDDEN)
            return mistake("%s %s: must be at most %d whole numbers from %.16g to %.16g with "
                           "commas between them",
                           option->name, text, MAX_HIDDEN, option->least, option->most);
        sizes[count++] = (uint64_t)value;
        at = end;
        if (!*at)
            break;
    }
    sizes[MAX_HIDDEN] = count;
    return true;
}

static bool parse_choice(const struct option *option, const char *text, int *out)
{
    for (int i = 0; option->choices[i]; i++)
        if (!strcmp(option->choices[i], text))
            return *out = i, true;
    char list[100] = "";
    for (int i = 0; option->choices[i]; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", option->choices[i]);
    }
    return mistake("%s %s: must be one of %s", option->name, text, list);
}

static bool parse_value(const struct option *option, const char *text, struct options *options)
{
    void *out = (char *)options + option->offset;
    switch (option->kind) {
    case FLAG:
        *(bool *)out = true;
        return true;
    case TEXT:
        *(const char **)out = text;
        return *text || mistake("%s: the file name is empty", option->name);
    case WHOLE:
    case NUMBER:
        return parse_number(option, text, out);
    case CHOICE:
        return parse_choice(option, text, out);
    case SIZES:
        return parse_sizes(option, text, out);
    }
    return false;
}

/* The option that `argument` names, alone or before an equals sign. */
static const struct option *find_option(const char *argument)
{
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < OPTIONS; i++)
        if (strlen(table[i].name) == length && !strncmp(table[i].name, argument, length))
            return &table[i];
    return NULL;
}

const char *options_only(const struct options *options)
{
    return options->summary        ? "--summary"
           : options->explain      ? "--explain"
           : options->dot          ? "--dot"
           : options->dot_backward ? "--dot-backward"
                                   : NULL;
}

/* An option that would do nothing where nothing is trained, or NULL. */
static const char *of_training(const struct options *options)
{
    return options->json         ? "--json"
           : options->loss_curve ? "--loss-curve"
           : options->save       ? "--save"
           : options->resume     ? "--resume"
                                 : NULL;
}

/* What depends on the optimiser, and on several options together. */
static bool complete(struct options *options)
{
    static const double rates[] = {[SGD] = 0.1, [MOMENTUM] = 0.05, [ADAM] = 0.02, [ADAMW] = 0.02};
    if (options->rate < 0.0)
        options->rate = rates[options->optimizer];
    const char *only = options_only(options), *idle = of_training(options);
    if (only && idle)
        return mistake("%s and %s: with %s nothing is trained; give one of them", only, idle, only);
    if (!options->epochs && !options->load)
        return mistake("--epochs 0: trains nothing; it must be at least 1, but with --load");
    if (!options->epochs && options->loss_curve)
        return mistake("--loss-curve %s: there is no curve of 0 epochs", options->loss_curve);
    if (options->load && options->resume)
        return mistake("--load and --resume: each brings weights; give one of them");
    if (!options->schedule_epochs)
        options->schedule_epochs = options->epochs;
    return options->warmup <= options->schedule_epochs ||
           mistake("--warmup %llu: more than all epochs, %llu", (unsigned long long)options->warmup,
                   (unsigned long long)options->schedule_epochs);
}

bool options_parse(struct options *options, int count, char *const *arguments)
{
    *options = (struct options){.hidden = {64},
                                .hidden_count = 1,
                                .optimizer = ADAMW,
                                .schedule = 2,
                                .epochs = 100,
                                .rate = -1.0};
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i], *value = strchr(argument, '=');
        const struct option *option = find_option(argument);
        if (!option)
            return mistake("%s '%s' (--help lists the options)",
                           *argument == '-' ? "unknown option" : "unexpected argument", argument);
        if (option->kind == FLAG && value)
            return mistake("%s: takes no value", argument);
        if (option->kind != FLAG && !value && ++i == count)
            return mistake("%s: %s is missing after it", argument, option->argument);
        if (!parse_value(option, value ? value + 1 : arguments[i], options))
            return false;
        if (options->help)
            return true;
    }
    return complete(options);
}
