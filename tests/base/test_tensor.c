/* Shapes, rows, views, their text; sizes that do not fit are found, not wrapped. */
#include "base/tensor.h"

#include "scratch.h"

#include <limits.h>

/* The blocks' sizes are those of ggml-common.h. */
static void types_have_their_sizes_and_names(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
        int block;
    } row[MS_DTYPE_COUNT] = {
        [MS_F64] = {"f64", 8, 1},       [MS_F32] = {"f32", 4, 1},
        [MS_BF16] = {"bf16", 2, 1},     [MS_F16] = {"f16", 2, 1},
        [MS_I32] = {"i32", 4, 1},       [MS_U8] = {"u8", 1, 1},
        [MS_Q8_0] = {"q8_0", 34, 32},   [MS_Q4_0] = {"q4_0", 18, 32},
        [MS_Q4_1] = {"q4_1", 20, 32},   [MS_Q5_0] = {"q5_0", 22, 32},
        [MS_Q5_1] = {"q5_1", 24, 32},   [MS_Q2_K] = {"q2_k", 84, 256},
        [MS_Q3_K] = {"q3_k", 110, 256}, [MS_Q4_K] = {"q4_k", 144, 256},
        [MS_Q5_K] = {"q5_k", 176, 256}, [MS_Q6_K] = {"q6_k", 210, 256},
    };
    ms_dtype found;

    (void)state;
    for (ms_dtype d = 0; d < MS_DTYPE_COUNT; d++) {
        assert_int_equal(ms_dtype_bytes(d), row[d].bytes);
        assert_int_equal(ms_dtype_block(d), row[d].block);
        assert_int_equal(ms_dtype_is_real(d), d != MS_I32 && d != MS_U8);
        assert_string_equal(ms_dtype_name(d), row[d].name);
        assert_true(ms_dtype_find(row[d].name, &found) && found == d);
    }
    assert_string_equal(ms_dtype_name(MS_DTYPE_COUNT), "unknown");
    assert_false(ms_dtype_find("F32", &found) || ms_dtype_find("", &found));
}

static void shapes_are_counted(void **state)
{
    static const struct {
        ms_dtype dtype;
        int rank, dim[4];
        size_t count, bytes;
        const char *text;
    } row[] = {
        {MS_F32, 1, {7}, 7, 28, "(7)"},
        {MS_F64, 2, {12, 64}, 768, 6144, "(12, 64)"},
        {MS_BF16, 4, {2, 3, 5, 7}, 210, 420, "(2, 3, 5, 7)"},
        {MS_Q8_0, 2, {3, 64}, 192, 3 * 2 * 34, "(3, 64)"},
        {MS_Q6_K, 1, {512}, 512, 420, "(512)"},
        {MS_F32, 3, {4, 0, 4}, 0, 0, "absent"},
        {MS_F32, 0, {0}, 0, 0, "absent"},
        {MS_F32, 2, {65536, 65536}, (size_t)1 << 32, (size_t)1 << 34, "(65536, 65536)"},
        {MS_U8,
         2,
         {INT_MAX, INT_MAX},
         (size_t)INT_MAX * INT_MAX,
         (size_t)INT_MAX * INT_MAX,
         "(2147483647, 2147483647)"},
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        ms_tensor t = ms_tensor_make(text, row[i].dtype, row[i].rank, row[i].dim);

        assert_int_equal(ms_present(t), row[i].count > 0);
        assert_int_equal(ms_count(t), row[i].count);
        assert_int_equal(ms_tensor_bytes(t), row[i].bytes);
        assert_string_equal(ms_shape_text(t, text), row[i].text);
    }
    ms_shape_text(MS_TENSOR(NULL, MS_F32, INT_MIN, INT_MIN, INT_MIN, INT_MIN), text);
    assert_string_equal(text, "(-2147483648, -2147483648, -2147483648, -2147483648)");
}

static void rows_lie_inside(void **state)
{
    float data[4][2][3];
    ms_tensor t = MS_TENSOR(data, MS_F32, 4, 2, 3), r = ms_rows(t, 1, 2);

    (void)state;
    assert_ptr_equal(r.data, data[1]);
    assert_true(ms_same_shape(r, MS_TENSOR(NULL, MS_F32, 2, 2, 3)));
    r = ms_rows(r, 1, 1); /* rows of rows */
    assert_ptr_equal(r.data, data[2]);
    assert_int_equal(ms_tensor_bytes(r), sizeof data[2]);
    assert_ptr_equal(ms_rows(t, 4, 0).data, data + 4);
    assert_int_equal(ms_count(ms_rows(t, 4, 0)), 0);
    assert_false(ms_present(ms_rows(MS_ABSENT, 3, 1)));
    assert_ptr_equal(ms_rows(MS_TENSOR(data, MS_F32, 24), 6, 2).data, data[1]);
    t.data = NULL; /* a dry run */
    assert_null(ms_rows(t, 1, 2).data);
    t = MS_TENSOR(data, MS_Q8_0, 3, 32);
    assert_ptr_equal(ms_rows(t, 2, 1).data, (char *)data + 2 * 34);
}

static void shapes_are_compared_by_rank_and_dimensions(void **state)
{
    float data[12];
    ms_tensor t = MS_TENSOR(data, MS_F32, 3, 4), v = MS_VIEW(t, 2, 6);

    (void)state;
    assert_true(v.data == data && v.dtype == MS_F32 && ms_count(v) == ms_count(t));
    assert_false(ms_same_shape(t, v));
    assert_true(ms_same_shape(t, MS_TENSOR(NULL, MS_U8, 3, 4))); /* whatever the type */
    assert_false(ms_same_shape(t, MS_TENSOR(NULL, MS_F32, 3, 4, 1)));
    assert_false(ms_same_shape(t, MS_ABSENT));
    assert_true(ms_same_shape(MS_ABSENT, MS_TENSOR(data, MS_F32, 5, 0)));
}

static void sizes_do_not_wrap(void **state)
{
    static const size_t H = (size_t)1 << (sizeof(size_t) * 4); /* H * H is one too many */
    const struct {
        size_t a, b;
        bool product, sum;
    } row[] = {
        {0, SIZE_MAX, true, true},
        {SIZE_MAX, 0, true, true},
        {1, SIZE_MAX, true, false},
        {SIZE_MAX, 1, true, false},
        {2, SIZE_MAX, false, false},
        {H, H, false, true},
        {H, H - 1, true, true},
        {H + 1, H - 1, true, true},
        {3, SIZE_MAX / 3, true, true},
        {SIZE_MAX / 3 + 1, 3, false, true},
        {SIZE_MAX / 2, SIZE_MAX / 2 + 1, false, true},
        {SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        size_t product = 99, sum = 99;

        assert_int_equal(ms_size_mul(row[i].a, row[i].b, &product), row[i].product);
        assert_int_equal(product, row[i].product ? row[i].a * row[i].b : 99);
        assert_int_equal(ms_size_add(row[i].a, row[i].b, &sum), row[i].sum);
        assert_int_equal(sum, row[i].sum ? row[i].a + row[i].b : 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_their_sizes_and_names),
        cmocka_unit_test(shapes_are_counted),
        cmocka_unit_test(rows_lie_inside),
        cmocka_unit_test(shapes_are_compared_by_rank_and_dimensions),
        cmocka_unit_test(sizes_do_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
