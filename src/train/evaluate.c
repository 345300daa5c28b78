/* evaluate - runs all windows of a shard through a pass */
#include "train/evaluate.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int32_t *id, *target; /* (batch, rows) */
    float *loss;          /* (batch, rows) */
} buffers;

/* Windows [first, first + n) of the shard; the rest of the batch repeats the last with no targets.
 */
static ms_status run_batch(ms_pass *pass, const ms_shard *shard, int batch, int rows,
                           uint64_t first, int n, buffers *b, double *loss, uint64_t *tokens,
                           ms_error *err)
{
    size_t count = (size_t)batch * (size_t)rows;

    for (int i = 0; i < batch; i++)
        ms_loader_window(shard, rows, first + (uint64_t)(i < n ? i : n - 1),
                         b->id + (size_t)i * (size_t)rows, b->target + (size_t)i * (size_t)rows);
    for (size_t i = (size_t)n * (size_t)rows; i < count; i++) b->target[i] = -1;
    MS_TRY(ms_pass_loss(pass, rows, b->id, b->target, NULL, b->loss, err));
    for (size_t i = 0; i < count; i++) {
        if (b->target[i] < 0) continue;
        *loss += b->loss[i];
        ++*tokens;
    }
    return MS_OK;
}

static ms_status run(ms_pass *pass, const ms_shard *shard, int batch, int rows, buffers *b,
                     ms_evaluation *out, ms_error *err)
{
    uint64_t windows = ms_loader_windows(shard, rows), tokens = 0;
    double start = ms_clock(), loss = 0, bytes;

    for (uint64_t i = 0; i < windows; i += (uint64_t)batch) {
        int n = windows - i < (uint64_t)batch ? (int)(windows - i) : batch;

        MS_TRY(run_batch(pass, shard, batch, rows, i, n, b, &loss, &tokens, err));
    }
    bytes = (double)shard->text_bytes * (double)tokens / (double)shard->tokens;
    *out = (ms_evaluation){.tokens = tokens,
                           .text_bytes = (uint64_t)(bytes + 0.5),
                           .loss = loss / (double)tokens,
                           .perplexity = exp(loss / (double)tokens),
                           .bits_per_byte = bytes > 0 ? loss / log(2) / bytes : 0,
                           .seconds = ms_clock() - start};
    return MS_OK;
}

ms_status ms_evaluate_shard(ms_pass *pass, const ms_shard *shard, int batch, int rows,
                            ms_evaluation *out, ms_error *err)
{
    size_t count = (size_t)batch * (size_t)rows;
    buffers b = {malloc(count * sizeof *b.id), malloc(count * sizeof *b.target),
                 malloc(count * sizeof *b.loss)};
    ms_status s;

    if (!b.id || !b.target || !b.loss)
        s = ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", count);
    else if (shard->tokens < 2)
        s = ms_fail(err, MS_INPUT, "the text has %llu tokens: an evaluation needs at least 2",
                    (unsigned long long)shard->tokens);
    else
        s = run(pass, shard, batch, rows, &b, out, err);
    free(b.id);
    free(b.target);
    free(b.loss);
    return s;
}
