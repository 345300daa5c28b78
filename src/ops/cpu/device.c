/* device - opens the CPU back end and picks the build of its kernels */
#include "ops/cpu/cpu.h"

#include "ops/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const ms_ops_table ms_cpu_ops_base;
#ifdef MS_HAVE_X86_VARIANTS
extern const ms_ops_table ms_cpu_ops_avx2, ms_cpu_ops_avx512;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static bool has_base(void)
{
    return true;
}

/* Best first. */
static const struct {
    const char *name, *device_name, *about;
    const ms_ops_table *ops;
    bool (*available)(void);
} variants[] = {
#ifdef MS_HAVE_X86_VARIANTS
    {"avx512", "cpu:avx512", "x86-64 with AVX-512", &ms_cpu_ops_avx512, has_avx512},
    {"avx2", "cpu:avx2", "x86-64 with AVX2 and FMA", &ms_cpu_ops_avx2, has_avx2},
    {"base", "cpu:base", "x86-64 with SSE2", &ms_cpu_ops_base, has_base},
#else
    {"base", "cpu:base", "portable vectors of 16 bytes", &ms_cpu_ops_base, has_base},
#endif
};

enum { VARIANTS = sizeof variants / sizeof *variants };

const char *ms_cpu_variant(int i)
{
    for (int v = 0; v < VARIANTS; v++)
        if (variants[v].available() && i-- == 0) return variants[v].name;
    return NULL;
}

static void *zeroed(size_t size_bytes)
{
    size_t padded = size_bytes / 64 * 64 + 64; /* aligned_alloc wants a multiple of the alignment */
    void *p = padded > size_bytes ? aligned_alloc(64, padded) : NULL;

    if (p) memset(p, 0, padded);
    return p;
}

static ms_status cpu_alloc(ms_device *d, size_t size_bytes, void **out, ms_error *err)
{
    (void)d;
    *out = zeroed(size_bytes);
    return *out ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory: %zu bytes", size_bytes);
}

static void cpu_free(ms_device *d, void *p)
{
    (void)d;
    free(p);
}

static void cpu_copy(ms_device *d, void *to, const void *from, size_t size_bytes)
{
    (void)d;
    memcpy(to, from, size_bytes);
}

static ms_status cpu_finish(ms_device *d, ms_error *err)
{
    (void)d;
    (void)err;
    return MS_OK;
}

static void cpu_close(ms_device *d)
{
    ms_cpu *c = (ms_cpu *)d;

    ms_pool_free(d->pool);
    free(c->work);
    free(c);
}

static ms_status open_variant(ms_device **out, int v, const ms_device_options *o, ms_error *err)
{
    ms_cpu *c = calloc(1, sizeof *c);
    ms_status s;

    if (!c) return ms_fail(err, MS_MEMORY, "out of memory");
    c->device = (ms_device){
        .name = variants[v].device_name,
        .about = variants[v].about,
        .real = MS_F32,
        .host_memory = true,
        .ops = variants[v].ops,
        .alloc = cpu_alloc,
        .free = cpu_free,
        .upload = cpu_copy,
        .download = cpu_copy,
        .copy = cpu_copy,
        .finish = cpu_finish,
        .close = cpu_close,
    };
    s = ms_pool_new(&c->device.pool, o ? o->threads : 0, err);
    if (!s) {
        c->work = zeroed((size_t)ms_pool_threads(c->device.pool) * MS_CPU_WORK_BYTES);
        if (!c->work)
            s = ms_fail(err, MS_MEMORY, "out of memory for the threads of the CPU back end");
    }
    if (s) {
        cpu_close(&c->device);
        return s;
    }
    *out = &c->device;
    return MS_OK;
}

ms_status ms_cpu_open(ms_device **out, const char *variant, const ms_device_options *o,
                      ms_error *err)
{
    for (int v = 0; v < VARIANTS; v++) {
        if (variant && strcmp(variant, variants[v].name) != 0) continue;
        if (variants[v].available()) return open_variant(out, v, o, err);
        if (variant)
            return ms_fail(err, MS_UNSUPPORTED, "back end cpu:%s: this machine lacks %s", variant,
                           variants[v].about);
    }
    return ms_fail(err, MS_INPUT, "back end cpu:%s is unknown", variant ? variant : "");
}
