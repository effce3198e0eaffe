/* Convolution, image by image and group by group.
 *
 * The windows of some rows of places are put side by side, (taps, places) with a tap for each
 * weight of an output, as many rows as stay in cache; a product with the weights (outputs, taps)
 * does the rest. Chellapilla, Puri & Simard, "High Performance Convolutional Neural Networks for
 * Document Processing", 2006. Gradients are the same products transposed. */
#include "convolve.h"

#include <string.h>

enum { CACHED = 384 << 10 }; /* bytes of windows side by side */

/* ---- The work of one thread ---- */

struct work {
    ag_tape *tape;
    const struct convolution *c;
    const struct axis *axis;
    enum convolved result;
    char *data[CONVOLVED]; /* the result is written, the others are only read */
    ptrdiff_t element;     /* bytes */
    char *windows, *workspace;
};

/* The windows are the image as it is. */
static bool pointwise(const struct convolution *c)
{
    const struct axis *a = c->window.axis;
    return c->kernel == 1 && a[0].stride == 1 && a[1].stride == 1 && !a[0].padding && !a[1].padding;
}

/* Element `index` of something, counted in planes of so many elements. */
static char *plane(const struct work *k, char *of, int64_t index, int64_t elements)
{
    return of + (ptrdiff_t)(index * elements) * k->element;
}

/* ---- Windows side by side ---- */

/* The places of an axis at which tap number k is within the image. */
static struct span inside(const struct axis *a, int64_t k)
{
    int64_t offset = k * a->dilation - a->padding; /* a place p reads p * stride + offset */
    int64_t begin = offset < 0 ? (a->stride - 1 - offset) / a->stride : 0;
    int64_t end = offset < a->size ? (a->size - 1 - offset) / a->stride + 1 : 0;
    end = end < a->places ? end : a->places;
    return (struct span){begin < end ? begin : end, end};
}

/* What tap number i of each channel sees of its image at some rows of places goes to its windows,
 * (rows, cols), with zeros where that is nothing; or back, added up. */
static void move_taps(const struct work *k, int64_t i, int64_t first, int64_t rows, char *images,
                      bool back)
{
    const struct axis *a = k->axis;
    int64_t ky = i / a[1].kernel, kx = i % a[1].kernel, cols = a[1].places;
    struct span y = inside(&a[0], ky), x = inside(&a[1], kx);
    int64_t top = y.begin > first ? y.begin : first;
    int64_t end = y.end < first + rows ? y.end : first + rows;
    struct steps here = {(ptrdiff_t)cols, 1},
                 there = {(ptrdiff_t)(a[0].stride * a[1].size), (ptrdiff_t)a[1].stride};
    struct block b = {(size_t)(end > top ? end - top : 0), (size_t)(x.end - x.begin),
                      back ? here : there, back ? there : here, back};
    int64_t from = (top * a[0].stride + ky * a[0].dilation - a[0].padding) * a[1].size +
                   x.begin * a[1].stride + kx * a[1].dilation - a[1].padding;
    for (int64_t channel = 0; channel < k->c->channels; channel++) {
        char *tap = plane(k, k->windows, channel * k->c->kernel + i, rows * cols);
        char *image = plane(k, images, channel, a[0].size * a[1].size);
        if (!back && (b.rows < (size_t)rows || b.cols < (size_t)cols))
            k->tape->kernels->fill((size_t)(rows * cols), 0.0, tap);
        if (!b.rows || !b.cols)
            continue;
        tap += ((top - first) * cols + x.begin) * k->element;
        image += from * k->element;
        move_block(k->tape, &b, back ? tap : image, back ? image : tap);
    }
}

static void move_windows(const struct work *k, int64_t first, int64_t rows, char *images, bool back)
{
    for (int64_t i = 0; i < k->c->kernel; i++)
        move_taps(k, i, first, rows, images, back);
}

/* Rows of places whose windows stay in cache. */
static int64_t rows_at_once(const struct convolution *c, size_t element)
{
    const struct axis *a = c->window.axis;
    int64_t rows = CACHED / (c->taps * a[1].places * (int64_t)element);
    return rows >= a[0].places || pointwise(c) ? a[0].places : rows < 1 ? 1 : rows;
}

/* Some rows of places of a group of an image: x and y are the group's, w is that of `outputs` of
 * them. */
static void convolve_rows(const struct work *k, int64_t first, int64_t rows, char *x, char *w,
                          char *y, int64_t outputs, bool more)
{
    size_t n = (size_t)(rows * k->axis[1].places), taps = (size_t)k->c->taps;
    size_t all = (size_t)k->c->places;
    bool as_it_is = pointwise(k->c);
    char *windows = as_it_is ? x : k->windows;
    y += first * (ptrdiff_t)k->axis[1].places * k->element;
    struct matmul p = {.m = (size_t)outputs,
                       .n = n,
                       .k = taps,
                       .a = w,
                       .lda = taps,
                       .b = windows,
                       .ldb = n,
                       .c = y,
                       .ldc = all,
                       .activation = UNARY_COUNT,
                       .workspace = k->workspace};
    if (k->result == INPUT) { /* windows = wᵀ @ y */
        p.m = taps;
        p.k = (size_t)outputs;
        p.a_transposed = true;
        p.b = y;
        p.ldb = all;
        p.c = windows;
        p.ldc = n;
        k->tape->kernels->matmul(&p);
        if (!as_it_is)
            move_windows(k, first, rows, x, true);
        return;
    }
    if (k->result == WEIGHTS) { /* w = y @ windowsᵀ, added up */
        p.n = taps;
        p.k = n;
        p.a = y;
        p.lda = all;
        p.b_transposed = true;
        p.c = w;
        p.ldc = taps;
        p.accumulate = more;
    }
    if (!as_it_is)
        move_windows(k, first, rows, x, false);
    k->tape->kernels->matmul(&p);
}

/* Outputs from ... to-1 of a group of an image. `more`: w has already some of what comes. */
static void convolve_group(const struct work *k, int64_t image, int64_t group, int64_t from,
                           int64_t to, bool more)
{
    const struct convolution *c = k->c;
    int64_t number = image * c->groups + group, size = k->axis[0].size * k->axis[1].size;
    char *x = plane(k, k->data[INPUT], number * c->channels, size);
    char *y = plane(k, k->data[OUTPUT], number * c->outputs + from, c->places);
    char *w = plane(k, k->data[WEIGHTS], group * c->outputs + from, c->taps);
    int64_t at_once = rows_at_once(c, (size_t)k->element), all = k->axis[0].places;
    if (k->result == INPUT && !pointwise(c))
        memset(x, 0, (size_t)(c->channels * size) * (size_t)k->element);
    for (int64_t first = 0; first < all; first += at_once)
        convolve_rows(k, first, all - first < at_once ? all - first : at_once, x, w, y, to - from,
                      more || first > 0);
}

/* ---- All of it ---- */

static size_t windows_bytes(const struct convolution *c, size_t element)
{
    int64_t count = c->taps * c->window.axis[1].places * rows_at_once(c, element);
    return pointwise(c) ? 0 : aligned((size_t)count * element);
}

size_t convolve_workspace(const ag_tape *tape, const struct convolution *c)
{
    const struct kernels *k = tape->kernels;
    size_t n = (size_t)(rows_at_once(c, k->element) * c->window.axis[1].places);
    size_t taps = (size_t)c->taps, outputs = (size_t)c->outputs;
    const size_t sizes[] = {k->matmul_workspace(outputs, n, taps),
                            k->matmul_workspace(taps, n, outputs),
                            k->matmul_workspace(outputs, taps, n)};
    size_t most = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        most = sizes[i] > most ? sizes[i] : most;
    return windows_bytes(c, k->element) + most;
}

/* Each window is moved, and multiplied for each output. */
double convolve_work(const ag_tape *tape, const struct record *r)
{
    const struct convolution *c = r->attr.plan;
    double windows = (double)c->images * (double)(c->groups * c->taps) * (double)c->places;
    return windows * (0.2 + 0.025 * (double)c->outputs);
}

/* Images first ... first+count-1; or, of the weights, those outputs of all groups: a sum over the
 * images is made by one thread, in order. */
static void convolve_share(void *context, size_t first, size_t count, int thread)
{
    struct work k = *(const struct work *)context;
    const struct convolution *c = k.c;
    bool weights = k.result == WEIGHTS;
    int64_t begin = (int64_t)first, end = begin + (int64_t)count, outputs = c->outputs;
    k.windows = workspace_of(k.tape, thread);
    k.workspace = k.windows + windows_bytes(c, (size_t)k.element);
    for (int64_t image = weights ? 0 : begin; image < (weights ? c->images : end); image++)
        for (int64_t group = 0; group < c->groups; group++) {
            int64_t from = weights ? begin - group * outputs : 0;
            int64_t to = weights ? end - group * outputs : outputs;
            from = from > 0 ? from : 0;
            to = to < outputs ? to : outputs;
            if (from < to)
                convolve_group(&k, image, group, from, to, image > 0);
        }
}

void convolve(ag_tape *tape, const struct record *r)
{
    const struct convolution *c = r->attr.plan;
    int result = r->op->kernel, threads = threads_for(tape, convolve_work(tape, r));
    struct work k = {.tape = tape,
                     .c = c,
                     .axis = c->window.axis,
                     .result = (enum convolved)result,
                     .element = (ptrdiff_t)element_size(tape)};
    k.data[result] = r->data;
    for (int i = 0; i < 2; i++)
        k.data[place_of(result, i)] = input_of(tape, r, i)->data;
    threads = threads > 1 ? give_workspaces(tape, threads, tape->workspace.size) : 1;
    int64_t n = result == WEIGHTS ? c->groups * c->outputs : c->images;
    run_shares(tape, threads, (size_t)n, 1, convolve_share, &k);
}
