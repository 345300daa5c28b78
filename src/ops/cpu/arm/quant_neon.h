/* quant_neon - levels of half a block of a row of w in each vector of 16 bytes, with dot products
 * or without; included by stored_int8.c */
#ifndef MS_OPS_CPU_ARM_QUANT_NEON_H
#define MS_OPS_CPU_ARM_QUANT_NEON_H

#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <arm_neon.h>

enum {
    Q8_0_ZERO = 0, /* levels are signed */
    LEVELS = 8,    /* vectors of levels of 4 rows: two of each */
    GROUPS = 2,    /* of 4 rows of w in a packed tile */
    TILE_ROWS = 6  /* of x in a packed tile */
};
typedef int8x16_t levels;

/* -- x --------------------------------------------------------------------------------------- */

static float largest(const float *x)
{
    uint32x4_t most = vdupq_n_u32(0);

    for (int i = 0; i < X_BLOCK; i += 4) {
        uint32x4_t v = vreinterpretq_u32_f32(vld1q_f32(x + i));

        most = vmaxq_u32(most, vandq_u32(v, vdupq_n_u32(0x7fffffff)));
    }
    return ms_float_from_bits(vmaxvq_u32(most));
}

static void round_levels(int8_t q[X_BLOCK], const float *x, float factor, int *first, int *second)
{
    int sum[2] = {0};

    for (int i = 0; i < X_BLOCK; i += 8) {
        int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), factor));
        int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), factor));

        if (!(factor > 0)) a = b = vdupq_n_s32(0);
        sum[i / 16] += vaddvq_s32(vaddq_s32(a, b));
        vst1_s8(q + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
    }
    *first = sum[0];
    *second = sum[1];
}

/* -- levels of w ----------------------------------------------------------------------------- */

INLINE void put(levels to[2], uint8x16_t low, uint8x16_t high)
{
    to[0] = vreinterpretq_s8_u8(low);
    to[1] = vreinterpretq_s8_u8(high);
}

INLINE void put_nibbles(levels to[2], const uint8_t *p)
{
    uint8x16_t v = vld1q_u8(p);

    put(to, vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8(v, 4));
}

/* 16 more where a bit of the 32 at p is set: each bit is tested in a byte of its own eight. */
INLINE void add_fifth_bits(levels to[2], const uint8_t *p)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));

    for (int h = 0; h < 2; h++) {
        uint8x16_t v = vcombine_u8(vdup_n_u8(p[2 * h]), vdup_n_u8(p[2 * h + 1]));
        uint8x16_t fifth = vandq_u8(vtstq_u8(v, bit), vdupq_n_u8(16));

        to[h] = vorrq_s8(to[h], vreinterpretq_s8_u8(fifth));
    }
}

/* 16 bytes, shifted to the right and masked. */
INLINE uint8x16_t bits_of(const uint8_t *p, int shift, int mask)
{
    uint8x16_t v = vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)-shift));

    return vandq_u8(v, vdupq_n_u8((uint8_t)mask));
}

/* Levels of group g (of blocks of 256) of the block at b. */
INLINE void put_levels(const ms_dtype dtype, levels to[2], const uint8_t *b, const int g)
{
    switch (dtype) {
    case MS_Q8_0: put(to, vld1q_u8(b + 2), vld1q_u8(b + 18)); break;
    case MS_Q4_0: put_nibbles(to, b + 2); break;
    case MS_Q4_1: put_nibbles(to, b + 4); break;
    case MS_Q5_0:
        put_nibbles(to, b + 6);
        add_fifth_bits(to, b + 2);
        break;
    case MS_Q5_1:
        put_nibbles(to, b + 8);
        add_fifth_bits(to, b + 4);
        break;
    case MS_Q4_K:
    case MS_Q5_K: {
        const uint8_t *q = b + (dtype == MS_Q5_K ? 48 : 16) + 32 * (g / 2);
        int shift = 4 * (g % 2);
        uint8x16_t low = bits_of(q, shift, 15), high = bits_of(q + 16, shift, 15);

        if (dtype == MS_Q5_K) {
            low = vorrq_u8(low, vshlq_n_u8(bits_of(b + 16, g, 1), 4));
            high = vorrq_u8(high, vshlq_n_u8(bits_of(b + 32, g, 1), 4));
        }
        put(to, low, high);
        break;
    }
    default: {
        const uint8_t *q = b + 64 * (g / 4) + 32 * (g % 2), *two = b + 128 + 32 * (g / 4);
        int shift = 4 * (g % 4 / 2), at = 2 * (g % 4);

        put(to, vorrq_u8(bits_of(q, shift, 15), vshlq_n_u8(bits_of(two, at, 3), 4)),
            vorrq_u8(bits_of(q + 16, shift, 15), vshlq_n_u8(bits_of(two + 16, at, 3), 4)));
    }
    }
}

INLINE void read_levels(const ms_dtype dtype, levels level[LEVELS], const w_rows *w, size_t at,
                        int g)
{
    for (int i = 0; i < VF; i++) put_levels(dtype, level + 2 * i, w->row[i] + at, g);
}

/* -- scales of w ----------------------------------------------------------------------------- */

/* The half at a byte of each row's block. */
INLINE vf halves_at(const w_rows *w, size_t at)
{
    uint16_t h[VF];

    for (int i = 0; i < VF; i++) memcpy(&h[i], w->row[i] + at, sizeof *h);
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* A half of each lane, side by side. */
INLINE vf halves(const uint8_t *p)
{
    uint16x4_t h;

    memcpy(&h, p, sizeof h);
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(h));
}

/* The half in the lower 16 bits of each lane. */
INLINE vf low_halves(vi v)
{
    uint16x4_t low = vmovn_u32(vreinterpretq_u32_s32((int32x4_t)v));

    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(low));
}

/* Words of four rows, transposed. */
INLINE void transpose(int32x4_t to[4], const int32x4_t r[4])
{
    int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(r[0], r[1]));
    int64x2_t b = vreinterpretq_s64_s32(vtrn2q_s32(r[0], r[1]));
    int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(r[2], r[3]));
    int64x2_t d = vreinterpretq_s64_s32(vtrn2q_s32(r[2], r[3]));

    to[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
    to[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
    to[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
    to[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
}

/* Four words at a byte of each row's block, word k of all rows in to[k]. */
INLINE void words_at(vi to[4], const w_rows *w, size_t at)
{
    int32x4_t r[4], word[4];

    for (int i = 0; i < VF; i++) r[i] = vreinterpretq_s32_u8(vld1q_u8(w->row[i] + at));
    transpose(word, r);
    for (int k = 0; k < 4; k++) to[k] = (vi)word[k];
}

/* -- products -------------------------------------------------------------------------------- */

/* acc + products of 16 levels, four partial sums in some order.  Two products fit 16 bits: levels
 * are at most 128, x at most 127. */
INLINE int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(acc, w, x);
#else
    int16x8_t two =
        vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_high_s8(w), vget_high_s8(x));

    return vpadalq_s16(acc, two);
#endif
}

INLINE vi fold(const int32x4_t v[VF])
{
    return (vi)vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* half[0] of lane i: the products of the first 16 levels of row i with q, half[1]: of the others;
 * both in the first where nobody asks. */
INLINE void fold_dots(const ms_dtype dtype, vi half[2], const levels level[LEVELS], const int8_t *q)
{
    const int8x16_t x0 = vld1q_s8(q), x1 = vld1q_s8(q + 16);
    int32x4_t first[VF], second[VF];

    for (int i = 0; i < VF; i++) {
        first[i] = dot16(vdupq_n_s32(0), level[2 * i], x0);
        second[i] = dot16(dtype == MS_Q6_K ? vdupq_n_s32(0) : first[i], level[2 * i + 1], x1);
    }
    half[0] = fold(dtype == MS_Q6_K ? first : second);
    half[1] = dtype == MS_Q6_K ? fold(second) : (vi){0};
}

INLINE void pack_levels(uint8_t to[8][4 * VF], const levels v[LEVELS])
{
    for (int h = 0; h < 2; h++) {
        int32x4_t r[VF], four[4];

        for (int i = 0; i < VF; i++) r[i] = vreinterpretq_s32_s8(v[2 * i + h]);
        transpose(four, r);
        memcpy(to[4 * h], four, sizeof four);
    }
}

/* Fours of levels of 4 rows by the same four of x. */
INLINE vi dot_four(const ms_dtype dtype, vi acc, levels w, int32_t x)
{
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(x));

    (void)dtype;
#ifdef __ARM_FEATURE_DOTPROD
    return (vi)vdotq_s32((int32x4_t)acc, w, four);
#else
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(four)));
    int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(four)));

    return acc + (vi)vpaddq_s32(low, high);
#endif
}

INLINE vf fused(vf y, vf a, vf b)
{
    return (vf)vfmaq_f32((float32x4_t)y, (float32x4_t)a, (float32x4_t)b);
}

/* The lanes of n floats, of all when there are more. */
INLINE vf load_lanes(const float *p, int n)
{
    return n >= VF ? vf_load(p) : n > 0 ? vf_load_part(p, n) : vf_all(0);
}

INLINE void store_lanes(float *p, vf v, int n)
{
    if (n >= VF)
        vf_store(p, v);
    else if (n > 0)
        vf_store_part(p, v, n);
}

#include "ops/cpu/quant_lanes.h"

#endif
