#include "curve.h"

#include <math.h>

#include "output.h"

enum { WIDTH = 800, HEIGHT = 480, LEFT = 68, RIGHT = 632, TOP = 112, BOTTOM = 416 };

/* What the axes span: epochs from 0, and losses on a logarithmic scale. */
struct axes {
    double epochs, low, high;
};

static double at_x(const struct axes *a, double epoch)
{
    return LEFT + (RIGHT - LEFT) * epoch / a->epochs;
}

static double at_y(const struct axes *a, double loss)
{
    return BOTTOM - (BOTTOM - TOP) * log(loss / a->low) / log(a->high / a->low);
}

/* 1, 2 or 5 times a power of ten, such that about `count` steps make up `range`. */
static double nice_step(double range, double count)
{
    double power = pow(10.0, floor(log10(range / count))), steps = range / count / power;
    return power * (steps < 1.5 ? 1.0 : steps < 3.5 ? 2.0 : steps < 7.5 ? 5.0 : 10.0);
}

static struct axes find_axes(const struct history *h)
{
    struct axes a = {(double)h->epochs, h->train[0], 0.0};
    for (size_t i = 0; i < h->epochs; i++) {
        a.low = fmin(a.low, fmin(h->train[i], h->validation[i]));
        a.high = fmax(a.high, fmax(h->train[i], h->validation[i]));
    }
    a.low = fmax(a.low, 1e-6 * a.high);
    if (!(a.high > 0.0)) /* no error at all */
        a.low = a.high = 1.0;
    double margin = fmax(pow(a.high / a.low, 0.06), 1.01);
    a.low /= margin;
    a.high *= margin;
    return a;
}

static void draw_y_tick(FILE *out, const struct axes *a, double loss, int decimals)
{
    double y = at_y(a, loss);
    fprintf(out, "<path d=\"M%d %.1fH%d\" stroke=\"#e3e6ea\"/>\n", LEFT, y, RIGHT);
    fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n", LEFT - 10, y + 5.0,
            decimals, loss);
}

/* Decimals that a multiple of `step` needs. */
static int decimals_of(double step)
{
    return step < 1.0 ? (int)ceil(-log10(step) - 1e-9) : 0;
}

/* Over less than a decade equal steps, closer together further up; beyond, powers of ten and their
 * doubles and fivefolds. */
static void draw_y_ticks(FILE *out, const struct axes *a)
{
    if (a->high / a->low < 8.0) {
        double step = nice_step(a->high - a->low, 7.0);
        for (double k = ceil(a->low / step); k * step <= a->high; k++)
            draw_y_tick(out, a, k * step, decimals_of(step));
        return;
    }
    for (double power = pow(10.0, floor(log10(a->low))); power <= a->high; power *= 10.0)
        for (int digit = 1; digit <= 5; digit += digit == 1 ? 1 : 3)
            if (power * digit >= a->low && power * digit <= a->high)
                draw_y_tick(out, a, power * digit, decimals_of(power));
}

static void draw_axes(FILE *out, const struct axes *a)
{
    draw_y_ticks(out, a);
    double step = fmax(nice_step(a->epochs, 8.0), 1.0);
    for (double epoch = 0.0; epoch <= a->epochs; epoch += step) {
        double x = at_x(a, epoch);
        fprintf(out, "<path d=\"M%.1f %dv6\" stroke=\"#6b7280\"/>\n", x, BOTTOM);
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x,
                BOTTOM + 22, epoch);
    }
    fprintf(out, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#6b7280\"/>\n", LEFT, TOP, BOTTOM,
            RIGHT);
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epoch</text>\n",
            (LEFT + RIGHT) / 2, BOTTOM + 48);
    fprintf(out, "<text x=\"%d\" y=\"%d\">root mean squared error, $100,000 (log scale)</text>\n",
            LEFT - 40, TOP - 16);
}

static void draw_line(FILE *out, const struct axes *a, const double *losses, const char *colour)
{
    size_t epochs = (size_t)a->epochs;
    fprintf(out,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.2\" "
            "stroke-linejoin=\"round\" points=\"",
            colour);
    for (size_t i = 0; i < epochs; i++)
        fprintf(out, "%s%.1f,%.1f", i ? " " : "", at_x(a, (double)(i + 1)),
                at_y(a, fmax(losses[i], a->low)));
    fprintf(out, "\"/>\n<circle cx=\"%d\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", RIGHT,
            at_y(a, fmax(losses[epochs - 1], a->low)), colour);
}

static void draw_label(FILE *out, double y, const char *name, double loss, const char *colour)
{
    fprintf(out, "<text x=\"%d\" y=\"%.1f\" fill=\"%s\" font-weight=\"600\">%s %.3f</text>\n",
            RIGHT + 12, y + 4.5, colour, name, loss);
}

/* Both lines, each named at its end; the names keep 18 apart. Colours: Okabe & Ito's blue and
 * vermilion. */
static void draw_lines(FILE *out, const struct axes *a, const struct history *h)
{
    const char *blue = "#0072b2", *red = "#d55e00";
    double train = h->train[h->epochs - 1], validation = h->validation[h->epochs - 1];
    double y_train = at_y(a, fmax(train, a->low)), y_validation = at_y(a, fmax(validation, a->low));
    double push = fmax(0.0, 9.0 - fabs(y_train - y_validation) / 2.0);
    push = y_train < y_validation ? push : -push;
    draw_line(out, a, h->train, blue);
    draw_line(out, a, h->validation, red);
    draw_label(out, y_train - push, "training", train, blue);
    draw_label(out, y_validation + push, "validation", validation, red);
}

static void draw(FILE *out, const struct history *h, const char *caption)
{
    struct axes a = find_axes(h);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, "
            "sans-serif\" font-size=\"14\" fill=\"#374151\">\n"
            "<title>Training and validation loss by epoch</title>\n"
            "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#ffffff\" "
            "stroke=\"#d1d5db\"/>\n"
            "<desc>The training loss is that of each batch before the step that learns from it, "
            "averaged over "
            "the epoch; the validation loss is taken after the epoch.</desc>\n"
            "<text x=\"%d\" y=\"36\" font-size=\"19\" font-weight=\"600\" fill=\"#111827\">"
            "Learning house prices</text>\n"
            "<text x=\"%d\" y=\"60\">%s</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH - 1, HEIGHT - 1, LEFT - 40, LEFT - 40, caption);
    draw_axes(out, &a);
    draw_lines(out, &a, h);
    fputs("</svg>\n", out);
}

bool curve_write(const char *path, const struct history *history, const char *caption)
{
    struct output output;
    if (!output_open(&output, "--loss-curve", path))
        return false;
    draw(output.out, history, caption);
    return output_close(&output);
}
