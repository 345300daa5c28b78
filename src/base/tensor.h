/* tensor - a typed address with a shape; rows are dense, the last dimension is contiguous
 *
 * A tensor owns nothing: its memory belongs to an arena.  rank 0 means absent. */
#ifndef MS_BASE_TENSOR_H
#define MS_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

/* Real numbers, integers, and the block types of ggml: a row of those is a row of blocks, each of
 * some elements that share scales (quant.h). */
typedef enum {
    MS_F64,
    MS_F32,
    MS_BF16,
    MS_F16,
    MS_I32,
    MS_U8,
    MS_Q8_0,
    MS_Q4_0,
    MS_Q4_1,
    MS_Q5_0,
    MS_Q5_1,
    MS_Q2_K,
    MS_Q3_K,
    MS_Q4_K,
    MS_Q5_K,
    MS_Q6_K,
    MS_DTYPE_COUNT
} ms_dtype;

enum { MS_MAX_RANK = 4 };

typedef struct {
    void *data; /* address on the device; NULL in a dry run */
    ms_dtype dtype;
    int rank; /* 0: absent */
    int dim[MS_MAX_RANK];
} ms_tensor;

#define MS_ABSENT ((ms_tensor){0})

/* A tensor over memory that exists; rank is the number of dimensions given.
 *     ms_tensor x = MS_TENSOR(p, MS_F32, N, C); */
#define MS_TENSOR(data, dtype, ...)                                                                \
    ms_tensor_make((data), (dtype), (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)),             \
                   (const int[]){__VA_ARGS__})
ms_tensor ms_tensor_make(void *data, ms_dtype dtype, int rank, const int *dim);

size_t ms_dtype_bytes(ms_dtype dtype); /* bytes of one block */
int ms_dtype_block(ms_dtype dtype);    /* elements of one block; 1 but for the block types */
bool ms_dtype_is_real(ms_dtype dtype); /* all but MS_I32 and MS_U8 */
bool ms_dtype_find(const char *name, ms_dtype *out);
const char *ms_dtype_name(ms_dtype dtype); /* "f32", ... */

static inline bool ms_present(ms_tensor t)
{
    return t.rank > 0;
}

size_t ms_count(ms_tensor t); /* elements; 0 when absent */
/* The last dimension is a multiple of the block. */
size_t ms_tensor_bytes(ms_tensor t);

/* Rows [first, first + rows) along dimension 0, without a copy. */
ms_tensor ms_rows(ms_tensor t, int first, int rows);

/* The same elements under another shape of equal count. */
#define MS_VIEW(t, ...)                                                                            \
    ms_tensor_make((t).data, (t).dtype, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)),         \
                   (const int[]){__VA_ARGS__})

bool ms_same_shape(ms_tensor a, ms_tensor b);

/* *out = a * b, or false when the product does not fit: every size that comes from a file goes
 * through here. */
bool ms_size_mul(size_t a, size_t b, size_t *out);
bool ms_size_add(size_t a, size_t b, size_t *out);

/* "(12, 64)"; into a buffer of at least 64 bytes, returned. */
char *ms_shape_text(ms_tensor t, char text[64]);

#endif
