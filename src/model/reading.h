/* reading - binds the tensors of a file to the parameters of a family; private to model/ */
#ifndef MS_MODEL_READING_H
#define MS_MODEL_READING_H

#include "formats/tensors.h"
#include "model/arch.h"
#include "model/model.h"

/* The entry of a stored name (which GGUF calls otherwise); NULL: it is not there. */
const ms_st_entry *ms_reading_find(const ms_tensors *file, const char *prefix, const char *name);

/* Whether the file has it as (columns, rows): gpt2's weights, but for GGUF. */
bool ms_reading_transposed(const ms_tensors *file, const ms_stored *s);

/* llama's GGUF lists the rows of a head in pairs (0, D/2, 1, D/2 + 1, ...): where row i is. */
int ms_gguf_row(const ms_config *c, const ms_stored *s, int i);
/* The same in this file. */
int ms_reading_row(const ms_tensors *file, const ms_config *c, const ms_stored *s, int i);

/* Bytes of a row of an entry. */
size_t ms_reading_row_bytes(const ms_st_entry *e);

/* Every tensor of the list is there and has its shape; *used counts them.  p may be a plan. */
ms_status ms_reading_check_list(ms_params *p, const ms_config *c, const ms_tensors *file,
                                const char *prefix, int *used, ms_error *err);
/* What the configuration claims is in the file, and nothing else: looked at before memory is taken
 * for it. */
ms_status ms_reading_check(ms_params *plan, const ms_config *c, const ms_tensors *file,
                           ms_error *err);

/* Converts an entry to the part of a parameter that it holds, row by row. */
ms_status ms_reading_part(ms_queue *q, const ms_config *c, const ms_tensors *file,
                          const ms_st_entry *e, const ms_stored *s, ms_error *err);
/* The same of a list that has been checked. */
ms_status ms_reading_list(ms_params *p, const ms_config *c, ms_queue *q, const ms_tensors *file,
                          const char *prefix, ms_error *err);

/* Opens a folder or a GGUF file: its tensors (to be closed) and configuration. */
ms_status ms_reading_open(ms_tensors **file, ms_config *c, const char *path, ms_error *err);

#endif
