/* Which build of the kernels to run. The build defines KERNELS_AVX2 and KERNELS_AVX512 where it
 * has those builds; baseline is always there. */
#include "kernels.h"

#include <string.h>

extern const struct kernels kernels_baseline_32, kernels_baseline_64;
extern const struct kernels kernels_avx2_32, kernels_avx2_64;
extern const struct kernels kernels_avx512_32, kernels_avx512_64;

static bool wanted(const char *isa, const char *name)
{
    return !isa || strcmp(isa, name) == 0;
}

#ifdef KERNELS_AVX2
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef KERNELS_AVX512
static bool runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
}
#endif

static const struct kernels *choose(const char *isa, bool f64)
{
#ifdef KERNELS_AVX512
    if (wanted(isa, "avx512") && runs_avx512())
        return f64 ? &kernels_avx512_64 : &kernels_avx512_32;
#endif
#ifdef KERNELS_AVX2
    if (wanted(isa, "avx2") && runs_avx2())
        return f64 ? &kernels_avx2_64 : &kernels_avx2_32;
#endif
    if (wanted(isa, "baseline"))
        return f64 ? &kernels_baseline_64 : &kernels_baseline_32;
    return NULL;
}

const struct kernels *kernels_f32(const char *isa)
{
    return choose(isa, false);
}

const struct kernels *kernels_f64(const char *isa)
{
    return choose(isa, true);
}
