/* The peak measurement of the build that is asked for; the build defines KERNELS_AVX2 and
 * KERNELS_AVX512 as for the kernels. */
#include <string.h>

#include "peak.h"

double peak_operations_baseline_32(size_t rounds, double *sink);
double peak_operations_baseline_64(size_t rounds, double *sink);
double peak_operations_avx2_32(size_t rounds, double *sink);
double peak_operations_avx2_64(size_t rounds, double *sink);
double peak_operations_avx512_32(size_t rounds, double *sink);
double peak_operations_avx512_64(size_t rounds, double *sink);

double peak_operations(const char *isa, bool f64, size_t rounds, double *sink)
{
#ifdef KERNELS_AVX512
    if (!strcmp(isa, "avx512"))
        return (f64 ? peak_operations_avx512_64 : peak_operations_avx512_32)(rounds, sink);
#endif
#ifdef KERNELS_AVX2
    if (!strcmp(isa, "avx2"))
        return (f64 ? peak_operations_avx2_64 : peak_operations_avx2_32)(rounds, sink);
#endif
    return (f64 ? peak_operations_baseline_64 : peak_operations_baseline_32)(rounds, sink);
}
