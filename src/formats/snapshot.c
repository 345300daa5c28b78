/* snapshot - write aside, sync, rename, sync */
#include "formats/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMP_PREFIX ".tmp-"
#define NAME_PREFIX "step-"

enum { PATH_BYTES = 4096 };

static ms_status temp_path(char *out, size_t out_bytes, const char *parent, const char *name,
                           ms_error *err)
{
    char temp[256];

    snprintf(temp, sizeof temp, TEMP_PREFIX "%s", name);
    return ms_path_join(out, out_bytes, parent, temp, err);
}

ms_status ms_snapshot_begin(const char *parent, const char *name, char *temp, size_t temp_bytes,
                            ms_error *err)
{
    MS_TRY(temp_path(temp, temp_bytes, parent, name, err));
    MS_TRY(ms_folder_make(parent, err));
    MS_TRY(ms_folder_remove(temp, err));
    return ms_folder_make(temp, err);
}

ms_status ms_snapshot_commit(const char *parent, const char *name, ms_error *err)
{
    char temp[PATH_BYTES], final[PATH_BYTES], old[PATH_BYTES];

    MS_TRY(temp_path(temp, sizeof temp, parent, name, err));
    MS_TRY(ms_path_join(final, sizeof final, parent, name, err));
    MS_TRY(ms_path_join(old, sizeof old, parent, TEMP_PREFIX "old", err));
    MS_TRY(ms_folder_sync(temp, err));
    if (ms_path_exists(final)) { /* a folder cannot be renamed over a full one */
        MS_TRY(ms_folder_remove(old, err));
        if (rename(final, old)) return ms_fail_errno(err, final, "cannot replace");
    }
    if (rename(temp, final)) return ms_fail_errno(err, final, "cannot write");
    MS_TRY(ms_folder_sync(parent, err));
    return ms_folder_remove(old, err);
}

void ms_snapshot_abort(const char *parent, const char *name)
{
    char temp[PATH_BYTES];

    if (!temp_path(temp, sizeof temp, parent, name, NULL)) ms_folder_remove(temp, NULL);
}

/* The step of "step-NNNNNN"; -1 for other names. */
static long step_of(const char *name)
{
    char *end;
    long step;

    if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0) return -1;
    name += strlen(NAME_PREFIX);
    if (*name < '0' || *name > '9') return -1;
    step = strtol(name, &end, 10);
    return *end ? -1 : step;
}

ms_status ms_snapshot_last(const char *parent, long *step, char *path, size_t path_bytes,
                           ms_error *err)
{
    ms_names names = {0};
    const char *best = NULL;
    ms_status s;

    *step = -1;
    if (!ms_path_is_folder(parent))
        return ms_fail_at(err, MS_INPUT, parent, -1, "there is no checkpoint here");
    MS_TRY(ms_folder_list(&names, parent, err));
    for (size_t i = 0; i < names.count; i++)
        if (step_of(names.name[i]) > *step) {
            *step = step_of(names.name[i]);
            best = names.name[i];
        }
    s = best ? ms_path_join(path, path_bytes, parent, best, err)
             : ms_fail_at(err, MS_INPUT, parent, -1, "there is no checkpoint here");
    ms_names_free(&names);
    return s;
}

static int compare_steps(const void *a, const void *b)
{
    long x = step_of(*(char *const *)a), y = step_of(*(char *const *)b);

    return x < y ? -1 : x > y;
}

ms_status ms_snapshot_prune(const char *parent, int keep, ms_error *err)
{
    ms_names names = {0};
    size_t snapshots = 0, seen = 0;
    ms_status s = MS_OK;

    MS_TRY(ms_folder_list(&names, parent, err));
    for (size_t i = 0; i < names.count; i++) snapshots += step_of(names.name[i]) >= 0;
    if (names.count) qsort(names.name, names.count, sizeof *names.name, compare_steps);
    for (size_t i = 0; i < names.count && !s; i++) {
        char path[PATH_BYTES];
        bool temp = strncmp(names.name[i], TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0;
        bool old = step_of(names.name[i]) >= 0 && seen++ + (size_t)keep < snapshots;

        if (!temp && !old) continue;
        s = ms_path_join(path, sizeof path, parent, names.name[i], err);
        if (!s) s = ms_folder_remove(path, err);
    }
    ms_names_free(&names);
    return s;
}
