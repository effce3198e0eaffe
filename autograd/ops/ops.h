/* What an op is, and what the files in this folder share. How to add one: ../README.md. */
#ifndef TAPEGRAD_OPS_H
#define TAPEGRAD_OPS_H

#include "../tape.h"

/* An op that is about to be recorded: its operands, and the shape that its rule finds for the
 * result. */
struct call {
    ag_tape *tape;
    const struct op *op;
    const struct record *in[MAX_INPUTS];
    uint32_t input[MAX_INPUTS];
    int inputs;
    struct attributes attr;
    ag_shape shape;
    size_t workspace;  /* bytes of tape->workspace that running it takes */
    struct loop *loop; /* see struct record */
};

enum precedence { SUM = 1, PRODUCT, PREFIX, POSTFIX, CALL };

/* What a product may go through before it is stored, in this order, by the indices of records: a
 * bias is added to each of its rows; a function of each element, which `activation` records; a
 * function of each element and the one of `gate` beside it. 0: not that. `last` is the last of
 * them, or the product itself. */
struct fusion {
    uint32_t bias, activation, gate, last;
};

struct op {
    const char *name;
    int inputs;

    /* How it is written: $x $y $z are the operands, $X and $Y the same with a transposition that
     * the attributes ask for, $p and $q the constants, $a the axes, $v the view, $s the shape of
     * the result. */
    const char *formula;
    enum precedence precedence; /* of the formula's outermost operator */
    const char *spoken; /* the same as a line of its own, where another wording reads better; $A are
                           the axes */

    /* Checks the operands and sets the shape of the result; false with the error. NULL: the first
     * operand's shape. */
    bool (*shape)(struct call *call);

    /* Computes r->data from the inputs' data. NULL: nothing to do (a leaf, or another view of the
     * input's data). May set the sticky error over bad values (an index out of range), but leaves
     * nothing unset: running goes on. */
    void (*forward)(ag_tape *tape, const struct record *r);

    /* The same for r and what is fused with it, all into that of fused->last, with the same bits.
     * NULL: there is no such thing. */
    void (*forward_fused)(ag_tape *tape, const struct record *r, const struct fusion *fused);

    /* The same, but adds the values to r->data. NULL: there is no such thing. */
    void (*forward_add)(ag_tape *tape, const struct record *r);

    /* Nanoseconds that running r takes, about; NULL: as an element-wise op. */
    double (*work)(const ag_tape *tape, const struct record *r);

    /* From dy, the gradient of the op's result y, the gradient of its operand i, written with ops.
     * It may be wider or narrower than the operand: the walk sums or repeats it to fit. NONE where
     * there is none. NULL: never any. */
    ag_tensor (*gradient)(ag_tensor y, ag_tensor dy, int i);

    const struct op *adjoint; /* for the rules below that are made of one op: which */

    /* Does it treat the rows (axis 0) of its result one by one, or sum over them? Returns the
     * operands whose rows go along, a bit for each; the others are read whole. 0, or NULL: neither.
     * See ../blocks.c. */
    unsigned (*by_rows)(const struct call *call, bool *sums);

    int kernel;      /* an enum unary, binary, reduce or convolved, where forward is shared */
    bool broadcasts; /* operands are broadcast together */
    bool leaf;       /* no program made its values: a parameter, buffer, input or constant */
    bool settable;   /* a leaf whose values may be set: all but a constant */
    bool masks;      /* puts a constant, which may be infinite, in the place of elements */
    bool updates;    /* running it changes its first operand, a buffer */
    bool random;     /* draws anew each time it is run */
    bool view;       /* shares the data of its input */
    bool infers;     /* a size of -1 in the shape that is asked for is worked out */
};

#define NONE ((ag_tensor){0})

/* Whether the values of x, whose record is r, may be set; false with the error. */
COLD bool refuse_to_set(ag_tensor x, const struct record *r, const char *who);

static inline bool can_change(ag_tensor x, const struct record *r, const char *who)
{
    return r->op->settable || refuse_to_set(x, r, who);
}

/* Checks the operands and appends a record; an invalid tensor on error. attr may be NULL. */
ag_tensor record(const struct op *op, ag_tensor x, const struct attributes *attr);
ag_tensor record2(const struct op *op, ag_tensor x, ag_tensor y, const struct attributes *attr);
ag_tensor record3(const struct op *op, ag_tensor x, ag_tensor y, ag_tensor z);

/* Says which of these operands of an op is of no use: never set, stale, or on another tape than the
 * last. An invalid one of the tape brings its own error along. Returns an invalid tensor. */
COLD ag_tensor refuse(const char *who, const ag_tensor *x, size_t inputs);

/* ---- For gradient rules ---- */

/* An operand of a record. */
ag_tensor operand_of(ag_tensor y, int i);

/* op of x, or of x and y, with the constants of `like`; and if it is asked for a shape, that of the
 * first operand of `like`. */
ag_tensor record_like(ag_tensor like, const struct op *op, ag_tensor x, ag_tensor y);

/* The rule of an op that is linear in its first operand and flat in any other: op->adjoint of dy
 * and what else there is, with the same constants. */
ag_tensor linear_gradient(ag_tensor y, ag_tensor dy, int i);

/* Those of ops of one operand: op->adjoint of dy and y, of dy and the operand, with the same
 * constants. */
ag_tensor result_gradient(ag_tensor y, ag_tensor dy, int i);
ag_tensor operand_gradient(ag_tensor y, ag_tensor dy, int i);

/* That of one which passes dy on. */
ag_tensor same_gradient(ag_tensor y, ag_tensor dy, int i);

/* dy * factor; the one that a walk starts from is left out. */
ag_tensor chain(ag_tensor dy, ag_tensor factor);

/* c * x, where c is printed as symbol (a literal, or NULL). */
ag_tensor scaled(ag_tensor x, double c, const char *symbol);

/* by_rows of an element-wise op whose result may be written over an operand of its size. */
unsigned element_rows(const struct call *call, bool *sums);

/* What element-wise ops share: op->kernel is an enum unary, or an enum binary. */
void unary_forward(ag_tape *tape, const struct record *r);
void binary_forward(ag_tape *tape, const struct record *r);

/* Runs a binary kernel, or where, over r->loop, planned for the first `inputs` operands; any other
 * is one number, repeated. */
void broadcast_forward(const ag_tape *tape, const struct record *r, const void *const *data,
                       int inputs);

/* A binary kernel over n elements side by side: z[i] = f(x[i], y[i]). */
static inline void pairwise(const struct kernels *k, enum binary f, size_t n, const void *x,
                            const void *y, void *z)
{
    k->binary[f](1, n, &(struct operand){x, 0, 1}, &(struct operand){y, 0, 1}, z);
}

/* A binary kernel with a constant on the right: y[i] = f(x[i], c). y may be x. */
void scalar_forward(const ag_tape *tape, enum binary kernel, int64_t count, const void *x, double c,
                    void *y);

/* A shape around a run of neighbouring axes: (outer, n, inner). Of axes that are not one run, n
 * alone has a meaning. */
struct run {
    size_t outer, n, inner;
};

struct run run_of(const ag_shape *shape, unsigned axes);
unsigned last_run(unsigned axes); /* the last of the runs that make up `axes` */

/* What reductions share: the shape rule; a record of op over some axes; and dy, a gradient of
 * y = op(x) or y itself, with the axes that y lost put back with size 1. */
bool reduce_shape(struct call *call);
ag_tensor reduce_axes(const struct op *op, ag_tensor x, ag_axes axes, bool keep);
ag_tensor sum_over(ag_tensor x, unsigned axes, bool keep);
ag_tensor with_axes_kept(ag_tensor y, ag_tensor dy);

/* Makes a shape rule's complaint: the rule that was broken, then each operand by name or expression
 * with its shape, then, where hint isn't empty, what would fit. Returns false. */
COLD bool reject(const struct call *call, const char *hint, const char *format, ...)
    AG_PRINTF(3, 4);

/* The same in the name of `who`, of one tensor, which must be valid. Returns an invalid one. */
COLD ag_tensor reject_tensor(ag_tensor x, const char *who, const char *hint, const char *format,
                             ...) AG_PRINTF(4, 5);

/* Shape rules: of element-wise ops with broadcasting; of ops that are asked for a shape. */
bool broadcast_shape(struct call *call);
bool shape_asked_for(struct call *call);

/* The last two sizes in the other order. */
ag_shape transposed(ag_shape shape);

/* Warns where y (n, n) came of (n,) and (n, 1): allowed, but nearly always a column that lost its
 * axis. */
void look_for_outer(ag_tensor y);

/* A walk over the elements (or matrices) of a result and its operands, whose axes are merged as far
 * as strides allow. Axis 0 is the innermost, with stride 0 or 1 where operands broadcast; stride 0
 * repeats an operand. Axes 0 and 1, if there is no such thing, have size 1: they are the columns
 * and rows of what is done at once. */
struct loop {
    int rank;
    int64_t dim[AG_MAX_RANK];
    ptrdiff_t stride[MAX_INPUTS][AG_MAX_RANK];
};

/* Strides of x, of the aligned axes of `result`, in elements: 0 where it is repeated, or has but
 * one element. */
void broadcast_strides(const ag_shape *result, const ag_shape *x, ptrdiff_t *stride);

/* The axes of `shape`, with a stride of each operand for each. */
void loop_merge(struct loop *loop, const ag_shape *shape, ptrdiff_t (*stride)[AG_MAX_RANK],
                int inputs);

/* Plans call->loop over the axes of the result, but the last `skip`, of the first `inputs`
 * operands, which broadcast to it; false out of memory. */
bool loop_plan(struct call *call, int inputs, int skip);

/* Moves to the next position of the loop's axes from `first` on; false after the last. at: zeros at
 * first. */
bool loop_next(const struct loop *loop, int first, int inputs, int64_t *at, ptrdiff_t *offset);

/* The named axes as a bit mask; false with the error, in the name of `who`. */
bool axes_mask(ag_tensor x, ag_axes axes, const char *who, unsigned *mask);

/* What the view of a permutation or slice is, for its formula. */
void add_view(struct text *text, const ag_tape *tape, const struct record *r);

/* rows x cols elements, and the steps from one to the next where they come from and go to. */
struct block {
    size_t rows, cols;
    struct steps {
        ptrdiff_t row, col;
    } from, to;
    bool add; /* to what is there */
};

void move_block(const ag_tape *tape, const struct block *b, const void *x, void *y);

/* Elements of x side by side: position (i, j, ...) of `view_shape` sees x's element i*stride[0] +
 * j*stride[1] + .... The result has `shape`, with as many elements. */
ag_tensor unfold(ag_tensor x, const ag_shape *view_shape, const ptrdiff_t *stride, ag_shape shape);

/* x @ y of tensors with at least two axes, the last two of each transposed first where asked. */
ag_tensor product(ag_tensor x, bool x_transposed, ag_tensor y, bool y_transposed);

/* The table of all ops, for the tests and the printers. */
struct op_list {
    const struct op *const *at;
    size_t count;
};

extern const struct op_list leaf_ops, elementwise_ops, activation_ops, matmul_ops, reduce_ops,
    shape_ops, view_ops, math_ops, select_ops, softmax_ops, scan_ops, index_ops, conv_ops,
    normalize_ops, random_ops, attention_ops;

/* The leaves that are made anew after a reset, and the one that a backward walk starts from. */
extern const struct op input_op, seed_op;

/* What a product may be fused with. */
extern const struct op add_op;

/* What undoes broadcasting. */
extern const struct op sum_op;

#endif
