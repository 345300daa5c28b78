/* folder - binds stored tensors to the parameters of a family, both ways */
#include "model/folder.h"

#include "base/file.h"
#include "model/arch.h"
#include "model/gguf.h"
#include "model/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* -- lists ----------------------------------------------------------------------------------- */

ms_status ms_params_load(ms_params *p, const ms_config *c, ms_queue *q, const char *path,
                         const char *prefix, ms_error *err)
{
    ms_tensors *file;
    ms_status s;
    int used;

    MS_TRY(ms_tensors_open_safetensors(&file, path, err));
    s = ms_reading_check_list(p, c, file, prefix, &used, err);
    if (!s) s = ms_reading_list(p, c, q, file, prefix, err);
    ms_tensors_close(file);
    return s;
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

/* Rows in our order: w as it is, or with `rows`, which the caller frees. */
static ms_status order_rows(const ms_model *m, const ms_tensors *file, const ms_st_entry *e,
                            const ms_stored *s, ms_tensor *w, char **rows, ms_error *err)
{
    size_t bytes = ms_reading_row_bytes(e);

    *w = ms_tensor_make((void *)(uintptr_t)e->data, e->dtype, e->rank, e->dim);
    *rows = NULL;
    if (ms_reading_row(file, &m->config, s, 1) == 1) return MS_OK;
    w->data = *rows = malloc(e->size_bytes);
    if (!*rows) return ms_fail(err, MS_MEMORY, "out of memory for %s", e->name);
    for (int i = 0; i < e->dim[0]; i++)
        memcpy(*rows + (size_t)i * bytes,
               (const char *)e->data + (size_t)ms_reading_row(file, &m->config, s, i) * bytes,
               bytes);
    return MS_OK;
}

static ms_status upload(ms_model *m, ms_tensor *w, ms_error *err)
{
    ms_queue q = {.device = m->device};
    ms_tensor copy = *w;

    MS_TRY(ms_device_alloc(m->device, ms_tensor_bytes(copy), &copy.data, err));
    m->copy[m->copies++] = copy;
    ms_queue_upload(&q, copy.data, w->data, ms_tensor_bytes(copy));
    *w = copy;
    return ms_queue_finish(&q, err);
}

static ms_tensor keep(ms_model *m, ms_tensor w, size_t *used)
{
    ms_tensor kept = ms_device_keep(m->device, (char *)m->kept + *used, w);

    *used += ms_device_kept_bytes(m->device, w);
    return kept;
}

/* A matrix of the file in its place in the model; `used` bytes of what is kept are. */
static ms_status take_matrix(ms_model *m, const ms_tensors *file, const ms_st_entry *e,
                             const ms_stored *s, ms_tensor *to, size_t *used, ms_error *err)
{
    char *rows;

    MS_TRY(order_rows(m, file, e, s, to, &rows, err));
    if (m->kept && to == &m->embed && m->config.tied) m->head = keep(m, *to, used);
    if (m->kept && to != &m->embed) {
        *to = keep(m, *to, used);
    } else if (rows) {
        ms_status status = upload(m, to, err);

        if (status) {
            free(rows);
            return status;
        }
    }
    free(rows);
    if (m->kept) ms_map_forget(e->data, e->size_bytes);
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

/* Memory for what the device keeps, if it does and there is ample.  Otherwise weights are read from
 * the file as they are needed, which may be larger than memory. */
static ms_status make_room(ms_model *m, ms_params *plan, const ms_tensors *file, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(m->config.arch);
    size_t sum = 0;
    ms_stored s;

    for (int i = 0; arch->stored(&m->config, plan, i, &s); i++) {
        const ms_st_entry *e = ms_reading_find(file, "", s.name);

        if (s.part.rank != 2 || (s.whole == &plan->embed && !m->config.tied)) continue;
        sum += ms_device_kept_bytes(
            m->device, ms_tensor_make((void *)(uintptr_t)e->data, e->dtype, e->rank, e->dim));
    }
    if (sum == 0 || sum > ms_memory_bytes() / 2) return MS_OK;
    MS_TRY(ms_device_alloc(m->device, sum, &m->kept, err));
    m->kept_bytes = sum;
    return MS_OK;
}

static ms_status map_list(ms_model *m, ms_params *plan, const ms_tensors *file, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(m->config.arch);
    ms_queue q = {.device = m->device};
    size_t used = 0;
    ms_stored s;

    m->copy = calloc((size_t)m->config.layers * 2 + 1, sizeof *m->copy);
    if (!m->copy) return ms_fail(err, MS_MEMORY, "out of memory for a model");
    MS_TRY(make_room(m, plan, file, err));
    for (int i = 0; arch->stored(&m->config, plan, i, &s); i++) {
        const ms_st_entry *e = ms_reading_find(file, "", s.name);
        ms_tensor *to = place_of(m, plan, s.whole), vector;

        if (to) {
            MS_TRY(take_matrix(m, file, e, &s, to, &used, err));
            continue;
        }
        vector = same_field(&m->weights.p, plan, s.whole);
        s.part = ms_rows(vector, s.first, s.part.dim[0]);
        MS_TRY(ms_reading_part(&q, &m->config, file, e, &s, err));
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
        const ms_st_entry *e = ms_reading_find(file, "", s.name);

        if (s.part.rank != 2) continue;
        if (ms_reading_transposed(file, &s) || e->dtype == MS_F64) return false;
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

ms_status ms_reading_open(ms_tensors **file, ms_config *c, const char *path, ms_error *err)
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

static ms_status load(ms_model **m, ms_device *d, const ms_config *c, ms_tensors *file, bool stored,
                      ms_error *err)
{
    ms_queue q = {.device = d};
    ms_params_block plan;
    ms_status s;

    MS_TRY(ms_params_block_plan(&plan, d, c, err));
    s = ms_reading_check(&plan.p, c, file, err);
    stored = !s && stored && can_stay(d, c, &plan.p, file);
    if (!s && stored) {
        s = ms_model_new_stored(m, d, c, err);
        if (!s) s = map_list(*m, &plan.p, file, err);
    } else if (!s) {
        s = ms_model_new(m, d, c, err);
        if (!s) s = ms_reading_list(&(*m)->weights.p, c, &q, file, "", err);
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

    MS_TRY(ms_reading_open(&file, &c, path, err));
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
