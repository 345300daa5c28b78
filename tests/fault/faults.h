/* faults - makes the nth allocation, or the nth call on a file, fail
 *
 * The test program has functions of its own in place of malloc and its kin, and of open, write,
 * fsync, rename, linkat, unlink, mkdir, opendir, close: the library and what it calls get these. */
#ifndef TESTS_FAULT_FAULTS_H
#define TESTS_FAULT_FAULTS_H

#include <stdbool.h>

typedef enum { FAULT_MEMORY, FAULT_FILES } fault_kind;

typedef enum {
    FAULT_ONE,         /* the nth call fails, those behind it do not */
    FAULT_ALL,         /* the nth and all behind it */
    FAULT_KILL,        /* files: the process ends in place of the nth call, with FAULT_EXIT */
    FAULT_INTERRUPTED, /* files: the nth call, if it is write, fails with EINTR */
    FAULT_SHORT        /* files: every write writes half */
} fault_mode;

enum { FAULT_EXIT = 77 };

/* NULL when the kind can be made to fail here; else why not. */
const char *faults_missing(fault_kind kind);

/* Counts calls of the kind from here on; n = 0: none fails. */
void faults_arm(fault_kind kind, fault_mode mode, long n);
/* Ends that; true when a call failed. */
bool faults_disarm(void);

long faults_live(void);        /* blocks taken and not given back so far, by malloc and its kin */
long faults_descriptors(void); /* open ones */

#endif
