/* safetensors - named tensors in one file, mapped for reading, written atomically
 *
 *   | n: u64 LE | header: n bytes of JSON, space-padded to 8 | data ...               |
 *   header: { "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
 *             "__metadata__": {"key": "value"} }       offsets count from the end of the header
 * Source: the format description of huggingface/safetensors. */
#ifndef MS_FORMATS_SAFETENSORS_H
#define MS_FORMATS_SAFETENSORS_H

#include "base/file.h"
#include "base/tensor.h"
#include "formats/entry.h"

typedef struct ms_safetensors ms_safetensors;

/* Types F64 F32 BF16 F16 I32 U8; others are refused.
 * Checks everything: header length, JSON, depth, each dtype, shape product, offsets inside the
 * file, no overlap, no gap, no duplicate names.  One line names the tensor, both numbers and the
 * offset. */
ms_status ms_safetensors_open(ms_safetensors **out, const char *path, ms_error *err);
void ms_safetensors_close(ms_safetensors *s);
int ms_safetensors_count(const ms_safetensors *s);
const ms_st_entry *ms_safetensors_at(const ms_safetensors *s, int i); /* in order of the file */
const ms_st_entry *ms_safetensors_find(const ms_safetensors *s, const char *name);
const char *ms_safetensors_path(const ms_safetensors *s);
const char *ms_safetensors_metadata(const ms_safetensors *s, const char *key); /* NULL: none */

/* Streams: data comes from fill, or with fill NULL from the entries.  metadata: pairs key, value,
 * ..., NULL; may be NULL. */
ms_status ms_safetensors_write(const char *path, const ms_st_entry *entry, int count,
                               const char *const *metadata, ms_st_fill *fill, void *user,
                               ms_error *err);

#endif
