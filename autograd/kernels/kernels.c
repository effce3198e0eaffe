/* Which build of the kernels to run. The build defines KERNELS_AVX2 and KERNELS_AVX512 where it
 * has those builds; baseline is always there. */
#include "kernels.h"

#include <string.h>

/* glibc knows what the processor can do; elsewhere, the compiler's own library finds out. */
#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define SUPPORTS(FEATURE, name) CPU_FEATURE_ACTIVE(FEATURE)
#endif
#endif
#ifndef SUPPORTS
#define SUPPORTS(FEATURE, name) __builtin_cpu_supports(name)
#endif

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
    return SUPPORTS(AVX2, "avx2") && SUPPORTS(FMA, "fma");
}
#endif

#ifdef KERNELS_AVX512
static bool runs_avx512(void)
{
    return SUPPORTS(AVX512F, "avx512f") && SUPPORTS(AVX512DQ, "avx512dq") &&
           SUPPORTS(AVX512VL, "avx512vl") && SUPPORTS(AVX512BW, "avx512bw") && SUPPORTS(FMA, "fma");
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
