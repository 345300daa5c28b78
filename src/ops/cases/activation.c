/* activation - rows of act_fwd, act_bwd and dropout */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int N, F;
    bool bench, slow;
} shape;

static const shape shapes[] = {
    {1, 1, 0, 0},    {1, 7, 0, 0},     {3, 5, 0, 0},       {2, 8, 0, 0},     {5, 16, 0, 0},
    {7, 33, 0, 0},   {9, 63, 0, 0},    {130, 3, 0, 0},     {1, 20011, 0, 0}, {3, 1027, 0, 0},
    {5, 1024, 1, 0}, {768, 512, 1, 0}, {1024, 3072, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static bool activation(ms_op o, int i, ms_case *c)
{
    const shape *s = &shapes[i % SHAPES];
    ms_act act = (ms_act)(i / SHAPES);
    int U = act == MS_ACT_SWIGLU ? 2 * s->F : s->F;

    if (act >= MS_ACT_COUNT) return false;
    if (o == MS_OP_act_fwd)
        c->args.act_fwd = (ms_act_fwd_args){
            .y = MS_CASE_REAL(s->N, s->F), .u = MS_CASE_REAL(s->N, U), .act = act};
    else
        c->args.act_bwd = (ms_act_bwd_args){.du = MS_CASE_REAL(s->N, U),
                                            .dy = MS_CASE_REAL(s->N, s->F),
                                            .u = MS_CASE_REAL(s->N, U),
                                            .act = act};
    c->bound[0] = 8;
    c->bench = s->bench && act != MS_ACT_NONE;
    c->slow = s->slow;
    snprintf(c->label, sizeof c->label, "N=%d F=%d %s", s->N, s->F, ms_act_name(act));
    return true;
}

static bool dropout(int i, ms_case *c)
{
    static const float p[] = {0, 0.1f, 0.5f};
    const shape *s = &shapes[i % SHAPES];
    int combination = i / SHAPES;
    bool add = combination % 2;

    if (combination >= 6) return false;
    c->args.dropout = (ms_dropout_args){.y = MS_CASE_REAL(s->N, s->F),
                                        .x = MS_CASE_REAL(s->N, s->F),
                                        .add = MS_CASE_REAL_IF(add, s->N, s->F),
                                        .drop = {p[combination / 2], 11}};
    c->bound[0] = 3;
    c->bench = s->bench && combination / 2 != 2;
    c->slow = s->slow;
    snprintf(c->label, sizeof c->label, "N=%d C=%d p=%g%s", s->N, s->F, (double)p[combination / 2],
             add ? " add" : "");
    return true;
}

bool ms_cases_activation(ms_op o, int i, ms_case *c)
{
    return o == MS_OP_dropout ? dropout(i, c) : activation(o, i, c);
}
