/* ref - the reference back end: float64, one thread, written from the formulas
 *
 * It judges all other back ends, so it is never optimised.  With queue->magnitude an op writes, in
 * place of each result, the scale M of its rounding error (ops.h, "Numerics"), from the same
 * inputs.
 * Where the result is a sum of products of inputs, M is the same sum over absolute values, and
 * ms_ref_term serves both; where a result depends on rounded intermediates (norm, softmax,
 * activations) M is propagated to first order, and beyond it where exp makes errors grow. */
#ifndef MS_OPS_REF_REF_H
#define MS_OPS_REF_REF_H

#include "base/quant.h"
#include "base/rng.h"
#include "ops/ops.h"

#include <math.h>
#include <string.h>

ms_status ms_ref_open(ms_device **out, ms_error *err);

#define MS_REF_SLOT(name) void ms_ref_##name(ms_queue *q, const ms_##name##_args *a);
MS_OPS(MS_REF_SLOT)
#undef MS_REF_SLOT

extern const ms_ops_table ms_ref_ops;

/* eps of the narrowest type judged without a coarser input (f32): how far an argument of exp may be
 * off enters M through the exponential itself, not only through its slope. */
#define MS_REF_EPS 0x1p-23

/* What a result that underflows to zero in f32 is off by, in units of eps. */
#define MS_REF_UNDERFLOW 0x1p-103

/* The c of a sum of n terms. */
static inline double ms_ref_sum_bound(double n)
{
    return n / 8 + 8;
}

/* A term of a sum: itself, or its size in magnitude mode. */
static inline double ms_ref_term(const ms_queue *q, double x)
{
    return q->magnitude ? fabs(x) : x;
}

static inline double *ms_ref_reals(ms_tensor t)
{
    return t.data;
}

/* Row n of a tensor whose rows are what follows dimension 0; NULL when absent. */
static inline double *ms_ref_row(ms_tensor t, int n)
{
    return ms_present(t) ? (double *)t.data + (size_t)n * (ms_count(t) / (size_t)t.dim[0]) : NULL;
}

/* Row n of a stored tensor as doubles; `row` has room for it. */
static inline void ms_ref_stored(ms_tensor t, int n, double *row)
{
    int columns = t.dim[1], block = ms_dtype_block(t.dtype);
    const char *from = (const char *)t.data + (size_t)n * ms_tensor_bytes(ms_rows(t, 0, 1));
    float part[256];

    if (t.dtype == MS_F64) {
        memcpy(row, from, (size_t)columns * sizeof *row);
        return;
    }
    for (int i = 0; i < columns; i += block, from += ms_dtype_bytes(t.dtype)) {
        ms_dequantize(t.dtype, from, part, (size_t)block);
        for (int j = 0; j < block; j++) row[i + j] = part[j];
    }
}

static inline const int32_t *ms_ref_ints(ms_tensor t)
{
    return t.data;
}

static inline ms_seq ms_ref_seq(ms_tensor seq, int b)
{
    return ((const ms_seq *)seq.data)[b];
}

static inline void ms_ref_fill(double *x, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) x[i] = value;
}

/* Before results are added to what a tensor holds: turns that into sizes in magnitude mode.
 * Absent is fine. */
static inline void ms_ref_start_sum(const ms_queue *q, ms_tensor t)
{
    double *x = ms_ref_reals(t);

    for (size_t i = 0; i < ms_count(t); i++) x[i] = ms_ref_term(q, x[i]);
}

/* What dropout multiplies element (row, column) with: 0 or 1 / (1 - p). */
static inline double ms_ref_keep(const ms_queue *q, ms_drop drop, uint32_t row, uint32_t column)
{
    ms_philox_block block;

    if (drop.p == 0) return 1;
    block = ms_philox(q->step->seed, column / 4, row, drop.site, q->step->counter);
    return block.word[column % 4] >= ms_drop_threshold(drop.p) ? 1 / (1 - (double)drop.p) : 0;
}

/* activation.c: value and slope of an activation at u; of SwiGLU the factor u / (1 + exp(-u)) of
 * its gate.  With scale: the scale of the rounding error of that. */
double ms_ref_act(ms_act act, double u, bool scale);
double ms_ref_act_slope(ms_act act, double u, bool scale);

#endif
