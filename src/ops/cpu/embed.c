/* embed - rows of the embedding with positions, and their gradient */
#include "ops/cpu/kernel.h"

#include <stddef.h>

/* -- forward --------------------------------------------------------------------------------- */

typedef struct {
    const ms_embed_fwd_args *a;
    cpu_drop drop;
} fwd;

static void fwd_row(const fwd *f, int n, int T)
{
    const ms_embed_fwd_args *a = f->a;
    ms_seq seq = cpu_seq(a->seq, n / T);
    int C = a->y.dim[1], t = n % T;
    float *y = cpu_row(a->y, n), scale = (float)a->scale;
    const float *pos;

    if (t >= seq.length) {
        memset(y, 0, (size_t)C * sizeof *y);
        return;
    }
    CPU(stored_rows)(y, a->e, ((const int32_t *)a->id.data)[n], 1);
    pos = cpu_row(a->pos, seq.start + t);
    if (pos)
        VF_ROW(i, m, C,
               vf_store_part(y + i, scale * vf_load_part(y + i, m) + vf_load_part(pos + i, m), m););
    else if (scale != 1)
        VF_ROW(i, m, C, vf_store_part(y + i, scale * vf_load_part(y + i, m), m););
    cpu_drop_row(&f->drop, (uint32_t)n, 0, C, y, y, NULL);
}

static void fwd_region(void *arg, int thread, int threads)
{
    const fwd *f = arg;
    int N = f->a->y.dim[0], T = N / f->a->seq.dim[0];
    size_t first, last;

    ms_share((size_t)N, 1, thread, threads, &first, &last);
    for (size_t n = first; n < last; n++) fwd_row(f, (int)n, T);
}

void CPU(embed_fwd)(ms_queue *q, const ms_embed_fwd_args *a)
{
    fwd f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, (f.drop.on ? 36 : 12) * ms_count(a->y), fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

typedef struct {
    const ms_embed_bwd_args *a;
    cpu_drop drop;
} bwd;

/* to += scale * dy; to may be NULL. */
static void add_row(float *to, const float *dy, float scale, int n)
{
    if (to)
        VF_ROW(
            i, m, n,
            vf_store_part(to + i, vf_load_part(to + i, m) + scale * vf_load_part(dy + i, m), m););
}

/* Row n into those of its two rows that are not NULL. */
static void bwd_row(const bwd *f, int n, float *de, float *dpos)
{
    enum { PART = 256 };
    const ms_embed_bwd_args *a = f->a;
    int C = a->dy.dim[1];
    float scale = (float)a->scale, kept[PART];

    for (int i = 0, m; i < C; i += m) {
        const float *dy = cpu_row(a->dy, n) + i;

        m = C - i < PART ? C - i : PART;
        if (f->drop.on) {
            cpu_drop_row(&f->drop, (uint32_t)n, i, m, kept, dy, NULL);
            dy = kept;
        }
        add_row(de ? de + i : NULL, dy, scale, m);
        add_row(dpos ? dpos + i : NULL, dy, 1, m);
    }
}

/* A thread owns groups of ids and of positions and takes the rows in order: the sums do not
 * depend on the threads.  Of single rows, or columns, the neighbour's caches would fetch some. */
enum { OWNED = 16 };

static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    const ms_embed_bwd_args *a = f->a;
    int N = a->dy.dim[0], T = N / a->seq.dim[0];

    for (int n = 0; n < N; n++) {
        ms_seq seq = cpu_seq(a->seq, n / T);
        int id = ((const int32_t *)a->id.data)[n], position = seq.start + n % T;
        float *de = id / OWNED % threads == thread ? cpu_row(a->de, id) : NULL;
        float *dpos = position / OWNED % threads == thread ? cpu_row(a->dpos, position) : NULL;

        if (n % T < seq.length && (de || dpos)) bwd_row(f, n, de, dpos);
    }
}

void CPU(embed_bwd)(ms_queue *q, const ms_embed_bwd_args *a)
{
    bwd f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, (f.drop.on ? 44 : 20) * ms_count(a->dy), bwd_region, &f);
}
