/* cache - rows of keys and values rounded to the type of the cache */
#include "base/quant.h"
#include "ops/cpu/kernel.h"

static void append_row(ms_tensor cache, ms_tensor new_rows, int head, int t, int position)
{
    size_t D = (size_t)cache.dim[3];
    size_t bytes = D / (size_t)ms_dtype_block(cache.dtype) * ms_dtype_bytes(cache.dtype);
    size_t from = (size_t)head * (size_t)new_rows.dim[2] + (size_t)t;
    size_t to = (size_t)head * (size_t)cache.dim[2] + (size_t)position;

    ms_quantize(cache.dtype, (const float *)new_rows.data + from * D,
                (char *)cache.data + to * bytes, D);
}

static void append_region(void *arg, int thread, int threads)
{
    const ms_cache_append_args *a = arg;
    int K = a->k_new.dim[1], T = a->k_new.dim[2];
    size_t first, last;

    ms_share((size_t)a->k_new.dim[0] * (size_t)K * (size_t)T, 1, thread, threads, &first, &last);
    for (size_t i = first; i < last; i++) {
        int head = (int)(i / (size_t)T), t = (int)(i % (size_t)T);
        ms_seq s = cpu_seq(a->seq, head / K);

        if (t >= s.length) continue;
        append_row(a->k, a->k_new, head, t, s.start + t);
        append_row(a->v, a->v_new, head, t, s.start + t);
    }
}

void CPU(cache_append)(ms_queue *q, const ms_cache_append_args *a)
{
    ms_cache_append_args copy = *a;

    cpu_run(q, 8 * ms_count(a->k_new), append_region, &copy);
}
