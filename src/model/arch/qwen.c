/* qwen - Qwen2 (biases of q, k, v) and Qwen3 (norms of q and k) */
#include "model/arch/families.h"

static void preset(ms_config *c)
{
    c->kv_heads = c->heads / 2;
    c->rms = true;
    c->norm_weights = true;
    c->norm_eps = 1e-6;
    c->positions = MS_POS_ROTARY;
    c->rope_theta = 1e6;
    c->act = MS_ACT_SWIGLU;
}

static void preset_qwen2(ms_config *c)
{
    preset(c);
    c->qkv_bias = true;
}

static void preset_qwen3(ms_config *c)
{
    preset(c);
    c->qk_norm = true;
}

const ms_arch ms_arch_qwen2 = {
    .name = "qwen2",
    .about = "as llama, with biases of q, k and v",
    .model_type = "qwen2",
    .preset = preset_qwen2,
    .stored = ms_stored_llama,
    .gguf = "qwen2",
};

const ms_arch ms_arch_qwen3 = {
    .name = "qwen3",
    .about = "as llama, with norms of q and k",
    .model_type = "qwen3",
    .preset = preset_qwen3,
    .stored = ms_stored_llama,
    .gguf = "qwen3",
};
