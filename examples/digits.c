/* The digits of digits_cnn.
 *
 * A digit is a few strokes through points of a grid. Each drawing of it moves every point a little,
 * turns, slants, stretches and shifts the whole, chooses a pen, and puts noise on the paper. Ink is
 * by distance: a pixel is as dark as the pen, a disc, covers it, in a linear approximation. */
#include "digits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 10, SIDE = 16, MAX_POINTS = 16, DRAWN = 5000, HELD_OUT = 2000 };

/* Points "xy" with x and y from 0 to 8, downwards; a slash lifts the pen. */
static const char *const strokes[] = {"40 21 13 15 27 48 67 75 73 61 40",
                                      "22 40 48",
                                      "12 21 40 61 72 73 18 78",
                                      "11 30 60 72 63 44 / 44 64 76 67 48 27 16",
                                      "50 15 75 / 50 58",
                                      "70 20 13 43 64 76 67 38 17",
                                      "60 31 13 16 27 48 67 76 74 53 34 16",
                                      "10 70 38",
                                      "40 21 22 44 66 67 48 27 26 44 62 61 40",
                                      "72 60 30 12 13 34 54 72 75 67 48 28"};

struct pen {
    double x, y;
    bool down; /* ink from the last point to this one */
};

/* Uniform within ±bound. */
static double within(ag_rng *rng, double bound)
{
    return bound * (2.0 * ag_rng_uniform(rng) - 1.0);
}

/* The points of one drawing, in pixels. */
static size_t place(struct pen *points, int digit, ag_rng *rng)
{
    double turn = within(rng, 0.25), slant = within(rng, 0.3), size = 1.25 + within(rng, 0.25);
    double wide = size * (0.85 + within(rng, 0.2)), x0 = within(rng, 1.8), y0 = within(rng, 1.8);
    size_t count = 0;
    bool down = false;
    for (const char *at = strokes[digit]; *at; at += at[1] == ' ' ? 2 : at[2] ? 3 : 2) {
        if (*at == '/') {
            down = false;
            continue;
        }
        double y = size * (at[1] - '4' + within(rng, 0.5));
        double x = wide * (at[0] - '4' + within(rng, 0.5)) - slant * y;
        points[count++] = (struct pen){SIDE / 2.0 + x0 + x * cos(turn) - y * sin(turn),
                                       SIDE / 2.0 + y0 + x * sin(turn) + y * cos(turn), down};
        down = true;
    }
    return count;
}

/* The distance of (x, y) from the line between a and b. */
static double distance(const struct pen *a, const struct pen *b, double x, double y)
{
    double dx = b->x - a->x, dy = b->y - a->y, length = dx * dx + dy * dy;
    double along = length > 0.0 ? ((x - a->x) * dx + (y - a->y) * dy) / length : 0.0;
    along = fmin(fmax(along, 0.0), 1.0);
    return hypot(x - a->x - along * dx, y - a->y - along * dy);
}

static void draw_digit(float *image, int digit, ag_rng *rng)
{
    struct pen points[MAX_POINTS];
    size_t count = place(points, digit, rng);
    double radius = 0.8 + within(rng, 0.35), ink = 0.85 + within(rng, 0.15);
    for (int i = 0; i < SIDE * SIDE; i++) {
        double nearest = HUGE_VAL;
        for (size_t p = 1; p < count; p++)
            if (points[p].down)
                nearest = fmin(nearest, distance(&points[p - 1], &points[p], i % SIDE + 0.5,
                                                 i / SIDE + 0.5));
        double cover = fmin(fmax(radius + 0.5 - nearest, 0.0), 1.0);
        double value = ink * cover + 0.08 * ag_rng_normal(rng);
        image[i] = (float)fmin(fmax(value, 0.0), 1.0);
    }
}

void digits_free(struct digits *digits)
{
    nn_array_free(&digits->images);
    nn_array_free(&digits->labels);
}

static bool draw_set(struct digits *digits, size_t count, ag_rng *rng, nn_error *error)
{
    int64_t n = (int64_t)count;
    *digits = (struct digits){.count = count, .side = SIDE};
    digits->images = (nn_array){AG_SHAPE(n, SIDE, SIDE), count * SIDE * SIDE, NULL, NULL};
    digits->labels = (nn_array){AG_SHAPE(n), count, NULL, NULL};
    digits->images.f32 = calloc(count, SIDE * SIDE * sizeof(float));
    digits->labels.f32 = calloc(count, sizeof(float));
    if (!digits->images.f32 || !digits->labels.f32) {
        digits_free(digits);
        return nn_fail(error, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        int digit = (int)ag_rng_below(rng, 10);
        digits->labels.f32[i] = (float)digit;
        draw_digit(digits->images.f32 + i * SIDE * SIDE, digit, rng);
    }
    return true;
}

/* ---- MNIST ---- */

static bool read_array(nn_array *array, const char *directory, const char *name, const char *what,
                       nn_error *error)
{
    char path[4096];
    for (int gz = 0; gz < 2; gz++) {
        int length =
            snprintf(path, sizeof path, "%s/%s-%s-ubyte%s", directory, name, what, gz ? ".gz" : "");
        if (length < 0 || (size_t)length >= sizeof path)
            return nn_fail(error, "%.80s...: the path is too long", directory);
        FILE *found = gz ? NULL : fopen(path, "rb");
        if (found)
            fclose(found);
        if (found || gz)
            return nn_idx_read(array, AG_F32, path, error);
    }
    return false;
}

static bool fits(const struct digits *digits, const char *name, nn_error *error)
{
    const ag_shape *images = &digits->images.shape;
    if (images->rank != 3 || digits->labels.shape.rank != 1 ||
        images->dim[0] != digits->labels.shape.dim[0] || images->dim[1] != images->dim[2] ||
        images->dim[0] < 1 || images->dim[1] < 8)
        return nn_fail(error, "%s: images and labels are not (N, side, side) and (N)", name);
    for (size_t i = 0; i < digits->labels.count; i++)
        if (digits->labels.f32[i] > 9.0F)
            return nn_fail(error, "%s: label %zu is %g; it must be 0 to 9", name, i,
                           (double)digits->labels.f32[i]);
    return true;
}

static bool read_set(struct digits *digits, const char *directory, const char *name,
                     nn_error *error)
{
    *digits = (struct digits){0};
    if (!read_array(&digits->images, directory, name, "images-idx3", error) ||
        !read_array(&digits->labels, directory, name, "labels-idx1", error) ||
        !fits(digits, name, error)) {
        digits_free(digits);
        return false;
    }
    digits->count = digits->labels.count;
    digits->side = (size_t)digits->images.shape.dim[1];
    for (size_t i = 0; i < digits->images.count; i++)
        digits->images.f32[i] /= 255.0F;
    return true;
}

bool digits_get(struct digits *train, struct digits *test, const char *directory, uint64_t seed,
                nn_error *error)
{
    ag_rng rng;
    ag_rng_seed(&rng, seed);
    if (!directory)
        return draw_set(train, DRAWN, &rng, error) && draw_set(test, HELD_OUT, &rng, error);
    return read_set(train, directory, "train", error) && read_set(test, directory, "t10k", error) &&
           (test->side == train->side ||
            nn_fail(error, "%s: training and test images differ in size", directory));
}

/* ---- For training ---- */

/* Four times a coin is tossed for each image: whether it moves to the right, left, down and up. */
ag_tensor digits_moved(ag_tensor images)
{
    ag_tensor one = ag_full(images.tape, AG_SHAPE(ag_shape_of(images).dim[0], 1, 1, 1), 1.0);
    for (int way = 0; way < 4; way++) {
        ag_shape before = {4, {0}}, after = {4, {0}};
        ag_ranges kept = AG_RANGES(AG_ALL, AG_ALL, AG_ALL, AG_ALL);
        int axis = way < 2 ? 3 : 2;
        if (way % 2) {
            after.dim[axis] = 1;
            kept.range[axis].start = 1;
        } else {
            before.dim[axis] = 1;
            kept.range[axis].stop = -1;
        }
        ag_tensor moved = ag_slice(ag_pad(images, before, after, 0.0), kept);
        ag_tensor coin = ag_mul_scalar(ag_dropout(one, 0.5, true), 0.5); /* 0 or 1 */
        images = ag_add(images, ag_mul(coin, ag_sub(moved, images)));
    }
    return images;
}

/* ---- The report ---- */

void digits_report(const struct digits *digits, const float *predicted)
{
    size_t taken[DIGITS][DIGITS] = {0}, right = 0;
    for (size_t i = 0; i < digits->count; i++) {
        taken[(int)digits->labels.f32[i]][(int)predicted[i]]++;
        right += digits->labels.f32[i] == predicted[i];
    }
    printf("\n%12s", "taken for");
    for (int i = 0; i < DIGITS; i++)
        printf("%5d", i);
    for (int label = 0; label < DIGITS; label++) {
        printf("\n%12d", label);
        for (int i = 0; i < DIGITS; i++)
            taken[label][i] ? printf("%5zu", taken[label][i]) : printf("%5s", ".");
    }
    printf("\n\naccuracy: %.2f%% (%zu of %zu digits that training has not seen)\n",
           100.0 * (double)right / (double)digits->count, right, digits->count);
}

/* ---- The picture ---- */

enum { COLUMNS = 12, SHOWN = 60, TONES = 6 };

/* Each tone of ink is a path of horizontal runs of pixels. */
static void picture_image(FILE *out, const float *image, size_t side)
{
    for (int tone = 1; tone <= TONES; tone++) {
        int grey = 255 - 255 * tone / TONES;
        fprintf(out, "<path stroke=\"#%02x%02x%02x\" d=\"", grey, grey, grey);
        for (size_t y = 0; y < side; y++)
            for (size_t x = 0, run; x < side; x += run) {
                for (run = 0; x + run < side; run++)
                    if ((int)(image[y * side + x + run] * TONES + 0.5F) != tone)
                        break;
                if (run)
                    fprintf(out, "M%zu %zu.5h%zu", x, y, run);
                run += run == 0;
            }
        fputs("\"/>\n", out);
    }
}

static void picture_digit(FILE *out, const struct digits *digits, size_t i, int predicted,
                          int place)
{
    int label = (int)digits->labels.f32[i], x = 24 + 64 * (place % COLUMNS);
    int y = 64 + 84 * (place / COLUMNS);
    bool right = predicted == label;
    fprintf(out, "<g transform=\"translate(%d %d) scale(%.4f)\">\n", x, y,
            56.0 / (double)digits->side);
    picture_image(out, digits->images.f32 + i * digits->side * digits->side, digits->side);
    fprintf(out,
            "</g>\n<rect x=\"%d\" y=\"%d\" width=\"56\" height=\"56\" fill=\"none\" stroke=\"%s\" "
            "stroke-width=\"%d\"/>\n",
            x, y, right ? "#d1d5db" : "#d55e00", right ? 1 : 3);
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\"%s>", x + 28, y + 73,
            right ? "" : " fill=\"#d55e00\" font-weight=\"600\"");
    fprintf(out, right ? "%d</text>\n" : "%d, is %d</text>\n", predicted, label);
}

bool digits_picture(const struct digits *digits, const float *predicted, const char *path,
                    nn_error *error)
{
    nn_file file;
    size_t wrong = 0;
    int place = 0;
    if (!nn_file_begin(&file, path, error))
        return false;
    for (size_t i = 0; i < digits->count; i++)
        wrong += predicted[i] != digits->labels.f32[i];
    fprintf(file.stream,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 808 490\" width=\"808\" "
            "height=\"490\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"14\" "
            "fill=\"#374151\" shape-rendering=\"crispEdges\">\n"
            "<rect width=\"808\" height=\"490\" fill=\"#ffffff\"/>\n"
            "<text x=\"24\" y=\"38\" font-size=\"19\" font-weight=\"600\">%zu digits never seen in "
            "training, %zu taken for another: those first</text>\n",
            digits->count, wrong);
    for (int right = 0; right < 2; right++)
        for (size_t i = 0; i < digits->count && place < SHOWN; i++)
            if ((predicted[i] == digits->labels.f32[i]) == (right == 1))
                picture_digit(file.stream, digits, i, (int)predicted[i], place++);
    fputs("</svg>\n", file.stream);
    return nn_file_commit(&file, error);
}
