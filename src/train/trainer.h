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

/* Numbers of a run, from one list: declared, given defaults, stored in training.json, read by a
 * resume. Below `least` means not given: then a resume takes the stored value, a new run the
 * default (in terms of o, in the order of the list).  fixed: a resume cannot change it.
 * bf16: products of matrices in bf16.  window: tokens of a sequence in training; 0: the context.
 * type name least fixed default */
#define MS_TRAIN_NUMBERS(X)                                                                        \
    X(int64_t, steps, 1, false, 1000)                                                              \
    X(int, batch, 1, true, 8)                                                                      \
    X(int, accumulate, 1, true, 1)                                                                 \
    X(double, lr, 0, false, 1e-3)                                                                  \
    X(double, min_lr, 0, false, o->lr / 10)                                                        \
    X(int64_t, warmup, 0, false, o->steps / 20)                                                    \
    X(int64_t, decay, 0, false, o->steps / 5)                                                      \
    X(int, schedule, 0, false, MS_SCHEDULE_COSINE)                                                 \
    X(double, weight_decay, 0, false, 0.1)                                                         \
    X(double, beta1, 0, false, 0.9)                                                                \
    X(double, beta2, 0, false, 0.95)                                                               \
    X(double, eps, 0, false, 1e-8)                                                                 \
    X(double, clip, 0, false, 1)                                                                   \
    X(double, dropout, 0, false, 0)                                                                \
    X(int, recompute, 0, false, 0)                                                                 \
    X(int, bf16, 0, false, 0)                                                                      \
    X(int, window, 1, true, 0)                                                                     \
    X(int64_t, eval_every, 0, false, o->steps / 10)                                                \
    X(int64_t, save_every, 0, false, o->steps / 5)                                                 \
    X(int64_t, sample_every, 0, false, o->eval_every)                                              \
    X(int, keep, 1, false, 2)

#define MS_TRAIN_FIELD(type, name, ...) type name;
typedef struct {
    const char *preset, *config_path, *init_path;
    ms_config shape;         /* fields above 0 override (vocab is set from the tokenizer) */
                             /* with init_path they must agree, but for a shorter context */
    const char *initialise;  /* "xavier", "normal"; NULL: xavier */
    ms_prepare_options data; /* tokenizer NULL: that of init_path, else "bytes" */
    const char *out;
    bool resume;
    uint64_t seed;             /* 0: not given; default 1 */
    const char *sample_prompt; /* NULL: the first characters of the held-out text */
    MS_TRAIN_NUMBERS(MS_TRAIN_FIELD)
} ms_train_options;

/* Nothing given. */
ms_train_options ms_train_options_new(void);

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

ms_status ms_trainer_new(ms_trainer **out, ms_device *d, const ms_train_options *o,
                         const ms_log *log, ms_error *err);
void ms_trainer_free(ms_trainer *t);
ms_status ms_trainer_step(ms_trainer *t, ms_progress *out, ms_error *err);
ms_status ms_trainer_evaluate(ms_trainer *t, ms_evaluation *out, ms_error *err);
ms_status ms_trainer_save(ms_trainer *t, ms_error *err);
ms_status ms_trainer_run(ms_trainer *t, int (*on_step)(void *data, const ms_progress *p),
                         void *data, ms_evaluation *final, ms_error *err);

ms_status ms_trainer_zero_gradients(ms_trainer *t, ms_error *err);
ms_status ms_trainer_add_gradients(ms_trainer *t, const int32_t *id, const int32_t *target,
                                   double *loss, ms_error *err);
ms_status ms_trainer_apply_gradients(ms_trainer *t, double lr, double *grad_norm, ms_error *err);

ms_model *ms_trainer_model(ms_trainer *t);         /* lent */
ms_tokenizer *ms_trainer_tokenizer(ms_trainer *t); /* lent */
int64_t ms_trainer_steps_done(const ms_trainer *t);

#endif
