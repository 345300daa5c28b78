/* minstrel_internal - what the files of the public API share */
#ifndef MS_MINSTREL_INTERNAL_H
#define MS_MINSTREL_INTERNAL_H

#include "base/log.h"
#include "minstrel.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

struct minstrel_model {
    ms_device *device;
    ms_model *model;
    ms_tokenizer *tokenizer;
    bool lent; /* device, model and tokenizer belong to a trainer */
};

/* Hands an error to the caller: *err (may be NULL) is filled unless status is MS_OK. */
minstrel_status ms_give(minstrel_error *err, ms_status status, const ms_error *e);

/* Copies a struct of options, whose first field is its size, over one that holds the defaults: as
 * much of it as the caller's version of the header had.  given NULL: the defaults stay. */
void ms_options_copy(void *defaults, const void *given, size_t size_bytes);

/* The device of the options; NULL: the defaults. */
ms_status ms_open_device(ms_device **out, const minstrel_options *o, ms_error *err);
ms_log ms_log_of(const minstrel_options *o);

/* Whether "f32" or "bf16" names bf16; other names: MS_INPUT. */
ms_status ms_products_bf16(const char *dtype, bool *out, ms_error *err);

/* A tokenizer.json, or that of a model folder or a GGUF file. */
ms_status ms_open_tokenizer(ms_tokenizer **out, const char *path, ms_error *err);

/* A preset under a wanted shape; the vocabulary stays 0 unless wanted. */
ms_status ms_shaped_preset(ms_config *out, const char *preset, const minstrel_shape *wanted,
                           ms_error *err);

/* The fields of a wanted shape as a configuration; 0: not wanted. */
ms_config ms_wanted_config(const minstrel_shape *wanted);

minstrel_evaluation ms_public_evaluation(const ms_evaluation *e);

#endif
