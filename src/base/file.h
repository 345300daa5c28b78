/* file - whole files: mapped for reading, replaced atomically for writing */
#ifndef MS_BASE_FILE_H
#define MS_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data; /* read-only; NULL when size is 0 */
    size_t size_bytes;
} ms_map;

ms_status ms_map_open(ms_map *out, const char *path, ms_error *err);
void ms_map_close(ms_map *map); /* accepts a zeroed one */

/* Part of a mapped file that is hardly needed any more: its pages leave memory, and come again when
 * they are read. */
void ms_map_forget(const void *data, size_t size_bytes);

/* Memory of the machine; 0: unknown. */
size_t ms_memory_bytes(void);

/* A file that appears under its name only when complete: written to "NAME.tmp-XXXXXX" beside it,
 * synced, renamed, the folder synced.  Until commit the old file is untouched; abort removes the
 * temporary one.  Write errors stick and are reported by commit. */
typedef struct ms_writer ms_writer;
ms_status ms_writer_open(ms_writer **out, const char *path, ms_error *err);
void ms_writer_put(ms_writer *w, const void *data, size_t size_bytes);
ms_status ms_writer_commit(ms_writer *w, ms_error *err); /* frees w in every case */
void ms_writer_abort(ms_writer *w);                      /* frees w; accepts NULL */

ms_status ms_file_write(const char *path, const void *data, size_t size_bytes, ms_error *err);

/* The whole file plus a terminating 0, from malloc; limit_bytes refuses larger files. */
ms_status ms_file_read(char **out, size_t *size_bytes, const char *path, size_t limit_bytes,
                       ms_error *err);

bool ms_path_exists(const char *path);
bool ms_path_is_folder(const char *path);
ms_status ms_folder_make(const char *path, ms_error *err); /* with parents; existing is fine */
ms_status ms_folder_sync(const char *path, ms_error *err);
ms_status ms_folder_remove(const char *path, ms_error *err); /* recursively; missing is fine */

/* Names in a folder (without . and ..), sorted by bytes.  Free with ms_names_free. */
typedef struct {
    char **name;
    size_t count;
} ms_names;
ms_status ms_folder_list(ms_names *out, const char *path, ms_error *err);
void ms_names_free(ms_names *names);

/* Makes to a second name of from's content, replacing to atomically: hard link, or a copy where
 * the file system has none. */
ms_status ms_file_publish(const char *from, const char *to, ms_error *err);

/* "a/b" into a buffer; MS_INPUT when it does not fit. */
ms_status ms_path_join(char *out, size_t out_bytes, const char *a, const char *b, ms_error *err);

#endif
