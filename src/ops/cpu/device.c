/* device - opens the CPU back end and picks the build of its kernels */
#include "ops/cpu/cpu.h"

#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

/* -- instruction sets -------------------------------------------------------------------------- */

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Leaf 7, part 1: newer than the names that every compiler knows. */
static bool has_newer(unsigned bit)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}

static bool has_avxvnni(void)
{
    return has_avx2() && has_newer(4);
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_avx512bf16(void)
{
    return has_avx512vnni() && has_newer(5);
}

#define VARIANTS(X)                                                                                \
    X(avx512bf16, has_avx512bf16, "x86-64 with AVX-512, VNNI and BF16")                            \
    X(avx512vnni, has_avx512vnni, "x86-64 with AVX-512 and VNNI")                                  \
    X(avx512, has_avx512, "x86-64 with AVX-512")                                                   \
    X(avxvnni, has_avxvnni, "x86-64 with AVX2, FMA and VNNI")                                      \
    X(avx2, has_avx2, "x86-64 with AVX2 and FMA")                                                  \
    X(base, always, "x86-64 with SSE2")                                                            \
    X(scalar, always, "portable C without vectors")
#elif defined(__aarch64__)
#if defined(__APPLE__)
static bool has(const char *name)
{
    int value = 0;
    size_t size_bytes = sizeof value;

    return !sysctlbyname(name, &value, &size_bytes, NULL, 0) && value;
}

static bool has_dotprod(void)
{
    return has("hw.optional.arm.FEAT_DotProd") && has("hw.optional.arm.FEAT_FP16");
}

static bool has_i8mm(void)
{
    return has_dotprod() && has("hw.optional.arm.FEAT_I8MM") && has("hw.optional.arm.FEAT_BF16");
}
#elif defined(__linux__)
static bool has_dotprod(void)
{
    unsigned long have = getauxval(AT_HWCAP);

    return (have & HWCAP_ASIMDDP) && (have & HWCAP_ASIMDHP);
}

static bool has_i8mm(void)
{
    unsigned long have = getauxval(AT_HWCAP2);

    return has_dotprod() && (have & HWCAP2_I8MM) && (have & HWCAP2_BF16);
}
#else
#define has_dotprod never
#define has_i8mm    never
static bool never(void)
{
    return false;
}
#endif

#define VARIANTS(X)                                                                                \
    X(i8mm, has_i8mm, "AArch64 with dot products, I8MM and BF16")                                  \
    X(dotprod, has_dotprod, "AArch64 with dot products")                                           \
    X(base, always, "AArch64 with NEON")                                                           \
    X(scalar, always, "portable C without vectors")
#else
#define VARIANTS(X)                                                                                \
    X(base, always, "portable vectors of 16 bytes")                                                \
    X(scalar, always, "portable C without vectors")
#endif

#define DECLARE(name, available, about)                                                            \
    extern const ms_ops_table ms_cpu_ops_##name;                                                   \
    double ms_cpu_ceiling_##name(ms_pool *pool, ms_ceiling kind);                                  \
    size_t ms_cpu_kept_bytes_##name(ms_tensor w);                                                  \
    void ms_cpu_keep_##name(ms_pool *pool, void *to, ms_tensor w);
VARIANTS(DECLARE)
#undef DECLARE

/* Best first. */
static const struct {
    const char *name, *about;
    const ms_ops_table *ops;
    double (*ceiling)(ms_pool *pool, ms_ceiling kind);
    size_t (*kept_bytes)(ms_tensor w);
    void (*keep)(ms_pool *pool, void *to, ms_tensor w);
    bool (*available)(void);
} variants[] = {
#define ROW(name, available, about)                                                                \
    {"cpu:" #name,                                                                                 \
     about,                                                                                        \
     &ms_cpu_ops_##name,                                                                           \
     ms_cpu_ceiling_##name,                                                                        \
     ms_cpu_kept_bytes_##name,                                                                     \
     ms_cpu_keep_##name,                                                                           \
     available},
    VARIANTS(ROW)
#undef ROW
};

enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

const char *ms_cpu_variant(int i)
{
    for (int v = 0; v < VARIANT_COUNT; v++)
        if (variants[v].available() && i-- == 0) return variants[v].name;
    return NULL;
}

/* -- the device -------------------------------------------------------------------------------- */

/* At 64 bytes; large blocks on large pages where the system has them: a core that walks over pages
 * of 4 KiB reads main memory at little more than half the speed. */
static void *zeroed(size_t size_bytes)
{
    enum { LARGE = 2 << 20 };
    bool large = size_bytes >= 2 * LARGE;
    size_t unit = large ? LARGE : 64; /* aligned_alloc wants a multiple of the alignment */
    size_t padded = size_bytes / unit * unit + unit;
    void *p = padded > size_bytes ? aligned_alloc(unit, padded) : NULL;

    if (!p) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) madvise(p, size_bytes, MADV_HUGEPAGE); /* advice: failing does no harm */
#endif
    memset(p, 0, size_bytes);
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

static int variant_of(const ms_device *d)
{
    int v = 0;

    while (variants[v].ops != d->ops) v++;
    return v;
}

static double cpu_ceiling(ms_device *d, ms_ceiling kind)
{
    return variants[variant_of(d)].ceiling(d->pool, kind);
}

static size_t cpu_kept_bytes(const ms_device *d, ms_tensor w)
{
    return variants[variant_of(d)].kept_bytes(w);
}

static void cpu_keep(ms_device *d, void *to, ms_tensor w)
{
    variants[variant_of(d)].keep(d->pool, to, w);
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
        .name = variants[v].name,
        .about = variants[v].about,
        .real = MS_F32,
        .products_bf16 = true,
        .host_memory = true,
        .ops = variants[v].ops,
        .alloc = cpu_alloc,
        .free = cpu_free,
        .kept_bytes = cpu_kept_bytes,
        .keep = cpu_keep,
        .upload = cpu_copy,
        .download = cpu_copy,
        .copy = cpu_copy,
        .finish = cpu_finish,
        .ceiling = cpu_ceiling,
        .close = cpu_close,
    };
    s = ms_pool_new(&c->device.pool, o ? o->threads : 0, err);
    if (!s && o && o->pin) s = ms_pool_pin(c->device.pool, err);
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
    for (int v = 0; v < VARIANT_COUNT; v++) {
        if (variant && strcmp(variant, variants[v].name) != 0) continue;
        if (variants[v].available()) return open_variant(out, v, o, err);
        if (variant)
            return ms_fail(err, MS_UNSUPPORTED, "backend %s: this machine lacks %s", variant,
                           variants[v].about);
    }
    return ms_fail(err, MS_INPUT, "backend %s: no such backend", variant ? variant : "cpu");
}
