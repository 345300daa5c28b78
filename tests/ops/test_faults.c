/* Tests the conformance engine: faults planted in kernels of the CPU back end, each of which it
 * must report, by the check that is meant for it; and without a fault it must report nothing.
 *
 *   test_faults [-v] [WORD]    tests whose names contain a word; -v prints each first report
 *
 * Rows of `faults` are mistakes as they are made, in one op each; those of `common_faults` are
 * planted in every operand of every op.  Rows of `lax` stand for a check that accepts too much. */
#include "contracts.h"
#include "planted.h"

#include "base/half.h"
#include "base/thread.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static conform_setup setup;
static bool verbose;

/* -- tools of the faults --------------------------------------------------------------------- */

enum { SPARES = 2, SPARE_BYTES = 1 << 20 };

/* Room for operands in place of those that were given. */
static ms_tensor spare_copy(int i, ms_tensor t)
{
    static _Alignas(64) char spare[SPARES][SPARE_BYTES];
    size_t bytes = ms_tensor_bytes(t);

    if (!ms_present(t)) return t;
    MS_ASSERT(i < SPARES && bytes <= SPARE_BYTES);
    memcpy(spare[i], t.data, bytes);
    t.data = spare[i];
    return t;
}

static void clear(ms_tensor t)
{
    if (ms_present(t)) memset(t.data, 0, ms_tensor_bytes(t));
}

static ms_tensor spare_zeros(int i, ms_tensor t)
{
    t = spare_copy(i, t);
    clear(t);
    return t;
}

static float *reals(ms_tensor t)
{
    return t.data;
}

static float *row(ms_tensor t, int n)
{
    return reals(t) + (size_t)n * (ms_count(t) / (size_t)t.dim[0]);
}

static void scale(ms_tensor t, double by)
{
    for (size_t i = 0; i < ms_count(t); i++) reals(t)[i] = (float)(reals(t)[i] * by);
}

static void swap(ms_tensor *a, ms_tensor *b)
{
    ms_tensor t = *a;

    *a = *b;
    *b = t;
}

/* Rows of padding hold ones in place of zeros. */
static void spoil_padding(ms_tensor t, ms_tensor seq)
{
    const ms_seq *s = seq.data;
    int T = t.dim[0] / seq.dim[0];

    for (int n = 0; n < t.dim[0]; n++)
        for (size_t i = 0; n % T >= s[n / T].length && i < ms_count(t) / (size_t)t.dim[0]; i++)
            row(t, n)[i] = 1;
}

/* Starts and lengths changed, where the rows of the cache or table allow it. */
static ms_tensor moved(ms_tensor seq, int start, int length, int rows)
{
    ms_tensor t = spare_copy(0, seq);
    ms_seq *s = t.data;

    for (int b = 0; b < t.dim[0]; b++) {
        ms_seq to = {s[b].start + start, s[b].length + length};

        if (to.start >= 0 && to.length >= 0 && to.start + to.length <= rows) s[b] = to;
    }
    return t;
}

/* Every row counts, padding too, where there is room. */
static ms_tensor all_rows(ms_tensor seq, int N, int rows)
{
    ms_tensor t = spare_copy(0, seq);
    ms_seq *s = t.data;
    int T = N / t.dim[0];

    for (int b = 0; b < t.dim[0]; b++)
        if (s[b].start + T <= rows) s[b].length = T;
    return t;
}

static void run_with_step(ms_queue *q, ms_any_args *a, ms_step step)
{
    const ms_step *was = q->step;

    q->step = &step;
    run_truly(q, a);
    q->step = was;
}

/* A damaged argument, then the true kernel. */
#define ARGUMENT(name, ...)                                                                        \
    static void name(ms_queue *q, ms_any_args *a)                                                  \
    {                                                                                              \
        __VA_ARGS__;                                                                               \
        run_truly(q, a);                                                                           \
    }

/* The true kernel, then a damaged result. */
#define RESULT(name, ...)                                                                          \
    static void name(ms_queue *q, ms_any_args *a)                                                  \
    {                                                                                              \
        run_truly(q, a);                                                                           \
        __VA_ARGS__;                                                                               \
    }

/* -- dropout --------------------------------------------------------------------------------- */

ARGUMENT(embed_fwd_site, a->embed_fwd.drop.site++)
ARGUMENT(embed_bwd_site, a->embed_bwd.drop.site++)
ARGUMENT(add_norm_fwd_site, a->add_norm_fwd.drop.site++)
ARGUMENT(add_norm_bwd_site, a->add_norm_bwd.drop.site++)
ARGUMENT(attention_fwd_site, a->attention_fwd.drop.site++)
ARGUMENT(attention_bwd_site, a->attention_bwd.drop.site++)
ARGUMENT(dropout_site, a->dropout.drop.site++)

static void mask_of_the_step_before(ms_queue *q, ms_any_args *a)
{
    ms_step step = *q->step;

    step.counter--;
    run_with_step(q, a, step);
}

static void same_mask_for_all_rows(ms_queue *q, ms_any_args *a)
{
    ms_dropout_args all = a->dropout;

    for (int n = 0; n < all.y.dim[0]; n++) {
        a->dropout.y = ms_rows(all.y, n, 1);
        a->dropout.x = ms_rows(all.x, n, 1);
        if (ms_present(all.add)) a->dropout.add = ms_rows(all.add, n, 1);
        run_truly(q, a);
    }
}

ARGUMENT(add_forgotten, a->dropout.add = MS_ABSENT)
ARGUMENT(drops_what_it_keeps, if (a->dropout.drop.p > 0) a->dropout.drop.p = 1 - a->dropout.drop.p)
RESULT(kept_unscaled,
       if (!ms_present(a->dropout.add)) scale(a->dropout.y, 1 - (double)a->dropout.drop.p))

/* -- embedding ------------------------------------------------------------------------------- */

static void positions_from_zero(ms_queue *q, ms_any_args *a)
{
    ms_seq *s;

    a->embed_fwd.seq = spare_copy(0, a->embed_fwd.seq);
    s = a->embed_fwd.seq.data;
    for (int b = 0; b < a->embed_fwd.seq.dim[0]; b++) s[b].start = 0;
    run_truly(q, a);
}

ARGUMENT(embed_unscaled, a->embed_fwd.scale = 1)
RESULT(embed_padding, spoil_padding(a->embed_fwd.y, a->embed_fwd.seq))
ARGUMENT(de_overwritten, clear(a->embed_bwd.de))
ARGUMENT(dpos_left, a->embed_bwd.dpos = MS_ABSENT)
ARGUMENT(padding_counted, ms_embed_bwd_args *e = &a->embed_bwd;
         e->seq = all_rows(e->seq, e->dy.dim[0], ms_present(e->dpos) ? e->dpos.dim[0] : INT32_MAX))

/* -- norm ------------------------------------------------------------------------------------ */

static void root_forgotten(ms_queue *q, ms_any_args *a)
{
    ms_norm_fwd_args *n = &a->norm_fwd;

    run_truly(q, a);
    for (int i = 0; ms_present(n->stat) && i < n->y.dim[0]; i++) {
        float rstd = row(n->stat, i)[1];

        scale(ms_rows(n->y, i, 1), rstd);
        row(n->stat, i)[1] *= rstd;
    }
}

/* As if room for stat were always there: behind y. */
static void stat_stray(ms_queue *q, ms_any_args *a)
{
    ms_norm_fwd_args *n = &a->norm_fwd;

    run_truly(q, a);
    if (!ms_present(n->stat)) reals(n->y)[ms_count(n->y)] = 1;
}

ARGUMENT(norm_eps, a->norm_fwd.eps = 1e-6)
ARGUMENT(norm_kind, a->norm_fwd.rms = !a->norm_fwd.rms)
ARGUMENT(norm_weight_ignored, a->norm_fwd.w = MS_ABSENT)
ARGUMENT(norm_bias_ignored, a->norm_fwd.b = MS_ABSENT)
ARGUMENT(stat_left, a->norm_fwd.stat = MS_ABSENT)
ARGUMENT(norm_dw_overwritten, clear(a->norm_bwd.dw))
ARGUMENT(norm_db_left, a->norm_bwd.db = MS_ABSENT)
ARGUMENT(norm_dx_overwritten, a->norm_bwd.accumulate = false)
ARGUMENT(norm_dx_added, a->norm_bwd.accumulate = true)
ARGUMENT(norm_bwd_kind, a->norm_bwd.rms = !a->norm_bwd.rms)
ARGUMENT(norm_bwd_weight_ignored, a->norm_bwd.w = MS_ABSENT)

ARGUMENT(residual_forgotten, a->add_norm_fwd.x = spare_zeros(0, a->add_norm_fwd.x))
ARGUMENT(branch_undropped, a->add_norm_fwd.drop.p = 0)
ARGUMENT(stream_lost, a->add_norm_bwd.accumulate = false)
ARGUMENT(df_undropped, a->add_norm_bwd.drop.p = 0)
ARGUMENT(df_left, a->add_norm_bwd.df = MS_ABSENT)
ARGUMENT(add_norm_db_overwritten, clear(a->add_norm_bwd.db))

/* -- linear ---------------------------------------------------------------------------------- */

/* Of square weights, where shapes do not tell. */
static void transposed(ms_queue *q, ms_any_args *a)
{
    ms_tensor w = a->linear_fwd.w;
    int n = w.dim[0];

    if (n == w.dim[1]) {
        a->linear_fwd.w = spare_copy(0, w);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) row(a->linear_fwd.w, i)[j] = row(w, j)[i];
    }
    run_truly(q, a);
}

static void rows_off_by_one(ms_queue *q, ms_any_args *a)
{
    ms_tensor y = a->linear_fwd.y;

    run_truly(q, a);
    if (y.dim[0] > 1) memmove(row(y, 1), row(y, 0), ms_tensor_bytes(ms_rows(y, 1, y.dim[0] - 1)));
}

static void last_row_left(ms_queue *q, ms_any_args *a)
{
    ms_linear_fwd_args *l = &a->linear_fwd;
    int N = l->y.dim[0] - 1;

    if (N > 0) {
        l->y = ms_rows(l->y, 0, N);
        l->x = ms_rows(l->x, 0, N);
        if (ms_present(l->u)) l->u = ms_rows(l->u, 0, N);
        if (ms_present(l->work)) l->work = ms_rows(l->work, 0, N);
    }
    run_truly(q, a);
}

/* The rest behind whole vectors of inputs. */
static void last_input_forgotten(ms_queue *q, ms_any_args *a)
{
    ms_linear_fwd_args *l = &a->linear_fwd;
    int I = l->x.dim[1];

    if (I % 4 != 0) {
        l->x = spare_copy(0, l->x);
        for (int n = 0; n < l->x.dim[0]; n++) row(l->x, n)[I - 1] = 0;
    }
    run_truly(q, a);
}

static void weights_in_bf16(ms_queue *q, ms_any_args *a)
{
    ms_tensor w = spare_copy(0, a->linear_fwd.w);

    for (size_t i = 0; i < ms_count(w); i++)
        reals(w)[i] = ms_float_from_bf16(ms_bf16_from_float(reals(w)[i]));
    a->linear_fwd.w = w;
    run_truly(q, a);
}

static void epilogue_forgotten(ms_queue *q, ms_any_args *a)
{
    if (a->linear_fwd.act != MS_ACT_SWIGLU) a->linear_fwd.act = MS_ACT_NONE;
    run_truly(q, a);
}

/* The two forms of GELU for each other. */
static ms_act other_gelu(ms_act act)
{
    return act == MS_ACT_GELU ? MS_ACT_GELU_TANH : act == MS_ACT_GELU_TANH ? MS_ACT_GELU : act;
}

ARGUMENT(bias_forgotten, a->linear_fwd.b = MS_ABSENT)
ARGUMENT(epilogue_other, a->linear_fwd.act = other_gelu(a->linear_fwd.act))
ARGUMENT(u_left, if (a->linear_fwd.act != MS_ACT_SWIGLU) a->linear_fwd.u = MS_ABSENT)
RESULT(error_of_1e_5, scale(a->linear_fwd.y, 1 + 1e-5))

ARGUMENT(stored_bias_forgotten, a->linear_stored.b = MS_ABSENT)
ARGUMENT(factors_not_rounded, q->bf16 = false)
ARGUMENT(factors_rounded_unasked, q->bf16 = true)

/* x as it would be when the nearest number were not looked for; blocks of 32 or less of a row. */
static void cut_block(float *x, int n, bool int8)
{
    float most = 0;

    for (int i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    for (int i = 0; i < n; i++)
        x[i] = int8 && most > 0 ? truncf(x[i] * (127 / most)) * (most / 127)
                                : ms_float_from_bits(ms_bits_from_float(x[i]) & 0xffff0000);
}

static void rounded_towards_zero(ms_queue *q, ms_any_args *a)
{
    ms_linear_stored_args *l = &a->linear_stored;
    bool int8 = ms_rounds_factor(l->w.dtype);

    if ((int8 || q->bf16) && ms_tensor_bytes(l->x) <= SPARE_BYTES) {
        l->x = spare_copy(0, l->x);
        for (int n = 0; n < l->x.dim[0]; n++)
            for (int i = 0; i < l->x.dim[1]; i += 32)
                cut_block(row(l->x, n) + i, l->x.dim[1] - i < 32 ? l->x.dim[1] - i : 32, int8);
    }
    run_truly(q, a);
}

static void linear_slope_forgotten(ms_queue *q, ms_any_args *a)
{
    if (a->linear_bwd.act != MS_ACT_SWIGLU) a->linear_bwd.act = MS_ACT_NONE;
    run_truly(q, a);
}

static void last_row_without_gradient(ms_queue *q, ms_any_args *a)
{
    ms_tensor dx = a->linear_bwd.dx, dy = a->linear_bwd.dy;

    a->linear_bwd.dx = MS_ABSENT;
    a->linear_bwd.dy = spare_copy(0, dy);
    clear(ms_rows(a->linear_bwd.dy, dy.dim[0] - 1, 1));
    run_truly(q, a);
    if (!ms_present(dx)) return;
    a->linear_bwd.dx = dx;
    a->linear_bwd.dy = dy;
    a->linear_bwd.dw = a->linear_bwd.db = MS_ABSENT;
    run_truly(q, a);
}

ARGUMENT(dw_overwritten, clear(a->linear_bwd.dw))
ARGUMENT(db_overwritten, clear(a->linear_bwd.db))
ARGUMENT(db_left, a->linear_bwd.db = MS_ABSENT)
ARGUMENT(dx_overwritten, a->linear_bwd.accumulate = false)

/* -- rope ------------------------------------------------------------------------------------ */

static ms_tensor backwards(ms_tensor rot)
{
    rot = spare_copy(0, rot);
    for (size_t i = 1; i < ms_count(rot); i += 2) reals(rot)[i] = -reals(rot)[i];
    return rot;
}

/* Each position has the angles of the next. */
static ms_tensor next_position(ms_tensor rot)
{
    ms_tensor t = spare_copy(0, rot);

    for (int p = 0; ms_present(t) && p < t.dim[0]; p++)
        memcpy(row(t, p), row(rot, (p + 1) % t.dim[0]), ms_tensor_bytes(ms_rows(t, p, 1)));
    return t;
}

/* Pairs (2j, 2j + 1) of q: the other convention. */
static void neighbours_paired(ms_queue *q, ms_any_args *a)
{
    ms_rope_fwd_args *r = &a->rope_fwd;
    ms_tensor rot = r->rot;
    int T = r->q.dim[0] / r->seq.dim[0], D = r->q.dim[2];

    run_truly(q, a);
    if (!ms_present(rot)) return;
    r->rot = MS_ABSENT;
    r->k = spare_copy(0, r->k);
    r->v = spare_copy(1, r->v);
    run_truly(q, a);
    for (int n = 0; n < r->q.dim[0]; n++) {
        ms_seq s = ((const ms_seq *)r->seq.data)[n / T];

        if (n % T >= s.length) continue;
        for (int i = 0; i < r->q.dim[1] * rot.dim[1]; i++) {
            int j = i % rot.dim[1];
            float *x = row(r->q, n) + i / rot.dim[1] * D + 2 * j, low = x[0], high = x[1];
            const float *angle = row(rot, s.start + n % T) + 2 * j;

            x[0] = low * angle[0] - high * angle[1];
            x[1] = high * angle[0] + low * angle[1];
        }
    }
}

static void padding_cached(ms_queue *q, ms_any_args *a)
{
    ms_rope_fwd_args *r = &a->rope_fwd, true_args = *r;

    if (!ms_present(r->rot)) {
        r->seq = all_rows(r->seq, r->q.dim[0], r->k.dim[2]);
        r->q = spare_copy(1, r->q);
        run_truly(q, a);
        *r = true_args;
    }
    run_truly(q, a);
}

ARGUMENT(sine_of_wrong_sign, a->rope_fwd.rot = backwards(a->rope_fwd.rot))
ARGUMENT(rope_position, a->rope_fwd.rot = next_position(a->rope_fwd.rot))
ARGUMENT(rope_weights, swap(&a->rope_fwd.qw, &a->rope_fwd.kw))
ARGUMENT(rope_eps, a->rope_fwd.eps = 1e-5)
ARGUMENT(cache_cleared, clear(a->rope_fwd.k))
RESULT(rope_padding, spoil_padding(a->rope_fwd.q, a->rope_fwd.seq))
ARGUMENT(rope_bwd_sign, a->rope_bwd.rot = backwards(a->rope_bwd.rot))
ARGUMENT(rope_bwd_weights, swap(&a->rope_bwd.qw, &a->rope_bwd.kw))
ARGUMENT(dqw_overwritten, clear(a->rope_bwd.dqw))
ARGUMENT(dkw_left, a->rope_bwd.dkw = MS_ABSENT)
RESULT(rope_bwd_padding, spoil_padding(a->rope_bwd.dqkv, a->rope_bwd.seq))

ARGUMENT(append_position, ms_cache_append_args *c = &a->cache_append;
         c->seq = moved(c->seq, -1, 0, c->k.dim[2]))
ARGUMENT(append_exchanged, swap(&a->cache_append.k_new, &a->cache_append.v_new))
ARGUMENT(append_padding, ms_cache_append_args *c = &a->cache_append;
         c->seq = all_rows(c->seq, c->k_new.dim[0] * c->k_new.dim[2], c->k.dim[2]))
ARGUMENT(append_cleared, clear(a->cache_append.k))
ARGUMENT(append_first_only, ms_cache_append_args *c = &a->cache_append;
         c->seq = moved(c->seq, 0, -1, c->k.dim[2]))
RESULT(append_cut_off, ms_tensor k = a->cache_append.k;
       if (k.dtype == MS_BF16 || k.dtype == MS_F16)(*(uint16_t *)k.data)++)

/* -- attention ------------------------------------------------------------------------------- */

/* Each head reads the group behind its own. */
static ms_tensor next_group(ms_tensor k)
{
    ms_tensor t = spare_copy(0, k);
    size_t bytes = ms_tensor_bytes(k) / (size_t)(k.dim[0] * k.dim[1]);

    for (int g = 0; g < k.dim[0] * k.dim[1]; g++) {
        int first = g / k.dim[1] * k.dim[1], from = first + (g - first + 1) % k.dim[1];

        memcpy((char *)t.data + (size_t)g * bytes, (char *)k.data + (size_t)from * bytes, bytes);
    }
    return t;
}

/* dk and dv of a group come from its last head alone. */
static void group_overwritten(ms_queue *q, ms_any_args *a)
{
    ms_attention_bwd_args *b = &a->attention_bwd, true_args = *b;
    int H = b->dy.dim[1], D = b->dy.dim[2], heads = H / b->k.dim[1];

    b->dq = spare_copy(0, b->dq);
    b->dy = spare_copy(1, b->dy);
    for (int n = 0; n < b->dy.dim[0]; n++)
        for (int h = 0; h < H; h++)
            if (h % heads != heads - 1) memset(row(b->dy, n) + h * D, 0, (size_t)D * sizeof(float));
    run_truly(q, a);
    *b = true_args;
    b->dk = spare_copy(0, b->dk);
    b->dv = spare_copy(1, b->dv);
    run_truly(q, a);
}

/* The last row of the cache, where it is unseen. */
static void unseen_row_left(ms_queue *q, ms_any_args *a)
{
    ms_attention_bwd_args *b = &a->attention_bwd;
    const ms_seq *s = b->seq.data;
    int last = b->seq.dim[0] - 1;

    run_truly(q, a);
    if (s[last].length == 0 || s[last].start + s[last].length < b->k.dim[2])
        reals(b->dk)[ms_count(b->dk) - 1] = 1;
}

ARGUMENT(mask_shows_the_future, ms_attention_fwd_args *f = &a->attention_fwd;
         f->seq = moved(f->seq, 1, 0, f->k.dim[2]))
ARGUMENT(mask_hides_the_present, ms_attention_fwd_args *f = &a->attention_fwd;
         f->seq = moved(f->seq, -1, 0, f->k.dim[2]))
ARGUMENT(group_of_wrong_head, a->attention_fwd.k = next_group(a->attention_fwd.k))
ARGUMENT(scores_unscaled, a->attention_fwd.scale = 1)
ARGUMENT(lse_left, a->attention_fwd.lse = MS_ABSENT)
RESULT(lse_in_base_2, scale(a->attention_fwd.lse, 1.4426950408889634))
RESULT(attention_padding, spoil_padding(a->attention_fwd.y, a->attention_fwd.seq))
ARGUMENT(delta_forgotten, a->attention_bwd.y = spare_zeros(0, a->attention_bwd.y))
ARGUMENT(group_of_wrong_head_bwd, a->attention_bwd.v = next_group(a->attention_bwd.v))
RESULT(dk_unscaled, scale(a->attention_bwd.dk, 1 / a->attention_bwd.scale))
ARGUMENT(mask_shows_the_future_bwd, ms_attention_bwd_args *b = &a->attention_bwd;
         b->seq = moved(b->seq, 1, 0, b->k.dim[2]))

/* -- activation ------------------------------------------------------------------------------ */

/* Up, then gate. */
static ms_tensor exchanged_halves(ms_act act, ms_tensor u)
{
    ms_tensor t = act == MS_ACT_SWIGLU ? spare_copy(0, u) : u;
    int F = u.dim[1] / 2;

    for (int n = 0; act == MS_ACT_SWIGLU && n < u.dim[0]; n++)
        for (int i = 0; i < 2 * F; i++) row(t, n)[i] = row(u, n)[(i + F) % (2 * F)];
    return t;
}

static void slope_forgotten(ms_queue *q, ms_any_args *a)
{
    if (a->act_bwd.act != MS_ACT_SWIGLU) a->act_bwd.act = MS_ACT_NONE;
    run_truly(q, a);
}

ARGUMENT(gelu_other, a->act_fwd.act = other_gelu(a->act_fwd.act))
ARGUMENT(gate_and_up, a->act_fwd.u = exchanged_halves(a->act_fwd.act, a->act_fwd.u))
ARGUMENT(gelu_bwd_other, a->act_bwd.act = other_gelu(a->act_bwd.act))
RESULT(half_of_relu2, if (a->act_bwd.act == MS_ACT_RELU2) scale(a->act_bwd.du, 0.5))

/* -- head and loss --------------------------------------------------------------------------- */

static void ignored_counted(ms_queue *q, ms_any_args *a)
{
    ms_tensor target = spare_copy(0, a->cross_entropy.target);
    int32_t *id = target.data;

    for (int n = 0; n < target.dim[0]; n++) id[n] = id[n] < 0 ? 0 : id[n];
    a->cross_entropy.target = target;
    run_truly(q, a);
}

static void grad_scale_forgotten(ms_queue *q, ms_any_args *a)
{
    ms_step step = *q->step;

    step.grad_scale = 1;
    run_with_step(q, a, step);
}

/* dz is softmax alone. */
static void target_not_subtracted(ms_queue *q, ms_any_args *a)
{
    const ms_cross_entropy_args *c = &a->cross_entropy;
    const int32_t *target = c->target.data;

    run_truly(q, a);
    for (int n = 0; ms_present(c->dz) && n < c->dz.dim[0]; n++)
        if (target[n] >= 0) row(c->dz, n)[target[n]] += q->step->grad_scale;
}

/* exp of logits as they are. */
static void maximum_not_subtracted(ms_queue *q, ms_any_args *a)
{
    const ms_cross_entropy_args *c = &a->cross_entropy;

    run_truly(q, a);
    for (int n = 0; n < c->z.dim[0]; n++)
        for (int i = 0; i < c->z.dim[1]; i++)
            if (row(c->z, n)[i] > 88.8f) reals(c->loss)[n] = INFINITY;
}

static void mean_of_losses(ms_queue *q, ms_any_args *a)
{
    run_truly(q, a);
    if (!a->loss_sum.accumulate) scale(a->loss_sum.sum, 1.0 / a->loss_sum.loss.dim[0]);
}

ARGUMENT(dz_left, a->cross_entropy.dz = MS_ABSENT)
ARGUMENT(row_behind_the_last, ms_gather_last_args *g = &a->gather_last;
         g->seq = moved(g->seq, 0, -1, INT32_MAX))
RESULT(empty_sequence_not_zeroed, ms_gather_last_args *g = &a->gather_last;
       spoil_padding(g->y, g->seq))
ARGUMENT(sum_overwritten, a->loss_sum.accumulate = false)
ARGUMENT(sum_added, a->loss_sum.accumulate = true)

/* -- optimizer ------------------------------------------------------------------------------- */

static void two_bytes_an_element(ms_queue *q, ms_any_args *a)
{
    (void)q;
    memset(a->zero.x.data, 0,
           ms_count(a->zero.x) * (ms_dtype_bytes(a->zero.x.dtype) < 2 ? 1 : (size_t)2));
}

static void rest_not_summed(ms_queue *q, ms_any_args *a)
{
    int P = a->global_norm.x.dim[0];

    if (P > 8) a->global_norm.x = ms_rows(a->global_norm.x, 0, P / 8 * 8);
    run_truly(q, a);
}

static void nan_lost(ms_queue *q, ms_any_args *a)
{
    float *norm = a->global_norm.norm.data;

    run_truly(q, a);
    if (isnan(*norm)) *norm = 0;
}

static void bias_uncorrected(ms_queue *q, ms_any_args *a)
{
    ms_step step = *q->step;

    step.bias1 = step.bias2 = 1;
    run_with_step(q, a, step);
}

static void unclipped(ms_queue *q, ms_any_args *a)
{
    ms_step step = *q->step;

    step.clip = 0;
    run_with_step(q, a, step);
}

/* Also up to the limit. */
static void always_clipped(ms_queue *q, ms_any_args *a)
{
    float clip = q->step->clip, norm = *reals(a->adamw.norm);

    a->adamw.g = spare_copy(0, a->adamw.g);
    if (clip > norm) scale(a->adamw.g, (double)clip / ((double)norm + 1e-6));
    run_truly(q, a);
}

/* Decay as a part of the gradient: L2. */
static void decay_coupled(ms_queue *q, ms_any_args *a)
{
    ms_adamw_args *w = &a->adamw;

    w->g = spare_copy(0, w->g);
    for (size_t i = 0; i < w->decayed; i++)
        reals(w->g)[i] += (float)w->weight_decay * reals(w->w)[i];
    w->weight_decay = 0;
    run_truly(q, a);
}

static void steps_on_nan(ms_queue *q, ms_any_args *a)
{
    a->adamw.norm = spare_copy(0, a->adamw.norm);
    if (!isfinite(*reals(a->adamw.norm))) *reals(a->adamw.norm) = 1;
    run_truly(q, a);
}

static void moment_left(ms_queue *q, ms_any_args *a)
{
    ms_tensor m = spare_copy(0, a->adamw.m);

    run_truly(q, a);
    memcpy(a->adamw.m.data, m.data, ms_tensor_bytes(m));
}

RESULT(norm_squared, *reals(a->global_norm.norm) *= *reals(a->global_norm.norm))
ARGUMENT(all_decayed, a->adamw.decayed = (size_t)a->adamw.w.dim[0])
ARGUMENT(none_decayed, a->adamw.decayed = 0)
ARGUMENT(betas_exchanged, ms_adamw_args *w = &a->adamw; double beta1 = w->beta1;
         w->beta1 = w->beta2; w->beta2 = beta1)
ARGUMENT(adamw_eps, a->adamw.eps = 1e-6)

/* -- sampling -------------------------------------------------------------------------------- */

#define HOW(name, ...)                                                                             \
    static void name(ms_queue *q, ms_any_args *a)                                                  \
    {                                                                                              \
        ms_how *how;                                                                               \
                                                                                                   \
        a->sample.how = spare_copy(0, a->sample.how);                                              \
        how = a->sample.how.data;                                                                  \
        for (int b = 0; b < a->sample.how.dim[0]; b++, how++) __VA_ARGS__;                         \
        run_truly(q, a);                                                                           \
    }

HOW(temperature_ignored, how->temperature = how->temperature > 0 ? 1 : 0)
HOW(top_k_ignored, how->top_k = 0)
HOW(top_k_one_more, how->top_k += how->top_k > 0 && how->top_k < 1 << 20)
HOW(top_p_ignored, how->top_p = 1)
HOW(min_p_ignored, how->min_p = 0)
HOW(same_draw_for_all_positions, how->position = 0)
HOW(same_draw_for_all_streams, how->stream = 17)

static void highest_of_equal(ms_queue *q, ms_any_args *a)
{
    const ms_how *how = a->sample.how.data;

    run_truly(q, a);
    for (int b = 0; b < a->sample.z.dim[0]; b++) {
        int32_t *id = (int32_t *)a->sample.id.data + b;
        const float *z = row(a->sample.z, b);

        for (int32_t i = *id; how[b].temperature == 0 && i < a->sample.z.dim[1]; i++)
            if (z[i] == z[*id]) *id = i;
    }
}

/* -- the list -------------------------------------------------------------------------------- */

#define IN(op) MS_OP_##op

/* says: what the first report must contain. */
typedef struct {
    ms_op op;
    const char *name, *says;
    fault_fn *run;
} fault;

static const fault faults[] = {
    {IN(embed_fwd), "start of sequences ignored", "y[", positions_from_zero},
    {IN(embed_fwd), "scale forgotten", "y[", embed_unscaled},
    {IN(embed_fwd), "padding not zeroed", "y[", embed_padding},
    {IN(embed_fwd), "mask of another site", "y[", embed_fwd_site},
    {IN(embed_bwd), "de overwritten instead of added to", "de[", de_overwritten},
    {IN(embed_bwd), "dpos not written", "dpos[", dpos_left},
    {IN(embed_bwd), "padding counted", "de[", padding_counted},
    {IN(embed_bwd), "mask of another site", "de[", embed_bwd_site},

    {IN(norm_fwd), "another eps", "[", norm_eps},
    {IN(norm_fwd), "mean subtracted when rms, and the reverse", "[", norm_kind},
    {IN(norm_fwd), "square root forgotten", "[", root_forgotten},
    {IN(norm_fwd), "weight ignored", "y[", norm_weight_ignored},
    {IN(norm_fwd), "bias ignored", "y[", norm_bias_ignored},
    {IN(norm_fwd), "stat not written though present", "stat[", stat_left},
    {IN(norm_fwd), "stat written though absent", "guard behind y", stat_stray},
    {IN(norm_bwd), "dw overwritten instead of added to", "dw[", norm_dw_overwritten},
    {IN(norm_bwd), "db not written", "db[", norm_db_left},
    {IN(norm_bwd), "dx not accumulated", "dx[", norm_dx_overwritten},
    {IN(norm_bwd), "dx accumulated unasked", "dx[", norm_dx_added},
    {IN(norm_bwd), "mean of gradients when rms, and the reverse", "dx[", norm_bwd_kind},
    {IN(norm_bwd), "weight ignored", "dx[", norm_bwd_weight_ignored},

    {IN(add_norm_fwd), "residual not added", "r[", residual_forgotten},
    {IN(add_norm_fwd), "branch not dropped out", "r[", branch_undropped},
    {IN(add_norm_fwd), "mask of another site", "r[", add_norm_fwd_site},
    {IN(add_norm_bwd), "gradient of the stream not added", "dr[", stream_lost},
    {IN(add_norm_bwd), "gradient of the branch not masked", "df[", df_undropped},
    {IN(add_norm_bwd), "df not written", "df[", df_left},
    {IN(add_norm_bwd), "db overwritten instead of added to", "db[", add_norm_db_overwritten},
    {IN(add_norm_bwd), "mask of another site", "df[", add_norm_bwd_site},

    {IN(linear_fwd), "bias forgotten", "y[", bias_forgotten},
    {IN(linear_fwd), "activation skipped", "y[", epilogue_forgotten},
    {IN(linear_fwd), "the other GELU", "y[", epilogue_other},
    {IN(linear_fwd), "u not written though present", "u[", u_left},
    {IN(linear_fwd), "weight transposed", "y[", transposed},
    {IN(linear_fwd), "rows off by one", "y[", rows_off_by_one},
    {IN(linear_fwd), "last row not written", "y[", last_row_left},
    {IN(linear_fwd), "inputs behind whole vectors forgotten", "y[", last_input_forgotten},
    {IN(linear_fwd), "weights rounded to bf16", "y[", weights_in_bf16},
    {IN(linear_fwd), "relative error of 1e-5", "y[", error_of_1e_5},
    {IN(linear_stored), "bias forgotten", "y[", stored_bias_forgotten},
    {IN(linear_stored), "factors in f32 where bf16 is asked for", "y[", factors_not_rounded},
    {IN(linear_stored), "factors in bf16 unasked", "y[", factors_rounded_unasked},
    {IN(linear_stored), "x rounded towards zero", "y[", rounded_towards_zero},
    {IN(linear_bwd), "dw overwritten instead of added to", "dw[", dw_overwritten},
    {IN(linear_bwd), "db overwritten instead of added to", "db[", db_overwritten},
    {IN(linear_bwd), "db not written", "db[", db_left},
    {IN(linear_bwd), "dx not accumulated", "dx[", dx_overwritten},
    {IN(linear_bwd), "slope of the activation forgotten", "dx[", linear_slope_forgotten},
    {IN(linear_bwd), "last row without gradient", "dw[", last_row_without_gradient},

    {IN(rope_fwd), "sine of the wrong sign", "q[", sine_of_wrong_sign},
    {IN(rope_fwd), "position off by one", "q[", rope_position},
    {IN(rope_fwd), "neighbours paired", "q[", neighbours_paired},
    {IN(rope_fwd), "weights of q and k exchanged", "q[", rope_weights},
    {IN(rope_fwd), "another eps", "[", rope_eps},
    {IN(rope_fwd), "other rows of the cache cleared", "k[", cache_cleared},
    {IN(rope_fwd), "padding written to the cache", "k[", padding_cached},
    {IN(rope_fwd), "padding of q not zeroed", "q[", rope_padding},
    {IN(rope_bwd), "sine of the wrong sign", "dqkv[", rope_bwd_sign},
    {IN(rope_bwd), "weights of q and k exchanged", "dqkv[", rope_bwd_weights},
    {IN(rope_bwd), "dqw overwritten instead of added to", "dqw[", dqw_overwritten},
    {IN(rope_bwd), "dkw not written", "dkw[", dkw_left},
    {IN(rope_bwd), "padding not zeroed", "dqkv[", rope_bwd_padding},

    {IN(cache_append), "position off by one", "k", append_position},
    {IN(cache_append), "k and v exchanged", "k", append_exchanged},
    {IN(cache_append), "padding written to the cache", "k", append_padding},
    {IN(cache_append), "other rows of the cache cleared", "k", append_cleared},
    {IN(cache_append), "last row left out", "k", append_first_only},
    {IN(cache_append), "a number off by its last place", "k", append_cut_off},

    {IN(attention_fwd), "mask shows the next key", "y[", mask_shows_the_future},
    {IN(attention_fwd), "mask hides the row's own key", "y[", mask_hides_the_present},
    {IN(attention_fwd), "wrong group of a head", "y[", group_of_wrong_head},
    {IN(attention_fwd), "scores not scaled", "y[", scores_unscaled},
    {IN(attention_fwd), "lse not written", "lse[", lse_left},
    {IN(attention_fwd), "lse in base 2", "lse[", lse_in_base_2},
    {IN(attention_fwd), "padding not zeroed", "y[", attention_padding},
    {IN(attention_fwd), "mask of another site", "y[", attention_fwd_site},
    {IN(attention_fwd), "mask of the step before", "y[", mask_of_the_step_before},
    {IN(attention_bwd), "delta forgotten", "dq[", delta_forgotten},
    {IN(attention_bwd), "wrong group of a head", "dq[", group_of_wrong_head_bwd},
    {IN(attention_bwd), "heads of a group overwrite each other", "dk[", group_overwritten},
    {IN(attention_bwd), "mask shows the next key", "dq[", mask_shows_the_future_bwd},
    {IN(attention_bwd), "dk not scaled", "dk[", dk_unscaled},
    {IN(attention_bwd), "rows no query saw not zeroed", "dk[", unseen_row_left},
    {IN(attention_bwd), "mask of another site", "dq[", attention_bwd_site},

    {IN(act_fwd), "the other GELU", "y[", gelu_other},
    {IN(act_fwd), "gate and up exchanged", "y[", gate_and_up},
    {IN(act_bwd), "slope forgotten", "du[", slope_forgotten},
    {IN(act_bwd), "the other GELU", "du[", gelu_bwd_other},
    {IN(act_bwd), "2 of squared ReLU's slope forgotten", "du[", half_of_relu2},
    {IN(dropout), "mask of another site", "y[", dropout_site},
    {IN(dropout), "mask of the step before", "y[", mask_of_the_step_before},
    {IN(dropout), "same mask for all rows", "y[", same_mask_for_all_rows},
    {IN(dropout), "what is kept not scaled", "y[", kept_unscaled},
    {IN(dropout), "drops what it should keep", "y[", drops_what_it_keeps},
    {IN(dropout), "add forgotten", "y[", add_forgotten},

    {IN(gather_last), "row off by one", "y[", row_behind_the_last},
    {IN(gather_last), "empty sequence not zeroed", "y[", empty_sequence_not_zeroed},
    {IN(cross_entropy), "ignored target counted", "loss[", ignored_counted},
    {IN(cross_entropy), "grad_scale forgotten", "dz[", grad_scale_forgotten},
    {IN(cross_entropy), "target not subtracted", "dz[", target_not_subtracted},
    {IN(cross_entropy), "maximum not subtracted", "loss[", maximum_not_subtracted},
    {IN(cross_entropy), "dz not written", "dz[", dz_left},
    {IN(loss_sum), "sum overwritten instead of added to", "sum[", sum_overwritten},
    {IN(loss_sum), "sum added to unasked", "sum[", sum_added},
    {IN(loss_sum), "mean in place of the sum", "sum[", mean_of_losses},

    {IN(zero), "two bytes an element", "x[", two_bytes_an_element},
    {IN(global_norm), "square root forgotten", "norm[", norm_squared},
    {IN(global_norm), "elements behind whole vectors forgotten", "norm[", rest_not_summed},
    {IN(global_norm), "NaN lost", "nan: norm[", nan_lost},
    {IN(adamw), "bias not corrected", "w[", bias_uncorrected},
    {IN(adamw), "everything decays", "w[", all_decayed},
    {IN(adamw), "nothing decays", "w[", none_decayed},
    {IN(adamw), "decay goes through the moments", "w[", decay_coupled},
    {IN(adamw), "not clipped", "[", unclipped},
    {IN(adamw), "scaled up to the clip", "[", always_clipped},
    {IN(adamw), "betas exchanged", "[", betas_exchanged},
    {IN(adamw), "another eps", "w[", adamw_eps},
    {IN(adamw), "moment not written", "m[", moment_left},
    {IN(adamw), "a step on NaN", "nan: ", steps_on_nan},

    {IN(sample), "temperature ignored", "cannot be drawn", temperature_ignored},
    {IN(sample), "top-k ignored", "cannot be drawn", top_k_ignored},
    {IN(sample), "top-k keeps one more", "cannot be drawn", top_k_one_more},
    {IN(sample), "top-p ignored", "cannot be drawn", top_p_ignored},
    {IN(sample), "min-p ignored", "cannot be drawn", min_p_ignored},
    {IN(sample), "same draw for all positions", "cannot be drawn", same_draw_for_all_positions},
    {IN(sample), "same draw for all streams", "cannot be drawn", same_draw_for_all_streams},
    {IN(sample), "the highest of equal logits", "id[", highest_of_equal},
};
enum { FAULTS = sizeof faults / sizeof *faults };

/* -- faults of any op ------------------------------------------------------------------------ */

/* Where the common fault is planted. */
static struct {
    ms_op op;
    int operand, partner; /* partner: the operand whose memory an alias uses */
    int runs;             /* with the operand present, so far */
} place;

static ms_tensor target(ms_any_args *a)
{
    return *operand_of(a, place.op, place.operand);
}

static char *end_of(ms_tensor t)
{
    return (char *)t.data + ms_tensor_bytes(t);
}

/* The lowest bit of the last element. */
static void flip(ms_tensor t)
{
    if (ms_present(t)) *(end_of(t) - ms_dtype_bytes(t.dtype)) ^= 1;
}

static void last_element_left(ms_queue *q, ms_any_args *a)
{
    ms_tensor t = target(a);
    size_t size = ms_present(t) ? ms_dtype_bytes(t.dtype) : 0;
    char old[8];

    if (size > 0) memcpy(old, end_of(t) - size, size);
    run_truly(q, a);
    if (size > 0) memcpy(end_of(t) - size, old, size);
}

static void nan_inside(ms_queue *q, ms_any_args *a)
{
    ms_tensor t = target(a);

    run_truly(q, a);
    if (ms_present(t) && t.dtype == MS_F32) reals(t)[ms_count(t) / 2] = NAN;
}

static void other_bits_each_run(ms_queue *q, ms_any_args *a)
{
    run_truly(q, a);
    if (ms_present(target(a)) && place.runs++ % 2) flip(target(a));
}

static void other_bits_with_threads(ms_queue *q, ms_any_args *a)
{
    run_truly(q, a);
    if (ms_pool_threads(q->device->pool) > 1) flip(target(a));
}

static void other_bits_unaligned(ms_queue *q, ms_any_args *a)
{
    run_truly(q, a);
    if ((uintptr_t)target(a).data % 64 != 0) flip(target(a));
}

/* Rows come out differently alone; not under dropout, where they may. */
static void other_bits_in_batch(ms_queue *q, ms_any_args *a)
{
    ms_tensor t = target(a);

    run_truly(q, a);
    if (place.op == MS_OP_add_norm_fwd && a->add_norm_fwd.drop.p > 0) return;
    for (int n = 0; ms_present(t) && t.dim[0] > 1 && n < t.dim[0]; n++) flip(ms_rows(t, n, 1));
}

/* A result is cleared before the input in its place is read. */
static void cleared_first(ms_queue *q, ms_any_args *a)
{
    if (target(a).data == operand_of(a, place.op, place.partner)->data) clear(target(a));
    run_truly(q, a);
}

static void byte_behind(ms_queue *q, ms_any_args *a)
{
    run_truly(q, a);
    if (ms_present(target(a))) *end_of(target(a)) ^= 1;
}

RESULT(scaled, if (ms_present(target(a))) scale(target(a), 1.001))
RESULT(input_changed, flip(target(a)))

/* What an operand must be for a fault to mean something. */
typedef enum { WRITTEN, REAL, NOT_ZEROS, ROWS, INPUT } kind;

static const struct {
    const char *name, *says;
    kind kind;
    fault_fn *run;
} common_faults[] = {
    {"last element not written", "[", WRITTEN, last_element_left},
    {"a byte behind the end", "guard behind", WRITTEN, byte_behind},
    {"a NaN", "got", REAL, nan_inside},
    {"relative error of 1e-3", "got", NOT_ZEROS, scaled},
    {"other bits in each run", "from zeroed outputs", WRITTEN, other_bits_each_run},
    {"other bits with threads", "with other threads", WRITTEN, other_bits_with_threads},
    {"other bits at odd addresses", "at odd addresses", WRITTEN, other_bits_unaligned},
    {"other bits in a batch", "alone", ROWS, other_bits_in_batch},
    {"an input changed", "after the run", INPUT, input_changed},
};
enum { COMMON_FAULTS = sizeof common_faults / sizeof *common_faults };

static bool means_something(kind k, ms_op o, int i)
{
    bool written = operand_written(o, i), real = written && strcmp(operand_name(o, i), "id") != 0;

    switch (k) {
    case WRITTEN: return written;
    case REAL: return real;
    case NOT_ZEROS: return real && o != MS_OP_zero;
    case ROWS: return written && word_in(contract_of(o)->rows, operand_name(o, i));
    case INPUT: return !written && !operand_work(o, i);
    }
    return false;
}

/* -- tests ----------------------------------------------------------------------------------- */

/* Whether the first report is of this fault. */
static bool reported(ms_op o, fault_fn *run, const char *name, const char *operand,
                     const char *says)
{
    conform_setup first = setup;
    conform_result r;

    first.first_only = true;
    conform_planted(&first, o, run, &r);
    if (verbose) print_message("%s %s: %s\n", name, operand, r.failures ? r.message[0] : "");
    if (r.failures && strstr(r.message[0], says) && strstr(r.message[0], operand)) return true;
    print_error("%s, %s %s: %s\n", ms_op_name(o), name, operand,
                r.failures ? r.message[0] : "not reported");
    return false;
}

static void fault_is_reported(void **state)
{
    const fault *f = *state;

    assert_true(reported(f->op, f->run, f->name, "", f->says));
}

static int common_faults_missed(ms_op o, int i)
{
    int missed = 0;

    for (int k = 0; k < COMMON_FAULTS; k++) {
        if (!means_something(common_faults[k].kind, o, i)) continue;
        place.op = o;
        place.operand = i;
        place.runs = 0;
        missed += !reported(o, common_faults[k].run, common_faults[k].name, operand_name(o, i),
                            common_faults[k].says);
    }
    return missed;
}

static int alias_faults_missed(ms_op o)
{
    char set[64], name[NAME_BYTES];
    int missed = 0;

    for (int n = 0; word_at(contract_of(o)->aliases, '|', n, set, sizeof set); n++) {
        char says[80];

        if (strchr(set, ' ')) continue;
        place.op = o;
        word_at(set, '=', 0, name, sizeof name);
        place.operand = operand_named(o, name);
        word_at(set, '=', 1, name, sizeof name);
        place.partner = operand_named(o, name);
        snprintf(says, sizeof says, "alias %s", set);
        missed += !reported(o, cleared_first, "cleared before it is read", name, says);
    }
    return missed;
}

static void common_faults_are_reported(void **state)
{
    ms_op o = *(const ms_op *)*state;
    int missed = alias_faults_missed(o);

    for (int i = 0; i < operand_count(o); i++) missed += common_faults_missed(o, i);
    assert_int_equal(missed, 0);
}

static void no_fault_is_not_reported(void **state)
{
    ms_op o = *(const ms_op *)*state;
    conform_result r;

    conform_planted(&setup, o, run_truly, &r);
    for (int i = 0; i < r.failures && i < CONFORM_MESSAGES; i++) print_error("%s\n", r.message[i]);
    assert_int_equal(r.failures, 0);
    assert_true(r.cases > 0 && r.refusals > 0);
}

/* A contract that asks for more than the check does: "says" must be demanded in vain. */
static void a_lax_check_is_reported(void **state)
{
    static const struct {
        ms_op op;
        contract c;
        const char *says;
    } lax[] = {
        {IN(norm_fwd), {"NC N2 NC C C", "", "", "", ""}, "not refused: an overlap of y"},
        {IN(act_bwd), {"NU NF NU", "du=u", "", "FU", ""}, "not refused: an overlap of du"},
        {IN(embed_fwd), {"NC VC PC iN iB2", "", "N%B", "V", ""}, "not refused: a dimension of e"},
        {IN(dropout), {"NC NC NC", "y=x|y=add", "N%C", "", ""}, "not refused: the divisor of N%C"},
        {IN(zero), {"P", "", "", "", ""}, "not refused: a dimension of x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lax / sizeof *lax; i++) {
        bool ok;

        contract_plant(lax[i].op, &lax[i].c);
        ok = reported(lax[i].op, run_truly, "lax check", "", lax[i].says);
        contract_plant(lax[i].op, NULL);
        assert_true(ok);
    }
}

/* -- program --------------------------------------------------------------------------------- */

/* The best CPU back end with one thread, and with two. */
static int open_devices(void **state)
{
    (void)state;
    if (ms_device_open(&setup.ref, "ref", NULL, NULL)) return -1;
    for (int i = 0; i < 2; i++)
        if (ms_device_open(&setup.device[i], "cpu", &(ms_device_options){.threads = i + 1}, NULL))
            return -1;
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    ms_device_close(setup.ref);
    for (int i = 0; i < CONFORM_DEVICES; i++) ms_device_close(setup.device[i]);
    return 0;
}

static struct CMUnitTest tests[FAULTS + 2 * MS_OP_COUNT + 1];
static char names[FAULTS + 2 * MS_OP_COUNT + 1][80];
static size_t count;

static void add(const char *word, const char *op_name, const char *name, CMUnitTestFunction test,
                const void *state)
{
    snprintf(names[count], sizeof names[count], "%s: %s", op_name, name);
    if (word && !strstr(names[count], word)) return;
    tests[count] = (struct CMUnitTest){
        .name = names[count], .test_func = test, .initial_state = (void *)(uintptr_t)state};
    count++;
}

int main(int argc, char **argv)
{
    static ms_op ops[MS_OP_COUNT];
    const char *word;

    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    word = argc > 1 + verbose ? argv[1 + verbose] : NULL;
    for (int i = 0; i < FAULTS; i++)
        add(word, ms_op_name(faults[i].op), faults[i].name, fault_is_reported, &faults[i]);
    for (int o = 0; o < MS_OP_COUNT; o++) {
        ops[o] = (ms_op)o;
        add(word, ms_op_name(ops[o]), "faults of any op", common_faults_are_reported, &ops[o]);
        add(word, ms_op_name(ops[o]), "no fault", no_fault_is_not_reported, &ops[o]);
    }
    add(word, "check", "faults", a_lax_check_is_reported, NULL);
    return _cmocka_run_group_tests("faults", tests, count, open_devices, close_devices);
}
