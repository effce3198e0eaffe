/* For defining ops, in the files of this folder: what a struct op begins with, the public functions
 * that do nothing but record one, and a file's list of them. */
#ifndef TAPEGRAD_OPS_DEFINE_H
#define TAPEGRAD_OPS_DEFINE_H

#include "ops.h"

/* Its name and number of operands, and how it is written: as a call of its name, or otherwise. */
#define CALLED(title, operands, arguments) WRITTEN(title, operands, title "(" arguments ")", CALL)
#define WRITTEN(title, operands, as, binding)                                                      \
    .name = title, .inputs = operands, .formula = as, .precedence = binding

/* A kernel for each element; of two operands that are broadcast together. */
#define ELEMENTWISE(unary) .forward = unary_forward, .by_rows = element_rows, .kernel = unary
#define BROADCAST(binary)                                                                          \
    .shape = broadcast_shape, .forward = binary_forward, .by_rows = element_rows,                  \
    .kernel = binary, .broadcasts = true

/* It is linear in its first operand and flat in any other. */
#define LINEAR(op) .gradient = linear_gradient, .adjoint = op

/* Its gradient is an op of dy and its result; of dy and its operand. */
#define SLOPE_BY_RESULT(op)  .gradient = result_gradient, .adjoint = op
#define SLOPE_BY_OPERAND(op) .gradient = operand_gradient, .adjoint = op

/* Defines a public function that does nothing but record op: of one operand, of two, of one along
 * an axis. */
#define RECORDS_1(function, op)                                                                    \
    ag_tensor function(ag_tensor x)                                                                \
    {                                                                                              \
        return record(&op, x, NULL);                                                               \
    }
#define RECORDS_2(function, op)                                                                    \
    ag_tensor function(ag_tensor x, ag_tensor y)                                                   \
    {                                                                                              \
        return record2(&op, x, y, NULL);                                                           \
    }
#define RECORDS_ALONG(function, op)                                                                \
    ag_tensor function(ag_tensor x, int axis)                                                      \
    {                                                                                              \
        return reduce_axes(&op, x, AG_AXES(axis), true);                                           \
    }

/* At the end of a file, its ops. */
#define OP_LIST(list, ...)                                                                         \
    static const struct op *const table[] = {__VA_ARGS__};                                         \
    const struct op_list list = {table, sizeof table / sizeof *table};

/* Of function_float and function_double, the one for the tape's elements. */
#define OF_ELEMENTS(tape, function, ...)                                                           \
    ((tape)->dtype == AG_F32 ? function##_float(__VA_ARGS__) : function##_double(__VA_ARGS__))

/* Rules and kernels of one signature need not look at all that it passes. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
