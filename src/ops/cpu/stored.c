/* stored - products with weights as files have them: who takes which rows
 *
 * Threads share the rows of w, so that each is read once, or those of x where they are many, so
 * that each stays in one cache.  Where the type of w or the queue asks for it, x is rounded first:
 * few rows by each thread for itself, more by all, in memory they share, many by whoever has them.
 */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <stddef.h>

enum { GRAIN = 32, X_GRAIN = 6 }; /* rows of w and of x a thread takes a multiple of */

void CPU(stored_rows)(float *out, ms_tensor w, int first, int rows)
{
    quant_read(w.dtype, (const char *)w.data + (size_t)first * stored_row_bytes(w), out,
               (size_t)rows * (size_t)w.dim[1]);
}

typedef struct {
    ms_queue *q;
    const ms_linear_stored_args *a;
    int step;         /* rows of x at a time: as many as the work memory holds */
    bool int8, bf16;  /* how x is rounded, if at all */
    bool shared;      /* x is rounded by all threads, into one place */
    size_t row_bytes; /* of rounded x */
} product;

/* Rounds a share of rows [first, first + rows) of x. */
static void round_rows(const product *p, char *to, int first, int rows, int thread, int threads)
{
    int I = p->a->x.dim[1];
    size_t lo, hi;

    ms_share((size_t)rows, 1, thread, threads, &lo, &hi);
    for (size_t n = lo; n < hi; n++) {
        const float *x = cpu_row(p->a->x, first + (int)n);

        if (p->int8)
            CPU(stored_round)((x_block *)(void *)(to + n * p->row_bytes), x, I, p->a->w.dtype);
        else
            CPU(stored_bf16)(to + n * p->row_bytes, x, I);
    }
}

static void add_bias(const ms_linear_stored_args *a, const stored_part *part)
{
    const float *b = a->b.data;

    for (int n = 0; b && n < part->x_rows; n++) {
        float *y = cpu_row(a->y, part->x_first + n) + a->at;

        for (int o = part->w_first; o < part->w_first + part->w_rows; o++) y[o] += b[o];
    }
}

static void multiply(const product *p, const stored_part *part)
{
    if (part->w_rows == 0) return;
    (p->int8 ? CPU(stored_int8) : CPU(stored_float))(part);
    add_bias(p->a, part);
}

/* All rows of w by a share of those of x. */
static void rows_region(void *arg, int thread, int threads)
{
    const product *p = arg;
    char *x = (char *)cpu_work(p->q, thread) + STORED_WORK_BYTES;
    stored_part part = {.a = p->a, .x = x, .work = cpu_work(p->q, thread), .bf16 = p->bf16};
    size_t first, last;

    part.w_rows = p->a->w.dim[0];
    ms_share((size_t)p->a->x.dim[0], X_GRAIN, thread, threads, &first, &last);
    for (int n = (int)first; n < (int)last; n += p->step) {
        part.x_first = n;
        part.x_rows = (int)last - n < p->step ? (int)last - n : p->step;
        if (p->row_bytes > 0) round_rows(p, x, n, part.x_rows, 0, 1);
        multiply(p, &part);
    }
}

/* A thread's work memory: its room for rows of w, then rounded rows of x, in that of thread 0 when
 * they are shared. */
static void region(void *arg, int thread, int threads)
{
    const product *p = arg;
    const ms_linear_stored_args *a = p->a;
    bool shared = p->shared && threads > 1;
    char *x = (char *)cpu_work(p->q, shared ? 0 : thread) + STORED_WORK_BYTES;
    stored_part part = {.a = a, .x = x, .work = cpu_work(p->q, thread), .bf16 = p->bf16};
    int N = a->x.dim[0];
    size_t first, last;

    ms_share((size_t)a->w.dim[0], GRAIN, thread, threads, &first, &last);
    part.w_first = (int)first;
    part.w_rows = (int)(last - first);
    for (int n = 0; n < N; n += p->step) {
        part.x_first = n;
        part.x_rows = N - n < p->step ? N - n : p->step;
        if (shared && n > 0) ms_pool_barrier(p->q->device->pool);
        if (p->row_bytes > 0)
            round_rows(p, x, n, part.x_rows, shared ? thread : 0, shared ? threads : 1);
        if (shared) ms_pool_barrier(p->q->device->pool);
        multiply(p, &part);
    }
}

void CPU(linear_stored)(ms_queue *q, const ms_linear_stored_args *a)
{
    enum {
        ROOM = MS_CPU_WORK_BYTES - STORED_WORK_BYTES,
        FEW = 4096,
        ROWS_LEAST = 8,
        ROWS_MANY = 64
    };
    int N = a->x.dim[0], I = a->x.dim[1];
    product p = {.q = q, .a = a, .step = N, .int8 = ms_rounds_factor(a->w.dtype)};

    p.bf16 = q->bf16 && !p.int8;
    if (p.int8) p.row_bytes = (size_t)I / X_BLOCK * sizeof(x_block);
    if (p.bf16) p.row_bytes = CPU(stored_bf16_bytes)(I);
    if (p.row_bytes > ROOM || (!p.int8 && (size_t)I > STORED_WORK_BYTES / 4 / ROWS_LEAST)) {
        ms_queue_fail(q, MS_UNSUPPORTED, "linear_stored: rows of %d are too long", I);
        return;
    }
    if (p.row_bytes > 0) {
        if ((size_t)N > ROOM / p.row_bytes) p.step = (int)(ROOM / p.row_bytes);
        p.shared = (size_t)N * (size_t)I > FEW;
    }
    cpu_run(q, (size_t)N * ms_count(a->w),
            N >= ROWS_MANY * ms_pool_threads(q->device->pool) ? rows_region : region, &p);
}

/* -- weights as the device keeps them ---------------------------------------------------------- */

size_t CPU(kept_bytes)(ms_tensor w)
{
    return ms_rounds_factor(w.dtype) ? CPU(stored_kept_bytes)(w) : ms_tensor_bytes(w);
}

typedef struct {
    char *to;
    ms_tensor w;
} keeping;

static void keep_region(void *arg, int thread, int threads)
{
    const keeping *k = arg;
    size_t row = stored_row_bytes(k->w), first, last;

    if (ms_rounds_factor(k->w.dtype)) {
        CPU(stored_keep)(k->to, k->w, thread, threads);
        return;
    }
    ms_share((size_t)k->w.dim[0], 1, thread, threads, &first, &last);
    memcpy(k->to + first * row, (const char *)k->w.data + first * row, (last - first) * row);
}

void CPU(keep)(ms_pool *pool, void *to, ms_tensor w)
{
    keeping k = {to, w};

    ms_pool_run(pool, keep_region, &k);
}
