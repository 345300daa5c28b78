/* sample - a token from logits: temperature, top-k, top-p, min-p
 *
 * The tokens that are kept are a prefix of the order by falling probability, ties by rising id.  No
 * row is sorted: places in that order are found by the digits of probabilities, from the upper one
 * down, each time among those tokens that share the digits before.  Each digit has a histogram of
 * counts and sums, so a place can be asked for by its number or by the sum up to it.
 *
 *   bits of a probability, at most those of 1:  | 14 first digit | 9 second | 9 third | */
#include "ops/cpu/kernel.h"

#include "base/rng.h"

#include <math.h>

enum { FIRST_BITS = 18, SECOND_BITS = 9, BINS = (0x3f800000 >> FIRST_BITS) + 1, LOW_BINS = 512 };

typedef struct {
    double sum;
    int count;
} bin;

typedef struct {
    const float *prob; /* (V) by id */
    int32_t *left;     /* (V): tokens that share the digits looked at so far, by rising id */
    int V;
    bin *first; /* (BINS): of all tokens, by their first digit */
    bin *low;   /* (LOW_BINS) */
} table;

/* A place in the order: the token there, how many there are up to it, and their sum. */
typedef struct {
    int32_t id;
    int count;
    double sum;
} place;

/* Which place: the first whose count reaches `count` or whose sum reaches, or exceeds, `sum`. */
typedef struct {
    int count;
    double sum;
    bool exceeds;
} wanted;

static uint32_t bits_of(float p)
{
    uint32_t bits;

    memcpy(&bits, &p, sizeof bits);
    return bits;
}

static bool reached(const wanted *w, int count, double sum)
{
    return count >= w->count || sum > w->sum || (sum == w->sum && !w->exceeds);
}

/* Passes bins, from the largest digit down, until one has the place in it; returns that.  The
 * place is in one of them: where rounding denies it, in the last that has tokens. */
static int pass_bins(const bin *b, int bins, const wanted *w, place *p)
{
    int last = 0;
    place before = *p;

    for (int i = bins - 1; i >= 0; i--) {
        if (b[i].count == 0) continue;
        last = i;
        before = *p;
        if (reached(w, p->count + b[i].count, p->sum + b[i].sum)) break;
        p->count += b[i].count;
        p->sum += b[i].sum;
    }
    *p = before;
    return last;
}

/* Narrows the tokens left to those of one digit, found by a histogram of it. */
static int pass_digit(const table *t, int left, int shift, const wanted *w, place *p)
{
    int digit, n = 0;

    memset(t->low, 0, LOW_BINS * sizeof *t->low);
    for (int i = 0; i < left; i++) {
        float prob = t->prob[t->left[i]];
        bin *b = &t->low[bits_of(prob) >> shift & (LOW_BINS - 1)];

        b->count++;
        b->sum += prob;
    }
    digit = pass_bins(t->low, LOW_BINS, w, p);
    for (int i = 0; i < left; i++) {
        t->left[n] = t->left[i];
        n += (int)(bits_of(t->prob[t->left[i]]) >> shift & (LOW_BINS - 1)) == digit;
    }
    return n;
}

/* The tokens of a first digit; most blocks have none and are passed without a branch an element. */
static int take_digit(const table *t, int digit)
{
    enum { BLOCK = 64 };
    int left = 0;

    for (int i = 0; i < t->V; i += BLOCK) {
        int end = t->V - i < BLOCK ? t->V : i + BLOCK, found = 0;

        for (int k = i; k < end; k++) found |= (int)(bits_of(t->prob[k]) >> FIRST_BITS) == digit;
        for (int k = i; found && k < end; k++) {
            t->left[left] = k;
            left += (int)(bits_of(t->prob[k]) >> FIRST_BITS) == digit;
        }
    }
    return left;
}

/* By insertion: few, or all alike. */
static void sort_left(const table *t, int left)
{
    for (int i = 1; i < left; i++) {
        int32_t id = t->left[i];
        int k = i;

        for (; k > 0 && t->prob[t->left[k - 1]] < t->prob[id]; k--) t->left[k] = t->left[k - 1];
        t->left[k] = id;
    }
}

static place find(const table *t, wanted w)
{
    enum { FEW = 24 };
    place p = {0};
    int left = take_digit(t, pass_bins(t->first, BINS, &w, &p));

    if (left > FEW) left = pass_digit(t, left, SECOND_BITS, &w, &p);
    if (left > FEW) left = pass_digit(t, left, 0, &w, &p);
    sort_left(t, left);
    for (int i = 0; i < left; i++) {
        p.id = t->left[i];
        p.count++;
        p.sum += t->prob[p.id];
        if (reached(&w, p.count, p.sum)) break;
    }
    return p;
}

static void fill_first(const table *t)
{
    memset(t->first, 0, BINS * sizeof *t->first);
    for (int i = 0; i < t->V; i++) {
        bin *b = &t->first[bits_of(t->prob[i]) >> FIRST_BITS];

        b->count++;
        b->sum += t->prob[i];
    }
}

/* Up to the last token that is kept.  The largest probability is 1. */
static place kept(const table *t, const ms_how *how)
{
    place all = {.count = t->V}, p;

    for (int i = BINS - 1; i >= 0; i--) all.sum += t->first[i].sum;
    if (how->top_k > 0 && how->top_k < t->V) all = find(t, (wanted){how->top_k, INFINITY, true});
    if (how->top_p < 1) {
        p = find(t, (wanted){all.count, how->top_p * all.sum, false});
        if (p.count < all.count) all = p;
    }
    if (how->min_p > 0) {
        p = (place){0};
        for (int i = 0; i < t->V; i++) p.count += t->prob[i] >= how->min_p;
        if (p.count < all.count) all = find(t, (wanted){p.count > 0 ? p.count : 1, INFINITY, true});
    }
    return all;
}

static int32_t draw(const table *t, const ms_how *how)
{
    ms_philox_block block =
        ms_philox(how->key, how->position, how->stream, 0, (uint32_t)MS_SITE_SAMPLE);
    place last = kept(t, how);

    return find(t, (wanted){last.count, ms_uniform(block.word[0]) * last.sum, true}).id;
}

/* The lowest id of the largest logit. */
static int32_t largest(const float *z, int V, float *value)
{
    vf none = vf_all(-INFINITY), most[4] = {none, none, none, none};
    int i = 0;

    for (; i + 4 * VF <= V; i += 4 * VF)
        for (int k = 0; k < 4; k++) most[k] = vf_max(vf_load(z + i + k * VF), most[k]);
    for (; i < V; i += VF)
        most[0] = vf_max(vf_load_part_or(z + i, V - i < VF ? V - i : VF, none), most[0]);
    *value = vf_highest(vf_max(vf_max(most[0], most[1]), vf_max(most[2], most[3])));
    for (i = 0; i + 64 <= V; i += 64) { /* most blocks are passed without a branch an element */
        int found = 0;

        for (int k = 0; k < 64; k++) found |= z[i + k] == *value;
        if (found) break;
    }
    while (i < V - 1 && z[i] != *value) i++;
    return i;
}

static int32_t sample_row(const ms_sample_args *a, int b, bin *bins)
{
    int V = a->z.dim[1];
    const float *z = cpu_row(a->z, b);
    float *prob = cpu_row(a->prob, b), most;
    int32_t best = largest(z, V, &most), *left = (int32_t *)a->rank.data + (size_t)b * (size_t)V;
    table t = {prob, left, V, bins, bins + BINS};
    ms_how how;

    memcpy(&how, (const int32_t *)a->how.data + (size_t)b * 8, sizeof how);
    if (how.temperature <= 0) return best;
    VF_ROW(i, m, V,
           vf_store_part(prob + i, vf_exp((vf_load_part(z + i, m) - most) / how.temperature), m););
    fill_first(&t);
    return draw(&t, &how);
}

typedef struct {
    ms_queue *q;
    const ms_sample_args *a;
} job;

static void region(void *arg, int thread, int threads)
{
    const job *f = arg;
    bin *bins = (bin *)(void *)cpu_work(f->q, thread);

    for (int b = thread; b < f->a->z.dim[0]; b += threads)
        ((int32_t *)f->a->id.data)[b] = sample_row(f->a, b, bins);
}

void CPU(sample)(ms_queue *q, const ms_sample_args *a)
{
    job f = {q, a};

    cpu_run(q, 60 * ms_count(a->z), region, &f);
}
