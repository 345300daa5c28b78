/* stored - names on disk of the llama-like families: packed parameters are stored in parts */
#include "model/arch/families.h"

#include <stdio.h>
#include <string.h>

bool ms_stored_rows(ms_stored_pick *pick, const char *name, int layer, ms_tensor *whole, int first,
                    int rows)
{
    const char *number = strstr(name, "%d");

    if (!ms_present(*whole)) return false;
    if (pick->left-- > 0) return false;
    if (number)
        snprintf(pick->out->name, sizeof pick->out->name, "%.*s%d%s", (int)(number - name), name,
                 layer, number + 2);
    else
        snprintf(pick->out->name, sizeof pick->out->name, "%s", name);
    pick->out->whole = whole;
    pick->out->first = first;
    pick->out->part = ms_rows(*whole, first, rows);
    pick->out->transposed = false;
    pick->out->heads = 0;
    return true;
}

bool ms_stored_take(ms_stored_pick *pick, const char *name, int layer, ms_tensor *whole)
{
    return ms_stored_rows(pick, name, layer, whole, 0, whole->dim[0]);
}

/* Of q or k, whose rows llama.cpp keeps in another order. */
static bool take_heads(ms_stored_pick *pick, const char *name, int layer, ms_tensor *whole,
                       int first, int heads, int head_dim)
{
    if (!ms_stored_rows(pick, name, layer, whole, first, heads * head_dim)) return false;
    pick->out->heads = heads;
    return true;
}

static bool take_attention(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
#define TAKE(name, field) ms_stored_take(pick, "model.layers.%d." name, l, &w->field)
#define ROWS(name, field, first, rows)                                                             \
    ms_stored_rows(pick, "model.layers.%d." name, l, &w->field, first, rows)
#define HEADS(name, field, first, heads)                                                           \
    take_heads(pick, "model.layers.%d." name, l, &w->field, first, heads, c->head_dim)
    int H = c->heads, K = c->kv_heads, q = H * c->head_dim, kv = K * c->head_dim;

    return HEADS("self_attn.q_proj.weight", wqkv, 0, H) ||
           HEADS("self_attn.k_proj.weight", wqkv, q, K) ||
           ROWS("self_attn.v_proj.weight", wqkv, q + kv, kv) ||
           HEADS("self_attn.q_proj.bias", bqkv, 0, H) ||
           HEADS("self_attn.k_proj.bias", bqkv, q, K) ||
           ROWS("self_attn.v_proj.bias", bqkv, q + kv, kv) ||
           TAKE("self_attn.q_norm.weight", q_norm) || TAKE("self_attn.k_norm.weight", k_norm) ||
           TAKE("self_attn.o_proj.weight", wo) || TAKE("self_attn.o_proj.bias", bo);
}

static bool take_ffn(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
    bool gated = c->act == MS_ACT_SWIGLU;
    int up = gated ? c->ffn : 0; /* rows of the gate come first */

    return (gated && (ROWS("mlp.gate_proj.weight", w_up, 0, c->ffn) ||
                      ROWS("mlp.gate_proj.bias", b_up, 0, c->ffn))) ||
           ROWS("mlp.up_proj.weight", w_up, up, c->ffn) ||
           ROWS("mlp.up_proj.bias", b_up, up, c->ffn) || TAKE("mlp.down_proj.weight", w_down) ||
           TAKE("mlp.down_proj.bias", b_down);
}

static bool take_layer(const ms_config *c, ms_layer *w, int l, ms_stored_pick *pick)
{
    return TAKE("input_layernorm.weight", norm1_w) || TAKE("input_layernorm.bias", norm1_b) ||
           take_attention(c, w, l, pick) || TAKE("post_attention_layernorm.weight", norm2_w) ||
           TAKE("post_attention_layernorm.bias", norm2_b) || take_ffn(c, w, l, pick);
}

bool ms_stored_llama(const ms_config *c, ms_params *p, int i, ms_stored *out)
{
    ms_stored_pick pick = {i, out};

    if (ms_stored_take(&pick, "model.embed_tokens.weight", 0, &p->embed)) return true;
    if (ms_stored_take(&pick, "model.embed_positions.weight", 0, &p->pos)) return true;
    for (int l = 0; l < c->layers; l++)
        if (take_layer(c, &p->layer[l], l, &pick)) return true;
    return ms_stored_take(&pick, "model.norm.weight", 0, &p->norm_w) ||
           ms_stored_take(&pick, "model.norm.bias", 0, &p->norm_b) ||
           ms_stored_take(&pick, "lm_head.weight", 0, &p->head) ||
           ms_stored_take(&pick, "lm_head.bias", 0, &p->head_b);
}
