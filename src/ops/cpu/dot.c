/* dot - products of rows that are contiguous along the inner dimension, x w^T
 *
 * A tile of rows of x by rows of w keeps one vector of partial sums an element and folds them at
 * the end.  Every element is summed in the same order whatever the tile, so the bits of a row do
 * not depend on the others.  Nothing is packed: few rows of x read w once, as fast as memory is. */
#include "ops/cpu/kernel.h"

#include <stddef.h>

/* Rows of x by rows of w in a tile: as many sums as the registers hold, in whole vectors. */
enum {
    TILE_M = VF_BYTES == 64 ? 4 : 2,
    TILE_N = 4,
    TILE = TILE_M * TILE_N,
    COLUMNS = 32, /* rows of w that a row of tiles takes */
    CHUNK = 768   /* of the inner dimension at a time: rows of x stay in the L1 cache */
};

/* One tile of m rows by n (constants at each call); `more` goes on from the sums that are there. */
static inline __attribute__((always_inline)) void tile_sums(vf sum[TILE], const float *x, size_t xs,
                                                            const int m, const float *w, size_t ws,
                                                            const int n, int D, bool more)
{
    vf acc[TILE_M][TILE_N];
    int d = 0;

    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) acc[i][j] = more ? sum[i * TILE_N + j] : (vf){0};
    for (; d + VF <= D; d += VF) {
        vf b[TILE_N];

        for (int j = 0; j < n; j++) b[j] = vf_load(w + (size_t)j * ws + d);
        for (int i = 0; i < m; i++) {
            vf a = vf_load(x + (size_t)i * xs + d);

            for (int j = 0; j < n; j++) acc[i][j] += a * b[j];
        }
    }
    if (d < D)
        for (int i = 0; i < m; i++) {
            vf a = vf_load_part(x + (size_t)i * xs + d, D - d);

            for (int j = 0; j < n; j++)
                acc[i][j] += a * vf_load_part(w + (size_t)j * ws + d, D - d);
        }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) sum[i * TILE_N + j] = acc[i][j];
}

/* Folds a tile's sums and stores n columns of m rows. */
static inline void tile_store(float *out, size_t stride, vf sum[TILE], int m, int n)
{
    float total[TILE];

    for (int i = m * TILE_N; i < TILE; i++) sum[i] = (vf){0};
    for (int i = 0; i < TILE; i += VF) vf_store(total + i, vf_sums(sum + i));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) out[(size_t)i * stride + (size_t)j] = total[i * TILE_N + j];
}

/* m rows of x, a constant at each call, by n of w: the inner dimension in one piece. */
static inline __attribute__((always_inline)) void short_row(float *out, size_t stride,
                                                            const float *x, size_t xs, const int m,
                                                            const float *w, size_t ws, int n, int D)
{
    int j = 0;

    for (; j + TILE_N <= n; j += TILE_N) {
        vf sum[TILE];

        tile_sums(sum, x, xs, m, w + (size_t)j * ws, ws, TILE_N, D, false);
        tile_store(out + j, stride, sum, m, TILE_N);
    }
    for (; j < n; j++) {
        vf sum[TILE];

        for (int i = 0; i < TILE; i++) sum[i] = (vf){0};
        tile_sums(sum, x, xs, m, w + (size_t)j * ws, ws, 1, D, false);
        tile_store(out + j, stride, sum, m, 1);
    }
}

/* The same by n whole tiles, at most COLUMNS, in chunks: the sums wait in memory. */
static inline __attribute__((always_inline)) void long_row(float *out, size_t stride,
                                                           const float *x, size_t xs, const int m,
                                                           const float *w, size_t ws, int n, int D)
{
    vf sum[COLUMNS / TILE_N][TILE];

    for (int d = 0; d < D; d += CHUNK)
        for (int j = 0; j < n; j += TILE_N)
            tile_sums(sum[j / TILE_N], x + d, xs, m, w + (size_t)j * ws + d, ws, TILE_N,
                      D - d < CHUNK ? D - d : CHUNK, d > 0);
    for (int j = 0; j < n; j += TILE_N) tile_store(out + j, stride, sum[j / TILE_N], m, TILE_N);
}

static inline __attribute__((always_inline)) void tile_row(float *out, size_t stride,
                                                           const float *x, size_t xs, const int m,
                                                           const float *w, size_t ws, int n, int D)
{
    int whole = D > CHUNK && m > 1 ? n / TILE_N * TILE_N : 0;

    if (whole) long_row(out, stride, x, xs, m, w, ws, whole, D);
    short_row(out + whole, stride, x, xs, m, w + (size_t)whole * ws, ws, n - whole, D);
}

static void columns(float *out, size_t stride, const float *x, size_t xs, int m, const float *w,
                    size_t ws, int n, int D)
{
    int i = 0;

    for (; i + TILE_M <= m; i += TILE_M)
        tile_row(out + (size_t)i * stride, stride, x + (size_t)i * xs, xs, TILE_M, w, ws, n, D);
    out += (size_t)i * stride;
    x += (size_t)i * xs;
    switch (m - i) {
    case 1: tile_row(out, stride, x, xs, 1, w, ws, n, D); break;
    case 2: tile_row(out, stride, x, xs, TILE_M < 3 ? 1 : 2, w, ws, n, D); break;
    case 3: tile_row(out, stride, x, xs, TILE_M < 4 ? 1 : 3, w, ws, n, D); break;
    default: break;
    }
}

void CPU(dot_tile)(float *out, size_t out_stride, const float *x, size_t x_stride, int m,
                   const float *w, size_t w_stride, int n, int D)
{
    for (int j = 0; j < n; j += COLUMNS)
        columns(out + j, out_stride, x, x_stride, m, w + (size_t)j * w_stride, w_stride,
                n - j < COLUMNS ? n - j : COLUMNS, D);
}
