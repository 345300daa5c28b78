/* vocabulary - the inside of a tokenizer; private to text/ */
#ifndef MS_TEXT_VOCABULARY_H
#define MS_TEXT_VOCABULARY_H

#include "text/bpe.h"
#include "text/splitter.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

enum { MS_VOCAB_MAX = 1 << 21, MS_NORMALIZERS_MAX = 8, MS_FRAME_MAX = 4 };

/* What words are made of before any merge. */
typedef enum {
    MS_SYMBOLS_BYTES, /* shown in files by GPT-2's alphabet of printable characters */
    MS_SYMBOLS_CHARS
} ms_symbols;

typedef enum {
    MS_TOKEN_NONE, /* an id that no token has */
    MS_TOKEN_NORMAL,
    MS_TOKEN_BYTE,   /* "<0x0A>" of byte fallback */
    MS_TOKEN_ADDED,  /* found in the text before anything else */
    MS_TOKEN_SPECIAL /* likewise, and stands for no text */
} ms_token_kind;

typedef struct {
    uint32_t key_at, key_bytes;     /* in text: the token as files have it */
    uint32_t piece_at, piece_bytes; /* the bytes that it stands for */
    uint8_t kind;
    bool lstrip, rstrip; /* added: takes the white space in front, behind */
    float score;         /* of SentencePiece; kept for GGUF */
} ms_token;

typedef enum {
    MS_NORMALIZE_NFC,
    MS_NORMALIZE_NFD,
    MS_NORMALIZE_NFKC,
    MS_NORMALIZE_NFKD,
    MS_NORMALIZE_PREPEND, /* from, unless the text is empty */
    MS_NORMALIZE_LEAD,    /* from, unless the text begins with it */
    MS_NORMALIZE_REPLACE  /* from by to */
} ms_normalizer_kind;
typedef struct {
    ms_normalizer_kind kind;
    char from[16], to[16];
    bool first_only; /* only the text that begins the whole */
} ms_normalizer;

struct ms_tokenizer {
    ms_symbols symbols;
    int vocab;       /* ids are below */
    ms_token *token; /* (room) */
    int room;
    char *text; /* of keys and pieces */
    size_t text_bytes, text_room;
    size_t longest; /* bytes of a key */

    int32_t *by_key; /* hash table of ids by key; -1: empty */
    size_t by_key_room;
    int32_t byte_id[256]; /* BYTES: of each byte, CHARS: of byte tokens; -1: none */
    int32_t *added;       /* ids of added tokens, longest first among those of a first byte */
    int added_count;
    uint16_t added_first[257]; /* where those of a first byte begin */

    ms_bpe merges;
    uint64_t *merge; /* (merge_count) pairs in order of rank, for writing; owned */
    size_t merge_count;
    bool ignore_merges; /* a word that is a token is that token */
    bool byte_fallback, fuse_unk, words_end_at_space;
    bool spaces_shown;     /* "▁" stands for a space */
    bool scored;           /* merges came from scores (SentencePiece) */
    ms_splitter *splitter; /* NULL: the text is one word */
    ms_normalizer normalizer[MS_NORMALIZERS_MAX];
    int normalizers;
    int32_t front[MS_FRAME_MAX], back[MS_FRAME_MAX]; /* put around a text */
    int fronts, backs;
    int bos, eos, unk;
    char *chat_template; /* NULL: none */
    char *json, *config; /* the files as read, to be written again; NULL: made by us */
};

#define MS_SPACE_SHOWN "\xe2\x96\x81" /* U+2581 */

ms_status ms_vocabulary_new(ms_tokenizer **out, ms_symbols symbols, ms_error *err);
/* Gives an id its token; MS_FORMAT when it has one, or the id is too high. */
ms_status ms_vocabulary_set(ms_tokenizer *t, int32_t id, const char *key, size_t key_bytes,
                            ms_token_kind kind, ms_error *err);
/* With all ids set: pieces, look-up by key; MS_FORMAT for a key that is there twice. */
ms_status ms_vocabulary_finish(ms_tokenizer *t, ms_error *err);
int32_t ms_vocabulary_find(const ms_tokenizer *t, const char *key, size_t key_bytes); /* -1: none */
/* With keys known: the next merge, by keys; MS_FORMAT when one of the three is no token. */
ms_status ms_vocabulary_merge(ms_tokenizer *t, const char *left, size_t left_bytes,
                              const char *right, size_t right_bytes, ms_error *err);
ms_status ms_vocabulary_merge_ids(ms_tokenizer *t, int32_t left, int32_t right, int32_t id,
                                  ms_error *err);
/* With everything known: added tokens by first byte, safe places to cut. */
ms_status ms_vocabulary_seal(ms_tokenizer *t, ms_error *err);

static inline const char *ms_token_key(const ms_tokenizer *t, int32_t id)
{
    return t->text + t->token[id].key_at; /* terminated */
}

/* GPT-2's alphabet: the character that shows a byte, and the byte of a character (-1: none). */
uint32_t ms_byte_character(int byte);
int ms_character_byte(uint32_t code);

#endif
