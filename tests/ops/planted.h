/* planted - a fault in the kernel of one op of a device, to see whether the engine reports it
 *
 * The device stays as it is; its table is a copy in which the slot of the op leads to the fault:
 *     device->ops->OP(q, args)  ->  fault(q, copy of args)  ->  run_truly(q, args)  */
#ifndef TESTS_OPS_PLANTED_H
#define TESTS_OPS_PLANTED_H

#include "conformance.h"

/* Runs in place of the kernel.  Damages the arguments (a copy) and calls run_truly, or damages what
 * that has left. */
typedef void fault_fn(ms_queue *q, ms_any_args *a);

/* The true kernel of the op whose kernel is replaced; the fault that is none. */
fault_fn run_truly;

/* conform_op with a fault in op o of every device of the setup; afterwards they are whole again. */
void conform_planted(const conform_setup *s, ms_op o, fault_fn *fault, conform_result *r);

#endif
