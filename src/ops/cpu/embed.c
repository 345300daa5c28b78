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
    for (int i = 0; i < C; i++) y[i] = scale * y[i] + (pos ? pos[i] : 0);
    for (int i = 0; f->drop.on && i < C; i += 64) {
        float mask[64];
        int m = C - i < 64 ? C - i : 64;

        cpu_drop_mask(&f->drop, (uint32_t)n, i, m, mask);
        for (int j = 0; j < m; j++) y[i + j] *= mask[j];
    }
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

    cpu_run(q, ms_count(a->y), fwd_region, &f);
}

/* -- backward -------------------------------------------------------------------------------- */

typedef struct {
    const ms_embed_bwd_args *a;
    cpu_drop drop;
} bwd;

/* A thread owns columns and takes all rows in order: the sums do not depend on the threads. */
static void bwd_region(void *arg, int thread, int threads)
{
    const bwd *f = arg;
    const ms_embed_bwd_args *a = f->a;
    int N = a->dy.dim[0], T = N / a->seq.dim[0], C = a->dy.dim[1];
    float scale = (float)a->scale;
    size_t first, last;

    ms_share((size_t)C, 64, thread, threads, &first, &last);
    for (int n = 0; n < N; n++) {
        ms_seq seq = cpu_seq(a->seq, n / T);
        float *de, *dpos;
        const float *dy = cpu_row(a->dy, n);

        if (n % T >= seq.length) continue;
        de = cpu_row(a->de, ((const int32_t *)a->id.data)[n]);
        dpos = cpu_row(a->dpos, seq.start + n % T);
        for (size_t i = first; i < last; i += 64) {
            float mask[64];
            int m = last - i < 64 ? (int)(last - i) : 64;

            if (f->drop.on)
                cpu_drop_mask(&f->drop, (uint32_t)n, (int)i, m, mask);
            else
                for (int j = 0; j < m; j++) mask[j] = 1;
            for (int j = 0; j < m; j++) de[i + (size_t)j] += scale * (mask[j] * dy[i + (size_t)j]);
            for (int j = 0; dpos && j < m; j++) dpos[i + (size_t)j] += mask[j] * dy[i + (size_t)j];
        }
    }
}

void CPU(embed_bwd)(ms_queue *q, const ms_embed_bwd_args *a)
{
    bwd f = {a, cpu_drop_of(q, a->drop)};

    cpu_run(q, ms_count(a->dy), bwd_region, &f);
}
