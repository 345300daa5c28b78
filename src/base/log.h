/* log - the library never prints: it calls this */
#ifndef MS_BASE_LOG_H
#define MS_BASE_LOG_H

#include "base/status.h"

typedef struct {
    void (*fn)(void *data, const char *line); /* NULL: silent.  line has no newline. */
    void *data;
} ms_log;

void ms_log_line(const ms_log *log, const char *format, ...) MS_PRINTF(2, 3);

#endif
