/* test_golden - logits, loss, gradients and 20 AdamW steps of every preset against PyTorch
 *
 * Distances are norms of the difference over the norm.  ref computes in float64 like the goldens,
 * whose gradients are kept in float32; cpu is allowed 1e-5. */
#include "golden.h"

#include "model/arch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *preset, *backend;
    double limit;
} setup;

static double norm_of(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

static void judge(const setup *s, const char *what, double distance)
{
    if (!(distance <= s->limit))
        fail_msg("%s on %s: %s is %.3g away, at most %.1g", s->preset, s->backend, what, distance,
                 s->limit);
}

static void check_logits(const setup *s, golden *g)
{
    ms_pass_options o = {.batch = g->batch, .rows = g->rows};
    size_t n;
    double *want = golden_read(g, "logits", &n), *got = malloc(n * sizeof *got);
    ms_seq *seq = calloc((size_t)g->batch, sizeof *seq);
    ms_pass *p = NULL;
    ms_error err;

    for (int b = 0; b < g->batch; b++) seq[b] = (ms_seq){0, g->rows};
    if (ms_pass_new(&p, g->model, &o, &err)) fail_msg("%s", err.message);
    if (ms_pass_logits_all(p, g->rows, g->tokens, seq, got, &err)) fail_msg("%s", err.message);
    judge(s, "logits", golden_distance(got, want, n));
    ms_pass_free(p);
    free(seq);
    free(got);
    free(want);
}

/* Some gradients are zero by mathematics (the bias of k without rotation): what is left is
 * rounding, and it is judged against the whole gradient. */
static double gradient_distance(const double *got, const double *want, size_t n, double whole)
{
    double size = norm_of(want, n);

    return size > 1e-6 * whole ? golden_distance(got, want, n) : norm_of(got, n) / whole;
}

/* The stored gradient, read into the layout of the parameters on ref, tensor by tensor. */
static void check_gradients(const setup *s, golden *g, ms_pass *p)
{
    const ms_arch *arch = ms_arch_find(g->model->config.arch);
    ms_queue q = {.device = g->device};
    ms_stored t;
    size_t P;
    double *all = golden_flat(g, ms_pass_gradients(p)->flat, &P), whole = norm_of(all, P);

    free(all);
    for (int i = 0; arch->stored(&g->model->config, ms_pass_gradients(p), i, &t); i++) {
        char name[160];
        size_t n, count = ms_count(t.part);
        double *want, *raw = malloc(count * sizeof *raw), *got = malloc(count * sizeof *got);
        int rows = t.part.dim[0], columns = t.part.rank == 2 ? t.part.dim[1] : 1;

        snprintf(name, sizeof name, "grad.%s", t.name);
        want = golden_read(g, name, &n);
        assert_int_equal(n, count);
        ms_read_reals(&q, t.part, raw);
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++)
                got[t.transposed ? c * rows + r : r * columns + c] = raw[r * columns + c];
        judge(s, name, gradient_distance(got, want, n, whole));
        free(got);
        free(raw);
        free(want);
    }
}

/* One forward and backward; *loss is the mean. */
static void run(golden *g, ms_pass *p, double *loss)
{
    ms_step step = {.grad_scale = 1.0f / (float)g->targets};
    ms_error err;

    op(ms_pass_queue(p), zero, .x = ms_pass_gradients(p)->flat);
    if (ms_pass_train(p, g->tokens, g->target, &step, loss, &err)) fail_msg("%s", err.message);
    *loss /= g->targets;
}

static void check_steps(const setup *s, golden *g, ms_pass *p)
{
    size_t steps;
    double *want = golden_read(g, "losses", &steps), *lr = golden_read(g, "lrs", &steps);
    ms_params *w = &g->model->weights.p;
    ms_params_block m = {0}, v = {0};
    ms_queue *q = ms_pass_queue(p);
    void *norm;
    ms_error err;

    if (ms_params_block_new(&m, g->device, &g->model->config, &err)) fail_msg("%s", err.message);
    if (ms_params_block_new(&v, g->device, &g->model->config, &err)) fail_msg("%s", err.message);
    if (ms_device_alloc(g->device, 64, &norm, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < steps; i++) {
        ms_step step = {.lr = (float)lr[i],
                        .bias1 = (float)(1 - pow(0.9, (double)i + 1)),
                        .bias2 = (float)(1 - pow(0.95, (double)i + 1)),
                        .clip = 1};
        ms_tensor n = MS_TENSOR(norm, g->device->real, 1);
        double loss;
        char what[40];

        run(g, p, &loss);
        snprintf(what, sizeof what, "loss of step %zu", i);
        judge(s, what, fabs(loss - want[i]) / want[i]);
        ms_pass_set_step(p, &step);
        op(q, global_norm, .norm = n, .x = ms_pass_gradients(p)->flat);
        op(q, adamw, .w = w->flat, .m = m.p.flat, .v = v.p.flat, .g = ms_pass_gradients(p)->flat,
           .norm = n, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1,
           .decayed = w->decayed);
        if (ms_queue_finish(q, &err)) fail_msg("%s", err.message);
    }
    ms_device_free(g->device, norm, 64);
    ms_params_block_free(&m, g->device);
    ms_params_block_free(&v, g->device);
    free(lr);
    free(want);
}

static void agrees(void **state)
{
    const setup *s = *state;
    ms_pass *p = NULL;
    golden g;
    ms_error err;
    size_t n;
    double *want, loss;

    if (!golden_open(&g, s->preset, s->backend)) skip();
    ms_pass_options o = {.batch = g.batch, .rows = g.rows, .train = true, .head_rows = 5};
    check_logits(s, &g);
    if (ms_pass_new(&p, g.model, &o, &err)) fail_msg("%s", err.message);
    want = golden_read(&g, "loss", &n);
    run(&g, p, &loss);
    judge(s, "loss", fabs(loss - want[0]) / want[0]);
    check_gradients(s, &g, p);
    check_steps(s, &g, p);
    free(want);
    ms_pass_free(p);
    golden_close(&g);
}

int main(void)
{
    static const char *const presets[] = {"original", "gpt2", "llama", "qwen2", "qwen3", "nano"};
    enum { PRESETS = sizeof presets / sizeof *presets };
    static setup setups[2 * PRESETS];
    static char names[2 * PRESETS][40];
    struct CMUnitTest tests[2 * PRESETS];

    for (int i = 0; i < 2 * PRESETS; i++) {
        bool ref = i % 2 == 0;

        setups[i] = (setup){presets[i / 2], ref ? "ref" : "cpu", ref ? 1e-6 : 1e-5};
        snprintf(names[i], sizeof names[i], "%s on %s", presets[i / 2], setups[i].backend);
        tests[i] = (struct CMUnitTest){names[i], agrees, NULL, NULL, &setups[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
