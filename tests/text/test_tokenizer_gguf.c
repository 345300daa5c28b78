/* The tokenizer in a GGUF file: ids and kinds of tokens that are fractions, infinite or out of
 * range are refused in one line, or mean nothing. */
#include "text/tokenizer_gguf.h"
#include "text/tokenizer.h"

#include "../base/scratch.h"

/* Replaces the number of a key, or all of its list, by floats, which are as long as u32 and i32. */
static void change(char *file, size_t size_bytes, const char *key, float number)
{
    const uint32_t f32 = MS_GGUF_F32;
    size_t length = strlen(key);
    char *at = file;
    uint32_t type;
    uint64_t count = 1;

    while (at + length <= file + size_bytes && memcmp(at, key, length) != 0) at++;
    assert_true(at + length < file + size_bytes);
    at += length;
    memcpy(&type, at, sizeof type);
    if (type == MS_GGUF_ARRAY) {
        at += sizeof type;
        memcpy(&count, at + sizeof type, sizeof count);
    }
    memcpy(at, &f32, sizeof f32);
    at += sizeof f32 + (type == MS_GGUF_ARRAY ? sizeof count : 0);
    for (uint64_t i = 0; i < count; i++) memcpy(at + i * sizeof number, &number, sizeof number);
}

/* The tokenizer of bytes in a file, with one value changed. */
static ms_status open_changed(void **state, const char *key, float number, ms_tokenizer **out,
                              ms_error *err)
{
    const char *path = in(state, "t.gguf");
    ms_gguf_head *h = ms_gguf_head_new();
    ms_tokenizer *t = NULL;
    ms_gguf *g = NULL;
    char *file = NULL;
    size_t size_bytes;
    ms_status s;

    must(ms_tokenizer_bytes(&t, err), err);
    must(ms_tokenizer_to_gguf(t, ms_tokenizer_vocab(t), h, err), err);
    must(ms_gguf_write(path, h, NULL, 0, NULL, NULL, err), err);
    ms_gguf_head_free(h);
    ms_tokenizer_free(t);
    must(ms_file_read(&file, &size_bytes, path, 1 << 20, err), err);
    if (key) change(file, size_bytes, key, number);
    must(ms_file_write(path, file, size_bytes, err), err);
    free(file);
    must(ms_gguf_open(&g, path, err), err);
    *out = NULL;
    s = ms_tokenizer_from_gguf(out, g, err);
    ms_gguf_close(g);
    return s;
}

static void an_id_is_a_whole_number_of_a_token(void **state)
{
    static const float bad[] = {0.5F, 257, 1e9F, 4e9F, 1e30F, INFINITY, NAN};
    static const float none[] = {-1, -0.5F, -1e30F, -INFINITY};
    ms_tokenizer *t;
    ms_error err;

    for (size_t i = 0; i < COUNT(bad); i++) {
        ms_status s = open_changed(state, "tokenizer.ggml.eos_token_id", bad[i], &t, &err);

        must_fail("eos_token_id", s, MS_FORMAT, &err, "is no token");
    }
    for (size_t i = 0; i < COUNT(none); i++) {
        must(open_changed(state, "tokenizer.ggml.eos_token_id", none[i], &t, &err), &err);
        assert_int_equal(ms_tokenizer_eos(t), -1);
        ms_tokenizer_free(t);
    }
    must(open_changed(state, "tokenizer.ggml.eos_token_id", 65, &t, &err), &err);
    assert_int_equal(ms_tokenizer_eos(t), 65);
    ms_tokenizer_free(t);
}

/* 3: control.  What is none of GGUF's kinds is an ordinary token. */
static void a_kind_is_one_of_the_kinds(void **state)
{
    static const float none[] = {0, 1, 3.5F, 99, 4e9F, -4e9F, INFINITY, -INFINITY, NAN};
    char text[] = "the";
    ms_tokenizer *t;
    ms_error err;
    int32_t *ids;
    size_t count;

    for (size_t i = 0; i < COUNT(none); i++) {
        must(open_changed(state, "tokenizer.ggml.token_type", none[i], &t, &err), &err);
        must(ms_tokenizer_encode(t, text, 3, MS_ENCODE_TEXT, &ids, &count, &err), &err);
        assert_int_equal(count, 3);
        assert_int_equal(ids[0], 't');
        free(ids);
        ms_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(an_id_is_a_whole_number_of_a_token),
        SCRATCH_TEST(a_kind_is_one_of_the_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
