/* The tutorial's derivation, done by hand and by the engine.
 *
 * A two-layer perceptron for regression, in the tutorial's letters:
 *
 *     F = X W1,  E = F + b1,  D = sigmoid(E),  C = D W2,  B = C + b2,  A = Y - B,  L = A²
 *
 *     dL/dA = 2A     dA/dB = -1     dB/dC = 1     dB/db2 = 1     dC/dD = W2ᵀ     dC/dW2 = Dᵀ
 *     dD/dE = D (1 - D)     dE/dF = 1     dE/db1 = 1     dF/dW1 = Xᵀ
 *
 * The chain rule multiplies these. Over a batch, the tutorial sums its weights' gradients (in the
 * products Dᵀ· and Xᵀ·) but averages those of its biases (np.mean over the batch). So they are
 * gradients of two different losses: the weights' of the sum of squares, sum(A²); the biases' of
 * the sum of squares divided by the batch size, which with one output is the mean, mean(A²). Each
 * is held against the engine's gradient of its own loss; and the engine's gradients of one loss
 * differ from those of the other by the batch size alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/autograd.h"

enum { IN = 5, HIDDEN = 7, MOST = 64 };

/* Everything by hand: values, and the gradient of the sum of squares with respect to each. */
struct by_hand {
    int batch;
    double X[MOST * IN], Y[MOST], W1[IN * HIDDEN], b1[HIDDEN], W2[HIDDEN], b2;
    double E[MOST * HIDDEN], D[MOST * HIDDEN], A[MOST]; /* F and C are sums on the way */
    double dA[MOST], dB[MOST], dC[MOST];
    double dD[MOST * HIDDEN], dE[MOST * HIDDEN], dF[MOST * HIDDEN];
    double dW1[IN * HIDDEN], dW2[HIDDEN];
    double mean_db1[HIDDEN], mean_db2; /* averaged over the batch, as the tutorial does */
};

static void draw(ag_rng *rng, double *values, int count)
{
    for (int i = 0; i < count; i++)
        values[i] = ag_rng_normal(rng);
}

static void forward(struct by_hand *h)
{
    for (int r = 0; r < h->batch; r++) {
        double C = 0.0;
        for (int j = 0; j < HIDDEN; j++) {
            double F = 0.0;
            for (int i = 0; i < IN; i++)
                F += h->X[r * IN + i] * h->W1[i * HIDDEN + j];
            h->E[r * HIDDEN + j] = F + h->b1[j];
            h->D[r * HIDDEN + j] = 1.0 / (1.0 + exp(-h->E[r * HIDDEN + j]));
            C += h->D[r * HIDDEN + j] * h->W2[j];
        }
        h->A[r] = h->Y[r] - (C + h->b2);
    }
}

static void backward(struct by_hand *h)
{
    for (int r = 0; r < h->batch; r++) {
        h->dA[r] = 2.0 * h->A[r];
        h->dB[r] = h->dA[r] * -1.0;
        h->dC[r] = h->dB[r] * 1.0;
        h->mean_db2 += h->dB[r] * 1.0 / h->batch;
        for (int j = 0; j < HIDDEN; j++) {
            int k = r * HIDDEN + j;
            h->dW2[j] += h->D[k] * h->dC[r];
            h->dD[k] = h->dC[r] * h->W2[j];
            h->dE[k] = h->dD[k] * h->D[k] * (1.0 - h->D[k]);
            h->dF[k] = h->dE[k] * 1.0;
            h->mean_db1[j] += h->dE[k] * 1.0 / h->batch;
            for (int i = 0; i < IN; i++)
                h->dW1[i * HIDDEN + j] += h->X[r * IN + i] * h->dF[k];
        }
    }
}

static void derive(struct by_hand *h, int batch)
{
    ag_rng rng;
    ag_rng_seed(&rng, (uint64_t)batch);
    *h = (struct by_hand){.batch = batch};
    draw(&rng, h->X, batch * IN);
    draw(&rng, h->Y, batch);
    draw(&rng, h->W1, IN * HIDDEN);
    draw(&rng, h->b1, HIDDEN);
    draw(&rng, h->W2, HIDDEN);
    draw(&rng, &h->b2, 1);
    forward(h);
    backward(h);
}

/* The same as the engine records it. */
struct recorded {
    ag_tape *tape;
    ag_tensor W1, b1, W2, b2, F, E, D, C, B, A;
};

static ag_tensor parameter(ag_tape *tape, const char *name, ag_shape shape, const double *values)
{
    ag_tensor p = ag_parameter(tape, name, shape);
    ag_set_f64(p, values, (size_t)ag_count(p));
    return p;
}

static struct recorded record_network(ag_tape *tape, const struct by_hand *h)
{
    struct recorded n = {.tape = tape};
    ag_tensor X = ag_input_f64(tape, "X", AG_SHAPE(h->batch, IN), h->X);
    ag_tensor Y = ag_input_f64(tape, "Y", AG_SHAPE(h->batch, 1), h->Y);
    n.W1 = parameter(tape, "W1", AG_SHAPE(IN, HIDDEN), h->W1);
    n.b1 = parameter(tape, "b1", AG_SHAPE(1, HIDDEN), h->b1);
    n.W2 = parameter(tape, "W2", AG_SHAPE(HIDDEN, 1), h->W2);
    n.b2 = parameter(tape, "b2", AG_SHAPE(1, 1), &h->b2);
    n.F = ag_matmul(X, n.W1);
    n.E = ag_add(n.F, n.b1);
    n.D = ag_sigmoid(n.E);
    n.C = ag_matmul(n.D, n.W2);
    n.B = ag_add(n.C, n.b2);
    n.A = ag_sub(Y, n.B);
    return n;
}

/* 1e-12, relative to the tensor's largest element. */
static void assert_equal(const char *name, ag_tensor x, const double *expected, int count)
{
    double values[MOST * HIDDEN], largest = 0.0;
    if (!ag_get_f64(x, values, (size_t)count)) {
        print_error("%s: %s\n", name, ag_error(x.tape));
        fail();
    }
    for (int i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    assert_true(largest > 0.0);
    for (int i = 0; i < count; i++)
        if (!(fabs(values[i] - expected[i]) <= 1e-12 * largest)) {
            print_error("%s[%d] is %.17g, not %.17g\n", name, i, values[i], expected[i]);
            fail();
        }
}

static const int batches[] = {1, 2, 7, 64};

/* The weights, and everything on the way: gradients of the sum of squares. */
static void weights_are_gradients_of_the_sum(void **state)
{
    (void)state;
    static struct by_hand h;
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        derive(&h, batches[i]);
        int rows = h.batch, cells = h.batch * HIDDEN;
        struct recorded n = record_network(ag_tape_new(AG_F64), &h);
        ag_tensor L = ag_sum(ag_square(n.A)), g[8];
        const ag_tensor wrt[] = {n.A, n.B, n.C, n.D, n.E, n.F, n.W1, n.W2};
        assert_equal("A", n.A, h.A, rows);
        assert_equal("D", n.D, h.D, cells);
        assert_true(ag_gradients(L, wrt, 8, g));
        assert_equal("dL/dA", g[0], h.dA, rows);
        assert_equal("dL/dB", g[1], h.dB, rows);
        assert_equal("dL/dC", g[2], h.dC, rows);
        assert_equal("dL/dD", g[3], h.dD, cells);
        assert_equal("dL/dE", g[4], h.dE, cells);
        assert_equal("dL/dF", g[5], h.dF, cells);
        assert_equal("dL/dW1", g[6], h.dW1, IN * HIDDEN);
        assert_equal("dL/dW2", g[7], h.dW2, HIDDEN);
        assert_true(ag_backward(L));
        assert_equal("dL/dW1", ag_gradient(n.W1), h.dW1, IN * HIDDEN);
        assert_equal("dL/dW2", ag_gradient(n.W2), h.dW2, HIDDEN);
        ag_tape_free(n.tape);
    }
}

/* The biases: gradients of the mean of squares. */
static void biases_are_gradients_of_the_mean(void **state)
{
    (void)state;
    static struct by_hand h;
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        derive(&h, batches[i]);
        struct recorded n = record_network(ag_tape_new(AG_F64), &h);
        assert_true(ag_backward(ag_mean_square(n.A)));
        assert_equal("dL/db1", ag_gradient(n.b1), h.mean_db1, HIDDEN);
        assert_equal("dL/db2", ag_gradient(n.b2), &h.mean_db2, 1);
        ag_tape_free(n.tape);
    }
}

/* One loss for all of them: the tutorial's weights are then too large by the batch size. */
static void one_loss_differs_by_the_batch_size(void **state)
{
    (void)state;
    static struct by_hand h;
    double scaled[IN * HIDDEN];
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        derive(&h, batches[i]);
        struct recorded n = record_network(ag_tape_new(AG_F64), &h);
        assert_true(ag_backward(ag_mean_square(n.A)));
        for (int k = 0; k < IN * HIDDEN; k++)
            scaled[k] = h.dW1[k] / h.batch;
        assert_equal("dL/dW1", ag_gradient(n.W1), scaled, IN * HIDDEN);
        for (int k = 0; k < HIDDEN; k++)
            scaled[k] = h.dW2[k] / h.batch;
        assert_equal("dL/dW2", ag_gradient(n.W2), scaled, HIDDEN);
        ag_tape_free(n.tape);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_gradients_of_the_sum),
        cmocka_unit_test(biases_are_gradients_of_the_mean),
        cmocka_unit_test(one_loss_differs_by_the_batch_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
