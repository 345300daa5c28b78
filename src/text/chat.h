/* chat - a conversation becomes the text that a chat model was trained on
 *
 *   user: Hi  ->  <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n  ->  the model's reply
 *
 * Models carry a Jinja program for this (tokenizer_config.json "chat_template", GGUF
 * "tokenizer.chat_template").  It is not run: it is recognised by the expressions in it, whatever
 * their spelling, and its work is done here, byte for byte.  Tools and images are left out. */
#ifndef MS_TEXT_CHAT_H
#define MS_TEXT_CHAT_H

#include "text/tokenizer.h"

/* role: "system", "user" or "assistant". */
typedef struct {
    const char *role, *content;
} ms_chat_message;

typedef struct ms_chat_template ms_chat_template;

/* The template of a text; *out is static.  NULL or "" is "plain".  A text that is not known is
 * MS_UNSUPPORTED with a piece of it.
 *
 *   chatml         <|im_start|>ROLE\n...<|im_end|>\n (also SmolLM); chatml-bos: bos in front
 *   smollm2 qwen1.5 qwen2 qwen2.5   chatml with the default system message of that model
 *   chatml-system  chatml with a default that is not known: a system message must be given
 *   qwen3          chatml; earlier replies lose their <think>...</think>
 *   llama2         [INST] <<SYS>>\n...\n<</SYS>>\n\n... [/INST] ... </s>
 *   llama3         <|start_header_id|>ROLE<|end_header_id|>\n\n...<|eot_id|>
 *   llama3.1       the same, begun by a system turn with the date (also 3.2, 3.3): always the
 *                  template's own "26 Jul 2024", never today's
 *   mistral-v0.1 mistral-v0.2   no system message
 *   mistral-v1     the system message in the first user message
 *   mistral-v3 mistral-v3-tekken   in the last message if that is a user's, else nowhere
 *   mistral-v7 mistral-v7-tekken   [SYSTEM_PROMPT]; v7-tekken: one must be given, the default
 *                  has today's date
 *   zephyr         <|ROLE|>\n...</s>\n (also TinyLlama)
 *   plain          User: ...\nAssistant: ...\n (ours, for models without a template) */
ms_status ms_chat_template_find(const char *text, const ms_chat_template **out, ms_error *err);
/* The same by a name of that list; MS_INPUT when it is none. */
ms_status ms_chat_template_named(const char *name, const ms_chat_template **out, ms_error *err);
const char *ms_chat_template_name(const ms_chat_template *t);
/* Texts that end a reply, besides eos; the last is NULL.  Most are the name of one token
 * (ms_tokenizer_find), the others are seen in the text only ("\nUser:"). */
const char *const *ms_chat_template_stops(const ms_chat_template *t);

/* The text of a conversation, and where the contents of its messages are in it. */
typedef struct {
    char *text;
    ms_text_range *content; /* (contents), ascending; empty ones are left out */
    size_t contents;
} ms_chat_text;
void ms_chat_text_free(ms_chat_text *t);

/* Fills *out, to be freed with ms_chat_text_free.  bos and eos are the texts of the tokens, NULL
 * for none; they are in the text where the template has them, so it is encoded without
 * MS_ENCODE_FRAME, by ms_tokenizer_encode_around: what is special in a content is not meant.
 * add_generation_prompt is obeyed even where a template always adds it (the first Llama 3); of
 * llama2 and mistral it is empty.  Roles in an order that the template refuses, other roles and no
 * message at all are MS_INPUT; so is what a template passes over by accident: in llama2 a system
 * message that is not the first, or the only one. */
ms_status ms_chat_format(const ms_chat_template *t, const ms_chat_message *m, size_t count,
                         bool add_generation_prompt, const char *bos, const char *eos,
                         ms_chat_text *out, ms_error *err);

/* What a conversation has behind the reply m[next - 1], so that a session goes on where the model
 * stopped:
 *
 *   ms_chat_format(m, next - 1, true) | reply | this, from "<|im_end|>\n" on
 *
 * is ms_chat_format(m, count), but for the white space around a reply and the thoughts of qwen3,
 * which templates take away or put in.  The token that ended the reply is in the text, so the
 * session must not have it already.  mistral-v3 with a system message moves it from turn to turn:
 * MS_UNSUPPORTED, all must be encoded anew. */
ms_status ms_chat_format_next(const ms_chat_template *t, const ms_chat_message *m, size_t count,
                              size_t next, bool add_generation_prompt, const char *bos,
                              const char *eos, ms_chat_text *out, ms_error *err);

#endif
