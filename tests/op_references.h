/* Naive implementations in double, of what ops on whole arrays should give. */
#ifndef TAPEGRAD_OP_REFERENCES_H
#define TAPEGRAD_OP_REFERENCES_H

#include "op_cases.h"

enum reduction { SUM_OF, MEAN_OF, MEAN_SQUARE_OF };

void map1(double (*f)(double), const struct array *x, struct array *y);
void map2(double (*f)(double, double), const struct array *x, const struct array *y,
          struct array *z);

/* NumPy's matmul; y_turned: y is (n, k). */
void product_reference(const struct array *x, const struct array *y, bool y_turned,
                       struct array *z);
void reduce_reference(const struct array *x, unsigned axes, bool keep, enum reduction how,
                      struct array *y);
void transpose_reference(const struct array *x, struct array *y);
void broadcast_reference(const struct array *x, ag_shape shape, struct array *y);
void sum_to_reference(const struct array *x, ag_shape shape, struct array *y);

int64_t count_of(const ag_shape *shape);

/* Functions of elements. */
double plus(double x, double y);
double minus(double x, double y);
double times(double x, double y);
double over(double x, double y);
double negative(double x);
double squared(double x);
double logistic(double x);
double ramp(double x);
double logistic_slope(double dy, double y);
double tanh_slope(double dy, double y);
double ramp_slope(double dy, double y);

#endif
