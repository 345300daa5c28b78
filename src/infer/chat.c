/* chat - a conversation with a model */
#include "infer/chat.h"

#include "base/clock.h"
#include "infer/engine.h"
#include "infer/output.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of a prompt between two questions whether to stop; eos and the stops of a template. */
enum { PIECE = 128, ENDS_MAX = 8 };

typedef struct {
    char *user, *reply;
    uint32_t stream; /* of its draws: counts retries */
} turn;

struct ms_chat {
    ms_model *m;
    const ms_tokenizer *tokenizer;
    const ms_chat_template *template;
    ms_chat_options o;
    char *system; /* NULL: none */
    turn *turn;
    size_t turns, room, from;
    ms_session *session;
    int32_t *held; /* (context) the session's tokens */
    int context;
    int32_t end[ENDS_MAX]; /* tokens that end a reply */
    int ends;
    const char *stop[ENDS_MAX]; /* texts that end one; static */
    int stops;
};

/* A reply on its way. */
typedef struct {
    ms_chat *c;
    ms_output output;
    int limit;    /* tokens */
    bool stopped; /* a stop text came */
    ms_reply sums;
} answer;

typedef struct {
    int32_t *ids;
    size_t count;
} tokens;

ms_chat_options ms_chat_defaults(void)
{
    return (ms_chat_options){.temperature = 0.7f, .top_p = 0.95f, .seed = 1};
}

/* -- text and tokens of the conversation ------------------------------------------------------- */

static const char *name_of(const ms_chat *c, int of_tokenizer, int of_model)
{
    int id = of_tokenizer >= 0 ? of_tokenizer : of_model;

    return id >= 0 ? ms_tokenizer_name(c->tokenizer, id) : NULL;
}

static ms_status format(const ms_chat *c, const ms_chat_message *m, size_t count, ms_chat_text *out,
                        ms_error *err)
{
    const ms_config *config = &c->m->config;

    return ms_chat_format(c->template, m, count, true,
                          name_of(c, ms_tokenizer_bos(c->tokenizer), config->bos),
                          name_of(c, ms_tokenizer_eos(c->tokenizer), config->eos), out, err);
}

/* Whether the template takes this system prompt (NULL: none). */
static ms_status check_system(const ms_chat *c, const char *system, ms_error *err)
{
    ms_chat_message m[2] = {{"system", system}, {"user", "?"}};
    ms_chat_text text;

    MS_TRY(format(c, system ? m : m + 1, system ? 2 : 1, &text, err));
    ms_chat_text_free(&text);
    return MS_OK;
}

static ms_status check_utf8(const char *text, ms_error *err)
{
    size_t size_bytes = strlen(text);
    uint32_t code;

    for (size_t at = 0; at < size_bytes;) {
        int n = ms_utf8_read(text + at, size_bytes - at, &code);

        if (!n) return ms_fail(err, MS_INPUT, "byte %zu of the text is not UTF-8", at);
        at += (size_t)n;
    }
    return MS_OK;
}

/* Tokens of the system prompt and of the turns from `from` on; the last has no reply. */
static ms_status encode(const ms_chat *c, tokens *out, ms_error *err)
{
    ms_chat_message *m = malloc((2 * c->turns + 1) * sizeof *m);
    size_t n = 0;
    ms_chat_text f = {0};
    ms_status s;

    out->ids = NULL;
    if (!m) return ms_fail(err, MS_MEMORY, "out of memory for %zu turns", c->turns);
    if (c->system) m[n++] = (ms_chat_message){"system", c->system};
    for (size_t i = c->from; i < c->turns; i++) {
        m[n++] = (ms_chat_message){"user", c->turn[i].user};
        if (i + 1 < c->turns) m[n++] = (ms_chat_message){"assistant", c->turn[i].reply};
    }
    s = format(c, m, n, &f, err);
    if (!s)
        s = ms_tokenizer_encode_around(c->tokenizer, f.text, strlen(f.text), f.content, f.contents,
                                       &out->ids, &out->count, err);
    ms_chat_text_free(&f);
    free(m);
    return s;
}

/* Tokens of the conversation with room for a reply behind them; the oldest turns leave when it must
 * be.  Half of the context is freed then, so that not every turn is read anew from the start. */
static ms_status fit(ms_chat *c, tokens *out, ms_error *err)
{
    size_t context = (size_t)c->context, reply = context / 4, last = c->turns - 1, from = c->from;

    if (c->o.max_tokens && (size_t)c->o.max_tokens < reply) reply = (size_t)c->o.max_tokens;
    MS_TRY(encode(c, out, err));
    if (out->count <= context - reply && out->count < context) return MS_OK;
    while (c->from < last && out->count > context / 2) {
        free(out->ids);
        c->from++;
        MS_TRY(encode(c, out, err));
    }
    if (out->count >= context)
        return ms_fail(err, MS_INPUT,
                       "the message has %zu tokens with what belongs around it: expected less than "
                       "the context of %zu",
                       out->count, context);
    if (c->from > from)
        ms_log_line(&c->o.log,
                    "the context of %zu tokens is full: the model does not see the oldest %zu of "
                    "%zu turns any more",
                    context, c->from, c->turns);
    return MS_OK;
}

/* -- what can be shown ------------------------------------------------------------------------- */

/* Where the first stop text begins in text; size_bytes: there is none. */
static size_t find_stop(const ms_chat *c, const char *text, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes; at++)
        for (int i = 0; i < c->stops; i++)
            if (strncmp(text + at, c->stop[i], strlen(c->stop[i])) == 0) return at;
    return size_bytes;
}

/* Bytes at the end of text that may be the beginning of a stop. */
static size_t held_back(const ms_chat *c, const char *text, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes; at++)
        for (int i = 0; i < c->stops; i++)
            if (strncmp(text + at, c->stop[i], size_bytes - at) == 0) return size_bytes - at;
    return 0;
}

/* Shows what is certain to belong to the reply: all of it when it is the last.  True when the
 * caller wants no more. */
static bool show(answer *a, bool last)
{
    ms_chat *c = a->c;
    ms_output *o = &a->output;
    const char *text = o->text.data + o->shown_bytes;
    size_t fresh = o->text.size_bytes - o->shown_bytes, end = find_stop(c, text, fresh);

    a->stopped = end < fresh;
    if (!a->stopped && !last) end -= held_back(c, text, fresh);
    o->shown_bytes += end;
    return c->o.on_text && c->o.on_text(c->o.data, c->turns - 1, text, end);
}

/* -- drawing a reply --------------------------------------------------------------------------- */

static ms_status append(ms_chat *c, const int32_t *ids, size_t count, const float **z,
                        ms_error *err)
{
    int length = ms_session_length(c->session);

    MS_TRY(ms_session_append(c->session, ids, count, z, err));
    memcpy(c->held + length, ids, count * sizeof *ids);
    return MS_OK;
}

/* Brings the session to the tokens of a prompt; the last is always run, for its logits. */
static ms_status read_prompt(answer *a, const tokens *p, const float **z, bool *asked,
                             ms_error *err)
{
    ms_chat *c = a->c;
    size_t same = 0, length = (size_t)ms_session_length(c->session);

    if (!p->count) return ms_fail(err, MS_INPUT, "the message has no tokens");
    while (same < length && same + 1 < p->count && c->held[same] == p->ids[same]) same++;
    MS_TRY(ms_session_rewind(c->session, (int)same, err));
    a->sums.prompt_tokens = p->count;
    a->sums.reused_tokens = same;
    for (size_t at = same; at < p->count; at += PIECE) {
        size_t n = p->count - at < PIECE ? p->count - at : PIECE;

        *asked = show(a, false);
        if (*asked) return MS_OK;
        MS_TRY(append(c, p->ids + at, n, z, err));
    }
    return MS_OK;
}

static ms_status draw(answer *a, const float *z, int32_t *id, ms_error *err)
{
    ms_chat *c = a->c;
    ms_how how = {.temperature = c->o.temperature,
                  .top_k = c->o.top_k,
                  .top_p = c->o.top_p,
                  .min_p = c->o.min_p,
                  .key = {(uint32_t)c->o.seed, (uint32_t)(c->o.seed >> 32)},
                  .position = (uint32_t)ms_session_length(c->session),
                  .stream = c->turn[c->turns - 1].stream};
    double lse;

    MS_TRY(ms_log_sum_exp(z, c->m->config.vocab, &lse, err));
    MS_TRY(ms_session_sample(c->session, &how, id, err));
    a->sums.log_probability += z[*id] - lse;
    a->sums.tokens++;
    return MS_OK;
}

static bool is_end(const ms_chat *c, int32_t id)
{
    for (int i = 0; i < c->ends; i++)
        if (id == c->end[i]) return true;
    return false;
}

/* Takes a drawn token in; *ended with the reason in sums. */
static ms_status accept(answer *a, int32_t id, bool *ended, ms_error *err)
{
    bool end = is_end(a->c, id), full = a->sums.tokens == (size_t)a->limit;

    if (!end) MS_TRY(ms_output_push(&a->output, id, err));
    if (end || full) MS_TRY(ms_output_finish(&a->output, err));
    bool asked = show(a, end || full);
    *ended = end || full || asked || a->stopped;
    if (end || a->stopped)
        a->sums.stop = MS_STOP_EOS;
    else if (asked)
        a->sums.stop = MS_STOP_ASKED;
    else
        a->sums.stop = a->limit == a->c->o.max_tokens ? MS_STOP_LENGTH : MS_STOP_CONTEXT;
    return MS_OK;
}

static ms_status draw_all(answer *a, const tokens *p, ms_error *err)
{
    double start_s = ms_clock(), prompt_s;
    bool ended = false;
    const float *z = NULL;
    int32_t id;

    MS_TRY(read_prompt(a, p, &z, &ended, err));
    prompt_s = ms_clock();
    a->sums.prefill_s = prompt_s - start_s;
    a->sums.stop = MS_STOP_ASKED;
    while (!ended) {
        MS_TRY(draw(a, z, &id, err));
        MS_TRY(accept(a, id, &ended, err));
        if (!ended) MS_TRY(append(a->c, &id, 1, &z, err));
    }
    a->sums.decode_s = ms_clock() - prompt_s;
    return MS_OK;
}

/* Draws the reply of the last turn; *text from malloc, NULL when on_text stopped it before there
 * was any. */
static ms_status reply(ms_chat *c, char **text, ms_reply *out, ms_error *err)
{
    answer a = {.c = c};
    tokens p = {0};
    ms_status s;

    *text = NULL;
    s = fit(c, &p, err);
    if (!s) {
        int room = c->context - (int)p.count, most = c->o.max_tokens;

        a.limit = most && most < room ? most : room;
        s = ms_output_new(&a.output, c->tokenizer, (size_t)a.limit, err);
    }
    if (!s) s = draw_all(&a, &p, err);
    if (!s && (a.output.shown_bytes || a.sums.stop != MS_STOP_ASKED)) {
        a.output.text.data[a.output.shown_bytes] = 0;
        *text = a.output.text.data;
        a.output.text = (ms_bytes){0};
    }
    if (!s) *out = a.sums;
    if (!s) out->text = *text ? *text : "";
    free(p.ids);
    ms_output_free(&a.output);
    return s;
}

/* -- turns ------------------------------------------------------------------------------------- */

static void drop_last(ms_chat *c)
{
    turn *t = &c->turn[--c->turns];

    free(t->user);
    free(t->reply);
    *t = (turn){0};
    if (c->from >= c->turns) c->from = 0; /* what had left may fit again */
}

static ms_status add_turn(ms_chat *c, const char *text, ms_error *err)
{
    if (c->turns == c->room) {
        size_t room = c->room ? 2 * c->room : 16;
        turn *grown = realloc(c->turn, room * sizeof *grown);

        if (!grown) return ms_fail(err, MS_MEMORY, "out of memory for %zu turns", room);
        c->turn = grown;
        c->room = room;
    }
    c->turn[c->turns] = (turn){.user = strdup(text)};
    if (!c->turn[c->turns].user) return ms_fail(err, MS_MEMORY, "out of memory for a message");
    c->turns++;
    return MS_OK;
}

ms_status ms_chat_say(ms_chat *c, const char *text, ms_reply *out, ms_error *err)
{
    size_t from = c->from;
    char *drawn;
    ms_status s;

    if (!text[0]) return ms_fail(err, MS_INPUT, "the message is empty");
    MS_TRY(check_utf8(text, err));
    MS_TRY(add_turn(c, text, err));
    s = reply(c, &drawn, out, err);
    if (drawn) {
        c->turn[c->turns - 1].reply = drawn;
    } else {
        drop_last(c);
        if (s) c->from = from;
    }
    return s;
}

ms_status ms_chat_retry(ms_chat *c, ms_reply *out, ms_error *err)
{
    size_t from = c->from;
    turn *t;
    char *drawn;
    ms_status s;

    if (!c->turns) return ms_fail(err, MS_INPUT, "there is no reply to draw again");
    t = &c->turn[c->turns - 1];
    t->stream++;
    s = reply(c, &drawn, out, err);
    if (drawn) {
        free(t->reply);
        t->reply = drawn;
    } else if (s) {
        c->from = from;
    }
    return s;
}

ms_status ms_chat_undo(ms_chat *c, ms_error *err)
{
    if (!c->turns) return ms_fail(err, MS_INPUT, "there is no turn to take back");
    drop_last(c);
    return MS_OK;
}

void ms_chat_clear(ms_chat *c)
{
    while (c->turns) drop_last(c);
}

ms_status ms_chat_set_system(ms_chat *c, const char *system, ms_error *err)
{
    char *copy = NULL;

    if (system) MS_TRY(check_utf8(system, err));
    MS_TRY(check_system(c, system, err));
    if (system) copy = strdup(system);
    if (system && !copy) return ms_fail(err, MS_MEMORY, "out of memory for a system prompt");
    free(c->system);
    c->system = copy;
    return MS_OK;
}

ms_chat_message ms_chat_at(const ms_chat *c, size_t i)
{
    if (c->system && i-- == 0) return (ms_chat_message){"system", c->system};
    if (i / 2 >= c->turns) return (ms_chat_message){0};
    if (i % 2) return (ms_chat_message){"assistant", c->turn[i / 2].reply};
    return (ms_chat_message){"user", c->turn[i / 2].user};
}

ms_chat_state ms_chat_look(const ms_chat *c)
{
    return (ms_chat_state){.template_name = ms_chat_template_name(c->template),
                           .turns = c->turns,
                           .forgotten = c->from,
                           .context = c->context,
                           .used_tokens = ms_session_length(c->session)};
}

/* -- the object -------------------------------------------------------------------------------- */

static ms_status check_options(const ms_chat_options *o, ms_error *err)
{
    ms_generate_options g = ms_generate_defaults();

    g.max_tokens = o->max_tokens;
    g.temperature = o->temperature;
    g.top_k = o->top_k;
    g.top_p = o->top_p;
    g.min_p = o->min_p;
    return ms_generate_check(&g, err);
}

/* The ends of the template: tokens where the tokenizer has them, texts where not. */
static void find_ends(ms_chat *c)
{
    const char *const *stop = ms_chat_template_stops(c->template);
    int eos = ms_tokenizer_eos(c->tokenizer);

    if (eos < 0) eos = c->m->config.eos;
    if (eos >= 0) c->end[c->ends++] = eos;
    for (; *stop; stop++) {
        int id = ms_tokenizer_find(c->tokenizer, *stop);

        MS_ASSERT(c->ends < ENDS_MAX && c->stops < ENDS_MAX);
        if (id >= 0)
            c->end[c->ends++] = id;
        else
            c->stop[c->stops++] = *stop;
    }
}

static ms_status fill(ms_chat *c, ms_error *err)
{
    const ms_chat_options *o = &c->o;

    MS_TRY(check_options(o, err));
    if (o->template_name)
        MS_TRY(ms_chat_template_named(o->template_name, &c->template, err));
    else
        MS_TRY(ms_chat_template_find(ms_tokenizer_chat_template(c->tokenizer), &c->template, err));
    find_ends(c);
    MS_TRY(ms_chat_set_system(c, o->system, err));
    MS_TRY(ms_session_new(&c->session, c->m, o->context, err));
    c->context = o->context ? o->context : c->m->config.context;
    c->held = calloc((size_t)c->context, sizeof *c->held);
    if (!c->held) return ms_fail(err, MS_MEMORY, "out of memory for %d tokens", c->context);
    return MS_OK;
}

ms_status ms_chat_new(ms_chat **out, ms_model *m, const ms_tokenizer *t, const ms_chat_options *o,
                      ms_error *err)
{
    ms_chat *c = calloc(1, sizeof *c);
    ms_status s;

    if (!c) return ms_fail(err, MS_MEMORY, "out of memory for a conversation");
    c->m = m;
    c->tokenizer = t;
    c->o = *o;
    s = fill(c, err);
    c->o.system = c->o.template_name = NULL; /* lent for this call only */
    if (s)
        ms_chat_free(c);
    else
        *out = c;
    return s;
}

void ms_chat_free(ms_chat *c)
{
    if (!c) return;
    ms_chat_clear(c);
    ms_session_free(c->session);
    free(c->turn);
    free(c->system);
    free(c->held);
    free(c);
}
