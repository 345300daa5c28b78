/* quant_avx512 - levels of two rows of w in each vector of 64 bytes; included by stored_int8.c */
#ifndef MS_OPS_CPU_X86_QUANT_AVX512_H
#define MS_OPS_CPU_X86_QUANT_AVX512_H

#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <immintrin.h>

#ifdef __AVX512VNNI__
enum { Q8_0_ZERO = 128 }; /* levels are made unsigned */
#else
enum { Q8_0_ZERO = 0 };
#endif

enum {
    LEVELS = 8,   /* vectors of levels of 16 rows */
    GROUPS = 2,   /* of 16 rows of w in a packed tile */
    TILE_ROWS = 6 /* of x in a packed tile */
};
typedef __m512i levels;

/* acc += dot products of fours, u unsigned and s signed.  By hand: gcc copies accumulators around
 * the intrinsic in a loop.  Without the instruction, pairs must not exceed 16 bits: |u| <= 128 when
 * s is at most 127, which the levels of q8_0 do as sizes (their signs go to s). */
INLINE __m512i dot4(__m512i acc, __m512i u, __m512i s)
{
#ifdef __AVX512VNNI__
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
#else
    return _mm512_add_epi32(acc,
                            _mm512_madd_epi16(_mm512_maddubs_epi16(u, s), _mm512_set1_epi16(1)));
#endif
}

/* The same for levels of w: unsigned, or without the instruction those of q8_0 signed. */
INLINE __m512i dot_levels(const ms_dtype dtype, __m512i acc, __m512i w, __m512i x)
{
#ifndef __AVX512VNNI__
    if (dtype == MS_Q8_0) {
        __mmask64 below = _mm512_movepi8_mask(w);

        x = _mm512_mask_sub_epi8(x, below, _mm512_setzero_si512(), x);
        w = _mm512_abs_epi8(w);
    }
#endif
    (void)dtype;
    return dot4(acc, w, x);
}

/* -- x --------------------------------------------------------------------------------------- */

static float largest(const float *x)
{
    const __m512i size = _mm512_set1_epi32(0x7fffffff);
    __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), size);
    __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), size);

    return ms_float_from_bits((uint32_t)_mm512_reduce_max_epi32(_mm512_max_epi32(a, b)));
}

static void round_levels(int8_t q[X_BLOCK], const float *x, float factor, int *first, int *second)
{
    __m512 f = _mm512_set1_ps(factor);
    __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), f));
    __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), f));

    if (!(factor > 0)) a = b = _mm512_setzero_si512();
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128((__m128i *)(void *)(q + 16), _mm512_cvtepi32_epi8(b));
    *first = _mm512_reduce_add_epi32(a);
    *second = _mm512_reduce_add_epi32(b);
}

/* -- levels of w ----------------------------------------------------------------------------- */

/* 32 bytes of one row, and of another above them. */
INLINE __m512i bytes_of(const uint8_t *low, const uint8_t *high)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)low);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)high);

    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* 16 bytes of each, their low nibbles below their high ones. */
INLINE __m512i nibbles_of(const uint8_t *low, const uint8_t *high)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)low);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)high);
    __m512i v = _mm512_mask_broadcast_i64x2(_mm512_broadcast_i32x4(a), 0xf0, b);

    v = _mm512_srlv_epi64(v, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

INLINE __m512i fifth_bits_of(__m512i level, const uint8_t *low, const uint8_t *high)
{
    uint32_t a, b;

    memcpy(&a, low, sizeof a);
    memcpy(&b, high, sizeof b);
    return _mm512_mask_add_epi8(level, (__mmask64)a | (__mmask64)b << 32, level,
                                _mm512_set1_epi8(16));
}

INLINE __m512i bits_of(__m512i v, int shift, int mask)
{
    return _mm512_and_si512(_mm512_srl_epi16(v, _mm_cvtsi32_si128(shift)),
                            _mm512_set1_epi8((char)mask));
}

/* Levels of group g (of blocks of 256) of the blocks at a and b. */
INLINE __m512i levels_of(const ms_dtype dtype, const uint8_t *a, const uint8_t *b, const int g)
{
    int q = 32 * (g / 2);
    __m512i v;

    switch (dtype) {
    case MS_Q8_0: v = bytes_of(a + 2, b + 2);
#ifdef __AVX512VNNI__
        v = _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
#endif
        return v;
    case MS_Q4_0: return nibbles_of(a + 2, b + 2);
    case MS_Q4_1: return nibbles_of(a + 4, b + 4);
    case MS_Q5_0: return fifth_bits_of(nibbles_of(a + 6, b + 6), a + 2, b + 2);
    case MS_Q5_1: return fifth_bits_of(nibbles_of(a + 8, b + 8), a + 4, b + 4);
    case MS_Q4_K: return bits_of(bytes_of(a + 16 + q, b + 16 + q), 4 * (g % 2), 15);
    case MS_Q5_K: {
        __mmask64 fifth =
            _mm512_test_epi8_mask(bytes_of(a + 16, b + 16), _mm512_set1_epi8((char)(1 << g)));

        v = bits_of(bytes_of(a + 48 + q, b + 48 + q), 4 * (g % 2), 15);
        return _mm512_mask_add_epi8(v, fifth, v, _mm512_set1_epi8(16));
    }
    default: {
        int low = 64 * (g / 4) + 32 * (g % 2), high = 128 + 32 * (g / 4);
        __m512i two = bits_of(bytes_of(a + high, b + high), 2 * (g % 4), 3);

        v = bits_of(bytes_of(a + low, b + low), 4 * (g % 4 / 2), 15);
        return _mm512_or_si512(v, _mm512_slli_epi16(two, 4));
    }
    }
}

/* -- scales of w ----------------------------------------------------------------------------- */

/* A half into a lane.  By hand: gcc loads two bytes by way of a mask register. */
INLINE __m128i insert_half(__m128i v, const uint8_t *p, const int lane)
{
    __asm__("vpinsrw %2, %1, %0, %0" : "+x"(v) : "m"(*(const uint8_t(*)[2])p), "i"(lane));
    return v;
}

INLINE vf halves_at(const w_rows *w, size_t at)
{
    __m128i a = _mm_setzero_si128(), b = a;

#define TWO(lane)                                                                                  \
    a = insert_half(a, w->row[lane] + at, lane), b = insert_half(b, w->row[8 + lane] + at, lane)
    TWO(0), TWO(1), TWO(2), TWO(3), TWO(4), TWO(5), TWO(6), TWO(7);
#undef TWO
    return (vf)_mm512_cvtph_ps(_mm256_setr_m128i(a, b));
}

/* A half of each lane, side by side. */
INLINE vf halves(const uint8_t *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* The half in the lower 16 bits of each lane. */
INLINE vf low_halves(vi v)
{
    return (vf)_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)v));
}

INLINE __m128i load16(const void *p)
{
    return _mm_loadu_si128(p);
}

/* Four words at a byte of each row's block, word k of all rows in to[k]. */
INLINE void words_at(vi to[4], const w_rows *w, size_t at)
{
    __m512i v[4], a[2], b[2];

    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_castsi128_si512(load16(w->row[i] + at));
        v[i] = _mm512_inserti32x4(v[i], load16(w->row[i + 4] + at), 1);
        v[i] = _mm512_inserti32x4(v[i], load16(w->row[i + 8] + at), 2);
        v[i] = _mm512_inserti32x4(v[i], load16(w->row[i + 12] + at), 3);
    }
    for (int i = 0; i < 2; i++) {
        a[i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        b[i] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    to[0] = (vi)_mm512_unpacklo_epi64(a[0], a[1]);
    to[1] = (vi)_mm512_unpackhi_epi64(a[0], a[1]);
    to[2] = (vi)_mm512_unpacklo_epi64(b[0], b[1]);
    to[3] = (vi)_mm512_unpackhi_epi64(b[0], b[1]);
}

/* -- products -------------------------------------------------------------------------------- */

/* Vector j of levels holds row low_row(j), and low_row(j) + 4 above it: so folding and packing
 * leave row i in lane i. */
INLINE int low_row(int j)
{
    return j < 4 ? j : j + 4;
}

INLINE void read_levels(const ms_dtype dtype, levels level[LEVELS], const w_rows *w, size_t at,
                        int g)
{
    for (int j = 0; j < LEVELS; j++)
        level[j] = levels_of(dtype, w->row[low_row(j)] + at, w->row[low_row(j) + 4] + at, g);
}

/* half[0] of lane i: the products of the first 16 levels of row i with q, half[1]: of the rest. */
INLINE void fold_dots(const ms_dtype dtype, vi half[2], const levels level[LEVELS], const int8_t *q)
{
    __m512i x = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)q));
    __m512i v[LEVELS], a[4], b[2];

    for (int j = 0; j < LEVELS; j++) v[j] = dot_levels(dtype, _mm512_setzero_si512(), level[j], x);
    for (int i = 0; i < 4; i++)
        a[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 2; i++)
        b[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]),
                                _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    half[0] = (vi)_mm512_shuffle_i64x2(b[0], b[1], 0x88);
    half[1] = (vi)_mm512_shuffle_i64x2(b[0], b[1], 0xdd);
}

INLINE void pack_levels(uint8_t to[8][64], const levels v[LEVELS])
{
    __m512i a[4][2], b[4][2];

    for (int i = 0; i < 4; i++) {
        a[i][0] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[i][1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            b[2 * k][i] = _mm512_unpacklo_epi64(a[2 * i][k], a[2 * i + 1][k]);
            b[2 * k + 1][i] = _mm512_unpackhi_epi64(a[2 * i][k], a[2 * i + 1][k]);
        }
    for (int k = 0; k < 4; k++) {
        _mm512_store_si512(to[k], _mm512_shuffle_i64x2(b[k][0], b[k][1], 0x88));
        _mm512_store_si512(to[k + 4], _mm512_shuffle_i64x2(b[k][0], b[k][1], 0xdd));
    }
}

/* Fours of levels of 16 rows by the same four of x. */
INLINE vi dot_four(const ms_dtype dtype, vi acc, levels w, int32_t x)
{
    return (vi)dot_levels(dtype, (__m512i)acc, w, _mm512_set1_epi32(x));
}

INLINE vf fused(vf y, vf a, vf b)
{
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)y);
}

/* The lanes of n floats, of all when there are more. */
INLINE __mmask16 lanes_of(int n)
{
    return n >= VF ? 0xffff : n > 0 ? (__mmask16)((1 << n) - 1) : 0;
}

INLINE vf load_lanes(const float *p, int n)
{
    return (vf)_mm512_maskz_loadu_ps(lanes_of(n), p);
}

INLINE void store_lanes(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, lanes_of(n), (__m512)v);
}

#include "ops/cpu/quant_lanes.h"

#endif
