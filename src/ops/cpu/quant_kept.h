/* quant_kept - block types as the device keeps them (ms_device_keep): the blocks of VF rows side by
 * side, so that a vector has the same part of each row in its lanes and w is one stream;
 * included by quant_lanes.h
 *
 * A group of rows is the scales that are one half a block (block, VF), up to whole cache lines,
 * then the other words of each block (block, word, VF), in the order in which a row has them.  What
 * is no row is the last one again.  Levels of q8_0 have the zero that products want. */
#ifndef MS_OPS_CPU_QUANT_KEPT_H
#define MS_OPS_CPU_QUANT_KEPT_H

enum { LINE_BYTES = 64, WORD_BYTES = 4, HALF_BYTES = 2 };

/* -- layout ------------------------------------------------------------------------------------ */

/* Where in a block its words begin, and where the half is that is no part of them; -1: none. */
INLINE int first_word(const ms_dtype dtype)
{
    return dtype == MS_Q8_0 || dtype == MS_Q4_0 || dtype == MS_Q5_0 ? HALF_BYTES : 0;
}

INLINE int lone_half(const ms_dtype dtype)
{
    return first_word(dtype) ? 0 : dtype == MS_Q6_K ? Q6_K_BYTES - HALF_BYTES : -1;
}

INLINE int words_of(const ms_dtype dtype)
{
    return (int)block_bytes(dtype) / WORD_BYTES;
}

/* `blocks` counts blocks of w. */
INLINE size_t halves_bytes(const ms_dtype dtype, int blocks)
{
    size_t bytes = lone_half(dtype) < 0 ? 0 : (size_t)blocks * VF * HALF_BYTES;

    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

INLINE size_t group_bytes(const ms_dtype dtype, int blocks)
{
    return halves_bytes(dtype, blocks) + (size_t)blocks * (size_t)words_of(dtype) * VF * WORD_BYTES;
}

/* The group of rows that row o is in; the last one where there is no such row. */
INLINE const uint8_t *kept_group(const ms_dtype dtype, const stored_part *p, int o)
{
    ms_tensor w = p->a->w;
    int group = (o < w.dim[0] ? o : w.dim[0] - 1) / VF;

    return (const uint8_t *)w.data +
           (size_t)group * group_bytes(dtype, w.dim[1] / ms_dtype_block(dtype));
}

/* -- reading ----------------------------------------------------------------------------------- */

/* A block of a group. */
typedef struct {
    const uint8_t *halves, *words;
} kept_place;

INLINE kept_place kept_at(const ms_dtype dtype, const uint8_t *group, int blocks, int block)
{
    int w_blocks = blocks / groups_of(dtype);
    const uint8_t *words = group + halves_bytes(dtype, w_blocks);

    return (kept_place){group + (size_t)block * VF * HALF_BYTES,
                        words + (size_t)block * (size_t)words_of(dtype) * VF * WORD_BYTES};
}

INLINE void kept_next(const ms_dtype dtype, kept_place *at)
{
    at->halves += VF * HALF_BYTES;
    at->words += (size_t)words_of(dtype) * VF * WORD_BYTES;
}

INLINE vi word_at(const uint8_t *words, int i)
{
    vi v;

    memcpy(&v, words + (size_t)i * VF * WORD_BYTES, sizeof v);
    return v;
}

/* Some bits of each byte, from a bit on. */
INLINE vi bits_at(vi v, int from, int mask)
{
    return v >> from & mask * 0x01010101;
}

/* Bits 4 k .. 4 k + 3, each as the fifth of a byte: the factor moves bit i to bit 8 i. */
INLINE vi fifth_bits(vi v, int k)
{
    return ((v >> 4 * k & 15) * 0x00204081 & 0x01010101) << 4;
}

/* Levels 4 k .. 4 k + 3 of group g of each row. */
INLINE vi kept_four(const ms_dtype dtype, const uint8_t *words, int g, int k)
{
    switch (dtype) {
    case MS_Q8_0: return word_at(words, k);
    case MS_Q4_0: return bits_at(word_at(words, k % 4), k / 4 * 4, 15);
    case MS_Q4_1: return bits_at(word_at(words, 1 + k % 4), k / 4 * 4, 15);
    case MS_Q5_0:
        return bits_at(word_at(words, 1 + k % 4), k / 4 * 4, 15) | fifth_bits(word_at(words, 0), k);
    case MS_Q5_1:
        return bits_at(word_at(words, 2 + k % 4), k / 4 * 4, 15) | fifth_bits(word_at(words, 1), k);
    case MS_Q4_K: return bits_at(word_at(words, 4 + g / 2 * 8 + k), g % 2 * 4, 15);
    case MS_Q5_K:
        return bits_at(word_at(words, 12 + g / 2 * 8 + k), g % 2 * 4, 15) |
               bits_at(word_at(words, 4 + k), g, 1) << 4;
    default:
        return bits_at(word_at(words, g / 4 * 16 + g % 2 * 8 + k), g % 4 / 2 * 4, 15) |
               bits_at(word_at(words, 32 + g / 4 * 8 + k), g % 4 * 2, 3) << 4;
    }
}

INLINE void kept_levels(const ms_dtype dtype, vi four[8], const uint8_t *words, int g)
{
    for (int k = 0; k < 8; k++) four[k] = kept_four(dtype, words, g, k);
}

INLINE void kept_scales(const ms_dtype dtype, w_scales *s, kept_place at)
{
    vi word[4];

    switch (dtype) {
    case MS_Q4_1:
    case MS_Q5_1:
        s->d[0][0] = low_halves(word_at(at.words, 0));
        s->add[0] = low_halves(word_at(at.words, 0) >> 16);
        break;
    case MS_Q4_K:
    case MS_Q5_K:
        for (int i = 0; i < 4; i++) word[i] = word_at(at.words, i);
        six_bit_scales(s, word);
        break;
    case MS_Q6_K:
        for (int i = 0; i < 4; i++) word[i] = word_at(at.words, 48 + i);
        eight_bit_scales(s, halves(at.halves), word);
        break;
    default: s->d[0][0] = halves(at.halves);
    }
}

/* -- few rows of x ----------------------------------------------------------------------------- */

/* Groups read side by side, and how far ahead of each memory is fetched to the L2 cache: measured
 * on a Zen 4, where one stream alone comes at two thirds of the rate of four. */
enum { STREAMS = 4, STREAM_FAR_BYTES = 4 << 10 };

/* y[i][j] = row i of m of x by group j of rows of w. */
INLINE void kept_rows(const ms_dtype dtype, vf y[DIRECT][STREAMS], const int m, const x_block *x,
                      int blocks, const uint8_t *const group[STREAMS])
{
    const int groups = groups_of(dtype);
    const size_t part = (size_t)words_of(dtype) * VF * WORD_BYTES / (size_t)groups;
    kept_place at[STREAMS];

    for (int j = 0; j < STREAMS; j++) {
        at[j] = kept_at(dtype, group[j], blocks, 0);
        for (int i = 0; i < m; i++) y[i][j] = vf_all(0);
    }
    for (int b = 0; b < blocks; b += groups)
        for (int j = 0; j < STREAMS; j++) {
            const uint8_t *far = at[j].words + STREAM_FAR_BYTES;
            w_scales s;

            kept_scales(dtype, &s, at[j]);
            for (int g = 0; g < groups; g++, far += part) {
                vi four[8];

                for (size_t k = 0; k < part; k += LINE_BYTES) __builtin_prefetch(far + k, 0, 2);
                kept_levels(dtype, four, at[j].words, g);
                for (int i = 0; i < m; i++) {
                    const x_block *xi = x + i * blocks + b + g;
                    vi half[2] = {{0}, {0}};

                    for (int k = 0; k < 8; k++) {
                        int32_t xs;

                        memcpy(&xs, xi->q + 4 * k, sizeof xs);
                        half[k / 4] = dot_four(dtype, half[k / 4], (levels)four[k], xs);
                    }
                    y[i][j] = add_block(dtype, y[i][j], half, xi, &s, g);
                }
            }
            kept_next(dtype, &at[j]);
        }
}

/* The streams are equal parts of the rows; the last ones may run over. */
INLINE void direct_kept(const ms_dtype dtype, const stored_part *p)
{
    int blocks = p->a->x.dim[1] / X_BLOCK, last = p->w_first + p->w_rows;
    int part = ((p->w_rows + VF - 1) / VF + STREAMS - 1) / STREAMS * VF;

    for (int o = p->w_first; o < p->w_first + part; o += VF) {
        const uint8_t *group[STREAMS];
        vf y[DIRECT][STREAMS];

        for (int j = 0; j < STREAMS; j++) group[j] = kept_group(dtype, p, o + j * part);
        if (p->x_rows == 1)
            kept_rows(dtype, y, 1, p->x, blocks, group);
        else
            kept_rows(dtype, y, 2, p->x, blocks, group);
        for (int i = 0; i < p->x_rows; i++)
            for (int j = 0; j < STREAMS; j++)
                store_lanes(cpu_row(p->a->y, p->x_first + i) + p->a->at + o + j * part, y[i][j],
                            last - o - j * part);
    }
}

/* -- writing ----------------------------------------------------------------------------------- */

static size_t kept_bytes(ms_tensor w)
{
    return (size_t)((w.dim[0] + VF - 1) / VF) *
           group_bytes(w.dtype, w.dim[1] / ms_dtype_block(w.dtype));
}

/* A group of w, which lies as files have it. */
static void keep_group(uint8_t *to, ms_tensor w, int group)
{
    const ms_dtype dtype = w.dtype;
    const int blocks = w.dim[1] / ms_dtype_block(dtype), half = lone_half(dtype);
    uint8_t *words = to + halves_bytes(dtype, blocks);

    for (int i = 0; i < VF; i++) {
        int row = group * VF + i < w.dim[0] ? group * VF + i : w.dim[0] - 1;
        const uint8_t *from = (const uint8_t *)w.data + (size_t)row * stored_row_bytes(w);

        for (int b = 0; b < blocks; b++, from += block_bytes(dtype)) {
            size_t first = (size_t)b * (size_t)words_of(dtype);

            if (half >= 0) memcpy(to + (size_t)(b * VF + i) * HALF_BYTES, from + half, HALF_BYTES);
            for (int k = 0; k < words_of(dtype); k++) {
                uint32_t word;

                memcpy(&word, from + first_word(dtype) + k * WORD_BYTES, sizeof word);
                if (dtype == MS_Q8_0 && Q8_0_ZERO != 0) word ^= 0x80808080;
                memcpy(words + ((first + (size_t)k) * VF + (size_t)i) * WORD_BYTES, &word,
                       sizeof word);
            }
        }
    }
}

/* A thread's share of w. */
static void keep(void *to, ms_tensor w, int thread, int threads)
{
    size_t groups = (size_t)((w.dim[0] + VF - 1) / VF), first, last;
    size_t bytes = group_bytes(w.dtype, w.dim[1] / ms_dtype_block(w.dtype));

    ms_share(groups, 1, thread, threads, &first, &last);
    for (size_t g = first; g < last; g++) keep_group((uint8_t *)to + g * bytes, w, (int)g);
}

#endif
