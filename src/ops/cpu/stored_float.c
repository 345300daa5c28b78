/* stored_float - products with weights of f32, f16 and bf16, and with block types expanded
 *
 * An element of y is the sum of one vector of partial sums, whatever the tile: few rows of x read w
 * as it is stored and widen it in registers, many share rows of w that were expanded once. */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#if defined(__aarch64__) && !defined(MS_CPU_SCALAR)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* Rows of x by rows of w in a tile: as many sums as the registers hold, in whole vectors. */
enum {
    TILE_M = VF_BYTES == 64 ? 4 : 2,
    TILE_N = VF < 4 ? 1 : 4,
    FEW = TILE_M,             /* rows of x that are not worth expanding w */
    EXPANDED_BYTES = 48 << 10 /* of w: they stay in the L2 cache for all rows of x */
};

/* How far ahead w is fetched to the L2 cache when it is read once. */
enum { FAR_BYTES = 16 << 10 };

/* Whether halves can be widened in registers. */
#if defined(__F16C__) || (defined(__aarch64__) && !defined(MS_CPU_SCALAR))
enum { WIDENS_F16 = 1 };
#else
enum { WIDENS_F16 = 0 };
#endif

typedef uint16_t vh __attribute__((vector_size(VF_BYTES / 2)));
typedef uint32_t vu __attribute__((vector_size(VF_BYTES)));

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

/* sum[i * stride + j] = partial sums of row i of x by row j of w, m by TILE_N.  What follows these
 * rows of w by `far` bytes is fetched. */
INLINE void dots(const ms_dtype dtype, vf *sum, const int stride, const float *x, const int m,
                 const char *const w[TILE_N], int I, const int far)
{
    const size_t bytes = element_bytes(dtype);
    vf acc[TILE_M][TILE_N];
    int d = 0;

    for (int i = 0; i < m; i++)
        for (int j = 0; j < TILE_N; j++) acc[i][j] = vf_all(0);
    for (; d + VF <= I; d += VF) {
        vf b[TILE_N];

        for (int k = 0; far > 0 && k < (int)(TILE_N * VF * bytes); k += 64)
            __builtin_prefetch(w[0] + (size_t)d * TILE_N * bytes + far + k, 0, 2);
        for (int j = 0; j < TILE_N; j++) b[j] = widen(dtype, w[j] + (size_t)d * bytes);
        for (int i = 0; i < m; i++) {
            vf a = vf_load(x + (size_t)i * (size_t)I + d);

            for (int j = 0; j < TILE_N; j++) acc[i][j] += a * b[j];
        }
    }
    for (int i = 0; d < I && i < m; i++) {
        vf a = vf_load_part(x + (size_t)i * (size_t)I + d, I - d);

        for (int j = 0; j < TILE_N; j++)
            acc[i][j] += a * widen_part(dtype, w[j] + (size_t)d * bytes, I - d);
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < TILE_N; j++) sum[i * stride + j] = acc[i][j];
}

/* Rows of w from `row` on; where there are no more, the last one again. */
INLINE void rows_from(const char *w[TILE_N], const char *row, size_t row_bytes, int left)
{
    for (int j = 0; j < TILE_N; j++) w[j] = row + (size_t)(j < left ? j : left - 1) * row_bytes;
}

/* m rows of x by all rows of w, each read once: VF sums of a row of x are folded at once. */
INLINE void few(const ms_dtype dtype, const stored_part *p, const int m)
{
    const ms_linear_stored_args *a = p->a;
    const int I = a->x.dim[1];
    const size_t row_bytes = stored_row_bytes(a->w);
    const float *x = cpu_row(a->x, p->x_first);

    for (int o = 0; o < p->w_rows; o += VF) {
        int n = p->w_rows - o < VF ? p->w_rows - o : VF;
        const char *row = (const char *)a->w.data + (size_t)(p->w_first + o) * row_bytes;
        vf sum[TILE_M * VF];

        for (int j = 0; j < VF; j += TILE_N) {
            const char *w[TILE_N];

            rows_from(w, row + (size_t)(j < n ? j : 0) * row_bytes, row_bytes, j < n ? n - j : 1);
            dots(dtype, sum + j, VF, x, m, w, I, FAR_BYTES);
        }
        for (int i = 0; i < m; i++)
            vf_store_part(cpu_row(a->y, p->x_first + i) + a->at + p->w_first + o,
                          vf_sums(sum + i * VF), n);
    }
}

INLINE void few_rows(const ms_dtype dtype, const stored_part *p)
{
    switch (p->x_rows) {
    case 1: few(dtype, p, 1); break;
    case 2: few(dtype, p, 2); break;
#if VF_BYTES == 64
    case 3: few(dtype, p, 3); break;
    case 4: few(dtype, p, 4); break;
#endif
    }
}

/* -- many rows of x -------------------------------------------------------------------------- */

/* m rows of x by n rows of expanded w, at most TILE_N. */
INLINE void tile(float *y, size_t y_stride, const float *x, const int m, const float *w, int n,
                 int I)
{
    enum { TILE = TILE_M * TILE_N, SUMS = (TILE + VF - 1) / VF * VF };
    const char *row[TILE_N];
    vf sum[SUMS];
    float total[SUMS];

    for (int i = m * TILE_N; i < SUMS; i++) sum[i] = vf_all(0);
    rows_from(row, (const char *)w, (size_t)I * sizeof *w, n);
    dots(MS_F32, sum, TILE_N, x, m, row, I, 0);
    for (int i = 0; i < SUMS; i += VF) vf_store(total + i, vf_sums(sum + i));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) y[(size_t)i * y_stride + (size_t)j] = total[i * TILE_N + j];
}

static void expanded(const stored_part *p, int first, int rows)
{
    const ms_linear_stored_args *a = p->a;
    const int I = a->x.dim[1];
    const size_t Y = (size_t)a->y.dim[1];
    float *w = p->work;

    CPU(stored_rows)(w, a->w, first, rows);
    for (int i = 0, m; i < p->x_rows; i += m) {
        const float *x = cpu_row(a->x, p->x_first + i);

        m = p->x_rows - i >= TILE_M ? TILE_M : 1;
        for (int j = 0; j < rows; j += TILE_N) {
            float *y = cpu_row(a->y, p->x_first + i) + a->at + first + j;
            int n = rows - j < TILE_N ? rows - j : TILE_N;

            if (m == TILE_M)
                tile(y, Y, x, TILE_M, w + (size_t)j * (size_t)I, n, I);
            else
                tile(y, Y, x, 1, w + (size_t)j * (size_t)I, n, I);
        }
    }
}

void CPU(stored_float)(const stored_part *p)
{
    const ms_dtype dtype = p->a->w.dtype;
    int step = EXPANDED_BYTES / 4 / p->a->x.dim[1] / TILE_N * TILE_N;
    int last = p->w_first + p->w_rows;

    if (p->x_rows <= FEW && dtype == MS_F32) {
        few_rows(MS_F32, p);
    } else if (p->x_rows <= FEW && dtype == MS_BF16) {
        few_rows(MS_BF16, p);
    } else if (p->x_rows <= FEW && dtype == MS_F16 && WIDENS_F16) {
        few_rows(MS_F16, p);
    } else {
        if (step < TILE_N) step = TILE_N;
        for (int o = p->w_first; o < last; o += step)
            expanded(p, o, last - o < step ? last - o : step);
    }
}
