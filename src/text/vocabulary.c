/* vocabulary - tokens by id and by key, and what each stands for */
#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* -- GPT-2's alphabet ------------------------------------------------------------------------ */

static bool shown(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* Printable Latin-1 stays, the rest moves to U+0100. */
uint32_t ms_byte_character(int byte)
{
    int moved = 0;

    if (shown(byte)) return (uint32_t)byte;
    for (int b = 0; b < byte; b++) moved += !shown(b);
    return 256u + (uint32_t)moved;
}

int ms_character_byte(uint32_t code)
{
    if (code < 256) return shown((int)code) ? (int)code : -1;
    if (code < 256 + 33) return (int)code - 256; /* 0..32 */
    if (code < 256 + 33 + 34) return (int)code - 256 - 33 + 127;
    return code == 256 + 33 + 34 ? 173 : -1;
}

/* -- making ---------------------------------------------------------------------------------- */

ms_status ms_vocabulary_new(ms_tokenizer **out, ms_symbols symbols, ms_error *err)
{
    ms_tokenizer *t = calloc(1, sizeof *t);

    if (!t) return ms_fail(err, MS_MEMORY, "out of memory for a tokenizer");
    t->symbols = symbols;
    t->bos = t->eos = t->unk = -1;
    *out = t;
    return MS_OK;
}

void ms_tokenizer_free(ms_tokenizer *t)
{
    if (!t) return;
    ms_bpe_free(&t->merges);
    ms_splitter_free(t->splitter);
    free(t->token);
    free(t->text);
    free(t->by_key);
    free(t->added);
    free(t->merge);
    free(t->chat_template);
    free(t->json);
    free(t->config);
    free(t);
}

/* Room for n more elements of an array. */
static bool reserve(void **array, size_t *room, size_t need, size_t size)
{
    size_t wanted = *room ? *room : 256;
    void *grown;

    if (need <= *room) return true;
    while (wanted < need) wanted *= 2;
    grown = realloc(*array, wanted * size);
    if (!grown) return false;
    *array = grown;
    *room = wanted;
    return true;
}

/* A copy of bytes, terminated; its place in t->text. */
static bool keep_text(ms_tokenizer *t, const char *text, size_t n, uint32_t *at)
{
    void *all = t->text;

    if (t->text_bytes + n + 1 > UINT32_MAX) return false;
    if (!reserve(&all, &t->text_room, t->text_bytes + n + 1, 1)) return false;
    t->text = all;
    *at = (uint32_t)t->text_bytes;
    if (n) memcpy(t->text + t->text_bytes, text, n);
    t->text[t->text_bytes + n] = 0;
    t->text_bytes += n + 1;
    return true;
}

static ms_status out_of_memory(ms_error *err)
{
    return ms_fail(err, MS_MEMORY, "out of memory for a vocabulary");
}

ms_status ms_vocabulary_set(ms_tokenizer *t, int32_t id, const char *key, size_t key_bytes,
                            ms_token_kind kind, ms_error *err)
{
    size_t room = (size_t)t->room;
    void *all = t->token;
    ms_token *k;

    if (id < 0 || id >= MS_VOCAB_MAX)
        return ms_fail(err, MS_FORMAT, "token \"%.20s\" has a bad id", key);
    if (!reserve(&all, &room, (size_t)id + 1, sizeof *t->token)) return out_of_memory(err);
    t->token = all;
    if ((int)room > t->room)
        memset(t->token + t->room, 0, (room - (size_t)t->room) * sizeof *t->token);
    t->room = (int)room;
    k = &t->token[id];
    if (k->kind != MS_TOKEN_NONE)
        return ms_fail(err, MS_FORMAT, "tokens \"%.20s\" and \"%.20s\" have the same id %d",
                       ms_token_key(t, id), key, (int)id);
    if (!keep_text(t, key, key_bytes, &k->key_at)) return out_of_memory(err);
    k->key_bytes = (uint32_t)key_bytes;
    if (key_bytes > t->longest) t->longest = key_bytes;
    k->kind = (uint8_t)kind;
    if (id >= t->vocab) t->vocab = id + 1;
    return MS_OK;
}

/* -- pieces ---------------------------------------------------------------------------------- */

/* The bytes that a key of GPT-2's alphabet shows; 0: it is none. */
static size_t shown_bytes(const char *key, size_t n, char *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        int used = ms_utf8_read(key + i, n - i, &code), byte = used ? ms_character_byte(code) : -1;

        if (byte < 0) return 0;
        out[count++] = (char)byte;
        i += (size_t)used;
    }
    return count;
}

/* A key in which "▁" becomes a space. */
static size_t spaced(const char *key, size_t n, char *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && !memcmp(key + i, MS_SPACE_SHOWN, 3)) {
            out[count++] = ' ';
            i += 3;
        } else {
            out[count++] = key[i++];
        }
    }
    return count;
}

static int fallback_byte(const char *key, size_t n)
{
    char *end;
    long byte;

    if (n != 6 || memcmp(key, "<0x", 3) != 0 || key[5] != '>') return -1;
    byte = strtol(key + 3, &end, 16);
    return end == key + 5 ? (int)byte : -1;
}

/* piece needs as many bytes as the key. */
static size_t make_piece(const ms_tokenizer *t, const ms_token *k, const char *key, char *piece)
{
    size_t n = 0;

    if (k->kind == MS_TOKEN_SPECIAL || k->kind == MS_TOKEN_NONE) return 0;
    if (k->kind == MS_TOKEN_BYTE) {
        piece[0] = (char)fallback_byte(key, k->key_bytes);
        return 1;
    }
    if (k->kind == MS_TOKEN_NORMAL && t->symbols == MS_SYMBOLS_BYTES)
        n = shown_bytes(key, k->key_bytes, piece);
    if (k->kind == MS_TOKEN_NORMAL && t->spaces_shown) n = spaced(key, k->key_bytes, piece);
    if (n) return n;
    memcpy(piece, key, k->key_bytes);
    return k->key_bytes;
}

static ms_status make_pieces(ms_tokenizer *t, ms_error *err)
{
    for (int id = 0; id < t->vocab; id++) {
        ms_token *k = &t->token[id];
        char *piece;

        if (t->byte_fallback && k->kind == MS_TOKEN_NORMAL &&
            fallback_byte(ms_token_key(t, id), k->key_bytes) >= 0)
            k->kind = MS_TOKEN_BYTE;
        if (!keep_text(t, NULL, 0, &k->piece_at)) return out_of_memory(err);
        piece = malloc((size_t)k->key_bytes + 1);
        if (!piece) return out_of_memory(err);
        k->piece_bytes = (uint32_t)make_piece(t, k, ms_token_key(t, id), piece);
        if (k->piece_bytes && !keep_text(t, piece, k->piece_bytes, &k->piece_at)) {
            free(piece);
            return out_of_memory(err);
        }
        free(piece);
    }
    return MS_OK;
}

/* -- by key ---------------------------------------------------------------------------------- */

static size_t slot_of(const ms_tokenizer *t, const char *key, size_t n)
{
    size_t i = (size_t)XXH3_64bits(key, n) & (t->by_key_room - 1);

    for (;; i = (i + 1) & (t->by_key_room - 1)) {
        int32_t id = t->by_key[i];

        if (id < 0) return i;
        if (t->token[id].key_bytes == n && !memcmp(ms_token_key(t, id), key, n)) return i;
    }
}

int32_t ms_vocabulary_find(const ms_tokenizer *t, const char *key, size_t key_bytes)
{
    return t->by_key_room ? t->by_key[slot_of(t, key, key_bytes)] : -1;
}

static ms_status index_keys(ms_tokenizer *t, ms_error *err)
{
    t->by_key_room = 16;
    while (t->by_key_room < 2 * (size_t)t->vocab) t->by_key_room *= 2;
    t->by_key = malloc(t->by_key_room * sizeof *t->by_key);
    if (!t->by_key) return out_of_memory(err);
    memset(t->by_key, 0xff, t->by_key_room * sizeof *t->by_key);
    for (int id = 0; id < t->vocab; id++) {
        const ms_token *k = &t->token[id];
        size_t slot;

        if (k->kind == MS_TOKEN_NONE) continue;
        slot = slot_of(t, ms_token_key(t, id), k->key_bytes);
        if (t->by_key[slot] >= 0)
            return ms_fail(err, MS_FORMAT, "token \"%.40s\" is there twice", ms_token_key(t, id));
        t->by_key[slot] = id;
    }
    return MS_OK;
}

static void find_bytes(ms_tokenizer *t)
{
    for (int b = 0; b < 256; b++) {
        char key[8];
        int n = t->symbols == MS_SYMBOLS_BYTES ? ms_utf8_write(ms_byte_character(b), key)
                                               : snprintf(key, sizeof key, "<0x%02X>", (unsigned)b);

        t->byte_id[b] = ms_vocabulary_find(t, key, (size_t)n);
    }
}

ms_status ms_vocabulary_finish(ms_tokenizer *t, ms_error *err)
{
    if (t->vocab == 0) return ms_fail(err, MS_FORMAT, "the vocabulary is empty");
    MS_TRY(make_pieces(t, err));
    MS_TRY(index_keys(t, err));
    find_bytes(t);
    return MS_OK;
}

/* -- merges ---------------------------------------------------------------------------------- */

ms_status ms_vocabulary_merge_ids(ms_tokenizer *t, int32_t left, int32_t right, int32_t id,
                                  ms_error *err)
{
    size_t n = t->merge_count;

    if ((n & (n - 1)) == 0) { /* room doubles at each power of two */
        uint64_t *grown = realloc(t->merge, (n ? 2 * n : 1) * sizeof *grown);

        if (!grown) return out_of_memory(err);
        t->merge = grown;
    }
    t->merge[t->merge_count++] = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return ms_bpe_add(&t->merges, left, right, (uint32_t)n, id, err);
}

static ms_status no_token(const ms_tokenizer *t, const char *key, size_t n, ms_error *err)
{
    return ms_fail(err, MS_FORMAT, "merge %zu: \"%.*s\" is no token", t->merge_count,
                   n < 60 ? (int)n : 60, key);
}

ms_status ms_vocabulary_merge(ms_tokenizer *t, const char *left, size_t left_bytes,
                              const char *right, size_t right_bytes, ms_error *err)
{
    int32_t a = ms_vocabulary_find(t, left, left_bytes);
    int32_t b = ms_vocabulary_find(t, right, right_bytes), id;
    char *joined;
    ms_status s;

    if (a < 0) return no_token(t, left, left_bytes, err);
    if (b < 0) return no_token(t, right, right_bytes, err);
    joined = malloc(left_bytes + right_bytes + 1);
    if (!joined) return out_of_memory(err);
    memcpy(joined, left, left_bytes);
    memcpy(joined + left_bytes, right, right_bytes);
    id = ms_vocabulary_find(t, joined, left_bytes + right_bytes);
    s = id < 0 ? no_token(t, joined, left_bytes + right_bytes, err)
               : ms_vocabulary_merge_ids(t, a, b, id, err);
    free(joined);
    return s;
}

/* -- sealing --------------------------------------------------------------------------------- */

static int compare_added(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* By first byte, then the longest first. */
static ms_status sort_added(ms_tokenizer *t, ms_error *err)
{
    uint64_t *order;
    int n = 0;

    for (int id = 0; id < t->vocab; id++)
        t->added_count += t->token[id].kind >= MS_TOKEN_ADDED && t->token[id].key_bytes > 0;
    if (t->added_count > UINT16_MAX)
        return ms_fail(err, MS_UNSUPPORTED, "%d added tokens are more than %d", t->added_count,
                       UINT16_MAX);
    t->added = malloc(((size_t)t->added_count + 1) * sizeof *t->added);
    order = malloc(((size_t)t->added_count + 1) * sizeof *order);
    if (!t->added || !order) {
        free(order);
        return out_of_memory(err);
    }
    for (int id = 0; id < t->vocab; id++) {
        uint64_t first = (uint8_t)t->text[t->token[id].key_at];

        if (t->token[id].kind >= MS_TOKEN_ADDED && t->token[id].key_bytes > 0)
            order[n++] =
                first << 56 | (uint64_t)(0xffffff - t->token[id].key_bytes) << 32 | (uint32_t)id;
    }
    qsort(order, (size_t)n, sizeof *order, compare_added);
    for (int i = 0; i < n; i++) t->added[i] = (int32_t)(uint32_t)order[i];
    free(order);
    for (int first = 0, i = 0; first <= 256; first++) {
        while (i < n && (uint8_t)t->text[t->token[t->added[i]].key_at] < first) i++;
        t->added_first[first] = (uint16_t)i;
    }
    return MS_OK;
}

/* Whether in no token a shown space stands behind something else: then no merge crosses the place
 * in front of a space that follows something, and a long text can be cut there. */
static bool words_end_at_space(const ms_tokenizer *t)
{
    for (int id = 0; id < t->vocab; id++) {
        const char *key = ms_token_key(t, id), *space = key;

        if (t->token[id].kind != MS_TOKEN_NORMAL) continue;
        while ((space = strstr(space, MS_SPACE_SHOWN)) != NULL) {
            if (space - key >= 3 ? memcmp(space - 3, MS_SPACE_SHOWN, 3) != 0 : space != key)
                return false;
            space += 3;
        }
    }
    return true;
}

ms_status ms_vocabulary_seal(ms_tokenizer *t, ms_error *err)
{
    t->words_end_at_space =
        t->symbols == MS_SYMBOLS_CHARS && t->spaces_shown && words_end_at_space(t);
    return sort_added(t, err);
}
