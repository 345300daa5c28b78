#include "runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s %s", ms_status_text(status), err->path, err->message);
}

const char *runs_path(runs *r, const char *name)
{
    size_t skip = strlen(r->folder) + 1;

    for (int i = 0; i < r->paths; i++)
        if (!strcmp(r->path[i] + skip, name)) return r->path[i];
    assert_true(r->paths < RUNS_PATHS);
    snprintf(r->path[r->paths], RUNS_PATH, "%s/%s", r->folder, name);
    return r->path[r->paths++];
}

/* Words that can be learnt: the next letter follows from the last two, with some noise. */
static void write_text(runs *r)
{
    enum { LENGTH = 3000 };
    char text[LENGTH];
    uint32_t noise = 12345;
    ms_error err;

    for (int i = 0; i < LENGTH; i++) {
        int a = i > 0 ? text[i - 1] : 'a', b = i > 1 ? text[i - 2] : 'b';

        noise = noise * 1664525u + 1013904223u;
        text[i] = (char)('a' + (a * 5 + b * 3 + (noise >> 29 == 0)) % 8);
        if (i % 7 == 6) text[i] = i % 42 == 41 ? '\n' : ' ';
    }
    snprintf(r->text, sizeof r->text, "%s/text.txt", r->folder);
    must(ms_file_write(r->text, text, sizeof text, &err), &err);
    r->data[0] = r->text;
}

void runs_open(runs *r, const char *device, int threads)
{
    ms_device_options o = {.threads = threads};
    ms_error err;

    *r = (runs){.folder = "/tmp/minstrel-train-XXXXXX"};
    assert_non_null(mkdtemp(r->folder));
    must(ms_device_open(&r->device, device, &o, &err), &err);
    write_text(r);
}

void runs_close(runs *r)
{
    ms_error err;

    ms_device_close(r->device);
    must(ms_folder_remove(r->folder, &err), &err);
    *r = (runs){.device = NULL};
}

ms_train_options runs_options(runs *r, const char *name)
{
    ms_train_options o = ms_train_options_new();

    o.preset = "llama";
    o.shape = (ms_config){
        .context = RUNS_CONTEXT, .layers = 2, .width = 16, .heads = 4, .kv_heads = 2, .ffn = 24};
    o.data.path = r->data;
    o.data.paths = 1;
    o.data.tokenizer = "chars";
    o.out = runs_path(r, name);
    o.seed = 7;
    o.steps = 8;
    o.warmup = 2;
    o.batch = RUNS_BATCH;
    o.lr = 1e-2;
    o.eval_every = o.save_every = o.sample_every = 0;
    return o;
}

ms_train_options runs_resume(runs *r, const char *name)
{
    ms_train_options o = ms_train_options_new();

    o.out = runs_path(r, name);
    o.resume = true;
    return o;
}

ms_trainer *runs_new(runs *r, const ms_train_options *o)
{
    ms_trainer *t = NULL;
    ms_error err;

    must(ms_trainer_new(&t, r->device, o, NULL, &err), &err);
    return t;
}

void runs_refused(runs *r, const ms_train_options *o, ms_status status, const char *text)
{
    ms_trainer *t = NULL;
    ms_error err = {.status = MS_OK};
    size_t held = r->device->allocated_bytes;
    ms_status got = ms_trainer_new(&t, r->device, o, NULL, &err);

    if (!got) fail_msg("accepted; expected a refusal with \"%s\"", text);
    if (got != status || err.status != status || !strstr(err.message, text))
        fail_msg("expected %s with \"%s\", got %s: %s", ms_status_text(status), text,
                 ms_status_text(got), err.message);
    assert_null(strchr(err.message, '\n'));
    assert_null(t);
    assert_int_equal(r->device->allocated_bytes, held);
}

ms_progress runs_steps(ms_trainer *t, int steps)
{
    ms_progress p = {.step = 0};
    ms_error err;

    for (int i = 0; i < steps; i++) must(ms_trainer_step(t, &p, &err), &err);
    return p;
}

void runs_train(runs *r, const ms_train_options *o)
{
    ms_trainer *t = runs_new(r, o);
    ms_progress p;
    ms_error err;

    do p = runs_steps(t, 1);
    while (p.step < p.steps);
    must(ms_trainer_save(t, &err), &err);
    ms_trainer_free(t);
}

bool runs_equal(runs *r, const char *a, const char *b, const char *file)
{
    char path[2][RUNS_PATH + 64];
    ms_map map[2] = {{0}};
    ms_error err;
    bool equal;

    snprintf(path[0], sizeof path[0], "%s/%s", runs_path(r, a), file);
    snprintf(path[1], sizeof path[1], "%s/%s", runs_path(r, b), file);
    equal = !ms_map_open(&map[0], path[0], &err) && !ms_map_open(&map[1], path[1], &err) &&
            map[0].size_bytes == map[1].size_bytes &&
            !memcmp(map[0].data, map[1].data, map[0].size_bytes);
    ms_map_close(&map[0]);
    ms_map_close(&map[1]);
    return equal;
}

void runs_same(runs *r, const char *a, const char *b, const char *file)
{
    if (!runs_equal(r, a, b, file)) fail_msg("%s of runs %s and %s differs", file, a, b);
}

float *runs_flat(ms_trainer *t, size_t *count)
{
    ms_model *m = ms_trainer_model(t);
    ms_queue q = {.device = m->device};
    ms_tensor flat = m->weights.p.flat;
    float *value;
    ms_error err;

    *count = ms_count(flat);
    value = test_malloc(*count * sizeof *value);
    ms_read_floats(&q, flat, value);
    must(ms_queue_finish(&q, &err), &err);
    return value;
}
