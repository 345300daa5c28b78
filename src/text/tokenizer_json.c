/* tokenizer_json - reads Hugging Face's tokenizer.json and tokenizer_config.json
 *
 * Whatever would change the ids and is not understood is refused by name. */
#include "text/vocabulary.h"

#include "base/file.h"
#include "base/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 256 << 20, CONFIG_MAX_BYTES = 16 << 20, PATH_BYTES = 4096 };

/* The file that is read: what every fault names. */
typedef struct {
    ms_tokenizer *t;
    const char *path;
    ms_error *err;
} reader;

static ms_status malformed(const reader *r, const char *key, const char *expected)
{
    return ms_fail_at(r->err, MS_FORMAT, r->path, -1, "\"%s\": expected %s", key, expected);
}

static ms_status unsupported(const reader *r, const char *key, const char *what)
{
    return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, -1, "\"%s\": \"%.40s\" is not supported",
                      key, what ? what : "?");
}

/* A fault from below gets the path of the file. */
static ms_status at_path(const reader *r, ms_status s)
{
    if (s && r->err) snprintf(r->err->path, sizeof r->err->path, "%s", r->path);
    return s;
}

static const char *type_of(const cJSON *o)
{
    const char *type = ms_json_text(o, "type");

    return type ? type : "";
}

static bool is_true(const cJSON *o, const char *key)
{
    return cJSON_IsTrue(ms_json_get(o, key));
}

/* The steps of a part: those of a Sequence, or itself. */
static const cJSON *steps_of(const cJSON *part, const char *list, const cJSON **single)
{
    const cJSON *steps = !strcmp(type_of(part), "Sequence") ? ms_json_get(part, list) : NULL;

    *single = steps ? NULL : part;
    return steps ? steps->child : part;
}

/* Calls read for each step of a part that may be null. */
typedef ms_status step_fn(const reader *r, const cJSON *step, int i);
static ms_status read_steps(const reader *r, const cJSON *part, const char *list, step_fn *read)
{
    const cJSON *single, *step;
    int i = 0;

    if (!part) return MS_OK;
    if (!cJSON_IsObject(part)) return malformed(r, list, "an object");
    if (!strcmp(type_of(part), "Sequence") && !cJSON_IsArray(ms_json_get(part, list)))
        return malformed(r, list, "an array");
    for (step = steps_of(part, list, &single); step; step = single ? NULL : step->next)
        MS_TRY(read(r, step, i++));
    return MS_OK;
}

/* -- vocabulary ------------------------------------------------------------------------------ */

static ms_status read_id(const reader *r, const cJSON *item, const char *key, int highest, int *id)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= highest) ||
        item->valuedouble != (int)item->valuedouble)
        return ms_fail_at(r->err, MS_FORMAT, r->path, -1,
                          "\"%s\": \"%.20s\" has a bad id, expected 0 to %d", key,
                          item && item->string ? item->string : "", highest);
    *id = (int)item->valuedouble;
    return MS_OK;
}

static ms_status read_added(const reader *r, const cJSON *list, int highest)
{
    const cJSON *item;

    if (list && !cJSON_IsArray(list)) return malformed(r, "added_tokens", "an array");
    cJSON_ArrayForEach(item, list)
    {
        const char *content = ms_json_text(item, "content");
        bool special = is_true(item, "special");
        int id = 0;

        if (!content || !content[0]) return malformed(r, "added_tokens", "texts in \"content\"");
        MS_TRY(read_id(r, ms_json_get(item, "id"), "added_tokens", highest, &id));
        if (is_true(item, "single_word")) return unsupported(r, "added_tokens", "single_word");
        MS_TRY(at_path(r, ms_vocabulary_set(r->t, id, content, strlen(content),
                                            special ? MS_TOKEN_SPECIAL : MS_TOKEN_ADDED, r->err)));
        r->t->token[id].lstrip = is_true(item, "lstrip");
        r->t->token[id].rstrip = is_true(item, "rstrip");
    }
    return MS_OK;
}

/* Added tokens are set already; the vocabulary may list them again. */
static ms_status read_vocab(const reader *r, const cJSON *vocab, int highest)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, vocab)
    {
        const ms_tokenizer *t = r->t;
        int id = 0;

        MS_TRY(read_id(r, item, "vocab", highest, &id));
        if (id < t->vocab && t->token[id].kind >= MS_TOKEN_ADDED &&
            !strcmp(ms_token_key(t, id), item->string))
            continue;
        MS_TRY(at_path(r, ms_vocabulary_set(r->t, id, item->string, strlen(item->string),
                                            MS_TOKEN_NORMAL, r->err)));
    }
    return MS_OK;
}

/* "a b", or ["a", "b"]. */
static ms_status read_merge(const reader *r, const cJSON *item)
{
    const char *left = cJSON_GetStringValue(item), *right = NULL;
    size_t left_bytes = 0;

    if (left) {
        right = strchr(left, ' ');
        left_bytes = right ? (size_t)(right++ - left) : 0;
    } else if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2) {
        left = cJSON_GetStringValue(item->child);
        right = left ? cJSON_GetStringValue(item->child->next) : NULL;
        left_bytes = left ? strlen(left) : 0;
    }
    if (!right) return malformed(r, "merges", "pairs of tokens");
    return at_path(r, ms_vocabulary_merge(r->t, left, left_bytes, right, strlen(right), r->err));
}

static ms_status read_model(const reader *r, const cJSON *model, const cJSON *added)
{
    const cJSON *vocab = ms_json_get(model, "vocab"), *merges = ms_json_get(model, "merges"), *item;
    static const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *unk = ms_json_text(model, "unk_token");
    int entries;

    if (!cJSON_IsObject(model)) return malformed(r, "model", "an object");
    if (type_of(model)[0] && strcmp(type_of(model), "BPE") != 0)
        return unsupported(r, "model", type_of(model));
    if (!cJSON_IsObject(vocab)) return malformed(r, "vocab", "an object");
    if (!cJSON_IsArray(merges)) return malformed(r, "merges", "an array");
    for (int i = 0; i < 2; i++) {
        const char *text = ms_json_text(model, affix[i]);

        if (text && text[0]) return unsupported(r, affix[i], text);
    }
    r->t->byte_fallback = is_true(model, "byte_fallback");
    r->t->fuse_unk = is_true(model, "fuse_unk");
    r->t->ignore_merges = is_true(model, "ignore_merges");
    entries = cJSON_GetArraySize(vocab) + cJSON_GetArraySize(added);
    if (entries > MS_VOCAB_MAX) return unsupported(r, "vocab", "more than 2097152 tokens");
    MS_TRY(read_added(r, added, 2 * entries + 4096));
    MS_TRY(read_vocab(r, vocab, 2 * entries + 4096)); /* ids need not be dense, but nearly */
    MS_TRY(at_path(r, ms_vocabulary_finish(r->t, r->err)));
    if (unk) r->t->unk = ms_tokenizer_find(r->t, unk);
    cJSON_ArrayForEach(item, merges) MS_TRY(read_merge(r, item));
    return MS_OK;
}

/* -- normalizer ------------------------------------------------------------------------------ */

static ms_status add_normalizer(const reader *r, ms_normalizer_kind kind, const char *from,
                                const char *to, bool first_only)
{
    ms_normalizer n = {.kind = kind, .first_only = first_only};

    if (r->t->normalizers == MS_NORMALIZERS_MAX || strlen(from) >= sizeof n.from ||
        strlen(to) >= sizeof n.to || (kind >= MS_NORMALIZE_PREPEND && !from[0]))
        return unsupported(r, "normalizer", "so much, or so long a text,");
    snprintf(n.from, sizeof n.from, "%s", from);
    snprintf(n.to, sizeof n.to, "%s", to);
    r->t->normalizer[r->t->normalizers++] = n;
    return MS_OK;
}

static ms_status read_normalizer(const reader *r, const cJSON *o, int i)
{
    static const char *const form[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type = type_of(o), *text;

    (void)i;
    for (int k = 0; k < 4; k++)
        if (!strcmp(type, form[k])) return add_normalizer(r, (ms_normalizer_kind)k, "", "", false);
    if (!strcmp(type, "Prepend")) {
        text = ms_json_text(o, "prepend");
        return text ? add_normalizer(r, MS_NORMALIZE_PREPEND, text, "", false)
                    : malformed(r, "prepend", "a text");
    }
    if (!strcmp(type, "Replace")) {
        const char *from = ms_json_text(ms_json_get(o, "pattern"), "String");

        text = ms_json_text(o, "content");
        if (!from || !text) return unsupported(r, "normalizer", "Replace of a pattern");
        return add_normalizer(r, MS_NORMALIZE_REPLACE, from, text, false);
    }
    return unsupported(r, "normalizer", type);
}

/* -- pre-tokenizer --------------------------------------------------------------------------- */

static ms_status read_split(const reader *r, const cJSON *o)
{
    const cJSON *pattern = ms_json_get(o, "pattern");
    const char *regex = ms_json_text(pattern, "Regex"), *literal = ms_json_text(pattern, "String");
    const char *behavior = ms_json_text(o, "behavior");
    bool removed = behavior && !strcmp(behavior, "Removed"), invert = is_true(o, "invert");

    if (!regex && !literal) return malformed(r, "pattern", "\"Regex\" or \"String\"");
    if (!removed && !(behavior && !strcmp(behavior, "Isolated")))
        return unsupported(r, "behavior", behavior);
    return at_path(r, ms_splitter_add_regex(r->t->splitter, regex ? regex : literal, !regex,
                                            !removed || invert, !removed || !invert, r->err));
}

static ms_status read_byte_level(const reader *r, const cJSON *o, int i)
{
    const cJSON *regex = ms_json_get(o, "use_regex");

    if (is_true(o, "add_prefix_space")) {
        if (i > 0) return unsupported(r, "add_prefix_space", "behind another step, it");
        MS_TRY(add_normalizer(r, MS_NORMALIZE_LEAD, " ", "", false));
    }
    if (regex && !cJSON_IsTrue(regex)) return MS_OK;
    return at_path(r, ms_splitter_add(r->t->splitter, MS_PATTERN_GPT2, r->err));
}

/* Spaces become "▁"; each begins a word. */
static ms_status read_metaspace(const reader *r, const cJSON *o, int i)
{
    const char *shown = ms_json_text(o, "replacement"), *scheme = ms_json_text(o, "prepend_scheme");
    const cJSON *old = ms_json_get(o, "add_prefix_space"), *split = ms_json_get(o, "split");
    bool never = (scheme && !strcmp(scheme, "never")) || (!scheme && cJSON_IsFalse(old));

    if (shown && strcmp(shown, MS_SPACE_SHOWN) != 0) return unsupported(r, "replacement", shown);
    if (i > 0) return unsupported(r, "pre_tokenizer", "Metaspace behind another step");
    MS_TRY(add_normalizer(r, MS_NORMALIZE_REPLACE, " ", MS_SPACE_SHOWN, false));
    if (!never)
        MS_TRY(add_normalizer(r, MS_NORMALIZE_LEAD, MS_SPACE_SHOWN, "",
                              scheme && !strcmp(scheme, "first")));
    if (cJSON_IsFalse(split)) return MS_OK;
    return at_path(r, ms_splitter_add_regex(r->t->splitter,
                                            MS_SPACE_SHOWN "[^" MS_SPACE_SHOWN
                                                           "]*|[^" MS_SPACE_SHOWN "]+",
                                            false, true, true, r->err));
}

static ms_status read_pre_tokenizer(const reader *r, const cJSON *o, int i)
{
    const char *type = type_of(o);

    if (!strcmp(type, "ByteLevel")) return read_byte_level(r, o, i);
    if (!strcmp(type, "Split")) return read_split(r, o);
    if (!strcmp(type, "Metaspace")) return read_metaspace(r, o, i);
    if (!strcmp(type, "Digits"))
        return at_path(r, ms_splitter_add(r->t->splitter,
                                          is_true(o, "individual_digits") ? MS_PATTERN_DIGITS
                                                                          : MS_PATTERN_NUMBERS,
                                          r->err));
    return unsupported(r, "pre_tokenizer", type);
}

/* -- post-processor and decoder -------------------------------------------------------------- */

static ms_status read_frame(const reader *r, const cJSON *single)
{
    ms_tokenizer *t = r->t;
    bool behind = false;
    const cJSON *item;

    if (!cJSON_IsArray(single)) return malformed(r, "single", "a list");
    cJSON_ArrayForEach(item, single)
    {
        const cJSON *special = ms_json_get(item, "SpecialToken");
        const char *name = ms_json_text(special, "id");
        int id = name ? ms_tokenizer_find(t, name) : -1;

        if (!special) {
            behind = true;
            continue;
        }
        if (id < 0) return malformed(r, "single", "special tokens of the vocabulary");
        if ((behind ? t->backs : t->fronts) == MS_FRAME_MAX)
            return unsupported(r, "single", "so many special tokens");
        if (behind)
            t->back[t->backs++] = id;
        else
            t->front[t->fronts++] = id;
    }
    return MS_OK;
}

static ms_status read_post_processor(const reader *r, const cJSON *o, int i)
{
    const char *type = type_of(o);

    (void)i;
    if (!strcmp(type, "ByteLevel")) return MS_OK; /* moves offsets, not ids */
    if (!strcmp(type, "TemplateProcessing")) return read_frame(r, ms_json_get(o, "single"));
    return unsupported(r, "post_processor", type);
}

static ms_status read_decoder(const reader *r, const cJSON *o, int i)
{
    static const char *const plain[] = {"ByteFallback", "Fuse", "Strip"};
    const char *type = type_of(o), *content = ms_json_text(o, "content");

    (void)i;
    if (!strcmp(type, "ByteLevel")) {
        r->t->symbols = MS_SYMBOLS_BYTES;
        return MS_OK;
    }
    for (int k = 0; k < 3; k++)
        if (!strcmp(type, plain[k])) return MS_OK;
    if (!strcmp(type, "Metaspace") ||
        (!strcmp(type, "Replace") && content && !strcmp(content, " "))) {
        r->t->spaces_shown = true;
        return MS_OK;
    }
    return unsupported(r, "decoder", type);
}

/* Any step of the pre-tokenizer that shows bytes. */
static ms_status find_symbols(const reader *r, const cJSON *o, int i)
{
    (void)i;
    if (!strcmp(type_of(o), "ByteLevel")) r->t->symbols = MS_SYMBOLS_BYTES;
    return MS_OK;
}

/* -- tokenizer_config.json ------------------------------------------------------------------- */

/* "eos_token": a text, or an object with the text in "content". */
static int named_token(const ms_tokenizer *t, const cJSON *config, const char *key)
{
    const cJSON *item = ms_json_get(config, key);
    const char *name =
        cJSON_IsObject(item) ? ms_json_text(item, "content") : cJSON_GetStringValue(item);

    return name ? ms_tokenizer_find(t, name) : -1;
}

/* A text, or a list of them by name of which "default" counts. */
static const char *template_text(const cJSON *config)
{
    const cJSON *item = ms_json_get(config, "chat_template"), *one;
    const char *text = cJSON_GetStringValue(item);

    if (!cJSON_IsArray(item)) return text;
    cJSON_ArrayForEach(one, item)
    {
        const char *name = ms_json_text(one, "name");

        if (name && !strcmp(name, "default")) text = ms_json_text(one, "template");
    }
    return text;
}

static ms_status read_config(const reader *r, const cJSON *config)
{
    const char *chat = template_text(config);
    ms_tokenizer *t = r->t;

    t->bos = named_token(t, config, "bos_token");
    t->eos = named_token(t, config, "eos_token");
    if (t->unk < 0) t->unk = named_token(t, config, "unk_token");
    if (is_true(config, "add_bos_token") && t->fronts == 0 && t->bos >= 0)
        t->front[t->fronts++] = t->bos;
    if (chat) t->chat_template = strdup(chat);
    if (chat && !t->chat_template) return ms_fail(r->err, MS_MEMORY, "out of memory");
    return MS_OK;
}

/* Without the file: by the names that are usual. */
static void guess_specials(ms_tokenizer *t)
{
    static const char *const end[] = {MS_END_OF_TEXT, "</s>", "<|end_of_text|>"};

    for (int i = 2; i >= 0; i--) {
        int id = ms_tokenizer_find(t, end[i]);

        if (id >= 0 && t->token[id].kind == MS_TOKEN_SPECIAL) t->eos = id;
    }
    t->bos = ms_tokenizer_find(t, "<s>");
    if (t->bos < 0) t->bos = t->eos;
}

static ms_status find_config(const reader *r)
{
    const char *slash = strrchr(r->path, '/');
    char path[PATH_BYTES];
    reader own = {.t = r->t, .path = path, .err = r->err};
    cJSON *config;
    ms_status s;
    size_t size;

    snprintf(path, sizeof path, "%.*stokenizer_config.json", slash ? (int)(slash - r->path + 1) : 0,
             r->path);
    guess_specials(r->t);
    if (!ms_path_exists(path)) return MS_OK;
    MS_TRY(ms_file_read(&r->t->config, &size, path, CONFIG_MAX_BYTES, r->err));
    MS_TRY(ms_json_parse(&config, r->t->config, size, path, r->err));
    s = read_config(&own, config);
    cJSON_Delete(config);
    return s;
}

/* -- all of it ------------------------------------------------------------------------------- */

static ms_status read_object(const reader *r, const cJSON *o)
{
    const cJSON *pre = ms_json_get(o, "pre_tokenizer");

    MS_TRY(read_steps(r, pre, "pretokenizers", find_symbols));
    MS_TRY(read_steps(r, ms_json_get(o, "decoder"), "decoders", read_decoder));
    MS_TRY(read_model(r, ms_json_get(o, "model"), ms_json_get(o, "added_tokens")));
    MS_TRY(read_steps(r, ms_json_get(o, "normalizer"), "normalizers", read_normalizer));
    MS_TRY(at_path(r, ms_splitter_new(&r->t->splitter, r->err)));
    MS_TRY(read_steps(r, pre, "pretokenizers", read_pre_tokenizer));
    MS_TRY(read_steps(r, ms_json_get(o, "post_processor"), "processors", read_post_processor));
    MS_TRY(find_config(r));
    return at_path(r, ms_vocabulary_seal(r->t, r->err));
}

ms_status ms_tokenizer_load(ms_tokenizer **out, const char *path, ms_error *err)
{
    reader r = {.path = path, .err = err};
    cJSON *o = NULL;
    size_t size;
    ms_status s;

    MS_TRY(ms_vocabulary_new(&r.t, MS_SYMBOLS_CHARS, err));
    s = ms_file_read(&r.t->json, &size, path, FILE_MAX_BYTES, err);
    if (!s) s = ms_json_parse(&o, r.t->json, size, path, err);
    if (!s) s = read_object(&r, o);
    cJSON_Delete(o);
    if (s) {
        ms_tokenizer_free(r.t);
        return s;
    }
    *out = r.t;
    return MS_OK;
}
