/* scratch - a folder under /tmp for a test, and what tests of base and formats say over and over */
#ifndef TESTS_BASE_SCRATCH_H
#define TESTS_BASE_SCRATCH_H

#include "base/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SCRATCH_PATHS = 8, SCRATCH_PATH = 320 };

#define COUNT(array)       (sizeof(array) / sizeof *(array))
#define SCRATCH_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_open, scratch_close)

static inline int scratch_open(void **state)
{
    *state = strdup("/tmp/minstrel-test-XXXXXX");
    return *state && mkdtemp(*state) ? 0 : -1;
}

/* Runs behind a test that failed, too. */
static inline int scratch_close(void **state)
{
    ms_status status = ms_folder_remove(*state, NULL);

    free(*state);
    return status ? -1 : 0;
}

/* The path of a name in the folder ("": the folder); good until 8 more are asked for. */
static inline const char *in(void **state, const char *name)
{
    static char path[SCRATCH_PATHS][SCRATCH_PATH];
    static unsigned next;
    char *out = path[next++ % SCRATCH_PATHS];
    int n = snprintf(out, SCRATCH_PATH, "%s%s%s", (const char *)*state, *name ? "/" : "", name);

    assert_true(n > 0 && n < SCRATCH_PATH);
    return out;
}

static inline void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s %s", ms_status_text(status), err->path, err->message);
}

/* A call has failed with this status and one line that has this text. */
static inline void must_fail(const char *what, ms_status got, ms_status wanted, const ms_error *err,
                             const char *text)
{
    if (!got) fail_msg("%s: accepted, expected %s", what, ms_status_text(wanted));
    if (got != wanted || err->status != wanted || !strstr(err->message, text))
        fail_msg("%s: expected %s with \"%s\", got %s: %s", what, ms_status_text(wanted), text,
                 ms_status_text(got), err->message);
    for (const char *c = err->message; *c; c++)
        if ((unsigned char)*c < ' ') fail_msg("%s: more than a line: %s", what, err->message);
}

static inline void put(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(size ? fwrite(data, 1, size, f) : 0, size);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

static inline void holds(const char *path, const char *text)
{
    char got[256] = "";
    FILE *f = fopen(path, "rb");

    if (!f) fail_msg("%s is not there", path);
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    fclose(f);
    if (strcmp(got, text) != 0) fail_msg("%s holds \"%s\", expected \"%s\"", path, got, text);
}

/* The names in a folder, each with a blank behind it. */
static inline void lists(const char *folder, const char *expected)
{
    char got[1024] = "";
    ms_names names;
    ms_error err;

    must(ms_folder_list(&names, folder, &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        assert_true(strlen(got) + strlen(names.name[i]) + 2 < sizeof got);
        strcat(strcat(got, names.name[i]), " ");
    }
    ms_names_free(&names);
    if (strcmp(got, expected) != 0) fail_msg("%s lists %s, expected %s", folder, got, expected);
}

#endif
