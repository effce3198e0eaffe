/* Tensors from outside and back: leaves, their values, names, and printing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/define.h"

static const struct op parameter_op = {WRITTEN("parameter", 0, "", CALL), .leaf = true,
                                       .settable = true};
static const struct op buffer_op = {WRITTEN("buffer", 0, "", CALL), .leaf = true, .settable = true};
const struct op input_op = {WRITTEN("input", 0, "", CALL), .leaf = true, .settable = true};
static const struct op full_op = {WRITTEN("full", 0, "$p", CALL), .leaf = true};
const struct op seed_op = {WRITTEN("seed", 0, "1", CALL), .leaf = true};

OP_LIST(leaf_ops, &parameter_op, &buffer_op, &input_op, &full_op, &seed_op)

/* Its values are not set. */
static ag_tensor leaf(ag_tape *tape, const struct op *op, const char *name, ag_shape shape,
                      bool lasting)
{
    return tape ? handle(tape, new_leaf(tape, op, name, shape, lasting)) : NONE;
}

static ag_tensor cleared(ag_tensor x)
{
    const struct record *r = find(x);
    if (r)
        memset(r->data, 0, bytes_of(x.tape, r));
    return x;
}

ag_tensor ag_parameter(ag_tape *tape, const char *name, ag_shape shape)
{
    ag_tensor x = cleared(leaf(tape, &parameter_op, name, shape, true));
    if (find(x))
        find(x)->trainable = true;
    return x;
}

ag_tensor ag_buffer(ag_tape *tape, const char *name, ag_shape shape)
{
    return cleared(leaf(tape, &buffer_op, name, shape, true));
}

ag_tensor ag_input(ag_tape *tape, const char *name, ag_shape shape)
{
    return cleared(leaf(tape, &input_op, name, shape, false));
}

ag_tensor constant(ag_tape *tape, const struct op *op, ag_shape shape, double value)
{
    ag_tensor x = leaf(tape, op, NULL, shape, false);
    struct record *r = find(x);
    if (!r)
        return x;
    r->attr.p[0] = value;
    tape->kernels->fill((size_t)r->count, value, r->data);
    return x;
}

ag_tensor ag_full(ag_tape *tape, ag_shape shape, double value)
{
    return constant(tape, &full_op, shape, value);
}

/* ---- Setting values ---- */

bool refuse_to_set(ag_tensor x, const struct record *r, const char *who)
{
    reject_tensor(x, who, "",
                  "only parameters, buffers and inputs can be set; this is the result of %s",
                  r->op->name);
    return false;
}

/* The record of a leaf whose values are about to change, `all` of them at once or one after the
 * other; NULL on error. */
static struct record *changeable(ag_tensor x, struct record *r, bool all)
{
    if (!r || !can_change(x, r, "set"))
        return NULL;
    run_pending(x.tape);
    if (x.tape->failed)
        return NULL;
    touch(x.tape, r, all);
    return r;
}

static bool count_fits(ag_tensor x, const struct record *r, const void *values, size_t count,
                       const char *who)
{
    if (r && values && (size_t)r->count == count)
        return true;
    if (r && !values)
        reject_tensor(x, who, "", "no values (NULL)");
    else if (r)
        reject_tensor(x, who, "", "%s has %lld elements, not %zu", shape_words(&r->shape).at,
                      (long long)r->count, count);
    return false;
}

static void put(void *values, ag_dtype type, size_t i, double x)
{
    if (type == AG_F32)
        ((float *)values)[i] = (float)x;
    else
        ((double *)values)[i] = x;
}

static bool set(ag_tensor x, const void *values, ag_dtype type, size_t count)
{
    struct record *r = resolve(x, "set");
    if (!count_fits(x, r, values, count, "set") || !changeable(x, r, true))
        return false;
    if (type == x.tape->dtype)
        memcpy(r->data, values, count * element_size(x.tape));
    else if (type == AG_F32)
        for (size_t i = 0; i < count; i++)
            ((double *)r->data)[i] = (double)((const float *)values)[i];
    else
        for (size_t i = 0; i < count; i++)
            ((float *)r->data)[i] = (float)((const double *)values)[i];
    return true;
}

bool ag_set_f32(ag_tensor x, const float *values, size_t count)
{
    return set(x, values, AG_F32, count);
}

bool ag_set_f64(ag_tensor x, const double *values, size_t count)
{
    return set(x, values, AG_F64, count);
}

static ag_tensor input(ag_tape *tape, const char *name, ag_shape shape, const void *values,
                       ag_dtype type)
{
    ag_tensor x = leaf(tape, &input_op, name, shape, false);
    const struct record *r = find(x);
    return !r || set(x, values, type, (size_t)r->count) ? x : handle(cleared(x).tape, 0);
}

ag_tensor ag_input_f32(ag_tape *tape, const char *name, ag_shape shape, const float *values)
{
    return input(tape, name, shape, values, AG_F32);
}

ag_tensor ag_input_f64(ag_tape *tape, const char *name, ag_shape shape, const double *values)
{
    return input(tape, name, shape, values, AG_F64);
}

COLD bool ag_set_each(ag_tensor x, double (*value)(void *context), void *context)
{
    if (!value && find(x))
        ag_fail(x.tape, "set: no function (NULL)");
    struct record *r = changeable(x, resolve(x, "set"), false);
    if (!r)
        return false;
    for (int64_t i = 0, count = r->count; i < count; i++) {
        double element = value(context); /* which may use the tape, and move its records */
        if (!(r = resolve(x, "set")))
            return false;
        put(r->data, x.tape->dtype, (size_t)i, element);
    }
    return true;
}

bool ag_trainable(ag_tensor x)
{
    const struct record *r = resolve(x, "trainable");
    return r && r->trainable;
}

bool ag_set_trainable(ag_tensor parameter, bool trainable)
{
    struct record *r = resolve(parameter, "set_trainable");
    if (r && r->op != &parameter_op)
        reject_tensor(parameter, "set_trainable", "", "not a parameter but the result of %s",
                      r->op->name);
    if (!r || r->op != &parameter_op)
        return false;
    parameter.tape->parameters += r->trainable != trainable;
    r->trainable = trainable;
    return true;
}

ag_tensor ag_name(ag_tensor x, const char *name)
{
    struct record *r = resolve(x, "name");
    if (!r)
        return x;
    ag_tape *tape = x.tape;
    const char *copy = arena_string(tape, x.index & LASTING ? &tape->lasting_arena : &tape->arena,
                                    name ? name : "");
    if (copy)
        r->name = *copy ? copy : NULL;
    return x;
}

/* ---- Reading ---- */

bool ag_valid(ag_tensor x)
{
    return find(x);
}

ag_shape ag_shape_of(ag_tensor x)
{
    const struct record *r = resolve(x, "shape_of");
    return r ? r->shape : AG_SCALAR;
}

int64_t ag_count(ag_tensor x)
{
    const struct record *r = resolve(x, "count");
    return r ? r->count : 0;
}

const char *ag_name_of(ag_tensor x)
{
    const struct record *r = resolve(x, "name_of");
    return r && r->name ? r->name : "";
}

const struct record *computed(ag_tensor x, const char *who)
{
    struct record *r = resolve(x, who);
    if (!r)
        return NULL;
    run_pending(x.tape);
    pin(x.tape, r);
    return r;
}

/* The sign of a NaN means nothing, and is not to be printed. */
double element_at(const ag_tape *tape, const struct record *r, int64_t i)
{
    double x =
        tape->dtype == AG_F32 ? (double)((const float *)r->data)[i] : ((const double *)r->data)[i];
    return isnan(x) ? (double)NAN : x;
}

double ag_item(ag_tensor x)
{
    const struct record *r = computed(x, "item");
    if (r && r->count == 1)
        return element_at(x.tape, r, 0);
    if (r)
        reject_tensor(x, "item", "ag_get_f32 and ag_get_f64 read all of a tensor",
                      "only a tensor of one element has an item; this one's shape is %s",
                      shape_words(&r->shape).at);
    return (double)NAN;
}

static bool get(ag_tensor x, void *values, ag_dtype type, size_t count)
{
    const struct record *r = computed(x, "get");
    if (!count_fits(x, r, values, count, "get"))
        return false;
    for (size_t i = 0; i < count; i++)
        put(values, type, i, element_at(x.tape, r, (int64_t)i));
    return true;
}

bool ag_get_f32(ag_tensor x, float *values, size_t count)
{
    return get(x, values, AG_F32, count);
}

bool ag_get_f64(ag_tensor x, double *values, size_t count)
{
    return get(x, values, AG_F64, count);
}

static const void *data_of(ag_tensor x, ag_dtype dtype)
{
    const struct record *r = computed(x, "data");
    if (r && x.tape->dtype == dtype)
        return r->data;
    if (r)
        reject_tensor(x, "data", "ag_get_f32 and ag_get_f64 convert",
                      "the tape's elements are %s, not %s", dtype == AG_F32 ? "float64" : "float32",
                      dtype == AG_F32 ? "float32" : "float64");
    return NULL;
}

const float *ag_data_f32(ag_tensor x)
{
    return data_of(x, AG_F32);
}

const double *ag_data_f64(ag_tensor x)
{
    return data_of(x, AG_F64);
}

size_t ag_parameter_count(const ag_tape *tape)
{
    size_t count = 0;
    for (uint32_t i = 1; tape && i < tape->lasting.count; i++)
        count += tape->lasting.at[i].op == &parameter_op;
    return count;
}

ag_tensor ag_parameter_at(ag_tape *tape, size_t index)
{
    for (uint32_t i = 1; tape && i < tape->lasting.count; i++)
        if (tape->lasting.at[i].op == &parameter_op && !index--)
            return handle(tape, i | LASTING);
    return ag_fail(tape, "parameter_at: there is no such parameter");
}
