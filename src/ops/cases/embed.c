/* embed - rows of embed_fwd and embed_bwd */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int B, T, C, V, P;
    ms_batch batch;
    bool pos;
    float p;
    double scale;
    bool bench, slow;
} row;

static const row rows[] = {
    {1, 1, 1, 1, 1, MS_BATCH_FULL, true, 0, 1, 0, 0},
    {1, 1, 7, 3, 9, MS_BATCH_DECODE, true, 0, 1, 0, 0},
    {1, 5, 8, 4, 0, MS_BATCH_FULL, false, 0, 2.5, 0, 0},
    {2, 3, 13, 11, 3, MS_BATCH_FULL, true, 0.1f, 1, 0, 0},
    {4, 5, 33, 7, 16, MS_BATCH_RAGGED, true, 0, 5.75, 0, 0},
    {4, 4, 31, 2, 8, MS_BATCH_RAGGED, false, 0.5f, 1, 0, 0},
    {5, 7, 17, 100, 40, MS_BATCH_RAGGED, true, 0.5f, -3, 0, 0},
    {3, 1, 64, 65, 50, MS_BATCH_DECODE, true, 0.1f, 8, 0, 0},
    {2, 65, 5, 3, 65, MS_BATCH_FULL, true, 0, 1, 0, 0}, /* many rows of the same few ids */
    {1, 2, 4099, 5, 2, MS_BATCH_FULL, true, 0.1f, 1, 0, 0},
    {1, 5, 256, 1000, 512, MS_BATCH_FULL, true, 0, 16, 1, 0},
    {12, 64, 128, 65, 64, MS_BATCH_FULL, true, 0, 1, 1, 0},
    {12, 64, 128, 65, 64, MS_BATCH_FULL, true, 0.1f, 1, 1, 0},
    {4, 1024, 768, 50257, 1024, MS_BATCH_FULL, true, 0, 1, 1, 1},
};

bool ms_cases_embed(ms_op o, int i, ms_case *c)
{
    const row *r = &rows[i];
    int N;

    if ((size_t)i >= sizeof rows / sizeof *rows) return false;
    N = r->B * r->T;
    ms_case_batch(c, r->batch, r->B, r->T, r->pos ? r->P : r->T + 3);
    if (o == MS_OP_embed_fwd) {
        c->args.embed_fwd = (ms_embed_fwd_args){
            .y = MS_CASE_REAL(N, r->C),
            .e = MS_CASE_REAL(r->V, r->C),
            .pos = MS_CASE_REAL_IF(r->pos, r->P, r->C),
            .id = MS_CASE_INTS(N),
            .seq = MS_CASE_INTS(r->B, 2),
            .scale = r->scale,
            .drop = {r->p, 3},
        };
        c->bound[0] = 3;
    } else {
        c->args.embed_bwd = (ms_embed_bwd_args){
            .de = MS_CASE_REAL(r->V, r->C),
            .dpos = MS_CASE_REAL_IF(r->pos, r->P, r->C),
            .dy = MS_CASE_REAL(N, r->C),
            .id = MS_CASE_INTS(N),
            .seq = MS_CASE_INTS(r->B, 2),
            .scale = r->scale,
            .drop = {r->p, 3},
        };
        c->bound[0] = c->bound[1] = ms_case_sum(N);
    }
    c->id_limit = r->V;
    c->flops = 2.0 * N * r->C;
    c->bytes = 4.0 * N * r->C * (r->pos ? 3 : 2); /* of the tables only the rows in use */
    c->bench = r->bench;
    c->slow = r->slow;
    snprintf(c->label, sizeof c->label, "B=%d T=%d C=%d V=%d%s p=%g %s", r->B, r->T, r->C, r->V,
             r->pos ? " pos" : "", (double)r->p, ms_batch_name(r->batch));
    return true;
}
