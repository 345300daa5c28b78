/* file - mapping, atomic replacement, folders */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* -- reading --------------------------------------------------------------------------------- */

/* Opens a regular file for reading and gives its size; -1 with *err filled.  O_NONBLOCK: opening a
 * pipe by mistake must fail here, not wait for somebody to write into it. */
static int open_regular(const char *path, size_t *size_bytes, ms_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        ms_fail_errno(err, path, "cannot open");
        return -1;
    }
    if (fstat(fd, &st)) {
        ms_fail_errno(err, path, "cannot read");
    } else if (S_ISDIR(st.st_mode)) {
        ms_fail_at(err, MS_IO, path, -1, "is a folder, expected a file");
    } else if (!S_ISREG(st.st_mode)) {
        ms_fail_at(err, MS_IO, path, -1, "is not a regular file");
    } else {
        *size_bytes = (size_t)st.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

ms_status ms_map_open(ms_map *out, const char *path, ms_error *err)
{
    size_t size = 0;
    void *data = NULL;
    int fd = open_regular(path, &size, err);

    if (fd < 0) return MS_IO;
    if (size > 0) data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED) return ms_fail_errno(err, path, "cannot map");
    *out = (ms_map){data, size};
    return MS_OK;
}

void ms_map_close(ms_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size_bytes);
    *map = (ms_map){0};
}

void ms_map_forget(const void *data, size_t size_bytes)
{
#ifdef MADV_DONTNEED
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t first = (at + page - 1) / page * page, last = (at + size_bytes) / page * page;

    /* advice: failing does no harm */
    if (last > first) madvise((void *)first, last - first, MADV_DONTNEED);
#else
    (void)data, (void)size_bytes;
#endif
}

size_t ms_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
}

ms_status ms_file_read(char **out, size_t *size_bytes, const char *path, size_t limit_bytes,
                       ms_error *err)
{
    size_t size = 0, got = 0;
    char *text;
    int fd = open_regular(path, &size, err);

    if (fd < 0) return MS_IO;
    if (size > limit_bytes) {
        close(fd);
        return ms_fail_at(err, MS_FORMAT, path, -1, "%zu bytes are more than the %zu allowed", size,
                          limit_bytes);
    }
    text = malloc(size + 1);
    if (!text) {
        close(fd);
        return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for %zu bytes", size);
    }
    while (got < size) {
        ssize_t n = read(fd, text + got, size - got);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            ms_fail_errno(err, path, "cannot read");
            close(fd);
            free(text);
            return MS_IO;
        }
        if (n == 0) break; /* shrank while being read */
        got += (size_t)n;
    }
    close(fd);
    text[got] = 0;
    *out = text;
    if (size_bytes) *size_bytes = got;
    return MS_OK;
}

/* -- writing --------------------------------------------------------------------------------- */

enum { TEMP_TRIES = 10000 };

struct ms_writer {
    int fd;
    int failed; /* errno of the first failed write; 0: none */
    size_t buffered;
    char path[PATH_MAX], temp[PATH_MAX + 16];
    char buffer[1 << 16];
};

/* Makes a new file beside w->path under a name that nobody has; -1 with errno set.  Not mkstemp:
 * its files are private, and the mode that the user's mask asks for can only be had from open
 * (reading the mask means to change it, for every thread of the process). */
static int open_temp(ms_writer *w)
{
    unsigned first = (unsigned)getpid() << 8;
    int fd = -1;

    for (unsigned i = 0; i < TEMP_TRIES && fd < 0; i++) {
        snprintf(w->temp, sizeof w->temp, "%s.tmp-%06x", w->path, (first + i) & 0xffffffu);
        fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST && errno != EINTR) break;
    }
    return fd;
}

ms_status ms_writer_open(ms_writer **out, const char *path, ms_error *err)
{
    ms_writer *w;

    if (strlen(path) > sizeof w->temp - sizeof ".tmp-XXXXXX")
        return ms_fail_at(err, MS_INPUT, path, -1, "the path is too long");
    w = malloc(sizeof *w);
    if (!w) return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for a file buffer");
    w->failed = 0;
    w->buffered = 0;
    snprintf(w->path, sizeof w->path, "%s", path);
    w->fd = open_temp(w);
    if (w->fd < 0) {
        ms_fail_errno(err, path, "cannot write");
        free(w);
        return MS_IO;
    }
    *out = w;
    return MS_OK;
}

static void write_all(ms_writer *w, const char *data, size_t size)
{
    while (size > 0 && !w->failed) {
        ssize_t n = write(w->fd, data, size);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            w->failed = errno;
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

void ms_writer_put(ms_writer *w, const void *data, size_t size_bytes)
{
    if (w->buffered + size_bytes > sizeof w->buffer) {
        write_all(w, w->buffer, w->buffered);
        w->buffered = 0;
    }
    if (size_bytes > sizeof w->buffer) {
        write_all(w, data, size_bytes);
        return;
    }
    if (size_bytes > 0) memcpy(w->buffer + w->buffered, data, size_bytes);
    w->buffered += size_bytes;
}

/* Syncs the folder that a path lies in, so that a rename in it lasts. */
static ms_status sync_parent(const char *path, ms_error *err)
{
    char folder[PATH_MAX];
    char *slash;

    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (!slash) return ms_folder_sync(".", err);
    slash[slash == folder] = 0;
    return ms_folder_sync(folder, err);
}

ms_status ms_writer_commit(ms_writer *w, ms_error *err)
{
    ms_status s;

    write_all(w, w->buffer, w->buffered);
    if (!w->failed && fsync(w->fd)) w->failed = errno;
    if (close(w->fd) && !w->failed) w->failed = errno;
    w->fd = -1;
    if (!w->failed && rename(w->temp, w->path)) w->failed = errno;
    if (w->failed) {
        errno = w->failed;
        ms_fail_errno(err, w->path, "cannot write");
        ms_writer_abort(w);
        return MS_IO;
    }
    s = sync_parent(w->path, err);
    free(w);
    return s;
}

void ms_writer_abort(ms_writer *w)
{
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    unlink(w->temp);
    free(w);
}

ms_status ms_file_write(const char *path, const void *data, size_t size_bytes, ms_error *err)
{
    ms_writer *w = NULL;

    MS_TRY(ms_writer_open(&w, path, err));
    ms_writer_put(w, data, size_bytes);
    return ms_writer_commit(w, err);
}

/* -- folders --------------------------------------------------------------------------------- */

bool ms_path_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

bool ms_path_is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

ms_status ms_path_join(char *out, size_t out_bytes, const char *a, const char *b, ms_error *err)
{
    size_t length = strlen(a);
    int n = snprintf(out, out_bytes, "%s%s%s", a, !length || a[length - 1] == '/' ? "" : "/", b);

    if (n < 0 || (size_t)n >= out_bytes)
        return ms_fail_at(err, MS_INPUT, a, -1, "the path is too long");
    return MS_OK;
}

ms_status ms_folder_make(const char *path, ms_error *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);

    if (length == 0) return ms_fail(err, MS_INPUT, "a folder needs a name");
    if (length >= sizeof part) return ms_fail_at(err, MS_INPUT, path, -1, "the path is too long");
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        char c = part[i];

        if (c != '/' && c != 0) continue;
        part[i] = 0;
        if (mkdir(part, 0777) && errno != EEXIST && !ms_path_is_folder(part))
            return ms_fail_errno(err, path, "cannot make the folder");
        part[i] = c;
    }
    if (!ms_path_is_folder(path))
        return ms_fail_at(err, MS_IO, path, -1, "cannot make the folder: a file has that name");
    return MS_OK;
}

ms_status ms_folder_sync(const char *path, ms_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int bad;

    if (fd < 0) return ms_fail_errno(err, path, "cannot open the folder");
    bad = fsync(fd) && errno != EINVAL; /* EINVAL: a file system that cannot sync folders */
    if (bad) ms_fail_errno(err, path, "cannot sync the folder");
    close(fd);
    return bad ? MS_IO : MS_OK;
}

/* The next name that is neither . nor ..; NULL at the end (errno 0) and on a failure. */
static struct dirent *next_entry(DIR *dir)
{
    struct dirent *e;

    do {
        errno = 0;
        e = readdir(dir);
    } while (e && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")));
    return e;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_name(ms_names *names, const char *name)
{
    size_t n = names->count;

    if ((n & (n - 1)) == 0) { /* room doubles at each power of two */
        char **grown = realloc(names->name, (n ? 2 * n : 1) * sizeof *grown);

        if (!grown) return false;
        names->name = grown;
    }
    names->name[n] = strdup(name);
    if (!names->name[n]) return false;
    names->count++;
    return true;
}

ms_status ms_folder_list(ms_names *out, const char *path, ms_error *err)
{
    ms_names names = {0};
    ms_status s = MS_OK;
    DIR *dir = opendir(path);

    if (!dir) return ms_fail_errno(err, path, "cannot open the folder");
    for (struct dirent *e; (e = next_entry(dir));) {
        if (!add_name(&names, e->d_name)) {
            s = ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for the names in a folder");
            break;
        }
    }
    if (!s && errno) s = ms_fail_errno(err, path, "cannot read the folder");
    closedir(dir);
    if (s) {
        ms_names_free(&names);
        return s;
    }
    if (names.count) qsort(names.name, names.count, sizeof *names.name, compare_names);
    *out = names;
    return MS_OK;
}

void ms_names_free(ms_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->name[i]);
    free(names->name);
    *names = (ms_names){0};
}

static bool remove_at(int folder, const char *name);

/* Empties an open folder and closes it.  It is read again until nothing is left: what readdir does
 * with names that vanish meanwhile differs between file systems. */
static bool remove_inside(int fd)
{
    DIR *dir = fdopendir(fd);
    bool removed = true, any = true;
    int code;

    if (!dir) {
        close(fd);
        return false;
    }
    while (removed && any) {
        any = false;
        rewinddir(dir);
        for (struct dirent *e; removed && (e = next_entry(dir)); any = true)
            removed = remove_at(fd, e->d_name);
        if (removed && errno) removed = false;
    }
    code = errno;
    closedir(dir);
    errno = code;
    return removed;
}

/* Removes a name in an open folder, with what is in it; false with errno set.  Works by open
 * folders, not by paths: a symbolic link is removed, never followed, even one put there meanwhile.
 */
static bool remove_at(int folder, const char *name)
{
    int fd, code;

    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return true;
    if (errno != EISDIR && errno != EPERM) return false; /* EPERM is what POSIX has for a folder */
    code = errno;
    fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOTDIR) errno = code;
        return false;
    }
    return remove_inside(fd) && unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

ms_status ms_folder_remove(const char *path, ms_error *err)
{
    return remove_at(AT_FDCWD, path) ? MS_OK : ms_fail_errno(err, path, "cannot remove");
}

/* -- a second name --------------------------------------------------------------------------- */

static ms_status copy_file(const char *from, const char *to, ms_error *err)
{
    ms_map map;
    ms_writer *w = NULL;
    ms_status s;

    MS_TRY(ms_map_open(&map, from, err));
    s = ms_writer_open(&w, to, err);
    if (!s) {
        ms_writer_put(w, map.data, map.size_bytes);
        s = ms_writer_commit(w, err);
    }
    ms_map_close(&map);
    return s;
}

ms_status ms_file_publish(const char *from, const char *to, ms_error *err)
{
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof temp, "%s.tmp-link", to);

    if (n < 0 || (size_t)n >= sizeof temp)
        return ms_fail_at(err, MS_INPUT, to, -1, "the path is too long");
    unlink(temp);
    /* of a link the content, not the link */
    if (linkat(AT_FDCWD, from, AT_FDCWD, temp, AT_SYMLINK_FOLLOW)) return copy_file(from, to, err);
    if (rename(temp, to)) {
        ms_fail_errno(err, to, "cannot write");
        unlink(temp);
        return MS_IO;
    }
    unlink(temp); /* rename leaves both names when they are links to the same file */
    return MS_OK;
}
