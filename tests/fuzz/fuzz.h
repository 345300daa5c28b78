/* fuzz - what the targets of libFuzzer share: an input as a file, for functions that take a path
 *
 * Linux only: the file is in memory and has a name under /proc. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    int fd;
    char path[48];
} fuzz_file;

/* Holds these bytes; made once, then written over: not closed. */
static inline const char *fuzz_put(fuzz_file *f, const uint8_t *data, size_t size)
{
    if (!f->path[0]) {
        f->fd = (int)syscall(SYS_memfd_create, "fuzz", 0u);
        snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    }
    if (f->fd < 0 || ftruncate(f->fd, 0) || pwrite(f->fd, data, size, 0) != (ssize_t)size) abort();
    return f->path;
}

/* A refusal is one line that says something. */
static inline void fuzz_refused(ms_status s, const ms_error *err)
{
    if (!s) return;
    if (err->status != s || !err->message[0]) abort();
    for (const char *c = err->message; *c; c++)
        if ((unsigned char)*c < ' ') abort();
}

/* Reads every byte, so that the sanitizer sees a wrong size. */
static inline void fuzz_touch(const void *data, size_t size)
{
    static volatile uint8_t sum;
    const uint8_t *at = data;

    for (size_t i = 0; i < size; i++) sum = (uint8_t)(sum ^ at[i]);
    (void)sum;
}

#endif
