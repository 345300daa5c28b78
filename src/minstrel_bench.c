/* minstrel_bench - times of passes over a model, and of single ops, through the public API */
#include "minstrel_internal.h"

#include "base/clock.h"
#include "base/rng.h"
#include "ops/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prompt tokens in one pass, as generation takes them (infer/engine.c). */
enum { ROWS = 256, WARM_RUNS = 3, WARM_RUNS_MAX = 1000 };
static const double WARM_S = 0.05;

typedef struct {
    minstrel_model *m;
    int batch, tokens, runs;
    bool bf16;
    ms_pass *pass;
    int32_t *id, *target;          /* (batch, tokens) */
    ms_seq *seq;                   /* (batch) */
    ms_how *how;                   /* (batch) */
    float *loss;                   /* (batch * tokens) */
    ms_params_block first, second; /* moments, when training */
    void *norm_data;
    ms_tensor norm; /* (1) */
} bench;

/* -- what is timed --------------------------------------------------------------------------- */

/* All rows of all sequences, and the loss of each: what the logits of every position cost. */
static ms_status run_forward(bench *b, ms_error *err)
{
    return ms_pass_loss(b->pass, b->tokens, b->id, b->target, NULL, b->loss, err);
}

/* A prompt as generation runs it: in pieces, with the logits of its last token. */
static ms_status run_prefill(bench *b, ms_error *err)
{
    for (int at = 0; at < b->tokens; at += ROWS) {
        int rows = b->tokens - at < ROWS ? b->tokens - at : ROWS;

        for (int i = 0; i < b->batch; i++) b->seq[i] = (ms_seq){at, rows};
        MS_TRY(ms_pass_forward(b->pass, rows, b->id, b->seq, err));
    }
    return MS_OK;
}

/* One token behind `tokens` others, drawn greedily. */
static ms_status run_decode(bench *b, ms_error *err)
{
    for (int i = 0; i < b->batch; i++) b->seq[i] = (ms_seq){b->tokens, 1};
    MS_TRY(ms_pass_forward(b->pass, 1, b->id, b->seq, err));
    return ms_pass_sample(b->pass, b->how, b->target, err);
}

/* Zero, forward, backward, clip, AdamW. */
static ms_status run_train(bench *b, ms_error *err)
{
    ms_params *weights = &b->m->model->weights.p, *gradients = ms_pass_gradients(b->pass);
    ms_queue *q = ms_pass_queue(b->pass);
    ms_step step = {.grad_scale = 1.0f / (float)(b->batch * b->tokens),
                    .lr = 1e-4f,
                    .bias1 = 0.1f,
                    .bias2 = 0.05f,
                    .clip = 1};
    double loss;

    op(q, zero, .x = gradients->flat);
    MS_TRY(ms_pass_train(b->pass, b->id, b->target, &step, &loss, err));
    op(q, global_norm, .norm = b->norm, .x = gradients->flat);
    op(q, adamw, .w = weights->flat, .m = b->first.p.flat, .v = b->second.p.flat,
       .g = gradients->flat, .norm = b->norm, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8,
       .weight_decay = 0.1, .decayed = weights->decayed);
    return ms_queue_finish(q, err);
}

typedef struct {
    const char *what;
    ms_status (*run)(bench *b, ms_error *err);
    bool train;
    bool one_token; /* a run stands for one token a sequence */
    bool all_logits;
} kind;

static const kind KINDS[] = {{"forward", run_forward, false, false, true},
                             {"prefill", run_prefill, false, false, false},
                             {"decode", run_decode, false, true, true},
                             {"train", run_train, true, false, true}};

/* -- what it costs --------------------------------------------------------------------------- */

/* Multiplications and additions of one run, counted from the shapes of the matrix products and of
 * attention (causal: row t sees t + 1 keys); a backward costs twice its forward. */
static double flops(const bench *b, const kind *k)
{
    const ms_config *c = &b->m->model->config;
    double heads = (double)c->heads * c->head_dim, groups = (double)c->kv_heads * c->head_dim;
    double up = (c->act == MS_ACT_SWIGLU ? 2.0 : 1.0) * c->ffn;
    double layer = c->width * (heads + 2 * groups + heads + up + c->ffn);
    double rows = k->one_token ? 1 : b->tokens;
    double keys = k->one_token ? b->tokens + 1.0 : 0.5 * (b->tokens + 1.0);
    double head_rows = k->all_logits ? rows : 1;
    double one =
        2 * rows * c->layers * (layer + 2 * heads * keys) + 2 * head_rows * c->width * c->vocab;

    return b->batch * one * (k->train ? 3 : 1);
}

/* Bytes of the matrices of a stored model, of which the embedding is read as the head alone. */
static double stored_bytes(const ms_model *m)
{
    double sum = (double)ms_tensor_bytes(ms_present(m->head) ? m->head : m->embed);

    for (int l = 0; l < m->config.layers; l++) {
        const ms_stored_layer *s = &m->stored[l];
        const ms_weight *weights[] = {&s->wqkv, &s->wo, &s->w_up, &s->w_down};

        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 3 && ms_present(weights[i]->part[k]); k++)
                sum += (double)ms_tensor_bytes(weights[i]->part[k]);
    }
    return sum;
}

/* Bytes of weights that a run has to read; 0 for training, which also writes. */
static double bytes(const bench *b, const kind *k)
{
    int passes = k->what[0] == 'p' ? (b->tokens + ROWS - 1) / ROWS : 1;
    const ms_model *m = b->m->model;

    if (k->train) return 0;
    return (double)passes * (m->stored ? stored_bytes(m)
                                       : (double)ms_config_parameters(&m->config) *
                                             (double)ms_dtype_bytes(m->device->real));
}

/* -- setting up ------------------------------------------------------------------------------ */

static ms_status make_moments(bench *b, ms_error *err)
{
    ms_model *m = b->m->model;

    MS_TRY(ms_params_block_new(&b->first, m->device, &m->config, err));
    MS_TRY(ms_params_block_new(&b->second, m->device, &m->config, err));
    MS_TRY(ms_device_alloc(m->device, ms_dtype_bytes(m->device->real), &b->norm_data, err));
    b->norm = MS_TENSOR(b->norm_data, m->device->real, 1);
    return MS_OK;
}

static ms_status make_input(bench *b, ms_error *err)
{
    size_t batch = (size_t)b->batch, rows = batch * (size_t)b->tokens;
    ms_rng r = ms_rng_new(1, 0, MS_SITE_TEST);

    b->id = calloc(rows, sizeof *b->id);
    b->target = calloc(rows, sizeof *b->target);
    b->seq = calloc(batch, sizeof *b->seq);
    b->how = calloc(batch, sizeof *b->how);
    b->loss = calloc(rows, sizeof *b->loss);
    if (!b->id || !b->target || !b->seq || !b->how || !b->loss)
        return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", rows);
    for (size_t i = 0; i < rows; i++) {
        b->id[i] = (int32_t)ms_rng_below(&r, (uint32_t)b->m->model->config.vocab);
        b->target[i] = (int32_t)ms_rng_below(&r, (uint32_t)b->m->model->config.vocab);
    }
    for (size_t i = 0; i < batch; i++) b->how[i] = (ms_how){.top_p = 1};
    return MS_OK;
}

static ms_status make(bench *b, const kind *k, ms_error *err)
{
    int context = b->m->model->config.context;
    int keys = k->one_token ? b->tokens + 1 : b->tokens;
    bool pieces = k->what[0] == 'p' || k->one_token;
    ms_pass_options o = {.batch = b->batch, .train = k->train, .bf16 = b->bf16};

    if (b->tokens < 1 || keys > context)
        return ms_fail(err, MS_INPUT, "tokens: expected 1 to %d for %s, got %d",
                       k->one_token ? context - 1 : context, k->what, b->tokens);
    o.rows = pieces && b->tokens > ROWS ? ROWS : b->tokens;
    o.keys = k->train ? 0 : keys;
    MS_TRY(ms_pass_new(&b->pass, b->m->model, &o, err));
    MS_TRY(make_input(b, err));
    if (k->train) MS_TRY(make_moments(b, err));
    return k->one_token ? run_prefill(b, err) : MS_OK;
}

static void clear(bench *b)
{
    ms_device *d = b->m ? b->m->device : NULL;

    ms_pass_free(b->pass);
    if (d) {
        ms_params_block_free(&b->first, d);
        ms_params_block_free(&b->second, d);
        ms_device_free(d, b->norm_data, b->norm_data ? ms_dtype_bytes(d->real) : 0);
    }
    free(b->id);
    free(b->target);
    free(b->seq);
    free(b->how);
    free(b->loss);
    minstrel_model_free(b->m);
}

/* -- timing ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static ms_status time_runs(bench *b, const kind *k, double *time_s, ms_error *err)
{
    double start_s = ms_clock();

    for (int i = 0; i < WARM_RUNS || (i < WARM_RUNS_MAX && ms_clock() - start_s < WARM_S); i++)
        MS_TRY(k->run(b, err));
    for (int i = 0; i < b->runs; i++) {
        start_s = ms_clock();
        MS_TRY(k->run(b, err));
        time_s[i] = ms_clock() - start_s;
    }
    qsort(time_s, (size_t)b->runs, sizeof *time_s, by_value);
    return MS_OK;
}

/* What the machine can do. */
typedef struct {
    double read_rate, flop_rate; /* 0: not known */
} ceilings;

static ms_status measure_ceilings(ms_device *d, ms_ceiling unit, ceilings *out, ms_error *err)
{
    out->flop_rate = d->ceiling ? d->ceiling(d, unit) : 0;
    return ms_bench_read_rate(d, &out->read_rate, err);
}

static double share(double rate, double ceiling)
{
    return ceiling > 0 ? rate / ceiling : 0;
}

static void report(const bench *b, const kind *k, const double *time_s, ceilings most,
                   minstrel_bench_fn *fn, void *data)
{
    const ms_config *c = &b->m->model->config;
    double median = 0.5 * (time_s[(b->runs - 1) / 2] + time_s[b->runs / 2]);
    double tokens = (double)b->batch * (k->one_token ? 1 : b->tokens);
    char label[160];
    const ms_model *m = b->m->model;
    bool rounded = !k->train && m->cache != m->device->real;
    minstrel_bench_row row = {.name = k->what,
                              .label = label,
                              .median_s = median,
                              .min_s = time_s[0],
                              .max_s = time_s[b->runs - 1],
                              .runs = b->runs,
                              .tokens_per_s = tokens / median,
                              .flops_per_s = flops(b, k) / median,
                              .bytes_per_s = bytes(b, k) / median,
                              .read_share = share(bytes(b, k) / median, most.read_rate),
                              .flop_share = share(flops(b, k) / median, most.flop_rate)};

    snprintf(label, sizeof label, "%s, %.2fM parameters, %d x %d tokens%s%s%s%s", c->arch,
             (double)ms_config_parameters(c) * 1e-6, b->batch, b->tokens,
             k->one_token ? " + 1" : "", b->bf16 ? ", bf16" : "", rounded ? ", cache " : "",
             rounded ? ms_dtype_name(m->cache) : "");
    fn(data, &row);
}

/* -- single ops ------------------------------------------------------------------------------ */

typedef struct {
    minstrel_bench_fn *fn;
    void *data;
    ceilings most;
} listener;

static void pass_on(void *data, const ms_bench_row *r)
{
    const listener *l = data;
    minstrel_bench_row row = {.name = ms_op_name(r->op),
                              .label = r->label,
                              .median_s = r->median_s,
                              .min_s = r->min_s,
                              .max_s = r->max_s,
                              .runs = r->runs,
                              .flops_per_s = r->flops / r->median_s,
                              .bytes_per_s = r->bytes / r->median_s,
                              .read_share = share(r->bytes / r->median_s, l->most.read_rate),
                              .flop_share = share(r->flops / r->median_s, l->most.flop_rate)};

    l->fn(l->data, &row);
}

static void report_pool(ms_device *d, const listener *l)
{
    ms_bench_pool_row r[2];
    int rows = ms_bench_pool(d, r);

    for (int i = 0; i < rows; i++) {
        char label[32];
        minstrel_bench_row row = {.name = r[i].name,
                                  .label = label,
                                  .median_s = r[i].median_s,
                                  .min_s = r[i].min_s,
                                  .max_s = r[i].max_s,
                                  .runs = r[i].runs};

        snprintf(label, sizeof label, "%d threads", r[i].threads);
        l->fn(l->data, &row);
    }
}

/* "pool" names the rows of the pool, as a part of an op's name names that op's. */
static bool wants_pool(const char *filter)
{
    return !filter || strncmp(filter, "pool", 4) == 0;
}

static ms_status bench_ops(const char *filter, const minstrel_options *o, listener *l,
                           ms_error *err)
{
    ms_bench_options options = {.filter = filter};
    ms_device *d;
    ms_status s;

    MS_TRY(ms_open_device(&d, o, err));
    options.slow = filter && d->pool; /* asked for, and in parallel */
    s = measure_ceilings(d, MS_CEILING_F32, &l->most, err);
    if (!s && wants_pool(filter)) report_pool(d, l);
    if (!s && !(filter && wants_pool(filter))) s = ms_bench_ops(d, &options, pass_on, l, err);
    ms_device_close(d);
    return s;
}

/* -- the public functions -------------------------------------------------------------------- */

minstrel_bench_options minstrel_default_bench_options(void)
{
    return (minstrel_bench_options){.size = sizeof(minstrel_bench_options),
                                    .what = "prefill",
                                    .preset = "llama",
                                    .shape = minstrel_default_shape(),
                                    .batch = 1,
                                    .runs = 20};
}

static const kind *find_kind(const char *what)
{
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (what && strcmp(KINDS[i].what, what) == 0) return &KINDS[i];
    return NULL;
}

static ms_status bench_model(bench *b, const kind *k, const minstrel_bench_options *o,
                             minstrel_bench_fn *fn, void *data, ms_error *err)
{
    double *time_s;
    ceilings most;
    ms_status s;

    b->batch = o->batch;
    b->runs = o->runs;
    if (o->dtype) MS_TRY(ms_products_bf16(o->dtype, &b->bf16, err));
    b->tokens = o->tokens ? o->tokens : k->train ? b->m->model->config.context : 5;
    if (b->batch < 1) return ms_fail(err, MS_INPUT, "batch: expected 1 or more, got %d", b->batch);
    if (b->runs < 1) return ms_fail(err, MS_INPUT, "runs: expected 1 or more, got %d", b->runs);
    MS_TRY(make(b, k, err));
    MS_TRY(measure_ceilings(b->m->device, b->bf16 ? MS_CEILING_BF16 : MS_CEILING_F32, &most, err));
    time_s = calloc((size_t)b->runs, sizeof *time_s);
    if (!time_s) return ms_fail(err, MS_MEMORY, "out of memory for %d times", b->runs);
    s = time_runs(b, k, time_s, err);
    if (!s) report(b, k, time_s, most, fn, data);
    free(time_s);
    return s;
}

minstrel_status minstrel_bench(const minstrel_bench_options *given, const minstrel_options *o,
                               minstrel_bench_fn *fn, void *data, minstrel_error *err)
{
    minstrel_bench_options options = minstrel_default_bench_options();
    minstrel_status status;
    bench b = {0};
    ms_error e;

    ms_options_copy(&options, given, sizeof options);
    const kind *k = find_kind(options.what);
    if (!k)
        return ms_give(
            err, ms_fail(&e, MS_INPUT, "bench: expected forward, prefill, decode or train"), &e);
    if (options.model)
        status = minstrel_model_open(&b.m, options.model, o, err);
    else
        status = minstrel_model_new(&b.m, options.preset, &options.shape, 1, o, err);
    if (!status) status = ms_give(err, bench_model(&b, k, &options, fn, data, &e), &e);
    clear(&b);
    return status;
}

minstrel_status minstrel_bench_ops(const char *filter, const minstrel_options *o,
                                   minstrel_bench_fn *fn, void *data, minstrel_error *err)
{
    listener l = {.fn = fn, .data = data};
    ms_error e;

    return ms_give(err, bench_ops(filter, o, &l, &e), &e);
}
