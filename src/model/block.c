/* block - two branches on the residual stream, pre-norm or post-norm, and all layers in a row
 *
 * The add behind a branch and the norm behind the add are one op.  In a pre-norm model that norm
 * belongs to what follows: norm2 behind attention, norm1 of the next layer or the final norm behind
 * the feed-forward branch. */
#include "model/pass.h"

/* A norm with its weights, their gradients, and what it wrote in the forward. */
typedef struct {
    ms_tensor w, b, dw, db, y, stat;
} norm;

ms_drop ms_pass_drop(const ms_pass *p, ms_drop_place place, int l)
{
    uint32_t site = place == MS_DROP_EMBED ? 0 : (uint32_t)(3 * l + (int)place);

    return (ms_drop){.p = p->dropping ? p->o.dropout : 0, .site = site};
}

static norm norm1_of(const ms_pass *p, int l)
{
    const ms_layer *w = &p->m->weights.p.layer[l];
    norm n = {.w = w->norm1_w, .b = w->norm1_b, .y = p->a[l].h1, .stat = p->a[l].stat1};

    if (p->o.train) n.dw = p->gradients.p.layer[l].norm1_w, n.db = p->gradients.p.layer[l].norm1_b;
    if (p->m->config.post_norm) n.y = p->a[l].h2;
    return n;
}

static norm norm2_of(const ms_pass *p, int l)
{
    const ms_layer *w = &p->m->weights.p.layer[l];
    norm n = {.w = w->norm2_w, .b = w->norm2_b, .y = p->a[l].h2, .stat = p->a[l].stat2};

    if (p->o.train) n.dw = p->gradients.p.layer[l].norm2_w, n.db = p->gradients.p.layer[l].norm2_b;
    if (p->m->config.post_norm) n.y = p->x[l + 1];
    return n;
}

static norm final_norm(const ms_pass *p)
{
    const ms_params *w = &p->m->weights.p, *d = &p->gradients.p;

    return (norm){.w = w->norm_w,
                  .b = w->norm_b,
                  .dw = d->norm_w,
                  .db = d->norm_b,
                  .y = p->top,
                  .stat = p->top_stat};
}

/* The norm that reads the stream behind layer l of a pre-norm model. */
static norm norm_behind(const ms_pass *p, int l)
{
    return l + 1 < p->m->config.layers ? norm1_of(p, l + 1) : final_norm(p);
}

static void norm_fwd(ms_pass *p, norm n, ms_tensor x)
{
    const ms_config *c = &p->m->config;

    op(&p->q, norm_fwd, .y = n.y, .stat = n.stat, .x = x, .w = n.w, .b = n.b, .eps = c->norm_eps,
       .rms = c->rms);
}

/* r = x + drop(f), then the norm of r */
static void add_norm_fwd(ms_pass *p, norm n, ms_tensor r, ms_tensor x, ms_tensor f, ms_drop drop)
{
    const ms_config *c = &p->m->config;

    op(&p->q, add_norm_fwd, .r = r, .y = n.y, .stat = n.stat, .x = x, .f = f, .w = n.w, .b = n.b,
       .eps = c->norm_eps, .rms = c->rms, .drop = drop);
}

/* dx = (accumulate: dx +) gradient of r; returns the gradient of the branch in front of the add */
static ms_tensor add_norm_bwd(ms_pass *p, norm n, bool accumulate, ms_tensor dy, ms_tensor r,
                              ms_drop drop)
{
    ms_tensor df = drop.p > 0 ? p->df : MS_ABSENT;

    op(&p->q, add_norm_bwd, .dr = p->dx, .df = df, .dw = n.dw, .db = n.db, .dy = dy, .r = r,
       .stat = n.stat, .w = n.w, .rms = p->m->config.rms, .accumulate = accumulate, .drop = drop);
    return ms_present(df) ? df : p->dx;
}

/* -- one block ------------------------------------------------------------------------------- */

/* Everything the backward of a pre-norm layer reads, from h1. */
static void pre_norm_inside(ms_pass *p, int l)
{
    ms_saved *a = &p->a[l];

    ms_attention_fwd(p, l, p->f, a->h1);
    add_norm_fwd(p, norm2_of(p, l), a->r, p->x[l], p->f, ms_pass_drop(p, MS_DROP_BRANCH1, l));
    ms_ffn_hidden_fwd(p, l, a->h2);
}

static void pre_norm_fwd(ms_pass *p, int l)
{
    pre_norm_inside(p, l);
    ms_ffn_output_fwd(p, l, p->f);
    add_norm_fwd(p, norm_behind(p, l), p->x[l + 1], p->a[l].r, p->f,
                 ms_pass_drop(p, MS_DROP_BRANCH2, l));
}

/* In: dy, gradient of the branch behind attention and ffn of layer l, and dx of the stream.
 * Out: gradient of the branch of the layer below; dx. */
static ms_tensor pre_norm_bwd(ms_pass *p, int l, ms_tensor dy)
{
    const ms_saved *a = &p->a[l];
    ms_drop none = {0};

    ms_ffn_bwd(p, l, p->dh, false, dy, a->h2);
    dy = add_norm_bwd(p, norm2_of(p, l), true, p->dh, a->r, ms_pass_drop(p, MS_DROP_BRANCH1, l));
    ms_attention_bwd(p, l, p->dh, false, dy, a->h1);
    return add_norm_bwd(p, norm1_of(p, l), true, p->dh, p->x[l],
                        l > 0 ? ms_pass_drop(p, MS_DROP_BRANCH2, l - 1) : none);
}

static void post_norm_fwd(ms_pass *p, int l)
{
    ms_saved *a = &p->a[l];

    ms_attention_fwd(p, l, p->f, p->x[l]);
    add_norm_fwd(p, norm1_of(p, l), a->r, p->x[l], p->f, ms_pass_drop(p, MS_DROP_BRANCH1, l));
    ms_ffn_hidden_fwd(p, l, a->h2);
    ms_ffn_output_fwd(p, l, p->f);
    add_norm_fwd(p, norm2_of(p, l), a->r2, a->h2, p->f, ms_pass_drop(p, MS_DROP_BRANCH2, l));
}

/* dx: in the gradient of what the block gives, out of what it takes. */
static void post_norm_bwd(ms_pass *p, int l)
{
    const ms_saved *a = &p->a[l];
    ms_tensor dy;

    dy = add_norm_bwd(p, norm2_of(p, l), false, p->dx, a->r2, ms_pass_drop(p, MS_DROP_BRANCH2, l));
    ms_ffn_bwd(p, l, p->dx, true, dy, a->h2);
    dy = add_norm_bwd(p, norm1_of(p, l), false, p->dx, a->r, ms_pass_drop(p, MS_DROP_BRANCH1, l));
    ms_attention_bwd(p, l, p->dx, true, dy, p->x[l]);
}

/* -- all layers ------------------------------------------------------------------------------ */

void ms_blocks_fwd(ms_pass *p)
{
    int L = p->m->config.layers;

    if (!p->m->config.post_norm) {
        norm_fwd(p, norm1_of(p, 0), p->x[0]);
        for (int l = 0; l < L; l++) pre_norm_fwd(p, l);
    } else {
        for (int l = 0; l < L; l++) post_norm_fwd(p, l);
        norm_fwd(p, final_norm(p), p->x[L]);
    }
}

static void pre_norm_all_bwd(ms_pass *p)
{
    int L = p->m->config.layers;
    ms_tensor dy = add_norm_bwd(p, final_norm(p), false, p->dtop, p->x[L],
                                ms_pass_drop(p, MS_DROP_BRANCH2, L - 1));

    for (int l = L - 1; l >= 0; l--) {
        if (p->o.recompute) {
            norm_fwd(p, norm1_of(p, l), p->x[l]);
            pre_norm_inside(p, l);
        }
        dy = pre_norm_bwd(p, l, dy);
    }
}

static void post_norm_all_bwd(ms_pass *p)
{
    int L = p->m->config.layers;
    ms_drop none = {0};

    add_norm_bwd(p, final_norm(p), false, p->dtop, p->x[L], none);
    for (int l = L - 1; l >= 0; l--) {
        if (p->o.recompute) post_norm_fwd(p, l);
        post_norm_bwd(p, l);
    }
}

void ms_blocks_bwd(ms_pass *p)
{
    if (p->m->config.post_norm)
        post_norm_all_bwd(p);
    else
        pre_norm_all_bwd(p);
}
