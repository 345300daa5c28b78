/* pass - what one computation over a model needs besides the weights; private to model/
 *
 * Four blocks on the device, laid out by plan.c:
 *   gradients   the layout of the weights (params.h)                                 train
 *   cache       k and v of each layer: (B, K, S, D), of the model's type for it      otherwise
 *   saved       what the backward reads, one set a layer; one set in all when the pass does not
 *               train, or recomputes
 *   scratch     dead after the op that reads it */
#ifndef MS_MODEL_PASS_H
#define MS_MODEL_PASS_H

#include "model/model.h"

/* What a block computes and its backward reads.  With c the config, B T N S as in ops.h:
 *
 *            pre-norm                        post-norm
 *   x        residual stream at the start    input of the block
 *   h1       norm1(x), input of attention    -
 *   r        x + attention(h1)               x + attention(x)
 *   h2       norm2(r), input of the ffn      norm1(r), input of the ffn
 *   r2       -                               h2 + ffn(h2); the block gives norm2(r2)
 *
 *    field     present when    shape */
#define MS_LAYER_SAVED(X)                                                                          \
    X(h1, !c->post_norm, N, c->width)                                                              \
    X(stat1, true, N, 2)                                                                           \
    X(qkv, c->qk_norm, N, Q)                                                                       \
    X(qk_stat, c->qk_norm, N, c->heads + c->kv_heads)                                              \
    X(q, true, N, c->heads, c->head_dim)                                                           \
    X(o, true, N, c->heads, c->head_dim)                                                           \
    X(lse, true, N, c->heads)                                                                      \
    X(r, true, N, c->width)                                                                        \
    X(h2, true, N, c->width)                                                                       \
    X(stat2, true, N, 2)                                                                           \
    X(u, c->act != MS_ACT_NONE, N, U)                                                              \
    X(g, true, N, c->ffn)                                                                          \
    X(r2, c->post_norm, N, c->width)

#define MS_SAVED_FIELD(name, present, ...) ms_tensor name;
typedef struct {
    MS_LAYER_SAVED(MS_SAVED_FIELD)
    ms_tensor k, v; /* (B, K, S, D): in saved when training, else in the cache */
} ms_saved;

/* Scratch of forward and, when training, of backward; NH = rows of logits at a time. */
#define MS_PASS_SCRATCH(X)                                                                         \
    X(f, true, N, c->width) /* what a branch adds */                                               \
    X(qkv, !c->qk_norm, N, Q)                                                                      \
    X(top, true, N, c->width) /* final norm */                                                     \
    X(top_stat, true, N, 2)                                                                        \
    X(k_new, p->rounded, p->o.batch, c->kv_heads, p->T, c->head_dim) /* to be rounded */           \
    X(v_new, p->rounded, p->o.batch, c->kv_heads, p->T, c->head_dim)                               \
    X(last, !p->o.train, p->o.batch, c->width) /* last row of each sequence */                     \
    X(z, true, NH, c->vocab)                   /* logits, then their gradient */                   \
    X(loss, true, N)                                                                               \
    X(sum, true, 1)                                                                                \
    X(prob, !p->o.train, p->o.batch, c->vocab)                                                     \
    X(dx, p->o.train, N, c->width)                     /* gradient of the residual stream */       \
    X(df, p->o.train && p->o.dropout > 0, N, c->width) /* of a branch, behind its mask */          \
    X(dh, p->o.train, N, c->width)                                                                 \
    X(dtop, p->o.train, N, c->width)                                                               \
    X(du, p->o.train, N, U)                                                                        \
    X(dg, p->o.train && c->act == MS_ACT_SWIGLU, N, c->ffn)                                        \
    X(dq, p->o.train, N, c->heads, c->head_dim)                                                    \
    X(dk, p->o.train, p->o.batch, c->kv_heads, p->S, c->head_dim)                                  \
    X(dv, p->o.train, p->o.batch, c->kv_heads, p->S, c->head_dim)                                  \
    X(delta, p->o.train, N, c->heads)                                                              \
    X(dqkv, p->o.train, N, Q)

/* A block of device memory and its layout. */
typedef struct {
    ms_arena arena;
    void *data;
    size_t size_bytes;
} ms_block;

struct ms_pass {
    ms_model *m;
    ms_pass_options o;
    ms_queue q;
    ms_params_block gradients;
    ms_block cache, saved, scratch, step;
    char *stage; /* host copy of the step block, uploaded in one go */

    int T, S;      /* rows a sequence in this pass; rows of k and v */
    bool rounded;  /* the cache is of another type than the device's real */
    bool dropping; /* dropout is on: in ms_pass_train only */
    ms_tensor *x;  /* (L + 1): stream between the blocks, (N, C) */
    ms_saved *a;   /* (L) */
#define MS_SCRATCH_FIELD(name, present, ...) ms_tensor name;
    MS_PASS_SCRATCH(MS_SCRATCH_FIELD)

    /* In the step block. */
    ms_step *step_values;       /* device address */
    ms_tensor seq, id, target;  /* (B, 2), (N), (N) i32 */
    ms_tensor how, drawn, rank; /* (B, 8), (B), (B, V) i32; only when not training */
};

/* plan.c: lays saved, scratch and step block out for T rows a sequence (at most o.rows). */
void ms_pass_plan(ms_pass *p, int T);
/* Host address of a tensor of the step block. */
void *ms_pass_stage(ms_pass *p, ms_tensor t);
/* Debug builds: fills scratch with NaN before a pass, checks guards behind it. */
void ms_pass_poison(ms_pass *p);
ms_status ms_pass_finish(ms_pass *p, ms_error *err);

/* weight.c: y = act(w x + b), w being a tensor of the block or parts as the file has them. */
typedef struct {
    ms_tensor y, u, x, w, b;
    const ms_weight *stored;
    ms_act act;
} ms_weight_call;
void ms_weight_fwd(ms_pass *p, const ms_weight_call *a);
#define weight_fwd(p, ...) ms_weight_fwd((p), &(ms_weight_call){__VA_ARGS__})

/* The parts of a layer's weight; NULL when the model is not stored. */
#define STORED(p, l, field) ((p)->m->stored ? &(p)->m->stored[l].field : NULL)

/* attention.c, ffn.c: a branch of the block and, under it, its backward. */
void ms_attention_fwd(ms_pass *p, int l, ms_tensor y, ms_tensor x);
void ms_attention_bwd(ms_pass *p, int l, ms_tensor dx, bool accumulate, ms_tensor dy, ms_tensor x);
void ms_ffn_hidden_fwd(ms_pass *p, int l, ms_tensor x);
void ms_ffn_output_fwd(ms_pass *p, int l, ms_tensor y);
void ms_ffn_bwd(ms_pass *p, int l, ms_tensor dx, bool accumulate, ms_tensor dy, ms_tensor x);

/* block.c: all layers, from x[0] to top (final norm) and back from dtop to dx. */
void ms_blocks_fwd(ms_pass *p);
void ms_blocks_bwd(ms_pass *p);

/* Dropout of a place in the model; off outside of training. */
typedef enum { MS_DROP_EMBED, MS_DROP_ATTENTION, MS_DROP_BRANCH1, MS_DROP_BRANCH2 } ms_drop_place;
ms_drop ms_pass_drop(const ms_pass *p, ms_drop_place place, int l);

#endif
