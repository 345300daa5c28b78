/* gguf - reading: each field against the bytes that are left, each tensor against the file
 *
 * A number from the file is never used before it was compared with what is there: counts by the
 * least bytes that so many things take, lengths by the bytes behind them. */
#include "formats/gguf.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION_AT = 4,
    TENSORS_AT = 8,
    METAS_AT = 16,
    VERSION_LEAST = 2,
    VERSION_MOST = 3,
    ALIGNMENT = 32, /* unless general.alignment says another */
    KEY_MOST = 65535,
    NAME_MOST = 63,
    ITEMS_MOST = 1 << 20, /* of metadata, of tensors */
    META_LEAST = 14,      /* bytes: length, key of 1, type, value of 1 */
    TENSOR_LEAST = 25     /* bytes: length, name of 1, rank of 0, type, offset */
};

/* Names in order, for lookups: with the index of what they name and where that lies in the file. */
typedef struct {
    const char *name;
    int index;
    const uint8_t *data;
} named;

struct ms_gguf {
    ms_map map;
    char *path;
    ms_gguf_meta *meta; /* own their keys and lists of elements */
    named *by_key;
    int metas;
    ms_st_entry *entry; /* own their names; in order of the data */
    named *by_name;
    int count;
};

/* What is left of the file begins at `at`. */
typedef struct {
    const uint8_t *data;
    size_t size, at;
    const char *path;
    ms_error *err;
} reader;

/* Where a tensor's data lies, before it is known where all data begins; and where that is said. */
typedef struct {
    uint64_t offset;
    size_t said_at;
} place;

/* Bytes of a value, or of an element; a text has at least its length. */
static const uint8_t value_bytes[MS_GGUF_TYPE_COUNT] = {
    [MS_GGUF_U8] = 1,  [MS_GGUF_I8] = 1,  [MS_GGUF_U16] = 2, [MS_GGUF_I16] = 2,
    [MS_GGUF_U32] = 4, [MS_GGUF_I32] = 4, [MS_GGUF_F32] = 4, [MS_GGUF_BOOL] = 1,
    [MS_GGUF_U64] = 8, [MS_GGUF_I64] = 8, [MS_GGUF_F64] = 8, [MS_GGUF_TEXT] = 8,
};

/* The types of ggml by number; supported ones have a dtype.  Numbers that are missing belonged to
 * types that ggml has removed. */
static const struct {
    const char *name;
    bool supported;
    ms_dtype dtype;
} types[] = {
    [0] = {"F32", true, MS_F32},    [1] = {"F16", true, MS_F16},    [2] = {"Q4_0", true, MS_Q4_0},
    [3] = {"Q4_1", true, MS_Q4_1},  [6] = {"Q5_0", true, MS_Q5_0},  [7] = {"Q5_1", true, MS_Q5_1},
    [8] = {"Q8_0", true, MS_Q8_0},  [9] = {.name = "Q8_1"},         [10] = {"Q2_K", true, MS_Q2_K},
    [11] = {"Q3_K", true, MS_Q3_K}, [12] = {"Q4_K", true, MS_Q4_K}, [13] = {"Q5_K", true, MS_Q5_K},
    [14] = {"Q6_K", true, MS_Q6_K}, [15] = {.name = "Q8_K"},        [16] = {.name = "IQ2_XXS"},
    [17] = {.name = "IQ2_XS"},      [18] = {.name = "IQ3_XXS"},     [19] = {.name = "IQ1_S"},
    [20] = {.name = "IQ4_NL"},      [21] = {.name = "IQ3_S"},       [22] = {.name = "IQ2_S"},
    [23] = {.name = "IQ4_XS"},      [24] = {.name = "I8"},          [25] = {.name = "I16"},
    [26] = {"I32", true, MS_I32},   [27] = {.name = "I64"},         [28] = {"F64", true, MS_F64},
    [29] = {.name = "IQ1_M"},       [30] = {"BF16", true, MS_BF16}, [34] = {.name = "TQ1_0"},
    [35] = {.name = "TQ2_0"},       [39] = {.name = "MXFP4"},       [40] = {.name = "NVFP4"},
};

enum { TYPES = sizeof types / sizeof *types };

/* -- fields ---------------------------------------------------------------------------------- */

static uint64_t little_endian(const uint8_t *p, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Steps over n bytes. */
static ms_status skip(reader *r, uint64_t n, const char *what)
{
    if (n > r->size - r->at)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)r->at,
                          "%s takes %llu bytes, the file has %zu left", what, (unsigned long long)n,
                          r->size - r->at);
    r->at += (size_t)n;
    return MS_OK;
}

static ms_status read_u32(reader *r, const char *what, uint32_t *out)
{
    MS_TRY(skip(r, 4, what));
    *out = (uint32_t)little_endian(r->data + r->at - 4, 4);
    return MS_OK;
}

static ms_status read_u64(reader *r, const char *what, uint64_t *out)
{
    MS_TRY(skip(r, 8, what));
    *out = little_endian(r->data + r->at - 8, 8);
    return MS_OK;
}

/* How many of something follow, each of at least so many bytes; said_at: where the file says so. */
static ms_status check_count(const reader *r, size_t said_at, uint64_t count, size_t least,
                             const char *what)
{
    size_t left = r->size - r->at;

    if (count > left / least)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)said_at,
                          "%llu %s do not fit the %zu bytes left", (unsigned long long)count, what,
                          left);
    return MS_OK;
}

/* A length and so many bytes, none of them 0: a copy that ends with one. */
static ms_status read_name(reader *r, const char *what, size_t most, char **out)
{
    const size_t begin = r->at;
    uint64_t length;

    MS_TRY(read_u64(r, what, &length));
    if (length == 0 || length > most)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)begin,
                          "%s of %llu bytes, expected 1 to %zu", what, (unsigned long long)length,
                          most);
    MS_TRY(skip(r, length, what));
    if (memchr(r->data + r->at - length, 0, (size_t)length))
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)begin, "%s with a zero byte", what);
    *out = malloc((size_t)length + 1);
    if (!*out) return ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %s", what);
    memcpy(*out, r->data + r->at - length, (size_t)length);
    (*out)[length] = 0;
    return MS_OK;
}

/* -- metadata -------------------------------------------------------------------------------- */

/* One text, or those of an array: lists where each begins. */
static ms_status read_texts(reader *r, ms_gguf_meta *m)
{
    const uint8_t **element = NULL;
    size_t bytes;
    uint64_t length;

    if (m->array && m->count > 0) {
        if (ms_size_mul((size_t)m->count, sizeof *element, &bytes)) element = malloc(bytes);
        if (!element)
            return ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %llu texts",
                              (unsigned long long)m->count);
        m->element = element;
    }
    for (uint64_t i = 0; i < m->count; i++) {
        if (element) element[i] = r->data + r->at;
        MS_TRY(read_u64(r, "the length of a text", &length));
        MS_TRY(skip(r, length, "a text"));
    }
    return MS_OK;
}

static ms_status check_bools(const reader *r, const ms_gguf_meta *m)
{
    for (uint64_t i = 0; i < m->count; i++)
        if (m->value[i] > 1)
            return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)(m->value + i - r->data),
                              "metadata %.80s: %d is not a bool", m->key, m->value[i]);
    return MS_OK;
}

static ms_status read_type(reader *r, ms_gguf_meta *m)
{
    const size_t begin = r->at;
    uint32_t type;

    MS_TRY(read_u32(r, "the type of a value", &type));
    if (type >= MS_GGUF_TYPE_COUNT)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)begin,
                          "metadata %.80s: no type has the number %u", m->key, type);
    m->type = (ms_gguf_type)type;
    return MS_OK;
}

static ms_status read_meta(reader *r, ms_gguf_meta *m)
{
    char *key = NULL;

    MS_TRY(read_name(r, "a key", KEY_MOST, &key));
    *m = (ms_gguf_meta){.key = key, .count = 1};
    MS_TRY(read_type(r, m));
    if (m->type == MS_GGUF_ARRAY) {
        const size_t begin = r->at;

        m->array = true;
        MS_TRY(read_type(r, m));
        if (m->type == MS_GGUF_ARRAY)
            return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, (int64_t)begin,
                              "metadata %.80s: arrays of arrays are not supported", m->key);
        MS_TRY(read_u64(r, "the count of an array", &m->count));
    }
    MS_TRY(check_count(r, r->at - 8, m->count, value_bytes[m->type], "values"));
    m->value = r->data + r->at;
    if (m->type == MS_GGUF_TEXT) return read_texts(r, m);
    MS_TRY(skip(r, m->count * value_bytes[m->type], "a value"));
    return m->type == MS_GGUF_BOOL ? check_bools(r, m) : MS_OK;
}

static ms_status read_metadata(ms_gguf *g, reader *r, uint64_t count)
{
    g->meta = calloc((size_t)count + 1, sizeof *g->meta);
    if (!g->meta)
        return ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %llu keys",
                          (unsigned long long)count);
    while ((uint64_t)g->metas < count) MS_TRY(read_meta(r, &g->meta[g->metas++]));
    return MS_OK;
}

/* -- names in order -------------------------------------------------------------------------- */

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* Sorts a list and refuses two of the same name. */
static ms_status sort_names(const reader *r, named *list, int count, const char *what)
{
    qsort(list, (size_t)count, sizeof *list, compare_named);
    for (int i = 1; i < count; i++) {
        const named *a = &list[i - 1], *b = &list[i];

        if (!strcmp(a->name, b->name))
            return ms_fail_at(r->err, MS_FORMAT, r->path,
                              (a->data > b->data ? a->data : b->data) - r->data,
                              "%s %.80s is there twice", what, b->name);
    }
    return MS_OK;
}

static int find(const named *list, int count, const char *name)
{
    int low = 0, high = count;

    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(name, list[middle].name);

        if (order == 0) return list[middle].index;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static ms_status sort_keys(ms_gguf *g, const reader *r)
{
    g->by_key = calloc((size_t)g->metas + 1, sizeof *g->by_key);
    if (!g->by_key)
        return ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %d keys", g->metas);
    for (int i = 0; i < g->metas; i++) g->by_key[i] = (named){g->meta[i].key, i, g->meta[i].value};
    return sort_names(r, g->by_key, g->metas, "metadata");
}

static ms_status sort_tensors(ms_gguf *g, const reader *r)
{
    g->by_name = calloc((size_t)g->count + 1, sizeof *g->by_name);
    if (!g->by_name)
        return ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %d tensors", g->count);
    for (int i = 0; i < g->count; i++)
        g->by_name[i] = (named){g->entry[i].name, i, g->entry[i].data};
    return sort_names(r, g->by_name, g->count, "tensor");
}

/* -- tensors --------------------------------------------------------------------------------- */

/* Fills rank and dim; the file has the contiguous dimension first. */
static ms_status read_shape(reader *r, ms_st_entry *e)
{
    const size_t begin = r->at;
    uint32_t rank;

    MS_TRY(read_u32(r, "the rank of a tensor", &rank));
    if (rank > MS_MAX_RANK)
        return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, (int64_t)begin,
                          "tensor %s: %u dimensions, at most %d", e->name, rank, MS_MAX_RANK);
    for (uint32_t i = 0; i < rank; i++) {
        uint64_t n;

        MS_TRY(read_u64(r, "a dimension", &n));
        if (n == 0 || n > INT_MAX)
            return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)r->at - 8,
                              "tensor %s: dimension %u is %llu, expected 1 to %d", e->name, i,
                              (unsigned long long)n, INT_MAX);
        e->dim[rank - 1 - i] = (int)n;
    }
    e->rank = rank ? (int)rank : 1;
    if (rank == 0) e->dim[0] = 1;
    return MS_OK;
}

static ms_status read_dtype(reader *r, ms_st_entry *e)
{
    const int64_t begin = (int64_t)r->at;
    uint32_t type;

    MS_TRY(read_u32(r, "the type of a tensor", &type));
    if (type >= TYPES || !types[type].name)
        return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, begin,
                          "tensor %s: type %u is not supported", e->name, type);
    if (!types[type].supported)
        return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, begin,
                          "tensor %s: type %s (%u) is not supported", e->name, types[type].name,
                          type);
    e->dtype = types[type].dtype;
    return MS_OK;
}

/* Fills size_bytes: rows of whole blocks.  said_at: where the tensor is named. */
static ms_status take_size(const reader *r, size_t said_at, ms_st_entry *e)
{
    const int row = e->dim[e->rank - 1], block = ms_dtype_block(e->dtype);
    bool fits;

    if (row % block != 0)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)said_at,
                          "tensor %s: rows of %d are no multiple of the %d of a block of %s",
                          e->name, row, block, ms_dtype_name(e->dtype));
    fits = ms_size_mul((size_t)(row / block), ms_dtype_bytes(e->dtype), &e->size_bytes);
    for (int i = 0; i < e->rank - 1 && fits; i++)
        fits = ms_size_mul(e->size_bytes, (size_t)e->dim[i], &e->size_bytes);
    if (!fits)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)said_at,
                          "tensor %s: its dimensions are too large", e->name);
    return MS_OK;
}

static ms_status read_tensor(reader *r, ms_st_entry *e, place *p)
{
    const size_t begin = r->at;
    char *name = NULL;

    MS_TRY(read_name(r, "the name of a tensor", NAME_MOST, &name));
    e->name = name;
    MS_TRY(read_shape(r, e));
    MS_TRY(read_dtype(r, e));
    MS_TRY(take_size(r, begin, e));
    p->said_at = r->at;
    return read_u64(r, "the offset of a tensor", &p->offset);
}

/* The bytes between tensors' beginnings are a multiple of this. */
static ms_status read_alignment(const ms_gguf *g, const reader *r, size_t *out)
{
    const ms_gguf_meta *m = ms_gguf_get(g, "general.alignment");
    uint64_t n;

    *out = ALIGNMENT;
    if (!m) return MS_OK;
    if (m->array || m->type != MS_GGUF_U32)
        return ms_fail_at(r->err, MS_FORMAT, r->path, m->value - r->data,
                          "general.alignment is no u32");
    n = little_endian(m->value, 4);
    if (n == 0 || (n & (n - 1)) != 0)
        return ms_fail_at(r->err, MS_FORMAT, r->path, m->value - r->data,
                          "general.alignment is %llu, expected a power of two",
                          (unsigned long long)n);
    *out = (size_t)n;
    return MS_OK;
}

/* data begins at r->at. */
static ms_status place_tensor(const reader *r, ms_st_entry *e, const place *p, size_t alignment)
{
    const size_t size = r->size - r->at;

    if (p->offset % alignment != 0)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)p->said_at,
                          "tensor %s: offset %llu is no multiple of %zu", e->name,
                          (unsigned long long)p->offset, alignment);
    if (p->offset > size || e->size_bytes > size - p->offset)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)p->said_at,
                          "tensor %s: %zu bytes from %llu on, the file has %zu bytes of data",
                          e->name, e->size_bytes, (unsigned long long)p->offset, size);
    e->data = r->data + r->at + p->offset;
    return MS_OK;
}

static int compare_place(const void *a, const void *b)
{
    const uint8_t *x = ((const ms_st_entry *)a)->data, *y = ((const ms_st_entry *)b)->data;

    return x < y ? -1 : x > y;
}

static ms_status place_tensors(ms_gguf *g, reader *r, const place *p)
{
    size_t alignment;

    MS_TRY(read_alignment(g, r, &alignment));
    if (g->count == 0) return MS_OK; /* such a file may end without padding */
    MS_TRY(skip(r, (alignment - r->at % alignment) % alignment, "padding"));
    for (int i = 0; i < g->count; i++) MS_TRY(place_tensor(r, &g->entry[i], &p[i], alignment));
    qsort(g->entry, (size_t)g->count, sizeof *g->entry, compare_place);
    for (int i = 1; i < g->count; i++) {
        const ms_st_entry *e = &g->entry[i], *before = e - 1;
        const uint8_t *end = (const uint8_t *)before->data + before->size_bytes;

        if ((const uint8_t *)e->data < end)
            return ms_fail_at(r->err, MS_FORMAT, r->path, (const uint8_t *)e->data - r->data,
                              "tensor %s overlaps %s", e->name, before->name);
    }
    return MS_OK;
}

static ms_status read_tensors(ms_gguf *g, reader *r, uint64_t count)
{
    place *p = calloc((size_t)count + 1, sizeof *p);
    ms_status s = MS_OK;

    g->entry = calloc((size_t)count + 1, sizeof *g->entry);
    if (!p || !g->entry)
        s = ms_fail_at(r->err, MS_MEMORY, r->path, -1, "out of memory for %llu tensors",
                       (unsigned long long)count);
    while (!s && (uint64_t)g->count < count) {
        s = read_tensor(r, &g->entry[g->count], &p[g->count]);
        g->count++;
    }
    if (!s) s = place_tensors(g, r, p);
    free(p);
    return s ? s : sort_tensors(g, r);
}

/* -- the file -------------------------------------------------------------------------------- */

static ms_status read_version(reader *r)
{
    uint32_t version;

    if (r->size < 4 || memcmp(r->data, "GGUF", 4) != 0)
        return ms_fail_at(r->err, MS_FORMAT, r->path, 0, "is not a GGUF file");
    r->at = VERSION_AT;
    MS_TRY(read_u32(r, "the version", &version));
    if (version == 0)
        return ms_fail_at(r->err, MS_FORMAT, r->path, VERSION_AT, "version 0 does not exist");
    if ((version & 0xffff) == 0)
        return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, VERSION_AT,
                          "big-endian files are not supported");
    if (version < VERSION_LEAST || version > VERSION_MOST)
        return ms_fail_at(r->err, MS_UNSUPPORTED, r->path, VERSION_AT,
                          "version %u is not supported, expected %d or %d", version, VERSION_LEAST,
                          VERSION_MOST);
    return MS_OK;
}

static ms_status check_items(const reader *r, size_t said_at, uint64_t count, size_t least,
                             const char *what)
{
    MS_TRY(check_count(r, said_at, count, least, what));
    if (count > ITEMS_MOST)
        return ms_fail_at(r->err, MS_FORMAT, r->path, (int64_t)said_at, "%llu %s are more than %d",
                          (unsigned long long)count, what, ITEMS_MOST);
    return MS_OK;
}

static ms_status read_file(ms_gguf *g, ms_error *err)
{
    reader r = {.data = g->map.data, .size = g->map.size_bytes, .path = g->path, .err = err};
    uint64_t tensors, metas;

    MS_TRY(read_version(&r));
    MS_TRY(read_u64(&r, "the count of tensors", &tensors));
    MS_TRY(read_u64(&r, "the count of metadata", &metas));
    MS_TRY(check_items(&r, METAS_AT, metas, META_LEAST, "keys"));
    MS_TRY(check_items(&r, TENSORS_AT, tensors, TENSOR_LEAST, "tensors"));
    MS_TRY(read_metadata(g, &r, metas));
    MS_TRY(sort_keys(g, &r));
    MS_TRY(check_items(&r, TENSORS_AT, tensors, TENSOR_LEAST,
                       "tensors")); /* in what metadata has left */
    return read_tensors(g, &r, tensors);
}

ms_status ms_gguf_open(ms_gguf **out, const char *path, ms_error *err)
{
    ms_gguf *g = calloc(1, sizeof *g);
    ms_status status;

    if (g) g->path = strdup(path);
    if (!g || !g->path) {
        free(g);
        return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory");
    }
    status = ms_map_open(&g->map, path, err);
    if (!status) status = read_file(g, err);
    if (status) {
        ms_gguf_close(g);
        return status;
    }
    *out = g;
    return MS_OK;
}

void ms_gguf_close(ms_gguf *g)
{
    if (!g) return;
    for (int i = 0; i < g->metas; i++) {
        free((void *)(uintptr_t)g->meta[i].key);
        free((void *)(uintptr_t)g->meta[i].element);
    }
    for (int i = 0; i < g->count; i++) free((void *)(uintptr_t)g->entry[i].name);
    ms_map_close(&g->map);
    free(g->meta);
    free(g->by_key);
    free(g->entry);
    free(g->by_name);
    free(g->path);
    free(g);
}

const char *ms_gguf_path(const ms_gguf *g)
{
    return g->path;
}

int ms_gguf_count(const ms_gguf *g)
{
    return g->count;
}

const ms_st_entry *ms_gguf_at(const ms_gguf *g, int i)
{
    return i >= 0 && i < g->count ? &g->entry[i] : NULL;
}

const ms_st_entry *ms_gguf_find(const ms_gguf *g, const char *name)
{
    return ms_gguf_at(g, find(g->by_name, g->count, name));
}

int ms_gguf_metas(const ms_gguf *g)
{
    return g->metas;
}

const ms_gguf_meta *ms_gguf_meta_at(const ms_gguf *g, int i)
{
    return i >= 0 && i < g->metas ? &g->meta[i] : NULL;
}

const ms_gguf_meta *ms_gguf_get(const ms_gguf *g, const char *key)
{
    return ms_gguf_meta_at(g, find(g->by_key, g->metas, key));
}

/* -- values ---------------------------------------------------------------------------------- */

/* The number of so many bytes in two's complement. */
static double signed_number(uint64_t v, int bytes)
{
    const uint64_t sign = UINT64_C(1) << (8 * bytes - 1);

    return v & sign ? -(double)(sign - (v & (sign - 1))) : (double)v;
}

static double real_number(uint64_t v, ms_gguf_type type)
{
    const uint32_t half = (uint32_t)v;
    double d;
    float f;

    if (type == MS_GGUF_F32) {
        memcpy(&f, &half, sizeof f);
        return (double)f;
    }
    memcpy(&d, &v, sizeof d);
    return d;
}

bool ms_gguf_number(const ms_gguf_meta *m, uint64_t i, double *out)
{
    const int bytes = value_bytes[m->type];
    uint64_t v;

    if (i >= m->count || m->type == MS_GGUF_TEXT) return false;
    v = little_endian(m->value + i * (uint64_t)bytes, bytes);
    switch (m->type) {
    case MS_GGUF_I8:
    case MS_GGUF_I16:
    case MS_GGUF_I32:
    case MS_GGUF_I64: *out = signed_number(v, bytes); return true;
    case MS_GGUF_F32:
    case MS_GGUF_F64: *out = real_number(v, m->type); return true;
    default: *out = (double)v; return true;
    }
}

bool ms_gguf_text_at(const ms_gguf_meta *m, uint64_t i, ms_gguf_text *out)
{
    const uint8_t *at;

    if (i >= m->count || m->type != MS_GGUF_TEXT) return false;
    at = m->element ? m->element[i] : m->value;
    *out = (ms_gguf_text){(const char *)at + 8, (size_t)little_endian(at, 8)};
    return true;
}
