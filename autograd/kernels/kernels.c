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

#if defined(KERNELS_AVX2) || defined(KERNELS_AVX512)
#include <cpuid.h>

/* Bits of XCR0: the registers that the system keeps for each thread. */
enum { YMM = 0x06, ZMM = 0xe6 };

/* Has this machine FMA and those features of CPUID's leaf 7, and does the system keep these
 * registers? As in Intel's "Software Developer's Manual", volume 1, 14.3 and 15.2. In place of
 * __builtin_cpu_supports, which brings 4 KB along. */
static bool runs(unsigned features, unsigned registers)
{
    unsigned eax, ebx, ecx, edx, kept, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_FMA) || !(ecx & bit_OSXSAVE))
        return false;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    return (kept & registers) == registers && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) &&
           (ebx & features) == features;
}
#endif

static const struct kernels *choose(const char *isa, bool f64)
{
#ifdef KERNELS_AVX512
    if (wanted(isa, "avx512") &&
        runs(bit_AVX512F | bit_AVX512DQ | bit_AVX512VL | bit_AVX512BW, ZMM))
        return f64 ? &kernels_avx512_64 : &kernels_avx512_32;
#endif
#ifdef KERNELS_AVX2
    if (wanted(isa, "avx2") && runs(bit_AVX2, YMM))
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
