/* conformance - one engine: every op of a device against ref, element by element
 *
 * For each case row and each fill that means something for it:
 *   judge    |got - exact| <= c (eps M + tiny) for every element (ops.h, Numerics)
 *   outside  guards, inputs and everything else that the op does not write are as before
 *   again    the same bits whatever outputs held before, wherever the operands lie, however many
 *            threads, with every alias the contract allows, and rows alone as in their batch
 *   refuse   every call the contract forbids fails in check, and writes nothing
 * The engine reports; its callers assert.  So it can be tested itself (test_faults.c). */
#ifndef TESTS_OPS_CONFORMANCE_H
#define TESTS_OPS_CONFORMANCE_H

#include "ops/cases/call.h"

enum { CONFORM_DEVICES = 3, CONFORM_MESSAGES = 4, CONFORM_MESSAGE_BYTES = 480 };

typedef struct {
    ms_device *ref;                     /* the judge */
    ms_device *device[CONFORM_DEVICES]; /* device[0] is judged; the others, of other numbers of
                                             threads, must agree with it; NULL: none */
    bool slow;                          /* also rows of large shapes */
    bool small;                         /* no rows that the bench times, for slow machines */
    bool first_only;                    /* stop at the first failure */
} conform_setup;

typedef struct {
    int cases, runs, refusals;
    size_t elements;   /* judged */
    double worst, sum; /* largest error over bound of an element, and their sum */
    int failures;
    char message[CONFORM_MESSAGES][CONFORM_MESSAGE_BYTES]; /* the first ones */
} conform_result;

void conform_op(const conform_setup *s, ms_op o, conform_result *r);

/* -- between the files of the engine --------------------------------------------------------- */

typedef struct {
    const conform_setup *setup;
    conform_result *result;
    ms_fill fill;
    ms_call ref, got; /* the same call on ref and on device[0] */
    char *exact;      /* (ref.size_bytes) ref's results; its error scales are in ref.result */
    char *bits;       /* (got.size_bytes) results of the first run on device[0] */
    char *expected;   /* (got.size_bytes) what a run should leave */
} trial;

void trial_fail(trial *t, const char *format, ...) MS_PRINTF(2, 3);
bool trial_over(const trial *t); /* has failed, and the first failure is enough */

void judge(trial *t);  /* conform_judge.c: bits against exact */
void refuse(trial *t); /* conform_refuse.c */

#endif
