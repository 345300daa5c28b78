/* An error is one line of text, cut where it is too long; codes have names and public numbers. */
#include "base/status.h"

#include "minstrel.h"
#include "scratch.h"

#include <errno.h>

static void codes_have_texts_and_public_numbers(void **state)
{
    (void)state;
#define SAME(name, text) assert_int_equal(MS_##name, MINSTREL_##name);
    MS_STATUS_MAP(SAME)
#undef SAME
    assert_int_equal(MS_OK, 0);
    for (int i = 0; i < MS_STATUS_COUNT; i++) {
        const char *text = ms_status_text((ms_status)i);

        assert_true(strlen(text) > 1 && !strchr(text, '\n'));
        assert_string_not_equal(text, "unknown status");
        for (int k = 0; k < i; k++) assert_string_not_equal(text, ms_status_text((ms_status)k));
    }
    assert_string_equal(ms_status_text((ms_status)-1), "unknown status");
    assert_string_equal(ms_status_text(MS_STATUS_COUNT), "unknown status");
}

static void expect(const ms_error *err, ms_status status, const char *message, const char *path,
                   int64_t offset)
{
    assert_true(err->status == status && err->offset == offset);
    assert_string_equal(err->message, message);
    assert_string_equal(err->path, path);
}

/* And nothing without an error to fill. */
static void an_error_says_what_and_where(void **state)
{
    char text[300];
    ms_error err;

    (void)state;
    memset(&err, 0x5a, sizeof err);
    assert_int_equal(ms_fail(&err, MS_SHAPE, "%s: expected %d", "wo", 7), MS_SHAPE);
    expect(&err, MS_SHAPE, "wo: expected 7", "", -1);
    assert_int_equal(ms_fail_at(&err, MS_FORMAT, "a/b", INT64_C(1) << 40, "bad"), MS_FORMAT);
    expect(&err, MS_FORMAT, "bad", "a/b", INT64_C(1) << 40);
    ms_fail_at(&err, MS_IO, NULL, 3, "no path");
    expect(&err, MS_IO, "no path", "", 3);
    snprintf(text, sizeof text, "cannot open: %s", strerror(EACCES));
    errno = EACCES;
    assert_int_equal(ms_fail_errno(&err, "a/c", "cannot open"), MS_IO);
    expect(&err, MS_IO, text, "a/c", -1);
    assert_int_equal(ms_fail(NULL, MS_INPUT, "%d", 1), MS_INPUT);
    assert_int_equal(ms_fail_at(NULL, MS_FORMAT, "p", 0, "%d", 1), MS_FORMAT);
    assert_int_equal(ms_fail_errno(NULL, "p", "what"), MS_IO);
}

/* A path and a text of a file must not end the line, or reach a terminal as a command. */
static void control_characters_are_replaced(void **state)
{
    static const char bad[] = "a\nb\r\tc\x1b[2Jd\x7f\x01", good[] = "a?b??c?[2Jd??";
    ms_error err;

    (void)state;
    ms_fail(&err, MS_INPUT, "%s", bad);
    expect(&err, MS_INPUT, good, "", -1);
    ms_fail_at(&err, MS_FORMAT, bad, 0, "%s", bad);
    expect(&err, MS_FORMAT, good, good, 0);
    ms_fail(&err, MS_INPUT, "caf\xC3\xA9 \xE2\x82\xAC"); /* text is left alone */
    expect(&err, MS_INPUT, "caf\xC3\xA9 \xE2\x82\xAC", "", -1);
}

static void control_characters_of_a_path_that_fails_are_replaced(void **state)
{
    ms_error err;

    (void)state;
    errno = ENOENT;
    ms_fail_errno(&err, "a\nb\x1b[2J", "cannot open");
    assert_string_equal(err.path, "a?b?[2J");
}

static void long_texts_are_cut(void **state)
{
    static char text[5000];
    ms_error err;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 3; i++) {
        memset(&err, 0x5a, sizeof err);
        if (i == 0) ms_fail(&err, MS_INPUT, "%s", text);
        if (i == 1) ms_fail_at(&err, MS_INPUT, text, 0, "%s", text);
        if (i == 2) ms_fail_errno(&err, text, text);
        assert_int_equal(strnlen(err.message, sizeof err.message), sizeof err.message - 1);
        assert_int_equal(strnlen(err.path, sizeof err.path), i ? sizeof err.path - 1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_texts_and_public_numbers),
        cmocka_unit_test(an_error_says_what_and_where),
        cmocka_unit_test(control_characters_are_replaced),
        cmocka_unit_test(control_characters_of_a_path_that_fails_are_replaced),
        cmocka_unit_test(long_texts_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
