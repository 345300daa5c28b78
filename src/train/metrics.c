/* metrics - RUN/metrics.jsonl: one line an event, appended in one write, never rewritten */
#include "train/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NUMBER_BYTES = 32 };

static ms_status append(const char *run, const char *line, ms_error *err)
{
    char path[MS_RUN_PATH_BYTES];
    size_t length = strlen(line);
    ssize_t n;
    int fd;

    MS_TRY(ms_path_join(path, sizeof path, run, "metrics.jsonl", err));
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return ms_fail_errno(err, path, "cannot open");
    do n = write(fd, line, length);
    while (n < 0 && errno == EINTR);
    if (n >= 0 && (size_t)n < length) errno = ENOSPC, n = -1;
    if (n < 0) ms_fail_errno(err, path, "cannot write");
    close(fd);
    return n < 0 ? MS_IO : MS_OK;
}

/* A line that a kill cut off gets its newline, so that the next one stands alone. */
static ms_status close_torn_line(const char *run, ms_error *err)
{
    char path[MS_RUN_PATH_BYTES];
    ms_map map;
    bool torn;

    MS_TRY(ms_path_join(path, sizeof path, run, "metrics.jsonl", err));
    if (!ms_path_exists(path)) return MS_OK;
    MS_TRY(ms_map_open(&map, path, err));
    torn = map.size_bytes > 0 && map.data[map.size_bytes - 1] != '\n';
    ms_map_close(&map);
    return torn ? append(run, "\n", err) : MS_OK;
}

ms_status ms_metrics_resume(const char *run, int64_t step, ms_error *err)
{
    char line[80];

    MS_TRY(close_torn_line(run, err));
    snprintf(line, sizeof line, "{\"event\":\"resume\",\"step\":%lld}\n", (long long)step);
    return append(run, line, err);
}

/* JSON has no nan and no inf. */
static const char *number(char out[NUMBER_BYTES], double value)
{
    snprintf(out, NUMBER_BYTES, isfinite(value) ? "%.9g" : "null", value);
    return out;
}

ms_status ms_metrics_step(const char *run, const ms_progress *p, ms_error *err)
{
    char line[256];

    snprintf(line, sizeof line,
             "{\"step\":%lld,\"loss\":%.9g,\"lr\":%.9g,\"grad_norm\":%.9g,\"tokens\":%llu,"
             "\"tokens_per_s\":%.1f,\"seconds\":%.3f}\n",
             (long long)p->step, p->loss, p->lr, p->grad_norm, (unsigned long long)p->tokens,
             p->tokens_per_s, p->seconds);
    return append(run, line, err);
}

ms_status ms_metrics_evaluation(const char *run, int64_t step, const ms_evaluation *e,
                                ms_error *err)
{
    char line[160], loss[NUMBER_BYTES], bits[NUMBER_BYTES];

    snprintf(line, sizeof line,
             "{\"event\":\"evaluation\",\"step\":%lld,\"held_out_loss\":%s,\"bits_per_byte\":%s}\n",
             (long long)step, number(loss, e->loss), number(bits, e->bits_per_byte));
    return append(run, line, err);
}
