/* ffn - the feed-forward branch of a block and its backward */
#include "model/pass.h"

/* g = act(w_up x): all that the backward reads */
void ms_ffn_hidden_fwd(ms_pass *p, int l, ms_tensor x)
{
    const ms_layer *w = &p->m->weights.p.layer[l];
    ms_saved *a = &p->a[l];

    weight_fwd(p, .y = a->g, .u = a->u, .x = x, .w = w->w_up, .b = w->b_up,
               .stored = STORED(p, l, w_up), .act = p->m->config.act);
}

/* y = w_down g; y (N, C) */
void ms_ffn_output_fwd(ms_pass *p, int l, ms_tensor y)
{
    const ms_layer *w = &p->m->weights.p.layer[l];

    weight_fwd(p, .y = y, .x = p->a[l].g, .w = w->w_down, .b = w->b_down,
               .stored = STORED(p, l, w_down));
}

/* dx = (accumulate: dx +) gradient of x */
void ms_ffn_bwd(ms_pass *p, int l, ms_tensor dx, bool accumulate, ms_tensor dy, ms_tensor x)
{
    const ms_layer *w = &p->m->weights.p.layer[l], *d = &p->gradients.p.layer[l];
    const ms_saved *a = &p->a[l];

    op(&p->q, linear_bwd, .dx = p->du, .dw = d->w_down, .db = d->b_down, .dy = dy, .x = a->g,
       .w = w->w_down, .u = a->u, .act = p->m->config.act, .work = p->dg);
    op(&p->q, linear_bwd, .dx = dx, .dw = d->w_up, .db = d->b_up, .dy = p->du, .x = x, .w = w->w_up,
       .accumulate = accumulate);
}
