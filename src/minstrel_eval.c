/* minstrel_eval - loss of a model on text
 *
 * Windows of `context` tokens follow each other, and every token but the first of a window is
 * predicted from those before it there.  Or as llama.cpp's perplexity tool does: the first token of
 * a window is replaced by bos where the model wants one, and only its second half counts. */
#include "minstrel_internal.h"

#include "base/clock.h"
#include "data/source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- tokens ---------------------------------------------------------------------------------- */

typedef struct {
    const ms_tokenizer *tokenizer;
    int flags;
    int32_t *ids;
    size_t count, text_bytes;
} tokens;

static ms_status add_document(void *user, const char *text, size_t size, ms_error *err)
{
    tokens *t = user;
    int eos = ms_tokenizer_eos(t->tokenizer);
    bool divide = t->count > 0 && eos >= 0 && !(t->flags & MS_ENCODE_FRAME);
    int32_t *ids, *grown;
    size_t count;

    MS_TRY(ms_tokenizer_encode(t->tokenizer, text, size, t->flags, &ids, &count, err));
    grown = realloc(t->ids, (t->count + count + 1) * sizeof *grown);
    if (!grown) {
        free(ids);
        return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", t->count + count);
    }
    t->ids = grown;
    if (divide) t->ids[t->count++] = eos;
    memcpy(t->ids + t->count, ids, count * sizeof *ids);
    t->count += count;
    t->text_bytes += size;
    free(ids);
    return MS_OK;
}

/* -- windows --------------------------------------------------------------------------------- */

typedef struct {
    ms_pass *pass;
    const tokens *t;
    int rows, batch;
    bool half;
    int bos;
    int32_t *id, *target; /* (batch, rows) */
    float *loss;
} windows;

/* Window i to place b of the batch; a window that does not exist counts nothing. */
static void fill_window(windows *w, size_t i, int b)
{
    size_t from = i * (size_t)w->rows, count = w->t->count;
    int32_t *id = w->id + (size_t)b * (size_t)w->rows;
    int32_t *target = w->target + (size_t)b * (size_t)w->rows;

    for (int t = 0; t < w->rows; t++) {
        size_t at = from + (size_t)t;
        bool last = w->half ? t + 1 == w->rows : at + 1 >= count; /* a half looks no further */
        bool counts = !last && at + 1 < count && (!w->half || t >= w->rows / 2);

        id[t] = at < count ? w->t->ids[at] : 0;
        target[t] = counts ? w->t->ids[at + 1] : -1;
    }
    if (w->half && w->bos >= 0) id[0] = w->bos;
}

static ms_status run_windows(windows *w, double *loss, uint64_t *targets, ms_error *err)
{
    size_t rows = (size_t)w->rows, count = rows * (size_t)w->batch;
    size_t all = w->half ? w->t->count / rows : (w->t->count - 2) / rows + 1;

    for (size_t i = 0; i < all; i += (size_t)w->batch) {
        for (int b = 0; b < w->batch; b++) fill_window(w, i + (size_t)b, b);
        for (size_t k = 0; k < count; k++)
            if (i + k / rows >= all) w->target[k] = -1;
        MS_TRY(ms_pass_loss(w->pass, w->rows, w->id, w->target, NULL, w->loss, err));
        for (size_t k = 0; k < count; k++) {
            if (w->target[k] < 0) continue;
            *loss += w->loss[k];
            ++*targets;
        }
    }
    return MS_OK;
}

static ms_status measure(minstrel_model *m, const tokens *t, const minstrel_evaluate_options *o,
                         ms_evaluation *out, ms_error *err)
{
    size_t count = (size_t)o->batch * (size_t)o->context;
    ms_pass_options po = {.batch = o->batch, .rows = o->context};
    windows w = {.t = t, .rows = o->context, .batch = o->batch, .half = o->half};
    uint64_t targets = 0;
    double start = ms_clock(), loss = 0, bytes;
    ms_status s = ms_pass_new(&w.pass, m->model, &po, err);

    w.bos = ms_tokenizer_frames(m->tokenizer) ? ms_tokenizer_bos(m->tokenizer) : -1;
    w.id = malloc(count * sizeof *w.id);
    w.target = malloc(count * sizeof *w.target);
    w.loss = malloc(count * sizeof *w.loss);
    if (!s && (!w.id || !w.target || !w.loss))
        s = ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", count);
    if (!s) s = run_windows(&w, &loss, &targets, err);
    ms_pass_free(w.pass);
    free(w.id);
    free(w.target);
    free(w.loss);
    if (s) return s;
    bytes = (double)t->text_bytes * (double)targets / (double)t->count;
    *out = (ms_evaluation){.tokens = targets,
                           .text_bytes = (uint64_t)(bytes + 0.5),
                           .loss = loss / (double)targets,
                           .perplexity = exp(loss / (double)targets),
                           .bits_per_byte = bytes > 0 ? loss / log(2) / bytes : 0,
                           .seconds = ms_clock() - start};
    return MS_OK;
}

/* -- the call -------------------------------------------------------------------------------- */

minstrel_evaluate_options minstrel_default_evaluate_options(void)
{
    return (minstrel_evaluate_options){.size = sizeof(minstrel_evaluate_options), .batch = 8};
}

static ms_status evaluate(minstrel_model *m, const char *const *path, int paths,
                          const minstrel_evaluate_options *given, ms_evaluation *out, ms_error *err)
{
    minstrel_evaluate_options o = minstrel_default_evaluate_options();
    tokens t = {.tokenizer = m->tokenizer};
    int context = m->model->config.context;
    ms_status s;

    ms_options_copy(&o, given, sizeof o);
    if (o.context == 0) o.context = o.half && context > 512 ? 512 : context;
    if (o.batch == 0) o.batch = 8;
    if (paths < 1) return ms_fail(err, MS_INPUT, "no data is given");
    t.flags = o.half ? MS_ENCODE_SPECIALS | MS_ENCODE_FRAME : MS_ENCODE_TEXT;
    s = ms_source_visit(path, paths, add_document, &t, err);
    if (!s && t.count < (o.half ? 2 * (size_t)o.context : 2))
        s = ms_fail(err, MS_INPUT, "the text has %zu tokens: an evaluation needs at least %d",
                    t.count, o.half ? 2 * o.context : 2);
    if (!s) s = measure(m, &t, &o, out, err);
    free(t.ids);
    return s;
}

minstrel_status minstrel_evaluate_paths(minstrel_model *m, const char *const *path, int paths,
                                        const minstrel_evaluate_options *o,
                                        minstrel_evaluation *out, minstrel_error *err)
{
    ms_evaluation r;
    ms_error e;
    ms_status s = evaluate(m, path, paths, o, &r, &e);

    if (!s) *out = ms_public_evaluation(&r);
    return ms_give(err, s, &e);
}
