/* chat - a conversation with a model: a system prompt and turns, replies that come token by token
 *
 *   turns     user, reply | user, reply | user, reply | user
 *                         ^ from: those in front have left the context
 *   tokens    what the chat template makes of the system prompt and of the turns behind `from`
 *   session   |==== as in the turn before ====|---- appended ----|..... drawn .....|
 *
 * Every turn is formatted whole, as the model saw it in training; the tokens that the session has
 * already stay, so a turn costs what is new in it. */
#ifndef MS_INFER_CHAT_H
#define MS_INFER_CHAT_H

#include "base/log.h"
#include "infer/generate.h"
#include "infer/session.h"
#include "text/chat.h"

typedef struct ms_chat ms_chat;

typedef struct {
    const char *system;        /* NULL: what the template has without one */
    const char *template_name; /* of ms_chat_template_named; NULL: the model's own */
    int context;               /* tokens of the session; 0: what the model allows */
    int max_tokens;            /* of a reply; 0: as many as the context has room for */
    float temperature;
    int top_k;
    float top_p, min_p;
    uint64_t seed;
    /* Called while a prompt is read and after each token, with the text that can be shown now ("":
     * none).  Nonzero stops the reply. */
    int (*on_text)(void *data, size_t turn, const char *text, size_t text_bytes);
    void *data;
    ms_log log; /* is told when turns leave the context */
} ms_chat_options;

ms_chat_options ms_chat_defaults(void);

typedef struct {
    const char *text; /* UTF-8 without what ended it; lent until the conversation changes */
    size_t prompt_tokens, reused_tokens; /* in front of it; of them in the session already */
    size_t tokens;                       /* drawn, with the one that ended it */
    double log_probability;
    ms_stop stop; /* MS_STOP_EOS: eos, or another end that the template knows */
    double prefill_s, decode_s;
} ms_reply;

typedef struct {
    const char *template_name;
    size_t turns, forgotten;  /* of them: have left the context */
    int context, used_tokens; /* of the session */
} ms_chat_state;

/* Texts of the options are copied.  A system prompt that the template refuses, or lacks: MS_INPUT;
 * a template that is not known: MS_UNSUPPORTED.  Model and tokenizer outlive the chat. */
ms_status ms_chat_new(ms_chat **out, ms_model *m, const ms_tokenizer *t, const ms_chat_options *o,
                      ms_error *err);
void ms_chat_free(ms_chat *c);

/* Adds a turn and draws its reply: each token from (seed, its position in the session).  When less
 * than a quarter of the context (or max_tokens, if that is less) is left for the reply, the oldest
 * turns leave it until half of it is free: they stay in the conversation, but the model sees them
 * no more.
 * A reply that on_text stopped keeps what was shown; when that is nothing, the turn is taken back.
 * MS_INPUT when the message is empty, no UTF-8, or does not fit alone.  On failure the conversation
 * is as before. */
ms_status ms_chat_say(ms_chat *c, const char *text, ms_reply *out, ms_error *err);

/* Draws the last reply again, from the next stream of random numbers.  On failure, and when on_text
 * stops it before anything is shown, the old one stays. */
ms_status ms_chat_retry(ms_chat *c, ms_reply *out, ms_error *err);

ms_status ms_chat_undo(ms_chat *c, ms_error *err); /* takes the last turn back */
void ms_chat_clear(ms_chat *c);                    /* takes all turns back */

/* Another system prompt (copied; NULL: none) for the same turns. */
ms_status ms_chat_set_system(ms_chat *c, const char *system, ms_error *err);

/* Message i of the conversation, the system prompt first if there is one; role NULL past the end.
 * Lent until the conversation changes. */
ms_chat_message ms_chat_at(const ms_chat *c, size_t i);
ms_chat_state ms_chat_look(const ms_chat *c);

#endif
