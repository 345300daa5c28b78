/* gguf - llama.cpp's model files: typed metadata and tensors in one mapping
 *
 *   "GGUF" version(u32: 2, 3) tensors(u64) metadata(u64)
 *   metadata:  key(u64 length, bytes) type(u32) value          little-endian throughout
 *   tensors:   name dims(u32) dim[](u64, contiguous one first) type(u32) offset(u64)
 *   padding to general.alignment (32), then the data
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#ifndef MS_FORMATS_GGUF_H
#define MS_FORMATS_GGUF_H

#include "base/file.h"
#include "formats/entry.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    MS_GGUF_U8,
    MS_GGUF_I8,
    MS_GGUF_U16,
    MS_GGUF_I16,
    MS_GGUF_U32,
    MS_GGUF_I32,
    MS_GGUF_F32,
    MS_GGUF_BOOL,
    MS_GGUF_TEXT,
    MS_GGUF_ARRAY,
    MS_GGUF_U64,
    MS_GGUF_I64,
    MS_GGUF_F64,
    MS_GGUF_TYPE_COUNT
} ms_gguf_type;

typedef struct ms_gguf ms_gguf;

/* -- reading --------------------------------------------------------------------------------- */

/* Maps a file and checks everything before use: each count against the bytes that are left before
 * anything is allocated, each length, type, nesting of arrays (refused), dimension, product,
 * offset, alignment; duplicate keys and names; tensors inside the file, not overlapping.  One line
 * says what and where.  Memory taken is in proportion to the header, not to what it claims. */
ms_status ms_gguf_open(ms_gguf **out, const char *path, ms_error *err);
void ms_gguf_close(ms_gguf *g);
const char *ms_gguf_path(const ms_gguf *g);

int ms_gguf_count(const ms_gguf *g);
const ms_st_entry *ms_gguf_at(const ms_gguf *g,
                              int i); /* in order of the file; NULL past the end */
const ms_st_entry *ms_gguf_find(const ms_gguf *g, const char *name);

/* A value of the metadata, lent.  Texts are not terminated and may hold any bytes. */
typedef struct {
    const char *text;
    size_t size_bytes;
} ms_gguf_text;
typedef struct {
    const char *key;   /* terminated */
    ms_gguf_type type; /* of the value, or of the elements when it is an array */
    bool array;
    uint64_t count;                /* elements; 1 when it is no array */
    const uint8_t *value;          /* in the file */
    const uint8_t *const *element; /* texts of an array: where each begins; NULL otherwise */
} ms_gguf_meta;
int ms_gguf_metas(const ms_gguf *g);
const ms_gguf_meta *ms_gguf_meta_at(const ms_gguf *g, int i);
const ms_gguf_meta *ms_gguf_get(const ms_gguf *g, const char *key); /* NULL: not there */

/* Element i of a value: false when its type is another one. number: integers, floats, bool. */
bool ms_gguf_number(const ms_gguf_meta *m, uint64_t i, double *out);
bool ms_gguf_text_at(const ms_gguf_meta *m, uint64_t i, ms_gguf_text *out);

/* -- writing --------------------------------------------------------------------------------- */

/* Metadata that grows; what fails for want of memory sticks and is reported by ms_gguf_write. */
typedef struct ms_gguf_head ms_gguf_head;
ms_gguf_head *ms_gguf_head_new(void); /* NULL: out of memory; the functions below accept that */
void ms_gguf_head_free(ms_gguf_head *h);
void ms_gguf_add_u32(ms_gguf_head *h, const char *key, uint32_t value);
void ms_gguf_add_f32(ms_gguf_head *h, const char *key, float value);
void ms_gguf_add_bool(ms_gguf_head *h, const char *key, bool value);
void ms_gguf_add_text(ms_gguf_head *h, const char *key, const char *text);
void ms_gguf_add_array(ms_gguf_head *h, const char *key, ms_gguf_type type, const void *values,
                       uint64_t count); /* numbers, as they lie in memory */
void ms_gguf_add_texts(ms_gguf_head *h, const char *key, const ms_gguf_text *texts, uint64_t count);

/* Writes version 3, alignment 32, atomically; fill as in safetensors.h. */
ms_status ms_gguf_write(const char *path, const ms_gguf_head *h, const ms_st_entry *entry,
                        int count, ms_st_fill *fill, void *user, ms_error *err);

#endif
