/* Threads beside the tape's own, for work that is large: a pool that starts with the first such
 * work and sleeps when there is none.
 *
 * Work comes in parts, and whoever is awake takes the next. The caller takes parts like the others
 * and waits only for those that somebody has taken: a thread that is slow to wake up costs nothing.
 * Which thread runs what changes no result. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "tape.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 64, SPINS = 10000 };

/* `left` is the parts left of a job and how many threads may take them. The other fields may be
 * read by who has taken a part: until it is run, there is no other job. */
struct job {
    _Atomic uint32_t left;
    atomic_size_t unfinished;
    part_function *run;
    void *context;
};

enum { THREADS = 24 }; /* where that is in it */

static inline uint32_t parts_in(uint32_t left)
{
    return left & ((1u << THREADS) - 1);
}

static inline bool may_take(uint32_t left, int thread)
{
    return parts_in(left) && thread < (int)(left >> THREADS);
}

struct pool {
    struct job job;
    int threads; /* with the caller */
    pid_t owner; /* the process that they are in: a fork leaves them behind */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_int asleep;
    atomic_bool ends;
    struct member {
        struct pool *pool;
        pthread_t thread;
        struct scratch workspace;
        int number;
    } member[MOST_THREADS];
};

/* Lets the other hardware thread of the core go first. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- Taking parts ---- */

static void take_parts(struct job *job, int thread)
{
    uint32_t left = atomic_load(&job->left);
    while (may_take(left, thread)) {
        if (!atomic_compare_exchange_weak(&job->left, &left, left - 1))
            continue;
        job->run(job->context, parts_in(left) - 1, thread);
        atomic_fetch_sub(&job->unfinished, 1);
        left = atomic_load(&job->left);
    }
}

static bool is_wanted(const struct pool *pool, int thread)
{
    return may_take(atomic_load(&pool->job.left), thread) || atomic_load(&pool->ends);
}

static void wait_for_parts(struct pool *pool, int thread)
{
    for (int i = 0; i < SPINS; i++) {
        if (is_wanted(pool, thread))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->asleep, 1);
    while (!is_wanted(pool, thread))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *context)
{
    const struct member *member = context;
    struct pool *pool = member->pool;
    while (!atomic_load(&pool->ends)) {
        wait_for_parts(pool, member->number);
        take_parts(&pool->job, member->number);
    }
    return NULL;
}

static void wake_all(struct pool *pool)
{
    if (!atomic_load(&pool->asleep))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- The pool ---- */

/* Signals are for the program's own threads. */
static void start(struct pool *pool, int threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        struct member *member = &pool->member[pool->threads];
        member->pool = pool;
        member->number = pool->threads;
        if (pthread_create(&member->thread, NULL, work, member) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop(struct pool *pool)
{
    atomic_store(&pool->ends, true);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->member[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
}

void pool_free(ag_tape *tape)
{
    struct pool *pool = tape->pool;
    if (!pool)
        return;
    if (pool->owner == getpid())
        stop(pool);
    for (int i = 1; i < MOST_THREADS; i++)
        scratch_free(tape, &pool->member[i].workspace);
    tape_try(tape, pool, sizeof *pool, 0);
    tape->pool = NULL;
}

static struct pool *new_pool(ag_tape *tape, int threads)
{
    struct pool *pool = threads > 1 ? tape_try(tape, NULL, 0, sizeof *pool) : NULL;
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof *pool);
    pool->owner = getpid();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    start(pool, threads);
    return pool;
}

static int cores(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

/* ---- The engine's side ---- */

int threads_for(ag_tape *tape, double work)
{
    if (!worth_sharing(tape, work))
        return 1;
    if (tape->pool && tape->pool->owner != getpid())
        pool_free(tape);
    if (!tape->pool) {
        int threads = tape->threads ? tape->threads : cores();
        if (threads == 1)
            tape->threads = 1; /* and need not be asked again */
        tape->pool = new_pool(tape, threads < MOST_THREADS ? threads : MOST_THREADS);
    }
    return tape->pool ? tape->pool->threads : 1;
}

void run_parts(ag_tape *tape, int threads, size_t parts, part_function *run, void *context)
{
    if (threads < 2 || parts < 2) {
        for (size_t i = 0; i < parts; i++)
            run(context, i, 0);
        return;
    }
    struct pool *pool = tape->pool;
    struct job *job = &pool->job;
    job->run = run;
    job->context = context;
    tape->sharing = true;
    atomic_store(&job->unfinished, parts);
    atomic_store(&job->left, (uint32_t)threads << THREADS | (uint32_t)parts);
    wake_all(pool);
    take_parts(job, 0);
    while (atomic_load(&job->unfinished))
        sched_yield();
    tape->sharing = false;
}

/* ---- Shares ---- */

struct shares {
    size_t n, unit, parts;
    share_function *run;
    void *context;
};

static size_t start_of_share(const struct shares *s, size_t part)
{
    return part == s->parts ? s->n : s->n * part / s->parts / s->unit * s->unit;
}

static void run_share(void *context, size_t part, int thread)
{
    const struct shares *s = context;
    size_t first = start_of_share(s, part), end = start_of_share(s, part + 1);
    s->run(s->context, first, end - first, thread);
}

void run_shares(ag_tape *tape, int threads, size_t n, size_t unit, share_function *run,
                void *context)
{
    size_t units = n / unit, parts = units < (size_t)threads ? units : (size_t)threads;
    struct shares shares = {n, unit, parts ? parts : 1, run, context};
    run_parts(tape, threads, shares.parts, run_share, &shares);
}

void share_elements(ag_tape *tape, size_t n, share_function *run, void *context)
{
    run_shares(tape, threads_for(tape, NANOSECONDS * (double)n), n, LEAST_ELEMENTS, run, context);
}

int give_workspaces(ag_tape *tape, int threads, size_t size)
{
    int given = 1;
    while (given < threads && scratch_try(tape, &tape->pool->member[given].workspace, size))
        given++;
    return given;
}

void *workspace_of(const ag_tape *tape, int thread)
{
    return thread ? tape->pool->member[thread].workspace.at : tape->workspace.at;
}

/* ---- How many ---- */

bool threads_from_environment(ag_tape *tape)
{
    const char *text = getenv("TAPEGRAD_THREADS");
    char *end;
    if (!text || !*text)
        return true;
    long threads = strtol(text, &end, 10);
    if (!*end && threads >= 0 && threads <= MOST_THREADS)
        return ag_set_threads(tape, (int)threads);
    return fault(tape, "TAPEGRAD_THREADS is '%s'; it may be 0 (as many as there are cores) to %d",
                 text, MOST_THREADS);
}

bool ag_set_threads(ag_tape *tape, int threads)
{
    if (!tape)
        return false;
    if (threads < 0 || threads > MOST_THREADS)
        return fault(tape,
                     "set_threads: %d threads asked for; 0 (as many as there are cores) to %d",
                     threads, MOST_THREADS);
    if (tape->threads != threads)
        pool_free(tape);
    tape->threads = threads;
    return true;
}
