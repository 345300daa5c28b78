/* stored - names on disk of the llama-like families: packed parameters are stored in parts */
#include "model/arch/families.h"

#include <stdio.h>
#include <string.h>

bool ms_stored_take(ms_stored_pick *pick, const char *name, int layer, ms_tensor part,
                    bool transposed)
{
    const char *number = strstr(name, "%d");

    if (!ms_present(part)) return false;
    if (pick->left-- > 0) return false;
    if (number)
        snprintf(pick->out->name, sizeof pick->out->name, "%.*s%d%s", (int)(number - name), name,
                 layer, number + 2);
    else
        snprintf(pick->out->name, sizeof pick->out->name, "%s", name);
    pick->out->part = part;
    pick->out->transposed = transposed;
    return true;
}

static bool take_attention(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
#define TAKE(name, part) ms_stored_take(pick, "model.layers.%d." name, l, part, false)
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;

    return TAKE("self_attn.q_proj.weight", ms_rows(w->wqkv, 0, q)) ||
           TAKE("self_attn.k_proj.weight", ms_rows(w->wqkv, q, kv)) ||
           TAKE("self_attn.v_proj.weight", ms_rows(w->wqkv, q + kv, kv)) ||
           TAKE("self_attn.q_proj.bias", ms_rows(w->bqkv, 0, q)) ||
           TAKE("self_attn.k_proj.bias", ms_rows(w->bqkv, q, kv)) ||
           TAKE("self_attn.v_proj.bias", ms_rows(w->bqkv, q + kv, kv)) ||
           TAKE("self_attn.q_norm.weight", w->q_norm) ||
           TAKE("self_attn.k_norm.weight", w->k_norm) || TAKE("self_attn.o_proj.weight", w->wo) ||
           TAKE("self_attn.o_proj.bias", w->bo);
}

static bool take_ffn(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
    bool gated = c->act == MS_ACT_SWIGLU;
    int up = gated ? c->ffn : 0; /* rows of the gate come first */

    return (gated && (TAKE("mlp.gate_proj.weight", ms_rows(w->w_up, 0, c->ffn)) ||
                      TAKE("mlp.gate_proj.bias", ms_rows(w->b_up, 0, c->ffn)))) ||
           TAKE("mlp.up_proj.weight", ms_rows(w->w_up, up, c->ffn)) ||
           TAKE("mlp.up_proj.bias", ms_rows(w->b_up, up, c->ffn)) ||
           TAKE("mlp.down_proj.weight", w->w_down) || TAKE("mlp.down_proj.bias", w->b_down);
}

static bool take_layer(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
    return TAKE("input_layernorm.weight", w->norm1_w) || TAKE("input_layernorm.bias", w->norm1_b) ||
           take_attention(c, w, l, pick) || TAKE("post_attention_layernorm.weight", w->norm2_w) ||
           TAKE("post_attention_layernorm.bias", w->norm2_b) || take_ffn(c, w, l, pick);
#undef TAKE
}

bool ms_stored_llama(const ms_config *c, ms_params *p, int i, ms_stored *out)
{
    ms_stored_pick pick = {i, out};

    if (ms_stored_take(&pick, "model.embed_tokens.weight", 0, p->embed, false)) return true;
    if (ms_stored_take(&pick, "model.embed_positions.weight", 0, p->pos, false)) return true;
    for (int l = 0; l < c->layers; l++)
        if (take_layer(c, &p->layer[l], l, &pick)) return true;
    return ms_stored_take(&pick, "model.norm.weight", 0, p->norm_w, false) ||
           ms_stored_take(&pick, "model.norm.bias", 0, p->norm_b, false) ||
           ms_stored_take(&pick, "lm_head.weight", 0, p->head, false) ||
           ms_stored_take(&pick, "lm_head.bias", 0, p->head_b, false);
}
