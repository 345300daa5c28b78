/* checkpoint - snapshots of a run, and what a resume reads of them */
#include "train/run.h"

#include "formats/safetensors.h"
#include "formats/snapshot.h"
#include "model/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, TRAINING_MAX_BYTES = 1 << 20 };

static const char *const moments[] = {"m.", "v."};

/* Files of a snapshot in the order in which they are published: training.json, which speaks for all
 * of them, comes last. */
static const char *const files[] = {
    "config.json",           "model.safetensors",      "tokenizer.json",
    "tokenizer_config.json", "generation_config.json", "optimizer.safetensors",
    "training.json"};

enum { FILES = sizeof files / sizeof *files };

/* -- saving ---------------------------------------------------------------------------------- */

static ms_status add_counters(const ms_trainer *t, cJSON *o, ms_error *err)
{
    char hash[2][32];
    bool ok;

    snprintf(hash[0], sizeof hash[0], "%016llx", (unsigned long long)t->train.hash);
    snprintf(hash[1], sizeof hash[1], "%016llx", (unsigned long long)t->held_out.hash);
    ok = cJSON_AddNumberToObject(o, "version", VERSION) &&
         cJSON_AddNumberToObject(o, "step", (double)t->step) &&
         cJSON_AddNumberToObject(o, "updates", (double)t->updates) &&
         cJSON_AddNumberToObject(o, "micro_steps", (double)t->micro_steps) &&
         cJSON_AddNumberToObject(o, "samples", (double)t->loader.drawn) &&
         cJSON_AddNumberToObject(o, "trained_tokens", (double)t->tokens) &&
         cJSON_AddNumberToObject(o, "seconds", t->seconds) &&
         cJSON_AddStringToObject(o, "train_hash", hash[0]) &&
         cJSON_AddStringToObject(o, "held_out_hash", hash[1]);
    return ok ? ms_train_options_store(&t->o, o, err)
              : ms_fail(err, MS_MEMORY, "out of memory for training.json");
}

static ms_status write_json(cJSON *o, const char *path, ms_error *err)
{
    char *text = cJSON_Print(o);
    ms_status s = text ? ms_file_write(path, text, strlen(text), err)
                       : ms_fail_at(err, MS_MEMORY, path, -1, "out of memory");

    cJSON_free(text);
    return s;
}

static ms_status write_training(const ms_trainer *t, const char *path, ms_error *err)
{
    cJSON *o = cJSON_CreateObject();
    ms_status s = add_counters(t, o, err);

    if (!s) s = write_json(o, path, err);
    cJSON_Delete(o);
    return s;
}

/* What transformers' generate() takes as defaults. */
static ms_status write_generation(const ms_trainer *t, const char *path, ms_error *err)
{
    const ms_config *c = &t->model->config;
    cJSON *o = cJSON_CreateObject();
    ms_status s;

    if (c->bos >= 0) cJSON_AddNumberToObject(o, "bos_token_id", c->bos);
    if (c->eos >= 0) cJSON_AddNumberToObject(o, "eos_token_id", c->eos);
    cJSON_AddTrueToObject(o, "do_sample");
    cJSON_AddNumberToObject(o, "temperature", 1);
    s = write_json(o, path, err);
    cJSON_Delete(o);
    return s;
}

static ms_status write_files(ms_trainer *t, const char *folder, ms_error *err)
{
    ms_params *const list[] = {&t->m.p, &t->v.p};
    char path[MS_RUN_PATH_BYTES];

#define PATH(name) MS_TRY(ms_path_join(path, sizeof path, folder, name, err))
    MS_TRY(ms_model_save(t->model, ms_pass_queue(t->pass), folder, err));
    PATH("tokenizer.json");
    MS_TRY(ms_tokenizer_save(t->tokenizer, path, err));
    PATH("tokenizer_config.json");
    MS_TRY(ms_tokenizer_save_config(t->tokenizer, t->model->config.context, path, err));
    PATH("generation_config.json");
    MS_TRY(write_generation(t, path, err));
    PATH("optimizer.safetensors");
    MS_TRY(ms_params_save(list, moments, 2, &t->model->config, ms_pass_queue(t->pass), path, err));
    PATH("training.json");
    return write_training(t, path, err);
}

/* The files of a snapshot get their names at the top of the run, each replaced atomically. */
static ms_status publish(const char *snapshot, const char *run, ms_error *err)
{
    char from[MS_RUN_PATH_BYTES], to[MS_RUN_PATH_BYTES];

    for (int i = 0; i < FILES; i++) {
        MS_TRY(ms_path_join(from, sizeof from, snapshot, files[i], err));
        MS_TRY(ms_path_join(to, sizeof to, run, files[i], err));
        MS_TRY(ms_file_publish(from, to, err));
    }
    return ms_folder_sync(run, err);
}

ms_status ms_checkpoint_save(ms_trainer *t, ms_error *err)
{
    char parent[MS_RUN_PATH_BYTES], temp[MS_RUN_PATH_BYTES], final[MS_RUN_PATH_BYTES], name[32];
    ms_status s;

    snprintf(name, sizeof name, "step-%06lld", (long long)t->step);
    MS_TRY(ms_path_join(parent, sizeof parent, t->o.out, "checkpoints", err));
    MS_TRY(ms_path_join(final, sizeof final, parent, name, err));
    s = ms_snapshot_begin(parent, name, temp, sizeof temp, err);
    if (!s) s = write_files(t, temp, err);
    if (!s) s = ms_snapshot_commit(parent, name, err);
    if (s) {
        ms_snapshot_abort(parent, name);
        return s;
    }
    t->saved_step = t->step;
    MS_TRY(publish(final, t->o.out, err));
    return ms_snapshot_prune(parent, t->o.keep, err);
}

/* -- reading --------------------------------------------------------------------------------- */

static ms_status read_training(cJSON **out, char *path, const char *snapshot, ms_error *err)
{
    const char *end = NULL;
    char *text;
    size_t size;

    MS_TRY(ms_path_join(path, MS_RUN_PATH_BYTES, snapshot, "training.json", err));
    MS_TRY(ms_file_read(&text, &size, path, TRAINING_MAX_BYTES, err));
    *out = cJSON_ParseWithLengthOpts(text, size, &end, 0);
    free(text);
    if (cJSON_IsObject(*out)) return MS_OK;
    cJSON_Delete(*out);
    return ms_fail_at(err, MS_FORMAT, path, -1, "is not a JSON object");
}

ms_status ms_checkpoint_options(const char *snapshot, ms_train_options *o, ms_error *err)
{
    char path[MS_RUN_PATH_BYTES];
    cJSON *json;
    ms_status s;

    MS_TRY(read_training(&json, path, snapshot, err));
    s = ms_train_options_resume(o, json, path, err);
    cJSON_Delete(json);
    return s;
}

static ms_status read_count(const cJSON *o, const char *key, uint64_t *out, const char *path,
                            ms_error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);

    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"%s\": expected a count", key);
    *out = (uint64_t)item->valuedouble;
    return MS_OK;
}

/* The shards must be those the run was made with. */
static ms_status check_hash(const cJSON *o, const char *key, uint64_t hash, const char *path,
                            ms_error *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

    if (!text || strtoull(text, NULL, 16) != hash)
        return ms_fail_at(
            err, MS_INPUT, path, -1,
            "\"%s\": the tokens in the run's data folder are not those it was trained on", key);
    return MS_OK;
}

static ms_status read_counters(ms_trainer *t, const cJSON *o, const char *path, ms_error *err)
{
    const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(o, "seconds");
    uint64_t version = 0, step = 0, updates = 0, samples = 0;

    MS_TRY(read_count(o, "version", &version, path, err));
    if (version != VERSION)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"version\": %llu, expected %d",
                          (unsigned long long)version, VERSION);
    MS_TRY(read_count(o, "step", &step, path, err));
    MS_TRY(read_count(o, "updates", &updates, path, err));
    MS_TRY(read_count(o, "micro_steps", &t->micro_steps, path, err));
    MS_TRY(read_count(o, "samples", &samples, path, err));
    MS_TRY(read_count(o, "trained_tokens", &t->tokens, path, err));
    MS_TRY(check_hash(o, "train_hash", t->train.hash, path, err));
    MS_TRY(check_hash(o, "held_out_hash", t->held_out.hash, path, err));
    t->step = t->saved_step = (int64_t)step;
    t->updates = (int64_t)updates;
    t->seconds = cJSON_IsNumber(seconds) ? seconds->valuedouble : 0;
    ms_loader_seek(&t->loader, samples);
    return MS_OK;
}

ms_status ms_checkpoint_load(ms_trainer *t, const char *snapshot, ms_error *err)
{
    ms_queue *q = ms_pass_queue(t->pass);
    char path[MS_RUN_PATH_BYTES];
    cJSON *json;
    ms_status s;

    MS_TRY(read_training(&json, path, snapshot, err));
    s = read_counters(t, json, path, err);
    cJSON_Delete(json);
    if (s) return s;
    MS_TRY(ms_path_join(path, sizeof path, snapshot, "optimizer.safetensors", err));
    MS_TRY(ms_params_load(&t->m.p, &t->model->config, q, path, moments[0], err));
    MS_TRY(ms_params_load(&t->v.p, &t->model->config, q, path, moments[1], err));
    return publish(snapshot, t->o.out, err); /* a kill may have come between two of the names */
}
