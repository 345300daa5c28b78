/* snapshot - write aside, sync, rename, sync */
#include "formats/snapshot.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMP_PREFIX ".tmp-"
#define NAME_PREFIX "step-"

#define NEW_SUFFIX ".new" /* of a snapshot that takes the place of one of the same name */

enum { PATH_BYTES = 4096 };

static ms_status temp_path(char *out, size_t out_bytes, const char *parent, const char *name,
                           ms_error *err)
{
    char temp[256];

    snprintf(temp, sizeof temp, TEMP_PREFIX "%s", name);
    return ms_path_join(out, out_bytes, parent, temp, err);
}

static ms_status new_path(char *out, size_t out_bytes, const char *parent, const char *name,
                          ms_error *err)
{
    char full[256];

    snprintf(full, sizeof full, "%s" NEW_SUFFIX, name);
    return ms_path_join(out, out_bytes, parent, full, err);
}

/* Ends a replacement: NAME.new, when it is there, becomes NAME. */
static ms_status settle(const char *parent, const char *name, ms_error *err)
{
    char final[PATH_BYTES], new[PATH_BYTES];

    MS_TRY(ms_path_join(final, sizeof final, parent, name, err));
    MS_TRY(new_path(new, sizeof new, parent, name, err));
    if (!ms_path_exists(new)) return MS_OK;
    MS_TRY(ms_folder_remove(final, err));
    if (rename(new, final)) return ms_fail_errno(err, final, "cannot replace");
    return ms_folder_sync(parent, err);
}

ms_status ms_snapshot_begin(const char *parent, const char *name, char *temp, size_t temp_bytes,
                            ms_error *err)
{
    MS_TRY(temp_path(temp, temp_bytes, parent, name, err));
    MS_TRY(ms_folder_make(parent, err));
    MS_TRY(settle(parent, name, err));
    MS_TRY(ms_folder_remove(temp, err));
    return ms_folder_make(temp, err);
}

ms_status ms_snapshot_commit(const char *parent, const char *name, ms_error *err)
{
    char temp[PATH_BYTES], final[PATH_BYTES], new[PATH_BYTES];
    const char *to;

    MS_TRY(temp_path(temp, sizeof temp, parent, name, err));
    MS_TRY(ms_path_join(final, sizeof final, parent, name, err));
    MS_TRY(new_path(new, sizeof new, parent, name, err));
    MS_TRY(ms_folder_sync(temp, err));
    to = ms_path_exists(final) ? new : final; /* a folder cannot be renamed over a full one */
    if (rename(temp, to)) return ms_fail_errno(err, to, "cannot write");
    MS_TRY(ms_folder_sync(parent, err));
    return settle(parent, name, err);
}

void ms_snapshot_abort(const char *parent, const char *name)
{
    char temp[PATH_BYTES];

    if (!temp_path(temp, sizeof temp, parent, name, NULL)) ms_folder_remove(temp, NULL);
}

/* A number that orders snapshots: twice the step of "step-NNNNNN", one more for "step-NNNNNN.new";
 * -1 for other names. */
static long rank_of(const char *name)
{
    char *end;
    long step;

    if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0) return -1;
    name += strlen(NAME_PREFIX);
    if (*name < '0' || *name > '9') return -1;
    step = strtol(name, &end, 10);
    if (step > LONG_MAX / 2 - 1) return -1;
    if (!*end) return 2 * step;
    return strcmp(end, NEW_SUFFIX) ? -1 : 2 * step + 1;
}

ms_status ms_snapshot_last(const char *parent, long *step, char *path, size_t path_bytes,
                           ms_error *err)
{
    ms_names names = {0};
    const char *best = NULL;
    long highest = -1;
    ms_status s;

    if (!ms_path_is_folder(parent))
        return ms_fail_at(err, MS_INPUT, parent, -1, "there is no checkpoint here");
    MS_TRY(ms_folder_list(&names, parent, err));
    for (size_t i = 0; i < names.count; i++)
        if (rank_of(names.name[i]) > highest) {
            highest = rank_of(names.name[i]);
            best = names.name[i];
        }
    *step = best ? highest / 2 : -1;
    s = best ? ms_path_join(path, path_bytes, parent, best, err)
             : ms_fail_at(err, MS_INPUT, parent, -1, "there is no checkpoint here");
    ms_names_free(&names);
    return s;
}

static int compare_ranks(const void *a, const void *b)
{
    long x = rank_of(*(char *const *)a), y = rank_of(*(char *const *)b);

    return x < y ? -1 : x > y;
}

/* Whether the snapshot at i of a sorted list is there for NAME.new to replace. */
static bool replaced(const ms_names *names, size_t i)
{
    return i + 1 < names->count && rank_of(names->name[i]) % 2 == 0 &&
           rank_of(names->name[i + 1]) == rank_of(names->name[i]) + 1;
}

ms_status ms_snapshot_prune(const char *parent, int keep, ms_error *err)
{
    ms_names names = {0};
    size_t snapshots = 0, seen = 0;
    ms_status s = MS_OK;

    MS_TRY(ms_folder_list(&names, parent, err));
    if (names.count) qsort(names.name, names.count, sizeof *names.name, compare_ranks);
    for (size_t i = 0; i < names.count; i++)
        snapshots += rank_of(names.name[i]) >= 0 && !replaced(&names, i);
    for (size_t i = 0; i < names.count && !s; i++) {
        char path[PATH_BYTES];
        bool snapshot = rank_of(names.name[i]) >= 0, last = replaced(&names, i);
        bool temp = strncmp(names.name[i], TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0;

        if (snapshot && !last) last = seen++ + (size_t)keep < snapshots;
        if (!temp && !last) continue;
        s = ms_path_join(path, sizeof path, parent, names.name[i], err);
        if (!s) s = ms_folder_remove(path, err);
    }
    ms_names_free(&names);
    return s;
}
