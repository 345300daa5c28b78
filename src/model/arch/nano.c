/* nano - the block of the modded-nanogpt speed runs: squared ReLU, q and k norm, norms without
 * weights */
#include "model/arch/families.h"

static void preset(ms_config *c)
{
    c->rms = true;
    c->norm_eps = 1e-6;
    c->positions = MS_POS_ROTARY;
    c->rope_theta = 10000;
    c->act = MS_ACT_RELU2;
    c->qk_norm = true;
}

const ms_arch ms_arch_nano = {
    .name = "nano",
    .about = "pre-norm RMSNorm without weights, rotary, squared ReLU, norms of q and k",
    .model_type = "minstrel",
    .preset = preset,
    .stored = ms_stored_llama,
};
