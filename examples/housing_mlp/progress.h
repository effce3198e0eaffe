/* How training is going: one line that rewrites itself on a terminal, some ten lines elsewhere. */
#ifndef HOUSING_PROGRESS_H
#define HOUSING_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct progress {
    FILE *out; /* set it to NULL to show nothing */
    bool bar, colour, drawn;
    int digits;           /* of the number of epochs */
    size_t epochs, epoch; /* in all, and finished */
    size_t rows, done;    /* in all, and done; */
    size_t skipped;       /* of those, before a resume */
    double start, shown;  /* seconds_now() */
    double train, validation;
};

/* Seconds of a clock that only goes forward. */
double seconds_now(void);

/* Heeds the terminal's width, TERM=dumb and NO_COLOR (https://no-color.org). */
void progress_begin(struct progress *p, FILE *out, size_t epochs, size_t rows_per_epoch);

/* So many epochs were done before. */
void progress_skip(struct progress *p, size_t epochs);
void progress_rows(struct progress *p, size_t rows);
void progress_epoch(struct progress *p, double train, double validation);

/* Ends the line, if one was drawn. */
void progress_end(struct progress *p);

#endif
