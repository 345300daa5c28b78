/* rng - numbers one after the other out of Philox blocks */
#include "base/rng.h"

#include <math.h>

ms_rng ms_rng_new(uint64_t seed, uint32_t stream, int site)
{
    return (ms_rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .stream = stream, .site = (uint32_t)site};
}

/* A draw is a word of block drawn / 4: the upper half of the count takes the third counter word. */
uint32_t ms_rng_u32(ms_rng *r)
{
    uint64_t block = r->drawn / 4;
    ms_philox_block b =
        ms_philox(r->key, (uint32_t)block, r->stream, (uint32_t)(block >> 32), r->site);

    return b.word[r->drawn++ % 4];
}

/* Lemire 2019: the upper half of a product, with the few biased low halves drawn again. */
uint32_t ms_rng_below(ms_rng *r, uint32_t n)
{
    uint32_t bias = (0u - n) % n;
    uint64_t product;

    do product = (uint64_t)ms_rng_u32(r) * n;
    while ((uint32_t)product < bias);
    return (uint32_t)(product >> 32);
}

double ms_rng_uniform(ms_rng *r)
{
    uint64_t high = ms_rng_u32(r), low = ms_rng_u32(r);

    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double ms_rng_normal(ms_rng *r)
{
    const double tau = 6.283185307179586;
    double u = 1 - ms_rng_uniform(r), v = ms_rng_uniform(r); /* u in (0, 1] */

    return sqrt(-2 * log(u)) * cos(tau * v);
}
