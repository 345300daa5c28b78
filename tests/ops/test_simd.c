/* The vector functions of every build of the CPU back end against libm in double: the bounds that
 * ops/cpu/simd.h states, over all magnitudes of float, at special values, and where parts of a
 * vector are read and written. */
#include "variants/vectors.h"

#include "ops/device.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define X(name) extern const vectors vectors_##name;
MS_CPU_VARIANTS
#undef X

static const struct {
    const char *name;
    const vectors *of;
} variants[] = {
#define X(name) {"cpu:" #name, &vectors_##name},
    MS_CPU_VARIANTS
#undef X
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static bool runs_here(int v)
{
    ms_device *d;

    if (ms_device_open(&d, variants[v].name, &(ms_device_options){.threads = 1}, NULL))
        return false;
    ms_device_close(d);
    return true;
}

/* -- arguments ------------------------------------------------------------------------------- */

/* Every STRIDE-th float of all 2^32, the numbers of a model in small steps, and the edges. */
enum { STRIDE = 6007, NEAR = 400000, SWEEP = (int)(4294967296 / STRIDE) + NEAR };

static const float edges[] = {
    0.0f,       -0.0f,    FLT_MIN, -FLT_MIN, FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MAX,   -FLT_MAX,
    88.722839f, 88.7229f, 88.0f,   89.0f,    -87.33654f,   -87.3366f,     -103.972f, -103.9721f,
    -104.0f,    -105.0f,  1.0f,    -1.0f,    0.34657359f,  -0.34657359f,  13.1f,     -13.1f,
    -13.2f,     -14.2f,   1e-20f,  -1e-20f,  16777216.0f,  -16777216.0f,  INFINITY,  -INFINITY,
};
enum { EDGES = sizeof edges / sizeof *edges, COUNT = SWEEP + EDGES };

static float x[COUNT], got[COUNT];
static double exact[COUNT];

static int make_arguments(void **state)
{
    (void)state;
    for (int i = 0; i < SWEEP - NEAR; i++) {
        uint32_t bits = (uint32_t)i * STRIDE;

        memcpy(&x[i], &bits, sizeof bits);
    }
    for (int i = 0; i < NEAR; i++) x[SWEEP - NEAR + i] = ((float)i - NEAR / 2) * (110.0f / NEAR);
    memcpy(x + SWEEP, edges, sizeof edges);
    return 0;
}

/* -- errors ---------------------------------------------------------------------------------- */

/* Distance in units of the last place of floats near y; what overflows counts as 2^128. */
static double ulps(float f, double y)
{
    double size = fabs(y), got_y = isinf(f) ? copysign(0x1p128, f) : f;
    int exponent = size < FLT_MIN ? -126 : size > FLT_MAX ? 127 : ilogb(size);

    if (size > 0x1p128) y = copysign(0x1p128, y);
    return fabs(got_y - y) / ldexp(1, exponent - 23);
}

/* What a function promises: so many ulp where |y| >= least, and `least` elsewhere. */
typedef struct {
    const char *name;
    double (*exact)(double x);
    size_t member; /* of vectors */
    double least;
    double (*bound)(double x); /* in ulp */
} promise;

static void check(int v, const promise *p)
{
    vectors_map *map;
    double worst = 0;
    int worst_at = 0;

    memcpy(&map, (const char *)variants[v].of + p->member, sizeof map);
    map(got, x, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double e;

        if (isnan(x[i])) {
            if (!isnan(got[i]))
                fail_msg("%s %s(nan) = %g", variants[v].name, p->name, (double)got[i]);
            continue;
        }
        if (fabs(exact[i]) < p->least)
            e = fabs(got[i] - exact[i]) / p->least;
        else
            e = ulps(got[i], exact[i]) / p->bound(x[i]);
        if (!(e <= worst)) worst = e, worst_at = i;
    }
    if (getenv("VERBOSE"))
        print_message("%s %s: worst error %.3f of the bound, at %.9g\n", variants[v].name, p->name,
                      worst, (double)x[worst_at]);
    if (!(worst <= 1))
        fail_msg("%s %s(%.9g): got %.9g, expected %.9g, %.2f times the bound", variants[v].name,
                 p->name, (double)x[worst_at], (double)got[worst_at], exact[worst_at], worst);
}

static void keeps(const promise *p)
{
    for (int i = 0; i < COUNT; i++) exact[i] = p->exact(x[i]);
    for (int v = 0; v < VARIANTS; v++)
        if (runs_here(v)) check(v, p);
}

/* -- promises -------------------------------------------------------------------------------- */

static double exp_ulp(double at)
{
    (void)at;
    return 1.25;
}

static double three_ulp(double at)
{
    (void)at;
    return 3;
}

/* The square of x is rounded before exp. */
static double tail_ulp(double at)
{
    return 8 + 0.5 * at * at;
}

static double exact_sigmoid(double at)
{
    return 1 / (1 + exp(-at));
}

static double exact_normal(double at)
{
    return 0.5 * erfc(-at * 0.70710678118654752440);
}

static double exact_density(double at)
{
    return exp(-0.5 * at * at);
}

static void exp_keeps_its_bound(void **state)
{
    (void)state;
    keeps(&(promise){"exp", exp, offsetof(vectors, exp), 0, exp_ulp});
}

static void sigmoid_keeps_its_bound(void **state)
{
    (void)state;
    keeps(&(promise){"sigmoid", exact_sigmoid, offsetof(vectors, sigmoid), FLT_MIN, three_ulp});
}

static void normal_keeps_its_bound(void **state)
{
    (void)state;
    keeps(&(promise){"normal", exact_normal, offsetof(vectors, normal), FLT_MIN, tail_ulp});
}

static void density_keeps_its_bound(void **state)
{
    (void)state;
    keeps(&(promise){"density", exact_density, offsetof(vectors, density), FLT_MIN, tail_ulp});
}

/* -- parts of vectors ------------------------------------------------------------------------ */

enum { WIDEST = 64 };

/* What stands before and behind the elements is neither written nor of any influence. */
static void parts_of_vectors_end_where_they_should(void **state)
{
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        const vectors *f = variants[v].of;

        if (!runs_here(v)) continue;
        for (size_t n = 1; n <= WIDEST; n++) {
            float in[WIDEST + 2], out[WIDEST + 2], whole[WIDEST];

            for (size_t i = 0; i < n + 2; i++) in[i] = NAN, out[i] = -5;
            for (size_t i = 1; i <= n; i++) in[i] = (float)i * -0.37f;
            f->exp(out + 1, in + 1, n);
            assert_true(out[0] == -5 && out[n + 1] == -5);
            for (size_t i = 0; i < n; i++) f->exp(whole + i, in + 1 + i, 1);
            assert_memory_equal(whole, out + 1, n * sizeof *out); /* lanes are alike */
        }
    }
}

static void sums_and_maxima_take_every_lane(void **state)
{
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        const vectors *f = variants[v].of;

        if (!runs_here(v)) continue;
        for (int n = 1; n <= f->floats; n++)
            for (int at = 0; at < n; at++) {
                float lane[WIDEST] = {0};

                lane[at] = 3;
                assert_true(f->sum(lane, (size_t)n) == 3);
                for (int i = 0; i < n; i++) lane[i] = (float)-i - 2;
                lane[at] = -1;
                assert_true(f->highest(lane, (size_t)n) == -1);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_keeps_its_bound),
        cmocka_unit_test(sigmoid_keeps_its_bound),
        cmocka_unit_test(normal_keeps_its_bound),
        cmocka_unit_test(density_keeps_its_bound),
        cmocka_unit_test(parts_of_vectors_end_where_they_should),
        cmocka_unit_test(sums_and_maxima_take_every_lane),
    };

    return cmocka_run_group_tests(tests, make_arguments, NULL);
}
