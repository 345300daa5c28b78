/* source - raw text from files, folders, .jsonl, .zst and standard input, document by document */
#ifndef MS_DATA_SOURCE_H
#define MS_DATA_SOURCE_H

#include "base/status.h"

#include <stddef.h>

/* Called once a document; a text file is one document, a line of .jsonl (field "text") another.
 * text is lent for the call. */
typedef ms_status ms_document_fn(void *user, const char *text, size_t size_bytes, ms_error *err);

/* Visits each path in order ("-": standard input; folders recursively, sorted by name, hidden files
 * skipped; *.zst decompressed while reading, *.jsonl and *.jsonl.zst by line).  Fails with the path
 * for missing and unreadable ones, and with line and offset for bad JSON.  Empty documents are
 * skipped. */
ms_status ms_source_visit(const char *const *path, int paths, ms_document_fn *fn, void *user,
                          ms_error *err);

/* Whether "-" is among the paths: it can be visited once only. */
int ms_source_has_stdin(const char *const *path, int paths);

#endif
