/* quant_avx2 - levels of a row of w in each vector of 32 bytes, with AVX-VNNI or without; included
 * by stored_int8.c */
#ifndef MS_OPS_CPU_X86_QUANT_AVX2_H
#define MS_OPS_CPU_X86_QUANT_AVX2_H

#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <immintrin.h>

#ifdef __AVXVNNI__
enum { Q8_0_ZERO = 128 }; /* levels are made unsigned */
#else
enum { Q8_0_ZERO = 0 };
#endif

enum {
    LEVELS = 8,   /* vectors of levels of 8 rows */
    GROUPS = 2,   /* of 8 rows of w in a packed tile */
    TILE_ROWS = 2 /* of x in a packed tile */
};
typedef __m256i levels;

/* acc += dot products of fours, w unsigned and x signed; without the instruction those of q8_0
 * signed: pairs must not exceed 16 bits, as those of |w| <= 128 and |x| <= 127. */
INLINE __m256i dot_levels(const ms_dtype dtype, __m256i acc, __m256i w, __m256i x)
{
#if defined(__AVXVNNI__) && defined(__clang__)
    (void)dtype;
    return _mm256_dpbusd_avx_epi32(acc, w, x);
#elif defined(__AVXVNNI__)
    (void)dtype; /* by hand: gcc copies accumulators around the intrinsic in a loop */
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
    return acc;
#else
    if (dtype == MS_Q8_0) {
        x = _mm256_sign_epi8(x, w);
        w = _mm256_abs_epi8(w);
    }
    return _mm256_add_epi32(acc,
                            _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
#endif
}

INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* -- x --------------------------------------------------------------------------------------- */

static float largest(const float *x)
{
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    uint32_t lane[VF], all = 0;

    for (int i = 0; i < X_BLOCK; i += VF)
        most = _mm256_max_epi32(most, _mm256_and_si256(load32(x + i), size));
    memcpy(lane, &most, sizeof lane);
    for (int i = 0; i < VF; i++) all = lane[i] > all ? lane[i] : all;
    return ms_float_from_bits(all);
}

static int sum_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void round_levels(int8_t q[X_BLOCK], const float *x, float factor, int *first, int *second)
{
    __m256i v[4], words[2];

    for (int i = 0; i < 4; i++) {
        v[i] =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(factor)));
        if (!(factor > 0)) v[i] = _mm256_setzero_si256();
    }
    *first = sum_lanes(_mm256_add_epi32(v[0], v[1]));
    *second = sum_lanes(_mm256_add_epi32(v[2], v[3]));
    words[0] = _mm256_packs_epi32(v[0], v[1]);
    words[1] = _mm256_packs_epi32(v[2], v[3]);
    v[0] = _mm256_packs_epi16(words[0], words[1]); /* fours of both halves, in turns */
    v[0] = _mm256_permutevar8x32_epi32(v[0], _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    memcpy(q, v, X_BLOCK);
}

/* -- levels of w ----------------------------------------------------------------------------- */

/* 16 bytes, their low nibbles below their high ones. */
INLINE __m256i nibbles_of(const uint8_t *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
}

/* 16 where a bit of the 32 at p is set: each bit is tested in a byte of its own eight. */
INLINE __m256i fifth_bits_of(const uint8_t *p)
{
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    const __m256i byte =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    int32_t bits;
    __m256i v;

    memcpy(&bits, p, sizeof bits);
    v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(16));
}

INLINE __m256i bits_of(__m256i v, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128(shift)),
                            _mm256_set1_epi8((char)mask));
}

/* Levels of group g (of blocks of 256) of the block at b. */
INLINE __m256i levels_of(const ms_dtype dtype, const uint8_t *b, const int g)
{
    switch (dtype) {
    case MS_Q8_0:
#ifdef __AVXVNNI__
        return _mm256_xor_si256(load32(b + 2), _mm256_set1_epi8((char)0x80));
#else
        return load32(b + 2);
#endif
    case MS_Q4_0: return nibbles_of(b + 2);
    case MS_Q4_1: return nibbles_of(b + 4);
    case MS_Q5_0: return _mm256_or_si256(nibbles_of(b + 6), fifth_bits_of(b + 2));
    case MS_Q5_1: return _mm256_or_si256(nibbles_of(b + 8), fifth_bits_of(b + 4));
    case MS_Q4_K: return bits_of(load32(b + 16 + 32 * (g / 2)), 4 * (g % 2), 15);
    case MS_Q5_K: {
        __m256i fifth = _mm256_slli_epi16(bits_of(load32(b + 16), g, 1), 4);

        return _mm256_or_si256(bits_of(load32(b + 48 + 32 * (g / 2)), 4 * (g % 2), 15), fifth);
    }
    default: {
        __m256i low = load32(b + 64 * (g / 4) + 32 * (g % 2));
        __m256i high = bits_of(load32(b + 128 + 32 * (g / 4)), 2 * (g % 4), 3);

        return _mm256_or_si256(bits_of(low, 4 * (g % 4 / 2), 15), _mm256_slli_epi16(high, 4));
    }
    }
}

INLINE void read_levels(const ms_dtype dtype, levels level[LEVELS], const w_rows *w, size_t at,
                        int g)
{
    for (int j = 0; j < LEVELS; j++) level[j] = levels_of(dtype, w->row[j] + at, g);
}

/* -- scales of w ----------------------------------------------------------------------------- */

/* The half at a byte of each row's block. */
INLINE vf halves_at(const w_rows *w, size_t at)
{
    uint16_t h[VF];

    for (int i = 0; i < VF; i++) memcpy(&h[i], w->row[i] + at, sizeof *h);
    return (vf)_mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3],
                                              (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

/* A half of each lane, side by side. */
INLINE vf halves(const uint8_t *p)
{
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* The half in the lower 16 bits of each lane. */
INLINE vf low_halves(vi v)
{
    __m256i low = _mm256_and_si256((__m256i)v, _mm256_set1_epi32(0xffff));
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);

    return (vf)_mm256_cvtph_ps(_mm256_castsi256_si128(both));
}

/* Four words at a byte of each row's block, word k of all rows in to[k]. */
INLINE void words_at(vi to[4], const w_rows *w, size_t at)
{
    __m256i v[4], a[2], b[2];

    for (int i = 0; i < 4; i++)
        v[i] =
            _mm256_set_m128i(_mm_loadu_si128((const __m128i *)(const void *)(w->row[i + 4] + at)),
                             _mm_loadu_si128((const __m128i *)(const void *)(w->row[i] + at)));
    for (int i = 0; i < 2; i++) {
        a[i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        b[i] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    to[0] = (vi)_mm256_unpacklo_epi64(a[0], a[1]);
    to[1] = (vi)_mm256_unpackhi_epi64(a[0], a[1]);
    to[2] = (vi)_mm256_unpacklo_epi64(b[0], b[1]);
    to[3] = (vi)_mm256_unpackhi_epi64(b[0], b[1]);
}

/* -- products -------------------------------------------------------------------------------- */

/* half[0] of lane i: the products of the first 16 levels of row i with q, half[1]: of the rest. */
INLINE void fold_dots(const ms_dtype dtype, vi half[2], const levels level[LEVELS], const int8_t *q)
{
    __m256i x = load32(q), v[LEVELS], a[4], b[2];

    for (int j = 0; j < LEVELS; j++) v[j] = dot_levels(dtype, _mm256_setzero_si256(), level[j], x);
    for (int i = 0; i < 4; i++) a[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
    for (int i = 0; i < 2; i++) b[i] = _mm256_hadd_epi32(a[2 * i], a[2 * i + 1]);
    half[0] = (vi)_mm256_permute2x128_si256(b[0], b[1], 0x20);
    half[1] = (vi)_mm256_permute2x128_si256(b[0], b[1], 0x31);
}

INLINE void pack_levels(uint8_t to[8][4 * VF], const levels v[LEVELS])
{
    __m256i a[4][2], b[4][2];

    for (int i = 0; i < 4; i++) {
        a[i][0] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[i][1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            b[2 * k][i] = _mm256_unpacklo_epi64(a[2 * i][k], a[2 * i + 1][k]);
            b[2 * k + 1][i] = _mm256_unpackhi_epi64(a[2 * i][k], a[2 * i + 1][k]);
        }
    for (int k = 0; k < 4; k++) {
        __m256i low = _mm256_permute2x128_si256(b[k][0], b[k][1], 0x20);
        __m256i high = _mm256_permute2x128_si256(b[k][0], b[k][1], 0x31);

        memcpy(to[k], &low, sizeof low);
        memcpy(to[k + 4], &high, sizeof high);
    }
}

/* Fours of levels of 8 rows by the same four of x. */
INLINE vi dot_four(const ms_dtype dtype, vi acc, levels w, int32_t x)
{
    return (vi)dot_levels(dtype, (__m256i)acc, w, _mm256_set1_epi32(x));
}

INLINE vf fused(vf y, vf a, vf b)
{
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)y);
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
