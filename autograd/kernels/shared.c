/* Broadcasting, and the order of long sums, for the kernels of every build. */
#include "shared.h"

#include <string.h>

/* ---- Broadcasting ---- */

/* Rows of up to so many bytes, if there are more than a few, are gathered into runs: those that
 * repeat, and those of one element each. */
enum { FEW_ROWS = 8, REPEATED = 512, SPREAD = 64, GATHERED = 4096 };

/* Several rows of an operand are one run of elements, or one element. */
static bool is_run(const struct operand *x, size_t cols)
{
    return (x->row == (ptrdiff_t)cols && (x->col == 1 || cols == 1)) ||
           (x->row == 0 && (x->col == 0 || cols == 1));
}

static const char *row_of(const struct operand *x, size_t row, size_t element)
{
    return (const char *)x->data + (ptrdiff_t)row * x->row * (ptrdiff_t)element;
}

/* cols times the element of each row; may write up to 16 bytes too much. */
#define SPREAD_ROWS(type)                                                                          \
    static void spread_##type(const struct operand *x, size_t first, size_t rows, size_t cols,     \
                              type *to)                                                            \
    {                                                                                              \
        typedef type some __attribute__((vector_size(16)));                                        \
        const type *from = (const type *)x->data + (ptrdiff_t)first * x->row;                      \
        for (size_t r = 0; r < rows; r++, from += x->row, to += cols) {                            \
            const some value = *from - (some){0};                                                  \
            for (size_t c = 0; c < cols; c += sizeof value / sizeof(type))                         \
                memcpy(to + c, &value, sizeof value);                                              \
        }                                                                                          \
    }
SPREAD_ROWS(float)
SPREAD_ROWS(double)

/* Writes rows of an operand, from `first` on, one behind the other. */
static void gather(const struct operand *x, size_t first, size_t rows, size_t cols, size_t element,
                   char *to)
{
    const size_t size = cols * element, all = rows * size;
    if (x->row == 0) {
        memcpy(to, x->data, size);
        for (size_t done = size, more; done < all; done += more) {
            more = done < all - done ? done : all - done;
            memcpy(to + done, to, more);
        }
    } else if (x->col) {
        for (size_t r = 0; r < rows; r++)
            memcpy(to + r * size, row_of(x, first + r, element), size);
    } else if (element == sizeof(float)) {
        spread_float(x, first, rows, cols, (float *)(void *)to);
    } else {
        spread_double(x, first, rows, cols, (double *)(void *)to);
    }
}

/* So many rows at a time as one run. */
static void run_gathered(element_run *run, size_t element, size_t rows, size_t cols, size_t most,
                         int inputs, const struct operand *const *in, unsigned mode, char *z)
{
    _Alignas(KERNEL_ALIGN) char gathered[3][GATHERED + KERNEL_ALIGN];
    for (size_t r = 0, some; r < rows; r += some) {
        const void *at[3];
        some = rows - r < most ? rows - r : most;
        for (int i = 0; i < inputs; i++) {
            bool whole = is_run(in[i], cols);
            at[i] = whole ? (const void *)row_of(in[i], r, element) : gathered[i];
            mode = (mode & ~(1u << i)) | (unsigned)(!whole || in[i]->row != 0) << i;
            if (!whole && (r == 0 || in[i]->row != 0))
                gather(in[i], r, some, cols, element, gathered[i]);
        }
        run(some * cols, at[0], at[1], at[inputs - 1], mode, z + r * cols * element);
    }
}

static void run_rows(element_run *run, size_t element, size_t rows, size_t cols, int inputs,
                     const struct operand *const *in, unsigned mode, char *z)
{
    const struct operand *x = in[0], *y = in[1], *c = in[inputs - 1];
    const char *at_x = x->data, *at_y = y->data, *at_c = c->data;
    const ptrdiff_t size = (ptrdiff_t)element;
    for (int i = 0; i < inputs; i++)
        mode |= (unsigned)(in[i]->col != 0) << i;
    for (size_t r = 0; r < rows; r++, z += cols * element) {
        run(cols, at_x, at_y, at_c, mode, z);
        at_x += x->row * size;
        at_y += y->row * size;
        at_c += c->row * size;
    }
}

void kernels_broadcast(element_run *run, size_t element, size_t rows, size_t cols, int inputs,
                       const struct operand *const *in, unsigned mode, void *z)
{
    size_t size = cols * element, limit = REPEATED;
    bool whole = rows > 1;
    for (int i = 0; i < inputs; i++) {
        whole = whole && is_run(in[i], cols);
        if (in[i]->col == 0 && in[i]->row != 0)
            limit = SPREAD;
    }
    mode |= inputs == 2 ? 4 : 0;
    if (rows == 0 || cols == 0)
        return;
    if (whole || (rows > FEW_ROWS && size <= limit))
        run_gathered(run, element, rows, cols, whole ? rows : GATHERED / size, inputs, in, mode, z);
    else
        run_rows(run, element, rows, cols, inputs, in, mode, z);
}

/* ---- Reductions ----
 *
 * Order of summation, the same for every position along `outer`: columns are summed side by side,
 * each in blocks of BLOCK rows from top to bottom, the blocks' sums pairwise as in a binary counter
 * (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 4.2), so that the error
 * grows with BLOCK + log n. A long narrow array (n, inner) is first read as one of g rows in one,
 * (n/g, g*inner), as wide as four registers at most; the g partial results of a column are folded
 * in halves, and that of the rows left over is added. */

enum { BLOCK = 64, LEVELS = 64, MOST_WIDE = 256 };

/* How results are brought together. */
static enum reduce again(enum reduce kind)
{
    return kind == REDUCE_SUM_SQUARES ? REDUCE_SUM : kind;
}

static const void *element_at(const struct reduction *r, const void *x, size_t i)
{
    return (const char *)x + i * r->element;
}

/* r->wide columns at most, each of more than BLOCK rows. */
static void high_columns(const struct reduction *r, size_t n, size_t cols, size_t stride,
                         const void *x, void *y, enum reduce kind)
{
    _Alignas(KERNEL_ALIGN) char stack[LEVELS][MOST_WIDE];
    size_t depth = 0, quarter = r->wide / 4, registers = (cols + quarter - 1) / quarter * quarter;
    size_t row = MOST_WIDE / r->element;
    for (size_t block = 0; block * BLOCK < n; block++) {
        size_t rows = n - block * BLOCK < BLOCK ? n - block * BLOCK : BLOCK;
        r->columns(rows, cols, stride, element_at(r, x, block * BLOCK * stride), stack[depth++],
                   kind);
        for (size_t carry = block; carry & 1; carry >>= 1, depth--)
            r->columns(2, registers, row, stack[depth - 2], stack[depth - 2], again(kind));
    }
    for (; depth > 1; depth--)
        r->columns(2, registers, row, stack[depth - 2], stack[depth - 2], again(kind));
    memcpy(y, stack[0], cols * r->element);
}

static void all_columns(const struct reduction *r, size_t n, size_t cols, const void *x, void *y,
                        enum reduce kind)
{
    if (n <= BLOCK)
        r->columns(n, cols, cols, x, y, kind);
    else
        for (size_t c = 0; c < cols; c += r->wide)
            high_columns(r, n, cols - c < r->wide ? cols - c : r->wide, cols, element_at(r, x, c),
                         (char *)y + c * r->element, kind);
}

static void narrow_columns(const struct reduction *r, size_t n, size_t inner, const void *x,
                           void *y, enum reduce kind)
{
    _Alignas(KERNEL_ALIGN) char sums[2][MOST_WIDE];
    size_t group = 1, from = 0;
    while (2 * group * inner <= r->wide && 2 * group <= n)
        group *= 2;
    size_t left = n % group;
    all_columns(r, n / group, group * inner, x, sums[0], kind);
    for (; group > 1; from = !from) {
        group /= 2;
        r->columns(2, group * inner, group * inner, sums[from], sums[!from], again(kind));
    }
    if (left > 0) {
        r->columns(left, inner, inner, element_at(r, x, (n - left) * inner),
                   sums[from] + inner * r->element, kind);
        r->columns(2, inner, inner, sums[from], sums[!from], again(kind));
        from = !from;
    }
    memcpy(y, sums[from], inner * r->element);
}

static void long_line(const struct reduction *r, size_t n, const void *x, void *y, enum reduce kind)
{
    _Alignas(KERNEL_ALIGN) char sums[MOST_WIDE], two[2 * sizeof(double)];
    size_t left = n % r->wide;
    all_columns(r, n / r->wide, r->wide, x, sums, kind);
    r->line(r->wide, sums, two, again(kind));
    if (left > 0)
        r->line(left, element_at(r, x, n - left), two + r->element, kind);
    r->line(left > 0 ? 2 : 1, two, y, again(kind));
}

void kernels_reduce(const struct reduction *r, size_t outer, size_t n, size_t inner, const void *x,
                    void *y, enum reduce kind)
{
    enum { FEW = 16 };
    for (size_t o = 0; o < outer; o++) {
        const void *from = element_at(r, x, o * n * inner);
        void *to = (char *)y + o * inner * r->element;
        if (inner == 1 && n <= 2 * r->wide)
            r->line(n, from, to, kind);
        else if (inner == 1)
            long_line(r, n, from, to, kind);
        else if (inner >= r->wide || n <= FEW)
            all_columns(r, n, inner, from, to, kind);
        else
            narrow_columns(r, n, inner, from, to, kind);
    }
}
