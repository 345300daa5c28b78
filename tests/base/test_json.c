/* JSON: an object or an error with its place; getters that no shape of a file upsets; what is
 * written is read back. */
#include "base/json.h"

#include "base/rng.h"
#include "scratch.h"

static ms_status parse(cJSON **out, const char *text, size_t size, ms_error *err)
{
    char *copy = malloc(size ? size : 1); /* reading past the end shows */
    ms_status s;

    memcpy(copy, text, size);
    *out = NULL;
    *err = (ms_error){.status = MS_OK};
    s = ms_json_parse(out, copy, size, "some/file.json", err);
    free(copy);
    return s;
}

typedef struct {
    const char *text;
    int offset; /* -1: any inside the text */
} bad;

static void refuse(const bad *row, const char *message)
{
    int64_t n = (int64_t)strlen(row->text);
    ms_error err;
    cJSON *o;
    ms_status s = parse(&o, row->text, (size_t)n, &err);

    if (!s) cJSON_Delete(o);
    must_fail(row->text, s, MS_FORMAT, &err, message);
    assert_null(o);
    assert_string_equal(err.path, "some/file.json");
    if (row->offset >= 0 ? err.offset != row->offset : err.offset < 0 || err.offset > n)
        fail_msg("%s: a fault at %lld, expected %d", row->text, (long long)err.offset, row->offset);
}

static void malformed_text_is_refused_with_its_place(void **state)
{
    static const bad row[] = {
        {"", 0},
        {" ", -1},
        {"nothing", 0},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{\"a\" 1}", 5},
        {"{\"a\":1 \"b\":2}", 7},
        {"{a:1}", -1},
        {"{'a':1}", -1},
        {"{\"a\":[1,2}", 9},
        {"{\"a\":tru}", 5},
        {"{\"a\":NaN}", 5},
        {"{\"a\":\"\\x\"}", -1},
        {"{\"a\":\"\\ud800\"}", -1},
        {"{\"a\":1", -1}, /* ends too early */
        {"{\"a", -1},
        {"{", -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) refuse(&row[i], "is not valid JSON");
}

static void what_is_no_object_is_refused(void **state)
{
    static const bad row[] = {
        {"[{\"a\":1}]", 0}, {"1", 0}, {"\"{}\"", 0}, {"null", 0}, {"true", 0}};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) refuse(&row[i], "expected a JSON object");
}

static void an_object_with_something_behind_it_is_refused(void **state)
{
    static const bad row[] = {{"{} x", 3}, {"{}{}", 2}, {"{\"a\":1}}", 7}, {"{}\n\n,", 4}};

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) refuse(&row[i], "JSON");
}

static void no_cut_of_a_text_is_read(void **state)
{
    static const char text[] = "\t {\"a\":[1,-2.5e3,true,null,{\"b\":\"\\u00e9\\n\"}],\"c\":{}}";
    ms_error err;
    cJSON *o;

    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(parse(&o, text, n, &err), MS_FORMAT);
    must(parse(&o, text, sizeof text - 1, &err), &err);
    cJSON_Delete(o);
    must(parse(&o, "\r\n{ } \t\n", 8, &err), &err); /* blanks around are fine */
    cJSON_Delete(o);
}

static void getters_give_null_for_what_is_not_there(void **state)
{
    static const char text[] = "{\"s\":\"text\",\"e\":\"\",\"n\":3,\"z\":null,\"o\":{\"s\":\"in\"},"
                               "\"l\":[\"s\"],\"S\":\"other\"}";
    ms_error err;
    cJSON *o;

    (void)state;
    must(parse(&o, text, strlen(text), &err), &err);
    assert_string_equal(ms_json_text(o, "s"), "text");
    assert_string_equal(ms_json_text(o, "S"), "other"); /* by case */
    assert_string_equal(ms_json_text(o, "e"), "");
    assert_string_equal(ms_json_text(ms_json_get(o, "o"), "s"), "in");
    assert_true(cJSON_IsNumber(ms_json_get(o, "n")));
    assert_null(ms_json_text(o, "n"));
    assert_null(ms_json_text(o, "o"));
    assert_null(ms_json_get(o, "z"));
    assert_null(ms_json_text(o, "z"));
    assert_null(ms_json_get(o, "none"));
    assert_null(ms_json_get(o, NULL));
    assert_null(ms_json_get(NULL, "s"));
    assert_null(ms_json_text(NULL, "s"));
    assert_null(ms_json_get(ms_json_get(o, "l"), "s")); /* of what is no object */
    assert_null(ms_json_text(ms_json_get(o, "s"), "s"));
    cJSON_Delete(o);
}

static const double NUMBER[] = {0, 1, -1, 0.1, 1.0 / 3, 0x1p31, -0x1p31, 12345678901, 1e-5};

enum { NUMBERS = COUNT(NUMBER) };

static const char TEXT[] = "a\"b\\c\n\t\x01 \xC3\xA9 \xE2\x82\xAC </x>";

static void build(ms_json *j)
{
    ms_json_begin(j);
    cJSON *numbers = ms_json_add_array(j, j->root, "numbers"), *rows, *o;
    for (int i = 0; i < NUMBERS; i++) ms_json_add_number(j, numbers, NULL, NUMBER[i]);
    rows = ms_json_add_array(j, j->root, "rows");
    for (int i = 0; i < 3; i++) { /* [[], [0], [0, 1]] */
        cJSON *row = ms_json_add_array(j, rows, NULL);

        for (int k = 0; k < i; k++) ms_json_add_number(j, row, NULL, k);
    }
    o = ms_json_add_object(j, rows, NULL);
    ms_json_add_text(j, o, TEXT, TEXT);
    ms_json_add_text(j, o, "", "");
    ms_json_add_bool(j, o, "yes", true);
    ms_json_add_bool(j, o, "no", false);
    ms_json_add_null(j, o, "none");
    ms_json_add_object(j, j->root, "empty");
}

static void compare(const cJSON *o)
{
    const cJSON *numbers = ms_json_get(o, "numbers"), *rows = ms_json_get(o, "rows"), *last;

    assert_int_equal(cJSON_GetArraySize(numbers), NUMBERS);
    for (int i = 0; i < NUMBERS; i++)
        assert_true(cJSON_GetArrayItem(numbers, i)->valuedouble == NUMBER[i]);
    assert_int_equal(cJSON_GetArraySize(rows), 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cJSON_GetArraySize(cJSON_GetArrayItem(rows, i)), i);
    assert_int_equal(cJSON_GetArrayItem(cJSON_GetArrayItem(rows, 2), 1)->valueint, 1);
    last = cJSON_GetArrayItem(rows, 3);
    assert_string_equal(ms_json_text(last, TEXT), TEXT);
    assert_string_equal(ms_json_text(last, ""), "");
    assert_true(cJSON_IsTrue(ms_json_get(last, "yes")));
    assert_true(cJSON_IsFalse(ms_json_get(last, "no")));
    assert_int_equal(cJSON_GetArraySize(last), 5);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(last, "none")));
    assert_true(cJSON_IsObject(ms_json_get(o, "empty")));
    assert_string_equal(o->child->string, "numbers"); /* in the order of writing */
}

static void what_is_written_is_read_back(void **state)
{
    ms_json j;
    ms_error err;
    cJSON *o;

    for (int indented = 0; indented < 2; indented++) {
        build(&j);
        char *text = ms_json_end(&j, indented);
        assert_non_null(text);
        assert_null(j.root);
        assert_true(!strchr(text, '\n') == !indented);
        must(parse(&o, text, strlen(text), &err), &err);
        compare(o);
        cJSON_Delete(o);
        cJSON_free(text);
    }
    build(&j);
    must(ms_json_write(&j, in(state, "x.json"), &err), &err);
    must(ms_json_read(&o, in(state, "x.json"), 4096, &err), &err);
    compare(o);
    cJSON_Delete(o);
    lists(in(state, ""), "x.json ");
    build(&j);
    must_fail("write", ms_json_write(&j, in(state, "no/x"), &err), MS_IO, &err, "cannot write");
}

/* A resume that reads a learning rate one bit off is another run (3e-4 / 10 is the default of a
 * min_lr).  What is no number leaves null, not a text that is no JSON. */
static void numbers_come_back_exactly(void **state)
{
    static const double some[] = {
        1e300, 5e-324, 0x1.fffffffffffffp1023, 0x1p53, 0x1p53 - 1, 1e15, 3e-4 / 10, NAN, INFINITY};
    enum { SOME = COUNT(some), DRAWS = 10000 };
    ms_rng r = ms_rng_new(8, 0, MS_SITE_TEST);
    double last = 0;
    int lost = 0;

    (void)state;
    for (int i = 0; i < SOME + DRAWS; i++) {
        double x = i < SOME ? some[i] : ms_rng_uniform(&r);
        const cJSON *item;
        ms_error err;
        ms_json j;
        cJSON *o;

        ms_json_begin(&j);
        ms_json_add_number(&j, j.root, "x", x);
        char *text = ms_json_end(&j, false);
        must(parse(&o, text, strlen(text), &err), &err);
        item = ms_json_get(o, "x");
        if (isfinite(x) ? !item || item->valuedouble != x : item != NULL) lost++, last = x;
        cJSON_Delete(o);
        cJSON_free(text);
    }
    if (lost) fail_msg("%d of %d came back changed, such as %.17g", lost, SOME + DRAWS, last);
}

/* A hole (what could not be allocated, or no text) is never written as a file without it. */
static void a_hole_sticks(void **state)
{
    ms_error err;

    for (int i = 0; i < 4; i++) {
        ms_json j;

        ms_json_begin(&j);
        ms_json_add_number(&j, j.root, "before", 1);
        if (i == 0) ms_json_add_text(&j, j.root, "x", NULL);
        if (i == 1) ms_json_add_number(&j, NULL, "x", 1);
        if (i == 2) assert_null(ms_json_add_object(&j, NULL, "x"));
        if (i == 3) assert_null(ms_json_add_array(&j, NULL, NULL));
        ms_json_add_bool(&j, j.root, "behind", true);
        assert_true(j.failed);
        if (i % 2) {
            assert_null(ms_json_end(&j, false));
            continue;
        }
        put_text(in(state, "x"), "old");
        must_fail("hole", ms_json_write(&j, in(state, "x"), &err), MS_MEMORY, &err, "JSON");
        holds(in(state, "x"), "old");
    }
}

static void files_are_read_with_their_limits(void **state)
{
    const char *path = in(state, "x");
    ms_error err;
    cJSON *o = NULL;

    put_text(path, "{\"a\":1}");
    must(ms_json_read(&o, path, 7, &err), &err);
    cJSON_Delete(o);
    o = NULL;
    must_fail("large", ms_json_read(&o, path, 6, &err), MS_FORMAT, &err, "more than");
    put_text(path, "{\"a\":?}");
    must_fail("bad", ms_json_read(&o, path, 99, &err), MS_FORMAT, &err, "is not valid JSON");
    assert_string_equal(err.path, path);
    assert_int_equal(err.offset, 5);
    put_text(path, "");
    must_fail("empty", ms_json_read(&o, path, 99, &err), MS_FORMAT, &err, "is not valid JSON");
    must_fail("none", ms_json_read(&o, in(state, "none"), 9, &err), MS_IO, &err, "cannot open");
    assert_int_equal(ms_json_read(&o, in(state, "none"), 9, NULL), MS_IO);
    assert_null(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_text_is_refused_with_its_place),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(an_object_with_something_behind_it_is_refused),
        cmocka_unit_test(no_cut_of_a_text_is_read),
        cmocka_unit_test(getters_give_null_for_what_is_not_there),
        SCRATCH_TEST(what_is_written_is_read_back),
        cmocka_unit_test(numbers_come_back_exactly),
        SCRATCH_TEST(a_hole_sticks),
        SCRATCH_TEST(files_are_read_with_their_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
