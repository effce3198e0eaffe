/* Element-wise ops: one operand, two with broadcasting, and with constants. */
#include "define.h"

/* A kernel over elements side by side, shared among threads where there are many. */
struct span {
    const ag_tape *tape;
    const struct record *r;
    const char *x, *y; /* y NULL: it has one operand */
};

static void run_span(void *context, size_t first, size_t count, int thread)
{
    const struct span *s = context;
    const struct kernels *k = s->tape->kernels;
    size_t at = first * k->element;
    char *to = (char *)s->r->data + at;
    if (s->y)
        pairwise(k, (enum binary)s->r->op->kernel, count, s->x + at, s->y + at, to);
    else
        k->unary[s->r->op->kernel](count, s->x + at, to, s->r->attr.p);
}

static void share(ag_tape *tape, const struct record *r, const void *x, const void *y)
{
    share_elements(tape, (size_t)r->count, run_span, &(struct span){tape, r, x, y});
}

void unary_forward(ag_tape *tape, const struct record *r)
{
    const struct record *x = input_of(tape, r, 0);
    if (worth_sharing_elements(tape, (size_t)r->count))
        share(tape, r, x->data, NULL);
    else
        tape->kernels->unary[r->op->kernel]((size_t)r->count, x->data, r->data, r->attr.p);
}

void broadcast_forward(const ag_tape *tape, const struct record *r, const void *const *data,
                       int inputs)
{
    const struct loop *loop = r->loop;
    ptrdiff_t size = (ptrdiff_t)element_size(tape);
    int operands = r->inputs == 3 ? 3 : 2;
    size_t cols = (size_t)loop->dim[0], rows = (size_t)loop->dim[1];
    int64_t at[AG_MAX_RANK] = {0};
    ptrdiff_t offset[MAX_INPUTS] = {0};
    struct operand x[MAX_INPUTS] = {{0}};
    char *out = r->data;
    for (int k = 0; k < inputs; k++)
        x[k] = (struct operand){NULL, loop->stride[k][1], loop->stride[k][0]};
    do {
        for (int k = 0; k < operands; k++)
            x[k].data = (const char *)data[k] + offset[k] * size;
        if (operands == 3)
            tape->kernels->where(rows, cols, &x[0], &x[1], &x[2], out);
        else
            tape->kernels->binary[r->op->kernel](rows, cols, &x[0], &x[1], out);
        out += rows * cols * (size_t)size;
    } while (loop_next(loop, 2, inputs, at, offset));
}

/* With rows and columns alone, as most have, there is nothing to step through. */
void binary_forward(ag_tape *tape, const struct record *r)
{
    const struct loop *loop = r->loop;
    const void *data[] = {input_of(tape, r, 0)->data, input_of(tape, r, 1)->data};
    void (*f)(size_t, size_t, const struct operand *, const struct operand *, void *) =
        tape->kernels->binary[r->op->kernel];
    if (!loop && worth_sharing_elements(tape, (size_t)r->count))
        share(tape, r, data[0], data[1]);
    else if (!loop)
        pairwise(tape->kernels, (enum binary)r->op->kernel, (size_t)r->count, data[0], data[1],
                 r->data);
    else if (loop->rank <= 2)
        f((size_t)loop->dim[1], (size_t)loop->dim[0],
          &(struct operand){data[0], loop->stride[0][1], loop->stride[0][0]},
          &(struct operand){data[1], loop->stride[1][1], loop->stride[1][0]}, r->data);
    else
        broadcast_forward(tape, r, data, 2);
}

/* ---- Two operands ---- */

const struct op add_op = {WRITTEN("add", 2, "$x + $y", SUM), BROADCAST(BINARY_ADD),
                          .gradient = same_gradient};
RECORDS_2(ag_add, add_op)

static ag_tensor sub_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return i == 0 ? dy : ag_neg(dy);
}

static const struct op sub_op = {WRITTEN("sub", 2, "$x - $y", SUM), BROADCAST(BINARY_SUB),
                                 .gradient = sub_gradient};
RECORDS_2(ag_sub, sub_op)

static ag_tensor mul_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, operand_of(y, 1 - i));
}

static const struct op mul_op = {WRITTEN("mul", 2, "$x · $y", PRODUCT), BROADCAST(BINARY_MUL),
                                 .gradient = mul_gradient};
RECORDS_2(ag_mul, mul_op)

/* z = x/y: dz/dx = 1/y, dz/dy = -z/y. */
static ag_tensor div_gradient(ag_tensor z, ag_tensor dz, int i)
{
    ag_tensor y = operand_of(z, 1);
    return i == 0 ? ag_div(dz, y) : ag_neg(chain(dz, ag_div(z, y)));
}

static const struct op div_op = {WRITTEN("div", 2, "$x / $y", PRODUCT), BROADCAST(BINARY_DIV),
                                 .gradient = div_gradient};
RECORDS_2(ag_div, div_op)

/* ---- With a constant: p*x + q ---- */

static ag_tensor affine_gradient(ag_tensor y, ag_tensor dy, int i)
{
    struct attributes attr = find(y)->attr;
    return attr.p[0] == 1.0 ? dy : scaled(dy, attr.p[0], attr.symbol);
}

static const struct op add_scalar_op = {WRITTEN("add_scalar", 1, "$x + $q", SUM),
                                        ELEMENTWISE(UNARY_AFFINE), .gradient = affine_gradient};

ag_tensor ag_add_scalar(ag_tensor x, double c)
{
    return record(&add_scalar_op, x, &(struct attributes){.p = {1.0, c}});
}

ag_tensor ag_sub_scalar(ag_tensor x, double c)
{
    return ag_add_scalar(x, -c);
}

static const struct op scalar_sub_op = {WRITTEN("scalar_sub", 1, "$q - $x", SUM),
                                        ELEMENTWISE(UNARY_AFFINE), .gradient = affine_gradient};

ag_tensor ag_scalar_sub(double c, ag_tensor x)
{
    return record(&scalar_sub_op, x, &(struct attributes){.p = {-1.0, c}});
}

static const struct op mul_scalar_op = {WRITTEN("mul_scalar", 1, "$p · $x", PRODUCT),
                                        ELEMENTWISE(UNARY_AFFINE), .gradient = affine_gradient};

/* Adding -0, not 0, keeps the sign of a product that is zero. */
ag_tensor scaled(ag_tensor x, double c, const char *symbol)
{
    return record(&mul_scalar_op, x, &(struct attributes){.p = {c, -0.0}, .symbol = symbol});
}

ag_tensor ag_mul_scalar(ag_tensor x, double c)
{
    return scaled(x, c, NULL);
}

ag_tensor ag_div_scalar(ag_tensor x, double c)
{
    return ag_div(x, find(x) ? ag_full(x.tape, AG_SCALAR, c) : x);
}

ag_tensor ag_scalar_div(double c, ag_tensor x)
{
    return ag_div(find(x) ? ag_full(x.tape, AG_SCALAR, c) : x, x);
}

/* ---- One operand ---- */

static const struct op neg_op = {WRITTEN("neg", 1, "-$x", PREFIX), ELEMENTWISE(UNARY_NEG),
                                 LINEAR(&neg_op)};
RECORDS_1(ag_neg, neg_op)

static ag_tensor exp_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, y);
}

static const struct op exp_op = {CALLED("exp", 1, "$x"), ELEMENTWISE(UNARY_EXP),
                                 .gradient = exp_gradient};
RECORDS_1(ag_exp, exp_op)

static ag_tensor log_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_div(dy, operand_of(y, 0));
}

static const struct op log_op = {CALLED("log", 1, "$x"), ELEMENTWISE(UNARY_LOG),
                                 .gradient = log_gradient};
RECORDS_1(ag_log, log_op)

static ag_tensor sqrt_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return ag_mul_scalar(ag_div(dy, y), 0.5);
}

static const struct op sqrt_op = {CALLED("sqrt", 1, "$x"), ELEMENTWISE(UNARY_SQRT),
                                  .gradient = sqrt_gradient};
RECORDS_1(ag_sqrt, sqrt_op)

static ag_tensor square_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return chain(dy, ag_mul_scalar(operand_of(y, 0), 2.0));
}

static const struct op square_op = {WRITTEN("square", 1, "$x²", POSTFIX), ELEMENTWISE(UNARY_SQUARE),
                                    .gradient = square_gradient};
RECORDS_1(ag_square, square_op)

/* ---- What gradient rules share ---- */

/* A leaf is never handed on as a gradient: its values may be set anew. */
ag_tensor chain(ag_tensor dy, ag_tensor factor)
{
    const struct record *r = find(dy), *f = find(factor);
    return r && f && r->op == &seed_op && !f->op->leaf ? factor : ag_mul(dy, factor);
}

ag_tensor same_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return dy;
}

ag_tensor linear_gradient(ag_tensor y, ag_tensor dy, int i)
{
    const struct record *r = find(y);
    if (i > 0)
        return NONE;
    return record_like(y, r->op->adjoint, dy, r->inputs > 1 ? operand_of(y, 1) : NONE);
}

ag_tensor result_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return record_like(y, find(y)->op->adjoint, dy, y);
}

ag_tensor operand_gradient(ag_tensor y, ag_tensor dy, int i)
{
    return record_like(y, find(y)->op->adjoint, dy, operand_of(y, i));
}

OP_LIST(elementwise_ops, &add_op, &sub_op, &mul_op, &div_op, &add_scalar_op, &scalar_sub_op,
        &mul_scalar_op, &neg_op, &exp_op, &log_op, &sqrt_op, &square_op)
