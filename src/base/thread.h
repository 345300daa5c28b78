/* thread - one pool of threads, a parallel region with a low-latency barrier
 *
 * The caller is thread 0 of the region.  Threads that wait spin for a short while, then sleep; they
 * sleep soon where they have no core each. */
#ifndef MS_BASE_THREAD_H
#define MS_BASE_THREAD_H

#include "base/status.h"

#include <stddef.h>

typedef struct ms_pool ms_pool;

/* threads <= 0: one for each core this process may use.  *out is freed with ms_pool_free. */
ms_status ms_pool_new(ms_pool **out, int threads, ms_error *err);
void ms_pool_free(ms_pool *pool); /* NULL is accepted */
/* Holds each thread, the caller's included, on a core of its own of this process: thread i of every
 * pinned pool on the same one, until ms_pool_free, which the same thread calls last of its pinned
 * pools first.  MS_INPUT: more threads than cores; MS_UNSUPPORTED: not on this system. */
ms_status ms_pool_pin(ms_pool *pool, ms_error *err);
int ms_pool_threads(const ms_pool *pool);
int ms_cores(void);

/* Runs body(arg, thread, threads) on every thread of the pool and returns when all are done.
 * Not reentrant: one region at a time. */
typedef void ms_region(void *arg, int thread, int threads);
void ms_pool_run(ms_pool *pool, ms_region *body, void *arg);

/* Inside a region: waits until every thread of the pool has arrived. */
void ms_pool_barrier(ms_pool *pool);

/* The part [*first, *last) of n items that belongs to a thread; multiples of grain except at
 * the end. */
static inline void ms_share(size_t n, size_t grain, int thread, int threads, size_t *first,
                            size_t *last)
{
    size_t blocks = (n + grain - 1) / grain;
    size_t lo = blocks * (size_t)thread / (size_t)threads * grain;
    size_t hi = blocks * ((size_t)thread + 1) / (size_t)threads * grain;

    *first = lo < n ? lo : n;
    *last = hi < n ? hi : n;
}

#endif
