/* quant_avx512 - dot products of levels, 16 rows of w in the lanes of a vector; included by
 * stored_int8.c
 *
 * Few rows of x (direct): the levels of two rows of w fill a vector, its products are folded until
 * a lane holds a row.  Many (packed): levels are transposed in fours, so that a lane holds a row
 * from the start, and kept in the L1 cache for all rows of x. */
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

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    PAIRS = 8,       /* vectors of levels of 16 rows */
    DIRECT = 2,      /* rows of x that are not worth packing */
    GROUPS = 2,      /* of 16 rows of w in a packed tile */
    TILE_ROWS = 6,   /* of x in a packed tile */
    TILE_BLOCKS = 24 /* of a packed tile: it stays in the L1 cache */
};

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

/* 16 rows at the same block; a row that does not exist is the last one again. */
typedef struct {
    const uint8_t *row[LANES];
} w_rows;

/* The half at a byte of each row's block.  By hand: gcc loads two bytes by way of a mask register. */
INLINE __m128i insert_half(__m128i v, const uint8_t *p, const int lane)
{
    __asm__("vpinsrw %2, %1, %0, %0" : "+x"(v) : "m"(*(const uint8_t(*)[2])p), "i"(lane));
    return v;
}

INLINE __m512 halves_at(const w_rows *w, size_t at)
{
    __m128i a = _mm_setzero_si128(), b = a;

#define TWO(lane)                                                                                  \
    a = insert_half(a, w->row[lane] + at, lane), b = insert_half(b, w->row[8 + lane] + at, lane)
    TWO(0), TWO(1), TWO(2), TWO(3), TWO(4), TWO(5), TWO(6), TWO(7);
#undef TWO
    return _mm512_cvtph_ps(_mm256_setr_m128i(a, b));
}

/* 16 bytes of 16 rows, transposed. */
static void transpose_bytes(uint8_t to[LANES][LANES], uint8_t from[LANES][LANES])
{
    __m128i a[LANES], b[LANES];

    for (int i = 0; i < LANES; i++) a[i] = _mm_loadu_si128((const __m128i *)(const void *)from[i]);
    for (int step = 0; step < 4; step++) { /* a perfect shuffle of all 256 bytes each */
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + LANES / 2]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + LANES / 2]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < LANES; i++) _mm_storeu_si128((__m128i *)(void *)to[i], a[i]);
}

/* Of the eight groups of blocks of 256; of one block of 32 in the first. */
typedef struct {
    __m512 d[8][2]; /* q6_k: of each half; else in the first */
    __m512 min[8];
} w_scales;

/* Times signed bytes; exact: 11 bits of a half, 8 of a scale. */
INLINE __m512 times_bytes(__m512 d, const uint8_t b[LANES])
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)b);

    return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)));
}

/* The eight scales and minima of 6 bits of each row, as six_bits of quant_rows.h, four at a time. */
static void six_bit_scales(w_scales *s, const w_rows *w, size_t at)
{
    uint8_t byte[LANES][LANES], lane[LANES][LANES];
    __m512 d = halves_at(w, at), dmin = halves_at(w, at + 2);

    for (int i = 0; i < LANES; i++) {
        uint32_t in[3], out[4];

        memcpy(in, w->row[i] + at + 4, sizeof in);
        out[0] = in[0] & 0x3f3f3f3f;
        out[1] = (in[2] & 0x0f0f0f0f) | (in[0] >> 6 & 0x03030303) << 4;
        out[2] = in[1] & 0x3f3f3f3f;
        out[3] = (in[2] >> 4 & 0x0f0f0f0f) | (in[1] >> 6 & 0x03030303) << 4;
        memcpy(byte[i], out, sizeof out);
    }
    transpose_bytes(lane, byte);
    for (int g = 0; g < 8; g++) {
        s->d[g][0] = times_bytes(d, lane[g]);
        s->min[g] = times_bytes(dmin, lane[8 + g]);
    }
}

static void eight_bit_scales(w_scales *s, const w_rows *w, size_t at)
{
    uint8_t byte[LANES][LANES], lane[LANES][LANES];
    __m512 d = halves_at(w, at + 208);

    for (int i = 0; i < LANES; i++) memcpy(byte[i], w->row[i] + at + 192, LANES);
    transpose_bytes(lane, byte);
    for (int g = 0; g < LANES; g++) s->d[g / 2][g % 2] = times_bytes(d, lane[g]);
}

INLINE void scales_of(const ms_dtype dtype, w_scales *s, const w_rows *w, size_t at)
{
    switch (dtype) {
    case MS_Q4_1:
    case MS_Q5_1:
        s->d[0][0] = halves_at(w, at);
        s->min[0] = _mm512_sub_ps(_mm512_setzero_ps(), halves_at(w, at + 2));
        break;
    case MS_Q4_K:
    case MS_Q5_K: six_bit_scales(s, w, at); break;
    case MS_Q6_K: eight_bit_scales(s, w, at); break;
    default: s->d[0][0] = halves_at(w, at);
    }
}

/* -- both ways ------------------------------------------------------------------------------- */

INLINE bool has_min(const ms_dtype dtype)
{
    return dtype == MS_Q4_1 || dtype == MS_Q5_1 || dtype == MS_Q4_K || dtype == MS_Q5_K;
}

INLINE size_t block_bytes(const ms_dtype dtype)
{
    switch (dtype) {
    case MS_Q8_0: return Q8_0_BYTES;
    case MS_Q4_0: return Q4_0_BYTES;
    case MS_Q4_1: return Q4_1_BYTES;
    case MS_Q5_0: return Q5_0_BYTES;
    case MS_Q5_1: return Q5_1_BYTES;
    case MS_Q4_K: return Q4_K_BYTES;
    case MS_Q5_K: return Q5_K_BYTES;
    default: return Q6_K_BYTES;
    }
}

/* Groups of 32 levels of a block. */
INLINE int groups_of(const ms_dtype dtype)
{
    return dtype == MS_Q4_K || dtype == MS_Q5_K || dtype == MS_Q6_K ? 8 : 1;
}

static w_rows rows_at(const stored_part *p, int o)
{
    size_t bytes = stored_row_bytes(p->a->w);
    int last = p->w_first + p->w_rows - 1;
    w_rows w;

    for (int i = 0; i < LANES; i++)
        w.row[i] = (const uint8_t *)p->a->w.data + (size_t)(o + i < last ? o + i : last) * bytes;
    return w;
}

/* Lanes of the rows from o on that exist. */
static __mmask16 lanes_at(const stored_part *p, int o)
{
    int n = p->w_first + p->w_rows - o;

    return n >= LANES ? 0xffff : n > 0 ? (__mmask16)((1 << n) - 1) : 0;
}

/* A link of an element's chain: y + d dx dot. */
INLINE __m512 add_dot(__m512 y, __m512i dot, __m512 d, __m512 dx)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(d, dx), y);
}

/* Vector j of levels holds row low_row(j), and low_row(j) + 4 above it: so fold and pack leave row
 * i in lane i. */
INLINE int low_row(int j)
{
    return j < 4 ? j : j + 4;
}

INLINE void levels_at(const ms_dtype dtype, __m512i level[PAIRS], const w_rows *w, size_t at, int g)
{
    for (int j = 0; j < PAIRS; j++)
        level[j] = levels_of(dtype, w->row[low_row(j)] + at, w->row[low_row(j) + 4] + at, g);
}

/* -- few rows of x --------------------------------------------------------------------------- */

/* v[j] holds 8 partial sums of each of two rows.  half[0] of lane i: the lower four of row i summed
 * up, half[1]: the others. */
INLINE void fold(const __m512i v[PAIRS], __m512i half[2])
{
    __m512i a[4], b[2];

    for (int i = 0; i < 4; i++)
        a[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 2; i++)
        b[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]),
                                _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    half[0] = _mm512_shuffle_i64x2(b[0], b[1], 0x88);
    half[1] = _mm512_shuffle_i64x2(b[0], b[1], 0xdd);
}

/* y + a block of x by 16 rows of levels. */
INLINE __m512 direct_block(const ms_dtype dtype, __m512 y, const x_block *x,
                           const __m512i level[PAIRS], const w_scales *s, int g)
{
    __m512i q = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)x->q));
    __m512i dot[PAIRS], half[2];
    __m512 dx = _mm512_set1_ps(x->d);

    for (int j = 0; j < PAIRS; j++) dot[j] = dot_levels(dtype, _mm512_setzero_si512(), level[j], q);
    fold(dot, half);
    half[0] = _mm512_add_epi32(half[0], _mm512_set1_epi32(x->start[0]));
    if (dtype == MS_Q6_K) {
        half[1] = _mm512_add_epi32(half[1], _mm512_set1_epi32(x->start[1]));
        return add_dot(add_dot(y, half[0], s->d[g][0], dx), half[1], s->d[g][1], dx);
    }
    y = add_dot(y, _mm512_add_epi32(half[0], half[1]), s->d[g][0], dx);
    return has_min(dtype) ? _mm512_fnmadd_ps(s->min[g], _mm512_set1_ps(x->sum), y) : y;
}

/* How far ahead memory is fetched to the L2 cache; measured on a Zen 4, where fetching to L1 alone
 * reaches half the rate. */
enum { FAR_BYTES = 16 << 10 };

/* y = m rows of x by 16 rows of w.  What the next rows will read is fetched meanwhile: side by side
 * these are too short streams for the hardware to see. */
INLINE void direct_rows(const ms_dtype dtype, __m512 y[DIRECT], const int m, const x_block *x,
                        int blocks, const w_rows *w)
{
    const size_t bytes = block_bytes(dtype);
    const int groups = groups_of(dtype);
    const char *ahead = (const char *)w->row[0] + LANES * (size_t)(w->row[1] - w->row[0]);

    for (int i = 0; i < m; i++) y[i] = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b += groups) {
        size_t at = (size_t)(b / groups) * bytes;
        w_scales s;

        for (size_t k = 0; k < LANES * bytes; k += 64) {
            _mm_prefetch(ahead + LANES * at + k, _MM_HINT_T0);
            _mm_prefetch(ahead + LANES * at + k + FAR_BYTES, _MM_HINT_T1);
        }
        scales_of(dtype, &s, w, at);
        for (int g = 0; g < groups; g++) {
            __m512i level[PAIRS];

            levels_at(dtype, level, w, at, g);
            for (int i = 0; i < m; i++)
                y[i] = direct_block(dtype, y[i], x + i * blocks + b + g, level, &s, g);
        }
    }
}

INLINE void direct(const ms_dtype dtype, const stored_part *p)
{
    int blocks = p->a->x.dim[1] / X_BLOCK;

    for (int o = p->w_first; o < p->w_first + p->w_rows; o += LANES) {
        w_rows w = rows_at(p, o);
        __m512 y[DIRECT];

        if (p->x_rows == 1)
            direct_rows(dtype, y, 1, p->x, blocks, &w);
        else
            direct_rows(dtype, y, 2, p->x, blocks, &w);
        for (int i = 0; i < p->x_rows; i++)
            _mm512_mask_storeu_ps(cpu_row(p->a->y, p->x_first + i) + p->a->at + o, lanes_at(p, o),
                                  y[i]);
    }
}

/* -- many rows of x -------------------------------------------------------------------------- */

/* A block of 16 rows of w: level 4 k + i of row r is q[k][4 r + i]. */
typedef struct {
    uint8_t q[8][64];
    float d[2][LANES], min[LANES];
    float unused[LANES]; /* a multiple of 64 bytes in all */
} w_block;

INLINE void pack_levels(w_block *to, const __m512i v[PAIRS])
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
        _mm512_store_si512(to->q[k], _mm512_shuffle_i64x2(b[k][0], b[k][1], 0x88));
        _mm512_store_si512(to->q[k + 4], _mm512_shuffle_i64x2(b[k][0], b[k][1], 0xdd));
    }
}

/* n blocks of 32 from block `first` on, GROUPS apart. */
INLINE void pack(const ms_dtype dtype, w_block *to, const w_rows *w, int first, int n)
{
    const int groups = groups_of(dtype);

    for (int b = first; b < first + n; b += groups) {
        size_t at = (size_t)(b / groups) * block_bytes(dtype);
        w_scales s;

        scales_of(dtype, &s, w, at);
        for (int g = 0; g < groups; g++, to += GROUPS) {
            __m512i level[PAIRS];

            levels_at(dtype, level, w, at, g);
            pack_levels(to, level);
            _mm512_store_ps(to->d[0], s.d[g][0]);
            if (dtype == MS_Q6_K) _mm512_store_ps(to->d[1], s.d[g][1]);
            if (has_min(dtype)) _mm512_store_ps(to->min, s.min[g]);
        }
    }
}

/* Rows of x by a packed tile: where they are and where their sums go. */
typedef struct {
    const w_block *w;
    const x_block *x;
    size_t x_stride, y_stride;
    float *y;
    __mmask16 lanes[GROUPS];
    int blocks;
    bool more; /* y holds the sums of earlier blocks */
} tile;

/* Dots of levels [4 k, 4 (k + n)) of a block of m rows of x, added to y. */
INLINE void tile_block(const ms_dtype dtype, __m512 y[TILE_ROWS][GROUPS], const int m,
                       const x_block *x, size_t stride, const w_block *w, const int half,
                       const int k, const int n)
{
    __m512i dot[TILE_ROWS][GROUPS];

    for (int i = 0; i < m; i++)
        dot[i][0] = dot[i][1] = _mm512_set1_epi32(x[(size_t)i * stride].start[half]);
    for (int j = k; j < k + n; j++) {
        __m512i w0 = _mm512_load_si512(w[0].q[j]), w1 = _mm512_load_si512(w[1].q[j]);

        for (int i = 0; i < m; i++) {
            int32_t four;

            memcpy(&four, x[(size_t)i * stride].q + 4 * j, sizeof four);
            dot[i][0] = dot_levels(dtype, dot[i][0], w0, _mm512_set1_epi32(four));
            dot[i][1] = dot_levels(dtype, dot[i][1], w1, _mm512_set1_epi32(four));
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        __m512 d = _mm512_load_ps(w[g].d[half]);

        for (int i = 0; i < m; i++)
            y[i][g] = add_dot(y[i][g], dot[i][g], d, _mm512_set1_ps(x[(size_t)i * stride].d));
    }
}

INLINE void tile_rows(const ms_dtype dtype, const tile *t, const int m)
{
    __m512 y[TILE_ROWS][GROUPS];
    const x_block *x = t->x;
    const w_block *w = t->w;

    for (int i = 0; i < m; i++)
        for (int g = 0; g < GROUPS; g++)
            y[i][g] = _mm512_maskz_loadu_ps(t->more ? t->lanes[g] : 0,
                                            t->y + (size_t)i * t->y_stride + g * LANES);
    for (int b = 0; b < t->blocks; b++, x++, w += GROUPS) {
        if (dtype == MS_Q6_K) {
            tile_block(dtype, y, m, x, t->x_stride, w, 0, 0, 4);
            tile_block(dtype, y, m, x, t->x_stride, w, 1, 4, 4);
        } else {
            tile_block(dtype, y, m, x, t->x_stride, w, 0, 0, 8);
        }
        for (int g = 0; has_min(dtype) && g < GROUPS; g++)
            for (int i = 0; i < m; i++)
                y[i][g] = _mm512_fnmadd_ps(_mm512_load_ps(w[g].min),
                                           _mm512_set1_ps(x[(size_t)i * t->x_stride].sum), y[i][g]);
    }
    for (int i = 0; i < m; i++)
        for (int g = 0; g < GROUPS; g++)
            _mm512_mask_storeu_ps(t->y + (size_t)i * t->y_stride + g * LANES, t->lanes[g], y[i][g]);
}

/* All rows of x; the packed levels are alike for all types with and without minima. */
INLINE void tile_all(const ms_dtype dtype, tile t, int rows)
{
    for (int m; rows > 0; rows -= m) {
        m = rows >= TILE_ROWS ? TILE_ROWS : rows >= 3 ? 3 : 1;
        if (m == TILE_ROWS)
            tile_rows(dtype, &t, TILE_ROWS);
        else if (m == 3)
            tile_rows(dtype, &t, 3);
        else
            tile_rows(dtype, &t, 1);
        t.x += (size_t)m * t.x_stride;
        t.y += (size_t)m * t.y_stride;
    }
}

static void tile_signed(const tile *t, int rows)
{
    tile_all(MS_Q8_0, *t, rows);
}

static void tile_plain(const tile *t, int rows)
{
    tile_all(MS_Q4_0, *t, rows);
}

static void tile_min(const tile *t, int rows)
{
    tile_all(MS_Q4_1, *t, rows);
}

static void tile_halves(const tile *t, int rows)
{
    tile_all(MS_Q6_K, *t, rows);
}

/* Blocks of a row at a time: equal shares of at most TILE_BLOCKS, whole blocks of w. */
INLINE int tile_blocks(const ms_dtype dtype, int blocks)
{
    const int groups = groups_of(dtype);
    int tiles = (blocks + TILE_BLOCKS - 1) / TILE_BLOCKS;

    return (blocks / groups + tiles - 1) / tiles * groups;
}

INLINE void packed(const ms_dtype dtype, const stored_part *p)
{
    int blocks = p->a->x.dim[1] / X_BLOCK, step = tile_blocks(dtype, blocks);
    w_block *w = p->work;

    for (int o = p->w_first; o < p->w_first + p->w_rows; o += GROUPS * LANES) {
        w_rows row[GROUPS] = {rows_at(p, o), rows_at(p, o + LANES)};

        for (int k = 0; k < blocks; k += step) {
            tile t = {.w = w,
                      .x = p->x + k,
                      .x_stride = (size_t)blocks,
                      .y_stride = (size_t)p->a->y.dim[1],
                      .y = cpu_row(p->a->y, p->x_first) + p->a->at + o,
                      .lanes = {lanes_at(p, o), lanes_at(p, o + LANES)},
                      .blocks = blocks - k < step ? blocks - k : step,
                      .more = k > 0};

            for (int g = 0; g < GROUPS; g++) pack(dtype, w + g, &row[g], k, t.blocks);
            if (dtype == MS_Q6_K)
                tile_halves(&t, p->x_rows);
            else if (has_min(dtype))
                tile_min(&t, p->x_rows);
            else if (dtype == MS_Q8_0)
                tile_signed(&t, p->x_rows);
            else
                tile_plain(&t, p->x_rows);
        }
    }
}

#define TYPE(dtype)                                                                                \
    static void multiply_##dtype(const stored_part *p)                                             \
    {                                                                                              \
        if (p->x_rows <= DIRECT)                                                                   \
            direct(dtype, p);                                                                      \
        else                                                                                       \
            packed(dtype, p);                                                                      \
    }
TYPE(MS_Q8_0)
TYPE(MS_Q4_0)
TYPE(MS_Q4_1)
TYPE(MS_Q5_0)
TYPE(MS_Q5_1)
TYPE(MS_Q4_K)
TYPE(MS_Q5_K)
TYPE(MS_Q6_K)
#undef TYPE

static void multiply(const stored_part *p)
{
    switch (p->a->w.dtype) {
    case MS_Q8_0: multiply_MS_Q8_0(p); break;
    case MS_Q4_0: multiply_MS_Q4_0(p); break;
    case MS_Q4_1: multiply_MS_Q4_1(p); break;
    case MS_Q5_0: multiply_MS_Q5_0(p); break;
    case MS_Q5_1: multiply_MS_Q5_1(p); break;
    case MS_Q4_K: multiply_MS_Q4_K(p); break;
    case MS_Q5_K: multiply_MS_Q5_K(p); break;
    default: multiply_MS_Q6_K(p);
    }
}

#endif
