#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void help(const char *program, const struct command *command)
{
    printf("Usage: %s [OPTION]...\n%s\n", program, command->about);
    for (size_t i = 0; i < command->count; i++) {
        const struct option *option = &command->options[i];
        char head[40];
        snprintf(head, sizeof head, "%s %s", option->name, option->argument);
        printf("  %-14s %s", head, option->help);
        if (option->number)
            printf(" (%llu)", (unsigned long long)*option->number);
        putchar('\n');
    }
    printf("  %-14s prints this\n\n"
           "Exit status: 0 when all went well; 1 when the run failed; 2 for a mistake in the\n"
           "options or the data.\n",
           "--help");
}

/* The option that `argument` names, alone or before an equals sign. */
static const struct option *find(const struct option *options, size_t count, const char *argument)
{
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < count; i++)
        if (strlen(options[i].name) == length && !strncmp(options[i].name, argument, length))
            return &options[i];
    return NULL;
}

static bool parse_value(const char *program, const struct option *option, const char *value)
{
    if (option->text) {
        if (!*value)
            fprintf(stderr, "%s: %s: the value is empty\n", program, option->name);
        return *(*option->text = value) != '\0';
    }
    errno = 0;
    unsigned long long number = strtoull(value, NULL, 10);
    *option->number = number;
    if (*value && value[strspn(value, "0123456789")] == '\0' && !errno && number >= option->least &&
        number <= option->most)
        return true;
    fprintf(stderr, "%s: %s %s: must be a whole number from %llu to %llu\n", program, option->name,
            value, (unsigned long long)option->least, (unsigned long long)option->most);
    return false;
}

/* False when there is nothing to run: help was printed (*status DONE), or there is a mistake, which
 * has been told (MISTAKE). */
static bool parse(const char *program, const struct command *command, int arguments,
                  char **argument, int *status)
{
    *status = MISTAKE;
    for (int i = 1; i < arguments; i++) {
        const char *name = argument[i], *value = strchr(name, '=');
        const struct option *option = find(command->options, command->count, name);
        if (!strcmp(name, "--help")) {
            help(program, command);
            *status = DONE;
            return false;
        }
        if (!option) {
            fprintf(stderr, "%s: %s '%s' (--help lists the options)\n", program,
                    *name == '-' ? "unknown option" : "unexpected argument", name);
            return false;
        }
        if (!value && ++i == arguments) {
            fprintf(stderr, "%s: %s: %s is missing after it\n", program, name, option->argument);
            return false;
        }
        if (!parse_value(program, option, value ? value + 1 : argument[i]))
            return false;
    }
    return true;
}

int command_main(const struct command *command, int arguments, char **argument)
{
    const char *slash = arguments ? strrchr(argument[0], '/') : NULL;
    const char *program = slash ? slash + 1 : arguments ? argument[0] : "";
    nn_error error = {"out of memory"};
    int status;
    if (parse(program, command, arguments, argument, &status)) {
        status = command->run(&error);
        if (status != DONE)
            fprintf(stderr, "%s: %s\n", program, error.text);
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "%s: standard output: %s\n", program, strerror(errno));
    return status == DONE ? FAILED : status;
}
