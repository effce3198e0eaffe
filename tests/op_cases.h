/* One table of test cases for all ops: how each is called, on what, what it should give, and a
 * wrong use of it with the error it should meet. Whoever adds an op adds an entry in op_cases.c, or
 * another op_cases_*.c; each makes a test program with test_ops.c, which checks everything else and
 * says so when an op has no entry. */
#ifndef TAPEGRAD_OP_CASES_H
#define TAPEGRAD_OP_CASES_H

#include "autograd/ops/ops.h"

enum { MOST_ELEMENTS = 1024 };

/* A tensor in plain sight, for references that owe nothing to the engine. */
struct array {
    ag_shape shape;
    double at[MOST_ELEMENTS];
};

struct op_case {
    const char *op; /* its struct op's name; an op may have several cases */

    /* How it is called: one of three. A build takes `inputs` operands and may choose axes, shapes
     * and the like by the number v. */
    ag_tensor (*unary)(ag_tensor x);
    ag_tensor (*binary)(ag_tensor x, ag_tensor y);
    ag_tensor (*build)(const ag_tensor *x, unsigned v);
    int inputs;

    /* What it gives: a function of elements (which broadcast), or of whole arrays. */
    double (*f1)(double x);
    double (*f2)(double x, double y);
    void (*reference)(const struct array *x, unsigned v, struct array *y);

    /* Draws the operands' shapes; NULL: any shape, or any two that broadcast together. Their
     * elements come from low to high (0 and 0: -2 to 2), and are at least `away` from 0. */
    void (*shapes)(ag_rng *rng, unsigned v, ag_shape *shape);
    double low, high, away;

    bool flat;   /* nothing has a gradient here; only values are checked */
    bool unlike; /* the operands cannot be one and the same */

    /* A wrong use: operands of these shapes, called by `wrong` (NULL: as above, with v = 0), meet
     * this error. NULL where it goes without saying: a stale operand of a unary op, shapes of a
     * binary one that do not broadcast. */
    const char *error;
    ag_shape wrong_shape[MAX_INPUTS];
    ag_tensor (*wrong)(const ag_tensor *x, unsigned v);
};

extern const struct op_case op_cases[];
extern const size_t op_case_count;

/* Every list of ops that ops.h declares. */
extern const struct op_list *const op_lists[];
extern const size_t op_list_count;

int case_inputs(const struct op_case *c);
ag_tensor case_call(const struct op_case *c, const ag_tensor *x, unsigned v);
void case_reference(const struct op_case *c, const struct array *x, unsigned v, struct array *y);
void case_shapes(const struct op_case *c, ag_rng *rng, unsigned v, ag_shape *shape);
double case_draw(const struct op_case *c, ag_rng *rng); /* an element, exact as a float */

/* Calls the wrong use on tensors of a tape; returns the error's expected text. */
const char *case_wrong(const struct op_case *c, ag_tape *tape, char *expected, size_t size);

ag_shape random_shape(ag_rng *rng, int least_rank, int most_rank);
int64_t draw_size(ag_rng *rng, int64_t low, int64_t high);

/* The gradient of sum(y * dy) in p, from which y was made: how a gradient's op is called. */
ag_tensor pulled_back(ag_tensor y, ag_tensor dy, ag_tensor p);

/* An input shaped like x, whose element i is scrambled(i), in [0, 1) and unlike any other. */
double scrambled(int64_t i);
ag_tensor scrambled_like(ag_tensor x);

/* Something that broadcasts to `shape`: leading axes may be missing, others may be 1. */
ag_shape random_part(ag_rng *rng, const ag_shape *shape);

#endif
