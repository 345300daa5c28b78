/* Generation, sessions and tokens through minstrel.h alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "minstrel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static minstrel_model *model;

static void must(minstrel_status status, const minstrel_error *err)
{
    if (status) fail_msg("%s: %s", minstrel_status_text(status), err->message);
}

static int setup(void **state)
{
    minstrel_options o = minstrel_default_options();
    minstrel_shape shape = minstrel_default_shape();
    minstrel_error err;

    (void)state;
    shape.vocab = 257;
    shape.context = 64;
    shape.layers = 2;
    shape.width = 32;
    shape.heads = 4;
    shape.ffn = 64;
    must(minstrel_model_new(&model, "llama", &shape, 7, &o, &err), &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    minstrel_model_free(model);
    return 0;
}

static void tokens_and_text(void **state)
{
    const char *text = "caf\xC3\xA9\n";
    int32_t *ids, bad = 257;
    char *back;
    size_t count;
    minstrel_error err;

    (void)state;
    must(minstrel_encode(model, text, strlen(text), &ids, &count, &err), &err);
    assert_int_equal(count, 6);
    assert_int_equal(ids[3], 0xC3);
    must(minstrel_decode(model, ids, count, &back, &err), &err);
    assert_string_equal(back, text);
    minstrel_text_free(back);
    must(minstrel_decode(model, ids + 3, 1, &back, &err), &err);
    assert_string_equal(back, "\xC3"); /* a token's bytes as they are: half a character */
    minstrel_text_free(back);
    must(minstrel_decode(model, ids, 0, &back, &err), &err);
    assert_string_equal(back, "");
    minstrel_text_free(back);
    assert_int_equal(minstrel_decode(model, &bad, 1, &back, &err), MINSTREL_INPUT);
    minstrel_tokens_free(ids);
}

/* A text generated greedily is what a session finds token by token. */
static void a_session_repeats_a_generation(void **state)
{
    minstrel_generate_options g = minstrel_default_generate_options();
    minstrel_session *s = NULL;
    minstrel_text text;
    const float *logits;
    int32_t id[] = {'a', 'b'};
    minstrel_error err;

    (void)state;
    g.temperature = 0;
    g.max_tokens = 20;
    g.ignore_eos = 1;
    must(minstrel_generate(model, "ab", &g, &text, &err), &err);
    assert_int_equal(text.count, 20);
    assert_int_equal(text.prompt_tokens, 2);
    must(minstrel_session_new(&s, model, 0, &err), &err);
    must(minstrel_session_append(s, id, 2, &logits, &err), &err);
    for (size_t i = 0; i < text.count; i++) {
        for (int v = 0; v < 257; v++) assert_true(logits[v] <= logits[text.ids[i]]);
        must(minstrel_session_append(s, &text.ids[i], 1, &logits, &err), &err);
    }
    assert_int_equal(minstrel_session_length(s), 22);
    must(minstrel_session_rewind(s, 2, &err), &err);
    assert_int_equal(minstrel_session_length(s), 2);
    assert_int_equal(minstrel_session_rewind(s, 3, &err), MINSTREL_INPUT);
    assert_int_equal(minstrel_session_append(s, id, 0, NULL, NULL), MINSTREL_INPUT);
    minstrel_session_free(s);
    minstrel_session_free(NULL);
    minstrel_text_clear(&text);
    assert_int_equal(minstrel_session_new(&s, model, 65, &err), MINSTREL_INPUT);
}

typedef struct {
    size_t text_bytes[3];
    int done[3];
} heard;

static int on_text(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    heard *h = data;

    (void)text;
    h->text_bytes[prompt] += text_bytes;
    return 0;
}

static void on_done(void *data, size_t prompt, const minstrel_text *text)
{
    heard *h = data;

    h->done[prompt]++;
    assert_int_equal(h->text_bytes[prompt], strlen(text->text));
}

static void many_prompts_with_and_without_results(void **state)
{
    static const char *const prompt[] = {"a", "bcd", "ef"};
    minstrel_generate_options g = minstrel_default_generate_options();
    minstrel_text all[3], alone;
    heard h = {{0}, {0}};
    minstrel_error err;

    (void)state;
    g.max_tokens = 15;
    g.batch = 2;
    must(minstrel_generate_all(model, prompt, 3, &g, all, &err), &err);
    for (int i = 0; i < 3; i++) {
        must(minstrel_generate(model, prompt[i], &g, &alone, &err), &err);
        assert_string_equal(all[i].text, alone.text);
        assert_int_equal(all[i].count, alone.count);
        assert_memory_equal(all[i].ids, alone.ids, alone.count * sizeof *alone.ids);
        minstrel_text_clear(&alone);
        minstrel_text_clear(&all[i]);
    }
    g.on_text = on_text;
    g.on_done = on_done;
    g.data = &h;
    must(minstrel_generate_all(model, prompt, 3, &g, NULL, &err), &err);
    for (int i = 0; i < 3; i++) assert_int_equal(h.done[i], 1);
}

static void a_failure_leaves_results_that_can_be_cleared(void **state)
{
    minstrel_generate_options g = minstrel_default_generate_options();
    minstrel_text text;
    minstrel_error err;

    (void)state;
    memset(&text, 0xFF, sizeof text);
    g.top_p = 2;
    assert_int_equal(minstrel_generate(model, "a", &g, &text, &err), MINSTREL_INPUT);
    assert_int_equal(err.status, MINSTREL_INPUT);
    assert_non_null(strstr(err.message, "top-p"));
    assert_null(text.text);
    minstrel_text_clear(&text);
    assert_int_equal(minstrel_generate(model, "a", &g, NULL, NULL), MINSTREL_INPUT);
}

/* A program compiled with an older header gives a shorter struct: the rest are defaults. */
static void shorter_options_keep_defaults(void **state)
{
    minstrel_generate_options g = minstrel_default_generate_options();
    minstrel_text text;
    minstrel_error err;

    (void)state;
    g.size = offsetof(minstrel_generate_options, temperature);
    g.max_tokens = 3;
    g.top_p = 99;
    g.batch = -5;
    must(minstrel_generate(model, "a", &g, &text, &err), &err);
    assert_true(text.count <= 3);
    minstrel_text_clear(&text);
}

static void keep_row(void *data, const minstrel_bench_row *row)
{
    minstrel_bench_row *kept = data;

    assert_non_null(strstr(row->label, "llama"));
    *kept = *row;
}

static void benches_count_what_they_time(void **state)
{
    static const char *const what[] = {"forward", "prefill", "decode", "train"};
    minstrel_bench_options b = minstrel_default_bench_options();
    minstrel_options o = minstrel_default_options();
    minstrel_bench_row row;
    minstrel_error err;

    (void)state;
    b.shape = minstrel_model_shape(model);
    b.shape.parameters = 0;
    b.batch = 2;
    b.tokens = 7;
    b.runs = 3;
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        b.what = what[i];
        must(minstrel_bench(&b, &o, keep_row, &row, &err), &err);
        double tokens = strcmp(what[i], "decode") ? 14 : 2;

        assert_int_equal(row.runs, 3);
        assert_true(row.min_s > 0 && row.min_s <= row.median_s && row.median_s <= row.max_s);
        assert_true(fabs(row.tokens_per_s * row.median_s - tokens) < 1e-6);
        assert_true(row.flops_per_s > 0);
    }
    b.what = "nonsense";
    assert_int_equal(minstrel_bench(&b, &o, keep_row, &row, &err), MINSTREL_INPUT);
}

static int count_text(void *data, size_t turn, const char *text, size_t text_bytes)
{
    size_t *count = data;

    assert_int_equal(turn, 0);
    assert_int_equal(text[text_bytes], 0);
    *count += text_bytes;
    return 0;
}

static void a_conversation(void **state)
{
    minstrel_chat_options o = minstrel_default_chat_options();
    minstrel_chat_state look;
    minstrel_chat *c;
    minstrel_reply r, again;
    minstrel_error err;
    const char *role;
    size_t shown = 0;

    (void)state;
    o.max_tokens = 8;
    o.system = "ab";
    o.on_text = count_text;
    o.data = &shown;
    must(minstrel_chat_new(&c, model, &o, &err), &err);
    must(minstrel_chat_say(c, "Hi", &r, &err), &err);
    assert_int_equal(strlen(r.text), shown);
    assert_true(r.tokens >= 1 && r.tokens <= 8 && r.prompt_tokens > 10);
    assert_string_equal(minstrel_chat_message(c, 0, &role), "ab");
    assert_string_equal(role, "system");
    assert_string_equal(minstrel_chat_message(c, 1, NULL), "Hi");
    assert_string_equal(minstrel_chat_message(c, 2, &role), r.text);
    assert_string_equal(role, "assistant");
    assert_null(minstrel_chat_message(c, 3, &role));
    look = minstrel_chat_look(c);
    assert_string_equal(look.template_name, "plain");
    assert_int_equal(look.turns, 1);
    assert_int_equal(look.context, 64);
    must(minstrel_chat_retry(c, &again, &err), &err);
    assert_int_equal(again.reused_tokens, r.prompt_tokens - 1);
    must(minstrel_chat_set_system(c, NULL, &err), &err);
    must(minstrel_chat_undo(c, &err), &err);
    assert_int_equal(minstrel_chat_undo(c, &err), MINSTREL_INPUT);
    must(minstrel_chat_say(c, "Hi", NULL, NULL), &err);
    minstrel_chat_clear(c);
    assert_null(minstrel_chat_message(c, 0, NULL));
    minstrel_chat_free(c);
    o.template_name = "nonsense";
    assert_int_equal(minstrel_chat_new(&c, model, &o, &err), MINSTREL_INPUT);
    minstrel_chat_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_text),
        cmocka_unit_test(a_session_repeats_a_generation),
        cmocka_unit_test(many_prompts_with_and_without_results),
        cmocka_unit_test(a_failure_leaves_results_that_can_be_cleared),
        cmocka_unit_test(shorter_options_keep_defaults),
        cmocka_unit_test(a_conversation),
        cmocka_unit_test(benches_count_what_they_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
