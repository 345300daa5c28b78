/* vocabulary - the inside of a tokenizer; private to text/ */
#ifndef MS_TEXT_VOCABULARY_H
#define MS_TEXT_VOCABULARY_H

#include "text/tokenizer.h"

typedef enum { MS_TOKENIZER_BYTES, MS_TOKENIZER_CHARS } ms_tokenizer_type;

struct ms_tokenizer {
    ms_tokenizer_type type;
    int vocab;
    int eos; /* -1: none */
    struct {
        char text[4];
        uint8_t size_bytes; /* 0: a special token */
    } * piece;              /* (vocab) */
    int32_t *id_of;         /* of a code point, -1: none; chars only */
};

/* A vocabulary without pieces; chars: no code point has an id. */
ms_status ms_vocabulary_new(ms_tokenizer **out, ms_tokenizer_type type, int vocab, ms_error *err);
void ms_vocabulary_set_char(ms_tokenizer *t, int id, uint32_t code);

/* Bytes of the first character of text (size_bytes > 0) and its code point; 0: not valid UTF-8. */
int ms_utf8_read(const char *text, size_t size_bytes, uint32_t *code);
/* Bytes of a code point. */
int ms_utf8_write(uint32_t code, char out[4]);

#endif
