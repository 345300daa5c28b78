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

/* Cosines and sines of a position, apart, so that pairs can be turned side by side. */
typedef struct {
    float *cosine, *sine; /* (R) */
} angles;

static angles angles_of(shape s, float *room, ms_tensor rot, int position)
{
    angles a = {room, room + s.R};
    const float *pair = s.R > 0 ? cpu_row(rot, position) : NULL;

    for (int j = 0; j < s.R; j++) {
        a.cosine[j] = pair[2 * j];
        a.sine[j] = pair[2 * j + 1];
    }
    return a;
}

static float dot(const float *x, const float *y, int D)
{
    vf sum = vf_all(0);
    int i = 0;

    for (; i + VF <= D; i += VF) sum += vf_load(x + i) * vf_load(y + i);
    if (i < D) sum += vf_load_part(x + i, D - i) * vf_load_part(y + i, D - i);
    return vf_sum(sum);
}

/* -- forward --------------------------------------------------------------------------------- */

/* y = R x; y may be x */
static void rotate(shape s, float *y, const float *x, angles a)
{
    const float *c = a.cosine, *sine = a.sine;
    int j = 0;

    for (; j + VF <= s.R; j += VF) {
        vf lo = vf_load(x + j), hi = vf_load(x + j + s.R);

        vf_store(y + j, lo * vf_load(c + j) - hi * vf_load(sine + j));
        vf_store(y + j + s.R, hi * vf_load(c + j) + lo * vf_load(sine + j));
    }
    for (; j < s.R; j++) {
        float lo = x[j], hi = x[j + s.R];

        y[j] = lo * c[j] - hi * sine[j];
        y[j + s.R] = hi * c[j] + lo * sine[j];
    }
    if (y != x) memcpy(y + 2 * s.R, x + 2 * s.R, (size_t)(s.D - 2 * s.R) * sizeof *y);
}

/* y = x * rstd * w; w may be NULL */
static void scale(int D, float *restrict y, const float *restrict x, float rstd, const float *w)
{
    if (w)
        for (int i = 0; i < D; i++) y[i] = x[i] * rstd * w[i];
    else
        for (int i = 0; i < D; i++) y[i] = x[i] * rstd;
}

static void row_fwd(const ms_rope_fwd_args *a, shape s, float *room, int n)
{
    ms_seq seq = cpu_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    int to = a->local ? n % s.T : position;
    const float *x = cpu_row(a->qkv, n);
    angles turn = angles_of(s, room, a->rot, position);
    float *stat = cpu_row(a->stat, n);

    for (int h = 0; h < s.H + s.K; h++, x += s.D) {
        bool is_q = h < s.H;
        float *y = is_q ? cpu_row(a->q, n) + (size_t)h * (size_t)s.D
                        : cache_row(a->k, n / s.T, h - s.H, to);

        if (!a->qk_norm) {
            rotate(s, y, x, turn);
            continue;
        }
        stat[h] = 1 / sqrtf(dot(x, x, s.D) / (float)s.D + (float)a->eps);
        scale(s.D, y, x, stat[h], is_q ? a->qw.data : a->kw.data);
        rotate(s, y, y, turn);
    }
    for (int h = 0; h < s.K; h++, x += s.D)
        memcpy(cache_row(a->v, n / s.T, h, to), x, (size_t)s.D * sizeof *x);
}

typedef struct {
    const ms_rope_fwd_args *a;
    ms_queue *q;
} fwd;

static void fwd_region(void *arg, int thread, int threads)
{
    const fwd *f = arg;
    const ms_rope_fwd_args *a = f->a;
    shape s = shape_of(a->q, a->k, a->rot, a->seq);
    size_t first, last;

    ms_share((size_t)s.N, 1, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) {
        int n = (int)i;

        if (n % s.T < cpu_seq(a->seq, n / s.T).length) {
            row_fwd(a, s, cpu_work(f->q, thread), n);
            continue;
        }
        memset(cpu_row(a->q, n), 0, (size_t)(s.H * s.D) * sizeof(float));
        if (ms_present(a->stat))
            memset(cpu_row(a->stat, n), 0, (size_t)(s.H + s.K) * sizeof(float));
    }
}

void CPU(rope_fwd)(ms_queue *q, const ms_rope_fwd_args *a)
{
    fwd f = {a, q};

    cpu_run(q, 3 * ms_count(a->qkv), fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

/* Gradient of the heads of a row behind the rotation: dqkv still lacks the norm's part. */
static void row_back(const ms_rope_bwd_args *a, shape s, float *room, int n)
{
    ms_seq seq = cpu_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    float *dx = cpu_row(a->dqkv, n);
    angles turn = angles_of(s, room, a->rot, position);

    for (int j = 0; j < s.R; j++) turn.sine[j] = -turn.sine[j]; /* back by the same angle */
    for (int h = 0; h < s.H + s.K; h++, dx += s.D)
        rotate(s, dx,
               h < s.H ? cpu_row(a->dq, n) + (size_t)h * (size_t)s.D
                       : cache_row(a->dk, n / s.T, h - s.H, position),
               turn);
    for (int h = 0; h < s.K; h++, dx += s.D)
        memcpy(dx, cache_row(a->dv, n / s.T, h, position), (size_t)s.D * sizeof *dx);
}

/* In place: dx = rstd (g - xhat mean(g xhat)), g = w dx */
static void norm_back(shape s, float *restrict dx, const float *restrict x, float rstd,
                      const float *restrict w)
{
    float mean_gx;

    for (int i = 0; w && i < s.D; i++) dx[i] *= w[i];
    mean_gx = dot(dx, x, s.D) * rstd / (float)s.D;
    for (int i = 0; i < s.D; i++) dx[i] = rstd * (dx[i] - x[i] * rstd * mean_gx);
}

static bool valid(const ms_rope_bwd_args *a, shape s, int n)
{
    return n % s.T < cpu_seq(a->seq, n / s.T).length;
}

/* sum += dx * x * rstd of columns of a head */
static void add_terms(float *restrict sum, const float *restrict dx, const float *restrict x,
                      float rstd, size_t columns)
{
    for (size_t i = 0; i < columns; i++) sum[i] += dx[i] * x[i] * rstd;
}

/* dw += the sums of a row. */
static void add_sums(float *restrict dw, const float *restrict sum, size_t columns)
{
    for (size_t i = 0; dw && i < columns; i++) dw[i] += sum[i];
}

/* dqw and dkw: columns [first, last) of D, all rows and heads in order, by partial sums of a row.
 */
static void weight_columns(const ms_rope_bwd_args *a, shape s, float *room, size_t first,
                           size_t last)
{
    float *dqw = a->dqw.data, *dkw = a->dkw.data, *sum_q = room, *sum_k = room + s.D;
    size_t columns = last - first;

    for (int n = 0; n < s.N; n++) {
        if (!valid(a, s, n)) continue;
        memset(room, 0, 2 * (size_t)s.D * sizeof *room);
        for (int h = 0; h < s.H + s.K; h++) {
            size_t at = (size_t)h * (size_t)s.D + first;

            add_terms(h < s.H ? sum_q : sum_k, cpu_row(a->dqkv, n) + at, cpu_row(a->qkv, n) + at,
                      cpu_row(a->stat, n)[h], columns);
        }
        add_sums(dqw ? dqw + first : NULL, sum_q, columns);
        add_sums(dkw ? dkw + first : NULL, sum_k, columns);
    }
}

typedef struct {
    ms_rope_bwd_args a;
    ms_queue *q;
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
    float *room = cpu_work(f->q, thread);
    size_t first, last, from, to;

    ms_share((size_t)s.N, 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) {
        if (valid(a, s, (int)n))
            row_back(a, s, room, (int)n);
        else
            memset(cpu_row(a->dqkv, (int)n), 0, (size_t)((s.H + 2 * s.K) * s.D) * sizeof(float));
    }
    if (!a->qk_norm) return;
    if (ms_present(a->dqw) || ms_present(a->dkw)) {
        if (threads > 1) ms_pool_barrier(f->q->device->pool);
        ms_share((size_t)s.D, 8, thread, threads, &from, &to);
        weight_columns(a, s, room, from, to);
        if (threads > 1) ms_pool_barrier(f->q->device->pool);
    }
    norm_rows(a, s, first, last);
}

void CPU(rope_bwd)(ms_queue *q, const ms_rope_bwd_args *a)
{
    bwd f = {*a, q};

    cpu_run(q, 4 * ms_count(a->dqkv), bwd_region, &f);
}
