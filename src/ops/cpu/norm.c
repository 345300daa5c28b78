/* norm - LayerNorm and RMSNorm of rows, alone and behind a residual add
 *
 * Rows are taken in groups of four where they fit the first cache: a row is short, and its sums
 * would have to be waited for.  A row's bits are the same in a group and alone. */
#include "ops/cpu/kernel.h"

#include <math.h>

enum { GROUP = 4, GROUP_COLUMNS = 2048 };

/* How many rows from n on to take together. */
static int group_rows(size_t n, size_t last, int C)
{
    return C <= GROUP_COLUMNS && last - n >= GROUP ? GROUP : 1;
}

/* -- forward --------------------------------------------------------------------------------- */

/* Sums of R rows of x, C apart: of x - mean, squared when so asked. */
static inline __attribute__((always_inline)) void
sum_rows(float *sum, const float *x, const float *mean, int C, int R, bool squared)
{
    vf part[GROUP][2];
    int i = 0;

    for (int r = 0; r < R; r++) part[r][0] = part[r][1] = vf_all(0);
    for (; i + 2 * VF <= C; i += 2 * VF)
        for (int r = 0; r < R; r++)
            for (int k = 0; k < 2; k++) {
                vf d = vf_load(x + (size_t)r * (size_t)C + i + k * VF) - mean[r];

                part[r][k] += squared ? d * d : d;
            }
    for (; i < C; i += VF)
        for (int r = 0; r < R; r++) {
            vf rest = vf_all(mean[r]);
            vf d = vf_load_part_or(x + (size_t)r * (size_t)C + i, C - i < VF ? C - i : VF, rest);

            d -= mean[r];
            part[r][0] += squared ? d * d : d;
        }
    for (int r = 0; r < R; r++) sum[r] = vf_sum(part[r][0] + part[r][1]);
}

/* y = (x - mean) rstd w + b; w and b may be NULL. */
static void scale_row(float *y, const float *x, float mean, float rstd, const float *w,
                      const float *b, int C)
{
    if (w && b)
        VF_ROW(i, m, C, vf v = (vf_load_part(x + i, m) - mean) * rstd * vf_load_part(w + i, m);
               vf_store_part(y + i, v + vf_load_part(b + i, m), m););
    else if (w)
        VF_ROW(i, m, C, vf v = (vf_load_part(x + i, m) - mean) * rstd;
               vf_store_part(y + i, v * vf_load_part(w + i, m), m););
    else if (b)
        VF_ROW(i, m, C, vf v = (vf_load_part(x + i, m) - mean) * rstd;
               vf_store_part(y + i, v + vf_load_part(b + i, m), m););
    else
        VF_ROW(i, m, C, vf_store_part(y + i, (vf_load_part(x + i, m) - mean) * rstd, m););
}

typedef struct {
    const float *w, *b;
    int C;
    float eps;
    bool rms;
} norm;

/* R rows side by side; stat (R, 2) may be NULL. */
static inline __attribute__((always_inline)) void norm_rows(const norm *f, float *y, float *stat,
                                                            const float *x, int R)
{
    float mean[GROUP], square[GROUP], rstd[GROUP];

    for (int r = 0; r < R; r++) mean[r] = 0;
    if (!f->rms) sum_rows(mean, x, mean, f->C, R, false);
    for (int r = 0; r < R; r++) mean[r] /= (float)f->C;
    sum_rows(square, x, mean, f->C, R, true);
    for (int r = 0; r < R; r++) rstd[r] = 1 / sqrtf(square[r] / (float)f->C + f->eps);
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)f->C;

        scale_row(y + at, x + at, mean[r], rstd[r], f->w, f->b, f->C);
        if (stat) stat[2 * r] = mean[r], stat[2 * r + 1] = rstd[r];
    }
}

static void norm_group(const norm *f, float *y, float *stat, const float *x, int R)
{
    if (R == GROUP)
        norm_rows(f, y, stat, x, GROUP);
    else
        norm_rows(f, y, stat, x, 1);
}

static void fwd_region(void *arg, int thread, int threads)
{
    const ms_norm_fwd_args *a = arg;
    norm f = {a->w.data, a->b.data, a->x.dim[1], (float)a->eps, a->rms};
    size_t first, last;
    int R;

    ms_share((size_t)a->x.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n += (size_t)R) {
        R = group_rows(n, last, f.C);
        norm_group(&f, cpu_row(a->y, (int)n), cpu_row(a->stat, (int)n), cpu_row(a->x, (int)n), R);
    }
}

enum { FWD_WORK = 14, BWD_WORK = 24 }; /* of an element, as cpu_run counts */

void CPU(norm_fwd)(ms_queue *q, const ms_norm_fwd_args *a)
{
    ms_norm_fwd_args copy = *a;

    cpu_run(q, FWD_WORK * ms_count(a->x), fwd_region, &copy);
}

typedef struct {
    const ms_add_norm_fwd_args *a;
    cpu_drop drop;
} add_fwd;

static void add_fwd_region(void *arg, int thread, int threads)
{
    const add_fwd *f = arg;
    const ms_add_norm_fwd_args *a = f->a;
    norm to = {a->w.data, a->b.data, a->x.dim[1], (float)a->eps, a->rms};
    size_t first, last;
    int R;

    ms_share((size_t)a->x.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n += (size_t)R) {
        R = group_rows(n, last, to.C);
        for (int i = (int)n; i < (int)n + R; i++)
            cpu_drop_row(&f->drop, (uint32_t)i, 0, to.C, cpu_row(a->r, i), cpu_row(a->f, i),
                         cpu_row(a->x, i));
        norm_group(&to, cpu_row(a->y, (int)n), cpu_row(a->stat, (int)n), cpu_row(a->r, (int)n), R);
    }
}

void CPU(add_norm_fwd)(ms_queue *q, const ms_add_norm_fwd_args *a)
{
    add_fwd f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, FWD_WORK * ms_count(a->x), add_fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

/* The rows are cut into chunks whose size depends on the shape alone.  A chunk's sums for dw and db
 * go to a place of their own, and chunks are added in order: the same sums on any threads. */
enum { CHUNK = 32, CHUNKS = 64 };

typedef struct {
    ms_norm_bwd_args a;
    ms_tensor df; /* absent: no dropout behind */
    cpu_drop drop;
    ms_queue *q;
    float *part; /* (chunks, 2, C): sums of dw and db; NULL: one chunk, or no sums are wanted */
    int chunks, chunk_rows;
} bwd;

/* What a row of the backward needs: dx = rstd (g - mean_g - xhat mean_gx), with g = w dy. */
typedef struct {
    float mean, rstd, mean_g, mean_gx;
} row_means;

static inline __attribute__((always_inline)) void mean_rows(const ms_norm_bwd_args *a, int n, int R,
                                                            row_means *to)
{
    int C = a->x.dim[1];
    const float *dy = cpu_row(a->dy, n), *x = cpu_row(a->x, n), *w = a->w.data;
    vf sum_g[GROUP], sum_gx[GROUP];

    for (int r = 0; r < R; r++) {
        const float *stat = cpu_row(a->stat, n + r);

        to[r].mean = stat[0];
        to[r].rstd = stat[1];
        sum_g[r] = sum_gx[r] = vf_all(0);
    }
    VF_ROW(
        i, m, C, vf gain = w ? vf_load_part(w + i, m) : vf_all(1); for (int r = 0; r < R; r++) {
            size_t at = (size_t)r * (size_t)C + (size_t)i;
            vf g = vf_load_part(dy + at, m) * gain; /* zero in lanes past the end */

            sum_g[r] += g;
            sum_gx[r] += g * (vf_load_part(x + at, m) - to[r].mean);
        });
    for (int r = 0; r < R; r++) {
        to[r].mean_g = a->rms ? 0 : vf_sum(sum_g[r]) / (float)C;
        to[r].mean_gx = vf_sum(sum_gx[r]) * to[r].rstd / (float)C;
    }
}

/* R rows: dx, and their part of dw and db; dw and db may be NULL. */
static inline __attribute__((always_inline)) void bwd_rows(const bwd *f, int n, int R, float *dw,
                                                           float *db)
{
    const ms_norm_bwd_args *a = &f->a;
    int C = a->x.dim[1];
    const float *dy = cpu_row(a->dy, n), *x = cpu_row(a->x, n), *w = a->w.data;
    float *dx = cpu_row(a->dx, n), *df = f->drop.on ? NULL : cpu_row(f->df, n);
    row_means mean[GROUP];

    mean_rows(a, n, R, mean);
    VF_ROW(
        i, m, C, vf gain = w ? vf_load_part(w + i, m) : vf_all(1); vf sum_w = {0}; vf sum_b = {0};
        for (int r = 0; r < R; r++) {
            size_t at = (size_t)r * (size_t)C + (size_t)i;
            vf d = vf_load_part(dy + at, m);
            vf xhat = (vf_load_part(x + at, m) - mean[r].mean) * mean[r].rstd;
            vf to = (d * gain - mean[r].mean_g - xhat * mean[r].mean_gx) * mean[r].rstd;

            sum_w += d * xhat;
            sum_b += d;
            if (a->accumulate) to += vf_load_part(dx + at, m);
            vf_store_part(dx + at, to, m);
            if (df) vf_store_part(df + at, to, m);
        } if (dw) vf_store_part(dw + i, vf_load_part(dw + i, m) + sum_w, m);
        if (db) vf_store_part(db + i, vf_load_part(db + i, m) + sum_b, m););
    for (int r = 0; f->drop.on && r < R; r++)
        cpu_drop_row(&f->drop, (uint32_t)(n + r), 0, C, cpu_row(f->df, n + r),
                     cpu_row(a->dx, n + r), NULL);
}

static void bwd_chunk(const bwd *f, int chunk)
{
    int C = f->a.x.dim[1], N = f->a.x.dim[0], first = chunk * f->chunk_rows, R;
    int last = N - first < f->chunk_rows ? N : first + f->chunk_rows;
    float *dw = f->a.dw.data, *db = f->a.db.data;

    if (f->part) {
        dw = f->part + (size_t)chunk * 2 * (size_t)C;
        db = dw + C;
        memset(dw, 0, 2 * (size_t)C * sizeof *dw);
    }
    for (int n = first; n < last; n += R) {
        R = group_rows((size_t)n, (size_t)last, C);
        if (R == GROUP)
            bwd_rows(f, n, GROUP, dw, db);
        else
            bwd_rows(f, n, 1, dw, db);
    }
}

/* to += the sums of all chunks, columns [first, last); part is that of the first chunk. */
static void add_chunks(const bwd *f, float *to, const float *part, size_t first, size_t last)
{
    size_t C = (size_t)f->a.x.dim[1];

    if (!to) return;
    VF_ROW(i, m, (int)(last - first), vf sum = vf_load_part(to + first + i, m);
           for (int k = 0; k < f->chunks; k++) sum +=
           vf_load_part(part + (size_t)k * 2 * C + first + i, m);
           vf_store_part(to + first + i, sum, m););
}

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    size_t first, last, C = (size_t)f->a.x.dim[1];

    ms_share((size_t)f->chunks, 1, thread, threads, &first, &last);
    for (size_t k = first; k < last; k++) bwd_chunk(f, (int)k);
    if (!f->part) return;
    if (threads > 1) ms_pool_barrier(f->q->device->pool);
    ms_share(C, VF, thread, threads, &first, &last);
    add_chunks(f, f->a.dw.data, f->part, first, last);
    add_chunks(f, f->a.db.data, f->part + C, first, last);
}

static void bwd_run(bwd *f)
{
    int N = f->a.x.dim[0], most = MS_CPU_WORK_BYTES / 8 / f->a.x.dim[1];
    bool sums = ms_present(f->a.dw) || ms_present(f->a.db);

    f->chunks = (N + CHUNK - 1) / CHUNK;
    if (f->chunks > CHUNKS) f->chunks = CHUNKS;
    if (sums && f->chunks > most) f->chunks = most > 1 ? most : 1;
    f->chunk_rows = ((N + f->chunks - 1) / f->chunks + GROUP - 1) / GROUP * GROUP;
    f->chunks = (N + f->chunk_rows - 1) / f->chunk_rows;
    f->part = sums && f->chunks > 1 ? cpu_work(f->q, 0) : NULL;
    cpu_run(f->q, BWD_WORK * ms_count(f->a.x), bwd_region, f);
}

void CPU(norm_bwd)(ms_queue *q, const ms_norm_bwd_args *a)
{
    bwd f = {.a = *a, .q = q};

    bwd_run(&f);
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
             .q = q};

    bwd_run(&f);
}
