/* optimizer - rows of zero, global_norm and adamw */
#include "ops/cases/cases.h"

#include <stdio.h>

/* Parameters: odd counts, the log's two models, and more than any cache holds. */
static const struct {
    int P;
    bool bench, slow;
} sizes[] = {
    {1, 0, 0},    {2, 0, 0},     {7, 0, 0},      {8, 0, 0},       {33, 0, 0},       {63, 0, 0},
    {1027, 0, 0}, {20011, 0, 0}, {112996, 1, 0}, {3672552, 1, 1}, {30000000, 1, 1},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool zero(int i, ms_case *c)
{
    static const ms_dtype dtypes[] = {MS_F32, MS_I32, MS_U8, MS_BF16};
    ms_dtype dtype = dtypes[i / SIZES % 4];
    int P = sizes[i % SIZES].P;

    if (i >= 4 * SIZES) return false;
    c->args.zero = (ms_zero_args){.x = MS_TENSOR(NULL, dtype, P)};
    if (P % 3 == 0) c->args.zero.x = MS_TENSOR(NULL, dtype, P / 3, 3);
    c->bound[0] = 1;
    c->bench = sizes[i % SIZES].bench && dtype == MS_F32;
    c->slow = sizes[i % SIZES].slow;
    snprintf(c->label, sizeof c->label, "P=%d %s", P, ms_dtype_name(dtype));
    return true;
}

static bool global_norm(int i, ms_case *c)
{
    if (i >= SIZES) return false;
    c->args.global_norm =
        (ms_global_norm_args){.norm = MS_CASE_REAL(1), .x = MS_CASE_REAL(sizes[i].P)};
    c->bound[0] = 64;
    c->flops = 2.0 * sizes[i].P;
    c->bench = sizes[i].bench;
    c->slow = sizes[i].slow;
    snprintf(c->label, sizeof c->label, "P=%d", sizes[i].P);
    return true;
}

/* Clipping: off, above and below the norm; decay: none, a boundary inside, all. */
static bool adamw(int i, ms_case *c)
{
    static const float clips[] = {0, 1e6f, 0.01f};
    int combination = i / SIZES, P = sizes[i % SIZES].P;
    size_t decayed = (size_t)P * (size_t)(combination % 3) / 2;

    if (combination >= 9) return false;
    c->args.adamw = (ms_adamw_args){
        .w = MS_CASE_REAL(P),
        .m = MS_CASE_REAL(P),
        .v = MS_CASE_REAL(P),
        .g = MS_CASE_REAL(P),
        .norm = MS_CASE_REAL(1),
        .beta1 = 0.9,
        .beta2 = combination % 2 ? 0.999 : 0.95,
        .eps = 1e-8,
        .weight_decay = 0.1,
        .decayed = decayed,
    };
    c->step.clip = clips[combination / 3];
    for (int k = 0; k < 3; k++) c->bound[k] = 16;
    c->flops = 15.0 * P;
    c->bench = sizes[i % SIZES].bench && combination == 5;
    c->slow = sizes[i % SIZES].slow;
    snprintf(c->label, sizeof c->label, "P=%d decayed=%zu clip=%g", P, decayed,
             (double)c->step.clip);
    return true;
}

bool ms_cases_optimizer(ms_op o, int i, ms_case *c)
{
    if (o == MS_OP_zero) return zero(i, c);
    return o == MS_OP_global_norm ? global_norm(i, c) : adamw(i, c);
}
