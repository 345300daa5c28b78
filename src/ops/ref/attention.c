/* attention - causal, grouped queries; scores are recomputed in each pass over the keys
 *
 * Sources: Vaswani et al. 2017, eq. 1; Dao et al. 2022, appendix B.2;
 * docs/derivations/attention.md. */
#include "ops/ref/ref.h"

#include <stdlib.h>

/* One row of one head and the keys it sees. */
typedef struct {
    const ms_queue *queue;
    const double *q, *k, *v; /* (D), (keys, D), (keys, D) */
    int D, keys;
    double scale;
    double slip; /* error of a sum over its scale: c * eps */
    ms_drop drop;
    uint32_t row; /* of the mask of dropout */
} query;

static double score(const query *r, int j)
{
    double s = 0;

    for (int i = 0; i < r->D; i++) s += r->q[i] * r->k[(size_t)j * (size_t)r->D + (size_t)i];
    return r->scale * s;
}

/* The |terms| of score. */
static double score_scale(const query *r, int j)
{
    double s = 0;

    for (int i = 0; i < r->D; i++) s += fabs(r->q[i] * r->k[(size_t)j * (size_t)r->D + (size_t)i]);
    return r->scale * s;
}

/* log of the sum of exp of the scores, each raised by `off` times its scale */
static double log_sum_exp(const query *r, double off)
{
    double max = -INFINITY, sum = 0;

    for (int j = 0; j < r->keys; j++) max = fmax(max, score(r, j) + off * score_scale(r, j));
    for (int j = 0; j < r->keys; j++) sum += exp(score(r, j) + off * score_scale(r, j) - max);
    return max + log(sum);
}

/* Scale of the error of p = exp(score - lse), whose exponent may be off by slip times the scale of
 * the score and by `drift`: the exponential itself, not its slope, because where that is large keys
 * change places.  p is below most. */
static double prob_scale(const query *r, int j, double lse, double drift, double most)
{
    double x = score(r, j) - lse, off = r->slip * score_scale(r, j) + drift;
    double p = fmin(most, exp(x)), above = fmin(most, exp(x + off)) - p, below = p - exp(x - off);

    return fmax(above, below) / r->slip + p + MS_REF_UNDERFLOW;
}

static double keep(const query *r, int j)
{
    return ms_ref_keep(r->queue, r->drop, r->row, (uint32_t)j);
}

/* The row (n, h) of q against its group of the cache.  keys is 0 when it is padding. */
static query query_of(const ms_queue *queue, ms_tensor q, ms_tensor k, ms_tensor v, ms_tensor seq,
                      int n, int h)
{
    int T = q.dim[0] / seq.dim[0], H = q.dim[1], K = k.dim[1], D = q.dim[2], b = n / T, t = n % T;
    ms_seq s = ms_ref_seq(seq, b);
    size_t group = ((size_t)b * (size_t)K + (size_t)(h / (H / K))) * (size_t)k.dim[2] * (size_t)D;

    return (query){
        .queue = queue,
        .q = ms_ref_row(q, n) + (size_t)h * (size_t)D,
        .k = ms_ref_reals(k) + group,
        .v = ms_ref_reals(v) + group,
        .D = D,
        .keys = t < s.length ? s.start + t + 1 : 0,
        .row = ((uint32_t)b * (uint32_t)H + (uint32_t)h) * (uint32_t)T + (uint32_t)t,
    };
}

/* -- forward --------------------------------------------------------------------------------- */

/* y may be q: it is written last. */
static void row_fwd(const query *r, double *y, double *lse_out)
{
    bool magnitude = r->queue->magnitude;
    double lse = log_sum_exp(r, 0), drift = magnitude ? log_sum_exp(r, r->slip) - lse : 0;
    double out[MS_MAX_HEAD_DIM] = {0};

    for (int j = 0; j < r->keys; j++) {
        double p = magnitude ? prob_scale(r, j, lse, drift, 1) : exp(score(r, j) - lse);
        const double *v = r->v + (size_t)j * (size_t)r->D;

        p *= keep(r, j);
        for (int i = 0; i < r->D; i++) out[i] += p * ms_ref_term(r->queue, v[i]);
    }
    for (int i = 0; i < r->D; i++) y[i] = out[i];
    if (lse_out) *lse_out = magnitude ? drift / r->slip + fabs(lse) + 1 : lse;
}

static void rows_fwd(ms_queue *q, const ms_attention_fwd_args *a, ms_tensor k, ms_tensor v)
{
    int H = a->q.dim[1], D = a->q.dim[2];

    for (int n = 0; n < a->q.dim[0]; n++) {
        for (int h = 0; h < H; h++) {
            query r = query_of(q, a->q, k, v, a->seq, n, h);
            double *y = ms_ref_row(a->y, n) + (size_t)h * (size_t)D;
            double *lse = ms_present(a->lse) ? ms_ref_row(a->lse, n) + h : NULL;

            r.scale = a->scale;
            r.drop = a->drop;
            r.slip = MS_REF_EPS * ms_ref_sum_bound(D + a->k.dim[2]);
            if (r.keys > 0) {
                row_fwd(&r, y, lse);
                continue;
            }
            ms_ref_fill(y, (size_t)D, 0);
            if (lse) *lse = 0;
        }
    }
}

/* A cached tensor as doubles: itself where it holds them, else a copy; NULL data: out of memory. */
static ms_tensor doubles_of(ms_tensor t)
{
    size_t D = (size_t)t.dim[3], rows = ms_count(t) / D;
    ms_tensor out = t;

    if (t.dtype == MS_F64) return t;
    out.dtype = MS_F64;
    out.data = malloc(ms_count(t) * sizeof(double));
    for (size_t n = 0; out.data && n < rows; n++)
        ms_ref_stored(MS_VIEW(t, (int)rows, t.dim[3]), (int)n, (double *)out.data + n * D);
    return out;
}

void ms_ref_attention_fwd(ms_queue *q, const ms_attention_fwd_args *a)
{
    ms_tensor k = doubles_of(a->k), v = doubles_of(a->v);

    if (k.data && v.data)
        rows_fwd(q, a, k, v);
    else
        ms_queue_fail(q, MS_MEMORY, "attention_fwd: out of memory for a cache as doubles");
    if (k.data != a->k.data) free(k.data);
    if (v.data != a->v.data) free(v.data);
}

/* -- backward -------------------------------------------------------------------------------- */

static double dot(const ms_queue *q, const double *a, const double *b, int n)
{
    double s = 0;

    for (int i = 0; i < n; i++) s += ms_ref_term(q, a[i] * b[i]);
    return s;
}

/* Rebuilt from lse, a probability may come out above 1.  Finite: it is multiplied with zeros. */
static const double unlimited = 1e200;

/* With dp = keep (dy . v) and delta = dy . y = sum of p dp:  ds = p (dp - delta) scale.
 * dk, dv point at the gradients of the group's rows; dq may be dy: it is written last. */
static void row_bwd(const query *r, double *dq, double *dk, double *dv, const double *dy,
                    const double *y, double lse)
{
    const ms_queue *q = r->queue;
    double delta = dot(q, dy, y, r->D), minus = q->magnitude ? 1 : -1;
    double out[MS_MAX_HEAD_DIM] = {0};

    for (int j = 0; j < r->keys; j++) {
        const double *k = r->k + (size_t)j * (size_t)r->D, *v = r->v + (size_t)j * (size_t)r->D;
        double p = q->magnitude ? prob_scale(r, j, lse, r->slip * fabs(lse), unlimited)
                                : exp(score(r, j) - lse);
        double m = keep(r, j), dp = m * dot(q, dy, v, r->D);
        double ds = r->scale * p * (dp + minus * delta);

        for (int i = 0; i < r->D; i++) {
            out[i] += ds * ms_ref_term(q, k[i]);
            dk[(size_t)j * (size_t)r->D + (size_t)i] += ds * ms_ref_term(q, r->q[i]);
            dv[(size_t)j * (size_t)r->D + (size_t)i] += m * p * ms_ref_term(q, dy[i]);
        }
    }
    for (int i = 0; i < r->D; i++) dq[i] = out[i];
}

void ms_ref_attention_bwd(ms_queue *q, const ms_attention_bwd_args *a)
{
    int H = a->q.dim[1], D = a->q.dim[2], T = a->q.dim[0] / a->seq.dim[0];
    double terms = D + a->k.dim[2] + (double)T * H / a->k.dim[1];

    ms_ref_fill(ms_ref_reals(a->dk), ms_count(a->dk), 0);
    ms_ref_fill(ms_ref_reals(a->dv), ms_count(a->dv), 0);
    for (int n = 0; n < a->q.dim[0]; n++) {
        for (int h = 0; h < H; h++) {
            query r = query_of(q, a->q, a->k, a->v, a->seq, n, h);
            size_t at = (size_t)h * (size_t)D;
            double *dk = ms_ref_reals(a->dk) + (r.k - ms_ref_reals(a->k));
            double *dv = ms_ref_reals(a->dv) + (r.v - ms_ref_reals(a->v));

            r.scale = a->scale;
            r.drop = a->drop;
            r.slip = MS_REF_EPS * ms_ref_sum_bound(terms);
            row_bwd(&r, ms_ref_row(a->dq, n) + at, dk, dv, ms_ref_row(a->dy, n) + at,
                    ms_ref_row(a->y, n) + at, ms_ref_row(a->lse, n)[h]);
        }
    }
}
