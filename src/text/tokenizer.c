/* tokenizer - bytes and characters to ids and back */
#include "text/tokenizer.h"

#include "base/tensor.h"
#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_POINTS = 0x110000 };

/* -- UTF-8 ----------------------------------------------------------------------------------- */

int ms_utf8_read(const char *text, size_t size_bytes, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)text;
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t c;

    if (n == 0 || (size_t)n > size_bytes) return 0;
    c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) return 0;
        c = c << 6 | (p[i] & 63u);
    }
    if (c < lowest[n] || c >= CODE_POINTS || (c >= 0xd800 && c < 0xe000)) return 0;
    *code = c;
    return n;
}

int ms_utf8_write(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

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

ms_status ms_vocabulary_new(ms_tokenizer **out, ms_tokenizer_type type, int vocab, ms_error *err)
{
    ms_tokenizer *t = calloc(1, sizeof *t);

    if (t) {
        t->type = type;
        t->vocab = vocab;
        t->eos = -1;
        t->piece = calloc((size_t)vocab + 1, sizeof *t->piece);
        if (type == MS_TOKENIZER_CHARS) t->id_of = malloc(CODE_POINTS * sizeof *t->id_of);
    }
    if (!t || !t->piece || (type == MS_TOKENIZER_CHARS && !t->id_of)) {
        ms_tokenizer_free(t);
        return ms_fail(err, MS_MEMORY, "out of memory for a vocabulary of %d", vocab);
    }
    for (int i = 0; t->id_of && i < CODE_POINTS; i++) t->id_of[i] = -1;
    *out = t;
    return MS_OK;
}

void ms_vocabulary_set_char(ms_tokenizer *t, int id, uint32_t code)
{
    t->piece[id].size_bytes = (uint8_t)ms_utf8_write(code, t->piece[id].text);
    t->id_of[code] = id;
}

ms_status ms_tokenizer_bytes(ms_tokenizer **out, ms_error *err)
{
    MS_TRY(ms_vocabulary_new(out, MS_TOKENIZER_BYTES, 257, err));
    for (int i = 0; i < 256; i++) {
        (*out)->piece[i].text[0] = (char)i;
        (*out)->piece[i].size_bytes = 1;
    }
    (*out)->eos = 256;
    return MS_OK;
}

struct ms_chars {
    uint8_t seen[CODE_POINTS];
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

ms_status ms_chars_finish(ms_chars *c, ms_tokenizer **out, ms_error *err)
{
    int vocab = 0, id = 0;
    ms_status s;

    for (int i = 0; i < CODE_POINTS; i++) vocab += c->seen[i];
    s = vocab ? ms_vocabulary_new(out, MS_TOKENIZER_CHARS, vocab, err)
              : ms_fail(err, MS_INPUT, "the text is empty: there are no characters to learn");
    for (int i = 0; !s && i < CODE_POINTS; i++)
        if (c->seen[i]) ms_vocabulary_set_char(*out, id++, (uint32_t)i);
    ms_chars_free(c);
    return s;
}

void ms_tokenizer_free(ms_tokenizer *t)
{
    if (!t) return;
    free(t->piece);
    free(t->id_of);
    free(t);
}

/* -- using ----------------------------------------------------------------------------------- */

int ms_tokenizer_vocab(const ms_tokenizer *t)
{
    return t->vocab;
}

const char *ms_tokenizer_kind(const ms_tokenizer *t)
{
    return t->type == MS_TOKENIZER_BYTES ? "bytes" : "chars";
}

int ms_tokenizer_bos(const ms_tokenizer *t)
{
    return t->eos; /* the end of one text is the start of the next */
}

int ms_tokenizer_eos(const ms_tokenizer *t)
{
    return t->eos;
}

static ms_status encode_chars(const ms_tokenizer *t, const char *text, size_t size_bytes,
                              int32_t *ids, size_t *count, ms_error *err)
{
    for (size_t i = 0; i < size_bytes;) {
        uint32_t code = 0;
        int n = ms_utf8_read(text + i, size_bytes - i, &code);

        if (n == 0)
            return ms_fail_at(err, MS_INPUT, NULL, (int64_t)i, "byte 0x%02x is not valid UTF-8",
                              (unsigned)(uint8_t)text[i]);
        if (t->id_of[code] < 0)
            return ms_fail_at(err, MS_INPUT, NULL, (int64_t)i,
                              "character \"%.*s\" (U+%04X) has no token in this model", n, text + i,
                              (unsigned)code);
        ids[(*count)++] = t->id_of[code];
        i += (size_t)n;
    }
    return MS_OK;
}

ms_status ms_tokenizer_encode(const ms_tokenizer *t, const char *text, size_t size_bytes,
                              int32_t **ids, size_t *count, ms_error *err)
{
    int32_t *list = NULL;
    ms_status s = MS_OK;
    size_t bytes;

    if (ms_size_mul(size_bytes + 1, sizeof *list, &bytes)) list = malloc(bytes);
    if (!list) return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", size_bytes);
    *count = 0;
    if (t->type == MS_TOKENIZER_CHARS) {
        s = encode_chars(t, text, size_bytes, list, count, err);
    } else {
        for (size_t i = 0; i < size_bytes; i++) list[i] = (uint8_t)text[i];
        *count = size_bytes;
    }
    if (s) {
        free(list);
        return s;
    }
    *ids = list;
    return MS_OK;
}

const char *ms_tokenizer_piece(const ms_tokenizer *t, int32_t id, size_t *size_bytes)
{
    if (id < 0 || id >= t->vocab) return NULL;
    *size_bytes = t->piece[id].size_bytes;
    return t->piece[id].text;
}
