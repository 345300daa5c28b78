/* linear - rows of linear_fwd and linear_bwd
 *
 * First every shape, then one odd shape with every meaningful combination of operands; then every
 * shape with factors of bf16. */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int N, I, O;
    ms_act act; /* behind the forward, in front of the backward */
    bool bench, slow;
} shape;

static const shape shapes[] = {
    {1, 1, 1, MS_ACT_NONE, 0, 0},
    {1, 3, 5, MS_ACT_NONE, 0, 0},
    {3, 17, 6, MS_ACT_SWIGLU, 0, 0},
    {5, 8, 8, MS_ACT_NONE, 0, 0},
    {7, 31, 33, MS_ACT_GELU, 0, 0},
    {2, 64, 16, MS_ACT_RELU2, 0, 0},
    {4, 16, 1, MS_ACT_NONE, 0, 0},
    {13, 40, 96, MS_ACT_SWIGLU, 0, 0},
    {33, 65, 31, MS_ACT_GELU_TANH, 0, 0},
    {130, 19, 7, MS_ACT_NONE, 0, 0},
    {9, 601, 17, MS_ACT_NONE, 0, 0},
    {1, 20011, 3, MS_ACT_NONE, 0, 0},
    {1, 256, 100, MS_ACT_NONE, 0, 0},
    {6, 33, 1031, MS_ACT_NONE, 0, 0},
    {65, 130, 67, MS_ACT_NONE, 0, 0},
    {257, 5, 18, MS_ACT_GELU, 0, 0},
    /* 5 tokens of the log's model: vocabulary 1000, width 256, feed-forward 1024 */
    {5, 256, 768, MS_ACT_NONE, 1, 0},
    {5, 256, 256, MS_ACT_NONE, 1, 0},
    {5, 256, 1024, MS_ACT_GELU, 1, 0},
    {5, 1024, 256, MS_ACT_NONE, 1, 0},
    {5, 256, 1000, MS_ACT_NONE, 1, 0},
    /* training: 12 sequences of 64 at width 128, characters */
    {768, 128, 384, MS_ACT_NONE, 1, 0},
    {768, 128, 128, MS_ACT_NONE, 1, 0},
    {768, 128, 512, MS_ACT_GELU_TANH, 1, 0},
    {768, 512, 128, MS_ACT_NONE, 1, 0},
    {768, 128, 65, MS_ACT_NONE, 1, 0},
    /* 9 sequences of 256 at width 384 */
    {2304, 384, 1152, MS_ACT_NONE, 1, 1},
    {2304, 384, 2048, MS_ACT_SWIGLU, 1, 1},
    /* what matrix libraries are compared on */
    {5, 768, 768, MS_ACT_NONE, 1, 0},
    {1024, 768, 768, MS_ACT_NONE, 1, 1},
    {1024, 384, 1536, MS_ACT_NONE, 1, 1},
    {4096, 768, 768, MS_ACT_NONE, 1, 1},
    {4096, 768, 2304, MS_ACT_NONE, 1, 1},
    {4096, 768, 3072, MS_ACT_NONE, 1, 1},
    {4096, 3072, 768, MS_ACT_NONE, 1, 1},
    {4096, 384, 1536, MS_ACT_NONE, 1, 1},
    /* GPT-2 124M: 1024 tokens, and one */
    {1024, 768, 2304, MS_ACT_NONE, 1, 1},
    {1024, 768, 3072, MS_ACT_GELU_TANH, 1, 1},
    {1024, 3072, 768, MS_ACT_NONE, 1, 1},
    {1024, 768, 50257, MS_ACT_NONE, 1, 1},
    {1, 768, 2304, MS_ACT_NONE, 1, 1},
    {1, 3072, 768, MS_ACT_NONE, 1, 1},
    {1, 768, 50257, MS_ACT_NONE, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const shape odd = {6, 19, 14, MS_ACT_NONE, 0, 0};

/* -- forward --------------------------------------------------------------------------------- */

typedef struct {
    shape s;
    bool b, u, work, bf16;
} fwd_row;

static fwd_row fwd_shape(int i, bool bf16)
{
    return (fwd_row){shapes[i], i % 3 > 0, shapes[i].act != MS_ACT_NONE, false, bf16};
}

static bool fwd_row_of(int i, fwd_row *r)
{
    if (i < SHAPES) {
        *r = fwd_shape(i, false);
        return true;
    }
    i -= SHAPES;
    if (i >= 8 * MS_ACT_COUNT) {
        i -= 8 * MS_ACT_COUNT;
        if (i < SHAPES) *r = fwd_shape(i, true);
        return i < SHAPES;
    }
    *r = (fwd_row){odd, i & 1, i & 2, i & 4, false};
    r->s.act = (ms_act)(i >> 3);
    if (r->s.act == MS_ACT_NONE) r->u = false;
    if (r->s.act == MS_ACT_SWIGLU && !r->u) r->work = true;
    return true;
}

static bool linear_fwd(int i, ms_case *c)
{
    fwd_row r;
    int N, I, O;

    if (!fwd_row_of(i, &r)) return false;
    N = r.s.N, I = r.s.I, O = r.s.O;
    c->args.linear_fwd = (ms_linear_fwd_args){
        .y = MS_CASE_REAL(N, r.s.act == MS_ACT_SWIGLU ? O / 2 : O),
        .u = MS_CASE_REAL_IF(r.u, N, O),
        .x = MS_CASE_REAL(N, I),
        .w = MS_CASE_REAL(O, I),
        .b = MS_CASE_REAL_IF(r.b, O),
        .work = MS_CASE_REAL_IF(r.work, N, O),
        .act = r.s.act,
    };
    c->bound[0] = c->bound[1] = ms_case_sum(I);
    c->flops = 2.0 * N * I * O;
    c->bench = r.s.bench;
    c->slow = r.s.slow;
    c->bf16 = r.bf16;
    snprintf(c->label, sizeof c->label, "N=%d I=%d O=%d %s%s%s%s%s", N, I, O, ms_act_name(r.s.act),
             r.b ? " b" : "", r.u ? " u" : "", r.work ? " work" : "", r.bf16 ? " bf16" : "");
    return true;
}

/* -- backward -------------------------------------------------------------------------------- */

typedef struct {
    shape s;
    bool dx, dw, db, accumulate, bf16;
} bwd_row;

static bwd_row bwd_shape(int i, bool bf16)
{
    bool none = shapes[i].act == MS_ACT_NONE;

    return (bwd_row){shapes[i], true, true, i % 3 > 0, none && i % 4 == 3, bf16};
}

/* Shapes are those of the map itself: its input is the value of the activation. */
static bool bwd_row_of(int i, bwd_row *r)
{
    enum { WITH_ACT = 4 * (MS_ACT_COUNT - 1) };

    if (i < SHAPES) {
        *r = bwd_shape(i, false);
        return true;
    }
    i -= SHAPES;
    if (i < 16) {
        *r = (bwd_row){odd, i & 1, i & 2, i & 4, i & 8, false};
        return true;
    }
    i -= 16;
    if (i < WITH_ACT) {
        *r = (bwd_row){odd, true, i & 1, i & 2, false, false};
        r->s.act = (ms_act)(1 + (i >> 2));
        return true;
    }
    i -= WITH_ACT;
    if (i < SHAPES) *r = bwd_shape(i, true);
    return i < SHAPES;
}

static bool linear_bwd(int i, ms_case *c)
{
    bwd_row r;
    int N, I, O, U;
    bool act, swiglu;

    if (!bwd_row_of(i, &r)) return false;
    act = r.s.act != MS_ACT_NONE, swiglu = r.s.act == MS_ACT_SWIGLU;
    N = r.s.N, I = r.s.I, O = r.s.O, U = swiglu ? 2 * I : I;
    c->args.linear_bwd = (ms_linear_bwd_args){
        .dx = MS_CASE_REAL_IF(r.dx, N, U),
        .dw = MS_CASE_REAL_IF(r.dw, O, I),
        .db = MS_CASE_REAL_IF(r.db, O),
        .dy = MS_CASE_REAL(N, O),
        .x = MS_CASE_REAL_IF(r.dw, N, I),
        .w = MS_CASE_REAL_IF(r.dx, O, I),
        .u = MS_CASE_REAL_IF(act, N, U),
        .work = MS_CASE_REAL_IF(swiglu, N, I),
        .act = r.s.act,
        .accumulate = r.accumulate,
    };
    c->bound[0] = ms_case_sum(O);
    c->bound[1] = c->bound[2] = ms_case_sum(N);
    c->flops = 2.0 * N * I * O * (r.dx + r.dw);
    c->bench = r.s.bench;
    c->slow = r.s.slow;
    c->bf16 = r.bf16;
    snprintf(c->label, sizeof c->label, "N=%d I=%d O=%d %s%s%s%s%s%s", N, I, O,
             ms_act_name(r.s.act), r.dx ? " dx" : "", r.dw ? " dw" : "", r.db ? " db" : "",
             r.accumulate ? " accumulate" : "", r.bf16 ? " bf16" : "");
    return true;
}

bool ms_cases_linear(ms_op o, int i, ms_case *c)
{
    return o == MS_OP_linear_fwd ? linear_fwd(i, c) : linear_bwd(i, c);
}
