/* activation - GELU, SwiGLU, squared ReLU and dropout, vectorised; no library call an element */
#include "ops/cpu/kernel.h"

/* -- functions of a vector ------------------------------------------------------------------- */

/* Phi(x), the normal distribution, to 4 eps of itself:
 * with z = |x| / sqrt 2 and t = 1 / (1 + z/2), erfc z = t p(t) exp(-z^2), where p is a polynomial
 * fitted by Chebyshev interpolation to erfc(z) exp(z^2) / t for t in [0.12, 1] (2e-7 relative).
 * *density gets exp(-x^2 / 2). */
static inline vf normal_distribution(vf x, vf *density)
{
    vf z = vf_select(x < 0, -x, x) * 0.70710678f;
    vf t = 1.0f / (1.0f + 0.5f * z), p, tail;

    *density = vf_exp(-0.5f * x * x);
    p = t * -0.0596051756f + 0.28713938f;
    p = p * t - 0.492388739f;
    p = p * t + 0.283847389f;
    p = p * t - 0.0304871229f;
    p = p * t + 0.204264107f;
    p = p * t + 0.242720785f;
    p = p * t + 0.282425647f;
    p = p * t + 0.282083684f;
    tail = 0.5f * t * p * *density;
    return vf_select(x < 0, tail, 1.0f - tail);
}

static inline vf gelu(vf x)
{
    vf density;

    return x * normal_distribution(x, &density);
}

static inline vf gelu_slope(vf x)
{
    vf density, phi = normal_distribution(x, &density);

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
    vf r = vf_select(x < 0, (vf){0}, x);

    return r * r;
}

/* -- rows ------------------------------------------------------------------------------------ */

/* Runs an expression of x over a row; the tail goes through a padded vector. */
#define ROW(body)                                                                                  \
    for (int i = 0; i < F; i += VF) {                                                              \
        int m = F - i < VF ? F - i : VF;                                                           \
        body                                                                                       \
    }
#define MAP(f) ROW(vf_store_part(y + i, f(vf_load_part(u + i, m)), m);)
#define MAP_BACK(f)                                                                                \
    ROW(vf_store_part(du + i, f(vf_load_part(u + i, m)) * vf_load_part(dy + i, m), m);)

static inline vf relu2_slope(vf x)
{
    return 2.0f * vf_select(x < 0, (vf){0}, x);
}

static void swiglu_row(float *y, const float *u, int F)
{
    ROW(vf g = vf_load_part(u + i, m);
        vf_store_part(y + i, g * vf_sigmoid(g) * vf_load_part(u + F + i, m), m);)
}

/* d(gate) = dy up sigma (1 + gate (1 - sigma)), d(up) = dy gate sigma */
static void swiglu_back_row(float *du, const float *dy, const float *u, int F)
{
    ROW(vf g = vf_load_part(u + i, m); vf up = vf_load_part(u + F + i, m);
        vf d = vf_load_part(dy + i, m); vf s = vf_sigmoid(g);
        vf_store_part(du + i, d * up * (s + g * s * (1.0f - s)), m);
        vf_store_part(du + F + i, d * (g * s), m);)
}

void CPU(act_row)(ms_act act, float *y, const float *u, int F)
{
    switch (act) {
    case MS_ACT_GELU: MAP(gelu) break;
    case MS_ACT_GELU_TANH: MAP(gelu_tanh) break;
    case MS_ACT_RELU2: MAP(relu2) break;
    case MS_ACT_SWIGLU: swiglu_row(y, u, F); break;
    default:
        if (y != u) memmove(y, u, (size_t)F * sizeof *y);
    }
}

void CPU(act_back_row)(ms_act act, float *du, const float *dy, const float *u, int F)
{
    switch (act) {
    case MS_ACT_GELU: MAP_BACK(gelu_slope) break;
    case MS_ACT_GELU_TANH: MAP_BACK(gelu_tanh_slope) break;
    case MS_ACT_RELU2: MAP_BACK(relu2_slope) break;
    case MS_ACT_SWIGLU: swiglu_back_row(du, dy, u, F); break;
    default:
        if (du != dy) memmove(du, dy, (size_t)F * sizeof *du);
    }
}

/* -- ops ------------------------------------------------------------------------------------- */

static void fwd_region(void *arg, int thread, int threads)
{
    const ms_act_fwd_args *a = arg;
    size_t first, last;

    ms_share((size_t)a->y.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++)
        CPU(act_row)(a->act, cpu_row(a->y, (int)n), cpu_row(a->u, (int)n), a->y.dim[1]);
}

void CPU(act_fwd)(ms_queue *q, const ms_act_fwd_args *a)
{
    ms_act_fwd_args copy = *a;

    cpu_run(q, 8 * ms_count(a->u), fwd_region, &copy);
}

static void bwd_region(void *arg, int thread, int threads)
{
    const ms_act_bwd_args *a = arg;
    size_t first, last;

    ms_share((size_t)a->dy.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) CPU(act_back_row)
    (a->act, cpu_row(a->du, (int)n), cpu_row(a->dy, (int)n), cpu_row(a->u, (int)n), a->dy.dim[1]);
}

void CPU(act_bwd)(ms_queue *q, const ms_act_bwd_args *a)
{
    ms_act_bwd_args copy = *a;

    cpu_run(q, 8 * ms_count(a->u), bwd_region, &copy);
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

    ms_share((size_t)a->x.dim[0], 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) {
        float *y = cpu_row(a->y, (int)n);
        const float *x = cpu_row(a->x, (int)n), *add = cpu_row(a->add, (int)n);

        for (int i = 0; i < C; i += 64) {
            float mask[64];
            int m = C - i < 64 ? C - i : 64;

            if (f->drop.on) cpu_drop_mask(&f->drop, (uint32_t)n, i, m, mask);
            for (int j = 0; j < m; j++) {
                float v = f->drop.on ? mask[j] * x[i + j] : x[i + j];

                y[i + j] = add ? add[i + j] + v : v;
            }
        }
    }
}

void CPU(dropout)(ms_queue *q, const ms_dropout_args *a)
{
    dropping f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, 4 * ms_count(a->x), dropout_region, &f);
}
