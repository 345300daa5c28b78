/* folder - binds stored tensors to the parameters of a family, both ways */
#include "model/folder.h"

#include "base/file.h"
#include "base/quant.h"
#include "formats/tensors.h"
#include "model/arch.h"
#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* -- loading --------------------------------------------------------------------------------- */

/* Names from checkpoints of the bare GPT-2 lack the prefix. */
static const ms_st_entry *find_entry(const ms_tensors *file, const char *prefix, const char *name)
{
    char full[160];
    const ms_st_entry *e;

    if (ms_tensors_gguf(file))
        return ms_gguf_tensor_name(name, full) ? ms_tensors_find(file, full) : NULL;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    e = ms_tensors_find(file, full);
    if (!e && strncmp(name, "transformer.", 12) == 0) {
        snprintf(full, sizeof full, "%s%s", prefix, name + 12);
        e = ms_tensors_find(file, full);
    }
    return e;
}

/* GGUF keeps no weight transposed. */
static bool is_transposed(const ms_tensors *file, const ms_stored *s)
{
    return s->transposed && !ms_tensors_gguf(file);
}

static ms_status check_shape(const ms_tensors *file, const ms_st_entry *e, const ms_stored *s,
                             ms_error *err)
{
    ms_tensor want = s->part;
    ms_tensor have = ms_tensor_make(NULL, e->dtype, e->rank, e->dim);
    const char *path = ms_tensors_path(file, e);
    char a[64], b[64];

    if (is_transposed(file, s)) {
        want.dim[0] = s->part.dim[1];
        want.dim[1] = s->part.dim[0];
    }
    if (!ms_dtype_is_real(e->dtype))
        return ms_fail_at(err, MS_FORMAT, path, -1, "%s: expected real numbers, the file has %s",
                          e->name, ms_dtype_name(e->dtype));
    if (!ms_same_shape(want, have))
        return ms_fail_at(err, MS_SHAPE, path, -1, "%s: expected %s, file has %s", e->name,
                          ms_shape_text(want, a), ms_shape_text(have, b));
    return MS_OK;
}

/* llama's GGUF lists the rows of a head in pairs (0, D/2, 1, D/2 + 1, ...): where row i is there. */
static int file_row(const ms_tensors *file, const ms_config *c, const ms_stored *s, int i)
{
    int D = c->head_dim, inside = i % D;

    if (!ms_tensors_gguf(file) || s->heads == 0 || strcmp(ms_arch_find(c->arch)->gguf, "llama"))
        return i;
    return i - inside + (inside < D / 2 ? 2 * inside : 2 * (inside - D / 2) + 1);
}

/* Bytes of a row of an entry. */
static size_t row_bytes(const ms_st_entry *e)
{
    return e->size_bytes / (size_t)(e->rank == 2 ? e->dim[0] : 1);
}

/* n elements from the first one of a row (or, of a vector, of the whole). */
static void read_row(const ms_st_entry *e, const char *row, double *out, float *part, int n)
{
    if (e->dtype == MS_F64) {
        memcpy(out, row, (size_t)n * sizeof *out);
        return;
    }
    ms_dequantize(e->dtype, row, part, (size_t)n);
    for (int i = 0; i < n; i++) out[i] = part[i];
}

/* Column i of an entry, as a row. */
static void read_column(const ms_st_entry *e, int column, double *out, float *part)
{
    for (int i = 0; i < e->dim[0]; i++)
        read_row(e,
                 (const char *)e->data + (size_t)i * row_bytes(e) +
                     (size_t)column * ms_dtype_bytes(e->dtype),
                 out + i, part, 1);
}

/* Row by row, so that no second copy of a model is needed. */
static ms_status read_part(ms_queue *q, const ms_config *c, const ms_tensors *file,
                           const ms_st_entry *e, const ms_stored *s, ms_error *err)
{
    bool matrix = s->part.rank == 2;
    int rows = matrix || s->heads ? s->part.dim[0] : 1;
    int columns = matrix ? s->part.dim[1] : s->part.dim[0] / rows;
    size_t bytes = (size_t)columns / (size_t)ms_dtype_block(e->dtype) * ms_dtype_bytes(e->dtype);
    double *row = malloc((size_t)columns * (sizeof *row + sizeof(float)));
    float *part = (float *)(row + columns);

    if (!row) return ms_fail(err, MS_MEMORY, "out of memory for a row of %s", e->name);
    for (int i = 0; i < rows; i++) {
        ms_tensor to = rows > 1 || matrix ? ms_rows(s->part, i, 1) : s->part;
        const char *from = (const char *)e->data + (size_t)file_row(file, c, s, i) * bytes;

        if (is_transposed(file, s))
            read_column(e, i, row, part);
        else
            read_row(e, from, row, part, columns);
        ms_write_reals(q, to, row);
    }
    free(row);
    return MS_OK;
}

/* Buffers that some writers store besides the parameters. */
static bool known_buffer(const char *name, const ms_config *c)
{
    static const char *const suffix[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq",
                                         "rope_freqs.weight"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        size_t n = strlen(suffix[i]);

        if (length >= n && !strcmp(name + length - n, suffix[i])) return true;
    }
    return c->tied && !strcmp(name, "lm_head.weight");
}

/* Every tensor of the list is there and has its shape; *used counts them.  p may be a plan. */
static ms_status check_list(ms_params *p, const ms_config *c, const ms_tensors *file,
                            const char *prefix, int *used, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (*used = 0; arch->stored(c, p, *used, &s); ++*used) {
        const ms_st_entry *e = find_entry(file, prefix, s.name);

        if (!e)
            return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, NULL), -1, "%s%s is missing",
                              prefix, s.name);
        MS_TRY(check_shape(file, e, &s, err));
    }
    return MS_OK;
}

/* Reads a list that has been checked. */
static ms_status read_list(ms_params *p, const ms_config *c, ms_queue *q, const ms_tensors *file,
                           const char *prefix, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (int i = 0; arch->stored(c, p, i, &s); i++)
        MS_TRY(read_part(q, c, file, find_entry(file, prefix, s.name), &s, err));
    return ms_queue_finish(q, err);
}

ms_status ms_params_load(ms_params *p, const ms_config *c, ms_queue *q, const char *path,
                         const char *prefix, ms_error *err)
{
    ms_tensors *file;
    ms_status s;
    int used;

    MS_TRY(ms_tensors_open_safetensors(&file, path, err));
    s = check_list(p, c, file, prefix, &used, err);
    if (!s) s = read_list(p, c, q, file, prefix, err);
    ms_tensors_close(file);
    return s;
}

/* Names the first tensor of the file that belongs to no list. */
static ms_status refuse_strangers(ms_params *p, const ms_config *c, const ms_tensors *file,
                                  ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (int i = 0; i < ms_tensors_count(file); i++) {
        const ms_st_entry *e = ms_tensors_at(file, i);
        bool found = known_buffer(e->name, c);

        for (int j = 0; !found && arch->stored(c, p, j, &s); j++)
            found = find_entry(file, "", s.name) == e;
        if (!found)
            return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, e), -1,
                              "tensor %.80s belongs to no part of a %s model", e->name, arch->name);
    }
    return MS_OK;
}

/* What the configuration claims is in the file: looked at before memory is taken for it. */
static ms_status check_file(ms_params *plan, const ms_config *c, const ms_tensors *file,
                            ms_error *err)
{
    int used;

    MS_TRY(check_list(plan, c, file, "", &used, err));
    return used < ms_tensors_count(file) ? refuse_strangers(plan, c, file, err) : MS_OK;
}

/* -- stored models --------------------------------------------------------------------------- */

/* The weight of a stored model that a parameter of the plan is; NULL: it is no matrix. */
static ms_tensor *place_of(ms_model *m, const ms_params *plan, const ms_tensor *whole)
{
    if (whole == &plan->embed) return &m->embed;
    if (whole == &plan->head) return &m->head;
    for (int l = 0; l < plan->layers; l++) {
        const ms_layer *w = &plan->layer[l];
        ms_stored_layer *s = &m->stored[l];
        ms_weight *to = whole == &w->wqkv     ? &s->wqkv
                        : whole == &w->wo     ? &s->wo
                        : whole == &w->w_up   ? &s->w_up
                        : whole == &w->w_down ? &s->w_down
                                              : NULL;

        for (int i = 0; to && i < 3; i++)
            if (!ms_present(to->part[i])) return &to->part[i];
    }
    return NULL;
}

/* Rows in our order: those of the file, or a copy of them. */
static ms_status map_rows(ms_model *m, const ms_tensors *file, const ms_st_entry *e,
                          const ms_stored *s, ms_tensor *to, ms_error *err)
{
    size_t bytes = row_bytes(e);
    char *copy;

    *to = ms_tensor_make((void *)(uintptr_t)e->data, e->dtype, e->rank, e->dim);
    if (file_row(file, &m->config, s, 1) == 1) return MS_OK;
    copy = malloc(e->size_bytes);
    if (!copy) return ms_fail(err, MS_MEMORY, "out of memory for %s", e->name);
    for (int i = 0; i < e->dim[0]; i++)
        memcpy(copy + (size_t)i * bytes,
               (const char *)e->data + (size_t)file_row(file, &m->config, s, i) * bytes, bytes);
    m->copy[m->copies++] = to->data = copy;
    return MS_OK;
}

/* The vector of a stored model that a parameter of the plan is. */
static ms_tensor same_field(ms_params *to, const ms_params *plan, const ms_tensor *whole)
{
    ms_tensor none = MS_ABSENT;

#define SAME_TOP(field, ...)                                                                       \
    if (whole == &plan->field) return to->field;
#define SAME_LAYER(field, ...)                                                                     \
    if (whole == &plan->layer[l].field) return to->layer[l].field;
    MS_TOP_MATRICES(SAME_TOP)
    MS_TOP_VECTORS(SAME_TOP)
    for (int l = 0; l < plan->layers; l++) {
        MS_LAYER_VECTORS(SAME_LAYER)
    }
    return none;
}

static ms_status map_list(ms_model *m, ms_params *plan, const ms_tensors *file, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(m->config.arch);
    ms_queue q = {.device = m->device};
    ms_stored s;

    m->copy = calloc((size_t)m->config.layers * 2 + 1, sizeof *m->copy);
    if (!m->copy) return ms_fail(err, MS_MEMORY, "out of memory for a model");
    for (int i = 0; arch->stored(&m->config, plan, i, &s); i++) {
        const ms_st_entry *e = find_entry(file, "", s.name);
        ms_tensor *to = place_of(m, plan, s.whole), vector;

        if (to) {
            MS_TRY(map_rows(m, file, e, &s, to, err));
            continue;
        }
        vector = same_field(&m->weights.p, plan, s.whole);
        s.part = ms_rows(vector, s.first, s.part.dim[0]);
        MS_TRY(read_part(&q, &m->config, file, e, &s, err));
    }
    return ms_queue_finish(&q, err);
}

/* Whether the matrices can stay as they are in the file: none is transposed, and some are smaller
 * than what the device would make of them. */
static bool can_stay(ms_device *d, const ms_config *c, ms_params *plan, const ms_tensors *file)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    bool smaller = false;
    ms_stored s;

    for (int i = 0; d->host_memory && arch->stored(c, plan, i, &s); i++) {
        const ms_st_entry *e = find_entry(file, "", s.name);

        if (s.part.rank != 2) continue;
        if (is_transposed(file, &s) || e->dtype == MS_F64) return false;
        smaller = smaller || e->dtype != MS_F32;
    }
    return smaller;
}

static void close_tensors(void *file)
{
    ms_tensors_close(file);
}

/* llama3's scaling in GGUF: factors by which the frequencies are divided. */
static ms_status read_frequencies(ms_model *m, const ms_tensors *file, ms_error *err)
{
    const ms_st_entry *e =
        ms_tensors_gguf(file) ? ms_tensors_find(file, "rope_freqs.weight") : NULL;
    int n = m->config.head_dim / 2;

    if (!e || !m->frequency) return MS_OK;
    if (e->rank != 1 || e->dim[0] != n || e->dtype != MS_F32)
        return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, e), -1,
                          "rope_freqs.weight: expected (%d) of f32", n);
    for (int j = 0; j < n; j++) {
        float factor;

        memcpy(&factor, (const char *)e->data + (size_t)j * sizeof factor, sizeof factor);
        if (!(factor >= 1e-3 && factor <= 1e4))
            return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, e), -1,
                              "rope_freqs.weight: factor %d is %g", j, factor);
        m->frequency[j] /= factor;
    }
    return ms_model_tables(m, err);
}

/* -- opening --------------------------------------------------------------------------------- */

static ms_status open_path(ms_tensors **file, ms_config *c, const char *path, ms_error *err)
{
    char config[PATH_BYTES];

    if (!ms_path_is_folder(path)) {
        ms_status s;

        if (!ms_is_gguf(path)) return ms_fail_at(err, MS_IO, path, -1, "is not a model folder");
        MS_TRY(ms_tensors_open_gguf(file, path, err));
        s = ms_config_from_gguf(c, ms_tensors_gguf(*file), err);
        if (s) ms_tensors_close(*file);
        return s;
    }
    MS_TRY(ms_path_join(config, sizeof config, path, "config.json", err));
    MS_TRY(ms_config_read(c, config, err));
    return ms_tensors_open_folder(file, path, err);
}

bool ms_is_gguf(const char *path)
{
    size_t n = strlen(path);

    return n > 5 && !strcmp(path + n - 5, ".gguf");
}

/* Keeps the file mapped when *keep is set on return. */
static ms_status load(ms_model **m, ms_device *d, const ms_config *c, ms_tensors *file, bool stored,
                      ms_error *err)
{
    ms_queue q = {.device = d};
    ms_params_block plan;
    ms_status s;

    MS_TRY(ms_params_block_plan(&plan, d, c, err));
    s = check_file(&plan.p, c, file, err);
    stored = !s && stored && can_stay(d, c, &plan.p, file);
    if (!s && stored) {
        s = ms_model_new_stored(m, d, c, err);
        if (!s) s = map_list(*m, &plan.p, file, err);
    } else if (!s) {
        s = ms_model_new(m, d, c, err);
        if (!s) s = read_list(&(*m)->weights.p, c, &q, file, "", err);
    }
    if (!s) s = read_frequencies(*m, file, err);
    ms_params_block_free(&plan, d);
    return s;
}

static ms_status open_model(ms_model **out, ms_device *d, const char *path, bool stored,
                            ms_error *err)
{
    ms_tensors *file;
    ms_config c;
    ms_model *m = NULL;
    ms_status s;

    MS_TRY(open_path(&file, &c, path, err));
    s = load(&m, d, &c, file, stored, err);
    if (!s && m->stored) {
        m->file = file;
        m->close = close_tensors;
    } else {
        ms_tensors_close(file);
    }
    if (s) {
        ms_model_free(m);
        return s;
    }
    *out = m;
    return MS_OK;
}

ms_status ms_model_load(ms_model **out, ms_device *d, const char *path, ms_error *err)
{
    return open_model(out, d, path, false, err);
}

ms_status ms_model_open(ms_model **out, ms_device *d, const char *path, ms_error *err)
{
    return open_model(out, d, path, true, err);
}

/* -- saving ---------------------------------------------------------------------------------- */

typedef struct {
    const ms_config *c;
    ms_queue *q;
    ms_stored *stored;
    ms_st_entry *entry;
    char (*name)[128];
    int count;
} params_writer;

static void free_writer(params_writer *w)
{
    free(w->stored);
    free(w->entry);
    free(w->name);
}

/* Appends the list of p under a prefix. */
static void add_list(params_writer *w, ms_params *p, const char *prefix)
{
    const ms_arch *arch = ms_arch_find(w->c->arch);

    for (int i = 0; arch->stored(w->c, p, i, &w->stored[w->count]); i++) {
        const ms_stored *s = &w->stored[w->count];
        ms_st_entry *e = &w->entry[w->count];

        snprintf(w->name[w->count], sizeof w->name[0], "%s%s", prefix, s->name);
        *e = (ms_st_entry){.name = w->name[w->count], .dtype = MS_F32, .rank = s->part.rank};
        e->dim[0] = s->transposed ? s->part.dim[1] : s->part.dim[0];
        e->dim[1] = s->transposed ? s->part.dim[0] : s->part.dim[1];
        e->size_bytes = ms_count(s->part) * sizeof(float);
        w->count++;
    }
}

static ms_status fill(void *user, int i, void *buffer, ms_error *err)
{
    params_writer *w = user;
    const ms_stored *s = &w->stored[i];
    int rows = s->part.dim[0], columns = s->part.dim[1];
    float *to = buffer, *row;

    if (!s->transposed) {
        ms_read_floats(w->q, s->part, to);
        return ms_queue_finish(w->q, err);
    }
    row = malloc((size_t)columns * sizeof *row);
    if (!row) return ms_fail(err, MS_MEMORY, "out of memory for a row of %s", s->name);
    for (int r = 0; r < rows; r++) {
        ms_read_floats(w->q, ms_rows(s->part, r, 1), row);
        for (int k = 0; k < columns; k++) to[(size_t)k * (size_t)rows + (size_t)r] = row[k];
    }
    free(row);
    return ms_queue_finish(w->q, err);
}

static int count_stored(const ms_config *c, ms_params *p)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;
    int n = 0;

    while (arch->stored(c, p, n, &s)) n++;
    return n;
}

ms_status ms_params_save(ms_params *const *list, const char *const *prefix, int lists,
                         const ms_config *c, ms_queue *q, const char *path, ms_error *err)
{
    static const char *const metadata[] = {"format", "pt", NULL}; /* what transformers looks for */
    params_writer w = {.c = c, .q = q};
    size_t room = 1; /* the list is walked one past its end */
    ms_status s;

    for (int i = 0; i < lists; i++) room += (size_t)count_stored(c, list[i]);
    w.stored = calloc(room, sizeof *w.stored);
    w.entry = calloc(room, sizeof *w.entry);
    w.name = calloc(room, sizeof *w.name);
    if (!w.stored || !w.entry || !w.name) {
        s = ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for %zu tensors", room);
    } else {
        for (int i = 0; i < lists; i++) add_list(&w, list[i], prefix[i]);
        s = ms_safetensors_write(path, w.entry, w.count, metadata, fill, &w, err);
    }
    free_writer(&w);
    return s;
}

ms_status ms_model_save(ms_model *m, ms_queue *q, const char *folder, ms_error *err)
{
    char path[PATH_BYTES];
    ms_params *list[] = {&m->weights.p};
    const char *const prefix[] = {""};

    MS_TRY(ms_path_join(path, sizeof path, folder, "config.json", err));
    MS_TRY(ms_config_write(&m->config, path, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "model.safetensors", err));
    return ms_params_save(list, prefix, 1, &m->config, q, path, err);
}
