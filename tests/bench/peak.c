/* The most multiply-adds a core does in a second with one instruction set: independent chains in
 * registers, nothing else. Where there is no fused instruction, a multiplication and an addition
 * count as what they are, two operations. */
#include "autograd/kernels/simd.h"

double KERNEL(peak_operations)(size_t rounds, double *sink);

enum { CHAINS = 12 };

/* Chains are variables: gcc keeps an array of them in memory. */
double KERNEL(peak_operations)(size_t rounds, double *sink)
{
    vec factor = splat((real)1 - (real)1e-6), term = splat((real)1e-6);
    vec a = term, b = a + term, c = b + term, d = c + term, e = d + term, f = e + term;
    vec g = f + term, h = g + term, i = h + term, j = i + term, k = j + term, l = k + term;
    for (size_t r = 0; r < rounds; r++) {
        a = a * factor + term;
        b = b * factor + term;
        c = c * factor + term;
        d = d * factor + term;
        e = e * factor + term;
        f = f * factor + term;
        g = g * factor + term;
        h = h * factor + term;
        i = i * factor + term;
        j = j * factor + term;
        k = k * factor + term;
        l = l * factor + term;
    }
    vec sum = a + b + c + d + e + f + g + h + i + j + k + l;
    *sink += (double)sum[0];
    return 2.0 * CHAINS * (double)(VECTOR_BYTES / sizeof(real)) * (double)rounds;
}
