/* The command line of housing_mlp: one table of options, from which --help is made too. */
#ifndef HOUSING_OPTIONS_H
#define HOUSING_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MAX_HIDDEN = 8 };

enum activation { SIGMOID, TANH, RELU };
enum optimizer { SGD, MOMENTUM, ADAM, ADAMW };

/* The names that the command line has for them, in the order of the enums; NULL at the end. */
extern const char *const activation_names[];
extern const char *const optimizer_names[];
extern const char *const schedule_names[]; /* in the order of nn_schedule_kind */

struct options {
    const char *data; /* a CSV file; NULL: the synthetic table */
    uint64_t hidden[MAX_HIDDEN];
    uint64_t hidden_count;
    int activation, optimizer, schedule;
    uint64_t epochs, schedule_epochs, warmup, seed;
    uint64_t batch; /* 0: the default, or all rows if they are fewer */
    double rate;    /* not given: that of the optimiser */
    double weight_decay;
    const char *loss_curve;         /* an SVG file, or NULL */
    const char *save, *load;        /* safetensors files of weights, or NULL */
    const char *resume;             /* a checkpoint, or NULL */
    const char *dot, *dot_backward; /* Graphviz files, or NULL */
    bool summary, explain, trace_nan, json, quiet, help;
};

/* Fills `options` with the defaults and then from the arguments. False when there is a mistake,
 * which has been told on stderr. */
bool options_parse(struct options *options, int count, char *const *arguments);

/* The option that has a step explained or drawn instead of trained, if one is given; or NULL. */
const char *options_only(const struct options *options);

void options_help(FILE *out);

#endif
