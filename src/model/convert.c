/* convert - reads rows in our order, writes them in that of the target */
#include "model/convert.h"

#include "base/file.h"
#include "base/quant.h"
#include "model/gguf.h"
#include "model/reading.h"
#include "model/rope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

typedef struct {
    ms_tensors *file;
    ms_config c;
    ms_params plan; /* shapes alone */
    ms_stored *stored;
    ms_st_entry *entry;
    char (*name)[128];
    int count;
    bool gguf;     /* the target */
    float *factor; /* (D/2) of rope_freqs.weight; NULL: none */
} converter;

/* -- opening --------------------------------------------------------------------------------- */

static void close_converter(converter *v)
{
    ms_tensors_close(v->file);
    free(v->plan.layer);
    free(v->stored);
    free(v->entry);
    free(v->name);
    free(v->factor);
}

static ms_status make_plan(converter *v, ms_error *err)
{
    ms_arena arena;

    v->plan.layer = calloc((size_t)v->c.layers, sizeof *v->plan.layer);
    if (!v->plan.layer) return ms_fail(err, MS_MEMORY, "out of memory for a model");
    ms_arena_init(&arena, NULL, 0, false, 0);
    ms_params_place(&v->plan, &v->c, MS_F32, &arena);
    return ms_reading_check(&v->plan, &v->c, v->file, err);
}

static ms_status open_converter(converter *v, const char *from, bool gguf, ms_error *err)
{
    *v = (converter){.gguf = gguf};
    MS_TRY(ms_reading_open(&v->file, &v->c, from, err));
    return make_plan(v, err);
}

/* Factors that stretch rotary frequencies in a file, or those of llama3's kind. */
static ms_status find_factors(converter *v, ms_error *err)
{
    const ms_st_entry *e =
        ms_tensors_gguf(v->file) ? ms_tensors_find(v->file, "rope_freqs.weight") : NULL;
    int n = v->c.head_dim / 2;
    ms_config plain = v->c;
    double *f;

    if (!e && v->c.rope.kind != MS_ROPE_LLAMA3) return MS_OK;
    if (e && !v->gguf)
        return ms_fail_at(err, MS_UNSUPPORTED, ms_tensors_path(v->file, e), -1,
                          "rope_freqs.weight: config.json has no place for such factors");
    if (e && (e->dtype != MS_F32 || e->rank != 1 || e->dim[0] != n))
        return ms_fail_at(err, MS_FORMAT, ms_tensors_path(v->file, e), -1,
                          "rope_freqs.weight: expected (%d) of f32", n);
    if (!v->gguf) return MS_OK;
    v->factor = malloc((size_t)n * sizeof *v->factor);
    f = malloc(2 * (size_t)n * sizeof *f);
    if (v->factor && f) {
        plain.rope.kind = MS_ROPE_PLAIN;
        ms_rope_frequencies(&plain, f);
        ms_rope_frequencies(&v->c, f + n);
        for (int j = 0; j < n; j++) v->factor[j] = (float)(f[j] / f[n + j]);
        if (e) memcpy(v->factor, e->data, (size_t)n * sizeof *v->factor);
    }
    free(f);
    return v->factor ? MS_OK : ms_fail(err, MS_MEMORY, "out of memory for a model");
}

/* -- what is written ------------------------------------------------------------------------- */

static ms_dtype fitting(ms_dtype type, int columns)
{
    if (columns % ms_dtype_block(type) == 0) return type;
    return columns % ms_dtype_block(MS_Q8_0) == 0 ? MS_Q8_0 : MS_F16;
}

static ms_dtype type_of(const converter *v, const ms_stored *s, ms_dtype type)
{
    bool outer = s->whole == &v->plan.embed || s->whole == &v->plan.head;

    if (!v->gguf) return type;
    if (s->part.rank == 1 || s->whole == &v->plan.pos) return MS_F32;
    if (outer && ms_dtype_block(type) > 1) type = MS_Q8_0;
    return fitting(type, s->part.dim[1]);
}

static bool transposes(const converter *v, const ms_stored *s)
{
    return s->transposed && !v->gguf;
}

/* Where our row i stands in the target. */
static int target_row(const converter *v, const ms_stored *s, int i)
{
    return v->gguf ? ms_gguf_row(&v->c, s, i) : i;
}

static ms_status add_entry(converter *v, const ms_stored *s, ms_dtype type, ms_error *err)
{
    ms_st_entry *e = &v->entry[v->count];
    ms_tensor t = s->part;

    if (!v->gguf)
        snprintf(v->name[v->count], sizeof v->name[0], "%s", s->name);
    else if (!ms_gguf_tensor_name(s->name, v->name[v->count]))
        return ms_fail(err, MS_UNSUPPORTED, "GGUF has no name for %s", s->name);
    t.dtype = type_of(v, s, type);
    *e = (ms_st_entry){.name = v->name[v->count], .dtype = t.dtype, .rank = t.rank};
    e->dim[0] = transposes(v, s) ? t.dim[1] : t.dim[0];
    e->dim[1] = transposes(v, s) ? t.dim[0] : t.dim[1];
    e->size_bytes = ms_tensor_bytes(t);
    v->stored[v->count++] = *s;
    return MS_OK;
}

static ms_status list_entries(converter *v, ms_dtype type, ms_error *err)
{
    const ms_arch *arch = ms_arch_find(v->c.arch);
    size_t room = 2;
    ms_stored s;

    for (int i = 0; arch->stored(&v->c, &v->plan, i, &s); i++) room++;
    v->stored = calloc(room, sizeof *v->stored);
    v->entry = calloc(room, sizeof *v->entry);
    v->name = calloc(room, sizeof *v->name);
    if (!v->stored || !v->entry || !v->name)
        return ms_fail(err, MS_MEMORY, "out of memory for %zu tensors", room);
    for (int i = 0; arch->stored(&v->c, &v->plan, i, &s); i++) MS_TRY(add_entry(v, &s, type, err));
    if (!v->factor) return MS_OK;
    v->entry[v->count++] = (ms_st_entry){.name = "rope_freqs.weight",
                                         .dtype = MS_F32,
                                         .rank = 1,
                                         .dim = {v->c.head_dim / 2},
                                         .size_bytes = (size_t)(v->c.head_dim / 2) * sizeof(float)};
    return MS_OK;
}

/* -- rows ------------------------------------------------------------------------------------ */

/* Row i of a part, in our order, as floats. */
static void read_row(const converter *v, const ms_st_entry *from, const ms_stored *s, int i,
                     int columns, float *out)
{
    size_t bytes =
        (size_t)columns / (size_t)ms_dtype_block(from->dtype) * ms_dtype_bytes(from->dtype);
    const char *data = from->data;

    if (!ms_reading_transposed(v->file, s)) {
        data += (size_t)ms_reading_row(v->file, &v->c, s, i) * bytes;
        if (from->dtype != MS_F64) {
            ms_dequantize(from->dtype, data, out, (size_t)columns);
            return;
        }
        for (int k = 0; k < columns; k++) {
            double x;

            memcpy(&x, data + (size_t)k * sizeof x, sizeof x);
            out[k] = (float)x;
        }
        return;
    }
    for (int k = 0; k < columns; k++)
        ms_dequantize(from->dtype,
                      data + (size_t)k * ms_reading_row_bytes(from) +
                          (size_t)i * ms_dtype_bytes(from->dtype),
                      out + k, 1);
}

static void write_row(const converter *v, const ms_st_entry *to, const ms_stored *s, int i,
                      int columns, const float *row, char *buffer)
{
    size_t size = ms_dtype_bytes(to->dtype);
    size_t bytes = (size_t)columns / (size_t)ms_dtype_block(to->dtype) * size;

    if (!transposes(v, s)) {
        ms_quantize(to->dtype, row, buffer + (size_t)target_row(v, s, i) * bytes, (size_t)columns);
        return;
    }
    for (int k = 0; k < columns; k++)
        ms_quantize(to->dtype, row + k,
                    buffer + ((size_t)k * (size_t)to->dim[1] + (size_t)i) * size, 1);
}

static bool same_order(const converter *v, const ms_stored *s)
{
    return transposes(v, s) == ms_reading_transposed(v->file, s) &&
           (s->heads == 0 || target_row(v, s, 1) == ms_reading_row(v->file, &v->c, s, 1));
}

static ms_status fill(void *user, int i, void *buffer, ms_error *err)
{
    const converter *v = user;
    const ms_stored *s = &v->stored[i];
    const ms_st_entry *from, *to = &v->entry[i];
    int rows, columns;
    float *row;

    if (v->factor && i == v->count - 1) {
        memcpy(buffer, v->factor, to->size_bytes);
        return MS_OK;
    }
    from = ms_reading_find(v->file, "", s->name);
    if (from->dtype == to->dtype && same_order(v, s)) {
        memcpy(buffer, from->data, to->size_bytes);
        return MS_OK;
    }
    rows = s->part.rank == 2 || s->heads ? s->part.dim[0] : 1;
    columns = s->part.rank == 2 ? s->part.dim[1] : s->part.dim[0] / rows;
    row = malloc((size_t)columns * sizeof *row);
    if (!row) return ms_fail(err, MS_MEMORY, "out of memory for a row of %s", s->name);
    for (int r = 0; r < rows; r++) {
        read_row(v, from, s, r, columns, row);
        write_row(v, to, s, r, columns, row, buffer);
    }
    free(row);
    return MS_OK;
}

/* -- targets --------------------------------------------------------------------------------- */

static ms_status check_type(ms_dtype type, bool gguf, ms_error *err)
{
    bool plain = type == MS_F32 || type == MS_F16 || type == MS_BF16;

    if (plain || (gguf && ms_can_quantize(type))) return MS_OK;
    return ms_fail(err, MS_UNSUPPORTED, "type %s cannot be written to %s", ms_dtype_name(type),
                   gguf ? "GGUF" : "a folder: only f32, f16 and bf16");
}

static ms_status to_folder(converter *v, const char *folder, ms_dtype type, ms_error *err)
{
    static const char *const metadata[] = {"format", "pt", NULL};
    char path[PATH_BYTES];

    MS_TRY(find_factors(v, err));
    MS_TRY(list_entries(v, type, err));
    MS_TRY(ms_folder_make(folder, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "config.json", err));
    MS_TRY(ms_config_write_as(&v->c, type, path, err));
    MS_TRY(ms_path_join(path, sizeof path, folder, "model.safetensors", err));
    return ms_safetensors_write(path, v->entry, v->count, metadata, fill, v, err);
}

ms_status ms_convert_to_folder(const char *from, const char *folder, ms_dtype type, ms_error *err)
{
    converter v;
    ms_status s;

    MS_TRY(check_type(type, false, err));
    s = open_converter(&v, from, false, err);
    if (!s) s = to_folder(&v, folder, type, err);
    close_converter(&v);
    return s;
}

/* general.file_type: what most matrices are. */
static uint32_t file_type(ms_dtype type)
{
    static const struct {
        ms_dtype type;
        uint32_t number;
    } map[] = {{MS_F32, 0},  {MS_F16, 1},  {MS_Q4_0, 2},  {MS_Q4_1, 3},  {MS_Q8_0, 7},
               {MS_Q5_0, 8}, {MS_Q5_1, 9}, {MS_Q4_K, 14}, {MS_Q6_K, 18}, {MS_BF16, 32}};

    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (map[i].type == type) return map[i].number;
    return 0;
}

ms_status ms_convert_to_gguf(const char *from, ms_gguf_head *head, const char *out, ms_dtype type,
                             ms_error *err)
{
    converter v;
    ms_status s;

    MS_TRY(check_type(type, true, err));
    s = open_converter(&v, from, true, err);
    if (!s) s = ms_config_to_gguf(&v.c, head, err);
    if (!s) s = find_factors(&v, err);
    if (!s) s = list_entries(&v, type, err);
    if (!s) {
        ms_gguf_add_u32(head, "general.file_type", file_type(type));
        ms_gguf_add_u32(head, "general.quantization_version", 2);
        s = ms_gguf_write(out, head, v.entry, v.count, fill, &v, err);
    }
    close_converter(&v);
    return s;
}
