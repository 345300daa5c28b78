/* loss - last rows, cross-entropy and its gradient, sum of losses */
#include "ops/ref/ref.h"

void ms_ref_gather_last(ms_queue *q, const ms_gather_last_args *a)
{
    int C = a->y.dim[1], T = a->x.dim[0] / a->seq.dim[0];

    for (int b = 0; b < a->y.dim[0]; b++) {
        int length = ms_ref_seq(a->seq, b).length;
        const double *x = length > 0 ? ms_ref_row(a->x, b * T + length - 1) : NULL;

        for (int i = 0; i < C; i++)
            ms_ref_row(a->y, b)[i] = x && !q->magnitude ? x[i] : 0; /* a copy has no error */
    }
}

/* loss = log sum exp z - z[t];  dz = (softmax z - onehot t) * grad_scale; dz may be z */
static void row(const ms_queue *q, double *loss, double *dz, const double *z, int V, int target)
{
    double max = -INFINITY, sum = 0, distance = 0, lse, z_target = z[target];

    for (int i = 0; i < V; i++) max = fmax(max, z[i]);
    for (int i = 0; i < V; i++) sum += exp(z[i] - max);
    lse = max + log(sum);
    /* exp of a rounded difference is off by that difference */
    for (int i = 0; i < V; i++) distance += exp(z[i] - lse) * (max - z[i]);

    *loss = q->magnitude ? 1 + fabs(lse) + fabs(z_target) + distance : lse - z_target;
    for (int i = 0; dz && i < V; i++) {
        double p = exp(z[i] - lse), hot = i == target ? 1 : 0, g = q->step->grad_scale;

        dz[i] = q->magnitude ? (p * (1 + fabs(z[i]) + fabs(lse)) + hot + MS_REF_UNDERFLOW) * fabs(g)
                             : (p - hot) * g;
    }
}

void ms_ref_cross_entropy(ms_queue *q, const ms_cross_entropy_args *a)
{
    int V = a->z.dim[1];

    for (int n = 0; n < a->z.dim[0]; n++) {
        int target = ms_ref_ints(a->target)[n];
        double *loss = ms_ref_row(a->loss, n), *dz = ms_ref_row(a->dz, n);

        if (target >= 0) {
            row(q, loss, dz, ms_ref_row(a->z, n), V, target);
            continue;
        }
        *loss = 0;
        if (dz) ms_ref_fill(dz, (size_t)V, 0);
    }
}

void ms_ref_loss_sum(ms_queue *q, const ms_loss_sum_args *a)
{
    double *sum = ms_ref_reals(a->sum);

    *sum = a->accumulate ? ms_ref_term(q, *sum) : 0;
    for (int n = 0; n < a->loss.dim[0]; n++) *sum += ms_ref_term(q, ms_ref_reals(a->loss)[n]);
}
