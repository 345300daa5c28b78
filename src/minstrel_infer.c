/* minstrel_infer - generation, sessions and tokens of the public API */
#include "minstrel_internal.h"

#include "infer/generate.h"
#include "infer/session.h"

#include <stdlib.h>
#include <string.h>

struct minstrel_session {
    ms_session *session;
};

/* -- sessions -------------------------------------------------------------------------------- */

minstrel_status minstrel_session_new(minstrel_session **out, minstrel_model *m, int context,
                                     minstrel_error *err)
{
    minstrel_session *s = calloc(1, sizeof *s);
    ms_error e;
    ms_status status = s ? ms_session_new(&s->session, m->model, context, &e)
                         : ms_fail(&e, MS_MEMORY, "out of memory for a session");

    if (status)
        free(s);
    else
        *out = s;
    return ms_give(err, status, &e);
}

void minstrel_session_free(minstrel_session *s)
{
    if (s) ms_session_free(s->session);
    free(s);
}

minstrel_status minstrel_session_append(minstrel_session *s, const int32_t *ids, size_t count,
                                        const float **logits, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_session_append(s->session, ids, count, logits, &e), &e);
}

int minstrel_session_length(const minstrel_session *s)
{
    return ms_session_length(s->session);
}

minstrel_status minstrel_session_rewind(minstrel_session *s, int length, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_session_rewind(s->session, length, &e), &e);
}

/* -- generation ------------------------------------------------------------------------------ */

_Static_assert((int)MINSTREL_STOP_LENGTH == (int)MS_STOP_LENGTH &&
                   (int)MINSTREL_STOP_EOS == (int)MS_STOP_EOS &&
                   (int)MINSTREL_STOP_CONTEXT == (int)MS_STOP_CONTEXT &&
                   (int)MINSTREL_STOP_ASKED == (int)MS_STOP_ASKED,
               "the two lists of reasons to stop agree");

minstrel_generate_options minstrel_default_generate_options(void)
{
    ms_generate_options o = ms_generate_defaults();

    return (minstrel_generate_options){.size = sizeof(minstrel_generate_options),
                                       .max_tokens = o.max_tokens,
                                       .temperature = o.temperature,
                                       .top_k = o.top_k,
                                       .top_p = o.top_p,
                                       .min_p = o.min_p,
                                       .seed = o.seed,
                                       .beams = o.beams,
                                       .length_penalty = o.length_penalty,
                                       .batch = o.batch};
}

/* The same answer under its public name; text and ids are shared. */
static minstrel_text public_text(const ms_generated *g)
{
    return (minstrel_text){.text = g->text,
                           .ids = g->ids,
                           .count = g->count,
                           .prompt_tokens = g->prompt_tokens,
                           .log_probability = g->log_probability,
                           .stop = (minstrel_stop)g->stop,
                           .prefill_s = g->prefill_s,
                           .decode_s = g->decode_s};
}

static int on_text(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    const minstrel_generate_options *g = data;

    return g->on_text(g->data, prompt, text, text_bytes);
}

static void on_done(void *data, size_t prompt, const ms_generated *text)
{
    const minstrel_generate_options *g = data;
    minstrel_text shown = public_text(text);

    g->on_done(g->data, prompt, &shown);
}

static ms_generate_options inner_options(minstrel_generate_options *g)
{
    return (ms_generate_options){.max_tokens = g->max_tokens,
                                 .temperature = g->temperature,
                                 .top_k = g->top_k,
                                 .top_p = g->top_p,
                                 .min_p = g->min_p,
                                 .seed = g->seed,
                                 .beams = g->beams,
                                 .length_penalty = g->length_penalty,
                                 .batch = g->batch,
                                 .ignore_eos = g->ignore_eos != 0,
                                 .on_text = g->on_text ? on_text : NULL,
                                 .on_done = g->on_done ? on_done : NULL,
                                 .data = g};
}

static ms_status generate_all(minstrel_model *m, const char *const *prompt, size_t prompts,
                              const minstrel_generate_options *g, minstrel_text *out, ms_error *err)
{
    minstrel_generate_options copy = minstrel_default_generate_options();
    ms_generated *all = calloc(prompts ? prompts : 1, sizeof *all);
    ms_status s;

    if (!all) return ms_fail(err, MS_MEMORY, "out of memory for %zu prompts", prompts);
    ms_options_copy(&copy, g, sizeof copy);
    ms_generate_options o = inner_options(&copy);
    s = ms_generate(m->model, m->tokenizer, prompt, prompts, &o, all, err);
    for (size_t i = 0; i < prompts; i++) {
        if (s || !out) ms_generated_clear(&all[i]);
        if (out) out[i] = public_text(&all[i]);
    }
    free(all);
    return s;
}

minstrel_status minstrel_generate_all(minstrel_model *m, const char *const *prompt, size_t prompts,
                                      const minstrel_generate_options *g, minstrel_text *out,
                                      minstrel_error *err)
{
    ms_error e;

    return ms_give(err, generate_all(m, prompt, prompts, g, out, &e), &e);
}

minstrel_status minstrel_generate(minstrel_model *m, const char *prompt,
                                  const minstrel_generate_options *g, minstrel_text *out,
                                  minstrel_error *err)
{
    return minstrel_generate_all(m, &prompt, 1, g, out, err);
}

void minstrel_text_clear(minstrel_text *t)
{
    free(t->text);
    free(t->ids);
    *t = (minstrel_text){0};
}
