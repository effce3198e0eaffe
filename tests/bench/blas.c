#define _POSIX_C_SOURCE 200112L /* setenv */
#include "blas.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, AS_STORED = 111, TRANSPOSED = 112 }; /* cblas.h */

static void (*sgemm)(int order, int a_transposed, int b_transposed, int m, int n, int k,
                     float alpha, const void *a, int lda, const void *b, int ldb, float beta,
                     void *c, int ldc);
static void (*dgemm)(int order, int a_transposed, int b_transposed, int m, int n, int k,
                     double alpha, const void *a, int lda, const void *b, int ldb, double beta,
                     void *c, int ldc);

bool blas_open(const char *forced_isa)
{
    if (forced_isa && !strcmp(forced_isa, "baseline"))
        setenv("OPENBLAS_CORETYPE", "Prescott", 0);
    if (forced_isa && !strcmp(forced_isa, "avx2"))
        setenv("OPENBLAS_CORETYPE", "Haswell", 0);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&dgemm = dlsym(library, "cblas_dgemm");
    return sgemm && dgemm;
}

void blas_product(const struct matmul *p, bool f64)
{
    int m = (int)p->m, n = (int)p->n, k = (int)p->k;
    int lda = (int)p->lda, ldb = (int)p->ldb, ldc = (int)p->ldc;
    int a = p->a_transposed ? TRANSPOSED : AS_STORED, b = p->b_transposed ? TRANSPOSED : AS_STORED;
    if (f64)
        dgemm(ROW_MAJOR, a, b, m, n, k, 1.0, p->a, lda, p->b, ldb, 0.0, p->c, ldc);
    else
        sgemm(ROW_MAJOR, a, b, m, n, k, 1.0f, p->a, lda, p->b, ldb, 0.0f, p->c, ldc);
}
