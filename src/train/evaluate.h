/* evaluate - held-out loss, perplexity and bits per byte over a shard */
#ifndef MS_TRAIN_EVALUATE_H
#define MS_TRAIN_EVALUATE_H

#include "data/loader.h"
#include "model/model.h"
#include "train/trainer.h"

/* All windows of `rows` tokens of the shard in order, `batch` at a time; bits per byte counts the
 * text bytes of the shard in proportion to the targets.  The pass must have room for (batch, rows).
 */
ms_status ms_evaluate_shard(ms_pass *pass, const ms_shard *shard, int batch, int rows,
                            ms_evaluation *out, ms_error *err);

#endif
