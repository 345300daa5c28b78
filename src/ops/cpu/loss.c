/* loss - last rows, cross-entropy with its gradient, sum of losses */
#include "ops/cpu/kernel.h"

#include <math.h>

void CPU(gather_last)(ms_queue *q, const ms_gather_last_args *a)
{
    int T = a->x.dim[0] / a->seq.dim[0];
    size_t bytes = (size_t)a->y.dim[1] * sizeof(float);

    (void)q;
    for (int b = 0; b < a->y.dim[0]; b++) {
        int length = cpu_seq(a->seq, b).length;

        if (length > 0)
            memcpy(cpu_row(a->y, b), cpu_row(a->x, b * T + length - 1), bytes);
        else
            memset(cpu_row(a->y, b), 0, bytes);
    }
}

/* -- cross-entropy --------------------------------------------------------------------------- */

static float highest(const float *z, int V)
{
    vf none = vf_all(-INFINITY), most[2] = {none, none};
    int i = 0;

    for (; i + 2 * VF <= V; i += 2 * VF) {
        most[0] = vf_max(vf_load(z + i), most[0]);
        most[1] = vf_max(vf_load(z + i + VF), most[1]);
    }
    for (; i < V; i += VF)
        most[0] = vf_max(vf_load_part_or(z + i, V - i < VF ? V - i : VF, none), most[0]);
    return vf_highest(vf_max(most[0], most[1]));
}

/* exp of a vector of z - max, which goes to e unless that is NULL, too. */
static inline vf exp_part(float *e, const float *z, float max, int m)
{
    vf x = vf_exp(vf_load_part_or(z, m, vf_all(-INFINITY)) - max);

    if (e) vf_store_part(e, x, m);
    return x;
}

/* Sum of exp(z - max); e may be z. */
static float sum_exp(float *e, const float *z, float max, int V)
{
    vf sum[2] = {{0}, {0}};
    int i = 0;

    for (; i + 2 * VF <= V; i += 2 * VF)
        for (int k = 0; k < 2; k++)
            sum[k] += exp_part(e ? e + i + k * VF : NULL, z + i + k * VF, max, VF);
    for (; i < V; i += VF)
        sum[0] += exp_part(e ? e + i : NULL, z + i, max, V - i < VF ? V - i : VF);
    return vf_sum(sum[0] + sum[1]);
}

/* loss = log sum exp z - z[t]; dz = (softmax z - onehot t) * scale; dz may be z */
static void row(float *loss, float *dz, const float *z, int V, int target, float scale)
{
    float max = highest(z, V), at_target = z[target];
    float sum = sum_exp(dz, z, max, V), lse = max + logf(sum), factor = scale / sum;

    *loss = lse - at_target;
    if (!dz) return;
    at_target = dz[target] / sum;
    VF_ROW(i, m, V, vf_store_part(dz + i, vf_load_part(dz + i, m) * factor, m););
    dz[target] = (at_target - 1) * scale;
}

typedef struct {
    const ms_cross_entropy_args *a;
    float scale;
} job;

static void region(void *arg, int thread, int threads)
{
    const job *f = arg;
    const ms_cross_entropy_args *a = f->a;
    int V = a->z.dim[1];
    size_t first, last;

    ms_share((size_t)a->z.dim[0], 1, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) {
        int n = (int)i, target = ((const int32_t *)a->target.data)[n];
        float *loss = (float *)a->loss.data + n, *dz = cpu_row(a->dz, n);

        if (target >= 0) {
            row(loss, dz, cpu_row(a->z, n), V, target, f->scale);
            continue;
        }
        *loss = 0;
        if (dz) memset(dz, 0, (size_t)V * sizeof *dz);
    }
}

void CPU(cross_entropy)(ms_queue *q, const ms_cross_entropy_args *a)
{
    job f = {a, q->step->grad_scale};

    cpu_run(q, 24 * ms_count(a->z), region, &f);
}

/* In double, on one thread: a few thousand numbers. */
void CPU(loss_sum)(ms_queue *q, const ms_loss_sum_args *a)
{
    float *sum = a->sum.data;
    double total = a->accumulate ? *sum : 0;

    (void)q;
    for (int n = 0; n < a->loss.dim[0]; n++) total += ((const float *)a->loss.data)[n];
    *sum = (float)total;
}
