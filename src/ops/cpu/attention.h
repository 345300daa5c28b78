/* attention - what both passes of attention share: shapes, rows, small products, packing; private
 *
 * The query rows of one key head are numbered r = t * group + g, so that the heads of a group read
 * keys and values together.  Keys come in blocks of KEYS aligned to key 0.  Every element of every
 * product is one chain of multiply-adds in the order of its terms: its bits depend neither on the
 * tile it is computed in nor on the rows beside it. */
#ifndef MS_OPS_CPU_ATTENTION_H
#define MS_OPS_CPU_ATTENTION_H

#include "ops/cpu/kernel.h"

enum { KEYS = 64 }; /* a multiple of every VF */

typedef struct {
    int B, T, H, K, S, D;
    int group;  /* query heads of a key head */
    int padded; /* D up to whole vectors */
} shape;

static inline shape shape_of(ms_tensor q, ms_tensor k)
{
    return (shape){.B = k.dim[0],
                   .T = q.dim[0] / k.dim[0],
                   .H = q.dim[1],
                   .K = k.dim[1],
                   .S = k.dim[2],
                   .D = q.dim[2],
                   .group = q.dim[1] / k.dim[1],
                   .padded = (q.dim[2] + VF - 1) / VF * VF};
}

/* One key head of one sequence. */
typedef struct {
    int b, head, start;
    int rows; /* query rows that are not padding */
} place;

static inline place place_of(shape s, ms_tensor seq, int index)
{
    ms_seq q = cpu_seq(seq, index / s.K);

    return (place){index / s.K, index % s.K, q.start, q.length * s.group};
}

/* How many keys, from key 0 on, row r sees. */
static inline int seen_by(shape s, place at, int r)
{
    return at.start + r / s.group + 1;
}

/* Number of row r among all (n, h): its place in lse, and in q and y in units of D. */
static inline size_t row_number(shape s, place at, int r)
{
    size_t n = (size_t)at.b * (size_t)s.T + (size_t)(r / s.group);

    return n * (size_t)s.H + (size_t)(at.head * s.group + r % s.group);
}

static inline float *row_of(ms_tensor q, shape s, place at, int r)
{
    return (float *)q.data + row_number(s, at, r) * (size_t)s.D;
}

static inline float *key_of(ms_tensor k, shape s, place at, int key)
{
    return (float *)k.data +
           (((size_t)at.b * (size_t)s.K + (size_t)at.head) * (size_t)s.S + (size_t)key) *
               (size_t)s.D;
}

static inline uint32_t drop_row(shape s, place at, int r)
{
    int h = at.head * s.group + r % s.group;

    return (uint32_t)((at.b * s.H + h) * s.T + r / s.group);
}

/* Keys that all rows together look at, roughly. */
static inline size_t work_of(shape s, ms_tensor seq)
{
    size_t keys = 0;

    for (int b = 0; b < s.B; b++)
        keys += (size_t)(cpu_seq(seq, b).start + cpu_seq(seq, b).length) * (size_t)s.T;
    return keys * (size_t)s.H * (size_t)s.D;
}

/* The mask of n keys from `first` on, up to whole vectors of Philox's blocks of four. */
static inline void drop_mask(const cpu_drop *d, uint32_t row, int first, int n, float mask[KEYS])
{
    cpu_drop_mask(d, row, first, (n + 4 * VF - 1) / (4 * VF) * 4 * VF, mask);
}

/* Row of D floats times a into one of whole vectors, zeros behind. */
static inline void copy_row(float *out, const float *x, float a, shape s)
{
    for (int d = 0; d < s.D; d++) out[d] = x[d] * a;
    for (int d = s.D; d < s.padded; d++) out[d] = 0;
}

/* -- products -------------------------------------------------------------------------------- */

/* A tile of STRIP rows by WIDE vectors keeps its sums in registers. */
#if VF_BYTES == 64 || defined(__aarch64__)
enum { STRIP = 6, WIDE = 4 };
#else
enum { STRIP = 6, WIDE = 2 };
#endif

/* c[i][j] = (add: c[i][j] +) sum over k < depth of a[i * row + k * step] * b[k][j] */
typedef struct {
    float *c;
    size_t c_stride;
    const float *a;
    size_t row, step;
    const float *b;
    size_t b_stride;
    int depth;
    bool add;
} product;

/* rows and vectors are constants at each call; depth > 0. */
static inline __attribute__((always_inline)) void product_tile(product p, const int rows,
                                                               const int vectors)
{
    vf sum[STRIP][WIDE];

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) sum[i][j] = vf_all(0);
    do {
        vf b[WIDE];

        for (int j = 0; j < vectors; j++) b[j] = vf_load(p.b + j * VF);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++) sum[i][j] += p.a[(size_t)i * p.row] * b[j];
        p.a += p.step;
        p.b += p.b_stride;
    } while (--p.depth > 0);
    for (int i = 0; i < rows; i++, p.c += p.c_stride)
        for (int j = 0; j < vectors; j++)
            vf_store(p.c + j * VF, p.add ? vf_load(p.c + j * VF) + sum[i][j] : sum[i][j]);
}

#define PRODUCT_ROWS(vectors)                                                                      \
    switch (rows) {                                                                                \
    case 6: product_tile(p, 6, vectors); break;                                                    \
    case 5: product_tile(p, 5, vectors); break;                                                    \
    case 4: product_tile(p, 4, vectors); break;                                                    \
    case 3: product_tile(p, 3, vectors); break;                                                    \
    case 2: product_tile(p, 2, vectors); break;                                                    \
    default: product_tile(p, 1, vectors); break;                                                   \
    }

static __attribute__((noinline)) void product_wide(const product *at, int rows)
{
    product p = *at;

    PRODUCT_ROWS(WIDE)
}

static __attribute__((noinline)) void product_half(const product *at, int rows)
{
    product p = *at;

    PRODUCT_ROWS(WIDE / 2)
}

static __attribute__((noinline)) void product_one(const product *at, int rows)
{
    product p = *at;

    PRODUCT_ROWS(1)
}

static inline void multiply_strip(product p, int rows, int vectors)
{
    for (; vectors >= WIDE; vectors -= WIDE, p.b += WIDE * VF, p.c += WIDE * VF)
        product_wide(&p, rows);
    if (WIDE > 2 && vectors >= WIDE / 2) {
        product_half(&p, rows);
        vectors -= WIDE / 2, p.b += WIDE / 2 * VF, p.c += WIDE / 2 * VF;
    }
    if (vectors > 0) product_one(&p, rows);
}

/* -- packing --------------------------------------------------------------------------------- */

/* out[d][j] = x[j][d] of n keys; out has KEYS columns, of which whole vectors are written, zeros
 * behind the keys. */
static inline void transpose_keys(float *out, const float *x, int n, int D)
{
    for (int j = 0; j < n; j += VF)
        for (int d = 0; d < D; d += VF) {
            const float *from = x + (size_t)j * (size_t)D + d;
            int columns = D - d < VF ? D - d : VF, keys = n - j < VF ? n - j : VF;
            vf v[VF];

            if (columns == VF && keys == VF) {
                for (int i = 0; i < VF; i++) v[i] = vf_load(from + (size_t)i * (size_t)D);
            } else {
                for (int i = 0; i < VF; i++)
                    v[i] =
                        i < keys ? vf_load_part(from + (size_t)i * (size_t)D, columns) : vf_all(0);
            }
            vf_transpose(v);
            if (columns == VF) {
                for (int i = 0; i < VF; i++) vf_store(out + (size_t)(d + i) * KEYS + j, v[i]);
            } else {
                for (int i = 0; i < columns; i++) vf_store(out + (size_t)(d + i) * KEYS + j, v[i]);
            }
        }
}

/* Rows of whole vectors: x itself where D is one, else a copy in `room`. */
static inline const float *whole_rows(float *room, const float *x, int n, shape s)
{
    if (s.D == s.padded) return x;
    for (int j = 0; j < n; j++)
        copy_row(room + (size_t)j * (size_t)s.padded, x + (size_t)j * (size_t)s.D, 1, s);
    return room;
}

/* -- probabilities --------------------------------------------------------------------------- */

/* Lanes from j on of a row are set where they are below n. */
static inline vi below(int j, int n)
{
    vi lane;

    for (int i = 0; i < VF; i++) lane[i] = i;
    return (vi)(lane + j < (vi){0} + n);
}

#endif
