/* The text of an answer: whole characters only, always UTF-8. */
#include "tiny.h"

#include "base/rng.h"
#include "infer/output.h"

#include <string.h>

static ms_tokenizer *bytes;

static int setup(void **state)
{
    ms_error err;

    (void)state;
    must(ms_tokenizer_bytes(&bytes, &err), &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ms_tokenizer_free(bytes);
    return 0;
}

/* Decodes strictly; an independent judge of what the code under test writes. */
static bool is_utf8(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c = s[i];
        size_t more = c < 0x80 ? 0 : c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 4;
        static const uint32_t least[] = {1, 0x80, 0x800, 0x10000};
        uint32_t code = more == 0 ? c : c & (0x3Fu >> more);

        if (more == 4 || i + more >= n) return false;
        for (size_t k = 1; k <= more; k++) {
            if ((s[i + k] & 0xC0) != 0x80) return false;
            code = code << 6 | (s[i + k] & 0x3F);
        }
        if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
            return false;
        i += more + 1;
    }
    return true;
}

/* Pushes bytes one by one; every fresh piece must be UTF-8 and they must add up to the text. */
static void stream(const unsigned char *in, size_t n, char *out, size_t out_bytes)
{
    ms_output o;
    ms_error err;
    size_t at = 0;

    must(ms_output_new(&o, bytes, n, &err), &err);
    for (size_t i = 0; i <= n; i++) {
        size_t size;

        if (i < n)
            must(ms_output_push(&o, in[i], &err), &err);
        else
            must(ms_output_finish(&o, &err), &err);
        const char *fresh = ms_output_fresh(&o, &size);
        assert_true(is_utf8((const unsigned char *)fresh, size));
        assert_true(at + size < out_bytes);
        memcpy(out + at, fresh, size);
        at += size;
    }
    out[at] = 0;
    assert_int_equal(at, o.text.size_bytes);
    assert_string_equal(out, o.text.data);
    assert_int_equal(o.count, n);
    ms_output_free(&o);
}

static void whole_text_comes_back(void **state)
{
    const char *text = "plain, caf\xC3\xA9, \xE2\x82\xAC 5, \xF0\x9F\x8C\x8D\n";
    char out[256];

    (void)state;
    stream((const unsigned char *)text, strlen(text), out, sizeof out);
    assert_string_equal(out, text);
}

#define BAD "\xEF\xBF\xBD"

static void bytes_that_are_no_character_are_replaced(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } row[] = {
        {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", 13,
         "a" BAD BAD BAD "b" BAD "c" BAD BAD "d"}, /* Unicode 15, table 3-8 */
        {"a\0b", 3, "a" BAD "b"},
        {"\xC0\xAF", 2, BAD BAD},                 /* overlong */
        {"\xE0\x80\xAF", 3, BAD BAD BAD},         /* overlong */
        {"\xED\xA0\x80", 3, BAD BAD BAD},         /* surrogate */
        {"\xF4\x90\x80\x80", 4, BAD BAD BAD BAD}, /* above 10FFFF */
        {"\xFF", 1, BAD},
        {"x\xE2\x82", 3, "x" BAD}, /* ends inside a character */
        {"\xF0\x9F\x8C", 3, BAD},
        {"", 0, ""},
    };
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        stream((const unsigned char *)row[i].in, row[i].n, out, sizeof out);
        assert_string_equal(out, row[i].out);
    }
}

static void random_bytes_never_give_half_a_character(void **state)
{
    /* Mostly leads and continuations, so that many sequences are nearly right. */
    static const unsigned char some[] = {0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xDF,
                                         0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    ms_rng r = ms_rng_new(7, 0, MS_SITE_TEST);
    unsigned char in[40];
    char out[256];

    (void)state;
    for (int run = 0; run < 2000; run++) {
        for (size_t i = 0; i < sizeof in; i++) in[i] = some[ms_rng_below(&r, sizeof some)];
        stream(in, sizeof in, out, sizeof out);
    }
}

static void ids_without_text_are_kept(void **state)
{
    ms_output o;
    ms_error err;
    size_t size;

    (void)state;
    must(ms_output_new(&o, bytes, 2, &err), &err);
    must(ms_output_push(&o, ms_tokenizer_eos(bytes), &err), &err);
    must(ms_output_push(&o, 100000, &err), &err); /* a model may have more ids than texts */
    assert_string_equal(ms_output_fresh(&o, &size), "");
    assert_int_equal(o.count, 2);
    assert_int_equal(o.ids[1], 100000);
    ms_output_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_text_comes_back),
        cmocka_unit_test(bytes_that_are_no_character_are_replaced),
        cmocka_unit_test(random_bytes_never_give_half_a_character),
        cmocka_unit_test(ids_without_text_are_kept),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
