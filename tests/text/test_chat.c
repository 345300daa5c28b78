/* Chat templates: each is known by its text in any spelling; what is written is what Jinja writes,
 * byte for byte; a session goes on from a reply; wrong orders of roles and unknown templates are
 * refused. */
#include "text/chat.h"

#include "../base/scratch.h"

/* -- texts by which templates are known: no more of them than that takes --------------------- */

#define CHATML_TURN                                                                                \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
#define CHATML_REPLY "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
#define CHATML_DEFAULT(text)                                                                       \
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"         \
    "{{ '<|im_start|>system\n" text "<|im_end|>\n' }}{% endif %}" CHATML_TURN                      \
    "{% endfor %}" CHATML_REPLY
#define QWEN3                                                                                      \
    "{%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}"                     \
    "{{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + "      \
    "'\\n</think>\\n\\n' + content.lstrip('\\n') }}"
#define LLAMA3_TURN                                                                                \
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "     \
    "trim + '<|eot_id|>'"
#define LLAMA3_REPLY                                                                               \
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"      \
    "{% endif %}"
#define LLAMA3_BOS                                                                                 \
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
#define LLAMA2(before)                                                                             \
    before "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "               \
           "message['content'] %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"       \
           "{% else %}{{ ' '  + content.strip() + ' ' + eos_token }}"
#define MISTRAL_PLAIN(reply)                                                                       \
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}" reply                            \
    "{{ raise_exception('Only user and assistant roles are supported!') }}"
#define MISTRAL_FOLD(at, front, back)                                                              \
    "{%- if loop." at " and system_message is defined %}\n"                                        \
    "  {{- \"" front "\" + system_message + \"\\n\\n\" + message[\"content\"] + \"" back "\" }}\n" \
    "{%- else %}\n"                                                                                \
    "  {{- \"" front "\" + message[\"content\"] + \"" back "\" }}\n"                               \
    "{%- endif %}\n"
#define ZEPHYR(user, reply)                                                                        \
    "{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + " user             \
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token "  \
    "}}\n{% else %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif "         \
    "%}\n" reply

static const struct {
    const char *name, *text;
} family[] = {
    {"chatml", CHATML_TURN CHATML_REPLY},
    {"chatml-bos",
     "{{bos_token}}{% for message in messages %}" CHATML_TURN "{% endfor %}" CHATML_REPLY},
    {"smollm2",
     CHATML_DEFAULT("You are a helpful AI assistant named SmolLM, trained by Hugging Face")},
    {"qwen1.5", CHATML_DEFAULT("You are a helpful assistant")},
    {"qwen2", CHATML_DEFAULT("You are a helpful assistant.")},
    {"qwen2.5",
     CHATML_DEFAULT("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")},
    {"chatml-system", CHATML_DEFAULT("You are somebody else.")},
    {"qwen3", QWEN3 CHATML_REPLY},
    {"llama2", LLAMA2("{% elif false == true %}")},
    {"llama3", "{% set content = " LLAMA3_TURN " %}" LLAMA3_BOS LLAMA3_REPLY},
    {"llama3.1", "{%- set date_string = \"26 Jul 2024\" %}\n"
                 "{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n"
                 "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n"
                 "{%- for message in messages %}{{- " LLAMA3_TURN " }}{%- endfor %}" LLAMA3_REPLY},
    {"mistral-v0.1", MISTRAL_PLAIN("{{ message['content'] + eos_token + ' ' }}{% else %}")},
    {"mistral-v0.2", MISTRAL_PLAIN("{{ message['content'] + eos_token}}{% else %}")},
    {"mistral-v1",
     MISTRAL_FOLD("first", " [INST] ", " [/INST]") "{{- ' ' + message['content'] + eos_token}}"},
    {"mistral-v3", MISTRAL_FOLD("last", "[INST] ",
                                "[/INST]") "{{- \" \" + message[\"content\"]|trim + eos_token}}"},
    {"mistral-v3-tekken",
     MISTRAL_FOLD("last", "[INST]", "[/INST]") "{{- message[\"content\"] + eos_token}}"},
    {"mistral-v7", "{{ '[INST] ' + message['content'] + '[/INST]' }}{% else %}"
                   "{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{% else %}"
                   "{{ ' ' + message['content'] + eos_token }}"},
    {"mistral-v7-tekken",
     "{%- set system_message = default_system_message %}\n"
     "{{- '[SYSTEM_PROMPT]' + system_message + '[/SYSTEM_PROMPT]' }}\n{%- if true %}\n"
     "{{- '[INST]' + message['content'] + '[/INST]' }}\n{%- else %}\n"
     "{{- message['content'] + eos_token }}\n"},
    {"zephyr", ZEPHYR("eos_token }}\n",
                      "{% if add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n")},
    {"plain", NULL},
};

static const ms_chat_template *find(const char *name)
{
    const ms_chat_template *t = NULL;
    ms_error err;
    size_t i = 0;

    while (i < COUNT(family) && strcmp(family[i].name, name) != 0) i++;
    assert_true(i < COUNT(family));
    must(ms_chat_template_find(family[i].text, &t, &err), &err);
    assert_string_equal(ms_chat_template_name(t), name);
    const ms_chat_template *named = NULL;
    must(ms_chat_template_named(name, &named, &err), &err);
    assert_ptr_equal(named, t);
    assert_int_equal(ms_chat_template_named("", &named, &err), MS_INPUT);
    return t;
}

static void each_template_is_known_by_its_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(family); i++) find(family[i].name);
}

static const struct {
    const char *name, *text;
} spelling[] = {
    {"plain", ""},
    {"chatml", "{{\"<|im_start|>\"+message.role+\"\\n\"+message.content+\"<|im_end|>\\n\"}}"
               "{%endfor%}{{\"<|im_start|>assistant\\n\"}}"},
    {"chatml", "{%- for message in messages %}\n"
               "    {# a {{turn}} -#}\n"
               "    {{- '<|im_start|>' + message.role }}\n"
               "    {{- '\\n' + message [\"content\"] }}\n"
               "    {{- '<|im_end|>\\n' }}\n"
               "{%- endfor %}\n"
               "{{- '<|im_start|>assistant\\n' -}}\n"},
    {"chatml", "{% for message in messages %}\n"
               "  {% if true %}\n"
               "<|im_start|>{{ message.role }}\n"
               "{{ message.content }}<|im_end|>\n"
               "  {% endif %}\n"
               "{% endfor %}<|im_start|>{{ 'assistant\n' }}"},
    {"zephyr", ZEPHYR("eos_token + '\\n' -}}\n", "{{ '<|assistant|>\\n' }}")},
};

static void spelling_does_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(spelling); i++) {
        const ms_chat_template *t = NULL;
        ms_error err;

        must(ms_chat_template_find(spelling[i].text, &t, &err), &err);
        assert_string_equal(ms_chat_template_name(t), spelling[i].name);
    }
}

/* Like a template that is known, but its work is other, or nothing like one. */
static const struct {
    const char *text, *named;
} stranger[] = {
    {"{{ 'Hello' }}", "{{ 'Hello' }}"},
    {"no template", "no template"},
    {CHATML_TURN, "<|im_start|>' + message"},
    {CHATML_TURN "{{ '<|im_start|>assistant\n<think>\n' }}", "<|im_start|>"},
    {"{% set content = message.content.split('</think>')[-1] %}" CHATML_TURN CHATML_REPLY,
     "</think>"},
    {"{% if false %}{{ bos_token }}{% endif %}" CHATML_TURN CHATML_REPLY, "<|im_start|>"},
    {QWEN3 "{{ '<|im_start|>assistant\n<think>\n' }}", "</think>"},
    {"{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}", "<|im_sep|>"},
    {"{{ '<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' }}", "<|user|>"},
    {ZEPHYR("eos_token -}}\n", "{{ '<|assistant|>' }}\n{% if true %}"), "<|user|>"},
    {"{{ '<start_of_turn>' + role + '\n' + message['content'] | trim }}", "<start_of_turn>"},
    {"{{ '<\xef\xbd\x9cUser\xef\xbd\x9c>' + message['content'] }}", "<\xef\xbd\x9cUser"},
    {LLAMA2("{% elif true == true %}"), "<<SYS>>"},
    {"{% set content = " LLAMA3_TURN " %}{{ content }}" LLAMA3_REPLY, "<|start_header_id|>"},
    {MISTRAL_FOLD("first", "[INST]", "[/INST]") "{{- message[\"content\"] + eos_token}}", "[INST]"},
};

static void an_unknown_template_is_refused_with_a_piece_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stranger); i++) {
        const ms_chat_template *t = find("plain");
        ms_error err;
        ms_status s = ms_chat_template_find(stranger[i].text, &t, &err);

        must_fail(stranger[i].text, s, MS_UNSUPPORTED, &err, stranger[i].named);
        assert_null(t);
    }
}

/* Whatever ends where: nothing is read past the end, nothing else is recognised. */
static void a_text_may_end_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(family); i++) {
        size_t size = family[i].text ? strlen(family[i].text) : 0;

        for (size_t n = 1; n < size; n++) {
            const ms_chat_template *t;
            char *cut = malloc(n + 1);

            memcpy(cut, family[i].text, n);
            cut[n] = 0;
            ms_status s = ms_chat_template_find(cut, &t, NULL);
            if (!s && strcmp(ms_chat_template_name(t), family[i].name) != 0)
                fail_msg("%zu bytes of %s are %s", n, family[i].name, ms_chat_template_name(t));
            assert_true(!s || s == MS_UNSUPPORTED);
            free(cut);
        }
    }
}

/* -- conversations --------------------------------------------------------------------------- */

/* A letter a message. */
static ms_chat_message message(char letter)
{
    switch (letter) {
    case 'S': return (ms_chat_message){"system", "Be brief."};
    case 'U': return (ms_chat_message){"user", " Hi \n"};
    case 'A': return (ms_chat_message){"assistant", "\tHello! "};
    case 'V': return (ms_chat_message){"user", "Why?"};
    case 'B': return (ms_chat_message){"assistant", "No."};
    case 'H': return (ms_chat_message){"user", "Hi"};
    case 'T': return (ms_chat_message){"assistant", "<think>\nHm.\n\n</think>\n\nHello!"};
    case 'R': return (ms_chat_message){"assistant", "<think>\nSo.\n</think>\n\nNo."};
    case 'E': return (ms_chat_message){"user", " \n"};
    case 'W': return (ms_chat_message){"user", "\xe3\x80\x80\x1fHi\xc2\x85 \xc2\xa0"};
    case 'X': return (ms_chat_message){"user", "\xff Hi \xa0"};
    default: return (ms_chat_message){"tool", "42"};
    }
}

enum { MESSAGES = 8 };

static size_t messages(const char *letters, ms_chat_message *m)
{
    size_t n = strlen(letters);

    assert_true(n <= MESSAGES);
    for (size_t i = 0; i < n; i++) m[i] = message(letters[i]);
    return n;
}

static char *format(const char *name, const char *letters, bool reply)
{
    ms_chat_message m[MESSAGES];
    size_t n = messages(letters, m);
    ms_error err;
    ms_chat_text out;

    must(ms_chat_format(find(name), m, n, reply, "<s>", "</s>", &out, &err), &err);
    free(out.content);
    return out.text;
}

/* Written by jinja2 with the models' own templates and transformers' settings (plain: by hand). */
static const struct {
    const char *name, *letters;
    bool reply;
    const char *text;
} expected[] = {
    {"chatml", "U", true, "<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", "SV", true,
     "<|im_start|>system\nBe "
     "brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", "UAV", true,
     "<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", "SUAV", true,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", "SUAVB", false,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n"},
    {"chatml-bos", "U", true, "<s><|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml-bos", "SUAV", true,
     "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"smollm2", "U", true,
     "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
     "Face<|im_end|>\n<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n"},
    {"smollm2", "SUAV", true,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen1.5", "U", true,
     "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen2", "U", true,
     "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen2.5", "U", true,
     "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
     "assistant.<|im_end|>\n<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen2.5", "SUAV", true,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml-system", "SUAV", true,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3", "U", true, "<|im_start|>user\n Hi \n<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3", "SV", true,
     "<|im_start|>system\nBe "
     "brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3", "SUAVB", false,
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi "
     "\n<|im_end|>\n<|im_start|>assistant\n\tHello! "
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</"
     "think>\n\nNo.<|im_end|>\n"},
    {"qwen3", "HTV", true,
     "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>"
     "user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3", "HTVR", false,
     "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>"
     "user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>\nSo.\n</think>\n\nNo.<|im_end|>\n"},
    {"llama2", "U", true, "<s>[INST] Hi [/INST]"},
    {"llama2", "SV", true, "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhy? [/INST]"},
    {"llama2", "UAV", true, "<s>[INST] Hi [/INST] Hello! </s><s>[INST] Why? [/INST]"},
    {"llama2", "SUAV", true,
     "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST] Hello! </s><s>[INST] Why? [/INST]"},
    {"llama2", "SUAVB", false,
     "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST] Hello! </s><s>[INST] Why? [/INST] No. "
     "</s>"},
    {"llama3", "U", true,
     "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_"
     "header_id|>\n\n"},
    {"llama3", "UAV", true,
     "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_"
     "header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|><|"
     "start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama3", "SUAV", true,
     "<s><|start_header_id|>system<|end_header_id|>\n\nBe "
     "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>"
     "\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama3.1", "U", true,
     "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
     "2023\nToday Date: 26 Jul "
     "2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\n"},
    {"llama3.1", "SV", true,
     "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
     "2023\nToday Date: 26 Jul 2024\n\nBe "
     "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\n"},
    {"llama3.1", "UAV", true,
     "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
     "2023\nToday Date: 26 Jul "
     "2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>"
     "\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama3.1", "SUAV", true,
     "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
     "2023\nToday Date: 26 Jul 2024\n\nBe "
     "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>"
     "\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama3.1", "SUAVB", false,
     "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
     "2023\nToday Date: 26 Jul 2024\n\nBe "
     "brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
     "assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>"
     "\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nNo.<|eot_id|>"},
    {"mistral-v0.1", "U", true, "<s>[INST]  Hi \n [/INST]"},
    {"mistral-v0.1", "UAV", true, "<s>[INST]  Hi \n [/INST]\tHello! </s> [INST] Why? [/INST]"},
    {"mistral-v0.2", "U", true, "<s>[INST]  Hi \n [/INST]"},
    {"mistral-v0.2", "UAV", true, "<s>[INST]  Hi \n [/INST]\tHello! </s>[INST] Why? [/INST]"},
    {"mistral-v1", "U", true, "<s> [INST]  Hi \n [/INST]"},
    {"mistral-v1", "SV", true, "<s> [INST] Be brief.\n\nWhy? [/INST]"},
    {"mistral-v1", "UAV", true, "<s> [INST]  Hi \n [/INST] \tHello! </s> [INST] Why? [/INST]"},
    {"mistral-v1", "SUAV", true,
     "<s> [INST] Be brief.\n\n Hi \n [/INST] \tHello! </s> [INST] Why? [/INST]"},
    {"mistral-v1", "SUAVB", false,
     "<s> [INST] Be brief.\n\n Hi \n [/INST] \tHello! </s> [INST] Why? [/INST] No.</s>"},
    {"mistral-v3", "U", true, "<s>[INST]  Hi \n[/INST]"},
    {"mistral-v3", "SV", true, "<s>[INST] Be brief.\n\nWhy?[/INST]"},
    {"mistral-v3", "UAV", true, "<s>[INST]  Hi \n[/INST] Hello!</s>[INST] Why?[/INST]"},
    {"mistral-v3", "SUAV", true,
     "<s>[INST]  Hi \n[/INST] Hello!</s>[INST] Be brief.\n\nWhy?[/INST]"},
    {"mistral-v3", "SUAVB", false, "<s>[INST]  Hi \n[/INST] Hello!</s>[INST] Why?[/INST] No.</s>"},
    {"mistral-v3-tekken", "U", true, "<s>[INST] Hi \n[/INST]"},
    {"mistral-v3-tekken", "SV", true, "<s>[INST]Be brief.\n\nWhy?[/INST]"},
    {"mistral-v3-tekken", "UAV", true, "<s>[INST] Hi \n[/INST]\tHello! </s>[INST]Why?[/INST]"},
    {"mistral-v3-tekken", "SUAV", true,
     "<s>[INST] Hi \n[/INST]\tHello! </s>[INST]Be brief.\n\nWhy?[/INST]"},
    {"mistral-v3-tekken", "SUAVB", false,
     "<s>[INST] Hi \n[/INST]\tHello! </s>[INST]Why?[/INST]No.</s>"},
    {"mistral-v7", "U", true, "<s>[INST]  Hi \n[/INST]"},
    {"mistral-v7", "SV", true, "<s>[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST] Why?[/INST]"},
    {"mistral-v7", "UAV", true, "<s>[INST]  Hi \n[/INST] \tHello! </s>[INST] Why?[/INST]"},
    {"mistral-v7", "SUAV", true,
     "<s>[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST]  Hi \n[/INST] \tHello! </s>[INST] "
     "Why?[/INST]"},
    {"mistral-v7", "SUAVB", false,
     "<s>[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST]  Hi \n[/INST] \tHello! </s>[INST] "
     "Why?[/INST] No.</s>"},
    {"mistral-v7-tekken", "SV", true,
     "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Why?[/INST]"},
    {"mistral-v7-tekken", "SUAV", true,
     "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST] Hi \n[/INST]\tHello! "
     "</s>[INST]Why?[/INST]"},
    {"mistral-v7-tekken", "SUAVB", false,
     "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST] Hi \n[/INST]\tHello! "
     "</s>[INST]Why?[/INST]No.</s>"},
    {"zephyr", "U", true, "<|user|>\n Hi \n</s>\n<|assistant|>\n"},
    {"zephyr", "SV", true, "<|system|>\nBe brief.</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"},
    {"zephyr", "UAV", true,
     "<|user|>\n Hi \n</s>\n<|assistant|>\n\tHello! </s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"},
    {"zephyr", "SUAV", true,
     "<|system|>\nBe brief.</s>\n<|user|>\n Hi \n</s>\n<|assistant|>\n\tHello! "
     "</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"},
    {"zephyr", "SUAVB", false,
     "<|system|>\nBe brief.</s>\n<|user|>\n Hi \n</s>\n<|assistant|>\n\tHello! "
     "</s>\n<|user|>\nWhy?</s>\n<|assistant|>\nNo.</s>\n"},
    {"plain", "U", true, "<s>User: Hi\nAssistant:"},
    {"plain", "SV", true, "<s>Be brief.\n\nUser: Why?\nAssistant:"},
    {"plain", "UAV", true, "<s>User: Hi\nAssistant: Hello!\nUser: Why?\nAssistant:"},
    {"plain", "SUAV", true, "<s>Be brief.\n\nUser: Hi\nAssistant: Hello!\nUser: Why?\nAssistant:"},
    {"plain", "SUAVB", false,
     "<s>Be brief.\n\nUser: Hi\nAssistant: Hello!\nUser: Why?\nAssistant: No.\n"},
    {"llama2", "SE", false, "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>> [/INST]"},
    {"llama2", "E", false, "<s>[INST]  [/INST]"},
    {"llama3", "W", false, "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"},
    {"chatml", "W", false,
     "<|im_start|>user\n\xe3"
     "\x80"
     "\x80"
     "\x1f"
     "Hi\xc2"
     "\x85"
     " \xc2"
     "\xa0"
     "<|im_end|>\n"},
    {"llama3", "X", false, "<s><|start_header_id|>user<|end_header_id|>\n\n\xff Hi \xa0<|eot_id|>"},
};

static void a_conversation_reads_as_its_template_writes_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(expected); i++) {
        char *got = format(expected[i].name, expected[i].letters, expected[i].reply);

        if (strcmp(got, expected[i].text) != 0)
            fail_msg("%s of %s:\n%s\nexpected\n%s", expected[i].name, expected[i].letters, got,
                     expected[i].text);
        free(got);
    }
}

static void a_missing_token_is_nothing(void **state)
{
    ms_chat_message m[MESSAGES];
    size_t n = messages("VBV", m);
    ms_error err;
    ms_chat_text out;

    (void)state;
    must(ms_chat_format(find("llama2"), m, n, true, NULL, NULL, &out, &err), &err);
    assert_string_equal(out.text, "[INST] Why? [/INST] No. [INST] Why? [/INST]");
    ms_chat_text_free(&out);
}

/* -- orders of roles ------------------------------------------------------------------------- */

static const struct {
    const char *name, *letters, *text; /* NULL: accepted */
} order[] = {
    {"chatml", "", "needs a message"},
    {"plain", "", "needs a message"},
    {"chatml", "UV", NULL},
    {"chatml", "USA", NULL},
    {"chatml", "AB", NULL},
    {"chatml", "S", NULL},
    {"chatml", "U?", "message 2: the role must be system, user or assistant, found \"tool\""},
    {"zephyr", "UVS", NULL},
    {"llama3", "USB", NULL},
    {"llama3.1", "A", NULL},
    {"mistral-v7", "UVSA", NULL},
    {"mistral-v7", "?", "message 1: the role"},
    {"plain", "UVAS", NULL},
    {"chatml-system", "U", "default system message is not known"},
    {"chatml-system", "US", "must be a system message"},
    {"mistral-v7-tekken", "UA", "default system message is not known"},
    {"llama2", "UV", "message 2: expected assistant, found user"},
    {"llama2", "SUAB", "message 4: expected user, found assistant"},
    {"llama2", "A", "message 1: expected user, found assistant"},
    {"llama2", "SA", "message 2: expected user, found assistant"},
    {"llama2", "US", "message 2: a system message must be the first"},
    {"llama2", "SSU", "message 2: a system message must be the first"},
    {"llama2", "S", "needs a user message"},
    {"mistral-v0.1", "SU", "message 1: the chat template mistral-v0.1 takes no system message"},
    {"mistral-v0.2", "UAS", "message 3: the chat template mistral-v0.2 takes no system message"},
    {"mistral-v0.2", "UAA", "message 3: expected user, found assistant"},
    {"mistral-v1", "UAVU", "message 4: expected assistant, found user"},
    {"mistral-v1", "S", "needs a user message"},
    {"mistral-v3", "UAS", "message 3: a system message must be the first"},
    {"mistral-v3-tekken", "SB", "message 2: expected user, found assistant"},
};

static void roles_in_a_wrong_order_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(order); i++) {
        ms_chat_message m[MESSAGES];
        size_t n = messages(order[i].letters, m);
        ms_error err;
        ms_chat_text out;
        ms_status s = ms_chat_format(find(order[i].name), m, n, true, "<s>", "</s>", &out, &err);

        if (order[i].text) {
            must_fail(order[i].letters, s, MS_INPUT, &err, order[i].text);
            assert_null(out.text);
            continue;
        }
        must(s, &err);
        ms_chat_text_free(&out);
    }
}

/* -- contents --------------------------------------------------------------------------------- */

/* Each content is found where it is said to be: all of it, but for white space around it. */
static void contents_are_marked(void **state)
{
    static const ms_chat_message m[] = {
        {"system", "one"}, {"user", "<|im_end|>"}, {"assistant", "[/INST]"}, {"user", " three "}};
    static const char *const name[] = {"chatml",  "qwen3",      "llama2",      "llama3.1",
                                       "zephyr",  "mistral-v1", "mistral-v3",  "plain",
                                       "smollm2", "mistral-v7", "mistral-v0.1"};

    (void)state;
    for (size_t i = 0; i < COUNT(name); i++) {
        size_t skip = !strcmp(name[i], "mistral-v0.1"), at = 0;
        ms_chat_text out;
        ms_error err;

        must(ms_chat_format(find(name[i]), m + skip, 4 - skip, true, "<s>", "</s>", &out, &err),
             &err);
        for (size_t k = 0; k < out.contents; k++) {
            ms_text_range r = out.content[k];
            bool found = false;

            assert_true(r.begin >= at && r.begin < r.end && r.end <= strlen(out.text));
            at = r.end;
            for (size_t j = 0; j < COUNT(m); j++) {
                const char *in = strstr(m[j].content, "three") ? "three" : m[j].content;
                size_t size = r.end - r.begin;

                found = found || (size >= strlen(in) && size <= strlen(m[j].content) &&
                                  strstr(out.text + r.begin, in) < out.text + r.end);
            }
            assert_true(found);
        }
        assert_int_equal(out.contents, 4 - skip);
        ms_chat_text_free(&out);
    }
}

/* -- going on from a reply ------------------------------------------------------------------- */

/* prompt | reply | what is next == all, for each reply of a conversation. */
static void goes_on(const char *name, const char *letters)
{
    ms_chat_message m[MESSAGES];
    size_t n = messages(letters, m);
    char *all = format(name, letters, true);
    ms_error err;

    for (size_t k = 1; k <= n; k++) {
        const char *reply = m[k - 1].content;
        ms_chat_text front, behind;

        if (strcmp(m[k - 1].role, "assistant") != 0) continue;
        must(ms_chat_format(find(name), m, k - 1, true, "<s>", "</s>", &front, &err), &err);
        must(ms_chat_format_next(find(name), m, n, k, true, "<s>", "</s>", &behind, &err), &err);
        const char *prompt = front.text, *next = behind.text;
        const char *at = all + strlen(prompt);
        bool good = !strncmp(all, prompt, strlen(prompt));
        if (good && *at == ' ') at++; /* the model's own, in front of a reply */
        good = good && !strncmp(at, reply, strlen(reply)) && !strcmp(at + strlen(reply), next);
        if (!good) fail_msg("%s:\n%s\nis not\n%s|%s|%s", name, all, prompt, reply, next);
        ms_chat_text_free(&front);
        ms_chat_text_free(&behind);
    }
    free(all);
}

static void a_session_goes_on_from_a_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(family); i++) {
        const char *name = family[i].name;
        bool given = !strcmp(name, "chatml-system") || !strcmp(name, "mistral-v7-tekken");
        bool never = !strncmp(name, "mistral-v3", 10) || !strncmp(name, "mistral-v0", 10);

        if (!given) goes_on(name, "VBUBV");
        if (!never) goes_on(name, "SVBUBV");
    }
}

static const struct {
    const char *name, *letters;
    size_t next;
    bool reply;
    const char *text;
} added[] = {
    {"chatml", "SUB", 3, false, "<|im_end|>\n"},
    {"chatml", "SUAV", 3, true,
     "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen2.5", "UTV", 2, false, "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"},
    {"qwen3", "UTV", 2, false, "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"},
    {"llama2", "SUAU", 3, true, " </s><s>[INST] Hi [/INST]"},
    {"llama3.1", "UAV", 2, false,
     "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"},
    {"mistral-v1", "SUAVB", 3, true, "</s> [INST] Why? [/INST] No.</s>"},
    {"mistral-v3", "UAV", 2, true, "</s>[INST] Why?[/INST]"},
    {"zephyr", "UAV", 2, true, "</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"},
    {"plain", "SUAV", 3, true, "\nUser: Why?\nAssistant:"},
};

static void a_new_turn_begins_with_the_end_of_the_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(added); i++) {
        ms_chat_message m[MESSAGES];
        size_t n = messages(added[i].letters, m);
        ms_error err;
        ms_chat_text out;

        must(ms_chat_format_next(find(added[i].name), m, n, added[i].next, added[i].reply, "<s>",
                                 "</s>", &out, &err),
             &err);
        assert_string_equal(out.text, added[i].text);
        ms_chat_text_free(&out);
    }
}

static const struct {
    const char *name, *letters;
    size_t next;
    ms_status status;
    const char *text;
} stuck[] = {
    {"mistral-v3", "SUAV", 3, MS_UNSUPPORTED, "moves the system message"},
    {"mistral-v3-tekken", "SUAV", 3, MS_UNSUPPORTED, "moves the system message"},
    {"chatml", "UAV", 0, MS_INPUT, "must be a reply"},
    {"chatml", "UAV", 1, MS_INPUT, "message 1 of 3 must be a reply"},
    {"chatml", "UAV", 4, MS_INPUT, "must be a reply"},
    {"chatml", "", 0, MS_INPUT, "must be a reply"},
    {"llama2", "UAB", 2, MS_INPUT, "message 3: expected user"},
};

static void a_session_does_not_go_on_where_the_template_cannot(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stuck); i++) {
        ms_chat_message m[MESSAGES];
        size_t n = messages(stuck[i].letters, m);
        ms_error err;
        ms_chat_text out;
        ms_status s = ms_chat_format_next(find(stuck[i].name), m, n, stuck[i].next, true, "<s>",
                                          "</s>", &out, &err);

        must_fail(stuck[i].name, s, stuck[i].status, &err, stuck[i].text);
        assert_null(out.text);
    }
}

static void each_template_says_what_ends_a_reply(void **state)
{
    static const struct {
        const char *name, *first;
    } row[] = {{"chatml", "<|im_end|>"}, {"smollm2", "<|im_end|>"},     {"qwen3", "<|im_end|>"},
               {"llama2", "</s>"},       {"llama3", "<|eot_id|>"},      {"llama3.1", "<|eot_id|>"},
               {"mistral-v3", "</s>"},   {"mistral-v7-tekken", "</s>"}, {"zephyr", "</s>"},
               {"plain", "\nUser:"}};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++)
        assert_string_equal(ms_chat_template_stops(find(row[i].name))[0], row[i].first);
    for (size_t i = 0; i < COUNT(family); i++) {
        const char *const *stop = ms_chat_template_stops(find(family[i].name));

        assert_non_null(stop[0]);
        while (*stop) stop++;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_template_is_known_by_its_text),
        cmocka_unit_test(spelling_does_not_matter),
        cmocka_unit_test(an_unknown_template_is_refused_with_a_piece_of_it),
        cmocka_unit_test(a_text_may_end_anywhere),
        cmocka_unit_test(a_conversation_reads_as_its_template_writes_it),
        cmocka_unit_test(a_missing_token_is_nothing),
        cmocka_unit_test(roles_in_a_wrong_order_are_refused),
        cmocka_unit_test(contents_are_marked),
        cmocka_unit_test(a_session_goes_on_from_a_reply),
        cmocka_unit_test(a_new_turn_begins_with_the_end_of_the_reply),
        cmocka_unit_test(a_session_does_not_go_on_where_the_template_cannot),
        cmocka_unit_test(each_template_says_what_ends_a_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
