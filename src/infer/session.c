/* session - one timeline of tokens over a model */
#include "infer/session.h"

#include "infer/engine.h"

#include <stdlib.h>

struct ms_session {
    ms_engine engine; /* of one slot */
    int length, context;
    bool drawable; /* the engine has the logits of the last token */
};

ms_status ms_session_new(ms_session **out, ms_model *m, int context, ms_error *err)
{
    ms_session *s;
    ms_status status;

    if (context == 0) context = m->config.context;
    if (context < 1 || context > m->config.context)
        return ms_fail(err, MS_INPUT, "context: expected 1 to the model's %d, got %d",
                       m->config.context, context);
    s = calloc(1, sizeof *s);
    if (!s) return ms_fail(err, MS_MEMORY, "out of memory for a session");
    s->context = context;
    status = ms_engine_new(&s->engine, m, 1, context, err);
    if (status) {
        ms_session_free(s);
        return status;
    }
    *out = s;
    return MS_OK;
}

void ms_session_free(ms_session *s)
{
    if (!s) return;
    ms_engine_free(&s->engine);
    free(s);
}

ms_status ms_session_append(ms_session *s, const int32_t *ids, size_t count, const float **logits,
                            ms_error *err)
{
    int vocab = s->engine.m->config.vocab;

    if (count == 0) return ms_fail(err, MS_INPUT, "append: no tokens");
    if (count > (size_t)(s->context - s->length))
        return ms_fail(err, MS_INPUT, "append: %zu tokens behind %d exceed the context of %d",
                       count, s->length, s->context);
    for (size_t i = 0; i < count; i++) /* all of them first: nothing is appended on failure */
        if (ids[i] < 0 || ids[i] >= vocab)
            return ms_fail(err, MS_INPUT, "append: token %zu is %d: expected 0 to %d", i,
                           (int)ids[i], vocab - 1);
    s->drawable = false;
    MS_TRY(ms_engine_append(&s->engine, s->length, ids, count, err));
    s->length += (int)count;
    s->drawable = true;
    if (logits) *logits = s->engine.logits;
    return MS_OK;
}

int ms_session_length(const ms_session *s)
{
    return s->length;
}

/* Cached rows behind the length are never read, so nothing has to be cleared. */
ms_status ms_session_rewind(ms_session *s, int length, ms_error *err)
{
    if (length < 0 || length > s->length)
        return ms_fail(err, MS_INPUT, "rewind: expected 0 to %d, got %d", s->length, length);
    s->drawable = s->drawable && length == s->length;
    s->length = length;
    return MS_OK;
}

ms_status ms_session_sample(ms_session *s, const ms_how *how, int32_t *id, ms_error *err)
{
    if (!s->drawable) return ms_fail(err, MS_INPUT, "sample: expected an append in front of it");
    return ms_pass_sample(s->engine.prompt, how, id, err);
}
