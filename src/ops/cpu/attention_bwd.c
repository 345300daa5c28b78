/* attention - causal attention of grouped queries in tiles of queries by keys
 *
 * Keys come in blocks of KEYS aligned to key 0, so that a row's sums have one order whatever the
 * batch and the pass.  Forward: the running maximum and sum of Milakov & Gimelshein 2018 over the
 * blocks. Backward: probabilities are rebuilt from lse (Dao et al. 2022, algorithm 4); a thread
 * owns a key head with all its query heads, so dk and dv need no atomics. */
#include "ops/cpu/kernel.h"

#include <math.h>

enum { KEYS = 64, QUERIES = 16 };

typedef struct {
    int B, T, H, K, S, D;
} shape;

static shape shape_of(ms_tensor q, ms_tensor k)
{
    return (shape){.B = k.dim[0],
                   .T = q.dim[0] / k.dim[0],
                   .H = q.dim[1],
                   .K = k.dim[1],
                   .S = k.dim[2],
                   .D = q.dim[2]};
}

/* Head h of row (b, t); rows of a head are H * D apart. */
static float *query(ms_tensor q, shape s, int b, int t, int h)
{
    return (float *)q.data +
           (((size_t)b * (size_t)s.T + (size_t)t) * (size_t)s.H + (size_t)h) * (size_t)s.D;
}

static float *keys_of(ms_tensor k, shape s, int b, int head)
{
    return (float *)k.data + ((size_t)b * (size_t)s.K + (size_t)head) * (size_t)s.S * (size_t)s.D;
}

/* y += a x */
static inline void add_scaled(float *y, float a, const float *x, int D)
{
    int i = 0;

    for (; i + VF <= D; i += VF) vf_store(y + i, vf_load(y + i) + a * vf_load(x + i));
    if (i < D)
        vf_store_part(y + i, vf_load_part(y + i, D - i) + a * vf_load_part(x + i, D - i), D - i);
}

static inline void scale_row(float *y, float a, int D)
{
    for (int i = 0; i < D; i++) y[i] *= a;
}

static uint32_t drop_row(shape s, int b, int h, int t)
{
    return (uint32_t)((b * s.H + h) * s.T + t);
}

static void scale_scores(float *p, float scale, int n)
{
    for (int j = 0; j < n; j++) p[j] *= scale;
    for (int j = n; j < KEYS; j++) p[j] = 0;
}

/* p = exp(p - max) of the first n scores, zeros behind; the sum in lanes, then folded. */
static float exp_row(float *p, float max, int n)
{
    vf sum = {0};

    for (int j = 0; j < KEYS; j += VF) {
        int m = n - j < 0 ? 0 : n - j < VF ? n - j : VF;
        vf e = vf_exp(vf_load(p + j) - max);

        if (m < VF) {
            float lane[VF] = {0};

            vf_store_part(lane, e, m);
            e = vf_load(lane);
        }
        vf_store(p + j, e);
        sum += e;
    }
    return vf_sum(sum);
}

/* Keys that all rows together look at, roughly. */
static size_t work_of(shape s, ms_tensor seq)
{
    size_t keys = 0;

    for (int b = 0; b < s.B; b++)
        keys += (size_t)(cpu_seq(seq, b).start + cpu_seq(seq, b).length) * (size_t)s.T;
    return keys * (size_t)s.H * (size_t)s.D;
}

/* -- backward -------------------------------------------------------------------------------- */

typedef struct {
    const ms_attention_bwd_args *a;
    cpu_drop drop;
    ms_pool *pool;
} bwd;

/* delta = dy . y of each row and head. */
static void delta_rows(const bwd *f, shape s, size_t first, size_t last)
{
    for (size_t n = first; n < last; n++)
        for (int h = 0; h < s.H; h++) {
            size_t at = n * (size_t)s.H + (size_t)h;
            const float *y = (const float *)f->a->y.data + at * (size_t)s.D;
            const float *dy = (const float *)f->a->dy.data + at * (size_t)s.D;

            CPU(dot_tile)((float *)f->a->delta.data + at, 1, dy, 0, 1, y, 0, 1, s.D);
        }
}

/* From scores p and dp = dy . v: p gets what multiplies dy in dv, ds the gradient of the score
 * times its scale; n keys are seen. */
static void row_back(const bwd *f, float *p, float *dp, int n, int first, float lse, float delta,
                     uint32_t row)
{
    float scale = (float)f->a->scale, mask[KEYS];

    scale_scores(p, scale, n);
    for (int j = n; j < KEYS; j++) dp[j] = 0;
    exp_row(p, lse, n);
    if (f->drop.on) cpu_drop_mask(&f->drop, row, first, n, mask);
    for (int j = 0; j < n; j++) {
        float keep = f->drop.on ? mask[j] : 1;

        dp[j] = p[j] * (keep * dp[j] - delta) * scale;
        p[j] *= keep;
    }
}

/* Rows t .. of one query head against one block of keys; dq of the rows is added to sum_q. */
static void bwd_tile(const bwd *f, shape s, int b, int h, int t, int rows, int first, int n,
                     float (*sum_q)[MS_MAX_HEAD_DIM])
{
    const ms_attention_bwd_args *a = f->a;
    int start = cpu_seq(a->seq, b).start, group = h / (s.H / s.K);
    size_t D = (size_t)s.D, stride = (size_t)s.H * D;
    const float *k = keys_of(a->k, s, b, group) + (size_t)first * D;
    const float *v = keys_of(a->v, s, b, group) + (size_t)first * D;
    float *dk = keys_of(a->dk, s, b, group) + (size_t)first * D;
    float *dv = keys_of(a->dv, s, b, group) + (size_t)first * D;
    const float *q = query(a->q, s, b, t, h), *dy = query(a->dy, s, b, t, h);
    const float *lse = a->lse.data, *delta = a->delta.data;
    float p[QUERIES][KEYS], ds[QUERIES][KEYS];

    CPU(dot_tile)(p[0], KEYS, q, stride, rows, k, D, n, s.D);
    CPU(dot_tile)(ds[0], KEYS, dy, stride, rows, v, D, n, s.D);
    for (int i = 0; i < rows; i++) {
        int visible = start + t + i + 1 - first;
        size_t at = ((size_t)b * (size_t)s.T + (size_t)(t + i)) * (size_t)s.H + (size_t)h;

        visible = visible < 0 ? 0 : visible < n ? visible : n;
        row_back(f, p[i], ds[i], visible, first, lse[at], delta[at], drop_row(s, b, h, t + i));
        for (int j = 0; j < visible; j++) add_scaled(sum_q[i], ds[i][j], k + (size_t)j * D, s.D);
    }
    for (int j = 0; j < n; j++)
        for (int i = 0; i < rows; i++) {
            if (start + t + i < first + j) continue; /* not seen */
            add_scaled(dk + (size_t)j * D, ds[i][j], q + (size_t)i * stride, s.D);
            add_scaled(dv + (size_t)j * D, p[i][j], dy + (size_t)i * stride, s.D);
        }
}

/* Everything of a tile of rows of one head; dq may alias dy, so it is stored when dy is done with.
 */
static void bwd_rows(const bwd *f, shape s, int b, int h, int t, int rows)
{
    int seen = cpu_seq(f->a->seq, b).start + t + rows;
    float sum_q[QUERIES][MS_MAX_HEAD_DIM];

    for (int i = 0; i < rows; i++) memset(sum_q[i], 0, (size_t)s.D * sizeof(float));
    for (int first = 0; first < seen; first += KEYS)
        bwd_tile(f, s, b, h, t, rows, first, seen - first < KEYS ? seen - first : KEYS, sum_q);
    for (int i = 0; i < rows; i++)
        memcpy(query(f->a->dq, s, b, t + i, h), sum_q[i], (size_t)s.D * sizeof(float));
}

/* A key head of a sequence with all query heads of its group. */
static void bwd_group(const bwd *f, shape s, int b, int group)
{
    size_t bytes = (size_t)s.S * (size_t)s.D * sizeof(float);
    int per_group = s.H / s.K, length = cpu_seq(f->a->seq, b).length;

    memset(keys_of(f->a->dk, s, b, group), 0, bytes);
    memset(keys_of(f->a->dv, s, b, group), 0, bytes);
    for (int h = group * per_group; h < (group + 1) * per_group; h++) {
        for (int t = 0; t < length; t += QUERIES)
            bwd_rows(f, s, b, h, t, length - t < QUERIES ? length - t : QUERIES);
        for (int t = length; t < s.T; t++)
            memset(query(f->a->dq, s, b, t, h), 0, (size_t)s.D * sizeof(float));
    }
}

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    shape s = shape_of(f->a->q, f->a->k);
    size_t first, last;

    ms_share((size_t)(s.B * s.T), 1, thread, threads, &first, &last);
    delta_rows(f, s, first, last);
    if (threads > 1) ms_pool_barrier(f->pool);
    for (int item = thread; item < s.B * s.K; item += threads)
        bwd_group(f, s, item / s.K, item % s.K);
}

void CPU(attention_bwd)(ms_queue *q, const ms_attention_bwd_args *a)
{
    bwd f = {a, cpu_drop_of(q, a->drop), q->device->pool};

    cpu_run(q, 3 * work_of(shape_of(a->q, a->k), a->seq), bwd_region, &f);
}
