/* norm - rows of norm_fwd, norm_bwd, add_norm_fwd and add_norm_bwd
 *
 * First every shape with all operands, LayerNorm and RMSNorm in turn; then one odd shape with every
 * combination of options. */
#include "ops/cases/cases.h"

#include <stdio.h>

typedef struct {
    int N, C;
    bool bench, slow;
} shape;

static const shape shapes[] = {
    {1, 1, 0, 0},     {1, 7, 0, 0},    {3, 5, 0, 0},      {2, 8, 0, 0},      {5, 16, 0, 0},
    {7, 33, 0, 0},    {4, 63, 0, 0},   {3, 130, 0, 0},    {17, 31, 0, 0},    {130, 9, 0, 0},
    {1, 20011, 0, 0}, {2, 1027, 0, 0}, {5, 256, 1, 0},    {5, 256, 1, 0},    {768, 128, 1, 0},
    {768, 128, 1, 0}, {1, 768, 1, 0},  {2304, 384, 1, 1}, {4096, 768, 1, 1}, {4096, 768, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Options as bits of a combination; `extra` is the one only the op has. */
enum { RMS = 1, W = 2, FIRST = 4, SECOND = 8, EXTRA = 16, DF = 32 };

typedef struct {
    shape s;
    bool rms, w, first, second, extra, df;
    float p;
} row;

static bool row_of(ms_op o, int i, row *r)
{
    static const float p[] = {0, 0.1f, 0.5f};
    int bits, options = o == MS_OP_norm_fwd || o == MS_OP_add_norm_fwd ? 4
                        : o == MS_OP_norm_bwd                          ? 5
                                                                       : 6;

    if (i < SHAPES) {
        shape s = shapes[i];

        *r = (row){s, i % 2, true, true, true, i % 3 == 0, true, s.bench ? 0 : p[i % 3]};
        return true;
    }
    bits = i - SHAPES;
    if (bits >= 1 << options) return false;
    *r = (row){{5, 37, 0, 0}, bits & RMS,   bits & W,  bits & FIRST,
               bits & SECOND, bits & EXTRA, bits & DF, 0};
    r->p = o == MS_OP_add_norm_bwd && !r->df ? 0 : p[(bits + bits / 3) % 3];
    return true;
}

static void norm_fwd(const row *r, ms_case *c)
{
    int N = r->s.N, C = r->s.C;

    c->args.norm_fwd = (ms_norm_fwd_args){
        .y = MS_CASE_REAL(N, C),
        .stat = MS_CASE_REAL_IF(r->first, N, 2),
        .x = MS_CASE_REAL(N, C),
        .w = MS_CASE_REAL_IF(r->w, C),
        .b = MS_CASE_REAL_IF(r->second, C),
        .eps = 1e-5,
        .rms = r->rms,
    };
    c->bound[0] = c->bound[1] = ms_case_sum(C);
    snprintf(c->label, sizeof c->label, "N=%d C=%d %s%s%s%s", N, C, r->rms ? "rms" : "layer",
             r->first ? " stat" : "", r->w ? " w" : "", r->second ? " b" : "");
}

static void norm_bwd(const row *r, ms_case *c)
{
    int N = r->s.N, C = r->s.C;

    c->args.norm_bwd = (ms_norm_bwd_args){
        .dx = MS_CASE_REAL(N, C),
        .dw = MS_CASE_REAL_IF(r->first, C),
        .db = MS_CASE_REAL_IF(r->second, C),
        .dy = MS_CASE_REAL(N, C),
        .x = MS_CASE_REAL(N, C),
        .stat = MS_CASE_REAL(N, 2),
        .w = MS_CASE_REAL_IF(r->w, C),
        .rms = r->rms,
        .accumulate = r->extra,
    };
    c->bound[0] = ms_case_sum(C);
    c->bound[1] = c->bound[2] = ms_case_sum(N);
    snprintf(c->label, sizeof c->label, "N=%d C=%d %s%s%s%s%s", N, C, r->rms ? "rms" : "layer",
             r->w ? " w" : "", r->first ? " dw" : "", r->second ? " db" : "",
             r->extra ? " accumulate" : "");
}

static void add_norm_fwd(const row *r, ms_case *c)
{
    int N = r->s.N, C = r->s.C;

    c->args.add_norm_fwd = (ms_add_norm_fwd_args){
        .r = MS_CASE_REAL(N, C),
        .y = MS_CASE_REAL(N, C),
        .stat = MS_CASE_REAL_IF(r->first, N, 2),
        .x = MS_CASE_REAL(N, C),
        .f = MS_CASE_REAL(N, C),
        .w = MS_CASE_REAL_IF(r->w, C),
        .b = MS_CASE_REAL_IF(r->second, C),
        .eps = 1e-5,
        .rms = r->rms,
        .drop = {r->p, 5},
    };
    c->bound[0] = 3;
    c->bound[1] = c->bound[2] = ms_case_sum(C);
    snprintf(c->label, sizeof c->label, "N=%d C=%d %s%s%s%s p=%g", N, C, r->rms ? "rms" : "layer",
             r->first ? " stat" : "", r->w ? " w" : "", r->second ? " b" : "", (double)r->p);
}

static void add_norm_bwd(const row *r, ms_case *c)
{
    int N = r->s.N, C = r->s.C;

    c->args.add_norm_bwd = (ms_add_norm_bwd_args){
        .dr = MS_CASE_REAL(N, C),
        .df = MS_CASE_REAL_IF(r->df, N, C),
        .dw = MS_CASE_REAL_IF(r->first, C),
        .db = MS_CASE_REAL_IF(r->second, C),
        .dy = MS_CASE_REAL(N, C),
        .r = MS_CASE_REAL(N, C),
        .stat = MS_CASE_REAL(N, 2),
        .w = MS_CASE_REAL_IF(r->w, C),
        .rms = r->rms,
        .accumulate = r->extra,
        .drop = {r->p, 5},
    };
    c->bound[0] = c->bound[1] = ms_case_sum(C);
    c->bound[2] = c->bound[3] = ms_case_sum(N);
    snprintf(c->label, sizeof c->label, "N=%d C=%d %s%s%s%s%s%s p=%g", N, C,
             r->rms ? "rms" : "layer", r->w ? " w" : "", r->df ? " df" : "", r->first ? " dw" : "",
             r->second ? " db" : "", r->extra ? " accumulate" : "", (double)r->p);
}

bool ms_cases_norm(ms_op o, int i, ms_case *c)
{
    row r;

    if (!row_of(o, i, &r)) return false;
    c->bench = r.s.bench;
    c->slow = r.s.slow;
    c->flops = (o == MS_OP_norm_fwd || o == MS_OP_add_norm_fwd ? 7.0 : 12.0) * r.s.N * r.s.C;
    if (o == MS_OP_norm_fwd) norm_fwd(&r, c);
    if (o == MS_OP_norm_bwd) norm_bwd(&r, c);
    if (o == MS_OP_add_norm_fwd) add_norm_fwd(&r, c);
    if (o == MS_OP_add_norm_bwd) add_norm_bwd(&r, c);
    return true;
}
