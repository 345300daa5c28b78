/* snapshot - a folder that appears complete or not at all, and a row of kept ones
 *
 *   PARENT/.tmp-step-000500/   files are written here, each synced, then the folder
 *   PARENT/step-000500/        renamed to this; PARENT synced
 *   PARENT/step-000500.new/    or to this where there is one of the same step: that is removed, and
 *                              this gets its name
 * At every instant the last complete snapshot is intact, whatever is killed. */
#ifndef MS_FORMATS_SNAPSHOT_H
#define MS_FORMATS_SNAPSHOT_H

#include "base/file.h"

/* Makes the temporary folder (removing a left-over of the same name); temp gets its path. */
ms_status ms_snapshot_begin(const char *parent, const char *name, char *temp, size_t temp_bytes,
                            ms_error *err);
/* Syncs, replaces PARENT/NAME, syncs the parent. */
ms_status ms_snapshot_commit(const char *parent, const char *name, ms_error *err);
void ms_snapshot_abort(const char *parent, const char *name);

/* The newest complete snapshot "step-NNNNNN" of a parent: its step and path; MS_INPUT when there is
 * none. */
ms_status ms_snapshot_last(const char *parent, long *step, char *path, size_t path_bytes,
                           ms_error *err);

/* Removes temporary folders and all but the newest `keep` snapshots. */
ms_status ms_snapshot_prune(const char *parent, int keep, ms_error *err);

#endif
