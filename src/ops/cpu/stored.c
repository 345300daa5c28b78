/* stored - products with weights as files have them: who takes which rows
 *
 * Threads share the rows of w, so that each is read once.  Where the type of w asks for it, x is
 * rounded to int8 first: few rows by each thread for itself, many by all, in memory they share. */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <stddef.h>

enum { GRAIN = 32 }; /* rows of w a thread takes a multiple of */

void CPU(stored_rows)(float *out, ms_tensor w, int first, int rows)
{
    quant_read(w.dtype, (const char *)w.data + (size_t)first * stored_row_bytes(w), out,
               (size_t)rows * (size_t)w.dim[1]);
}

typedef struct {
    ms_queue *q;
    const ms_linear_stored_args *a;
    int step;    /* rows of x at a time: as many as the work memory holds */
    bool rounds; /* x is rounded */
    bool shared; /* by all threads, into one place */
} product;

/* Rounds a share of rows [first, first + rows) of x. */
static void round_rows(const product *p, x_block *to, int first, int rows, int thread, int threads)
{
    int I = p->a->x.dim[1];
    size_t lo, hi;

    ms_share((size_t)rows, 1, thread, threads, &lo, &hi);
    for (size_t n = lo; n < hi; n++) CPU(stored_round)
    (to + n * (size_t)(I / X_BLOCK), cpu_row(p->a->x, first + (int)n), I, p->a->w.dtype);
}

static void add_bias(const ms_linear_stored_args *a, const stored_part *part)
{
    const float *b = a->b.data;

    for (int n = 0; b && n < part->x_rows; n++) {
        float *y = cpu_row(a->y, part->x_first + n) + a->at;

        for (int o = part->w_first; o < part->w_first + part->w_rows; o++) y[o] += b[o];
    }
}

/* The work memory of all threads: rounded rows of x from its start, or in each thread's own part;
 * room of each thread for rows of w at the end of that. */
static void region(void *arg, int thread, int threads)
{
    const product *p = arg;
    const ms_linear_stored_args *a = p->a;
    char *own = (char *)cpu_work(p->q, thread);
    int N = a->x.dim[0];
    bool shared = p->shared && threads > 1;
    stored_part part = {.a = a, .bf16 = p->q->bf16};
    size_t first, last;

    ms_share((size_t)a->w.dim[0], GRAIN, thread, threads, &first, &last);
    part.w_first = (int)first;
    part.w_rows = (int)(last - first);
    part.work = own + (p->rounds ? MS_CPU_WORK_BYTES - STORED_WORK_BYTES : 0);
    for (int n = 0; n < N; n += p->step) {
        x_block *x = (x_block *)(void *)(shared ? (char *)cpu_work(p->q, 0) : own);

        part.x_first = n;
        part.x_rows = N - n < p->step ? N - n : p->step;
        part.x = x;
        if (shared && n > 0) ms_pool_barrier(p->q->device->pool);
        if (p->rounds) round_rows(p, x, n, part.x_rows, shared ? thread : 0, shared ? threads : 1);
        if (shared) ms_pool_barrier(p->q->device->pool);
        if (part.w_rows == 0) continue;
        (p->rounds ? CPU(stored_int8) : CPU(stored_float))(&part);
        add_bias(a, &part);
    }
}

void CPU(linear_stored)(ms_queue *q, const ms_linear_stored_args *a)
{
    enum { ROOM = MS_CPU_WORK_BYTES - STORED_WORK_BYTES, FEW = 4096 };
    int N = a->x.dim[0], I = a->x.dim[1];
    product p = {.q = q, .a = a, .step = N, .rounds = ms_rounds_factor(a->w.dtype)};

    if (p.rounds) {
        size_t row_bytes = (size_t)I / X_BLOCK * sizeof(x_block);

        if (row_bytes > ROOM) {
            ms_queue_fail(q, MS_UNSUPPORTED, "linear_stored: rows of %d, at most %d", I,
                          (int)(ROOM / sizeof(x_block)) * X_BLOCK);
            return;
        }
        if ((size_t)N > ROOM / row_bytes) p.step = (int)(ROOM / row_bytes);
        p.shared = (size_t)N * (size_t)I > FEW;
    }
    if (!p.rounds && (size_t)I > MS_CPU_WORK_BYTES / 16) {
        ms_queue_fail(q, MS_UNSUPPORTED, "linear_stored: rows of %d, at most %d", I,
                      MS_CPU_WORK_BYTES / 16);
        return;
    }
    cpu_run(q, (size_t)N * ms_count(a->w), region, &p);
}
