/* A model folder: what is saved is loaded to the bit, in every type of the file; names and layouts
 * are those of the family; what does not fit is named, and nothing is left of it. */
#include "model/folder.h"

#include "base/half.h"
#include "base/rng.h"
#include "formats/safetensors.h"
#include "model/arch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const PRESET[] = {"original", "gpt2",  "llama", "mistral",
                                     "qwen2",    "qwen3", "nano",  "smollm"};

enum { PRESETS = sizeof PRESET / sizeof *PRESET, ROWS = 12, VOCAB = 23, ENTRIES = 64 };

static void must(ms_status status, const ms_error *err)
{
    if (status) fail_msg("%s: %s %s", ms_status_text(status), err->path, err->message);
}

/* -- a model in a folder ----------------------------------------------------------------------- */

typedef struct {
    ms_device *device;
    ms_model *model; /* every parameter has values of its own, none of them 0 or 1 */
    char folder[64], file[96];
} place;

static void fill(ms_model *m)
{
    ms_queue q = {.device = m->device};
    ms_rng r = ms_rng_new(9, 0, MS_SITE_TEST);
    ms_start start;
    char name[40];
    ms_tensor *t;
    ms_error err;

    for (int i = 0; (t = ms_params_get(&m->weights.p, &m->config, i, name, &start)); i++) {
        size_t n = ms_count(*t);
        float *v = test_malloc(n * sizeof *v);

        for (size_t j = 0; j < n; j++) v[j] = (float)(ms_rng_normal(&r) * 0.3);
        ms_write_floats(&q, *t, v);
        test_free(v);
    }
    must(ms_queue_finish(&q, &err), &err);
}

static void place_open(place *p, const char *device, const char *preset)
{
    ms_device_options o = {.threads = 1};
    ms_config c;
    ms_error err;
    bool gpt2 = !strcmp(preset, "gpt2"), groups = !gpt2 && strcmp(preset, "original") != 0;

    *p = (place){.folder = "/tmp/minstrel-folder-XXXXXX"};
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->file, sizeof p->file, "%s/model.safetensors", p->folder);
    must(ms_config_preset(&c, preset, &err), &err);
    ms_config_reshape(&c, &(ms_config){.vocab = VOCAB,
                                       .context = ROWS,
                                       .layers = 2,
                                       .width = 16,
                                       .heads = 4,
                                       .kv_heads = groups ? 2 : 4,
                                       .head_dim = groups ? 6 : 4,
                                       .ffn = 20});
    c.bos = 3;
    must(ms_device_open(&p->device, device, &o, &err), &err);
    must(ms_model_new(&p->model, p->device, &c, &err), &err);
    fill(p->model);
    ms_queue q = {.device = p->device};
    must(ms_model_save(p->model, &q, p->folder, &err), &err);
}

static void place_close(place *p)
{
    ms_error err;

    ms_model_free(p->model);
    assert_int_equal(p->device->allocated_bytes, 0);
    ms_device_close(p->device);
    must(ms_folder_remove(p->folder, &err), &err);
}

static ms_model *load(place *p)
{
    ms_model *m = NULL;
    ms_error err;

    must(ms_model_load(&m, p->device, p->folder, &err), &err);
    return m;
}

/* Refused with a status and a text; nothing is made or kept. */
static void refused(place *p, ms_status status, const char *text)
{
    size_t held = p->device->allocated_bytes;
    ms_model *m = NULL;
    ms_error err = {.status = MS_OK};
    ms_status got = ms_model_load(&m, p->device, p->folder, &err);

    if (got != status || err.status != status || !strstr(err.message, text))
        fail_msg("expected %s with \"%s\", got %s: %s", ms_status_text(status), text,
                 ms_status_text(got), err.message);
    assert_non_null(strstr(err.path, p->folder));
    assert_null(m);
    assert_int_equal(p->device->allocated_bytes, held);
}

/* All parameters of one model are `to` of those of the other. */
static void same_parameters(ms_model *a, ms_model *b, float (*to)(float))
{
    ms_queue qa = {.device = a->device}, qb = {.device = b->device};
    ms_start start;
    char name[40];
    ms_tensor *s, *t;

    for (int i = 0; (s = ms_params_get(&a->weights.p, &a->config, i, name, &start)); i++) {
        size_t n = ms_count(*s);
        double *x = test_malloc(n * sizeof *x), *y = test_malloc(n * sizeof *y);

        t = ms_params_get(&b->weights.p, &b->config, i, name, &start);
        assert_true(ms_same_shape(*s, *t));
        ms_read_reals(&qa, *s, x);
        ms_read_reals(&qb, *t, y);
        for (size_t j = 0; j < n; j++) {
            double want = to ? to((float)x[j]) : x[j];

            if (y[j] != want)
                fail_msg("%s, element %zu: %.17g, expected %.17g", name, j, y[j], want);
        }
        test_free(x);
        test_free(y);
    }
}

static void logits(ms_model *m, double z[ROWS * VOCAB])
{
    ms_pass_options o = {.batch = 1, .rows = ROWS};
    ms_seq seq = {0, ROWS};
    int32_t id[ROWS];
    ms_pass *p;
    ms_error err;

    for (int i = 0; i < ROWS; i++) id[i] = i * 5 % VOCAB;
    must(ms_pass_new(&p, m, &o, &err), &err);
    must(ms_pass_logits_all(p, ROWS, id, &seq, z, &err), &err);
    ms_pass_free(p);
}

/* -- files rewritten --------------------------------------------------------------------------- */

/* The entries of a file, to be changed and written in its place. */
typedef struct {
    ms_safetensors *file;
    ms_st_entry entry[ENTRIES];
    int count;
    char name[ENTRIES][160];
    void *owned[ENTRIES];
    int owns;
} edit;

static edit *edit_begin(place *p)
{
    edit *e = test_calloc(1, sizeof *e);
    ms_error err;

    must(ms_safetensors_open(&e->file, p->file, &err), &err);
    e->count = ms_safetensors_count(e->file);
    assert_true(e->count < ENTRIES - 4);
    for (int i = 0; i < e->count; i++) e->entry[i] = *ms_safetensors_at(e->file, i);
    return e;
}

static void edit_write(edit *e, place *p)
{
    ms_error err;

    must(ms_safetensors_write(p->file, e->entry, e->count, NULL, NULL, NULL, &err), &err);
    ms_safetensors_close(e->file);
    for (int i = 0; i < e->owns; i++) test_free(e->owned[i]);
    test_free(e);
}

static ms_st_entry *edit_find(edit *e, const char *name)
{
    for (int i = 0; i < e->count; i++)
        if (!strcmp(e->entry[i].name, name)) return &e->entry[i];
    fail_msg("the file has no %s", name);
    return NULL;
}

static void edit_rename(edit *e, ms_st_entry *s, const char *name)
{
    char *to = e->name[s - e->entry];

    snprintf(to, sizeof e->name[0], "%s", name);
    s->name = to;
}

static void edit_drop(edit *e, ms_st_entry *s)
{
    memmove(s, s + 1, (size_t)(e->entry + --e->count - s) * sizeof *s);
}

static void *edit_own(edit *e, size_t bytes)
{
    return e->owned[e->owns++] = test_calloc(1, bytes);
}

/* A tensor of zeros. */
static void edit_add(edit *e, const char *name, ms_dtype dtype, int rank, const int *dim)
{
    ms_st_entry *s = &e->entry[e->count++];

    *s = (ms_st_entry){.dtype = dtype, .rank = rank};
    s->size_bytes = ms_dtype_bytes(dtype);
    for (int i = 0; i < rank; i++) {
        s->dim[i] = dim[i];
        s->size_bytes *= (size_t)dim[i];
    }
    s->data = edit_own(e, s->size_bytes);
    edit_rename(e, s, name);
}

static float through_f16(float x)
{
    return ms_float_from_f16(ms_f16_from_float(x));
}

static float through_bf16(float x)
{
    return ms_float_from_bf16(ms_bf16_from_float(x));
}

static float through_f32(float x)
{
    return x;
}

static void convert(edit *e, ms_st_entry *s, ms_dtype dtype)
{
    size_t n = s->size_bytes / sizeof(float);
    char *to = edit_own(e, n * ms_dtype_bytes(dtype));

    for (size_t i = 0; i < n; i++) {
        float x;
        uint16_t h;
        double d;

        memcpy(&x, (const char *)s->data + i * sizeof x, sizeof x);
        d = x;
        h = dtype == MS_F16 ? ms_f16_from_float(x) : ms_bf16_from_float(x);
        if (dtype == MS_F64)
            memcpy(to + i * sizeof d, &d, sizeof d);
        else
            memcpy(to + i * sizeof h, &h, sizeof h);
    }
    s->dtype = dtype;
    s->data = to;
    s->size_bytes = n * ms_dtype_bytes(dtype);
}

/* -- what must come back ----------------------------------------------------------------------- */

static void a_saved_model_is_loaded_to_the_bit(void **state)
{
    static const char *const device[] = {"ref", "cpu"};
    static double want[ROWS * VOCAB], got[ROWS * VOCAB];

    (void)state;
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < PRESETS; i++) {
            place p;

            place_open(&p, device[d], PRESET[i]);
            ms_model *m = load(&p);
            assert_string_equal(m->config.arch, p.model->config.arch);
            assert_int_equal(m->config.bos, 3);
            assert_int_equal(ms_config_parameters(&m->config),
                             ms_config_parameters(&p.model->config));
            same_parameters(p.model, m, NULL);
            logits(p.model, want);
            logits(m, got);
            assert_memory_equal(want, got, sizeof want);
            ms_model_free(m);
            place_close(&p);
        }
}

/* Saved twice: the same bytes; loaded on the other device: the same values. */
static void files_do_not_depend_on_the_device(void **state)
{
    place p, other;
    ms_error err;
    ms_map a, b;

    (void)state;
    place_open(&p, "cpu", "qwen3");
    place_open(&other, "ref", "qwen3");
    must(ms_map_open(&a, p.file, &err), &err);
    must(ms_map_open(&b, other.file, &err), &err);
    assert_int_equal(a.size_bytes, b.size_bytes);
    assert_memory_equal(a.data, b.data, a.size_bytes);
    ms_map_close(&a);
    ms_map_close(&b);
    ms_model *m = load(&other);
    same_parameters(p.model, m, NULL);
    ms_model_free(m);
    place_close(&p);
    place_close(&other);
}

static void types_of_the_file_are_converted(void **state)
{
    static const struct {
        ms_dtype dtype;
        float (*through)(float);
    } row[] = {{MS_F16, through_f16}, {MS_BF16, through_bf16}, {MS_F64, through_f32}};

    (void)state;
    for (int i = 0; i < PRESETS; i++)
        for (int k = 0; k < 3; k++) {
            place p;

            place_open(&p, "cpu", PRESET[i]);
            edit *e = edit_begin(&p);
            for (int j = 0; j < e->count; j++) convert(e, &e->entry[j], row[k].dtype);
            edit_write(e, &p);
            ms_model *m = load(&p);
            same_parameters(p.model, m, row[k].through);
            ms_model_free(m);
            place_close(&p);
        }
}

/* Types may differ from tensor to tensor, and the order of a file does not matter. */
static void mixed_types_in_any_order_are_read(void **state)
{
    place p;

    (void)state;
    place_open(&p, "cpu", "llama");
    edit *e = edit_begin(&p);
    for (int i = 0; i < e->count / 2; i++) {
        ms_st_entry swap = e->entry[i];

        e->entry[i] = e->entry[e->count - 1 - i];
        e->entry[e->count - 1 - i] = swap;
    }
    convert(e, edit_find(e, "model.layers.0.mlp.down_proj.weight"), MS_F64);
    convert(e, edit_find(e, "lm_head.weight"), MS_F64);
    edit_write(e, &p);
    ms_model *m = load(&p);
    same_parameters(p.model, m, NULL);
    ms_model_free(m);
    place_close(&p);
}

/* -- names and layouts ------------------------------------------------------------------------- */

static float stored_element(const ms_st_entry *s, int row, int column)
{
    float x;

    memcpy(&x,
           (const char *)s->data + ((size_t)row * (size_t)s->dim[1] + (size_t)column) * sizeof x,
           sizeof x);
    return x;
}

/* The entry holds rows [first, first + rows) of the parameter; transposed: its columns. */
static void holds(edit *e, const char *name, ms_tensor t, int first, int rows, bool transposed)
{
    const ms_st_entry *s = edit_find(e, name);
    const float *w = t.data;
    int columns = t.dim[1];

    assert_int_equal(s->rank, 2);
    assert_int_equal(s->dtype, MS_F32);
    assert_int_equal(s->dim[transposed], rows);
    assert_int_equal(s->dim[!transposed], columns);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            float got = transposed ? stored_element(s, j, i) : stored_element(s, i, j);

            if (got != w[(first + i) * columns + j]) fail_msg("%s: element %d, %d", name, i, j);
        }
}

/* H = 4, K = 2, D = 6, F = 20: q, k, v and gate, up lie behind one another. */
static void packed_weights_are_stored_in_parts(void **state)
{
    place p;

    (void)state;
    place_open(&p, "cpu", "llama");
    edit *e = edit_begin(&p);
    const ms_params *w = &p.model->weights.p;
    const ms_layer *l = &w->layer[1];
    holds(e, "model.embed_tokens.weight", w->embed, 0, VOCAB, false);
    holds(e, "lm_head.weight", w->head, 0, VOCAB, false);
    holds(e, "model.layers.1.self_attn.q_proj.weight", l->wqkv, 0, 24, false);
    holds(e, "model.layers.1.self_attn.k_proj.weight", l->wqkv, 24, 12, false);
    holds(e, "model.layers.1.self_attn.v_proj.weight", l->wqkv, 36, 12, false);
    holds(e, "model.layers.1.self_attn.o_proj.weight", l->wo, 0, 16, false);
    holds(e, "model.layers.1.mlp.gate_proj.weight", l->w_up, 0, 20, false);
    holds(e, "model.layers.1.mlp.up_proj.weight", l->w_up, 20, 20, false);
    holds(e, "model.layers.1.mlp.down_proj.weight", l->w_down, 0, 16, false);
    assert_string_equal(ms_safetensors_metadata(e->file, "format"), "pt");
    assert_int_equal(e->count, 2 * 9 + 3);
    edit_write(e, &p);
    place_close(&p);
}

static void gpt2_stores_its_weights_transposed(void **state)
{
    place p;

    (void)state;
    place_open(&p, "cpu", "gpt2");
    edit *e = edit_begin(&p);
    const ms_params *w = &p.model->weights.p;
    const ms_layer *l = &w->layer[0];
    holds(e, "transformer.wte.weight", w->embed, 0, VOCAB, false);
    holds(e, "transformer.wpe.weight", w->pos, 0, ROWS, false);
    holds(e, "transformer.h.0.attn.c_attn.weight", l->wqkv, 0, 48, true);
    holds(e, "transformer.h.0.attn.c_proj.weight", l->wo, 0, 16, true);
    holds(e, "transformer.h.0.mlp.c_fc.weight", l->w_up, 0, 20, true);
    holds(e, "transformer.h.0.mlp.c_proj.weight", l->w_down, 0, 16, true);
    assert_int_equal(e->count, 2 * 12 + 4); /* the head is the embedding */
    edit_write(e, &p);
    place_close(&p);
}

static void gpt2_is_read_without_its_prefix(void **state)
{
    place p;

    (void)state;
    place_open(&p, "cpu", "gpt2");
    edit *e = edit_begin(&p);
    for (int i = 0; i < e->count; i++) edit_rename(e, &e->entry[i], e->entry[i].name + 12);
    edit_write(e, &p);
    ms_model *m = load(&p);
    same_parameters(p.model, m, NULL);
    ms_model_free(m);

    e = edit_begin(&p); /* under both names: the second is a stranger */
    edit_add(e, "transformer.ln_f.bias", MS_F32, 1, (int[]){16});
    edit_write(e, &p);
    refused(&p, MS_FORMAT, "tensor ln_f.bias belongs to no part of a gpt2 model");
    place_close(&p);
}

static void known_buffers_are_ignored(void **state)
{
    static const struct {
        const char *preset, *name;
        ms_dtype dtype;
    } row[] = {{"llama", "model.layers.0.self_attn.rotary_emb.inv_freq", MS_F32},
               {"mistral", "model.layers.1.self_attn.rotary_emb.inv_freq", MS_F16},
               {"gpt2", "transformer.h.0.attn.bias", MS_U8},
               {"gpt2", "transformer.h.1.attn.masked_bias", MS_F32},
               {"gpt2", "h.1.attn.bias", MS_F32},
               {"gpt2", "lm_head.weight", MS_F32},
               {"smollm", "lm_head.weight", MS_BF16}};

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        place p;

        place_open(&p, "cpu", row[i].preset);
        edit *e = edit_begin(&p);
        edit_add(e, row[i].name, row[i].dtype, 4, (int[]){1, 1, ROWS, ROWS});
        edit_write(e, &p);
        ms_model *m = load(&p);
        same_parameters(p.model, m, NULL);
        ms_model_free(m);
        place_close(&p);
    }
}

/* -- what does not fit ------------------------------------------------------------------------- */

static void every_tensor_must_be_there(void **state)
{
    (void)state;
    for (int i = 0; i < PRESETS; i++) {
        int count = 1;

        for (int k = 0; k < count; k++) {
            char text[200];
            place p;

            place_open(&p, "cpu", PRESET[i]);
            edit *e = edit_begin(&p);
            count = e->count;
            snprintf(text, sizeof text, "%s is missing", e->entry[k].name);
            edit_drop(e, &e->entry[k]);
            edit_write(e, &p);
            refused(&p, MS_FORMAT, text);
            place_close(&p);
        }
    }
}

enum { SHAPE, TYPE, RENAME, ADD };

static void tensors_that_do_not_fit_are_named(void **state)
{
    static const struct {
        const char *preset, *tensor;
        int what, dim[2];
        const char *name; /* or new name */
        ms_status status;
        const char *message;
    } row[] = {
        {"llama",
         "model.norm.weight",
         SHAPE,
         {17},
         "",
         MS_SHAPE,
         "model.norm.weight: expected (16), file has (17)"},
        {"llama",
         "model.norm.weight",
         SHAPE,
         {1, 16},
         "",
         MS_SHAPE,
         "model.norm.weight: expected (16), file has (1, 16)"},
        {"llama",
         "lm_head.weight",
         SHAPE,
         {16, VOCAB},
         "",
         MS_SHAPE,
         "lm_head.weight: expected (23, 16), file has (16, 23)"},
        {"llama",
         "model.layers.1.self_attn.k_proj.weight",
         SHAPE,
         {24, 16},
         "",
         MS_SHAPE,
         "model.layers.1.self_attn.k_proj.weight: expected (12, 16), file has (24, 16)"},
        {"llama",
         "model.layers.0.mlp.gate_proj.weight",
         SHAPE,
         {320},
         "",
         MS_SHAPE,
         "model.layers.0.mlp.gate_proj.weight: expected (20, 16), file has (320)"},
        {"gpt2",
         "transformer.h.0.attn.c_attn.weight",
         SHAPE,
         {48, 16},
         "",
         MS_SHAPE,
         "c_attn.weight: expected (16, 48), file has (48, 16)"},
        {"gpt2",
         "transformer.wpe.weight",
         SHAPE,
         {ROWS + 1, 16},
         "",
         MS_SHAPE,
         "transformer.wpe.weight: expected (12, 16), file has (13, 16)"},
        {"original", "lm_head.bias", SHAPE, {0}, "", MS_SHAPE, "lm_head.bias: expected (23)"},
        {"llama",
         "model.norm.weight",
         TYPE,
         {0},
         "i32",
         MS_FORMAT,
         "model.norm.weight: expected real numbers, the file has i32"},
        {"llama",
         "",
         ADD,
         {16},
         "model.norm.bias",
         MS_FORMAT,
         "tensor model.norm.bias belongs to no part of a llama model"},
        {"llama",
         "",
         ADD,
         {16},
         "model.layers.2.input_layernorm.weight",
         MS_FORMAT,
         "tensor model.layers.2.input_layernorm.weight belongs to no part"},
        {"llama",
         "",
         ADD,
         {24},
         "model.layers.0.self_attn.q_proj.bias",
         MS_FORMAT,
         "tensor model.layers.0.self_attn.q_proj.bias belongs to no part"},
        {"llama", "", ADD, {1}, "", MS_FORMAT, "belongs to no part"},
        {"llama", "", ADD, {1}, "bias", MS_FORMAT, "tensor bias belongs to no part"},
        {"llama", "", ADD, {1}, "transformer.model.norm.weight", MS_FORMAT, "belongs to no part"},
        {"nano", "", ADD, {16}, "model.norm.weight", MS_FORMAT, "tensor model.norm.weight belongs"},
        {"qwen3",
         "model.layers.0.self_attn.q_norm.weight",
         RENAME,
         {0},
         "model.layers.0.self_attn.Q_norm.weight",
         MS_FORMAT,
         "model.layers.0.self_attn.q_norm.weight is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int rank = row[i].dim[1] ? 2 : 1;
        place p;

        place_open(&p, "cpu", row[i].preset);
        edit *e = edit_begin(&p);
        if (row[i].what == ADD) {
            edit_add(e, row[i].name, MS_F32, rank, row[i].dim);
        } else if (row[i].what == RENAME) {
            edit_rename(e, edit_find(e, row[i].tensor), row[i].name);
        } else {
            ms_st_entry *s = edit_find(e, row[i].tensor), had = *s;
            bool shape = row[i].what == SHAPE;

            edit_drop(e, s);
            edit_add(e, row[i].tensor, shape ? MS_F32 : MS_I32, shape ? rank : had.rank,
                     shape ? row[i].dim : had.dim);
        }
        edit_write(e, &p);
        refused(&p, row[i].status, row[i].message);
        place_close(&p);
    }
}

/* Files that are missing, cut off, of another model, or no folder at all. */
static void folders_that_are_none_are_refused(void **state)
{
    place p, other;
    char path[128], *text;
    size_t size;
    ms_error err;

    (void)state;
    place_open(&p, "cpu", "llama");
    place_open(&other, "cpu", "qwen2");
    snprintf(path, sizeof path, "%s/config.json", p.folder);
    must(ms_file_read(&text, &size, p.file, 1 << 20, &err), &err);
    for (size_t cut = 0; cut < size; cut = cut * 3 + 1) {
        must(ms_file_write(p.file, text, cut, &err), &err);
        refused(&p, MS_FORMAT, "");
    }
    must(ms_file_publish(other.file, p.file, &err), &err);
    refused(&p, MS_FORMAT, "belongs to no part of a llama model");
    assert_int_equal(unlink(p.file), 0);
    refused(&p, MS_IO, "No such file");
    must(ms_file_write(p.file, text, size, &err), &err);
    must(ms_file_write(path, "{\"model_type\":\"llama\"}", 22, &err), &err);
    refused(&p, MS_FORMAT, "\"vocab_size\"");
    assert_int_equal(unlink(path), 0);
    refused(&p, MS_IO, "No such file");
    must(ms_folder_remove(p.folder, &err), &err);
    refused(&p, MS_IO, "is not a model folder");
    must(ms_file_write(p.folder, "x", 1, &err), &err);
    refused(&p, MS_IO, "is not a model folder");
    free(text);
    place_close(&p);
    place_close(&other);
}

/* A config.json that asks for far more than its file holds costs no memory to refuse. */
static void claims_are_checked_before_memory_is_taken(void **state)
{
    static const char claim[] =
        "{\"model_type\":\"llama\",\"vocab_size\":100000,\"hidden_size\":64,"
        "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":40,"
        "\"max_position_embeddings\":24}";
    char path[128];
    ms_model *m = NULL;
    place p;
    ms_error err;

    (void)state;
    place_open(&p, "cpu", "llama");
    snprintf(path, sizeof path, "%s/config.json", p.folder);
    must(ms_file_write(path, claim, sizeof claim - 1, &err), &err);
    size_t before = p.device->allocations;
    assert_int_not_equal(ms_model_load(&m, p.device, p.folder, &err), MS_OK);
    assert_true(err.message[0] != 0);
    assert_int_equal(p.device->allocations, before);
    place_close(&p);
}

/* -- lists with a prefix ----------------------------------------------------------------------- */

static void lists_are_saved_under_their_prefixes(void **state)
{
    static const char *const prefix[] = {"m.", "v."};
    ms_params_block b;
    place p;
    ms_error err;

    (void)state;
    for (int i = 0; i < PRESETS; i++) {
        place_open(&p, "cpu", PRESET[i]);
        ms_queue q = {.device = p.device};
        const ms_config *c = &p.model->config;
        ms_params *w = &p.model->weights.p;
        size_t bytes = ms_tensor_bytes(w->flat);

        must(ms_params_block_new(&b, p.device, c, &err), &err);
        must(ms_params_save((ms_params *[]){&b.p, w}, prefix, 2, c, &q, p.file, &err), &err);
        must(ms_params_load(&b.p, c, &q, p.file, "v.", &err), &err);
        assert_memory_equal(b.p.flat.data, w->flat.data, bytes);
        must(ms_params_load(&b.p, c, &q, p.file, "m.", &err), &err);
        for (size_t k = 0; k < bytes / sizeof(float); k++)
            assert_true(((float *)b.p.flat.data)[k] == 0);
        assert_int_equal(ms_params_load(&b.p, c, &q, p.file, "w.", &err), MS_FORMAT);
        assert_true(!strncmp(err.message, "w.", 2) && strstr(err.message, " is missing"));
        ms_params_block_free(&b, p.device);
        place_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_model_is_loaded_to_the_bit),
        cmocka_unit_test(files_do_not_depend_on_the_device),
        cmocka_unit_test(types_of_the_file_are_converted),
        cmocka_unit_test(mixed_types_in_any_order_are_read),
        cmocka_unit_test(packed_weights_are_stored_in_parts),
        cmocka_unit_test(gpt2_stores_its_weights_transposed),
        cmocka_unit_test(gpt2_is_read_without_its_prefix),
        cmocka_unit_test(known_buffers_are_ignored),
        cmocka_unit_test(every_tensor_must_be_there),
        cmocka_unit_test(tensors_that_do_not_fit_are_named),
        cmocka_unit_test(folders_that_are_none_are_refused),
        cmocka_unit_test(claims_are_checked_before_memory_is_taken),
        cmocka_unit_test(lists_are_saved_under_their_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
