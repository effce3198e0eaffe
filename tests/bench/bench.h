/* What the parts of the benchmark share. */
#ifndef TAPEGRAD_BENCH_BENCH_H
#define TAPEGRAD_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "autograd/autograd.h"
#include "autograd/kernels/kernels.h"
#include "beside.h"

enum { MOST_LAYERS = 8 };

/* rows x size[0]-size[1]-...-size[layers], as a name says it: 64x8-64-1. */
struct network_shape {
    int64_t rows;
    int layers;
    int64_t size[MOST_LAYERS + 1];
};

struct bench {
    const char **prefixes; /* of the names of wanted rows; all rows if there are none */
    int prefix_count;
    bool json, has_blas;
    ag_dtype dtype;
    int threads; /* if more than one, rows are timed with one thread and with as many */
    const struct kernels *kernels;
    const struct beside *beside;
    double peak; /* operations a second of one core */
    bool wrong;  /* two that should have computed the same did not, or a tape has an error */
};

bool wanted(const struct bench *b, const char *name);

/* One line of the result; 0 for what it has not. */
struct row {
    const char *name;
    double seconds;
    double operations;                               /* floating-point operations of one call */
    double elements;                                 /* or elements, where these are counted */
    double hand, blocked, blas, libmvec, one_thread; /* seconds that others take for the same */
    int threads;                                     /* 0 is 1 */
    double loss;                                     /* after one step from the start */
};

void report(const struct bench *b, const struct row *row);

/* What is timed, if there is something to run, and the seconds that a call takes. */
struct timed {
    void (*run)(void *context);
    void *context;
    double seconds;
    size_t calls; /* in a batch */
};

/* Each one's best of several batches. The batches take turns, so that the ratio of two times is of
 * one machine at one moment. */
void time_together(struct timed *timed, int count);

double now(void); /* seconds */

/* Zeros, aligned for the kernels; an exit when there is no memory. */
void *zeros(size_t bytes);

/* Numbers in [-1, 1) that look random, the same on every machine and in compare.py: element i of an
 * array with a number of its own. */
double scattered(uint32_t array, uint32_t i);

/* Element i of an array of the tape's element type. */
void put(const struct bench *b, void *array, size_t i, double value);
double get(const struct bench *b, const void *array, size_t i);

/* Note that two results of the same computation differ, and an error of a tape, if there is one. */
void differ(struct bench *b, const char *name, double result, double expected);
void check_tape(struct bench *b, const ag_tape *tape);

void bench_step(struct bench *b, const struct network_shape *shape, bool fresh);
void bench_products(struct bench *b);
void bench_functions(struct bench *b);

#endif
