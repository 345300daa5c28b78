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

static inline vf vf_all(float x)
{
    return (vf){0} + x;
}

/* Lanes of a where mask is set (-1), else of b. */
static inline vf vf_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* Lanes of a where mask is set, else 0. */
static inline vf vf_keep(vi mask, vf a)
{
    return (vf)(mask & (vi)a);
}

/* -- part of a vector, greater and smaller --------------------------------------------------- */

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if VF_BYTES >= 32
#include "ops/cpu/x86/simd.h"
#else

/* a > b ? a : b, so that b passes when one is not a number; vf_min likewise. */
static inline vf vf_max(vf a, vf b)
{
    return vf_select(a > b, a, b);
}

static inline vf vf_min(vf a, vf b)
{
    return vf_select(a < b, a, b);
}

/* The first n floats, n <= VF; the other lanes are those of rest. */
static inline vf vf_load_part_or(const float *p, int n, vf rest)
{
    if (n == VF) return vf_load(p);
    for (int i = 0; i < n; i++) rest[i] = p[i];
    return rest;
}

static inline void vf_store_part(float *p, vf v, int n)
{
    if (n == VF)
        vf_store(p, v);
    else
        for (int i = 0; i < n; i++) p[i] = v[i];
}
#endif

/* The first n floats, n <= VF; the other lanes are zeros. */
static inline vf vf_load_part(const float *p, int n)
{
    return vf_load_part_or(p, n, (vf){0});
}

/* Runs statements over n floats, i being the first of a vector and m how many of it there are:
 * whole vectors, where m is the constant VF, then the rest. */
#define VF_ROW(i, m, n, ...)                                                                       \
    do {                                                                                           \
        int i = 0, vf_row_n = (n);                                                                 \
        for (; i + VF <= vf_row_n; i += VF) {                                                      \
            enum { m = VF };                                                                       \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (i < vf_row_n) {                                                                        \
            int m = vf_row_n - i;                                                                  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

/* -- across a vector ------------------------------------------------------------------------- */

/* Lane i gets lane i + n of v; what the upper lanes get means nothing. */
#define LOWER(v, n) __builtin_shufflevector(v, v, LANES_FROM(n))
#if VF_BYTES == 64
#define LANES_FROM(n)                                                                              \
    (n), (n) + 1 % (n), (n) + 2 % (n), (n) + 3 % (n), (n) + 4 % (n), (n) + 5 % (n), (n) + 6 % (n), \
        (n) + 7 % (n), (n), (n), (n), (n), (n), (n), (n), (n)
#elif VF_BYTES == 32
#define LANES_FROM(n) (n), (n) + 1 % (n), (n) + 2 % (n), (n) + 3 % (n), (n), (n), (n), (n)
#elif VF_BYTES == 16
#define LANES_FROM(n) (n), (n) + 1 % (n), (n), (n)
#endif

/* Upper half onto lower half until one is left: the tree of vf_sums. */
static inline float vf_sum(vf v)
{
#if VF_BYTES >= 64
    v += LOWER(v, 8);
#endif
#if VF_BYTES >= 32
    v += LOWER(v, 4);
#endif
#if VF_BYTES >= 16
    v += LOWER(v, 2);
    v += LOWER(v, 1);
#endif
    return v[0];
}

static inline float vf_highest(vf v)
{
#if VF_BYTES >= 64
    v = vf_max(v, LOWER(v, 8));
#endif
#if VF_BYTES >= 32
    v = vf_max(v, LOWER(v, 4));
#endif
#if VF_BYTES >= 16
    v = vf_max(v, LOWER(v, 2));
    v = vf_max(v, LOWER(v, 1));
#endif
    return v[0];
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

#if VF_BYTES == 64
#define ZIP_LO 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HI 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VF_BYTES == 32
#define ZIP_LO 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HI 4, 12, 5, 13, 6, 14, 7, 15
#elif VF_BYTES == 16
#define ZIP_LO 0, 4, 1, 5
#define ZIP_HI 2, 6, 3, 7
#endif

/* Transposes VF vectors: each round moves the top bit of the column into the row. */
static inline __attribute__((always_inline)) void vf_transpose(vf v[VF])
{
#if VF_BYTES > 4
    for (int round = 1; round < VF; round *= 2) {
        vf w[VF];

        for (int i = 0; i < VF / 2; i++) {
            w[2 * i] = __builtin_shufflevector(v[i], v[i + VF / 2], ZIP_LO);
            w[2 * i + 1] = __builtin_shufflevector(v[i], v[i + VF / 2], ZIP_HI);
        }
        for (int i = 0; i < VF; i++) v[i] = w[i];
    }
#else
    (void)v;
#endif
}

/* -- functions ------------------------------------------------------------------------------- */

/* No library call; the bounds are those that tests/ops/test_simd.c checks in every build, in units
 * of the last place of the result.  tanh and erf come in the forms that activations are made of,
 * which stay precise where they go to 0: (1 + tanh x/2) / 2 and (1 + erf x/sqrt 2) / 2. */

#if VF_BYTES < 64
/* x * 2^n for whole n in [-254, 254], in two steps, so that results near both ends come out. */
static inline vf vf_scale2(vf x, vf n)
{
    const vf magic = vf_all(12582912.0f); /* 1.5 * 2^23: adding it puts n into the lowest bits */
    vi whole = (vi)(n + magic) - (vi)magic, half;

    whole = whole & (vi)(n == n); /* NaN: any finite power will do */
    half = whole >> 1;
    return x * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
}
#endif

/* exp to 1.25 ulp; 0 below -103.97, infinity above 88.73, NaN stays.
 * x = n ln 2 + r with |r| <= ln 2 / 2; exp r by a polynomial fitted there (1e-8 relative). */
static inline vf vf_exp(vf x)
{
    const vf magic = vf_all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vf n, r, p;

    x = vf_min(vf_all(89.0f), vf_max(vf_all(-104.0f), x));
    n = x * 1.44269504f + magic;
    n = n - magic;
    r = x - n * 0.693145751953125f;    /* upper bits of ln 2: the product is exact */
    r = r - n * 1.428606765330187e-6f; /* the rest of ln 2 */
    p = r * 0.0013926213f + 0.008363203f;
    p = p * r + 0.041666556f;
    p = p * r + 0.16666576f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return vf_scale2(p, n);
}

/* 1 / (1 + exp -x), to 3 ulp; results below the least normal float may be 0. */
static inline vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

/* Phi(x), the normal distribution, and *density = exp(-x^2 / 2), to 8 + x^2/2 ulp (x^2 is rounded);
 * results below the least normal float may be 0.
 * With t = 1 / (1 + |x| / sqrt 8), Phi(-|x|) = t p(t) exp(-x^2 / 2), where p is a polynomial fitted
 * for t in [0.165, 1] (4e-8 relative); below, exp is 0. */
static inline vf vf_normal(vf x, vf *density)
{
    vf size = vf_max(x, -x), t = 1.0f / (1.0f + 0.353553391f * size), p, tail;

    *density = vf_exp(-0.5f * x * x);
    p = t * -0.029551685f + 0.14237176f;
    p = p * t - 0.24377516f;
    p = p * t + 0.13923487f;
    p = p * t - 0.013452114f;
    p = p * t + 0.10140264f;
    p = p * t + 0.12153684f;
    p = p * t + 0.14118972f;
    p = p * t + 0.1410431f;
    tail = t * p * *density;
    return vf_select(x < 0, tail, 1.0f - tail);
}

#endif
