/* A trainer: it learns; what must not matter (threads, recompute, how a batch is cut) does not; a
 * step that is not finite changes nothing; gradients by hand are those of a step. */
#include "runs.h"

#include "model/folder.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const PRESET[] = {"original", "gpt2",  "llama", "mistral",
                                     "qwen2",    "qwen3", "nano",  "smollm"};

enum { PRESETS = sizeof PRESET / sizeof *PRESET };

/* The families without grouped queries keep all their heads. */
static void set_preset(ms_train_options *o, const char *preset)
{
    o->preset = preset;
    o->shape.kv_heads = strcmp(preset, "original") && strcmp(preset, "gpt2") ? 2 : 4;
}

/* -- learning -------------------------------------------------------------------------------- */

static void loss_falls(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    for (int i = 0; i < PRESETS; i++) {
        ms_train_options o = runs_options(&r, PRESET[i]);
        ms_evaluation before, after;
        ms_error err;

        set_preset(&o, PRESET[i]);
        o.steps = 60;
        ms_trainer *t = runs_new(&r, &o);
        must(ms_trainer_evaluate(t, &before, &err), &err);
        double first = runs_steps(t, 1).loss, last = runs_steps(t, 59).loss;
        must(ms_trainer_evaluate(t, &after, &err), &err);
        /* at first all of the 10 characters are about as likely; in the end few are */
        if (!(first > 2 && first < 3.5 && last < 2.1 && last < first - 0.7))
            fail_msg("%s: loss went from %g to %g", PRESET[i], first, last);
        if (!(before.loss > 2 && after.loss < 2.1))
            fail_msg("%s: held-out loss went from %g to %g", PRESET[i], before.loss, after.loss);
        assert_int_equal(ms_trainer_steps_done(t), 60);
        ms_trainer_free(t);
    }
    runs_close(&r);
}

static void progress_counts(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    o.accumulate = 3;
    o.schedule = MS_SCHEDULE_CONSTANT;
    ms_trainer *t = runs_new(&r, &o);
    for (int i = 1; i <= 8; i++) {
        ms_progress p = runs_steps(t, 1);

        assert_int_equal(p.step, i);
        assert_int_equal(p.steps, 8);
        assert_int_equal(p.tokens, i * 3 * RUNS_BATCH * RUNS_CONTEXT);
        assert_true(p.lr == (i == 1 ? o.lr / 2 : o.lr)); /* warm-up: 2 steps */
        assert_true(p.grad_norm > 0 && p.tokens_per_s > 0 && p.seconds > 0);
        assert_true(i < 8 ? p.left_s > 0 : p.left_s == 0);
    }
    ms_trainer_free(t);
    ms_trainer_free(NULL);
    runs_close(&r);
}

/* -- what must not matter ---------------------------------------------------------------------- */

static void compare_accumulation(const char *device, double limit)
{
    runs r;
    size_t n, m;
    double worst = 0;

    runs_open(&r, device, 1);
    ms_train_options o = runs_options(&r, "whole");
    ms_train_options parts = runs_options(&r, "parts");
    o.eps = parts.eps = 1e-4; /* a gradient that is rounding alone must not become a whole step */
    parts.batch = 2;
    parts.accumulate = 2;
    ms_trainer *a = runs_new(&r, &o), *b = runs_new(&r, &parts);
    double first = runs_steps(a, 8).loss, second = runs_steps(b, 8).loss;
    float *x = runs_flat(a, &n), *y = runs_flat(b, &m);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)x[i] - y[i]));
    if (!(worst <= limit)) fail_msg("%s: weights differ by %g", device, worst);
    assert_true(fabs(first - second) < 1e-5);
    test_free(x);
    test_free(y);
    ms_trainer_free(a);
    ms_trainer_free(b);
    runs_close(&r);
}

/* 4 windows at once, or twice 2 of them. */
static void accumulation_gives_the_same_weights(void **state)
{
    (void)state;
    compare_accumulation("ref", 1e-6);
    compare_accumulation("cpu", 1e-6);
}

static void same_run(runs *r, const char *a, const char *b)
{
    runs_same(r, a, b, "model.safetensors");
    runs_same(r, a, b, "optimizer.safetensors");
}

static void two_runs_give_the_same_bytes(void **state)
{
    static const char *const device[] = {"ref", "cpu"};

    (void)state;
    for (int d = 0; d < 2; d++) {
        runs r;

        runs_open(&r, device[d], 2);
        for (int i = 0; i < 3; i++) {
            static const char *const name[] = {"a", "b", "other"};
            ms_train_options o = runs_options(&r, name[i]);

            o.dropout = 0.1;
            if (i == 2) o.seed = 8;
            runs_train(&r, &o);
        }
        same_run(&r, "a", "b");
        assert_false(runs_equal(&r, "a", "other", "model.safetensors"));
        runs_close(&r);
    }
}

static void recompute_gives_the_same_bytes(void **state)
{
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    for (int i = 0; i < PRESETS; i++) {
        char name[2][32];

        for (int k = 0; k < 2; k++) {
            snprintf(name[k], sizeof name[k], "%s-%d", PRESET[i], k);
            ms_train_options o = runs_options(&r, name[k]);
            set_preset(&o, PRESET[i]);
            o.steps = 4;
            o.dropout = 0.1;
            o.recompute = k;
            runs_train(&r, &o);
        }
        same_run(&r, name[0], name[1]);
    }
    runs_close(&r);
}

/* Large enough that the work is shared. */
static void wide(ms_train_options *o)
{
    o->shape.width = 64;
    o->shape.ffn = 96;
    o->shape.context = 48;
    o->steps = 4;
    o->dropout = 0.1;
    o->accumulate = 2;
}

static void threads_give_the_same_bytes(void **state)
{
    static const int threads[] = {1, 2, 5};
    static const char *const preset[] = {"original", "llama"};
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    for (int p = 0; p < 2; p++) {
        char name[3][32];

        for (int i = 0; i < 3; i++) {
            ms_device_options d = {.threads = threads[i]};
            ms_error err;

            snprintf(name[i], sizeof name[i], "%s-%d", preset[p], threads[i]);
            ms_train_options o = runs_options(&r, name[i]);
            set_preset(&o, preset[p]);
            wide(&o);
            ms_device_close(r.device);
            must(ms_device_open(&r.device, "cpu", &d, &err), &err);
            runs_train(&r, &o);
        }
        same_run(&r, name[0], name[1]);
        same_run(&r, name[0], name[2]);
    }
    runs_close(&r);
}

/* -- steps that are not finite ----------------------------------------------------------------- */

/* The parameter of a name; overwrites element `at` of its row of floats. */
static void poke(ms_trainer *t, const char *tensor, size_t at, float value)
{
    ms_model *m = ms_trainer_model(t);
    ms_queue q = {.device = m->device};
    ms_start start;
    char name[40];
    ms_tensor *p;
    ms_error err;

    for (int i = 0; (p = ms_params_get(&m->weights.p, &m->config, i, name, &start)); i++)
        if (!strcmp(name, tensor)) break;
    if (!p) fail_msg("there is no %s", tensor);
    ms_write_floats(&q, MS_TENSOR((char *)p->data + at * ms_dtype_bytes(p->dtype), p->dtype, 1),
                    &value);
    must(ms_queue_finish(&q, &err), &err);
}

/* A step fails, names the tensor, and leaves weights and count as they were. */
static void step_refused(ms_trainer *t, const char *text)
{
    int64_t done = ms_trainer_steps_done(t);
    size_t n, m;
    float *before = runs_flat(t, &n), *after;
    ms_progress p;
    ms_error err = {.status = MS_OK};

    if (!ms_trainer_step(t, &p, &err)) fail_msg("a step was done; expected \"%s\"", text);
    assert_int_equal(err.status, MS_NONFINITE);
    if (!strstr(err.message, text)) fail_msg("\"%s\" lacks \"%s\"", err.message, text);
    after = runs_flat(t, &m);
    assert_memory_equal(before, after, n * sizeof *before);
    assert_int_equal(ms_trainer_steps_done(t), done);
    test_free(before);
    test_free(after);
}

static void a_bad_weight_is_named(void **state)
{
    static const struct {
        const char *tensor;
        size_t
            first; /* of 16 elements; row 1 of the embedding: the blank, which all windows have */
    } place[] = {{"embed", 16},   {"head", 0},   {"wqkv.0", 0},    {"wo.1", 0},     {"w_up.0", 0},
                 {"w_down.1", 0}, {"norm_w", 0}, {"norm1_w.1", 0}, {"norm2_w.0", 0}};
    static const float bad[] = {NAN, INFINITY};
    static const char *const device[] = {"ref", "cpu"};
    char text[64];

    (void)state;
    for (int d = 0; d < 2; d++) {
        runs r;

        runs_open(&r, device[d], 1);
        ms_train_options o = runs_options(&r, "run");
        for (size_t i = 0; i < sizeof place / sizeof *place; i++)
            for (int b = 0; b < 2; b++) {
                ms_trainer *t = runs_new(&r, &o);

                runs_steps(t, 2);
                for (size_t at = 0; at < 16; at++)
                    poke(t, place[i].tensor, place[i].first + at, bad[b]);
                snprintf(text, sizeof text, "weight %s", place[i].tensor);
                step_refused(t, text);
                step_refused(t, "step 3:");
                ms_trainer_free(t);
                assert_false(ms_path_exists(runs_path(&r, "run/checkpoints")));
            }
        runs_close(&r);
    }
}

/* Finite weights whose logits are not: the run is kept as it was, and can go on. */
static void a_bad_gradient_is_named_and_the_run_is_saved(void **state)
{
    runs r;
    size_t n, m;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run"), good = runs_options(&r, "good");
    ms_trainer *t = runs_new(&r, &o), *other = runs_new(&r, &good);
    runs_steps(t, 3);
    runs_steps(other, 4);
    float kept[RUNS_CONTEXT];
    ms_queue q = {.device = r.device};
    ms_tensor row = ms_rows(ms_trainer_model(t)->weights.p.head, 0, 1);
    ms_read_floats(&q, row, kept);
    for (size_t at = 0; at < 16; at++) poke(t, "head", at, at % 2 ? 3e38f : -3e38f);
    step_refused(t, "the first bad tensor is gradient ");
    ms_write_floats(&q, row, kept);
    runs_steps(t, 1);
    float *a = runs_flat(t, &n), *b = runs_flat(other, &m);
    assert_memory_equal(a, b, n * sizeof *a); /* not even a window was lost */
    test_free(a);
    test_free(b);
    ms_trainer_free(t);
    ms_trainer_free(other);

    o = runs_resume(&r, "run");
    t = runs_new(&r, &o);
    assert_int_equal(ms_trainer_steps_done(t), 3);
    step_refused(t, "step 4:");
    ms_trainer_free(t);
    runs_close(&r);
}

/* Gradients that are not finite do not reach weights, moments or the count of updates. */
static void bad_gradients_are_not_applied(void **state)
{
    runs r;
    size_t n, m;
    float bad = NAN;
    double norm;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    ms_trainer *t = runs_new(&r, &o);
    runs_steps(t, 2);
    must(ms_trainer_save(t, &err), &err);
    float *before = runs_flat(t, &n);
    ms_queue q = {.device = r.device};
    ms_tensor g = ms_pass_gradients(t->pass)->layer[1].wo;
    ms_write_floats(&q, MS_TENSOR(g.data, g.dtype, 1), &bad);
    must(ms_trainer_apply_gradients(t, 1e-2, &norm, &err), &err);
    assert_true(isnan(norm));
    float *after = runs_flat(t, &m);
    assert_memory_equal(before, after, n * sizeof *before);
    t->o.out = (char *)(uintptr_t)runs_path(&r, "moments"); /* what the run would save now */
    must(ms_trainer_save(t, &err), &err);
    same_run(&r, "run", "moments");
    assert_int_equal(t->updates, 2);
    test_free(before);
    test_free(after);
    ms_trainer_free(t);
    runs_close(&r);
}

/* -- gradients by hand ------------------------------------------------------------------------- */

/* zero, add, apply with the windows and rates of the run. */
static void gradients_by_hand_are_those_of_a_step(void **state)
{
    int32_t id[RUNS_BATCH * RUNS_CONTEXT], target[RUNS_BATCH * RUNS_CONTEXT];
    runs r;
    ms_shard shard;
    ms_loader loader;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "steps"), own = runs_options(&r, "own");
    o.dropout = own.dropout = 0.1;
    ms_trainer *a = runs_new(&r, &o), *b = runs_new(&r, &own);
    must(ms_shard_open(&shard, runs_path(&r, "own/data/train.tokens"), &err), &err);
    must(ms_loader_init(&loader, &shard, RUNS_CONTEXT, own.seed, &err), &err);
    for (int step = 0; step < 4; step++) {
        ms_progress p = runs_steps(a, 1);
        double loss, norm;

        for (int i = 0; i < RUNS_BATCH; i++)
            ms_loader_next(&loader, id + i * RUNS_CONTEXT, target + i * RUNS_CONTEXT);
        must(ms_trainer_zero_gradients(b, &err), &err);
        must(ms_trainer_add_gradients(b, id, target, &loss, &err), &err);
        must(ms_trainer_apply_gradients(b, p.lr, &norm, &err), &err);
        assert_true(loss == p.loss && norm == p.grad_norm);
    }
    must(ms_trainer_save(a, &err), &err);
    must(ms_trainer_save(b, &err), &err);
    same_run(&r, "steps", "own");
    assert_int_equal(ms_trainer_steps_done(b), 0); /* such updates are no steps of the run */
    ms_shard_close(&shard);
    ms_trainer_free(a);
    ms_trainer_free(b);
    runs_close(&r);
}

/* Targets of -1 count for nothing; two calls add up; bad ids are refused. */
static void gradients_take_targets_that_count(void **state)
{
    int32_t id[RUNS_BATCH * RUNS_CONTEXT], target[RUNS_BATCH * RUNS_CONTEXT];
    double once, twice, loss;
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "ref", 1);
    ms_train_options o = runs_options(&r, "run");
    o.clip = 0;
    ms_trainer *t = runs_new(&r, &o);
    for (int i = 0; i < RUNS_BATCH * RUNS_CONTEXT; i++) {
        id[i] = i % 10;
        target[i] = i < RUNS_CONTEXT / 2 ? (i + 1) % 10 : -1;
    }
    must(ms_trainer_zero_gradients(t, &err), &err);
    must(ms_trainer_add_gradients(t, id, target, &loss, &err), &err);
    assert_true(loss > 1.5 && loss < 4); /* a mean over 8 targets, not over 64 */
    must(ms_trainer_apply_gradients(t, 0, &once, &err), &err);
    must(ms_trainer_add_gradients(t, id, target, &loss, &err), &err);
    must(ms_trainer_apply_gradients(t, 0, &twice, &err), &err);
    assert_true(once > 0 && fabs(twice - 2 * once) < 1e-6 * once);
    for (int i = 0; i < RUNS_BATCH * RUNS_CONTEXT; i++) target[i] = -1;
    assert_int_equal(ms_trainer_add_gradients(t, id, target, &loss, &err), MS_INPUT);
    target[0] = 10;
    assert_int_equal(ms_trainer_add_gradients(t, id, target, &loss, &err), MS_INPUT);
    target[0] = 1;
    id[3] = -1;
    assert_int_equal(ms_trainer_add_gradients(t, id, target, &loss, &err), MS_INPUT);
    ms_trainer_free(t);
    runs_close(&r);
}

static void a_step_allocates_nothing_on_the_device(void **state)
{
    runs r;
    ms_evaluation e;
    ms_error err;

    (void)state;
    runs_open(&r, "cpu", 2);
    for (int recompute = 0; recompute < 2; recompute++) {
        ms_train_options o = runs_options(&r, recompute ? "b" : "a");

        o.recompute = recompute;
        o.accumulate = 2;
        ms_trainer *t = runs_new(&r, &o);
        size_t before = r.device->allocations, bytes = r.device->allocated_bytes;
        runs_steps(t, 4);
        must(ms_trainer_evaluate(t, &e, &err), &err);
        must(ms_trainer_save(t, &err), &err);
        assert_int_equal(r.device->allocations, before);
        assert_int_equal(r.device->allocated_bytes, bytes);
        ms_trainer_free(t);
        assert_int_equal(r.device->allocated_bytes, 0);
    }
    runs_close(&r);
}

/* -- fine-tuning ------------------------------------------------------------------------------- */

static void a_model_is_tuned(void **state)
{
    size_t n, m;
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options base = runs_options(&r, "base"), o = ms_train_options_new();
    runs_train(&r, &base);
    o.init_path = runs_path(&r, "base");
    o.data.path = r.data;
    o.data.paths = 1;
    o.out = runs_path(&r, "tuned");
    o.batch = 2;
    o.seed = 99;
    ms_trainer *t = runs_new(&r, &o);
    ms_model *m0;
    ms_error err;
    must(ms_model_load(&m0, r.device, runs_path(&r, "base"), &err), &err);
    float *a = runs_flat(t, &n), *b = test_malloc(n * sizeof *b);
    ms_queue q = {.device = r.device};
    m = ms_count(m0->weights.p.flat);
    assert_int_equal(n, m);
    ms_read_floats(&q, m0->weights.p.flat, b);
    assert_memory_equal(a, b, n * sizeof *a);
    assert_string_equal(ms_tokenizer_kind(ms_trainer_tokenizer(t)), "chars");
    assert_int_equal(ms_trainer_steps_done(t), 0);
    assert_true(runs_steps(t, 1).loss < 2.2); /* it starts from what was learnt */
    test_free(a);
    test_free(b);
    ms_model_free(m0);
    ms_trainer_free(t);

    o.out = runs_path(&r, "other");
    o.shape.width = 32;
    runs_refused(&r, &o, MS_INPUT, "width: the model has 16, it cannot become 32");
    o.shape = (ms_config){.context = 17};
    runs_refused(&r, &o, MS_INPUT, "context: the model has 16, it cannot be trained on 17");
    o.shape.context = 0;
    o.data.tokenizer = "bytes";
    runs_refused(&r, &o, MS_INPUT, "the model has 10 tokens, the tokenizer 257");
    o.data.tokenizer = NULL;
    o.init_path = runs_path(&r, "nowhere");
    o.out = runs_path(&r, "third");
    runs_refused(&r, &o, MS_IO, "No such file");
    runs_close(&r);
}

/* A long context need not be filled: windows are shorter, the model keeps what it had. */
static void a_model_is_tuned_on_short_windows(void **state)
{
    ms_evaluation e;
    ms_error err;
    runs r;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options base = runs_options(&r, "base"), o = runs_options(&r, "tuned");
    runs_train(&r, &base);
    o.preset = NULL;
    o.init_path = runs_path(&r, "base");
    o.shape = (ms_config){.context = RUNS_CONTEXT / 2};
    o.data.tokenizer = NULL;
    ms_trainer *t = runs_new(&r, &o);
    assert_int_equal(ms_trainer_model(t)->config.context, RUNS_CONTEXT);
    assert_int_equal(runs_steps(t, 3).tokens, 3 * RUNS_BATCH * RUNS_CONTEXT / 2);
    must(ms_trainer_evaluate(t, &e, &err), &err);
    assert_true(e.loss < 2.3 && e.tokens > 0);
    must(ms_trainer_save(t, &err), &err);
    ms_trainer_free(t);

    o = runs_resume(&r, "tuned");
    t = runs_new(&r, &o); /* as the run has it */
    assert_int_equal(ms_trainer_model(t)->config.context, RUNS_CONTEXT);
    assert_int_equal(runs_steps(t, 1).tokens, 4 * RUNS_BATCH * RUNS_CONTEXT / 2);
    ms_trainer_free(t);
    o.shape.context = RUNS_CONTEXT;
    runs_refused(&r, &o, MS_INPUT, "the run has windows of 8, it cannot go on with 16");
    runs_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_falls),
        cmocka_unit_test(progress_counts),
        cmocka_unit_test(accumulation_gives_the_same_weights),
        cmocka_unit_test(two_runs_give_the_same_bytes),
        cmocka_unit_test(recompute_gives_the_same_bytes),
        cmocka_unit_test(threads_give_the_same_bytes),
        cmocka_unit_test(a_bad_weight_is_named),
        cmocka_unit_test(a_bad_gradient_is_named_and_the_run_is_saved),
        cmocka_unit_test(bad_gradients_are_not_applied),
        cmocka_unit_test(gradients_by_hand_are_those_of_a_step),
        cmocka_unit_test(gradients_take_targets_that_count),
        cmocka_unit_test(a_step_allocates_nothing_on_the_device),
        cmocka_unit_test(a_model_is_tuned),
        cmocka_unit_test(a_model_is_tuned_on_short_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
