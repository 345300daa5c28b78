/* tokenizer - bytes to token ids and back; stored as Hugging Face's tokenizer.json
 *
 * Kinds: bytes (256 byte values, ids 0..255 = the byte, then special tokens) and chars (the
 * distinct Unicode characters of a text, sorted by code point).  Both are written as a BPE model
 * without merges (chars: of characters, with an unk token only when asked for), which `tokenizers`
 * and transformers load and which encodes there to the same ids. */
#ifndef MS_TEXT_TOKENIZER_H
#define MS_TEXT_TOKENIZER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ms_tokenizer ms_tokenizer;

/* Bytes: vocabulary 257: the bytes and "<|endoftext|>" (id 256), which also separates documents. */
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

ms_status ms_tokenizer_load(ms_tokenizer **out, const char *path, ms_error *err);
ms_status ms_tokenizer_save(const ms_tokenizer *t, const char *path, ms_error *err);
/* tokenizer_config.json, from which transformers takes the class and the special tokens. */
ms_status ms_tokenizer_save_config(const ms_tokenizer *t, int context, const char *path,
                                   ms_error *err);
void ms_tokenizer_free(ms_tokenizer *t);

int ms_tokenizer_vocab(const ms_tokenizer *t);
const char *ms_tokenizer_kind(const ms_tokenizer *t); /* "bytes", "chars" */
int ms_tokenizer_bos(const ms_tokenizer *t);          /* -1: none */
int ms_tokenizer_eos(const ms_tokenizer *t);          /* -1: none */

/* Encodes text; *ids from malloc.  A character that has no token: MS_INPUT naming it and its
 * offset. */
ms_status ms_tokenizer_encode(const ms_tokenizer *t, const char *text, size_t size_bytes,
                              int32_t **ids, size_t *count, ms_error *err);

/* The bytes of a token (not terminated, may be part of a character; none for special tokens),
 * lent until the tokenizer is freed.  NULL for an id out of range. */
const char *ms_tokenizer_piece(const ms_tokenizer *t, int32_t id, size_t *size_bytes);

/* How many bytes at the end of text are the start of an unfinished UTF-8 character (0..3): what a
 * stream holds back. */
size_t ms_utf8_pending(const char *text, size_t size_bytes);

#endif
