/* norm - LayerNorm and RMSNorm, alone and behind the residual add
 *
 * Sources: Ba et al. 2016, eq. 4; Zhang & Sennrich 2019, eq. 4; docs/derivations/norm.md. */
#include "ops/ref/ref.h"

/* -- forward --------------------------------------------------------------------------------- */

/* A row to be normed: x, or x + drop(f). */
typedef struct {
    const ms_queue *q;
    const double *x, *f; /* (C); f may be NULL */
    int C, row;
    ms_drop drop;
} source;

typedef struct {
    double mean, rstd;
    double mean_scale, rstd_scale; /* of their rounding errors */
    double spread;                 /* of the relative error of rstd */
} moments;

static double branch(const source *s, int i)
{
    return s->f ? ms_ref_keep(s->q, s->drop, (uint32_t)s->row, (uint32_t)i) * s->f[i] : 0;
}

static double value(const source *s, int i)
{
    return s->x[i] + branch(s, i);
}

static double size(const source *s, int i)
{
    return fabs(s->x[i]) + fabs(branch(s, i));
}

static moments moments_of(const source *s, double eps, bool rms)
{
    moments m = {0};
    double square = 0, cross = 0;

    for (int i = 0; i < s->C && !rms; i++) {
        m.mean += value(s, i) / s->C;
        m.mean_scale += size(s, i) / s->C;
    }
    for (int i = 0; i < s->C; i++) {
        double d = value(s, i) - m.mean;

        square += d * d;
        cross += fabs(d) * (size(s, i) + m.mean_scale);
    }
    m.rstd = 1 / sqrt(square / s->C + eps);

    /* d rstd = -rstd^3 mean(d dd), and the error of the mean, squared, is added to the variance:
     * that counts where a row is nearly constant. */
    m.spread = m.rstd * m.rstd * (cross / s->C + MS_REF_EPS * m.mean_scale * m.mean_scale);
    m.rstd_scale = m.rstd * (1 + m.spread);
    return m;
}

/* Every output element is written after the last read of the inputs it may alias. */
static void norm_row(const source *s, const ms_add_norm_fwd_args *a, double *r, double *y,
                     double *stat)
{
    moments m = moments_of(s, a->eps, a->rms);
    const double *w = ms_ref_reals(a->w), *b = ms_ref_reals(a->b);
    bool scale = s->q->magnitude;

    for (int i = 0; i < s->C; i++) {
        double v = value(s, i), M = size(s, i), gain = w ? w[i] : 1, shift = b ? b[i] : 0;
        double d = v - m.mean;

        if (r) r[i] = scale ? M : v;
        y[i] = scale ? (M + m.mean_scale + fabs(d) * m.spread) * m.rstd * fabs(gain) + fabs(shift)
                     : d * m.rstd * gain + shift;
    }
    if (!stat) return;
    stat[0] = scale ? m.mean_scale : m.mean;
    stat[1] = scale ? m.rstd_scale : m.rstd;
}

void ms_ref_norm_fwd(ms_queue *q, const ms_norm_fwd_args *a)
{
    ms_add_norm_fwd_args norm = {.w = a->w, .b = a->b, .eps = a->eps, .rms = a->rms};

    for (int n = 0; n < a->x.dim[0]; n++) {
        source s = {.q = q, .x = ms_ref_row(a->x, n), .C = a->x.dim[1]};

        norm_row(&s, &norm, NULL, ms_ref_row(a->y, n), ms_ref_row(a->stat, n));
    }
}

/* Not the composed slot: the error of y depends on the terms of r, which its value hides. */
void ms_ref_add_norm_fwd(ms_queue *q, const ms_add_norm_fwd_args *a)
{
    for (int n = 0; n < a->x.dim[0]; n++) {
        source s = {.q = q,
                    .x = ms_ref_row(a->x, n),
                    .f = ms_ref_row(a->f, n),
                    .C = a->x.dim[1],
                    .row = n,
                    .drop = a->drop};

        norm_row(&s, a, ms_ref_row(a->r, n), ms_ref_row(a->y, n), ms_ref_row(a->stat, n));
    }
}

/* -- backward -------------------------------------------------------------------------------- */

/* xhat of an element: what the forward multiplied with w. */
static double normed(const ms_queue *q, double x, const double *stat)
{
    return (ms_ref_term(q, x) + ms_ref_term(q, -stat[0])) * stat[1];
}

/* With g = w dy:  dr = (dr +) rstd (g - mean(g) - xhat mean(g xhat)), without mean(g) when rms. */
static void norm_bwd_row(const ms_queue *q, const ms_add_norm_bwd_args *a, int n)
{
    int C = a->dy.dim[1];
    const double *dy = ms_ref_row(a->dy, n), *x = ms_ref_row(a->r, n);
    const double *stat = ms_ref_row(a->stat, n), *w = ms_ref_reals(a->w);
    double *dr = ms_ref_row(a->dr, n), *df = ms_ref_row(a->df, n);
    double *dw = ms_ref_reals(a->dw), *db = ms_ref_reals(a->db);
    double mean_g = 0, mean_gx = 0, minus = q->magnitude ? 1 : -1;

    for (int i = 0; i < C; i++) {
        double g = ms_ref_term(q, (w ? w[i] : 1) * dy[i]);

        if (!a->rms) mean_g += g / C;
        mean_gx += g * normed(q, x[i], stat) / C;
    }
    for (int i = 0; i < C; i++) {
        double h = normed(q, x[i], stat), d = ms_ref_term(q, dy[i]);
        double g = ms_ref_term(q, (w ? w[i] : 1) * dy[i]);
        double dx = stat[1] * (g + minus * (mean_g + h * mean_gx));

        if (dw) dw[i] += d * h;
        if (db) db[i] += d;
        dr[i] = dx + (a->accumulate ? ms_ref_term(q, dr[i]) : 0);
        if (df) df[i] = ms_ref_keep(q, a->drop, (uint32_t)n, (uint32_t)i) * dr[i];
    }
}

void ms_ref_add_norm_bwd(ms_queue *q, const ms_add_norm_bwd_args *a)
{
    ms_ref_start_sum(q, a->dw);
    ms_ref_start_sum(q, a->db);
    for (int n = 0; n < a->dy.dim[0]; n++) norm_bwd_row(q, a, n);
}

void ms_ref_norm_bwd(ms_queue *q, const ms_norm_bwd_args *a)
{
    ms_add_norm_bwd_args norm = {.dr = a->dx,
                                 .dw = a->dw,
                                 .db = a->db,
                                 .dy = a->dy,
                                 .r = a->x,
                                 .stat = a->stat,
                                 .w = a->w,
                                 .rms = a->rms,
                                 .accumulate = a->accumulate};

    ms_ref_add_norm_bwd(q, &norm);
}
