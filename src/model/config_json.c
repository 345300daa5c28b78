/* config_json - a configuration as Hugging Face's config.json, read and written
 *
 * gpt2 has key names of its own (n_embd ...); the others share those of LlamaConfig.  "minstrel" is
 * the model_type of the families that transformers does not know: it stores every option by name.
 */
#include "model/arch.h"

#include "base/file.h"
#include "base/json.h"
#include "model/rope.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 22 };

/* -- reading --------------------------------------------------------------------------------- */

/* Reads keys one by one; the first fault sticks. */
typedef struct {
    const cJSON *root;
    const char *path;
    ms_status status;
    ms_error *err;
} reader;

static const cJSON *find(const reader *r, const char *key)
{
    return ms_json_get(r->root, key);
}

static void wrong_type(reader *r, const char *key, const char *expected)
{
    if (!r->status)
        r->status =
            ms_fail_at(r->err, MS_FORMAT, r->path, -1, "\"%s\": expected %s", key, expected);
}

static void unsupported(reader *r, const char *key, const char *what)
{
    if (!r->status)
        r->status = ms_fail_at(r->err, MS_UNSUPPORTED, r->path, -1, "\"%s\": %s", key, what);
}

/* An integer below 2^31; absent: fallback, or a fault when fallback is INT_MIN. */
static int read_int(reader *r, const char *key, int fallback)
{
    const cJSON *item = find(r, key);

    if (!item && fallback == INT_MIN) wrong_type(r, key, "a number, found nothing");
    if (!item) return fallback;
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
        fabs(item->valuedouble) > INT_MAX) {
        wrong_type(r, key, "an integer");
        return 0;
    }
    return (int)item->valuedouble;
}

static double read_double(reader *r, const char *key, double fallback)
{
    const cJSON *item = find(r, key);

    if (!item) return fallback;
    if (!cJSON_IsNumber(item)) wrong_type(r, key, "a number");
    return item->valuedouble;
}

static bool read_bool(reader *r, const char *key, bool fallback)
{
    const cJSON *item = find(r, key);

    if (!item) return fallback;
    if (!cJSON_IsBool(item)) wrong_type(r, key, "true or false");
    return cJSON_IsTrue(item);
}

static const char *read_text(reader *r, const char *key, const char *fallback)
{
    const cJSON *item = find(r, key);

    if (!item) return fallback;
    if (cJSON_IsString(item)) return item->valuestring;
    wrong_type(r, key, "a string");
    return fallback;
}

/* Some configs give several end tokens: the first one counts. */
static int read_token(reader *r, const char *key)
{
    const cJSON *item = find(r, key);

    if (cJSON_IsArray(item)) item = cJSON_GetArrayItem(item, 0);
    if (!item) return -1;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= -1 && item->valuedouble < INT_MAX)) {
        wrong_type(r, key, "a token id");
        return -1;
    }
    return (int)item->valuedouble;
}

/* "rope_scaling", or "rope_parameters" of newer files, where rope_theta may stand too. */
static void read_rope(reader *r, ms_config *c)
{
    const cJSON *o = find(r, "rope_scaling"), *was = r->root;
    const char *kind;

    if (!o) o = find(r, "rope_parameters");
    if (!o) return;
    if (!cJSON_IsObject(o)) {
        wrong_type(r, "rope_scaling", "an object or null");
        return;
    }
    r->root = o;
    kind = read_text(r, "rope_type", read_text(r, "type", "?"));
    if (!ms_rope_find(kind, &c->rope.kind))
        unsupported(r, "rope_scaling", "only default, linear, llama3 and yarn are supported");
    c->rope_theta = read_double(r, "rope_theta", c->rope_theta);
    if (c->rope.kind != MS_ROPE_PLAIN) {
        c->rope.factor = read_double(r, "factor", 0);
        c->rope.original = read_int(r, "original_max_position_embeddings", c->context);
        c->rope.low_freq = read_double(r, "low_freq_factor", 1);
        c->rope.high_freq = read_double(r, "high_freq_factor", 4);
        c->rope.beta_fast = read_double(r, "beta_fast", 32);
        c->rope.beta_slow = read_double(r, "beta_slow", 1);
        c->rope.attention = read_double(r, "attention_factor", 0);
        if (find(r, "mscale") || find(r, "mscale_all_dim"))
            unsupported(r, "rope_scaling", "mscale is not supported");
    }
    r->root = was;
}

/* Keys that change the computation and are not computed here. */
static void refuse_unsupported(reader *r, const ms_config *c)
{
    if (read_double(r, "partial_rotary_factor", 1) != 1)
        unsupported(r, "partial_rotary_factor", "only 1 is supported");
    if (find(r, "sliding_window") &&
        read_bool(r, "use_sliding_window", !strcmp(c->arch, "mistral")) &&
        read_int(r, "sliding_window", INT_MAX) < c->context)
        unsupported(r, "sliding_window", "a window shorter than the context is not supported");
    if (find(r, "quantization_config"))
        unsupported(r, "quantization_config", "quantized folders are not supported");
}

static void read_act(reader *r, const char *key, const char *fallback, const char *expected)
{
    const char *act = read_text(r, key, fallback);

    if (strcmp(act, expected) &&
        !(!strcmp(expected, "gelu_new") && !strcmp(act, "gelu_pytorch_tanh")))
        unsupported(r, key, "this activation is not supported in this family");
}

static void read_gpt2(reader *r, ms_config *c)
{
    c->vocab = read_int(r, "vocab_size", INT_MIN);
    c->context = read_int(r, "n_positions", read_int(r, "n_ctx", 1024));
    c->width = read_int(r, "n_embd", INT_MIN);
    c->layers = read_int(r, "n_layer", INT_MIN);
    c->heads = read_int(r, "n_head", INT_MIN);
    c->kv_heads = c->heads;
    c->head_dim = 0;
    c->ffn = read_int(r, "n_inner", 0);
    c->norm_eps = read_double(r, "layer_norm_epsilon", 1e-5);
    c->tied = read_bool(r, "tie_word_embeddings", true);
    read_act(r, "activation_function", "gelu_new", "gelu_new");
    if (!read_bool(r, "scale_attn_weights", true))
        unsupported(r, "scale_attn_weights", "only true is supported");
    if (read_bool(r, "scale_attn_by_inverse_layer_idx", false))
        unsupported(r, "scale_attn_by_inverse_layer_idx", "only false is supported");
    if (read_bool(r, "add_cross_attention", false))
        unsupported(r, "add_cross_attention", "only false is supported");
}

static void read_llama(reader *r, ms_config *c)
{
    c->vocab = read_int(r, "vocab_size", INT_MIN);
    c->context = read_int(r, "max_position_embeddings", 2048);
    c->width = read_int(r, "hidden_size", INT_MIN);
    c->layers = read_int(r, "num_hidden_layers", INT_MIN);
    c->heads = read_int(r, "num_attention_heads", INT_MIN);
    c->kv_heads = read_int(r, "num_key_value_heads", c->heads);
    c->head_dim = read_int(r, "head_dim", !strcmp(c->arch, "qwen3") ? 128 : 0);
    c->ffn = read_int(r, "intermediate_size", INT_MIN);
    c->norm_eps = read_double(r, "rms_norm_eps", 1e-6);
    c->rope_theta = read_double(r, "rope_theta", 10000);
    read_rope(r, c);
    c->tied = read_bool(r, "tie_word_embeddings", false);
    read_act(r, "hidden_act", "silu", "silu");
    if (read_bool(r, "attention_bias", false) || read_bool(r, "mlp_bias", false))
        unsupported(r, "attention_bias", "biases are not supported in this family");
}

/* The families of our own: the shape by the names of llama. */
static void read_minstrel(reader *r, ms_config *c)
{
    c->vocab = read_int(r, "vocab_size", INT_MIN);
    c->context = read_int(r, "max_position_embeddings", INT_MIN);
    c->width = read_int(r, "hidden_size", INT_MIN);
    c->layers = read_int(r, "num_hidden_layers", INT_MIN);
    c->heads = read_int(r, "num_attention_heads", INT_MIN);
    c->kv_heads = read_int(r, "num_key_value_heads", c->heads);
    c->head_dim = read_int(r, "head_dim", 0);
    c->ffn = read_int(r, "intermediate_size", INT_MIN);
    c->norm_eps = read_double(r, "norm_eps", c->norm_eps);
    c->rope_theta = read_double(r, "rope_theta", c->rope_theta);
    c->tied = read_bool(r, "tie_word_embeddings", c->tied);
}

/* The family of a model_type; "minstrel" names it in "arch". */
static const ms_arch *find_family(reader *r)
{
    const char *type = read_text(r, "model_type", NULL), *name = type;
    const ms_arch *arch;

    if (r->status) return NULL;
    if (!type) {
        wrong_type(r, "model_type", "a string, found nothing");
        return NULL;
    }
    if (!strcmp(type, "minstrel")) name = read_text(r, "arch", "");
    arch = ms_arch_find(name);
    if (!arch || strcmp(arch->model_type, type) != 0) {
        if (!r->status)
            r->status = ms_fail_at(r->err, MS_UNSUPPORTED, r->path, -1,
                                   "\"model_type\": \"%.40s\" is not supported", name);
        return NULL;
    }
    return arch;
}

static void read_config(reader *r, ms_config *c)
{
    const ms_arch *arch = find_family(r);

    if (!arch) return;
    if (ms_config_preset(c, arch->name, r->err)) return;
    if (!strcmp(arch->model_type, "gpt2"))
        read_gpt2(r, c);
    else if (!strcmp(arch->model_type, "minstrel"))
        read_minstrel(r, c);
    else
        read_llama(r, c);
    c->bos = read_token(r, "bos_token_id");
    c->eos = read_token(r, "eos_token_id");
    refuse_unsupported(r, c);
    if (r->status) return;
    ms_config_derive(c);
    r->status = ms_config_check(c, r->err);
    if (r->status && r->err) {
        if (r->status == MS_INPUT) r->status = r->err->status = MS_FORMAT;
        snprintf(r->err->path, sizeof r->err->path, "%s", r->path);
    }
}

ms_status ms_config_parse(ms_config *out, const char *json, size_t size_bytes, const char *path,
                          ms_error *err)
{
    ms_config c = {{0}, .layers = 0};
    reader r = {.path = path, .err = err};
    cJSON *root;

    MS_TRY(ms_json_parse(&root, json, size_bytes, path, err));
    r.root = root;
    read_config(&r, &c);
    cJSON_Delete(root);
    if (r.status) return r.status;
    *out = c;
    return MS_OK;
}

ms_status ms_config_read(ms_config *out, const char *path, ms_error *err)
{
    char *text;
    size_t size;
    ms_status s;

    MS_TRY(ms_file_read(&text, &size, path, CONFIG_MAX_BYTES, err));
    s = ms_config_parse(out, text, size, path, err);
    free(text);
    return s;
}

/* -- writing --------------------------------------------------------------------------------- */

static void add_token(ms_json *j, const char *key, int id)
{
    if (id < 0)
        ms_json_add_null(j, j->root, key);
    else
        ms_json_add_number(j, j->root, key, id);
}

static void add_gpt2(ms_json *j, const ms_config *c)
{
    ms_json_add_number(j, j->root, "n_positions", c->context);
    ms_json_add_number(j, j->root, "n_ctx", c->context);
    ms_json_add_number(j, j->root, "n_embd", c->width);
    ms_json_add_number(j, j->root, "n_layer", c->layers);
    ms_json_add_number(j, j->root, "n_head", c->heads);
    ms_json_add_number(j, j->root, "n_inner", c->ffn);
    ms_json_add_number(j, j->root, "layer_norm_epsilon", c->norm_eps);
    ms_json_add_text(j, j->root, "activation_function", "gelu_new");
    ms_json_add_number(j, j->root, "attn_pdrop", 0);
    ms_json_add_number(j, j->root, "embd_pdrop", 0);
    ms_json_add_number(j, j->root, "resid_pdrop", 0);
}

static void add_rope(ms_json *j, const ms_config *c)
{
    const ms_rope_scaling *s = &c->rope;
    cJSON *o;

    if (s->kind == MS_ROPE_PLAIN) return;
    o = ms_json_add_object(j, j->root, "rope_scaling");
    ms_json_add_text(j, o, "rope_type", ms_rope_name(s->kind));
    ms_json_add_number(j, o, "factor", s->factor);
    if (s->kind == MS_ROPE_LINEAR) return;
    ms_json_add_number(j, o, "original_max_position_embeddings", s->original);
    if (s->kind == MS_ROPE_LLAMA3) {
        ms_json_add_number(j, o, "low_freq_factor", s->low_freq);
        ms_json_add_number(j, o, "high_freq_factor", s->high_freq);
        return;
    }
    ms_json_add_number(j, o, "beta_fast", s->beta_fast);
    ms_json_add_number(j, o, "beta_slow", s->beta_slow);
    if (s->attention > 0) ms_json_add_number(j, o, "attention_factor", s->attention);
}

static void add_llama(ms_json *j, const ms_config *c, bool own)
{
    ms_json_add_number(j, j->root, "max_position_embeddings", c->context);
    ms_json_add_number(j, j->root, "hidden_size", c->width);
    ms_json_add_number(j, j->root, "num_hidden_layers", c->layers);
    ms_json_add_number(j, j->root, "num_attention_heads", c->heads);
    ms_json_add_number(j, j->root, "num_key_value_heads", c->kv_heads);
    ms_json_add_number(j, j->root, "head_dim", c->head_dim);
    ms_json_add_number(j, j->root, "intermediate_size", c->ffn);
    ms_json_add_number(j, j->root, own ? "norm_eps" : "rms_norm_eps", c->norm_eps);
    if (c->positions == MS_POS_ROTARY) ms_json_add_number(j, j->root, "rope_theta", c->rope_theta);
    if (own) return;
    add_rope(j, c);
    ms_json_add_text(j, j->root, "hidden_act", "silu");
    ms_json_add_bool(j, j->root, "attention_bias", false);
    if (!strcmp(c->arch, "llama")) ms_json_add_bool(j, j->root, "mlp_bias", false);
    if (!strcmp(c->arch, "mistral")) ms_json_add_null(j, j->root, "sliding_window");
    ms_json_add_number(j, j->root, "attention_dropout", 0);
}

/* The class of transformers that loads the folder. */
static void add_class(ms_json *j, const ms_config *c)
{
    static const struct {
        const char *arch, *name;
    } class[] = {{"gpt2", "GPT2LMHeadModel"},
                 {"llama", "LlamaForCausalLM"},
                 {"mistral", "MistralForCausalLM"},
                 {"qwen2", "Qwen2ForCausalLM"},
                 {"qwen3", "Qwen3ForCausalLM"}};

    for (size_t i = 0; i < sizeof class / sizeof *class; i++) {
        if (strcmp(class[i].arch, c->arch) != 0) continue;
        ms_json_add_text(j, ms_json_add_array(j, j->root, "architectures"), NULL, class[i].name);
    }
}

ms_status ms_config_write_as(const ms_config *c, ms_dtype type, const char *path, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    bool own = arch && !strcmp(arch->model_type, "minstrel");
    ms_json json, *j = &json;

    if (!arch) return ms_fail(err, MS_INPUT, "family \"%s\" is unknown", c->arch);
    ms_json_begin(j);
    add_class(j, c);
    ms_json_add_text(j, j->root, "model_type", arch->model_type);
    if (own) ms_json_add_text(j, j->root, "arch", arch->name);
    ms_json_add_number(j, j->root, "vocab_size", c->vocab);
    if (!strcmp(arch->model_type, "gpt2"))
        add_gpt2(j, c);
    else
        add_llama(j, c, own);
    ms_json_add_bool(j, j->root, "tie_word_embeddings", c->tied);
    ms_json_add_text(j, j->root, "torch_dtype",
                     type == MS_BF16  ? "bfloat16"
                     : type == MS_F16 ? "float16"
                                      : "float32");
    add_token(j, "bos_token_id", c->bos);
    add_token(j, "eos_token_id", c->eos);
    return ms_json_write(j, path, err);
}

ms_status ms_config_write(const ms_config *c, const char *path, ms_error *err)
{
    return ms_config_write_as(c, MS_F32, path, err);
}
