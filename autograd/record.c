/* Recording: a call of an op is checked and becomes the next record.
 *
 * Most programs record the same step again after each reset. So a record stays where it was, and a
 * call that finds itself there (the same op on the same operands with the same constants, and all
 * calls before it were repeated likewise) takes it as it is: its shape was checked, its memory is
 * in the same place, and the plan to run it still holds. The first call that differs ends this, and
 * what follows is recorded anew. */
#include <string.h>

#include "ops/ops.h"

/* ---- Repeating ---- */

static bool may_repeat(const ag_tape *tape)
{
    return tape->transient.count < tape->repeatable && !tape->failed;
}

/* The shape that is asked for becomes that of the result, but for a size that is worked out. */
static bool asks_for(const ag_shape *shape, const struct record *r)
{
    int inferred = 0;
    if (!shape)
        return true;
    for (int i = 0; i < r->shape.rank && i < shape->rank; i++)
        if (shape->dim[i] != r->shape.dim[i] &&
            (!r->op->infers || shape->dim[i] != -1 || inferred++))
            return false;
    return shape->rank == r->shape.rank;
}

static bool same_plan(const struct attributes *a, const struct attributes *b)
{
    return a->plan == b->plan || (a->plan_size && a->plan_size == b->plan_size &&
                                  memcmp(a->plan, b->plan, a->plan_size) == 0);
}

static bool same_attributes(const struct attributes *a, const struct record *r)
{
    const struct attributes *b = &r->attr;
    return memcmp(a->p, b->p, sizeof a->p) == 0 && a->symbol == b->symbol && a->axes == b->axes &&
           a->keep == b->keep && a->transposed[0] == b->transposed[0] &&
           a->transposed[1] == b->transposed[1] && same_plan(a, b) && asks_for(a->shape, r);
}

/* Operands of the former epoch with these numbers are those of this one. */
static bool same_call(const ag_tape *tape, const struct op *op, const ag_tensor *x, int inputs,
                      const struct attributes *attr)
{
    const struct record *r = &tape->transient.at[tape->transient.count];
    if (r->op != op || r->from != tape->arena.free)
        return false;
    for (int i = 0; i < inputs; i++)
        if (x[i].tape != tape || x[i].index != r->input[i] ||
            x[i].epoch != (x[i].index & LASTING ? 0 : tape->epoch))
            return false;
    return same_attributes(attr, r);
}

/* That it was made with this name: one given later, by ag_name, lies after `to`. */
static bool has_own_name(const struct record *r, const char *name)
{
    return r->name && r->name >= r->from && r->name < r->to && !strcmp(r->name, name);
}

static bool same_leaf(const ag_tape *tape, const struct op *op, const char *name,
                      const ag_shape *shape)
{
    const struct record *r = &tape->transient.at[tape->transient.count];
    return r->op == op && r->from == tape->arena.free && shape_equal(&r->shape, shape) &&
           (!name || has_own_name(r, name));
}

ag_tensor repeat(ag_tape *tape, const char *name)
{
    struct record *r = &tape->transient.at[tape->transient.count];
    r->name = name;
    r->clock = tape->clock;
    r->walk = tape->walking;
    r->elided = false;
    tape->worth_blocks |= r->worth_blocks;
    arena_move(&tape->arena, r->to);
    return handle(tape, tape->transient.count++);
}

static bool has_room(ag_tape *tape, struct records *records)
{
    return records->count < records->capacity || grow_records(tape, records);
}

/* The next record is not the one that stands there; makes room for it. False when out of memory. */
static bool stop_repeating(ag_tape *tape)
{
    struct records *records = &tape->transient;
    tape->repeatable = 0;
    tape->replan = true;
    if (records->count < tape->last_walk.end)
        tape->last_walk.y = 0; /* its records are overwritten, or what led to them */
    return has_room(tape, records);
}

/* ---- Leaves ---- */

uint32_t new_leaf(ag_tape *tape, const struct op *op, const char *name, ag_shape shape,
                  bool lasting)
{
    struct arena *arena = lasting ? &tape->lasting_arena : &tape->arena;
    struct records *records = lasting ? &tape->lasting : &tape->transient;
    if (!lasting && may_repeat(tape) && same_leaf(tape, op, name, &shape))
        return repeat(tape, name ? records->at[records->count].name : NULL).index;
    if (tape->failed || !shape_check(tape, op->name, shape) ||
        !(lasting ? has_room(tape, records) : stop_repeating(tape)))
        return 0;
    int64_t count = shape_count(&shape);
    size_t size = (size_t)count * element_size(tape);
    bool input = op == &input_op;
    char *from = arena->free;
    void *data = arena_allocate(tape, arena, size);
    void *shadow = input && data ? arena_allocate(tape, arena, size) : NULL;
    const char *copy = name && data ? arena_string(tape, arena, name) : NULL;
    if (!data || (input && !shadow) || (name && !copy))
        return 0;
    tape->parameters += lasting;
    records->at[records->count] = (struct record){.op = op,
                                                  .data = data,
                                                  .from = from,
                                                  .to = arena->free,
                                                  .name = copy,
                                                  .count = count,
                                                  .shape = shape,
                                                  .shadow = shadow,
                                                  .clock = tape->clock,
                                                  .walk = tape->walking};
    return records->count++ | (lasting ? LASTING : 0);
}

/* ---- Refusing ---- */

/* What an op returns on a tape that has an error already, which is not to be placed at this call.
 */
static ag_tensor after_error(ag_tape *tape)
{
    tape->located = true;
    return (ag_tensor){.tape = tape};
}

/* The operands of a call that cannot be recorded: they may lack, or be of several tapes. */
static void complain_of(ag_tape *tape, const char *who, const ag_tensor *x, size_t inputs,
                        size_t bad, const char *why)
{
    char lines[ERROR_SIZE / 2] = "";
    struct text text = {.at = lines, .size = sizeof lines};
    for (size_t i = 0; i < inputs; i++) {
        text_add(&text, "\n    operand %zu  ", i + 1);
        if (!find(x[i])) {
            text_add(&text, "not a tensor");
            continue;
        }
        expression(&text, x[i].tape, x[i].index, 48);
        text_add(&text, "   %s %s%s", shape_words(&find(x[i])->shape).at,
                 x[i].tape->dtype == AG_F32 ? "float32" : "float64",
                 x[i].tape == tape ? "" : ", on another tape");
    }
    ag_fail(tape, "%s: operand %zu of %zu %s%s", who, bad + 1, inputs, why, lines);
}

ag_tensor refuse(const char *who, const ag_tensor *x, size_t inputs)
{
    ag_tape *tape = NULL;
    for (size_t i = 0; i < inputs; i++)
        tape = x[i].tape ? x[i].tape : tape;
    for (size_t i = 0; tape && !tape->failed && i < inputs; i++) {
        if (!x[i].tape)
            complain_of(tape, who, x, inputs, i, "was never set");
        else if (x[i].tape != tape)
            complain_of(tape, who, x, inputs, i,
                        "belongs to another tape than the last; an op takes all from one");
        else
            resolve(x[i], who);
    }
    return (ag_tensor){.tape = tape};
}

static bool keep_plan(struct call *call)
{
    const void *plan = call->attr.plan;
    if (!call->attr.plan_size)
        return true;
    void *copy = arena_allocate(call->tape, &call->tape->arena, call->attr.plan_size);
    if (copy)
        call->attr.plan = memcpy(copy, plan, call->attr.plan_size);
    return copy;
}

static ag_tensor append(struct call *call, char *from)
{
    ag_tape *tape = call->tape;
    int64_t count = shape_count(&call->shape);
    bool sums_rows = false; /* asked before the operands' records can move */
    unsigned cut = call->op->by_rows ? call->op->by_rows(call, &sums_rows) : 0;
    void *data = call->op->view
                     ? call->in[0]->data
                     : arena_allocate(tape, &tape->arena, (size_t)count * element_size(tape));
    if (!data || !keep_plan(call) || !scratch_grow(tape, &tape->workspace, call->workspace) ||
        !stop_repeating(tape))
        return handle(tape, 0);
    struct record *r = &tape->transient.at[tape->transient.count];
    r->op = call->op;
    r->data = data;
    r->from = from;
    r->to = tape->arena.free;
    r->clock = tape->clock;
    memcpy(r->input, call->input, sizeof r->input);
    r->walk = tape->walking;
    r->inputs = (uint8_t)call->inputs;
    r->role = 0;
    r->cut_operands = (uint8_t)cut;
    r->sums_rows = cut && sums_rows;
    r->sums_chunks = r->worth_blocks = r->elided = r->pinned = r->trainable = r->needed = false;
    r->name = NULL;
    r->attr = call->attr;
    r->attr.shape = NULL;
    r->count = count;
    r->shape = call->shape;
    r->shadow = NULL;
    r->loop = call->loop;
    r->gradient = r->result = r->group = r->last_reader = 0;
    if (r->cut_operands && !blocks_note(tape, r))
        return handle(tape, 0);
    return handle(tape, tape->transient.count++);
}

static ag_tensor record_call(const struct op *op, const ag_tensor *x, int inputs,
                             const struct attributes *attr)
{
    static const struct attributes none;
    ag_tape *tape = x[0].tape;
    if (!attr)
        attr = &none;
    if (tape && may_repeat(tape) && same_call(tape, op, x, inputs, attr))
        return repeat(tape, NULL);
    struct call call;
    for (int i = 0; i < MAX_INPUTS; i++) {
        call.in[i] = i < inputs && x[i].tape == tape ? find(x[i]) : NULL;
        call.input[i] = i < inputs ? x[i].index : 0;
        if (i < inputs && !call.in[i])
            return refuse(op->name, x, (size_t)inputs);
    }
    if (tape->failed)
        return after_error(tape);
    char *from = tape->arena.free;
    call.tape = tape;
    call.op = op;
    call.inputs = inputs;
    call.attr = *attr;
    call.shape = call.in[0]->shape;
    call.workspace = 0;
    call.loop = NULL;
    if (op->shape && !op->shape(&call))
        return handle(tape, 0);
    ag_tensor y = append(&call, from);
    if (op->broadcasts && call.loop && y.index && !tape->walking)
        look_for_outer(y); /* last of all: who is warned may use the tape */
    return y;
}

ag_tensor record(const struct op *op, ag_tensor x, const struct attributes *attr)
{
    return record_call(op, &x, 1, attr);
}

ag_tensor record2(const struct op *op, ag_tensor x, ag_tensor y, const struct attributes *attr)
{
    return record_call(op, (ag_tensor[]){x, y}, 2, attr);
}

ag_tensor record3(const struct op *op, ag_tensor x, ag_tensor y, ag_tensor z)
{
    return record_call(op, (ag_tensor[]){x, y, z}, 3, NULL);
}

ag_tensor record_like(ag_tensor like, const struct op *op, ag_tensor x, ag_tensor y)
{
    const struct record *r = find(like);
    struct attributes attr = r->attr;
    attr.shape = op->shape == shape_asked_for ? &input_of(like.tape, r, 0)->shape : NULL;
    attr.plan_size = 0;
    return record_call(op, (ag_tensor[]){x, y}, y.tape ? 2 : 1, &attr);
}

ag_tensor operand_of(ag_tensor y, int i)
{
    return handle(y.tape, y.tape->transient.at[y.index].input[i]);
}
