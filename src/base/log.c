/* log - formats a line for the caller's callback */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void ms_log_line(const ms_log *log, const char *format, ...)
{
    char line[1024];
    va_list list;

    if (!log || !log->fn) return;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    log->fn(log->data, line);
}
