/* Snapshots: a run that was stopped and resumed ends with the bytes of one that was not; a run is
 * not started over another; what is wrong in a snapshot or the options is refused in one line. */
#include "runs.h"

#include "formats/snapshot.h"

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- resume ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t stop;
} stopper;

static int stop_at(void *data, const ms_progress *p)
{
    return p->step == ((stopper *)data)->stop;
}

/* training.json but for the time that was spent. */
static void same_counters(runs *r, const char *a, const char *b)
{
    cJSON *o[2];

    for (int i = 0; i < 2; i++) {
        char path[RUNS_PATH + 32], *text;
        ms_error err;

        snprintf(path, sizeof path, "%s/training.json", runs_path(r, i ? b : a));
        must(ms_file_read(&text, NULL, path, 1 << 20, &err), &err);
        o[i] = cJSON_Parse(text);
        free(text);
        assert_non_null(o[i]);
        cJSON_DeleteItemFromObject(o[i], "seconds");
    }
    assert_true(cJSON_Compare(o[0], o[1], 1));
    cJSON_Delete(o[0]);
    cJSON_Delete(o[1]);
}

/* A run of every kind of state: dropout, accumulation, several epochs of a short text. */
static ms_train_options stateful(runs *r, const char *name)
{
    ms_train_options o = runs_options(r, name);

    o.dropout = 0.1;
    o.accumulate = 2;
    o.steps = 9;
    o.batch = 24; /* an epoch ends in step 4 */
    return o;
}

static void a_stopped_run_ends_with_the_bytes_of_a_whole_one(void **state)
{
    static const int64_t stops[] = {1, 4, 8};
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = stateful(&r, "whole");
    runs_train(&r, &o);
    for (int i = 0; i < 3; i++) {
        char name[32];
        ms_trainer *t;
        ms_error err;

        snprintf(name, sizeof name, "stop-%d", (int)stops[i]);
        o = stateful(&r, name);
        t = runs_new(&r, &o);
        assert_int_equal(ms_trainer_run(t, stop_at, &(stopper){stops[i]}, NULL, &err),
                         MS_INTERRUPTED);
        assert_int_equal(ms_trainer_steps_done(t), stops[i]);
        ms_trainer_free(t);
        assert_false(runs_equal(&r, "whole", name, "model.safetensors"));

        o = runs_resume(&r, name); /* every number comes from the run */
        t = runs_new(&r, &o);
        assert_int_equal(ms_trainer_steps_done(t), stops[i]);
        must(ms_trainer_run(t, NULL, NULL, NULL, &err), &err);
        ms_trainer_free(t);
        runs_same(&r, "whole", name, "model.safetensors");
        runs_same(&r, "whole", name, "optimizer.safetensors");
        same_counters(&r, "whole", name);
    }
    runs_close(&r);
}

/* Many resumes; what a save or an evaluation in between adds is nothing. */
static void a_resume_at_every_step_ends_with_the_same_bytes(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = stateful(&r, "whole");
    runs_train(&r, &o);
    for (int step = 0; step < 9; step++) {
        ms_evaluation e;
        ms_error err;

        o = step ? runs_resume(&r, "parts") : stateful(&r, "parts");
        ms_trainer *t = runs_new(&r, &o);
        must(ms_trainer_evaluate(t, &e, &err), &err);
        runs_steps(t, 1);
        must(ms_trainer_save(t, &err), &err);
        must(ms_trainer_save(t, &err), &err); /* twice at a step: replaced */
        ms_trainer_free(t);
    }
    runs_same(&r, "whole", "parts", "model.safetensors");
    runs_same(&r, "whole", "parts", "optimizer.safetensors");
    runs_close(&r);
}

/* A run whose steps are over has nothing left to do; more steps can be asked for. */
static void a_finished_run_can_be_extended(void **state)
{
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    runs_train(&r, &o);
    o = runs_resume(&r, "run");
    ms_trainer *t = runs_new(&r, &o);
    must(ms_trainer_run(t, NULL, NULL, NULL, &err), &err);
    assert_int_equal(ms_trainer_steps_done(t), 8);
    ms_trainer_free(t);
    o.steps = 11;
    t = runs_new(&r, &o);
    must(ms_trainer_run(t, NULL, NULL, NULL, &err), &err);
    assert_int_equal(ms_trainer_steps_done(t), 11);
    ms_trainer_free(t);
    runs_close(&r);
}

/* Killed between two names at the top of the run: the resume publishes the snapshot again. */
static void a_resume_publishes_the_newest_snapshot(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    runs_train(&r, &o);
    assert_int_equal(unlink(runs_path(&r, "run/model.safetensors")), 0);
    assert_int_equal(unlink(runs_path(&r, "run/training.json")), 0);
    o = runs_resume(&r, "run");
    ms_trainer_free(runs_new(&r, &o));
    runs_same(&r, "run", "run/checkpoints/step-000008", "model.safetensors");
    runs_same(&r, "run", "run/checkpoints/step-000008", "training.json");
    runs_close(&r);
}

/* -- a run folder ---------------------------------------------------------------------------- */

static void a_run_is_not_started_over_another(void **state)
{
    static const char *const file[] = {"data/train.tokens", "data/tokenizer.json", "metrics.jsonl",
                                       "model.safetensors"};
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run"), copy = runs_options(&r, "copy");
    runs_train(&r, &o);
    runs_train(&r, &copy);
    runs_refused(&r, &o, MS_INPUT, "holds a run at step 8: continue it with --resume");
    o.data.tokenizer = "bytes";
    o.seed = 3;
    runs_refused(&r, &o, MS_INPUT, "choose another folder");
    for (int i = 0; i < 4; i++) /* nothing was touched; a log differs by its times */
        if (i != 2) runs_same(&r, "run", "copy", file[i]);

    o = runs_resume(&r, "nowhere");
    runs_refused(&r, &o, MS_INPUT, "there is no run to resume");
    must(ms_folder_make(runs_path(&r, "empty"), &err), &err);
    o = runs_resume(&r, "empty");
    runs_refused(&r, &o, MS_INPUT, "has no checkpoint yet: give --data");
    o = runs_options(&r, "");
    o.out = "";
    runs_refused(&r, &o, MS_INPUT, "a run needs an output folder");
    o.out = NULL;
    runs_refused(&r, &o, MS_INPUT, "a run needs an output folder");
    o.out = r.text;
    runs_refused(&r, &o, MS_IO, "a file has that name");
    runs_close(&r);
}

/* Killed before the first snapshot: --resume with the data starts it anew. */
static void a_resume_without_a_snapshot_starts_anew(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run"), want = runs_options(&r, "want");
    ms_trainer *t = runs_new(&r, &o);
    runs_steps(t, 3);
    ms_trainer_free(t);
    o.resume = true;
    runs_train(&r, &o);
    runs_train(&r, &want);
    runs_same(&r, "run", "want", "model.safetensors");
    runs_close(&r);
}

static int count_snapshots(runs *r, const char *run, bool *stranger)
{
    char path[RUNS_PATH + 32];
    ms_names names;
    ms_error err;
    int n;

    snprintf(path, sizeof path, "%s/checkpoints", runs_path(r, run));
    must(ms_folder_list(&names, path, &err), &err);
    n = (int)names.count;
    *stranger = false;
    for (int i = 0; i < n; i++)
        if (strncmp(names.name[i], "step-", 5) != 0) *stranger = true;
    ms_names_free(&names);
    return n;
}

static void the_newest_snapshots_are_kept(void **state)
{
    static const int keep[] = {1, 2, 3, 100};
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    for (int i = 0; i < 4; i++) {
        char name[32], path[RUNS_PATH];
        bool stranger;
        long step;

        snprintf(name, sizeof name, "keep-%d", keep[i]);
        ms_train_options o = runs_options(&r, name);
        o.save_every = 1;
        o.keep = keep[i];
        ms_trainer *t = runs_new(&r, &o);
        must(ms_trainer_run(t, NULL, NULL, NULL, &err), &err);
        ms_trainer_free(t);
        assert_int_equal(count_snapshots(&r, name, &stranger), keep[i] < 8 ? keep[i] : 8);
        assert_false(stranger);
        snprintf(name, sizeof name, "keep-%d/checkpoints", keep[i]);
        must(ms_snapshot_last(runs_path(&r, name), &step, path, sizeof path, &err), &err);
        assert_int_equal(step, 8);
    }
    runs_close(&r);
}

/* -- options and texts that do not fit --------------------------------------------------------- */

static void texts_that_do_not_fit_are_refused(void **state)
{
    static const char text[] = "abc def";
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    must(ms_file_write(r.text, text, sizeof text - 1, &err), &err);
    runs_refused(&r, &o, MS_INPUT, "a context of 16 needs at least 17");
    must(ms_file_write(r.text, "", 0, &err), &err);
    runs_refused(&r, &o, MS_INPUT, "empty");
    must(ms_file_write(r.text, "abc\xff", 4, &err), &err);
    runs_refused(&r, &o, MS_INPUT, "not valid UTF-8");
    o.data.paths = 0;
    runs_refused(&r, &o, MS_INPUT, "no data is given");
    o.data.paths = 1;
    assert_int_equal(unlink(r.text), 0);
    runs_refused(&r, &o, MS_IO, "No such file");
    runs_close(&r);
}

/* 17 tokens are one window; nothing held out is no loss. */
static void the_shortest_text_is_trained_on(void **state)
{
    runs r;
    ms_evaluation e;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    must(ms_file_write(r.text, "abcdefgh abcdefgh", 17, &err), &err);
    ms_train_options o = runs_options(&r, "run");
    o.data.held_out_fraction = 0;
    o.sample_every = 4; /* has no text to begin with */
    ms_trainer *t = runs_new(&r, &o);
    must(ms_trainer_run(t, NULL, NULL, &e, &err), &err);
    assert_int_equal(e.tokens, 0);
    assert_true(isnan(e.loss) && isnan(e.perplexity) && isnan(e.bits_per_byte));
    ms_trainer_free(t);
    runs_close(&r);
}

static void options_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t offset; /* of a double, or of an int when `whole` */
        bool whole;
        double value;
    } row[] = {
#define REAL(name, value, text) {text, offsetof(ms_train_options, name), false, value}
#define WHOLE(name, value, text)                                                                   \
    {                                                                                              \
        text, offsetof(ms_train_options, name), true, value                                        \
    }
        REAL(lr, 0, "lr: expected above 0"),
        REAL(lr, 10.5, "lr: expected above 0, at most 10, got 10.5"),
        REAL(lr, INFINITY, "lr: "),
        REAL(min_lr, 0.02, "min-lr: expected at most lr"),
        REAL(min_lr, INFINITY, "min-lr: "),
        REAL(beta1, 1, "beta1: "),
        REAL(beta2, 1.5, "beta2: "),
        REAL(beta2, INFINITY, "beta2: "),
        REAL(eps, 0, "eps: expected above 0"),
        REAL(clip, INFINITY, "clip: "),
        REAL(dropout, 1, "dropout: expected 0 to below 1, got 1"),
        REAL(weight_decay, 101, "weight-decay: "),
        REAL(data.held_out_fraction, 1, "held-out fraction: "),
        REAL(data.held_out_fraction, -0.5, "held-out fraction: "),
        REAL(data.held_out_fraction, NAN, "held-out fraction: "),
        WHOLE(batch, 65537, "batch: "),
        WHOLE(accumulate, 65537, "accumulate: "),
        WHOLE(schedule, MS_SCHEDULE_COUNT, "schedule: "),
        WHOLE(shape.heads, 3, "kv_heads: "),
        WHOLE(shape.vocab, 5, "vocab: 5 is less than the tokenizer's 10"),
        WHOLE(shape.context, 1 << 24, "context: expected 1 to"),
        WHOLE(shape.layers, 5000, "layers: expected 1 to"),
#undef REAL
#undef WHOLE
    };
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        ms_train_options o = runs_options(&r, "run");
        int whole = row[i].whole ? (int)row[i].value : 0;

        memcpy((char *)&o + row[i].offset, row[i].whole ? (void *)&whole : (void *)&row[i].value,
               row[i].whole ? sizeof whole : sizeof row[i].value);
        runs_refused(&r, &o, MS_INPUT, row[i].text);
    }
    ms_train_options o = runs_options(&r, "run");
    o.schedule = MS_SCHEDULE_WSD;
    o.decay = 0;
    runs_refused(&r, &o, MS_INPUT, "decay: expected at least 1 for wsd");
    o = runs_options(&r, "run");
    o.preset = "lama";
    runs_refused(&r, &o, MS_INPUT, "preset \"lama\" is unknown");
    o = runs_options(&r, "run");
    o.initialise = "zeros";
    runs_refused(&r, &o, MS_INPUT, "expected normal or xavier, got zeros");
    o = runs_options(&r, "run");
    o.data.tokenizer = "bpe:many";
    runs_refused(&r, &o, MS_INPUT, "expected bpe:N");
    o.data.tokenizer = "bpe:256";
    runs_refused(&r, &o, MS_INPUT, "vocabulary: expected 257 to");
    o = runs_options(&r, "run");
    o.config_path = runs_path(&r, "nowhere.json");
    runs_refused(&r, &o, MS_IO, "No such file");
    runs_close(&r);
}

/* What a resume cannot change, and what it can. */
static void a_resume_keeps_the_batch(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    runs_train(&r, &o);
    o = runs_resume(&r, "run");
    o.batch = 2;
    runs_refused(&r, &o, MS_INPUT, "batch: the run has 4, a resume cannot change it to 2");
    o = runs_resume(&r, "run");
    o.accumulate = 2;
    runs_refused(&r, &o, MS_INPUT, "accumulate: the run has 1, a resume cannot change it to 2");
    o = runs_resume(&r, "run");
    o.seed = 8;
    runs_refused(&r, &o, MS_INPUT, "seed: the run has 7, a resume cannot change it");
    o = runs_resume(&r, "run");
    o.shape.layers = 3;
    runs_refused(&r, &o, MS_INPUT, "layers: the model has 2, it cannot become 3");
    o = runs_resume(&r, "run");
    o.batch = 4;
    o.accumulate = 1;
    o.seed = 7;
    o.lr = 1e-2;
    o.min_lr = 1e-4;
    o.steps = 20;
    o.recompute = 1;
    ms_trainer *t = runs_new(&r, &o);
    runs_steps(t, 1);
    ms_trainer_free(t);
    runs_close(&r);
}

/* -- hostile snapshots ------------------------------------------------------------------------- */

#define SNAPSHOT "run/checkpoints/step-000002/"

/* Replaces (text NULL: removes) a key of a training.json's text; from malloc. */
static char *edited(const char *json, const char *key, const char *text)
{
    cJSON *o = cJSON_Parse(json);
    char *out;

    assert_non_null(o);
    assert_non_null(cJSON_GetObjectItemCaseSensitive(o, key));
    cJSON_DeleteItemFromObjectCaseSensitive(o, key);
    if (text) assert_non_null(cJSON_AddRawToObject(o, key, text));
    out = cJSON_Print(o);
    cJSON_Delete(o);
    return out;
}

typedef struct {
    const char *key, *text; /* text NULL: the key is missing; key NULL: the whole file */
    ms_status status;
    const char *message;
} hostile;

/* Each row of training.json is refused, with its path; the run resumes when it is as it was. */
static void refuse_rows(const hostile *row, size_t rows)
{
    runs r;
    char *json;
    size_t size;
    ms_error err;

    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    o.steps = 2;
    runs_train(&r, &o);
    o = runs_resume(&r, "run");
    const char *path = runs_path(&r, SNAPSHOT "training.json");
    must(ms_file_read(&json, &size, path, 1 << 20, &err), &err);
    for (size_t i = 0; i < rows; i++) {
        char *text = row[i].key ? edited(json, row[i].key, row[i].text) : strdup(row[i].text);

        must(ms_file_write(path, text, strlen(text), &err), &err);
        print_message("training.json: %s = %.40s\n", row[i].key ? row[i].key : "the file",
                      row[i].text ? row[i].text : "(missing)");
        runs_refused(&r, &o, row[i].status, row[i].message);
        free(text);
    }
    must(ms_file_write(path, json, size, &err), &err);
    ms_trainer *t = runs_new(&r, &o);
    assert_int_equal(ms_trainer_steps_done(t), 2);
    ms_trainer_free(t);
    free(json);
    runs_close(&r);
}

static void hostile_training_files_are_refused(void **state)
{
    static const hostile row[] = {
        {NULL, "", MS_FORMAT, "JSON"},
        {NULL, "{", MS_FORMAT, "JSON"},
        {NULL, "[]", MS_FORMAT, "JSON"},
        {NULL, "42", MS_FORMAT, "JSON"},
        {NULL, "{}", MS_FORMAT, "\"steps\": expected a number"},
        {"steps", NULL, MS_FORMAT, "\"steps\": expected a number"},
        {"batch", "\"4\"", MS_FORMAT, "\"batch\": expected a number"},
        {"accumulate", "null", MS_FORMAT, "\"accumulate\": expected a number"},
        {"lr", "[1]", MS_FORMAT, "\"lr\": expected a number"},
        {"lr", "1e999", MS_FORMAT, "\"lr\": expected a number"},
        {"lr", "11", MS_INPUT, "lr: expected above 0"},
        {"min_lr", "0.5", MS_INPUT, "min-lr: expected at most lr"},
        {"batch", "1e300", MS_FORMAT, "\"batch\": expected a whole number from 1"},
        {"batch", "100000", MS_INPUT, "batch: expected 1 to 65536"},
        {"schedule", "5", MS_INPUT, "schedule: expected a known one"},
        {"beta1", "1", MS_INPUT, "beta1: "},
        {"eps", "0", MS_INPUT, "eps: "},
        {"dropout", "1", MS_INPUT, "dropout: "},
        {"keep", "{}", MS_FORMAT, "\"keep\": expected a number"},
        {"seed", NULL, MS_FORMAT, "\"seed\": expected a number as text"},
        {"seed", "7", MS_FORMAT, "\"seed\": expected a number as text"},
        {"seed", "\"x\"", MS_FORMAT, "\"seed\": expected a number as text"},
        {"version", NULL, MS_FORMAT, "\"version\": expected a count"},
        {"version", "2", MS_UNSUPPORTED, "\"version\": 2, expected 1"},
        {"step", NULL, MS_FORMAT, "\"step\": expected a count"},
        {"step", "-1", MS_FORMAT, "\"step\": expected a count"},
        {"step", "1e17", MS_FORMAT, "\"step\": expected a count"},
        {"step", "\"2\"", MS_FORMAT, "\"step\": expected a count"},
        {"updates", "true", MS_FORMAT, "\"updates\": expected a count"},
        {"micro_steps", "-2", MS_FORMAT, "\"micro_steps\": expected a count"},
        {"samples", "1e999", MS_FORMAT, "\"samples\": expected a count"},
        {"trained_tokens", "{}", MS_FORMAT, "\"trained_tokens\": expected a count"},
        {"train_hash", NULL, MS_INPUT, "\"train_hash\": the tokens in the run's data folder"},
        {"train_hash", "\"0\"", MS_INPUT, "\"train_hash\": the tokens in the run's data folder"},
        {"train_hash", "17", MS_INPUT, "\"train_hash\": the tokens in the run's data folder"},
        {"held_out_hash", "\"xyz\"", MS_INPUT, "\"held_out_hash\": the tokens"},
    };

    (void)state;
    refuse_rows(row, sizeof row / sizeof *row);
}

/* Numbers of the right type that no run can have. */
static void numbers_that_no_run_has_are_refused(void **state)
{
    static const hostile row[] = {
        {"batch", "-5", MS_FORMAT, "\"batch\""},
        {"batch", "0", MS_FORMAT, "\"batch\""},
        {"batch", "2.5", MS_FORMAT, "\"batch\""},
        {"batch", "4294967300", MS_FORMAT, "\"batch\""},
        {"accumulate", "-1", MS_FORMAT, "\"accumulate\""},
        {"steps", "-3", MS_FORMAT, "\"steps\""},
        {"schedule", "-1", MS_FORMAT, "\"schedule\""},
        {"lr", "-1", MS_FORMAT, "\"lr\""},
        {"keep", "0", MS_FORMAT, "\"keep\""},
        {"step", "1.5", MS_FORMAT, "\"step\""},
        {"step", "1", MS_FORMAT, "\"step\""}, /* the snapshot's name says 2 */
        {"samples", "9", MS_FORMAT, "\"samples\""},
        {"samples", "9e15", MS_FORMAT, "\"samples\""}, /* hours of walking through epochs */
        {"seed", "\"7x\"", MS_FORMAT, "\"seed\""},
        {"seconds", "\"x\"", MS_FORMAT, "\"seconds\""},
        {"seconds", "-1", MS_FORMAT, "\"seconds\""},
    };

    (void)state;
    refuse_rows(row, sizeof row / sizeof *row);
}

/* A file of the snapshot that is cut off, missing, or another run's. */
static void damaged_snapshots_are_refused(void **state)
{
    static const char *const file[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                       "training.json"};
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run"), wider = runs_options(&r, "wider");
    o.steps = wider.steps = 2;
    wider.shape.ffn = 32;
    runs_train(&r, &o);
    runs_train(&r, &wider);
    o = runs_resume(&r, "run");
    for (int i = 0; i < 4; i++) {
        char path[RUNS_PATH + 32], *text;
        size_t size;

        snprintf(path, sizeof path, "%s/%s", runs_path(&r, "run/checkpoints/step-000002"), file[i]);
        must(ms_file_read(&text, &size, path, 1 << 20, &err), &err);
        must(ms_file_write(path, text, size / 2, &err), &err);
        runs_refused(&r, &o, MS_FORMAT, "");
        assert_int_equal(unlink(path), 0);
        runs_refused(&r, &o, MS_IO, "No such file");
        must(ms_file_write(path, text, size, &err), &err);
        free(text);
    }
    must(ms_file_publish(runs_path(&r, "wider/optimizer.safetensors"),
                         runs_path(&r, SNAPSHOT "optimizer.safetensors"), &err),
         &err);
    runs_refused(&r, &o, MS_SHAPE, "m.model.layers.0.mlp.gate_proj.weight");
    must(ms_file_publish(runs_path(&r, "wider/data/held_out.tokens"),
                         runs_path(&r, "run/data/train.tokens"), &err),
         &err);
    runs_refused(&r, &o, MS_INPUT, "\"train_hash\"");
    runs_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_ends_with_the_bytes_of_a_whole_one),
        cmocka_unit_test(a_resume_at_every_step_ends_with_the_same_bytes),
        cmocka_unit_test(a_finished_run_can_be_extended),
        cmocka_unit_test(a_resume_publishes_the_newest_snapshot),
        cmocka_unit_test(a_run_is_not_started_over_another),
        cmocka_unit_test(a_resume_without_a_snapshot_starts_anew),
        cmocka_unit_test(the_newest_snapshots_are_kept),
        cmocka_unit_test(texts_that_do_not_fit_are_refused),
        cmocka_unit_test(the_shortest_text_is_trained_on),
        cmocka_unit_test(options_that_do_not_fit_are_refused),
        cmocka_unit_test(a_resume_keeps_the_batch),
        cmocka_unit_test(hostile_training_files_are_refused),
        cmocka_unit_test(numbers_that_no_run_has_are_refused),
        cmocka_unit_test(damaged_snapshots_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
