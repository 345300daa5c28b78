/* quant - rows of the block types of ggml, to floats and back
 *
 * A block holds 32 or 256 elements with their scales; layouts and arithmetic are those of ggml
 * (ggml-common.h, ggml-quants.c), so that a file means the same numbers to both. */
#ifndef MS_BASE_QUANT_H
#define MS_BASE_QUANT_H

#include "base/tensor.h"

/* n elements (a multiple of the block) of any real type to floats; blocks may be unaligned. */
void ms_dequantize(ms_dtype dtype, const void *blocks, float *out, size_t n);

/* Whether ms_quantize knows the type: f32, bf16, f16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q6_k. */
bool ms_can_quantize(ms_dtype dtype);
/* n floats (a multiple of the block) to blocks, as ggml's reference quantization rounds them. */
void ms_quantize(ms_dtype dtype, const float *x, void *blocks, size_t n);

#endif
