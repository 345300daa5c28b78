/* gguf_write - metadata that grows in memory, tensors that stream to the file behind it */
#include "formats/gguf.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 3, ALIGNMENT = 32, KEY_MOST = 65535, NAME_MOST = 63, NO_TYPE = -1 };

struct ms_gguf_head {
    uint8_t *data; /* keys, types and values as they lie in the file */
    size_t used_bytes, size_bytes;
    uint64_t count;
    bool failed;
};

/* The numbers of ggml; it has none for bytes without a sign. */
static const int type_number[MS_DTYPE_COUNT] = {
    [MS_F64] = 28,  [MS_F32] = 0,      [MS_BF16] = 30, [MS_F16] = 1,
    [MS_I32] = 26,  [MS_U8] = NO_TYPE, [MS_Q8_0] = 8,  [MS_Q4_0] = 2,
    [MS_Q4_1] = 3,  [MS_Q5_0] = 6,     [MS_Q5_1] = 7,  [MS_Q2_K] = 10,
    [MS_Q3_K] = 11, [MS_Q4_K] = 12,    [MS_Q5_K] = 13, [MS_Q6_K] = 14,
};

/* Of numbers; 0 for the others. */
static const uint8_t number_bytes[MS_GGUF_TYPE_COUNT] = {
    [MS_GGUF_U8] = 1,  [MS_GGUF_I8] = 1,  [MS_GGUF_U16] = 2, [MS_GGUF_I16] = 2,
    [MS_GGUF_U32] = 4, [MS_GGUF_I32] = 4, [MS_GGUF_F32] = 4, [MS_GGUF_BOOL] = 1,
    [MS_GGUF_U64] = 8, [MS_GGUF_I64] = 8, [MS_GGUF_F64] = 8,
};

static void little_endian(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> (8 * i));
}

/* -- metadata -------------------------------------------------------------------------------- */

ms_gguf_head *ms_gguf_head_new(void)
{
    return calloc(1, sizeof(ms_gguf_head));
}

void ms_gguf_head_free(ms_gguf_head *h)
{
    if (!h) return;
    free(h->data);
    free(h);
}

/* Makes room for more bytes, at least doubling it; false when that failed, now or before. */
static bool make_room(ms_gguf_head *h, size_t bytes)
{
    size_t wanted, doubled;
    uint8_t *data;

    if (h->failed) return false;
    if (bytes <= h->size_bytes - h->used_bytes) return true;
    h->failed = true;
    if (!ms_size_add(h->used_bytes, bytes, &wanted) || !ms_size_mul(h->size_bytes, 2, &doubled))
        return false;
    if (wanted < doubled) wanted = doubled;
    data = realloc(h->data, wanted);
    if (!data) return false;
    h->data = data;
    h->size_bytes = wanted;
    h->failed = false;
    return true;
}

static void append(ms_gguf_head *h, const void *data, size_t bytes)
{
    if (!make_room(h, bytes) || bytes == 0) return;
    memcpy(h->data + h->used_bytes, data, bytes);
    h->used_bytes += bytes;
}

static void append_number(ms_gguf_head *h, uint64_t v, int bytes)
{
    uint8_t p[8];

    little_endian(p, v, bytes);
    append(h, p, (size_t)bytes);
}

static void append_text(ms_gguf_head *h, const char *text, size_t size)
{
    append_number(h, size, 8);
    append(h, text, size);
}

static void append_key(ms_gguf_head *h, const char *key, ms_gguf_type type)
{
    MS_ASSERT(*key && strlen(key) <= KEY_MOST && strcmp(key, "general.alignment") != 0);
    append_text(h, key, strlen(key));
    append_number(h, type, 4);
    h->count++;
}

void ms_gguf_add_u32(ms_gguf_head *h, const char *key, uint32_t value)
{
    if (!h) return;
    append_key(h, key, MS_GGUF_U32);
    append_number(h, value, 4);
}

void ms_gguf_add_f32(ms_gguf_head *h, const char *key, float value)
{
    uint32_t bits;

    if (!h) return;
    memcpy(&bits, &value, sizeof bits);
    append_key(h, key, MS_GGUF_F32);
    append_number(h, bits, 4);
}

void ms_gguf_add_bool(ms_gguf_head *h, const char *key, bool value)
{
    if (!h) return;
    append_key(h, key, MS_GGUF_BOOL);
    append_number(h, value, 1);
}

void ms_gguf_add_text(ms_gguf_head *h, const char *key, const char *text)
{
    if (!h) return;
    append_key(h, key, MS_GGUF_TEXT);
    append_text(h, text, strlen(text));
}

static void append_array(ms_gguf_head *h, const char *key, ms_gguf_type type, uint64_t count)
{
    append_key(h, key, MS_GGUF_ARRAY);
    append_number(h, type, 4);
    append_number(h, count, 8);
}

void ms_gguf_add_array(ms_gguf_head *h, const char *key, ms_gguf_type type, const void *values,
                       uint64_t count)
{
    size_t bytes;

    if (!h) return;
    MS_ASSERT(number_bytes[type]);
    append_array(h, key, type, count);
    if (count <= SIZE_MAX && ms_size_mul((size_t)count, number_bytes[type], &bytes))
        append(h, values, bytes);
    else
        h->failed = true;
}

void ms_gguf_add_texts(ms_gguf_head *h, const char *key, const ms_gguf_text *texts, uint64_t count)
{
    if (!h) return;
    append_array(h, key, MS_GGUF_TEXT, count);
    for (uint64_t i = 0; i < count && !h->failed; i++)
        append_text(h, texts[i].text, texts[i].size_bytes);
}

/* -- the file -------------------------------------------------------------------------------- */

/* Where in the file the next byte goes: tensors are aligned. */
typedef struct {
    ms_writer *w;
    size_t at;
} output;

static void put(output *o, const void *data, size_t bytes)
{
    ms_writer_put(o->w, data, bytes);
    o->at += bytes;
}

static void put_number(output *o, uint64_t v, int bytes)
{
    uint8_t p[8];

    little_endian(p, v, bytes);
    put(o, p, (size_t)bytes);
}

static void pad(output *o)
{
    static const uint8_t zeros[ALIGNMENT];

    put(o, zeros, (ALIGNMENT - o->at % ALIGNMENT) % ALIGNMENT);
}

/* What ms_gguf_open would refuse is not written. */
static ms_status check_entry(const ms_st_entry *e, const char *path, ms_error *err)
{
    const size_t length = strlen(e->name);
    const int block = ms_dtype_block(e->dtype), row = e->rank ? e->dim[e->rank - 1] : 1;
    size_t size = ms_dtype_bytes(e->dtype);
    bool fits = row % block == 0 && ms_size_mul(size, (size_t)(row / block), &size);

    if (length == 0 || length > NAME_MOST)
        return ms_fail_at(err, MS_INPUT, path, -1,
                          "tensor %.80s: a name of %zu bytes, expected 1 to %d", e->name, length,
                          NAME_MOST);
    if (type_number[e->dtype] == NO_TYPE)
        return ms_fail_at(err, MS_UNSUPPORTED, path, -1, "tensor %s: GGUF has no type %s", e->name,
                          ms_dtype_name(e->dtype));
    for (int i = 0; i < e->rank; i++) {
        if (e->dim[i] < 1)
            return ms_fail_at(err, MS_INPUT, path, -1, "tensor %s: dimension %d is %d", e->name, i,
                              e->dim[i]);
        if (i < e->rank - 1) fits = fits && ms_size_mul(size, (size_t)e->dim[i], &size);
    }
    if (!fits || size != e->size_bytes)
        return ms_fail_at(err, MS_INPUT, path, -1, "tensor %s: %zu bytes do not make its shape",
                          e->name, e->size_bytes);
    return MS_OK;
}

/* A tensor's line in the header; *offset goes on behind its data. */
static void put_entry(output *o, const ms_st_entry *e, size_t *offset)
{
    const size_t length = strlen(e->name);

    put_number(o, length, 8);
    put(o, e->name, length);
    put_number(o, e->rank ? (uint64_t)e->rank : 1, 4);
    for (int i = e->rank - 1; i >= 0; i--) put_number(o, (uint64_t)e->dim[i], 8);
    if (e->rank == 0) put_number(o, 1, 8);
    put_number(o, (uint64_t)type_number[e->dtype], 4);
    put_number(o, *offset, 8);
    *offset += e->size_bytes + (ALIGNMENT - e->size_bytes % ALIGNMENT) % ALIGNMENT;
}

static ms_status put_data(output *o, const ms_st_entry *entry, int i, ms_st_fill *fill, void *user,
                          ms_error *err)
{
    const ms_st_entry *e = &entry[i];
    void *buffer;
    ms_status s;

    if (!fill) {
        put(o, e->data, e->size_bytes);
        return MS_OK;
    }
    buffer = malloc(e->size_bytes);
    if (!buffer)
        return ms_fail(err, MS_MEMORY, "out of memory for tensor %s of %zu bytes", e->name,
                       e->size_bytes);
    s = fill(user, i, buffer, err);
    if (!s) put(o, buffer, e->size_bytes);
    free(buffer);
    return s;
}

ms_status ms_gguf_write(const char *path, const ms_gguf_head *h, const ms_st_entry *entry,
                        int count, ms_st_fill *fill, void *user, ms_error *err)
{
    output o = {NULL, 0};
    size_t offset = 0;
    ms_status s = MS_OK;

    if (!h || h->failed) return ms_fail_at(err, MS_MEMORY, path, -1, "out of memory for metadata");
    for (int i = 0; i < count; i++) MS_TRY(check_entry(&entry[i], path, err));
    MS_TRY(ms_writer_open(&o.w, path, err));
    put(&o, "GGUF", 4);
    put_number(&o, VERSION, 4);
    put_number(&o, (uint64_t)count, 8);
    put_number(&o, h->count, 8);
    put(&o, h->data, h->used_bytes);
    for (int i = 0; i < count; i++) put_entry(&o, &entry[i], &offset);
    pad(&o);
    for (int i = 0; i < count && !s; i++) {
        s = put_data(&o, entry, i, fill, user, err);
        pad(&o);
    }
    if (s) {
        ms_writer_abort(o.w);
        return s;
    }
    return ms_writer_commit(o.w, err);
}
