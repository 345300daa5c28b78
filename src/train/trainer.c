/* trainer - the step loop over a model, a loader and a run folder */
#include "train/run.h"

#include "base/clock.h"
#include "formats/snapshot.h"
#include "infer/generate.h"
#include "model/arch.h"
#include "model/folder.h"
#include "text/tokenizer_gguf.h"
#include "train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- making: data ---------------------------------------------------------------------------- */

static ms_status run_path(const char *run, const char *name, char out[MS_RUN_PATH_BYTES],
                          ms_error *err)
{
    return ms_path_join(out, MS_RUN_PATH_BYTES, run, name, err);
}

/* The path of a model's tokenizer.json; that of a GGUF file is written to the folder first. */
static ms_status tokenizer_of(const char *model, const char *folder, char path[MS_RUN_PATH_BYTES],
                              ms_error *err)
{
    ms_tokenizer *t;
    ms_gguf *g;
    ms_status s;

    if (!ms_is_gguf(model)) return run_path(model, "tokenizer.json", path, err);
    MS_TRY(ms_folder_make(folder, err));
    MS_TRY(run_path(folder, "of-gguf.json", path, err));
    MS_TRY(ms_gguf_open(&g, model, err));
    s = ms_tokenizer_from_gguf(&t, g, err);
    ms_gguf_close(g);
    if (s) return s;
    s = ms_tokenizer_save(t, path, err);
    ms_tokenizer_free(t);
    return s;
}

/* Prepared data is complete when its tokenizer, which is written last, is there. */
static ms_status make_data(ms_trainer *t, bool prepared, ms_error *err)
{
    char folder[MS_RUN_PATH_BYTES], path[MS_RUN_PATH_BYTES];
    char own[MS_RUN_PATH_BYTES];
    ms_prepare_options data = t->o.data;

    MS_TRY(run_path(t->out, "data", folder, err));
    MS_TRY(run_path(folder, "tokenizer.json", path, err));
    if (prepared) return ms_tokenizer_load(&t->tokenizer, path, err);
    if (!data.tokenizer && t->o.init_path) {
        MS_TRY(tokenizer_of(t->o.init_path, folder, own, err));
        data.tokenizer = own;
    }
    if (!data.tokenizer) data.tokenizer = "bytes";
    if (remove(path) && ms_path_exists(path)) return ms_fail_errno(err, path, "cannot replace");
    return ms_prepare(&data, folder, &t->tokenizer, &t->log, err);
}

static ms_status open_shards(ms_trainer *t, ms_error *err)
{
    char path[MS_RUN_PATH_BYTES];

    MS_TRY(run_path(t->out, "data/train.tokens", path, err));
    MS_TRY(ms_shard_open(&t->train, path, err));
    MS_TRY(run_path(t->out, "data/held_out.tokens", path, err));
    MS_TRY(ms_shard_open(&t->held_out, path, err));
    ms_log_line(&t->log, "data: %llu tokens to train on, %llu held out",
                (unsigned long long)t->train.tokens, (unsigned long long)t->held_out.tokens);
    return MS_OK;
}

/* -- making: model --------------------------------------------------------------------------- */

/* The shape of a new model: preset or config.json, then what was given on top. */
static ms_status new_config(const ms_trainer *t, ms_config *c, ms_error *err)
{
    int vocab = ms_tokenizer_vocab(t->tokenizer);

    if (t->o.config_path)
        MS_TRY(ms_config_read(c, t->o.config_path, err));
    else
        MS_TRY(ms_config_preset(c, t->o.preset ? t->o.preset : "llama", err));
    ms_config_reshape(c, &t->o.shape);
    if (t->o.shape.vocab > 0 && t->o.shape.vocab < vocab)
        return ms_fail(err, MS_INPUT, "vocab: %d is less than the tokenizer's %d", t->o.shape.vocab,
                       vocab);
    if (t->o.shape.vocab == 0) c->vocab = vocab;
    c->bos = ms_tokenizer_bos(t->tokenizer);
    c->eos = ms_tokenizer_eos(t->tokenizer);
    return MS_OK;
}

static ms_status init_kind(const ms_trainer *t, ms_init *kind, ms_error *err)
{
    const char *name = t->o.initialise ? t->o.initialise : "xavier";

    *kind = !strcmp(name, "xavier") ? MS_INIT_XAVIER : MS_INIT_NORMAL;
    if (strcmp(name, "xavier") != 0 && strcmp(name, "normal") != 0)
        return ms_fail(err, MS_INPUT, "initialise: expected normal or xavier, got %s", name);
    return MS_OK;
}

/* A model that exists has its shape: options that say otherwise are refused. */
static ms_status check_shape(const ms_config *have, const ms_config *want, ms_error *err)
{
#define SAME(field)                                                                                \
    if (want->field > 0 && want->field != have->field)                                             \
        return ms_fail(err, MS_INPUT, #field ": the model has %d, it cannot become %d",            \
                       have->field, want->field);
    SAME(layers)
    SAME(width)
    SAME(heads)
    SAME(kv_heads)
    SAME(head_dim)
    SAME(ffn)
    SAME(vocab)
    if (want->context > have->context)
        return ms_fail(err, MS_INPUT, "context: the model has %d, it cannot be trained on %d",
                       have->context, want->context);
    return MS_OK;
}

/* Tokens of a sequence in training: fewer than the context where a model that exists is tuned. */
static ms_status set_window(ms_trainer *t, ms_error *err)
{
    int context = t->model->config.context, wanted = t->o.shape.context;

    if (t->o.window > 0 && wanted > 0 && t->o.window != wanted)
        return ms_fail(err, MS_INPUT, "context: the run has windows of %d, it cannot go on with %d",
                       t->o.window, wanted);
    if (t->o.window < 1) t->o.window = wanted > 0 ? wanted : context;
    if (t->o.window <= context) return MS_OK;
    return ms_fail(err, MS_INPUT, "window: expected 1 to the context of %d, got %d", context,
                   t->o.window);
}

static ms_status make_model(ms_trainer *t, const char *folder, ms_error *err)
{
    ms_config c;
    ms_init kind;

    if (folder) {
        MS_TRY(ms_model_load(&t->model, t->device, folder, err));
        MS_TRY(check_shape(&t->model->config, &t->o.shape, err));
        if (t->model->config.vocab < ms_tokenizer_vocab(t->tokenizer))
            return ms_fail(err, MS_INPUT, "the model has %d tokens, the tokenizer %d",
                           t->model->config.vocab, ms_tokenizer_vocab(t->tokenizer));
        return MS_OK;
    }
    MS_TRY(new_config(t, &c, err));
    MS_TRY(init_kind(t, &kind, err));
    MS_TRY(ms_model_new(&t->model, t->device, &c, err));
    return ms_model_init(t->model, kind, t->o.seed, err);
}

static ms_status make_pass(ms_trainer *t, ms_error *err)
{
    const ms_config *c = &t->model->config;
    ms_pass_options o = {.batch = t->o.batch,
                         .rows = t->o.window,
                         .train = true,
                         .recompute = t->o.recompute > 0,
                         .bf16 = t->o.bf16 > 0,
                         .dropout = (float)t->o.dropout};
    size_t count = (size_t)t->o.batch * (size_t)t->o.window;

    MS_TRY(ms_pass_new(&t->pass, t->model, &o, err));
    MS_TRY(ms_params_block_new(&t->m, t->device, c, err));
    MS_TRY(ms_params_block_new(&t->v, t->device, c, err));
    MS_TRY(ms_device_alloc(t->device, sizeof(double), &t->norm_data, err));
    t->norm = MS_TENSOR(t->norm_data, t->device->real, 1);
    t->id = malloc(count * sizeof *t->id);
    t->target = malloc(count * sizeof *t->target);
    if (!t->id || !t->target) return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", count);
    return ms_loader_init(&t->loader, &t->train, t->o.window, t->o.seed, err);
}

static void log_shape(const ms_trainer *t)
{
    const ms_config *c = &t->model->config;
    ms_pass_memory b = ms_pass_bytes(t->pass);
    size_t weights = t->model->weights.block_bytes;

    ms_log_line(&t->log,
                "model: %s, %zu parameters: %d layers, width %d, %d heads (%d of keys), ffn %d, "
                "context %d, vocabulary %d",
                c->arch, ms_config_parameters(c), c->layers, c->width, c->heads, c->kv_heads,
                c->ffn, c->context, c->vocab);
    if (t->o.window < c->context)
        ms_log_line(&t->log, "windows of %d tokens, less than the context", t->o.window);
    if (t->o.bf16) ms_log_line(&t->log, "products of matrices: bf16, sums and weights f32");
    ms_log_line(&t->log,
                "memory: %.1f MB weights, %.1f MB gradients and moments, %.1f MB activations",
                (double)weights / 1e6, (double)(b.gradients + 2 * weights) / 1e6,
                (double)(b.saved + b.scratch) / 1e6);
}

/* -- making: the run ------------------------------------------------------------------------- */

/* Refuses to start a run over another; finds the snapshot of a resume ("" when it has none yet). */
static ms_status find_run(const ms_train_options *o, char snapshot[MS_RUN_PATH_BYTES], long *step,
                          ms_error *err)
{
    char checkpoints[MS_RUN_PATH_BYTES];
    ms_status s;

    MS_TRY(run_path(o->out, "checkpoints", checkpoints, err));
    s = ms_snapshot_last(checkpoints, step, snapshot, MS_RUN_PATH_BYTES, err);
    if (s == MS_INPUT) { /* none */
        snapshot[0] = 0;
        if (!o->resume || ms_path_is_folder(o->out)) return MS_OK;
        return ms_fail_at(err, MS_INPUT, o->out, -1, "there is no run to resume");
    }
    if (s || o->resume) return s;
    return ms_fail_at(
        err, MS_INPUT, o->out, -1,
        "holds a run at step %ld: continue it with --resume, or choose another folder", *step);
}

static ms_status make(ms_trainer *t, ms_error *err)
{
    char snapshot[MS_RUN_PATH_BYTES], ready[MS_RUN_PATH_BYTES];
    bool resumes;
    long step;

    MS_TRY(find_run(&t->o, snapshot, &step, err));
    resumes = snapshot[0] != 0;
    if (resumes) MS_TRY(ms_checkpoint_options(snapshot, &t->o, err));
    ms_train_options_default(&t->o);
    MS_TRY(ms_train_options_check(&t->o, err));
    MS_TRY(ms_folder_make(t->out, err));
    MS_TRY(run_path(t->out, "data/tokenizer.json", ready, err));
    if (t->o.resume && !resumes && t->o.data.paths == 0 && !ms_path_exists(ready))
        return ms_fail_at(err, MS_INPUT, t->out, -1,
                          "has no checkpoint yet: give --data to start it");
    MS_TRY(make_data(t, resumes || (t->o.data.paths == 0 && t->o.resume), err));
    MS_TRY(open_shards(t, err));
    MS_TRY(make_model(t, resumes ? snapshot : t->o.init_path, err));
    MS_TRY(set_window(t, err));
    MS_TRY(make_pass(t, err));
    if (resumes) MS_TRY(ms_checkpoint_load(t, snapshot, step, err));
    if (t->o.resume) {
        ms_log_line(&t->log, "resume: step %lld", (long long)t->step);
        MS_TRY(ms_metrics_resume(t->out, t->step, err));
    }
    log_shape(t);
    return MS_OK;
}

ms_status ms_trainer_new(ms_trainer **out, ms_device *d, const ms_train_options *o,
                         const ms_log *log, ms_error *err)
{
    ms_trainer *t = calloc(1, sizeof *t);
    ms_status s;

    if (!t) return ms_fail(err, MS_MEMORY, "out of memory for a trainer");
    if (!o->out || !o->out[0]) {
        free(t);
        return ms_fail(err, MS_INPUT, "a run needs an output folder");
    }
    t->o = *o;
    t->device = d;
    t->saved_step = -1;
    if (log) t->log = *log;
    t->out = strdup(o->out);
    if (o->sample_prompt) t->sample_prompt = strdup(o->sample_prompt);
    t->o.out = t->out;
    s = t->out && (t->sample_prompt || !o->sample_prompt)
            ? make(t, err)
            : ms_fail(err, MS_MEMORY, "out of memory");
    if (s) {
        ms_trainer_free(t);
        return s;
    }
    *out = t;
    return MS_OK;
}

void ms_trainer_free(ms_trainer *t)
{
    if (!t) return;
    free(t->id);
    free(t->target);
    ms_params_block_free(&t->m, t->device);
    ms_params_block_free(&t->v, t->device);
    ms_device_free(t->device, t->norm_data, t->norm_data ? sizeof(double) : 0);
    ms_pass_free(t->pass);
    ms_model_free(t->model);
    ms_tokenizer_free(t->tokenizer);
    ms_shard_close(&t->train);
    ms_shard_close(&t->held_out);
    free(t->sample_prompt);
    free(t->out);
    free(t);
}

/* -- gradients ------------------------------------------------------------------------------- */

static ms_step step_values(const ms_trainer *t, double grad_scale, double lr)
{
    double n = (double)t->updates + 1;

    return (ms_step){.seed = {(uint32_t)t->o.seed, (uint32_t)(t->o.seed >> 32)},
                     .counter = (uint32_t)t->micro_steps,
                     .grad_scale = (float)grad_scale,
                     .lr = (float)lr,
                     .bias1 = (float)(1 - pow(t->o.beta1, n)),
                     .bias2 = (float)(1 - pow(t->o.beta2, n)),
                     .clip = (float)t->o.clip};
}

ms_status ms_trainer_zero_gradients(ms_trainer *t, ms_error *err)
{
    ms_queue *q = ms_pass_queue(t->pass);

    op(q, zero, .x = ms_pass_gradients(t->pass)->flat);
    return ms_queue_finish(q, err);
}

ms_status ms_trainer_add_gradients(ms_trainer *t, const int32_t *id, const int32_t *target,
                                   double *loss, ms_error *err)
{
    size_t count = (size_t)t->o.batch * (size_t)t->o.window, targets = 0;
    ms_step step;
    double sum;

    for (size_t i = 0; i < count; i++) targets += target[i] >= 0;
    if (targets == 0) return ms_fail(err, MS_INPUT, "no target counts");
    step = step_values(t, 1 / (double)targets, 0);
    MS_TRY(ms_pass_train(t->pass, id, target, &step, &sum, err));
    t->micro_steps++;
    *loss = sum / (double)targets;
    return MS_OK;
}

ms_status ms_trainer_apply_gradients(ms_trainer *t, double lr, double *grad_norm, ms_error *err)
{
    ms_queue *q = ms_pass_queue(t->pass);
    ms_params *w = &t->model->weights.p;
    ms_tensor g = ms_pass_gradients(t->pass)->flat;
    ms_step step = step_values(t, 0, lr);

    ms_pass_set_step(t->pass, &step);
    op(q, global_norm, .norm = t->norm, .x = g);
    op(q, adamw, .w = w->flat, .m = t->m.p.flat, .v = t->v.p.flat, .g = g, .norm = t->norm,
       .beta1 = t->o.beta1, .beta2 = t->o.beta2, .eps = t->o.eps, .weight_decay = t->o.weight_decay,
       .decayed = w->decayed);
    ms_read_reals(q, t->norm, grad_norm);
    MS_TRY(ms_queue_finish(q, err));
    if (isfinite(*grad_norm)) t->updates++;
    return MS_OK;
}

/* -- a step ---------------------------------------------------------------------------------- */

/* All micro-steps: *loss is the mean over the step's targets. */
static ms_status accumulate(ms_trainer *t, double *loss, ms_error *err)
{
    int rows = t->o.window;
    double targets = (double)t->o.accumulate * t->o.batch * rows, sum = 0;

    MS_TRY(ms_trainer_zero_gradients(t, err));
    for (int i = 0; i < t->o.accumulate; i++) {
        ms_step step = step_values(t, 1 / targets, 0);
        double part;

        for (int b = 0; b < t->o.batch; b++)
            ms_loader_next(&t->loader, t->id + (size_t)b * (size_t)rows,
                           t->target + (size_t)b * (size_t)rows);
        MS_TRY(ms_pass_train(t->pass, t->id, t->target, &step, &part, err));
        t->micro_steps++;
        sum += part;
    }
    *loss = sum / targets;
    return MS_OK;
}

/* Saves the run as it was before the step, then names the first tensor that is not finite. */
static ms_status stop_nonfinite(ms_trainer *t, double loss, double norm, ms_error *err)
{
    ms_queue *q = ms_pass_queue(t->pass);
    const ms_config *c = &t->model->config;
    char name[40] = "loss";
    const char *kind = "";

    if (ms_params_nonfinite(q, &t->model->weights.p, c, name)) {
        kind = "weight ";
    } else {
        if (ms_params_nonfinite(q, ms_pass_gradients(t->pass), c, name)) kind = "gradient ";
        if (t->saved_step != t->step) MS_TRY(ms_checkpoint_save(t, err));
    }
    return ms_fail(err, MS_NONFINITE,
                   "step %lld: loss %g, gradient norm %g; the first bad tensor is %s%s",
                   (long long)t->step + 1, loss, norm, kind, name);
}

static void fill_progress(const ms_trainer *t, ms_progress *p, double loss, double norm, double lr,
                          double seconds)
{
    double tokens = (double)t->o.batch * t->o.accumulate * t->o.window;

    *p = (ms_progress){.step = t->step,
                       .steps = t->o.steps,
                       .loss = loss,
                       .grad_norm = norm,
                       .lr = lr,
                       .tokens_per_s = tokens / seconds,
                       .seconds = t->seconds,
                       .left_s = t->seconds / (double)t->step * (double)(t->o.steps - t->step),
                       .tokens = t->tokens};
}

ms_status ms_trainer_step(ms_trainer *t, ms_progress *out, ms_error *err)
{
    ms_schedule plan = {.kind = (ms_schedule_kind)t->o.schedule,
                        .lr = t->o.lr,
                        .min_lr = t->o.min_lr,
                        .warmup = t->o.warmup,
                        .steps = t->o.steps,
                        .decay = t->o.decay};
    double start = ms_clock(), lr = ms_schedule_rate(&plan, t->step), loss, norm = NAN, seconds;
    uint64_t drawn = t->loader.drawn, micro_steps = t->micro_steps;
    ms_status s = accumulate(t, &loss, err);

    if (!s && isfinite(loss)) s = ms_trainer_apply_gradients(t, lr, &norm, err);
    if (s || !isfinite(loss) || !isfinite(norm)) { /* the next try has the same windows and masks */
        ms_loader_seek(&t->loader, drawn);
        t->micro_steps = micro_steps;
        return s ? s : stop_nonfinite(t, loss, norm, err);
    }
    seconds = ms_clock() - start;
    t->step++;
    t->seconds += seconds;
    t->tokens += (uint64_t)t->o.batch * (uint64_t)t->o.accumulate * (uint64_t)t->o.window;
    fill_progress(t, out, loss, norm, lr, seconds);
    return ms_metrics_step(t->out, out, err);
}

/* -- the run --------------------------------------------------------------------------------- */

ms_status ms_trainer_evaluate(ms_trainer *t, ms_evaluation *out, ms_error *err)
{
    if (t->held_out.tokens < 2) {
        *out = (ms_evaluation){.loss = NAN, .perplexity = NAN, .bits_per_byte = NAN};
        return MS_OK;
    }
    MS_TRY(ms_evaluate_shard(t->pass, &t->held_out, t->o.batch, t->o.window, out, err));
    ms_log_line(&t->log, "step %lld: held-out loss %.4f, %.4f bits per byte", (long long)t->step,
                out->loss, out->bits_per_byte);
    return ms_metrics_evaluation(t->out, t->step, out, err);
}

ms_status ms_trainer_save(ms_trainer *t, ms_error *err)
{
    return ms_checkpoint_save(t, err);
}

/* The first characters of the held-out text, whole ones; "" when there are none. */
static void default_prompt(const ms_trainer *t, char *out, size_t room)
{
    size_t used = 0, whole;

    for (uint64_t i = 0; i < t->held_out.tokens && used < 24; i++) {
        size_t n;
        const char *piece = ms_tokenizer_piece(t->tokenizer, ms_shard_token(&t->held_out, i), &n);

        if (!piece || used + n >= room || memchr(piece, 0, n)) break;
        memcpy(out + used, piece, n);
        used += n;
    }
    whole = used - ms_utf8_pending(out, used);
    out[whole] = 0;
}

static char *one_line(char *text)
{
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    return text;
}

/* Some text in the log, so that one sees what the model has learnt. */
static ms_status show_sample(ms_trainer *t, ms_error *err)
{
    char prompt[64];
    const char *text = t->sample_prompt;
    ms_generate_options o = ms_generate_defaults();
    ms_generated g = {0};
    ms_status s;

    if (!text) default_prompt(t, prompt, sizeof prompt);
    if (!text) text = prompt;
    if (!text[0]) return MS_OK;
    o.max_tokens = 120;
    o.temperature = 0.8f;
    o.seed = t->o.seed;
    s = ms_generate(t->model, t->tokenizer, &text, 1, &o, &g, err);
    if (!s) ms_log_line(&t->log, "step %lld: ... %s", (long long)t->step, one_line(g.text));
    ms_generated_clear(&g);
    return s;
}

static bool due(int64_t every, int64_t step)
{
    return every > 0 && step % every == 0;
}

/* What follows step t->step; the last step's evaluation and snapshot are done by the caller. */
static ms_status between_steps(ms_trainer *t, ms_error *err)
{
    ms_evaluation e;

    if (t->step >= t->o.steps) return MS_OK;
    if (due(t->o.eval_every, t->step)) MS_TRY(ms_trainer_evaluate(t, &e, err));
    if (due(t->o.sample_every, t->step)) MS_TRY(show_sample(t, err));
    if (due(t->o.save_every, t->step)) MS_TRY(ms_checkpoint_save(t, err));
    return MS_OK;
}

ms_status ms_trainer_run(ms_trainer *t, int (*on_step)(void *data, const ms_progress *p),
                         void *data, ms_evaluation *final, ms_error *err)
{
    ms_evaluation e;

    while (t->step < t->o.steps) {
        ms_progress p;

        MS_TRY(ms_trainer_step(t, &p, err));
        if (on_step && on_step(data, &p)) {
            MS_TRY(ms_checkpoint_save(t, err));
            return ms_fail(err, MS_INTERRUPTED, "stopped at step %lld; continue with --resume",
                           (long long)t->step);
        }
        MS_TRY(between_steps(t, err));
    }
    if (t->saved_step != t->step) MS_TRY(ms_checkpoint_save(t, err));
    MS_TRY(ms_trainer_evaluate(t, &e, err));
    if (t->o.sample_every > 0) MS_TRY(show_sample(t, err));
    if (final) *final = e;
    return MS_OK;
}

ms_model *ms_trainer_model(ms_trainer *t)
{
    return t->model;
}

ms_tokenizer *ms_trainer_tokenizer(ms_trainer *t)
{
    return t->tokenizer;
}

int64_t ms_trainer_steps_done(const ms_trainer *t)
{
    return t->step;
}
