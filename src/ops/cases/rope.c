/* rope - rows of rope_fwd and rope_bwd */
#include "ops/cases/cases.h"

#include <stdio.h>

/* The norm of q and k: without, with weights or without, their gradients wanted or not. */
typedef enum { PLAIN, NORM, NORM_QW, NORM_W } qk_norm;

typedef struct {
    int B, T, H, K, D;
    int S, R, P; /* cache; pairs (0: no rot); positions of rot */
    ms_batch batch;
    qk_norm norm;
    bool bench, slow;
} row;

static const row rows[] = {
    {1, 1, 1, 1, 1, 1, 0, 0, MS_BATCH_FULL, PLAIN, 0, 0},
    {1, 1, 1, 1, 2, 5, 1, 5, MS_BATCH_DECODE, PLAIN, 0, 0},
    {1, 3, 2, 1, 5, 4, 2, 7, MS_BATCH_FULL, PLAIN, 0, 0}, /* an odd element passes */
    {2, 5, 2, 2, 8, 9, 4, 9, MS_BATCH_RAGGED, PLAIN, 0, 0},
    {4, 4, 8, 1, 16, 11, 8, 12, MS_BATCH_RAGGED, PLAIN, 0, 0},
    {4, 4, 4, 2, 6, 8, 3, 8, MS_BATCH_RAGGED, NORM, 0, 0},
    {4, 6, 4, 2, 33, 13, 16, 20, MS_BATCH_RAGGED, NORM_W, 0, 0},
    {3, 1, 8, 1, 34, 17, 17, 17, MS_BATCH_DECODE, NORM_W, 0, 0},
    {2, 7, 2, 1, 18, 7, 4, 7, MS_BATCH_FULL, NORM_QW, 0, 0}, /* some pairs only */
    {4, 3, 2, 2, 7, 5, 0, 0, MS_BATCH_RAGGED, PLAIN, 0, 0},
    {4, 3, 2, 1, 7, 5, 0, 0, MS_BATCH_RAGGED, NORM_W, 0, 0},
    {1, 65, 1, 1, 4, 65, 2, 65, MS_BATCH_FULL, NORM, 0, 0},
    {1, 2, 2, 1, 1026, 3, 513, 3, MS_BATCH_FULL, NORM_W, 0, 0},
    {1, 5, 8, 8, 32, 5, 0, 0, MS_BATCH_FULL, PLAIN, 1, 0},
    {12, 64, 4, 4, 32, 64, 16, 64, MS_BATCH_FULL, PLAIN, 1, 0},
    {12, 64, 4, 2, 32, 64, 16, 64, MS_BATCH_FULL, NORM_W, 1, 0},
    {1, 1, 12, 12, 64, 1024, 32, 1024, MS_BATCH_DECODE, PLAIN, 1, 0},
    {4, 1024, 12, 4, 64, 1024, 32, 1024, MS_BATCH_FULL, PLAIN, 1, 1},
    {4, 1024, 12, 4, 64, 1024, 32, 1024, MS_BATCH_FULL, NORM_W, 1, 1},
};

/* Rows of this pass alone, which the backward does not know. */
static const row local[] = {
    {4, 4, 8, 1, 16, 4, 8, 12, MS_BATCH_RAGGED, PLAIN, 0, 0},
    {3, 1, 4, 2, 12, 2, 6, 17, MS_BATCH_DECODE, NORM_W, 0, 0},
};

static void rope_fwd(const row *r, bool is_local, ms_case *c)
{
    int N = r->B * r->T, D = r->D;

    c->args.rope_fwd = (ms_rope_fwd_args){
        .q = MS_CASE_REAL(N, r->H, D),
        .k = MS_CASE_REAL(r->B, r->K, r->S, D),
        .v = MS_CASE_REAL(r->B, r->K, r->S, D),
        .stat = MS_CASE_REAL_IF(r->norm != PLAIN, N, r->H + r->K),
        .qkv = MS_CASE_REAL(N, (r->H + 2 * r->K) * D),
        .qw = MS_CASE_REAL_IF(r->norm >= NORM_QW, D),
        .kw = MS_CASE_REAL_IF(r->norm == NORM_W, D),
        .rot = MS_CASE_REAL_IF(r->R > 0, r->P, r->R, 2),
        .seq = MS_CASE_INTS(r->B, 2),
        .eps = 1e-6,
        .qk_norm = r->norm != PLAIN,
        .local = is_local,
    };
    for (int i = 0; i < 4; i++) c->bound[i] = r->norm == PLAIN ? 4 : ms_case_sum(D);
}

static void rope_bwd(const row *r, ms_case *c)
{
    int N = r->B * r->T, D = r->D, M = (r->H + 2 * r->K) * D;

    c->args.rope_bwd = (ms_rope_bwd_args){
        .dqkv = MS_CASE_REAL(N, M),
        .dqw = MS_CASE_REAL_IF(r->norm >= NORM_QW, D),
        .dkw = MS_CASE_REAL_IF(r->norm == NORM_W, D),
        .dq = MS_CASE_REAL(N, r->H, D),
        .dk = MS_CASE_REAL(r->B, r->K, r->S, D),
        .dv = MS_CASE_REAL(r->B, r->K, r->S, D),
        .qkv = MS_CASE_REAL_IF(r->norm != PLAIN, N, M),
        .stat = MS_CASE_REAL_IF(r->norm != PLAIN, N, r->H + r->K),
        .qw = MS_CASE_REAL_IF(r->norm >= NORM_QW, D),
        .kw = MS_CASE_REAL_IF(r->norm == NORM_W, D),
        .rot = MS_CASE_REAL_IF(r->R > 0, r->P, r->R, 2),
        .seq = MS_CASE_INTS(r->B, 2),
        .qk_norm = r->norm != PLAIN,
    };
    c->bound[0] = r->norm == PLAIN ? 4 : ms_case_sum(D);
    c->bound[1] = c->bound[2] = ms_case_sum((double)N * (r->H + r->K));
}

bool ms_cases_rope(ms_op o, int i, ms_case *c)
{
    static const char *const norms[] = {"", " norm", " norm qw", " norm w"};
    enum { ROWS = sizeof rows / sizeof *rows, LOCAL = sizeof local / sizeof *local };
    bool is_local = i >= ROWS;
    double elements;

    if (i >= (o == MS_OP_rope_fwd ? ROWS + LOCAL : ROWS)) return false;
    const row *r = is_local ? &local[i - ROWS] : &rows[i];
    ms_case_batch(c, r->batch, r->B, r->T, r->R > 0 && (is_local || r->P < r->S) ? r->P : r->S);
    if (o == MS_OP_rope_fwd)
        rope_fwd(r, is_local, c);
    else
        rope_bwd(r, c);
    elements = (double)r->B * r->T * (r->H + 2 * r->K) * r->D;
    c->flops = elements * (r->norm == PLAIN ? 3 : 8);
    c->bytes = elements * 8; /* of the cache only the rows in use */
    c->bench = r->bench;
    c->slow = r->slow;
    snprintf(c->label, sizeof c->label, "B=%d T=%d H=%d K=%d D=%d S=%d R=%d%s %s%s", r->B, r->T,
             r->H, r->K, r->D, r->S, r->R, norms[r->norm], ms_batch_name(r->batch),
             is_local ? " local" : "");
    return true;
}
