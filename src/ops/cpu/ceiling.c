/* ceiling - what the arithmetic units of this instruction set can do: chains of multiplications and
 * additions that depend on nothing but themselves, in registers */
#include "base/clock.h"
#include "ops/cpu/kernel.h"

#if defined(__AVX512BF16__) || defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

enum { CHAINS = 12, STEPS = 400000, RUNS = 12, THREADS_MAX = 1024 };

typedef struct {
    float sum[THREADS_MAX]; /* so that nothing is optimised away */
} sink;

static void run_f32(void *arg, int thread, int threads)
{
    sink *s = arg;
    vf acc[CHAINS], a = vf_all(0.999f + (float)threads * 1e-9f), b = vf_all(0.001f);

    for (int i = 0; i < CHAINS; i++) acc[i] = vf_all((float)i);
    for (int n = 0; n < STEPS; n++)
        for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * a + b;
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    s->sum[thread % THREADS_MAX] = vf_sum(acc[0]);
}

#ifdef __AVX512BF16__
static void run_bf16(void *arg, int thread, int threads)
{
    sink *s = arg;
    __m512 acc[CHAINS];
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps((float)threads));

    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int n = 0; n < STEPS; n++)
        for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
    for (int i = 1; i < CHAINS; i++) acc[0] = _mm512_add_ps(acc[0], acc[i]);
    s->sum[thread % THREADS_MAX] = _mm512_reduce_add_ps(acc[0]);
}
#endif

#ifdef __AVX512VNNI__
/* By hand: compilers copy accumulators around the intrinsic in a loop. */
static void run_int8(void *arg, int thread, int threads)
{
    sink *s = arg;
    __m512i acc[CHAINS], a = _mm512_set1_epi8((char)threads);

    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_epi32(i);
    for (int n = 0; n < STEPS; n++)
        for (int i = 0; i < CHAINS; i++)
            __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(acc[i]) : "v"(a));
    for (int i = 1; i < CHAINS; i++) acc[0] = _mm512_add_epi32(acc[0], acc[i]);
    s->sum[thread % THREADS_MAX] = (float)_mm512_reduce_add_epi32(acc[0]);
}
#endif

/* Operations per second of all threads: the best of some runs. */
static double rate_of(ms_pool *pool, ms_region *body, double lanes)
{
    double work = 2.0 * lanes * CHAINS * STEPS * ms_pool_threads(pool), best = 0;
    static sink s;

    for (int i = 0; i < RUNS; i++) {
        double start_s = ms_clock(), rate;

        ms_pool_run(pool, body, &s);
        rate = work / (ms_clock() - start_s);
        if (rate > best) best = rate;
    }
    return best;
}

double CPU(ceiling)(ms_pool *pool, ms_ceiling kind)
{
    switch (kind) {
    case MS_CEILING_F32: return rate_of(pool, run_f32, VF);
#ifdef __AVX512BF16__
    case MS_CEILING_BF16: return rate_of(pool, run_bf16, 2 * VF);
#endif
#ifdef __AVX512VNNI__
    case MS_CEILING_INT8: return rate_of(pool, run_int8, 4 * VF);
#endif
    default: return 0;
    }
}
