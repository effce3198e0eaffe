#ifndef TAPEGRAD_BENCH_PEAK_H
#define TAPEGRAD_BENCH_PEAK_H

#include <stdbool.h>
#include <stddef.h>

/* Runs `rounds` of independent multiply-adds with an instruction set that the kernels were built
 * for; returns the number of floating-point operations done. */
double peak_operations(const char *isa, bool f64, size_t rounds, double *sink);

#endif
