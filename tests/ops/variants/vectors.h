/* vectors - the functions of ops/cpu/simd.h as one build of the CPU back end has them */
#ifndef TESTS_OPS_VARIANTS_VECTORS_H
#define TESTS_OPS_VARIANTS_VECTORS_H

#include <stddef.h>

/* y = f(x) of n floats.  n may be anything: the last vector is a part of one. */
typedef void vectors_map(float *y, const float *x, size_t n);

typedef struct {
    int floats; /* of a vector */
    vectors_map *exp, *sigmoid, *normal, *density;
    float (*sum)(const float *x, size_t n); /* of at most one vector; by its tree */
    float (*highest)(const float *x, size_t n);
} vectors;

#endif
