/* half - bf16 and f16 to float and back, round to nearest even, NaN stays NaN */
#ifndef MS_BASE_HALF_H
#define MS_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ms_float_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t ms_bits_from_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float ms_float_from_bf16(uint16_t h)
{
    return ms_float_from_bits((uint32_t)h << 16);
}

static inline uint16_t ms_bf16_from_float(float f)
{
    uint32_t u = ms_bits_from_float(f);

    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

float ms_float_from_f16(uint16_t h);
uint16_t ms_f16_from_float(float f);

#endif
