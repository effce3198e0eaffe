/* What planning (plan.c) hands to running by blocks of rows (blocks.c). */
#ifndef TAPEGRAD_BLOCKS_H
#define TAPEGRAD_BLOCKS_H

#include "ops/ops.h"

/* Rows run ROWS at a time, and a chunk of blocks is one thread's at a time. How many blocks make a
 * chunk depends on the rows alone, so that sums, which are made by chunks, do as well. */
enum { ROWS = 64, CHUNK_BLOCKS = 4, MOST_CHUNKS = 64 };

static inline int64_t ceil_div(int64_t x, int64_t y)
{
    return (x + y - 1) / y;
}

static inline int64_t rows_of_chunk(int64_t rows)
{
    int64_t blocks = ceil_div(ceil_div(rows, ROWS), MOST_CHUNKS);
    return ROWS * (blocks > CHUNK_BLOCKS ? blocks : CHUNK_BLOCKS);
}

static inline int64_t chunks_of(int64_t rows)
{
    return ceil_div(rows, rows_of_chunk(rows));
}

/* A part in the group now being planned: struct record's `role`, which counts while its `group` is
 * the tape's. Of a step, FUSED: it runs together with a later one. */
enum role { OUTSIDE, CUT, WHOLE, ROW, SUM_OF_ROWS, LATER, FUSED };

/* One record of a group, or an operand that it cuts into blocks; all by their indices. */
struct step {
    uint32_t r;          /* what is run */
    struct fusion fused; /* and what comes with it: the values are those of its last */
    char *data;          /* their memory in full */
    enum role role;
    int slot;    /* of tape->slots: where its block goes if it is elided; else -1 */
    size_t sums; /* of SUM_OF_ROWS: where its sums begin, one for each chunk but the first */
    size_t row_bytes;
    int64_t row_count, loop_rows; /* of one row: elements, and r->loop's outermost size */
};

/* Another thread's copy of what running changes: the records, and their loops. */
struct runner {
    ag_tape tape;
    struct loop *loop;     /* by step */
    struct scratch memory; /* of all these */
    uint32_t group;        /* the plan that it is a copy for */
};

struct step make_step(const ag_tape *tape, uint32_t r, enum role role, int64_t rows);
int64_t rows_of(const ag_tape *tape, const struct record *r); /* of one that goes by rows */
bool is_cut(const struct record *r, int k);                   /* is operand k, along with r? */

/* Runs one record by itself, and stores its values. A sum over many rows is made of the same parts
 * as in a group. */
void run_sum_of_rows(ag_tape *tape, struct record *r);

static inline void run_record(ag_tape *tape, struct record *r)
{
    if (!r->op->forward || (r->op->random && tape->checking))
        return;
    if (r->sums_chunks)
        run_sum_of_rows(tape, r);
    else
        r->op->forward(tape, r);
    r->elided = false;
}

/* Plans a group among the records from first to end; out of memory, which is the sticky error,
 * there is none. */
void make_plan(ag_tape *tape, uint32_t first, uint32_t end);
enum role role_of(const ag_tape *tape, const struct record *x);

#endif
