/* Philox against the known answers of Random123 (kat_vectors); the stream of the host lies where
 * rng.h says; ranges, moments.  Seeds are fixed: a test never fails by luck. */
#include "base/rng.h"

#include "scratch.h"

enum { DRAWS = 1000000 };

static void philox_gives_the_known_answers(void **state)
{
    static const struct {
        uint32_t key[2], counter[4], word[4];
    } row[] = {
        {{0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0xa4093822, 0x299f31d0},
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        const uint32_t *c = row[i].counter;
        ms_philox_block b = ms_philox(row[i].key, c[0], c[1], c[2], c[3]);

        assert_memory_equal(b.word, row[i].word, sizeof b.word);
    }
}

/* Draw d is word d % 4 of the block { d / 4 low, stream, d / 4 high, site }. */
static void a_draw_is_a_word_of_its_block(void **state)
{
    static const uint64_t at[] = {0, 1, 3, 1000003, UINT64_C(1) << 34, UINT64_MAX / 8};
    const uint32_t key[] = {0x89abcdef, 0x01234567}, site = (uint32_t)MS_SITE_TEST;

    (void)state;
    for (size_t i = 0; i < COUNT(at); i++) {
        ms_rng r = ms_rng_new(UINT64_C(0x0123456789abcdef), 77, MS_SITE_TEST);

        r.drawn = at[i];
        for (uint64_t d = at[i]; d < at[i] + 9; d++) {
            uint32_t low = (uint32_t)(d / 4), high = (uint32_t)(d / 4 >> 32);

            assert_int_equal(ms_rng_u32(&r), ms_philox(key, low, 77, high, site).word[d % 4]);
        }
    }
}

static void uniform_numbers_are_below_one(void **state)
{
    ms_rng r = ms_rng_new(3, 0, MS_SITE_TEST);
    double sum = 0, squares = 0, least = 1, most = 0;

    (void)state;
    assert_true(ms_uniform(255) == 0 && ms_uniform(256) == 0x1p-24f);
    assert_true(ms_uniform(UINT32_MAX) == 1 - 0x1p-24f);
    for (int i = 0; i < DRAWS; i++) {
        double u = ms_rng_uniform(&r);

        assert_true(u >= 0 && u < 1);
        least = fmin(least, u);
        most = fmax(most, u);
        sum += u / DRAWS;
        squares += (u - 0.5) * (u - 0.5) / DRAWS;
    }
    assert_true(least < 1e-5 && most > 1 - 1e-5);
    assert_true(fabs(sum - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
    assert_true(fabs(squares - 1.0 / 12) < 5 * sqrt(1.0 / 180 / DRAWS));
}

/* Chi square of b bins is below b - 1 + 5 sqrt(2 b).  Large bounds are binned by the remainder of
 * 3: without its rejection, 3 * 2^30 would have 1/2, 1/4 and 1/4. */
static void whole_numbers_below_a_bound_are_even(void **state)
{
    static const uint32_t bound[] = {1, 2, 3, 7, 100, 256, UINT32_MAX, 3u << 30, (1u << 31) + 1};
    ms_rng r = ms_rng_new(4, 0, MS_SITE_TEST);

    (void)state;
    for (size_t i = 0; i < COUNT(bound); i++) {
        uint32_t bins = bound[i] > 256 ? 3 : bound[i];
        double bin[256] = {0}, expected = (double)DRAWS / bins, chi = 0;

        for (int k = 0; k < DRAWS; k++) {
            uint32_t x = ms_rng_below(&r, bound[i]);

            assert_true(x < bound[i]);
            bin[x % bins]++;
        }
        for (uint32_t k = 0; k < bins; k++)
            chi += (bin[k] - expected) * (bin[k] - expected) / expected;
        assert_true(chi <= bins - 1 + 5 * sqrt(2.0 * bins));
    }
}

/* Moments of a normal, with the variances of their estimates; neighbours are not correlated. */
static void normals_have_the_moments_of_normals(void **state)
{
    static const double expected[] = {0, 1, 0, 3}, variance[] = {1, 2, 15, 96};
    ms_rng r = ms_rng_new(5, 0, MS_SITE_TEST);
    double moment[4] = {0}, neighbours = 0, before = 0;

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        double x = ms_rng_normal(&r), power = x;

        assert_true(isfinite(x));
        for (int k = 0; k < 4; k++, power *= x) moment[k] += power / DRAWS;
        neighbours += x * before / DRAWS;
        before = x;
    }
    for (int k = 0; k < 4; k++)
        assert_true(fabs(moment[k] - expected[k]) < 5 * sqrt(variance[k] / DRAWS));
    assert_true(fabs(neighbours) < 5 / sqrt(DRAWS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(a_draw_is_a_word_of_its_block),
        cmocka_unit_test(uniform_numbers_are_below_one),
        cmocka_unit_test(whole_numbers_below_a_bound_are_even),
        cmocka_unit_test(normals_have_the_moments_of_normals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
