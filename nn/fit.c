/* The training loop. A tape holds one program at a time: that of a batch, recorded when its size or
 * the mode changes, and replayed otherwise; a replay gives the bits of a recording, so a run that
 * was interrupted between any two steps can be resumed bit by bit.
 *
 * A signal handler has nowhere to write but a static variable: the one here counts interruptions,
 * and a loop stops when the count is not what it was at its beginning. */
#define _POSIX_C_SOURCE 200809L /* sigaction */
#include "fit.h"

#include <math.h>
#include <signal.h>

enum { STATE = 4, PLAN = 10 };

struct run {
    const nn_fit_options *options;
    ag_tape *tape;
    nn_error *error;
    nn_history *history;
    nn_progress progress;
    nn_batches batches;
    nn_params *average, *best; /* copies, or NULL */
    ag_tensor rows, loss;      /* of the recorded program, */
    size_t recorded;           /* its batch's size (0: none), */
    bool training;             /* and mode */
    uint64_t step;
    int interrupts;
    double state[STATE]; /* what else a checkpoint needs: */
};

/* Of this epoch so far: the sum of losses and its rows. Of all: the lowest validation loss, and the
 * epoch of it. */
enum { SUM, ROWS, LOWEST, BEST };

/* ---- Interruption ---- */

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts = interrupts + 1;
}

/* What is ignored, as by nohup, stays ignored. */
static void catch_interrupts(struct sigaction *old)
{
    struct sigaction action = {.sa_handler = count_interrupt};
    action.sa_flags = (int)((unsigned)SA_RESTART | (unsigned)SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, old);
    if (old->sa_handler == SIG_IGN)
        sigaction(SIGINT, old, NULL);
}

/* ---- One batch ---- */

static bool failed(struct run *r)
{
    const char *problem = ag_error(r->tape);
    return problem ? nn_fail(r->error, "%s", problem) : false;
}

static double next_row(void *context)
{
    const uint32_t **rows = context;
    return (double)*(*rows)++;
}

/* Row numbers go through a tensor. */
static bool check_rows(struct run *r, const char *who, const uint32_t *rows, size_t count)
{
    bool single = ag_tape_dtype(r->tape) == AG_F32;
    for (size_t i = 0; single && i < count; i++)
        if (rows[i] > 1u << 24)
            return nn_fail(r->error, "%s: row %u cannot be told from its neighbours in float32",
                           who, (unsigned)rows[i]);
    return !ag_error(r->tape) || failed(r);
}

static bool record(struct run *r, const uint32_t *rows, size_t count, bool training)
{
    const nn_fit_options *o = r->options;
    ag_tape_reset(r->tape);
    nn_set_training(o->params, training);
    r->recorded = count;
    r->training = training;
    r->rows = ag_input(r->tape, "rows", AG_SHAPE((int64_t)count));
    ag_set_each(r->rows, next_row, &rows);
    r->loss = o->loss(o->context, r->rows);
    return !training || ag_backward(r->loss);
}

/* The loss of these rows and, in training, its gradients. */
static bool compute(struct run *r, const uint32_t *rows, size_t count, bool training, double *loss)
{
    bool good;
    if (r->recorded != count || r->training != training)
        good = record(r, rows, count, training);
    else
        good = ag_set_each(r->rows, next_row, &rows) && ag_replay(r->tape);
    *loss = good ? ag_item(r->loss) : (double)NAN;
    return !ag_error(r->tape) || failed(r);
}

static bool update(struct run *r)
{
    const nn_fit_options *o = r->options;
    bool good = !o->schedule || nn_set_rate(o->optimizer, nn_schedule_rate(o->schedule, r->step));
    good = good && nn_step(o->optimizer) &&
           (!r->average || nn_average(r->average, o->params, o->average));
    r->step++;
    return good || failed(r);
}

/* ---- Checkpoints ---- */

/* What must be the same when training goes on. */
static const char *const plan_names[PLAN] = {"fit/batch",           "fit/accumulate",
                                             "fit/average",         "fit/schedule/kind",
                                             "fit/schedule/rate",   "fit/schedule/floor",
                                             "fit/schedule/factor", "fit/schedule/warmup",
                                             "fit/schedule/every",  "fit/schedule/total"};

static bool checkpoint(struct run *r, bool save)
{
    const nn_fit_options *o = r->options;
    nn_history *h = r->history;
    const nn_schedule s = o->schedule ? *o->schedule : (nn_schedule){0};
    double plan[PLAN] = {(double)o->batch, o->accumulate > 1 ? (double)o->accumulate : 1.0,
                         o->average,       s.kind,
                         s.rate,           s.floor,
                         s.factor,         (double)s.warmup,
                         (double)s.every,  (double)s.total};
    nn_numbers numbers[3 + PLAN] = {{"fit/state", r->state, STATE, 0, false},
                                    {"fit/train", h->train, h->epochs, o->epochs, false},
                                    {"fit/validation", h->validation, h->epochs, o->epochs, false}};
    for (size_t i = 0; i < PLAN; i++)
        numbers[3 + i] = (nn_numbers){plan_names[i], &plan[i], 1, 0, true};
    nn_checkpoint c = {.params = o->params,
                       .optimizer = o->optimizer,
                       .batches = &r->batches,
                       .average = r->average,
                       .best = r->best,
                       .step = r->step,
                       .numbers = numbers,
                       .numbers_count = sizeof numbers / sizeof *numbers};
    bool good = save ? nn_save_checkpoint(&c, o->checkpoint, r->error)
                     : nn_load_checkpoint(&c, o->checkpoint, r->error);
    r->step = c.step;
    h->epochs = numbers[1].count;
    return good;
}

/* ---- One epoch ---- */

/* False with an error, or when interrupted. */
static bool train_epoch(struct run *r, bool *interrupted)
{
    const nn_fit_options *o = r->options;
    const uint32_t *rows;
    size_t summed = 0;
    for (size_t n; (n = nn_batches_next(&r->batches, &rows)) > 0;) {
        double loss;
        bool last = r->batches.position.offset == r->batches.count;
        if (!compute(r, rows, n, true, &loss))
            return false;
        if (!isfinite(loss))
            return nn_fail(r->error,
                           "fit: training diverged: the loss is %g in epoch %zu, step %llu; a "
                           "smaller rate, or a warm-up, may help",
                           loss, r->history->epochs + 1, (unsigned long long)r->step + 1);
        r->state[SUM] += loss * (double)n;
        r->state[ROWS] += (double)n;
        nn_progress_rows(&r->progress, n);
        if (o->accumulate > 1 && !nn_accumulate(o->optimizer))
            return failed(r);
        if (++summed < o->accumulate && !last)
            continue;
        summed = 0;
        if (!update(r))
            return false;
        *interrupted = o->interruptible && interrupts != r->interrupts;
        if (*interrupted)
            return false;
    }
    return true;
}

static bool mean_loss(struct run *r, const uint32_t *rows, size_t count, double *loss)
{
    double sum = 0.0;
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < r->options->batch ? count - done : r->options->batch;
        if (!compute(r, rows + done, n, false, loss))
            return false;
        sum += *loss * (double)n;
    }
    *loss = sum / (double)count;
    return true;
}

/* Of the averages, if there are such; keeps the weights that it measured if they are the best. */
static bool validate(struct run *r, double *loss)
{
    const nn_split *split = r->options->split;
    nn_params *params = r->options->params;
    *loss = (double)NAN;
    if (!split->validation_count)
        return true;
    bool good = (!r->average || nn_swap(r->average, params) || failed(r)) &&
                mean_loss(r, split->validation, split->validation_count, loss);
    if (good && !isfinite(*loss))
        return nn_fail(r->error,
                       "fit: training diverged: the validation loss is %g after epoch %zu", *loss,
                       r->history->epochs + 1);
    if (good && *loss < r->state[LOWEST]) {
        r->state[LOWEST] = *loss;
        r->state[BEST] = (double)r->history->epochs;
        good = !r->best || nn_copy(r->best, params) || failed(r);
    }
    return good && (!r->average || nn_swap(r->average, params) || failed(r));
}

static bool run_epoch(struct run *r, bool *interrupted)
{
    double validation;
    if (!train_epoch(r, interrupted) || !validate(r, &validation))
        return false;
    nn_history *h = r->history;
    h->train[h->epochs] = r->state[SUM] / r->state[ROWS];
    h->validation[h->epochs] = validation;
    nn_progress_epoch(&r->progress, h->train[h->epochs], validation);
    h->epochs++;
    h->best = (size_t)r->state[BEST];
    r->state[SUM] = r->state[ROWS] = 0.0;
    return !r->options->checkpoint || checkpoint(r, true);
}

/* ---- All of it ---- */

static bool check(struct run *r)
{
    const nn_fit_options *o = r->options;
    const nn_split *s = o ? o->split : NULL;
    if (!s || !o->params || !o->optimizer || !o->loss || (s->train_count && !s->train) ||
        (s->validation_count && !s->validation))
        return nn_fail(r->error, "fit: params, optimizer, loss and split must be given");
    if (o->patience && !s->validation_count)
        return nn_fail(r->error, "fit: patience needs validation rows");
    if (!(o->average >= 0.0 && o->average < 1.0))
        return nn_fail(r->error, "fit: average is %g; it must be at least 0 and below 1",
                       o->average);
    if (o->resume && !o->checkpoint)
        return nn_fail(r->error, "fit: resume needs a checkpoint");
    r->tape = nn_params_tape(o->params);
    return check_rows(r, "fit", s->train, s->train_count) &&
           check_rows(r, "fit", s->validation, s->validation_count);
}

static bool begin(struct run *r)
{
    const nn_fit_options *o = r->options;
    nn_history *h = r->history;
    ag_rng rng;
    ag_rng_seed(&rng, o->seed);
    if (!nn_batches_new(&r->batches, o->split->train, o->split->train_count, o->batch, false, &rng,
                        r->error))
        return false;
    bool fits = o->epochs < PTRDIFF_MAX / (4 * sizeof *h->train);
    h->train = ag_allocate(r->tape, fits ? 2 * (o->epochs + 1) * sizeof *h->train : SIZE_MAX);
    h->validation = h->train ? h->train + o->epochs + 1 : NULL;
    r->average = o->average > 0.0 ? nn_params_copy(o->params) : NULL;
    r->best = o->patience ? nn_params_copy(o->params) : NULL;
    r->state[LOWEST] = HUGE_VAL;
    if (ag_error(r->tape))
        return failed(r);
    if (o->resume && !checkpoint(r, false))
        return false;
    size_t before = h->epochs;
    if (!(r->state[BEST] >= 0.0 && r->state[BEST] <= (double)before))
        return nn_fail(r->error, "%s: its best epoch is %g of %zu", o->checkpoint, r->state[BEST],
                       before);
    h->best = (size_t)r->state[BEST];
    nn_progress_begin(&r->progress, o->progress, o->epochs, r->batches.count);
    nn_progress_resume(&r->progress, before,
                       before * r->batches.count + (size_t)r->batches.position.offset,
                       before ? h->train[before - 1] : (double)NAN,
                       before ? h->validation[before - 1] : (double)NAN);
    return true;
}

static bool stale(const struct run *r)
{
    size_t patience = r->options->patience;
    return patience && r->history->epochs - r->history->best > patience;
}

static nn_fit_end train(struct run *r)
{
    const nn_fit_options *o = r->options;
    bool interrupted = false;
    while (r->history->epochs < o->epochs && !stale(r))
        if (!run_epoch(r, &interrupted)) {
            bool saved = interrupted && (!o->checkpoint || checkpoint(r, true));
            return saved ? NN_FIT_INTERRUPTED : NN_FIT_FAILED;
        }
    const nn_params *result = r->best ? r->best : r->average;
    if (result && !nn_copy(o->params, result)) {
        failed(r);
        return NN_FIT_FAILED;
    }
    return r->history->epochs < o->epochs ? NN_FIT_STOPPED_EARLY : NN_FIT_DONE;
}

nn_fit_end nn_fit(const nn_fit_options *options, nn_history *history, nn_error *error)
{
    struct sigaction old;
    nn_history own;
    struct run r = {.options = options,
                    .error = error,
                    .history = history ? history : &own,
                    .interrupts = interrupts};
    *r.history = (nn_history){0};
    if (!check(&r))
        return NN_FIT_FAILED;
    bool training = nn_training(options->params);
    if (options->interruptible)
        catch_interrupts(&old);
    nn_fit_end end = begin(&r) ? train(&r) : NN_FIT_FAILED;
    if (options->interruptible)
        sigaction(SIGINT, &old, NULL);
    nn_progress_end(&r.progress);
    nn_batches_free(&r.batches);
    nn_set_training(options->params, training);
    return end;
}

bool nn_evaluate(const nn_fit_options *options, const uint32_t *rows, size_t count, double *loss,
                 nn_error *error)
{
    struct run r = {.options = options, .error = error};
    if (!options || !options->params || !options->loss || !options->batch || !count || !rows ||
        !loss)
        return nn_fail(error, "evaluate: params, loss, batch and rows must be given");
    bool training = nn_training(options->params);
    r.tape = nn_params_tape(options->params);
    bool good = check_rows(&r, "evaluate", rows, count) && mean_loss(&r, rows, count, loss);
    nn_set_training(options->params, training);
    return good;
}
