/* shard: what is written is read back, byte for byte as the format says; a file that is not whole
 * or breaks a rule is refused with a line that says which. */
#include "shards.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { HEADER_BYTES = 48, VERSION_AT = 8, WIDTH_AT = 12, VOCAB_AT = 16, TOKENS_AT = 24 };

static uint64_t little_endian(const uint8_t *p, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* -- what is written ------------------------------------------------------------------------- */

static int32_t token(uint32_t vocab, size_t i)
{
    if (i < 2) return i ? (int32_t)vocab - 1 : 0;
    return (int32_t)((uint64_t)i * 2654435761u % vocab);
}

/* Written in pieces that grow, with 3 bytes of text each. */
static void write_pieces(const char *path, uint32_t vocab, size_t count, uint64_t *text_bytes)
{
    int32_t *ids = test_calloc(count + 1, sizeof *ids);
    ms_shard_writer *w = NULL;
    ms_error err;

    for (size_t i = 0; i < count; i++) ids[i] = token(vocab, i);
    must(ms_shard_writer_open(&w, path, vocab, &err), &err);
    *text_bytes = 0;
    for (size_t at = 0, n = 1; at < count; at += n, n = 3 * n + 1) {
        if (n > count - at) n = count - at;
        ms_shard_writer_put(w, ids + at, n, 3);
        *text_bytes += 3;
    }
    must(ms_shard_writer_commit(w, &err), &err);
    test_free(ids);
}

static const struct {
    uint32_t vocab;
    size_t tokens;
    int width;
} WRITTEN[] = {
    {1, 0, 2},     {1, 1, 2},        {2, 3, 2},        {257, 4096, 2},       {65536, 4097, 2},
    {65536, 8, 2}, {65537, 4095, 4}, {65537, 9000, 4}, {1 << 24, 100000, 4},
};

static void what_is_written_is_read(void **state)
{
    const char *path = in(state, "x");

    for (size_t k = 0; k < sizeof WRITTEN / sizeof *WRITTEN; k++) {
        size_t n = WRITTEN[k].tokens, body = n * (size_t)WRITTEN[k].width;
        uint64_t text_bytes;
        ms_map map;
        ms_error err;

        write_pieces(path, WRITTEN[k].vocab, n, &text_bytes);
        ms_shard s = open_shard(path);
        assert_int_equal(s.token_bytes, WRITTEN[k].width);
        assert_int_equal(s.vocab, WRITTEN[k].vocab);
        assert_int_equal(s.tokens, n);
        assert_int_equal(s.text_bytes, text_bytes);
        for (size_t i = 0; i < n; i++) assert_int_equal(ms_shard_token(&s, i), token(s.vocab, i));

        must(ms_map_open(&map, path, &err), &err);
        assert_int_equal(map.size_bytes, HEADER_BYTES + body);
        assert_memory_equal(map.data, "MSTOKENS\1\0\0\0", 12);
        assert_int_equal(little_endian(map.data + WIDTH_AT, 4), s.token_bytes);
        assert_int_equal(little_endian(map.data + VOCAB_AT, 4), s.vocab);
        assert_int_equal(little_endian(map.data + VOCAB_AT + 4, 4), 0);
        assert_int_equal(little_endian(map.data + TOKENS_AT, 8), n);
        assert_int_equal(little_endian(map.data + TOKENS_AT + 8, 8), text_bytes);
        assert_true(s.hash == XXH3_64bits(map.data + HEADER_BYTES, body));
        for (size_t i = 0; i < n; i++)
            assert_int_equal(
                little_endian(map.data + HEADER_BYTES + i * (size_t)s.token_bytes, s.token_bytes),
                token(s.vocab, i));
        ms_map_close(&map);
        ms_shard_close(&s);
        assert_null(s.map.data);
    }
    lists(in(state, ""), "x ");
}

static void a_shard_appears_when_it_is_committed(void **state)
{
    static const int32_t ids[] = {1, 2, 3};
    ms_shard_writer *w = NULL;
    ms_error err;

    put_text(in(state, "x"), "old");
    for (int commit = 0; commit < 2; commit++) {
        must(ms_shard_writer_open(&w, in(state, "x"), 4, &err), &err);
        ms_shard_writer_put(w, ids, 3, 3);
        holds(in(state, "x"), "old");
        if (!commit) ms_shard_writer_abort(w);
    }
    must(ms_shard_writer_commit(w, &err), &err);
    ms_shard_writer_abort(NULL);
    ms_shard s = open_shard(in(state, "x"));
    assert_int_equal(s.tokens, 3);
    ms_shard_close(&s);
    lists(in(state, ""), "x ");
}

static void what_cannot_be_written_is_an_error(void **state)
{
    static const char *const path[] = {"folder", "no/x", "file/x"};
    ms_error err;

    must(ms_folder_make(in(state, "folder/x"), &err), &err);
    put_text(in(state, "file"), "a file");
    for (int i = 0; i < 3; i++) {
        const char *at = in(state, path[i]);
        ms_shard_writer *w = NULL;

        must(ms_shard_writer_open(&w, at, 4, &err), &err);
        must_fail(path[i], ms_shard_writer_commit(w, &err), MS_IO, &err, "cannot write");
        assert_string_equal(err.path, at);
    }
    lists(in(state, ""), "file folder ");
}

/* -- what is refused ------------------------------------------------------------------------- */

static void refuse(const char *what, const char *path, ms_status status, int64_t offset,
                   const char *text)
{
    ms_shard s = {.tokens = 12345};
    ms_error err = {.status = MS_OK};

    must_fail(what, ms_shard_open(&s, path, &err), status, &err, text);
    assert_string_equal(err.path, path);
    if (err.offset != offset) fail_msg("%s: offset %lld", what, (long long)err.offset);
    assert_int_equal(s.tokens, 12345);
    assert_int_equal(ms_shard_open(&s, path, NULL), status);
}

/* 6 tokens below 10 in 2 bytes, 60 bytes in all, with some of them replaced. */
static const struct {
    const char *what;
    int at, bytes;
    uint64_t value;
    ms_status status;
    int offset;
    const char *text;
} HOSTILE[] = {
    {"magic", 0, 1, 'm', MS_FORMAT, 0, "not a token shard"},
    {"end of the magic", 7, 1, 0, MS_FORMAT, 0, "not a token shard"},
    {"version 0", 8, 4, 0, MS_UNSUPPORTED, 8, "version 0, expected 1"},
    {"version 2", 8, 4, 2, MS_UNSUPPORTED, 8, "version 2, expected 1"},
    {"version of the other end", 8, 4, 1 << 24, MS_UNSUPPORTED, 8, "version 16777216"},
    {"width 0", 12, 4, 0, MS_FORMAT, 12, "expected 2 or 4"},
    {"width 1", 12, 4, 1, MS_FORMAT, 12, "expected 2 or 4"},
    {"width 3", 12, 4, 3, MS_FORMAT, 12, "expected 2 or 4"},
    {"width 4 of 2", 12, 4, 4, MS_FORMAT, 24, "do not fit"},
    {"width that is negative", 12, 4, UINT32_MAX, MS_FORMAT, 12, "expected 2 or 4"},
    {"no vocabulary", 16, 4, 0, MS_FORMAT, 16, "vocabulary of 0"},
    {"a huge vocabulary", 16, 4, (1 << 24) + 1, MS_FORMAT, 16, "vocabulary of 16777217"},
    {"the largest vocabulary", 16, 4, UINT32_MAX, MS_FORMAT, 16, "vocabulary of 4294967295"},
    {"a vocabulary of 9", 16, 4, 9, MS_FORMAT, 58, "token 5 is 9, the vocabulary has 9"},
    {"no tokens", 24, 8, 0, MS_FORMAT, 24, "do not fit"},
    {"a token less", 24, 8, 5, MS_FORMAT, 24, "5 tokens of 2 bytes do not fit 60 bytes"},
    {"a token more", 24, 8, 7, MS_FORMAT, 24, "7 tokens of 2 bytes do not fit 60 bytes"},
    {"tokens whose bytes wrap", 24, 8, (UINT64_C(1) << 63) + 6, MS_FORMAT, 24, "do not fit"},
    {"as many tokens as there are numbers", 24, 8, UINT64_MAX, MS_FORMAT, 24, "do not fit"},
    {"a token past the vocabulary", 50, 2, 10, MS_FORMAT, 50, "token 1 is 10"},
    {"the largest token", 48, 2, 65535, MS_FORMAT, 48, "token 0 is 65535, the vocabulary has 10"},
};

static void put_replaced(const char *path, int at, int bytes, uint64_t value)
{
    static const int32_t ids[] = {0, 1, 2, 7, 8, 9};
    char *file;
    size_t size;
    ms_error err;

    put_shard(path, 10, ids, 6, 6);
    must(ms_file_read(&file, &size, path, 1000, &err), &err);
    assert_int_equal(size, 60);
    for (int i = 0; i < bytes; i++) file[at + i] = (char)(value >> (8 * i));
    put(path, file, size);
    free(file);
}

static void a_broken_rule_is_named(void **state)
{
    const char *path = in(state, "x");

    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        put_replaced(path, HOSTILE[i].at, HOSTILE[i].bytes, HOSTILE[i].value);
        refuse(HOSTILE[i].what, path, HOSTILE[i].status, HOSTILE[i].offset, HOSTILE[i].text);
    }
}

/* A token of 4 bytes with its highest bit set is not below zero. */
static void a_wide_token_is_not_negative(void **state)
{
    static const int32_t ids[] = {65536, 1, 65536};
    const char *path = in(state, "x");
    char *file;
    size_t size;
    ms_error err;

    put_shard(path, 65537, ids, 3, 0);
    must(ms_file_read(&file, &size, path, 1000, &err), &err);
    memset(file + HEADER_BYTES + 4, 0xFF, 4);
    put(path, file, size);
    free(file);
    refuse("a wide token", path, MS_FORMAT, 52, "token 1 is 4294967295");
}

/* A run knows its data by this number: one that is not that of the tokens must not be taken. */
static void a_hash_of_other_tokens_is_refused(void **state)
{
    const char *path = in(state, "x");
    ms_shard s = {.tokens = 0};

    for (int i = 0; i < 2; i++) { /* another hash, other tokens */
        put_replaced(path, i ? HEADER_BYTES : 40, 1, 5);
        if (ms_shard_open(&s, path, NULL) == MS_OK) {
            ms_shard_close(&s);
            fail_msg("%s: accepted", i ? "a token changed" : "the hash changed");
        }
    }
}

static void no_cut_of_a_shard_is_read(void **state)
{
    const char *path = in(state, "x");
    char file[61] = {0};
    char *whole;
    size_t size;
    ms_error err;

    put_replaced(path, 0, 0, 0);
    must(ms_file_read(&whole, &size, path, 1000, &err), &err);
    memcpy(file, whole, 60);
    free(whole);
    for (size_t n = 0; n <= 61; n++) {
        if (n == 60) continue;
        put(path, file, n);
        refuse("a cut", path, MS_FORMAT, n < HEADER_BYTES ? 0 : TOKENS_AT,
               n < HEADER_BYTES ? "not a token shard" : "do not fit");
    }
}

static void what_is_no_file_is_refused(void **state)
{
    ms_error err;

    refuse("missing", in(state, "x"), MS_IO, -1, "cannot open");
    must(ms_folder_make(in(state, "folder"), &err), &err);
    refuse("a folder", in(state, "folder"), MS_IO, -1, "is a folder");
}

static void a_shard_is_known_by_its_magic(void **state)
{
    put_replaced(in(state, "shard"), VERSION_AT, 4, 9); /* of whatever version */
    put_text(in(state, "text"), "MSTOKEN");
    put_text(in(state, "magic"), "MSTOKENS");
    put_text(in(state, "empty"), "");
    assert_true(ms_shard_is(in(state, "shard")));
    assert_true(ms_shard_is(in(state, "magic")));
    assert_false(ms_shard_is(in(state, "text")));
    assert_false(ms_shard_is(in(state, "empty")));
    assert_false(ms_shard_is(in(state, "missing")));
    assert_false(ms_shard_is(in(state, "")));
}

static volatile sig_atomic_t rang;

static void ring(int number)
{
    (void)number;
    rang = 1;
}

/* Nobody writes into it: to open it as a file would wait for ever. */
static void a_pipe_is_not_waited_for(void **state)
{
    struct sigaction action = {.sa_handler = ring}, before; /* without SA_RESTART: open gives up */

    assert_int_equal(mkfifo(in(state, "pipe"), 0600), 0);
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    alarm(2);
    int is = ms_shard_is(in(state, "pipe"));
    alarm(0);
    sigaction(SIGALRM, &before, NULL);
    assert_false(is);
    assert_false(rang);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(what_is_written_is_read),
        SCRATCH_TEST(a_shard_appears_when_it_is_committed),
        SCRATCH_TEST(what_cannot_be_written_is_an_error),
        SCRATCH_TEST(a_broken_rule_is_named),
        SCRATCH_TEST(a_wide_token_is_not_negative),
        SCRATCH_TEST(a_hash_of_other_tokens_is_refused),
        SCRATCH_TEST(no_cut_of_a_shard_is_read),
        SCRATCH_TEST(what_is_no_file_is_refused),
        SCRATCH_TEST(a_shard_is_known_by_its_magic),
        SCRATCH_TEST(a_pipe_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
