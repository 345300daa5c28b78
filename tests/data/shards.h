/* shards - shards made and opened where nothing may fail */
#ifndef TESTS_DATA_SHARDS_H
#define TESTS_DATA_SHARDS_H

#include "data/shard.h"

#include "../base/scratch.h"

static inline void put_shard(const char *path, uint32_t vocab, const int32_t *ids, size_t count,
                             uint64_t text_bytes)
{
    ms_shard_writer *w = NULL;
    ms_error err;

    must(ms_shard_writer_open(&w, path, vocab, &err), &err);
    ms_shard_writer_put(w, ids, count, text_bytes);
    must(ms_shard_writer_commit(w, &err), &err);
}

static inline ms_shard open_shard(const char *path)
{
    ms_shard s;
    ms_error err;

    must(ms_shard_open(&s, path, &err), &err);
    return s;
}

/* A shard whose tokens are 0, 1, ..., so that a token says where it stands. */
static inline ms_shard count_up(const char *path, int tokens)
{
    int32_t *ids = test_calloc((size_t)tokens + 1, sizeof *ids);

    for (int i = 0; i < tokens; i++) ids[i] = i;
    put_shard(path, (uint32_t)tokens + 1, ids, (size_t)tokens, 0);
    test_free(ids);
    return open_shard(path);
}

#endif
