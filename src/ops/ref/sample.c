/* sample - a token from logits: temperature, top-k, top-p, min-p */
#include "ops/ref/ref.h"

#include <string.h>

/* A row being sorted: ids by falling probability, equal ones by rising id. */
typedef struct {
    int32_t *rank;      /* (V) ids */
    const double *prob; /* (V) by id */
} ranking;

static bool before(const ranking *r, int32_t a, int32_t b)
{
    return r->prob[a] > r->prob[b] || (r->prob[a] == r->prob[b] && a < b);
}

/* Restores the heap (last on top) below position i of n. */
static void sift(const ranking *r, int i, int n)
{
    for (int child; (child = 2 * i + 1) < n; i = child) {
        int32_t moved = r->rank[i];

        if (child + 1 < n && before(r, r->rank[child], r->rank[child + 1])) child++;
        if (!before(r, moved, r->rank[child])) return;
        r->rank[i] = r->rank[child];
        r->rank[child] = moved;
    }
}

/* Heap sort: in place, and the order is total, so the result is unique. */
static void sort(const ranking *r, int V)
{
    for (int i = 0; i < V; i++) r->rank[i] = i;
    for (int i = V / 2 - 1; i >= 0; i--) sift(r, i, V);
    for (int n = V - 1; n > 0; n--) {
        int32_t first = r->rank[0];

        r->rank[0] = r->rank[n];
        r->rank[n] = first;
        sift(r, 0, n);
    }
}

/* How many of the sorted tokens are kept: at least one. */
static int kept(const ranking *r, const ms_how *how, int V)
{
    int n = how->top_k > 0 && how->top_k < V ? how->top_k : V, prefix = 0;
    double sum = 0, running = 0;

    for (int i = 0; i < n; i++) sum += r->prob[r->rank[i]];
    while (prefix < n) {
        running += r->prob[r->rank[prefix++]];
        if (running >= how->top_p * sum) break;
    }
    n = prefix;
    while (n > 1 && r->prob[r->rank[n - 1]] < how->min_p * r->prob[r->rank[0]]) n--;
    return n;
}

static int32_t draw(const ranking *r, const ms_how *how, int n)
{
    ms_philox_block block =
        ms_philox(how->key, how->position, how->stream, 0, (uint32_t)MS_SITE_SAMPLE);
    double sum = 0, running = 0, u;

    for (int i = 0; i < n; i++) sum += r->prob[r->rank[i]];
    u = ms_uniform(block.word[0]) * sum;
    for (int i = 0; i < n; i++) {
        running += r->prob[r->rank[i]];
        if (running > u) return r->rank[i];
    }
    return r->rank[n - 1];
}

static int32_t largest(const double *z, int V)
{
    int32_t best = 0;

    for (int32_t i = 1; i < V; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

void ms_ref_sample(ms_queue *q, const ms_sample_args *a)
{
    int V = a->z.dim[1];

    for (int b = 0; b < a->z.dim[0]; b++) {
        const double *z = ms_ref_row(a->z, b);
        double *prob = ms_ref_row(a->prob, b);
        ranking r = {(int32_t *)a->rank.data + (size_t)b * (size_t)V, prob};
        int32_t *id = (int32_t *)a->id.data + b, best = largest(z, V);
        ms_how how;

        memcpy(&how, ms_ref_ints(a->how) + (size_t)b * 8, sizeof how);
        if (q->magnitude || how.temperature <= 0) { /* ids are exact */
            *id = q->magnitude ? 0 : best;
            continue;
        }
        for (int i = 0; i < V; i++) prob[i] = exp((z[i] - z[best]) / how.temperature);
        sort(&r, V);
        *id = draw(&r, &how, kept(&r, &how, V));
    }
}
