/* minstrel_text - tokenizers of the public API */
#include "minstrel_internal.h"

#include "data/source.h"
#include "text/bpe_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* A public tokenizer is the inner one under another name. */
static ms_tokenizer *inner(const minstrel_tokenizer *t)
{
    return (ms_tokenizer *)(uintptr_t)t;
}

minstrel_status minstrel_tokenizer_open(minstrel_tokenizer **out, const char *path,
                                        minstrel_error *err)
{
    ms_tokenizer *t = NULL;
    ms_error e;
    ms_status s = ms_open_tokenizer(&t, path, &e);

    if (!s) *out = (minstrel_tokenizer *)t;
    return ms_give(err, s, &e);
}

void minstrel_tokenizer_free(minstrel_tokenizer *t)
{
    ms_tokenizer_free(inner(t));
}

int minstrel_tokenizer_vocab(const minstrel_tokenizer *t)
{
    return ms_tokenizer_vocab(inner(t));
}

const char *minstrel_tokenizer_name(const minstrel_tokenizer *t, int32_t id)
{
    return ms_tokenizer_name(inner(t), id);
}

/* -- training -------------------------------------------------------------------------------- */

minstrel_tokenizer_options minstrel_default_tokenizer_options(void)
{
    ms_bpe_options o = ms_bpe_options_default();

    return (minstrel_tokenizer_options){.size = sizeof(minstrel_tokenizer_options),
                                        .vocab = o.vocab,
                                        .min_frequency = o.min_frequency,
                                        .pattern = o.pattern,
                                        .specials = o.specials,
                                        .special_count = o.special_count};
}

static ms_status learn_document(void *user, const char *text, size_t size, ms_error *err)
{
    return ms_bpe_trainer_add(user, text, size, err);
}

static ms_status learn(ms_tokenizer **out, const char *const *path, int paths,
                       const ms_bpe_options *o, ms_error *err)
{
    ms_bpe_trainer *trainer;
    ms_status s;

    if (paths < 1) return ms_fail(err, MS_INPUT, "no data is given");
    MS_TRY(ms_bpe_trainer_new(&trainer, o, err));
    s = ms_source_visit(path, paths, learn_document, trainer, err);
    if (!s) return ms_bpe_trainer_finish(trainer, out, err);
    ms_bpe_trainer_free(trainer);
    return s;
}

/* The folder of `out` gets both files. */
static ms_status save(const ms_tokenizer *t, const char *out, ms_error *err)
{
    const char *slash = strrchr(out, '/');
    char config[PATH_BYTES];
    int n = snprintf(config, sizeof config, "%.*stokenizer_config.json",
                     slash ? (int)(slash - out + 1) : 0, out);

    if (n >= PATH_BYTES) return ms_fail_at(err, MS_INPUT, out, -1, "the path is too long");
    MS_TRY(ms_tokenizer_save(t, out, err));
    return ms_tokenizer_save_config(t, 1 << 20, config, err);
}

static ms_status train(const char *const *path, int paths, const minstrel_tokenizer_options *given,
                       const char *out, ms_error *err)
{
    minstrel_tokenizer_options o = minstrel_default_tokenizer_options();
    ms_bpe_options inner_options;
    ms_tokenizer *t;
    ms_status s;

    ms_options_copy(&o, given, sizeof o);
    inner_options = (ms_bpe_options){.vocab = o.vocab,
                                     .min_frequency = o.min_frequency,
                                     .pattern = o.pattern,
                                     .specials = o.specials,
                                     .special_count = o.special_count,
                                     .threads = o.threads,
                                     .pin = o.pin};
    MS_TRY(learn(&t, path, paths, &inner_options, err));
    s = save(t, out, err);
    ms_tokenizer_free(t);
    return s;
}

minstrel_status minstrel_tokenizer_train(const char *const *path, int paths,
                                         const minstrel_tokenizer_options *o, const char *out,
                                         minstrel_error *err)
{
    ms_error e;

    return ms_give(err, train(path, paths, o, out, &e), &e);
}

/* -- encoding -------------------------------------------------------------------------------- */

_Static_assert((int)MINSTREL_ENCODE_SPECIALS == (int)MS_ENCODE_SPECIALS &&
                   (int)MINSTREL_ENCODE_FRAME == (int)MS_ENCODE_FRAME,
               "the two lists of flags agree");

minstrel_status minstrel_tokenizer_encode(const minstrel_tokenizer *t, const char *text,
                                          size_t text_bytes, int flags, int32_t **ids,
                                          size_t *count, minstrel_error *err)
{
    ms_error e;

    return ms_give(err, ms_tokenizer_encode(inner(t), text, text_bytes, flags, ids, count, &e), &e);
}

/* Twice over the tokens: sizes first. */
static ms_status decode(const ms_tokenizer *t, const int32_t *ids, size_t count, char **text,
                        size_t *text_bytes, ms_error *err)
{
    size_t total = 0, n, skip;
    char *to;

    for (size_t i = 0; i < count; i++) {
        if (!ms_tokenizer_piece(t, ids[i], &n))
            return ms_fail(err, MS_INPUT, "token %zu is %d: expected 0 to %d", i, (int)ids[i],
                           ms_tokenizer_vocab(t) - 1);
        total += n;
    }
    to = malloc(total + 1);
    if (!to) return ms_fail(err, MS_MEMORY, "out of memory for %zu bytes of text", total);
    total = 0;
    for (size_t i = 0; i < count; i++) {
        const char *piece = ms_tokenizer_piece(t, ids[i], &n);

        memcpy(to + total, piece, n);
        total += n;
    }
    skip = ms_tokenizer_leads(t) && total > 0 && to[0] == ' ';
    memmove(to, to + skip, total - skip);
    to[total - skip] = 0;
    *text = to;
    *text_bytes = total - skip;
    return MS_OK;
}

minstrel_status minstrel_tokenizer_decode(const minstrel_tokenizer *t, const int32_t *ids,
                                          size_t count, char **text, size_t *text_bytes,
                                          minstrel_error *err)
{
    ms_error e;

    return ms_give(err, decode(inner(t), ids, count, text, text_bytes, &e), &e);
}

/* -- of a model ------------------------------------------------------------------------------ */

minstrel_status minstrel_encode(const minstrel_model *m, const char *text, size_t text_bytes,
                                int32_t **ids, size_t *count, minstrel_error *err)
{
    ms_error e;
    ms_status s =
        ms_tokenizer_encode(m->tokenizer, text, text_bytes, MS_ENCODE_SPECIALS, ids, count, &e);

    return ms_give(err, s, &e);
}

minstrel_status minstrel_decode(const minstrel_model *m, const int32_t *ids, size_t count,
                                char **text, minstrel_error *err)
{
    ms_error e;
    size_t bytes;

    return ms_give(err, decode(m->tokenizer, ids, count, text, &bytes, &e), &e);
}

void minstrel_tokens_free(int32_t *ids)
{
    free(ids);
}
