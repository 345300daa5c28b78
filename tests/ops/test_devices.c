/* Devices by name, their memory, the first error of a queue, conversion of reals. */
#include "base/half.h"
#include "ops/cases/call.h"
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

/* Of every case of linear_stored; whoever reads w as the file has it fails, since that is gone. */
static void kept_cases_of(ms_device *d)
{
    ms_case c;

    for (int i = 0; ms_case_get(MS_OP_linear_stored, i, &c); i++) {
        ms_linear_stored_args *a = &c.args.linear_stored, kept;
        ms_call call = {0};
        size_t y_bytes = ms_tensor_bytes(a->y), bytes;
        ms_error err = {0};
        char *want;
        void *room;

        if (c.slow) continue;
        assert_int_equal(ms_call_open(&call, &c, d, 0, &err), MS_OK);
        assert_int_equal(ms_call_fill(&call, MS_FILL_NORMAL, &err), MS_OK);
        assert_int_equal(ms_call_run(&call, &call.c.args, &err), MS_OK);
        want = malloc(call.size_bytes);
        assert_non_null(want);
        memcpy(want, call.result, call.size_bytes);

        kept = call.c.args.linear_stored;
        kept.kept = true;
        assert_int_equal(ms_call_start(&call, &err), MS_OK);
        bytes = ms_device_kept_bytes(d, kept.w);
        assert_true(bytes >= ms_tensor_bytes(a->w));
        assert_int_equal(ms_device_alloc(d, bytes, &room, &err), MS_OK);
        kept.w = ms_device_keep(d, room, kept.w);
        memset(call.c.args.linear_stored.w.data, 0xff, ms_tensor_bytes(a->w));
        assert_int_equal(ms_call_step(&call, (const ms_any_args *)(const void *)&kept, &err),
                         MS_OK);
        if (memcmp(want + call.at[0], kept.y.data, y_bytes))
            fail_msg("%s, %s: other bits with kept weights", d->name, c.label);
        ms_device_free(d, room, bytes);
        ms_call_close(&call);
        free(want);
    }
}

static void kept_weights_give_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; ms_device_list(i); i++) {
        ms_device *d = NULL;
        ms_error err = {0};

        assert_int_equal(
            ms_device_open(&d, ms_device_list(i), &(ms_device_options){.threads = 2}, &err), MS_OK);
        if (d->keep) kept_cases_of(d);
        ms_device_close(d);
    }
}

static void a_device_that_keeps_nothing_says_so(void **state)
{
    ms_device *d = NULL;
    ms_error err = {0};
    float w[4] = {1, 2, 3, 4};
    ms_tensor t = MS_TENSOR(w, MS_F32, 2, 2);
    double y[2], x[2] = {1, 1};
    ms_queue q = {0};

    (void)state;
    assert_int_equal(ms_device_open(&d, "ref", &(ms_device_options){0}, &err), MS_OK);
    assert_int_equal(ms_device_kept_bytes(d, t), 0);
    q.device = d;
    op(&q, linear_stored, .y = MS_TENSOR(y, MS_F64, 1, 2), .x = MS_TENSOR(x, MS_F64, 1, 2), .w = t,
       .kept = true);
    assert_int_equal(ms_queue_finish(&q, &err), MS_UNSUPPORTED);
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
        cmocka_unit_test(kept_weights_give_the_same_bits),
        cmocka_unit_test(a_device_that_keeps_nothing_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
