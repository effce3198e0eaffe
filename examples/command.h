/* The command line of the small examples: one table of options, from which --help is made too. */
#ifndef EXAMPLES_COMMAND_H
#define EXAMPLES_COMMAND_H

#include <nn/nn.h>

enum { DONE = 0, FAILED = 1, MISTAKE = 2 }; /* exit status */

/* An option with a value: a text that is not empty, or a whole number from least to most. */
struct option {
    const char *name, *argument, *help;
    const char **text; /* one of the two is set */
    uint64_t *number;
    uint64_t least, most;
};

/* What a program takes and does. `run` returns the exit status and, when it is not DONE, why in
 * `error`. */
struct command {
    const char *about; /* what the program does; ends with a newline */
    const struct option *options;
    size_t count;
    int (*run)(nn_error *error);
};

/* Sets the options from the arguments and runs the command, or prints what --help asks for; tells
 * on stderr what was wrong. Returns the exit status: also FAILED when not all that was printed has
 * arrived. */
int command_main(const struct command *command, int arguments, char **argument);

#endif
