/* beam - beam search: the best of several continuations kept side by side */
#include "infer/beam.h"

#include <math.h>
#include <stdlib.h>

/* Hypotheses are paths in a tree: they share what they have in common. */
typedef struct {
    int32_t id;
    size_t parent; /* the root's children: 0, the root itself */
} node;

typedef struct {
    double log_probability;
    int32_t id;  /* its last token */
    int parent;  /* index in live of the step before */
    int slot;    /* of the engine: where its cache is */
    size_t node; /* of its last token */
} hypothesis;

typedef struct {
    ms_engine *e;
    const ms_beam_options *o;
    int keys;   /* tokens in front of the first generated one */
    int length; /* tokens of each live hypothesis */
    int width;  /* beams that have not ended */
    node *node; /* [0] is the root */
    size_t nodes;
    hypothesis *live, *next; /* sorted, best first */
    int lives, nexts;
    bool *taken;     /* (slots) */
    hypothesis best; /* of those that are complete */
    int best_length; /* 0: none is */
    double best_score;
} search;

static double score(const search *s, double log_probability, int length)
{
    return log_probability / pow(length, s->o->length_penalty);
}

static void complete(search *s, const hypothesis *h)
{
    double points = score(s, h->log_probability, s->length);

    if (s->best_length && points <= s->best_score) return;
    s->best = *h;
    s->best_length = s->length;
    s->best_score = points;
}

/* Whether a live hypothesis may still beat the best complete one.  Log probabilities only fall, so
 * no continuation scores above the same sum at the length that the penalty likes best. */
static bool can_improve(const search *s)
{
    int length = s->o->length_penalty >= 0 ? s->o->limit : s->length;

    if (!s->best_length) return true;
    return score(s, s->live[0].log_probability, length) > s->best_score;
}

/* -- one step -------------------------------------------------------------------------------- */

/* Inserts a continuation behind those that are as good; s->next holds the best `width`. */
static void offer(search *s, int parent, int32_t id, double log_probability)
{
    int at = s->nexts;

    if (at == s->width && !(log_probability > s->next[at - 1].log_probability)) return;
    if (at == s->width)
        at--;
    else
        s->nexts++;
    for (; at > 0 && log_probability > s->next[at - 1].log_probability; at--)
        s->next[at] = s->next[at - 1];
    s->next[at] = (hypothesis){.log_probability = log_probability, .id = id, .parent = parent};
}

static ms_status choose(search *s, ms_error *err)
{
    int vocab = s->e->m->config.vocab;

    s->nexts = 0;
    for (int i = 0; i < s->lives; i++) {
        const float *z = s->e->logits + (size_t)s->live[i].slot * (size_t)vocab;
        double lse;

        MS_TRY(ms_log_sum_exp(z, vocab, &lse, err));
        for (int id = 0; id < vocab; id++)
            offer(s, i, id, s->live[i].log_probability + (z[id] - lse));
    }
    return MS_OK;
}

/* Gives the chosen ones their nodes; those that end leave the beams. */
static void extend(search *s)
{
    int kept = 0, chosen = s->nexts;

    s->length++;
    for (int i = 0; i < chosen; i++) {
        hypothesis h = s->next[i];

        s->node[s->nodes] = (node){h.id, s->live[h.parent].node};
        h.node = s->nodes++;
        if (h.id == s->o->eos) {
            complete(s, &h);
            s->width--;
        } else {
            s->next[kept++] = h;
        }
    }
    s->nexts = kept;
}

/* The first child of a hypothesis goes on in its slot, the others get copies in slots that nobody
 * goes on in: no copy overwrites what another one reads. */
static ms_status move_caches(search *s, ms_error *err)
{
    int free_slot = 0;

    for (int i = 0; i < s->e->slots; i++) s->taken[i] = false;
    for (int i = 0; i < s->nexts; i++) {
        int slot = s->live[s->next[i].parent].slot;

        s->next[i].slot = s->taken[slot] ? -1 : slot;
        s->taken[slot] = true;
    }
    for (int i = 0; i < s->nexts; i++) {
        int from = s->live[s->next[i].parent].slot;

        if (s->next[i].slot >= 0) continue;
        while (s->taken[free_slot]) free_slot++;
        s->taken[free_slot] = true;
        s->next[i].slot = free_slot;
        MS_TRY(ms_pass_copy_cache(s->e->decode, from, free_slot, s->keys + s->length - 1, err));
    }
    return MS_OK;
}

static ms_status run_live(search *s, ms_error *err)
{
    for (int i = 0; i < s->e->slots; i++) s->e->seq[i] = (ms_seq){0, 0};
    for (int i = 0; i < s->lives; i++) {
        s->e->id[s->live[i].slot] = s->live[i].id;
        s->e->seq[s->live[i].slot] = (ms_seq){s->keys + s->length - 1, 1};
    }
    return ms_engine_step(s->e, err);
}

/* -- the search ------------------------------------------------------------------------------ */

static ms_status run(search *s, bool *stopped, ms_error *err)
{
    for (;;) {
        hypothesis *spare = s->live;

        *stopped = s->o->stop && s->o->stop(s->o->data);
        if (*stopped) return MS_OK;
        MS_TRY(choose(s, err));
        extend(s);
        MS_TRY(move_caches(s, err));
        s->live = s->next;
        s->lives = s->nexts;
        s->next = spare;
        if (!s->lives || s->length == s->o->limit || !can_improve(s)) return MS_OK;
        MS_TRY(run_live(s, err));
    }
}

static void give(search *s, ms_beam_result *out, bool stopped)
{
    for (int i = 0; i < s->lives && s->length > 0; i++) complete(s, &s->live[i]);
    out->count = (size_t)s->best_length;
    out->log_probability = s->best_length ? s->best.log_probability : 0;
    out->stopped = stopped;
    size_t at = s->best.node;
    for (size_t i = out->count; i-- > 0; at = s->node[at].parent) out->ids[i] = s->node[at].id;
    out->ended = out->count && out->ids[out->count - 1] == s->o->eos;
}

static ms_status make(search *s, ms_error *err)
{
    size_t slots = (size_t)s->e->slots, nodes;

    if (!ms_size_mul(slots, (size_t)s->o->limit, &nodes) || nodes >= SIZE_MAX / sizeof *s->node)
        return ms_fail(err, MS_MEMORY, "%zu beams of %d tokens are too many", slots, s->o->limit);
    s->node = calloc(nodes + 1, sizeof *s->node);
    s->live = calloc(slots, sizeof *s->live);
    s->next = calloc(slots, sizeof *s->next);
    s->taken = calloc(slots, sizeof *s->taken);
    if (!s->node || !s->live || !s->next || !s->taken)
        return ms_fail(err, MS_MEMORY, "out of memory for %zu beams", slots);
    s->nodes = 1;
    s->lives = 1; /* the prompt, in slot 0 */
    return MS_OK;
}

ms_status ms_beam_search(ms_engine *e, int keys, const ms_beam_options *o, ms_beam_result *out,
                         ms_error *err)
{
    search s = {.e = e, .o = o, .keys = keys, .width = e->slots};
    bool stopped = false;
    ms_status status = make(&s, err);

    if (!status) status = ms_engine_place(e, 0, keys, err);
    if (!status) status = run(&s, &stopped, err);
    if (!status) give(&s, out, stopped);
    free(s.node);
    free(s.live);
    free(s.next);
    free(s.taken);
    return status;
}
