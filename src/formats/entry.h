/* entry - one tensor of a model file, whatever the format */
#ifndef MS_FORMATS_ENTRY_H
#define MS_FORMATS_ENTRY_H

#include "base/status.h"
#include "base/tensor.h"

/* rank 0 in a file (a scalar) is given as shape (1).  dim is in our order: the last one lies
 * contiguous (GGUF writes them the other way round). */
typedef struct {
    const char *name;
    ms_dtype dtype;
    int rank;
    int dim[MS_MAX_RANK];
    const void *data; /* in the mapping (reader), or what to write (writer); may be unaligned
                         in a file of strangers: read through memcpy */
    size_t size_bytes;
} ms_st_entry;

/* Writes entry i's size_bytes to the buffer: so a writer needs no second copy of a model. */
typedef ms_status ms_st_fill(void *user, int i, void *buffer, ms_error *err);

#endif
