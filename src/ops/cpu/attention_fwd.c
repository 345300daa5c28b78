/* attention_fwd - causal attention of grouped queries, strips of query rows by blocks of keys
 *
 * Each block of keys gives a row a maximum, a sum and a sum of values of its own; they are merged
 * in the order of the blocks (Milakov & Gimelshein 2018).  So the order of a row is fixed, whether
 * one thread goes through the keys or several take blocks of them. */
#include "ops/cpu/attention.h"

#include <math.h>
#include <stdatomic.h>

/* Rows of a work item: many, since each item transposes its keys; less when items would be few. */
enum { ROWS = 44 * STRIP, ROWS_FEW = 8 * STRIP };
/* Room for numbers of a strip in whole vectors. */
enum { STRIP_ROOM = 16 };
/* Floats of each thread's memory that hold what blocks gave until they are merged. */
enum { SHARED = 192 * 1024 };
_Static_assert((2 * ROWS + STRIP + 4 * KEYS) * MS_MAX_HEAD_DIM + SHARED <= MS_CPU_WORK_BYTES / 4,
               "a thread's memory holds a tile of the widest head");

typedef struct {
    const ms_attention_fwd_args *a;
    ms_queue *q;
    shape s;
    cpu_drop drop;
    int rows, tiles; /* of a work item; items of the longest key head */
    int blocks;      /* of keys that threads take one by one; 0: a thread takes all of an item */
    atomic_int next, next_merge;
} fwd;

/* What a block of keys gives the rows of a strip. */
typedef struct {
    float max[STRIP_ROOM], sum[STRIP_ROOM];
} strip;

/* Memory of a thread. */
typedef struct {
    float *q;      /* (rows, padded) times scale */
    float *sum;    /* (rows, padded) of values */
    float *part;   /* (STRIP, padded) of one block */
    float *keys;   /* (D, KEYS) */
    float *values; /* (KEYS, padded) */
    float *floats; /* (KEYS, D) of a cache of another type */
    strip *state;  /* (rows / STRIP) */
    float *shared; /* (SHARED) */
} room;

static room room_of(const fwd *f, int thread)
{
    size_t row = (size_t)f->s.padded;
    room m = {.q = cpu_work(f->q, thread)};

    m.sum = m.q + ROWS * row;
    m.part = m.sum + ROWS * row;
    m.keys = m.part + STRIP * row;
    m.values = m.keys + KEYS * row;
    m.floats = m.values + KEYS * row;
    m.state = (strip *)(void *)(m.floats + KEYS * row);
    m.shared = (float *)(void *)(m.state + ROWS / STRIP);
    return m;
}

/* -- one strip against one block ------------------------------------------------------------- */

/* p = exp(score - max) of the keys a row sees, zeros behind. */
static void softmax_row(float p[KEYS], int n, float *max, float *sum)
{
    vf low = vf_all(-INFINITY), high = low, total = vf_all(0);

    for (int j = 0; j < n; j += VF)
        high = vf_max(vf_select(below(j, n), vf_load(p + j), low), high);
    *max = vf_highest(high);
    for (int j = 0; j < n; j += VF) {
        vf e = vf_select(below(j, n), vf_exp(vf_load(p + j) - *max), vf_all(0));

        total += e;
        vf_store(p + j, e);
    }
    *sum = vf_sum(total);
}

static void drop_keys(const fwd *f, place at, int r, int first, float p[KEYS], int n)
{
    float mask[KEYS];

    drop_mask(&f->drop, drop_row(f->s, at, r), first, n, mask);
    for (int j = 0; j < n; j++) p[j] *= mask[j];
}

/* Rows r .. of q against the block of keys from `first` on: out (rows, padded) and got. */
static void strip_block(const fwd *f, const room *m, place at, int r, int rows, const float *q,
                        int first, const float *values, float *out, strip *got)
{
    shape s = f->s;
    int last = seen_by(s, at, r + rows - 1) - first, most = last < KEYS ? last : KEYS;
    int stride = (most + VF - 1) / VF;
    float p[STRIP][KEYS];

    multiply_strip((product){.c = p[0],
                             .c_stride = KEYS,
                             .a = q,
                             .row = (size_t)s.padded,
                             .step = 1,
                             .b = m->keys,
                             .b_stride = KEYS,
                             .depth = s.D},
                   rows, stride);
    for (int i = 0; i < rows; i++) {
        int n = seen_by(s, at, r + i) - first;

        n = n < 0 ? 0 : n < KEYS ? n : KEYS;
        softmax_row(p[i], n, &got->max[i], &got->sum[i]);
        for (int j = (n + VF - 1) / VF * VF; j < most; j += VF) vf_store(p[i] + j, vf_all(0));
        if (f->drop.on) drop_keys(f, at, r + i, first, p[i], n);
    }
    multiply_strip((product){.c = out,
                             .c_stride = (size_t)s.padded,
                             .a = p[0],
                             .row = KEYS,
                             .step = 1,
                             .b = values,
                             .b_stride = (size_t)s.padded,
                             .depth = most},
                   rows, s.padded / VF);
}

/* The sums of a strip so far, and those of a block behind it. */
static void merge(shape s, int rows, strip *state, float *sum, const strip *got, const float *part)
{
    float old[STRIP_ROOM], new[STRIP_ROOM];

    for (int i = 0; i < rows; i += VF) {
        vf a = vf_load(state->max + i), b = vf_load(got->max + i), max = vf_max(a, b);

        vf_store(old + i, vf_exp(a - max));
        vf_store(new + i, vf_exp(b - max));
        vf_store(state->max + i, max);
    }
    for (int i = 0; i < rows; i++) {
        float *y = sum + (size_t)i * (size_t)s.padded;
        const float *x = part + (size_t)i * (size_t)s.padded;

        state->sum[i] = state->sum[i] * old[i] + got->sum[i] * new[i];
        for (int d = 0; d < s.padded; d += VF)
            vf_store(y + d, vf_load(y + d) * old[i] + vf_load(x + d) * new[i]);
    }
}

/* -- work items ------------------------------------------------------------------------------ */

static void load_rows(const fwd *f, const room *m, place at, int r, int rows)
{
    shape s = f->s;

    for (int i = 0; i < rows; i++)
        copy_row(m->q + (size_t)i * (size_t)s.padded, row_of(f->a->q, s, at, r + i),
                 (float)f->a->scale, s);
}

/* n rows of a cached tensor from `first` on as floats, in m->floats unless they are. */
static const float *floats_of(const fwd *f, const room *m, ms_tensor t, place at, int first, int n)
{
    shape s = f->s;

    if (t.dtype == MS_F32) return key_of(t, s, at, first);
    CPU(stored_rows)
    (m->floats, MS_VIEW(t, s.B * s.K * s.S, s.D), (at.b * s.K + at.head) * s.S + first, n);
    return m->floats;
}

/* A block of keys, transposed, into m->keys; returns their values as rows of whole vectors. */
static const float *load_keys(const fwd *f, const room *m, place at, int first, int n)
{
    transpose_keys(m->keys, floats_of(f, m, f->a->k, at, first, n), n, f->s.D);
    return whole_rows(m->values, floats_of(f, m, f->a->v, at, first, n), n, f->s);
}

static void store_row(const fwd *f, place at, int r, const float *sum, float max, float total)
{
    float *y = row_of(f->a->y, f->s, at, r), *lse = f->a->lse.data, inverse = 1 / total;

    for (int d = 0; d < f->s.D; d++) y[d] = sum[d] * inverse;
    if (lse) lse[row_number(f->s, at, r)] = max + logf(total);
}

static bool sees_any(const fwd *f, place at, int r, int rows, int first)
{
    return seen_by(f->s, at, r + rows - 1) > first;
}

/* Rows r .. r+rows-1, all of them valid, against all the keys they see. */
static void fwd_rows(const fwd *f, const room *m, place at, int r, int rows)
{
    shape s = f->s;
    int seen = seen_by(s, at, r + rows - 1);
    strip got;

    load_rows(f, m, at, r, rows);
    for (int first = 0; first < seen; first += KEYS) {
        int n = seen - first < KEYS ? seen - first : KEYS;
        const float *v = load_keys(f, m, at, first, n);

        for (int i = 0; i < rows; i += STRIP) {
            int count = rows - i < STRIP ? rows - i : STRIP;
            size_t to = (size_t)i * (size_t)s.padded;
            strip *state = &m->state[i / STRIP];

            if (!sees_any(f, at, r + i, count, first)) continue;
            if (first == 0) {
                strip_block(f, m, at, r + i, count, m->q + to, 0, v, m->sum + to, state);
                continue;
            }
            strip_block(f, m, at, r + i, count, m->q + to, first, v, m->part, &got);
            merge(s, count, state, m->sum + to, &got, m->part);
        }
    }
    for (int i = 0; i < rows; i++)
        store_row(f, at, r + i, m->sum + (size_t)i * (size_t)s.padded,
                  m->state[i / STRIP].max[i % STRIP], m->state[i / STRIP].sum[i % STRIP]);
}

/* What a block gave the rows of an item: sums of values, then the strips' state. */
static float *shared_part(const fwd *f, int item, int block)
{
    size_t strips = (size_t)((f->rows + STRIP - 1) / STRIP);
    size_t size = (size_t)f->rows * (size_t)f->s.padded + strips * sizeof(strip) / sizeof(float);
    size_t part = (size_t)item * (size_t)f->blocks + (size_t)block, each = SHARED / size;

    return room_of(f, (int)(part / each)).shared + part % each * size;
}

static bool fits_shared(const fwd *f, int items, int threads)
{
    size_t strips = (size_t)((f->rows + STRIP - 1) / STRIP);
    size_t size = (size_t)f->rows * (size_t)f->s.padded + strips * sizeof(strip) / sizeof(float);

    return (size_t)items * (size_t)f->blocks <= SHARED / size * (size_t)threads;
}

/* Rows r .. against one block of keys, into shared memory. */
static void fwd_block(const fwd *f, const room *m, place at, int r, int rows, int block, float *out)
{
    shape s = f->s;
    int first = block * KEYS, n = seen_by(s, at, r + rows - 1) - first;
    strip *state = (strip *)(void *)(out + (size_t)f->rows * (size_t)s.padded);
    const float *v;

    if (n <= 0) return;
    v = load_keys(f, m, at, first, n < KEYS ? n : KEYS);
    load_rows(f, m, at, r, rows);
    for (int i = 0; i < rows; i += STRIP) {
        int count = rows - i < STRIP ? rows - i : STRIP;
        size_t to = (size_t)i * (size_t)s.padded;

        if (sees_any(f, at, r + i, count, first))
            strip_block(f, m, at, r + i, count, m->q + to, first, v, out + to, &state[i / STRIP]);
    }
}

/* What the blocks gave rows r .. , in the order of the blocks. */
static void merge_blocks(const fwd *f, place at, int r, int rows, int item)
{
    shape s = f->s;
    float *sum = shared_part(f, item, 0);
    strip *state = (strip *)(void *)(sum + (size_t)f->rows * (size_t)s.padded);

    for (int block = 1; block < f->blocks; block++) {
        const float *part = shared_part(f, item, block);
        const strip *got = (const strip *)(const void *)(part + (size_t)f->rows * (size_t)s.padded);

        for (int i = 0; i < rows; i += STRIP) {
            int count = rows - i < STRIP ? rows - i : STRIP;
            size_t to = (size_t)i * (size_t)s.padded;

            if (sees_any(f, at, r + i, count, block * KEYS))
                merge(s, count, &state[i / STRIP], sum + to, &got[i / STRIP], part + to);
        }
    }
    for (int i = 0; i < rows; i++)
        store_row(f, at, r + i, sum + (size_t)i * (size_t)s.padded, state[i / STRIP].max[i % STRIP],
                  state[i / STRIP].sum[i % STRIP]);
}

static void padding_rows(const fwd *f, place at)
{
    float *lse = f->a->lse.data;

    for (int r = at.rows; r < f->s.T * f->s.group; r++) {
        memset(row_of(f->a->y, f->s, at, r), 0, (size_t)f->s.D * sizeof(float));
        if (lse) lse[row_number(f->s, at, r)] = 0;
    }
}

/* Items: key heads by tiles of rows, those with the most keys first. */
typedef struct {
    place at;
    int r, rows;
} tile;

static tile tile_of(const fwd *f, int item)
{
    int places = f->s.B * f->s.K;
    tile t = {.at = place_of(f->s, f->a->seq, item % places)};

    t.r = (f->tiles - 1 - item / places) * f->rows;
    t.rows = t.at.rows - t.r < f->rows ? t.at.rows - t.r : f->rows;
    return t;
}

static void whole_items(fwd *f, const room *m, int items)
{
    int item;

    while ((item = atomic_fetch_add(&f->next, 1)) < items) {
        tile t = tile_of(f, item);

        if (t.rows > 0) fwd_rows(f, m, t.at, t.r, t.rows);
        if (t.r == 0) padding_rows(f, t.at);
    }
}

/* y may lie where q was: rows are stored when all blocks are done. */
static void split_items(fwd *f, const room *m, int items, int threads)
{
    int n;

    while ((n = atomic_fetch_add(&f->next, 1)) < items * f->blocks) {
        int item = n / f->blocks, block = n % f->blocks;
        tile t = tile_of(f, item);

        if (t.rows > 0) fwd_block(f, m, t.at, t.r, t.rows, block, shared_part(f, item, block));
    }
    if (threads > 1) ms_pool_barrier(f->q->device->pool);
    while ((n = atomic_fetch_add(&f->next_merge, 1)) < items) {
        tile t = tile_of(f, n);

        if (t.rows > 0) merge_blocks(f, t.at, t.r, t.rows, n);
        if (t.r == 0) padding_rows(f, t.at);
    }
}

static void fwd_region(void *arg, int thread, int threads)
{
    fwd *f = arg;
    int items = f->s.B * f->s.K * f->tiles;
    room m = room_of(f, thread);

    if (f->blocks)
        split_items(f, &m, items, threads);
    else
        whole_items(f, &m, items);
}

/* Large tiles where there are many; where tiles are few too, blocks of keys are shared out. */
static void share_out(fwd *f, int threads)
{
    int rows = f->s.T * f->s.group, heads = f->s.B * f->s.K, seen = 0;

    f->rows = ROWS;
    if (heads * ((rows + ROWS - 1) / ROWS) < 4 * threads) f->rows = ROWS_FEW;
    if (f->rows > rows) f->rows = rows;
    f->tiles = (rows + f->rows - 1) / f->rows;
    if (threads == 1 || heads * f->tiles >= 4 * threads) return;
    for (int b = 0; b < f->s.B; b++) {
        ms_seq q = cpu_seq(f->a->seq, b);

        if (q.start + q.length > seen) seen = q.start + q.length;
    }
    f->blocks = (seen + KEYS - 1) / KEYS;
    if (f->blocks < 2 || !fits_shared(f, heads * f->tiles, threads)) f->blocks = 0;
}

void CPU(attention_fwd)(ms_queue *q, const ms_attention_fwd_args *a)
{
    fwd f = {.a = a, .q = q, .s = shape_of(a->q, a->k), .drop = cpu_drop_of(q, a->drop)};

    share_out(&f, ms_pool_threads(q->device->pool));
    cpu_run(q, work_of(f.s, a->seq), fwd_region, &f);
}
