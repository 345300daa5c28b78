/* norm - LayerNorm and RMSNorm of rows, alone and behind a residual add */
#include "ops/cpu/kernel.h"

#include <math.h>

/* -- one row --------------------------------------------------------------------------------- */

static float sum_row(const float *x, int C)
{
    vf sum[2] = {{0}, {0}};
    int i = 0;

    for (; i + 2 * VF <= C; i += 2 * VF) {
        sum[0] += vf_load(x + i);
        sum[1] += vf_load(x + i + VF);
    }
    for (; i + VF <= C; i += VF) sum[0] += vf_load(x + i);
    if (i < C) sum[1] += vf_load_part(x + i, C - i);
    return vf_sum(sum[0] + sum[1]);
}

/* Sum of (x - mean)^2. */
static float square_row(const float *x, float mean, int C)
{
    vf sum[2] = {{0}, {0}};
    int i = 0;

    for (; i + VF <= C; i += VF) {
        vf d = vf_load(x + i) - mean;

        sum[i / VF % 2] += d * d;
    }
    for (; i < C; i++) {
        float d = x[i] - mean;

        sum[0][i % VF] += d * d;
    }
    return vf_sum(sum[0] + sum[1]);
}

void CPU(norm_row)(float *y, float *stat, const float *x, const float *w, const float *b, int C,
                   float eps, bool rms)
{
    float mean = rms ? 0 : sum_row(x, C) / (float)C;
    float rstd = 1 / sqrtf(square_row(x, mean, C) / (float)C + eps);

    if (stat) stat[0] = mean, stat[1] = rstd;
    for (int i = 0; i < C; i++) {
        float v = (x[i] - mean) * rstd;

        if (w) v *= w[i];
        y[i] = b ? v + b[i] : v;
    }
}

/* -- forward --------------------------------------------------------------------------------- */

static void fwd_region(void *arg, int thread, int threads)
{
    const ms_norm_fwd_args *a = arg;
    size_t first, last;

    ms_share((size_t)a->x.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) CPU(norm_row)
    (cpu_row(a->y, (int)n), cpu_row(a->stat, (int)n), cpu_row(a->x, (int)n), a->w.data, a->b.data,
     a->x.dim[1], (float)a->eps, a->rms);
}

void CPU(norm_fwd)(ms_queue *q, const ms_norm_fwd_args *a)
{
    ms_norm_fwd_args copy = *a;

    cpu_run(q, 4 * ms_count(a->x), fwd_region, &copy);
}

typedef struct {
    const ms_add_norm_fwd_args *a;
    cpu_drop drop;
} add_fwd;

/* r = x + mask * f */
static void add_row(const cpu_drop *drop, int n, float *r, const float *x, const float *f, int C)
{
    float mask[64];

    if (!drop->on) {
        for (int i = 0; i < C; i++) r[i] = x[i] + f[i];
        return;
    }
    for (int i = 0; i < C; i += 64) {
        int m = C - i < 64 ? C - i : 64;

        cpu_drop_mask(drop, (uint32_t)n, i, m, mask);
        for (int j = 0; j < m; j++) r[i + j] = x[i + j] + mask[j] * f[i + j];
    }
}

static void add_fwd_region(void *arg, int thread, int threads)
{
    const add_fwd *f = arg;
    const ms_add_norm_fwd_args *a = f->a;
    int C = a->x.dim[1];
    size_t first, last;

    ms_share((size_t)a->x.dim[0], 1, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) {
        int n = (int)i;
        float *r = cpu_row(a->r, n);

        add_row(&f->drop, n, r, cpu_row(a->x, n), cpu_row(a->f, n), C);
        CPU(norm_row)
        (cpu_row(a->y, n), cpu_row(a->stat, n), r, a->w.data, a->b.data, C, (float)a->eps, a->rms);
    }
}

void CPU(add_norm_fwd)(ms_queue *q, const ms_add_norm_fwd_args *a)
{
    add_fwd f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, 5 * ms_count(a->x), add_fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

enum { COLUMNS = 64, CHUNK = 32 };

/* Adds rows [row, end) of columns [first, first + m) to dw and db by way of partial sums. */
static void weight_chunk(const ms_norm_bwd_args *a, int row, int end, int first, int m)
{
    float sum_w[COLUMNS] = {0}, sum_b[COLUMNS] = {0};
    float *dw = a->dw.data, *db = a->db.data;

    for (int n = row; n < end; n++) {
        const float *dy = cpu_row(a->dy, n) + first, *x = cpu_row(a->x, n) + first;
        const float *stat = cpu_row(a->stat, n);

        for (int i = 0; i < m; i++) {
            sum_w[i] += dy[i] * ((x[i] - stat[0]) * stat[1]);
            sum_b[i] += dy[i];
        }
    }
    for (int i = 0; dw && i < m; i++) dw[first + i] += sum_w[i];
    for (int i = 0; db && i < m; i++) db[first + i] += sum_b[i];
}

/* dw += sum of dy * xhat, db += sum of dy over all rows, columns [first, last). */
static void weight_columns(const ms_norm_bwd_args *a, size_t first, size_t last)
{
    int N = a->x.dim[0];

    for (size_t i = first; i < last; i += COLUMNS)
        for (int n = 0; n < N; n += CHUNK)
            weight_chunk(a, n, n + CHUNK < N ? n + CHUNK : N, (int)i,
                         last - i < COLUMNS ? (int)(last - i) : COLUMNS);
}

/* dx = rstd (g - mean g - xhat mean(g xhat)), g = w dy; RMSNorm has no mean g. */
static void bwd_row(const ms_norm_bwd_args *a, int n)
{
    int C = a->x.dim[1];
    float *dx = cpu_row(a->dx, n);
    const float *dy = cpu_row(a->dy, n), *x = cpu_row(a->x, n), *stat = cpu_row(a->stat, n);
    const float *w = a->w.data;
    float mean = stat[0], rstd = stat[1], mean_g, mean_gx;
    vf sum_g = {0}, sum_gx = {0};

    for (int i = 0; i < C; i += VF) {
        int m = C - i < VF ? C - i : VF;
        vf g = vf_load_part(dy + i, m), xhat = (vf_load_part(x + i, m) - mean) * rstd;

        if (w) g *= vf_load_part(w + i, m);
        sum_g += g;
        sum_gx += g * xhat; /* g is zero in lanes past the end */
    }
    mean_g = a->rms ? 0 : vf_sum(sum_g) / (float)C;
    mean_gx = vf_sum(sum_gx) / (float)C;
    for (int i = 0; i < C; i++) {
        float g = w ? dy[i] * w[i] : dy[i], xhat = (x[i] - mean) * rstd;
        float d = rstd * (g - mean_g - xhat * mean_gx);

        dx[i] = a->accumulate ? dx[i] + d : d;
    }
}

typedef struct {
    ms_norm_bwd_args a;
    ms_tensor df; /* absent: no dropout behind */
    cpu_drop drop;
    ms_pool *pool;
} bwd;

static void drop_row(const bwd *f, int n)
{
    float *df = cpu_row(f->df, n), mask[64];
    const float *dr = cpu_row(f->a.dx, n);
    int C = f->a.x.dim[1];

    for (int i = 0; df && i < C; i += 64) {
        int m = C - i < 64 ? C - i : 64;

        if (f->drop.on) cpu_drop_mask(&f->drop, (uint32_t)n, i, m, mask);
        for (int j = 0; j < m; j++) df[i + j] = f->drop.on ? dr[i + j] * mask[j] : dr[i + j];
    }
}

/* Weights first, by columns, since dx may alias dy; then rows. */
static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    size_t first, last;

    if (ms_present(f->a.dw) || ms_present(f->a.db)) {
        ms_share((size_t)f->a.x.dim[1], 16, thread, threads, &first, &last);
        weight_columns(&f->a, first, last);
        if (threads > 1) ms_pool_barrier(f->pool);
    }
    ms_share((size_t)f->a.x.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) {
        bwd_row(&f->a, (int)n);
        drop_row(f, (int)n);
    }
}

void CPU(norm_bwd)(ms_queue *q, const ms_norm_bwd_args *a)
{
    bwd f = {.a = *a, .pool = q->device->pool};

    cpu_run(q, 8 * ms_count(a->x), bwd_region, &f);
}

void CPU(add_norm_bwd)(ms_queue *q, const ms_add_norm_bwd_args *a)
{
    bwd f = {.a = {.dx = a->dr,
                   .dw = a->dw,
                   .db = a->db,
                   .dy = a->dy,
                   .x = a->r,
                   .stat = a->stat,
                   .w = a->w,
                   .rms = a->rms,
                   .accumulate = a->accumulate},
             .df = a->df,
             .drop = cpu_drop_of(q, a->drop),
             .pool = q->device->pool};

    cpu_run(q, 9 * ms_count(a->r), bwd_region, &f);
}
