/* rope - qkv rows into heads, norm of q and k, rotation, rows of the cache */
#include "ops/cpu/kernel.h"

#include <math.h>

typedef struct {
    int N, T, H, K, D, R;
} shape;

static shape shape_of(ms_tensor q, ms_tensor k, ms_tensor rot, ms_tensor seq)
{
    return (shape){.N = q.dim[0],
                   .T = q.dim[0] / seq.dim[0],
                   .H = q.dim[1],
                   .K = k.dim[1],
                   .D = q.dim[2],
                   .R = ms_present(rot) ? rot.dim[1] : 0};
}

static float *cache_row(ms_tensor cache, int b, int head, int position)
{
    size_t K = (size_t)cache.dim[1], S = (size_t)cache.dim[2], D = (size_t)cache.dim[3];

    return (float *)cache.data + (((size_t)b * K + (size_t)head) * S + (size_t)position) * D;
}

/* -- forward --------------------------------------------------------------------------------- */

/* y = rotation of x * rstd * w; w and rot may be NULL */
static void head_fwd(shape s, float *y, const float *x, float rstd, const float *w,
                     const float *rot)
{
    for (int i = 0; i < s.D; i++) y[i] = w ? x[i] * rstd * w[i] : x[i] * rstd;
    for (int j = 0; j < s.R; j++) {
        float c = rot[2 * j], sine = rot[2 * j + 1], lo = y[j], hi = y[j + s.R];

        y[j] = lo * c - hi * sine;
        y[j + s.R] = hi * c + lo * sine;
    }
}

static float rstd_of(const float *x, int D, float eps)
{
    float part[8] = {0}, square = 0;

    for (int i = 0; i < D; i++) part[i % 8] += x[i] * x[i];
    for (int i = 0; i < 8; i++) square += part[i];
    return 1 / sqrtf(square / (float)D + eps);
}

static void row_fwd(const ms_rope_fwd_args *a, shape s, int n)
{
    ms_seq seq = cpu_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    int to = a->local ? n % s.T : position;
    const float *x = cpu_row(a->qkv, n);
    const float *rot = ms_present(a->rot) ? cpu_row(a->rot, position) : NULL;
    float *stat = cpu_row(a->stat, n);

    for (int h = 0; h < s.H + s.K; h++, x += s.D) {
        bool is_q = h < s.H;
        float *y = is_q ? cpu_row(a->q, n) + (size_t)h * (size_t)s.D
                        : cache_row(a->k, n / s.T, h - s.H, to);
        float rstd = a->qk_norm ? rstd_of(x, s.D, (float)a->eps) : 1;

        if (stat) stat[h] = rstd;
        head_fwd(s, y, x, rstd, is_q ? a->qw.data : a->kw.data, rot);
    }
    for (int h = 0; h < s.K; h++, x += s.D)
        memcpy(cache_row(a->v, n / s.T, h, to), x, (size_t)s.D * sizeof *x);
}

static void fwd_region(void *arg, int thread, int threads)
{
    const ms_rope_fwd_args *a = arg;
    shape s = shape_of(a->q, a->k, a->rot, a->seq);
    size_t first, last;

    ms_share((size_t)s.N, 1, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) {
        int n = (int)i;

        if (n % s.T < cpu_seq(a->seq, n / s.T).length) {
            row_fwd(a, s, n);
            continue;
        }
        memset(cpu_row(a->q, n), 0, (size_t)(s.H * s.D) * sizeof(float));
        if (ms_present(a->stat))
            memset(cpu_row(a->stat, n), 0, (size_t)(s.H + s.K) * sizeof(float));
    }
}

void CPU(rope_fwd)(ms_queue *q, const ms_rope_fwd_args *a)
{
    ms_rope_fwd_args copy = *a;

    cpu_run(q, 3 * ms_count(a->qkv), fwd_region, &copy);
}

/* -- backward -------------------------------------------------------------------------------- */

static void rotate_back(shape s, float *dx, const float *dy, const float *rot)
{
    for (int j = 0; j < s.R; j++) {
        float c = rot[2 * j], sine = rot[2 * j + 1];

        dx[j] = dy[j] * c + dy[j + s.R] * sine;
        dx[j + s.R] = dy[j + s.R] * c - dy[j] * sine;
    }
    for (int i = 2 * s.R; i < s.D; i++) dx[i] = dy[i];
}

/* Gradient of the heads of a row behind the rotation: dqkv still lacks the norm's part. */
static void row_back(const ms_rope_bwd_args *a, shape s, int n)
{
    ms_seq seq = cpu_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    float *dx = cpu_row(a->dqkv, n);
    const float *rot = ms_present(a->rot) ? cpu_row(a->rot, position) : NULL;

    for (int h = 0; h < s.H + s.K; h++, dx += s.D)
        rotate_back(s, dx,
                    h < s.H ? cpu_row(a->dq, n) + (size_t)h * (size_t)s.D
                            : cache_row(a->dk, n / s.T, h - s.H, position),
                    rot);
    for (int h = 0; h < s.K; h++, dx += s.D)
        memcpy(dx, cache_row(a->dv, n / s.T, h, position), (size_t)s.D * sizeof *dx);
}

/* In place: dx = rstd (g - xhat mean(g xhat)), g = w dx */
static void norm_back(shape s, float *dx, const float *x, float rstd, const float *w)
{
    float part[8] = {0}, mean_gx = 0;

    for (int i = 0; i < s.D; i++) part[i % 8] += (w ? dx[i] * w[i] : dx[i]) * (x[i] * rstd);
    for (int i = 0; i < 8; i++) mean_gx += part[i];
    mean_gx /= (float)s.D;
    for (int i = 0; i < s.D; i++)
        dx[i] = rstd * ((w ? dx[i] * w[i] : dx[i]) - x[i] * rstd * mean_gx);
}

static bool valid(const ms_rope_bwd_args *a, shape s, int n)
{
    return n % s.T < cpu_seq(a->seq, n / s.T).length;
}

/* dqw and dkw: columns [first, last) of D, all rows and heads in order, by partial sums of a row.
 */
static void weight_columns(const ms_rope_bwd_args *a, shape s, size_t first, size_t last)
{
    float *dqw = a->dqw.data, *dkw = a->dkw.data;

    for (int n = 0; n < s.N; n++) {
        if (!valid(a, s, n)) continue;
        for (size_t i = first; i < last; i++) {
            float sum_q = 0, sum_k = 0;

            for (int h = 0; h < s.H + s.K; h++) {
                size_t at = (size_t)h * (size_t)s.D + i;
                float term =
                    cpu_row(a->dqkv, n)[at] * cpu_row(a->qkv, n)[at] * cpu_row(a->stat, n)[h];

                if (h < s.H)
                    sum_q += term;
                else
                    sum_k += term;
            }
            if (dqw) dqw[i] += sum_q;
            if (dkw) dkw[i] += sum_k;
        }
    }
}

typedef struct {
    ms_rope_bwd_args a;
    ms_pool *pool;
} bwd;

static void norm_rows(const ms_rope_bwd_args *a, shape s, size_t first, size_t last)
{
    for (size_t n = first; n < last; n++)
        for (int h = 0; valid(a, s, (int)n) && h < s.H + s.K; h++) {
            size_t at = (size_t)h * (size_t)s.D;

            norm_back(s, cpu_row(a->dqkv, (int)n) + at, cpu_row(a->qkv, (int)n) + at,
                      cpu_row(a->stat, (int)n)[h], h < s.H ? a->qw.data : a->kw.data);
        }
}

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    const ms_rope_bwd_args *a = &f->a;
    shape s = shape_of(a->dq, a->dk, a->rot, a->seq);
    size_t first, last, from, to;

    ms_share((size_t)s.N, 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) {
        if (valid(a, s, (int)n))
            row_back(a, s, (int)n);
        else
            memset(cpu_row(a->dqkv, (int)n), 0, (size_t)((s.H + 2 * s.K) * s.D) * sizeof(float));
    }
    if (!a->qk_norm) return;
    if (ms_present(a->dqw) || ms_present(a->dkw)) {
        if (threads > 1) ms_pool_barrier(f->pool);
        ms_share((size_t)s.D, 8, thread, threads, &from, &to);
        weight_columns(a, s, from, to);
        if (threads > 1) ms_pool_barrier(f->pool);
    }
    norm_rows(a, s, first, last);
}

void CPU(rope_bwd)(ms_queue *q, const ms_rope_bwd_args *a)
{
    bwd f = {*a, q->device->pool};

    cpu_run(q, 4 * ms_count(a->dqkv), bwd_region, &f);
}
