/* stored_int8 - products of x rounded to int8 with block types, levels by levels
 *
 * The dot product of 32 levels is exact in integers.  Each element of y is one chain over the
 * blocks of its row, y += (dw dx) dot, then y -= min sum, in float: so every kernel of a variant,
 * for one row of x or for many, gives the same bits. */
#include "ops/cpu/stored.h"

#include "base/quant_rows.h"

#include <float.h>
#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/* VF rows of w; a row that does not exist is the last one again. */
typedef struct {
    const uint8_t *row[VF];
} w_rows;

#if defined(MS_CPU_SCALAR)
#include "ops/cpu/quant.h"
#elif defined(__AVX512BW__)
#include "ops/cpu/x86/quant_avx512.h"
#elif defined(__AVX2__)
#include "ops/cpu/x86/quant_avx2.h"
#elif defined(__aarch64__)
#include "ops/cpu/arm/quant_neon.h"
#else
#include "ops/cpu/quant.h"
#endif

/* The unsigned level that means zero. */
static int zero_of(ms_dtype w)
{
    switch (w) {
    case MS_Q8_0: return Q8_0_ZERO;
    case MS_Q4_0: return 8;
    case MS_Q5_0: return 16;
    case MS_Q6_K: return 32;
    default: return 0;
    }
}

/* d and the factor that makes levels of x; `most` is the largest |x|. */
static float factor_of(x_block *to, float most)
{
    to->d = most < 0x1p-100f ? 0 : most <= FLT_MAX ? most / 127 : NAN;
    return to->d > 0 ? 127 / most : 0;
}

void CPU(stored_round)(x_block *to, const float *x, int I, ms_dtype w)
{
    const int zero = zero_of(w);

    for (int i = 0; i < I; i += X_BLOCK, to++) {
        float factor = factor_of(to, largest(x + i));
        int first, second;

        round_levels(to->q, x + i, factor, &first, &second);
        to->sum = to->d * (float)(first + second);
        to->start[0] = -zero * (w == MS_Q6_K ? first : first + second);
        to->start[1] = -zero * second;
    }
}

void CPU(stored_int8)(const stored_part *p)
{
    multiply(p);
}

size_t CPU(stored_kept_bytes)(ms_tensor w)
{
    return kept_bytes(w);
}

void CPU(stored_keep)(void *to, ms_tensor w, int thread, int threads)
{
    keep(to, w, thread, threads);
}
