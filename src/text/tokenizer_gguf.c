/* tokenizer_gguf - the tokenizer inside a GGUF file, read and written
 *
 * tokenizer.ggml.model is "gpt2" for byte-level BPE, whose words are named by tokenizer.ggml.pre,
 * and "llama" for SentencePiece, which has scores in place of merges. */
#include "text/tokenizer_gguf.h"

#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* Names of pre-tokenizers that llama.cpp knows, and what they do. */
static const struct {
    const char *name;
    ms_pattern first, second; /* second MS_PATTERN_OTHER: none */
    bool ignore_merges, bos;
} pres[] = {
    {"gpt-2", MS_PATTERN_GPT2, MS_PATTERN_OTHER, 0, 0},
    {"phi-2", MS_PATTERN_GPT2, MS_PATTERN_OTHER, 0, 0},
    {"olmo", MS_PATTERN_GPT2, MS_PATTERN_OTHER, 0, 0},
    {"mpt", MS_PATTERN_GPT2, MS_PATTERN_OTHER, 0, 0},
    {"llama-bpe", MS_PATTERN_GPT4, MS_PATTERN_OTHER, 1, 1},
    {"llama3", MS_PATTERN_GPT4, MS_PATTERN_OTHER, 1, 1},
    {"llama-v3", MS_PATTERN_GPT4, MS_PATTERN_OTHER, 1, 1},
    {"dbrx", MS_PATTERN_GPT4, MS_PATTERN_OTHER, 0, 0},
    {"smaug-bpe", MS_PATTERN_GPT4, MS_PATTERN_OTHER, 0, 0},
    {"qwen2", MS_PATTERN_QWEN2, MS_PATTERN_OTHER, 0, 0},
    {"smollm", MS_PATTERN_DIGITS, MS_PATTERN_GPT2, 0, 0},
    {"starcoder", MS_PATTERN_DIGITS, MS_PATTERN_GPT2, 0, 0},
    {"refact", MS_PATTERN_DIGITS, MS_PATTERN_GPT2, 0, 0},
    {"command-r", MS_PATTERN_DIGITS, MS_PATTERN_GPT2, 0, 0},
};
enum { PRES = sizeof pres / sizeof *pres };

/* -- reading --------------------------------------------------------------------------------- */

typedef struct {
    const ms_gguf *g;
    ms_tokenizer *t;
    const ms_gguf_meta *tokens, *types, *scores;
    ms_error *err;
} reader;

static ms_status fault(const reader *r, ms_status s, const char *key, const char *what)
{
    return ms_fail_at(r->err, s, ms_gguf_path(r->g), -1, "\"tokenizer.ggml.%s\": %s", key, what);
}

static ms_status at_path(const reader *r, ms_status s)
{
    if (s && r->err) snprintf(r->err->path, sizeof r->err->path, "%s", ms_gguf_path(r->g));
    return s;
}

static const ms_gguf_meta *get(const reader *r, const char *key)
{
    char full[80];

    snprintf(full, sizeof full, "tokenizer.ggml.%s", key);
    return ms_gguf_get(r->g, full);
}

/* A text of the metadata as a terminated copy; false: it is not there, or too long. */
static bool get_text(const reader *r, const char *key, char *out, size_t room)
{
    const ms_gguf_meta *m = get(r, key);
    ms_gguf_text t;

    if (!m || m->array || !ms_gguf_text_at(m, 0, &t) || t.size_bytes >= room) return false;
    memcpy(out, t.text, t.size_bytes);
    out[t.size_bytes] = 0;
    return true;
}

static bool get_bool(const reader *r, const char *key, bool fallback)
{
    const ms_gguf_meta *m = get(r, key);
    double x;

    return m && !m->array && ms_gguf_number(m, 0, &x) ? x != 0 : fallback;
}

/* A token id; -1: none. */
static ms_status get_id(const reader *r, const char *key, int *id)
{
    const ms_gguf_meta *m = get(r, key);
    double x;

    *id = -1;
    if (!m) return MS_OK;
    if (m->array || !ms_gguf_number(m, 0, &x)) return fault(r, MS_FORMAT, key, "expected an id");
    if (x < 0 || x == UINT32_MAX) return MS_OK;
    if (!(x < r->t->vocab) || x != (int)x) return fault(r, MS_FORMAT, key, "is no token");
    *id = (int)x;
    return MS_OK;
}

/* An array as long as the tokens; NULL when it is not there. */
static ms_status get_array(const reader *r, const char *key, const ms_gguf_meta **out)
{
    *out = get(r, key);
    if (*out && (!(*out)->array || (*out)->count != r->tokens->count))
        return fault(r, MS_FORMAT, key, "expected a list as long as the tokens");
    return MS_OK;
}

static ms_token_kind kind_of(double type)
{
    if (type == TYPE_UNKNOWN || type == TYPE_CONTROL) return MS_TOKEN_SPECIAL;
    return type == TYPE_USER ? MS_TOKEN_ADDED : MS_TOKEN_NORMAL;
}

static ms_status read_tokens(reader *r)
{
    r->tokens = get(r, "tokens");
    if (!r->tokens || !r->tokens->array || r->tokens->type != MS_GGUF_TEXT)
        return fault(r, MS_FORMAT, "tokens", "expected a list of texts");
    if (r->tokens->count == 0 || r->tokens->count > MS_VOCAB_MAX)
        return fault(r, MS_FORMAT, "tokens", "expected 1 to 2097152 tokens");
    MS_TRY(get_array(r, "token_type", &r->types));
    MS_TRY(get_array(r, "scores", &r->scores));
    for (uint64_t i = 0; i < r->tokens->count; i++) {
        ms_gguf_text key;
        double type = TYPE_NORMAL, score = 0;

        if (!ms_gguf_text_at(r->tokens, i, &key))
            return fault(r, MS_FORMAT, "tokens", "expected texts");
        if (r->types && !ms_gguf_number(r->types, i, &type))
            return fault(r, MS_FORMAT, "token_type", "expected numbers");
        if (r->scores && !ms_gguf_number(r->scores, i, &score))
            return fault(r, MS_FORMAT, "scores", "expected numbers");
        MS_TRY(at_path(r, ms_vocabulary_set(r->t, (int32_t)i, key.text, key.size_bytes,
                                            kind_of(type), r->err)));
        r->t->token[i].score = (float)score;
    }
    return at_path(r, ms_vocabulary_finish(r->t, r->err));
}

/* "a b", split at the blank behind the first character. */
static ms_status read_merges(const reader *r)
{
    const ms_gguf_meta *m = get(r, "merges");

    if (!m || !m->array || m->type != MS_GGUF_TEXT)
        return fault(r, MS_FORMAT, "merges", "expected a list of texts");
    for (uint64_t i = 0; i < m->count; i++) {
        ms_gguf_text t;
        const char *blank;
        size_t left;

        if (!ms_gguf_text_at(m, i, &t)) return fault(r, MS_FORMAT, "merges", "expected texts");
        blank = t.size_bytes > 1 ? memchr(t.text + 1, ' ', t.size_bytes - 1) : NULL;
        if (!blank) return fault(r, MS_FORMAT, "merges", "expected two tokens");
        left = (size_t)(blank - t.text);
        MS_TRY(at_path(r, ms_vocabulary_merge(r->t, t.text, left, blank + 1,
                                              t.size_bytes - left - 1, r->err)));
    }
    return MS_OK;
}

/* Tokens by falling score; equal ones by id. */
typedef struct {
    float score;
    int32_t id;
} scored;

static int compare_scores(const void *a, const void *b)
{
    const scored *x = a, *y = b;

    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Every way to cut a token into two is a merge of the token's rank. */
static ms_status merge_parts(ms_tokenizer *t, int32_t id, uint32_t rank, ms_error *err)
{
    const char *key = ms_token_key(t, id);
    size_t n = t->token[id].key_bytes;

    for (size_t cut = 1; cut < n; cut++) {
        int32_t left, right;

        if (((uint8_t)key[cut] & 0xc0) == 0x80) continue; /* inside of a character */
        left = ms_vocabulary_find(t, key, cut);
        right = ms_vocabulary_find(t, key + cut, n - cut);
        if (left < 0 || right < 0) continue;
        if (t->token[left].kind != MS_TOKEN_NORMAL || t->token[right].kind != MS_TOKEN_NORMAL)
            continue;
        MS_TRY(ms_vocabulary_merge_ids(t, left, right, id, err));
        MS_TRY(ms_bpe_add(&t->merges, left, right, rank, id, err));
    }
    return MS_OK;
}

static ms_status merges_of_scores(const reader *r)
{
    ms_tokenizer *t = r->t;
    scored *order = malloc(((size_t)t->vocab + 1) * sizeof *order);
    ms_status s = MS_OK;
    int n = 0;

    if (!order) return ms_fail(r->err, MS_MEMORY, "out of memory for a vocabulary");
    for (int32_t id = 0; id < t->vocab; id++)
        if (t->token[id].kind == MS_TOKEN_NORMAL) order[n++] = (scored){t->token[id].score, id};
    qsort(order, (size_t)n, sizeof *order, compare_scores);
    for (int i = 0; i < n && !s; i++) s = merge_parts(t, order[i].id, (uint32_t)i, r->err);
    free(order);
    return at_path(r, s);
}

static void add_normalizer(ms_tokenizer *t, ms_normalizer_kind kind, const char *from,
                           const char *to)
{
    ms_normalizer *n = &t->normalizer[t->normalizers++];

    n->kind = kind;
    snprintf(n->from, sizeof n->from, "%s", from);
    snprintf(n->to, sizeof n->to, "%s", to);
}

static ms_status read_sentencepiece(reader *r)
{
    ms_tokenizer *t = r->t;

    t->byte_fallback = t->spaces_shown = t->scored = true;
    MS_TRY(read_tokens(r));
    if (get_bool(r, "add_space_prefix", true))
        add_normalizer(t, MS_NORMALIZE_PREPEND, MS_SPACE_SHOWN, "");
    add_normalizer(t, MS_NORMALIZE_REPLACE, " ", MS_SPACE_SHOWN);
    return merges_of_scores(r);
}

static ms_status read_bpe(reader *r, bool *bos)
{
    char pre[64] = "gpt-2";
    int i = 0;

    if (get(r, "pre") && !get_text(r, "pre", pre, sizeof pre))
        return fault(r, MS_FORMAT, "pre", "expected a short text");
    while (i < PRES && strcmp(pres[i].name, pre) != 0) i++;
    if (i == PRES)
        return ms_fail_at(r->err, MS_UNSUPPORTED, ms_gguf_path(r->g), -1,
                          "\"tokenizer.ggml.pre\": \"%.40s\" is not supported", pre);
    *bos = pres[i].bos;
    r->t->symbols = MS_SYMBOLS_BYTES;
    r->t->ignore_merges = pres[i].ignore_merges;
    MS_TRY(ms_splitter_new(&r->t->splitter, r->err));
    MS_TRY(ms_splitter_add(r->t->splitter, pres[i].first, r->err));
    if (pres[i].second != MS_PATTERN_OTHER)
        MS_TRY(ms_splitter_add(r->t->splitter, pres[i].second, r->err));
    MS_TRY(read_tokens(r));
    return read_merges(r);
}

static ms_status read_specials(const reader *r, bool bos)
{
    ms_tokenizer *t = r->t;
    const ms_gguf_meta *chat = ms_gguf_get(r->g, "tokenizer.chat_template");
    ms_gguf_text text;

    MS_TRY(get_id(r, "bos_token_id", &t->bos));
    MS_TRY(get_id(r, "eos_token_id", &t->eos));
    MS_TRY(get_id(r, "unknown_token_id", &t->unk));
    if (get_bool(r, "add_bos_token", bos) && t->bos >= 0) t->front[t->fronts++] = t->bos;
    if (get_bool(r, "add_eos_token", false) && t->eos >= 0) t->back[t->backs++] = t->eos;
    if (!chat || chat->array || !ms_gguf_text_at(chat, 0, &text)) return MS_OK;
    t->chat_template = malloc(text.size_bytes + 1);
    if (!t->chat_template) return ms_fail(r->err, MS_MEMORY, "out of memory for a chat template");
    memcpy(t->chat_template, text.text, text.size_bytes);
    t->chat_template[text.size_bytes] = 0;
    return MS_OK;
}

static ms_status read_tokenizer(reader *r)
{
    char model[32] = "";
    bool bos = false;

    if (!get_text(r, "model", model, sizeof model))
        return fault(r, MS_FORMAT, "model", "expected a short text");
    if (!strcmp(model, "gpt2")) {
        MS_TRY(read_bpe(r, &bos));
    } else if (!strcmp(model, "llama")) {
        bos = true;
        MS_TRY(read_sentencepiece(r));
    } else {
        return ms_fail_at(r->err, MS_UNSUPPORTED, ms_gguf_path(r->g), -1,
                          "\"tokenizer.ggml.model\": \"%.30s\" is not supported", model);
    }
    MS_TRY(read_specials(r, bos));
    return at_path(r, ms_vocabulary_seal(r->t, r->err));
}

ms_status ms_tokenizer_from_gguf(ms_tokenizer **out, const ms_gguf *g, ms_error *err)
{
    reader r = {.g = g, .err = err};
    ms_status s;

    MS_TRY(ms_vocabulary_new(&r.t, MS_SYMBOLS_CHARS, err));
    s = read_tokenizer(&r);
    if (s) {
        ms_tokenizer_free(r.t);
        return s;
    }
    *out = r.t;
    return MS_OK;
}

/* -- writing --------------------------------------------------------------------------------- */

/* The name of a tokenizer's words; NULL: llama.cpp has none for them. */
static const char *pre_of(const ms_tokenizer *t)
{
    int stages = t->splitter ? ms_splitter_stages(t->splitter) : 0;

    if (stages == 0) return "gpt-2"; /* bytes: without merges words do not matter */
    for (int i = 0; i < PRES; i++) {
        bool two = pres[i].second != MS_PATTERN_OTHER;

        if (stages != 1 + two || pres[i].ignore_merges != t->ignore_merges) continue;
        if (ms_splitter_stage(t->splitter, 0).pattern != pres[i].first) continue;
        if (!two || ms_splitter_stage(t->splitter, 1).pattern == pres[i].second)
            return pres[i].name;
    }
    return NULL;
}

static int32_t type_of(const ms_tokenizer *t, int id)
{
    if (id >= t->vocab) return TYPE_UNUSED;
    switch ((ms_token_kind)t->token[id].kind) {
    case MS_TOKEN_NONE: return TYPE_UNUSED;
    case MS_TOKEN_NORMAL: return TYPE_NORMAL;
    case MS_TOKEN_BYTE: return TYPE_BYTE;
    case MS_TOKEN_ADDED: return TYPE_USER;
    case MS_TOKEN_SPECIAL: return id == t->unk ? TYPE_UNKNOWN : TYPE_CONTROL;
    }
    return TYPE_NORMAL;
}

/* What the lists hold until they are added. */
typedef struct {
    ms_gguf_text *key, *merge;
    int32_t *type;
    float *score;
    char *text; /* names of unused ids, then merges */
} lists;

static void free_lists(lists *l)
{
    free(l->key);
    free(l->merge);
    free(l->type);
    free(l->score);
    free(l->text);
}

static bool reserve_lists(lists *l, const ms_tokenizer *t, int vocab)
{
    size_t bytes = (size_t)vocab * 16 + 1;

    for (size_t i = 0; i < t->merge_count; i++)
        bytes +=
            t->token[t->merge[i] >> 32].key_bytes + t->token[(uint32_t)t->merge[i]].key_bytes + 1;
    l->key = malloc((size_t)vocab * sizeof *l->key);
    l->type = malloc((size_t)vocab * sizeof *l->type);
    l->score = malloc((size_t)vocab * sizeof *l->score);
    l->merge = malloc((t->merge_count + 1) * sizeof *l->merge);
    l->text = malloc(bytes);
    return l->key && l->type && l->score && l->merge && l->text;
}

/* SentencePiece shows a space as "▁", in the keys too. */
static ms_gguf_text key_of(const ms_tokenizer *t, int id)
{
    ms_gguf_text key = {ms_token_key(t, id), t->token[id].key_bytes};

    if (t->symbols == MS_SYMBOLS_CHARS && !t->spaces_shown && key.size_bytes == 1 &&
        key.text[0] == ' ')
        key = (ms_gguf_text){MS_SPACE_SHOWN, 3};
    return key;
}

static void fill_lists(lists *l, const ms_tokenizer *t, int vocab)
{
    char *at = l->text;

    for (int id = 0; id < vocab; id++) {
        l->type[id] = type_of(t, id);
        l->score[id] = t->scored ? (id < t->vocab ? t->token[id].score : 0) : -(float)id;
        if (l->type[id] != TYPE_UNUSED) {
            l->key[id] = key_of(t, id);
            continue;
        }
        l->key[id] = (ms_gguf_text){at, (size_t)sprintf(at, "[PAD%d]", id)};
        at += l->key[id].size_bytes;
    }
    for (size_t i = 0; i < t->merge_count; i++) {
        const ms_token *a = &t->token[t->merge[i] >> 32], *b = &t->token[(uint32_t)t->merge[i]];
        size_t n = a->key_bytes + b->key_bytes + 1;

        memcpy(at, t->text + a->key_at, a->key_bytes);
        at[a->key_bytes] = ' ';
        memcpy(at + a->key_bytes + 1, t->text + b->key_at, b->key_bytes);
        l->merge[i] = (ms_gguf_text){at, n};
        at += n;
    }
}

static void add_ids(const ms_tokenizer *t, ms_gguf_head *h)
{
    if (t->bos >= 0) ms_gguf_add_u32(h, "tokenizer.ggml.bos_token_id", (uint32_t)t->bos);
    if (t->eos >= 0) ms_gguf_add_u32(h, "tokenizer.ggml.eos_token_id", (uint32_t)t->eos);
    if (t->unk >= 0) ms_gguf_add_u32(h, "tokenizer.ggml.unknown_token_id", (uint32_t)t->unk);
    ms_gguf_add_bool(h, "tokenizer.ggml.add_bos_token",
                     t->fronts > 0 && t->front[0] == t->bos && t->bos >= 0);
    ms_gguf_add_bool(h, "tokenizer.ggml.add_eos_token", t->backs > 0);
    if (t->chat_template) ms_gguf_add_text(h, "tokenizer.chat_template", t->chat_template);
}

ms_status ms_tokenizer_to_gguf(const ms_tokenizer *t, int vocab, ms_gguf_head *h, ms_error *err)
{
    bool bytes = t->symbols == MS_SYMBOLS_BYTES;
    const char *pre = bytes ? pre_of(t) : NULL;
    lists l = {0};

    if (bytes && !pre)
        return ms_fail(err, MS_UNSUPPORTED,
                       "llama.cpp has no name for the words of this tokenizer: only those of gpt2, "
                       "gpt4, llama3, qwen2 and smollm can be written");
    if (!bytes && t->merge_count > 0 && !t->scored)
        return ms_fail(err, MS_UNSUPPORTED,
                       "GGUF has no place for a tokenizer of characters with merges");
    if (!reserve_lists(&l, t, vocab)) {
        free_lists(&l);
        return ms_fail(err, MS_MEMORY, "out of memory for a vocabulary of %d", vocab);
    }
    fill_lists(&l, t, vocab);
    ms_gguf_add_text(h, "tokenizer.ggml.model", bytes ? "gpt2" : "llama");
    if (bytes) ms_gguf_add_text(h, "tokenizer.ggml.pre", pre);
    ms_gguf_add_texts(h, "tokenizer.ggml.tokens", l.key, (uint64_t)vocab);
    ms_gguf_add_array(h, "tokenizer.ggml.token_type", MS_GGUF_I32, l.type, (uint64_t)vocab);
    if (bytes)
        ms_gguf_add_texts(h, "tokenizer.ggml.merges", l.merge, t->merge_count);
    else
        ms_gguf_add_array(h, "tokenizer.ggml.scores", MS_GGUF_F32, l.score, (uint64_t)vocab);
    if (!bytes) ms_gguf_add_bool(h, "tokenizer.ggml.add_space_prefix", ms_tokenizer_leads(t));
    add_ids(t, h);
    free_lists(&l);
    return MS_OK;
}
