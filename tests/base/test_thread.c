/* The pool: every thread once a region, whatever the number of cores; the barrier parts what comes
 * before from what comes behind; shares cover every item once. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* affinity */
#endif
#include "base/thread.h"

#include "scratch.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { ITEMS = 1000, MOST = 33 };

/* A body must not call cmocka's asserts: it runs on other threads.  It counts, the test judges. */
typedef struct {
    ms_pool *pool;
    atomic_int calls[MOST], wrong;
    int item[ITEMS], before[MOST], rounds; /* no atomics: each belongs to one thread */
} job;

static ms_pool *pool(int threads)
{
    ms_pool *p = NULL;
    ms_error err;

    must(ms_pool_new(&p, threads, &err), &err);
    return p;
}

/* Each thread of the pool once, and each item once. */
static void count(void *arg, int thread, int threads)
{
    job *j = arg;
    size_t first, last;

    if (thread < 0 || thread >= threads || threads != ms_pool_threads(j->pool)) {
        j->wrong++;
        return;
    }
    j->calls[thread]++;
    ms_share(ITEMS, 7, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) j->item[i]++;
}

static void expect_counts(const job *j, int times)
{
    assert_int_equal(j->wrong, 0);
    for (int t = 0; t < MOST; t++)
        assert_int_equal(j->calls[t], t < ms_pool_threads(j->pool) ? times : 0);
    for (int i = 0; i < ITEMS; i++) assert_int_equal(j->item[i], times);
}

static const int THREADS[] = {1, 2, 3, 8, MOST}; /* the last: more than cores, mostly */

enum { POOLS = COUNT(THREADS) };

static void cores_are_the_default(void **state)
{
    ms_pool *p = pool(0);

    (void)state;
    assert_true(ms_cores() >= 1 && ms_pool_threads(p) == ms_cores());
    ms_pool_free(p);
    ms_pool_free(NULL);
}

/* Workers that spin, and workers that have gone to sleep between regions, hear of the next one. */
static void each_thread_runs_each_region_once(void **state)
{
    static const struct {
        int threads, regions;
        long pause_ns;
    } row[] = {{1, 100, 0},   {2, 20000, 0},    {4, 5000, 0},
               {MOST, 50, 0}, {3, 60, 2000000}, {3, 300, 50000}};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        const struct timespec pause = {.tv_nsec = row[i].pause_ns};
        job j = {.pool = pool(row[i].threads)};

        for (int k = 0; k < row[i].regions; k++) {
            if (row[i].pause_ns) nanosleep(&pause, NULL);
            ms_pool_run(j.pool, count, &j);
        }
        expect_counts(&j, row[i].regions);
        ms_pool_free(j.pool);
    }
}

static void pools_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        job j = {.pool = pool(1 + i % 5)};

        if (i % 3) ms_pool_run(j.pool, count, &j); /* at times without a region */
        expect_counts(&j, i % 3 != 0);
        ms_pool_free(j.pool);
    }
}

/* Thread 0 of a region runs regions of another pool. */
static void run_inner(void *arg, int thread, int threads)
{
    job *j = arg;

    j[0].calls[thread] += threads == ms_pool_threads(j[0].pool);
    if (thread == 0)
        for (int i = 0; i < 50; i++) ms_pool_run(j[1].pool, count, &j[1]);
}

static void a_region_may_use_another_pool(void **state)
{
    job j[2] = {{.pool = pool(3)}, {.pool = pool(4)}};

    (void)state;
    ms_pool_run(j[0].pool, run_inner, j);
    ms_pool_run(j[0].pool, run_inner, j);
    expect_counts(&j[1], 100);
    ms_pool_run(j[1].pool, count, &j[1]); /* and alone */
    expect_counts(&j[1], 101);
    for (int t = 0; t < 3; t++) assert_int_equal(j[0].calls[t], 2);
    ms_pool_free(j[0].pool);
    ms_pool_free(j[1].pool);
}

/* Behind a barrier every thread sees what all wrote before it. */
static void meet(void *arg, int thread, int threads)
{
    job *j = arg;

    for (int round = 1; round <= j->rounds; round++) {
        j->before[thread] = round;
        ms_pool_barrier(j->pool);
        for (int t = 0; t < threads; t++) j->wrong += j->before[t] != round;
        ms_pool_barrier(j->pool);
    }
}

static void a_barrier_waits_for_all(void **state)
{
    static const int rounds[POOLS] = {1000, 2000, 500, 100, 10};

    (void)state;
    for (int i = 0; i < POOLS; i++) {
        job j = {.pool = pool(THREADS[i]), .rounds = rounds[i]};

        ms_pool_run(j.pool, meet, &j);
        ms_pool_run(j.pool, meet, &j);
        assert_int_equal(j.wrong, 0);
        ms_pool_free(j.pool);
    }
}

/* Threads that share a core: each region needs the system to let all of them run. */
static void few_cores_are_enough(void **state)
{
    job j = {.rounds = 300};

    (void)state;
#ifdef __linux__
    cpu_set_t before, one;

    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int core = 0; !CPU_COUNT(&one); core++)
        if (CPU_ISSET(core, &before)) CPU_SET(core, &one);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
#endif
    j.pool = pool(4); /* its workers run where this thread does */
    for (int k = 0; k < 500; k++) ms_pool_run(j.pool, count, &j);
    ms_pool_run(j.pool, meet, &j);
    expect_counts(&j, 500);
    ms_pool_free(j.pool);
#ifdef __linux__
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof before, &before), 0);
#endif
}

/* -- pins ------------------------------------------------------------------------------------ */

#ifdef __linux__
/* Where each thread may run: its only core, or -1. */
typedef struct {
    int core[MOST];
} places;

static void note_core(void *arg, int thread, int threads)
{
    places *p = arg;
    cpu_set_t set;

    (void)threads;
    p->core[thread] = -1;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) || CPU_COUNT(&set) != 1) return;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &set)) p->core[thread] = core;
}

static void expect_pinned(ms_pool *p, const cpu_set_t *allowed)
{
    places at = {{0}};

    ms_pool_run(p, note_core, &at);
    for (int t = 0; t < ms_pool_threads(p); t++) {
        assert_true(at.core[t] >= 0 && CPU_ISSET(at.core[t], allowed));
        for (int other = 0; other < t; other++) assert_true(at.core[other] != at.core[t]);
    }
}

static void pinned_threads_have_a_core_each(void **state)
{
    ms_pool *p = pool(ms_cores() < MOST ? 0 : MOST);
    cpu_set_t before, after;
    ms_error err;

    (void)state;
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    must(ms_pool_pin(p, &err), &err);
    must(ms_pool_pin(p, &err), &err); /* again: nothing new */
    expect_pinned(p, &before);
    ms_pool_free(p);
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

/* The one core of a pinned caller is neither what the process has nor where its workers go. */
static void a_pin_does_not_reach_other_pools(void **state)
{
    int cores = ms_cores();
    ms_pool *first = pool(1), *second, *third;
    cpu_set_t before, after;
    places at = {{0}};
    ms_error err;

    (void)state;
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    must(ms_pool_pin(first, &err), &err);
    assert_int_equal(ms_cores(), cores);
    second = pool(2);
    ms_pool_run(second, note_core, &at);
    assert_int_equal(at.core[1]<0, cores> 1);
    third = pool(cores < MOST ? cores : MOST);
    must(ms_pool_pin(third, &err), &err);
    expect_pinned(third, &before);
    ms_pool_free(third);
    ms_pool_free(second);
    ms_pool_free(first);
    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

static void more_threads_than_cores_cannot_be_pinned(void **state)
{
    job j = {0};
    ms_error err;

    (void)state;
    if (ms_cores() >= MOST) skip();
    j.pool = pool(ms_cores() + 1);
    assert_int_equal(ms_pool_pin(j.pool, &err), MS_INPUT);
    assert_non_null(strstr(err.message, "threads, but this process has"));
    ms_pool_run(j.pool, count, &j); /* it goes on without */
    expect_counts(&j, 1);
    ms_pool_free(j.pool);
}
#else
static void other_systems_do_not_pin(void **state)
{
    ms_pool *p = pool(1);
    ms_error err;

    (void)state;
    assert_int_equal(ms_pool_pin(p, &err), MS_UNSUPPORTED);
    ms_pool_free(p);
}
#endif

/* Neighbours touch, the ends are the ends, a cut is at a multiple of the grain, and no share is
 * more than a grain larger than another. */
static void shares_cover_every_item_once(void **state)
{
    static const size_t n[] = {0, 1, 2, 15, 16, 17, 1000, 4097}, grain[] = {1, 3, 16, 5000};

    (void)state;
    for (size_t i = 0; i < COUNT(n); i++)
        for (size_t g = 0; g < COUNT(grain); g++)
            for (int threads = 1; threads < 20; threads++) {
                size_t at = 0, least = SIZE_MAX, most = 0, first, last;

                for (int t = 0; t < threads; t++) {
                    ms_share(n[i], grain[g], t, threads, &first, &last);
                    assert_true(first == at && last >= first);
                    assert_true(last == n[i] || last % grain[g] == 0);
                    size_t blocks = (last - first + grain[g] - 1) / grain[g];
                    least = blocks < least ? blocks : least;
                    most = blocks > most ? blocks : most;
                    at = last;
                }
                assert_int_equal(at, n[i]);
                assert_true(most - least <= 1);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_are_the_default),
        cmocka_unit_test(each_thread_runs_each_region_once),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(a_region_may_use_another_pool),
        cmocka_unit_test(a_barrier_waits_for_all),
        cmocka_unit_test(few_cores_are_enough),
#ifdef __linux__
        cmocka_unit_test(pinned_threads_have_a_core_each),
        cmocka_unit_test(a_pin_does_not_reach_other_pools),
        cmocka_unit_test(more_threads_than_cores_cannot_be_pinned),
#else
        cmocka_unit_test(other_systems_do_not_pin),
#endif
        cmocka_unit_test(shares_cover_every_item_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
