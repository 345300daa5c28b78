/* output - the tokens of one answer: their ids, and the text that can be shown so far
 *
 *   raw    | bytes of whole characters | 0..3 bytes of a character that may still come |
 *   text   | the same characters                |
 *   shown  |-------------->                       what ms_output_fresh has given out
 *
 * Text is always UTF-8 without NUL: what is no character becomes U+FFFD. */
#ifndef MS_INFER_OUTPUT_H
#define MS_INFER_OUTPUT_H

#include "base/status.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *data; /* 0-terminated as soon as something was added */
    size_t size_bytes, room_bytes;
} ms_bytes;

typedef struct {
    const ms_tokenizer *tokenizer;
    int32_t *ids; /* room tokens */
    size_t count, room;
    ms_bytes raw, text;
    size_t read_bytes;  /* of raw: already in text */
    size_t shown_bytes; /* of text */
} ms_output;

/* Room for `room` tokens. */
ms_status ms_output_new(ms_output *out, const ms_tokenizer *t, size_t room, ms_error *err);
void ms_output_free(ms_output *o); /* accepts a zeroed one */

/* Adds a token (at most `room` of them).  An id without a piece adds no text. */
ms_status ms_output_push(ms_output *o, int32_t id, ms_error *err);

/* No token will follow: an unfinished character becomes U+FFFD. */
ms_status ms_output_finish(ms_output *o, ms_error *err);

/* The text that was added since the last call, lent until the next push; "" when none. */
const char *ms_output_fresh(ms_output *o, size_t *size_bytes);

/* Appends; room_bytes doubles.  The terminating 0 is not counted. */
ms_status ms_bytes_add(ms_bytes *b, const char *data, size_t size_bytes, ms_error *err);

#endif
