/* A session: pieces of any size give the bits of the full pass, and a rewind leaves no trace. */
#include "tiny.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const DEVICE[] = {"ref", "cpu"};
static const char *const PRESET[] = {"original", "gpt2", "llama", "qwen2", "qwen3", "nano"};

enum { TOKENS = 300, BYTES_VOCAB = 257 };

static void fill(int32_t *id, int n)
{
    for (int i = 0; i < n; i++) id[i] = (i * 37 + i * i) % 256;
}

/* Logits of the last token of each of `n` tokens, all in one pass. */
static void full_pass(ms_model *m, const int32_t *id, int n, double *logits)
{
    ms_pass_options o = {.batch = 1, .rows = n};
    ms_seq seq = {0, n};
    ms_pass *p;
    ms_error err;

    must(ms_pass_new(&p, m, &o, &err), &err);
    must(ms_pass_logits_all(p, n, id, &seq, logits, &err), &err);
    ms_pass_free(p);
}

static void pieces_give_the_bits_of_the_full_pass_on(const char *device, const char *preset)
{
    tiny t = tiny_new(device, preset, false, 3);
    double *all = test_malloc(sizeof *all * TOKENS * BYTES_VOCAB);
    int32_t id[TOKENS];
    ms_session *s;
    ms_error err;
    const float *z;

    fill(id, TOKENS);
    full_pass(t.model, id, TOKENS, all);
    assert_true(all[0] != all[1] && all[0] != all[BYTES_VOCAB]); /* there is something to compare */
    for (int piece = 1; piece <= TOKENS; piece = piece * 4 + 3) {
        must(ms_session_new(&s, t.model, TOKENS, &err), &err);
        for (int at = 0; at < TOKENS; at += piece) {
            int n = TOKENS - at < piece ? TOKENS - at : piece;

            must(ms_session_append(s, id + at, (size_t)n, &z, &err), &err);
            for (int v = 0; v < BYTES_VOCAB; v++) {
                float want = (float)all[(at + n - 1) * BYTES_VOCAB + v];

                if (z[v] != want)
                    fail_msg("%s %s, pieces of %d, token %d: logit %d is %.9g, alone %.9g", device,
                             preset, piece, at + n - 1, v, z[v], want);
            }
        }
        assert_int_equal(ms_session_length(s), TOKENS);
        ms_session_free(s);
    }
    test_free(all);
    tiny_free(&t);
}

static void pieces_give_the_bits_of_the_full_pass(void **state)
{
    (void)state;
    for (size_t d = 0; d < sizeof DEVICE / sizeof *DEVICE; d++)
        for (size_t p = 0; p < sizeof PRESET / sizeof *PRESET; p++)
            pieces_give_the_bits_of_the_full_pass_on(DEVICE[d], PRESET[p]);
}

/* A model whose heads are as wide as a block of q8_0. */
static ms_model *wide_heads(ms_device *d)
{
    ms_config c;
    ms_model *m;
    ms_error err;

    must(ms_config_preset(&c, "llama", &err), &err);
    c.vocab = BYTES_VOCAB;
    c.context = TOKENS;
    c.layers = 2;
    c.width = 64;
    c.heads = 4;
    c.kv_heads = 2;
    c.head_dim = 32;
    c.ffn = 48;
    c.bos = c.eos = -1;
    ms_config_derive(&c);
    must(ms_model_new(&m, d, &c, &err), &err);
    must(ms_model_init(m, MS_INIT_XAVIER, 5, &err), &err);
    return m;
}

/* The largest number of z, and the largest difference from `other`. */
static double largest(const double *z, const double *other, size_t n, double *difference)
{
    double most = 0;

    *difference = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs(z[i]));
        *difference = fmax(*difference, fabs(z[i] - other[i]));
    }
    return most;
}

/* Logits with a cache of some type are near those without rounding, and pieces give the same. */
static void a_cache_of_type(ms_model *m, const char *type, double within, const double *exact)
{
    enum { PIECE = 23, ALL = TOKENS * BYTES_VOCAB };
    double *z = test_malloc(sizeof *z * ALL), difference, most;
    int32_t id[TOKENS];
    const float *last;
    ms_session *s;
    ms_error err;

    fill(id, TOKENS);
    must(ms_model_set_cache(m, type, &err), &err);
    full_pass(m, id, TOKENS, z);
    most = largest(exact, z, ALL, &difference);
    if (!(difference > 0 && difference < within * most))
        fail_msg("%s on %s: off by %g of %g", type, m->device->name, difference, most);
    must(ms_session_new(&s, m, TOKENS, &err), &err);
    for (int at = 0; at < TOKENS; at += PIECE) {
        int n = TOKENS - at < PIECE ? TOKENS - at : PIECE;

        must(ms_session_append(s, id + at, (size_t)n, &last, &err), &err);
        for (int v = 0; v < BYTES_VOCAB; v++)
            assert_true(last[v] == (float)z[(at + n - 1) * BYTES_VOCAB + v]);
    }
    ms_session_free(s);
    test_free(z);
}

static void caches_of_other_types(void **state)
{
    double *exact = test_malloc(sizeof *exact * TOKENS * BYTES_VOCAB);
    int32_t id[TOKENS];
    ms_device *d;
    ms_model *m;
    ms_error err;

    (void)state;
    fill(id, TOKENS);
    for (size_t i = 0; i < sizeof DEVICE / sizeof *DEVICE; i++) {
        must(ms_device_open(&d, DEVICE[i], NULL, &err), &err);
        m = wide_heads(d);
        full_pass(m, id, TOKENS, exact);
        a_cache_of_type(m, "f16", 1e-3, exact);
        a_cache_of_type(m, "bf16", 8e-3, exact);
        a_cache_of_type(m, "q8_0", 2e-2, exact);
        assert_int_equal(ms_model_set_cache(m, "q4_0", &err), MS_INPUT);
        ms_model_free(m);
        ms_device_close(d);
    }
    test_free(exact);
}

static size_t cache_bytes(ms_model *m, const char *type)
{
    ms_pass_options o = {.batch = 3, .rows = 1, .keys = TOKENS};
    ms_error err;
    ms_pass *p;
    size_t bytes;

    must(ms_model_set_cache(m, type, &err), &err);
    must(ms_pass_new(&p, m, &o, &err), &err);
    bytes = ms_pass_bytes(p).cache;
    ms_pass_free(p);
    return bytes;
}

static void other_types_take_less_memory(void **state)
{
    ms_device *d;
    ms_model *m;
    ms_error err;
    size_t f32;

    (void)state;
    must(ms_device_open(&d, "cpu", NULL, &err), &err);
    m = wide_heads(d);
    f32 = cache_bytes(m, "f32");
    assert_true(cache_bytes(m, "f16") < f32 * 0.51 && cache_bytes(m, "bf16") < f32 * 0.51);
    assert_true(cache_bytes(m, "q8_0") < f32 * 0.27);
    ms_model_free(m);
    ms_device_close(d);
    tiny t = tiny_new("cpu", "gpt2", false, 4); /* heads of 4 */
    assert_int_equal(ms_model_set_cache(t.model, "q8_0", &err), MS_INPUT);
    tiny_free(&t);
}

static void rewind_leaves_no_trace(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 4);
    int32_t id[200], other[50];
    float want[BYTES_VOCAB];
    ms_session *s;
    ms_error err;
    const float *z;

    (void)state;
    fill(id, 200);
    for (int i = 0; i < 50; i++) other[i] = 255 - id[i];
    must(ms_session_new(&s, t.model, 0, &err), &err);
    must(ms_session_append(s, id, 150, NULL, &err), &err);
    must(ms_session_append(s, id + 150, 50, &z, &err), &err);
    memcpy(want, z, sizeof want);

    must(ms_session_rewind(s, 150, &err), &err);
    must(ms_session_append(s, other, 50, NULL, &err), &err);
    must(ms_session_rewind(s, 20, &err), &err);
    assert_int_equal(ms_session_length(s), 20);
    must(ms_session_append(s, id + 20, 180, &z, &err), &err);
    assert_memory_equal(z, want, sizeof want);

    must(ms_session_rewind(s, 0, &err), &err);
    must(ms_session_append(s, id, 200, &z, &err), &err);
    assert_memory_equal(z, want, sizeof want);
    ms_session_free(s);
    tiny_free(&t);
}

static void what_does_not_fit_is_refused(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 4);
    int32_t id[11] = {1, 2, 3}, bad[2] = {1, BYTES_VOCAB}, negative = -1;
    ms_session *s;
    ms_error err;

    (void)state;
    assert_int_equal(ms_session_new(&s, t.model, 321, &err), MS_INPUT);
    assert_int_equal(ms_session_new(&s, t.model, -1, &err), MS_INPUT);
    must(ms_session_new(&s, t.model, 10, &err), &err);
    assert_int_equal(ms_session_append(s, id, 0, NULL, &err), MS_INPUT);
    assert_int_equal(ms_session_append(s, id, 11, NULL, &err), MS_INPUT);
    assert_int_equal(ms_session_append(s, bad, 2, NULL, &err), MS_INPUT);
    assert_int_equal(ms_session_append(s, &negative, 1, NULL, &err), MS_INPUT);
    assert_int_equal(ms_session_length(s), 0);
    must(ms_session_append(s, id, 10, NULL, &err), &err);
    assert_int_equal(ms_session_append(s, id, 1, NULL, &err), MS_INPUT);
    assert_int_equal(ms_session_rewind(s, 11, &err), MS_INPUT);
    assert_int_equal(ms_session_rewind(s, -1, &err), MS_INPUT);
    assert_int_equal(ms_session_length(s), 10);
    ms_session_free(s);
    ms_session_free(NULL);
    tiny_free(&t);
}

static void a_draw_needs_the_logits_of_the_last_token(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 4);
    ms_how how = {.temperature = 0, .top_p = 1};
    int32_t id[20], drawn;
    ms_session *s;
    ms_error err;
    const float *z;

    (void)state;
    fill(id, 20);
    must(ms_session_new(&s, t.model, 0, &err), &err);
    assert_int_equal(ms_session_sample(s, &how, &drawn, &err), MS_INPUT);
    must(ms_session_append(s, id, 20, &z, &err), &err);
    for (int i = 0; i < 2; i++) { /* a draw appends nothing */
        must(ms_session_sample(s, &how, &drawn, &err), &err);
        assert_int_equal(ms_session_length(s), 20);
        for (int v = 0; v < BYTES_VOCAB; v++) assert_true(z[v] <= z[drawn]);
    }
    must(ms_session_rewind(s, 20, &err), &err);
    must(ms_session_sample(s, &how, &drawn, &err), &err);
    must(ms_session_rewind(s, 19, &err), &err);
    assert_int_equal(ms_session_sample(s, &how, &drawn, &err), MS_INPUT);
    ms_session_free(s);
    tiny_free(&t);
}

/* A token by token run must not allocate on the device: everything was planned. */
static void appending_allocates_nothing(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 4);
    int32_t id[200];
    ms_session *s;
    ms_error err;

    (void)state;
    fill(id, 200);
    must(ms_session_new(&s, t.model, 0, &err), &err);
    size_t before = t.device->allocations;
    must(ms_session_append(s, id, 190, NULL, &err), &err);
    for (int i = 190; i < 200; i++) must(ms_session_append(s, id + i, 1, NULL, &err), &err);
    assert_int_equal(t.device->allocations, before);
    ms_session_free(s);
    tiny_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_give_the_bits_of_the_full_pass),
        cmocka_unit_test(caches_of_other_types),
        cmocka_unit_test(other_types_take_less_memory),
        cmocka_unit_test(rewind_leaves_no_trace),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(appending_allocates_nothing),
        cmocka_unit_test(a_draw_needs_the_logits_of_the_last_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
