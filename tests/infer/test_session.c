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
        cmocka_unit_test(rewind_leaves_no_trace),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(appending_allocates_nothing),
        cmocka_unit_test(a_draw_needs_the_logits_of_the_last_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
