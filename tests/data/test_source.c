/* source: documents of text files, folders, .jsonl, .zst and standard input, in order, each once;
 * what is missing, cut off or no JSON is named with its path and line. */
#include "data/source.h"

#include "../base/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

/* What was visited, each document in brackets. */
typedef struct {
    char *text;
    size_t size_bytes, room_bytes;
    int documents, most; /* fails behind so many; 0: never */
} visited;

static void add(visited *v, const void *text, size_t size)
{
    if (v->size_bytes + size >= v->room_bytes) {
        v->room_bytes = 2 * (v->size_bytes + size) + 64;
        v->text = realloc(v->text, v->room_bytes);
    }
    memcpy(v->text + v->size_bytes, text, size);
    v->size_bytes += size;
    v->text[v->size_bytes] = 0;
}

static ms_status visit(void *user, const char *text, size_t size, ms_error *err)
{
    visited *v = user;

    if (v->most > 0 && v->documents == v->most)
        return ms_fail_at(err, MS_INTERRUPTED, NULL, 1, "that is enough");
    v->documents++;
    add(v, "[", 1);
    add(v, text, size);
    add(v, "]", 1);
    return MS_OK;
}

static void visits(const char *path, const char *expected)
{
    visited v = {.documents = 0};
    ms_error err;

    add(&v, "", 0);
    must(ms_source_visit(&path, 1, visit, &v, &err), &err);
    if (v.size_bytes != strlen(expected) || memcmp(v.text, expected, v.size_bytes) != 0)
        fail_msg("%s: visited %.300s, expected %.300s", path, v.text, expected);
    free(v.text);
}

/* A visit fails with a path and a text, having come so far. */
static void refuses(const char *path, ms_status status, const char *text, const char *before)
{
    visited v = {.documents = 0};
    ms_error err = {.status = MS_OK};

    add(&v, "", 0);
    must_fail(path, ms_source_visit(&path, 1, visit, &v, &err), status, &err, text);
    assert_string_equal(err.path, path);
    assert_string_equal(v.text, before);
    assert_int_equal(ms_source_visit(&path, 1, visit, &v, NULL), status);
    free(v.text);
}

/* A frame of zstd behind what a file holds; the size of the frame. */
static size_t append_frame(const char *path, const void *text, size_t size)
{
    size_t room = ZSTD_compressBound(size), packed;
    char *frame = malloc(room);
    FILE *f = fopen(path, "ab");

    packed = ZSTD_compress(frame, room, text, size, 3);
    assert_false(ZSTD_isError(packed));
    assert_non_null(f);
    assert_int_equal(fwrite(frame, 1, packed, f), packed);
    assert_int_equal(fclose(f), 0);
    free(frame);
    return packed;
}

/* -- files and folders ----------------------------------------------------------------------- */

static void a_text_file_is_a_document(void **state)
{
    put(in(state, "x"), "a\nb\0\xff", 5);
    visited v = {.documents = 0};
    const char *path = in(state, "x");
    must(ms_source_visit(&path, 1, visit, &v, NULL), NULL);
    assert_int_equal(v.size_bytes, 7);
    assert_memory_equal(v.text, "[a\nb\0\xff]", 7); /* bytes as they are */
    free(v.text);
    put_text(in(state, "x"), "");
    visits(in(state, "x"), "");
    assert_int_equal(ms_source_visit(NULL, 0, visit, NULL, NULL), MS_OK);
}

static void what_is_not_there_is_named(void **state)
{
    static const char *const missing[] = {"x", "x.jsonl", "x.zst", "x.jsonl.zst"};

    for (int i = 0; i < 4; i++) refuses(in(state, missing[i]), MS_IO, "cannot open", "");
    refuses("", MS_IO, "cannot open", "");
    put_text(in(state, "file"), "a");
    refuses(in(state, "file/x"), MS_IO, "cannot open", "");
    assert_int_equal(mkfifo(in(state, "pipe"), 0600), 0);
    refuses(in(state, "pipe"), MS_IO, "not a regular file", ""); /* and nobody waits for it */
}

/* Sorted by bytes at each level, a folder where its name stands; hidden names are left out. */
static void folders_are_read_in_order(void **state)
{
    static const char *const file[] = {"b",    "a/2",  "a/10",     "a/1/deep", "B",
                                       ".git", "a/.x", "c/.hid/x", "a.txt",    "a/e.jsonl"};
    ms_error err;

    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char folder[SCRATCH_PATH];

        snprintf(folder, sizeof folder, "%s", in(state, file[i]));
        *strrchr(folder, '/') = 0;
        must(ms_folder_make(folder, &err), &err);
        if (strstr(file[i], "jsonl"))
            put_text(in(state, file[i]), "{\"text\":\"one\"}\n{\"text\":\"two\"}\n");
        else
            put_text(in(state, file[i]), file[i]);
    }
    must(ms_folder_make(in(state, "empty"), &err), &err);
    append_frame(in(state, "d.zst"), "packed", 6);
    visits(in(state, ""), "[B][a/1/deep][a/10][a/2][one][two][a.txt][b][packed]");
    visits(in(state, "a/"), "[a/1/deep][a/10][a/2][one][two]");
    visits(in(state, "empty"), "");
    visits(in(state, "a/.x"), "[a/.x]"); /* asked for by name */
    put_text(in(state, "a/3.jsonl"), "{");
    const char *path = in(state, "");
    visited v = {.documents = 0};
    must_fail("in a folder", ms_source_visit(&path, 1, visit, &v, &err), MS_FORMAT, &err, "line 1");
    assert_string_equal(err.path, in(state, "a/3.jsonl"));
    assert_string_equal(v.text, "[B][a/1/deep][a/10][a/2]");
    free(v.text);
}

static void a_folder_in_itself_is_an_error(void **state)
{
    const char *path = in(state, "");
    ms_error err = {.status = MS_OK};
    visited v = {.documents = 0};

    assert_int_equal(symlink(".", in(state, "loop")), 0);
    assert_int_not_equal(ms_source_visit(&path, 1, visit, &v, &err), MS_OK);
    assert_memory_equal(err.path, path, strlen(path));
}

/* Paths one after the other; an error of the callback ends the visit and gets the path. */
static void paths_are_visited_in_their_order(void **state)
{
    const char *path[] = {in(state, "2"), in(state, "1.jsonl"), in(state, "2")};
    visited v = {.most = 2};
    ms_error err;

    put_text(path[0], "two");
    put_text(path[1], "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
    must_fail("enough", ms_source_visit(path, 3, visit, &v, &err), MS_INTERRUPTED, &err, "enough");
    assert_string_equal(err.path, path[1]);
    assert_int_equal(err.offset, 14); /* the line, not where in its text */
    assert_string_equal(v.text, "[two][a]");
    v = (visited){.text = v.text, .room_bytes = v.room_bytes};
    must(ms_source_visit(path, 3, visit, &v, &err), &err);
    assert_string_equal(v.text, "[two][a][b][two]");
    free(v.text);
}

/* -- .jsonl ---------------------------------------------------------------------------------- */

static const struct {
    const char *file, *documents;
} LINES[] = {
    {"", ""},
    {"\n", ""},
    {"\n\n \t\r\n", ""},
    {"\n{\"text\":\"a\"}", "[a]"},
    {"{\"text\":\"a\"}", "[a]"},
    {"{\"text\":\"a\"}\n", "[a]"},
    {"{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}\r\n", "[a][b]"},
    {" {\"id\": 7, \"text\" : \"a\", \"more\": {\"text\": \"not this\"}} \n", "[a]"},
    {"{\"text\":\"\"}\n{\"text\":\"b\"}\n", "[b]"},
    {"{\"text\":\"line\\n\\\"\\u00e9\\ud83d\\ude00\\/\"}\n", "[line\n\"\xC3\xA9\xF0\x9F\x98\x80/]"},
    {"{\"Text\":\"not this\",\"text\":\"a\"}\n", "[a]"},
};

static void a_line_of_jsonl_is_a_document(void **state)
{
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        put_text(in(state, "x.jsonl"), LINES[i].file);
        visits(in(state, "x.jsonl"), LINES[i].documents);
    }
}

#define GOOD "{\"text\":\"a\"}\n"
static const struct {
    const char *bad, *text; /* behind two good lines and an empty one */
} BAD_LINES[] = {
    {"{\"text\":\"b\"", "line 4 is not valid JSON"},
    {"{\"text\":\"b}", "line 4 is not valid JSON"},
    {"text", "line 4 is not valid JSON"},
    {"{'text':'b'}", "line 4 is not valid JSON"},
    {"{\"text\":\"\\ud800\"}", "line 4 is not valid JSON"},
    {"{}", "line 4 has no string \"text\""},
    {"[\"text\", \"b\"]", "line 4 expected a JSON object"},
    {"\"text\"", "line 4 expected a JSON object"},
    {"{\"text\":1}", "line 4 has no string \"text\""},
    {"{\"text\":null}", "line 4 has no string \"text\""},
    {"{\"TEXT\":\"b\"}", "line 4 has no string \"text\""},
};

static void a_bad_line_is_named(void **state)
{
    static const char good[] = GOOD "\n" GOOD;

    for (size_t i = 0; i < 2 * sizeof BAD_LINES / sizeof *BAD_LINES; i++) {
        bool last = i % 2; /* without a newline */
        char file[256];
        const char *path = in(state, "x.jsonl");
        visited v = {.documents = 0};
        ms_error err;

        snprintf(file, sizeof file, "%s%s%s", good, BAD_LINES[i / 2].bad, last ? "" : "\n" GOOD);
        put_text(path, file);
        refuses(path, MS_FORMAT, BAD_LINES[i / 2].text, "[a][a]");
        assert_int_equal(ms_source_visit(&path, 1, visit, &v, &err), MS_FORMAT);
        assert_in_range(err.offset, sizeof good - 1,
                        sizeof good - 1 + strlen(BAD_LINES[i / 2].bad));
        free(v.text);
    }
}

/* Nothing of a line may be lost without a word: neither what stands behind its object ... */
static void a_second_object_in_a_line_is_not_lost(void **state)
{
    static const char *const line[] = {"{\"text\":\"a\"}{\"text\":\"b\"}\n", "{\"text\":\"a\"} b\n",
                                       "{\"text\":\"a\"}}\n"};

    for (int i = 0; i < 3; i++) {
        put_text(in(state, "x.jsonl"), line[i]);
        refuses(in(state, "x.jsonl"), MS_FORMAT, "line 1", "");
    }
}

/* ... nor what stands behind a NUL in its text: the whole text, or an error. */
static void a_text_is_not_cut_at_a_nul(void **state)
{
    const char *path = in(state, "x.jsonl");
    visited v = {.documents = 0};
    ms_error err;

    put_text(path, "{\"text\":\"before\\u0000behind\"}\n");
    add(&v, "", 0);
    if (ms_source_visit(&path, 1, visit, &v, &err) == MS_OK) {
        assert_int_equal(v.size_bytes, 15);
        assert_memory_equal(v.text, "[before\0behind]", 15);
    }
    free(v.text);
}

/* -- .zst ------------------------------------------------------------------------------------ */

static void packed_files_are_unpacked(void **state)
{
    append_frame(in(state, "x.zst"), "hello", 5);
    visits(in(state, "x.zst"), "[hello]");
    append_frame(in(state, "x.zst"), "", 0); /* frames add up */
    append_frame(in(state, "x.zst"), " world", 6);
    visits(in(state, "x.zst"), "[hello world]");
    append_frame(in(state, "none.zst"), "", 0);
    visits(in(state, "none.zst"), "");
    append_frame(in(state, "x.jsonl.zst"), GOOD "{\"te", strlen(GOOD) + 4);
    append_frame(in(state, "x.jsonl.zst"), "xt\":\"b\"}", 8);
    visits(in(state, "x.jsonl.zst"), "[a][b]");
}

/* A document may be of any size: around zstd's pieces (128 KiB), too. */
static void packed_files_may_have_any_size(void **state)
{
    enum { PIECE = 1 << 17, MOST = 3 * PIECE };
    static const int sizes[] = {1,         1000,          PIECE - 1,     PIECE,    PIECE + 1,
                                2 * PIECE, 2 * PIECE + 1, 3 * PIECE - 1, 3 * PIECE};
    char *text = malloc(MOST + 3);

    for (int noise = 0; noise < 2; noise++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t n = (size_t)sizes[k];

            text[0] = '[';
            for (size_t i = 1; i <= n; i++)
                text[i] = (char)('a' + (noise ? i * 2654435761u >> 20 : i) % 26);
            text[n + 1] = ']';
            text[n + 2] = 0;
            remove(in(state, "x.zst"));
            append_frame(in(state, "x.zst"), text + 1, n);
            visits(in(state, "x.zst"), text);
        }
    free(text);
}

/* A line longer than a piece. */
static void a_line_may_have_any_size(void **state)
{
    enum { LENGTH = 400000 };
    char *line = malloc(LENGTH + 64), *expected = malloc(LENGTH + 64);
    int n = snprintf(line, 32, "%s{\"text\":\"", GOOD);

    memset(line + n, 'x', LENGTH);
    strcpy(line + n + LENGTH, "\"}\n" GOOD);
    strcpy(expected, "[a][");
    memset(expected + 4, 'x', LENGTH);
    strcpy(expected + 4 + LENGTH, "][a]");
    put_text(in(state, "x.jsonl"), line);
    append_frame(in(state, "x.jsonl.zst"), line, strlen(line));
    visits(in(state, "x.jsonl"), expected);
    visits(in(state, "x.jsonl.zst"), expected);
    free(line);
    free(expected);
}

static void no_cut_of_a_packed_file_is_read(void **state)
{
    static const char text[] = "so long, so long, and thanks for all the fish";
    char path[SCRATCH_PATH], frame[256];
    size_t size, at;
    FILE *f;

    snprintf(path, sizeof path, "%s", in(state, "x.zst"));
    at = append_frame(path, text, 20);
    size = at + append_frame(path, text, sizeof text - 1);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(size < sizeof frame);
    assert_int_equal(fread(frame, 1, sizeof frame, f), size);
    fclose(f);
    for (size_t n = 0; n < size; n++) {
        put(path, frame, n);
        if (n == at)
            visits(path, "[so long, so long, an]"); /* a frame is whole */
        else
            refuses(path, MS_FORMAT, "zstd: ", "");
    }
    frame[size] = 'x';
    put(path, frame, size + 1);
    refuses(path, MS_FORMAT, "zstd: ", ""); /* garbage behind it */
    frame[0] ^= 1;
    put(path, frame, size);
    refuses(path, MS_FORMAT, "zstd: ", "");
}

/* Lines that are whole before the cut may be visited; the file still fails. */
static void a_cut_of_packed_lines_is_an_error(void **state)
{
    char path[SCRATCH_PATH];
    size_t size;

    snprintf(path, sizeof path, "%s", in(state, "x.jsonl.zst"));
    size = append_frame(path, GOOD GOOD, 2 * strlen(GOOD));
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    visited v = {.documents = 0};
    const char *list = path;
    ms_error err;
    must_fail("cut", ms_source_visit(&list, 1, visit, &v, &err), MS_FORMAT, &err, "zstd: ");
    free(v.text);
}

/* -- standard input -------------------------------------------------------------------------- */

/* Visits "-" while standard input is a file. */
static void visits_stdin(void **state, const char *text, size_t size, const char *expected)
{
    int kept = dup(STDIN_FILENO), fd;

    put(in(state, "stdin"), text, size);
    fd = open(in(state, "stdin"), O_RDONLY);
    assert_true(kept >= 0 && fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    visits("-", expected);
    assert_true(dup2(kept, STDIN_FILENO) == STDIN_FILENO);
    close(fd);
    close(kept);
}

static void standard_input_is_a_document(void **state)
{
    enum { LONG = 300000 };
    char *text = malloc(LONG + 3);
    const char *const paths[] = {"a", "--", "-"};

    visits_stdin(state, "", 0, "");
    visits_stdin(state, GOOD, strlen(GOOD), "[" GOOD "]"); /* as it is */
    memset(text, 'x', LONG + 2);
    text[0] = '[';
    strcpy(text + LONG + 1, "]");
    visits_stdin(state, text + 1, LONG, text);
    free(text);
    assert_true(ms_source_has_stdin(paths, 3));
    assert_false(ms_source_has_stdin(paths, 2));
    assert_false(ms_source_has_stdin(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_text_file_is_a_document),
        SCRATCH_TEST(what_is_not_there_is_named),
        SCRATCH_TEST(folders_are_read_in_order),
        SCRATCH_TEST(a_folder_in_itself_is_an_error),
        SCRATCH_TEST(paths_are_visited_in_their_order),
        SCRATCH_TEST(a_line_of_jsonl_is_a_document),
        SCRATCH_TEST(a_bad_line_is_named),
        SCRATCH_TEST(a_second_object_in_a_line_is_not_lost),
        SCRATCH_TEST(a_text_is_not_cut_at_a_nul),
        SCRATCH_TEST(packed_files_are_unpacked),
        SCRATCH_TEST(packed_files_may_have_any_size),
        SCRATCH_TEST(a_line_may_have_any_size),
        SCRATCH_TEST(no_cut_of_a_packed_file_is_read),
        SCRATCH_TEST(a_cut_of_packed_lines_is_an_error),
        SCRATCH_TEST(standard_input_is_a_document),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
