/* The nth allocation and the nth call on a file fail, for n = 1, 2, ... until nothing fails any
 * more: each time a status with one line, no leak, and what was there before is there still. */
#include "faults.h"

#include "base/file.h"
#include "infer/chat.h"
#include "infer/generate.h"
#include "minstrel.h"
#include "model/arch.h"
#include "model/folder.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The text is longer than the context of any preset: a run of the defaults could start on it. */
enum { PATH_BYTES = 160, TEXT_BYTES = 400, CALLS_MAX = 20000 };

static void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s %s", ms_status_text(status), err->path, err->message);
}

static void need(fault_kind kind)
{
    if (!faults_missing(kind)) return;
    print_message("not run: %s\n", faults_missing(kind));
    skip();
}

/* -- a world with a text, runs and a model ----------------------------------------------------- */

typedef struct {
    ms_device *device;
    char folder[PATH_BYTES / 2], text[PATH_BYTES], run[PATH_BYTES], done[PATH_BYTES];
    const char *data[1];
    ms_trainer *saver; /* of world.run, at its step 2: saves the files of world.done */
    /* what an operation makes */
    ms_device *other;
    ms_model *model;
    ms_tokenizer *tokenizer;
    ms_trainer *trainer;
    ms_generated generated;
    ms_evaluation evaluation;
    minstrel_model *opened;
    minstrel_trainer *public_trainer;
} world;

/* 4 steps of the smallest llama on 5 characters. */
static ms_train_options options(const world *w, const char *run)
{
    ms_train_options o = ms_train_options_new();

    o.preset = "llama";
    o.shape =
        (ms_config){.context = 8, .layers = 1, .width = 8, .heads = 2, .kv_heads = 1, .ffn = 8};
    o.data.path = w->data;
    o.data.paths = 1;
    o.data.tokenizer = "chars";
    o.out = run;
    o.steps = 4;
    o.warmup = 1;
    o.batch = 2;
    o.lr = 0.02;
    o.keep = 1;
    o.eval_every = o.save_every = o.sample_every = 0;
    return o;
}

static ms_train_options resume(const char *run)
{
    ms_train_options o = ms_train_options_new();

    o.out = run;
    o.resume = true;
    return o;
}

static ms_trainer *trainer(const world *w, const ms_train_options *o)
{
    ms_trainer *t = NULL;
    ms_error err;

    must(ms_trainer_new(&t, w->device, o, NULL, &err), &err);
    return t;
}

static void steps(ms_trainer *t, int n)
{
    ms_progress p;
    ms_error err;

    for (int i = 0; i < n; i++) must(ms_trainer_step(t, &p, &err), &err);
}

static void remove_run(world *w)
{
    ms_error err;

    must(ms_folder_remove(w->run, &err), &err);
}

/* A new run with a snapshot of step 2, `more` steps further. */
static ms_trainer *saved_run(world *w, int more)
{
    ms_train_options o = options(w, w->run);
    ms_trainer *t;
    ms_error err;

    remove_run(w);
    t = trainer(w, &o);
    steps(t, 2);
    must(ms_trainer_save(t, &err), &err);
    steps(t, more);
    return t;
}

/* world.done is a run of 2 steps; the text has no blank, so every prompt of "a".."e" is good. */
static void world_open(world *w)
{
    ms_device_options d = {.threads = 1};
    char text[TEXT_BYTES];
    ms_error err;

    const char *temporary = getenv("TMPDIR");

    *w = (world){0};
    snprintf(w->folder, sizeof w->folder, "%s/minstrel-fault-XXXXXX",
             temporary ? temporary : "/tmp");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->text, sizeof w->text, "%s/text.txt", w->folder);
    snprintf(w->run, sizeof w->run, "%s/run", w->folder);
    snprintf(w->done, sizeof w->done, "%s/done", w->folder);
    for (int i = 0; i < TEXT_BYTES; i++) text[i] = (char)('a' + (i + i / 7) % 5);
    must(ms_file_write(w->text, text, sizeof text, &err), &err);
    w->data[0] = w->text;
    must(ms_device_open(&w->device, "cpu", &d, &err), &err);
    ms_train_options o = options(w, w->done);
    ms_trainer *t = trainer(w, &o);
    steps(t, 2);
    must(ms_trainer_save(t, &err), &err);
    ms_trainer_free(t);
    o = options(w, w->run);
    w->saver = trainer(w, &o);
    steps(w->saver, 2);
}

static void world_close(world *w)
{
    ms_error err;

    ms_trainer_free(w->saver);
    assert_int_equal(w->device->allocated_bytes, 0);
    ms_device_close(w->device);
    must(ms_folder_remove(w->folder, &err), &err);
}

/* Frees what an operation made. */
static void forget(world *w)
{
    ms_generated_clear(&w->generated);
    ms_trainer_free(w->trainer);
    ms_tokenizer_free(w->tokenizer);
    ms_model_free(w->model);
    ms_device_close(w->other);
    minstrel_model_free(w->opened);
    minstrel_trainer_free(w->public_trainer);
    w->generated = (ms_generated){0};
    w->trainer = NULL;
    w->tokenizer = NULL;
    w->model = NULL;
    w->other = NULL;
    w->opened = NULL;
    w->public_trainer = NULL;
}

/* A file of the run has the bytes of the same file of world.done. */
static void same_file(const world *w, const char *name)
{
    const char *run[] = {w->run, w->done};
    ms_map map[2];
    ms_error err;

    for (int i = 0; i < 2; i++) {
        char path[PATH_BYTES + 64];

        snprintf(path, sizeof path, "%s/%s", run[i], name);
        must(ms_map_open(&map[i], path, &err), &err);
    }
    if (map[0].size_bytes != map[1].size_bytes ||
        memcmp(map[0].data, map[1].data, map[0].size_bytes) != 0)
        fail_msg("%s is not as it must be", name);
    ms_map_close(&map[0]);
    ms_map_close(&map[1]);
}

/* -- operations ------------------------------------------------------------------------------ */

typedef struct {
    const char *what;
    void (*before)(world *w);
    ms_status (*act)(world *w, ms_error *err); /* the calls in here may fail */
    void (*check)(world *w);                   /* after MS_OK: it is what it must be */
} operation;

static void nothing(world *w)
{
    (void)w;
}

static ms_status open_device(world *w, ms_error *err)
{
    ms_device_options o = {.threads = 2};

    return ms_device_open(&w->other, "cpu", &o, err);
}

static ms_status load_model(world *w, ms_error *err)
{
    return ms_model_load(&w->model, w->device, w->done, err);
}

static ms_status load_tokenizer(world *w, ms_error *err)
{
    char path[PATH_BYTES + 64];

    snprintf(path, sizeof path, "%s/tokenizer.json", w->done);
    return ms_tokenizer_load(&w->tokenizer, path, err);
}

static void check_tokenizer(world *w)
{
    assert_int_equal(ms_tokenizer_vocab(w->tokenizer), 5);
}

static ms_status new_trainer(world *w, ms_error *err)
{
    ms_train_options o = options(w, w->run);

    return ms_trainer_new(&w->trainer, w->device, &o, NULL, err);
}

static void check_new(world *w)
{
    same_file(w, "data/train.tokens");
    same_file(w, "data/held_out.tokens");
    same_file(w, "data/tokenizer.json");
    steps(w->trainer, 1);
}

static ms_status resume_trainer(world *w, ms_error *err)
{
    ms_train_options o = resume(w->done);

    return ms_trainer_new(&w->trainer, w->device, &o, NULL, err);
}

static void check_resume(world *w)
{
    assert_int_equal(ms_trainer_steps_done(w->trainer), 2);
}

static void before_step(world *w)
{
    w->trainer = saved_run(w, 0);
}

static ms_status step(world *w, ms_error *err)
{
    ms_progress p;

    return ms_trainer_step(w->trainer, &p, err);
}

static ms_status evaluate(world *w, ms_error *err)
{
    return ms_trainer_evaluate(w->trainer, &w->evaluation, err);
}

static ms_status save(world *w, ms_error *err)
{
    return ms_trainer_save(w->saver, err);
}

static void check_save(world *w)
{
    static const char *const file[] = {
        "config.json",           "model.safetensors",      "tokenizer.json",
        "tokenizer_config.json", "generation_config.json", "optimizer.safetensors"};
    char path[64];

    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        snprintf(path, sizeof path, "checkpoints/step-000002/%s", file[i]);
        same_file(w, path);
        same_file(w, file[i]);
    }
}

static void before_generate(world *w)
{
    ms_error err;

    must(load_model(w, &err), &err);
    must(load_tokenizer(w, &err), &err);
}

static ms_status generate(world *w, ms_error *err)
{
    const char *prompt = "abc";
    ms_generate_options o = ms_generate_defaults();

    o.max_tokens = 5;
    return ms_generate(w->model, w->tokenizer, &prompt, 1, &o, &w->generated, err);
}

static ms_status generate_beams(world *w, ms_error *err)
{
    const char *prompt = "abc";
    ms_generate_options o = ms_generate_defaults();

    o.max_tokens = 5;
    o.beams = 3;
    return ms_generate(w->model, w->tokenizer, &prompt, 1, &o, &w->generated, err);
}

static void check_generate(world *w)
{
    assert_int_equal(w->generated.count, 5);
    assert_int_equal(strlen(w->generated.text), 5);
}

/* A model of bytes: a conversation needs more characters than the run has. */
static void before_converse(world *w)
{
    ms_config c;
    ms_error err;

    must(ms_config_preset(&c, "llama", &err), &err);
    c.vocab = 257;
    c.context = 64;
    c.layers = c.kv_heads = 1;
    c.heads = 2;
    c.width = c.ffn = 8;
    ms_config_derive(&c);
    must(ms_model_new(&w->model, w->device, &c, &err), &err);
    must(ms_model_init(w->model, MS_INIT_XAVIER, 1, &err), &err);
    must(ms_tokenizer_bytes(&w->tokenizer, &err), &err);
}

/* What has failed is not in the conversation. */
static ms_status converse(world *w, ms_error *err)
{
    ms_chat_options o = ms_chat_defaults();
    size_t turns = 0;
    ms_chat *c;
    ms_reply r;
    ms_status s;

    o.system = "a";
    o.max_tokens = 3;
    MS_TRY(ms_chat_new(&c, w->model, w->tokenizer, &o, err));
    do {
        s = ms_chat_say(c, "b", &r, err);
        turns += !s;
    } while (!s && turns < 4); /* the last ones make the first leave the context */
    if (!s) s = ms_chat_retry(c, &r, err);
    assert_int_equal(ms_chat_look(c).turns, turns);
    if (!s) s = ms_chat_set_system(c, "c", err);
    assert_string_equal(ms_chat_at(c, 0).content, s ? "a" : "c");
    ms_chat_free(c);
    return s;
}

/* A public error has the same fields. */
static ms_status from_public(minstrel_status s, const minstrel_error *e, ms_error *err)
{
    if (s) ms_fail_at(err, (ms_status)e->status, e->path, e->offset, "%s", e->message);
    return (ms_status)s;
}

static ms_status open_public(world *w, ms_error *err)
{
    minstrel_options o = minstrel_default_options();
    minstrel_error e;

    o.threads = 1;
    return from_public(minstrel_model_open(&w->opened, w->done, &o, &e), &e, err);
}

static ms_status train_public(world *w, ms_error *err)
{
    minstrel_options o = minstrel_default_options();
    minstrel_train_options t = minstrel_default_train_options();
    minstrel_error e;

    o.threads = 1;
    t.shape.context = t.shape.width = t.shape.ffn = 8;
    t.shape.layers = t.shape.kv_heads = 1;
    t.shape.heads = 2;
    t.data = w->data;
    t.datas = 1;
    t.tokenizer = "bytes";
    t.out = w->run;
    return from_public(minstrel_trainer_new(&w->public_trainer, &t, &o, &e), &e, err);
}

/* A run is there: this must be refused, whatever fails. */
static ms_status start_over(world *w, ms_error *err)
{
    ms_train_options o = options(w, w->done);
    ms_status s = ms_trainer_new(&w->trainer, w->device, &o, NULL, err);

    return s == MS_INPUT ? MS_OK : s;
}

static void check_refused(world *w)
{
    assert_null(w->trainer);
}

static const operation reading[] = {
    {"open a device", nothing, open_device, nothing},
    {"load a model", nothing, load_model, nothing},
    {"load a tokenizer", nothing, load_tokenizer, check_tokenizer},
    {"open a model folder", nothing, open_public, nothing},
    {"generate", before_generate, generate, check_generate},
    {"search with beams", before_generate, generate_beams, check_generate},
    {"converse", before_converse, converse, nothing},
    {"step", before_step, step, nothing},
    {"evaluate", before_step, evaluate, nothing},
};
static const operation writing[] = {
    {"make a trainer", remove_run, new_trainer, check_new},
    {"make a public trainer", remove_run, train_public, nothing},
    {"save", remove_run, save, check_save},
};
static const operation resuming[] = {
    {"resume", nothing, resume_trainer, check_resume},
    {"start over", nothing, start_over, check_refused},
};

/* -- running them ------------------------------------------------------------------------------ */

/* What is looked at beyond a clean status. */
enum {
    RESULTS = 1 /* what was done in spite of a failure, and leaks */,
    NAMES = 2 /* the status */
};

/* A failure is a known status with a text of one line. */
static void clean(const operation *op, long n, ms_status s, const ms_error *err, int strict)
{
    if (err->status != s || s >= MS_STATUS_COUNT || !err->message[0] || strchr(err->message, '\n'))
        fail_msg("%s, failure %ld: status %d, error %d: %s", op->what, n, s, err->status,
                 err->message);
    if ((strict & NAMES) && s != MS_MEMORY && s != MS_IO && s != MS_DEVICE)
        fail_msg("%s, failure %ld: %s: %s", op->what, n, ms_status_text(s), err->message);
}

/* One time, the nth call failing; true when none did. */
static bool once(world *w, const operation *op, fault_kind kind, fault_mode mode, long n,
                 int strict)
{
    ms_error err = {.status = MS_OK};
    long blocks, descriptors;
    size_t held;
    ms_status s;
    bool fired;

    forget(w);
    held = w->device->allocated_bytes;
    blocks = faults_live();
    descriptors = faults_descriptors();
    op->before(w);
    faults_arm(kind, mode, n);
    s = op->act(w, &err);
    fired = faults_disarm();
    if (s)
        clean(op, n, s, &err, strict);
    else if (!fired || (strict & RESULTS))
        op->check(w);
    if (!fired) must(s, &err);
    if (s && mode == FAULT_ONE) { /* what is left of a failure does not matter */
        ms_generated_clear(&w->generated);
        must(op->act(w, &err), &err);
        op->check(w);
    }
    forget(w);
    if ((strict & RESULTS) && faults_live() != blocks)
        fail_msg("%s, failure %ld (%s): %ld blocks leak", op->what, n, err.message,
                 faults_live() - blocks);
    if (faults_descriptors() != descriptors)
        fail_msg("%s, failure %ld (%s): open descriptors leak", op->what, n, err.message);
    assert_int_equal(w->device->allocated_bytes, held);
    return !fired;
}

/* n = 1, 2, ... until nothing fails; a first run without faults fills what the C library keeps. */
static void until_nothing_fails(world *w, const operation *op, fault_kind kind, int strict)
{
    ms_error err;
    long n = 0;

    forget(w);
    op->before(w);
    must(op->act(w, &err), &err);
    for (int mode = FAULT_ONE; mode <= FAULT_ALL; mode++)
        for (n = 1; !once(w, op, kind, (fault_mode)mode, n, strict); n++)
            if (n == CALLS_MAX) fail_msg("%s: no end of faults", op->what);
    if (n == 1) fail_msg("%s: nothing to fail", op->what);
    print_message("%s: %ld calls\n", op->what, n - 1);
}

static void run_all(const operation *op, size_t ops, fault_kind kind, int strict)
{
    world w;

    need(kind);
    world_open(&w);
    for (size_t i = 0; i < ops; i++) until_nothing_fails(&w, &op[i], kind, strict);
    world_close(&w);
}

#define RUN_ALL(ops, kind, strict) run_all(ops, sizeof(ops) / sizeof *(ops), kind, strict)

/* -- memory ---------------------------------------------------------------------------------- */

static void memory_fails_while_reading(void **state)
{
    (void)state;
    RUN_ALL(reading, FAULT_MEMORY, RESULTS);
}

/* Without a look at what was written and at leaks: those wait for the test below. */
static void memory_fails_while_writing(void **state)
{
    (void)state;
    RUN_ALL(writing, FAULT_MEMORY, 0);
    RUN_ALL(resuming, FAULT_MEMORY, 0);
}

static void files_are_whole_when_memory_fails(void **state)
{
    (void)state;
    RUN_ALL(writing, FAULT_MEMORY, RESULTS);
}

static void failures_of_memory_are_called_so(void **state)
{
    (void)state;
    RUN_ALL(reading, FAULT_MEMORY, NAMES);
    RUN_ALL(writing, FAULT_MEMORY, NAMES);
    RUN_ALL(resuming, FAULT_MEMORY, NAMES);
}

/* -- files ----------------------------------------------------------------------------------- */

static void files_fail_while_reading(void **state)
{
    static const operation open_ops[] = {
        {"load a model", nothing, load_model, nothing},
        {"load a tokenizer", nothing, load_tokenizer, check_tokenizer},
        {"open a model folder", nothing, open_public, nothing},
        {"step", before_step, step, nothing},
        {"evaluate", before_step, evaluate, nothing},
    };

    (void)state;
    RUN_ALL(open_ops, FAULT_FILES, RESULTS | NAMES);
}

static void files_fail_while_writing(void **state)
{
    static const operation write_ops[] = {
        {"make a trainer", remove_run, new_trainer, check_new},
        {"make a public trainer", remove_run, train_public, nothing},
        {"save", remove_run, save, check_save},
    };

    (void)state;
    RUN_ALL(write_ops, FAULT_FILES, RESULTS | NAMES);
}

/* Without a look at what was resumed: see a_run_is_not_forgotten. */
static void files_fail_in_a_resume(void **state)
{
    (void)state;
    RUN_ALL(resuming, FAULT_FILES, 0);
}

/* A snapshot that cannot be seen for a moment must not make a resume, or a run, start anew. */
static void a_run_is_not_forgotten(void **state)
{
    (void)state;
    RUN_ALL(resuming, FAULT_MEMORY, RESULTS);
    RUN_ALL(resuming, FAULT_FILES, RESULTS);
}

/* -- snapshots ------------------------------------------------------------------------------- */

/* A long run in world.run that saves after every step, and the weights of its last 2 snapshots. */
typedef struct {
    world w;
    ms_trainer *t;
    size_t count;
    float *saved, *now;
} lasting;

static void read_weights(ms_model *m, float *to)
{
    ms_queue q = {.device = m->device};
    ms_error err;

    ms_read_floats(&q, m->weights.p.flat, to);
    must(ms_queue_finish(&q, &err), &err);
}

/* The step that failed is the one that is done next, with the same windows. */
static void a_step_that_failed_is_tried_again(void **state)
{
    world w;
    ms_error err;

    (void)state;
    need(FAULT_MEMORY);
    world_open(&w);
    before_step(&w);
    faults_arm(FAULT_MEMORY, FAULT_ONE, 1);
    assert_int_equal(step(&w, &err), MS_MEMORY);
    faults_disarm();
    must(step(&w, &err), &err);
    steps(w.saver, 1);
    size_t n = ms_count(ms_trainer_model(w.saver)->weights.p.flat);
    float *want = test_malloc(n * sizeof *want), *got = test_malloc(n * sizeof *got);
    read_weights(ms_trainer_model(w.saver), want);
    read_weights(ms_trainer_model(w.trainer), got);
    assert_memory_equal(want, got, n * sizeof *want);
    test_free(want);
    test_free(got);
    forget(&w);
    world_close(&w);
}

static void lasting_open(lasting *l)
{
    ms_error err;

    need(FAULT_FILES);
    world_open(&l->w);
    ms_train_options o = options(&l->w, l->w.run);
    o.steps = 1 << 20;
    l->t = trainer(&l->w, &o);
    l->count = ms_count(ms_trainer_model(l->t)->weights.p.flat);
    l->saved = test_malloc(l->count * sizeof *l->saved);
    l->now = test_malloc(l->count * sizeof *l->now);
    steps(l->t, 1);
    must(ms_trainer_save(l->t, &err), &err);
    read_weights(ms_trainer_model(l->t), l->saved);
}

static void lasting_close(lasting *l)
{
    test_free(l->saved);
    test_free(l->now);
    ms_trainer_free(l->t);
    world_close(&l->w);
}

/* The weights are those of the last snapshot or of the one that was tried; true: of the latter. */
static bool is_now(const lasting *l, ms_model *m)
{
    float *have = test_malloc(l->count * sizeof *have);
    bool now, saved;

    if (ms_count(m->weights.p.flat) != l->count) fail_msg("the model is another one");
    read_weights(m, have);
    now = !memcmp(have, l->now, l->count * sizeof *have);
    saved = !memcmp(have, l->saved, l->count * sizeof *have);
    test_free(have);
    if (!now && !saved) fail_msg("the weights are those of no snapshot");
    return now;
}

/* The folder is a model, and a run that resumes; `saved`: with the step that was tried. */
static void survives(lasting *l, long n, bool saved)
{
    ms_train_options o = resume(l->w.run);
    ms_model *m = NULL;
    ms_trainer *t = NULL;
    ms_error err = {.status = MS_OK};
    int64_t step = ms_trainer_steps_done(l->t);

    if (ms_model_load(&m, l->w.device, l->w.run, &err))
        fail_msg("failure %ld: the folder is no model: %s", n, err.message);
    is_now(l, m);
    ms_model_free(m);
    if (ms_trainer_new(&t, l->w.device, &o, NULL, &err))
        fail_msg("failure %ld: the run does not resume: %s", n, err.message);
    bool now = is_now(l, ms_trainer_model(t));
    if (ms_trainer_steps_done(t) != (memcmp(l->now, l->saved, l->count) && !now ? step - 1 : step))
        fail_msg("failure %ld: weights of another step than %d", n, (int)ms_trainer_steps_done(t));
    if (saved) assert_true(now);
    ms_trainer_free(t);
}

/* Saves with the nth call failing, in a child when that is the end of it; true when none failed. */
static bool try_to_save(lasting *l, fault_mode mode, long n, bool *saved)
{
    ms_error err = {.status = MS_OK};
    int status = 0;
    pid_t child;

    if (mode != FAULT_KILL) {
        faults_arm(FAULT_FILES, mode, n);
        *saved = ms_trainer_save(l->t, &err) == MS_OK;
        bool fired = faults_disarm();
        if (!fired) must(err.status, &err);
        if (!*saved) assert_true(err.status == MS_IO && err.message[0]);
        return !fired;
    }
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        faults_arm(FAULT_FILES, FAULT_KILL, n);
        _exit(ms_trainer_save(l->t, &err) == MS_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    *saved = WEXITSTATUS(status) == 0;
    assert_true(*saved || WEXITSTATUS(status) == FAULT_EXIT);
    return *saved;
}

static int count_names(const world *w, const char *folder)
{
    char path[PATH_BYTES + 64];
    ms_names names;
    ms_error err;

    snprintf(path, sizeof path, "%s/%s", w->run, folder);
    must(ms_folder_list(&names, path, &err), &err);
    int n = (int)names.count;
    ms_names_free(&names);
    return n;
}

/* again: the step has a snapshot already, which is to be replaced. */
static void every_failure_is_survived(lasting *l, fault_mode mode, bool again)
{
    bool done = false;
    long n;

    for (n = 1; !done; n++) {
        bool saved;
        ms_error err;

        if (n == CALLS_MAX) fail_msg("no end of faults");
        if (!again) steps(l->t, 1);
        read_weights(ms_trainer_model(l->t), l->now);
        done = try_to_save(l, mode, n, &saved);
        survives(l, n, saved);
        must(ms_trainer_save(l->t, &err), &err); /* and the trainer goes on */
        survives(l, n, true);
        assert_int_equal(count_names(&l->w, "checkpoints"), 1); /* keep 1, no left-overs */
        memcpy(l->saved, l->now, l->count * sizeof *l->saved);
    }
    print_message("%ld calls on files\n", n - 2);
    assert_true(n > 20);
    assert_int_equal(count_names(&l->w, ""), 10); /* 7 files, data, checkpoints, metrics.jsonl */
}

static void the_earlier_snapshot_survives(void **state)
{
    lasting l;

    (void)state;
    lasting_open(&l);
    for (int mode = FAULT_ONE; mode <= FAULT_KILL; mode++)
        every_failure_is_survived(&l, (fault_mode)mode, false);
    lasting_close(&l);
}

static void a_snapshot_survives_its_replacement(void **state)
{
    lasting l;

    (void)state;
    lasting_open(&l);
    for (int mode = FAULT_ONE; mode <= FAULT_KILL; mode++)
        every_failure_is_survived(&l, (fault_mode)mode, true);
    lasting_close(&l);
}

/* Writes that are cut short or interrupted are gone on with. */
static void short_writes_are_completed(void **state)
{
    static const fault_mode mode[] = {FAULT_SHORT, FAULT_INTERRUPTED};
    world w;
    ms_error err;

    (void)state;
    need(FAULT_FILES);
    world_open(&w);
    for (int i = 0; i < 2; i++)
        for (long n = 1; n < (i ? 12 : 2); n++) {
            remove_run(&w);
            faults_arm(FAULT_FILES, mode[i], n);
            must(save(&w, &err), &err);
            faults_disarm();
            check_save(&w);
            forget(&w);
        }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_fails_while_reading),
        cmocka_unit_test(memory_fails_while_writing),
        cmocka_unit_test(files_are_whole_when_memory_fails),
        cmocka_unit_test(failures_of_memory_are_called_so),
        cmocka_unit_test(files_fail_while_reading),
        cmocka_unit_test(files_fail_while_writing),
        cmocka_unit_test(files_fail_in_a_resume),
        cmocka_unit_test(a_run_is_not_forgotten),
        cmocka_unit_test(a_step_that_failed_is_tried_again),
        cmocka_unit_test(the_earlier_snapshot_survives),
        cmocka_unit_test(a_snapshot_survives_its_replacement),
        cmocka_unit_test(short_writes_are_completed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
