/* thread - a pool whose workers spin shortly, then sleep
 *
 * A region is announced by a new value of `round`; `arrived` counts those that are done with it.
 * The barrier inside a region is sense-reversing by a generation counter. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity: the cores of this process, not of the machine */
#endif
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SPINS = 4000,      /* pauses before a worker sleeps: some 20 to 50 us */
    SPINS_YIELD = 2000 /* pauses before a waiting thread gives its core away */
};

typedef struct {
    ms_pool *pool;
    int index;
    pthread_t thread;
} worker;

struct ms_pool {
    int threads; /* with the caller */
    int started; /* workers that run */
    worker *workers;
    ms_region *body;
    void *arg;
    bool stop;          /* read after a new round only */
    atomic_uint round;  /* regions announced */
    atomic_int arrived; /* workers done with the region */
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_int waiting;     /* barrier: threads that have arrived */
    atomic_uint generation; /* barrier: how often it has opened */
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One step of waiting: spins, and gives the core away when the wait is long. */
static inline void wait_step(int *spins)
{
    if (++*spins < SPINS_YIELD) {
        pause_briefly();
        return;
    }
    sched_yield();
}

int ms_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) n = CPU_COUNT(&set);
#endif
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
}

/* Returns when a round other than `seen` is announced. */
static unsigned wait_for_round(ms_pool *p, unsigned seen)
{
    unsigned now;

    for (int i = 0; i < SPINS; i++) {
        now = atomic_load_explicit(&p->round, memory_order_acquire);
        if (now != seen) return now;
        pause_briefly();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    while ((now = atomic_load(&p->round)) == seen) pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
    return now;
}

static void *work(void *arg)
{
    worker *w = arg;
    ms_pool *p = w->pool;
    unsigned seen = 0;

    for (;;) {
        seen = wait_for_round(p, seen);
        if (p->stop) return NULL;
        p->body(p->arg, w->index, p->threads);
        atomic_fetch_add_explicit(&p->arrived, 1, memory_order_release);
    }
}

/* Sequentially consistent: either this sees a sleeper, or the sleeper sees the new round. */
static void announce(ms_pool *p)
{
    atomic_fetch_add(&p->round, 1);
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

ms_status ms_pool_new(ms_pool **out, int threads, ms_error *err)
{
    ms_pool *p = calloc(1, sizeof *p);

    if (!p) return ms_fail(err, MS_MEMORY, "out of memory for a thread pool");
    p->threads = threads > 0 ? threads : ms_cores();
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = calloc((size_t)p->threads, sizeof *p->workers);
    if (!p->workers) {
        ms_pool_free(p);
        return ms_fail(err, MS_MEMORY, "out of memory for a thread pool");
    }
    for (int i = 1; i < p->threads; i++) {
        worker *w = &p->workers[i];

        *w = (worker){.pool = p, .index = i};
        if (pthread_create(&w->thread, NULL, work, w)) {
            ms_fail(err, MS_DEVICE, "cannot start thread %d of %d", i + 1, p->threads);
            ms_pool_free(p);
            return MS_DEVICE;
        }
        p->started++;
    }
    *out = p;
    return MS_OK;
}

void ms_pool_free(ms_pool *p)
{
    if (!p) return;
    p->stop = true;
    announce(p);
    for (int i = 1; i <= p->started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    free(p->workers);
    free(p);
}

int ms_pool_threads(const ms_pool *p)
{
    return p->threads;
}

void ms_pool_run(ms_pool *p, ms_region *body, void *arg)
{
    int spins = 0;

    if (p->threads == 1) {
        body(arg, 0, 1);
        return;
    }
    p->body = body;
    p->arg = arg;
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    announce(p);
    body(arg, 0, p->threads);
    while (atomic_load_explicit(&p->arrived, memory_order_acquire) != p->threads - 1)
        wait_step(&spins);
}

void ms_pool_barrier(ms_pool *p)
{
    unsigned generation = atomic_load_explicit(&p->generation, memory_order_relaxed);
    int spins = 0;

    if (atomic_fetch_add_explicit(&p->waiting, 1, memory_order_acq_rel) == p->threads - 1) {
        atomic_store_explicit(&p->waiting, 0, memory_order_relaxed);
        atomic_store_explicit(&p->generation, generation + 1, memory_order_release);
        return;
    }
    while (atomic_load_explicit(&p->generation, memory_order_acquire) == generation)
        wait_step(&spins);
}
