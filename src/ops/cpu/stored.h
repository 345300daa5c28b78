/* stored - between the files of linear_stored: rounded rows of x, and who multiplies; private */
#ifndef MS_OPS_CPU_STORED_H
#define MS_OPS_CPU_STORED_H

#include "ops/cpu/kernel.h"

enum { X_BLOCK = 32 }; /* elements of x that share a scale */

/* A block of x as linear_stored's contract rounds it. */
typedef struct {
    int8_t q[X_BLOCK];
    float d;          /* x is about d q */
    float sum;        /* d times the sum of q: what a minimum is multiplied by */
    int32_t start[2]; /* less the sum of q times the unsigned level of w that means zero: what a sum
                         of products starts from; of types with scales for halves one each */
} x_block;

/* Columns of y for some rows of x and some of w. */
typedef struct {
    const ms_linear_stored_args *a;
    int x_first, x_rows; /* of a->x and a->y */
    int w_first, w_rows; /* of a->w */
    const void *x;       /* these rows as they are rounded: (x_rows, I / 32) x_block, or bf16 */
    void *work;          /* STORED_WORK_BYTES of this thread */
    bool bf16;           /* factors are rounded to bf16 */
} stored_part;

enum { STORED_WORK_BYTES = 2 << 20 };

static inline size_t stored_row_bytes(ms_tensor w)
{
    return (size_t)w.dim[1] / (size_t)ms_dtype_block(w.dtype) * ms_dtype_bytes(w.dtype);
}

/* stored_int8.c: I elements to blocks, for a type of w; the product; w as the device keeps it. */
void CPU(stored_round)(x_block *to, const float *x, int I, ms_dtype w);
void CPU(stored_int8)(const stored_part *p);
size_t CPU(stored_kept_bytes)(ms_tensor w);
void CPU(stored_keep)(void *to, ms_tensor w, int thread, int threads);

/* stored_float.c: likewise for the other types, whose x is rounded when bf16 is asked for: a row of
 * so many bytes. */
size_t CPU(stored_bf16_bytes)(int I);
void CPU(stored_bf16)(void *to, const float *x, int I);
void CPU(stored_float)(const stored_part *p);

/* Few rows of x by w of f32, f16 or bf16, without rounding; false where that is not the way. */
bool CPU(stored_few)(const stored_part *p);

#endif
