/* gemm - C (+)= A B of packed panels, in f32 or of factors rounded to bf16; private */
#ifndef MS_OPS_CPU_GEMM_H
#define MS_OPS_CPU_GEMM_H

#include "ops/cpu/kernel.h"

/* A (M, K), B (K, J), C (M, J) by distances of elements.  Of a_row and a_inner one is 1, of b_inner
 * and b_column too. */
typedef struct {
    int M, J, K;
    const float *A;
    size_t a_row, a_inner;
    const float *B;
    size_t b_inner, b_column;
    float *C;
    size_t c_row;
    bool add;  /* C += */
    bool bf16; /* A and B are rounded as ms_queue.bf16 says */
} cpu_product;

enum { CPU_GEMM_BYTES = 2 << 20 }; /* work memory that a product takes */

/* Rows [first, last) of C.  An element is summed in an order that depends on K alone. */
void CPU(gemm)(const cpu_product *p, int first, int last, float *work);

#endif
