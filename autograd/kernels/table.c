/* The table of one build's kernels. */
#include "internal.h"

#define NAME_(isa) #isa
#define NAME(isa)  NAME_(isa)

#define UNARY_ENTRY(id, name)  [UNARY_##id] = KERNEL(unary_##name),
#define BINARY_ENTRY(id, name) [BINARY_##id] = KERNEL(binary_##name),
#define REDUCE_ENTRY(id, name) [REDUCE_##id] = KERNEL(reduce_##name),

const struct kernels KERNEL(kernels) = {
    .isa = NAME(KERNEL_ISA),
    .element = sizeof(real),
    .unary = {EACH_UNARY(UNARY_ENTRY)},
    .binary = {EACH_BINARY(BINARY_ENTRY)},
    .where = KERNEL(where),
    .reduce = {EACH_REDUCE(REDUCE_ENTRY)},
    .transpose = KERNEL(transpose),
    .fill = KERNEL(fill),
    .matmul_workspace = KERNEL(matmul_workspace),
    .matmul = KERNEL(matmul),
    .sgd = KERNEL(sgd),
    .adam = KERNEL(adam),
};
