/* loss - rows of gather_last, cross_entropy and loss_sum */
#include "ops/cases/cases.h"

#include <stdio.h>

static bool gather_last(int i, ms_case *c)
{
    static const struct {
        int B, T, C;
        ms_batch batch;
        bool bench;
    } rows[] = {
        {1, 1, 1, MS_BATCH_FULL, 0},    {1, 5, 7, MS_BATCH_FULL, 0},
        {4, 5, 33, MS_BATCH_RAGGED, 0}, {7, 3, 16, MS_BATCH_RAGGED, 0},
        {3, 1, 65, MS_BATCH_DECODE, 0}, {1, 2, 4099, MS_BATCH_FULL, 0},
        {1, 5, 256, MS_BATCH_FULL, 1},  {8, 128, 768, MS_BATCH_FULL, 1},
    };

    if ((size_t)i >= sizeof rows / sizeof *rows) return false;
    ms_case_batch(c, rows[i].batch, rows[i].B, rows[i].T, rows[i].T + 4);
    c->args.gather_last = (ms_gather_last_args){.y = MS_CASE_REAL(rows[i].B, rows[i].C),
                                                .x = MS_CASE_REAL(rows[i].B * rows[i].T, rows[i].C),
                                                .seq = MS_CASE_INTS(rows[i].B, 2)};
    c->bound[0] = 1;
    c->bytes = 8.0 * rows[i].B * rows[i].C;
    c->bench = rows[i].bench;
    snprintf(c->label, sizeof c->label, "B=%d T=%d C=%d %s", rows[i].B, rows[i].T, rows[i].C,
             ms_batch_name(rows[i].batch));
    return true;
}

static bool cross_entropy(int i, ms_case *c)
{
    static const struct {
        int N, V;
        bool dz, ignore, bench, slow;
    } rows[] = {
        {1, 1, 1, 0, 0, 0},    {1, 2, 1, 0, 0, 0},     {3, 5, 1, 1, 0, 0},
        {4, 8, 0, 1, 0, 0},    {7, 33, 1, 1, 0, 0},    {5, 16, 1, 0, 0, 0},
        {2, 63, 0, 0, 0, 0},   {130, 3, 1, 1, 0, 0},   {1, 20011, 1, 0, 0, 0},
        {9, 257, 1, 1, 0, 0},  {3, 1000, 0, 1, 0, 0},  {5, 1000, 1, 0, 1, 0},
        {768, 65, 1, 0, 1, 0}, {1, 50257, 1, 0, 1, 0}, {1024, 50257, 1, 0, 1, 1},
    };

    if ((size_t)i >= sizeof rows / sizeof *rows) return false;
    c->args.cross_entropy = (ms_cross_entropy_args){
        .loss = MS_CASE_REAL(rows[i].N),
        .dz = MS_CASE_REAL_IF(rows[i].dz, rows[i].N, rows[i].V),
        .z = MS_CASE_REAL(rows[i].N, rows[i].V),
        .target = MS_CASE_INTS(rows[i].N),
    };
    c->id_limit = rows[i].V;
    c->ignore_some = rows[i].ignore;
    c->bound[0] = c->bound[1] = ms_case_sum(rows[i].V);
    c->bench = rows[i].bench;
    c->slow = rows[i].slow;
    snprintf(c->label, sizeof c->label, "N=%d V=%d%s%s", rows[i].N, rows[i].V,
             rows[i].dz ? " dz" : "", rows[i].ignore ? " ignore" : "");
    return true;
}

static bool loss_sum(int i, ms_case *c)
{
    static const int sizes[] = {1, 2, 3, 7, 8, 31, 33, 768, 1027, 20011};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    int N = sizes[i % SIZES];

    if (i >= 2 * SIZES) return false;
    c->args.loss_sum = (ms_loss_sum_args){
        .sum = MS_CASE_REAL(1), .loss = MS_CASE_REAL(N), .accumulate = i >= SIZES};
    c->bound[0] = ms_case_sum(N);
    c->flops = N;
    c->bench = N == 768 && i < SIZES;
    snprintf(c->label, sizeof c->label, "N=%d%s", N, i >= SIZES ? " accumulate" : "");
    return true;
}

bool ms_cases_loss(ms_op o, int i, ms_case *c)
{
    if (o == MS_OP_gather_last) return gather_last(i, c);
    return o == MS_OP_cross_entropy ? cross_entropy(i, c) : loss_sum(i, c);
}
