/* source - visits documents of files, folders, .jsonl, .zst and standard input */
#include "data/source.h"

#include "base/file.h"
#include "base/json.h"
#include "base/tensor.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { PATH_BYTES = 4096, DEPTH_MAX = 64 };

/* -- a growing text -------------------------------------------------------------------------- */

typedef struct {
    char *data;
    size_t size_bytes, room_bytes;
} text;

static ms_status reserve(text *t, size_t more, ms_error *err)
{
    size_t need, room;
    char *grown;

    if (!ms_size_add(t->size_bytes, more, &need) || need > SIZE_MAX / 2)
        return ms_fail(err, MS_MEMORY, "a document is too large");
    if (need <= t->room_bytes) return MS_OK;
    room = t->room_bytes ? t->room_bytes : 1 << 16;
    while (room < need) room *= 2;
    grown = realloc(t->data, room);
    if (!grown) return ms_fail(err, MS_MEMORY, "out of memory for a document of %zu bytes", need);
    t->data = grown;
    t->room_bytes = room;
    return MS_OK;
}

static ms_status append(text *t, const char *data, size_t size, ms_error *err)
{
    MS_TRY(reserve(t, size, err));
    if (size > 0) memcpy(t->data + t->size_bytes, data, size);
    t->size_bytes += size;
    return MS_OK;
}

/* -- a stream of bytes becomes documents ------------------------------------------------------- */

/* Takes bytes piece by piece; a whole file is one document, or each line of .jsonl is one. */
typedef struct {
    ms_document_fn *fn;
    void *user;
    const char *path;
    bool lines;
    int64_t line;   /* lines done */
    int64_t offset; /* bytes of the stream done */
    text pending;   /* of the document or line that is not complete */
} splitter;

/* Errors of the callback are about this source when they name none. */
static ms_status give(splitter *s, const char *data, size_t size, ms_error *err)
{
    ms_status status;

    if (size == 0) return MS_OK;
    status = s->fn(s->user, data, size, err);
    if (status && err && !err->path[0]) {
        snprintf(err->path, sizeof err->path, "%s", s->path);
        if (err->offset >= 0 && s->lines) err->offset = s->offset;
    }
    return status;
}

/* A NUL byte, or one as \\u0000 whose backslash is none that another one escapes. */
static bool has_nul(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 0) return true;
        if (data[i] != '\\') continue;
        if (size - i >= 6 && !memcmp(data + i, "\\u0000", 6)) return true;
        i++;
    }
    return false;
}

static ms_status give_line(splitter *s, const char *data, size_t size, ms_error *err)
{
    const char *value;
    cJSON *o;
    ms_error why;
    ms_status status;
    size_t blank = 0;

    s->line++;
    while (blank < size && strchr(" \t\r", data[blank])) blank++;
    if (blank == size) return MS_OK;
    if (has_nul(data, size))
        return ms_fail_at(err, MS_FORMAT, s->path, s->offset,
                          "line %lld holds a NUL character, which text cannot", (long long)s->line);
    status = ms_json_parse(&o, data, size, s->path, &why);
    if (status)
        return ms_fail_at(err, status, s->path, s->offset + (why.offset > 0 ? why.offset : 0),
                          "line %lld %s", (long long)s->line, why.message);
    value = ms_json_text(o, "text");
    if (!value)
        status = ms_fail_at(err, MS_FORMAT, s->path, s->offset, "line %lld has no string \"text\"",
                            (long long)s->line);
    else
        status = give(s, value, strlen(value), err);
    cJSON_Delete(o);
    return status;
}

static ms_status feed(splitter *s, const char *data, size_t size, ms_error *err)
{
    while (s->lines && size > 0) {
        const char *newline = memchr(data, '\n', size);
        size_t length = newline ? (size_t)(newline - data) : size;

        MS_TRY(append(&s->pending, data, length, err));
        if (!newline) return MS_OK;
        MS_TRY(give_line(s, s->pending.data, s->pending.size_bytes, err));
        s->offset += (int64_t)s->pending.size_bytes + 1;
        s->pending.size_bytes = 0;
        data += length + 1;
        size -= length + 1;
    }
    return size ? append(&s->pending, data, size, err) : MS_OK;
}

static ms_status finish(splitter *s, ms_error *err)
{
    if (s->pending.size_bytes == 0) return MS_OK;
    if (s->lines) return give_line(s, s->pending.data, s->pending.size_bytes, err);
    return give(s, s->pending.data, s->pending.size_bytes, err);
}

/* -- files ----------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && !strcmp(name + n - m, suffix);
}

/* Frames one behind the other, as zstd writes and concatenates them. */
static ms_status feed_zstd(splitter *s, const ms_map *map, ms_error *err)
{
    size_t room = ZSTD_DStreamOutSize(), left = 1;
    char *piece = malloc(room);
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {map->data, map->size_bytes, 0};
    ms_status status = MS_OK;

    if (!piece || !stream)
        status = ms_fail_at(err, MS_MEMORY, s->path, -1, "out of memory for zstd");
    if (stream) ZSTD_initDStream(stream);
    while (!status) {
        ZSTD_outBuffer out = {piece, room, 0};

        left = ZSTD_decompressStream(stream, &out, &in);
        if (ZSTD_isError(left)) {
            status = ms_fail_at(err, MS_FORMAT, s->path, (int64_t)in.pos, "zstd: %s",
                                ZSTD_getErrorName(left));
            break;
        }
        status = feed(s, piece, out.pos, err);
        if (in.pos == in.size && (left == 0 || out.pos < room)) break;
    }
    if (!status && left != 0)
        status = ms_fail_at(err, MS_FORMAT, s->path, (int64_t)in.pos, "zstd: the file is cut off");
    ZSTD_freeDStream(stream);
    free(piece);
    return status;
}

static ms_status visit_file(const char *path, ms_document_fn *fn, void *user, ms_error *err)
{
    splitter s = {.fn = fn, .user = user, .path = path};
    bool packed = ends_with(path, ".zst");
    ms_map map;
    ms_status status;

    s.lines = ends_with(path, ".jsonl") || ends_with(path, ".jsonl.zst");
    MS_TRY(ms_map_open(&map, path, err));
    if (packed)
        status = feed_zstd(&s, &map, err);
    else if (s.lines)
        status = feed(&s, (const char *)map.data, map.size_bytes, err);
    else
        status = give(&s, (const char *)map.data, map.size_bytes, err); /* no copy */
    if (!status) status = finish(&s, err);
    free(s.pending.data);
    ms_map_close(&map);
    return status;
}

static ms_status visit_stdin(ms_document_fn *fn, void *user, ms_error *err)
{
    splitter s = {.fn = fn, .user = user, .path = "standard input"};
    ms_status status = MS_OK;

    while (!status) {
        ssize_t n;

        status = reserve(&s.pending, 1 << 16, err);
        if (status) break;
        n = read(STDIN_FILENO, s.pending.data + s.pending.size_bytes, 1 << 16);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = ms_fail_errno(err, s.path, "cannot read");
        if (n <= 0) break;
        s.pending.size_bytes += (size_t)n;
    }
    if (!status) status = finish(&s, err);
    free(s.pending.data);
    return status;
}

static ms_status visit_path(const char *path, int depth, ms_document_fn *fn, void *user,
                            ms_error *err)
{
    ms_names names;
    ms_status s = MS_OK;

    if (!ms_path_is_folder(path)) return visit_file(path, fn, user, err);
    if (depth == DEPTH_MAX)
        return ms_fail_at(err, MS_INPUT, path, -1, "folders are nested more than %d deep",
                          DEPTH_MAX);
    MS_TRY(ms_folder_list(&names, path, err));
    for (size_t i = 0; i < names.count && !s; i++) {
        char child[PATH_BYTES];

        if (names.name[i][0] == '.') continue;
        s = ms_path_join(child, sizeof child, path, names.name[i], err);
        if (!s) s = visit_path(child, depth + 1, fn, user, err);
    }
    ms_names_free(&names);
    return s;
}

ms_status ms_source_visit(const char *const *path, int paths, ms_document_fn *fn, void *user,
                          ms_error *err)
{
    for (int i = 0; i < paths; i++) {
        if (!strcmp(path[i], "-"))
            MS_TRY(visit_stdin(fn, user, err));
        else
            MS_TRY(visit_path(path[i], 0, fn, user, err));
    }
    return MS_OK;
}

int ms_source_has_stdin(const char *const *path, int paths)
{
    for (int i = 0; i < paths; i++)
        if (!strcmp(path[i], "-")) return 1;
    return 0;
}
