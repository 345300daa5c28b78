/* status - what a call that can fail returns, and where and why it failed */
#ifndef MS_BASE_STATUS_H
#define MS_BASE_STATUS_H

#include <stdint.h>

/* One list: codes, names, texts.  The numbers equal minstrel_status in minstrel.h. */
#define MS_STATUS_MAP(X)                                                                           \
    X(OK, "ok")                                                                                    \
    X(MEMORY, "out of memory")                                                                     \
    X(IO, "input or output failed")                                                                \
    X(FORMAT, "malformed file")                                                                    \
    X(INPUT, "invalid input")                                                                      \
    X(SHAPE, "shapes do not match")                                                                \
    X(UNSUPPORTED, "not supported")                                                                \
    X(DEVICE, "device failed")                                                                     \
    X(NONFINITE, "not a finite number")                                                            \
    X(INTERRUPTED, "interrupted")

#define MS_STATUS_ENUM(name, text) MS_##name,
typedef enum { MS_STATUS_MAP(MS_STATUS_ENUM) MS_STATUS_COUNT } ms_status;
#undef MS_STATUS_ENUM

/* Filled where the fault is found.  message is one line without a newline; path and offset say
 * where in which file, "" and -1 when no file is concerned. */
typedef struct {
    ms_status status;
    int64_t offset;
    char message[240];
    char path[256];
} ms_error;

#if defined(__GNUC__)
#define MS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define MS_PRINTF(f, a)
#endif

/* Fills *err (NULL: nothing is recorded) and returns status.  path and offset become "" and -1. */
ms_status ms_fail(ms_error *err, ms_status status, const char *format, ...) MS_PRINTF(3, 4);

/* The same for a fault at a byte offset of a file (-1: the file as a whole). */
ms_status ms_fail_at(ms_error *err, ms_status status, const char *path, int64_t offset,
                     const char *format, ...) MS_PRINTF(5, 6);

/* The same for a failed system call on a file: the message ends with strerror(errno). */
ms_status ms_fail_errno(ms_error *err, const char *path, const char *what);

/* A static text such as "out of memory"; "unknown status" for a number that is none. */
const char *ms_status_text(ms_status status);

/* Forwards a failure to the caller. */
#define MS_TRY(e)                                                                                  \
    do {                                                                                           \
        ms_status s_ = (e);                                                                        \
        if (s_) return s_;                                                                         \
    } while (0)

/* A broken contract inside the library: reports and aborts, in debug builds only. */
#ifdef MS_DEBUG
#define MS_ASSERT(cond) ((cond) ? (void)0 : ms_assert_failed(#cond, __FILE__, __LINE__))
#else
#define MS_ASSERT(cond) ((void)sizeof(cond))
#endif
void ms_assert_failed(const char *cond, const char *file, int line);

#endif
