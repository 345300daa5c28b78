/* cache - rows of keys and values rounded to the type of the cache */
#include "ops/ref/ref.h"

/* One row of D values; in magnitude mode 0, where numbers are kept as they are. */
static void append_row(const ms_queue *q, ms_tensor cache, size_t row, const double *x)
{
    int D = cache.dim[3], block = ms_dtype_block(cache.dtype);
    size_t bytes = (size_t)(D / block) * ms_dtype_bytes(cache.dtype);
    char *to = (char *)cache.data + row * bytes;

    if (cache.dtype == MS_F64) {
        for (int i = 0; i < D; i++) ((double *)(void *)to)[i] = q->magnitude ? 0 : x[i];
        return;
    }
    for (int i = 0; i < D; i += block, to += ms_dtype_bytes(cache.dtype)) {
        float part[32];

        for (int j = 0; j < block; j++) part[j] = (float)x[i + j];
        ms_quantize(cache.dtype, part, to, (size_t)block);
    }
}

static void append(const ms_queue *q, ms_tensor cache, ms_tensor new_rows, ms_tensor seq)
{
    int K = cache.dim[1], S = cache.dim[2], T = new_rows.dim[2];

    if (q->magnitude && cache.dtype == MS_F64) ms_ref_fill(ms_ref_reals(cache), ms_count(cache), 0);
    for (int head = 0; head < cache.dim[0] * K; head++) {
        ms_seq s = ms_ref_seq(seq, head / K);
        const double *x = ms_ref_reals(new_rows) + (size_t)head * (size_t)T * (size_t)cache.dim[3];

        for (int t = 0; t < s.length; t++, x += cache.dim[3])
            append_row(q, cache, (size_t)head * (size_t)S + (size_t)(s.start + t), x);
    }
}

void ms_ref_cache_append(ms_queue *q, const ms_cache_append_args *a)
{
    append(q, a->k, a->k_new, a->seq);
    append(q, a->v, a->v_new, a->seq);
}
