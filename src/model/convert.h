/* convert - a model on disk into another format or type, tensor by tensor */
#ifndef MS_MODEL_CONVERT_H
#define MS_MODEL_CONVERT_H

#include "formats/gguf.h"
#include "model/config.h"

/* Types that a folder can have: f32, f16, bf16; a GGUF file: those of ms_can_quantize.  Vectors and
 * learned positions of a GGUF file stay f32, its embedding and head are at least q8_0; a matrix
 * whose rows are no multiple of the block becomes q8_0, or f16.  What is read and written in the
 * same type and order is copied bit for bit. */
ms_status ms_convert_to_folder(const char *from, const char *folder, ms_dtype type, ms_error *err);
/* head holds what is not the model's: the tokenizer. */
ms_status ms_convert_to_gguf(const char *from, ms_gguf_head *head, const char *out, ms_dtype type,
                             ms_error *err);

#endif
