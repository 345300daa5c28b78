/* Byte-pair merges against the slow way that says what they are; the trainer against a slow one,
 * by hand, over threads and pieces. */
#include "text/bpe.h"

#include "../base/scratch.h"
#include "base/rng.h"
#include "text/bpe_train.h"
#include "text/vocabulary.h"

/* -- merging --------------------------------------------------------------------------------- */

enum { SYMBOLS = 6, MERGES = 60, LONGEST = 200 };

typedef struct {
    int32_t left, right, id;
} merge;

static ms_bpe table_of(const merge *m, int count)
{
    ms_bpe b = {0};
    ms_error err;

    for (int i = 0; i < count; i++)
        must(ms_bpe_add(&b, m[i].left, m[i].right, (uint32_t)i, m[i].id, &err), &err);
    return b;
}

/* The definition: the pair of the lowest rank, leftmost, until there is none. */
static size_t merged_slowly(const merge *m, int count, int32_t *ids, size_t n)
{
    for (;;) {
        int best = -1;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++)
            for (int k = count - 1; k >= 0; k--) { /* a pair counts where it stands last */
                if (m[k].left != ids[i] || m[k].right != ids[i + 1]) continue;
                if (best < 0 || k < best) best = k, at = i;
                break;
            }
        if (best < 0) return n;
        ids[at] = m[best].id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

/* Merges of what there is so far; ids that others have, too, and pairs that are there twice. */
static int random_merges(ms_rng *rng, merge m[MERGES])
{
    int ids = SYMBOLS, count = 1 + (int)ms_rng_below(rng, MERGES);

    for (int i = 0; i < count; i++) {
        m[i].left = (int32_t)ms_rng_below(rng, (uint32_t)ids);
        m[i].right = (int32_t)ms_rng_below(rng, (uint32_t)ids);
        m[i].id = ms_rng_below(rng, 8) ? ids++ : (int32_t)ms_rng_below(rng, (uint32_t)ids);
    }
    for (int i = count - 1; i > 0 && ms_rng_below(rng, 2); i--) { /* ranks in any order */
        int k = (int)ms_rng_below(rng, (uint32_t)i + 1);
        merge swap = m[i];

        m[i] = m[k];
        m[k] = swap;
    }
    return count;
}

static void words_of_any_length_merge_as_defined(void **state)
{
    ms_rng rng = ms_rng_new(1, 0, MS_SITE_TEST);
    ms_bpe_work work = {0};
    ms_error err;

    (void)state;
    for (int round = 0; round < 300; round++) {
        merge m[MERGES];
        int count = random_merges(&rng, m);
        uint32_t kinds = 1 + ms_rng_below(&rng, SYMBOLS);
        ms_bpe b = table_of(m, count);

        for (size_t n = 0; n <= LONGEST; n++) {
            int32_t fast[LONGEST + 1], slow[LONGEST + 1];
            size_t left = n, expected;

            for (size_t i = 0; i < n; i++) fast[i] = slow[i] = (int32_t)ms_rng_below(&rng, kinds);
            must(ms_bpe_merge(&b, fast, &left, &work, &err), &err);
            expected = merged_slowly(m, count, slow, n);
            if (left != expected || memcmp(fast, slow, left * sizeof *fast) != 0)
                fail_msg("table %d: a word of %zu symbols: %zu tokens, expected %zu or others",
                         round, n, left, expected);
        }
        ms_bpe_free(&b);
    }
    ms_bpe_work_free(&work);
}

static void pairs_are_found_and_the_later_rank_counts(void **state)
{
    enum { MANY = 100000 };
    ms_bpe b = {0};
    ms_error err;

    (void)state;
    assert_null(ms_bpe_find(&b, 0, 0));
    for (int i = 0; i < MANY; i++)
        must(ms_bpe_add(&b, i, INT32_MAX - i, (uint32_t)i, i + 1, &err), &err);
    must(ms_bpe_add(&b, 7, INT32_MAX - 7, MANY, 9, &err), &err);
    assert_int_equal(b.count, MANY);
    for (int i = 0; i < MANY; i++) {
        const ms_bpe_entry *e = ms_bpe_find(&b, i, INT32_MAX - i);

        assert_non_null(e);
        assert_int_equal(e->rank, i == 7 ? MANY : i);
        assert_int_equal(e->id, i == 7 ? 9 : i + 1);
        assert_null(ms_bpe_find(&b, i, INT32_MAX - i - 1));
    }
    ms_bpe_free(&b);
    ms_bpe_free(&b);
}

/* What is quadratic does not come to an end here. */
static void a_megabyte_of_one_letter_is_merged(void **state)
{
    enum { LONG = 1 << 20, DOUBLINGS = 12 };
    merge m[DOUBLINGS];
    int32_t *ids = malloc(LONG * sizeof *ids);
    ms_bpe_work work = {0};
    size_t n = LONG - 1;
    ms_error err;

    (void)state;
    for (int i = 0; i < DOUBLINGS; i++) m[i] = (merge){i, i, i + 1};
    ms_bpe b = table_of(m, DOUBLINGS);
    memset(ids, 0, LONG * sizeof *ids);
    must(ms_bpe_merge(&b, ids, &n, &work, &err), &err);
    assert_int_equal(n, (LONG >> DOUBLINGS) - 1 + DOUBLINGS); /* all bits of the rest are set */
    for (size_t i = 0; i < n; i++) {
        size_t whole = (LONG >> DOUBLINGS) - 1;

        assert_int_equal(ids[i], i < whole ? DOUBLINGS : DOUBLINGS - 1 - (int)(i - whole));
    }
    ms_bpe_free(&b);
    ms_bpe_work_free(&work);
    free(ids);
}

/* -- training -------------------------------------------------------------------------------- */

static ms_tokenizer *trained(ms_bpe_options o, const char *text, size_t size, size_t pieces)
{
    ms_bpe_trainer *trainer;
    ms_tokenizer *t;
    ms_splitter *s;
    size_t from = 0;
    ms_error err;

    must(ms_splitter_new(&s, &err), &err);
    must(ms_splitter_add(s, MS_PATTERN_GPT2, &err), &err);
    must(ms_bpe_trainer_new(&trainer, &o, &err), &err);
    for (size_t i = 1; i <= pieces; i++) {
        size_t to = i == pieces ? size : ms_splitter_cut(s, text, size, size / pieces * i);

        must(ms_bpe_trainer_add(trainer, text + from, to - from, &err), &err);
        from = to;
    }
    must(ms_bpe_trainer_finish(trainer, &t, &err), &err);
    ms_splitter_free(s);
    return t;
}

static ms_bpe_options of(int vocab)
{
    ms_bpe_options o = ms_bpe_options_default();

    o.vocab = vocab;
    o.threads = 1;
    return o;
}

static void expect_names(const ms_tokenizer *t, int from, const char *const *name, int count)
{
    assert_int_equal(ms_tokenizer_vocab(t), from + count);
    for (int i = 0; i < count; i++) {
        const char *got = ms_tokenizer_name(t, from + i);

        if (!got || strcmp(got, name[i]) != 0)
            fail_msg("token %d is \"%s\", expected \"%s\"", from + i, got ? got : "", name[i]);
    }
}

#define S "\xc4\xa0" /* how files show a space */

/* Words: "ab" once, " ab" twice, " cab" once; so ab 4, then " ab" 2, then what stands once. */
static void a_small_text_is_learnt_as_by_hand(void **state)
{
    static const char *const name[] = {"ab", S "ab", S "c", S "cab"};
    static const char text[] = "ab ab ab cab";
    ms_bpe_options o = of(1000);
    ms_tokenizer *t = trained(o, text, strlen(text), 1);

    (void)state;
    expect_names(t, 257, name, 2); /* pairs that stand once are not merged */
    ms_tokenizer_free(t);
    o.min_frequency = 1;
    t = trained(o, text, strlen(text), 1);
    /* space and c, c and ab stand once: of equals the pair of lower ids, c (before the space) */
    static const char *const all[] = {"ab", S "ab", "cab", S "cab"};
    expect_names(t, 257, all, 4);
    ms_tokenizer_free(t);
    o.min_frequency = 3;
    t = trained(o, text, strlen(text), 1);
    expect_names(t, 257, name, 1);
    ms_tokenizer_free(t);
    o = of(258);
    t = trained(o, text, strlen(text), 1);
    expect_names(t, 257, name, 1); /* the vocabulary is full */
    ms_tokenizer_free(t);
    o = of(257);
    t = trained(o, text, strlen(text), 1);
    expect_names(t, 257, name, 0);
    assert_string_equal(ms_tokenizer_kind(t), "bytes");
    ms_tokenizer_free(t);
}

static void specials_come_first_and_end_a_text(void **state)
{
    static const char *const special[] = {"<end>", "<a b>", "<\xc3\xa9>"};
    ms_bpe_options o = of(260);
    ms_error err;
    int32_t *ids;
    size_t n;

    (void)state;
    o.specials = special;
    o.special_count = 3;
    ms_tokenizer *t = trained(o, "xyxy", 4, 1);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(ms_tokenizer_name(t, i), special[i]);
        assert_int_equal(ms_tokenizer_find(t, special[i]), i);
        assert_true(ms_tokenizer_piece(t, i, &n) && n == 0);
    }
    assert_string_equal(ms_tokenizer_name(t, 3), "!"); /* bytes by their characters */
    assert_string_equal(ms_tokenizer_name(t, 3 + 188), "\xc4\x80");
    assert_string_equal(ms_tokenizer_name(t, 259), "xy");
    assert_int_equal(ms_tokenizer_eos(t), 0);
    assert_int_equal(ms_tokenizer_bos(t), 0);
    must(ms_tokenizer_encode(t, "xy<a b>", 7, MS_ENCODE_SPECIALS, &ids, &n, &err), &err);
    assert_true(n == 2 && ids[0] == 259 && ids[1] == 1);
    free(ids);
    ms_tokenizer_free(t);
    o.special_count = 0;
    o.vocab = 257;
    t = trained(o, "xyxy", 4, 1);
    assert_string_equal(ms_tokenizer_name(t, 0), "!");
    assert_string_equal(ms_tokenizer_name(t, 256), "xy");
    assert_int_equal(ms_tokenizer_eos(t), -1);
    ms_tokenizer_free(t);
}

/* -- a slow trainer -------------------------------------------------------------------------- */

enum { SLOW_WORDS = 512, SLOW_LENGTH = 64, SLOW_TOKENS = 400 };

typedef struct {
    int32_t word[SLOW_WORDS][SLOW_LENGTH];
    int length[SLOW_WORDS], words;
    char token[SLOW_TOKENS][SLOW_LENGTH]; /* bytes of ids */
    int vocab;
    int32_t left[SLOW_TOKENS], right[SLOW_TOKENS];
    int merges;
} slow;

static ms_status take(void *user, const char *text, size_t n, ms_error *err)
{
    slow *s = user;

    (void)err;
    assert_true(s->words < SLOW_WORDS && n < SLOW_LENGTH);
    for (size_t i = 0; i < n; i++)
        for (int id = 1; id < 257; id++)
            if (s->token[id][0] == text[i]) s->word[s->words][i] = id;
    s->length[s->words++] = (int)n;
    return MS_OK;
}

/* The most frequent pair; of equals the one of lower ids. */
static int most_frequent(const slow *s, int32_t *left, int32_t *right)
{
    static int count[SLOW_TOKENS][SLOW_TOKENS];
    int best = 0;

    memset(count, 0, sizeof count);
    for (int w = 0; w < s->words; w++)
        for (int i = 0; i + 1 < s->length[w]; i++) count[s->word[w][i]][s->word[w][i + 1]]++;
    for (int a = 0; a < s->vocab; a++)
        for (int b = 0; b < s->vocab; b++)
            if (count[a][b] > best) best = count[a][b], *left = a, *right = b;
    return best;
}

/* One more merge; false: none is left, or its bytes are a token already (then Hugging Face's
 * trainer, and so ours, goes on in a way of its own). */
static bool learn_slowly(slow *s, int least)
{
    int32_t a = 0, b = 0;
    char joined[2 * SLOW_LENGTH];

    if (most_frequent(s, &a, &b) < least || s->vocab == SLOW_TOKENS) return false;
    strcat(strcpy(joined, s->token[a]), s->token[b]);
    for (int id = 1; id < s->vocab; id++)
        if (!strcmp(s->token[id], joined)) return false;
    memcpy(s->token[s->vocab], joined, SLOW_LENGTH);
    for (int w = 0; w < s->words; w++)
        for (int i = 0; i + 1 < s->length[w]; i++) {
            int32_t *at = &s->word[w][i];

            if (at[0] != a || at[1] != b) continue;
            at[0] = s->vocab;
            memmove(at + 1, at + 2, (size_t)(s->length[w] - i - 2) * sizeof *at);
            s->length[w]--;
        }
    s->left[s->merges] = a;
    s->right[s->merges++] = b;
    s->vocab++;
    return true;
}

static void start_slowly(slow *s, const char *text)
{
    ms_splitter *splitter;
    ms_error err;

    memset(s, 0, sizeof *s);
    for (uint32_t code = 0, id = 1; code < 512; code++)
        if (ms_character_byte(code) >= 0) s->token[id++][0] = (char)ms_character_byte(code);
    s->vocab = 257;
    must(ms_splitter_new(&splitter, &err), &err);
    must(ms_splitter_add(splitter, MS_PATTERN_GPT2, &err), &err);
    must(ms_splitter_run(splitter, text, strlen(text), take, s, &err), &err);
    ms_splitter_free(splitter);
}

static void random_texts_are_learnt_as_by_the_slow_trainer(void **state)
{
    static const char *const letter[] = {"a", "b", "c", "d", "e", "\xc3\xa9", " ", " ", "1", "!"};
    ms_rng rng = ms_rng_new(2, 0, MS_SITE_TEST);
    slow *s = malloc(sizeof *s);
    int learnt = 0;

    (void)state;
    for (int round = 0; round < 60; round++) {
        char text[600] = "";
        uint32_t kinds = 2 + ms_rng_below(&rng, COUNT(letter) - 1);
        int n = 1 + (int)ms_rng_below(&rng, 250), least = 1 + (int)ms_rng_below(&rng, 3);

        for (int i = 0; i < n; i++)
            strcat(text, i % 9 == 8 ? " " : letter[ms_rng_below(&rng, kinds)]);
        start_slowly(s, text);
        while (learn_slowly(s, least) && s->merges < 60) continue;
        ms_bpe_options o = of(s->vocab);
        o.min_frequency = least;
        ms_tokenizer *t = trained(o, text, strlen(text), 1);
        assert_int_equal(ms_tokenizer_vocab(t), s->vocab);
        assert_int_equal(t->merge_count, s->merges);
        for (int i = 0; i < s->merges; i++, learnt++)
            if (t->merge[i] != ((uint64_t)s->left[i] << 32 | (uint32_t)s->right[i]))
                fail_msg("text %d, merge %d is %s + %s, expected %d + %d in \"%s\"", round, i,
                         ms_tokenizer_name(t, (int32_t)(t->merge[i] >> 32)),
                         ms_tokenizer_name(t, (int32_t)(uint32_t)t->merge[i]), s->left[i],
                         s->right[i], text);
        ms_tokenizer_free(t);
    }
    free(s);
    assert_true(learnt > 500);
}

/* -- large texts ----------------------------------------------------------------------------- */

/* Words of a skewed distribution; lines end between letters. */
static char *large_text(size_t size)
{
    ms_rng rng = ms_rng_new(3, 0, MS_SITE_TEST);
    char *text = malloc(size + 1);
    size_t n = 0;

    while (n < size) {
        uint32_t word = ms_rng_below(&rng, 1 + ms_rng_below(&rng, 3000));

        do text[n++] = (char)('a' + word % 23);
        while ((word /= 23) && n < size);
        if (n < size) text[n++] = ms_rng_below(&rng, 12) ? ' ' : '\n';
    }
    text[size] = 0;
    return text;
}

static void expect_same(const ms_tokenizer *a, const ms_tokenizer *b)
{
    assert_int_equal(ms_tokenizer_vocab(a), ms_tokenizer_vocab(b));
    for (int id = 0; id < ms_tokenizer_vocab(a); id++)
        assert_string_equal(ms_tokenizer_name(a, id), ms_tokenizer_name(b, id));
    assert_int_equal(a->merge_count, b->merge_count);
    assert_memory_equal(a->merge, b->merge, a->merge_count * sizeof *a->merge);
}

static void threads_and_pieces_do_not_change_the_result(void **state)
{
    static const struct {
        int threads;
        size_t pieces;
    } row[] = {{1, 2}, {1, 7}, {2, 1}, {2, 2}, {5, 1}, {5, 3}, {0, 1}};
    enum { SIZE = 5 << 20 };
    char *text = large_text(SIZE);
    ms_bpe_options o = of(600);
    ms_tokenizer *first = trained(o, text, SIZE, 1);

    (void)state;
    assert_int_equal(ms_tokenizer_vocab(first), 600);
    for (size_t i = 0; i < COUNT(row); i++) {
        o.threads = row[i].threads;
        ms_tokenizer *t = trained(o, text, SIZE, row[i].pieces);
        expect_same(first, t);
        ms_tokenizer_free(t);
    }
    ms_tokenizer_free(first);
    free(text);
}

static void a_megabyte_of_one_letter_is_learnt_and_encoded(void **state)
{
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG);
    ms_bpe_options o = of(300);
    ms_error err;
    int32_t *ids;
    size_t n;

    (void)state;
    memset(text, 'a', LONG);
    ms_tokenizer *t = trained(o, text, LONG, 1);
    assert_true(ms_tokenizer_vocab(t) > 257 && ms_tokenizer_vocab(t) <= 300);
    must(ms_tokenizer_encode(t, text, LONG, 0, &ids, &n, &err), &err);
    size_t bytes = 0;
    for (size_t i = 0, k; i < n; i++) {
        assert_non_null(ms_tokenizer_piece(t, ids[i], &k));
        bytes += k;
    }
    assert_int_equal(bytes, LONG);
    free(ids);
    free(text);
    ms_tokenizer_free(t);
}

/* -- refusals -------------------------------------------------------------------------------- */

static void bad_options_are_refused(void **state)
{
    static const char *const none[] = {""}, *const twice[] = {"<a>", "<b>", "<a>"};
    static const struct {
        int vocab;
        const char *pattern;
        const char *const *specials;
        int count;
        const char *text;
    } row[] = {
        {256, "gpt2", twice, 1, "expected 257 to"},
        {-1, "gpt2", twice, 0, "expected 256 to"},
        {1 << 30, "gpt2", twice, 0, "got 1073741824"},
        {300, "gpt2", none, 1, "is empty"},
        {300, "gpt2", twice, 3, "\"<a>\" is given twice"},
        {300, "gpt5(", twice, 1, "gpt5("},
        {300, "[", twice, 1, "pattern \"[\""},
    };
    ms_bpe_trainer *t = NULL;
    ms_error err;

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        ms_bpe_options o = {.vocab = row[i].vocab,
                            .min_frequency = 2,
                            .pattern = row[i].pattern,
                            .specials = row[i].specials,
                            .special_count = row[i].count};

        must_fail(row[i].text, ms_bpe_trainer_new(&t, &o, &err), MS_INPUT, &err, row[i].text);
        assert_null(t);
    }
    ms_bpe_trainer_free(NULL);
}

/* A special token must not be what a byte is called in files. */
static void specials_that_are_bytes_are_refused(void **state)
{
    static const char *const special[] = {"a"};
    ms_bpe_options o = of(300);
    ms_bpe_trainer *trainer = NULL;
    ms_tokenizer *t = NULL;
    ms_error err;

    (void)state;
    o.specials = special;
    ms_status s = ms_bpe_trainer_new(&trainer, &o, &err);
    if (!s) {
        must(ms_bpe_trainer_add(trainer, "b", 1, &err), &err);
        s = ms_bpe_trainer_finish(trainer, &t, &err);
    }
    assert_true(s == MS_INPUT || s == MS_FORMAT);
    assert_non_null(strstr(err.message, "\"a\""));
    assert_null(t);
}

static void an_empty_text_is_refused(void **state)
{
    ms_bpe_options o = of(300);
    ms_bpe_trainer *trainer;
    ms_tokenizer *t = NULL;
    ms_error err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        must(ms_bpe_trainer_new(&trainer, &o, &err), &err);
        if (i) must(ms_bpe_trainer_add(trainer, "", 0, &err), &err);
        must_fail("empty", ms_bpe_trainer_finish(trainer, &t, &err), MS_INPUT, &err, "empty");
        assert_null(t);
    }
    must(ms_bpe_trainer_new(&trainer, &o, &err), &err);
    ms_bpe_trainer_free(trainer);
}

/* A pattern that gives up stops the training, in whichever thread. */
static void a_pattern_that_explodes_is_reported(void **state)
{
    enum { LONG = 3 << 20 };
    char *text = malloc(LONG);
    ms_bpe_options o = of(300);
    ms_bpe_trainer *trainer;
    ms_error err;

    (void)state;
    memset(text, 'a', LONG);
    text[LONG - 1] = '!';
    o.pattern = "(a|aa)+$";
    o.threads = 2;
    must(ms_bpe_trainer_new(&trainer, &o, &err), &err);
    must_fail("all", ms_bpe_trainer_add(trainer, text, LONG, &err), MS_UNSUPPORTED, &err,
              "pattern takes too long");
    ms_bpe_trainer_free(trainer);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_any_length_merge_as_defined),
        cmocka_unit_test(pairs_are_found_and_the_later_rank_counts),
        cmocka_unit_test(a_megabyte_of_one_letter_is_merged),
        cmocka_unit_test(a_small_text_is_learnt_as_by_hand),
        cmocka_unit_test(specials_come_first_and_end_a_text),
        cmocka_unit_test(random_texts_are_learnt_as_by_the_slow_trainer),
        cmocka_unit_test(threads_and_pieces_do_not_change_the_result),
        cmocka_unit_test(a_megabyte_of_one_letter_is_learnt_and_encoded),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(specials_that_are_bytes_are_refused),
        cmocka_unit_test(an_empty_text_is_refused),
        cmocka_unit_test(a_pattern_that_explodes_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
