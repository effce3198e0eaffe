#include "hand.h"

#include <math.h>
#include <string.h>

/* Inlined with constants for in and hidden, the loops unroll and vectorise over the hidden units.
 * Nothing of size n is stored: a row goes forward and backward while its hidden layer is in
 * registers or the first cache. */
static inline __attribute__((always_inline)) float step(struct hand *net, size_t n, size_t in,
                                                        size_t hidden, const float *restrict x,
                                                        const float *restrict y, float rate)
{
    float dw1[HAND_MOST_IN * HAND_MOST_HIDDEN], db1[HAND_MOST_HIDDEN], dw2[HAND_MOST_HIDDEN];
    float h[HAND_MOST_HIDDEN], db2 = 0.0f, loss = 0.0f;
    memset(dw1, 0, in * hidden * sizeof *dw1);
    memset(db1, 0, hidden * sizeof *db1);
    memset(dw2, 0, hidden * sizeof *dw2);
    for (size_t r = 0; r < n; r++) {
        const float *row = x + r * in;
        float prediction = net->b2;
        for (size_t j = 0; j < hidden; j++)
            h[j] = net->b1[j];
        for (size_t i = 0; i < in; i++)
            for (size_t j = 0; j < hidden; j++)
                h[j] += row[i] * net->w1[i * hidden + j];
        for (size_t j = 0; j < hidden; j++)
            h[j] = 1.0f / (1.0f + expf(-h[j]));
        for (size_t j = 0; j < hidden; j++)
            prediction += h[j] * net->w2[j];
        float error = prediction - y[r], d = 2.0f / (float)n * error;
        loss += error * error;
        db2 += d;
        for (size_t j = 0; j < hidden; j++) {
            dw2[j] += d * h[j];
            h[j] = d * net->w2[j] * h[j] * (1.0f - h[j]);
            db1[j] += h[j];
        }
        for (size_t i = 0; i < in; i++)
            for (size_t j = 0; j < hidden; j++)
                dw1[i * hidden + j] += row[i] * h[j];
    }
    for (size_t i = 0; i < in * hidden; i++)
        net->w1[i] -= rate * dw1[i];
    for (size_t j = 0; j < hidden; j++) {
        net->b1[j] -= rate * db1[j];
        net->w2[j] -= rate * dw2[j];
    }
    net->b2 -= rate * db2;
    return loss / (float)n;
}

float hand_step(struct hand *net, size_t n, const float *x, const float *y, float rate)
{
    return step(net, n, net->in, net->hidden, x, y, rate);
}

float hand_step_8_64(struct hand *net, size_t n, const float *x, const float *y, float rate)
{
    return step(net, n, 8, 64, x, y, rate);
}
