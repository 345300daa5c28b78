/* status - texts of status codes, filling of errors, the assert of debug builds */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(ms_error *err, ms_status status, const char *path, int64_t offset)
{
    err->status = status;
    err->offset = offset;
    snprintf(err->path, sizeof err->path, "%s", path ? path : "");
}

/* Text of a file or a user may end up in a message: it must not end the line, nor reach a terminal
 * as a command. */
static void make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < ' ' || *c == 0x7f) *c = '?';
}

static void format_message(ms_error *err, const char *format, va_list list)
{
    vsnprintf(err->message, sizeof err->message, format, list);
    make_printable(err->message);
    make_printable(err->path);
}

ms_status ms_fail(ms_error *err, ms_status status, const char *format, ...)
{
    va_list list;

    if (!err) return status;
    fill(err, status, NULL, -1);
    va_start(list, format);
    format_message(err, format, list);
    va_end(list);
    return status;
}

ms_status ms_fail_at(ms_error *err, ms_status status, const char *path, int64_t offset,
                     const char *format, ...)
{
    va_list list;

    if (!err) return status;
    fill(err, status, path, offset);
    va_start(list, format);
    format_message(err, format, list);
    va_end(list);
    return status;
}

ms_status ms_fail_errno(ms_error *err, const char *path, const char *what)
{
    int code = errno;

    if (!err) return MS_IO;
    fill(err, MS_IO, path, -1);
    snprintf(err->message, sizeof err->message, "%s: %s", what, strerror(code));
    make_printable(err->message);
    make_printable(err->path);
    return MS_IO;
}

const char *ms_status_text(ms_status status)
{
    static const char *const text[] = {
#define MS_STATUS_TEXT(name, text) text,
        MS_STATUS_MAP(MS_STATUS_TEXT)
#undef MS_STATUS_TEXT
    };

    return (unsigned)status < MS_STATUS_COUNT ? text[status] : "unknown status";
}

void ms_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken contract: %s\n", file, line, cond);
    abort();
}
