/* half - f16 conversions by bits, so that every compiler and machine gives the same */
#include "base/half.h"

float ms_float_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;

    if (exponent == 31) return ms_float_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 is exact in float */
        float f = (float)fraction * 0x1p-24f;

        return ms_float_from_bits(sign | ms_bits_from_float(f));
    }
    return ms_float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t ms_f16_from_float(float f)
{
    uint32_t u = ms_bits_from_float(f), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    uint32_t rounded;

    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds beyond 65504 */
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves fraction * 2^24, rounded */
        float half = ms_float_from_bits(magnitude) + 0.5f;

        return (uint16_t)(sign | (ms_bits_from_float(half) - 0x3f000000u));
    }
    rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}
