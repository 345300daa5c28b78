/* Generation: what it draws, when it stops, what it shows, and that a batch changes nothing. */
#include "tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const DEVICE[] = {"ref", "cpu"};
enum { DEVICES = 2 };

static ms_generate_options greedy(int n)
{
    ms_generate_options o = ms_generate_defaults();

    o.max_tokens = n;
    o.temperature = 0;
    return o;
}

static ms_generated one(tiny *t, const char *prompt, const ms_generate_options *o)
{
    ms_generated g;
    ms_error err;

    must(ms_generate(t->model, t->tokenizer, &prompt, 1, o, &g, &err), &err);
    return g;
}

static void same_result(const ms_generated *a, const ms_generated *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, a->count * sizeof *a->ids);
    assert_string_equal(a->text, b->text);
    assert_memory_equal(&a->log_probability, &b->log_probability, sizeof a->log_probability);
    assert_int_equal(a->stop, b->stop);
    assert_int_equal(a->prompt_tokens, b->prompt_tokens);
}

/* -- what is drawn ----------------------------------------------------------------------------- */

static void greedy_takes_the_largest_logit(void **state)
{
    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        tiny t = tiny_new(DEVICE[d], "llama", false, 5);
        ms_generate_options o = greedy(40);
        ms_generated g = one(&t, "To be, or", &o);
        double sum = 0, *p = test_malloc(257 * sizeof *p);
        ms_session *s;
        ms_error err;
        const float *z;
        int32_t id[9];

        assert_int_equal(g.count, 40);
        for (int i = 0; i < 9; i++) id[i] = "To be, or"[i];
        must(ms_session_new(&s, t.model, 0, &err), &err);
        must(ms_session_append(s, id, 9, &z, &err), &err);
        for (size_t i = 0; i < g.count; i++) {
            int best = 0;

            for (int v = 1; v < 257; v++)
                if (z[v] > z[best]) best = v;
            assert_int_equal(g.ids[i], best);
            log_softmax(z, 257, p);
            sum += p[best];
            must(ms_session_append(s, &g.ids[i], 1, &z, &err), &err);
        }
        assert_true(fabs(sum - g.log_probability) < 1e-9);
        ms_session_free(s);
        test_free(p);
        ms_generated_clear(&g);
        tiny_free(&t);
    }
}

static void narrow_sampling_is_greedy(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 5);
    ms_generate_options o = greedy(60);
    ms_generated want = one(&t, "abc", &o);

    (void)state;
    for (int i = 0; i < 4; i++) {
        o = ms_generate_defaults();
        o.max_tokens = 60;
        if (i == 0) o.top_k = 1;
        if (i == 1) o.top_p = 1e-6f;
        if (i == 2) o.min_p = 1;
        if (i == 3) o.temperature = 1e-6f;
        ms_generated g = one(&t, "abc", &o);
        same_result(&g, &want);
        ms_generated_clear(&g);
    }
    ms_generated_clear(&want);
    tiny_free(&t);
}

static void a_seed_is_a_text(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 5);
    ms_generate_options o = ms_generate_defaults();
    ms_generated g[3];

    (void)state;
    o.max_tokens = 50;
    for (int i = 0; i < 3; i++) {
        o.seed = i < 2 ? (uint64_t)1 << 40 : 1; /* the upper half of a seed counts too */
        g[i] = one(&t, "abc", &o);
    }
    same_result(&g[0], &g[1]);
    assert_memory_not_equal(g[0].ids, g[2].ids, sizeof *g[0].ids * 50);
    for (int i = 0; i < 3; i++) ms_generated_clear(&g[i]);
    tiny_free(&t);
}

/* -- the distribution of draws --------------------------------------------------------------- */

/* Probabilities that the contract of the sample op gives, in double. */
static void wanted(const float *z, const ms_how *how, double p[TINY_VOCAB])
{
    int order[TINY_VOCAB], keep = TINY_VOCAB, n;
    double scaled[TINY_VOCAB], sum = 0, run = 0;
    float hot[TINY_VOCAB];

    for (int i = 0; i < TINY_VOCAB; i++) hot[i] = z[i] / how->temperature;
    log_softmax(hot, TINY_VOCAB, scaled);
    for (int i = 0; i < TINY_VOCAB; i++) {
        int at = i;

        for (; at > 0 && scaled[order[at - 1]] < scaled[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    if (how->top_k && how->top_k < keep) keep = how->top_k;
    for (int i = 0; i < keep; i++) sum += exp(scaled[order[i]]);
    for (n = 0; n < keep && (n == 0 || run < how->top_p * sum); n++) run += exp(scaled[order[n]]);
    keep = n;
    for (n = 1; n < keep && exp(scaled[order[n]]) >= how->min_p * exp(scaled[order[0]]);) n++;
    sum = 0;
    for (int i = 0; i < TINY_VOCAB; i++) p[i] = 0;
    for (int i = 0; i < n; i++) sum += exp(scaled[order[i]]);
    for (int i = 0; i < n; i++) p[order[i]] = exp(scaled[order[i]]) / sum;
}

/* Chi-square of draws against probabilities; what cannot be drawn must not have been. */
static double chi_square(const int *count, const double *p, int draws)
{
    double x = 0;

    for (int i = 0; i < TINY_VOCAB; i++) {
        double expected = p[i] * draws;

        if (p[i] == 0)
            assert_int_equal(count[i], 0);
        else
            x += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return x;
}

static void draws_follow_the_distribution(void **state)
{
    static const ms_how how[] = {
        {.temperature = 1, .top_p = 1},
        {.temperature = 0.7f, .top_p = 1},
        {.temperature = 2, .top_p = 1},
        {.temperature = 1, .top_p = 1, .top_k = 3},
        {.temperature = 1, .top_p = 0.7f},
        {.temperature = 1, .top_p = 1, .min_p = 0.5f},
        {.temperature = 1.5f, .top_p = 0.9f, .top_k = 4, .min_p = 0.1f},
    };
    enum { DRAWS = 8000 };

    (void)state;
    for (int d = 0; d < DEVICES; d++) {
        tiny t = tiny_new(DEVICE[d], "llama", true, 6);
        ms_pass_options o = {.batch = 1, .rows = 4};
        int32_t id[] = {1, 0, 4, 2};
        ms_seq seq = {0, 4};
        float z[TINY_VOCAB];
        ms_pass *pass;
        ms_error err;

        must(ms_pass_new(&pass, t.model, &o, &err), &err);
        must(ms_pass_forward(pass, 4, id, &seq, &err), &err);
        must(ms_pass_logits(pass, z, &err), &err);
        for (size_t h = 0; h < sizeof how / sizeof *how; h++) {
            int count[TINY_VOCAB] = {0};
            double p[TINY_VOCAB];
            ms_how draw = how[h];

            for (int i = 0; i < DRAWS; i++) {
                int32_t drawn;

                draw.key[0] = (uint32_t)i; /* seeds and positions must both be independent */
                draw.position = (uint32_t)(i % 3);
                must(ms_pass_sample(pass, &draw, &drawn, &err), &err);
                assert_in_range(drawn, 0, TINY_VOCAB - 1);
                count[drawn]++;
            }
            wanted(z, &how[h], p);
            double x = chi_square(count, p, DRAWS);
            if (x > 23.5) /* 4 degrees of freedom: exceeded once in 10,000 */
                fail_msg("%s, how %zu: chi-square %g", DEVICE[d], h, x);
        }
        ms_pass_free(pass);
        tiny_free(&t);
    }
}

/* -- batches ----------------------------------------------------------------------------------- */

enum { PROMPTS = 9 };
static const char *const PROMPT[PROMPTS] = {
    "a",
    "In the beginning God created the heaven and the earth.",
    "bcd",
    "And the earth was without form, and void; and darkness was upon the face of the deep. And the "
    "Spirit of God moved upon the face of the waters. And God said, Let there be light: and there "
    "was light.", /* more than one piece of a prompt */
    "caf\xC3\xA9",
    "x",
    "x",
    "The end",
    "1 2 3 4 5 6 7 8 9 10 11 12",
};

static void batch_equals_alone(const char *device, const char *preset, ms_generate_options o)
{
    static const int BATCH[] = {1, 2, 3, 7, 9, 20};
    tiny t = tiny_new(device, preset, false, 8);
    ms_generated alone[PROMPTS], all[PROMPTS];
    ms_error err;

    for (int i = 0; i < PROMPTS; i++) alone[i] = one(&t, PROMPT[i], &o);
    for (size_t b = 0; b < sizeof BATCH / sizeof *BATCH; b++)
        for (int order = 0; order < 3; order++) {
            const char *text[PROMPTS];
            int place[PROMPTS];

            for (int i = 0; i < PROMPTS; i++) {
                place[i] = order == 0 ? i : order == 1 ? PROMPTS - 1 - i : (i * 4 + 2) % PROMPTS;
                text[i] = PROMPT[place[i]];
            }
            o.batch = BATCH[b];
            must(ms_generate(t.model, t.tokenizer, text, PROMPTS, &o, all, &err), &err);
            for (int i = 0; i < PROMPTS; i++) {
                same_result(&all[i], &alone[place[i]]);
                ms_generated_clear(&all[i]);
            }
        }
    for (int i = 0; i < PROMPTS; i++) ms_generated_clear(&alone[i]);
    tiny_free(&t);
}

static void a_batch_changes_nothing(void **state)
{
    ms_generate_options sampled = ms_generate_defaults();

    (void)state;
    sampled.max_tokens = 21;
    sampled.top_p = 0.95f;
    for (int d = 0; d < DEVICES; d++) {
        batch_equals_alone(DEVICE[d], "llama", greedy(17));
        batch_equals_alone(DEVICE[d], "llama", sampled);
        batch_equals_alone(DEVICE[d], "original", sampled);
        batch_equals_alone(DEVICE[d], "qwen3", greedy(17));
    }
}

/* Prompts that end at different times make room at different times. */
static void a_batch_of_uneven_lengths_changes_nothing(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 9);
    const char *text[PROMPTS] = {"a", "bb", "abcde", "e", "dddd", "cab", "ad", "bad", "deed"};
    ms_generate_options o = ms_generate_defaults();
    ms_generated alone[PROMPTS], all[PROMPTS];
    size_t least = 1000, most = 0;
    ms_error err;

    (void)state;
    o.max_tokens = 60;
    t.model->config.eos = 2;
    for (int i = 0; i < PROMPTS; i++) {
        alone[i] = one(&t, text[i], &o);
        least = alone[i].count < least ? alone[i].count : least;
        most = alone[i].count > most ? alone[i].count : most;
    }
    assert_true(least < most);
    for (o.batch = 1; o.batch <= PROMPTS; o.batch++) {
        must(ms_generate(t.model, t.tokenizer, text, PROMPTS, &o, all, &err), &err);
        for (int i = 0; i < PROMPTS; i++) {
            same_result(&all[i], &alone[i]);
            ms_generated_clear(&all[i]);
        }
    }
    for (int i = 0; i < PROMPTS; i++) ms_generated_clear(&alone[i]);
    tiny_free(&t);
}

/* -- why it stops ------------------------------------------------------------------------------ */

static void stops_for_the_right_reason(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 5);
    ms_generate_options o = greedy(10);
    ms_generated free_run = one(&t, "abc", &o), g;
    char text[400];

    (void)state;
    assert_int_equal(free_run.stop, MS_STOP_LENGTH);
    assert_int_equal(free_run.count, 10);
    assert_int_equal(free_run.prompt_tokens, 3);

    t.model->config.eos = free_run.ids[4];
    g = one(&t, "abc", &o);
    assert_int_equal(g.stop, MS_STOP_EOS);
    assert_int_equal(g.ids[g.count - 1], free_run.ids[4]);
    assert_true(g.count <= 5);
    ms_generated_clear(&g);
    o.ignore_eos = true;
    g = one(&t, "abc", &o);
    same_result(&g, &free_run);
    ms_generated_clear(&g);
    t.model->config.eos = -1;

    memset(text, 'a', sizeof text);
    text[316] = 0; /* the context has 320 */
    g = one(&t, text, &o);
    assert_int_equal(g.stop, MS_STOP_CONTEXT);
    assert_int_equal(g.count, 4);
    ms_generated_clear(&g);
    text[316] = 'a';
    text[320] = 0;
    g = one(&t, text, &o);
    assert_int_equal(g.stop, MS_STOP_CONTEXT);
    assert_int_equal(g.count, 0);
    assert_string_equal(g.text, "");
    ms_generated_clear(&g);

    o.max_tokens = 0;
    g = one(&t, "abc", &o);
    assert_int_equal(g.stop, MS_STOP_LENGTH);
    assert_int_equal(g.count, 0);
    ms_generated_clear(&g);
    ms_generated_clear(&free_run);
    tiny_free(&t);
}

/* -- what is shown ----------------------------------------------------------------------------- */

typedef struct {
    char text[PROMPTS][2048];
    size_t size[PROMPTS];
    int calls[PROMPTS], done[PROMPTS];
    int stop_after; /* calls of a prompt; 0: never */
} seen;

static int see(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    seen *s = data;

    assert_true(prompt < PROMPTS);
    assert_int_equal(s->done[prompt], 0);
    assert_true(s->size[prompt] + text_bytes < sizeof s->text[prompt]);
    memcpy(s->text[prompt] + s->size[prompt], text, text_bytes);
    s->size[prompt] += text_bytes;
    return ++s->calls[prompt] == s->stop_after;
}

static void see_done(void *data, size_t prompt, const ms_generated *g)
{
    seen *s = data;

    assert_int_equal(s->done[prompt]++, 0);
    s->text[prompt][s->size[prompt]] = 0;
    assert_string_equal(g->text, s->text[prompt]);
}

static void what_is_shown_is_the_text(void **state)
{
    tiny t = tiny_new("cpu", "gpt2", false, 5);
    ms_generate_options o = ms_generate_defaults();
    ms_generated g[PROMPTS];
    ms_error err;

    (void)state;
    o.max_tokens = 60;
    o.batch = 4;
    o.ignore_eos = true;
    o.on_text = see;
    o.on_done = see_done;
    for (int beams = 1; beams <= 3; beams += 2)
        for (int stop_after = 0; stop_after < 8; stop_after += 7) {
            seen *s = test_calloc(1, sizeof *s);

            o.beams = beams;
            o.data = s;
            s->stop_after = stop_after;
            must(ms_generate(t.model, t.tokenizer, PROMPT, PROMPTS, &o, g, &err), &err);
            for (int i = 0; i < PROMPTS; i++) {
                assert_int_equal(s->done[i], 1);
                assert_string_equal(g[i].text, s->text[i]);
                assert_int_equal(g[i].stop, stop_after ? MS_STOP_ASKED : MS_STOP_LENGTH);
                if (stop_after) assert_int_equal(g[i].count, stop_after - (beams > 1 ? 2 : 1));
                ms_generated_clear(&g[i]);
            }
            test_free(s);
        }
    tiny_free(&t);
}

static void beams_find_more_likely_text_than_greedy(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 5);
    ms_generate_options o = greedy(12);
    ms_generated plain = one(&t, "abc", &o), wide;

    (void)state;
    o.beams = 8;
    wide = one(&t, "abc", &o);
    assert_int_equal(wide.count, 12);
    assert_int_equal(wide.stop, MS_STOP_LENGTH);
    assert_true(wide.log_probability >= plain.log_probability);
    ms_generated_clear(&plain);
    ms_generated_clear(&wide);
    tiny_free(&t);
}

/* -- what is refused --------------------------------------------------------------------------- */

static void refused(tiny *t, const char *prompt, const ms_generate_options *o, ms_status status,
                    const char *words)
{
    ms_generated g;
    ms_error err;

    assert_int_equal(ms_generate(t->model, t->tokenizer, &prompt, 1, o, &g, &err), status);
    if (!strstr(err.message, words)) fail_msg("'%s' lacks '%s'", err.message, words);
    ms_generated_clear(&g);
}

static void bad_options_are_refused(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 5);
    ms_generate_options o;

    (void)state;
#define REFUSED(field, value, words)                                                               \
    o = ms_generate_defaults();                                                                    \
    o.field = value;                                                                               \
    refused(&t, "abc", &o, MS_INPUT, words);
    REFUSED(max_tokens, -1, "tokens")
    REFUSED(temperature, -0.1f, "temperature")
    REFUSED(temperature, NAN, "temperature")
    REFUSED(temperature, INFINITY, "temperature")
    REFUSED(top_k, -1, "top-k")
    REFUSED(top_p, 0, "top-p")
    REFUSED(top_p, 1.1f, "top-p")
    REFUSED(top_p, NAN, "top-p")
    REFUSED(min_p, -0.1f, "min-p")
    REFUSED(min_p, 1.1f, "min-p")
    REFUSED(beams, 0, "beams")
    REFUSED(length_penalty, NAN, "length penalty")
    REFUSED(batch, 0, "batch")
    tiny_free(&t);
}

static void bad_prompts_are_refused(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 5);
    ms_generate_options o = greedy(4);
    const char *some[] = {"abc", "ab?"};
    char text[400];
    seen s = {.stop_after = 0};
    ms_generated g[2];
    ms_error err;

    (void)state;
    refused(&t, "", &o, MS_INPUT, "empty");
    refused(&t, "abx", &o, MS_INPUT, "x");
    memset(text, 'a', sizeof text);
    text[321] = 0;
    refused(&t, text, &o, MS_INPUT, "321");

    /* A bad prompt among good ones: named, and nothing was shown of the others. */
    o.on_text = see;
    o.data = &s;
    assert_int_equal(ms_generate(t.model, t.tokenizer, some, 2, &o, g, &err), MS_INPUT);
    assert_non_null(strstr(err.message, "prompt 2"));
    assert_int_equal(s.calls[0], 0);
    must(ms_generate(t.model, t.tokenizer, some, 0, &o, g, &err), &err);

    t.model->config.bos = 3;
    ms_generated from_bos = one(&t, "", &o), from_text;
    memset(&s, 0, sizeof s);
    from_text = one(&t, "d", &o);
    same_result(&from_bos, &from_text);
    ms_generated_clear(&from_bos);
    ms_generated_clear(&from_text);
    tiny_free(&t);
}

static void weights_that_are_no_numbers_stop_it(void **state)
{
    tiny t = tiny_new("cpu", "llama", true, 5);
    ms_queue q = {.device = t.device};
    ms_generate_options o = ms_generate_defaults();
    float nan = NAN;
    ms_error err;

    (void)state;
    ms_write_floats(&q, MS_TENSOR(t.model->weights.p.norm_w.data, t.device->real, 1), &nan);
    must(ms_queue_finish(&q, &err), &err);
    refused(&t, "abc", &o, MS_NONFINITE, "finite");
    o.beams = 2;
    refused(&t, "abc", &o, MS_NONFINITE, "finite");
    tiny_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_logit),
        cmocka_unit_test(narrow_sampling_is_greedy),
        cmocka_unit_test(a_seed_is_a_text),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(a_batch_changes_nothing),
        cmocka_unit_test(a_batch_of_uneven_lengths_changes_nothing),
        cmocka_unit_test(stops_for_the_right_reason),
        cmocka_unit_test(what_is_shown_is_the_text),
        cmocka_unit_test(beams_find_more_likely_text_than_greedy),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(bad_prompts_are_refused),
        cmocka_unit_test(weights_that_are_no_numbers_stop_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
