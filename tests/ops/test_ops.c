/* Names and operands by reflection; the words of a refused call. */
#include "ops/ops.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

static void names_are_those_of_the_list(void **state)
{
    (void)state;
#define NAMED(name) assert_string_equal(ms_op_name(MS_OP_##name), #name);
    MS_OPS(NAMED)
    assert_string_equal(ms_op_name(MS_OP_COUNT), "unknown op");
    assert_string_equal(ms_act_name(MS_ACT_GELU_TANH), "gelu_tanh");
    assert_string_equal(ms_act_name(MS_ACT_COUNT), "unknown activation");
}

/* The tensors stand at the start of each struct, in the order of the list, without gaps. */
static void operands_are_the_tensors_of_the_struct(void **state)
{
    (void)state;
    for (int o = 0; o < MS_OP_COUNT; o++) {
        int count = 0;
        const ms_operand *operand = ms_op_operands((ms_op)o, &count);

        assert_true(count > 0);
        for (int i = 0; i < count; i++)
            assert_int_equal(operand[i].offset, (size_t)i * sizeof(ms_tensor));
    }
    int count = 0;
    const ms_operand *operand = ms_op_operands(MS_OP_linear_fwd, &count);

    assert_int_equal(count, 6);
    assert_string_equal(operand[4].name, "b");
    assert_int_equal(operand[4].offset, offsetof(ms_linear_fwd_args, b));
    assert_int_equal(operand[4].role, MS_ROLE_in_opt);
    assert_null(ms_op_operands(MS_OP_COUNT, &count));
    assert_int_equal(count, 0);
}

static ms_device *device;

static void assert_refused(ms_queue *q, ms_status status, const char *message)
{
    ms_error err = {0};

    assert_int_equal(ms_queue_finish(q, &err), status);
    assert_string_equal(err.message, message);
}

static void a_refusal_names_op_operand_and_both_shapes(void **state)
{
    double room[200] = {0};
    ms_queue q = {.device = device};
    ms_tensor x = MS_TENSOR(room, MS_F64, 3, 4), y = MS_TENSOR(room + 12, MS_F64, 3, 5);
    ms_tensor w = MS_TENSOR(room + 27, MS_F64, 5, 4),
              kv = MS_TENSOR(room + 100, MS_F64, 1, 2, 3, 2);

    (void)state;
    op(&q, linear_fwd, .y = y, .x = x, .w = MS_TENSOR(room + 27, MS_F64, 5, 3));
    assert_refused(&q, MS_SHAPE, "linear_fwd: w: expected (5, 4), got (5, 3)");
    op(&q, linear_fwd, .y = y, .x = x);
    assert_refused(&q, MS_INPUT, "linear_fwd: w: missing");
    op(&q, linear_fwd, .y = y, .x = MS_TENSOR(room, MS_F32, 3, 4), .w = w);
    assert_refused(&q, MS_INPUT, "linear_fwd: x: expected f64, got f32");
    op(&q, linear_fwd, .y = y, .x = MS_TENSOR(NULL, MS_F64, 3, 4), .w = w);
    assert_refused(&q, MS_INPUT, "linear_fwd: x: has no memory");
    op(&q, linear_fwd, .y = y, .u = y, .x = x, .w = w, .act = MS_ACT_GELU);
    assert_refused(&q, MS_INPUT, "linear_fwd: u overlaps y");
    op(&q, linear_fwd, .y = y, .x = x, .w = w, .act = (ms_act)77);
    assert_refused(&q, MS_INPUT, "linear_fwd: act: no such activation: 77");
    op(&q, attention_fwd, .y = MS_TENSOR(room, MS_F64, 2, 3, 2),
       .q = MS_TENSOR(room, MS_F64, 2, 3, 2), .k = kv, .v = kv,
       .seq = MS_TENSOR(room + 150, MS_I32, 1, 2), .scale = 1);
    assert_refused(&q, MS_SHAPE, "attention_fwd: H = 3 is not a multiple of K = 2");
    op(&q, norm_fwd, .y = x, .x = x, .eps = NAN);
    assert_refused(&q, MS_INPUT, "norm_fwd: eps: expected a positive number, got nan");
    for (int i = 0; i < 200; i++) assert_true(room[i] == 0);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_list),
        cmocka_unit_test(operands_are_the_tensors_of_the_struct),
        cmocka_unit_test(a_refusal_names_op_operand_and_both_shapes),
    };

    return cmocka_run_group_tests(tests, open_device, close_device);
}
