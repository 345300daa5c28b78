/* generate - continue prompts: greedy, sampled, or by beams; one alone or many in a batch */
#include "infer/generate.h"

#include "base/clock.h"
#include "infer/beam.h"
#include "infer/engine.h"
#include "infer/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A prompt's tokens, and how many may follow. */
typedef struct {
    int32_t *ids;
    size_t count;
    int limit;
} prompt;

/* A place in the batch; a prompt that ends makes room for the next one. */
typedef struct {
    bool live;
    size_t index; /* of its prompt */
    int length;   /* tokens in the cache */
    int32_t last; /* drawn, and not yet in the cache */
    ms_output output;
    ms_generated sums; /* log_probability, stop and times so far */
} slot;

typedef struct {
    const ms_generate_options *o;
    ms_model *m;
    const ms_tokenizer *tokenizer;
    prompt *prompt;
    size_t prompts, started;
    ms_generated *result;
    int eos; /* -1: nothing ends a text early */
    ms_engine engine;
    slot *slot;     /* (slots) */
    ms_how *how;    /* (slots) */
    int32_t *drawn; /* (slots) */
} job;

ms_generate_options ms_generate_defaults(void)
{
    return (ms_generate_options){.max_tokens = 256,
                                 .temperature = 1,
                                 .top_p = 1,
                                 .seed = 1,
                                 .beams = 1,
                                 .length_penalty = 1,
                                 .batch = 1};
}

void ms_generated_clear(ms_generated *g)
{
    free(g->text);
    free(g->ids);
    *g = (ms_generated){0};
}

/* -- checks ---------------------------------------------------------------------------------- */

ms_status ms_generate_check(const ms_generate_options *o, ms_error *err)
{
    if (o->max_tokens < 0)
        return ms_fail(err, MS_INPUT, "tokens: expected 0 or more, got %d", o->max_tokens);
    if (!(o->temperature >= 0 && isfinite(o->temperature)))
        return ms_fail(err, MS_INPUT, "temperature: expected 0 or more, got %g", o->temperature);
    if (o->top_k < 0)
        return ms_fail(err, MS_INPUT, "top-k: expected 0 (all) or more, got %d", o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return ms_fail(err, MS_INPUT, "top-p: expected above 0 to 1, got %g", o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return ms_fail(err, MS_INPUT, "min-p: expected 0 to 1, got %g", o->min_p);
    if (o->beams < 1) return ms_fail(err, MS_INPUT, "beams: expected 1 or more, got %d", o->beams);
    if (!isfinite(o->length_penalty))
        return ms_fail(err, MS_INPUT, "length penalty: expected a number, got %g",
                       o->length_penalty);
    if (o->batch < 1) return ms_fail(err, MS_INPUT, "batch: expected 1 or more, got %d", o->batch);
    return MS_OK;
}

/* -- prompts --------------------------------------------------------------------------------- */

/* An empty prompt starts from the model's start-of-text token. */
static ms_status encode_empty(const job *j, prompt *p, ms_error *err)
{
    int bos = ms_tokenizer_bos(j->tokenizer);

    if (bos < 0) bos = j->m->config.bos;
    if (bos < 0)
        return ms_fail(err, MS_INPUT,
                       "the prompt is empty, and this model has no token to start a text with");
    p->ids = malloc(sizeof *p->ids);
    if (!p->ids) return ms_fail(err, MS_MEMORY, "out of memory for a prompt");
    p->ids[0] = bos;
    p->count = 1;
    return MS_OK;
}

static ms_status encode(const job *j, prompt *p, const char *text, ms_error *err)
{
    int context = j->m->config.context, vocab = j->m->config.vocab, room;

    if (text[0])
        MS_TRY(ms_tokenizer_encode(j->tokenizer, text, strlen(text),
                                   MS_ENCODE_SPECIALS | MS_ENCODE_FRAME, &p->ids, &p->count, err));
    else
        MS_TRY(encode_empty(j, p, err));
    for (size_t i = 0; i < p->count; i++)
        if (p->ids[i] < 0 || p->ids[i] >= vocab)
            return ms_fail(err, MS_INPUT, "token %zu is %d, but the model has %d", i,
                           (int)p->ids[i], vocab);
    if (p->count > (size_t)context)
        return ms_fail(err, MS_INPUT, "the prompt has %zu tokens: more than the context of %d",
                       p->count, context);
    room = context - (int)p->count;
    p->limit = j->o->max_tokens < room ? j->o->max_tokens : room;
    return MS_OK;
}

/* All prompts, before anything runs: a bad one stops the job before it has shown any text. */
static ms_status encode_all(job *j, const char *const *text, ms_error *err)
{
    for (size_t i = 0; i < j->prompts; i++) {
        ms_error fault;
        ms_status s = encode(j, &j->prompt[i], text[i], &fault);

        if (!s) continue;
        if (j->prompts == 1) return ms_fail(err, s, "%s", fault.message);
        return ms_fail(err, s, "prompt %zu: %s", i + 1, fault.message);
    }
    return MS_OK;
}

/* Rows a cache needs: those of the longest prompt with all that may follow. */
static int longest(const job *j)
{
    int keys = 1;

    for (size_t i = 0; i < j->prompts; i++) {
        int n = (int)j->prompt[i].count + j->prompt[i].limit;

        if (n > keys) keys = n;
    }
    return keys;
}

/* -- the end of a prompt ----------------------------------------------------------------------- */

/* Shows what the last token made whole; true when the caller wants no more. */
static bool show(job *j, slot *s)
{
    size_t size_bytes;
    const char *text = ms_output_fresh(&s->output, &size_bytes);

    return j->o->on_text && j->o->on_text(j->o->data, s->index, text, size_bytes);
}

/* Moves what the slot has into the result. */
static void finish(job *j, slot *s, ms_stop stop)
{
    ms_generated *g = &j->result[s->index];

    *g = s->sums;
    g->stop = stop;
    g->prompt_tokens = j->prompt[s->index].count;
    g->text = s->output.text.data;
    g->ids = s->output.ids;
    g->count = s->output.count;
    s->output.text = (ms_bytes){0};
    s->output.ids = NULL;
    ms_output_free(&s->output);
    s->live = false;
    if (j->o->on_done) j->o->on_done(j->o->data, s->index, g);
}

static ms_stop limit_reason(const job *j, const slot *s)
{
    return j->prompt[s->index].limit == j->o->max_tokens ? MS_STOP_LENGTH : MS_STOP_CONTEXT;
}

/* Opens a slot for the next prompt; *ended when it needs no token at all. */
static ms_status open_slot(job *j, slot *s, bool *ended, ms_error *err)
{
    const prompt *p = &j->prompt[j->started];

    *s = (slot){.live = true, .index = j->started++};
    MS_TRY(ms_output_new(&s->output, j->tokenizer, (size_t)p->limit, err));
    *ended = true;
    if (show(j, s))
        finish(j, s, MS_STOP_ASKED);
    else if (p->limit == 0)
        finish(j, s, limit_reason(j, s));
    else
        *ended = false;
    return MS_OK;
}

/* -- drawing token by token -------------------------------------------------------------------- */

/* The stream of draws depends on seed and position alone, never on the slot. */
static ms_how how_to_draw(const job *j, const slot *s)
{
    return (ms_how){.temperature = j->o->temperature,
                    .top_k = j->o->top_k,
                    .top_p = j->o->top_p,
                    .min_p = j->o->min_p,
                    .key = {(uint32_t)j->o->seed, (uint32_t)(j->o->seed >> 32)},
                    .position = (uint32_t)s->length};
}

/* Takes a drawn token in: its probability, its text, whether it is the last. */
static ms_status accept(job *j, slot *s, int32_t id, const float *z, ms_error *err)
{
    bool ends = id == j->eos, full = s->output.count + 1 == s->output.room;
    double lse;

    MS_TRY(ms_log_sum_exp(z, j->m->config.vocab, &lse, err));
    s->sums.log_probability += z[id] - lse;
    s->last = id;
    MS_TRY(ms_output_push(&s->output, id, err));
    if (ends || full) MS_TRY(ms_output_finish(&s->output, err));
    bool asked = show(j, s);
    if (ends)
        finish(j, s, MS_STOP_EOS);
    else if (asked)
        finish(j, s, MS_STOP_ASKED);
    else if (full)
        finish(j, s, limit_reason(j, s));
    return MS_OK;
}

/* Runs the next prompt alone, moves it to a slot and draws its first token. */
static ms_status start(job *j, int at, ms_error *err)
{
    slot *s = &j->slot[at];
    double start_s = ms_clock();
    bool ended;
    int32_t id;

    MS_TRY(open_slot(j, s, &ended, err));
    if (ended) return MS_OK;
    const prompt *p = &j->prompt[s->index];
    MS_TRY(ms_engine_append(&j->engine, 0, p->ids, p->count, err));
    s->length = (int)p->count;
    ms_how how = how_to_draw(j, s);
    MS_TRY(ms_pass_sample(j->engine.prompt, &how, &id, err));
    MS_TRY(ms_engine_place(&j->engine, at, s->length, err));
    s->sums.prefill_s = ms_clock() - start_s;
    return accept(j, s, id, j->engine.logits, err);
}

/* One token for every live slot. */
static ms_status step(job *j, ms_error *err)
{
    ms_engine *e = &j->engine;
    double start_s = ms_clock(), step_s;

    for (int i = 0; i < e->slots; i++) {
        slot *s = &j->slot[i];

        e->id[i] = s->live ? s->last : 0;
        e->seq[i] = s->live ? (ms_seq){s->length++, 1} : (ms_seq){0, 0};
        j->how[i] = s->live ? how_to_draw(j, s) : (ms_how){.top_p = 1};
    }
    MS_TRY(ms_engine_step(e, err));
    MS_TRY(ms_pass_sample(e->decode, j->how, j->drawn, err));
    step_s = ms_clock() - start_s;
    for (int i = 0; i < e->slots; i++) {
        slot *s = &j->slot[i];

        if (!s->live) continue;
        s->sums.decode_s += step_s;
        MS_TRY(accept(j, s, j->drawn[i], e->logits + (size_t)i * (size_t)j->m->config.vocab, err));
    }
    return MS_OK;
}

static ms_status draw_all(job *j, ms_error *err)
{
    for (;;) {
        bool live = false;

        for (int i = 0; i < j->engine.slots; i++) {
            while (!j->slot[i].live && j->started < j->prompts) MS_TRY(start(j, i, err));
            live = live || j->slot[i].live;
        }
        if (!live) return MS_OK;
        MS_TRY(step(j, err));
    }
}

/* -- beams ------------------------------------------------------------------------------------- */

/* Beams have no text to show before the search is over, but may be asked to stop. */
typedef struct {
    const job *j;
    size_t index;
} asked_context;

static bool beam_asked(void *data)
{
    const asked_context *a = data;

    return a->j->o->on_text && a->j->o->on_text(a->j->o->data, a->index, "", 0);
}

static ms_status search(job *j, slot *s, int32_t *ids, ms_error *err)
{
    const prompt *p = &j->prompt[s->index];
    asked_context a = {j, s->index};
    ms_beam_options o = {.limit = p->limit,
                         .length_penalty = j->o->length_penalty,
                         .eos = j->eos,
                         .stop = beam_asked,
                         .data = &a};
    ms_beam_result best = {.ids = ids};
    double start_s = ms_clock(), searching_s;

    MS_TRY(ms_engine_append(&j->engine, 0, p->ids, p->count, err));
    searching_s = ms_clock();
    MS_TRY(ms_beam_search(&j->engine, (int)p->count, &o, &best, err));
    s->sums.prefill_s = searching_s - start_s;
    s->sums.decode_s = ms_clock() - searching_s;
    s->sums.log_probability = best.log_probability;
    for (size_t i = 0; i < best.count; i++) MS_TRY(ms_output_push(&s->output, ids[i], err));
    MS_TRY(ms_output_finish(&s->output, err));
    show(j, s);
    finish(j, s, best.ended ? MS_STOP_EOS : best.stopped ? MS_STOP_ASKED : limit_reason(j, s));
    return MS_OK;
}

static ms_status search_all(job *j, ms_error *err)
{
    while (j->started < j->prompts) {
        slot *s = &j->slot[0];
        bool ended;

        MS_TRY(open_slot(j, s, &ended, err));
        if (ended) continue;
        int32_t *ids = calloc(s->output.room, sizeof *ids);
        if (!ids) return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", s->output.room);
        ms_status status = search(j, s, ids, err);
        free(ids);
        MS_TRY(status);
    }
    return MS_OK;
}

/* -- the job ----------------------------------------------------------------------------------- */

static ms_status make_slots(job *j, ms_error *err)
{
    int batch = j->prompts < (size_t)j->o->batch ? (int)j->prompts : j->o->batch;
    int slots = j->o->beams > 1 ? j->o->beams : batch;

    MS_TRY(ms_engine_new(&j->engine, j->m, slots, longest(j), err));
    j->slot = calloc((size_t)slots, sizeof *j->slot);
    j->how = calloc((size_t)slots, sizeof *j->how);
    j->drawn = calloc((size_t)slots, sizeof *j->drawn);
    if (!j->slot || !j->how || !j->drawn)
        return ms_fail(err, MS_MEMORY, "out of memory for %d sequences", slots);
    return MS_OK;
}

static ms_status run(job *j, const char *const *text, ms_error *err)
{
    j->prompt = calloc(j->prompts, sizeof *j->prompt);
    if (!j->prompt) return ms_fail(err, MS_MEMORY, "out of memory for %zu prompts", j->prompts);
    MS_TRY(encode_all(j, text, err));
    MS_TRY(make_slots(j, err));
    return j->o->beams > 1 ? search_all(j, err) : draw_all(j, err);
}

static void job_free(job *j)
{
    for (int i = 0; j->slot && i < j->engine.slots; i++) ms_output_free(&j->slot[i].output);
    for (size_t i = 0; j->prompt && i < j->prompts; i++) free(j->prompt[i].ids);
    ms_engine_free(&j->engine);
    free(j->prompt);
    free(j->slot);
    free(j->how);
    free(j->drawn);
}

ms_status ms_generate(ms_model *m, const ms_tokenizer *t, const char *const *prompt_text,
                      size_t prompts, const ms_generate_options *o, ms_generated *out,
                      ms_error *err)
{
    job j = {.o = o, .m = m, .tokenizer = t, .prompts = prompts, .result = out};
    ms_status s;

    for (size_t i = 0; i < prompts; i++) out[i] = (ms_generated){0};
    MS_TRY(ms_generate_check(o, err));
    if (prompts == 0) return MS_OK;
    j.eos = ms_tokenizer_eos(t) >= 0 ? ms_tokenizer_eos(t) : m->config.eos;
    if (o->ignore_eos) j.eos = -1;
    s = run(&j, prompt_text, err);
    job_free(&j);
    return s;
}
