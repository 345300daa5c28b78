/* llama - Llama (Touvron et al. 2023) and Mistral (Jiang et al. 2023); SmolLM is a tied llama */
#include "model/arch/families.h"

static void preset(ms_config *c)
{
    c->kv_heads = c->heads / 2;
    c->rms = true;
    c->norm_weights = true;
    c->norm_eps = 1e-5;
    c->positions = MS_POS_ROTARY;
    c->rope_theta = 10000;
    c->act = MS_ACT_SWIGLU;
}

const ms_arch ms_arch_llama = {
    .name = "llama",
    .about = "pre-norm RMSNorm, rotary, SwiGLU, grouped queries, no biases",
    .model_type = "llama",
    .preset = preset,
    .stored = ms_stored_llama,
    .gguf = "llama",
};

const ms_arch ms_arch_mistral = {
    .name = "mistral",
    .about = "as llama, under the name of Mistral",
    .model_type = "mistral",
    .preset = preset,
    .stored = ms_stored_llama,
    .gguf = "llama",
};
