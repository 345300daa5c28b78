/* loader - a shuffled order that is computed, not stored */
#include "data/loader.h"

#include "base/rng.h"

enum { ROUNDS = 4 };

ms_status ms_loader_init(ms_loader *l, const ms_shard *shard, int rows, uint64_t seed,
                         ms_error *err)
{
    if (shard->tokens < (uint64_t)rows + 1)
        return ms_fail(
            err, MS_INPUT,
            "the text has %llu tokens, a context of %d needs at least %lld: give more text "
            "or a shorter --context",
            (unsigned long long)shard->tokens, rows, (long long)rows + 1);
    *l = (ms_loader){.shard = shard, .rows = rows, .seed = seed};
    return MS_OK;
}

void ms_loader_seek(ms_loader *l, uint64_t drawn)
{
    l->drawn = drawn;
    l->epoch = 0;
    l->epoch_first = 0;
}

static uint32_t draw(uint64_t seed, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    return ms_philox(key, a, b, c, (uint32_t)MS_SITE_DATA).word[0];
}

/* A bijection of [0, 2^(2 half)): a Feistel network whose round function is Philox. */
static uint64_t feistel(uint64_t x, int half, uint64_t seed, uint32_t epoch)
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint64_t next = left ^ (draw(seed, (uint32_t)right, epoch, round) & mask);

        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t ms_loader_permute(uint64_t i, uint64_t n, uint64_t seed, uint32_t epoch)
{
    int half = 1;

    while (half < 32 && (uint64_t)1 << (2 * half) < n) half++;
    do i = feistel(i, half, seed, epoch); /* cycle walking: values past n are permuted again */
    while (i >= n);
    return i;
}

/* Windows of an epoch that starts at an offset. */
static uint64_t windows_at(const ms_loader *l, uint32_t epoch, uint64_t *offset)
{
    uint64_t spare = l->shard->tokens - 1; /* targets */
    uint64_t T = (uint64_t)l->rows;

    *offset = draw(l->seed, 0, epoch, 0) % T;
    if (*offset + T > spare) *offset = 0; /* a short text: no room to move */
    return (spare - *offset) / T;
}

/* Epochs may differ by a window, so sample i is found by walking the epochs: a resume costs a few
 * nanoseconds an epoch, the next sample starts from where the last one was. */
static uint64_t place_of(ms_loader *l)
{
    uint64_t offset, windows = windows_at(l, l->epoch, &offset), sample;

    while (l->drawn - l->epoch_first >= windows) {
        l->epoch_first += windows;
        windows = windows_at(l, ++l->epoch, &offset);
    }
    sample = l->drawn++ - l->epoch_first;
    return offset + ms_loader_permute(sample, windows, l->seed, l->epoch) * (uint64_t)l->rows;
}

void ms_loader_next(ms_loader *l, int32_t *id, int32_t *target)
{
    uint64_t at = place_of(l);

    for (int t = 0; t < l->rows; t++) {
        id[t] = ms_shard_token(l->shard, at + (uint64_t)t);
        target[t] = ms_shard_token(l->shard, at + (uint64_t)t + 1);
    }
}

uint64_t ms_loader_windows(const ms_shard *shard, int rows)
{
    return shard->tokens < 2 ? 0 : (shard->tokens - 2) / (uint64_t)rows + 1;
}

void ms_loader_window(const ms_shard *shard, int rows, uint64_t i, int32_t *id, int32_t *target)
{
    uint64_t at = i * (uint64_t)rows;

    for (int t = 0; t < rows; t++, at++) {
        bool inside = at + 1 < shard->tokens;

        id[t] = at < shard->tokens ? ms_shard_token(shard, at) : 0;
        target[t] = inside ? ms_shard_token(shard, at + 1) : -1;
    }
}
