#include "golden.h"

#include "model/folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

bool golden_open(golden *g, const char *preset, const char *backend)
{
    char folder[200];
    ms_device_options o = {.threads = 2};
    const ms_st_entry *tokens, *target;
    ms_error err;

    *g = (golden){.batch = 0};
    snprintf(folder, sizeof folder, "tests/golden/%s", preset);
    snprintf(g->path, sizeof g->path, "%s/expected.safetensors", folder);
    if (!ms_path_exists(g->path)) {
        printf("not run golden %s: %s is missing (make golden)\n", preset, g->path);
        return false;
    }
    if (ms_device_open(&g->device, backend, &o, &err)) fail_msg("%s", err.message);
    if (ms_model_load(&g->model, g->device, folder, &err)) fail_msg("%s", err.message);
    if (ms_safetensors_open(&g->expected, g->path, &err)) fail_msg("%s", err.message);
    tokens = ms_safetensors_find(g->expected, "tokens");
    target = ms_safetensors_find(g->expected, "targets");
    assert_non_null(tokens);
    assert_non_null(target);
    g->batch = tokens->dim[0];
    g->rows = tokens->dim[1];
    g->tokens = tokens->data;
    g->target = target->data;
    for (int i = 0; i < g->batch * g->rows; i++) g->targets += g->target[i] >= 0;
    return true;
}

void golden_close(golden *g)
{
    ms_safetensors_close(g->expected);
    ms_model_free(g->model);
    ms_device_close(g->device);
}

double *golden_read(const golden *g, const char *name, size_t *count)
{
    const ms_st_entry *e = ms_safetensors_find(g->expected, name);
    double *out;

    if (!e) fail_msg("%s has no %s", g->path, name);
    *count = e->size_bytes / ms_dtype_bytes(e->dtype);
    out = malloc(*count * sizeof *out);
    for (size_t i = 0; i < *count; i++) {
        if (e->dtype == MS_F64) {
            memcpy(&out[i], (const char *)e->data + i * 8, 8);
        } else {
            float f;

            memcpy(&f, (const char *)e->data + i * 4, 4);
            out[i] = f;
        }
    }
    return out;
}

double golden_distance(const double *a, const double *b, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

double *golden_flat(golden *g, ms_tensor flat, size_t *count)
{
    ms_queue q = {.device = g->device};
    double *out;

    *count = ms_count(flat);
    out = malloc(*count * sizeof *out);
    ms_read_reals(&q, flat, out);
    return out;
}
