/* safetensors - checks a header against the bytes that are there, streams tensors out */
#include "formats/safetensors.h"

#include "base/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, HEADER_MAX_BYTES = 100 << 20, TENSORS_MAX = 1 << 20 };

struct ms_safetensors {
    ms_map map;
    cJSON *header;      /* owns the names */
    ms_st_entry *entry; /* in order of the file */
    int *by_name;       /* indices sorted by name */
    int count;
    char *path;
};

static const struct {
    const char *name;
    ms_dtype dtype;
} dtypes[] = {{"F64", MS_F64}, {"F32", MS_F32}, {"BF16", MS_BF16},
              {"F16", MS_F16}, {"I32", MS_I32}, {"U8", MS_U8}};

enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* -- reading --------------------------------------------------------------------------------- */

/* A whole number from 0 to 2^53 of JSON. */
static bool whole_number(const cJSON *item, size_t *out)
{
    if (!cJSON_IsNumber(item)) return false;
    if (!(item->valuedouble >= 0 && item->valuedouble <= 0x1p53)) return false;
    if (item->valuedouble != floor(item->valuedouble)) return false;
    *out = (size_t)item->valuedouble;
    return true;
}

static ms_status read_dtype(ms_st_entry *e, const cJSON *item, const char *path, ms_error *err)
{
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");

    if (!cJSON_IsString(dtype))
        return ms_fail_at(err, MS_FORMAT, path, -1, "tensor %.80s: no dtype", e->name);
    for (int i = 0; i < DTYPES; i++)
        if (!strcmp(dtypes[i].name, dtype->valuestring)) {
            e->dtype = dtypes[i].dtype;
            return MS_OK;
        }
    return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "tensor %.80s: dtype %.20s is not supported",
                      e->name, dtype->valuestring);
}

/* Fills rank, dim and size_bytes. */
static ms_status read_shape(ms_st_entry *e, const cJSON *item, const char *path, ms_error *err)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"), *dim;
    int rank = cJSON_GetArraySize(shape);

    if (!cJSON_IsArray(shape))
        return ms_fail_at(err, MS_FORMAT, path, -1, "tensor %.80s: no shape", e->name);
    if (rank > MS_MAX_RANK)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "tensor %.80s: %d dimensions, at most %d",
                          e->name, rank, MS_MAX_RANK);
    e->size_bytes = ms_dtype_bytes(e->dtype);
    cJSON_ArrayForEach(dim, shape)
    {
        size_t n;

        if (!whole_number(dim, &n) || n > INT_MAX || !ms_size_mul(e->size_bytes, n, &e->size_bytes))
            return ms_fail_at(err, MS_FORMAT, path, -1, "tensor %.80s: bad dimension %d", e->name,
                              e->rank);
        e->dim[e->rank++] = (int)n;
    }
    if (e->rank == 0) {
        e->rank = 1;
        e->dim[0] = 1;
    }
    return MS_OK;
}

/* Fills data: the offsets count from the end of the header and must span the shape's bytes. */
static ms_status read_offsets(ms_st_entry *e, const cJSON *item, const uint8_t *data, size_t size,
                              const char *path, ms_error *err)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    size_t begin, end;

    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), &begin) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &end))
        return ms_fail_at(err, MS_FORMAT, path, -1, "tensor %.80s: bad data_offsets", e->name);
    if (begin > end || end > size)
        return ms_fail_at(err, MS_FORMAT, path, -1,
                          "tensor %.80s: bytes %zu to %zu, the file has %zu bytes of data", e->name,
                          begin, end, size);
    if (end - begin != e->size_bytes)
        return ms_fail_at(err, MS_FORMAT, path, -1,
                          "tensor %.80s: the shape takes %zu bytes, the offsets span %zu", e->name,
                          e->size_bytes, end - begin);
    e->data = data + begin;
    return MS_OK;
}

/* One map of texts to texts. */
static ms_status check_metadata(const ms_safetensors *s, ms_error *err)
{
    const cJSON *item, *value;
    int maps = 0;

    cJSON_ArrayForEach(item, s->header)
    {
        bool texts = cJSON_IsObject(item);

        if (strcmp(item->string, "__metadata__") != 0) continue;
        cJSON_ArrayForEach(value, item) texts = texts && cJSON_IsString(value);
        if (++maps > 1 || !texts)
            return ms_fail_at(err, MS_FORMAT, s->path, LENGTH_BYTES,
                              "__metadata__: expected one map of texts to texts");
    }
    return MS_OK;
}

static ms_status read_entries(ms_safetensors *s, const uint8_t *data, size_t size, ms_error *err)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, s->header)
    {
        ms_st_entry *e = &s->entry[s->count];

        if (!strcmp(item->string, "__metadata__")) continue;
        e->name = item->string;
        if (!cJSON_IsObject(item))
            return ms_fail_at(err, MS_FORMAT, s->path, -1, "tensor %.80s: expected an object",
                              e->name);
        MS_TRY(read_dtype(e, item, s->path, err));
        MS_TRY(read_shape(e, item, s->path, err));
        MS_TRY(read_offsets(e, item, data, size, s->path, err));
        s->count++;
    }
    return MS_OK;
}

static int compare_place(const void *a, const void *b)
{
    const ms_st_entry *x = a, *y = b;

    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

/* qsort has no context argument: names are sorted as pairs. */
typedef struct {
    const char *name;
    int index;
} named;

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static ms_status sort_names(ms_safetensors *s, ms_error *err)
{
    named *list = calloc((size_t)s->count + 1, sizeof *list);

    s->by_name = calloc((size_t)s->count + 1, sizeof *s->by_name);
    if (!list || !s->by_name) {
        free(list);
        return ms_fail_at(err, MS_MEMORY, s->path, -1, "out of memory for %d tensors", s->count);
    }
    for (int i = 0; i < s->count; i++) list[i] = (named){s->entry[i].name, i};
    qsort(list, (size_t)s->count, sizeof *list, compare_named);
    for (int i = 0; i < s->count; i++) s->by_name[i] = list[i].index;
    free(list);
    for (int i = 1; i < s->count; i++)
        if (!strcmp(s->entry[s->by_name[i - 1]].name, s->entry[s->by_name[i]].name))
            return ms_fail_at(err, MS_FORMAT, s->path, -1, "tensor %.80s is there twice",
                              s->entry[s->by_name[i]].name);
    return MS_OK;
}

/* Tensors lie side by side: no overlap, no gap, nothing behind. */
static ms_status check_layout(ms_safetensors *s, const uint8_t *data, size_t size, ms_error *err)
{
    const uint8_t *at = data;

    qsort(s->entry, (size_t)s->count, sizeof *s->entry, compare_place);
    for (int i = 0; i < s->count; i++) {
        const ms_st_entry *e = &s->entry[i];

        if ((const uint8_t *)e->data != at)
            return ms_fail_at(err, MS_FORMAT, s->path, (const uint8_t *)e->data - s->map.data,
                              "tensor %.80s %s the one before it", e->name,
                              (const uint8_t *)e->data < at ? "overlaps" : "leaves a gap behind");
        at += e->size_bytes;
    }
    if (at != data + size)
        return ms_fail_at(err, MS_FORMAT, s->path, at - s->map.data,
                          "%zu bytes behind the last tensor belong to none",
                          (size_t)(data + size - at));
    return MS_OK;
}

static ms_status read_json(ms_safetensors *s, const char *text, size_t length, ms_error *err)
{
    ms_status status = ms_json_parse(&s->header, text, length, s->path, err);

    if (status == MS_FORMAT)
        return ms_fail_at(err, MS_FORMAT, s->path, LENGTH_BYTES, "the header is not valid JSON");
    return status;
}

static ms_status read_header(ms_safetensors *s, ms_error *err)
{
    const uint8_t *p = s->map.data;
    uint64_t length = 0;
    size_t size = s->map.size_bytes, items;

    if (size < LENGTH_BYTES)
        return ms_fail_at(err, MS_FORMAT, s->path, 0,
                          "%zu bytes are too few for a safetensors file", size);
    for (int i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)p[i] << (8 * i);
    if (length > size - LENGTH_BYTES || length > HEADER_MAX_BYTES)
        return ms_fail_at(err, MS_FORMAT, s->path, 0,
                          "a header of %llu bytes does not fit a file of %zu bytes",
                          (unsigned long long)length, size);
    if (length == 0 || p[LENGTH_BYTES] != '{')
        return ms_fail_at(err, MS_FORMAT, s->path, LENGTH_BYTES, "the header is not a JSON object");
    MS_TRY(read_json(s, (const char *)p + LENGTH_BYTES, (size_t)length, err));
    items = (size_t)cJSON_GetArraySize(s->header);
    if (items > TENSORS_MAX)
        return ms_fail_at(err, MS_FORMAT, s->path, LENGTH_BYTES, "%zu tensors are more than %d",
                          items, TENSORS_MAX);
    s->entry = calloc(items + 1, sizeof *s->entry);
    if (!s->entry)
        return ms_fail_at(err, MS_MEMORY, s->path, -1, "out of memory for %zu tensors", items);
    p += LENGTH_BYTES + length;
    size -= LENGTH_BYTES + (size_t)length;
    MS_TRY(check_metadata(s, err));
    MS_TRY(read_entries(s, p, size, err));
    MS_TRY(check_layout(s, p, size, err));
    return sort_names(s, err);
}

ms_status ms_safetensors_open(ms_safetensors **out, const char *path, ms_error *err)
{
    ms_safetensors *s = calloc(1, sizeof *s);
    ms_status status = MS_MEMORY;

    if (s) s->path = strdup(path);
    if (!s || !s->path) {
        free(s);
        return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory");
    }
    status = ms_map_open(&s->map, path, err);
    if (!status) status = read_header(s, err);
    if (status) {
        ms_safetensors_close(s);
        return status;
    }
    *out = s;
    return MS_OK;
}

void ms_safetensors_close(ms_safetensors *s)
{
    if (!s) return;
    ms_map_close(&s->map);
    cJSON_Delete(s->header);
    free(s->entry);
    free(s->by_name);
    free(s->path);
    free(s);
}

int ms_safetensors_count(const ms_safetensors *s)
{
    return s->count;
}

const ms_st_entry *ms_safetensors_at(const ms_safetensors *s, int i)
{
    return i >= 0 && i < s->count ? &s->entry[i] : NULL;
}

const ms_st_entry *ms_safetensors_find(const ms_safetensors *s, const char *name)
{
    int low = 0, high = s->count;

    while (low < high) {
        int middle = low + (high - low) / 2;
        const ms_st_entry *e = &s->entry[s->by_name[middle]];
        int order = strcmp(name, e->name);

        if (order == 0) return e;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *ms_safetensors_path(const ms_safetensors *s)
{
    return s->path;
}

const char *ms_safetensors_metadata(const ms_safetensors *s, const char *key)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(s->header, "__metadata__");

    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(all, key));
}

/* -- writing --------------------------------------------------------------------------------- */

static const char *dtype_text(ms_dtype dtype)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    return NULL;
}

/* The header as JSON text, from cJSON; NULL when memory is out. */
static char *header_text(const ms_st_entry *entry, int count, const char *const *metadata)
{
    ms_json json, *j = &json;
    size_t at = 0;

    ms_json_begin(j);
    if (metadata) {
        cJSON *all = ms_json_add_object(j, j->root, "__metadata__");

        for (int i = 0; metadata[i]; i += 2) ms_json_add_text(j, all, metadata[i], metadata[i + 1]);
    }
    for (int i = 0; i < count; i++) {
        const ms_st_entry *e = &entry[i];
        cJSON *o = ms_json_add_object(j, j->root, e->name), *shape, *offsets;

        ms_json_add_text(j, o, "dtype", dtype_text(e->dtype));
        shape = ms_json_add_array(j, o, "shape");
        for (int d = 0; d < e->rank; d++) ms_json_add_number(j, shape, NULL, e->dim[d]);
        offsets = ms_json_add_array(j, o, "data_offsets");
        ms_json_add_number(j, offsets, NULL, (double)at);
        at += e->size_bytes;
        ms_json_add_number(j, offsets, NULL, (double)at);
    }
    return ms_json_end(j, false);
}

static void write_header(ms_writer *w, const char *text)
{
    static const char spaces[LENGTH_BYTES] = "        ";
    size_t length = strlen(text), padding = (LENGTH_BYTES - length % LENGTH_BYTES) % LENGTH_BYTES;
    uint8_t prefix[LENGTH_BYTES];

    for (int i = 0; i < LENGTH_BYTES; i++) prefix[i] = (uint8_t)((length + padding) >> (8 * i));
    ms_writer_put(w, prefix, sizeof prefix);
    ms_writer_put(w, text, length);
    ms_writer_put(w, spaces, padding);
}

static ms_status write_data(ms_writer *w, const ms_st_entry *entry, int count, ms_st_fill *fill,
                            void *user, ms_error *err)
{
    for (int i = 0; i < count; i++) {
        void *buffer;
        ms_status s;

        if (!fill) {
            ms_writer_put(w, entry[i].data, entry[i].size_bytes);
            continue;
        }
        buffer = malloc(entry[i].size_bytes + 1);
        if (!buffer)
            return ms_fail(err, MS_MEMORY, "out of memory for tensor %.80s of %zu bytes",
                           entry[i].name, entry[i].size_bytes);
        s = fill(user, i, buffer, err);
        if (!s) ms_writer_put(w, buffer, entry[i].size_bytes);
        free(buffer);
        if (s) return s;
    }
    return MS_OK;
}

ms_status ms_safetensors_write(const char *path, const ms_st_entry *entry, int count,
                               const char *const *metadata, ms_st_fill *fill, void *user,
                               ms_error *err)
{
    char *text;
    ms_writer *w;
    ms_status s;

    for (int i = 0; i < count; i++)
        if (!dtype_text(entry[i].dtype))
            return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "tensor %.80s: safetensors has no %s",
                              entry[i].name, ms_dtype_name(entry[i].dtype));
    text = header_text(entry, count, metadata);
    if (!text) return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for a header");
    s = ms_writer_open(&w, path, err);
    if (s) {
        cJSON_free(text);
        return s;
    }
    write_header(w, text);
    cJSON_free(text);
    s = write_data(w, entry, count, fill, user, err);
    if (s) {
        ms_writer_abort(w);
        return s;
    }
    return ms_writer_commit(w, err);
}
