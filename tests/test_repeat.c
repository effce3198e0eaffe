/* A program that is recorded again after a reset is taken as it stands, up to the first call that
 * differs. Nobody can tell: a tape that has seen many programs, each a little different from the
 * last, holds and says what a new one does. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops/ops.h"
#include "random_graph.h"

/* Shape, name, bits and origin of every record, and the error, if any. */
static void assert_same_tape(ag_tape *a, ag_tape *b, const char *what, uint64_t number)
{
    const char *ea = ag_error(a) ? ag_error(a) : "", *eb = ag_error(b) ? ag_error(b) : "";
    if (strcmp(ea, eb) != 0 || ag_tape_length(a) != ag_tape_length(b))
        fail_msg("%s %llu: %zu records, '%s'; %zu records, '%s'", what, (unsigned long long)number,
                 ag_tape_length(a), ea, ag_tape_length(b), eb);
    for (uint32_t i = 1; i < a->transient.count && !*ea; i++) {
        const struct record *ra = computed(handle(a, i), "test"),
                            *rb = computed(handle(b, i), "test");
        bool same = ra->op == rb->op && shape_equal(&ra->shape, &rb->shape) &&
                    ra->walk == rb->walk && !ra->name == !rb->name &&
                    (!ra->name || !strcmp(ra->name, rb->name)) &&
                    !memcmp(ra->data, rb->data, (size_t)ra->count * element_size(a));
        if (!same)
            fail_msg("%s %llu: record %u of %zu, %s, differs", what, (unsigned long long)number, i,
                     ag_tape_length(a), ra->op->name);
    }
}

/* ---- All ops ---- */

static void all_ops_repeat(void **state)
{
    (void)state;
    struct graph g, h;
    for (uint64_t seed = 0; seed < 200; seed++) {
        ag_tape *used = ag_tape_new(AG_F64);
        for (uint64_t data = 0; data < 3; data++) {
            ag_tape *fresh = ag_tape_new(AG_F64);
            ag_tape_reset(used);
            ag_seed(used, data);
            ag_seed(fresh, data);
            graph_build(&g, used, false, seed, data);
            graph_build(&h, fresh, false, seed, data);
            if (data && !used->repeatable)
                fail_msg("graph %llu was not repeated", (unsigned long long)seed);
            assert_same_tape(used, fresh, "graph", seed);
            ag_tape_free(fresh);
        }
        ag_tape_free(used);
    }
}

/* ---- Programs that change ---- */

enum { CALLS = 14, KINDS = 22, EPOCHS = 40, PROGRAMS = 60 };

/* A list of choices makes a program; rows and columns of what it works on are the first of them. */
struct program {
    uint32_t choice[CALLS];
    double value;
};

struct network {
    ag_tape *tape;
    ag_tensor w, b, buffer;
};

static double next_uniform(void *rng)
{
    return ag_rng_uniform(rng) - 0.5;
}

static void network_new(struct network *n)
{
    ag_rng rng;
    ag_rng_seed(&rng, 5);
    n->tape = ag_tape_new(AG_F64);
    ag_set_warning(n->tape, NULL, NULL);
    n->w = ag_parameter(n->tape, "W", AG_SHAPE(6, 6));
    n->b = ag_parameter(n->tape, "b", AG_SHAPE(1, 6));
    n->buffer = ag_buffer(n->tape, NULL, AG_SHAPE(6, 6));
    ag_set_each(n->w, next_uniform, &rng);
    ag_set_each(n->b, next_uniform, &rng);
}

static ag_tensor call(struct network *n, uint32_t kind, ag_tensor x, ag_tensor y, double value)
{
    switch (kind) {
    case 0:
        return ag_add(ag_matmul(x, n->w), n->b);
    case 1:
        return ag_sigmoid(ag_add(ag_matmul(x, n->w), n->b));
    case 2:
        return ag_mul(x, y);
    case 3:
        return ag_mul_scalar(x, value);
    case 4:
        return ag_name(ag_tanh(x), "h");
    case 5:
        return ag_name(ag_tanh(x),
                       "a name that is longer than the arena's unit of sixty-four bytes");
    case 6:
        return ag_slice(x, AG_RANGES(AG_ALL, {1, AG_END, 1}));
    case 7:
        return ag_slice(x, AG_RANGES(AG_ALL, {0, -1, 1}));
    case 8:
        return ag_sub(x, ag_full(n->tape, AG_SCALAR, value));
    case 9:
        return ag_reshape(ag_reshape(x, AG_SHAPE(-1)), ag_shape_of(x));
    case 10:
        return ag_add(x, ag_sum_axes(y, AG_AXES(1), true));
    case 11:
        return ag_softmax(x, -1);
    case 12:
        return ag_transpose(ag_transpose(x));
    case 13: /* read in between */
        return ag_item(ag_mean(x)) < 1e9 ? x : y;
    case 14: /* set in between */
        ag_set_each(n->buffer, next_uniform, &(ag_rng){0});
        return x;
    case 15:
        ag_set_f64(n->b, (double[]){0, value, 0, 0, 0, 0}, 6);
        return x;
    case 16:
        ag_set_trainable(n->b, !ag_trainable(n->b));
        return x;
    case 17:
        return ag_add(x, ag_input(n->tape, "zeros", ag_shape_of(x)));
    case 18:
        return ag_pad(x, AG_SHAPE(0, 0), AG_SHAPE(0, 1), value);
    case 19:
        return ag_name(ag_input_f64(n->tape, NULL, AG_SHAPE(1), &value), "v");
    case 20:
        return ag_square(ag_input_f64(n->tape, "v", AG_SHAPE(1, 1), &value));
    default:
        return ag_dropout(x, 0.5, true);
    }
}

/* The last choices tell what is asked of the program: walks of several kinds, or none. */
static void ask(struct network *n, uint32_t kind, ag_tensor loss)
{
    ag_tensor gradient[2] = {{0}};
    if (kind % 4 == 1)
        ag_backward(loss);
    if (kind % 8 == 2)
        ag_gradients(loss, (ag_tensor[]){n->w, n->b}, 2, gradient);
    if (kind % 8 == 3 && ag_backward(loss) && ag_has_gradient(n->w))
        ag_backward(ag_mean_square(ag_gradient(n->w)));
    if (kind % 8 == 1 && ag_has_gradient(n->w))
        ag_update_sgd(n->w, ag_gradient(n->w), (ag_tensor){0}, &(ag_sgd){.rate = 0.1, .scale = 1});
    if (kind % 16 == 7)
        ag_replay(n->tape);
}

static void run(struct network *n, const struct program *p)
{
    double values[12 * 6];
    ag_rng rng;
    ag_rng_seed(&rng, 3);
    for (size_t i = 0; i < 12 * 6; i++)
        values[i] = p->value + ag_rng_uniform(&rng);
    ag_tensor x = ag_input_f64(n->tape, "X", AG_SHAPE(2 + p->choice[0] % 3, 6), values), y = x;
    for (int i = 1; i < CALLS - 1; i++) {
        ag_tensor z = call(n, p->choice[i] % KINDS, x, y, p->value);
        y = x;
        x = ag_valid(z) ? z : x;
        ag_clear_error(n->tape); /* shapes often do not fit */
    }
    ask(n, p->choice[CALLS - 1], ag_mean_square(x));
}

static void change(struct program *p, ag_rng *rng)
{
    uint64_t kind = ag_rng_below(rng, 4);
    p->value = ag_rng_below(rng, 3) ? p->value : ag_rng_uniform(rng);
    if (kind)
        p->choice[ag_rng_below(rng, CALLS)] = (uint32_t)ag_rng_below(rng, 1000);
}

static char *explained(ag_tape *tape)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    ag_explain(tape, out, 0);
    fclose(out);
    return text;
}

/* Gives the parameters of `to`, which is new, the state that `from` has. */
static void copy_network(struct network *to, const struct network *from)
{
    double values[36];
    const ag_tensor of[] = {from->w, from->b, from->buffer}, in[] = {to->w, to->b, to->buffer};
    for (int i = 0; i < 3; i++) {
        size_t count = (size_t)ag_count(of[i]);
        ag_get_f64(of[i], values, count);
        ag_set_f64(in[i], values, count);
        if (i < 2)
            ag_set_trainable(in[i], ag_trainable(of[i]));
    }
}

static void changed_programs_equal_new_ones(void **state)
{
    (void)state;
    int repeated = 0;
    for (uint64_t number = 0; number < PROGRAMS; number++) {
        struct program p = {.value = 0.5};
        struct network used, fresh;
        ag_rng rng;
        ag_rng_seed(&rng, number);
        for (int i = 0; i < CALLS; i++)
            p.choice[i] = (uint32_t)ag_rng_below(&rng, 1000);
        network_new(&used);
        for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
            ag_tape_reset(used.tape);
            network_new(&fresh);
            copy_network(&fresh, &used);
            ag_seed(used.tape, epoch);
            ag_seed(fresh.tape, epoch);
            run(&used, &p);
            run(&fresh, &p);
            repeated += used.tape->repeatable > 0;
            assert_same_tape(used.tape, fresh.tape, "program", number * EPOCHS + epoch);
            char *a = explained(used.tape), *b = explained(fresh.tape);
            assert_string_equal(a, b);
            free(a);
            free(b);
            ag_clear_error(used.tape);
            ag_tape_free(fresh.tape);
            change(&p, &rng);
        }
        ag_tape_free(used.tape);
    }
    assert_true(repeated > PROGRAMS * EPOCHS / 5);
}

/* ---- What a repetition must notice ---- */

static ag_tensor step(ag_tape *tape, ag_tensor w, ag_shape shape, double value)
{
    ag_tape_reset(tape);
    ag_tensor x = ag_full(tape, AG_SHAPE(2, 3), value);
    return ag_mean_square(
        ag_sub(ag_matmul(x, w), ag_reshape(ag_full(tape, AG_SHAPE(4), 1.0), shape)));
}

static void a_mistake_is_told_in_any_epoch(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "W", AG_SHAPE(3, 2));
    for (int epoch = 0; epoch < 3; epoch++) {
        ag_tensor old = step(tape, w, AG_SHAPE(2, -1), 0.5);
        assert_true(ag_backward(old));
        assert_null(ag_error(tape));
        assert_false(ag_valid(step(tape, w, AG_SHAPE(3, -1), 0.5)));
        assert_non_null(strstr(ag_error(tape), "reshape"));
        ag_clear_error(tape);
        ag_tape_reset(tape);
        ag_full(tape, AG_SHAPE(2, 3), 0.5);
        assert_false(ag_valid(ag_sigmoid(old)));
        assert_non_null(strstr(ag_error(tape), "stale"));
        ag_clear_error(tape);
    }
    assert_true(ag_valid(step(tape, w, AG_SHAPE(2, 2), 0.5)));
    assert_false(ag_valid(step(tape, w, AG_SHAPE(-1, -1), 0.5)));
    assert_non_null(strstr(ag_error(tape), "which do not fill (-1, -1)"));
    ag_tape_free(tape);
}

/* What was changed after an op saw it is noticed in a repeated walk as well. */
static void a_change_is_noticed(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "W", AG_SHAPE(3, 2));
    for (int epoch = 0; epoch < 6; epoch++) {
        ag_tensor loss = step(tape, w, AG_SHAPE(2, 2), 0.5);
        loss = ag_add(loss, ag_mean_square(w));
        bool changes = epoch % 2;
        if (changes)
            ag_set_f64(w, (double[6]){1, 2, 3, 4, 5, 6}, 6);
        assert_int_equal(ag_backward(ag_square(loss)), !changes);
        assert_int_equal(ag_error(tape) != NULL, changes);
        ag_clear_error(tape);
    }
    ag_tape_free(tape);
}

/* A name lies between the values of two records: a longer one must not lie over the second's. */
static void names_may_grow(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    char name[400] = "h";
    for (int epoch = 0; epoch < 6; epoch++) {
        ag_tape_reset(tape);
        ag_tensor x = ag_full(tape, AG_SHAPE(8), 1.5), h = ag_name(ag_square(x), name);
        ag_tensor y = ag_square(h);
        ag_item(ag_sum(y));
        assert_string_equal(ag_name_of(h), name);
        assert_true(ag_data_f64(y)[0] == 1.5 * 1.5 * 1.5 * 1.5);
        memset(name, 'a' + epoch, 60 * (size_t)(epoch + 1));
    }
    ag_tape_free(tape);
}

/* An input named by ag_name in one epoch and by its maker in the next. */
static void names_may_come_by_either_way(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    const double values[] = {1, 2, 3, 4};
    for (int epoch = 0; epoch < 4; epoch++) {
        ag_tape_reset(tape);
        ag_tensor x = epoch % 2 ? ag_input_f64(tape, "v", AG_SHAPE(4), values)
                                : ag_name(ag_input_f64(tape, NULL, AG_SHAPE(4), values), "v");
        ag_item(ag_sum(ag_full(tape, AG_SHAPE(64), 0.15)));
        assert_string_equal(ag_name_of(x), "v");
    }
    ag_tape_free(tape);
}

/* A walk's records are overwritten in an epoch without one: there is none to be repeated. */
static void a_walk_may_be_left_out(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "W", AG_SHAPE(3, 2));
    for (int epoch = 0; epoch < 6; epoch++) {
        ag_tensor loss = step(tape, w, AG_SHAPE(2, 2), 0.5);
        if (epoch % 2) {
            for (int i = 0; i < 20; i++)
                loss = ag_mul_scalar(loss, 1.5);
            ag_item(loss);
            continue;
        }
        assert_true(ag_backward(loss));
        assert_int_equal(ag_count(ag_gradient(w)), 6);
        assert_true(ag_data_f64(ag_gradient(w))[0] == 0.5 * 2 * 0.5 * -1.0);
    }
    ag_tape_free(tape);
}

static void gradients_follow_what_is_trained(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor w = ag_parameter(tape, "W", AG_SHAPE(3, 2)), late = {0};
    for (int epoch = 0; epoch < 12; epoch++) {
        ag_set_trainable(w, epoch / 2 % 3 != 1);
        if (epoch == 8)
            late = ag_parameter(tape, "late", AG_SHAPE(2, 3));
        assert_true(ag_backward(step(tape, w, AG_SHAPE(2, 2), 0.5 + epoch)));
        assert_int_equal(ag_has_gradient(w), epoch / 2 % 3 != 1);
        assert_false(epoch >= 8 && ag_has_gradient(late));
        if (ag_has_gradient(w)) /* d mean((x@w - 1)²)/dw = 2/4 xᵀ@(x@w - 1), with w = 0 */
            assert_true(ag_data_f64(ag_gradient(w))[0] == 0.5 * 2 * (0.5 + epoch) * -1.0);
    }
    assert_null(ag_error(tape));
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ops_repeat),
        cmocka_unit_test(changed_programs_equal_new_ones),
        cmocka_unit_test(a_mistake_is_told_in_any_epoch),
        cmocka_unit_test(a_change_is_noticed),
        cmocka_unit_test(names_may_grow),
        cmocka_unit_test(names_may_come_by_either_way),
        cmocka_unit_test(a_walk_may_be_left_out),
        cmocka_unit_test(gradients_follow_what_is_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
