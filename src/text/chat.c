/* chat - recognises chat templates and does their work
 *
 *   text of a template -> one spelling -> the row of `templates` whose marks are in it
 *   messages -> front | content | back of each turn, the front of a reply */
#include "text/chat.h"

#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* -- the templates --------------------------------------------------------------------------- */

#define BOS "\1"
#define EOS "\2"

enum { SYSTEM, USER, ASSISTANT, ROLES };
enum { TRIM_SYSTEM = 1 << SYSTEM, TRIM_USER = 1 << USER, TRIM_REPLY = 1 << ASSISTANT };
#define TRIM_ALL (TRIM_SYSTEM | TRIM_USER | TRIM_REPLY)

static const char *const role_name[ROLES] = {"system", "user", "assistant"};

/* Where a system message goes. */
typedef enum { IN_TURN, IN_FIRST_USER, IN_LAST_USER, NOWHERE } place;

typedef struct {
    const char *front, *back;
} frame;

struct ms_chat_template {
    const char *name;
    const char *marks[4], *never[3]; /* in the one spelling: all of these, none of those */
    const char *begin;               /* of the whole */
    frame turn[ROLES];
    frame fold;          /* around a system message in a user's */
    const char *header;  /* in front of the first system message */
    const char *implied; /* the system message when there is none */
    const char *reply;   /* the generation prompt */
    const char *stops[4];
    place system;
    int trim;
    bool hides_system; /* has a default that is not known */
    bool alternates;   /* user, assistant, user, ... */
    bool thinks;
};

#define CHATML_TURN  "'<|im_start|>'+message.role+'\n'+message.content+'<|im_end|>\n'"
#define CHATML_REPLY "'<|im_start|>assistant\n'}}"
#define CHATML                                                                                     \
    .turn = {{"<|im_start|>system\n", "<|im_end|>\n"},                                             \
             {"<|im_start|>user\n", "<|im_end|>\n"},                                               \
             {"<|im_start|>assistant\n", "<|im_end|>\n"}},                                         \
    .reply = "<|im_start|>assistant\n", .stops = {"<|im_end|>", "<|endoftext|>"}
#define CHATML_WITH(text)                                                                          \
    .marks = {CHATML_TURN, CHATML_REPLY, "'<|im_start|>system\n" text "<|im_end|>\n'"},            \
    .never = {"</think>", "bos_token", "eos_token"}, .implied = text, CHATML

#define LLAMA3_TURN                                                                                \
    "'<|start_header_id|>'+message.role+'<|end_header_id|>\n\n'+message.content|trim+'<|eot_id|>'"
#define LLAMA3_REPLY "{{'<|start_header_id|>assistant<|end_header_id|>\n\n'}}"
#define LLAMA3                                                                                     \
    .begin = BOS,                                                                                  \
    .turn = {{"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},                     \
             {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},                       \
             {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"}},                 \
    .reply = "<|start_header_id|>assistant<|end_header_id|>\n\n", .trim = TRIM_ALL,                \
    .stops = {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"}

#define MISTRAL(user_front, user_back, reply_front, reply_back)                                    \
    .begin = BOS,                                                                                  \
    .turn = {[USER] = {user_front, user_back}, [ASSISTANT] = {reply_front, reply_back}},           \
    .reply = "", .stops = {"</s>"}
#define MISTRAL_FOLDED(where) .fold = {"", "\n\n"}, .system = where, .alternates = true

static const ms_chat_template plain = {
    .name = "plain",
    .begin = BOS,
    .turn = {{"", "\n\n"}, {"User: ", "\n"}, {"Assistant: ", "\n"}},
    .reply = "Assistant:", /* the model brings the space */
    .trim = TRIM_ALL,
    .stops = {"\nUser:"},
};

/* The most specific first. */
static const ms_chat_template templates[] = {
    {
        .name = "smollm2",
        CHATML_WITH("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    },
    {
        .name = "qwen2.5",
        CHATML_WITH("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    },
    {.name = "qwen2", CHATML_WITH("You are a helpful assistant.")},
    {.name = "qwen1.5", CHATML_WITH("You are a helpful assistant")},
    {
        .name = "qwen3",
        .marks = {"'\n<think>\n'+reasoning_content.strip('\n')+'\n</think>\n\n'+content",
                  "{%setcontent=", ".split('</think>')[-1].lstrip('\n')", CHATML_REPLY},
        .never = {"bos_token", "'<|im_start|>assistant\n<think>\n'"},
        CHATML,
        .thinks = true,
    },
    {
        .name = "chatml-bos",
        .marks = {"{{bos_token}}{%formessageinmessages%}{{" CHATML_TURN "}}{%endfor%}",
                  CHATML_REPLY},
        .never = {"</think>", "eos_token"},
        .begin = BOS,
        CHATML,
    },
    {
        .name = "chatml-system",
        .marks = {CHATML_TURN, CHATML_REPLY},
        .never = {"</think>", "bos_token", "eos_token"},
        CHATML,
        .hides_system = true,
    },
    {
        .name = "chatml",
        .marks = {CHATML_TURN, CHATML_REPLY},
        .never = {"</think>", "bos_token", "eos_token"},
        CHATML,
    },
    {
        .name = "llama3.1",
        .marks = {LLAMA3_TURN, LLAMA3_REPLY, "{%setdate_string='26 Jul 2024'%}",
                  "{{'Cutting Knowledge Date: December 2023\nToday Date: '+date_string+'\n\n'}}"},
        LLAMA3,
        .header = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
        .implied = "",
    },
    {
        .name = "llama3",
        .marks = {LLAMA3_TURN, LLAMA3_REPLY,
                  "{%setcontent=bos_token+content%}{%endif%}{{content}}"},
        .never = {"Knowledge Date"},
        LLAMA3,
    },
    {
        .name = "llama2",
        .marks = {"{{bos_token+'[INST] '+content.strip()+' [/INST]'}}",
                  "{{' '+content.strip()+' '+eos_token}}",
                  "content='<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message.content"},
        .never = {"true==true"},
        .turn = {[USER] = {BOS "[INST] ", " [/INST]"}, [ASSISTANT] = {" ", " " EOS}},
        .fold = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
        .reply = "",
        .stops = {"</s>"},
        .system = IN_FIRST_USER,
        .trim = TRIM_USER | TRIM_REPLY,
        .alternates = true,
    },
    {
        .name = "mistral-v7-tekken",
        .marks = {"{{'[INST]'+message.content+'[/INST]'}}", "{{message.content+eos_token}}",
                  "'[SYSTEM_PROMPT]'+system_message+'[/SYSTEM_PROMPT]'",
                  "{%setsystem_message=default_system_message%}"},
        .begin = BOS,
        .turn = {{"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"}, {"[INST]", "[/INST]"}, {"", EOS}},
        .reply = "",
        .stops = {"</s>"},
        .hides_system = true,
    },
    {
        .name = "mistral-v7",
        .marks = {"{{'[INST] '+message.content+'[/INST]'}}", "{{' '+message.content+eos_token}}",
                  "{{'[SYSTEM_PROMPT] '+message.content+'[/SYSTEM_PROMPT]'}}"},
        .begin = BOS,
        .turn = {{"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"}, {"[INST] ", "[/INST]"}, {" ", EOS}},
        .reply = "",
        .stops = {"</s>"},
    },
    {
        .name = "mistral-v3-tekken",
        .marks = {"{{'[INST]'+message.content+'[/INST]'}}", "{{message.content+eos_token}}",
                  "{%ifloop.lastandsystem_messageisdefined%}"
                  "{{'[INST]'+system_message+'\n\n'+message.content+'[/INST]'}}"},
        MISTRAL("[INST]", "[/INST]", "", EOS),
        MISTRAL_FOLDED(IN_LAST_USER),
    },
    {
        .name = "mistral-v3",
        .marks = {"{{'[INST] '+message.content+'[/INST]'}}",
                  "{{' '+message.content|trim+eos_token}}",
                  "{%ifloop.lastandsystem_messageisdefined%}"
                  "{{'[INST] '+system_message+'\n\n'+message.content+'[/INST]'}}"},
        MISTRAL("[INST] ", "[/INST]", " ", EOS),
        MISTRAL_FOLDED(IN_LAST_USER),
        .trim = TRIM_REPLY,
    },
    {
        .name = "mistral-v1",
        .marks = {"{{' [INST] '+message.content+' [/INST]'}}", "{{' '+message.content+eos_token}}",
                  "{%ifloop.firstandsystem_messageisdefined%}"
                  "{{' [INST] '+system_message+'\n\n'+message.content+' [/INST]'}}"},
        MISTRAL(" [INST] ", " [/INST]", " ", EOS),
        MISTRAL_FOLDED(IN_FIRST_USER),
    },
    {
        .name = "mistral-v0.2",
        .marks = {"{{'[INST] '+message.content+' [/INST]'}}", "{{message.content+eos_token}}",
                  "Only user and assistant roles are supported!"},
        MISTRAL("[INST] ", " [/INST]", "", EOS),
        .system = NOWHERE,
        .alternates = true,
    },
    {
        .name = "mistral-v0.1",
        .marks = {"{{'[INST] '+message.content+' [/INST]'}}", "{{message.content+eos_token+' '}}",
                  "Only user and assistant roles are supported!"},
        MISTRAL("[INST] ", " [/INST]", "", EOS " "),
        .system = NOWHERE,
        .alternates = true,
    },
    {
        .name = "zephyr",
        .marks = {"{{'<|user|>\n'+message.content+eos_token+'\n'}}",
                  "{{'<|system|>\n'+message.content+eos_token+'\n'}}",
                  "{{'<|assistant|>\n'+message.content+eos_token+'\n'}}", "{{'<|assistant|>\n'}}"},
        .turn = {{"<|system|>\n", EOS "\n"},
                 {"<|user|>\n", EOS "\n"},
                 {"<|assistant|>\n", EOS "\n"}},
        .reply = "<|assistant|>\n",
        .stops = {"</s>", "<|user|>"},
    },
};

/* -- one spelling of a template -------------------------------------------------------------- */

/* What Jinja would see alike comes out alike:
 *
 *   {{- "<|user|>" + '\n' + message["content"] }}</s>  ->  {{'<|user|>\n'+message.content+'</s>'}}
 *
 * No blanks outside of strings, no comments, single quotes, neighbours joined; the white space that
 * Hugging Face's settings (trim_blocks, lstrip_blocks) drop is dropped. */
typedef struct {
    char *at;
    size_t size;
    size_t closed; /* behind the last closing quote; 0: none yet */
} spelling;

static void add(spelling *s, char c)
{
    s->at[s->size++] = c;
}

static void add_text(spelling *s, const char *text, const char *end)
{
    while (text < end) add(s, *text++);
}

static void open_string(spelling *s)
{
    if (s->closed && s->size == s->closed + 1 && s->at[s->closed] == '+')
        s->size -= 2;
    else
        add(s, '\'');
}

static void close_string(spelling *s)
{
    add(s, '\'');
    s->closed = s->size;
}

static void open_output(spelling *s)
{
    if (s->size >= 2 && s->at[s->size - 1] == '}' && s->at[s->size - 2] == '}') {
        s->size -= 2;
        add(s, '+');
    } else {
        add(s, '{');
        add(s, '{');
    }
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const char *read_string(spelling *s, const char *p)
{
    char quote = *p++;

    open_string(s);
    for (; *p && *p != quote; p++) {
        if (*p != '\\' || !p[1])
            add(s, *p);
        else
            add(s, *++p == 'n' ? '\n' : *p);
    }
    close_string(s);
    return *p ? p + 1 : p;
}

/* ["role"] is .role; NULL for any other bracket. */
static const char *read_member(spelling *s, const char *p)
{
    const char *word = p + 2, *end = word;

    if (p[0] != '[' || (p[1] != '\'' && p[1] != '"')) return NULL;
    while (is_word(*end)) end++;
    if (end == word || end[0] != p[1] || end[1] != ']') return NULL;
    add(s, '.');
    add_text(s, word, end);
    return end + 2;
}

/* Behind "{{" or "{%"; ends behind the tag.  *strip: it ends with a dash. */
static const char *read_tag(spelling *s, const char *p, const char *close, bool *strip)
{
    const char *next;

    *strip = false;
    p += *p == '-' || *p == '+';
    while (*p) {
        bool dash = *p == '-' || *p == '+';

        if (p[dash] == close[0] && p[dash + 1] == close[1]) {
            *strip = *p == '-';
            p += dash + 2;
            break;
        }
        if (*p == '\'' || *p == '"')
            p = read_string(s, p);
        else if ((next = read_member(s, p)))
            p = next;
        else if (is_blank(*p))
            p++;
        else
            add(s, *p++);
    }
    return p;
}

static const char *skip_comment(const char *p, bool *strip)
{
    const char *end = strstr(p, "#}");

    *strip = end && end > p && end[-1] == '-';
    return end ? end + 2 : p + strlen(p);
}

static const char *find_tag(const char *p)
{
    for (; *p; p++)
        if (*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) break;
    return p;
}

/* The text from p to a tag (or the end).  strip: the tag before ends with a dash; block: it prints
 * nothing; line: p is at the start of a line. */
static void read_text(spelling *s, const char *p, const char *tag, bool strip, bool block,
                      bool line)
{
    const char *end = tag;

    if (strip) {
        while (p < end && is_blank(*p)) p++;
    } else if (block && p < end && *p == '\n') {
        p++;
        line = true;
    }
    if (!*tag) {
        if (end > p && end[-1] == '\n') end--;
    } else if (tag[2] == '-') {
        while (end > p && is_blank(end[-1])) end--;
    } else if (tag[1] != '{' && tag[2] != '+') {
        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) end--;
        if (end > p ? end[-1] != '\n' : !line) end = tag;
    }
    if (p >= end) return;
    open_output(s);
    open_string(s);
    add_text(s, p, end);
    close_string(s);
    add(s, '}');
    add(s, '}');
}

/* The one spelling, from malloc; NULL without memory.  A piece of text takes 6 bytes more, and has
 * a tag of at least 3 beside it. */
static char *spell(const char *text)
{
    spelling s = {.at = malloc(3 * strlen(text) + 16)};
    bool strip = false, block = false;

    if (!s.at) return NULL;
    for (const char *p = text; *p;) {
        const char *tag = find_tag(p);

        read_text(&s, p, tag, strip, block, p == text);
        if (!*tag) break;
        block = tag[1] != '{';
        if (tag[1] == '#') {
            p = skip_comment(tag + 2, &strip);
            continue;
        }
        if (block) {
            add(&s, '{');
            add(&s, '%');
        } else {
            open_output(&s);
        }
        p = read_tag(&s, tag + 2, block ? "%}" : "}}", &strip);
        add(&s, block ? '%' : '}');
        add(&s, '}');
    }
    add(&s, 0);
    return s.at;
}

/* -- recognising ----------------------------------------------------------------------------- */

/* A system turn of chatml whose content is not the first message's. */
static bool hides_system(const char *text)
{
    static const char turn[] = "'<|im_start|>system\n", given[] = "'+messages[0].content";

    for (const char *p = text; (p = strstr(p, turn));) {
        p += sizeof turn - 1;
        if (strncmp(p, given, sizeof given - 1) != 0 && strncmp(p, "'}}", 3) != 0) return true;
    }
    return strstr(text, "{%setsystem_message=default_system_message%}") != NULL;
}

static bool matches(const ms_chat_template *t, const char *text, bool hides)
{
    for (int i = 0; i < 4 && t->marks[i]; i++)
        if (!strstr(text, t->marks[i])) return false;
    for (int i = 0; i < 3 && t->never[i]; i++)
        if (strstr(text, t->never[i])) return false;
    return t->implied || t->hides_system == hides;
}

/* "<|user|>" or "[INST]", but not a comparison or a list. */
static bool begins_token(const char *p)
{
    return (p[0] == '<' && p[1] != ' ' && p[1] != '=') ||
           (p[0] == '[' && p[1] >= 'A' && p[1] <= 'Z');
}

/* Names the most telling piece: from the first token on, if there is one. */
static ms_status unknown(const char *text, ms_error *err)
{
    const char *from = text;
    int shown = 60;

    while (*from && !begins_token(from)) from++;
    if (!*from) from = text;
    if (strlen(from) <= (size_t)shown) shown = (int)strlen(from);
    while (shown && (from[shown] & 0xc0) == 0x80) shown--; /* no half characters */
    return ms_fail(err, MS_UNSUPPORTED, "the model's chat template is not known here: \"%.*s%s\"",
                   shown, from, from[shown] ? "..." : "");
}

ms_status ms_chat_template_find(const char *text, const ms_chat_template **out, ms_error *err)
{
    *out = &plain;
    if (!text || !*text) return MS_OK;
    *out = NULL;
    char *one = spell(text);
    if (!one) return ms_fail(err, MS_MEMORY, "out of memory for a chat template");
    bool hides = hides_system(one);
    for (size_t i = 0; !*out && i < sizeof templates / sizeof *templates; i++)
        if (matches(&templates[i], one, hides)) *out = &templates[i];
    free(one);
    return *out ? MS_OK : unknown(text, err);
}

ms_status ms_chat_template_named(const char *name, const ms_chat_template **out, ms_error *err)
{
    *out = strcmp(name, plain.name) == 0 ? &plain : NULL;
    for (size_t i = 0; !*out && i < sizeof templates / sizeof *templates; i++)
        if (strcmp(name, templates[i].name) == 0) *out = &templates[i];
    if (*out) return MS_OK;
    return ms_fail(err, MS_INPUT,
                   "chat template: expected plain, chatml, llama3, zephyr or another family, "
                   "found \"%s\"",
                   name);
}

const char *ms_chat_template_name(const ms_chat_template *t)
{
    return t->name;
}

const char *const *ms_chat_template_stops(const ms_chat_template *t)
{
    return t->stops;
}

/* -- formatting ------------------------------------------------------------------------------ */

/* Written twice: with at and content NULL sizes are counted. */
typedef struct {
    char *at;
    size_t size;
    ms_text_range *content;
    size_t contents;
    const char *bos, *eos;
} writer;

typedef struct {
    const char *at;
    size_t size;
} span;

static span whole(const char *text)
{
    return (span){text, strlen(text)};
}

static void put(writer *w, span s)
{
    if (w->at && s.size) memcpy(w->at + w->size, s.at, s.size);
    w->size += s.size;
}

/* Of a message. */
static void put_content(writer *w, span s)
{
    if (!s.size) return;
    if (w->content) w->content[w->contents] = (ms_text_range){w->size, w->size + s.size};
    w->contents++;
    put(w, s);
}

/* Of the tables: with BOS and EOS in it; NULL is nothing. */
static void put_frame(writer *w, const char *text)
{
    for (; text && *text; text++) {
        if (*text == *BOS)
            put(w, whole(w->bos));
        else if (*text == *EOS)
            put(w, whole(w->eos));
        else
            put(w, (span){text, 1});
    }
}

/* What Python's strip() takes. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static span trim_front(span s)
{
    uint32_t c;

    for (int n; s.size && (n = ms_utf8_read(s.at, s.size, &c)) && is_space(c);) {
        s.at += n;
        s.size -= (size_t)n;
    }
    return s;
}

static span trim_back(span s)
{
    while (s.size) {
        size_t n = 1;
        uint32_t c;

        while (n < 4 && n < s.size && (s.at[s.size - n] & 0xc0) == 0x80) n++;
        if (ms_utf8_read(s.at + s.size - n, n, &c) != (int)n || !is_space(c)) break;
        s.size -= n;
    }
    return s;
}

static span trim_newlines(span s)
{
    for (; s.size && *s.at == '\n'; s.size--) s.at++;
    while (s.size && s.at[s.size - 1] == '\n') s.size--;
    return s;
}

/* The last `text` in s; NULL: none. */
static const char *find_last(span s, const char *text)
{
    size_t n = strlen(text);

    for (size_t i = s.size; i >= n; i--)
        if (!memcmp(s.at + i - n, text, n)) return s.at + i - n;
    return NULL;
}

/* A reply of qwen3, with its thoughts (perhaps none) or without. */
static void put_reply(writer *w, const char *text, bool newest, bool last)
{
    static const char open[] = "<think>", close[] = "</think>";
    const char *end = strstr(text, close), *at;
    span thought = {text, end ? (size_t)(end - text) : 0}, said = whole(text);

    if (end) {
        at = find_last(said, close) + sizeof close - 1;
        said = whole(at);
        while (said.size && *said.at == '\n') said = (span){said.at + 1, said.size - 1};
        at = find_last(thought, open);
        if (at) thought = (span){at + sizeof open - 1, (size_t)(end - at) - (sizeof open - 1)};
        thought = trim_newlines(thought);
    }
    if (newest && (last || thought.size)) {
        put(w, whole("<think>\n"));
        put_content(w, thought);
        put(w, whole("\n</think>\n\n"));
        while (said.size && *said.at == '\n') said = (span){said.at + 1, said.size - 1};
    }
    put_content(w, said);
}

static int role_of(const ms_chat_message *m)
{
    int r = 0;

    while (r < ROLES && strcmp(m->role, role_name[r]) != 0) r++;
    return r;
}

/* A user's message with the system message in it; what is stripped is the two together. */
static void put_folded(writer *w, const ms_chat_template *t, const char *system, const char *user)
{
    span s = whole(user), back = whole(t->fold.back);

    if (t->trim & TRIM_USER) s = trim_back(s);
    if (t->trim & TRIM_USER && !s.size) back = trim_back(back);
    put_frame(w, t->fold.front);
    put_content(w, whole(system));
    put(w, back);
    put_content(w, s);
}

typedef struct {
    const ms_chat_template *t;
    const ms_chat_message *m;
    size_t count;
    size_t last_user; /* count: none */
} chat;

static bool has_system(const chat *c)
{
    return role_of(&c->m[0]) == SYSTEM;
}

static void put_message(writer *w, const chat *c, size_t i)
{
    const ms_chat_template *t = c->t;
    int role = role_of(&c->m[i]);
    span s = whole(c->m[i].content);
    size_t host = t->system == IN_FIRST_USER ? 1 : c->count - 1;

    if (role == SYSTEM && t->system != IN_TURN) return;
    put_frame(w, t->turn[role].front);
    if (role == SYSTEM && !i) put_frame(w, t->header);
    if (role == USER && t->system != IN_TURN && i == host && has_system(c)) {
        put_folded(w, t, c->m[0].content, c->m[i].content);
    } else if (role == ASSISTANT && t->thinks) {
        put_reply(w, c->m[i].content, i > c->last_user, i + 1 == c->count);
    } else {
        if (t->trim >> role & 1) s = trim_back(trim_front(s));
        put_content(w, s);
    }
    put_frame(w, t->turn[role].back);
}

/* From the end of the reply in front of message `next` on; 0: all. */
static void put_chat(writer *w, const chat *c, size_t next, bool add_generation_prompt)
{
    const ms_chat_template *t = c->t;

    if (next) {
        put_frame(w, t->turn[ASSISTANT].back);
    } else {
        put_frame(w, t->begin);
        if (t->implied && !has_system(c)) {
            put_frame(w, t->turn[SYSTEM].front);
            put_frame(w, t->header);
            put(w, whole(t->implied));
            put_frame(w, t->turn[SYSTEM].back);
        }
    }
    for (size_t i = next; i < c->count; i++) put_message(w, c, i);
    if (add_generation_prompt) put_frame(w, t->reply);
}

static ms_status check_message(const chat *c, size_t i, ms_error *err)
{
    const ms_chat_template *t = c->t;
    int role = role_of(&c->m[i]);
    size_t turn = i - has_system(c);

    if (role == ROLES)
        return ms_fail(err, MS_INPUT,
                       "message %zu: the role must be system, user or assistant, found \"%s\"",
                       i + 1, c->m[i].role);
    if (role == SYSTEM && t->system == NOWHERE)
        return ms_fail(err, MS_INPUT, "message %zu: the chat template %s takes no system message",
                       i + 1, t->name);
    if (!t->alternates || (role == SYSTEM && !i)) return MS_OK;
    if (role == SYSTEM)
        return ms_fail(err, MS_INPUT,
                       "message %zu: a system message must be the first for the chat template %s",
                       i + 1, t->name);
    if ((role == USER) != (turn % 2 == 0))
        return ms_fail(err, MS_INPUT,
                       "message %zu: expected %s, found %s: roles alternate in the template %s",
                       i + 1, role_name[turn % 2 ? ASSISTANT : USER], role_name[role], t->name);
    return MS_OK;
}

static ms_status check(const chat *c, ms_error *err)
{
    if (!c->count) return ms_fail(err, MS_INPUT, "a conversation needs a message, found none");
    for (size_t i = 0; i < c->count; i++) MS_TRY(check_message(c, i, err));
    if (c->t->system != IN_TURN && c->count == 1 && has_system(c))
        return ms_fail(err, MS_INPUT, "the system message needs a user message behind it");
    if (c->t->hides_system && !has_system(c))
        return ms_fail(err, MS_INPUT,
                       "the model's default system message is not known here (chat template %s): "
                       "the first message must be a system message",
                       c->t->name);
    return MS_OK;
}

void ms_chat_text_free(ms_chat_text *t)
{
    free(t->text);
    free(t->content);
    *t = (ms_chat_text){0};
}

static ms_status format(chat *c, size_t next, bool add_generation_prompt, const char *bos,
                        const char *eos, ms_chat_text *out, ms_error *err)
{
    writer w = {.bos = bos ? bos : "", .eos = eos ? eos : ""};

    *out = (ms_chat_text){0};
    MS_TRY(check(c, err));
    c->last_user = c->count;
    for (size_t i = 0; i < c->count; i++)
        if (role_of(&c->m[i]) == USER) c->last_user = i;
    put_chat(&w, c, next, add_generation_prompt);
    w.at = malloc(w.size + 1);
    w.content = malloc((w.contents + 1) * sizeof *w.content);
    *out = (ms_chat_text){w.at, w.content, w.contents};
    if (!w.at || !w.content) {
        ms_chat_text_free(out);
        return ms_fail(err, MS_MEMORY, "out of memory for a conversation of %zu bytes", w.size);
    }
    w.size = w.contents = 0;
    put_chat(&w, c, next, add_generation_prompt);
    w.at[w.size] = 0;
    return MS_OK;
}

ms_status ms_chat_format(const ms_chat_template *t, const ms_chat_message *m, size_t count,
                         bool add_generation_prompt, const char *bos, const char *eos,
                         ms_chat_text *out, ms_error *err)
{
    chat c = {.t = t, .m = m, .count = count};

    return format(&c, 0, add_generation_prompt, bos, eos, out, err);
}

ms_status ms_chat_format_next(const ms_chat_template *t, const ms_chat_message *m, size_t count,
                              size_t next, bool add_generation_prompt, const char *bos,
                              const char *eos, ms_chat_text *out, ms_error *err)
{
    chat c = {.t = t, .m = m, .count = count};

    *out = (ms_chat_text){0};
    if (!next || next > count || role_of(&m[next - 1]) != ASSISTANT)
        return ms_fail(err, MS_INPUT, "message %zu of %zu must be a reply to go on from", next,
                       count);
    if (t->system == IN_LAST_USER && has_system(&c))
        return ms_fail(err, MS_UNSUPPORTED,
                       "the chat template %s moves the system message from turn to turn", t->name);
    return format(&c, next, add_generation_prompt, bos, eos, out, err);
}
