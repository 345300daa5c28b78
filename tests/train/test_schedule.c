/* Learning rates of every schedule against numbers worked out by hand, and the edges: one step, no
 * warm-up, warm-up past the end, no decay. */
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROW_STEPS = 12 };

/* kind, lr, min_lr, warmup, steps, decay; the rate of each step. */
typedef struct {
    const char *what;
    ms_schedule s;
    double want[ROW_STEPS];
} row;

/* lr 1, min_lr 0.2 unless the row says otherwise. */
static const row rows[] = {
    {"constant", {MS_SCHEDULE_CONSTANT, 1, 0.2, 0, 3, 0}, {1, 1, 1}},
    {"constant with warm-up", {MS_SCHEDULE_CONSTANT, 1, 0.2, 4, 6, 0}, {0.25, 0.5, 0.75, 1, 1, 1}},
    {"linear", {MS_SCHEDULE_LINEAR, 1, 0.2, 0, 5, 0}, {1, 0.8, 0.6, 0.4, 0.2}},
    {"linear with warm-up", {MS_SCHEDULE_LINEAR, 1, 0.2, 2, 7, 0}, {0.5, 1, 1, 0.8, 0.6, 0.4, 0.2}},
    {"linear to 0", {MS_SCHEDULE_LINEAR, 3, 0, 0, 4, 0}, {3, 2, 1, 0}},
    /* cos of 0, 60, 120, 180 degrees: 1, 1/2, -1/2, -1 */
    {"cosine", {MS_SCHEDULE_COSINE, 1, 0.2, 0, 4, 0}, {1, 0.8, 0.4, 0.2}},
    {"cosine with warm-up", {MS_SCHEDULE_COSINE, 1, 0.2, 2, 6, 0}, {0.5, 1, 1, 0.8, 0.4, 0.2}},
    {"cosine of 45 degrees",
     {MS_SCHEDULE_COSINE, 1, 0, 0, 5, 0},
     {1, 0.8535533905932737, 0.5, 0.1464466094067263, 0}},
    /* lr * sqrt(4 / (step + 1)): 2/3 at step 8 */
    {"rsqrt",
     {MS_SCHEDULE_RSQRT, 1, 0.2, 4, 9, 0},
     {0.25, 0.5, 0.75, 1, 0.8944271909999159, 0.816496580927726, 0.7559289460184544,
      0.7071067811865476, 0.6666666666666666}},
    {"rsqrt without warm-up",
     {MS_SCHEDULE_RSQRT, 1, 0.4, 0, 9, 0},
     {1, 0.7071067811865476, 0.5773502691896258, 0.5, 0.4472135954999579, 0.408248290463863, 0.4,
      0.4, 0.4}},
    {"wsd", {MS_SCHEDULE_WSD, 1, 0.2, 0, 8, 4}, {1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2}},
    {"wsd with warm-up", {MS_SCHEDULE_WSD, 1, 0.2, 2, 6, 2}, {0.5, 1, 1, 1, 0.6, 0.2}},
    {"wsd, decay of one step", {MS_SCHEDULE_WSD, 1, 0.2, 0, 3, 1}, {1, 1, 0.2}},
    {"wsd, no decay", {MS_SCHEDULE_WSD, 1, 0.2, 1, 4, 0}, {1, 1, 1, 1}},
    {"wsd, decay of all steps", {MS_SCHEDULE_WSD, 1, 0.2, 0, 4, 4}, {0.8, 0.6, 0.4, 0.2}},
    {"wsd, decay into the warm-up", {MS_SCHEDULE_WSD, 1, 0, 2, 4, 4}, {0.5, 1, 0.25, 0}},

    /* The only step is the last one. */
    {"constant, 1 step", {MS_SCHEDULE_CONSTANT, 1, 0.2, 0, 1, 0}, {1}},
    {"linear, 1 step", {MS_SCHEDULE_LINEAR, 1, 0.2, 0, 1, 0}, {0.2}},
    {"cosine, 1 step", {MS_SCHEDULE_COSINE, 1, 0.2, 0, 1, 0}, {0.2}},
    {"rsqrt, 1 step", {MS_SCHEDULE_RSQRT, 1, 0.2, 0, 1, 0}, {1}},
    {"wsd, 1 step", {MS_SCHEDULE_WSD, 1, 0.2, 0, 1, 1}, {0.2}},
    {"cosine, 1 step of warm-up", {MS_SCHEDULE_COSINE, 1, 0.2, 1, 1, 0}, {1}},

    /* Warm-up as long as the run, and longer. */
    {"linear, all warm-up", {MS_SCHEDULE_LINEAR, 1, 0.2, 4, 4, 0}, {0.25, 0.5, 0.75, 1}},
    {"cosine, all warm-up", {MS_SCHEDULE_COSINE, 1, 0.2, 4, 4, 0}, {0.25, 0.5, 0.75, 1}},
    {"rsqrt, all warm-up", {MS_SCHEDULE_RSQRT, 1, 0.2, 4, 4, 0}, {0.25, 0.5, 0.75, 1}},
    {"wsd, all warm-up", {MS_SCHEDULE_WSD, 1, 0.2, 4, 4, 2}, {0.25, 0.5, 0.75, 1}},
    {"constant, warm-up past the end", {MS_SCHEDULE_CONSTANT, 1, 0.2, 8, 2, 0}, {0.125, 0.25}},
    {"linear, one step behind the warm-up", {MS_SCHEDULE_LINEAR, 1, 0.2, 2, 3, 0}, {0.5, 1, 0.2}},
};

enum { ROWS = sizeof rows / sizeof *rows };

static void rates_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++)
        for (int64_t step = 0; step < rows[i].s.steps; step++) {
            double got = ms_schedule_rate(&rows[i].s, step), want = rows[i].want[step];

            if (!(fabs(got - want) <= 1e-15))
                fail_msg("%s: rate of step %d is %.17g, by hand %.17g", rows[i].what, (int)step,
                         got, want);
        }
}

/* A rate scales with lr and min_lr, never leaves [min_lr, lr] behind the warm-up, never rises. */
static void rates_fall_between_their_ends(void **state)
{
    (void)state;
    for (int kind = 0; kind < MS_SCHEDULE_COUNT; kind++)
        for (int warmup = 0; warmup < 1000; warmup += 333) {
            ms_schedule s = {(ms_schedule_kind)kind, 3e-4, 3e-5, warmup, 1000, 200};
            ms_schedule scaled = {s.kind, 3e-1, 3e-2, warmup, 1000, 200};
            double before = s.lr;

            for (int64_t step = 0; step < s.steps; step++) {
                double rate = ms_schedule_rate(&s, step), other = ms_schedule_rate(&scaled, step);

                assert_true(fabs(1000 * rate - other) <= 1e-13);
                assert_true(rate > 0 && rate <= s.lr);
                if (step < warmup) continue;
                assert_true(rate >= s.min_lr * (1 - 1e-15) && rate <= before);
                before = rate;
            }
        }
}

static void names_are_found_both_ways(void **state)
{
    static const char *const want[] = {"constant", "linear", "cosine", "rsqrt", "wsd"};
    ms_schedule_kind kind;
    ms_error err;

    (void)state;
    assert_int_equal(MS_SCHEDULE_COUNT, sizeof want / sizeof *want);
    for (int i = 0; i < MS_SCHEDULE_COUNT; i++) {
        assert_string_equal(ms_schedule_name((ms_schedule_kind)i), want[i]);
        assert_int_equal(ms_schedule_find(want[i], &kind, &err), MS_OK);
        assert_int_equal(kind, i);
    }
    assert_int_equal(ms_schedule_find("cosin", &kind, &err), MS_INPUT);
    assert_non_null(strstr(err.message, "\"cosin\""));
    assert_int_equal(ms_schedule_find("", &kind, NULL), MS_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_those_worked_out_by_hand),
        cmocka_unit_test(rates_fall_between_their_ends),
        cmocka_unit_test(names_are_found_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
