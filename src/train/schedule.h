/* schedule - the learning rate of a step; pure functions */
#ifndef MS_TRAIN_SCHEDULE_H
#define MS_TRAIN_SCHEDULE_H

#include "base/status.h"

#include <stdint.h>

/* clang-format off */
#define MS_SCHEDULES(X)                                                                            \
    X(CONSTANT, "constant")                                                                        \
    X(LINEAR, "linear")                                                                            \
    X(COSINE, "cosine")                                                                            \
    X(RSQRT, "rsqrt")                                                                              \
    X(WSD, "wsd")
/* clang-format on */
typedef enum {
#define MS_SCHEDULE_ENUM(name, text) MS_SCHEDULE_##name,
    MS_SCHEDULES(MS_SCHEDULE_ENUM)
#undef MS_SCHEDULE_ENUM
        MS_SCHEDULE_COUNT
} ms_schedule_kind;

typedef struct {
    ms_schedule_kind kind;
    double lr, min_lr;
    int64_t warmup, steps, decay;
} ms_schedule;

/* Rate of step 0 .. steps-1.  During warm-up: lr * (step + 1) / warmup; then
 *   constant  lr
 *   linear    from lr to min_lr at the last step
 *   cosine    likewise along half a cosine (Loshchilov & Hutter 2017)
 *   rsqrt     lr * sqrt(warmup / (step + 1)), at least min_lr; warmup 0 counts as 1
 *             (Vaswani et al. 2017, eq. 3)
 *   wsd       lr, then linear to min_lr over the last `decay` steps (Hu et al. 2024, MiniCPM) */
double ms_schedule_rate(const ms_schedule *s, int64_t step);

ms_status ms_schedule_find(const char *name, ms_schedule_kind *out, ms_error *err);
const char *ms_schedule_name(ms_schedule_kind kind);

#endif
