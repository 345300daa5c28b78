/* config - the shape and the options of one transformer; read from and written to config.json
 *
 * One parametrised block covers all presets (design.md section 3).  Letters as in ops.h. */
#ifndef MS_MODEL_CONFIG_H
#define MS_MODEL_CONFIG_H

#include "ops/ops.h"

#include <stdbool.h>

typedef enum { MS_POS_ROTARY, MS_POS_LEARNED, MS_POS_SINUSOIDAL } ms_positions;

/* How rotary frequencies are stretched (rope.h). */
typedef enum { MS_ROPE_PLAIN, MS_ROPE_LINEAR, MS_ROPE_LLAMA3, MS_ROPE_YARN } ms_rope_kind;
typedef struct {
    ms_rope_kind kind;
    double factor;
    int original;                /* context of the training before; llama3, yarn */
    double low_freq, high_freq;  /* llama3 */
    double beta_fast, beta_slow; /* yarn */
    double attention;            /* yarn: of cosines and sines; 0: by the paper */
} ms_rope_scaling;

typedef struct {
    char arch[16];       /* name of the preset family: "original", "gpt2", "llama", "mistral",
                               "qwen2", "qwen3", "nano" (arch.h) */
    int vocab;           /* V */
    int context;         /* longest sequence the model is made for */
    int layers;          /* L */
    int width;           /* C */
    int heads, kv_heads; /* H, K; K divides H */
    int head_dim;        /* D; C/H unless the file says otherwise */
    int ffn;             /* F */

    bool rms;          /* RMSNorm instead of LayerNorm */
    bool norm_weights; /* norms have w (and b unless rms) */
    bool
        post_norm; /* y = norm(x + f(x)); else y = x + f(norm(x)).  Both end with one final norm. */
    double norm_eps;
    ms_positions positions;
    double rope_theta; /* base of the rotary frequencies */
    ms_rope_scaling rope;
    ms_act act;   /* MS_ACT_SWIGLU: w_gate_up has 2F rows */
    bool qk_norm; /* RMS norm of each head of q and k */
    bool qkv_bias;
    bool bias; /* of wo, w_up and w_down */
    bool head_bias;
    bool tied;          /* the head is the embedding */
    double embed_scale; /* of the token embedding: sqrt(C) for sinusoidal positions, else 1 */

    int bos, eos; /* token ids; -1: none */
} ms_config;

/* MS_INPUT with the first field that does not fit, in one line. */
ms_status ms_config_check(const ms_config *c, ms_error *err);

/* Number of parameters (tied weights once). */
size_t ms_config_parameters(const ms_config *c);

/* Hugging Face config.json.  Architectures: arch.h.  Unknown model_type, unsupported rope_scaling
 * and the like: MS_UNSUPPORTED with the key's name; wrong types and absurd sizes: MS_FORMAT. */
ms_status ms_config_read(ms_config *out, const char *path, ms_error *err);
ms_status ms_config_parse(ms_config *out, const char *json, size_t size_bytes, const char *path,
                          ms_error *err);
ms_status ms_config_write(const ms_config *c, const char *path, ms_error *err);
/* The same, saying that weights are of a type (f32, f16, bf16). */
ms_status ms_config_write_as(const ms_config *c, ms_dtype type, const char *path, ms_error *err);

#endif
