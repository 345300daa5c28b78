/* tiny - small models with random weights for the tests of infer/ */
#ifndef TESTS_INFER_TINY_H
#define TESTS_INFER_TINY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "infer/generate.h"
#include "infer/session.h"
#include "model/arch.h"

/* "a".."e": five characters, no special token. */
enum { TINY_VOCAB = 5 };

typedef struct {
    ms_device *device;
    ms_model *model;
    ms_tokenizer *tokenizer;
} tiny;

/* A model of a preset on a device: 2 layers, width 16, 4 heads, context 320.  letters: characters
 * "a".."e" instead of bytes.  The test fails when it cannot be made. */
tiny tiny_new(const char *device, const char *preset, bool letters, uint64_t seed);
void tiny_free(tiny *t);

/* Fails with the error's message unless status is MS_OK. */
void must(ms_status status, const ms_error *err);

/* log softmax of logits, straight from the definition. */
void log_softmax(const float *z, int vocab, double *out);

#endif
