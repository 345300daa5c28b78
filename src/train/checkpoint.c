/* checkpoint - snapshots of a run, and what a resume reads of them */
#include "train/run.h"

#include "formats/safetensors.h"
#include "formats/snapshot.h"
#include "model/folder.h"

#include <math.h>
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

static ms_status write_training(const ms_trainer *t, const char *path, ms_error *err)
{
    char hash[2][32];
    ms_json json, *j = &json;

    snprintf(hash[0], sizeof hash[0], "%016llx", (unsigned long long)t->train.hash);
    snprintf(hash[1], sizeof hash[1], "%016llx", (unsigned long long)t->held_out.hash);
    ms_json_begin(j);
    ms_json_add_number(j, j->root, "version", VERSION);
    ms_json_add_number(j, j->root, "step", (double)t->step);
    ms_json_add_number(j, j->root, "updates", (double)t->updates);
    ms_json_add_number(j, j->root, "micro_steps", (double)t->micro_steps);
    ms_json_add_number(j, j->root, "samples", (double)t->loader.drawn);
    ms_json_add_number(j, j->root, "trained_tokens", (double)t->tokens);
    ms_json_add_number(j, j->root, "seconds", t->seconds);
    ms_json_add_text(j, j->root, "train_hash", hash[0]);
    ms_json_add_text(j, j->root, "held_out_hash", hash[1]);
    ms_train_options_store(&t->o, j);
    return ms_json_write(j, path, err);
}

/* What transformers' generate() takes as defaults. */
static ms_status write_generation(const ms_trainer *t, const char *path, ms_error *err)
{
    const ms_config *c = &t->model->config;
    ms_json json, *j = &json;

    ms_json_begin(j);
    if (c->bos >= 0) ms_json_add_number(j, j->root, "bos_token_id", c->bos);
    if (c->eos >= 0) ms_json_add_number(j, j->root, "eos_token_id", c->eos);
    ms_json_add_bool(j, j->root, "do_sample", true);
    ms_json_add_number(j, j->root, "temperature", 1);
    return ms_json_write(j, path, err);
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
    MS_TRY(ms_path_join(path, MS_RUN_PATH_BYTES, snapshot, "training.json", err));
    return ms_json_read(out, path, TRAINING_MAX_BYTES, err);
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

/* A whole number of at most 2^53. */
static ms_status read_count(const cJSON *o, const char *key, uint64_t *out, const char *path,
                            ms_error *err)
{
    const cJSON *item = ms_json_get(o, key);

    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53) ||
        item->valuedouble != floor(item->valuedouble))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"%s\": expected a count", key);
    *out = (uint64_t)item->valuedouble;
    return MS_OK;
}

/* A count that follows from others. */
static ms_status read_given(const cJSON *o, const char *key, uint64_t expected, const char *path,
                            ms_error *err)
{
    uint64_t value = 0;

    MS_TRY(read_count(o, key, &value, path, err));
    if (value == expected) return MS_OK;
    return ms_fail_at(err, MS_FORMAT, path, -1, "\"%s\": expected %llu, found %llu", key,
                      (unsigned long long)expected, (unsigned long long)value);
}

/* The shards must be those the run was made with. */
static ms_status check_hash(const cJSON *o, const char *key, uint64_t hash, const char *path,
                            ms_error *err)
{
    const char *text = ms_json_text(o, key);

    if (!text || strtoull(text, NULL, 16) != hash)
        return ms_fail_at(
            err, MS_INPUT, path, -1,
            "\"%s\": the tokens in the run's data folder are not those it was trained on", key);
    return MS_OK;
}

static ms_status read_counters(ms_trainer *t, const cJSON *o, int64_t step, const char *path,
                               ms_error *err)
{
    const cJSON *seconds = ms_json_get(o, "seconds");
    uint64_t version = 0, updates = 0;
    uint64_t samples = (uint64_t)step * (uint64_t)t->o.batch * (uint64_t)t->o.accumulate;

    MS_TRY(read_count(o, "version", &version, path, err));
    if (version != VERSION)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"version\": %llu, expected %d",
                          (unsigned long long)version, VERSION);
    MS_TRY(read_given(o, "step", (uint64_t)step, path, err));
    MS_TRY(read_count(o, "updates", &updates, path, err));
    MS_TRY(read_count(o, "micro_steps", &t->micro_steps, path, err));
    MS_TRY(read_given(o, "samples", samples, path, err));
    MS_TRY(read_count(o, "trained_tokens", &t->tokens, path, err));
    if (!cJSON_IsNumber(seconds) || !(seconds->valuedouble >= 0))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"seconds\": expected a time");
    MS_TRY(check_hash(o, "train_hash", t->train.hash, path, err));
    MS_TRY(check_hash(o, "held_out_hash", t->held_out.hash, path, err));
    t->step = t->saved_step = step;
    t->updates = (int64_t)updates;
    t->seconds = seconds->valuedouble;
    ms_loader_seek(&t->loader, samples);
    return MS_OK;
}

ms_status ms_checkpoint_load(ms_trainer *t, const char *snapshot, int64_t step, ms_error *err)
{
    ms_queue *q = ms_pass_queue(t->pass);
    char path[MS_RUN_PATH_BYTES];
    cJSON *json;
    ms_status s;

    MS_TRY(read_training(&json, path, snapshot, err));
    s = read_counters(t, json, step, path, err);
    cJSON_Delete(json);
    if (s) return s;
    MS_TRY(ms_path_join(path, sizeof path, snapshot, "optimizer.safetensors", err));
    MS_TRY(ms_params_load(&t->m.p, &t->model->config, q, path, moments[0], err));
    MS_TRY(ms_params_load(&t->v.p, &t->model->config, q, path, moments[1], err));
    return publish(snapshot, t->o.out, err); /* a kill may have come between two of the names */
}
