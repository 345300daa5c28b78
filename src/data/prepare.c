/* prepare - text to shards: tokenizer first, then every document once */
#include "data/prepare.h"

#include "base/file.h"
#include "data/shard.h"
#include "data/source.h"
#include "text/bpe_train.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* -- the tokenizer --------------------------------------------------------------------------- */

static ms_status learn_document(void *user, const char *text, size_t size, ms_error *err)
{
    return ms_chars_add(user, text, size, err);
}

static ms_status learn_chars(const ms_prepare_options *o, ms_tokenizer **out, ms_error *err)
{
    ms_chars *chars;
    ms_status s;

    MS_TRY(ms_chars_new(&chars, err));
    s = ms_source_visit(o->path, o->paths, learn_document, chars, err);
    if (!s) s = ms_source_visit(o->held_out, o->held_outs, learn_document, chars, err);
    if (s) {
        ms_chars_free(chars);
        return s;
    }
    return ms_chars_finish(chars, out, err);
}

static ms_status learn_words(void *user, const char *text, size_t size, ms_error *err)
{
    return ms_bpe_trainer_add(user, text, size, err);
}

/* "bpe:4096": GPT-2's pattern; held-out text is not looked at. */
static ms_status learn_bpe(const ms_prepare_options *o, ms_tokenizer **out, ms_error *err)
{
    ms_bpe_options b = ms_bpe_options_default();
    ms_bpe_trainer *trainer;
    char *end;
    long vocab = strtol(o->tokenizer + 4, &end, 10);
    ms_status s;

    if (end == o->tokenizer + 4 || *end || vocab < 0 || vocab > INT_MAX)
        return ms_fail(err, MS_INPUT, "tokenizer %.40s: expected bpe:N, N tokens", o->tokenizer);
    b.vocab = (int)vocab;
    MS_TRY(ms_bpe_trainer_new(&trainer, &b, err));
    s = ms_source_visit(o->path, o->paths, learn_words, trainer, err);
    if (s) {
        ms_bpe_trainer_free(trainer);
        return s;
    }
    return ms_bpe_trainer_finish(trainer, out, err);
}

static ms_status make_tokenizer(const ms_prepare_options *o, ms_tokenizer **out, ms_error *err)
{
    if (!strcmp(o->tokenizer, "bytes")) return ms_tokenizer_bytes(out, err);
    if (!strcmp(o->tokenizer, "chars")) return learn_chars(o, out, err);
    if (!strncmp(o->tokenizer, "bpe:", 4)) return learn_bpe(o, out, err);
    return ms_tokenizer_load(out, o->tokenizer, err);
}

/* -- tokens ---------------------------------------------------------------------------------- */

typedef struct {
    const ms_tokenizer *tokenizer;
    ms_shard_writer *writer;
    uint64_t tokens;
    bool started; /* a document came before */
} encoder;

static ms_status encode_document(void *user, const char *text, size_t size, ms_error *err)
{
    encoder *e = user;
    int32_t eos = ms_tokenizer_eos(e->tokenizer), *ids;
    size_t count;

    if (e->started && eos >= 0) {
        ms_shard_writer_put(e->writer, &eos, 1, 0);
        e->tokens++;
    }
    e->started = true;
    MS_TRY(ms_tokenizer_encode(e->tokenizer, text, size, MS_ENCODE_TEXT, &ids, &count, err));
    ms_shard_writer_put(e->writer, ids, count, size);
    e->tokens += count;
    free(ids);
    return MS_OK;
}

/* Every document of the paths as one shard. */
static ms_status encode_paths(const char *const *path, int paths, const ms_tokenizer *t,
                              const char *out, ms_error *err)
{
    encoder e = {.tokenizer = t};
    ms_status s;

    MS_TRY(ms_shard_writer_open(&e.writer, out, (uint32_t)ms_tokenizer_vocab(t), err));
    s = ms_source_visit(path, paths, encode_document, &e, err);
    if (!s && e.tokens == 0) s = ms_fail_at(err, MS_INPUT, path[0], -1, "the text is empty");
    if (s) {
        ms_shard_writer_abort(e.writer);
        return s;
    }
    return ms_shard_writer_commit(e.writer, err);
}

/* Bytes of text that tokens [first, last) stand for. */
static uint64_t text_bytes(const ms_shard *s, const ms_tokenizer *t, uint64_t first, uint64_t last)
{
    uint64_t bytes = 0;

    for (uint64_t i = first; i < last; i++) {
        size_t n = 0;

        ms_tokenizer_piece(t, ms_shard_token(s, i), &n);
        bytes += n;
    }
    return bytes;
}

static ms_status write_part(const ms_shard *s, const ms_tokenizer *t, uint64_t first, uint64_t last,
                            const char *path, ms_error *err)
{
    ms_shard_writer *w;

    MS_TRY(ms_shard_writer_open(&w, path, s->vocab, err));
    for (uint64_t i = first; i < last; i++) {
        int32_t id = ms_shard_token(s, i);

        ms_shard_writer_put(w, &id, 1, 0);
    }
    ms_shard_writer_put(w, NULL, 0, text_bytes(s, t, first, last));
    return ms_shard_writer_commit(w, err);
}

/* The last part of the token stream is held out. */
static ms_status split(const char *whole, const ms_tokenizer *t, double fraction, const char *train,
                       const char *held_out, ms_error *err)
{
    ms_shard s;
    ms_status status;
    uint64_t first;

    MS_TRY(ms_shard_open(&s, whole, err));
    first = (uint64_t)((double)s.tokens * (1 - fraction));
    status = write_part(&s, t, 0, first, train, err);
    if (!status) status = write_part(&s, t, first, s.tokens, held_out, err);
    ms_shard_close(&s);
    if (remove(whole) && !status) status = ms_fail_errno(err, whole, "cannot remove");
    return status;
}

/* -- all of it ------------------------------------------------------------------------------- */

/* Standard input can be read once: it goes to a file that the options then name in its place. */
static ms_status keep_document(void *user, const char *text, size_t size, ms_error *err)
{
    return ms_file_write(user, text, size, err);
}

static ms_status keep_stdin(ms_prepare_options *o, const char **list, char *kept, ms_error *err)
{
    static const char *const standard_input[] = {"-"};
    int seen = 0;

    MS_TRY(ms_file_write(kept, "", 0, err));
    MS_TRY(ms_source_visit(standard_input, 1, keep_document, kept, err));
    for (int i = 0; i < o->paths; i++) {
        bool is_stdin = !strcmp(o->path[i], "-");

        list[i] = is_stdin ? kept : o->path[i];
        seen += is_stdin;
    }
    if (seen > 1) return ms_fail(err, MS_INPUT, "standard input is given %d times", seen);
    o->path = list;
    return MS_OK;
}

/* A ready shard is used as it is: its vocabulary must be the tokenizer's. */
static ms_status copy_shard(const char *from, const char *to, const ms_tokenizer *t, ms_error *err)
{
    ms_shard s;
    uint32_t vocab;

    MS_TRY(ms_shard_open(&s, from, err));
    vocab = s.vocab;
    ms_shard_close(&s);
    if (vocab != (uint32_t)ms_tokenizer_vocab(t))
        return ms_fail_at(err, MS_INPUT, from, 16, "a vocabulary of %u, the tokenizer has %d",
                          (unsigned)vocab, ms_tokenizer_vocab(t));
    return ms_file_publish(from, to, err);
}

static ms_status make_shard(const char *const *path, int paths, const ms_tokenizer *t,
                            const char *out, ms_error *err)
{
    for (int i = 0; i < paths; i++)
        if (ms_shard_is(path[i]) && paths > 1)
            return ms_fail_at(err, MS_INPUT, path[i], -1, "a token shard must be the only data");
    return ms_shard_is(path[0]) ? copy_shard(path[0], out, t, err)
                                : encode_paths(path, paths, t, out, err);
}

static ms_status make_shards(const ms_prepare_options *o, const ms_tokenizer *t, const char *folder,
                             ms_error *err)
{
    char whole[PATH_BYTES], train[PATH_BYTES], held_out[PATH_BYTES];

    MS_TRY(ms_path_join(whole, sizeof whole, folder, "whole.tokens", err));
    MS_TRY(ms_path_join(train, sizeof train, folder, "train.tokens", err));
    MS_TRY(ms_path_join(held_out, sizeof held_out, folder, "held_out.tokens", err));
    if (o->held_outs > 0) {
        MS_TRY(make_shard(o->held_out, o->held_outs, t, held_out, err));
        return make_shard(o->path, o->paths, t, train, err);
    }
    MS_TRY(make_shard(o->path, o->paths, t, whole, err));
    return split(whole, t, o->held_out_fraction, train, held_out, err);
}

static ms_status prepare(ms_prepare_options o, const char **list, const char *folder,
                         ms_tokenizer **out, const ms_log *log, ms_error *err)
{
    char kept[PATH_BYTES], path[PATH_BYTES];
    bool from_stdin = ms_source_has_stdin(o.path, o.paths);
    ms_tokenizer *t = NULL;
    ms_status s;

    if (ms_source_has_stdin(o.held_out, o.held_outs))
        return ms_fail(err, MS_INPUT, "standard input cannot be held-out data");
    MS_TRY(ms_path_join(kept, sizeof kept, folder, "stdin.txt", err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "tokenizer.json", err));
    MS_TRY(ms_folder_make(folder, err));
    s = from_stdin ? keep_stdin(&o, list, kept, err) : MS_OK;
    if (!s) s = make_tokenizer(&o, &t, err);
    if (!s) s = make_shards(&o, t, folder, err);
    if (!s) s = ms_tokenizer_save(t, path, err);
    if (from_stdin) remove(kept);
    if (s) {
        ms_tokenizer_free(t);
        return s;
    }
    ms_log_line(log, "tokenizer: %s, vocabulary %d", ms_tokenizer_kind(t), ms_tokenizer_vocab(t));
    *out = t;
    return MS_OK;
}

ms_status ms_prepare(const ms_prepare_options *o, const char *folder, ms_tokenizer **out,
                     const ms_log *log, ms_error *err)
{
    const char **list;
    ms_status s;

    if (o->paths < 1) return ms_fail(err, MS_INPUT, "no data is given");
    if (!(o->held_out_fraction >= 0 && o->held_out_fraction < 1))
        return ms_fail(err, MS_INPUT, "held-out fraction: expected 0 to below 1, got %g",
                       o->held_out_fraction);
    list = calloc((size_t)o->paths, sizeof *list);
    if (!list) return ms_fail(err, MS_MEMORY, "out of memory for %d paths", o->paths);
    s = prepare(*o, list, folder, out, log, err);
    free(list);
    return s;
}
