/* engine - runs tokens behind a cache */
#include "infer/engine.h"

#include <math.h>
#include <stdlib.h>

/* Tokens of a prompt in one pass: enough to use every weight many times, few enough that
 * activations stay small. */
enum { ROWS = 256 };

ms_status ms_engine_new(ms_engine *e, ms_model *m, int slots, int keys, ms_error *err)
{
    size_t n = (size_t)slots;
    ms_pass_options prompt = {.batch = 1, .rows = keys < ROWS ? keys : ROWS, .keys = keys};
    ms_pass_options decode = {.batch = slots, .rows = 1, .keys = keys};

    *e = (ms_engine){.m = m, .slots = slots};
    MS_TRY(ms_pass_new(&e->prompt, m, &prompt, err));
    if (slots == 1)
        e->decode = e->prompt;
    else
        MS_TRY(ms_pass_new(&e->decode, m, &decode, err));
    e->id = calloc(n, sizeof *e->id);
    e->seq = calloc(n, sizeof *e->seq);
    e->logits = calloc(n * (size_t)m->config.vocab, sizeof *e->logits);
    if (!e->id || !e->seq || !e->logits)
        return ms_fail(err, MS_MEMORY, "out of memory for the logits of %d sequences", slots);
    return MS_OK;
}

void ms_engine_free(ms_engine *e)
{
    if (e->decode != e->prompt) ms_pass_free(e->decode);
    ms_pass_free(e->prompt);
    free(e->id);
    free(e->seq);
    free(e->logits);
    *e = (ms_engine){0};
}

ms_status ms_engine_append(ms_engine *e, int start, const int32_t *ids, size_t count, ms_error *err)
{
    for (size_t at = 0; at < count; at += ROWS) {
        int rows = count - at < ROWS ? (int)(count - at) : ROWS;
        ms_seq seq = {.start = start + (int32_t)at, .length = rows};

        MS_TRY(ms_pass_forward(e->prompt, rows, ids + at, &seq, err));
    }
    return ms_pass_logits(e->prompt, e->logits, err);
}

ms_status ms_engine_place(ms_engine *e, int slot, int keys, ms_error *err)
{
    if (e->decode == e->prompt) return MS_OK;
    return ms_pass_take_cache(e->decode, slot, e->prompt, 0, keys, err);
}

ms_status ms_engine_step(ms_engine *e, ms_error *err)
{
    MS_TRY(ms_pass_forward(e->decode, 1, e->id, e->seq, err));
    return ms_pass_logits(e->decode, e->logits, err);
}

ms_status ms_log_sum_exp(const float *z, int vocab, double *out, ms_error *err)
{
    double sum = 0;
    float top = z[0];

    for (int i = 1; i < vocab; i++)
        if (z[i] > top) top = z[i];
    for (int i = 0; i < vocab; i++) sum += exp((double)z[i] - top);
    *out = top + log(sum);
    if (!isfinite(*out)) /* a NaN or +Inf anywhere shows in the sum */
        return ms_fail(err, MS_NONFINITE, "the model's logits are not finite");
    return MS_OK;
}
