/* Compiled once for each variant, as the kernels are (Makefile). */
#include "vectors.h"

#include "ops/cpu/simd.h"

#include <math.h>

#define JOIN_(variant) vectors_##variant
#define JOIN(variant)  JOIN_(variant)
#define VECTORS        JOIN(MS_CPU_VARIANT)

extern const vectors VECTORS;

#define MAP(name, f)                                                                               \
    static void name(float *y, const float *x, size_t n)                                           \
    {                                                                                              \
        VF_ROW(i, m, (int)n, vf_store_part(y + i, f(vf_load_part(x + i, m)), m););                 \
    }

static inline vf normal(vf x)
{
    vf density;

    return vf_normal(x, &density);
}

static inline vf density(vf x)
{
    vf d;

    vf_normal(x, &d);
    return d;
}

MAP(map_exp, vf_exp)
MAP(map_sigmoid, vf_sigmoid)
MAP(map_normal, normal)
MAP(map_density, density)

static float sum(const float *x, size_t n)
{
    return vf_sum(vf_load_part(x, (int)n));
}

static float highest(const float *x, size_t n)
{
    return vf_highest(vf_load_part_or(x, (int)n, vf_all(-INFINITY)));
}

const vectors VECTORS = {VF, map_exp, map_sigmoid, map_normal, map_density, sum, highest};
