/* What a programmer gets who writes the loop and lets gcc -Ofast find the C library's vector
 * functions (libmvec). */
#include "autograd/kernels/simd.h"

#define LOOP(name, value)                                                                          \
    void KERNEL(mvec_##name)(size_t n, const void *in, void *out);                                 \
    void KERNEL(mvec_##name)(size_t n, const void *in, void *out)                                  \
    {                                                                                              \
        const real *restrict x = in;                                                               \
        real *restrict y = out;                                                                    \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = value;                                                                          \
    }

LOOP(exp, LIBM(exp)(x[i]))
LOOP(log, LIBM(log)(x[i]))
LOOP(sigmoid, 1 / (1 + LIBM(exp)(-x[i])))
LOOP(tanh, LIBM(tanh)(x[i]))
LOOP(erf, LIBM(erf)(x[i]))
LOOP(sin, LIBM(sin)(x[i]))
LOOP(cos, LIBM(cos)(x[i]))
