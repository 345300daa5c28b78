/* cache - rows of cache_append */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int B, T, K, D, S;
    ms_batch batch;
    ms_dtype k, v; /* MS_F32: real */
    bool bench;
} row;

static const row rows[] = {
    {1, 1, 1, 1, 1, MS_BATCH_FULL, MS_F32, MS_F32, 0},
    {1, 3, 2, 5, 4, MS_BATCH_FULL, MS_F16, MS_BF16, 0},
    {4, 5, 2, 33, 8, MS_BATCH_RAGGED, MS_F16, MS_F16, 0},
    {4, 5, 2, 7, 8, MS_BATCH_RAGGED, MS_BF16, MS_BF16, 0},
    {4, 6, 1, 32, 11, MS_BATCH_RAGGED, MS_Q8_0, MS_F32, 0},
    {4, 6, 3, 64, 11, MS_BATCH_RAGGED, MS_Q8_0, MS_Q8_0, 0},
    {3, 1, 2, 96, 17, MS_BATCH_DECODE, MS_BF16, MS_Q8_0, 0},
    {1, 65, 1, 32, 70, MS_BATCH_FULL, MS_F16, MS_Q8_0, 0},
    {1, 1, 3, 64, 512, MS_BATCH_DECODE, MS_F16, MS_F16, 1},
    {1, 64, 3, 64, 64, MS_BATCH_FULL, MS_F16, MS_F16, 1},
    {1, 64, 3, 64, 64, MS_BATCH_FULL, MS_BF16, MS_BF16, 1},
    {1, 64, 3, 64, 64, MS_BATCH_FULL, MS_Q8_0, MS_Q8_0, 1},
};

bool ms_cases_cache(ms_op o, int i, ms_case *c)
{
    const row *r = &rows[i];
    double elements;

    (void)o;
    if ((size_t)i >= sizeof rows / sizeof *rows) return false;
    ms_case_batch(c, r->batch, r->B, r->T, r->S);
    c->args.cache_append = (ms_cache_append_args){
        .k = ms_tensor_make(NULL, r->k, 4, (const int[]){r->B, r->K, r->S, r->D}),
        .v = ms_tensor_make(NULL, r->v, 4, (const int[]){r->B, r->K, r->S, r->D}),
        .k_new = MS_CASE_REAL(r->B, r->K, r->T, r->D),
        .v_new = MS_CASE_REAL(r->B, r->K, r->T, r->D),
        .seq = MS_CASE_INTS(r->B, 2),
    };
    elements = (double)r->B * r->K * r->T * r->D;
    c->bytes = elements * (8 + (double)ms_dtype_bytes(r->k) / ms_dtype_block(r->k) +
                           (double)ms_dtype_bytes(r->v) / ms_dtype_block(r->v));
    c->bench = r->bench;
    snprintf(c->label, sizeof c->label, "B=%d T=%d K=%d D=%d S=%d %s %s %s", r->B, r->T, r->K, r->D,
             r->S, ms_dtype_name(r->k), ms_dtype_name(r->v), ms_batch_name(r->batch));
    return true;
}
