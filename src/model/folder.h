/* folder - a model as a Hugging Face folder (config.json, model.safetensors or its shards) or a
 * GGUF file */
#ifndef MS_MODEL_FOLDER_H
#define MS_MODEL_FOLDER_H

#include "model/model.h"

/* Opens a folder or a .gguf: every tensor of the list must be there with its shape; a tensor that
 * belongs to no list is an error that names it, except known buffers (rotary tables, attention
 * masks, a tied head).  On failure nothing is left.
 * load: all weights are converted to the device's type, to be trained.
 * open: for inference; matrices of smaller types stay mapped as the file has them, and are computed
 * on as they are (model.h, "stored"). */
ms_status ms_model_load(ms_model **out, ms_device *d, const char *path, ms_error *err);
ms_status ms_model_open(ms_model **out, ms_device *d, const char *path, ms_error *err);
bool ms_is_gguf(const char *path); /* by its name */

/* Writes both files into an existing folder, each replaced atomically; weights as f32. */
ms_status ms_model_save(ms_model *m, ms_queue *q, const char *folder, ms_error *err);

/* The same lists for other tensors of the model's layout (gradients, moments): entries are named
 * prefix + stored name.  Saving takes several lists into one file, as f32. */
ms_status ms_params_load(ms_params *p, const ms_config *c, ms_queue *q, const char *path,
                         const char *prefix, ms_error *err);
ms_status ms_params_save(ms_params *const *list, const char *const *prefix, int lists,
                         const ms_config *c, ms_queue *q, const char *path, ms_error *err);

#endif
