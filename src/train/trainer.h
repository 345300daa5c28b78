/* trainer - a run: model, gradients, moments, schedule, data cursor, run folder
 *
 * RUN/data/{train,held_out}.tokens     what prepare.h made of the data; a resume reads only these
 * RUN/checkpoints/step-NNNNNN/         snapshots: config.json model.safetensors tokenizer.json
 *                                      tokenizer_config.json generation_config.json training.json
 *                                      optimizer.safetensors
 * RUN/<the same files>                 the newest snapshot's, published as links
 * RUN/metrics.jsonl                    appended, one line a step */
#ifndef MS_TRAIN_TRAINER_H
#define MS_TRAIN_TRAINER_H

#include "base/log.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "train/schedule.h"

typedef struct {
    const char *preset, *config_path, *init_path;
    ms_config shape;            /* fields > 0 override (vocab is set from the tokenizer) */
    const char *initialise;
    ms_prepare_options data;
    const char *out;
    bool resume;
    ms_schedule schedule;
    int batch, accumulate;
    double weight_decay, beta1, beta2, eps, clip;
    float dropout;
    uint64_t seed;
    bool recompute;
    int64_t eval_every, save_every, sample_every;
    int keep;
    const char *sample_prompt;
} ms_train_options;

typedef struct {
    int64_t step, steps;
    double loss, grad_norm, lr, tokens_per_s, seconds, left_s;
    uint64_t tokens;
} ms_progress;

typedef struct {
    uint64_t tokens, text_bytes;
    double loss, perplexity, bits_per_byte, seconds;
} ms_evaluation;

typedef struct ms_trainer ms_trainer;

ms_status ms_trainer_new(ms_trainer **out, ms_device *d, const ms_train_options *o, const ms_log *log,
                         ms_error *err);
void ms_trainer_free(ms_trainer *t);
ms_status ms_trainer_step(ms_trainer *t, ms_progress *out, ms_error *err);
ms_status ms_trainer_evaluate(ms_trainer *t, ms_evaluation *out, ms_error *err);
ms_status ms_trainer_save(ms_trainer *t, ms_error *err);
ms_status ms_trainer_run(ms_trainer *t, int (*on_step)(void *data, const ms_progress *p), void *data,
                         ms_evaluation *final, ms_error *err);

ms_status ms_trainer_zero_gradients(ms_trainer *t, ms_error *err);
ms_status ms_trainer_add_gradients(ms_trainer *t, const int32_t *id, const int32_t *target,
                                   double *loss, ms_error *err);
ms_status ms_trainer_apply_gradients(ms_trainer *t, double lr, double *grad_norm, ms_error *err);

ms_model *ms_trainer_model(ms_trainer *t);             /* lent */
const ms_tokenizer *ms_trainer_tokenizer(ms_trainer *t);
int64_t ms_trainer_steps_done(const ms_trainer *t);

#endif
