/* bench - times ops on the case rows that are marked for it */
#ifndef MS_OPS_BENCH_H
#define MS_OPS_BENCH_H

#include "ops/ops.h"

typedef struct {
    ms_op op;
    const char *label;             /* shape in words; lent for the call */
    double median_s, min_s, max_s; /* of one call */
    int runs;
    double flops; /* of one call: multiplications and additions of its sums; 0: not counted */
    double bytes; /* of one call: every operand read or written once */
} ms_bench_row;
typedef void ms_bench_fn(void *data, const ms_bench_row *row);

typedef struct {
    const char *filter; /* part of an op's name; NULL: all */
    bool slow;          /* also the rows that take seconds */
} ms_bench_options;

/* Calls fn for every row.  MS_INPUT when the filter matches no op. */
ms_status ms_bench_ops(ms_device *d, const ms_bench_options *o, ms_bench_fn *fn, void *data,
                       ms_error *err);

/* What threads cost that do nothing: "pool barrier", one of many inside a region, and "pool
 * region", from the call to the end of all.  Returns the rows: 0 on a device of one thread or none.
 */
typedef struct {
    const char *name;
    double median_s, min_s, max_s;
    int runs, threads;
} ms_bench_pool_row;
int ms_bench_pool(ms_device *d, ms_bench_pool_row row[2]);

/* Bytes per second that the threads of a host device read from main memory: what a call that
 * reads everything once cannot exceed.  0 for devices with memory of their own. */
ms_status ms_bench_read_rate(ms_device *d, double *bytes_per_s, ms_error *err);

#endif
