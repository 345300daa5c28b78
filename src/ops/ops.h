/* ops - the table of operations: one list, their operands and their contracts
 *
 * Every back end fills every slot of MS_OPS (with a version composed of plainer ops until its own
 * kernel exists, compose.c).  The model calls
 *
 *     op(q, linear_fwd, .y = y, .x = x, .w = w->wo, .b = w->bo);
 *
 * which checks the operands (check.c; stays on in release), then runs the slot.  After the first
 * failure on a queue nothing runs any more; ask once with ms_queue_finish.
 *
 * Letters: B sequences, T rows of each in this pass, N = B*T rows, S rows of a key-value cache,
 * C width, H heads, K key-value heads, D head width, F feed-forward width, V vocabulary,
 * I, O inputs and outputs of a linear map, P positions of a table or parameters in all.
 *
 * Types: "real" is f64 on ref and f32 on the others; all real operands of a call agree.
 * "stored" is the type of weights as files have them: any real type of tensor.h, block types
 * included (a row is a multiple of the block); arithmetic is in real.
 * "cached" is the type of keys and values that are kept: real, f16, bf16 or q8_0.
 * Aliases: an operand that is written overlaps no other unless the contract says "may alias", then
 * exactly or not at all.
 * Rule of gradients: of parameters +=, of activations = unless an accumulate flag says +=.
 * Padding: rows t >= length (step.h) of an op that takes seq are written as zeros and add nothing.
 * Numerics: every real result satisfies |got - exact| <= c (eps M + tiny), where exact is ref's
 * result for the same inputs, eps is twice the unit roundoff of the type (2^-23 for f32), tiny its
 * least normal number, and c stands in each contract.  M is what ref writes in place of the result
 * in magnitude mode (device.h): the sum of |terms| of each sum, old values of accumulated results
 * among them, widened by the condition of what follows (norm, exp, activation).  "sum(n)" below is
 * the c of a sum of n terms, n/8 + 8: at least four partial sums, and some roundings around them.
 * Where M is 0 (padding, copies, ids) the result is exact. */
#ifndef MS_OPS_OPS_H
#define MS_OPS_OPS_H

#include "base/tensor.h"
#include "ops/device.h"
#include "ops/step.h"

/* ORDER OPS */
#define MS_OPS(X)                                                                                  \
    X(embed_fwd)                                                                                   \
    X(embed_bwd)                                                                                   \
    X(norm_fwd)                                                                                    \
    X(norm_bwd)                                                                                    \
    X(add_norm_fwd)                                                                                \
    X(add_norm_bwd)                                                                                \
    X(linear_fwd)                                                                                  \
    X(linear_bwd)                                                                                  \
    X(linear_stored)                                                                               \
    X(rope_fwd)                                                                                    \
    X(rope_bwd)                                                                                    \
    X(cache_append)                                                                                \
    X(attention_fwd)                                                                               \
    X(attention_bwd)                                                                               \
    X(act_fwd)                                                                                     \
    X(act_bwd)                                                                                     \
    X(dropout)                                                                                     \
    X(gather_last)                                                                                 \
    X(cross_entropy)                                                                               \
    X(loss_sum)                                                                                    \
    X(zero)                                                                                        \
    X(global_norm)                                                                                 \
    X(adamw)                                                                                       \
    X(sample)

typedef enum {
#define MS_OP_ENUM(name) MS_OP_##name,
    MS_OPS(MS_OP_ENUM)
#undef MS_OP_ENUM
        MS_OP_COUNT
} ms_op;

/* Activations.  SwiGLU takes a row of 2F values, gate then up, to F values; the others are
 * element-wise. */
#define MS_ACT_MAP(X)                                                                              \
    X(NONE, "none")                                                                                \
    X(GELU, "gelu")           /* x/2 (1 + erf(x / sqrt 2)) */                                      \
    X(GELU_TANH, "gelu_tanh") /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */                  \
    X(SWIGLU, "swiglu")       /* g / (1 + exp(-g)) * u */                                          \
    X(RELU2, "relu2")         /* max(x, 0)^2 */

typedef enum {
#define MS_ACT_ENUM(name, text) MS_ACT_##name,
    MS_ACT_MAP(MS_ACT_ENUM)
#undef MS_ACT_ENUM
        MS_ACT_COUNT
} ms_act;

/* Dropout of probability p at a site of the model.  The mask of element (row, column) is recomputed
 * from the counter (rng.h): keep when word >= p * 2^32, then times 1 / (1 - p).
 * p = 0: everything is kept as it is. */
typedef struct {
    float p;       /* [0, 1) */
    uint32_t site; /* which place in the model; each has its own stream */
} ms_drop;

/* Threshold of the mask, the same on every back end: keep when word >= this. */
static inline uint32_t ms_drop_threshold(float p)
{
    return (uint32_t)((double)p * 4294967296.0);
}

/* Roles of tensor operands, for check.c and the conformance engine.
 *   in, out, inout: required;  *_opt: may be absent.
 *   work: contents before and after mean nothing. */
typedef enum {
    MS_ROLE_in,
    MS_ROLE_in_opt,
    MS_ROLE_out,
    MS_ROLE_out_opt,
    MS_ROLE_inout,
    MS_ROLE_inout_opt,
    MS_ROLE_work
} ms_role;
#define MS_FIELD(name, role) ms_tensor name;

/* -- embedding ------------------------------------------------------------------------------- */

/* embed_fwd - y[b,t] = scale * e[id[b,t]] + pos[start[b] + t]
 *
 *   y    out  (N, C)  real
 *   e    in   (V, C)  stored
 *   pos  in   (P, C)  real; optional: learned or sinusoidal positions; start + length <= P
 *   id   in   (N)     i32, 0 <= id < V (the caller has checked)
 *   seq  in   (B, 2)  i32 (ms_seq); T = N / B
 *   scale, drop: y is dropped out with drop after the sum (row = row of y)
 *
 * Numerics:  c = 3.
 * Backward:  embed_bwd; docs/derivations/embed.md.
 * Source:    Vaswani et al. 2017, sections 3.4 and 3.5. */
#define MS_EMBED_FWD_TENSORS(X) X(y, out) X(e, in) X(pos, in_opt) X(id, in) X(seq, in)
typedef struct {
    MS_EMBED_FWD_TENSORS(MS_FIELD)
    double scale;
    ms_drop drop;
} ms_embed_fwd_args;

/* embed_bwd - de[id] += scale * mask * dy, dpos[start + t] += mask * dy
 *
 *   de    inout  (V, C)  real
 *   dpos  inout  (P, C)  real; optional
 *   dy    in     (N, C)  real
 *   id, seq as in embed_fwd
 *
 * Numerics:  c = sum(N).
 * Order:     rows ascending; same bits each run. */
#define MS_EMBED_BWD_TENSORS(X) X(de, inout) X(dpos, inout_opt) X(dy, in) X(id, in) X(seq, in)
typedef struct {
    MS_EMBED_BWD_TENSORS(MS_FIELD)
    double scale;
    ms_drop drop;
} ms_embed_bwd_args;

/* -- norm ------------------------------------------------------------------------------------ */

/* norm_fwd - rows to zero mean (unless rms) and unit scale, then y = that * w + b
 *
 *   y     out  (N, C)  real; may alias x
 *   stat  out  (N, 2)  real: mean (0 when rms) and 1/sqrt(var + eps); optional
 *   x     in   (N, C)  real
 *   w     in   (C)     real; optional (1)
 *   b     in   (C)     real; optional (0)
 *   eps > 0, rms: root mean square instead of mean and deviation
 *
 * Numerics:  two passes, c = sum(C); M = (|x| + mean |x|) rstd |w| + |b| to first order, without
 *            mean |x| when rms.
 * Order:     fixed per row: a row's bits do not depend on the other rows.
 * Backward:  norm_bwd; docs/derivations/norm.md.
 * Source:    LayerNorm, Ba et al. 2016, eq. 4; RMSNorm, Zhang & Sennrich 2019, eq. 4. */
#define MS_NORM_FWD_TENSORS(X) X(y, out) X(stat, out_opt) X(x, in) X(w, in_opt) X(b, in_opt)
typedef struct {
    MS_NORM_FWD_TENSORS(MS_FIELD)
    double eps;
    bool rms;
} ms_norm_fwd_args;

/* norm_bwd - dx = (accumulate: dx +) J^T dy, dw += sum of dy * xhat, db += sum of dy
 *
 *   dx    inout  (N, C)  real; may alias dy when not accumulate
 *   dw    inout  (C)     real; optional
 *   db    inout  (C)     real; optional
 *   dy    in     (N, C)  real
 *   x     in     (N, C)  real: the forward's input
 *   stat  in     (N, 2)  real: from the forward
 *   w     in     (C)     real; optional (1)
 *
 * Numerics:  dx: c = sum(C); dw, db: c = sum(N).
 * Source:    docs/derivations/norm.md. */
#define MS_NORM_BWD_TENSORS(X)                                                                     \
    X(dx, inout) X(dw, inout_opt) X(db, inout_opt) X(dy, in) X(x, in) X(stat, in) X(w, in_opt)
typedef struct {
    MS_NORM_BWD_TENSORS(MS_FIELD)
    bool rms, accumulate;
} ms_norm_bwd_args;

/* add_norm_fwd - the residual add and the norm behind it: r = x + drop(f), y = norm(r)
 *
 *   r     out  (N, C)  real; may alias x or f
 *   y     out  (N, C)  real; may alias f (not r)
 *   stat  out  (N, 2)  real; optional
 *   x, f  in   (N, C)  real
 *   w, b  in   (C)     real; optional, as in norm_fwd
 *
 * Equals dropout with its add, then norm_fwd.  r may alias x while y aliases f.
 * Numerics:  r: c = 3; y, stat: c = sum(C), M with |x| + |drop(f)| for |r|.
 * Backward:  add_norm_bwd. */
#define MS_ADD_NORM_FWD_TENSORS(X)                                                                 \
    X(r, out) X(y, out) X(stat, out_opt) X(x, in) X(f, in) X(w, in_opt) X(b, in_opt)
typedef struct {
    MS_ADD_NORM_FWD_TENSORS(MS_FIELD)
    double eps;
    bool rms;
    ms_drop drop;
} ms_add_norm_fwd_args;

/* add_norm_bwd - gradient of the residual stream before the add: dr = (accumulate: dr +) J^T dy,
 *                and of the branch: df = mask * dr (dx is dr itself)
 *
 *   dr    inout  (N, C)  real; in: what came down the residual stream (read when accumulate);
 *                        may alias dy when not accumulate
 *   df    out    (N, C)  real; optional: absent means the caller uses dr (no dropout); may alias dy
 *   dw, db inout (C)     real; optional
 *   dy    in     (N, C)  real
 *   r     in     (N, C)  real: from the forward
 *   stat  in     (N, 2)  real
 *   w     in     (C)     real; optional
 * drop with p > 0 needs df.
 * Numerics:  as norm_bwd. */
#define MS_ADD_NORM_BWD_TENSORS(X)                                                                 \
    X(dr, inout)                                                                                   \
    X(df, out_opt) X(dw, inout_opt) X(db, inout_opt) X(dy, in) X(r, in) X(stat, in) X(w, in_opt)
typedef struct {
    MS_ADD_NORM_BWD_TENSORS(MS_FIELD)
    bool rms, accumulate;
    ms_drop drop;
} ms_add_norm_bwd_args;

/* -- linear ---------------------------------------------------------------------------------- */

/* linear_fwd - u = x w^T + b, y = act(u)
 *
 *   y  out  (N, O'), O' = O, or O/2 for SwiGLU   real
 *   u  out  (N, O)   real; optional: what act_bwd and linear_bwd need; absent when act is none
 *   x  in   (N, I)   real
 *   w  in   (O, I)   real
 *   b  in   (O)      real; optional
 *   work    (N, O)   real; optional: room for u, needed when act is SwiGLU and u is absent
 *
 * Numerics:  c = sum(I); M of y is that of u through the slope of act, plus act's own.
 * Order:     fixed per element: the bits of a row do not depend on N or on the number of threads,
 *            so a prompt in a batch gives the same as alone.
 * bf16:      on a queue that says so, x and w are rounded to the nearest bf16 (ties to even;
 *            numbers below the least normal one to 0) before they are multiplied; all else, and
 *            the bound against ref, which rounds too, stays.
 * Backward:  linear_bwd; docs/derivations/linear.md. */
#define MS_LINEAR_FWD_TENSORS(X)                                                                   \
    X(y, out) X(u, out_opt) X(x, in) X(w, in) X(b, in_opt) X(work, work)
typedef struct {
    MS_LINEAR_FWD_TENSORS(MS_FIELD)
    ms_act act;
} ms_linear_fwd_args;

/* linear_bwd - dw += dy^T x, db += sum of dy, dx = (accumulate: dx +) act'(u) * (dy w)
 *
 *   dx  inout  (N, I), or (N, 2I) for SwiGLU   real; optional
 *   dw  inout  (O, I)  real; optional
 *   db  inout  (O)     real; optional
 *   dy  in     (N, O)  real
 *   x   in     (N, I)  real; needed for dw
 *   w   in     (O, I)  real; needed for dx
 *   u   in     (N, I), or (N, 2I) for SwiGLU: the argument of the activation whose value x is;
 *              needed when act is not none
 *   act: the activation in front of this map (none: dx = dy w); then not accumulate
 *   work       (N, I)  real; needed when act is SwiGLU and dx is wanted
 *
 * dx may alias u when act is element-wise.
 * Numerics:  dx: c = sum(O); dw, db: c = sum(N).
 * bf16:      on a queue that says so, dy, w and x are rounded as in linear_fwd; db sums dy itself.
 * Source:    docs/derivations/linear.md. */
#define MS_LINEAR_BWD_TENSORS(X)                                                                   \
    X(dx, inout_opt)                                                                               \
    X(dw, inout_opt) X(db, inout_opt) X(dy, in) X(x, in_opt) X(w, in_opt) X(u, in_opt) X(work, work)
typedef struct {
    MS_LINEAR_BWD_TENSORS(MS_FIELD)
    ms_act act;
    bool accumulate;
} ms_linear_bwd_args;

/* linear_stored - columns [at, at + O) of y = x w^T + b, with weights as they are stored
 *
 *   y  inout  (N, Y)  real: the other columns are left as they are
 *   x  in     (N, I)  real
 *   w  in     (O, I)  stored
 *   b  in     (O)     real; optional
 *   at: first column; 0 <= at, at + O <= Y
 *   kept: w lies as ms_device_keep left it; the same bits as without
 *
 * Weights that are used together may be of several types: each part goes to columns of its own.
 * For inference: there is no backward.
 * With weights of most block types (ms_rounds_factor) x is rounded to int8 first.  Of each 32
 * elements of a row, with `most` the largest |x|, d = most / 127 and q = x (127 / most) to the
 * nearest, halves to even, each operation rounded to f32, so that every back end has the same
 * integers; then d q stands for x, off by at most most / 254.  Where most < 2^-100 that is zeros;
 * where it is no finite number it is NaN.  With other weights both factors are rounded to bf16 when
 * the queue asks for that.
 * Numerics:  c = sum(I), with both factors taken as they are rounded; M of d q + m, a type
 *            with a minimum, has both as terms.
 * Order:     fixed per element: the bits of a row do not depend on N or the number of threads. */
#define MS_LINEAR_STORED_TENSORS(X) X(y, inout) X(x, in) X(w, in) X(b, in_opt)
typedef struct {
    MS_LINEAR_STORED_TENSORS(MS_FIELD)
    int at;
    bool kept;
} ms_linear_stored_args;

/* Whether linear_stored rounds x for weights of a type. */
static inline bool ms_rounds_factor(ms_dtype w)
{
    return w >= MS_Q8_0 && w < MS_DTYPE_COUNT && w != MS_Q2_K && w != MS_Q3_K;
}

/* -- rope: split of qkv, norm of q and k, rotation, append to the cache ------------------------ */

/* rope_fwd - qkv rows into heads: q = R norm(q), k = R norm(k), v = v; k and v go to cache rows, or
 *            to rows of their own for cache_append
 *
 *   q     out    (N, H, D)     real
 *   k     inout  (B, K, S, D)  real: rows start .. start+length-1 of each sequence are written,
 *                              the others are left as they are
 *   v     inout  (B, K, S, D)  real: likewise
 *   stat  out    (N, H + K)    real: 1/rms of each head of q, then of k; required with qk_norm
 *   qkv   in     (N, (H + 2K) D)  real: all heads of q, then of k, then of v
 *   qw    in     (D)           real; optional (1): weight of the norm of q
 *   kw    in     (D)           real; optional (1): of k
 *   rot   in     (P, R, 2)     real; optional: cos and sin of position p and pair j; 2R <= D
 *   seq   in     (B, 2)        i32; start + length <= S, and <= P with rot
 *   qk_norm: RMS norm of each head of q and k (with eps) before the rotation
 *   local: k and v hold the rows of this pass alone: row t of a sequence, not start + t; T <= S
 *
 * Pair j of a head is (x[j], x[j + R]): x'[j] = x[j] cos - x[j+R] sin,
 * x'[j+R] = x[j+R] cos + x[j] sin; elements from 2R on pass.  (Hugging Face's "rotate half".)
 * Numerics:  c = 4, with qk_norm sum(D); v and what passes are copies.
 * Backward:  rope_bwd; docs/derivations/rope.md.
 * Source:    RoFormer, Su et al. 2021, eq. 34; q and k norm: Henry et al. 2020. */
#define MS_ROPE_FWD_TENSORS(X)                                                                     \
    X(q, out)                                                                                      \
    X(k, inout)                                                                                    \
    X(v, inout) X(stat, out_opt) X(qkv, in) X(qw, in_opt) X(kw, in_opt) X(rot, in_opt) X(seq, in)
typedef struct {
    MS_ROPE_FWD_TENSORS(MS_FIELD)
    double eps;
    bool qk_norm, local;
} ms_rope_fwd_args;

/* rope_bwd - dqkv = gradient of rope_fwd; dqw += , dkw +=
 *
 *   dqkv  out    (N, (H + 2K) D)  real
 *   dqw, dkw  inout (D)  real; optional
 *   dq    in     (N, H, D)     real
 *   dk    in     (B, K, S, D)  real: rows start + t are read
 *   dv    in     (B, K, S, D)  real
 *   qkv, stat, qw, kw, rot, seq as in rope_fwd (qkv and stat are needed with qk_norm only; dqw,
 *   dkw, qw and kw are refused without it)
 *
 * Numerics:  dqkv: c = 4, with qk_norm sum(D); dqw, dkw: c = sum(N (H + K)). */
#define MS_ROPE_BWD_TENSORS(X)                                                                     \
    X(dqkv, out)                                                                                   \
    X(dqw, inout_opt)                                                                              \
    X(dkw, inout_opt)                                                                              \
    X(dq, in)                                                                                      \
    X(dk, in)                                                                                      \
    X(dv, in) X(qkv, in_opt) X(stat, in_opt) X(qw, in_opt) X(kw, in_opt) X(rot, in_opt) X(seq, in)
typedef struct {
    MS_ROPE_BWD_TENSORS(MS_FIELD)
    bool qk_norm;
} ms_rope_bwd_args;

/* cache_append - rows of this pass behind those of the cache, rounded to its type
 *
 *   k,v      inout  (B, K, S, D)  cached: rows start .. start+length-1 of each sequence are
 *                                 written, the others are left as they are
 *   k_new,v_new in  (B, K, T, D)  real: of each sequence rows 0 .. length-1
 *   seq      in     (B, 2)        i32; start + length <= S, length <= T
 *
 * Numerics:  exact: to f16 and bf16 the nearest number, ties to even, of the value as f32; to q8_0
 *            as base/quant.h rounds, blocks along D; to real a copy. */
#define MS_CACHE_APPEND_TENSORS(X) X(k, inout) X(v, inout) X(k_new, in) X(v_new, in) X(seq, in)
typedef struct {
    MS_CACHE_APPEND_TENSORS(MS_FIELD)
} ms_cache_append_args;

/* -- attention ------------------------------------------------------------------------------- */

enum { MS_MAX_HEAD_DIM = 1024 };

/* attention_fwd - causal attention of grouped queries, without a (T, S) matrix
 *
 *   y    out  (N, H, D)     real; may alias q
 *   lse  out  (N, H)        real: log of the sum of exp of the scores; optional
 *   q    in   (N, H, D)     real
 *   k,v  in   (B, K, S, D)  cached; head h reads group h / (H/K)
 *   seq  in   (B, 2)        i32: row t of b sees keys 0 .. start[b] + t
 *   scale: of the scores, 1/sqrt(D)
 *   drop: of the probabilities, row = (b*H + h)*T + t, column = key; not renormalised
 *   D <= MS_MAX_HEAD_DIM, so that a row of a head fits the stack
 *
 * Numerics:  k and v are taken as they are stored; c = sum(D + S); M = sum of p |v| (1 + condition
 *            of p), p's condition being the |terms| of its score and of the mean score.
 * Order:     fixed per row; the bits of a row do not depend on T, B or the threads (keys are taken
 *            in blocks aligned to key 0).
 * Backward:  attention_bwd; docs/derivations/attention.md.
 * Source:    Vaswani et al. 2017, eq. 1; Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 2;
 *            grouped queries: Ainslie et al. 2023. */
#define MS_ATTENTION_FWD_TENSORS(X) X(y, out) X(lse, out_opt) X(q, in) X(k, in) X(v, in) X(seq, in)
typedef struct {
    MS_ATTENTION_FWD_TENSORS(MS_FIELD)
    double scale;
    ms_drop drop;
} ms_attention_fwd_args;

/* attention_bwd - dq, dk, dv from dy; probabilities are rebuilt from lse
 *
 *   dq     out   (N, H, D)     real; may alias dy
 *   dk,dv  out   (B, K, S, D)  real; rows no query saw are zeros
 *   dy     in    (N, H, D)     real
 *   y,q    in    (N, H, D)     real;  lse in (N, H) real
 *   k,v    in    (B, K, S, D)  real
 *   seq    in    (B, 2)        i32
 *   delta  work  (N, H)        real
 *
 * Numerics:  c = sum(D + S + T H/K).
 * Source:    Dao et al. 2022, appendix B.2; docs/derivations/attention.md. */
#define MS_ATTENTION_BWD_TENSORS(X)                                                                \
    X(dq, out)                                                                                     \
    X(dk, out)                                                                                     \
    X(dv, out) X(dy, in) X(y, in) X(lse, in) X(q, in) X(k, in) X(v, in) X(seq, in) X(delta, work)
typedef struct {
    MS_ATTENTION_BWD_TENSORS(MS_FIELD)
    double scale;
    ms_drop drop;
} ms_attention_bwd_args;

/* -- activation and dropout ------------------------------------------------------------------ */

/* act_fwd - y = act(u)
 *
 *   y  out  (N, F)   real; may alias u when element-wise
 *   u  in   (N, F), or (N, 2F) for SwiGLU  real
 *
 * Numerics:  c = 8; M = |u| for GELU (the normal distribution to absolute precision), |y| times the
 *            condition of exp for SwiGLU, |y| for squared ReLU.
 * Source:    GELU, Hendrycks & Gimpel 2016; SwiGLU, Shazeer 2020, eq. 6; squared ReLU, So et al.
 *            2021. */
#define MS_ACT_FWD_TENSORS(X) X(y, out) X(u, in)
typedef struct {
    MS_ACT_FWD_TENSORS(MS_FIELD)
    ms_act act;
} ms_act_fwd_args;

/* act_bwd - du = act'(u) * dy
 *
 *   du  out  (N, F), or (N, 2F) for SwiGLU  real; may alias u or, when element-wise, dy
 *   dy  in   (N, F)  real
 *   u   in   as in act_fwd
 *
 * Numerics:  c = 8. */
#define MS_ACT_BWD_TENSORS(X) X(du, out) X(dy, in) X(u, in)
typedef struct {
    MS_ACT_BWD_TENSORS(MS_FIELD)
    ms_act act;
} ms_act_bwd_args;

/* dropout - y = add + mask * x / (1 - p); without add its own backward
 *
 *   y    out  (N, C)  real; may alias x or add
 *   x    in   (N, C)  real
 *   add  in   (N, C)  real; optional (0)
 *   drop: row = row of x
 *
 * Numerics:  c = 3.
 * Source:    Srivastava et al. 2014, section 10 (inverted). */
#define MS_DROPOUT_TENSORS(X) X(y, out) X(x, in) X(add, in_opt)
typedef struct {
    MS_DROPOUT_TENSORS(MS_FIELD)
    ms_drop drop;
} ms_dropout_args;

/* -- head and loss --------------------------------------------------------------------------- */

/* gather_last - y[b] = x[b*T + length[b] - 1]; zeros when length is 0
 *
 *   y    out  (B, C)  real
 *   x    in   (N, C)  real
 *   seq  in   (B, 2)  i32
 *
 * Numerics:  a copy. */
#define MS_GATHER_LAST_TENSORS(X) X(y, out) X(x, in) X(seq, in)
typedef struct {
    MS_GATHER_LAST_TENSORS(MS_FIELD)
} ms_gather_last_args;

/* cross_entropy - loss of each row and the gradient of the logits, in one pass over the row
 *
 *   loss    out  (N)     real: log sum exp z - z[target]; 0 when the target is ignored
 *   dz      out  (N, V)  real; optional: grad_scale * (softmax z - onehot), 0 when ignored; may
 *                        alias z
 *   z       in   (N, V)  real
 *   target  in   (N)     i32: -1 is ignored (padding), else 0 <= target < V
 *
 * Numerics:  c = sum(V); M of loss = 1 + |log sum exp| + |z[target]| + mean distance from the
 *            maximum; M of dz = (p (1 + |z| + |log sum exp|) + onehot) * grad_scale.
 * Source:    docs/derivations/loss.md. */
#define MS_CROSS_ENTROPY_TENSORS(X) X(loss, out) X(dz, out_opt) X(z, in) X(target, in)
typedef struct {
    MS_CROSS_ENTROPY_TENSORS(MS_FIELD)
} ms_cross_entropy_args;

/* loss_sum - sum = (accumulate: sum +) sum of loss in fixed order
 *
 *   sum   inout  (1)  real
 *   loss  in     (N)  real
 *
 * Numerics:  c = sum(N). */
#define MS_LOSS_SUM_TENSORS(X) X(sum, inout) X(loss, in)
typedef struct {
    MS_LOSS_SUM_TENSORS(MS_FIELD)
    bool accumulate;
} ms_loss_sum_args;

/* -- optimizer ------------------------------------------------------------------------------- */

/* zero - x = 0.  x of any shape and type */
#define MS_ZERO_TENSORS(X) X(x, out)
typedef struct {
    MS_ZERO_TENSORS(MS_FIELD)
} ms_zero_args;

/* global_norm - norm[0] = sqrt(sum of x^2), fixed order whatever the threads.  norm (1), x (P) real
 * NaN and Inf in x come out as NaN or Inf; no overflow for finite |x| < 1e18.
 * Numerics:  c = 64 for every P: partial sums are short, or in f64.
 *            Squares below tiny are lost. */
#define MS_GLOBAL_NORM_TENSORS(X) X(norm, out) X(x, in)
typedef struct {
    MS_GLOBAL_NORM_TENSORS(MS_FIELD)
} ms_global_norm_args;

/* adamw - one pass over all parameters: clip, moments, bias correction, decoupled decay
 *
 *   w, m, v  inout  (P)  real
 *   g        in     (P)  real
 *   norm     in     (1)  real: global norm of g
 *   From step: lr, bias1, bias2, clip.  decayed: elements [0, decayed) decay, the others do not.
 *
 * g' = g * min(1, clip / (norm + 1e-6)) when clip > 0;  m = b1 m + (1-b1) g';
 * v = b2 v + (1-b2) g'^2;  w = w (1 - lr wd) - lr (m / bias1) / (sqrt(v / bias2) + eps).
 * (As torch.optim.AdamW.)
 * When norm is not finite nothing is changed.
 * Numerics:  c = 16; 1 - beta is taken in double, so that it is precise.
 * Source:    Loshchilov & Hutter 2019, algorithm 2; docs/derivations/optimizer.md. */
#define MS_ADAMW_TENSORS(X) X(w, inout) X(m, inout) X(v, inout) X(g, in) X(norm, in)
typedef struct {
    MS_ADAMW_TENSORS(MS_FIELD)
    double beta1, beta2, eps, weight_decay;
    size_t decayed;
} ms_adamw_args;

/* -- sampling -------------------------------------------------------------------------------- */

/* How one sequence samples; a row of `how`. */
typedef struct {
    float temperature; /* 0: greedy, the lowest id of the largest logit */
    int32_t top_k;     /* 0: all */
    float top_p;       /* 1: all */
    float min_p;       /* 0: all */
    uint32_t key[2];   /* seed */
    uint32_t position; /* counter: position of the token to be drawn */
    uint32_t stream;
} ms_how;

/* sample - draws id[b] from the logits z[b]
 *
 *   id    out   (B)     i32
 *   z     in    (B, V)  real, finite
 *   how   in    (B, 8)  i32: rows are ms_how
 *   rank  work  (B, V)  i32
 *   prob  work  (B, V)  real
 *
 * p = softmax(z / temperature), sorted descending (ties: lower id first); keep the first top_k;
 * then the shortest prefix whose sum reaches top_p of what is kept; then those with
 * p >= min_p * p[0] (at least one); draw u = ms_uniform(word 0) * (sum kept); the first whose
 * running sum exceeds u. */
#define MS_SAMPLE_TENSORS(X) X(id, out) X(z, in) X(how, in) X(rank, work) X(prob, work)
typedef struct {
    MS_SAMPLE_TENSORS(MS_FIELD)
} ms_sample_args;

/* -- the table ------------------------------------------------------------------------------- */

typedef struct ms_ops_table {
#define MS_OP_SLOT(name) void (*name)(ms_queue * q, const ms_##name##_args *a);
    MS_OPS(MS_OP_SLOT)
#undef MS_OP_SLOT
} ms_ops_table;

/* check.c: MS_OK, or MS_SHAPE / MS_INPUT with the op's name, the operand and both shapes. */
#define MS_OP_CHECK(name)                                                                          \
    ms_status ms_check_##name(const ms_device *d, const ms_##name##_args *a, ms_error *err);
MS_OPS(MS_OP_CHECK)
#undef MS_OP_CHECK

/* ops.c: check, then run; nothing after the first error of the queue. */
#define MS_OP_RUN(name) void ms_run_##name(ms_queue *q, const ms_##name##_args *a);
MS_OPS(MS_OP_RUN)
#undef MS_OP_RUN

#define op(q, name, ...) ms_run_##name((q), &(ms_##name##_args){__VA_ARGS__})

const char *ms_op_name(ms_op o);
const char *ms_act_name(ms_act act);

/* Operands of an op by reflection: name, offset in its args struct, role. */
typedef struct {
    const char *name;
    size_t offset;
    ms_role role;
} ms_operand;
const ms_operand *ms_op_operands(ms_op o, int *count);

/* The slot composed of plainer ops (compose.c).  A back end may put these into its table. */
#define MS_COMPOSED_OPS(X)   X(add_norm_fwd) X(add_norm_bwd)
#define MS_OP_COMPOSED(name) void ms_composed_##name(ms_queue *q, const ms_##name##_args *a);
MS_COMPOSED_OPS(MS_OP_COMPOSED)
#undef MS_OP_COMPOSED

/* Whether the slot of a table is the composed version. */
bool ms_op_is_composed(const ms_ops_table *t, ms_op o);

#endif
