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
    vf most = vf_all(-INFINITY);
    int i = 0;
    float high;

    for (; i + VF <= V; i += VF) most = vf_max(vf_load(z + i), most);
    high = vf_highest(most);
    for (; i < V; i++) high = z[i] > high ? z[i] : high;
    return high;
}

/* Sum of exp(z - max); lanes past the end are taken out one by one. */
static float sum_exp(const float *z, float max, int V)
{
    vf sum[2] = {{0}, {0}};
    float rest = 0;
    int i = 0;

    for (; i + VF <= V; i += VF) sum[i / VF % 2] += vf_exp(vf_load(z + i) - max);
    if (i < V) {
        float lane[VF];

        vf_store(lane, vf_exp(vf_load_part(z + i, V - i) - max));
        for (int j = 0; j < V - i; j++) rest += lane[j];
    }
    return vf_sum(sum[0] + sum[1]) + rest;
}

/* loss = log sum exp z - z[t]; dz = (softmax z - onehot t) * scale; dz may be z */
static void row(float *loss, float *dz, const float *z, int V, int target, float scale)
{
    float max = highest(z, V), at_target = z[target], lse = max + logf(sum_exp(z, max, V));

    *loss = lse - at_target;
    if (!dz) return;
    for (int i = 0; i < V; i += VF) {
        int m = V - i < VF ? V - i : VF;

        vf_store_part(dz + i, vf_exp(vf_load_part(z + i, m) - lse) * scale, m);
    }
    dz[target] = (expf(at_target - lse) - 1) * scale;
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

    cpu_run(q, 8 * ms_count(a->z), region, &f);
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
