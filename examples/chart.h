/* Charts of lines for the examples, as SVG. */
#ifndef EXAMPLES_CHART_H
#define EXAMPLES_CHART_H

#include <nn/nn.h>

#define CHART_BLUE   "#0072b2" /* Okabe & Ito's */
#define CHART_ORANGE "#d55e00"
#define CHART_GREY   "#4b5563"

enum chart_style { CHART_PLAIN, CHART_WIDE, CHART_DASHED }; /* wide: to see another line on it */

struct chart_line {
    const char *name, *colour;
    enum chart_style style;
    const double *values; /* (points of its chart) */
};

struct chart_panel {
    double low, high;
    int height; /* pixels */
    size_t count;
    const struct chart_line *lines; /* (count) */
};

/* Panels one below the other, over one horizontal axis from its first label to its last. */
struct chart {
    const char *title, *first, *last;
    size_t points, count;
    const struct chart_panel *panels; /* (count) */
};

bool chart_write(const struct chart *chart, const char *path, nn_error *error);

#endif
