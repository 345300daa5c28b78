/* optimizer - zero, norm of all gradients, AdamW in one pass over all parameters */
#include "ops/cpu/kernel.h"

#include <math.h>

/* -- zero ------------------------------------------------------------------------------------ */

static void zero_region(void *arg, int thread, int threads)
{
    const ms_zero_args *a = arg;
    size_t first, last;

    ms_share(ms_tensor_bytes(a->x), 4096, thread, threads, &first, &last);
    if (last > first) memset((char *)a->x.data + first, 0, last - first);
}

void CPU(zero)(ms_queue *q, const ms_zero_args *a)
{
    ms_zero_args copy = *a;

    cpu_run(q, ms_tensor_bytes(a->x) / 2, zero_region, &copy);
}

/* -- norm ------------------------------------------------------------------------------------ */

enum { CHUNK = 4096 }; /* floats of a partial sum: the order does not depend on the threads */

typedef struct {
    const ms_global_norm_args *a;
    double *part; /* one a chunk group */
    size_t groups, group_chunks;
} norm_job;

/* Squares in float, sums of a chunk in lanes of float, then double. */
static double chunk_square(const float *x, size_t n)
{
    vf sum[2] = {{0}, {0}};
    double rest = 0;
    size_t i = 0;

    for (; i + 2 * VF <= n; i += 2 * VF) {
        vf a = vf_load(x + i), b = vf_load(x + i + VF);

        sum[0] += a * a;
        sum[1] += b * b;
    }
    for (; i < n; i++) rest += (double)x[i] * x[i];
    return (double)vf_sum(sum[0] + sum[1]) + rest;
}

static void norm_region(void *arg, int thread, int threads)
{
    const norm_job *f = arg;
    size_t P = ms_count(f->a->x), first, last;

    ms_share(f->groups, 1, thread, threads, &first, &last);
    for (size_t g = first; g < last; g++) {
        double sum = 0;

        for (size_t c = g * f->group_chunks; c < (g + 1) * f->group_chunks && c * CHUNK < P; c++) {
            size_t n = P - c * CHUNK < CHUNK ? P - c * CHUNK : CHUNK;

            sum += chunk_square((const float *)f->a->x.data + c * CHUNK, n);
        }
        f->part[g] = sum;
    }
}

void CPU(global_norm)(ms_queue *q, const ms_global_norm_args *a)
{
    enum { GROUPS = 256 };
    double part[GROUPS], sum = 0;
    size_t chunks = (ms_count(a->x) + CHUNK - 1) / CHUNK;
    norm_job f = {a, part, chunks < GROUPS ? chunks : GROUPS, 0};

    f.group_chunks = (chunks + f.groups - 1) / f.groups;
    cpu_run(q, 2 * ms_count(a->x), norm_region, &f);
    for (size_t g = 0; g < f.groups; g++) sum += part[g];
    *(float *)a->norm.data = (float)sqrt(sum);
}

/* -- AdamW ----------------------------------------------------------------------------------- */

typedef struct {
    const ms_adamw_args *a;
    float clip, lr, bias1, bias2;
} adamw_job;

/* Elements [first, last) with one decay. */
static void adamw_range(const adamw_job *f, size_t first, size_t last, double weight_decay)
{
    const ms_adamw_args *a = f->a;
    float *w = a->w.data, *m = a->m.data, *v = a->v.data;
    const float *g = a->g.data;
    float beta1 = (float)a->beta1, beta2 = (float)a->beta2, eps = (float)a->eps;
    float rest1 = (float)(1 - a->beta1), rest2 = (float)(1 - a->beta2);
    float shrink = (float)(1 - (double)f->lr * weight_decay);
    float inverse1 = 1 / f->bias1, inverse2 = 1 / f->bias2;

    for (size_t i = first; i < last; i++) {
        float grad = g[i] * f->clip;
        float mean = beta1 * m[i] + rest1 * grad, square = beta2 * v[i] + rest2 * (grad * grad);

        m[i] = mean;
        v[i] = square;
        w[i] = w[i] * shrink - f->lr * ((mean * inverse1) / (sqrtf(square * inverse2) + eps));
    }
}

static void adamw_region(void *arg, int thread, int threads)
{
    const adamw_job *f = arg;
    size_t decayed = f->a->decayed, first, last, middle;

    ms_share(ms_count(f->a->w), 1024, thread, threads, &first, &last);
    middle = decayed < first ? first : decayed < last ? decayed : last;
    adamw_range(f, first, middle, f->a->weight_decay);
    adamw_range(f, middle, last, 0);
}

void CPU(adamw)(ms_queue *q, const ms_adamw_args *a)
{
    const ms_step *s = q->step;
    float norm = *(const float *)a->norm.data;
    adamw_job f = {.a = a, .clip = 1, .lr = s->lr, .bias1 = s->bias1, .bias2 = s->bias2};

    if (!isfinite(norm)) return;
    if (s->clip > 0 && s->clip < norm + 1e-6f) f.clip = s->clip / (norm + 1e-6f);
    cpu_run(q, 20 * ms_count(a->w), adamw_region, &f);
}
