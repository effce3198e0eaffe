/* What records are called in print where the user gave no name: dL/dW for the gradients that a
 * backward walk found, letters for the rest of what deserves a line of its own. */
#ifndef TAPEGRAD_LABELS_H
#define TAPEGRAD_LABELS_H

#include "tape.h"

struct labels {
    uint32_t *note;   /* by transient index: the note whose gradient this is, from 1; 0: none */
    uint32_t *letter; /* by transient index: its place in A, B, ... Z, A1, ...; from 1; 0: none */
    uint32_t *twin;   /* by note: another note with the same gradient, from 1; 0: none */
    uint32_t notes;   /* notes then */
    uint32_t count;   /* transient records when the labels were made */
    bool unicode;     /* else formulas are written in ASCII alone */
};

/* False with the error when out of memory. */
bool labels_make(struct labels *labels, ag_tape *tape, bool unicode);
void labels_free(struct labels *labels, ag_tape *tape);

/* What a record is called where it has no name, in the formula of record `reader` (or 0); false:
 * write the expression that made it. */
bool add_label(struct text *text, const ag_tape *tape, uint32_t index, uint32_t reader);

/* "dL/dW2" */
void add_gradient_label(struct text *text, const ag_tape *tape, const struct note *note);

bool locale_is_unicode(void);

#endif
