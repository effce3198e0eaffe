/* OpenBLAS, where this machine has it: found when the program runs, so that nothing needs it. */
#ifndef TAPEGRAD_BENCH_BLAS_H
#define TAPEGRAD_BENCH_BLAS_H

#include <stdbool.h>

#include "autograd/kernels/kernels.h"

/* With one thread, and the instruction set that is forced on the engine, if one is. False if there
 * is none. */
bool blas_open(const char *forced_isa);

/* C = op(A)·op(B), as the engine's kernel is asked for it. */
void blas_product(const struct matmul *product, bool f64);

#endif
