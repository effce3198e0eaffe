#include "explain.h"

#include "output.h"
#include "report.h"

static bool write_graph(struct trainer *t, const char *option, const char *path, bool backward)
{
    struct output output;
    if (!path)
        return true;
    if (!output_open(&output, option, path))
        return false;
    bool drawn = ag_dot(t->tape, output.out, backward);
    return output_close(&output) && drawn;
}

static bool print_formulas(struct trainer *t, const struct options *options)
{
    char network[200];
    describe(network, sizeof network, options);
    printf("%s%s: one training step, as formulas\n\n", options->summary ? "\n" : "", network);
    return ag_explain(t->tape, stdout, 0);
}

bool explain(struct trainer *t, const struct options *options)
{
    if (!trainer_record(t, options->batch))
        return false;
    if (options->summary)
        nn_summary(t->params, stdout);
    return (!options->explain || print_formulas(t, options)) &&
           write_graph(t, "--dot", options->dot, false) &&
           write_graph(t, "--dot-backward", options->dot_backward, true);
}
