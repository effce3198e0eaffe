/* Optimisers against torch.optim, clipping, schedules, and training from end to end. */
#include "tape_help.h"

static const ag_dtype dtypes[] = {AG_F32, AG_F64};

/* ---- Against PyTorch ----
 *
 * The numbers are those of PyTorch 1.13 in double, by
 *
 *     def run(make, clip=0, freeze_b=0, steps=5):
 *         w = torch.tensor([[.5, -1, 2], [.25, 0, -3]], requires_grad=True)
 *         b = torch.tensor([1, -.5, .125], requires_grad=True)
 *         c = torch.tensor([[1, 2, -1], [.5, -2, 3.]])
 *         optimizer = make([w, b])
 *         for step in range(steps):
 *             b.requires_grad_(step >= freeze_b)
 *             optimizer.zero_grad(set_to_none=True)
 *             ((w * c + b - 1) ** 2).mean().backward()
 *             if clip: torch.nn.utils.clip_grad_norm_([w, b], clip)
 *             optimizer.step()
 *             if step in (0, 4): print(torch.cat([w.flatten(), b]).tolist())
 *
 * with make = lambda p: SGD(p, .1), and so on as in the table. */
struct net {
    ag_tape *tape;
    nn_params *params;
    ag_tensor w, b;
};

static struct net net_new(ag_dtype dtype)
{
    struct net net = {.tape = ag_tape_new(dtype)};
    net.params = nn_params_new(net.tape, 1);
    net.w = nn_parameter(net.params, "w", AG_SHAPE(2, 3));
    net.b = nn_parameter(net.params, "b", AG_SHAPE(3));
    ag_set_f64(net.w, (const double[]){.5, -1, 2, .25, 0, -3}, 6);
    ag_set_f64(net.b, (const double[]){1, -.5, .125}, 3);
    assert_no_error(net.tape);
    return net;
}

/* Leaves the gradients of the loss on the tape. */
static void net_backward(const struct net *net)
{
    static const double factors[] = {1, 2, -1, .5, -2, 3};
    ag_tape_reset(net->tape);
    ag_tensor c = ag_input_f64(net->tape, "c", AG_SHAPE(2, 3), factors);
    ag_tensor y = ag_add(ag_mul(net->w, c), net->b);
    assert_true(ag_backward(ag_mean_square(ag_sub_scalar(y, 1.0))));
}

static void net_values(const struct net *net, double values[9])
{
    ag_get_f64(net->w, values, 6);
    ag_get_f64(net->b, values + 6, 3);
    assert_no_error(net->tape);
}

static const struct reference {
    nn_options options;
    int freeze_b;       /* for that many steps */
    double after[2][9]; /* w and b after step 1 and 5 */
} references[] = {
    {{.method = NN_SGD, .rate = .1},
     0,
     {{0.48333333333333334, -0.76666666666666672, 1.9041666666666666, 0.24791666666666667,
       -0.10000000000000001, -2.0124999999999997, 0.97916666666666663, -0.33333333333333331,
       0.55000000000000004},
      {0.42813730733989197, -0.18420609053497944, 1.6527046039094648, 0.24288510166497879,
       -0.30473942386831276, -0.48395739197530863, 0.91390751066984943, 0.060266666666666677,
       1.3109762654320989}}},
    {{.method = NN_SGD, .rate = .1, .weight_decay = .1},
     0,
     {{0.47833333333333333, -0.75666666666666671, 1.8841666666666668, 0.24541666666666667,
       -0.10000000000000001, -1.9824999999999999, 0.96916666666666662, -0.32833333333333331,
       0.54874999999999996},
      {0.409519368977392, -0.16476713983004115, 1.5663403694795268, 0.23245748484049963,
       -0.29661347459670778, -0.44498313805956785, 0.87443433865839115, 0.065923167383333356,
       1.2571758237714508}}},
    {{.method = NN_SGD, .rate = .1, .momentum = .9, .weight_decay = .1},
     0,
     {{0.47833333333333333, -0.75666666666666671, 1.8841666666666668, 0.24541666666666667,
       -0.10000000000000001, -1.9824999999999999, 0.96916666666666662, -0.32833333333333331,
       0.54874999999999996},
      {0.27145816114405863, 0.97904728861440327, 0.94653963870174873, 0.20671640394466628,
       -0.66006891015226343, 2.1228117689404322, 0.68489096903339108, 0.81955809938333346,
       2.4849206152158949}}},
    {{.method = NN_SGD, .rate = .1, .momentum = .9, .nesterov = true, .weight_decay = .1},
     0,
     {{0.45883333333333332, -0.53766666666666663, 1.7799166666666666, 0.24129166666666665, -0.19,
       -1.0667499999999996, 0.94141666666666668, -0.17383333333333331, 0.93012499999999998},
      {0.24973306647791707, 0.81559607206976037, 0.87800888466562232, 0.2070407918431339,
       -0.50688635026122519, 0.57388044835811947, 0.66381465016418495, 0.66124121116549284,
       1.9334119834969827}}},
    {{.method = NN_SGD, .rate = .1, .momentum = .9, .clip_norm = .5},
     0,
     {{0.49925698936967039, -0.98959785117538535, 1.9957276888756046, 0.24990712367120879,
       -0.004458063781977716, -2.95597662015297, 0.99907123671208797, -0.49256989369670379,
       0.14394677107340528},
      {0.4899552053666773, -0.86103368456039575, 1.9429214150159924, 0.24875847822983807,
       -0.059131750216923913, -2.4225207603639523, 0.98747216182635345, -0.40095096717173584,
       0.37457166486269039}}},
    {{.method = NN_ADAM, .rate = .1, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8},
     0,
     {{0.40000000599999963, -0.90000000042857142, 1.9000000010434783, 0.15000004799997696,
       -0.09999999900000002, -2.900000000101266, 0.90000000479999975, -0.40000000060000002,
       0.22499999976470586},
      {0.11248688214826566, -0.50626552865515773, 1.5046323788031473, 0.24317710196295841,
       -0.47195632702328438, -2.5022595291422558, 0.70569852328988414, -0.010679053164660085,
       0.6222676412495598}}},
    {{.method = NN_ADAM,
      .rate = .1,
      .beta1 = .8,
      .beta2 = .99,
      .epsilon = 1e-3,
      .weight_decay = .1},
     0,
     {{0.40045941807044411, -0.90004107900862662, 1.9000862564692351, 0.15213523131672599,
       -0.099900099900099917, -2.9000098270440251, 0.90032327586206895, -0.40005821851348733,
       0.22497640674767017},
      {0.11447138278917908, -0.51084269379208302, 1.5079850388130573, 0.11999029072529047,
       -0.45617682148412564, -2.5041771958502896, 0.6445532388872911, -0.017698771004308167,
       0.61960804590960206}}},
    {{.method = NN_ADAMW,
      .rate = .1,
      .beta1 = .9,
      .beta2 = .999,
      .epsilon = 1e-8,
      .weight_decay = .01},
     0,
     {{0.39950000599999963, -0.89900000042857142, 1.8980000010434783, 0.14975004799997696,
       -0.09999999900000002, -2.8970000001012659, 0.89900000479999975, -0.39950000060000002,
       0.22487499976470587},
      {0.11245792204191264, -0.50233857182264519, 1.4957023157961102, 0.24453493899922385,
       -0.47094190192931457, -2.4883464637706529, 0.70397833305964752, -0.0092466882542654449,
       0.62058763780130266}}},
    {{.method = NN_ADAMW,
      .rate = .1,
      .beta1 = .9,
      .beta2 = .999,
      .epsilon = 1e-8,
      .weight_decay = .1,
      .clip_norm = 1},
     2,
     {{0.39500006145434663, -0.8900000043895987, 1.8800000106877179, 0.14750049163265819,
       -0.09999998975760363, -2.8700000010372047, 1, -0.5, 0.125},
      {0.039112927930890315, -0.46452489410045883, 1.4139736518393353, -0.011783402743276591,
       -0.47480846013923733, -2.3642704759020088, 0.82996142322761124, -0.18969821875727144,
       0.41828716085360834}}},
};

static void compare_with(const struct reference *reference, ag_dtype dtype)
{
    struct net net = net_new(dtype);
    nn_optimizer *optimizer = nn_optimizer_new(net.params, reference->options);
    double values[9], tolerance = dtype == AG_F64 ? 1e-14 : 4e-6;
    for (int step = 0; step < 5; step++) {
        ag_set_trainable(net.b, step >= reference->freeze_b);
        net_backward(&net);
        assert_true(nn_step(optimizer));
        net_values(&net, values);
        for (int i = 0; i < 9 && (step == 0 || step == 4); i++)
            assert_near(values[i], reference->after[step == 4][i], tolerance);
    }
    ag_tape_free(net.tape);
}

static void test_against_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof references / sizeof *references; i++)
        for (size_t k = 0; k < 2; k++)
            compare_with(&references[i], dtypes[k]);
}

/* Frozen between steps: untouched, though it has a state by then. */
static void test_frozen(void **state)
{
    (void)state;
    struct net net = net_new(AG_F32);
    nn_optimizer *optimizer = nn_optimizer_new(net.params, nn_adamw(.1));
    double before[9], after[9];
    net_backward(&net);
    assert_true(nn_step(optimizer));
    net_values(&net, before);
    ag_set_trainable(net.b, false);
    net_backward(&net);
    assert_true(nn_step(optimizer));
    net_values(&net, after);
    assert_memory_equal(after + 6, before + 6, 3 * sizeof *after);
    assert_true(after[0] != before[0]);
    ag_tape_free(net.tape);
}

static void test_defaults(void **state)
{
    (void)state;
    nn_options sgd = nn_sgd(.5), adam = nn_adam(.25), adamw = nn_adamw(.125);
    assert_true(sgd.method == NN_SGD && sgd.rate == .5 && sgd.momentum == 0 && !sgd.nesterov &&
                sgd.weight_decay == 0 && sgd.clip_norm == 0);
    assert_true(adam.method == NN_ADAM && adam.rate == .25 && adam.beta1 == .9 &&
                adam.beta2 == .999 && adam.epsilon == 1e-8 && adam.weight_decay == 0);
    assert_true(adamw.method == NN_ADAMW && adamw.rate == .125 && adamw.beta1 == .9 &&
                adamw.beta2 == .999 && adamw.epsilon == 1e-8 && adamw.weight_decay == .01);
}

/* ---- Norm and clipping ---- */

/* The gradient of mean(w²) over n elements is 2w/n. */
static void test_norm(void **state)
{
    (void)state;
    enum { N = 1003 };
    for (size_t k = 0; k < 2; k++) {
        ag_tape *tape = ag_tape_new(dtypes[k]);
        nn_params *params = nn_params_new(tape, 3);
        ag_tensor w = nn_parameter(params, "w", AG_SHAPE(N));
        nn_init_normal(w, 0.0, 1.0, nn_params_rng(params));
        double values[N], sum = 0.0;
        ag_get_f64(w, values, N);
        for (int i = 0; i < N; i++)
            sum += values[i] * values[i];
        ag_backward(ag_mean_square(w));
        assert_near(nn_gradient_norm(params), 2.0 / N * sqrt(sum), k ? 1e-15 : 1e-8);

        ag_tape_reset(tape);
        assert_true(isnan(nn_gradient_norm(params)));
        assert_error(tape, "gradient_norm: no parameter has a gradient; call ag_backward first, "
                           "and ag_tape_reset only afterwards");
        ag_tape_free(tape);
    }
}

static void test_small_gradients_are_not_clipped(void **state)
{
    (void)state;
    struct net plain = net_new(AG_F64), clipped = net_new(AG_F64);
    nn_options options = nn_sgd(.1);
    nn_optimizer *a = nn_optimizer_new(plain.params, options);
    options.clip_norm = 1e3;
    nn_optimizer *b = nn_optimizer_new(clipped.params, options);
    net_backward(&plain);
    net_backward(&clipped);
    assert_true(nn_step(a) && nn_step(b));
    double expected[9], values[9];
    net_values(&plain, expected);
    net_values(&clipped, values);
    assert_memory_equal(values, expected, sizeof values);
    ag_tape_free(plain.tape);
    ag_tape_free(clipped.tape);
}

/* ---- Mistakes ---- */

static void refuse(nn_options options, const char *message)
{
    struct net net = net_new(AG_F32);
    assert_null(nn_optimizer_new(net.params, options));
    assert_error(net.tape, message);
    ag_tape_free(net.tape);
}

static void test_options(void **state)
{
    (void)state;
    nn_options o = nn_sgd(-.1);
    refuse(o, "optimizer: rate is -0.1; it must be at least 0 and finite");
    refuse(nn_adam(HUGE_VAL), "optimizer: rate is inf; it must be at least 0 and finite");
    o = nn_sgd(.1);
    o.momentum = 1;
    refuse(o, "optimizer: momentum is 1; it must be at least 0 and below 1");
    o = nn_sgd(.1);
    o.nesterov = true;
    refuse(o, "optimizer: nesterov is set, but momentum is 0");
    o = nn_adam(.1);
    o.beta1 = 1;
    refuse(o, "optimizer: beta1 is 1; it must be at least 0 and below 1");
    o = nn_adam(.1);
    o.beta2 = -.5;
    refuse(o, "optimizer: beta2 is -0.5; it must be at least 0 and below 1");
    o = nn_adamw(.1);
    o.epsilon = -1;
    refuse(o, "optimizer: epsilon is -1; it must be at least 0 and finite");
    o = nn_adamw(.1);
    o.weight_decay = -1;
    refuse(o, "optimizer: weight_decay is -1; it must be at least 0 and finite");
    o = nn_sgd(.1);
    o.clip_norm = -1;
    refuse(o, "optimizer: clip_norm is -1; it must be at least 0 and finite");
    o = nn_sgd(.1);
    o.method = (nn_method)7;
    refuse(o, "optimizer: 7 is not a method: NN_SGD ... NN_MUON");
    for (size_t i = 0; i < 3; i++) {
        o = nn_adam(.1);
        *(double *[]){&o.rate, &o.beta1, &o.clip_norm}[i] = (double)NAN;
        struct net net = net_new(AG_F32);
        assert_null(nn_optimizer_new(net.params, o));
        assert_non_null(ag_error(net.tape));
        ag_tape_free(net.tape);
    }
}

static void test_mistakes(void **state)
{
    (void)state;
    struct net net = net_new(AG_F64);
    nn_optimizer *optimizer = nn_optimizer_new(net.params, nn_sgd(.1));
    double before[9], after[9];
    net_values(&net, before);
    assert_false(nn_step(optimizer));
    assert_error(net.tape, "step: no parameter has a gradient; call ag_backward first, and "
                           "ag_tape_reset only afterwards");
    net_backward(&net);
    ag_fail(net.tape, "something went wrong");
    assert_false(nn_step(optimizer));
    assert_error(net.tape, "something went wrong");

    assert_false(nn_set_rate(optimizer, -1));
    assert_error(net.tape, "optimizer: rate is -1; it must be at least 0 and finite");
    assert_true(nn_set_rate(optimizer, .25));
    assert_true(nn_rate(optimizer) == .25);

    nn_parameter(net.params, "late", AG_SHAPE(1));
    net_backward(&net);
    assert_false(nn_step(optimizer));
    assert_error(net.tape, "step: there are 3 parameters, but were 2 when the optimiser was made; "
                           "make it after all layers");
    net_values(&net, after);
    assert_memory_equal(after, before, sizeof before);

    assert_null(nn_optimizer_new(nn_params_new(net.tape, 0), nn_sgd(.1)));
    assert_error(net.tape, "optimizer: there are no parameters; make the layers first");
    ag_tape_free(net.tape);

    assert_null(nn_optimizer_new(NULL, nn_sgd(.1)));
    assert_false(nn_step(NULL) || nn_set_rate(NULL, 1));
    assert_true(isnan(nn_rate(NULL)) && isnan(nn_gradient_norm(NULL)));
}

/* ---- Schedules ---- */

static void test_schedules(void **state)
{
    (void)state;
    nn_schedule s = {.kind = NN_CONSTANT, .rate = 0.5};
    assert_true(nn_schedule_rate(&s, 0) == 0.5 && nn_schedule_rate(&s, UINT64_MAX) == 0.5);
    s.warmup = 4;
    for (uint64_t i = 0; i < 4; i++)
        assert_near(nn_schedule_rate(&s, i), 0.125 * (double)(i + 1), 0.0);
    assert_true(nn_schedule_rate(&s, 4) == 0.5);

    s = (nn_schedule){.kind = NN_STEPS, .rate = 1, .factor = 0.5, .every = 10, .warmup = 2};
    assert_true(nn_schedule_rate(&s, 0) == 0.5 && nn_schedule_rate(&s, 1) == 1.0);
    assert_true(nn_schedule_rate(&s, 11) == 1.0 && nn_schedule_rate(&s, 12) == 0.5);
    assert_true(nn_schedule_rate(&s, 21) == 0.5 && nn_schedule_rate(&s, 22) == 0.25);
    s.every = 0;
    assert_true(nn_schedule_rate(&s, 1000) == 1.0);

    s = (nn_schedule){.kind = NN_COSINE, .rate = 1, .floor = 0.2, .warmup = 10, .total = 130};
    assert_near(nn_schedule_rate(&s, 4), 0.5, 1e-15);
    assert_near(nn_schedule_rate(&s, 9), 1.0, 0.0);
    assert_near(nn_schedule_rate(&s, 10), 1.0, 0.0);
    assert_near(nn_schedule_rate(&s, 10 + 40), 0.2 + 0.8 * 0.75, 1e-15); /* cos 60 degrees */
    assert_near(nn_schedule_rate(&s, 10 + 60), 0.6, 1e-15);
    assert_near(nn_schedule_rate(&s, 10 + 80), 0.2 + 0.8 * 0.25, 1e-15);
    assert_near(nn_schedule_rate(&s, 130), 0.2, 0.0);
    assert_near(nn_schedule_rate(&s, UINT64_MAX), 0.2, 0.0);
    s.total = 5;
    assert_near(nn_schedule_rate(&s, 10), 0.2, 0.0);
}

/* ---- Training ---- */

/* y = 2x + 1 by a layer of one input and one output; returns the values of weight and bias. */
static void train_line(ag_dtype dtype, nn_options options, uint64_t seed, double result[2])
{
    enum { N = 16, STEPS = 400 };
    double x[N], y[N];
    for (int i = 0; i < N; i++) {
        x[i] = (i - 7.5) / 8.0;
        y[i] = 2.0 * x[i] + 1.0;
    }
    ag_tape *tape = ag_tape_new(dtype);
    nn_params *params = nn_params_new(tape, seed);
    nn_linear line = nn_linear_new(params, "line", 1, 1);
    nn_optimizer *optimizer = nn_optimizer_new(params, options);
    nn_schedule schedule = {.kind = NN_COSINE, .rate = options.rate, .warmup = 10, .total = STEPS};
    for (uint64_t step = 0; step < STEPS; step++) {
        ag_tape_reset(tape);
        ag_tensor out = nn_linear_apply(&line, ag_input_f64(tape, "x", AG_SHAPE(N, 1), x));
        ag_backward(ag_mean_square(ag_sub(out, ag_input_f64(tape, "y", AG_SHAPE(N, 1), y))));
        assert_true(nn_set_rate(optimizer, nn_schedule_rate(&schedule, step)));
        assert_true(nn_step(optimizer));
    }
    result[0] = ag_item(line.weight);
    result[1] = ag_item(line.bias);
    assert_no_error(tape);
    ag_tape_free(tape);
}

static void test_line(void **state)
{
    (void)state;
    nn_options options[] = {nn_sgd(.5), nn_sgd(.1), nn_sgd(.1), nn_adam(.1), nn_adamw(.1)};
    options[1].momentum = options[2].momentum = .9;
    options[2].nesterov = true;
    options[2].clip_norm = 1;
    options[4].weight_decay = 0;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        for (size_t k = 0; k < 2; k++) {
            double first[2], second[2];
            train_line(dtypes[k], options[i], i, first);
            train_line(dtypes[k], options[i], i, second);
            assert_memory_equal(first, second, sizeof first);
            assert_near(first[0], 2.0, 1e-4);
            assert_near(first[1], 1.0, 1e-4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_pytorch),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_small_gradients_are_not_clipped),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
