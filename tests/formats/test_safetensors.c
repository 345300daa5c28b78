/* safetensors: what is written is read back, aligned; files made by hand that break a rule of the
 * format are refused in a line that says which; no cut of a file is read. */
#include "formats/safetensors.h"

#include "../base/scratch.h"

enum { FILE_MOST = 4096 };

static ms_safetensors *opened(const char *path)
{
    ms_safetensors *s = NULL;
    ms_error err;

    must(ms_safetensors_open(&s, path, &err), &err);
    assert_string_equal(ms_safetensors_path(s), path);
    return s;
}

/* Is refused in one line, and nothing is opened. */
static void refuse(const char *what, const char *path, ms_status status, const char *text)
{
    ms_safetensors *s = NULL;
    ms_error err = {.status = MS_OK};
    ms_status got = ms_safetensors_open(&s, path, &err);

    if (!got) ms_safetensors_close(s);
    must_fail(what, got, status, &err, text);
    assert_string_equal(err.path, path);
    assert_null(s);
}

/* -- what is written ------------------------------------------------------------------------- */

static const uint8_t BYTES[512] = {1, 2, 3, 250, 0, 7, [100] = 9, [511] = 77};

/* Every type and rank, empty ones, names that JSON must escape. */
static const ms_st_entry WRITTEN[] = {
    {"double", MS_F64, 1, {5}, BYTES, 40},
    {"float", MS_F32, 2, {2, 3}, BYTES + 1, 24},
    {"none", MS_F32, 3, {4, 0, 7}, BYTES, 0},
    {"a.b.weight", MS_BF16, 3, {1, 2, 3}, BYTES + 2, 12},
    {"Half", MS_F16, 4, {2, 1, 3, 1}, BYTES + 90, 12},
    {"whole", MS_I32, 1, {1}, BYTES, 4},
    {"byte \"\\\n\xC3\xA9", MS_U8, 1, {3}, BYTES, 3},
    {"", MS_U8, 2, {4, 128}, BYTES, 512},
    {"scalar", MS_F32, 0, {0}, BYTES + 3, 4},
    {"none at the end", MS_F64, 1, {0}, BYTES, 0},
};

enum { N = COUNT(WRITTEN) };

static const char *const PAIRS[] = {"format", "pt", "key \"2\"", "line\nline", "empty", "", NULL};

/* *user counts the calls; from 100 on they fail. */
static ms_status fill(void *user, int i, void *buffer, ms_error *err)
{
    int *calls = user;

    if (*calls >= 100) return ms_fail(err, MS_NONFINITE, "no bytes for %d", i);
    assert_int_equal(i, (*calls)++);
    memcpy(buffer, WRITTEN[i].data, WRITTEN[i].size_bytes);
    return MS_OK;
}

static void expect_written(const char *path)
{
    static const char *const missing[] = {"half", "zzz", "a", "__metadata__"};
    ms_safetensors *s = opened(path);
    const char *at = ms_safetensors_at(s, 0)->data;

    assert_int_equal(ms_safetensors_count(s), N);
    for (int i = 0; i < N; i++) {
        const ms_st_entry *e = ms_safetensors_at(s, i), *w = &WRITTEN[i];
        int dim[MS_MAX_RANK] = {1};

        if (w->rank) memcpy(dim, w->dim, sizeof dim); /* a scalar has the shape (1) */
        assert_string_equal(e->name, w->name);
        assert_ptr_equal(ms_safetensors_find(s, w->name), e);
        assert_true(e->dtype == w->dtype && e->rank == (w->rank ? w->rank : 1));
        assert_memory_equal(e->dim, dim, (size_t)e->rank * sizeof *dim);
        assert_int_equal(e->size_bytes, w->size_bytes);
        assert_ptr_equal(e->data, at); /* side by side */
        assert_true(!w->size_bytes || !memcmp(at, w->data, w->size_bytes));
        at += e->size_bytes;
    }
    assert_true(!ms_safetensors_at(s, -1) && !ms_safetensors_at(s, N));
    for (size_t i = 0; i < COUNT(missing); i++) assert_null(ms_safetensors_find(s, missing[i]));
    for (int i = 0; PAIRS[i]; i += 2)
        assert_string_equal(ms_safetensors_metadata(s, PAIRS[i]), PAIRS[i + 1]);
    assert_null(ms_safetensors_metadata(s, "Format"));
    ms_safetensors_close(s);
}

static void what_is_written_is_read_back(void **state)
{
    const char *path = in(state, "x");
    ms_error err;
    int calls = 0;

    must(ms_safetensors_write(path, WRITTEN, N, PAIRS, NULL, NULL, &err), &err);
    expect_written(path);
    must(ms_safetensors_write(path, WRITTEN, N, PAIRS, fill, &calls, &err), &err);
    assert_int_equal(calls, N);
    expect_written(path);
}

static void a_file_may_have_no_tensors(void **state)
{
    const char *path = in(state, "x");
    ms_error err;

    for (int i = 0; i < 2; i++) { /* without metadata, and with an empty map */
        must(ms_safetensors_write(path, NULL, 0, i ? PAIRS + 6 : NULL, NULL, NULL, &err), &err);
        ms_safetensors *s = opened(path);
        assert_int_equal(ms_safetensors_count(s), 0);
        assert_true(!ms_safetensors_at(s, 0) && !ms_safetensors_find(s, ""));
        assert_null(ms_safetensors_metadata(s, "format"));
        ms_safetensors_close(s);
    }
    ms_safetensors_close(NULL);
}

/* Names of 1 to 16 bytes: the header needs every amount of padding, which is of blanks. */
static void data_begins_at_a_multiple_of_8(void **state)
{
    const char *path = in(state, "x"), *name = "nnnnnnnnnnnnnnnn";
    unsigned amounts = 0;
    ms_error err;
    ms_map map;

    for (int n = 1; n <= 16; n++) {
        const ms_st_entry e = {name + 16 - n, MS_U8, 1, {3}, "abc", 3};

        must(ms_safetensors_write(path, &e, 1, NULL, NULL, NULL, &err), &err);
        must(ms_map_open(&map, path, &err), &err);
        size_t length = map.data[0], end = 8 + length;
        for (int i = 1; i < 8; i++) assert_int_equal(map.data[i], 0);
        assert_int_equal(length % 8, 0);
        assert_int_equal(map.size_bytes, end + 3);
        while (map.data[end - 1] == ' ') end--;
        assert_true(map.data[8] == '{' && map.data[end - 1] == '}');
        assert_true(8 + length - end < 8);
        amounts |= 1u << (8 + length - end);
        ms_map_close(&map);
        ms_safetensors *s = opened(path);
        assert_int_equal((uintptr_t)ms_safetensors_at(s, 0)->data % 8, 0);
        ms_safetensors_close(s);
    }
    assert_int_equal(amounts, 0xff);
}

static void a_write_that_fails_leaves_the_old_file(void **state)
{
    const char *path = in(state, "x");
    ms_error err;
    int calls = 100;

    put_text(path, "old");
    ms_status s = ms_safetensors_write(path, WRITTEN, N, PAIRS, fill, &calls, &err);
    must_fail("fill", s, MS_NONFINITE, &err, "no bytes for 0");
    s = ms_safetensors_write(in(state, "no/x"), WRITTEN, N, PAIRS, NULL, NULL, &err);
    must_fail("folder", s, MS_IO, &err, "cannot write");
    holds(path, "old");
    lists(in(state, ""), "x ");
}

static void a_type_without_a_name_is_not_written(void **state)
{
    const ms_st_entry blocks = {"q", MS_Q8_0, 1, {32}, BYTES, 34};
    ms_error err;

    ms_status s = ms_safetensors_write(in(state, "x"), &blocks, 1, NULL, NULL, NULL, &err);
    must_fail("q8_0", s, MS_UNSUPPORTED, &err, "q");
    lists(in(state, ""), "");
}

/* -- what others write ----------------------------------------------------------------------- */

/* The file of a header and n bytes of data that count up. */
static size_t make_file(uint8_t file[FILE_MOST], const char *header, size_t n)
{
    size_t length = strlen(header);

    assert_true(8 + length + n <= FILE_MOST);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < n; i++) file[8 + length + i] = (uint8_t)i;
    return 8 + length + n;
}

static void put_file(const char *path, const char *header, size_t n)
{
    uint8_t file[FILE_MOST];

    put(path, file, make_file(file, header, n));
}

/* An entry of a header. */
#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"
#define A T("a", "F32", "[2]", 0, 8)
#define B T("b", "U8", "[4]", 8, 12)

/* What the tables below break: accepted, in whatever order and with blanks and keys besides. */
static void files_of_others_are_read(void **state)
{
    static const char *const header[] = {
        "{" A "," B "}",
        "{" B "," A "}        ",
        "{ " T("b", "U8", "[4]", 8.0, 12e0) " ,\n" A " }",
        "{\"__metadata__\":{\"format\":\"pt\"}," A "," B "}",
        "{" A "," B "," T("e", "F64", "[0,9]", 8, 8) "," T("f", "U8", "[0]", 12, 12) "}",
        "{" A ",\"b\":{\"more\":{},\"shape\":[4],\"data_offsets\":[8,12],\"dtype\":\"U8\"}}",
    };
    const char *path = in(state, "x");

    for (size_t i = 0; i < COUNT(header); i++) {
        put_file(path, header[i], 12);
        ms_safetensors *s = opened(path);
        const ms_st_entry *a = ms_safetensors_find(s, "a"), *b = ms_safetensors_find(s, "b");
        assert_true(a && a->dtype == MS_F32 && a->rank == 1 && a->dim[0] == 2);
        assert_true(b && b->dtype == MS_U8 && b->rank == 1 && b->dim[0] == 4);
        assert_memory_equal(a->data, "\0\1\2\3\4\5\6\7", 8);
        assert_memory_equal(b->data, "\10\11\12\13", 4);
        assert_ptr_equal(ms_safetensors_at(s, 0), a); /* in the order of the data */
        ms_safetensors_close(s);
    }
}

typedef struct {
    const char *header;
    size_t data;
    ms_status status;
    const char *text;
} hostile;

static void refuse_rows(void **state, const hostile *row, size_t rows)
{
    const char *path = in(state, "x");

    for (size_t i = 0; i < rows; i++) {
        put_file(path, row[i].header, row[i].data);
        refuse(row[i].header, path, row[i].status, row[i].text);
    }
}

static void hostile_headers_are_refused(void **state)
{
    static const hostile row[] = {
        /* no object of objects */
        {"", 0, MS_FORMAT, "not a JSON object"},
        {" {}", 0, MS_FORMAT, "not a JSON object"},
        {"\xEF\xBB\xBF{}", 0, MS_FORMAT, "not a JSON object"},
        {"[]", 0, MS_FORMAT, "not a JSON object"},
        {"{", 0, MS_FORMAT, "not valid JSON"},
        {"{" A ",}", 8, MS_FORMAT, "not valid JSON"},
        {"{\"a\":[]}", 0, MS_FORMAT, "tensor a: expected an object"},
        {"{\"a\":null}", 0, MS_FORMAT, "tensor a: expected an object"},
        {"{\"a\\n\\u001b[2J\":1}", 0, MS_FORMAT, "tensor a??[2J: expected an object"},

        /* types */
        {"{\"a\":{}}", 0, MS_FORMAT, "tensor a: no dtype"},
        {"{\"a\":{\"dtype\":4}}", 0, MS_FORMAT, "tensor a: no dtype"},
        {"{" T("a", "I64", "[1]", 0, 8) "}", 8, MS_UNSUPPORTED, "tensor a: dtype I64"},
        {"{" T("a", "f32", "[2]", 0, 8) "}", 8, MS_UNSUPPORTED, "dtype f32"},
        {"{" T("a", "", "[2]", 0, 8) "}", 8, MS_UNSUPPORTED, "dtype  is"},

        /* shapes */
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, MS_FORMAT, "tensor a: no shape"},
        {"{" T("a", "F32", "{\"b\":2}", 0, 8) "}", 8, MS_FORMAT, "tensor a: no shape"},
        {"{" T("a", "F32", "2", 0, 8) "}", 8, MS_FORMAT, "tensor a: no shape"},
        {"{" T("a", "F32", "[1,1,1,1,2]", 0, 8) "}", 8, MS_UNSUPPORTED, "5 dimensions, at most 4"},
        {"{" T("a", "F32", "[2,-1]", 0, 8) "}", 8, MS_FORMAT, "tensor a: bad dimension 1"},
        {"{" T("a", "F32", "[1.5]", 0, 6) "}", 6, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "F32", "[\"2\"]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "F32", "[[2]]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "F32", "[null]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "F32", "[1e999]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "U8", "[2147483648]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        {"{" T("a", "U8", "[18446744073709551624]", 0, 8) "}", 8, MS_FORMAT, "bad dimension 0"},
        /* 4 * 2^62 and 8 * 2^61 bytes are 0 in 64 bits */
        {"{" T("a", "F32", "[1073741824,1073741824,4]", 0, 0) "}", 0, MS_FORMAT, "bad dimension 2"},
        {"{" T("a", "F64", "[1073741824,1073741824,2,1]", 0, 0) "}", 0, MS_FORMAT, "dimension 2"},

        /* offsets */
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, MS_FORMAT, "tensor a: bad data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1]}}", 1, MS_FORMAT, "bad data"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 2, MS_FORMAT, "bad"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{\"b\":0,\"e\":1}}}", 1,
         MS_FORMAT, "bad data_offsets"},
        {"{" T("a", "U8", "[1]", -1, 0) "}", 1, MS_FORMAT, "bad data_offsets"},
        {"{" T("a", "U8", "[1]", 0.5, 1.5) "}", 2, MS_FORMAT, "bad data_offsets"},
        {"{" T("a", "U8", "[1]", "0", 1) "}", 1, MS_FORMAT, "bad data_offsets"},
        {"{" T("a", "U8", "[1]", 0, 1e30) "}", 1, MS_FORMAT, "bad data_offsets"},
        {"{" T("a", "F32", "[2]", 8, 0) "}", 8, MS_FORMAT, "bytes 8 to 0, the file has 8"},
        {"{" T("a", "F32", "[2]", 0, 9) "}", 8, MS_FORMAT, "bytes 0 to 9, the file has 8"},
        {"{" T("a", "F32", "[2]", 9007199254740984, 9007199254740992) "}", 8, MS_FORMAT,
         "bytes 9007199254740984 to 9007199254740992, the file has 8"},
        {"{" T("a", "F32", "[2]", 0, 7) "}", 8, MS_FORMAT, "takes 8 bytes, the offsets span 7"},
        {"{" T("a", "F32", "[]", 0, 8) "}", 8, MS_FORMAT, "takes 4 bytes, the offsets span 8"},
        {"{" T("a", "F32", "[0]", 0, 8) "}", 8, MS_FORMAT, "takes 0 bytes, the offsets span 8"},

        /* layout */
        {"{" A "," T("b", "U8", "[4]", 4, 8) "}", 8, MS_FORMAT, "tensor b overlaps"},
        {"{" A "," T("b", "F32", "[2]", 0, 8) "}", 8, MS_FORMAT, "overlaps the one before it"},
        {"{" A "," T("b", "U8", "[0]", 4, 4) "}", 8, MS_FORMAT, "tensor b overlaps"},
        {"{" A "," T("b", "U8", "[4]", 9, 13) "}", 13, MS_FORMAT, "tensor b leaves a gap"},
        {"{" B "}", 12, MS_FORMAT, "tensor b leaves a gap"},
        {"{" A "}", 12, MS_FORMAT, "4 bytes behind the last tensor belong to none"},
        {"{}", 1, MS_FORMAT, "1 bytes behind the last tensor belong to none"},

        /* names */
        {"{" A "," T("a", "U8", "[4]", 8, 12) "}", 12, MS_FORMAT, "tensor a is there twice"},
        {"{" A "," B "," T("a", "U8", "[0]", 8, 8) "}", 12, MS_FORMAT, "tensor a is there twice"},
    };

    refuse_rows(state, row, COUNT(row));
}

/* What stands behind the object is no part of it: the format allows blanks there. */
static void text_behind_the_header_is_refused(void **state)
{
    static const hostile row[] = {
        {"{" A "} x", 8, MS_FORMAT, "JSON"},
        {"{" A "}{" A "}", 8, MS_FORMAT, "JSON"},
    };

    refuse_rows(state, row, COUNT(row));
}

/* The format has one map of texts to texts. */
static void metadata_that_is_no_map_of_texts_is_refused(void **state)
{
    static const hostile row[] = {
        {"{\"__metadata__\":3," A "}", 8, MS_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{\"k\":{}}," A "}", 8, MS_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{}," A ",\"__metadata__\":{}}", 8, MS_FORMAT, "__metadata__"},
    };

    refuse_rows(state, row, COUNT(row));
}

static void cut_and_changed_files_are_refused(void **state)
{
    const char *path = in(state, "x");
    uint8_t file[FILE_MOST];
    size_t size = make_file(file, "{" A "," B "}  ", 12), length = size - 8 - 12;

    for (size_t n = 0; n < size; n++) {
        put(path, file, n);
        refuse("cut", path, MS_FORMAT, n < 8 ? "too few" : n < size - 12 ? "does not fit" : "");
    }
    for (size_t to = 0; to < 300; to++) { /* the length of the header */
        memcpy(file, (uint8_t[]){to & 255, (uint8_t)(to >> 8)}, 2);
        put(path, file, size);
        if (to != length) refuse("length", path, MS_FORMAT, "");
    }
    for (int byte = 0; byte < 8; byte++) {
        make_file(file, "{" A "," B "}  ", 12);
        file[byte] = 255;
        put(path, file, size);
        refuse("length", path, MS_FORMAT, "does not fit a file of");
    }
}

/* 100 MiB are allowed, no more, whatever the file has; the file is a hole. */
static void a_header_too_long_is_refused(void **state)
{
    const char *path = in(state, "x");
    const uint64_t length = (100 << 20) + 1;
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    for (int i = 0; i < 8; i++) fputc((int)(length >> (8 * i) & 255), f);
    fputc('{', f);
    assert_int_equal(fseek(f, (long)length + 100, SEEK_SET), 0);
    fputc(0, f);
    assert_int_equal(fclose(f), 0);
    refuse("long", path, MS_FORMAT, "a header of 104857601 bytes does not fit");
}

/* Every byte replaced: refused or read, never more. */
static void changed_bytes_do_no_harm(void **state)
{
    static const uint8_t with[] = {0, '"', '{', ']', '9', '-', '\\', 0xff};
    const char *path = in(state, "x");
    uint8_t file[FILE_MOST];
    size_t size = make_file(file, "{" A ",\"__metadata__\":{\"k\":\"v\"}," B "}", 12);

    for (size_t i = 0; i < size - 12; i++)
        for (size_t k = 0; k < COUNT(with); k++) {
            uint8_t was = file[i];
            ms_safetensors *s = NULL;
            ms_error err = {.status = MS_OK};

            file[i] = with[k];
            put(path, file, size);
            ms_status status = ms_safetensors_open(&s, path, &err);
            file[i] = was;
            assert_true(status ? !s && err.status == status && err.message[0] : s != NULL);
            ms_safetensors_close(s);
        }
}

static void what_is_no_file_is_refused(void **state)
{
    refuse("none", in(state, "none"), MS_IO, "cannot open");
    refuse("folder", in(state, ""), MS_IO, "is a folder");
    assert_int_equal(ms_safetensors_open(&(ms_safetensors *){NULL}, in(state, ""), NULL), MS_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(what_is_written_is_read_back),
        SCRATCH_TEST(a_file_may_have_no_tensors),
        SCRATCH_TEST(data_begins_at_a_multiple_of_8),
        SCRATCH_TEST(a_write_that_fails_leaves_the_old_file),
        SCRATCH_TEST(a_type_without_a_name_is_not_written),
        SCRATCH_TEST(files_of_others_are_read),
        SCRATCH_TEST(hostile_headers_are_refused),
        SCRATCH_TEST(text_behind_the_header_is_refused),
        SCRATCH_TEST(metadata_that_is_no_map_of_texts_is_refused),
        SCRATCH_TEST(cut_and_changed_files_are_refused),
        SCRATCH_TEST(a_header_too_long_is_refused),
        SCRATCH_TEST(changed_bytes_do_no_harm),
        SCRATCH_TEST(what_is_no_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
