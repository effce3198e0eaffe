/* Running what was recorded: what is pending, or all of it again; and the search for the record
 * that first made a value that is not finite. */
#include <math.h>

#include "blocks.h"

/* The first element that is NaN or infinite, or -1. */
static int64_t nonfinite_element(const ag_tape *tape, const struct record *r)
{
    for (int64_t i = 0; i < r->count; i++)
        if (!isfinite(element_at(tape, r, i)))
            return i;
    return -1;
}

/* An operand's value where the result went wrong, if it has the result's shape; else its range. */
static void add_operand(struct text *text, const ag_tape *tape, const struct record *x,
                        uint32_t index, const struct record *r, int64_t element)
{
    double low = (double)INFINITY, high = -(double)INFINITY;
    text_add(text, "\n    where  ");
    expression(text, tape, index, 48);
    if (shape_equal(&x->shape, &r->shape)) {
        text_add(text, " is %g there", element_at(tape, x, element));
        return;
    }
    for (int64_t i = 0; i < x->count; i++) {
        low = fmin(low, element_at(tape, x, i));
        high = fmax(high, element_at(tape, x, i));
    }
    text_add(text, " ranges from %g to %g", low, high);
}

COLD static void report_nonfinite(ag_tape *tape, uint32_t index, int64_t element)
{
    const struct record *r = record_at(tape, index);
    char buffer[ERROR_SIZE / 2];
    struct text text = {.at = buffer, .size = sizeof buffer};
    const ag_shape position = position_of(element, &r->shape);
    expression_of(&text, tape, index, 64);
    text_add(&text, "   %s", shape_words(&r->shape).at);
    if (r->shape.rank)
        text_add(&text, ", at %s", shape_words(&position).at);
    for (int k = 0; k < r->inputs; k++)
        add_operand(&text, tape, input_of(tape, r, k), r->input[k], r, element);
    ag_fail(tape, "trace: the first value that is not finite: %g, in the %s\n    in     %s",
            element_at(tape, r, element), r->walk ? "backward pass" : "forward pass", buffer);
}

/* Where a record holds a value that is not finite, that is the error, or first of all such a value
 * of a leaf that it reads. Of a leaf by itself it is not, as it may be about to be set; nor of a
 * mask, which may be infinite. */
static void trace_record(ag_tape *tape, uint32_t index)
{
    const struct record *r = &tape->transient.at[index];
    int64_t element = r->op->leaf || r->op->masks ? -1 : nonfinite_element(tape, r);
    for (int k = 0; k < r->inputs && element >= 0; k++) {
        const struct record *x = input_of(tape, r, k);
        int64_t at = x->op->leaf ? nonfinite_element(tape, x) : -1;
        if (at >= 0)
            report_nonfinite(tape, r->input[k], at); /* of several errors the first stays */
    }
    if (element >= 0)
        report_nonfinite(tape, index, element);
}

/* What comes after the first find is run as ever: a value that can be read must have been computed.
 */
COLD static void run_traced(ag_tape *tape, uint32_t first, uint32_t end)
{
    for (; first < end; first++) {
        run_record(tape, &tape->transient.at[first]);
        if (!tape->failed)
            trace_record(tape, first);
    }
}

void run_range(ag_tape *tape, uint32_t first, uint32_t end)
{
    if (tape->tracing) {
        run_traced(tape, first, end);
        return;
    }
    for (struct record *r = &tape->transient.at[first]; first < end; first++, r++)
        run_record(tape, r);
}

/* Is a record yet to be run that does not do the same when it is run twice? */
static bool pending_matters(const ag_tape *tape)
{
    for (uint32_t i = tape->ran; i < tape->transient.count; i++)
        if (tape->transient.at[i].op->random || tape->transient.at[i].op->updates)
            return true;
    return false;
}

bool ag_replay(ag_tape *tape)
{
    if (!tape || tape->failed)
        return false;
    if (pending_matters(tape))
        run_pending(tape);
    run_window(tape, 1, tape->transient.count);
    tape->ran = tape->transient.count;
    tape->replayed = tape->clock;
    return !tape->failed;
}

void ag_trace_nonfinite(ag_tape *tape, bool on)
{
    if (tape)
        tape->tracing = on;
}
