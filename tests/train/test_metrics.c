/* metrics.jsonl: every line is JSON, one a step; it is only ever appended to; a resume ends a line
 * that a kill cut off and says where it goes on. */
#include "runs.h"

#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 64 };

/* The lines of RUN/metrics.jsonl; NULL stands for one that is not JSON. */
typedef struct {
    cJSON *line[LINES];
    int lines, broken;
    char *text;
    size_t size_bytes;
} metrics;

static metrics metrics_read(runs *r, const char *run)
{
    char path[RUNS_PATH + 32];
    metrics m = {.lines = 0};
    ms_error err;

    snprintf(path, sizeof path, "%s/metrics.jsonl", runs_path(r, run));
    must(ms_file_read(&m.text, &m.size_bytes, path, 1 << 20, &err), &err);
    for (char *at = m.text, *end; (end = strchr(at, '\n')); at = end + 1) {
        const char *stop = NULL;

        assert_true(m.lines < LINES);
        cJSON *o = cJSON_ParseWithLengthOpts(at, (size_t)(end - at), &stop, 0);
        if (o && (stop != end || !cJSON_IsObject(o))) fail_msg("more than an object in a line");
        m.broken += !o;
        m.line[m.lines++] = o;
    }
    if (m.size_bytes > 0) assert_int_equal(m.text[m.size_bytes - 1], '\n');
    return m;
}

static void metrics_free(metrics *m)
{
    for (int i = 0; i < m->lines; i++) cJSON_Delete(m->line[i]);
    free(m->text);
}

static double number(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);

    if (!cJSON_IsNumber(item)) fail_msg("a line has no number \"%s\"", key);
    return item->valuedouble;
}

static const char *event(const cJSON *o)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "event"));

    return text ? text : "step";
}

static void append(runs *r, const char *run, const char *text)
{
    char path[RUNS_PATH + 32];
    FILE *f;

    snprintf(path, sizeof path, "%s/metrics.jsonl", runs_path(r, run));
    f = fopen(path, "a");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Nine digits: the file's numbers are those of a float. */
static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-8 * fabs(b);
}

static void a_line_holds_what_the_step_reports(void **state)
{
    static const ms_progress row[] = {
        {1, 10, 2.302585093, 0.5, 1e-3, 123456.7, 0.25, 2.25, 64},
        {999999999999, 999999999999, 1e-30, 1e30, 1e-12, 1e12, 1e9, 0, UINT64_MAX},
        {2, 3, 0, 0, 0, 0.1, 0.0004, 1, 0},
    };
    enum { N = sizeof row / sizeof *row };
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "ref", 1);
    must(ms_folder_make(runs_path(&r, "run"), &err), &err);
    for (int i = 0; i < N; i++) must(ms_metrics_step(runs_path(&r, "run"), &row[i], &err), &err);
    metrics m = metrics_read(&r, "run");
    assert_int_equal(m.lines, N);
    assert_int_equal(m.broken, 0);
    for (int i = 0; i < N; i++) {
        assert_true(number(m.line[i], "step") == (double)row[i].step);
        assert_true(near(number(m.line[i], "loss"), row[i].loss));
        assert_true(near(number(m.line[i], "lr"), row[i].lr));
        assert_true(near(number(m.line[i], "grad_norm"), row[i].grad_norm));
        assert_true(number(m.line[i], "tokens") == (double)row[i].tokens);
        assert_true(fabs(number(m.line[i], "tokens_per_s") - row[i].tokens_per_s) <= 0.05);
        assert_true(fabs(number(m.line[i], "seconds") - row[i].seconds) <= 0.0005);
    }
    metrics_free(&m);
    runs_close(&r);
}

/* 4 steps, an evaluation after 2 of them and at the end. */
static void a_run_writes_a_line_a_step(void **state)
{
    runs r;
    ms_evaluation final;
    ms_error err;
    int steps = 0, evaluations = 0;

    (void)state;
    runs_open(&r, "cpu", 1);
    ms_train_options o = runs_options(&r, "run");
    o.steps = 4;
    o.eval_every = 2;
    ms_trainer *t = runs_new(&r, &o);
    must(ms_trainer_run(t, NULL, NULL, &final, &err), &err);
    ms_trainer_free(t);
    metrics m = metrics_read(&r, "run");
    assert_int_equal(m.lines, 6);
    assert_int_equal(m.broken, 0);
    for (int i = 0; i < m.lines; i++) {
        const cJSON *line = m.line[i];
        bool evaluation = !strcmp(event(line), "evaluation");

        if (!evaluation) {
            assert_int_equal(number(line, "step"), ++steps);
            assert_int_equal(number(line, "tokens"), steps * RUNS_BATCH * RUNS_CONTEXT);
            continue;
        }
        evaluations++;
        assert_int_equal(number(line, "step"), 2 * evaluations);
        assert_true(number(line, "held_out_loss") > 0 && number(line, "bits_per_byte") > 0);
    }
    assert_int_equal(evaluations, 2);
    assert_true(near(number(m.line[5], "held_out_loss"), final.loss));
    assert_true(near(number(m.line[5], "bits_per_byte"), final.bits_per_byte));
    metrics_free(&m);
    runs_close(&r);
}

/* What stands there when a run is resumed at step 4, and how many lines of it are broken. */
static const struct {
    const char *what, *cut;
    int lines, broken;
} torn[] = {
    {"whole lines", "", 5, 0},
    {"a torn line", "{\"step\":6,\"loss\":2.3", 6, 1},
    {"a torn line that is JSON", "{\"step\":6}", 6, 0},
    {"one byte", "{", 6, 1},
    {"a whole line more", "{\"step\":6}\n", 6, 0},
};

/* The run saves at step 4, logs step 5 and the cut line, is resumed and goes to step 6. */
static void a_resume_goes_on_behind_a_torn_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        runs r;
        ms_error err;

        runs_open(&r, "cpu", 1);
        ms_train_options o = runs_options(&r, "run");
        ms_trainer *t = runs_new(&r, &o);
        runs_steps(t, 4);
        must(ms_trainer_save(t, &err), &err);
        runs_steps(t, 1);
        ms_trainer_free(t);
        append(&r, "run", torn[i].cut);
        char *before;
        size_t size;
        must(ms_file_read(&before, &size, runs_path(&r, "run/metrics.jsonl"), 1 << 20, &err), &err);

        o = runs_resume(&r, "run");
        t = runs_new(&r, &o);
        runs_steps(t, 2);
        ms_trainer_free(t);
        metrics m = metrics_read(&r, "run");
        assert_memory_equal(m.text, before, size); /* never rewritten */
        if (m.lines != torn[i].lines + 3 || m.broken != torn[i].broken)
            fail_msg("%s: %d lines, %d broken", torn[i].what, m.lines, m.broken);
        const cJSON *const *line = (const cJSON *const *)m.line + torn[i].lines;
        assert_string_equal(event(line[0]), "resume");
        assert_int_equal(number(line[0], "step"), 4);
        assert_int_equal(number(line[1], "step"), 5);
        assert_int_equal(number(line[2], "step"), 6);
        free(before);
        metrics_free(&m);
        runs_close(&r);
    }
}

/* A file that is missing or empty is begun; one that cannot be written is an error. */
static void a_resume_begins_a_file(void **state)
{
    static const ms_progress p = {.step = 1};
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "ref", 1);
    for (int empty = 0; empty < 2; empty++) {
        const char *run = empty ? "empty" : "missing";

        must(ms_folder_make(runs_path(&r, run), &err), &err);
        if (empty) append(&r, run, "");
        must(ms_metrics_resume(runs_path(&r, run), 3, &err), &err);
        metrics m = metrics_read(&r, run);
        assert_string_equal(m.text, "{\"event\":\"resume\",\"step\":3}\n");
        metrics_free(&m);
    }
    must(ms_folder_make(runs_path(&r, "folder/metrics.jsonl"), &err), &err);
    assert_int_equal(ms_metrics_step(runs_path(&r, "folder"), &p, &err), MS_IO);
    assert_non_null(strstr(err.path, "folder/metrics.jsonl"));
    assert_int_equal(ms_metrics_resume(runs_path(&r, "folder"), 1, &err), MS_IO);
    assert_int_equal(ms_metrics_step(runs_path(&r, "nowhere"), &p, &err), MS_IO);
    runs_close(&r);
}

/* Weights that are not finite have no loss: the line that says so must be JSON all the same. */
static void an_evaluation_that_is_not_finite_is_json(void **state)
{
    static const ms_evaluation bad[] = {{.loss = NAN, .bits_per_byte = NAN},
                                        {.loss = INFINITY, .bits_per_byte = INFINITY}};
    runs r;
    ms_error err;

    (void)state;
    runs_open(&r, "ref", 1);
    must(ms_folder_make(runs_path(&r, "run"), &err), &err);
    for (int i = 0; i < 2; i++)
        must(ms_metrics_evaluation(runs_path(&r, "run"), 1, &bad[i], &err), &err);
    metrics m = metrics_read(&r, "run");
    assert_int_equal(m.lines, 2);
    assert_int_equal(m.broken, 0);
    metrics_free(&m);
    runs_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_holds_what_the_step_reports),
        cmocka_unit_test(a_run_writes_a_line_a_step),
        cmocka_unit_test(a_resume_goes_on_behind_a_torn_line),
        cmocka_unit_test(a_resume_begins_a_file),
        cmocka_unit_test(an_evaluation_that_is_not_finite_is_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
