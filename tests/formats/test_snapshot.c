/* Snapshots: whole or not at all, whatever is left of a process that was killed; the newest is
 * found; only snapshots and what is left of them are removed. */
#include "formats/snapshot.h"

#include "../base/scratch.h"

#include <limits.h>

static void make(void **state, const char *name, const char *text)
{
    char temp[SCRATCH_PATH], path[SCRATCH_PATH + 8];
    ms_error err;

    must(ms_snapshot_begin(in(state, "p"), name, temp, sizeof temp, &err), &err);
    snprintf(path, sizeof path, "%s/file", temp);
    put_text(path, text);
    must(ms_snapshot_commit(in(state, "p"), name, &err), &err);
}

/* A folder with a file, as a killed process may have left it. */
static void leave(void **state, const char *name, const char *text)
{
    char path[SCRATCH_PATH];
    ms_error err;

    snprintf(path, sizeof path, "p/%s", name);
    must(ms_folder_make(in(state, path), &err), &err);
    snprintf(path, sizeof path, "p/%s/file", name);
    put_text(in(state, path), text);
}

/* The newest is this one, and its file holds the text. */
static void expect_last(void **state, const char *name, long step, const char *text)
{
    char path[SCRATCH_PATH], file[SCRATCH_PATH + 8];
    long found = -77;
    ms_error err;

    must(ms_snapshot_last(in(state, "p"), &found, path, sizeof path, &err), &err);
    assert_int_equal(found, step);
    snprintf(file, sizeof file, "p/%s", name);
    assert_string_equal(path, in(state, file));
    snprintf(file, sizeof file, "%s/file", path);
    holds(file, text);
}

static void a_snapshot_appears_when_it_is_committed(void **state)
{
    char temp[SCRATCH_PATH];
    long step;
    ms_error err;

    must(ms_snapshot_begin(in(state, "p"), "step-000005", temp, sizeof temp, &err), &err);
    assert_string_equal(temp, in(state, "p/.tmp-step-000005"));
    lists(temp, "");
    put_text(in(state, "p/.tmp-step-000005/file"), "five");
    ms_status s = ms_snapshot_last(in(state, "p"), &step, temp, sizeof temp, &err);
    must_fail("last", s, MS_INPUT, &err, "no checkpoint");
    must(ms_snapshot_commit(in(state, "p"), "step-000005", &err), &err);
    lists(in(state, "p"), "step-000005 ");
    expect_last(state, "step-000005", 5, "five");
    make(state, "step-000005", "other"); /* takes the place of the old one, all of it */
    lists(in(state, "p"), "step-000005 ");
    expect_last(state, "step-000005", 5, "other");
    lists(in(state, "p/step-000005"), "file ");
}

static void an_abort_leaves_what_was_there(void **state)
{
    char temp[SCRATCH_PATH];
    ms_error err;

    make(state, "step-000005", "five");
    must(ms_snapshot_begin(in(state, "p"), "step-000005", temp, sizeof temp, &err), &err);
    put_text(in(state, "p/.tmp-step-000005/file"), "half");
    expect_last(state, "step-000005", 5, "five");
    ms_snapshot_abort(in(state, "p"), "step-000005");
    ms_snapshot_abort(in(state, "p"), "step-000005"); /* once more, and where nothing is */
    ms_snapshot_abort(in(state, "none"), "step-000005");
    lists(in(state, "p"), "step-000005 ");
    expect_last(state, "step-000005", 5, "five");
}

/* What a kill leaves at each point of a replacement, and what begin makes of it. */
static void left_overs_are_settled(void **state)
{
    static const struct {
        bool temp, final, new;
        const char *text; /* of the last snapshot; NULL: none */
    } row[] = {
        {true, false, false, NULL},  {true, true, false, "final"}, /* while it was written */
        {false, true, true, "new"},  /* before the old one was removed */
        {false, false, true, "new"}, /* before the new one got its name */
        {true, true, true, "new"},
    };
    char temp[SCRATCH_PATH];
    ms_error err;

    for (size_t i = 0; i < COUNT(row); i++) {
        must(ms_folder_remove(in(state, "p"), &err), &err);
        if (row[i].temp) leave(state, ".tmp-step-7", "temp");
        if (row[i].final) leave(state, "step-7", "final");
        if (row[i].new) leave(state, "step-7.new", "new");
        if (row[i].text) expect_last(state, row[i].new ? "step-7.new" : "step-7", 7, row[i].text);
        must(ms_snapshot_begin(in(state, "p"), "step-7", temp, sizeof temp, &err), &err);
        lists(temp, "");
        lists(in(state, "p"), row[i].text ? ".tmp-step-7 step-7 " : ".tmp-step-7 ");
        if (row[i].text) expect_last(state, "step-7", 7, row[i].text);
        put_text(in(state, "p/.tmp-step-7/file"), "newest");
        must(ms_snapshot_commit(in(state, "p"), "step-7", &err), &err);
        lists(in(state, "p"), "step-7 ");
        expect_last(state, "step-7", 7, "newest");
    }
}

/* Not by bytes: steps are numbers, of any length. */
static void the_newest_is_found(void **state)
{
    static const struct {
        const char *name;
        long step;
    } row[] = {{"step-0", 0},
               {"step-000009", 9},
               {"step-000010", 10},
               {"step-000010.new", 10},
               {"step-999999", 999999},
               {"step-1000000", 1000000},
               {"step-1000000000000", 1000000000000}};

    for (size_t i = 0; i < COUNT(row); i++) {
        leave(state, row[i].name, row[i].name);
        expect_last(state, row[i].name, row[i].step, row[i].name);
    }
}

static const char *const OTHER[] = {
    "best",           "step",
    "step-",          "step-x",
    "step-5x",        "step--5",
    "step- 5",        "step-+5",
    "step-5.old",     "step-5.new.x",
    "step-5.new.new", "Step-5",
    "xstep-5",        "5",
    "tmp-step-5",     "step-0x10",
    "step-5.",        "step-99999999999999999999",
};

static void names_that_are_none_are_left_alone(void **state)
{
    char path[SCRATCH_PATH];
    long step;
    ms_error err;

    for (size_t i = 0; i < COUNT(OTHER); i++) leave(state, OTHER[i], "theirs");
    ms_status s = ms_snapshot_last(in(state, "p"), &step, path, sizeof path, &err);
    must_fail("last", s, MS_INPUT, &err, "no checkpoint");
    make(state, "step-3", "three");
    expect_last(state, "step-3", 3, "three");
    must(ms_snapshot_prune(in(state, "p"), 0, &err), &err);
    for (size_t i = 0; i < COUNT(OTHER); i++) {
        snprintf(path, sizeof path, "p/%s/file", OTHER[i]);
        holds(in(state, path), "theirs");
    }
    assert_false(ms_path_exists(in(state, "p/step-3")));
}

static void the_newest_are_kept(void **state)
{
    static const struct {
        int keep;
        const char *left;
    } row[] = {{0, "best "},
               {1, "best step-1000000 "},
               {2, "best step-000100.new step-1000000 "},
               {3, "best step-000020 step-000100.new step-1000000 "},
               {4, "best step-000003 step-000020 step-000100.new step-1000000 "},
               {9, "best step-000003 step-000020 step-000100.new step-1000000 "},
               {INT_MAX, "best step-000003 step-000020 step-000100.new step-1000000 "}};
    ms_error err;

    for (size_t i = 0; i < COUNT(row); i++) {
        must(ms_folder_remove(in(state, "p"), &err), &err);
        leave(state, "best", "");
        leave(state, ".tmp-step-000005", "");
        leave(state, "step-000003", "");
        leave(state, "step-000020", "");
        leave(state, "step-000100", ""); /* which the next replaces */
        leave(state, "step-000100.new", "");
        leave(state, "step-1000000", "");
        for (int k = 0; k < 2; k++) { /* twice is no more than once */
            must(ms_snapshot_prune(in(state, "p"), row[i].keep, &err), &err);
            lists(in(state, "p"), row[i].left);
        }
    }
}

static void what_fails_says_so(void **state)
{
    char path[SCRATCH_PATH], small[8];
    long step;
    ms_error err;

    put_text(in(state, "file"), "x");
    ms_status s = ms_snapshot_begin(in(state, "file"), "step-1", path, sizeof path, &err);
    must_fail("begin", s, MS_IO, &err, "cannot make");
    s = ms_snapshot_begin(in(state, "p"), "step-1", small, sizeof small, &err);
    must_fail("small", s, MS_INPUT, &err, "too long");
    s = ms_snapshot_commit(in(state, ""), "step-1", &err);
    must_fail("commit", s, MS_IO, &err, "cannot open");
    s = ms_snapshot_last(in(state, "none"), &step, path, sizeof path, &err);
    must_fail("last", s, MS_INPUT, &err, "no checkpoint");
    s = ms_snapshot_last(in(state, "file"), &step, path, sizeof path, &err);
    must_fail("last", s, MS_INPUT, &err, "no checkpoint");
    s = ms_snapshot_prune(in(state, "none"), 1, &err);
    must_fail("prune", s, MS_IO, &err, "cannot open");
    make(state, "step-1", "one");
    s = ms_snapshot_last(in(state, "p"), &step, small, sizeof small, &err);
    must_fail("small", s, MS_INPUT, &err, "too long");
    lists(in(state, ""), "file p ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_snapshot_appears_when_it_is_committed),
        SCRATCH_TEST(an_abort_leaves_what_was_there),
        SCRATCH_TEST(left_overs_are_settled),
        SCRATCH_TEST(the_newest_is_found),
        SCRATCH_TEST(names_that_are_none_are_left_alone),
        SCRATCH_TEST(the_newest_are_kept),
        SCRATCH_TEST(what_fails_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
