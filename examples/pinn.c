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

#include <nn/nn.h>

#include "command.h"

enum { POINTS = 64, CHECKED = 401 };

static const double end = 6.0, friction = 0.3, frequency = 2.0; /* d and w */

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
static bool train(ag_tape *tape, nn_params *params, const nn_mlp *network, uint64_t steps)
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

/* ---- The picture ---- */

/* values (CHECKED) from `low` to `high` as a line from y = bottom up to y = top. */
static void draw_line(FILE *out, const double *values, double low, double high, double bottom,
                      double top, const char *style)
{
    fprintf(out, "<polyline fill=\"none\" %s points=\"", style);
    for (int i = 0; i < CHECKED; i++)
        fprintf(out, "%s%.1f,%.2f", i ? " " : "", 70.0 + 690.0 * i / (CHECKED - 1),
                bottom + (top - bottom) * (values[i] - low) / (high - low));
    fputs("\"/>\n", out);
}

static void draw_axis(FILE *out, double y, const char *label)
{
    fprintf(out,
            "<path d=\"M70 %.1fH760\" stroke=\"#d1d5db\"/>\n"
            "<text x=\"60\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            y, y + 5.0, label);
}

static bool draw(const char *path, const double *u, const double *exact, const double *error,
                 double worst, nn_error *why)
{
    nn_file file;
    char label[2][32];
    if (!nn_file_begin(&file, path, why))
        return false;
    FILE *out = file.stream;
    fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 500\" width=\"800\" "
          "height=\"500\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"14\" "
          "fill=\"#374151\">\n<rect width=\"800\" height=\"500\" fill=\"#ffffff\"/>\n"
          "<text x=\"30\" y=\"34\" font-size=\"19\" font-weight=\"600\">A network solves "
          "u'' + 0.6u' + 4u = 0, u(0) = 1, u'(0) = 0</text>\n"
          "<text x=\"70\" y=\"62\"><tspan fill=\"#d55e00\">closed form (wide)</tspan> and "
          "<tspan fill=\"#0072b2\">network (dashed)</tspan></text>\n"
          "<text x=\"70\" y=\"346\" fill=\"#0072b2\">network minus closed form</text>\n"
          "<text x=\"70\" y=\"488\">t = 0</text>\n"
          "<text x=\"760\" y=\"488\" text-anchor=\"end\">t = 6</text>\n",
          out);
    snprintf(label[0], sizeof label[0], "%.0e", worst);
    snprintf(label[1], sizeof label[1], "%.0e", -worst);
    draw_axis(out, 80.0, "1");
    draw_axis(out, 195.0, "0");
    draw_axis(out, 310.0, "-1");
    draw_axis(out, 362.0, label[0]);
    draw_axis(out, 414.0, "0");
    draw_axis(out, 466.0, label[1]);
    draw_line(out, exact, -1.0, 1.0, 310.0, 80.0,
              "stroke=\"#d55e00\" stroke-width=\"6\" stroke-opacity=\"0.45\"");
    draw_line(out, u, -1.0, 1.0, 310.0, 80.0,
              "stroke=\"#0072b2\" stroke-width=\"2\" stroke-dasharray=\"8 6\"");
    draw_line(out, error, -worst, worst, 466.0, 362.0, "stroke=\"#0072b2\" stroke-width=\"2\"");
    fputs("</svg>\n", out);
    return nn_file_commit(&file, why);
}

/* ---- The program ---- */

/* The network against the closed form, on a grid finer than the points of training. */
static bool measure(ag_tape *tape, const nn_mlp *network, const char *svg, nn_error *error)
{
    double t[CHECKED], u[CHECKED], exact[CHECKED], difference[CHECKED], worst = 0.0;
    for (int i = 0; i < CHECKED; i++)
        exact[i] = closed_form(t[i] = end * i / (CHECKED - 1.0));
    if (!ag_get_f64(solution(network, ag_input_f64(tape, "t", AG_SHAPE(CHECKED, 1), t)), u,
                    CHECKED))
        return nn_fail(error, "%s", ag_error(tape));
    for (int i = 0; i < CHECKED; i++)
        worst = fmax(worst, fabs(difference[i] = u[i] - exact[i]));
    printf("largest error at %d points: %.2e\n", CHECKED, worst);
    return !svg || draw(svg, u, exact, difference, worst, error);
}

int main(int count, char **arguments)
{
    const char *svg = NULL;
    uint64_t steps = 6000, seed = 0;
    const struct option options[] = {
        {"--steps", "N", "steps of training", NULL, &steps, 1, 1000000},
        {"--seed", "N", "of the first weights", NULL, &seed, 0, UINT64_MAX},
        {"--svg", "FILE", "draws solution and error", &svg, NULL, 0, 0}};
    int status;
    if (!command_parse("Solves u'' + 0.6u' + 4u = 0, u(0) = 1, u'(0) = 0 by a network.\n", options,
                       sizeof options / sizeof *options, count, arguments, &status))
        return status;
    nn_error error = {"out of memory"};
    ag_tape *tape = ag_tape_new(AG_F64);
    nn_params *params = tape ? nn_params_new(tape, seed) : NULL;
    nn_mlp network = {0};
    if (params)
        network = nn_mlp_new(params, "", (int64_t[]){1, 32, 32, 1}, 4, ag_sin);
    bool good = params && train(tape, params, &network, steps);
    if (!good && tape)
        nn_fail(&error, "%s", ag_error(tape));
    good = good && measure(tape, &network, svg, &error);
    if (!good)
        fprintf(stderr, "pinn: %s\n", error.text);
    ag_tape_free(tape);
    return command_finish("pinn", good ? DONE : FAILED);
}
