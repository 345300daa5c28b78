/* sample - a token from logits: temperature, top-k, top-p, min-p
 *
 * The tokens that are kept are a prefix of the order by falling probability.  That order is taken
 * from a heap one by one, so a row costs O(V + kept log V). */
#include "ops/cpu/kernel.h"

#include "base/rng.h"

#include <math.h>

typedef struct {
    int32_t *rank;     /* (V): a heap of those left in front, those taken at the end, backwards */
    const float *prob; /* (V) by id */
    int left, V;
} heap;

static bool before(const heap *h, int32_t a, int32_t b)
{
    return h->prob[a] > h->prob[b] || (h->prob[a] == h->prob[b] && a < b);
}

static void sift(heap *h, int i)
{
    int32_t moved = h->rank[i];

    for (int child; (child = 2 * i + 1) < h->left; i = child) {
        if (child + 1 < h->left && before(h, h->rank[child + 1], h->rank[child])) child++;
        if (before(h, moved, h->rank[child])) break;
        h->rank[i] = h->rank[child];
    }
    h->rank[i] = moved;
}

static void make_heap(heap *h)
{
    for (int i = 0; i < h->V; i++) h->rank[i] = i;
    for (int i = h->V / 2 - 1; i >= 0; i--) sift(h, i);
}

/* Moves the most probable of those left behind the heap. */
static int32_t take(heap *h)
{
    int32_t best = h->rank[0];

    h->rank[0] = h->rank[--h->left];
    h->rank[h->left] = best;
    if (h->left > 0) sift(h, 0);
    return best;
}

/* The i-th taken. */
static int32_t taken(const heap *h, int i)
{
    return h->rank[h->V - 1 - i];
}

/* Sum of the first k by falling probability; all when k is V. */
static double sum_of(heap *h, int k)
{
    double sum = 0;

    if (k == h->V) {
        for (int i = 0; i < h->V; i++) sum += h->prob[i];
        return sum;
    }
    for (int i = 0; i < k; i++) sum += h->prob[take(h)];
    return sum;
}

/* How many of the order are kept: at least one.  They are taken. */
static int kept(heap *h, const ms_how *how)
{
    int n = how->top_k > 0 && how->top_k < h->V ? how->top_k : h->V, prefix = 0;
    double sum = sum_of(h, n), running = 0;

    while (prefix < n) {
        int32_t id = prefix < h->V - h->left ? taken(h, prefix) : take(h);

        if (prefix > 0 && h->prob[id] < how->min_p * h->prob[taken(h, 0)]) break;
        running += h->prob[id];
        prefix++;
        if (running >= how->top_p * sum) break;
    }
    return prefix;
}

static int32_t draw(const heap *h, const ms_how *how, int n)
{
    ms_philox_block block =
        ms_philox(how->key, how->position, how->stream, 0, (uint32_t)MS_SITE_SAMPLE);
    double sum = 0, running = 0, u;

    for (int i = 0; i < n; i++) sum += h->prob[taken(h, i)];
    u = ms_uniform(block.word[0]) * sum;
    for (int i = 0; i < n; i++) {
        running += h->prob[taken(h, i)];
        if (running > u) return taken(h, i);
    }
    return taken(h, n - 1);
}

static int32_t largest(const float *z, int V)
{
    int32_t best = 0;

    for (int32_t i = 1; i < V; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

static int32_t sample_row(const ms_sample_args *a, int b)
{
    int V = a->z.dim[1];
    const float *z = cpu_row(a->z, b);
    float *prob = cpu_row(a->prob, b);
    heap h = {(int32_t *)a->rank.data + (size_t)b * (size_t)V, prob, V, V};
    int32_t best = largest(z, V);
    ms_how how;

    memcpy(&how, (const int32_t *)a->how.data + (size_t)b * 8, sizeof how);
    if (how.temperature <= 0) return best;
    for (int i = 0; i < V; i += VF) {
        int m = V - i < VF ? V - i : VF;

        vf_store_part(prob + i, vf_exp((vf_load_part(z + i, m) - z[best]) / how.temperature), m);
    }
    make_heap(&h);
    return draw(&h, &how, kept(&h, &how));
}

static void region(void *arg, int thread, int threads)
{
    const ms_sample_args *a = arg;

    for (int b = thread; b < a->z.dim[0]; b += threads)
        ((int32_t *)a->id.data)[b] = sample_row(a, b);
}

void CPU(sample)(ms_queue *q, const ms_sample_args *a)
{
    ms_sample_args copy = *a;

    cpu_run(q, 16 * ms_count(a->z), region, &copy);
}
