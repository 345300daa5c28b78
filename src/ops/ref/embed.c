/* embed - tokens and positions to rows, and the scatter of their gradients */
#include "ops/ref/ref.h"

/* Vaswani et al. 2017, sections 3.4 (scale) and 3.5 (positions). */
void ms_ref_embed_fwd(ms_queue *q, const ms_embed_fwd_args *a)
{
    int C = a->y.dim[1], T = a->y.dim[0] / a->seq.dim[0];

    for (int n = 0; n < a->y.dim[0]; n++) {
        ms_seq s = ms_ref_seq(a->seq, n / T);
        double *y = ms_ref_row(a->y, n);
        const double *pos;

        if (n % T >= s.length) {
            ms_ref_fill(y, (size_t)C, 0);
            continue;
        }
        ms_ref_stored(a->e, ms_ref_ints(a->id)[n], y);
        pos = ms_ref_row(a->pos, s.start + n % T);
        for (int i = 0; i < C; i++) {
            double sum = ms_ref_term(q, a->scale * y[i]) + (pos ? ms_ref_term(q, pos[i]) : 0);

            y[i] = ms_ref_keep(q, a->drop, (uint32_t)n, (uint32_t)i) * sum;
        }
    }
}

void ms_ref_embed_bwd(ms_queue *q, const ms_embed_bwd_args *a)
{
    int C = a->dy.dim[1], T = a->dy.dim[0] / a->seq.dim[0];

    ms_ref_start_sum(q, a->de);
    ms_ref_start_sum(q, a->dpos);
    for (int n = 0; n < a->dy.dim[0]; n++) {
        ms_seq s = ms_ref_seq(a->seq, n / T);
        const double *dy = ms_ref_row(a->dy, n);
        double *de, *dpos;

        if (n % T >= s.length) continue;
        de = ms_ref_row(a->de, ms_ref_ints(a->id)[n]);
        dpos = ms_ref_row(a->dpos, s.start + n % T);
        for (int i = 0; i < C; i++) {
            double g = ms_ref_keep(q, a->drop, (uint32_t)n, (uint32_t)i) * dy[i];

            de[i] += ms_ref_term(q, a->scale * g);
            if (dpos) dpos[i] += ms_ref_term(q, g);
        }
    }
}
