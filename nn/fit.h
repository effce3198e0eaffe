/* A training loop, to be used or ignored, and the progress bar that it shows.
 *
 *     static ag_tensor digit_loss(void *context, ag_tensor rows)
 *     {
 *         const struct digits *d = context;
 *         ag_tensor logits = forward(d, ag_take(d->images, rows));
 *         return nn_cross_entropy(logits, ag_take(d->labels, rows), NN_MEAN);
 *     }
 *
 *     nn_fit_options options = {.params = params, .optimizer = adam, .loss = digit_loss,
 *                               .context = &digits, .split = &split, .batch = 64, .epochs = 10};
 *     nn_history history;
 *     if (nn_fit(&options, &history, &error) == NN_FIT_FAILED)
 *         ...
 *
 * The data are buffers on the tape: each step sets the numbers of its rows, replays the program and
 * updates, so that a row is copied once, into the batch. */
#ifndef TAPEGRAD_FIT_H
#define TAPEGRAD_FIT_H

#include "nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nn_fit_options {
    nn_params *params;
    nn_optimizer *optimizer;

    /* Records the mean loss, a scalar, of the rows whose numbers are in `rows` (n). Called once for
     * each size of a batch in a row of such; data are what `context` holds. */
    ag_tensor (*loss)(void *context, ag_tensor rows);
    void *context;

    const nn_split *split;       /* train, and validation if there is any; below 2^24 with AG_F32 */
    size_t batch, epochs;        /* rows in a batch; epochs in all, those before a resume too */
    uint64_t seed;               /* of the rows' order */
    size_t accumulate;           /* batches whose mean gradient makes one step; 0: 1 */
    const nn_schedule *schedule; /* of the rate, by steps; NULL: the optimiser's */

    /* Not 0: decay of a running average of the weights after each step. The averages are then what
     * is validated, and what the weights are at the end. */
    double average;

    /* Not 0: stops after so many epochs without a lower validation loss; and at the end, however it
     * comes, the weights are those of the epoch with the lowest. */
    size_t patience;

    /* Not NULL: written after each epoch and on an interruption. resume: begins with reading it,
     * and gives the same bits as if training had never been interrupted. What the steps depend on
     * must then be as it was: batch, accumulate, average and the schedule, whose length does not
     * hang on `epochs`. So part of a plan is trained with fewer epochs, and later the rest. */
    const char *checkpoint;
    bool resume;

    bool interruptible; /* SIGINT (Ctrl-C) stops after the current step; a second one as ever */
    FILE *progress;     /* or NULL */
} nn_fit_options;

/* Losses of each epoch: the mean over its training rows, each batch before its step; and over the
 * validation rows, afterwards (NaN: there are none). Arrays live as long as the tape. */
typedef struct nn_history {
    double *train, *validation; /* (epochs) */
    size_t epochs;              /* finished */
    size_t best;                /* that of the lowest validation loss, from 0 */
} nn_history;

typedef enum { NN_FIT_FAILED, NN_FIT_DONE, NN_FIT_STOPPED_EARLY, NN_FIT_INTERRUPTED } nn_fit_end;

/* Resets the tape. When interrupted, the weights are as they are, not the best or averages. A loss
 * that is not finite is an error. */
AG_API nn_fit_end nn_fit(const nn_fit_options *options, nn_history *history, nn_error *error);

/* The mean loss over these rows in inference mode, by batches. Resets the tape. */
AG_API bool nn_evaluate(const nn_fit_options *options, const uint32_t *rows, size_t count,
                        double *loss, nn_error *error);

/* ---- Progress ---- */

/* One line that rewrites itself on a terminal, some ten lines elsewhere. Heeds the terminal's
 * width, TERM=dumb and NO_COLOR (https://no-color.org). */
typedef struct nn_progress {
    FILE *out; /* set it to NULL to show nothing */
    bool bar, colour, drawn;
    int digits;                 /* of the number of epochs */
    int decimals;               /* of losses, one less beside the bar; 0: four digits in all */
    size_t epochs, epoch;       /* in all, and finished */
    size_t rows, done, skipped; /* in all; done, and of those, before a resume */
    double start, shown;        /* nn_seconds() */
    double train, validation;
} nn_progress;

AG_API void nn_progress_begin(nn_progress *progress, FILE *out, size_t epochs,
                              size_t rows_per_epoch);

/* Behind it, where training goes on: the epochs that were finished, the last one's losses, and the
 * rows that were done. */
AG_API void nn_progress_resume(nn_progress *progress, size_t epochs, size_t rows, double train,
                               double validation);
AG_API void nn_progress_rows(nn_progress *progress, size_t rows); /* so many more are done */
AG_API void nn_progress_epoch(nn_progress *progress, double train,
                              double validation);   /* NaN: there is none */
AG_API void nn_progress_end(nn_progress *progress); /* ends the line, if one was drawn */

/* Seconds of a clock that only goes forward. */
AG_API double nn_seconds(void);

#ifdef __cplusplus
}
#endif

#endif
