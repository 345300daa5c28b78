/* bf16 and f16: every value comes back; between any two neighbours the middle decides, and goes to
 * the even one; what is no number stays none.  The judge is arithmetic in double, not bits. */
#include "base/half.h"

#include "scratch.h"

#include <float.h>

typedef struct {
    const char *name;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
    int fraction, bias; /* bits of the fraction; the exponent that means 1 */
    uint16_t infinity;
} kind;

static const kind KIND[] = {
    {"bf16", ms_float_from_bf16, ms_bf16_from_float, 7, 127, 0x7f80},
    {"f16", ms_float_from_f16, ms_f16_from_float, 10, 15, 0x7c00},
};

enum { KINDS = COUNT(KIND), SIGN = 0x8000 };

/* From the definition of the format; infinity is the next power of two. */
static double value_of(const kind *k, uint16_t h)
{
    int exponent = (h & 0x7fff) >> k->fraction, fraction = h & ((1 << k->fraction) - 1);
    int whole = exponent ? fraction + (1 << k->fraction) : fraction;
    double v = ldexp(whole, (exponent ? exponent : 1) - k->bias - k->fraction);

    return h & SIGN ? -v : v;
}

/* Of the float and of its negative. */
static void expect(const kind *k, float f, uint16_t h)
{
    if (k->narrow(f) != h || k->narrow(-f) != (h | SIGN))
        fail_msg("%s of %a: %04x, %04x, expected %04x", k->name, (double)f, k->narrow(f),
                 k->narrow(-f), h);
}

static void every_value_comes_back(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++)
        for (uint32_t h = 0; h < 0x10000; h++) {
            const kind *k = &KIND[i];
            float f = k->widen((uint16_t)h);
            uint16_t magnitude = h & 0x7fff, back = k->narrow(f);

            assert_int_equal(back & SIGN, h & SIGN);
            if (magnitude > k->infinity) {
                assert_true(isnan(f) && (back & 0x7fff) > k->infinity);
                continue;
            }
            if (back != h) fail_msg("%s: %04x came back as %04x", k->name, h, back);
            assert_true(magnitude == k->infinity ? isinf(f) : f == value_of(k, (uint16_t)h));
        }
}

/* The middle of two neighbours is exact in float.  The last one is the middle to infinity. */
static void the_nearest_is_taken_and_of_two_the_even_one(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        const kind *k = &KIND[i];

        for (uint16_t h = 0; h < k->infinity; h++) {
            float middle = (float)((value_of(k, h) + value_of(k, h + 1)) / 2);

            expect(k, middle, h & 1 ? h + 1 : h);
            expect(k, nextafterf(middle, 0), h);
            expect(k, nextafterf(middle, INFINITY), h + 1);
            expect(k, nextafterf(k->widen(h), INFINITY), h);
        }
        expect(k, FLT_MAX, k->infinity);
        expect(k, INFINITY, k->infinity);
    }
    expect(&KIND[1], 1e6f, 0x7c00); /* far beyond 65504 */
    expect(&KIND[1], 0x1p-24f, 1);  /* the least f16 */
    expect(&KIND[0], 0x1p-133f, 1); /* the least bf16 */
}

/* A fraction that is lost in the cut must not leave infinity behind. */
static void no_number_stays_no_number(void **state)
{
    static const uint32_t bits[] = {0x7f800001, 0x7f80ffff, 0x7f801fff, 0x7fc00000,
                                    0x7fffffff, 0xff800001, 0xffc12345, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < COUNT(bits); i++)
        for (int k = 0; k < KINDS; k++) {
            uint16_t h = KIND[k].narrow(ms_float_from_bits(bits[i]));

            assert_true((h & 0x7fff) > KIND[k].infinity && h >> 15 == bits[i] >> 31);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back),
        cmocka_unit_test(the_nearest_is_taken_and_of_two_the_even_one),
        cmocka_unit_test(no_number_stays_no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
