/* options - numbers of a run: not given, from a stored run, by default */
#include "train/run.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ms_train_options ms_train_options_new(void)
{
    ms_train_options o = {.data = {.held_out_fraction = 0.1}};

#define NOT_GIVEN(type, name, ...) o.name = -1;
    MS_TRAIN_NUMBERS(NOT_GIVEN)
    return o;
}

void ms_train_options_default(ms_train_options *o)
{
#define DEFAULT(type, name, least, fixed, value)                                                   \
    if (!(o->name >= (type)(least))) o->name = (type)(value);
    MS_TRAIN_NUMBERS(DEFAULT)
    if (o->seed == 0) o->seed = 1;
}

void ms_train_options_store(const ms_train_options *o, ms_json *j)
{
    char seed[32];

#define STORE(type, name, ...) ms_json_add_number(j, j->root, #name, (double)o->name);
    MS_TRAIN_NUMBERS(STORE)
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed); /* too long for a double */
    ms_json_add_text(j, j->root, "seed", seed);
}

/* What a number of the list may be. */
typedef struct {
    const char *name;
    double least, most;
    bool whole, fixed;
} limits;

/* A stored number: what is not given comes from it; what is fixed must not differ. */
static ms_status stored_number(const cJSON *from, limits l, bool given, double value,
                               double *stored, const char *path, ms_error *err)
{
    const cJSON *item = ms_json_get(from, l.name);

    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"%s\": expected a number", l.name);
    *stored = item->valuedouble;
    if (!(*stored >= l.least && *stored <= l.most) || (l.whole && *stored != floor(*stored)))
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"%s\": expected %s from %g to %g, found %g",
                          l.name, l.whole ? "a whole number" : "a number", l.least, l.most,
                          *stored);
    if (given && l.fixed && value != *stored)
        return ms_fail(err, MS_INPUT, "%s: the run has %g, a resume cannot change it to %g", l.name,
                       *stored, value);
    return MS_OK;
}

static ms_status stored_seed(ms_train_options *o, const cJSON *from, const char *path,
                             ms_error *err)
{
    const char *text = ms_json_text(from, "seed");
    char *end = NULL;
    uint64_t seed = text && *text != '-' ? strtoull(text, &end, 10) : 0;

    if (seed == 0 || *end)
        return ms_fail_at(err, MS_FORMAT, path, -1, "\"seed\": expected a number as text");
    if (o->seed != 0 && o->seed != seed)
        return ms_fail(err, MS_INPUT, "seed: the run has %s, a resume cannot change it", text);
    o->seed = seed;
    return MS_OK;
}

ms_status ms_train_options_resume(ms_train_options *o, const cJSON *from, const char *path,
                                  ms_error *err)
{
#define RESUME(type, name, least, fixed, value)                                                    \
    {                                                                                              \
        limits l = {#name, least, sizeof(type) == sizeof(int) ? INT_MAX : 0x1p53, (type)0.5 == 0,  \
                    fixed};                                                                        \
        bool given = o->name >= (type)(least);                                                     \
        double stored = 0;                                                                         \
                                                                                                   \
        MS_TRY(stored_number(from, l, given, (double)o->name, &stored, path, err));                \
        if (!given) o->name = (type)stored;                                                        \
    }
    MS_TRAIN_NUMBERS(RESUME)
    return stored_seed(o, from, path, err);
}

static ms_status out_of_range(const char *name, const char *expected, double value, ms_error *err)
{
    return ms_fail(err, MS_INPUT, "%s: expected %s, got %g", name, expected, value);
}

ms_status ms_train_options_check(const ms_train_options *o, ms_error *err)
{
    if (!(o->lr > 0 && o->lr <= 10)) return out_of_range("lr", "above 0, at most 10", o->lr, err);
    if (!(o->min_lr <= o->lr)) return out_of_range("min-lr", "at most lr", o->min_lr, err);
    if (!(o->beta1 < 1)) return out_of_range("beta1", "0 to below 1", o->beta1, err);
    if (!(o->beta2 < 1)) return out_of_range("beta2", "0 to below 1", o->beta2, err);
    if (!(o->eps > 0)) return out_of_range("eps", "above 0", o->eps, err);
    if (!(o->dropout < 1)) return out_of_range("dropout", "0 to below 1", o->dropout, err);
    if (!(o->weight_decay <= 100))
        return out_of_range("weight-decay", "0 to 100", o->weight_decay, err);
    if (!isfinite(o->clip)) return out_of_range("clip", "a number", o->clip, err);
    if (o->batch > 65536) return out_of_range("batch", "1 to 65536", o->batch, err);
    if (o->accumulate > 65536) return out_of_range("accumulate", "1 to 65536", o->accumulate, err);
    if (o->schedule >= MS_SCHEDULE_COUNT)
        return out_of_range("schedule", "a known one", o->schedule, err);
    if (o->schedule == MS_SCHEDULE_WSD && o->decay < 1)
        return out_of_range("decay", "at least 1 for wsd", (double)o->decay, err);
    return MS_OK;
}
