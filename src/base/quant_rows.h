/* quant_rows - blocks to floats, one function a type; compiled where it is included: by quant.c,
 * and by the CPU back end once for each instruction set
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
 * So floats are the same whether or not a compiler fuses multiplication and addition. */
#ifndef MS_BASE_QUANT_ROWS_H
#define MS_BASE_QUANT_ROWS_H

#include "base/half.h"
#include "base/tensor.h"

#include <stdint.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

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
#ifdef __F16C__
    return _cvtsh_ss((uint16_t)(p[0] | p[1] << 8));
#else
    return ms_float_from_f16((uint16_t)(p[0] | p[1] << 8));
#endif
}

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
    size_t i = 0;

#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(b + 2 * i))));
#endif
    for (; i < n; i++) {
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

typedef void quant_reader(const uint8_t *b, float *restrict y, size_t n);

/* n elements, a multiple of the block; blocks may be unaligned. */
static inline void quant_read(ms_dtype dtype, const void *blocks, float *out, size_t n)
{
    static quant_reader *const read[MS_DTYPE_COUNT] = {
        [MS_F64] = read_f64,   [MS_F32] = read_f32,   [MS_BF16] = read_bf16, [MS_F16] = read_halves,
        [MS_Q8_0] = read_q8_0, [MS_Q4_0] = read_q4_0, [MS_Q4_1] = read_q4_1, [MS_Q5_0] = read_q5_0,
        [MS_Q5_1] = read_q5_1, [MS_Q2_K] = read_q2_k, [MS_Q3_K] = read_q3_k, [MS_Q4_K] = read_q4_k,
        [MS_Q5_K] = read_q5_k, [MS_Q6_K] = read_q6_k,
    };

    read[dtype](blocks, out, n);
}

#endif
