/* prepare: what goes into a folder comes out of its shards; the last part is held out, or what is
 * given for it; tokenizers are learnt or taken; what cannot be prepared is named, and nothing
 * is left half. */
#include "data/prepare.h"

#include "shards.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

enum { MOST = 4096, PATHS = 64 };

/* in, for options that keep their paths: good until 64 more are asked for. */
static const char *at(void **state, const char *name)
{
    static char path[PATHS][SCRATCH_PATH];
    static unsigned next;

    return strcpy(path[next++ % PATHS], in(state, name));
}

/* Options of up to 3 paths. */
#define OPTIONS(kind, fraction, ...)                                                               \
    ((ms_prepare_options){.path = (const char *const[]){__VA_ARGS__},                              \
                          .paths = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),    \
                          .held_out_fraction = (fraction),                                         \
                          .tokenizer = (kind)})

static ms_tokenizer *prepare(const ms_prepare_options *o, const char *folder)
{
    ms_tokenizer *t = NULL;
    ms_error err;

    must(ms_prepare(o, folder, &t, NULL, &err), &err);
    return t;
}

static void refuses(const char *what, const ms_prepare_options *o, const char *folder,
                    ms_status status, const char *path, const char *text)
{
    ms_tokenizer *t = NULL;
    ms_error err = {.status = MS_OK};

    must_fail(what, ms_prepare(o, folder, &t, NULL, &err), status, &err, text);
    if (strcmp(err.path, path) != 0) fail_msg("%s: %s is blamed, not %s", what, err.path, path);
    assert_null(t);
    assert_int_equal(ms_prepare(o, folder, &t, NULL, NULL), status);
}

/* The text of a shard, "|" where documents meet; and it is that many bytes of text. */
static void decodes(const char *path, const ms_tokenizer *t, const char *expected)
{
    char text[MOST] = "";
    size_t used = 0, separators = 0;
    ms_shard s = open_shard(path);

    assert_int_equal(s.vocab, ms_tokenizer_vocab(t));
    for (uint64_t i = 0; i < s.tokens; i++) {
        size_t n = 0;
        int32_t id = ms_shard_token(&s, i);
        bool eos = id == ms_tokenizer_eos(t);
        const char *piece = eos ? "|" : ms_tokenizer_piece(t, id, &n);

        n += eos;
        separators += eos;
        assert_true(used + n < sizeof text);
        memcpy(text + used, piece, n);
        used += n;
    }
    text[used] = 0;
    if (strcmp(text, expected) != 0) fail_msg("%s holds %s, expected %s", path, text, expected);
    assert_int_equal(s.text_bytes, used - separators);
    ms_shard_close(&s);
}

/* Both shards of a folder, and what else it holds. */
static void holds_parts(void **state, const char *folder, const ms_tokenizer *t, const char *train,
                        const char *held_out)
{
    char name[64];

    snprintf(name, sizeof name, "%s/train.tokens", folder);
    decodes(at(state, name), t, train);
    snprintf(name, sizeof name, "%s/held_out.tokens", folder);
    decodes(at(state, name), t, held_out);
    lists(at(state, folder), "held_out.tokens tokenizer.json train.tokens ");
}

/* -- parts ----------------------------------------------------------------------------------- */

static void the_last_part_is_held_out(void **state)
{
    static const double fraction[] = {0.1, 0.5, 0, 0.25, 0.999, 0.0004};
    char text[1001];

    for (int i = 0; i < 1000; i++) text[i] = (char)('a' + i * 7919 / 11 % 26);
    text[1000] = 0;
    put_text(at(state, "text"), text);
    for (int i = 0; i < 6; i++) {
        for (int chars = 0; chars < 2; chars++) {
            const char *kind = chars ? "chars" : "bytes";
            ms_prepare_options o = OPTIONS(kind, fraction[i], at(state, "text"));
            ms_tokenizer *t = prepare(&o, at(state, "run")); /* in place of the last one */
            ms_shard s = open_shard(at(state, "run/train.tokens"));
            size_t cut = (size_t)s.tokens;
            char train[1001];

            ms_shard_close(&s);
            assert_true(fabs((double)cut - 1000 * (1 - fraction[i])) <= 1);
            memcpy(train, text, cut);
            train[cut] = 0;
            holds_parts(state, "run", t, train, text + cut);
            assert_int_equal(ms_tokenizer_vocab(t), chars ? 26 : 257);
            assert_string_equal(ms_tokenizer_kind(t), kind);
            ms_tokenizer_free(t);
        }
    }
}

/* Nothing is split off then, whatever the fraction; characters are learnt from both. */
static void held_out_data_may_be_given(void **state)
{
    const char *held_out[] = {at(state, "c"), at(state, "d")};
    ms_prepare_options o = OPTIONS("chars", 0.5, at(state, "a"), at(state, "b"));

    put_text(at(state, "a"), "abc");
    put_text(at(state, "b"), "cab");
    put_text(at(state, "c"), "xyz a");
    put_text(at(state, "d"), "b");
    o.held_out = held_out;
    o.held_outs = 2;
    ms_tokenizer *t = prepare(&o, at(state, "deep/run"));
    holds_parts(state, "deep/run", t, "abccab", "xyz ab");
    assert_int_equal(ms_tokenizer_vocab(t), 7);
    ms_tokenizer_free(t);
    o.tokenizer = "bytes";
    t = prepare(&o, at(state, "run"));
    holds_parts(state, "run", t, "abc|cab", "xyz a|b");
    ms_tokenizer_free(t);
}

/* Between documents, of whatever kind; not in front of the first and not behind the last. */
static void documents_are_separated(void **state)
{
    ms_prepare_options o =
        OPTIONS("bytes", 0, at(state, "a"), at(state, "none"), at(state, "b.jsonl"));

    put_text(at(state, "a"), "\xC3\xA9ins\n"); /* of bytes, a character of 2 */
    put_text(at(state, "none"), "");
    put_text(at(state, "b.jsonl"), "{\"text\":\"two\"}\n{\"text\":\"\"}\n{\"text\":\"3\"}\n");
    ms_tokenizer *t = prepare(&o, at(state, "run"));
    assert_int_equal(ms_tokenizer_eos(t), 256);
    holds_parts(state, "run", t, "\xC3\xA9ins\n|two|3", "");
    ms_tokenizer_free(t);
    o.tokenizer = "chars";
    t = prepare(&o, at(state, "run"));
    assert_int_equal(ms_tokenizer_eos(t), -1);
    holds_parts(state, "run", t, "\xC3\xA9ins\ntwo3", "");
    ms_tokenizer_free(t);
}

/* -- what is there already ------------------------------------------------------------------- */

static void a_tokenizer_is_used_again(void **state)
{
    ms_prepare_options first = OPTIONS("chars", 0, at(state, "a"));
    ms_prepare_options o = OPTIONS(at(state, "one/tokenizer.json"), 0, at(state, "b"));
    ms_error err;

    put_text(at(state, "a"), "hello world");
    put_text(at(state, "b"), "wood");
    ms_tokenizer *t = prepare(&first, at(state, "one")), *again = prepare(&o, at(state, "two"));
    holds_parts(state, "two", t, "wood", ""); /* by the first one's ids */
    holds_parts(state, "two", again, "wood", "");
    ms_tokenizer_free(again);
    ms_tokenizer_free(t);
    must(ms_tokenizer_load(&t, at(state, "two/tokenizer.json"), &err), &err);
    assert_string_equal(ms_tokenizer_kind(t), "chars");
    holds_parts(state, "two", t, "wood", "");
    ms_tokenizer_free(t);

    put_text(at(state, "b"), "wool!");
    refuses("a new character", &o, at(state, "three"), MS_INPUT, at(state, "b"), "\"!\"");
    lists(at(state, "three"), "");
}

/* A shard is data too, with the tokenizer it was made by, and alone. */
static void a_shard_is_used_as_it_is(void **state)
{
    const char *shard = at(state, "one/train.tokens"), *tokenizer = at(state, "one/tokenizer.json");
    const char *held_out[] = {shard};
    ms_prepare_options first = OPTIONS("chars", 0, at(state, "a"));
    ms_prepare_options o = OPTIONS(tokenizer, 0.25, shard);

    put_text(at(state, "a"), "abcdefgh");
    ms_tokenizer *t = prepare(&first, at(state, "one"));
    ms_tokenizer_free(prepare(&o, at(state, "two")));
    holds_parts(state, "two", t, "abcdef", "gh");
    o.held_out = held_out;
    o.held_outs = 1;
    ms_tokenizer_free(prepare(&o, at(state, "two")));
    holds_parts(state, "two", t, "abcdefgh", "abcdefgh");
    holds_parts(state, "one", t, "abcdefgh", ""); /* as it was */
    ms_tokenizer_free(t);

    o.held_outs = 0;
    o.tokenizer = "bytes";
    refuses("another vocabulary", &o, at(state, "three"), MS_INPUT, shard,
            "a vocabulary of 8, the tokenizer has 257");
    o = OPTIONS(tokenizer, 0.25, at(state, "a"), shard);
    refuses("a shard and a text", &o, at(state, "three"), MS_INPUT, shard, "must be the only data");
    put(shard, "MSTOKENS", 8);
    o = OPTIONS(tokenizer, 0.25, shard);
    refuses("a broken shard", &o, at(state, "three"), MS_FORMAT, shard, "not a token shard");
    lists(at(state, "three"), "");
}

/* -- what cannot be prepared ----------------------------------------------------------------- */

static void bad_input_is_named(void **state)
{
    static const double fraction[] = {-0.1, 1, 2, NAN, INFINITY};
    static const char *const kind[] = {"bytes", "chars"};
    ms_prepare_options o = OPTIONS("bytes", 0.1, at(state, "a")), none = o;

    put_text(at(state, "a"), "abc");
    none.paths = 0;
    refuses("no paths", &none, at(state, "run"), MS_INPUT, "", "no data");
    for (int i = 0; i < 5; i++) {
        o.held_out_fraction = fraction[i];
        refuses("fraction", &o, at(state, "run"), MS_INPUT, "", "fraction: expected 0 to below 1");
    }
    assert_false(ms_path_exists(at(state, "run")));
    for (int i = 0; i < 2; i++) {
        o = OPTIONS(kind[i], 0.1, at(state, "a"), at(state, "missing"));
        refuses("missing", &o, at(state, "run"), MS_IO, at(state, "missing"), "cannot open");
    }
    o = OPTIONS(at(state, "no.json"), 0.1, at(state, "a"));
    refuses("no tokenizer", &o, at(state, "run"), MS_IO, at(state, "no.json"), "");
    put_text(at(state, "empty"), "");
    o = OPTIONS("bytes", 0.1, at(state, "empty"));
    refuses("empty", &o, at(state, "run"), MS_INPUT, at(state, "empty"), "the text is empty");
    o.tokenizer = "chars";
    refuses("empty", &o, at(state, "run"), MS_INPUT, "", "the text is empty");
    put_text(at(state, "latin"), "caf\xE9 au lait");
    o = OPTIONS("chars", 0.1, at(state, "a"), at(state, "latin"));
    refuses("not UTF-8", &o, at(state, "run"), MS_INPUT, at(state, "latin"), "0xe9");
    lists(at(state, "run"), "");
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    static const char *const part[] = {"train.tokens", "held_out.tokens", "tokenizer.json"};
    ms_prepare_options o = OPTIONS("bytes", 0.5, at(state, "a"));
    ms_tokenizer *t = NULL;
    ms_error err;

    put_text(at(state, "a"), "abc");
    refuses("a file", &o, at(state, "a"), MS_IO, at(state, "a"), "cannot make the folder");
    refuses("below a file", &o, at(state, "a/b"), MS_IO, at(state, "a/b"), "cannot make");
    assert_int_equal(ms_prepare(&o, "/proc", &t, NULL, &err), MS_IO); /* not even by root */
    assert_memory_equal(err.path, "/proc", 5);
    for (int i = 0; i < 3; i++) { /* where a file should go there is a folder */
        char name[64];

        snprintf(name, sizeof name, "%s/%s", part[i], part[i]);
        must(ms_folder_make(at(state, name), &err), &err);
        refuses(part[i], &o, at(state, part[i]), MS_IO, at(state, name), "cannot write");
    }
    assert_null(t);
}

/* The unsplit text stands beside the parts while they are written, and goes whatever happens. */
static void a_failed_split_leaves_no_more_than_its_parts(void **state)
{
    ms_prepare_options o = OPTIONS("bytes", 0.5, at(state, "a"));
    ms_tokenizer *t = NULL;
    ms_error err;

    put_text(at(state, "a"), "abc");
    must(ms_folder_make(at(state, "run/held_out.tokens/x"), &err), &err);
    assert_int_equal(ms_prepare(&o, at(state, "run"), &t, NULL, NULL), MS_IO);
    lists(at(state, "run"), "held_out.tokens train.tokens ");
}

/* -- standard input -------------------------------------------------------------------------- */

/* Prepares while standard input is a text. */
static ms_status prepare_stdin(void **state, const char *text, const ms_prepare_options *o,
                               ms_tokenizer **t, ms_error *err)
{
    int kept = dup(STDIN_FILENO), fd;
    ms_status s;

    put_text(at(state, "stdin"), text);
    fd = open(at(state, "stdin"), O_RDONLY);
    assert_true(kept >= 0 && fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    s = ms_prepare(o, at(state, "run"), t, NULL, err);
    assert_true(dup2(kept, STDIN_FILENO) == STDIN_FILENO);
    close(fd);
    close(kept);
    return s;
}

/* It can be read once, and chars need it twice: it is kept meanwhile, and not any longer. */
static void standard_input_is_data(void **state)
{
    static const char *const kind[] = {"bytes", "chars"};

    put_text(at(state, "a"), "abc");
    for (int i = 0; i < 2; i++) {
        ms_prepare_options o = OPTIONS(kind[i], 0.25, at(state, "a"), "-");
        ms_tokenizer *t = NULL;
        ms_error err;

        must(prepare_stdin(state, "defghi", &o, &t, &err), &err);
        holds_parts(state, "run", t, i ? "abcdef" : "abc|def", "ghi"); /* 7.5 of 10, 6.75 of 9 */
        ms_tokenizer_free(t);
    }
}

static void standard_input_is_refused_where_it_cannot_be(void **state)
{
    static const char *const held_out[] = {"-"};
    ms_prepare_options twice = OPTIONS("bytes", 0.1, "-", "-");
    ms_prepare_options o = OPTIONS("bytes", 0.1, "-");
    ms_tokenizer *t = NULL;
    ms_error err;

    must_fail("twice", prepare_stdin(state, "abc", &twice, &t, &err), MS_INPUT, &err, "2 times");
    o.held_out = held_out;
    o.held_outs = 1;
    must_fail("held out", prepare_stdin(state, "abc", &o, &t, &err), MS_INPUT, &err,
              "cannot be held-out data");
}

/* Also when no other data is standard input: chars would read it once, and find it empty then. */
static void held_out_standard_input_is_not_lost(void **state)
{
    const char *held_out[] = {at(state, "b"), "-"};
    ms_prepare_options o = OPTIONS("chars", 0.1, at(state, "a"));
    ms_tokenizer *t = NULL;
    ms_error err;
    ms_status s;

    put_text(at(state, "a"), "abc");
    put_text(at(state, "b"), "b");
    o.held_out = held_out;
    o.held_outs = 2;
    s = prepare_stdin(state, "xyz", &o, &t, &err);
    if (s == MS_OK) holds_parts(state, "run", t, "abc", "bxyz");
    if (s) must_fail("held out", s, MS_INPUT, &err, "cannot be held-out data");
    ms_tokenizer_free(t);
}

/* Whatever fails, what was kept of standard input goes. */
static void kept_standard_input_goes_with_a_failure(void **state)
{
    static const struct {
        const char *kind, *text, *second;
    } row[] = {{"bytes", "", "a"},
               {"chars", "caf\xE9", "a"},
               {"no.json", "abc", "a"},
               {"bytes", "abc", "missing"},
               {"bytes", "abc", "-"}};

    put_text(at(state, "a"), "");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *second = strcmp(row[i].second, "-") ? at(state, row[i].second) : "-";
        ms_prepare_options o = OPTIONS(row[i].kind, 0.1, "-", second);
        ms_tokenizer *t = NULL;

        assert_int_not_equal(prepare_stdin(state, row[i].text, &o, &t, NULL), MS_OK);
        lists(at(state, "run"), "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(the_last_part_is_held_out),
        SCRATCH_TEST(held_out_data_may_be_given),
        SCRATCH_TEST(documents_are_separated),
        SCRATCH_TEST(a_tokenizer_is_used_again),
        SCRATCH_TEST(a_shard_is_used_as_it_is),
        SCRATCH_TEST(bad_input_is_named),
        SCRATCH_TEST(a_folder_that_cannot_be_written_is_named),
        SCRATCH_TEST(a_failed_split_leaves_no_more_than_its_parts),
        SCRATCH_TEST(standard_input_is_data),
        SCRATCH_TEST(standard_input_is_refused_where_it_cannot_be),
        SCRATCH_TEST(held_out_standard_input_is_not_lost),
        SCRATCH_TEST(kept_standard_input_goes_with_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
