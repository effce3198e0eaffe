/* The losses: values against references in double, gradients against differences, extremes, classes
 * that are ignored, smoothed or out of range, and wrong uses. */
#include "tape_help.h"

#define NOT_A_NUMBER ((double)NAN) /* clang's NAN is a float */

enum { ROWS = 5, CLASSES = 4 };

static void expect(ag_tensor y, double expected, double tolerance)
{
    double got = ag_item(y);
    if (ag_error(y.tape))
        fail_msg("%s", ag_error(y.tape));
    if (!(fabs(got - expected) <= tolerance * fmax(1e-30, fabs(expected))))
        fail_msg("%.17g, not %.17g", got, expected);
}

/* ---- Element by element ---- */

static double mse(double y, double t)
{
    return (y - t) * (y - t);
}

static double l1(double y, double t)
{
    return fabs(y - t);
}

static double huber(double y, double t)
{
    double d = fabs(y - t), delta = 0.75;
    return d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
}

static double bce(double z, double t)
{
    return fmax(z, 0.0) - z * t + log1p(exp(-fabs(z)));
}

static ag_tensor call_huber(ag_tensor y, ag_tensor target, nn_reduction reduction)
{
    return nn_huber_loss(y, target, 0.75, reduction);
}

static const struct {
    ag_tensor (*loss)(ag_tensor y, ag_tensor target, nn_reduction reduction);
    double (*f)(double y, double t);
    const char *name;
} losses[] = {
    {nn_mse_loss, mse, "mse_loss"},
    {nn_l1_loss, l1, "l1_loss"},
    {call_huber, huber, "huber_loss"},
    {nn_binary_cross_entropy_with_logits, bce, "binary_cross_entropy_with_logits"},
};

enum { LOSSES = sizeof losses / sizeof *losses };

static void losses_equal_their_formulas(void **state)
{
    (void)state;
    double y[12], t[12];
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    for (int i = 0; i < LOSSES; i++)
        for (int k = 0; k < 20; k++) {
            ag_tape *tape = ag_tape_new(AG_F64);
            double sum = 0.0;
            for (int j = 0; j < 12; j++) {
                y[j] = 4.0 * ag_rng_uniform(&rng) - 2.0;
                t[j] = ag_rng_uniform(&rng);
                sum += losses[i].f(y[j], t[j]);
            }
            ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(3, 4));
            ag_tensor target = ag_input_f64(tape, "t", AG_SHAPE(3, 4), t);
            ag_set_f64(w, y, 12);
            expect(losses[i].loss(w, target, NN_SUM), sum, 1e-14);
            ag_tensor loss = losses[i].loss(w, target, NN_MEAN);
            expect(loss, sum / 12.0, 1e-14);
            assert_true(ag_gradcheck(loss, 1e-7, NULL));
            ag_tensor g;
            assert_true(ag_gradients(losses[i].loss(ag_square(w), target, NN_SUM), &w, 1, &g));
            assert_true(ag_gradcheck(ag_sum(ag_square(g)), 1e-5, NULL));
            ag_tape_free(tape);
        }
}

static void one_of_one(ag_tape *tape, int which, double y, double t, double loss, double slope)
{
    ag_tensor x = ag_input_f64(tape, NULL, AG_SHAPE(1), &y), g = {0};
    ag_tensor target = ag_input_f64(tape, NULL, AG_SHAPE(1), &t);
    ag_tensor value = losses[which].loss(x, target, NN_MEAN);
    expect(value, loss, 5e-7);
    assert_true(ag_gradients(value, &x, 1, &g));
    expect(g, slope, 5e-7);
}

static void losses_at_the_extremes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    one_of_one(tape, 2, 1e4, 0, 0.75 * (1e4 - 0.375), 0.75);
    one_of_one(tape, 2, 0, 1e30, 0.75e30, -0.75);
    one_of_one(tape, 2, 1, 1, 0, 0);
    one_of_one(tape, 3, 1e4, 1, 0, 0);
    one_of_one(tape, 3, 1e4, 0, 1e4, 1);
    one_of_one(tape, 3, -1e4, 0, 0, 0);
    one_of_one(tape, 3, -1e4, 1, 1e4, -1);
    one_of_one(tape, 3, 20, 1, 2.0611536224385579e-9, -2.0611536181902037e-9);
    one_of_one(tape, 3, -20, 0, 2.0611536224385579e-9, 2.0611536181902037e-9);
    one_of_one(tape, 3, 0, 1, 0.69314718055994531, -0.5);
    ag_tape_free(tape);
}

static void shapes_must_be_the_same(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor column = ag_input(tape, "y", AG_SHAPE(6, 1)),
              vector = ag_input(tape, "t", AG_SHAPE(6));
    for (int i = 0; i < LOSSES; i++) {
        assert_false(ag_valid(losses[i].loss(column, vector, NN_MEAN)));
        assert_error_with(tape, losses[i].name);
        losses[i].loss(column, vector, NN_SUM);
        assert_error_with(tape, "predictions are (6, 1) and targets (6,)");
        losses[i].loss(column, (ag_tensor){0}, NN_MEAN);
        assert_error_with(tape, "was never set");
        losses[i].loss((ag_tensor){0}, column, NN_MEAN);
        assert_error_with(tape, "was never set");
        losses[i].loss(column, column, (nn_reduction)7);
        assert_error_with(tape, "7 is not a reduction");
    }
    nn_huber_loss(vector, vector, 0.0, NN_MEAN);
    assert_error_with(tape, "huber_loss: delta is 0");
    ag_tape_free(tape);
}

/* ---- cross_entropy ---- */

static double row_reference(const double *z, int class, double smoothing)
{
    double most = z[0], sum = 0.0, loss = 0.0;
    for (int i = 1; i < CLASSES; i++)
        most = fmax(most, z[i]);
    for (int i = 0; i < CLASSES; i++)
        sum += exp(z[i] - most);
    for (int i = 0; i < CLASSES; i++)
        loss -= ((i == class) * (1.0 - smoothing) + smoothing / CLASSES) * (z[i] - most - log(sum));
    return loss;
}

static void cross_entropy_case(ag_rng *rng, double smoothing, int64_t ignored)
{
    double z[ROWS * CLASSES], classes[ROWS], sum = 0.0, rows = 0.0;
    ag_tape *tape = ag_tape_new(AG_F64);
    for (int i = 0; i < ROWS * CLASSES; i++)
        z[i] = 6.0 * ag_rng_uniform(rng) - 3.0;
    for (int i = 0; i < ROWS; i++) {
        classes[i] = (double)ag_rng_below(rng, CLASSES);
        if (i == 2)
            classes[i] = (double)ignored;
        if (classes[i] == (double)ignored)
            continue;
        sum += row_reference(z + i * CLASSES, (int)classes[i], smoothing);
        rows += 1.0;
    }
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(ROWS, CLASSES));
    ag_tensor c = ag_input_f64(tape, "classes", AG_SHAPE(ROWS), classes);
    ag_set_f64(w, z, ROWS * CLASSES);
    expect(nn_cross_entropy_with(w, c, smoothing, ignored, NN_SUM), sum, 1e-14);
    ag_tensor loss = nn_cross_entropy_with(w, c, smoothing, ignored, NN_MEAN), g;
    expect(loss, sum / rows, 1e-14);
    assert_true(ag_gradcheck(loss, 1e-7, NULL));
    assert_true(ag_gradients(loss, &w, 1, &g));
    assert_true(ag_gradcheck(ag_sum(ag_square(g)), 1e-5, NULL));
    ag_tape_free(tape);
}

static void cross_entropy_equals_its_formula(void **state)
{
    (void)state;
    ag_rng rng;
    ag_rng_seed(&rng, 1);
    for (int i = 0; i < 40; i++)
        cross_entropy_case(&rng, i % 2 ? 0.1 : 0.0, i % 3 ? NN_IGNORE_INDEX : 0);
}

static void cross_entropy_at_the_extremes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    float dz[6];
    ag_tensor z =
        ag_input_f32(tape, "z", AG_SHAPE(2, 3), (float[]){1e4f, -1e4f, 0, -1e4f, 0, 1e4f});
    ag_tensor c = ag_input_f32(tape, "c", AG_SHAPE(2), (float[]){0, 0}), g = {0};
    ag_tensor loss = nn_cross_entropy(z, c, NN_SUM);
    expect(loss, 2e4, 0.0);
    assert_true(ag_gradients(loss, &z, 1, &g) && ag_get_f32(g, dz, 6));
    for (int i = 0; i < 6; i++)
        assert_true(dz[i] == (i == 3 ? -1.0f : i == 5 ? 1.0f : 0.0f));
    /* A class that is masked out has the probability 0, but another row's class is none the worse.
     */
    ag_set_f32(z, (float[]){-INFINITY, 0, 0, 0, 0, -INFINITY}, 6);
    ag_set_f32(c, (float[]){1, 1}, 2);
    assert_true(ag_replay(tape));
    expect(loss, 2.0 * log(2.0), 1e-6);
    assert_true(ag_get_f32(g, dz, 6) && dz[0] == 0.0f && dz[1] == -0.5f && dz[2] == 0.5f);
    ag_tape_free(tape);
}

static void bad_classes_are_errors(void **state)
{
    (void)state;
    static const double bad[] = {3, -1, 0.5, 1e30, -100.5, NOT_A_NUMBER, HUGE_VAL};
    ag_tape *tape = ag_tape_new(AG_F64);
    ag_tensor z = ag_parameter(tape, "z", AG_SHAPE(2, 3));
    ag_tensor c = ag_input(tape, "labels", AG_SHAPE(2));
    ag_tensor loss = nn_cross_entropy(z, c, NN_MEAN);
    assert_true(ag_backward(loss));
    expect(loss, log(3.0), 1e-14);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(ag_set_f64(c, (double[]){0, bad[i]}, 2));
        assert_false(ag_replay(tape));
        assert_error_with(tape, "one_hot: element 1 of kept classes");
    }
    assert_true(ag_set_f64(c, (double[]){NN_IGNORE_INDEX, 2}, 2));
    assert_true(ag_replay(tape));
    expect(loss, log(3.0), 1e-14);
    assert_true(ag_set_f64(c, (double[]){NN_IGNORE_INDEX, NN_IGNORE_INDEX}, 2));
    assert_true(ag_replay(tape));
    assert_true(isnan(ag_item(loss)));
    ag_tape_free(tape);
}

static void cross_entropy_used_wrongly(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor z = ag_input(tape, "z", AG_SHAPE(6, 3)), c = ag_input(tape, "c", AG_SHAPE(6));
    nn_cross_entropy(z, z, NN_MEAN);
    assert_error_with(tape, "cross_entropy: predictions are (6, 3) and targets (6, 3)");
    nn_cross_entropy(c, z, NN_MEAN);
    assert_error_with(tape, "but for the last axis");
    nn_cross_entropy(ag_sum(z), ag_sum(z), NN_MEAN);
    assert_error_with(tape, "cross_entropy: predictions are ()");
    nn_cross_entropy_with(z, c, 1.5, 0, NN_MEAN);
    assert_error_with(tape, "label_smoothing is 1.5");
    nn_cross_entropy_with(z, c, NOT_A_NUMBER, 0, NN_MEAN);
    assert_error_with(tape, "label_smoothing is");
    nn_cross_entropy(z, c, (nn_reduction)9);
    assert_error_with(tape, "9 is not a reduction");
    nn_cross_entropy((ag_tensor){0}, c, NN_MEAN);
    assert_error_with(tape, "was never set");
    nn_cross_entropy(z, (ag_tensor){0}, NN_MEAN);
    assert_error_with(tape, "was never set");
    ag_tape_reset(tape);
    nn_cross_entropy(z, c, NN_MEAN);
    assert_error_with(tape, "stale tensor");
    nn_mse_loss(z, z, NN_MEAN);
    assert_error_with(tape, "stale tensor");
    assert_false(ag_valid(nn_cross_entropy((ag_tensor){0}, (ag_tensor){0}, NN_MEAN)));
    ag_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_equal_their_formulas),
        cmocka_unit_test(losses_at_the_extremes),
        cmocka_unit_test(shapes_must_be_the_same),
        cmocka_unit_test(cross_entropy_equals_its_formula),
        cmocka_unit_test(cross_entropy_at_the_extremes),
        cmocka_unit_test(bad_classes_are_errors),
        cmocka_unit_test(cross_entropy_used_wrongly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
