/* engine - runs tokens behind a cache: many of one sequence, or one of each of many
 *
 *   append   prompt pass: 1 sequence, up to ROWS tokens a pass; what its cache holds can be
 *   place    copied into a slot of the
 *   step     decode pass: `slots` sequences, one row each
 *
 * With one slot both are the same pass.  A row's bits do not depend on the batch it runs in (ops.h,
 * linear_fwd, attention_fwd), so a sequence in a slot continues exactly as it would alone. */
#ifndef MS_INFER_ENGINE_H
#define MS_INFER_ENGINE_H

#include "model/model.h"

typedef struct {
    ms_model *m;
    int slots;
    ms_pass *prompt, *decode;
    int32_t *id;   /* (slots): tokens of the next step */
    ms_seq *seq;   /* (slots): their positions; length 0 for an idle slot */
    float *logits; /* (slots, V): of the last step; row 0 also of the last append */
} ms_engine;

/* keys: tokens a sequence may have, 1 to the model's context.  On failure *e can be freed. */
ms_status ms_engine_new(ms_engine *e, ms_model *m, int slots, int keys, ms_error *err);
void ms_engine_free(ms_engine *e); /* accepts a zeroed one */

/* Appends tokens (at least one) behind `start` others in the prompt pass; the logits of the last
 * one go to row 0 and stay in e->prompt for ms_pass_sample. */
ms_status ms_engine_append(ms_engine *e, int start, const int32_t *ids, size_t count,
                           ms_error *err);

/* Copies the first `keys` rows of the prompt pass to a slot. */
ms_status ms_engine_place(ms_engine *e, int slot, int keys, ms_error *err);

/* One pass over id and seq; logits of every slot go to e->logits and stay in e->decode. */
ms_status ms_engine_step(ms_engine *e, ms_error *err);

/* log(sum(exp(z))) in double; MS_NONFINITE when that is no number. */
ms_status ms_log_sum_exp(const float *z, int vocab, double *out, ms_error *err);

#endif
