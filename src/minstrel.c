/* minstrel - the public API: options, models, evaluation; training, generation and benches have
 * files of their own */
#include "minstrel_internal.h"

#include "base/file.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "model/arch.h"
#include "model/folder.h"
#include "text/tokenizer_gguf.h"
#include "train/evaluate.h"

#include <cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

#define SAME_STATUS(name, text)                                                                    \
    _Static_assert((int)MINSTREL_##name == (int)MS_##name, "the two lists of statuses agree");
MS_STATUS_MAP(SAME_STATUS)

/* -- errors and options ---------------------------------------------------------------------- */

const char *minstrel_version(void)
{
    return MINSTREL_VERSION;
}

const char *minstrel_status_text(minstrel_status status)
{
    return ms_status_text((ms_status)status);
}

minstrel_status ms_give(minstrel_error *err, ms_status status, const ms_error *e)
{
    if (!err) return (minstrel_status)status;
    *err = (minstrel_error){.status = (minstrel_status)status, .offset = -1};
    if (status) {
        err->offset = e->offset;
        snprintf(err->message, sizeof err->message, "%s", e->message);
        snprintf(err->path, sizeof err->path, "%s", e->path);
    }
    return (minstrel_status)status;
}

void ms_options_copy(void *defaults, const void *given, size_t size_bytes)
{
    size_t size;

    if (!given) return;
    memcpy(&size, given, sizeof size);
    memcpy(defaults, given, size < size_bytes ? size : size_bytes);
}

minstrel_options minstrel_default_options(void)
{
    return (minstrel_options){
        .size = sizeof(minstrel_options), .backend = "auto", .cache_type = "f32"};
}

ms_log ms_log_of(const minstrel_options *given)
{
    minstrel_options o = minstrel_default_options();

    ms_options_copy(&o, given, sizeof o);
    return (ms_log){.fn = o.log, .data = o.log_data};
}

ms_status ms_open_device(ms_device **out, const minstrel_options *given, ms_error *err)
{
    minstrel_options o = minstrel_default_options();
    ms_device_options device = {0};

    ms_options_copy(&o, given, sizeof o);
    if (o.threads < 0 || o.threads > 1024)
        return ms_fail(err, MS_INPUT, "threads: expected 0 to 1024, got %d", o.threads);
    device.threads = o.threads;
    device.pin = o.pin;
    return ms_device_open(out, o.backend ? o.backend : "auto", &device, err);
}

ms_status ms_products_bf16(const char *dtype, bool *out, ms_error *err)
{
    *out = strcmp(dtype, "bf16") == 0;
    if (*out || strcmp(dtype, "f32") == 0) return MS_OK;
    return ms_fail(err, MS_INPUT, "dtype: expected f32 or bf16, got %s", dtype);
}

const char *minstrel_backend(int i)
{
    return ms_device_list(i);
}

/* -- growing text ---------------------------------------------------------------------------- */

typedef struct {
    char *data;
    size_t size_bytes, room_bytes;
    bool failed;
} text;

static void add(text *t, const char *format, ...) MS_PRINTF(2, 3);
static void add(text *t, const char *format, ...)
{
    char line[512];
    va_list list;
    size_t n;

    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    n = strlen(line);
    if (t->size_bytes + n + 1 > t->room_bytes) {
        size_t room = 2 * (t->size_bytes + n + 1);
        char *grown = realloc(t->data, room);

        if (!grown) t->failed = true;
        if (!grown) return;
        t->data = grown;
        t->room_bytes = room;
    }
    memcpy(t->data + t->size_bytes, line, n + 1);
    t->size_bytes += n;
}

static ms_status take(text *t, char **out, ms_error *err)
{
    if (t->failed || !t->data) {
        free(t->data);
        return ms_fail(err, MS_MEMORY, "out of memory for a text");
    }
    *out = t->data;
    return MS_OK;
}

void minstrel_text_free(char *given)
{
    free(given);
}

minstrel_status minstrel_backend_describe(const char *backend, char **out, minstrel_error *err)
{
    minstrel_options o = minstrel_default_options();
    ms_device *d = NULL;
    ms_error e;
    ms_status s;
    text t = {0};
    int composed = 0;

    o.backend = backend;
    s = ms_open_device(&d, &o, &e);
    if (s) return ms_give(err, s, &e);
    add(&t, "backend: %s\ndevice: %s\nthreads: %d\nreals: %s\n", d->name, d->about,
        d->pool ? ms_pool_threads(d->pool) : 1, ms_dtype_name(d->real));
    add(&t, "ops: %d\ncomposed ops:", (int)MS_OP_COUNT);
    for (int i = 0; i < MS_OP_COUNT; i++)
        if (ms_op_is_composed(d->ops, (ms_op)i)) {
            add(&t, " %s", ms_op_name((ms_op)i));
            composed++;
        }
    add(&t, "%s\n", composed ? "" : " none");
    ms_device_close(d);
    return ms_give(err, take(&t, out, &e), &e);
}

/* -- shapes ---------------------------------------------------------------------------------- */

minstrel_shape minstrel_default_shape(void)
{
    return (minstrel_shape){.size = sizeof(minstrel_shape)};
}

const char *minstrel_preset(int i)
{
    const ms_arch *arch = ms_arch_at(i);

    return arch ? arch->name : NULL;
}

const char *minstrel_preset_about(int i)
{
    const ms_arch *arch = ms_arch_at(i);

    return arch ? arch->about : NULL;
}

ms_config ms_wanted_config(const minstrel_shape *given)
{
    minstrel_shape w = minstrel_default_shape();

    ms_options_copy(&w, given, sizeof w);
    return (ms_config){.vocab = w.vocab,
                       .context = w.context,
                       .layers = w.layers,
                       .width = w.width,
                       .heads = w.heads,
                       .kv_heads = w.kv_heads,
                       .head_dim = w.head_dim,
                       .ffn = w.ffn};
}

ms_status ms_shaped_preset(ms_config *out, const char *preset, const minstrel_shape *wanted,
                           ms_error *err)
{
    ms_config w = ms_wanted_config(wanted);

    MS_TRY(ms_config_preset(out, preset, err));
    ms_config_reshape(out, &w);
    return MS_OK;
}

static minstrel_shape shape_of(const ms_config *c)
{
    minstrel_shape s = minstrel_default_shape();

    snprintf(s.arch, sizeof s.arch, "%s", c->arch);
    s.vocab = c->vocab;
    s.context = c->context;
    s.layers = c->layers;
    s.width = c->width;
    s.heads = c->heads;
    s.kv_heads = c->kv_heads;
    s.head_dim = c->head_dim;
    s.ffn = c->ffn;
    s.parameters = ms_config_parameters(c);
    return s;
}

minstrel_status minstrel_preset_shape(const char *preset, const minstrel_shape *wanted,
                                      minstrel_shape *out, minstrel_error *err)
{
    ms_config c;
    ms_error e;
    ms_status s = ms_shaped_preset(&c, preset, wanted, &e);

    if (!s && c.vocab == 0) c.vocab = 257;
    if (!s) s = ms_config_check(&c, &e);
    if (!s) *out = shape_of(&c);
    return ms_give(err, s, &e);
}

/* -- models ---------------------------------------------------------------------------------- */

ms_status ms_open_tokenizer(ms_tokenizer **out, const char *path, ms_error *err)
{
    char file[PATH_BYTES];
    ms_gguf *g;
    ms_status s;

    if (ms_is_gguf(path)) {
        MS_TRY(ms_gguf_open(&g, path, err));
        s = ms_tokenizer_from_gguf(out, g, err);
        ms_gguf_close(g);
        return s;
    }
    if (!ms_path_is_folder(path)) return ms_tokenizer_load(out, path, err);
    MS_TRY(ms_path_join(file, sizeof file, path, "tokenizer.json", err));
    return ms_tokenizer_load(out, file, err);
}

static ms_status load_tokenizer(minstrel_model *m, const char *path, ms_error *err)
{
    MS_TRY(ms_open_tokenizer(&m->tokenizer, path, err));
    if (ms_tokenizer_vocab(m->tokenizer) > m->model->config.vocab)
        return ms_fail_at(err, MS_FORMAT, path, -1, "%d tokens, the model has %d",
                          ms_tokenizer_vocab(m->tokenizer), m->model->config.vocab);
    return MS_OK;
}

static ms_status set_cache(minstrel_model *m, const minstrel_options *given, ms_error *err)
{
    minstrel_options o = minstrel_default_options();

    ms_options_copy(&o, given, sizeof o);
    return ms_model_set_cache(m->model, o.cache_type ? o.cache_type : "f32", err);
}

static ms_status open_model(minstrel_model *m, const char *path, const minstrel_options *o,
                            ms_error *err)
{
    MS_TRY(ms_open_device(&m->device, o, err));
    MS_TRY(ms_model_open(&m->model, m->device, path, err));
    MS_TRY(set_cache(m, o, err));
    return load_tokenizer(m, path, err);
}

static ms_status new_model(minstrel_model *m, const char *preset, const minstrel_shape *shape,
                           uint64_t seed, const minstrel_options *o, ms_error *err)
{
    ms_config c;

    MS_TRY(ms_shaped_preset(&c, preset, shape, err));
    if (c.vocab == 0) c.vocab = 257;
    MS_TRY(ms_open_device(&m->device, o, err));
    MS_TRY(ms_model_new(&m->model, m->device, &c, err));
    MS_TRY(set_cache(m, o, err));
    MS_TRY(ms_tokenizer_bytes(&m->tokenizer, err));
    return ms_model_init(m->model, MS_INIT_XAVIER, seed, err);
}

/* Hands out a finished model or clears an unfinished one. */
static minstrel_status finish_model(minstrel_model **out, minstrel_model *m, ms_status s,
                                    const ms_error *e, minstrel_error *err)
{
    if (s)
        minstrel_model_free(m);
    else
        *out = m;
    return ms_give(err, s, e);
}

minstrel_status minstrel_model_open(minstrel_model **out, const char *path,
                                    const minstrel_options *o, minstrel_error *err)
{
    minstrel_model *m = calloc(1, sizeof *m);
    ms_error e;
    ms_status s =
        m ? open_model(m, path, o, &e) : ms_fail(&e, MS_MEMORY, "out of memory for a model");

    return finish_model(out, m, s, &e, err);
}

minstrel_status minstrel_model_new(minstrel_model **out, const char *preset,
                                   const minstrel_shape *shape, uint64_t seed,
                                   const minstrel_options *o, minstrel_error *err)
{
    minstrel_model *m = calloc(1, sizeof *m);
    ms_error e;
    ms_status s = m ? new_model(m, preset, shape, seed, o, &e)
                    : ms_fail(&e, MS_MEMORY, "out of memory for a model");

    return finish_model(out, m, s, &e, err);
}

void minstrel_model_free(minstrel_model *m)
{
    if (!m) return;
    if (!m->lent) {
        ms_tokenizer_free(m->tokenizer);
        ms_model_free(m->model);
        ms_device_close(m->device);
    }
    free(m);
}

minstrel_shape minstrel_model_shape(const minstrel_model *m)
{
    return shape_of(&m->model->config);
}

/* -- descriptions ---------------------------------------------------------------------------- */

static const char *positions_name(ms_positions p)
{
    static const char *const name[] = {"rotary", "learned", "sinusoidal"};

    return name[p];
}

static void describe_weight(text *t, const char *name, int layer, const ms_weight *w)
{
    char full[40], shape[64];

    snprintf(full, sizeof full, layer < 0 ? "%s" : "%s.%d", name, layer);
    for (int i = 0; i < 3 && ms_present(w->part[i]); i++)
        add(t, "%-16s %s %s\n", i ? "" : full, ms_shape_text(w->part[i], shape),
            ms_dtype_name(w->part[i].dtype));
}

/* Matrices that stay as their file has them, each part with its type. */
static void describe_stored(const ms_model *m, text *t)
{
    ms_weight embed = {{m->embed}}, head = {{m->head}};

    describe_weight(t, "embed", -1, &embed);
    if (!m->config.tied) describe_weight(t, "head", -1, &head);
    for (int l = 0; l < m->config.layers; l++) {
        describe_weight(t, "wqkv", l, &m->stored[l].wqkv);
        describe_weight(t, "wo", l, &m->stored[l].wo);
        describe_weight(t, "w_up", l, &m->stored[l].w_up);
        describe_weight(t, "w_down", l, &m->stored[l].w_down);
    }
}

static void describe_text(const minstrel_model *m, text *t)
{
    const ms_config *c = &m->model->config;
    char name[40], shape[64];
    ms_start start;
    ms_tensor *p;

    add(t,
        "family: %s\nparameters: %zu\nlayers: %d\nwidth: %d\nheads: %d\nkv heads: %d\nhead dim: "
        "%d\n",
        c->arch, ms_config_parameters(c), c->layers, c->width, c->heads, c->kv_heads, c->head_dim);
    add(t, "ffn: %d\ncontext: %d\nvocabulary: %d\ntokenizer: %s\n", c->ffn, c->context, c->vocab,
        ms_tokenizer_kind(m->tokenizer));
    add(t, "norm: %s, %s, eps %g\npositions: %s\nactivation: %s\nhead: %s\n\n",
        c->rms ? "RMS" : "layer", c->post_norm ? "post" : "pre", c->norm_eps,
        positions_name(c->positions), ms_act_name(c->act), c->tied ? "tied" : "own");
    if (m->model->stored) describe_stored(m->model, t);
    for (int i = 0; (p = ms_params_get(&m->model->weights.p, c, i, name, &start)); i++)
        if (ms_present(*p)) add(t, "%-16s %s\n", name, ms_shape_text(*p, shape));
}

static char *describe_json(const minstrel_model *m)
{
    const ms_config *c = &m->model->config;
    cJSON *o = cJSON_CreateObject();
    char *out;

    cJSON_AddStringToObject(o, "arch", c->arch);
    cJSON_AddNumberToObject(o, "parameters", (double)ms_config_parameters(c));
    cJSON_AddNumberToObject(o, "layers", c->layers);
    cJSON_AddNumberToObject(o, "width", c->width);
    cJSON_AddNumberToObject(o, "heads", c->heads);
    cJSON_AddNumberToObject(o, "kv_heads", c->kv_heads);
    cJSON_AddNumberToObject(o, "head_dim", c->head_dim);
    cJSON_AddNumberToObject(o, "ffn", c->ffn);
    cJSON_AddNumberToObject(o, "context", c->context);
    cJSON_AddNumberToObject(o, "vocab", c->vocab);
    cJSON_AddStringToObject(o, "tokenizer", ms_tokenizer_kind(m->tokenizer));
    out = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return out;
}

minstrel_status minstrel_model_describe(const minstrel_model *m, int json, char **out,
                                        minstrel_error *err)
{
    text t = {0};
    ms_error e;

    if (json) {
        char *line = describe_json(m);

        if (line) add(&t, "%s", line);
        cJSON_free(line);
    } else {
        describe_text(m, &t);
    }
    return ms_give(err, take(&t, out, &e), &e);
}
