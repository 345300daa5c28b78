/* shard - a memory-mapped file of token ids
 *
 *   | magic "MSTOKENS" | version u32 = 1 | bytes per token u32 (2, 4) | vocab u32 | reserved u32 |
 *   | tokens u64 | text bytes u64 | hash u64 (xxh3 of the token bytes) | ids, little endian ... |
 * text bytes: how many bytes of text these tokens stand for (bits per byte). */
#ifndef MS_DATA_SHARD_H
#define MS_DATA_SHARD_H

#include "base/file.h"

typedef struct {
    ms_map map;
    const uint8_t *ids;
    int token_bytes;
    uint32_t vocab;
    uint64_t tokens, text_bytes, hash;
} ms_shard;

/* Checks header, size and that every id is below vocab. */
ms_status ms_shard_open(ms_shard *out, const char *path, ms_error *err);
void ms_shard_close(ms_shard *s);
int ms_shard_is(const char *path); /* the file starts with the magic */

static inline int32_t ms_shard_token(const ms_shard *s, uint64_t i)
{
    const uint8_t *p = s->ids + i * (uint64_t)s->token_bytes;

    return s->token_bytes == 2 ? p[0] | p[1] << 8
                               : (int32_t)(p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24);
}

/* Writes ids (below vocab) as a shard, atomically; 2 bytes a token when vocab <= 65536. */
typedef struct ms_shard_writer ms_shard_writer;
ms_status ms_shard_writer_open(ms_shard_writer **out, const char *path, uint32_t vocab,
                               ms_error *err);
void ms_shard_writer_put(ms_shard_writer *w, const int32_t *ids, size_t count, uint64_t text_bytes);
ms_status ms_shard_writer_commit(ms_shard_writer *w, ms_error *err); /* frees w in every case */
void ms_shard_writer_abort(ms_shard_writer *w);

#endif
