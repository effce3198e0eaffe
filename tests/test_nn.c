/* The list of parameters, initialisers, the linear layer, the summary; and memory: what a training
 * step allocates, and that any allocation may fail. */
#include "tape_help.h"

static const ag_dtype dtypes[] = {AG_F32, AG_F64};

/* ---- Parameters ---- */

static void test_params(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 5);
    assert_ptr_equal(nn_params_tape(params), tape);
    assert_int_equal(nn_params_count(params), 0);
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "p%d", i);
        assert_true(ag_valid(nn_parameter(params, name, AG_SHAPE(2, i + 1))));
    }
    assert_int_equal(nn_params_count(params), 100);
    assert_int_equal(nn_params_elements(params), 100 * 101);
    for (size_t i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "p%zu", i);
        assert_string_equal(ag_name_of(nn_params_at(params, i)), name);
        assert_int_equal(ag_count(nn_params_find(params, name)), 2 * (i + 1));
    }
    assert_no_error(tape);
    assert_false(ag_valid(nn_params_at(params, 100)));
    assert_error(tape, "params_at: there is no parameter 100: there are 100");
    assert_false(ag_valid(nn_params_find(params, "p100")));
    assert_error(tape, "params_find: no parameter is named 'p100'");
    assert_false(ag_valid(nn_params_find(params, NULL)));
    ag_clear_error(tape);
    assert_false(ag_valid(nn_parameter(params, "p7", AG_SHAPE(1))));
    assert_error(tape, "parameter: there is already one named 'p7'");
    assert_false(ag_valid(nn_parameter(params, "", AG_SHAPE(1))));
    assert_error(tape, "parameter: a network's parameter needs a name");
    assert_false(ag_valid(nn_parameter(params, "empty", AG_SHAPE(0))));
    assert_error(tape, "parameter: axis 0 has size 0; every size must be at least 1, but the "
                       "shape asked for is (0,)");
    assert_int_equal(nn_params_count(params), 100);
    ag_tape_free(tape);
}

/* What follows from a tape that could not be made. */
static void test_null(void **state)
{
    (void)state;
    assert_null(nn_params_new(NULL, 0));
    assert_null(nn_params_tape(NULL));
    assert_null(nn_params_rng(NULL));
    assert_int_equal(nn_params_count(NULL), 0);
    assert_int_equal(nn_params_elements(NULL), 0);
    assert_false(ag_valid(nn_params_at(NULL, 0)) || ag_valid(nn_params_find(NULL, "w")));
    assert_false(ag_valid(nn_parameter(NULL, "w", AG_SCALAR)));
    nn_linear layer = nn_linear_new(NULL, "layer", 2, 3);
    assert_false(ag_valid(layer.weight) || ag_valid(nn_linear_apply(&layer, layer.weight)));
    assert_false(nn_init_constant(layer.weight, 1.0));
    assert_false(nn_init_uniform((ag_tensor){0}, 2.0, 1.0, NULL));
}

/* ---- Initialisers ---- */

struct moments {
    double mean, variance, fourth, low, high;
};

enum { MANY = 250 * 400 };

static struct moments moments_of(ag_tensor w)
{
    static double x[MANY];
    assert_true(ag_get_f64(w, x, MANY));
    struct moments m = {.low = x[0], .high = x[0]};
    for (int i = 0; i < MANY; i++) {
        m.mean += x[i] / MANY;
        m.low = fmin(m.low, x[i]);
        m.high = fmax(m.high, x[i]);
    }
    for (int i = 0; i < MANY; i++) {
        double d = (x[i] - m.mean) * (x[i] - m.mean);
        m.variance += d / MANY;
        m.fourth += d * d / MANY;
    }
    return m;
}

/* Within five standard errors of what theory says, and the kurtosis tells which distribution. */
static void check_distribution(ag_tensor w, double mean, double variance, bool normal)
{
    struct moments m = moments_of(w);
    double kurtosis = normal ? 3.0 : 1.8;
    assert_near(m.mean, mean, 5.0 * sqrt(variance / MANY));
    assert_near(m.variance, variance, 5.0 * variance * sqrt((kurtosis - 1.0) / MANY));
    assert_near(m.fourth / (m.variance * m.variance), kurtosis, 0.1);
    double bound = sqrt(3.0 * variance);
    if (normal)
        assert_true(m.high > mean + bound && m.low < mean - bound);
    else
        assert_near(m.high - mean, bound, 1e-3 * bound);
    if (!normal)
        assert_near(mean - m.low, bound, 1e-3 * bound);
}

static void test_distributions(void **state)
{
    (void)state;
    ag_rng rng;
    ag_rng_seed(&rng, 2024);
    for (size_t k = 0; k < 2; k++) {
        ag_tape *tape = ag_tape_new(dtypes[k]);
        ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(400, 250));
        assert_true(nn_init_uniform(w, 1.0, 4.0, &rng));
        check_distribution(w, 2.5, 9.0 / 12.0, false);
        assert_true(nn_init_normal(w, -1.0, 3.0, &rng));
        check_distribution(w, -1.0, 9.0, true);
        for (int normal = 0; normal < 2; normal++) {
            nn_distribution d = normal ? NN_NORMAL : NN_UNIFORM;
            assert_true(nn_init_xavier(w, 250, 400, d, &rng));
            check_distribution(w, 0.0, 2.0 / 650.0, normal);
            assert_true(nn_init_he(w, 250, d, &rng));
            check_distribution(w, 0.0, 2.0 / 250.0, normal);
            assert_true(nn_init_lecun(w, 250, d, &rng));
            check_distribution(w, 0.0, 1.0 / 250.0, normal);
        }
        assert_no_error(tape);
        ag_tape_free(tape);
    }
}

/* By Python: xoshiro256++ in its integers, and statistics.NormalDist().inv_cdf, which is AS 241
 * too. */
static void test_first_values(void **state)
{
    (void)state;
    static const double uniform[] = {-0.77855825408666757, -0.31153658220752911, 1.8703045134346374,
                                     0.70883927716602102},
                        normal[] = {-2.1899227539793897, -0.89167408490080979, 2.1513119352193852,
                                    0.6330354841450454};
    for (size_t k = 0; k < 2; k++) {
        double tolerance = dtypes[k] == AG_F64 ? 1e-14 : 2e-7, values[4];
        ag_tape *tape = ag_tape_new(dtypes[k]);
        nn_params *params = nn_params_new(tape, 7);
        ag_tensor w = nn_parameter(params, "w", AG_SHAPE(2, 2));
        assert_true(nn_init_uniform(w, -1.0, 3.0, nn_params_rng(params)));
        assert_true(ag_get_f64(w, values, 4));
        for (int i = 0; i < 4; i++)
            assert_near(values[i], uniform[i], tolerance);
        ag_rng_seed(nn_params_rng(params), 7);
        assert_true(nn_init_normal(w, 1.0, 2.0, nn_params_rng(params)));
        assert_true(ag_get_f64(w, values, 4));
        for (int i = 0; i < 4; i++)
            assert_near(values[i], normal[i], tolerance);
        assert_true(nn_init_constant(w, -0.5) && ag_get_f64(w, values, 4));
        for (int i = 0; i < 4; i++)
            assert_true(values[i] == -0.5);
        ag_tape_free(tape);
    }
}

static void test_init_mistakes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    ag_tensor w = ag_parameter(tape, "w", AG_SHAPE(2, 2));
    const double infinite = HUGE_VAL, nan = (double)NAN;
    ag_rng rng, before;
    ag_rng_seed(&rng, 1);
    before = rng;
    assert_false(nn_init_constant(w, infinite));
    assert_error(tape, "init_constant: the value is inf; it must be finite");
    assert_false(nn_init_uniform(w, 2.0, 1.0, &rng));
    assert_error(tape, "init_uniform: the range is 2 to 1; it must be finite, and not run "
                       "backwards");
    static const double ranges[][2] = {{0, HUGE_VAL}, {-HUGE_VAL, 0}, {-1.7e308, 1.7e308}};
    for (size_t i = 0; i < 3; i++) {
        assert_false(nn_init_uniform(w, ranges[i][0], ranges[i][1], &rng));
        assert_non_null(strstr(ag_error(tape), "it must be finite"));
        ag_clear_error(tape);
    }
    assert_false(nn_init_uniform(w, nan, 1.0, &rng));
    ag_clear_error(tape);
    assert_false(nn_init_normal(w, 0.0, -1.0, &rng));
    assert_error(tape, "init_normal: mean 0, standard deviation -1; both must be finite, and the "
                       "latter not negative");
    assert_false(nn_init_normal(w, 0.0, infinite, &rng));
    ag_clear_error(tape);
    assert_false(nn_init_normal(w, nan, 1.0, &rng));
    ag_clear_error(tape);
    assert_false(nn_init_xavier(w, 0, 2, NN_UNIFORM, &rng));
    assert_error(tape, "init_xavier: fan_in is 0; it must be at least 1");
    assert_false(nn_init_xavier(w, 2, -2, NN_UNIFORM, &rng));
    assert_error(tape, "init_xavier: fan_out is -2; it must be at least 1");
    assert_false(nn_init_he(w, 0, NN_NORMAL, &rng));
    assert_error(tape, "init_he: fan_in is 0; it must be at least 1");
    assert_false(nn_init_lecun(w, -1, NN_NORMAL, &rng));
    assert_error(tape, "init_lecun: fan_in is -1; it must be at least 1");
    assert_false(nn_init_he(w, 2, (nn_distribution)9, &rng));
    assert_error(tape, "init: 9 is not a distribution: NN_UNIFORM or NN_NORMAL");
    assert_false(nn_init_normal(w, 0.0, 1.0, NULL));
    assert_error(tape, "init: no generator (NULL)");
    ag_tensor stale = ag_input(tape, "x", AG_SHAPE(2));
    ag_tape_reset(tape);
    assert_false(nn_init_normal(stale, 0.0, 1.0, &rng));
    assert_non_null(strstr(ag_error(tape), "stale"));
    assert_false(nn_init_normal(w, 0.0, 1.0, &rng)); /* nothing works while an error stands */
    assert_memory_equal(&rng, &before, sizeof rng);
    ag_clear_error(tape);
    double values[4];
    assert_true(ag_get_f64(w, values, 4));
    for (int i = 0; i < 4; i++)
        assert_true(values[i] == 0.0);
    ag_tape_free(tape);
}

/* ---- Linear ---- */

/* weight[o][i] = o + 10 i, bias[o] = 100 o, x = 1, 2, 3, ...: small integers, so exact. */
static void check_linear(const nn_linear *layer, ag_tensor x, ag_shape expected)
{
    enum { IN = 3, OUT = 2, MOST = 2 * 5 };
    ag_tensor y = nn_linear_apply(layer, x);
    ag_shape shape = ag_shape_of(y);
    assert_int_equal(shape.rank, expected.rank);
    for (int i = 0; i < shape.rank; i++)
        assert_int_equal(shape.dim[i], expected.dim[i]);
    double values[MOST * OUT];
    int64_t rows = ag_count(y) / OUT;
    assert_true(ag_get_f64(y, values, (size_t)(rows * OUT)));
    for (int64_t row = 0; row < rows; row++)
        for (int64_t o = 0; o < OUT; o++) {
            double sum = 100.0 * (double)o;
            for (int64_t i = 0; i < IN; i++)
                sum += (double)((row * IN + i + 1) * (o + 10 * i));
            assert_true(values[row * OUT + o] == sum);
        }
}

static void test_linear(void **state)
{
    (void)state;
    double x[30];
    for (int i = 0; i < 30; i++)
        x[i] = i + 1;
    for (size_t k = 0; k < 2; k++) {
        ag_tape *tape = ag_tape_new(dtypes[k]);
        nn_params *params = nn_params_new(tape, 11);
        nn_linear layer = nn_linear_new(params, "layer", 3, 2);
        assert_int_equal(nn_params_count(params), 2);
        assert_string_equal(ag_name_of(layer.weight), "layer.weight");
        assert_string_equal(ag_name_of(layer.bias), "layer.bias");
        ag_set_f64(layer.weight, (const double[]){0, 10, 20, 1, 11, 21}, 6);
        ag_set_f64(layer.bias, (const double[]){0, 100}, 2);
        check_linear(&layer, ag_input_f64(tape, "x", AG_SHAPE(3), x), AG_SHAPE(2));
        check_linear(&layer, ag_input_f64(tape, "x", AG_SHAPE(4, 3), x), AG_SHAPE(4, 2));
        check_linear(&layer, ag_input_f64(tape, "x", AG_SHAPE(2, 5, 3), x), AG_SHAPE(2, 5, 2));
        check_linear(&layer, ag_input_f64(tape, "x", AG_SHAPE(2, 1, 4, 3), x),
                     AG_SHAPE(2, 1, 4, 2));
        assert_no_error(tape);
        assert_false(ag_valid(nn_linear_apply(&layer, ag_input(tape, "x", AG_SHAPE(4, 2)))));
        assert_non_null(strstr(ag_error(tape), "layer.weight"));
        assert_non_null(strstr(ag_error(tape), "test_nn.c:"));
        ag_tape_free(tape);
    }
}

static void test_linear_initial_values(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, 0);
    nn_linear wide = nn_linear_new(params, "wide", 250, 400);
    check_distribution(wide.weight, 0.0, 1.0 / (3.0 * 250.0), false);
    double bias[400], most = 0.0;
    assert_true(ag_get_f64(wide.bias, bias, 400));
    for (int i = 0; i < 400; i++)
        most = fmax(most, fabs(bias[i]));
    assert_true(most <= 1.0 / sqrt(250.0) && most > 0.9 / sqrt(250.0));
    ag_tape_free(tape);
}

static void test_linear_mistakes(void **state)
{
    (void)state;
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 0);
    assert_false(ag_valid(nn_linear_new(params, "a", 0, 3).weight));
    assert_error(tape, "linear: a: in is 0; it must be from 1 to 2^30");
    assert_false(ag_valid(nn_linear_new(params, "a", 3, -1).bias));
    assert_error(tape, "linear: a: out is -1; it must be from 1 to 2^30");
    nn_linear_new(params, NULL, 1, 1);
    assert_error(tape, "layer: a layer needs a name");
    assert_true(ag_valid(nn_linear_new(params, "a", 1, 1).bias));
    nn_linear_new(params, "a", 1, 1);
    assert_error(tape, "parameter: there is already one named 'a.weight'");
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    nn_linear_new(params, name, 1, 1);
    assert_error(tape, "layer: the name 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...' is longer "
                       "than 255 bytes");
    assert_int_equal(nn_params_count(params), 2);
    nn_linear_new(params, "huge", INT64_MAX / 2, INT64_MAX / 2);
    assert_error(tape, "linear: huge: in is 4611686018427387903; it must be from 1 to 2^30");
    ag_tape_free(tape);
}

/* ---- Summary ---- */

static void test_summary(void **state)
{
    (void)state;
    static const char expected[] = "parameter      shape            count      bytes\n"
                                   "------------------------------------------------\n"
                                   "scale          ()                   1          4\n"
                                   "hidden.weight  (1100, 950)  1,045,000  4,180,000\n"
                                   "hidden.bias    (1100,)          1,100      4,400  frozen\n"
                                   "------------------------------------------------\n"
                                   "total                       1,046,101  4,184,404\n"
                                   "trained                     1,045,001  4,180,004\n";
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_params *params = nn_params_new(tape, 0);
    nn_parameter(params, "scale", AG_SCALAR);
    ag_set_trainable(nn_linear_new(params, "hidden", 950, 1100).bias, false);
    FILE *file = tmpfile();
    assert_non_null(file);
    nn_summary(params, file);
    rewind(file);
    char text[1024];
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    assert_string_equal(text, expected);
    ag_tape_free(tape);
}

/* ---- Memory ---- */

struct counter {
    size_t calls, fail_at; /* fail_at: from that call on, none succeeds; 0: all do */
};

static void *counting_allocator(void *context, void *block, size_t old_size, size_t size)
{
    struct counter *counter = context;
    (void)old_size;
    if (!size) {
        free(block);
        return NULL;
    }
    counter->calls++;
    if (counter->fail_at && counter->calls >= counter->fail_at)
        return NULL;
    return realloc(block, size);
}

/* Trains a small network; sets the number of calls at the end of the first step. */
static bool train(struct counter *counter, nn_options options, size_t *after_first)
{
    ag_tape *tape = ag_tape_new_with(AG_F32, counting_allocator, counter);
    nn_params *params = nn_params_new(tape, 1);
    nn_linear hidden = nn_linear_new(params, "hidden", 40, 300);
    nn_linear out = nn_linear_new(params, "out", 300, 1);
    nn_init_xavier(hidden.weight, 40, 300, NN_NORMAL, nn_params_rng(params));
    nn_optimizer *optimizer = nn_optimizer_new(params, options);
    static float x[20 * 40];
    bool fine = true;
    for (int step = 0; step < 10 && fine; step++) {
        ag_tape_reset(tape);
        ag_tensor h =
            ag_sigmoid(nn_linear_apply(&hidden, ag_input_f32(tape, "x", AG_SHAPE(20, 40), x)));
        ag_backward(ag_mean_square(ag_sub_scalar(nn_linear_apply(&out, h), 1.0)));
        fine = nn_step(optimizer);
        if (step == 0)
            *after_first = counter->calls;
    }
    assert_true(fine == (tape && !ag_error(tape)));
    if (!fine && tape)
        assert_non_null(strstr(ag_error(tape), "out of memory"));
    ag_tape_free(tape);
    return fine;
}

static void test_memory(void **state)
{
    (void)state;
    nn_options options[] = {nn_sgd(.1), nn_sgd(.1), nn_adam(.1), nn_adamw(.1)};
    options[1].momentum = .9;
    options[3].clip_norm = .1;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct counter counter = {0};
        size_t after_first = 0;
        assert_true(train(&counter, options[i], &after_first));
        assert_int_equal(counter.calls, after_first);
        for (size_t k = 1; k <= after_first; k++) {
            struct counter failing = {.fail_at = k};
            assert_false(train(&failing, options[i], &(size_t){0}));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_first_values),
        cmocka_unit_test(test_init_mistakes),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_initial_values),
        cmocka_unit_test(test_linear_mistakes),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
