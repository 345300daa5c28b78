/* step - every value that changes from step to step, in device memory (plain C, shared with
 * shaders)
 *
 * The host fills one block and uploads it in one copy before a pass:
 *   | ms_step | seq (B, 2) i32 | id (N) i32 | target (N) i32 |
 * so that a recorded pass can be replayed unchanged. */
#ifndef MS_OPS_STEP_H
#define MS_OPS_STEP_H

#include <stdint.h>

typedef struct {
    uint32_t seed[2];   /* key of the run's RNG */
    uint32_t counter;   /* micro-step: a new dropout mask for each */
    float grad_scale;   /* what cross_entropy multiplies gradients with: 1 / targets of the step */
    float lr;           /* learning rate of this step */
    float bias1, bias2; /* 1 - beta1^t, 1 - beta2^t of AdamW */
    float clip;         /* largest global norm; 0: no clipping */
} ms_step;

/* One row of seq: sequence b has `length` new rows in this pass, at positions start ... .
 * Row b*T + t of a pass with T rows a sequence is padding when t >= length. */
typedef struct {
    int32_t start, length;
} ms_seq;

#endif
