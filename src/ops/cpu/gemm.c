/* gemm - products by tiles of C that stay in registers
 *
 * A part of the inner dimension of A, DEPTH by as many rows as fit, is packed into strips of ROWS
 * rows, of B a block of COLUMNS into panels of PANEL columns.  A strip stays in the L1 cache while
 * the block, in the L2 cache, passes by.  A tile takes the inner dimension one by one: a vector of
 * B times an element of A, spread.  Packing makes whole strips and panels of ragged edges and
 * rounds to bf16.  Where the units multiply pairs of bf16, an "element" below is such a pair, of
 * neighbours along K, in the place of a float; elsewhere a rounded float.
 * Source: Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication". */
#include "ops/cpu/gemm.h"

#if defined(__AVX512BF16__)
#include "ops/cpu/x86/bf16.h"
#define PAIRS 1
#else
#define PAIRS 0
#endif

#if VF_BYTES == 64 || (defined(__aarch64__) && VF_BYTES == 16)
enum { ROWS = 12, STEP = 4 }; /* 32 registers */
#elif VF_BYTES == 32
enum { ROWS = 6, STEP = 2 };
#else
enum { ROWS = 4, STEP = 2 };
#endif

enum {
    VECTORS = 2, /* of a row of a tile */
    PANEL = VECTORS * VF,
    DEPTH = 256,               /* elements of the inner dimension at a time */
    COLUMNS = 384,             /* of B at a time */
    MANY = 1536,               /* rows of A at a time */
    STRIP = ROWS * DEPTH + VF, /* floats of a strip and what runs over */
    ROOM = DEPTH * COLUMNS + MANY / ROWS * STRIP
};
_Static_assert(ROOM * sizeof(float) <= CPU_GEMM_BYTES, "packing fits its memory");
_Static_assert(COLUMNS % PANEL == 0 && DEPTH % VF == 0 && MANY % ROWS == 0, "whole pieces");
_Static_assert((int)ROWS < (int)VF || ROWS % VF == 0, "only the last vector of a row runs over");

static inline int at_most(int n, int limit)
{
    return n < 0 ? 0 : n < limit ? n : limit;
}

/* -- elements -------------------------------------------------------------------------------- */

/* To the nearest bf16, ties to even; below the least normal number: 0; NaN stays. */
typedef uint32_t vbits __attribute__((vector_size(VF_BYTES)));
static inline vf rounded(vf x)
{
    vbits bits = (vbits)x, even = bits + 0x7fff + (bits >> 16 & 1);
    vf y = vf_select(x == x, (vf)(even & 0xffff0000), (vf)((bits | 0x400000) & 0xffff0000));
    vf size = (vf)(bits & 0x7fffffff);

    return vf_select(size < vf_all(0x1p-126f), vf_all(0), y);
}

static inline vf spread(const float *element)
{
    int32_t bits;

    memcpy(&bits, element, sizeof bits);
    return (vf)((vi){0} + bits);
}

static inline __attribute__((always_inline)) vf multiply_add(vf sum, vf a, vf b, const bool pairs)
{
#if PAIRS
    if (pairs) return vf_dot_pairs(sum, a, b);
#else
    (void)pairs;
#endif
    return sum + a * b;
}

/* The first n floats, or as many as a vector has; the other lanes are zeros. */
static inline vf some(const float *from, int n)
{
    return n >= VF ? vf_load(from) : n > 0 ? vf_load_part(from, n) : vf_all(0);
}

/* VF elements side by side along K, of n floats. */
static inline vf elements_along(const float *from, int n, bool bf16)
{
#if PAIRS
    if (bf16) return vf_pairs_along(some(from, n), some(from + VF, n - VF));
#endif
    return bf16 ? rounded(some(from, n)) : some(from, n);
}

/* An element of each of n columns: K goes on `inner` floats behind, if `next` is there. */
static inline vf elements_across(const float *from, size_t inner, int n, bool next, bool bf16)
{
#if PAIRS
    if (bf16) return vf_pairs_across(some(from, n), next ? some(from + inner, n) : vf_all(0));
#else
    (void)inner, (void)next;
#endif
    return bf16 ? rounded(some(from, n)) : some(from, n);
}

/* -- packing --------------------------------------------------------------------------------- */

/* A part of the inner dimension: elements, the first of the floats in them, how many of them there
 * are, and how many make an element. */
typedef struct {
    int depth, k, n, floats;
} slice;

/* Lines of K into VF columns of a piece (depth, width): elements of VF lines, transposed.  What
 * runs over the width goes to the next row, which is stored later. */
static inline __attribute__((always_inline)) void pack_lines(float *to, const int width,
                                                             const float *from, size_t line,
                                                             int lines, slice s, bool bf16)
{
    for (int d = 0; d < s.depth; d += VF) {
        vf v[VF];

        for (int i = 0; i < VF; i++)
            v[i] = i < lines ? elements_along(from + (size_t)i * line + d * s.floats,
                                              s.n - d * s.floats, bf16)
                             : vf_all(0);
        vf_transpose(v);
        if (d + VF <= s.depth) {
            for (int i = 0; i < VF; i++) vf_store(to + (d + i) * width, v[i]);
        } else {
            for (int i = 0; i < s.depth - d; i++) vf_store(to + (d + i) * width, v[i]);
        }
    }
}

/* Columns side by side into pieces (depth, width), `piece` floats apart: row by row, each as it
 * lies.  What runs over the width, as above. */
static inline __attribute__((always_inline)) void pack_across(float *to, size_t piece,
                                                              const int width, const float *from,
                                                              size_t inner, int columns, slice s,
                                                              bool bf16)
{
    for (int d = 0; d < s.depth; d++, to += width) {
        const float *row = from + (size_t)(d * s.floats) * inner;
        bool next = d * s.floats + 1 < s.n;
        float *at = to;

        for (int j = 0; j < columns; j += width, at += piece)
            for (int i = 0; i < width; i += VF)
                vf_store(at + i, elements_across(row + j + i, inner, columns - j - i, next, bf16));
    }
}

/* A block of B: panels (depth, PANEL). */
static void pack_block(float *to, const cpu_product *p, slice s, int column, int columns)
{
    const float *from = p->B + (size_t)s.k * p->b_inner + (size_t)column * p->b_column;

    if (p->b_column == 1) {
        pack_across(to, (size_t)(PANEL * s.depth), PANEL, from, p->b_inner, columns, s, p->bf16);
        return;
    }
    for (int j = 0; j < columns; j += PANEL)
        for (int i = 0; i < PANEL; i += VF)
            pack_lines(to + j * s.depth + i, PANEL, from + (size_t)(j + i) * p->b_column,
                       p->b_column, at_most(columns - j - i, VF), s, p->bf16);
}

/* Rows of A: strips (depth, ROWS). */
static void pack_rows(float *to, const cpu_product *p, slice s, int row, int rows)
{
    const float *from = p->A + (size_t)row * p->a_row + (size_t)s.k * p->a_inner;

    if (p->a_row == 1) {
        pack_across(to, STRIP, ROWS, from, p->a_inner, rows, s, p->bf16);
        return;
    }
    for (int i = 0; i < rows; i += ROWS, to += STRIP)
        for (int j = 0; j < ROWS; j += VF)
            pack_lines(to + j, ROWS, from + (size_t)(i + j) * p->a_row, p->a_row,
                       at_most(at_most(rows - i, ROWS) - j, VF), s, p->bf16);
}

/* -- tiles ----------------------------------------------------------------------------------- */

/* Where a tile goes, and how much of it there is. */
typedef struct {
    float *c;
    size_t stride;
    int rows, columns;
    bool add;
} place;

/* The sums come by memory: gcc 12 keeps them in registers through the loop that makes them only if
 * they are used once. */
static __attribute__((noinline)) void store_tile(place to, vf sum[ROWS][VECTORS])
{
    for (int i = 0; i < to.rows; i++, to.c += to.stride)
        for (int j = 0; j < VECTORS; j++) {
            int n = at_most(to.columns - j * VF, VF);
            float *c = to.c + j * VF;

            if (n == VF)
                vf_store(c, to.add ? vf_load(c) + sum[i][j] : sum[i][j]);
            else if (n > 0)
                vf_store_part(c, to.add ? vf_load_part(c, n) + sum[i][j] : sum[i][j], n);
        }
}

static inline void fetch_tile(place to)
{
    enum { CACHE_LINE = 64 / sizeof(float) };

    for (int i = 0; i < to.rows; i++, to.c += to.stride)
        for (int j = 0; j < PANEL; j += CACHE_LINE) __builtin_prefetch(to.c + j, 1);
}

/* m rows of a strip, a constant at each call, times a panel. */
static inline __attribute__((always_inline)) void
tile(place to, const float *a, const int m, int depth, const float *panel, const bool pairs)
{
    vf c[ROWS][VECTORS], sum[ROWS][VECTORS];

    fetch_tile(to);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < VECTORS; j++) c[i][j] = vf_all(0);
    for (int d = 0; d < depth; d++) {
        vf b[VECTORS];

        for (int j = 0; j < VECTORS; j++) b[j] = vf_load(panel + d * PANEL + j * VF);
        for (int i = 0; i < m; i++) {
            vf x = spread(a + d * ROWS + i);

            for (int j = 0; j < VECTORS; j++) c[i][j] = multiply_add(c[i][j], x, b[j], pairs);
        }
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < VECTORS; j++) sum[i][j] = c[i][j];
    store_tile(to, sum);
}

/* A strip times a block. */
static inline __attribute__((always_inline)) void strip(place to, const float *a, int depth,
                                                        const float *block, const bool pairs)
{
    for (; to.columns > 0; to.c += PANEL, to.columns -= PANEL, block += PANEL * depth)
        switch ((to.rows + STEP - 1) / STEP) {
        case 1: tile(to, a, STEP, depth, block, pairs); break;
        case 2: tile(to, a, 2 * STEP, depth, block, pairs); break;
        default: tile(to, a, ROWS, depth, block, pairs); break;
        }
}

/* Rows [first, first + rows), at most MANY, by a part of the inner dimension. */
static inline __attribute__((always_inline)) void multiply(const cpu_product *p, slice s, int first,
                                                           int rows, float *work, const bool pairs)
{
    float *block = work, *strips = block + DEPTH * COLUMNS;
    bool add = p->add || s.k > 0;

    pack_rows(strips, p, s, first, rows);
    for (int column = 0; column < p->J; column += COLUMNS) {
        int columns = at_most(p->J - column, COLUMNS);

        pack_block(block, p, s, column, columns);
        for (int i = 0; i < rows; i += ROWS) {
            float *c = p->C + (size_t)(first + i) * p->c_row + column;
            place to = {c, p->c_row, at_most(rows - i, ROWS), columns, add};

            strip(to, strips + (size_t)(i / ROWS) * STRIP, s.depth, block, pairs);
        }
    }
}

static inline __attribute__((always_inline)) void rows_of(const cpu_product *p, int first, int last,
                                                          float *work, const bool pairs)
{
    int floats = pairs ? 2 : 1, elements = (p->K + floats - 1) / floats;

    for (int row = first; row < last; row += MANY)
        for (int e = 0; e < elements; e += DEPTH) {
            int depth = at_most(elements - e, DEPTH);
            slice s = {depth, e * floats, at_most(p->K - e * floats, depth * floats), floats};

            multiply(p, s, row, at_most(last - row, MANY), work, pairs);
        }
}

void CPU(gemm)(const cpu_product *p, int first, int last, float *work)
{
    if (PAIRS && p->bf16)
        rows_of(p, first, last, work, true);
    else
        rows_of(p, first, last, work, false);
}
