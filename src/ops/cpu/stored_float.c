/* stored_float - products with weights of f32, f16 and bf16, and with block types expanded
 *
 * An element of y is the sum of one vector of partial sums, whatever the tile: few rows of x read w
 * as it is stored and widen it in registers, many share rows of w that were expanded once.  A queue
 * that wants bf16 has both factors rounded: to pairs of bf16 where a machine multiplies those, else
 * to floats. */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#if defined(__aarch64__) && !defined(MS_CPU_SCALAR)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* Rows of x by rows of w in a tile: as many sums as the registers hold, in whole vectors. */
enum {
    TILE_M = VF_BYTES == 64 ? 6 : 2,
    TILE_N = VF < 4 ? 1 : 4,
    FEW = VF_BYTES == 64 ? 4 : 2, /* rows of x that are not worth expanding w */
    EXPANDED_BYTES = 192 << 10    /* of w: they stay in the L2 cache for all rows of x */
};

/* How far ahead rows of w are fetched to the L2 cache when they are read once. */
enum { FAR_BYTES = 4 << 10 };

/* Whether halves can be widened in registers. */
#if defined(__F16C__) || (defined(__aarch64__) && !defined(MS_CPU_SCALAR))
enum { WIDENS_F16 = 1 };
#else
enum { WIDENS_F16 = 0 };
#endif

typedef uint16_t vh __attribute__((vector_size(VF_BYTES / 2)));
typedef uint32_t vu __attribute__((vector_size(VF_BYTES)));

/* Elements of x and of expanded w as bf16. */
#ifdef __AVX512BF16__
#include "ops/cpu/x86/bf16.h"
enum { PAIRS = 1 };
#else
enum { PAIRS = 0 };
#endif

INLINE size_t element_bytes(const ms_dtype dtype)
{
    return dtype == MS_F32 ? 4 : 2;
}

INLINE vf widen_bf16(const void *p)
{
#if VF == 1
    uint16_t h;

    memcpy(&h, p, sizeof h);
    return vf_all(ms_float_from_bf16(h));
#else
    vh h;

    memcpy(&h, p, sizeof h);
    return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

INLINE vf widen_f16(const void *p)
{
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(p));
#elif defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128(p));
#elif defined(__aarch64__) && !defined(MS_CPU_SCALAR)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    return widen_bf16(p); /* not reached: WIDENS_F16 */
#endif
}

/* VF elements as floats. */
INLINE vf widen(const ms_dtype dtype, const void *p)
{
    return dtype == MS_F32 ? vf_load(p) : dtype == MS_F16 ? widen_f16(p) : widen_bf16(p);
}

/* The first n; the other lanes are zeros. */
INLINE vf widen_part(const ms_dtype dtype, const void *p, int n)
{
    float all[VF] = {0};

    memcpy(all, p, (size_t)n * element_bytes(dtype));
    return widen(dtype, all);
}

/* -- bf16 ------------------------------------------------------------------------------------ */

/* To the nearest bf16, halves to even; NaN stays. */
INLINE vf round_bf16(vf v)
{
    vu u = (vu)v, rounded = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;

    return vf_select(v == v, (vf)rounded, v);
}

size_t CPU(stored_bf16_bytes)(int I)
{
    return (size_t)I * (PAIRS ? 2 : 4);
}

#ifdef __AVX512BF16__
void CPU(stored_bf16)(void *to, const float *x, int I)
{
    for (int i = 0; i < I; i += 32) {
        __mmask32 m = I - i >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << (I - i)) - 1;
        vf low = (vf)_mm512_maskz_loadu_ps((__mmask16)m, x + i);
        vf high = (vf)_mm512_maskz_loadu_ps((__mmask16)(m >> 16), x + i + 16);

        _mm512_mask_storeu_epi16((uint16_t *)to + i, m, (__m512i)vf_pairs_along(low, high));
    }
}
#else
void CPU(stored_bf16)(void *to, const float *x, int I)
{
    for (int i = 0; i < I; i += VF) {
        int n = I - i < VF ? I - i : VF;

        vf_store_part((float *)to + i,
                      round_bf16(n == VF ? vf_load(x + i) : vf_load_part(x + i, n)), n);
    }
}
#endif

#ifdef __AVX512BF16__
/* Pairs of 32 elements of w, or of the first n; the others are zeros. */
INLINE vf pairs(const ms_dtype dtype, const char *w, const int n)
{
    const __mmask32 m = n >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    vf low, high;

    if (dtype == MS_F32) {
        low = (vf)_mm512_maskz_loadu_ps((__mmask16)m, w);
        high = (vf)_mm512_maskz_loadu_ps((__mmask16)(m >> 16), w + 64);
    } else {
        __m512i v = n >= 32 ? _mm512_loadu_si512(w) : _mm512_maskz_loadu_epi16(m, w);

        if (dtype == MS_BF16) return (vf)v;
        low = (vf)_mm512_cvtph_ps(_mm512_castsi512_si256(v));
        high = (vf)_mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1));
    }
    return vf_pairs_along(low, high);
}

/* A step of dots_bf16: n elements from d on. */
INLINE void add_pairs(const ms_dtype dtype, vf acc[TILE_M][TILE_N], const uint16_t *x, const int m,
                      const char *const *w, const int columns, int I, int d, const int n)
{
    vf b[TILE_N];

    for (int j = 0; j < columns; j++)
        b[j] = pairs(dtype, w[j] + (size_t)d * element_bytes(dtype), n);
    for (int i = 0; i < m; i++) {
        vf a = pairs(MS_BF16, (const char *)(x + (size_t)i * (size_t)I + d), n);

        for (int j = 0; j < columns; j++) acc[i][j] = vf_dot_pairs(acc[i][j], a, b[j]);
    }
}

/* As dots, of x in bf16. */
INLINE void dots_bf16(const ms_dtype dtype, vf *sum, const int stride, const uint16_t *x,
                      const int m, const char *const *w, const int n, int I, const int far)
{
    const size_t bytes = element_bytes(dtype);
    vf acc[TILE_M][TILE_N];
    int d = 0;

    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) acc[i][j] = vf_all(0);
    for (; d + 32 <= I; d += 32) {
        for (int j = 0; far > 0 && (size_t)d * bytes % 64 == 0 && j < n; j++)
            __builtin_prefetch(w[j] + (size_t)d * bytes + far, 0, 2);
        add_pairs(dtype, acc, x, m, w, n, I, d, 32);
    }
    if (d < I) add_pairs(dtype, acc, x, m, w, n, I, d, I - d);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) sum[i * stride + j] = acc[i][j];
}
#endif

/* -- tiles ----------------------------------------------------------------------------------- */

/* sum[i * stride + j] = partial sums of row i of x by row j of w, m by n.  What follows each of
 * these rows by `far` bytes is fetched. */
INLINE void dots(const ms_dtype dtype, const bool bf16, vf *sum, const int stride, const void *xs,
                 const int m, const char *const *w, const int n, int I, const int far)
{
#ifdef __AVX512BF16__
    if (bf16) {
        dots_bf16(dtype, sum, stride, xs, m, w, n, I, far);
        return;
    }
#endif
    const bool round = bf16 && dtype != MS_BF16;
    const float *x = xs;
    const size_t bytes = element_bytes(dtype);
    vf acc[TILE_M][TILE_N];
    int d = 0;

    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) acc[i][j] = vf_all(0);
    for (; d + VF <= I; d += VF) {
        vf b[TILE_N];

        for (int j = 0; far > 0 && (size_t)d * bytes % 64 == 0 && j < n; j++)
            __builtin_prefetch(w[j] + (size_t)d * bytes + far, 0, 2);
        for (int j = 0; j < n; j++) b[j] = widen(dtype, w[j] + (size_t)d * bytes);
        for (int j = 0; round && j < n; j++) b[j] = round_bf16(b[j]);
        for (int i = 0; i < m; i++) {
            vf a = vf_load(x + (size_t)i * (size_t)I + d);

            for (int j = 0; j < n; j++) acc[i][j] += a * b[j];
        }
    }
    for (int i = 0; d < I && i < m; i++) {
        vf a = vf_load_part(x + (size_t)i * (size_t)I + d, I - d);

        for (int j = 0; j < n; j++) {
            vf b = widen_part(dtype, w[j] + (size_t)d * bytes, I - d);

            acc[i][j] += a * (round ? round_bf16(b) : b);
        }
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) sum[i * stride + j] = acc[i][j];
}

/* Rows of w from `row` on; where there are no more, the last one again. */
INLINE void rows_from(const char *w[TILE_N], const char *row, size_t row_bytes, int left)
{
    for (int j = 0; j < TILE_N; j++) w[j] = row + (size_t)(j < left ? j : left - 1) * row_bytes;
}

/* Row n of the part's rows of x, as the product takes it. */
INLINE const void *x_row(const stored_part *p, const bool bf16, int n)
{
    return bf16 ? (const char *)p->x + (size_t)n * CPU(stored_bf16_bytes)(p->a->x.dim[1])
                : (const char *)cpu_row(p->a->x, p->x_first + n);
}

/* m rows of x by all rows of w, each read once: from TILE_N parts of them at a time, which memory
 * delivers faster than one stream.  VF sums of a row of x are folded at once. */
INLINE void few(const ms_dtype dtype, const bool bf16, const stored_part *p, const int m)
{
    const ms_linear_stored_args *a = p->a;
    const size_t row_bytes = stored_row_bytes(a->w);
    const int part = ((p->w_rows + VF - 1) / VF + TILE_N - 1) / TILE_N * VF;
    const char *rows = (const char *)a->w.data + (size_t)p->w_first * row_bytes;

    for (int o = 0; o < part; o += VF) {
        vf sum[TILE_N][FEW][VF];

        for (int j = 0; j < VF; j++) {
            const char *w[TILE_N];
            vf got[FEW * TILE_N];

            for (int k = 0; k < TILE_N; k++) {
                int row = o + j + k * part;

                w[k] = rows + (size_t)(row < p->w_rows ? row : p->w_rows - 1) * row_bytes;
            }
            dots(dtype, bf16, got, TILE_N, x_row(p, bf16, 0), m, w, TILE_N, a->x.dim[1], FAR_BYTES);
            for (int i = 0; i < m; i++)
                for (int k = 0; k < TILE_N; k++) sum[k][i][j] = got[i * TILE_N + k];
        }
        for (int k = 0; k < TILE_N; k++) {
            int at = o + k * part, n = p->w_rows - at < VF ? p->w_rows - at : VF;

            for (int i = 0; n > 0 && i < m; i++)
                vf_store_part(cpu_row(a->y, p->x_first + i) + a->at + p->w_first + at,
                              vf_sums(sum[k][i]), n);
        }
    }
}

INLINE void few_rows(const ms_dtype dtype, const bool bf16, const stored_part *p)
{
    switch (p->x_rows) {
    case 1: few(dtype, bf16, p, 1); break;
    case 2: few(dtype, bf16, p, 2); break;
#if VF_BYTES == 64
    case 3: few(dtype, bf16, p, 3); break;
    case 4: few(dtype, bf16, p, 4); break;
#endif
    }
}

/* -- many rows of x -------------------------------------------------------------------------- */

/* m rows of x by n rows of w, at most TILE_N. */
INLINE void tile(const ms_dtype dtype, const bool bf16, float *y, size_t y_stride, const void *x,
                 const int m, const char *w, size_t row_bytes, int n, int I)
{
    enum { TILE = TILE_M * TILE_N, SUMS = (TILE + VF - 1) / VF * VF };
    const char *row[TILE_N];
    vf sum[SUMS];
    float total[SUMS];

    for (int i = m * TILE_N; i < SUMS; i++) sum[i] = vf_all(0);
    rows_from(row, w, row_bytes, n);
    dots(dtype, bf16, sum, TILE_N, x, m, row, TILE_N, I, 0);
    for (int i = 0; i < m * TILE_N; i += VF) vf_store(total + i, vf_sums(sum + i));
    for (int i = 0; i < m; i++) {
        if (n == TILE_N)
            memcpy(y + (size_t)i * y_stride, total + i * TILE_N, TILE_N * sizeof *y);
        else
            memcpy(y + (size_t)i * y_stride, total + i * TILE_N, (size_t)n * sizeof *y);
    }
}

/* All rows of x by rows [first, first + rows) of w, which lie at `w` as dtype. */
INLINE void many(const ms_dtype dtype, const bool bf16, const stored_part *p, const void *w,
                 int first, int rows)
{
    const ms_linear_stored_args *a = p->a;
    const int I = a->x.dim[1];
    const size_t row_bytes = (size_t)I * element_bytes(dtype), Y = (size_t)a->y.dim[1];

    for (int i = 0, m; i < p->x_rows; i += m) {
        const void *x = x_row(p, bf16, i);

        m = p->x_rows - i >= TILE_M ? TILE_M : p->x_rows - i >= TILE_M / 2 ? TILE_M / 2 : 1;
        for (int j = 0; j < rows; j += TILE_N) {
            float *y = cpu_row(a->y, p->x_first + i) + a->at + first + j;
            const char *wj = (const char *)w + (size_t)j * row_bytes;
            int n = rows - j < TILE_N ? rows - j : TILE_N;

            if (m == TILE_M)
                tile(dtype, bf16, y, Y, x, TILE_M, wj, row_bytes, n, I);
            else if (m == TILE_M / 2)
                tile(dtype, bf16, y, Y, x, TILE_M / 2, wj, row_bytes, n, I);
            else
                tile(dtype, bf16, y, Y, x, 1, wj, row_bytes, n, I);
        }
    }
}

static void many_f32(const stored_part *p, int first, int rows)
{
    CPU(stored_rows)(p->work, p->a->w, first, rows);
    many(MS_F32, false, p, p->work, first, rows);
}

/* In front of the rounded rows there is room for one that is expanded. */
static void many_bf16(const stored_part *p, int first, int rows)
{
    const int I = p->a->x.dim[1];
    const size_t row_bytes = CPU(stored_bf16_bytes)(I);
    float *row = p->work;
    char *w = (char *)(row + I);

    if (PAIRS && p->a->w.dtype == MS_BF16) {
        const char *from = (const char *)p->a->w.data + (size_t)first * row_bytes;

        many(MS_BF16, true, p, from, first, rows);
        return;
    }
    for (int i = 0; i < rows; i++) {
        CPU(stored_rows)(row, p->a->w, first + i, 1);
        CPU(stored_bf16)(w + (size_t)i * row_bytes, row, I);
    }
    if (PAIRS)
        many(MS_BF16, true, p, w, first, rows);
    else
        many(MS_F32, true, p, w, first, rows);
}

bool CPU(stored_few)(const stored_part *p)
{
    if (p->x_rows > FEW) return false;
    switch (p->a->w.dtype) {
    case MS_F32: few_rows(MS_F32, false, p); return true;
    case MS_BF16: few_rows(MS_BF16, false, p); return true;
    case MS_F16:
        if (WIDENS_F16) few_rows(MS_F16, false, p);
        return WIDENS_F16;
    default: return false;
    }
}

static bool few_bf16(const stored_part *p)
{
    if (p->x_rows > FEW) return false;
    switch (p->a->w.dtype) {
    case MS_F32: few_rows(MS_F32, true, p); return true;
    case MS_BF16: few_rows(MS_BF16, true, p); return true;
    case MS_F16:
        if (WIDENS_F16) few_rows(MS_F16, true, p);
        return WIDENS_F16;
    default: return false;
    }
}

void CPU(stored_float)(const stored_part *p)
{
    int bytes = PAIRS && p->bf16 ? 2 : 4;
    int step = EXPANDED_BYTES / bytes / p->a->x.dim[1] / TILE_N * TILE_N;
    int last = p->w_first + p->w_rows;

    if (p->bf16 ? few_bf16(p) : CPU(stored_few)(p)) return;
    if (step < TILE_N) step = TILE_N;
    for (int o = p->w_first; o < last; o += step)
        (p->bf16 ? many_bf16 : many_f32)(p, o, last - o < step ? last - o : step);
}
