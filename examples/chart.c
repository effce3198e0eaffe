#include "chart.h"

enum { LEFT = 70, RIGHT = 760, WIDTH = 800, HEAD = 36, LEGEND = 46, FOOT = 40 };

static const char *const styles[] = {
    [CHART_PLAIN] = "stroke-width=\"2\"",
    [CHART_WIDE] = "stroke-width=\"6\" stroke-opacity=\"0.45\"",
    [CHART_DASHED] = "stroke-width=\"2\" stroke-dasharray=\"8 6\"",
};

/* A panel between y = top and y = top + height: a line at its least value, its greatest and the one
 * between, then its lines, and their names above it. */
static void draw_panel(FILE *out, const struct chart_panel *p, size_t points, int top)
{
    double last = points > 1 ? (double)points - 1.0 : 1.0;
    for (int i = 0; i <= 2; i++) {
        double y = top + p->height * i / 2.0;
        fprintf(out,
                "<path d=\"M%d %.1fH%d\" stroke=\"#d1d5db\"/>\n"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.2g</text>\n",
                LEFT, y, RIGHT, LEFT - 10, y + 5.0, p->high + (p->low - p->high) * i / 2.0);
    }
    for (size_t i = 0; i < p->count; i++) {
        const struct chart_line *line = &p->lines[i];
        fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" %s points=\"", line->colour,
                styles[line->style]);
        for (size_t k = 0; k < points; k++)
            fprintf(out, "%s%.1f,%.2f", k ? " " : "",
                    LEFT + (double)(RIGHT - LEFT) * (double)k / last,
                    top + p->height * (p->high - line->values[k]) / (p->high - p->low));
        fputs("\"/>\n", out);
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\">", LEFT, top - 14);
    for (size_t i = 0; i < p->count; i++)
        fprintf(out, "%s<tspan fill=\"%s\">%s</tspan>", i ? ", " : "", p->lines[i].colour,
                p->lines[i].name);
    fputs("</text>\n", out);
}

bool chart_write(const struct chart *chart, const char *path, nn_error *error)
{
    nn_file file;
    int height = HEAD + FOOT, top = HEAD;
    if (!nn_file_begin(&file, path, error))
        return false;
    for (size_t i = 0; i < chart->count; i++)
        height += LEGEND + chart->panels[i].height;
    fprintf(file.stream,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"14\" "
            "fill=\"#374151\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
            "<text x=\"30\" y=\"34\" font-size=\"19\" font-weight=\"600\">%s</text>\n"
            "<text x=\"%d\" y=\"%d\">%s</text>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
            WIDTH, height, WIDTH, height, WIDTH, height, chart->title, LEFT, height - 14,
            chart->first, RIGHT, height - 14, chart->last);
    for (size_t i = 0; i < chart->count; i++) {
        draw_panel(file.stream, &chart->panels[i], chart->points, top + LEGEND);
        top += LEGEND + chart->panels[i].height;
    }
    fputs("</svg>\n", file.stream);
    return nn_file_commit(&file, error);
}
