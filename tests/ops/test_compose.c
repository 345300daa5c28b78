/* Composed slots give what the slots of the reference give, with the aliases they allow as well. */
#include "base/rng.h"
#include "ops/ops.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

enum { N = 3, C = 5, COUNT = N * C };

/* Operands of one call, refilled the same way each time. */
typedef struct {
    double r[COUNT], y[COUNT], x[COUNT], f[COUNT], stat[2 * N], w[C], b[C], dw[C], db[C];
} room;

static ms_device *device;
static const ms_step step = {.seed = {1, 2}, .counter = 3};
static const ms_drop drop = {.p = 0.4f, .site = 7};

static int open_device(void **state)
{
    (void)state;
    return ms_device_open(&device, "ref", NULL, NULL);
}

static int close_device(void **state)
{
    (void)state;
    ms_device_close(device);
    return 0;
}

static ms_queue queue_of(void)
{
    return (ms_queue){.device = device, .step = &step};
}

static room filled(void)
{
    room m;
    double *value = (double *)&m;
    ms_rng rng = ms_rng_new(11, 0, MS_SITE_TEST);

    for (size_t i = 0; i < sizeof m / sizeof *value; i++) value[i] = ms_rng_normal(&rng);
    return m;
}

static ms_tensor rows(double *x)
{
    return MS_TENSOR(x, MS_F64, N, C);
}

static ms_tensor vector(double *x)
{
    return MS_TENSOR(x, MS_F64, C);
}

static void assert_same(const double *a, const double *b, int n)
{
    for (int i = 0; i < n; i++) assert_true(fabs(a[i] - b[i]) <= 1e-13 * (1 + fabs(a[i])));
}

static void composed_add_norm_fwd(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bool rms = variant & 1, r_on_x = variant & 2, y_on_f = variant & 4;
        room own = filled(), composed = filled();
        ms_queue q = queue_of();
        double *r = r_on_x ? composed.x : composed.r, *y = y_on_f ? composed.f : composed.y;

        op(&q, add_norm_fwd, .r = rows(own.r), .y = rows(own.y),
           .stat = MS_TENSOR(own.stat, MS_F64, N, 2), .x = rows(own.x), .f = rows(own.f),
           .w = vector(own.w), .b = vector(own.b), .eps = 1e-5, .rms = rms, .drop = drop);
        ms_composed_add_norm_fwd(
            &q, &(ms_add_norm_fwd_args){.r = rows(r),
                                        .y = rows(y),
                                        .stat = MS_TENSOR(composed.stat, MS_F64, N, 2),
                                        .x = rows(composed.x),
                                        .f = rows(composed.f),
                                        .w = vector(composed.w),
                                        .b = vector(composed.b),
                                        .eps = 1e-5,
                                        .rms = rms,
                                        .drop = drop});
        assert_int_equal(ms_queue_finish(&q, NULL), MS_OK);
        assert_same(own.r, r, COUNT);
        assert_same(own.y, y, COUNT);
        assert_same(own.stat, composed.stat, 2 * N);
    }
}

static void composed_add_norm_bwd(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bool rms = variant & 1, accumulate = variant & 2, df_on_dy = variant & 4;
        room own = filled(), composed = filled();
        ms_queue q = queue_of();
        ms_tensor stat = MS_TENSOR(own.stat, MS_F64, N, 2);
        double *df = df_on_dy ? composed.f : composed.y;

        op(&q, add_norm_bwd, .dr = rows(own.r), .df = rows(own.y), .dw = vector(own.dw),
           .db = vector(own.db), .dy = rows(own.f), .r = rows(own.x), .stat = stat,
           .w = vector(own.w), .rms = rms, .accumulate = accumulate, .drop = drop);
        ms_composed_add_norm_bwd(&q, &(ms_add_norm_bwd_args){.dr = rows(composed.r),
                                                             .df = rows(df),
                                                             .dw = vector(composed.dw),
                                                             .db = vector(composed.db),
                                                             .dy = rows(composed.f),
                                                             .r = rows(composed.x),
                                                             .stat = stat,
                                                             .w = vector(composed.w),
                                                             .rms = rms,
                                                             .accumulate = accumulate,
                                                             .drop = drop});
        assert_int_equal(ms_queue_finish(&q, NULL), MS_OK);
        assert_same(own.r, composed.r, COUNT);
        assert_same(own.y, df, COUNT);
        assert_same(own.dw, composed.dw, C);
        assert_same(own.db, composed.db, C);
    }
}

static void a_table_tells_what_is_composed(void **state)
{
    ms_ops_table table = *device->ops;

    (void)state;
    for (int o = 0; o < MS_OP_COUNT; o++) assert_false(ms_op_is_composed(&table, (ms_op)o));
    table.add_norm_fwd = ms_composed_add_norm_fwd;
    assert_true(ms_op_is_composed(&table, MS_OP_add_norm_fwd));
    assert_false(ms_op_is_composed(&table, MS_OP_add_norm_bwd));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composed_add_norm_fwd),
        cmocka_unit_test(composed_add_norm_bwd),
        cmocka_unit_test(a_table_tells_what_is_composed),
    };

    return cmocka_run_group_tests(tests, open_device, close_device);
}
