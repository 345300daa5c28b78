/* attention_bwd - gradients of attention: probabilities are rebuilt from lse
 *
 * Tiles of ROWS query rows by KEYS keys (Dao et al. 2022, algorithm 4).  dq of a row adds up over
 * the blocks of keys, dk and dv of a key over the tiles of rows, each in order: a thread that owns
 * a key head goes through all its tiles once; where there are fewer key heads than threads, one
 * pass owns keys and another owns rows, with the same order and so the same bits. */
#include "ops/cpu/attention.h"

#include <stdatomic.h>

enum { ROWS = 10 * STRIP };
/* Floats of a thread's memory for all blocks of keys and values of a key head. */
enum { PACKED = 2 * 128 * 1024 };
_Static_assert((3 * ROWS + 5 * KEYS) * MS_MAX_HEAD_DIM + PACKED <= MS_CPU_WORK_BYTES / 4,
               "a thread's memory holds a tile of the widest head");

typedef struct {
    const ms_attention_bwd_args *a;
    ms_queue *q;
    shape s;
    cpu_drop drop;
    bool split, packed;
    int tiles, blocks; /* of rows, of keys, where split */
    atomic_int next_keys, next_rows;
} bwd;

/* Memory of a thread. */
typedef struct {
    float *q, *dy, *dq;            /* (ROWS, padded); q times scale */
    float *packed;                 /* transposed keys and values of all blocks, where they fit */
    float *keys, *values;          /* (D, KEYS), transposed */
    float *whole;                  /* (KEYS, padded): k where its rows are not whole vectors */
    float *part;                   /* (KEYS, padded): a share of dk or dv, likewise */
    float (*p)[KEYS], (*ds)[KEYS]; /* (ROWS, KEYS) */
    float lse[ROWS], delta[ROWS];
} room;

static room room_of(const bwd *f, int thread)
{
    size_t rows = ROWS * (size_t)f->s.padded, keys = KEYS * (size_t)f->s.padded;
    room m = {.q = cpu_work(f->q, thread)};

    m.dy = m.q + rows;
    m.dq = m.dy + rows;
    m.packed = m.dq + rows;
    m.keys = m.packed + PACKED;
    m.values = m.keys + keys;
    m.whole = m.values + keys;
    m.part = m.whole + keys;
    m.p = (float(*)[KEYS])(void *)(m.part + keys);
    m.ds = m.p + ROWS;
    return m;
}

/* -- one tile -------------------------------------------------------------------------------- */

static float dot(const float *x, const float *y, int D)
{
    vf sum = vf_all(0);
    int d = 0;

    for (; d + VF <= D; d += VF) sum += vf_load(x + d) * vf_load(y + d);
    if (d < D) sum += vf_load_part(x + d, D - d) * vf_load_part(y + d, D - d);
    return vf_sum(sum);
}

/* Rows r .. : q, dy, lse, and delta = dy . y. */
static void load_rows(const bwd *f, room *m, place at, int r, int rows)
{
    const ms_attention_bwd_args *a = f->a;
    shape s = f->s;

    for (int i = 0; i < rows; i++) {
        size_t to = (size_t)i * (size_t)s.padded;
        const float *dy = row_of(a->dy, s, at, r + i);

        copy_row(m->q + to, row_of(a->q, s, at, r + i), (float)a->scale, s);
        copy_row(m->dy + to, dy, 1, s);
        m->lse[i] = ((const float *)a->lse.data)[row_number(s, at, r + i)];
        m->delta[i] = dot(dy, row_of(a->y, s, at, r + i), s.D);
    }
}

/* The block of keys from `first` on, transposed; kept for the next tile of rows where all fit. */
static void load_keys(const bwd *f, room *m, place at, int first, int n, bool kept)
{
    size_t block = KEYS * (size_t)f->s.D;

    if (f->packed) {
        m->keys = m->packed + (size_t)(first / KEYS) * 2 * block;
        m->values = m->keys + block;
        if (kept) return;
    }
    transpose_keys(m->keys, key_of(f->a->k, f->s, at, first), n, f->s.D);
    transpose_keys(m->values, key_of(f->a->v, f->s, at, first), n, f->s.D);
}

/* exp(score - lse), at most 1: where rounding of large scores says more, and it would grow beyond
 * all numbers, it is cut off. */
static inline vf probability(vf score, float lse)
{
    vf x = score - lse;

    return vf_exp(vf_select(x > vf_all(0), vf_all(0), x));
}

/* From scores p and dp = dy . v of the n keys a row sees: p gets what multiplies dy in dv, ds what
 * multiplies q in dk; zeros behind. */
static void row_back(const bwd *f, float *p, float *ds, int n, float lse, float delta,
                     const float *mask)
{
    for (int j = 0; j < KEYS; j += VF) {
        vi sees = below(j, n);
        vf e, dp = vf_load(ds + j), keep = vf_all(1);

        if (j >= n) {
            vf_store(p + j, vf_all(0));
            vf_store(ds + j, vf_all(0));
            continue;
        }
        e = vf_select(sees, probability(vf_load(p + j), lse), vf_all(0));
        if (f->drop.on) keep = vf_load(mask + j);
        vf_store(ds + j, vf_select(sees, e * (keep * dp - delta), vf_all(0)));
        vf_store(p + j, e * keep);
    }
}

/* How many of the keys from `first` on, at most KEYS, row r sees. */
static int seen_of(shape s, place at, int r, int first)
{
    int n = seen_by(s, at, r) - first;

    return n < 0 ? 0 : n < KEYS ? n : KEYS;
}

/* p and ds of a tile of rows r .. by the keys from `first` on. */
static void scores(const bwd *f, room *m, place at, int r, int rows, int first)
{
    shape s = f->s;
    product dots = {
        .c_stride = KEYS, .row = (size_t)s.padded, .step = 1, .b_stride = KEYS, .depth = s.D};

    for (int i = 0; i < rows; i += STRIP) {
        int count = rows - i < STRIP ? rows - i : STRIP;
        int vectors = (seen_of(s, at, r + i + count - 1, first) + VF - 1) / VF;

        dots.a = m->q + (size_t)i * (size_t)s.padded, dots.b = m->keys, dots.c = m->p[i];
        multiply_strip(dots, count, vectors);
        dots.a = m->dy + (size_t)i * (size_t)s.padded, dots.b = m->values, dots.c = m->ds[i];
        multiply_strip(dots, count, vectors);
        for (int j = i; j < i + count; j++) {
            int n = seen_of(s, at, r + j, first);
            float mask[KEYS] = {0};

            if (f->drop.on) drop_mask(&f->drop, drop_row(s, at, r + j), first, n, mask);
            row_back(f, m->p[j], m->ds[j], n, m->lse[j], m->delta[j], mask);
        }
    }
}

/* dq of a tile += ds k */
static void add_to_rows(const bwd *f, const room *m, place at, int r, int rows, int first, int n)
{
    shape s = f->s;
    const float *k = whole_rows(m->whole, key_of(f->a->k, s, at, first), n, s);

    for (int i = 0; i < rows; i += STRIP) {
        int count = rows - i < STRIP ? rows - i : STRIP;
        int depth = seen_of(s, at, r + i + count - 1, first);

        if (depth > 0)
            multiply_strip((product){.c = m->dq + (size_t)i * (size_t)s.padded,
                                     .c_stride = (size_t)s.padded,
                                     .a = m->ds[i],
                                     .row = KEYS,
                                     .step = 1,
                                     .b = k,
                                     .b_stride = (size_t)s.padded,
                                     .depth = depth,
                                     .add = true},
                           count, s.padded / VF);
    }
}

/* Rows of dk or dv += transposed p times x of a tile, from the first row on that sees any of the
 * keys. */
static void add_to_keys(const bwd *f, const room *m, float *out, float (*p)[KEYS], const float *x,
                        int from, int rows, int keys)
{
    shape s = f->s;
    bool whole = s.D == s.padded;

    multiply_strip((product){.c = whole ? out : m->part,
                             .c_stride = (size_t)s.padded,
                             .a = p[from],
                             .row = 1,
                             .step = KEYS,
                             .b = x + (size_t)from * (size_t)s.padded,
                             .b_stride = (size_t)s.padded,
                             .depth = rows - from,
                             .add = whole},
                   keys, s.padded / VF);
    for (int j = 0; !whole && j < keys; j++)
        for (int d = 0; d < s.D; d++) out[j * s.D + d] += m->part[j * s.padded + d];
}

static void add_keys(const bwd *f, const room *m, place at, int r, int rows, int first, int n)
{
    shape s = f->s;

    for (int j = 0; j < n; j += STRIP) {
        int from = (first + j - at.start) * s.group - r, keys = n - j < STRIP ? n - j : STRIP;

        if (from < 0) from = 0;
        if (from >= rows) return;
        add_to_keys(f, m, key_of(f->a->dk, s, at, first + j), (float(*)[KEYS])(m->ds[0] + j), m->q,
                    from, rows, keys);
        add_to_keys(f, m, key_of(f->a->dv, s, at, first + j), (float(*)[KEYS])(m->p[0] + j), m->dy,
                    from, rows, keys);
    }
}

/* -- work items ------------------------------------------------------------------------------ */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static void store_rows(const bwd *f, const room *m, place at, int r, int rows)
{
    for (int i = 0; i < rows; i++) {
        float *dq = row_of(f->a->dq, f->s, at, r + i);

        for (int d = 0; d < f->s.D; d++)
            dq[d] = m->dq[(size_t)i * (size_t)f->s.padded + (size_t)d] * (float)f->a->scale;
    }
}

static void clear_rows(const bwd *f, place at)
{
    for (int r = at.rows; r < f->s.T * f->s.group; r++)
        memset(row_of(f->a->dq, f->s, at, r), 0, (size_t)f->s.D * sizeof(float));
}

static void clear_keys(const bwd *f, place at, int first, int n)
{
    size_t bytes = (size_t)n * (size_t)f->s.D * sizeof(float);

    memset(key_of(f->a->dk, f->s, at, first), 0, bytes);
    memset(key_of(f->a->dv, f->s, at, first), 0, bytes);
}

/* A tile of rows against every block of keys it sees: dq and, unless it has an owner, dk and dv. */
static void bwd_rows(const bwd *f, room *m, place at, int r)
{
    int rows = smaller(at.rows - r, ROWS), seen = seen_by(f->s, at, r + rows - 1);

    load_rows(f, m, at, r, rows);
    memset(m->dq, 0, (size_t)rows * (size_t)f->s.padded * sizeof(float));
    for (int first = 0; first < seen; first += KEYS) {
        int n = smaller(seen - first, KEYS);

        load_keys(f, m, at, first, n, r > 0 && first + n <= seen_by(f->s, at, r - 1));
        scores(f, m, at, r, rows, first);
        add_to_rows(f, m, at, r, rows, first, n);
        if (!f->split) add_keys(f, m, at, r, rows, first, n);
    }
    store_rows(f, m, at, r, rows);
}

/* A block of keys against every tile of rows that sees it: dk and dv. */
static void bwd_keys(const bwd *f, room *m, place at, int first)
{
    clear_keys(f, at, first, smaller(f->s.S - first, KEYS));
    for (int r = 0; r < at.rows; r += ROWS) {
        int rows = smaller(at.rows - r, ROWS);
        int n = smaller(seen_by(f->s, at, r + rows - 1) - first, KEYS);

        if (n <= 0) continue;
        load_rows(f, m, at, r, rows);
        load_keys(f, m, at, first, n, false);
        scores(f, m, at, r, rows, first);
        add_keys(f, m, at, r, rows, first, n);
    }
}

/* Key heads with all they have to do. */
static void whole_heads(bwd *f, room *m)
{
    int places = f->s.B * f->s.K, item;

    while ((item = atomic_fetch_add(&f->next_rows, 1)) < places) {
        place at = place_of(f->s, f->a->seq, item);

        clear_keys(f, at, 0, f->s.S);
        for (int r = 0; r < at.rows; r += ROWS) bwd_rows(f, m, at, r);
        clear_rows(f, at);
    }
}

/* First the keys: dq may lie where dy was. */
static void split_heads(bwd *f, room *m, int threads)
{
    int places = f->s.B * f->s.K, item;

    while ((item = atomic_fetch_add(&f->next_keys, 1)) < places * f->blocks)
        bwd_keys(f, m, place_of(f->s, f->a->seq, item % places), item / places * KEYS);
    if (threads > 1) ms_pool_barrier(f->q->device->pool);
    while ((item = atomic_fetch_add(&f->next_rows, 1)) < places * f->tiles) {
        place at = place_of(f->s, f->a->seq, item % places);
        int tile = f->tiles - 1 - item / places;

        if (tile * ROWS < at.rows) bwd_rows(f, m, at, tile * ROWS);
        if (tile == 0) clear_rows(f, at);
    }
}

static void bwd_region(void *arg, int thread, int threads)
{
    bwd *f = arg;
    room m = room_of(f, thread);

    if (f->split)
        split_heads(f, &m, threads);
    else
        whole_heads(f, &m);
}

void CPU(attention_bwd)(ms_queue *q, const ms_attention_bwd_args *a)
{
    bwd f = {.a = a, .q = q, .s = shape_of(a->q, a->k), .drop = cpu_drop_of(q, a->drop)};

    f.split = f.s.B * f.s.K < ms_pool_threads(q->device->pool);
    f.tiles = (f.s.T * f.s.group + ROWS - 1) / ROWS;
    f.blocks = (f.s.S + KEYS - 1) / KEYS;
    f.packed = !f.split && (size_t)f.blocks * KEYS * (size_t)f.s.D * 2 <= PACKED;
    cpu_run(q, 3 * work_of(f.s, a->seq), bwd_region, &f);
}
