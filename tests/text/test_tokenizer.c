/* Tokenizers: round trips through files, special tokens, what tokenizer.json and
 * tokenizer_config.json may hold; files of strangers are refused in one line. */
#include "text/tokenizer.h"

#include "../base/scratch.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/bpe_train.h"

/* -- helpers --------------------------------------------------------------------------------- */

static ms_tokenizer *loaded(const char *path)
{
    ms_tokenizer *t = NULL;
    ms_error err;

    must(ms_tokenizer_load(&t, path, &err), &err);
    return t;
}

/* The ids of a text, as "1 2 3"; of a failure the message. */
static const char *ids_of(const ms_tokenizer *t, const char *text, int flags)
{
    static char out[4096];
    int32_t *ids = NULL;
    size_t n, used = 0;
    ms_error err;

    if (ms_tokenizer_encode(t, text, strlen(text), flags, &ids, &n, &err)) {
        snprintf(out, sizeof out, "%s", err.message);
        return out;
    }
    for (size_t i = *out = 0; i < n; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, i ? " %d" : "%d", ids[i]);
    free(ids);
    return out;
}

static void expect_ids(const ms_tokenizer *t, const char *text, int flags, const char *ids)
{
    const char *got = ids_of(t, text, flags);

    if (strcmp(got, ids) != 0) fail_msg("\"%s\" (%d): %s, expected %s", text, flags, got, ids);
}

/* What the ids of a text stand for. */
static size_t decoded(const ms_tokenizer *t, const char *text, size_t size, char *out)
{
    int32_t *ids;
    size_t n, used = 0, bytes;
    ms_error err;

    must(ms_tokenizer_encode(t, text, size, MS_ENCODE_TEXT, &ids, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const char *piece = ms_tokenizer_piece(t, ids[i], &bytes);

        assert_non_null(piece);
        memcpy(out + used, piece, bytes);
        used += bytes;
    }
    free(ids);
    return used;
}

static char *whole(const char *path)
{
    char *text;
    size_t n;
    ms_error err;

    must(ms_file_read(&text, &n, path, 1 << 26, &err), &err);
    return text;
}

/* A JSON text in which the member of a path ("model.vocab") is another one; value NULL: is gone.
 * From malloc. */
static char *changed(const char *base, const char *path, const char *value)
{
    cJSON *root = cJSON_Parse(base), *in = root, *new = value ? cJSON_Parse(value) : NULL;
    char step[64], *text;
    const char *dot;

    if (!root || (value && !new)) fail_msg("no JSON: %s: %s", path, value ? value : base);
    for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        snprintf(step, sizeof step, "%.*s", (int)(dot - path), path);
        in = cJSON_GetObjectItemCaseSensitive(in, step);
        assert_non_null(in);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(in, path);
    if (new) cJSON_AddItemToObject(in, path, new);
    text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static ms_tokenizer *with(void **state, const char *base, const char *path, const char *value)
{
    char *text = changed(base, path, value);
    const char *file = in(state, "tokenizer.json");

    put_text(file, text);
    cJSON_free(text);
    return loaded(file);
}

static ms_tokenizer *of_chars(const char *text)
{
    ms_chars *c;
    ms_tokenizer *t;
    ms_error err;

    must(ms_chars_new(&c, &err), &err);
    must(ms_chars_add(c, text, strlen(text), &err), &err);
    must(ms_chars_finish(c, &t, &err), &err);
    return t;
}

static ms_tokenizer *of_bpe(const char *pattern, int vocab, const char *text)
{
    ms_bpe_options o = ms_bpe_options_default();
    ms_bpe_trainer *trainer;
    ms_tokenizer *t;
    ms_error err;

    o.vocab = vocab;
    o.pattern = pattern;
    o.threads = 1;
    must(ms_bpe_trainer_new(&trainer, &o, &err), &err);
    must(ms_bpe_trainer_add(trainer, text, strlen(text), &err), &err);
    must(ms_bpe_trainer_finish(trainer, &t, &err), &err);
    return t;
}

static const char TEXT[] =
    "It's 2024: we'll see, they said!  The\tking's  12345 men\r\n\r\n  came.\n"
    "Na\xc3\xafve caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80 \"";

/* -- made here, through files ---------------------------------------------------------------- */

static void expect_round_trip(void **state, const ms_tokenizer *t, const char *text)
{
    const char *a = in(state, "a.json"), *b = in(state, "b.json"), *c = in(state, "c.json");
    ms_error err;

    must(ms_tokenizer_save(t, a, &err), &err);
    must(ms_tokenizer_save(t, b, &err), &err);
    ms_tokenizer *again = loaded(a);
    must(ms_tokenizer_save(again, c, &err), &err);
    char *first = whole(a), *second = whole(b), *third = whole(c);
    assert_string_equal(first, second);
    assert_string_equal(first, third);
    assert_string_equal(ms_tokenizer_kind(again), ms_tokenizer_kind(t));
    assert_int_equal(ms_tokenizer_vocab(again), ms_tokenizer_vocab(t));
    for (int id = 0; id < ms_tokenizer_vocab(t); id++) {
        size_t n, m;
        const char *x = ms_tokenizer_piece(t, id, &n), *y = ms_tokenizer_piece(again, id, &m);

        assert_true(n == m && !memcmp(x, y, n));
        assert_string_equal(ms_tokenizer_name(t, id), ms_tokenizer_name(again, id));
        assert_int_equal(ms_tokenizer_find(again, ms_tokenizer_name(t, id)), id);
    }
    for (int flags = 0; flags < 4; flags++) {
        char *ids = strdup(ids_of(t, text, flags));
        expect_ids(again, text, flags, ids);
        free(ids);
    }
    char *out = malloc(strlen(text) + 64);
    assert_int_equal(decoded(again, text, strlen(text), out), strlen(text));
    assert_memory_equal(out, text, strlen(text));
    free(out);
    free(first);
    free(second);
    free(third);
    ms_tokenizer_free(again);
}

/* Of three tokens in a text those are special that are not touched by what strangers wrote. */
static void strangers_write_nothing_special(const ms_tokenizer *t)
{
    static const char text[] = "<|endoftext|><|endoftext|>a<|endoftext|>";
    static const struct {
        ms_text_range range[2];
        size_t ranges, count;
    } row[] = {
        {{{0, 0}}, 0, 4},    {{{0, 13}}, 1, 16},          {{{13, 26}}, 1, 16},
        {{{20, 21}}, 1, 16}, {{{26, 27}}, 1, 4},          {{{0, 40}}, 1, 40},
        {{{12, 14}}, 1, 28}, {{{1, 2}, {30, 31}}, 2, 28}, {{{26, 27}, {39, 40}}, 2, 16},
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int32_t *ids;
        size_t n;
        ms_error err;

        must(ms_tokenizer_encode_around(t, text, sizeof text - 1, row[i].range, row[i].ranges, &ids,
                                        &n, &err),
             &err);
        assert_int_equal(n, row[i].count);
        free(ids);
    }
}

static void bytes_go_through_a_file(void **state)
{
    ms_tokenizer *t;
    char all[256], out[256];
    size_t n;
    ms_error err;

    must(ms_tokenizer_bytes(&t, &err), &err);
    expect_round_trip(state, t, TEXT);
    assert_int_equal(ms_tokenizer_vocab(t), 257);
    assert_int_equal(ms_tokenizer_find(t, MS_END_OF_TEXT), 256);
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    assert_int_equal(decoded(t, all, 256, out), 256);
    assert_memory_equal(all, out, 256);
    expect_ids(t, "a<|endoftext|>", MS_ENCODE_SPECIALS, "97 256");
    expect_ids(t, "<|", 0, "60 124");
    strangers_write_nothing_special(t);
    assert_true(ms_tokenizer_piece(t, 256, &n) && n == 0);
    assert_true(!ms_tokenizer_piece(t, 257, &n) && !ms_tokenizer_piece(t, -1, &n));
    assert_true(!ms_tokenizer_name(t, 257) && !ms_tokenizer_name(t, -1));
    ms_tokenizer_free(t);
}

static void chars_go_through_a_file(void **state)
{
    ms_tokenizer *t = of_chars(TEXT);

    expect_round_trip(state, t, TEXT);
    assert_string_equal(ms_tokenizer_kind(t), "chars");
    assert_int_equal(ms_tokenizer_eos(t), -1);
    expect_ids(t, "", 0, "");
    expect_ids(t, "q", 0, "character \"q\" (U+0071) has no token in this model");
    expect_ids(t, "\xff", 0, "byte 0xff is not valid UTF-8");
    ms_tokenizer_free(t);
}

static void chars_that_cannot_be_tokens_are_refused(void **state)
{
    ms_tokenizer *t = NULL;
    ms_chars *c;
    ms_error err;

    (void)state;
    must(ms_chars_new(&c, &err), &err);
    must_fail("latin", ms_chars_add(c, "ab\xe9 ", 4, &err), MS_INPUT, &err, "0xe9");
    assert_int_equal(err.offset, 2);
    must_fail("nul", ms_chars_add(c, "a\0b", 3, &err), MS_INPUT, &err, "NUL");
    assert_int_equal(err.offset, 1);
    ms_chars_free(c);
    must(ms_chars_new(&c, &err), &err);
    must_fail("none", ms_chars_finish(c, &t, &err), MS_INPUT, &err, "empty");
    assert_null(t);
}

static void patterns_go_through_a_file(void **state)
{
    static const char *const pattern[] = {"gpt2",  "gpt4",         "llama3",
                                          "qwen2", "\\w+|[^\\w]+", "[0-9]"};

    for (size_t i = 0; i < COUNT(pattern); i++) {
        ms_tokenizer *t = of_bpe(pattern[i], 290, TEXT);

        expect_round_trip(state, t, TEXT);
        assert_string_equal(ms_tokenizer_kind(t), "bpe");
        ms_tokenizer_free(t);
    }
}

/* What a stream holds back. */
static void the_start_of_a_character_is_pending(void **state)
{
    static const struct {
        const char *text;
        size_t pending;
    } row[] = {{"", 0},
               {"a", 0},
               {"\xc3", 1},
               {"\xc3\xa9", 0},
               {"a\xe4", 1},
               {"a\xe4\xbd", 2},
               {"\xe4\xbd\xa0", 0},
               {"\xf0", 1},
               {"\xf0\x9f", 2},
               {"\xf0\x9f\x98", 3},
               {"\xf0\x9f\x98\x80", 0},
               {"\x80", 0},
               {"\x80\x80\x80\x80", 0},
               {"a\x80\x80", 0},
               {"\xc3\xa9\x80", 0},
               {"\xff", 0},
               {"\xf8\x80", 0},
               {"\xc3\xc3", 1}};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++)
        if (ms_utf8_pending(row[i].text, strlen(row[i].text)) != row[i].pending)
            fail_msg("row %zu is not %zu", i, row[i].pending);
}

/* Pieces one after the other, as a stream shows them: whole characters, at the end all bytes. */
static void a_stream_of_bytes_shows_whole_characters(void **state)
{
    size_t n = strlen(TEXT), shown = 0;

    (void)state;
    for (size_t i = 1; i <= n; i++) {
        size_t ready = i - ms_utf8_pending(TEXT, i);

        assert_true(ready >= shown && i - ready <= 3);
        assert_true(ready == n || ((unsigned char)TEXT[ready] & 0xc0) != 0x80);
        shown = ready;
    }
    assert_int_equal(shown, n);
}

/* -- SentencePiece, as Llama 2 has it -------------------------------------------------------- */

#define SHOWN "\xe2\x96\x81"
#define ADDED(id, text, special)                                                                   \
    "{\"id\":" #id ",\"content\":\"" text "\",\"single_word\":false,\"lstrip\":false,"             \
    "\"rstrip\":false,\"normalized\":false,\"special\":" #special "}"
#define LLAMA2_ADDED                                                                               \
    "[" ADDED(0, "<unk>", true) "," ADDED(1, "<s>", true) "," ADDED(2, "</s>", true) "]"
#define LLAMA2_VOCAB                                                                               \
    "{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"<0x0A>\":3,\"<0xC3>\":4,\"<0xA9>\":5,\"" SHOWN            \
    "\":6,\"t\":7,\"h\":8,\"e\":9,\"" SHOWN "t\":10,\"he\":11,\"" SHOWN "the\":12,\"a\":13}"
#define LLAMA2_POST                                                                                \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","              \
    "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}"
#define LLAMA2_NORMALIZERS                                                                         \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SHOWN           \
    "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SHOWN "\"}]}"
#define LLAMA2_DECODER                                                                             \
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SHOWN  \
    "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"                      \
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"

static const char LLAMA2[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":" LLAMA2_ADDED
    ",\"normalizer\":" LLAMA2_NORMALIZERS ",\"pre_tokenizer\":null,\"post_processor\":" LLAMA2_POST
    ",\"decoder\":" LLAMA2_DECODER ",\"model\":{\"type\":\"BPE\",\"dropout\":null,"
    "\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
    "\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":" LLAMA2_VOCAB ",\"merges\":[\"" SHOWN
    " t\",\"h e\",[\"" SHOWN "t\",\"he\"]]}}";

static void sentencepiece_is_read_as_llama_2_has_it(void **state)
{
    static const struct {
        const char *text;
        int flags;
        const char *ids;
    } row[] = {
        {"the the", 0, "12 12"},
        {"the  the", 0, "12 6 12"},
        {"", 0, ""},
        {"", MS_ENCODE_FRAME, "1"},
        {"the", MS_ENCODE_FRAME, "1 12"},
        {" the", 0, "6 12"},
        {"a\n\xc3\xa9", 0, "6 13 3 4 5"}, /* bytes of what has no token */
        {"\xc3\xbc", 0, "6 0"},           /* not all of its bytes have one */
        {"\xc3\xbc\xc3\xbc"
         "a\xc3\xbc",
         0, "6 0 13 0"},
        {"<s>the", MS_ENCODE_SPECIALS, "1 12"},
        {"a<s>the</s>", MS_ENCODE_SPECIALS | MS_ENCODE_FRAME, "1 6 13 1 12 2"},
        {"<s>the", 0, "6 0 7 11"},
        {"hehe", 0, "6 11 11"},
        {"<0x0A>", 0, "6 0"}, /* the name of a byte is not that byte */
    };
    ms_tokenizer *t = with(state, LLAMA2, "version", "\"1.0\"");
    size_t n;

    for (size_t i = 0; i < COUNT(row); i++) expect_ids(t, row[i].text, row[i].flags, row[i].ids);
    assert_string_equal(ms_tokenizer_kind(t), "sentencepiece");
    assert_true(ms_tokenizer_bos(t) == 1 && ms_tokenizer_eos(t) == 2);
    assert_true(ms_tokenizer_frames(t) && ms_tokenizer_leads(t));
    static const char *const piece[] = {"",  "",  "",  "\n", "\xc3", "\xa9", " ",
                                        "t", "h", "e", " t", "he",   " the", "a"};
    for (int id = 0; id < (int)COUNT(piece); id++) {
        const char *got = ms_tokenizer_piece(t, id, &n);
        assert_true(n == strlen(piece[id]) && !memcmp(got, piece[id], n));
    }
    expect_ids(t, "the\xff", 0, "byte 0xff is not valid UTF-8");
    ms_tokenizer_free(t);
}

/* Only those of a word are one, as in Hugging Face's BPE; what was seen before is no different. */
static void unknown_characters_are_fused_in_a_word(void **state)
{
    static const char split[] = "{\"type\":\"Metaspace\",\"replacement\":\"" SHOWN
                                "\",\"prepend_scheme\":\"never\",\"split\":true}";
    char *text = changed(LLAMA2, "model.byte_fallback", "false");
    char *unsplit = changed(text, "normalizer", NULL);
    ms_tokenizer *t = with(state, unsplit, "model.fuse_unk", "false");

    expect_ids(t, "zzazz", 0, "0 0 13 0 0");
    ms_tokenizer_free(t);
    t = with(state, unsplit, "version", "\"1.0\"");
    expect_ids(t, "zzazz", 0, "0 13 0");
    ms_tokenizer_free(t);

    /* words by a space that has no token itself: each is one unknown token */
    char *no_space = changed(unsplit, "model.vocab", "{\"<unk>\":0,\"a\":13}");
    char *no_merges = changed(no_space, "model.merges", "[]");
    char *no_frame = changed(no_merges, "post_processor", NULL);
    t = with(state, no_frame, "pre_tokenizer", split);
    expect_ids(t, "z z y", 0, "0 0 0");
    expect_ids(t, "a z z y", 0, "13 0 0 0");
    ms_tokenizer_free(t);
    cJSON_free(no_frame);
    cJSON_free(no_merges);
    cJSON_free(no_space);
    cJSON_free(unsplit);
    cJSON_free(text);
}

static void metaspace_splits_and_prepends_as_it_is_told(void **state)
{
    static const struct {
        const char *step, *text, *ids;
        bool leads;
    } row[] = {
        {"\"prepend_scheme\":\"always\",\"split\":true", "the the<s>the", "12 12 1 12", true},
        {"\"prepend_scheme\":\"first\",\"split\":true", "the the<s>the", "12 12 1 7 11", true},
        {"\"prepend_scheme\":\"first\",\"split\":false", "the the<s>the", "12 12 1 7 11", true},
        {"\"prepend_scheme\":\"first\",\"split\":false", " the", "12", true},
        {"\"prepend_scheme\":\"never\",\"split\":false", "the the<s>the", "7 11 12 1 7 11", false},
        {"\"add_prefix_space\":true", "the the<s>the", "12 12 1 12", true},
        {"\"add_prefix_space\":false", "the the<s>the", "7 11 12 1 7 11", false},
    };
    char *text = changed(LLAMA2, "normalizer", NULL), step[256];

    for (size_t i = 0; i < COUNT(row); i++) {
        snprintf(step, sizeof step, "{\"type\":\"Metaspace\",\"replacement\":\"" SHOWN "\",%s}",
                 row[i].step);
        ms_tokenizer *t = with(state, text, "pre_tokenizer", step);
        expect_ids(t, row[i].text, MS_ENCODE_SPECIALS, row[i].ids);
        ms_tokenizer_free(t);
    }
    cJSON_free(text);
}

/* A space that encoding has put there is to be taken away again, whoever put it. */
static void metaspace_leads_as_prepend_does(void **state)
{
    static const char *const scheme[] = {"always", "first", "never"};
    char *text = changed(LLAMA2, "normalizer", NULL), step[256];

    for (int i = 0; i < 3; i++) {
        snprintf(step, sizeof step,
                 "{\"type\":\"Metaspace\",\"replacement\":\"" SHOWN
                 "\",\"prepend_scheme\":\"%s\",\"split\":false}",
                 scheme[i]);
        ms_tokenizer *t = with(state, text, "pre_tokenizer", step);
        if (ms_tokenizer_leads(t) != (i < 2)) fail_msg("leads: prepend_scheme %s", scheme[i]);
        ms_tokenizer_free(t);
    }
    cJSON_free(text);
}

/* -- normalizers ----------------------------------------------------------------------------- */

static const char PLAIN[] = "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":null,"
                            "\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"BPE\","
                            "\"vocab\":{\"a\":0,\"b\":1,\"e\":2,\"\xc3\xa9\":3,\"\xcc\x81\":4,"
                            "\"ab\":5,\" \":6,\"f\":7,\"i\":8,\"\xef\xac\x81\":9},"
                            "\"merges\":[[\"a\",\"b\"]]}}";

static void normalizers_change_the_text(void **state)
{
    static const struct {
        const char *normalizer, *text, *ids;
    } row[] = {
        {"null", "e\xcc\x81\xef\xac\x81", "2 4 9"},
        {"{\"type\":\"NFC\"}", "e\xcc\x81\xef\xac\x81", "3 9"},
        {"{\"type\":\"NFD\"}", "\xc3\xa9\xef\xac\x81", "2 4 9"},
        {"{\"type\":\"NFKC\"}", "e\xcc\x81\xef\xac\x81", "3 7 8"},
        {"{\"type\":\"NFKD\"}", "\xc3\xa9\xef\xac\x81", "2 4 7 8"},
        {"{\"type\":\"NFC\"}", "ab", "5"},
        {"{\"type\":\"NFC\"}", "\xc3\xa9\xff", "the text is not valid UTF-8"},
        {"{\"type\":\"Prepend\",\"prepend\":\"a\"}", "b", "5"},
        {"{\"type\":\"Prepend\",\"prepend\":\"a\"}", "", ""},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"ee\"},\"content\":\"b\"}", "aeee", "5 2"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"e\"},\"content\":\"\"}", "aeeb", "5"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"b\"},\"content\":\"bb\"}", "ab", "5 1"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"e\"},\"content\":\"\"}", "ee", ""},
        {"{\"type\":\"Sequence\",\"normalizers\":[]}", "ab", "5"},
        {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Replace\","
         "\"pattern\":{\"String\":\"\xcc\x81\"},\"content\":\"\"},{\"type\":\"Prepend\","
         "\"prepend\":\" \"}]}",
         "\xc3\xa9", "6 2"},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        ms_tokenizer *t = with(state, PLAIN, "normalizer", row[i].normalizer);

        expect_ids(t, row[i].text, 0, row[i].ids);
        ms_tokenizer_free(t);
    }
}

/* -- special and added tokens ---------------------------------------------------------------- */

#define TOKEN(id, text, left, right, special)                                                      \
    "{\"id\":" #id ",\"content\":\"" text "\",\"lstrip\":" #left ",\"rstrip\":" #right             \
    ",\"special\":" #special "}"

static void added_tokens_are_cut_out_of_the_text(void **state)
{
    /* clang-format off */
    static const char added[] =
        "[" TOKEN(20, "<x>", false, false, true) ","
            TOKEN(21, "<x><y>", false, false, true) ","
            TOKEN(22, "<left>", true, false, true) ","
            TOKEN(23, "<right>", false, true, true) ","
            TOKEN(24, "<both>", true, true, false) ","
            TOKEN(25, "ba", false, false, false) ","
            TOKEN(26, "<", false, false, true) ","
            TOKEN(27, "\xc3\xa9\xc3\xa9", false, false, true) "]";
    /* clang-format on */
    static const struct {
        const char *text, *special, *plain;
    } row[] = {
        {"<x>", "20", NULL},
        {"<x><y><x>", "21 20", NULL},
        {"a<x>b", "0 20 1", NULL},
        {"<x><", "20 26", NULL},
        {"<x", "26 10", NULL},
        {"a  <left>  b", "0 22 6 6 1", NULL},
        {"a  <right>  b", "0 6 6 23 1", NULL},
        {"a \t\n<both> \r\n b", "0 24 1", "0 24 1"},
        {"  <both>  ", "24", "24"},
        {"<both><both>", "24 24", "24 24"},
        {"<right>  <left>", "23 22", NULL},
        {"aba", "0 25", "0 25"}, /* in front of any merge */
        {"abab", "0 25 1", "0 25 1"},
        {"\xc3\xa9\xc3\xa9\xc3\xa9", "27 3", "3 3 3"},
    };
    char *more = changed(PLAIN, "model.vocab",
                         "{\"a\":0,\"b\":1,\"\xc3\xa9\":3,\"ab\":5,\" \":6,\"x\":10,\"<unk>\":11}");
    char *unk = changed(more, "model.unk_token", "\"<unk>\"");
    ms_tokenizer *t = with(state, unk, "added_tokens", added);
    size_t n;

    for (size_t i = 0; i < COUNT(row); i++) {
        expect_ids(t, row[i].text, MS_ENCODE_SPECIALS, row[i].special);
        if (row[i].plain) expect_ids(t, row[i].text, 0, row[i].plain);
    }
    expect_ids(t, "<x>", 0, "11 10 11");
    assert_int_equal(ms_tokenizer_vocab(t), 28);
    assert_true(ms_tokenizer_piece(t, 24, &n) && n == 6); /* added, not special: its own text */
    assert_true(ms_tokenizer_piece(t, 20, &n) && n == 0); /* special: none */
    assert_true(ms_tokenizer_piece(t, 15, &n) && n == 0); /* an id without a token */
    assert_true(!ms_tokenizer_name(t, 15) && ms_tokenizer_find(t, "") == -1);
    ms_tokenizer_free(t);
    cJSON_free(more);
    cJSON_free(unk);
}

static void texts_are_framed_when_asked(void **state)
{
    static const char post[] =
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
        "{\"SpecialToken\":{\"id\":\"<unk>\"}},{\"Sequence\":{\"id\":\"A\"}},"
        "{\"SpecialToken\":{\"id\":\"</s>\"}}]}]}";
    ms_tokenizer *t = with(state, LLAMA2, "post_processor", post);

    expect_ids(t, "the", MS_ENCODE_FRAME, "1 0 12 2");
    expect_ids(t, "", MS_ENCODE_FRAME, "1 0 2");
    expect_ids(t, "the", 0, "12");
    assert_true(ms_tokenizer_frames(t));
    ms_tokenizer_free(t);
    t = with(state, LLAMA2, "post_processor", "null");
    expect_ids(t, "the", MS_ENCODE_FRAME, "12");
    assert_false(ms_tokenizer_frames(t));
    ms_tokenizer_free(t);
}

/* -- byte-level files of others -------------------------------------------------------------- */

#define S              "\xc4\xa0" /* a space, as files show it */
#define BYTE_LEVEL(r)  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" #r "}"
#define SEQUENCE(list) "{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}"
#define CASES          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
/* clang-format off */
#define REST \
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
/* clang-format on */
#define SPLIT(p)                                                                                   \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" p                                              \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}"

/* Words become tokens only when they are cut alike: all runs of 1 to 4 of each have one. */
static const char RUNS[] =
    "{\"added_tokens\":[],\"pre_tokenizer\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"1\":1,\"!\":2,\"" S "\":3,\"\xc4\x8a\":4,"
    "\"aa\":5,\"11\":6,\"111\":7,\"" S S "\":8,\"" S "a\":9,\"" S
    "1\":10,\"!a\":11,\"!\xc4\x8a\":12,"
    "\"'\":13,\"s\":14,\"S\":15,\"'s\":16,\"'S\":17,\"1111\":18,\"" S "\xc4\x8a\":19,\"" S
    "!\":20},"
    "\"merges\":[\"a a\",\"1 1\",\"11 1\",\"" S " " S "\",\"" S " a\",\"" S " 1\",\"! a\","
    "\"! \xc4\x8a\",\"' s\",\"' S\",\"11 11\",\"" S " \xc4\x8a\",\"" S " !\"]}}";

static void pre_tokenizers_of_known_models_are_read(void **state)
{
    static const char gpt2[] = BYTE_LEVEL(true);
    static const char llama3[] = SEQUENCE(SPLIT(CASES "\\\\p{N}{1,3}|" REST) "," BYTE_LEVEL(false));
    static const char qwen2[] = SEQUENCE(SPLIT(CASES "\\\\p{N}|" REST) "," BYTE_LEVEL(false));
    static const char smollm[] = SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}"
                                          "," BYTE_LEVEL(true));
    static const char digits[] = SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":false}"
                                          "," BYTE_LEVEL(true));
    static const struct {
        const char *pre, *text, *ids;
    } row[] = {
        {gpt2, "a a  a", "0 9 3 9"},
        {gpt2, "1111 1", "18 10"},
        {gpt2, "!a", "2 0"},
        {gpt2, "!\na", "2 4 0"},
        {gpt2, "a's'S", "0 16 13 15"},
        {gpt2, "a 1 !", "0 10 20"},
        {llama3, "a a  a", "0 9 3 9"},
        {llama3, "1111 1", "7 1 3 1"},
        {llama3, "!a", "11"},
        {llama3, "!\na", "12 0"},
        {llama3, "a's'S", "0 16 17"},
        {llama3, " \na", "19 0"},
        {qwen2, "1111 1", "1 1 1 1 3 1"},
        {qwen2, "!a", "11"},
        {qwen2, "a's'S", "0 16 17"},
        {smollm, "1111 1", "1 1 1 1 3 1"},
        {smollm, "!a", "2 0"},
        {smollm, "a 1 !", "0 3 1 20"},
        {digits, "1111 1", "18 3 1"},
        {digits, "a 1 !", "0 3 1 20"},
        {gpt2, "", ""},
        {BYTE_LEVEL(false), "a a", "0 9"},
        {BYTE_LEVEL(false), "a'sa", "0 16 0"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "a a", "9 9"},
        {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", " a", "9"},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        ms_tokenizer *t = with(state, RUNS, "pre_tokenizer", row[i].pre);

        expect_ids(t, row[i].text, 0, row[i].ids);
        assert_string_equal(ms_tokenizer_kind(t), "bpe");
        ms_tokenizer_free(t);
    }
}

static void splits_do_as_they_are_told(void **state)
{
    static const struct {
        const char *split, *text, *ids;
    } row[] = {
        {"\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\"", "a a!", "0 3 0 2"},
        {"\"pattern\":{\"String\":\" \"},\"behavior\":\"Removed\"", "a a!a", "0 0 11"},
        {"\"pattern\":{\"Regex\":\"[a-z]+\"},\"behavior\":\"Removed\",\"invert\":true", "a!aa",
         "0 5"},
        {"\"pattern\":{\"Regex\":\"[a-z]+\"},\"behavior\":\"Removed\"", "a!aa", "2"},
        {"\"pattern\":{\"Regex\":\"[a-z]+\"},\"behavior\":\"Isolated\",\"invert\":true", "!aa",
         "2 5"},
        {"\"pattern\":{\"String\":\".\"},\"behavior\":\"Removed\"", "!a", "11"},
    };
    char step[256];

    for (size_t i = 0; i < COUNT(row); i++) {
        snprintf(step, sizeof step,
                 SEQUENCE("{\"type\":\"Split\",%s}"
                          "," BYTE_LEVEL(false)),
                 row[i].split);
        ms_tokenizer *t = with(state, RUNS, "pre_tokenizer", step);
        expect_ids(t, row[i].text, 0, row[i].ids);
        ms_tokenizer_free(t);
    }
}

/* As tiktoken has it, and Llama 3: however long the word is. */
static void a_word_that_is_a_token_is_taken_whole(void **state)
{
    static const char dashes[] = "----------------------------------------"; /* 40 */

    for (int n = 2; n <= 40; n += 19) {
        char vocab[128], *more, *ignore;

        snprintf(vocab, sizeof vocab, "{\"-\":0,\"%.*s\":1,\"a\":2}", n, dashes);
        more = changed(RUNS, "model.vocab", vocab);
        ignore = changed(more, "model.merges", "[]");
        ms_tokenizer *t = with(state, ignore, "model.ignore_merges", "true");
        char *text = strndup(dashes, (size_t)n);
        expect_ids(t, text, 0, "1");
        free(text);
        ms_tokenizer_free(t);
        cJSON_free(more);
        cJSON_free(ignore);
    }
}

/* -- tokenizer_config.json ------------------------------------------------------------------- */

static void tokenizer_config_names_special_tokens(void **state)
{
    static const struct {
        const char *config;
        int bos, eos;
        const char *chat, *framed;
    } row[] = {
        {NULL, 1, 2, NULL, "1 12"},
        {"{}", -1, -1, NULL, "1 12"},
        {"{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", 1, 2, NULL, "1 12"},
        {"{\"bos_token\":{\"content\":\"</"
         "s>\",\"lstrip\":false},\"eos_token\":{\"content\":\"<s>\"}}",
         2, 1, NULL, "1 12"},
        {"{\"bos_token\":null,\"eos_token\":\"nowhere\"}", -1, -1, NULL, "1 12"},
        {"{\"bos_token\":5,\"eos_token\":{\"content\":7}}", -1, -1, NULL, "1 12"},
        {"{\"chat_template\":\"{{ x }}\"}", -1, -1, "{{ x }}", "1 12"},
        {"{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"},"
         "{\"name\":\"default\",\"template\":\"d\"}]}",
         -1, -1, "d", "1 12"},
        {"{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"}]}", -1, -1, NULL, "1 12"},
        {"{\"chat_template\":[1,\"a\",null,{}]}", -1, -1, NULL, "1 12"},
        {"{\"chat_template\":{\"default\":\"d\"}}", -1, -1, NULL, "1 12"},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        if (row[i].config) put_text(in(state, "tokenizer_config.json"), row[i].config);
        ms_tokenizer *t = with(state, LLAMA2, "version", "\"1.0\"");
        const char *chat = ms_tokenizer_chat_template(t);

        if (ms_tokenizer_bos(t) != row[i].bos || ms_tokenizer_eos(t) != row[i].eos)
            fail_msg("row %zu: bos %d, eos %d", i, ms_tokenizer_bos(t), ms_tokenizer_eos(t));
        if (!chat != !row[i].chat || (chat && strcmp(chat, row[i].chat) != 0))
            fail_msg("row %zu: chat template %s", i, chat ? chat : "none");
        expect_ids(t, "the", MS_ENCODE_FRAME, row[i].framed);
        ms_tokenizer_free(t);
    }
}

static void a_config_may_add_bos(void **state)
{
    put_text(in(state, "tokenizer_config.json"), "{\"bos_token\":\"<s>\",\"add_bos_token\":true}");
    ms_tokenizer *t = with(state, LLAMA2, "post_processor", NULL);

    expect_ids(t, "the", MS_ENCODE_FRAME, "1 12");
    assert_true(ms_tokenizer_frames(t));
    ms_tokenizer_free(t);
    t = with(state, LLAMA2, "version", "\"1.0\""); /* the file has one already */
    expect_ids(t, "the", MS_ENCODE_FRAME, "1 12");
    ms_tokenizer_free(t);
}

static void configs_are_written(void **state)
{
    static const char given[] = "{ \"eos_token\" : \"</s>\",\n \"chat_template\":\"x\" }\n";
    const char *config = in(state, "tokenizer_config.json"), *out = in(state, "out");
    ms_error err;
    ms_tokenizer *t = of_bpe("gpt2", 260, TEXT);

    must(ms_tokenizer_save(t, in(state, "tokenizer.json"), &err), &err);
    must(ms_tokenizer_save_config(t, 128, config, &err), &err);
    ms_tokenizer_free(t);
    t = loaded(in(state, "tokenizer.json"));
    assert_true(ms_tokenizer_bos(t) == 0 && ms_tokenizer_eos(t) == 0);
    ms_tokenizer_free(t);
    put_text(config, given);
    t = with(state, LLAMA2, "version", "\"1.0\"");
    must(ms_tokenizer_save_config(t, 128, out, &err), &err);
    holds(out, given); /* as it was */
    ms_tokenizer_free(t);
    must(ms_tokenizer_bytes(&t, &err), &err);
    ms_status got = ms_tokenizer_save(t, in(state, "no/tokenizer.json"), &err);
    must_fail("no folder", got, MS_IO, &err, "cannot write");
    got = ms_tokenizer_save_config(t, 8, in(state, "no/tokenizer_config.json"), &err);
    must_fail("no folder", got, MS_IO, &err, "cannot write");
    ms_tokenizer_free(t);
}

/* -- files of strangers ---------------------------------------------------------------------- */

static void refuse(const char *what, const char *path, const char *named, ms_status status,
                   const char *text)
{
    ms_tokenizer *t = NULL;
    ms_error err = {.status = MS_OK};
    ms_status got = ms_tokenizer_load(&t, path, &err);

    if (!got) ms_tokenizer_free(t);
    must_fail(what, got, status, &err, text);
    if (strcmp(err.path, named) != 0) fail_msg("%s: the path is \"%s\"", what, err.path);
    assert_true(got || !t);
}

typedef struct {
    const char *path, *value; /* NULL: missing */
    ms_status status;
    const char *text;
} hostile;

static void refuse_rows(void **state, const char *base, const hostile *row, size_t rows)
{
    const char *file = in(state, "tokenizer.json");
    char what[160];

    for (size_t i = 0; i < rows; i++) {
        char *text = changed(base, row[i].path, row[i].value);

        snprintf(what, sizeof what, "%s: %s", row[i].path, row[i].value ? row[i].value : "missing");
        put_text(file, text);
        refuse(what, file, file, row[i].status, row[i].text);
        cJSON_free(text);
    }
}

static void hostile_models_are_refused(void **state)
{
    static const hostile row[] = {
        {"model", NULL, MS_FORMAT, "\"model\": expected an object"},
        {"model", "null", MS_FORMAT, "\"model\""},
        {"model", "[]", MS_FORMAT, "\"model\""},
        {"model", "\"BPE\"", MS_FORMAT, "\"model\""},
        {"model", "{}", MS_FORMAT, "\"vocab\": expected an object"},
        {"model.type", "\"Unigram\"", MS_UNSUPPORTED, "\"Unigram\" is not supported"},
        {"model.type", "\"WordPiece\"", MS_UNSUPPORTED, "\"WordPiece\" is not supported"},
        {"model.type", "\"WordLevel\\n\\u001b[2J\"", MS_UNSUPPORTED, "WordLevel"},
        {"model.vocab", NULL, MS_FORMAT, "\"vocab\": expected an object"},
        {"model.vocab", "[[\"a\",-1.5]]", MS_FORMAT, "\"vocab\": expected an object"},
        {"model.vocab", "7", MS_FORMAT, "\"vocab\": expected an object"},
        {"model.vocab", "{\"a\":\"0\"}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":null}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":[3]}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":-1}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":3.5}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":2147483648}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":4294967296}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":1e300}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":1e999}", MS_FORMAT, "\"a\" has a bad id"},
        {"model.vocab", "{\"a\":100000}", MS_FORMAT, "expected 0 to"},
        {"model.vocab", "{\"a\":3,\"b\":3}", MS_FORMAT, "\"a\" and \"b\" have the same id 3"},
        {"model.vocab", "{\"a\":3,\"a\":4}", MS_FORMAT, "\"a\" is there twice"},
        {"model.vocab", "{\"a\":1}", MS_FORMAT, "\"<s>\" and \"a\" have the same id 1"},
        {"model.vocab", "{\"<s>\":7}", MS_FORMAT, "\"<s>\" is there twice"},
        {"model.vocab", "{\"a\\nb\\u0007\":-1}", MS_FORMAT, "has a bad id"},
        {"model.vocab", "{}", MS_FORMAT, "merge 0: \"" SHOWN "\" is no token"},
        {"model.merges", NULL, MS_FORMAT, "\"merges\": expected an array"},
        {"model.merges", "{}", MS_FORMAT, "\"merges\": expected an array"},
        {"model.merges", "\"h e\"", MS_FORMAT, "\"merges\": expected an array"},
        {"model.merges", "[\"he\"]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[\"\"]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[\" \"]", MS_FORMAT, "is no token"},
        {"model.merges", "[5]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[null]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[[\"h\"]]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[[]]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[[\"h\",\"e\",\"t\"]]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[[\"h\",5]]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[[5,\"h\"]]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[{\"h\":\"e\"}]", MS_FORMAT, "pairs of tokens"},
        {"model.merges", "[\"h e\",\"h x\"]", MS_FORMAT, "merge 1: \"x\" is no token"},
        {"model.merges", "[\"x e\"]", MS_FORMAT, "merge 0: \"x\" is no token"},
        {"model.merges", "[\"e h\"]", MS_FORMAT, "merge 0: \"eh\" is no token"},
        {"model.merges", "[\"he he\"]", MS_FORMAT, "merge 0: \"hehe\" is no token"},
        {"model.merges", "[\"\\n\\u001b e\"]", MS_FORMAT, "is no token"},
        {"model.continuing_subword_prefix", "\"##\"", MS_UNSUPPORTED, "continuing_subword_prefix"},
        {"model.end_of_word_suffix", "\"</w>\"", MS_UNSUPPORTED, "end_of_word_suffix"},
    };

    refuse_rows(state, LLAMA2, row, COUNT(row));
}

static void hostile_added_tokens_are_refused(void **state)
{
    static const hostile row[] = {
        {"added_tokens", "{}", MS_FORMAT, "\"added_tokens\": expected an array"},
        {"added_tokens", "\"<s>\"", MS_FORMAT, "\"added_tokens\": expected an array"},
        {"added_tokens", "[\"<s>\"]", MS_FORMAT, "texts in \"content\""},
        {"added_tokens", "[null]", MS_FORMAT, "texts in \"content\""},
        {"added_tokens", "[{\"id\":1}]", MS_FORMAT, "texts in \"content\""},
        {"added_tokens", "[{\"id\":1,\"content\":\"\"}]", MS_FORMAT, "texts in \"content\""},
        {"added_tokens", "[{\"id\":1,\"content\":5}]", MS_FORMAT, "texts in \"content\""},
        {"added_tokens", "[{\"content\":\"<s>\"}]", MS_FORMAT, "bad id"},
        {"added_tokens", "[{\"id\":\"1\",\"content\":\"<s>\"}]", MS_FORMAT, "bad id"},
        {"added_tokens", "[{\"id\":-1,\"content\":\"<s>\"}]", MS_FORMAT, "bad id"},
        {"added_tokens", "[{\"id\":1e9,\"content\":\"<s>\"}]", MS_FORMAT, "bad id"},
        {"added_tokens", "[{\"id\":0.5,\"content\":\"<s>\"}]", MS_FORMAT, "bad id"},
        {"added_tokens", "[{\"id\":50,\"content\":\"x\"},{\"id\":50,\"content\":\"y\"}]", MS_FORMAT,
         "\"x\" and \"y\" have the same id 50"},
        {"added_tokens", "[{\"id\":50,\"content\":\"x\"},{\"id\":51,\"content\":\"x\"}]", MS_FORMAT,
         "\"x\" is there twice"},
        {"added_tokens", "[{\"id\":7,\"content\":\"x\"}]", MS_FORMAT, "have the same id 7"},
        {"added_tokens", "[{\"id\":50,\"content\":\"t\"}]", MS_FORMAT, "\"t\" is there twice"},
        {"added_tokens", "[{\"id\":1,\"content\":\"<s>\",\"single_word\":true}]", MS_UNSUPPORTED,
         "single_word"},
    };

    refuse_rows(state, LLAMA2, row, COUNT(row));
}

#define STEP(type)        "{\"type\":\"" type "\"}"
#define SPLIT_BY(pattern) "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":" pattern "}"
#define FRAME(single)     "{\"type\":\"TemplateProcessing\",\"single\":" single "}"
#define REPLACE(a, b)                                                                              \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" a "\"},\"content\":\"" b "\"}"
#define FIVE(x) x "," x "," x "," x "," x

static void unsupported_steps_are_refused_by_name(void **state)
{
    static const hostile row[] = {
        {"normalizer", STEP("Lowercase"), MS_UNSUPPORTED, "\"normalizer\": \"Lowercase\""},
        {"normalizer", STEP("BertNormalizer"), MS_UNSUPPORTED, "\"BertNormalizer\""},
        {"normalizer", STEP("Precompiled"), MS_UNSUPPORTED, "\"Precompiled\""},
        {"normalizer", "{}", MS_UNSUPPORTED, "\"normalizer\""},
        {"normalizer", "[]", MS_FORMAT, "normalizer"},
        {"normalizer", "\"NFC\"", MS_FORMAT, "normalizer"},
        {"normalizer", STEP("Prepend"), MS_FORMAT, "\"prepend\": expected a text"},
        {"normalizer", "{\"type\":\"Prepend\",\"prepend\":\"\"}", MS_UNSUPPORTED, "normalizer"},
        {"normalizer", "{\"type\":\"Prepend\",\"prepend\":\"more than fifteen\"}", MS_UNSUPPORTED,
         "normalizer"},
        {"normalizer", STEP("Replace"), MS_UNSUPPORTED, "Replace of a pattern"},
        {"normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}",
         MS_UNSUPPORTED, "Replace of a pattern"},
        {"normalizer", REPLACE("", "b"), MS_UNSUPPORTED, "normalizer"},
        {"normalizer", REPLACE("a", "more than fifteen"), MS_UNSUPPORTED, "normalizer"},
        {"normalizer", STEP("Sequence"), MS_FORMAT, "\"normalizers\": expected an array"},
        {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[5]}", MS_UNSUPPORTED, "normalizer"},
        {"normalizer",
         "{\"type\":\"Sequence\",\"normalizers\":[" FIVE(STEP("NFC")) "," FIVE(STEP("NFC")) "]}",
         MS_UNSUPPORTED, "so much"},
        {"pre_tokenizer", STEP("Whitespace"), MS_UNSUPPORTED, "\"pre_tokenizer\": \"Whitespace\""},
        {"pre_tokenizer", STEP("BertPreTokenizer"), MS_UNSUPPORTED, "\"BertPreTokenizer\""},
        {"pre_tokenizer", STEP("UnicodeScripts"), MS_UNSUPPORTED, "\"UnicodeScripts\""},
        {"pre_tokenizer", "5", MS_FORMAT, "pretokenizers"},
        {"pre_tokenizer", STEP("Split"), MS_FORMAT, "\"pattern\""},
        {"pre_tokenizer", SPLIT_BY("5"), MS_FORMAT, "\"pattern\""},
        {"pre_tokenizer", SPLIT_BY("{\"Regex\":5}"), MS_FORMAT, "\"pattern\""},
        {"pre_tokenizer", SPLIT_BY("{\"Regex\":\"(\"}"), MS_INPUT, "pattern \"(\""},
        {"pre_tokenizer", SPLIT_BY("{\"Regex\":\"(\\n\\u001b[\"}"), MS_INPUT, "pattern"},
        {"pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"}}", MS_UNSUPPORTED,
         "\"behavior\""},
        {"pre_tokenizer",
         "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"MergedWithNext\"}",
         MS_UNSUPPORTED, "\"MergedWithNext\""},
        {"pre_tokenizer", "{\"type\":\"Metaspace\",\"replacement\":\"_\"}", MS_UNSUPPORTED,
         "\"_\""},
        {"pre_tokenizer",
         SEQUENCE(STEP("Digits") ","
                                 "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"),
         MS_UNSUPPORTED, "add_prefix_space"},
        {"pre_tokenizer",
         SEQUENCE(STEP(
             "Digits") ","
                       "{\"type\":\"Metaspace\",\"prepend_scheme\":\"always\",\"split\":false}"),
         MS_UNSUPPORTED, "Metaspace behind another step"},
        {"pre_tokenizer", SEQUENCE(FIVE(STEP("Digits")) "," FIVE(STEP("Digits"))), MS_UNSUPPORTED,
         "8 stages"},
        {"pre_tokenizer", SEQUENCE("{\"type\":\"Sequence\",\"pretokenizers\":[]}"), MS_UNSUPPORTED,
         "\"Sequence\""},
        {"post_processor", STEP("BertProcessing"), MS_UNSUPPORTED, "\"BertProcessing\""},
        {"post_processor", STEP("RobertaProcessing"), MS_UNSUPPORTED, "\"RobertaProcessing\""},
        {"post_processor", "[1]", MS_FORMAT, "processors"},
        {"post_processor", FRAME("[{\"SpecialToken\":{\"id\":\"<none>\"}}]"), MS_FORMAT, "single"},
        {"post_processor", FRAME("[{\"SpecialToken\":{\"id\":1}}]"), MS_FORMAT, "single"},
        {"post_processor", FRAME("[{\"SpecialToken\":\"<s>\"}]"), MS_FORMAT, "single"},
        {"post_processor", FRAME("[" FIVE("{\"SpecialToken\":{\"id\":\"<s>\"}}") "]"),
         MS_UNSUPPORTED, "so many special tokens"},
        {"decoder", STEP("WordPiece"), MS_UNSUPPORTED, "\"decoder\": \"WordPiece\""},
        {"decoder", STEP("CTC"), MS_UNSUPPORTED, "\"CTC\""},
        {"decoder", REPLACE("a", "b"), MS_UNSUPPORTED, "\"Replace\""},
        {"decoder", "true", MS_FORMAT, "decoders"},
    };

    refuse_rows(state, LLAMA2, row, COUNT(row));
}

/* Lists that are none must not read as empty ones. */
static void lists_of_another_type_are_refused(void **state)
{
    static const hostile row[] = {
        {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":\"NFC\"}", MS_FORMAT, "normalizers"},
        {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":5}", MS_FORMAT,
         "pretokenizers"},
        {"post_processor", FRAME("\"<s> $A\""), MS_FORMAT, "single"},
        {"post_processor", STEP("TemplateProcessing"), MS_FORMAT, "single"},
        {"decoder", "{\"type\":\"Sequence\",\"decoders\":true}", MS_FORMAT, "decoders"},
    };

    refuse_rows(state, LLAMA2, row, COUNT(row));
}

static void texts_that_are_no_object_are_refused(void **state)
{
    static const char *const text[] = {"",
                                       " ",
                                       "{",
                                       "[]",
                                       "null",
                                       "5",
                                       "\"a\"",
                                       "{}{}",
                                       "{}x",
                                       "{'a':1}",
                                       "{\"a\":}",
                                       "{\"a\" 1}",
                                       "{\"model\":{}",
                                       "\xff",
                                       "// {}",
                                       "\xef\xbb\xbf{}]"};
    const char *file = in(state, "tokenizer.json"), *config = in(state, "tokenizer_config.json");

    for (size_t i = 0; i < COUNT(text); i++) {
        put_text(file, text[i]);
        refuse(text[i], file, file, MS_FORMAT, "JSON");
    }
    put_text(file, "{}");
    refuse("{}", file, file, MS_FORMAT, "\"model\": expected an object");
    put_text(file, LLAMA2);
    for (size_t i = 0; i < COUNT(text); i++) {
        put_text(config, text[i]);
        refuse(text[i], file, config, MS_FORMAT, "JSON");
    }
    refuse("missing", in(state, "none"), in(state, "none"), MS_IO, "");
    refuse("folder", in(state, ""), in(state, ""), MS_IO, "");
}

/* However long; a message must not read past what is there. */
static void merges_of_long_tokens_do_no_harm(void **state)
{
    const char *file = in(state, "tokenizer.json");
    char a[600], b[600], text[6000];
    ms_tokenizer *t = NULL;
    ms_error err;

    for (size_t n = 100; n < 600; n += 100)
        for (int whole_too = 0; whole_too < 2; whole_too++) {
            memset(a, 'a', n);
            memset(b, 'b', n);
            a[n] = b[n] = 0;
            snprintf(text, sizeof text,
                     "{\"added_tokens\":[],\"model\":{\"vocab\":{\"%s\":0,\"%s\":1,\"%s%s%s\":2},"
                     "\"merges\":[\"%s %s\"]}}",
                     a, b, whole_too ? "" : "x", a, b, a, b);
            put_text(file, text);
            if (!whole_too) {
                refuse("not there", file, file, MS_FORMAT, "merge 0: \"aaa");
            } else {
                must(ms_tokenizer_load(&t, file, &err), &err);
                ms_tokenizer_free(t);
            }
        }
}

/* Merges that make tokens of each other do not go round. */
static void merges_in_any_order_end(void **state)
{
    char *text = changed(PLAIN, "model.vocab",
                         "{\"a\":0,\"aa\":1,\"aaa\":2,\"aaaa\":3,\"aaaaa\":4,\"aaaaaa\":5}");
    ms_tokenizer *t = with(state, text, "model.merges",
                           "[\"aaa aaa\",\"aa aaa\",\"aaa aa\",\"aa aa\",\"a aa\",\"aa a\",\"a a\","
                           "\"aa aaaa\",\"a a\",\"aaaa aa\",\"aaaaa a\",\"a aaaaa\"]");
    size_t bytes;

    for (size_t n = 1; n < 120; n++) {
        char word[128] = "", *got = memset(word, 'a', n);
        char out[128];

        bytes = decoded(t, got, n, out);
        assert_int_equal(bytes, n);
    }
    ms_tokenizer_free(t);
    cJSON_free(text);
}

static void deep_nesting_is_refused(void **state)
{
    enum { DEPTH = 200000 };
    static const char *const key[] = {"added_tokens", "normalizer", "model", "x"};
    const char *file = in(state, "tokenizer.json");
    char *text = malloc(DEPTH + 64);

    for (size_t i = 0; i < COUNT(key); i++)
        for (int k = 0; k < 2; k++) {
            int n = sprintf(text, "{\"%s\":", key[i]);

            memset(text + n, k ? '[' : '{', DEPTH);
            put(file, text, (size_t)n + DEPTH);
            refuse(key[i], file, file, MS_FORMAT, "JSON");
        }
    free(text);
}

static void no_cut_of_a_file_is_read(void **state)
{
    const char *file = in(state, "tokenizer.json"), *config = in(state, "tokenizer_config.json");
    static const char given[] = "{\"bos_token\":{\"content\":\"<s>\"},\"chat_template\":[]}";
    ms_error err;

    for (size_t n = 0; n < sizeof LLAMA2 - 1; n++) {
        put(file, LLAMA2, n);
        refuse("a cut", file, file, MS_FORMAT, "JSON");
    }
    put_text(file, LLAMA2);
    for (size_t n = 0; n < sizeof given - 1; n++) {
        put(config, given, n);
        refuse("a cut", file, config, MS_FORMAT, "JSON");
    }
    must(ms_folder_remove(config, &err), &err);
}

/* Every byte another one: refused in a line, or read and used without harm. */
static void changed_bytes_do_no_harm(void **state)
{
    static const char put_in[] = {'"', '{', ']', '9', '-', '\\', ' ', 'x', (char)0xff};
    const char *file = in(state, "tokenizer.json");
    char *text = strdup(LLAMA2), out[4096];

    for (size_t i = 0; i < sizeof LLAMA2 - 1; i++)
        for (size_t k = 0; k < sizeof put_in; k++) {
            ms_tokenizer *t = NULL;
            ms_error err = {.status = MS_OK};

            text[i] = put_in[k];
            put_text(file, text);
            if (ms_tokenizer_load(&t, file, &err)) {
                must_fail("changed", err.status, err.status, &err, "");
                assert_true(err.message[0] && !strcmp(err.path, file));
            } else {
                snprintf(out, sizeof out, "%s", ids_of(t, "<s>the a\n", MS_ENCODE_SPECIALS));
                ms_tokenizer_free(t);
            }
            text[i] = LLAMA2[i];
        }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(bytes_go_through_a_file),
        SCRATCH_TEST(chars_go_through_a_file),
        SCRATCH_TEST(chars_that_cannot_be_tokens_are_refused),
        SCRATCH_TEST(patterns_go_through_a_file),
        SCRATCH_TEST(the_start_of_a_character_is_pending),
        SCRATCH_TEST(a_stream_of_bytes_shows_whole_characters),
        SCRATCH_TEST(sentencepiece_is_read_as_llama_2_has_it),
        SCRATCH_TEST(unknown_characters_are_fused_in_a_word),
        SCRATCH_TEST(metaspace_splits_and_prepends_as_it_is_told),
        SCRATCH_TEST(metaspace_leads_as_prepend_does),
        SCRATCH_TEST(normalizers_change_the_text),
        SCRATCH_TEST(added_tokens_are_cut_out_of_the_text),
        SCRATCH_TEST(texts_are_framed_when_asked),
        SCRATCH_TEST(pre_tokenizers_of_known_models_are_read),
        SCRATCH_TEST(splits_do_as_they_are_told),
        SCRATCH_TEST(a_word_that_is_a_token_is_taken_whole),
        SCRATCH_TEST(tokenizer_config_names_special_tokens),
        SCRATCH_TEST(a_config_may_add_bos),
        SCRATCH_TEST(configs_are_written),
        SCRATCH_TEST(hostile_models_are_refused),
        SCRATCH_TEST(hostile_added_tokens_are_refused),
        SCRATCH_TEST(unsupported_steps_are_refused_by_name),
        SCRATCH_TEST(lists_of_another_type_are_refused),
        SCRATCH_TEST(texts_that_are_no_object_are_refused),
        SCRATCH_TEST(merges_of_long_tokens_do_no_harm),
        SCRATCH_TEST(merges_in_any_order_end),
        SCRATCH_TEST(deep_nesting_is_refused),
        SCRATCH_TEST(no_cut_of_a_file_is_read),
        SCRATCH_TEST(changed_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
