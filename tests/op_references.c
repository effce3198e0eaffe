#include "op_references.h"

#include <math.h>
#include <string.h>

int64_t count_of(const ag_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= shape->dim[i];
    return count;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Where element i of an array shaped `whole` is found in one shaped `part` that broadcasts to it.
 */
static int64_t position(const ag_shape *part, const ag_shape *whole, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int a = whole->rank - 1, b = part->rank - 1; b >= 0; a--, b--) {
        if (part->dim[b] > 1)
            at += i % whole->dim[a] * step;
        i /= whole->dim[a];
        step *= part->dim[b];
    }
    return at;
}

static ag_shape common_shape(ag_shape a, ag_shape b)
{
    ag_shape shape = a.rank > b.rank ? a : b;
    for (int i = 1; i <= a.rank && i <= b.rank; i++)
        shape.dim[shape.rank - i] = larger(a.dim[a.rank - i], b.dim[b.rank - i]);
    return shape;
}

void map1(double (*f)(double), const struct array *x, struct array *y)
{
    y->shape = x->shape;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[i] = f(x->at[i]);
}

void map2(double (*f)(double, double), const struct array *x, const struct array *y,
          struct array *z)
{
    z->shape = common_shape(x->shape, y->shape);
    for (int64_t i = 0; i < count_of(&z->shape); i++)
        z->at[i] =
            f(x->at[position(&x->shape, &z->shape, i)], y->at[position(&y->shape, &z->shape, i)]);
}

void transpose_reference(const struct array *x, struct array *y)
{
    y->shape = x->shape;
    int64_t rows = x->shape.dim[x->shape.rank - 2], cols = x->shape.dim[x->shape.rank - 1];
    y->shape.dim[x->shape.rank - 2] = cols;
    y->shape.dim[x->shape.rank - 1] = rows;
    for (int64_t i = 0; i < count_of(&x->shape); i++) {
        int64_t matrix = i / (rows * cols), r = i / cols % rows, c = i % cols;
        y->at[matrix * rows * cols + c * rows + r] = x->at[i];
    }
}

/* x as a stack of matrices; a vector becomes a row or a column. */
static struct array as_matrices(const struct array *x, bool column)
{
    struct array matrices = *x;
    if (x->shape.rank == 1)
        matrices.shape = column ? AG_SHAPE(x->shape.dim[0], 1) : AG_SHAPE(1, x->shape.dim[0]);
    return matrices;
}

void product_reference(const struct array *x, const struct array *y, bool y_turned, struct array *z)
{
    struct array a = as_matrices(x, false), b = as_matrices(y, true), turned;
    if (y_turned) {
        transpose_reference(&b, &turned);
        b = turned;
    }
    ag_shape batch[2] = {a.shape, b.shape};
    int64_t m = a.shape.dim[a.shape.rank - 2], k = a.shape.dim[a.shape.rank - 1],
            n = b.shape.dim[b.shape.rank - 1];
    batch[0].rank -= 2;
    batch[1].rank -= 2;
    ag_shape outer = common_shape(batch[0], batch[1]);
    for (int64_t p = 0; p < count_of(&outer); p++) {
        const double *pa = a.at + position(&batch[0], &outer, p) * m * k,
                     *pb = b.at + position(&batch[1], &outer, p) * k * n;
        for (int64_t i = 0; i < m * n; i++) {
            z->at[p * m * n + i] = 0.0;
            for (int64_t j = 0; j < k; j++)
                z->at[p * m * n + i] += pa[i / n * k + j] * pb[j * n + i % n];
        }
    }
    z->shape = outer;
    if (x->shape.rank > 1)
        z->shape.dim[z->shape.rank++] = m;
    if (y->shape.rank > 1)
        z->shape.dim[z->shape.rank++] = n;
}

void sum_to_reference(const struct array *x, ag_shape shape, struct array *y)
{
    y->shape = shape;
    memset(y->at, 0, sizeof y->at);
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        y->at[position(&shape, &x->shape, i)] += x->at[i];
}

void broadcast_reference(const struct array *x, ag_shape shape, struct array *y)
{
    y->shape = shape;
    for (int64_t i = 0; i < count_of(&shape); i++)
        y->at[i] = x->at[position(&x->shape, &shape, i)];
}

void reduce_reference(const struct array *x, unsigned axes, bool keep, enum reduction how,
                      struct array *y)
{
    struct array terms = *x;
    ag_shape kept = x->shape;
    double n = 1.0;
    y->shape.rank = 0;
    for (int64_t i = 0; i < count_of(&x->shape); i++)
        terms.at[i] *= how == MEAN_SQUARE_OF ? x->at[i] : 1.0;
    for (int i = 0; i < kept.rank; i++)
        if (axes >> i & 1u) {
            n *= (double)kept.dim[i];
            kept.dim[i] = 1;
        }
    sum_to_reference(&terms, kept, y);
    for (int64_t i = 0; how != SUM_OF && i < count_of(&kept); i++)
        y->at[i] /= n;
    y->shape.rank = 0;
    for (int i = 0; i < kept.rank; i++)
        if (keep || !(axes >> i & 1u))
            y->shape.dim[y->shape.rank++] = kept.dim[i];
}

/* ---- Elements ---- */

double plus(double x, double y)
{
    return x + y;
}

double minus(double x, double y)
{
    return x - y;
}

double times(double x, double y)
{
    return x * y;
}

double over(double x, double y)
{
    return x / y;
}

double negative(double x)
{
    return -x;
}

double squared(double x)
{
    return x * x;
}

double logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

double ramp(double x)
{
    return x > 0.0 ? x : 0.0;
}

double logistic_slope(double dy, double y)
{
    return dy * y * (1.0 - y);
}

double tanh_slope(double dy, double y)
{
    return dy * (1.0 - y * y);
}

double ramp_slope(double dy, double y)
{
    return y > 0.0 ? dy : 0.0;
}
