/* One layout run twice: what the dry run counts is what the real one takes, aligned and apart; what
 * does not fit is NULL and is remembered; what is written over is named. */
#include "base/arena.h"

#include "scratch.h"

#include <limits.h>

#ifdef MS_DEBUG
enum { GUARD = MS_GUARD_BYTES };
#else
enum { GUARD = 0 };
#endif

enum { PIECES = 7 };

static ms_arena a; /* some 200 KB */

static char *block(size_t size)
{
    char *p = aligned_alloc(MS_ALIGN, size);

    assert_non_null(p);
    return memset(p, 0x11, size);
}

/* Every rank, sizes on both sides of a multiple of 64, plain bytes, and one that is absent. */
static void layout(char *at[PIECES], size_t size[PIECES])
{
    const ms_tensor t[PIECES - 1] = {
        MS_TAKE(&a, "one", MS_U8, 1),          MS_TAKE(&a, "line", MS_F32, 16),
        MS_TAKE(&a, "over", MS_U8, 65),        MS_TAKE(&a, "matrix", MS_F64, 3, 5),
        MS_TAKE(&a, "cube", MS_BF16, 2, 3, 7), MS_TAKE(&a, "four", MS_I32, 2, 3, 4, 5),
    };

    assert_false(ms_present(MS_TAKE(&a, "none", MS_F32, 3, 0, 5)));
    for (int i = 0; i < PIECES - 1; i++) at[i] = t[i].data, size[i] = ms_tensor_bytes(t[i]);
    at[PIECES - 1] = ms_arena_take(&a, size[PIECES - 1] = 130, "bytes");
}

static void a_dry_run_counts_what_a_real_one_takes(void **state)
{
    char *at[PIECES];
    size_t size[PIECES];

    (void)state;
    for (int guarded = 0; guarded < 2; guarded++) {
        size_t next = 0;

        ms_arena_init(&a, NULL, 0, guarded, 0xA5);
        layout(at, size);
        for (int i = 0; i < PIECES; i++) assert_null(at[i]);
        size_t used = a.used_bytes;
        char *p = block(used);
        ms_arena_init(&a, p, used, guarded, 0xA5);
        layout(at, size);
        assert_true(!a.failed && a.used_bytes == used);
        for (int i = 0; i < PIECES; i++) {
            assert_ptr_equal(at[i], p + next);
            memset(at[i], 0xEE, size[i]); /* what is theirs touches no guard */
            next += (size[i] + MS_ALIGN - 1) / MS_ALIGN * MS_ALIGN + (guarded ? GUARD : 0);
        }
        assert_int_equal(next, used);
        assert_int_equal(ms_arena_check(&a, NULL), MS_OK);
        ms_arena_init(&a, p, used - 1, guarded, 0xA5);
        layout(at, size);
        assert_true(a.failed && !at[PIECES - 1]);
        free(p);
    }
}

/* Not the bytes of a block for each element. */
static void rows_of_blocks_take_the_bytes_of_the_blocks(void **state)
{
    static const ms_dtype dtype[] = {MS_F32, MS_Q8_0, MS_Q4_K};

    (void)state;
    for (size_t i = 0; i < COUNT(dtype); i++) {
        ms_arena_init(&a, NULL, 0, false, 0);
        size_t bytes = ms_tensor_bytes(MS_TAKE(&a, "t", dtype[i], 3, 512));

        if (a.used_bytes != (bytes + MS_ALIGN - 1) / MS_ALIGN * MS_ALIGN)
            fail_msg("%s: %zu bytes taken for a tensor of %zu", ms_dtype_name(dtype[i]),
                     a.used_bytes, bytes);
    }
}

/* Sizes that overflow are found in a dry run, too. */
static void a_failed_take_is_remembered(void **state)
{
    static const size_t size[] = {SIZE_MAX, SIZE_MAX - 62, SIZE_MAX - 63};
    char *p = block(256);

    (void)state;
    ms_arena_init(&a, p, 256, false, 0);
    assert_ptr_equal(ms_arena_take(&a, 100, "first"), p);
    assert_null(ms_arena_take(&a, 129, "too large"));
    assert_true(a.failed && a.used_bytes == 128);
    ms_arena_mark mark = ms_arena_mark_take(&a);
    ms_arena_take(&a, 64, "fits");
    ms_arena_release(&a, mark);
    assert_true(a.failed);
    for (int real = 0; real < 2; real++) {
        for (size_t i = 0; i < COUNT(size); i++) {
            ms_arena_init(&a, real ? p : NULL, real ? 256 : 0, false, 0);
            ms_arena_take(&a, 1, "small");
            assert_null(ms_arena_take(&a, size[i], "huge"));
            assert_true(a.failed && a.used_bytes == 64);
        }
        ms_arena_init(&a, real ? p : NULL, real ? 256 : 0, false, 0);
        assert_null(MS_TAKE(&a, "t", MS_F64, INT_MAX, INT_MAX, INT_MAX, 2).data);
        assert_true(a.failed);
    }
    free(p);
}

static void released_scratch_is_taken_again(void **state)
{
    char *p = block(4096);

    (void)state;
    ms_arena_init(&a, p, 4096, true, 0xA5);
    ms_arena_take(&a, 200, "kept");
    ms_arena_mark mark = ms_arena_mark_take(&a);
    char *first = ms_arena_take(&a, 300, "scratch");
    ms_arena_take(&a, 10, "more scratch");
    ms_arena_release(&a, mark);
    ms_arena_poison(&a); /* with the guards that were there */
    for (char *c = p; c < p + 4096; c++)
        if (c < p + 200 || c >= first) assert_int_equal((uint8_t)*c, c < first ? 0x11 : 0xFF);
    assert_int_equal(ms_arena_check(&a, NULL), MS_OK);
    assert_ptr_equal(ms_arena_take(&a, 500, "other"), first);
    assert_int_equal(ms_arena_check(&a, NULL), MS_OK);
    free(p);
}

/* Each byte of two guards, with both fills; of two that are damaged the first is named. */
static void a_broken_guard_is_named(void **state)
{
    static const char *const name[] = {"wqkv of layer 3", "wo"};
    ms_error err;
    char text[64];

    (void)state;
    if (!GUARD) {
        print_message("not run: guards are there with DEBUG=1 or ASAN=1\n");
        skip();
    }
    char *p = block(2048);
    for (int i = 0; i < 4 * MS_GUARD_BYTES; i++) {
        int byte = i % MS_GUARD_BYTES, which = i / MS_GUARD_BYTES % 2;

        ms_arena_init(&a, p, 2048, true, i < 2 * MS_GUARD_BYTES ? 0xA5 : 0);
        char *first = ms_arena_take(&a, 64, name[0]), *second = ms_arena_take(&a, 100, name[1]);
        assert_int_equal(ms_arena_check(&a, &err), MS_OK);
        second[128 + byte] ^= 1;
        if (!which) first[64 + byte] ^= 1;
        snprintf(text, sizeof text, "%s was written over (byte %d)", name[which], byte);
        must_fail("guard", ms_arena_check(&a, &err), MS_DEVICE, &err, text);
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dry_run_counts_what_a_real_one_takes),
        cmocka_unit_test(rows_of_blocks_take_the_bytes_of_the_blocks),
        cmocka_unit_test(a_failed_take_is_remembered),
        cmocka_unit_test(released_scratch_is_taken_again),
        cmocka_unit_test(a_broken_guard_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
