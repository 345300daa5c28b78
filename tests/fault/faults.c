#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include "faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

static atomic_bool armed, fired;
static atomic_long calls, live;
static fault_kind armed_kind;
static fault_mode armed_mode;
static long armed_n;

void faults_arm(fault_kind kind, fault_mode mode, long n)
{
    armed_kind = kind;
    armed_mode = mode;
    armed_n = n;
    calls = 0;
    fired = false;
    armed = true;
}

bool faults_disarm(void)
{
    armed = false;
    return fired;
}

long faults_live(void)
{
    return live;
}

/* Whether this call is to fail. */
static bool fails(fault_kind kind)
{
    long n;

    if (!armed || kind != armed_kind || armed_n == 0) return false;
    n = atomic_fetch_add(&calls, 1) + 1;
    if (armed_mode == FAULT_ALL ? n < armed_n : n != armed_n) return false;
    fired = true;
    if (armed_mode == FAULT_KILL) _exit(FAULT_EXIT);
    return true;
}

/* -- memory ---------------------------------------------------------------------------------- */

#if defined(__GLIBC__) && !defined(ASAN)

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *p);

static void *taken(void *p)
{
    if (p) atomic_fetch_add(&live, 1);
    return p;
}

static bool no_memory(void)
{
    if (!fails(FAULT_MEMORY)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    return no_memory() ? NULL : taken(__libc_malloc(bytes));
}

void *calloc(size_t n, size_t bytes)
{
    return no_memory() ? NULL : taken(__libc_calloc(n, bytes));
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return no_memory() ? NULL : taken(__libc_memalign(alignment, bytes));
}

void *realloc(void *p, size_t bytes)
{
    void *grown;

    if (no_memory()) return NULL;
    grown = __libc_realloc(p, bytes);
    if (!p) return taken(grown);
    if (!grown && bytes == 0) atomic_fetch_sub(&live, 1);
    return grown;
}

void free(void *p)
{
    if (p) atomic_fetch_sub(&live, 1);
    __libc_free(p);
}

static const char *const memory_missing = NULL;
#elif defined(ASAN)
static const char *const memory_missing = "AddressSanitizer has an allocator of its own";
#else
static const char *const memory_missing = "this C library has no second name for malloc";
#endif

/* -- files ----------------------------------------------------------------------------------- */

#ifdef __linux__

/* The function of a name behind ours: fn is a pointer to a function pointer. */
#define NEXT(fn, name)                                                                             \
    do {                                                                                           \
        if (!(fn)) *(void **)&(fn) = dlsym(RTLD_NEXT, name);                                       \
    } while (0)

static bool no_file(int code)
{
    if (armed && armed_mode >= FAULT_INTERRUPTED) return false;
    if (!fails(FAULT_FILES)) return false;
    errno = code;
    return true;
}

int open(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    mode_t mode = 0;
    va_list list;

    va_start(list, flags);
    if (flags & O_CREAT) mode = (mode_t)va_arg(list, int);
    va_end(list);
    NEXT(next, "open");
    return no_file(flags & O_CREAT ? ENOSPC : EIO) ? -1 : next(path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    static ssize_t (*next)(int, const void *, size_t);

    NEXT(next, "write");
    if (no_file(ENOSPC)) return -1;
    if (armed && armed_mode == FAULT_INTERRUPTED && fails(FAULT_FILES)) {
        errno = EINTR;
        return -1;
    }
    if (armed && armed_mode == FAULT_SHORT && bytes > 1) {
        fired = true;
        bytes /= 2;
    }
    return next(fd, data, bytes);
}

int fsync(int fd)
{
    static int (*next)(int);

    NEXT(next, "fsync");
    return no_file(EIO) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
    static int (*next)(const char *, const char *);

    NEXT(next, "rename");
    return no_file(EIO) ? -1 : next(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    static int (*next)(int, const char *, int, const char *, int);

    NEXT(next, "linkat");
    return no_file(EIO) ? -1 : next(a, from, b, to, flags);
}

int unlink(const char *path)
{
    static int (*next)(const char *);

    NEXT(next, "unlink");
    return no_file(EIO) ? -1 : next(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    static int (*next)(int, const char *, int);

    NEXT(next, "unlinkat");
    return no_file(EIO) ? -1 : next(fd, path, flags);
}

DIR *opendir(const char *path)
{
    static DIR *(*next)(const char *);

    NEXT(next, "opendir");
    return no_file(EIO) ? NULL : next(path);
}

DIR *fdopendir(int fd)
{
    static DIR *(*next)(int);

    NEXT(next, "fdopendir");
    return no_file(EIO) ? NULL : next(fd);
}

int mkdir(const char *path, mode_t mode)
{
    static int (*next)(const char *, mode_t);

    NEXT(next, "mkdir");
    return no_file(ENOSPC) ? -1 : next(path, mode);
}

/* The descriptor is closed all the same, as on Linux. */
int close(int fd)
{
    static int (*next)(int);
    bool bad;

    NEXT(next, "close");
    bad = no_file(EIO);
    return next(fd) || bad ? -1 : 0;
}

static const char *const files_missing = NULL;
#else
static const char *const files_missing = "calls on files cannot be replaced here";
#endif

const char *faults_missing(fault_kind kind)
{
    return kind == FAULT_MEMORY ? memory_missing : files_missing;
}

long faults_descriptors(void)
{
    long n = 0;

    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
