/* simd - vectors of floats on x86-64: what the compilers' extension lacks or does badly; private
 *
 * Included by ops/cpu/simd.h in builds for AVX2 and AVX-512, in place of its portable versions. */
#ifndef MS_OPS_CPU_X86_SIMD_H
#define MS_OPS_CPU_X86_SIMD_H

#if defined(__AVX512F__)

static inline vf vf_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline vf vf_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

static inline __mmask16 vf_part_(int n)
{
    return (__mmask16)((1u << n) - 1);
}

static inline vf vf_load_part_or(const float *p, int n, vf rest)
{
    return n == VF ? vf_load(p) : (vf)_mm512_mask_loadu_ps((__m512)rest, vf_part_(n), p);
}

static inline void vf_store_part(float *p, vf v, int n)
{
    if (n == VF)
        vf_store(p, v);
    else
        _mm512_mask_storeu_ps(p, vf_part_(n), (__m512)v);
}

/* x * 2^n, rounded once. */
static inline vf vf_scale2(vf x, vf n)
{
    return (vf)_mm512_scalef_ps((__m512)x, (__m512)n);
}

#else

static inline vf vf_max(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

static inline vf vf_min(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}

static inline vi vf_part_(int n)
{
    return (vi){0, 1, 2, 3, 4, 5, 6, 7} < (vi){0} + n;
}

static inline vf vf_load_part_or(const float *p, int n, vf rest)
{
    vi part = vf_part_(n);

    if (n == VF) return vf_load(p);
    return vf_select(part, (vf)_mm256_maskload_ps(p, (__m256i)part), rest);
}

static inline void vf_store_part(float *p, vf v, int n)
{
    if (n == VF)
        vf_store(p, v);
    else
        _mm256_maskstore_ps(p, (__m256i)vf_part_(n), (__m256)v);
}

#endif
#endif
