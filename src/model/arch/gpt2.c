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

static bool take_layer(ms_layer *w, int l, ms_stored_pick *pick)
{
#define TAKE(name, part, transposed)                                                               \
    ms_stored_take(pick, "transformer.h.%d." name, l, part, transposed)
    return TAKE("ln_1.weight", w->norm1_w, false) || TAKE("ln_1.bias", w->norm1_b, false) ||
           TAKE("attn.c_attn.weight", w->wqkv, true) || TAKE("attn.c_attn.bias", w->bqkv, false) ||
           TAKE("attn.c_proj.weight", w->wo, true) || TAKE("attn.c_proj.bias", w->bo, false) ||
           TAKE("ln_2.weight", w->norm2_w, false) || TAKE("ln_2.bias", w->norm2_b, false) ||
           TAKE("mlp.c_fc.weight", w->w_up, true) || TAKE("mlp.c_fc.bias", w->b_up, false) ||
           TAKE("mlp.c_proj.weight", w->w_down, true) || TAKE("mlp.c_proj.bias", w->b_down, false);
#undef TAKE
}

static bool stored(const ms_config *c, ms_params *p, int i, ms_stored *out)
{
    ms_stored_pick pick = {i, out};

    if (ms_stored_take(&pick, "transformer.wte.weight", 0, p->embed, false)) return true;
    if (ms_stored_take(&pick, "transformer.wpe.weight", 0, p->pos, false)) return true;
    for (int l = 0; l < c->layers; l++)
        if (take_layer(&p->layer[l], l, &pick)) return true;
    return ms_stored_take(&pick, "transformer.ln_f.weight", 0, p->norm_w, false) ||
           ms_stored_take(&pick, "transformer.ln_f.bias", 0, p->norm_b, false) ||
           ms_stored_take(&pick, "lm_head.weight", 0, p->head, false);
}

const ms_arch ms_arch_gpt2 = {
    .name = "gpt2",
    .about = "pre-norm LayerNorm, learned positions, GELU (tanh form), biases, tied head",
    .model_type = "gpt2",
    .preset = preset,
    .stored = stored,
};
