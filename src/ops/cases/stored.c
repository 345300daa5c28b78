/* stored - rows of linear_stored: single shapes, every type at some shapes, then factors of bf16 */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int N, I, O, Y, at;
    ms_dtype dtype;
    bool bench, slow, bf16;
} row;

static const row rows[] = {
    {1, 32, 1, 1, 0, MS_Q8_0, 0, 0, 0},     {2, 5, 3, 9, 6, MS_BF16, 0, 0, 0},
    {3, 7, 4, 4, 0, MS_F16, 0, 0, 0},       {4, 19, 6, 7, 1, MS_F32, 0, 0, 0},
    {7, 96, 33, 40, 7, MS_Q4_1, 0, 0, 0},   {1, 608, 131, 131, 0, MS_Q4_0, 0, 0, 0},
    {70, 64, 9, 30, 21, MS_Q5_1, 0, 0, 0},  {1, 20000, 5, 5, 0, MS_Q8_0, 0, 0, 0},
    {33, 512, 65, 70, 5, MS_Q6_K, 0, 0, 0}, {3, 20000, 5, 5, 0, MS_F16, 0, 0, 0},
    {75, 20480, 3, 3, 0, MS_Q4_K, 0, 0, 0}, /* more of x than a thread's work memory holds */
};

/* Every stored type at each of these: few and many rows of x, whole and ragged tiles. */
static const row shapes[] = {
    {5, 512, 11, 13, 1, 0, 0, 0, 0},
    {1, 256, 35, 35, 0, 0, 0, 0, 0},
    {2, 768, 16, 20, 3, 0, 0, 0, 0},
    {23, 1280, 67, 67, 0, 0, 0, 0, 0},
    /* SmolLM2 135M, feed-forward: one token, a prompt */
    {1, 1536, 576, 576, 0, 0, 1, 1, 0},
    {512, 1536, 576, 576, 0, 0, 1, 1, 0},
};
static const ms_dtype types[] = {MS_F32,  MS_F16,  MS_BF16, MS_Q8_0, MS_Q4_0, MS_Q4_1, MS_Q5_0,
                                 MS_Q5_1, MS_Q2_K, MS_Q3_K, MS_Q4_K, MS_Q5_K, MS_Q6_K};
/* Factors of bf16: types whose x is not rounded otherwise, at all shapes. */
static const ms_dtype types_bf16[] = {MS_F32, MS_F16, MS_BF16, MS_Q2_K, MS_Q3_K};
enum {
    ROWS = sizeof rows / sizeof *rows,
    SHAPES = sizeof shapes / sizeof *shapes,
    TYPES = sizeof types / sizeof *types,
    TYPES_BF16 = sizeof types_bf16 / sizeof *types_bf16
};

static bool row_of(int i, row *r)
{
    if (i < ROWS) {
        *r = rows[i];
        return true;
    }
    i -= ROWS;
    if (i < SHAPES * TYPES) {
        *r = shapes[i / TYPES];
        r->dtype = types[i % TYPES];
        return true;
    }
    i -= SHAPES * TYPES;
    if (i < ROWS) {
        *r = rows[i];
        r->bf16 = true;
        return true;
    }
    i -= ROWS;
    if (i >= SHAPES * TYPES_BF16) return false;
    *r = shapes[i / TYPES_BF16];
    r->dtype = types_bf16[i % TYPES_BF16];
    r->bf16 = true;
    return true;
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
        .b = MS_CASE_REAL_IF(!r.bench && i % 2, r.O),
        .at = r.at,
    };
    c->bound[0] = ms_case_sum(r.I);
    c->flops = 2.0 * r.N * r.I * r.O;
    c->bytes = (double)ms_tensor_bytes(c->args.linear_stored.w) + 4.0 * r.N * (r.I + r.O);
    c->bench = r.bench;
    c->slow = r.slow;
    c->bf16 = r.bf16;
    snprintf(c->label, sizeof c->label, "N=%d I=%d O=%d of %d %s%s%s", r.N, r.I, r.O, r.Y,
             ms_dtype_name(r.dtype), !r.bench && i % 2 ? " b" : "", r.bf16 ? " bf16" : "");
    return true;
}
