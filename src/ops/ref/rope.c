/* rope - qkv rows into heads, norm of q and k, rotation, rows of the cache
 *
 * Sources: RoFormer, Su et al. 2021, eq. 34; Henry et al. 2020; docs/derivations/rope.md. */
#include "ops/ref/ref.h"

/* Row (b, head, position) of a cache (B, K, S, D). */
static double *cache_row(ms_tensor cache, int b, int head, int position)
{
    size_t K = (size_t)cache.dim[1], S = (size_t)cache.dim[2], D = (size_t)cache.dim[3];

    return ms_ref_reals(cache) + (((size_t)b * K + (size_t)head) * S + (size_t)position) * D;
}

/* Shape of a call, from any of its operands that both passes have. */
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

/* -- forward --------------------------------------------------------------------------------- */

/* y = rotation of x * rstd * w; w and rot may be NULL */
static void head_fwd(const ms_queue *q, shape s, double *y, const double *x, double rstd,
                     const double *w, const double *rot)
{
    for (int i = 0; i < s.D; i++) y[i] = ms_ref_term(q, x[i] * rstd * (w ? w[i] : 1));
    for (int j = 0; j < s.R; j++) {
        double c = ms_ref_term(q, rot[2 * j]), sin = ms_ref_term(q, rot[2 * j + 1]);
        double lo = y[j], hi = y[j + s.R], minus = q->magnitude ? 1 : -1;

        y[j] = lo * c + minus * hi * sin;
        y[j + s.R] = hi * c + lo * sin;
    }
}

static double rstd_of(const double *x, int D, double eps)
{
    double square = 0;

    for (int i = 0; i < D; i++) square += x[i] * x[i];
    return 1 / sqrt(square / D + eps);
}

static void row_fwd(const ms_queue *q, const ms_rope_fwd_args *a, shape s, int n)
{
    ms_seq seq = ms_ref_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    int to = a->local ? n % s.T : position;
    const double *x = ms_ref_row(a->qkv, n), *rot = ms_ref_row(a->rot, position);
    double *stat = ms_ref_row(a->stat, n);

    for (int h = 0; h < s.H + s.K; h++, x += s.D) {
        bool is_q = h < s.H;
        double *y = is_q ? ms_ref_row(a->q, n) + (size_t)h * (size_t)s.D
                         : cache_row(a->k, n / s.T, h - s.H, to);
        double rstd = a->qk_norm ? rstd_of(x, s.D, a->eps) : 1;

        if (stat) stat[h] = rstd;
        head_fwd(q, s, y, x, rstd, ms_ref_reals(is_q ? a->qw : a->kw), rot);
    }
    for (int h = 0; h < s.K; h++, x += s.D)
        for (int i = 0; i < s.D; i++)
            cache_row(a->v, n / s.T, h, to)[i] = q->magnitude ? 0 : x[i]; /* a copy */
}

void ms_ref_rope_fwd(ms_queue *q, const ms_rope_fwd_args *a)
{
    shape s = shape_of(a->q, a->k, a->rot, a->seq);

    if (q->magnitude) { /* rows that are left as they are have no error */
        ms_ref_fill(ms_ref_reals(a->k), ms_count(a->k), 0);
        ms_ref_fill(ms_ref_reals(a->v), ms_count(a->v), 0);
    }
    for (int n = 0; n < s.N; n++) {
        if (n % s.T < ms_ref_seq(a->seq, n / s.T).length) {
            row_fwd(q, a, s, n);
            continue;
        }
        ms_ref_fill(ms_ref_row(a->q, n), (size_t)(s.H * s.D), 0);
        if (ms_present(a->stat)) ms_ref_fill(ms_ref_row(a->stat, n), (size_t)(s.H + s.K), 0);
    }
}

/* -- backward -------------------------------------------------------------------------------- */

/* dx = transposed rotation of dy: by the opposite angle */
static void rotate_back(const ms_queue *q, shape s, double *dx, const double *dy, const double *rot)
{
    for (int i = 0; i < s.D; i++) dx[i] = ms_ref_term(q, dy[i]);
    for (int j = 0; j < s.R; j++) {
        double c = ms_ref_term(q, rot[2 * j]), sin = ms_ref_term(q, rot[2 * j + 1]);
        double lo = dx[j], hi = dx[j + s.R], minus = q->magnitude ? 1 : -1;

        dx[j] = lo * c + hi * sin;
        dx[j + s.R] = hi * c + minus * lo * sin;
    }
}

/* In place: dx = rstd (g - xhat mean(g xhat)), g = w dx; dw += dx * xhat */
static void norm_back(const ms_queue *q, shape s, double *dx, double *dw, const double *x,
                      double rstd, const double *w)
{
    double mean_gx = 0, minus = q->magnitude ? 1 : -1;

    for (int i = 0; i < s.D; i++)
        mean_gx += ms_ref_term(q, dx[i] * (w ? w[i] : 1) * x[i] * rstd) / s.D;
    for (int i = 0; i < s.D; i++) {
        double xhat = ms_ref_term(q, x[i] * rstd), g = ms_ref_term(q, dx[i] * (w ? w[i] : 1));

        if (dw) dw[i] += dx[i] * xhat;
        dx[i] = rstd * (g + minus * xhat * mean_gx);
    }
}

static void row_bwd(const ms_queue *q, const ms_rope_bwd_args *a, shape s, int n)
{
    ms_seq seq = ms_ref_seq(a->seq, n / s.T);
    int position = seq.start + n % s.T;
    double *dx = ms_ref_row(a->dqkv, n);
    const double *x = ms_ref_row(a->qkv, n), *rot = ms_ref_row(a->rot, position);
    const double *stat = ms_ref_row(a->stat, n);

    for (int h = 0; h < s.H + s.K; h++, dx += s.D) {
        bool is_q = h < s.H;
        const double *dy = is_q ? ms_ref_row(a->dq, n) + (size_t)h * (size_t)s.D
                                : cache_row(a->dk, n / s.T, h - s.H, position);

        rotate_back(q, s, dx, dy, rot);
        if (a->qk_norm)
            norm_back(q, s, dx, ms_ref_reals(is_q ? a->dqw : a->dkw), x + (size_t)h * (size_t)s.D,
                      stat[h], ms_ref_reals(is_q ? a->qw : a->kw));
    }
    for (int h = 0; h < s.K; h++, dx += s.D)
        for (int i = 0; i < s.D; i++)
            dx[i] = q->magnitude ? 0 : cache_row(a->dv, n / s.T, h, position)[i]; /* a copy */
}

void ms_ref_rope_bwd(ms_queue *q, const ms_rope_bwd_args *a)
{
    shape s = shape_of(a->dq, a->dk, a->rot, a->seq);

    ms_ref_start_sum(q, a->dqw);
    ms_ref_start_sum(q, a->dkw);
    for (int n = 0; n < s.N; n++) {
        if (n % s.T < ms_ref_seq(a->seq, n / s.T).length)
            row_bwd(q, a, s, n);
        else
            ms_ref_fill(ms_ref_row(a->dqkv, n), (size_t)((s.H + 2 * s.K) * s.D), 0);
    }
}
