/* Every backward op by differences of its forward, in float64 on ref.
 *
 *   f(x) = sum over outputs of <dy, y(x)>      dy: what the backward is given
 *   df along d, by differences at +-h and +-2h, against <dx, d>
 *
 * over the case rows of the op: along random directions and along single elements of each input.
 * The error is taken against the sum of |dx d|, at most 1e-6; the worst of each op is printed.
 * Gradients that are added to start from values that are not zero. */
#include "base/rng.h"
#include "ops/cases/call.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { JOBS = 2, INPUTS = 4, OUTPUTS = 3, EXTRAS = 16, DIRECTIONS = 3, ELEMENTS = 5 };

static const double H = 4e-4, LIMIT = 1e-6, FLOOR = 1e-3, MOST_FLOPS = 4e6;

typedef struct {
    ms_op op;
    ms_any_args args;
} job;

typedef struct {
    double *x, *dx; /* lent */
    double *x0, *g; /* (n) owned: x before it was moved, what the backward added */
    size_t n;
    bool added; /* dx += instead of dx = */
} input;

typedef struct {
    const double *y; /* lent */
    double *dy;      /* (n) owned: as it was before the backward */
    double *sum;     /* (n) owned: of the differences */
    size_t n;
} output;

/* A call of a case row, with the operands that its counterpart needs besides. */
typedef struct {
    ms_call call;
    job fwd[JOBS], bwd[JOBS];
    input in[INPUTS];
    output out[OUTPUTS];
    double *extra[EXTRAS];
    int fwds, bwds, inputs, outputs, extras;
    ms_rng rng;
} problem;

static ms_device *device;

/* -- parts of a problem ---------------------------------------------------------------------- */

static double *reals(size_t n)
{
    return test_calloc(n ? n : 1, sizeof(double));
}

/* A new tensor of normal values, of the shape of another; absent when that is. */
static ms_tensor extra(problem *p, ms_tensor like)
{
    double *x;

    if (!ms_present(like)) return like;
    assert_true(p->extras < EXTRAS);
    x = p->extra[p->extras++] = reals(ms_count(like));
    for (size_t i = 0; i < ms_count(like); i++) x[i] = ms_rng_normal(&p->rng);
    return ms_tensor_make(x, MS_F64, like.rank, like.dim);
}

/* t, or where it is absent a new tensor: what stands for an operand that may be missing. */
static ms_tensor or_extra(problem *p, ms_tensor t, ms_tensor like)
{
    return ms_present(t) ? t : extra(p, like);
}

/* The weight of a norm, ones where it is absent but its gradient is wanted. */
static ms_tensor or_ones(problem *p, ms_tensor w, ms_tensor dw)
{
    ms_tensor t = or_extra(p, w, dw);

    for (size_t i = 0; !ms_present(w) && i < ms_count(t); i++) ((double *)t.data)[i] = 1;
    return t;
}

static void add_input(problem *p, ms_tensor x, ms_tensor dx, bool added)
{
    size_t n = ms_count(x);

    if (!ms_present(x) || !ms_present(dx)) return;
    assert_int_equal(n, ms_count(dx));
    assert_true(p->inputs < INPUTS);
    p->in[p->inputs++] = (input){x.data, dx.data, reals(n), reals(n), n, added};
}

static void add_output(problem *p, ms_tensor y, ms_tensor dy)
{
    size_t n = ms_count(y);

    assert_int_equal(n, ms_count(dy));
    assert_true(p->outputs < OUTPUTS);
    p->out[p->outputs] = (output){y.data, reals(n), reals(n), n};
    memcpy(p->out[p->outputs++].dy, dy.data, n * sizeof(double));
}

#define forward(p, name, ...)                                                                      \
    ((p)->fwd[(p)->fwds++] = (job){MS_OP_##name, {.name = (ms_##name##_args){__VA_ARGS__}}})
#define backward(p, name, ...)                                                                     \
    ((p)->bwd[(p)->bwds++] = (job){MS_OP_##name, {.name = (ms_##name##_args){__VA_ARGS__}}})

/* -- the ops --------------------------------------------------------------------------------- */

static void embed(problem *p)
{
    const ms_embed_bwd_args *b = &p->call.c.args.embed_bwd;
    ms_tensor y = extra(p, b->dy), e = extra(p, b->de), pos = extra(p, b->dpos);

    forward(p, embed_fwd, .y = y, .e = e, .pos = pos, .id = b->id, .seq = b->seq, .scale = b->scale,
            .drop = b->drop);
    add_input(p, e, b->de, true);
    add_input(p, pos, b->dpos, true);
    add_output(p, y, b->dy);
}

static void norm(problem *p)
{
    const ms_norm_bwd_args *b = &p->call.c.args.norm_bwd;
    ms_tensor y = extra(p, b->dy), w = or_ones(p, b->w, b->dw), shift = extra(p, b->db);

    forward(p, norm_fwd, .y = y, .stat = b->stat, .x = b->x, .w = w, .b = shift, .eps = 1e-5,
            .rms = b->rms);
    add_input(p, b->x, b->dx, b->accumulate);
    add_input(p, w, b->dw, true);
    add_input(p, shift, b->db, true);
    add_output(p, y, b->dy);
}

/* When it accumulates, dr comes in as the gradient of r itself, which is an output too. */
static void add_norm(problem *p)
{
    const ms_add_norm_bwd_args *b = &p->call.c.args.add_norm_bwd;
    ms_tensor y = extra(p, b->dy), x = extra(p, b->r), f = extra(p, b->r);
    ms_tensor w = or_ones(p, b->w, b->dw), shift = extra(p, b->db);

    forward(p, add_norm_fwd, .r = b->r, .y = y, .stat = b->stat, .x = x, .f = f, .w = w, .b = shift,
            .eps = 1e-5, .rms = b->rms, .drop = b->drop);
    add_input(p, x, b->dr, false);
    add_input(p, f, ms_present(b->df) ? b->df : b->dr, false);
    add_input(p, w, b->dw, true);
    add_input(p, shift, b->db, true);
    add_output(p, y, b->dy);
    if (b->accumulate) add_output(p, b->r, b->dr);
}

/* The activation in front of the map: y = act(u) w^T + b. */
static void linear(problem *p)
{
    const ms_linear_bwd_args *b = &p->call.c.args.linear_bwd;
    int N = b->dy.dim[0], O = b->dy.dim[1], I = 3;
    bool act = b->act != MS_ACT_NONE;

    if (ms_present(b->x)) I = b->x.dim[1];
    if (ms_present(b->w)) I = b->w.dim[1];
    ms_tensor y = extra(p, b->dy), bias = extra(p, b->db);
    ms_tensor x = or_extra(p, b->x, MS_TENSOR(NULL, MS_F64, N, I));
    ms_tensor w = or_extra(p, b->w, MS_TENSOR(NULL, MS_F64, O, I));
    if (act) forward(p, act_fwd, .y = x, .u = b->u, .act = b->act);
    forward(p, linear_fwd, .y = y, .x = x, .w = w, .b = bias);
    add_input(p, act ? b->u : x, b->dx, b->accumulate);
    add_input(p, w, b->dw, true);
    add_input(p, bias, b->db, true);
    add_output(p, y, b->dy);
}

/* The activation behind the map: y = act(x w^T + b), whose backward is two ops. */
static void linear_act(problem *p)
{
    const ms_linear_fwd_args *f = &p->call.c.args.linear_fwd;
    bool act = f->act != MS_ACT_NONE;
    ms_tensor u = f->u, dy = extra(p, f->y), du = dy;
    ms_tensor dx = extra(p, f->x), dw = extra(p, f->w), db = extra(p, f->b);

    if (act) {
        u = or_extra(p, u, MS_TENSOR(NULL, MS_F64, f->x.dim[0], f->w.dim[0]));
        du = extra(p, u);
        backward(p, act_bwd, .du = du, .dy = dy, .u = u, .act = f->act);
    }
    forward(p, linear_fwd, .y = f->y, .u = u, .x = f->x, .w = f->w, .b = f->b, .act = f->act);
    backward(p, linear_bwd, .dx = dx, .dw = dw, .db = db, .dy = du, .x = f->x, .w = f->w,
             .accumulate = true);
    add_input(p, f->x, dx, true);
    add_input(p, f->w, dw, true);
    add_input(p, f->b, db, true);
    add_output(p, f->y, dy);
}

static void rope(problem *p)
{
    const ms_rope_bwd_args *b = &p->call.c.args.rope_bwd;
    ms_tensor q = extra(p, b->dq), k = extra(p, b->dk), v = extra(p, b->dv);
    ms_tensor qkv = or_extra(p, b->qkv, b->dqkv);

    forward(p, rope_fwd, .q = q, .k = k, .v = v, .stat = b->stat, .qkv = qkv, .qw = b->qw,
            .kw = b->kw, .rot = b->rot, .seq = b->seq, .eps = 1e-6, .qk_norm = b->qk_norm);
    add_input(p, qkv, b->dqkv, false);
    add_input(p, b->qw, b->dqw, true);
    add_input(p, b->kw, b->dkw, true);
    add_output(p, q, b->dq);
    add_output(p, k, b->dk);
    add_output(p, v, b->dv);
}

static void attention(problem *p)
{
    const ms_attention_bwd_args *b = &p->call.c.args.attention_bwd;

    forward(p, attention_fwd, .y = b->y, .lse = b->lse, .q = b->q, .k = b->k, .v = b->v,
            .seq = b->seq, .scale = b->scale, .drop = b->drop);
    add_input(p, b->q, b->dq, false);
    add_input(p, b->k, b->dk, false);
    add_input(p, b->v, b->dv, false);
    add_output(p, b->y, b->dy);
}

static void activation(problem *p)
{
    const ms_act_bwd_args *b = &p->call.c.args.act_bwd;
    ms_tensor y = extra(p, b->dy);

    forward(p, act_fwd, .y = y, .u = b->u, .act = b->act);
    add_input(p, b->u, b->du, false);
    add_output(p, y, b->dy);
}

/* Without add its own backward; the gradient of add is dy itself. */
static void dropout(problem *p)
{
    const ms_dropout_args *a = &p->call.c.args.dropout;
    ms_tensor dy = extra(p, a->y), dx = extra(p, a->x);

    forward(p, dropout, .y = a->y, .x = a->x, .add = a->add, .drop = a->drop);
    backward(p, dropout, .y = dx, .x = dy, .drop = a->drop);
    add_input(p, a->x, dx, false);
    add_input(p, a->add, dy, false);
    add_output(p, a->y, dy);
}

/* Its own backward too, of grad_scale * sum of loss. */
static void cross_entropy(problem *p)
{
    const ms_cross_entropy_args *a = &p->call.c.args.cross_entropy;
    ms_tensor weight = extra(p, a->loss);

    for (size_t i = 0; i < ms_count(weight); i++)
        ((double *)weight.data)[i] = (double)p->call.c.step.grad_scale;
    forward(p, cross_entropy, .loss = a->loss, .dz = a->dz, .z = a->z, .target = a->target);
    add_input(p, a->z, a->dz, false);
    add_output(p, a->loss, weight);
}

typedef struct {
    const char *name;
    ms_op op; /* whose case rows */
    void (*pose)(problem *p);
} kind;

static const kind KINDS[] = {
    {"embed", MS_OP_embed_bwd, embed},
    {"norm", MS_OP_norm_bwd, norm},
    {"add_norm", MS_OP_add_norm_bwd, add_norm},
    {"linear", MS_OP_linear_bwd, linear},
    {"linear with an activation behind", MS_OP_linear_fwd, linear_act},
    {"rope", MS_OP_rope_bwd, rope},
    {"attention", MS_OP_attention_bwd, attention},
    {"act", MS_OP_act_bwd, activation},
    {"dropout", MS_OP_dropout, dropout},
    {"cross_entropy", MS_OP_cross_entropy, cross_entropy},
};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

/* -- a problem made and solved --------------------------------------------------------------- */

static void run(problem *p, const job *jobs, int count)
{
    ms_queue *q = &p->call.queue;
    ms_error err;

    for (int i = 0; i < count; i++) {
        switch (jobs[i].op) {
#define RUN(name)                                                                                  \
    case MS_OP_##name: ms_run_##name(q, &jobs[i].args.name); break;
            MS_OPS(RUN)
#undef RUN
        case MS_OP_COUNT: break;
        }
    }
    if (ms_queue_finish(q, &err)) fail_msg("%s: %s", p->call.c.label, err.message);
}

/* The slope of squared ReLU has a corner at 0, which differences must not step over. */
static void leave_corner(ms_tensor u)
{
    double *x = u.data;

    for (size_t i = 0; i < ms_count(u); i++)
        if (fabs(x[i]) < 100 * H) x[i] = copysign(100 * H, x[i]);
}

static problem *pose(const kind *k, const ms_case *c)
{
    problem *p = test_calloc(1, sizeof *p);
    const ms_any_args *a = &p->call.c.args;
    ms_error err;

    if (ms_call_open(&p->call, c, device, 0, &err)) fail_msg("%s", err.message);
    if (ms_call_fill(&p->call, MS_FILL_NORMAL, &err)) fail_msg("%s", err.message);
    if (ms_call_start(&p->call, &err)) fail_msg("%s", err.message);
    if (c->op == MS_OP_act_bwd && a->act_bwd.act == MS_ACT_RELU2) leave_corner(a->act_bwd.u);
    if (c->op == MS_OP_linear_bwd && a->linear_bwd.act == MS_ACT_RELU2)
        leave_corner(a->linear_bwd.u);
    p->rng = ms_rng_new(21, (uint32_t)k->op, MS_SITE_TEST);
    k->pose(p);
    if (p->bwds == 0) p->bwd[p->bwds++] = (job){c->op, *a};
    return p;
}

static void discard(problem *p)
{
    for (int i = 0; i < p->extras; i++) test_free(p->extra[i]);
    for (int i = 0; i < p->inputs; i++) {
        test_free(p->in[i].x0);
        test_free(p->in[i].g);
    }
    for (int i = 0; i < p->outputs; i++) {
        test_free(p->out[i].dy);
        test_free(p->out[i].sum);
    }
    ms_call_close(&p->call);
    test_free(p);
}

/* Forward and backward once: what the backward adds is each input's g. */
static void differentiate(problem *p)
{
    run(p, p->fwd, p->fwds);
    for (int i = 0; i < p->inputs; i++) {
        input *in = &p->in[i];

        memcpy(in->x0, in->x, in->n * sizeof *in->x);
        if (in->added) memcpy(in->g, in->dx, in->n * sizeof *in->g);
    }
    run(p, p->bwd, p->bwds);
    for (int i = 0; i < p->inputs; i++)
        for (size_t k = 0; k < p->in[i].n; k++) p->in[i].g[k] = p->in[i].dx[k] - p->in[i].g[k];
}

/* f'(x) along d: (8 f(h) - 8 f(-h) - f(2h) + f(-2h)) / 12h, off by h^4 f^(5) / 30.  Taken output by
 * output, so that f's own size does not drown its changes. */
static double difference(problem *p, const input *in, const double *d)
{
    static const int at[] = {-2, -1, 1, 2, 0}, weight[] = {1, -8, 8, -1, 0};
    double slope = 0;

    for (int i = 0; i < p->outputs; i++) memset(p->out[i].sum, 0, p->out[i].n * sizeof(double));
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) { /* the last one puts x back */
        for (size_t i = 0; i < in->n; i++) in->x[i] = in->x0[i] + at[k] * H * d[i];
        if (weight[k] != 0) run(p, p->fwd, p->fwds);
        for (int i = 0; i < p->outputs && weight[k] != 0; i++)
            for (size_t n = 0; n < p->out[i].n; n++) p->out[i].sum[n] += weight[k] * p->out[i].y[n];
    }
    for (int i = 0; i < p->outputs; i++)
        for (size_t n = 0; n < p->out[i].n; n++) slope += p->out[i].dy[n] * p->out[i].sum[n];
    return slope / (12 * H);
}

static double error_along(problem *p, const input *in, const double *d)
{
    double sum = 0, size = 0;

    for (size_t i = 0; i < in->n; i++) {
        sum += in->g[i] * d[i];
        size += fabs(in->g[i] * d[i]);
    }
    sum = fabs(difference(p, in, d) - sum) / fmax(size, FLOOR);
    return isnan(sum) ? INFINITY : sum;
}

/* The worst error of an input: along random directions, then of elements, the ends among them. */
static double error_of(problem *p, const input *in)
{
    double *d = reals(in->n), worst = 0;

    for (int k = 0; k < DIRECTIONS; k++) {
        for (size_t i = 0; i < in->n; i++) d[i] = 2 * ms_rng_uniform(&p->rng) - 1;
        worst = fmax(worst, error_along(p, in, d));
    }
    memset(d, 0, in->n * sizeof *d);
    for (int k = 0; k < ELEMENTS; k++) {
        size_t i = k < 2 ? (in->n - 1) * (size_t)k : ms_rng_below(&p->rng, (uint32_t)in->n);

        d[i] = 1;
        worst = fmax(worst, error_along(p, in, d));
        d[i] = 0;
    }
    test_free(d);
    return worst;
}

/* -- tests ----------------------------------------------------------------------------------- */

/* The next row that is small enough for the many forwards; false past the end. */
static bool next_row(const kind *k, int *i, ms_case *c)
{
    while (ms_case_get(k->op, (*i)++, c)) /* rounding to bf16 makes steps, which have no slope */
        if (!c->slow && !c->bf16 && c->flops <= MOST_FLOPS) return true;
    return false;
}

static void gradients_agree(void **state)
{
    const kind *k = *state;
    char where[112] = "";
    double worst = 0;
    int inputs = 0;
    ms_case c;

    for (int i = 0; next_row(k, &i, &c);) {
        problem *p = pose(k, &c);

        differentiate(p);
        for (int n = 0; n < p->inputs; n++, inputs++) {
            double error = error_of(p, &p->in[n]);

            if (error <= worst) continue;
            worst = error;
            snprintf(where, sizeof where, "input %d of %s", n, c.label);
        }
        discard(p);
    }
    printf("%s: %d inputs, worst error %.2e (%s)\n", k->name, inputs, worst, where);
    assert_true(inputs > 0);
    assert_true(worst <= LIMIT);
}

/* A tenth too much of one element, the largest, shows in each input of each row. */
static void a_wrong_element_is_reported(void **state)
{
    const kind *k = *state;
    int found = 0;
    ms_case c;

    for (int i = 0; i < 12 && next_row(k, &i, &c);) {
        problem *p = pose(k, &c);

        differentiate(p);
        for (int n = 0; n < p->inputs; n++) {
            input *in = &p->in[n];
            size_t most = 0;

            for (size_t e = 0; e < in->n; e++)
                if (fabs(in->g[e]) > fabs(in->g[most])) most = e;
            if (fabs(in->g[most]) < FLOOR) continue; /* one key has no gradient but v's */
            in->g[most] *= 1.1;
            if (error_of(p, in) <= LIMIT) fail_msg("input %d of %s: not seen", n, c.label);
            found++;
        }
        discard(p);
    }
    assert_true(found > 0);
}

static int open_device(void **state)
{
    (void)state;
    return ms_device_open(&device, "ref", NULL, NULL);
}

static int close_device(void **state)
{
    (void)state;
    ms_device_close(device);
    return 0;
}

int main(void)
{
    static struct CMUnitTest tests[2 * KIND_COUNT];
    static char names[2 * KIND_COUNT][96];

    for (int i = 0; i < 2 * KIND_COUNT; i++) {
        const kind *k = &KINDS[i / 2];

        snprintf(names[i], sizeof names[i],
                 i % 2 ? "a wrong gradient of %s is reported" : "gradients of %s agree", k->name);
        tests[i] =
            (struct CMUnitTest){.name = names[i],
                                .test_func = i % 2 ? a_wrong_element_is_reported : gradients_agree,
                                .initial_state = (void *)(uintptr_t)k};
    }
    return cmocka_run_group_tests(tests, open_device, close_device);
}
