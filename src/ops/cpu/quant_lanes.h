/* quant_lanes - products of rounded x with block types, a row of w in each lane of a vector;
 * included by the headers of instruction sets, behind what differs between them:
 *
 *   Q8_0_ZERO, GROUPS, TILE_ROWS     the level of q8_0 that means zero; the shape of a packed tile
 *   levels, LEVELS                   a vector of levels; how many hold 32 of each row
 *   read_levels, fold_dots, pack_levels, dot_four, halves_at, words_at, halves, low_halves, fused
 *
 * Few rows of x (direct): products of a row's levels are folded into its lane.  Many (packed):
 * levels are transposed in fours, so that a lane holds a row from the start, and stay in the L1
 * cache for all rows of x.  Weights that the device keeps (quant_kept.h) lie in lanes already. */
#ifndef MS_OPS_CPU_QUANT_LANES_H
#define MS_OPS_CPU_QUANT_LANES_H

enum {
    DIRECT = 2,      /* rows of x that are not worth packing */
    TILE_BLOCKS = 24 /* of a packed tile: it stays in the L1 cache */
};

/* -- types of w ------------------------------------------------------------------------------- */

/* Whether something is added to each element. */
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

    for (int i = 0; i < VF; i++)
        w.row[i] = (const uint8_t *)p->a->w.data + (size_t)(o + i < last ? o + i : last) * bytes;
    return w;
}

/* -- scales ------------------------------------------------------------------------------------ */

/* Of the eight groups of blocks of 256; of one block of 32 in the first. */
typedef struct {
    vf d[8][2]; /* q6_k: of each half; else in the first */
    vf add[8];  /* to each element */
} w_scales;

/* Some bits of each lane, from a bit on. */
INLINE vi field(vi v, int from, int bits)
{
    return v >> from & ((1 << bits) - 1);
}

/* Times a scale; exact: 11 bits of a half, 8 of a scale. */
INLINE vf times(vf d, vi scale)
{
    return d * __builtin_convertvector(scale, vf);
}

/* The eight scales and minima of 6 bits of each row, as six_bits of quant_rows.h. */
INLINE void six_bit_scales(w_scales *s, const vi word[4])
{
    vf d = low_halves(word[0]), dmin = -low_halves(word[0] >> 16);

    for (int g = 0; g < 4; g++) {
        vi scale = field(word[3], 8 * g, 4) | field(word[1], 8 * g + 6, 2) << 4;
        vi min = field(word[3], 8 * g + 4, 4) | field(word[2], 8 * g + 6, 2) << 4;

        s->d[g][0] = times(d, field(word[1], 8 * g, 6));
        s->add[g] = times(dmin, field(word[2], 8 * g, 6));
        s->d[g + 4][0] = times(d, scale);
        s->add[g + 4] = times(dmin, min);
    }
}

INLINE void eight_bit_scales(w_scales *s, vf d, const vi word[4])
{
    for (int g = 0; g < 16; g++)
        s->d[g / 2][g % 2] = times(d, word[g / 4] << (24 - 8 * (g % 4)) >> 24);
}

INLINE void scales_of(const ms_dtype dtype, w_scales *s, const w_rows *w, size_t at)
{
    vi word[4];

    switch (dtype) {
    case MS_Q4_1:
    case MS_Q5_1:
        s->d[0][0] = halves_at(w, at);
        s->add[0] = halves_at(w, at + 2);
        break;
    case MS_Q4_K:
    case MS_Q5_K:
        words_at(word, w, at);
        six_bit_scales(s, word);
        break;
    case MS_Q6_K:
        words_at(word, w, at + 192);
        eight_bit_scales(s, halves_at(w, at + 208), word);
        break;
    default: s->d[0][0] = halves_at(w, at);
    }
}

/* A link of an element's chain: y + d dx dot.  All kernels use it, so that bits agree. */
INLINE vf add_dot(vf y, vi dot, vf d, float dx)
{
    return fused(y, __builtin_convertvector(dot, vf), d * dx);
}

/* -- few rows of x ----------------------------------------------------------------------------- */

/* y + a block of x by VF rows of w, of whose halves these are the products. */
INLINE vf add_block(const ms_dtype dtype, vf y, vi half[2], const x_block *x, const w_scales *s,
                    int g)
{
    half[0] += x->start[0];
    if (dtype == MS_Q6_K) {
        half[1] += x->start[1];
        return add_dot(add_dot(y, half[0], s->d[g][0], x->d), half[1], s->d[g][1], x->d);
    }
    y = add_dot(y, half[0] + half[1], s->d[g][0], x->d);
    return has_min(dtype) ? fused(y, s->add[g], vf_all(x->sum)) : y;
}

/* How far ahead memory is fetched to the L2 cache; measured on a Zen 4, where fetching to L1 alone
 * reaches half the rate. */
enum { FAR_BYTES = 16 << 10 };

/* y = m rows of x by VF rows of w.  What the next rows will read is fetched meanwhile: side by side
 * these are too short streams for the hardware to see. */
INLINE void direct_rows(const ms_dtype dtype, vf y[DIRECT], const int m, const x_block *x,
                        int blocks, const w_rows *w)
{
    const int groups = groups_of(dtype);
    const size_t bytes = block_bytes(dtype), part = VF * bytes / (size_t)groups;
    const uint8_t *ahead = w->row[0] + VF * (size_t)(w->row[1] - w->row[0]);

    for (int i = 0; i < m; i++) y[i] = vf_all(0);
    for (int b = 0; b < blocks; b += groups) {
        size_t at = (size_t)(b / groups) * bytes;
        w_scales s;

        scales_of(dtype, &s, w, at);
        for (int g = 0; g < groups; g++) {
            levels level[LEVELS];

            for (size_t k = 0; k < part; k += 64) {
                __builtin_prefetch(ahead + k, 0, 3);
                __builtin_prefetch(ahead + k + FAR_BYTES, 0, 2);
            }
            ahead += part;
            read_levels(dtype, level, w, at, g);
            for (int i = 0; i < m; i++) {
                const x_block *xi = x + i * blocks + b + g;
                vi half[2];

                fold_dots(dtype, half, level, xi->q);
                y[i] = add_block(dtype, y[i], half, xi, &s, g);
            }
        }
    }
}

INLINE void direct(const ms_dtype dtype, const stored_part *p)
{
    int blocks = p->a->x.dim[1] / X_BLOCK, last = p->w_first + p->w_rows;

    for (int o = p->w_first; o < last; o += VF) {
        w_rows w = rows_at(p, o);
        vf y[DIRECT];

        if (p->x_rows == 1)
            direct_rows(dtype, y, 1, p->x, blocks, &w);
        else
            direct_rows(dtype, y, 2, p->x, blocks, &w);
        for (int i = 0; i < p->x_rows; i++)
            store_lanes(cpu_row(p->a->y, p->x_first + i) + p->a->at + o, y[i], last - o);
    }
}

#include "ops/cpu/quant_kept.h"

/* -- many rows of x ---------------------------------------------------------------------------- */

/* A block of VF rows of w: level 4 k + i of row r is q[k][4 r + i]. */
typedef struct {
    uint8_t q[8][4 * VF];
    float d[2][VF], add[VF];
    float unused[VF]; /* a multiple of the size of a vector in all */
} w_block;

INLINE void pack_scales(const ms_dtype dtype, w_block *to, const w_scales *s, int g)
{
    vf_store(to->d[0], s->d[g][0]);
    if (dtype == MS_Q6_K) vf_store(to->d[1], s->d[g][1]);
    if (has_min(dtype)) vf_store(to->add, s->add[g]);
}

/* n blocks of 32 from block `first` on, of the rows from o on; GROUPS apart. */
INLINE void pack(const ms_dtype dtype, w_block *to, const stored_part *p, int o, int first, int n)
{
    const int groups = groups_of(dtype);
    const w_rows rows = rows_at(p, o), *w = &rows;

    for (int b = first; b < first + n; b += groups) {
        size_t at = (size_t)(b / groups) * block_bytes(dtype);
        w_scales s;

        scales_of(dtype, &s, w, at);
        for (int g = 0; g < groups; g++, to += GROUPS) {
            levels level[LEVELS];

            read_levels(dtype, level, w, at, g);
            pack_levels(to->q, level);
            pack_scales(dtype, to, &s, g);
        }
    }
}

INLINE void pack_kept(const ms_dtype dtype, w_block *to, const stored_part *p, int o, int first,
                      int n)
{
    const int groups = groups_of(dtype);
    kept_place at =
        kept_at(dtype, kept_group(dtype, p, o), p->a->x.dim[1] / X_BLOCK, first / groups);

    for (int b = 0; b < n; b += groups, kept_next(dtype, &at)) {
        w_scales s;

        kept_scales(dtype, &s, at);
        for (int g = 0; g < groups; g++, to += GROUPS) {
            vi four[8];

            kept_levels(dtype, four, at.words, g);
            memcpy(to->q, four, sizeof four);
            pack_scales(dtype, to, &s, g);
        }
    }
}

/* Rows of x by a packed tile: where they are and where their sums go. */
typedef struct {
    const w_block *w;
    const x_block *x;
    size_t x_stride, y_stride;
    float *y;
    int columns; /* of y from there on; no more than GROUPS * VF are ours */
    int blocks;
    bool more;            /* y holds the sums of earlier blocks */
    const uint8_t *ahead; /* rows of w that are packed next: what each row of x fetches of them */
    size_t ahead_bytes;
} tile;

/* Dots of levels [4 k, 4 (k + n)) of a block of m rows of x, added to y. */
INLINE void tile_block(const ms_dtype dtype, vf y[TILE_ROWS][GROUPS], const int m, const x_block *x,
                       size_t stride, const w_block *w, const int half, const int k, const int n)
{
    vi dot[TILE_ROWS][GROUPS];

    for (int i = 0; i < m; i++)
        for (int g = 0; g < GROUPS; g++) dot[i][g] = (vi){0} + x[(size_t)i * stride].start[half];
    for (int j = k; j < k + n; j++) {
        levels four[GROUPS];

        for (int g = 0; g < GROUPS; g++) memcpy(&four[g], w[g].q[j], sizeof four[g]);
        for (int i = 0; i < m; i++) {
            int32_t xs;

            memcpy(&xs, x[(size_t)i * stride].q + 4 * j, sizeof xs);
            for (int g = 0; g < GROUPS; g++) dot[i][g] = dot_four(dtype, dot[i][g], four[g], xs);
        }
    }
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < m; i++)
            y[i][g] = add_dot(y[i][g], dot[i][g], vf_load(w[g].d[half]), x[(size_t)i * stride].d);
}

INLINE void tile_rows(const ms_dtype dtype, const tile *t, const int m)
{
    vf y[TILE_ROWS][GROUPS];
    const x_block *x = t->x;
    const w_block *w = t->w;

    for (int i = 0; i < m; i++)
        for (int g = 0; g < GROUPS; g++)
            y[i][g] = t->more
                          ? load_lanes(t->y + (size_t)i * t->y_stride + g * VF, t->columns - g * VF)
                          : vf_all(0);
    for (int b = 0; b < t->blocks; b++, x++, w += GROUPS) {
        if (dtype == MS_Q6_K) {
            tile_block(dtype, y, m, x, t->x_stride, w, 0, 0, 4);
            tile_block(dtype, y, m, x, t->x_stride, w, 1, 4, 4);
        } else {
            tile_block(dtype, y, m, x, t->x_stride, w, 0, 0, 8);
        }
        for (int g = 0; has_min(dtype) && g < GROUPS; g++)
            for (int i = 0; i < m; i++)
                y[i][g] = fused(y[i][g], vf_load(w[g].add), vf_all(x[(size_t)i * t->x_stride].sum));
    }
    for (int i = 0; i < m; i++)
        for (int g = 0; g < GROUPS; g++)
            store_lanes(t->y + (size_t)i * t->y_stride + g * VF, y[i][g], t->columns - g * VF);
}

INLINE void tile_all(const ms_dtype dtype, tile t, int rows)
{
    for (int m; rows > 0; rows -= m) {
        m = rows >= TILE_ROWS ? TILE_ROWS : rows >= TILE_ROWS / 2 ? TILE_ROWS / 2 : 1;
        if (m == TILE_ROWS)
            tile_rows(dtype, &t, TILE_ROWS);
        else if (m == TILE_ROWS / 2)
            tile_rows(dtype, &t, TILE_ROWS / 2);
        else
            tile_rows(dtype, &t, 1);
        t.x += (size_t)m * t.x_stride;
        t.y += (size_t)m * t.y_stride;
        for (size_t k = 0; k < (size_t)m * t.ahead_bytes; k += 64)
            __builtin_prefetch(t.ahead + k, 0, 2);
        t.ahead += (size_t)m * t.ahead_bytes;
    }
}

/* Once packed, types differ only in these ways. */
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
    int last = p->w_first + p->w_rows;
    const size_t part_bytes = GROUPS * VF * stored_row_bytes(p->a->w) / (size_t)blocks;
    const uint8_t *ahead = (const uint8_t *)p->a->w.data +
                           (size_t)(p->w_first + GROUPS * VF) * stored_row_bytes(p->a->w);
    w_block *w = p->work;

    for (int o = p->w_first; o < last; o += GROUPS * VF)
        for (int k = 0; k < blocks; k += step, ahead += part_bytes * (size_t)step) {
            tile t = {.w = w,
                      .x = (const x_block *)p->x + k,
                      .x_stride = (size_t)blocks,
                      .y_stride = (size_t)p->a->y.dim[1],
                      .y = cpu_row(p->a->y, p->x_first) + p->a->at + o,
                      .columns = last - o,
                      .blocks = blocks - k < step ? blocks - k : step,
                      .more = k > 0,
                      .ahead = ahead};

            t.ahead_bytes = part_bytes * (size_t)t.blocks / (size_t)p->x_rows + 1;
            for (int g = 0; g < GROUPS; g++) {
                if (p->a->kept)
                    pack_kept(dtype, w + g, p, o + g * VF, k, t.blocks);
                else
                    pack(dtype, w + g, p, o + g * VF, k, t.blocks);
            }
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

/* -- by type ----------------------------------------------------------------------------------- */

#define TYPE(dtype)                                                                                \
    static void multiply_##dtype(const stored_part *p)                                             \
    {                                                                                              \
        if (p->x_rows <= DIRECT && p->a->kept)                                                     \
            direct_kept(dtype, p);                                                                 \
        else if (p->x_rows <= DIRECT)                                                              \
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
