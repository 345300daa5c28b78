/* bpe_train - counts words in parallel, then merges the most frequent pair until the vocabulary is
 * full
 *
 *   words:  all distinct ones as token ids in one array, with their counts
 *   pairs:  a hash table: how often a pair stands in the text, and in which words
 *   queue:  a heap of pairs by count; a count that has changed is corrected when it comes up */
#include "text/bpe_train.h"

#include "base/tensor.h"
#include "base/thread.h"
#include "text/vocabulary.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PART_BYTES = 1 << 20 }; /* of text, to a thread at a time */

/* -- counting words -------------------------------------------------------------------------- */

typedef struct {
    uint64_t hash;
    size_t at, bytes; /* in text */
    uint64_t count;   /* 0: an empty slot */
} word;

/* Words of one thread, and at the end of all. */
typedef struct {
    word *slot;
    size_t slots, words;
    char *text;
    size_t text_bytes, text_room;
    ms_status status;
    ms_error err;
} word_table;

struct ms_bpe_trainer {
    ms_bpe_options o;
    ms_splitter *splitter;
    ms_pool *pool;
    word_table *table; /* (threads) */
    int threads;
};

static bool grow_words(word_table *t)
{
    size_t slots = t->slots ? 2 * t->slots : 1 << 12;
    word *bigger = calloc(slots, sizeof *bigger);

    if (!bigger) return false;
    for (size_t i = 0; i < t->slots; i++) {
        size_t at = (size_t)t->slot[i].hash & (slots - 1);

        if (t->slot[i].count == 0) continue;
        while (bigger[at].count) at = (at + 1) & (slots - 1);
        bigger[at] = t->slot[i];
    }
    free(t->slot);
    t->slot = bigger;
    t->slots = slots;
    return true;
}

static bool keep_word(word_table *t, word *w, const char *text, size_t n)
{
    if (t->text_bytes + n > t->text_room) {
        size_t room = t->text_room ? 2 * t->text_room : 1 << 16;
        char *grown;

        while (room < t->text_bytes + n) room *= 2;
        grown = realloc(t->text, room);
        if (!grown) return false;
        t->text = grown;
        t->text_room = room;
    }
    memcpy(t->text + t->text_bytes, text, n);
    w->at = t->text_bytes;
    t->text_bytes += n;
    return true;
}

static ms_status count_word(word_table *t, const char *text, size_t n, uint64_t times,
                            ms_error *err)
{
    uint64_t hash = XXH3_64bits(text, n);
    size_t i;

    if (2 * (t->words + 1) > t->slots && !grow_words(t))
        return ms_fail(err, MS_MEMORY, "out of memory for %zu words", t->words);
    i = (size_t)hash & (t->slots - 1);
    for (; t->slot[i].count; i = (i + 1) & (t->slots - 1)) {
        word *w = &t->slot[i];

        if (w->hash != hash || w->bytes != n || memcmp(t->text + w->at, text, n) != 0) continue;
        w->count += times;
        return MS_OK;
    }
    t->slot[i] = (word){.hash = hash, .bytes = n, .count = times};
    t->words++;
    if (keep_word(t, &t->slot[i], text, n)) return MS_OK;
    return ms_fail(err, MS_MEMORY, "out of memory for %zu words", t->words);
}

static ms_status count_once(void *user, const char *text, size_t n, ms_error *err)
{
    return count_word(user, text, n, 1, err);
}

/* A document in parts; each thread takes the next one. */
typedef struct {
    ms_bpe_trainer *t;
    const char *text;
    size_t *cut; /* (parts + 1) */
    size_t parts;
} counting;

static void count_parts(void *arg, int thread, int threads)
{
    counting *c = arg;
    word_table *table = &c->t->table[thread];

    for (size_t i = (size_t)thread; i < c->parts && !table->status; i += (size_t)threads)
        table->status = ms_splitter_run(c->t->splitter, c->text + c->cut[i],
                                        c->cut[i + 1] - c->cut[i], count_once, table, &table->err);
}

static ms_status count_document(ms_bpe_trainer *t, counting *c, ms_error *err)
{
    ms_pool_run(t->pool, count_parts, c);
    for (int i = 0; i < t->threads; i++)
        if (t->table[i].status) {
            if (err) *err = t->table[i].err;
            return t->table[i].status;
        }
    return MS_OK;
}

ms_status ms_bpe_trainer_add(ms_bpe_trainer *t, const char *text, size_t size_bytes, ms_error *err)
{
    counting c = {.t = t, .text = text};
    ms_status s;

    if (size_bytes < 2 * PART_BYTES) /* not worth waking a thread */
        return ms_splitter_run(t->splitter, text, size_bytes, count_once, &t->table[0], err);
    c.cut = malloc((size_bytes / PART_BYTES + 2) * sizeof *c.cut);
    if (!c.cut) return ms_fail(err, MS_MEMORY, "out of memory for parts of a document");
    c.cut[0] = 0;
    while (c.cut[c.parts] < size_bytes) {
        size_t from = c.cut[c.parts] + PART_BYTES;

        c.cut[++c.parts] =
            from < size_bytes ? ms_splitter_cut(t->splitter, text, size_bytes, from) : size_bytes;
    }
    s = count_document(t, &c, err);
    free(c.cut);
    return s;
}

/* -- pairs ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t pair; /* left << 32 | right */
    int64_t count;
    uint32_t *in; /* words, once each in a row; those since the pair was last queued */
    uint32_t ins, room;
} pair_entry;

/* A pair as it was when it was queued. */
typedef struct {
    int64_t count;
    uint64_t pair;
    uint32_t *in;
    uint32_t ins;
} queued;

typedef struct {
    int32_t *id;      /* tokens of all words */
    size_t *at;       /* (words + 1) where each begins */
    uint32_t *length; /* (words) tokens left */
    uint64_t *count;
    size_t words;
    pair_entry *pair;
    size_t slots, pairs;
    queued *heap;
    size_t heaped, heap_room;
    uint64_t *changed; /* pairs that a merge has made more frequent */
    size_t changes, change_room;
    int32_t *key; /* hash of tokens by their bytes */
    size_t keys;
    char *text;      /* bytes of tokens */
    size_t *text_at; /* (vocab + 1) */
    size_t text_room;
    uint64_t *merge; /* pairs in order */
    size_t merges;
    int vocab, wanted, specials;
    int32_t byte_id[256];
} learner;

static pair_entry *find_pair(learner *l, uint64_t pair)
{
    size_t i = (size_t)(pair * 0x9e3779b97f4a7c15u >> 20) & (l->slots - 1);

    while (l->pair[i].pair != pair && l->pair[i].pair != MS_BPE_EMPTY) i = (i + 1) & (l->slots - 1);
    return &l->pair[i];
}

static bool grow_pairs(learner *l)
{
    learner bigger = {.slots = l->slots ? 2 * l->slots : 1 << 16};

    bigger.pair = malloc(bigger.slots * sizeof *bigger.pair);
    if (!bigger.pair) return false;
    for (size_t i = 0; i < bigger.slots; i++) bigger.pair[i] = (pair_entry){.pair = MS_BPE_EMPTY};
    for (size_t i = 0; i < l->slots; i++)
        if (l->pair[i].pair != MS_BPE_EMPTY) *find_pair(&bigger, l->pair[i].pair) = l->pair[i];
    free(l->pair);
    l->pair = bigger.pair;
    l->slots = bigger.slots;
    return true;
}

/* The entry of a pair, made when there is none; NULL: out of memory. */
static pair_entry *take_pair(learner *l, uint64_t pair)
{
    pair_entry *e;

    if (2 * (l->pairs + 1) > l->slots && !grow_pairs(l)) return NULL;
    e = find_pair(l, pair);
    if (e->pair == MS_BPE_EMPTY) {
        *e = (pair_entry){.pair = pair};
        l->pairs++;
    }
    return e;
}

static bool note_word(pair_entry *e, uint32_t word_index)
{
    if (e->ins > 0 && e->in[e->ins - 1] == word_index) return true;
    if (e->ins == e->room) {
        uint32_t room = e->room ? 2 * e->room : 2;
        uint32_t *grown = realloc(e->in, room * sizeof *grown);

        if (!grown) return false;
        e->in = grown;
        e->room = room;
    }
    e->in[e->ins++] = word_index;
    return true;
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* -- the queue ------------------------------------------------------------------------------- */

static bool before(const queued *a, const queued *b)
{
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static bool push(learner *l, queued q)
{
    size_t i = l->heaped;

    if (l->heaped == l->heap_room) {
        size_t room = l->heap_room ? 2 * l->heap_room : 1 << 12;
        queued *grown = realloc(l->heap, room * sizeof *grown);

        if (!grown) return false;
        l->heap = grown;
        l->heap_room = room;
    }
    l->heaped++;
    while (i > 0 && before(&q, &l->heap[(i - 1) / 2])) {
        l->heap[i] = l->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    l->heap[i] = q;
    return true;
}

static queued pop(learner *l)
{
    queued top = l->heap[0], last = l->heap[--l->heaped];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= l->heaped) break;
        if (child + 1 < l->heaped && before(&l->heap[child + 1], &l->heap[child])) child++;
        if (!before(&l->heap[child], &last)) break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = last;
    return top;
}

/* The words noted since go to the queue with the pair. */
static bool enqueue(learner *l, pair_entry *e)
{
    queued q = {e->count, e->pair, e->in, e->ins};

    e->in = NULL;
    e->ins = e->room = 0;
    if (push(l, q)) return true;
    free(q.in);
    return false;
}

/* -- learning -------------------------------------------------------------------------------- */

static bool count_pairs(learner *l)
{
    for (size_t w = 0; w < l->words; w++)
        for (size_t i = l->at[w]; i + 1 < l->at[w] + l->length[w]; i++) {
            pair_entry *e = take_pair(l, pair_of(l->id[i], l->id[i + 1]));

            if (!e || !note_word(e, (uint32_t)w)) return false;
            e->count += (int64_t)l->count[w];
        }
    for (size_t i = 0; i < l->slots; i++)
        if (l->pair[i].pair != MS_BPE_EMPTY && l->pair[i].count > 0 && !enqueue(l, &l->pair[i]))
            return false;
    return true;
}

static bool change(learner *l, uint64_t pair, int64_t by, uint32_t word_index)
{
    pair_entry *e = take_pair(l, pair);

    if (!e) return false;
    e->count += by;
    if (by < 0) return true;
    if (e->ins == 0) { /* the first word since it was queued */
        if (l->changes == l->change_room) {
            size_t room = l->change_room ? 2 * l->change_room : 256;
            uint64_t *grown = realloc(l->changed, room * sizeof *grown);

            if (!grown) return false;
            l->changed = grown;
            l->change_room = room;
        }
        l->changed[l->changes++] = pair;
    }
    return note_word(e, word_index);
}

/* Merges a pair inside one word; neighbours lose a pair and win one. */
static bool merge_in_word(learner *l, uint32_t w, int32_t left, int32_t right, int32_t new)
{
    int32_t *id = l->id + l->at[w];
    int64_t count = (int64_t)l->count[w];
    uint32_t n = l->length[w], to = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (i + 1 >= n || id[i] != left || id[i + 1] != right) {
            id[to++] = id[i];
            continue;
        }
        if (to > 0 && (!change(l, pair_of(id[to - 1], left), -count, w) ||
                       !change(l, pair_of(id[to - 1], new), count, w)))
            return false;
        if (i + 2 < n && (!change(l, pair_of(right, id[i + 2]), -count, w) ||
                          !change(l, pair_of(new, id[i + 2]), count, w)))
            return false;
        id[to++] = new;
        i++;
    }
    l->length[w] = to;
    return true;
}

static const char *bytes_of(const learner *l, int32_t id, size_t *n)
{
    *n = l->text_at[id + 1] - l->text_at[id];
    return l->text + l->text_at[id];
}

/* The token of the joined bytes: one that is there, or a new one; -1: out of memory. */
static int32_t joined(learner *l, int32_t left, int32_t right)
{
    size_t a, b, at = l->text_at[l->vocab], slot;
    const char *first = bytes_of(l, left, &a);

    bytes_of(l, right, &b);
    if (at + a + b > l->text_room) {
        char *grown = realloc(l->text, 2 * (at + a + b));

        if (!grown) return -1;
        l->text = grown;
        l->text_room = 2 * (at + a + b);
        first = l->text + l->text_at[left];
    }
    memcpy(l->text + at, first, a);
    memcpy(l->text + at + a, l->text + l->text_at[right], b);
    slot = (size_t)XXH3_64bits(l->text + at, a + b) & (l->keys - 1);
    for (; l->key[slot] >= 0; slot = (slot + 1) & (l->keys - 1)) {
        size_t n;
        const char *other = bytes_of(l, l->key[slot], &n);

        if (n == a + b && !memcmp(other, l->text + at, n)) return l->key[slot];
    }
    l->key[slot] = l->vocab;
    l->text_at[l->vocab + 1] = at + a + b;
    return l->vocab++;
}

/* All words in which the pair was seen. */
static bool merge_everywhere(learner *l, const queued *q, int32_t new)
{
    l->changes = 0;
    for (uint32_t i = 0; i < q->ins; i++)
        if (!merge_in_word(l, q->in[i], (int32_t)(q->pair >> 32), (int32_t)(uint32_t)q->pair, new))
            return false;
    for (size_t i = 0; i < l->changes; i++) {
        pair_entry *e = find_pair(l, l->changed[i]);

        if (e->count > 0 && !enqueue(l, e)) return false;
        e->ins = 0;
    }
    return true;
}

/* One more merge, in order. */
static bool keep_merge(learner *l, uint64_t pair)
{
    size_t n = l->merges;

    if ((n & (n - 1)) == 0) { /* room doubles at each power of two */
        uint64_t *grown = realloc(l->merge, (n ? 2 * n : 1) * sizeof *grown);

        if (!grown) return false;
        l->merge = grown;
    }
    l->merge[l->merges++] = pair;
    return true;
}

static ms_status learn(learner *l, int min_frequency, ms_error *err)
{
    bool ok = count_pairs(l);

    while (ok && l->vocab < l->wanted && l->heaped > 0) {
        queued q = pop(l);
        int64_t now = find_pair(l, q.pair)->count;
        int32_t new;

        if (q.count != now) {
            q.count = now;
            ok = push(l, q);
            continue;
        }
        if (now < 1 || now < min_frequency) {
            free(q.in);
            break;
        }
        new = joined(l, (int32_t)(q.pair >> 32), (int32_t)(uint32_t)q.pair);
        ok = new >= 0 && keep_merge(l, q.pair) && merge_everywhere(l, &q, new);
        free(q.in);
    }
    return ok ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for %zu pairs", l->pairs);
}

/* -- words to tokens and back ---------------------------------------------------------------- */

static void free_learner(learner *l)
{
    for (size_t i = 0; i < l->slots; i++) free(l->pair[i].in);
    for (size_t i = 0; i < l->heaped; i++) free(l->heap[i].in);
    free(l->id);
    free(l->at);
    free(l->length);
    free(l->count);
    free(l->pair);
    free(l->heap);
    free(l->changed);
    free(l->key);
    free(l->text);
    free(l->text_at);
    free(l->merge);
}

/* Specials (which no merge makes, so they have no bytes here), then bytes by their characters. */
static void first_tokens(learner *l)
{
    for (l->vocab = 0; l->vocab <= l->specials; l->vocab++) l->text_at[l->vocab] = 0;
    l->vocab = l->specials;
    for (uint32_t code = 0; code < 512; code++) {
        int byte = ms_character_byte(code);
        size_t at = l->text_at[l->vocab], slot;

        if (byte < 0) continue;
        l->text[at] = (char)byte;
        slot = (size_t)XXH3_64bits(l->text + at, 1) & (l->keys - 1);
        while (l->key[slot] >= 0) slot = (slot + 1) & (l->keys - 1);
        l->key[slot] = l->byte_id[byte] = l->vocab;
        l->text_at[++l->vocab] = at + 1;
    }
}

static ms_status reserve_learner(learner *l, const word_table *words, ms_error *err)
{
    size_t vocab = (size_t)l->wanted;

    l->words = words->words;
    l->keys = 1024;
    while (l->keys < 2 * vocab) l->keys *= 2;
    l->text_room = 4096;
    l->id = malloc((words->text_bytes + 1) * sizeof *l->id);
    l->at = malloc((l->words + 1) * sizeof *l->at);
    l->length = malloc((l->words + 1) * sizeof *l->length);
    l->count = malloc((l->words + 1) * sizeof *l->count);
    l->key = malloc(l->keys * sizeof *l->key);
    l->text = malloc(l->text_room);
    l->text_at = malloc((vocab + 2) * sizeof *l->text_at);
    if (!l->id || !l->at || !l->length || !l->count || !l->key || !l->text || !l->text_at)
        return ms_fail(err, MS_MEMORY, "out of memory for %zu words", l->words);
    memset(l->key, 0xff, l->keys * sizeof *l->key);
    return MS_OK;
}

static void take_words(learner *l, const word_table *words)
{
    size_t n = 0, at = 0;

    for (size_t i = 0; i < words->slots; i++) {
        const word *w = &words->slot[i];

        if (w->count == 0) continue;
        l->at[n] = at;
        l->length[n] = (uint32_t)w->bytes;
        l->count[n++] = w->count;
        for (size_t k = 0; k < w->bytes; k++)
            l->id[at++] = l->byte_id[(uint8_t)words->text[w->at + k]];
    }
    l->at[n] = at;
}

static ms_status set_tokens(const learner *l, const ms_bpe_options *o, ms_tokenizer *t,
                            ms_error *err)
{
    for (int i = 0; i < o->special_count; i++)
        MS_TRY(
            ms_vocabulary_set(t, i, o->specials[i], strlen(o->specials[i]), MS_TOKEN_SPECIAL, err));
    for (int id = l->specials; id < l->vocab; id++) {
        size_t n, used = 0;
        const char *bytes = bytes_of(l, id, &n);
        char *key = malloc(2 * n + 4);
        ms_status s;

        if (!key) return ms_fail(err, MS_MEMORY, "out of memory for a token");
        for (size_t k = 0; k < n; k++)
            used += (size_t)ms_utf8_write(ms_byte_character((uint8_t)bytes[k]), key + used);
        s = ms_vocabulary_set(t, id, key, used, MS_TOKEN_NORMAL, err);
        free(key);
        MS_TRY(s);
    }
    return MS_OK;
}

/* A merge that was learnt twice counts where it stands last, as in a map by pair. */
static bool learnt_again(const learner *l, size_t i, ms_bpe *last)
{
    return ms_bpe_find(last, (int32_t)(l->merge[i] >> 32), (int32_t)(uint32_t)l->merge[i])->rank !=
           i;
}

static ms_status set_merges(learner *l, ms_tokenizer *t, ms_bpe *last, ms_error *err)
{
    for (size_t i = 0; i < l->merges; i++)
        MS_TRY(ms_bpe_add(last, (int32_t)(l->merge[i] >> 32), (int32_t)(uint32_t)l->merge[i],
                          (uint32_t)i, 0, err));
    for (size_t i = 0; i < l->merges; i++) {
        int32_t left = (int32_t)(l->merge[i] >> 32), right = (int32_t)(uint32_t)l->merge[i], id;

        if (learnt_again(l, i, last)) continue;
        id = joined(l, left, right);
        if (id < 0) return ms_fail(err, MS_MEMORY, "out of memory for a merge");
        MS_TRY(ms_vocabulary_merge_ids(t, left, right, id, err));
    }
    return MS_OK;
}

static ms_status make_tokenizer(learner *l, const ms_bpe_options *o, ms_tokenizer *t, ms_error *err)
{
    ms_bpe last = {0};
    ms_status s;

    MS_TRY(set_tokens(l, o, t, err));
    MS_TRY(ms_vocabulary_finish(t, err));
    s = set_merges(l, t, &last, err);
    ms_bpe_free(&last);
    if (s) return s;
    if (o->special_count > 0) t->bos = t->eos = 0;
    return ms_vocabulary_seal(t, err);
}

/* -- the trainer ----------------------------------------------------------------------------- */

ms_bpe_options ms_bpe_options_default(void)
{
    static const char *const specials[] = {MS_END_OF_TEXT};

    return (ms_bpe_options){.vocab = 4096,
                            .min_frequency = 2,
                            .pattern = "gpt2",
                            .specials = specials,
                            .special_count = 1};
}

static ms_status make_splitter(ms_splitter **out, const char *pattern, ms_error *err)
{
    static const struct {
        const char *name;
        ms_pattern pattern;
    } named[] = {{"gpt2", MS_PATTERN_GPT2},
                 {"gpt4", MS_PATTERN_GPT4},
                 {"llama3", MS_PATTERN_GPT4},
                 {"qwen2", MS_PATTERN_QWEN2}};

    MS_TRY(ms_splitter_new(out, err));
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!strcmp(named[i].name, pattern)) return ms_splitter_add(*out, named[i].pattern, err);
    return ms_splitter_add_regex(*out, pattern, false, true, true, err);
}

static ms_status check_options(const ms_bpe_options *o, ms_error *err)
{
    if (o->vocab < 256 + o->special_count || o->vocab > MS_VOCAB_MAX)
        return ms_fail(err, MS_INPUT, "vocabulary: expected %d to %d tokens, got %d",
                       256 + o->special_count, MS_VOCAB_MAX, o->vocab);
    for (int i = 0; i < o->special_count; i++) {
        if (!o->specials[i][0]) return ms_fail(err, MS_INPUT, "a special token is empty");
        for (int k = 0; k < i; k++)
            if (!strcmp(o->specials[i], o->specials[k]))
                return ms_fail(err, MS_INPUT, "special token \"%.40s\" is given twice",
                               o->specials[i]);
    }
    return MS_OK;
}

ms_status ms_bpe_trainer_new(ms_bpe_trainer **out, const ms_bpe_options *o, ms_error *err)
{
    ms_bpe_trainer *t;
    ms_status s;

    MS_TRY(check_options(o, err));
    t = calloc(1, sizeof *t);
    if (!t) return ms_fail(err, MS_MEMORY, "out of memory for a trainer");
    t->o = *o;
    s = make_splitter(&t->splitter, o->pattern, err);
    if (!s) s = ms_pool_new(&t->pool, o->threads, err);
    if (!s && o->pin) s = ms_pool_pin(t->pool, err);
    if (!s) {
        t->threads = ms_pool_threads(t->pool);
        t->table = calloc((size_t)t->threads, sizeof *t->table);
        if (!t->table) s = ms_fail(err, MS_MEMORY, "out of memory for a trainer");
    }
    if (s) {
        ms_bpe_trainer_free(t);
        return s;
    }
    *out = t;
    return MS_OK;
}

void ms_bpe_trainer_free(ms_bpe_trainer *t)
{
    if (!t) return;
    for (int i = 0; t->table && i < t->threads; i++) {
        free(t->table[i].slot);
        free(t->table[i].text);
    }
    free(t->table);
    ms_pool_free(t->pool);
    ms_splitter_free(t->splitter);
    free(t);
}

/* All words to the first table. */
static ms_status gather(ms_bpe_trainer *t, ms_error *err)
{
    for (int i = 1; i < t->threads; i++) {
        const word_table *from = &t->table[i];

        for (size_t k = 0; k < from->slots; k++) {
            const word *w = &from->slot[k];

            if (w->count)
                MS_TRY(count_word(&t->table[0], from->text + w->at, w->bytes, w->count, err));
        }
    }
    if (t->table[0].words == 0) return ms_fail(err, MS_INPUT, "the text is empty");
    return MS_OK;
}

static ms_status train(ms_bpe_trainer *t, learner *l, ms_tokenizer *made, ms_error *err)
{
    made->splitter = t->splitter;
    t->splitter = NULL;
    MS_TRY(reserve_learner(l, &t->table[0], err));
    first_tokens(l);
    take_words(l, &t->table[0]);
    MS_TRY(learn(l, t->o.min_frequency, err));
    return make_tokenizer(l, &t->o, made, err);
}

ms_status ms_bpe_trainer_finish(ms_bpe_trainer *t, ms_tokenizer **out, ms_error *err)
{
    learner l = {.wanted = t->o.vocab, .specials = t->o.special_count};
    ms_tokenizer *made = NULL;
    ms_status s = gather(t, err);

    if (!s) s = ms_vocabulary_new(&made, MS_SYMBOLS_BYTES, err);
    if (!s) s = train(t, &l, made, err);
    free_learner(&l);
    ms_bpe_trainer_free(t);
    if (s) {
        ms_tokenizer_free(made);
        return s;
    }
    *out = made;
    return MS_OK;
}
