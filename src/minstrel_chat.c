/* minstrel_chat - conversations of the public API */
#include "minstrel_internal.h"

#include "infer/chat.h"

#include <stdlib.h>

struct minstrel_chat {
    ms_chat *chat;
};

minstrel_chat_options minstrel_default_chat_options(void)
{
    ms_chat_options o = ms_chat_defaults();

    return (minstrel_chat_options){.size = sizeof(minstrel_chat_options),
                                   .max_tokens = o.max_tokens,
                                   .temperature = o.temperature,
                                   .top_k = o.top_k,
                                   .top_p = o.top_p,
                                   .min_p = o.min_p,
                                   .seed = o.seed};
}

static ms_chat_options inner_options(const minstrel_chat_options *given)
{
    minstrel_chat_options o = minstrel_default_chat_options();

    ms_options_copy(&o, given, sizeof o);
    return (ms_chat_options){.system = o.system,
                             .template_name = o.template_name,
                             .context = o.context,
                             .max_tokens = o.max_tokens,
                             .temperature = o.temperature,
                             .top_k = o.top_k,
                             .top_p = o.top_p,
                             .min_p = o.min_p,
                             .seed = o.seed,
                             .on_text = o.on_text,
                             .data = o.data,
                             .log = {.fn = o.log, .data = o.log_data}};
}

minstrel_status minstrel_chat_new(minstrel_chat **out, minstrel_model *m,
                                  const minstrel_chat_options *given, minstrel_error *err)
{
    minstrel_chat *c = calloc(1, sizeof *c);
    ms_chat_options o = inner_options(given);
    ms_error e;
    ms_status s = c ? ms_chat_new(&c->chat, m->model, m->tokenizer, &o, &e)
                    : ms_fail(&e, MS_MEMORY, "out of memory for a conversation");

    if (s)
        free(c);
    else
        *out = c;
    return ms_give(err, s, &e);
}

void minstrel_chat_free(minstrel_chat *c)
{
    if (c) ms_chat_free(c->chat);
    free(c);
}

static minstrel_reply public_reply(const ms_reply *r)
{
    return (minstrel_reply){.text = r->text,
                            .prompt_tokens = r->prompt_tokens,
                            .reused_tokens = r->reused_tokens,
                            .tokens = r->tokens,
                            .log_probability = r->log_probability,
                            .stop = (minstrel_stop)r->stop,
                            .prefill_s = r->prefill_s,
                            .decode_s = r->decode_s};
}

minstrel_status minstrel_chat_say(minstrel_chat *c, const char *text, minstrel_reply *out,
                                  minstrel_error *err)
{
    ms_error e;
    ms_reply r;
    ms_status s = ms_chat_say(c->chat, text, &r, &e);

    if (!s && out) *out = public_reply(&r);
    return ms_give(err, s, &e);
}

minstrel_status minstrel_chat_retry(minstrel_chat *c, minstrel_reply *out, minstrel_error *err)
{
    ms_error e;
    ms_reply r;
    ms_status s = ms_chat_retry(c->chat, &r, &e);

    if (!s && out) *out = public_reply(&r);
    return ms_give(err, s, &e);
}

minstrel_status minstrel_chat_undo(minstrel_chat *c, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_chat_undo(c->chat, &e), &e);
}

void minstrel_chat_clear(minstrel_chat *c)
{
    ms_chat_clear(c->chat);
}

minstrel_status minstrel_chat_set_system(minstrel_chat *c, const char *system, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_chat_set_system(c->chat, system, &e), &e);
}

const char *minstrel_chat_message(const minstrel_chat *c, size_t i, const char **role)
{
    ms_chat_message m = ms_chat_at(c->chat, i);

    if (role) *role = m.role;
    return m.content;
}

minstrel_chat_state minstrel_chat_look(const minstrel_chat *c)
{
    ms_chat_state s = ms_chat_look(c->chat);

    return (minstrel_chat_state){.template_name = s.template_name,
                                 .turns = s.turns,
                                 .forgotten = s.forgotten,
                                 .context = s.context,
                                 .used_tokens = s.used_tokens};
}
