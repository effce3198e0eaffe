#include "labels.h"

#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

enum { LOSS = 'L' };

/* Does any tensor bear this name already? Asked once for each of 26 letters. */
static bool name_taken(const ag_tape *tape, const char *name)
{
    const struct records *all[] = {&tape->lasting, &tape->transient};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 1; i < all[k]->count; i++)
            if (all[k]->at[i].name && !strcmp(all[k]->at[i].name, name))
                return true;
    return false;
}

/* What the first walk starts from is the loss, called L if nothing else is. */
static uint32_t unnamed_loss(const struct labels *labels, const ag_tape *tape)
{
    uint32_t y = labels->notes ? tape->notes.at[0].y : 0;
    return y & LASTING || name_taken(tape, "L") ? 0 : y;
}

/* Letters count back from the loss, as one derives: L = mean(A²), A = Y - B, B = C + b2, ... */
static void number_letters(struct labels *labels, const ag_tape *tape)
{
    bool free_letter[26];
    uint32_t next = 1, loss = unnamed_loss(labels, tape);
    for (int i = 0; i < 26; i++)
        free_letter[i] = i != LOSS - 'A' && !name_taken(tape, (char[]){(char)('A' + i), '\0'});
    for (uint32_t i = labels->count - 1; i > 0; i--) {
        if (!labels->letter[i])
            continue;
        if (i == loss) {
            labels->letter[i] = LOSS - 'A' + 1;
            continue;
        }
        while (next <= 26 && !free_letter[next - 1])
            next++;
        labels->letter[i] = next++;
    }
}

/* A gradient that the walk itself recorded bears its name: that of the first tensor whose gradient
 * it is. */
static void label_gradients(struct labels *labels, const ag_tape *tape)
{
    for (uint32_t i = labels->notes; i > 0; i--) {
        const struct note *note = &tape->notes.at[i - 1];
        if (tape->transient.at[note->gradient].walk != note->walk)
            continue;
        labels->twin[i - 1] = labels->note[note->gradient];
        labels->note[note->gradient] = i;
    }
}

/* What the user recorded has a line of its own, and so has what a later walk passes through. */
static void mark_lines(struct labels *labels, const ag_tape *tape)
{
    for (uint32_t i = 1; i < labels->count; i++) {
        const struct record *r = &tape->transient.at[i];
        labels->letter[i] = !r->walk && !r->name && !r->op->leaf;
    }
    for (uint32_t i = 0; i < labels->notes; i++) {
        uint32_t target = tape->notes.at[i].target;
        if (target & LASTING || labels->note[target])
            continue;
        const struct record *r = &tape->transient.at[target];
        labels->letter[target] = !r->name && !r->op->leaf;
    }
}

static size_t size_of(const struct labels *labels)
{
    return (2 * (size_t)labels->count + labels->notes) * sizeof *labels->note;
}

bool labels_make(struct labels *labels, ag_tape *tape, bool unicode)
{
    *labels = (struct labels){.count = tape->transient.count,
                              .notes = tape->notes.count,
                              .unicode = unicode};
    labels->note = tape_realloc(tape, NULL, 0, size_of(labels));
    if (!labels->note)
        return false;
    memset(labels->note, 0, size_of(labels));
    labels->letter = labels->note + labels->count;
    labels->twin = labels->letter + labels->count;
    label_gradients(labels, tape);
    mark_lines(labels, tape);
    number_letters(labels, tape);
    return true;
}

void labels_free(struct labels *labels, ag_tape *tape)
{
    tape_realloc(tape, labels->note, size_of(labels), 0);
}

/* The name of y or of a target: in parentheses where it is a gradient itself. */
static void add_variable(struct text *text, const ag_tape *tape, uint32_t index)
{
    bool gradient =
        !(index & LASTING) && text->labels->note[index] && !record_at(tape, index)->name;
    text_add(text, gradient ? "(" : "");
    expression(text, tape, index, 24);
    text_add(text, gradient ? ")" : "");
}

void add_gradient_label(struct text *text, const ag_tape *tape, const struct note *note)
{
    text_add(text, "d");
    add_variable(text, tape, note->y);
    text_add(text, "/d");
    add_variable(text, tape, note->target);
}

/* Of several tensors that have this gradient, the one that the walk had come to when it made the
 * reader: where C = B + b, dL/dC is dL/dB too, and what follows from C is written with dL/dC. */
static const struct note *note_for(const struct labels *labels, const ag_tape *tape, uint32_t index,
                                   uint32_t reader)
{
    uint32_t n = labels->note[index];
    while (labels->twin[n - 1] && tape->notes.at[labels->twin[n - 1] - 1].after <= reader)
        n = labels->twin[n - 1];
    return &tape->notes.at[n - 1];
}

bool add_label(struct text *text, const ag_tape *tape, uint32_t index, uint32_t reader)
{
    const struct labels *labels = text->labels;
    if (!labels || index & LASTING || index >= labels->count)
        return false;
    uint32_t letter = labels->letter[index];
    if (labels->note[index])
        add_gradient_label(text, tape, note_for(labels, tape, index, reader));
    else if (letter > 26)
        text_add(text, "%c%u", 'A' + (int)((letter - 1) % 26), (letter - 1) / 26);
    else if (letter)
        text_add(text, "%c", 'A' + (int)letter - 1);
    else
        return false;
    return true;
}

/* The variables that setlocale would read, in its order. */
bool locale_is_unicode(void)
{
    const char *name = getenv("LC_ALL");
    if (!name || !*name)
        name = getenv("LC_CTYPE");
    if (!name || !*name)
        name = getenv("LANG");
    return name && (strstr(name, "UTF-8") || strstr(name, "utf8") || strstr(name, "UTF8"));
}
