/* activation - GELU, SwiGLU, squared ReLU and dropout, vectorised; no library call an element */
#include "ops/cpu/kernel.h"

/* -- functions of a vector ------------------------------------------------------------------- */

static inline vf gelu(vf x)
{
    vf density;

    return x * vf_normal(x, &density);
}

static inline vf gelu_slope(vf x)
{
    vf density, phi = vf_normal(x, &density);

    return phi + x * density * 0.39894228f; /* 1 / sqrt(2 pi) */
}

/* (1 + tanh v) / 2 = sigmoid 2v; v = sqrt(2/pi) (x + 0.044715 x^3). */
static inline vf gelu_tanh(vf x)
{
    return x * vf_sigmoid(1.5957691f * (x + 0.044715f * x * x * x));
}

static inline vf gelu_tanh_slope(vf x)
{
    vf s = vf_sigmoid(1.5957691f * (x + 0.044715f * x * x * x));

    return s + x * s * (1.0f - s) * 1.5957691f * (1.0f + 0.134145f * x * x);
}

static inline vf relu2(vf x)
{
    vf r = vf_max((vf){0}, x); /* not a number stays */

    return r * r;
}

static inline vf relu2_slope(vf x)
{
    return 2.0f * vf_max((vf){0}, x);
}

/* -- rows ------------------------------------------------------------------------------------ */

/* n values of a row; `up` is the other half of SwiGLU's. */
static void act_part(ms_act act, float *y, const float *u, const float *up, int n)
{
#define MAP(f) VF_ROW(i, m, n, vf_store_part(y + i, f(vf_load_part(u + i, m)), m);)
    switch (act) {
    case MS_ACT_GELU: MAP(gelu); break;
    case MS_ACT_GELU_TANH: MAP(gelu_tanh); break;
    case MS_ACT_RELU2: MAP(relu2); break;
    case MS_ACT_SWIGLU:
        VF_ROW(i, m, n, vf g = vf_load_part(u + i, m);
               vf_store_part(y + i, g * vf_sigmoid(g) * vf_load_part(up + i, m), m););
        break;
    default:
        if (y != u) memmove(y, u, (size_t)n * sizeof *y);
    }
#undef MAP
}

/* d(gate) = dy up sigma (1 + gate (1 - sigma)), d(up) = dy gate sigma */
static void swiglu_back(float *du, float *dup, const float *dy, const float *u, const float *up,
                        int n)
{
    VF_ROW(i, m, n, vf g = vf_load_part(u + i, m); vf s = vf_sigmoid(g);
           vf d = vf_load_part(dy + i, m); vf dg = d * vf_load_part(up + i, m);
           vf_store_part(du + i, dg * (s + g * s * (1.0f - s)), m);
           vf_store_part(dup + i, d * (g * s), m););
}

static void act_back_part(ms_act act, float *du, float *dup, const float *dy, const float *u,
                          const float *up, int n)
{
#define MAP(f)                                                                                     \
    VF_ROW(i, m, n, vf_store_part(du + i, f(vf_load_part(u + i, m)) * vf_load_part(dy + i, m), m);)
    switch (act) {
    case MS_ACT_GELU: MAP(gelu_slope); break;
    case MS_ACT_GELU_TANH: MAP(gelu_tanh_slope); break;
    case MS_ACT_RELU2: MAP(relu2_slope); break;
    case MS_ACT_SWIGLU: swiglu_back(du, dup, dy, u, up, n); break;
    default:
        if (du != dy) memmove(du, dy, (size_t)n * sizeof *du);
    }
#undef MAP
}

void CPU(act_row)(ms_act act, float *y, const float *u, int F)
{
    act_part(act, y, u, u + F, F);
}

void CPU(act_back_row)(ms_act act, float *du, const float *dy, const float *u, int F)
{
    act_back_part(act, du, du + F, dy, u, u + F, F);
}

/* -- ops ------------------------------------------------------------------------------------- */

/* Rows are cut into blocks of columns, so that one long row is shared, too. */
enum { BLOCK = 1024, WORK = 32 }; /* WORK: of an element, as cpu_run counts */

static int row_blocks(int columns)
{
    return (columns + BLOCK - 1) / BLOCK;
}

/* Block i of a matrix: row *n, columns [*at, *at + the result). */
static int block_of(size_t i, int columns, int *n, int *at)
{
    int blocks = row_blocks(columns);

    *n = (int)(i / (size_t)blocks);
    *at = (int)(i % (size_t)blocks) * BLOCK;
    return columns - *at < BLOCK ? columns - *at : BLOCK;
}

static void fwd_region(void *arg, int thread, int threads)
{
    const ms_act_fwd_args *a = arg;
    int F = a->y.dim[1];
    size_t first, last;

    ms_share((size_t)a->y.dim[0] * (size_t)row_blocks(F), 1, thread, threads, &first, &last);
    for (size_t k = first; k < last; k++) {
        int n, at, m = block_of(k, F, &n, &at);
        const float *u = cpu_row(a->u, n) + at;

        act_part(a->act, cpu_row(a->y, n) + at, u, u + F, m);
    }
}

void CPU(act_fwd)(ms_queue *q, const ms_act_fwd_args *a)
{
    ms_act_fwd_args copy = *a;

    cpu_run(q, WORK * ms_count(a->y), fwd_region, &copy);
}

static void bwd_region(void *arg, int thread, int threads)
{
    const ms_act_bwd_args *a = arg;
    int F = a->dy.dim[1];
    size_t first, last;

    ms_share((size_t)a->dy.dim[0] * (size_t)row_blocks(F), 1, thread, threads, &first, &last);
    for (size_t k = first; k < last; k++) {
        int n, at, m = block_of(k, F, &n, &at);
        const float *u = cpu_row(a->u, n) + at;
        float *du = cpu_row(a->du, n) + at;

        act_back_part(a->act, du, du + F, cpu_row(a->dy, n) + at, u, u + F, m);
    }
}

void CPU(act_bwd)(ms_queue *q, const ms_act_bwd_args *a)
{
    ms_act_bwd_args copy = *a;

    cpu_run(q, WORK * ms_count(a->dy), bwd_region, &copy);
}

typedef struct {
    const ms_dropout_args *a;
    cpu_drop drop;
} dropping;

static void dropout_region(void *arg, int thread, int threads)
{
    const dropping *f = arg;
    const ms_dropout_args *a = f->a;
    int C = a->x.dim[1];
    size_t first, last;

    ms_share((size_t)a->x.dim[0] * (size_t)row_blocks(C), 1, thread, threads, &first, &last);
    for (size_t k = first; k < last; k++) {
        int n, at, m = block_of(k, C, &n, &at);
        const float *add = cpu_row(a->add, n);

        cpu_drop_row(&f->drop, (uint32_t)n, at, m, cpu_row(a->y, n) + at, cpu_row(a->x, n) + at,
                     add ? add + at : NULL);
    }
}

void CPU(dropout)(ms_queue *q, const ms_dropout_args *a)
{
    dropping f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, (f.drop.on ? 24 : 12) * ms_count(a->x), dropout_region, &f);
}
