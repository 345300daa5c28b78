/* minstrel_convert - models between Hugging Face folders and GGUF files */
#include "minstrel_internal.h"

#include "base/file.h"
#include "base/json.h"
#include "model/convert.h"
#include "model/folder.h"
#include "model/gguf.h"
#include "text/tokenizer_gguf.h"

#include <string.h>

enum { PATH_BYTES = 4096 };

/* The files beside the model: tokenizer, and what transformers' generate() takes as defaults. */
static ms_status write_beside(const ms_tokenizer *t, const ms_config *c, const char *folder,
                              ms_error *err)
{
    char path[PATH_BYTES];
    ms_json json, *j = &json;

    MS_TRY(ms_path_join(path, sizeof path, folder, "tokenizer.json", err));
    MS_TRY(ms_tokenizer_save(t, path, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "tokenizer_config.json", err));
    MS_TRY(ms_tokenizer_save_config(t, c->context, path, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "generation_config.json", err));
    ms_json_begin(j);
    if (ms_tokenizer_bos(t) >= 0)
        ms_json_add_number(j, j->root, "bos_token_id", ms_tokenizer_bos(t));
    if (ms_tokenizer_eos(t) >= 0)
        ms_json_add_number(j, j->root, "eos_token_id", ms_tokenizer_eos(t));
    ms_json_add_bool(j, j->root, "do_sample", true);
    return ms_json_write(j, path, err);
}

/* The ids in config.json are the tokenizer's. */
static ms_status fix_config(const ms_tokenizer *t, const char *folder, ms_dtype type, ms_config *c,
                            ms_error *err)
{
    char path[PATH_BYTES];

    MS_TRY(ms_path_join(path, sizeof path, folder, "config.json", err));
    MS_TRY(ms_config_read(c, path, err));
    if (c->bos < 0) c->bos = ms_tokenizer_bos(t);
    if (c->eos < 0) c->eos = ms_tokenizer_eos(t);
    return ms_config_write_as(c, type, path, err);
}

static ms_status to_folder(const char *from, const char *out, ms_dtype type, const ms_tokenizer *t,
                           ms_error *err)
{
    ms_config c;

    MS_TRY(ms_convert_to_folder(from, out, type, err));
    MS_TRY(fix_config(t, out, type, &c, err));
    return write_beside(t, &c, out, err);
}

/* Rows of the embedding: the tokenizer's list is padded to as many. */
static ms_status vocabulary_of(const char *from, int *vocab, ms_error *err)
{
    char path[PATH_BYTES];
    ms_config c;
    ms_gguf *g;
    ms_status s;

    if (ms_is_gguf(from)) {
        MS_TRY(ms_gguf_open(&g, from, err));
        s = ms_config_from_gguf(&c, g, err);
        ms_gguf_close(g);
    } else {
        MS_TRY(ms_path_join(path, sizeof path, from, "config.json", err));
        s = ms_config_read(&c, path, err);
    }
    *vocab = c.vocab;
    return s;
}

static ms_status to_gguf(const char *from, const char *out, ms_dtype type, const ms_tokenizer *t,
                         ms_error *err)
{
    ms_gguf_head *head;
    ms_status s;
    int vocab = 0;

    MS_TRY(vocabulary_of(from, &vocab, err));
    if (vocab < ms_tokenizer_vocab(t))
        return ms_fail_at(err, MS_FORMAT, from, -1, "the model has %d tokens, its tokenizer %d",
                          vocab, ms_tokenizer_vocab(t));
    head = ms_gguf_head_new();
    s = ms_tokenizer_to_gguf(t, vocab, head, err);
    if (!s) s = ms_convert_to_gguf(from, head, out, type, err);
    ms_gguf_head_free(head);
    return s;
}

static ms_status convert(const char *from, const char *out, const char *type, ms_error *err)
{
    ms_tokenizer *t;
    ms_dtype dtype;
    ms_status s;

    if (!ms_dtype_find(type ? type : "f32", &dtype))
        return ms_fail(err, MS_INPUT, "type \"%.40s\" is unknown", type);
    MS_TRY(ms_open_tokenizer(&t, from, err));
    s = ms_is_gguf(out) ? to_gguf(from, out, dtype, t, err) : to_folder(from, out, dtype, t, err);
    ms_tokenizer_free(t);
    return s;
}

minstrel_status minstrel_convert(const char *from, const char *out, const char *type,
                                 minstrel_error *err)
{
    ms_error e;

    return ms_give(err, convert(from, out, type, &e), &e);
}
