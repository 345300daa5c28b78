/* conform_judge - results against the reference and its error scale */
#include "conformance.h"
#include "contracts.h"

#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double eps_of(ms_dtype real)
{
    return real == MS_F64 ? 0x1p-52 : 0x1p-23;
}

static double tiny_of(ms_dtype real)
{
    return real == MS_F64 ? 0x1p-1022 : 0x1p-126;
}

/* Error over bound: at most 1 is right.  No number must be met by no number. */
static double excess(double got, double exact, double bound)
{
    if (!isfinite(exact)) return isfinite(got) ? INFINITY : 0;
    if (!isfinite(got)) return INFINITY;
    if (got == exact) return 0;
    return bound > 0 ? fabs(got - exact) / bound : INFINITY;
}

static void judge_reals(trial *t, int i)
{
    const ms_case *c = &t->got.c;
    ms_dtype real = t->got.queue.device->real;
    size_t n = ms_count(*operand_of(&t->got.c.args, c->op, i));

    for (size_t k = 0; k < n; k++) {
        double exact = ms_call_real(&t->ref, t->exact, i, k);
        double scale = ms_call_real(&t->ref, t->ref.result, i, k);
        double got = ms_call_real(&t->got, t->bits, i, k);
        double bound = c->bound[i] * (eps_of(real) * scale + (scale > 0 ? tiny_of(real) : 0));
        double e = excess(got, exact, bound);

        if (bound > FLT_MAX) continue; /* says nothing of a float: spikes that exp blows up */
        t->result->elements++;
        t->result->sum += isfinite(e) ? e : 0;
        if (e > t->result->worst) t->result->worst = e;
        if (e <= 1) continue;
        trial_fail(t, "%s[%zu]: got %.9g, expected %.9g, bound %.3g", operand_name(c->op, i), k,
                   got, exact, bound);
        return;
    }
}

/* -- sampling -------------------------------------------------------------------------------- */

/* A token of a row; the row is sorted: rising id, falling logit. */
typedef struct {
    double z, p; /* logit, probability before normalisation */
    double sum;  /* of p of all before this one */
    int id;
} token;

/* Who rounds may take probabilities within a factor of 1 + slack of exact ones for each other.
 * Tokens of equal logits stay in their order. */
typedef struct {
    const token *t; /* (V + 1): the last has the sum of all */
    int V;
    double slack;
    ms_how how;
    double total; /* of the first top_k */
} draw;

static int by_logit(const void *a, const void *b)
{
    const token *x = a, *y = b;

    if (x->z != y->z) return x->z > y->z ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* How many tokens have p > limit; their p falls. */
static int above(const draw *d, double limit)
{
    int low = 0, high = d->V;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (d->t[middle].p > limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sum and count of the tokens that stand before place k: surely, or perhaps. */
static double before(const draw *d, int k, bool surely, int *count)
{
    int first = k, end = k + 1, n;

    while (first > 0 && d->t[first - 1].z == d->t[k].z) first--;
    while (end < d->V && d->t[end].z == d->t[k].z) end++;
    if (surely) {
        n = above(d, d->t[k].p * (1 + d->slack));
        *count = n + k - first;
        return d->t[n].sum + d->t[k].sum - d->t[first].sum;
    }
    n = above(d, d->t[k].p * (1 - d->slack));
    if (n < end) n = end;
    *count = n - (end - k);
    return d->t[n].sum - (d->t[end].sum - d->t[k].sum);
}

/* Whether the token at place k must be among those that are kept, or may be. */
static bool kept(const draw *d, int k, bool surely)
{
    double slack = surely ? d->slack : -d->slack, sum;
    int count;

    sum = before(d, k, !surely, &count);
    if (d->how.top_k > 0 && count >= d->how.top_k) return false;
    if (count > 0 && sum * (1 + slack) >= (double)d->how.top_p * d->total) return false;
    return d->t[k].p >= (double)d->how.min_p * d->t[0].p * (1 + slack) || count == 0;
}

static bool may_draw(const draw *d, int id)
{
    ms_philox_block block =
        ms_philox(d->how.key, d->how.position, d->how.stream, 0, (uint32_t)MS_SITE_SAMPLE);
    double least = 0, most = 0, u = ms_uniform(block.word[0]), from, to;
    int k = 0, count;

    while (d->t[k].id != id) k++;
    if (!kept(d, k, false)) return false;
    for (int j = 0; j < d->V && (j == 0 || kept(d, j, false)); j++) {
        if (kept(d, j, true)) least += d->t[j].p;
        most += d->t[j].p;
    }
    from = before(d, k, true, &count) * (1 - d->slack);
    to = (before(d, k, false, &count) + d->t[k].p) * (1 + d->slack);
    return u * most >= from && u * least <= to;
}

static void sort_row(trial *t, int b, token *row, int V, double temperature)
{
    int at = operand_named(MS_OP_sample, "z");

    for (int j = 0; j < V; j++) {
        row[j].z = ms_call_real(&t->ref, t->ref.image, at, (size_t)b * (size_t)V + (size_t)j);
        row[j].id = j;
    }
    qsort(row, (size_t)V, sizeof *row, by_logit);
    row[0].sum = 0;
    for (int j = 0; j < V; j++) {
        row[j].p = exp((row[j].z - row[0].z) / temperature);
        row[j + 1].sum = row[j].sum + row[j].p;
    }
}

static void judge_draw(trial *t, int b, int32_t id)
{
    int V = t->got.c.args.sample.z.dim[1], k = t->got.c.how.top_k;
    token *row = malloc(((size_t)V + 1) * sizeof *row);
    draw d = {.t = row, .V = V, .slack = 0x1p-23 * (8 + V / 8.0)};

    if (!row) {
        trial_fail(t, "out of memory");
        return;
    }
    memcpy(&d.how,
           t->got.image + t->got.at[operand_named(MS_OP_sample, "how")] + (size_t)b * sizeof d.how,
           sizeof d.how);
    sort_row(t, b, row, V, (double)d.how.temperature);
    d.total = row[k > 0 && k < V ? k : V].sum;
    if (!may_draw(&d, id)) trial_fail(t, "id[%d]: %d cannot be drawn", b, (int)id);
    free(row);
}

/* Ids: equal to ref's; where rounding may decide, any that it may. */
static void judge_sample(trial *t, int i)
{
    const ms_case *c = &t->got.c;
    int B = c->args.sample.id.dim[0], V = c->args.sample.z.dim[1];

    for (int b = 0; b < B; b++) {
        int32_t got, exact;

        memcpy(&got, t->bits + t->got.at[i] + (size_t)b * sizeof got, sizeof got);
        memcpy(&exact, t->exact + t->ref.at[i] + (size_t)b * sizeof exact, sizeof exact);
        t->result->elements++;
        if (got == exact) continue;
        if (got >= 0 && got < V && c->how.temperature > 0)
            judge_draw(t, b, got);
        else
            trial_fail(t, "id[%d]: got %d, expected %d", b, (int)got, (int)exact);
    }
}

void judge(trial *t)
{
    ms_case *c = &t->got.c;

    for (int i = 0; i < operand_count(c->op) && !trial_over(t); i++) {
        if (t->got.bytes[i] == 0 || !operand_written(c->op, i)) continue;
        if (c->op == MS_OP_sample)
            judge_sample(t, i);
        else if (operand_of(&c->args, c->op, i)->dtype == t->got.queue.device->real)
            judge_reals(t, i);
        else if (memcmp(t->bits + t->got.at[i], t->exact + t->ref.at[i], t->got.bytes[i]) != 0)
            trial_fail(t, "%s: bytes differ", operand_name(c->op, i));
    }
}
