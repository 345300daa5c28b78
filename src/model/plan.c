/* plan - sizes and places what a pass holds: each layout is one function run twice, dry and real */
#include "model/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters of the lists in pass.h. */
#define MS_PLAN_LETTERS                                                                            \
    const ms_config *c = &p->m->config;                                                            \
    const int N = p->o.batch * p->T;                                                               \
    const int Q = (c->heads + 2 * c->kv_heads) * c->head_dim;                                      \
    const int U = c->act == MS_ACT_SWIGLU ? 2 * c->ffn : c->ffn;                                   \
    const ms_dtype real = p->m->device->real;                                                      \
    ms_arena *a = &block->arena;

/* -- layouts --------------------------------------------------------------------------------- */

static void place_saved_set(ms_pass *p, ms_block *block, ms_saved *s, int l)
{
    MS_PLAN_LETTERS
    char name[40];

#define PLACE_SAVED(field, present, ...)                                                           \
    snprintf(name, sizeof name, "%s.%d", #field, l);                                               \
    s->field = (present) ? MS_TAKE(a, name, real, __VA_ARGS__) : MS_ABSENT;
    MS_LAYER_SAVED(PLACE_SAVED)
    if (p->o.train) {
        s->k = MS_TAKE(a, "k", real, p->o.batch, c->kv_heads, p->S, c->head_dim);
        s->v = MS_TAKE(a, "v", real, p->o.batch, c->kv_heads, p->S, c->head_dim);
    }
}

static void place_saved(ms_pass *p, ms_block *block)
{
    MS_PLAN_LETTERS
    bool one_set = !p->o.train || p->o.recompute;

    for (int l = 0; l <= c->layers; l++)
        p->x[l] = l == 0 || p->o.train ? MS_TAKE(a, "x", real, N, c->width) : p->x[0];
    for (int l = 0; l < c->layers; l++) {
        ms_tensor k = p->a[l].k, v = p->a[l].v;

        if (l == 0 || !one_set)
            place_saved_set(p, block, &p->a[l], l);
        else
            p->a[l] = p->a[0];
        if (!p->o.train) p->a[l].k = k, p->a[l].v = v;
    }
    (void)Q, (void)U;
}

static void place_cache(ms_pass *p, ms_block *block)
{
    MS_PLAN_LETTERS
    const ms_dtype cache = p->m->cache;

    if (p->o.train) return;
    for (int l = 0; l < c->layers; l++) {
        p->a[l].k = MS_TAKE(a, "cache k", cache, p->o.batch, c->kv_heads, p->S, c->head_dim);
        p->a[l].v = MS_TAKE(a, "cache v", cache, p->o.batch, c->kv_heads, p->S, c->head_dim);
    }
    (void)N, (void)Q, (void)U, (void)real;
}

/* Rows of logits at a time: about 4 MB, and at least one row a sequence for decoding.  A step reads
 * the head and adds to its gradient each time: with a large vocabulary that is less often when the
 * logits may take a third of the head's own memory. */
static int head_rows(const ms_pass *p, int N)
{
    int rows = (1 << 20) / p->m->config.vocab;

    if (rows < 16) rows = 16;
    if (p->o.train && rows < p->m->config.width / 3) rows = p->m->config.width / 3;
    if (p->o.head_rows > 0) rows = p->o.head_rows;
    if (rows < p->o.batch) rows = p->o.batch;
    return rows < N ? rows : N;
}

static void place_scratch(ms_pass *p, ms_block *block)
{
    MS_PLAN_LETTERS
    const int NH = head_rows(p, N);

#define PLACE_SCRATCH(field, present, ...)                                                         \
    p->field = (present) ? MS_TAKE(a, #field, real, __VA_ARGS__) : MS_ABSENT;
    MS_PASS_SCRATCH(PLACE_SCRATCH)
}

static void place_step(ms_pass *p, ms_block *block)
{
    MS_PLAN_LETTERS
    int B = p->o.batch;

    p->step_values = ms_arena_take(a, sizeof(ms_step), "step");
    p->seq = MS_TAKE(a, "seq", MS_I32, B, 2);
    p->id = MS_TAKE(a, "id", MS_I32, N);
    p->target = MS_TAKE(a, "target", MS_I32, N);
    if (!p->o.train) {
        p->how = MS_TAKE(a, "how", MS_I32, B, 8);
        p->drawn = MS_TAKE(a, "drawn", MS_I32, B);
        p->rank = MS_TAKE(a, "rank", MS_I32, B, c->vocab);
    }
    (void)Q, (void)U, (void)real;
}

/* -- blocks ---------------------------------------------------------------------------------- */

/* The step block is uploaded with its guards, which are zeros in the staged copy. */
enum { GUARD_FILL = 0xA5, STEP_GUARD_FILL = 0 };

typedef void layout(ms_pass *p, ms_block *block);

static void place(ms_pass *p, ms_block *b, layout *fn, uint8_t guard_fill)
{
    ms_arena_init(&b->arena, b->data, b->size_bytes, p->m->device->host_memory, guard_fill);
    fn(p, b);
    MS_ASSERT(!b->arena.failed);
}

static ms_status make_block(ms_pass *p, ms_block *b, layout *fn, uint8_t guard_fill, ms_error *err)
{
    ms_arena_init(&b->arena, NULL, 0, p->m->device->host_memory, guard_fill);
    fn(p, b);
    size_t bytes = b->arena.used_bytes;
    MS_TRY(ms_device_alloc(p->m->device, bytes, &b->data, err));
    b->size_bytes = bytes;
    place(p, b, fn, guard_fill);
    return MS_OK;
}

void ms_pass_plan(ms_pass *p, int T)
{
    if (T == p->T) return;
    p->T = T;
    if (p->o.train) p->S = T;
    place(p, &p->saved, place_saved, GUARD_FILL);
    place(p, &p->scratch, place_scratch, GUARD_FILL);
    place(p, &p->step, place_step, STEP_GUARD_FILL);
    memset(p->stage, 0, p->step.size_bytes); /* old ids may lie where a guard is now */
    p->q.step = p->step_values;
}

void *ms_pass_stage(ms_pass *p, ms_tensor t)
{
    return p->stage + ((char *)t.data - (char *)p->step.data);
}

static ms_status make_blocks(ms_pass *p, ms_error *err)
{
    const ms_config *c = &p->m->config;
    ms_device *d = p->m->device;

    p->a = calloc((size_t)c->layers, sizeof *p->a);
    p->x = calloc((size_t)c->layers + 1, sizeof *p->x);
    if (!p->a || !p->x) return ms_fail(err, MS_MEMORY, "out of memory for a pass");
    p->T = p->o.rows;
    p->S = p->o.train ? p->o.rows : p->o.keys;
    p->rounded = !p->o.train && p->m->cache != d->real;
    if (p->o.train) MS_TRY(ms_params_block_new(&p->gradients, d, c, err));
    MS_TRY(make_block(p, &p->cache, place_cache, GUARD_FILL, err));
    MS_TRY(make_block(p, &p->saved, place_saved, GUARD_FILL, err));
    MS_TRY(make_block(p, &p->scratch, place_scratch, GUARD_FILL, err));
    MS_TRY(make_block(p, &p->step, place_step, STEP_GUARD_FILL, err));
    p->q.step = p->step_values;
    p->stage = calloc(1, p->step.size_bytes);
    return p->stage ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for a pass");
}

static ms_status check_options(const ms_config *c, const ms_pass_options *o, ms_error *err)
{
    if (o->batch < 1 || o->batch > 65536)
        return ms_fail(err, MS_INPUT, "batch: expected 1 to 65536, got %d", o->batch);
    if (o->rows < 1 || o->rows > c->context)
        return ms_fail(err, MS_INPUT, "rows: expected 1 to the context of %d, got %d", c->context,
                       o->rows);
    if (o->keys != 0 && (o->keys < o->rows || o->keys > c->context))
        return ms_fail(err, MS_INPUT, "keys: expected %d to the context of %d, got %d", o->rows,
                       c->context, o->keys);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return ms_fail(err, MS_INPUT, "dropout: expected 0 to below 1, got %g", o->dropout);
    if ((int64_t)o->batch * o->rows > INT32_MAX / 64)
        return ms_fail(err, MS_INPUT, "batch * rows: %d * %d tokens are too many for one pass",
                       o->batch, o->rows);
    return MS_OK;
}

ms_status ms_pass_new(ms_pass **out, ms_model *m, const ms_pass_options *o, ms_error *err)
{
    ms_pass *p;
    ms_status s;

    MS_TRY(check_options(&m->config, o, err));
    if (o->train && m->stored)
        return ms_fail(err, MS_UNSUPPORTED, "weights as their file has them cannot be trained");
    if (o->bf16 && !m->device->products_bf16)
        return ms_fail(err, MS_UNSUPPORTED, "backend %s: it has no products of bf16",
                       m->device->name);
    p = calloc(1, sizeof *p);
    if (!p) return ms_fail(err, MS_MEMORY, "out of memory for a pass");
    p->m = m;
    p->o = *o;
    if (p->o.keys == 0) p->o.keys = p->o.rows;
    p->q.device = m->device;
    p->q.bf16 = o->bf16;
    s = make_blocks(p, err);
    if (s) {
        ms_pass_free(p);
        return s;
    }
    *out = p;
    return MS_OK;
}

void ms_pass_free(ms_pass *p)
{
    ms_device *d;

    if (!p) return;
    d = p->m->device;
    ms_device_free(d, p->step.data, p->step.size_bytes);
    ms_device_free(d, p->scratch.data, p->scratch.size_bytes);
    ms_device_free(d, p->saved.data, p->saved.size_bytes);
    ms_device_free(d, p->cache.data, p->cache.size_bytes);
    ms_params_block_free(&p->gradients, d);
    free(p->stage);
    free(p->x);
    free(p->a);
    free(p);
}

ms_pass_memory ms_pass_bytes(const ms_pass *p)
{
    return (ms_pass_memory){.gradients = p->gradients.block_bytes,
                            .saved = p->saved.size_bytes,
                            .scratch = p->scratch.size_bytes + p->step.size_bytes,
                            .cache = p->cache.size_bytes};
}

ms_queue *ms_pass_queue(ms_pass *p)
{
    return &p->q;
}

ms_params *ms_pass_gradients(ms_pass *p)
{
    return p->o.train ? &p->gradients.p : NULL;
}

/* -- debugging aids -------------------------------------------------------------------------- */

#ifdef MS_DEBUG
/* What is read before it is written shows as NaN. */
void ms_pass_poison(ms_pass *p)
{
    int T = p->T;

    if (!p->m->device->host_memory) return;
    memset(p->saved.data, 0xFF, p->saved.size_bytes);
    memset(p->scratch.data, 0xFF, p->scratch.size_bytes);
    p->T = 0; /* the layout writes its guards anew */
    ms_pass_plan(p, T);
}

static ms_status check_guards(ms_pass *p, ms_error *err)
{
    const ms_block *block[] = {&p->cache, &p->saved, &p->scratch, &p->step};

    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
        MS_TRY(ms_arena_check(&block[i]->arena, err));
    if (p->o.train) MS_TRY(ms_arena_check(p->gradients.arena, err));
    return ms_arena_check(p->m->weights.arena, err);
}
#else
void ms_pass_poison(ms_pass *p)
{
    (void)p;
}

static ms_status check_guards(ms_pass *p, ms_error *err)
{
    (void)p, (void)err;
    return MS_OK;
}
#endif

ms_status ms_pass_finish(ms_pass *p, ms_error *err)
{
    MS_TRY(ms_queue_finish(&p->q, err));
    return check_guards(p, err);
}
