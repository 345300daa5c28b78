/* minstrel_train - training through the public API */
#include "minstrel_internal.h"

#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

struct minstrel_trainer {
    ms_device *device;
    ms_trainer *trainer;
    minstrel_model model; /* lends the trainer's */
};

minstrel_evaluation ms_public_evaluation(const ms_evaluation *e)
{
    return (minstrel_evaluation){.tokens = e->tokens,
                                 .text_bytes = e->text_bytes,
                                 .loss = e->loss,
                                 .perplexity = e->perplexity,
                                 .bits_per_byte = e->bits_per_byte,
                                 .seconds = e->seconds};
}

minstrel_train_options minstrel_default_train_options(void)
{
    return (minstrel_train_options){.size = sizeof(minstrel_train_options),
                                    .shape = minstrel_default_shape(),
                                    .held_out_fraction = 0.1,
                                    .steps = -1,
                                    .batch = -1,
                                    .accumulate = -1,
                                    .lr = -1,
                                    .min_lr = -1,
                                    .warmup = -1,
                                    .decay = -1,
                                    .weight_decay = -1,
                                    .beta1 = -1,
                                    .beta2 = -1,
                                    .eps = -1,
                                    .clip = -1,
                                    .dropout = -1,
                                    .recompute = -1,
                                    .eval_every = -1,
                                    .save_every = -1,
                                    .sample_every = -1,
                                    .keep = -1};
}

static ms_status inner_options(const minstrel_train_options *t, ms_train_options *o, ms_error *err)
{
    ms_schedule_kind schedule = MS_SCHEDULE_COSINE;
    bool bf16;

    *o = ms_train_options_new();
    o->preset = t->preset;
    o->config_path = t->config;
    o->init_path = t->init;
    o->shape = ms_wanted_config(&t->shape);
    o->initialise = t->initialise;
    o->data = (ms_prepare_options){.path = t->data,
                                   .paths = t->datas,
                                   .held_out = t->held_out,
                                   .held_outs = t->held_outs,
                                   .held_out_fraction = t->held_out_fraction,
                                   .tokenizer = t->tokenizer};
    o->out = t->out;
    o->resume = t->resume != 0;
    o->seed = t->seed;
    o->sample_prompt = t->sample_prompt;
    o->steps = t->steps;
    o->batch = t->batch;
    o->accumulate = t->accumulate;
    o->lr = t->lr;
    o->min_lr = t->min_lr;
    o->warmup = t->warmup;
    o->decay = t->decay;
    o->weight_decay = t->weight_decay;
    o->beta1 = t->beta1;
    o->beta2 = t->beta2;
    o->eps = t->eps;
    o->clip = t->clip;
    o->dropout = t->dropout;
    o->recompute = t->recompute;
    o->eval_every = t->eval_every;
    o->save_every = t->save_every;
    o->sample_every = t->sample_every;
    o->keep = t->keep;
    if (t->schedule) {
        MS_TRY(ms_schedule_find(t->schedule, &schedule, err));
        o->schedule = (int)schedule;
    }
    if (t->dtype) MS_TRY(ms_products_bf16(t->dtype, &bf16, err));
    if (t->dtype) o->bf16 = bf16;
    if ((t->preset != NULL) + (t->config != NULL) + (t->init != NULL) > 1)
        return ms_fail(err, MS_INPUT, "give one of preset, config and init");
    return MS_OK;
}

static ms_status open_trainer(minstrel_trainer *t, const minstrel_train_options *given,
                              const minstrel_options *o, ms_error *err)
{
    minstrel_train_options options = minstrel_default_train_options();
    ms_train_options inner;
    ms_log log = ms_log_of(o);

    ms_options_copy(&options, given, sizeof options);
    MS_TRY(inner_options(&options, &inner, err));
    MS_TRY(ms_open_device(&t->device, o, err));
    MS_TRY(ms_trainer_new(&t->trainer, t->device, &inner, &log, err));
    t->model = (minstrel_model){.device = t->device,
                                .model = ms_trainer_model(t->trainer),
                                .tokenizer = ms_trainer_tokenizer(t->trainer),
                                .lent = true};
    return MS_OK;
}

minstrel_status minstrel_trainer_new(minstrel_trainer **out, const minstrel_train_options *given,
                                     const minstrel_options *o, minstrel_error *err)
{
    minstrel_trainer *t = calloc(1, sizeof *t);
    ms_error e;
    ms_status s =
        t ? open_trainer(t, given, o, &e) : ms_fail(&e, MS_MEMORY, "out of memory for a trainer");

    if (s)
        minstrel_trainer_free(t);
    else
        *out = t;
    return ms_give(err, s, &e);
}

void minstrel_trainer_free(minstrel_trainer *t)
{
    if (!t) return;
    ms_trainer_free(t->trainer);
    ms_device_close(t->device);
    free(t);
}

static minstrel_progress public_progress(const ms_progress *p)
{
    return (minstrel_progress){.step = p->step,
                               .steps = p->steps,
                               .loss = p->loss,
                               .grad_norm = p->grad_norm,
                               .lr = p->lr,
                               .tokens_per_s = p->tokens_per_s,
                               .seconds = p->seconds,
                               .left_s = p->left_s,
                               .tokens = p->tokens};
}

minstrel_status minstrel_train_step(minstrel_trainer *t, minstrel_progress *out,
                                    minstrel_error *err)
{
    ms_progress p;
    ms_error e;
    ms_status s = ms_trainer_step(t->trainer, &p, &e);

    if (!s && out) *out = public_progress(&p);
    return ms_give(err, s, &e);
}

minstrel_status minstrel_evaluate(minstrel_trainer *t, minstrel_evaluation *out,
                                  minstrel_error *err)
{
    ms_evaluation r;
    ms_error e;
    ms_status s = ms_trainer_evaluate(t->trainer, &r, &e);

    if (!s) *out = ms_public_evaluation(&r);
    return ms_give(err, s, &e);
}

minstrel_status minstrel_save(minstrel_trainer *t, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_trainer_save(t->trainer, &e), &e);
}

/* Carries the caller's function through the inner one. */
typedef struct {
    minstrel_step_fn *fn;
    void *data;
} listener;

static int on_step(void *data, const ms_progress *p)
{
    const listener *l = data;
    minstrel_progress shown = public_progress(p);

    return l->fn ? l->fn(l->data, &shown) : 0;
}

minstrel_status minstrel_train(minstrel_trainer *t, minstrel_step_fn *fn, void *data,
                               minstrel_evaluation *final, minstrel_error *err)
{
    listener l = {fn, data};
    ms_evaluation r;
    ms_error e;
    ms_status s = ms_trainer_run(t->trainer, on_step, &l, &r, &e);

    if (!s && final) *final = ms_public_evaluation(&r);
    return ms_give(err, s, &e);
}

minstrel_status minstrel_zero_gradients(minstrel_trainer *t, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_trainer_zero_gradients(t->trainer, &e), &e);
}

minstrel_status minstrel_add_gradients(minstrel_trainer *t, const int32_t *id,
                                       const int32_t *target, double *loss, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_trainer_add_gradients(t->trainer, id, target, loss, &e), &e);
}

minstrel_status minstrel_apply_gradients(minstrel_trainer *t, double lr, double *grad_norm,
                                         minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_trainer_apply_gradients(t->trainer, lr, grad_norm, &e), &e);
}

minstrel_model *minstrel_trainer_model(minstrel_trainer *t)
{
    return &t->model;
}

int64_t minstrel_trainer_step(const minstrel_trainer *t)
{
    return ms_trainer_steps_done(t->trainer);
}
