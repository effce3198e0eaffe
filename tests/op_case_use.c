#include <math.h>
#include <stdio.h>

#include "op_references.h"

/* ---- Shapes ---- */

ag_shape random_shape(ag_rng *rng, int least_rank, int most_rank)
{
    ag_shape shape = {least_rank + (int)ag_rng_below(rng, (uint64_t)(most_rank - least_rank + 1)),
                      {0}};
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = 1 + (int64_t)ag_rng_below(rng, 3);
    return shape;
}

ag_shape random_part(ag_rng *rng, const ag_shape *shape)
{
    int missing = (int)ag_rng_below(rng, (uint64_t)shape->rank + 1);
    ag_shape part = {shape->rank - missing, {0}};
    for (int i = 0; i < part.rank; i++)
        part.dim[i] = ag_rng_below(rng, 3) ? shape->dim[i + missing] : 1;
    return part;
}

static void broadcasting_shapes(ag_rng *rng, ag_shape *shape)
{
    ag_shape whole = random_shape(rng, 0, 4);
    for (int i = 0; i < 2; i++)
        shape[i] = random_part(rng, &whole);
    if (ag_rng_below(rng, 2))
        shape[ag_rng_below(rng, 2)] = whole;
}

/* ---- Using an entry ---- */

int case_inputs(const struct op_case *c)
{
    return c->unary ? 1 : c->binary ? 2 : c->inputs;
}

ag_tensor case_call(const struct op_case *c, const ag_tensor *x, unsigned v)
{
    return c->unary ? c->unary(x[0]) : c->binary ? c->binary(x[0], x[1]) : c->build(x, v);
}

void case_reference(const struct op_case *c, const struct array *x, unsigned v, struct array *y)
{
    if (c->f1)
        map1(c->f1, x, y);
    else if (c->f2)
        map2(c->f2, &x[0], &x[1], y);
    else
        c->reference(x, v, y);
}

void case_shapes(const struct op_case *c, ag_rng *rng, unsigned v, ag_shape *shape)
{
    if (c->shapes)
        c->shapes(rng, v, shape);
    else if (case_inputs(c) == 1)
        *shape = random_shape(rng, 0, 4);
    else
        broadcasting_shapes(rng, shape);
}

double case_draw(const struct op_case *c, ag_rng *rng)
{
    double low = c->low, high = c->high, x = 0.0;
    if (low == high) {
        low = -2.0;
        high = 2.0;
    }
    do
        x = (double)(float)(low + (high - low) * ag_rng_uniform(rng));
    while (fabs(x) < c->away);
    return x;
}

const char *case_wrong(const struct op_case *c, ag_tape *tape, char *expected, size_t size)
{
    ag_tensor x[MAX_INPUTS] = {{0}};
    const ag_shape unlike[] = {{2, {2, 3}}, {2, {4, 5}}};
    int inputs = case_inputs(c);
    if (!c->error && inputs == 1) {
        x[0] = ag_input(tape, "x", AG_SHAPE(2, 3));
        ag_tape_reset(tape);
    }
    for (int i = 0; i < inputs && (c->error || inputs > 1); i++)
        x[i] = ag_input(tape, NULL, c->error ? c->wrong_shape[i] : unlike[i]);
    if (c->wrong)
        c->wrong(x, 0);
    else
        case_call(c, x, 0);
    snprintf(expected, size, "%s: %s", c->op,
             inputs == 1 ? "stale tensor" : "shapes do not broadcast");
    return c->error ? c->error : expected;
}

/* ---- For builds ---- */

int64_t draw_size(ag_rng *rng, int64_t low, int64_t high)
{
    return low + (int64_t)ag_rng_below(rng, (uint64_t)(high - low + 1));
}

ag_tensor pulled_back(ag_tensor y, ag_tensor dy, ag_tensor p)
{
    ag_tensor dp = {0};
    ag_gradients(ag_sum(ag_mul(y, dy)), &p, 1, &dp);
    return dp;
}

double scrambled(int64_t i)
{
    return fmod((double)i * 0.618, 1.0);
}

ag_tensor scrambled_like(ag_tensor x)
{
    double at[MOST_ELEMENTS];
    for (int64_t i = 0; i < ag_count(x); i++)
        at[i] = scrambled(i);
    return ag_input_f64(x.tape, "p", ag_shape_of(x), at);
}
