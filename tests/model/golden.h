/* golden - tiny models with PyTorch's numbers (tools/golden.py), opened on a device */
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include "formats/safetensors.h"
#include "model/model.h"

typedef struct {
    ms_device *device;
    ms_model *model;
    ms_safetensors *expected;
    char path[256];                 /* of expected.safetensors */
    const int32_t *tokens, *target; /* (batch, rows) */
    int batch, rows, targets;       /* targets: those that count */
} golden;

/* False (and a loud line) when the files of the preset are not there.  Other failures end the test.
 */
bool golden_open(golden *g, const char *preset, const char *backend);
void golden_close(golden *g);

/* A tensor of expected.safetensors as doubles, from malloc. */
double *golden_read(const golden *g, const char *name, size_t *count);

/* |a - b| / |b| over n numbers. */
double golden_distance(const double *a, const double *b, size_t n);

/* All numbers of a flat parameter tensor as doubles, from malloc. */
double *golden_flat(golden *g, ms_tensor flat, size_t *count);

#endif
