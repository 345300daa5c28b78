/* session - one timeline of tokens over a model: append, look at the logits, rewind */
#ifndef MS_INFER_SESSION_H
#define MS_INFER_SESSION_H

#include "model/model.h"

typedef struct ms_session ms_session;

ms_status ms_session_new(ms_session **out, ms_model *m, int context, ms_error *err);
void ms_session_free(ms_session *s);
ms_status ms_session_append(ms_session *s, const int32_t *ids, size_t count, const float **logits,
                            ms_error *err);
int ms_session_length(const ms_session *s);
ms_status ms_session_rewind(ms_session *s, int length, ms_error *err);
/* Draws a token from the logits of the last append (which is not appended); MS_INPUT when a rewind
 * came after it. */
ms_status ms_session_sample(ms_session *s, const ms_how *how, int32_t *id, ms_error *err);

#endif
