/* Pre-tokenizers: scanners find the words of their own regular expression in PCRE2; places to cut
 * are between words; patterns that cannot be used are refused. */
#include "text/splitter.h"

#include "../base/scratch.h"
#include "base/rng.h"
#include "text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>
#include <utf8proc.h>

#define GPT2  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CASES "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define OTHER " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
#define ENDS  "\\s+(?!\\S)|\\s+"

/* The texts in files of models: GPT-2, GPT-4 and Llama 3 in four spellings, Qwen 2. */
static const char *const KNOWN[] = {
    GPT2,
    CASES "\\p{N}{1,3}|" OTHER "\\s*[\\r\\n]+|" ENDS,
    CASES "\\p{N}{1,3}|" OTHER "\\s*[\\r\\n]|" ENDS,
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| "
    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
    CASES "\\p{N}|" OTHER "\\s*[\\r\\n]+|" ENDS,
};
enum { TEXTS = COUNT(KNOWN), PAIRS = TEXTS + 2, WORDS = 1024, TEXT = 1024 };

/* -- two splitters of one pattern ------------------------------------------------------------ */

typedef struct {
    const char *name;
    ms_splitter *scanner, *regex;
} pair;

static pair made(int i)
{
    static const char *const numbers[] = {"\\p{N}", "\\p{N}+"};
    const char *text = i < TEXTS ? KNOWN[i] : numbers[i - TEXTS];
    char wrapped[512];
    pair p = {.name = text};
    ms_error err;

    must(ms_splitter_new(&p.scanner, &err), &err);
    must(ms_splitter_new(&p.regex, &err), &err);
    if (i < TEXTS)
        must(ms_splitter_add_regex(p.scanner, text, false, true, true, &err), &err);
    else
        must(ms_splitter_add(p.scanner, MS_PATTERN_DIGITS + (ms_pattern)(i - TEXTS), &err), &err);
    snprintf(wrapped, sizeof wrapped, "(?:%s)", text);
    must(ms_splitter_add_regex(p.regex, wrapped, false, true, true, &err), &err);
    if (ms_splitter_only(p.scanner) >= MS_PATTERN_COUNT) fail_msg("no scanner for %s", text);
    assert_int_equal(ms_splitter_only(p.regex), MS_PATTERN_OTHER);
    return p;
}

static void dropped(pair *p)
{
    ms_splitter_free(p->scanner);
    ms_splitter_free(p->regex);
}

typedef struct {
    const char *text;
    size_t end[WORDS], count, at;
} words;

static ms_status note(void *user, const char *word, size_t n, ms_error *err)
{
    words *w = user;

    (void)err;
    if (word != w->text + w->at || n == 0 || w->count == WORDS) fail_msg("words are not in a row");
    w->at += n;
    w->end[w->count++] = w->at;
    return MS_OK;
}

static void split(const ms_splitter *s, const char *text, size_t n, words *w)
{
    ms_error err;

    w->text = text;
    w->count = w->at = 0;
    must(ms_splitter_run(s, text, n, note, w, &err), &err);
    if (w->at != n) fail_msg("words cover %zu of %zu bytes", w->at, n);
}

static void show(char *out, size_t room, const char *text, const words *w)
{
    size_t used = 0, word = 0;

    for (size_t i = 0; i < w->at && used + 8 < room; i++) {
        uint8_t c = (uint8_t)text[i];

        used += (size_t)snprintf(out + used, room - used, c > 32 && c < 127 ? "%c" : "\\x%02x", c);
        if (i + 1 == w->end[word] && ++word) out[used++] = '|';
    }
    out[used] = 0;
}

/* Returns whether both cut a text alike; says how they do not. */
static bool alike(const pair *p, const char *text, size_t n)
{
    static words a, b;
    char first[400], second[400];

    split(p->scanner, text, n, &a);
    split(p->regex, text, n, &b);
    if (a.count == b.count && !memcmp(a.end, b.end, a.count * sizeof *a.end)) return true;
    show(first, sizeof first, text, &a);
    show(second, sizeof second, text, &b);
    print_message("%s\n    scanner %s\n    PCRE2   %s\n", p->name, first, second);
    return false;
}

/* -- code points on which PCRE2 and utf8proc agree ------------------------------------------- */

static uint8_t *agreed;

static pcre2_code *category(const char *name)
{
    char text[16];
    PCRE2_SIZE offset;
    int code;
    pcre2_code *made_code;

    snprintf(text, sizeof text, "\\p{%s}", name);
    made_code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                              &offset, NULL);
    assert_non_null(made_code);
    pcre2_jit_compile(made_code, PCRE2_JIT_COMPLETE);
    return made_code;
}

/* They come from different versions of Unicode, and classes are made newer still.  U+180E is a
 * space for PCRE2 alone. */
static int find_agreed(void **state)
{
    pcre2_code *code[32] = {0};
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    int others = 0;

    (void)state;
    agreed = calloc(1, MS_CODE_POINTS);
    if (!agreed || !found) return -1;
    for (int32_t c = 0; c < MS_CODE_POINTS; c++) {
        utf8proc_category_t k = utf8proc_category(c);
        char text[4];
        int n = ms_utf8_write((uint32_t)c, text);

        if (c >= 0xd800 && c < 0xe000) continue;
        if (!code[k]) code[k] = category(utf8proc_category_string(c));
        agreed[c] = c != 0x180e && (k != UTF8PROC_CATEGORY_CN || !ms_unicode_classes()[c]) &&
                    pcre2_match(code[k], (PCRE2_SPTR)text, (size_t)n, 0, 0, found, NULL) > 0;
        others += !agreed[c];
    }
    for (int k = 0; k < 32; k++) pcre2_code_free(code[k]);
    pcre2_match_data_free(found);
    print_message("%d code points are not the same to PCRE2 and utf8proc\n", others);
    return others < 20000 ? 0 : -1;
}

static int forget_agreed(void **state)
{
    (void)state;
    free(agreed);
    return 0;
}

/* -- scanners -------------------------------------------------------------------------------- */

/* One of each class; long ones for what looks further than a character. */
static const char *const AROUND[] = {"a",
                                     "Z",
                                     "1",
                                     "12",
                                     " ",
                                     "  ",
                                     "\n",
                                     "\r",
                                     "\r\n",
                                     "\t",
                                     "'",
                                     "'s",
                                     "!",
                                     "\xcc\x81",
                                     "\xf0\x9f\x98\x80",
                                     "\xe3\x80\x80",
                                     "\xc3\xa9",
                                     "'L",
                                     "\xc2\x85"};

static size_t around(char *text, uint32_t code)
{
    size_t used = 0, n = COUNT(AROUND);

    for (size_t i = 0; i < n; i++) {
        size_t step = i % 2 ? 1 : 5; /* what stands behind differs from what stands before */
        const char *before = AROUND[i], *behind = AROUND[(i + step) % n];

        used += (size_t)sprintf(text + used, "%s", before);
        used += (size_t)ms_utf8_write(code, text + used);
        used += (size_t)sprintf(text + used, "%s", behind);
    }
    return used;
}

/* Planes 3 to 16 are of one kind (not assigned, private): every code point alone, some in text. */
static void code_points_are_split_as_in_pcre2(void **state)
{
    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        pair p = made(i);
        int wrong = 0;

        for (uint32_t c = 0; c < MS_CODE_POINTS && wrong < 5; c++) {
            bool plain = c >= 0x30000 && c % 251 && !(c >= 0xe0000 && c < 0xe0200);
            char text[TEXT];
            size_t n;

            if (!agreed[c]) continue;
            n = (size_t)ms_utf8_write(c, text);
            bool same = alike(&p, text, n);
            if (!plain) {
                n = around(text, c);
                same = alike(&p, text, n) && same;
            }
            if (!same) print_message("    at U+%04X\n", (unsigned)c);
            wrong += !same;
        }
        dropped(&p);
        if (wrong) fail_msg("%s: not the words of PCRE2", KNOWN[i < TEXTS ? i : 0]);
    }
}

/* Every code point directly before and behind every neighbour, for code points of few bytes. */
static void neighbours_of_every_kind_are_split_as_in_pcre2(void **state)
{
    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        pair p = made(i);
        int wrong = 0;

        for (uint32_t c = 0; c < 0x3100 && wrong < 5; c++)
            for (size_t k = 0; k < COUNT(AROUND) && agreed[c]; k++) {
                char text[16];
                size_t before = strlen(AROUND[k]);

                memcpy(text, AROUND[k], before);
                size_t n = before + (size_t)ms_utf8_write(c, text + before);
                wrong += !alike(&p, text, n);
                wrong += !alike(&p, text + before, n - before);
                n = (size_t)ms_utf8_write(c, text);
                memcpy(text + n, AROUND[k], before);
                wrong += !alike(&p, text, n + before);
            }
        dropped(&p);
        if (wrong) fail_msg("%d texts do not have the words of PCRE2", wrong);
    }
}

/* 'xy for all pairs of ASCII, and the letters of contractions in every case, with the long s. */
static void contractions_are_split_as_in_pcre2(void **state)
{
    static const char *const letter[] = {"s", "S", "\xc5\xbf", "t",        "T", "m", "M",
                                         "d", "D", "l",        "L",        "v", "V", "r",
                                         "R", "e", "E",        "\xc4\xb1", "'", "",  " "};

    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        pair p = made(i);
        int wrong = 0;
        char text[32];

        for (int c = 0; c < 128 * 128; c++) {
            const char ascii[] = {'\'', (char)(c / 128), (char)(c % 128), 'b'};
            wrong += !alike(&p, ascii, 3) || !alike(&p, ascii, 4);
        }
        for (size_t a = 0; a < COUNT(letter); a++)
            for (size_t b = 0; b < COUNT(letter); b++)
                for (size_t k = 0; k < COUNT(AROUND); k++) {
                    const char *near = AROUND[k];

                    sprintf(text, "%s'%s%s%s", near, letter[a], letter[b], near);
                    wrong += !alike(&p, text, strlen(text));
                }
        dropped(&p);
        if (wrong) fail_msg("%d texts do not have the words of PCRE2", wrong);
    }
}

/* All texts of up to five characters, then long random ones. */
static void runs_of_spaces_and_lines_are_split_as_in_pcre2(void **state)
{
    static const char *const of[] = {" ", "\n", "\r", "\t", "a", "!", "1", "\xc2\xa0", "'", "s"};
    enum { KINDS = COUNT(of) };

    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        pair p = made(i);
        ms_rng rng = ms_rng_new(7, (uint32_t)i, MS_SITE_TEST);
        char text[TEXT];
        int wrong = 0;

        for (int k = 0; k < 100000 && wrong < 5; k++) {
            text[0] = 0;
            for (int rest = k; rest; rest /= KINDS) strcat(text, of[rest % KINDS]);
            wrong += *text && !alike(&p, text, strlen(text));
        }
        for (int k = 0; k < 5000 && wrong < 10; k++) {
            int n = (int)(ms_rng_below(&rng, 60)), kinds = k % 2 ? KINDS : 5;

            strcpy(text, "x");
            while (n-- > 0) strcat(text, of[ms_rng_below(&rng, (uint32_t)kinds)]);
            wrong += !alike(&p, text, strlen(text));
        }
        dropped(&p);
        if (wrong) print_message("text %d of KNOWN\n", i);
        if (wrong) fail_msg("texts do not have the words of PCRE2");
    }
}

/* No reference says how: all bytes are in words, and no character is cut. */
static void invalid_utf8_is_split_without_loss(void **state)
{
    static const char *const bad[] = {
        "\xff",         "\x80",         "\xc3",     "\xe3\x80",
        "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
        "\xfe\xff"};
    static words w;

    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        pair p = made(i);

        for (size_t b = 0; b < COUNT(bad); b++)
            for (size_t k = 0; k < COUNT(AROUND); k++)
                for (size_t m = 0; m < COUNT(AROUND); m++) {
                    char text[32];
                    uint32_t code;

                    sprintf(text, "%s%s%s%s", AROUND[k], bad[b], AROUND[m], k % 2 ? bad[b] : "");
                    split(p.regex, text, strlen(text), &w);
                    split(p.scanner, text, strlen(text), &w);
                    for (size_t at = 0, word = 0; text[at];) {
                        int n = ms_utf8_read(text + at, strlen(text + at), &code);

                        at += (size_t)(n ? n : 1);
                        if (w.end[word] < at) fail_msg("a character is cut in %s", text);
                        word += w.end[word] == at;
                    }
                }
        dropped(&p);
    }
}

/* -- cutting --------------------------------------------------------------------------------- */

static void expect_cuts(const ms_splitter *s, const char *text, size_t n, const char *name)
{
    static words all, part;

    split(s, text, n, &all);
    for (size_t from = 0, cut; from <= n; from = cut + 1) {
        size_t word = 0;

        cut = ms_splitter_cut(s, text, n, from);
        if (cut < from || cut > n) fail_msg("%s: cut at %zu, from %zu", name, cut, from);
        if (cut == n) break;
        while (all.end[word] < cut) word++;
        if (all.end[word] != cut) fail_msg("%s: a word is cut at %zu of \"%s\"", name, cut, text);
        split(s, text, cut, &part);
        assert_int_equal(part.count, word + 1);
        assert_memory_equal(part.end, all.end, part.count * sizeof *all.end);
        split(s, text + cut, n - cut, &part);
        assert_int_equal(part.count, all.count - word - 1);
    }
}

static void places_to_cut_are_between_words(void **state)
{
    static const char *const of[] = {"a", "b", "\n", "a\nb", " ", "\r", "'s", "1", "!", "\xc3\xa9"};
    ms_error err;

    (void)state;
    for (int kind = 0; kind < 2 * MS_PATTERN_COUNT; kind++) {
        ms_pattern p = (ms_pattern)(kind % MS_PATTERN_COUNT);
        ms_rng rng = ms_rng_new(8, (uint32_t)kind, MS_SITE_TEST);
        ms_splitter *s;
        char name[32];

        must(ms_splitter_new(&s, &err), &err);
        must(ms_splitter_add(s, p, &err), &err);
        if (kind >= MS_PATTERN_COUNT) must(ms_splitter_add(s, MS_PATTERN_GPT2, &err), &err);
        snprintf(name, sizeof name, "pattern %d%s", (int)p,
                 kind < MS_PATTERN_COUNT ? "" : " and GPT-2's");
        for (int k = 0; k < 2000; k++) {
            char text[256] = "";
            int n = (int)(ms_rng_below(&rng, 60));

            while (n-- > 0) strcat(text, of[ms_rng_below(&rng, COUNT(of))]);
            expect_cuts(s, text, strlen(text), name);
        }
        ms_splitter_free(s);
    }
}

static void other_patterns_are_not_cut(void **state)
{
    ms_splitter *s;
    ms_error err;

    (void)state;
    must(ms_splitter_new(&s, &err), &err);
    assert_int_equal(ms_splitter_cut(s, "a\nb", 3, 0), 3); /* the text is one word */
    must(ms_splitter_add(s, MS_PATTERN_GPT2, &err), &err);
    assert_int_equal(ms_splitter_cut(s, "a\nb", 3, 0), 2);
    assert_int_equal(ms_splitter_cut(s, "a\nb", 3, 3), 3);
    must(ms_splitter_add_regex(s, "[a-z]\n[a-z]", false, true, true, &err), &err);
    assert_int_equal(ms_splitter_cut(s, "a\nb", 3, 0), 3);
    ms_splitter_free(s);
}

/* -- other patterns -------------------------------------------------------------------------- */

typedef struct {
    const char *pattern;
    bool literal, matches, gaps;
    const char *words;
} row;

static ms_status join(void *user, const char *word, size_t n, ms_error *err)
{
    char *out = user;

    (void)err;
    sprintf(out + strlen(out), "%.*s|", (int)n, word);
    return MS_OK;
}

static void patterns_cut_as_they_are_told(void **state)
{
    static const row rows[] = {
        {"[a-z]+", false, true, true, "ab|. |cd|..|"},
        {"[a-z]+", false, true, false, "ab|cd|"},
        {"[a-z]+", false, false, true, ". |..|"},
        {"[a-z]+", false, false, false, ""},
        {".", true, true, true, "ab|.| cd|.|.|"},
        {".", true, false, true, "ab| cd|"},
        {".", false, true, true, "a|b|.| |c|d|.|.|"},
        {"x*", false, true, true, "ab. cd..|"},    /* empty matches are none */
        {"(?=c)", false, true, true, "ab. cd..|"}, /* likewise */
        {"b|", false, true, true, "a|b|. cd..|"},
        {"", true, true, true, "ab. cd..|"},
        {GPT2, false, true, false, "ab|.| cd|..|"},
    };
    ms_error err;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64] = "";
        ms_splitter *s;

        must(ms_splitter_new(&s, &err), &err);
        must(ms_splitter_add_regex(s, rows[i].pattern, rows[i].literal, rows[i].matches,
                                   rows[i].gaps, &err),
             &err);
        must(ms_splitter_run(s, "ab. cd..", 8, join, out, &err), &err);
        if (strcmp(out, rows[i].words) != 0)
            fail_msg("%s: %s, expected %s", rows[i].pattern, out, rows[i].words);
        ms_splitter_free(s);
    }
}

static void malformed_patterns_are_refused(void **state)
{
    static const char *const pattern[] = {
        "(",           ")",       "[",          "[z-a]",       "*",
        "a**+*",       "(?<",     "\\",         "\\p{Foo}",    "(?P<a>x)\\k<b>",
        "a{2,1}",      "(?R",     "(\n\033[2J", "\\x{110000}", "\\N{",
        "(?(1)a|b|c)", "(?<=a+)", "\xff(",      "(*NOSUCH)a",  "[[:foo:]]"};
    ms_splitter *s;
    ms_error err;

    (void)state;
    must(ms_splitter_new(&s, &err), &err);
    for (size_t i = 0; i < COUNT(pattern); i++) {
        ms_status got = ms_splitter_add_regex(s, pattern[i], false, true, true, &err);

        must_fail(pattern[i], got, MS_INPUT, &err, "pattern \"");
    }
    assert_int_equal(ms_splitter_stages(s), 0);
    for (int i = 0; i < 8; i++) must(ms_splitter_add(s, MS_PATTERN_DIGITS, &err), &err);
    must_fail("nine", ms_splitter_add(s, MS_PATTERN_GPT2, &err), MS_UNSUPPORTED, &err, "8 stages");
    must_fail("nine", ms_splitter_add_regex(s, "a", false, true, true, &err), MS_UNSUPPORTED, &err,
              "8 stages");
    ms_splitter_free(s);
}

static ms_status count_words(void *user, const char *word, size_t n, ms_error *err)
{
    (void)word, (void)n, (void)err;
    ++*(size_t *)user;
    return MS_OK;
}

static void patterns_that_explode_are_given_up(void **state)
{
    static const char *const pattern[] = {"(a+)+$", "(a|aa)+$", "(?:(a+)(a+))+(a+)$",
                                          "^(([a-z])+.)+[A-Z]([a-z])+$", "(?:a?){30}a{30}$"};
    enum { LONG = 20000 };
    char *text = malloc(LONG);
    clock_t start = clock();
    ms_error err;

    (void)state;
    memset(text, 'a', LONG);
    text[LONG - 1] = '!';
    for (size_t i = 0; i < COUNT(pattern); i++) {
        ms_splitter *s;
        size_t n = 0;

        must(ms_splitter_new(&s, &err), &err);
        must(ms_splitter_add_regex(s, pattern[i], false, true, true, &err), &err);
        ms_status got = ms_splitter_run(s, text, LONG, count_words, &n, &err);
        must_fail(pattern[i], got, MS_UNSUPPORTED, &err, "pattern takes too long");
        ms_splitter_free(s);
    }
    free(text);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 30);
}

/* A long word is no explosion. */
static void long_words_of_harmless_patterns_are_split(void **state)
{
    static const char *const pattern[] = {"[a-z]+", "(?:a|b)+", "(?:[a-z][a-z]?)+|x", "[^ ]+(?! )"};
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG);
    ms_error err;

    (void)state;
    memset(text, 'a', LONG);
    for (size_t i = 0; i < COUNT(pattern); i++) {
        ms_splitter *s;
        size_t n = 0;

        must(ms_splitter_new(&s, &err), &err);
        must(ms_splitter_add_regex(s, pattern[i], false, true, true, &err), &err);
        if (ms_splitter_run(s, text, LONG, count_words, &n, &err) || n != 1)
            fail_msg("%s: %zu words: %s", pattern[i], n, err.message);
        ms_splitter_free(s);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_points_are_split_as_in_pcre2),
        cmocka_unit_test(neighbours_of_every_kind_are_split_as_in_pcre2),
        cmocka_unit_test(contractions_are_split_as_in_pcre2),
        cmocka_unit_test(runs_of_spaces_and_lines_are_split_as_in_pcre2),
        cmocka_unit_test(invalid_utf8_is_split_without_loss),
        cmocka_unit_test(places_to_cut_are_between_words),
        cmocka_unit_test(other_patterns_are_not_cut),
        cmocka_unit_test(patterns_cut_as_they_are_told),
        cmocka_unit_test(malformed_patterns_are_refused),
        cmocka_unit_test(patterns_that_explode_are_given_up),
        cmocka_unit_test(long_words_of_harmless_patterns_are_split),
    };

    return cmocka_run_group_tests(tests, find_agreed, forget_agreed);
}
