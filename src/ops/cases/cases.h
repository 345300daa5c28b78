/* cases - the rows of shapes on which every op is tested and timed: one list for both
 *
 * A case describes one call: its args struct with tensor shapes (data NULL, real operands typed
 * `real` by the engine), scalars, and how to fill the integer operands.  The conformance engine
 * places the tensors, fills them (normal, zeros, large, ...), runs ref and the device under test,
 * and compares each element; the bench times the same call. */
#ifndef MS_OPS_CASES_CASES_H
#define MS_OPS_CASES_CASES_H

#include "ops/ops.h"

#include <stdint.h>

enum { MS_ARGS_MAX_BYTES = 640 };

typedef struct {
    ms_op op;
    char label[64];                     /* shape in words, unique within the op: "N=3 I=17 O=5 gelu" */
    _Alignas(16) char args[MS_ARGS_MAX_BYTES]; /* the op's args struct; absent operands have rank 0 */
    ms_step step;                       /* values the op reads from the step block */
    int id_limit;                       /* id and target operands: drawn below this; 0: none */
    bool ignore_some;                   /* targets: some are -1 */
    const ms_seq *seq;                  /* B rows, when the op has a seq operand */
    ms_how how;                         /* of every row of `sample` (position and stream vary) */
    double bound;                       /* c of the contract: |y - exact| <= c * eps * magnitude */
    double flops, bytes;                /* of one call, for the bench; work counted once */
    bool slow;                          /* a large shape: bench and full runs only */
    bool bench;                         /* a row that the bench prints */
} ms_case;

/* The i-th case of an op; false past the end.  Deterministic. */
bool ms_case_get(ms_op o, int i, ms_case *out);

/* One function an op stem, each in its file; used by ms_case_get. */
typedef bool ms_case_fn(ms_op o, int i, ms_case *out);
ms_case_fn ms_cases_embed, ms_cases_norm, ms_cases_linear, ms_cases_rope, ms_cases_attention,
    ms_cases_activation, ms_cases_loss, ms_cases_optimizer, ms_cases_sample;

#endif
