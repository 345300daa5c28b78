/* tensors - the tensors of a model, in one file or several
 *
 *   FOLDER/model.safetensors, or FOLDER/model.safetensors.index.json and the files it names
 *   FILE.gguf
 * All stay mapped until closed. */
#ifndef MS_FORMATS_TENSORS_H
#define MS_FORMATS_TENSORS_H

#include "formats/gguf.h"
#include "formats/safetensors.h"

typedef struct ms_tensors ms_tensors;

ms_status ms_tensors_open_folder(ms_tensors **out, const char *folder, ms_error *err);
ms_status ms_tensors_open_safetensors(ms_tensors **out, const char *path, ms_error *err);
ms_status ms_tensors_open_gguf(ms_tensors **out, const char *path, ms_error *err);
void ms_tensors_close(ms_tensors *t); /* accepts NULL */

int ms_tensors_count(const ms_tensors *t);
const ms_st_entry *ms_tensors_at(const ms_tensors *t, int i);
const ms_st_entry *ms_tensors_find(const ms_tensors *t, const char *name);
/* The file that an entry is in; e NULL: the first. */
const char *ms_tensors_path(const ms_tensors *t, const ms_st_entry *e);
const ms_gguf *ms_tensors_gguf(const ms_tensors *t); /* NULL: safetensors */

#endif
