/* tokenizer_write - writes tokenizer.json so that `tokenizers` encodes to the same ids */
#include "text/vocabulary.h"

#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *add_typed(ms_json *j, cJSON *in, const char *key, const char *type)
{
    cJSON *o = ms_json_add_object(j, in, key);

    ms_json_add_text(j, o, "type", type);
    return o;
}

/* A part of one step is that step; of several, a Sequence of them; of none, null. */
static cJSON *add_steps(ms_json *j, const char *key, const char *list, int steps, cJSON **single)
{
    *single = steps == 1 ? j->root : NULL;
    if (steps == 0) ms_json_add_null(j, j->root, key);
    return steps > 1 ? ms_json_add_array(j, add_typed(j, j->root, key, "Sequence"), list) : j->root;
}

static void add_specials(ms_json *j, const ms_tokenizer *t)
{
    cJSON *list = ms_json_add_array(j, j->root, "added_tokens");

    for (int id = 0; id < t->vocab; id++) {
        const ms_token *k = &t->token[id];
        cJSON *o;

        if (k->kind < MS_TOKEN_ADDED) continue;
        o = ms_json_add_object(j, list, NULL);
        ms_json_add_number(j, o, "id", id);
        ms_json_add_text(j, o, "content", ms_token_key(t, id));
        ms_json_add_bool(j, o, "single_word", false);
        ms_json_add_bool(j, o, "lstrip", k->lstrip);
        ms_json_add_bool(j, o, "rstrip", k->rstrip);
        ms_json_add_bool(j, o, "normalized", false);
        ms_json_add_bool(j, o, "special", k->kind == MS_TOKEN_SPECIAL);
    }
}

static void add_byte_level(ms_json *j, cJSON *in, const char *key, bool lead, bool regex)
{
    cJSON *o = add_typed(j, in, key, "ByteLevel");

    ms_json_add_bool(j, o, "add_prefix_space", lead);
    ms_json_add_bool(j, o, "trim_offsets", true);
    ms_json_add_bool(j, o, "use_regex", regex);
}

/* -- normalizer and pre-tokenizer ------------------------------------------------------------ */

/* A lead in front of bytes belongs to ByteLevel. */
static bool in_byte_level(const ms_tokenizer *t, const ms_normalizer *n)
{
    return t->symbols == MS_SYMBOLS_BYTES && n->kind == MS_NORMALIZE_LEAD;
}

static void add_normalizer(ms_json *j, cJSON *in, const char *key, const ms_normalizer *n)
{
    static const char *const type[] = {"NFC",     "NFD",     "NFKC",   "NFKD",
                                       "Prepend", "Prepend", "Replace"};
    cJSON *o = add_typed(j, in, key, type[n->kind]);

    if (n->kind == MS_NORMALIZE_PREPEND || n->kind == MS_NORMALIZE_LEAD)
        ms_json_add_text(j, o, "prepend", n->from);
    if (n->kind != MS_NORMALIZE_REPLACE) return;
    ms_json_add_text(j, ms_json_add_object(j, o, "pattern"), "String", n->from);
    ms_json_add_text(j, o, "content", n->to);
}

static bool add_normalizers(ms_json *j, const ms_tokenizer *t)
{
    int steps = 0;
    bool lead = false;
    cJSON *single, *in;

    for (int i = 0; i < t->normalizers; i++) {
        bool belongs = in_byte_level(t, &t->normalizer[i]);

        lead = lead || belongs;
        steps += !belongs;
    }
    in = add_steps(j, "normalizer", "normalizers", steps, &single);
    for (int i = 0; i < t->normalizers; i++)
        if (!in_byte_level(t, &t->normalizer[i]))
            add_normalizer(j, in, single ? "normalizer" : NULL, &t->normalizer[i]);
    return lead;
}

static void add_stage(ms_json *j, cJSON *in, const char *key, const ms_stage *s)
{
    bool digits = s->pattern == MS_PATTERN_DIGITS;
    cJSON *o;

    if (digits || s->pattern == MS_PATTERN_NUMBERS) {
        o = add_typed(j, in, key, "Digits");
        ms_json_add_bool(j, o, "individual_digits", digits);
        return;
    }
    o = add_typed(j, in, key, "Split");
    ms_json_add_text(j, ms_json_add_object(j, o, "pattern"), s->literal ? "String" : "Regex",
                     s->text);
    ms_json_add_text(j, o, "behavior", s->keep_gaps && s->keep_matches ? "Isolated" : "Removed");
    ms_json_add_bool(j, o, "invert", !s->keep_gaps);
}

/* GPT-2's pattern as the last stage is ByteLevel's own. */
static void add_pre_tokenizer(ms_json *j, const ms_tokenizer *t, bool lead)
{
    int stages = t->splitter ? ms_splitter_stages(t->splitter) : 0, steps;
    bool bytes = t->symbols == MS_SYMBOLS_BYTES;
    bool own = bytes && stages > 0 &&
               ms_splitter_stage(t->splitter, stages - 1).pattern == MS_PATTERN_GPT2;
    cJSON *single, *in;
    const char *key;

    steps = stages - own + bytes;
    in = add_steps(j, "pre_tokenizer", "pretokenizers", steps, &single);
    key = single ? "pre_tokenizer" : NULL;
    for (int i = 0; i < stages - own; i++) {
        ms_stage s = ms_splitter_stage(t->splitter, i);

        add_stage(j, in, key, &s);
    }
    if (bytes) add_byte_level(j, in, key, lead, own);
}

/* -- post-processor and decoder -------------------------------------------------------------- */

static void add_special_item(ms_json *j, cJSON *list, const char *name)
{
    cJSON *o = ms_json_add_object(j, ms_json_add_object(j, list, NULL), "SpecialToken");

    ms_json_add_text(j, o, "id", name);
    ms_json_add_number(j, o, "type_id", 0);
}

static void add_template(ms_json *j, cJSON *o, const ms_tokenizer *t, const char *key, bool pair)
{
    cJSON *list = ms_json_add_array(j, o, key), *sequence;

    for (int part = 0; part <= pair; part++) {
        for (int i = 0; i < t->fronts; i++) add_special_item(j, list, ms_token_key(t, t->front[i]));
        sequence = ms_json_add_object(j, ms_json_add_object(j, list, NULL), "Sequence");
        ms_json_add_text(j, sequence, "id", part ? "B" : "A");
        ms_json_add_number(j, sequence, "type_id", 0);
        for (int i = 0; i < t->backs; i++) add_special_item(j, list, ms_token_key(t, t->back[i]));
    }
}

static void add_post_processor(ms_json *j, const ms_tokenizer *t)
{
    cJSON *o, *all;

    if (t->fronts + t->backs == 0) {
        ms_json_add_null(j, j->root, "post_processor");
        return;
    }
    o = add_typed(j, j->root, "post_processor", "TemplateProcessing");
    add_template(j, o, t, "single", false);
    add_template(j, o, t, "pair", true);
    all = ms_json_add_object(j, o, "special_tokens");
    for (int i = 0; i < t->fronts + t->backs; i++) {
        int32_t id = i < t->fronts ? t->front[i] : t->back[i - t->fronts];
        const char *name = ms_token_key(t, id);
        cJSON *one;

        if (ms_json_get(all, name)) continue;
        one = ms_json_add_object(j, all, name);
        ms_json_add_text(j, one, "id", name);
        ms_json_add_number(j, ms_json_add_array(j, one, "ids"), NULL, id);
        ms_json_add_text(j, ms_json_add_array(j, one, "tokens"), NULL, name);
    }
}

static void add_decoder(ms_json *j, const ms_tokenizer *t)
{
    cJSON *list, *o;

    if (t->symbols == MS_SYMBOLS_BYTES) {
        add_byte_level(j, j->root, "decoder", true, true);
        return;
    }
    if (!t->spaces_shown) {
        add_typed(j, j->root, "decoder", "Fuse");
        return;
    }
    list = ms_json_add_array(j, add_typed(j, j->root, "decoder", "Sequence"), "decoders");
    o = add_typed(j, list, NULL, "Replace");
    ms_json_add_text(j, ms_json_add_object(j, o, "pattern"), "String", MS_SPACE_SHOWN);
    ms_json_add_text(j, o, "content", " ");
    add_typed(j, list, NULL, "ByteFallback");
    add_typed(j, list, NULL, "Fuse");
    if (!ms_tokenizer_leads(t)) return;
    o = add_typed(j, list, NULL, "Strip");
    ms_json_add_text(j, o, "content", " ");
    ms_json_add_number(j, o, "start", 1);
    ms_json_add_number(j, o, "stop", 0);
}

/* -- model ----------------------------------------------------------------------------------- */

/* As "a b", which every version reads; keys with a blank need the other form. */
static void add_merge(ms_json *j, cJSON *list, const char *left, const char *right)
{
    char text[1024];
    size_t a = strlen(left), b = strlen(right);
    cJSON *pair;

    if (!strchr(left, ' ') && !strchr(right, ' ') && a + b + 2 <= sizeof text) {
        memcpy(text, left, a);
        text[a] = ' ';
        memcpy(text + a + 1, right, b + 1);
        ms_json_add_text(j, list, NULL, text);
        return;
    }
    pair = ms_json_add_array(j, list, NULL);
    ms_json_add_text(j, pair, NULL, left);
    ms_json_add_text(j, pair, NULL, right);
}

static void add_model(ms_json *j, const ms_tokenizer *t)
{
    cJSON *model = add_typed(j, j->root, "model", "BPE"), *list;

    ms_json_add_null(j, model, "dropout");
    if (t->unk >= 0)
        ms_json_add_text(j, model, "unk_token", ms_token_key(t, t->unk));
    else
        ms_json_add_null(j, model, "unk_token");
    ms_json_add_null(j, model, "continuing_subword_prefix");
    ms_json_add_null(j, model, "end_of_word_suffix");
    ms_json_add_bool(j, model, "fuse_unk", t->fuse_unk);
    ms_json_add_bool(j, model, "byte_fallback", t->byte_fallback);
    ms_json_add_bool(j, model, "ignore_merges", t->ignore_merges);
    list = ms_json_add_object(j, model, "vocab");
    for (int id = 0; id < t->vocab; id++)
        if (t->token[id].kind != MS_TOKEN_NONE)
            ms_json_add_number(j, list, ms_token_key(t, id), id);
    list = ms_json_add_array(j, model, "merges");
    for (size_t i = 0; i < t->merge_count; i++)
        add_merge(j, list, ms_token_key(t, (int32_t)(t->merge[i] >> 32)),
                  ms_token_key(t, (int32_t)(uint32_t)t->merge[i]));
}

ms_status ms_tokenizer_save(const ms_tokenizer *t, const char *path, ms_error *err)
{
    ms_json json, *j = &json;

    if (t->json) return ms_file_write(path, t->json, strlen(t->json), err);
    ms_json_begin(j);
    ms_json_add_text(j, j->root, "version", "1.0");
    ms_json_add_null(j, j->root, "truncation");
    ms_json_add_null(j, j->root, "padding");
    add_specials(j, t);
    add_pre_tokenizer(j, t, add_normalizers(j, t));
    add_post_processor(j, t);
    add_decoder(j, t);
    add_model(j, t);
    return ms_json_write(j, path, err);
}

ms_status ms_tokenizer_save_config(const ms_tokenizer *t, int context, const char *path,
                                   ms_error *err)
{
    ms_json json, *j = &json;

    if (t->config) return ms_file_write(path, t->config, strlen(t->config), err);
    ms_json_begin(j);
    ms_json_add_text(j, j->root, "tokenizer_class", "PreTrainedTokenizerFast");
    if (t->bos >= 0) ms_json_add_text(j, j->root, "bos_token", ms_token_key(t, t->bos));
    if (t->eos >= 0) ms_json_add_text(j, j->root, "eos_token", ms_token_key(t, t->eos));
    if (t->unk >= 0) ms_json_add_text(j, j->root, "unk_token", ms_token_key(t, t->unk));
    ms_json_add_bool(j, j->root, "clean_up_tokenization_spaces", false);
    ms_json_add_number(j, j->root, "model_max_length", context);
    if (t->chat_template) ms_json_add_text(j, j->root, "chat_template", t->chat_template);
    return ms_json_write(j, path, err);
}
