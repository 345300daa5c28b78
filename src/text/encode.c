/* encode - text to ids: cuts out added tokens, normalizes, splits into words, merges
 *
 * Most words of a text have been seen before: their tokens come from a cache, which belongs to the
 * call, so that tokenizers are read-only. */
#include "text/vocabulary.h"

#include "base/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CACHED_BYTES = 36, CACHED_IDS = 6, CACHE_LEAST = 256, CACHE_MOST = 1 << 15 };

/* One line of the processor's cache. */
typedef struct {
    uint8_t bytes, ids; /* bytes 0: empty */
    char word[CACHED_BYTES];
    int32_t id[CACHED_IDS];
} cached;

typedef struct {
    const ms_tokenizer *t;
    const char *text; /* as given: for offsets of errors */
    size_t size_bytes;
    int flags;
    const ms_text_range *strange; /* where nothing is special; what is behind the scan */
    size_t ranges;
    int32_t *ids;
    size_t count, room;
    size_t word; /* where the tokens of this word begin */
    cached *cache;
    size_t slots;
    ms_bpe_work work;
} encoder;

/* -- output ---------------------------------------------------------------------------------- */

static ms_status reserve(encoder *e, size_t more, ms_error *err)
{
    size_t wanted = e->room ? e->room : 64, bytes;
    int32_t *grown = NULL;

    if (more <= e->room - e->count) return MS_OK;
    while (wanted - e->count < more) wanted *= 2;
    if (ms_size_mul(wanted, sizeof *grown, &bytes)) grown = realloc(e->ids, bytes);
    if (!grown) return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", wanted);
    e->ids = grown;
    e->room = wanted;
    return MS_OK;
}

static ms_status put(encoder *e, int32_t id, ms_error *err)
{
    MS_TRY(reserve(e, 1, err));
    e->ids[e->count++] = id;
    return MS_OK;
}

/* -- words ----------------------------------------------------------------------------------- */

static ms_status no_token(const encoder *e, const char *at, int n, ms_error *err)
{
    bool inside = at >= e->text && at < e->text + e->size_bytes;
    int64_t offset = inside ? at - e->text : -1;
    uint32_t code = 0;

    if (n == 0 || e->t->symbols == MS_SYMBOLS_BYTES)
        return ms_fail_at(err, MS_INPUT, NULL, offset, "byte 0x%02x %s", (unsigned)(uint8_t)*at,
                          n ? "has no token in this model" : "is not valid UTF-8");
    ms_utf8_read(at, (size_t)n, &code);
    return ms_fail_at(err, MS_INPUT, NULL, offset,
                      "character \"%.*s\" (U+%04X) has no token in this model", n, at,
                      (unsigned)code);
}

/* The symbols of a word, behind those that are there; room for one a byte is reserved. */
static ms_status take_bytes(encoder *e, const char *word, size_t n, ms_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = e->t->byte_id[(uint8_t)word[i]];

        if (id < 0) return no_token(e, word + i, 1, err);
        e->ids[e->count++] = id;
    }
    return MS_OK;
}

/* A character without a token: its bytes, or the unknown token. */
static ms_status take_unknown(encoder *e, const char *at, int n, ms_error *err)
{
    const ms_tokenizer *t = e->t;
    bool bytes = t->byte_fallback;

    for (int i = 0; i < n; i++) bytes = bytes && t->byte_id[(uint8_t)at[i]] >= 0;
    if (bytes && n > 0) return take_bytes(e, at, (size_t)n, err);
    if (t->unk < 0 || n == 0) return no_token(e, at, n, err);
    if (t->fuse_unk && e->count > e->word && e->ids[e->count - 1] == t->unk) return MS_OK;
    e->ids[e->count++] = t->unk;
    return MS_OK;
}

static ms_status take_chars(encoder *e, const char *word, size_t n, ms_error *err)
{
    for (size_t i = 0; i < n;) {
        uint32_t code;
        int used = ms_utf8_read(word + i, n - i, &code);
        int32_t id = used ? ms_vocabulary_find(e->t, word + i, (size_t)used) : -1;

        if (id >= 0 && e->t->token[id].kind == MS_TOKEN_NORMAL)
            e->ids[e->count++] = id;
        else
            MS_TRY(take_unknown(e, word + i, used, err));
        i += (size_t)(used ? used : 1);
    }
    return MS_OK;
}

/* A key of the whole word, for tokenizers that take it before any merge. */
static ms_status whole_word(const ms_tokenizer *t, const char *word, size_t n, int32_t *id,
                            ms_error *err)
{
    char near[2 * CACHED_BYTES], *key = near;
    size_t used = 0;

    *id = -1;
    if (n > t->longest) return MS_OK;
    if (t->symbols == MS_SYMBOLS_CHARS) {
        *id = ms_vocabulary_find(t, word, n);
        return MS_OK;
    }
    if (n > CACHED_BYTES) key = malloc(2 * n);
    if (!key) return ms_fail(err, MS_MEMORY, "out of memory for a word");
    for (size_t i = 0; i < n; i++)
        used += (size_t)ms_utf8_write(ms_byte_character((uint8_t)word[i]), key + used);
    *id = ms_vocabulary_find(t, key, used);
    if (key != near) free(key);
    return MS_OK;
}

static ms_status merge_word(encoder *e, const char *word, size_t n, ms_error *err)
{
    size_t first = e->count, count;

    MS_TRY(reserve(e, n, err));
    e->word = first;
    if (e->t->ignore_merges) {
        int32_t id;

        MS_TRY(whole_word(e->t, word, n, &id, err));
        if (id >= 0 && e->t->token[id].kind == MS_TOKEN_NORMAL) return put(e, id, err);
    }
    if (e->t->symbols == MS_SYMBOLS_BYTES)
        MS_TRY(take_bytes(e, word, n, err));
    else
        MS_TRY(take_chars(e, word, n, err));
    count = e->count - first;
    MS_TRY(ms_bpe_merge(&e->t->merges, e->ids + first, &count, &e->work, err));
    e->count = first + count;
    return MS_OK;
}

/* FNV-like, eight bytes at a time. */
static uint64_t hash(const char *word, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, part = 0;

    for (; n >= 8; n -= 8, word += 8) {
        memcpy(&part, word, 8);
        h = (h ^ part) * 0x9fb21c651e98df25u;
        h ^= h >> 32;
    }
    part = 0;
    memcpy(&part, word, n);
    h = (h ^ part) * 0x9fb21c651e98df25u;
    return h ^ h >> 29;
}

static ms_status take_word(void *user, const char *word, size_t n, ms_error *err)
{
    encoder *e = user;
    size_t first = e->count, ids;
    cached *c;

    if (n > CACHED_BYTES || e->slots == 0) return merge_word(e, word, n, err);
    c = &e->cache[hash(word, n) & (e->slots - 1)];
    if (c->bytes == n && !memcmp(c->word, word, n)) {
        if (e->room - e->count < CACHED_IDS) MS_TRY(reserve(e, CACHED_IDS, err));
        memcpy(e->ids + e->count, c->id, sizeof c->id);
        e->count += c->ids;
        return MS_OK;
    }
    MS_TRY(merge_word(e, word, n, err));
    ids = e->count - first;
    if (ids <= CACHED_IDS && ids > 0) { /* none: fused into an unknown token before */
        c->bytes = (uint8_t)n;
        c->ids = (uint8_t)ids;
        memcpy(c->word, word, n);
        memcpy(c->id, e->ids + first, ids * sizeof *c->id);
    }
    return MS_OK;
}

/* Without a splitter: all of the text, or its parts in front of shown spaces. */
static ms_status take_unsplit(encoder *e, const char *text, size_t size, ms_error *err)
{
    size_t from = 0;

    for (size_t i = 3; e->t->words_end_at_space && i + 3 <= size; i++) {
        if (memcmp(text + i, MS_SPACE_SHOWN, 3) != 0 || !memcmp(text + i - 3, MS_SPACE_SHOWN, 3))
            continue;
        MS_TRY(take_word(e, text + from, i - from, err));
        from = i;
    }
    return take_word(e, text + from, size - from, err);
}

static ms_status take_words(encoder *e, const char *text, size_t size, ms_error *err)
{
    const ms_splitter *s = e->t->splitter;
    ms_pattern only;

    if (size == 0) return MS_OK;
    if (!s || ms_splitter_stages(s) == 0) return take_unsplit(e, text, size, err);
    only = ms_splitter_only(s);
    if (only == MS_PATTERN_OTHER) return ms_splitter_run(s, text, size, take_word, e, err);
    while (size > 0) {
        size_t n = ms_pattern_word(only, text, size);

        MS_TRY(take_word(e, text, n, err));
        text += n;
        size -= n;
    }
    return MS_OK;
}

/* -- normalizing ----------------------------------------------------------------------------- */

/* A text that changes on its way: owned is NULL as long as it is the one that was given. */
typedef struct {
    const char *text;
    size_t size_bytes;
    char *owned;
} draft;

static ms_status replace_draft(draft *d, char *text, size_t size, ms_error *err)
{
    if (!text) return ms_fail(err, MS_MEMORY, "out of memory for a text of %zu bytes", size);
    free(d->owned);
    d->text = d->owned = text;
    d->size_bytes = size;
    return MS_OK;
}

static ms_status normalize_unicode(draft *d, ms_normalizer_kind kind, ms_error *err)
{
    static const int options[] = {
        [MS_NORMALIZE_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [MS_NORMALIZE_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [MS_NORMALIZE_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [MS_NORMALIZE_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t n;
    size_t ascii = 0;

    while (ascii < d->size_bytes && (uint8_t)d->text[ascii] < 0x80) ascii++;
    if (ascii == d->size_bytes) return MS_OK;
    n = utf8proc_map((const utf8proc_uint8_t *)d->text, (utf8proc_ssize_t)d->size_bytes, &out,
                     (utf8proc_option_t)options[kind]);
    if (n == UTF8PROC_ERROR_NOMEM) return ms_fail(err, MS_MEMORY, "out of memory for a text");
    if (n < 0) return ms_fail(err, MS_INPUT, "the text is not valid UTF-8");
    return replace_draft(d, (char *)out, (size_t)n, err);
}

static ms_status prepend(draft *d, const char *lead, ms_error *err)
{
    size_t n = strlen(lead);
    char *text = malloc(n + d->size_bytes + 1);

    if (text) {
        memcpy(text, lead, n);
        memcpy(text + n, d->text, d->size_bytes);
    }
    return replace_draft(d, text, n + d->size_bytes, err);
}

static size_t count_of(const draft *d, const char *from, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i + n <= d->size_bytes;)
        if (!memcmp(d->text + i, from, n)) {
            found++;
            i += n;
        } else {
            i++;
        }
    return found;
}

static ms_status replace(draft *d, const char *from, const char *to, ms_error *err)
{
    size_t a = strlen(from), b = strlen(to), found = count_of(d, from, a), size, used = 0;
    char *text;

    if (found == 0) return MS_OK;
    size = d->size_bytes - found * a + found * b;
    text = malloc(size + 1);
    for (size_t i = 0; text && i < d->size_bytes;) {
        if (i + a <= d->size_bytes && !memcmp(d->text + i, from, a)) {
            memcpy(text + used, to, b);
            used += b;
            i += a;
        } else {
            text[used++] = d->text[i++];
        }
    }
    return replace_draft(d, text, size, err);
}

static ms_status normalize(const ms_tokenizer *t, draft *d, bool first, ms_error *err)
{
    for (int i = 0; i < t->normalizers && d->size_bytes > 0; i++) {
        const ms_normalizer *n = &t->normalizer[i];
        size_t lead = strlen(n->from);
        bool leads = d->size_bytes >= lead && !memcmp(d->text, n->from, lead);

        switch (n->kind) {
        case MS_NORMALIZE_NFC:
        case MS_NORMALIZE_NFD:
        case MS_NORMALIZE_NFKC:
        case MS_NORMALIZE_NFKD: MS_TRY(normalize_unicode(d, n->kind, err)); break;
        case MS_NORMALIZE_PREPEND:
            if (first || !n->first_only) MS_TRY(prepend(d, n->from, err));
            break;
        case MS_NORMALIZE_LEAD:
            if (!leads && (first || !n->first_only)) MS_TRY(prepend(d, n->from, err));
            break;
        case MS_NORMALIZE_REPLACE: MS_TRY(replace(d, n->from, n->to, err)); break;
        }
    }
    return MS_OK;
}

/* Text between added tokens. */
static ms_status take_text(encoder *e, const char *text, size_t size, ms_error *err)
{
    draft d = {.text = text, .size_bytes = size};
    ms_status s = normalize(e->t, &d, text == e->text, err);

    if (!s) s = take_words(e, d.text, d.size_bytes, err);
    free(d.owned);
    return s;
}

/* -- added tokens ---------------------------------------------------------------------------- */

/* Whether bytes [begin, end) overlap what strangers wrote; calls come with ascending begins. */
static bool is_strange(encoder *e, size_t begin, size_t end)
{
    while (e->ranges > 0 && e->strange->end <= begin) e->strange++, e->ranges--;
    return e->ranges > 0 && e->strange->begin < end;
}

/* The added token at a place of the text; -1: none. */
static int32_t added_at(encoder *e, size_t i)
{
    const ms_tokenizer *t = e->t;
    uint8_t first = (uint8_t)e->text[i];

    for (int k = t->added_first[first]; k < t->added_first[first + 1]; k++) {
        const ms_token *token = &t->token[t->added[k]];

        if (token->kind == MS_TOKEN_SPECIAL && !(e->flags & MS_ENCODE_SPECIALS)) continue;
        if (token->key_bytes > e->size_bytes - i ||
            memcmp(t->text + token->key_at, e->text + i, token->key_bytes))
            continue;
        if (token->kind == MS_TOKEN_SPECIAL && is_strange(e, i, i + token->key_bytes)) continue;
        return t->added[k];
    }
    return -1;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static ms_status take_all(encoder *e, ms_error *err)
{
    size_t from = 0;

    for (size_t i = 0; e->t->added_count > 0 && i < e->size_bytes; i++) {
        int32_t id = added_at(e, i);
        size_t end = i;

        if (id < 0) continue;
        while (e->t->token[id].lstrip && end > from && is_space(e->text[end - 1])) end--;
        MS_TRY(take_text(e, e->text + from, end - from, err));
        MS_TRY(put(e, id, err));
        from = i + e->t->token[id].key_bytes;
        while (e->t->token[id].rstrip && from < e->size_bytes && is_space(e->text[from])) from++;
        i = from - 1;
    }
    return take_text(e, e->text + from, e->size_bytes - from, err);
}

static ms_status encode(encoder *e, ms_error *err)
{
    const ms_tokenizer *t = e->t;
    bool frame = e->flags & MS_ENCODE_FRAME;

    for (int i = 0; frame && i < t->fronts; i++) MS_TRY(put(e, t->front[i], err));
    MS_TRY(take_all(e, err));
    for (int i = 0; frame && i < t->backs; i++) MS_TRY(put(e, t->back[i], err));
    return reserve(e, 1, err); /* an empty text has a list too */
}

static ms_status run(encoder *e, int32_t **ids, size_t *count, ms_error *err)
{
    ms_status s;

    if (e->t->merges.count > 0) {
        e->slots = CACHE_LEAST;
        while (e->slots < CACHE_MOST && e->slots < e->size_bytes / 16) e->slots *= 2;
        e->cache = calloc(e->slots, sizeof *e->cache);
        if (!e->cache) e->slots = 0; /* slower, but right */
    }
    s = encode(e, err);
    free(e->cache);
    ms_bpe_work_free(&e->work);
    if (s) {
        free(e->ids);
        return s;
    }
    *ids = e->ids;
    *count = e->count;
    return MS_OK;
}

ms_status ms_tokenizer_encode(const ms_tokenizer *t, const char *text, size_t size_bytes, int flags,
                              int32_t **ids, size_t *count, ms_error *err)
{
    encoder e = {.t = t, .text = text, .size_bytes = size_bytes, .flags = flags};

    return run(&e, ids, count, err);
}

ms_status ms_tokenizer_encode_around(const ms_tokenizer *t, const char *text, size_t size_bytes,
                                     const ms_text_range *strange, size_t ranges, int32_t **ids,
                                     size_t *count, ms_error *err)
{
    encoder e = {.t = t,
                 .text = text,
                 .size_bytes = size_bytes,
                 .flags = MS_ENCODE_SPECIALS,
                 .strange = strange,
                 .ranges = ranges};

    return run(&e, ids, count, err);
}
