/* cpu - the back end for any CPU: C with vector types, one build of it an instruction set */
#ifndef MS_OPS_CPU_CPU_H
#define MS_OPS_CPU_CPU_H

#include "ops/device.h"

/* Opens a variant; NULL: the best one of this machine. */
ms_status ms_cpu_open(ms_device **out, const char *variant, const ms_device_options *o,
                      ms_error *err);

/* Names of the variants this machine can run, best first; NULL at the end. */
const char *ms_cpu_variant(int i);

#endif
