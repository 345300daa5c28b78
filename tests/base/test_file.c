/* Files appear whole or not at all, on whatever fails; folders; names too long; what is no file. */
#include "scratch.h"

#include <sys/stat.h>
#include <unistd.h>

/* -- writing --------------------------------------------------------------------------------- */

static void a_file_is_replaced_when_it_is_committed(void **state)
{
    ms_writer *w = NULL, *other = NULL;
    ms_names names;
    ms_error err;

    put_text(in(state, "x"), "old");
    must(ms_writer_open(&w, in(state, "x"), &err), &err);
    ms_writer_put(w, "ne", 2);
    ms_writer_put(w, NULL, 0);
    must(ms_writer_open(&other, in(state, "x"), &err), &err); /* two do not meet */
    ms_writer_put(other, "other", 5);
    ms_writer_put(w, "w", 1);
    holds(in(state, "x"), "old");
    must(ms_folder_list(&names, in(state, ""), &err), &err);
    assert_int_equal(names.count, 3);
    for (int i = 1; i < 3; i++) assert_memory_equal(names.name[i], "x.tmp-", 6);
    ms_names_free(&names);
    must(ms_writer_commit(w, &err), &err);
    holds(in(state, "x"), "new");
    must(ms_writer_commit(other, &err), &err);
    holds(in(state, "x"), "other");
    must(ms_file_write(in(state, "x"), NULL, 0, &err), &err);
    holds(in(state, "x"), "");
    lists(in(state, ""), "x ");
}

static void an_abort_leaves_the_old(void **state)
{
    ms_writer *w = NULL;
    ms_error err;

    put_text(in(state, "x"), "old");
    for (int i = 0; i < 2; i++) {
        must(ms_writer_open(&w, in(state, i ? "y" : "x"), &err), &err);
        ms_writer_put(w, "new", 3);
        ms_writer_abort(w);
        holds(in(state, "x"), "old");
        lists(in(state, ""), "x ");
    }
    ms_writer_abort(NULL);
}

/* Pieces on both sides of the writer's buffer add up, in order. */
static void pieces_of_any_size_add_up(void **state)
{
    enum { SIZE = 300001 };
    static const size_t piece[] = {1, 999, 65535, 65536, 65537, 131073, SIZE};
    static uint8_t data[SIZE];
    ms_writer *w = NULL;
    ms_map map;
    ms_error err;

    for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t k = 0; k < COUNT(piece); k++) {
        must(ms_writer_open(&w, in(state, "x"), &err), &err);
        for (size_t at = 0; at < SIZE; at += piece[k])
            ms_writer_put(w, data + at, SIZE - at < piece[k] ? SIZE - at : piece[k]);
        must(ms_writer_commit(w, &err), &err);
        must(ms_map_open(&map, in(state, "x"), &err), &err);
        assert_int_equal(map.size_bytes, SIZE);
        assert_memory_equal(map.data, data, SIZE);
        ms_map_close(&map);
    }
}

static void what_cannot_be_replaced_is_left(void **state)
{
    ms_writer *w = NULL;
    ms_error err;

    must(ms_folder_make(in(state, "folder/x"), &err), &err);
    must_fail("folder", ms_file_write(in(state, "folder"), "x", 1, &err), MS_IO, &err, "cannot");
    must_fail("no folder", ms_writer_open(&w, in(state, "no/x"), &err), MS_IO, &err, "cannot");
    assert_null(w);
    lists(in(state, ""), "folder ");
    lists(in(state, "folder"), "x ");
}

static void new_files_have_the_mode_of_the_mask(void **state)
{
    static const mode_t mask[] = {0022, 0077, 0};
    struct stat st;
    ms_error err;

    for (size_t i = 0; i < COUNT(mask); i++) {
        mode_t before = umask(mask[i]);
        ms_status s = ms_file_write(in(state, "x"), "x", 1, &err);

        umask(before);
        must(s, &err);
        assert_int_equal(stat(in(state, "x"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0666 & ~mask[i]);
    }
}

/* -- reading --------------------------------------------------------------------------------- */

static void files_are_mapped_and_read(void **state)
{
    static const char *const text[] = {"", "x", "a\nb"};
    ms_map map;
    char *copy;
    size_t size;
    ms_error err;

    for (int i = 0; i < 3; i++) {
        const char *path = in(state, "x");
        size_t n = strlen(text[i]);

        put_text(path, text[i]);
        must(ms_map_open(&map, path, &err), &err);
        assert_int_equal(map.size_bytes, n);
        assert_true(n ? !memcmp(map.data, text[i], n) : !map.data);
        ms_map_close(&map);
        assert_true(!map.data && !map.size_bytes);
        ms_map_close(&map);                                    /* a zeroed one */
        must(ms_file_read(&copy, &size, path, n, &err), &err); /* just as many as allowed */
        assert_int_equal(size, n);
        assert_string_equal(copy, text[i]);
        free(copy);
        must(ms_file_read(&copy, NULL, path, 100, &err), &err);
        free(copy);
        if (!n) continue;
        copy = NULL;
        ms_status s = ms_file_read(&copy, &size, path, n - 1, &err);
        must_fail("limit", s, MS_FORMAT, &err, "more than");
        assert_string_equal(err.path, path);
        assert_null(copy);
    }
}

static void what_is_no_file_is_refused(void **state)
{
    static const struct {
        const char *name, *text;
    } row[] = {{"missing", "No such file"},
               {"folder", "is a folder"},
               {"pipe", "not a regular"},
               {"none/x", "No such file"},
               {"x/y", "Not a directory"}};
    ms_error err;

    must(ms_folder_make(in(state, "folder"), &err), &err);
    assert_int_equal(mkfifo(in(state, "pipe"), 0600), 0);
    put_text(in(state, "x"), "x");
    for (size_t i = 0; i < COUNT(row); i++) {
        ms_map map = {.size_bytes = 77};
        char *text = NULL;

        const char *path = in(state, row[i].name);
        must_fail(row[i].name, ms_map_open(&map, path, &err), MS_IO, &err, row[i].text);
        assert_string_equal(err.path, path);
        assert_int_equal(map.size_bytes, 77);
        must_fail(row[i].name, ms_file_read(&text, NULL, path, 9, &err), MS_IO, &err, row[i].text);
        assert_null(text);
    }
}

/* -- names ----------------------------------------------------------------------------------- */

static void paths_are_joined_where_they_fit(void **state)
{
    static const struct {
        const char *a, *b, *path;
    } row[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"a/b", "c", "a/b/c"}};
    char out[8];
    ms_error err;

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        size_t n = strlen(row[i].path);

        must(ms_path_join(out, n + 1, row[i].a, row[i].b, &err), &err);
        assert_string_equal(out, row[i].path);
        ms_status s = ms_path_join(out, n, row[i].a, row[i].b, &err);
        must_fail(row[i].path, s, MS_INPUT, &err, "too long");
        assert_string_equal(err.path, row[i].a);
        assert_int_equal(ms_path_join(out, 0, row[i].a, row[i].b, NULL), MS_INPUT);
    }
}

/* No name for a folder is not the root of the file system. */
static void an_empty_folder_name_is_not_the_root(void **state)
{
    char out[8] = "";
    ms_error err;

    (void)state;
    if (!ms_path_join(out, sizeof out, "", "b", &err)) assert_string_equal(out, "b");
}

/* Around and far beyond what the system takes. */
static void names_too_long_are_refused(void **state)
{
    static char path[9000];
    ms_writer *w = NULL;
    ms_error err;

    for (size_t n = 4080; n < sizeof path; n += n < 4110 ? 1 : 4000) {
        memset(path, '/', n);
        memcpy(path, in(state, ""), strlen(in(state, "")));
        memcpy(path + n - 1, "x", 2);
        if (!ms_writer_open(&w, path, &err)) {
            assert_true(n < 4096);
            ms_writer_abort(w);
        }
        assert_true(!ms_folder_make(path, &err) == (n < 4096));
        assert_true(ms_file_publish(in(state, "none"), path, &err));
        must(ms_folder_remove(in(state, "x"), &err), &err);
        lists(in(state, ""), "");
    }
}

/* -- folders --------------------------------------------------------------------------------- */

static void folders_are_made_with_parents(void **state)
{
    ms_error err;

    for (int i = 0; i < 2; i++) { /* existing is fine */
        must(ms_folder_make(in(state, "a/b/c"), &err), &err);
        must(ms_folder_make(in(state, "d//e/"), &err), &err);
        must(ms_folder_make(in(state, ""), &err), &err);
        must(ms_folder_make("/", &err), &err);
    }
    assert_true(ms_path_is_folder(in(state, "a/b/c")) && ms_path_is_folder(in(state, "d/e")));
    put_text(in(state, "file"), "x");
    assert_true(ms_path_exists(in(state, "file")) && !ms_path_is_folder(in(state, "file")));
    assert_false(ms_path_exists(in(state, "none")) || ms_path_is_folder(in(state, "none")));
    must_fail("file", ms_folder_make(in(state, "file"), &err), MS_IO, &err, "cannot make");
    must_fail("under", ms_folder_make(in(state, "file/x"), &err), MS_IO, &err, "cannot make");
    must_fail("empty", ms_folder_make("", &err), MS_INPUT, &err, "name");
    holds(in(state, "file"), "x");
    must(ms_folder_sync(in(state, "a"), &err), &err);
    must_fail("sync", ms_folder_sync(in(state, "none"), &err), MS_IO, &err, "cannot open");
}

static void names_are_listed_by_bytes(void **state)
{
    static const char *const name[] = {"b", ".hidden", "a10", "a9", "B", "\xC3\xA9", "..x", "a"};
    ms_names names = {.count = 77};
    ms_error err;

    lists(in(state, ""), "");
    for (size_t i = 0; i < COUNT(name); i++) put_text(in(state, name[i]), "");
    lists(in(state, ""), "..x .hidden B a a10 a9 b \xC3\xA9 ");
    must_fail("none", ms_folder_list(&names, in(state, "none"), &err), MS_IO, &err, "cannot open");
    must_fail("file", ms_folder_list(&names, in(state, "a"), &err), MS_IO, &err, "cannot open");
    assert_int_equal(names.count, 77);
}

/* A link is removed, never what it leads to. */
static void folders_are_removed_with_what_is_in_them(void **state)
{
    char deep[100] = "tree", name[32];
    ms_error err;

    must(ms_folder_make(in(state, "outside"), &err), &err);
    put_text(in(state, "outside/x"), "x");
    for (int i = 0; i < 20; i++) must(ms_folder_make(in(state, strcat(deep, "/d")), &err), &err);
    put_text(in(state, strcat(deep, "/x")), "x");
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "tree/d/many-%d", i);
        put_text(in(state, name), "x");
    }
    assert_int_equal(symlink("../outside", in(state, "tree/link")), 0);
    assert_int_equal(symlink(in(state, "outside/x"), in(state, "tree/d/link")), 0);
    assert_int_equal(symlink("nowhere", in(state, "tree/d/d/dangling")), 0);
    assert_int_equal(symlink("outside", in(state, "link")), 0);
    must(ms_folder_remove(in(state, "tree"), &err), &err);
    must(ms_folder_remove(in(state, "tree"), &err), &err); /* missing is fine */
    must(ms_folder_remove(in(state, "tree/d/none"), &err), &err);
    must(ms_folder_remove(in(state, "link"), &err), &err);
    lists(in(state, ""), "outside ");
    holds(in(state, "outside/x"), "x");
    must_fail("x/y", ms_folder_remove(in(state, "outside/x/y"), &err), MS_IO, &err, "cannot");
    must(ms_folder_remove(in(state, "outside/x"), &err), &err); /* a file is removed, too */
    lists(in(state, "outside"), "");
}

/* -- a second name --------------------------------------------------------------------------- */

static void a_file_gets_a_second_name(void **state)
{
    static const struct {
        const char *from, *to, *text;
    } row[] = {{"none", "b", "cannot open"},
               {"folder", "b", "is a folder"},
               {"a", "folder", "cannot write"},
               {"a", "no/b", "cannot write"}};
    struct stat a, b;
    ms_error err;

    put_text(in(state, "a"), "new");
    put_text(in(state, "b.tmp-link"), "left over"); /* by a killed process */
    put_text(in(state, "b"), "old");
    must(ms_folder_make(in(state, "folder"), &err), &err);
    for (int i = 0; i < 2; i++) { /* again, when both are the same file */
        must(ms_file_publish(in(state, "a"), in(state, "b"), &err), &err);
        must(ms_file_publish(in(state, "a"), in(state, "a"), &err), &err);
        holds(in(state, "b"), "new");
    }
    assert_int_equal(stat(in(state, "a"), &a) | stat(in(state, "b"), &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    must(ms_file_write(in(state, "a"), "newer", 5, &err), &err); /* replaced, not written into */
    for (size_t i = 0; i < COUNT(row); i++) {
        ms_status s = ms_file_publish(in(state, row[i].from), in(state, row[i].to), &err);

        must_fail(row[i].from, s, MS_IO, &err, row[i].text);
    }
    holds(in(state, "b"), "new");
    lists(in(state, ""), "a b folder ");
}

static void a_second_name_of_a_link_has_its_content(void **state)
{
    ms_error err;

    must(ms_folder_make(in(state, "from"), &err), &err);
    put_text(in(state, "from/file"), "text");
    assert_int_equal(symlink("file", in(state, "from/link")), 0);
    must(ms_file_publish(in(state, "from/link"), in(state, "to"), &err), &err);
    holds(in(state, "to"), "text");
}

/* Links do not cross file systems. */
static void a_file_of_another_file_system_is_copied(void **state)
{
    char other[] = "/dev/shm/minstrel-test-XXXXXX";
    struct stat here, there;
    ms_error err;
    int fd = mkstemp(other);

    if (fd < 0 || fstat(fd, &there) || stat(in(state, ""), &here) || here.st_dev == there.st_dev) {
        if (fd >= 0) unlink(other);
        print_message("not run: /dev/shm is no other file system than /tmp\n");
        skip();
    }
    assert_int_equal(write(fd, "new", 3) | close(fd), 3);
    put_text(in(state, "b"), "old");
    ms_status s = ms_file_publish(other, in(state, "b"), &err);
    unlink(other);
    must(s, &err);
    holds(in(state, "b"), "new");
    lists(in(state, ""), "b ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_file_is_replaced_when_it_is_committed),
        SCRATCH_TEST(an_abort_leaves_the_old),
        SCRATCH_TEST(pieces_of_any_size_add_up),
        SCRATCH_TEST(what_cannot_be_replaced_is_left),
        SCRATCH_TEST(new_files_have_the_mode_of_the_mask),
        SCRATCH_TEST(files_are_mapped_and_read),
        SCRATCH_TEST(what_is_no_file_is_refused),
        SCRATCH_TEST(paths_are_joined_where_they_fit),
        SCRATCH_TEST(an_empty_folder_name_is_not_the_root),
        SCRATCH_TEST(names_too_long_are_refused),
        SCRATCH_TEST(folders_are_made_with_parents),
        SCRATCH_TEST(names_are_listed_by_bytes),
        SCRATCH_TEST(folders_are_removed_with_what_is_in_them),
        SCRATCH_TEST(a_file_gets_a_second_name),
        SCRATCH_TEST(a_second_name_of_a_link_has_its_content),
        SCRATCH_TEST(a_file_of_another_file_system_is_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
