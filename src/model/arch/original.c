/* original - the log's transformer: as Vaswani et al. 2017, with GELU and one final norm */
#include "model/arch/families.h"

static void preset(ms_config *c)
{
    c->norm_weights = true;
    c->post_norm = true;
    c->norm_eps = 1e-5;
    c->positions = MS_POS_SINUSOIDAL;
    c->act = MS_ACT_GELU;
    c->qkv_bias = true;
    c->bias = true;
    c->head_bias = true;
}

const ms_arch ms_arch_original = {
    .name = "original",
    .about = "the log's: post-norm LayerNorm, sinusoidal positions, GELU, biases everywhere",
    .model_type = "minstrel",
    .preset = preset,
    .stored = ms_stored_llama,
};
