/* bf16 - pairs of bf16 in the place of floats, for AVX-512 BF16; private
 *
 * Rounding is to the nearest, ties to even; numbers below the least normal one count as 0. */
#ifndef MS_OPS_CPU_X86_BF16_H
#define MS_OPS_CPU_X86_BF16_H

#include "ops/cpu/simd.h"

#include <immintrin.h>

/* 32 floats side by side: pairs of neighbours. */
static inline vf vf_pairs_along(vf low, vf high)
{
    return (vf)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* Pairs of the lanes of two vectors. */
static inline vf vf_pairs_across(vf first, vf second)
{
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);

    return (vf)_mm512_permutexvar_epi16(zip, both);
}

/* sum + a0 b0 + a1 b1; as assembly, since gcc 12 copies the sums around the intrinsic. */
static inline vf vf_dot_pairs(vf sum, vf a, vf b)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a));
    return sum;
}

#endif
