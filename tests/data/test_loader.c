/* loader: the order is a permutation, a function of seed and epoch; a place in it can be sought;
 * every window comes once an epoch.  The shards count up, so that a token says where it stands. */
#include "data/loader.h"

#include "shards.h"

enum { MOST_ROWS = 64 };

/* -- the permutation ------------------------------------------------------------------------- */

static void assert_bijection(uint64_t n, uint64_t seed, uint32_t epoch)
{
    uint8_t *seen = test_calloc((size_t)n, 1);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t to = ms_loader_permute(i, n, seed, epoch);

        if (to >= n || seen[to]++)
            fail_msg("%llu of %llu goes to %llu, out of range or taken", (unsigned long long)i,
                     (unsigned long long)n, (unsigned long long)to);
    }
    test_free(seen);
}

static void a_permutation_is_one(void **state)
{
    static const uint64_t large[] = {1023, 1024, 1025, 4097, 65536, 65537, 100003, 1 << 20};

    (void)state;
    for (uint64_t n = 1; n <= 300; n++)
        for (uint32_t epoch = 0; epoch < 3; epoch++) assert_bijection(n, 1234567 * n, epoch);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        assert_bijection(large[i], UINT64_MAX - i, UINT32_MAX);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Too many to go through: some thousand of them stay apart, in range, and in no order. */
static void a_permutation_may_be_huge(void **state)
{
    enum { SOME = 4000 };
    static const uint64_t sizes[] = {UINT64_C(1) << 32, (UINT64_C(1) << 40) + 1,
                                     (UINT64_C(1) << 62) - 1};
    static uint64_t to[SOME];

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int rising = 0;

        for (uint64_t i = 0; i < SOME; i++) {
            to[i] = ms_loader_permute(i < SOME / 2 ? i : sizes[k] - 1 - i, sizes[k], 5, 6);
            assert_true(to[i] < sizes[k]);
            rising += i > 0 && to[i] > to[i - 1];
        }
        assert_in_range(rising, SOME * 45 / 100, SOME * 55 / 100);
        qsort(to, SOME, sizeof *to, by_value);
        for (int i = 1; i < SOME; i++) assert_true(to[i] != to[i - 1]);
        for (int i = 0; i < 4; i++) /* a quarter of them in each quarter: all bits are mixed */
            assert_in_range(to[(2 * i + 1) * SOME / 8] / (sizes[k] / 4 + 1), i, i);
    }
}

static const struct {
    const char *what;
    uint64_t seed;
    uint32_t epoch;
} ORDERS[] = {
    {"a seed", 1, 0},   {"another", 2, 0},      {"the upper half", UINT64_C(1) << 32 | 1, 0},
    {"an epoch", 1, 1}, {"the next one", 1, 2},
};

/* Two of the orders share few places, and each shares few with no shuffling at all. */
static void seeds_and_epochs_differ(void **state)
{
    enum { N = 1000, MOST = 12, ROWS = sizeof ORDERS / sizeof *ORDERS }; /* one is expected */

    (void)state;
    for (int a = 0; a < ROWS; a++)
        for (int b = a; b < ROWS; b++) {
            int same = 0;

            for (uint64_t i = 0; i < N; i++) {
                uint64_t x = ms_loader_permute(i, N, ORDERS[a].seed, ORDERS[a].epoch);

                same +=
                    x == (a == b ? i : ms_loader_permute(i, N, ORDERS[b].seed, ORDERS[b].epoch));
            }
            if (same > MOST) fail_msg("%s and %s share %d", ORDERS[a].what, ORDERS[b].what, same);
        }
}

/* -- samples --------------------------------------------------------------------------------- */

static const struct {
    int tokens, rows;
} SHAPES[] = {{2, 1},  {3, 1},  {9, 8},   {10, 8},    {15, 8},  {16, 8},
              {17, 8}, {18, 8}, {103, 7}, {1000, 10}, {64, 63}, {500, 1}};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES };

/* Where the next sample starts; its targets are its ids one further. */
static int next_start(ms_loader *l)
{
    int32_t id[MOST_ROWS], target[MOST_ROWS];

    ms_loader_next(l, id, target);
    for (int t = 0; t < l->rows; t++) {
        assert_int_equal(id[t], id[0] + t);
        assert_int_equal(target[t], id[t] + 1);
    }
    assert_true((uint64_t)(id[0] + l->rows) < l->shard->tokens);
    return id[0];
}

static ms_loader new_loader(const ms_shard *s, int rows, uint64_t seed)
{
    ms_loader l;
    ms_error err;

    must(ms_loader_init(&l, s, rows, seed, &err), &err);
    return l;
}

/* W windows side by side from an offset below T, each once, for as many epochs as asked. */
static void every_window_comes_once_an_epoch(void **state)
{
    enum { EPOCHS = 30 };

    for (int k = 0; k < SHAPE_COUNT; k++) {
        ms_shard s = count_up(in(state, "x"), SHAPES[k].tokens);
        ms_loader l = new_loader(&s, SHAPES[k].rows, 77);
        int T = SHAPES[k].rows, offsets = 0;
        bool met[MOST_ROWS] = {false};

        for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
            uint8_t *seen = test_calloc((size_t)SHAPES[k].tokens, 1);
            int first = next_start(&l), windows = (SHAPES[k].tokens - 1 - first % T) / T;

            assert_int_equal(l.epoch, epoch);
            if (windows == 0) fail_msg("no window behind offset %d", first % T);
            seen[first] = 1;
            for (int i = 1; i < windows; i++) {
                int at = next_start(&l);

                assert_int_equal(l.epoch, epoch);
                assert_int_equal(at % T, first % T);
                assert_int_equal(seen[at]++, 0);
            }
            offsets += !met[first % T];
            met[first % T] = true;
            test_free(seen);
        }
        /* where there is room the offset moves, over most of [0, T) in 30 epochs */
        if (SHAPES[k].tokens >= 10 * T && T > 1) assert_true(offsets > T / 2);
        ms_shard_close(&s);
    }
}

/* A loader that seeks goes on as one that went there, and as one that went elsewhere before. */
static void to_seek_is_to_draw(void **state)
{
    enum { DRAWS = 400 };
    int start[DRAWS + 3];

    for (int k = 0; k < SHAPE_COUNT; k++) {
        ms_shard s = count_up(in(state, "x"), SHAPES[k].tokens);
        ms_loader l = new_loader(&s, SHAPES[k].rows, 3), other = l;

        for (int i = 0; i < DRAWS + 3; i++) start[i] = next_start(&l);
        assert_int_equal(l.drawn, DRAWS + 3);
        for (int i = DRAWS; i >= 0; i--) { /* backwards, too */
            ms_loader_seek(&other, (uint64_t)i);
            for (int n = 0; n < 3; n++) assert_int_equal(next_start(&other), start[i + n]);
            assert_int_equal(other.drawn, i + 3);
        }
        ms_loader_seek(&l, 100000);
        ms_loader_seek(&other, 99990);
        for (int i = 0; i < 10; i++) next_start(&other);
        assert_int_equal(next_start(&l), next_start(&other));
        assert_int_equal(l.epoch, other.epoch);
        assert_int_equal(l.epoch_first, other.epoch_first);
        ms_shard_close(&s);
    }
}

static void loaders_of_other_seeds_differ(void **state)
{
    ms_shard s = count_up(in(state, "x"), 1000);
    ms_loader a = new_loader(&s, 10, 1), b = new_loader(&s, 10, 2), again = new_loader(&s, 10, 1);
    int same = 0;

    for (int i = 0; i < 500; i++) {
        int at = next_start(&a);

        same += at == next_start(&b);
        assert_int_equal(at, next_start(&again));
    }
    assert_true(same < 25);
    ms_shard_close(&s);
}

/* T + 1 tokens are one window; fewer are refused with both numbers. */
static void a_short_text_is_refused(void **state)
{
    static const int tokens[] = {0, 1, 8};
    ms_error err;
    ms_loader l;
    ms_shard s = count_up(in(state, "x"), 9);

    l = new_loader(&s, 8, 1);
    for (int i = 0; i < 20; i++) assert_int_equal(next_start(&l), 0);
    ms_shard_close(&s);
    for (int i = 0; i < 3; i++) {
        char text[64];

        s = count_up(in(state, "x"), tokens[i]);
        snprintf(text, sizeof text, "has %d tokens, a context of 8 needs at least 9", tokens[i]);
        must_fail("short", ms_loader_init(&l, &s, 8, 1, &err), MS_INPUT, &err, text);
        ms_shard_close(&s);
    }
}

/* -- evaluation ------------------------------------------------------------------------------ */

/* In order, without gaps: every token but the first is a target once, and none behind the end. */
static void evaluation_sees_every_token_once(void **state)
{
    enum { TOKENS = 40, ROWS = 11 };

    for (int tokens = 0; tokens < TOKENS; tokens++) {
        ms_shard s = count_up(in(state, "x"), tokens);

        for (int T = 1; T < ROWS; T++) {
            uint64_t windows = ms_loader_windows(&s, T);
            int next = 1;

            assert_int_equal(windows, tokens < 2 ? 0 : (tokens - 1 + T - 1) / T);
            for (uint64_t i = 0; i < windows; i++) {
                int32_t id[ROWS], target[ROWS];

                ms_loader_window(&s, T, i, id, target);
                for (int t = 0; t < T; t++) {
                    assert_in_range(id[t], 0, tokens - 1); /* also where it does not count */
                    assert_int_equal(target[t], next < tokens ? next : -1);
                    if (next < tokens) assert_int_equal(id[t], next++ - 1);
                }
            }
            assert_int_equal(next, tokens > 1 ? tokens : 1);
        }
        ms_shard_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_permutation_is_one),    cmocka_unit_test(a_permutation_may_be_huge),
        cmocka_unit_test(seeds_and_epochs_differ), SCRATCH_TEST(every_window_comes_once_an_epoch),
        SCRATCH_TEST(to_seek_is_to_draw),          SCRATCH_TEST(loaders_of_other_seeds_differ),
        SCRATCH_TEST(a_short_text_is_refused),     SCRATCH_TEST(evaluation_sees_every_token_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
