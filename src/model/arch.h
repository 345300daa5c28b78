/* arch - the families of models: presets, and the names of their tensors on disk; no computation */
#ifndef MS_MODEL_ARCH_H
#define MS_MODEL_ARCH_H

#include "model/config.h"
#include "model/params.h"

/* One stored tensor and the part of a parameter that it holds. */
typedef struct {
    char name[96];    /* as in model.safetensors */
    ms_tensor *whole; /* the parameter, of which */
    int first;        /* row of it where */
    ms_tensor part;   /* these rows begin; (rows, cols) or (n) */
    bool transposed;  /* stored as (cols, rows): the Conv1D weights of gpt2 */
    int heads;        /* above 0: q or k of rotary positions, for llama's order of rows in GGUF */
} ms_stored;

typedef struct {
    const char *name;             /* "llama" */
    const char *about;            /* one line */
    const char *model_type;       /* of config.json; "minstrel" for original and nano */
    void (*preset)(ms_config *c); /* options and a small default shape; vocab 0 */
    /* The i-th stored tensor of p in the order of the file; false past the end. */
    bool (*stored)(const ms_config *c, ms_params *p, int i, ms_stored *out);
    const char *gguf; /* general.architecture; NULL: GGUF has no such family */
} ms_arch;

/* By preset name (also "smollm", an alias of llama); NULL when unknown. */
const ms_arch *ms_arch_find(const char *name);
const ms_arch *ms_arch_at(int i); /* NULL past the end */

/* Fills *c with the preset, then derives head_dim, kv_heads, embed_scale from the shape. */
ms_status ms_config_preset(ms_config *c, const char *preset, ms_error *err);
/* Fills what is 0 among kv_heads, head_dim and ffn from the rest, and embed_scale. */
void ms_config_derive(ms_config *c);
/* Replaces the shape by those fields of wanted that are above 0 (vocab, context, layers, width,
 * heads, kv_heads, head_dim, ffn).  What depends on them and is not wanted itself follows: kv_heads
 * keeps its ratio to heads, head_dim is width / heads, ffn its ratio to width. */
void ms_config_reshape(ms_config *c, const ms_config *wanted);

#endif
