/* thread - a pool whose threads wait spinning, then asleep
 *
 * Three counters only go up: regions announced, workers done with them, arrivals at barriers.  Each
 * has a cache line of its own, and whoever waits, waits for one of them to reach a value.  How long
 * a wait spins is learnt: where threads share a core (another process has the other one, or there
 * are more threads than cores) it goes to sleep at once, which lets the other thread run.  Yielding
 * instead was measured: it gives the core to strangers for milliseconds. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* affinity: the cores of this process, not of the machine */
#endif
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE = 128,       /* bytes: a cache line, or two that a CPU fetches together */
    SPINS = 4000,     /* pauses before a waiting thread sleeps: some 20 to 60 us */
    SPINS_LEAST = 20, /* the same where waits have been ending asleep */
    PROBE = 64        /* of those waits one is long again */
};

typedef struct {
    ms_pool *pool;
    int index;
    pthread_t thread;
} worker;

/* Those that wait for a counter: how long they spin, and how many sleep. */
typedef struct {
    atomic_int spins, short_waits;
    atomic_int asleep;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
} waiters;

struct ms_pool {
    _Alignas(LINE) atomic_uint_fast64_t round; /* regions announced; written by the caller ... */
    ms_region *body;                           /* ... with what they do, in one line */
    void *arg;
    bool stop;
    _Alignas(LINE) atomic_uint_fast64_t done;    /* regions finished, by each worker */
    _Alignas(LINE) atomic_uint_fast64_t arrived; /* at barriers */
    _Alignas(LINE) waiters for_round;
    waiters for_done, for_barrier;
    int threads; /* with the caller */
    int started; /* workers that run */
    worker *workers;
#ifdef __linux__
    bool pinned;
    pthread_t caller; /* that is pinned with the workers ... */
    cpu_set_t before; /* ... and where it ran before */
#endif
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* -- cores ----------------------------------------------------------------------------------- */

#ifdef __linux__
/* While a pool is pinned its caller is on one core, and so would be what it asks or starts. */
static struct {
    pthread_mutex_t mutex;
    int pools;       /* that are pinned */
    cpu_set_t cores; /* of the process without them */
} pinned = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* The cores of this process, those of pinned pools included; none when the system does not tell. */
static cpu_set_t own_cores(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    pthread_mutex_lock(&pinned.mutex);
    if (pinned.pools)
        set = pinned.cores;
    else if (sched_getaffinity(0, sizeof set, &set))
        CPU_ZERO(&set);
    pthread_mutex_unlock(&pinned.mutex);
    return set;
}
#endif

int ms_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

#ifdef __linux__
    cpu_set_t set = own_cores();
    if (CPU_COUNT(&set)) n = CPU_COUNT(&set);
#endif
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
}

/* -- waiting --------------------------------------------------------------------------------- */

static inline bool reached(const atomic_uint_fast64_t *counter, uint64_t value)
{
    return atomic_load_explicit(counter, memory_order_acquire) >= value;
}

static void sleep_until(waiters *w, const atomic_uint_fast64_t *counter, uint64_t value)
{
    pthread_mutex_lock(&w->mutex);
    atomic_fetch_add(&w->asleep, 1);
    while (atomic_load(counter) < value) pthread_cond_wait(&w->wake, &w->mutex);
    atomic_fetch_sub(&w->asleep, 1);
    pthread_mutex_unlock(&w->mutex);
}

/* A wait that ends asleep halves the next ones: a spinning thread may hold the very core that the
 * other one needs.  One that ends spinning, be it a probe, makes them long again. */
static void wait_until(waiters *w, const atomic_uint_fast64_t *counter, uint64_t value)
{
    int usual = atomic_load_explicit(&w->spins, memory_order_relaxed), spins = usual;

    if (usual < SPINS &&
        atomic_fetch_add_explicit(&w->short_waits, 1, memory_order_relaxed) % PROBE == 0)
        spins = SPINS;
    for (int i = 0; i < spins; i++) {
        if (reached(counter, value)) {
            if (usual < SPINS) atomic_store_explicit(&w->spins, SPINS, memory_order_relaxed);
            return;
        }
        pause_briefly();
    }
    usual = usual / 2 > SPINS_LEAST ? usual / 2 : SPINS_LEAST;
    atomic_store_explicit(&w->spins, usual, memory_order_relaxed);
    sleep_until(w, counter, value);
}

/* Behind a sequentially consistent change of the counter: either this sees a sleeper, or the
 * sleeper sees the counter. */
static inline void wake(waiters *w)
{
    if (atomic_load(&w->asleep) == 0) return;
    pthread_mutex_lock(&w->mutex);
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

/* -- regions --------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    worker *w = arg;
    ms_pool *p = w->pool;
    uint64_t workers = (uint64_t)p->threads - 1;

    for (uint64_t round = 1;; round++) {
        wait_until(&p->for_round, &p->round, round);
        if (p->stop) return NULL;
        p->body(p->arg, w->index, p->threads);
        if (atomic_fetch_add(&p->done, 1) + 1 == round * workers) wake(&p->for_done);
    }
}

static void announce(ms_pool *p)
{
    atomic_fetch_add(&p->round, 1);
    wake(&p->for_round);
}

void ms_pool_run(ms_pool *p, ms_region *body, void *arg)
{
    if (p->threads == 1) {
        body(arg, 0, 1);
        return;
    }
    p->body = body;
    p->arg = arg;
    announce(p);
    body(arg, 0, p->threads);
    wait_until(&p->for_done, &p->done,
               atomic_load_explicit(&p->round, memory_order_relaxed) * ((uint64_t)p->threads - 1));
}

void ms_pool_barrier(ms_pool *p)
{
    uint64_t threads = (uint64_t)p->threads, before = atomic_fetch_add(&p->arrived, 1);
    uint64_t last = before / threads * threads + threads;

    if (before + 1 == last)
        wake(&p->for_barrier);
    else
        wait_until(&p->for_barrier, &p->arrived, last);
}

/* -- pools ----------------------------------------------------------------------------------- */

#ifdef __linux__
/* Thread i of the pool to the i-th core of the set. */
static int pin_threads(const ms_pool *p, const cpu_set_t *set)
{
    int core = -1, failed = 0;

    for (int i = 0; i < p->threads && !failed; i++) {
        cpu_set_t one;

        do core++;
        while (!CPU_ISSET(core, set));
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        failed = pthread_setaffinity_np(i ? p->workers[i].thread : p->caller, sizeof one, &one);
    }
    return failed;
}

static void unpin(ms_pool *p)
{
    if (!p->pinned) return;
    pthread_mutex_lock(&pinned.mutex);
    pinned.pools--;
    pthread_mutex_unlock(&pinned.mutex);
    if (pthread_equal(p->caller, pthread_self()))
        pthread_setaffinity_np(p->caller, sizeof p->before, &p->before);
    p->pinned = false;
}

ms_status ms_pool_pin(ms_pool *p, ms_error *err)
{
    cpu_set_t set = own_cores();

    if (p->pinned) return MS_OK;
    if (p->threads > CPU_COUNT(&set))
        return ms_fail(err, MS_INPUT, "pin: %d threads, but this process has %d core%s", p->threads,
                       CPU_COUNT(&set), CPU_COUNT(&set) == 1 ? "" : "s");
    p->caller = pthread_self();
    if (pthread_getaffinity_np(p->caller, sizeof p->before, &p->before))
        return ms_fail(err, MS_DEVICE, "pin: the system does not tell the cores of a thread");
    pthread_mutex_lock(&pinned.mutex);
    if (!pinned.pools++) pinned.cores = set;
    pthread_mutex_unlock(&pinned.mutex);
    p->pinned = true;
    if (!pin_threads(p, &set)) return MS_OK;
    unpin(p);
    return ms_fail(err, MS_DEVICE, "pin: the system does not let threads be held on cores");
}
#else
static void unpin(ms_pool *p)
{
    (void)p;
}

ms_status ms_pool_pin(ms_pool *p, ms_error *err)
{
    (void)p;
    return ms_fail(err, MS_UNSUPPORTED, "pin: this system cannot hold threads on cores");
}
#endif

static void waiters_init(waiters *w)
{
    atomic_init(&w->spins, SPINS);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
}

static void waiters_destroy(waiters *w)
{
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
}

/* A worker of a pinned caller would stay on that one core. */
static int start(worker *w)
{
    int failed = pthread_create(&w->thread, NULL, work, w);

#ifdef __linux__
    cpu_set_t set = own_cores();
    if (!failed && CPU_COUNT(&set)) pthread_setaffinity_np(w->thread, sizeof set, &set);
#endif
    return failed;
}

ms_status ms_pool_new(ms_pool **out, int threads, ms_error *err)
{
    ms_pool *p = aligned_alloc(LINE, sizeof *p);

    if (!p) return ms_fail(err, MS_MEMORY, "out of memory for a thread pool");
    memset(p, 0, sizeof *p);
    p->threads = threads > 0 ? threads : ms_cores();
    waiters_init(&p->for_round);
    waiters_init(&p->for_done);
    waiters_init(&p->for_barrier);
    p->workers = calloc((size_t)p->threads, sizeof *p->workers);
    if (!p->workers) {
        ms_pool_free(p);
        return ms_fail(err, MS_MEMORY, "out of memory for a thread pool");
    }
    for (int i = 1; i < p->threads; i++) {
        worker *w = &p->workers[i];

        *w = (worker){.pool = p, .index = i};
        if (start(w)) {
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
    unpin(p);
    p->stop = true;
    announce(p);
    for (int i = 1; i <= p->started; i++) pthread_join(p->workers[i].thread, NULL);
    waiters_destroy(&p->for_round);
    waiters_destroy(&p->for_done);
    waiters_destroy(&p->for_barrier);
    free(p->workers);
    free(p);
}

int ms_pool_threads(const ms_pool *p)
{
    return p->threads;
}
