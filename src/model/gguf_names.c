/* gguf_names - tensors of Hugging Face's lists by the names of llama.cpp */
#include "model/gguf.h"

#include <stdio.h>
#include <string.h>

/* Without ".weight" and ".bias", which stay. */
static const struct {
    const char *name, *gguf;
} top[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"transformer.wte", "token_embd"},
    {"transformer.wpe", "position_embd"},
    {"transformer.ln_f", "output_norm"},
};
static const struct {
    const char *name, *gguf;
} inside[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"ln_1", "attn_norm"},
    {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"},
    {"ln_2", "ffn_norm"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
};

static bool is(const char *stem, const char *name, size_t length)
{
    return strlen(stem) == length && !memcmp(stem, name, length);
}

bool ms_gguf_tensor_name(const char *name, char out[96])
{
    const char *end = strrchr(name, '.');
    int layer, used = 0;
    size_t length;

    if (!end) return false;
    length = (size_t)(end - name);
    for (size_t i = 0; i < sizeof top / sizeof *top; i++)
        if (is(top[i].name, name, length)) {
            snprintf(out, 96, "%s%s", top[i].gguf, end);
            return true;
        }
    if (sscanf(name, "model.layers.%d.%n", &layer, &used) < 1 || used == 0) {
        used = 0;
        if (sscanf(name, "transformer.h.%d.%n", &layer, &used) < 1 || used == 0) return false;
    }
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (is(inside[i].name, name + used, length - (size_t)used)) {
            snprintf(out, 96, "blk.%d.%s%s", layer, inside[i].gguf, end);
            return true;
        }
    return false;
}
