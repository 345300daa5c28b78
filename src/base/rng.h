/* rng - Philox4x32-10, a counter-based generator: the same stream on every device
 *
 * Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
 * A draw is a pure function of (key, counter): nothing is stored, so a mask can be recomputed.
 *
 * Counter words by use; key = the run's 64-bit seed.  One block gives four numbers:
 *   dropout     { column / 4, row, site, step counter }   word column % 4
 *   sampling    { position, stream, 0, MS_SITE_SAMPLE }   word 0
 *   initialise  { element / 4, tensor index, 0, MS_SITE_INIT }
 *   data order  { index, epoch, round, MS_SITE_DATA } */
#ifndef MS_BASE_RNG_H
#define MS_BASE_RNG_H

#include <stdint.h>

enum { MS_SITE_SAMPLE = -1, MS_SITE_INIT = -2, MS_SITE_DATA = -3, MS_SITE_TEST = -4 };

typedef struct {
    uint32_t word[4];
} ms_philox_block;

static inline ms_philox_block ms_philox(const uint32_t key[2], uint32_t c0, uint32_t c1,
                                        uint32_t c2, uint32_t c3)
{
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;

        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (ms_philox_block){{c0, c1, c2, c3}};
}

/* In [0, 1): the upper 24 bits, exact in float. */
static inline float ms_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* A sequential stream for hosts that want one number after the other (tests, data, init). */
typedef struct {
    uint32_t key[2], stream, site;
    uint64_t drawn;
} ms_rng;

ms_rng ms_rng_new(uint64_t seed, uint32_t stream, int site);
uint32_t ms_rng_u32(ms_rng *r);
uint32_t ms_rng_below(ms_rng *r, uint32_t n); /* unbiased, n > 0 */
double ms_rng_uniform(ms_rng *r);             /* [0, 1), 53 bits */
double ms_rng_normal(ms_rng *r);              /* mean 0, deviation 1; Box-Muller */

#endif
