/* How training is going, in a line on a terminal. */
#define _DEFAULT_SOURCE /* isatty, ioctl, clock_gettime beside plain C11 */
#include "fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double nn_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void nn_progress_begin(nn_progress *p, FILE *out, size_t epochs, size_t rows_per_epoch)
{
    if (!p)
        return;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool able = out && isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
    *p = (nn_progress){.out = out,
                       .bar = able,
                       .colour = able && !(no_color && *no_color),
                       .digits = snprintf(NULL, 0, "%zu", epochs),
                       .epochs = epochs,
                       .rows = epochs * rows_per_epoch,
                       .start = nn_seconds()};
}

void nn_progress_resume(nn_progress *p, size_t epoch, size_t rows, double train, double validation)
{
    if (!p)
        return;
    p->epoch = epoch;
    p->done = p->skipped = rows;
    p->train = train;
    p->validation = validation;
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* 950 rows/s, 47k rows/s, 1.3M rows/s */
static void write_speed(char *text, size_t size, double rows_per_second)
{
    double x = rows_per_second;
    const char *unit = x >= 1e6 ? "M" : x >= 1e3 ? "k" : "";
    x /= x >= 1e6 ? 1e6 : x >= 1e3 ? 1e3 : 1.0;
    snprintf(text, size, "%.*f%s rows/s", *unit && x < 10.0 ? 1 : 0, x, unit);
}

static double rows_per_second(const nn_progress *p)
{
    double spent = nn_seconds() - p->start;
    return spent > 0.0 ? (double)(p->done - p->skipped) / spent : 0.0;
}

/* Of the last epoch, if there was one; returns how long they are. */
static size_t write_losses(char *text, size_t size, const nn_progress *p)
{
    const char *names[] = {"train", "validation"};
    const double losses[] = {p->train, p->validation};
    int precision = p->decimals ? p->decimals - p->bar : 4;
    text[0] = '\0';
    for (int i = 0; i < 2 && p->epoch; i++) {
        size_t used = strlen(text);
        if (!isnan(losses[i]))
            snprintf(text + used, size - used, p->decimals ? "%s %.*f  " : "%s %#.*g  ", names[i],
                     precision, losses[i]);
    }
    return strlen(text);
}

static void write_bar(const nn_progress *p, size_t width)
{
    size_t full = p->done < p->rows ? p->done * width / p->rows : width;
    fputs(p->colour ? "\033[36m" : "", p->out);
    for (size_t i = 0; i < width; i++) {
        if (i == full)
            fputs(p->colour ? "\033[90m" : "", p->out);
        fputs(i < full ? "\u2501" : "\u2500", p->out);
    }
    fputs(p->colour ? "\033[0m " : " ", p->out);
}

/* What does not fit is left out: the bar first, then the right end of the text. */
static void draw(nn_progress *p)
{
    char head[60], text[30], tail[160];
    double speed = rows_per_second(p);
    double left = speed > 0.0 && p->done < p->rows ? (double)(p->rows - p->done) / speed : 0.0;
    unsigned seconds = (unsigned)(left < 3.6e6 ? left + 0.5 : 3.6e6);
    write_speed(text, sizeof text, speed);
    snprintf(head, sizeof head, "epoch %*zu/%zu ", p->digits,
             p->epoch < p->epochs ? p->epoch + 1 : p->epochs, p->epochs);
    size_t used = write_losses(tail, sizeof tail, p);
    snprintf(tail + used, sizeof tail - used, "%s  %u:%02u left", text, seconds / 60, seconds % 60);

    size_t width = terminal_width(p->out) - 1, length = strlen(head) + strlen(tail) + 1;
    fputs("\r\033[2K", p->out);
    fprintf(p->out, "%.*s", (int)width, head);
    if (width >= length + 4)
        write_bar(p, width - length < 30 ? width - length : 30);
    if (width > strlen(head))
        fprintf(p->out, "%.*s", (int)(width - strlen(head)), tail);
    fflush(p->out);
    p->drawn = true;
    p->shown = nn_seconds();
}

void nn_progress_rows(nn_progress *p, size_t rows)
{
    if (!p)
        return;
    p->done += rows;
    if (p->out && p->bar && nn_seconds() - p->shown > 0.05)
        draw(p);
}

void nn_progress_epoch(nn_progress *p, double train, double validation)
{
    if (!p)
        return;
    p->train = train;
    p->validation = validation;
    p->epoch++;
    size_t every = p->epochs ? (p->epochs - 1) / 10 + 1 : 1;
    bool last = p->epoch == p->epochs;
    if (!p->out)
        return;
    if (p->bar && last)
        draw(p);
    if (p->bar || (!last && p->epoch != 1 && p->epoch % every != 0))
        return;
    char speed[30], losses[160];
    write_speed(speed, sizeof speed, rows_per_second(p));
    write_losses(losses, sizeof losses, p);
    fprintf(p->out, "epoch %*zu/%zu  %s%s\n", p->digits, p->epoch, p->epochs, losses, speed);
    fflush(p->out);
}

void nn_progress_end(nn_progress *p)
{
    if (!p)
        return;
    if (p->drawn)
        fputc('\n', p->out);
    p->drawn = false;
}
