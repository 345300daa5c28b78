/* device - memory and order of execution of a back end, about a dozen functions
 *
 * A device owns memory; a queue runs ops in order and remembers the first error.  On ref and cpu an
 * op has run when the call returns; others may run behind: ms_queue_finish waits. */
#ifndef MS_OPS_DEVICE_H
#define MS_OPS_DEVICE_H

#include "base/status.h"
#include "base/tensor.h"
#include "base/thread.h"
#include "ops/step.h"

typedef struct ms_device ms_device;
typedef struct ms_queue ms_queue;
struct ms_ops_table;

typedef struct {
    int threads; /* of host back ends; 0: all cores */
    bool pin;    /* each on a core of its own, the caller too, until the device is closed */
} ms_device_options;

/* What the units of a device can do in a second, multiplications and additions of a type. */
typedef enum { MS_CEILING_F32, MS_CEILING_BF16, MS_CEILING_INT8 } ms_ceiling;

/* What a back end fills in; users go through the functions below. */
struct ms_device {
    const char *name;   /* "ref", "cpu", ...; cpu:avx2 and such name a variant */
    const char *about;  /* one line for `info`: instruction set, threads */
    ms_dtype real;      /* type of real tensors: MS_F64 on ref, else MS_F32 */
    bool products_bf16; /* whether queues may ask for products of bf16 (ms_queue) */
    bool host_memory;   /* addresses can be read by the host */
    const struct ms_ops_table *ops;
    ms_pool *pool;          /* host back ends with threads; else NULL */
    size_t allocations;     /* calls of ms_device_alloc so far; a step adds none */
    size_t allocated_bytes; /* now */
    ms_status (*alloc)(ms_device *d, size_t size_bytes, void **out, ms_error *err);
    void (*free)(ms_device *d, void *p);
    size_t (*kept_bytes)(const ms_device *d, ms_tensor w); /* with keep, or both NULL */
    void (*keep)(ms_device *d, void *to, ms_tensor w);
    void (*upload)(ms_device *d, void *to, const void *from_host, size_t size_bytes);
    void (*download)(ms_device *d, void *to_host, const void *from, size_t size_bytes);
    void (*copy)(ms_device *d, void *to, const void *from, size_t size_bytes); /* no overlap */
    ms_status (*finish)(ms_device *d, ms_error *err);
    double (*ceiling)(ms_device *d, ms_ceiling kind); /* measured; 0: no such unit; or NULL */
    void (*close)(ms_device *d);                      /* frees d */
};

struct ms_queue {
    ms_device *device;
    const ms_step *step; /* device address of the step block; set by the model */
    ms_error error;      /* status MS_OK: none yet */
    bool bf16;           /* linear_fwd, _bwd and _stored round the factors of products (ops.h) */
    bool magnitude;      /* ref only: outputs are the error scale (|terms|) instead of values */
};

/* Opens "ref", "cpu", "auto", or a variant such as "cpu:base", "cpu:avx2", "cpu:avx512".
 * MS_INPUT for a name that is none, MS_UNSUPPORTED when the machine or build lacks it.
 * The caller closes with ms_device_close (NULL is accepted) after everything on it is freed. */
ms_status ms_device_open(ms_device **out, const char *name, const ms_device_options *o,
                         ms_error *err);
void ms_device_close(ms_device *d);

/* The name of the i-th device that this build and machine can open; NULL at the end. */
const char *ms_device_list(int i);

/* Zeroed memory at 64 bytes. */
ms_status ms_device_alloc(ms_device *d, size_t size_bytes, void **out, ms_error *err);
void ms_device_free(ms_device *d, void *p, size_t size_bytes); /* NULL is accepted */

/* A copy of a matrix of weights that lies as files have it, laid out as this device's products
 * read it fastest: for linear_stored with `kept`, and for nothing else.  Its bytes, in whole units
 * of 64; 0 on devices that keep none. */
size_t ms_device_kept_bytes(const ms_device *d, ms_tensor w);
/* Makes it at `to`, memory of the device at 64 bytes; the result is w with that address. */
ms_tensor ms_device_keep(ms_device *d, void *to, ms_tensor w);

/* Copies in queue order; after an error of the queue they do nothing. */
void ms_queue_upload(ms_queue *q, void *to, const void *from_host, size_t size_bytes);
void ms_queue_download(ms_queue *q, void *to_host, const void *from, size_t size_bytes);
void ms_queue_copy(ms_queue *q, void *to, const void *from, size_t size_bytes); /* on the device */

/* Waits for everything given to the queue; the first error since the last finish, which it clears.
 */
ms_status ms_queue_finish(ms_queue *q, ms_error *err);

/* Records an error of an op unless there is one already. */
void ms_queue_fail(ms_queue *q, ms_status status, const char *format, ...) MS_PRINTF(3, 4);

/* Reals of a device as doubles and back, with conversion; for tests, loading and saving. */
void ms_read_reals(ms_queue *q, ms_tensor t, double *out);
void ms_write_reals(ms_queue *q, ms_tensor t, const double *in);
void ms_read_floats(ms_queue *q, ms_tensor t, float *out);
void ms_write_floats(ms_queue *q, ms_tensor t, const float *in);

#endif
