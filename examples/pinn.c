/* pinn: a network learns to solve a differential equation, from nothing but the equation.
 *
 * A mass on a spring with friction is let go at u(0) = 1, u'(0) = 0:
 *
 *     u'' + 2 d u' + w^2 u = 0,     0 <= t <= 6
 *
 * The trial solution u(t) = 1 + tanh(t)^2 N(t), with N a small perceptron, starts right whatever N
 * is (Lagaris, Likas & Fotiadis 1998); training makes the left side, with u' and u'' the
 * derivatives of the network by its input, small at points t (Raissi, Perdikaris & Karniadakis
 * 2019). The closed form only measures the error. */
#include <math.h>

#include "chart.h"
#include "command.h"

enum { POINTS = 64, CHECKED = 401 };

static const double end = 6.0, friction = 0.3, frequency = 2.0; /* d and w */

static uint64_t steps = 6000, seed = 0; /* options */
static const char *svg = NULL;

static double closed_form(double t)
{
    double w = sqrt(frequency * frequency - friction * friction);
    return exp(-friction * t) * (cos(w * t) + friction / w * sin(w * t));
}

static ag_tensor solution(const nn_mlp *network, ag_tensor t)
{
    return ag_add_scalar(ag_mul(ag_square(ag_tanh(t)), nn_mlp_apply(network, t)), 1.0);
}

/* dy/dt, point by point: u at one t does not depend on another, so that the gradient of the sum
 * holds the derivative at each. */
static ag_tensor derivative(ag_tensor y, ag_tensor t)
{
    ag_tensor dy = {0};
    ag_gradients(ag_sum(y), &t, 1, &dy);
    return dy;
}

/* The mean square of the equation's left side, in units of w^2. */
static ag_tensor residual_loss(const nn_mlp *network, ag_tensor t)
{
    ag_tensor u = solution(network, t), u1 = derivative(u, t), u2 = derivative(u1, t);
    ag_tensor left = ag_add(ag_add(u2, ag_mul_scalar(u1, 2.0 * friction)),
                            ag_mul_scalar(u, frequency * frequency));
    return ag_mean_square(ag_div_scalar(left, frequency * frequency));
}

/* Recorded once; each step replays forward pass, derivatives and gradients. */
static bool train(ag_tape *tape, nn_params *params, const nn_mlp *network)
{
    nn_optimizer *adam = nn_optimizer_new(params, nn_adam(0.0));
    nn_schedule schedule = {.kind = NN_COSINE, .rate = 0.02, .total = steps};
    double points[POINTS];
    for (int i = 0; i < POINTS; i++)
        points[i] = end * i / (POINTS - 1.0);
    ag_tensor t = ag_input_f64(tape, "t", AG_SHAPE(POINTS, 1), points);
    ag_tensor loss = residual_loss(network, t);
    if (!ag_backward(loss))
        return false;
    for (uint64_t step = 0; step < steps; step++) {
        if (!ag_replay(tape) || !nn_set_rate(adam, nn_schedule_rate(&schedule, step)))
            return false;
        if (step % (steps / 8 + 1) == 0)
            printf("step %5llu: residual %.3e\n", (unsigned long long)step, sqrt(ag_item(loss)));
        if (!nn_step(adam))
            return false;
    }
    ag_tape_reset(tape);
    return true;
}

/* The network against the closed form, on a grid finer than the points of training. */
static bool measure(ag_tape *tape, const nn_mlp *network, nn_error *error)
{
    double t[CHECKED], u[CHECKED], exact[CHECKED], difference[CHECKED], worst = 0.0;
    for (int i = 0; i < CHECKED; i++)
        exact[i] = closed_form(t[i] = end * i / (CHECKED - 1.0));
    ag_tensor at = ag_input_f64(tape, "t", AG_SHAPE(CHECKED, 1), t);
    if (!ag_get_f64(solution(network, at), u, CHECKED))
        return nn_fail(error, "%s", ag_error(tape));
    for (int i = 0; i < CHECKED; i++)
        worst = fmax(worst, fabs(difference[i] = u[i] - exact[i]));
    printf("largest error at %d points: %.2e\n", CHECKED, worst);
    const struct chart_line lines[] = {{"closed form (wide)", CHART_ORANGE, CHART_WIDE, exact},
                                       {"network (dashed)", CHART_BLUE, CHART_DASHED, u},
                                       {"network minus closed form", CHART_BLUE, CHART_PLAIN,
                                        difference}};
    const struct chart_panel panels[] = {{-1.0, 1.0, 230, 2, lines},
                                         {-worst, worst, 104, 1, lines + 2}};
    const struct chart chart = {"A network solves u'' + 0.6u' + 4u = 0, u(0) = 1, u'(0) = 0",
                                "t = 0",
                                "t = 6",
                                CHECKED,
                                2,
                                panels};
    return !svg || chart_write(&chart, svg, error);
}

static int run(nn_error *error)
{
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = nn_params_new(tape, seed);
    nn_mlp network = nn_mlp_new(params, "", (int64_t[]){1, 32, 32, 1}, 4, ag_sin);
    bool good = train(tape, params, &network) ? measure(tape, &network, error)
                                              : nn_fail(error, "%s", ag_error(tape));
    ag_tape_free(tape);
    return good ? DONE : FAILED;
}

int main(int count, char **arguments)
{
    const struct option options[] = {
        {"--steps", "N", "steps of training", NULL, &steps, 1, 1000000},
        {"--seed", "N", "of the first weights", NULL, &seed, 0, UINT64_MAX},
        {"--svg", "FILE", "draws solution and error", &svg, NULL, 0, 0}};
    const struct command command = {
        "Solves u'' + 0.6u' + 4u = 0, u(0) = 1, u'(0) = 0 by a network.\n", options, 3, run};
    return command_main(&command, count, arguments);
}
