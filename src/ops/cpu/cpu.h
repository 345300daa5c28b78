/* cpu - the back end for any CPU: C with vector types, one build of it an instruction set
 *
 * The Makefile compiles every kernel file once for each variant (scalar, base, avx2, ...), device.c
 * once. Bits never depend on the number of threads.  A row of linear_fwd, norm_fwd, rope_fwd,
 * attention_fwd and the activations has the same bits in any batch. */
#ifndef MS_OPS_CPU_CPU_H
#define MS_OPS_CPU_CPU_H

#include "ops/device.h"

/* Opens a variant, "cpu:avx2"; NULL: the best one of this machine. */
ms_status ms_cpu_open(ms_device **out, const char *variant, const ms_device_options *o,
                      ms_error *err);

/* Names of the variants this machine can run, best first; NULL at the end. */
const char *ms_cpu_variant(int i);

/* Memory of a thread for packing, granted at open: kernels allocate nothing. */
enum { MS_CPU_WORK_BYTES = 4 << 20 };

/* The device as kernels see it. */
typedef struct {
    ms_device device;
    char *work; /* threads * MS_CPU_WORK_BYTES */
} ms_cpu;

#endif
