/* bpe - byte-pair merges: which two tokens become one, and in which order (Sennrich et al. 2016) */
#ifndef MS_TEXT_BPE_H
#define MS_TEXT_BPE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t pair; /* left << 32 | right; MS_BPE_EMPTY: no entry */
    uint32_t rank; /* lower ranks are merged first */
    int32_t id;    /* what the two become */
} ms_bpe_entry;

#define MS_BPE_EMPTY UINT64_MAX

/* A hash table of merges; zeroed: empty. */
typedef struct {
    ms_bpe_entry *entry; /* (room), a power of two, at most half full */
    size_t room, count;
} ms_bpe;

ms_status ms_bpe_add(ms_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id,
                     ms_error *err); /* a pair that is there keeps the later rank */
void ms_bpe_free(ms_bpe *b);

static inline const ms_bpe_entry *ms_bpe_find(const ms_bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i;

    if (b->count == 0) return NULL;
    i = (size_t)((pair * 0x9e3779b97f4a7c15u) >> 20) & (b->room - 1);
    while (b->entry[i].pair != pair) {
        if (b->entry[i].pair == MS_BPE_EMPTY) return NULL;
        i = (i + 1) & (b->room - 1);
    }
    return &b->entry[i];
}

/* Merges a word in place, lowest rank first, leftmost among equals, until nothing merges.  Time is
 * n log n in the length whatever the word.  work is kept from call to call; zeroed at first. */
typedef struct {
    void *memory;
    size_t bytes;
} ms_bpe_work;
ms_status ms_bpe_merge(const ms_bpe *b, int32_t *ids, size_t *count, ms_bpe_work *work,
                       ms_error *err);
void ms_bpe_work_free(ms_bpe_work *work);

#endif
