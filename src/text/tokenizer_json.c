/* tokenizer_json - Hugging Face's tokenizer.json, written so that `tokenizers` encodes to the same
 * ids
 *
 * Both kinds are BPE models without merges.  Bytes: GPT-2's alphabet, which shows each byte as a
 * printable character (ByteLevel).  Chars: the characters themselves. */
#include "base/json.h"
#include "text/vocabulary.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_OF_TEXT "<|endoftext|>"

enum { FILE_MAX_BYTES = 64 << 20, VOCAB_MAX = 1 << 21 };

/* The character by which GPT-2's alphabet shows a byte: printable Latin-1 stays, the rest moves to
 * U+0100. */
static uint32_t byte_character(int byte)
{
    int moved = 0;

    for (int b = 0; b <= byte; b++) {
        bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;

        if (b == byte) return shown ? (uint32_t)b : 256u + (uint32_t)moved;
        moved += !shown;
    }
    return 0;
}

/* -- writing --------------------------------------------------------------------------------- */

/* The key of a token in the vocabulary; text of at most 8 bytes. */
static void token_key(const ms_tokenizer *t, int id, char key[16])
{
    int n = t->piece[id].size_bytes;

    if (t->type == MS_TOKENIZER_BYTES)
        n = ms_utf8_write(byte_character(id), key);
    else
        memcpy(key, t->piece[id].text, (size_t)n);
    key[n] = 0;
}

static void add_special(ms_json *j, cJSON *list, int id)
{
    cJSON *o = ms_json_add_object(j, list, NULL);

    ms_json_add_number(j, o, "id", id);
    ms_json_add_text(j, o, "content", END_OF_TEXT);
    ms_json_add_bool(j, o, "single_word", false);
    ms_json_add_bool(j, o, "lstrip", false);
    ms_json_add_bool(j, o, "rstrip", false);
    ms_json_add_bool(j, o, "normalized", false);
    ms_json_add_bool(j, o, "special", true);
}

static void add_byte_level(ms_json *j, const char *key)
{
    cJSON *o = ms_json_add_object(j, j->root, key);

    ms_json_add_text(j, o, "type", "ByteLevel");
    ms_json_add_bool(j, o, "add_prefix_space", false);
    ms_json_add_bool(j, o, "trim_offsets", true);
    ms_json_add_bool(j, o, "use_regex", false);
}

static void add_model(ms_json *j, const ms_tokenizer *t)
{
    cJSON *model = ms_json_add_object(j, j->root, "model"), *vocab;
    char key[16];

    ms_json_add_text(j, model, "type", "BPE");
    ms_json_add_null(j, model, "dropout");
    ms_json_add_null(j, model, "unk_token");
    ms_json_add_null(j, model, "continuing_subword_prefix");
    ms_json_add_null(j, model, "end_of_word_suffix");
    ms_json_add_bool(j, model, "fuse_unk", false);
    ms_json_add_bool(j, model, "byte_fallback", false);
    ms_json_add_bool(j, model, "ignore_merges", false);
    vocab = ms_json_add_object(j, model, "vocab");
    for (int id = 0; id < t->vocab; id++) {
        if (t->piece[id].size_bytes == 0) continue;
        token_key(t, id, key);
        ms_json_add_number(j, vocab, key, id);
    }
    ms_json_add_array(j, model, "merges");
}

ms_status ms_tokenizer_save(const ms_tokenizer *t, const char *path, ms_error *err)
{
    bool bytes = t->type == MS_TOKENIZER_BYTES;
    ms_json json, *j = &json;
    cJSON *added;

    ms_json_begin(j);
    ms_json_add_text(j, j->root, "version", "1.0");
    ms_json_add_null(j, j->root, "truncation");
    ms_json_add_null(j, j->root, "padding");
    added = ms_json_add_array(j, j->root, "added_tokens");
    if (t->eos >= 0) add_special(j, added, t->eos);
    ms_json_add_null(j, j->root, "normalizer");
    if (bytes) {
        add_byte_level(j, "pre_tokenizer");
        ms_json_add_null(j, j->root, "post_processor");
        add_byte_level(j, "decoder");
    } else {
        ms_json_add_null(j, j->root, "pre_tokenizer");
        ms_json_add_null(j, j->root, "post_processor");
        ms_json_add_text(j, ms_json_add_object(j, j->root, "decoder"), "type", "Fuse");
    }
    add_model(j, t);
    return ms_json_write(j, path, err);
}

ms_status ms_tokenizer_save_config(const ms_tokenizer *t, int context, const char *path,
                                   ms_error *err)
{
    ms_json json, *j = &json;

    ms_json_begin(j);
    ms_json_add_text(j, j->root, "tokenizer_class", "PreTrainedTokenizerFast");
    if (t->eos >= 0) {
        ms_json_add_text(j, j->root, "bos_token", END_OF_TEXT);
        ms_json_add_text(j, j->root, "eos_token", END_OF_TEXT);
    }
    ms_json_add_bool(j, j->root, "clean_up_tokenization_spaces", false);
    ms_json_add_number(j, j->root, "model_max_length", context);
    return ms_json_write(j, path, err);
}

/* -- reading --------------------------------------------------------------------------------- */

static const cJSON *get(const cJSON *o, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(o, key);
}

static bool type_is(const cJSON *o, const char *type)
{
    const char *text = cJSON_GetStringValue(get(o, "type"));

    return text && !strcmp(text, type);
}

/* Refuses what neither kind has: the key's name says what. */
static ms_status check_kind(const cJSON *o, const char *path, ms_error *err)
{
    const cJSON *model = get(o, "model"), *merges = get(model, "merges");

    if (!cJSON_IsObject(model))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"model\": expected an object");
    if (!type_is(model, "BPE"))
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1,
                          "\"model\": only BPE without merges is supported");
    if (!cJSON_IsObject(get(model, "vocab")))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"vocab\": expected an object");
    if (!cJSON_IsArray(merges))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"merges\": expected an array");
    if (cJSON_GetArraySize(merges) > 0)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1,
                          "\"merges\": BPE merges are not supported");
    if (get(o, "normalizer") && !cJSON_IsNull(get(o, "normalizer")))
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"normalizer\": only null is supported");
    if (!cJSON_IsNull(get(o, "pre_tokenizer")) && !type_is(get(o, "pre_tokenizer"), "ByteLevel"))
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1,
                          "\"pre_tokenizer\": only null and ByteLevel are supported");
    return MS_OK;
}

static ms_status bad_entry(const cJSON *item, const char *what, const char *path, ms_error *err)
{
    return ms_fail_at(err, MS_FORMAT, path, -1, "\"vocab\": \"%.20s\" %s", item->string, what);
}

/* Bytes: exactly the table of ours, so that ids are byte values. */
static ms_status read_bytes(const cJSON *vocab, ms_tokenizer **out, const char *path, ms_error *err)
{
    char key[8];

    if (cJSON_GetArraySize(vocab) != 256)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1,
                          "\"vocab\": expected the 256 bytes, found %d entries",
                          cJSON_GetArraySize(vocab));
    for (int b = 0; b < 256; b++) {
        key[ms_utf8_write(byte_character(b), key)] = 0;
        const cJSON *item = get(vocab, key);

        if (!cJSON_IsNumber(item) || item->valuedouble != b)
            return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"vocab\": byte %d is not token %d",
                              b, b);
    }
    return ms_tokenizer_bytes(out, err);
}

static ms_status read_chars(const cJSON *vocab, ms_tokenizer **out, const char *path, ms_error *err)
{
    int n = cJSON_GetArraySize(vocab);
    const cJSON *item;
    ms_tokenizer *t;

    if (n == 0 || n > VOCAB_MAX)
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"vocab\": %d entries", n);
    MS_TRY(ms_vocabulary_new(&t, MS_TOKENIZER_CHARS, n, err));
    cJSON_ArrayForEach(item, vocab)
    {
        uint32_t code = 0;
        size_t length = strlen(item->string);
        int used = length ? ms_utf8_read(item->string, length, &code) : 0;
        ms_status s = MS_OK;

        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < n) ||
            item->valuedouble != (int)item->valuedouble)
            s = bad_entry(item, "has a bad id", path, err);
        else if (used == 0 || (size_t)used != length)
            s = bad_entry(item, "is not one character", path, err);
        else if (t->piece[(int)item->valuedouble].size_bytes || t->id_of[code] >= 0)
            s = bad_entry(item, "is there twice", path, err);
        if (s) {
            ms_tokenizer_free(t);
            return s;
        }
        ms_vocabulary_set_char(t, (int)item->valuedouble, code);
    }
    *out = t;
    return MS_OK;
}

/* At most the end-of-text token behind the vocabulary. */
static ms_status read_added(const cJSON *o, ms_tokenizer *t, const char *path, ms_error *err)
{
    const cJSON *added = get(o, "added_tokens"), *first = cJSON_GetArrayItem(added, 0);
    int n = cJSON_IsArray(added) ? cJSON_GetArraySize(added) : 0;
    int own = t->type == MS_TOKENIZER_BYTES; /* bytes have the token from the start */

    if (n != own) {
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"added_tokens\": expected %d, found %d",
                          own, n);
    }
    if (own && !(cJSON_IsNumber(get(first, "id")) && get(first, "id")->valuedouble == t->eos))
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "\"added_tokens\": expected id %d",
                          t->eos);
    return MS_OK;
}

static ms_status read_object(const cJSON *o, ms_tokenizer **out, const char *path, ms_error *err)
{
    ms_status s;
    ms_tokenizer *t;

    MS_TRY(check_kind(o, path, err));
    if (cJSON_IsNull(get(o, "pre_tokenizer")))
        MS_TRY(read_chars(get(get(o, "model"), "vocab"), &t, path, err));
    else
        MS_TRY(read_bytes(get(get(o, "model"), "vocab"), &t, path, err));
    s = read_added(o, t, path, err);
    if (s) {
        ms_tokenizer_free(t);
        return s;
    }
    *out = t;
    return MS_OK;
}

ms_status ms_tokenizer_load(ms_tokenizer **out, const char *path, ms_error *err)
{
    cJSON *o;
    ms_status s;

    MS_TRY(ms_json_read(&o, path, FILE_MAX_BYTES, err));
    s = read_object(o, out, path, err);
    cJSON_Delete(o);
    return s;
}
