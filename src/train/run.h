/* run - the inside of a trainer; private to train/ */
#ifndef MS_TRAIN_RUN_H
#define MS_TRAIN_RUN_H

#include "base/file.h"
#include "base/json.h"
#include "train/trainer.h"

enum { MS_RUN_PATH_BYTES = 4096 };

struct ms_trainer {
    ms_train_options o;        /* numbers resolved; its texts are read by ms_trainer_new only, */
    char *out, *sample_prompt; /* but for these copies */
    ms_device *device;         /* lent */
    ms_log log;
    ms_tokenizer *tokenizer;
    ms_model *model;
    ms_pass *pass;        /* trains and evaluates */
    ms_params_block m, v; /* moments */
    void *norm_data;
    ms_tensor norm; /* (1) */
    ms_shard train, held_out;
    ms_loader loader;
    int32_t *id, *target; /* (batch, rows) */

    int64_t step;         /* optimizer steps done */
    uint64_t micro_steps; /* passes done: the dropout counter */
    uint64_t tokens;
    double seconds;     /* of training so far, over all resumes */
    int64_t updates;    /* of apply_gradients and steps: AdamW's t */
    int64_t saved_step; /* of the newest snapshot; -1: none */
};

/* options.c: numbers of a run. */
void ms_train_options_default(ms_train_options *o);
ms_status ms_train_options_check(const ms_train_options *o, ms_error *err);
void ms_train_options_store(const ms_train_options *o, ms_json *j); /* adds to j->root */
ms_status ms_train_options_resume(ms_train_options *o, const cJSON *from, const char *path,
                                  ms_error *err);

/* checkpoint.c: a snapshot of everything a resume needs; its files published at the top of the run.
 */
ms_status ms_checkpoint_save(ms_trainer *t, ms_error *err);
/* Reads training.json of a snapshot: numbers that were not given come from there. */
ms_status ms_checkpoint_options(const char *snapshot, ms_train_options *o, ms_error *err);
/* Loads moments and counters of a snapshot, which is of that step, into a trainer whose model is
 * loaded. */
ms_status ms_checkpoint_load(ms_trainer *t, const char *snapshot, int64_t step, ms_error *err);

/* metrics.c: one line of JSON appended to RUN/metrics.jsonl. */
ms_status ms_metrics_step(const char *run, const ms_progress *p, ms_error *err);
ms_status ms_metrics_evaluation(const char *run, int64_t step, const ms_evaluation *e,
                                ms_error *err);
ms_status ms_metrics_resume(const char *run, int64_t step, ms_error *err);

#endif
