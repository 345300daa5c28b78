/* Devices by name, their memory, the first error of a queue, conversion of reals. */
#include "base/half.h"
#include "ops/ops.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void every_listed_device_opens_under_its_name(void **state)
{
    int count = 0;

    (void)state;
    for (const char *name; (name = ms_device_list(count)); count++) {
        ms_device *d = NULL;
        ms_error err = {0};

        assert_int_equal(ms_device_open(&d, name, &(ms_device_options){.threads = 1}, &err), MS_OK);
        assert_string_equal(d->name, name);
        assert_non_null(d->about);
        assert_int_equal(d->real, strcmp(name, "ref") == 0 ? MS_F64 : MS_F32);
        ms_device_close(d);
    }
    assert_true(count >= 2);
    assert_string_equal(ms_device_list(count - 1), "ref");
    assert_null(ms_device_list(count + 1));
}

static void automatic_is_the_best_cpu(void **state)
{
    static const char *const names[] = {"auto", "cpu"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        ms_device *d = NULL;

        assert_int_equal(ms_device_open(&d, names[i], NULL, NULL), MS_OK);
        assert_string_equal(d->name, ms_device_list(0));
        ms_device_close(d);
    }
    ms_device_close(NULL);
}

static void unknown_names_are_refused(void **state)
{
    static const char *const names[] = {"", "gpu", "cpu:", "cpu:z80", "ref:1", "cpux", "REF"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ms_device *d = NULL;
        ms_error err = {0};

        assert_int_equal(ms_device_open(&d, names[i], NULL, &err), MS_INPUT);
        assert_int_equal(err.status, MS_INPUT);
        assert_non_null(strstr(err.message, "no such backend"));
        assert_null(d);
    }
}

static void memory_is_zeroed_aligned_and_counted(void **state)
{
    (void)state;
    for (int i = 0; ms_device_list(i); i++) {
        ms_device *d = NULL;
        void *p = NULL, *none = NULL;

        assert_int_equal(ms_device_open(&d, ms_device_list(i), NULL, NULL), MS_OK);
        assert_int_equal(ms_device_alloc(d, 1000, &p, NULL), MS_OK);
        assert_int_equal(ms_device_alloc(d, 0, &none, NULL), MS_OK);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (int k = 0; k < 1000; k++) assert_int_equal(((char *)p)[k], 0);
        assert_int_equal(d->allocations, 2);
        assert_int_equal(d->allocated_bytes, 1000);
        ms_device_free(d, p, 1000);
        ms_device_free(d, none, 0);
        ms_device_free(d, NULL, 5);
        assert_int_equal(d->allocated_bytes, 0);
        ms_device_close(d);
    }
}

static void memory_that_does_not_exist_is_an_error(void **state)
{
    ms_device *d = NULL;
    ms_error err = {0};
    void *p = NULL;

    (void)state;
    assert_int_equal(ms_device_open(&d, "ref", NULL, NULL), MS_OK);
    assert_int_equal(ms_device_alloc(d, SIZE_MAX, &p, &err), MS_MEMORY);
    assert_int_equal(d->allocations, 0);
    assert_null(p);
    ms_device_close(d);
}

/* After the first error nothing runs and nothing is copied; finish tells it once. */
static void the_first_error_sticks(void **state)
{
    ms_device *d = NULL;
    double x[4] = {1, 2, 3, 4}, y[4] = {0};
    ms_tensor t = MS_TENSOR(x, MS_F64, 4);
    ms_error err = {0};

    (void)state;
    assert_int_equal(ms_device_open(&d, "ref", NULL, NULL), MS_OK);
    ms_queue q = {.device = d};
    ms_queue_fail(&q, MS_DEVICE, "first %d", 1);
    ms_queue_fail(&q, MS_INPUT, "second");
    op(&q, zero, .x = t);
    ms_queue_copy(&q, x, y, sizeof x);
    ms_queue_upload(&q, x, y, sizeof x);
    ms_read_reals(&q, t, y);
    assert_true(x[0] == 1 && y[0] == 0);
    assert_int_equal(ms_queue_finish(&q, &err), MS_DEVICE);
    assert_string_equal(err.message, "first 1");
    assert_int_equal(ms_queue_finish(&q, &err), MS_OK);
    op(&q, zero, .x = t);
    assert_true(x[0] == 0 && x[3] == 0);
    ms_device_close(d);
}

/* More elements than one piece of the conversion, and not a multiple of it. */
enum { COUNT = 1200 };

static void reals_of_every_type_come_back(void **state)
{
    static const ms_dtype types[] = {MS_F64, MS_F32, MS_BF16, MS_F16};
    ms_device *d = NULL;
    double in[COUNT], out[COUNT], room[COUNT];
    float in_float[COUNT], out_float[COUNT];

    (void)state;
    assert_int_equal(ms_device_open(&d, "ref", NULL, NULL), MS_OK);
    ms_queue q = {.device = d};
    for (int i = 0; i < COUNT; i++) {
        in[i] = (i % 250 - 125) / 8.0; /* 8 bits: exact in all types */
        in_float[i] = (float)in[i];
    }
    for (int k = 0; k < 4; k++) {
        ms_tensor t = MS_TENSOR(room, types[k], COUNT);

        memset(room, 0xff, sizeof room);
        ms_write_reals(&q, t, in);
        ms_read_reals(&q, t, out);
        ms_read_floats(&q, t, out_float);
        assert_memory_equal(out, in, sizeof in);
        assert_memory_equal(out_float, in_float, sizeof in_float);
        memset(room, 0xff, sizeof room);
        ms_write_floats(&q, t, in_float);
        ms_read_reals(&q, t, out);
        assert_memory_equal(out, in, sizeof in);
    }
    ms_read_reals(&q, MS_TENSOR(room, MS_I32, 2), out);
    assert_int_equal(ms_queue_finish(&q, NULL), MS_INPUT);
    ms_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_listed_device_opens_under_its_name),
        cmocka_unit_test(automatic_is_the_best_cpu),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(memory_is_zeroed_aligned_and_counted),
        cmocka_unit_test(memory_that_does_not_exist_is_an_error),
        cmocka_unit_test(the_first_error_sticks),
        cmocka_unit_test(reals_of_every_type_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
