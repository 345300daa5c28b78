/* config_gguf - a configuration as GGUF's metadata, read and written */
#include "model/arch.h"
#include "model/gguf.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- reading --------------------------------------------------------------------------------- */

/* Reads keys one by one; the first fault sticks. */
typedef struct {
    const ms_gguf *g;
    const char *arch;
    ms_status status;
    ms_error *err;
} reader;

static void fault(reader *r, ms_status status, const char *key, const char *what)
{
    if (!r->status)
        r->status = ms_fail_at(r->err, status, ms_gguf_path(r->g), -1, "\"%s\": %s", key, what);
}

/* "%s.context_length" of the family. */
static const ms_gguf_meta *find(const reader *r, const char *key, char full[96])
{
    snprintf(full, 96, "%s.%s", r->arch, key);
    return ms_gguf_get(r->g, full);
}

/* A whole number; absent: fallback, or a fault when fallback is INT_MIN. */
static int read_int(reader *r, const char *key, int fallback)
{
    char full[96];
    const ms_gguf_meta *m = find(r, key, full);
    double x = 0;

    if (!m && fallback == INT_MIN) fault(r, MS_FORMAT, full, "is missing");
    if (!m) return fallback;
    if (m->array || !ms_gguf_number(m, 0, &x) || !(fabs(x) <= INT_MAX) || x != floor(x)) {
        fault(r, m->array ? MS_UNSUPPORTED : MS_FORMAT, full, "expected one whole number");
        return 0;
    }
    return (int)x;
}

static double read_double(reader *r, const char *key, double fallback)
{
    char full[96];
    const ms_gguf_meta *m = find(r, key, full);
    double x = 0;

    if (!m) return fallback;
    if (m->array || !ms_gguf_number(m, 0, &x) || !isfinite(x))
        fault(r, MS_FORMAT, full, "expected a number");
    return x;
}

static bool read_text(reader *r, const char *full, char *out, size_t room)
{
    const ms_gguf_meta *m = ms_gguf_get(r->g, full);
    ms_gguf_text t;

    if (!m) return false;
    if (m->array || !ms_gguf_text_at(m, 0, &t) || t.size_bytes >= room) {
        fault(r, MS_FORMAT, full, "expected a short text");
        return false;
    }
    memcpy(out, t.text, t.size_bytes);
    out[t.size_bytes] = 0;
    return true;
}

static const ms_arch *find_family(reader *r, char name[32])
{
    if (!read_text(r, "general.architecture", name, 32)) {
        fault(r, MS_FORMAT, "general.architecture", "is missing");
        return NULL;
    }
    for (int i = 0; ms_arch_at(i); i++)
        if (ms_arch_at(i)->gguf && !strcmp(ms_arch_at(i)->gguf, name)) return ms_arch_at(i);
    if (!r->status)
        r->status = ms_fail_at(r->err, MS_UNSUPPORTED, ms_gguf_path(r->g), -1,
                               "\"general.architecture\": \"%.40s\" is not supported", name);
    return NULL;
}

static void read_rope(reader *r, ms_config *c)
{
    char full[96], kind[32] = "none";

    c->rope_theta = read_double(r, "rope.freq_base", 10000);
    if (read_int(r, "rope.dimension_count", c->head_dim) != c->head_dim)
        fault(r, MS_UNSUPPORTED, "rope.dimension_count", "only the whole head is supported");
    snprintf(full, sizeof full, "%s.rope.scaling.type", r->arch);
    read_text(r, full, kind, sizeof kind);
    c->rope.factor = read_double(r, "rope.scaling.factor", 1);
    c->rope.original = read_int(r, "rope.scaling.original_context_length", c->context);
    c->rope.beta_fast = read_double(r, "rope.scaling.yarn_beta_fast", 32);
    c->rope.beta_slow = read_double(r, "rope.scaling.yarn_beta_slow", 1);
    if (!strcmp(kind, "linear") && c->rope.factor != 1)
        c->rope.kind = MS_ROPE_LINEAR;
    else if (!strcmp(kind, "yarn"))
        c->rope.kind = MS_ROPE_YARN;
    else if (strcmp(kind, "none") != 0 && strcmp(kind, "linear") != 0)
        fault(r, MS_UNSUPPORTED, full, "only none, linear and yarn are supported");
}

/* Rows of the embedding; the tokenizer's list may be shorter. */
static int vocabulary(reader *r)
{
    const ms_st_entry *e = ms_gguf_find(r->g, "token_embd.weight");

    if (!e || e->rank != 2) {
        fault(r, MS_FORMAT, "token_embd.weight", "is missing");
        return 0;
    }
    return e->dim[0];
}

static void read_config(reader *r, ms_config *c)
{
    char name[32];
    const ms_arch *arch = find_family(r, name);

    if (!arch) return;
    r->arch = name;
    r->status = ms_config_preset(c, arch->name, r->err);
    if (r->status) return;
    c->vocab = vocabulary(r);
    c->context = read_int(r, "context_length", INT_MIN);
    c->width = read_int(r, "embedding_length", INT_MIN);
    c->layers = read_int(r, "block_count", INT_MIN);
    c->ffn = read_int(r, "feed_forward_length", INT_MIN);
    c->heads = read_int(r, "attention.head_count", INT_MIN);
    c->kv_heads = read_int(r, "attention.head_count_kv", c->heads);
    c->head_dim = read_int(r, "attention.key_length", 0);
    c->norm_eps = read_double(
        r, c->rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 1e-5);
    c->tied = !ms_gguf_find(r->g, "output.weight");
    if (r->status) return;
    ms_config_derive(c);
    if (c->positions == MS_POS_ROTARY) read_rope(r, c);
    if (read_int(r, "attention.value_length", c->head_dim) != c->head_dim)
        fault(r, MS_UNSUPPORTED, "attention.value_length", "must be attention.key_length");
    if (read_int(r, "attention.sliding_window", c->context) < c->context)
        fault(r, MS_UNSUPPORTED, "attention.sliding_window", "is not supported");
    if (read_int(r, "expert_count", 0) > 0)
        fault(r, MS_UNSUPPORTED, "expert_count", "experts are not supported");
}

ms_status ms_config_from_gguf(ms_config *out, const ms_gguf *g, ms_error *err)
{
    reader r = {.g = g, .err = err};
    ms_config c = {{0}, .layers = 0};

    read_config(&r, &c);
    if (r.status) return r.status;
    r.status = ms_config_check(&c, err);
    if (r.status && err) {
        if (r.status == MS_INPUT) r.status = err->status = MS_FORMAT;
        snprintf(err->path, sizeof err->path, "%s", ms_gguf_path(g));
    }
    if (!r.status) *out = c;
    return r.status;
}

/* -- writing --------------------------------------------------------------------------------- */

static void add_int(ms_gguf_head *h, const char *arch, const char *key, int value)
{
    char full[96];

    snprintf(full, sizeof full, "%s.%s", arch, key);
    ms_gguf_add_u32(h, full, (uint32_t)value);
}

static void add_float(ms_gguf_head *h, const char *arch, const char *key, double value)
{
    char full[96];

    snprintf(full, sizeof full, "%s.%s", arch, key);
    ms_gguf_add_f32(h, full, (float)value);
}

/* llama3's scaling is a tensor of factors (rope_freqs.weight), which the writer of tensors adds. */
static void add_rope(ms_gguf_head *h, const char *arch, const ms_config *c)
{
    char full[96];

    add_int(h, arch, "rope.dimension_count", c->head_dim);
    add_float(h, arch, "rope.freq_base", c->rope_theta);
    if (c->rope.kind != MS_ROPE_LINEAR && c->rope.kind != MS_ROPE_YARN) return;
    snprintf(full, sizeof full, "%s.rope.scaling.type", arch);
    ms_gguf_add_text(h, full, c->rope.kind == MS_ROPE_YARN ? "yarn" : "linear");
    add_float(h, arch, "rope.scaling.factor", c->rope.factor);
    if (c->rope.kind == MS_ROPE_LINEAR) return;
    add_int(h, arch, "rope.scaling.original_context_length", c->rope.original);
    add_float(h, arch, "rope.scaling.yarn_beta_fast", c->rope.beta_fast);
    add_float(h, arch, "rope.scaling.yarn_beta_slow", c->rope.beta_slow);
}

ms_status ms_config_to_gguf(const ms_config *c, ms_gguf_head *h, ms_error *err)
{
    const ms_arch *family = ms_arch_find(c->arch);
    const char *arch = family ? family->gguf : NULL;

    if (!arch)
        return ms_fail(err, MS_UNSUPPORTED,
                       "GGUF has no family for %s: only gpt2, llama, mistral, "
                       "qwen2 and qwen3 can be written",
                       c->arch);
    ms_gguf_add_text(h, "general.architecture", arch);
    ms_gguf_add_text(h, "general.name", c->arch);
    add_int(h, arch, "vocab_size", c->vocab);
    add_int(h, arch, "context_length", c->context);
    add_int(h, arch, "embedding_length", c->width);
    add_int(h, arch, "block_count", c->layers);
    add_int(h, arch, "feed_forward_length", c->ffn);
    add_int(h, arch, "attention.head_count", c->heads);
    add_int(h, arch, "attention.head_count_kv", c->kv_heads);
    add_float(h, arch, c->rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
              c->norm_eps);
    if (c->positions != MS_POS_ROTARY) return MS_OK;
    add_int(h, arch, "attention.key_length", c->head_dim);
    add_int(h, arch, "attention.value_length", c->head_dim);
    add_rope(h, arch, c);
    return MS_OK;
}
