/* splitter - scanners of the common patterns, PCRE2 for all others */
#include "text/splitter.h"

#include "text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>
#include <string.h>

enum { STAGES_MAX = 8, MATCH_LIMIT = 10 * 1000 * 1000 };

/* -- scanners -------------------------------------------------------------------------------- */

typedef const uint8_t *at;

/* The class of the character at p (p < end) and its bytes; what is no character is OTHER. */
static inline int class_at(const uint8_t *classes, at p, at end, int *bytes)
{
    uint32_t code;

    if (*p < 0x80) {
        *bytes = 1;
        return classes[*p];
    }
    *bytes = ms_utf8_read((const char *)p, (size_t)(end - p), &code);
    if (*bytes) return classes[code];
    *bytes = 1;
    return MS_CLASS_OTHER;
}

/* The end of a run of characters of one class. */
static inline at run(const uint8_t *classes, at p, at end, int class)
{
    int n;

    while (p < end) {
        while (p < end && *p < 0x80 && classes[*p] == class) p++;
        if (p == end || *p < 0x80) return p;
        if (class_at(classes, p, end, &n) != class) return p;
        p += n;
    }
    return p;
}

static inline at newlines(at p, at end)
{
    while (p < end && (*p == '\n' || *p == '\r')) p++;
    return p;
}

/* Bytes of 's 't 're 've 'm 'll 'd at p; 0: none.  In either case the long s (U+017F) is an s. */
static int contraction(at p, at end, bool any_case)
{
    size_t left = (size_t)(end - p);
    int fold = any_case ? 0x20 : 0, a, b;

    if (left < 2) return 0;
    a = p[1] | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (left < 3) return 0;
    if (any_case && p[1] == 0xc5 && p[2] == 0xbf) return 3;
    b = p[2] | fold;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ where a space stands at p. */
static at spaces(const uint8_t *classes, at p, at end)
{
    at last = p, next = p;
    int n;

    while (next < end && class_at(classes, next, end, &n) == MS_CLASS_SPACE) {
        last = next;
        next += n;
    }
    return next == end || last == p ? next : last;
}

static at word_gpt2(const uint8_t *classes, at p, at end)
{
    int n, class = class_at(classes, p, end, &n);

    if (*p == '\'') {
        n = contraction(p, end, false);
        if (n) return p + n;
    }
    if (*p == ' ' && p + 1 < end) {
        int next = class_at(classes, p + 1, end, &n);

        if (next != MS_CLASS_SPACE) return run(classes, p + 1 + n, end, next);
    }
    if (class == MS_CLASS_SPACE) return spaces(classes, p, end);
    return run(classes, p, end, class);
}

static at numbers(const uint8_t *classes, at p, at end, int most)
{
    int n;

    while (most-- > 0 && p < end && class_at(classes, p, end, &n) == MS_CLASS_NUMBER) p += n;
    return p;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ where a space stands at p. */
static at spaces_and_lines(const uint8_t *classes, at p, at end)
{
    at line = NULL;
    int n;

    for (at q = p; q < end && class_at(classes, q, end, &n) == MS_CLASS_SPACE; q += n)
        if (*q == '\n' || *q == '\r') line = q;
    return line ? line + 1 : spaces(classes, p, end);
}

/* end_whole: \\s+$ comes before \\s*[\\r\\n]. */
static at word_gpt4(const uint8_t *classes, at p, at end, int digits, bool end_whole)
{
    int n, next_bytes, class = class_at(classes, p, end, &n), next = -1;

    if (*p == '\'') {
        int bytes = contraction(p, end, true);

        if (bytes) return p + bytes;
    }
    if (class == MS_CLASS_LETTER) return run(classes, p + n, end, class);
    if (class == MS_CLASS_NUMBER) return numbers(classes, p, end, digits);
    if (p + n < end) next = class_at(classes, p + n, end, &next_bytes);
    if (next == MS_CLASS_LETTER && *p != '\n' && *p != '\r')
        return run(classes, p + n + next_bytes, end, next);
    if (class == MS_CLASS_OTHER) return newlines(run(classes, p + n, end, class), end);
    if (*p == ' ' && next == MS_CLASS_OTHER)
        return newlines(run(classes, p + n + next_bytes, end, next), end);
    if (end_whole && run(classes, p, end, MS_CLASS_SPACE) == end) return end;
    return spaces_and_lines(classes, p, end);
}

/* Numbers alone (each, or runs), and everything between them in one piece. */
static at word_numbers(const uint8_t *classes, at p, at end, bool each)
{
    int n, number = class_at(classes, p, end, &n) == MS_CLASS_NUMBER;

    if (number && each) return p + n;
    while (p < end && (class_at(classes, p, end, &n) == MS_CLASS_NUMBER) == number) p += n;
    return p;
}

size_t ms_pattern_word(ms_pattern pattern, const char *text, size_t size_bytes)
{
    const uint8_t *classes = ms_unicode_classes();
    at p = (at)text, end = p + size_bytes;

    switch (pattern) {
    case MS_PATTERN_GPT2: return (size_t)(word_gpt2(classes, p, end) - p);
    case MS_PATTERN_GPT4: return (size_t)(word_gpt4(classes, p, end, 3, false) - p);
    case MS_PATTERN_GPT4_END: return (size_t)(word_gpt4(classes, p, end, 3, true) - p);
    case MS_PATTERN_QWEN2: return (size_t)(word_gpt4(classes, p, end, 1, false) - p);
    case MS_PATTERN_DIGITS: return (size_t)(word_numbers(classes, p, end, true) - p);
    case MS_PATTERN_NUMBERS: return (size_t)(word_numbers(classes, p, end, false) - p);
    case MS_PATTERN_COUNT: break;
    }
    return size_bytes;
}

/* Several files write the same pattern differently. */
static const struct {
    ms_pattern pattern;
    const char *text;
} known[] = {
    {MS_PATTERN_GPT2,
     "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {MS_PATTERN_GPT4, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {MS_PATTERN_GPT4, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {MS_PATTERN_GPT4, "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
                      "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {MS_PATTERN_GPT4_END, "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| "
                          "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"},
    {MS_PATTERN_QWEN2, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                       "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
};
enum { KNOWN = sizeof known / sizeof *known };

const char *ms_pattern_text(ms_pattern p)
{
    for (int i = 0; i < KNOWN; i++)
        if (known[i].pattern == p) return known[i].text;
    return NULL;
}

/* -- stages ---------------------------------------------------------------------------------- */

typedef struct {
    ms_pattern pattern;
    pcre2_code *code; /* MS_PATTERN_OTHER, and its text */
    char *text;
    bool literal, keep_matches, keep_gaps;
} stage;

struct ms_splitter {
    stage stage[STAGES_MAX];
    int stages;
};

ms_status ms_splitter_new(ms_splitter **out, ms_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for a pre-tokenizer");
}

void ms_splitter_free(ms_splitter *s)
{
    if (!s) return;
    for (int i = 0; i < s->stages; i++) {
        pcre2_code_free(s->stage[i].code);
        free(s->stage[i].text);
    }
    free(s);
}

static ms_status append(ms_splitter *s, stage new, ms_error *err)
{
    if (s->stages == STAGES_MAX) {
        pcre2_code_free(new.code);
        free(new.text);
        return ms_fail(err, MS_UNSUPPORTED, "pre_tokenizer: more than %d stages", STAGES_MAX);
    }
    s->stage[s->stages++] = new;
    return MS_OK;
}

ms_status ms_splitter_add(ms_splitter *s, ms_pattern p, ms_error *err)
{
    return append(s, (stage){.pattern = p, .keep_matches = true, .keep_gaps = true}, err);
}

ms_status ms_splitter_add_regex(ms_splitter *s, const char *pattern, bool literal,
                                bool keep_matches, bool keep_gaps, ms_error *err)
{
    uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
    stage new = {MS_PATTERN_OTHER, NULL, NULL, literal, keep_matches, keep_gaps};
    PCRE2_SIZE offset;
    int code;

    for (int i = 0; i < KNOWN && !literal && keep_matches; i++)
        if (!strcmp(known[i].text, pattern)) return ms_splitter_add(s, known[i].pattern, err);
    new.code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, flags, &code, &offset, NULL);
    if (!new.code) {
        char text[80];

        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        return ms_fail(err, MS_INPUT, "pattern \"%.60s\": %s at %zu", pattern, text,
                       (size_t)offset);
    }
    new.text = strdup(pattern);
    if (!new.text) {
        pcre2_code_free(new.code);
        return ms_fail(err, MS_MEMORY, "out of memory for a pattern");
    }
    pcre2_jit_compile(new.code, PCRE2_JIT_COMPLETE); /* without it the interpreter runs */
    return append(s, new, err);
}

ms_pattern ms_splitter_only(const ms_splitter *s)
{
    return s->stages == 1 ? s->stage[0].pattern : MS_PATTERN_OTHER;
}

int ms_splitter_stages(const ms_splitter *s)
{
    return s->stages;
}

ms_stage ms_splitter_stage(const ms_splitter *s, int i)
{
    const stage *from = &s->stage[i];

    return (ms_stage){from->pattern, from->text ? from->text : ms_pattern_text(from->pattern),
                      from->literal, from->keep_matches, from->keep_gaps};
}

/* -- running --------------------------------------------------------------------------------- */

typedef struct {
    const ms_splitter *s;
    ms_word_fn *word;
    void *user;
    pcre2_match_context *limits;
} runner;

static ms_status run_stage(const runner *r, int i, const char *text, size_t size, ms_error *err);

static ms_status run_scanner(const runner *r, int i, const char *text, size_t size, ms_error *err)
{
    while (size > 0) {
        size_t n = ms_pattern_word(r->s->stage[i].pattern, text, size);

        MS_TRY(run_stage(r, i + 1, text, n, err));
        text += n;
        size -= n;
    }
    return MS_OK;
}

static ms_status run_pieces(const runner *r, int i, pcre2_match_data *found, const char *text,
                            size_t size, ms_error *err)
{
    const stage *s = &r->s->stage[i];
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(found);
    size_t done = 0, from = 0;

    while (from <= size) {
        int n = pcre2_match(s->code, (PCRE2_SPTR)text, size, from, 0, found, r->limits);

        if (n == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter has its stack on the heap */
            n = pcre2_match(s->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_JIT, found, r->limits);
        if (n == PCRE2_ERROR_NOMATCH) break;
        if (n < 0)
            return ms_fail(err, MS_UNSUPPORTED,
                           "the pre-tokenizer's pattern takes too long (PCRE2 error %d)", n);
        from = span[1] > span[0] ? span[1] : span[1] + 1; /* an empty match is no word */
        if (span[1] == span[0]) continue;
        if (s->keep_gaps && span[0] > done)
            MS_TRY(run_stage(r, i + 1, text + done, span[0] - done, err));
        if (s->keep_matches) MS_TRY(run_stage(r, i + 1, text + span[0], span[1] - span[0], err));
        done = span[1];
    }
    return s->keep_gaps && done < size ? run_stage(r, i + 1, text + done, size - done, err) : MS_OK;
}

static ms_status run_regex(const runner *r, int i, const char *text, size_t size, ms_error *err)
{
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    ms_status s = found ? run_pieces(r, i, found, text, size, err)
                        : ms_fail(err, MS_MEMORY, "out of memory for a match");

    pcre2_match_data_free(found);
    return s;
}

static ms_status run_stage(const runner *r, int i, const char *text, size_t size, ms_error *err)
{
    if (i == r->s->stages) return size ? r->word(r->user, text, size, err) : MS_OK;
    return r->s->stage[i].pattern == MS_PATTERN_OTHER ? run_regex(r, i, text, size, err)
                                                      : run_scanner(r, i, text, size, err);
}

ms_status ms_splitter_run(const ms_splitter *s, const char *text, size_t size_bytes,
                          ms_word_fn *word, void *user, ms_error *err)
{
    runner r = {.s = s, .word = word, .user = user, .limits = pcre2_match_context_create(NULL)};
    ms_status status;

    if (!r.limits) return ms_fail(err, MS_MEMORY, "out of memory for a pre-tokenizer");
    pcre2_set_match_limit(r.limits, MATCH_LIMIT);
    status = run_stage(&r, 0, text, size_bytes, err);
    pcre2_match_context_free(r.limits);
    return status;
}

/* Behind a line's end, with a letter in front of it and one behind: there every scanner starts a
 * new word, and looks no further in either direction. */
size_t ms_splitter_cut(const ms_splitter *s, const char *text, size_t size_bytes, size_t from)
{
    const uint8_t *classes = ms_unicode_classes();
    bool words = false; /* numbers alone leave everything between them in one piece */

    for (int i = 0; i < s->stages; i++) {
        if (s->stage[i].pattern == MS_PATTERN_OTHER) return size_bytes;
        words = words || s->stage[i].pattern < MS_PATTERN_DIGITS;
    }
    for (size_t i = from < 2 ? 2 : from; i < size_bytes && words; i++) {
        uint8_t before = (uint8_t)text[i - 2], behind = (uint8_t)text[i];

        if (text[i - 1] == '\n' && before < 0x80 && behind < 0x80 &&
            classes[before] == MS_CLASS_LETTER && classes[behind] == MS_CLASS_LETTER)
            return i;
    }
    return size_bytes;
}
