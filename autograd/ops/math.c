/* Powers and the functions of a mathematics library. */
#include "ops.h"

/* ---- z = x^y: dz/dx = y x^(y-1), dz/dy = z log(x) ---- */

/* At x = 0 neither rule may multiply 0 by infinity: 0^0 is 1 whatever y, and log(x) counts as 0. */
static ag_tensor pow_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor x = operand_of(z, 0), y = operand_of(z, 1);
    if (i == 0) {
        ag_tensor not_both_zero = ag_maximum(ag_abs(x), ag_abs(y));
        ag_tensor exponent = ag_where(not_both_zero, ag_sub_scalar(y, 1.0), y);
        return chain(dz, ag_mul(y, ag_pow(x, exponent)));
    }
    ag_tensor one = ag_full(z.tape, AG_SCALAR, 1.0);
    return chain(dz, ag_mul(z, ag_log(ag_where(x, x, one))));
}

static const struct op pow_op = {
    .name = "pow",
    .inputs = 2,
    .formula = "pow($x, $y)",
    .precedence = CALL,
    .shape = broadcast_shape,
    .forward = binary_forward,
    .gradient = pow_gradient,
    .kernel = BINARY_POW,
    .broadcasts = true,
};

ag_tensor ag_pow(ag_tensor x, ag_tensor y)
{
    return record2(&pow_op, x, y, NULL);
}

void scalar_forward(const ag_tape *tape, enum binary kernel, int64_t count, const void *x, double c,
                    void *y)
{
    const float c_f32 = (float)c;
    const struct operand right = {tape->dtype == AG_F32 ? (const void *)&c_f32 : &c, 0, 0};
    tape->kernels->binary[kernel](1, (size_t)count, &(struct operand){x, 0, 1}, &right, y);
}

static void pow_scalar_forward(ag_tape *tape, const struct record *r)
{
    scalar_forward(tape, BINARY_POW, r->count, input_of(tape, r, 0)->data, r->attr.p[0], r->data);
}

static ag_tensor pow_scalar_gradient(ag_tensor y, ag_tensor dy, int i)
{
    double c = find(y)->attr.p[0];
    if (c == 0.0)
        return NONE;
    return chain(dy, ag_mul_scalar(ag_pow_scalar(operand_of(y, i), c - 1.0), c));
}

static const struct op pow_scalar_op = {
    .name = "pow_scalar",
    .inputs = 1,
    .formula = "pow($x, $p)",
    .precedence = CALL,
    .forward = pow_scalar_forward,
    .gradient = pow_scalar_gradient,
};

ag_tensor ag_pow_scalar(ag_tensor x, double c)
{
    return c == 2.0 ? ag_square(x) : record(&pow_scalar_op, x, &(struct attributes){.p = {c}});
}

/* ---- abs and sign ---- */

static ag_tensor abs_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, ag_sign(operand_of(y, i)));
}

static const struct op abs_op = {
    .name = "abs",
    .inputs = 1,
    .formula = "abs($x)",
    .precedence = CALL,
    .forward = unary_forward,
    .gradient = abs_gradient,
    .kernel = UNARY_ABS,
};

ag_tensor ag_abs(ag_tensor x)
{
    return record(&abs_op, x, NULL);
}

static const struct op sign_op = {
    .name = "sign",
    .inputs = 1,
    .formula = "sign($x)",
    .precedence = CALL,
    .forward = unary_forward,
    .kernel = UNARY_SIGN,
};

ag_tensor ag_sign(ag_tensor x)
{
    return record(&sign_op, x, NULL);
}

/* ---- sin and cos ---- */

static ag_tensor sin_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, ag_cos(operand_of(y, i)));
}

static const struct op sin_op = {
    .name = "sin",
    .inputs = 1,
    .formula = "sin($x)",
    .precedence = CALL,
    .forward = unary_forward,
    .gradient = sin_gradient,
    .kernel = UNARY_SIN,
};

ag_tensor ag_sin(ag_tensor x)
{
    return record(&sin_op, x, NULL);
}

static ag_tensor cos_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_neg(chain(dy, ag_sin(operand_of(y, i))));
}

static const struct op cos_op = {
    .name = "cos",
    .inputs = 1,
    .formula = "cos($x)",
    .precedence = CALL,
    .forward = unary_forward,
    .gradient = cos_gradient,
    .kernel = UNARY_COS,
};

ag_tensor ag_cos(ag_tensor x)
{
    return record(&cos_op, x, NULL);
}

/* ---- erf(x) = 2/sqrt(pi) times the integral of exp(-t²) from 0 to x ---- */

static ag_tensor erf_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor bell = ag_exp(ag_neg(ag_square(operand_of(y, i))));
    return chain(dy, scaled(bell, 1.1283791670955126, "2/sqrt(pi)"));
}

static const struct op erf_op = {
    .name = "erf",
    .inputs = 1,
    .formula = "erf($x)",
    .precedence = CALL,
    .forward = unary_forward,
    .gradient = erf_gradient,
    .kernel = UNARY_ERF,
};

ag_tensor ag_erf(ag_tensor x)
{
    return record(&erf_op, x, NULL);
}

static const struct op *const table[] = {
    &pow_op, &pow_scalar_op, &abs_op, &sign_op, &sin_op, &cos_op, &erf_op,
};

const struct op_list math_ops = {table, sizeof table / sizeof *table};
