/* Initial weights: bounds and variance of Xavier, deviation of normal ones and of those in front of
 * a residual add, ones and zeros where they belong; a seed is the same bits everywhere. */
#include "model/arch.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const PRESET[] = {"original", "gpt2", "llama", "qwen2", "qwen3", "nano"};

enum { PRESETS = sizeof PRESET / sizeof *PRESET, LAYERS = 3 };

static void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s", ms_status_text(status), err->message);
}

typedef struct {
    ms_device *device;
    ms_model *model;
} made;

/* Every matrix has 6000 elements and more. */
static made make(const char *device, const char *preset, ms_init kind, uint64_t seed)
{
    ms_device_options o = {.threads = 1};
    ms_config c;
    ms_error err;
    made m;

    must(ms_config_preset(&c, preset, &err), &err);
    ms_config_reshape(&c, &(ms_config){.vocab = 150,
                                       .context = 96,
                                       .layers = LAYERS,
                                       .width = 80,
                                       .heads = 4,
                                       .head_dim = 20,
                                       .ffn = 120});
    must(ms_device_open(&m.device, device, &o, &err), &err);
    must(ms_model_new(&m.model, m.device, &c, &err), &err);
    must(ms_model_init(m.model, kind, seed, &err), &err);
    return m;
}

static void unmake(made *m)
{
    ms_model_free(m->model);
    ms_device_close(m->device);
}

/* Values of the i-th parameter (test_malloc); NULL past the end. */
static double *values(made *m, int i, char name[40], ms_tensor *t, size_t *count)
{
    ms_queue q = {.device = m->device};
    ms_start start;
    ms_tensor *p = ms_params_get(&m->model->weights.p, &m->model->config, i, name, &start);
    double *v;
    ms_error err;

    if (!p) return NULL;
    *t = *p;
    *count = ms_count(*p);
    v = test_malloc(*count * sizeof *v);
    ms_read_reals(&q, *p, v);
    must(ms_queue_finish(&q, &err), &err);
    return v;
}

typedef struct {
    double mean, variance, fourth, largest; /* fourth: 4th moment over variance^2 */
} moments;

static moments moments_of(const double *v, size_t n)
{
    moments m = {0};

    for (size_t i = 0; i < n; i++) {
        double a = v[i] * v[i];

        m.mean += v[i] / (double)n;
        m.variance += a / (double)n;
        m.fourth += a * a / (double)n;
        m.largest = fmax(m.largest, fabs(v[i]));
    }
    m.fourth /= m.variance * m.variance;
    return m;
}

/* Six deviations of the estimate from n draws; spread: of a square of a draw, over its mean. */
static void judge(const char *preset, const char *name, const moments *m, double variance,
                  double fourth, double spread, size_t n)
{
    double limit = 6 / sqrt((double)n);

    if (!(fabs(m->mean) <= limit * sqrt(variance)))
        fail_msg("%s %s: mean %g, deviation %g", preset, name, m->mean, sqrt(variance));
    if (!(fabs(m->variance / variance - 1) <= limit * spread))
        fail_msg("%s %s: variance %g, expected %g", preset, name, m->variance, variance);
    if (!(fabs(m->fourth / fourth - 1) <= 4 * limit)) /* the shape: 1.8 uniform, 3 normal */
        fail_msg("%s %s: 4th moment %g, expected %g", preset, name, m->fourth, fourth);
}

static void xavier_fills_its_bounds(const char *preset, const char *name, ms_tensor t,
                                    const double *v, size_t n)
{
    double limit = sqrt(6.0 / (t.dim[0] + t.dim[1]));
    moments m = moments_of(v, n);

    if (!(m.largest <= limit * (1 + 1e-7) && m.largest > 0.995 * limit))
        fail_msg("%s %s: up to %g, limit %g", preset, name, m.largest, limit);
    judge(preset, name, &m, limit * limit / 3, 1.8, sqrt(0.8), n);
}

static void normal_has_its_deviation(const char *preset, const char *name, const double *v,
                                     size_t n)
{
    bool residual = !strncmp(name, "wo.", 3) || !strncmp(name, "w_down.", 7);
    double deviation = residual ? 0.02 / sqrt(2.0 * LAYERS) : 0.02;
    moments m = moments_of(v, n);

    judge(preset, name, &m, deviation * deviation, 3, sqrt(2), n);
    assert_true(m.largest > 3 * deviation && m.largest < 6 * deviation);
}

/* Norm weights are ones, biases zeros; no other vectors exist. */
static void vectors_are_ones_or_zeros(const char *preset, const char *name, const double *v,
                                      size_t n)
{
    static const char *const one[] = {"norm_w", "norm1_w.", "norm2_w.", "q_norm.", "k_norm."};
    static const char *const zero[] = {"norm_b", "head_b", "norm1_b.", "norm2_b.",
                                       "bqkv.",  "bo.",    "b_up.",    "b_down."};
    double want = NAN;

    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (!strncmp(name, one[i], strlen(one[i]))) want = 1;
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
        if (!strncmp(name, zero[i], strlen(zero[i]))) want = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i] != want) fail_msg("%s %s: element %zu is %g", preset, name, i, v[i]);
}

static void values_are_distributed_as_promised(void **state)
{
    (void)state;
    for (int p = 0; p < PRESETS; p++)
        for (int kind = 0; kind < 2; kind++) {
            made m = make("cpu", PRESET[p], kind ? MS_INIT_XAVIER : MS_INIT_NORMAL, 5);
            double *v;
            char name[40];
            ms_tensor t;
            size_t n;

            for (int i = 0; (v = values(&m, i, name, &t, &n)); i++) {
                if (t.rank == 1)
                    vectors_are_ones_or_zeros(PRESET[p], name, v, n);
                else if (kind)
                    xavier_fills_its_bounds(PRESET[p], name, t, v, n);
                else
                    normal_has_its_deviation(PRESET[p], name, v, n);
                test_free(v);
            }
            unmake(&m);
        }
}

/* Values of all parameters, in one piece with the gaps between them. */
static double *flat(made *m, size_t *count)
{
    ms_queue q = {.device = m->device};
    ms_tensor t = m->model->weights.p.flat;
    double *v;
    ms_error err;

    *count = ms_count(t);
    v = test_malloc(*count * sizeof *v);
    ms_read_reals(&q, t, v);
    must(ms_queue_finish(&q, &err), &err);
    return v;
}

static void a_seed_is_the_same_bits_on_every_device(void **state)
{
    (void)state;
    for (int p = 0; p < PRESETS; p++)
        for (int kind = 0; kind < 2; kind++) {
            made want = make("ref", PRESET[p], (ms_init)kind, 0xfedcba9876543210u);

            for (int d = 0; ms_device_list(d); d++) {
                made got = make(ms_device_list(d), PRESET[p], (ms_init)kind, 0xfedcba9876543210u);
                char name[2][40];
                double *a, *b;
                ms_tensor t;
                size_t n;

                for (int i = 0; (a = values(&want, i, name[0], &t, &n)); i++) {
                    b = values(&got, i, name[1], &t, &n);
                    assert_string_equal(name[0], name[1]);
                    assert_memory_equal(a, b, n * sizeof *a);
                    test_free(a);
                    test_free(b);
                }
                unmake(&got);
            }
            unmake(&want);
        }
}

/* Also when only the upper half differs, and after other values have been there. */
static void seeds_differ(void **state)
{
    static const uint64_t seed[] = {1, 2, 1 + ((uint64_t)1 << 32), 0};
    double *v[4], *again;
    size_t n;
    ms_error err;

    (void)state;
    made m = make("cpu", "llama", MS_INIT_XAVIER, 77);
    for (int i = 0; i < 4; i++) {
        must(ms_model_init(m.model, MS_INIT_XAVIER, seed[i], &err), &err);
        v[i] = flat(&m, &n);
        for (int k = 0; k < i; k++) {
            size_t same = 0, decayed = m.model->weights.p.decayed;

            for (size_t j = 0; j < decayed; j++) same += v[i][j] == v[k][j] && v[i][j] != 0;
            assert_true(same < 10);
        }
    }
    must(ms_model_init(m.model, MS_INIT_XAVIER, seed[0], &err), &err);
    again = flat(&m, &n);
    assert_memory_equal(again, v[0], n * sizeof *again);
    for (int i = 0; i < 4; i++) test_free(v[i]);
    test_free(again);
    unmake(&m);
}

/* Tensors of one shape do not start alike, and rows of one do not. */
static void tensors_differ(void **state)
{
    made m = make("cpu", "llama", MS_INIT_XAVIER, 1);
    const ms_params *p = &m.model->weights.p;
    const ms_tensor pair[][2] = {{p->embed, p->head},
                                 {p->layer[0].wqkv, p->layer[1].wqkv},
                                 {p->layer[1].wo, p->layer[2].wo},
                                 {p->layer[0].w_up, p->layer[2].w_up},
                                 {ms_rows(p->embed, 0, 1), ms_rows(p->embed, 1, 1)}};

    (void)state;
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        const float *a = pair[i][0].data, *b = pair[i][1].data;
        size_t same = 0, n = ms_count(pair[i][0]);

        for (size_t j = 0; j < n; j++) same += a[j] == b[j];
        assert_true(same <= n / 1000);
    }
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_distributed_as_promised),
        cmocka_unit_test(a_seed_is_the_same_bits_on_every_device),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(tensors_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
