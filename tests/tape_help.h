/* For the tests of what is built on the tape: cmocka, and what is asserted of a tape. */
#ifndef TAPE_HELP_H
#define TAPE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

static inline void assert_no_error(const ag_tape *tape)
{
    if (ag_error(tape))
        fail_msg("%s", ag_error(tape));
}

/* The message, which the place of the call may follow; clears it. */
static inline void assert_error(ag_tape *tape, const char *expected)
{
    assert_non_null(ag_error(tape));
    size_t length = strlen(expected);
    const char *rest = ag_error(tape) + length;
    if (strncmp(ag_error(tape), expected, length) != 0 || (*rest && strncmp(rest, "\n    at ", 8)))
        fail_msg("expected: %s\ngot: %s", expected, ag_error(tape));
    ag_clear_error(tape);
}

/* A text that is part of the message; clears it. */
static inline void assert_error_with(ag_tape *tape, const char *expected)
{
    assert_non_null(ag_error(tape));
    if (!strstr(ag_error(tape), expected))
        fail_msg("expected: %s\ngot: %s", expected, ag_error(tape));
    ag_clear_error(tape);
}

static inline void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g is not %.17g to %g", value, expected, tolerance);
}

#endif
