/* linear - the three products of a linear map
 *
 * Forward, y = x w^T, in f32: rows of both are contiguous, nothing is packed (dot.c, or for few
 * rows stored_float.c), so that those read w once and the bits of a row do not depend on the batch.
 * Backward, dx = dy w and dw = dy^T x, and all products of bf16: by packed panels (gemm.c). */
#include "ops/cpu/gemm.h"
#include "ops/cpu/stored.h"

#include <stddef.h>

/* Rows of a block: what stays in the L2 cache until bias and activation are done. */
static int rows_at_once(size_t columns, size_t cache_bytes, int least, int most)
{
    size_t rows = cache_bytes / sizeof(float) / columns;

    return rows < (size_t)least ? least : rows > (size_t)most ? most : (int)rows;
}

/* -- forward --------------------------------------------------------------------------------- */

typedef struct {
    const ms_linear_fwd_args *a;
    ms_tensor u; /* where x w^T + b goes: u, work or y */
    ms_queue *q;
} fwd;

static void f32_block(const fwd *f, int row, int rows, int out, int outs)
{
    enum { STEP = 32 }; /* outputs whose weights stay in the cache meanwhile */
    const ms_linear_fwd_args *a = f->a;
    size_t I = (size_t)a->x.dim[1], O = (size_t)a->w.dim[0];
    ms_linear_stored_args few = {.y = f->u, .x = a->x, .w = a->w};

    if (CPU(stored_few)(&(stored_part){
            .a = &few, .x_first = row, .x_rows = rows, .w_first = out, .w_rows = outs}))
        return;
    for (int o = out; o < out + outs; o += STEP) CPU(dot_tile)
    (cpu_row(f->u, row) + o, O, cpu_row(a->x, row), I, rows, cpu_row(a->w, o), I,
     out + outs - o < STEP ? out + outs - o : STEP, (int)I);
}

static void fwd_block(const fwd *f, int row, int rows, int out, int outs, float *work)
{
    const ms_linear_fwd_args *a = f->a;
    size_t I = (size_t)a->x.dim[1], O = (size_t)a->w.dim[0];
    const float *b = a->b.data;

    if (f->q->bf16) {
        cpu_product p = {.M = rows,
                         .J = outs,
                         .K = (int)I,
                         .A = cpu_row(a->x, row),
                         .a_row = I,
                         .a_inner = 1,
                         .B = cpu_row(a->w, out),
                         .b_inner = 1,
                         .b_column = I,
                         .C = cpu_row(f->u, row) + out,
                         .c_row = O,
                         .bf16 = true};

        CPU(gemm)(&p, 0, rows, work);
    }
    if (!f->q->bf16) f32_block(f, row, rows, out, outs);
    for (int i = 0; b && i < rows; i++) {
        float *u = cpu_row(f->u, row + i);

        for (int j = out; j < out + outs; j++) u[j] += b[j];
    }
}

static void act_rows(const fwd *f, int first, int last)
{
    const ms_linear_fwd_args *a = f->a;

    if (a->act == MS_ACT_NONE) return;
    for (int n = first; n < last; n++)
        CPU(act_row)(a->act, cpu_row(a->y, n), cpu_row(f->u, n), a->y.dim[1]);
}

/* Each thread takes rows; outputs where rows are few or fewer, so that w is read or packed once. */
static void fwd_region(void *arg, int thread, int threads)
{
    const fwd *f = arg;
    const ms_linear_fwd_args *a = f->a;
    int N = a->x.dim[0], O = a->w.dim[0];
    float *work = cpu_work(f->q, thread);
    size_t first, last;

    if (N < 16 * threads || N < O) {
        ms_share((size_t)O, 4, thread, threads, &first, &last);
        if (last > first) fwd_block(f, 0, N, (int)first, (int)(last - first), work);
        if (a->act == MS_ACT_NONE) return;
        if (threads > 1) ms_pool_barrier(f->q->device->pool);
        ms_share((size_t)N, 1, thread, threads, &first, &last);
        act_rows(f, (int)first, (int)last);
        return;
    }
    ms_share((size_t)N, 4, thread, threads, &first, &last);
    for (int row = (int)first; row < (int)last;) {
        /* bf16 packs w anew for each block: that pays when many rows share it */
        int most = f->q->bf16 ? 1536 : rows_at_once((size_t)a->x.dim[1], 256 << 10, 16, 64) / 4 * 4;
        int rows = (int)last - row < most ? (int)last - row : most;

        fwd_block(f, row, rows, 0, O, work);
        act_rows(f, row, row + rows);
        row += rows;
    }
}

void CPU(linear_fwd)(ms_queue *q, const ms_linear_fwd_args *a)
{
    fwd f = {.a = a, .u = ms_present(a->u) ? a->u : a->y, .q = q};

    if (!ms_present(a->u) && a->act == MS_ACT_SWIGLU) f.u = a->work;
    cpu_run(q, (size_t)a->x.dim[0] * ms_count(a->w), fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

enum { SUMS_BYTES = MS_CPU_WORK_BYTES - CPU_GEMM_BYTES }; /* for sums in front of an activation */

typedef struct {
    ms_queue *q;
    const ms_linear_bwd_args *a;
    cpu_product dx, dw;
} bwd;

enum { WIDE = 8 }; /* vectors of dy side by side */

/* db += sums of n columns, at most VF, or WIDE VF where wide: by partial sums of some rows. */
static inline __attribute__((always_inline)) void bias_vectors(float *db, ms_tensor dy, size_t o,
                                                               int n, const bool wide)
{
    enum { CHUNK = 32 };
    int N = dy.dim[0];

    for (int row = 0; row < N; row += CHUNK) {
        vf sum[WIDE] = {{0}};

        for (int i = row; i < N && i < row + CHUNK; i++) {
            const float *x = cpu_row(dy, i) + o;

            if (!wide) sum[0] += vf_load_part(x, n);
            for (int j = 0; wide && j < WIDE; j++) sum[j] += vf_load(x + j * VF);
        }
        if (!wide) vf_store_part(db + o, vf_load_part(db + o, n) + sum[0], n);
        for (size_t j = 0; wide && j < WIDE; j++)
            vf_store(db + o + j * VF, vf_load(db + o + j * VF) + sum[j]);
    }
}

static void bias_columns(const ms_linear_bwd_args *a, size_t first, size_t last)
{
    size_t o = first;

    for (; o + WIDE * VF <= last; o += WIDE * VF)
        bias_vectors(a->db.data, a->dy, o, WIDE * VF, true);
    for (; o < last; o += VF)
        bias_vectors(a->db.data, a->dy, o, last - o < VF ? (int)(last - o) : VF, false);
}

/* A thread's part of a product: rows of C, or columns where rows are fewer: what is not shared out,
 * every thread packs. */
static void share_product(const cpu_product *whole, int thread, int threads, float *work)
{
    cpu_product p = *whole;
    size_t first, last;

    if (p.M >= p.J) {
        ms_share((size_t)p.M, 4, thread, threads, &first, &last);
        if (last > first) CPU(gemm)(&p, (int)first, (int)last, work);
        return;
    }
    ms_share((size_t)p.J, 2 * VF, thread, threads, &first, &last);
    p.J = (int)(last - first);
    p.B += first * p.b_column;
    p.C += first;
    if (p.J > 0) CPU(gemm)(&p, 0, p.M, work);
}

/* dx behind an activation: sums of some rows, then their slopes, while they are in the cache.  dx
 * may be u: a row of u is read as it is written. */
static void dx_of_activation(const bwd *f, size_t first, size_t last, float *work)
{
    const ms_linear_bwd_args *a = f->a;
    float *sums = work + CPU_GEMM_BYTES / sizeof *work;
    int J = f->dx.J, most = rows_at_once((size_t)J, SUMS_BYTES, 1, 512);

    for (int row = (int)first; row < (int)last; row += most) {
        int rows = (int)last - row < most ? (int)last - row : most;
        cpu_product p = f->dx;

        p.A += (size_t)row * p.a_row;
        p.C = sums;
        CPU(gemm)(&p, 0, rows, work);
        for (int i = 0; i < rows; i++) CPU(act_back_row)
        (a->act, cpu_row(a->dx, row + i), sums + (size_t)i * (size_t)J, cpu_row(a->u, row + i), J);
    }
}

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    const ms_linear_bwd_args *a = f->a;
    float *work = cpu_work(f->q, thread);
    size_t first, last;

    if (ms_present(a->dw)) share_product(&f->dw, thread, threads, work);
    if (ms_present(a->db)) {
        ms_share((size_t)a->dy.dim[1], 16, thread, threads, &first, &last);
        bias_columns(a, first, last);
    }
    if (!ms_present(a->dx)) return;
    if (a->act == MS_ACT_NONE) {
        share_product(&f->dx, thread, threads, work);
        return;
    }
    ms_share((size_t)f->dx.M, 4, thread, threads, &first, &last);
    dx_of_activation(f, first, last, work);
}

void CPU(linear_bwd)(ms_queue *q, const ms_linear_bwd_args *a)
{
    int N = a->dy.dim[0], O = a->dy.dim[1];
    bwd f = {.q = q, .a = a};

    if (ms_present(a->dx)) {
        int I = a->w.dim[1];

        if (a->act != MS_ACT_NONE && I > (int)(SUMS_BYTES / sizeof(float))) {
            ms_queue_fail(q, MS_UNSUPPORTED, "linear_bwd: an activation of %d values, at most %d",
                          I, (int)(SUMS_BYTES / sizeof(float)));
            return;
        }
        f.dx = (cpu_product){.M = N,
                             .J = I,
                             .K = O,
                             .A = a->dy.data,
                             .a_row = (size_t)O,
                             .a_inner = 1,
                             .B = a->w.data,
                             .b_inner = (size_t)I,
                             .b_column = 1,
                             .C = a->dx.data,
                             .c_row = (size_t)I,
                             .add = a->accumulate,
                             .bf16 = q->bf16};
    }
    if (ms_present(a->dw)) {
        int I = a->x.dim[1];

        f.dw = (cpu_product){.M = O,
                             .J = I,
                             .K = N,
                             .A = a->dy.data,
                             .a_row = 1,
                             .a_inner = (size_t)O,
                             .B = a->x.data,
                             .b_inner = (size_t)I,
                             .b_column = 1,
                             .C = a->dw.data,
                             .c_row = (size_t)I,
                             .add = true,
                             .bf16 = q->bf16};
    }
    cpu_run(q, (size_t)N * (size_t)O * 64, bwd_region, &f);
}
