/* The held-out loss against a sum over the logits of every window, worked out here; perplexity and
 * bits per byte from it; the batch changes nothing. */
#include "runs.h"

#include "model/arch.h"
#include "train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 16, VOCAB = 40 };

typedef struct {
    ms_model *model;
    ms_shard shard;
} bench;

/* A model with a shape of its own in its distributions, and a shard of random tokens that stand for
 * text_bytes. */
static void bench_open(bench *b, runs *r, const char *preset, uint64_t tokens, uint64_t text_bytes)
{
    ms_shard_writer *w;
    ms_config c;
    ms_error err;
    uint32_t noise = 5;
    char name[64];

    must(ms_config_preset(&c, preset, &err), &err);
    c.vocab = VOCAB;
    c.context = ROWS;
    c.layers = 2;
    c.width = 16;
    c.heads = 4;
    c.kv_heads = 4;
    c.head_dim = 4;
    c.ffn = 24;
    ms_config_derive(&c);
    must(ms_model_new(&b->model, r->device, &c, &err), &err);
    must(ms_model_init(b->model, MS_INIT_XAVIER, 11, &err), &err);
    snprintf(name, sizeof name, "%llu.tokens", (unsigned long long)tokens);
    must(ms_shard_writer_open(&w, runs_path(r, name), VOCAB, &err), &err);
    for (uint64_t i = 0; i < tokens; i++) {
        noise = noise * 1664525u + 1013904223u;
        int32_t id = (int32_t)((noise >> 16) % VOCAB);
        ms_shard_writer_put(w, &id, 1, 0);
    }
    ms_shard_writer_put(w, NULL, 0, text_bytes);
    must(ms_shard_writer_commit(w, &err), &err);
    must(ms_shard_open(&b->shard, runs_path(r, name), &err), &err);
}

static void bench_close(bench *b)
{
    ms_shard_close(&b->shard);
    ms_model_free(b->model);
}

/* -log softmax(z)[target] */
static double loss_of(const double *z, int target)
{
    double top = z[0], sum = 0;

    for (int v = 1; v < VOCAB; v++) top = fmax(top, z[v]);
    for (int v = 0; v < VOCAB; v++) sum += exp(z[v] - top);
    return log(sum) + top - z[target];
}

/* Every token but the first is a target once, predicted from what stands before it in its window of
 * `rows` tokens. */
static double sum_by_hand(const bench *b, int rows)
{
    static double z[ROWS * VOCAB];
    ms_pass_options o = {.batch = 1, .rows = rows};
    uint64_t tokens = b->shard.tokens;
    ms_pass *p;
    double sum = 0;
    ms_error err;

    must(ms_pass_new(&p, b->model, &o, &err), &err);
    for (uint64_t at = 0; at + 1 < tokens; at += (uint64_t)rows) {
        int n = tokens - 1 - at < (uint64_t)rows ? (int)(tokens - 1 - at) : rows;
        ms_seq seq = {0, n};
        int32_t id[ROWS];

        for (int t = 0; t < n; t++) id[t] = ms_shard_token(&b->shard, at + (uint64_t)t);
        must(ms_pass_logits_all(p, n, id, &seq, z, &err), &err);
        for (int t = 0; t < n; t++)
            sum += loss_of(z + t * VOCAB, ms_shard_token(&b->shard, at + (uint64_t)t + 1));
    }
    ms_pass_free(p);
    return sum;
}

static ms_evaluation evaluate(const bench *b, int batch, int rows, bool train)
{
    ms_pass_options o = {.batch = batch, .rows = ROWS, .train = train};
    ms_evaluation e;
    ms_pass *p;
    ms_error err;

    must(ms_pass_new(&p, b->model, &o, &err), &err);
    must(ms_evaluate_shard(p, &b->shard, batch, rows, &e, &err), &err);
    ms_pass_free(p);
    return e;
}

static void close_to(const char *what, double got, double want, double limit)
{
    if (!(fabs(got - want) <= limit * fabs(want)))
        fail_msg("%s: %.17g, by hand %.17g", what, got, want);
}

static void losses_are_those_of_the_logits(void **state)
{
    /* whole windows, a short last one, one window, one target */
    static const uint64_t tokens[] = {1 + 5 * ROWS, 100, 10, 2, ROWS + 1, ROWS + 2};
    static const char *const preset[] = {"llama", "original", "gpt2"};
    static const char *const device[] = {"ref", "cpu"};

    (void)state;
    for (int d = 0; d < 2; d++) {
        runs r;

        runs_open(&r, device[d], 2);
        for (size_t i = 0; i < 3 * sizeof tokens / sizeof *tokens; i++) {
            uint64_t n = tokens[i / 3], text_bytes = 3 * n;
            double limit = d ? 1e-6 : 1e-7; /* losses of rows are floats */
            bench b;

            bench_open(&b, &r, preset[i % 3], n, text_bytes);
            double sum = sum_by_hand(&b, ROWS), loss = sum / (double)(n - 1);
            ms_evaluation e = evaluate(&b, 3, ROWS, false);
            assert_int_equal(e.tokens, n - 1);
            assert_int_equal(e.text_bytes, 3 * (n - 1)); /* those of the targets */
            close_to("loss", e.loss, loss, limit);
            close_to("perplexity", e.perplexity, exp(loss), 10 * limit);
            close_to("bits per byte", e.bits_per_byte, sum / log(2) / (3.0 * (double)(n - 1)),
                     limit);
            close_to("perplexity of its loss", e.perplexity, exp(e.loss), 1e-15);
            assert_true(e.seconds >= 0);
            bench_close(&b);
        }
        runs_close(&r);
    }
}

/* To the last bit; also through a pass that trains, and for windows shorter than the pass. */
static void the_batch_changes_nothing(void **state)
{
    static const int batch[] = {1, 2, 3, 5, 7, 64};
    runs r;
    bench b;

    (void)state;
    runs_open(&r, "cpu", 2);
    bench_open(&b, &r, "llama", 230, 500);
    for (int rows = ROWS; rows > 1; rows -= 7) {
        ms_evaluation want = evaluate(&b, 4, rows, false);

        close_to("loss", want.loss, sum_by_hand(&b, rows) / 229, 1e-6);
        for (size_t i = 0; i < sizeof batch / sizeof *batch; i++)
            for (int train = 0; train < 2; train++) {
                ms_evaluation got = evaluate(&b, batch[i], rows, train);

                if (got.loss != want.loss || got.tokens != want.tokens ||
                    got.perplexity != want.perplexity || got.bits_per_byte != want.bits_per_byte)
                    fail_msg("batch %d, rows %d: loss %.17g, expected %.17g", batch[i], rows,
                             got.loss, want.loss);
            }
    }
    bench_close(&b);
    runs_close(&r);
}

static void special_cases_have_an_answer(void **state)
{
    ms_evaluation e;
    ms_error err;
    runs r;
    bench b;

    (void)state;
    runs_open(&r, "cpu", 1);
    bench_open(&b, &r, "llama", 50, 0); /* tokens that stand for no text */
    assert_true(evaluate(&b, 4, ROWS, false).bits_per_byte == 0);
    bench_close(&b);
    for (uint64_t n = 0; n < 2; n++) {
        ms_pass_options o = {.batch = 2, .rows = ROWS};
        ms_pass *p;

        bench_open(&b, &r, "llama", n, 1);
        must(ms_pass_new(&p, b.model, &o, &err), &err);
        assert_int_equal(ms_evaluate_shard(p, &b.shard, 2, ROWS, &e, &err), MS_INPUT);
        assert_non_null(strstr(err.message, "at least 2"));
        ms_pass_free(p);
        bench_close(&b);
    }
    runs_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_logits),
        cmocka_unit_test(the_batch_changes_nothing),
        cmocka_unit_test(special_cases_have_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
