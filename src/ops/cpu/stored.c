/* stored - products with weights as files have them
 *
 * A thread takes some rows of w at a time, expands them into memory that stays in its caches, and
 * multiplies all rows of x by them: the sums are those of linear_fwd with expanded weights. */
#include "base/quant_rows.h"
#include "ops/cpu/kernel.h"

#include <stddef.h>

enum { EXPANDED_BYTES = 48 << 10, ROWS_LEAST = 4 };

void CPU(stored_rows)(float *out, ms_tensor w, int first, int rows)
{
    size_t row_bytes = (size_t)w.dim[1] / (size_t)ms_dtype_block(w.dtype) * ms_dtype_bytes(w.dtype);

    quant_read(w.dtype, (const char *)w.data + (size_t)first * row_bytes, out,
               (size_t)rows * (size_t)w.dim[1]);
}

typedef struct {
    ms_queue *q;
    const ms_linear_stored_args *a;
} product;

static void take_rows(const product *p, int first, int rows, float *w)
{
    const ms_linear_stored_args *a = p->a;
    int N = a->y.dim[0], I = a->x.dim[1], Y = a->y.dim[1];
    const float *b = a->b.data;

    CPU(stored_rows)(w, a->w, first, rows);
    CPU(dot_tile)
    (cpu_row(a->y, 0) + a->at + first, (size_t)Y, cpu_row(a->x, 0), (size_t)I, N, w, (size_t)I,
     rows, I);
    for (int n = 0; b && n < N; n++) {
        float *y = cpu_row(a->y, n) + a->at;

        for (int o = first; o < first + rows; o++) y[o] += b[o];
    }
}

static void region(void *arg, int thread, int threads)
{
    const product *p = arg;
    int I = p->a->x.dim[1], step = EXPANDED_BYTES / 4 / I / ROWS_LEAST * ROWS_LEAST;
    size_t first, last;

    if (step < ROWS_LEAST) step = ROWS_LEAST;
    ms_share((size_t)p->a->w.dim[0], ROWS_LEAST, thread, threads, &first, &last);
    for (int o = (int)first; o < (int)last; o += step)
        take_rows(p, o, (int)last - o < step ? (int)last - o : step, cpu_work(p->q, thread));
}

void CPU(linear_stored)(ms_queue *q, const ms_linear_stored_args *a)
{
    enum { MOST = MS_CPU_WORK_BYTES / 4 / ROWS_LEAST };
    product p = {q, a};

    if (a->x.dim[1] > MOST) {
        ms_queue_fail(q, MS_UNSUPPORTED, "linear_stored: rows of %d, at most %d", a->x.dim[1],
                      (int)MOST);
        return;
    }
    cpu_run(q, (size_t)a->x.dim[0] * ms_count(a->w), region, &p);
}
