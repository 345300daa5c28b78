/* quant - dot products of levels in plain C, for instruction sets without kernels of their own;
 * included by stored_int8.c */
#ifndef MS_OPS_CPU_QUANT_H
#define MS_OPS_CPU_QUANT_H

#include "ops/cpu/stored.h"

enum { Q8_0_ZERO = 0 }; /* levels are signed here */

/* The largest |x| of a block; NaN when there is one.  As bits, so that NaN is the largest. */
static float largest(const float *x)
{
    uint32_t most = 0;

    for (int i = 0; i < X_BLOCK; i++) {
        uint32_t size = ms_bits_from_float(x[i]) & 0x7fffffff;

        most = size > most ? size : most;
    }
    return ms_float_from_bits(most);
}

static void round_levels(int8_t q[X_BLOCK], const float *x, float factor, int *first, int *second)
{
    *first = *second = 0;
    for (int i = 0; i < X_BLOCK; i++) {
        q[i] = factor > 0 ? (int8_t)lrintf(x[i] * factor) : 0;
        *(i < 16 ? first : second) += q[i];
    }
}

/* A block of w as levels around zero. */
typedef struct {
    int8_t q[X_BLOCK];
    float d, min;
    int scale[2]; /* of each half; 1 but for types that have them */
} w_levels;

static void nibble_levels(w_levels *to, const uint8_t *q, int zero)
{
    for (int j = 0; j < NIBBLES; j++) {
        to->q[j] = (int8_t)((q[j] & 15) - zero);
        to->q[j + NIBBLES] = (int8_t)((q[j] >> 4) - zero);
    }
}

static void five_bit_levels(w_levels *to, const uint8_t *b, int zero)
{
    uint8_t level[SMALL];

    five_bits(b, level);
    for (int j = 0; j < SMALL; j++) to->q[j] = (int8_t)(level[j] - zero);
}

/* Group g of 8 of a block of 256. */
static void q45_k_levels(w_levels *to, const uint8_t *b, int g, bool fifth)
{
    const uint8_t *high = b + 16, *q = b + (fifth ? 48 : 16) + 32 * (g / 2);
    int scale, min;

    six_bits(b + 4, g, &scale, &min);
    to->d = read_f16(b) * (float)scale;
    to->min = read_f16(b + 2) * (float)min;
    for (int l = 0; l < 32; l++)
        to->q[l] = (int8_t)((q[l] >> 4 * (g % 2) & 15) + (fifth ? 16 * (high[l] >> g & 1) : 0));
}

static void q6_k_levels(w_levels *to, const uint8_t *b, int g)
{
    const uint8_t *low = b + 64 * (g / 4) + 32 * (g % 2), *high = b + 128 + 32 * (g / 4);
    const int low_shift = 4 * (g % 4 / 2), high_shift = 2 * (g % 4);

    to->d = read_f16(b + 208);
    to->scale[0] = (int8_t)b[192 + 2 * g];
    to->scale[1] = (int8_t)b[193 + 2 * g];
    for (int l = 0; l < 32; l++)
        to->q[l] = (int8_t)(((low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4) - 32);
}

/* Block i of 32 of a row. */
static void read_levels(w_levels *to, ms_dtype dtype, const uint8_t *row, int i)
{
    size_t bytes = ms_dtype_bytes(dtype);
    const uint8_t *b = row + (size_t)(ms_dtype_block(dtype) == SMALL ? i : i / 8) * bytes;

    to->min = 0;
    to->scale[0] = to->scale[1] = 1;
    to->d = read_f16(b);
    switch (dtype) {
    case MS_Q8_0: memcpy(to->q, b + 2, X_BLOCK); break;
    case MS_Q4_0: nibble_levels(to, b + 2, 8); break;
    case MS_Q5_0: five_bit_levels(to, b + 2, 16); break;
    case MS_Q4_1:
        to->min = -read_f16(b + 2);
        nibble_levels(to, b + 4, 0);
        break;
    case MS_Q5_1:
        to->min = -read_f16(b + 2);
        five_bit_levels(to, b + 4, 0);
        break;
    case MS_Q6_K: q6_k_levels(to, b, i % 8); break;
    default: q45_k_levels(to, b, i % 8, dtype == MS_Q5_K);
    }
}

static float add_dot(float y, const x_block *x, const w_levels *w)
{
    int first = 0, second = 0;

    for (int i = 0; i < 16; i++) first += x->q[i] * w->q[i];
    for (int i = 16; i < X_BLOCK; i++) second += x->q[i] * w->q[i];
    y += (float)(first * w->scale[0] + second * w->scale[1]) * (w->d * x->d);
    return w->min != 0 ? y - w->min * x->sum : y;
}

/* A row of w is taken apart once, some blocks at a time, for all rows of x. */
static void multiply(const stored_part *p)
{
    enum { AT_ONCE = 256 };
    const ms_linear_stored_args *a = p->a;
    const uint8_t *row = (const uint8_t *)a->w.data + (size_t)p->w_first * stored_row_bytes(a->w);
    const int blocks = a->x.dim[1] / X_BLOCK;
    w_levels *w = p->work;

    for (int o = p->w_first; o < p->w_first + p->w_rows; o++, row += stored_row_bytes(a->w))
        for (int k = 0; k < blocks; k += AT_ONCE) {
            int n = blocks - k < AT_ONCE ? blocks - k : AT_ONCE;

            for (int i = 0; i < n; i++) read_levels(w + i, a->w.dtype, row, k + i);
            for (int r = 0; r < p->x_rows; r++) {
                const x_block *x = (const x_block *)p->x + (size_t)r * (size_t)blocks + k;
                float *to = cpu_row(a->y, p->x_first + r) + a->at + o, y = k > 0 ? *to : 0;

                for (int i = 0; i < n; i++) y = add_dot(y, x + i, w + i);
                *to = y;
            }
        }
}

/* Weights are kept as files have them. */
static size_t kept_bytes(ms_tensor w)
{
    return ms_tensor_bytes(w);
}

static void keep(void *to, ms_tensor w, int thread, int threads)
{
    if (thread == 0) memcpy(to, w.data, ms_tensor_bytes(w));
    (void)threads;
}

#endif
