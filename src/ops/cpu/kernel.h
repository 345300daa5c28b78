/* kernel - what the files of this folder share: names of a variant, parallel regions, rows; private
 *
 * Each file is compiled once a variant: CPU(linear_fwd) is ms_cpu_linear_fwd_avx2 in that of avx2.
 */
#ifndef MS_OPS_CPU_KERNEL_H
#define MS_OPS_CPU_KERNEL_H

#include "base/rng.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/philox.h"
#include "ops/cpu/simd.h"
#include "ops/ops.h"

#define CPU_JOIN_(name, variant) ms_cpu_##name##_##variant
#define CPU_JOIN(name, variant)  CPU_JOIN_(name, variant)
#define CPU(name)                CPU_JOIN(name, MS_CPU_VARIANT)

extern const ms_ops_table CPU(ops);

/* ceiling.c: operations per second of the units, 0 when there are none for the type. */
double CPU(ceiling)(ms_pool *pool, ms_ceiling kind);

/* stored.c: a stored matrix as linear_stored likes it (ms_device_keep): its bytes, and a copy. */
size_t CPU(kept_bytes)(ms_tensor w);
void CPU(keep)(ms_pool *pool, void *to, ms_tensor w);

#define CPU_SLOT(name) void CPU(name)(ms_queue * q, const ms_##name##_args *a);
MS_OPS(CPU_SLOT)
#undef CPU_SLOT

/* A region of `work` bytes moved or multiplications done, of which a thread takes some 60 a
 * nanosecond: on the caller alone when calling the others costs more. */
static inline void cpu_run(ms_queue *q, size_t work, ms_region *body, void *arg)
{
    enum { ALONE = 50000 }; /* a region costs 0.15 us and what moves between caches */

    if (work < ALONE)
        body(arg, 0, 1);
    else
        ms_pool_run(q->device->pool, body, arg);
}

static inline float *cpu_work(const ms_queue *q, int thread)
{
    const ms_cpu *c = (const ms_cpu *)q->device;

    return (float *)(void *)(c->work + (size_t)thread * MS_CPU_WORK_BYTES);
}

/* Row i of a tensor, the first dimension being rows; NULL when absent. */
static inline float *cpu_row(ms_tensor t, int i)
{
    size_t columns = 1;

    if (!ms_present(t)) return NULL;
    for (int d = 1; d < t.rank; d++) columns *= (size_t)t.dim[d];
    return (float *)t.data + (size_t)i * columns;
}

static inline ms_seq cpu_seq(ms_tensor seq, int b)
{
    return ((const ms_seq *)seq.data)[b];
}

/* What one row needs to drop out elements; the same mask on every back end (rng.h). */
typedef struct {
    const uint32_t *key;
    uint32_t threshold, site, counter;
    float scale;
    bool on;
    philox_keys keys; /* those of key's rounds */
} cpu_drop;

static inline cpu_drop cpu_drop_of(const ms_queue *q, ms_drop d)
{
    cpu_drop m = {.on = d.p > 0};

    if (!m.on) return m;
    m.key = q->step->seed;
    m.keys = philox_keys_of(m.key);
    m.threshold = ms_drop_threshold(d.p);
    m.site = d.site;
    m.counter = q->step->counter;
    m.scale = 1 / (1 - d.p);
    return m;
}

/* mask[i] = 0 or the scale, of columns [first, first + n) of a row; first a multiple of 4. */
static inline void cpu_drop_mask(const cpu_drop *d, uint32_t row, int first, int n, float *mask)
{
    int i = 0;

#if VF_BYTES > 4
    for (; n - i > 8; i += PHILOX_WORDS) {
        vu word[PHILOX_WORDS / VF];

        vu_philox(word, &d->keys, (uint32_t)(first + i) / 4, row, d->site, d->counter);
        for (int j = 0; j < PHILOX_WORDS / VF && i + j * VF < n; j++)
            vf_store_part(mask + i + j * VF, vf_keep(word[j] >= d->threshold, vf_all(d->scale)),
                          n - i - j * VF < VF ? n - i - j * VF : VF);
    }
#endif
    for (; i < n; i += 4) {
        ms_philox_block b = ms_philox(d->key, (uint32_t)(first + i) / 4, row, d->site, d->counter);

        for (int j = 0; j < 4 && i + j < n; j++)
            mask[i + j] = b.word[j] >= d->threshold ? d->scale : 0;
    }
}

/* y = add + mask * x of columns [first, first + n) of a row, which y, x and add point at; add may
 * be NULL, y may be x or add; first a multiple of 4. */
static inline void cpu_drop_row(const cpu_drop *d, uint32_t row, int first, int n, float *y,
                                const float *x, const float *add)
{
    enum { PART = 256 };
    float mask[PART];

    for (int at = 0; d->on && at < n; at += PART) {
        int part = n - at < PART ? n - at : PART;

        cpu_drop_mask(d, row, first + at, part, mask);
        VF_ROW(i, m, part, vf v = vf_load_part(mask + i, m) * vf_load_part(x + at + i, m);
               vf_store_part(y + at + i, add ? vf_load_part(add + at + i, m) + v : v, m););
    }
    if (!d->on && add)
        VF_ROW(i, m, n,
               vf_store_part(y + i, vf_load_part(add + i, m) + vf_load_part(x + i, m), m););
    if (!d->on && !add && y != x) memmove(y, x, (size_t)n * sizeof *y);
}

/* activation.c: rows of act and its derivative; u has 2F values for SwiGLU. */
void CPU(act_row)(ms_act act, float *y, const float *u, int F);
/* du = act'(u) * dy */
void CPU(act_back_row)(ms_act act, float *du, const float *dy, const float *u, int F);

/* stored.c: rows [first, first + rows) of a stored matrix as floats, side by side. */
void CPU(stored_rows)(float *out, ms_tensor w, int first, int rows);

/* linear.c: out[i * out_stride + j] = x[i] . w[j] for m rows of x and n of w, D long; every element
 * by the same order of additions. */
void CPU(dot_tile)(float *out, size_t out_stride, const float *x, size_t x_stride, int m,
                   const float *w, size_t w_stride, int n, int D);

#endif
