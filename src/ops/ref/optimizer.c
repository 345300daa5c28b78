/* optimizer - zero, norm of all gradients, AdamW */
#include "ops/ref/ref.h"

#include <string.h>

/* Exact, so its error scale is the same zeros. */
void ms_ref_zero(ms_queue *q, const ms_zero_args *a)
{
    (void)q;
    memset(a->x.data, 0, ms_tensor_bytes(a->x));
}

/* The scale of the error of a norm is the norm. */
void ms_ref_global_norm(ms_queue *q, const ms_global_norm_args *a)
{
    double sum = 0;

    (void)q;
    for (int i = 0; i < a->x.dim[0]; i++) sum += ms_ref_reals(a->x)[i] * ms_ref_reals(a->x)[i];
    *ms_ref_reals(a->norm) = sqrt(sum);
}

/* Loshchilov & Hutter 2019, algorithm 2, with the schedule's factor in lr; clipping as in
 * torch.nn.utils.clip_grad_norm_. */
void ms_ref_adamw(ms_queue *q, const ms_adamw_args *a)
{
    const ms_step *s = q->step;
    double norm = *ms_ref_reals(a->norm), clip = 1;
    double *w = ms_ref_reals(a->w), *m = ms_ref_reals(a->m), *v = ms_ref_reals(a->v);
    bool skip = !isfinite(norm);

    if (s->clip > 0) clip = fmin(1, s->clip / (norm + 1e-6));
    for (int i = 0; i < a->w.dim[0]; i++) {
        double g = ms_ref_reals(a->g)[i] * clip;
        double decay = (size_t)i < a->decayed ? a->weight_decay : 0;
        double minus = q->magnitude ? 1 : -1;

        if (skip) { /* nothing is changed: no error */
            if (q->magnitude) w[i] = m[i] = v[i] = 0;
            continue;
        }
        m[i] = ms_ref_term(q, a->beta1 * m[i]) + ms_ref_term(q, (1 - a->beta1) * g);
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g * g;
        w[i] = ms_ref_term(q, w[i]) * (1 + minus * s->lr * decay) +
               minus * s->lr * (m[i] / s->bias1) / (sqrt(v[i] / s->bias2) + a->eps);
    }
}
