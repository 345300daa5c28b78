/* attention - rows of attention_fwd and attention_bwd */
#include "ops/cases/cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int B, T, H, K, D, S;
    ms_batch batch;
    float p;
    bool lse; /* the forward's is wanted */
    bool bench, slow;
} row;

static const row rows[] = {
    {1, 1, 1, 1, 1, 1, MS_BATCH_FULL, 0, true, 0, 0},
    {1, 2, 1, 1, 3, 2, MS_BATCH_FULL, 0, true, 0, 0},
    {1, 5, 2, 1, 5, 5, MS_BATCH_FULL, 0, false, 0, 0},
    {2, 7, 2, 2, 8, 9, MS_BATCH_RAGGED, 0, true, 0, 0},
    {4, 6, 4, 2, 17, 11, MS_BATCH_RAGGED, 0, true, 0, 0},
    {4, 6, 8, 1, 16, 10, MS_BATCH_RAGGED, 0.1f, true, 0, 0},
    {4, 5, 2, 2, 33, 8, MS_BATCH_RAGGED, 0.5f, false, 0, 0},
    {1, 1, 8, 1, 64, 37, MS_BATCH_DECODE, 0, true, 0, 0},
    {5, 1, 4, 2, 24, 130, MS_BATCH_DECODE, 0, false, 0, 0},
    {1, 1, 2, 1, 5, 1031, MS_BATCH_DECODE, 0, true, 0, 0},
    {1, 67, 2, 1, 13, 67, MS_BATCH_FULL, 0, true, 0, 0},
    {2, 33, 2, 2, 16, 40, MS_BATCH_RAGGED, 0.1f, true, 0, 0},
    {1, 130, 1, 1, 4, 259, MS_BATCH_RAGGED, 0, true, 0, 0},
    {1, 3, 1, 1, MS_MAX_HEAD_DIM, 4, MS_BATCH_FULL, 0, true, 0, 0},
    {2, 3, 3, 1, 80, 6, MS_BATCH_RAGGED, 0, true, 0, 0},
    {1, 9, 16, 2, 4, 9, MS_BATCH_FULL, 0, true, 0, 0},
    {1, 5, 8, 8, 32, 5, MS_BATCH_FULL, 0, true, 1, 0},
    {12, 64, 4, 4, 32, 64, MS_BATCH_FULL, 0, true, 1, 0},
    {12, 64, 4, 4, 32, 64, MS_BATCH_FULL, 0.1f, true, 1, 0},
    {1, 1, 8, 8, 32, 512, MS_BATCH_DECODE, 0, false, 1, 0},
    {1, 1, 9, 3, 64, 128, MS_BATCH_DECODE, 0, false, 1, 0},
    {1, 1, 9, 3, 64, 2048, MS_BATCH_DECODE, 0, false, 1, 0},
    {8, 1, 9, 3, 64, 512, MS_BATCH_DECODE, 0, false, 1, 0},
    {2, 64, 6, 6, 64, 64, MS_BATCH_FULL, 0, true, 1, 0},
    {2, 256, 4, 4, 32, 256, MS_BATCH_FULL, 0, true, 1, 1},
    {1, 128, 9, 3, 64, 512, MS_BATCH_DECODE, 0, false, 1, 1},
    {16, 256, 6, 6, 64, 256, MS_BATCH_FULL, 0, true, 1, 1},
    {16, 256, 6, 6, 64, 256, MS_BATCH_FULL, 0.1f, true, 1, 1},
    {1, 256, 1, 1, 64, 256, MS_BATCH_FULL, 0, true, 1, 1},
    {1, 1024, 8, 8, 32, 1024, MS_BATCH_FULL, 0, true, 1, 1},
    {1, 1024, 12, 12, 64, 1024, MS_BATCH_FULL, 0, true, 1, 1},
    {1, 1024, 9, 3, 64, 1024, MS_BATCH_FULL, 0, true, 1, 1},
};

/* Caches of other types, which only the forward reads. */
static const struct {
    row row;
    ms_dtype k, v; /* MS_F32: real */
} typed[] = {
    {{4, 6, 4, 2, 17, 11, MS_BATCH_RAGGED, 0, true, 0, 0}, MS_F16, MS_BF16},
    {{2, 33, 2, 2, 16, 70, MS_BATCH_RAGGED, 0.1f, true, 0, 0}, MS_BF16, MS_F16},
    {{4, 5, 2, 1, 32, 9, MS_BATCH_RAGGED, 0, true, 0, 0}, MS_Q8_0, MS_Q8_0},
    {{5, 1, 4, 2, 96, 130, MS_BATCH_DECODE, 0, false, 0, 0}, MS_Q8_0, MS_F16},
    {{1, 1, 2, 1, 5, 1031, MS_BATCH_DECODE, 0, true, 0, 0}, MS_BF16, MS_F32},
    {{1, 1, 9, 3, 64, 2048, MS_BATCH_DECODE, 0, false, 1, 0}, MS_F16, MS_F16},
    {{1, 1, 9, 3, 64, 2048, MS_BATCH_DECODE, 0, false, 1, 0}, MS_BF16, MS_BF16},
    {{1, 1, 9, 3, 64, 2048, MS_BATCH_DECODE, 0, false, 1, 0}, MS_Q8_0, MS_Q8_0},
};

static ms_tensor cache_of(const row *r, ms_dtype type)
{
    return ms_tensor_make(NULL, type, 4, (const int[]){r->B, r->K, r->S, r->D});
}

static void attention_fwd(const row *r, ms_dtype k, ms_dtype v, ms_case *c)
{
    int N = r->B * r->T;

    c->args.attention_fwd = (ms_attention_fwd_args){
        .y = MS_CASE_REAL(N, r->H, r->D),
        .lse = MS_CASE_REAL_IF(r->lse, N, r->H),
        .q = MS_CASE_REAL(N, r->H, r->D),
        .k = cache_of(r, k),
        .v = cache_of(r, v),
        .seq = MS_CASE_INTS(r->B, 2),
        .scale = 1 / sqrt(r->D),
        .drop = {r->p, 9},
    };
    c->bound[0] = c->bound[1] = ms_case_sum(r->D + r->S);
}

static void attention_bwd(const row *r, ms_case *c)
{
    int N = r->B * r->T;

    c->args.attention_bwd = (ms_attention_bwd_args){
        .dq = MS_CASE_REAL(N, r->H, r->D),
        .dk = MS_CASE_REAL(r->B, r->K, r->S, r->D),
        .dv = MS_CASE_REAL(r->B, r->K, r->S, r->D),
        .dy = MS_CASE_REAL(N, r->H, r->D),
        .y = MS_CASE_REAL(N, r->H, r->D),
        .lse = MS_CASE_REAL(N, r->H),
        .q = MS_CASE_REAL(N, r->H, r->D),
        .k = MS_CASE_REAL(r->B, r->K, r->S, r->D),
        .v = MS_CASE_REAL(r->B, r->K, r->S, r->D),
        .seq = MS_CASE_INTS(r->B, 2),
        .delta = MS_CASE_REAL(N, r->H),
        .scale = 1 / sqrt(r->D),
        .drop = {r->p, 9},
    };
    for (int i = 0; i < 3; i++) c->bound[i] = ms_case_sum(r->D + r->S + (double)r->T * r->H / r->K);
}

/* Pairs of a query and a key it sees. */
static double pairs(const ms_case *c, int B, int T)
{
    double sum = 0;

    for (int b = 0; b < B; b++)
        for (int t = 0; t < T && t < c->seq[b].length; t++) sum += c->seq[b].start + t + 1;
    return sum;
}

bool ms_cases_attention(ms_op o, int i, ms_case *c)
{
    enum { ROWS = sizeof rows / sizeof *rows, TYPED = sizeof typed / sizeof *typed };
    bool other = i >= ROWS;

    if (i >= (o == MS_OP_attention_fwd ? ROWS + TYPED : ROWS)) return false;
    const row *r = other ? &typed[i - ROWS].row : &rows[i];
    ms_dtype k = other ? typed[i - ROWS].k : MS_F32, v = other ? typed[i - ROWS].v : MS_F32;

    ms_case_batch(c, r->batch, r->B, r->T, r->S);
    if (o == MS_OP_attention_fwd)
        attention_fwd(r, k, v, c);
    else
        attention_bwd(r, c);
    c->flops = (o == MS_OP_attention_fwd ? 4.0 : 10.0) * pairs(c, r->B, r->T) * r->H * r->D;
    c->bench = r->bench;
    c->slow = r->slow;
    snprintf(c->label, sizeof c->label, "B=%d T=%d H=%d K=%d D=%d S=%d p=%g%s %s%s%s", r->B, r->T,
             r->H, r->K, r->D, r->S, (double)r->p, r->lse ? " lse" : "", ms_batch_name(r->batch),
             other ? " k " : "", other ? ms_dtype_name(k) : "");
    if (other) {
        size_t used = strlen(c->label);

        snprintf(c->label + used, sizeof c->label - used, " v %s", ms_dtype_name(v));
    }
    return true;
}
