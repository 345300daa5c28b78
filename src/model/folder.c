/* folder - binds stored tensors to the parameters of a family, both ways */
#include "model/folder.h"

#include "base/half.h"
#include "formats/safetensors.h"
#include "model/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* -- loading --------------------------------------------------------------------------------- */

/* Element i of an entry of any real type; the file may be unaligned. */
static double element(const ms_st_entry *e, size_t i)
{
    const char *at = (const char *)e->data + i * ms_dtype_bytes(e->dtype);
    double d;
    float f;
    uint16_t h;

    switch (e->dtype) {
    case MS_F64: memcpy(&d, at, sizeof d); return d;
    case MS_F32: memcpy(&f, at, sizeof f); return f;
    case MS_BF16: memcpy(&h, at, sizeof h); return ms_float_from_bf16(h);
    case MS_F16: memcpy(&h, at, sizeof h); return ms_float_from_f16(h);
    default: return 0;
    }
}

/* Names from checkpoints of the bare GPT-2 lack the prefix. */
static const ms_st_entry *find_entry(const ms_safetensors *file, const char *prefix,
                                     const char *name)
{
    char full[160];
    const ms_st_entry *e;

    snprintf(full, sizeof full, "%s%s", prefix, name);
    e = ms_safetensors_find(file, full);
    if (!e && strncmp(name, "transformer.", 12) == 0) {
        snprintf(full, sizeof full, "%s%s", prefix, name + 12);
        e = ms_safetensors_find(file, full);
    }
    return e;
}

static ms_status check_shape(const ms_st_entry *e, const ms_stored *s, const char *path,
                             ms_error *err)
{
    ms_tensor want = s->part;
    ms_tensor have = ms_tensor_make(NULL, e->dtype, e->rank, e->dim);
    char a[64], b[64];

    if (s->transposed) {
        want.dim[0] = s->part.dim[1];
        want.dim[1] = s->part.dim[0];
    }
    if (e->dtype == MS_I32 || e->dtype == MS_U8)
        return ms_fail_at(err, MS_FORMAT, path, -1, "%s: expected real numbers, the file has %s",
                          e->name, ms_dtype_name(e->dtype));
    if (!ms_same_shape(want, have))
        return ms_fail_at(err, MS_SHAPE, path, -1, "%s: expected %s, file has %s", e->name,
                          ms_shape_text(want, a), ms_shape_text(have, b));
    return MS_OK;
}

/* Row by row, so that no second copy of a model is needed. */
static ms_status read_part(ms_queue *q, const ms_st_entry *e, const ms_stored *s, ms_error *err)
{
    int rows = s->part.rank == 2 ? s->part.dim[0] : 1;
    int columns = s->part.rank == 2 ? s->part.dim[1] : s->part.dim[0];
    double *row = malloc((size_t)columns * sizeof *row);

    if (!row) return ms_fail(err, MS_MEMORY, "out of memory for a row of %s", e->name);
    for (int i = 0; i < rows; i++) {
        ms_tensor to = s->part.rank == 2 ? ms_rows(s->part, i, 1) : s->part;

        for (int j = 0; j < columns; j++) {
            size_t at = s->transposed ? (size_t)j * (size_t)rows + (size_t)i
                                      : (size_t)i * (size_t)columns + (size_t)j;

            row[j] = element(e, at);
        }
        ms_write_reals(q, to, row);
    }
    free(row);
    return MS_OK;
}

/* Buffers that some writers store besides the parameters. */
static bool known_buffer(const char *name, const ms_config *c)
{
    static const char *const suffix[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"};
    size_t length = strlen(name);

    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        size_t n = strlen(suffix[i]);

        if (length >= n && !strcmp(name + length - n, suffix[i])) return true;
    }
    return c->tied && !strcmp(name, "lm_head.weight");
}

/* Every tensor of the list is there and has its shape; *used counts them.  p may be a plan. */
static ms_status check_list(ms_params *p, const ms_config *c, const ms_safetensors *file,
                            const char *prefix, int *used, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    const char *path = ms_safetensors_path(file);
    ms_stored s;

    for (*used = 0; arch->stored(c, p, *used, &s); ++*used) {
        const ms_st_entry *e = find_entry(file, prefix, s.name);

        if (!e) return ms_fail_at(err, MS_FORMAT, path, -1, "%s%s is missing", prefix, s.name);
        MS_TRY(check_shape(e, &s, path, err));
    }
    return MS_OK;
}

/* Reads a list that has been checked. */
static ms_status read_list(ms_params *p, const ms_config *c, ms_queue *q,
                           const ms_safetensors *file, const char *prefix, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (int i = 0; arch->stored(c, p, i, &s); i++)
        MS_TRY(read_part(q, find_entry(file, prefix, s.name), &s, err));
    return ms_queue_finish(q, err);
}

ms_status ms_params_load(ms_params *p, const ms_config *c, ms_queue *q, const char *path,
                         const char *prefix, ms_error *err)
{
    ms_safetensors *file;
    ms_status s;
    int used;

    MS_TRY(ms_safetensors_open(&file, path, err));
    s = check_list(p, c, file, prefix, &used, err);
    if (!s) s = read_list(p, c, q, file, prefix, err);
    ms_safetensors_close(file);
    return s;
}

/* Names the first tensor of the file that belongs to no list. */
static ms_status refuse_strangers(ms_params *p, const ms_config *c, const ms_safetensors *file,
                                  ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (int i = 0; i < ms_safetensors_count(file); i++) {
        const ms_st_entry *e = ms_safetensors_at(file, i);
        bool found = known_buffer(e->name, c);

        for (int j = 0; !found && arch->stored(c, p, j, &s); j++)
            found = find_entry(file, "", s.name) == e;
        if (!found)
            return ms_fail_at(err, MS_FORMAT, ms_safetensors_path(file), -1,
                              "tensor %.80s belongs to no part of a %s model", e->name, arch->name);
    }
    return MS_OK;
}

/* What config.json claims is in the file: looked at before memory is taken for it. */
static ms_status check_file(ms_device *d, const ms_config *c, const ms_safetensors *file,
                            ms_error *err)
{
    ms_params_block plan;
    ms_status s;
    int used;

    MS_TRY(ms_params_block_plan(&plan, d, c, err));
    s = check_list(&plan.p, c, file, "", &used, err);
    if (!s && used < ms_safetensors_count(file)) s = refuse_strangers(&plan.p, c, file, err);
    ms_params_block_free(&plan, d);
    return s;
}

static ms_status load_weights(ms_model *m, const ms_safetensors *file, ms_error *err)
{
    ms_queue q = {.device = m->device};

    return read_list(&m->weights.p, &m->config, &q, file, "", err);
}

ms_status ms_model_load(ms_model **out, ms_device *d, const char *folder, ms_error *err)
{
    char path[PATH_BYTES];
    ms_safetensors *file;
    ms_config c;
    ms_model *m = NULL;
    ms_status s;

    if (!ms_path_is_folder(folder))
        return ms_fail_at(err, MS_IO, folder, -1, "is not a model folder");
    MS_TRY(ms_path_join(path, sizeof path, folder, "config.json", err));
    MS_TRY(ms_config_read(&c, path, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "model.safetensors", err));
    MS_TRY(ms_safetensors_open(&file, path, err));
    s = check_file(d, &c, file, err);
    if (!s) s = ms_model_new(&m, d, &c, err);
    if (!s) s = load_weights(m, file, err);
    ms_safetensors_close(file);
    if (s) {
        ms_model_free(m);
        return s;
    }
    *out = m;
    return MS_OK;
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
