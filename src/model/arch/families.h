/* families - what the files of this folder give, and the helper they share; private to model/ */
#ifndef MS_MODEL_ARCH_FAMILIES_H
#define MS_MODEL_ARCH_FAMILIES_H

#include "model/arch.h"

extern const ms_arch ms_arch_original, ms_arch_gpt2, ms_arch_llama, ms_arch_mistral, ms_arch_qwen2,
    ms_arch_qwen3, ms_arch_nano;

/* Counts down to the wanted stored tensor of a list that is walked from its start. */
typedef struct {
    int left; /* how many present ones come before it */
    ms_stored *out;
} ms_stored_pick;

/* True when this is the wanted one: *out is filled.  An absent part is passed over.
 * name: a format with one %d for the layer (ignored when it has none). */
bool ms_stored_take(ms_stored_pick *pick, const char *name, int layer, ms_tensor *whole);
/* The same of `rows` rows from `first` on. */
bool ms_stored_rows(ms_stored_pick *pick, const char *name, int layer, ms_tensor *whole, int first,
                    int rows);

/* The list of the llama-like families: names of Hugging Face's LlamaForCausalLM and its kin, with
 * every bias that a config may ask for. */
bool ms_stored_llama(const ms_config *c, ms_params *p, int i, ms_stored *out);

#endif
