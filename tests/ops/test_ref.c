/* The reference itself: values worked out by hand or from closed forms, to 12 digits. */
#include "base/rng.h"
#include "model/arch.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static ms_device *device;
static ms_step step;
static ms_queue queue;

static const double ROOT2 = 1.41421356237309504880, ROOT3 = 1.73205080756887729353;
static const double LN2 = 0.69314718055994530942, LN3 = 1.09861228866810969140;

#define REALS(x, ...) MS_TENSOR((x), MS_F64, __VA_ARGS__)
#define INTS(x, ...)  MS_TENSOR((x), MS_I32, __VA_ARGS__)

static void done(void)
{
    ms_error err;

    if (ms_queue_finish(&queue, &err)) fail_msg("%s", err.message);
}

static void expect(const char *what, const double *got, const double *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-12 * fmax(1, fabs(want[i]))))
            fail_msg("%s[%zu] is %.15g, expected %.15g", what, i, got[i], want[i]);
}

/* Elements 0, 1, ... of x hold these values; what stands behind them is not looked at. */
#define HOLDS(x, ...)                                                                              \
    expect(#x, (x), (const double[]){__VA_ARGS__},                                                 \
           sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

/* -- rows ------------------------------------------------------------------------------------ */

/* (3, 4): mean 3.5, variance 1/4; root mean square sqrt(12.5) = 5 / sqrt 2.  (7, 7): variance 0. */
static void norm_of_3_and_4(void **state)
{
    double x[] = {3, 4, 7, 7}, w[] = {2, 3}, b[] = {10, 20}, y[4], stat[4];
    ms_tensor in = REALS(x, 2, 2), out = REALS(y, 2, 2), s = REALS(stat, 2, 2);

    (void)state;
    op(&queue, norm_fwd, .y = out, .stat = s, .x = in, .eps = 0.75);
    done();
    HOLDS(y, -0.5, 0.5, 0, 0); /* 1/4 + 3/4 = 1 */
    HOLDS(stat, 3.5, 1, 7, 2 / ROOT3);
    op(&queue, norm_fwd, .y = out, .x = in, .w = REALS(w, 2), .b = REALS(b, 2), .eps = 1e-300);
    done();
    HOLDS(y, 8, 23, 10, 20); /* -1 and 1, times w, plus b */
    op(&queue, norm_fwd, .y = out, .stat = s, .x = in, .eps = 1e-300, .rms = true);
    done();
    HOLDS(y, 0.6 * ROOT2, 0.8 * ROOT2, 1, 1);
    HOLDS(stat, 0, ROOT2 / 5, 0, 1.0 / 7);
}

static const double CDF1 = 0.841344746068542948585; /* normal distribution at 1 */
static const double PDF1 = 0.241970724519143349798; /* its density: exp(-1/2) / sqrt(2 pi) */
static const double SIG1 = 0.731058578630004879251; /* 1 / (1 + 1/e) */

/* Values and slopes; of SwiGLU with up = 1. */
static const struct {
    ms_act act;
    double u, y, slope;
} ACTIVATIONS[] = {
    {MS_ACT_NONE, -3, -3, 1},
    {MS_ACT_GELU, 0, 0, 0.5},
    {MS_ACT_GELU, 1, CDF1, CDF1 + PDF1},
    {MS_ACT_GELU, -1, CDF1 - 1, 1 - CDF1 - PDF1}, /* -cdf(-1), cdf(-1) - pdf(1) */
    {MS_ACT_GELU, 40, 40, 1},
    {MS_ACT_GELU, -40, 0, 0},
    {MS_ACT_GELU_TANH, 0, 0, 0.5},
    {MS_ACT_GELU_TANH, 1, 0.841191990608276, 1.082964083845827},
    {MS_ACT_GELU_TANH, -1, -0.158808009391724, -0.082964083845827},
    {MS_ACT_GELU_TANH, -40, 0, 0},
    {MS_ACT_SWIGLU, 0, 0, 0.5},
    {MS_ACT_SWIGLU, 1, SIG1, SIG1 + SIG1 *(1 - SIG1)},
    {MS_ACT_SWIGLU, -1, SIG1 - 1, 1 - SIG1 - SIG1 *(1 - SIG1)},
    {MS_ACT_SWIGLU, 1000, 1000, 1},
    {MS_ACT_SWIGLU, -1000, 0, 0},
    {MS_ACT_RELU2, 3, 9, 6},
    {MS_ACT_RELU2, 0, 0, 0},
    {MS_ACT_RELU2, -3, 0, 0},
};

static void activations_have_their_values_and_slopes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ACTIVATIONS / sizeof *ACTIVATIONS; i++) {
        ms_act act = ACTIVATIONS[i].act;
        int U = act == MS_ACT_SWIGLU ? 2 : 1;
        double u[] = {ACTIVATIONS[i].u, 1}, y[1], dy[] = {1}, du[2];
        double w[] = {1, 0, 0, 1}, x[] = {ACTIVATIONS[i].u, 1};

        op(&queue, act_fwd, .y = REALS(y, 1, 1), .u = REALS(u, 1, U), .act = act);
        op(&queue, act_bwd, .du = REALS(du, 1, U), .dy = REALS(dy, 1, 1), .u = REALS(u, 1, U),
           .act = act);
        done();
        HOLDS(y, ACTIVATIONS[i].y);
        HOLDS(du, ACTIVATIONS[i].slope);
        if (U == 2) HOLDS(du + 1, ACTIVATIONS[i].y); /* of up: the gate */
        /* behind a map that changes nothing: (gate, up) = (x0, x1) */
        op(&queue, linear_fwd, .y = REALS(y, 1, 1), .u = act ? REALS(du, 1, U) : MS_ABSENT,
           .x = REALS(x, 1, 2), .w = REALS(w, U, 2), .act = act);
        done();
        HOLDS(y, ACTIVATIONS[i].y);
    }
}

/* An element is kept when its word of Philox is at least p 2^32: here half of the 2^32. */
static void dropout_keeps_what_philox_says(void **state)
{
    enum { N = 9, C = 7 };
    double x[N * C], y[N * C];
    ms_drop drop = {.p = 0.5f, .site = 4};

    (void)state;
    for (int i = 0; i < N * C; i++) x[i] = i + 1;
    step = (ms_step){.seed = {1, 2}, .counter = 3};
    op(&queue, dropout, .y = REALS(y, N, C), .x = REALS(x, N, C), .drop = drop);
    done();
    for (uint32_t i = 0; i < N * C; i++) {
        ms_philox_block block = ms_philox(step.seed, i % C / 4, i / C, drop.site, step.counter);
        bool keep = block.word[i % C % 4] >> 31;

        assert_true(y[i] == (keep ? 2 * x[i] : 0));
    }
}

/* -- attention ------------------------------------------------------------------------------- */

/* Scores 0 and log 3 give the probabilities 1/4 and 3/4; the third key is never seen. */
static void attention_of_two_keys(void **state)
{
    double q[] = {1, 1, 7}, k[] = {0, LN3, NAN}, v[] = {8, 4, NAN}, y[3], lse[3];
    double dy[] = {0, 1, 7}, dq[3], dk[3], dv[3], delta[3];
    ms_seq seq = {0, 2};

    (void)state;
    op(&queue, attention_fwd, .y = REALS(y, 3, 1, 1), .lse = REALS(lse, 3, 1),
       .q = REALS(q, 3, 1, 1), .k = REALS(k, 1, 1, 3, 1), .v = REALS(v, 1, 1, 3, 1),
       .seq = INTS(&seq, 1, 2), .scale = 1);
    op(&queue, attention_bwd, .dq = REALS(dq, 3, 1, 1), .dk = REALS(dk, 1, 1, 3, 1),
       .dv = REALS(dv, 1, 1, 3, 1), .dy = REALS(dy, 3, 1, 1), .y = REALS(y, 3, 1, 1),
       .lse = REALS(lse, 3, 1), .q = REALS(q, 3, 1, 1), .k = REALS(k, 1, 1, 3, 1),
       .v = REALS(v, 1, 1, 3, 1), .seq = INTS(&seq, 1, 2), .delta = REALS(delta, 3, 1), .scale = 1);
    done();
    HOLDS(y, 8, 8.0 / 4 + 3 * 4.0 / 4, 0); /* row 0 sees key 0 alone; row 2 is padding */
    HOLDS(lse, 0, 2 * LN2, 0);
    /* ds = p (dp - y) = (1/4 (8 - 5), 3/4 (4 - 5)) */
    HOLDS(dq, 0, -0.75 * LN3, 0);
    HOLDS(dk, 0.75, -0.75, 0);
    HOLDS(dv, 0.25, 0.75, 0);
}

/* -- positions ------------------------------------------------------------------------------- */

/* Pairs (0, 2) by 60 degrees and (1, 3) by 90; element 4 passes.  Row 0 stands at position 1. */
static void rope_turns_pairs_by_known_angles(void **state)
{
    double qkv[] = {2, 1, 0, 3, 9, 0, 1, 2, 0, 8, 1, 2, 3, 4, 5}, q[5];
    double k[10] = {7, 7, 7, 7, 7}, v[10] = {6, 6, 6, 6, 6};
    double rot[] = {1, 0, 1, 0, 0.5, ROOT3 / 2, 0, 1}, dqkv[15];
    ms_seq seq = {1, 1};

    (void)state;
    op(&queue, rope_fwd, .q = REALS(q, 1, 1, 5), .k = REALS(k, 1, 1, 2, 5),
       .v = REALS(v, 1, 1, 2, 5), .qkv = REALS(qkv, 1, 15), .rot = REALS(rot, 2, 2, 2),
       .seq = INTS(&seq, 1, 2));
    op(&queue, rope_bwd, .dqkv = REALS(dqkv, 1, 15), .dq = REALS(q, 1, 1, 5),
       .dk = REALS(k, 1, 1, 2, 5), .dv = REALS(v, 1, 1, 2, 5), .rot = REALS(rot, 2, 2, 2),
       .seq = INTS(&seq, 1, 2));
    done();
    HOLDS(q, 1, -3, ROOT3, 1, 9);
    HOLDS(k, 7, 7, 7, 7, 7, -ROOT3, 0, 1, 1, 8);
    HOLDS(v, 6, 6, 6, 6, 6, 1, 2, 3, 4, 5);
    expect("turned back", dqkv, qkv, 15); /* a turn is orthogonal */
}

/* Of width 4: sin and cos of p and of p / 100 (Vaswani et al. 2017, section 3.5), p = 0, 1, 3. */
static const double WAVES[][4] = {
    {0, 1, 0, 1},
    {0.841470984807896507, 0.540302305868139717, 0.009999833334166664, 0.999950000416665278},
    {0.141120008059867222, -0.989992496600445457, 0.029995500202495660, 0.999550033748987516},
};

/* Sinusoidal of width 4, rotary of heads of 4: cosine first, the same angles. */
static void tables_of_positions_are_those_of_the_papers(void **state)
{
    static const int at[] = {0, 1, 3};

    (void)state;
    for (int rotary = 0; rotary < 2; rotary++) {
        ms_config c, shape = {.vocab = 5, .context = 4, .layers = 1, .width = 4, .heads = 1};
        ms_model *m = NULL;
        ms_error err;

        assert_int_equal(ms_config_preset(&c, rotary ? "llama" : "original", &err), MS_OK);
        ms_config_reshape(&c, &shape);
        c.rope_theta = 10000;
        if (ms_model_new(&m, device, &c, &err)) fail_msg("%s", err.message);
        ms_tensor table = rotary ? m->rot : m->sinusoid;
        assert_int_equal(ms_count(table), 16);
        for (int i = 0; i < 3; i++) {
            const double *row = (double *)table.data + 4 * at[i], *w = WAVES[i];

            if (rotary)
                HOLDS(row, w[1], w[0], w[3], w[2]);
            else
                HOLDS(row, w[0], w[1], w[2], w[3]);
        }
        ms_model_free(m);
    }
}

/* -- loss ------------------------------------------------------------------------------------ */

/* Equal logits: log V, whatever they are; a target of -1 counts for nothing. */
static void equal_logits_cost_log_v(void **state)
{
    double z[] = {0, 0, 0, 0, 1e4, 1e4, 1e4, 1e4, NAN, NAN, NAN, NAN}, loss[3], dz[12], sum = 5;
    int32_t target[] = {2, 0, -1};

    (void)state;
    step = (ms_step){.grad_scale = 0.5f};
    op(&queue, cross_entropy, .loss = REALS(loss, 3), .dz = REALS(dz, 3, 4), .z = REALS(z, 3, 4),
       .target = INTS(target, 3));
    op(&queue, loss_sum, .sum = REALS(&sum, 1), .loss = REALS(loss, 3), .accumulate = true);
    done();
    HOLDS(loss, 2 * LN2, 2 * LN2, 0);
    HOLDS(dz, 0.125, 0.125, -0.375, 0.125, -0.375, 0.125, 0.125, 0.125, 0, 0, 0, 0);
    HOLDS(&sum, 5 + 4 * LN2);
    op(&queue, loss_sum, .sum = REALS(&sum, 1), .loss = REALS(loss, 3));
    done();
    HOLDS(&sum, 4 * LN2);
}

/* Probabilities 1/4 and 3/4: log 4 and log 4/3; logits far apart neither overflow nor vanish. */
static void cross_entropy_of_two_classes(void **state)
{
    double z[] = {0, LN3, 0, LN3, 1e4, 0, 1e4, 0}, loss[4], dz[8];
    int32_t target[] = {0, 1, 0, 1};

    (void)state;
    step = (ms_step){.grad_scale = 1};
    op(&queue, cross_entropy, .loss = REALS(loss, 4), .dz = REALS(dz, 4, 2), .z = REALS(z, 4, 2),
       .target = INTS(target, 4));
    done();
    HOLDS(loss, 2 * LN2, 2 * LN2 - LN3, 0, 1e4);
    HOLDS(dz, -0.75, 0.75, 0.25, -0.25, 0, 0, 1, -1);
}

/* Lengths 2, 0 and 3 of 3 rows each. */
static void gather_takes_the_last_row(void **state)
{
    double x[18], y[6];
    ms_seq seq[] = {{0, 2}, {5, 0}, {1, 3}};

    (void)state;
    for (int i = 0; i < 18; i++) x[i] = i;
    op(&queue, gather_last, .y = REALS(y, 3, 2), .x = REALS(x, 9, 2), .seq = INTS(seq, 3, 2));
    done();
    HOLDS(y, 2, 3, 0, 0, 16, 17);
}

/* -- optimizer ------------------------------------------------------------------------------- */

static void zero_clears_any_type(void **state)
{
    static const ms_dtype type[] = {MS_F64, MS_F32, MS_BF16, MS_I32, MS_U8};

    (void)state;
    for (int i = 0; i < 5; i++) {
        uint8_t x[64], expected[64] = {0};
        size_t n = 3 * ms_dtype_bytes(type[i]);

        memset(x, 0xFF, sizeof x);
        memset(expected + n, 0xFF, sizeof expected - n);
        op(&queue, zero, .x = MS_TENSOR(x, type[i], 3));
        done();
        assert_memory_equal(x, expected, sizeof x);
    }
}

static void the_norm_of_3_and_4_is_5(void **state)
{
    double x[] = {3, -4, 0}, norm;
    ms_tensor in = REALS(x, 3), out = REALS(&norm, 1);

    (void)state;
    op(&queue, global_norm, .norm = out, .x = in);
    done();
    HOLDS(&norm, 5);
    x[2] = -INFINITY;
    op(&queue, global_norm, .norm = out, .x = in);
    done();
    assert_true(norm == INFINITY);
    x[1] = NAN;
    op(&queue, global_norm, .norm = out, .x = in);
    done();
    assert_true(isnan(norm));
}

enum { P = 3 };
typedef struct {
    double w[P], m[P], v[P], g[P], norm;
} adam;

/* Betas of 1/2 and 3/4, so that every number here is exact; element 0 decays by 1/2. */
static void adamw(adam *a)
{
    op(&queue, adamw, .w = REALS(a->w, P), .m = REALS(a->m, P), .v = REALS(a->v, P),
       .g = REALS(a->g, P), .norm = REALS(&a->norm, 1), .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-300,
       .weight_decay = 0.5, .decayed = 1);
    done();
}

/* Step 1: m / bias1 = g and v / bias2 = g^2, so w moves by lr against the sign of g.
 * Step 2 of element 1 (g = 2, then -4): m = 1/2 - 2 = -1.5, over 3/4: -2; v = 3/4 + 4 = 4.75, over
 * 7/16: 76/7; so w moves by 2 lr sqrt(7/76).  Element 2 (3, then 0): m = 3/4, over 3/4: 1;
 * v = 27/16, over 7/16: 27/7. */
static void adamw_takes_its_first_steps(void **state)
{
    adam a = {.w = {16, 1, 1}, .g = {0, 2, 3}, .norm = 1};

    (void)state;
    step = (ms_step){.lr = 0.125f, .bias1 = 0.5f, .bias2 = 0.25f};
    adamw(&a);
    HOLDS(a.w, 15, 0.875, 0.875); /* decoupled: 16 (1 - 1/8 1/2), with no gradient at all */
    HOLDS(a.m, 0, 1, 1.5);
    HOLDS(a.v, 0, 1, 2.25);
    a.g[1] = -4;
    a.g[2] = 0;
    step.bias1 = 0.75f;
    step.bias2 = 0.4375f;
    adamw(&a);
    HOLDS(a.m, 0, -1.5, 0.75);
    HOLDS(a.v, 0, 4.75, 1.6875);
    HOLDS(a.w, 15 * 0.9375, 0.875 + 0.25 * sqrt(7.0 / 76), 0.875 - 0.125 * sqrt(7.0 / 27));
}

static void eps_stands_outside_the_root(void **state)
{
    double w = 0, m = 0, v = 0, g = 2, norm = 2;

    (void)state;
    step = (ms_step){.lr = 1, .bias1 = 0.5f, .bias2 = 0.25f};
    op(&queue, adamw, .w = REALS(&w, 1), .m = REALS(&m, 1), .v = REALS(&v, 1), .g = REALS(&g, 1),
       .norm = REALS(&norm, 1), .beta1 = 0.5, .beta2 = 0.75, .eps = 2);
    done();
    HOLDS(&w, -2.0 / (2 + 2));
}

/* A norm above the clip shrinks gradients to it (up to 1e-6); below it they are as they are. */
static void gradients_are_clipped_by_their_norm(void **state)
{
    static const struct {
        float clip;
        double norm, m;
    } row[] = {{0, 5, 2}, {8, 5, 2}, {2.5f, 5, 2 * 2.5 / 5.000001}, {0, 1e30, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        adam a = {.g = {4, 4, 4}, .norm = row[i].norm};

        step = (ms_step){.lr = 1, .bias1 = 0.5f, .bias2 = 0.25f, .clip = row[i].clip};
        adamw(&a);
        HOLDS(a.m, row[i].m, row[i].m, row[i].m);
        HOLDS(a.v, row[i].m * row[i].m); /* 1/4 g^2 = m^2 */
    }
}

static void a_norm_that_is_not_finite_changes_nothing(void **state)
{
    static const double bad[] = {NAN, INFINITY};

    (void)state;
    for (int i = 0; i < 4; i++) {
        adam a = {.w = {1, 2, 3}, .m = {4, 5, 6}, .v = {7, 8, 9}, .g = {NAN, 1, 1}}, before;

        a.norm = bad[i % 2];
        before = a;
        step = (ms_step){.lr = 1, .bias1 = 0.5f, .bias2 = 0.25f, .clip = i < 2 ? 0 : 1};
        adamw(&a);
        assert_memory_equal(&a, &before, sizeof a);
    }
}

/* -- sampling -------------------------------------------------------------------------------- */

enum { DRAWS = 4000, V = 5 };

/* Probabilities by id: 1/8, 1/2, 1/8, 1/4 and next to nothing. */
static const double LOGITS[V] = {-3, -1, -3, -2, -60};

/* Draws at positions 0, 1, ... from logits in halves (log 2), counted by id. */
static void draw(const double logits[V], ms_how how, int count[V])
{
    static double z[DRAWS * V], prob[DRAWS * V];
    static int32_t id[DRAWS], rank[DRAWS * V];
    static ms_how hows[DRAWS];

    for (int i = 0; i < DRAWS; i++) {
        hows[i] = how;
        hows[i].position = (uint32_t)i;
        for (int k = 0; k < V; k++) z[i * V + k] = logits[k] * LN2;
    }
    op(&queue, sample, .id = INTS(id, DRAWS), .z = REALS(z, DRAWS, V), .how = INTS(hows, DRAWS, 8),
       .rank = INTS(rank, DRAWS, V), .prob = REALS(prob, DRAWS, V));
    done();
    memset(count, 0, V * sizeof *count);
    for (int i = 0; i < DRAWS; i++) {
        assert_in_range(id[i], 0, V - 1);
        count[id[i]]++;
    }
}

/* What is kept, as shares of 1. */
static const struct {
    const char *what;
    ms_how how;
    double share[V];
} SAMPLES[] = {
    {"greedy", {.temperature = 0, .top_p = 1}, {0, 1}},
    {"all", {.temperature = 1, .top_p = 1}, {0.125, 0.5, 0.125, 0.25, 0}},
    {"cold: squares", {.temperature = 0.5f, .top_p = 1}, {1 / 22.0, 16 / 22.0, 1 / 22.0, 4 / 22.0}},
    {"top-k 1", {.temperature = 9, .top_k = 1, .top_p = 1}, {0, 1}},
    {"top-k 2", {.temperature = 1, .top_k = 2, .top_p = 1}, {0, 2 / 3.0, 0, 1 / 3.0}},
    {"top-k 3: of a tie the lower id",
     {.temperature = 1, .top_k = 3, .top_p = 1},
     {1 / 7.0, 4 / 7.0, 0, 2 / 7.0}},
    {"top-k beyond", {.temperature = 1, .top_k = 99, .top_p = 1}, {0.125, 0.5, 0.125, 0.25, 0}},
    {"top-p below the first", {.temperature = 1, .top_p = 0.49f}, {0, 1}},
    {"top-p above the first", {.temperature = 1, .top_p = 0.51f}, {0, 2 / 3.0, 0, 1 / 3.0}},
    {"top-p below two", {.temperature = 1, .top_p = 0.74f}, {0, 2 / 3.0, 0, 1 / 3.0}},
    {"top-p above two", {.temperature = 1, .top_p = 0.76f}, {1 / 7.0, 4 / 7.0, 0, 2 / 7.0}},
    {"top-p of what top-k kept",
     {.temperature = 1, .top_k = 3, .top_p = 0.85f},
     {0, 2 / 3.0, 0, 1 / 3.0}},
    {"min-p above a quarter",
     {.temperature = 1, .top_p = 1, .min_p = 0.26f},
     {0, 2 / 3.0, 0, 1 / 3.0}},
    {"min-p below a quarter",
     {.temperature = 1, .top_p = 1, .min_p = 0.24f},
     {0.125, 0.5, 0.125, 0.25, 0}},
    {"min-p 1", {.temperature = 1, .top_p = 1, .min_p = 1}, {0, 1}},
};

/* Exactly the tokens of the set are drawn, as often as they should within 5 deviations. */
static void sampling_keeps_the_set_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++) {
        int count[V];

        draw(LOGITS, SAMPLES[i].how, count);
        for (int k = 0; k < V; k++) {
            double p = SAMPLES[i].share[k], off = fabs(count[k] - p * DRAWS);

            if (off > 5 * sqrt(DRAWS * p * (1 - p)))
                fail_msg("%s: token %d drawn %d times of %d, expected %g", SAMPLES[i].what, k,
                         count[k], DRAWS, p * DRAWS);
        }
    }
}

static void of_equal_logits_greedy_takes_the_lowest_id(void **state)
{
    static const double equal[V] = {-1, 3, 2, 3, 3};
    int count[V];

    (void)state;
    draw(equal, (ms_how){.temperature = 0, .top_p = 1}, count);
    assert_int_equal(count[1], DRAWS);
}

/* Of V equal probabilities, in the order of their ids, the draw u takes number floor(u V). */
static void a_draw_is_where_philox_points(void **state)
{
    enum { B = 300, W = 7 };
    static double z[B * W], prob[B * W];
    static int32_t id[B], rank[B * W];
    static ms_how how[B];

    (void)state;
    for (uint32_t i = 0; i < B; i++)
        how[i] = (ms_how){
            .temperature = 1, .top_p = 1, .key = {i % 3, 5}, .position = i, .stream = i / 100};
    op(&queue, sample, .id = INTS(id, B), .z = REALS(z, B, W), .how = INTS(how, B, 8),
       .rank = INTS(rank, B, W), .prob = REALS(prob, B, W));
    done();
    for (int i = 0; i < B; i++) {
        ms_philox_block block =
            ms_philox(how[i].key, how[i].position, how[i].stream, 0, (uint32_t)MS_SITE_SAMPLE);

        assert_int_equal(id[i], (int)(W * (double)ms_uniform(block.word[0])));
    }
}

/* -------------------------------------------------------------------------------------------- */

static int open_device(void **state)
{
    (void)state;
    if (ms_device_open(&device, "ref", NULL, NULL)) return -1;
    queue = (ms_queue){.device = device, .step = &step};
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    ms_device_close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_of_3_and_4),
        cmocka_unit_test(activations_have_their_values_and_slopes),
        cmocka_unit_test(dropout_keeps_what_philox_says),
        cmocka_unit_test(attention_of_two_keys),
        cmocka_unit_test(rope_turns_pairs_by_known_angles),
        cmocka_unit_test(tables_of_positions_are_those_of_the_papers),
        cmocka_unit_test(equal_logits_cost_log_v),
        cmocka_unit_test(cross_entropy_of_two_classes),
        cmocka_unit_test(gather_takes_the_last_row),
        cmocka_unit_test(zero_clears_any_type),
        cmocka_unit_test(the_norm_of_3_and_4_is_5),
        cmocka_unit_test(adamw_takes_its_first_steps),
        cmocka_unit_test(eps_stands_outside_the_root),
        cmocka_unit_test(gradients_are_clipped_by_their_norm),
        cmocka_unit_test(a_norm_that_is_not_finite_changes_nothing),
        cmocka_unit_test(sampling_keeps_the_set_it_should),
        cmocka_unit_test(of_equal_logits_greedy_takes_the_lowest_id),
        cmocka_unit_test(a_draw_is_where_philox_points),
    };

    return cmocka_run_group_tests(tests, open_device, close_device);
}
