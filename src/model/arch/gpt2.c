/* gpt2 - GPT-2 (Radford et al. 2019): its linear weights are stored transposed ("Conv1D") */
#include "model/arch/families.h"

static void preset(ms_config *c)
{
    c->norm_weights = true;
    c->norm_eps = 1e-5;
    c->positions = MS_POS_LEARNED;
    c->act = MS_ACT_GELU_TANH;
    c->qkv_bias = true;
    c->bias = true;
    c->tied = true;
}

static bool transposed(bool taken, ms_stored_pick *pick)
{
    if (taken) pick->out->transposed = true;
    return taken;
}

static bool take_layer(ms_layer *w, int l, ms_stored_pick *pick)
{
#define TAKE(name, field) ms_stored_take(pick, "transformer.h.%d." name, l, &w->field)
    return TAKE("ln_1.weight", norm1_w) || TAKE("ln_1.bias", norm1_b) ||
           transposed(TAKE("attn.c_attn.weight", wqkv), pick) || TAKE("attn.c_attn.bias", bqkv) ||
           transposed(TAKE("attn.c_proj.weight", wo), pick) || TAKE("attn.c_proj.bias", bo) ||
           TAKE("ln_2.weight", norm2_w) || TAKE("ln_2.bias", norm2_b) ||
           transposed(TAKE("mlp.c_fc.weight", w_up), pick) || TAKE("mlp.c_fc.bias", b_up) ||
           transposed(TAKE("mlp.c_proj.weight", w_down), pick) || TAKE("mlp.c_proj.bias", b_down);
#undef TAKE
}

static bool stored(const ms_config *c, ms_params *p, int i, ms_stored *out)
{
    ms_stored_pick pick = {i, out};

    if (ms_stored_take(&pick, "transformer.wte.weight", 0, &p->embed)) return true;
    if (ms_stored_take(&pick, "transformer.wpe.weight", 0, &p->pos)) return true;
    for (int l = 0; l < c->layers; l++)
        if (take_layer(&p->layer[l], l, &pick)) return true;
    return ms_stored_take(&pick, "transformer.ln_f.weight", 0, &p->norm_w) ||
           ms_stored_take(&pick, "transformer.ln_f.bias", 0, &p->norm_b) ||
           ms_stored_take(&pick, "lm_head.weight", 0, &p->head);
}

const ms_arch ms_arch_gpt2 = {
    .name = "gpt2",
    .about = "pre-norm LayerNorm, learned positions, GELU (tanh form), biases, tied head",
    .model_type = "gpt2",
    .preset = preset,
    .stored = stored,
    .gguf = "gpt2",
};
