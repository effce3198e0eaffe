/* Powers and the functions of a mathematics library. */
#include "define.h"

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

static const struct op pow_op = {CALLED("pow", 2, "$x, $y"), BROADCAST(BINARY_POW),
                                 .gradient = pow_gradient};
RECORDS_2(ag_pow, pow_op)

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
    WRITTEN("pow_scalar", 1, "pow($x, $p)", CALL),
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

static const struct op abs_op = {CALLED("abs", 1, "$x"), ELEMENTWISE(UNARY_ABS),
                                 .gradient = abs_gradient};
RECORDS_1(ag_abs, abs_op)

static const struct op sign_op = {CALLED("sign", 1, "$x"), ELEMENTWISE(UNARY_SIGN)};
RECORDS_1(ag_sign, sign_op)

/* ---- sin and cos ---- */

static ag_tensor sin_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, ag_cos(operand_of(y, i)));
}

static const struct op sin_op = {CALLED("sin", 1, "$x"), ELEMENTWISE(UNARY_SIN),
                                 .gradient = sin_gradient};
RECORDS_1(ag_sin, sin_op)

static ag_tensor cos_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_neg(chain(dy, ag_sin(operand_of(y, i))));
}

static const struct op cos_op = {CALLED("cos", 1, "$x"), ELEMENTWISE(UNARY_COS),
                                 .gradient = cos_gradient};
RECORDS_1(ag_cos, cos_op)

/* ---- erf(x) = 2/sqrt(pi) times the integral of exp(-t²) from 0 to x ---- */

static ag_tensor erf_gradient(ag_tensor y, ag_tensor dy, int i)
{
    ag_tensor bell = ag_exp(ag_neg(ag_square(operand_of(y, i))));
    return chain(dy, scaled(bell, 1.1283791670955126, "2/sqrt(pi)"));
}

static const struct op erf_op = {CALLED("erf", 1, "$x"), ELEMENTWISE(UNARY_ERF),
                                 .gradient = erf_gradient};
RECORDS_1(ag_erf, erf_op)

OP_LIST(math_ops, &pow_op, &pow_scalar_op, &abs_op, &sign_op, &sin_op, &cos_op, &erf_op)
