/* sample - rows of sample */
#include "ops/cases/cases.h"

#include <stdio.h>

static const struct {
    const char *name;
    ms_how how;
} hows[] = {
    {"greedy", {.temperature = 0, .top_p = 1}},
    {"all", {.temperature = 1, .top_p = 1}},
    {"cold", {.temperature = 0.1f, .top_p = 1}},
    {"top-k 1", {.temperature = 0.7f, .top_k = 1, .top_p = 1}},
    {"top-k 5", {.temperature = 0.7f, .top_k = 5, .top_p = 1}},
    {"top-k beyond", {.temperature = 1.5f, .top_k = 1 << 30, .top_p = 1}},
    {"top-p 0.9", {.temperature = 1, .top_p = 0.9f}},
    {"top-p tiny", {.temperature = 1, .top_p = 1e-6f}},
    {"min-p 0.1", {.temperature = 1, .top_p = 1, .min_p = 0.1f}},
    {"min-p 1", {.temperature = 1, .top_p = 1, .min_p = 1}},
    {"k p min-p", {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f}},
};
enum { HOWS = sizeof hows / sizeof *hows };

static const struct {
    int B, V;
    bool bench, slow;
} shapes[] = {{1, 1, 0, 0},     {3, 2, 0, 0},    {4, 7, 0, 0},    {5, 33, 0, 0},
              {2, 65, 0, 0},    {9, 257, 0, 0},  {3, 1000, 1, 0}, {1, 20011, 0, 0},
              {1, 50257, 1, 0}, {8, 50257, 1, 1}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

bool ms_cases_sample(ms_op o, int i, ms_case *c)
{
    int s = i % SHAPES, h = i / SHAPES, B = shapes[s].B, V = shapes[s].V;

    (void)o;
    if (h >= HOWS) return false;
    c->args.sample = (ms_sample_args){.id = MS_CASE_INTS(B),
                                      .z = MS_CASE_REAL(B, V),
                                      .how = MS_CASE_INTS(B, 8),
                                      .rank = MS_CASE_INTS(B, V),
                                      .prob = MS_CASE_REAL(B, V)};
    c->how = hows[h].how;
    c->how.key[0] = 0x13198A2Eu;
    c->how.key[1] = 0x03707344u;
    c->bytes = 4.0 * B * V; /* of logits; the rest is work */
    c->bench = shapes[s].bench && (h == 0 || h == 1 || h == HOWS - 1);
    c->slow = shapes[s].slow;
    snprintf(c->label, sizeof c->label, "B=%d V=%d %s", B, V, hows[h].name);
    return true;
}
