/* shard - reads and writes files of token ids */
#include "data/shard.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define MAGIC "MSTOKENS"

enum { MAGIC_BYTES = 8, HEADER_BYTES = 48, VERSION = 1, VOCAB_MAX = 1 << 24 };

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void put_le(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> (8 * i));
}

/* -- reading --------------------------------------------------------------------------------- */

static ms_status read_header(ms_shard *s, const char *path, ms_error *err)
{
    const uint8_t *p = s->map.data;
    size_t size = s->map.size_bytes;

    if (size < HEADER_BYTES || memcmp(p, MAGIC, MAGIC_BYTES) != 0)
        return ms_fail_at(err, MS_FORMAT, path, 0, "is not a token shard");
    if (get_le(p + 8, 4) != VERSION)
        return ms_fail_at(err, MS_UNSUPPORTED, path, 8, "version %llu, expected %d",
                          (unsigned long long)get_le(p + 8, 4), VERSION);
    s->token_bytes = (int)get_le(p + 12, 4);
    s->vocab = (uint32_t)get_le(p + 16, 4);
    s->tokens = get_le(p + 24, 8);
    s->text_bytes = get_le(p + 32, 8);
    s->hash = get_le(p + 40, 8);
    s->ids = p + HEADER_BYTES;
    if (s->token_bytes != 2 && s->token_bytes != 4)
        return ms_fail_at(err, MS_FORMAT, path, 12, "%d bytes a token, expected 2 or 4",
                          s->token_bytes);
    if (s->vocab == 0 || s->vocab > VOCAB_MAX)
        return ms_fail_at(err, MS_FORMAT, path, 16, "a vocabulary of %u", (unsigned)s->vocab);
    if (s->tokens > SIZE_MAX / 4 || s->tokens * (uint64_t)s->token_bytes != size - HEADER_BYTES)
        return ms_fail_at(err, MS_FORMAT, path, 24, "%llu tokens of %d bytes do not fit %zu bytes",
                          (unsigned long long)s->tokens, s->token_bytes, size);
    return MS_OK;
}

ms_status ms_shard_open(ms_shard *out, const char *path, ms_error *err)
{
    ms_shard s = {.tokens = 0};
    ms_status status;

    MS_TRY(ms_map_open(&s.map, path, err));
    status = read_header(&s, path, err);
    for (uint64_t i = 0; !status && i < s.tokens; i++)
        if ((uint32_t)ms_shard_token(&s, i) >= s.vocab)
            status = ms_fail_at(err, MS_FORMAT, path,
                                (int64_t)(HEADER_BYTES + i * (uint64_t)s.token_bytes),
                                "token %llu is %u, the vocabulary has %u", (unsigned long long)i,
                                (unsigned)ms_shard_token(&s, i), (unsigned)s.vocab);
    if (!status && XXH3_64bits(s.ids, (size_t)s.tokens * (size_t)s.token_bytes) != s.hash)
        status = ms_fail_at(err, MS_FORMAT, path, 40, "the tokens are not those that were written");
    if (status) {
        ms_map_close(&s.map);
        return status;
    }
    *out = s;
    return MS_OK;
}

void ms_shard_close(ms_shard *s)
{
    ms_map_close(&s->map);
    *s = (ms_shard){.tokens = 0};
}

int ms_shard_is(const char *path)
{
    char magic[MAGIC_BYTES] = {0};
    struct stat st;
    bool plain = stat(path, &st) == 0 && S_ISREG(st.st_mode); /* a pipe would be waited for */
    FILE *f = plain ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(magic, 1, sizeof magic, f) : 0;

    if (f) fclose(f);
    return n == sizeof magic && !memcmp(magic, MAGIC, MAGIC_BYTES);
}

/* -- writing --------------------------------------------------------------------------------- */

/* The header holds the count and the hash of what follows, so the ids are collected first: in a
 * second file without a header, which is mapped and copied behind it. */
struct ms_shard_writer {
    FILE *body; /* a temporary file that has no name */
    int failed;
    char *path;
    uint32_t vocab;
    int token_bytes;
    uint64_t tokens, text_bytes;
    XXH3_state_t *hash;
};

ms_status ms_shard_writer_open(ms_shard_writer **out, const char *path, uint32_t vocab,
                               ms_error *err)
{
    ms_shard_writer *w = calloc(1, sizeof *w);

    if (w) {
        w->path = strdup(path);
        w->hash = XXH3_createState();
    }
    if (!w || !w->path || !w->hash) {
        ms_shard_writer_abort(w);
        return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for a shard");
    }
    w->vocab = vocab;
    w->token_bytes = vocab <= 65536 ? 2 : 4;
    XXH3_64bits_reset(w->hash);
    w->body = tmpfile();
    if (!w->body) {
        ms_fail_errno(err, path, "cannot make a temporary file");
        ms_shard_writer_abort(w);
        return MS_IO;
    }
    *out = w;
    return MS_OK;
}

void ms_shard_writer_put(ms_shard_writer *w, const int32_t *ids, size_t count, uint64_t text_bytes)
{
    enum { CHUNK = 4096 };
    uint8_t buffer[CHUNK * 4];

    w->text_bytes += text_bytes;
    w->tokens += count;
    while (count > 0 && !w->failed) {
        size_t n = count < CHUNK ? count : CHUNK, bytes = n * (size_t)w->token_bytes;

        for (size_t i = 0; i < n; i++)
            put_le(buffer + i * (size_t)w->token_bytes, (uint32_t)ids[i], w->token_bytes);
        XXH3_64bits_update(w->hash, buffer, bytes);
        w->failed = fwrite(buffer, 1, bytes, w->body) != bytes;
        ids += n;
        count -= n;
    }
}

static ms_status copy_body(ms_shard_writer *w, ms_writer *to, ms_error *err)
{
    char buffer[1 << 14];
    size_t n;

    if (fflush(w->body) || fseek(w->body, 0, SEEK_SET))
        return ms_fail_errno(err, w->path, "cannot write");
    while ((n = fread(buffer, 1, sizeof buffer, w->body)) > 0) ms_writer_put(to, buffer, n);
    return ferror(w->body) ? ms_fail_errno(err, w->path, "cannot read back") : MS_OK;
}

ms_status ms_shard_writer_commit(ms_shard_writer *w, ms_error *err)
{
    uint8_t header[HEADER_BYTES] = {0};
    ms_writer *to = NULL;
    ms_status s = MS_OK;

    memcpy(header, MAGIC, MAGIC_BYTES);
    put_le(header + 8, VERSION, 4);
    put_le(header + 12, (uint64_t)w->token_bytes, 4);
    put_le(header + 16, w->vocab, 4);
    put_le(header + 24, w->tokens, 8);
    put_le(header + 32, w->text_bytes, 8);
    put_le(header + 40, XXH3_64bits_digest(w->hash), 8);
    if (w->failed) s = ms_fail_errno(err, w->path, "cannot write");
    if (!s) s = ms_writer_open(&to, w->path, err);
    if (!s) {
        ms_writer_put(to, header, sizeof header);
        s = copy_body(w, to, err);
        if (s)
            ms_writer_abort(to);
        else
            s = ms_writer_commit(to, err);
    }
    ms_shard_writer_abort(w);
    return s;
}

void ms_shard_writer_abort(ms_shard_writer *w)
{
    if (!w) return;
    if (w->body) fclose(w->body);
    XXH3_freeState(w->hash);
    free(w->path);
    free(w);
}
