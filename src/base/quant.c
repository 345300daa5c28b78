/* quant - floats to blocks, one function a type; the other way is in quant_rows.h
 *
 * Rounding to blocks gives the same everywhere but for one thing: a machine that fuses
 * multiplication and addition may choose another of two near-equal levels. */
#include "base/quant.h"

#include "base/quant_rows.h"
#include "base/status.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

static void write_f16(uint8_t *p, float value)
{
    uint16_t h = ms_f16_from_float(value);

    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* -- to blocks of 32 ------------------------------------------------------------------------- */

/* Conversions to int below are of what is in range: anything else would be undefined. */

/* Towards zero, into 0 to high; NaN is 0. */
static int whole(float v, int high)
{
    if (!(v > 0)) return 0;
    return v < (float)high ? (int)v : high;
}

/* To the nearest, halves to even, into low to high; NaN is 0 or the next to it. */
static int nearest(float v, int low, int high)
{
    if (v != v) v = 0;
    if (v < (float)low) v = (float)low;
    if (v > (float)high) v = (float)high;
    return (int)lrintf(v);
}

static float inverse(float v)
{
    return v != 0 ? 1 / v : 0;
}

static void write_f32(const float *x, uint8_t *restrict b, size_t n)
{
    if (n > 0) memcpy(b, x, n * sizeof *x);
}

static void write_bf16(const float *x, uint8_t *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = ms_bf16_from_float(x[i]);

        memcpy(b + i * sizeof h, &h, sizeof h);
    }
}

static void write_halves(const float *x, uint8_t *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++) write_f16(b + 2 * i, x[i]);
}

/* To the nearest, halves away from zero, as roundf: v less its whole part is exact. */
static int nearest_away(float v)
{
    int i = whole(fabsf(v), 127);

    i += fabsf(v) - (float)i >= 0.5f && i < 127;
    return v < 0 ? -i : i;
}

static void write_q8_0(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q8_0_BYTES, x += SMALL) {
        float most = 0, d, id;

        for (int j = 0; j < SMALL; j++) most = most > fabsf(x[j]) ? most : fabsf(x[j]);
        d = most / 127;
        id = inverse(d);
        write_f16(b, d);
        for (int j = 0; j < SMALL; j++) b[2 + j] = (uint8_t)nearest_away(x[j] * id);
    }
}

/* The first of the values farthest from zero. */
static float farthest(const float *x, int n)
{
    float most = 0, value = 0;

    for (int j = 0; j < n; j++)
        if (fabsf(x[j]) > most) {
            most = fabsf(x[j]);
            value = x[j];
        }
    return value;
}

static void range(const float *x, int n, float *low, float *high)
{
    *low = FLT_MAX;
    *high = -FLT_MAX;
    for (int j = 0; j < n; j++) {
        if (x[j] < *low) *low = x[j];
        if (x[j] > *high) *high = x[j];
    }
}

static void put_nibbles(const uint8_t level[SMALL], uint8_t *restrict q)
{
    for (int j = 0; j < NIBBLES; j++)
        q[j] = (uint8_t)((level[j] & 15) | (level[j + NIBBLES] & 15) << 4);
}

static void put_fifth_bits(const uint8_t level[SMALL], uint8_t *restrict b)
{
    for (int i = 0; i < 4; i++) {
        int bits = 0;

        for (int k = 0; k < 8; k++) bits |= (level[8 * i + k] >> 4 & 1) << k;
        b[i] = (uint8_t)bits;
    }
}

/* Levels of x = d (q - half): the farthest value is level 0, so that the side with one level more
 * is its side.  0.5 rounds to the nearest. */
static float centred_levels(const float *x, int half, uint8_t level[SMALL])
{
    const float d = farthest(x, SMALL) / (float)-half, id = inverse(d);

    for (int j = 0; j < SMALL; j++)
        level[j] = (uint8_t)whole(x[j] * id + ((float)half + 0.5f), 2 * half - 1);
    return d;
}

/* Levels of x = d q + m. */
static float lifted_levels(const float *x, int top, uint8_t level[SMALL], float *m)
{
    float high, d, id;

    range(x, SMALL, m, &high);
    d = (high - *m) / (float)top;
    id = inverse(d);
    for (int j = 0; j < SMALL; j++) level[j] = (uint8_t)whole((x[j] - *m) * id + 0.5f, top);
    return d;
}

static void write_q4_0(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q4_0_BYTES, x += SMALL) {
        uint8_t level[SMALL];

        write_f16(b, centred_levels(x, 8, level));
        put_nibbles(level, b + 2);
    }
}

static void write_q4_1(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q4_1_BYTES, x += SMALL) {
        uint8_t level[SMALL];
        float m;

        write_f16(b, lifted_levels(x, 15, level, &m));
        write_f16(b + 2, m);
        put_nibbles(level, b + 4);
    }
}

static void write_q5_0(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q5_0_BYTES, x += SMALL) {
        uint8_t level[SMALL];

        write_f16(b, centred_levels(x, 16, level));
        put_fifth_bits(level, b + 2);
        put_nibbles(level, b + 6);
    }
}

static void write_q5_1(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q5_1_BYTES, x += SMALL) {
        uint8_t level[SMALL];
        float m;

        write_f16(b, lifted_levels(x, 31, level, &m));
        write_f16(b + 2, m);
        put_fifth_bits(level, b + 4);
        put_nibbles(level, b + 8);
    }
}

/* -- to blocks of 256 ------------------------------------------------------------------------ */

enum { Q4_K_GROUP = 32, Q4_K_GROUPS = 8, Q6_K_GROUP = 16, Q6_K_GROUPS = 16 };

/* 32 values and how much an error of each weighs. */
typedef struct {
    const float *x;
    float weight[Q4_K_GROUP];
    float low, high; /* of x; low is at most 0 */
    float sum_w, sum_wx;
} weighed;

/* x is about scale q - min, at an error of so much. */
typedef struct {
    float scale, min, error;
} fit;

/* A value weighs as much as it is large, beside the root of the mean square. */
static void weigh(weighed *v, const float *x)
{
    float squares = 0, mean;

    for (int i = 0; i < Q4_K_GROUP; i++) squares += x[i] * x[i];
    mean = sqrtf(squares / Q4_K_GROUP);
    *v = (weighed){.x = x, .low = x[0], .high = x[0]};
    for (int i = 0; i < Q4_K_GROUP; i++) {
        v->weight[i] = mean + fabsf(x[i]);
        if (x[i] < v->low) v->low = x[i];
        if (x[i] > v->high) v->high = x[i];
        v->sum_w += v->weight[i];
        v->sum_wx += v->weight[i] * x[i];
    }
    if (v->low > 0) v->low = 0;
}

/* The levels of steps of 1 / n of what lies from low to the highest. */
static void levels(const weighed *v, float low, float n, uint8_t level[Q4_K_GROUP])
{
    const float iscale = n / (v->high - low);

    for (int i = 0; i < Q4_K_GROUP; i++)
        level[i] = (uint8_t)nearest(iscale * (v->x[i] - low), 0, 15);
}

static float weighed_error(const weighed *v, const uint8_t *level, float scale, float low)
{
    float error = 0;

    for (int i = 0; i < Q4_K_GROUP; i++) {
        float diff = scale * (float)level[i] + low - v->x[i];

        error += v->weight[i] * (diff * diff);
    }
    return error;
}

/* Least squares for the line through given levels, with a value of at most 0 at level 0; false when
 * there is none. */
static bool line_through(const weighed *v, const uint8_t *level, fit *f)
{
    float sum_l = 0, sum_l2 = 0, sum_xl = 0, determinant, low;

    for (int i = 0; i < Q4_K_GROUP; i++) {
        float l = level[i], w = v->weight[i];

        sum_l += w * l;
        sum_l2 += w * l * l;
        sum_xl += w * l * v->x[i];
    }
    determinant = v->sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) return false;
    f->scale = (v->sum_w * sum_xl - v->sum_wx * sum_l) / determinant;
    low = (sum_l2 * v->sum_wx - sum_l * sum_xl) / determinant;
    if (low > 0) {
        low = 0;
        f->scale = sum_xl / sum_l2;
    }
    f->min = -low;
    f->error = weighed_error(v, level, f->scale, low);
    return true;
}

/* The best of the lines through the levels of 21 step sizes near (high - low) / 15, where low is
 * that of the best line so far: as ggml does it. */
static fit best_line(const weighed *v, uint8_t level[Q4_K_GROUP])
{
    uint8_t tried[Q4_K_GROUP];
    fit best = {.min = -v->low}, f;

    memset(level, 0, Q4_K_GROUP);
    if (v->high == v->low) return best;
    best.scale = 1 / (15 / (v->high - v->low));
    levels(v, v->low, 15, level);
    best.error = weighed_error(v, level, best.scale, v->low);
    for (int step = 0; step <= 20; step++) {
        levels(v, -best.min, -1.0f + 0.1f * (float)step + 15, tried);
        if (!line_through(v, tried, &f) || !(f.error < best.error)) continue;
        best = f;
        memcpy(level, tried, Q4_K_GROUP);
    }
    return best;
}

/* The inverse of six_bits. */
static void put_six_bits(uint8_t s[12], int g, int scale, int min)
{
    if (g < 4) {
        s[g] = (uint8_t)scale;
        s[g + 4] = (uint8_t)min;
    } else {
        s[g + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        s[g - 4] |= (uint8_t)((scale >> 4) << 6);
        s[g] |= (uint8_t)((min >> 4) << 6);
    }
}

static void write_q4_k_block(const float *x, uint8_t *restrict b)
{
    uint8_t level[Q4_K_GROUPS][Q4_K_GROUP];
    fit line[Q4_K_GROUPS];
    float scale_most = 0, min_most = 0, to_scale, to_min, d, dmin;
    weighed v;

    for (int g = 0; g < Q4_K_GROUPS; g++) {
        weigh(&v, x + Q4_K_GROUP * g);
        line[g] = best_line(&v, level[g]);
        if (line[g].scale > scale_most) scale_most = line[g].scale;
        if (line[g].min > min_most) min_most = line[g].min;
    }
    to_scale = scale_most > 0 ? 63 / scale_most : 0;
    to_min = min_most > 0 ? 63 / min_most : 0;
    write_f16(b, scale_most / 63);
    write_f16(b + 2, min_most / 63);
    d = read_f16(b);
    dmin = read_f16(b + 2);
    for (int g = 0; g < Q4_K_GROUPS; g++) {
        int scale = nearest(to_scale * line[g].scale, 0, 63);
        int min = nearest(to_min * line[g].min, 0, 63);
        float ds = d * (float)scale, dm = dmin * (float)min;

        put_six_bits(b + 4, g, scale, min);
        if (ds == 0) continue;
        for (int l = 0; l < Q4_K_GROUP; l++)
            level[g][l] = (uint8_t)nearest((x[Q4_K_GROUP * g + l] + dm) / ds, 0, 15);
    }
    for (int g = 0; g < Q4_K_GROUPS; g += 2)
        for (int l = 0; l < Q4_K_GROUP; l++)
            b[16 + 16 * g + l] = (uint8_t)(level[g][l] | level[g + 1][l] << 4);
}

static void write_q4_k(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q4_K_BYTES, x += LARGE) write_q4_k_block(x, b);
}

/* Sums over 16 values x with levels l and weights x^2. */
typedef struct {
    float xl, l2;
} sums;

static sums centred_sums(const float *x, float iscale)
{
    sums s = {0, 0};

    for (int i = 0; i < Q6_K_GROUP; i++) {
        float l = (float)nearest(iscale * x[i], -32, 31), w = x[i] * x[i];

        s.xl += w * x[i] * l;
        s.l2 += w * l * l;
    }
    return s;
}

/* The scale that leaves the least weighed error, of 19 step sizes near farthest / 32. */
static float best_scale(const float *x, uint8_t level[Q6_K_GROUP])
{
    const float most = farthest(x, Q6_K_GROUP);
    float iscale = -32 / most, scale, best;
    sums s;

    memset(level, 0, Q6_K_GROUP);
    if (fabsf(most) < 1e-15f) return 0;
    s = centred_sums(x, iscale);
    scale = s.l2 != 0 ? s.xl / s.l2 : 0;
    best = scale * s.xl;
    for (int step = -9; step <= 9; step++) {
        float tried = -(32 + 0.1f * (float)step) / most;

        if (step == 0) continue;
        s = centred_sums(x, tried);
        if (!(s.l2 > 0 && s.xl * s.xl > best * s.l2)) continue;
        scale = s.xl / s.l2;
        best = scale * s.xl;
        iscale = tried;
    }
    for (int i = 0; i < Q6_K_GROUP; i++) level[i] = (uint8_t)(nearest(iscale * x[i], -32, 31) + 32);
    return scale;
}

static void put_q6_k_levels(const uint8_t level[LARGE], uint8_t *restrict b)
{
    for (int half = 0; half < 2; half++) {
        const uint8_t *q = level + 128 * half;
        uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half;

        for (int l = 0; l < 64; l++) low[l] = (uint8_t)((q[l] & 15) | (q[l + 64] & 15) << 4);
        for (int l = 0; l < 32; l++)
            high[l] = (uint8_t)(q[l] >> 4 | (q[l + 32] >> 4) << 2 | (q[l + 64] >> 4) << 4 |
                                (q[l + 96] >> 4) << 6);
    }
}

static void write_q6_k_block(const float *x, uint8_t *restrict b)
{
    uint8_t level[LARGE];
    float scale[Q6_K_GROUPS], most, iscale, d;

    for (int g = 0; g < Q6_K_GROUPS; g++)
        scale[g] = best_scale(x + Q6_K_GROUP * g, level + Q6_K_GROUP * g);
    most = farthest(scale, Q6_K_GROUPS);
    if (fabsf(most) < 1e-15f) {
        memset(b, 0, Q6_K_BYTES);
        return;
    }
    iscale = -128 / most;
    write_f16(b + 208, 1 / iscale);
    d = read_f16(b + 208);
    for (int g = 0; g < Q6_K_GROUPS; g++) {
        int s = nearest(iscale * scale[g], -128, 127);
        float ds = d * (float)s;

        b[192 + g] = (uint8_t)s;
        if (ds == 0) continue;
        for (int i = Q6_K_GROUP * g; i < Q6_K_GROUP * (g + 1); i++)
            level[i] = (uint8_t)(nearest(x[i] / ds, -32, 31) + 32);
    }
    put_q6_k_levels(level, b);
}

static void write_q6_k(const float *x, uint8_t *restrict b, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q6_K_BYTES, x += LARGE) write_q6_k_block(x, b);
}

/* -- by type --------------------------------------------------------------------------------- */

typedef void writer(const float *x, uint8_t *restrict b, size_t n);

static writer *const writers[MS_DTYPE_COUNT] = {
    [MS_F32] = write_f32,   [MS_BF16] = write_bf16, [MS_F16] = write_halves, [MS_Q8_0] = write_q8_0,
    [MS_Q4_0] = write_q4_0, [MS_Q4_1] = write_q4_1, [MS_Q5_0] = write_q5_0,  [MS_Q5_1] = write_q5_1,
    [MS_Q4_K] = write_q4_k, [MS_Q6_K] = write_q6_k,
};

void ms_dequantize(ms_dtype dtype, const void *blocks, float *out, size_t n)
{
    MS_ASSERT(ms_dtype_is_real(dtype) && n % (size_t)ms_dtype_block(dtype) == 0);
    quant_read(dtype, blocks, out, n);
}

bool ms_can_quantize(ms_dtype dtype)
{
    return (unsigned)dtype < MS_DTYPE_COUNT && writers[dtype];
}

void ms_quantize(ms_dtype dtype, const float *x, void *blocks, size_t n)
{
    MS_ASSERT(ms_can_quantize(dtype) && n % (size_t)ms_dtype_block(dtype) == 0);
    writers[dtype](x, blocks, n);
}
