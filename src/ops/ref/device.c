/* device - memory of the host, everything at once */
#include "ops/ref/ref.h"

#include <stdlib.h>
#include <string.h>

static ms_status ref_alloc(ms_device *d, size_t size_bytes, void **out, ms_error *err)
{
    /* aligned_alloc wants a multiple of the alignment; no bytes get an address too */
    size_t padded = size_bytes / 64 * 64 + 64;
    void *p = padded > size_bytes ? aligned_alloc(64, padded) : NULL;

    (void)d;
    if (!p) return ms_fail(err, MS_MEMORY, "out of memory: %zu bytes", size_bytes);
    memset(p, 0, padded);
    *out = p;
    return MS_OK;
}

static void ref_free(ms_device *d, void *p)
{
    (void)d;
    free(p);
}

/* Upload, download and copy: both sides are the host. */
static void ref_copy(ms_device *d, void *to, const void *from, size_t size_bytes)
{
    (void)d;
    memcpy(to, from, size_bytes);
}

static ms_status ref_finish(ms_device *d, ms_error *err)
{
    (void)d;
    (void)err;
    return MS_OK;
}

static void ref_close(ms_device *d)
{
    free(d);
}

ms_status ms_ref_open(ms_device **out, ms_error *err)
{
    ms_device *d = calloc(1, sizeof *d);

    if (!d) return ms_fail(err, MS_MEMORY, "out of memory");
    *d = (ms_device){
        .name = "ref",
        .about = "float64 reference, 1 thread",
        .real = MS_F64,
        .products_bf16 = true,
        .host_memory = true,
        .ops = &ms_ref_ops,
        .alloc = ref_alloc,
        .free = ref_free,
        .upload = ref_copy,
        .download = ref_copy,
        .copy = ref_copy,
        .finish = ref_finish,
        .close = ref_close,
    };
    *out = d;
    return MS_OK;
}
