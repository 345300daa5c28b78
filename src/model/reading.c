/* reading - the tensors of a file as the parameters of a family */
#include "model/reading.h"

#include "base/quant.h"
#include "model/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names from checkpoints of the bare GPT-2 lack the prefix. */
const ms_st_entry *ms_reading_find(const ms_tensors *file, const char *prefix, const char *name)
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
bool ms_reading_transposed(const ms_tensors *file, const ms_stored *s)
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

    if (ms_reading_transposed(file, s)) {
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

/* llama lists the rows of a head in pairs (0, D/2, 1, D/2 + 1, ...) in GGUF: where row i is. */
int ms_gguf_row(const ms_config *c, const ms_stored *s, int i)
{
    int D = c->head_dim, inside = i % D;

    if (s->heads == 0 || strcmp(ms_arch_find(c->arch)->gguf, "llama") != 0) return i;
    return i - inside + (inside < D / 2 ? 2 * inside : 2 * (inside - D / 2) + 1);
}

int ms_reading_row(const ms_tensors *file, const ms_config *c, const ms_stored *s, int i)
{
    return ms_tensors_gguf(file) ? ms_gguf_row(c, s, i) : i;
}

/* Bytes of a row of an entry. */
size_t ms_reading_row_bytes(const ms_st_entry *e)
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
                 (const char *)e->data + (size_t)i * ms_reading_row_bytes(e) +
                     (size_t)column * ms_dtype_bytes(e->dtype),
                 out + i, part, 1);
}

/* Row by row, so that no second copy of a model is needed. */
ms_status ms_reading_part(ms_queue *q, const ms_config *c, const ms_tensors *file,
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
        const char *from = (const char *)e->data + (size_t)ms_reading_row(file, c, s, i) * bytes;

        if (ms_reading_transposed(file, s))
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
ms_status ms_reading_check_list(ms_params *p, const ms_config *c, const ms_tensors *file,
                                const char *prefix, int *used, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (*used = 0; arch->stored(c, p, *used, &s); ++*used) {
        const ms_st_entry *e = ms_reading_find(file, prefix, s.name);

        if (!e)
            return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, NULL), -1, "%s%s is missing",
                              prefix, s.name);
        MS_TRY(check_shape(file, e, &s, err));
    }
    return MS_OK;
}

/* Reads a list that has been checked. */
ms_status ms_reading_list(ms_params *p, const ms_config *c, ms_queue *q, const ms_tensors *file,
                          const char *prefix, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(c->arch);
    ms_stored s;

    for (int i = 0; arch->stored(c, p, i, &s); i++)
        MS_TRY(ms_reading_part(q, c, file, ms_reading_find(file, prefix, s.name), &s, err));
    return ms_queue_finish(q, err);
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
            found = ms_reading_find(file, "", s.name) == e;
        if (!found)
            return ms_fail_at(err, MS_FORMAT, ms_tensors_path(file, e), -1,
                              "tensor %.80s belongs to no part of a %s model", e->name, arch->name);
    }
    return MS_OK;
}

/* What the configuration claims is in the file: looked at before memory is taken for it. */
ms_status ms_reading_check(ms_params *plan, const ms_config *c, const ms_tensors *file,
                           ms_error *err)
{
    int used;

    MS_TRY(ms_reading_check_list(plan, c, file, "", &used, err));
    return used < ms_tensors_count(file) ? refuse_strangers(plan, c, file, err) : MS_OK;
}
