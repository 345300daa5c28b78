/* philox - many blocks of Philox4x32-10 (base/rng.h) at once; private
 *
 * A lane of 64 bits holds a counter word in its lower half; the upper half is never looked at,
 * which is what an instruction for 32 x 32 -> 64 bits wants.  Two lots of blocks are worked on in
 * turns, since a round waits for the one before. */
#ifndef MS_OPS_CPU_PHILOX_H
#define MS_OPS_CPU_PHILOX_H

#include "ops/cpu/simd.h"

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* Keys of the rounds, from which an instruction can take one to all lanes. */
enum { PHILOX_ROUNDS = 10 };
typedef struct {
    uint64_t round[PHILOX_ROUNDS][2];
} philox_keys;

static inline philox_keys philox_keys_of(const uint32_t key[2])
{
    philox_keys k;

    for (uint32_t i = 0; i < PHILOX_ROUNDS; i++) {
        k.round[i][0] = (uint32_t)(key[0] + i * 0x9E3779B9u);
        k.round[i][1] = (uint32_t)(key[1] + i * 0xBB67AE85u);
    }
    return k;
}

#if VF_BYTES > 4

typedef uint32_t vu __attribute__((vector_size(VF_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(VF_BYTES)));

enum {
    PHILOX_LOTS = 2,
    PHILOX_BLOCKS = VF / 2,                        /* of a lot */
    PHILOX_WORDS = PHILOX_LOTS * 4 * PHILOX_BLOCKS /* that vu_philox gives */
};

/* Product of the lower halves of each lane. */
static inline vu64 vu64_product(vu64 a, uint32_t b)
{
#if defined(__AVX512F__)
    return (vu64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
    return (vu64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
    return (vu64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif defined(__ARM_NEON)
    return (vu64)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
#else
    return (a & 0xffffffff) * b;
#endif
}

/* Words in the order of base/rng.h, two blocks at a time: of lanes 0, 2, ... and of 1, 3, ... */
#if VF_BYTES == 64
#define PHILOX_EVEN   0, 8, 2, 10, 4, 12, 6, 14
#define PHILOX_ODD    1, 9, 3, 11, 5, 13, 7, 15
#define PHILOX_NUMBER 0, 4, 1, 5, 2, 6, 3, 7
#elif VF_BYTES == 32
#define PHILOX_EVEN   0, 4, 2, 6
#define PHILOX_ODD    1, 5, 3, 7
#define PHILOX_NUMBER 0, 2, 1, 3
#else
#define PHILOX_EVEN   0, 2
#define PHILOX_ODD    1, 3
#define PHILOX_NUMBER 0, 1
#endif

/* The words of blocks c0, c0 + 1, ... with the other counter words alike. */
static inline void vu_philox(vu word[PHILOX_WORDS / VF], const philox_keys *keys, uint32_t c0,
                             uint32_t c1, uint32_t c2, uint32_t c3)
{
    vu64 w[PHILOX_LOTS][4];

    for (int l = 0; l < PHILOX_LOTS; l++) {
        w[l][0] = (vu64){PHILOX_NUMBER} + (c0 + (uint32_t)(l * PHILOX_BLOCKS));
        w[l][1] = (vu64){0} + c1;
        w[l][2] = (vu64){0} + c2;
        w[l][3] = (vu64){0} + c3;
    }
    for (int round = 0; round < PHILOX_ROUNDS; round++)
        for (int l = 0; l < PHILOX_LOTS; l++) {
            vu64 p0 = vu64_product(w[l][0], 0xD2511F53u), p1 = vu64_product(w[l][2], 0xCD9E8D57u);

            w[l][0] = p1 >> 32 ^ w[l][1] ^ keys->round[round][0];
            w[l][2] = p0 >> 32 ^ w[l][3] ^ keys->round[round][1];
            w[l][1] = p1;
            w[l][3] = p0;
        }
    for (int l = 0; l < PHILOX_LOTS; l++) {
        vu64 a = (w[l][0] & 0xffffffff) | w[l][1] << 32, b = (w[l][2] & 0xffffffff) | w[l][3] << 32;

        word[2 * l] = (vu)__builtin_shufflevector(a, b, PHILOX_EVEN);
        word[2 * l + 1] = (vu)__builtin_shufflevector(a, b, PHILOX_ODD);
    }
}

#endif
#endif
