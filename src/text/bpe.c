/* bpe - short words by looking at all pairs, long ones with a heap */
#include "text/bpe.h"

#include "base/tensor.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT = 48, FIRST_ROOM = 64 };

/* -- the table ------------------------------------------------------------------------------- */

static void put(ms_bpe *b, ms_bpe_entry e)
{
    size_t i = (size_t)((e.pair * 0x9e3779b97f4a7c15u) >> 20) & (b->room - 1);

    while (b->entry[i].pair != MS_BPE_EMPTY && b->entry[i].pair != e.pair)
        i = (i + 1) & (b->room - 1);
    b->count += b->entry[i].pair == MS_BPE_EMPTY;
    b->entry[i] = e;
}

static ms_status grow(ms_bpe *b, ms_error *err)
{
    ms_bpe bigger = {.room = b->room ? 2 * b->room : FIRST_ROOM};

    bigger.entry = malloc(bigger.room * sizeof *bigger.entry);
    if (!bigger.entry) return ms_fail(err, MS_MEMORY, "out of memory for %zu merges", b->count);
    for (size_t i = 0; i < bigger.room; i++) bigger.entry[i].pair = MS_BPE_EMPTY;
    for (size_t i = 0; i < b->room; i++)
        if (b->entry[i].pair != MS_BPE_EMPTY) put(&bigger, b->entry[i]);
    free(b->entry);
    *b = bigger;
    return MS_OK;
}

ms_status ms_bpe_add(ms_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id,
                     ms_error *err)
{
    if (2 * (b->count + 1) > b->room) MS_TRY(grow(b, err));
    put(b, (ms_bpe_entry){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id});
    return MS_OK;
}

void ms_bpe_free(ms_bpe *b)
{
    free(b->entry);
    *b = (ms_bpe){0};
}

/* -- short words ----------------------------------------------------------------------------- */

static uint32_t rank_of(const ms_bpe *b, int32_t left, int32_t right)
{
    const ms_bpe_entry *e = ms_bpe_find(b, left, right);

    return e ? e->rank : UINT32_MAX;
}

/* rank[i] is that of the pair (i, i + 1); each merge looks up its two neighbours anew. */
static size_t merge_short(const ms_bpe *b, int32_t *ids, size_t n)
{
    uint32_t rank[SHORT];

    for (size_t i = 0; i + 1 < n; i++) rank[i] = rank_of(b, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;

        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == UINT32_MAX) break;
        ids[best] = ms_bpe_find(b, ids[best], ids[best + 1])->id;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(rank + best, rank + best + 1, (n - best) * sizeof *rank);
        if (best + 1 < n) rank[best] = rank_of(b, ids[best], ids[best + 1]);
        if (best > 0) rank[best - 1] = rank_of(b, ids[best - 1], ids[best]);
    }
    return n;
}

/* -- long words ------------------------------------------------------------------------------ */

/* A merge that was possible when it was put on the heap: at, with the token behind it. */
typedef struct {
    uint32_t rank, at;
    int32_t left, right;
} candidate;

typedef struct {
    const ms_bpe *b;
    int32_t *ids;              /* -1: merged away */
    uint32_t *next, *previous; /* neighbours that are left */
    candidate *heap;
    size_t heaped, n;
} longword;

static bool before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(longword *w, candidate c)
{
    size_t i = w->heaped++;

    while (i > 0 && before(&c, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
}

static candidate pop(longword *w)
{
    candidate top = w->heap[0], last = w->heap[--w->heaped];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->heaped) break;
        if (child + 1 < w->heaped && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static void consider(longword *w, uint32_t left)
{
    uint32_t right = w->next[left];
    const ms_bpe_entry *e;

    if (right >= w->n) return;
    e = ms_bpe_find(w->b, w->ids[left], w->ids[right]);
    if (e) push(w, (candidate){e->rank, left, w->ids[left], w->ids[right]});
}

/* At most n - 1 candidates at first and two for each of n - 1 merges. */
static size_t merge_long(longword *w)
{
    size_t count = 0;

    for (uint32_t i = 0; i < w->n; i++) {
        w->next[i] = i + 1;
        w->previous[i] = i - 1;
    }
    for (uint32_t i = 0; i + 1 < w->n; i++) consider(w, i);
    while (w->heaped > 0) {
        candidate c = pop(w);
        uint32_t right;

        if (w->ids[c.at] != c.left) continue;
        right = w->next[c.at];
        if (right >= w->n || w->ids[right] != c.right) continue;
        w->ids[c.at] = ms_bpe_find(w->b, c.left, c.right)->id;
        w->ids[right] = -1;
        w->next[c.at] = w->next[right];
        if (w->next[right] < w->n) w->previous[w->next[right]] = c.at;
        consider(w, c.at);
        if (c.at > 0) consider(w, w->previous[c.at]);
    }
    for (size_t i = 0; i < w->n; i++)
        if (w->ids[i] >= 0) w->ids[count++] = w->ids[i];
    return count;
}

static ms_status reserve(ms_bpe_work *work, size_t n, ms_error *err)
{
    size_t one = 3 * sizeof(candidate) + 2 * sizeof(uint32_t), bytes;

    if (n > UINT32_MAX / 4 || !ms_size_mul(n, one, &bytes))
        return ms_fail(err, MS_UNSUPPORTED, "a word of %zu symbols is too long", n);
    if (bytes <= work->bytes) return MS_OK;
    free(work->memory);
    work->memory = malloc(bytes);
    work->bytes = work->memory ? bytes : 0;
    return work->memory ? MS_OK
                        : ms_fail(err, MS_MEMORY, "out of memory for a word of %zu symbols", n);
}

ms_status ms_bpe_merge(const ms_bpe *b, int32_t *ids, size_t *count, ms_bpe_work *work,
                       ms_error *err)
{
    longword w = {.b = b, .ids = ids, .n = *count};

    if (*count < 2 || b->count == 0) return MS_OK;
    if (*count <= SHORT) {
        *count = merge_short(b, ids, *count);
        return MS_OK;
    }
    MS_TRY(reserve(work, *count, err));
    w.heap = work->memory;
    w.next = (uint32_t *)(w.heap + 3 * *count);
    w.previous = w.next + *count;
    *count = merge_long(&w);
    return MS_OK;
}

void ms_bpe_work_free(ms_bpe_work *work)
{
    free(work->memory);
    *work = (ms_bpe_work){0};
}
