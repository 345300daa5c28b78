/* devices - the list of back ends, and what they share: accounting, queues, conversion */
#include "ops/device.h"

#include "base/half.h"
#include "ops/cpu/cpu.h"
#include "ops/ref/ref.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* -- the list -------------------------------------------------------------------------------- */

/* Best first, the reference last. */
const char *ms_device_list(int i)
{
    int cpus = 0;

    while (ms_cpu_variant(cpus)) cpus++;
    return i < cpus ? ms_cpu_variant(i) : i == cpus ? "ref" : NULL;
}

ms_status ms_device_open(ms_device **out, const char *name, const ms_device_options *o,
                         ms_error *err)
{
    static const ms_device_options defaults = {0};

    if (!o) o = &defaults;
    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return ms_cpu_open(out, NULL, o, err);
    if (strncmp(name, "cpu:", 4) == 0) return ms_cpu_open(out, name, o, err);
    if (strcmp(name, "ref") == 0 && o->pin)
        return ms_fail(err, MS_UNSUPPORTED, "pin: backend ref has no threads of its own");
    if (strcmp(name, "ref") == 0) return ms_ref_open(out, err);
    return ms_fail(err, MS_INPUT, "backend %s: no such backend (auto, cpu, cpu:VARIANT, ref)",
                   name);
}

void ms_device_close(ms_device *d)
{
    if (d) d->close(d);
}

/* -- memory ---------------------------------------------------------------------------------- */

ms_status ms_device_alloc(ms_device *d, size_t size_bytes, void **out, ms_error *err)
{
    MS_TRY(d->alloc(d, size_bytes, out, err));
    d->allocations++;
    d->allocated_bytes += size_bytes;
    return MS_OK;
}

void ms_device_free(ms_device *d, void *p, size_t size_bytes)
{
    if (!p) return;
    d->free(d, p);
    d->allocated_bytes -= size_bytes;
}

size_t ms_device_kept_bytes(const ms_device *d, ms_tensor w)
{
    return d->keep ? (d->kept_bytes(d, w) + 63) / 64 * 64 : 0;
}

ms_tensor ms_device_keep(ms_device *d, void *to, ms_tensor w)
{
    MS_ASSERT(d->keep);
    d->keep(d, to, w);
    w.data = to;
    return w;
}

/* -- queue ----------------------------------------------------------------------------------- */

void ms_queue_upload(ms_queue *q, void *to, const void *from_host, size_t size_bytes)
{
    if (!q->error.status && size_bytes > 0) q->device->upload(q->device, to, from_host, size_bytes);
}

void ms_queue_download(ms_queue *q, void *to_host, const void *from, size_t size_bytes)
{
    if (q->error.status || size_bytes == 0) return;
    q->device->download(q->device, to_host, from, size_bytes);
}

void ms_queue_copy(ms_queue *q, void *to, const void *from, size_t size_bytes)
{
    if (!q->error.status && size_bytes > 0) q->device->copy(q->device, to, from, size_bytes);
}

ms_status ms_queue_finish(ms_queue *q, ms_error *err)
{
    ms_error behind = {0};
    ms_error first = q->error;

    /* Waits also after an error: the caller may free what ops in flight still use. */
    if (q->device->finish(q->device, &behind) && !first.status) first = behind;
    q->error = (ms_error){0};
    if (first.status && err) *err = first;
    return first.status;
}

void ms_queue_fail(ms_queue *q, ms_status status, const char *format, ...)
{
    char text[sizeof q->error.message];
    va_list list;

    if (q->error.status) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ms_fail(&q->error, status, "%s", text);
}

/* -- conversion ------------------------------------------------------------------------------ */

enum { CHUNK = 512 }; /* elements converted at a time, on the stack: nothing is allocated */

typedef union {
    double f64[CHUNK];
    float f32[CHUNK];
    uint16_t half[CHUNK];
} chunk;

static double chunk_get(const chunk *c, ms_dtype dtype, size_t i)
{
    switch (dtype) {
    case MS_F64: return c->f64[i];
    case MS_F32: return c->f32[i];
    case MS_BF16: return ms_float_from_bf16(c->half[i]);
    case MS_F16: return ms_float_from_f16(c->half[i]);
    default: return 0;
    }
}

static void chunk_set(chunk *c, ms_dtype dtype, size_t i, double x)
{
    switch (dtype) {
    case MS_F64: c->f64[i] = x; break;
    case MS_F32: c->f32[i] = (float)x; break;
    case MS_BF16: c->half[i] = ms_bf16_from_float((float)x); break;
    case MS_F16: c->half[i] = ms_f16_from_float((float)x); break;
    default: break;
    }
}

static bool is_real(ms_queue *q, ms_tensor t, const char *what)
{
    if (t.dtype <= MS_F16) return true;
    ms_queue_fail(q, MS_INPUT, "%s: a tensor of type %s has no reals", what,
                  ms_dtype_name(t.dtype));
    return false;
}

/* Downloads t piece by piece; into doubles or, where out is NULL, floats. */
static void read_reals(ms_queue *q, ms_tensor t, double *out, float *out_float)
{
    size_t n = ms_count(t), size = ms_dtype_bytes(t.dtype);
    chunk c;

    if (!is_real(q, t, "read")) return;
    for (size_t i = 0; i < n && !q->error.status; i += CHUNK) {
        size_t part = n - i < CHUNK ? n - i : CHUNK;

        ms_queue_download(q, &c, (const char *)t.data + i * size, part * size);
        for (size_t j = 0; j < part; j++) {
            double x = chunk_get(&c, t.dtype, j);

            if (out)
                out[i + j] = x;
            else
                out_float[i + j] = (float)x;
        }
    }
}

static void write_reals(ms_queue *q, ms_tensor t, const double *in, const float *in_float)
{
    size_t n = ms_count(t), size = ms_dtype_bytes(t.dtype);
    chunk c;

    if (!is_real(q, t, "write")) return;
    for (size_t i = 0; i < n && !q->error.status; i += CHUNK) {
        size_t part = n - i < CHUNK ? n - i : CHUNK;

        for (size_t j = 0; j < part; j++)
            chunk_set(&c, t.dtype, j, in ? in[i + j] : in_float[i + j]);
        ms_queue_upload(q, (char *)t.data + i * size, &c, part * size);
    }
}

void ms_read_reals(ms_queue *q, ms_tensor t, double *out)
{
    read_reals(q, t, out, NULL);
}

void ms_write_reals(ms_queue *q, ms_tensor t, const double *in)
{
    write_reals(q, t, in, NULL);
}

/* Same type on both sides: one copy. */
void ms_read_floats(ms_queue *q, ms_tensor t, float *out)
{
    if (t.dtype == MS_F32)
        ms_queue_download(q, out, t.data, ms_tensor_bytes(t));
    else
        read_reals(q, t, NULL, out);
}

void ms_write_floats(ms_queue *q, ms_tensor t, const float *in)
{
    if (t.dtype == MS_F32)
        ms_queue_upload(q, t.data, in, ms_tensor_bytes(t));
    else
        write_reals(q, t, NULL, in);
}
