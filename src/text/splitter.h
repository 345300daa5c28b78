/* splitter - the pre-tokenizer: cuts a text into words, inside which tokens are then formed
 *
 * Stages in a row; each cuts the pieces of the one before.  The patterns of GPT-2, GPT-4 (cl100k),
 * Llama 3 and Qwen 2 have scanners of their own; any other pattern runs in PCRE2. */
#ifndef MS_TEXT_SPLITTER_H
#define MS_TEXT_SPLITTER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    MS_PATTERN_GPT2,
    MS_PATTERN_GPT4,     /* cl100k; Llama 3's has the same words */
    MS_PATTERN_GPT4_END, /* tiktoken's later cl100k: white space up to the end is one word */
    MS_PATTERN_QWEN2,    /* GPT-4's with numbers digit by digit */
    MS_PATTERN_DIGITS,   /* each number alone */
    MS_PATTERN_NUMBERS,  /* runs of numbers alone */
    MS_PATTERN_COUNT,
    MS_PATTERN_OTHER = MS_PATTERN_COUNT /* PCRE2 */
} ms_pattern;

/* The regular expression of a pattern as Hugging Face's files have it; NULL: it has none. */
const char *ms_pattern_text(ms_pattern p);

/* Bytes of the first word of a text (size_bytes > 0), by a pattern below MS_PATTERN_COUNT. */
size_t ms_pattern_word(ms_pattern p, const char *text, size_t size_bytes);

typedef struct ms_splitter ms_splitter;
ms_status ms_splitter_new(ms_splitter **out, ms_error *err);
void ms_splitter_free(ms_splitter *s);

ms_status ms_splitter_add(ms_splitter *s, ms_pattern p, ms_error *err);
/* A regular expression (or with `literal` the text itself): matches are words; what lies between
 * them too, but for keep_gaps false; with keep_matches false the matches are dropped.  The texts of
 * known patterns get their scanners. */
ms_status ms_splitter_add_regex(ms_splitter *s, const char *pattern, bool literal,
                                bool keep_matches, bool keep_gaps, ms_error *err);

/* The one pattern that is all of it; MS_PATTERN_OTHER when there is more or none. */
ms_pattern ms_splitter_only(const ms_splitter *s);
int ms_splitter_stages(const ms_splitter *s);
/* What a stage was made of; text NULL: a scanner without a pattern (numbers). */
typedef struct {
    ms_pattern pattern;
    const char *text;
    bool literal, keep_matches, keep_gaps;
} ms_stage;
ms_stage ms_splitter_stage(const ms_splitter *s, int i);

/* Calls word for each word of the text, in order. */
typedef ms_status ms_word_fn(void *user, const char *word, size_t size_bytes, ms_error *err);
ms_status ms_splitter_run(const ms_splitter *s, const char *text, size_t size_bytes,
                          ms_word_fn *word, void *user, ms_error *err);

/* A place at or behind `from` where a text can be cut without cutting a word, whatever stands on
 * either side; size_bytes when there is none. */
size_t ms_splitter_cut(const ms_splitter *s, const char *text, size_t size_bytes, size_t from);

#endif
