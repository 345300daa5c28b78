/* tokenizer - the kinds that are made here, and what a model asks of any */
#include "text/tokenizer.h"

#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t ms_utf8_pending(const char *text, size_t size_bytes)
{
    for (size_t back = 1; back <= 3 && back <= size_bytes; back++) {
        uint8_t c = (uint8_t)text[size_bytes - back];
        size_t whole = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

        if (c >> 6 == 2) continue; /* the inside of a character: look further back */
        return c < 0xf8 && whole > back ? back : 0;
    }
    return 0;
}

/* -- making ---------------------------------------------------------------------------------- */

static ms_status close_vocabulary(ms_tokenizer *t, ms_status s, ms_tokenizer **out, ms_error *err)
{
    if (!s) s = ms_vocabulary_finish(t, err);
    if (!s) s = ms_vocabulary_seal(t, err);
    if (s) {
        ms_tokenizer_free(t);
        return s;
    }
    *out = t;
    return MS_OK;
}

ms_status ms_tokenizer_bytes(ms_tokenizer **out, ms_error *err)
{
    ms_tokenizer *t;
    ms_status s;

    MS_TRY(ms_vocabulary_new(&t, MS_SYMBOLS_BYTES, err));
    t->bos = t->eos = 256; /* the end of one text is the start of the next */
    s = ms_vocabulary_set(t, 256, MS_END_OF_TEXT, strlen(MS_END_OF_TEXT), MS_TOKEN_SPECIAL, err);
    for (int b = 0; b < 256 && !s; b++) {
        char key[4];

        s = ms_vocabulary_set(t, b, key, (size_t)ms_utf8_write(ms_byte_character(b), key),
                              MS_TOKEN_NORMAL, err);
    }
    return close_vocabulary(t, s, out, err);
}

struct ms_chars {
    uint8_t seen[MS_CODE_POINTS];
};

ms_status ms_chars_new(ms_chars **out, ms_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for a set of characters");
}

void ms_chars_free(ms_chars *c)
{
    free(c);
}

ms_status ms_chars_add(ms_chars *c, const char *text, size_t size_bytes, ms_error *err)
{
    for (size_t i = 0; i < size_bytes;) {
        uint32_t code;
        int n = ms_utf8_read(text + i, size_bytes - i, &code);

        if (n == 0)
            return ms_fail_at(
                err, MS_INPUT, NULL, (int64_t)i,
                "byte 0x%02x is not valid UTF-8: characters need text, bytes take anything",
                (unsigned)(uint8_t)text[i]);
        if (code == 0)
            return ms_fail_at(err, MS_INPUT, NULL, (int64_t)i,
                              "a NUL character cannot be a token of chars: bytes take anything");
        c->seen[code] = 1;
        i += (size_t)n;
    }
    return MS_OK;
}

static ms_status chars_finish(const ms_chars *c, ms_tokenizer **out, ms_error *err)
{
    ms_tokenizer *t;
    ms_status s = MS_OK;
    int id = 0;

    MS_TRY(ms_vocabulary_new(&t, MS_SYMBOLS_CHARS, err));
    for (uint32_t code = 0; code < MS_CODE_POINTS && !s; code++) {
        char key[4];

        if (c->seen[code])
            s = ms_vocabulary_set(t, id++, key, (size_t)ms_utf8_write(code, key), MS_TOKEN_NORMAL,
                                  err);
    }
    if (id == 0) s = ms_fail(err, MS_INPUT, "the text is empty: there are no characters to learn");
    return close_vocabulary(t, s, out, err);
}

ms_status ms_chars_finish(ms_chars *c, ms_tokenizer **out, ms_error *err)
{
    ms_status s = chars_finish(c, out, err);

    ms_chars_free(c);
    return s;
}

/* -- questions ------------------------------------------------------------------------------- */

int ms_tokenizer_vocab(const ms_tokenizer *t)
{
    return t->vocab;
}

const char *ms_tokenizer_kind(const ms_tokenizer *t)
{
    if (t->merge_count == 0 && t->symbols == MS_SYMBOLS_BYTES) return "bytes";
    if (t->merge_count == 0 && !t->byte_fallback) return "chars";
    return t->symbols == MS_SYMBOLS_BYTES ? "bpe" : "sentencepiece";
}

int ms_tokenizer_bos(const ms_tokenizer *t)
{
    return t->bos;
}

int ms_tokenizer_eos(const ms_tokenizer *t)
{
    return t->eos;
}

const char *ms_tokenizer_chat_template(const ms_tokenizer *t)
{
    return t->chat_template;
}

int ms_tokenizer_find(const ms_tokenizer *t, const char *token)
{
    return ms_vocabulary_find(t, token, strlen(token));
}

const char *ms_tokenizer_name(const ms_tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->vocab || t->token[id].kind == MS_TOKEN_NONE) return NULL;
    return ms_token_key(t, id);
}

const char *ms_tokenizer_piece(const ms_tokenizer *t, int32_t id, size_t *size_bytes)
{
    if (id < 0 || id >= t->vocab) return NULL;
    *size_bytes = t->token[id].piece_bytes;
    return t->text + t->token[id].piece_at;
}

bool ms_tokenizer_frames(const ms_tokenizer *t)
{
    return t->fronts > 0 && t->bos >= 0 && t->front[0] == t->bos;
}

bool ms_tokenizer_leads(const ms_tokenizer *t)
{
    for (int i = 0; i < t->normalizers; i++)
        if (t->normalizer[i].kind == MS_NORMALIZE_PREPEND ||
            t->normalizer[i].kind == MS_NORMALIZE_LEAD)
            return t->spaces_shown;
    return false;
}
