/* tokenizer_gguf - the tokenizer inside a GGUF file */
#ifndef MS_TEXT_TOKENIZER_GGUF_H
#define MS_TEXT_TOKENIZER_GGUF_H

#include "formats/gguf.h"
#include "text/tokenizer.h"

/* MS_UNSUPPORTED for a kind or a pre-tokenizer that is not known. */
ms_status ms_tokenizer_from_gguf(ms_tokenizer **out, const ms_gguf *g, ms_error *err);
/* Adds the metadata, for a model of `vocab` rows (at least the tokenizer's; the rest are padding).
 * MS_UNSUPPORTED when llama.cpp could not split words as this tokenizer does. */
ms_status ms_tokenizer_to_gguf(const ms_tokenizer *t, int vocab, ms_gguf_head *h, ms_error *err);

#endif
