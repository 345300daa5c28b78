/* Conversations: each reply is that of a fresh session, ends are not shown, and what is taken back,
 * forgotten or stopped leaves no trace. */
#include "tiny.h"

#include "infer/chat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 257, WIDTH = 16 };

/* -- tools ------------------------------------------------------------------------------------- */

/* What on_text was given, and when it asks to stop. */
typedef struct {
    char text[4096];
    size_t size_bytes;
    int calls, stop_at;      /* stop_at: the call that returns nonzero; 0: none */
    const char *stop_behind; /* asks as soon as this was shown; NULL: never */
} shown;

static int on_text(void *data, size_t turn, const char *text, size_t text_bytes)
{
    shown *s = data;

    (void)turn;
    assert_true(s->size_bytes + text_bytes < sizeof s->text);
    memcpy(s->text + s->size_bytes, text, text_bytes);
    s->size_bytes += text_bytes;
    s->text[s->size_bytes] = 0;
    s->calls++;
    return s->calls == s->stop_at || (s->stop_behind && strcmp(s->text, s->stop_behind) == 0);
}

static ms_chat *chat_new(const tiny *t, const ms_chat_options *o)
{
    ms_chat *c;
    ms_error err;

    must(ms_chat_new(&c, t->model, t->tokenizer, o, &err), &err);
    return c;
}

static ms_reply say(ms_chat *c, const char *text)
{
    ms_reply r;
    ms_error err;

    must(ms_chat_say(c, text, &r, &err), &err);
    return r;
}

/* Messages `first` and later (the system prompt always), without the last reply, as a prompt. */
static char *prompt_of(const ms_chat *c, const char *template_name, size_t first)
{
    ms_chat_message m[64];
    const ms_chat_template *t;
    size_t n = 0;
    ms_chat_text text;
    ms_error err;

    for (size_t i = 0; ms_chat_at(c, i).role; i++) {
        assert_true(n < 64);
        m[n] = ms_chat_at(c, i);
        if (i >= first || strcmp(m[n].role, "system") == 0) n++;
    }
    must(ms_chat_template_named(template_name, &t, &err), &err);
    must(ms_chat_format(t, m, n - 1, true, MS_END_OF_TEXT, MS_END_OF_TEXT, &text, &err), &err);
    free(text.content);
    return text.text;
}

/* The reply that the last turn must have: that of a fresh pass over the prompt. */
static void is_fresh(const tiny *t, const ms_chat *c, const ms_chat_options *o, const ms_reply *r,
                     size_t first)
{
    ms_generate_options g = ms_generate_defaults();
    char *prompt = prompt_of(c, o->template_name ? o->template_name : "plain", first);
    const char *given = prompt;
    ms_generated want;
    ms_error err;

    g.max_tokens = o->max_tokens;
    g.temperature = o->temperature;
    g.top_k = o->top_k;
    g.top_p = o->top_p;
    g.min_p = o->min_p;
    g.seed = o->seed;
    must(ms_generate(t->model, t->tokenizer, &given, 1, &g, &want, &err), &err);
    assert_string_equal(r->text, want.text);
    assert_int_equal(r->tokens, want.count);
    assert_int_equal(r->prompt_tokens, want.prompt_tokens);
    assert_int_equal(r->stop, want.stop);
    assert_true(r->log_probability == want.log_probability);
    ms_generated_clear(&want);
    free(prompt);
}

/* -- replies ----------------------------------------------------------------------------------- */

static void a_reply_is_that_of_a_fresh_session_on(const char *device, const char *template_name)
{
    tiny t = tiny_new(device, "llama", false, 6);
    ms_chat_options o = ms_chat_defaults();
    static const char *const message[] = {"Hello", "and then?", "caf\xC3\xA9", "x"};
    shown s = {.calls = 0};
    size_t before = 0;

    o.template_name = template_name;
    o.temperature = 1;
    o.max_tokens = 12;
    o.seed = 77;
    o.on_text = on_text;
    o.data = &s;
    ms_chat *c = chat_new(&t, &o);
    for (size_t i = 0; i < 4; i++) {
        s = (shown){.calls = 0};
        ms_reply r = say(c, message[i]);

        assert_string_equal(r.text, s.text);
        is_fresh(&t, c, &o, &r, 0);
        assert_true(r.reused_tokens >= before);
        assert_true(r.reused_tokens < r.prompt_tokens);
        before = r.prompt_tokens;
    }
    assert_int_equal(ms_chat_look(c).turns, 4);
    assert_int_equal(ms_chat_look(c).forgotten, 0);
    ms_chat_free(c);
    tiny_free(&t);
}

static void a_reply_is_that_of_a_fresh_session(void **state)
{
    (void)state;
    a_reply_is_that_of_a_fresh_session_on("cpu", NULL);
    a_reply_is_that_of_a_fresh_session_on("cpu", "zephyr");
    a_reply_is_that_of_a_fresh_session_on("ref", "plain");
}

static void another_system_prompt_counts_at_once(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    ms_chat_options o = ms_chat_defaults();
    ms_error err;

    (void)state;
    o.max_tokens = 10;
    o.system = "Short.";
    ms_chat *c = chat_new(&t, &o);
    ms_reply r = say(c, "Hello");
    is_fresh(&t, c, &o, &r, 0);
    must(ms_chat_set_system(c, "Shorter!", &err), &err);
    assert_string_equal(ms_chat_at(c, 0).content, "Shorter!");
    r = say(c, "Hello");
    is_fresh(&t, c, &o, &r, 0);
    assert_true(r.reused_tokens > 4 && r.reused_tokens < 10); /* "Short" is the same */
    must(ms_chat_set_system(c, NULL, &err), &err);
    assert_string_equal(ms_chat_at(c, 0).role, "user");
    r = say(c, "Hello");
    is_fresh(&t, c, &o, &r, 0);
    ms_chat_free(c);
    tiny_free(&t);
}

/* -- ends -------------------------------------------------------------------------------------- */

static void fill(ms_model *m, ms_tensor t, float value)
{
    ms_queue q = {.device = m->device};
    size_t n = ms_count(t);
    float *data = test_malloc(n * sizeof *data);
    ms_error err;

    for (size_t i = 0; i < n; i++) data[i] = value;
    ms_write_floats(&q, t, data);
    must(ms_queue_finish(&q, &err), &err);
    test_free(data);
}

/* Makes a model whose likeliest token behind chain[i] is chain[i + 1]: branches add nothing, and
 * the head's row of a token is the direction of the one in front of it. */
static void rig(tiny *t, const int32_t *chain, int count)
{
    ms_model *m = t->model;
    ms_params *p = &m->weights.p;
    ms_queue q = {.device = m->device};
    float *embed = test_malloc(VOCAB * WIDTH * sizeof *embed);
    float *head = test_calloc(VOCAB * WIDTH, sizeof *head);
    ms_error err;

    assert_true(ms_present(p->head));
    for (int l = 0; l < p->layers; l++) {
        fill(m, p->layer[l].wo, 0);
        fill(m, p->layer[l].w_down, 0);
    }
    ms_read_floats(&q, p->embed, embed);
    must(ms_queue_finish(&q, &err), &err);
    for (int i = 0; i + 1 < count; i++) {
        const float *from = embed + chain[i] * WIDTH;
        float *to = head + chain[i + 1] * WIDTH, sum = 0;

        for (int k = 0; k < WIDTH; k++) sum += from[k] * from[k];
        for (int k = 0; k < WIDTH; k++) to[k] = from[k] / sqrtf(sum);
    }
    ms_write_floats(&q, p->head, head);
    must(ms_queue_finish(&q, &err), &err);
    test_free(embed);
    test_free(head);
}

/* A model that writes the text behind its first character, over and over; 0x01 stands for eos. */
static tiny parrot(const char *text)
{
    tiny t = tiny_new("cpu", "llama", false, 8);
    int32_t chain[32];
    int n = (int)strlen(text);

    assert_true(n <= 32);
    for (int i = 0; i < n; i++) chain[i] = text[i] == 1 ? 256 : (unsigned char)text[i];
    rig(&t, chain, n);
    return t;
}

static ms_chat_options greedy(shown *s)
{
    ms_chat_options o = ms_chat_defaults();

    o.temperature = 0;
    o.max_tokens = 30;
    o.on_text = on_text;
    o.data = s;
    return o;
}

static void a_stop_text_is_not_shown(void **state)
{
    tiny t = parrot(":ok\nUser:");
    shown s = {.calls = 0};
    ms_chat_options o = greedy(&s);
    ms_chat *c = chat_new(&t, &o);
    ms_reply r = say(c, "Hi");

    (void)state;
    assert_string_equal(r.text, "ok");
    assert_string_equal(s.text, "ok");
    assert_int_equal(r.stop, MS_STOP_EOS);
    assert_int_equal(r.tokens, 8);
    assert_int_equal(s.calls, 9);
    r = say(c, "Hi again"); /* the stop's tokens are not in the prompt of the next turn */
    assert_string_equal(r.text, "ok");
    assert_string_equal(ms_chat_at(c, 1).content, "ok");
    ms_chat_free(c);
    tiny_free(&t);
}

static void what_a_user_types_is_not_special(void **state)
{
    tiny t = parrot(":ok\nUser:");
    shown s = {.calls = 0};
    ms_chat_options o = greedy(&s);
    ms_chat *c = chat_new(&t, &o);
    size_t plain = say(c, "thirteen long").prompt_tokens;

    (void)state;
    ms_chat_clear(c);
    assert_int_equal(say(c, MS_END_OF_TEXT).prompt_tokens, plain);
    ms_chat_free(c);
    tiny_free(&t);
}

static void the_beginning_of_a_stop_comes_late_but_whole(void **state)
{
    tiny t = parrot(":ok\nUsex");
    shown s = {.calls = 0};
    ms_chat_options o = greedy(&s);

    (void)state;
    o.max_tokens = 7; /* "x" shows that "\nUse" was none */
    ms_chat *c = chat_new(&t, &o);
    ms_reply r = say(c, "Hi");
    assert_memory_equal(s.text, "ok\nUsex", 7);
    assert_int_equal(r.stop, MS_STOP_LENGTH);
    ms_chat_free(c);
    s = (shown){.calls = 0};
    o.max_tokens = 5; /* held back when the reply ends */
    c = chat_new(&t, &o);
    r = say(c, "Hi");
    assert_string_equal(s.text, "ok\nUs");
    assert_string_equal(r.text, "ok\nUs");
    ms_chat_free(c);
    tiny_free(&t);
}

static void a_token_ends_a_reply(void **state)
{
    tiny t = parrot("\nok\x01");
    shown s = {.calls = 0};
    ms_chat_options o = greedy(&s);

    (void)state;
    o.template_name = "chatml";
    ms_chat *c = chat_new(&t, &o);
    ms_reply r = say(c, "Hi");
    assert_string_equal(r.text, "ok");
    assert_string_equal(s.text, "ok");
    assert_int_equal(r.stop, MS_STOP_EOS);
    assert_int_equal(r.tokens, 3);
    ms_chat_free(c);
    tiny_free(&t);
}

/* -- stopped by the caller --------------------------------------------------------------------- */

static void what_was_shown_is_kept(void **state)
{
    tiny t = parrot(":ok\nUser:");
    shown s = {.stop_behind = "ok"};
    ms_chat_options o = greedy(&s);
    ms_chat *c = chat_new(&t, &o);
    ms_reply r = say(c, "Hi");

    (void)state;
    assert_string_equal(r.text, "ok");
    assert_int_equal(r.stop, MS_STOP_ASKED);
    assert_int_equal(r.tokens, 2);
    assert_string_equal(ms_chat_at(c, 1).content, "ok");
    s = (shown){.stop_at = 5}; /* while "\nU" is held back: it was not shown */
    r = say(c, "Hi");
    assert_string_equal(r.text, "ok");
    assert_int_equal(r.stop, MS_STOP_ASKED);
    assert_int_equal(r.tokens, 4);
    assert_int_equal(ms_chat_look(c).turns, 2);
    s = (shown){.calls = 0};
    is_fresh(&t, c, &(ms_chat_options){.max_tokens = 4, .top_p = 1, .seed = 1},
             &(ms_reply){.text = "ok\nU",
                         .tokens = 4,
                         .prompt_tokens = r.prompt_tokens,
                         .stop = MS_STOP_LENGTH,
                         .log_probability = r.log_probability},
             0);
    ms_chat_free(c);
    tiny_free(&t);
}

static void nothing_shown_takes_the_turn_back(void **state)
{
    tiny t = parrot(":ok\nUser:");
    shown s = {.calls = 0};
    ms_chat_options o = greedy(&s);
    ms_chat *c = chat_new(&t, &o);
    ms_error err;
    ms_reply r = say(c, "Hi");

    (void)state;
    s = (shown){.stop_at = 1};
    r = say(c, "no");
    assert_int_equal(r.stop, MS_STOP_ASKED);
    assert_string_equal(r.text, "");
    assert_int_equal(ms_chat_look(c).turns, 1);
    s = (shown){.stop_at = 1};
    must(ms_chat_retry(c, &r, &err), &err);
    assert_string_equal(r.text, "");
    assert_string_equal(ms_chat_at(c, 1).content, "ok"); /* the old one */
    s = (shown){.calls = 0};
    r = say(c, "yes");
    assert_string_equal(r.text, "ok");
    assert_string_equal(ms_chat_at(c, 2).content, "yes");
    ms_chat_free(c);
    tiny_free(&t);
}

/* A long message is read in pieces, between which the caller is asked. */
static void reading_can_be_stopped(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    shown s = {.stop_at = 2};
    ms_chat_options o = greedy(&s);
    ms_chat *c = chat_new(&t, &o);
    char text[200];

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ms_reply r = say(c, text);
    assert_int_equal(r.stop, MS_STOP_ASKED);
    assert_int_equal(r.tokens, 0);
    assert_int_equal(ms_chat_look(c).used_tokens, 128);
    assert_int_equal(ms_chat_look(c).turns, 0);
    s = (shown){.calls = 0};
    r = say(c, text);
    assert_int_equal(r.reused_tokens, 128);
    is_fresh(&t, c, &o, &r, 0);
    ms_chat_free(c);
    tiny_free(&t);
}

/* -- taken back, drawn again, forgotten -------------------------------------------------------- */

static void undo_and_retry(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    ms_chat_options o = ms_chat_defaults();
    ms_chat *c;
    ms_error err;
    ms_reply r;
    char first[256], second[256];

    (void)state;
    o.temperature = 2;
    o.max_tokens = 12;
    c = chat_new(&t, &o);
    assert_int_equal(ms_chat_undo(c, &err), MS_INPUT);
    assert_int_equal(ms_chat_retry(c, &r, &err), MS_INPUT);
    r = say(c, "Hello");
    snprintf(first, sizeof first, "%s", r.text);
    r = say(c, "more");
    snprintf(second, sizeof second, "%s", r.text);
    must(ms_chat_retry(c, &r, &err), &err);
    assert_string_not_equal(r.text, second);
    assert_int_equal(r.reused_tokens, r.prompt_tokens - 1);
    assert_int_equal(ms_chat_look(c).turns, 2);
    assert_string_equal(ms_chat_at(c, 3).content, r.text);
    snprintf(first, sizeof first, "%s", r.text);
    must(ms_chat_retry(c, &r, &err), &err);
    assert_string_not_equal(r.text, first);
    must(ms_chat_undo(c, &err), &err);
    assert_int_equal(ms_chat_look(c).turns, 1);
    assert_null(ms_chat_at(c, 2).role);
    r = say(c, "more");
    assert_string_equal(r.text, second);
    is_fresh(&t, c, &o, &r, 0);
    ms_chat_clear(c);
    assert_int_equal(ms_chat_look(c).turns, 0);
    r = say(c, "Hello");
    is_fresh(&t, c, &o, &r, 0);
    ms_chat_free(c);
    tiny_free(&t);
}

static void count_line(void *data, const char *line)
{
    int *lines = data;

    assert_non_null(strstr(line, "oldest"));
    ++*lines;
}

static void a_full_context_forgets_the_oldest_turns(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    ms_chat_options o = ms_chat_defaults();
    ms_chat_state look = {0};
    int lines = 0;
    ms_error err;
    char message[32];

    (void)state;
    o.system = "Keep this.";
    o.max_tokens = 8;
    o.context = 200;
    o.log = (ms_log){count_line, &lines};
    ms_chat *c = chat_new(&t, &o);
    for (int i = 0; i < 12; i++) {
        size_t before = look.forgotten;
        int told = lines;

        snprintf(message, sizeof message, "This is message %d", i);
        ms_reply r = say(c, message);
        look = ms_chat_look(c);
        assert_int_equal(lines - told, look.forgotten > before);
        assert_true(r.prompt_tokens + 8 <= 200);
        if (look.forgotten > before) assert_true(r.prompt_tokens <= 100);
        is_fresh(&t, c, &o, &r, 1 + 2 * look.forgotten);
    }
    assert_true(lines >= 2 && lines <= 6);
    assert_int_equal(look.turns, 12);
    assert_string_equal(ms_chat_at(c, 1).content, "This is message 0"); /* it is still on record */
    while (ms_chat_look(c).forgotten) must(ms_chat_undo(c, &err), &err);
    assert_true(ms_chat_look(c).turns > 0); /* what is left may be seen again, as far as it fits */
    ms_reply r = say(c, "and now");
    is_fresh(&t, c, &o, &r, 1 + 2 * ms_chat_look(c).forgotten);
    ms_chat_free(c);
    tiny_free(&t);
}

/* -- what is refused --------------------------------------------------------------------------- */

static void bad_messages_leave_no_trace(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    ms_chat_options o = ms_chat_defaults();
    char longest[400];
    ms_reply r;
    ms_error err;

    (void)state;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    o.max_tokens = 8;
    ms_chat *c = chat_new(&t, &o);
    say(c, "Hello");
    assert_int_equal(ms_chat_say(c, "", &r, &err), MS_INPUT);
    assert_int_equal(ms_chat_say(c, "a\xFF", &r, &err), MS_INPUT);
    assert_non_null(strstr(err.message, "byte 1"));
    assert_int_equal(ms_chat_say(c, longest, &r, &err), MS_INPUT);
    assert_non_null(strstr(err.message, "context of 320"));
    assert_int_equal(ms_chat_set_system(c, "\x80", &err), MS_INPUT);
    assert_int_equal(ms_chat_look(c).turns, 1);
    assert_int_equal(ms_chat_look(c).forgotten, 0);
    r = say(c, "more");
    is_fresh(&t, c, &o, &r, 0);
    ms_chat_free(c);
    tiny_free(&t);
}

static void refused(const tiny *t, ms_chat_options o, const char *words)
{
    ms_chat *c;
    ms_error err;

    assert_int_equal(ms_chat_new(&c, t->model, t->tokenizer, &o, &err), MS_INPUT);
    if (!strstr(err.message, words)) fail_msg("no \"%s\" in: %s", words, err.message);
}

static void bad_options_are_refused(void **state)
{
    tiny t = tiny_new("cpu", "llama", false, 6);
    ms_chat_options o = ms_chat_defaults(), bad;

    (void)state;
#define REFUSED(words, field, value) (bad = o, bad.field = value, refused(&t, bad, words))
    REFUSED("temperature", temperature, -1);
    REFUSED("temperature", temperature, NAN);
    REFUSED("top-k", top_k, -1);
    REFUSED("top-p", top_p, 0);
    REFUSED("min-p", min_p, 2);
    REFUSED("tokens", max_tokens, -1);
    REFUSED("context", context, 321);
    REFUSED("context", context, -1);
    REFUSED("nonsense", template_name, "nonsense");
    REFUSED("system", template_name, "chatml-system"); /* it needs one */
    o.system = "x";
    REFUSED("system", template_name, "mistral-v0.1"); /* it takes none */
    REFUSED("UTF-8", system, "\xC3");
    ms_chat_free(NULL);
    tiny_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_that_of_a_fresh_session),
        cmocka_unit_test(another_system_prompt_counts_at_once),
        cmocka_unit_test(a_stop_text_is_not_shown),
        cmocka_unit_test(what_a_user_types_is_not_special),
        cmocka_unit_test(the_beginning_of_a_stop_comes_late_but_whole),
        cmocka_unit_test(a_token_ends_a_reply),
        cmocka_unit_test(what_was_shown_is_kept),
        cmocka_unit_test(nothing_shown_takes_the_turn_back),
        cmocka_unit_test(reading_can_be_stopped),
        cmocka_unit_test(undo_and_retry),
        cmocka_unit_test(a_full_context_forgets_the_oldest_turns),
        cmocka_unit_test(bad_messages_leave_no_trace),
        cmocka_unit_test(bad_options_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
