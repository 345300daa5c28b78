/* cases - the rows of shapes on which every op is tested and timed: one list for both
 *
 * A case describes one call: its args with tensor shapes, scalars, and how to fill the integer
 * operands.  Tensors have no memory yet, and reals are typed MS_F32 whatever the device: call.h
 * places a case on a device, fills it and runs it.  The conformance engine compares each element
 * of such a call with ref's; the bench times it. */
#ifndef MS_OPS_CASES_CASES_H
#define MS_OPS_CASES_CASES_H

#include "ops/ops.h"

#include <stdint.h>

enum { MS_CASE_OPERANDS = 16, MS_CASE_SEQUENCES = 16 };

typedef union {
#define MS_ARGS_MEMBER(name) ms_##name##_args name;
    MS_OPS(MS_ARGS_MEMBER)
#undef MS_ARGS_MEMBER
} ms_any_args;

typedef struct {
    ms_op op;
    char label[80];                 /* shape in words, unique within the op */
    ms_any_args args;               /* absent operands have rank 0 */
    ms_step step;                   /* values the op reads from the step block */
    ms_seq seq[MS_CASE_SEQUENCES];  /* B rows, when the op has a seq operand */
    int id_limit;                   /* id and target operands: drawn below this */
    bool ignore_some;               /* targets: some are -1 */
    ms_how how;                     /* of every row of `sample` (position and stream vary) */
    double bound[MS_CASE_OPERANDS]; /* c of the contract, ORDER OPERANDS; 0: not written */
    bool bf16;                      /* on a queue whose products are of bf16 */
    double flops, bytes;            /* of one call, for the bench; work counted once */
    bool slow;                      /* a large shape: only when asked for */
    bool bench;                     /* a row that the bench prints */
} ms_case;

/* The i-th case of an op; false past the end.  Deterministic. */
bool ms_case_get(ms_op o, int i, ms_case *out);

/* The i-th operand (ms_op_operands) of args; lent. */
ms_tensor *ms_args_operand(ms_any_args *args, ms_op o, int i);

/* -- for the files of rows ------------------------------------------------------------------- */

/* One function an op stem, each in its file: fills what ms_case_get has zeroed. */
typedef bool ms_case_fn(ms_op o, int i, ms_case *out);
ms_case_fn ms_cases_embed, ms_cases_norm, ms_cases_linear, ms_cases_rope, ms_cases_cache,
    ms_cases_attention, ms_cases_stored, ms_cases_activation, ms_cases_loss, ms_cases_optimizer,
    ms_cases_sample;

#define MS_CASE_REAL(...)             MS_TENSOR(NULL, MS_F32, __VA_ARGS__)
#define MS_CASE_INTS(...)             MS_TENSOR(NULL, MS_I32, __VA_ARGS__)
#define MS_CASE_REAL_IF(present, ...) ((present) ? MS_CASE_REAL(__VA_ARGS__) : MS_ABSENT)

/* The c of a sum of n terms (ops.h, Numerics). */
static inline double ms_case_sum(double n)
{
    return n / 8 + 8;
}

/* How a batch stands in its cache or table of S positions. */
typedef enum {
    MS_BATCH_FULL,   /* every sequence: start 0, T rows */
    MS_BATCH_RAGGED, /* lengths T, 0, about half, 1; starts at both ends and between */
    MS_BATCH_DECODE  /* rows at the end of a filled cache, a different one each */
} ms_batch;
void ms_case_batch(ms_case *c, ms_batch kind, int B, int T, int S);
const char *ms_batch_name(ms_batch kind);

#endif
