/* tensor - sizes, views and the text of shapes */
#include "base/tensor.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size_bytes; /* of a block */
    int block;
} dtypes[MS_DTYPE_COUNT] = {
    [MS_F64] = {"f64", 8, 1},       [MS_F32] = {"f32", 4, 1},       [MS_BF16] = {"bf16", 2, 1},
    [MS_F16] = {"f16", 2, 1},       [MS_I32] = {"i32", 4, 1},       [MS_U8] = {"u8", 1, 1},
    [MS_Q8_0] = {"q8_0", 34, 32},   [MS_Q4_0] = {"q4_0", 18, 32},   [MS_Q4_1] = {"q4_1", 20, 32},
    [MS_Q5_0] = {"q5_0", 22, 32},   [MS_Q5_1] = {"q5_1", 24, 32},   [MS_Q2_K] = {"q2_k", 84, 256},
    [MS_Q3_K] = {"q3_k", 110, 256}, [MS_Q4_K] = {"q4_k", 144, 256}, [MS_Q5_K] = {"q5_k", 176, 256},
    [MS_Q6_K] = {"q6_k", 210, 256},
};

size_t ms_dtype_bytes(ms_dtype dtype)
{
    return dtypes[dtype].size_bytes;
}

int ms_dtype_block(ms_dtype dtype)
{
    return dtypes[dtype].block;
}

bool ms_dtype_is_real(ms_dtype dtype)
{
    return dtype != MS_I32 && dtype != MS_U8;
}

bool ms_dtype_find(const char *name, ms_dtype *out)
{
    for (int i = 0; i < MS_DTYPE_COUNT; i++)
        if (!strcmp(dtypes[i].name, name)) {
            *out = (ms_dtype)i;
            return true;
        }
    return false;
}

const char *ms_dtype_name(ms_dtype dtype)
{
    return (unsigned)dtype < MS_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

ms_tensor ms_tensor_make(void *data, ms_dtype dtype, int rank, const int *dim)
{
    ms_tensor t = {.data = data, .dtype = dtype, .rank = rank};

    for (int i = 0; i < rank; i++) {
        if (dim[i] == 0) return MS_ABSENT;
        t.dim[i] = dim[i];
    }
    return t;
}

size_t ms_count(ms_tensor t)
{
    size_t n = t.rank > 0;

    for (int i = 0; i < t.rank; i++) n *= (size_t)t.dim[i];
    return n;
}

size_t ms_tensor_bytes(ms_tensor t)
{
    return ms_count(t) / (size_t)ms_dtype_block(t.dtype) * ms_dtype_bytes(t.dtype);
}

ms_tensor ms_rows(ms_tensor t, int first, int rows)
{
    size_t row_bytes;

    if (!ms_present(t)) return t;
    row_bytes = ms_tensor_bytes(t) / (size_t)t.dim[0];
    if (t.data) t.data = (char *)t.data + (size_t)first * row_bytes;
    t.dim[0] = rows;
    return t;
}

bool ms_same_shape(ms_tensor a, ms_tensor b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

bool ms_size_mul(size_t a, size_t b, size_t *out)
{
    if (a != 0 && b > SIZE_MAX / a) return false;
    *out = a * b;
    return true;
}

bool ms_size_add(size_t a, size_t b, size_t *out)
{
    if (b > SIZE_MAX - a) return false;
    *out = a + b;
    return true;
}

char *ms_shape_text(ms_tensor t, char text[64])
{
    size_t used = 0;

    if (!ms_present(t)) {
        snprintf(text, 64, "absent");
        return text;
    }
    for (int i = 0; i < t.rank; i++)
        used += (size_t)snprintf(text + used, 64 - used, "%s%d", i ? ", " : "(", t.dim[i]);
    snprintf(text + used, 64 - used, ")");
    return text;
}
