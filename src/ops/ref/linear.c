/* linear - matrix products by their definition, with bias and activation */
#include "base/half.h"
#include "ops/ref/ref.h"

#include <float.h>
#include <stdlib.h>

/* A factor of a product as it is, or as products of bf16 take it. */
static double taken(double x, bool bf16)
{
    float f = (float)x;

    if (!bf16) return x;
    return fabsf(f) < FLT_MIN ? 0 : (double)ms_float_from_bf16(ms_bf16_from_float(f));
}

/* A sum, and the sum of the sizes of its terms: the scale of its rounding error. */
typedef struct {
    double value, scale;
} sum;

static sum dot(const double *x, const double *w, int n, double bias, bool bf16)
{
    sum s = {bias, fabs(bias)};

    for (int i = 0; i < n; i++) {
        double term = taken(x[i], bf16) * taken(w[i], bf16);

        s.value += term;
        s.scale += fabs(term);
    }
    return s;
}

/* The steepest slope (or largest value) of act near an argument that may be off by `off`: at its
 * ends and its middle; all of these functions are monotone enough in between. */
typedef double act_fn(ms_act act, double u, bool scale);
static double largest(act_fn *f, ms_act act, double u, double off)
{
    return fmax(fabs(f(act, u, false)),
                fmax(fabs(f(act, u - off, false)), fabs(f(act, u + off, false))));
}

/* Scale of the error of act(u) * up: its own, and what comes with u and up, whose errors are below
 * slip times their scales. */
static double act_scale(ms_act act, sum u, sum up, double slip)
{
    double through_u = largest(ms_ref_act_slope, act, u.value, slip * u.scale) * u.scale;
    double own = ms_ref_act(act, u.value, true);

    if (act != MS_ACT_SWIGLU) return own + through_u;
    return (own + through_u) * (fabs(up.value) + slip * up.scale) +
           fabs(ms_ref_act(act, u.value, false)) * up.scale;
}

void ms_ref_linear_fwd(ms_queue *q, const ms_linear_fwd_args *a)
{
    int I = a->x.dim[1], Y = a->y.dim[1];
    double slip = MS_REF_EPS * ms_ref_sum_bound(I);
    const double *b = ms_ref_reals(a->b);

    for (int n = 0; n < a->y.dim[0]; n++) {
        const double *x = ms_ref_row(a->x, n);
        double *y = ms_ref_row(a->y, n), *u_out = ms_ref_row(a->u, n);

        for (int o = 0; o < Y; o++) {
            sum u = dot(x, ms_ref_row(a->w, o), I, b ? b[o] : 0, q->bf16), up = {1, 0};

            if (a->act == MS_ACT_SWIGLU) {
                up = dot(x, ms_ref_row(a->w, Y + o), I, b ? b[Y + o] : 0, q->bf16);
                if (u_out) u_out[Y + o] = q->magnitude ? up.scale : up.value;
            }
            if (u_out) u_out[o] = q->magnitude ? u.scale : u.value;
            if (a->act == MS_ACT_NONE)
                y[o] = q->magnitude ? u.scale : u.value;
            else
                y[o] = q->magnitude ? act_scale(a->act, u, up, slip)
                                    : ms_ref_act(a->act, u.value, false) * up.value;
        }
    }
}

/* dx = (dx +) act'(u) * (dy w).  u may be dx: an element of u is read before it is written. */
static void input_gradient(const ms_queue *q, const ms_linear_bwd_args *a)
{
    int I = a->w.dim[1], O = a->w.dim[0];
    bool scale = q->magnitude;

    for (int n = 0; n < a->dy.dim[0]; n++) {
        const double *dy = ms_ref_row(a->dy, n), *u = ms_ref_row(a->u, n);
        double *dx = ms_ref_row(a->dx, n);

        for (int i = 0; i < I; i++) {
            double s = 0;

            for (int o = 0; o < O; o++) {
                const double *w = ms_ref_reals(a->w) + (size_t)o * (size_t)I;

                s += ms_ref_term(q, taken(dy[o], q->bf16) * taken(w[i], q->bf16));
            }
            if (a->act == MS_ACT_NONE) {
                dx[i] = s + (a->accumulate ? ms_ref_term(q, dx[i]) : 0);
                continue;
            }
            if (a->act == MS_ACT_SWIGLU) {
                dx[I + i] = ms_ref_act(a->act, u[i], scale) * s;
                s *= ms_ref_term(q, u[I + i]);
            }
            dx[i] = ms_ref_act_slope(a->act, u[i], scale) * s;
        }
    }
}

void ms_ref_linear_bwd(ms_queue *q, const ms_linear_bwd_args *a)
{
    int N = a->dy.dim[0], O = a->dy.dim[1];
    double *db = ms_ref_reals(a->db);

    ms_ref_start_sum(q, a->dw);
    ms_ref_start_sum(q, a->db);
    for (int n = 0; n < N; n++) {
        const double *dy = ms_ref_row(a->dy, n), *x = ms_ref_row(a->x, n);

        for (int o = 0; o < O; o++) {
            double *dw = ms_ref_row(a->dw, o);

            if (db) db[o] += ms_ref_term(q, dy[o]);
            for (int i = 0; dw && i < a->dw.dim[1]; i++)
                dw[i] += ms_ref_term(q, taken(dy[o], q->bf16) * taken(x[i], q->bf16));
        }
    }
    if (ms_present(a->dx)) input_gradient(q, a);
}

/* x as linear_stored takes it for most block types: in f32, as the contract says. */
static void round_block(const double *x, double *out)
{
    float most = 0;

    for (int i = 0; i < 32; i++) {
        float size = fabsf((float)x[i]);

        if (!(size <= most)) most = size; /* NaN is not lost */
        if (most != most) break;
    }
    for (int i = 0; i < 32; i++) {
        float q = (float)x[i] * (127 / most);

        if (most < 0x1p-100f)
            out[i] = 0;
        else
            out[i] = isfinite(most) ? (double)(most / 127) * (double)rintf(q) : (double)NAN;
    }
}

/* The minimum that a type adds to each element of row n: what it gives where all levels are 0. */
static void minima(ms_tensor w, int n, double *out)
{
    static const struct {
        ms_dtype dtype;
        size_t head_bytes; /* of a block: scales and minima, before the levels */
    } types[] = {{MS_Q4_1, 4}, {MS_Q5_1, 4}, {MS_Q4_K, 16}, {MS_Q5_K, 16}};
    size_t bytes = ms_dtype_bytes(w.dtype), head_bytes = 0;
    int block = ms_dtype_block(w.dtype);
    const char *from = (const char *)w.data + (size_t)n * ms_tensor_bytes(ms_rows(w, 0, 1));

    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        if (types[t].dtype == w.dtype) head_bytes = types[t].head_bytes;
    for (int i = 0; i < w.dim[1]; i += block, from += bytes) {
        float part[256] = {0};
        char empty[256] = {0};

        memcpy(empty, from, head_bytes);
        if (head_bytes > 0) ms_dequantize(w.dtype, empty, part, (size_t)block);
        for (int j = 0; j < block; j++) out[i + j] = part[j];
    }
}

static void round_bf16(double *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = (double)ms_float_from_bf16(ms_bf16_from_float((float)x[i]));
}

/* Row n of x, rounded where the type of w or the queue asks for it. */
static void factor(const ms_queue *q, const ms_linear_stored_args *a, int n, double *to)
{
    const double *x = ms_ref_row(a->x, n);
    int I = a->x.dim[1];

    if (!ms_rounds_factor(a->w.dtype)) {
        memcpy(to, x, (size_t)I * sizeof *to);
        if (q->bf16) round_bf16(to, I);
        return;
    }
    for (int i = 0; i < I; i += 32) round_block(x + i, to + i);
}

void ms_ref_linear_stored(ms_queue *q, const ms_linear_stored_args *a)
{
    int I = a->w.dim[1], N = a->y.dim[0];
    const double *b = ms_ref_reals(a->b);
    double *x = malloc(((size_t)N + 2) * (size_t)I * sizeof *x);
    double *w = x ? x + (size_t)N * (size_t)I : NULL, *min = w ? w + I : NULL;

    if (!x) {
        ms_queue_fail(q, MS_MEMORY, "linear_stored: out of memory for %d rows of %d", N + 2, I);
        return;
    }
    for (int n = 0; n < N; n++) factor(q, a, n, x + (size_t)n * (size_t)I);
    for (int o = 0; o < a->w.dim[0]; o++) {
        ms_ref_stored(a->w, o, w);
        if (q->bf16 && !ms_rounds_factor(a->w.dtype)) round_bf16(w, I);
        minima(a->w, o, min);
        for (int n = 0; n < N; n++) {
            const double *xn = x + (size_t)n * (size_t)I;
            sum y = dot(xn, w, I, b ? b[o] : 0, false);

            for (int i = 0; q->magnitude && i < I; i++)
                y.scale += fabs(xn[i]) * (fabs(w[i] - min[i]) + fabs(min[i]) - fabs(w[i]));
            ms_ref_row(a->y, n)[a->at + o] = q->magnitude ? y.scale : y.value;
        }
    }
    free(x);
}
