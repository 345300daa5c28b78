/* test_gradcheck - every parameter of every preset by central differences, in float64 on ref
 *
 * Relative error |difference - gradient| / max(|difference| + |gradient|, floor), at most 1e-5; the
 * worst of each preset is printed.  Cases: plain, recomputed with several rows of logits at a time,
 * and with dropout; some targets are ignored. */
#include "base/rng.h"
#include "model/arch.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 11, CONTEXT = 8, ROWS = 6, BATCH = 2, N = BATCH * ROWS };

static bool quick; /* one case a preset, and out at the first fault */

static const double H = 1e-5, LIMIT = 1e-5, FLOOR = 1e-3;

typedef struct {
    const char *preset;
    bool recompute;
    float dropout;
} setup;

typedef struct {
    ms_device *device;
    ms_model *model;
    ms_pass *pass;
    int32_t id[N], target[N];
} rig;

/* Values away from those of a fresh model, so that no gradient is zero by symmetry. */
static void randomise(rig *r)
{
    ms_queue q = {.device = r->device};
    char name[40];
    ms_start start;
    ms_tensor *t;

    for (int i = 0; (t = ms_params_get(&r->model->weights.p, &r->model->config, i, name, &start));
         i++) {
        ms_rng rng = ms_rng_new(3, (uint32_t)i, MS_SITE_TEST);
        size_t n = ms_count(*t);
        double *value = malloc(n * sizeof *value);

        for (size_t k = 0; k < n; k++)
            value[k] = 0.3 * ms_rng_normal(&rng) + (start == MS_START_ONE);
        ms_write_reals(&q, *t, value);
        free(value);
    }
}

static void open_rig(rig *r, const setup *s)
{
    ms_config c,
        shape = {.vocab = VOCAB, .context = CONTEXT, .layers = 2, .width = 8, .heads = 4, .ffn = 6};
    ms_pass_options o = {.batch = BATCH,
                         .rows = ROWS,
                         .train = true,
                         .recompute = s->recompute,
                         .dropout = s->dropout,
                         .head_rows = s->recompute ? 5 : 0};
    ms_error err;

    if (ms_device_open(&r->device, "ref", NULL, &err)) fail_msg("%s", err.message);
    if (ms_config_preset(&c, s->preset, &err)) fail_msg("%s", err.message);
    ms_config_reshape(&c, &shape);
    if (ms_model_new(&r->model, r->device, &c, &err)) fail_msg("%s", err.message);
    randomise(r);
    if (ms_pass_new(&r->pass, r->model, &o, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < N; i++) {
        r->id[i] = (i * 7 + 3) % VOCAB;
        r->target[i] = i % 5 == 0 ? -1 : (i * 5 + 1) % VOCAB;
    }
}

static double loss_of(rig *r)
{
    ms_step step = {.seed = {5, 6}, .counter = 3, .grad_scale = 1};
    ms_error err;
    double loss;

    if (ms_pass_train(r->pass, r->id, r->target, &step, &loss, &err)) fail_msg("%s", err.message);
    return loss;
}

static double error_of(rig *r, double *x, double gradient)
{
    double old = *x, up, down, difference;

    *x = old + H;
    up = loss_of(r);
    *x = old - H;
    down = loss_of(r);
    *x = old;
    difference = (up - down) / (2 * H);
    return fabs(difference - gradient) / fmax(fabs(difference) + fabs(gradient), FLOOR);
}

static void gradients_agree(void **state)
{
    const setup *s = *state;
    double worst = 0, *gradient, *weight;
    char name[40], worst_name[40] = "";
    ms_start start;
    ms_tensor *t;
    rig r;
    size_t P;

    open_rig(&r, s);
    loss_of(&r); /* leaves values in scratch that the next pass must not see */
    op(ms_pass_queue(r.pass), zero, .x = ms_pass_gradients(r.pass)->flat);
    loss_of(&r);
    P = ms_count(r.model->weights.p.flat);
    gradient = malloc(P * sizeof *gradient);
    weight = r.model->weights.p.flat.data;
    memcpy(gradient, ms_pass_gradients(r.pass)->flat.data, P * sizeof *gradient);
    for (int i = 0; (t = ms_params_get(&r.model->weights.p, &r.model->config, i, name, &start));
         i++)
        for (size_t k = 0; k < ms_count(*t); k++) {
            double *x = (double *)t->data + k, error = error_of(&r, x, gradient[x - weight]);

            if (quick && !(error <= LIMIT)) exit(1); /* mutants: one fault is enough */
            if (error > worst) {
                worst = error;
                snprintf(worst_name, sizeof worst_name, "%s", name);
            }
        }
    printf("%s%s%s: worst relative error %.2e (%s)\n", s->preset, s->recompute ? " recomputed" : "",
           s->dropout > 0 ? " with dropout" : "", worst, worst_name);
    assert_true(worst <= LIMIT);
    free(gradient);
    ms_pass_free(r.pass);
    ms_model_free(r.model);
    ms_device_close(r.device);
}

/* The same bits whether the inside of a layer was kept or rebuilt. */
static void recompute_is_exact(void **state)
{
    setup kept = {.preset = *state}, rebuilt = {.preset = *state, .recompute = true};
    rig a, b;
    size_t bytes;

    kept.dropout = rebuilt.dropout = 0.2f;
    open_rig(&a, &kept);
    ms_pass_free(a.pass);
    ms_pass_options o = {
        .batch = BATCH, .rows = ROWS, .train = true, .dropout = 0.2f, .head_rows = 5};
    assert_int_equal(ms_pass_new(&a.pass, a.model, &o, NULL), MS_OK);
    open_rig(&b, &rebuilt);
    assert_true(loss_of(&a) == loss_of(&b));
    bytes = ms_tensor_bytes(ms_pass_gradients(a.pass)->flat);
    assert_memory_equal(ms_pass_gradients(a.pass)->flat.data, ms_pass_gradients(b.pass)->flat.data,
                        bytes);
    ms_pass_free(a.pass);
    ms_model_free(a.model);
    ms_device_close(a.device);
    ms_pass_free(b.pass);
    ms_model_free(b.model);
    ms_device_close(b.device);
}

int main(int argc, char **argv)
{
    enum { MOST = 64 };
    static setup setups[MOST];
    static char names[MOST][64];
    static char presets[16][16];
    struct CMUnitTest tests[MOST];
    int n = 0;

    quick = argc > 1 && !strcmp(argv[1], "quick");
    for (int i = 0; ms_arch_at(i); i++) {
        if (quick && !strcmp(ms_arch_at(i)->name, "mistral")) continue; /* computes as llama does */
        snprintf(presets[i], sizeof presets[i], "%s", ms_arch_at(i)->name);
        for (int kind = 0; kind < (quick ? 1 : 3); kind++, n++) {
            setups[n] = (setup){presets[i], kind == 1 || quick, kind == 2 || quick ? 0.2f : 0};
            snprintf(names[n], sizeof names[n], "gradients of %.15s, kind %d", presets[i], kind);
            tests[n] = (struct CMUnitTest){names[n], gradients_agree, NULL, NULL, &setups[n]};
        }
        snprintf(names[n], sizeof names[n], "recompute of %.15s is exact", presets[i]);
        tests[n] = (struct CMUnitTest){names[n], recompute_is_exact, NULL, NULL, presets[i]};
        n++;
    }
    return _cmocka_run_group_tests("gradcheck", tests, (size_t)n, NULL, NULL);
}
