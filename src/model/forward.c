/* forward - the passes over a model: train, loss, decode */
#include "model/pass.h"

#include <stdlib.h>
#include <string.h>

/* -- input ----------------------------------------------------------------------------------- */

static ms_status check_ids(const ms_pass *p, const int32_t *id, const ms_seq *seq, const char *what,
                           int lowest, ms_error *err)
{
    for (int b = 0; b < p->o.batch; b++)
        for (int t = 0; t < seq[b].length; t++) {
            int32_t v = id[b * p->T + t];

            if (v < lowest || v >= p->m->config.vocab)
                return ms_fail(err, MS_INPUT, "%s %d of sequence %d is %d: expected %d to %d", what,
                               t, b, (int)v, lowest, p->m->config.vocab - 1);
        }
    return MS_OK;
}

static ms_status check_seq(const ms_pass *p, const ms_seq *seq, ms_error *err)
{
    for (int b = 0; b < p->o.batch; b++) {
        if (seq[b].length < 0 || seq[b].length > p->T)
            return ms_fail(err, MS_INPUT, "sequence %d: length %d, expected 0 to %d", b,
                           (int)seq[b].length, p->T);
        if (seq[b].start < 0 || seq[b].start > p->S - seq[b].length)
            return ms_fail(err, MS_INPUT, "sequence %d: %d tokens at position %d exceed %d", b,
                           (int)seq[b].length, (int)seq[b].start, p->S);
    }
    return MS_OK;
}

/* Checks and copies a pass's input into the step block.  target NULL: none. */
static ms_status set_input(ms_pass *p, int T, const int32_t *id, const int32_t *target,
                           const ms_seq *seq, const ms_step *step, ms_error *err)
{
    if (T < 1 || T > p->o.rows)
        return ms_fail(err, MS_INPUT, "rows: expected 1 to %d, got %d", p->o.rows, T);
    ms_pass_plan(p, T);
    MS_TRY(check_seq(p, seq, err));
    MS_TRY(check_ids(p, id, seq, "token", 0, err));
    if (target) MS_TRY(check_ids(p, target, seq, "target", -1, err));
    ms_pass_poison(p);

    ms_seq *to_seq = ms_pass_stage(p, p->seq);
    int32_t *to_id = ms_pass_stage(p, p->id), *to_target = ms_pass_stage(p, p->target);
    memcpy(to_seq, seq, (size_t)p->o.batch * sizeof *seq);
    for (int b = 0; b < p->o.batch; b++)
        for (int t = 0; t < T; t++) {
            bool valid = t < seq[b].length;

            to_id[b * T + t] = valid ? id[b * T + t] : 0;
            to_target[b * T + t] = valid && target ? target[b * T + t] : -1;
        }
    memcpy(p->stage, step, sizeof *step);
    ms_queue_upload(&p->q, p->step_values, p->stage,
                    (size_t)((char *)ms_pass_stage(p, p->target) - p->stage) +
                        ms_tensor_bytes(p->target));
    return MS_OK;
}

static ms_seq *full_sequences(const ms_pass *p, int T, const int32_t *length)
{
    ms_seq *seq = malloc((size_t)p->o.batch * sizeof *seq);

    for (int b = 0; seq && b < p->o.batch; b++) seq[b] = (ms_seq){0, length ? length[b] : T};
    return seq;
}

/* -- embedding and head ---------------------------------------------------------------------- */

static ms_tensor positions(const ms_pass *p)
{
    return p->m->config.positions == MS_POS_SINUSOIDAL ? p->m->sinusoid : p->m->weights.p.pos;
}

static void embed_fwd(ms_pass *p)
{
    ms_tensor e = p->m->stored ? p->m->embed : p->m->weights.p.embed;

    op(&p->q, embed_fwd, .y = p->x[0], .e = e, .pos = positions(p), .id = p->id, .seq = p->seq,
       .scale = p->m->config.embed_scale, .drop = ms_pass_drop(p, MS_DROP_EMBED, 0));
}

static void embed_bwd(ms_pass *p)
{
    op(&p->q, embed_bwd, .de = p->gradients.p.embed, .dpos = p->gradients.p.pos, .dy = p->dx,
       .id = p->id, .seq = p->seq, .scale = p->m->config.embed_scale,
       .drop = ms_pass_drop(p, MS_DROP_EMBED, 0));
}

static ms_tensor head_of(const ms_params *w)
{
    return ms_present(w->head) ? w->head : w->embed;
}

static void head_fwd(ms_pass *p, ms_tensor z, ms_tensor x)
{
    const ms_params *w = &p->m->weights.p;
    ms_weight stored = {{ms_present(p->m->head) ? p->m->head : p->m->embed}};

    weight_fwd(p, .y = z, .x = x, .w = head_of(w), .b = w->head_b, .stored = &stored);
}

/* Losses of all rows, some rows of logits at a time; with backward also dtop and the head's
 * gradient: logits and their gradient never exist for all rows at once. */
static void head_loss(ms_pass *p, bool backward)
{
    const ms_params *w = &p->m->weights.p, *d = &p->gradients.p;
    int N = p->o.batch * p->T, step = p->z.dim[0];

    for (int i = 0; i < N; i += step) {
        int n = N - i < step ? N - i : step;
        ms_tensor z = ms_rows(p->z, 0, n), x = ms_rows(p->top, i, n);
        ms_tensor dz = backward ? z : MS_ABSENT; /* cross_entropy allows the alias */

        head_fwd(p, z, x);
        op(&p->q, cross_entropy, .loss = ms_rows(p->loss, i, n), .dz = dz, .z = z,
           .target = ms_rows(p->target, i, n));
        if (!backward) continue;
        op(&p->q, linear_bwd, .dx = ms_rows(p->dtop, i, n), .dw = head_of(d), .db = d->head_b,
           .dy = dz, .x = x, .w = head_of(w));
    }
}

/* -- training and loss ------------------------------------------------------------------------- */

static void read_sum(ms_pass *p, double *sum)
{
    op(&p->q, loss_sum, .sum = p->sum, .loss = p->loss);
    ms_read_reals(&p->q, p->sum, sum);
}

ms_status ms_pass_train(ms_pass *p, const int32_t *id, const int32_t *target, const ms_step *step,
                        double *loss_sum, ms_error *err)
{
    ms_status s;
    ms_seq *seq;

    if (!p->o.train) return ms_fail(err, MS_INPUT, "the pass was not made for training");
    seq = full_sequences(p, p->o.rows, NULL);
    if (!seq) return ms_fail(err, MS_MEMORY, "out of memory for %d sequences", p->o.batch);
    s = set_input(p, p->o.rows, id, target, seq, step, err);
    free(seq);
    if (s) return s;
    p->dropping = p->o.dropout > 0;
    embed_fwd(p);
    ms_blocks_fwd(p);
    head_loss(p, true);
    ms_blocks_bwd(p);
    embed_bwd(p);
    p->dropping = false;
    read_sum(p, loss_sum);
    return ms_pass_finish(p, err);
}

void ms_pass_set_step(ms_pass *p, const ms_step *step)
{
    memcpy(p->stage, step, sizeof *step);
    ms_queue_upload(&p->q, p->step_values, p->stage, sizeof *step);
}

ms_status ms_pass_loss(ms_pass *p, int rows, const int32_t *id, const int32_t *target,
                       const int32_t *length, float *row_loss, ms_error *err)
{
    ms_seq *seq = full_sequences(p, rows, length);
    ms_step step = {.counter = 0};
    ms_status s;

    if (!seq) return ms_fail(err, MS_MEMORY, "out of memory for %d sequences", p->o.batch);
    s = set_input(p, rows, id, target, seq, &step, err);
    free(seq);
    if (s) return s;
    embed_fwd(p);
    ms_blocks_fwd(p);
    head_loss(p, false);
    ms_read_floats(&p->q, p->loss, row_loss);
    return ms_pass_finish(p, err);
}

/* -- decoding -------------------------------------------------------------------------------- */

static ms_status forward(ms_pass *p, int rows, const int32_t *id, const ms_seq *seq, ms_error *err)
{
    ms_step step = {.counter = 0};

    if (p->o.train)
        return ms_fail(err, MS_INPUT, "the pass was made for training: it has no cache");
    MS_TRY(set_input(p, rows, id, NULL, seq, &step, err));
    embed_fwd(p);
    ms_blocks_fwd(p);
    return MS_OK;
}

ms_status ms_pass_forward(ms_pass *p, int rows, const int32_t *id, const ms_seq *seq, ms_error *err)
{
    MS_TRY(forward(p, rows, id, seq, err));
    op(&p->q, gather_last, .y = p->last, .x = p->top, .seq = p->seq);
    head_fwd(p, ms_rows(p->z, 0, p->o.batch), p->last);
    return ms_pass_finish(p, err);
}

ms_status ms_pass_logits(ms_pass *p, float *logits, ms_error *err)
{
    ms_read_floats(&p->q, ms_rows(p->z, 0, p->o.batch), logits);
    return ms_queue_finish(&p->q, err);
}

ms_status ms_pass_sample(ms_pass *p, const ms_how *how, int32_t *id, ms_error *err)
{
    if (p->o.train)
        return ms_fail(err, MS_INPUT, "the pass was made for training: it cannot sample");
    _Static_assert(sizeof(ms_how) == 8 * sizeof(int32_t), "a row of how");
    ms_queue_upload(&p->q, p->how.data, how, ms_tensor_bytes(p->how));
    op(&p->q, sample, .id = p->drawn, .z = ms_rows(p->z, 0, p->o.batch), .how = p->how,
       .rank = p->rank, .prob = p->prob);
    ms_queue_download(&p->q, id, p->drawn.data, ms_tensor_bytes(p->drawn));
    return ms_pass_finish(p, err);
}

ms_status ms_pass_logits_all(ms_pass *p, int rows, const int32_t *id, const ms_seq *seq,
                             double *logits, ms_error *err)
{
    MS_TRY(forward(p, rows, id, seq, err));
    int N = p->o.batch * rows, step = p->z.dim[0];
    for (int i = 0; i < N; i += step) {
        int n = N - i < step ? N - i : step;

        head_fwd(p, ms_rows(p->z, 0, n), ms_rows(p->top, i, n));
        ms_read_reals(&p->q, ms_rows(p->z, 0, n), logits + (size_t)i * (size_t)p->m->config.vocab);
    }
    return ms_pass_finish(p, err);
}

static size_t cached_row_bytes(ms_tensor t)
{
    return (size_t)(t.dim[3] / ms_dtype_block(t.dtype)) * ms_dtype_bytes(t.dtype);
}

/* Address of head h of a sequence in a cached tensor (B, K, S, D). */
static char *cached_head(const ms_pass *p, ms_tensor t, int sequence, int h)
{
    size_t rows = ((size_t)sequence * (size_t)t.dim[1] + (size_t)h) * (size_t)p->S;

    return (char *)t.data + rows * cached_row_bytes(t);
}

ms_status ms_pass_take_cache(ms_pass *p, int to, const ms_pass *source, int from, int keys,
                             ms_error *err)
{
    const ms_config *c = &p->m->config;
    size_t bytes;

    if (p->o.train || source->o.train || p->m != source->m || from < 0 || from >= source->o.batch ||
        to < 0 || to >= p->o.batch || keys < 0 || keys > source->S || keys > p->S ||
        p->a[0].k.dtype != source->a[0].k.dtype)
        return ms_fail(err, MS_INPUT, "cache: cannot copy %d keys from sequence %d to %d", keys,
                       from, to);
    if (p == source && from == to) return MS_OK;
    bytes = (size_t)keys * cached_row_bytes(p->a[0].k);
    for (int l = 0; l < c->layers; l++)
        for (int h = 0; h < c->kv_heads; h++) {
            ms_queue_copy(&p->q, cached_head(p, p->a[l].k, to, h),
                          cached_head(source, source->a[l].k, from, h), bytes);
            ms_queue_copy(&p->q, cached_head(p, p->a[l].v, to, h),
                          cached_head(source, source->a[l].v, from, h), bytes);
        }
    return ms_queue_finish(&p->q, err);
}

ms_status ms_pass_copy_cache(ms_pass *p, int from, int to, int keys, ms_error *err)
{
    return ms_pass_take_cache(p, to, p, from, keys, err);
}
