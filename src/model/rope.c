/* rope - plain (Su et al. 2021), linear, Llama 3's, and YaRN (Peng et al. 2023) */
#include "model/rope.h"

#include <math.h>
#include <string.h>

static const double two_pi = 6.283185307179586;

static const char *const names[] = {"default", "linear", "llama3", "yarn"};

const char *ms_rope_name(ms_rope_kind kind)
{
    return names[kind];
}

bool ms_rope_find(const char *name, ms_rope_kind *out)
{
    for (int i = 0; i < 4; i++)
        if (!strcmp(names[i], name)) {
            *out = (ms_rope_kind)i;
            return true;
        }
    return false;
}

/* Long waves are stretched, short ones are left, those between go over smoothly. */
static double llama3(const ms_rope_scaling *s, double f)
{
    double turns = s->original * f / two_pi; /* in the context of the training */
    double smooth = (turns - s->low_freq) / (s->high_freq - s->low_freq);

    if (turns < s->low_freq) return f / s->factor;
    if (turns > s->high_freq) return f;
    return (1 - smooth) * f / s->factor + smooth * f;
}

/* The pair that turns `turns` times in the context of the training (Peng et al. 2023, eq. 17). */
static double pair_of(const ms_config *c, double turns)
{
    return c->head_dim * log(c->rope.original / (turns * two_pi)) / (2 * log(c->rope_theta));
}

static double yarn(const ms_config *c, double f, int pair)
{
    double low = fmax(floor(pair_of(c, c->rope.beta_fast)), 0);
    double high = fmin(ceil(pair_of(c, c->rope.beta_slow)), c->head_dim - 1);
    double stretched;

    if (low == high) high += 0.001;
    stretched = fmin(fmax((pair - low) / (high - low), 0), 1);
    return f / c->rope.factor * stretched + f * (1 - stretched);
}

double ms_rope_frequencies(const ms_config *c, double *frequency)
{
    for (int j = 0; j < c->head_dim / 2; j++) {
        double f = pow(c->rope_theta, -2.0 * j / c->head_dim);

        switch (c->rope.kind) {
        case MS_ROPE_PLAIN: break;
        case MS_ROPE_LINEAR: f /= c->rope.factor; break;
        case MS_ROPE_LLAMA3: f = llama3(&c->rope, f); break;
        case MS_ROPE_YARN: f = yarn(c, f, j); break;
        }
        frequency[j] = f;
    }
    if (c->rope.kind != MS_ROPE_YARN) return 1;
    return c->rope.attention > 0 ? c->rope.attention : 0.1 * log(c->rope.factor) + 1;
}
