/* attention - the attention branch of a block and its backward */
#include "model/pass.h"

#include <math.h>

/* y = wo attention(rope(wqkv x)); x, y (N, C) */
void ms_attention_fwd(ms_pass *p, int l, ms_tensor y, ms_tensor x)
{
    const ms_config *c = &p->m->config;
    const ms_layer *w = &p->m->weights.p.layer[l];
    ms_saved *a = &p->a[l];
    ms_queue *q = &p->q;
    ms_tensor qkv = c->qk_norm ? a->qkv : p->qkv;
    ms_tensor k = p->rounded ? p->k_new : a->k, v = p->rounded ? p->v_new : a->v;

    weight_fwd(p, .y = qkv, .x = x, .w = w->wqkv, .b = w->bqkv, .stored = STORED(p, l, wqkv));
    op(q, rope_fwd, .q = a->q, .k = k, .v = v, .stat = a->qk_stat, .qkv = qkv, .qw = w->q_norm,
       .kw = w->k_norm, .rot = p->m->rot, .seq = p->seq, .eps = c->norm_eps, .qk_norm = c->qk_norm,
       .local = p->rounded);
    if (p->rounded)
        op(q, cache_append, .k = a->k, .v = a->v, .k_new = k, .v_new = v, .seq = p->seq);
    op(q, attention_fwd, .y = a->o, .lse = a->lse, .q = a->q, .k = a->k, .v = a->v, .seq = p->seq,
       .scale = 1 / sqrt(c->head_dim), .drop = ms_pass_drop(p, MS_DROP_ATTENTION, l));
    weight_fwd(p, .y = y, .x = MS_VIEW(a->o, a->o.dim[0], c->heads * c->head_dim), .w = w->wo,
               .b = w->bo, .stored = STORED(p, l, wo));
}

/* dx = (accumulate: dx +) gradient of x */
void ms_attention_bwd(ms_pass *p, int l, ms_tensor dx, bool accumulate, ms_tensor dy, ms_tensor x)
{
    const ms_config *c = &p->m->config;
    const ms_layer *w = &p->m->weights.p.layer[l], *d = &p->gradients.p.layer[l];
    const ms_saved *a = &p->a[l];
    ms_queue *q = &p->q;
    int N = a->o.dim[0], HD = c->heads * c->head_dim;
    ms_tensor dout = p->dq; /* attention_bwd allows dq to alias its dy */

    op(q, linear_bwd, .dx = MS_VIEW(dout, N, HD), .dw = d->wo, .db = d->bo, .dy = dy,
       .x = MS_VIEW(a->o, N, HD), .w = w->wo);
    op(q, attention_bwd, .dq = p->dq, .dk = p->dk, .dv = p->dv, .dy = dout, .y = a->o,
       .lse = a->lse, .q = a->q, .k = a->k, .v = a->v, .seq = p->seq, .delta = p->delta,
       .scale = 1 / sqrt(c->head_dim), .drop = ms_pass_drop(p, MS_DROP_ATTENTION, l));
    op(q, rope_bwd, .dqkv = p->dqkv, .dqw = d->q_norm, .dkw = d->k_norm, .dq = p->dq, .dk = p->dk,
       .dv = p->dv, .qkv = a->qkv, .stat = a->qk_stat, .qw = w->q_norm, .kw = w->k_norm,
       .rot = p->m->rot, .seq = p->seq, .qk_norm = c->qk_norm);
    op(q, linear_bwd, .dx = dx, .dw = d->wqkv, .db = d->bqkv, .dy = p->dqkv, .x = x, .w = w->wqkv,
       .accumulate = accumulate);
}
