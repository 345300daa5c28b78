/* quant - blocks to floats and floats to blocks, one row function a type and direction
 *
 *   q8_0  d | 32 signed bytes                       x = d q
 *   q4_0  d | 16 bytes of nibbles                   x = d (q - 8)
 *   q4_1  d m | 16 bytes of nibbles                 x = d q + m
 *   q5_0  d | 32 fifth bits | 16 bytes of nibbles   x = d (q - 16)
 *   q5_1  d m | 32 fifth bits | 16 bytes            x = d q + m
 *   q2_k  16 scales and minima of 4 bits | 64 bytes of 2 bits | d dmin       x = d s q - dmin m
 *   q3_k  32 bytes of third bits | 64 bytes of 2 bits | 16 scales of 6 bits | d    x = d s (q - 4)
 *   q4_k  d dmin | 8 scales and minima of 6 bits | 128 bytes of nibbles      x = d s q - dmin m
 *   q5_k  d dmin | the same | 32 bytes of fifth bits | 128 bytes of nibbles  x = d s q - dmin m
 *   q6_k  128 bytes of nibbles | 64 bytes of 2 bits | 16 signed scales | d   x = d s (q - 32)
 *
 * d, m and dmin are f16, little-endian.  A nibble's low half is element j, its high half the one
 * half a block (q4_0 ... q5_1), 32 (q4_k, q5_k) or 64 elements (q6_k) behind it.
 *
 * Every product above is exact in float: 11 bits of an f16, at most 7 of a scale, at most 6 of q.
 * So floats are the same whether or not a compiler fuses multiplication and addition.  Rounding to
 * blocks has no such guarantee: a machine that fuses may choose another of two near-equal levels. */
#include "base/quant.h"

#include "base/half.h"
#include "base/status.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

enum { SMALL = 32, LARGE = 256, NIBBLES = SMALL / 2 };
enum {
    Q8_0_BYTES = 34,
    Q4_0_BYTES = 18,
    Q4_1_BYTES = 20,
    Q5_0_BYTES = 22,
    Q5_1_BYTES = 24,
    Q2_K_BYTES = 84,
    Q3_K_BYTES = 110,
    Q4_K_BYTES = 144,
    Q5_K_BYTES = 176,
    Q6_K_BYTES = 210
};

static float read_f16(const uint8_t *p)
{
    return ms_float_from_f16((uint16_t)(p[0] | p[1] << 8));
}

static void write_f16(uint8_t *p, float value)
{
    uint16_t h = ms_f16_from_float(value);

    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* -- to floats ------------------------------------------------------------------------------- */

static void read_f64(const uint8_t *b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v;

        memcpy(&v, b + i * sizeof v, sizeof v);
        y[i] = (float)v;
    }
}

static void read_f32(const uint8_t *b, float *restrict y, size_t n)
{
    if (n > 0) memcpy(y, b, n * sizeof *y);
}

static void read_bf16(const uint8_t *b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, b + i * sizeof h, sizeof h);
        y[i] = ms_float_from_bf16(h);
    }
}

static void read_halves(const uint8_t *b, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;

        memcpy(&h, b + i * sizeof h, sizeof h);
        y[i] = ms_float_from_f16(h);
    }
}

static void read_q8_0(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q8_0_BYTES, y += SMALL) {
        const float d = read_f16(b);
        const int8_t *q = (const int8_t *)b + 2;

        for (int j = 0; j < SMALL; j++) y[j] = d * (float)q[j];
    }
}

static void read_q4_0(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q4_0_BYTES, y += SMALL) {
        const float d = read_f16(b);
        const uint8_t *q = b + 2;

        for (int j = 0; j < NIBBLES; j++) y[j] = d * (float)((q[j] & 15) - 8);
        for (int j = 0; j < NIBBLES; j++) y[j + NIBBLES] = d * (float)((q[j] >> 4) - 8);
    }
}

static void read_q4_1(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q4_1_BYTES, y += SMALL) {
        const float d = read_f16(b), m = read_f16(b + 2);
        const uint8_t *q = b + 4;

        for (int j = 0; j < NIBBLES; j++) y[j] = d * (float)(q[j] & 15) + m;
        for (int j = 0; j < NIBBLES; j++) y[j + NIBBLES] = d * (float)(q[j] >> 4) + m;
    }
}

/* 32 levels of 5 bits; the bits lie at b, the nibbles behind them.  Each bit is tested in a byte of
 * its own eight, which needs no shift by a variable amount. */
static void five_bits(const uint8_t *b, uint8_t level[SMALL])
{
    static const uint8_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint8_t *q = b + 4;
    uint8_t spread[SMALL];

    for (int i = 0; i < 4; i++) memset(spread + 8 * i, b[i], 8);
    for (int j = 0; j < NIBBLES; j++) level[j] = q[j] & 15;
    for (int j = 0; j < NIBBLES; j++) level[j + NIBBLES] = q[j] >> 4;
    for (int j = 0; j < SMALL; j++) level[j] |= spread[j] & bit[j % 8] ? 16 : 0;
}

static void read_q5_0(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q5_0_BYTES, y += SMALL) {
        const float d = read_f16(b);
        uint8_t level[SMALL];

        five_bits(b + 2, level);
        for (int j = 0; j < SMALL; j++) y[j] = d * (float)(level[j] - 16);
    }
}

static void read_q5_1(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= SMALL, b += Q5_1_BYTES, y += SMALL) {
        const float d = read_f16(b), m = read_f16(b + 2);
        uint8_t level[SMALL];

        five_bits(b + 4, level);
        for (int j = 0; j < SMALL; j++) y[j] = d * (float)level[j] + m;
    }
}

/* Groups of 16: group g lies in 16 bytes of half a block's 32, at bits 2 (g / 2 % 4). */
static void read_q2_k(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q2_K_BYTES) {
        const float d = read_f16(b + 80), dmin = read_f16(b + 82);

        for (int g = 0; g < 16; g++, y += 16) {
            const float scale = d * (float)(b[g] & 15), min = dmin * (float)(b[g] >> 4);
            const uint8_t *q = b + 16 + 32 * (g / 8) + 16 * (g % 2);
            const int shift = 2 * (g / 2 % 4);

            for (int l = 0; l < 16; l++) y[l] = scale * (float)(q[l] >> shift & 3) - min;
        }
    }
}

/* Low 4 bits of scales 0 to 7 and 8 to 15 share bytes 0 to 7; the high 2 bits of scales i, i + 4,
 * i + 8, i + 12 are byte 8 + i. */
static int q3_k_scale(const uint8_t s[12], int g)
{
    int low = s[g % 8] >> (g < 8 ? 0 : 4) & 15, high = s[8 + g % 4] >> 2 * (g / 4) & 3;

    return (low | high << 4) - 32;
}

/* The levels lie as in q2_k; bit g / 2 of the 32 bytes says that 4 is not to be taken off. */
static void read_q3_k(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q3_K_BYTES) {
        const float d = read_f16(b + 108);

        for (int g = 0; g < 16; g++, y += 16) {
            const float scale = d * (float)q3_k_scale(b + 96, g);
            const uint8_t *high = b + 16 * (g % 2), *q = b + 32 + 32 * (g / 8) + 16 * (g % 2);
            const int shift = 2 * (g / 2 % 4), bit = g / 2;

            for (int l = 0; l < 16; l++)
                y[l] = scale * (float)((q[l] >> shift & 3) + 4 * (high[l] >> bit & 1) - 4);
        }
    }
}

/* Scale and minimum g of 8, of 6 bits: the first four are the low bits of bytes g and g + 4; the
 * others share the nibbles of byte g + 4 and have their high bits above those of the first four. */
static void six_bits(const uint8_t s[12], int g, int *scale, int *min)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        *min = s[g + 4] >> 4 | (s[g] >> 6) << 4;
    }
}

static void read_q4_k(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q4_K_BYTES) {
        const float d = read_f16(b), dmin = read_f16(b + 2);

        for (int g = 0; g < 8; g++, y += 32) {
            const uint8_t *q = b + 16 + 32 * (g / 2);
            const int shift = 4 * (g % 2);
            int scale, min;

            six_bits(b + 4, g, &scale, &min);
            const float ds = d * (float)scale, dm = dmin * (float)min;
            for (int l = 0; l < 32; l++) y[l] = ds * (float)(q[l] >> shift & 15) - dm;
        }
    }
}

static void read_q5_k(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q5_K_BYTES) {
        const float d = read_f16(b), dmin = read_f16(b + 2);
        const uint8_t *high = b + 16;

        for (int g = 0; g < 8; g++, y += 32) {
            const uint8_t *q = b + 48 + 32 * (g / 2);
            const int shift = 4 * (g % 2);
            int scale, min;

            six_bits(b + 4, g, &scale, &min);
            const float ds = d * (float)scale, dm = dmin * (float)min;
            for (int l = 0; l < 32; l++)
                y[l] = ds * (float)((q[l] >> shift & 15) + 16 * (high[l] >> g & 1)) - dm;
        }
    }
}

/* Half a block: 64 bytes whose nibbles are elements l and l + 64, 32 bytes whose 2-bit fields are
 * elements l, l + 32, l + 64, l + 96. */
static void read_q6_k(const uint8_t *b, float *restrict y, size_t n)
{
    for (; n > 0; n -= LARGE, b += Q6_K_BYTES) {
        const float d = read_f16(b + 208);

        for (int g = 0; g < 16; g++, y += 16) {
            const int half = g / 8, quarter = g / 2 % 4, at = 16 * (g % 2);
            const uint8_t *low = b + 64 * half + 32 * (quarter % 2) + at;
            const uint8_t *high = b + 128 + 32 * half + at;
            const int low_shift = 4 * (quarter / 2), high_shift = 2 * quarter;
            const float scale = d * (float)(int8_t)b[192 + g];

            for (int l = 0; l < 16; l++) {
                int q = (low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4;

                y[l] = scale * (float)(q - 32);
            }
        }
    }
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

/* The best of the lines through the levels of 21 step sizes near (high - low) / 15, where low is that
 * of the best line so far: as ggml does it. */
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

static const struct {
    void (*read)(const uint8_t *b, float *restrict y, size_t n);
    void (*write)(const float *x, uint8_t *restrict b, size_t n);
} types[MS_DTYPE_COUNT] = {
    [MS_F64] = {read_f64, NULL},         [MS_F32] = {read_f32, write_f32},
    [MS_BF16] = {read_bf16, write_bf16}, [MS_F16] = {read_halves, write_halves},
    [MS_Q8_0] = {read_q8_0, write_q8_0}, [MS_Q4_0] = {read_q4_0, write_q4_0},
    [MS_Q4_1] = {read_q4_1, write_q4_1}, [MS_Q5_0] = {read_q5_0, write_q5_0},
    [MS_Q5_1] = {read_q5_1, write_q5_1}, [MS_Q2_K] = {read_q2_k, NULL},
    [MS_Q3_K] = {read_q3_k, NULL},       [MS_Q4_K] = {read_q4_k, write_q4_k},
    [MS_Q5_K] = {read_q5_k, NULL},       [MS_Q6_K] = {read_q6_k, write_q6_k},
};

void ms_dequantize(ms_dtype dtype, const void *blocks, float *out, size_t n)
{
    MS_ASSERT(ms_dtype_is_real(dtype) && n % (size_t)ms_dtype_block(dtype) == 0);
    types[dtype].read(blocks, out, n);
}

bool ms_can_quantize(ms_dtype dtype)
{
    return (unsigned)dtype < MS_DTYPE_COUNT && types[dtype].write;
}

void ms_quantize(ms_dtype dtype, const float *x, void *blocks, size_t n)
{
    MS_ASSERT(ms_can_quantize(dtype) && n % (size_t)ms_dtype_block(dtype) == 0);
    types[dtype].write(x, blocks, n);
}
