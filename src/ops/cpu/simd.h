/* simd - vectors of floats by the extension that gcc and clang share, and functions on them
 *
 * The width follows the instruction set this file is compiled for; in the variant "scalar" a vector
 * is one float.  Here and in the folders x86 and arm the project leaves standard C. */
#ifndef MS_OPS_CPU_SIMD_H
#define MS_OPS_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(MS_CPU_SCALAR)
#define VF_BYTES 4
#elif defined(__AVX512F__)
#define VF_BYTES 64
#elif defined(__AVX__)
#define VF_BYTES 32
#else
#define VF_BYTES 16
#endif

enum { VF = VF_BYTES / 4 }; /* floats of a vector */

typedef float vf __attribute__((vector_size(VF_BYTES)));
typedef int32_t vi __attribute__((vector_size(VF_BYTES)));

static inline vf vf_load(const float *p)
{
    vf v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

/* The first n floats; the other lanes are zeros. */
static inline vf vf_load_part(const float *p, int n)
{
    vf v = {0};

    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

static inline void vf_store_part(float *p, vf v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof *p);
}

static inline vf vf_all(float x)
{
    return (vf){0} + x;
}

/* Lanes of a where mask is set (-1), else of b. */
static inline vf vf_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

static inline vf vf_max(vf a, vf b)
{
    return vf_select(a > b, a, b);
}

/* Upper half onto lower half until one is left: the tree of vf_sums. */
static inline float vf_sum(vf v)
{
    float lane[VF];

    memcpy(lane, &v, sizeof v);
    for (int half = VF / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

static inline float vf_highest(vf v)
{
    float lane[VF], most;

    memcpy(lane, &v, sizeof v);
    most = lane[0];
    for (int i = 1; i < VF; i++) most = lane[i] > most ? lane[i] : most;
    return most;
}

/* The sums of VF vectors as one vector, each by the tree of vf_sum: neighbours are folded together.
 */
#define FOLD(a, b, lo, hi) (__builtin_shufflevector(a, b, lo) + __builtin_shufflevector(a, b, hi))
#if VF_BYTES == 64
#define LO8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HI8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LO4 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define HI4 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define LO2 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define HI2 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define LO1 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define HI1 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif VF_BYTES == 32
#define LO4 0, 1, 2, 3, 8, 9, 10, 11
#define HI4 4, 5, 6, 7, 12, 13, 14, 15
#define LO2 0, 1, 4, 5, 8, 9, 12, 13
#define HI2 2, 3, 6, 7, 10, 11, 14, 15
#define LO1 0, 2, 4, 6, 8, 10, 12, 14
#define HI1 1, 3, 5, 7, 9, 11, 13, 15
#elif VF_BYTES == 16
#define LO2 0, 1, 4, 5
#define HI2 2, 3, 6, 7
#define LO1 0, 2, 4, 6
#define HI1 1, 3, 5, 7
#endif

#if VF_BYTES > 4
static inline vf vf_sums4(const vf *v) /* of 4 vectors, each folded to VF/4 lanes */
{
#if VF_BYTES == 64
    vf a = FOLD(v[0], v[1], LO8, HI8), b = FOLD(v[2], v[3], LO8, HI8);

    return FOLD(a, b, LO4, HI4);
#elif VF_BYTES == 32
    vf a = FOLD(v[0], v[1], LO4, HI4), b = FOLD(v[2], v[3], LO4, HI4);

    return FOLD(a, b, LO2, HI2);
#else
    vf a = FOLD(v[0], v[1], LO2, HI2), b = FOLD(v[2], v[3], LO2, HI2);

    return FOLD(a, b, LO1, HI1);
#endif
}
#endif

static inline vf vf_sums(const vf v[VF])
{
#if VF_BYTES == 64
    vf a = vf_sums4(v), b = vf_sums4(v + 4), c = vf_sums4(v + 8), d = vf_sums4(v + 12);
    vf e = FOLD(a, b, LO2, HI2), f = FOLD(c, d, LO2, HI2);

    return FOLD(e, f, LO1, HI1);
#elif VF_BYTES == 32
    vf a = vf_sums4(v), b = vf_sums4(v + 4);

    return FOLD(a, b, LO1, HI1);
#elif VF_BYTES == 16
    return vf_sums4(v);
#else
    return v[0];
#endif
}

/* exp to 2 ulp; 0 below -103.97, infinity above 88.73, NaN stays.
 * x = n ln 2 + r with |r| <= ln 2 / 2; exp r by its Taylor series to r^7; 2^n in two steps, so that
 * results near both ends of the range come out.  No library call. */
static inline vf vf_exp(vf x)
{
    const vf magic = vf_all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vf low = vf_all(-104.0f), high = vf_all(89.0f), shifted, n, r, p;
    vi whole, half;

    x = vf_select(x < low, low, x);
    x = vf_select(x > high, high, x);
    shifted = x * 1.44269504f + magic;
    n = shifted - magic;
    r = x - n * 0.693145751953125f;    /* upper bits of ln 2: the product is exact */
    r = r - n * 1.428606765330187e-6f; /* the rest of ln 2 */
    p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    whole = (vi)shifted - (vi)magic;
    whole = whole & (vi)(x == x); /* NaN: any finite power will do */
    half = whole >> 1;
    p = p * (vf)((half + 127) << 23);
    return p * (vf)((whole - half + 127) << 23);
}

/* 1 / (1 + exp -x), to 4 ulp. */
static inline vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

#endif
