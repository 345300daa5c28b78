/* config - checks and counts a configuration, derives what follows from its shape */
#include "model/config.h"

#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DIM_MAX = 1 << 20, VOCAB_MAX = 1 << 24, CONTEXT_MAX = 1 << 20, LAYERS_MAX = 4096 };

static ms_status check_range(const char *name, long value, long lowest, long highest, ms_error *err)
{
    if (value >= lowest && value <= highest) return MS_OK;
    return ms_fail(err, MS_INPUT, "%s: expected %ld to %ld, got %ld", name, lowest, highest, value);
}

static ms_status check_rope(const ms_rope_scaling *r, ms_error *err)
{
    bool bands = r->low_freq > 0 && r->high_freq > r->low_freq && r->high_freq < 1e6;
    bool betas = r->beta_slow > 0 && r->beta_fast > r->beta_slow && r->beta_fast < 1e6;

    if (r->kind == MS_ROPE_PLAIN) return MS_OK;
    if (!(r->factor >= 1 && r->factor <= 1e4))
        return ms_fail(err, MS_INPUT, "rope_scaling: factor: expected 1 to 10000, got %g",
                       r->factor);
    if (r->kind != MS_ROPE_LINEAR)
        MS_TRY(check_range("rope_scaling: original context", r->original, 1, CONTEXT_MAX, err));
    if (r->kind == MS_ROPE_LLAMA3 && !bands)
        return ms_fail(err, MS_INPUT, "rope_scaling: low_freq_factor %g, high_freq_factor %g",
                       r->low_freq, r->high_freq);
    if (r->kind == MS_ROPE_YARN && !(betas && r->attention >= 0 && r->attention < 1e3))
        return ms_fail(err, MS_INPUT,
                       "rope_scaling: beta_fast %g, beta_slow %g, attention_factor %g",
                       r->beta_fast, r->beta_slow, r->attention);
    return MS_OK;
}

ms_status ms_config_check(const ms_config *c, ms_error *err)
{
    MS_TRY(check_range("vocab", c->vocab, 1, VOCAB_MAX, err));
    MS_TRY(check_range("context", c->context, 1, CONTEXT_MAX, err));
    MS_TRY(check_range("layers", c->layers, 1, LAYERS_MAX, err));
    MS_TRY(check_range("width", c->width, 1, DIM_MAX, err));
    MS_TRY(check_range("heads", c->heads, 1, 4096, err));
    MS_TRY(check_range("kv_heads", c->kv_heads, 1, c->heads, err));
    MS_TRY(check_range("ffn", c->ffn, 1, DIM_MAX, err));
    if (c->heads % c->kv_heads)
        return ms_fail(err, MS_INPUT, "kv_heads: %d does not divide the %d heads", c->kv_heads,
                       c->heads);
    if (c->head_dim == 0)
        return ms_fail(err, MS_INPUT, "heads: %d do not divide the width of %d", c->heads,
                       c->width);
    MS_TRY(check_range("head_dim", c->head_dim, 1, 1024, err));
    if (!strcmp(c->arch, "gpt2") && (c->kv_heads != c->heads || c->head_dim * c->heads != c->width))
        return ms_fail(err, MS_INPUT,
                       "heads: gpt2 divides its width evenly among heads of their own keys; got "
                       "width %d, %d heads of %d, %d of keys",
                       c->width, c->heads, c->head_dim, c->kv_heads);
    if (c->positions == MS_POS_ROTARY && c->head_dim % 2)
        return ms_fail(err, MS_INPUT, "head_dim: rotary positions need an even one, got %d",
                       c->head_dim);
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        return ms_fail(err, MS_INPUT, "norm_eps: expected above 0 and below 1, got %g",
                       c->norm_eps);
    if (c->positions == MS_POS_ROTARY && !(c->rope_theta > 1 && c->rope_theta < 1e12))
        return ms_fail(err, MS_INPUT, "rope_theta: expected above 1, got %g", c->rope_theta);
    MS_TRY(check_rope(&c->rope, err));
    if (ms_config_parameters(c) > INT32_MAX)
        return ms_fail(err, MS_UNSUPPORTED, "a model of %zu parameters: at most %d are supported",
                       ms_config_parameters(c), INT32_MAX);
    return MS_OK;
}

size_t ms_config_parameters(const ms_config *c)
{
    const int Q = (c->heads + 2 * c->kv_heads) * c->head_dim;
    const int U = c->act == MS_ACT_SWIGLU ? 2 * c->ffn : c->ffn;
    size_t top = 0, layer = 0;

#define COUNT_TOP(field, present, start, ...)                                                      \
    if (present) top += ms_count(MS_TENSOR(NULL, MS_F32, __VA_ARGS__));
#define COUNT_LAYER(field, present, start, ...)                                                    \
    if (present) layer += ms_count(MS_TENSOR(NULL, MS_F32, __VA_ARGS__));
    MS_TOP_MATRICES(COUNT_TOP)
    MS_TOP_VECTORS(COUNT_TOP)
    MS_LAYER_MATRICES(COUNT_LAYER)
    MS_LAYER_VECTORS(COUNT_LAYER)
    return top + layer * (size_t)c->layers;
}

ms_status ms_config_preset(ms_config *c, const char *preset, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(preset);

    if (!arch)
        return ms_fail(err, MS_INPUT, "preset \"%s\" is unknown (see minstrel info)", preset);
    *c = (ms_config){.layers = 4, .width = 128, .heads = 4, .context = 256, .bos = -1, .eos = -1};
    snprintf(c->arch, sizeof c->arch, "%s", arch->name);
    arch->preset(c);
    if (!strcmp(preset, "smollm")) c->tied = true;
    ms_config_derive(c);
    return MS_OK;
}

/* Shazeer 2020: two thirds of 4C, so that three matrices have the parameters of two. */
static int derived_ffn(const ms_config *c)
{
    if (c->width < 0 || c->width > DIM_MAX) return 0; /* refused for its width */
    if (c->act != MS_ACT_SWIGLU) return 4 * c->width;
    return (8 * c->width / 3 + 31) / 32 * 32;
}

void ms_config_derive(ms_config *c)
{
    if (c->kv_heads == 0) c->kv_heads = c->heads;
    if (c->head_dim == 0 && c->heads > 0 && c->width % c->heads == 0)
        c->head_dim = c->width / c->heads;
    if (c->ffn == 0) c->ffn = derived_ffn(c);
    c->embed_scale = c->positions == MS_POS_SINUSOIDAL ? sqrt(c->width) : 1;
}

void ms_config_reshape(ms_config *c, const ms_config *wanted)
{
    int group = c->kv_heads > 0 ? c->heads / c->kv_heads : 1;
    bool resized = wanted->width > 0 || wanted->heads > 0;

    if (wanted->vocab > 0) c->vocab = wanted->vocab;
    if (wanted->context > 0) c->context = wanted->context;
    if (wanted->layers > 0) c->layers = wanted->layers;
    if (wanted->width > 0) c->width = wanted->width;
    if (wanted->heads > 0) c->heads = wanted->heads;
    if (wanted->kv_heads > 0)
        c->kv_heads = wanted->kv_heads;
    else if (wanted->heads > 0)
        c->kv_heads = c->heads % group ? c->heads : c->heads / group;
    if (wanted->head_dim > 0 || resized) c->head_dim = wanted->head_dim;
    if (wanted->ffn > 0 || wanted->width > 0) c->ffn = wanted->ffn;
    ms_config_derive(c);
}
