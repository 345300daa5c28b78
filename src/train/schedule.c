/* schedule - learning rates by step */
#include "train/schedule.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const names[] = {
#define SCHEDULE_NAME(name, text) text,
    MS_SCHEDULES(SCHEDULE_NAME)
#undef SCHEDULE_NAME
};

/* From a to b as x goes from 0 to 1. */
static double between(double a, double b, double x)
{
    return a + (b - a) * (x < 0 ? 0 : x > 1 ? 1 : x);
}

/* How far step is on the way from `first` to the last step; 1 when there is no way. */
static double progress(const ms_schedule *s, int64_t first, int64_t step)
{
    int64_t length = s->steps - 1 - first;

    return length > 0 ? (double)(step - first) / (double)length : 1;
}

double ms_schedule_rate(const ms_schedule *s, int64_t step)
{
    const double pi = 3.141592653589793;
    int64_t warmup = s->warmup > 0 ? s->warmup : 1;
    double rate;

    if (step < s->warmup) return s->lr * (double)(step + 1) / (double)s->warmup;
    switch (s->kind) {
    case MS_SCHEDULE_LINEAR: return between(s->lr, s->min_lr, progress(s, s->warmup, step));
    case MS_SCHEDULE_COSINE:
        return between(s->min_lr, s->lr,
                       0.5 * (1 + cos(pi * between(0, 1, progress(s, s->warmup, step)))));
    case MS_SCHEDULE_RSQRT:
        rate = s->lr * sqrt((double)warmup / (double)(step + 1));
        return rate > s->min_lr ? rate : s->min_lr;
    case MS_SCHEDULE_WSD:
        if (step < s->steps - s->decay) return s->lr;
        return between(s->lr, s->min_lr,
                       (double)(step - (s->steps - s->decay) + 1) / (double)s->decay);
    default: return s->lr;
    }
}

ms_status ms_schedule_find(const char *name, ms_schedule_kind *out, ms_error *err)
{
    for (int i = 0; i < MS_SCHEDULE_COUNT; i++)
        if (!strcmp(names[i], name)) {
            *out = (ms_schedule_kind)i;
            return MS_OK;
        }
    return ms_fail(err, MS_INPUT,
                   "schedule \"%s\" is unknown: expected constant, linear, cosine, rsqrt or wsd",
                   name);
}

const char *ms_schedule_name(ms_schedule_kind kind)
{
    return names[kind];
}
