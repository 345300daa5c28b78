/* bench - each marked case row filled with normal numbers, warmed up, then timed call by call */
#include "ops/bench.h"

#include "ops/cases/call.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Runs of a row: enough for a median, and an end for slow ones. */
enum { RUNS_MIN = 3, RUNS_MAX = 1000 };
static const double WARM_S = 0.02, TIME_S = 0.2;

static double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Gradients grow from run to run where they add up; normal numbers take longer than that to
 * overflow than RUNS_MAX allows. */
static ms_status time_calls(ms_call *call, double *time_s, int *runs, ms_error *err)
{
    double start_s = clock_s(), end_s;

    do MS_TRY(ms_call_step(call, NULL, err));
    while (clock_s() - start_s < WARM_S);
    end_s = clock_s() + TIME_S;
    for (*runs = 0; *runs < RUNS_MAX && (*runs < RUNS_MIN || clock_s() < end_s); (*runs)++) {
        start_s = clock_s();
        MS_TRY(ms_call_step(call, NULL, err));
        time_s[*runs] = clock_s() - start_s;
    }
    qsort(time_s, (size_t)*runs, sizeof *time_s, by_value);
    return MS_OK;
}

static ms_status bench_case(ms_device *d, const ms_case *c, ms_bench_fn *fn, void *data,
                            ms_error *err)
{
    double time_s[RUNS_MAX];
    ms_bench_row row = {.op = c->op, .label = c->label, .flops = c->flops, .bytes = c->bytes};
    ms_call call;
    ms_status s = ms_call_open(&call, c, d, 0, err);

    if (!s) s = ms_call_fill(&call, MS_FILL_NORMAL, err);
    if (!s) s = ms_call_start(&call, err);
    if (!s) s = time_calls(&call, time_s, &row.runs, err);
    ms_call_close(&call);
    if (s) return s;
    row.median_s = 0.5 * (time_s[(row.runs - 1) / 2] + time_s[row.runs / 2]);
    row.min_s = time_s[0];
    row.max_s = time_s[row.runs - 1];
    fn(data, &row);
    return MS_OK;
}

ms_status ms_bench_ops(ms_device *d, const ms_bench_options *o, ms_bench_fn *fn, void *data,
                       ms_error *err)
{
    bool matched = false;
    ms_case c;

    for (ms_op k = (ms_op)0; k < MS_OP_COUNT; k++) {
        if (o->filter && !strstr(ms_op_name(k), o->filter)) continue;
        matched = true;
        for (int i = 0; ms_case_get(k, i, &c); i++)
            if (c.bench && (o->slow || !c.slow)) MS_TRY(bench_case(d, &c, fn, data, err));
    }
    if (!matched) return ms_fail(err, MS_INPUT, "no op's name contains '%s'", o->filter);
    return MS_OK;
}

/* -- the pool ---------------------------------------------------------------------------------- */

enum { POOL_RUNS = 1000, POOL_CALLS = 100 }; /* a run times some calls: the clock takes as long */

static void meet(void *arg, int thread, int threads)
{
    (void)thread;
    (void)threads;
    for (int i = 0; i < POOL_CALLS; i++) ms_pool_barrier(arg);
}

static void do_nothing(void *arg, int thread, int threads)
{
    (void)arg;
    (void)thread;
    (void)threads;
}

static void run_barriers(ms_pool *pool)
{
    ms_pool_run(pool, meet, pool);
}

static void run_regions(ms_pool *pool)
{
    for (int i = 0; i < POOL_CALLS; i++) ms_pool_run(pool, do_nothing, NULL);
}

static ms_bench_pool_row time_pool(ms_pool *pool, const char *name, void (*run)(ms_pool *pool))
{
    double time_s[POOL_RUNS], end_s = clock_s() + TIME_S;
    int runs = 0;

    run(pool);
    while (runs < POOL_RUNS && (runs < RUNS_MIN || clock_s() < end_s)) {
        double start_s = clock_s();

        run(pool);
        time_s[runs++] = (clock_s() - start_s) / POOL_CALLS;
    }
    qsort(time_s, (size_t)runs, sizeof *time_s, by_value);
    return (ms_bench_pool_row){.name = name,
                               .median_s = 0.5 * (time_s[(runs - 1) / 2] + time_s[runs / 2]),
                               .min_s = time_s[0],
                               .max_s = time_s[runs - 1],
                               .runs = runs,
                               .threads = ms_pool_threads(pool)};
}

int ms_bench_pool(ms_device *d, ms_bench_pool_row row[2])
{
    if (!d->pool || ms_pool_threads(d->pool) == 1) return 0;
    row[0] = time_pool(d->pool, "pool barrier", run_barriers);
    row[1] = time_pool(d->pool, "pool region", run_regions);
    return 2;
}

/* -- the ceiling of reading ------------------------------------------------------------------ */

enum { READ_WORDS = 32 << 20, READ_GRAIN = 4096, READ_RUNS = 5 }; /* 256 MiB: beyond any cache */

typedef struct {
    const uint64_t *words;
    uint64_t sum[1024]; /* by thread, so that nothing is optimised away */
} reading;

static void read_share(void *arg, int thread, int threads)
{
    reading *r = arg;
    size_t first, last;
    uint64_t lane[8] = {0};

    ms_share(READ_WORDS, READ_GRAIN, thread, threads, &first, &last);
    for (size_t i = first; i < last; i += 8)
        for (size_t k = 0; k < 8; k++) lane[k] ^= r->words[i + k];
    for (size_t k = 0; k < 8; k++) r->sum[thread % 1024] ^= lane[k];
}

ms_status ms_bench_read_rate(ms_device *d, double *bytes_per_s, ms_error *err)
{
    size_t size_bytes = READ_WORDS * sizeof(uint64_t);
    reading r = {0};
    void *words;

    *bytes_per_s = 0;
    if (!d->host_memory) return MS_OK;
    MS_TRY(ms_device_alloc(d, size_bytes, &words, err));
    memset(words, 1, size_bytes); /* touched: untouched pages are all the same zeros */
    r.words = words;
    for (int i = 0; i < READ_RUNS; i++) {
        double start_s = clock_s(), rate;

        if (d->pool)
            ms_pool_run(d->pool, read_share, &r);
        else
            read_share(&r, 0, 1);
        rate = (double)size_bytes / (clock_s() - start_s);
        if (rate > *bytes_per_s) *bytes_per_s = rate;
    }
    ms_device_free(d, words, size_bytes);
    return MS_OK;
}
