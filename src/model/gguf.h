/* gguf - what llama.cpp calls the parts of a model: configuration and tensor names, both ways */
#ifndef MS_MODEL_GGUF_H
#define MS_MODEL_GGUF_H

#include "formats/gguf.h"
#include "model/config.h"

/* The configuration in a file's metadata; MS_UNSUPPORTED for a family or an option that is not
 * computed here. */
ms_status ms_config_from_gguf(ms_config *out, const ms_gguf *g, ms_error *err);
/* Adds the metadata of a configuration; MS_UNSUPPORTED for a family that GGUF does not have. */
ms_status ms_config_to_gguf(const ms_config *c, ms_gguf_head *h, ms_error *err);

/* "model.layers.3.mlp.up_proj.weight" as "blk.3.ffn_up.weight"; false: it has no such name. */
bool ms_gguf_tensor_name(const char *name, char out[96]);

#endif
