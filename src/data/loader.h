/* loader - batches of windows from a shard, in a shuffled order that needs no memory
 *
 * Epoch e cuts the tokens behind offset o(e) in [0, T) into W = (tokens - 1 - o) / T windows of T +
 * 1 tokens (neighbours share one token) and visits them in the order of a permutation of [0, W)
 * that is a function of (seed, e): a 4-round Feistel network over Philox with cycle walking. Sample
 * i of a run is therefore a pure function of (seed, i): a resume needs only the number of samples
 * drawn. */
#ifndef MS_DATA_LOADER_H
#define MS_DATA_LOADER_H

#include "data/shard.h"

#include <stdbool.h>

typedef struct {
    const ms_shard *shard; /* lent */
    int rows;              /* T */
    uint64_t seed;
    uint64_t drawn;       /* samples so far: the whole state */
    uint32_t epoch;       /* follow from drawn: the epoch of the last sample and */
    uint64_t epoch_first; /* the number of its first one */
} ms_loader;

/* MS_INPUT with both numbers when the shard has fewer than T + 1 tokens. */
ms_status ms_loader_init(ms_loader *l, const ms_shard *shard, int rows, uint64_t seed,
                         ms_error *err);

/* Continues behind the first `drawn` samples. */
void ms_loader_seek(ms_loader *l, uint64_t drawn);

/* The permutation: where i of [0, n) goes in an epoch; n below 2^62. */
uint64_t ms_loader_permute(uint64_t i, uint64_t n, uint64_t seed, uint32_t epoch);

/* The next sample: T ids and T targets (the ids one further). */
void ms_loader_next(ms_loader *l, int32_t *id, int32_t *target);

/* Windows in order from the start, for evaluation: window i of ms_loader_windows; the last may be
 * shorter: targets past the end are -1.  Every token but the first is a target exactly once. */
uint64_t ms_loader_windows(const ms_shard *shard, int rows);
void ms_loader_window(const ms_shard *shard, int rows, uint64_t i, int32_t *id, int32_t *target);

#endif
