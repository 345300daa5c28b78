/* activation - element-wise functions, SwiGLU, dropout
 *
 * Sources: Hendrycks & Gimpel 2016 (GELU and its tanh form); Shazeer 2020, eq. 6; So et al. 2021;
 * docs/derivations/activation.md. */
#include "ops/ref/ref.h"

static const double sqrt_half = 0.70710678118654752440; /* sqrt(1/2) */
static const double sqrt_2_over_pi = 0.79788456080286535588;
static const double cubic = 0.044715; /* of GELU's tanh form */

static double sigmoid(double u)
{
    return 1 / (1 + exp(-u));
}

/* Distribution and density of the standard normal. */
static double normal_cdf(double u)
{
    return 0.5 * erfc(-u * sqrt_half);
}

static double normal_pdf(double u)
{
    return 0.5 * sqrt_2_over_pi * exp(-0.5 * u * u);
}

double ms_ref_act(ms_act act, double u, bool scale)
{
    double s;

    switch (act) {
    case MS_ACT_GELU:
        /* The distribution is known to absolute precision only: (1 + erf) / 2 cancels. */
        return scale ? fabs(u) : u * normal_cdf(u);
    case MS_ACT_GELU_TANH:
        return scale ? fabs(u) : 0.5 * u * (1 + tanh(sqrt_2_over_pi * (u + cubic * u * u * u)));
    case MS_ACT_SWIGLU:
        s = sigmoid(u);
        return scale ? fabs(u) * (s * (1 + fabs(u) * (1 - s)) + MS_REF_UNDERFLOW) : u * s;
    case MS_ACT_RELU2: return u > 0 ? u * u : 0;
    default: return scale ? fabs(u) : u;
    }
}

double ms_ref_act_slope(ms_act act, double u, bool scale)
{
    double s, t;

    switch (act) {
    case MS_ACT_GELU:
        /* Two terms to absolute precision, together below 2 with their conditions. */
        return scale ? 2 : normal_cdf(u) + u * normal_pdf(u);
    case MS_ACT_GELU_TANH:
        t = tanh(sqrt_2_over_pi * (u + cubic * u * u * u));
        return scale ? 2
                     : 0.5 * (1 + t) +
                           0.5 * u * (1 - t * t) * sqrt_2_over_pi * (1 + 3 * cubic * u * u);
    case MS_ACT_SWIGLU:
        s = sigmoid(u);
        return scale ? (1 + fabs(u)) * (s * (1 + fabs(u) * (1 - s)) + MS_REF_UNDERFLOW)
                     : s * (1 + u * (1 - s));
    case MS_ACT_RELU2: return u > 0 ? 2 * u : 0;
    default: return 1;
    }
}

void ms_ref_act_fwd(ms_queue *q, const ms_act_fwd_args *a)
{
    int F = a->y.dim[1];
    bool scale = q->magnitude;

    for (int n = 0; n < a->y.dim[0]; n++) {
        const double *u = ms_ref_row(a->u, n);
        double *y = ms_ref_row(a->y, n);

        for (int i = 0; i < F; i++) {
            double up = a->act == MS_ACT_SWIGLU ? ms_ref_term(q, u[F + i]) : 1;

            y[i] = ms_ref_act(a->act, u[i], scale) * up;
        }
    }
}

void ms_ref_act_bwd(ms_queue *q, const ms_act_bwd_args *a)
{
    int F = a->dy.dim[1];
    bool scale = q->magnitude;

    for (int n = 0; n < a->dy.dim[0]; n++) {
        const double *u = ms_ref_row(a->u, n), *dy = ms_ref_row(a->dy, n);
        double *du = ms_ref_row(a->du, n);

        for (int i = 0; i < F; i++) {
            double d = ms_ref_term(q, dy[i]), gate = u[i];

            if (a->act == MS_ACT_SWIGLU) {
                d *= ms_ref_term(q, u[F + i]);
                du[F + i] = ms_ref_act(a->act, gate, scale) * ms_ref_term(q, dy[i]);
            }
            du[i] = ms_ref_act_slope(a->act, gate, scale) * d;
        }
    }
}

/* Srivastava et al. 2014, section 10. */
void ms_ref_dropout(ms_queue *q, const ms_dropout_args *a)
{
    for (int n = 0; n < a->x.dim[0]; n++) {
        const double *x = ms_ref_row(a->x, n), *add = ms_ref_row(a->add, n);
        double *y = ms_ref_row(a->y, n);

        for (int i = 0; i < a->x.dim[1]; i++) {
            double kept = ms_ref_keep(q, a->drop, (uint32_t)n, (uint32_t)i) * x[i];

            y[i] = ms_ref_term(q, kept) + (add ? ms_ref_term(q, add[i]) : 0);
        }
    }
}
