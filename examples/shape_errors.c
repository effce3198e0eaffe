/* A tour of common mistakes: for each its line of code, the engine's message, and the mend, which
 * the program runs as well to show that it works.
 *
 * Usage: shape_errors
 * Exit status: 0 when every mistake met its message and every mend worked. */
#include <autograd/autograd.h>

#include <string.h>

struct tour {
    ag_tape *tape, *other;
    int stops, failures;
    char warning[400];
    ag_tensor X;      /* (4, 3): four houses, three features of each */
    ag_tensor y;      /* (4, 1): their prices */
    ag_tensor prices; /* (4,): the same without the second axis */
    ag_tensor W, b;   /* (3, 5) and (1, 5): parameters of a layer */
    ag_tensor V;      /* (1, 5): of the next, the wrong way round */
    ag_tensor h;      /* (4, 5): what the layer gives */
};

/* Run the code and show it with what came of it. A mend that is an expression shows its shape. */
#define MISTAKE(t, ...) ((void)(__VA_ARGS__), show_mistake(t, #__VA_ARGS__))
#define MEND(t, ...)    show_mend(t, #__VA_ARGS__, (ag_shape[]){ag_shape_of(__VA_ARGS__)})
#define MEND_BY(t, ...) ((void)(__VA_ARGS__), show_mend(t, #__VA_ARGS__, NULL))

static void title(struct tour *t, const char *text)
{
    printf("%s%d. %s\n\n", t->stops ? "\n\n" : "", t->stops + 1, text);
    t->stops++;
}

/* Lines longer than WIDTH are broken at a space. */
static void print_indented(const char *text)
{
    enum { WIDTH = 88 };
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        while (length > WIDTH || !strchr(" \n", line[length]))
            length--;
        printf("    | %.*s\n", (int)length, line);
        line += length + (line[length] != '\0');
    }
}

/* The error, or else the warning, that there has been since the last call. */
static bool print_message(struct tour *t)
{
    const char *message = ag_error(t->tape) ? ag_error(t->tape) : t->warning;
    bool any = *message != '\0';
    print_indented(message);
    ag_clear_error(t->tape);
    *t->warning = '\0';
    return any;
}

static void show_mistake(struct tour *t, const char *code)
{
    printf("    %s\n\n", code);
    t->failures += !print_message(t);
}

static void show_mend(struct tour *t, const char *code, const ag_shape *shape)
{
    printf("\n    mend: %s\n", code);
    if (print_message(t)) {
        t->failures++;
        return;
    }
    for (int i = 0; shape && i < shape->rank; i++)
        printf(i ? ", %lld" : "          gives (%lld", (long long)shape->dim[i]);
    if (shape && shape->rank)
        puts(shape->rank == 1 ? ",)" : ")");
    else
        puts(shape ? "          gives a single number" : "          works");
}

/* ---- Shapes ---- */

static void products(struct tour *t)
{
    ag_tensor X = t->X, W = t->W, V = t->V, h = t->h, rate = ag_full(t->tape, AG_SCALAR, 0.1);
    title(t, "A matrix lies the wrong way round");
    MISTAKE(t, ag_matmul(h, V));
    MEND(t, ag_matmul(h, ag_transpose(V)));

    title(t, "The factors are in the wrong order: rows of data go on the left");
    MISTAKE(t, ag_matmul(W, X));
    MEND(t, ag_matmul(X, W));

    title(t, "A number is not a matrix");
    MISTAKE(t, ag_matmul(X, rate));
    MEND(t, ag_mul(X, rate));
}

static void broadcasting(struct tour *t)
{
    ag_tensor X = t->X, y = t->y, prices = t->prices, W = t->W, b = t->b;
    title(t, "Shapes are compared from the last axis backwards");
    MISTAKE(t, ag_mul(X, prices));
    MEND(t, ag_mul(X, ag_reshape(prices, AG_SHAPE(4, 1))));

    title(t, "A bias fits what the product gives, not what goes into it");
    MISTAKE(t, ag_add(X, b));
    MEND(t, ag_add(ag_matmul(X, W), b));

    title(t, "A vector meets a column: allowed, but 16 differences come out of 4 prices");
    MISTAKE(t, ag_sub(y, prices));
    MEND(t, ag_sub(y, ag_reshape(prices, AG_SHAPE(4, 1))));

    title(t, "Only axes of size 1 can be repeated");
    MISTAKE(t, ag_broadcast_to(y, AG_SHAPE(8, 1)));
    MEND(t, ag_broadcast_to(y, AG_SHAPE(4, 8)));
}

static void axes(struct tour *t)
{
    ag_tensor X = t->X, y = t->y, prices = t->prices;
    title(t, "Axes count from 0; the last of a matrix is 1, or -1");
    MISTAKE(t, ag_mean_axes(X, AG_AXES(2), false));
    MEND(t, ag_mean_axes(X, AG_AXES(-1), false));

    title(t, "-1 is the last axis, which was named already");
    MISTAKE(t, ag_sum_axes(X, AG_AXES(1, -1), true));
    MEND(t, ag_sum_axes(X, AG_AXES(0, 1), true));

    title(t, "A vector has no rows and columns to exchange");
    MISTAKE(t, ag_transpose(prices));
    MEND(t, ag_transpose(ag_reshape(prices, AG_SHAPE(4, 1))));

    title(t, "A reshape can neither make elements nor drop them");
    MISTAKE(t, ag_reshape(X, AG_SHAPE(5, 2)));
    MEND(t, ag_reshape(X, AG_SHAPE(-1, 2)));

    title(t, "Put together along one axis, tensors must agree in the others");
    MISTAKE(t, ag_concat((ag_tensor[]){X, y}, 2, 0));
    MEND(t, ag_concat((ag_tensor[]){X, y}, 2, 1));

    title(t, "An axis without elements");
    MISTAKE(t, ag_input(t->tape, "empty", AG_SHAPE(0, 3)));
    MEND(t, ag_input(t->tape, "one row", AG_SHAPE(1, 3)));
}

/* ---- Handles ---- */

static void handles(struct tour *t)
{
    ag_tensor X = t->X, W = t->W, b = t->b, nothing = {0};
    ag_tensor Z = ag_input(t->other, "Z", AG_SHAPE(4, 3));
    double z[12] = {0.0};
    title(t, "A tensor that was never made");
    MISTAKE(t, ag_add(X, ag_mul(nothing, X)));
    MEND(t, ag_add(X, ag_mul(X, X)));

    title(t, "Tensors of two tapes, which even have different element types");
    MISTAKE(t, ag_add(Z, X));
    ag_get_f64(Z, z, 12);
    MEND(t, ag_add(ag_input_f64(t->tape, "Z", AG_SHAPE(4, 3), z), X));

    title(t, "Row numbers are looked at when they are used");
    ag_tensor rows = ag_input_f32(t->tape, "rows", AG_SHAPE(2), (float[]){1.0f, 3.0f});
    MISTAKE(t, ag_data_f32(ag_take(W, rows)));
    ag_set_f32(rows, (float[]){0.0f, 2.0f}, 2);
    MEND(t, ag_take(W, rows));

    title(t, "A reset takes every tensor but parameters and buffers");
    ag_tape_reset(t->tape);
    MISTAKE(t, ag_add(ag_matmul(X, W), b));
    t->X = X = ag_input(t->tape, "X", AG_SHAPE(4, 3));
    MEND(t, ag_add(ag_matmul(X, W), b));
}

/* ---- Values ---- */

static void values(struct tour *t)
{
    float few[3] = {0.1f, 0.2f, 0.3f}, all[15] = {0.1f}, results[20] = {0.5f};
    double x[12];
    ag_tensor X = t->X, W = t->W, h = ag_tanh(ag_matmul(X, W));
    title(t, "Three values for a matrix of fifteen");
    MISTAKE(t, ag_set_f32(W, few, 3));
    MEND_BY(t, ag_set_f32(W, all, 15));

    title(t, "What an op computes cannot be set");
    MISTAKE(t, ag_set_f32(h, results, 20));
    MEND_BY(t, ag_set_f32(X, (float[12]){1.0f}, 12));

    title(t, "Many values are not an item");
    MISTAKE(t, ag_item(h));
    MEND_BY(t, ag_item(ag_mean(h)));

    title(t, "The tape holds float32; no float64 lies in its memory");
    MISTAKE(t, ag_data_f64(X));
    MEND_BY(t, ag_get_f64(X, x, 12));
}

/* ---- Gradients ---- */

static void gradients(struct tour *t)
{
    float five[5] = {0.2f};
    ag_tensor X = t->X, W = t->W, V = t->V, h = ag_sigmoid(ag_matmul(X, W));
    title(t, "Only a single number has a gradient");
    MISTAKE(t, ag_backward(h));
    MEND_BY(t, ag_backward(ag_mean(h)));

    title(t, "The loss does not depend on V");
    MISTAKE(t, ag_gradient(V));
    ag_backward(ag_mean(ag_matmul(h, ag_transpose(V))));
    MEND(t, ag_gradient(V));

    title(t, "The chain rule needs the values that the forward pass saw");
    ag_tensor loss = ag_mean(ag_mul(h, V));
    ag_set_f32(V, five, 5);
    MISTAKE(t, ag_backward(loss));
    MEND_BY(t, ag_replay(t->tape), ag_backward(loss));

    title(t, "The logarithm of 0 spoils all that follows; tracing finds where it began");
    ag_trace_nonfinite(t->tape, true);
    MISTAKE(t, ag_item(ag_mean(ag_square(ag_log(X)))));
    MEND_BY(t, ag_item(ag_mean(ag_square(ag_log(ag_add_scalar(X, 1e-6))))));
}

static void keep_warning(void *tour, const char *message)
{
    struct tour *t = tour;
    snprintf(t->warning, sizeof t->warning, "warning: %s", message);
}

int main(void)
{
    struct tour t = {.tape = ag_tape_new(AG_F32), .other = ag_tape_new(AG_F64)};
    ag_set_warning(t.tape, keep_warning, &t);
    t.X = ag_input(t.tape, "X", AG_SHAPE(4, 3));
    t.y = ag_input(t.tape, "y", AG_SHAPE(4, 1));
    t.prices = ag_input(t.tape, "prices", AG_SHAPE(4));
    t.W = ag_parameter(t.tape, "W", AG_SHAPE(3, 5));
    t.b = ag_parameter(t.tape, "b", AG_SHAPE(1, 5));
    t.V = ag_parameter(t.tape, "V", AG_SHAPE(1, 5));
    t.h = ag_sigmoid(ag_add(ag_matmul(t.X, t.W), t.b));
    if (ag_error(t.tape)) {
        fprintf(stderr, "shape_errors: %s\n", ag_error(t.tape));
        return 1;
    }
    puts("X (4, 3) holds three features of four houses, y (4, 1) their prices; prices (4,) are\n"
         "the same. W (3, 5), b (1, 5) and V (1, 5) are parameters, and\n"
         "h = sigmoid(X @ W + b), which is (4, 5).\n");
    products(&t);
    broadcasting(&t);
    axes(&t);
    handles(&t);
    values(&t);
    gradients(&t);
    ag_tape_free(t.other);
    ag_tape_free(t.tape);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("shape_errors");
        return 1;
    }
    return t.failures ? 1 : 0;
}
