/* Which build of what the engine is held against to run; the build defines KERNELS_AVX2 and
 * KERNELS_AVX512 as for the kernels, and HAVE_LIBMVEC where the compiler calls that. */
#include "beside.h"

#include <string.h>

#ifdef HAVE_LIBMVEC
#define DECLARE_FUNCTION(name) void name(size_t n, const void *x, void *y);
#define DECLARE_FUNCTIONS(build)                                                                   \
    DECLARE_FUNCTION(mvec_exp_##build)                                                             \
    DECLARE_FUNCTION(mvec_log_##build)                                                             \
    DECLARE_FUNCTION(mvec_sigmoid_##build)                                                         \
    DECLARE_FUNCTION(mvec_tanh_##build)                                                            \
    DECLARE_FUNCTION(mvec_erf_##build)                                                             \
    DECLARE_FUNCTION(mvec_sin_##build)                                                             \
    DECLARE_FUNCTION(mvec_cos_##build)
#define FUNCTIONS(build)                                                                           \
    {                                                                                              \
        [UNARY_EXP] = mvec_exp_##build, [UNARY_LOG] = mvec_log_##build,                            \
        [UNARY_SIGMOID] = mvec_sigmoid_##build, [UNARY_TANH] = mvec_tanh_##build,                  \
        [UNARY_ERF] = mvec_erf_##build, [UNARY_SIN] = mvec_sin_##build,                            \
        [UNARY_COS] = mvec_cos_##build                                                             \
    }
#else
#define DECLARE_FUNCTIONS(build)
#define FUNCTIONS(build)                                                                           \
    {                                                                                              \
        NULL                                                                                       \
    }
#endif

#define BESIDE(build)                                                                              \
    double peak_operations_##build(size_t rounds, double *sink);                                   \
    hand_step hand_by_blocks_##build, hand_by_row_##build;                                         \
    DECLARE_FUNCTIONS(build)                                                                       \
    static const struct beside beside_##build = {peak_operations_##build, hand_by_blocks_##build,  \
                                                 hand_by_row_##build, FUNCTIONS(build)};

BESIDE(baseline_32)
BESIDE(baseline_64)
#ifdef KERNELS_AVX2
BESIDE(avx2_32)
BESIDE(avx2_64)
#endif
#ifdef KERNELS_AVX512
BESIDE(avx512_32)
BESIDE(avx512_64)
#endif

const struct beside *beside(const char *isa, bool f64)
{
    (void)isa;
#ifdef KERNELS_AVX512
    if (!strcmp(isa, "avx512"))
        return f64 ? &beside_avx512_64 : &beside_avx512_32;
#endif
#ifdef KERNELS_AVX2
    if (!strcmp(isa, "avx2"))
        return f64 ? &beside_avx2_64 : &beside_avx2_32;
#endif
    return f64 ? &beside_baseline_64 : &beside_baseline_32;
}
