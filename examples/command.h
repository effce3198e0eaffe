/* The command line of the small examples: one table of options, from which --help is made too. */
#ifndef EXAMPLES_COMMAND_H
#define EXAMPLES_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DONE = 0, FAILED = 1, MISTAKE = 2 }; /* exit status */

/* An option with a value: a text that is not empty, or a whole number from least to most. */
struct option {
    const char *name, *argument, *help;
    const char **text; /* one of the two is set */
    uint64_t *number;
    uint64_t least, most;
};

/* Reads the arguments. False when there is nothing more to do: --help was asked for and printed
 * (*status DONE), or there is a mistake, which has been told on stderr (MISTAKE). `about` says what
 * the program does; it ends with a newline. */
bool command_parse(const char *about, const struct option *options, size_t count, int arguments,
                   char **argument, int *status);

/* Whatever was printed must have arrived, or the run has failed. Returns the exit status. */
int command_finish(const char *program, int status);

#endif
