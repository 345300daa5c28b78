/* runs - a text, a device and tiny training runs in a folder of their own, for the tests of train/
 */
#ifndef TESTS_TRAIN_RUNS_H
#define TESTS_TRAIN_RUNS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/trainer.h"

enum { RUNS_PATH = 192, RUNS_PATHS = 64, RUNS_CONTEXT = 16, RUNS_BATCH = 4 };

typedef struct {
    ms_device *device;
    char folder[64]; /* made by mkdtemp */
    char text[RUNS_PATH];
    const char *data[1]; /* &text */
    char path[RUNS_PATHS][RUNS_PATH];
    int paths;
} runs;

/* Opens a device and writes a text of some 3000 characters ("a".."h", blanks, newlines). */
void runs_open(runs *r, const char *device, int threads);
void runs_close(runs *r); /* removes the folder */

/* The path of a name in the folder; lent until runs_close. */
const char *runs_path(runs *r, const char *name);

/* 8 steps of a llama of 2 layers, width 16, context 16 on characters, into run `name`. */
ms_train_options runs_options(runs *r, const char *name);
/* Only: continue the run `name`. */
ms_train_options runs_resume(runs *r, const char *name);

/* A trainer that must come; must not come, with the status and a text of the message. */
ms_trainer *runs_new(runs *r, const ms_train_options *o);
void runs_refused(runs *r, const ms_train_options *o, ms_status status, const char *text);

/* Steps that must succeed; the last one's progress. */
ms_progress runs_steps(ms_trainer *t, int steps);
/* Makes a trainer, goes to its last step without evaluations, saves, frees it. */
void runs_train(runs *r, const ms_train_options *o);

/* Fails with the error's message unless status is MS_OK. */
void must(ms_status status, const ms_error *err);

/* The same file in two runs. */
void runs_same(runs *r, const char *a, const char *b, const char *file);
/* Also false where a file is missing. */
bool runs_equal(runs *r, const char *a, const char *b, const char *file);

/* All parameters as floats, from test_malloc. */
float *runs_flat(ms_trainer *t, size_t *count);

#endif
