/* gemm - products by tiles of C that stay in registers
 *
 * A block of B (DEPTH by COLUMNS) is packed into panels of PANEL columns that stay in the L2 cache,
 * ROWS rows of A beside it in the L1 cache.  A tile takes the inner dimension one by one: a vector
 * of B times an element of A, spread.  Packing makes whole panels of ragged edges and rounds to
 * bf16.  Where the units multiply pairs of bf16, an "element" below is such a pair, of neighbours
 * along K, in the place of a float; elsewhere a rounded float.
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
    DEPTH = 256,                        /* elements of the inner dimension at a time */
    COLUMNS = 384,                      /* of B at a time */
    LINE = DEPTH + 16,                  /* of packed A by rows: not a power of two */
    ACROSS = (ROWS + VF - 1) / VF * VF, /* of packed A by columns */
    ROOM = DEPTH * COLUMNS + DEPTH * ACROSS + (ROWS + 1) * LINE
};
_Static_assert(ROOM * sizeof(float) <= CPU_GEMM_BYTES, "packing fits its memory");
_Static_assert(COLUMNS % PANEL == 0 && DEPTH % VF == 0, "whole panels and vectors");

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

/* n floats side by side along K as `depth` elements, zeros behind the last. */
static inline void elements_along(float *to, const float *from, int n, int depth, bool bf16)
{
    for (int d = 0; d < depth; d += VF) {
#if PAIRS
        if (bf16) {
            vf low = vf_load_part(from + 2 * d, at_most(n - 2 * d, VF));
            vf high = 2 * d + VF < n ? vf_load_part(from + 2 * d + VF, at_most(n - 2 * d - VF, VF))
                                     : vf_all(0);

            vf_store(to + d, vf_pairs_along(low, high));
            continue;
        }
#endif
        vf x = vf_load_part(from + d, at_most(n - d, VF));

        vf_store(to + d, bf16 ? rounded(x) : x);
    }
}

/* `depth` elements of `width` columns: rows of `from` are `inner` apart and n in number. */
static inline void elements_across(float *to, int stride, const float *from, size_t inner, int n,
                                   int depth, int width, bool bf16)
{
    for (int d = 0; d < depth; d++)
        for (int j = 0; j < stride; j += VF) {
            int m = at_most(width - j, VF);
            vf x = vf_all(0);

            if (m > 0) {
#if PAIRS
                if (bf16) {
                    const float *row = from + (size_t)(2 * d) * inner + j;
                    vf next = 2 * d + 1 < n ? vf_load_part(row + inner, m) : vf_all(0);

                    x = vf_pairs_across(vf_load_part(row, m), next);
                } else
#endif
                {
                    x = vf_load_part(from + (size_t)d * inner + j, m);
                    if (bf16 && !PAIRS) x = rounded(x);
                }
            }
            vf_store(to + (size_t)d * (size_t)stride + j, x);
        }
    (void)n;
}

/* -- packing --------------------------------------------------------------------------------- */

/* A part of the inner dimension: elements, the first of the floats in them, and how many. */
typedef struct {
    int depth, k, n;
} slice;

static void pack_panel(float *to, const cpu_product *p, slice s, int column, float *line)
{
    int m = at_most(p->J - column, PANEL);
    const float *from = p->B + (size_t)s.k * p->b_inner + (size_t)column * p->b_column;

    if (p->b_column == 1) {
        elements_across(to, PANEL, from, p->b_inner, s.n, s.depth, m, p->bf16);
        return;
    }
    for (int j = 0; j < PANEL; j++) {
        if (j < m) elements_along(line, from + (size_t)j * p->b_column, s.n, s.depth, p->bf16);
        for (int d = 0; d < s.depth; d++)
            if (j < m)
                memcpy(to + d * PANEL + j, line + d, sizeof *to);
            else
                to[d * PANEL + j] = 0;
    }
}

/* `rows` rows of A: (ROWS, LINE), or (depth, ACROSS) when A is contiguous along its rows. */
static void pack_rows(float *to, const cpu_product *p, slice s, int row, int rows)
{
    const float *from = p->A + (size_t)row * p->a_row + (size_t)s.k * p->a_inner;

    if (p->a_inner == 1)
        for (int i = 0; i < rows; i++)
            elements_along(to + i * LINE, from + (size_t)i * p->a_row, s.n, s.depth, p->bf16);
    else
        elements_across(to, ACROSS, from, p->a_inner, s.n, s.depth, rows, p->bf16);
}

/* -- tiles ----------------------------------------------------------------------------------- */

/* acc = m rows of packed A, a constant at each call, times a panel. */
static inline __attribute__((always_inline)) void tile(vf acc[ROWS][VECTORS], const float *a,
                                                       const int a_row, const int a_inner,
                                                       const int m, int depth, const float *panel,
                                                       const bool pairs)
{
    vf c[ROWS][VECTORS];

    for (int i = 0; i < m; i++)
        for (int j = 0; j < VECTORS; j++) c[i][j] = (vf){0};
    for (int d = 0; d < depth; d++) {
        vf b[VECTORS];

        for (int j = 0; j < VECTORS; j++) b[j] = vf_load(panel + d * PANEL + j * VF);
        for (int i = 0; i < m; i++) {
            vf x = spread(a + i * a_row + d * a_inner);

            for (int j = 0; j < VECTORS; j++) c[i][j] = multiply_add(c[i][j], x, b[j], pairs);
        }
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < VECTORS; j++) acc[i][j] = c[i][j];
}

static void store_tile(const cpu_product *p, vf acc[ROWS][VECTORS], int row, int rows, int column,
                       bool add)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < VECTORS; j++) {
            int at = column + j * VF, m = p->J - at < VF ? p->J - at : VF;
            float *c = p->C + (size_t)(row + i) * p->c_row + at;

            if (m <= 0) break;
            if (m == VF)
                vf_store(c, add ? vf_load(c) + acc[i][j] : acc[i][j]);
            else
                vf_store_part(c, add ? vf_load_part(c, m) + acc[i][j] : acc[i][j], m);
        }
}

/* ROWS rows at most of C by the columns of a packed block. */
static inline __attribute__((always_inline)) void
tile_row(const cpu_product *p, const float *a, const int a_row, const int a_inner, int row,
         int rows, int column, int columns, int depth, const float *block, bool add,
         const bool pairs)
{
    for (int j = 0; j < columns; j += PANEL) {
        const float *panel = block + j * depth;
        vf acc[ROWS][VECTORS];

        switch ((rows + STEP - 1) / STEP) {
        case 1: tile(acc, a, a_row, a_inner, STEP, depth, panel, pairs); break;
        case 2: tile(acc, a, a_row, a_inner, 2 * STEP, depth, panel, pairs); break;
        default: tile(acc, a, a_row, a_inner, ROWS, depth, panel, pairs); break;
        }
        store_tile(p, acc, row, rows, column + j, add);
    }
}

static inline __attribute__((always_inline)) void rows_of(const cpu_product *p, int first, int last,
                                                          float *work, const bool pairs)
{
    float *block = work, *a = block + DEPTH * COLUMNS, *line = work + ROOM - LINE;
    int floats = pairs ? 2 : 1, elements = (p->K + floats - 1) / floats;

    for (int e = 0; e < elements; e += DEPTH) {
        int depth = at_most(elements - e, DEPTH);
        slice s = {depth, e * floats, at_most(p->K - e * floats, depth * floats)};
        bool add = p->add || e > 0;

        for (int column = 0; column < p->J; column += COLUMNS) {
            int columns = at_most(p->J - column, COLUMNS);

            for (int j = 0; j < columns; j += PANEL)
                pack_panel(block + j * depth, p, s, column + j, line);
            for (int row = first; row < last; row += ROWS) {
                int rows = at_most(last - row, ROWS);

                pack_rows(a, p, s, row, rows);
                if (p->a_inner == 1)
                    tile_row(p, a, LINE, 1, row, rows, column, columns, depth, block, add, pairs);
                else
                    tile_row(p, a, 1, ACROSS, row, rows, column, columns, depth, block, add, pairs);
            }
        }
    }
}

void CPU(gemm)(const cpu_product *p, int first, int last, float *work)
{
    if (PAIRS && p->bf16)
        rows_of(p, first, last, work, true);
    else
        rows_of(p, first, last, work, false);
}
