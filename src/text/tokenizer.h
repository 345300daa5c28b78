/* tokenizer - text to token ids and back; stored as Hugging Face's tokenizer.json
 *
 *   text -> added tokens are cut out -> normalizer -> splitter (words) -> symbols -> merges -> ids
 *
 * One machine for all kinds.  bytes: symbols are bytes, no merges (ids 0..255 = the byte).  chars:
 * symbols are characters, no merges.  Byte-level BPE (GPT-2, GPT-4, Llama 3, Qwen): bytes and
 * merges.  SentencePiece BPE (Llama 2, Mistral): characters and merges, bytes for characters that
 * have no token. */
#ifndef MS_TEXT_TOKENIZER_H
#define MS_TEXT_TOKENIZER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ms_tokenizer ms_tokenizer;

#define MS_END_OF_TEXT "<|endoftext|>"

/* Bytes: vocabulary 257: the bytes and MS_END_OF_TEXT (id 256), which also separates documents. */
ms_status ms_tokenizer_bytes(ms_tokenizer **out, ms_error *err);

/* Chars: collects characters from any number of texts, then makes the tokenizer.  Invalid UTF-8 is
 * MS_INPUT with the offset.  No special token: vocabulary = distinct characters (65 for
 * tinyshakespeare). */
typedef struct ms_chars ms_chars;
ms_status ms_chars_new(ms_chars **out, ms_error *err);
ms_status ms_chars_add(ms_chars *c, const char *text, size_t size_bytes, ms_error *err);
ms_status ms_chars_finish(ms_chars *c, ms_tokenizer **out,
                          ms_error *err); /* frees c in every case */
void ms_chars_free(ms_chars *c);

/* A tokenizer.json, and tokenizer_config.json beside it when there is one: special tokens, chat
 * template. */
ms_status ms_tokenizer_load(ms_tokenizer **out, const char *path, ms_error *err);
/* What was read is written again as it was; what was made here, as `tokenizers` would. */
ms_status ms_tokenizer_save(const ms_tokenizer *t, const char *path, ms_error *err);
/* tokenizer_config.json, from which transformers takes the class and the special tokens. */
ms_status ms_tokenizer_save_config(const ms_tokenizer *t, int context, const char *path,
                                   ms_error *err);
void ms_tokenizer_free(ms_tokenizer *t);

int ms_tokenizer_vocab(const ms_tokenizer *t);
const char *ms_tokenizer_kind(const ms_tokenizer *t); /* "bytes", "chars", "bpe", "sentencepiece" */
int ms_tokenizer_bos(const ms_tokenizer *t);          /* -1: none */
int ms_tokenizer_eos(const ms_tokenizer *t);          /* -1: none */
const char *ms_tokenizer_chat_template(const ms_tokenizer *t); /* NULL: none */
/* The id of a token by its text in files ("<|im_end|>"); -1: none. */
int ms_tokenizer_find(const ms_tokenizer *t, const char *token);
/* The token's text in files; NULL for an id that has none. */
const char *ms_tokenizer_name(const ms_tokenizer *t, int32_t id);

/* Encodes text; *ids from malloc.  A character that has no token: MS_INPUT naming it and its
 * offset.  Time is n log n in the worst case, linear in practice; any number of threads may use a
 * tokenizer at once. */
enum {
    MS_ENCODE_TEXT = 0,     /* nothing in the text is special: what strangers write */
    MS_ENCODE_SPECIALS = 1, /* "<|im_start|>" is that token */
    MS_ENCODE_FRAME = 2     /* with the tokens that the model expects around a text (bos) */
};
ms_status ms_tokenizer_encode(const ms_tokenizer *t, const char *text, size_t size_bytes, int flags,
                              int32_t **ids, size_t *count, ms_error *err);

/* Bytes [begin, end) of a text. */
typedef struct {
    size_t begin, end;
} ms_text_range;

/* With MS_ENCODE_SPECIALS, but nothing is special that overlaps one of the ranges (ascending,
 * apart): what strangers wrote, inside a text of ours. */
ms_status ms_tokenizer_encode_around(const ms_tokenizer *t, const char *text, size_t size_bytes,
                                     const ms_text_range *strange, size_t ranges, int32_t **ids,
                                     size_t *count, ms_error *err);

/* The bytes of a token (not terminated, may be part of a character; none for special tokens),
 * lent until the tokenizer is freed.  NULL for an id out of range. */
const char *ms_tokenizer_piece(const ms_tokenizer *t, int32_t id, size_t *size_bytes);
/* Whether MS_ENCODE_FRAME puts bos in front. */
bool ms_tokenizer_frames(const ms_tokenizer *t);
/* Whether a whole text begins with a space that encoding has put there. */
bool ms_tokenizer_leads(const ms_tokenizer *t);

/* How many bytes at the end of text are the start of an unfinished UTF-8 character (0..3): what a
 * stream holds back. */
size_t ms_utf8_pending(const char *text, size_t size_bytes);

#endif
