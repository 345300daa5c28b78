/* stored - rows of linear_stored: every type at one shape, then shapes */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int N, I, O, Y, at;
    ms_dtype dtype;
    bool bench;
} row;

static const row rows[] = {
    {1, 32, 1, 1, 0, MS_Q8_0, 0},
    {2, 5, 3, 9, 6, MS_BF16, 0},
    {3, 7, 4, 4, 0, MS_F16, 0},
    {4, 19, 6, 7, 1, MS_F32, 0},
    {7, 96, 33, 40, 7, MS_Q4_1, 0},
    {1, 608, 131, 131, 0, MS_Q4_0, 0},
    {70, 64, 9, 30, 21, MS_Q5_1, 0},
    {1, 20000, 5, 5, 0, MS_Q8_0, 0},
    {33, 512, 65, 70, 5, MS_Q6_K, 0},
    /* SmolLM2 135M: feed-forward, one token and a prompt */
    {1, 576, 1536, 1536, 0, MS_F16, 1},
    {1, 576, 1536, 1536, 0, MS_Q8_0, 1},
    {1, 576, 1536, 1536, 0, MS_Q4_1, 1},
    {64, 576, 1536, 1536, 0, MS_Q4_1, 1},
    {1, 2048, 2048, 2048, 0, MS_Q4_K, 1},
    {1, 2048, 2048, 2048, 0, MS_Q6_K, 1},
};
enum { ROWS = sizeof rows / sizeof *rows, FIRST_TYPE = MS_Q8_0 };

static bool row_of(int i, row *r)
{
    if (i < ROWS) {
        *r = rows[i];
        return true;
    }
    i += FIRST_TYPE - ROWS;
    *r = (row){5, 512, 11, 13, 1, (ms_dtype)i, 0};
    return i < MS_DTYPE_COUNT;
}

bool ms_cases_stored(ms_op o, int i, ms_case *c)
{
    row r;

    (void)o;
    if (!row_of(i, &r)) return false;
    c->args.linear_stored = (ms_linear_stored_args){
        .y = MS_CASE_REAL(r.N, r.Y),
        .x = MS_CASE_REAL(r.N, r.I),
        .w = ms_tensor_make(NULL, r.dtype, 2, (const int[]){r.O, r.I}),
        .b = MS_CASE_REAL_IF(i % 2, r.O),
        .at = r.at,
    };
    c->bound[0] = ms_case_sum(r.I);
    c->flops = 2.0 * r.N * r.I * r.O;
    c->bench = r.bench;
    snprintf(c->label, sizeof c->label, "N=%d I=%d O=%d of %d %s%s", r.N, r.I, r.O, r.Y,
             ms_dtype_name(r.dtype), i % 2 ? " b" : "");
    return true;
}
